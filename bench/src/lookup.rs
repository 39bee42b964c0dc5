//! `lookup`: key lookups per second through the record store's door, beside the same prepared statement without Puente.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use puente_agency::config::NodeDir;
use puente_agency::records::{Lookup, NewRecord, RecordReader, RecordSettings, RecordStore, StoreAt};
use puente_model::Digest;
use rusqlite::{Connection, OpenFlags, params};
use serde_json::{Value, json};
use tokio::sync::Semaphore;
use tokio_postgres::NoTls;

use crate::goal::at_least;
use crate::stats::{Sample, medians, round};
use crate::{Failure, machine};

/// Records inserted in one transaction.
const CHUNK: u64 = 5_000;
/// Bytes of one record: what a vehicle has, more or less.
const RECORD_BYTES: usize = 160;
const TYPE: &str = "Vehicle";
const KEY: &str = "vehicle.vin";

/// What to measure.
#[derive(Debug, Clone)]
pub struct Plan {
    /// How many records, one measurement each.
    pub records: Vec<u64>,
    /// Interleaved passes.
    pub passes: usize,
    /// How long one cell lasts in one pass.
    pub cell: Duration,
    /// Lookups under way at a server.
    pub in_flight: usize,
    /// A server: `postgres://user@host/database`, on this machine, without TLS. Its schema `puente_bench` is dropped.
    pub postgres: Option<String>,
    /// Leave SQLite out.
    pub no_sqlite: bool,
    /// Folder for everything that is written.
    pub folder: PathBuf,
}

/// A vehicle identification that nothing follows from the number of.
fn vin(number: u64) -> String {
    Digest::of(&number.to_be_bytes()).to_string()[..17].to_uppercase()
}

fn record(number: u64) -> NewRecord {
    let mut bytes = format!("record {number:020}").into_bytes();
    bytes.resize(RECORD_BYTES, b' ');
    let keys = vec![(KEY.into(), vin(number)), ("vehicle.plate_only".into(), format!("P{}", number / 3))];
    NewRecord { record_type: TYPE.into(), bytes, keys }
}

/// Numbers in no order that a cache could know.
#[derive(Clone, Copy)]
struct Shuffled(u64);

impl Shuffled {
    fn next(&mut self, below: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 24) % below
    }
}

fn fill(store: &mut RecordStore, from: u64, to: u64) -> Result<f64, Failure> {
    let began = Instant::now();
    let mut at = from;
    while at < to {
        let end = (at + CHUNK).min(to);
        let records: Vec<_> = (at..end).map(record).collect();
        if store.insert(&records)?.new != end - at {
            return Err("the store holds records already".into());
        }
        at = end;
    }
    Ok((to - from) as f64 / began.elapsed().as_secs_f64())
}

fn lookup(number: u64) -> Lookup {
    Lookup { record_type: TYPE.to_owned(), keys: vec![(KEY.to_owned(), vin(number))], limit: 100 }
}

/// Who has its turn, Puente or not, and the numbers that it looks up. Each comes first and second as often: whoever comes
/// later finds more in caches, and with an odd number of turns the medians would be those of different places.
fn turns(passes: usize) -> impl Iterator<Item = (bool, Shuffled)> {
    [true, false, false, true].into_iter().cycle().zip((7..).map(Shuffled)).take(4 * passes)
}

/// One after another, for `cell`.
fn in_line(
    cell: Duration,
    records: u64,
    mut shuffled: Shuffled,
    mut one: impl FnMut(u64) -> Result<usize, Failure>,
) -> Result<Sample, Failure> {
    let (mut latencies, began) = (Vec::new(), Instant::now());
    while began.elapsed() < cell {
        let number = shuffled.next(records);
        let start = Instant::now();
        if one(number)? != 1 {
            return Err("a record is not found".into());
        }
        latencies.push(start.elapsed());
    }
    Ok(Sample::new(latencies, began.elapsed()))
}

fn report(store: &str, records: u64, fill: f64, with: &[Sample], without: &[Sample]) -> (Value, Value) {
    let (with, without) = (medians(with), medians(without));
    let ratio = with.per_second / without.per_second;
    let cell = |s: &Sample| json!({"per_second": round(s.per_second), "p50_us": round(s.p50), "p99_us": round(s.p99)});
    let what = format!("{store}, {records} records: lookups through Puente ÷ the same prepared statement");
    let value = json!({
        "store": store, "records": records, "filled_per_second": round(fill),
        "puente": cell(&with), "statement_alone": cell(&without), "ratio": round(ratio),
    });
    (value, at_least(&what, 0.8, ratio))
}

