//! The task that the engine lives in: moves inputs and effects, keeps time, decides nothing.
//!
//! One loop: take what has arrived, let the engine handle it, carry out its effects, wait for the next input or the
//! engine's deadline. It runs among the network's tasks, so that most frames reach it, and leave it, without waking
//! another thread. While a batch is being synced the engine goes on with other inputs; a writer thread does
//! the sync then. When nothing else is waiting and the disk is quick, the engine's task syncs by itself, which
//! saves two hops between threads.

mod handle;
mod status;
#[cfg(test)]
mod tests;
mod watch;

use std::collections::HashMap;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use puente_charter::{Charter, ClaimedPart};
use puente_exchange::api::{
    Alarm, Batch, Conclusion, ConnectionId, Draft, Effect, InForce, Input, LocalEvent, StreamId, Ticket,
};
use puente_exchange::{Cosigning, Engine, GroupStanding};
use puente_ledger::LedgerCopy;
use puente_model::{Digest, Millis, Mode, NodeUri};
use puente_wire::fault::FaultCode;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use tokio::time::timeout;

use crate::disk::{DiskError, NodeDisk};
use crate::records::{Found, Lookup, RecordReader};
use crate::witness::HttpWitnesses;

pub use handle::{DriverHandle, Gone};
pub use status::{DriverStatus, PeerStatus};
pub use watch::Watch;

use status::{DiskShown, Shown};

/// Inputs handled before effects are carried out: bounds how long a reply waits behind arrivals.
const INPUTS_PER_TURN: usize = 64;
/// Clock steps backwards up to this are waited out rather than shown to the engine, in milliseconds.
const CLOCK_STEP_MILLIS_MAX: u64 = 2_000;

const NO_WAY: &str = "this node has no way to witnesses over HTTP";
/// How soon a deadline that stays is ticked again.
const TICK_AGAIN: Duration = Duration::from_millis(1);

/// The engine, as the driver sees it.
pub trait Core: Send + 'static {
    /// Takes an input.
    fn handle(&mut self, now: Millis, input: Input);
    /// What to do next.
    fn poll_effect(&mut self, now: Millis) -> Option<Effect>;
    /// When to say [`Input::Tick`] if nothing else arrives.
    fn poll_deadline(&self) -> Option<Millis>;
    /// How the conversations go.
    fn view(&self, now: Millis) -> CoreView;
    /// The ledgers of the groups that this node is in.
    fn ledgers(&self) -> Vec<LedgerCopy>;
}

/// How the engine's conversations go, in numbers.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CoreView {
    /// Exchanges that this node asked for and that can get on.
    pub asking: u64,
    /// Exchanges that this node holds the answers to and that can get on.
    pub holding: u64,
    /// Peers with which a compared connection stands.
    pub peers_ready: u64,
    /// Peers whose frames were refused in the last minute because they came from this clock's future.
    pub future_dated: u64,
    /// How far cosignatures have come; none while the charter wants none.
    pub cosigning: Option<Cosigning>,
    /// The groups that this node is in.
    pub groups: Vec<GroupStanding>,
}

impl Core for Engine {
    fn ledgers(&self) -> Vec<LedgerCopy> {
        Self::ledgers(self)
    }

    fn handle(&mut self, now: Millis, input: Input) {
        Self::handle(self, now, input);
    }

    fn poll_effect(&mut self, now: Millis) -> Option<Effect> {
        Self::poll_effect(self, now)
    }

    fn poll_deadline(&self) -> Option<Millis> {
        Self::poll_deadline(self)
    }

    fn view(&self, now: Millis) -> CoreView {
        let (asking, holding) = self.under_way();
        CoreView {
            asking: asking as u64,
            holding: holding as u64,
            peers_ready: self.ready_peers().count() as u64,
            future_dated: self.future_dated(now) as u64,
            cosigning: self.cosigning(now),
            groups: self.groups(),
        }
    }
}

/// Who carries bytes to peers. Nothing here waits: it hands over and returns.
pub trait Network: Send {
    /// Sends a whole frame; opens an even stream that is new; with `finish`, ends it.
    fn send(&self, connection: ConnectionId, stream: StreamId, frame: Vec<u8>, finish: bool);
    /// Resets this node's half of a stream, after what was sent before as far as it went out.
    fn reset(&self, connection: ConnectionId, stream: StreamId);
    /// Dials a peer once and reports [`Input::Connected`] or [`Input::DialFailed`].
    fn connect(&self, peer: NodeUri);
    /// Closes a connection.
    fn close(&self, connection: ConnectionId, reason: FaultCode);
    /// Judges handshakes, and the connections that stand, by this from now on.
    fn in_force(&self, _: &InForce) {}
}

