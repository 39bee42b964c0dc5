//! How the record store is doing: what status, readiness and metrics show.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use puente_model::Millis;

/// The record store, as it is now. Names no record and no question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordsStatus {
    /// `sqlite`, `postgres`, `sqlite-mapped` or `postgres-mapped`.
    pub store: &'static str,
    /// Why nothing can be looked up now, and since when; none while it can.
    pub down: Option<(String, Millis)>,
    /// Lookups that were answered in this run.
    pub answered: u64,
    /// Lookups that failed in this run: their questions ended as refused, reason FAILED.
    pub failed: u64,
    /// Rows of mapped tables that did not validate in this run.
    pub rows_invalid: u64,
    /// Rows that a mapping's key found although the catalogue would not: left out.
    pub rows_strayed: u64,
    /// The last row that did not validate: record type, fields and codes, no value.
    pub last_invalid: Option<String>,
}

/// Written by whoever looks up, read by whoever shows it.
#[derive(Debug)]
pub struct Health {
    store: &'static str,
    /// Spares lookups in line the lock.
    is_down: AtomicBool,
    answered: AtomicU64,
    failed: AtomicU64,
    rows_invalid: AtomicU64,
    rows_strayed: AtomicU64,
    said: Mutex<Said>,
}

#[derive(Debug, Default)]
struct Said {
    down: Option<(String, Millis)>,
    last_invalid: Option<String>,
}

fn now() -> Millis {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Millis(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

impl Health {
    pub(super) fn new(store: &'static str) -> Arc<Self> {
        let zero = AtomicU64::default;
        let said = Mutex::default();
        Arc::new(Self {
            store,
            is_down: AtomicBool::new(false),
            answered: zero(),
            failed: zero(),
            rows_invalid: zero(),
            rows_strayed: zero(),
            said,
        })
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

    /// Rows that are no record of their type; `what` says which fields, and holds no value.
    pub(super) fn invalid(&self, rows: u64, what: &str) {
        self.rows_invalid.fetch_add(rows, Ordering::Relaxed);
        let mut said = self.said();
        if said.last_invalid.as_deref() != Some(what) {
            tracing::warn!(store = self.store, rows, what, "rows do not validate: their questions are refused");
            said.last_invalid = Some(what.to_owned());
        }
    }

    /// Rows that were found by a key that is not theirs.
    pub(super) fn strayed(&self, rows: u64) {
        self.rows_strayed.fetch_add(rows, Ordering::Relaxed);
    }

    /// What to show.
    pub fn status(&self) -> RecordsStatus {
        let said = self.said();
        RecordsStatus {
            store: self.store,
            down: said.down.clone(),
            answered: self.answered.load(Ordering::Relaxed),
            failed: self.failed.load(Ordering::Relaxed),
            rows_invalid: self.rows_invalid.load(Ordering::Relaxed),
            rows_strayed: self.rows_strayed.load(Ordering::Relaxed),
            last_invalid: said.last_invalid.clone(),
        }
    }
}
