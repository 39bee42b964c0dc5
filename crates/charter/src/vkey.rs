//! The shape of C2SP verifier keys (signed-note).
//!
//! The charter carries them as text; only their form is checked here.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ed25519_dalek::VerifyingKey;
use puente_model::Digest;

use crate::VkeyError;

/// Who holds a key: it decides which signature types fit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Holder {
    /// A log: Ed25519 over the note (type 1).
    Log,
    /// A witness: an Ed25519 (4) or ML-DSA-44 (6) cosignature.
    Witness,
}

/// Checks `name+hash+base64` and returns the public key's bytes, without its type.
pub(crate) fn check(vkey: &str, name: &str, holder: Holder) -> Result<Vec<u8>, VkeyError> {
    let mut parts = vkey.splitn(3, '+');
    let (Some(found), Some(hash), Some(key)) = (parts.next(), parts.next(), parts.next()) else {
        return Err(VkeyError::Shape);
    };
    if found != name {
        return Err(VkeyError::Name);
    }
    let lower_hex = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
    if hash.len() != 8 || !hash.bytes().all(lower_hex) {
        return Err(VkeyError::Shape);
    }
    let typed = STANDARD.decode(key).map_err(|_| VkeyError::Shape)?;
    let preimage = [name.as_bytes(), b"\n", &typed].concat();
    if hex::encode(&Digest::of(&preimage).as_bytes()[..4]) != hash {
        return Err(VkeyError::Hash);
    }
    let (kind, public) = typed.split_first().ok_or(VkeyError::Shape)?;
    match (holder, *kind) {
        (Holder::Log, 1) | (Holder::Witness, 4) => {
            let bytes: &[u8; 32] = public.try_into().map_err(|_| VkeyError::Key)?;
            let key = VerifyingKey::from_bytes(bytes).map_err(|_| VkeyError::Key)?;
            if key.is_weak() {
                return Err(VkeyError::Key);
            }
        }
        (Holder::Witness, 6) if public.len() == 1312 => {}
        (Holder::Witness, 6) => return Err(VkeyError::Key),
        _ => return Err(VkeyError::Type),
    }
    Ok(public.to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{vkey, witness_vkey};

    #[test]
    fn each_defect_has_its_name() {
        let good = vkey("mx/a/n/log1", 7);
        assert_eq!(check(&good, "mx/a/n/log1", Holder::Log).map(|k| k.len()), Ok(32));
        assert_eq!(check(&good, "mx/a/n/log2", Holder::Log), Err(VkeyError::Name));
        assert_eq!(check("mx/a/n/log1", "mx/a/n/log1", Holder::Log), Err(VkeyError::Shape));
        assert_eq!(check(&good[..good.len() - 1], "mx/a/n/log1", Holder::Log), Err(VkeyError::Shape));
        assert_eq!(check(&good, "mx/a/n/log1", Holder::Witness), Err(VkeyError::Type));
        let witness = witness_vkey("w1", 8);
        assert!(check(&witness, "w1", Holder::Witness).is_ok());
        assert_eq!(check(&witness, "w1", Holder::Log), Err(VkeyError::Type));
        let mut parts = good.splitn(3, '+');
        let (name, key) = (parts.next().unwrap(), parts.nth(1).unwrap());
        assert_eq!(check(&format!("{name}+00000000+{key}"), name, Holder::Log), Err(VkeyError::Hash));
        assert_eq!(check(&format!("{name}+0000000G+{key}"), name, Holder::Log), Err(VkeyError::Shape));
    }
}
