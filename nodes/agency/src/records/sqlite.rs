//! SQLite in the node's folder, looked up in line: the default.
//!
//! Records at rest are as the agency keeps them: this file is its owner's only (0600) and not encrypted by the node;
//! encrypt the disk under it. Nothing of it leaves except through an exchange.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rusqlite::{CachedStatement, Connection, OpenFlags, OptionalExtension, params};

use puente_model::Digest;

use super::{Inserted, NewRecord, identity};
use crate::disk::{Disk, DiskError, RealDisk, Site, keep_plans, site, touch};
use crate::import::batch::{Probe, Seen};

/// Bytes of the database that readers may map into memory: a warm lookup then copies no page. As much as SQLite is built to
/// map (`.cargo/config.toml`): address space, no memory.
const MMAP_BYTES: i64 = 1 << 40;
/// Cache of the writing side (negative: KiB): four times as much made imports no quicker, and a small machine has other uses
/// for it.
const CACHE_KIB: i64 = -65_536;
const VERSION: i64 = SQLITE_VERSION as i64;
/// Page of a new file: an import writes most pages with each batch, and half as many cost a tenth less.
const PAGE_BYTES: i64 = 8_192;
/// Keys that one statement puts: starting one costs about as much as putting one.
const KEYS_AT_ONCE: usize = 16;
/// The format version of `records.db`.
pub(crate) const SQLITE_VERSION: u32 = 1;

const SCHEMA: &str = "
    CREATE TABLE IF NOT EXISTS name (id INTEGER PRIMARY KEY, text TEXT NOT NULL UNIQUE);
    CREATE TABLE IF NOT EXISTS record (
        id INTEGER PRIMARY KEY, type INTEGER NOT NULL REFERENCES name(id), bytes BLOB NOT NULL,
        commitment BLOB NOT NULL UNIQUE);
    CREATE TABLE IF NOT EXISTS key (
        type INTEGER NOT NULL, name INTEGER NOT NULL, value BLOB NOT NULL, record INTEGER NOT NULL,
        PRIMARY KEY (type, name, value, record)) WITHOUT ROWID;";

/// The writing side: imports.
pub struct SqliteStore {
    pub(super) connection: Connection,
    pub(super) path: PathBuf,
    disk: Arc<dyn Disk>,
    names: BTreeMap<String, i64>,
}

impl SqliteStore {
    /// Opens the records in `path`, creating the file if there is none.
    ///
    /// # Errors
    /// SQLite cannot open it, or another version of this program made it.
    pub fn open(path: &Path) -> Result<Self, DiskError> {
        Self::open_on(Arc::new(RealDisk), path)
    }

    /// The same on a disk of the caller's: for fault suites.
    ///
    /// # Errors
    /// As [`SqliteStore::open`].
    pub fn open_on(disk: Arc<dyn Disk>, path: &Path) -> Result<Self, DiskError> {
        let failed = || DiskError::db("opening", path);
        touch(path).map_err(DiskError::io(site::RECORDS_BEGIN, path))?;
        let connection = Connection::open(path).map_err(failed())?;
        connection.busy_timeout(Duration::from_secs(30)).map_err(failed())?;
        // Before the first table; a file that has its pages keeps them.
        connection.pragma_update(None, "page_size", PAGE_BYTES).map_err(failed())?;
        connection.pragma_update(None, "journal_mode", "WAL").map_err(failed())?;
        connection.pragma_update(None, "synchronous", "FULL").map_err(failed())?;
        connection.pragma_update(None, "cache_size", CACHE_KIB).map_err(failed())?;
        let found: i64 = connection.query_row("PRAGMA user_version", [], |row| row.get(0)).map_err(failed())?;
        if found != 0 && found != VERSION {
            let (found, expected) = (u32::try_from(found).unwrap_or(u32::MAX), VERSION as u32);
            return Err(DiskError::Version { path: path.to_owned(), found, expected });
        }
        connection.execute_batch(SCHEMA).map_err(failed())?;
        connection.execute_batch(super::due::SQLITE_SCHEMA).map_err(failed())?;
        connection.pragma_update(None, "user_version", VERSION).map_err(failed())?;
        connection.set_prepared_statement_cache_capacity(32);
        Ok(Self { connection, path: path.to_owned(), disk, names: BTreeMap::new() })
    }

