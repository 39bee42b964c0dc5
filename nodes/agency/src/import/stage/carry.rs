//! Carrying a batch on: from staged to collected to stored, each step a rename.

use std::fs::File;
use std::io::{self, BufReader, Read, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use puente_exchange::api::{Conclusion, LocalEvent};
use puente_model::Secret32;

use super::openings::Openings;
use super::{Folder, Head, ITEM_BYTES_MAX, MAGIC, StageError, Step, file};
use crate::config::NodeDir;
use crate::driver::DriverHandle;
use crate::files;
use crate::records::{Inserted, NewRecord, RecordSettings, RecordStore};

/// Records that go into the record store in one transaction: each rewrites most pages of a large tree of keys, so that
/// a quarter as many would cost a third more time a record.
const CHUNK: usize = 100_000;
/// Their bytes.
const CHUNK_BYTES: usize = 32 << 20;

fn take_part<'b>(from: &mut &'b [u8]) -> Option<&'b [u8]> {
    let (len, rest) = from.split_first_chunk::<4>()?;
    let (part, rest) = rest.split_at_checked(u32::from_be_bytes(*len) as usize)?;
    *from = rest;
    Some(part)
}

pub(super) fn rename(from: &Path, to: &Path, folder: &Path) -> Result<(), StageError> {
    std::fs::rename(from, to).map_err(file(from))?;
    File::open(folder).and_then(|f| f.sync_all()).map_err(file(folder))
}

/// A batch that is whole on disk: staged, or already collected.
#[derive(Debug, Clone)]
pub struct Staged {
    pub(super) path: PathBuf,
    pub(super) head: Head,
    pub(super) folder: Folder,
    /// Locked while somebody carries the batch on.
    pub(super) hold: Option<Arc<File>>,
}

pub(super) fn read_head(path: &Path) -> Result<Head, StageError> {
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
        let mut names = Names { record_type: self.head.record_type.as_str().into(), keys: Vec::new() };
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
            let (record, salt, overrides) = names.item(&bytes).ok_or_else(|| damaged(at))?;
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
        let mut openings = Openings::begin(self.path.with_extension("openings-part"))?;
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
            openings.put(salt, &record, overrides)?;
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
        let draft = openings.finish()?;
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
}

/// Names that every record of a batch has, kept once.
struct Names {
    record_type: Arc<str>,
    keys: Vec<Arc<str>>,
}

impl Names {
    fn item(&mut self, bytes: &[u8]) -> Option<(NewRecord, Secret32, String)> {
        let (salt, mut rest) = bytes.split_first_chunk::<32>()?;
        let bytes = take_part(&mut rest)?.to_vec();
        let overrides = text(take_part(&mut rest)?)?.to_owned();
        let mut keys = Vec::new();
        while !rest.is_empty() {
            keys.push((self.key(text(take_part(&mut rest)?)?), text(take_part(&mut rest)?)?.to_owned()));
        }
        let record = NewRecord { record_type: Arc::clone(&self.record_type), bytes, keys };
        Some((record, Secret32::new(*salt), overrides))
    }

    fn key(&mut self, name: &str) -> Arc<str> {
        // A record type has few keys.
        let known = self.keys.iter().find(|known| ***known == *name).map(Arc::clone);
        known.unwrap_or_else(|| {
            let new: Arc<str> = name.into();
            self.keys.push(Arc::clone(&new));
            new
        })
    }
}

fn text(part: &[u8]) -> Option<&str> {
    std::str::from_utf8(part).ok()
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
