//! The asker's side of an exchange, once its question is recorded: ask, reply, acknowledgement, and every other end.

use prost::Message as _;
use puente_evidence::{CheckedEscrow, CheckedSealed};
use puente_model::{Digest, ExchangeId, Millis, Mode, NodeUri, Secret32, digest, limits};
use puente_wire::{Explanation, Pair, PairBody, explanation_from_bytes, fault::FaultCode, label, proto};
use zeroize::Zeroize as _;

use crate::api::{Answered, Conclusion, Ticket};
use crate::control::{Problem, receipt_aside};
use crate::engine::{AGAIN_MILLIS, Engine, Route, Then, Timer, aside, unwrap};
use crate::ledger::{Intent, Recorded};
use crate::period::RECORDED;
use crate::persist::{self, StoredAsk, Why};
use crate::question::Manner;

/// How long a frame waits that the peer was not ready for.
const TOO_EARLY_MILLIS: u64 = 10;

/// Where an ask stands: what it waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AskStage {
    /// The QUERY is not durable yet: nothing was sent.
    Recording,
    /// Asked.
    AwaitingReply,
    /// The ANSWER is not durable yet: nothing was acknowledged.
    RecordingReply,
    /// Acknowledged; the content key is to come.
    AwaitingRelease,
    /// RELEASE and OPENED (or DISPUTE, UNRELEASED) are not durable yet: nothing was shown.
    RecordingEnd,
    /// A VOID was recorded for it; a late answer still counts.
    Voided,
}

impl AskStage {
    const fn code(self) -> u32 {
        match self {
            Self::Recording | Self::AwaitingReply => 1,
            Self::RecordingReply | Self::AwaitingRelease => 2,
            Self::RecordingEnd => 3,
            Self::Voided => 4,
        }
    }
}

/// A question under way.
#[derive(Debug)]
pub(crate) struct Asking {
    pub(crate) peer: NodeUri,
    pub(crate) ticket: Option<Ticket>,
    /// Nobody waits: whoever asked is told so as soon as the QUERY is durable.
    pub(crate) stays: bool,
    pub(crate) stage: AskStage,
    pub(crate) stored: StoredAsk,
    pub(crate) query: Pair,
    pub(crate) query_leaf: Digest,
    pub(crate) due_at: Millis,
    pub(crate) answer: Option<(Pair, Digest)>,
    pub(crate) route: Option<Route>,
    /// Receipts of the ANSWER that went out: RELEASE must name one of them. None if some may have gone out before
    /// a restart: the holder must show the one it names to auditors in any case.
    pub(crate) receipts: Option<Vec<Digest>>,
    pub(crate) again_at: Millis,
    /// The peer said that a person decides: it is asked again only now and then.
    pub(crate) rests: bool,
    /// How it was put.
    pub(crate) manner: Manner,
}

impl Drop for Asking {
    fn drop(&mut self) {
        self.stored.wipe();
    }
}

impl Asking {
    /// It waits for the peer.
    pub(crate) fn wants_line(&self) -> bool {
        match self.stage {
            AskStage::AwaitingReply => !self.rests,
            stage => stage == AskStage::AwaitingRelease,
        }
    }

    pub(crate) fn put(&mut self, exchange: ExchangeId) -> (Vec<u8>, Option<Vec<u8>>) {
        // An answer that discloses nothing is the end of its exchange.
        let ended = self.stored.plain.is_some() && self.answer.is_some();
        self.stored.stage = if ended { AskStage::RecordingEnd.code() } else { self.stage.code() };
        (persist::ask_key(&self.peer, exchange), Some(self.stored.encode_to_vec()))
    }
}

impl Engine {
    /// Takes up the asks that were not ended.
    pub(crate) fn restore_asks(&mut self, now: Millis) -> Result<(), String> {
        for (peer, exchange) in persist::all_open(&*self.store, persist::OPEN_ASKS)? {
            let Some(mut ask) = self.load_ask(&peer, exchange)? else { continue };
            if ask.query.log != self.log_number {
                // Its number belongs to a log that takes no more: nothing can follow it. A late answer is handed over.
                let puts = vec![(persist::open_ask_key(&peer, exchange), None)];
                self.enqueue(now, Intent { entries: Vec::new(), puts, asides: Vec::new(), then: Then::Nothing });
                continue;
            }
            if ask.stored.plain.is_some() && ask.answer.is_some() {
                // Answered before the restart; the acknowledgement may not have gone out.
                ask.stage = AskStage::AwaitingRelease;
            }
            let due = ask.due_at;
            self.asks.insert(exchange, ask);
            self.at(due.max(now), Timer::Ask(exchange));
            self.at(now, Timer::Again(exchange));
        }
        Ok(())
    }

