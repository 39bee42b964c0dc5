//! The evidence store on disk: SQLite, one table, every value sealed.
//!
//! The journal is the commit point; this is derived from it. Transactions are not synced one by one
//! (`synchronous=NORMAL` in WAL mode syncs at checkpoints): after a loss of power the store may be
//! older than it was, never inconsistent, and the journal repeats what is missing. The position up to which it has the
//! journal's batches is written in the same transaction as their values, so each applies exactly once.
//!
//! What is deleted or replaced is overwritten with zeros. Sealed copies may outlive it for a while: in the write-ahead log
//! until the next checkpoint, in the journal until its segment is removed, and in blocks that the file system freed.
//!
//! Keys are in the clear and name exchanges, partners and counters, never persons; values are sealed with
//! AES-256-GCM, the key being additional data, so that no value can be moved to another key unnoticed.

use std::cell::RefCell;
use std::collections::HashMap;
use std::fs::{self, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use puente_audit_log::LogFile;
use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags, OptionalExtension, params};

use super::codec::{CodecError, Fields, put_bytes, put_u64};
use super::error::DiskError;
use super::files::{Disk, Site, site};
use super::seal::{Key, Keys, open_boxed, seal_boxed};

const VERSION: u32 = 1;
/// Batches whose values are sealed under one key, as a power of two.
const EPOCH_SHIFT: u32 = 10;
/// Keys of epochs kept derived by a reader.
const EPOCHS_CACHED_MAX: usize = 1_024;
const CHECK: &[u8] = b"puente evidence store";
/// Pages of write-ahead log before SQLite checkpoints by itself (16 MiB).
const WAL_PAGES: i64 = 4_096;

/// Where the next start begins its replay: everything up to `position` is in the derived files, durably.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Base {
    pub(crate) position: u64,
    pub(crate) asides_len: u64,
    /// The head at that position; empty before the first.
    pub(crate) checkpoint: Vec<u8>,
    /// The right edge: partial tiles and bundle, by path.
    pub(crate) edge: Vec<(String, Vec<u8>)>,
}

impl Base {
    pub(crate) fn new(position: u64, asides_len: u64, checkpoint: Vec<u8>, files: &[LogFile]) -> Self {
        let edge = files.iter().map(|file| (file.path.to_string(), file.bytes.clone())).collect();
        Self { position, asides_len, checkpoint, edge }
    }

    fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        put_u64(&mut out, self.position);
        put_u64(&mut out, self.asides_len);
        put_bytes(&mut out, &self.checkpoint);
        put_u64(&mut out, self.edge.len() as u64);
        for (path, bytes) in &self.edge {
            put_bytes(&mut out, path.as_bytes());
            put_bytes(&mut out, bytes);
        }
        out
    }

    fn decode(bytes: &[u8]) -> Result<Self, CodecError> {
        let mut fields = Fields(bytes);
        let (position, asides_len) = (fields.u64()?, fields.u64()?);
        let checkpoint = fields.bytes()?.to_vec();
        let mut edge = Vec::new();
        for _ in 0..fields.u64()? {
            let path = String::from_utf8(fields.bytes()?.to_vec()).map_err(|_| CodecError)?;
            edge.push((path, fields.bytes()?.to_vec()));
        }
        fields.end()?;
        Ok(Self { position, asides_len, checkpoint, edge })
    }
}

fn configure(connection: &Connection) -> rusqlite::Result<()> {
    connection.busy_timeout(Duration::from_secs(10))?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "NORMAL")?;
    connection.pragma_update(None, "wal_autocheckpoint", WAL_PAGES)?;
    // Erased means erased: what is deleted or replaced is overwritten.
    connection.pragma_update(None, "secure_delete", "ON")?;
    connection.pragma_update(None, "cache_size", -65_536)?;
    connection.set_prepared_statement_cache_capacity(32);
    keep_plans(connection)
}

/// Statements are planned once, without a look at each new parameter: planning costs more than a lookup.
pub(crate) fn keep_plans(connection: &Connection) -> rusqlite::Result<()> {
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true).map(drop)
}

/// Makes sure that the database's file exists and is its owner's only.
pub(crate) fn touch(path: &Path) -> std::io::Result<()> {
    OpenOptions::new().create(true).append(true).mode(0o600).open(path).map(drop)
}

/// The writing side, owned by the applier.
pub(crate) struct EvidenceWriter {
    connection: Connection,
    keys: Keys,
    path: PathBuf,
    epoch: Option<(u32, Key)>,
    sealed: Vec<u8>,
}

