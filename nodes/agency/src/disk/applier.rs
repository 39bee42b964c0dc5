//! The background thread that brings durable batches to their places: tiles, asides, SQLite.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use puente_audit_log::{ClaimedCheckpoint, Log, LogFile, VerifierKey};
use puente_model::limits::BATCH_ENTRIES_MAX;

use super::asides::{self, Asides};
use super::base::Base;
use super::error::DiskError;
use super::evidence::EvidenceWriter;
use super::files::Disk;
use super::journal::{Segment, drop_segments, prepare_spare};
use super::shared::{LogPart, Published, Shared, State, Stop};
use super::tiles::Publisher;

/// How long entries gather before they are hashed into tiles.
const GATHER: Duration = Duration::from_millis(15);
/// How long values gather before they are applied: many batches share one transaction, and of a value that
/// changes at every step of an exchange only the last version reaches the database.
const GATHER_VALUES: Duration = Duration::from_secs(1);
/// Bytes held for the applier at which values are applied at once.
const VALUES_BYTES_MAX: usize = 32 << 20;
/// How often partial tiles and the checkpoint are published.
const PUBLISH_EVERY: Duration = Duration::from_secs(1);
/// Full tiles and bundles in memory, in bytes, that are published without waiting for the second to end.
const PENDING_BYTES_MAX: usize = 64 << 20;
/// Journal segments at which the start of the next replay is moved and the filled ones are removed.
const SEGMENTS_MAX: usize = 5;

/// Takes log parts in order into a second, independent [`Log`]: it computes tiles from what is durable, not from
/// what the engine computed, and refuses a head that the entries do not give.
pub(crate) struct Mirror {
    pub(crate) log: Log,
    pub(crate) verifier: VerifierKey,
}

impl Mirror {
    /// Takes in some durable batches; returns the full files that they complete.
    pub(crate) fn take_in(&mut self, parts: &[LogPart]) -> Result<Vec<LogFile>, DiskError> {
        let mut files = Vec::new();
        let mut entries: Vec<&[u8]> = Vec::new();
        let mut head: &[u8] = &[];
        for part in parts.iter().filter(|part| !part.checkpoint.is_empty()) {
            if entries.len() + part.entries.len() > BATCH_ENTRIES_MAX {
                files.extend(self.commit(&entries, head)?);
                entries.clear();
            }
            entries.extend(part.entries.iter().map(Vec::as_slice));
            head = &part.checkpoint;
        }
        if !head.is_empty() {
            files.extend(self.commit(&entries, head)?);
        }
        Ok(files)
    }

    fn commit(&mut self, entries: &[&[u8]], head: &[u8]) -> Result<Vec<LogFile>, DiskError> {
        let unfit = |error: &dyn std::fmt::Display| DiskError::Unfit(error.to_string());
        let head = ClaimedCheckpoint::parse(head).and_then(|head| head.verify(&self.verifier));
        let head = head.map_err(|error| unfit(&error))?;
        let staged = self.log.stage(entries).map_err(|error| unfit(&error))?;
        let persisted = staged.recover(head).map_err(|error| unfit(&error))?;
        Ok(self.log.commit(persisted).map_err(|error| unfit(&error))?.files)
    }
}

/// The applier, before it has its thread.
pub(crate) struct Applier {
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) shared: Arc<Shared>,
    pub(crate) mirror: Mirror,
    pub(crate) evidence: EvidenceWriter,
    pub(crate) asides: Asides,
    pub(crate) publisher: Publisher,
    pub(crate) journal_dir: PathBuf,
    pub(crate) segment_bytes: u64,
    /// Framed asides not yet in their file.
    pub(crate) new_asides: Vec<u8>,
    /// Newest batch that `mirror` and `new_asides` have.
    pub(crate) mirrored_position: u64,
    /// Publications that were asked for before the mirror's newest batch was taken: these it can serve.
    pub(crate) publish_asked: u64,
    /// When values were last applied.
    pub(crate) values_applied: Instant,
}

enum Work {
    Apply,
    Publish,
    Stop(Stop),
}

impl Applier {
    /// Runs until it is told to stop, or something fails.
    pub(crate) fn run(mut self) {
        let mut published = Instant::now();
        // One publication, so that `log/` shows what start-up recovered, and a spare segment.
        let mut result =
            self.step().and_then(|()| self.apply_values()).and_then(|()| self.publish()).and_then(|()| self.prepare());
        while result.is_ok() {
            let work = self.wait(published);
            result = self.step().and_then(|()| if self.values_are_due() { self.apply_values() } else { Ok(()) });
            if result.is_ok() && !matches!(work, Work::Apply | Work::Stop(Stop::Now)) {
                published = Instant::now();
                result = self.publish();
            }
            if let (Ok(()), Work::Stop(stop)) = (&result, work) {
                result = if stop == Stop::Clean { self.compact(true) } else { Ok(()) };
                break;
            }
            result = result.and_then(|()| self.compact(false));
        }
        if let Err(error) = result {
            tracing::error!(%error, "derived files cannot be written; the journal holds every acknowledged batch");
            self.shared.fail(error.to_string());
        }
    }

