//! PostgreSQL: the node's own tables in a schema of their own, made and versioned by the node.
//!
//! ```text
//! <schema>.meta      version of the tables
//! <schema>.name      record types and names of match keys, once each
//! <schema>.record    canonical bytes, and their identity: one row per record
//! <schema>.match_key (type, name, value) → record
//! <schema>.due, .due_upto  when records have to be erased (`due`)
//! ```
//!
//! Values of keys are bytes: no collation has a say in what equals what. A value that is too long for an index stands
//! there as its digest.

use std::collections::{BTreeSet, HashMap};
use std::sync::{PoisonError, RwLock};

use puente_model::{Digest, Label, digest};
use tokio::runtime::Runtime;
use tokio_postgres::{Client, Statement, Transaction};

use super::links::{Ask, Failed};
use super::server::{Server, describe};
use super::settings::quoted;
use super::{Inserted, Lookup, NewRecord, RecordsError, identity};
use crate::import::batch::{Probe, Seen};

const VERSION: i32 = POSTGRES_VERSION as i32;
/// The format version of the tables.
pub(crate) const POSTGRES_VERSION: u32 = 1;
/// A longer value of a key stands in the index as its digest, in bytes.
const KEY_BYTES_MAX: usize = 512;
const LONG_KEY: Label = Label("puente/v1/record-key");
/// Records that go to the server in one statement.
const PART_RECORDS: usize = 2_000;
/// Bytes that go to the server in one statement, one record more or less.
const PART_BYTES: usize = 4 << 20;
/// Names of types and keys that are remembered.
const NAMES_MAX: usize = 10_000;

/// The bytes of a key's value in the index. No UTF-8 begins as a digest does here.
fn probe(value: &str) -> Vec<u8> {
    if value.len() <= KEY_BYTES_MAX {
        return value.as_bytes().to_vec();
    }
    let mut out = vec![0xff];
    out.extend_from_slice(digest(LONG_KEY, &[value.as_bytes()]).as_bytes());
    out
}

/// A place among what was asked for, from 0.
fn at(row: &tokio_postgres::Row) -> Result<Option<usize>, tokio_postgres::Error> {
    let at: i64 = row.try_get(0)?;
    Ok(usize::try_from(at).ok().and_then(|at| at.checked_sub(1)))
}

/// The tables, made if there are none.
#[derive(Clone)]
pub(super) struct Tables {
    /// The schema's name, quoted.
    pub(super) schema: String,
}

impl Tables {
    pub(super) fn new(schema: &str) -> Self {
        Self { schema: quoted(schema) }
    }

