//! How the record store is doing: what status, readiness and metrics show.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use puente_model::Millis;

/// The record store, as it is now. Names no record and no question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordsStatus {
    /// `sqlite` or `postgres`.
    pub store: &'static str,
    /// Why nothing can be looked up now, and since when; none while it can.
    pub down: Option<(String, Millis)>,
    /// Lookups that were answered in this run.
    pub answered: u64,
    /// Lookups that failed in this run: their questions ended as refused, reason FAILED.
    pub failed: u64,
}

/// Written by whoever looks up, read by whoever shows it.
#[derive(Debug)]
pub struct Health {
    store: &'static str,
    /// Spares lookups in line the lock.
    is_down: AtomicBool,
    answered: AtomicU64,
    failed: AtomicU64,
    said: Mutex<Said>,
}

#[derive(Debug, Default)]
struct Said {
    down: Option<(String, Millis)>,
}

fn now() -> Millis {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Millis(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

impl Health {
    pub(super) fn new(store: &'static str) -> Arc<Self> {
        let zero = AtomicU64::default;
        let said = Mutex::default();
        Arc::new(Self { store, is_down: AtomicBool::new(false), answered: zero(), failed: zero(), said })
    }

    fn said(&self) -> std::sync::MutexGuard<'_, Said> {
        self.said.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts a lookup.
    pub(super) fn count(&self, found: &super::Found) {
        let counter = if found.is_ok() { &self.answered } else { &self.failed };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    /// The store cannot be read. Logged once, until it can.
    pub(super) fn down(&self, why: &str) {
        let mut said = self.said();
        if said.down.as_ref().is_none_or(|(known, _)| known != why) {
            tracing::error!(
                store = self.store,
                why,
                "the record store is down: questions are refused until it is back"
            );
        }
        let since = said.down.take().map_or_else(now, |(_, since)| since);
        said.down = Some((why.to_owned(), since));
        self.is_down.store(true, Ordering::Relaxed);
    }

    /// The store can be read.
    pub(super) fn up(&self) {
        if !self.is_down.swap(false, Ordering::Relaxed) {
            return;
        }
        if let Some((_, since)) = self.said().down.take() {
            tracing::info!(store = self.store, millis = now().since(since), "the record store is back");
        }
    }

    /// What to show.
    pub fn status(&self) -> RecordsStatus {
        let said = self.said();
        RecordsStatus {
            store: self.store,
            down: said.down.clone(),
            answered: self.answered.load(Ordering::Relaxed),
            failed: self.failed.load(Ordering::Relaxed),
        }
    }
}
