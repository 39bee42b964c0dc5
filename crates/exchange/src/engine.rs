//! The engine: one node's side of every conversation.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::Arc;

use puente_audit_log::{Log, Signer, TileReader, VerifierKey};
use puente_catalogue::Catalogue;
use puente_charter::Charter;
use puente_model::{CharterVector, Digest, EventKind, ExchangeId, LeafIndex, Millis, NodeUri, OfficerId, Origin};
use puente_policy::{Judge, PolicySet};
use puente_wire::fault::FaultCode;
use puente_wire::proto;
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng as _;

use crate::adoption::Changes;
use crate::api::{Alarm, Conclusion, ConnectionId, Effect, Input, LocalEvent, Rules, Store, StreamId, Ticket};
use crate::asker::Asking;
use crate::holder::{HoldStage, Holding};
use crate::ledger::{Intent, Ledger, Recorded, Tuning};
use crate::peer::{Connection, Peer, number_of};
use crate::period::STANDS;
use crate::persist;
pub(crate) use crate::record::{aside, unwrap};
use crate::seeds::Seeds;
use crate::standing::Kept;

/// What an engine is made of.
pub struct Setup {
    /// This node.
    pub node: NodeUri,
    /// k of its log's origin `…/log<k>`.
    pub log: u32,
    /// The charter in force.
    pub charter: Arc<Charter>,
    /// The catalogue in use.
    pub catalogue: Arc<Catalogue>,
    /// The node's policies.
    pub policy: Arc<PolicySet>,
    /// Signs heads.
    pub signer: Box<dyn Signer + Send>,
    /// The log, opened under its durable head.
    pub tree: Log,
    /// The log's files.
    pub tiles: Box<dyn TileReader + Send>,
    /// The evidence store.
    pub store: Box<dyn Store + Send>,
    /// Fresh randomness of the operating system.
    pub seed: [u8; 32],
    /// Batch sizes and waits.
    pub tuning: Tuning,
    /// The log comes from a backup, and nobody has said yet that it may go on: heads are compared with every peer
    /// that connects, and nothing is recorded, asked or answered.
    pub restored: bool,
}

/// Whether the log takes entries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// It does.
    Open,
    /// It was restored from a backup: heads are compared, nothing else.
    Restored,
    /// A peer showed a signed head of this log that it cannot prove: it lost its tail. It never takes entries again.
    Behind,
}

/// How to appeal against a refusal of this agency's, in both languages; empty where nobody says.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Appeal {
    /// English.
    pub en: String,
    /// Spanish.
    pub es: String,
}

/// Why an engine cannot start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The node is not in the charter.
    #[error("{0} is not an active member of the charter: check the annex of its nation")]
    NotAMember(NodeUri),
    /// The log's key or origin is not the charter's.
    #[error("the charter names another log for this node ({0}): check keys/log.key and the annex")]
    OtherLog(String),
    /// The annex closed this log.
    #[error("the annex closed the log {0}: go on with its successor ('puente log switch')")]
    Closed(String),
    /// The annex did not close the log that this one follows.
    #[error("the annex does not close the log {0}, which this node's log follows")]
    StillOpen(String),
    /// A key in the charter is unusable.
    #[error("the charter's log key of {0} is unusable: {1}")]
    Key(NodeUri, String),
    /// The charter wants heads cosigned, which this version cannot gather: it would release nothing.
    #[error("the charter names a witness quorum, and this version gathers no cosignatures: run a version that does")]
    Witnesses,
    /// The evidence store cannot be read.
    #[error("the evidence store cannot be read: {0}")]
    Store(String),
    /// The node has left the federation.
    #[error(
        "this node has left the federation: entry {0} of its log is the final one, and nothing is recorded after it"
    )]
    Left(u64),
}

