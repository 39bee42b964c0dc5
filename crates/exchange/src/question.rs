//! An officer's question: checked, judged by the own policy, recorded.

use std::collections::BTreeMap;

use puente_catalogue::{Lang, Params};
use puente_evidence::tree::TRAINING_PATH;
use puente_evidence::{EscrowedEntry, ReplyKey};
use puente_model::{
    Digest, EventKind, ExchangeId, Millis, Minute, Mode, NodeUri, RefusalReason, Secret32, Seq, Step, Urgency, limits,
};
use puente_policy::{Direction, Request, Verdict};
use puente_wire::{Explanation, PairBody, PairKind, QueryPayload, Terms, fault::FaultCode, proto};

use crate::api::{Conclusion, Draft, LocalEvent, Ticket};
use crate::asker::{AskStage, Asking};
use crate::engine::{Engine, Then, Timer, aside};
use crate::ledger::Intent;
use crate::persist::{self, StoredAsk};

/// How a question is put.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Manner {
    /// The step-1 exchange whose confirmed hit it asks about.
    pub(crate) follows: Option<ExchangeId>,
    /// How often it was put before, and refused for the epoch that it belonged to.
    pub(crate) round: u8,
    /// The exchange that was refused so.
    pub(crate) instead_of: Option<ExchangeId>,
    /// It is said to a group, and asked on a stream of its own only if nothing comes of that.
    pub(crate) said_to_group: bool,
}

/// The part of a question that its entry only commits to, and the key that the answer is sealed to.
pub(crate) struct Worded {
    pub(crate) payload: Vec<u8>,
    reply_key: ReplyKey,
}

impl Worded {
    pub(crate) fn new(
        now: Millis,
        draft: &Draft,
        params: &Params,
        rng: &mut rand_chacha::ChaCha20Rng,
    ) -> Result<Self, String> {
        let reply_key = ReplyKey::generate(rng).map_err(|e| e.to_string())?;
        let payload = draft.payload(now, params.pairs().to_vec(), *reply_key.public()).encode();
        let (found, max) = (payload.len(), limits::QUERY_BYTES_MAX);
        match found > max {
            true => Err(format!("the question has {found} bytes; at most {max} are allowed")),
            false => Ok(Self { payload, reply_key }),
        }
    }
}

impl Engine {
    /// `follows`: the step-1 exchange whose confirmed hit this asks about.
    pub(crate) fn question(&mut self, now: Millis, ticket: Ticket, draft: Draft, follows: Option<ExchangeId>) {
        if self.draining {
            self.tell(ticket, Conclusion::Faulted { exchange: None, code: puente_wire::fault::FaultCode::Overloaded });
            return;
        }
        if self.peers.get(&draft.to).is_some_and(|known| known.owes_handover) {
            // What the log before this one lost comes first; the officer is not charged with a question that cannot be put.
            self.line_to(&draft.to);
            self.tell(ticket, Conclusion::Faulted { exchange: None, code: FaultCode::NotReady });
            return;
        }
        let params = match self.check_draft(now, &draft) {
            Ok(params) => params,
            Err(errors) => {
                self.tell(ticket, Conclusion::Invalid { errors });
                return;
            }
        };
        let manner = Manner { follows, ..Manner::default() };
        if let Err(refusal) = self.judged_outbound(now, &draft, &params, manner.binds()) {
            let (reason, explanation) = (refusal.reason, explain(now, &refusal));
            let conclusion = Conclusion::Refused { exchange: None, reason, explanation };
            let then = Then::Tell(ticket, Box::new(conclusion));
            self.record_refused_outbound(now, &draft, reason, then);
            return;
        }
        if let Err(reason) = self.record_query(now, Some(ticket), (&draft, manner), &params) {
            let explanation =
                Explanation { at: now, text_en: reason.clone(), text_es: reason, ..Explanation::default() };
            self.tell(ticket, Conclusion::Refused { exchange: None, reason: RefusalReason::Failed, explanation });
        }
    }

    /// The own rules refused a question: that is recorded.
    pub(crate) fn record_refused_outbound(&mut self, now: Millis, draft: &Draft, reason: RefusalReason, then: Then) {
        let event = LocalEvent {
            kind: EventKind::OutboundRefused,
            record_type: of_mode(draft.mode, ""),
            count: 1,
            purpose: Some(draft.purpose),
            basis: Some(draft.basis.clone()),
            role: Some(draft.officer.role),
            detail: draft.officer.id.as_str().as_bytes().to_vec(),
        };
        let to = draft.to.clone();
        let complete = |e: &mut puente_wire::Event| {
            e.reason = Some(reason);
            e.peer = Some(to);
        };
        self.record_event(now, event, complete, then);
    }