    /// As [`super::RecordStore::insert`].
    ///
    /// # Errors
    /// SQLite refuses; nothing was inserted.
    pub fn insert(&mut self, records: &[NewRecord]) -> Result<Inserted, DiskError> {
        self.gate(site::RECORDS_BEGIN)?;
        self.execute("BEGIN IMMEDIATE")?;
        let inserted = self.insert_within(records).map_err(DiskError::db("writing", &self.path)).and_then(|inserted| {
            self.gate(site::RECORDS_COMMIT)?;
            self.execute("COMMIT")?;
            Ok(inserted)
        });
        if inserted.is_err() {
            // The error is what counts; without a commit nothing of the transaction stays.
            let _ = self.connection.execute_batch("ROLLBACK");
            self.names.clear();
        }
        inserted
    }

    fn insert_within(&mut self, records: &[NewRecord]) -> rusqlite::Result<Inserted> {
        let Self { connection, names, .. } = self;
        let mut done = Inserted::default();
        let mut record =
            connection.prepare_cached("INSERT OR IGNORE INTO record (type, bytes, commitment) VALUES (?1, ?2, ?3)")?;
        let mut key = connection.prepare_cached(&insert_keys(1))?;
        let mut row_of_keys = connection.prepare_cached(&insert_keys(KEYS_AT_ONCE))?;
        let mut known = connection.prepare_cached("SELECT id FROM record WHERE commitment = ?1")?;
        let mut keys: Vec<(i64, i64, &[u8], i64)> = Vec::with_capacity(records.len().saturating_mul(5));
        for new in records {
            let identity = identity(&new.record_type, &new.bytes);
            let type_id = number(connection, names, &new.record_type)?;
            let is_new = record.execute(params![type_id, new.bytes, identity.as_bytes()])? > 0;
            let row = if is_new {
                done.new += 1;
                connection.last_insert_rowid()
            } else {
                // A newer catalogue may find it by more keys: it gets those it lacks.
                done.known += 1;
                known.query_row([identity.as_bytes()], |row| row.get(0))?
            };
            for (name, value) in &new.keys {
                keys.push((type_id, number(connection, names, name)?, value.as_bytes(), row));
            }
        }
        // In the order of the tree: neighbours go into the same page, which is written once.
        keys.sort_unstable();
        for alike in keys.chunk_by(|(t, n, ..), (u, m, ..)| (t, n) == (u, m)) {
            let (whole, rest) = alike.as_chunks::<KEYS_AT_ONCE>();
            whole.iter().try_for_each(|keys| put_keys(&mut row_of_keys, keys))?;
            rest.chunks(1).try_for_each(|keys| put_keys(&mut key, keys))?;
        }
        Ok(done)
    }

