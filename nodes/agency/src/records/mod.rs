//! The agency's own records: one door for every store that holds them.
//!
//! [`RecordStore`] is the writing side (imports), [`RecordReader`] the reading side, which the engine's task owns. A store
//! that answers in some microseconds is read in line; a hop to another thread would cost more than the lookup.

mod due;
mod health;
mod links;
mod mapping;
mod postgres;
mod server;
mod settings;
mod sqlite;
#[cfg(test)]
pub(crate) mod tests;
mod tls;

use std::cell::OnceCell;
use std::path::PathBuf;
use std::sync::Arc;

use puente_catalogue::Catalogue;
use puente_model::{Digest, Label, digest};

use crate::config::{ConfigError, NodeConfig, NodeDir};
use crate::disk::DiskError;
use crate::import::batch::{Probe, Seen};
use links::Links;
use mapping::{MappedFile, MappedTables};
use postgres::Tables;
use server::Server;

pub use due::Looked;
pub use health::{Health, RecordsStatus};
pub use links::WAITING_MAX;
pub use mapping::{FIELD_CODES_MAX, Finding, MAPPING_BYTES_MAX, Severity};
pub(crate) use postgres::POSTGRES_VERSION;
pub use postgres::PostgresStore;
pub use settings::{
    CONNECTIONS_MAX, IN_FLIGHT_MAX, PostgresUrl, RecordSettings, SQL_NAME_BYTES_MAX, STATEMENT_MILLIS, STORE_BYTES_MAX,
    StoreAt,
};
pub(crate) use sqlite::SQLITE_VERSION;
pub use sqlite::{SqliteReader, SqliteStore};

const IDENTITY: Label = Label("puente/v1/record");

/// Which record this is: two of one type with the same canonical bytes are one.
pub fn identity(record_type: &str, bytes: &[u8]) -> Digest {
    digest(IDENTITY, &[record_type.as_bytes(), bytes])
}

/// A record to keep.
#[derive(Clone, PartialEq, Eq)]
pub struct NewRecord {
    /// Record type of the catalogue.
    pub record_type: Arc<str>,
    /// Canonical bytes.
    pub bytes: Vec<u8>,
    /// Name and normalised value of each match key.
    pub keys: Vec<(Arc<str>, String)>,
}

impl std::fmt::Debug for NewRecord {
    // Records belong to the data subjects.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "NewRecord({}, {} bytes, {} keys)", self.record_type, self.bytes.len(), self.keys.len())
    }
}

/// What an insertion did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Inserted {
    /// Records that were new.
    pub new: u64,
    /// Records that were there already, byte for byte.
    pub known: u64,
}

/// Why records cannot be stored or counted.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RecordsError {
    /// The SQLite file.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// `node.toml` cannot be read.
    #[error("{0}")]
    Config(#[from] ConfigError),
    /// `[records]` of `node.toml`, or a file that it names.
    #[error("[records] of node.toml: {0}")]
    Settings(String),
    /// The database server. Holds no value of a record, and no password.
    #[error("the record store: {0}")]
    Server(String),
    /// The records stay in the agency's own tables.
    #[error("records are read in place from the agency's own tables: nothing is imported into them")]
    InPlace,
}

impl RecordsError {
    /// What to do about it.
    pub fn mend(&self) -> String {
        match self {
            Self::Disk(_) => "do not delete anything; read the message, then mend or restore the disk".to_owned(),
            Self::Config(error) => error.mend.clone(),
            Self::Settings(_) => "mend [records]; samples/node.toml shows every key".to_owned(),
            Self::Server(_) => "check the database and its user's rights, then try again".to_owned(),
            Self::InPlace => "write to the agency's own tables, or take 'mapping' out of [records]".to_owned(),
        }
    }
}

/// The writing side of the record store: imports.
pub enum RecordStore {
    /// The file `records.db` of the node's folder.
    Sqlite(Box<SqliteStore>),
    /// The node's own tables in PostgreSQL.
    Postgres(Box<PostgresStore>),
}

impl RecordStore {
    /// Opens the store that `node.toml` in `dir` names, and makes its tables if there are none. Blocks.
    ///
    /// # Errors
    /// It cannot be opened, or another version of this program made it, or records stay in the agency's own tables.
    pub fn open(dir: &NodeDir) -> Result<Self, RecordsError> {
        Self::open_with(dir, &NodeConfig::load(dir)?.records)
    }

    /// The same for settings that were read already.
    ///
    /// # Errors
    /// As [`RecordStore::open`].
    pub fn open_with(dir: &NodeDir, settings: &RecordSettings) -> Result<Self, RecordsError> {
        match &settings.store {
            _ if settings.mapping.is_some() => Err(RecordsError::InPlace),
            StoreAt::Folder | StoreAt::File(_) => Ok(Self::Sqlite(Box::new(SqliteStore::open(&dir.records())?))),
            StoreAt::Postgres(url) => {
                let server = Server::new(dir, url, settings)?;
                Ok(Self::Postgres(Box::new(PostgresStore::open(&server, Tables::new(&settings.schema))?)))
            }
        }
    }

