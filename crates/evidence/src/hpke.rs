//! HPKE (RFC 9180): DHKEM(X25519, HKDF-SHA256), HKDF-SHA256, AES-256-GCM.
//!
//! X25519 is aws-lc's, three times as fast as the one behind `hpke-rs`; key schedule and AEAD are `hpke-rs`'s.

use std::fmt;

use aws_lc_rs::agreement::{PrivateKey, UnparsedPublicKey, X25519, agree};
use hpke_rs::{Hpke, Mode};
use hpke_rs_crypto::HpkeCrypto as _;
use hpke_rs_crypto::types::{AeadAlgorithm, KdfAlgorithm, KemAlgorithm};
use hpke_rs_rust_crypto::HpkeRustCrypto;
use puente_model::Secret32;
use rand_core::CryptoRngCore;
use zeroize::Zeroizing;

use crate::keys::{TAG_BYTES, fresh};

/// Bytes of an encapsulated key.
pub(crate) const ENC_BYTES: usize = 32;
/// Bytes of a sealed 32-byte secret.
pub(crate) const SEALED_SECRET_BYTES: usize = 32 + TAG_BYTES;

const KEM: KemAlgorithm = KemAlgorithm::DhKem25519;
const KDF: KdfAlgorithm = KdfAlgorithm::HkdfSha256;
const AEAD: AeadAlgorithm = AeadAlgorithm::Aes256Gcm;

/// Why a secret could not be sealed or opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HpkeError {
    /// The public key (or encapsulated key) is not usable: a point of low order.
    #[error("the X25519 public key is of low order: ask its owner for a new one")]
    PublicKey,
    /// A PSK needs a name.
    #[error("a pre-shared key needs a non-empty id")]
    PskId,
    /// Sealed bytes of another length than 32 (encapsulated key) and 48.
    #[error("a sealed secret has 80 bytes: 32 of encapsulated key, 48 of ciphertext")]
    Length,
    /// Authentication failed: another key, PSK or context, or changed bytes.
    #[error("the sealed secret does not open: another key, pre-shared key or context, or its bytes were changed")]
    NotForThisKey,
}

/// A pre-shared key of a group's epoch, and its public name.
#[derive(Debug, Clone, Copy)]
pub struct Psk<'a> {
    /// The secret: an MLS exporter output.
    pub secret: &'a Secret32,
    /// What names it; not empty, not secret.
    pub id: &'a [u8],
}

/// An X25519 key pair that secrets are sealed to.
#[derive(Clone)]
pub struct HpkeKeyPair {
    private: Secret32,
    public: [u8; 32],
}

impl HpkeKeyPair {
    /// A fresh pair.
    ///
    /// # Errors
    /// None in practice: every 32 bytes are an X25519 private key.
    pub fn generate(rng: &mut impl CryptoRngCore) -> Result<Self, HpkeError> {
        Self::from_private(fresh(rng))
    }

    /// The pair of a stored private key.
    ///
    /// # Errors
    /// None in practice: every 32 bytes are an X25519 private key.
    pub fn from_private(private: Secret32) -> Result<Self, HpkeError> {
        let (_, public) = key_of(private.expose())?;
        Ok(Self { private, public })
    }

    /// The private key, for encrypted storage.
    pub fn private(&self) -> &Secret32 {
        &self.private
    }

    /// The public key.
    pub fn public(&self) -> &[u8; 32] {
        &self.public
    }
}

impl fmt::Debug for HpkeKeyPair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("HpkeKeyPair(..)")
    }
}

/// An encapsulated key and the 48 bytes sealed under it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SealedSecret {
    pub(crate) enc: [u8; ENC_BYTES],
    pub(crate) ciphertext: Vec<u8>,
}

/// Seals `secret` to `recipient`, in PSK mode where there is one, else in base mode.
pub(crate) fn seal(
    recipient: &[u8; 32],
    psk: Option<Psk<'_>>,
    info: &[u8],
    secret: &Secret32,
    rng: &mut impl CryptoRngCore,
) -> Result<SealedSecret, HpkeError> {
    let (mode, psk_bytes, psk_id) = mode(psk)?;
    let ephemeral = fresh(rng);
    let (shared, enc) = encapsulate(recipient, &ephemeral)?;
    let mut context = Hpke::<HpkeRustCrypto>::new(mode, KEM, KDF, AEAD)
        .key_schedule(&shared, info, psk_bytes, psk_id)
        .map_err(|_| HpkeError::PskId)?;
    let ciphertext = context.seal(b"", secret.expose()).map_err(|_| HpkeError::Length)?;
    Ok(SealedSecret { enc, ciphertext })
}

