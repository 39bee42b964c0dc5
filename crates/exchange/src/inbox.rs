//! Questions that wait for a person of this node's: parked, shown, decided.
//!
//! A policy can demand that a person decides before anything is answered. The QUERY is recorded at once, the asker is
//! told so with a receipt (Pending), and the question waits in the evidence store. What the person decides is recorded
//! first (HUMAN_DECISION) and carried out then, also after a crash; without a decision it is refused at its deadline. A
//! person can only release what the policy permits at that moment.

use std::collections::BTreeSet;

use prost::Message as _;
use puente_model::{
    Digest, EventKind, ExchangeId, Handling, LegalBasisId, Millis, Mode, NodeUri, Outcome, Purpose, QueryKind,
    RefusalReason, Role, Step, Urgency, limits,
};
use puente_wire::fault::FaultCode;
use puente_wire::{Explanation, Officer, PairBody, QueryPayload, proto};

use crate::api::{Alarm, Conclusion, Effect, LocalEvent, Store, Ticket};
use crate::asker::AskStage;
use crate::control::{Problem, receipt_aside};
use crate::engine::{Engine, Then, Timer, aside, unwrap};
use crate::holder::HoldStage;
use crate::judging::{Say, words};
use crate::ledger::{Intent, Recorded};
use crate::minor;
use crate::persist::{self, StoredDecision, StoredHold};
use crate::question::of_mode;

/// Questions that one list shows at most.
pub const LIST_MAX: usize = 1_000;
/// How long an asker waits before it asks again about a question that a person decides on.
const REST_MILLIS: u64 = 600_000;
/// How long before a decision that could not be carried out is tried again.
const RETRY_MILLIS: u64 = 5_000;
const HOUR_MILLIS: u64 = 3_600_000;

const ANSWER: u32 = 1;
/// A person looked at the hit, and confirms it.
pub(crate) const CONFIRM: u32 = 2;
const REFUSE: u32 = 3;
const NEEDS_DATA: u32 = 4;

/// What a person decides on a question.
#[derive(Clone, PartialEq, Eq)]
pub enum Decision {
    /// It is answered, with what the policy permits.
    Answer {
        /// For the own log.
        note: String,
    },
    /// As [`Decision::Answer`]; a step-1 hit is confirmed by the person who looked at it.
    Confirm {
        /// For the own log.
        note: String,
    },
    /// It is refused.
    Refuse {
        /// Why, by class: one that a person may give.
        reason: RefusalReason,
        /// Why, in English.
        text_en: String,
        /// Why, in Spanish.
        text_es: String,
    },
    /// The question lacks what the holder needs.
    NeedsData {
        /// Names of the fields.
        fields: Vec<String>,
        /// What is missing, in English.
        text_en: String,
        /// What is missing, in Spanish.
        text_es: String,
    },
}

impl std::fmt::Debug for Decision {
    // What a person writes may name the subject.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Decision({})", self.stored().kind)
    }
}

impl Decision {
    /// What is wrong with it, in words; none if nothing is.
    pub fn fault(&self) -> Option<&'static str> {
        let bad = |text: &str| text.chars().count() > limits::WORDS_CHARS_MAX || text.chars().any(char::is_control);
        let empty = |text: &str| text.trim().is_empty();
        match self {
            Self::Answer { note } | Self::Confirm { note } => bad(note).then_some("the note is too long"),
            Self::Refuse { reason, text_en, text_es } => {
                let own = matches!(
                    reason,
                    RefusalReason::StaleEpoch
                        | RefusalReason::Cancelled
                        | RefusalReason::Expired
                        | RefusalReason::Failed
                );
                match () {
                    () if own => Some("this reason is the protocol's own"),
                    () if empty(text_en) || empty(text_es) => Some("a refusal says why in both languages"),
                    () if bad(text_en) || bad(text_es) => Some("the words are too long"),
                    () => None,
                }
            }
            Self::NeedsData { fields, text_en, text_es } => {
                let name = |f: &String| {
                    !f.is_empty() && f.len() <= 64 && f.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
                };
                match () {
                    () if fields.is_empty() || fields.len() > limits::PARAMS_PER_QUERY_MAX => {
                        Some("name the fields that are missing")
                    }
                    () if !fields.iter().all(name) => Some("a field's name has letters, digits and underscores"),
                    () if bad(text_en) || bad(text_es) => Some("the words are too long"),
                    () => None,
                }
            }
        }
    }

    fn stored(&self) -> StoredDecision {
        match self {
            Self::Answer { .. } => StoredDecision { kind: ANSWER, ..StoredDecision::default() },
            Self::Confirm { .. } => StoredDecision { kind: CONFIRM, ..StoredDecision::default() },
            Self::Refuse { reason, text_en, text_es } => StoredDecision {
                kind: REFUSE,
                reason: reason.code(),
                text_en: text_en.clone(),
                text_es: text_es.clone(),
                fields: Vec::new(),
            },
            Self::NeedsData { fields, text_en, text_es } => StoredDecision {
                kind: NEEDS_DATA,
                reason: 0,
                text_en: text_en.clone(),
                text_es: text_es.clone(),
                fields: fields.clone(),
            },
        }
    }

    fn note(&self) -> &str {
        match self {
            Self::Answer { note } | Self::Confirm { note } => note,
            _ => "",
        }
    }
}

