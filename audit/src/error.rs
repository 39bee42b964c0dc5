//! Why an audit could not be made at all.

use std::path::{Path, PathBuf};

use puente_audit_log::{CheckpointError, ProveError, ReadError, ReceiptError};
use puente_charter::CharterError;

/// Why a command could not do its work. A failed *check* is never an error: it is a finding.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AuditError {
    /// A file or folder.
    #[error("{path}: {why}", path = .path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// What is wrong with it, and what to do.
        why: String,
    },
    /// The charter.
    #[error("the charter is refused: {0}")]
    Charter(#[from] CharterError),
    /// A charter that does not follow the one in the auditor's state.
    #[error("the auditor's state was made for pin {known}; the given pin is {given}: use another --state folder")]
    OtherPin {
        /// The pin in the state.
        known: String,
        /// The pin that was given.
        given: String,
    },
    /// No charter was given.
    #[error("no charter: run `puente-audit init --charter DIR --pin HASH` first, or give --charter and --pin")]
    NoCharter,
    /// A head.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// A receipt.
    #[error(transparent)]
    Receipt(#[from] ReceiptError),
    /// A proof could not be made.
    #[error(transparent)]
    Prove(#[from] ProveError),
    /// An entry that is not there.
    #[error("entry {index} cannot be read: its bundle is missing or damaged")]
    NoEntry {
        /// Which.
        index: u64,
    },
    /// The files do not agree with the head.
    #[error("entry {index} does not lead to the head: the copy is damaged; run `puente-audit verify` on it")]
    Damaged {
        /// Which.
        index: u64,
    },
    /// A log could not be copied from a node, for a reason on this side.
    #[error(transparent)]
    Remote(#[from] crate::remote::RemoteError),
    /// A finding that monitor does not keep.
    #[error(
        "no finding that monitor keeps has a name that begins with '{id}': `puente-audit findings list` lists them"
    )]
    NoFinding {
        /// The beginning.
        id: String,
    },
    /// Several findings begin so.
    #[error("several findings have names that begin with '{id}': give more of it")]
    ManyFindings {
        /// The beginning.
        id: String,
    },
    /// Nothing to report on.
    #[error("no logs: name folders or doors, or copy logs into {keep} with `puente-audit mirror` first", keep = .keep.display())]
    NoLogs {
        /// Where copies are kept.
        keep: PathBuf,
    },
    /// A time as of which nothing can be judged.
    #[error("nothing can be judged as of {at}: {why}")]
    AsOf {
        /// The time.
        at: puente_model::Millis,
        /// Why not.
        why: String,
    },
    /// A folder that a report may not be written into.
    #[error("{dir} holds something else than a report: give --html a new or empty folder", dir = .dir.display())]
    NotAReport {
        /// Which.
        dir: PathBuf,
    },
    /// A file to check that is none of the known kinds.
    #[error("{0}")]
    Unreadable(String),
}

impl AuditError {
    pub(crate) fn file(path: &Path, error: &ReadError) -> Self {
        Self::File { path: path.to_owned(), why: error.to_string() }
    }

    pub(crate) fn io(path: &Path, error: &std::io::Error) -> Self {
        Self::File { path: path.to_owned(), why: error.to_string() }
    }
}
