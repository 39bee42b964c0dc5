//! What this node asked: every question outlives the command that put it.
//!
//! [`list`] and [`find`] read the evidence store, so that they can be called beside the engine; what an officer does with
//! a question (give it up, wait for it, look at its answer again) goes through the engine, which records what must be.

use prost::Message as _;
use puente_evidence::{CheckedSealed, VerifiedBody};
use puente_model::{
    Digest, EventKind, ExchangeId, Handling, LegalBasisId, Millis, Mode, NodeUri, OfficerId, Outcome, Purpose,
    QueryKind, RefusalReason, Role, Secret32, Step, Urgency,
};
use puente_wire::{Officer, Pair, PairBody, QueryPayload, fault::FaultCode};

use crate::api::{Answered, Conclusion, LocalEvent, Store, Ticket};
use crate::asker::{AskStage, Asking, plain_conclusion};
use crate::engine::{Engine, Then, unwrap};
use crate::ledger::Intent;
use crate::persist::{self, StoredAsk, Why};
use crate::question::of_mode;

/// Questions that one list shows at most.
pub const LIST_MAX: usize = 1_000;
/// The largest number that an exchange id has room for.
const SEQ_MAX: u64 = (1 << 48) - 1;
/// Numbers of one peer that are read at once.
const WINDOW: u64 = 256;

/// Where a question stands, as the store holds it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Recorded; no answer yet. Whether it waits for the line or for the holder, the connections say.
    Open,
    /// Answered with content; its key is to come.
    Answered(Outcome),
    /// Answered, and nothing more is to come.
    Closed(Outcome),
    /// The holder refused.
    Refused(RefusalReason),
    /// No answer by the deadline: the number is voided.
    TimedOut,
    /// An officer gave it up: the number is voided.
    Withdrawn,
    /// The holder's node would not process it: the number is voided.
    Faulted(Option<FaultCode>),
    /// What came does not match what was committed.
    Disputed,
    /// The content key did not come by the deadline.
    Unreleased,
}

impl State {
    /// The stable text, never translated.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Answered(_) => "awaiting-release",
            Self::Closed(_) => "answered",
            Self::Refused(_) => "refused",
            Self::TimedOut => "timed-out",
            Self::Withdrawn => "cancelled",
            Self::Faulted(_) => "not-processed",
            Self::Disputed => "disputed",
            Self::Unreleased => "unreleased",
        }
    }

    /// Something may still come without anybody doing anything.
    pub const fn is_open(self) -> bool {
        matches!(self, Self::Open | Self::Answered(_))
    }
}

/// A question of this node's, without its subject.
#[derive(Clone)]
pub struct Question {
    /// The exchange.
    pub exchange: ExchangeId,
    /// Whom.
    pub to: NodeUri,
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
    /// When it was asked.
    pub asked_at: Millis,
    /// Its deadline.
    pub due_at: Millis,
    /// How urgent.
    pub urgency: Urgency,
    /// Who asked.
    pub officer: OfficerId,
    /// With which role.
    pub role: Role,
    /// Case file.
    pub case_ref: String,
    /// Where it stands.
    pub state: State,
    /// Since when this node knows that the holder recorded it and that a person there decides.
    pub pending_at: Option<Millis>,
    /// Leaf hash of the QUERY.
    pub query_leaf: Digest,
    /// Leaf hash of the ANSWER or REFUSAL.
    pub answer_leaf: Option<Digest>,
    /// The exchange as which it was put anew: the holder was at another epoch of the group.
    pub again: Option<ExchangeId>,
}

impl std::fmt::Debug for Question {
    // Who asks, and for which case, is nobody's business but the log's.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Question({} step {} to {}: {})", self.kind, self.step, self.to, self.state.as_str())
    }
}

/// Which questions are listed.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// Only this officer's.
    pub officer: Option<OfficerId>,
    /// Only those to this node.
    pub to: Option<NodeUri>,
    /// Only those that may still be answered.
    pub open: bool,
    /// At most this many, and never more than [`LIST_MAX`]; open ones first, then the newest.
    pub limit: usize,
}