/// A question that waits for a person's decision, without its subject.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parked {
    /// The exchange.
    pub exchange: ExchangeId,
    /// Who asks.
    pub from: NodeUri,
    /// What kind of question.
    pub kind: QueryKind,
    /// In training, or not.
    pub mode: Mode,
    /// Which step.
    pub step: Step,
    /// Why.
    pub purpose: Purpose,
    /// On which legal basis.
    pub basis: LegalBasisId,
    /// The strictest handling code the asker accepts.
    pub handling: Handling,
    /// How urgent.
    pub urgency: Urgency,
    /// When it was asked.
    pub asked_at: Millis,
    /// Its deadline: without a decision it is refused then.
    pub due_at: Millis,
    /// Since when it waits.
    pub parked_at: Millis,
    /// Role of the officer who asks.
    pub role: Role,
    /// Roles one of which decides.
    pub deciders: Vec<Role>,
    /// A decision stands and is being carried out.
    pub decided: bool,
    /// Leaf hash of the QUERY.
    pub query_leaf: Digest,
}

/// A parked question as its judge sees it.
#[derive(Clone)]
pub struct Inspected {
    /// Everything but its subject.
    pub question: Parked,
    /// Who asks.
    pub officer: Officer,
    /// Case file of the asker.
    pub case_ref: String,
    /// The offence.
    pub offence: String,
    /// Why urgent.
    pub justification: String,
    /// Steps 2 and 3: what a person of the asker's states.
    pub facts_statement: String,
    /// Parameters.
    pub params: Vec<(String, String)>,
    /// The step-1 exchange whose hit was confirmed, and when it was asked.
    pub confirms: Option<(ExchangeId, Millis)>,
}

impl std::fmt::Debug for Inspected {
    // Parameters are the subject of an investigation.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Inspected({:?})", self.question)
    }
}

fn read(exchange: ExchangeId, stored: &StoredHold) -> Result<(Parked, QueryPayload), String> {
    let query = stored.query.as_ref().ok_or("a held exchange without its QUERY")?;
    let (query, query_leaf) = unwrap(query).map_err(|e| e.to_string())?;
    let terms = query.terms().ok_or("a QUERY without terms")?;
    let payload = QueryPayload::decode(&stored.payload).map_err(|e| e.to_string())?;
    let parked = Parked {
        exchange,
        from: query.from.clone(),
        kind: terms.kind.clone(),
        mode: terms.mode,
        step: terms.step,
        purpose: terms.purpose,
        basis: terms.basis.clone(),
        handling: terms.handling,
        urgency: payload.urgency,
        asked_at: payload.asked_at,
        due_at: payload.due_at,
        parked_at: Millis(stored.parked_at),
        role: payload.officer.role,
        deciders: stored.deciders.iter().filter_map(|code| Role::from_code(*code)).collect(),
        decided: stored.decision.is_some(),
        query_leaf,
    };
    Ok((parked, payload))
}

