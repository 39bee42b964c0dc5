//! An agency's own tables in PostgreSQL, read in place.

use std::collections::HashMap;
use std::sync::Arc;

use puente_model::limits::FIELD_BYTES_MAX;
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, Statement};

use super::check::{Finding, Findings, errors};
use super::{KeyBy, Mapped, MappedKey, Mapping, Reading};
use crate::records::Lookup;
use crate::records::health::Health;
use crate::records::links::{Ask, Failed};
use crate::records::server::describe;
use crate::records::settings::quoted;

/// The tables of a mapping.
pub(in crate::records) struct MappedTables {
    mapping: Mapping,
    health: Arc<Health>,
}

impl MappedTables {
    pub(in crate::records) fn new(mapping: Mapping, health: Arc<Health>) -> Self {
        Self { mapping, health }
    }
}

impl Mapped {
    fn pg_table(&self) -> String {
        match &self.schema {
            Some(schema) => format!("{}.{}", quoted(&schema.text), quoted(&self.table.text)),
            None => quoted(&self.table.text),
        }
    }

    /// The statement that looks a key up: a list of texts per column of the key, then the limit.
    fn pg_lookup(&self, key: &MappedKey) -> Option<(String, usize)> {
        let conditions: Vec<String> = match &key.by {
            KeyBy::Unserved => return None,
            KeyBy::Expression(sql) => vec![format!("({}\n) = ANY($1)", sql.text)],
            KeyBy::Columns(columns) => {
                let one = |(at, column): (usize, &super::KeyColumn)| {
                    format!("{} = ANY(${})", quoted(&column.column.text), at + 1)
                };
                columns.iter().enumerate().map(one).collect()
            }
        };
        let binds = conditions.len();
        // One character more than a field may have: what is too long is seen to be, and no row fills the memory.
        let column = |name: &super::Placed| format!("left({}::text, {})", quoted(&name.text), FIELD_BYTES_MAX + 1);
        let columns: Vec<String> = self.columns.iter().map(column).collect();
        let columns = if columns.is_empty() { "NULL::text".to_owned() } else { columns.join(", ") };
        let order = self.order.as_ref().map(|name| format!(" ORDER BY {}", quoted(&name.text))).unwrap_or_default();
        let sql = format!(
            "SELECT {columns} FROM {} WHERE {}{order} LIMIT ${}",
            self.pg_table(),
            conditions.join(" AND "),
            binds + 1
        );
        Some((sql, binds))
    }
}

fn types(binds: usize) -> Vec<Type> {
    let mut types = vec![Type::TEXT_ARRAY; binds];
    types.push(Type::INT8);
    types
}

impl Ask for MappedTables {
    /// By name of the key.
    type Ready = HashMap<String, Statement>;

    async fn prepare(&self, client: &mut Client) -> Result<Self::Ready, String> {
        client.batch_execute("SET default_transaction_read_only = on").await.map_err(|error| describe(&error))?;
        errors(&self.check(client).await?)?;
        let mut ready = HashMap::new();
        for mapped in self.mapping.types.values() {
            for (name, key) in &mapped.keys {
                if let Some((sql, binds)) = mapped.pg_lookup(key) {
                    let statement =
                        client.prepare_typed(&sql, &types(binds)).await.map_err(|error| describe(&error))?;
                    ready.insert(name.clone(), statement);
                }
            }
        }
        Ok(ready)
    }

    async fn ask(&self, client: &Client, ready: &Self::Ready, lookup: &Lookup) -> Result<Vec<Vec<u8>>, Failed> {
        let Some(mapped) = self.mapping.types.get(&lookup.record_type) else { return Ok(Vec::new()) };
        if mapped.is_unserved(lookup) {
            return Err(Failed::Content(unserved(lookup)));
        }
        let limit = i64::try_from(lookup.limit).unwrap_or(i64::MAX);
        let mut reading = Reading::new(mapped, lookup);
        for (name, value) in &lookup.keys {
            let (Some(key), Some(statement)) = (mapped.keys.get(name), ready.get(name)) else { continue };
            let Some(binds) = key.binds(value) else { continue };
            if reading.is_full() {
                break;
            }
            let mut given: Vec<&(dyn ToSql + Sync)> = binds.iter().map(|list| list as &(dyn ToSql + Sync)).collect();
            given.push(&limit);
            for row in client.query(statement, &given).await? {
                let cells: Result<Vec<Option<String>>, _> =
                    (0..mapped.columns.len()).map(|at| row.try_get(at)).collect();
                reading.take(&cells?);
            }
        }
        reading.end(&self.health).map_err(Failed::Content)
    }
}

impl Mapped {
    /// True if none of the keys that are asked for is served.
    pub(super) fn is_unserved(&self, lookup: &Lookup) -> bool {
        !lookup.keys.is_empty()
            && !lookup.keys.iter().any(|(name, _)| self.keys.get(name).is_some_and(MappedKey::is_served))
    }
}