impl Filter {
    fn admits(&self, question: &Question) -> bool {
        self.officer.as_ref().is_none_or(|officer| *officer == question.officer)
            && (!self.open || question.state.is_open())
    }
}

fn parse(exchange: ExchangeId, bytes: &[u8]) -> Result<Question, String> {
    let mut stored = StoredAsk::decode(bytes).map_err(|e| e.to_string())?;
    let read = read(exchange, &stored);
    stored.wipe();
    read
}

fn read(exchange: ExchangeId, stored: &StoredAsk) -> Result<Question, String> {
    let query = stored.query.as_ref().ok_or("an ask without its QUERY")?;
    let (query, query_leaf) = unwrap(query).map_err(|e| e.to_string())?;
    let terms = query.terms().ok_or("a QUERY without terms")?;
    let payload = QueryPayload::decode(&stored.payload).map_err(|e| e.to_string())?;
    let answer = match &stored.answer {
        Some(proven) => Some(unwrap(proven).map_err(|e| e.to_string())?),
        None => None,
    };
    let why = Why::from_code(stored.why);
    let state = match (&answer, why) {
        (_, Some(Why::Disputed)) => State::Disputed,
        (_, Some(Why::Unreleased)) => State::Unreleased,
        (Some((Pair { body: PairBody::Refusal { reason, .. }, .. }, _)), _) => State::Refused(*reason),
        (Some((Pair { body: PairBody::Answer { outcome, .. }, .. }, _)), _) => {
            let open = stored.sealed.is_some() && stored.content_key.is_empty();
            if open { State::Answered(*outcome) } else { State::Closed(*outcome) }
        }
        (_, Some(Why::Deadline)) => State::TimedOut,
        (_, Some(Why::Withdrawn)) => State::Withdrawn,
        (_, Some(Why::Faulted)) => State::Faulted(FaultCode::from_code(stored.fault)),
        _ => State::Open,
    };
    Ok(Question {
        exchange,
        to: query.to.clone(),
        kind: terms.kind.clone(),
        mode: terms.mode,
        step: terms.step,
        purpose: terms.purpose,
        basis: terms.basis.clone(),
        handling: terms.handling,
        asked_at: payload.asked_at,
        due_at: payload.due_at,
        urgency: payload.urgency,
        officer: payload.officer.id.clone(),
        role: payload.officer.role,
        case_ref: payload.case_ref.clone(),
        pending_at: Some(Millis(stored.pending_at)).filter(|at| at.0 > 0 && state == State::Open),
        state,
        query_leaf,
        answer_leaf: answer.map(|(_, leaf)| leaf),
        again: ExchangeId::try_from(stored.again.as_slice()).ok(),
    })
}

/// One question of this node's, asked of any of `peers`.
///
/// # Errors
/// The store cannot be read; text for the operator.
pub fn find(store: &dyn Store, peers: &[NodeUri], exchange: ExchangeId) -> Result<Option<Question>, String> {
    for peer in peers {
        if let Some(bytes) = store.get(&persist::ask_key(peer, exchange))? {
            return parse(exchange, &bytes).map(Some);
        }
    }
    Ok(None)
}

/// Questions of this node's to any of `peers`, under its logs up to `log`: those that are open first, the soonest due
/// before all; then the newest that have ended.
///
/// # Errors
/// The store cannot be read; text for the operator.
pub fn list(store: &dyn Store, peers: &[NodeUri], log: u32, filter: &Filter) -> Result<Vec<Question>, String> {
    let limit = filter.limit.min(LIST_MAX);
    let mut open = Vec::new();
    persist::each_open(store, persist::OPEN_ASKS, |peer, exchange| {
        if filter.to.as_ref().is_none_or(|to| *to == peer)
            && let Some(bytes) = store.get(&persist::ask_key(&peer, exchange))?
        {
            let question = parse(exchange, &bytes)?;
            if question.state.is_open() && filter.admits(&question) {
                open.push(question);
            }
        }
        Ok(())
    })?;
    open.sort_by_key(|q| q.due_at);
    open.truncate(limit);
    if filter.open {
        return Ok(open);
    }
    let mut ended = Vec::new();
    for peer in peers.iter().filter(|peer| filter.to.as_ref().is_none_or(|to| to == *peer)) {
        let mut of_peer = Vec::new();
        // A successor's numbers begin anew; what was asked under the logs before it is this node's all the same.
        for log in (1..=log).rev() {
            of_peer.extend(newest(store, peer, log, limit - open.len() - of_peer.len(), filter)?);
        }
        ended.extend(of_peer);
    }
    ended.sort_by_key(|q| std::cmp::Reverse(q.asked_at));
    ended.truncate(limit - open.len());
    open.extend(ended);
    Ok(open)
}

