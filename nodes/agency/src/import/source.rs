//! The file that is brought in: opened, its encoding found out, watched for changes while it is read.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Cursor, Read};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::ImportError;
use super::text::{Encoding, Guess, guess, of_mark};
use super::words::{Lang, Words};

/// Bytes from which the encoding is guessed.
const SAMPLE_BYTES: u64 = 256 * 1024;
const BUFFER_BYTES: usize = 256 * 1024;

/// Where rows come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// Standard input: read once, so a repeated import knows what is in by its records alone.
    Stdin,
    /// A file.
    File(PathBuf),
}

/// What a file was when it was opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stand {
    bytes: u64,
    modified: Option<SystemTime>,
}

/// An opened source, its byte order mark passed over; UTF-16 already turned into UTF-8.
pub struct Opened {
    bytes: Box<dyn BufRead>,
    /// In which encoding cells are decoded.
    pub encoding: Encoding,
    /// The size of a regular file.
    pub size: Option<u64>,
    watched: Option<(File, Stand)>,
}

impl std::fmt::Debug for Opened {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Opened({})", self.encoding.name())
    }
}

fn stand(file: &File) -> io::Result<Option<Stand>> {
    let meta = file.metadata()?;
    Ok(meta.is_file().then(|| Stand { bytes: meta.len(), modified: meta.modified().ok() }))
}

impl Source {
    /// The source that an operand names: '-' is standard input.
    pub fn named(path: &Path) -> Self {
        if path.as_os_str() == "-" { Self::Stdin } else { Self::File(path.to_owned()) }
    }

    /// Opens it; `encoding` is what a person said.
    ///
    /// # Errors
    /// It cannot be read, is a folder, or has an encoding that nobody can be sure of.
    pub fn open(&self, encoding: Option<Encoding>, lang: Lang) -> Result<Opened, ImportError> {
        match self {
            Self::Stdin => open(Box::new(io::stdin()), encoding, lang),
            Self::File(path) => {
                let file = File::open(path).map_err(|error| ImportError::Open { path: path.clone(), error })?;
                if file.metadata().map_err(ImportError::Read)?.is_dir() {
                    return Err(ImportError::file("folder", lang, Words::Folder, &[&path.display().to_string()]));
                }
                let watched = stand(&file).map_err(ImportError::Read)?;
                let again = file.try_clone().map_err(ImportError::Read)?;
                let mut opened = open(Box::new(file), encoding, lang)?;
                opened.size = watched.map(|s| s.bytes);
                opened.watched = watched.map(|s| (again, s));
                Ok(opened)
            }
        }
    }
}

/// The same over any reader.
///
/// # Errors
/// As [`Source::open`].
pub fn open(mut from: Box<dyn Read>, said: Option<Encoding>, lang: Lang) -> Result<Opened, ImportError> {
    let mut sample = Vec::new();
    (&mut from).take(SAMPLE_BYTES).read_to_end(&mut sample).map_err(ImportError::Read)?;
    let (encoding, mark) = match (of_mark(&sample), said) {
        (Some((marked, _)), Some(said)) if marked != said => {
            return Err(ImportError::file("encoding", lang, Words::OtherMark, &[marked.name(), said.name()]));
        }
        (Some((marked, length)), _) => (marked, length),
        (None, Some(said)) => (said, 0),
        (None, None) => match guess(&sample) {
            Guess::Safe(encoding) => (encoding, 0),
            Guess::Utf16 => return Err(ImportError::file("encoding", lang, Words::MarklessUtf16, &[])),
        },
    };
    sample.drain(..mark);
    let whole = Cursor::new(sample).chain(from);
    let bytes: Box<dyn BufRead> = match encoding {
        Encoding::Utf16Le | Encoding::Utf16Be => Box::new(BufReader::with_capacity(
            BUFFER_BYTES,
            Utf16 {
                from: BufReader::with_capacity(BUFFER_BYTES, whole),
                big: encoding == Encoding::Utf16Be,
                out: Vec::new(),
                at: 0,
            },
        )),
        _ => Box::new(BufReader::with_capacity(BUFFER_BYTES, whole)),
    };
    Ok(Opened { bytes, encoding, size: None, watched: None })
}

impl Opened {
    /// Whether the file is still what it was when it was opened.
    ///
    /// # Errors
    /// The system does not say.
    pub fn unchanged(&self) -> io::Result<bool> {
        match &self.watched {
            Some((file, before)) => Ok(stand(file)?.as_ref() == Some(before)),
            None => Ok(true),
        }
    }
}

impl Read for Opened {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        self.bytes.read(to)
    }
}

impl BufRead for Opened {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.bytes.fill_buf()
    }

    fn consume(&mut self, count: usize) {
        self.bytes.consume(count);
    }
}

/// UTF-16 as UTF-8. Half a character becomes 0xFF, which is no UTF-8: its row is refused, the others are read.
struct Utf16<R> {
    from: R,
    big: bool,
    out: Vec<u8>,
    at: usize,
}

/// One byte alone at the end: no character.
const HALF: u32 = 0xff_ffff;

