//! Keys of notes: verifier keys in their text form, and the signing port.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use ed25519_dalek::{Signature, Signer as _, SigningKey, Verifier as _, VerifyingKey};
use puente_model::Secret32;
use sha2::{Digest as _, Sha256};

use crate::multiples::Multiples;
use crate::text::{decode_base64, encode_base64};

/// What a key's signatures mean (C2SP signed-note, signature types).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum KeyKind {
    /// 0x01: Ed25519 over the note text; a log's own key.
    Ed25519,
    /// 0x04: timestamped Ed25519 cosignature (C2SP tlog-cosignature); a witness's key.
    CosignatureV1,
}

impl KeyKind {
    /// The type byte that enters the key id.
    pub const fn byte(self) -> u8 {
        match self {
            Self::Ed25519 => 1,
            Self::CosignatureV1 => 4,
        }
    }

    /// The kind of a type byte; other kinds exist and are not understood here.
    pub const fn from_byte(byte: u8) -> Option<Self> {
        match byte {
            1 => Some(Self::Ed25519),
            4 => Some(Self::CosignatureV1),
            _ => None,
        }
    }
}

/// The four bytes by which a signature line names its key. An identifier, not a commitment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct KeyId(pub [u8; 4]);

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}", u32::from_be_bytes(self.0))
    }
}

/// Why a verifier key was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// Not of the form `name+id+base64`.
    #[error("a verifier key has the form name+keyid+base64 (C2SP signed-note); copy it again from its owner")]
    Malformed,
    /// The name is empty, or holds white space, a control character or `+`.
    #[error("a key name is not empty and holds no white space, control character or '+'")]
    Name,
    /// The id is not the hash of name, type and public key.
    #[error("the key id does not belong to this name and key: one of them was altered; copy it again from its owner")]
    IdMismatch,
    /// A signature type that is not 0x01 or 0x04.
    #[error("signature type {0:#04x} is not supported; use 0x01 (Ed25519) or 0x04 (cosignature/v1)")]
    UnsupportedKind(u8),
    /// The public key is not a point of the curve, or of small order.
    #[error("the public key is not a safe Ed25519 point; ask its owner for a new key")]
    Point,
}

/// True if `name` may stand in a signature line.
pub(crate) fn is_key_name(name: &str) -> bool {
    !name.is_empty() && !name.chars().any(|c| c.is_whitespace() || c.is_control() || c == '+')
}

/// A public key with its name and kind: `vkey` in C2SP texts.
#[derive(Debug, Clone)]
pub struct VerifierKey {
    name: String,
    kind: KeyKind,
    id: KeyId,
    point: VerifyingKey,
    multiples: Option<Arc<Multiples>>,
}

/// Equal keys say the same of every signature, quickly or not.
impl PartialEq for VerifierKey {
    fn eq(&self, other: &Self) -> bool {
        (&self.name, self.kind, self.id, self.point) == (&other.name, other.kind, other.id, other.point)
    }
}

impl Eq for VerifierKey {}

impl VerifierKey {
    /// Names a public key.
    pub fn new(name: &str, kind: KeyKind, public: &[u8; 32]) -> Result<Self, KeyError> {
        if !is_key_name(name) {
            return Err(KeyError::Name);
        }
        let point = VerifyingKey::from_bytes(public).map_err(|_| KeyError::Point)?;
        if point.is_weak() {
            return Err(KeyError::Point);
        }
        let mut hash = Sha256::new();
        hash.update(name.as_bytes());
        hash.update([b'\n', kind.byte()]);
        hash.update(public);
        let digest: [u8; 32] = hash.finalize().into();
        let id = KeyId([digest[0], digest[1], digest[2], digest[3]]);
        Ok(Self { name: name.to_owned(), kind, id, point, multiples: None })
    }

    /// The same key for verifying many signatures, each in half the time. It takes 640 KiB, shared with its clones, and
    /// as long as thirty verifications; the first such key takes both twice.
    #[must_use]
    pub fn for_many(self) -> Self {
        let multiples = Multiples::of(self.public()).map(Arc::new);
        Self { multiples, ..self }
    }

