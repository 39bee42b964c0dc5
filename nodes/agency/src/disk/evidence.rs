//! The evidence store on disk: SQLite, every value sealed.
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

use std::fs::{self, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OptionalExtension, params};

use super::base::Base;
use super::error::DiskError;
use super::files::{Disk, Site, site};
use super::rows::{Rows, TABLES};
use super::seal::{Key, Keys, open_boxed, seal_boxed};

/// The format version of the store.
pub(crate) const VERSION: u32 = 2;
/// Batches whose values are sealed under one key, as a power of two.
const EPOCH_SHIFT: u32 = 10;
const CHECK: &[u8] = b"puente evidence store";
/// Bytes of a page of a new store: fewer, larger writes than with SQLite's 4 KiB.
const PAGE_BYTES: i64 = 8_192;
/// Pages of write-ahead log before SQLite checkpoints by itself (128 MiB): a page that changes again before the
/// journal's segments are let go is brought to its place once.
const WAL_PAGES: i64 = 16_384;

pub(crate) fn configure(connection: &Connection) -> rusqlite::Result<()> {
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

pub(crate) fn epoch_key(keys: &Keys, epoch: u32) -> Result<Key, DiskError> {
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
        connection.pragma_update(None, "page_size", PAGE_BYTES).map_err(DiskError::db("opening", path))?;
        configure(&connection).map_err(DiskError::db("opening", path))?;
        connection.execute_batch(TABLES).map_err(DiskError::db("creating tables", path))?;
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
        let mut rows = Rows::new(&self.connection).map_err(failed())?;
        for (key, value) in puts {
            if let (Some(value), Some((_, sealing))) = (value, &self.epoch) {
                self.sealed.clear();
                self.sealed.extend_from_slice(&epoch.to_be_bytes());
                seal_boxed(sealing, key, value, &mut self.sealed)?;
                rows.put(key, &self.sealed).map_err(failed())?;
            } else {
                rows.remove(key).map_err(failed())?;
            }
        }
        drop(rows);
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
