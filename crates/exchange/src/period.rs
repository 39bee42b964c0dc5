//! VOID, PERIOD and redelivery: how both logs come to hold the same numbers.

use std::collections::BTreeSet;

use prost::Message as _;
use puente_model::{ExchangeId, LeafIndex, Millis, NodeUri, limits};
use puente_wire::{Pair, PairBody, PairKind, fault::FaultCode, proto};

use crate::api::{Alarm, Conclusion, ConnectionId, Effect, Ticket};
use crate::asker::AskStage;
use crate::control::{Problem, plain_event, receipt_aside};
use crate::engine::{AGAIN_MILLIS, Engine, Route, Then, Timer, unwrap};
use crate::ledger::{Intent, Recorded};
use crate::numbers::Settled;
use crate::peer::{Closing, Own, Peer};
use puente_model::EventKind;

/// `Delivered.result`: the entry is recorded.
pub(crate) const RECORDED: u32 = 1;
/// The voided number was unknown here and is closed.
pub(crate) const CLOSED: u32 = 2;
/// The voided number is recorded here and stands.
pub(crate) const STANDS: u32 = 3;
/// A PERIOD whose root differs from what is recorded here.
const MISMATCH: u32 = 4;
/// How long one attempt to close a period may take.
const CLOSING_MILLIS: u64 = 15_000;

impl Engine {
    /// A number of the peer's that was closed before it arrived.
    pub(crate) fn is_closed(&self, peer: &NodeUri, seq: u64) -> bool {
        self.peers.get(peer).is_none_or(|known| seq <= known.theirs_closed || known.closed.contains(&seq))
    }

    /// Gives up on a QUERY: its number is voided, under a number of its own.
    pub(crate) fn void(&mut self, now: Millis, exchange: ExchangeId) {
        let Some(ask) = self.asks.get_mut(&exchange) else { return };
        if ask.stage != AskStage::AwaitingReply {
            return;
        }
        ask.stage = AskStage::Voided;
        let (peer, voided, quoted) = (ask.peer.clone(), ask.query.seq, ask.query_leaf);
        let route = ask.route;
        let pair = self.pair(&peer, now, PairBody::Void { exchange, voided, quoted });
        let seq = pair.seq.0;
        let Ok(wrapped) = self.wrap(now, pair) else {
            // The charter names no auditor to seal it to now: it waits.
            if let Some(ask) = self.asks.get_mut(&exchange) {
                ask.stage = AskStage::AwaitingReply;
            }
            self.at(now.plus(CLOSING_MILLIS), Timer::Ask(exchange));
            return;
        };
        let before: Vec<_> = wrapped.before.clone().into_iter().collect();
        let index = self.next_index() + before.len() as u64;
        let proven = wrapped.proven(None);
        let mut puts = self.number(&peer, &wrapped, PairKind::Void, Some(exchange), Some(proven), index);
        if let Some(known) = self.peers.get_mut(&peer)
            && let Some(own) = known.own.get_mut(&voided.0)
        {
            own.voided = seq;
            let own = own.clone();
            puts.push(known.own_put(voided.0, &own));
            if let Some(own) = known.own.get_mut(&seq) {
                own.voided = voided.0;
                let own = own.clone();
                puts.push(known.own_put(seq, &own));
            }
        }
        puts.extend(self.ask_put(exchange));
        puts.push((crate::persist::open_ask_key(&peer, exchange), None));
        let entries = before.into_iter().chain([wrapped.entry]).collect();
        self.enqueue(now, Intent { entries, puts, asides: wrapped.asides, then: Then::Deliver(peer, seq) });
        if let Some(route) = route {
            self.reset_stream(route);
        }
        self.drop_ask(exchange);
    }

