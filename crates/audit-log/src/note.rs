//! Signed notes (C2SP signed-note): a text, a blank line, signature lines.

use std::fmt;

use puente_model::Millis;
use puente_model::limits::{NOTE_BYTES_MAX, NOTE_SIGNATURES_MAX};

use crate::key::{KeyId, KeyKind, Signer, VerifierKey, is_key_name};
use crate::text::{decode_base64, encode_base64};

/// Why a note was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NoteError {
    /// More bytes than a note may have.
    #[error("the note has {found} bytes; at most {NOTE_BYTES_MAX} are read")]
    TooLong {
        /// Bytes found.
        found: usize,
    },
    /// Not UTF-8, or a control character other than newline.
    #[error("a note is UTF-8 text without control characters")]
    NotText,
    /// No blank line before the signatures.
    #[error("the note has no blank line between text and signatures")]
    NoBlankLine,
    /// The last line does not end in a newline, or there is no signature line.
    #[error("the note does not end in a signature line")]
    NoSignatures,
    /// A line after the blank line that is not `— name base64`.
    #[error("signature line {line} is malformed: use an em dash, a space, the key name, a space, canonical Base64")]
    BadLine {
        /// The line's number among the signature lines, from 1.
        line: usize,
    },
    /// More signatures than a note may have.
    #[error("the note has more than {NOTE_SIGNATURES_MAX} signatures")]
    TooManySignatures,
    /// A key that we know signed, and its signature does not hold.
    #[error("the signature of known key {name} ({id}) does not verify: the note is forged or damaged")]
    BadSignature {
        /// Name of the key.
        name: String,
        /// Id of the key.
        id: KeyId,
    },
    /// No known key signed.
    #[error("no known key signed the note; pin the signer's key first")]
    NoKnownSignature,
}

/// One signature line: who, and the bytes. A claim until it is verified.
#[derive(Clone, PartialEq, Eq)]
pub struct NoteSignature {
    name: String,
    id: KeyId,
    blob: Vec<u8>,
}

impl NoteSignature {
    pub(crate) fn new(key: &VerifierKey, blob: Vec<u8>) -> Self {
        Self { name: key.name().to_owned(), id: key.id(), blob }
    }

    /// Parses one line, without its newline.
    pub fn parse(line: &str) -> Option<Self> {
        let (name, blob) = line.strip_prefix("— ")?.split_once(' ')?;
        let bytes = decode_base64(blob)?;
        let (id, blob) = bytes.split_first_chunk::<4>()?;
        let sound = is_key_name(name) && !blob.is_empty();
        sound.then(|| Self { name: name.to_owned(), id: KeyId(*id), blob: blob.to_vec() })
    }

    /// Parses lines that each end in a newline, as a witness returns them.
    pub fn parse_lines(text: &str) -> Result<Vec<Self>, NoteError> {
        let lines = text.strip_suffix('\n').ok_or(NoteError::NoSignatures)?;
        let mut out = Vec::new();
        for (at, line) in lines.split('\n').enumerate() {
            if at == NOTE_SIGNATURES_MAX {
                return Err(NoteError::TooManySignatures);
            }
            out.push(Self::parse(line).ok_or(NoteError::BadLine { line: at + 1 })?);
        }
        Ok(out)
    }

    /// The signer's name, as the line says.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The key's id, as the line says.
    pub const fn id(&self) -> KeyId {
        self.id
    }

    /// True if the line names this key.
    pub fn names(&self, key: &VerifierKey) -> bool {
        self.id == key.id() && self.name == key.name()
    }

    /// Checks this signature of `text`; returns the time that it states, if its kind states one.
    pub(crate) fn verify(&self, key: &VerifierKey, text: &str) -> Result<Option<Millis>, NoteError> {
        let bad = || NoteError::BadSignature { name: self.name.clone(), id: self.id };
        match key.kind() {
            KeyKind::Ed25519 => {
                let signature = self.blob.as_slice().try_into().map_err(|_| bad())?;
                key.accepts(text.as_bytes(), signature).then_some(None).ok_or_else(bad)
            }
            KeyKind::CosignatureV1 => {
                let (time, signature) = self.blob.split_first_chunk::<8>().ok_or_else(bad)?;
                let seconds = u64::from_be_bytes(*time);
                let signature = signature.try_into().map_err(|_| bad())?;
                let at = seconds.checked_mul(1000).map(Millis).ok_or_else(bad)?;
                key.accepts(&cosigned_message(text, seconds), signature).then_some(Some(at)).ok_or_else(bad)
            }
        }
    }

    /// Signs `text` with a key of either kind; `now` is what a cosignature states (whole seconds).
    pub(crate) fn sign(text: &str, signer: &dyn Signer, now: Millis) -> Self {
        let key = signer.verifier();
        let blob = match key.kind() {
            KeyKind::Ed25519 => signer.sign(text.as_bytes()).to_vec(),
            KeyKind::CosignatureV1 => {
                let seconds = now.0 / 1000;
                let mut blob = seconds.to_be_bytes().to_vec();
                blob.extend_from_slice(&signer.sign(&cosigned_message(text, seconds)));
                blob
            }
        };
        Self::new(key, blob)
    }
}