fn sqlite(plan: &Plan) -> Result<Vec<(Value, Value)>, Failure> {
    let dir = NodeDir::new(plan.folder.join("sqlite"));
    std::fs::create_dir_all(dir.path())?;
    let settings = RecordSettings::default();
    let mut store = RecordStore::open_with(&dir, &settings)?;
    let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    let catalogue = puente_agency::load::catalogue(None)?;
    let (mut out, mut have) = (Vec::new(), 0);
    for records in &plan.records {
        let filled = fill(&mut store, have, *records)?;
        have = *records;
        let reader = runtime.block_on(RecordReader::open(&dir, &settings, &catalogue))?;
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let alone = Connection::open_with_flags(dir.records(), flags)?;
        alone.pragma_update(None, "mmap_size", 1_i64 << 40)?;
        // As the node does: a statement is not planned anew for each value.
        alone.set_db_config(rusqlite::config::DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
        let id =
            |text: &str| alone.query_row("SELECT id FROM name WHERE text = ?1", [text], |row| row.get::<_, i64>(0));
        let (type_id, name_id) = (id(TYPE)?, id(KEY)?);
        let sql = "SELECT record.id, record.bytes FROM key JOIN record ON record.id = key.record
                   WHERE key.type = ?1 AND key.name = ?2 AND key.value = ?3 ORDER BY key.record LIMIT ?4";
        let mut statement = alone.prepare(sql)?;
        let (mut with, mut without) = (Vec::new(), Vec::new());
        for (through, numbers) in turns(plan.passes) {
            if through {
                with.push(in_line(plan.cell, *records, numbers, |number| {
                    let found = reader.lookup(lookup(number), |_| ()).ok_or("SQLite is read in line")?;
                    Ok(found?.len())
                })?);
            } else {
                without.push(in_line(plan.cell, *records, numbers, |number| {
                    let rows = statement.query_map(params![type_id, name_id, vin(number).as_bytes(), 100], |row| {
                        row.get::<_, Vec<u8>>(1)
                    })?;
                    Ok(rows.collect::<Result<Vec<_>, _>>()?.len())
                })?);
            }
        }
        out.push(report("SQLite", *records, filled, &with, &without));
    }
    Ok(out)
}

/// As many under way as the plan says, for `cell`; `one` calls back once.
async fn pipelined<F: FnOnce(Option<usize>) + Send + 'static>(
    plan: &Plan,
    records: u64,
    mut shuffled: Shuffled,
    back: impl Fn(Arc<Lane>, Instant) -> F,
    one: impl Fn(u64, F),
) -> Result<Sample, Failure> {
    let lane = Arc::new(Lane { room: Arc::new(Semaphore::new(plan.in_flight)), ..Lane::default() });
    let began = Instant::now();
    while began.elapsed() < plan.cell {
        Arc::clone(&lane.room).acquire_owned().await?.forget();
        one(shuffled.next(records), back(Arc::clone(&lane), Instant::now()));
    }
    let elapsed = began.elapsed();
    lane.room.acquire_many(u32::try_from(plan.in_flight)?).await?.forget();
    if lane.missed.load(Ordering::Relaxed) > 0 {
        return Err("a record is not found".into());
    }
    let latencies = std::mem::take(&mut *lane.latencies.lock().unwrap_or_else(std::sync::PoisonError::into_inner));
    Ok(Sample::new(latencies, elapsed))
}

struct Lane {
    room: Arc<Semaphore>,
    missed: AtomicU64,
    latencies: std::sync::Mutex<Vec<Duration>>,
}

impl Default for Lane {
    fn default() -> Self {
        Self { room: Arc::new(Semaphore::new(0)), missed: AtomicU64::new(0), latencies: std::sync::Mutex::default() }
    }
}

/// Notes one lookup's end.
fn noted(lane: Arc<Lane>, start: Instant) -> impl FnOnce(Option<usize>) + Send + 'static {
    move |found| {
        lane.latencies.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push(start.elapsed());
        lane.missed.fetch_add(u64::from(found != Some(1)), Ordering::Relaxed);
        lane.room.add_permits(1);
    }
}