    pub(crate) fn load_ask(&self, peer: &NodeUri, exchange: ExchangeId) -> Result<Option<Asking>, String> {
        let Some(bytes) = self.store.get(&persist::ask_key(peer, exchange))? else { return Ok(None) };
        let stored = StoredAsk::decode(bytes.as_slice()).map_err(|e| e.to_string())?;
        let query = stored.query.as_ref().ok_or("an ask without its QUERY")?;
        let (query, query_leaf) = unwrap(query).map_err(|e| e.to_string())?;
        let answer = match &stored.answer {
            Some(proven) => Some(unwrap(proven).map_err(|e| e.to_string())?),
            None => None,
        };
        let stage = match stored.stage {
            1 => AskStage::AwaitingReply,
            2 => AskStage::AwaitingRelease,
            4 => AskStage::Voided,
            _ => AskStage::RecordingEnd,
        };
        Ok(Some(Asking {
            peer: query.to.clone(),
            ticket: None,
            stays: false,
            stage,
            due_at: Millis(stored.due_at),
            stored,
            query,
            query_leaf,
            answer,
            route: None,
            receipts: None,
            again_at: Millis(0),
            rests: false,
            manner: Manner::default(),
        }))
    }

    pub(crate) fn query_recorded(&mut self, now: Millis, exchange: ExchangeId, recorded: &[Recorded]) {
        let Some(ask) = self.asks.get_mut(&exchange) else { return };
        if ask.stage != AskStage::Recording {
            return;
        }
        ask.stage = AskStage::AwaitingReply;
        // From here on the store says so.
        self.confirming.retain(|_, next| *next != Some(exchange));
        let peer = ask.peer.clone();
        if ask.stays
            && let Some(ticket) = ask.ticket.take()
        {
            self.tell(ticket, Conclusion::Asked { exchange });
        }
        if !self.admits(&peer) {
            return self.end_cut(now, exchange);
        }
        if self.asks.get(&exchange).is_some_and(|ask| ask.manner.said_to_group) {
            // Said to everybody once all are recorded.
            return self.at(now.plus(AGAIN_MILLIS), Timer::Again(exchange));
        }
        self.send_ask(now, exchange, recorded.last().cloned());
    }

    /// Sends the Ask if the peer can be reached; else asks for a connection.
    pub(crate) fn send_ask(&mut self, now: Millis, exchange: ExchangeId, recorded: Option<Recorded>) {
        let Some(ask) = self.asks.get(&exchange) else { return };
        let (peer, index) = (ask.peer.clone(), ask.stored.query_index);
        let Some(connection) = self.line_to(&peer) else { return self.wait_for_turn(now, exchange) };
        self.at(now.plus(AGAIN_MILLIS), Timer::Again(exchange));
        let Some(recorded) = recorded.or_else(|| self.ledger.recorded(puente_model::LeafIndex(index)).ok()) else {
            return;
        };
        let Some(route) = self.open_stream(connection, exchange) else { return };
        let Some(ask) = self.asks.get_mut(&exchange) else { return };
        if *recorded.leaf() != ask.query_leaf {
            return;
        }
        ask.route = Some(route);
        ask.again_at = now.plus(AGAIN_MILLIS);
        let mut query = ask.stored.query.clone().unwrap_or_default();
        query.receipt = recorded.receipt();
        let frame =
            proto::Ask { query: Some(query), payload: ask.stored.payload.clone(), salt: ask.stored.salt.clone() };
        self.send_proven(route, proto::frame::Body::Ask(frame), false);
    }

