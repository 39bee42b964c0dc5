//! Records that have been kept as long as they may be are erased, after the log says so.
//!
//! ```text
//! retention/<root>.due        which records are erased next, synced; the log may not hold their ERASE yet
//! retention/<root>.recorded   the log holds it: they are being erased
//! retention/<root>.erased     they are; what opens their commitments is being destroyed
//! retention/last.json         when the job last went through, and how many records it erased since the node was made
//! ```
//!
//! How long is the catalogue's word (`kept_days_max` and `erased_at_end` of a record type). ERASE carries type, count and a
//! root over a fresh salt and the records' identities; the salt goes with the file, so nothing that is left tells what was
//! erased. What opens the commitments that COLLECT once made of them goes as well; the commitments stay, so that every other
//! record of their batch can still be shown to be in it. Each step is a rename or one transaction: a crash repeats the step
//! that it interrupted, ERASE is recorded once for a batch, and erasing what is gone changes nothing. An agency's own tables,
//! read in place, are never touched.
//!
//! Each record is read once, in the first pass after it came, to note when it will be due, and once more when it is.

mod batch;
#[cfg(test)]
pub(crate) mod tests;
mod training;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};

use puente_catalogue::{Catalogue, RecordType};
use puente_exchange::api::{Conclusion, LocalEvent};
use puente_model::Millis;
use serde::{Deserialize, Serialize};

use crate::config::NodeDir;
use crate::files;
use crate::import::stage::{Folder, StageError, Turn};
use crate::records::{Looked, RecordSettings, RecordStore, RecordsError};

use batch::Batch;

/// Records under one ERASE.
pub(crate) const BATCH_RECORDS: usize = 10_000;
/// Records that are read at once.
const PAGE_RECORDS: usize = 2_000;
/// Batches whose openings are destroyed in one reading of all of their type's.
const BATCHES_AT_ONCE: usize = 50;

/// Why the job did not go through. What it had recorded stays, and the next time it goes on from there.
#[derive(Debug, thiserror::Error)]
pub enum RetentionError {
    /// The record store.
    #[error(transparent)]
    Store(#[from] RecordsError),
    /// What opens the commitments of imported records.
    #[error(transparent)]
    Openings(#[from] StageError),
    /// A file of the job's.
    #[error("{path}: {error}")]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// The log takes no entries: nothing is erased without one.
    #[error("the log takes no entries: nothing is erased without one")]
    Log,
}

impl RetentionError {
    /// What to do about it.
    pub fn mend(&self) -> String {
        match self {
            Self::Store(error) => error.mend(),
            Self::Openings(_) => "mend the file that it names; the job goes on from there".to_owned(),
            Self::File { .. } => "check who owns the folder retention of the node, and the disk".to_owned(),
            Self::Log => "see 'puente node status'; the job goes on once the log takes entries".to_owned(),
        }
    }
}

fn file(path: &Path) -> impl FnOnce(io::Error) -> RetentionError + '_ {
    move |error| RetentionError::File { path: path.to_owned(), error }
}

/// What the job did last, as the node's folder keeps it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Last {
    /// When it last went through; milliseconds since 1970.
    pub at: u64,
    /// Records that it erased since the node was made.
    pub erased: u64,
}

impl Last {
    /// What the folder says; nothing before the first time, or if it cannot be read.
    pub fn read(dir: &NodeDir) -> Self {
        files::read(&dir.retention().join("last.json"))
            .ok()
            .and_then(|bytes| serde_json::from_slice(&bytes).ok())
            .unwrap_or_default()
    }
}

/// Where a log takes ERASE: the running node's engine.
pub trait Recorder {
    /// Records the event, once for each details.
    fn record(&self, event: LocalEvent) -> impl Future<Output = Option<Conclusion>> + Send;
}

impl Recorder for crate::driver::DriverHandle {
    async fn record(&self, event: LocalEvent) -> Option<Conclusion> {
        self.event(event).await.ok()
    }
}

/// Records that were erased, by type.
pub type Gone = BTreeMap<String, u64>;

/// The job for one node's own store.
#[derive(Clone, Copy)]
pub struct Retention<'n> {
    /// The node's folder.
    pub dir: &'n NodeDir,
    /// Where its records are.
    pub settings: &'n RecordSettings,
    /// How long each type is kept.
    pub catalogue: &'n Catalogue,
}