fn epoch_key(keys: &Keys, epoch: u32) -> Result<Key, DiskError> {
    keys.derive("evidence value", &epoch.to_be_bytes())
}

impl EvidenceWriter {
    /// Opens or creates the store and checks that `keys` are the ones it was made with.
    pub(crate) fn open(disk: &dyn Disk, path: &Path, keys: &Keys) -> Result<Self, DiskError> {
        let failed = |source| DiskError::Io { site: site::EVIDENCE_OPEN, path: path.to_owned(), source };
        disk.gate(site::EVIDENCE_OPEN).map_err(failed)?;
        let created = fs::metadata(path).is_err();
        touch(path).map_err(failed)?;
        let connection = Connection::open(path).map_err(DiskError::db("opening", path))?;
        configure(&connection).map_err(DiskError::db("opening", path))?;
        let tables = "CREATE TABLE IF NOT EXISTS kv (key BLOB PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;
             CREATE TABLE IF NOT EXISTS meta (name TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;";
        connection.execute_batch(tables).map_err(DiskError::db("creating tables", path))?;
        if created && let Some(dir) = path.parent() {
            disk.sync_dir(site::EVIDENCE_OPEN, dir).map_err(failed)?;
        }
        let (keys, path) = (keys.clone(), path.to_owned());
        let store = Self { connection, keys, path, epoch: None, sealed: Vec::new() };
        store.check()?;
        Ok(store)
    }

    fn check(&self) -> Result<(), DiskError> {
        let key = self.keys.derive("evidence check", b"")?;
        match self.meta("check")? {
            Some(sealed) => {
                let opened = open_boxed(&key, b"check", &sealed);
                opened.map_err(|_| DiskError::WrongKey { path: self.path.clone() })?;
            }
            None => {
                let mut sealed = Vec::new();
                seal_boxed(&key, b"check", CHECK, &mut sealed)?;
                self.put_meta("version", &VERSION.to_be_bytes())?;
                self.put_meta("check", &sealed)?;
            }
        }
        let found = self.meta("version")?.and_then(|v| v.try_into().ok()).map_or(0, u32::from_be_bytes);
        if found == VERSION {
            Ok(())
        } else {
            Err(DiskError::Version { path: self.path.clone(), found, expected: VERSION })
        }
    }

    fn meta(&self, name: &str) -> Result<Option<Vec<u8>>, DiskError> {
        let mut statement = self
            .connection
            .prepare_cached("SELECT value FROM meta WHERE name = ?1")
            .map_err(DiskError::db("reading", &self.path))?;
        statement.query_row([name], |row| row.get(0)).optional().map_err(DiskError::db("reading", &self.path))
    }

    fn put_meta(&self, name: &str, value: &[u8]) -> Result<(), DiskError> {
        self.connection
            .prepare_cached("INSERT OR REPLACE INTO meta (name, value) VALUES (?1, ?2)")
            .and_then(|mut statement| statement.execute(params![name, value]))
            .map(drop)
            .map_err(DiskError::db("writing", &self.path))
    }

    /// Position of the newest batch whose values the store has.
    pub(crate) fn applied(&self) -> Result<u64, DiskError> {
        Ok(self.meta("applied")?.and_then(|v| v.try_into().ok()).map_or(0, u64::from_be_bytes))
    }

    /// Where the replay begins.
    pub(crate) fn base(&self) -> Result<Base, DiskError> {
        let Some(sealed) = self.meta("base")? else { return Ok(Base::default()) };
        let damaged = |why: &str| DiskError::Damaged { path: self.path.clone(), offset: 0, why: why.to_owned() };
        let bytes = open_boxed(&self.keys.derive("evidence base", b"")?, b"base", &sealed)
            .map_err(|_| damaged("the starting point of the replay does not open"))?;
        Base::decode(&bytes).map_err(|_| damaged("the starting point of the replay is not well formed"))
    }

    /// Applies the newest values up to `position` in one transaction.
    pub(crate) fn apply<'v>(
        &mut self,
        disk: &dyn Disk,
        position: u64,
        puts: impl Iterator<Item = (&'v [u8], Option<&'v [u8]>)>,
    ) -> Result<(), DiskError> {
        self.gate(disk, site::EVIDENCE_BEGIN)?;
        self.execute("BEGIN IMMEDIATE")?;
        let applied = self.apply_within(disk, position, puts);
        if applied.is_err() {
            // The error is what counts; without a commit nothing of the transaction stays.
            let _ = self.connection.execute_batch("ROLLBACK");
        }
        applied?;
        self.gate(disk, site::EVIDENCE_COMMITTED)
    }

