//! The holder's side: judge, look up, answer, release.

use prost::Message as _;
use puente_catalogue::FieldMask;
use puente_evidence::{AnswerTree, CheckedEscrow, sealing};
use puente_model::{
    CountBand, Digest, ExchangeId, FieldClass, Handling, LeafIndex, Millis, NodeUri, Outcome, RefusalReason, Secret32,
    Step, digest, limits,
};
use puente_policy::{Direction, Grant, Request, Verdict};
use puente_wire::{Explanation, Pair, PairBody, PairKind, QueryPayload, Terms, fault::FaultCode, label, proto};

use crate::api::{ConnectionId, Effect, StreamId};
use crate::asker::explain;
use crate::control::{Problem, receipt_aside};
use crate::engine::{Engine, Route, Then, aside, unwrap};
use crate::ledger::{Intent, Recorded};
use crate::persist::{self, StoredHold};

/// Where a held question stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum HoldStage {
    /// Records are being looked up; nothing is recorded.
    LookingUp,
    /// QUERY and ANSWER are not durable yet: nothing was replied.
    Recording,
    /// Replied; the asker's receipt is to come.
    AwaitingReceipt,
    /// The RELEASE is not durable yet: the key was not sent.
    RecordingRelease,
    /// Released.
    Released,
}

impl HoldStage {
    const fn code(self) -> u32 {
        match self {
            Self::LookingUp | Self::Recording | Self::AwaitingReceipt => 1,
            Self::RecordingRelease | Self::Released => 2,
        }
    }
}

/// A question that this node holds the answer to.
#[derive(Debug)]
pub(crate) struct Holding {
    pub(crate) peer: NodeUri,
    pub(crate) stage: HoldStage,
    pub(crate) stored: StoredHold,
    pub(crate) query: Pair,
    pub(crate) query_leaf: Digest,
    pub(crate) answer: Option<(Pair, Digest)>,
    pub(crate) route: Option<Route>,
    pub(crate) due_at: Millis,
    query_receipt: Vec<u8>,
    grant: Option<Grant>,
    cancelled: bool,
}

impl Drop for Holding {
    fn drop(&mut self) {
        self.stored.wipe();
    }
}

impl Holding {
    fn put(&mut self, exchange: ExchangeId) -> (Vec<u8>, Option<Vec<u8>>) {
        self.stored.stage = self.stage.code();
        (persist::hold_key(&self.peer, exchange), Some(self.stored.encode_to_vec()))
    }
}

/// What the holder decided to say.
enum Say {
    Refuse(RefusalReason, Explanation),
    Nothing(Outcome, Explanation, usize, Handling),
    Disclose { fields: Vec<(String, Vec<u8>)>, count: usize, grant: Grant },
}

impl Engine {
    /// Takes up the held exchanges that still await a receipt.
    pub(crate) fn restore_holds(&mut self) -> Result<(), String> {
        let mut open = Vec::new();
        persist::each_open(&*self.store, persist::OPEN_HOLDS, |peer, exchange| {
            open.push((peer, exchange));
            Ok(())
        })?;
        for (peer, exchange) in open {
            let Some(hold) = self.load_hold(&peer, exchange)? else { continue };
            if let Some(peer) = self.peers.get_mut(&peer) {
                peer.unreceipted.insert((hold.due_at, exchange));
            }
            self.holds.insert(exchange, hold);
        }
        Ok(())
    }

    fn load_hold(&self, peer: &NodeUri, exchange: ExchangeId) -> Result<Option<Holding>, String> {
        let Some(bytes) = self.store.get(&persist::hold_key(peer, exchange))? else { return Ok(None) };
        let stored = StoredHold::decode(bytes.as_slice()).map_err(|e| e.to_string())?;
        let query = stored.query.as_ref().ok_or("a held exchange without its QUERY")?;
        let (query, query_leaf) = unwrap(query).map_err(|e| e.to_string())?;
        let answer = stored.answer.as_ref().ok_or("a held exchange without its ANSWER")?;
        let answer = unwrap(answer).map_err(|e| e.to_string())?;
        let stage = if stored.stage == 2 { HoldStage::Released } else { HoldStage::AwaitingReceipt };
        Ok(Some(Holding {
            peer: query.from.clone(),
            stage,
            due_at: Millis(stored.due_at),
            stored,
            query,
            query_leaf,
            answer: Some(answer),
            route: None,
            query_receipt: Vec::new(),
            grant: None,
            cancelled: false,
        }))
    }

