//! A hit is not a match: `candidate → lead → confirmed | refuted`, each a type of its own.
//!
//! A machine's hit is a `Candidate`. An officer who takes it up makes it a `Lead`; only a lead can be confirmed or
//! refuted, and only with a statement of facts. Only what is `Confirmed` can be asked about at step 2.

use puente_model::{Digest, EventKind, ExchangeId, Millis, NodeUri, Outcome, Step, Urgency, limits};
use puente_wire::{Officer, Pair, PairBody, QueryPayload, Terms};

use crate::api::{Conclusion, Draft, LocalEvent, Ticket};
use crate::asker::Asking;
use crate::engine::{Engine, Then};
use crate::persist;
use crate::question::of_mode;

/// What a person states about a hit: not empty, at most [`limits::FACTS_CHARS_MAX`] characters, no control characters
/// but line ends.
#[derive(Clone, PartialEq, Eq)]
pub struct Facts(String);

/// A statement of facts is empty, too long, or holds control characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a statement of facts has 1 to 10000 characters and no control characters but line ends")]
pub struct FactsError;

impl Facts {
    /// A statement that fits.
    ///
    /// # Errors
    /// [`FactsError`].
    pub fn new(text: &str) -> Result<Self, FactsError> {
        let fits = text.chars().count() <= limits::FACTS_CHARS_MAX && !text.trim().is_empty();
        let clean = !text.chars().any(|c| c.is_control() && c != '\n');
        if fits && clean { Ok(Self(text.to_owned())) } else { Err(FactsError) }
    }
}

impl std::fmt::Debug for Facts {
    // Facts name persons.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Facts({} characters)", self.0.chars().count())
    }
}

/// What an officer says of a hit.
#[derive(Debug, Clone)]
pub enum Finding {
    /// It is the same: the step-2 question follows at once.
    Confirmed {
        /// Its deadline.
        due_at: Millis,
        /// How urgent it is.
        urgency: Urgency,
        /// Why urgent.
        justification: String,
        /// The offence; that of the step-1 question if empty.
        offence: String,
        /// As [`Draft::stays`].
        stays: bool,
    },
    /// It is another.
    Refuted,
}

/// A machine's hit.
struct Candidate {
    exchange: ExchangeId,
    leaf: Digest,
    peer: NodeUri,
    terms: Terms,
    payload: QueryPayload,
}

/// A hit that an officer took up.
struct Lead {
    candidate: Candidate,
    officer: Officer,
}

/// A lead that its officer confirmed, with the facts.
struct Confirmed {
    lead: Lead,
    facts: Facts,
}

/// A lead that its officer refuted, with the facts.
struct Refuted {
    lead: Lead,
    facts: Facts,
}

impl Candidate {
    /// The hit that this exchange gave; none if it gave none.
    fn of(exchange: ExchangeId, ask: &Asking) -> Option<Self> {
        let (Pair { body: PairBody::Answer { outcome, .. }, .. }, leaf) = ask.answer.as_ref()? else { return None };
        let terms = ask.query.terms()?.clone();
        let hit = matches!(outcome, Outcome::HitUnconfirmed | Outcome::HitConfirmed);
        let payload = QueryPayload::decode(&ask.stored.payload).ok()?;
        (hit && terms.step == Step::HitNoHit).then(|| Self {
            exchange,
            leaf: *leaf,
            peer: ask.peer.clone(),
            terms,
            payload,
        })
    }

    fn taken_up_by(self, officer: Officer) -> Lead {
        Lead { candidate: self, officer }
    }
}

impl Lead {
    fn confirm(self, facts: Facts) -> Confirmed {
        Confirmed { lead: self, facts }
    }

    fn refute(self, facts: Facts) -> Refuted {
        Refuted { lead: self, facts }
    }

    fn event(&self, kind: EventKind, facts: &Facts) -> LocalEvent {
        LocalEvent {
            kind,
            record_type: of_mode(self.candidate.terms.mode, ""),
            count: 1,
            purpose: Some(self.candidate.terms.purpose),
            basis: Some(self.candidate.terms.basis.clone()),
            role: Some(self.officer.role),
            detail: [self.officer.id.as_str().as_bytes(), b"\n", facts.0.as_bytes()].concat(),
        }
    }
}

