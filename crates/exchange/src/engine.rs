//! The engine: one node's side of every conversation.

mod setup;
mod standstill;
mod timers;

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::Arc;

use puente_audit_log::VerifierKey;
use puente_catalogue::Catalogue;
use puente_charter::Charter;
use puente_model::{CharterVector, Digest, ExchangeId, LeafIndex, Millis, NodeUri, OfficerId, Origin};
use puente_policy::Judge;
use puente_wire::fault::FaultCode;
use puente_wire::proto;
use rand_chacha::ChaCha20Rng;

pub use self::setup::{Appeal, OpenError, Setup};
pub use self::standstill::Standing;
pub(crate) use self::timers::Timer;
use crate::adoption::Changes;
use crate::api::{Conclusion, ConnectionId, Effect, Input, Rules, Store, StreamId, Ticket};
use crate::asker::Asking;
use crate::comparing::Comparing;
use crate::cosigning::{Cosignable, Gathering, Quorum, Withheld, Witnessing};
use crate::groups::Groups;
use crate::holder::{HoldStage, Holding};
use crate::ledger::{Intent, Ledger, Recorded, Tuning};
use crate::peer::{Connection, Peer};
use crate::period::STANDS;
use crate::persist;
pub(crate) use crate::record::{aside, unwrap};
use crate::seeds::Seeds;
use crate::standing::Kept;

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
    Confirmed(Ticket, ExchangeId, Box<crate::api::Draft>),
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
    /// What a group wanted written stands; its ticket.
    Group(u64),
    /// QUERYs to the members of a group stand; say them.
    SayAsks(puente_ledger::GroupId, Vec<ExchangeId>),
    /// What is to be said to a group stands; say it, and tell whoever waits.
    Say(Digest, Option<(Ticket, Box<Conclusion>)>),
    /// What this node remembers as a witness stands; cosign.
    Cosign(Box<Cosignable>),
    /// A peer's entry stands; say so.
    Delivered {
        connection: ConnectionId,
        leaf: Digest,
        result: u32,
        index: u64,
    },
}

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
    /// Step-1 exchanges whose CONFIRM, or the step-2 QUERY after it, is on its way to the disk; that QUERY's exchange.
    pub(crate) confirming: HashMap<ExchangeId, Option<ExchangeId>>,
    pub(crate) holds: HashMap<ExchangeId, Holding>,
    pub(crate) lookups: HashMap<u64, ExchangeId>,
    pub(crate) next_lookup: u64,
    pub(crate) trials: crate::trial::Trials,
    pub(crate) officers: HashMap<OfficerId, (u64, u32)>,
    /// Who waits for the COLLECT of a batch (digest of its details) to stand.
    pub(crate) collecting: HashMap<Digest, Vec<Ticket>>,
    pub(crate) closers: HashMap<Ticket, (BTreeSet<NodeUri>, Vec<NodeUri>, usize)>,
    /// Who waits until every partner was asked for newer charter parts.
    pub(crate) comparing: BTreeMap<Ticket, Comparing>,
    /// What the charter says of witnesses.
    pub(crate) quorum: Quorum,
    pub(crate) gathering: Gathering,
    pub(crate) witnessing: Witnessing,
    pub(crate) withheld: Withheld,
    pub(crate) groups: Groups,
    pub(crate) alerts: crate::alerts::Alerts,
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

    /// Dials everybody: whoever holds a larger head of the restored log than the log itself says so in Ready.
    fn seek_comparisons(&mut self) {
        for peer in self.peers.keys().cloned().collect::<Vec<_>>() {
            self.line_to(&peer);
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
            Input::Question { ticket, draft } => self.question(now, ticket, *draft, None),
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
            Input::CompareCharters { ticket } => self.compare_charters(now, ticket),
            Input::Leave { ticket, reason } => self.leave(now, ticket, reason),
            Input::Offer { ticket, parts } => self.offer(now, ticket, parts),
            Input::Kept(rules) => self.kept(now, rules),
            Input::NotKept => self.not_kept(now),
            Input::Rules { ticket, rules } => self.change(now, Some(ticket), rules),
            Input::Bar { ticket, peer, reason } => self.bar(now, ticket, peer, reason),
            Input::Try { ticket } => self.try_out(now, ticket),
            Input::Sought { witness, origin, head } => {
                if let Ok(head) = head {
                    self.sought(now, witness, &origin, head);
                }
            }
            Input::HostGroups { ticket, setup } => self.host_groups(now, ticket, *setup),
            Input::GroupIdentity(identity) => self.tell_groups(now, puente_corridor::Input::Identity(*identity)),
            Input::WantOfGroup { ticket, group, want } => self.want_of_group(now, ticket, group, want),
            Input::GroupQuestion { ticket, group, draft } => self.group_question(now, ticket, &group, *draft),
            Input::PublishAlert { ticket, draft } => self.publish_alert(now, ticket, &draft),
            Input::AcknowledgeAlert { ticket, alert, officer, note } => {
                self.acknowledge_alert(now, ticket, alert, &officer, &note);
            }
            Input::CancelAlert { ticket, alert, officer, reason } => {
                self.cancel_alert(now, ticket, alert, &officer, &reason);
            }
            Input::Submitted { submission, witness, answer } => self.submitted(now, submission, &witness, answer),
            Input::Tick => {}
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
        let puts = self.accepted_heads(now);
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
    fn accepted_heads(&mut self, now: Millis) -> Vec<(Vec<u8>, Option<Vec<u8>>)> {
        let mut puts = Vec::new();
        let counted = !self.charter.witness_policy().is_none();
        for peer in self.peers.values_mut().filter(|p| p.log.dirty) {
            peer.log.dirty = false;
            if let Some(head) = peer.log.accepted() {
                puts.push((persist::head_key(&peer.uri, peer.log_number), Some(head.note_bytes().to_vec())));
                let waited = peer.cover.pending_since();
                if counted {
                    peer.cover.came(now, head.size().0);
                }
                if peer.cover.pending_since() != waited {
                    let stored = peer.cover.stored();
                    puts.push((persist::cover_key(&peer.uri, peer.log_number), Some(stored)));
                }
            }
        }
        puts
    }

    fn durable(&mut self, now: Millis, batch: u64) {
        let size = self.ledger.size();
        for (then, recorded) in self.ledger.durable(batch) {
            self.follow(now, then, &recorded);
        }
        if self.ledger.size() > size && !self.charter.witness_policy().is_none() {
            self.gathering.cover.came(now, self.ledger.size());
            self.gather(now);
        }
    }

    fn follow(&mut self, now: Millis, then: Then, recorded: &[Recorded]) {
        match then {
            Then::Nothing => {}
            Then::Ask(exchange) => self.query_recorded(now, exchange, recorded),
            Then::Reply(exchange) => self.answer_recorded(now, exchange, recorded),
            Then::Park(exchange) => self.parked(now, exchange, recorded),
            Then::Decided(exchange) => self.carry_out(now, exchange),
            Then::Confirmed(ticket, exchange, draft) => self.confirmed_hit(now, ticket, exchange, *draft),
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
            Then::Group(ticket) => self.group_written(now, ticket, recorded),
            Then::SayAsks(group, exchanges) => self.say_asks(now, &group, &exchanges),
            Then::Say(leaf, tell) => {
                self.say_recorded(now, leaf);
                if let Some((ticket, conclusion)) = tell {
                    self.tell(ticket, *conclusion);
                }
            }
            Then::Cosign(cosignable) => self.cosign(now, *cosignable),
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

    /// The time of the last input.
    pub(crate) const fn last_now(&self) -> Millis {
        self.last_now
    }

    pub(crate) fn emit(&mut self, effect: Effect) {
        self.effects.push_back(effect);
    }

    pub(crate) fn tell(&mut self, ticket: Ticket, conclusion: Conclusion) {
        self.tickets.remove(&ticket);
        self.effects.push_back(Effect::Conclude { ticket, conclusion: Box::new(conclusion) });
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
