//! Records on their way in: staged in a file until the log holds their COLLECT entry, then stored.
//!
//! ```text
//! imports/lock                held while an import runs: one at a time
//! imports/<batch>.part        being written; worthless after a crash
//! imports/<batch>.problems    what there is to say about its rows, one JSON object a line
//! imports/<batch>.staged      whole and synced; not yet in the log
//! imports/<batch>.collected   the log holds the COLLECT entry; on its way into the record store
//! imports/<batch>.openings    stored; opens each record's commitment:
//!                             (salt, 32 bytes ‖ SHA-256 of the record ‖ u32be length ‖ overrides)*
//! imports/<batch>.batch       stored; what the batch was, for the next import of the same file
//! ```
//!
//! Only the record store is looked up, so no staged record can be answered
//! with (record before reveal). Each step is a rename: a crash repeats the
//! step it interrupted. Saying again to the log that a batch was collected
//! makes no second entry, and storing a record again keeps it once.
//!
//! Whoever carries a batch on holds a lock on its file, so that an import and a node that is just starting never
//! both do. The system lets go of it when the process ends.

use std::fs::{File, OpenOptions};
use std::io::{self, BufReader, BufWriter, Read, Seek as _, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use puente_exchange::api::{Conclusion, LocalEvent};
use puente_model::{Digest, EventKind, Secret32};
use serde::{Deserialize, Serialize};

use super::{Counts, Imported, Outcome, RowError};
use crate::config::NodeDir;
use crate::driver::DriverHandle;
use crate::files;
use crate::records::{Inserted, NewRecord, RecordSettings, RecordStore, RecordsError};

const MAGIC: &[u8; 8] = b"puenteI2";
/// One staged record, in bytes.
const ITEM_BYTES_MAX: u32 = 4 << 20;
/// Records that go into the record store in one transaction.
const CHUNK: usize = 25_000;
/// Their bytes.
const CHUNK_BYTES: usize = 32 << 20;

/// Why a batch could not be staged or stored.
#[derive(Debug, thiserror::Error)]
pub enum StageError {
    /// A file.
    #[error("{path}: {error}")]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// Somebody else brings records in.
    #[error("another import is running in {0}")]
    Busy(PathBuf),
    /// A staged file was changed or cut.
    #[error("{path} is damaged at byte {at}: remove it and import the file again; the log holds no entry of it")]
    Damaged {
        /// Which.
        path: PathBuf,
        /// Where.
        at: u64,
    },
    /// The record store.
    #[error(transparent)]
    Store(#[from] RecordsError),
}

fn file(path: &Path) -> impl FnOnce(io::Error) -> StageError + '_ {
    move |error| StageError::File { path: path.to_owned(), error }
}

/// A step that changes what is on disk. Its name is stable: suites that break each one quote it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Step {
    /// Make a batch's file.
    Begin,
    /// Write a record into it.
    Write,
    /// Write what there is to say about a row.
    Problem,
    /// Write its end and sync it.
    Sync,
    /// Give the file of problems its name.
    NameProblems,
    /// Give the batch its name.
    Stage,
    /// Say to the log that it was collected.
    Collect,
    /// Note that the log holds it.
    Collected,
    /// Store a chunk of its records.
    Store,
    /// Give the file of openings its name.
    Openings,
    /// Write down what it was.
    Batch,
    /// Remove its file.
    Remove,
}

/// Hears of every step before it is taken, and may refuse it: for suites that break each one.
pub trait Watch: Send + Sync {
    /// # Errors
    /// The step fails.
    fn step(&self, step: Step) -> io::Result<()>;
}

/// Nobody watches.
#[derive(Debug, Clone, Copy)]
struct Nobody;

impl Watch for Nobody {
    fn step(&self, _: Step) -> io::Result<()> {
        Ok(())
    }
}

/// The folder `imports/` of a node.
#[derive(Clone)]
pub struct Folder {
    path: PathBuf,
    watch: Arc<dyn Watch>,
}

impl std::fmt::Debug for Folder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Folder({})", self.path.display())
    }
}