/// What follows once entries are durable.
#[derive(Debug)]
pub(crate) enum Then {
    Nothing,
    /// Asker: the QUERY stands; ask.
    Ask(ExchangeId),
    /// Holder: QUERY and ANSWER stand; reply.
    Reply(ExchangeId),
    /// Holder: the QUERY stands, and a person decides; say so.
    Park(ExchangeId),
    /// Holder: the person's decision stands; carry it out.
    Decided(ExchangeId),
    /// Asker: the CONFIRM stands; ask the step-2 question.
    Confirmed(Ticket, Box<crate::api::Draft>),
    /// Asker: the ANSWER stands; acknowledge.
    Acknowledge(ExchangeId),
    /// Holder: the RELEASE stands; release.
    Release(ExchangeId),
    /// Asker: the end stands; tell.
    End(ExchangeId, Box<Conclusion>),
    /// Tell whoever asked.
    Tell(Ticket, Box<Conclusion>),
    /// A local event stands.
    Event(Ticket),
    /// The COLLECT of a batch stands.
    Collected(Digest),
    /// The end of a peer's block stands.
    Unblock(Ticket, NodeUri),
    /// The open ends are recorded.
    Ended(Ticket),
    /// The final entry stands: what opens it, and who waits.
    Left(Ticket, Box<proto::Proven>),
    /// Other rules stand in the log: they are in force.
    Rule(Option<Ticket>, Box<Rules>),
    /// An own VOID or PERIOD stands; deliver it.
    Deliver(NodeUri, u64),
    /// A peer's entry stands; say so.
    Delivered {
        connection: ConnectionId,
        leaf: Digest,
        result: u32,
        index: u64,
    },
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Timer {
    /// An ask's deadline.
    Ask(ExchangeId),
    /// Ask or acknowledge again.
    Again(ExchangeId),
    /// A parked question's deadline, or a decision on it that is still to be carried out.
    Parked(ExchangeId),
    /// Close the period with a peer.
    Period(NodeUri),
    /// Ask a peer for a head proof.
    Head(NodeUri),
    /// Give up waiting for a peer to close its period.
    Closing(NodeUri),
    /// Record counted faults.
    Faults,
    /// Dial a peer that something waits for.
    Dial(NodeUri),
    /// Send more of what waits for a peer.
    Turn(NodeUri),
    /// See which deliveries to a peer were not answered.
    Deliver(NodeUri),
    /// Give up waiting for a peer's charter parts.
    CatchUp(NodeUri),
}

/// How long to wait for a head that travels beside its frame, before asking for a proof.
const HEAD_WAIT_MILLIS: u64 = 250;
/// Timers that fire in one go: ten thousand deadlines at once do not hold up what arrives.
const TIMERS_PER_TURN: usize = 256;
/// How long before an unanswered frame is sent again.
pub(crate) const AGAIN_MILLIS: u64 = 5_000;

/// One node's side of every conversation: deterministic, without clock, disk or network.
pub struct Engine {
    pub(crate) node: NodeUri,
    pub(crate) origin: Origin,
    pub(crate) log_number: u32,
    pub(crate) own_key: VerifierKey,
    /// Logs of this node that this one follows, by origin: key, and the size at which the annex closed it.
    pub(crate) earlier: BTreeMap<String, (VerifierKey, u64)>,
    /// Entries of theirs that this run took up, and where.
    pub(crate) taken_up: HashMap<Digest, u64>,
    pub(crate) own_roles: BTreeSet<String>,
    pub(crate) charter: Arc<Charter>,
    pub(crate) vector: CharterVector,
    pub(crate) catalogue: Arc<Catalogue>,
    pub(crate) judge: Judge,
    pub(crate) appeal: Appeal,
    pub(crate) policy_hash: Digest,
    pub(crate) ledger: Ledger<Then>,
    pub(crate) store: Box<dyn Store + Send>,
    pub(crate) rng: ChaCha20Rng,
    pub(crate) tuning: Tuning,
    pub(crate) seeds: Seeds,
    pub(crate) peers: BTreeMap<NodeUri, Peer>,
    pub(crate) connections: HashMap<ConnectionId, Connection>,
    pub(crate) asks: HashMap<ExchangeId, Asking>,
    pub(crate) tickets: HashMap<Ticket, ExchangeId>,
    pub(crate) holds: HashMap<ExchangeId, Holding>,
    pub(crate) lookups: HashMap<u64, ExchangeId>,
    pub(crate) next_lookup: u64,
    pub(crate) officers: HashMap<OfficerId, (u64, u32)>,
    /// Who waits for the COLLECT of a batch (digest of its details) to stand.
    pub(crate) collecting: HashMap<Digest, Vec<Ticket>>,
    pub(crate) closers: HashMap<Ticket, (BTreeSet<NodeUri>, Vec<NodeUri>, usize)>,
    pub(crate) kept: Kept,
    pub(crate) changes: Changes,
    /// Inputs that wait until a change of the rules is durable.
    held_back: Option<VecDeque<Input>>,
    timers: BTreeSet<(Millis, Timer)>,
    effects: VecDeque<Effect>,
    last_now: Millis,
    pub(crate) draining: bool,
    /// Names accepted matters in the store; none until the first is accepted in this run.
    pub(crate) matter_secret: Option<Vec<u8>>,
    /// Reviewed in this run: on its way to the disk, or there.
    pub(crate) reviewing: std::collections::BTreeSet<ExchangeId>,
    failed: bool,
    /// Why, for peers.
    ended: FaultCode,
    standing: Standing,
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Engine({}, {} entries)", self.node, self.ledger.size())
    }
}

