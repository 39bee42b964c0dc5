//! Who this node is in its groups: a chain of certificates, and whatever signs with the certified key.

use std::fmt;
use std::sync::Arc;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, Ed25519KeyPair};
use openmls::prelude::{CredentialWithKey, OpenMlsCrypto as _, SignaturePublicKey, SignatureScheme};
use openmls_traits::signatures::{Signer, SignerError};
use puente_model::{Millis, NodeUri};

use crate::chain::Chain;
use crate::crypto::Crypto;
use crate::leaf::LeafError;
use crate::suite::{Scheme, Suite};
use crate::trust::Trust;

/// The signer could not sign: its token is gone, or the key is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the signature key of this node's groups did not sign; is its token there?")]
pub struct SignFailed;

/// Signs with a leaf's key, which may live in a token.
pub trait LeafSigner: Send + Sync {
    /// Signs a message: 64 bytes with Ed25519, DER with ECDSA.
    ///
    /// # Errors
    /// [`SignFailed`].
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, SignFailed>;
}

/// A key in memory; wiped when dropped.
pub struct SoftKey(Pair);

enum Pair {
    Ed25519(Ed25519KeyPair),
    EcdsaP256(Box<EcdsaKeyPair>),
}

impl SoftKey {
    /// From PKCS #8 in DER, as in a key file: Ed25519 or P-256.
    ///
    /// # Errors
    /// [`IdentityError::NotAKey`].
    pub fn from_pkcs8(der: &[u8]) -> Result<Self, IdentityError> {
        if let Ok(pair) = Ed25519KeyPair::from_pkcs8_maybe_unchecked(der) {
            return Ok(Self(Pair::Ed25519(pair)));
        }
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, der);
        Ok(Self(Pair::EcdsaP256(Box::new(pair.map_err(|_| IdentityError::NotAKey)?))))
    }
}

impl LeafSigner for SoftKey {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, SignFailed> {
        match &self.0 {
            Pair::Ed25519(pair) => Ok(pair.sign(message).as_ref().to_vec()),
            Pair::EcdsaP256(pair) => {
                let signature = pair.sign(&SystemRandom::new(), message).map_err(|_| SignFailed)?;
                Ok(signature.as_ref().to_vec())
            }
        }
    }
}

impl fmt::Debug for SoftKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SoftKey(..)")
    }
}

/// Why a chain and a signer are no identity.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IdentityError {
    /// No group would take the leaf.
    #[error("no group would accept this node's certificate: {0}")]
    Refused(#[from] LeafError),
    /// No private key of a kind that leaves sign with.
    #[error("these bytes are no Ed25519 or P-256 private key in PKCS #8")]
    NotAKey,
    /// The signer has another key, or none.
    #[error("the signature key is not the one in this node's group certificate")]
    NotItsKey,
}

/// This node in its groups.
#[derive(Clone)]
pub struct Identity {
    uri: NodeUri,
    scheme: Scheme,
    key: Vec<u8>,
    chain: Chain,
    signer: Arc<dyn LeafSigner>,
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Identity({})", self.uri)
    }
}

impl Identity {
    /// From DER certificates, the node's own first and the root left out, and what signs with the certified key.
    ///
    /// # Errors
    /// What every member would say to the leaf, said here before it is sent; or a signer with another key.
    pub fn new(
        certificates: Vec<Vec<u8>>,
        signer: Arc<dyn LeafSigner>,
        trust: &Trust,
        now: Millis,
    ) -> Result<Self, IdentityError> {
        let chain = Chain::new(certificates)?;
        let (uri, scheme, key) = trust.proves(&chain, now)?;
        trust.active(&uri)?;
        const PROOF: &[u8] = b"puente/v1/group: is this key the certificate's?";
        let signature = signer.sign(PROOF).map_err(|_| IdentityError::NotItsKey)?;
        let verified = Crypto.verify_signature(scheme.mls(), PROOF, &key, &signature);
        verified.map_err(|_| IdentityError::NotItsKey)?;
        Ok(Self { uri, scheme, key, chain, signer })
    }

    /// The node's name.
    pub const fn uri(&self) -> &NodeUri {
        &self.uri
    }

    /// True if it can stand in groups of this ciphersuite.
    pub fn fits(&self, suite: Suite) -> bool {
        suite.scheme() == self.scheme
    }

    /// The public key that it signs with.
    pub fn key(&self) -> &[u8] {
        &self.key
    }

    pub(crate) fn credential(&self) -> CredentialWithKey {
        CredentialWithKey {
            credential: self.chain.credential(),
            signature_key: SignaturePublicKey::from(self.key.as_slice()),
        }
    }
}

impl Signer for Identity {
    fn sign(&self, payload: &[u8]) -> Result<Vec<u8>, SignerError> {
        self.signer.sign(payload).map_err(|_| SignerError::SigningError)
    }

    fn signature_scheme(&self) -> SignatureScheme {
        self.scheme.mls()
    }
}
