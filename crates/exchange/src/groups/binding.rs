//! Exchanges bound to an epoch of a group that both are in: the content key opens only with that epoch's secret, too.
//!
//! The asker names group and epoch in its QUERY and keeps the secret before that is durable; the holder makes the same
//! secret as soon as it sees the QUERY. One that is at another epoch refuses (STALE_EPOCH), both catch up, and the asker puts
//! the question anew: once in the epoch that it is in then, and then in none, as far as its own rules let it.

use puente_corridor::Input as Told;
use puente_evidence::Psk;
use puente_ledger::GroupId;
use puente_model::{Digest, ExchangeId, Millis, NodeUri, RefusalReason, Secret32};
use puente_wire::{PairBody, QueryPayload, Terms};

use crate::api::{Conclusion, Draft, Ticket};
use crate::asker::{Asking, plain_conclusion};
use crate::engine::{Engine, Timer};
use crate::question::Manner;

/// How long both have to catch up before a question is put anew, by how often it was put.
const ANEW_MILLIS: [u64; 2] = [500, 2_000];

/// A question that was refused because the two were at different epochs, until it is put anew.
pub(crate) struct Anew {
    ticket: Option<Ticket>,
    draft: Box<Draft>,
    manner: Manner,
    /// What is said if it cannot be put anew.
    refused: Option<Conclusion>,
}

impl Manner {
    /// The last way to put it: without a group.
    const UNBOUND: u8 = ANEW_MILLIS.len() as u8;

    /// It is put in the epoch of the group of two, if there is one.
    pub(crate) const fn binds(&self) -> bool {
        self.round < Self::UNBOUND
    }
}

/// The pre-shared key of an exchange that belongs to a group, as the store keeps its secret: what HPKE takes. Its name is the
/// group's, and the epoch in 8 bytes.
pub(crate) fn with_psk<T>(terms: &Terms, secret: &[u8], act: impl FnOnce(Option<Psk<'_>>) -> T) -> T {
    let Ok(secret) = <[u8; 32]>::try_from(secret).map(Secret32::new) else { return act(None) };
    let id = [terms.group.as_bytes(), &terms.epoch.to_be_bytes()].concat();
    act(Some(Psk { secret: &secret, id: &id }))
}

impl Engine {
    /// The epoch that a question to this peer belongs to, if both are in a group of two.
    pub(crate) fn binding(&self, peer: &NodeUri) -> Option<(String, u64)> {
        let (group, epoch) = self.groups.corridors.as_ref()?.pair(peer)?;
        Some((group.as_str().to_owned(), epoch))
    }

    /// The secret of an exchange with `peer` whose QUERY has that leaf hash: empty if it belongs to no group, none if this node
    /// is not at that epoch of that group together with the peer.
    pub(crate) fn exchange_psk(&self, terms: &Terms, peer: &NodeUri, query: &Digest) -> Option<Vec<u8>> {
        if terms.group.is_empty() {
            return (terms.epoch == 0).then(Vec::new);
        }
        let group: GroupId = terms.group.parse().ok()?;
        let psk = self.groups.corridors.as_ref()?.psk(&group, terms.epoch, peer, query).ok()?;
        Some(psk.expose().to_vec())
    }

    /// The peer is at another epoch: whoever is behind learns what it lacks.
    pub(crate) fn catch_up_in_group(&mut self, now: Millis, terms: &Terms, peer: &NodeUri) {
        if let Ok(group) = terms.group.parse() {
            self.tell_groups(now, Told::Behind { group, than: peer.clone() });
        }
    }

    /// A question was refused for its epoch: it is put anew in a moment, if it can be. Whoever waits goes on waiting.
    pub(crate) fn refused_as_stale(&mut self, now: Millis, exchange: ExchangeId) -> bool {
        let Some(ask) = self.asks.get_mut(&exchange) else { return false };
        let stale = |ask: &Asking| match ask.answer.as_ref().map(|(pair, _)| &pair.body) {
            Some(PairBody::Refusal { reason, terms, .. }) if *reason == RefusalReason::StaleEpoch => {
                Some(terms.clone()).filter(|terms| !terms.group.is_empty())
            }
            _ => None,
        };
        let Some(terms) = stale(ask) else { return false };
        let Some(wait) = ANEW_MILLIS.get(usize::from(ask.manner.round)) else { return false };
        let due = now.plus(*wait);
        let Some(draft) = draft_again(ask, &terms).filter(|draft| draft.due_at > due) else { return false };
        let refused = plain_conclusion(exchange, ask);
        let manner =
            Manner { round: ask.manner.round + 1, instead_of: Some(exchange), said_to_group: false, ..ask.manner };
        let anew = Anew { ticket: ask.ticket.take(), draft: Box::new(draft), manner, refused };
        let peer = ask.peer.clone();
        if let Some(ticket) = anew.ticket {
            self.tickets.remove(&ticket);
        }
        self.groups.anew.insert(exchange, anew);
        self.at(due, Timer::Anew(exchange));
        self.catch_up_in_group(now, &terms, &peer);
        true
    }

    /// Whoever waits for a question that is about to be put anew waits for what comes of that.
    pub(crate) fn await_anew(&mut self, ticket: Ticket, exchange: ExchangeId) -> bool {
        let Some(anew) = self.groups.anew.get_mut(&exchange) else { return false };
        anew.draft.stays = true;
        if let Some(before) = anew.ticket.replace(ticket) {
            self.tell(before, Conclusion::Asked { exchange });
        }
        true
    }

    /// Nobody waits for it any more; a question that goes on by itself is put anew all the same.
    pub(crate) fn cancel_anew(&mut self, ticket: Ticket) {
        self.groups.anew.retain(|_, anew| anew.ticket != Some(ticket) || anew.draft.stays);
        let waits = self.groups.anew.values_mut().filter(|anew| anew.ticket == Some(ticket));
        waits.for_each(|anew| anew.ticket = None);
    }

    /// Puts a question anew that was refused for its epoch.
    pub(crate) fn ask_anew(&mut self, now: Millis, exchange: ExchangeId) {
        let Some(Anew { ticket, draft, manner, refused }) = self.groups.anew.remove(&exchange) else { return };
        let params = self.catalogue.query_kind(draft.kind.as_str());
        let params = params.and_then(|kind| kind.params_from_pairs(&draft.params).ok());
        let admitted = !self.draining && self.peers.get(&draft.to).is_some_and(|known| known.admitted);
        let put = match params {
            Some(params) if admitted && draft.officer.expires > now => {
                self.judged_outbound(now, &draft, &params, manner.binds()).is_ok()
                    && self.record_query(now, ticket, (&draft, manner), &params).is_ok()
            }
            _ => false,
        };
        if let (false, Some(ticket), Some(refused)) = (put, ticket, refused) {
            self.tell(ticket, refused);
        }
    }
}

/// The question as it was put, once more.
fn draft_again(ask: &Asking, terms: &Terms) -> Option<Draft> {
    let payload = QueryPayload::decode(&ask.stored.payload).ok()?;
    let handling = ask.query.terms()?.handling;
    Some(Draft {
        to: ask.peer.clone(),
        kind: terms.kind.clone(),
        step: terms.step,
        purpose: terms.purpose,
        basis: terms.basis.clone(),
        handling,
        mode: terms.mode,
        officer: payload.officer,
        case_ref: payload.case_ref,
        params: payload.params,
        urgency: payload.urgency,
        justification: payload.justification,
        facts_statement: payload.facts_statement,
        offence: payload.offence,
        confirms: payload.confirms,
        due_at: ask.due_at,
        stays: ask.stays,
        half: None,
    })
}