    /// The key's name: for a log key, the log's origin.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What its signatures mean.
    pub const fn kind(&self) -> KeyKind {
        self.kind
    }

    /// The id that signature lines carry.
    pub const fn id(&self) -> KeyId {
        self.id
    }

    /// The public key, 32 bytes (RFC 8032).
    pub fn public(&self) -> &[u8; 32] {
        self.point.as_bytes()
    }

    /// Ed25519 verification of RFC 8032 without the cofactor, as Go's crypto/ed25519 does it: canonical S, and R as the
    /// equation gives it, byte for byte. The key is of no small order, so that `verify_strict` would only refuse an R of
    /// small order besides, by which a signer gives its own key away; looking for it takes a quarter of the time.
    pub(crate) fn accepts(&self, message: &[u8], signature: &[u8; 64]) -> bool {
        match &self.multiples {
            Some(multiples) => multiples.accepts(message, signature),
            None => self.point.verify(message, &Signature::from_bytes(signature)).is_ok(),
        }
    }
}

impl fmt::Display for VerifierKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut blob = vec![self.kind.byte()];
        blob.extend_from_slice(self.public());
        write!(f, "{}+{}+{}", self.name, self.id, encode_base64(&blob))
    }
}

impl FromStr for VerifierKey {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, KeyError> {
        let mut parts = text.splitn(3, '+');
        let (Some(name), Some(id), Some(blob)) = (parts.next(), parts.next(), parts.next()) else {
            return Err(KeyError::Malformed);
        };
        let blob = decode_base64(blob).ok_or(KeyError::Malformed)?;
        let (&kind, public) = blob.split_first().ok_or(KeyError::Malformed)?;
        let kind = KeyKind::from_byte(kind).ok_or(KeyError::UnsupportedKind(kind))?;
        let public: &[u8; 32] = public.try_into().map_err(|_| KeyError::Malformed)?;
        let key = Self::new(name, kind, public)?;
        if key.id.to_string() == id { Ok(key) } else { Err(KeyError::IdMismatch) }
    }
}

/// Signs for one key.
///
/// Promise: `sign` returns the Ed25519 signature of exactly these bytes under
/// `verifier`'s public key. Thief: whoever can call it can fork the log (or, for
/// a witness key, vouch for a fork); only [`crate::Staged::sign`],
/// [`crate::witness::Remembered::cosign`], [`crate::SignedCheckpoint::sign_again`] and [`crate::cose_receipt`] should.
pub trait Signer {
    /// The Ed25519 signature of `message` (RFC 8032, no prehash).
    fn sign(&self, message: &[u8]) -> [u8; 64];

    /// The public half, with name and kind.
    fn verifier(&self) -> &VerifierKey;
}

impl<T: Signer + ?Sized> Signer for std::sync::Arc<T> {
    fn sign(&self, message: &[u8]) -> [u8; 64] {
        (**self).sign(message)
    }

    fn verifier(&self) -> &VerifierKey {
        (**self).verifier()
    }
}

/// A signer whose seed is in memory: wiped when dropped, never printed.
pub struct Ed25519Signer {
    key: SigningKey,
    verifier: VerifierKey,
}

impl Ed25519Signer {
    /// The signer of a 32-byte seed (RFC 8032 private key).
    pub fn new(name: &str, kind: KeyKind, seed: &Secret32) -> Result<Self, KeyError> {
        let key = SigningKey::from_bytes(seed.expose());
        let verifier = VerifierKey::new(name, kind, key.verifying_key().as_bytes())?;
        Ok(Self { key, verifier })
    }
}

impl Signer for Ed25519Signer {
    fn sign(&self, message: &[u8]) -> [u8; 64] {
        self.key.sign(message).to_bytes()
    }

    fn verifier(&self) -> &VerifierKey {
        &self.verifier
    }
}

impl fmt::Debug for Ed25519Signer {
    // The seed is the log: whoever reads it can fork it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Ed25519Signer({}+{}, seed hidden)", self.verifier.name, self.verifier.id)
    }
}