impl Engine {
    /// Takes up where the store and the log left off.
    ///
    /// # Errors
    /// Charter, log and store do not fit together.
    pub fn new(setup: Setup, now: Millis) -> Result<Self, OpenError> {
        let Setup { node, log, charter, catalogue, policy, signer, tree, tiles, store, seed, tuning, restored } = setup;
        let member =
            charter.member(&node).filter(|m| m.is_active()).ok_or_else(|| OpenError::NotAMember(node.clone()))?;
        if let Some(last) = store.get(persist::LEFT).map_err(OpenError::Store)? {
            let last = last.try_into().map_or(0, u64::from_be_bytes);
            return Err(OpenError::Left(last));
        }
        if !charter.witness_policy().is_none() {
            return Err(OpenError::Witnesses);
        }
        let origin = node.origin(log).map_err(|e| OpenError::OtherLog(e.to_string()))?;
        let entry =
            member.logs.iter().find(|l| l.origin == origin).ok_or_else(|| OpenError::OtherLog(origin.to_string()))?;
        let own_key: VerifierKey =
            entry.vkey.parse().map_err(|e: puente_audit_log::KeyError| OpenError::Key(node.clone(), e.to_string()))?;
        if *signer.verifier() != own_key || tree.origin() != origin.as_str() {
            return Err(OpenError::OtherLog(origin.to_string()));
        }
        let own_roles = member.roles.iter().cloned().collect();
        let number = log;
        let mut earlier = BTreeMap::new();
        for log in member.logs.iter().filter(|log| number_of(log) < number) {
            let key: VerifierKey = log
                .vkey
                .parse()
                .map_err(|e: puente_audit_log::KeyError| OpenError::Key(node.clone(), e.to_string()))?;
            let closed_at = log.closed_at.ok_or_else(|| OpenError::StillOpen(log.origin.to_string()))?;
            earlier.insert(log.origin.to_string(), (key, closed_at));
        }
        if entry.closed_at.is_some() {
            return Err(OpenError::Closed(origin.to_string()));
        }
        let mut peers = BTreeMap::new();
        for member in charter.members() {
            if member.uri == node {
                continue;
            }
            let Some(log) = member.open_log().or(member.logs.last()) else { continue };
            let key = log
                .vkey
                .parse()
                .map_err(|e: puente_audit_log::KeyError| OpenError::Key(member.uri.clone(), e.to_string()))?;
            let roles = member.roles.iter().cloned().collect();
            let mut peer = Peer::new(member.uri.clone(), roles, log, key, number);
            peer.know_closed(&member.logs);
            peer.restore(&*store).map_err(OpenError::Store)?;
            peer.index_own();
            peers.insert(member.uri.clone(), peer);
        }
        let vector = charter.vector();
        let policy_hash = policy.hash();
        let kept = Kept::restore(&*store).map_err(OpenError::Store)?;
        let changes = Changes::restore(&*store).map_err(OpenError::Store)?;
        let mut engine = Self {
            node,
            origin,
            log_number: log,
            own_key,
            earlier,
            taken_up: HashMap::new(),
            own_roles,
            vector,
            judge: Judge::new(policy, Judge::CAPACITY),
            appeal: Appeal::default(),
            policy_hash,
            ledger: Ledger::new(tree, tiles, signer, tuning),
            store,
            rng: ChaCha20Rng::from_seed(seed),
            tuning,
            seeds: Seeds::default(),
            peers,
            connections: HashMap::new(),
            asks: HashMap::new(),
            tickets: HashMap::new(),
            holds: HashMap::new(),
            lookups: HashMap::new(),
            next_lookup: 1,
            officers: HashMap::new(),
            collecting: HashMap::new(),
            closers: HashMap::new(),
            kept,
            changes,
            held_back: None,
            timers: BTreeSet::new(),
            effects: VecDeque::new(),
            last_now: now,
            draining: false,
            matter_secret: None,
            reviewing: std::collections::BTreeSet::new(),
            failed: false,
            ended: FaultCode::LogUnavailable,
            standing: if restored { Standing::Restored } else { Standing::Open },
            charter,
            catalogue,
        };
        // Nothing is open yet: nobody is cut off.
        engine.settle_standing(now);
        if restored {
            engine.seek_comparisons();
            return Ok(engine);
        }
        engine.restore_asks(now).map_err(OpenError::Store)?;
        engine.restore_holds(now).map_err(OpenError::Store)?;
        let period = u64::from(engine.charter.period_minutes()) * 60_000;
        for uri in engine.peers.keys().cloned().collect::<Vec<_>>() {
            engine.at(now.plus(period), Timer::Period(uri));
        }
        let start = LocalEvent {
            kind: EventKind::Start,
            record_type: String::new(),
            count: 0,
            purpose: None,
            basis: None,
            role: None,
            detail: Vec::new(),
        };
        engine.record_event(now, start, |_| {}, Then::Nothing);
        if engine.peers.values().any(|peer| peer.owes_handover) {
            engine.seek_comparisons();
        }
        Ok(engine)
    }

