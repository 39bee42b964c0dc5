//! The evidence store's reading side.

use std::cell::RefCell;
use std::collections::HashMap;
use std::path::Path;

use rusqlite::types::ValueRef;
use rusqlite::{Connection, OpenFlags, OptionalExtension, Row, params};

use super::error::DiskError;
use super::evidence::{configure, epoch_key};
use super::seal::{Key, Keys, open_boxed};

/// Keys of epochs kept derived.
const EPOCHS_CACHED_MAX: usize = 1_024;

// One statement each: key and value are of one moment, also while the applier commits beside it.
const GET: &str = "SELECT kv.value, large.value FROM kv LEFT JOIN large ON large.id = kv.value WHERE kv.key = ?1";
const RANGE: &str = "SELECT kv.key, kv.value, large.value FROM kv LEFT JOIN large ON large.id = kv.value
    WHERE kv.key >= ?1 AND (?2 IS NULL OR kv.key < ?2) ORDER BY kv.key LIMIT ?3";

/// The reading side, on a connection of its own.
pub(crate) struct EvidenceReader {
    connection: Connection,
    keys: Keys,
    epochs: RefCell<HashMap<u32, Key>>,
}

impl EvidenceReader {
    pub(crate) fn open(path: &Path, keys: &Keys) -> Result<Self, DiskError> {
        // Read-only in effect; the WAL's shared memory needs a writable connection.
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(path, flags).map_err(DiskError::db("opening", path))?;
        configure(&connection).map_err(DiskError::db("opening", path))?;
        connection.pragma_update(None, "query_only", true).map_err(DiskError::db("opening", path))?;
        Ok(Self { connection, keys: keys.clone(), epochs: RefCell::default() })
    }

    pub(crate) fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, String> {
        let mut statement = self.connection.prepare_cached(GET).map_err(unreadable)?;
        let opened = statement.query_row([key], |row| Ok(self.open_value(key, sealed(row, 0)?)));
        opened.optional().map_err(unreadable)?.transpose()
    }

    /// Up to `limit` pairs from `start` on, below `end` if there is an end.
    #[allow(clippy::type_complexity)]
    pub(crate) fn range(
        &self,
        start: &[u8],
        end: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<(Vec<u8>, Vec<u8>)>, String> {
        let mut statement = self.connection.prepare_cached(RANGE).map_err(unreadable)?;
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let mut rows = statement.query(params![start, end, limit]).map_err(unreadable)?;
        let mut out = Vec::new();
        while let Some(row) = rows.next().map_err(unreadable)? {
            let key: Vec<u8> = row.get(0).map_err(unreadable)?;
            let value = self.open_value(&key, sealed(row, 1).map_err(unreadable)?)?;
            out.push((key, value));
        }
        Ok(out)
    }

    fn open_value(&self, key: &[u8], sealed: &[u8]) -> Result<Vec<u8>, String> {
        let damaged = || {
            "a value of the evidence store does not open: it is damaged or of another store.key; restore evidence.db"
                .to_owned()
        };
        let (epoch, boxed) = sealed.split_first_chunk::<4>().ok_or_else(damaged)?;
        let epoch = u32::from_be_bytes(*epoch);
        let mut epochs = self.epochs.borrow_mut();
        if epochs.len() >= EPOCHS_CACHED_MAX {
            epochs.clear();
        }
        let sealing = match epochs.entry(epoch) {
            std::collections::hash_map::Entry::Occupied(known) => known.into_mut(),
            std::collections::hash_map::Entry::Vacant(free) => {
                free.insert(epoch_key(&self.keys, epoch).map_err(|error| error.to_string())?)
            }
        };
        open_boxed(sealing, key, boxed).map_err(|_| damaged())
    }
}

/// The sealed value of a row: in column `at`, or, if that is only an id, in the one after it. Empty if neither has one.
fn sealed<'r>(row: &'r Row<'_>, at: usize) -> rusqlite::Result<&'r [u8]> {
    let value = match row.get_ref(at)? {
        ValueRef::Integer(_) => row.get_ref(at + 1)?,
        beside_key => beside_key,
    };
    Ok(value.as_blob_or_null()?.unwrap_or_default())
}

fn unreadable(error: rusqlite::Error) -> String {
    format!("the evidence store cannot be read: {error}; mend the disk, then start the node again")
}