    pub(crate) fn on_reply(
        &mut self,
        now: Millis,
        peer: &NodeUri,
        route: Route,
        reply: proto::Reply,
        redelivered: bool,
    ) -> Result<(), Problem> {
        let proven = reply.answer.ok_or(Problem::from(FaultCode::Malformed))?;
        let (pair, leaf) = unwrap(&proven)?;
        let exchange = pair.exchange().ok_or(Problem::from(FaultCode::Malformed))?;
        if pair.from != *peer || pair.to != self.node {
            return Err(FaultCode::Misaddressed.into());
        }
        if !self.asks.contains_key(&exchange) {
            match self.load_ask(peer, exchange) {
                Ok(Some(ask)) => {
                    self.asks.insert(exchange, ask);
                }
                _ => return Err(Problem::Fault(FaultCode::UnknownExchange, Some(exchange))),
            }
        }
        let fault = |code| Problem::Fault(code, Some(exchange));
        let Some(ask) = self.asks.get(&exchange) else { return Err(fault(FaultCode::UnknownExchange)) };
        if ask.peer != *peer {
            return Err(fault(FaultCode::UnknownExchange));
        }
        if let Some((_, known)) = ask.answer {
            if known != leaf {
                return Err(fault(FaultCode::Replayed));
            }
            // The same answer again: acknowledge again, unless it is still on its way to the disk.
            if ask.stage == AskStage::RecordingReply {
                return Err(Problem::Ignore);
            }
            let index = ask.stored.answer_index;
            if redelivered {
                self.confirm(now, route.connection, leaf, RECORDED, index);
            } else if matches!(ask.stage, AskStage::AwaitingRelease | AskStage::RecordingEnd) {
                self.send_acknowledge(now, exchange, None);
            }
            self.forget_ended(exchange);
            return Ok(());
        }
        if !matches!(ask.stage, AskStage::AwaitingReply | AskStage::Voided) {
            return Err(Problem::Ignore);
        }
        self.check_answer_terms(now, peer, &pair, exchange).map_err(fault)?;
        let receipt = {
            let Some(known) = self.peers.get_mut(peer) else { return Err(fault(FaultCode::NotAMember)) };
            known.log.receipt(&proven.receipt, &leaf)
        };
        if let Err(problem) = receipt {
            return Err(self.head_problem(now, peer, problem));
        }
        // From here on the answer is the peer's, provably: whatever is wrong with its content is recorded with it.
        let escrow_ok = proven
            .escrow
            .as_ref()
            .zip(pair.escrow())
            .is_some_and(|(escrow, hash)| CheckedEscrow::check(escrow, hash).is_ok());
        let content = match (&reply.content, &pair.body) {
            (Some(proto::reply::Content::Sealed(sealed)), PairBody::Answer { terms, commitment, .. }) => {
                CheckedSealed::check(terms.mode, sealed, *commitment).is_ok()
            }
            (
                Some(proto::reply::Content::Plain(plain)),
                PairBody::Answer { terms, commitment, .. } | PairBody::Refusal { terms, commitment, .. },
            ) => read_plain(terms.mode, plain, *commitment).is_some(),
            _ => false,
        };
        if !self.vector.covers(&pair.charter) {
            // The answer stands whatever this node knows; who is who it learns now.
            let _ = self.wait_for_charter(now, peer, route, &pair.charter, None);
        }
        self.record_reply(
            now,
            exchange,
            proven,
            pair,
            leaf,
            reply.content,
            escrow_ok && content,
            redelivered.then_some(route),
        )
    }

    fn check_answer_terms(
        &self,
        now: Millis,
        peer: &NodeUri,
        pair: &Pair,
        exchange: ExchangeId,
    ) -> Result<(), FaultCode> {
        let ask = self.asks.get(&exchange).ok_or(FaultCode::UnknownExchange)?;
        let known = self.peers.get(peer).ok_or(FaultCode::NotAMember)?;
        let (Some(asked), Some(answered)) = (ask.query.terms(), pair.terms()) else {
            return Err(FaultCode::Malformed);
        };
        if !matches!(pair.body, PairBody::Answer { .. } | PairBody::Refusal { .. }) {
            return Err(FaultCode::OutOfOrder);
        }
        if pair.quoted() != Some(ask.query_leaf) {
            return Err(FaultCode::BadCommitment);
        }
        let same = answered.kind == asked.kind
            && answered.step == asked.step
            && answered.purpose == asked.purpose
            && answered.basis == asked.basis
            && answered.mode == asked.mode
            && answered.group == asked.group
            && answered.epoch == asked.epoch;
        if !same {
            return Err(FaultCode::BadCommitment);
        }
        if pair.log != known.log_number {
            return Err(FaultCode::WrongLog);
        }
        if pair.minute.start().0 > now.0 + limits::CLOCK_SKEW_MILLIS_MAX {
            return Err(FaultCode::FutureDated);
        }
        if !pair.charter.covers(&ask.query.charter) {
            return Err(FaultCode::OldCharter);
        }
        match known.theirs.get(&pair.seq.0) {
            Some(_) => Err(FaultCode::Replayed),
            None if pair.seq.0 <= known.theirs_closed => Err(FaultCode::NumberClosed),
            None => Ok(()),
        }
    }