    /// What this agency says to whoever it refuses, where the deciding rule does not.
    #[must_use]
    pub fn with_appeal(mut self, appeal: Appeal) -> Self {
        self.appeal = appeal;
        self
    }

    /// This node.
    pub fn node(&self) -> &NodeUri {
        &self.node
    }

    /// How many entries of the log are durable.
    pub fn size(&self) -> u64 {
        self.ledger.size()
    }

    /// The newest durable head: a signed note.
    pub fn head(&self) -> Option<&[u8]> {
        self.ledger.head().map(puente_audit_log::SignedCheckpoint::note_bytes)
    }

    /// Peers with which a compared, ready connection stands.
    pub fn ready_peers(&self) -> impl Iterator<Item = &NodeUri> {
        self.peers.values().filter(|p| p.ready.is_some()).map(|p| &p.uri)
    }

    /// Exchanges that are not ended: asked, and held.
    pub fn open_exchanges(&self) -> (usize, usize) {
        (self.asks.len(), self.holds.len())
    }

    /// Exchanges that can get on now, since a ready connection to their peer stands: asked by somebody who waits, and held.
    pub fn under_way(&self) -> (usize, usize) {
        let ready = |peer: &NodeUri| self.peers.get(peer).is_some_and(|known| known.ready.is_some());
        let asks = self.asks.values().filter(|ask| ask.ticket.is_some() && ready(&ask.peer)).count();
        // A person's decision is not waited for, nor what is done.
        let moves = |stage: HoldStage| !matches!(stage, HoldStage::Parked | HoldStage::Released);
        let holds = self.holds.values().filter(|hold| moves(hold.stage) && hold.due_at > self.last_now);
        (asks, holds.filter(|hold| ready(&hold.peer)).count())
    }

    /// Peers whose frames were lately refused because they bore a time in this clock's future.
    pub fn future_dated(&self, now: Millis) -> usize {
        let lately = |peer: &&Peer| peer.faults.get(&FaultCode::FutureDated).is_some_and(|(_, next)| *next > now);
        self.peers.values().filter(lately).count()
    }

    /// Nothing waits to be recorded and no effect is pending.
    pub fn is_idle(&self) -> bool {
        self.ledger.is_idle() && self.effects.is_empty()
    }

    /// Whether the log takes entries.
    pub const fn standing(&self) -> Standing {
        self.standing
    }

