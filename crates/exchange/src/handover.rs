//! What follows a log that lost its tail: its partners hand over what they hold, its successor takes it up first.
//!
//! A log that was closed at a size may have had more entries: they are lost to its node, and partners hold receipts for
//! them. Each partner shows, in the order of its own log, every entry of either side that the closed log held beyond that
//! size, or must have held for what its partner recorded; the successor records the same bytes again. Until a
//! partner has said that this was all, nothing is asked or answered between the two.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};

use prost::Message as _;
use puente_audit_log::{ClaimedCheckpoint, ClaimedReceipt};
use puente_model::{Digest, EventKind, ExchangeId, LeafIndex, Millis, NodeUri, limits};
use puente_wire::{PairBody, PairKind, fault::FaultCode, proto};

use crate::api::{Alarm, ConnectionId, Effect, StreamId};
use crate::asker::AskStage;
use crate::control::{Problem, plain_event, receipt_aside};
use crate::engine::{Engine, Route, Then, aside, unwrap};
use crate::ledger::Intent;
use crate::peer::each;
use crate::period::{CLOSED, RECORDED};
use crate::persist::{self, StoredOwn, StoredTheirs};

/// Entries handed over and unanswered at once.
const FLYING_MAX: usize = 64;
/// Entries that a partner hands over at most.
const HANDED_MAX: usize = 1_000_000;
/// A PERIOD that the successor cannot agree to.
const MISMATCH: u32 = 4;

/// One entry to be handed over.
#[derive(Debug)]
struct Item {
    /// Where it stands in this node's log.
    index: u64,
    leaf: Digest,
    kind: PairKind,
    exchange: Option<ExchangeId>,
    /// Of the peer's entries: its receipt. Of own ones: none, a fresh one is made.
    receipt: Option<Vec<u8>>,
    /// VOID and PERIOD of this node's.
    proven: Option<proto::Proven>,
}

/// What this node hands over to a peer's successor log.
#[derive(Debug, Default)]
pub(crate) struct Handover {
    /// The first number of the probe under way; 0 once the list is made.
    probing: u64,
    /// Own numbers that the peer does not have.
    missing: BTreeSet<u64>,
    queue: VecDeque<Item>,
    /// Unanswered ones; of an own ANSWER or REFUSAL, its exchange.
    flying: BTreeMap<Digest, Option<ExchangeId>>,
}

/// An own number, as the store has it.
struct Row {
    seq: u64,
    stored: StoredOwn,
    kind: PairKind,
}

impl Engine {
    /// The peer's log follows another: tells it what it must take up, or that there is nothing.
    pub(crate) fn hand_over(&mut self, now: Millis, peer: &NodeUri) {
        let Some(known) = self.peers.get(peer) else { return };
        let (Some(connection), Some((number, _, closed_at))) = (known.ready, known.log_before.clone()) else { return };
        let (last, successor) = (known.next_seq - 1, known.log_number);
        let read = self.store.get(&persist::head_key(peer, number)).and_then(|head| {
            let done = self.store.get(&persist::handed_key(peer, successor))?.is_some();
            Ok((head.unwrap_or_default(), done))
        });
        let (head, done) = match read {
            Ok(read) => read,
            Err(text) => return self.emit(Effect::Alarm(Alarm::StoreUnavailable(text))),
        };
        let held = ClaimedCheckpoint::parse(&head).map_or(0, |claimed| claimed.claimed().size().0);
        if done || held <= closed_at {
            self.send_lost(connection, None, head);
            return;
        }
        if let Some(known) = self.peers.get_mut(peer) {
            known.handover = Some(Handover { probing: 1, ..Handover::default() });
        }
        if last == 0 {
            self.list_lost(now, peer);
        } else {
            self.probe_lost(connection, 1, last);
        }
    }

