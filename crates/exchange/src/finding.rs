//! The holder's records came back: which of them the question means, and what the grant lets them say.

use std::collections::BTreeSet;
use std::fmt;

use puente_catalogue::{FieldMask, Match, MatchKey, Params, QueryKindSpec, RecordType};
use puente_model::{Digest, EventKind, ExchangeId, Millis, Mode, Outcome, RefusalReason, Role, Step, limits};
use puente_policy::Grant;
use puente_wire::{Explanation, Terms, fault::FaultCode};

use crate::api::{Effect, LocalEvent};
use crate::engine::{Engine, Then};
use crate::inbox;
use crate::judging::{Say, words};
use crate::question::of_mode;

/// Path of the leaf that names the key under which a record was found; the record's number stands before it.
const MATCH_PATH: &str = "match_key";

/// What a held question looks up. Its keys are the question's subject: `Debug` shows their number.
pub(crate) struct Asked {
    pub(crate) params: Params,
    pub(crate) keys: Vec<MatchKey>,
    pub(crate) role: Role,
}

impl fmt::Debug for Asked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Asked({} keys)", self.keys.len())
    }
}

/// A record that a question means.
pub(crate) struct Meant<'a> {
    pub(crate) bytes: &'a [u8],
    pub(crate) found: Match,
}