    /// Dials everybody: whoever holds a larger head of the restored log than the log itself says so in Ready.
    fn seek_comparisons(&mut self) {
        for peer in self.peers.keys().cloned().collect::<Vec<_>>() {
            self.line_to(&peer);
        }
    }

    /// The log lost its tail: no entry may follow the one that it ends with, whoever asks for it.
    pub(crate) fn fall_behind(&mut self) {
        if self.standing == Standing::Behind {
            return;
        }
        self.standing = Standing::Behind;
        for ticket in self.waiting_tickets() {
            self.tell(ticket, Conclusion::LogSuspended);
        }
        for input in self.held_back.take().unwrap_or_default() {
            self.stand_still(self.last_now, input);
        }
    }

    /// Everybody who waits for something of the log's.
    fn waiting_tickets(&mut self) -> BTreeSet<Ticket> {
        let mut waiting: BTreeSet<Ticket> = self.tickets.drain().map(|(ticket, _)| ticket).collect();
        waiting.extend(self.closers.drain().map(|(ticket, _)| ticket));
        waiting.extend(self.collecting.drain().flat_map(|(_, tickets)| tickets));
        waiting.extend(self.ledger.abandon().into_iter().filter_map(|then| match then {
            Then::Event(ticket)
            | Then::Tell(ticket, _)
            | Then::Unblock(ticket, _)
            | Then::Ended(ticket)
            | Then::Left(ticket, _)
            | Then::Rule(Some(ticket), _) => Some(ticket),
            _ => None,
        }));
        waiting.extend(self.changes.abandon());
        waiting
    }

    /// What comes while the log takes no entries: heads are compared, everybody else is told.
    fn stand_still(&mut self, now: Millis, input: Input) {
        match input {
            Input::Connected { connection, peer, dialled } => self.connected(now, connection, peer, dialled),
            Input::Disconnected { connection } => {
                if let Some(gone) = self.connections.remove(&connection)
                    && let Some(peer) = self.peers.get_mut(&gone.peer)
                {
                    peer.ready = peer.ready.filter(|line| *line != connection);
                }
            }
            Input::Frame { connection, stream, bytes } => self.frame_held_back(now, connection, stream, &bytes),
            Input::Question { ticket, .. }
            | Input::Withdraw { ticket, .. }
            | Input::Await { ticket, .. }
            | Input::Look { ticket, .. }
            | Input::Examine { ticket, .. }
            | Input::Inspect { ticket, .. }
            | Input::Decide { ticket, .. }
            | Input::Event { ticket, .. }
            | Input::Reviewed { ticket, .. }
            | Input::EndAll { ticket, .. }
            | Input::Leave { ticket, .. }
            | Input::ClosePeriods { ticket }
            | Input::Offer { ticket, .. }
            | Input::Rules { ticket, .. }
            | Input::Bar { ticket, .. } => {
                self.tell(ticket, Conclusion::LogSuspended);
            }
            Input::DialFailed { peer } => {
                if let Some(peer) = self.peers.get_mut(&peer) {
                    peer.dialling = false;
                }
            }
            Input::WriteFailed { .. } => self.fail(),
            Input::Drain => self.draining = true,
            Input::StreamReset { .. }
            | Input::Durable { .. }
            | Input::Found { .. }
            | Input::Cancel { .. }
            | Input::Kept(_)
            | Input::NotKept
            | Input::Tick => {}
        }
    }

    /// Takes one input in. Its effects are polled afterwards.
    pub fn handle(&mut self, now: Millis, input: Input) {
        self.watch_clock(now);
        if self.failed {
            self.turn_away(now, input);
            return;
        }
        if self.standing != Standing::Open {
            self.stand_still(now, input);
            return;
        }
        if let Some(held) = &mut self.held_back
            && !matches!(input, Input::Durable { .. } | Input::WriteFailed { .. })
        {
            if !matches!(input, Input::Tick) {
                held.push_back(input);
            }
            return;
        }
        self.take_in(now, input);
        if self.standing == Standing::Open {
            self.fire_timers(now);
        }
    }

    /// From here on inputs wait, until what is on its way to the disk is there.
    pub(crate) fn hold_back(&mut self) {
        self.held_back.get_or_insert_default();
    }

