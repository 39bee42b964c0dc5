//! `log`: what the audit log costs, from entry to disk and back.

use std::ops::ControlFlow;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};
use std::{fs, io};

use puente_agency::disk::NodeDisk;
use puente_audit_log::{
    Batch as LogBatch, BundleId, ClaimedCheckpoint, Ed25519Signer, Journal, KeyKind, Log, LogPath, ReadError, Signer,
    TileId, TileReader, hash_replay, leaf_hash, node_hash, replay,
};
use puente_exchange::api::Batch;
use puente_model::{Digest, LeafIndex, Secret32};
use rustix::buffer::spare_capacity;
use rustix::fs::{Mode, OFlags, openat};
use rustix::io::Errno;
use serde_json::{Value, json};

use crate::goal::{at_least, at_most};
use crate::machine::ThreadWatch;
use crate::stats::{Sample, median, round};
use crate::world::{Puente, World, now};
use crate::{Failure, engine, machine};

const ORIGIN: &str = "mx.example/bench/log1";
/// Bytes of one entry: what an entry of an exchange has, more or less.
pub const ENTRY_BYTES: usize = 300;
/// Entries after which memory is looked at the first time.
const EARLY: u64 = 1_000_000;

/// What to measure.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Entries of the large log.
    pub entries: u64,
    /// Passes of each figure that can be repeated.
    pub passes: usize,
    /// Folder for everything; on the disk that is to be measured.
    pub folder: PathBuf,
    /// The program; the one beside this one unless given.
    pub puente: Option<PathBuf>,
    /// Exchanges of the log that is verified with every rule.
    pub exchanges: u64,
}

struct Verified {
    entries: u64,
    per_second: f64,
}

/// Verification of a true log, with its sidecar and without.
fn verifications(plan: &Plan) -> Result<(Verified, Verified), Failure> {
    let world = plan.folder.join("world");
    fs::create_dir_all(&world)?;
    drop(World::start(Puente::find(plan.puente.as_deref())?, &world)?);
    let copy = plan.folder.join("copy");
    let entries = engine::make_log(&world, &copy, plan.exchanges)?;
    let pin = puente_agency::load::charter_pin(&world.join("charter/pin"))?;
    let charter = puente_audit::load_charter(&world.join("charter"), pin)?;
    let mut rates = [Vec::new(), Vec::new()];
    for (with, rates) in [true, false].into_iter().zip(&mut rates) {
        if !with {
            fs::remove_file(copy.join("asides"))?;
        }
        for _ in 0..plan.passes {
            let watch = ThreadWatch::start();
            let verdict = puente_audit::verify_rules(&charter, &copy, now());
            rates.push(entries as f64 / watch.seconds());
            if with && verdict.verdict != puente_audit::Conclusion::Sound {
                return Err(format!("the log under measurement is not sound: {:?}", verdict.findings.first()).into());
            }
        }
    }
    let [with, without] = rates.map(|rates| Verified { entries, per_second: median(rates) });
    Ok((with, without))
}