/// The newest ended questions to one peer: numbers are read from the last one downwards, a window at a time.
fn newest(store: &dyn Store, peer: &NodeUri, log: u32, limit: usize, filter: &Filter) -> Result<Vec<Question>, String> {
    let mut out = Vec::new();
    if limit == 0 {
        return Ok(out);
    }
    each_newest(store, peer, log, |exchange, bytes| {
        let question = parse(exchange, bytes)?;
        if !question.state.is_open() && filter.admits(&question) {
            out.push(question);
        }
        Ok(out.len() < limit)
    })?;
    Ok(out)
}

/// Every question to one peer, the newest first, as long as `wanted` says so.
fn each_newest(
    store: &dyn Store,
    peer: &NodeUri,
    log: u32,
    mut wanted: impl FnMut(ExchangeId, &[u8]) -> Result<bool, String>,
) -> Result<(), String> {
    let mut top = after_last(store, peer, log)?;
    while top > 1 {
        let bottom = top.saturating_sub(WINDOW).max(1);
        let prefix = persist::asks_key(peer, log);
        let start = persist::asks_from_key(peer, log, bottom);
        let end = persist::asks_from_key(peer, log, top);
        let rows = store.scan(&prefix, &start, usize::try_from(top - bottom).unwrap_or(usize::MAX))?;
        for (key, value) in rows.iter().rev().filter(|(key, _)| *key < end) {
            let Some(id) = key.last_chunk::<16>() else { continue };
            if !wanted(ExchangeId(*id), value)? {
                return Ok(());
            }
        }
        top = bottom;
    }
    Ok(())
}

/// The newest questions to any of `peers` that were put since then, at most so many to each of them under each log: whoever
/// gave an exchange's id its second half ([`Draft::half`](crate::api::Draft::half)) finds it again by that.
///
/// # Errors
/// The store cannot be read; text for the operator.
pub fn recent(
    store: &dyn Store,
    peers: &[NodeUri],
    log: u32,
    since: Millis,
    most: usize,
) -> Result<Vec<ExchangeId>, String> {
    let mut out = Vec::new();
    for (peer, log) in peers.iter().flat_map(|peer| (1..=log).map(move |log| (peer, log))) {
        let before = out.len();
        each_newest(store, peer, log, |exchange, bytes| {
            let timely = parse(exchange, bytes)?.asked_at >= since;
            if timely {
                out.push(exchange);
            }
            Ok(timely && out.len() - before < most)
        })?;
    }
    Ok(out)
}

/// The number after the last question to a peer under one of this node's logs; 0 if there is none. Keys are read forwards
/// only, so the end is found by halving.
pub(crate) fn after_last(store: &dyn Store, peer: &NodeUri, log: u32) -> Result<u64, String> {
    let prefix = persist::asks_key(peer, log);
    let any_from = |seq: u64| -> Result<bool, String> {
        Ok(!store.scan(&prefix, &persist::asks_from_key(peer, log, seq), 1)?.is_empty())
    };
    if !any_from(0)? {
        return Ok(0);
    }
    let (mut with, mut without) = (0, 1);
    while any_from(without)? {
        (with, without) = (without, without * 2);
        if without > SEQ_MAX {
            without = SEQ_MAX;
            break;
        }
    }
    while without - with > 1 {
        let middle = with + (without - with) / 2;
        if any_from(middle)? { with = middle } else { without = middle }
    }
    Ok(without)
}