    fn take_in(&mut self, now: Millis, input: Input) {
        match input {
            Input::Connected { connection, peer, dialled } => self.connected(now, connection, peer, dialled),
            Input::Disconnected { connection } => self.disconnected(now, connection),
            Input::DialFailed { peer } => self.dial_failed(now, &peer),
            Input::Frame { connection, stream, bytes } => self.frame(now, connection, stream, &bytes),
            Input::StreamReset { connection, stream } => self.cancelled(connection, stream),
            Input::Durable { batch } => self.durable(now, batch),
            Input::WriteFailed { .. } => self.fail(),
            Input::Found { lookup, records } => self.found(now, lookup, records),
            Input::Question { ticket, draft } => self.question(now, ticket, *draft),
            Input::Cancel { ticket } => self.cancel(now, ticket),
            Input::Event { ticket, event } => self.local_event(now, ticket, event),
            Input::Withdraw { ticket, exchange } => self.withdraw(now, ticket, exchange),
            Input::Await { ticket, exchange } => self.await_end(now, ticket, exchange),
            Input::Look { ticket, exchange, officer } => self.look(now, ticket, exchange, &officer),
            Input::Examine { ticket, exchange, officer, facts, finding } => {
                self.examine(now, ticket, exchange, officer, facts, finding);
            }
            Input::Inspect { ticket, exchange, officer } => self.inspect(now, ticket, exchange, &officer),
            Input::Reviewed { ticket, exchange, officer, note } => {
                self.reviewed(now, ticket, exchange, &officer, &note);
            }
            Input::Decide { ticket, exchange, officer, decision } => {
                self.decide(now, ticket, exchange, &officer, decision);
            }
            Input::ClosePeriods { ticket } => self.close_periods(now, ticket),
            Input::Drain => self.draining = true,
            Input::EndAll { ticket } => self.end_all(now, ticket),
            Input::Leave { ticket, reason } => self.leave(now, ticket, reason),
            Input::Offer { ticket, parts } => self.offer(now, ticket, parts),
            Input::Kept(rules) => self.kept(now, rules),
            Input::NotKept => self.not_kept(now),
            Input::Rules { ticket, rules } => self.change(now, Some(ticket), rules),
            Input::Bar { ticket, peer, reason } => self.bar(now, ticket, peer, reason),
            Input::Tick => {}
        }
    }

    /// A clock that was put back must not hold up what waits: everything waits as long as it would have.
    fn watch_clock(&mut self, now: Millis) {
        let back = self.last_now.since(now);
        self.last_now = now;
        if back < 1_000 {
            return;
        }
        self.timers = std::mem::take(&mut self.timers)
            .into_iter()
            .map(|(due, timer)| (Millis(due.0.saturating_sub(back)), timer))
            .collect();
        self.ledger.clock_put_back(now);
        for ask in self.asks.values_mut() {
            ask.again_at = ask.again_at.min(now.plus(AGAIN_MILLIS));
        }
        for peer in self.peers.values_mut() {
            peer.put_clock_back(back);
            if let Some(closing) = &mut peer.closing {
                closing.until = Millis(closing.until.0.saturating_sub(back));
            }
            for (_, next) in peer.faults.values_mut() {
                *next = Millis(next.0.saturating_sub(back));
            }
        }
    }

    /// The next thing to be done; call until it returns `None`, then wait.
    pub fn poll_effect(&mut self, now: Millis) -> Option<Effect> {
        self.watch_clock(now);
        if let Some(effect) = self.effects.pop_front() {
            return Some(effect);
        }
        if self.failed || self.standing != Standing::Open {
            return None;
        }
        let due = self.ledger.deadline()?;
        if due > now {
            return None;
        }
        let puts = self.accepted_heads();
        match self.ledger.cut(now, puts) {
            Ok(batch) => batch.map(Effect::Write),
            Err(_) => {
                self.fail();
                self.effects.pop_front()
            }
        }
    }

    /// When to call `handle` with [`Input::Tick`] at the latest.
    pub fn poll_deadline(&self) -> Option<Millis> {
        if self.failed || self.standing != Standing::Open {
            return None;
        }
        // While a change of the rules is on its way to the disk, nothing else is due.
        let timer = self.timers.first().filter(|_| self.held_back.is_none()).map(|(due, _)| *due);
        [timer, self.ledger.deadline()].into_iter().flatten().min()
    }

