//! What can go wrong between the node and its disk, and the way out.

use std::io;
use std::path::{Path, PathBuf};

use puente_audit_log::{CheckpointError, OpenError};
use puente_model::TreeSize;

use super::files::Site;

/// The disk failed, or holds something that it must not.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DiskError {
    /// The operating system refused a step.
    #[error("{site} failed on {path}: {source}; mend the disk (space, rights, hardware), then start the node again")]
    Io {
        /// Which step.
        site: Site,
        /// On what.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The database refused a step.
    #[error("{what} failed on {path}: {source}; mend the disk (space, rights, hardware), then start the node again")]
    Database {
        /// Which step.
        what: &'static str,
        /// On what.
        path: PathBuf,
        /// What the database said.
        source: rusqlite::Error,
    },
    /// An earlier write or sync failed: what the disk holds is unknown until it is read back.
    #[error(
        "nothing is written any more since an earlier failure ({reason}): mend the disk, then start the node again"
    )]
    Stopped {
        /// The earlier failure.
        reason: String,
    },
    /// A file is damaged in a place that was durable once.
    #[error(
        "{path} is damaged at byte {offset}: {why}; do not delete it: restore this node's folder from a copy that is \
         at least as new, or close this log's origin in the annex and open its successor"
    )]
    Damaged {
        /// Which file.
        path: PathBuf,
        /// Where in it.
        offset: u64,
        /// What is wrong.
        why: String,
    },
    /// Sealed with another key.
    #[error("{path} was not sealed with this store.key: put back the store.key that this folder was made with")]
    WrongKey {
        /// Which file.
        path: PathBuf,
    },
    /// Made by a program that this one does not understand.
    #[error("{path} has format version {found}; this program reads version {expected}: use the program that wrote it")]
    Version {
        /// Which file.
        path: PathBuf,
        /// Version found.
        found: u32,
        /// Version understood.
        expected: u32,
    },
    /// Batches that other files know of are missing.
    #[error(
        "the journal in {path} has batches {have}; batch {need} is needed: it was lost or the folder was put together \
         from copies of different age; restore the whole folder from one copy that is at least as new as any head \
         that was sent, or close this log's origin in the annex and open its successor"
    )]
    JournalGap {
        /// The journal's directory.
        path: PathBuf,
        /// What it holds.
        have: String,
        /// Position that is missing.
        need: u64,
    },
    /// A signed head covers more than this folder can prove.
    #[error(
        "{path} is a signed head of {signed} entries, the journal proves {have}: this folder lost the tail of the log; \
         restore a copy that is at least as new, or close this log's origin in the annex and open its successor"
    )]
    HeadAhead {
        /// Where the head is.
        path: PathBuf,
        /// Entries it covers.
        signed: TreeSize,
        /// Entries provable.
        have: TreeSize,
    },
    /// A signed head contradicts the entries.
    #[error(
        "{path} is a signed head of {signed} entries with another root than the entries give: do not write to this \
         log; find the copy that the head belongs to, or close this log's origin in the annex and open its successor"
    )]
    HeadDiffers {
        /// Where the head is.
        path: PathBuf,
        /// Entries it covers.
        signed: TreeSize,
    },
    /// A head's signature or form is bad.
    #[error("the head in {path} is not this log's: {source}; check keys/log.key and the log number in node.toml")]
    Head {
        /// Where the head is.
        path: PathBuf,
        /// What is wrong.
        source: CheckpointError,
    },
    /// The right edge does not lead to the head.
    #[error("{0}")]
    Edge(#[from] OpenError),
    /// A batch does not follow from the log's state: a fault of the program, never of the disk.
    #[error("the batch does not fit the log: {0}; nothing of it was shown to anyone: start the node again")]
    Unfit(String),
    /// The file of asides is shorter than what was durable once.
    #[error("{path} has {have} bytes of {need}: restore it from a copy (it only ever grows)")]
    AsidesLost {
        /// Which file.
        path: PathBuf,
        /// Bytes it has.
        have: u64,
        /// Bytes it had.
        need: u64,
    },
    /// Another process has this folder open.
    #[error("{path} is in use by another process: two writers would fork the log; stop the other one first")]
    InUse {
        /// The folder.
        path: PathBuf,
    },
    /// The operating system has no randomness or no threads.
    #[error("the operating system refused {0}")]
    System(&'static str),
}

impl DiskError {
    /// An [`DiskError::Io`] for this step and path.
    pub(crate) fn io(site: Site, path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { site, path: path.to_owned(), source }
    }

    /// A [`DiskError::Database`] for this step and path.
    pub(crate) fn db(what: &'static str, path: &Path) -> impl FnOnce(rusqlite::Error) -> Self {
        move |source| Self::Database { what, path: path.to_owned(), source }
    }
}