    #[allow(clippy::too_many_arguments)]
    fn record_reply(
        &mut self,
        now: Millis,
        exchange: ExchangeId,
        proven: proto::Proven,
        pair: Pair,
        leaf: Digest,
        content: Option<proto::reply::Content>,
        sound: bool,
        redelivered: Option<Route>,
    ) -> Result<(), Problem> {
        let index = self.next_index();
        let peer = pair.from.clone();
        let domestic_asides = self.seal_received(now, &proven, &leaf);
        let index = index + domestic_asides.1.len() as u64;
        let Some(ask) = self.asks.get_mut(&exchange) else { return Err(FaultCode::UnknownExchange.into()) };
        let mut asides = domestic_asides.0;
        asides.push(receipt_aside(&leaf, &proven.receipt));
        if let Some(escrow) = &proven.escrow {
            asides.push(aside(&leaf, proto::aside::Body::Escrow(escrow.clone())));
        }
        let entry = proven.entry.clone();
        ask.stored.answer = Some(proto::Proven { receipt: Vec::new(), ..proven });
        ask.stored.answer_index = index;
        ask.stored.answer_leaf = leaf.0.to_vec();
        match content {
            Some(proto::reply::Content::Sealed(sealed)) => ask.stored.sealed = Some(sealed),
            Some(proto::reply::Content::Plain(plain)) => {
                ask.stored.plain = Some(plain);
                ask.stored.psk.zeroize();
            }
            None => {}
        }
        let seq = pair.seq.0;
        ask.answer = Some((pair, leaf));
        ask.stage = if sound { AskStage::RecordingReply } else { AskStage::RecordingEnd };
        let mut puts = vec![ask.put(exchange), (persist::open_ask_key(&peer, exchange), Some(Vec::new()))];
        let due = ask.due_at.max(now.plus(AGAIN_MILLIS));
        self.at(due, Timer::Ask(exchange));
        if let Some(known) = self.peers.get_mut(&peer) {
            puts.push(known.take(seq, leaf, Some(exchange), index));
        }
        let entries = domestic_asides.1.into_iter().chain([entry]).collect();
        if !sound {
            self.enqueue(now, Intent { entries, puts, asides, then: Then::Nothing });
            self.dispute(now, exchange, leaf, b"the reply's content does not match the ANSWER's commitment".to_vec());
            return Ok(());
        }
        self.enqueue(now, Intent { entries, puts, asides, then: Then::Acknowledge(exchange) });
        if let Some(route) = redelivered {
            self.confirm(now, route.connection, leaf, RECORDED, index);
        }
        Ok(())
    }

    /// Seals the header of a received veiled entry to the own auditors: asides, and Seeds entries to stand before it.
    pub(crate) fn seal_received(
        &mut self,
        now: Millis,
        proven: &proto::Proven,
        leaf: &Digest,
    ) -> (Vec<Vec<u8>>, Vec<Vec<u8>>) {
        let Ok(salt) = <[u8; 32]>::try_from(proven.header_salt.as_slice()) else { return (Vec::new(), Vec::new()) };
        debug_assert_eq!(puente_audit_log::leaf_hash(&proven.entry), *leaf);
        match self.veil(now, proven.entry.clone(), proven.header.clone(), &Secret32::new(salt)) {
            Ok(wrapped) => (wrapped.asides, wrapped.before.into_iter().collect()),
            Err(_) => (Vec::new(), Vec::new()),
        }
    }

