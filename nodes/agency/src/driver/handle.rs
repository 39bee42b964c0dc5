//! How the rest of the node talks to the engine's task.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use puente_charter::ClaimedPart;
use puente_exchange::api::{Conclusion, Draft, Input, LocalEvent, Rules, Ticket};
use puente_model::{ExchangeId, NodeUri};
use tokio::sync::mpsc::UnboundedSender;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

use super::status::{DriverStatus, Shown};
use super::{CoreView, Message};
use crate::disk::DiskError;

/// Bytes of queued inputs that one permit stands for.
pub(super) const PERMIT_BYTES: usize = 1_024;

/// The engine's task has ended or is ending.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the node is stopping: ask again when it runs")]
pub struct Gone;

/// A handle to the engine's task. Cheap to clone; when the last one is dropped the task ends.
#[derive(Clone)]
pub struct DriverHandle {
    link: Arc<Link>,
}

struct Link {
    sender: UnboundedSender<Message>,
    room: Arc<Semaphore>,
    tickets: AtomicU64,
    shown: Arc<Shown>,
}

impl Drop for Link {
    fn drop(&mut self) {
        // The task may have ended before.
        let _ = self.send(Message::Shutdown(None));
    }
}

impl Link {
    fn send(&self, message: Message) -> Result<(), Gone> {
        self.shown.queued.fetch_add(1, Ordering::Relaxed);
        self.sender.send(message).map_err(|_| Gone)
    }
}

/// Cancels a question whose asker stops waiting.
struct Waiting<'l> {
    link: &'l Link,
    ticket: Option<Ticket>,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        if let Some(ticket) = self.ticket {
            // Nothing to cancel if the task has ended.
            let _ = self.link.send(Message::Input(Input::Cancel { ticket }, None));
        }
    }
}

impl DriverHandle {
    pub(super) fn new(sender: UnboundedSender<Message>, room: Arc<Semaphore>, shown: Arc<Shown>) -> Self {
        Self { link: Arc::new(Link { sender, room, tickets: AtomicU64::new(1), shown }) }
    }

    fn ticket(&self) -> Ticket {
        Ticket(self.link.tickets.fetch_add(1, Ordering::Relaxed))
    }

    /// Gives the engine an input; waits while too much is waiting already.
    ///
    /// # Errors
    /// The engine's task has ended.
    pub async fn input(&self, input: Input) -> Result<(), Gone> {
        let permits = permits(&input);
        let permit = Arc::clone(&self.link.room).acquire_many_owned(permits).await.map_err(|_| Gone)?;
        self.link.send(Message::Input(input, Some(permit)))
    }

    /// The same for a thread that may block, or an input that must not wait ([`Input::Disconnected`], for example):
    /// it is queued at once, whatever waits already.
    ///
    /// # Errors
    /// The engine's task has ended.
    pub fn input_now(&self, input: Input) -> Result<(), Gone> {
        let permit: Option<OwnedSemaphorePermit> =
            Arc::clone(&self.link.room).try_acquire_many_owned(permits(&input)).ok();
        self.link.send(Message::Input(input, permit))
    }

    /// Asks a question and waits for its conclusion. Dropping the future cancels the question.
    ///
    /// # Errors
    /// The engine's task has ended.
    pub async fn ask(&self, draft: Draft) -> Result<Conclusion, Gone> {
        let ticket = self.ticket();
        let (reply, conclusion) = oneshot::channel();
        self.link.send(Message::Ask(ticket, Box::new(draft), reply))?;
        let mut waiting = Waiting { link: &self.link, ticket: Some(ticket) };
        let conclusion = conclusion.await.map_err(|_| Gone);
        waiting.ticket = None;
        conclusion
    }

    /// Records an event of this node and waits until it is in the log.
    ///
    /// # Errors
    /// The engine's task has ended.
    pub async fn event(&self, event: LocalEvent) -> Result<Conclusion, Gone> {
        let (reply, conclusion) = oneshot::channel();
        self.link.send(Message::Event(self.ticket(), event, reply))?;
        conclusion.await.map_err(|_| Gone)
    }

