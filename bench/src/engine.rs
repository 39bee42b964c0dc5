//! `engine`: what two nodes' own work costs, without disk, sockets or threads.
//!
//! Both engines run on this thread and every write is durable at once. What a
//! node takes beyond this is transport, disk and hand-overs. The frames that
//! pass give the sizes that the peers of `exchange` echo.

use std::collections::{BTreeMap, VecDeque};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use puente_agency::config::NodeDir;
use puente_agency::load::Bearings;
use puente_agency::records::SqliteReader;
use puente_audit_log::{
    BundleId, ClaimedCheckpoint, Ed25519Signer, KeyKind, Log, LogPath, MemoryFiles, ReadError, Signer as _, TileId,
    TileReader, VerifierKey,
};
use puente_exchange::api::{Conclusion, ConnectionId, Draft, Effect, Input, Store, StreamId, Ticket};
use puente_exchange::{Engine, Setup, Tuning};
use puente_model::{Digest, Handling, Outcome, Step, Urgency};
use puente_wire::Officer;
use serde_json::{Value, json};

use crate::load::Kind;
use crate::peers::Sizes;
use crate::stats::round;
use crate::world::{ASKER, HOLDER, RECORDS, now, vin};
use crate::{Failure, machine};

const CONNECTION: ConnectionId = ConnectionId(1);

#[derive(Clone, Default)]
struct Memory(Arc<Mutex<BTreeMap<Vec<u8>, Vec<u8>>>>);

impl Store for Memory {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, String> {
        Ok(self.0.lock().unwrap_or_else(PoisonError::into_inner).get(key).cloned())
    }

    fn scan(&self, prefix: &[u8], start: &[u8], limit: usize) -> Result<Vec<(Vec<u8>, Vec<u8>)>, String> {
        let from = start.max(prefix).to_vec();
        let pairs = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let found = pairs.range(from..).take_while(|(key, _)| key.starts_with(prefix)).take(limit);
        Ok(found.map(|(key, value)| (key.clone(), value.clone())).collect())
    }

    fn kept_receipts(&self, _: &str, _: u64, _: usize) -> Result<Vec<(Digest, Vec<u8>)>, String> {
        // No log here follows another.
        Ok(Vec::new())
    }
}

#[derive(Clone, Default)]
struct Tiles(Arc<Mutex<MemoryFiles>>);

impl Tiles {
    fn read(&self, path: LogPath) -> Result<Vec<u8>, ReadError> {
        let files = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        files.get(path).map(<[u8]>::to_vec).ok_or(ReadError::NotFound)
    }
}

impl TileReader for Tiles {
    fn tile(&self, id: TileId) -> Result<Vec<u8>, ReadError> {
        self.read(LogPath::Tile(id))
    }

    fn bundle(&self, id: BundleId) -> Result<Vec<u8>, ReadError> {
        self.read(LogPath::Bundle(id))
    }
}

/// One node's engine with everything around it in memory.
struct Side {
    engine: Engine,
    store: Memory,
    tiles: Tiles,
    /// Computes the tiles from what was written, as the disk does; its time is not counted.
    mirror: Log,
    verifier: VerifierKey,
    records: Option<SqliteReader>,
    inbox: VecDeque<Input>,
    out: Vec<(StreamId, Vec<u8>)>,
    concluded: Vec<(Ticket, Conclusion)>,
    costs: BTreeMap<&'static str, (Duration, u64)>,
    batches: u64,
    entries: u64,
    written: u64,
    puts: u64,
    /// The sidecar, where it is wanted.
    asides: Option<Vec<u8>>,
}

/// The name of a frame, from its first field.
fn frame_name(bytes: &[u8]) -> &'static str {
    match bytes.first().map(|b| b >> 3) {
        Some(1) => "in: ready",
        Some(2) => "in: head",
        Some(3) => "in: ask",
        Some(4) => "in: reply",
        Some(5) => "in: acknowledge",
        Some(6) => "in: release",
        Some(13) => "in: fault",
        _ => "in: other frame",
    }
}

