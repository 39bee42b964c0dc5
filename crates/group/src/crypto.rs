//! The cryptography that `openmls` works with: aws-lc, and `hpke-rs` as in `crates/evidence`.
//!
//! Not `openmls_rust_crypto`: it pulls in an ML-KEM that cannot be built in one workspace with the one of the age format
//! (both demand the crate `kem`, in versions that exclude each other), nine second versions of crates, and software where
//! this workspace has aws-lc.

use aws_lc_rs::aead::{AES_128_GCM, AES_256_GCM, Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1, ED25519, UnparsedPublicKey};
use aws_lc_rs::{digest, hkdf, hmac, rand};
use hpke_rs::{Hpke, HpkePrivateKey, HpkePublicKey, Mode};
use hpke_rs_crypto::HpkeCrypto;
use hpke_rs_crypto::types::{AeadAlgorithm, KdfAlgorithm, KemAlgorithm};
use openmls_traits::crypto::OpenMlsCrypto;
use openmls_traits::random::OpenMlsRand;
use openmls_traits::types::{
    AeadType, Ciphersuite, CryptoError, ExporterSecret, HashType, HpkeAeadType, HpkeCiphertext, HpkeConfig,
    HpkeKdfType, HpkeKemType, HpkeKeyPair, KemOutput, SignatureScheme,
};
use tls_codec::SecretVLBytes;

use crate::suite::Suite;

/// Stateless; randomness is the system's.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Crypto;

/// The system gave no randomness.
#[derive(Debug, thiserror::Error)]
#[error("the system gives no randomness")]
pub(crate) struct NoRandomness;

impl OpenMlsRand for Crypto {
    type Error = NoRandomness;

    fn random_array<const N: usize>(&self) -> Result<[u8; N], NoRandomness> {
        let mut bytes = [0; N];
        rand::fill(&mut bytes).map_err(|_| NoRandomness)?;
        Ok(bytes)
    }

    fn random_vec(&self, len: usize) -> Result<Vec<u8>, NoRandomness> {
        let mut bytes = vec![0; len];
        rand::fill(&mut bytes).map_err(|_| NoRandomness)?;
        Ok(bytes)
    }
}

struct Length(usize);

impl hkdf::KeyType for Length {
    fn len(&self) -> usize {
        self.0
    }
}

fn mac(hash: HashType, key: &[u8], message: &[u8]) -> SecretVLBytes {
    let algorithm = match hash {
        HashType::Sha2_256 => hmac::HMAC_SHA256,
        HashType::Sha2_384 => hmac::HMAC_SHA384,
        HashType::Sha2_512 => hmac::HMAC_SHA512,
    };
    hmac::sign(&hmac::Key::new(algorithm, key), message).as_ref().into()
}

fn aead_key(kind: AeadType, key: &[u8]) -> Result<LessSafeKey, CryptoError> {
    let algorithm = match kind {
        AeadType::Aes128Gcm => &AES_128_GCM,
        AeadType::Aes256Gcm => &AES_256_GCM,
        AeadType::ChaCha20Poly1305 => &CHACHA20_POLY1305,
    };
    Ok(LessSafeKey::new(UnboundKey::new(algorithm, key).map_err(|_| CryptoError::InvalidLength)?))
}

fn nonce(nonce: &[u8]) -> Result<Nonce, CryptoError> {
    Nonce::try_assume_unique_for_key(nonce).map_err(|_| CryptoError::InvalidLength)
}

/// Does something with the HPKE of a configuration.
macro_rules! hpke {
    ($config:expr, |$hpke:ident| $body:expr) => {
        match $config.0 {
            HpkeKemType::DhKem25519 | HpkeKemType::DhKemP256 => {
                #[allow(unused_mut)]
                let mut $hpke = hpke::<hpke_rs_rust_crypto::HpkeRustCrypto>(&$config)?;
                $body
            }
            #[cfg(feature = "hybrid")]
            HpkeKemType::XWingKemDraft6 => {
                #[allow(unused_mut)]
                let mut $hpke = hpke::<hpke_rs::libcrux::HpkeLibcrux>(&$config)?;
                $body
            }
            _ => Err(CryptoError::UnsupportedCiphersuite),
        }
    };
}