    /// Sends an own VOID or PERIOD (or, for redelivery, any own entry but a QUERY) to the peer it is for. Returns the
    /// frame's bytes, if it was sent.
    pub(crate) fn deliver(&mut self, peer: &NodeUri, seq: u64, recorded: Option<&Recorded>) -> Option<usize> {
        let known = self.peers.get(peer)?;
        let own = known.own.get(&seq)?.clone();
        let connection = known.ready?;
        let parts = match (own.kind, own.exchange) {
            (PairKind::Void | PairKind::Period, _) => own.proven.clone().map(|p| (p, own.index, None)),
            (PairKind::Answer | PairKind::Refusal | PairKind::Release, Some(exchange)) => {
                self.held_again(peer, exchange, own.kind).map(|(p, i, c)| (p, i, Some(c)))
            }
            _ => None,
        };
        let (mut proven, index, content) = parts?;
        let fresh = recorded.cloned().or_else(|| self.ledger.recorded(LeafIndex(index)).ok());
        let fresh = fresh.filter(|r| *r.leaf() == own.leaf)?;
        proven.receipt = fresh.receipt();
        let route = Route { connection, stream: crate::api::StreamId::CONTROL };
        let frame = proto::Deliver { entry: Some(proven), content };
        let bytes = frame.encoded_len();
        self.send_proven(route, proto::frame::Body::Deliver(frame), false);
        Some(bytes)
    }

    pub(crate) fn on_deliver(
        &mut self,
        now: Millis,
        peer: &NodeUri,
        route: Route,
        deliver: proto::Deliver,
    ) -> Result<(), Problem> {
        let proven = deliver.entry.ok_or(Problem::from(FaultCode::Malformed))?;
        let (pair, leaf) = unwrap(&proven)?;
        if pair.from != *peer || pair.to != self.node {
            return Err(FaultCode::Misaddressed.into());
        }
        use proto::deliver::Content;
        match (&pair.body, deliver.content) {
            (PairBody::Answer { .. } | PairBody::Refusal { .. }, content) => {
                let content = match content {
                    Some(Content::Sealed(sealed)) => Some(proto::reply::Content::Sealed(sealed)),
                    Some(Content::Plain(plain)) => Some(proto::reply::Content::Plain(plain)),
                    _ => None,
                };
                self.on_reply(now, peer, route, proto::Reply { answer: Some(proven), content }, true)
            }
            (PairBody::Release { .. }, Some(Content::SealedKey(sealed_key))) => {
                self.on_release(now, peer, route, proto::Release { release: Some(proven), sealed_key }, true)
            }
            (PairBody::Void { .. } | PairBody::Period(_), None) => {
                self.on_governance(now, peer, route, proven, pair, leaf)
            }
            _ => Err(FaultCode::OutOfOrder.into()),
        }
    }

