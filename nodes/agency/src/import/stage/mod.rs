//! Records on their way in: staged in a file until the log holds their COLLECT entry, then stored.
//!
//! ```text
//! imports/lock                held while an import runs: one at a time
//! imports/<batch>.part        being written; worthless after a crash
//! imports/<batch>.problems    what there is to say about its rows, one JSON object a line
//! imports/<batch>.staged      whole and synced; not yet in the log
//! imports/<batch>.collected   the log holds the COLLECT entry; on its way into the record store
//! imports/<batch>.openings    stored; opens each record's commitment, until it is erased (`openings`)
//! imports/<batch>.batch       stored; what the batch was, for the next import of the same file
//! ```
//!
//! Only the record store is looked up, so no staged record can be answered
//! with (record before reveal). Each step is a rename: a crash repeats the
//! step it interrupted. Saying again to the log that a batch was collected
//! makes no second entry, and storing a record again keeps it once.
//!
//! Whoever carries a batch on holds a lock on its file, so that an import and a node that is just starting never
//! both do. The system lets go of it when the process ends.

mod carry;
mod openings;
#[cfg(test)]
mod tests;
mod write;

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use puente_exchange::api::LocalEvent;
use puente_model::EventKind;
use serde::{Deserialize, Serialize};

use super::Counts;
use crate::files;
use crate::records::RecordsError;

use carry::read_head;
pub use carry::{Staged, settle};
pub use openings::commitments;
pub use write::{Staging, problems};

const MAGIC: &[u8; 8] = b"puenteI2";
/// The version of staged batches that this program reads: the last byte of [`MAGIC`], a digit.
pub(crate) const FORMAT: u32 = 2;

/// The version that the first bytes of a staged batch name; none if it is no such file.
pub(crate) fn format_version(head: &[u8; 8]) -> Option<u32> {
    let (name, version) = head.split_last_chunk::<1>()?;
    (*name == MAGIC[..7]).then(|| char::from(version[0]).to_digit(10)).flatten()
}
/// One staged record, in bytes.
const ITEM_BYTES_MAX: u32 = 4 << 20;

/// Why a batch could not be staged or stored.
#[derive(Debug, thiserror::Error)]
pub enum StageError {
    /// A file.
    #[error("{path}: {error}")]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// Somebody else brings records in.
    #[error("another import is running in {0}")]
    Busy(PathBuf),
    /// A staged file was changed or cut.
    #[error("{path} is damaged at byte {at}: remove it and import the file again; the log holds no entry of it")]
    Damaged {
        /// Which.
        path: PathBuf,
        /// Where.
        at: u64,
    },
    /// A file of openings was changed or cut.
    #[error(
        "{path} is damaged at byte {at}: restore it from a backup, or remove it: what it opened can then not be opened any more"
    )]
    Openings {
        /// Which.
        path: PathBuf,
        /// Where.
        at: u64,
    },
    /// The record store.
    #[error(transparent)]
    Store(#[from] RecordsError),
}

fn file(path: &Path) -> impl FnOnce(io::Error) -> StageError + '_ {
    move |error| StageError::File { path: path.to_owned(), error }
}

/// A step that changes what is on disk. Its name is stable: suites that break each one quote it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Step {
    /// Make a batch's file.
    Begin,
    /// Write a record into it.
    Write,
    /// Write what there is to say about a row.
    Problem,
    /// Write its end and sync it.
    Sync,
    /// Give the file of problems its name.
    NameProblems,
    /// Give the batch its name.
    Stage,
    /// Say to the log that it was collected.
    Collect,
    /// Note that the log holds it.
    Collected,
    /// Store a chunk of its records.
    Store,
    /// Give the file of openings its name.
    Openings,
    /// Write down what it was.
    Batch,
    /// Remove its file.
    Remove,
    /// Put in the place of its openings what is left of them when records were erased.
    Forget,
}

/// Hears of every step before it is taken, and may refuse it: for suites that break each one.
pub trait Watch: Send + Sync {
    /// # Errors
    /// The step fails.
    fn step(&self, step: Step) -> io::Result<()>;
}

/// Nobody watches.
#[derive(Debug, Clone, Copy)]
struct Nobody;

impl Watch for Nobody {
    fn step(&self, _: Step) -> io::Result<()> {
        Ok(())
    }
}

/// The folder `imports/` of a node.
#[derive(Clone)]
pub struct Folder {
    path: PathBuf,
    watch: Arc<dyn Watch>,
}

impl std::fmt::Debug for Folder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Folder({})", self.path.display())
    }
}

