//! What lies on the disk sealed: AES-256-GCM under keys derived from `store.key` by HKDF-SHA256.
//!
//! Nonces are 96 random bits. A key is used for at most one journal segment, or for the values of at most
//! 1,024 batches of 65,536 puts (2^26 seals), far below the 2^32 that NIST SP 800-38D allows random nonces:
//! two equal nonces under one key are less likely than 2^-44.

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::{hkdf, rand};
use puente_model::Secret32;

use super::error::DiskError;

/// Bytes of a seal's tag.
pub(crate) const TAG_LEN: usize = 16;
/// Bytes of a seal's nonce.
pub(crate) const NONCE_BYTES: usize = NONCE_LEN;

/// A seal that does not hold: another key, another context, or damage.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct BrokenSeal;

/// Where keys come from.
#[derive(Clone)]
pub(crate) struct Keys(hkdf::Prk);

impl Keys {
    pub(crate) fn new(store_key: &Secret32) -> Self {
        Self(hkdf::Salt::new(hkdf::HKDF_SHA256, b"puente/v1/disk").extract(store_key.expose()))
    }

    /// The key for one use (`label`) in one context.
    pub(crate) fn derive(&self, label: &str, context: &[u8]) -> Result<Key, DiskError> {
        let length = [u8::try_from(label.len()).unwrap_or(u8::MAX)];
        let info = [length.as_slice(), label.as_bytes(), context];
        let okm = self.0.expand(&info, &AES_256_GCM).map_err(|_| DiskError::System("a key derivation"))?;
        Ok(Key(LessSafeKey::new(UnboundKey::from(okm))))
    }
}

/// A key for one use.
pub(crate) struct Key(LessSafeKey);

impl Key {
    /// Seals `buffer[from..]` in place under a new random nonce; the caller keeps nonce and tag.
    pub(crate) fn seal(&self, aad: &[u8], buffer: &mut [u8]) -> Result<([u8; NONCE_BYTES], [u8; TAG_LEN]), DiskError> {
        let nonce: [u8; NONCE_BYTES] = random()?;
        let tag = self
            .0
            .seal_in_place_separate_tag(Nonce::assume_unique_for_key(nonce), Aad::from(aad), buffer)
            .map_err(|_| DiskError::System("a seal"))?;
        let tag = tag.as_ref().try_into().map_err(|_| DiskError::System("a seal"))?;
        Ok((nonce, tag))
    }

    /// Opens ciphertext and tag in place; what is left is the plaintext.
    pub(crate) fn open<'b>(
        &self,
        nonce: [u8; NONCE_BYTES],
        aad: &[u8],
        buffer: &'b mut [u8],
    ) -> Result<&'b mut [u8], BrokenSeal> {
        self.0.open_in_place(Nonce::assume_unique_for_key(nonce), Aad::from(aad), buffer).map_err(|_| BrokenSeal)
    }
}

/// Random bytes of the operating system's quality.
pub(crate) fn random<const N: usize>() -> Result<[u8; N], DiskError> {
    let mut bytes = [0; N];
    rand::fill(&mut bytes).map_err(|_| DiskError::System("random bytes"))?;
    Ok(bytes)
}

/// Seals a value with its nonce before it and its tag after it.
pub(crate) fn seal_boxed(key: &Key, aad: &[u8], value: &[u8], out: &mut Vec<u8>) -> Result<(), DiskError> {
    let at = out.len();
    out.extend_from_slice(&[0; NONCE_BYTES]);
    out.extend_from_slice(value);
    let (nonce, tag) = key.seal(aad, &mut out[at + NONCE_BYTES..])?;
    out[at..at + NONCE_BYTES].copy_from_slice(&nonce);
    out.extend_from_slice(&tag);
    Ok(())
}

/// Opens what [`seal_boxed`] made.
pub(crate) fn open_boxed(key: &Key, aad: &[u8], boxed: &[u8]) -> Result<Vec<u8>, BrokenSeal> {
    let (nonce, sealed) = boxed.split_first_chunk::<NONCE_BYTES>().ok_or(BrokenSeal)?;
    let mut sealed = sealed.to_vec();
    let len = key.open(*nonce, aad, &mut sealed)?.len();
    sealed.truncate(len);
    Ok(sealed)
}