    /// A VOID or PERIOD of the peer's.
    fn on_governance(
        &mut self,
        now: Millis,
        peer: &NodeUri,
        route: Route,
        proven: proto::Proven,
        pair: Pair,
        leaf: puente_model::Digest,
    ) -> Result<(), Problem> {
        let known = self.peers.get_mut(peer).ok_or(Problem::from(FaultCode::NotAMember))?;
        if pair.log != known.log_number {
            return Err(FaultCode::WrongLog.into());
        }
        if pair.minute.start().0 > now.0 + limits::CLOCK_SKEW_MILLIS_MAX {
            return Err(FaultCode::FutureDated.into());
        }
        let result = match &pair.body {
            PairBody::Void { voided, quoted, .. } => known.judge_void(voided.0, quoted)?,
            _ => RECORDED,
        };
        // A question that waits for a person's decision is given up: nobody need decide any more.
        if let Some(exchange) = pair.exchange().filter(|_| result == STANDS) {
            self.unpark_given_up(now, peer, exchange);
        }
        // Whoever gave up heard no answer: it is delivered again.
        if result == STANDS
            && let Some(hold) = pair.exchange().and_then(|exchange| self.holds.get(&exchange))
            && let Some((answer, _)) = hold.answer.as_ref().filter(|_| hold.peer == *peer)
        {
            let (seq, kind) = (answer.seq.0, answer.kind());
            if let Some(known) = self.peers.get_mut(peer) {
                known.deliveries.push(seq, kind);
            }
        }
        let known = self.peers.get_mut(peer).ok_or(Problem::from(FaultCode::NotAMember))?;
        match known.theirs.get(&pair.seq.0).copied() {
            Some(recorded) if recorded.leaf == leaf => {
                self.confirm(now, route.connection, leaf, result, recorded.index);
                self.redeliver(now, peer);
                return Ok(());
            }
            Some(_) => return Err(FaultCode::Replayed.into()),
            None if pair.seq.0 <= known.theirs_closed => {
                self.send_delivered(route.connection, leaf, result, Vec::new());
                return Ok(());
            }
            None => {}
        }
        let receipt = match self.peers.get_mut(peer) {
            Some(known) => known.log.receipt(&proven.receipt, &leaf),
            None => return Err(FaultCode::NotAMember.into()),
        };
        if let Err(problem) = receipt {
            return Err(self.head_problem(now, peer, problem));
        }
        let mut puts = Vec::new();
        match &pair.body {
            PairBody::Void { exchange, voided, quoted } if result == CLOSED => {
                if let Some(known) = self.peers.get_mut(peer) {
                    known.closed.insert(voided.0);
                    puts.push(known.theirs_put(voided.0, quoted, Some(*exchange), None));
                }
            }
            PairBody::Period(period) => {
                match self.peers.get_mut(peer).ok_or(()).and_then(|known| known.take_period(period)) {
                    Ok(more) => puts.extend(more),
                    Err(()) => {
                        self.emit(Effect::Alarm(Alarm::PeriodMismatch { peer: peer.clone() }));
                        let who = peer.clone();
                        let event = plain_event(EventKind::PeerFault, 1, b"period-mismatch".to_vec());
                        self.record_event(
                            now,
                            event,
                            |e| {
                                e.peer = Some(who);
                                e.quoted = Some(leaf);
                            },
                            Then::Nothing,
                        );
                        self.send_delivered(route.connection, leaf, MISMATCH, Vec::new());
                        return Ok(());
                    }
                }
            }
            _ => {}
        }
        let (mut asides, before) = self.seal_received(now, &proven, &leaf);
        asides.push(receipt_aside(&leaf, &proven.receipt));
        let index = self.next_index() + before.len() as u64;
        if let Some(known) = self.peers.get_mut(peer) {
            puts.push(known.take(pair.seq.0, leaf, pair.exchange(), index));
            puts.push(known.numbering_put());
        }
        let kept = proto::Proven { receipt: Vec::new(), ..proven.clone() };
        puts.push((crate::persist::governance_key(&leaf.0), Some(kept.encode_to_vec())));
        let then = Then::Delivered { connection: route.connection, leaf, result, index };
        let entries = before.into_iter().chain([proven.entry]).collect();
        self.enqueue(now, Intent { entries, puts, asides, then });
        Ok(())
    }

    /// Says that an entry is recorded here, with a fresh receipt: at once if it is durable, else as soon as it is.
    pub(crate) fn confirm(
        &mut self,
        now: Millis,
        connection: ConnectionId,
        leaf: puente_model::Digest,
        result: u32,
        index: u64,
    ) {
        if index >= self.ledger.size() {
            let then = Then::Delivered { connection, leaf, result, index };
            self.enqueue(now, Intent { entries: Vec::new(), puts: Vec::new(), asides: Vec::new(), then });
        } else if let Ok(proven) = self.ledger.recorded(LeafIndex(index))
            && *proven.leaf() == leaf
        {
            self.send_delivered(connection, leaf, result, proven.receipt());
        }
    }

    pub(crate) fn send_delivered(
        &mut self,
        connection: ConnectionId,
        leaf: puente_model::Digest,
        result: u32,
        receipt: Vec<u8>,
    ) {
        if !self.connections.contains_key(&connection) {
            return;
        }
        let route = Route { connection, stream: crate::api::StreamId::CONTROL };
        let frame = proto::Delivered { leaf_hash: leaf.0.to_vec(), result, receipt };
        self.send_proven(route, proto::frame::Body::Delivered(frame), false);
    }

