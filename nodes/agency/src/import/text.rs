//! In which encoding a file is written, and its bytes as text.
//!
//! Every encoding but UTF-16 has line ends, separators and quotes as ASCII bytes: rows are found in the bytes and each
//! cell is decoded alone, so that one wrong cell is one wrong row. UTF-16 becomes UTF-8 before rows are looked for.

use std::borrow::Cow;

/// How the characters of a file are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    /// UTF-8, with or without a mark.
    Utf8,
    /// ISO 8859-1.
    Latin1,
    /// Windows-1252: ISO 8859-1 with typographic characters.
    Windows1252,
    /// UTF-16, little end first.
    Utf16Le,
    /// UTF-16, big end first.
    Utf16Be,
}

impl Encoding {
    /// Its common name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Utf8 => "UTF-8",
            Self::Latin1 => "ISO-8859-1",
            Self::Windows1252 => "windows-1252",
            Self::Utf16Le => "UTF-16LE",
            Self::Utf16Be => "UTF-16BE",
        }
    }
}

/// Why bytes are not text of an encoding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BadText {
    /// This byte at this position (from 0) stands for nothing.
    Byte { at: usize, byte: u8 },
    /// The bytes are UTF-8, which is not what the file is read as.
    Utf8,
}

/// What stands at 0x80 to 0x9F in Windows-1252; five of them are not given out.
const WINDOWS_1252: [char; 32] = [
    '€', '\0', '‚', 'ƒ', '„', '…', '†', '‡', 'ˆ', '‰', 'Š', '‹', 'Œ', '\0', 'Ž', '\0', '\0', '‘', '’', '“', '”', '•',
    '–', '—', '˜', '™', 'š', '›', 'œ', '\0', 'ž', 'Ÿ',
];

/// One cell as text.
pub(crate) fn decode(encoding: Encoding, bytes: &[u8]) -> Result<Cow<'_, str>, BadText> {
    let utf8 = std::str::from_utf8(bytes);
    match (encoding, utf8) {
        (Encoding::Utf8 | Encoding::Utf16Le | Encoding::Utf16Be, Ok(text)) => Ok(Cow::Borrowed(text)),
        (Encoding::Utf8 | Encoding::Utf16Le | Encoding::Utf16Be, Err(error)) => {
            let at = error.valid_up_to();
            Err(BadText::Byte { at, byte: bytes.get(at).copied().unwrap_or_default() })
        }
        (_, Ok(text)) if text.is_ascii() => Ok(Cow::Borrowed(text)),
        // Two Latin letters in a row that happen to be a UTF-8 character are no word of any language of the region.
        (_, Ok(_)) => Err(BadText::Utf8),
        (_, Err(_)) => {
            let mut text = String::with_capacity(bytes.len() + 8);
            for (at, byte) in bytes.iter().enumerate() {
                text.push(single(encoding, *byte).ok_or(BadText::Byte { at, byte: *byte })?);
            }
            Ok(Cow::Owned(text))
        }
    }
}

/// The character of one byte in a single-byte encoding.
fn single(encoding: Encoding, byte: u8) -> Option<char> {
    match (encoding, byte) {
        (Encoding::Windows1252, 0x80..=0x9f) => {
            WINDOWS_1252.get(usize::from(byte) - 0x80).copied().filter(|c| *c != '\0')
        }
        (_, 0x80..=0x9f) => None,
        (_, byte) => Some(char::from(byte)),
    }
}

/// The encoding that a byte order mark names, and the mark's length.
pub(crate) fn of_mark(start: &[u8]) -> Option<(Encoding, usize)> {
    match start {
        [0xef, 0xbb, 0xbf, ..] => Some((Encoding::Utf8, 3)),
        [0xff, 0xfe, ..] => Some((Encoding::Utf16Le, 2)),
        [0xfe, 0xff, ..] => Some((Encoding::Utf16Be, 2)),
        _ => None,
    }
}

/// What the first part of a file without a mark says about its encoding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Guess {
    /// This one.
    Safe(Encoding),
    /// It looks like UTF-16 without a mark.
    Utf16,
}

/// Letters and signs above 0x7F that Spanish and English texts hold, in Windows-1252.
const USUAL: &[u8] = b"\xe1\xe9\xed\xf3\xfa\xfc\xf1\xc1\xc9\xcd\xd3\xda\xdc\xd1\xbf\xa1\xaa\xba\xb0\xab\xbb\
    \x91\x92\x93\x94\x96\x97\x85\xb4\xb7\xa0\xe7\xc7";

