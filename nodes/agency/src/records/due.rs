//! When records have to be erased: an index beside them, so that a daily job reads what is due and what is new.
//!
//! ```text
//! due       record, its type, the millisecond from which on it has to be erased
//! due_upto  of each type: the rule by which that was told, and the last place that was looked at
//! ```
//!
//! Both are derived: the job that erases fills them from the records themselves, and from the beginning when the catalogue's
//! rule is another one.

use puente_model::Millis;
use rusqlite::{OptionalExtension as _, params};
use tokio_postgres::Client;

use super::postgres::Tables;
use super::sqlite::{SqliteStore, intern};
use super::{RecordStore, RecordsError};
use crate::disk::DiskError;

pub(super) const SQLITE_SCHEMA: &str = "
    CREATE TABLE IF NOT EXISTS due (record INTEGER PRIMARY KEY, type INTEGER NOT NULL, at INTEGER NOT NULL);
    CREATE INDEX IF NOT EXISTS due_at ON due (type, at, record);
    CREATE TABLE IF NOT EXISTS due_upto (type INTEGER PRIMARY KEY, rule TEXT NOT NULL, place INTEGER NOT NULL);";

/// A record by its place in the store, and from when on it has to be erased; none if never.
pub type Looked = (i64, Option<Millis>);

fn instant(at: Millis) -> i64 {
    i64::try_from(at.0).unwrap_or(i64::MAX)
}

impl RecordStore {
    /// The place up to which the records of a type were looked at by this rule; 0 if none was.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn looked_upto(&mut self, record_type: &str, rule: &str) -> Result<i64, RecordsError> {
        match self {
            Self::Sqlite(store) => Ok(store.looked_upto(record_type, rule)?),
            Self::Postgres(store) => store.run(|client, tables| tables.looked_upto(client, record_type, rule)),
        }
    }

    /// Notes when records of a type are due by this rule, and that every record up to the last of them was looked at. What
    /// another rule said of the type is forgotten.
    ///
    /// # Errors
    /// The store refuses; nothing was noted.
    pub fn note_due(&mut self, record_type: &str, rule: &str, looked: &[Looked]) -> Result<(), RecordsError> {
        match self {
            Self::Sqlite(store) => Ok(store.note_due(record_type, rule, looked)?),
            Self::Postgres(store) => store.run(|client, tables| tables.note_due(client, record_type, rule, looked)),
        }
    }

    /// At most `limit` records of a type that are noted as due by now: place and canonical bytes, the longest due first.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn due(&mut self, record_type: &str, now: Millis, limit: usize) -> Result<Vec<(i64, Vec<u8>)>, RecordsError> {
        match self {
            Self::Sqlite(store) => Ok(store.due(record_type, now, limit)?),
            Self::Postgres(store) => store.run(|client, tables| tables.due(client, record_type, now, limit)),
        }
    }

    /// How many records of a type are noted as due by now.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn count_due(&mut self, record_type: &str, now: Millis) -> Result<u64, RecordsError> {
        match self {
            Self::Sqlite(store) => Ok(store.count_due(record_type, now)?),
            Self::Postgres(store) => store.run(|client, tables| tables.count_due(client, record_type, now)),
        }
    }
}

impl SqliteStore {
    fn looked_upto(&self, record_type: &str, rule: &str) -> Result<i64, DiskError> {
        let sql = "SELECT place FROM due_upto WHERE rule = ?2 AND type = (SELECT id FROM name WHERE text = ?1)";
        let found = self.connection.query_row(sql, [record_type, rule], |row| row.get(0)).optional();
        Ok(found.map_err(DiskError::db("reading", &self.path))?.unwrap_or(0))
    }

    fn note_due(&self, record_type: &str, rule: &str, looked: &[Looked]) -> Result<(), DiskError> {
        let note = || -> rusqlite::Result<()> {
            let tx = self.connection.unchecked_transaction()?;
            let kind = intern(&tx, record_type)?;
            let changed = "DELETE FROM due WHERE type = ?1
                           AND NOT EXISTS (SELECT 1 FROM due_upto WHERE type = ?1 AND rule = ?2)";
            tx.execute(changed, params![kind, rule])?;
            let mut put = tx.prepare_cached("INSERT OR REPLACE INTO due (record, type, at) VALUES (?1, ?2, ?3)")?;
            let mut clear = tx.prepare_cached("DELETE FROM due WHERE record = ?1")?;
            for (place, at) in looked {
                match at {
                    Some(at) => put.execute(params![place, kind, instant(*at)])?,
                    None => clear.execute([place])?,
                };
            }
            let last = looked.iter().map(|(place, _)| *place).max().unwrap_or(0);
            let upto = "INSERT INTO due_upto (type, rule, place) VALUES (?1, ?2, ?3) ON CONFLICT (type) DO UPDATE SET
                        place = CASE WHEN rule = ?2 THEN max(place, ?3) ELSE ?3 END, rule = ?2";
            tx.execute(upto, params![kind, rule, last])?;
            drop((put, clear));
            tx.commit()
        };
        note().map_err(DiskError::db("writing", &self.path))
    }

    fn due(&self, record_type: &str, now: Millis, limit: usize) -> Result<Vec<(i64, Vec<u8>)>, DiskError> {
        let read = || -> rusqlite::Result<Vec<(i64, Vec<u8>)>> {
            let mut due = self.connection.prepare_cached(
                "SELECT record.id, record.bytes FROM due JOIN record ON record.id = due.record AND record.type = due.type
                 WHERE due.type = (SELECT id FROM name WHERE text = ?1) AND due.at <= ?2
                 ORDER BY due.at, due.record LIMIT ?3",
            )?;
            let limit = i64::try_from(limit).unwrap_or(i64::MAX);
            due.query_map(params![record_type, instant(now), limit], |row| Ok((row.get(0)?, row.get(1)?)))?.collect()
        };
        read().map_err(DiskError::db("reading", &self.path))
    }