impl Engine {
    /// The ask, from memory or the store.
    pub(crate) fn ask_of(&self, exchange: ExchangeId) -> Result<Option<Asking>, String> {
        for peer in self.peers.keys() {
            if let Some(ask) = self.load_ask(peer, exchange)? {
                return Ok(Some(ask));
            }
        }
        Ok(None)
    }

    /// An officer gives a question up.
    pub(crate) fn withdraw(&mut self, now: Millis, ticket: Ticket, exchange: ExchangeId) {
        let Some(ask) = self.asks.get_mut(&exchange) else { return self.ended_or_unknown(ticket, exchange) };
        match ask.stage {
            AskStage::AwaitingReply => {
                let waiting = ask.ticket.take();
                self.give_up(now, exchange, Why::Withdrawn, 0);
                for ticket in waiting.into_iter().chain([ticket]) {
                    self.tell(ticket, Conclusion::Withdrawn { exchange });
                }
            }
            // It is not durable yet, and nobody can know its number: whoever asked has to wait for that.
            AskStage::Recording => self.tell(ticket, Conclusion::Unknown { exchange }),
            _ => self.tell(ticket, Conclusion::Ended { exchange }),
        }
    }

    fn ended_or_unknown(&mut self, ticket: Ticket, exchange: ExchangeId) {
        let conclusion = match self.ask_of(exchange) {
            Ok(Some(_)) => Conclusion::Ended { exchange },
            Ok(None) => Conclusion::Unknown { exchange },
            Err(text) => return self.store_unavailable(ticket, text),
        };
        self.tell(ticket, conclusion);
    }

    /// What came of a question that ended before anybody waited for it.
    fn tell_end(&mut self, now: Millis, ticket: Ticket, exchange: ExchangeId) {
        let mut ask = match self.ask_of(exchange) {
            Ok(Some(ask)) => ask,
            Ok(None) => return self.tell(ticket, Conclusion::Unknown { exchange }),
            Err(text) => return self.store_unavailable(ticket, text),
        };
        if let Ok(next) = ExchangeId::try_from(ask.stored.again.as_slice()) {
            return self.await_end(now, ticket, next);
        }
        let conclusion = standing(exchange, &ask);
        if disclosed(&conclusion) == 0 {
            return self.tell(ticket, conclusion);
        }
        if ask.stored.told {
            return self.tell(ticket, Conclusion::Ended { exchange });
        }
        // OPENED stands for the first showing.
        ask.stored.told = true;
        self.tickets.insert(ticket, exchange);
        let then = Then::Tell(ticket, Box::new(conclusion));
        self.enqueue(now, Intent { entries: Vec::new(), puts: vec![ask.put(exchange)], asides: Vec::new(), then });
    }

    pub(crate) fn store_unavailable(&mut self, ticket: Ticket, text: String) {
        self.store_alarm(text);
        self.tell(ticket, Conclusion::LogUnavailable);
    }

    /// An officer waits for what comes of a question.
    pub(crate) fn await_end(&mut self, now: Millis, ticket: Ticket, exchange: ExchangeId) {
        if self.await_anew(ticket, exchange) {
            return;
        }
        let Some(ask) = self.asks.get_mut(&exchange) else { return self.tell_end(now, ticket, exchange) };
        if ask.stage == AskStage::RecordingEnd {
            // On its way to the disk: told as soon as it is there.
            let before = ask.ticket.replace(ticket);
            self.tickets.insert(ticket, exchange);
            if let Some(before) = before {
                self.tell(before, Conclusion::Asked { exchange });
            }
            return;
        }
        // A plain answer only waits to be acknowledged.
        let plain = ask.stage == AskStage::AwaitingRelease && ask.stored.sealed.is_none();
        if plain || ask.stage == AskStage::Voided {
            return self.tell_end(now, ticket, exchange);
        }
        ask.stays = true;
        // Whoever waited before need not any more: the question goes on.
        let before = ask.ticket.replace(ticket);
        self.tickets.insert(ticket, exchange);
        if let Some(before) = before {
            self.tell(before, Conclusion::Asked { exchange });
        }
    }