    fn apply_within<'v>(
        &mut self,
        disk: &dyn Disk,
        position: u64,
        puts: impl Iterator<Item = (&'v [u8], Option<&'v [u8]>)>,
    ) -> Result<(), DiskError> {
        let epoch = u32::try_from(position >> EPOCH_SHIFT).map_err(|_| DiskError::System("another batch number"))?;
        if self.epoch.as_ref().is_none_or(|(of, _)| *of != epoch) {
            self.epoch = Some((epoch, epoch_key(&self.keys, epoch)?));
        }
        let failed = || DiskError::db("writing", &self.path);
        {
            let mut put = self
                .connection
                .prepare_cached("INSERT OR REPLACE INTO kv (key, value) VALUES (?1, ?2)")
                .map_err(failed())?;
            let mut delete = self.connection.prepare_cached("DELETE FROM kv WHERE key = ?1").map_err(failed())?;
            for (key, value) in puts {
                if let (Some(value), Some((_, sealing))) = (value, &self.epoch) {
                    self.sealed.clear();
                    self.sealed.extend_from_slice(&epoch.to_be_bytes());
                    seal_boxed(sealing, key, value, &mut self.sealed)?;
                    put.execute(params![key, self.sealed]).map_err(failed())?;
                } else {
                    delete.execute([key]).map_err(failed())?;
                }
            }
        }
        self.gate(disk, site::EVIDENCE_POSITION)?;
        self.put_meta("applied", &position.to_be_bytes())?;
        self.gate(disk, site::EVIDENCE_COMMIT)?;
        self.execute("COMMIT")
    }

    /// Moves the start of the next replay and makes the whole store durable. False if a reader was in the way.
    pub(crate) fn rebase(&self, disk: &dyn Disk, base: &Base) -> Result<bool, DiskError> {
        self.gate(disk, site::EVIDENCE_BASE)?;
        let mut sealed = Vec::new();
        seal_boxed(&self.keys.derive("evidence base", b"")?, b"base", &base.encode(), &mut sealed)?;
        self.put_meta("base", &sealed)?;
        self.gate(disk, site::EVIDENCE_BASE_WRITTEN)?;
        self.gate(disk, site::EVIDENCE_CHECKPOINT)?;
        let busy: i64 = self
            .connection
            .query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get(0))
            .map_err(DiskError::db("a checkpoint", &self.path))?;
        self.gate(disk, site::EVIDENCE_CHECKPOINTED)?;
        Ok(busy == 0)
    }

    fn execute(&self, sql: &'static str) -> Result<(), DiskError> {
        self.connection.execute_batch(sql).map_err(DiskError::db(sql, &self.path))
    }

    fn gate(&self, disk: &dyn Disk, site: Site) -> Result<(), DiskError> {
        disk.gate(site).map_err(DiskError::io(site, &self.path))
    }
}

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
        let mut statement =
            self.connection.prepare_cached("SELECT value FROM kv WHERE key = ?1").map_err(unreadable)?;
        let sealed = statement.query_row([key], |row| Ok(row.get_ref(0)?.as_blob()?.to_vec()));
        sealed.optional().map_err(unreadable)?.map(|sealed| self.open_value(key, &sealed)).transpose()
    }

    /// Up to `limit` pairs from `start` on, below `end` if there is an end.
    #[allow(clippy::type_complexity)]
    pub(crate) fn range(
        &self,
        start: &[u8],
        end: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<(Vec<u8>, Vec<u8>)>, String> {
        let sql = "SELECT key, value FROM kv WHERE key >= ?1 AND (?2 IS NULL OR key < ?2) ORDER BY key LIMIT ?3";
        let mut statement = self.connection.prepare_cached(sql).map_err(unreadable)?;
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let mut rows = statement.query(params![start, end, limit]).map_err(unreadable)?;
        let mut out = Vec::new();
        while let Some(row) = rows.next().map_err(unreadable)? {
            let key: Vec<u8> = row.get(0).map_err(unreadable)?;
            let value = row.get_ref(1).and_then(|value| Ok(value.as_blob()?)).map_err(unreadable)?;
            let value = self.open_value(&key, value)?;
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

fn unreadable(error: rusqlite::Error) -> String {
    format!("the evidence store cannot be read: {error}; mend the disk, then start the node again")
}