    /// Makes the tables, or checks that they are of this version.
    async fn ensure(&self, client: &mut Client) -> Result<(), String> {
        let said = |error| describe(&error);
        let schema = &self.schema;
        let version = format!("SELECT version FROM {schema}.meta");
        let exists = client
            .query_one("SELECT to_regclass($1) IS NOT NULL", &[&format!("{schema}.meta")])
            .await
            .and_then(|row| row.try_get::<_, bool>(0))
            .map_err(said)?;
        if !exists {
            let tx = client.transaction().await.map_err(said)?;
            // Two that come at once: the second finds what the first made. A schema that stands needs no right to make one.
            tx.execute("SELECT pg_advisory_xact_lock(7085774586291057)", &[]).await.map_err(said)?;
            let stands = tx
                .query_one("SELECT to_regnamespace($1) IS NOT NULL", &[&schema])
                .await
                .and_then(|row| row.try_get::<_, bool>(0))
                .map_err(said)?;
            let schema_made = if stands { String::new() } else { format!("CREATE SCHEMA {schema};") };
            let make = format!(
                "{schema_made}
                 CREATE TABLE IF NOT EXISTS {schema}.meta (one bool PRIMARY KEY CHECK (one), version int4 NOT NULL);
                 INSERT INTO {schema}.meta VALUES (true, {VERSION}) ON CONFLICT DO NOTHING;
                 CREATE TABLE IF NOT EXISTS {schema}.name (
                     id int4 GENERATED ALWAYS AS IDENTITY PRIMARY KEY, text text COLLATE \"C\" NOT NULL UNIQUE);
                 CREATE TABLE IF NOT EXISTS {schema}.record (
                     id int8 GENERATED ALWAYS AS IDENTITY PRIMARY KEY, type int4 NOT NULL REFERENCES {schema}.name,
                     bytes bytea NOT NULL, identity bytea NOT NULL UNIQUE);
                 CREATE TABLE IF NOT EXISTS {schema}.match_key (
                     type int4 NOT NULL, name int4 NOT NULL, value bytea NOT NULL, record int8 NOT NULL,
                     PRIMARY KEY (type, name, value, record));"
            );
            tx.batch_execute(&make).await.map_err(said)?;
            tx.commit().await.map_err(said)?;
        }
        let found: i32 = client.query_one(&version, &[]).await.and_then(|row| row.try_get(0)).map_err(said)?;
        if found != VERSION {
            return Err(format!(
                "schema {schema} has format version {found}; this program reads version {VERSION}: use the program that \
                 wrote it"
            ));
        }
        Ok(())
    }
}

/// Ids of names that were seen.
#[derive(Default)]
struct Names(RwLock<HashMap<String, i32>>);

impl Names {
    fn get(&self, text: &str) -> Option<i32> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).get(text).copied()
    }

    fn put(&self, text: &str, id: i32) {
        let mut names = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if names.len() < NAMES_MAX {
            names.insert(text.to_owned(), id);
        }
    }
}

/// Statements of one connection for lookups.
pub(super) struct Statements {
    name: Statement,
    one: Statement,
    several: Statement,
    names: Names,
}

impl Statements {
    async fn id(&self, client: &Client, text: &str) -> Result<Option<i32>, tokio_postgres::Error> {
        if let Some(id) = self.names.get(text) {
            return Ok(Some(id));
        }
        // No name of the catalogue holds a NUL, which no text of PostgreSQL can.
        if text.contains('\0') {
            return Ok(None);
        }
        let Some(row) = client.query_opt(&self.name, &[&text]).await? else { return Ok(None) };
        let id = row.try_get(0)?;
        self.names.put(text, id);
        Ok(Some(id))
    }
}

impl Ask for Tables {
    type Ready = Statements;

    async fn prepare(&self, client: &mut Client) -> Result<Statements, String> {
        let said = |error| describe(&error);
        self.ensure(client).await?;
        // From here on this connection only reads, by the two indexes, whatever the statistics say.
        let session = "SET default_transaction_read_only = on; SET enable_seqscan = off; SET enable_hashjoin = off;
                       SET enable_mergejoin = off; SET enable_bitmapscan = off";
        client.batch_execute(session).await.map_err(said)?;
        let schema = &self.schema;
        let name = client.prepare(&format!("SELECT id FROM {schema}.name WHERE text = $1")).await.map_err(said)?;
        let one = client.prepare(&self.lookup_sql()).await.map_err(said)?;
        let several = format!(
            "SELECT r.bytes FROM (
                 SELECT k.record AS id, min(q.at) AS at
                 FROM unnest($2::int4[], $3::bytea[]) WITH ORDINALITY AS q(name, value, at)
                 CROSS JOIN LATERAL (
                     SELECT m.record FROM {schema}.match_key m
                     WHERE m.type = $1 AND m.name = q.name AND m.value = q.value ORDER BY m.record LIMIT $4) k
                 GROUP BY k.record ORDER BY 2, 1 LIMIT $4) f
             JOIN {schema}.record r ON r.id = f.id ORDER BY f.at, f.id"
        );
        let several = client.prepare(&several).await.map_err(said)?;
        Ok(Statements { name, one, several, names: Names::default() })
    }

    async fn ask(&self, client: &Client, ready: &Statements, lookup: &Lookup) -> Result<Vec<Vec<u8>>, Failed> {
        let Some(record_type) = ready.id(client, &lookup.record_type).await? else { return Ok(Vec::new()) };
        let (mut names, mut values) = (Vec::new(), Vec::new());
        for (name, value) in &lookup.keys {
            if let Some(id) = ready.id(client, name).await? {
                names.push(id);
                values.push(probe(value));
            }
        }
        let limit = i64::try_from(lookup.limit).unwrap_or(i64::MAX);
        let rows = match (names.as_slice(), values.as_slice()) {
            ([], _) => return Ok(Vec::new()),
            ([name], [value]) => client.query(&ready.one, &[&record_type, name, value, &limit]).await?,
            _ => client.query(&ready.several, &[&record_type, &names, &values, &limit]).await?,
        };
        rows.iter().map(|row| row.try_get(0).map_err(Failed::from)).collect()
    }
}