    /// An officer looks at an answer again.
    pub(crate) fn look(&mut self, now: Millis, ticket: Ticket, exchange: ExchangeId, officer: &Officer) {
        let ask = match self.ask_of(exchange) {
            Ok(Some(ask)) => ask,
            Ok(None) => return self.tell(ticket, Conclusion::Unknown { exchange }),
            Err(text) => return self.store_unavailable(ticket, text),
        };
        let conclusion = standing(exchange, &ask);
        let disclosed = disclosed(&conclusion);
        let terms = ask.query.terms().cloned();
        let (Some(terms), Some((_, answer_leaf)), true) = (terms, &ask.answer, disclosed > 0) else {
            return self.tell(ticket, conclusion);
        };
        let event = LocalEvent {
            kind: EventKind::Consult,
            record_type: of_mode(terms.mode, ""),
            count: disclosed,
            purpose: Some(terms.purpose),
            basis: Some(terms.basis),
            role: Some(officer.role),
            detail: officer.id.as_str().as_bytes().to_vec(),
        };
        let (leaf, peer) = (*answer_leaf, ask.peer.clone());
        let complete = |e: &mut puente_wire::Event| {
            e.quoted = Some(leaf);
            e.exchange = Some(exchange);
            e.peer = Some(peer);
        };
        self.tickets.insert(ticket, exchange);
        self.record_event(now, event, complete, Then::Tell(ticket, Box::new(conclusion)));
    }
}

/// What came of a question, as the store holds it.
fn standing(exchange: ExchangeId, ask: &Asking) -> Conclusion {
    match (Why::from_code(ask.stored.why), &ask.answer) {
        (Some(Why::Disputed), _) => Conclusion::Disputed { exchange },
        (Some(Why::Unreleased), _) => Conclusion::Unreleased { exchange },
        (_, Some(_)) => match plain_conclusion(exchange, ask).or_else(|| reopened(exchange, ask)) {
            Some(conclusion) => conclusion,
            None => Conclusion::Asked { exchange },
        },
        (Some(Why::Deadline), _) => Conclusion::TimedOut { exchange },
        (Some(Why::Withdrawn), _) => Conclusion::Withdrawn { exchange },
        (Some(Why::Faulted), _) => Conclusion::Faulted {
            exchange: Some(exchange),
            code: FaultCode::from_code(ask.stored.fault).unwrap_or(FaultCode::OutOfOrder),
        },
        (None, None) => Conclusion::Asked { exchange },
    }
}

/// How many fields a conclusion shows.
fn disclosed(conclusion: &Conclusion) -> u64 {
    match conclusion {
        Conclusion::Answered(answered) => answered.fields.len() as u64,
        _ => 0,
    }
}

/// The disclosed body of an answer, opened with the key that was kept.
pub(crate) fn body_of(stored: &StoredAsk, answer: &Pair) -> Option<VerifiedBody> {
    let PairBody::Answer { commitment, terms, .. } = &answer.body else { return None };
    let key: [u8; 32] = stored.content_key.as_slice().try_into().ok()?;
    CheckedSealed::check(terms.mode, stored.sealed.as_ref()?, *commitment).ok()?.open(&Secret32::new(key)).ok()
}

/// The disclosed answer, opened again.
fn reopened(exchange: ExchangeId, ask: &Asking) -> Option<Conclusion> {
    let (pair @ Pair { body: PairBody::Answer { outcome, terms, .. }, .. }, answer_leaf) = ask.answer.as_ref()? else {
        return None;
    };
    let body = body_of(&ask.stored, pair)?;
    Some(Conclusion::Answered(Box::new(Answered {
        exchange,
        outcome: *outcome,
        handling: terms.handling,
        fields: body.tree.fields().map(|(path, value)| (path.to_owned(), value.to_vec())).collect(),
        obligations: body.obligations,
        explanation: None,
        answer_leaf: *answer_leaf,
        query_leaf: ask.query_leaf,
    })))
}
