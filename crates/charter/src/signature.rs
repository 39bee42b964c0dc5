use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ed25519_dalek::{Signature, Signer as _, SigningKey, VerifyingKey};
use puente_model::Digest;
use puente_model::limits::PART_SIGNATURES_MAX;

use crate::check::slug;
use crate::{CharterError, GovernanceKey};

/// Begins every message that a governance key signs.
const LABEL: &[u8] = b"puente/v1/charter-signature";

/// What a governance key signs: the label, a zero byte, and the part's hash.
pub fn signed_message(part_hash: &Digest) -> Vec<u8> {
    [LABEL, &[0], part_hash.as_bytes()].concat()
}

/// Signs a part; the result prints as the line to append to `<name>.toml.sig`.
pub fn sign(part_hash: &Digest, key: &SigningKey, key_name: &str) -> PartSignature {
    PartSignature { key_name: key_name.to_owned(), signature: key.sign(&signed_message(part_hash)).to_bytes() }
}

/// One line of a signature file: `key-name base64`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartSignature {
    /// Name of the governance key.
    pub key_name: String,
    /// Ed25519 signature over [`signed_message`].
    pub signature: [u8; 64],
}

impl PartSignature {
    /// True if `key` made this signature over a part with this hash.
    pub fn verifies(&self, part_hash: &Digest, key: &VerifyingKey) -> bool {
        key.verify_strict(&signed_message(part_hash), &Signature::from_bytes(&self.signature)).is_ok()
    }
}

impl FromStr for PartSignature {
    type Err = &'static str;

    fn from_str(line: &str) -> Result<Self, &'static str> {
        let mut words = line.split_ascii_whitespace();
        let (Some(name), Some(signature), None) = (words.next(), words.next(), words.next()) else {
            return Err("a signature line is a key name and a signature in Base64");
        };
        slug("key name", name).map_err(|_| "the key name is not lower-case letters, digits and hyphens")?;
        let signature = STANDARD.decode(signature).ok().and_then(|s| s.try_into().ok());
        let signature = signature.ok_or("the signature is not 64 bytes in padded standard Base64")?;
        Ok(Self { key_name: name.to_owned(), signature })
    }
}

impl fmt::Display for PartSignature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.key_name, STANDARD.encode(self.signature))
    }
}

/// Reads a signature file; blank lines and lines that begin with `#` are comments.
pub fn parse_signatures(file: &str, text: &str) -> Result<Vec<PartSignature>, CharterError> {
    let mut out = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let error = |message| CharterError::SignatureLine { part: file.to_owned(), line: index + 1, message };
        if out.len() == PART_SIGNATURES_MAX {
            return Err(error("more than 256 signatures"));
        }
        out.push(line.parse().map_err(error)?);
    }
    Ok(out)
}

impl GovernanceKey {
    /// The key, unless it is malformed or weak.
    pub fn verifying_key(&self) -> Option<VerifyingKey> {
        VerifyingKey::from_bytes(&self.key).ok().filter(|key| !key.is_weak())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_round_trip_and_verify() {
        let key = SigningKey::from_bytes(&[3; 32]);
        let hash = Digest::of(b"part");
        let signature = sign(&hash, &key, "mx-gov-1");
        let line = signature.to_string();
        assert_eq!(line.parse(), Ok(signature.clone()));
        assert!(signature.verifies(&hash, &key.verifying_key()));
        assert!(!signature.verifies(&Digest::of(b"other"), &key.verifying_key()));
        let file = format!("# signed in Mexicali\n\n{line}\r\n");
        assert_eq!(parse_signatures("a.sig", &file), Ok(vec![signature]));
    }

    #[test]
    fn the_message_is_the_documented_one() {
        let message = signed_message(&Digest([7; 32]));
        assert_eq!(message.len(), 27 + 1 + 32);
        assert_eq!(&message[..28], b"puente/v1/charter-signature\0");
    }

    #[test]
    fn bad_lines_are_named_with_their_number() {
        for bad in ["mx-gov-1", "mx-gov-1 !!", "mx-gov-1 AAAA", "MX AAAA", "a b c"] {
            let error = parse_signatures("a.sig", &format!("# c\n{bad}\n")).unwrap_err();
            assert!(error.to_string().starts_with("a.sig, line 2: "), "{error}");
        }
    }
}