/// Runs all of it.
///
/// # Errors
/// The disk fails.
pub fn measure(plan: &Plan) -> Result<Value, Failure> {
    let machine = machine::describe();
    let small = plan.entries.min(EARLY);
    let (mut rates, mut raws, mut p50s, mut p99s, mut syncs) = (vec![], vec![], vec![], vec![], vec![]);
    for pass in 0..plan.passes {
        let folder = plan.folder.join(format!("append{pass}"));
        let run = child(&["log-append", "--entries", &small.to_string(), "--batch", "256"], &folder)?;
        rates.push(run["per_second"].as_f64().unwrap_or(f64::NAN));
        p50s.push(run["p50_us"].as_f64().unwrap_or(f64::NAN));
        p99s.push(run["p99_us"].as_f64().unwrap_or(f64::NAN));
        let raw = raw_appends(&plan.folder.join("raw"), small, 256)?;
        raws.push(raw.per_second);
        syncs.push(sync_p50(&plan.folder.join("sync"), 2_048, 2_000)?);
        if pass + 1 < plan.passes {
            fs::remove_dir_all(&folder)?;
        }
    }
    let small_folder = plan.folder.join(format!("append{}", plan.passes.saturating_sub(1)));

    let (mut floors, mut hashes, mut visits) = (vec![], vec![], vec![]);
    for _ in 0..plan.passes {
        floors.push(floor(small));
        hashes.push(replayed(&small_folder, false)?);
        visits.push(replayed(&small_folder, true)?);
    }
    let (floor, hashed, visited) = (median(floors), median(hashes), median(visits));

    let (verified, bare) = verifications(plan)?;

    let large_folder = plan.folder.join("large");
    let large = child(&["log-append", "--entries", &plan.entries.to_string(), "--batch", "256"], &large_folder)?;
    let tree = child(&["log-memory", "--entries", &plan.entries.to_string()], &plan.folder)?;
    let restart = child(&["log-restart"], &large_folder)?;

    let (rate, p99) = (median(rates), median(p99s));
    Ok(json!({
        "bench": "log",
        "machine": machine,
        "passes": plan.passes,
        "entry_bytes": ENTRY_BYTES,
        "append": {
            "what": "stage, sign head, journal, fdatasync, commit; tiles and bundles written behind by the same process",
            "entries": small, "batch": 256,
            "per_second": round(rate), "commit_p50_us": round(median(p50s)), "commit_p99_us": round(p99),
            "raw_preallocated_file_fdatasync_per_second": round(median(raws.iter().copied())),
            "ratio_to_raw": round(rate / median(raws)),
            "fdatasync_p50_us": round(median(syncs)),
        },
        "replay": {
            "what": "recompute every tile and the root from bundle files, beside the same hashes of bytes in memory; per second of one core's time",
            "entries": small,
            "sha256_floor_per_second": round(floor), "per_second": round(hashed), "ratio": round(hashed / floor),
            "with_a_visitor_per_second": round(visited),
        },
        "verify": {
            "what": "full verification of a log of exchanges by puente-audit, replay, parsing, every rule, kept receipts; per second of one core's time",
            "entries": verified.entries, "per_second": round(verified.per_second),
            "without_the_sidecar_per_second": round(bare.per_second),
        },
        "memory": {
            "whole_node_disk": {"at": [large["early"], large["late"]], "commit_p99_us": large["p99_us"],
                "per_second": large["per_second"]},
            "tree_alone": tree,
        },
        "restart": restart,
        "goals": [
            at_least("durable appends at batch 256, entries/s", 100_000.0, rate),
            at_most("p99 of a commit, ms", 10.0, p99 / 1_000.0),
            at_least("hash replay from files ÷ SHA-256 floor", 0.8, hashed / floor),
            at_least("full verification, entries/s per core", 500_000.0, verified.per_second),
            at_most("ready again with the large log, s", 5.0, restart["seconds"].as_f64().unwrap_or(f64::NAN)),
        ],
    }))
}

/// Runs this program again, so that memory is one measurement's alone; what it prints.
fn child(arguments: &[&str], folder: &Path) -> Result<Value, Failure> {
    let output = Command::new(std::env::current_exe()?).args(arguments).arg(folder).output()?;
    if !output.status.success() {
        return Err(format!("{arguments:?}: {}", String::from_utf8_lossy(&output.stderr)).into());
    }
    Ok(serde_json::from_slice(&output.stdout)?)
}

fn signer() -> Result<Ed25519Signer, Failure> {
    Ok(Ed25519Signer::new(ORIGIN, KeyKind::Ed25519, &Secret32::new([7; 32]))?)
}

fn entry(index: u64) -> Vec<u8> {
    let mut entry = vec![0x5a; ENTRY_BYTES];
    entry[..8].copy_from_slice(&index.to_be_bytes());
    entry
}

/// The disk is asked outside of the log here, as the engine does.
struct Done;

impl Journal for Done {
    type Error = std::convert::Infallible;

    fn persist(&mut self, _: LogBatch<'_>) -> Result<(), Self::Error> {
        Ok(())
    }
}

fn memory_now() -> Value {
    let (highest, now) = machine::memory_kib(std::process::id());
    json!({"rss_kib": now, "rss_highest_kib": highest})
}