    /// Makes sure a known exchange is in memory.
    fn hold_in_memory(&mut self, peer: &NodeUri, exchange: ExchangeId) -> Result<bool, Problem> {
        if self.holds.contains_key(&exchange) {
            return Ok(true);
        }
        match self.load_hold(peer, exchange) {
            Ok(Some(hold)) => {
                self.holds.insert(exchange, hold);
                Ok(true)
            }
            Ok(None) => Ok(false),
            Err(text) => {
                self.emit(Effect::Alarm(crate::api::Alarm::StoreUnavailable(text)));
                Err(Problem::Fault(FaultCode::LogUnavailable, Some(exchange)))
            }
        }
    }

    pub(crate) fn on_ask(&mut self, now: Millis, peer: &NodeUri, route: Route, ask: proto::Ask) -> Result<(), Problem> {
        let mut proven = ask.query.ok_or(Problem::from(FaultCode::Malformed))?;
        if ask.payload.len() > limits::QUERY_BYTES_MAX {
            return Err(FaultCode::Oversized.into());
        }
        let (pair, leaf) = unwrap(&proven)?;
        let PairBody::Query { terms, due, commitment, escrow } = &pair.body else {
            return Err(FaultCode::OutOfOrder.into());
        };
        let (exchange, due, commitment, escrow_hash) = (terms.exchange, *due, *commitment, *escrow);
        let fault = |code| Problem::Fault(code, Some(exchange));
        if pair.from != *peer || pair.to != self.node {
            return Err(fault(FaultCode::Misaddressed));
        }
        if !terms.group.is_empty() || terms.epoch != 0 {
            // Groups have their place in the format; version 1 has none.
            return Err(fault(FaultCode::Malformed));
        }
        if self.holds.contains_key(&exchange) {
            return self.repeat(exchange, peer, leaf, route);
        }
        // A number that this node never took has an exchange that it never held.
        let taken = self.peers.get(peer).is_some_and(|known| known.has_taken(pair.seq));
        if taken && self.hold_in_memory(peer, exchange)? {
            return self.repeat(exchange, peer, leaf, route);
        }
        self.check_number(now, peer, &pair, leaf).map_err(fault)?;
        if !exchange.is_of(pair.log, pair.seq) {
            return Err(fault(FaultCode::Malformed));
        }
        let receipt = match self.peers.get_mut(peer) {
            Some(known) => known.log.receipt(&proven.receipt, &leaf),
            None => return Err(fault(FaultCode::NotAMember)),
        };
        if let Err(problem) = receipt {
            return Err(match self.head_problem(now, peer, problem) {
                Problem::Fault(code, _) => fault(code),
                other => other,
            });
        }
        self.check_load(now, peer).map_err(fault)?;
        let escrow = proven.escrow.as_ref().ok_or(fault(FaultCode::BadEscrow))?;
        CheckedEscrow::check(escrow, escrow_hash).map_err(|_| fault(FaultCode::BadEscrow))?;
        let salt: [u8; 32] = ask.salt.as_slice().try_into().map_err(|_| fault(FaultCode::Malformed))?;
        if QueryPayload::commit(&ask.payload, &Secret32::new(salt)) != commitment {
            return Err(fault(FaultCode::BadCommitment));
        }
        let terms = terms.clone();
        let payload = QueryPayload::decode(&ask.payload);
        if payload.as_ref().is_ok_and(|p| p.asked_at.0 > now.0 + limits::CLOCK_SKEW_MILLIS_MAX) {
            return Err(fault(FaultCode::FutureDated));
        }
        let longest = limits::DEADLINE_MILLIS_MAX + limits::CLOCK_SKEW_MILLIS_MAX;
        if payload.as_ref().is_ok_and(|p| p.due_at.since(now) > longest || p.due_at.0.div_ceil(60_000) != due.0) {
            return Err(fault(FaultCode::Malformed));
        }
        let due_at = payload.as_ref().map_or(now, |p| p.due_at);
        let query_receipt = std::mem::take(&mut proven.receipt);
        let hold = Holding {
            peer: peer.clone(),
            stage: HoldStage::LookingUp,
            stored: StoredHold {
                peer: peer.to_string(),
                query: Some(proto::Proven { receipt: Vec::new(), ..proven }),
                payload: ask.payload,
                salt: ask.salt,
                due_at: due_at.0,
                query_leaf: leaf.0.to_vec(),
                ..StoredHold::default()
            },
            query: pair,
            query_leaf: leaf,
            answer: None,
            route: Some(route),
            due_at,
            query_receipt,
            grant: None,
            cancelled: false,
        };
        self.holds.insert(exchange, hold);
        match payload {
            Ok(payload) => self.judge_inbound(now, exchange, &terms, &payload),
            Err(error) => {
                let text = error.to_string();
                let explanation =
                    Explanation { at: now, text_en: text.clone(), text_es: text, ..Explanation::default() };
                self.answer(now, exchange, Say::Refuse(RefusalReason::Quality, explanation));
            }
        }
        Ok(())
    }

