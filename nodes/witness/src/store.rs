//! What the witness remembers, on disk: one small file a log, replaced in one step.
//!
//! ```text
//! write <name>.new ─▶ sync it ─▶ rename over <name> ─▶ sync the folder ─▶ only now: durable
//! ```
//!
//! Up to the rename the old file stands; a power cut around the rename leaves the old or the new one, and nothing was
//! signed for the new one yet. After a rename whose end is unknown the log is left alone until the witness starts again
//! and reads what is there: a sync that failed is never retried.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use puente_audit_log::witness::REMEMBERED_BYTES_MAX;
use rustix::fs::FlockOperation;

use crate::files;

/// A place where a crash is tried, in the order in which a submission passes them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Site {
    /// Before the new file is created.
    Create,
    /// Half of the new file is written.
    Write,
    /// The new file is written and not synced.
    Sync,
    /// The new file is synced under its provisional name.
    Rename,
    /// The new file has its name, and the folder is not synced.
    FolderSync,
    /// Durable; not signed.
    Sign,
    /// Signed; nobody was told.
    Reply,
}

/// Told of every site that is passed; an error there is as an error of the disk. For tests of crashes.
pub(crate) type Probe = Arc<dyn Fn(Site) -> io::Result<()> + Send + Sync>;

/// Why the folder, or one record, cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// Another process works in it.
    #[error("{path}: another puente-witness works in this folder")]
    Locked {
        /// The lock's file.
        path: PathBuf,
    },
    /// The disk.
    #[error("{path}: {error}")]
    File {
        /// Which file.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
}

/// Why a record was not written.
#[derive(Debug)]
pub(crate) enum WriteError {
    /// What stood there before stands there still.
    Before(io::Error),
    /// The old record or the new one stands there: the log is left alone until the witness starts again.
    Unknown(io::Error),
}

/// The folder of what is remembered, for one process.
pub struct Store {
    dir: PathBuf,
    /// Held, and with it the lock.
    _lock: File,
    probe: Option<Probe>,
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Store({})", self.dir.display())
    }
}

impl Store {
    /// Opens the folder, which is made if it is not there, for this process alone.
    ///
    /// # Errors
    /// Another process has it, or the disk fails.
    pub fn open(dir: &Path) -> Result<Self, StoreError> {
        let at = |path: &Path| {
            let path = path.to_owned();
            move |error| StoreError::File { path, error }
        };
        files::make_private_dir(dir).map_err(at(dir))?;
        files::sync_parent(dir).map_err(at(dir))?;
        let path = dir.join("lock");
        let lock = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(&path);
        let lock = lock.map_err(at(&path))?;
        match rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Self { dir: dir.to_owned(), _lock: lock, probe: None }),
            Err(rustix::io::Errno::WOULDBLOCK) => Err(StoreError::Locked { path }),
            Err(error) => Err(StoreError::File { path, error: error.into() }),
        }
    }

    /// Tells `probe` of every site that is passed.
    #[cfg(test)]
    pub(crate) fn probed(self, probe: Probe) -> Self {
        Self { probe: Some(probe), ..self }
    }

    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    pub(crate) fn pass(&self, site: Site) -> io::Result<()> {
        self.probe.as_ref().map_or(Ok(()), |probe| probe(site))
    }

    /// The record of a log, by its monitoring name; none if there is none.
    pub(crate) fn read(&self, name: &str) -> Result<Option<Vec<u8>>, StoreError> {
        read_record(&self.dir, name)
    }

    /// Replaces a record durably.
    pub(crate) fn replace(&self, name: &str, bytes: &[u8]) -> Result<(), WriteError> {
        let path = record_path(&self.dir, name);
        let draft = path.with_extension("new");
        let write = || {
            self.pass(Site::Create)?;
            let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&draft)?;
            let (first, second) = bytes.split_at(bytes.len() / 2);
            file.write_all(first)?;
            self.pass(Site::Write)?;
            file.write_all(second)?;
            self.pass(Site::Sync)?;
            file.sync_all()?;
            self.pass(Site::Rename)
        };
        write().map_err(WriteError::Before)?;
        let name = || {
            fs::rename(&draft, &path)?;
            self.pass(Site::FolderSync)?;
            files::sync_parent(&path)
        };
        name().map_err(WriteError::Unknown)
    }
}

fn record_path(dir: &Path, name: &str) -> PathBuf {
    dir.join(format!("{name}.head"))
}

/// A record, read by whoever does not hold the lock, too: it is replaced in one step.
pub(crate) fn read_record(dir: &Path, name: &str) -> Result<Option<Vec<u8>>, StoreError> {
    let path = record_path(dir, name);
    match files::read_at_most(&path, REMEMBERED_BYTES_MAX as u64) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(StoreError::File { path, error }),
    }
}
