//! HPKE (RFC 9180): DHKEM(X25519, HKDF-SHA256), HKDF-SHA256, AES-256-GCM.

use std::fmt;

use hpke_rs::{Hpke, HpkePrivateKey, Mode};
use hpke_rs_crypto::HpkeCrypto as _;
use hpke_rs_crypto::types::{AeadAlgorithm, KdfAlgorithm, KemAlgorithm};
use hpke_rs_rust_crypto::HpkeRustCrypto;
use puente_model::Secret32;
use rand_core::CryptoRngCore;
use zeroize::{Zeroize, Zeroizing};

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
        let public = public_of(private.expose())?;
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
    let private = HpkePrivateKey::from(recipient.private.expose().as_slice());
    let mut context = Hpke::<HpkeRustCrypto>::new(mode, KEM, KDF, AEAD)
        .setup_receiver(enc, &private, info, Some(psk_bytes), Some(psk_id), None)
        .map_err(|_| HpkeError::PublicKey)?;
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

fn public_of(private: &[u8; 32]) -> Result<[u8; 32], HpkeError> {
    let public = HpkeRustCrypto::secret_to_public(KEM, private).map_err(|_| HpkeError::PublicKey)?;
    public.try_into().map_err(|_| HpkeError::PublicKey)
}

/// DHKEM's `Encap(pkR)` of RFC 9180 §4.1 with the ephemeral key given. `hpke-rs` has
/// no encapsulation that takes randomness, so its five lines stand here.
fn encapsulate(recipient: &[u8; 32], ephemeral: &Secret32) -> Result<(Zeroizing<Vec<u8>>, [u8; 32]), HpkeError> {
    // Refuses an all-zero result, as RFC 9180 §7.1.4 demands.
    let dh = HpkeRustCrypto::dh(KEM, recipient, ephemeral.expose()).map(Zeroizing::new);
    let dh = dh.map_err(|_| HpkeError::PublicKey)?;
    let enc = public_of(ephemeral.expose())?;

    let mut suite = *b"KEM\0\0";
    suite[3..].copy_from_slice(&(KEM as u16).to_be_bytes());
    let mut labelled_ikm = Zeroizing::new([b"HPKE-v1".as_slice(), &suite, b"eae_prk", &dh].concat());
    let prk = HpkeRustCrypto::kdf_extract(KDF, b"", &labelled_ikm).map(Zeroizing::new);
    labelled_ikm.zeroize();
    let prk = prk.map_err(|_| HpkeError::PublicKey)?;
    let labelled_info =
        [&32u16.to_be_bytes(), b"HPKE-v1".as_slice(), &suite, b"shared_secret", &enc, recipient].concat();
    let shared = HpkeRustCrypto::kdf_expand(KDF, &prk, &labelled_info, 32).map_err(|_| HpkeError::PublicKey)?;
    Ok((Zeroizing::new(shared), enc))
}

#[cfg(test)]
mod tests;