impl Side {
    fn new(dir: &Path, with_records: bool) -> Result<Self, Failure> {
        let dir = NodeDir::new(dir);
        let bearings = Bearings::load(&dir)?;
        let policy = bearings.policies(&dir)?;
        let origin = bearings.config.origin()?;
        let seed = puente_agency::files::read_secret(&dir.log_key())?;
        let signer = Ed25519Signer::new(origin.as_str(), KeyKind::Ed25519, &seed)?;
        let verifier = signer.verifier().clone();
        let (store, tiles) = (Memory::default(), Tiles::default());
        let engine = Engine::new(
            Setup {
                node: bearings.config.node.clone(),
                log: bearings.config.log,
                charter: bearings.charter,
                catalogue: bearings.catalogue,
                policy: Arc::new(policy),
                signer: Box::new(signer),
                tree: Log::empty(origin.as_str())?,
                tiles: Box::new(tiles.clone()),
                store: Box::new(store.clone()),
                seed: Digest::of(origin.as_str().as_bytes()).0,
                tuning: Tuning { queries_per_officer_per_minute: u32::MAX, ..Tuning::default() },
                restored: false,
            },
            now(),
        )?;
        let records = if with_records { Some(SqliteReader::open(&dir.records())?) } else { None };
        Ok(Self {
            engine,
            store,
            tiles,
            mirror: Log::empty(origin.as_str())?,
            verifier,
            records,
            inbox: VecDeque::new(),
            out: Vec::new(),
            concluded: Vec::new(),
            costs: BTreeMap::new(),
            batches: 0,
            entries: 0,
            written: 0,
            puts: 0,
            asides: None,
        })
    }

    fn handle(&mut self, name: &'static str, input: Input) {
        let start = Instant::now();
        self.engine.handle(now(), input);
        let cost = self.costs.entry(name).or_default();
        *cost = (cost.0 + start.elapsed(), cost.1 + 1);
    }

    /// Takes everything in, then carries every effect out.
    fn turn(&mut self) -> bool {
        let mut busy = false;
        while let Some(input) = self.inbox.pop_front() {
            busy = true;
            let name = match &input {
                Input::Frame { bytes, .. } => frame_name(bytes),
                Input::Question { .. } => "question",
                _ => "other",
            };
            self.handle(name, input);
        }
        loop {
            let start = Instant::now();
            let Some(effect) = self.engine.poll_effect(now()) else { break };
            let elapsed = start.elapsed();
            busy = true;
            match effect {
                Effect::Send { stream, bytes, .. } => self.out.push((stream, bytes)),
                Effect::Write(batch) => {
                    let cost = self.costs.entry("cut, stage, sign").or_default();
                    *cost = (cost.0 + elapsed, cost.1 + 1);
                    self.batches += 1;
                    self.entries += batch.entries.len() as u64;
                    self.puts += batch.puts.len() as u64;
                    let of = |list: &[Vec<u8>]| list.iter().map(Vec::len).sum::<usize>();
                    let puts: usize =
                        batch.puts.iter().map(|(key, value)| key.len() + value.as_ref().map_or(0, Vec::len)).sum();
                    self.written += (of(&batch.entries) + of(&batch.asides) + puts) as u64;
                    if let Some(asides) = &mut self.asides {
                        for aside in &batch.asides {
                            asides.extend_from_slice(&u32::try_from(aside.len()).unwrap_or(0).to_be_bytes());
                            asides.extend_from_slice(aside);
                        }
                    }
                    if !batch.checkpoint.is_empty() {
                        self.mirror(&batch.entries, &batch.checkpoint);
                    }
                    {
                        let mut store = self.store.0.lock().unwrap_or_else(PoisonError::into_inner);
                        for (key, value) in batch.puts {
                            match value {
                                Some(value) => drop(store.insert(key, value)),
                                None => drop(store.remove(&key)),
                            }
                        }
                    }
                    self.handle("durable", Input::Durable { batch: batch.number });
                }
                Effect::Lookup { lookup, record_type, keys, limit, .. } => {
                    let start = Instant::now();
                    let records = match &self.records {
                        Some(records) => records.lookup(&record_type, &keys, limit),
                        None => Ok(Vec::new()),
                    };
                    let cost = self.costs.entry("SQLite lookup").or_default();
                    *cost = (cost.0 + start.elapsed(), cost.1 + 1);
                    self.handle("found", Input::Found { lookup, records });
                }
                Effect::Conclude { ticket, conclusion } => self.concluded.push((ticket, *conclusion)),
                Effect::Reset { .. }
                | Effect::Connect { .. }
                | Effect::Close { .. }
                | Effect::Matched { .. }
                | Effect::Submit { .. }
                | Effect::Cosigned { .. }
                | Effect::Seek { .. }
                | Effect::Adopt { .. }
                | Effect::InForce(_)
                | Effect::Alarm(_) => {}
            }
        }
        busy
    }

    fn report(&self, exchanges: u64) -> Value {
        let each = |of: Duration| round(of.as_secs_f64() * 1e6 / exchanges as f64);
        let total: Duration = self.costs.values().map(|(time, _)| *time).sum();
        let parts: serde_json::Map<String, Value> = self
            .costs
            .iter()
            .map(|(name, (time, times))| {
                let part = json!({"us_per_exchange": each(*time), "times_per_exchange": round(*times as f64 / exchanges as f64)});
                ((*name).to_owned(), part)
            })
            .collect();
        json!({
            "us_per_exchange": each(total), "parts": parts,
            "entries_per_batch": round(self.entries as f64 / self.batches.max(1) as f64),
            "store_changes_per_exchange": round(self.puts as f64 / exchanges as f64),
            "bytes_written_per_exchange": round(self.written as f64 / exchanges as f64),
        })
    }

