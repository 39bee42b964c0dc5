//! Records that have been kept as long as they may be are erased, after the log says so.
//!
//! ```text
//! retention/<root>.due        which records are erased next, synced; the log may not hold their ERASE yet
//! retention/<root>.recorded   the log holds it: they are being erased
//! retention/last.json         when the job last went through, and how many records it erased since the node was made
//! ```
//!
//! How long is the catalogue's word (`kept_days_max` of a record type). ERASE carries type, count and a root over a fresh
//! salt and the records' identities; the salt goes with the file, so nothing that is left tells what was erased. Each step
//! is a rename or one transaction: a crash repeats the step that it interrupted, ERASE is recorded once for a batch, and
//! erasing what is gone changes nothing. An agency's own tables, read in place, are never touched.

#[cfg(test)]
pub(crate) mod tests;

use std::io;
use std::path::{Path, PathBuf};

use puente_catalogue::Catalogue;
use puente_exchange::api::{Conclusion, LocalEvent};
use puente_model::{Digest, EventKind, Label, Millis, digest};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::config::NodeDir;
use crate::files;
use crate::records::{RecordSettings, RecordStore, RecordsError, identity};

/// Records under one ERASE.
pub(crate) const BATCH_RECORDS: usize = 10_000;
/// Records that are read at once.
const PAGE_RECORDS: usize = 2_000;
const ROOT: Label = Label("puente/v1/erased");

/// Why the job did not go through. What it had recorded stays, and the next time it goes on from there.
#[derive(Debug, thiserror::Error)]
pub enum RetentionError {
    /// The record store.
    #[error(transparent)]
    Store(#[from] RecordsError),
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
            Self::File { .. } => "check who owns the folder retention of the node, and the disk".to_owned(),
            Self::Log => "see 'puente node status'; the job goes on once the log takes entries".to_owned(),
        }
    }
}

fn file(path: &Path) -> impl FnOnce(io::Error) -> RetentionError + '_ {
    move |error| RetentionError::File { path: path.to_owned(), error }
}

/// Records of one type that are erased under one ERASE.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Batch {
    record_type: String,
    /// Days after which they had to go.
    days: u64,
    /// Over the salt and the identities, ascending.
    root: Digest32,
    records: Vec<Digest32>,
}

/// A digest as a file of the job's holds it.
#[derive(Clone, Serialize, Deserialize)]
#[serde(transparent)]
struct Digest32(String);

impl Batch {
    fn of(record_type: &str, days: u64, mut records: Vec<Digest>) -> io::Result<Self> {
        let salt = files::fresh_secret()?;
        records.sort_unstable();
        let mut covered: Vec<&[u8]> = vec![salt.expose().as_slice()];
        covered.extend(records.iter().map(|record| record.as_bytes().as_slice()));
        let root = Digest32(digest(ROOT, &covered).to_string());
        let records = records.iter().map(|record| Digest32(record.to_string())).collect();
        Ok(Self { record_type: record_type.to_owned(), days, root, records })
    }

    /// The entry that says that they go.
    fn event(&self) -> LocalEvent {
        let count = self.records.len() as u64;
        let (root, record_type) = (&self.root, &self.record_type);
        let detail = json!({"root": root, "count": count, "record_type": record_type, "kept_days_max": self.days});
        LocalEvent {
            kind: EventKind::Erase,
            record_type: self.record_type.clone(),
            count,
            purpose: None,
            basis: None,
            role: None,
            detail: detail.to_string().into_bytes(),
        }
    }
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

/// The job for one node's own store.
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
    pub fn due(&self, now: Millis) -> Result<Vec<(String, u64)>, RetentionError> {
        let Some(mut store) = self.store()? else { return Ok(Vec::new()) };
        let mut out = Vec::new();
        for record_type in self.catalogue.record_types().iter().filter(|kind| kind.kept_days_max().is_some()) {
            let mut count = 0;
            let mut after = 0;
            loop {
                let (found, next) = overdue(&mut store, record_type, after, now)?;
                count += found.len() as u64;
                let Some(next) = next else { break };
                after = next;
            }
            out.push((record_type.name().to_owned(), count));
        }
        Ok(out)
    }

