//! Keys in a token, as the log and TLS use them.

use std::time::Duration;

use puente_audit_log::{KeyKind, Signer, VerifierKey};
use puente_model::Digest;
use rustls::pki_types::SubjectPublicKeyInfoDer;
use rustls::sign::SigningKey;
use rustls::{SignatureAlgorithm, SignatureScheme};

use super::{Kind, Token, TokenError, Work};

/// How long the log waits between two attempts.
const AGAIN: Duration = Duration::from_millis(500);
/// What stands before the point in a SubjectPublicKeyInfo of P-256 (RFC 5480).
const SPKI: &[u8] = &[
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce,
    0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
];

/// Signs the heads of this node's log with a key in a token.
///
/// While the token does not answer, `sign` waits for it, as for a disk that hangs: nothing is recorded, sent or lost
/// meanwhile, and the node is not ready.
#[derive(Debug)]
pub(crate) struct TokenSigner {
    token: Token,
    label: String,
    verifier: VerifierKey,
}

impl TokenSigner {
    /// # Errors
    /// The token does not answer, holds no such key, or one that makes no signatures of its public half.
    pub(crate) fn new(token: Token, label: String, origin: &str) -> Result<Self, TokenError> {
        let unfit =
            |why: &str| TokenError::Unfit { token: token.name().to_owned(), label: label.clone(), why: why.to_owned() };
        let public = token.public(&label, Kind::Ed25519)?;
        let public: [u8; 32] = public.try_into().map_err(|_| unfit("its public half cannot be read"))?;
        let verifier =
            VerifierKey::new(origin, KeyKind::Ed25519, &public).map_err(|error| unfit(&error.to_string()))?;
        Ok(Self { token, label, verifier })
    }

    /// One attempt.
    pub(crate) fn try_sign(&self, message: &[u8]) -> Result<[u8; 64], TokenError> {
        let work = Work::Sign { label: self.label.clone(), kind: Kind::Ed25519, data: message.to_vec() };
        let signature = self.token.ask(work)?;
        signature.try_into().map_err(|_| TokenError::Unfit {
            token: self.token.name().to_owned(),
            label: self.label.clone(),
            why: "its signatures are not Ed25519's".to_owned(),
        })
    }
}

impl Signer for TokenSigner {
    fn sign(&self, message: &[u8]) -> [u8; 64] {
        let mut said = None;
        loop {
            match self.try_sign(message) {
                Ok(signature) => {
                    if said.is_some() {
                        tracing::info!(token = self.token.name(), "the token signs again");
                    }
                    return signature;
                }
                Err(error) => {
                    // Once for each cause.
                    if said.as_ref() != Some(&error) {
                        tracing::error!("the log waits for its key: {error}; {}", error.mend());
                    }
                    said = Some(error);
                    std::thread::sleep(AGAIN);
                }
            }
        }
    }

    fn verifier(&self) -> &VerifierKey {
        &self.verifier
    }
}

/// The node's TLS key in a token: ECDSA over P-256.
#[derive(Debug, Clone)]
pub(crate) struct TokenTlsKey {
    token: Token,
    label: String,
    spki: Vec<u8>,
}

impl TokenTlsKey {
    /// # Errors
    /// The token does not answer, or holds no such key.
    pub(crate) fn new(token: Token, label: String) -> Result<Self, TokenError> {
        let point = token.public(&label, Kind::P256)?;
        Ok(Self { token, label, spki: [SPKI, &point].concat() })
    }
}

impl SigningKey for TokenTlsKey {
    fn choose_scheme(&self, offered: &[SignatureScheme]) -> Option<Box<dyn rustls::sign::Signer>> {
        let ours = offered.contains(&SignatureScheme::ECDSA_NISTP256_SHA256);
        ours.then(|| Box::new(self.clone()) as Box<dyn rustls::sign::Signer>)
    }

    fn public_key(&self) -> Option<SubjectPublicKeyInfoDer<'_>> {
        Some(SubjectPublicKeyInfoDer::from(self.spki.as_slice()))
    }

    fn algorithm(&self) -> SignatureAlgorithm {
        SignatureAlgorithm::ECDSA
    }
}

impl rustls::sign::Signer for TokenTlsKey {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rustls::Error> {
        let data = Digest::of(message).0.to_vec();
        let signature = self.token.ask(Work::Sign { label: self.label.clone(), kind: Kind::P256, data });
        let signature = signature.map_err(|error| rustls::Error::General(error.to_string()))?;
        der(&signature).ok_or_else(|| rustls::Error::General("the token's signature is not ECDSA's".to_owned()))
    }

    fn scheme(&self) -> SignatureScheme {
        SignatureScheme::ECDSA_NISTP256_SHA256
    }
}

/// For signing requests: PKCS #10 wants the same signature as TLS.
impl rcgen::PublicKeyData for TokenTlsKey {
    fn der_bytes(&self) -> &[u8] {
        self.spki.get(SPKI.len()..).unwrap_or_default()
    }

    fn algorithm(&self) -> &'static rcgen::SignatureAlgorithm {
        &rcgen::PKCS_ECDSA_P256_SHA256
    }
}

impl rcgen::SigningKey for TokenTlsKey {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rcgen::Error> {
        rustls::sign::Signer::sign(self, message).map_err(|_| rcgen::Error::RemoteKeyError)
    }
}

/// `r ‖ s` as the ECDSA-Sig-Value of DER (RFC 3279 §2.2.3).
fn der(signature: &[u8]) -> Option<Vec<u8>> {
    if signature.len() != 64 {
        return None;
    }
    let mut body = Vec::with_capacity(72);
    for half in signature.chunks(32) {
        let digits = &half[half.iter().position(|byte| *byte != 0).unwrap_or(half.len() - 1)..];
        let sign = usize::from(digits[0] >= 0x80);
        body.extend([2, u8::try_from(digits.len() + sign).ok()?]);
        body.extend(std::iter::repeat_n(0, sign));
        body.extend_from_slice(digits);
    }
    Some([&[0x30, u8::try_from(body.len()).ok()?], body.as_slice()].concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signatures_become_der_with_the_shortest_numbers() {
        let mut raw = [0; 64];
        (raw[31], raw[32]) = (0x7f, 0x80);
        let out = der(&raw).unwrap();
        assert_eq!(out[..5], [0x30, 38, 2, 1, 0x7f]);
        assert_eq!(out[5..9], [2, 33, 0, 0x80]);
        assert_eq!(der(&[0; 64]).unwrap(), [0x30, 6, 2, 1, 0, 2, 1, 0]);
        assert_eq!(der(&[0; 63]), None);
    }
}