    pub(crate) fn on_delivered(
        &mut self,
        now: Millis,
        peer: &NodeUri,
        delivered: &proto::Delivered,
    ) -> Result<(), Problem> {
        let leaf = puente_model::Digest::try_from(delivered.leaf_hash.as_slice())
            .map_err(|_| Problem::from(FaultCode::Malformed))?;
        if self.peers.get(peer).is_some_and(|known| known.handover.is_some()) {
            return self.handed(now, peer, leaf, delivered);
        }
        let Some(known) = self.peers.get(peer) else { return Err(FaultCode::NotAMember.into()) };
        let Some(seq) = known.own_leaves.get(&leaf).copied() else { return Ok(()) };
        let Some(own) = known.own.get(&seq).cloned() else { return Ok(()) };
        if delivered.result == MISMATCH {
            self.settle_delivery(now, peer, seq);
            self.emit(Effect::Alarm(Alarm::PeriodMismatch { peer: peer.clone() }));
            self.period_over(now, peer, false);
            return Ok(());
        }
        if delivered.receipt.is_empty() {
            self.settle_delivery(now, peer, seq);
            return Ok(()); // Of a number that an accepted PERIOD closed: that PERIOD's receipt covers it.
        }
        match (own.kind, own.exchange) {
            (PairKind::Answer | PairKind::Refusal, Some(exchange)) => {
                self.accept_receipt(now, peer, exchange, &leaf, &delivered.receipt)?;
                self.forget_held(exchange);
            }
            _ => {
                let receipt = match self.peers.get_mut(peer) {
                    Some(known) => known.log.receipt(&delivered.receipt, &leaf),
                    None => return Err(FaultCode::NotAMember.into()),
                };
                if let Err(problem) = receipt {
                    return Err(self.head_problem(now, peer, problem));
                }
                let asides = vec![receipt_aside(&leaf, &delivered.receipt)];
                self.enqueue(now, Intent { entries: Vec::new(), puts: Vec::new(), asides, then: Then::Nothing });
            }
        }
        let Some(known) = self.peers.get_mut(peer) else { return Ok(()) };
        if delivered.result == CLOSED
            && own.kind == PairKind::Void
            && let Some(own) = known.own.get_mut(&seq)
        {
            own.closed = true;
        }
        self.settle_delivery(now, peer, seq);
        let Some(known) = self.peers.get_mut(peer) else { return Ok(()) };
        let Some(closing) = &mut known.closing else { return Ok(()) };
        if closing.period.is_some_and(|(period_seq, _)| period_seq == seq) {
            self.period_over(now, peer, true);
        } else if closing.redelivering.remove(&leaf) && closing.redelivering.is_empty() {
            self.probe(peer);
        }
        Ok(())
    }

    /// What was delivered is answered: the next goes out.
    fn settle_delivery(&mut self, now: Millis, peer: &NodeUri, seq: u64) {
        if let Some(known) = self.peers.get_mut(peer) {
            known.deliveries.settle(seq);
            self.redeliver(now, peer);
        }
    }

    /// The period with a peer is due.
    pub(crate) fn period_due(&mut self, now: Millis, peer: &NodeUri) {
        let regular = u64::from(self.charter.period_minutes()) * 60_000;
        self.at(now.plus(regular), Timer::Period(peer.clone()));
        self.start_period(now, peer);
    }

    pub(crate) fn close_periods(&mut self, now: Millis, ticket: Ticket) {
        let open = |p: &&Peer| p.next_seq > p.own_closed + 1 && !p.forked && p.admitted;
        let peers: Vec<_> = self.peers.values().filter(open).map(|p| p.uri.clone()).collect();
        if peers.is_empty() {
            self.tell(ticket, Conclusion::PeriodsClosed { closed: 0, unreachable: Vec::new() });
            return;
        }
        self.closers.insert(ticket, (peers.iter().cloned().collect(), Vec::new(), 0));
        for peer in peers {
            if let Some(known) = self.peers.get_mut(&peer) {
                known.close_tickets.push(ticket);
            }
            if self.line_to(&peer).is_some() {
                self.start_period(now, &peer);
            }
            self.at(now.plus(CLOSING_MILLIS), Timer::Closing(peer));
        }
    }