    /// The same QUERY again: the stored reply, again.
    fn repeat(&mut self, exchange: ExchangeId, peer: &NodeUri, leaf: Digest, route: Route) -> Result<(), Problem> {
        let Some(hold) = self.holds.get_mut(&exchange) else { return Err(Problem::Ignore) };
        if hold.peer != *peer || hold.query_leaf != leaf {
            return Err(Problem::Fault(FaultCode::Replayed, Some(exchange)));
        }
        hold.route = Some(route);
        if matches!(hold.stage, HoldStage::LookingUp | HoldStage::Recording) {
            return Ok(());
        }
        self.send_reply(exchange, None);
        self.forget_held(exchange);
        Ok(())
    }

    /// The number is new, of the peer's log, under a charter that this node knows, not from the future.
    fn check_number(&mut self, now: Millis, peer: &NodeUri, pair: &Pair, leaf: Digest) -> Result<(), FaultCode> {
        let known = self.peers.get(peer).ok_or(FaultCode::NotAMember)?;
        if pair.log != known.log_number {
            return Err(FaultCode::WrongLog);
        }
        if pair.minute.start().0 > now.0 + limits::CLOCK_SKEW_MILLIS_MAX {
            return Err(FaultCode::FutureDated);
        }
        if !self.vector.covers(&pair.charter) || !pair.charter.covers(&self.vector) {
            return Err(FaultCode::OldCharter);
        }
        if !self.charter.status(now).may_exchange() {
            return Err(FaultCode::OldCharter);
        }
        if known.theirs.get(&pair.seq.0).is_some_and(|recorded| recorded.leaf != leaf) {
            return Err(FaultCode::Replayed);
        }
        if pair.seq.0 <= known.theirs_closed || self.is_closed(peer, pair.seq.0) {
            return Err(FaultCode::NumberClosed);
        }
        Ok(())
    }

    fn check_load(&mut self, now: Millis, peer: &NodeUri) -> Result<(), FaultCode> {
        let tuning = self.tuning;
        let known = self.peers.get_mut(peer).ok_or(FaultCode::NotAMember)?;
        if known.owes_receipts(now) {
            return Err(FaultCode::ReceiptsOwed);
        }
        if known.minute != now.minute().0 {
            (known.minute, known.minute_queries) = (now.minute().0, 0);
        }
        if known.lookups >= tuning.lookups_per_peer_max || known.minute_queries >= tuning.queries_per_peer_per_minute {
            return Err(FaultCode::Overloaded);
        }
        known.minute_queries += 1;
        Ok(())
    }

    fn judge_inbound(&mut self, now: Millis, exchange: ExchangeId, terms: &Terms, payload: &QueryPayload) {
        if payload.due_at <= now {
            let explanation = words(
                now,
                "the deadline had passed when the question arrived",
                "el plazo había vencido cuando llegó la consulta",
            );
            self.answer(now, exchange, Say::Refuse(RefusalReason::Expired, explanation));
            return;
        }
        let Some(hold) = self.holds.get(&exchange) else { return };
        let peer = hold.peer.clone();
        let request = Request {
            direction: Direction::Inbound,
            agency: peer.agency(),
            agency_roles: self.peers.get(&peer).map(|p| p.agency_roles.clone()).unwrap_or_default(),
            holder: self.node.agency(),
            holder_roles: self.own_roles.clone(),
            kind: terms.kind.clone(),
            step: terms.step,
            purpose: terms.purpose,
            basis: terms.basis.clone(),
            officer_role: payload.officer.role,
            urgency: payload.urgency,
            mode: terms.mode,
            handling: terms.handling,
            offence: Some(payload.offence.clone()).filter(|o| !o.is_empty()),
            facts_stated: !payload.facts_statement.trim().is_empty(),
            suspicion_stated: !payload.facts_statement.trim().is_empty(),
            case_stated: !payload.case_ref.trim().is_empty(),
        };
        let basis = self.charter.legal_basis_for(&terms.basis, terms.purpose, &peer.jurisdiction(), now);
        if let Err(error) = basis {
            let text = error.to_string();
            let explanation = Explanation { at: now, text_en: text.clone(), text_es: text, ..Explanation::default() };
            self.answer(now, exchange, Say::Refuse(RefusalReason::NoLegalBasis, explanation));
            return;
        }
        let grant = match &*self.judge.judge(&request, now) {
            Verdict::Permit(grant) => grant.clone(),
            Verdict::Refuse(refusal) => {
                let say = Say::Refuse(refusal.reason, explain(now, refusal));
                self.answer(now, exchange, say);
                return;
            }
        };
        if payload.officer.expires <= now {
            let explanation = words(
                now,
                "the officer's grant has expired",
                "la autorización de la persona servidora pública ha vencido",
            );
            self.answer(now, exchange, Say::Refuse(RefusalReason::Scope, explanation));
            return;
        }
        if terms.step != Step::HitNoHit && !self.confirmed(&peer, terms, payload) {
            let explanation = words(
                now,
                "this step must quote a hit that this node gave to the same question, with a statement of facts",
                "este paso debe citar un acierto que este nodo dio a la misma consulta, con una exposición de hechos",
            );
            self.answer(now, exchange, Say::Refuse(RefusalReason::Quality, explanation));
            return;
        }
        let looked_up = self.catalogue.query_kind(terms.kind.as_str()).and_then(|kind| {
            let params = kind.params_from_pairs(&payload.params).ok()?;
            Some((kind.record_type().to_owned(), kind.lookup_keys(&params)))
        });
        let Some((record_type, keys)) = looked_up else {
            let explanation = words(
                now,
                "the parameters are not in the catalogue's normal form",
                "los parámetros no están en la forma normal del catálogo",
            );
            self.answer(now, exchange, Say::Refuse(RefusalReason::Quality, explanation));
            return;
        };
        if let Some(hold) = self.holds.get_mut(&exchange) {
            hold.grant = Some(grant);
        }
        if let Some(known) = self.peers.get_mut(&peer) {
            known.lookups += 1;
        }
        let lookup = self.next_lookup;
        self.next_lookup += 1;
        self.lookups.insert(lookup, exchange);
        let keys = keys.into_iter().map(|key| (key.name.to_string(), key.value)).collect();
        self.emit(Effect::Lookup { lookup, record_type, keys, limit: limits::RECORDS_PER_ANSWER_MAX });
    }

