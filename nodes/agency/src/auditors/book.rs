//! What each auditor did at the door: limits, numbers, and the LOG_READ entries.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use puente_exchange::api::{Conclusion, LocalEvent};
use puente_model::{AuditorUri, EventKind};
use serde_json::{Value, json};
use tokio::sync::Semaphore;

use super::bucket::Bucket;
use super::config::AuditConfig;
use crate::driver::DriverHandle;

/// Where LOG_READ entries go.
pub(super) trait Recorder: Send + Sync + 'static {
    /// Records an event; true once it is durable.
    fn record(&self, event: LocalEvent) -> Pin<Box<dyn Future<Output = bool> + Send + '_>>;
}

impl Recorder for DriverHandle {
    fn record(&self, event: LocalEvent) -> Pin<Box<dyn Future<Output = bool> + Send + '_>> {
        Box::pin(async { matches!(self.event(event).await, Ok(Conclusion::Recorded { .. })) })
    }
}

/// One auditor, on all its connections.
pub(super) struct Reader {
    pub(super) auditor: AuditorUri,
    pub(super) requests: Arc<Semaphore>,
    bucket: Mutex<Bucket>,
    connections: AtomicUsize,
    answers: AtomicU64,
    bytes: AtomicU64,
    turned_away: AtomicU64,
    session: tokio::sync::Mutex<Session>,
}

/// What the log knows of an auditor's reading.
#[derive(Default)]
struct Session {
    /// A LOG_READ stands for it, not longer ago than the last [`Book::settle`] but one.
    open: bool,
    answers: u64,
    bytes: u64,
}

/// One place of an auditor's connections.
pub(super) struct Seat(Arc<Reader>);