    fn probe_lost(&mut self, connection: ConnectionId, first: u64, last: u64) {
        let probe = proto::Probe { log: self.log_number, first, last };
        self.send_control(connection, proto::frame::Body::Probe(probe));
    }

    fn send_lost(&mut self, connection: ConnectionId, entry: Option<proto::Proven>, head: Vec<u8>) {
        let route = Route { connection, stream: StreamId::CONTROL };
        self.send_proven(route, proto::frame::Body::Lost(proto::Lost { entry, head }), false);
    }

    /// Which of this node's numbers the peer has no more.
    pub(crate) fn handover_have(&mut self, now: Millis, peer: &NodeUri, have: &proto::Have) -> Result<(), Problem> {
        let own_log = self.log_number;
        let Some(known) = self.peers.get_mut(peer) else { return Err(FaultCode::NotAMember.into()) };
        let (last, ready) = (known.next_seq - 1, known.ready);
        let Some(handover) = known.handover.as_mut().filter(|h| h.probing > 0 && h.probing == have.first) else {
            return Ok(());
        };
        let within = have.missing.iter().all(|seq| (have.first..=last).contains(seq));
        if have.log != own_log || have.missing.len() > limits::HOLES_PER_PERIOD_MAX || !within {
            return Err(FaultCode::Malformed.into());
        }
        handover.missing.extend(&have.missing);
        let next = have.missing.last().map_or(last + 1, |seq| seq + 1);
        if have.missing.len() == limits::HOLES_PER_PERIOD_MAX && next <= last {
            handover.probing = next;
            if let Some(connection) = ready {
                self.probe_lost(connection, next, last);
            }
            return Ok(());
        }
        handover.probing = 0;
        self.list_lost(now, peer);
        Ok(())
    }

    fn list_lost(&mut self, now: Millis, peer: &NodeUri) {
        match self.lost_items(peer) {
            Ok(items) => {
                if let Some(handover) = self.peers.get_mut(peer).and_then(|known| known.handover.as_mut()) {
                    handover.probing = 0;
                    handover.queue = items.into();
                }
                self.hand_more(now, peer);
            }
            Err(text) => {
                if let Some(known) = self.peers.get_mut(peer) {
                    known.handover = None;
                }
                self.emit(Effect::Alarm(Alarm::StoreUnavailable(text)));
            }
        }
    }

    /// Everything to be handed over, in the order of this node's log.
    fn lost_items(&self, peer: &NodeUri) -> Result<Vec<Item>, String> {
        let known = self.peers.get(peer).ok_or("no such peer")?;
        let (number, origin, closed_at) = known.log_before.as_ref().ok_or("its log follows none")?;
        let kept = self.store.kept_receipts(origin, *closed_at, HANDED_MAX + 1)?;
        if kept.len() > HANDED_MAX {
            return Err(format!("{peer} lost more than {HANDED_MAX} entries: hand them over by other means"));
        }
        let mut receipts: HashMap<Digest, Vec<u8>> = kept.into_iter().collect();
        let (mut items, mut ended) = (Vec::new(), HashSet::new());
        let theirs = persist::theirs_key(peer, *number, 0);
        each(&*self.store, &theirs[..theirs.len() - 8], 1, |_, bytes| {
            let stored = StoredTheirs::decode(bytes).map_err(|e| e.to_string())?;
            let leaf = Digest::try_from(stored.leaf.as_slice()).map_err(|e| e.to_string())?;
            let exchange = ExchangeId::try_from(stored.exchange.as_slice()).ok();
            if stored.closed {
                return Ok(());
            }
            // An end of the peer's names an exchange that this node asked; what it asked itself does not matter here.
            ended.extend(exchange);
            if let Some(receipt) = receipts.remove(&leaf) {
                let kind = PairKind::Unspecified;
                items.push(Item { index: stored.index, leaf, kind, exchange, receipt: Some(receipt), proven: None });
            }
            Ok(())
        })?;
        let rows = self.own_rows(peer)?;
        let holes = holes_of(&rows);
        let missing = known.handover.as_ref().map(|handover| &handover.missing);
        for Row { seq, stored, kind } in rows {
            if missing.is_none_or(|missing| !missing.contains(&seq)) {
                continue;
            }
            let leaf = Digest::try_from(stored.leaf.as_slice()).map_err(|e| e.to_string())?;
            let exchange = ExchangeId::try_from(stored.exchange.as_slice()).ok();
            let open = exchange.and_then(|exchange| self.asks.get(&exchange)).is_some_and(|ask| {
                kind == PairKind::Query && matches!(ask.stage, AskStage::Recording | AskStage::AwaitingReply)
            });
            // A question that was never answered is asked again, or voided, in the ordinary way.
            let answered = exchange.is_some_and(|exchange| ended.contains(&exchange));
            let counted = seq <= known.own_closed && !holes.contains(&seq);
            if open || (kind == PairKind::Query && !answered && !counted) {
                continue;
            }
            items.push(Item { index: stored.index, leaf, kind, exchange, receipt: None, proven: stored.proven });
        }
        items.sort_by_key(|item| item.index);
        Ok(items)
    }