impl Confirmed {
    /// The step-2 question: everything but its deadline and urgency is the step-1 question's.
    fn question(self, due_at: Millis, urgency: Urgency, justification: String, offence: String, stays: bool) -> Draft {
        let Self { lead: Lead { candidate, officer }, facts } = self;
        let Candidate { leaf, peer, terms, payload, .. } = candidate;
        Draft {
            to: peer,
            kind: terms.kind,
            step: Step::CoreData,
            purpose: terms.purpose,
            basis: terms.basis,
            handling: terms.handling,
            officer,
            case_ref: payload.case_ref,
            params: payload.params,
            due_at,
            urgency,
            justification,
            facts_statement: facts.0,
            offence: if offence.is_empty() { payload.offence } else { offence },
            confirms: Some(leaf),
            mode: terms.mode,
            stays,
            half: None,
        }
    }
}

impl Engine {
    /// An officer confirms or refutes a hit: that is recorded; after CONFIRM the step-2 question follows, once.
    pub(crate) fn examine(
        &mut self,
        now: Millis,
        ticket: Ticket,
        exchange: ExchangeId,
        officer: Officer,
        facts: Facts,
        finding: Finding,
    ) {
        let ask = match self.ask_of(exchange) {
            Ok(Some(ask)) => ask,
            Ok(None) => return self.tell(ticket, Conclusion::Unknown { exchange }),
            Err(text) => return self.store_unavailable(ticket, text),
        };
        let Some(candidate) = Candidate::of(exchange, &ask) else {
            let what = "only a step-1 question that was answered with a hit can be confirmed or refuted".to_owned();
            let errors = vec![("exchange".to_owned(), what, "'puente query status' says what came of it".to_owned())];
            return self.tell(ticket, Conclusion::Invalid { errors });
        };
        let (leaf, peer, exchange) = (candidate.leaf, candidate.peer.clone(), candidate.exchange);
        if matches!(finding, Finding::Confirmed { .. }) {
            match self.followed(&peer, exchange) {
                Ok(None) => {}
                Ok(Some(next)) => return self.tell(ticket, Conclusion::AlreadyConfirmed { exchange, next }),
                Err(text) => return self.store_unavailable(ticket, text),
            }
        }
        let complete = |e: &mut puente_wire::Event| {
            e.quoted = Some(leaf);
            e.exchange = Some(exchange);
            e.peer = Some(peer);
        };
        let lead = candidate.taken_up_by(officer);
        match finding {
            Finding::Refuted => {
                let refuted = lead.refute(facts);
                let event = refuted.lead.event(EventKind::Refute, &refuted.facts);
                self.record_event(now, event, complete, Then::Event(ticket));
            }
            Finding::Confirmed { due_at, urgency, justification, offence, stays } => {
                let confirmed = lead.confirm(facts);
                let event = confirmed.lead.event(EventKind::Confirm, &confirmed.facts);
                let draft = confirmed.question(due_at, urgency, justification, offence, stays);
                // What cannot be asked is not confirmed for asking.
                if let Err(errors) = self.check_draft(now, &draft) {
                    return self.tell(ticket, Conclusion::Invalid { errors });
                }
                self.tickets.insert(ticket, exchange);
                self.confirming.insert(exchange, None);
                self.record_event(now, event, complete, Then::Confirmed(ticket, exchange, Box::new(draft)));
            }
        }
    }

    /// What followed the CONFIRM of a step-1 exchange; none if it was not confirmed, or nothing came of it.
    fn followed(&self, peer: &NodeUri, exchange: ExchangeId) -> Result<Option<Option<ExchangeId>>, String> {
        if let Some(next) = self.confirming.get(&exchange) {
            return Ok(Some(*next));
        }
        let Some(bytes) = self.store.get(&persist::followed_key(peer, exchange))? else { return Ok(None) };
        let id = bytes.try_into().map_err(|_| "what followed a confirmed hit is not well formed".to_owned())?;
        Ok(Some(Some(ExchangeId(id))))
    }

    /// The CONFIRM stands: asks the step-2 question.
    pub(crate) fn confirmed_hit(&mut self, now: Millis, ticket: Ticket, exchange: ExchangeId, draft: Draft) {
        self.tickets.remove(&ticket);
        self.question(now, ticket, draft, Some(exchange));
        // What was not asked after all can be confirmed again.
        if self.confirming.get(&exchange) == Some(&None) {
            self.confirming.remove(&exchange);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn facts_are_stated_within_their_limits() {
        assert!(Facts::new("seen at the crossing\nwith these plates").is_ok());
        assert!(Facts::new(&"ñ".repeat(limits::FACTS_CHARS_MAX)).is_ok());
        for bad in ["", " \n ", "a\u{1b}[2J", &"ñ".repeat(limits::FACTS_CHARS_MAX + 1)] {
            assert_eq!(Facts::new(bad), Err(FactsError));
        }
        assert!(!format!("{:?}", Facts::new("ANA LOPEZ").unwrap()).contains("ANA"));
    }
}