    /// Asks the peer which of the open numbers it has.
    pub(crate) fn start_period(&mut self, now: Millis, peer: &NodeUri) {
        let Some(known) = self.peers.get_mut(peer) else { return };
        if known.ready.is_none() {
            return;
        }
        if known.handover.is_some() || known.owes_handover || known.closing.as_ref().is_some_and(|c| c.until > now) {
            return;
        }
        let first = known.own_closed + 1;
        if let Some((seq, leaf, last)) = known.pending_period {
            // It is recorded already, and was not delivered: no other may be made over the same numbers.
            known.closing = Some(Closing {
                first,
                last,
                redelivering: BTreeSet::new(),
                holes: BTreeSet::new(),
                period: Some((seq, leaf)),
                until: now.plus(CLOSING_MILLIS),
            });
            self.deliver_new(now, peer, seq, None);
            return;
        }
        // A question that may still be answered is left for the next period, and all after it.
        let (durable, asks) = (self.ledger.size(), &self.asks);
        let open = |own: &Own| {
            let ask = own.exchange.filter(|_| own.kind == PairKind::Query).and_then(|exchange| asks.get(&exchange));
            // What the peer has shown that it recorded can be closed before it is answered.
            ask.is_some_and(|ask| {
                matches!(ask.stage, AskStage::Recording | AskStage::AwaitingReply) && ask.stored.pending_at == 0
            })
        };
        let last = known.last_settled(durable, self.tuning.period_entries_max, open);
        if last < first {
            self.period_over(now, peer, true);
            return;
        }
        known.closing = Some(Closing {
            first,
            last,
            redelivering: BTreeSet::new(),
            holes: BTreeSet::new(),
            period: None,
            until: now.plus(CLOSING_MILLIS),
        });
        self.probe(peer);
    }

    /// Asks which numbers of the range being closed the peer lacks.
    fn probe(&mut self, peer: &NodeUri) {
        let Some(known) = self.peers.get_mut(peer) else { return };
        let (Some(connection), Some(closing)) = (known.ready, &mut known.closing) else { return };
        closing.holes.clear();
        let probe = proto::Probe { log: self.log_number, first: closing.first, last: closing.last };
        self.send_control(connection, proto::frame::Body::Probe(probe));
    }

    pub(crate) fn on_probe(
        &mut self,
        peer: &NodeUri,
        connection: ConnectionId,
        probe: &proto::Probe,
    ) -> Result<(), Problem> {
        let known = self.peers.get(peer).ok_or(Problem::from(FaultCode::NotAMember))?;
        if probe.log != known.log_number || probe.first == 0 || probe.last < probe.first {
            return Err(FaultCode::Malformed.into());
        }
        let missing = known.missing(probe.first, probe.last);
        let have = proto::Have { log: probe.log, first: probe.first, last: probe.last, missing };
        self.send_control(connection, proto::frame::Body::Have(have));
        Ok(())
    }

    pub(crate) fn on_have(&mut self, now: Millis, peer: &NodeUri, have: &proto::Have) -> Result<(), Problem> {
        let own_log = self.log_number;
        if self.peers.get(peer).is_some_and(|known| known.handover.is_some()) {
            return self.handover_have(now, peer, have);
        }
        let known = self.peers.get_mut(peer).ok_or(Problem::from(FaultCode::NotAMember))?;
        let Some(closing) = &mut known.closing else { return Ok(()) };
        if have.log != own_log || have.first != closing.first || have.last != closing.last || closing.period.is_some() {
            return Ok(());
        }
        if have.missing.len() > limits::HOLES_PER_PERIOD_MAX {
            return Err(FaultCode::Malformed.into());
        }
        if !closing.redelivering.is_empty() {
            return Ok(()); // A repeat: the answer to it is on its way.
        }
        let again = match known.settle_missing(&have.missing)? {
            Settled::Agreed => {
                self.record_period(now, peer);
                return Ok(());
            }
            Settled::Open => return Ok(()),
            Settled::Again(again) => again,
        };
        for (seq, kind) in again {
            known.deliveries.urge(seq, kind);
        }
        self.redeliver(now, peer);
        Ok(())
    }

