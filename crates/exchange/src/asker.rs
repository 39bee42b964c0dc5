//! The asker's side: question, reply, acknowledgement, release, opening.

use std::collections::BTreeMap;

use prost::Message as _;
use puente_catalogue::{Lang, Params};
use puente_evidence::{CheckedEscrow, CheckedSealed, EscrowedEntry, ReplyKey};
use puente_model::{
    Digest, EventKind, ExchangeId, Millis, Minute, Mode, NodeUri, RefusalReason, Secret32, Seq, Step, Urgency, digest,
    limits,
};
use puente_policy::{Direction, Request, Verdict};
use puente_wire::{
    Explanation, Pair, PairBody, PairKind, QueryPayload, Terms, explanation_from_bytes, fault::FaultCode, label, proto,
};

use crate::api::{Answered, Conclusion, Draft, LocalEvent, Ticket};
use crate::control::{Problem, receipt_aside};
use crate::engine::{AGAIN_MILLIS, Engine, Route, Then, Timer, aside, unwrap};
use crate::ledger::{Intent, Recorded};
use crate::period::RECORDED;
use crate::persist::{self, StoredAsk};

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
}

impl Drop for Asking {
    fn drop(&mut self) {
        self.stored.wipe();
    }
}

impl Asking {
    /// It waits for the peer.
    pub(crate) fn wants_line(&self) -> bool {
        matches!(self.stage, AskStage::AwaitingReply | AskStage::AwaitingRelease)
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
        let mut open = Vec::new();
        persist::each_open(&*self.store, persist::OPEN_ASKS, |peer, exchange| {
            open.push((peer, exchange));
            Ok(())
        })?;
        for (peer, exchange) in open {
            let Some(mut ask) = self.load_ask(&peer, exchange)? else { continue };
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
            stage,
            due_at: Millis(stored.due_at),
            stored,
            query,
            query_leaf,
            answer,
            route: None,
            receipts: None,
            again_at: Millis(0),
        }))
    }

    pub(crate) fn question(&mut self, now: Millis, ticket: Ticket, draft: Draft) {
        let params = match self.check_draft(now, &draft) {
            Ok(params) => params,
            Err(errors) => {
                self.tell(ticket, Conclusion::Invalid { errors });
                return;
            }
        };
        let request = Request {
            direction: Direction::Outbound,
            agency: self.node.agency(),
            agency_roles: self.own_roles.clone(),
            holder: draft.to.agency(),
            holder_roles: self.peers.get(&draft.to).map(|p| p.agency_roles.clone()).unwrap_or_default(),
            kind: draft.kind.clone(),
            step: draft.step,
            purpose: draft.purpose,
            basis: draft.basis.clone(),
            officer_role: draft.officer.role,
            urgency: draft.urgency,
            mode: Mode::Open,
            handling: draft.handling,
            offence: Some(draft.offence.clone()).filter(|o| !o.is_empty()),
            facts_stated: !draft.facts_statement.is_empty(),
            suspicion_stated: !draft.facts_statement.is_empty(),
            case_stated: !draft.case_ref.is_empty(),
        };
        if let Verdict::Refuse(refusal) = &*self.judge.judge(&request, now) {
            let conclusion =
                Conclusion::Refused { exchange: None, reason: refusal.reason, explanation: explain(now, refusal) };
            let event = LocalEvent {
                kind: EventKind::OutboundRefused,
                record_type: String::new(),
                count: 1,
                purpose: Some(draft.purpose),
                basis: Some(draft.basis.clone()),
                role: Some(draft.officer.role),
                detail: draft.officer.id.as_str().as_bytes().to_vec(),
            };
            let (reason, to) = (refusal.reason, draft.to);
            let complete = |e: &mut puente_wire::Event| {
                e.reason = Some(reason);
                e.peer = Some(to);
            };
            self.record_event(now, event, complete, Then::Tell(ticket, Box::new(conclusion)));
            return;
        }
        if let Err(reason) = self.record_query(now, ticket, &draft, &params) {
            let explanation =
                Explanation { at: now, text_en: reason.clone(), text_es: reason, ..Explanation::default() };
            self.tell(ticket, Conclusion::Refused { exchange: None, reason: RefusalReason::Failed, explanation });
        }
    }

    /// Everything that can be wrong with a question before anything is recorded: field, what, mend.
    fn check_draft(&mut self, now: Millis, draft: &Draft) -> Result<Params, Vec<(String, String, String)>> {
        let wrong = |field: &str, what: &str, mend: &str| (field.to_owned(), what.to_owned(), mend.to_owned());
        let Some(kind) = self.catalogue.query_kind(draft.kind.as_str()) else {
            let valid: Vec<_> = self.catalogue.query_kinds().iter().map(|k| k.kind().to_string()).collect();
            return Err(vec![wrong(
                "kind",
                "the catalogue has no such query kind",
                &format!("use one of: {}", valid.join(", ")),
            )]);
        };
        let given: BTreeMap<String, String> = draft.params.iter().cloned().collect();
        let lang = Lang::En;
        let mut errors = Vec::new();
        let params = match kind.parse_params(&given) {
            Ok(params) => Some(params),
            Err(findings) => {
                errors.extend(findings.iter().map(|f| (f.column.clone(), f.message(lang), f.mend(lang).to_owned())));
                None
            }
        };
        if !self.peers.contains_key(&draft.to) || !self.charter.member(&draft.to).is_some_and(|m| m.is_active()) {
            let valid: Vec<_> = self.peers.keys().map(ToString::to_string).collect();
            errors.push(wrong(
                "to",
                "not an active member of the charter",
                &format!("use one of: {}", valid.join(", ")),
            ));
        }
        if !self.charter.status(now).may_exchange() {
            errors.push(wrong(
                "charter",
                "the charter and its grace have ended",
                "have the governance bodies sign a new common part",
            ));
        }
        if draft.step != Step::HitNoHit {
            if draft.confirms.is_none() {
                errors.push(wrong(
                    "confirms",
                    "this step follows a confirmed hit",
                    "give the leaf hash of the step-1 answer that a person confirmed",
                ));
            }
            if draft.facts_statement.trim().is_empty() {
                errors.push(wrong("facts", "this step needs a statement of facts", "state the facts and the offence"));
            }
        }
        if draft.due_at <= now || draft.due_at.since(now) > limits::DEADLINE_MILLIS_MAX {
            errors.push(wrong(
                "due",
                "the deadline has passed or lies more than 7 days ahead",
                "give a deadline between now and 7 days from now",
            ));
        }
        if draft.urgency == Urgency::Urgent && draft.justification.trim().is_empty() {
            errors.push(wrong("urgent", "an urgent question needs a justification", "say why it cannot wait"));
        }
        if draft.officer.expires <= now {
            errors.push(wrong("officer", "the officer's grant has expired", "have the grant renewed"));
        }
        let (minute, asked) = self.officers.entry(draft.officer.id.clone()).or_insert((0, 0));
        if *minute != now.minute().0 {
            (*minute, *asked) = (now.minute().0, 0);
        }
        *asked += 1;
        if *asked > self.tuning.queries_per_officer_per_minute {
            errors.push(wrong(
                "officer",
                "too many questions by this officer in one minute",
                "wait for the next minute",
            ));
        }
        if self.officers.len() > 100_000 {
            let this = now.minute().0;
            self.officers.retain(|_, (minute, _)| *minute == this);
        }
        match params {
            Some(params) if errors.is_empty() => Ok(params),
            _ => Err(errors),
        }
    }

    fn record_query(&mut self, now: Millis, ticket: Ticket, draft: &Draft, params: &Params) -> Result<(), String> {
        let seq = Seq(self.peers.get(&draft.to).map_or(1, |p| p.next_seq));
        let exchange = ExchangeId::new(self.log_number, seq, self.random());
        let reply_key = ReplyKey::generate(&mut self.rng).map_err(|e| e.to_string())?;
        let payload = QueryPayload {
            asked_at: now,
            due_at: draft.due_at,
            case_ref: draft.case_ref.clone(),
            officer: draft.officer.clone(),
            params: params.pairs().to_vec(),
            urgency: draft.urgency,
            justification: draft.justification.clone(),
            facts_statement: draft.facts_statement.clone(),
            offence: draft.offence.clone(),
            reply_key: *reply_key.public(),
            confirms: draft.confirms,
        }
        .encode();
        if payload.len() > limits::QUERY_BYTES_MAX {
            return Err(format!(
                "the question has {} bytes; at most {} are allowed",
                payload.len(),
                limits::QUERY_BYTES_MAX
            ));
        }
        let salt = Secret32::new(self.random());
        let commitment = QueryPayload::commit(&payload, &salt);
        let opening = [salt.expose().as_slice(), &payload].concat();
        let (escrow, escrow_hash, mut before) =
            self.make_escrow(now, &draft.to, exchange, PairKind::Query, commitment, &opening)?;
        let terms = Terms {
            exchange,
            kind: draft.kind.clone(),
            step: draft.step,
            purpose: draft.purpose,
            basis: draft.basis.clone(),
            handling: draft.handling,
            group: String::new(),
            epoch: 0,
            mode: Mode::Open,
        };
        let due = Minute(draft.due_at.0.div_ceil(60_000));
        let query = self.pair(&draft.to, now, PairBody::Query { terms, due, commitment, escrow: escrow_hash });
        let mut wrapped = self.wrap(now, query.clone()).map_err(|e| e.to_string())?;
        before.extend(wrapped.before.take());
        let index = self.next_index() + before.len() as u64;
        let mut puts = self.number(&draft.to, &wrapped, PairKind::Query, Some(exchange), None, index);
        let stored = StoredAsk {
            peer: draft.to.to_string(),
            query: Some(wrapped.proven(Some(escrow.clone()))),
            query_index: index,
            payload,
            salt: salt.expose().to_vec(),
            reply_key: reply_key.private().expose().to_vec(),
            due_at: draft.due_at.0,
            query_leaf: wrapped.leaf.0.to_vec(),
            ..StoredAsk::default()
        };
        let mut ask = Asking {
            peer: draft.to.clone(),
            ticket: Some(ticket),
            stage: AskStage::Recording,
            stored,
            query,
            query_leaf: wrapped.leaf,
            due_at: draft.due_at,
            answer: None,
            route: None,
            receipts: Some(Vec::new()),
            again_at: now,
        };
        puts.push(ask.put(exchange));
        puts.push((persist::open_ask_key(&draft.to, exchange), Some(Vec::new())));
        let mut asides = wrapped.asides;
        asides.push(aside(&wrapped.leaf, proto::aside::Body::Escrow(escrow)));
        self.tickets.insert(ticket, exchange);
        self.asks.insert(exchange, ask);
        self.at(draft.due_at, Timer::Ask(exchange));
        let entries = before.into_iter().chain([wrapped.entry]).collect();
        self.enqueue(now, Intent { entries, puts, asides, then: Then::Ask(exchange) });
        Ok(())
    }

    /// Escrows an opening; the Seeds entries to be recorded before are returned with it.
    #[allow(clippy::type_complexity)]
    pub(crate) fn make_escrow(
        &mut self,
        now: Millis,
        peer: &NodeUri,
        exchange: ExchangeId,
        kind: PairKind,
        commitment: Digest,
        opening: &[u8],
    ) -> Result<(proto::Escrow, Digest, Vec<Vec<u8>>), String> {
        let nations = self.nations(peer);
        let entry = EscrowedEntry { origin: &self.origin, exchange, kind, commitment };
        let made = self
            .seeds
            .escrow(&self.charter, nations, &entry, opening, now, &mut self.rng)
            .map_err(|e| e.to_string())?;
        let (escrow, hash) = made.value;
        Ok((escrow, hash, made.entry.into_iter().collect()))
    }

    pub(crate) fn query_recorded(&mut self, now: Millis, exchange: ExchangeId, recorded: &[Recorded]) {
        let Some(ask) = self.asks.get_mut(&exchange) else { return };
        if ask.stage != AskStage::Recording {
            return;
        }
        ask.stage = AskStage::AwaitingReply;
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
            (Some(proto::reply::Content::Sealed(sealed)), PairBody::Answer { commitment, .. }) => {
                CheckedSealed::check(sealed, *commitment).is_ok()
            }
            (
                Some(proto::reply::Content::Plain(plain)),
                PairBody::Answer { commitment, .. } | PairBody::Refusal { commitment, .. },
            ) => read_plain(plain, *commitment).is_some(),
            _ => false,
        };
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
            Some(proto::reply::Content::Plain(plain)) => ask.stored.plain = Some(plain),
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
        if let Some(conclusion) = plain_conclusion(exchange, ask)
            && let Some(ticket) = ask.ticket.take()
        {
            self.tell(ticket, conclusion);
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
                self.void(now, exchange);
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
        let Some(exchange) = self.tickets.remove(&ticket) else { return };
        let Some(ask) = self.asks.get_mut(&exchange) else { return };
        ask.ticket = None;
        if ask.stage == AskStage::AwaitingReply {
            self.void(now, exchange);
        }
    }

    /// The holder's node refused to process a frame.
    pub(crate) fn faulted(&mut self, now: Millis, peer: &NodeUri, fault: &proto::Fault) {
        let code = FaultCode::from_code(fault.code);
        let Ok(exchange) = ExchangeId::try_from(fault.exchange_id.as_slice()) else { return };
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
            self.void(now, exchange);
            if let Some(ticket) = ticket {
                let code = code.unwrap_or(FaultCode::OutOfOrder);
                self.tell(ticket, Conclusion::Faulted { exchange: Some(exchange), code });
            }
        }
    }

    pub(crate) fn ask_put(&mut self, exchange: ExchangeId) -> Vec<(Vec<u8>, Option<Vec<u8>>)> {
        self.asks.get_mut(&exchange).map(|ask| ask.put(exchange)).into_iter().collect()
    }
}