    /// Inserts records in one transaction: all of them, or none. One that is there already ([`identity`]) only gets the
    /// keys that it lacks, so an interrupted import is simply repeated.
    ///
    /// # Errors
    /// The store refuses; nothing was inserted.
    pub fn insert(&mut self, records: &[NewRecord]) -> Result<Inserted, RecordsError> {
        match self {
            Self::Sqlite(store) => Ok(store.insert(records)?),
            Self::Postgres(store) => store.insert(records),
        }
    }

    /// What of these records of one type is stored already, one answer each.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn seen(&mut self, record_type: &str, probes: &[Probe<'_>]) -> Result<Vec<Seen>, RecordsError> {
        match self {
            Self::Sqlite(store) => Ok(store.seen(record_type, probes)?),
            Self::Postgres(store) => store.seen(record_type, probes),
        }
    }

    /// At most `limit` records of a type after the place `after` (0 for the first): place and canonical bytes, in order.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn page(&mut self, record_type: &str, after: i64, limit: usize) -> Result<Vec<(i64, Vec<u8>)>, RecordsError> {
        match self {
            Self::Sqlite(store) => Ok(store.page(record_type, after, limit)?),
            Self::Postgres(store) => store.page(record_type, after, limit),
        }
    }

    /// Erases the records with these identities ([`identity`]) and every key that leads to them, all or none; those that
    /// are not there are passed over, so an interrupted job is simply repeated. Returns how many there were.
    ///
    /// # Errors
    /// The store refuses; nothing was erased.
    pub fn erase(&mut self, records: &[Digest]) -> Result<u64, RecordsError> {
        match self {
            Self::Sqlite(store) => Ok(store.erase(records)?),
            Self::Postgres(store) => store.erase(records),
        }
    }

    /// How many records there are of each type, by name.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn counts(&mut self) -> Result<Vec<(String, u64)>, RecordsError> {
        match self {
            Self::Sqlite(store) => Ok(store.counts()?),
            Self::Postgres(store) => store.counts(),
        }
    }
}

/// What a lookup gives: canonical bytes, or why there are none (for the operator; holds no value of a record or question).
pub type Found = Result<Vec<Vec<u8>>, String>;

/// One lookup: records of this type that any of these keys finds. `Debug` shows no value.
#[derive(Clone, PartialEq, Eq)]
pub struct Lookup {
    /// Record type of the catalogue.
    pub record_type: String,
    /// Name and normalised value of each match key.
    pub keys: Vec<(String, String)>,
    /// At most this many records.
    pub limit: usize,
}

impl std::fmt::Debug for Lookup {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Lookup({}, {} keys, at most {})", self.record_type, self.keys.len(), self.limit)
    }
}

/// The reading side of the record store, owned by whoever looks up.
pub struct RecordReader {
    from: Source,
    health: Arc<Health>,
    /// The invented records of training: their file, opened when it is there and first asked for.
    invented: Option<PathBuf>,
    invented_reader: OnceCell<SqliteReader>,
}

enum Source {
    InLine(SqliteReader),
    Postgres(Links<Tables>),
    MappedPostgres(Links<MappedTables>),
    MappedFile(MappedFile),
}

impl RecordReader {
    /// Opens the store that `settings` name. A server that cannot be reached now is connected to as soon as it can;
    /// until then every lookup fails and [`RecordReader::health`] says why. Call it inside a Tokio runtime.
    ///
    /// # Errors
    /// The store is there and cannot be used: another version of this program made it, rights are missing.
    pub async fn open(dir: &NodeDir, settings: &RecordSettings, catalogue: &Catalogue) -> Result<Self, RecordsError> {
        let real = Self::open_real(dir, settings, catalogue).await?;
        Ok(Self { invented: Some(dir.training().records()), ..real })
    }

    const fn new(from: Source, health: Arc<Health>) -> Self {
        Self { from, health, invented: None, invented_reader: OnceCell::new() }
    }

    async fn open_real(dir: &NodeDir, settings: &RecordSettings, catalogue: &Catalogue) -> Result<Self, RecordsError> {
        let (connections, in_flight) = (settings.connections.into(), settings.in_flight.into());
        let mapping =
            settings.mapping.as_ref().map(|file| mapping::load(&dir.path().join(file), catalogue)).transpose()?;
        match (&settings.store, mapping) {
            (StoreAt::Postgres(url), None) => {
                let server = Server::new(dir, url, settings)?;
                let tables = Tables::new(&settings.schema);
                first_check(&server, &tables).await?;
                let health = Health::new("postgres");
                let links = Links::keep(server, tables, connections, in_flight, Arc::clone(&health));
                Ok(Self::new(Source::Postgres(links), health))
            }
            (StoreAt::Postgres(url), Some(mapping)) => {
                let server = Server::new(dir, url, settings)?;
                let health = Health::new("postgres-mapped");
                let tables = MappedTables::new(mapping, Arc::clone(&health));
                first_check(&server, &tables).await?;
                let links = Links::keep(server, tables, connections, in_flight, Arc::clone(&health));
                Ok(Self::new(Source::MappedPostgres(links), health))
            }
            (StoreAt::File(path), Some(mapping)) => {
                let (path, time_max) = (dir.path().join(path), settings.statement_timeout());
                let health = Health::new("sqlite-mapped");
                match mapping::check_file(&path, &mapping, time_max) {
                    Ok(findings) => mapping::errors(&findings).map_err(RecordsError::Server)?,
                    // It is opened as soon as it can be.
                    Err(why) => health.down(&why),
                }
                let system = |error| RecordsError::Server(format!("the operating system gives no thread: {error}"));
                let file = MappedFile::start(&path, mapping, time_max, Arc::clone(&health)).map_err(system)?;
                Ok(Self::new(Source::MappedFile(file), health))
            }
            (StoreAt::Folder | StoreAt::File(_), _) => Ok(SqliteStore::open(&dir.records())?.reader()?.into()),
        }
    }