    /// Takes a batch into the second log. A head that the entries do not give is not taken in: `export` then fails.
    fn mirror(&mut self, entries: &[Vec<u8>], checkpoint: &[u8]) {
        let head = ClaimedCheckpoint::parse(checkpoint).and_then(|head| head.verify(&self.verifier));
        let Ok(head) = head else { return };
        let Ok(staged) = self.mirror.stage(entries) else { return };
        let Ok(persisted) = staged.recover(head) else { return };
        if let Ok(committed) = self.mirror.commit(persisted) {
            self.tiles.0.lock().unwrap_or_else(PoisonError::into_inner).put(committed.files);
        }
    }

    /// Writes the log as an auditor gets it.
    fn export(&mut self, into: &Path) -> Result<u64, Failure> {
        self.turn();
        if self.mirror.size().0 != self.engine.size() {
            return Err("the second log does not agree with the engine's heads".into());
        }
        let mut files = self.tiles.0.lock().unwrap_or_else(PoisonError::into_inner);
        files.put(self.mirror.publish().unwrap_or_default());
        for name in files.paths() {
            let path = into.join(name.to_string());
            if let Some(parent) = path.parent() {
                std::fs::create_dir_all(parent)?;
            }
            std::fs::write(path, files.get(name).unwrap_or_default())?;
        }
        std::fs::write(into.join("asides"), self.asides.as_deref().unwrap_or_default())?;
        Ok(self.engine.size())
    }

    fn forget(&mut self) {
        self.costs.clear();
        (self.batches, self.entries, self.written, self.puts) = (0, 0, 0, 0);
    }
}

/// Both engines.
struct Pair {
    asker: Side,
    holder: Side,
    requests: u64,
    responses: u64,
    next: u64,
    confirmed: Vec<Digest>,
}

/// An even stream is its opener's; the other side numbers it one higher.
fn other_end(stream: StreamId) -> StreamId {
    match stream.0 {
        0 => stream,
        even if even % 2 == 0 => StreamId(even + 1),
        odd => StreamId(odd - 1),
    }
}

impl Pair {
    fn new(folder: &Path) -> Result<Self, Failure> {
        let mut asker = Side::new(&folder.join("mx-fge-bc"), false)?;
        let mut holder = Side::new(&folder.join("us-tx-dps"), true)?;
        asker.inbox.push_back(Input::Connected { connection: CONNECTION, peer: HOLDER.parse()?, dialled: true });
        holder.inbox.push_back(Input::Connected { connection: CONNECTION, peer: ASKER.parse()?, dialled: false });
        let mut pair = Self { asker, holder, requests: 0, responses: 0, next: 0, confirmed: Vec::new() };
        pair.settle();
        Ok(pair)
    }

    fn settle(&mut self) {
        loop {
            let busy = self.asker.turn();
            for (stream, bytes) in self.asker.out.drain(..) {
                self.requests += bytes.len() as u64;
                let input =
                    Input::Frame { connection: CONNECTION, stream: other_end(stream), bytes: bytes[4..].to_vec() };
                self.holder.inbox.push_back(input);
            }
            let busy = self.holder.turn() || busy;
            for (stream, bytes) in self.holder.out.drain(..) {
                self.responses += bytes.len() as u64;
                let input =
                    Input::Frame { connection: CONNECTION, stream: other_end(stream), bytes: bytes[4..].to_vec() };
                self.asker.inbox.push_back(input);
            }
            if !busy && self.asker.inbox.is_empty() && self.holder.inbox.is_empty() {
                return;
            }
        }
    }