/// The right to bring records in; another process gets it once this one ends.
#[derive(Debug)]
pub struct Turn(#[allow(dead_code, reason = "held, not used")] File);

impl Folder {
    /// The folder at `path`.
    pub fn new(path: &Path) -> Self {
        Self::watched(path, Arc::new(Nobody))
    }

    /// The same, every step told to `watch`.
    pub fn watched(path: &Path, watch: Arc<dyn Watch>) -> Self {
        Self { path: path.to_owned(), watch }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn step(&self, step: Step, path: &Path) -> Result<(), StageError> {
        self.watch.step(step).map_err(file(path))
    }

    /// Takes the turn and clears away what an import that died left half written.
    ///
    /// # Errors
    /// Somebody else has it, or the folder cannot be used.
    pub fn enter(&self) -> Result<Turn, StageError> {
        files::make_private_dir(&self.path).map_err(file(&self.path))?;
        let path = self.path.join("lock");
        let lock = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(&path);
        let lock = lock.map_err(file(&path))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(std::fs::TryLockError::WouldBlock) => return Err(StageError::Busy(self.path.clone())),
            Err(std::fs::TryLockError::Error(error)) => return Err(file(&path)(error)),
        }
        for path in self.files()? {
            let ending = path.extension().map(|e| e.to_string_lossy().into_owned()).unwrap_or_default();
            let alone = || ["staged", "collected", "batch"].iter().all(|e| !path.with_extension(e).exists());
            if ending.ends_with("part") || ending == "index" || (ending == "problems" && alone()) {
                // What cannot be removed is only left lying about.
                let _ = std::fs::remove_file(path);
            }
        }
        Ok(Turn(lock))
    }

    fn files(&self) -> Result<Vec<PathBuf>, StageError> {
        let entries = match std::fs::read_dir(&self.path) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(StageError::File { path: self.path.clone(), error }),
        };
        entries.map(|entry| Ok(entry.map_err(file(&self.path))?.path())).collect()
    }

    /// Every batch that has not been stored yet, oldest first.
    ///
    /// # Errors
    /// A file cannot be read, or is damaged.
    pub fn pending(&self) -> Result<Vec<Staged>, StageError> {
        let mut out = Vec::new();
        for path in self.files()? {
            if path.extension().is_some_and(|e| e == "staged" || e == "collected") {
                out.push(Staged { head: read_head(&path)?, path, folder: self.clone(), hold: None });
            }
        }
        out.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(out)
    }

    /// What every batch was, also those that are stored: name and head.
    ///
    /// # Errors
    /// A file cannot be read, or is damaged.
    pub fn heads(&self) -> Result<Vec<(PathBuf, Head)>, StageError> {
        let mut out: Vec<_> = self.pending()?.into_iter().map(|staged| (staged.path, staged.head)).collect();
        for path in self.files()? {
            if path.extension().is_some_and(|e| e == "batch") {
                let bytes = files::read(&path).map_err(file(&path))?;
                // One that another version wrote says nothing to this one: its records are known by themselves.
                if let Ok(head) = serde_json::from_slice(&bytes) {
                    out.push((path, head));
                }
            }
        }
        Ok(out)
    }
}

/// Which part of which file a batch is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Part {
    /// Record type, format, encoding, profile, overrides and catalogue, as a digest.
    pub import: String,
    /// The first byte.
    pub from: u64,
    /// The byte after the last.
    pub to: u64,
    /// SHA-256 of all bytes of the file before `to`.
    pub digest: String,
}

/// What a batch is.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Head {
    /// Record type of the catalogue.
    pub record_type: String,
    /// On whose authority.
    pub authority: String,
    /// Whose table it is, where a profile says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provenance: Option<String>,
    /// Its rows.
    #[serde(flatten)]
    pub counts: Counts,
    /// RFC 6962 root over the records' commitments, in order.
    pub root: String,
    /// Which part of which file it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub part: Option<Part>,
}

impl Head {
    /// The one event that commits the batch.
    pub fn event(&self) -> LocalEvent {
        let counts = &self.counts;
        let detail = serde_json::json!({
            "root": self.root,
            "count": counts.accepted,
            "rejected": counts.rejected,
            "duplicates": counts.duplicates_in_batch + counts.duplicates_in_store,
            "overridden": counts.overridden,
            "record_type": self.record_type,
            "authority": self.authority,
            "provenance": self.provenance,
        });
        LocalEvent {
            kind: EventKind::Collect,
            record_type: self.record_type.clone(),
            count: counts.accepted,
            purpose: None,
            basis: None,
            role: None,
            detail: detail.to_string().into_bytes(),
        }
    }
}