/// The right to bring records in; another process gets it once this one ends.
#[derive(Debug)]
pub struct Turn(#[allow(dead_code, reason = "held, not used")] File);

impl Folder {
    /// The folder at `path`.
    pub fn new(path: &Path) -> Self {
        Self::watched(path, Arc::new(Nobody))
    }

    /// The same, every step told to `watch`.
    pub fn watched(path: &Path, watch: Arc<dyn Watch>) -> Self {
        Self { path: path.to_owned(), watch }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn step(&self, step: Step, path: &Path) -> Result<(), StageError> {
        self.watch.step(step).map_err(file(path))
    }

    /// Takes the turn and clears away what an import that died left half written.
    ///
    /// # Errors
    /// Somebody else has it, or the folder cannot be used.
    pub fn enter(&self) -> Result<Turn, StageError> {
        files::make_private_dir(&self.path).map_err(file(&self.path))?;
        let path = self.path.join("lock");
        let lock = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(&path);
        let lock = lock.map_err(file(&path))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(std::fs::TryLockError::WouldBlock) => return Err(StageError::Busy(self.path.clone())),
            Err(std::fs::TryLockError::Error(error)) => return Err(file(&path)(error)),
        }
        for path in self.files()? {
            let ending = path.extension().map(|e| e.to_string_lossy().into_owned()).unwrap_or_default();
            let alone = || ["staged", "collected", "batch"].iter().all(|e| !path.with_extension(e).exists());
            if ending.ends_with("part") || ending == "index" || (ending == "problems" && alone()) {
                // What cannot be removed is only left lying about.
                let _ = std::fs::remove_file(path);
            }
        }
        Ok(Turn(lock))
    }

    fn files(&self) -> Result<Vec<PathBuf>, StageError> {
        let entries = match std::fs::read_dir(&self.path) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(StageError::File { path: self.path.clone(), error }),
        };
        entries.map(|entry| Ok(entry.map_err(file(&self.path))?.path())).collect()
    }

    /// Every batch that has not been stored yet, oldest first.
    ///
    /// # Errors
    /// A file cannot be read, or is damaged.
    pub fn pending(&self) -> Result<Vec<Staged>, StageError> {
        let mut out = Vec::new();
        for path in self.files()? {
            if path.extension().is_some_and(|e| e == "staged" || e == "collected") {
                out.push(Staged { head: read_head(&path)?, path, folder: self.clone(), hold: None });
            }
        }
        out.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(out)
    }

    /// What every batch was, also those that are stored: name and head.
    ///
    /// # Errors
    /// A file cannot be read, or is damaged.
    pub fn heads(&self) -> Result<Vec<(PathBuf, Head)>, StageError> {
        let mut out: Vec<_> = self.pending()?.into_iter().map(|staged| (staged.path, staged.head)).collect();
        for path in self.files()? {
            if path.extension().is_some_and(|e| e == "batch") {
                let bytes = files::read(&path).map_err(file(&path))?;
                // One that another version wrote says nothing to this one: its records are known by themselves.
                if let Ok(head) = serde_json::from_slice(&bytes) {
                    out.push((path, head));
                }
            }
        }
        Ok(out)
    }
}

/// Which part of which file a batch is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Part {
    /// Record type, format, encoding, profile, overrides and catalogue, as a digest.
    pub import: String,
    /// The first byte.
    pub from: u64,
    /// The byte after the last.
    pub to: u64,
    /// SHA-256 of all bytes of the file before `to`.
    pub digest: String,
}

/// What a batch is.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Head {
    /// Record type of the catalogue.
    pub record_type: String,
    /// On whose authority.
    pub authority: String,
    /// Whose table it is, where a profile says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provenance: Option<String>,
    /// Its rows.
    #[serde(flatten)]
    pub counts: Counts,
    /// RFC 6962 root over the records' commitments, in order.
    pub root: String,
    /// Which part of which file it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub part: Option<Part>,
}

impl Head {
    /// The one event that commits the batch.
    pub fn event(&self) -> LocalEvent {
        let counts = &self.counts;
        let detail = serde_json::json!({
            "root": self.root,
            "count": counts.accepted,
            "rejected": counts.rejected,
            "duplicates": counts.duplicates_in_batch + counts.duplicates_in_store,
            "overridden": counts.overridden,
            "record_type": self.record_type,
            "authority": self.authority,
            "provenance": self.provenance,
        });
        LocalEvent {
            kind: EventKind::Collect,
            record_type: self.record_type.clone(),
            count: counts.accepted,
            purpose: None,
            basis: None,
            role: None,
            detail: detail.to_string().into_bytes(),
        }
    }
}

