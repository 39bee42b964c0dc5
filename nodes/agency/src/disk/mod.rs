//! The node's folder: journal, evidence store, log, records. What a crash may and may not take.
//!
//! **The journal is the commit point.** A batch (entries, signed head, changes of the evidence store, asides) is one
//! record: one write, one `fdatasync`. Only then is it reported durable, and only then may anything of it be
//! seen. Tiles, asides and SQLite are derived from the journal by a background thread; a journal segment is
//! removed only when all it holds is in them and synced.
//!
//! ```text
//! engine ─▶ NodeDisk::write ─▶ journal (sync) ─▶ memory ─▶ applier ─▶ log/tile/…, log/asides   (about once a second)
//!                                                  ▲                 ▶ evidence.db               (about once a second)
//! engine ◀─ EvidenceStore, LogTiles ───────────────┘
//! ```
//!
//! At start-up the journal is replayed from the last durable starting point into all three; a torn record at the end
//! was never acknowledged and is wiped; anything else that does not hold stops the start with an error that
//! names file, place and way out.

mod applier;
mod asides;
mod base;
mod codec;
mod error;
mod evidence;
mod evidence_reader;
mod export;
mod files;
mod formats;
mod journal;
mod open;
mod probe;
mod receipts;
mod rows;
mod seal;
mod segment;
mod shared;
mod snapshot;
mod store;
#[cfg(test)]
pub(crate) mod tests;
mod tiles;
mod view;

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use puente_audit_log::{Log, VerifierKey};
use puente_exchange::api::Batch;
use puente_model::Secret32;

pub use asides::split as split_aside;
pub use error::DiskError;
pub(crate) use evidence::{keep_plans, touch};
pub(crate) use export::COSIGNED;
pub use export::{ExportAsides, Exported, full_files};
pub use files::{Disk, Handle, RealDisk, Site, site};
pub use formats::{Format, Found, formats};
pub use journal::SEGMENT_BYTES;
pub use open::begin_successor;
pub use probe::Edge;
pub use snapshot::{Snapshot, snapshot_database};
pub use store::{EvidenceStore, LogTiles};
pub use view::LogView;

use codec::Content;
use evidence_reader::EvidenceReader;
use journal::Journal;
use seal::Keys;
use shared::{LogPart, Shared, Stop};

/// Changes of the evidence store in one batch.
pub const PUTS_PER_BATCH_MAX: usize = 65_536;
/// Bytes that wait for the background thread before the next batch has to wait too.
const HELD_BYTES_MAX: usize = 256 << 20;
/// How long a publication or the end may take.
const PUBLISH_MAX: Duration = Duration::from_secs(120);

/// What start-up found.
#[derive(Debug)]
pub struct Recovered {
    /// The log at its newest durable head, its right edge verified.
    pub tree: Log,
    /// Number of the newest durable batch in the life of this folder; 0 if there was none.
    pub position: u64,
    /// Batches read back from the journal.
    pub replayed: u64,
    /// Bytes of a batch that was being written when the node went down; wiped.
    pub torn_bytes: usize,
}

/// How the disk is doing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DiskStatus {
    /// Newest durable batch.
    pub position: u64,
    /// Entries in durable batches.
    pub size: u64,
    /// Durable batches whose values are not yet in SQLite.
    pub lag: u64,
    /// Entries under the checkpoint that auditors see.
    pub published: u64,
    /// Duration of the last write and sync of a batch, in microseconds.
    pub sync_micros: u64,
    /// Journal segments.
    pub segments: usize,
    /// Why nothing is written any more, if so.
    pub failed: Option<String>,
}

struct Inner {
    disk: Arc<dyn Disk>,
    shared: Arc<Shared>,
    keys: Keys,
    root: PathBuf,
    database: PathBuf,
    journal: Mutex<Journal>,
    applier: Mutex<Option<JoinHandle<()>>>,
    _lock: File,
}

impl Inner {
    fn end(&self, stop: Stop) {
        self.shared.lock().stop.get_or_insert(stop);
        self.shared.work.notify_all();
        let thread = self.applier.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread
            && thread.join().is_err()
        {
            self.shared.fail("the applier's thread panicked".to_owned());
        }
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        // The journal holds whatever was not applied.
        self.end(Stop::Now);
    }
}