impl Retention<'_> {
    /// How many records of each type are due at this time: nothing is changed. Blocks.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn due(&self, now: Millis) -> Result<Gone, RetentionError> {
        let Some(mut store) = self.store()? else { return Ok(Gone::new()) };
        let mut out = Gone::new();
        for (kind, rule) in self.limited() {
            let mut after = store.looked_upto(kind.name(), &rule)?;
            // What another rule said counts for nothing.
            let mut count = if after > 0 { store.count_due(kind.name(), now)? } else { 0 };
            while let Some((looked, more)) = look(&mut store, kind, after)? {
                count += looked.iter().filter(|(_, at)| at.is_some_and(|at| at <= now)).count() as u64;
                after = looked.last().map_or(after, |(place, _)| *place);
                if !more {
                    break;
                }
            }
            out.insert(kind.name().to_owned(), count);
        }
        Ok(out)
    }

    /// Erases what is due, batch after batch; what an earlier time left undone first. Returns how many records of each
    /// type are gone.
    ///
    /// # Errors
    /// [`RetentionError`]; what was erased before stays erased, and stands in the log.
    pub async fn run(&self, log: &impl Recorder, now: Millis) -> Result<Gone, RetentionError> {
        let mut gone = Gone::new();
        if self.settings.mapping.is_some() {
            return Ok(gone);
        }
        self.finish_earlier(log, &mut gone).await?;
        for (kind, rule) in self.limited() {
            tokio::task::block_in_place(|| self.note_new(kind, &rule))?;
            loop {
                let records = tokio::task::block_in_place(|| self.next(kind, &rule, now))?;
                if records.is_empty() {
                    break;
                }
                let path = self.stage(kind.name(), &rule, false, &records)?;
                self.carry_on(path, log, &mut gone).await?;
                if self.files(&["erased"])?.len() >= BATCHES_AT_ONCE {
                    tokio::task::block_in_place(|| self.forget())?;
                }
            }
        }
        // While an import runs its openings are still to come: an hour later there is another look.
        let through = tokio::task::block_in_place(|| self.forget())?;
        self.note_last(now, through, &gone)?;
        Ok(gone)
    }

    /// What an earlier time staged goes first.
    async fn finish_earlier(&self, log: &impl Recorder, gone: &mut Gone) -> Result<(), RetentionError> {
        for path in self.files(&["due", "recorded"])? {
            self.carry_on(path, log, gone).await?;
        }
        Ok(())
    }

    fn note_last(&self, now: Millis, through: bool, gone: &Gone) -> Result<(), RetentionError> {
        let before = Last::read(self.dir);
        let at = if through { now.0 } else { before.at };
        let last = Last { at, erased: before.erased + gone.values().sum::<u64>() };
        let path = self.folder()?.join("last.json");
        let bytes = serde_json::to_vec(&last).map_err(|error| file(&path)(error.into()))?;
        files::replace(&path, &bytes, true).map_err(file(&path))
    }

    /// Types that are not kept for ever, and until when.
    fn limited(&self) -> impl Iterator<Item = (&RecordType, String)> {
        self.catalogue.record_types().iter().filter_map(|kind| Some((kind, kind.erased_when()?)))
    }

    fn store(&self) -> Result<Option<RecordStore>, RetentionError> {
        match RecordStore::open_with(self.dir, self.settings) {
            Ok(store) => Ok(Some(store)),
            Err(RecordsError::InPlace) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    fn folder(&self) -> Result<PathBuf, RetentionError> {
        let folder = self.dir.retention();
        files::make_private_dir(&folder).map_err(file(&folder))?;
        Ok(folder)
    }

    /// Notes when the records that came since the last time will be due.
    fn note_new(&self, kind: &RecordType, rule: &str) -> Result<(), RetentionError> {
        let Some(mut store) = self.store()? else { return Ok(()) };
        let mut after = store.looked_upto(kind.name(), rule)?;
        while let Some((looked, more)) = look(&mut store, kind, after)? {
            store.note_due(kind.name(), rule, &looked)?;
            after = looked.last().map_or(after, |(place, _)| *place);
            if !more {
                break;
            }
        }
        Ok(())
    }

    /// The next records that are due, at most a batch of them.
    fn next(&self, kind: &RecordType, rule: &str, now: Millis) -> Result<Vec<Vec<u8>>, RetentionError> {
        let Some(mut store) = self.store()? else { return Ok(Vec::new()) };
        loop {
            let mut due = store.due(kind.name(), now, BATCH_RECORDS)?;
            // The note is the index's word; whether a record goes is its own.
            let at = |bytes: &[u8]| kind.due_at(bytes).ok().flatten();
            let wrong: Vec<Looked> = due
                .iter()
                .map(|(place, bytes)| (*place, at(bytes)))
                .filter(|(_, at)| at.is_none_or(|at| at > now))
                .collect();
            if wrong.is_empty() {
                return Ok(due.into_iter().map(|(_, bytes)| bytes).collect());
            }
            store.note_due(kind.name(), rule, &wrong)?;
            due.retain(|(place, _)| wrong.iter().all(|(other, _)| other != place));
            if !due.is_empty() {
                return Ok(due.into_iter().map(|(_, bytes)| bytes).collect());
            }
        }
    }

    /// Writes down which records go, before anything says so.
    fn stage(&self, name: &str, rule: &str, training: bool, records: &[Vec<u8>]) -> Result<PathBuf, RetentionError> {
        let folder = self.folder()?;
        let batch = Batch::of(name, rule, training, records.iter().map(Vec::as_slice)).map_err(file(&folder))?;
        let path = folder.join(format!("{}.due", batch.name()));
        let bytes = serde_json::to_vec(&batch).map_err(|error| file(&path)(error.into()))?;
        files::replace(&path, &bytes, true).map_err(file(&path))?;
        Ok(path)
    }

    /// Batches with one of these endings.
    fn files(&self, endings: &[&str]) -> Result<Vec<PathBuf>, RetentionError> {
        let folder = self.folder()?;
        let entries = std::fs::read_dir(&folder).map_err(file(&folder))?;
        let mut out = Vec::new();
        for entry in entries {
            let path = entry.map_err(file(&folder))?.path();
            if path.extension().is_some_and(|ending| endings.iter().any(|other| ending == *other)) {
                out.push(path);
            }
        }
        out.sort();
        Ok(out)
    }

    /// From wherever a batch is: the log holds its ERASE, then its records are erased.
    async fn carry_on(&self, path: PathBuf, log: &impl Recorder, gone: &mut Gone) -> Result<(), RetentionError> {
        let batch = read(&path)?;
        let recorded = path.with_extension("recorded");
        if path != recorded {
            match log.record(batch.event()).await {
                Some(Conclusion::Recorded { .. }) => {}
                _ => return Err(RetentionError::Log),
            }
            files::rename(&path, &recorded).map_err(file(&path))?;
        }
        let records = batch.records().map_err(file(&recorded))?;
        let erased = tokio::task::block_in_place(|| match self.store()? {
            Some(mut store) => Ok::<u64, RetentionError>(store.erase(&records)?),
            None => Ok(0),
        })?;
        *gone.entry(batch.event().record_type).or_default() += erased;
        files::rename(&recorded, &path.with_extension("erased")).map_err(file(&recorded))
    }

    /// Destroys what opens the commitments of records that are erased; false while an import runs, which may be about to
    /// write some.
    fn forget(&self) -> Result<bool, RetentionError> {
        let paths = self.files(&["erased"])?;
        if paths.is_empty() {
            return Ok(true);
        }
        let folder = Folder::new(&self.dir.imports());
        let Some(turn) = enter(&folder)? else { return Ok(false) };
        for some in paths.chunks(BATCHES_AT_ONCE) {
            let mut erased: BTreeMap<String, BTreeSet<_>> = BTreeMap::new();
            for path in some {
                let batch = read(path)?;
                let digests: Vec<_> = batch.openings().map_err(file(path))?;
                erased.entry(batch.record_type().to_owned()).or_default().extend(digests);
            }
            for (record_type, digests) in &erased {
                folder.forget(&turn, record_type, digests)?;
            }
            some.iter().try_for_each(|path| std::fs::remove_file(path).map_err(file(path)))?;
        }
        Ok(true)
    }
}

/// The turn to change what imports left; none while one runs.
fn enter(folder: &Folder) -> Result<Option<Turn>, RetentionError> {
    match folder.enter() {
        Ok(turn) => Ok(Some(turn)),
        Err(StageError::Busy(_)) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

fn read(path: &Path) -> Result<Batch, RetentionError> {
    let bytes = files::read(path).map_err(file(path))?;
    serde_json::from_slice(&bytes).map_err(|error| file(path)(error.into()))
}

/// A page of records after a place, each with when it is due, and whether there may be more; none if there is none.
fn look(store: &mut RecordStore, kind: &RecordType, after: i64) -> Result<Option<(Vec<Looked>, bool)>, RetentionError> {
    let page = store.page(kind.name(), after, PAGE_RECORDS)?;
    let more = page.len() == PAGE_RECORDS;
    // What is no record of the type any more is not understood, so not erased.
    let looked: Vec<Looked> = page.iter().map(|(place, bytes)| (*place, kind.due_at(bytes).ok().flatten())).collect();
    Ok((!looked.is_empty()).then_some((looked, more)))
}