/// A line of a file of problems.
#[derive(Serialize, Deserialize)]
struct Said {
    line: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    column: Option<String>,
    code: String,
    outcome: Outcome,
    message: String,
    mend: String,
}

/// A part of a staged record: its length in four bytes, then itself.
fn put_part(to: &mut Vec<u8>, part: &[u8]) {
    to.extend_from_slice(&u32::try_from(part.len()).unwrap_or(u32::MAX).to_be_bytes());
    to.extend_from_slice(part);
}

fn take_part<'b>(from: &mut &'b [u8]) -> Option<&'b [u8]> {
    let (len, rest) = from.split_first_chunk::<4>()?;
    let (part, rest) = rest.split_at_checked(u32::from_be_bytes(*len) as usize)?;
    *from = rest;
    Some(part)
}

/// Takes records in, to be staged when all are there.
#[derive(Debug)]
pub struct Staging {
    folder: Folder,
    part: PathBuf,
    to: BufWriter<File>,
    problems: Option<(PathBuf, BufWriter<File>)>,
    /// One record, kept from one to the next.
    item: zeroize::Zeroizing<Vec<u8>>,
}

fn create(path: &Path) -> Result<BufWriter<File>, StageError> {
    let opened = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).map_err(file(path))?;
    Ok(BufWriter::with_capacity(256 * 1024, opened))
}

impl Staging {
    /// Begins a batch.
    ///
    /// # Errors
    /// The folder or file cannot be made.
    pub fn begin(folder: &Folder) -> Result<Self, StageError> {
        let mut name = [0; 10];
        files::make_private_dir(&folder.path).map_err(file(&folder.path))?;
        getrandom::fill(&mut name).map_err(|error| StageError::File {
            path: folder.path.clone(),
            error: io::Error::other(error.to_string()),
        })?;
        // Batches are carried on in the order in which they were made.
        let made = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default().as_millis();
        let part = folder.path.join(format!("{made:012x}{}.part", hex::encode(name)));
        folder.step(Step::Begin, &part)?;
        let mut to = create(&part)?;
        to.write_all(MAGIC).map_err(file(&part))?;
        Ok(Self { folder: folder.clone(), part, to, problems: None, item: zeroize::Zeroizing::default() })
    }

    /// Takes one record in.
    ///
    /// # Errors
    /// The disk is full or failed.
    pub fn put(&mut self, record: &Imported) -> Result<(), StageError> {
        self.folder.step(Step::Write, &self.part)?;
        // Salt, record, overrides, then name and value of each key.
        let bytes = &mut *self.item;
        bytes.clear();
        bytes.extend_from_slice(record.salt.expose());
        put_part(bytes, &record.record);
        put_part(bytes, record.overrides.as_bytes());
        for part in record.keys.iter().flat_map(|(name, value)| [name, value]) {
            put_part(bytes, part.as_bytes());
        }
        frame(&mut self.to, bytes).map_err(file(&self.part))
    }

    /// Takes in what there is to say about one row.
    ///
    /// # Errors
    /// The disk is full or failed.
    pub fn problem(&mut self, error: &RowError, outcome: Outcome) -> Result<(), StageError> {
        let (path, to) = match &mut self.problems {
            Some(problems) => problems,
            None => {
                let path = self.part.with_extension("problems-part");
                let to = create(&path)?;
                self.problems.insert((path, to))
            }
        };
        self.folder.watch.step(Step::Problem).map_err(file(path))?;
        let RowError { line, column, code, message, mend } = error.clone();
        let mut line = serde_json::to_vec(&Said { line, column, code, outcome, message, mend })
            .map_err(|error| file(path)(error.into()))?;
        line.push(b'\n');
        to.write_all(&line).map_err(file(path))
    }

