//! Connections that are kept: lookups are pipelined on a few of them, and one that ends is made again.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use tokio::runtime::Handle;
use tokio::sync::{Notify, Semaphore};
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep, timeout, timeout_at};
use tokio_postgres::Client;

use super::health::Health;
use super::server::{Moving, Server, describe};
use super::{Found, Lookup};

/// Lookups that wait for one of those under way; more are refused at once.
pub const WAITING_MAX: usize = 16_384;
/// Pause before a connection that ended is made again; doubles up to [`PAUSE_MAX`].
const PAUSE_FIRST: Duration = Duration::from_millis(100);
/// The longest pause.
const PAUSE_MAX: Duration = Duration::from_secs(5);
/// How long after a connection ended its lookups wait for another that lives; later ones fail at once.
const RETURN_WAIT: Duration = Duration::from_secs(3);
/// Connections that one lookup tries: reading twice harms nobody.
const TRIES_MAX: usize = 3;
/// How often an idle connection is asked whether it lives.
const PROBE_EVERY: Duration = Duration::from_secs(5);

/// Why a lookup has no records.
pub(super) enum Failed {
    /// The server, or the way to it.
    Server(tokio_postgres::Error),
    /// What it gave cannot be used; no value in the text.
    Content(String),
}

impl From<tokio_postgres::Error> for Failed {
    fn from(error: tokio_postgres::Error) -> Self {
        Self::Server(error)
    }
}

/// What is asked over the connections.
pub(super) trait Ask: Send + Sync + 'static {
    /// Statements prepared on one connection.
    type Ready: Send + Sync + 'static;

    /// Checks what the server holds and prepares the statements.
    fn prepare(&self, client: &mut Client) -> impl Future<Output = Result<Self::Ready, String>> + Send;

    /// Looks up.
    fn ask(
        &self,
        client: &Client,
        ready: &Self::Ready,
        lookup: &Lookup,
    ) -> impl Future<Output = Result<Vec<Vec<u8>>, Failed>> + Send;
}

struct Session<R> {
    client: Client,
    ready: R,
    /// Whoever waited in vain asks for another connection.
    stuck: Notify,
}

struct Inner<A: Ask> {
    server: Server,
    ask: A,
    slots: Vec<ArcSwapOption<Session<A::Ready>>>,
    next: AtomicUsize,
    room: Semaphore,
    waiting: AtomicUsize,
    /// When the last connection that served ended.
    ended: Mutex<Option<Instant>>,
    /// Woken by every connection that comes up.
    came: Notify,
    health: Arc<Health>,
}

/// The connections; dropped, they end.
pub(super) struct Links<A: Ask> {
    inner: Arc<Inner<A>>,
    runtime: Handle,
    keepers: Vec<AbortHandle>,
}

impl<A: Ask> Drop for Links<A> {
    fn drop(&mut self) {
        for keeper in &self.keepers {
            keeper.abort();
        }
    }
}

impl<A: Ask> Links<A> {
    /// Begins to keep `connections`; waits for none of them. Call it inside a Tokio runtime.
    pub(super) fn keep(server: Server, ask: A, connections: usize, in_flight: usize, health: Arc<Health>) -> Self {
        let inner = Arc::new(Inner {
            server,
            ask,
            slots: (0..connections).map(|_| ArcSwapOption::empty()).collect(),
            next: AtomicUsize::new(0),
            room: Semaphore::new(in_flight),
            waiting: AtomicUsize::new(0),
            ended: Mutex::default(),
            came: Notify::new(),
            health,
        });
        inner.health.down("not connected yet");
        let runtime = Handle::current();
        let keepers =
            (0..connections).map(|slot| runtime.spawn(Arc::clone(&inner).keep_slot(slot)).abort_handle()).collect();
        Self { inner, runtime, keepers }
    }

    /// Looks up in a task of its own, and calls `later` once.
    pub(super) fn lookup(&self, lookup: Lookup, later: impl FnOnce(Found) + Send + 'static) {
        let inner = Arc::clone(&self.inner);
        if inner.waiting.fetch_add(1, Ordering::Relaxed) >= WAITING_MAX {
            inner.waiting.fetch_sub(1, Ordering::Relaxed);
            let found = Err(format!("{WAITING_MAX} lookups wait already"));
            inner.health.count(&found);
            return later(found);
        }
        self.runtime.spawn(async move {
            let found = inner.look_up(&lookup).await;
            inner.waiting.fetch_sub(1, Ordering::Relaxed);
            inner.health.count(&found);
            later(found);
        });
    }
}

/// True if the server has ended the connection, or is about to.
fn has_ended(error: &tokio_postgres::Error) -> bool {
    error.code().is_some_and(|code| code.code().starts_with("57P0") || code.code().starts_with("08"))
}