/// Told of every alarm; must not block.
pub type AlarmHook = Box<dyn Fn(&Alarm) + Send>;

/// Limits and hooks of the driver.
pub struct DriverOptions {
    /// Bytes of inputs that may wait for the engine; whoever brings more waits.
    pub queue_bytes_max: usize,
    /// The engine's task syncs by itself while syncs take no longer than this on average, in microseconds.
    pub inline_sync_micros: u64,
    /// Called with every alarm, besides logging it.
    pub on_alarm: Option<AlarmHook>,
    /// Sees what is carried.
    pub watch: Option<Arc<dyn Watch>>,
    /// The way to witnesses over HTTP; without it such witnesses cannot be reached.
    pub witnesses: Option<HttpWitnesses>,
    /// Told of every head of the log that the quorum cosigned; must not block.
    pub on_cosigned: Option<Box<dyn Fn(Vec<u8>) + Send>>,
    /// Told to keep charter parts, and what is in force; must not block. Without it nothing is adopted.
    pub on_rules: Option<RulesHook>,
}

/// Called with what a change of the charter asks for.
pub type RulesHook = Box<dyn Fn(RulesStep) + Send>;

/// A step of a change of the charter.
#[derive(Debug)]
pub enum RulesStep {
    /// Keep these parts, then say [`Input::Kept`] or [`Input::NotKept`].
    Keep(Arc<Charter>, Vec<ClaimedPart>),
    /// This is in force now.
    InForce(InForce),
}

impl Default for DriverOptions {
    fn default() -> Self {
        Self {
            queue_bytes_max: 64 << 20,
            inline_sync_micros: 300,
            on_alarm: None,
            on_rules: None,
            on_cosigned: None,
            watch: None,
            witnesses: None,
        }
    }
}

/// What comes to the engine's task.
enum Message {
    /// An input; the permit is given back once the engine has handled it.
    Input(Input, Option<OwnedSemaphorePermit>),
    Ask(Ticket, Box<Draft>, oneshot::Sender<Conclusion>),
    Event(Ticket, LocalEvent, oneshot::Sender<Conclusion>),
    /// Any other input that is concluded under this ticket.
    Wish(Ticket, Input, oneshot::Sender<Conclusion>),
    ClosePeriods(Ticket, oneshot::Sender<Conclusion>),
    View(oneshot::Sender<CoreView>),
    Ledgers(oneshot::Sender<Vec<LedgerCopy>>),
    Written(u64, Result<(), DiskError>),
    Found(u64, Found),
    Submitted(Digest, String, Result<(u16, Vec<u8>), String>),
    Sought(String, String, Result<Option<Vec<u8>>, String>),
    Shutdown(Option<oneshot::Sender<Result<(), DiskError>>>),
}

/// A driver that has its queue, but no engine yet: the network needs the one before the other.
pub struct Driver {
    options: DriverOptions,
    sender: UnboundedSender<Message>,
    receiver: UnboundedReceiver<Message>,
    shown: Arc<Shown>,
}

impl Driver {
    /// A driver and the handle to it.
    pub fn new(options: DriverOptions) -> (Self, DriverHandle) {
        let (sender, receiver) = unbounded_channel();
        let shown = Arc::new(Shown::default());
        let room = Arc::new(Semaphore::new(options.queue_bytes_max.div_ceil(handle::PERMIT_BYTES)));
        let handle = DriverHandle::new(sender.clone(), room, Arc::clone(&shown));
        (Self { options, sender, receiver, shown }, handle)
    }