/// Opens what [`seal`] sealed.
pub(crate) fn open(
    recipient: &HpkeKeyPair,
    psk: Option<Psk<'_>>,
    info: &[u8],
    enc: &[u8],
    ciphertext: &[u8],
) -> Result<Secret32, HpkeError> {
    if enc.len() != ENC_BYTES || ciphertext.len() != SEALED_SECRET_BYTES {
        return Err(HpkeError::Length);
    }
    let (mode, psk_bytes, psk_id) = mode(psk)?;
    let shared = decapsulate(enc, recipient)?;
    let mut context = Hpke::<HpkeRustCrypto>::new(mode, KEM, KDF, AEAD)
        .key_schedule(&shared, info, psk_bytes, psk_id)
        .map_err(|_| HpkeError::PskId)?;
    let plaintext = Zeroizing::new(context.open(b"", ciphertext).map_err(|_| HpkeError::NotForThisKey)?);
    let bytes = Zeroizing::new(<[u8; 32]>::try_from(plaintext.as_slice()).map_err(|_| HpkeError::Length)?);
    Ok(Secret32::new(*bytes))
}

fn mode<'a>(psk: Option<Psk<'a>>) -> Result<(Mode, &'a [u8], &'a [u8]), HpkeError> {
    match psk {
        None => Ok((Mode::Base, b"", b"")),
        Some(psk) if psk.id.is_empty() => Err(HpkeError::PskId),
        Some(psk) => Ok((Mode::Psk, psk.secret.expose(), psk.id)),
    }
}

fn key_of(private: &[u8; 32]) -> Result<(PrivateKey, [u8; 32]), HpkeError> {
    let key = PrivateKey::from_private_key(&X25519, private).map_err(|_| HpkeError::PublicKey)?;
    let public = key.compute_public_key().map_err(|_| HpkeError::PublicKey)?;
    let public = public.as_ref().try_into().map_err(|_| HpkeError::PublicKey)?;
    Ok((key, public))
}

/// X25519 (RFC 7748). Refuses an all-zero result, as RFC 9180 §7.1.4 demands.
fn dh(key: &PrivateKey, public: &[u8]) -> Result<Zeroizing<[u8; 32]>, HpkeError> {
    let mut shared = Zeroizing::new([0; 32]);
    agree(key, UnparsedPublicKey::new(&X25519, public), HpkeError::PublicKey, |bytes| {
        *shared = bytes.try_into().map_err(|_| HpkeError::PublicKey)?;
        Ok(())
    })?;
    Ok(shared)
}

/// DHKEM's `Encap(pkR)` of RFC 9180 §4.1 with the ephemeral key given. `hpke-rs` has
/// no encapsulation that takes randomness, so its few lines stand here.
fn encapsulate(recipient: &[u8; 32], ephemeral: &Secret32) -> Result<(Zeroizing<Vec<u8>>, [u8; 32]), HpkeError> {
    let (key, enc) = key_of(ephemeral.expose())?;
    let dh = dh(&key, recipient)?;
    let shared = extract_and_expand(&dh, &enc, recipient)?;
    Ok((shared, enc))
}

/// DHKEM's `Decap(enc, skR)`.
fn decapsulate(enc: &[u8], recipient: &HpkeKeyPair) -> Result<Zeroizing<Vec<u8>>, HpkeError> {
    let (key, public) = key_of(recipient.private.expose())?;
    let dh = dh(&key, enc)?;
    extract_and_expand(&dh, enc, &public)
}

/// DHKEM's `ExtractAndExpand(dh, kem_context)`, `kem_context` being `enc ‖ pkR`.
fn extract_and_expand(dh: &[u8; 32], enc: &[u8], recipient: &[u8; 32]) -> Result<Zeroizing<Vec<u8>>, HpkeError> {
    let mut suite = *b"KEM\0\0";
    suite[3..].copy_from_slice(&(KEM as u16).to_be_bytes());
    let labelled_ikm = Zeroizing::new([b"HPKE-v1".as_slice(), &suite, b"eae_prk", dh].concat());
    let prk = HpkeRustCrypto::kdf_extract(KDF, b"", &labelled_ikm).map(Zeroizing::new);
    let prk = prk.map_err(|_| HpkeError::PublicKey)?;
    let labelled_info =
        [&32u16.to_be_bytes(), b"HPKE-v1".as_slice(), &suite, b"shared_secret", enc, recipient].concat();
    let shared = HpkeRustCrypto::kdf_expand(KDF, &prk, &labelled_info, 32).map_err(|_| HpkeError::PublicKey)?;
    Ok(Zeroizing::new(shared))
}

#[cfg(test)]
mod tests;