fn hpke<C: HpkeCrypto>(config: &HpkeConfig) -> Result<Hpke<C>, CryptoError> {
    let kem = match config.0 {
        HpkeKemType::DhKem25519 => KemAlgorithm::DhKem25519,
        HpkeKemType::DhKemP256 => KemAlgorithm::DhKemP256,
        #[cfg(feature = "hybrid")]
        HpkeKemType::XWingKemDraft6 => KemAlgorithm::XWingDraft06,
        _ => return Err(CryptoError::UnsupportedCiphersuite),
    };
    let kdf = match config.1 {
        HpkeKdfType::HkdfSha256 => KdfAlgorithm::HkdfSha256,
        HpkeKdfType::HkdfSha384 => KdfAlgorithm::HkdfSha384,
        HpkeKdfType::HkdfSha512 => KdfAlgorithm::HkdfSha512,
    };
    let aead = match config.2 {
        HpkeAeadType::AesGcm128 => AeadAlgorithm::Aes128Gcm,
        HpkeAeadType::AesGcm256 => AeadAlgorithm::Aes256Gcm,
        HpkeAeadType::ChaCha20Poly1305 => AeadAlgorithm::ChaCha20Poly1305,
        HpkeAeadType::Export => AeadAlgorithm::HpkeExport,
    };
    Ok(Hpke::new(Mode::Base, kem, kdf, aead))
}

impl OpenMlsCrypto for Crypto {
    fn supports(&self, suite: Ciphersuite) -> Result<(), CryptoError> {
        Suite::from_code(u16::from(suite)).map(|_| ()).ok_or(CryptoError::UnsupportedCiphersuite)
    }

    fn supported_ciphersuites(&self) -> Vec<Ciphersuite> {
        Suite::ALL.iter().map(|suite| suite.mls()).collect()
    }

    fn hkdf_extract(&self, hash: HashType, salt: &[u8], ikm: &[u8]) -> Result<SecretVLBytes, CryptoError> {
        Ok(mac(hash, salt, ikm))
    }

    fn hmac(&self, hash: HashType, key: &[u8], message: &[u8]) -> Result<SecretVLBytes, CryptoError> {
        Ok(mac(hash, key, message))
    }

    fn hkdf_expand(&self, hash: HashType, prk: &[u8], info: &[u8], len: usize) -> Result<SecretVLBytes, CryptoError> {
        let algorithm = match hash {
            HashType::Sha2_256 => hkdf::HKDF_SHA256,
            HashType::Sha2_384 => hkdf::HKDF_SHA384,
            HashType::Sha2_512 => hkdf::HKDF_SHA512,
        };
        let prk = hkdf::Prk::new_less_safe(algorithm, prk);
        let info = [info];
        let expanded = prk.expand(&info, Length(len)).map_err(|_| CryptoError::HkdfOutputLengthInvalid)?;
        let mut bytes = vec![0; len];
        expanded.fill(&mut bytes).map_err(|_| CryptoError::HkdfOutputLengthInvalid)?;
        Ok(bytes.into())
    }

    fn hash(&self, hash: HashType, data: &[u8]) -> Result<Vec<u8>, CryptoError> {
        let algorithm = match hash {
            HashType::Sha2_256 => &digest::SHA256,
            HashType::Sha2_384 => &digest::SHA384,
            HashType::Sha2_512 => &digest::SHA512,
        };
        Ok(digest::digest(algorithm, data).as_ref().to_vec())
    }