    /// Starts the writer's thread and gives the engine's task, to be spawned beside the network's.
    ///
    /// # Errors
    /// The operating system gives no thread.
    pub fn prepare<C: Core>(
        self,
        core: C,
        disk: NodeDisk,
        records: RecordReader,
        network: Box<dyn Network>,
    ) -> std::io::Result<impl Future<Output = ()> + Send + 'static> {
        let Self { options, sender, receiver, shown } = self;
        shown.show_disk(DiskShown::Live(disk.clone()));
        let (batches, writer) = spawn_writer(disk.clone(), sender.clone())?;
        let mut turn = Turn {
            core,
            disk,
            records,
            network,
            options,
            shown,
            receiver,
            found: sender,
            batches,
            in_flight: false,
            queue_empty: true,
            clock: Clock::default(),
            replies: HashMap::new(),
            sync_micros: 0,
            ticked: None,
            stopping: None,
        };
        Ok(async move {
            turn.run().await;
            // Applying what is left may take a while.
            let ended = tokio::task::spawn_blocking(move || turn.end(writer)).await;
            if let Err(error) = ended {
                tracing::error!(%error, "the journal holds every acknowledged batch; the next start applies it");
            }
        })
    }
}

/// The thread that syncs while the engine goes on.
fn spawn_writer(
    disk: NodeDisk,
    done: UnboundedSender<Message>,
) -> std::io::Result<(SyncSender<Batch>, JoinHandle<()>)> {
    let (batches, receiver) = sync_channel::<Batch>(1);
    let run = move || {
        for batch in receiver {
            let number = batch.number;
            let result = disk.write(batch);
            if done.send(Message::Written(number, result)).is_err() {
                break;
            }
        }
    };
    Ok((batches, thread::Builder::new().name("writer".to_owned()).spawn(run)?))
}

/// Wall-clock time that small corrections do not move backwards.
#[derive(Default)]
struct Clock {
    last: Mutex<Duration>,
}

impl Clock {
    fn precise(&self) -> Duration {
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let mut last = self.last.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let back = last.saturating_sub(wall);
        if back.is_zero() || back > Duration::from_millis(CLOCK_STEP_MILLIS_MAX) {
            *last = wall;
        }
        *last
    }

    fn now(&self) -> Millis {
        Millis(u64::try_from(self.precise().as_millis()).unwrap_or(u64::MAX))
    }

    /// Time left until a deadline, to the microsecond.
    fn until(&self, deadline: Millis) -> Duration {
        Duration::from_millis(deadline.0).saturating_sub(self.precise())
    }
}

/// Everything in the engine's task.
struct Turn<C> {
    core: C,
    disk: NodeDisk,
    records: RecordReader,
    network: Box<dyn Network>,
    options: DriverOptions,
    shown: Arc<Shown>,
    receiver: UnboundedReceiver<Message>,
    /// Where records come back from a store that is not read in line.
    found: UnboundedSender<Message>,
    batches: SyncSender<Batch>,
    in_flight: bool,
    queue_empty: bool,
    clock: Clock,
    replies: HashMap<Ticket, oneshot::Sender<Conclusion>>,
    sync_micros: u64,
    ticked: Option<Millis>,
    stopping: Option<Option<oneshot::Sender<Result<(), DiskError>>>>,
}

impl<C: Core> Turn<C> {
    async fn run(&mut self) {
        // The engine may want something at once: dial its peers, for example.
        self.effects().await;
        while self.stopping.is_none() || self.in_flight {
            let Some(first) = self.wait().await else {
                self.core.handle(self.clock.now(), Input::Tick);
                self.queue_empty = true;
                self.effects().await;
                continue;
            };
            self.take(first);
            self.queue_empty = false;
            for _ in 1..INPUTS_PER_TURN {
                match self.receiver.try_recv() {
                    Ok(message) => self.take(message),
                    Err(_) => {
                        self.queue_empty = true;
                        break;
                    }
                }
            }
            let now = self.clock.now();
            if self.core.poll_deadline().is_some_and(|deadline| deadline <= now) {
                self.core.handle(now, Input::Tick);
            }
            self.effects().await;
        }
    }

    /// The next message, or none when the engine's deadline has come.
    async fn wait(&mut self) -> Option<Message> {
        let Some(deadline) = self.core.poll_deadline() else {
            return self.receiver.recv().await.or(Some(Message::Shutdown(None)));
        };
        // A deadline that a tick did not move (the engine waits for a sync, say) must not make this spin.
        let least = if self.ticked == Some(deadline) { TICK_AGAIN } else { Duration::ZERO };
        match timeout(self.clock.until(deadline).max(least), self.receiver.recv()).await {
            Ok(message) => message.or(Some(Message::Shutdown(None))),
            Err(_) => {
                self.ticked = Some(deadline);
                None
            }
        }
    }