/// Appends entries to a node's disk: journal, tiles, checkpoint.
///
/// # Errors
/// The disk fails.
pub fn append(folder: &Path, entries: u64, batch: u64) -> Result<Value, Failure> {
    fs::create_dir_all(folder)?;
    let signer = signer()?;
    let (disk, recovered) = NodeDisk::open(folder, &Secret32::new([9; 32]), signer.verifier())?;
    let mut log = recovered.tree;
    let mut latencies = Vec::new();
    let (mut number, mut early) = (0, Value::Null);
    let began = Instant::now();
    while log.size().0 < entries {
        let from = log.size().0;
        let new: Vec<Vec<u8>> = (from..entries.min(from + batch)).map(entry).collect();
        let start = Instant::now();
        let sealed = log.stage(&new)?.sign(&signer)?;
        number += 1;
        disk.write(Batch {
            number,
            first_index: LeafIndex(from),
            entries: new,
            checkpoint: sealed.batch().head.note_bytes().to_vec(),
            puts: Vec::new(),
            asides: Vec::new(),
        })?;
        log.commit(sealed.persist(&mut Done).map_err(|e| e.to_string())?)?;
        latencies.push(start.elapsed());
        if from < EARLY && log.size().0 >= EARLY {
            early = json!({"entries": log.size().0, "memory": memory_now()});
        }
    }
    let elapsed = began.elapsed();
    let late = json!({"entries": log.size().0, "memory": memory_now()});
    disk.close()?;
    let commits = Sample::new(latencies, elapsed);
    Ok(json!({
        "per_second": round(entries as f64 / elapsed.as_secs_f64()),
        "p50_us": round(commits.p50), "p99_us": round(commits.p99),
        "early": early, "late": late,
        "published_after_s": round(began.elapsed().as_secs_f64()),
    }))
}

/// The tree alone, without a disk: what grows with the number of entries, and what does not.
///
/// # Errors
/// None that can happen.
pub fn memory(entries: u64) -> Result<Value, Failure> {
    let signer = signer()?;
    let mut log = Log::empty(ORIGIN)?;
    let mut at = Vec::new();
    let began = Instant::now();
    while log.size().0 < entries {
        let from = log.size().0;
        let new: Vec<Vec<u8>> = (from..entries.min(from + 256)).map(entry).collect();
        let sealed = log.stage(&new)?.sign(&signer)?;
        log.commit(sealed.persist(&mut Done).map_err(|e| e.to_string())?)?;
        if (from < EARLY && log.size().0 >= EARLY) || log.size().0 == entries {
            at.push(json!({"entries": log.size().0, "memory": memory_now()}));
        }
    }
    Ok(json!({"at": at, "per_second": round(entries as f64 / began.elapsed().as_secs_f64())}))
}

/// Opens a node's disk again, as a restart does.
///
/// # Errors
/// The disk fails.
pub fn restart(folder: &Path) -> Result<Value, Failure> {
    let began = Instant::now();
    let (disk, recovered) = NodeDisk::open(folder, &Secret32::new([9; 32]), signer()?.verifier())?;
    let seconds = began.elapsed().as_secs_f64();
    disk.close()?;
    Ok(json!({"entries": recovered.tree.size().0, "replayed_batches": recovered.replayed, "seconds": round(seconds)}))
}

/// The same bytes into a preallocated file, synced per batch: what the disk gives without a log.
fn raw_appends(path: &Path, entries: u64, batch: u64) -> Result<Sample, Failure> {
    use std::os::unix::fs::FileExt as _;
    let batch_bytes = usize::try_from(batch)? * ENTRY_BYTES;
    let batches = entries / batch;
    let file = fs::File::create(path)?;
    let zeros = vec![0; 1 << 20];
    let bytes = batches * batch_bytes as u64;
    for at in (0..bytes).step_by(zeros.len()) {
        file.write_all_at(&zeros, at)?;
    }
    file.sync_all()?;
    let content = vec![7; batch_bytes];
    let mut latencies = Vec::new();
    let began = Instant::now();
    for number in 0..batches {
        let start = Instant::now();
        file.write_all_at(&content, number * batch_bytes as u64)?;
        file.sync_data()?;
        latencies.push(start.elapsed());
    }
    let elapsed = began.elapsed();
    fs::remove_file(path)?;
    let mut sample = Sample::new(latencies, elapsed);
    sample.per_second *= batch as f64;
    Ok(sample)
}