    /// What this node's own rules say of a question; `may_bind`: it is put in the epoch of a group, if there is one.
    pub(crate) fn judged_outbound(
        &mut self,
        now: Millis,
        draft: &Draft,
        params: &Params,
        may_bind: bool,
    ) -> Result<(), Box<puente_policy::Refusal>> {
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
            mode: draft.mode,
            handling: draft.handling,
            offence: Some(draft.offence.clone()).filter(|o| !o.is_empty()),
            facts_stated: !draft.facts_statement.is_empty(),
            suspicion_stated: !draft.facts_statement.is_empty(),
            case_stated: !draft.case_ref.is_empty(),
            order_stated: self.states_order(&draft.kind, params.pairs()),
            bound: may_bind && self.binding(&draft.to).is_some(),
        };
        match &*self.judge.judge(&request, now) {
            Verdict::Permit(_) => Ok(()),
            Verdict::Refuse(refusal) => Err(Box::new(refusal.clone())),
        }
    }

    /// Everything that can be wrong with a question before anything is recorded: field, what, mend.
    pub(crate) fn check_draft(&mut self, now: Millis, draft: &Draft) -> Result<Params, Vec<(String, String, String)>> {
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
        if let Some(why) = self.kept.blocked.get(&draft.to) {
            let what = format!("this node blocks it: {why}");
            errors.push(wrong("to", &what, "ask an operator of this node; 'puente peer unblock' takes the block away"));
        } else if !self.peers.get(&draft.to).is_some_and(|known| known.admitted) {
            let valid: Vec<_> = self.peers.values().filter(|p| p.admitted).map(|p| p.uri.to_string()).collect();
            let suspended = self.charter.member(&draft.to).and_then(|member| member.suspended_reason.as_ref());
            let what = match suspended {
                Some(why) => format!("not an active member of the charter: {why}"),
                None => "not an active member of the charter".to_owned(),
            };
            errors.push(wrong("to", &what, &format!("use one of: {}", valid.join(", "))));
        }
        if draft.mode == Mode::Training && !self.tuning.training {
            let message = "this node takes no part in training";
            let mend = "allow it in [training] of node.toml";
            errors.push(wrong("training", message, mend));
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

    pub(crate) fn record_query(
        &mut self,
        now: Millis,
        ticket: Option<Ticket>,
        (draft, manner): (&Draft, Manner),
        params: &Params,
    ) -> Result<(), String> {
        let worded = Worded::new(now, draft, params, &mut self.rng)?;
        let binding = if manner.binds() { self.binding(&draft.to) } else { None };
        self.record_worded(now, ticket, (draft, manner), &worded, binding).map(|_| ())
    }

    /// Records the QUERY of a question that is worded; several nodes can be asked in the same words.
    pub(crate) fn record_worded(
        &mut self,
        now: Millis,
        ticket: Option<Ticket>,
        (draft, manner): (&Draft, Manner),
        worded: &Worded,
        binding: Option<(String, u64)>,
    ) -> Result<ExchangeId, String> {
        let seq = Seq(self.peers.get(&draft.to).map_or(1, |p| p.next_seq));
        let half = draft.half.unwrap_or_else(|| self.random());
        let exchange = ExchangeId::new(self.log_number, seq, half);
        let payload = worded.payload.clone();
        let salt = Secret32::new(self.random());
        let commitment = QueryPayload::commit(draft.mode, &payload, &salt);
        let opening = [salt.expose().as_slice(), &payload].concat();
        let (escrow, escrow_hash, mut before) =
            self.make_escrow(now, &draft.to, exchange, PairKind::Query, commitment, &opening)?;
        let terms = draft.terms(exchange, binding);
        let due = Minute(draft.due_at.0.div_ceil(60_000));
        let query = self.pair(&draft.to, now, PairBody::Query { terms, due, commitment, escrow: escrow_hash });
        let mut wrapped = self.wrap(now, query.clone()).map_err(|e| e.to_string())?;
        // Made before the QUERY is durable: a later epoch could not make it again.
        let psk = match query.terms() {
            Some(terms) => self.exchange_psk(terms, &draft.to, &wrapped.leaf).ok_or("the group is at another epoch")?,
            None => Vec::new(),
        };
        before.extend(wrapped.before.take());
        let index = self.next_index() + before.len() as u64;
        let mut puts = self.number(&draft.to, &wrapped, PairKind::Query, Some(exchange), None, index);
        let stored = StoredAsk {
            peer: draft.to.to_string(),
            query: Some(wrapped.proven(Some(escrow.clone()))),
            query_index: index,
            payload,
            salt: salt.expose().to_vec(),
            reply_key: worded.reply_key.private().expose().to_vec(),
            due_at: draft.due_at.0,
            query_leaf: wrapped.leaf.0.to_vec(),
            psk,
            ..StoredAsk::default()
        };
        let mut ask = Asking {
            peer: draft.to.clone(),
            ticket,
            stays: draft.stays,
            stage: AskStage::Recording,
            stored,
            query,
            query_leaf: wrapped.leaf,
            due_at: draft.due_at,
            answer: None,
            route: None,
            receipts: Some(Vec::new()),
            again_at: now,
            rests: false,
            manner,
        };
        puts.push(ask.put(exchange));
        puts.push((persist::open_ask_key(&draft.to, exchange), Some(Vec::new())));
        if let Some(first) = manner.follows {
            // In the same batch as the QUERY: a hit is confirmed for good if it was asked about, and only then.
            puts.push((persist::followed_key(&draft.to, first), Some(exchange.0.to_vec())));
            self.confirming.insert(first, Some(exchange));
        }
        if let Some(refused) = manner.instead_of
            && let Some(mut earlier) = self.load_ask(&draft.to, refused)?
        {
            earlier.stored.again = exchange.0.to_vec();
            puts.push(earlier.put(refused));
        }
        let mut asides = wrapped.asides;
        asides.push(aside(&wrapped.leaf, proto::aside::Body::Escrow(escrow)));
        if let Some(ticket) = ticket {
            self.tickets.insert(ticket, exchange);
        }
        self.asks.insert(exchange, ask);
        self.at(draft.due_at, Timer::Ask(exchange));
        let entries = before.into_iter().chain([wrapped.entry]).collect();
        self.enqueue(now, Intent { entries, puts, asides, then: Then::Ask(exchange) });
        Ok(exchange)
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
}

impl Draft {
    /// The part of the question that its entry only commits to.
    pub(crate) fn payload(&self, now: Millis, params: Vec<(String, String)>, reply_key: [u8; 32]) -> QueryPayload {
        QueryPayload {
            asked_at: now,
            due_at: self.due_at,
            case_ref: self.case_ref.clone(),
            officer: self.officer.clone(),
            params,
            urgency: self.urgency,
            justification: self.justification.clone(),
            facts_statement: self.facts_statement.clone(),
            offence: self.offence.clone(),
            reply_key,
            confirms: self.confirms,
        }
    }

    /// The part that every entry of the exchange repeats.
    pub(crate) fn terms(&self, exchange: ExchangeId, binding: Option<(String, u64)>) -> Terms {
        let (group, epoch) = binding.unwrap_or_default();
        Terms {
            exchange,
            kind: self.kind.clone(),
            step: self.step,
            purpose: self.purpose,
            basis: self.basis.clone(),
            handling: self.handling,
            group,
            epoch,
            mode: self.mode,
        }
    }
}

/// What stands as a local event's record type: in training it says so, before the type.
pub(crate) fn of_mode(mode: Mode, record_type: &str) -> String {
    match mode {
        Mode::Open => record_type.to_owned(),
        Mode::Training => format!("{TRAINING_PATH}{record_type}"),
    }
}

/// A policy refusal as the explanation that travels.
pub(crate) fn explain(now: Millis, refusal: &puente_policy::Refusal) -> Explanation {
    Explanation {
        at: now,
        rule: refusal.rule.clone().unwrap_or_default(),
        text_en: format!("{}; {}", refusal.explain_en, refusal.next_step_en),
        text_es: format!("{}; {}", refusal.explain_es, refusal.next_step_es),
        appeal_en: refusal.appeal_en.clone(),
        appeal_es: refusal.appeal_es.clone(),
        ..Explanation::default()
    }
}