impl<R: BufRead> Utf16<R> {
    fn byte(&mut self) -> io::Result<Option<u8>> {
        let byte = self.from.fill_buf()?.first().copied();
        self.from.consume(usize::from(byte.is_some()));
        Ok(byte)
    }

    /// The next two bytes as a number, or [`HALF`].
    fn unit(&mut self) -> io::Result<Option<u32>> {
        let Some(first) = self.byte()? else { return Ok(None) };
        let Some(second) = self.byte()? else { return Ok(Some(HALF)) };
        let pair = [first, second];
        Ok(Some(u32::from(if self.big { u16::from_be_bytes(pair) } else { u16::from_le_bytes(pair) })))
    }
}

impl<R: BufRead> Read for Utf16<R> {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        if self.at == self.out.len() {
            self.out.clear();
            self.at = 0;
            let mut high: Option<u32> = None;
            while self.out.len() < BUFFER_BYTES || high.is_some() {
                let Some(unit) = self.unit()? else {
                    if high.is_some() {
                        self.out.push(0xff);
                    }
                    break;
                };
                let c = match (high.take(), unit) {
                    (Some(first), 0xdc00..=0xdfff) => {
                        char::from_u32(0x1_0000 + ((first - 0xd800) << 10) + (unit - 0xdc00))
                    }
                    (alone, 0xd800..=0xdbff) => {
                        if alone.is_some() {
                            self.out.push(0xff);
                        }
                        high = Some(unit);
                        continue;
                    }
                    (alone, _) => {
                        if alone.is_some() {
                            self.out.push(0xff);
                        }
                        char::from_u32(unit)
                    }
                };
                match c {
                    Some(c) => self.out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
                    None => self.out.push(0xff),
                }
            }
        }
        let n = to.len().min(self.out.len() - self.at);
        to[..n].copy_from_slice(&self.out[self.at..self.at + n]);
        self.at += n;
        Ok(n)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(bytes: &[u8], said: Option<Encoding>) -> Result<(Encoding, Vec<u8>), ImportError> {
        let mut opened = open(Box::new(Cursor::new(bytes.to_vec())), said, Lang::En)?;
        let mut out = Vec::new();
        opened.read_to_end(&mut out).unwrap();
        Ok((opened.encoding, out))
    }

    #[test]
    fn utf_16_is_read_at_every_length() {
        let text: String = "vin,año,😀\n".repeat(60_000);
        for big in [false, true] {
            let unit = |u: u16| if big { u.to_be_bytes() } else { u.to_le_bytes() };
            let mut bytes: Vec<u8> = unit(0xfeff).to_vec();
            bytes.extend(text.encode_utf16().flat_map(unit));
            let (encoding, got) = all(&bytes, None).unwrap();
            assert_eq!(encoding, if big { Encoding::Utf16Be } else { Encoding::Utf16Le });
            assert!(got == text.as_bytes());
        }
    }

    #[test]
    fn half_characters_do_not_pass_for_text() {
        for halves in [&[0xd800_u16, 0x61][..], &[0xdc00, 0x61], &[0xd800, 0xd800, 0xdc00], &[0x61, 0xd800]] {
            let bytes: Vec<u8> = [0xfeff].iter().chain(halves).flat_map(|u: &u16| u.to_le_bytes()).collect();
            assert!(all(&bytes, None).unwrap().1.contains(&0xff), "{halves:x?}");
        }
        assert_eq!(all(b"\xff\xfea\0b", None).unwrap().1, b"a\xff", "an odd byte at the end");
    }

    #[test]
    fn what_is_said_and_what_is_marked_must_agree() {
        assert!(matches!(
            all(b"\xef\xbb\xbfvin", Some(Encoding::Latin1)),
            Err(ImportError::File { code: "encoding", .. })
        ));
        assert_eq!(all(b"\xef\xbb\xbfvin", Some(Encoding::Utf8)).unwrap(), (Encoding::Utf8, b"vin".to_vec()));
        assert_eq!(all(b"a\xf1o", None).unwrap().0, Encoding::Windows1252);
        assert_eq!(all(b"a\xf1o", Some(Encoding::Latin1)).unwrap().0, Encoding::Latin1);
        assert!(matches!(all(b"v\0i\0n\0,\0", None), Err(ImportError::File { code: "encoding", .. })));
        assert_eq!(all(b"v\0i\0n\0,\0", Some(Encoding::Utf16Le)).unwrap().1, b"vin,");
    }

    #[test]
    fn a_file_that_grows_or_shrinks_is_noticed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("v.csv");
        std::fs::write(&path, "vin\n1\n").unwrap();
        let opened = Source::named(&path).open(None, Lang::En).unwrap();
        assert!(opened.unchanged().unwrap());
        for text in ["vin\n1\n2\n", "vin\n"] {
            std::fs::write(&path, text).unwrap();
            assert!(!opened.unchanged().unwrap());
        }
        assert!(matches!(
            Source::named(dir.path()).open(None, Lang::En),
            Err(ImportError::File { code: "folder", .. })
        ));
        assert_eq!(Source::named(Path::new("-")), Source::Stdin);
    }
}