/// An answer that was given without the person whose decision it otherwise needs, and that somebody is to look at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Review {
    /// The exchange.
    pub exchange: ExchangeId,
    /// Who asked.
    pub from: NodeUri,
    /// What kind of question.
    pub kind: QueryKind,
    /// In training, or not.
    pub mode: Mode,
    /// Which step.
    pub step: Step,
    /// Why.
    pub purpose: Purpose,
    /// Until when somebody looks.
    pub due_at: Millis,
    /// Leaf hash of the ANSWER.
    pub answer_leaf: Digest,
}

/// Answers to be reviewed, the soonest due first.
///
/// # Errors
/// The store cannot be read; text for the operator.
pub fn reviews(store: &dyn Store) -> Result<Vec<Review>, String> {
    let mut out = Vec::new();
    persist::each_open(store, persist::REVIEWS, |from, exchange| {
        let due = store.get(&persist::review_key(&from, exchange))?;
        let Some(due) = due.and_then(|due| <[u8; 8]>::try_from(due.as_slice()).ok()) else { return Ok(()) };
        let Some(bytes) = store.get(&persist::hold_key(&from, exchange))? else { return Ok(()) };
        let mut stored = StoredHold::decode(bytes.as_slice()).map_err(|e| e.to_string())?;
        let answer = stored.answer.as_ref().map(unwrap).transpose().map_err(|e| e.to_string())?;
        stored.wipe();
        let Some((answer, answer_leaf)) = answer else { return Ok(()) };
        let Some(terms) = answer.terms() else { return Ok(()) };
        out.push(Review {
            exchange,
            from,
            kind: terms.kind.clone(),
            mode: terms.mode,
            step: terms.step,
            purpose: terms.purpose,
            due_at: Millis(u64::from_be_bytes(due)),
            answer_leaf,
        });
        Ok(())
    })?;
    out.sort_by_key(|review| (review.due_at, review.exchange));
    out.truncate(LIST_MAX);
    Ok(out)
}

/// Questions that wait for a person's decision: urgent ones first, then the soonest due.
///
/// # Errors
/// The store cannot be read; text for the operator.
pub fn list(store: &dyn Store) -> Result<Vec<Parked>, String> {
    let mut out = Vec::new();
    persist::each_open(store, persist::PARKED, |peer, exchange| {
        if let Some(bytes) = store.get(&persist::hold_key(&peer, exchange))? {
            let mut stored = StoredHold::decode(bytes.as_slice()).map_err(|e| e.to_string())?;
            out.push(read(exchange, &stored)?.0);
            stored.wipe();
        }
        Ok(())
    })?;
    out.sort_by_key(|parked| (parked.urgency != Urgency::Urgent, parked.due_at, parked.exchange));
    out.truncate(LIST_MAX);
    Ok(out)
}

impl Engine {
    /// Takes up what waits for a person's decision.
    pub(crate) fn restore_parked(&mut self, now: Millis) -> Result<(), String> {
        for (peer, exchange) in persist::all_open(&*self.store, persist::PARKED)? {
            let Some(hold) = self.load_hold(&peer, exchange)? else { continue };
            // A decision that was recorded and not carried out is carried out now.
            let due = if hold.stored.decision.is_some() { now } else { hold.due_at.max(now) };
            self.holds.insert(exchange, hold);
            self.at(due, Timer::Parked(exchange));
        }
        Ok(())
    }

