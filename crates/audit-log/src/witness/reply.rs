//! What a log makes of a witness's answer.

use puente_model::limits::NOTE_BYTES_MAX;
use puente_model::{Millis, TreeSize};

use crate::checkpoint::{SignedCheckpoint, TREE_SIZE_MAX};
use crate::key::VerifierKey;
use crate::note::{NoteError, NoteSignature};
use crate::text::decode_decimal;

/// Media type of the body that tells which size a witness knows.
pub const SIZE_MEDIA_TYPE: &str = "text/x.tlog.size";

/// Why an answer does not help.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ReplyError {
    /// The witness refused; sending the same again will not help, except after 429 and 5xx.
    #[error("the witness refused with status {status}: {words}")]
    Refused {
        /// HTTP status.
        status: u16,
        /// The beginning of what it said, without control characters.
        words: String,
    },
    /// More bytes than an answer may have.
    #[error("the witness's answer has {found} bytes; at most {NOTE_BYTES_MAX} are read")]
    TooLong {
        /// Bytes found.
        found: usize,
    },
    /// The answer is not what its status promises.
    #[error("the witness's answer is not made of signature lines")]
    Malformed,
    /// A cosignature that does not hold.
    #[error(transparent)]
    Note(#[from] NoteError),
    /// No cosignature of the key that was expected.
    #[error("the witness's answer holds no cosignature of {name}")]
    NotCosigned {
        /// Name of the key.
        name: String,
    },
}

impl ReplyError {
    /// Whether the same submission may succeed later.
    pub const fn is_passing(&self) -> bool {
        matches!(self, Self::Refused { status: 429 | 500.., .. })
    }
}

/// A witness's answer that helps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WitnessReply {
    /// The head with the witness's cosignature, verified, and the time that it states.
    Cosigned(SignedCheckpoint, Millis),
    /// The witness knows this size: prove consistency with that and ask again. A witness that knew a larger tree of this
    /// log before has lost its memory; one that knows a larger tree than the log itself has seen a fork.
    Knows(TreeSize),
}

impl WitnessReply {
    /// Reads the answer to a submission of `head`; `key` is the witness's.
    ///
    /// # Errors
    /// The witness refused, or the answer is not a cosignature of this very head under this key.
    pub fn read(status: u16, body: &[u8], head: &SignedCheckpoint, key: &VerifierKey) -> Result<Self, ReplyError> {
        if body.len() > NOTE_BYTES_MAX {
            return Err(ReplyError::TooLong { found: body.len() });
        }
        let text = std::str::from_utf8(body);
        if status == 409 {
            let size = text.ok().and_then(|text| decode_decimal(text.strip_suffix('\n')?));
            if let Some(size) = size.filter(|size| *size <= TREE_SIZE_MAX) {
                return Ok(Self::Knows(TreeSize(size)));
            }
        }
        if status != 200 {
            let words = String::from_utf8_lossy(body);
            let words = words.trim().chars().filter(|c| !c.is_control()).take(200).collect();
            return Err(ReplyError::Refused { status, words });
        }
        let lines = text.ok().and_then(|text| NoteSignature::parse_lines(text).ok()).ok_or(ReplyError::Malformed)?;
        let lines: Vec<NoteSignature> = lines.into_iter().filter(|line| line.names(key)).collect();
        let cosigned = head.with_signatures(&lines)?;
        let mut at = None;
        for line in &lines {
            at = at.max(line.verify(key, head.text())?);
        }
        let at = at.ok_or_else(|| ReplyError::NotCosigned { name: key.name().to_owned() })?;
        Ok(Self::Cosigned(cosigned, at))
    }
}
