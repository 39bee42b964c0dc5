//! The holder judges a question: may it be answered, and with what.

use puente_catalogue::FieldMask;
use puente_model::{ExchangeId, Handling, Millis, NodeUri, Outcome, RefusalReason, Step, limits};
use puente_policy::{Direction, Grant, Request, Verdict};
use puente_wire::{Explanation, PairBody, QueryPayload, Terms, fault::FaultCode};

use crate::api::Effect;
use crate::engine::Engine;
use crate::persist;
use crate::question::explain;

/// What the holder decided to say.
pub(crate) enum Say {
    Refuse(RefusalReason, Explanation),
    Nothing(Outcome, Explanation, usize, Handling),
    Disclose { fields: Vec<(String, Vec<u8>)>, count: usize, grant: Grant },
}

impl Engine {
    pub(crate) fn judge_inbound(&mut self, now: Millis, exchange: ExchangeId, terms: &Terms, payload: &QueryPayload) {
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
    pub(crate) fn confirmed(&self, peer: &NodeUri, terms: &Terms, payload: &QueryPayload) -> bool {
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
    pub(crate) fn say(&self, now: Millis, terms: &Terms, grant: Grant, records: &[Vec<u8>]) -> Say {
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
}

fn words(now: Millis, en: &str, es: &str) -> Explanation {
    Explanation { at: now, text_en: en.to_owned(), text_es: es.to_owned(), ..Explanation::default() }
}

fn join(grant: &Grant, text: &str) -> String {
    let obligations: Vec<_> = grant.obligations.iter().map(String::as_str).collect();
    if obligations.is_empty() { text.to_owned() } else { format!("{text} [{}]", obligations.join(", ")) }
}