    fn count_due(&self, record_type: &str, now: Millis) -> Result<u64, DiskError> {
        let sql = "SELECT count(*) FROM due JOIN record ON record.id = due.record AND record.type = due.type
                   WHERE due.type = (SELECT id FROM name WHERE text = ?1) AND due.at <= ?2";
        let count = self.connection.query_row(sql, params![record_type, instant(now)], |row| row.get::<_, i64>(0));
        Ok(count.map_err(DiskError::db("reading", &self.path))?.unsigned_abs())
    }

    /// Forgets when the doomed were due. A place may be given again once the last record is gone: what then stands there
    /// was not looked at.
    pub(super) fn forget_due(&self) -> rusqlite::Result<()> {
        self.connection.execute_batch(
            "DELETE FROM due WHERE record IN (SELECT id FROM doomed);
             UPDATE due_upto SET place = min(place, (SELECT coalesce(max(id), 0) FROM record));",
        )
    }
}

type Asked<T> = Result<T, tokio_postgres::Error>;

impl Tables {
    /// Makes the index, if there is none.
    pub(super) async fn ensure_due(&self, client: &Client) -> Asked<()> {
        let schema = &self.schema;
        let stands = client.query_one("SELECT to_regclass($1) IS NOT NULL", &[&format!("{schema}.due_upto")]).await?;
        if stands.try_get(0)? {
            return Ok(());
        }
        let make = format!(
            "BEGIN; SELECT pg_advisory_xact_lock(7085774586291057);
             CREATE TABLE IF NOT EXISTS {schema}.due (record int8 PRIMARY KEY, type int4 NOT NULL, at int8 NOT NULL);
             CREATE INDEX IF NOT EXISTS due_at ON {schema}.due (type, at, record);
             CREATE TABLE IF NOT EXISTS {schema}.due_upto (type int4 PRIMARY KEY, rule text NOT NULL, place int8 NOT NULL);
             COMMIT"
        );
        client.batch_execute(&make).await
    }

    async fn looked_upto(&self, client: &Client, record_type: &str, rule: &str) -> Asked<i64> {
        let schema = &self.schema;
        let sql = format!(
            "SELECT place FROM {schema}.due_upto
             WHERE rule = $2 AND type = (SELECT id FROM {schema}.name WHERE text = $1)"
        );
        client.query_opt(&sql, &[&record_type, &rule]).await?.map_or(Ok(0), |row| row.try_get(0))
    }

    async fn note_due(&self, client: &mut Client, record_type: &str, rule: &str, looked: &[Looked]) -> Asked<()> {
        let schema = &self.schema;
        let tx = client.transaction().await?;
        let add = format!("INSERT INTO {schema}.name (text) VALUES ($1) ON CONFLICT DO NOTHING");
        tx.execute(&add, &[&record_type]).await?;
        let kind = tx.query_one(&format!("SELECT id FROM {schema}.name WHERE text = $1"), &[&record_type]).await?;
        let kind: i32 = kind.try_get(0)?;
        let changed = format!(
            "DELETE FROM {schema}.due WHERE type = $1
             AND NOT EXISTS (SELECT FROM {schema}.due_upto WHERE type = $1 AND rule = $2)"
        );
        tx.execute(&changed, &[&kind, &rule]).await?;
        let places: Vec<i64> = looked.iter().map(|(place, _)| *place).collect();
        let at: Vec<Option<i64>> = looked.iter().map(|(_, at)| at.map(instant)).collect();
        tx.execute(&format!("DELETE FROM {schema}.due WHERE record = ANY($1)"), &[&places]).await?;
        let put = format!(
            "INSERT INTO {schema}.due (record, type, at) SELECT g.record, $1, g.at
             FROM unnest($2::int8[], $3::int8[]) AS g(record, at) WHERE g.at IS NOT NULL"
        );
        tx.execute(&put, &[&kind, &places, &at]).await?;
        let last = places.iter().copied().max().unwrap_or(0);
        let upto = format!(
            "INSERT INTO {schema}.due_upto AS u (type, rule, place) VALUES ($1, $2, $3) ON CONFLICT (type) DO UPDATE SET
             place = CASE WHEN u.rule = $2 THEN greatest(u.place, $3) ELSE $3 END, rule = $2"
        );
        tx.execute(&upto, &[&kind, &rule, &last]).await?;
        tx.commit().await
    }

    async fn due(&self, client: &Client, record_type: &str, now: Millis, limit: usize) -> Asked<Vec<(i64, Vec<u8>)>> {
        let schema = &self.schema;
        let sql = format!(
            "SELECT r.id, r.bytes FROM {schema}.due d JOIN {schema}.record r ON r.id = d.record AND r.type = d.type
             WHERE d.type = (SELECT id FROM {schema}.name WHERE text = $1) AND d.at <= $2
             ORDER BY d.at, d.record LIMIT $3"
        );
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let rows = client.query(&sql, &[&record_type, &instant(now), &limit]).await?;
        rows.iter().map(|row| Ok((row.try_get(0)?, row.try_get(1)?))).collect()
    }

    async fn count_due(&self, client: &Client, record_type: &str, now: Millis) -> Asked<u64> {
        let schema = &self.schema;
        let sql = format!(
            "SELECT count(*) FROM {schema}.due d JOIN {schema}.record r ON r.id = d.record AND r.type = d.type
             WHERE d.type = (SELECT id FROM {schema}.name WHERE text = $1) AND d.at <= $2"
        );
        Ok(client.query_one(&sql, &[&record_type, &instant(now)]).await?.try_get::<_, i64>(0)?.unsigned_abs())
    }
}