    /// Ends the batch: it is on disk, whole, when this returns.
    ///
    /// # Errors
    /// The disk is full or failed; nothing is staged.
    pub fn finish(mut self, head: Head) -> Result<Staged, StageError> {
        let folder = self.folder.clone();
        folder.step(Step::Sync, &self.part)?;
        let mut write = || {
            // The end of the records, then the head, then its length: the file is read from its end.
            self.to.write_all(&0_u32.to_be_bytes())?;
            let bytes = serde_json::to_vec(&head)?;
            self.to.write_all(&bytes)?;
            self.to.write_all(&u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_be_bytes())?;
            self.to.write_all(MAGIC)?;
            self.to.flush()?;
            self.to.get_ref().sync_all()?;
            // Nobody else knows the file yet.
            self.to.get_ref().lock()?;
            self.to.get_ref().try_clone()
        };
        let hold = Some(Arc::new(write().map_err(file(&self.part))?));
        if let Some((path, to)) = &mut self.problems {
            to.flush().and_then(|()| to.get_ref().sync_all()).map_err(file(path))?;
            folder.step(Step::NameProblems, path)?;
            rename(path, &self.part.with_extension("problems"), &folder.path)?;
        }
        let path = self.part.with_extension("staged");
        folder.step(Step::Stage, &path)?;
        rename(&self.part, &path, &folder.path)?;
        Ok(Staged { path, head, folder, hold })
    }

    /// Gives the batch up.
    pub fn abandon(self) {
        let _ = std::fs::remove_file(&self.part);
        if let Some((path, _)) = &self.problems {
            let _ = std::fs::remove_file(path);
        }
    }
}

/// What there is to say about the rows of the batch that `path` names, in their order.
///
/// # Errors
/// The file cannot be read.
pub fn problems(path: &Path, each: &mut dyn FnMut(RowError, Outcome) -> io::Result<()>) -> Result<(), StageError> {
    use std::io::BufRead as _;
    let path = path.with_extension("problems");
    let from = match File::open(&path) {
        Ok(from) => BufReader::new(from),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(file(&path)(error)),
    };
    for line in from.lines() {
        let line = line.map_err(file(&path))?;
        let said = serde_json::from_str(&line).map_err(|error| file(&path)(error.into()))?;
        let Said { line, column, code, outcome, message, mend } = said;
        each(RowError { line, column, code, message, mend }, outcome).map_err(file(&path))?;
    }
    Ok(())
}

fn frame(to: &mut impl Write, bytes: &[u8]) -> io::Result<()> {
    let len = u32::try_from(bytes.len()).ok().filter(|len| (1..=ITEM_BYTES_MAX).contains(len));
    let len = len.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "a record is too large to stage"))?;
    to.write_all(&len.to_be_bytes())?;
    to.write_all(bytes)
}

fn rename(from: &Path, to: &Path, folder: &Path) -> Result<(), StageError> {
    std::fs::rename(from, to).map_err(file(from))?;
    File::open(folder).and_then(|f| f.sync_all()).map_err(file(folder))
}

/// A batch that is whole on disk: staged, or already collected.
#[derive(Debug, Clone)]
pub struct Staged {
    path: PathBuf,
    head: Head,
    folder: Folder,
    /// Locked while somebody carries the batch on.
    hold: Option<Arc<File>>,
}

fn read_head(path: &Path) -> Result<Head, StageError> {
    let mut from = File::open(path).map_err(file(path))?;
    let size = from.metadata().map_err(file(path))?.len();
    let damaged = |at| StageError::Damaged { path: path.to_owned(), at };
    let tail_at = size.checked_sub(12).ok_or_else(|| damaged(0))?;
    let mut tail = [0; 12];
    from.seek(SeekFrom::Start(tail_at)).and_then(|_| from.read_exact(&mut tail)).map_err(file(path))?;
    let len = u32::from_be_bytes([tail[0], tail[1], tail[2], tail[3]]);
    if &tail[4..] != MAGIC || len > ITEM_BYTES_MAX {
        return Err(damaged(tail_at));
    }
    let head_at = tail_at.checked_sub(len.into()).ok_or_else(|| damaged(tail_at))?;
    let mut bytes = vec![0; len as usize];
    from.seek(SeekFrom::Start(head_at)).and_then(|_| from.read_exact(&mut bytes)).map_err(file(path))?;
    serde_json::from_slice(&bytes).map_err(|_| damaged(head_at))
}

impl Staged {
    /// True once the log holds the batch's entry.
    pub fn is_collected(&self) -> bool {
        self.path.extension().is_some_and(|e| e == "collected")
    }

    /// Takes the batch in hand; false if somebody else has it, or has finished it.
    pub fn hold(&mut self) -> bool {
        let held = File::open(&self.path).ok().filter(|file| file.try_lock().is_ok());
        // Whoever had it before may have carried it on: then this is no longer its name.
        self.hold = held.filter(|_| self.path.exists()).map(Arc::new);
        self.hold.is_some()
    }