impl Tables {
    /// The statement that looks one key up: type, name, value, limit.
    pub(super) fn lookup_sql(&self) -> String {
        let schema = &self.schema;
        format!(
            "SELECT r.bytes FROM {schema}.match_key k JOIN {schema}.record r ON r.id = k.record
             WHERE k.type = $1 AND k.name = $2 AND k.value = $3 ORDER BY k.record LIMIT $4"
        )
    }
}

/// The writing side: imports. Every call blocks until the server has answered.
pub struct PostgresStore {
    runtime: Option<Runtime>,
    client: Client,
    tables: Tables,
}

impl Drop for PostgresStore {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// The version of the tables in the schema `schema`; none if they are not made yet. Nothing is made or changed.
pub(super) fn version(server: &Server, schema: &str) -> Result<Option<u32>, RecordsError> {
    let schema = quoted(schema);
    with_client(server, async |client| {
        let said = |error| describe(&error);
        let meta = client.query_one("SELECT to_regclass($1) IS NOT NULL", &[&format!("{schema}.meta")]).await;
        if !meta.and_then(|row| row.try_get::<_, bool>(0)).map_err(said)? {
            return Ok(None);
        }
        let found = client.query_one(&format!("SELECT version FROM {schema}.meta"), &[]).await;
        let found: i32 = found.and_then(|row| row.try_get(0)).map_err(said)?;
        Ok(Some(u32::try_from(found).unwrap_or(u32::MAX)))
    })
}

/// Does one thing over a connection that only reads. Blocks.
pub(super) fn with_client<T: Send>(
    server: &Server,
    work: impl AsyncFnOnce(&Client) -> Result<T, String>,
) -> Result<T, RecordsError> {
    let runtime = runtime()?;
    let done = runtime.block_on(async {
        let (client, moving) = server.connect(true).await?;
        let moving = tokio::spawn(moving);
        let done = work(&client).await;
        moving.abort();
        done
    });
    done.map_err(RecordsError::Server)
}

fn runtime() -> Result<Runtime, RecordsError> {
    let system = |error| RecordsError::Server(format!("the operating system gives no runtime: {error}"));
    tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(system)
}

/// Runs on a thread that no other runtime owns: the caller may be a task.
fn blocking<T: Send>(runtime: &Runtime, work: impl Future<Output = T> + Send) -> Result<T, RecordsError> {
    let done = std::thread::scope(|scope| scope.spawn(|| runtime.block_on(work)).join());
    done.map_err(|_| RecordsError::Server("this program failed while it spoke to the database".to_owned()))
}

impl PostgresStore {
    pub(super) fn open(server: &Server, tables: Tables) -> Result<Self, RecordsError> {
        let runtime = runtime()?;
        let opened = blocking(&runtime, async {
            let (mut client, moving) = server.connect(false).await?;
            tokio::spawn(moving);
            // Thousands of rows go in at once: the limit of a lookup is not theirs.
            let session = "SET statement_timeout = '10min'; SET lock_timeout = '10min'; SET plan_cache_mode = auto";
            client.batch_execute(session).await.map_err(|error| describe(&error))?;
            tables.ensure(&mut client).await?;
            tables.ensure_due(&client).await.map_err(|error| describe(&error))?;
            Ok(client)
        });
        let client = opened?.map_err(RecordsError::Server)?;
        Ok(Self { runtime: Some(runtime), client, tables })
    }