    /// Both sides have the same numbers: record the PERIOD.
    fn record_period(&mut self, now: Millis, peer: &NodeUri) {
        let Some(known) = self.peers.get(peer) else { return };
        let Some(period) = known.draft_period() else {
            self.emit(Effect::Alarm(Alarm::PeriodMismatch { peer: peer.clone() }));
            return;
        };
        let pair = self.pair(peer, now, PairBody::Period(period));
        let seq = pair.seq.0;
        let Ok(wrapped) = self.wrap(now, pair) else { return };
        let before: Vec<_> = wrapped.before.clone().into_iter().collect();
        let index = self.next_index() + before.len() as u64;
        let proven = wrapped.proven(None);
        let leaf = wrapped.leaf;
        let puts = self.number(peer, &wrapped, PairKind::Period, None, Some(proven), index);
        if let Some(known) = self.peers.get_mut(peer)
            && let Some(closing) = &mut known.closing
        {
            closing.period = Some((seq, leaf));
            closing.until = now.plus(CLOSING_MILLIS);
            known.pending_period = Some((seq, leaf, closing.last));
        }
        let entries = before.into_iter().chain([wrapped.entry]).collect();
        let then = Then::Deliver(peer.clone(), seq);
        self.enqueue(now, Intent { entries, puts, asides: wrapped.asides, then });
    }

    /// A PERIOD was accepted by the peer, or cannot be.
    fn period_over(&mut self, now: Millis, peer: &NodeUri, closed: bool) {
        let (mut puts, mut receipted) = (Vec::new(), Vec::new());
        let Some(known) = self.peers.get_mut(peer) else { return };
        if let Some(closing) = known.closing.take()
            && closed
            && closing.period.is_some()
        {
            known.own_closed = closing.last;
            let rest = known.own.split_off(&(closing.last + 1));
            let ended = std::mem::replace(&mut known.own, rest);
            for own in ended.values() {
                known.own_leaves.remove(&own.leaf);
            }
            known.deliveries.close(closing.last);
            known.pending_period = None;
            puts.push(known.numbering_put());
            // The receipt for the PERIOD is one for every answer under its root.
            let answers = ended.into_values().filter(|own| matches!(own.kind, PairKind::Answer | PairKind::Refusal));
            receipted.extend(answers.filter_map(|own| own.exchange));
        }
        let tickets = std::mem::take(&mut known.close_tickets);
        let (holds, unreceipted) = (&self.holds, &known.unreceipted);
        receipted
            .retain(|exchange| holds.get(exchange).is_some_and(|hold| unreceipted.contains(&(hold.due_at, *exchange))));
        for exchange in receipted {
            puts.push(self.receipted(peer, exchange));
            self.forget_held(exchange);
        }
        if !puts.is_empty() {
            self.enqueue(now, Intent { entries: Vec::new(), puts, asides: Vec::new(), then: Then::Nothing });
        }
        for ticket in tickets {
            self.closer_done(ticket, peer, closed);
        }
    }

    fn closer_done(&mut self, ticket: Ticket, peer: &NodeUri, closed: bool) {
        let Some((waiting, unreachable, count)) = self.closers.get_mut(&ticket) else { return };
        if waiting.remove(peer) {
            if closed {
                *count += 1;
            } else {
                unreachable.push(peer.clone());
            }
        }
        if waiting.is_empty() {
            let (closed, unreachable) = (*count, std::mem::take(unreachable));
            self.closers.remove(&ticket);
            self.tell(ticket, Conclusion::PeriodsClosed { closed, unreachable });
        }
    }

    /// Whoever waits for periods to close learns that the peer cannot be reached.
    pub(crate) fn peer_unreachable(&mut self, peer: &NodeUri) {
        let tickets = match self.peers.get_mut(peer) {
            Some(known) => std::mem::take(&mut known.close_tickets),
            None => return,
        };
        for ticket in tickets {
            self.closer_done(ticket, peer, false);
        }
    }

    /// An attempt to close a period took too long.
    pub(crate) fn closing_due(&mut self, now: Millis, peer: &NodeUri) {
        let Some(known) = self.peers.get_mut(peer) else { return };
        if known.close_tickets.is_empty() {
            return;
        }
        if known.closing.as_ref().is_some_and(|c| c.until > now) {
            self.at(now.plus(AGAIN_MILLIS), Timer::Closing(peer.clone()));
        } else {
            self.peer_unreachable(peer);
        }
    }
}
