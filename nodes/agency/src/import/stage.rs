//! Records on their way in: staged in a file until the log holds their COLLECT entry, then stored.
//!
//! ```text
//! imports/<batch>.part        being written; worthless after a crash
//! imports/<batch>.staged      whole and synced; not yet in the log
//! imports/<batch>.collected   the log holds the COLLECT entry; on its way into the record store
//! imports/<batch>.openings    stored; opens each record's commitment:
//!                             (salt, 32 bytes ‖ SHA-256 of the record ‖ u32be length ‖ overrides)*
//! ```
//!
//! Only the record store is looked up, so no staged record can be answered
//! with (record before reveal). Each step is a rename: a crash repeats the
//! step it interrupted. A crash between the entry and the rename can record one
//! batch's COLLECT twice, with the same root; records are stored once.
//!
//! Whoever carries a batch on holds a lock on its file, so that an import and a node that is just starting never
//! both do. The system lets go of it when the process ends.

use std::fs::{File, OpenOptions};
use std::io::{self, BufReader, BufWriter, Read, Seek as _, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use puente_exchange::api::{Conclusion, LocalEvent};
use puente_model::{Digest, Secret32};
use serde::{Deserialize, Serialize};

use super::{Imported, Summary};
use crate::config::NodeDir;
use crate::driver::DriverHandle;
use crate::files;
use crate::records::{NewRecord, RecordStore, RecordsError};

const MAGIC: &[u8; 8] = b"puenteI2";
/// One staged record, in bytes.
const ITEM_BYTES_MAX: u32 = 4 << 20;
/// Records that go into the record store in one transaction.
const CHUNK: usize = 1_000;

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

/// What a staged batch is.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Head {
    record_type: String,
    authority: String,
    rows: u64,
    accepted: u64,
    rejected: u64,
    warnings: u64,
    overridden: u64,
    root: String,
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
    folder: PathBuf,
    part: PathBuf,
    to: BufWriter<File>,
}

impl Staging {
    /// Begins a batch in `folder` (`imports/` of a node's folder).
    ///
    /// # Errors
    /// The folder or file cannot be made.
    pub fn begin(folder: &Path) -> Result<Self, StageError> {
        files::make_private_dir(folder).map_err(file(folder))?;
        let mut name = [0; 16];
        remove_leftovers(folder);
        getrandom::fill(&mut name).map_err(|error| StageError::File {
            path: folder.to_owned(),
            error: io::Error::other(error.to_string()),
        })?;
        let part = folder.join(format!("{}.part", hex::encode(name)));
        let opened = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&part).map_err(file(&part))?;
        let mut to = BufWriter::with_capacity(256 * 1024, opened);
        to.write_all(MAGIC).map_err(file(&part))?;
        Ok(Self { folder: folder.to_owned(), part, to })
    }

    /// Takes one record in.
    ///
    /// # Errors
    /// The disk is full or failed.
    pub fn put(&mut self, record: &Imported) -> Result<(), StageError> {
        // Salt, record, overrides, then name and value of each key.
        let keys = record.keys.iter().flat_map(|(name, value)| [name, value]);
        let len = record.keys.iter().map(|(name, value)| 8 + name.len() + value.len()).sum::<usize>();
        let room = 32 + 8 + record.record.len() + record.overrides.len() + len;
        let mut bytes = zeroize::Zeroizing::new(Vec::with_capacity(room));
        bytes.extend_from_slice(record.salt.expose());
        put_part(&mut bytes, &record.record);
        put_part(&mut bytes, record.overrides.as_bytes());
        for part in keys {
            put_part(&mut bytes, part.as_bytes());
        }
        frame(&mut self.to, &bytes).map_err(file(&self.part))
    }

    /// Ends the batch: it is on disk, whole, when this returns.
    ///
    /// # Errors
    /// The disk is full or failed; nothing is staged.
    pub fn finish(mut self, summary: &Summary, record_type: &str, authority: &str) -> Result<Staged, StageError> {
        let head = Head {
            record_type: record_type.to_owned(),
            authority: authority.to_owned(),
            rows: summary.rows,
            accepted: summary.accepted,
            rejected: summary.rejected,
            warnings: summary.warnings,
            overridden: summary.overridden,
            root: summary.root.to_string(),
        };
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
        let path = self.part.with_extension("staged");
        rename(&self.part, &path, &self.folder)?;
        Ok(Staged { path, head, hold })
    }

    /// Gives the batch up.
    pub fn abandon(self) {
        let _ = std::fs::remove_file(&self.part);
    }
}

