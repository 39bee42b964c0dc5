//! Which records wait in staged batches: they are in no store yet, and must not be staged a second time.
//!
//! A file of its own, made anew by each import from the batches that wait and thrown away at its end, so that nothing
//! can go out of step and memory does not grow with what waits.

use std::path::{Path, PathBuf};

use rusqlite::{Connection, OptionalExtension as _};

use super::batch::{Probe, Seen};
use super::stage::{StageError, Staged};
use crate::disk::DiskError;
use crate::records::RecordsError;

fn failed(step: &'static str, path: &Path) -> impl FnOnce(rusqlite::Error) -> StageError {
    let failed = DiskError::db(step, path);
    move |error| StageError::Store(RecordsError::Disk(failed(error)))
}

/// Made by one import.
pub(super) struct Index {
    connection: Connection,
    path: PathBuf,
}

impl Index {
    pub(super) fn create(folder: &Path) -> Result<Self, StageError> {
        let path = folder.join(format!("waiting-{}.index", std::process::id()));
        let broken = || failed("making the index of what waits", &path);
        let connection = Connection::open(&path).map_err(broken())?;
        // Worthless after a crash: nothing of it is synced.
        let sql = "PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; PRAGMA cache_size = -32768;
            CREATE TABLE seen (name BLOB PRIMARY KEY) WITHOUT ROWID; BEGIN";
        connection.execute_batch(sql).map_err(broken())?;
        Ok(Self { connection, path })
    }

    /// Takes the records of a waiting batch in.
    pub(super) fn take(&self, batch: &Staged, decisive: &[String]) -> Result<(), StageError> {
        let record_type = batch.head().record_type.clone();
        batch.records(&mut |record| {
            let probe = Probe::of(&record_type, &record.bytes, &record.keys, decisive);
            let names =
                std::iter::once(probe.identity.0).chain(probe.decisive.iter().map(|key| key.digest(&record_type)));
            for name in names {
                let put = self.connection.prepare_cached("INSERT OR IGNORE INTO seen VALUES (?1)");
                put.and_then(|mut put| put.execute([&name[..]])).map_err(failed("writing", &self.path))?;
            }
            Ok(())
        })
    }

    /// What of these waits.
    pub(super) fn look(&self, record_type: &str, probe: &Probe<'_>) -> Result<Seen, StageError> {
        if self.has(&probe.identity.0)? {
            return Ok(Seen::Known);
        }
        for (i, key) in probe.decisive.iter().enumerate() {
            if self.has(&key.digest(record_type))? {
                return Ok(Seen::SameKey(i));
            }
        }
        Ok(Seen::New)
    }

    fn has(&self, name: &[u8; 32]) -> Result<bool, StageError> {
        let get = self.connection.prepare_cached("SELECT 1 FROM seen WHERE name = ?1");
        let found = get.and_then(|mut get| get.query_row([&name[..]], |_| Ok(())).optional());
        Ok(found.map_err(failed("reading", &self.path))?.is_some())
    }
}

impl Drop for Index {
    fn drop(&mut self) {
        // What cannot be removed is removed by the next import.
        let _ = std::fs::remove_file(&self.path);
    }
}
