//! What a log sends to a witness: `add-checkpoint`'s body.

use puente_model::limits::NOTE_BYTES_MAX;
use puente_model::{Digest, TreeSize};

use crate::checkpoint::{Checkpoint, CheckpointError, SignedCheckpoint, TREE_SIZE_MAX};
use crate::note::{ClaimedNote, NoteError};
use crate::text::{decode_decimal, decode_digest, proof_and_note};

/// Hashes that a submission's proof may have.
pub const SUBMISSION_PROOF_MAX: usize = 63;
/// One submission, in bytes: a note, a line of at most 24 bytes, 63 hashes of 45 bytes, a blank line.
pub const SUBMISSION_BYTES_MAX: usize = NOTE_BYTES_MAX + 24 + 45 * SUBMISSION_PROOF_MAX + 1;

/// Why a submission cannot be read (or written).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SubmissionError {
    /// More bytes than a submission may have.
    #[error("the submission has {found} bytes; at most {SUBMISSION_BYTES_MAX} are read")]
    TooLong {
        /// Bytes found.
        found: usize,
    },
    /// Not UTF-8 text.
    #[error("a submission is UTF-8 text")]
    NotText,
    /// The first line is not `old` and a size.
    #[error("the submission's first line is not 'old', a space and a canonical decimal up to 2^63-1")]
    OldSize,
    /// A line of the proof is not 32 bytes of canonical Base64.
    #[error("line {line} of the proof is not a SHA-256 digest in canonical Base64")]
    Hash {
        /// The line's number among the hashes, from 1.
        line: usize,
    },
    /// More hashes than a proof may have.
    #[error("the proof has more than {SUBMISSION_PROOF_MAX} hashes")]
    TooManyHashes,
    /// No blank line between proof and checkpoint.
    #[error("the submission has no blank line between proof and checkpoint")]
    NoBlankLine,
    /// The checkpoint.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
}

impl From<NoteError> for SubmissionError {
    fn from(error: NoteError) -> Self {
        Self::Checkpoint(error.into())
    }
}

/// A submission as it arrived: well formed, nobody's word until [`crate::witness::Witness::submit`] lets it through.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClaimedSubmission {
    pub(super) old: TreeSize,
    pub(super) proof: Vec<Digest>,
    pub(super) note: ClaimedNote,
    origin: String,
    /// None: an empty tree with a root that is not the empty tree's, which has an answer of its own.
    pub(super) claimed: Option<Checkpoint>,
}

impl ClaimedSubmission {
    /// Parses a body: `old <size>`, up to 63 hashes, a blank line, a checkpoint.
    ///
    /// # Errors
    /// It is anything else, or the checkpoint carries extension lines.
    pub fn parse(bytes: &[u8]) -> Result<Self, SubmissionError> {
        if bytes.len() > SUBMISSION_BYTES_MAX {
            return Err(SubmissionError::TooLong { found: bytes.len() });
        }
        let text = std::str::from_utf8(bytes).map_err(|_| SubmissionError::NotText)?;
        let (first, mut rest) = text.split_once('\n').ok_or(SubmissionError::OldSize)?;
        let old = first.strip_prefix("old ").and_then(decode_decimal).filter(|size| *size <= TREE_SIZE_MAX);
        let old = TreeSize(old.ok_or(SubmissionError::OldSize)?);
        let mut proof = Vec::new();
        loop {
            let (line, after) = rest.split_once('\n').ok_or(SubmissionError::NoBlankLine)?;
            rest = after;
            if line.is_empty() {
                break;
            }
            if proof.len() == SUBMISSION_PROOF_MAX {
                return Err(SubmissionError::TooManyHashes);
            }
            proof.push(decode_digest(line).ok_or(SubmissionError::Hash { line: proof.len() + 1 })?);
        }
        let note = ClaimedNote::parse(rest.as_bytes())?;
        let claimed = match Checkpoint::parse(note.text()) {
            Ok(checkpoint) => Some(checkpoint),
            Err(CheckpointError::EmptyRoot) => None,
            Err(error) => return Err(error.into()),
        };
        let origin = note.text().lines().next().unwrap_or_default().to_owned();
        Ok(Self { old, proof, note, origin, claimed })
    }

    /// The log's name, as the checkpoint says, for choosing a rule.
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// The size from which the proof leads, as the client says.
    pub const fn old(&self) -> TreeSize {
        self.old
    }

    /// The proof's hashes.
    pub fn proof(&self) -> &[Digest] {
        &self.proof
    }

    /// The bytes that it was read from: there is one way to write a submission.
    pub fn encode(&self) -> Vec<u8> {
        body(self.old, &self.proof, self.note.as_bytes())
    }
}

fn body(old: TreeSize, proof: &[Digest], note: &[u8]) -> Vec<u8> {
    proof_and_note(format!("old {}\n", old.0), proof, note)
}

/// The body of `add-checkpoint`: asks for a cosignature of `head`, which `proof` shows to extend the tree of `old`
/// entries that the witness knows. With `head`'s own size and no hashes it refreshes the cosignature.
///
/// # Errors
/// The proof has more than [`SUBMISSION_PROOF_MAX`] hashes.
pub fn encode_submission(old: TreeSize, proof: &[Digest], head: &SignedCheckpoint) -> Result<Vec<u8>, SubmissionError> {
    if proof.len() > SUBMISSION_PROOF_MAX {
        return Err(SubmissionError::TooManyHashes);
    }
    Ok(body(old, proof, head.note_bytes()))
}
