//! The engine: one node's side of every conversation.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::Arc;

use prost::Message as _;
use puente_audit_log::{Log, Signer, TileReader, VerifierKey};
use puente_catalogue::Catalogue;
use puente_charter::Charter;
use puente_model::{
    CharterVector, Digest, EventKind, ExchangeId, Jurisdiction, LeafIndex, Millis, NodeUri, OfficerId, Origin, Secret32,
};
use puente_policy::{Judge, PolicySet};
use puente_wire::{Entry, Event, Header, Pair, PairKind, Veiled, fault::FaultCode, label, proto};
use rand_chacha::ChaCha20Rng;
use rand_core::{RngCore, SeedableRng};

use crate::api::{Alarm, Conclusion, ConnectionId, Effect, Input, LocalEvent, Store, StreamId, Ticket};
use crate::asker::Asking;
use crate::holder::Holding;
use crate::ledger::{Intent, Ledger, Recorded, Tuning};
use crate::peer::{Connection, Own, Peer};
use crate::persist;
use crate::seeds::{NoSeeds, Seeds};

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
    /// A key in the charter is unusable.
    #[error("the charter's log key of {0} is unusable: {1}")]
    Key(NodeUri, String),
    /// The charter wants heads cosigned, which this version cannot gather: it would release nothing.
    #[error("the charter names a witness quorum, and this version gathers no cosignatures: run a version that does")]
    Witnesses,
    /// The evidence store cannot be read.
    #[error("the evidence store cannot be read: {0}")]
    Store(String),
}

/// What follows once entries are durable.
#[derive(Debug)]
pub(crate) enum Then {
    Nothing,
    /// Asker: the QUERY stands; ask.
    Ask(ExchangeId),
    /// Holder: QUERY and ANSWER stand; reply.
    Reply(ExchangeId),
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
    /// Close the period with a peer.
    Period(NodeUri),
    /// Ask a peer for a head proof.
    Head(NodeUri),
    /// Give up waiting for a peer to close its period.
    Closing(NodeUri),
    /// Record counted faults.
    Faults,
}

/// How long to wait for a head that travels beside its frame, before asking for a proof.
const HEAD_WAIT_MILLIS: u64 = 250;
/// How long before an unanswered frame is sent again.
pub(crate) const AGAIN_MILLIS: u64 = 5_000;

/// One node's side of every conversation: deterministic, without clock, disk or network.
pub struct Engine {
    pub(crate) node: NodeUri,
    pub(crate) origin: Origin,
    pub(crate) log_number: u32,
    pub(crate) own_key: VerifierKey,
    pub(crate) own_roles: BTreeSet<String>,
    pub(crate) charter: Arc<Charter>,
    pub(crate) vector: CharterVector,
    pub(crate) catalogue: Arc<Catalogue>,
    pub(crate) judge: Judge,
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
    pub(crate) closers: HashMap<Ticket, (BTreeSet<NodeUri>, Vec<NodeUri>, usize)>,
    timers: BTreeSet<(Millis, Timer)>,
    effects: VecDeque<Effect>,
    last_now: Millis,
    failed: bool,
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
        let Setup { node, log, charter, catalogue, policy, signer, tree, tiles, store, seed, tuning } = setup;
        let member =
            charter.member(&node).filter(|m| m.is_active()).ok_or_else(|| OpenError::NotAMember(node.clone()))?;
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
        let mut peers = BTreeMap::new();
        for member in charter.members() {
            if member.uri == node {
                continue;
            }
            let Some(log) = member.open_log() else { continue };
            let key = log
                .vkey
                .parse()
                .map_err(|e: puente_audit_log::KeyError| OpenError::Key(member.uri.clone(), e.to_string()))?;
            let roles = member.roles.iter().cloned().collect();
            let mut peer = Peer::new(member.uri.clone(), roles, log, key);
            peer.restore(&*store).map_err(OpenError::Store)?;
            peers.insert(member.uri.clone(), peer);
        }
        let vector = charter.vector();
        let policy_hash = policy.hash();
        let mut engine = Self {
            node,
            origin,
            log_number: log,
            own_key,
            own_roles,
            vector,
            judge: Judge::new(policy, Judge::CAPACITY),
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
            closers: HashMap::new(),
            timers: BTreeSet::new(),
            effects: VecDeque::new(),
            last_now: now,
            failed: false,
            charter,
            catalogue,
        };
        engine.restore_asks(now).map_err(OpenError::Store)?;
        engine.restore_holds().map_err(OpenError::Store)?;
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
        Ok(engine)
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