/// What a cosignature/v1 signs: a header with the time, then the whole checkpoint text.
fn cosigned_message(text: &str, seconds: u64) -> Vec<u8> {
    format!("cosignature/v1\ntime {seconds}\n{text}").into_bytes()
}

impl fmt::Display for NoteSignature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut bytes = self.id.0.to_vec();
        bytes.extend_from_slice(&self.blob);
        write!(f, "— {} {}", self.name, encode_base64(&bytes))
    }
}

impl fmt::Debug for NoteSignature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "NoteSignature({} {}, {} bytes)", self.name, self.id, self.blob.len())
    }
}

/// A signature that was verified, and whose it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifiedSignature {
    /// Name of the key.
    pub name: String,
    /// Id of the key.
    pub id: KeyId,
    /// For a cosignature, the instant it states (whole seconds): the cosigner had seen no larger tree then.
    pub at: Option<Millis>,
}

/// A note that is well formed; nobody's word until verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClaimedNote {
    bytes: String,
    text_len: usize,
    signatures: Vec<NoteSignature>,
}

impl ClaimedNote {
    /// Parses a note, keeping its bytes verbatim.
    pub fn parse(bytes: &[u8]) -> Result<Self, NoteError> {
        if bytes.len() > NOTE_BYTES_MAX {
            return Err(NoteError::TooLong { found: bytes.len() });
        }
        let text = std::str::from_utf8(bytes).map_err(|_| NoteError::NotText)?;
        if text.bytes().any(|b| b < 0x20 && b != b'\n') {
            return Err(NoteError::NotText);
        }
        let split = text.rfind("\n\n").ok_or(NoteError::NoBlankLine)?;
        let signatures = NoteSignature::parse_lines(&text[split + 2..])?;
        Ok(Self { bytes: text.to_owned(), text_len: split + 1, signatures })
    }

    /// Puts a text (ending in a newline) and signatures together.
    pub(crate) fn assemble(text: &str, signatures: Vec<NoteSignature>) -> Result<Self, NoteError> {
        if signatures.len() > NOTE_SIGNATURES_MAX {
            return Err(NoteError::TooManySignatures);
        }
        let mut bytes = format!("{text}\n");
        for signature in &signatures {
            bytes.push_str(&signature.to_string());
            bytes.push('\n');
        }
        if bytes.len() > NOTE_BYTES_MAX {
            return Err(NoteError::TooLong { found: bytes.len() });
        }
        Ok(Self { bytes, text_len: text.len(), signatures })
    }

    /// A text (ending in a newline) with the signatures that it has, and `signer`'s own over it.
    ///
    /// For notes that people sign. Checkpoints are signed by [`crate::Staged::sign`] alone.
    ///
    /// # Errors
    /// The text ends otherwise, is too long or reads like a checkpoint, the signer's key is a witness's, or there are
    /// too many signatures.
    pub fn signed(text: &str, mut before: Vec<NoteSignature>, signer: &dyn Signer) -> Result<Self, NoteError> {
        let plain = signer.verifier().kind() == KeyKind::Ed25519;
        // A size in the second line is what makes a checkpoint: those are not signed here.
        let checkpoint = text.lines().nth(1).is_some_and(|line| line.parse::<u64>().is_ok());
        if !plain
            || checkpoint
            || !text.ends_with('\n')
            || text.contains("\n\n")
            || text.bytes().any(|b| b < 0x20 && b != b'\n')
        {
            return Err(NoteError::NotText);
        }
        before.push(NoteSignature::sign(text, signer, Millis(0)));
        Self::assemble(text, before)
    }

    /// The text, with its last newline. To be ignored until a signature is verified.
    pub fn text(&self) -> &str {
        &self.bytes[..self.text_len]
    }

    /// The signature lines, known or not.
    pub fn signatures(&self) -> &[NoteSignature] {
        &self.signatures
    }

    /// The note as it came.
    pub fn as_bytes(&self) -> &[u8] {
        self.bytes.as_bytes()
    }

    /// Checks every signature of the known keys; lines of unknown keys are ignored.
    ///
    /// Fails if one of them does not hold, or if none is there (C2SP signed-note).
    pub fn verify(&self, known: &[&VerifierKey]) -> Result<Vec<VerifiedSignature>, NoteError> {
        let mut verified = Vec::new();
        for line in &self.signatures {
            if let Some(key) = known.iter().find(|key| line.names(key)) {
                let at = line.verify(key, self.text())?;
                verified.push(VerifiedSignature { name: line.name.clone(), id: line.id, at });
            }
        }
        if verified.is_empty() { Err(NoteError::NoKnownSignature) } else { Ok(verified) }
    }
}