    fn own_rows(&self, peer: &NodeUri) -> Result<Vec<Row>, String> {
        let mut rows = Vec::new();
        let prefix = persist::own_key(peer, self.log_number, 0);
        each(&*self.store, &prefix[..prefix.len() - 8], 1, |seq, bytes| {
            let stored = StoredOwn::decode(bytes).map_err(|e| e.to_string())?;
            let kind = PairKind::try_from(stored.kind as i32).unwrap_or(PairKind::Unspecified);
            rows.push(Row { seq, stored, kind });
            Ok(())
        })?;
        Ok(rows)
    }

    /// Sends what the window allows; says so when all of it is taken up.
    fn hand_more(&mut self, now: Millis, peer: &NodeUri) {
        loop {
            let Some(known) = self.peers.get_mut(peer) else { return };
            let (Some(connection), Some(handover)) = (known.ready, known.handover.as_mut()) else { return };
            if handover.probing > 0 || handover.flying.len() >= FLYING_MAX {
                return;
            }
            let Some(item) = handover.queue.pop_front() else {
                if handover.flying.is_empty() {
                    self.handed_all(now, peer, connection);
                }
                return;
            };
            match self.lost_entry(peer, &item) {
                Some(proven) => {
                    let answer = matches!(item.kind, PairKind::Answer | PairKind::Refusal);
                    if let Some(handover) = self.peers.get_mut(peer).and_then(|known| known.handover.as_mut()) {
                        handover.flying.insert(item.leaf, item.exchange.filter(|_| answer));
                    }
                    self.send_lost(connection, Some(proven), Vec::new());
                }
                None => {
                    let text = format!(
                        "entry {} ({:?}) of this node's log cannot be read to hand it over",
                        item.index, item.kind
                    );
                    self.emit(Effect::Alarm(Alarm::StoreUnavailable(text)));
                }
            }
        }
    }

    fn handed_all(&mut self, now: Millis, peer: &NodeUri, connection: ConnectionId) {
        let Some(known) = self.peers.get_mut(peer) else { return };
        known.handover = None;
        let (successor, before) = (known.log_number, known.log_before.as_ref().map_or(1, |(k, _, _)| *k));
        let puts = vec![(persist::handed_key(peer, successor), Some(Vec::new()))];
        self.enqueue(now, Intent { entries: Vec::new(), puts, asides: Vec::new(), then: Then::Nothing });
        let head = self.store.get(&persist::head_key(peer, before)).ok().flatten().unwrap_or_default();
        self.send_lost(connection, None, head);
        self.line_ready(now, peer);
    }