    /// Records the QUERY alone: a person decides what is answered.
    pub(crate) fn park(&mut self, now: Millis, exchange: ExchangeId, roles: &BTreeSet<Role>) {
        if self.tuning.minor < minor::PENDING {
            let explanation = words(
                now,
                "a person would have to decide, and this node cannot let questions wait",
                "una persona tendría que decidir, y este nodo no puede dejar consultas en espera",
            );
            return self.answer(now, exchange, Say::Refuse(RefusalReason::Scope, explanation));
        }
        let Some(hold) = self.holds.get(&exchange) else { return };
        let (peer, leaf, seq) = (hold.peer.clone(), hold.query_leaf, hold.query.seq.0);
        let of_peer = self.holds.values().filter(|h| h.peer == peer && h.stored.query_index.is_some());
        let waiting = of_peer.filter(|h| h.answer.is_none()).count();
        let Some(query) = hold.stored.query.clone().filter(|_| waiting < limits::PARKED_PER_PEER_MAX) else {
            // Too many wait already: nothing is recorded, the asker repeats the same entry.
            let route = hold.route;
            self.holds.remove(&exchange);
            if let Some(route) = route {
                self.fault(now, &peer, route, FaultCode::Overloaded, Some(exchange));
            }
            return;
        };
        let (mut asides, before) = self.seal_received(now, &query, &leaf);
        let index = self.next_index() + before.len() as u64;
        let Some(hold) = self.holds.get_mut(&exchange) else { return };
        hold.stored.query_index = Some(index);
        hold.stored.parked_at = now.0;
        hold.stored.deciders = roles.iter().map(|role| role.code()).collect();
        hold.stage = HoldStage::Recording;
        asides.push(receipt_aside(&leaf, &hold.query_receipt));
        if let Some(escrow) = &query.escrow {
            asides.push(aside(&leaf, proto::aside::Body::Escrow(escrow.clone())));
        }
        let mut puts = vec![hold.put(exchange), (persist::parked_key(&peer, exchange), Some(Vec::new()))];
        let due = hold.due_at;
        if let Some(known) = self.peers.get_mut(&peer) {
            puts.push(known.take(seq, leaf, Some(exchange), index));
        }
        self.at(due, Timer::Parked(exchange));
        let entries = before.into_iter().chain([query.entry]).collect();
        self.enqueue(now, Intent { entries, puts, asides, then: Then::Park(exchange) });
    }

    /// The QUERY stands: the asker is told that a person decides.
    pub(crate) fn parked(&mut self, now: Millis, exchange: ExchangeId, recorded: &[Recorded]) {
        let Some(hold) = self.holds.get_mut(&exchange) else { return };
        if hold.stage != HoldStage::Recording || hold.answer.is_some() {
            return;
        }
        hold.stage = HoldStage::Parked;
        let due = hold.due_at;
        self.send_pending(exchange, recorded.last().cloned());
        if due <= now {
            self.parked_due(now, exchange);
        }
    }

    pub(crate) fn send_pending(&mut self, exchange: ExchangeId, recorded: Option<Recorded>) {
        let Some(hold) = self.holds.get_mut(&exchange) else { return };
        let line = hold.route.and_then(|route| self.connections.get(&route.connection));
        if line.is_some_and(|line| line.minor < minor::PENDING) {
            // It waits on its stream, as for any answer, and asks again when the line was lost.
            return;
        }
        let (Some(route), Some(index)) = (hold.route.take(), hold.stored.query_index) else { return };
        let leaf = hold.query_leaf;
        let recorded = recorded.or_else(|| self.ledger.recorded(puente_model::LeafIndex(index)).ok());
        let Some(recorded) = recorded.filter(|r| *r.leaf() == leaf) else { return };
        let pending = proto::Pending { exchange_id: exchange.0.to_vec(), receipt: recorded.receipt() };
        self.send_proven(route, proto::frame::Body::Pending(pending), true);
    }

    /// The asker's side: the holder recorded the QUERY, and a person decides.
    pub(crate) fn on_pending(&mut self, now: Millis, peer: &NodeUri, pending: &proto::Pending) -> Result<(), Problem> {
        let exchange =
            ExchangeId::try_from(pending.exchange_id.as_slice()).map_err(|_| Problem::from(FaultCode::Malformed))?;
        let fault = |code| Problem::Fault(code, Some(exchange));
        let Some(ask) = self.asks.get(&exchange).filter(|ask| ask.peer == *peer) else {
            // Of a question that has ended meanwhile, nobody waits for it.
            return match self.load_ask(peer, exchange) {
                Ok(Some(_)) => Err(Problem::Ignore),
                _ => Err(fault(FaultCode::UnknownExchange)),
            };
        };
        if ask.stage != AskStage::AwaitingReply {
            return Err(Problem::Ignore);
        }
        let leaf = ask.query_leaf;
        let verified = match self.peers.get_mut(peer) {
            Some(known) => known.log.receipt(&pending.receipt, &leaf),
            None => return Err(fault(FaultCode::NotAMember)),
        };
        if let Err(problem) = verified {
            return Err(match self.head_problem(now, peer, problem) {
                Problem::Fault(code, _) => fault(code),
                other => other,
            });
        }
        let Some(ask) = self.asks.get_mut(&exchange) else { return Ok(()) };
        (ask.rests, ask.route, ask.again_at) = (true, None, now.plus(REST_MILLIS));
        self.at(now.plus(REST_MILLIS), Timer::Again(exchange));
        let Some(ask) = self.asks.get_mut(&exchange).filter(|ask| ask.stored.pending_at == 0) else { return Ok(()) };
        // Once: a repeat writes nothing.
        ask.stored.pending_at = now.0;
        let (puts, asides) = (vec![ask.put(exchange)], vec![receipt_aside(&leaf, &pending.receipt)]);
        self.enqueue(now, Intent { entries: Vec::new(), puts, asides, then: Then::Nothing });
        Ok(())
    }