    /// As [`super::RecordStore::seen`].
    ///
    /// # Errors
    /// SQLite cannot read it.
    pub fn seen(&self, record_type: &str, probes: &[Probe<'_>]) -> Result<Vec<Seen>, DiskError> {
        self.try_seen(record_type, probes).map_err(DiskError::db("reading", &self.path))
    }

    fn try_seen(&self, record_type: &str, probes: &[Probe<'_>]) -> rusqlite::Result<Vec<Seen>> {
        let mut seen = vec![Seen::New; probes.len()];
        // One look at the database, locked once; it ends with the scope, having changed nothing.
        let _look = self.connection.unchecked_transaction()?;
        let mut name = self.connection.prepare_cached("SELECT id FROM name WHERE text = ?1")?;
        let mut id = |text: &str| name.query_row([text], |row| row.get::<_, i64>(0)).optional();
        let Some(type_id) = id(record_type)? else { return Ok(seen) };
        let mut names = HashMap::new();
        for key in probes.iter().flat_map(|p| &p.decisive) {
            if !names.contains_key(key.name) {
                names.insert(key.name, id(key.name)?);
            }
        }
        let mut record = self.connection.prepare_cached("SELECT 1 FROM record WHERE commitment = ?1")?;
        let mut keyed =
            self.connection.prepare_cached("SELECT 1 FROM key WHERE type = ?1 AND name = ?2 AND value = ?3 LIMIT 1")?;
        // In the order of each tree: neighbours share their pages.
        let mut order: Vec<usize> = (0..probes.len()).collect();
        order.sort_unstable_by_key(|i| probes.get(*i).map(|p| p.identity));
        for i in order {
            if let (Some(probe), Some(seen)) = (probes.get(i), seen.get_mut(i))
                && record.exists([probe.identity.as_bytes()])?
            {
                *seen = Seen::Known;
            }
        }
        let mut decisive: Vec<(i64, &str, usize, usize)> = Vec::new();
        for (i, (probe, _)) in probes.iter().zip(&seen).enumerate().filter(|(_, (_, seen))| **seen == Seen::New) {
            let named = probe.decisive.iter().enumerate();
            decisive.extend(named.filter_map(|(n, key)| Some(((*names.get(key.name)?)?, key.value, i, n))));
        }
        decisive.sort_unstable();
        for (name, value, i, n) in decisive {
            // The first of a record's keys that is known counts.
            if let Some(seen) = seen.get_mut(i)
                && !matches!(*seen, Seen::SameKey(before) if before < n)
                && keyed.exists(params![type_id, name, value.as_bytes()])?
            {
                *seen = Seen::SameKey(n);
            }
        }
        Ok(seen)
    }

    /// How many records there are of each type.
    ///
    /// # Errors
    /// SQLite cannot read it.
    pub fn counts(&self) -> Result<Vec<(String, u64)>, DiskError> {
        counts(&self.connection).map_err(DiskError::db("reading", &self.path))
    }

    /// A reader of the same file, on a connection of its own.
    ///
    /// # Errors
    /// SQLite cannot open it.
    pub fn reader(&self) -> Result<SqliteReader, DiskError> {
        SqliteReader::open(&self.path)
    }

    /// As [`super::RecordStore::page`].
    ///
    /// # Errors
    /// SQLite cannot read it.
    pub fn page(&self, record_type: &str, after: i64, limit: usize) -> Result<Vec<(i64, Vec<u8>)>, DiskError> {
        let read = || -> rusqlite::Result<Vec<(i64, Vec<u8>)>> {
            let mut page = self.connection.prepare_cached(
                "SELECT id, bytes FROM record WHERE id > ?1 AND type = (SELECT id FROM name WHERE text = ?2)
                 ORDER BY id LIMIT ?3",
            )?;
            let limit = i64::try_from(limit).unwrap_or(i64::MAX);
            page.query_map(params![after, record_type, limit], |row| Ok((row.get(0)?, row.get(1)?)))?.collect()
        };
        read().map_err(DiskError::db("reading", &self.path))
    }

    /// As [`super::RecordStore::erase`].
    ///
    /// # Errors
    /// SQLite refuses; nothing was erased.
    pub fn erase(&mut self, records: &[Digest]) -> Result<u64, DiskError> {
        self.gate(site::RECORDS_BEGIN)?;
        // Erased means erased: what is deleted is overwritten.
        self.execute("PRAGMA secure_delete = ON; PRAGMA temp_store = MEMORY; BEGIN IMMEDIATE")?;
        let erased = self.erase_within(records).map_err(DiskError::db("erasing", &self.path)).and_then(|erased| {
            self.gate(site::RECORDS_COMMIT)?;
            self.execute("COMMIT")?;
            Ok(erased)
        });
        match &erased {
            // What stands in the log of changes goes with it. A reader may hold it: then the next one carries it over.
            Ok(_) => drop(self.connection.execute_batch("PRAGMA wal_checkpoint(TRUNCATE)")),
            // The error is what counts; without a commit nothing of the transaction stays.
            Err(_) => drop(self.connection.execute_batch("ROLLBACK")),
        }
        erased
    }

    fn erase_within(&self, records: &[Digest]) -> rusqlite::Result<u64> {
        self.connection.execute_batch(
            "CREATE TEMP TABLE IF NOT EXISTS doomed (id INTEGER PRIMARY KEY, type INTEGER NOT NULL); DELETE FROM doomed",
        )?;
        let mut doom = self
            .connection
            .prepare_cached("INSERT OR IGNORE INTO doomed SELECT id, type FROM record WHERE commitment = ?1")?;
        for record in records {
            doom.execute([record.as_bytes()])?;
        }
        // No index leads from a record to its keys: one pass over those of its type finds them.
        self.connection.execute(
            "DELETE FROM key WHERE type IN (SELECT type FROM doomed) AND record IN (SELECT id FROM doomed)",
            [],
        )?;
        let erased = self.connection.execute("DELETE FROM record WHERE id IN (SELECT id FROM doomed)", [])?;
        self.forget_due()?;
        Ok(erased as u64)
    }

    fn execute(&self, sql: &'static str) -> Result<(), DiskError> {
        self.connection.execute_batch(sql).map_err(DiskError::db(sql, &self.path))
    }

    fn gate(&self, site: Site) -> Result<(), DiskError> {
        self.disk.gate(site).map_err(DiskError::io(site, &self.path))
    }
}

/// The number that stands for a name, which gets one if it has none.
fn number(connection: &Connection, names: &mut BTreeMap<String, i64>, text: &str) -> rusqlite::Result<i64> {
    if let Some(id) = names.get(text) {
        return Ok(*id);
    }
    let id = intern(connection, text)?;
    names.insert(text.to_owned(), id);
    Ok(id)
}

/// A statement that puts `count` keys of one name of one record type.
fn insert_keys(count: usize) -> String {
    let rows: Vec<String> = (0..count).map(|i| format!("(?1, ?2, ?{}, ?{})", 3 + 2 * i, 4 + 2 * i)).collect();
    format!("INSERT OR IGNORE INTO key (type, name, value, record) VALUES {}", rows.join(", "))
}

/// Runs it.
fn put_keys(statement: &mut CachedStatement<'_>, keys: &[(i64, i64, &[u8], i64)]) -> rusqlite::Result<()> {
    let Some((record_type, name, ..)) = keys.first() else { return Ok(()) };
    statement.raw_bind_parameter(1, record_type)?;
    statement.raw_bind_parameter(2, name)?;
    for (i, (_, _, value, row)) in keys.iter().enumerate() {
        statement.raw_bind_parameter(3 + 2 * i, value)?;
        statement.raw_bind_parameter(4 + 2 * i, row)?;
    }
    statement.raw_execute().map(drop)
}

pub(super) fn intern(connection: &Connection, text: &str) -> rusqlite::Result<i64> {
    connection.prepare_cached("INSERT OR IGNORE INTO name (text) VALUES (?1)")?.execute([text])?;
    connection.prepare_cached("SELECT id FROM name WHERE text = ?1")?.query_row([text], |row| row.get(0))
}

fn counts(connection: &Connection) -> rusqlite::Result<Vec<(String, u64)>> {
    let sql = "SELECT name.text, count(*) FROM record JOIN name ON name.id = record.type GROUP BY type ORDER BY 1";
    let mut statement = connection.prepare_cached(sql)?;
    statement.query_map([], |row| Ok((row.get(0)?, row.get::<_, i64>(1)?.unsigned_abs())))?.collect()
}

/// The reading side: lookups in line, some 8 µs each when warm. A hop to another thread would cost twice that.
pub struct SqliteReader {
    connection: Connection,
    names: std::cell::RefCell<HashMap<String, i64>>,
}

impl SqliteReader {
    /// Opens the records for reading; the file exists.
    ///
    /// # Errors
    /// SQLite cannot open it.
    pub fn open(path: &Path) -> Result<Self, DiskError> {
        let failed = || DiskError::db("opening", path);
        // Read-only in effect; the WAL's shared memory needs a writable connection.
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(path, flags).map_err(failed())?;
        connection.busy_timeout(Duration::from_secs(5)).map_err(failed())?;
        connection.pragma_update(None, "query_only", true).map_err(failed())?;
        connection.pragma_update(None, "mmap_size", MMAP_BYTES).map_err(failed())?;
        connection.set_prepared_statement_cache_capacity(32);
        keep_plans(&connection).map_err(failed())?;
        Ok(Self { connection, names: std::cell::RefCell::default() })
    }

    /// Canonical bytes of at most `limit` records that any of these keys finds, each once, oldest first per key.
    ///
    /// # Errors
    /// SQLite cannot read it; the text is for the operator and holds no value.
    pub fn lookup(&self, record_type: &str, keys: &[(String, String)], limit: usize) -> Result<Vec<Vec<u8>>, String> {
        self.try_lookup(record_type, keys, limit)
            .map_err(|error| format!("records cannot be read: {error}; mend the disk, then start the node again"))
    }

    fn try_lookup(&self, record_type: &str, keys: &[(String, String)], limit: usize) -> rusqlite::Result<Vec<Vec<u8>>> {
        let Some(type_id) = self.name(record_type)? else { return Ok(Vec::new()) };
        let mut find = self.connection.prepare_cached(
            "SELECT record.id, record.bytes FROM key JOIN record ON record.id = key.record
             WHERE key.type = ?1 AND key.name = ?2 AND key.value = ?3 ORDER BY key.record LIMIT ?4",
        )?;
        let mut seen = BTreeSet::new();
        let mut found = Vec::new();
        for (name, value) in keys {
            let Some(name_id) = self.name(name)? else { continue };
            collect(&mut find, (type_id, name_id, value), limit, &mut seen, &mut found)?;
        }
        Ok(found)
    }

    /// Reads from every table, and nothing of it: the file is there, whole and not locked.
    ///
    /// # Errors
    /// SQLite cannot read it; text for the operator.
    pub fn touch(&self) -> Result<(), String> {
        let sql = "SELECT (SELECT max(id) FROM name), (SELECT max(id) FROM record), (SELECT 1 FROM key LIMIT 1)";
        let read = self.connection.query_row(sql, [], |_| Ok(()));
        read.map_err(|error| format!("records cannot be read: {error}"))
    }

    /// How many records there are of each type.
    ///
    /// # Errors
    /// SQLite cannot read it; text for the operator.
    pub fn counts(&self) -> Result<Vec<(String, u64)>, String> {
        counts(&self.connection).map_err(|error| format!("records cannot be read: {error}"))
    }

    fn name(&self, text: &str) -> rusqlite::Result<Option<i64>> {
        if let Some(id) = self.names.borrow().get(text) {
            return Ok(Some(*id));
        }
        let mut statement = self.connection.prepare_cached("SELECT id FROM name WHERE text = ?1")?;
        let id: Option<i64> = statement.query_row([text], |row| row.get(0)).optional()?;
        if let Some(id) = id {
            self.names.borrow_mut().insert(text.to_owned(), id);
        }
        Ok(id)
    }
}

fn collect(
    find: &mut CachedStatement<'_>,
    (type_id, name_id, value): (i64, i64, &str),
    limit: usize,
    seen: &mut BTreeSet<i64>,
    found: &mut Vec<Vec<u8>>,
) -> rusqlite::Result<()> {
    let rows_max = i64::try_from(limit).unwrap_or(i64::MAX);
    let mut rows = find.query(params![type_id, name_id, value.as_bytes(), rows_max])?;
    while found.len() < limit
        && let Some(row) = rows.next()?
    {
        if seen.insert(row.get(0)?) {
            found.push(row.get_ref(1)?.as_blob()?.to_vec());
        }
    }
    Ok(())
}