    /// The entry as it travels: with its header, where this node has it.
    fn lost_entry(&self, peer: &NodeUri, item: &Item) -> Option<proto::Proven> {
        let stored = item.proven.clone().or_else(|| self.lost_stored(peer, item));
        let mut proven = match stored.filter(|p| puente_audit_log::leaf_hash(&p.entry) == item.leaf) {
            Some(proven) => proven,
            None => proto::Proven { entry: self.ledger.entry(item.index, &item.leaf)?, ..proto::Proven::default() },
        };
        proven.receipt = match &item.receipt {
            Some(receipt) => receipt.clone(),
            None => self.ledger.recorded(LeafIndex(item.index)).ok().filter(|r| *r.leaf() == item.leaf)?.receipt(),
        };
        Some(proven)
    }

    /// QUERY, ANSWER and RELEASE lie with their exchange, whoever wrote them; VOID and PERIOD by themselves.
    fn lost_stored(&self, peer: &NodeUri, item: &Item) -> Option<proto::Proven> {
        if let Ok(Some(bytes)) = self.store.get(&persist::governance_key(&item.leaf.0)) {
            return proto::Proven::decode(bytes.as_slice()).ok();
        }
        let exchange = item.exchange?;
        let (ask, hold) = (self.load_ask(peer, exchange).ok().flatten(), self.load_hold(peer, exchange).ok().flatten());
        let asked = ask.map(|ask| [ask.stored.query.clone(), ask.stored.answer.clone(), ask.stored.release.clone()]);
        let held =
            hold.map(|hold| [hold.stored.query.clone(), hold.stored.answer.clone(), hold.stored.release.clone()]);
        let all = asked.into_iter().chain(held).flatten().flatten();
        all.into_iter().find(|proven| puente_audit_log::leaf_hash(&proven.entry) == item.leaf)
    }

    /// The successor has taken an entry up.
    pub(crate) fn handed(
        &mut self,
        now: Millis,
        peer: &NodeUri,
        leaf: Digest,
        delivered: &proto::Delivered,
    ) -> Result<(), Problem> {
        let Some(known) = self.peers.get_mut(peer) else { return Err(FaultCode::NotAMember.into()) };
        let handover = known.handover.as_ref();
        let Some(answer) = handover.and_then(|handover| handover.flying.get(&leaf).copied()) else { return Ok(()) };
        if delivered.result == MISMATCH {
            self.emit(Effect::Alarm(Alarm::PeriodMismatch { peer: peer.clone() }));
        } else if !delivered.receipt.is_empty() {
            if let Err(problem) = known.log.receipt(&delivered.receipt, &leaf) {
                return Err(self.head_problem(now, peer, problem));
            }
            let puts = answer.map(|exchange| self.receipted(peer, exchange)).into_iter().collect();
            let asides = vec![receipt_aside(&leaf, &delivered.receipt)];
            self.enqueue(now, Intent { entries: Vec::new(), puts, asides, then: Then::Nothing });
            if let Some(exchange) = answer {
                self.forget_held(exchange);
            }
        }
        if let Some(handover) = self.peers.get_mut(peer).and_then(|known| known.handover.as_mut()) {
            handover.flying.remove(&leaf);
        }
        self.hand_more(now, peer);
        Ok(())
    }

    /// A partner hands over an entry that the log before this one held, or says that this was all.
    pub(crate) fn on_lost(
        &mut self,
        now: Millis,
        peer: &NodeUri,
        connection: ConnectionId,
        lost: proto::Lost,
    ) -> Result<(), Problem> {
        if self.earlier.is_empty() {
            return Err(FaultCode::OutOfOrder.into());
        }
        let Some(proven) = lost.entry else { return self.handover_over(now, peer, &lost.head) };
        let leaf = puente_audit_log::leaf_hash(&proven.entry);
        let claimed = ClaimedReceipt::parse(&proven.receipt).map_err(|_| Problem::from(FaultCode::BadReceipt))?;
        match self.earlier.get(claimed.checkpoint().claimed().origin()) {
            Some((key, closed_at)) => {
                let receipt = claimed.verify(&leaf, key).map_err(|_| Problem::from(FaultCode::BadReceipt))?;
                let stands = receipt.index().0 < *closed_at;
                self.take_up_own(now, peer, connection, proven, leaf, stands)
            }
            None => self.take_up_theirs(now, peer, connection, proven, leaf),
        }
    }

