//! Bodies that cannot be read before Release.
//!
//! The holder encrypts the body under a fresh content key and commits to the
//! tree, the ciphertext and the key; the asker can check all but the plaintext
//! at once, and the plaintext as soon as it holds the key. Neither side can
//! invent another body, key or ciphertext afterwards.

use std::fmt;

use puente_model::{Digest, Millis, Mode, Secret32, digest, limits};
use puente_wire::proto::Message as _;
use puente_wire::{label, proto};
use rand_core::CryptoRngCore;
use subtle::ConstantTimeEq as _;
use zeroize::Zeroizing;

use crate::hpke::{self, ENC_BYTES, HpkeError, HpkeKeyPair, Psk};
use crate::keys::{TAG_BYTES, framed, fresh, open_once, seal_once};
use crate::tree::{AnswerTree, TreeError, VerifiedBody, check_mode, verify_body};

/// The asker's one-time X25519 pair: its public key goes into the query, its
/// private key into encrypted storage, and is destroyed once the answer is open.
pub type ReplyKey = HpkeKeyPair;

/// Why a body was not sealed or opened.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SealError {
    /// A body over the limit.
    #[error("the answer body has {bytes} bytes; at most {} are allowed", limits::ANSWER_BYTES_MAX)]
    TooLarge {
        /// Bytes of the plaintext.
        bytes: usize,
    },
    /// A field of `Sealed` of the wrong length.
    #[error("field '{0}' of the sealed body has the wrong length")]
    Field(&'static str),
    /// Tree commitment, body and key hash are not those of the ANSWER.
    #[error("tree commitment, body and key hash do not make up the ANSWER's commitment")]
    Commitment,
    /// Another key than the one committed to.
    #[error("the content key is not the one that the ANSWER commits to: the RELEASE is bad")]
    WrongKey,
    /// The committed ciphertext does not open under the committed key.
    #[error("the committed body does not open under the committed key: the ANSWER is bad")]
    DoesNotOpen,
    /// The plaintext is not a body.
    #[error("the committed body is not a Body message: the ANSWER is bad")]
    NotABody,
    /// The plaintext's leaves are not the committed ones.
    #[error("the committed body does not carry the committed tree: the ANSWER is bad ({0})")]
    Tree(#[from] TreeError),
    /// The sealed content key does not open.
    #[error("the content key: {0}")]
    Hpke(#[from] HpkeError),
}

impl SealError {
    /// Whether the holder's ANSWER itself is proven bad (DISPUTE, with body and key as evidence);
    /// otherwise only what was delivered with it is.
    pub fn convicts_answer(&self) -> bool {
        matches!(self, Self::DoesNotOpen | Self::NotABody | Self::Tree(_))
    }
}

/// `digest(BODY, ciphertext)`.
pub fn body_hash(ciphertext: &[u8]) -> Digest {
    digest(label::BODY, &[ciphertext])
}

/// `digest(CONTENT_KEY, key)`.
pub fn key_hash(key: &Secret32) -> Digest {
    digest(label::CONTENT_KEY, &[key.expose()])
}

/// `digest(SEALED_KEY, sealed key)`: what RELEASE commits to.
pub fn sealed_key_hash(sealed_key: &[u8]) -> Digest {
    digest(label::SEALED_KEY, &[sealed_key])
}

/// `digest(ANSWER, tree commitment, body hash, key hash)`: what a disclosing ANSWER commits to.
pub fn answer_commitment(mode: Mode, tree: Digest, body: Digest, key: Digest) -> Digest {
    digest(label::answer(mode), &[tree.as_bytes(), body.as_bytes(), key.as_bytes()])
}

/// A body under a fresh content key.
#[derive(Clone)]
pub struct SealedAnswer {
    /// What travels in Reply.
    pub sealed: proto::Sealed,
    /// The content key: durable before the ANSWER is, sealed to the asker at Release.
    pub key: Secret32,
    /// What the ANSWER commits to.
    pub commitment: Digest,
    /// Hash of the ciphertext.
    pub body_hash: Digest,
    /// Hash of the key.
    pub key_hash: Digest,
}

impl fmt::Debug for SealedAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SealedAnswer({})", self.commitment)
    }
}

/// Encrypts the body of a tree under a fresh, single-use content key (nonce zero: see the crate's page).
///
/// # Errors
/// [`SealError::TooLarge`]; [`TreeError::Mode`] where a path is not one of this mode.
pub fn seal_body(
    mode: Mode,
    tree: &AnswerTree,
    at: Millis,
    obligations: Vec<String>,
    rng: &mut impl CryptoRngCore,
) -> Result<SealedAnswer, SealError> {
    check_mode(mode, tree.fields().map(|(path, _)| path))?;
    let body = tree.to_body(at, obligations);
    let bytes = body.encoded_len();
    if bytes > limits::ANSWER_BYTES_MAX {
        return Err(SealError::TooLarge { bytes });
    }
    seal_bytes(mode, tree.commitment(), &Zeroizing::new(body.encode_to_vec()), fresh(rng))
}