fn postgres(plan: &Plan, url: &str) -> Result<Vec<(Value, Value)>, Failure> {
    let dir = NodeDir::new(&plan.folder);
    let settings = RecordSettings {
        store: StoreAt::try_from(url.to_owned())?,
        schema: "puente_bench".to_owned(),
        in_flight: u16::try_from(plan.in_flight)?,
        ..RecordSettings::default()
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let catalogue = puente_agency::load::catalogue(None)?;
    let connect = || async {
        let (client, connection) = tokio_postgres::connect(url, NoTls).await?;
        tokio::spawn(connection);
        Ok::<_, Failure>(client)
    };
    let owner = runtime.block_on(connect())?;
    runtime.block_on(owner.batch_execute("DROP SCHEMA IF EXISTS puente_bench CASCADE"))?;
    let mut store = RecordStore::open_with(&dir, &settings)?;
    let (mut out, mut have) = (Vec::new(), 0);
    for records in &plan.records {
        let filled = fill(&mut store, have, *records)?;
        have = *records;
        let samples = runtime.block_on(async {
            owner.batch_execute("VACUUM ANALYZE puente_bench.record, puente_bench.match_key").await?;
            let reader = RecordReader::open(&dir, &settings, &catalogue).await?;
            let health = reader.health();
            while health.status().down.is_some() {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            let mut alone = Vec::new();
            for _ in 0..settings.connections {
                let client = connect().await?;
                client.batch_execute("SET plan_cache_mode = force_generic_plan").await?;
                let sql = "SELECT r.bytes FROM puente_bench.match_key k JOIN puente_bench.record r ON r.id = k.record
                           WHERE k.type = $1 AND k.name = $2 AND k.value = $3 ORDER BY k.record LIMIT $4";
                let statement = client.prepare(sql).await?;
                alone.push(Arc::new((client, statement)));
            }
            let id = async |text: &str| -> Result<i32, Failure> {
                Ok(owner.query_one("SELECT id FROM puente_bench.name WHERE text = $1", &[&text]).await?.try_get(0)?)
            };
            let (type_id, name_id) = (id(TYPE).await?, id(KEY).await?);
            let (mut with, mut without) = (Vec::new(), Vec::new());
            let turn = AtomicU64::new(0);
            for (ours, numbers) in turns(plan.passes) {
                let through = |number, back: Box<dyn FnOnce(Option<usize>) + Send>| {
                    drop(reader.lookup(lookup(number), move |found| back(found.ok().map(|records| records.len()))));
                };
                let boxed = |lane, start| -> Box<dyn FnOnce(Option<usize>) + Send> { Box::new(noted(lane, start)) };
                let direct = |number, back: Box<dyn FnOnce(Option<usize>) + Send>| {
                    let next = turn.fetch_add(1, Ordering::Relaxed) as usize % alone.len();
                    let Some(on) = alone.get(next).cloned() else { return };
                    tokio::spawn(async move {
                        let value = vin(number).into_bytes();
                        let found = on.0.query(&on.1, &[&type_id, &name_id, &value, &100_i64]).await;
                        let bytes = found.map(|rows| {
                            rows.iter().filter_map(|row| row.try_get::<_, Vec<u8>>(0).ok()).collect::<Vec<_>>()
                        });
                        back(bytes.ok().map(|records| records.len()));
                    });
                };
                if ours {
                    with.push(pipelined(plan, *records, numbers, boxed, through).await?);
                } else {
                    without.push(pipelined(plan, *records, numbers, boxed, direct).await?);
                }
            }
            Ok::<_, Failure>((with, without))
        })?;
        out.push(report("PostgreSQL", *records, filled, &samples.0, &samples.1));
    }
    drop(store);
    runtime.block_on(owner.batch_execute("DROP SCHEMA puente_bench CASCADE"))?;
    Ok(out)
}

/// Measures every store that there is.
///
/// # Errors
/// A store cannot be filled or read, or a record is not found.
pub fn measure(plan: &Plan) -> Result<Value, Failure> {
    let machine = machine::describe();
    let mut cells = Vec::new();
    if !plan.no_sqlite {
        cells.extend(sqlite(plan)?);
    }
    if let Some(url) = &plan.postgres {
        cells.extend(postgres(plan, url)?);
    }
    let (cells, goals): (Vec<_>, Vec<_>) = cells.into_iter().unzip();
    Ok(json!({"machine": machine, "in_flight_at_the_server": plan.in_flight, "cells": cells, "goals": goals}))
}