    /// The accepted heads that have to become durable with the next batch.
    fn accepted_heads(&mut self) -> Vec<(Vec<u8>, Option<Vec<u8>>)> {
        let mut puts = Vec::new();
        for peer in self.peers.values_mut().filter(|p| p.log.dirty) {
            peer.log.dirty = false;
            if let Some(head) = peer.log.accepted() {
                puts.push((persist::head_key(&peer.uri, peer.log_number), Some(head.note_bytes().to_vec())));
            }
        }
        puts
    }

    fn durable(&mut self, now: Millis, batch: u64) {
        for (then, recorded) in self.ledger.durable(batch) {
            self.follow(now, then, &recorded);
        }
    }

    fn follow(&mut self, now: Millis, then: Then, recorded: &[Recorded]) {
        match then {
            Then::Nothing => {}
            Then::Ask(exchange) => self.query_recorded(now, exchange, recorded),
            Then::Reply(exchange) => self.answer_recorded(now, exchange, recorded),
            Then::Park(exchange) => self.parked(now, exchange, recorded),
            Then::Decided(exchange) => self.carry_out(now, exchange),
            Then::Confirmed(ticket, draft) => {
                self.tickets.remove(&ticket);
                self.question(now, ticket, *draft);
            }
            Then::Acknowledge(exchange) => self.reply_recorded(now, exchange, recorded),
            Then::Release(exchange) => self.release_recorded(exchange, recorded),
            Then::End(exchange, conclusion) => self.end_ask(now, exchange, *conclusion),
            Then::Tell(ticket, conclusion) => self.tell(ticket, *conclusion),
            Then::Event(ticket) => {
                let index = recorded.last().map_or(LeafIndex(0), Recorded::index);
                self.tell(ticket, Conclusion::Recorded { index });
            }
            Then::Collected(batch) => {
                let index = recorded.last().map_or(LeafIndex(0), Recorded::index);
                self.collected(&batch, index);
            }
            Then::Unblock(ticket, peer) => {
                let index = recorded.last().map_or(LeafIndex(0), Recorded::index);
                self.unblocked(now, &peer);
                self.tell(ticket, Conclusion::Recorded { index });
            }
            Then::Ended(ticket) => self.tell(ticket, Conclusion::Recorded { index: LeafIndex(self.ledger.size()) }),
            Then::Left(ticket, proven) => self.left(ticket, *proven, recorded.last()),
            Then::Rule(ticket, rules) => {
                let held = self.held_back.take().unwrap_or_default();
                self.in_force(now, ticket, *rules);
                for input in held {
                    self.handle(now, input);
                }
            }
            Then::Deliver(peer, seq) => self.deliver_new(now, &peer, seq, recorded.last()),
            Then::Delivered { connection, leaf, result, index } => {
                let proven = self.ledger.recorded(LeafIndex(index)).ok().filter(|r| *r.leaf() == leaf);
                let Some(proven) = proven else { return };
                self.send_delivered(connection, leaf, result, proven.receipt());
                let peer = self.connections.get(&connection).map(|line| line.peer.clone());
                if let Some(peer) = peer.filter(|_| result == STANDS) {
                    self.redeliver(now, &peer);
                }
            }
        }
    }

    /// What comes once the log cannot be written: everybody is told so, and nothing else happens.
    fn turn_away(&mut self, now: Millis, input: Input) {
        match input {
            Input::Connected { connection, .. } => {
                self.effects.push_back(Effect::Close { connection, reason: self.ended });
            }
            Input::Disconnected { connection } => {
                self.connections.remove(&connection);
            }
            Input::Frame { connection, stream, .. } => {
                if let Some(line) = self.connections.get(&connection) {
                    let peer = line.peer.clone();
                    self.fault(now, &peer, Route { connection, stream }, self.ended, None);
                }
            }
            Input::Question { ticket, .. }
            | Input::Withdraw { ticket, .. }
            | Input::Await { ticket, .. }
            | Input::Look { ticket, .. }
            | Input::Examine { ticket, .. }
            | Input::Inspect { ticket, .. }
            | Input::Decide { ticket, .. }
            | Input::Reviewed { ticket, .. }
            | Input::Event { ticket, .. }
            | Input::ClosePeriods { ticket }
            | Input::EndAll { ticket }
            | Input::Leave { ticket, .. }
            | Input::Offer { ticket, .. }
            | Input::Rules { ticket, .. }
            | Input::Bar { ticket, .. } => self.tell(ticket, Conclusion::LogUnavailable),
            Input::DialFailed { .. }
            | Input::StreamReset { .. }
            | Input::Durable { .. }
            | Input::WriteFailed { .. }
            | Input::Found { .. }
            | Input::Cancel { .. }
            | Input::Drain
            | Input::Kept(_)
            | Input::NotKept
            | Input::Tick => {}
        }
    }