    fn take(&mut self, message: Message) {
        if !matches!(message, Message::Written(..) | Message::Found(..) | Message::Submitted(..) | Message::Sought(..))
        {
            self.shown.queued.fetch_sub(1, Ordering::Relaxed);
        }
        let now = self.clock.now();
        match message {
            Message::Written(batch, result) => {
                self.in_flight = false;
                self.written(batch, result);
            }
            Message::Shutdown(reply) => self.stopping = Some(reply),
            // From here on only what is being written is seen through.
            _ if self.stopping.is_some() => (),
            Message::Found(lookup, records) => self.core.handle(now, Input::Found { lookup, records }),
            Message::Sought(witness, origin, head) => {
                self.core.handle(now, Input::Sought { witness, origin, head });
            }
            Message::Submitted(submission, witness, answer) => {
                self.core.handle(now, Input::Submitted { submission, witness, answer });
            }
            Message::Input(input, permit) => {
                self.shown.see(now, &input);
                if let Input::Cancel { ticket } = &input {
                    self.replies.remove(ticket);
                    self.watched(|watch| watch.cancelled(*ticket));
                }
                self.core.handle(now, input);
                drop(permit);
            }
            Message::View(reply) => {
                // Whoever asked may have left.
                let _ = reply.send(self.core.view(now));
            }
            Message::Ledgers(reply) => {
                // Whoever asked may have left.
                let _ = reply.send(self.core.ledgers());
            }
            Message::Ask(ticket, draft, reply) => {
                self.watched(|watch| watch.asked(ticket, &draft));
                self.replies.insert(ticket, reply);
                self.core.handle(now, Input::Question { ticket, draft });
            }
            Message::Event(ticket, event, reply) => {
                self.replies.insert(ticket, reply);
                self.core.handle(now, Input::Event { ticket, event });
            }
            Message::Wish(ticket, input, reply) => {
                self.replies.insert(ticket, reply);
                self.core.handle(now, input);
            }
            Message::ClosePeriods(ticket, reply) => {
                self.replies.insert(ticket, reply);
                self.core.handle(now, Input::ClosePeriods { ticket });
            }
        }
    }

    async fn effects(&mut self) {
        let mut handed_over = false;
        while let Some(effect) = self.core.poll_effect(self.clock.now()) {
            match effect {
                Effect::Send { connection, stream, bytes, finish } => {
                    self.network.send(connection, stream, bytes, finish);
                    handed_over = true;
                }
                Effect::Reset { connection, stream } => self.network.reset(connection, stream),
                Effect::Connect { peer } => self.network.connect(peer),
                Effect::Close { connection, reason } => self.network.close(connection, reason),
                Effect::Write(batch) => {
                    if std::mem::take(&mut handed_over) {
                        // Whoever was woken on this thread must not wait for the disk.
                        tokio::task::yield_now().await;
                    }
                    self.write(batch);
                }
                Effect::Lookup { lookup, record_type, keys, limit, mode: Mode::Training } => {
                    let records = self.records.invented(&Lookup { record_type, keys, limit });
                    self.core.handle(self.clock.now(), Input::Found { lookup, records });
                }
                Effect::Lookup { lookup, record_type, keys, limit, mode: Mode::Open } => {
                    let found = self.found.clone();
                    // The task may have ended before the records come: then the question was never recorded here.
                    let later = move |records| drop(found.send(Message::Found(lookup, records)));
                    if let Some(records) = self.records.lookup(Lookup { record_type, keys, limit }, later) {
                        self.core.handle(self.clock.now(), Input::Found { lookup, records });
                    }
                }
                Effect::Conclude { ticket, conclusion } => {
                    self.watched(|watch| watch.concluded(ticket, &conclusion));
                    if let Some(reply) = self.replies.remove(&ticket) {
                        // Whoever asked may have left.
                        let _ = reply.send(*conclusion);
                        handed_over = true;
                    }
                }
                Effect::Matched { key } => self.shown.matched(key),
                Effect::Adopt { charter, parts } => match &self.options.on_rules {
                    Some(hook) => hook(RulesStep::Keep(charter, parts)),
                    None => self.core.handle(self.clock.now(), Input::NotKept),
                },
                Effect::InForce(rules) => {
                    self.network.in_force(&rules);
                    if let Some(hook) = &self.options.on_rules {
                        hook(RulesStep::InForce(rules));
                    }
                }
                Effect::Submit { submission, witness, url, body } => self.submit(submission, witness, url, body),
                Effect::Seek { witness, url, origin } => self.seek(witness, url, origin),
                Effect::Cosigned { checkpoint } => {
                    if let Some(hook) = &self.options.on_cosigned {
                        hook(checkpoint);
                    }
                }
                Effect::Alarm(alarm) => {
                    if let Some(hook) = &self.options.on_alarm {
                        hook(&alarm);
                    }
                    if matches!(alarm, Alarm::StoreUnavailable(_)) {
                        self.watched(|watch| watch.store_failed());
                    }
                    self.shown.alarm(self.clock.now(), &alarm);
                }
            }
        }
    }