    /// Waits until nobody else has the batch in hand and takes it; false if it was finished meanwhile.
    ///
    /// # Errors
    /// The system gives no lock.
    pub fn wait(&mut self) -> Result<bool, StageError> {
        let held = match File::open(&self.path) {
            Ok(held) => held,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            Err(error) => return Err(file(&self.path)(error)),
        };
        held.lock().map_err(file(&self.path))?;
        self.hold = self.path.exists().then(|| Arc::new(held));
        Ok(self.hold.is_some())
    }

    /// Lets go of it.
    pub fn release(&mut self) {
        self.hold = None;
    }

    /// Whether this process has the batch in hand.
    pub const fn is_held(&self) -> bool {
        self.hold.is_some()
    }

    /// Whether somebody else has carried it on.
    pub fn is_gone(&self) -> bool {
        !self.path.exists()
    }

    /// What it is.
    pub const fn head(&self) -> &Head {
        &self.head
    }

    /// The event that the log must hold before the records are stored.
    ///
    /// # Errors
    /// Whoever watches refuses the step.
    pub fn event(&self) -> Result<LocalEvent, StageError> {
        self.folder.step(Step::Collect, &self.path)?;
        Ok(self.head.event())
    }

    /// Notes that the event is durable in the log.
    ///
    /// # Errors
    /// The file cannot be renamed.
    pub fn collected(&mut self) -> Result<(), StageError> {
        let path = self.path.with_extension("collected");
        self.folder.step(Step::Collected, &path)?;
        rename(&self.path, &path, &self.folder.path)?;
        self.path = path;
        Ok(())
    }

    /// Every record of the batch, with its salt and overrides, in order.
    fn each(
        &self,
        visit: &mut dyn FnMut(NewRecord, &Secret32, &str) -> Result<(), StageError>,
    ) -> Result<(), StageError> {
        let damaged = |at| StageError::Damaged { path: self.path.clone(), at };
        let mut from = BufReader::with_capacity(256 * 1024, File::open(&self.path).map_err(file(&self.path))?);
        let mut magic = [0; 8];
        from.read_exact(&mut magic).map_err(|_| damaged(0))?;
        if &magic != MAGIC {
            return Err(damaged(0));
        }
        let (mut at, mut found) = (8, 0);
        let mut bytes = zeroize::Zeroizing::new(Vec::new());
        loop {
            let mut len = [0; 4];
            from.read_exact(&mut len).map_err(|_| damaged(at))?;
            let len = u32::from_be_bytes(len);
            if len > ITEM_BYTES_MAX {
                return Err(damaged(at));
            }
            if len == 0 {
                break;
            }
            bytes.resize(len as usize, 0);
            from.read_exact(&mut bytes).map_err(|_| damaged(at))?;
            let (record, salt, overrides) = self.item(&bytes).ok_or_else(|| damaged(at))?;
            visit(record, &salt, &overrides)?;
            found += 1;
            at += 4 + u64::from(len);
        }
        if found == self.head.counts.accepted { Ok(()) } else { Err(damaged(at)) }
    }

    /// Every record of the batch, in order.
    ///
    /// # Errors
    /// The batch is damaged, or `visit` fails.
    pub fn records(&self, visit: &mut dyn FnMut(NewRecord) -> Result<(), StageError>) -> Result<(), StageError> {
        self.each(&mut |record, _, _| visit(record))
    }