    /// Step 2 quotes a step-1 hit that this node gave to the same asker on the same parameters.
    fn confirmed(&self, peer: &NodeUri, terms: &Terms, payload: &QueryPayload) -> bool {
        let Some(leaf) = payload.confirms else { return false };
        if payload.facts_statement.trim().is_empty() {
            return false;
        }
        let Ok(Some(bytes)) = self.store.get(&persist::hit_key(&leaf.0)) else { return false };
        let Ok(exchange) = ExchangeId::try_from(bytes.as_slice()) else { return false };
        let Ok(Some(earlier)) = self.load_hold(peer, exchange) else { return false };
        let same = QueryPayload::decode(&earlier.stored.payload).is_ok_and(|p| p.params == payload.params);
        let hit = earlier.answer.as_ref().is_some_and(|(pair, l)| {
            *l == leaf
                && matches!(
                    &pair.body,
                    PairBody::Answer { outcome: Outcome::HitUnconfirmed | Outcome::HitConfirmed, terms: t, .. }
                        if t.kind == terms.kind
                )
        });
        same && hit
    }

    pub(crate) fn found(&mut self, now: Millis, lookup: u64, records: Result<Vec<Vec<u8>>, String>) {
        let Some(exchange) = self.lookups.remove(&lookup) else { return };
        let Some(hold) = self.holds.get_mut(&exchange) else { return };
        if let Some(known) = self.peers.get_mut(&hold.peer) {
            known.lookups = known.lookups.saturating_sub(1);
        }
        let (peer, seq, route) = (hold.peer.clone(), hold.query.seq.0, hold.route);
        if self.is_closed(&peer, seq) {
            // A VOID overtook the records: this number will never be recorded here.
            self.holds.remove(&exchange);
            if let Some(route) = route {
                self.fault(now, &peer, route, FaultCode::NumberClosed, Some(exchange));
            }
            return;
        }
        let Some(hold) = self.holds.get_mut(&exchange) else { return };
        let (Some(grant), Some(terms)) = (hold.grant.take(), hold.query.terms().cloned()) else { return };
        let say = if hold.cancelled {
            let text = words(now, "the asker cancelled", "quien preguntó canceló");
            Say::Refuse(RefusalReason::Cancelled, text)
        } else {
            match records {
                Ok(records) => self.say(now, &terms, grant, &records),
                Err(_) => {
                    let text = words(
                        now,
                        "the holder's records cannot be read now; ask again later",
                        "los registros de la institución no pueden leerse ahora; pregunte después",
                    );
                    Say::Refuse(RefusalReason::Failed, text)
                }
            }
        };
        self.answer(now, exchange, say);
    }

