//! What a witness keeps of a log: the largest head it cosigned, and when.

use std::fmt;

use puente_model::limits::NOTE_BYTES_MAX;
use puente_model::{Digest, Millis, TreeSize};

use super::rule::LogRule;
use crate::checkpoint::{Checkpoint, CheckpointError, SignedCheckpoint};
use crate::key::Signer;
use crate::note::{ClaimedNote, NoteError, NoteSignature};
use crate::text::decode_decimal;

const HEADER: &str = "puente-witness-remembers-v1\n";
/// What is remembered of one log, in bytes: a note and two lines.
pub const REMEMBERED_BYTES_MAX: usize = NOTE_BYTES_MAX + 128;

/// Why what was kept cannot be used. A witness that cannot read what it signed signs nothing for that log.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RememberedError {
    /// Another format, or cut.
    #[error("what the witness remembers of the log is damaged: it is no record of a head and its time")]
    Malformed,
    /// The head.
    #[error("what the witness remembers of the log is damaged: {0}")]
    Checkpoint(#[from] CheckpointError),
    /// The record is of another log.
    #[error("the record is of log {found}, not of {origin}")]
    OtherLog {
        /// The log that was asked for.
        origin: String,
        /// The log in the record.
        found: String,
    },
    /// The record is older than what was pinned.
    #[error(
        "the witness remembers {size} entries of log {origin}, and a head of {pinned} entries is pinned: its memory was \
         set back, or is of another witness"
    )]
    OlderThanPin {
        /// Which log.
        origin: String,
        /// The size that is remembered.
        size: TreeSize,
        /// The size that is pinned.
        pinned: TreeSize,
    },
    /// The record contradicts what was pinned.
    #[error("the head that is pinned for log {origin} has another root than the one of that size which was cosigned")]
    OtherThanPin {
        /// Which log.
        origin: String,
    },
}

impl From<NoteError> for RememberedError {
    fn from(error: NoteError) -> Self {
        Self::Checkpoint(error.into())
    }
}

/// The largest head that a witness cosigned of one log, and the time that it last stated. Exists only durable: read back
/// from what was written ([`Remembered::parse`]), or written just now ([`super::Advance::persist`]).
#[derive(Clone, PartialEq, Eq)]
pub struct Remembered {
    head: SignedCheckpoint,
    seconds: u64,
}

impl Remembered {
    pub(super) const fn new(head: SignedCheckpoint, seconds: u64) -> Self {
        Self { head, seconds }
    }

    /// Reads what was kept of the log that `rule` is about.
    ///
    /// # Errors
    /// It is damaged, of another log, signed by none of its keys, or at odds with the head that is pinned.
    pub fn parse(bytes: &[u8], rule: &LogRule) -> Result<Self, RememberedError> {
        let text = std::str::from_utf8(bytes).map_err(|_| RememberedError::Malformed)?;
        let rest = text.strip_prefix(HEADER).and_then(|rest| rest.strip_prefix("time "));
        let (seconds, note) = rest.and_then(|rest| rest.split_once("\n\n")).ok_or(RememberedError::Malformed)?;
        // A cosignature states its time in milliseconds here.
        let seconds = decode_decimal(seconds).filter(|seconds| *seconds <= u64::MAX / 1000);
        let seconds = seconds.ok_or(RememberedError::Malformed)?;
        let note = ClaimedNote::parse(note.as_bytes())?;
        let checkpoint = Checkpoint::parse(note.text())?;
        if checkpoint.origin() != rule.origin() {
            let (origin, found) = (rule.origin().to_owned(), checkpoint.origin().to_owned());
            return Err(RememberedError::OtherLog { origin, found });
        }
        note.verify(&rule.known())?;
        let remembered = Self::new(SignedCheckpoint::verified(checkpoint, note), seconds);
        remembered.fits(rule)?;
        Ok(remembered)
    }

    /// Whether it agrees with the head that a rule pins: also with one that is pinned later.
    ///
    /// # Errors
    /// It is older, or of another tree.
    pub fn fits(&self, rule: &LogRule) -> Result<(), RememberedError> {
        if let Some(pin) = rule.pin() {
            let origin = rule.origin().to_owned();
            if pin.size() > self.size() {
                return Err(RememberedError::OlderThanPin { origin, size: self.size(), pinned: pin.size() });
            }
            if pin.size() == self.size() && pin.root() != self.root() {
                return Err(RememberedError::OtherThanPin { origin });
            }
        }
        Ok(())
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        let mut bytes = format!("{HEADER}time {}\n\n", self.seconds).into_bytes();
        bytes.extend_from_slice(self.head.note_bytes());
        bytes
    }

    /// The head, with the log's own signatures.
    pub const fn head(&self) -> &SignedCheckpoint {
        &self.head
    }

    /// How many entries.
    pub fn size(&self) -> TreeSize {
        self.head.size()
    }

    /// Root of the tree of that size.
    pub fn root(&self) -> Digest {
        self.head.root()
    }

    /// When it was last cosigned (whole seconds).
    pub const fn at(&self) -> Millis {
        Millis(self.seconds.saturating_mul(1000))
    }

    pub(super) const fn seconds(&self) -> u64 {
        self.seconds
    }

    /// The cosignature: for one record always the same bytes.
    ///
    /// # Errors
    /// The key is of another kind.
    pub fn cosign(&self, signer: &dyn Signer) -> Result<NoteSignature, CheckpointError> {
        self.head.cosign(signer, self.at())
    }

    /// The head with the log's signatures and the cosignature, as monitors read it.
    ///
    /// # Errors
    /// The key is of another kind.
    pub fn cosigned(&self, signer: &dyn Signer) -> Result<SignedCheckpoint, CheckpointError> {
        Ok(self.head.with_signatures(&[self.cosign(signer)?])?)
    }
}

impl fmt::Debug for Remembered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Remembered({:?} at {} s)", self.head, self.seconds)
    }
}