impl<A: Ask> Inner<A> {
    /// A connection that lives, the next in turn, and another than `lost`.
    fn session(&self, lost: Option<&Arc<Session<A::Ready>>>) -> Option<Arc<Session<A::Ready>>> {
        let first = self.next.fetch_add(1, Ordering::Relaxed);
        let count = self.slots.len();
        (0..count).find_map(|at| {
            let session = self.slots.get((first.wrapping_add(at)) % count)?.load_full()?;
            let same = lost.is_some_and(|lost| Arc::ptr_eq(lost, &session));
            (!same && !session.client.is_closed()).then_some(session)
        })
    }

    fn ended(&self) -> std::sync::MutexGuard<'_, Option<Instant>> {
        self.ended.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// As [`Self::session`]; waits for one while the last has ended just now, as a server does that restarts.
    async fn living(&self, lost: Option<&Arc<Session<A::Ready>>>) -> Option<Arc<Session<A::Ready>>> {
        if let Some(session) = self.session(lost) {
            return Some(session);
        }
        // Whose connection ended under it may be the first to know.
        let ended = if lost.is_some() { Some(Instant::now()) } else { *self.ended() };
        let comes = async {
            loop {
                let came = self.came.notified();
                if let Some(session) = self.session(lost) {
                    return session;
                }
                came.await;
            }
        };
        timeout_at(ended? + RETURN_WAIT, comes).await.ok()
    }

    /// How long the server may be silent.
    fn patience(&self) -> Duration {
        self.server.statement_timeout() * 2 + Duration::from_secs(1)
    }

    async fn look_up(&self, lookup: &Lookup) -> Found {
        let _permit = self.room.acquire().await.map_err(|_| "the node is stopping".to_owned())?;
        let mut lost = None;
        let mut why = None;
        for _ in 0..TRIES_MAX {
            let Some(session) = self.living(lost.as_ref()).await else { break };
            match timeout(self.patience(), self.ask.ask(&session.client, &session.ready, lookup)).await {
                Ok(Ok(records)) => return Ok(records),
                Ok(Err(Failed::Content(what))) => return Err(what),
                Ok(Err(Failed::Server(error))) => {
                    if !session.client.is_closed() && !has_ended(&error) {
                        return Err(describe(&error));
                    }
                    why = Some(describe(&error));
                    lost = Some(session);
                }
                Err(_) => {
                    session.stuck.notify_one();
                    return Err("the database does not answer".to_owned());
                }
            }
        }
        let down = || self.health.status().down.map(|(why, _)| why);
        Err(why.or_else(down).unwrap_or_else(|| "the connection to the database ended".to_owned()))
    }

    async fn open(&self) -> Result<(Session<A::Ready>, Moving), String> {
        let (mut client, mut moving) = self.server.connect(false).await?;
        let ready = tokio::select! {
            ready = self.ask.prepare(&mut client) => ready?,
            ended = &mut moving => {
                return Err(ended.err().map_or_else(|| "the server hung up".to_owned(), |error| describe(&error)));
            }
        };
        Ok((Session { client, ready, stuck: Notify::new() }, moving))
    }

    async fn keep_slot(self: Arc<Self>, slot: usize) {
        let mut pause = PAUSE_FIRST;
        loop {
            let why = match self.open().await {
                Ok((session, moving)) => {
                    pause = PAUSE_FIRST;
                    self.live(slot, Arc::new(session), moving).await
                }
                Err(why) => why,
            };
            if self.session(None).is_none() {
                self.health.down(&why);
                // Another connection may have come up in between.
                if self.session(None).is_some() {
                    self.health.up();
                }
            }
            sleep(pause).await;
            pause = (pause * 2).min(PAUSE_MAX);
        }
    }

    /// Serves on one connection until it ends; why it did.
    async fn live(&self, slot: usize, session: Arc<Session<A::Ready>>, mut moving: Moving) -> String {
        if let Some(slot) = self.slots.get(slot) {
            slot.store(Some(Arc::clone(&session)));
        }
        self.health.up();
        self.came.notify_waiters();
        let probing = async {
            loop {
                sleep(PROBE_EVERY).await;
                if !matches!(timeout(self.patience(), session.client.check_connection()).await, Ok(Ok(()))) {
                    break;
                }
            }
        };
        let why = tokio::select! {
            ended = &mut moving => {
                ended.err().map_or_else(|| "the server hung up".to_owned(), |error| describe(&error))
            }
            () = session.stuck.notified() => "the database does not answer".to_owned(),
            () = probing => "the database does not answer".to_owned(),
        };
        if let Some(slot) = self.slots.get(slot) {
            slot.store(None);
        }
        *self.ended() = Some(Instant::now());
        why
    }
}