    fn aead_encrypt(
        &self,
        kind: AeadType,
        key: &[u8],
        data: &[u8],
        unique: &[u8],
        aad: &[u8],
    ) -> Result<Vec<u8>, CryptoError> {
        let mut bytes = Vec::with_capacity(data.len() + AES_128_GCM.tag_len());
        bytes.extend_from_slice(data);
        let sealed = aead_key(kind, key)?.seal_in_place_append_tag(nonce(unique)?, Aad::from(aad), &mut bytes);
        sealed.map_err(|_| CryptoError::TooMuchData)?;
        Ok(bytes)
    }

    fn aead_decrypt(
        &self,
        kind: AeadType,
        key: &[u8],
        sealed: &[u8],
        unique: &[u8],
        aad: &[u8],
    ) -> Result<Vec<u8>, CryptoError> {
        let mut bytes = sealed.to_vec();
        let opened = aead_key(kind, key)?.open_in_place(nonce(unique)?, Aad::from(aad), &mut bytes);
        let length = opened.map_err(|_| CryptoError::AeadDecryptionError)?.len();
        bytes.truncate(length);
        Ok(bytes)
    }

    /// Leaves' keys come with their certificates: none is made here.
    fn signature_key_gen(&self, _: SignatureScheme) -> Result<(Vec<u8>, Vec<u8>), CryptoError> {
        Err(CryptoError::UnsupportedSignatureScheme)
    }

