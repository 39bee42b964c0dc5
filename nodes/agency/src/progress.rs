//! How far long work has come: counted where it is done, told elsewhere.

use std::io::{self, Read};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// Bytes of the phase that is under way.
#[derive(Debug, Default)]
pub struct Progress {
    phase: Mutex<Option<Phase>>,
    done: AtomicU64,
}

/// What is under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Phase {
    /// For people, in English.
    pub what: &'static str,
    /// For programs.
    pub code: &'static str,
    /// How many bytes there are, if that is known.
    pub of: Option<u64>,
}

impl Progress {
    /// The next phase begins at nothing done.
    pub fn begin(&self, phase: Phase) {
        let mut now = self.phase.lock().unwrap_or_else(PoisonError::into_inner);
        self.done.store(0, Ordering::Relaxed);
        *now = Some(phase);
    }

    /// So many bytes more are done.
    pub fn add(&self, bytes: u64) {
        self.done.fetch_add(bytes, Ordering::Relaxed);
    }

    /// So many bytes are done in all.
    pub fn reach(&self, bytes: u64) {
        self.done.store(bytes, Ordering::Relaxed);
    }

    /// The phase and the bytes of it that are done; none before the first.
    pub fn now(&self) -> Option<(Phase, u64)> {
        let phase = self.phase.lock().unwrap_or_else(PoisonError::into_inner);
        phase.map(|phase| (phase, self.done.load(Ordering::Relaxed)))
    }
}

/// Counts what is read.
pub struct Counted<R> {
    inner: R,
    progress: Arc<Progress>,
}

impl<R> Counted<R> {
    /// Reads from `inner`.
    pub fn new(inner: R, progress: &Arc<Progress>) -> Self {
        Self { inner, progress: Arc::clone(progress) }
    }
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(into)?;
        self.progress.add(read as u64);
        Ok(read)
    }
}