    fn seek(&self, witness: String, url: String, origin: String) {
        let (witnesses, later) = (self.options.witnesses.clone(), self.found.clone());
        tokio::task::spawn_blocking(move || {
            let head = match witnesses {
                Some(witnesses) => witnesses.newest(&url, &origin),
                None => Err(NO_WAY.to_owned()),
            };
            drop(later.send(Message::Sought(witness, origin, head)));
        });
    }

    /// The engine has at most one submission to each witness on its way.
    fn submit(&self, submission: Digest, witness: String, url: String, body: Vec<u8>) {
        let (witnesses, later) = (self.options.witnesses.clone(), self.found.clone());
        tokio::task::spawn_blocking(move || {
            let answer = match witnesses {
                Some(witnesses) => witnesses.submit(&url, &body),
                None => Err(NO_WAY.to_owned()),
            };
            // The task may have ended; the head is submitted again after the next start.
            drop(later.send(Message::Submitted(submission, witness, answer)));
        });
    }

    fn watched(&self, tell: impl FnOnce(&dyn Watch)) {
        if let Some(watch) = &self.options.watch {
            tell(watch.as_ref());
        }
    }

    fn write(&mut self, batch: Batch) {
        self.watched(|watch| watch.writing(&batch));
        self.shown.writing(true);
        let (number, entries) = (batch.number, batch.entries.len());
        self.shown.batches.fetch_add(1, Ordering::Relaxed);
        self.shown.entries.fetch_add(entries as u64, Ordering::Relaxed);
        if self.queue_empty && !self.in_flight && self.sync_micros <= self.options.inline_sync_micros {
            let result = self.disk.write(batch);
            self.written(number, result);
            return;
        }
        self.in_flight = self.batches.send(batch).is_ok();
        if !self.in_flight {
            self.written(number, Err(DiskError::System("the writer's thread")));
        }
    }

    fn written(&mut self, batch: u64, result: Result<(), DiskError>) {
        let now = self.clock.now();
        self.watched(|watch| watch.written(batch, result.is_ok()));
        self.shown.writing(false);
        match result {
            Ok(()) => {
                let last = self.disk.sync_micros();
                self.sync_micros = if self.sync_micros == 0 { last } else { (7 * self.sync_micros + last) / 8 };
                self.core.handle(now, Input::Durable { batch });
            }
            Err(error) => {
                tracing::error!(%error, batch, "the log cannot be written: nothing is asked or answered any more");
                self.shown.fail(error.to_string());
                self.core.handle(now, Input::WriteFailed { batch });
            }
        }
    }

    fn end(self, writer: JoinHandle<()>) {
        let Self { core, disk, network, shown, batches, replies, stopping, .. } = self;
        shown.stopped.store(true, Ordering::Relaxed);
        drop((replies, batches, network, core));
        let began = Instant::now();
        let writer = writer.join().map_err(|_| DiskError::System("the writer's thread"));
        let closed = writer.and_then(|()| disk.close());
        let millis = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
        match &closed {
            Ok(()) => tracing::info!(millis, "everything durable is applied and published"),
            Err(error) => {
                tracing::error!(%error, "the journal holds every acknowledged batch; the next start applies it")
            }
        }
        // The folder is free again before anyone is told.
        shown.show_disk(DiskShown::Ended(disk.status()));
        drop(disk);
        if let Some(Some(reply)) = stopping {
            // Whoever asked for it may have left.
            let _ = reply.send(closed);
        }
    }
}
