//! The holder judges a question: may it be answered, and with what.

use puente_model::{
    ExchangeId, Handling, Millis, Mode, NodeUri, Outcome, QueryKind, RefusalReason, Step, Urgency, limits,
};
use puente_policy::{Direction, Grant, Request, Verdict};
use puente_wire::{Explanation, PairBody, QueryPayload, Terms};

use crate::api::Effect;
use crate::engine::Engine;
use crate::finding::Asked;
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
            order_stated: self.states_order(&terms.kind, &payload.params),
            bound: !terms.group.is_empty(),
        };
        if terms.mode == Mode::Training && !self.tuning.training {
            let explanation = words(
                now,
                "this agency takes no part in training: ask without it, or ask another agency",
                "esta institución no participa en adiestramiento: pregunte sin él, o a otra institución",
            );
            self.answer(now, exchange, Say::Refuse(RefusalReason::Scope, explanation));
            return;
        }
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
        if payload.urgency == Urgency::Urgent && payload.justification.trim().is_empty() {
            let explanation = words(
                now,
                "an urgent question says why it cannot wait",
                "una consulta urgente dice por qué no puede esperar",
            );
            self.answer(now, exchange, Say::Refuse(RefusalReason::Quality, explanation));
            return;
        }
        if payload.facts_statement.chars().count() > limits::FACTS_CHARS_MAX {
            let explanation =
                words(now, "the statement of facts is too long", "la exposición de hechos es demasiado larga");
            self.answer(now, exchange, Say::Refuse(RefusalReason::Quality, explanation));
            return;
        }
        if terms.step != Step::HitNoHit && !self.confirmed(now, &peer, terms, payload) {
            let explanation = words(
                now,
                "this step must quote a recent hit that this node gave to the same question, with a statement of facts",
                "este paso debe citar un acierto reciente que este nodo dio a la misma consulta, con una exposición de hechos",
            );
            self.answer(now, exchange, Say::Refuse(RefusalReason::Quality, explanation));
            return;
        }
        let asked = self.catalogue.query_kind(terms.kind.as_str()).and_then(|kind| {
            let params = kind.params_from_pairs(&payload.params).ok()?;
            let keys = kind.lookup_keys(&params);
            Some((kind.record_type().to_owned(), Asked { params, keys, role: payload.officer.role }))
        });
        let Some((record_type, asked)) = asked else {
            let explanation = words(
                now,
                "the parameters are not in the catalogue's normal form",
                "los parámetros no están en la forma normal del catálogo",
            );
            self.answer(now, exchange, Say::Refuse(RefusalReason::Quality, explanation));
            return;
        };
        let Some(hold) = self.holds.get_mut(&exchange) else { return };
        if let (Some(roles), None) = (&grant.decide, &hold.stored.decision) {
            let roles = roles.clone();
            self.park(now, exchange, &roles);
            return;
        }
        let keys = asked.keys.iter().map(|key| (key.name.to_string(), key.value.clone())).collect();
        (hold.grant, hold.asked) = (Some(grant), Some(asked));
        if let Some(known) = self.peers.get_mut(&peer) {
            known.lookups += 1;
        }
        let lookup = self.next_lookup;
        self.next_lookup += 1;
        self.lookups.insert(lookup, exchange);
        let (limit, mode) = (limits::RECORDS_PER_ANSWER_MAX, terms.mode);
        self.emit(Effect::Lookup { lookup, record_type, keys, limit, mode });
    }

    /// Whether a parameter names a court order.
    pub(crate) fn states_order(&self, kind: &QueryKind, params: &[(String, String)]) -> bool {
        let kind = self.catalogue.query_kind(kind.as_str());
        kind.is_some_and(|kind| kind.states_order(params.iter().map(|(name, _)| name.as_str())))
    }

    /// Step 2 quotes a step-1 hit that this node gave to the same asker on the same parameters, not too long ago.
    pub(crate) fn confirmed(&self, now: Millis, peer: &NodeUri, terms: &Terms, payload: &QueryPayload) -> bool {
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
                && now.since(pair.minute.start()) <= self.tuning.hit_valid_millis
                && matches!(
                    &pair.body,
                    PairBody::Answer { outcome: Outcome::HitUnconfirmed | Outcome::HitConfirmed, terms: t, .. }
                        if t.kind == terms.kind && t.mode == terms.mode && t.step == Step::HitNoHit
                )
        });
        same && hit
    }
}

pub(crate) fn words(now: Millis, en: &str, es: &str) -> Explanation {
    Explanation { at: now, text_en: en.to_owned(), text_es: es.to_owned(), ..Explanation::default() }
}
