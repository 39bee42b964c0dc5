//! An agency's own SQLite file, read in place on a thread of its own: its other users may hold it locked.

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::time::{Duration, Instant};

use puente_model::limits::FIELD_BYTES_MAX;
use rusqlite::config::DbConfig;
use rusqlite::types::ValueRef;
use rusqlite::{Connection, OpenFlags, params_from_iter};

use super::check::{Finding, Findings, errors};
use super::postgres::unserved;
use super::{KeyBy, Mapped, MappedKey, Mapping, Reading};
use crate::records::health::Health;
use crate::records::settings::quoted;
use crate::records::{Found, Lookup};

/// Lookups that wait for the thread; more are refused at once.
const WAITING_MAX: usize = 4_096;
/// Steps of SQLite's machine between two looks at the clock.
const STEPS: i32 = 1_000;

type Later = Box<dyn FnOnce(Found) + Send>;

/// A thread that looks up in one file.
pub(in crate::records) struct MappedFile {
    jobs: SyncSender<(Lookup, Later)>,
    health: Arc<Health>,
}

impl MappedFile {
    /// Starts the thread. A file that is not there yet is opened when it is.
    pub(in crate::records) fn start(
        path: &Path,
        mapping: Mapping,
        time_max: Duration,
        health: Arc<Health>,
    ) -> std::io::Result<Self> {
        let (jobs, receiver) = sync_channel(WAITING_MAX);
        let reader = Reader { path: path.to_owned(), mapping, time_max, health: Arc::clone(&health), open: None };
        std::thread::Builder::new().name("records".to_owned()).spawn(move || reader.run(&receiver))?;
        Ok(Self { jobs, health })
    }

    /// Looks up on the thread, and calls `later` once.
    pub(in crate::records) fn lookup(&self, lookup: Lookup, later: impl FnOnce(Found) + Send + 'static) {
        let full = match self.jobs.try_send((lookup, Box::new(later))) {
            Ok(()) => return,
            Err(TrySendError::Full(job) | TrySendError::Disconnected(job)) => job,
        };
        let found = Err(format!("{WAITING_MAX} lookups wait already"));
        self.health.count(&found);
        (full.1)(found);
    }
}

/// A connection, and which file it reads: another file of the same name is opened anew.
struct Open {
    connection: Connection,
    file: (u64, u64),
    deadline: Arc<Deadline>,
}

/// When a statement is interrupted, in milliseconds since the connection was opened.
struct Deadline {
    began: Instant,
    at: AtomicU64,
}