fn seal_bytes(mode: Mode, tree: Digest, plaintext: &[u8], key: Secret32) -> Result<SealedAnswer, SealError> {
    let ciphertext =
        seal_once(&key, label::body(mode), plaintext).ok_or(SealError::TooLarge { bytes: plaintext.len() })?;
    let (body_hash, key_hash) = (body_hash(&ciphertext), key_hash(&key));
    Ok(SealedAnswer {
        commitment: answer_commitment(mode, tree, body_hash, key_hash),
        sealed: proto::Sealed { tree_commitment: tree.0.to_vec(), body: ciphertext, key_hash: key_hash.0.to_vec() },
        key,
        body_hash,
        key_hash,
    })
}

/// A sealed body that an ANSWER commits to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckedSealed {
    /// The mode of the exchange that it belongs to.
    pub mode: Mode,
    /// The tree commitment.
    pub tree: Digest,
    /// Hash of the ciphertext.
    pub body_hash: Digest,
    /// Hash of the content key.
    pub key_hash: Digest,
    /// The ciphertext.
    pub body: Vec<u8>,
}

impl CheckedSealed {
    /// Checks what came with Reply against the ANSWER's commitment: before recording it.
    ///
    /// # Errors
    /// Lengths, size, or [`SealError::Commitment`].
    pub fn check(mode: Mode, sealed: &proto::Sealed, commitment: Digest) -> Result<Self, SealError> {
        let digest = |bytes: &[u8], name| Digest::try_from(bytes).map_err(|_| SealError::Field(name));
        let tree = digest(&sealed.tree_commitment, "tree_commitment")?;
        let key_hash = digest(&sealed.key_hash, "key_hash")?;
        if sealed.body.len() < TAG_BYTES {
            return Err(SealError::Field("body"));
        }
        if sealed.body.len() > limits::ANSWER_BYTES_MAX + TAG_BYTES {
            return Err(SealError::TooLarge { bytes: sealed.body.len() - TAG_BYTES });
        }
        let body_hash = body_hash(&sealed.body);
        if answer_commitment(mode, tree, body_hash, key_hash) != commitment {
            return Err(SealError::Commitment);
        }
        Ok(Self { mode, tree, body_hash, key_hash, body: sealed.body.clone() })
    }

    /// Decrypts the body and verifies its tree.
    ///
    /// # Errors
    /// [`SealError::WrongKey`] blames the RELEASE; what [`SealError::convicts_answer`] says blames the ANSWER.
    pub fn open(&self, key: &Secret32) -> Result<VerifiedBody, SealError> {
        if !bool::from(key_hash(key).0.ct_eq(&self.key_hash.0)) {
            return Err(SealError::WrongKey);
        }
        let plaintext = open_once(key, label::body(self.mode), &self.body).ok_or(SealError::DoesNotOpen)?;
        let body = proto::Body::decode(plaintext.as_slice()).map_err(|_| SealError::NotABody)?;
        let verified = verify_body(&body, self.tree)?;
        check_mode(self.mode, verified.tree.fields().map(|(path, _)| path))?;
        Ok(verified)
    }
}

/// Seals a content key to the asker's one-time key: 32 bytes of encapsulated key, 48 of ciphertext.
/// PSK mode where the exchange belongs to a group, else base mode; info = the ANSWER's leaf hash, in training under a
/// label of its own.
///
/// # Errors
/// [`HpkeError::PublicKey`] of a low-order reply key; [`HpkeError::PskId`].
pub fn seal_content_key(
    mode: Mode,
    reply_key: &[u8; 32],
    psk: Option<Psk<'_>>,
    answer_leaf: Digest,
    key: &Secret32,
    rng: &mut impl CryptoRngCore,
) -> Result<Vec<u8>, HpkeError> {
    let sealed = hpke::seal(reply_key, psk, &key_info(mode, answer_leaf), key, rng)?;
    Ok([sealed.enc.as_slice(), &sealed.ciphertext].concat())
}

/// Opens what [`seal_content_key`] sealed.
///
/// # Errors
/// [`HpkeError::Length`], [`HpkeError::PublicKey`] or [`HpkeError::NotForThisKey`].
pub fn open_content_key(
    mode: Mode,
    reply_key: &ReplyKey,
    psk: Option<Psk<'_>>,
    answer_leaf: Digest,
    sealed_key: &[u8],
) -> Result<Secret32, HpkeError> {
    let (enc, ciphertext) = sealed_key.split_at_checked(ENC_BYTES).ok_or(HpkeError::Length)?;
    hpke::open(reply_key, psk, &key_info(mode, answer_leaf), enc, ciphertext)
}

fn key_info(mode: Mode, answer_leaf: Digest) -> Vec<u8> {
    match mode {
        Mode::Open => answer_leaf.0.to_vec(),
        Mode::Training => framed(label::TRAINING_SEALED_KEY, &[answer_leaf.as_bytes()]),
    }
}

#[cfg(test)]
mod tests;