    /// An entry of this node's own, with the receipt that its closed log gave.
    fn take_up_own(
        &mut self,
        now: Millis,
        peer: &NodeUri,
        connection: ConnectionId,
        proven: proto::Proven,
        leaf: Digest,
        stands: bool,
    ) -> Result<(), Problem> {
        if stands {
            // It is not lost: it stands in the log that was closed.
            self.send_delivered(connection, leaf, RECORDED, Vec::new());
            return Ok(());
        }
        // Between two nations entries are in the clear; without its header a veiled one is what its receipt says.
        if !proven.header.is_empty()
            || matches!(puente_wire::Entry::decode(&proven.entry), Ok(puente_wire::Entry::Pair(_)))
        {
            let (pair, _) = unwrap(&proven)?;
            let between = [(&self.node, peer), (peer, &self.node)].contains(&(&pair.from, &pair.to));
            if !between {
                return Err(FaultCode::Misaddressed.into());
            }
        }
        if let Some(index) = self.taken_up_at(&leaf)? {
            self.confirm(now, connection, leaf, RECORDED, index);
            return Ok(());
        }
        let (mut asides, before) = self.seal_received(now, &proven, &leaf);
        asides.push(receipt_aside(&leaf, &proven.receipt));
        asides.extend(proven.escrow.map(|escrow| aside(&leaf, proto::aside::Body::Escrow(escrow))));
        let index = self.next_index() + before.len() as u64;
        let puts = vec![(persist::taken_up_key(&leaf.0), Some(index.to_be_bytes().to_vec()))];
        self.taken_up.insert(leaf, index);
        let then = Then::Delivered { connection, leaf, result: RECORDED, index };
        let entries = before.into_iter().chain([proven.entry]).collect();
        self.enqueue(now, Intent { entries, puts, asides, then });
        Ok(())
    }

    fn taken_up_at(&self, leaf: &Digest) -> Result<Option<u64>, Problem> {
        if let Some(index) = self.taken_up.get(leaf) {
            return Ok(Some(*index));
        }
        let stored = self.store.get(&persist::taken_up_key(&leaf.0));
        let stored = stored.map_err(|_| Problem::from(FaultCode::LogUnavailable))?;
        Ok(stored.and_then(|bytes| bytes.try_into().ok()).map(u64::from_be_bytes))
    }