/// The names of the keys that matched, in the order in which records were found, each once.
fn matched<'a>(meant: &'a [Meant<'_>]) -> Vec<&'a str> {
    let mut seen = BTreeSet::new();
    let names = meant.iter().filter_map(|m| m.found.key.as_deref());
    names.filter(|name| seen.insert(*name)).take(limits::PARAMS_PER_QUERY_MAX).collect()
}

impl Engine {
    pub(crate) fn found(&mut self, now: Millis, lookup: u64, records: Result<Vec<Vec<u8>>, String>) {
        if self.tried(lookup, &records) {
            return;
        }
        let Some(exchange) = self.lookups.remove(&lookup) else { return };
        let Some(hold) = self.holds.get_mut(&exchange) else { return };
        if let Some(known) = self.peers.get_mut(&hold.peer) {
            known.lookups = known.lookups.saturating_sub(1);
        }
        let (peer, seq, route) = (hold.peer.clone(), hold.query.seq.0, hold.route);
        // A number that a PERIOD closed while a person decided is recorded all the same.
        if hold.stored.query_index.is_none() && self.is_closed(&peer, seq) {
            // A VOID overtook the records: this number will never be recorded here.
            self.holds.remove(&exchange);
            if let Some(route) = route {
                self.fault(now, &peer, route, FaultCode::NumberClosed, Some(exchange));
            }
            return;
        }
        let Some(hold) = self.holds.get_mut(&exchange) else { return };
        let (Some(grant), Some(asked), Some(terms)) =
            (hold.grant.take(), hold.asked.take(), hold.query.terms().cloned())
        else {
            return;
        };
        let query_leaf = hold.query_leaf;
        let confirmed = hold.stored.decision.as_ref().is_some_and(|decision| decision.kind == inbox::CONFIRM);
        let review = grant.review_hours.filter(|_| hold.stored.decision.is_none());
        let say = if hold.cancelled {
            let text = words(now, "the asker cancelled", "quien preguntó canceló");
            Say::Refuse(RefusalReason::Cancelled, text)
        } else {
            match records {
                Ok(records) => match self.say(now, exchange, &terms, grant, (&asked, query_leaf), &records) {
                    // A person of the holder's looked: what was found is no candidate any more.
                    Say::Nothing(Outcome::HitUnconfirmed, explanation, count, handling) if confirmed => {
                        Say::Nothing(Outcome::HitConfirmed, explanation, count, handling)
                    }
                    say => say,
                },
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
        let answers = !matches!(say, Say::Refuse(..));
        self.answer(now, exchange, say);
        if let Some(hours) = review.filter(|_| answers) {
            self.record_review(now, exchange, hours);
        }
    }

    /// What the grant lets the records say. Under which keys they were found stands in the committed part of what is
    /// recorded: of the ANSWER where the grant releases it, else of a CORRELATE in this log alone.
    fn say(
        &mut self,
        now: Millis,
        exchange: ExchangeId,
        terms: &Terms,
        grant: Grant,
        (asked, query_leaf): (&Asked, Digest),
        records: &[Vec<u8>],
    ) -> Say {
        let catalogue = std::sync::Arc::clone(&self.catalogue);
        let kind = catalogue.query_kind(terms.kind.as_str());
        let record_type = kind.and_then(|kind| catalogue.record_type(kind.record_type()));
        let (Some(kind), Some(record_type)) = (kind, record_type) else { return unreadable(now) };
        let types = (kind, record_type, terms.step);
        let Some(meant) = self.meant(now, exchange, types, asked, records) else { return unreadable(now) };
        if meant.is_empty() {
            return self.unknown_here(now, exchange, terms, grant, (kind, record_type), asked);
        }
        let keys: Vec<String> = matched(&meant).into_iter().map(str::to_owned).collect();
        for name in &keys {
            self.emit(Effect::Matched { key: of_mode(terms.mode, name) });
        }
        let say = self.say_of(now, terms, &grant, kind, record_type, &meant);
        if !grant.match_key && !keys.is_empty() && !matches!(say, Say::Refuse(..)) {
            self.correlate(now, exchange, terms, (asked.role, query_leaf), record_type, &keys, meant.len());
        }
        say
    }

    /// No record is meant. A matter that another question brought before is a duplicate all the same; else one is
    /// accepted, and kept for later questions to be compared with.
    fn unknown_here(
        &mut self,
        now: Millis,
        exchange: ExchangeId,
        terms: &Terms,
        grant: Grant,
        types: (&QueryKindSpec, &RecordType),
        asked: &Asked,
    ) -> Say {
        let (kind, handling) = (types.0, grant.handling);
        if !kind.finds_duplicates() {
            return Say::Nothing(Outcome::NoHit, nothing(now, kind), 0, handling);
        }
        let unreadable = |engine: &mut Self, text: String| {
            engine.store_alarm(text);
            unreadable(now)
        };
        match self.earlier(now, exchange, terms.mode, types, asked) {
            Err(text) => unreadable(self, text),
            Ok(Some(earlier)) => {
                let mut text = duplicate(now);
                text.duplicate_of = Some(earlier.query_leaf);
                text.fields = if grant.match_key { vec![earlier.key] } else { Vec::new() };
                Say::Nothing(Outcome::DuplicateOf, text, 1, handling)
            }
            Ok(None) => match self.offers(exchange, terms.mode, types, asked) {
                Err(text) => unreadable(self, text),
                Ok(offers) => {
                    if let Some(hold) = self.holds.get_mut(&exchange) {
                        hold.offers = offers;
                    }
                    Say::Nothing(Outcome::NoHit, nothing(now, kind), 0, handling)
                }
            },
        }
    }

    /// The records that the question means; `None` if one cannot be read.
    fn meant<'a>(
        &self,
        now: Millis,
        exchange: ExchangeId,
        (kind, record_type, step): (&QueryKindSpec, &RecordType, Step),
        asked: &Asked,
        records: &'a [Vec<u8>],
    ) -> Option<Vec<Meant<'a>>> {
        let asker = self.holds.get(&exchange)?.peer.agency();
        let mut meant = Vec::with_capacity(records.len());
        for bytes in records {
            let found = kind.concerns(record_type, step, bytes, &asked.params, &asked.keys, &asker, now).ok()?;
            if let Some(found) = found {
                meant.push(Meant { bytes, found });
            }
        }
        Some(meant)
    }

    fn say_of(
        &self,
        now: Millis,
        terms: &Terms,
        grant: &Grant,
        kind: &QueryKindSpec,
        record_type: &RecordType,
        meant: &[Meant<'_>],
    ) -> Say {
        let shown = |explanation: Explanation| Explanation {
            fields: if grant.match_key { matched(meant).into_iter().map(str::to_owned).collect() } else { Vec::new() },
            ..explanation
        };
        if kind.finds_duplicates() {
            return Say::Nothing(Outcome::DuplicateOf, shown(duplicate(now)), meant.len(), grant.handling);
        }
        let owed: BTreeSet<&String> = meant.iter().filter_map(|m| m.found.pending.as_ref()).flatten().collect();
        if meant.iter().any(|m| m.found.pending.is_some()) {
            let mut text = words(
                now,
                "the holder waits for data: send what is listed, and the clock goes on",
                "la institución espera datos: envíe lo que se indica y el plazo sigue corriendo",
            );
            text.fields = owed.into_iter().take(limits::PARAMS_PER_QUERY_MAX).cloned().collect();
            return Say::Nothing(Outcome::NeedsData, text, meant.len(), grant.handling);
        }
        if terms.step == Step::HitNoHit || grant.field_numbers.is_empty() {
            let text = unconfirmed(now, grant);
            return Say::Nothing(Outcome::HitUnconfirmed, shown(text), meant.len(), grant.handling);
        }
        if self.charter.is_sensitive(&terms.kind) && self.charter.witness_policy().is_none() {
            // Such kinds wait for cosignatures before Release; without witnesses none can come.
            let text = words(
                now,
                "the charter marks this kind sensitive: it is disclosed only under cosigned heads, and there are no witnesses",
                "la carta marca este tipo como sensible: sólo se revela bajo cabezas cofirmadas, y no hay testigos",
            );
            return Say::Refuse(RefusalReason::Scope, text);
        }
        match disclosed(terms.mode, grant, record_type, meant) {
            Some(fields) => Say::Disclose { fields, count: meant.len(), grant: grant.clone() },
            None => unreadable(now),
        }
    }

    #[allow(clippy::too_many_arguments)]
    fn correlate(
        &mut self,
        now: Millis,
        exchange: ExchangeId,
        terms: &Terms,
        (role, query_leaf): (Role, Digest),
        record_type: &RecordType,
        keys: &[String],
        count: usize,
    ) {
        let event = LocalEvent {
            kind: EventKind::Correlate,
            record_type: of_mode(terms.mode, record_type.name()),
            count: count as u64,
            purpose: Some(terms.purpose),
            basis: Some(terms.basis.clone()),
            role: Some(role),
            detail: keys.join("\n").into_bytes(),
        };
        let peer = self.holds.get(&exchange).map(|hold| hold.peer.clone());
        let complete = |e: &mut puente_wire::Event| {
            e.quoted = Some(query_leaf);
            e.exchange = Some(exchange);
            e.peer = peer;
        };
        self.record_event(now, event, complete, Then::Nothing);
    }
}

/// The leaves of what is disclosed, paths strictly increasing.
pub(crate) fn disclosed(
    mode: Mode,
    grant: &Grant,
    record_type: &RecordType,
    meant: &[Meant<'_>],
) -> Option<Vec<(String, Vec<u8>)>> {
    let mask = FieldMask::from_numbers(grant.field_numbers.iter().copied())?;
    let mut fields = Vec::new();
    let path = |i: usize, path: &str| of_mode(mode, &format!("{i:03}/{path}"));
    for (i, meant) in meant.iter().enumerate() {
        let masked = record_type.mask(meant.bytes, mask).ok()?;
        let leaves = record_type.leaves(&masked).ok()?;
        fields.extend(leaves.into_iter().map(|leaf| (path(i, &leaf.path), leaf.value)));
        if let Some(key) = meant.found.key.as_deref().filter(|_| grant.match_key) {
            fields.push((path(i, MATCH_PATH), key.as_bytes().to_vec()));
        }
    }
    fields.sort_unstable();
    Some(fields)
}

/// What it means that there is such a matter.
fn duplicate(now: Millis) -> Explanation {
    words(
        now,
        "this agency holds such a matter already, at most one character and a few days apart: agree with it which one goes on",
        "esta institución ya tiene un asunto así, a lo sumo un carácter y unos días de diferencia: acuerden cuál continúa",
    )
}

/// What it means that something was found.
pub(crate) fn unconfirmed(now: Millis, grant: &Grant) -> Explanation {
    Explanation {
        at: now,
        text_en: join(grant, "a hit is not a match: have a person confirm it before asking for core data"),
        text_es: join(grant, "un acierto no es una coincidencia: que una persona lo confirme antes de pedir datos"),
        ..Explanation::default()
    }
}

/// What it means that nothing was found.
pub(crate) fn nothing(now: Millis, kind: &QueryKindSpec) -> Explanation {
    if !kind.is_directed() {
        return Explanation { at: now, ..Explanation::default() };
    }
    words(
        now,
        "accepted: complete, and this agency holds no such matter yet; its clock runs from this answer",
        "aceptado: completo, y esta institución aún no tiene un asunto así; su plazo corre desde esta respuesta",
    )
}

fn unreadable(now: Millis) -> Say {
    let text = words(
        now,
        "the holder's record cannot be read; its operator has been told",
        "el registro de la institución no puede leerse; se ha avisado a su operación",
    );
    Say::Refuse(RefusalReason::Failed, text)
}

fn join(grant: &Grant, text: &str) -> String {
    let obligations: Vec<_> = grant.obligations.iter().map(String::as_str).collect();
    if obligations.is_empty() { text.to_owned() } else { format!("{text} [{}]", obligations.join(", ")) }
}