    fn verify_signature(
        &self,
        scheme: SignatureScheme,
        data: &[u8],
        key: &[u8],
        signature: &[u8],
    ) -> Result<(), CryptoError> {
        let verified = match scheme {
            SignatureScheme::ED25519 => UnparsedPublicKey::new(&ED25519, key).verify(data, signature),
            SignatureScheme::ECDSA_SECP256R1_SHA256 => {
                UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, key).verify(data, signature)
            }
            _ => return Err(CryptoError::UnsupportedSignatureScheme),
        };
        verified.map_err(|_| CryptoError::InvalidSignature)
    }

    /// Leaves sign with a [`LeafSigner`](crate::LeafSigner), which keeps its key to itself.
    fn sign(&self, _: SignatureScheme, _: &[u8], _: &[u8]) -> Result<Vec<u8>, CryptoError> {
        Err(CryptoError::UnsupportedSignatureScheme)
    }

    fn hpke_seal(
        &self,
        config: HpkeConfig,
        to: &[u8],
        info: &[u8],
        aad: &[u8],
        plain: &[u8],
    ) -> Result<HpkeCiphertext, CryptoError> {
        let to = HpkePublicKey::new(to.to_vec());
        hpke!(config, |hpke| {
            let sealed = hpke.seal(&to, info, aad, plain, None, None, None);
            let (kem_output, ciphertext) = sealed.map_err(|_| CryptoError::HpkeEncryptionError)?;
            Ok(HpkeCiphertext { kem_output: kem_output.into(), ciphertext: ciphertext.into() })
        })
    }

    fn hpke_open(
        &self,
        config: HpkeConfig,
        sealed: &HpkeCiphertext,
        secret: &[u8],
        info: &[u8],
        aad: &[u8],
    ) -> Result<Vec<u8>, CryptoError> {
        let secret = HpkePrivateKey::new(secret.to_vec());
        let (enc, bytes) = (sealed.kem_output.as_slice(), sealed.ciphertext.as_slice());
        hpke!(config, |hpke| {
            hpke.open(enc, &secret, info, aad, bytes, None, None, None).map_err(|_| CryptoError::HpkeDecryptionError)
        })
    }

    fn hpke_setup_sender_and_export(
        &self,
        config: HpkeConfig,
        to: &[u8],
        info: &[u8],
        context: &[u8],
        length: usize,
    ) -> Result<(KemOutput, ExporterSecret), CryptoError> {
        let to = HpkePublicKey::new(to.to_vec());
        hpke!(config, |hpke| {
            let (enc, sender) =
                hpke.setup_sender(&to, info, None, None, None).map_err(|_| CryptoError::SenderSetupError)?;
            let secret = sender.export(context, length).map_err(|_| CryptoError::ExporterError)?;
            Ok((enc, secret.into()))
        })
    }

    fn hpke_setup_receiver_and_export(
        &self,
        config: HpkeConfig,
        enc: &[u8],
        secret: &[u8],
        info: &[u8],
        context: &[u8],
        length: usize,
    ) -> Result<ExporterSecret, CryptoError> {
        let secret = HpkePrivateKey::new(secret.to_vec());
        hpke!(config, |hpke| {
            let receiver = hpke.setup_receiver(enc, &secret, info, None, None, None);
            let receiver = receiver.map_err(|_| CryptoError::ReceiverSetupError)?;
            Ok(receiver.export(context, length).map_err(|_| CryptoError::ExporterError)?.into())
        })
    }

    fn derive_hpke_keypair(&self, config: HpkeConfig, ikm: &[u8]) -> Result<HpkeKeyPair, CryptoError> {
        hpke!(config, |hpke| {
            let pair = hpke.derive_key_pair(ikm).map_err(|_| CryptoError::InvalidLength)?;
            let (private, public) = pair.into_keys();
            Ok(HpkeKeyPair { private: private.as_slice().into(), public: public.as_slice().to_vec() })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(text: &str) -> Vec<u8> {
        (0..text.len()).step_by(2).map(|i| u8::from_str_radix(&text[i..i + 2], 16).unwrap()).collect()
    }

    #[test]
    fn published_vectors_hold() {
        let sha256 = HashType::Sha2_256;
        // RFC 5869, case 1.
        let prk = Crypto.hkdf_extract(sha256, &hex("000102030405060708090a0b0c"), &[0x0b; 22]).unwrap();
        assert_eq!(prk.as_slice(), hex("077709362c2e32df0ddc3f0dc47bba6390b6c73bb50f9c3122ec844ad7c2b3e5"));
        let okm = Crypto.hkdf_expand(sha256, prk.as_slice(), &hex("f0f1f2f3f4f5f6f7f8f9"), 42).unwrap();
        let expected = "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865";
        assert_eq!(okm.as_slice(), hex(expected));
        // The GCM specification, case 2.
        let sealed = Crypto.aead_encrypt(AeadType::Aes128Gcm, &[0; 16], &[0; 16], &[0; 12], b"").unwrap();
        assert_eq!(sealed, hex("0388dace60b6a392f328c2b971b2fe78ab6e47d42cec13bdf53a67b21257bddf"));
        let opened = Crypto.aead_decrypt(AeadType::Aes128Gcm, &[0; 16], &sealed, &[0; 12], b"").unwrap();
        assert_eq!(opened, [0; 16]);
        let other = Crypto.aead_decrypt(AeadType::Aes128Gcm, &[0; 16], &sealed, &[0; 12], b"x");
        assert_eq!(other, Err(CryptoError::AeadDecryptionError));
        // RFC 9180, A.1.1.
        let config = HpkeConfig(HpkeKemType::DhKem25519, HpkeKdfType::HkdfSha256, HpkeAeadType::AesGcm128);
        let ikm = hex("7268600d403fce431561aef583ee1613527cff655c1343f29812e66706df3234");
        let pair = Crypto.derive_hpke_keypair(config, &ikm).unwrap();
        assert_eq!(pair.public, hex("37fda3567bdbd628e88668c3c8d7e97d1d1253b6d4ea6d44c150f741f1bf4431"));
        // RFC 8032, 7.1, test 1.
        let key = hex("d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a");
        let signature = hex(concat!(
            "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e06522490155",
            "5fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b"
        ));
        assert_eq!(Crypto.verify_signature(SignatureScheme::ED25519, b"", &key, &signature), Ok(()));
        let other = Crypto.verify_signature(SignatureScheme::ED25519, b"x", &key, &signature);
        assert_eq!(other, Err(CryptoError::InvalidSignature));
    }
}