impl Drop for Seat {
    fn drop(&mut self) {
        self.0.connections.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Reader {
    /// Time to wait before so many bytes are sent.
    pub(super) fn pace(&self, bytes: u64, now: Duration) -> Duration {
        self.bucket.lock().unwrap_or_else(PoisonError::into_inner).take(bytes, now)
    }

    pub(super) fn sent(&self, bytes: u64) {
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(super) fn answered(&self) {
        self.answers.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn turn_away(&self) {
        self.turned_away.fetch_add(1, Ordering::Relaxed);
    }

    /// Takes a place for a connection, unless the auditor has as many as it may.
    pub(super) fn sit(self: &Arc<Self>, max: usize) -> Option<Seat> {
        let free = |n: usize| (n < max).then_some(n + 1);
        match self.connections.fetch_update(Ordering::Relaxed, Ordering::Relaxed, free) {
            Ok(_) => Some(Seat(self.clone())),
            Err(_) => {
                self.turn_away();
                None
            }
        }
    }

    fn event(&self, answers: u64, bytes: u64) -> LocalEvent {
        let detail = json!({"auditor": self.auditor.as_str(), "answers": answers, "bytes": bytes});
        LocalEvent {
            kind: EventKind::LogRead,
            record_type: String::new(),
            count: answers,
            purpose: None,
            basis: None,
            role: None,
            detail: detail.to_string().into_bytes(),
        }
    }

    /// Sees to it that the log says that this auditor reads, before it reads anything. False if the log takes no entry.
    pub(super) async fn enter(&self, recorder: &dyn Recorder) -> bool {
        let mut session = self.session.lock().await;
        if !session.open {
            session.open = recorder.record(self.event(0, 0)).await;
        }
        session.open
    }

    /// Records what was read since the last time; a session in which nothing was is over.
    async fn settle(&self, recorder: &dyn Recorder) {
        let mut session = self.session.lock().await;
        let (answers, bytes) = (self.answers.load(Ordering::Relaxed), self.bytes.load(Ordering::Relaxed));
        let (new, more) = (answers - session.answers, bytes - session.bytes);
        if new == 0 && more == 0 {
            session.open = false;
        } else if recorder.record(self.event(new, more)).await {
            (session.answers, session.bytes) = (answers, bytes);
        }
    }
}

/// Every auditor that was ever let in since the start: no more than the charters named.
pub(super) struct Book {
    limits: AuditConfig,
    readers: Mutex<BTreeMap<AuditorUri, Arc<Reader>>>,
}

impl Book {
    pub(super) fn new(limits: AuditConfig) -> Self {
        Self { limits, readers: Mutex::default() }
    }

    pub(super) const fn limits(&self) -> &AuditConfig {
        &self.limits
    }

    pub(super) fn reader(&self, auditor: &AuditorUri) -> Arc<Reader> {
        let mut readers = self.readers.lock().unwrap_or_else(PoisonError::into_inner);
        let fresh = || {
            Arc::new(Reader {
                auditor: auditor.clone(),
                requests: Arc::new(Semaphore::new(self.limits.requests_per_auditor)),
                bucket: Mutex::new(Bucket::new(self.limits.bytes_per_second)),
                connections: AtomicUsize::new(0),
                answers: AtomicU64::new(0),
                bytes: AtomicU64::new(0),
                turned_away: AtomicU64::new(0),
                session: tokio::sync::Mutex::default(),
            })
        };
        readers.entry(auditor.clone()).or_insert_with(fresh).clone()
    }

    fn all(&self) -> Vec<Arc<Reader>> {
        self.readers.lock().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }

    /// Records what each auditor read since the last time: at most one entry each.
    pub(super) async fn settle(&self, recorder: &dyn Recorder) {
        for reader in self.all() {
            reader.settle(recorder).await;
        }
    }

    pub(super) fn status(&self) -> Value {
        let one = |reader: Arc<Reader>| {
            json!({
                "auditor": reader.auditor.as_str(),
                "connections": reader.connections.load(Ordering::Relaxed),
                "answers": reader.answers.load(Ordering::Relaxed),
                "bytes": reader.bytes.load(Ordering::Relaxed),
                "turned_away": reader.turned_away.load(Ordering::Relaxed),
            })
        };
        self.all().into_iter().map(one).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Default)]
    struct Notes(Mutex<Vec<LocalEvent>>, bool);

    impl Recorder for Notes {
        fn record(&self, event: LocalEvent) -> Pin<Box<dyn Future<Output = bool> + Send + '_>> {
            self.0.lock().unwrap().push(event);
            Box::pin(std::future::ready(!self.1))
        }
    }

    fn book() -> Book {
        let text = "listen = \"127.0.0.1:0\"\nconnections_per_auditor = 2\nrequests_per_auditor = 1\n";
        Book::new(toml::from_str(text).unwrap())
    }

    fn auditor(name: &str) -> AuditorUri {
        format!("puente-auditor://mx/{name}").parse().unwrap()
    }

    #[tokio::test]
    async fn reading_is_recorded_first_and_then_once_a_minute() {
        let (book, notes) = (book(), Notes::default());
        let reader = book.reader(&auditor("a"));
        for _ in 0..1_000 {
            assert!(reader.enter(&notes).await);
            reader.answered();
            reader.sent(10);
        }
        assert_eq!(notes.0.lock().unwrap().len(), 1, "an auditor cannot flood the log");
        book.settle(&notes).await;
        book.settle(&notes).await;
        {
            let notes = notes.0.lock().unwrap();
            assert_eq!(notes.len(), 2, "what was read, and nothing for a minute in which nothing was");
            assert!(notes.iter().all(|event| event.kind == EventKind::LogRead));
            assert_eq!((notes[0].count, notes[1].count), (0, 1_000));
            let detail: Value = serde_json::from_slice(&notes[1].detail).unwrap();
            assert_eq!(detail, json!({"auditor": "puente-auditor://mx/a", "answers": 1_000, "bytes": 10_000}));
        }
        // Who comes back later is recorded before reading again.
        assert!(reader.enter(&notes).await);
        assert_eq!(notes.0.lock().unwrap().len(), 3);
    }

    #[tokio::test]
    async fn nothing_is_read_while_the_log_takes_no_entry() {
        let (book, full) = (book(), Notes(Mutex::default(), true));
        assert!(!book.reader(&auditor("a")).enter(&full).await);
        assert!(!book.reader(&auditor("a")).enter(&full).await);
        // What could not be recorded is recorded later.
        let reader = book.reader(&auditor("b"));
        assert!(reader.enter(&Notes::default()).await);
        reader.answered();
        reader.settle(&full).await;
        let notes = Notes::default();
        reader.settle(&notes).await;
        assert_eq!(notes.0.lock().unwrap()[0].count, 1);
    }

    #[test]
    fn places_are_counted_for_each_auditor_alone() {
        let book = book();
        let (a, b) = (book.reader(&auditor("a")), book.reader(&auditor("b")));
        let seats = (a.sit(2), a.sit(2));
        assert!(seats.0.is_some() && seats.1.is_some() && a.sit(2).is_none() && b.sit(2).is_some());
        drop(seats.0);
        assert!(a.sit(2).is_some());
        let status = book.status();
        assert_eq!((&status[0]["connections"], &status[0]["turned_away"]), (&json!(1), &json!(1)));
        let requests = book.reader(&auditor("a")).requests.clone();
        let held = requests.clone().try_acquire_owned().unwrap();
        assert!(requests.clone().try_acquire_owned().is_err(), "one answer at once");
        assert!(b.requests.clone().try_acquire_owned().is_ok());
        drop(held);
        assert!(requests.try_acquire_owned().is_ok());
    }
}
