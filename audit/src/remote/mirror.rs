//! Local copies of many logs, brought up to date side by side.

use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::copy::{Copied, Copier, lock};
use super::error::RemoteError;

/// What became of one source.
#[derive(Debug)]
pub enum Outcome {
    /// It is here; how it stands to what was here before is said with it.
    Copied(Box<Copied>),
    /// It could not be copied. Nothing is lost: what came stays, and the next time goes on from there.
    Failed(RemoteError),
}

/// How far all of it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MirrorProgress {
    /// Sources that are done.
    pub done: usize,
    /// Sources in all.
    pub all: usize,
    /// Bytes fetched.
    pub bytes: u64,
}

/// Copies many logs.
#[derive(Debug)]
pub struct Mirror<'c> {
    /// How one is copied.
    pub copier: Copier<'c>,
    /// How many at once.
    pub jobs: usize,
}

impl Mirror<'_> {
    /// Brings the copy of each source up to date: `https://host:port/` of a door, or a folder. Each outcome is told as it
    /// comes, with the place of its source; `tell` is called every few seconds at least.
    pub fn run(
        &self,
        sources: &[PathBuf],
        tell: &(dyn Fn(MirrorProgress) + Sync),
        came: &(dyn Fn(usize, &Outcome) + Sync),
    ) -> Vec<Outcome> {
        let outcomes = Mutex::new((0..sources.len()).map(|_| None).collect::<Vec<Option<Outcome>>>());
        let bytes = Mutex::new(vec![0_u64; sources.len()]);
        let (next, done) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let now = || MirrorProgress {
            done: done.load(Ordering::Relaxed),
            all: sources.len(),
            bytes: lock(&bytes).iter().sum(),
        };
        let work = || {
            loop {
                let at = next.fetch_add(1, Ordering::Relaxed);
                let Some(source) = sources.get(at) else { return };
                let got = |fetched: u64| {
                    if let Some(of) = lock(&bytes).get_mut(at) {
                        *of = fetched;
                    }
                    tell(now());
                };
                let outcome =
                    self.copy(source, &got).map_or_else(Outcome::Failed, |copy| Outcome::Copied(Box::new(copy)));
                done.fetch_add(1, Ordering::Relaxed);
                came(at, &outcome);
                if let Some(place) = lock(&outcomes).get_mut(at) {
                    *place = Some(outcome);
                }
            }
        };
        std::thread::scope(|scope| {
            for _ in 0..self.jobs.clamp(1, sources.len().max(1)) {
                scope.spawn(work);
            }
        });
        outcomes.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner).into_iter().flatten().collect()
    }

    fn copy(&self, source: &Path, got: &(dyn Fn(u64) + Sync)) -> Result<Copied, RemoteError> {
        let tell = |progress: super::CopyProgress| got(progress.bytes);
        match source.to_str().filter(|source| source.contains("://")) {
            Some(url) => self.copier.copy(url, false, &tell),
            None => self.copier.copy_folder(source, false, &tell),
        }
    }
}