    /// Gives the engine what `make` makes of a fresh ticket, and waits for its conclusion.
    ///
    /// # Errors
    /// The engine's task has ended.
    pub async fn wish(&self, make: impl FnOnce(Ticket) -> Input) -> Result<Conclusion, Gone> {
        let ticket = self.ticket();
        let (reply, conclusion) = oneshot::channel();
        self.link.send(Message::Wish(ticket, make(ticket), reply))?;
        conclusion.await.map_err(|_| Gone)
    }

    /// Waits for what comes of a question that goes on by itself. Dropping the future gives up the waiting, not the
    /// question.
    ///
    /// # Errors
    /// The engine's task has ended.
    pub async fn await_end(&self, exchange: ExchangeId) -> Result<Conclusion, Gone> {
        let ticket = self.ticket();
        let (reply, conclusion) = oneshot::channel();
        self.link.send(Message::Wish(ticket, Input::Await { ticket, exchange }, reply))?;
        let mut waiting = Waiting { link: &self.link, ticket: Some(ticket) };
        let conclusion = conclusion.await.map_err(|_| Gone);
        waiting.ticket = None;
        conclusion
    }

    /// Closes all open periods with reachable peers and waits for their answers.
    ///
    /// # Errors
    /// The engine's task has ended.
    pub async fn close_periods(&self) -> Result<Conclusion, Gone> {
        let (reply, conclusion) = oneshot::channel();
        self.link.send(Message::ClosePeriods(self.ticket(), reply))?;
        conclusion.await.map_err(|_| Gone)
    }

    /// The ledgers of the groups that this node is in.
    ///
    /// # Errors
    /// The engine's task has ended.
    pub async fn ledgers(&self) -> Result<Vec<puente_ledger::LedgerCopy>, Gone> {
        let (reply, answer) = oneshot::channel();
        self.link.send(Message::Ledgers(reply))?;
        answer.await.map_err(|_| Gone)
    }

    /// How the engine's conversations go: answered when the engine's task gets to it, so that an answer shows that it
    /// turns.
    ///
    /// # Errors
    /// The engine's task has ended or is ending.
    pub async fn view(&self) -> Result<CoreView, Gone> {
        let (reply, view) = oneshot::channel();
        self.link.send(Message::View(reply))?;
        view.await.map_err(|_| Gone)
    }

    /// Has newer charter parts adopted, and waits until they are in force or refused.
    ///
    /// # Errors
    /// The engine's task has ended.
    pub async fn offer(&self, parts: Vec<ClaimedPart>) -> Result<Conclusion, Gone> {
        self.wish(|ticket| Input::Offer { ticket, parts }).await
    }

    /// Takes other rules of the node's own up, and waits until they are in force.
    ///
    /// # Errors
    /// The engine's task has ended.
    pub async fn rules(&self, rules: Rules) -> Result<Conclusion, Gone> {
        self.wish(|ticket| Input::Rules { ticket, rules }).await
    }

    /// Blocks a peer with a reason, or takes the block away, and waits until that is in the log.
    ///
    /// # Errors
    /// The engine's task has ended.
    pub async fn bar(&self, peer: NodeUri, reason: Option<String>) -> Result<Conclusion, Gone> {
        self.wish(|ticket| Input::Bar { ticket, peer, reason }).await
    }

    /// How the engine's task and the disk are doing.
    pub fn status(&self) -> DriverStatus {
        self.link.shown.status()
    }

    /// Sees what is being written through, then applies and publishes everything durable. Whoever still waits for a
    /// conclusion is told [`Gone`].
    ///
    /// # Errors
    /// Derived files could not be written; the journal holds every acknowledged batch and the next start applies it.
    pub async fn shutdown(&self) -> Result<(), DiskError> {
        let (reply, closed) = oneshot::channel();
        if self.link.send(Message::Shutdown(Some(reply))).is_err() {
            return Ok(());
        }
        closed.await.unwrap_or(Ok(()))
    }
}

fn permits(input: &Input) -> u32 {
    let bytes = match input {
        Input::Frame { bytes, .. } => bytes.len(),
        _ => 0,
    };
    u32::try_from(1 + bytes / PERMIT_BYTES).unwrap_or(u32::MAX)
}