/// The durable side of a node. Cheap to clone.
///
/// Promise: when [`NodeDisk::write`] returns, the batch survives a crash, whole; what it did not return from survives
/// whole or not at all. Thief: whoever reads the folder without `store.key` reads entries, heads, asides and
/// the agency's own records, and no opening, payload or content key.
#[derive(Clone)]
pub struct NodeDisk(Arc<Inner>);

impl NodeDisk {
    /// Opens the journal, the log and the evidence store under `dir`, creating what is missing.
    ///
    /// `log` is the log's own key; its name is the origin.
    ///
    /// # Errors
    /// The folder is in use, unreadable, damaged, sealed with another key, or contradicts a signed head.
    pub fn open(dir: &Path, store_key: &Secret32, log: &VerifierKey) -> Result<(Self, Recovered), DiskError> {
        Self::open_on(Arc::new(RealDisk), dir, store_key, log, SEGMENT_BYTES)
    }

    /// The same on a disk of the caller's, with journal segments of `segment_bytes`: for fault suites.
    ///
    /// # Errors
    /// As [`NodeDisk::open`].
    pub fn open_on(
        disk: Arc<dyn Disk>,
        dir: &Path,
        store_key: &Secret32,
        log: &VerifierKey,
        segment_bytes: u64,
    ) -> Result<(Self, Recovered), DiskError> {
        open::open(disk, dir, store_key, log, segment_bytes)
    }