    /// What the grant lets the records say.
    fn say(&self, now: Millis, terms: &Terms, grant: Grant, records: &[Vec<u8>]) -> Say {
        if records.is_empty() {
            return Say::Nothing(Outcome::NoHit, Explanation { at: now, ..Explanation::default() }, 0, grant.handling);
        }
        let failed = || {
            let text = words(
                now,
                "the holder's record cannot be read; its operator has been told",
                "el registro de la institución no puede leerse; se ha avisado a su operación",
            );
            Say::Refuse(RefusalReason::Failed, text)
        };
        if terms.step == Step::HitNoHit || grant.field_numbers.is_empty() {
            let explanation = Explanation {
                at: now,
                text_en: join(&grant, "a hit is not a match: have a person confirm it before asking for core data"),
                text_es: join(
                    &grant,
                    "un acierto no es una coincidencia: que una persona lo confirme antes de pedir datos",
                ),
                ..Explanation::default()
            };
            return Say::Nothing(Outcome::HitUnconfirmed, explanation, records.len(), grant.handling);
        }
        if self.charter.is_sensitive(&terms.kind) {
            // Such kinds wait for cosignatures before Release; without witnesses none can come.
            let text = words(
                now,
                "the charter marks this kind sensitive: it is disclosed only under cosigned heads, and there are no witnesses",
                "la carta marca este tipo como sensible: sólo se revela bajo cabezas cofirmadas, y no hay testigos",
            );
            return Say::Refuse(RefusalReason::Scope, text);
        }
        let Some(kind) = self.catalogue.query_kind(terms.kind.as_str()) else { return failed() };
        let Some(record_type) = self.catalogue.record_type(kind.record_type()) else { return failed() };
        let Some(mask) = FieldMask::from_numbers(grant.field_numbers.iter().copied()) else { return failed() };
        let mut fields = Vec::new();
        for (i, record) in records.iter().enumerate() {
            let Ok(masked) = record_type.mask(record, mask) else { return failed() };
            let Ok(leaves) = record_type.leaves(&masked) else { return failed() };
            fields.extend(leaves.into_iter().map(|leaf| (format!("{i:03}/{}", leaf.path), leaf.value)));
        }
        Say::Disclose { fields, count: records.len(), grant }
    }

    /// Builds the ANSWER or REFUSAL and records it together with the QUERY.
    fn answer(&mut self, now: Millis, exchange: ExchangeId, say: Say) {
        if let Err(reason) = self.try_answer(now, exchange, say) {
            // Nothing was recorded: the asker may repeat the same number.
            if let Some(hold) = self.holds.remove(&exchange)
                && let Some(route) = hold.route
            {
                let fault = proto::Fault {
                    code: FaultCode::LogUnavailable.code(),
                    text: reason.clone(),
                    retry_after_millis: 5_000,
                    exchange_id: exchange.0.to_vec(),
                };
                self.send(route, proto::frame::Body::Fault(fault), true);
            }
            self.emit(Effect::Alarm(crate::api::Alarm::StoreUnavailable(reason)));
        }
    }