    /// A parked question's deadline has come, or a decision on it is to be carried out.
    pub(crate) fn parked_due(&mut self, now: Millis, exchange: ExchangeId) {
        let Some(hold) = self.holds.get(&exchange).filter(|hold| hold.answer.is_none()) else { return };
        match hold.stage {
            HoldStage::Parked if hold.stored.decision.is_some() => self.carry_out(now, exchange),
            HoldStage::Parked if hold.due_at <= now => {
                let text = words(
                    now,
                    "nobody decided on the question by its deadline",
                    "nadie decidió sobre la consulta dentro del plazo",
                );
                self.answer(now, exchange, Say::Refuse(RefusalReason::Expired, text));
            }
            HoldStage::Parked => {
                // Set before the clock was put back.
                let due = hold.due_at;
                self.at(due, Timer::Parked(exchange));
            }
            // On its way to the disk, or being looked up: seen to there.
            _ => {}
        }
    }

    /// The answer to a parked question could not be built: it stays parked, and is tried again.
    pub(crate) fn parked_again(&mut self, now: Millis, exchange: ExchangeId) {
        if let Some(hold) = self.holds.get_mut(&exchange) {
            hold.stage = HoldStage::Parked;
        }
        self.at(now.plus(RETRY_MILLIS), Timer::Parked(exchange));
    }

    /// The asker gave up a question that waits for a person's decision.
    pub(crate) fn unpark_given_up(&mut self, now: Millis, peer: &NodeUri, exchange: ExchangeId) {
        let waits = |h: &&crate::holder::Holding| {
            h.peer == *peer && h.stage == HoldStage::Parked && h.stored.decision.is_none()
        };
        if let Some(hold) = self.holds.get(&exchange).filter(waits) {
            let say = if hold.due_at <= now {
                let text = words(now, "the deadline has passed", "el plazo ha vencido");
                Say::Refuse(RefusalReason::Expired, text)
            } else {
                Say::Refuse(RefusalReason::Cancelled, words(now, "the asker cancelled", "quien preguntó canceló"))
            };
            self.answer(now, exchange, say);
        }
    }

    /// The parked question, if this officer may decide on it.
    fn judged_by(&self, exchange: ExchangeId, officer: &Officer) -> Result<(Parked, QueryPayload), Box<Conclusion>> {
        let hold = self.holds.get(&exchange);
        let hold = hold.filter(|h| h.stage == HoldStage::Parked && h.stored.decision.is_none());
        let read = hold.and_then(|hold| read(exchange, &hold.stored).ok());
        let Some((parked, payload)) = read else { return Err(Box::new(Conclusion::NotWaiting { exchange })) };
        if !parked.deciders.contains(&officer.role) {
            return Err(Box::new(Conclusion::NotYours { roles: parked.deciders }));
        }
        Ok((parked, payload))
    }