    /// The log cannot be written: nothing is asked or answered any more.
    fn fail(&mut self) {
        if self.failed {
            return;
        }
        self.effects.clear();
        self.effects.push_back(Effect::Alarm(Alarm::LogUnavailable));
        self.end(FaultCode::LogUnavailable);
    }

    /// Nothing is asked, answered or recorded from here on.
    pub(crate) fn end(&mut self, why: FaultCode) {
        self.failed = true;
        self.ended = why;
        for ticket in self.waiting_tickets() {
            self.tell(ticket, Conclusion::LogUnavailable);
        }
        let connections: Vec<_> = self.connections.keys().copied().collect();
        for connection in connections {
            self.effects.push_back(Effect::Close { connection, reason: self.ended });
        }
        for input in self.held_back.take().unwrap_or_default() {
            self.turn_away(self.last_now, input);
        }
    }

    pub(crate) fn emit(&mut self, effect: Effect) {
        self.effects.push_back(effect);
    }

    pub(crate) fn tell(&mut self, ticket: Ticket, conclusion: Conclusion) {
        self.tickets.remove(&ticket);
        self.effects.push_back(Effect::Conclude { ticket, conclusion: Box::new(conclusion) });
    }

    pub(crate) fn at(&mut self, due: Millis, timer: Timer) {
        self.timers.insert((due, timer));
    }

    /// What [`Engine::at`] set is not wanted any more.
    pub(crate) fn never(&mut self, due: Millis, timer: Timer) {
        self.timers.remove(&(due, timer));
    }

    pub(crate) fn want_head(&mut self, now: Millis, peer: &NodeUri) {
        let due = now.plus(HEAD_WAIT_MILLIS);
        let Some(known) = self.peers.get_mut(peer) else { return };
        // One timer a peer, however many frames wait.
        if !known.head_due.is_some_and(|at| at <= due && at >= self.last_now) {
            known.head_due = Some(due);
            self.at(due, Timer::Head(peer.clone()));
        }
    }

    fn fire_timers(&mut self, now: Millis) {
        if self.held_back.is_some() {
            return;
        }
        for _ in 0..TIMERS_PER_TURN {
            let Some((_, timer)) =
                self.timers.first().is_some_and(|(due, _)| *due <= now).then(|| self.timers.pop_first()).flatten()
            else {
                break;
            };
            match timer {
                Timer::Ask(exchange) => self.ask_due(now, exchange),
                Timer::Again(exchange) => self.again(now, exchange),
                Timer::Parked(exchange) => self.parked_due(now, exchange),
                Timer::Period(peer) => self.period_due(now, &peer),
                Timer::Head(peer) => self.ask_for_heads(now, &peer),
                Timer::Closing(peer) => self.closing_due(now, &peer),
                Timer::Faults => self.record_faults(now),
                Timer::Dial(peer) => self.dial_due(now, &peer),
                Timer::Turn(peer) => self.resend(now, &peer),
                Timer::Deliver(peer) => self.deliveries_due(now, &peer),
                Timer::CatchUp(peer) => self.catch_up_due(now, &peer),
            }
        }
    }

    pub(crate) fn enqueue(&mut self, now: Millis, intent: Intent<Then>) {
        if intent.entries.is_empty() && matches!(intent.then, Then::Nothing) {
            self.ledger.enqueue_quiet(now, intent);
        } else {
            self.ledger.enqueue(now, intent);
        }
    }
}

/// Where frames of an exchange go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Route {
    pub(crate) connection: ConnectionId,
    pub(crate) stream: StreamId,
}