    fn try_answer(&mut self, now: Millis, exchange: ExchangeId, say: Say) -> Result<(), String> {
        let hold = self.holds.get(&exchange).ok_or("the exchange is gone")?;
        let (peer, quoted, query_seq) = (hold.peer.clone(), hold.query_leaf, hold.query.seq.0);
        let mut terms = hold.query.terms().cloned().ok_or("a QUERY without terms")?;
        let (mut sealed, mut plain, mut content_key) = (None, None, Vec::new());
        let (kind, commitment, opening);
        let mut hit = false;
        let body: Box<dyn FnOnce(Terms, Digest) -> PairBody> = match say {
            Say::Refuse(reason, explanation) => {
                let (made, c, o) = self.plain(&explanation);
                (plain, kind, commitment, opening) = (Some(made), PairKind::Refusal, c, o);
                Box::new(move |terms, escrow| PairBody::Refusal { terms, reason, commitment: c, escrow, quoted })
            }
            Say::Nothing(outcome, explanation, count, handling) => {
                let (made, c, o) = self.plain(&explanation);
                (plain, kind, commitment, opening) = (Some(made), PairKind::Answer, c, o);
                terms.handling = handling;
                hit = outcome == Outcome::HitUnconfirmed;
                let count = CountBand::of(count);
                Box::new(move |terms, escrow| PairBody::Answer {
                    terms,
                    outcome,
                    field_class: FieldClass::None,
                    count,
                    commitment: c,
                    escrow,
                    quoted,
                })
            }
            Say::Disclose { fields, count, grant } => {
                terms.handling = grant.handling;
                let tree = AnswerTree::build(fields, &mut self.rng).map_err(|e| e.to_string())?;
                let obligations = grant.obligations.iter().cloned().collect();
                let made = sealing::seal_body(&tree, now, obligations, &mut self.rng).map_err(|e| e.to_string())?;
                content_key = made.key.expose().to_vec();
                (kind, commitment, opening) = (PairKind::Answer, made.commitment, content_key.clone());
                sealed = Some(made.sealed);
                let (count, field_class, c) = (CountBand::of(count), grant.field_class, made.commitment);
                Box::new(move |terms, escrow| PairBody::Answer {
                    terms,
                    outcome: Outcome::CoreData,
                    field_class,
                    count,
                    commitment: c,
                    escrow,
                    quoted,
                })
            }
        };
        let (escrow, escrow_hash, mut before) = self.make_escrow(now, &peer, exchange, kind, commitment, &opening)?;
        let pair = self.pair(&peer, now, body(terms, escrow_hash));
        let wrapped = self.wrap(now, pair.clone()).map_err(|e| e.to_string())?;
        let hold = self.holds.get(&exchange).ok_or("the exchange is gone")?;
        let query = hold.stored.query.clone().ok_or("a held exchange without its QUERY")?;
        let (mut asides, seeds) = self.seal_received(now, &query, &quoted);
        before.extend(seeds);
        before.extend(wrapped.before.clone());
        let index = self.next_index() + before.len() as u64 + 1;
        let mut puts = self.number(&peer, &wrapped, kind, Some(exchange), None, index);
        if let Some(known) = self.peers.get_mut(&peer) {
            puts.push(known.take(query_seq, quoted, Some(exchange), index - 1));
        }
        let hold = self.holds.get_mut(&exchange).ok_or("the exchange is gone")?;
        hold.stored.answer = Some(wrapped.proven(Some(escrow.clone())));
        hold.stored.answer_index = index;
        hold.stored.answer_leaf = wrapped.leaf.0.to_vec();
        hold.stored.sealed = sealed;
        hold.stored.plain = plain;
        hold.stored.content_key = content_key;
        hold.stage = HoldStage::Recording;
        hold.answer = Some((pair, wrapped.leaf));
        asides.push(receipt_aside(&quoted, &hold.query_receipt));
        if let Some(escrow) = &query.escrow {
            asides.push(aside(&quoted, proto::aside::Body::Escrow(escrow.clone())));
        }
        asides.push(aside(&wrapped.leaf, proto::aside::Body::Escrow(escrow)));
        asides.extend(wrapped.asides);
        puts.push(hold.put(exchange));
        puts.push((persist::open_hold_key(&peer, exchange), Some(Vec::new())));
        if hit {
            puts.push((persist::hit_key(&wrapped.leaf.0), Some(exchange.0.to_vec())));
        }
        let due = hold.due_at;
        if let Some(known) = self.peers.get_mut(&peer) {
            known.unreceipted.insert((due, exchange));
        }
        let entries = before.into_iter().chain([query.entry, wrapped.entry]).collect();
        self.enqueue(now, Intent { entries, puts, asides, then: Then::Reply(exchange) });
        Ok(())
    }

    /// A salted explanation: what travels, its commitment, its opening.
    fn plain(&mut self, explanation: &Explanation) -> (proto::Plain, Digest, Vec<u8>) {
        let salt = Secret32::new(self.random());
        let payload = explanation.encode();
        let commitment = Explanation::commit(&payload, &salt);
        let opening = [salt.expose().as_slice(), &payload].concat();
        (proto::Plain { payload, salt: salt.expose().to_vec() }, commitment, opening)
    }

    pub(crate) fn answer_recorded(&mut self, exchange: ExchangeId, recorded: &[Recorded]) {
        let Some(hold) = self.holds.get_mut(&exchange) else { return };
        if hold.stage != HoldStage::Recording {
            return;
        }
        hold.stage = HoldStage::AwaitingReceipt;
        self.send_reply(exchange, recorded.last().cloned());
    }

    fn send_reply(&mut self, exchange: ExchangeId, recorded: Option<Recorded>) {
        let Some(hold) = self.holds.get(&exchange) else { return };
        let Some(route) = hold.route else { return };
        let index = LeafIndex(hold.stored.answer_index);
        let Some(recorded) = recorded.or_else(|| self.ledger.recorded(index).ok()) else { return };
        let Some(hold) = self.holds.get(&exchange) else { return };
        if hold.answer.as_ref().is_none_or(|(_, leaf)| leaf != recorded.leaf()) {
            return;
        }
        let mut answer = hold.stored.answer.clone().unwrap_or_default();
        answer.receipt = recorded.receipt();
        let content = match (&hold.stored.sealed, &hold.stored.plain) {
            (Some(sealed), _) => Some(proto::reply::Content::Sealed(sealed.clone())),
            (_, Some(plain)) => Some(proto::reply::Content::Plain(plain.clone())),
            _ => None,
        };
        let reply = proto::Reply { answer: Some(answer), content };
        self.send_proven(route, proto::frame::Body::Reply(reply), false);
    }

