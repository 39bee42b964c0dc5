//! A node's folder in one encrypted file: a tar archive within an age file, which `age` and `tar` open too.
//!
//! The last file of the archive, `MANIFEST.json`, names every other with its length and SHA-256. Whoever writes a
//! backup reads it back; whoever restores one compares every file with the manifest and replays the log.

mod place;
mod read;
#[cfg(test)]
mod tests;
mod write;

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

pub use place::{PlaceError, check_name};
pub use read::{Opened, open_backup, unpack};
pub use write::{Contents, write_backup};

/// Name of the manifest within the archive.
pub const MANIFEST: &str = "MANIFEST.json";
/// Format of the manifest.
pub const VERSION: u32 = 1;
/// The largest manifest that is read, in bytes: ten million files.
pub const MANIFEST_BYTES_MAX: u64 = 2 << 30;
/// Files that a backup may hold.
pub const FILES_MAX: usize = 10_000_000;

/// One file of a backup.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct FileEntry {
    /// Bytes.
    pub len: u64,
    /// SHA-256, hexadecimal.
    pub sha256: String,
}

/// What a backup says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// [`VERSION`].
    pub version: u32,
    /// The node.
    pub node: String,
    /// Origin of its log.
    pub origin: String,
    /// Entries of the log.
    pub entries: u64,
    /// When it was made.
    pub made: String,
    /// With the private keys.
    pub keys: bool,
    /// With the records.
    pub records: bool,
    /// Every other file, by its path.
    pub files: BTreeMap<String, FileEntry>,
}

/// Why a backup was not written, or not taken.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// A file.
    #[error("{path}: {error}")]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// The encrypted file cannot be opened.
    #[error("the backup cannot be opened: {0}")]
    Sealed(String),
    /// A name that no backup of a node holds.
    #[error(transparent)]
    Place(#[from] PlaceError),
    /// The archive is not what it should be.
    #[error("the backup is damaged or not of a node: {0}")]
    Damaged(String),
    /// Made by a newer program.
    #[error("the backup has format {found}; this program reads format {VERSION}")]
    Version {
        /// What it has.
        found: u32,
    },
    /// What was read back is not what was written.
    #[error("{0} was read back and is not what was written: the disk loses data")]
    NotWritten(PathBuf),
    /// A file changed its length while it was copied.
    #[error("{0} changed while it was copied: try again")]
    Changed(String),
}

impl BackupError {
    pub(crate) fn file(path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |error| Self::File { path, error }
    }
}
