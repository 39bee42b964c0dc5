//! What the engine, the writer and the applier share: everything durable that is not yet in its place.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Bound;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use puente_audit_log::{LogFile, LogPath};

use super::error::DiskError;
use super::journal::Segment;

/// A durable batch's part of the log, on its way into tiles.
pub(crate) struct LogPart {
    pub(crate) entries: Vec<Vec<u8>>,
    pub(crate) checkpoint: Vec<u8>,
    pub(crate) asides: Vec<Vec<u8>>,
}

/// A value newer than the database's; none if the key was deleted.
pub(crate) type Newer = Option<Arc<Vec<u8>>>;

/// Values newer than the database's, by key.
pub(crate) type Overlay = BTreeMap<Vec<u8>, Newer>;

/// What was last published, as auditors see it.
pub(crate) struct Published {
    pub(crate) size: u64,
    /// Partial files and the checkpoint.
    pub(crate) edge: Vec<LogFile>,
    pub(crate) asides_len: u64,
}

/// How the applier is to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stop {
    /// Apply and publish everything first.
    Clean,
    /// As it is; the journal has everything.
    Now,
}

#[derive(Default)]
pub(crate) struct State {
    /// Values that no transaction has begun with.
    pub(crate) overlay: Overlay,
    /// Values of the transaction under way. Whoever reads looks here after `overlay` and before the database.
    pub(crate) applying: Arc<Overlay>,
    pub(crate) inbox: VecDeque<LogPart>,
    /// Bytes held for the applier.
    pub(crate) held: usize,
    /// Those of them in `overlay`, what was replaced there included.
    pub(crate) overlay_bytes: usize,
    /// Newest durable batch.
    pub(crate) position: u64,
    /// Entries in durable batches.
    pub(crate) size: u64,
    /// Entries that the applier has hashed into tiles.
    pub(crate) mirrored: u64,
    /// Full tiles and bundles not yet on disk.
    pub(crate) pending: BTreeMap<LogPath, Arc<LogFile>>,
    pub(crate) pending_bytes: usize,
    /// Newest batch whose values the database has.
    pub(crate) applied: u64,
    pub(crate) published: Option<Arc<Published>>,
    pub(crate) segments: VecDeque<Segment>,
    pub(crate) failed: Option<String>,
    /// How often a publication was asked for, and how many of these are done.
    pub(crate) publish_asked: u64,
    pub(crate) publish_done: u64,
    pub(crate) stop: Option<Stop>,
    pub(crate) sync_micros: u64,
}

impl State {
    /// Takes in what a durable batch brought.
    pub(crate) fn take_in(&mut self, position: u64, part: LogPart, puts: Vec<(Vec<u8>, Option<Vec<u8>>)>) {
        self.position = position;
        self.size += part.entries.len() as u64;
        self.held += part.weight();
        if part.weight() > 0 {
            self.inbox.push_back(part);
        }
        let before = self.overlay_bytes;
        for (key, value) in puts {
            self.overlay_bytes += key.len() + value.as_ref().map_or(0, Vec::len);
            self.overlay.insert(key, value.map(Arc::new));
        }
        self.held += self.overlay_bytes - before;
    }

    /// Hands over every value for one transaction, and how many bytes that releases once it is through.
    pub(crate) fn begin_applying(&mut self) -> (Arc<Overlay>, usize) {
        // After a transaction that failed there is no other: nothing is overwritten here that is still needed.
        self.applying = Arc::new(std::mem::take(&mut self.overlay));
        (Arc::clone(&self.applying), std::mem::take(&mut self.overlay_bytes))
    }

    /// The database has what was handed over, up to `position`.
    pub(crate) fn end_applying(&mut self, position: u64, bytes: usize) {
        self.applied = position;
        self.applying = Arc::default();
        self.held = self.held.saturating_sub(bytes);
    }

    /// True if the applier has something to do.
    pub(crate) fn is_behind(&self) -> bool {
        !self.inbox.is_empty() || self.position > self.applied
    }
}

impl LogPart {
    pub(crate) fn weight(&self) -> usize {
        let entries: usize = self.entries.iter().map(Vec::len).sum();
        let asides: usize = self.asides.iter().map(Vec::len).sum();
        entries + asides + self.checkpoint.len()
    }
}

/// The state, and how to wait for a change of it.
#[derive(Default)]
pub(crate) struct Shared {
    state: Mutex<State>,
    /// For the applier: there is work.
    pub(crate) work: Condvar,
    /// For everyone else: the applier got on.
    pub(crate) progress: Condvar,
}

impl Shared {
    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        // The applier's state is changed in whole steps; a panic elsewhere does not spoil it.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn wait_work<'s>(&self, state: MutexGuard<'s, State>, time: Option<Duration>) -> MutexGuard<'s, State> {
        match time {
            Some(time) => self.work.wait_timeout(state, time).unwrap_or_else(PoisonError::into_inner).0,
            None => self.work.wait(state).unwrap_or_else(PoisonError::into_inner),
        }
    }

    /// Waits until `done`, or the applier failed, or `limit` has passed.
    pub(crate) fn wait_until(
        &self,
        limit: Option<Duration>,
        mut done: impl FnMut(&mut State) -> bool,
    ) -> Result<MutexGuard<'_, State>, DiskError> {
        let began = Instant::now();
        let mut state = self.lock();
        loop {
            if done(&mut state) {
                return Ok(state);
            }
            if let Some(reason) = &state.failed {
                return Err(DiskError::Stopped { reason: reason.clone() });
            }
            if limit.is_some_and(|limit| began.elapsed() >= limit) {
                return Err(DiskError::System("the applier's thread its time"));
            }
            let nap = Duration::from_millis(500);
            state = self.progress.wait_timeout(state, nap).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Says that nothing will be applied or written any more.
    pub(crate) fn fail(&self, reason: String) {
        self.lock().failed.get_or_insert(reason);
        self.progress.notify_all();
        self.work.notify_all();
    }

    /// The newer value of a key, if there is one.
    pub(crate) fn newer(&self, key: &[u8]) -> Option<Newer> {
        let state = self.lock();
        state.overlay.get(key).or_else(|| state.applying.get(key)).cloned()
    }

    /// Newer pairs in a range, ascending, up to `limit` that are not deletions.
    pub(crate) fn newer_range(&self, start: &[u8], end: Option<&[u8]>, limit: usize) -> Vec<(Vec<u8>, Newer)> {
        let (mut live, mut out) = (0, Vec::new());
        if end.is_some_and(|end| end <= start) {
            return out;
        }
        let range = (Bound::Included(start), end.map_or(Bound::Unbounded, Bound::Excluded));
        let state = self.lock();
        let mut newest = state.overlay.range::<[u8], _>(range).peekable();
        let mut newer = state.applying.range::<[u8], _>(range).peekable();
        while live < limit {
            // On equal keys the one that was handed over is passed over.
            let next = match (newest.peek(), newer.peek()) {
                (Some((a, _)), Some((b, _))) if a > b => newer.next(),
                (Some((a, _)), Some((b, _))) if a == b => newer.next().and(newest.next()),
                (Some(_), _) => newest.next(),
                (None, _) => newer.next(),
            };
            let Some((key, value)) = next else { break };
            live += usize::from(value.is_some());
            out.push((key.clone(), value.clone()));
        }
        out
    }
}