    /// An entry of the partner's that this node's log had recorded, or whose answer it had.
    fn take_up_theirs(
        &mut self,
        now: Millis,
        peer: &NodeUri,
        connection: ConnectionId,
        proven: proto::Proven,
        leaf: Digest,
    ) -> Result<(), Problem> {
        let (pair, _) = unwrap(&proven)?;
        let known = self.peers.get_mut(peer).ok_or(Problem::from(FaultCode::NotAMember))?;
        if pair.from != *peer || pair.to != self.node {
            return Err(FaultCode::Misaddressed.into());
        }
        if pair.log != known.log_number {
            return Err(FaultCode::WrongLog.into());
        }
        let seq = pair.seq.0;
        match known.theirs.get(&seq).copied() {
            Some(recorded) if recorded.leaf == leaf => {
                self.confirm(now, connection, leaf, RECORDED, recorded.index);
                return Ok(());
            }
            Some(_) => return Err(FaultCode::Replayed.into()),
            None if seq <= known.theirs_closed => {
                self.send_delivered(connection, leaf, RECORDED, Vec::new());
                return Ok(());
            }
            None => {}
        }
        if let Err(problem) = known.log.receipt(&proven.receipt, &leaf) {
            return Err(self.head_problem(now, peer, problem));
        }
        let Some(known) = self.peers.get_mut(peer) else { return Err(FaultCode::NotAMember.into()) };
        let mut puts = Vec::new();
        match &pair.body {
            PairBody::Void { exchange, voided, quoted } if known.judge_void(voided.0, quoted)? == CLOSED => {
                known.closed.insert(voided.0);
                puts.push(known.theirs_put(voided.0, quoted, Some(*exchange), None));
            }
            PairBody::Period(period) => match known.take_period(period) {
                Ok(more) => puts.extend(more),
                Err(()) => {
                    self.emit(Effect::Alarm(Alarm::PeriodMismatch { peer: peer.clone() }));
                    self.send_delivered(connection, leaf, MISMATCH, Vec::new());
                    return Ok(());
                }
            },
            _ => {}
        }
        let (mut asides, before) = self.seal_received(now, &proven, &leaf);
        asides.push(receipt_aside(&leaf, &proven.receipt));
        asides.extend(proven.escrow.clone().map(|escrow| aside(&leaf, proto::aside::Body::Escrow(escrow))));
        let index = self.next_index() + before.len() as u64;
        if let Some(known) = self.peers.get_mut(peer) {
            puts.push(known.take(seq, leaf, pair.exchange(), index));
            puts.push(known.numbering_put());
        }
        let then = Then::Delivered { connection, leaf, result: RECORDED, index };
        let entries = before.into_iter().chain([proven.entry]).collect();
        self.enqueue(now, Intent { entries, puts, asides, then });
        Ok(())
    }

    /// The partner has handed over everything: from here on both ask and answer as ever.
    fn handover_over(&mut self, now: Millis, peer: &NodeUri, note: &[u8]) -> Result<(), Problem> {
        let own_log = self.log_number;
        let Some(known) = self.peers.get_mut(peer) else { return Err(FaultCode::NotAMember.into()) };
        if !known.owes_handover {
            return Ok(());
        }
        let held = match note.is_empty() {
            true => None,
            false => {
                let claimed = ClaimedCheckpoint::parse(note).map_err(|_| Problem::from(FaultCode::Malformed))?;
                let origin = claimed.claimed().origin().to_owned();
                let (key, closed_at) = self.earlier.get(&origin).ok_or(Problem::from(FaultCode::WrongLog))?;
                let head = claimed.verify(key).map_err(|_| Problem::from(FaultCode::WrongLog))?;
                Some((origin, *closed_at, head.size().0)).filter(|(_, closed_at, held)| held > closed_at)
            }
        };
        known.owes_handover = false;
        if let Some((origin, closed_at, held)) = held {
            let detail = format!("{{\"log\":\"{origin}\",\"closed_at\":{closed_at},\"held\":{held}}}");
            let who = peer.clone();
            let event = plain_event(EventKind::LostTail, held - closed_at, detail.into_bytes());
            self.record_event(now, event, |e| e.peer = Some(who), Then::Nothing);
        }
        let puts = vec![(persist::received_key(peer, own_log), Some(Vec::new()))];
        self.enqueue(now, Intent { entries: Vec::new(), puts, asides: Vec::new(), then: Then::Nothing });
        self.line_ready(now, peer);
        Ok(())
    }
}

/// Numbers that this node's PERIODs name as holes.
fn holes_of(rows: &[Row]) -> BTreeSet<u64> {
    let periods = rows.iter().filter(|row| row.kind == PairKind::Period);
    let bodies = periods.filter_map(|row| Some(unwrap(row.stored.proven.as_ref()?).ok()?.0.body));
    let mut holes = BTreeSet::new();
    for body in bodies {
        if let PairBody::Period(period) = body {
            holes.extend(period.holes.iter().map(|hole| hole.seq.0));
        }
    }
    holes
}