/// Half of the writes of so many bytes into a preallocated file, each with its sync, take no longer; in microseconds.
///
/// # Errors
/// The disk fails.
pub fn sync_p50(path: &Path, bytes: usize, times: u64) -> Result<f64, Failure> {
    use std::os::unix::fs::FileExt as _;
    let file = fs::File::create(path)?;
    file.write_all_at(&vec![0; bytes * usize::try_from(times)?], 0)?;
    file.sync_all()?;
    let content = vec![7; bytes];
    let mut latencies = Vec::new();
    for number in 0..times {
        let start = Instant::now();
        file.write_all_at(&content, number * bytes as u64)?;
        file.sync_data()?;
        latencies.push(start.elapsed());
    }
    fs::remove_file(path)?;
    Ok(Sample::new(latencies, Duration::from_secs(1)).p50)
}

/// Entries per second of processor time if nothing were done but the hashes of the tree.
fn floor(entries: u64) -> f64 {
    let mut entry = entry(0);
    let mut node = Digest::default();
    let watch = ThreadWatch::start();
    for index in 0..entries {
        entry[..8].copy_from_slice(&index.to_be_bytes());
        // One leaf and one node: a tree of n leaves has n - 1 nodes.
        node = node_hash(&node, &leaf_hash(&entry));
    }
    std::hint::black_box(node);
    entries as f64 / watch.seconds()
}

/// Bytes that there is room for before a file is read: a bundle of the entries measured here.
const FILE_BYTES: usize = 128 << 10;

/// Files of a log under a folder, which is looked up once.
#[derive(Debug)]
struct Folder(OwnedFd);

impl Folder {
    fn open(path: &Path) -> io::Result<Self> {
        Ok(Self(fs::File::open(path)?.into()))
    }

    fn read(&self, path: LogPath, out: &mut Vec<u8>) -> Result<(), ReadError> {
        let flags = OFlags::RDONLY | OFlags::CLOEXEC;
        let file = openat(&self.0, path.to_string(), flags, Mode::empty()).map_err(read_error)?;
        out.clear();
        loop {
            out.reserve(FILE_BYTES);
            if rustix::io::read(&file, spare_capacity(out)).map_err(read_error)? == 0 {
                return Ok(());
            }
        }
    }

    fn whole(&self, path: LogPath) -> Result<Vec<u8>, ReadError> {
        let mut bytes = Vec::new();
        self.read(path, &mut bytes)?;
        Ok(bytes)
    }
}

fn read_error(error: Errno) -> ReadError {
    match error {
        Errno::NOENT => ReadError::NotFound,
        _ => ReadError::Io(error.to_string()),
    }
}

impl TileReader for Folder {
    fn tile(&self, id: TileId) -> Result<Vec<u8>, ReadError> {
        self.whole(LogPath::Tile(id))
    }

    fn tile_into(&self, id: TileId, out: &mut Vec<u8>) -> Result<(), ReadError> {
        self.read(LogPath::Tile(id), out)
    }

    fn bundle(&self, id: BundleId) -> Result<Vec<u8>, ReadError> {
        self.whole(LogPath::Bundle(id))
    }

    fn bundle_into(&self, id: BundleId, out: &mut Vec<u8>) -> Result<(), ReadError> {
        self.read(LogPath::Bundle(id), out)
    }
}

/// Entries per second of processor time of a replay from a node's folder.
fn replayed(folder: &Path, visit: bool) -> Result<f64, Failure> {
    let reader = Folder::open(&folder.join("log"))?;
    let note = reader.whole(LogPath::Checkpoint)?;
    let head = ClaimedCheckpoint::parse(&note)?.verify(signer()?.verifier())?;
    let mut bytes = 0;
    let watch = ThreadWatch::start();
    let size = if visit {
        replay(&head, &reader, |_, _, entry| {
            bytes += entry.len();
            ControlFlow::Continue(())
        })?
        .size
    } else {
        hash_replay(&head, &reader)?.size
    };
    std::hint::black_box(bytes);
    Ok(size.0 as f64 / watch.seconds())
}
