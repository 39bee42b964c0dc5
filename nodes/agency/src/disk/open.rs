//! Start-up: read back what is durable, check it against every signed head in the folder, then go on.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use puente_audit_log::{
    BundleId, ClaimedCheckpoint, Log, LogFile, LogPath, ReadError, SignedCheckpoint, TileId, TileReader, VerifierKey,
    verify_consistency,
};
use puente_model::{Secret32, TreeSize};

use super::applier::{Applier, Mirror};
use super::asides::{self, Asides};
use super::base::Base;
use super::error::DiskError;
use super::evidence::EvidenceWriter;
use super::files::{Disk, site};
use super::journal::Journal;
use super::seal::Keys;
use super::shared::{LogPart, Shared, State};
use super::store::read_file;
use super::tiles::{Publisher, make_dirs};
use super::{Inner, NodeDisk, Recovered};

/// Entries taken into the mirror at once during a replay.
const REPLAY_ENTRIES: usize = 512;

/// Files of the log: those given, else those on disk.
struct Overlaid<'a> {
    files: BTreeMap<LogPath, &'a [u8]>,
    disk: &'a dyn Disk,
    root: &'a Path,
}

impl Overlaid<'_> {
    fn read(&self, path: LogPath) -> Result<Vec<u8>, ReadError> {
        match self.files.get(&path) {
            Some(bytes) => Ok(bytes.to_vec()),
            None => read_file(self.disk, &self.root.join(path.to_string())),
        }
    }
}

impl TileReader for Overlaid<'_> {
    fn tile(&self, id: TileId) -> Result<Vec<u8>, ReadError> {
        self.read(id.into())
    }

    fn bundle(&self, id: BundleId) -> Result<Vec<u8>, ReadError> {
        self.read(id.into())
    }
}

/// What a replay builds up.
struct Replay {
    mirror: Mirror,
    state: State,
    parts: Vec<LogPart>,
    asides: Vec<u8>,
    applied: u64,
    batches: u64,
}

impl Replay {
    fn flush(&mut self) -> Result<(), DiskError> {
        for file in self.mirror.take_in(&self.parts)? {
            self.state.pending_bytes += file.bytes.len();
            self.state.pending.insert(file.path, Arc::new(file));
        }
        self.parts.clear();
        Ok(())
    }
}

pub(super) fn open(
    disk: Arc<dyn Disk>,
    dir: &Path,
    store_key: &Secret32,
    log: &VerifierKey,
    segment_bytes: u64,
) -> Result<(NodeDisk, Recovered), DiskError> {
    let (journal_dir, root, database) = (dir.join("journal"), dir.join("log"), dir.join("evidence.db"));
    make_dirs(disk.as_ref(), &journal_dir, site::JOURNAL_DIR, site::JOURNAL_DIR)?;
    make_dirs(disk.as_ref(), &root, site::TILES_DIR, site::TILES_DIR_SYNC)?;
    let lock = lock(dir, &journal_dir)?;
    let keys = Keys::new(store_key);
    let evidence = EvidenceWriter::open(disk.as_ref(), &database, &keys)?;
    let (base, applied) = (evidence.base()?, evidence.applied()?);
    let asides = Asides::open(disk.as_ref(), &root.join("asides"), base.asides_len)?;
    let mirror = Mirror { log: log_at_base(disk.as_ref(), &root, &database, &base, log)?, verifier: log.clone() };

    let state = State { size: mirror.log.size().0, ..State::default() };
    let mut replay = Replay { mirror, state, parts: Vec::new(), asides: Vec::new(), applied, batches: 0 };
    let known = applied.max(base.position);
    let found = Journal::open(&disk, &keys, &journal_dir, segment_bytes, base.position, known, |position, content| {
        replay.batches += 1;
        if !content.entries.is_empty() && content.first_index != replay.state.size {
            let (found, need) = (content.first_index, replay.state.size);
            return Err(DiskError::Unfit(format!("journal batch {position} begins at entry {found}, not {need}")));
        }
        replay.state.size += content.entries.len() as u64;
        content.asides.iter().for_each(|aside| asides::frame(&mut replay.asides, aside));
        let part = LogPart { entries: content.entries, checkpoint: content.checkpoint, asides: Vec::new() };
        replay.parts.push(part);
        if position > replay.applied {
            let none = LogPart { entries: Vec::new(), checkpoint: Vec::new(), asides: Vec::new() };
            replay.state.take_in(position, none, content.puts);
        }
        if replay.parts.iter().map(|part| part.entries.len()).sum::<usize>() >= REPLAY_ENTRIES {
            replay.flush()?;
        }
        Ok(())
    })?;
    replay.flush()?;
    let Replay { mirror, mut state, asides: new_asides, batches, .. } = replay;
    let position = found.journal.position();
    (state.position, state.applied) = (position, applied);
    (state.mirrored, state.segments) = (mirror.log.size().0, found.segments);

    let edge = mirror.log.publish().unwrap_or_default();
    let pending: Vec<Arc<LogFile>> = state.pending.values().cloned().collect();
    let files = edge.iter().chain(pending.iter().map(Arc::as_ref));
    let files = files.map(|file| (file.path, file.bytes.as_slice())).collect();
    let reader = Overlaid { files, disk: disk.as_ref(), root: &root };
    let tree = match mirror.log.head() {
        Some(head) => Log::open(head, &reader)?,
        None => Log::empty(log.name()).map_err(|source| DiskError::Head { path: root.clone(), source })?,
    };
    check_published(&tree, &reader, &root, log)?;

    let recovered = Recovered { tree, position, replayed: batches, torn_bytes: found.torn };
    if found.torn > 0 {
        tracing::warn!(
            bytes = found.torn,
            "wiped a batch that was being written when the node went down; it was never acknowledged"
        );
    }
    let shared = Arc::new(Shared::default());
    *shared.lock() = state;
    let applier = Applier {
        disk: Arc::clone(&disk),
        shared: Arc::clone(&shared),
        mirror,
        evidence,
        asides,
        publisher: Publisher::new(Arc::clone(&disk), root.clone()),
        journal_dir,
        segment_bytes,
        new_asides,
        mirrored_position: position,
        values_applied: Instant::now(),
        publish_asked: 0,
    };
    let thread = std::thread::Builder::new().name("applier".to_owned()).spawn(move || applier.run());
    let thread = thread.map_err(|_| DiskError::System("a thread"))?;
    let inner = Inner {
        disk,
        shared,
        keys,
        root,
        database,
        journal: Mutex::new(found.journal),
        applier: Mutex::new(Some(thread)),
        _lock: lock,
    };
    Ok((NodeDisk(Arc::new(inner)), recovered))
}