    pub(crate) fn reply_recorded(&mut self, now: Millis, exchange: ExchangeId, recorded: &[Recorded]) {
        let Some(ask) = self.asks.get_mut(&exchange) else { return };
        if ask.stage != AskStage::RecordingReply {
            return;
        }
        ask.stage = AskStage::AwaitingRelease;
        let peer = ask.peer.clone();
        let conclusion = plain_conclusion(exchange, ask);
        if !self.refused_as_stale(now, exchange)
            && let Some(conclusion) = conclusion
            && let Some(ticket) = self.asks.get_mut(&exchange).and_then(|ask| ask.ticket.take())
        {
            self.tell(ticket, conclusion);
        }
        if !self.admits(&peer) {
            return self.end_cut(now, exchange);
        }
        self.send_acknowledge(now, exchange, recorded.last().cloned());
    }

    pub(crate) fn send_acknowledge(&mut self, now: Millis, exchange: ExchangeId, recorded: Option<Recorded>) {
        let Some(ask) = self.asks.get(&exchange) else { return };
        let (peer, index, route) = (ask.peer.clone(), ask.stored.answer_index, ask.route);
        let Some(recorded) = recorded.or_else(|| self.ledger.recorded(puente_model::LeafIndex(index)).ok()) else {
            return;
        };
        let sealed = ask.stored.sealed.is_some();
        if sealed {
            self.at(now.plus(AGAIN_MILLIS), Timer::Again(exchange));
        }
        let route = match route {
            Some(route) => Some(route),
            None => self.line_to(&peer).and_then(|connection| self.open_stream(connection, exchange)),
        };
        let Some(route) = route else { return self.wait_for_turn(now, exchange) };
        let receipt = recorded.receipt();
        if let Some(ask) = self.asks.get_mut(&exchange) {
            if ask.answer.as_ref().is_none_or(|(_, leaf)| leaf != recorded.leaf()) {
                return;
            }
            ask.route = Some(route);
            ask.again_at = now.plus(AGAIN_MILLIS);
            if let Some(receipts) = &mut ask.receipts {
                receipts.push(digest(label::RECEIPT, &[&receipt]));
            }
        }
        let frame = proto::Acknowledge { exchange_id: exchange.0.to_vec(), receipt };
        self.send_proven(route, proto::frame::Body::Acknowledge(frame), !sealed);
        if !sealed {
            self.done(now, exchange);
        }
    }

    /// Forgets an exchange that needs nothing more.
    fn done(&mut self, now: Millis, exchange: ExchangeId) {
        let Some(ask) = self.drop_ask(exchange) else { return };
        let puts = vec![(persist::open_ask_key(&ask.peer, exchange), None)];
        self.enqueue(now, Intent { entries: Vec::new(), puts, asides: Vec::new(), then: Then::Nothing });
    }

    /// Takes an exchange out of memory, its deadline's timer with it.
    pub(crate) fn drop_ask(&mut self, exchange: ExchangeId) -> Option<Asking> {
        let ask = self.asks.remove(&exchange)?;
        self.never(ask.due_at, Timer::Ask(exchange));
        Some(ask)
    }

    /// The deadline of an ask has passed.
    pub(crate) fn ask_due(&mut self, now: Millis, exchange: ExchangeId) {
        let Some(ask) = self.asks.get(&exchange) else { return };
        if ask.due_at > now {
            // Set before the clock was put back.
            let due = ask.due_at;
            self.at(due, Timer::Ask(exchange));
            return;
        }
        match ask.stage {
            AskStage::AwaitingReply => {
                let ticket = self.asks.get_mut(&exchange).and_then(|a| a.ticket.take());
                self.give_up(now, exchange, Why::Deadline, 0);
                if let Some(ticket) = ticket {
                    self.tell(ticket, Conclusion::TimedOut { exchange });
                }
            }
            // Nothing was disclosed, so nothing is released: the receipt goes out with the next period.
            AskStage::AwaitingRelease if ask.stored.sealed.is_none() => self.done(now, exchange),
            AskStage::AwaitingRelease => self.unreleased(now, exchange),
            // On its way to the disk: look again when it is there.
            AskStage::Recording | AskStage::RecordingReply => self.at(now.plus(100), Timer::Ask(exchange)),
            AskStage::RecordingEnd | AskStage::Voided => {}
        }
    }

    pub(crate) fn cancel(&mut self, now: Millis, ticket: Ticket) {
        let Some(exchange) = self.tickets.remove(&ticket) else { return self.cancel_anew(ticket) };
        let Some(ask) = self.asks.get_mut(&exchange).filter(|ask| ask.ticket == Some(ticket)) else { return };
        ask.ticket = None;
        // Of a question that goes on by itself, only the waiting is given up.
        if !ask.stays && ask.stage == AskStage::AwaitingReply {
            self.give_up(now, exchange, Why::Withdrawn, 0);
        }
    }