    /// Erases what is due, batch after batch; what an earlier time left undone first. Returns how many records of each
    /// type are gone.
    ///
    /// # Errors
    /// [`RetentionError`]; what was erased before stays erased, and stands in the log.
    pub async fn run(&self, log: &impl Recorder, now: Millis) -> Result<Vec<(String, u64)>, RetentionError> {
        let mut gone: std::collections::BTreeMap<String, u64> = std::collections::BTreeMap::new();
        if self.settings.mapping.is_some() {
            return Ok(Vec::new());
        }
        for path in self.pending()? {
            let (record_type, count) = self.carry_on(path, log).await?;
            *gone.entry(record_type).or_default() += count;
        }
        for record_type in self.catalogue.record_types() {
            let Some(days) = record_type.kept_days_max() else { continue };
            loop {
                let records = tokio::task::block_in_place(|| self.next(record_type, now))?;
                if records.is_empty() {
                    break;
                }
                let path = self.stage(record_type.name(), days, records)?;
                let (name, count) = self.carry_on(path, log).await?;
                *gone.entry(name).or_default() += count;
            }
        }
        let before = Last::read(self.dir);
        let last = Last { at: now.0, erased: before.erased + gone.values().sum::<u64>() };
        let path = self.folder()?.join("last.json");
        let bytes = serde_json::to_vec(&last).map_err(|error| file(&path)(error.into()))?;
        files::replace(&path, &bytes, true).map_err(file(&path))?;
        Ok(gone.into_iter().collect())
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

    /// The identities of the next records that are due, at most a batch of them.
    fn next(&self, record_type: &puente_catalogue::RecordType, now: Millis) -> Result<Vec<Digest>, RetentionError> {
        let Some(mut store) = self.store()? else { return Ok(Vec::new()) };
        let (mut out, mut after) = (Vec::new(), 0);
        while out.len() + PAGE_RECORDS <= BATCH_RECORDS {
            let (found, next) = overdue(&mut store, record_type, after, now)?;
            out.extend(found);
            let Some(next) = next else { break };
            after = next;
        }
        Ok(out)
    }

    /// Writes down which records go, before anything says so.
    pub(crate) fn stage(&self, name: &str, days: u64, records: Vec<Digest>) -> Result<PathBuf, RetentionError> {
        let folder = self.folder()?;
        let batch = Batch::of(name, days, records).map_err(file(&folder))?;
        let path = folder.join(format!("{}.due", batch.root.0));
        let bytes = serde_json::to_vec(&batch).map_err(|error| file(&path)(error.into()))?;
        files::replace(&path, &bytes, true).map_err(file(&path))?;
        Ok(path)
    }

    /// Batches that a time before left undone.
    fn pending(&self) -> Result<Vec<PathBuf>, RetentionError> {
        let folder = self.folder()?;
        let entries = std::fs::read_dir(&folder).map_err(file(&folder))?;
        let mut out = Vec::new();
        for entry in entries {
            let path = entry.map_err(file(&folder))?.path();
            if path.extension().is_some_and(|ending| ending == "due" || ending == "recorded") {
                out.push(path);
            }
        }
        out.sort();
        Ok(out)
    }

    /// From wherever a batch is: the log holds its ERASE, then its records are erased, then its file goes.
    async fn carry_on(&self, path: PathBuf, log: &impl Recorder) -> Result<(String, u64), RetentionError> {
        let bytes = files::read(&path).map_err(file(&path))?;
        let batch: Batch = serde_json::from_slice(&bytes).map_err(|error| file(&path)(error.into()))?;
        let recorded = path.with_extension("recorded");
        if path != recorded {
            match log.record(batch.event()).await {
                Some(Conclusion::Recorded { .. }) => {}
                _ => return Err(RetentionError::Log),
            }
            files::rename(&path, &recorded).map_err(file(&path))?;
        }
        let parse = |text: &Digest32| text.0.parse().map_err(|_| file(&recorded)(io::ErrorKind::InvalidData.into()));
        let records = batch.records.iter().map(parse).collect::<Result<Vec<Digest>, _>>()?;
        let erased = tokio::task::block_in_place(|| match self.store()? {
            Some(mut store) => Ok::<u64, RetentionError>(store.erase(&records)?),
            None => Ok(0),
        })?;
        std::fs::remove_file(&recorded).map_err(file(&recorded))?;
        Ok((batch.record_type, erased))
    }
}

/// Records of a page that are due, and the place after which the next page begins; none after the last.
fn overdue(
    store: &mut RecordStore,
    record_type: &puente_catalogue::RecordType,
    after: i64,
    now: Millis,
) -> Result<(Vec<Digest>, Option<i64>), RetentionError> {
    let page = store.page(record_type.name(), after, PAGE_RECORDS)?;
    let next = page.last().map(|(place, _)| *place).filter(|_| page.len() == PAGE_RECORDS);
    // What is no record of the type any more is not understood, so not erased.
    let due = page.iter().filter(|(_, bytes)| record_type.is_overdue(bytes, now).unwrap_or(false));
    Ok((due.map(|(_, bytes)| identity(record_type.name(), bytes)).collect(), next))
}