    /// An officer looks at a question that waits for a decision.
    pub(crate) fn inspect(&mut self, now: Millis, ticket: Ticket, exchange: ExchangeId, officer: &Officer) {
        let (parked, payload) = match self.judged_by(exchange, officer) {
            Ok(found) => found,
            Err(conclusion) => return self.tell(ticket, *conclusion),
        };
        let confirms = payload.confirms.and_then(|leaf| {
            let earlier = self.store.get(&persist::hit_key(&leaf.0)).ok()??;
            let earlier = ExchangeId::try_from(earlier.as_slice()).ok()?;
            let hold = self.load_hold(&parked.from, earlier).ok()??;
            let asked_at = QueryPayload::decode(&hold.stored.payload).ok()?.asked_at;
            Some((earlier, asked_at))
        });
        let event = LocalEvent {
            kind: EventKind::Consult,
            record_type: of_mode(parked.mode, ""),
            count: 1,
            purpose: Some(parked.purpose),
            basis: Some(parked.basis.clone()),
            role: Some(officer.role),
            detail: officer.id.as_str().as_bytes().to_vec(),
        };
        let (leaf, peer) = (parked.query_leaf, parked.from.clone());
        let complete = |e: &mut puente_wire::Event| {
            e.quoted = Some(leaf);
            e.exchange = Some(exchange);
            e.peer = Some(peer);
        };
        let inspected = Inspected {
            question: parked,
            officer: payload.officer.clone(),
            case_ref: payload.case_ref.clone(),
            offence: payload.offence.clone(),
            justification: payload.justification.clone(),
            facts_statement: payload.facts_statement.clone(),
            params: payload.params.clone(),
            confirms,
        };
        self.tickets.insert(ticket, exchange);
        let conclusion = Conclusion::Inspected(Box::new(inspected));
        self.record_event(now, event, complete, Then::Tell(ticket, Box::new(conclusion)));
    }

    /// An officer decides: that is recorded first.
    pub(crate) fn decide(
        &mut self,
        now: Millis,
        ticket: Ticket,
        exchange: ExchangeId,
        officer: &Officer,
        decision: Decision,
    ) {
        if let Some(wrong) = decision.fault() {
            let errors = vec![("decision".to_owned(), wrong.to_owned(), "see --help".to_owned())];
            return self.tell(ticket, Conclusion::Invalid { errors });
        }
        let (parked, _) = match self.judged_by(exchange, officer) {
            Ok(found) => found,
            Err(conclusion) => return self.tell(ticket, *conclusion),
        };
        let stored = decision.stored();
        let detail = [
            officer.id.as_str().as_bytes(),
            b"\n",
            stored.encode_to_vec().as_slice(),
            b"\n",
            decision.note().as_bytes(),
        ]
        .concat();
        let mut event = puente_wire::Event::new(EventKind::HumanDecision, now, self.vector.clone());
        event.quoted = Some(parked.query_leaf);
        event.exchange = Some(exchange);
        event.peer = Some(parked.from);
        event.count = 1;
        event.record_type = of_mode(parked.mode, "");
        event.purpose = Some(parked.purpose);
        event.basis = Some(parked.basis);
        event.role = Some(officer.role);
        event.reason = RefusalReason::from_code(stored.reason);
        event.policy_hash = Some(self.policy_hash);
        let mut intent = self.event_intent(now, event, detail, Then::Decided(exchange));
        let Some(hold) = self.holds.get_mut(&exchange) else { return };
        hold.stored.decision = Some(stored);
        hold.decider = Some(ticket);
        intent.puts.push(hold.put(exchange));
        self.tickets.insert(ticket, exchange);
        self.enqueue(now, intent);
    }

    /// A decision stands recorded: it is carried out, under the policy of this moment.
    pub(crate) fn carry_out(&mut self, now: Millis, exchange: ExchangeId) {
        let Some(hold) = self.holds.get_mut(&exchange).filter(|h| h.stage == HoldStage::Parked) else { return };
        let Some(decision) = hold.stored.decision.clone() else { return };
        let terms = hold.query.terms().cloned();
        let payload = QueryPayload::decode(&hold.stored.payload);
        let (Some(terms), Ok(payload)) = (terms, payload) else { return };
        let explanation = Explanation {
            at: now,
            text_en: decision.text_en,
            text_es: decision.text_es,
            fields: decision.fields,
            ..Explanation::default()
        };
        match (decision.kind, RefusalReason::from_code(decision.reason)) {
            (REFUSE, Some(reason)) => self.answer(now, exchange, Say::Refuse(reason, explanation)),
            (NEEDS_DATA, _) => {
                let handling = terms.handling;
                self.answer(now, exchange, Say::Nothing(Outcome::NeedsData, explanation, 0, handling));
            }
            _ => {
                hold.stage = HoldStage::LookingUp;
                self.judge_inbound(now, exchange, &terms, &payload);
            }
        }
    }