/// UTF-8, unless every byte above 0x7F says Windows-1252 and not one of them could be UTF-8.
///
/// Latin-1 text has the same letters at the same places, so Windows-1252 reads it too. `sample` may end anywhere.
pub(crate) fn guess(sample: &[u8]) -> Guess {
    let zeros = sample.iter().filter(|b| **b == 0).count();
    if sample.len() >= 8 && zeros * 4 >= sample.len() {
        return Guess::Utf16;
    }
    let high = sample.iter().filter(|b| **b >= 0x80);
    let usual = high.clone().all(|b| USUAL.contains(b));
    if high.count() > 0 && usual && !has_utf8_character(sample) {
        return Guess::Safe(Encoding::Windows1252);
    }
    Guess::Safe(Encoding::Utf8)
}

/// Whether any character beyond ASCII is written as UTF-8, or may be where the sample ends.
fn has_utf8_character(sample: &[u8]) -> bool {
    let mut rest = sample;
    loop {
        match std::str::from_utf8(rest) {
            Ok(text) => return !text.is_ascii(),
            Err(error) => {
                let good = error.valid_up_to();
                let Some(bad) = error.error_len() else { return true };
                if !rest.iter().take(good).all(u8::is_ascii) {
                    return true;
                }
                rest = rest.get(good + bad..).unwrap_or_default();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_encoding_reads_its_own_and_names_what_is_not() {
        let table: [(Encoding, &[u8], Result<&str, BadText>); 9] = [
            (Encoding::Utf8, "Peñasco".as_bytes(), Ok("Peñasco")),
            (Encoding::Utf8, b"Pe\xf1asco", Err(BadText::Byte { at: 2, byte: 0xf1 })),
            (Encoding::Latin1, b"Pe\xf1asco", Ok("Peñasco")),
            (Encoding::Windows1252, b"Pe\xf1asco \x97 \x80", Ok("Peñasco — €")),
            (Encoding::Latin1, b"\x97", Err(BadText::Byte { at: 0, byte: 0x97 })),
            (Encoding::Windows1252, b"a\x81", Err(BadText::Byte { at: 1, byte: 0x81 })),
            (Encoding::Windows1252, "Peñasco".as_bytes(), Err(BadText::Utf8)),
            (Encoding::Latin1, "Peñasco".as_bytes(), Err(BadText::Utf8)),
            (Encoding::Latin1, b"plain", Ok("plain")),
        ];
        for (encoding, bytes, want) in table {
            assert_eq!(decode(encoding, bytes), want.map(Cow::Borrowed), "{encoding:?} {bytes:x?}");
        }
    }

    #[test]
    fn only_what_is_safe_is_guessed() {
        let utf8 = Guess::Safe(Encoding::Utf8);
        assert_eq!(guess(b""), utf8);
        assert_eq!(guess(b"plain"), utf8);
        assert_eq!(guess("Peñasco".as_bytes()), utf8);
        assert_eq!(guess(b"Pe\xf1asco,Le\xf3n"), Guess::Safe(Encoding::Windows1252));
        // One UTF-8 character among them: two encodings in one file, so each row is judged for itself.
        assert_eq!(guess(&[b"Pe\xf1asco,".as_slice(), "León".as_bytes()].concat()), utf8);
        // Bytes that no text of the region holds: not guessed.
        assert_eq!(guess(b"\xf0\x9f"), utf8);
        assert_eq!(guess(b"a\x81b"), utf8);
        // A sample cut within a character.
        assert_eq!(guess(&"Peñ".as_bytes()[..3]), utf8);
        assert_eq!(guess(b"v\0i\0n\0,\0"), Guess::Utf16);
    }

    #[test]
    fn marks_name_their_encoding() {
        assert_eq!(of_mark(b"\xef\xbb\xbfa"), Some((Encoding::Utf8, 3)));
        assert_eq!(of_mark(b"\xff\xfea"), Some((Encoding::Utf16Le, 2)));
        assert_eq!(of_mark(b"\xfe\xff"), Some((Encoding::Utf16Be, 2)));
        assert_eq!(of_mark(b"vin"), None);
    }
}
