//! The log's signature, made by aws-lc: the same bytes as anybody's Ed25519 (RFC 8032 is deterministic), in half the time.

use std::fmt;

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use puente_audit_log::{Ed25519Signer, KeyError, KeyKind, Signer, VerifierKey};
use puente_model::Secret32;

/// Signs the heads of this node's log. Its seed stays inside; it is never printed.
pub struct LogSigner {
    // Without one, signing goes the portable way.
    quick: Option<Ed25519KeyPair>,
    portable: Ed25519Signer,
}

impl LogSigner {
    /// The signer of a log's 32-byte seed.
    ///
    /// # Errors
    /// The name is no C2SP origin.
    pub fn new(origin: &str, seed: &Secret32) -> Result<Self, KeyError> {
        let portable = Ed25519Signer::new(origin, KeyKind::Ed25519, seed)?;
        let quick = Ed25519KeyPair::from_seed_unchecked(seed.expose())
            .ok()
            .filter(|pair| pair.public_key().as_ref() == portable.verifier().public().as_slice());
        Ok(Self { quick, portable })
    }
}

impl Signer for LogSigner {
    fn sign(&self, message: &[u8]) -> [u8; 64] {
        let quick = self.quick.as_ref().and_then(|pair| pair.sign(message).as_ref().try_into().ok());
        quick.unwrap_or_else(|| self.portable.sign(message))
    }

    fn verifier(&self) -> &VerifierKey {
        self.portable.verifier()
    }
}

impl fmt::Debug for LogSigner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LogSigner({})", self.verifier())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ways_give_the_same_bytes() {
        for seed in 0..32 {
            let seed = Secret32::new([seed; 32]);
            let signer = LogSigner::new("mx/fge-bc/n1/log1", &seed).unwrap();
            assert!(signer.quick.is_some());
            for length in [0, 1, 64, 200, 1_000] {
                let message = vec![7; length];
                assert_eq!(signer.sign(&message), signer.portable.sign(&message));
            }
        }
    }
}