    /// Tells whoever decided what came of it.
    pub(crate) fn tell_decided(&mut self, ticket: Ticket, exchange: ExchangeId) {
        let answer = self.holds.get(&exchange).and_then(|hold| hold.answer.as_ref());
        let (outcome, reason) = match answer.map(|(pair, _)| &pair.body) {
            Some(PairBody::Answer { outcome, .. }) => (Some(*outcome), None),
            Some(PairBody::Refusal { reason, .. }) => (None, Some(*reason)),
            _ => (None, None),
        };
        self.tell(ticket, Conclusion::Decided { exchange, outcome, reason });
    }

    /// An answer that no person decided on is to be reviewed.
    pub(crate) fn record_review(&mut self, now: Millis, exchange: ExchangeId, hours: u32) {
        let Some(hold) = self.holds.get(&exchange) else { return };
        let Some(((answer, leaf), peer)) = hold.answer.as_ref().zip(Some(hold.peer.clone())) else { return };
        let Some(terms) = answer.terms().cloned() else { return };
        let leaf = *leaf;
        let mut event = puente_wire::Event::new(EventKind::Review, now, self.vector.clone());
        event.record_type = of_mode(terms.mode, "");
        event.count = u64::from(hours);
        event.purpose = Some(terms.purpose);
        event.basis = Some(terms.basis);
        event.policy_hash = Some(self.policy_hash);
        event.quoted = Some(leaf);
        event.exchange = Some(exchange);
        event.peer = Some(peer.clone());
        let due = now.plus(u64::from(hours) * HOUR_MILLIS);
        let mut intent = self.event_intent(now, event, Vec::new(), Then::Nothing);
        intent.puts.push((persist::review_key(&peer, exchange), Some(due.0.to_be_bytes().to_vec())));
        self.enqueue(now, intent);
    }

    /// An officer looked at such an answer: that is recorded, and it is due no more.
    pub(crate) fn reviewed(
        &mut self,
        now: Millis,
        ticket: Ticket,
        exchange: ExchangeId,
        officer: &Officer,
        note: &str,
    ) {
        if note.trim().is_empty()
            || note.chars().count() > limits::WORDS_CHARS_MAX
            || note.chars().any(char::is_control)
        {
            let mend = format!("say it in 1 to {} characters", limits::WORDS_CHARS_MAX);
            let message = "a review says what was found".to_owned();
            let errors = vec![("note".to_owned(), message, mend)];
            return self.tell(ticket, Conclusion::Invalid { errors });
        }
        let waits = |peer: &&NodeUri| matches!(self.store.get(&persist::review_key(peer, exchange)), Ok(Some(_)));
        let Some(peer) = self.peers.keys().find(waits).cloned().filter(|_| !self.reviewing.contains(&exchange)) else {
            return self.tell(ticket, Conclusion::NotWaiting { exchange });
        };
        let answer = self.load_hold(&peer, exchange).ok().flatten().and_then(|hold| hold.answer.clone());
        let Some((terms, leaf)) = answer.and_then(|(pair, leaf)| Some((pair.terms()?.clone(), leaf))) else {
            return self.tell(ticket, Conclusion::NotWaiting { exchange });
        };
        let mut event = puente_wire::Event::new(EventKind::HumanDecision, now, self.vector.clone());
        event.record_type = of_mode(terms.mode, "");
        event.count = 1;
        event.purpose = Some(terms.purpose);
        event.basis = Some(terms.basis);
        event.role = Some(officer.role);
        event.policy_hash = Some(self.policy_hash);
        event.quoted = Some(leaf);
        event.exchange = Some(exchange);
        event.peer = Some(peer.clone());
        let detail = [officer.id.as_str().as_bytes(), b"\nreviewed\n", note.as_bytes()].concat();
        let mut intent = self.event_intent(now, event, detail, Then::Event(ticket));
        intent.puts.push((persist::review_key(&peer, exchange), None));
        self.reviewing.insert(exchange);
        self.enqueue(now, intent);
    }

    /// For the operator: the store failed under a command.
    pub(crate) fn store_alarm(&mut self, text: String) {
        self.emit(Effect::Alarm(Alarm::StoreUnavailable(text)));
    }
}