    /// Voids a question's number, and remembers why.
    pub(crate) fn give_up(&mut self, now: Millis, exchange: ExchangeId, why: Why, fault: u32) {
        if let Some(ask) = self.asks.get_mut(&exchange) {
            (ask.stored.why, ask.stored.fault) = (why.code(), fault);
        }
        self.void(now, exchange);
    }

    /// The holder's node refused to process a frame.
    pub(crate) fn faulted(&mut self, now: Millis, peer: &NodeUri, route: Route, fault: &proto::Fault) {
        let code = FaultCode::from_code(fault.code);
        let Ok(exchange) = ExchangeId::try_from(fault.exchange_id.as_slice()) else {
            match code {
                Some(FaultCode::NotReady) => self.too_early(now, route),
                Some(FaultCode::NoSuchPart) => self.no_such_part(now, peer),
                _ => {}
            }
            return;
        };
        let Some(ask) = self.asks.get_mut(&exchange).filter(|a| a.peer == *peer) else { return };
        let waiting = matches!(ask.stage, AskStage::AwaitingReply);
        ask.route = None;
        // A code that this node does not know is a refusal without retry.
        if fault.retry_after_millis > 0 && code.is_some() {
            let wait = u64::from(fault.retry_after_millis).clamp(10, 60_000);
            ask.again_at = now.plus(wait);
            self.at(now.plus(wait), Timer::Again(exchange));
        } else if waiting {
            // It was not recorded there: the number is closed by a VOID.
            let ticket = ask.ticket.take();
            self.give_up(now, exchange, Why::Faulted, fault.code);
            if let Some(ticket) = ticket {
                let code = code.unwrap_or(FaultCode::OutOfOrder);
                self.tell(ticket, Conclusion::Faulted { exchange: Some(exchange), code });
            }
        }
    }

    /// A frame overtook this node's Ready on another stream, and was not read: it goes out again in a moment.
    fn too_early(&mut self, now: Millis, route: Route) {
        let line = self.connections.get_mut(&route.connection);
        let Some(exchange) = line.and_then(|line| line.asks.remove(&route.stream)) else { return };
        let Some(ask) = self.asks.get_mut(&exchange).filter(|ask| ask.route == Some(route)) else { return };
        ask.route = None;
        ask.again_at = now.plus(TOO_EARLY_MILLIS);
        self.at(now.plus(TOO_EARLY_MILLIS), Timer::Again(exchange));
    }

    pub(crate) fn ask_put(&mut self, exchange: ExchangeId) -> Vec<(Vec<u8>, Option<Vec<u8>>)> {
        self.asks.get_mut(&exchange).map(|ask| ask.put(exchange)).into_iter().collect()
    }
}

/// What an answer without a disclosed body, or a refusal, tells the asker.
pub(crate) fn plain_conclusion(exchange: ExchangeId, ask: &Asking) -> Option<Conclusion> {
    let plain = ask.stored.plain.as_ref()?;
    let (pair, leaf) = ask.answer.as_ref()?;
    match &pair.body {
        PairBody::Refusal { reason, terms, commitment, .. } => Some(Conclusion::Refused {
            exchange: Some(exchange),
            reason: *reason,
            explanation: read_plain(terms.mode, plain, *commitment).unwrap_or_default(),
        }),
        PairBody::Answer { outcome, terms, commitment, .. } => Some(Conclusion::Answered(Box::new(Answered {
            exchange,
            outcome: *outcome,
            handling: terms.handling,
            fields: Vec::new(),
            obligations: Vec::new(),
            explanation: read_plain(terms.mode, plain, *commitment),
            answer_leaf: *leaf,
            query_leaf: ask.query_leaf,
        }))),
        _ => None,
    }
}

/// The explanation that a plain answer or refusal commits to.
pub(crate) fn read_plain(mode: Mode, plain: &proto::Plain, commitment: Digest) -> Option<Explanation> {
    let salt: [u8; 32] = plain.salt.as_slice().try_into().ok()?;
    if Explanation::commit(mode, &plain.payload, &Secret32::new(salt)) != commitment {
        return None;
    }
    explanation_from_bytes(&plain.payload).ok()
}
