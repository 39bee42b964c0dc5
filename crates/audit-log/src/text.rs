//! The two text forms shared by all C2SP formats: canonical Base64 and canonical decimals.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use puente_model::Digest;

/// Standard, padded Base64.
pub(crate) fn encode_base64(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}

/// A text that ends with a proof, one hash a line, and a note after a blank line.
pub(crate) fn proof_and_note(mut text: String, hashes: &[Digest], note: &[u8]) -> Vec<u8> {
    for hash in hashes {
        STANDARD.encode_string(hash.0, &mut text);
        text.push('\n');
    }
    text.push('\n');
    let mut bytes = text.into_bytes();
    bytes.extend_from_slice(note);
    bytes
}

/// Bytes of a canonical Base64 text: padding required, no stray bits, no white space.
pub(crate) fn decode_base64(text: &str) -> Option<Vec<u8>> {
    STANDARD.decode(text).ok()
}

/// A digest in canonical Base64 (44 characters).
pub(crate) fn decode_digest(text: impl AsRef<[u8]>) -> Option<Digest> {
    let text = text.as_ref();
    if text.len() != 44 {
        return None;
    }
    // The decoder wants room for its estimate of 33 bytes.
    let mut out = [0; 33];
    let written = STANDARD.decode_slice(text, &mut out).ok()?;
    Digest::try_from(out.get(..written)?).ok()
}

/// A decimal number with no sign and no leading zero.
pub(crate) fn decode_decimal(text: &str) -> Option<u64> {
    let canonical = text == "0" || !text.starts_with('0');
    if canonical && text.bytes().all(|b| b.is_ascii_digit()) { text.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_canonical_text_is_read() {
        assert_eq!(decode_base64("AA=="), Some(vec![0]));
        for bad in ["AA", "AB==", "AA=", "AA==\n", " AA==", "AA== ", "-_==", "A=A="] {
            assert_eq!(decode_base64(bad), None, "{bad:?}");
        }
        assert_eq!(decode_decimal("0"), Some(0));
        assert_eq!(decode_decimal("18446744073709551615"), Some(u64::MAX));
        for bad in ["", "00", "01", "+1", "-1", " 1", "1 ", "1_0", "18446744073709551616", "٣"] {
            assert_eq!(decode_decimal(bad), None, "{bad:?}");
        }
        let digest = Digest::of(b"x");
        assert_eq!(decode_digest(encode_base64(&digest.0)), Some(digest));
        assert_eq!(decode_digest(encode_base64(&[0; 31])), None);
        assert_eq!(decode_digest(encode_base64(&[0; 33])), None);
    }
}