    pub(crate) fn on_acknowledge(
        &mut self,
        now: Millis,
        peer: &NodeUri,
        route: Route,
        ack: &proto::Acknowledge,
    ) -> Result<(), Problem> {
        let exchange =
            ExchangeId::try_from(ack.exchange_id.as_slice()).map_err(|_| Problem::from(FaultCode::Malformed))?;
        let fault = |code| Problem::Fault(code, Some(exchange));
        if !self.hold_in_memory(peer, exchange)? {
            return Err(fault(FaultCode::UnknownExchange));
        }
        let Some(hold) = self.holds.get_mut(&exchange) else { return Err(fault(FaultCode::UnknownExchange)) };
        if hold.peer != *peer {
            return Err(fault(FaultCode::UnknownExchange));
        }
        let Some((_, leaf)) = hold.answer else { return Err(fault(FaultCode::OutOfOrder)) };
        match hold.stage {
            HoldStage::LookingUp | HoldStage::Recording => return Err(fault(FaultCode::OutOfOrder)),
            HoldStage::RecordingRelease => {
                hold.route = Some(route);
                return Ok(());
            }
            HoldStage::Released => {
                hold.route = Some(route);
                self.send_release(exchange, None);
                self.forget_held(exchange);
                return Ok(());
            }
            HoldStage::AwaitingReceipt => {}
        }
        self.accept_receipt(now, peer, exchange, &leaf, &ack.receipt)?;
        let Some(hold) = self.holds.get_mut(&exchange) else { return Ok(()) };
        hold.route = Some(route);
        let active = self.charter.member(peer).is_some_and(|m| m.is_active());
        let blocked = self.peers.get(peer).is_none_or(|p| p.forked);
        if hold.stored.sealed.is_none() || hold.due_at < now || !active || blocked {
            self.holds.remove(&exchange);
            return Ok(());
        }
        self.record_release_entry(now, exchange, digest(label::RECEIPT, &[&ack.receipt])).map_err(|text| {
            self.emit(Effect::Alarm(crate::api::Alarm::StoreUnavailable(text)));
            fault(FaultCode::LogUnavailable)
        })
    }

    /// Verifies and keeps the asker's receipt for an answer.
    pub(crate) fn accept_receipt(
        &mut self,
        now: Millis,
        peer: &NodeUri,
        exchange: ExchangeId,
        leaf: &Digest,
        receipt: &[u8],
    ) -> Result<(), Problem> {
        let verified = match self.peers.get_mut(peer) {
            Some(known) => known.log.receipt(receipt, leaf),
            None => return Err(FaultCode::NotAMember.into()),
        };
        if let Err(problem) = verified {
            return Err(match self.head_problem(now, peer, problem) {
                Problem::Fault(code, _) => Problem::Fault(code, Some(exchange)),
                other => other,
            });
        }
        let intent = Intent {
            entries: Vec::new(),
            puts: vec![self.receipted(peer, exchange)],
            asides: vec![receipt_aside(leaf, receipt)],
            then: Then::Nothing,
        };
        self.enqueue(now, intent);
        Ok(())
    }

    /// The asker owes no receipt for this answer any more.
    pub(crate) fn receipted(&mut self, peer: &NodeUri, exchange: ExchangeId) -> (Vec<u8>, Option<Vec<u8>>) {
        // What awaits a receipt is in memory.
        let due = self.holds.get(&exchange).map(|hold| hold.due_at);
        if let (Some(known), Some(due)) = (self.peers.get_mut(peer), due) {
            known.unreceipted.remove(&(due, exchange));
        }
        (persist::open_hold_key(peer, exchange), None)
    }