/// What an answer without a disclosed body, or a refusal, tells the asker.
fn plain_conclusion(exchange: ExchangeId, ask: &Asking) -> Option<Conclusion> {
    let plain = ask.stored.plain.as_ref()?;
    let (pair, leaf) = ask.answer.as_ref()?;
    match &pair.body {
        PairBody::Refusal { reason, commitment, .. } => Some(Conclusion::Refused {
            exchange: Some(exchange),
            reason: *reason,
            explanation: read_plain(plain, *commitment).unwrap_or_default(),
        }),
        PairBody::Answer { outcome, terms, commitment, .. } => Some(Conclusion::Answered(Box::new(Answered {
            exchange,
            outcome: *outcome,
            handling: terms.handling,
            fields: Vec::new(),
            obligations: Vec::new(),
            explanation: read_plain(plain, *commitment),
            answer_leaf: *leaf,
            query_leaf: ask.query_leaf,
        }))),
        _ => None,
    }
}

/// The explanation that a plain answer or refusal commits to.
fn read_plain(plain: &proto::Plain, commitment: Digest) -> Option<Explanation> {
    let salt: [u8; 32] = plain.salt.as_slice().try_into().ok()?;
    if Explanation::commit(&plain.payload, &Secret32::new(salt)) != commitment {
        return None;
    }
    explanation_from_bytes(&plain.payload).ok()
}

/// A policy refusal as the explanation that travels.
pub(crate) fn explain(now: Millis, refusal: &puente_policy::Refusal) -> Explanation {
    Explanation {
        at: now,
        rule: refusal.rule.clone().unwrap_or_default(),
        text_en: format!("{}; {}", refusal.explain_en, refusal.next_step_en),
        text_es: format!("{}; {}", refusal.explain_es, refusal.next_step_es),
        ..Explanation::default()
    }
}
