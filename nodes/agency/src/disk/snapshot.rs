//! A consistent copy of what changes while a node runs: everything else of a backup is read where it lies.

use std::path::Path;
use std::time::Duration;

use rusqlite::Connection;
use rusqlite::backup::Backup;

use super::error::DiskError;
use super::evidence::touch;
use super::files::{Disk, Site, site};
use super::shared::{Published, State};
use super::tiles::make_dirs;

/// Pages of a database that are copied in one go.
const PAGES_PER_STEP: i32 = 4_096;

/// A moment of the node: entries, and how much of the files that only grow belongs to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Snapshot {
    /// Entries of the log.
    pub size: u64,
    /// Bytes of `log/asides`.
    pub asides_len: u64,
}

/// A read transaction: what is committed later is not seen by it, and no journal segment that it needs is let go.
pub(super) struct Pinned(Connection);

impl Pinned {
    pub(super) fn new(database: &Path) -> Result<Self, DiskError> {
        let failed = || DiskError::db("pinning", database);
        let connection = Connection::open(database).map_err(failed())?;
        connection.busy_timeout(Duration::from_secs(10)).map_err(failed())?;
        connection.execute_batch("BEGIN; SELECT count(*) FROM sqlite_schema;").map_err(failed())?;
        Ok(Self(connection))
    }

    pub(super) fn copy(self, to: &Path) -> Result<(), DiskError> {
        copy_database(&self.0, to)
    }
}

fn copy_database(from: &Connection, to: &Path) -> Result<(), DiskError> {
    touch(to).map_err(DiskError::io(site::EXPORT_CREATE, to))?;
    let failed = || DiskError::db("copying into", to);
    let mut copy = Connection::open(to).map_err(failed())?;
    let backup = Backup::new(from, &mut copy).map_err(failed())?;
    backup.run_to_completion(PAGES_PER_STEP, Duration::ZERO, None).map_err(failed())
}

/// Copies a database that others may be writing to.
///
/// # Errors
/// It cannot be read, or the copy cannot be written.
pub fn snapshot_database(from: &Path, to: &Path) -> Result<(), DiskError> {
    Pinned::new(from)?.copy(to)
}

/// Copies the journal's segments, while nobody writes to it.
pub(super) fn copy_segments(disk: &dyn Disk, state: &State, to: &Path) -> Result<(), DiskError> {
    make_dirs(disk, to, site::EXPORT_DIR, site::EXPORT_DIR)?;
    for segment in &state.segments {
        let bytes = disk.read(site::JOURNAL_READ, &segment.path).map_err(DiskError::io(site::JOURNAL_READ, to))?;
        let name = segment.path.file_name().unwrap_or_default();
        put(disk, &to.join(name), &bytes)?;
    }
    Ok(())
}

/// Writes the log's edge and head as they were published.
pub(super) fn copy_edge(disk: &dyn Disk, published: &Published, to: &Path) -> Result<(), DiskError> {
    published.edge.iter().try_for_each(|file| put(disk, &to.join(file.path.to_string()), &file.bytes))
}

fn put(disk: &dyn Disk, path: &Path, bytes: &[u8]) -> Result<(), DiskError> {
    let failed = |site: Site| DiskError::io(site, path);
    if let Some(dir) = path.parent() {
        make_dirs(disk, dir, site::EXPORT_DIR, site::EXPORT_DIR)?;
    }
    let handle = disk.create(site::EXPORT_CREATE, path).map_err(failed(site::EXPORT_CREATE))?;
    disk.write_at(site::EXPORT_WRITE, &handle, 0, bytes).map_err(failed(site::EXPORT_WRITE))
}