    /// Looks up among the invented records of training, which stand in a file of their own: a real record is never
    /// found, and nothing is counted as the store's health. Without that file nothing is found.
    pub fn invented(&self, lookup: &Lookup) -> Found {
        let Some(path) = self.invented.as_ref().filter(|path| path.exists()) else { return Ok(Vec::new()) };
        let reader = match self.invented_reader.get() {
            Some(reader) => reader,
            None => {
                let opened = SqliteReader::open(path).map_err(|error| error.to_string())?;
                self.invented_reader.get_or_init(|| opened)
            }
        };
        reader.lookup(&lookup.record_type, &lookup.keys, lookup.limit)
    }

    /// How the store is doing.
    pub fn health(&self) -> Arc<Health> {
        Arc::clone(&self.health)
    }

    /// Looks records up, each once, in the order of the keys, oldest first per key. A store that is read in line gives
    /// them at once; any other gives none here and calls `later`, exactly once, from another task.
    pub fn lookup(&self, lookup: Lookup, later: impl FnOnce(Found) + Send + 'static) -> Option<Found> {
        match &self.from {
            Source::InLine(reader) => {
                let found = reader.lookup(&lookup.record_type, &lookup.keys, lookup.limit);
                self.health.count(&found);
                match &found {
                    Ok(_) => self.health.up(),
                    Err(why) => self.health.down(why),
                }
                Some(found)
            }
            Source::Postgres(links) => {
                links.lookup(lookup, later);
                None
            }
            Source::MappedPostgres(links) => {
                links.lookup(lookup, later);
                None
            }
            Source::MappedFile(file) => {
                file.lookup(lookup, later);
                None
            }
        }
    }
}

impl From<SqliteReader> for RecordReader {
    fn from(reader: SqliteReader) -> Self {
        Self::new(Source::InLine(reader), Health::new("sqlite"))
    }
}

/// The version of the node's own tables in PostgreSQL, if `settings` name such a store: none inside while they are not
/// made. Nothing is made or changed. Blocks.
///
/// # Errors
/// The server cannot be reached, or its password not be read.
pub fn tables_version(dir: &NodeDir, settings: &RecordSettings) -> Result<Option<Option<u32>>, RecordsError> {
    match (&settings.store, &settings.mapping) {
        (StoreAt::Postgres(url), None) => {
            postgres::version(&Server::new(dir, url, settings)?, &settings.schema).map(Some)
        }
        _ => Ok(None),
    }
}

/// What a check of a mapping found in its database: tables, columns, rights, expressions and indexes. No row is read.
///
/// # Errors
/// The mapping is wrong, or the database cannot be reached.
pub fn check_mapping(
    dir: &NodeDir,
    settings: &RecordSettings,
    catalogue: &Catalogue,
) -> Result<Vec<Finding>, RecordsError> {
    let Some(file) = &settings.mapping else { return Ok(Vec::new()) };
    let mapping = mapping::load(&dir.path().join(file), catalogue)?;
    match &settings.store {
        StoreAt::File(path) => mapping::check_file(&dir.path().join(path), &mapping, settings.statement_timeout())
            .map_err(RecordsError::Server),
        StoreAt::Postgres(url) => {
            let server = Server::new(dir, url, settings)?;
            let tables = MappedTables::new(mapping, Health::new("postgres-mapped"));
            postgres::with_client(&server, async |client| tables.check(client).await)
        }
        StoreAt::Folder => Ok(Vec::new()),
    }
}

/// Connects once: what does not fit is found before anybody is served; a server that is away is not waited for.
async fn first_check<A: links::Ask>(server: &Server, ask: &A) -> Result<(), RecordsError> {
    let (mut client, moving) = match server.connect(false).await {
        Ok(connected) => connected,
        Err(why) => {
            tracing::warn!(why, "the record store cannot be reached; it is tried again until it can");
            return Ok(());
        }
    };
    let moving = tokio::spawn(moving);
    let ready = ask.prepare(&mut client).await;
    moving.abort();
    ready.map(drop).map_err(RecordsError::Server)
}
