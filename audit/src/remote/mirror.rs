//! Local copies of many logs, brought up to date side by side.
//!
//! A copy is never brought from one history to another: where the head that came is no continuation of the one that lay here,
//! the copy is set aside whole and the log fetched once more. What then still contradicts it is a fork that the node signed,
//! with both sides in folders.

use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use puente_audit_log::SignedCheckpoint;
use puente_model::limits::NOTE_BYTES_MAX;

use super::copy::{Copied, Copier, local, lock, set_aside};
use super::error::RemoteError;
use crate::dir::{LogDir, read_bounded};
use crate::heads::{Relation, relate};
use crate::roster::Roster;
use crate::state::replace;

/// A log that was copied.
#[derive(Debug)]
pub struct Mirrored {
    /// The copy.
    pub copy: Copied,
    /// Where a copy is that was damaged here and was fetched anew.
    pub damaged: Option<PathBuf>,
}

/// A log that shows another history than before.
#[derive(Debug)]
pub struct Forked {
    /// What it shows now.
    pub copy: Copied,
    /// The head that lay here, as it was signed.
    pub before: Vec<u8>,
    /// The folder with what it showed before.
    pub aside: PathBuf,
}

/// What became of one source.
#[derive(Debug)]
pub enum Outcome {
    /// It is here.
    Mirrored(Box<Mirrored>),
    /// It contradicts what was here.
    Forked(Box<Forked>),
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
                let outcome = self.one(source, &got).unwrap_or_else(Outcome::Failed);
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

    fn one(&self, source: &Path, got: &(dyn Fn(u64) + Sync)) -> Result<Outcome, RemoteError> {
        let mut copy = self.copy(source, got)?;
        let Some(before) = copy.before.take() else {
            return Ok(Outcome::Mirrored(Box::new(Mirrored { copy, damaged: None })));
        };
        let kept = match Roster::new(self.copier.charter).head(&before) {
            Ok(kept) => kept,
            // What lay here was no head: the one that came is.
            Err(_) => return Ok(Outcome::Mirrored(Box::new(Mirrored { copy, damaged: None }))),
        };
        match (self.relation(&copy, &kept)?, copy.aside.take()) {
            (Relation::Consistent, _) => Ok(Outcome::Mirrored(Box::new(Mirrored { copy, damaged: None }))),
            // A smaller head than before: what was here was set aside already.
            (Relation::Beyond, Some(aside)) => Ok(Outcome::Forked(Box::new(Forked { copy, before, aside }))),
            _ => {
                // Its files may be of either history: under the head that they came with they stay together.
                replace(&copy.dir.join("checkpoint"), &before).map_err(|error| local(&copy.dir, error))?;
                let aside = set_aside(&copy.dir)?;
                let mut copy = self.copy(source, got)?;
                copy.before = None;
                match self.relation(&copy, &kept)? {
                    Relation::Consistent => Ok(Outcome::Mirrored(Box::new(Mirrored { copy, damaged: Some(aside) }))),
                    Relation::CouldNotTell(why) => {
                        Err(RemoteError::Protocol { path: copy.dir.display().to_string(), why })
                    }
                    _ => Ok(Outcome::Forked(Box::new(Forked { copy, before, aside }))),
                }
            }
        }
    }

    /// How the head that lay here stands to the one that came.
    fn relation(&self, copy: &Copied, kept: &SignedCheckpoint) -> Result<Relation, RemoteError> {
        let path = copy.dir.join("checkpoint");
        let failed = |why: String| RemoteError::Disk { path: path.clone(), why };
        let note = read_bounded(&path, NOTE_BYTES_MAX as u64).map_err(|error| failed(error.to_string()))?;
        let head = Roster::new(self.copier.charter).head(&note).map_err(|error| failed(error.to_string()))?;
        Ok(relate(&head, kept, &LogDir::new(&copy.dir)))
    }
}