/// Batches that were being written when their import died, a day ago or longer.
fn remove_leftovers(folder: &Path) {
    let Ok(entries) = std::fs::read_dir(folder) else { return };
    for path in entries.flatten().map(|entry| entry.path()) {
        let age = path.metadata().and_then(|m| m.modified()).ok().and_then(|at| at.elapsed().ok());
        if path.extension().is_some_and(|e| e == "part") && age.is_some_and(|age| age.as_secs() > 86_400) {
            let _ = std::fs::remove_file(path);
        }
    }
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
    /// Locked while somebody carries the batch on.
    hold: Option<Arc<File>>,
}

/// Every batch of `folder` that has not been stored yet, in the order of their file names.
///
/// # Errors
/// A file cannot be read, or is damaged.
pub fn pending(folder: &Path) -> Result<Vec<Staged>, StageError> {
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(StageError::File { path: folder.to_owned(), error }),
    };
    let mut out = Vec::new();
    for entry in entries {
        let path = entry.map_err(file(folder))?.path();
        if path.extension().is_some_and(|e| e == "staged" || e == "collected") {
            out.push(Staged { head: read_head(&path)?, path, hold: None });
        }
    }
    out.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(out)
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

    /// Lets go of it.
    pub fn release(&mut self) {
        self.hold = None;
    }

    /// How many records.
    pub const fn count(&self) -> u64 {
        self.head.accepted
    }

    /// The event that the log must hold before the records are stored.
    pub fn event(&self) -> LocalEvent {
        let root = self.head.root.parse().unwrap_or_default();
        let Head { rows, accepted, rejected, warnings, overridden, .. } = self.head;
        Summary { rows, accepted, rejected, warnings, overridden, root }
            .event(&self.head.record_type, &self.head.authority)
    }

    /// Notes that the event is durable in the log.
    ///
    /// # Errors
    /// The file cannot be renamed.
    pub fn collected(&mut self) -> Result<(), StageError> {
        let path = self.path.with_extension("collected");
        rename(&self.path, &path, self.path.parent().unwrap_or(Path::new(".")))?;
        self.path = path;
        Ok(())
    }

    /// Puts a collected batch into the record store and keeps its openings. `progress` hears how many records are in.
    ///
    /// # Errors
    /// The batch is damaged or not collected, or the store refuses; repeat it once that is mended.
    pub fn store(&self, records: &mut RecordStore, progress: &mut dyn FnMut(u64)) -> Result<u64, StageError> {
        let damaged = |at| StageError::Damaged { path: self.path.clone(), at };
        if !self.is_collected() {
            return Err(damaged(0));
        }
        let mut from = BufReader::with_capacity(256 * 1024, File::open(&self.path).map_err(file(&self.path))?);
        let openings_path = self.path.with_extension("openings");
        let draft = self.path.with_extension("openings-part");
        let opened = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&draft);
        let mut openings = BufWriter::new(opened.map_err(file(&draft))?);
        let mut magic = [0; 8];
        from.read_exact(&mut magic).map_err(|_| damaged(0))?;
        if &magic != MAGIC {
            return Err(damaged(0));
        }
        let (mut at, mut stored, mut chunk) = (8, 0, Vec::with_capacity(CHUNK));
        loop {
            let mut len = [0; 4];
            from.read_exact(&mut len).map_err(|_| damaged(at))?;
            let len = u32::from_be_bytes(len);
            if len > ITEM_BYTES_MAX {
                return Err(damaged(at));
            }
            if len == 0 || chunk.len() == CHUNK {
                records.insert(&chunk)?;
                stored += chunk.len() as u64;
                chunk.clear();
                progress(stored);
            }
            if len == 0 {
                break;
            }
            let mut bytes = zeroize::Zeroizing::new(vec![0; len as usize]);
            from.read_exact(&mut bytes).map_err(|_| damaged(at))?;
            let (record, salt, overrides) = self.item(&bytes).ok_or_else(|| damaged(at))?;
            open_with(&mut openings, &salt, &record.bytes, &overrides).map_err(file(&draft))?;
            chunk.push(record);
            at += 4 + u64::from(len);
        }
        if stored != self.head.accepted {
            return Err(damaged(at));
        }
        openings.flush().and_then(|()| openings.get_ref().sync_all()).map_err(file(&draft))?;
        let folder = self.path.parent().unwrap_or(Path::new("."));
        rename(&draft, &openings_path, folder)?;
        std::fs::remove_file(&self.path).map_err(file(&self.path))?;
        Ok(stored)
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
pub async fn settle(dir: &NodeDir, driver: &DriverHandle) {
    let batches = match pending(&dir.imports()) {
        Ok(batches) => batches,
        Err(error) => return tracing::error!("imports: {error}"),
    };
    for mut batch in batches {
        if !batch.hold() {
            // Its import waits for this node and does the rest itself.
            continue;
        }
        if !batch.is_collected() {
            match driver.event(batch.event()).await {
                Ok(Conclusion::Recorded { index }) => {
                    tracing::info!(index = index.0, count = batch.count(), "collected")
                }
                _ => return tracing::error!("imports: a batch could not be recorded in the log; it stays staged"),
            }
            if let Err(error) = batch.collected() {
                return tracing::error!("imports: {error}");
            }
        }
        let dir = dir.clone();
        let stored = tokio::task::spawn_blocking(move || -> Result<u64, StageError> {
            batch.store(&mut RecordStore::open(&dir)?, &mut |_| ())
        });
        match stored.await {
            Ok(Ok(count)) => tracing::info!(count, "records stored"),
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
        let mut staging = Staging::begin(folder).unwrap();
        for n in 0..count {
            staging.put(&record(n)).unwrap();
        }
        let accepted = u64::from(count);
        let root = Digest::of(b"root");
        let summary = Summary { rows: accepted + 1, accepted, rejected: 1, warnings: 0, overridden: 0, root };
        staging.finish(&summary, "Vehicle", "REPUVE").unwrap()
    }

    #[test]
    fn records_are_found_only_after_their_entry() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("imports");
        let mut store = RecordStore::open_with(&NodeDir::new(dir.path()), &Default::default()).unwrap();
        staged(&folder, 3);
        let mut found = pending(&folder).unwrap();
        assert_eq!((found.len(), found[0].count(), found[0].is_collected()), (1, 3, false));
        let event = found[0].event();
        assert_eq!(event.count, 3);
        assert!(String::from_utf8(event.detail).unwrap().contains("REPUVE"));
        // Not before the entry is in the log.
        assert!(found[0].store(&mut store, &mut |_| ()).is_err());
        assert!(store.counts().unwrap().is_empty());
        found[0].collected().unwrap();
        // A crash here: the batch is found again, collected.
        let found = pending(&folder).unwrap();
        assert!(found[0].is_collected());
        assert_eq!(found[0].store(&mut store, &mut |_| ()).unwrap(), 3);
        assert_eq!(store.counts().unwrap(), [("Vehicle".to_owned(), 3)]);
        assert!(pending(&folder).unwrap().is_empty());
        let openings = std::fs::read_dir(&folder).unwrap().next().unwrap().unwrap();
        assert_eq!(openings.metadata().unwrap().len(), 3 * 68);
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