    /// Makes a batch durable; blocks for one write and one sync. Batches come one after the other, in order.
    ///
    /// # Errors
    /// The batch does not follow the one before it, or the disk failed: now or earlier. Nothing is retried.
    pub fn write(&self, batch: Batch) -> Result<(), DiskError> {
        let shared = &self.0.shared;
        let mut journal = self.0.journal.lock().unwrap_or_else(PoisonError::into_inner);
        let size = {
            let state = shared.wait_until(None, |state| state.held < HELD_BYTES_MAX || state.failed.is_some())?;
            if let Some(reason) = &state.failed {
                return Err(DiskError::Stopped { reason: reason.clone() });
            }
            state.size
        };
        let Batch { first_index, entries, checkpoint, puts, asides, .. } = batch;
        if !entries.is_empty() && (first_index.0 != size || checkpoint.is_empty()) {
            let found = first_index.0;
            return Err(DiskError::Unfit(format!("entries from {found} on, with their head, were to follow {size}")));
        }
        if puts.len() > PUTS_PER_BATCH_MAX {
            return Err(DiskError::Unfit(format!("{} changes; at most {PUTS_PER_BATCH_MAX}", puts.len())));
        }
        let content = Content { first_index: first_index.0, entries, checkpoint, puts, asides };
        let began = Instant::now();
        let appended = match journal.append(&content) {
            Ok(appended) => appended,
            Err(error) => {
                shared.fail(error.to_string());
                return Err(error);
            }
        };
        let Content { entries, checkpoint, puts, asides, .. } = content;
        let mut state = shared.lock();
        state.sync_micros = u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX);
        // The applier wakes by itself for values, and gathers entries once it has been told of the first.
        let first = state.inbox.is_empty();
        state.segments.extend(appended.rolled);
        state.take_in(appended.position, LogPart { entries, checkpoint, asides }, puts);
        drop(state);
        if first {
            shared.work.notify_one();
        }
        Ok(())
    }

    /// The evidence store for the engine, on a connection of its own.
    ///
    /// # Errors
    /// SQLite cannot open it.
    pub fn store(&self) -> Result<EvidenceStore, DiskError> {
        let reader = EvidenceReader::open(&self.0.database, &self.0.keys)?;
        Ok(EvidenceStore { shared: Arc::clone(&self.0.shared), reader, root: self.0.root.clone() })
    }

    /// The log's files for the engine.
    pub fn tiles(&self) -> LogTiles {
        LogTiles { shared: Arc::clone(&self.0.shared), disk: Arc::clone(&self.0.disk), root: self.0.root.clone() }
    }

    /// Publishes the newest durable head in `log/` and waits until it is there. Returns its size.
    ///
    /// # Errors
    /// The applier failed, now or earlier.
    pub fn publish(&self) -> Result<u64, DiskError> {
        let mine = {
            let mut state = self.0.shared.lock();
            state.publish_asked += 1;
            state.publish_asked
        };
        self.0.shared.work.notify_all();
        let state = self.0.shared.wait_until(Some(PUBLISH_MAX), |state| state.publish_done >= mine)?;
        Ok(state.published.as_ref().map_or(0, |published| published.size))
    }

    /// Copies a consistent snapshot of the log into `to`: full tiles and bundles, the edge, the checkpoint, asides.
    /// Repeated into the same directory it copies what is new.
    ///
    /// # Errors
    /// A file cannot be read or written.
    pub fn export(&self, to: &Path, which: &ExportAsides<'_>) -> Result<Exported, DiskError> {
        self.publish()?;
        let published = self.0.shared.lock().published.clone();
        match published {
            Some(published) => export::export(self.0.disk.as_ref(), &self.0.root, &published, to, which),
            None => Ok(Exported { size: 0, files: 0, asides: 0 }),
        }
    }

    /// What auditors may read now; none before the first publication.
    pub fn view(&self) -> Option<LogView> {
        let published = self.0.shared.lock().published.clone();
        // Before the first head there is nothing to read under.
        let published = published.filter(|published| !published.edge.is_empty());
        published.map(|published| LogView::new(Arc::clone(&self.0.disk), &self.0.root, published))
    }

    /// Copies what a backup cannot read where it lies: `evidence.db`, the journal's segments, the log's edge and
    /// head. Full tiles and bundles never change and `log/asides` only grows, so that the caller reads them in place.
    /// Writes wait while the segments are copied, not while the database is.
    ///
    /// # Errors
    /// The applier failed, or a file cannot be read or written.
    pub fn snapshot(&self, to: &Path) -> Result<Snapshot, DiskError> {
        let inner = &self.0;
        let (pinned, snapshot) = {
            let _journal = inner.journal.lock().unwrap_or_else(PoisonError::into_inner);
            self.publish()?;
            // In this order: a database that is pinned keeps every segment that it would be replayed from.
            let pinned = snapshot::Pinned::new(&inner.database)?;
            let state = inner.shared.lock();
            snapshot::copy_segments(inner.disk.as_ref(), &state, &to.join("journal"))?;
            let published = state.published.clone();
            drop(state);
            let Some(published) = published else { return Err(DiskError::Unfit("nothing was published".to_owned())) };
            snapshot::copy_edge(inner.disk.as_ref(), &published, &to.join("log"))?;
            (pinned, Snapshot { size: published.size, asides_len: published.asides_len })
        };
        pinned.copy(&to.join("evidence.db"))?;
        Ok(snapshot)
    }

    /// Duration of the last write and sync of a batch, in microseconds.
    pub fn sync_micros(&self) -> u64 {
        self.0.shared.lock().sync_micros
    }

    /// How the disk is doing.
    pub fn status(&self) -> DiskStatus {
        let state = self.0.shared.lock();
        DiskStatus {
            position: state.position,
            size: state.size,
            lag: state.position.saturating_sub(state.applied),
            published: state.published.as_ref().map_or(0, |published| published.size),
            sync_micros: state.sync_micros,
            segments: state.segments.len(),
            failed: state.failed.clone(),
        }
    }

    /// Applies and publishes everything and moves the start of the next replay here. Nothing can be written afterwards.
    ///
    /// # Errors
    /// The applier failed; the journal has everything that was acknowledged.
    pub fn close(&self) -> Result<(), DiskError> {
        let _journal = self.0.journal.lock().unwrap_or_else(PoisonError::into_inner);
        self.0.end(Stop::Clean);
        let mut state = self.0.shared.lock();
        match &state.failed {
            Some(reason) => Err(DiskError::Stopped { reason: reason.clone() }),
            None => {
                state.failed = Some("the node was stopped".to_owned());
                Ok(())
            }
        }
    }
}