impl Deadline {
    fn set(&self, within: Duration) {
        let at = self.began.elapsed().saturating_add(within);
        self.at.store(u64::try_from(at.as_millis()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    fn has_passed(&self) -> bool {
        self.began.elapsed().as_millis() > u128::from(self.at.load(Ordering::Relaxed))
    }
}

fn identity_of(path: &Path) -> std::io::Result<(u64, u64)> {
    std::fs::metadata(path).map(|meta| (meta.dev(), meta.ino()))
}

/// SQLite's words without any value: the code and what it means.
fn describe(error: &rusqlite::Error) -> String {
    match error {
        rusqlite::Error::SqliteFailure(code, _) if code.code == rusqlite::ErrorCode::OperationInterrupted => {
            "the lookup took longer than 'statement_timeout_ms'".to_owned()
        }
        rusqlite::Error::SqliteFailure(code, _) => code.to_string(),
        _ => "the file does not hold what the mapping says".to_owned(),
    }
}

/// Opens the file for reading alone.
fn open(path: &Path, time_max: Duration) -> Result<Open, String> {
    let named = |error: std::io::Error| format!("{}: {error}", path.display());
    let file = identity_of(path).map_err(named)?;
    let work = || -> rusqlite::Result<Open> {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(path, flags)?;
        connection.busy_timeout(time_max)?;
        connection.pragma_update(None, "query_only", true)?;
        // A quoted name that is no column is an error, never a text; views of the file run no function that does things.
        connection.set_db_config(DbConfig::SQLITE_DBCONFIG_DQS_DML, false)?;
        connection.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true)?;
        connection.set_db_config(DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false)?;
        connection.set_prepared_statement_cache_capacity(64);
        let deadline = Arc::new(Deadline { began: Instant::now(), at: AtomicU64::new(u64::MAX) });
        let watch = Arc::clone(&deadline);
        connection.progress_handler(STEPS, Some(move || watch.has_passed()));
        Ok(Open { connection, file, deadline })
    };
    work().map_err(|error| format!("{}: {}", path.display(), describe(&error)))
}

struct Reader {
    path: PathBuf,
    mapping: Mapping,
    time_max: Duration,
    health: Arc<Health>,
    open: Option<Open>,
}

impl Reader {
    fn run(mut self, jobs: &Receiver<(Lookup, Later)>) {
        for (lookup, later) in jobs {
            let found = self.look_up(&lookup);
            self.health.count(&found);
            later(found);
        }
    }

    fn look_up(&mut self, lookup: &Lookup) -> Found {
        let Some(mapped) = self.mapping.types.get(&lookup.record_type) else { return Ok(Vec::new()) };
        if mapped.is_unserved(lookup) {
            return Err(unserved(lookup));
        }
        if self.open.as_ref().is_some_and(|open| identity_of(&self.path).ok() != Some(open.file)) {
            self.open = None;
        }
        let opened = match self.open.take() {
            Some(open) => Ok(open),
            None => open(&self.path, self.time_max).and_then(|open| {
                errors(&check(&open.connection, &self.mapping))?;
                Ok(open)
            }),
        };
        let opened = match opened {
            Ok(opened) => opened,
            Err(why) => {
                self.health.down(&why);
                return Err(why);
            }
        };
        opened.deadline.set(self.time_max);
        let mut reading = Reading::new(mapped, lookup);
        if let Err(error) = read(&opened.connection, mapped, lookup, &mut reading) {
            // Too slow is this lookup's failure; anything else may be the file's, which is opened anew.
            let why = describe(&error);
            if error.sqlite_error_code() == Some(rusqlite::ErrorCode::OperationInterrupted) {
                self.open = Some(opened);
            } else {
                self.health.down(&why);
            }
            return Err(why);
        }
        self.open = Some(opened);
        self.health.up();
        reading.end(&self.health)
    }
}

fn read(connection: &Connection, mapped: &Mapped, lookup: &Lookup, reading: &mut Reading<'_>) -> rusqlite::Result<()> {
    let limit = i64::try_from(lookup.limit).unwrap_or(i64::MAX);
    for (name, value) in &lookup.keys {
        let Some(key) = mapped.keys.get(name) else { continue };
        let (Some(binds), Some(sql)) = (key.binds(value), mapped.sqlite_lookup(key)) else { continue };
        let mut find = connection.prepare_cached(&sql)?;
        // Each column may hold one of several texts: every combination is a lookup of its own.
        let combinations: usize = binds.iter().map(Vec::len).product();
        for number in 0..combinations.min(puente_catalogue::KEYS_PER_DEFINITION_MAX) {
            if reading.is_full() {
                return Ok(());
            }
            let mut rest = number;
            let pick = binds.iter().map(|list| {
                let at = rest % list.len();
                rest /= list.len();
                rusqlite::types::Value::from(list[at].clone())
            });
            let given: Vec<_> = pick.collect();
            let mut rows = find.query(params_from_iter(given.into_iter().chain([limit.into()])))?;
            while let Some(row) = rows.next()? {
                let cell = |at| match row.get_ref(at)? {
                    ValueRef::Null => Ok(None),
                    ValueRef::Text(text) => Ok(Some(String::from_utf8_lossy(text).into_owned())),
                    other => Err(rusqlite::Error::InvalidColumnType(at, String::new(), other.data_type())),
                };
                let cells = (0..mapped.columns.len()).map(cell).collect::<rusqlite::Result<Vec<_>>>()?;
                reading.take(&cells);
            }
        }
    }
    Ok(())
}

impl Mapped {
    /// The statement that looks a key up: a text per column of the key, then the limit.
    fn sqlite_lookup(&self, key: &MappedKey) -> Option<String> {
        let conditions: Vec<String> = match &key.by {
            KeyBy::Unserved => return None,
            KeyBy::Expression(sql) => vec![format!("({}\n) = ?1", sql.text)],
            KeyBy::Columns(columns) => {
                let one =
                    |(at, column): (usize, &super::KeyColumn)| format!("{} = ?{}", quoted(&column.column.text), at + 1);
                columns.iter().enumerate().map(one).collect()
            }
        };
        let column =
            |name: &super::Placed| format!("substr(CAST({} AS TEXT), 1, {})", quoted(&name.text), FIELD_BYTES_MAX + 1);
        let columns: Vec<String> = self.columns.iter().map(column).collect();
        let columns = if columns.is_empty() { "NULL".to_owned() } else { columns.join(", ") };
        let order = self.order.as_ref().map(|name| format!(" ORDER BY {}", quoted(&name.text))).unwrap_or_default();
        let (from, binds) = (quoted(&self.table.text), conditions.len() + 1);
        Some(format!("SELECT {columns} FROM {from} WHERE {}{order} LIMIT ?{binds}", conditions.join(" AND ")))
    }
}

/// Opens a file and compares the mapping with it.
pub(in crate::records) fn check_file(
    path: &Path,
    mapping: &Mapping,
    time_max: Duration,
) -> Result<Vec<Finding>, String> {
    open(path, time_max).map(|open| check(&open.connection, mapping))
}

fn check(connection: &Connection, mapping: &Mapping) -> Vec<Finding> {
    let mut findings = Findings::default();
    for mapped in mapping.types.values() {
        let names = |sql: &str, given: &[&str]| -> rusqlite::Result<Vec<String>> {
            connection.prepare(sql)?.query_map(params_from_iter(given), |row| row.get(0))?.collect()
        };
        if let Some(schema) = &mapped.schema {
            let mend = "take 'schema' out".to_owned();
            findings.error(&schema.at, "schema", "a SQLite file has no schemas".to_owned(), mend);
        }
        let tables = "SELECT name FROM sqlite_schema WHERE type IN ('table', 'view')";
        let columns = "SELECT name FROM pragma_table_xinfo(?1)";
        let known = match names(columns, &[&mapped.table.text]) {
            Ok(known) if !known.is_empty() => known,
            Ok(_) => {
                let tables = names(tables, &[]).unwrap_or_default();
                findings.missing(&mapped.table.at, "table or view", &mapped.table.text, &tables);
                continue;
            }
            Err(error) => {
                let mend = "check that the file is a SQLite database and that the node's user may read it".to_owned();
                findings.error(&mapped.table.at, "read", describe(&error), mend);
                continue;
            }
        };
        let of_keys = mapped.keys.values().filter_map(|key| match &key.by {
            KeyBy::Columns(columns) => Some(columns.iter().map(|column| &column.column)),
            KeyBy::Expression(_) | KeyBy::Unserved => None,
        });
        let mut complete = true;
        for column in mapped.columns.iter().chain(&mapped.order).chain(of_keys.flatten()) {
            // SQLite itself takes any case.
            if !known.iter().any(|known| known.eq_ignore_ascii_case(&column.text)) {
                findings.missing(&column.at, "column", &column.text, &known);
                complete = false;
            }
        }
        for (name, key) in mapped.keys.iter().filter(|_| complete) {
            let Some(sql) = mapped.sqlite_lookup(key) else { continue };
            let (find, _) = sql.split_once(" LIMIT ?").unwrap_or((&sql, ""));
            let find = find.split_once(" ORDER BY ").map_or(find, |(find, _)| find);
            let plan = || -> rusqlite::Result<Vec<String>> {
                let mut explain = connection.prepare(&format!("EXPLAIN QUERY PLAN {find}"))?;
                let nothing = vec![""; explain.parameter_count()];
                explain.query_map(params_from_iter(nothing), |row| row.get(3))?.collect()
            };
            match plan() {
                Ok(lines) if lines.iter().any(|line| line.starts_with("SCAN")) => findings.no_index(&key.at, name),
                Ok(_) => {}
                Err(error) => {
                    let message = format!("'{name}' cannot be looked up: {}", error_text(&error));
                    findings.error(&key.at, "statement", message, "check the names in the expression".to_owned());
                }
            }
        }
    }
    findings.0
}

/// What SQLite says of a statement: of names and grammar, as no value stands in one.
fn error_text(error: &rusqlite::Error) -> String {
    match error {
        rusqlite::Error::SqliteFailure(_, Some(text)) => text.clone(),
        rusqlite::Error::SqlInputError { msg, .. } => msg.clone(),
        other => describe(other),
    }
}