    fn ask(&mut self, kind: Kind) -> Result<(), Failure> {
        let number = self.next;
        self.next += 1;
        let released = kind == Kind::Released;
        let of = match kind {
            Kind::NoHit => RECORDS + number,
            Kind::Released => number % self.confirmed.len().max(1) as u64,
            _ => number % RECORDS,
        };
        let pair = |name: &str, value: String| (name.to_owned(), value);
        let (question, purpose, basis, role, params) = if kind == Kind::Refusal {
            let params = vec![pair("serial", format!("PB{number:07}")), pair("make", "Glock".to_owned())];
            ("firearm.status", "crime-prevention", "bicentennial-framework-2021", "analyst", params)
        } else {
            let params = vec![pair("vin", vin(of))];
            ("vehicle.status", "vehicle-recovery", "mx-us-stolen-vehicles-1981", "investigator", params)
        };
        let at = now();
        let words = |text: &str| if released { text.to_owned() } else { String::new() };
        let draft = Draft {
            half: None,
            to: HOLDER.parse()?,
            kind: question.parse()?,
            step: if released { Step::CoreData } else { Step::HitNoHit },
            purpose: purpose.parse()?,
            basis: basis.parse()?,
            handling: Handling::H2,
            officer: Officer {
                id: "o-1".parse()?,
                name: "Officer 1".to_owned(),
                role: role.parse()?,
                expires: at.plus(86_400_000),
            },
            case_ref: format!("BENCH/2026/{number}"),
            params,
            due_at: at.plus(60_000),
            urgency: Urgency::Routine,
            justification: String::new(),
            facts_statement: words("The vehicle was found abandoned and its number read by an officer."),
            offence: words("vehicle theft"),
            confirms: if released { self.confirmed.get(usize::try_from(of)?).copied() } else { None },
            mode: puente_model::Mode::Open,
            stays: false,
        };
        self.asker.inbox.push_back(Input::Question { ticket: Ticket(number), draft: Box::new(draft) });
        Ok(())
    }

    /// Asks in rounds of `in_flight` questions.
    fn run(&mut self, kind: Kind, in_flight: usize, exchanges: u64) -> Result<(Value, Sizes), Failure> {
        self.asker.forget();
        self.holder.forget();
        (self.requests, self.responses) = (0, 0);
        let mut done = 0;
        while done < exchanges {
            for _ in 0..in_flight {
                self.ask(kind)?;
            }
            self.settle();
            for (_, conclusion) in self.asker.concluded.drain(..) {
                done += 1;
                match (kind, &conclusion) {
                    (Kind::Hit, Conclusion::Answered(a)) if a.outcome == Outcome::HitUnconfirmed => {
                        self.confirmed.push(a.answer_leaf);
                    }
                    (Kind::NoHit, Conclusion::Answered(a)) if a.outcome == Outcome::NoHit => {}
                    (Kind::Released, Conclusion::Answered(a)) if a.outcome == Outcome::CoreData => {}
                    (Kind::Refusal, Conclusion::Refused { .. }) => {}
                    _ => return Err(format!("not a {}: {conclusion:?}", kind.name()).into()),
                }
            }
        }
        let sizes = Sizes {
            request: usize::try_from(self.requests / done)?,
            response: usize::try_from(self.responses / done)?,
        };
        let value = json!({
            "exchanges": done,
            "request_bytes": sizes.request, "response_bytes": sizes.response,
            "asker": self.asker.report(done), "holder": self.holder.report(done),
        });
        Ok((value, sizes))
    }
}

/// Runs every kind of exchange with 1 and 64 in flight, on the folders of [`crate::world::World`].
///
/// # Errors
/// An exchange ends otherwise than it should.
pub fn measure(folder: &Path, exchanges: u64) -> Result<Value, Failure> {
    let machine = machine::describe();
    let mut pair = Pair::new(folder)?;
    pair.run(Kind::Hit, 1, 100)?;
    let mut results = serde_json::Map::new();
    for kind in [Kind::NoHit, Kind::Released, Kind::Refusal] {
        for in_flight in [1, 64] {
            let (value, _) = pair.run(kind, in_flight, exchanges)?;
            results.insert(format!("{}_{in_flight}", kind.name()), value);
        }
    }
    Ok(json!({"bench": "engine", "machine": machine, "results": results}))
}

/// Bytes that an exchange of this kind sends and gets back on the wire, in frames.
///
/// # Errors
/// An exchange ends otherwise than it should.
pub fn sizes(folder: &Path, kinds: &[Kind]) -> Result<Vec<Sizes>, Failure> {
    let mut pair = Pair::new(folder)?;
    pair.run(Kind::Hit, 1, 20)?;
    kinds.iter().map(|kind| Ok(pair.run(*kind, 1, 50)?.1)).collect()
}

/// Makes the holder's log of so many exchanges, a quarter of them with released data, as an auditor gets it.
///
/// # Errors
/// An exchange ends otherwise than it should, or a file cannot be written.
pub fn make_log(folder: &Path, into: &Path, exchanges: u64) -> Result<u64, Failure> {
    let mut pair = Pair::new(folder)?;
    pair.holder.asides = Some(Vec::new());
    pair.run(Kind::Hit, 64, 1_000)?;
    let mut done = 0;
    while done < exchanges {
        pair.run(Kind::NoHit, 64, 5_000)?;
        pair.run(Kind::Released, 64, 2_500)?;
        pair.run(Kind::Refusal, 64, 2_500)?;
        done += 10_000;
    }
    pair.holder.export(into)
}