    pub(super) fn run<'s, T: Send, F: Future<Output = Result<T, tokio_postgres::Error>> + Send>(
        &'s mut self,
        work: impl FnOnce(&'s mut Client, &'s Tables) -> F,
    ) -> Result<T, RecordsError> {
        let Some(runtime) = &self.runtime else { return Err(RecordsError::Server("it is closed".to_owned())) };
        let work = work(&mut self.client, &self.tables);
        blocking(runtime, work)?.map_err(|error| RecordsError::Server(describe(&error)))
    }

    /// As [`super::RecordStore::insert`].
    ///
    /// # Errors
    /// The server refuses or cannot be reached; nothing was inserted.
    pub fn insert(&mut self, records: &[NewRecord]) -> Result<Inserted, RecordsError> {
        if records.is_empty() {
            return Ok(Inserted::default());
        }
        self.run(|client, tables| tables.insert(client, records))
    }

    /// As [`super::RecordStore::seen`].
    ///
    /// # Errors
    /// The server refuses or cannot be reached.
    pub fn seen(&mut self, record_type: &str, probes: &[Probe<'_>]) -> Result<Vec<Seen>, RecordsError> {
        self.run(|client, tables| tables.seen(client, record_type, probes))
    }

    /// As [`super::RecordStore::counts`].
    ///
    /// # Errors
    /// The server refuses or cannot be reached.
    pub fn counts(&mut self) -> Result<Vec<(String, u64)>, RecordsError> {
        self.run(|client, tables| tables.counts(client))
    }

    /// As [`super::RecordStore::page`].
    ///
    /// # Errors
    /// The server refuses or cannot be reached.
    pub fn page(&mut self, record_type: &str, after: i64, limit: usize) -> Result<Vec<(i64, Vec<u8>)>, RecordsError> {
        self.run(|client, tables| tables.page(client, record_type, after, limit))
    }

    /// As [`super::RecordStore::erase`].
    ///
    /// # Errors
    /// The server refuses or cannot be reached; nothing was erased.
    pub fn erase(&mut self, records: &[Digest]) -> Result<u64, RecordsError> {
        let erased = self.run(|client, tables| tables.erase(client, records))?;
        // What was deleted stays in the server's files until it is cleared away: at once, if this user may.
        let _ = self.run(|client, tables| tables.vacuum(client));
        Ok(erased)
    }
}

impl Tables {
    async fn seen(
        &self,
        client: &Client,
        record_type: &str,
        probes: &[Probe<'_>],
    ) -> Result<Vec<Seen>, tokio_postgres::Error> {
        let schema = &self.schema;
        let mut seen = vec![Seen::New; probes.len()];
        let known = format!(
            "SELECT g.at FROM unnest($1::bytea[]) WITH ORDINALITY AS g(identity, at)
             WHERE EXISTS (SELECT FROM {schema}.record r WHERE r.identity = g.identity)"
        );
        let identities: Vec<&[u8]> = probes.iter().map(|p| p.identity.as_bytes().as_slice()).collect();
        for row in client.query(&known, &[&identities]).await? {
            if let Some(seen) = at(&row)?.and_then(|at| seen.get_mut(at)) {
                *seen = Seen::Known;
            }
        }
        let (mut of, mut names, mut values) = (Vec::new(), Vec::new(), Vec::new());
        for (i, probe_of) in probes.iter().enumerate() {
            for (n, key) in probe_of.decisive.iter().enumerate() {
                of.push((i, n));
                names.push(key.name);
                values.push(probe(key.value));
            }
        }
        let keyed = format!(
            "SELECT g.at FROM unnest($2::text[], $3::bytea[]) WITH ORDINALITY AS g(name, value, at)
             JOIN {schema}.name t ON t.text = $1 JOIN {schema}.name n ON n.text = g.name
             WHERE EXISTS (SELECT FROM {schema}.match_key m WHERE m.type = t.id AND m.name = n.id AND m.value = g.value)
             ORDER BY g.at"
        );
        for row in client.query(&keyed, &[&record_type, &names, &values]).await? {
            let key = at(&row)?.and_then(|at| of.get(at));
            if let Some((i, n)) = key
                && let Some(seen) = seen.get_mut(*i)
                && *seen == Seen::New
            {
                *seen = Seen::SameKey(*n);
            }
        }
        Ok(seen)
    }

    async fn counts(&self, client: &Client) -> Result<Vec<(String, u64)>, tokio_postgres::Error> {
        let schema = &self.schema;
        let sql = format!(
            "SELECT n.text, count(*) FROM {schema}.record r JOIN {schema}.name n ON n.id = r.type GROUP BY n.text ORDER BY 1"
        );
        let rows = client.query(&sql, &[]).await?;
        rows.iter().map(|row| Ok((row.try_get(0)?, row.try_get::<_, i64>(1)?.unsigned_abs()))).collect()
    }

    async fn page(
        &self,
        client: &Client,
        record_type: &str,
        after: i64,
        limit: usize,
    ) -> Result<Vec<(i64, Vec<u8>)>, tokio_postgres::Error> {
        let schema = &self.schema;
        let sql = format!(
            "SELECT id, bytes FROM {schema}.record
             WHERE id > $1 AND type = (SELECT id FROM {schema}.name WHERE text = $2) ORDER BY id LIMIT $3"
        );
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let rows = client.query(&sql, &[&after, &record_type, &limit]).await?;
        rows.iter().map(|row| Ok((row.try_get(0)?, row.try_get(1)?))).collect()
    }

    async fn erase(&self, client: &mut Client, records: &[Digest]) -> Result<u64, tokio_postgres::Error> {
        let schema = &self.schema;
        let identities: Vec<&[u8]> = records.iter().map(|record| record.as_bytes().as_slice()).collect();
        let tx = client.transaction().await?;
        // Not while an import brings in: the lock is the same.
        tx.execute("SELECT pg_advisory_xact_lock(7085774586291058)", &[]).await?;
        let keys = format!(
            "DELETE FROM {schema}.match_key m USING {schema}.record r
             WHERE r.identity = ANY($1) AND m.type = r.type AND m.record = r.id"
        );
        tx.execute(&keys, &[&identities]).await?;
        let due = format!(
            "DELETE FROM {schema}.due d USING {schema}.record r WHERE r.identity = ANY($1) AND d.record = r.id"
        );
        tx.execute(&due, &[&identities]).await?;
        let erased =
            tx.execute(&format!("DELETE FROM {schema}.record WHERE identity = ANY($1)"), &[&identities]).await?;
        tx.commit().await?;
        Ok(erased)
    }

    async fn vacuum(&self, client: &Client) -> Result<(), tokio_postgres::Error> {
        let schema = &self.schema;
        client.batch_execute(&format!("VACUUM {schema}.match_key, {schema}.record, {schema}.due")).await
    }

    async fn insert(&self, client: &mut Client, records: &[NewRecord]) -> Result<Inserted, tokio_postgres::Error> {
        let tx = client.transaction().await?;
        // One import at a time: two that hold each other's rows would end in a deadlock.
        tx.execute("SELECT pg_advisory_xact_lock(7085774586291058)", &[]).await?;
        let names = self.intern(&tx, records).await?;
        let mut done = Inserted::default();
        for part in parts(records) {
            let new = self.insert_part(&tx, &names, part).await?;
            done.new += new;
            done.known += (part.len() as u64).saturating_sub(new);
        }
        tx.commit().await?;
        Ok(done)
    }

    async fn intern(
        &self,
        tx: &Transaction<'_>,
        records: &[NewRecord],
    ) -> Result<HashMap<String, i32>, tokio_postgres::Error> {
        let schema = &self.schema;
        let texts = records.iter().flat_map(|r| r.keys.iter().map(|(name, _)| name).chain([&r.record_type]));
        let texts: Vec<&str> = texts.map(|text| &**text).collect::<BTreeSet<_>>().into_iter().collect();
        let add = format!("INSERT INTO {schema}.name (text) SELECT unnest($1::text[]) ON CONFLICT DO NOTHING");
        tx.execute(&add, &[&texts]).await?;
        let ids = tx.query(&format!("SELECT text, id FROM {schema}.name WHERE text = ANY($1)"), &[&texts]).await?;
        ids.iter().map(|row| Ok((row.try_get(0)?, row.try_get(1)?))).collect()
    }

    /// How many were new.
    async fn insert_part(
        &self,
        tx: &Transaction<'_>,
        names: &HashMap<String, i32>,
        part: &[NewRecord],
    ) -> Result<u64, tokio_postgres::Error> {
        let schema = &self.schema;
        let id = |text: &str| names.get(text).copied().unwrap_or_default();
        let identities: Vec<_> = part.iter().map(|r| identity(&r.record_type, &r.bytes)).collect();
        let types: Vec<i32> = part.iter().map(|r| id(&r.record_type)).collect();
        let bytes: Vec<&[u8]> = part.iter().map(|r| r.bytes.as_slice()).collect();
        let record = format!(
            "INSERT INTO {schema}.record (type, bytes, identity)
             SELECT g.type, g.bytes, g.identity
             FROM unnest($1::int4[], $2::bytea[], $3::bytea[]) WITH ORDINALITY AS g(type, bytes, identity, at)
             ORDER BY g.at ON CONFLICT (identity) DO NOTHING"
        );
        let identity_bytes: Vec<&[u8]> = identities.iter().map(|i| i.as_bytes().as_slice()).collect();
        let new = tx.execute(&record, &[&types, &bytes, &identity_bytes]).await?;
        let (mut of, mut key_types, mut key_names, mut values) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        for (record, identity) in part.iter().zip(&identity_bytes) {
            for (name, value) in &record.keys {
                of.push(*identity);
                key_types.push(id(&record.record_type));
                key_names.push(id(name));
                values.push(probe(value));
            }
        }
        let keys = format!(
            "INSERT INTO {schema}.match_key (type, name, value, record)
             SELECT g.type, g.name, g.value, r.id
             FROM unnest($1::int4[], $2::int4[], $3::bytea[], $4::bytea[]) AS g(type, name, value, identity)
             JOIN {schema}.record r ON r.identity = g.identity ON CONFLICT DO NOTHING"
        );
        tx.execute(&keys, &[&key_types, &key_names, &values, &of]).await?;
        Ok(new)
    }
}

/// Records in parts that the server takes at once.
fn parts(records: &[NewRecord]) -> impl Iterator<Item = &[NewRecord]> {
    let mut rest = records;
    std::iter::from_fn(move || {
        let mut bytes = 0;
        let full = |record: &NewRecord| {
            bytes += record.bytes.len() + record.keys.iter().map(|(_, value)| 80 + value.len()).sum::<usize>();
            bytes > PART_BYTES
        };
        let end = rest.iter().take(PART_RECORDS).position(full).map_or(rest.len().min(PART_RECORDS), |at| at.max(1));
        let (part, more) = rest.split_at(end);
        rest = more;
        (!part.is_empty()).then_some(part)
    })
}