    /// Nothing waits to be recorded and no effect is pending.
    pub fn is_idle(&self) -> bool {
        self.ledger.is_idle() && self.effects.is_empty()
    }

    /// Takes one input in. Its effects are polled afterwards.
    pub fn handle(&mut self, now: Millis, input: Input) {
        self.watch_clock(now);
        if self.failed {
            self.turn_away(now, input);
            return;
        }
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
            Input::Event { ticket, event } => {
                self.record_event(now, event, |_| {}, Then::Event(ticket));
            }
            Input::ClosePeriods { ticket } => self.close_periods(now, ticket),
            Input::Tick => {}
        }
        self.fire_timers(now);
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
        if self.failed {
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
        if self.failed {
            return None;
        }
        let timer = self.timers.first().map(|(due, _)| *due);
        [timer, self.ledger.deadline()].into_iter().flatten().min()
    }

    /// The accepted heads that have to become durable with the next batch.
    fn accepted_heads(&mut self) -> Vec<(Vec<u8>, Option<Vec<u8>>)> {
        let mut puts = Vec::new();
        for peer in self.peers.values_mut().filter(|p| p.log.dirty) {
            peer.log.dirty = false;
            if let Some(head) = peer.log.accepted() {
                puts.push((persist::head_key(&peer.uri), Some(head.note_bytes().to_vec())));
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
            Then::Reply(exchange) => self.answer_recorded(exchange, recorded),
            Then::Acknowledge(exchange) => self.reply_recorded(now, exchange, recorded),
            Then::Release(exchange) => self.release_recorded(exchange, recorded),
            Then::End(exchange, conclusion) => self.end_ask(exchange, *conclusion),
            Then::Tell(ticket, conclusion) => self.tell(ticket, *conclusion),
            Then::Event(ticket) => {
                let index = recorded.last().map_or(LeafIndex(0), Recorded::index);
                self.tell(ticket, Conclusion::Recorded { index });
            }
            Then::Deliver(peer, seq) => self.deliver(&peer, seq, recorded.last()),
            Then::Delivered { connection, leaf, result, index } => {
                let proven = self.ledger.recorded(LeafIndex(index)).ok().filter(|r| *r.leaf() == leaf);
                let Some(proven) = proven else { return };
                self.send_delivered(connection, leaf, result, proven.receipt());
            }
        }
    }

    /// What comes once the log cannot be written: everybody is told so, and nothing else happens.
    fn turn_away(&mut self, now: Millis, input: Input) {
        match input {
            Input::Connected { connection, .. } => {
                self.effects.push_back(Effect::Close { connection, reason: FaultCode::LogUnavailable });
            }
            Input::Disconnected { connection } => {
                self.connections.remove(&connection);
            }
            Input::Frame { connection, stream, .. } => {
                if let Some(line) = self.connections.get(&connection) {
                    let peer = line.peer.clone();
                    self.fault(now, &peer, Route { connection, stream }, FaultCode::LogUnavailable, None);
                }
            }
            Input::Question { ticket, .. } | Input::Event { ticket, .. } | Input::ClosePeriods { ticket } => {
                self.tell(ticket, Conclusion::LogUnavailable);
            }
            Input::DialFailed { .. }
            | Input::StreamReset { .. }
            | Input::Durable { .. }
            | Input::WriteFailed { .. }
            | Input::Found { .. }
            | Input::Cancel { .. }
            | Input::Tick => {}
        }
    }

    /// The log cannot be written: nothing is asked or answered any more.
    fn fail(&mut self) {
        if self.failed {
            return;
        }
        self.failed = true;
        self.effects.clear();
        self.effects.push_back(Effect::Alarm(Alarm::LogUnavailable));
        let mut waiting: BTreeSet<Ticket> = self.tickets.drain().map(|(ticket, _)| ticket).collect();
        waiting.extend(self.closers.drain().map(|(ticket, _)| ticket));
        waiting.extend(self.ledger.abandon().into_iter().filter_map(|then| match then {
            Then::Event(ticket) | Then::Tell(ticket, _) => Some(ticket),
            _ => None,
        }));
        for ticket in waiting {
            self.tell(ticket, Conclusion::LogUnavailable);
        }
        let connections: Vec<_> = self.connections.keys().copied().collect();
        for connection in connections {
            self.effects.push_back(Effect::Close { connection, reason: FaultCode::LogUnavailable });
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
        self.at(now.plus(HEAD_WAIT_MILLIS), Timer::Head(peer.clone()));
    }

    fn fire_timers(&mut self, now: Millis) {
        while let Some((due, timer)) = self.timers.first().cloned() {
            if due > now {
                break;
            }
            self.timers.pop_first();
            match timer {
                Timer::Ask(exchange) => self.ask_due(now, exchange),
                Timer::Again(exchange) => self.again(now, exchange),
                Timer::Period(peer) => self.period_due(now, &peer),
                Timer::Head(peer) => self.ask_for_heads(now, &peer),
                Timer::Closing(peer) => self.closing_due(now, &peer),
                Timer::Faults => self.record_faults(now),
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

    pub(crate) fn random<const N: usize>(&mut self) -> [u8; N] {
        let mut bytes = [0; N];
        self.rng.fill_bytes(&mut bytes);
        bytes
    }

    /// The index that the next enqueued entry will have: entries are recorded in the order they are enqueued.
    pub(crate) fn next_index(&self) -> u64 {
        self.ledger.next_index()
    }

    /// Encodes an entry of an exchange: in the clear between nations, veiled within one.
    pub(crate) fn wrap(&mut self, now: Millis, pair: Pair) -> Result<Wrapped, NoSeeds> {
        if !pair.is_domestic() {
            let entry = Entry::Pair(pair).encode();
            let leaf = puente_audit_log::leaf_hash(&entry);
            return Ok(Wrapped { entry, leaf, header: Vec::new(), salt: Vec::new(), asides: Vec::new(), before: None });
        }
        let (stage, minute) = (pair.stage(), pair.minute);
        let header = Header::Pair(pair).encode();
        let salt = Secret32::new(self.random());
        let commitment = Header::commit(&header, &salt);
        let entry = Entry::Veiled(Veiled { stage, minute, commitment }).encode();
        self.veil(now, entry, header, &salt)
    }

    /// Seals a veiled entry's header to the own auditors.
    pub(crate) fn veil(
        &mut self,
        now: Millis,
        entry: Vec<u8>,
        header: Vec<u8>,
        salt: &Secret32,
    ) -> Result<Wrapped, NoSeeds> {
        let leaf = puente_audit_log::leaf_hash(&entry);
        let nation = self.node.jurisdiction();
        let made = self.seeds.seal_header(&self.charter, &nation, (leaf, salt, &header), now, &mut self.rng)?;
        let aside = aside(&leaf, proto::aside::Body::SealedHeader(made.value));
        Ok(Wrapped { entry, leaf, header, salt: salt.expose().to_vec(), asides: vec![aside], before: made.entry })
    }

    /// Takes the next number towards a peer for an entry of this node's.
    pub(crate) fn number(
        &mut self,
        peer: &NodeUri,
        wrapped: &Wrapped,
        kind: PairKind,
        exchange: Option<ExchangeId>,
        own_proven: Option<proto::Proven>,
        index: u64,
    ) -> Vec<(Vec<u8>, Option<Vec<u8>>)> {
        let Some(peer) = self.peers.get_mut(peer) else { return Vec::new() };
        let seq = peer.next_seq;
        peer.next_seq += 1;
        let own = Own { leaf: wrapped.leaf, kind, exchange, index, proven: own_proven, voided: 0, closed: false };
        let puts = vec![peer.own_put(seq, &own), peer.numbering_put()];
        peer.own.insert(seq, own);
        puts
    }

    /// The fields that every entry of this node's has.
    pub(crate) fn pair(&self, to: &NodeUri, now: Millis, body: puente_wire::PairBody) -> Pair {
        Pair {
            from: self.node.clone(),
            to: to.clone(),
            log: self.log_number,
            seq: puente_model::Seq(self.peers.get(to).map_or(1, |p| p.next_seq)),
            minute: now.minute(),
            charter: self.vector.clone(),
            policy_hash: self.policy_hash,
            body,
        }
    }

    pub(crate) fn nations(&self, peer: &NodeUri) -> (Jurisdiction, Jurisdiction) {
        (self.node.jurisdiction(), peer.jurisdiction())
    }

    /// Records a local event; the caller may add to it before it is sealed.
    pub(crate) fn record_event(
        &mut self,
        now: Millis,
        local: LocalEvent,
        complete: impl FnOnce(&mut Event),
        then: Then,
    ) {
        let mut event = Event::new(local.kind, now, self.vector.clone());
        event.record_type = local.record_type;
        event.count = local.count;
        event.purpose = local.purpose;
        event.basis = local.basis;
        event.role = local.role;
        event.policy_hash = Some(self.policy_hash);
        complete(&mut event);
        let intent = self.event_intent(now, event, local.detail, then);
        self.enqueue(now, intent);
    }

    /// One local event as an intent (the Seeds entry before it, if it needs one).
    pub(crate) fn event_intent(&mut self, now: Millis, mut event: Event, detail: Vec<u8>, then: Then) -> Intent<Then> {
        let detail_salt = Secret32::new(self.random());
        if !detail.is_empty() {
            event.detail = Some(puente_model::digest(label::DETAIL, &[detail_salt.expose(), &detail]));
        }
        let stage = event.kind.stage();
        let header = Header::Event(event).encode();
        let salt = Secret32::new(self.random());
        let commitment = Header::commit(&header, &salt);
        let entry = Entry::Veiled(Veiled { stage, minute: now.minute(), commitment }).encode();
        let leaf = puente_audit_log::leaf_hash(&entry);
        let mut puts = Vec::new();
        if !detail.is_empty() {
            puts.push((persist::detail_key(&leaf.0), Some([detail_salt.expose().as_slice(), &detail].concat())));
        }
        match self.veil(now, entry.clone(), header.clone(), &salt) {
            Ok(wrapped) => {
                let entries = wrapped.before.into_iter().chain([wrapped.entry]).collect();
                Intent { entries, puts, asides: wrapped.asides, then }
            }
            // Without an auditor's key the event is recorded all the same; its header stays here, to be
            // opened on challenge.
            Err(_) => {
                puts.push((persist::header_key(&leaf.0), Some([salt.expose().as_slice(), &header].concat())));
                Intent { entries: vec![entry], puts, asides: Vec::new(), then }
            }
        }
    }
}

/// An entry ready to be recorded, and what travels or stays beside it.
#[derive(Debug)]
pub(crate) struct Wrapped {
    pub(crate) entry: Vec<u8>,
    pub(crate) leaf: Digest,
    /// Of a veiled entry; empty otherwise.
    pub(crate) header: Vec<u8>,
    pub(crate) salt: Vec<u8>,
    pub(crate) asides: Vec<Vec<u8>>,
    /// A Seeds entry that must stand before it.
    pub(crate) before: Option<Vec<u8>>,
}

impl Wrapped {
    /// As it travels, still without its receipt.
    pub(crate) fn proven(&self, escrow: Option<proto::Escrow>) -> proto::Proven {
        proto::Proven {
            entry: self.entry.clone(),
            receipt: Vec::new(),
            header: self.header.clone(),
            header_salt: self.salt.clone(),
            escrow,
        }
    }
}

pub(crate) fn aside(leaf: &Digest, body: proto::aside::Body) -> Vec<u8> {
    proto::Aside { leaf_hash: leaf.0.to_vec(), body: Some(body) }.encode_to_vec()
}

/// Opens what travelled: the pair entry, in the clear or under its veil, and its leaf hash.
pub(crate) fn unwrap(proven: &proto::Proven) -> Result<(Pair, Digest), FaultCode> {
    let leaf = puente_audit_log::leaf_hash(&proven.entry);
    let code = |error: puente_wire::WireError| match error {
        puente_wire::WireError::TooLarge { .. } => FaultCode::Oversized,
        puente_wire::WireError::Version(_) => FaultCode::Version,
        _ => FaultCode::Malformed,
    };
    match Entry::decode(&proven.entry).map_err(code)? {
        Entry::Pair(pair) if proven.header.is_empty() && proven.header_salt.is_empty() => Ok((pair, leaf)),
        Entry::Veiled(veiled) => {
            let salt: [u8; 32] = proven.header_salt.as_slice().try_into().map_err(|_| FaultCode::Malformed)?;
            if Header::commit(&proven.header, &Secret32::new(salt)) != veiled.commitment {
                return Err(FaultCode::BadCommitment);
            }
            match Header::decode(&proven.header).map_err(code)? {
                Header::Pair(pair)
                    if pair.is_domestic() && pair.stage() == veiled.stage && pair.minute == veiled.minute =>
                {
                    Ok((pair, leaf))
                }
                _ => Err(FaultCode::Malformed),
            }
        }
        _ => Err(FaultCode::Malformed),
    }
}

/// Where frames of an exchange go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Route {
    pub(crate) connection: ConnectionId,
    pub(crate) stream: StreamId,
}