    /// Puts a collected batch into the record store and keeps its openings.
    ///
    /// # Errors
    /// The batch is damaged or not collected, or the store refuses; repeat it once that is mended.
    pub fn store(self, records: &mut RecordStore) -> Result<Inserted, StageError> {
        if !self.is_collected() {
            return Err(StageError::Damaged { path: self.path, at: 0 });
        }
        let folder = &self.folder;
        let draft = self.path.with_extension("openings-part");
        let opened = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&draft);
        let mut openings = BufWriter::with_capacity(256 * 1024, opened.map_err(file(&draft))?);
        let (mut chunk, mut chunk_bytes) = (Vec::new(), 0);
        let mut done = Inserted::default();
        let mut put = |chunk: &mut Vec<NewRecord>| -> Result<(), StageError> {
            folder.step(Step::Store, &self.path)?;
            let put = records.insert(chunk)?;
            done.new += put.new;
            done.known += put.known;
            chunk.clear();
            Ok(())
        };
        self.each(&mut |record, salt, overrides| {
            open_with(&mut openings, salt, &record.bytes, overrides).map_err(file(&draft))?;
            chunk_bytes += record.bytes.len();
            chunk.push(record);
            if chunk.len() >= CHUNK || chunk_bytes >= CHUNK_BYTES {
                put(&mut chunk)?;
                chunk_bytes = 0;
            }
            Ok(())
        })?;
        if !chunk.is_empty() {
            put(&mut chunk)?;
        }
        openings.flush().and_then(|()| openings.get_ref().sync_all()).map_err(file(&draft))?;
        folder.step(Step::Openings, &draft)?;
        rename(&draft, &self.path.with_extension("openings"), &folder.path)?;
        let batch = self.path.with_extension("batch");
        folder.step(Step::Batch, &batch)?;
        let head = serde_json::to_vec(&self.head).map_err(|error| file(&batch)(error.into()))?;
        files::replace(&batch, &head, true).map_err(file(&batch))?;
        folder.step(Step::Remove, &self.path)?;
        std::fs::remove_file(&self.path).map_err(file(&self.path))?;
        Ok(done)
    }

    fn item(&self, bytes: &[u8]) -> Option<(NewRecord, Secret32, String)> {
        let (salt, mut rest) = bytes.split_first_chunk::<32>()?;
        let bytes = take_part(&mut rest)?.to_vec();
        let text = |part: &[u8]| std::str::from_utf8(part).ok().map(str::to_owned);
        let overrides = text(take_part(&mut rest)?)?;
        let mut keys = Vec::new();
        while !rest.is_empty() {
            keys.push((text(take_part(&mut rest)?)?, text(take_part(&mut rest)?)?));
        }
        let record = NewRecord { record_type: self.head.record_type.clone(), bytes, keys };
        Some((record, Secret32::new(*salt), overrides))
    }
}

/// Records every staged batch in the log and stores it: at the start of a node, before anybody is served.
///
/// A batch that cannot be read or stored is named in the node's own words and left for the next start; no record of
/// it can be found until then.
///
/// Without settings it is the folder of training.
pub async fn settle(dir: &NodeDir, settings: Option<&RecordSettings>, driver: &DriverHandle) {
    let batches = match Folder::new(&dir.imports()).pending() {
        Ok(batches) => batches,
        Err(error) => return tracing::error!("imports: {error}"),
    };
    for mut batch in batches {
        if !batch.hold() {
            // Its import waits for this node and does the rest itself.
            continue;
        }
        if !batch.is_collected() {
            let event =
                if settings.is_some() { batch.head.event() } else { crate::training::marked(batch.head.event()) };
            match driver.event(event).await {
                Ok(Conclusion::Recorded { index }) => {
                    tracing::info!(index = index.0, count = batch.head.counts.accepted, "collected")
                }
                _ => return tracing::error!("imports: a batch could not be recorded in the log; it stays staged"),
            }
            if let Err(error) = batch.collected() {
                return tracing::error!("imports: {error}");
            }
        }
        let (dir, settings) = (dir.clone(), settings.cloned().unwrap_or_default());
        let stored = tokio::task::spawn_blocking(move || batch.store(&mut RecordStore::open_with(&dir, &settings)?));
        match stored.await {
            Ok(Ok(done)) => tracing::info!(new = done.new, known = done.known, "records stored"),
            Ok(Err(error)) => tracing::error!("imports: {error}"),
            Err(error) => tracing::error!("imports: {error}"),
        }
    }
}

