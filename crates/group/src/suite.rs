//! The ciphersuites that a group may be made with.

use openmls::prelude::{Ciphersuite, SignatureScheme};

/// A group's ciphersuite; chosen when the group is made, for good.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
#[non_exhaustive]
pub enum Suite {
    /// 0x0001: X25519, AES-128-GCM, SHA-256, Ed25519.
    #[default]
    X25519,
    /// 0x0002: P-256, AES-128-GCM, SHA-256, ECDSA with P-256: where NIST curves are required.
    P256,
    /// 0x004F, provisional: ML-KEM-768 with X25519, AES-128-GCM, SHA-256, Ed25519. What is sent today stays unread when
    /// X25519 falls; signatures are not post-quantum.
    #[cfg(feature = "hybrid")]
    Hybrid,
}

impl Suite {
    /// Every suite of this build.
    pub const ALL: &'static [Self] = &[
        Self::X25519,
        Self::P256,
        #[cfg(feature = "hybrid")]
        Self::Hybrid,
    ];

    /// Its number in MLS.
    pub fn code(self) -> u16 {
        u16::from(self.mls())
    }

    /// The suite with this number, if groups may be made with it.
    pub fn from_code(code: u16) -> Option<Self> {
        Self::ALL.iter().copied().find(|suite| suite.code() == code)
    }

    pub(crate) fn mls(self) -> Ciphersuite {
        match self {
            Self::X25519 => Ciphersuite::MLS_128_DHKEMX25519_AES128GCM_SHA256_Ed25519,
            Self::P256 => Ciphersuite::MLS_128_DHKEMP256_AES128GCM_SHA256_P256,
            #[cfg(feature = "hybrid")]
            Self::Hybrid => Ciphersuite::MLS_128_MLKEM768X25519_AES128GCM_SHA256_Ed25519,
        }
    }

    pub(crate) fn scheme(self) -> Scheme {
        match self {
            Self::P256 => Scheme::EcdsaP256,
            _ => Scheme::Ed25519,
        }
    }
}

/// How leaves sign.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheme {
    /// Ed25519.
    Ed25519,
    /// ECDSA over P-256 with SHA-256; signatures in DER.
    EcdsaP256,
}

impl Scheme {
    /// What a subject public key info begins with before the key itself, and how long the key is.
    const fn shape(self) -> (&'static [u8], usize) {
        match self {
            Self::Ed25519 => (b"\x30\x2a\x30\x05\x06\x03\x2b\x65\x70\x03\x21\x00", 32),
            Self::EcdsaP256 => (
                b"\x30\x59\x30\x13\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\x06\x08\x2a\x86\x48\xce\x3d\x03\x01\x07\x03\x42\x00",
                65,
            ),
        }
    }

    /// Scheme and key of a certificate's subject public key info; none if leaves cannot sign with it.
    pub(crate) fn of_info(info: &[u8]) -> Option<(Self, &[u8])> {
        [Self::Ed25519, Self::EcdsaP256].into_iter().find_map(|scheme| {
            let (prefix, length) = scheme.shape();
            let key = info.strip_prefix(prefix)?;
            (key.len() == length).then_some((scheme, key))
        })
    }

    pub(crate) fn mls(self) -> SignatureScheme {
        match self {
            Self::Ed25519 => SignatureScheme::ED25519,
            Self::EcdsaP256 => SignatureScheme::ECDSA_SECP256R1_SHA256,
        }
    }
}