    fn record_release_entry(&mut self, now: Millis, exchange: ExchangeId, receipt: Digest) -> Result<(), String> {
        let hold = self.holds.get(&exchange).ok_or("the exchange is gone")?;
        let peer = hold.peer.clone();
        let (answer, quoted) = hold.answer.clone().ok_or("a held exchange without its ANSWER")?;
        let terms = answer.terms().cloned().ok_or("an ANSWER without terms")?;
        let payload = QueryPayload::decode(&hold.stored.payload).map_err(|e| e.to_string())?;
        let key: [u8; 32] = hold.stored.content_key.as_slice().try_into().map_err(|_| "no content key")?;
        let key = Secret32::new(key);
        let sealed_key = sealing::seal_content_key(&payload.reply_key, None, quoted, &key, &mut self.rng)
            .map_err(|e| e.to_string())?;
        let hash = sealing::sealed_key_hash(&sealed_key);
        let pair = self.pair(&peer, now, PairBody::Release { terms, quoted, receipt, sealed_key: hash });
        let wrapped = self.wrap(now, pair).map_err(|e| e.to_string())?;
        let before: Vec<_> = wrapped.before.clone().into_iter().collect();
        let index = self.next_index() + before.len() as u64;
        let mut puts = self.number(&peer, &wrapped, PairKind::Release, Some(exchange), None, index);
        let hold = self.holds.get_mut(&exchange).ok_or("the exchange is gone")?;
        hold.stored.release = Some(wrapped.proven(None));
        hold.stored.release_index = index;
        hold.stored.sealed_key = sealed_key;
        hold.stage = HoldStage::RecordingRelease;
        puts.push(hold.put(exchange));
        let entries = before.into_iter().chain([wrapped.entry]).collect();
        self.enqueue(now, Intent { entries, puts, asides: wrapped.asides, then: Then::Release(exchange) });
        Ok(())
    }

    pub(crate) fn release_recorded(&mut self, exchange: ExchangeId, recorded: &[Recorded]) {
        let Some(hold) = self.holds.get_mut(&exchange) else { return };
        hold.stage = HoldStage::Released;
        self.send_release(exchange, recorded.last().cloned());
        self.forget_held(exchange);
    }

    fn send_release(&mut self, exchange: ExchangeId, recorded: Option<Recorded>) {
        let Some(hold) = self.holds.get(&exchange) else { return };
        let Some(route) = hold.route else { return };
        let index = LeafIndex(hold.stored.release_index);
        let Some(recorded) = recorded.or_else(|| self.ledger.recorded(index).ok()) else { return };
        let Some(hold) = self.holds.get(&exchange) else { return };
        let mut release = hold.stored.release.clone().unwrap_or_default();
        if puente_audit_log::leaf_hash(&release.entry) != *recorded.leaf() {
            return;
        }
        release.receipt = recorded.receipt();
        let frame = proto::Release { release: Some(release), sealed_key: hold.stored.sealed_key.clone() };
        self.send_proven(route, proto::frame::Body::Release(frame), true);
    }

    /// Drops a held exchange that waits for nothing; the store has it.
    pub(crate) fn forget_held(&mut self, exchange: ExchangeId) {
        let Some(hold) = self.holds.get(&exchange) else { return };
        let awaited = self.peers.get(&hold.peer).is_some_and(|p| p.unreceipted.contains(&(hold.due_at, exchange)));
        if hold.stage == HoldStage::Released || (hold.stage == HoldStage::AwaitingReceipt && !awaited) {
            self.holds.remove(&exchange);
        }
    }

    /// The asker reset its stream: what is not recorded yet is refused as cancelled.
    pub(crate) fn cancelled(&mut self, connection: ConnectionId, stream: StreamId) {
        let route = Route { connection, stream };
        self.leave_stream(route);
        for exchange in self.lookups.values() {
            if let Some(hold) = self.holds.get_mut(exchange).filter(|h| h.route == Some(route)) {
                (hold.route, hold.cancelled) = (None, true);
            }
        }
    }

    /// What is delivered again of an answer or release of this node's: entry and content.
    pub(crate) fn held_again(
        &self,
        peer: &NodeUri,
        exchange: ExchangeId,
        kind: PairKind,
    ) -> Option<(proto::Proven, u64, proto::deliver::Content)> {
        let loaded;
        let hold = match self.holds.get(&exchange) {
            Some(hold) => hold,
            None => {
                loaded = self.load_hold(peer, exchange).ok()??;
                &loaded
            }
        };
        let stored = &hold.stored;
        if kind == PairKind::Release {
            let content = proto::deliver::Content::SealedKey(stored.sealed_key.clone());
            return Some((stored.release.clone()?, stored.release_index, content));
        }
        let content = match (&stored.sealed, &stored.plain) {
            (Some(sealed), _) => proto::deliver::Content::Sealed(sealed.clone()),
            (_, Some(plain)) => proto::deliver::Content::Plain(plain.clone()),
            _ => return None,
        };
        Some((stored.answer.clone()?, stored.answer_index, content))
    }
}

fn words(now: Millis, en: &str, es: &str) -> Explanation {
    Explanation { at: now, text_en: en.to_owned(), text_es: es.to_owned(), ..Explanation::default() }
}

fn join(grant: &Grant, text: &str) -> String {
    let obligations: Vec<_> = grant.obligations.iter().map(String::as_str).collect();
    if obligations.is_empty() { text.to_owned() } else { format!("{text} [{}]", obligations.join(", ")) }
}