/// Why nothing was looked up.
pub(super) fn unserved(lookup: &Lookup) -> String {
    format!("the mapping of {} serves none of the keys that were asked for", lookup.record_type)
}

impl MappedTables {
    /// Compares the mapping with the database.
    pub(in crate::records) async fn check(&self, client: &Client) -> Result<Vec<Finding>, String> {
        let mut findings = Findings::default();
        for mapped in self.mapping.types.values() {
            check_type(client, mapped, &mut findings).await.map_err(|error| describe(&error))?;
        }
        Ok(findings.0)
    }
}

async fn check_type(client: &Client, mapped: &Mapped, findings: &mut Findings) -> Result<(), tokio_postgres::Error> {
    let table = mapped.pg_table();
    let found = "SELECT c.oid, has_any_column_privilege(c.oid, 'SELECT'),
                     has_table_privilege(c.oid, 'INSERT, UPDATE, DELETE, TRUNCATE')
                 FROM pg_class c WHERE c.oid = to_regclass($1)";
    let Some(row) = client.query_opt(found, &[&table]).await? else {
        let known = "SELECT relname::text FROM pg_class WHERE relkind IN ('r', 'v', 'm', 'p', 'f') LIMIT 10000";
        let known = client.query(known, &[]).await?.iter().map(|row| row.try_get(0)).collect::<Result<Vec<_>, _>>()?;
        findings.missing(&mapped.table.at, "table or view", &mapped.table.text, &known);
        return Ok(());
    };
    let (oid, reads, writes): (u32, bool, bool) = (row.try_get(0)?, row.try_get(1)?, row.try_get(2)?);
    if !reads {
        let mend = format!("GRANT SELECT ON {table} TO the node's user");
        findings.error(&mapped.table.at, "rights", format!("the node's user may not read {table}"), mend);
        return Ok(());
    }
    if writes {
        let message = format!("the node's user may write to {table}");
        let mend = "give it SELECT only; the node never writes to it".to_owned();
        findings.warn(&mapped.table.at, "may-write", message, mend);
    }
    let known = "SELECT attname::text FROM pg_attribute WHERE attrelid = $1 AND attnum > 0 AND NOT attisdropped";
    let known =
        client.query(known, &[&oid]).await?.iter().map(|row| row.try_get(0)).collect::<Result<Vec<String>, _>>()?;
    let of_keys = mapped.keys.values().filter_map(|key| match &key.by {
        KeyBy::Columns(columns) => Some(columns.iter().map(|column| &column.column)),
        KeyBy::Expression(_) | KeyBy::Unserved => None,
    });
    let mut complete = true;
    for column in mapped.columns.iter().chain(&mapped.order).chain(of_keys.flatten()) {
        if !known.contains(&column.text) {
            findings.missing(&column.at, "column", &column.text, &known);
            complete = false;
        }
    }
    if complete {
        for (name, key) in &mapped.keys {
            check_key(client, mapped, name, key, findings).await?;
        }
    }
    Ok(())
}

async fn check_key(
    client: &Client,
    mapped: &Mapped,
    name: &str,
    key: &MappedKey,
    findings: &mut Findings,
) -> Result<(), tokio_postgres::Error> {
    let Some((sql, binds)) = mapped.pg_lookup(key) else { return Ok(()) };
    if let Err(error) = client.prepare_typed(&sql, &types(binds)).await {
        if error.as_db_error().is_none() {
            return Err(error);
        }
        let mend =
            "a key is compared as text: write expression = \"(column)::text\" for a column of another type, and \
                    check the names in the expression"
                .to_owned();
        findings.error(&key.at, "statement", format!("'{name}' cannot be looked up: {}", describe(&error)), mend);
        return Ok(());
    }
    // Without sequential scans the planner takes an index wherever one can serve.
    client.batch_execute("BEGIN READ ONLY; SET LOCAL enable_seqscan = off").await?;
    let (find, _) = sql.split_once(" LIMIT $").unwrap_or((&sql, ""));
    let find = find.split_once(" ORDER BY ").map_or(find, |(find, _)| find);
    let nothing = vec![String::new()];
    let given: Vec<&(dyn ToSql + Sync)> = (0..binds).map(|_| &nothing as &(dyn ToSql + Sync)).collect();
    let plan = client.prepare_typed(&format!("EXPLAIN {find}"), &vec![Type::TEXT_ARRAY; binds]).await;
    let plan = match plan {
        Ok(explain) => client.query(&explain, &given).await,
        Err(error) => Err(error),
    };
    client.batch_execute("ROLLBACK").await?;
    let lines = plan?.iter().map(|row| row.try_get(0)).collect::<Result<Vec<String>, _>>()?;
    let has = |what: &str| lines.iter().any(|line| line.contains(what));
    if has("Seq Scan") || !has("Index Cond") {
        findings.no_index(&key.at, name);
    }
    Ok(())
}