fn open_with(to: &mut impl Write, salt: &Secret32, record: &[u8], overrides: &str) -> io::Result<()> {
    to.write_all(salt.expose())?;
    to.write_all(Digest::of(record).as_bytes())?;
    to.write_all(&u32::try_from(overrides.len()).unwrap_or(u32::MAX).to_be_bytes())?;
    to.write_all(overrides.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(n: u8) -> Imported {
        let salt = Secret32::new([n; 32]);
        let bytes = vec![0x0a, 1, n];
        let overrides = String::new();
        let commitment = super::super::commit(&salt, "Vehicle", &bytes, &overrides);
        Imported { record: bytes, keys: vec![("vehicle.vin".to_owned(), n.to_string())], salt, commitment, overrides }
    }

    fn staged(folder: &Path, count: u8) -> Staged {
        let mut staging = Staging::begin(&Folder::new(folder)).unwrap();
        for n in 0..count {
            staging.put(&record(n)).unwrap();
        }
        let accepted = u64::from(count);
        let counts = Counts { rows: accepted + 1, accepted, rejected: 1, ..Counts::default() };
        let root = Digest::of(b"root").to_string();
        let (record_type, authority) = ("Vehicle".to_owned(), "REPUVE".to_owned());
        staging.finish(Head { record_type, authority, provenance: None, counts, root, part: None }).unwrap()
    }

    fn pending(folder: &Path) -> Result<Vec<Staged>, StageError> {
        Folder::new(folder).pending()
    }

    #[test]
    fn records_are_found_only_after_their_entry() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("imports");
        let mut store = RecordStore::open_with(&NodeDir::new(dir.path()), &Default::default()).unwrap();
        staged(&folder, 3);
        let mut found = pending(&folder).unwrap();
        assert_eq!((found.len(), found[0].head().counts.accepted, found[0].is_collected()), (1, 3, false));
        let event = found[0].event().unwrap();
        assert_eq!(event.count, 3);
        assert!(String::from_utf8(event.detail).unwrap().contains("REPUVE"));
        // Not before the entry is in the log.
        assert!(found[0].clone().store(&mut store).is_err());
        assert!(store.counts().unwrap().is_empty());
        found[0].collected().unwrap();
        // A crash here: the batch is found again, collected.
        let found = pending(&folder).unwrap().remove(0);
        assert!(found.is_collected());
        assert_eq!(found.store(&mut store).unwrap().new, 3);
        assert_eq!(store.counts().unwrap(), [("Vehicle".to_owned(), 3)]);
        assert!(pending(&folder).unwrap().is_empty());
        let heads = Folder::new(&folder).heads().unwrap();
        assert_eq!((heads.len(), heads[0].1.counts.rejected), (1, 1));
        assert_eq!(heads[0].0.with_extension("openings").metadata().unwrap().len(), 3 * 68);
    }

    #[test]
    fn one_at_a_time_carries_a_batch_on() {
        let dir = tempfile::tempdir().unwrap();
        let mut import = staged(dir.path(), 2);
        let mut node = pending(dir.path()).unwrap().remove(0);
        assert!(!node.hold(), "the import has it");
        import.release();
        assert!(node.hold());
        assert!(!import.hold(), "the node has it");
        node.collected().unwrap();
        node.release();
        assert!(!import.hold(), "the node has carried it on");
        assert!(!import.wait().unwrap());
    }

    #[test]
    fn one_import_at_a_time_and_half_written_files_are_cleared_away() {
        let dir = tempfile::tempdir().unwrap();
        let folder = Folder::new(dir.path());
        let turn = folder.enter().unwrap();
        assert!(matches!(folder.enter(), Err(StageError::Busy(_))));
        let mut dead = Staging::begin(&folder).unwrap();
        let said = RowError { line: 2, column: None, code: "x".into(), message: "m".into(), mend: "n".into() };
        dead.problem(&said, Outcome::Rejected).unwrap();
        let batch = staged(dir.path(), 1);
        std::fs::write(batch.path.with_extension("problems"), "").unwrap();
        std::fs::write(dir.path().join("orphan.problems"), "").unwrap();
        drop((turn, dead));
        let _turn = folder.enter().unwrap();
        let mut left: Vec<_> = std::fs::read_dir(dir.path()).unwrap().map(|e| e.unwrap().path()).collect();
        left.sort();
        let endings: Vec<_> = left.iter().map(|p| p.extension().unwrap_or_default().to_string_lossy()).collect();
        assert_eq!(endings, ["problems", "staged", ""], "{left:?}");
    }

    #[test]
    fn damage_is_named_and_nothing_of_it_is_pending_silently() {
        let dir = tempfile::tempdir().unwrap();
        let batch = staged(dir.path(), 3);
        let whole = std::fs::read(&batch.path).unwrap();
        for cut in 0..whole.len() {
            std::fs::write(&batch.path, &whole[..cut]).unwrap();
            assert!(pending(dir.path()).is_err(), "{cut}");
        }
        assert!(pending(&dir.path().join("none")).unwrap().is_empty());
    }
}
