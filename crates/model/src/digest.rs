use std::fmt;
use std::str::FromStr;

use sha2::{Digest as _, Sha256};

/// A SHA-256 digest: 32 bytes.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Digest(pub [u8; 32]);

/// A text or byte string that is not a digest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a digest is 32 bytes (64 lower-case hexadecimal digits)")]
pub struct DigestError;

impl Digest {
    /// The digest's bytes.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// SHA-256 of `bytes`, without a label (for formats that other people fixed).
    pub fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }
}

impl TryFrom<&[u8]> for Digest {
    type Error = DigestError;

    fn try_from(bytes: &[u8]) -> Result<Self, DigestError> {
        bytes.try_into().map(Self).map_err(|_| DigestError)
    }
}

impl FromStr for Digest {
    type Err = DigestError;

    fn from_str(text: &str) -> Result<Self, DigestError> {
        if text.bytes().any(|b| b.is_ascii_uppercase()) {
            return Err(DigestError);
        }
        let mut out = [0; 32];
        hex::decode_to_slice(text, &mut out).map_err(|_| DigestError)?;
        Ok(Self(out))
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Digest({self})")
    }
}

/// A domain-separation label, for example `puente/v1/commit`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Label(pub &'static str);

/// `SHA-256(u8len(label) ‖ label ‖ (u64be len ‖ part)*)`.
///
/// Every labelled hash in Puente has this one shape, so that no two inputs of
/// different meaning, or split differently, share a preimage.
pub fn digest(label: Label, parts: &[&[u8]]) -> Digest {
    let mut hash = Sha256::new();
    let name = label.0.as_bytes();
    hash.update([u8::try_from(name.len()).unwrap_or(u8::MAX)]);
    hash.update(name);
    for part in parts {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    Digest(hash.finalize().into())
}

/// Label of [`commit_hash`].
pub const COMMIT: Label = Label("puente/v1/commit");

/// The hash under which a commit of a group is ordered and taken in: `digest("puente/v1/commit", [MLSMessage bytes])`.
pub fn commit_hash(commit: &[u8]) -> Digest {
    digest(COMMIT, &[commit])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_do_not_run_together() {
        let label = Label("t");
        assert_ne!(digest(label, &[b"ab", b"c"]), digest(label, &[b"a", b"bc"]));
        assert_ne!(digest(label, &[b"ab"]), digest(Label("tab"), &[]));
        assert_ne!(digest(label, &[]), digest(label, &[b""]));
    }

    #[test]
    fn text_form_round_trips_and_is_canonical() {
        let d = Digest::of(b"x");
        assert_eq!(d.to_string().parse(), Ok(d));
        assert_eq!(d.to_string().to_uppercase().parse::<Digest>(), Err(DigestError));
        assert_eq!("00".parse::<Digest>(), Err(DigestError));
    }
}
