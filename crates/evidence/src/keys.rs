//! Small helpers around secrets: fresh ones, derived ones, single-use encryption.

use aes_gcm::aead::{Aead, Payload};
use aes_gcm::{Aes256Gcm, KeyInit, Nonce};
use hkdf::Hkdf;
use puente_model::{Label, Secret32};
use rand_core::CryptoRngCore;
use sha2::Sha256;
use zeroize::Zeroizing;

/// Bytes that AES-256-GCM adds to a plaintext.
pub(crate) const TAG_BYTES: usize = 16;

/// 32 fresh random bytes.
pub(crate) fn fresh(rng: &mut impl CryptoRngCore) -> Secret32 {
    let mut bytes = Zeroizing::new([0; 32]);
    rng.fill_bytes(bytes.as_mut_slice());
    Secret32::new(*bytes)
}

/// `u8len(label) ‖ label ‖ (u64be len ‖ part)*`: the preimage shape of every
/// labelled hash, used as HKDF and HPKE info.
pub(crate) fn framed(label: Label, parts: &[&[u8]]) -> Vec<u8> {
    let name = label.0.as_bytes();
    let mut out = Vec::with_capacity(1 + name.len() + parts.iter().map(|p| 8 + p.len()).sum::<usize>());
    out.push(u8::try_from(name.len()).unwrap_or(u8::MAX));
    out.extend_from_slice(name);
    for part in parts {
        out.extend_from_slice(&(part.len() as u64).to_be_bytes());
        out.extend_from_slice(part);
    }
    out
}

/// HKDF-SHA256 (RFC 5869) of `secret`, no salt, `info = framed(label, parts)`, 32 bytes.
pub(crate) fn derive(secret: &Secret32, label: Label, parts: &[&[u8]]) -> Secret32 {
    let (prk, hkdf) = Hkdf::<Sha256>::extract(None, secret.expose());
    let mut out = Zeroizing::new(<[u8; 32]>::from(prk));
    // 32 bytes are within HKDF's limit of 255 hash lengths, so this cannot fail; if it
    // could, what stayed in the buffer would be the extracted key, never a constant.
    let _ = hkdf.expand(&framed(label, parts), out.as_mut_slice());
    Secret32::new(*out)
}

/// AES-256-GCM under a key that is used once; `None` only beyond GCM's 64 GiB.
pub(crate) fn seal_once(key: &Secret32, label: Label, plaintext: &[u8]) -> Option<Vec<u8>> {
    let cipher = Aes256Gcm::new(key.expose().into());
    cipher.encrypt(&Nonce::default(), Payload { msg: plaintext, aad: label.0.as_bytes() }).ok()
}

/// Opens what [`seal_once`] sealed.
pub(crate) fn open_once(key: &Secret32, label: Label, ciphertext: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    let cipher = Aes256Gcm::new(key.expose().into());
    cipher.decrypt(&Nonce::default(), Payload { msg: ciphertext, aad: label.0.as_bytes() }).ok().map(Zeroizing::new)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn derivation_is_hkdf_with_the_frame_as_info() {
        let secret = Secret32::new([7; 32]);
        let mut info = vec![3];
        info.extend_from_slice(b"a/b\0\0\0\0\0\0\0\x02xy\0\0\0\0\0\0\0\0");
        assert_eq!(framed(Label("a/b"), &[b"xy", b""]), info);
        let mut expected = [0; 32];
        Hkdf::<Sha256>::new(None, &[7; 32]).expand(&info, &mut expected).unwrap();
        assert_eq!(derive(&secret, Label("a/b"), &[b"xy", b""]).expose(), &expected);
        assert_ne!(derive(&secret, Label("a/b"), &[b"x", b"y"]).expose(), &expected);
    }

    #[test]
    fn labels_separate_what_one_key_sealed() {
        let key = Secret32::new([7; 32]);
        let sealed = seal_once(&key, Label("a"), b"text").unwrap();
        assert_eq!(sealed.len(), 4 + TAG_BYTES);
        assert_eq!(open_once(&key, Label("a"), &sealed).unwrap().as_slice(), b"text");
        assert!(open_once(&key, Label("b"), &sealed).is_none());
        assert!(open_once(&key, Label("a"), b"").is_none());
    }
}