/// Begins an empty log in the folder of a stopped node, whose former log was put away: journal and evidence go on.
///
/// # Errors
/// The folder is in use, or its database cannot be written.
pub fn begin_successor(dir: &Path, store_key: &Secret32) -> Result<(), DiskError> {
    let (disk, journal_dir) = (super::files::RealDisk, dir.join("journal"));
    let _lock = lock(dir, &journal_dir)?;
    let evidence = EvidenceWriter::open(&disk, &dir.join("evidence.db"), &Keys::new(store_key))?;
    let (base, applied) = (evidence.base()?, evidence.applied()?);
    if base.position < applied {
        // Stopping moved the start of the replay to the end; whatever is left belongs to the former log.
        return Err(DiskError::Unfit(format!("batches {} to {applied} were not brought to an end", base.position + 1)));
    }
    evidence.rebase(&disk, &Base { position: base.position, ..Base::default() }).map(drop)
}

/// Takes the folder for this process.
fn lock(dir: &Path, journal_dir: &Path) -> Result<File, DiskError> {
    let path = journal_dir.join("lock");
    let file = File::create(&path).map_err(DiskError::io(site::JOURNAL_DIR, &path))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(std::fs::TryLockError::WouldBlock) => Err(DiskError::InUse { path: dir.to_owned() }),
        Err(std::fs::TryLockError::Error(source)) => Err(DiskError::Io { site: site::JOURNAL_DIR, path, source }),
    }
}

/// The log where the replay begins.
fn log_at_base(
    disk: &dyn Disk,
    root: &Path,
    database: &Path,
    base: &Base,
    log: &VerifierKey,
) -> Result<Log, DiskError> {
    let bad_head = |source| DiskError::Head { path: database.to_owned(), source };
    if base.checkpoint.is_empty() {
        return Log::empty(log.name()).map_err(bad_head);
    }
    let head = verified(&base.checkpoint, log).map_err(bad_head)?;
    let mut files = BTreeMap::new();
    for (path, bytes) in &base.edge {
        if let Ok(path) = path.parse::<LogPath>() {
            files.insert(path, bytes.as_slice());
        }
    }
    Ok(Log::open(&head, &Overlaid { files, disk, root })?)
}

fn verified(note: &[u8], log: &VerifierKey) -> Result<SignedCheckpoint, puente_audit_log::CheckpointError> {
    ClaimedCheckpoint::parse(note)?.verify(log)
}

/// The head that auditors saw last must be provable from what was recovered.
fn check_published(tree: &Log, reader: &Overlaid<'_>, root: &Path, log: &VerifierKey) -> Result<(), DiskError> {
    let path: PathBuf = root.join("checkpoint");
    let note = match reader.disk.read(site::TILES_READ, &path) {
        Ok(note) => note,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(source) => return Err(DiskError::Io { site: site::TILES_READ, path, source }),
    };
    let head = verified(&note, log).map_err(|source| DiskError::Head { path: path.clone(), source })?;
    prove_head(tree, reader, &head, &path)
}

/// Refuses a signed head that `tree` does not extend.
fn prove_head(tree: &Log, reader: &dyn TileReader, head: &SignedCheckpoint, path: &Path) -> Result<(), DiskError> {
    let (signed, have): (TreeSize, TreeSize) = (head.size(), tree.size());
    if signed > have {
        return Err(DiskError::HeadAhead { path: path.to_owned(), signed, have });
    }
    let proof = tree.prove_consistency(signed, have, reader).map_err(|error| DiskError::Unfit(error.to_string()))?;
    verify_consistency(signed, have, &head.root(), &tree.root(), &proof)
        .map_err(|_| DiskError::HeadDiffers { path: path.to_owned(), signed })
}