    /// Sleeps until there is something to do, and gathers it for a moment.
    fn wait(&self, published: Instant) -> Work {
        let mut state = self.shared.lock();
        let mut gathering: Option<Instant> = None;
        loop {
            if let Some(stop) = state.stop {
                return Work::Stop(stop);
            }
            if state.failed.is_some() {
                return Work::Stop(Stop::Now);
            }
            let stale = state.published.as_ref().is_none_or(|published| published.size < state.size);
            let due = stale && published.elapsed() >= PUBLISH_EVERY;
            if due || state.publish_asked > state.publish_done || state.pending_bytes > PENDING_BYTES_MAX {
                return Work::Publish;
            }
            let mut nap = stale.then(|| PUBLISH_EVERY.saturating_sub(published.elapsed()));
            if state.is_behind() {
                let began = *gathering.get_or_insert_with(Instant::now);
                let hashing =
                    if state.inbox.is_empty() { Duration::MAX } else { GATHER.saturating_sub(began.elapsed()) };
                let applying = GATHER_VALUES.saturating_sub(self.values_applied.elapsed());
                let left = if state.held > VALUES_BYTES_MAX { Duration::ZERO } else { hashing.min(applying) };
                if left.is_zero() {
                    return Work::Apply;
                }
                nap = Some(left);
            }
            state = self.shared.wait_work(state, nap);
        }
    }

    /// Hashes new entries into tiles.
    fn step(&mut self) -> Result<(), DiskError> {
        let (parts, position) = {
            let mut state = self.shared.lock();
            let parts: Vec<LogPart> = std::mem::take(&mut state.inbox).into();
            self.publish_asked = state.publish_asked;
            (parts, state.position)
        };
        let files = self.mirror.take_in(&parts)?;
        for aside in parts.iter().flat_map(|part| &part.asides) {
            asides::frame(&mut self.new_asides, aside);
        }
        self.mirrored_position = position;
        {
            let mut state = self.shared.lock();
            state.mirrored = self.mirror.log.size().0;
            state.held = state.held.saturating_sub(parts.iter().map(LogPart::weight).sum());
            for file in files {
                state.pending_bytes += file.bytes.len();
                state.pending.insert(file.path, Arc::new(file));
            }
        }
        self.shared.progress.notify_all();
        Ok(())
    }

    fn values_are_due(&self) -> bool {
        let state = self.shared.lock();
        // Whoever waits for room, or for the end, must not wait for company.
        self.values_applied.elapsed() >= GATHER_VALUES || state.held > VALUES_BYTES_MAX || state.stop.is_some()
    }

    /// Applies every value that is durable now.
    fn apply_values(&mut self) -> Result<(), DiskError> {
        let (puts, bytes, position) = {
            let mut state = self.shared.lock();
            if state.position == state.applied {
                return Ok(());
            }
            let (puts, bytes) = state.begin_applying();
            (puts, bytes, state.position)
        };
        self.values_applied = Instant::now();
        let values = puts.iter().map(|(key, value)| (key.as_slice(), value.as_ref().map(|value| value.as_slice())));
        self.evidence.apply(self.disk.as_ref(), position, values)?;
        // The values themselves are let go of after the lock.
        let mut state = self.shared.lock();
        state.end_applying(position, bytes);
        drop(state);
        self.shared.progress.notify_all();
        Ok(())
    }

    /// Publishes what the mirror has.
    fn publish(&mut self) -> Result<(), DiskError> {
        let size = self.mirror.log.size().0;
        let full: Vec<_> = self.shared.lock().pending.values().cloned().collect();
        let edge = self.mirror.log.publish().unwrap_or_default();
        self.asides.append(self.disk.as_ref(), &self.new_asides)?;
        self.new_asides.clear();
        let newer = |state: &State| state.published.as_ref().is_none_or(|published| published.size < size);
        if !edge.is_empty() && newer(&self.shared.lock()) {
            self.publisher.publish(&full, &edge)?;
        }
        let mut state = self.shared.lock();
        for file in &full {
            state.pending.remove(&file.path);
            state.pending_bytes = state.pending_bytes.saturating_sub(file.bytes.len());
        }
        let asides_len = self.asides.len();
        state.published = Some(Arc::new(Published { size, edge, asides_len }));
        state.publish_done = self.publish_asked;
        drop(state);
        self.shared.progress.notify_all();
        Ok(())
    }

    /// When some segments have been filled (or at the end), moves the start of the next replay and drops what lies before.
    fn compact(&mut self, always: bool) -> Result<(), DiskError> {
        if !always && self.shared.lock().segments.len() < SEGMENTS_MAX {
            return self.prepare();
        }
        // Replay will begin at what the mirror has: the database must not have less.
        self.apply_values()?;
        self.publish()?;
        let head = self.mirror.log.head().map(|head| head.note_bytes().to_vec()).unwrap_or_default();
        let edge = self.mirror.log.publish().unwrap_or_default();
        let base = Base::new(self.mirrored_position, self.asides.len(), head, &edge);
        if self.evidence.rebase(self.disk.as_ref(), &base)? {
            let gone: Vec<Segment> = {
                let mut state = self.shared.lock();
                let mut gone = Vec::new();
                while state.segments.get(1).is_some_and(|next| next.first <= base.position + 1) {
                    gone.extend(state.segments.pop_front());
                }
                gone
            };
            if !gone.is_empty() {
                drop_segments(self.disk.as_ref(), &self.journal_dir, &gone)?;
            }
        }
        if always { Ok(()) } else { self.prepare() }
    }

    /// Prepares a spare segment unless there is one. Only this thread makes spares, only the writer takes them:
    /// one that exists may be in the writer's hands and is left alone.
    fn prepare(&self) -> Result<(), DiskError> {
        prepare_spare(self.disk.as_ref(), &self.journal_dir, self.segment_bytes)
    }
}
