//! A question that this node puts to itself: everything that asking and answering needs is used once, by the very parts
//! that real questions use. Nothing is recorded, sent or kept of it, and nothing is said of what is found.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use puente_catalogue::SampleOf;
use puente_evidence::EscrowedEntry;
use puente_model::{
    Digest, ExchangeId, Handling, Millis, Mode, NodeUri, Purpose, RefusalReason, Role, Seq, Urgency, limits,
};
use puente_policy::{Direction, Request, Verdict};
use puente_wire::PairKind;
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng as _;

use crate::api::{Conclusion, Effect, Ticket};
use crate::engine::Engine;
use crate::persist;
use crate::seeds::Seeds;

/// The number of the sample that is asked about: its plates and serials are nobody's.
const INVENTED: u32 = 999_999;

/// Why a question to this node itself would fail. Nothing in it names a person.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Unable {
    /// The charter and its grace have ended, or it is not in force yet.
    #[error("the charter is not in force")]
    Charter,
    /// Nothing can be escrowed for any partner.
    #[error("{0}")]
    Escrow(String),
    /// A rule of this node does not evaluate: whatever is asked is refused.
    #[error("a policy rule could not be evaluated: {0}")]
    Rules(String),
    /// The catalogue makes no example of a question.
    #[error("the catalogue makes no question")]
    Catalogue,
    /// The evidence store.
    #[error("the evidence store cannot be read: {0}")]
    Store(String),
    /// The records.
    #[error("records of the type {record_type} cannot be looked up: {why}")]
    Records {
        /// Which.
        record_type: String,
        /// What the store said.
        why: String,
    },
}

impl Unable {
    /// The stable name, never translated.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Charter => "charter",
            Self::Escrow(_) => "escrow",
            Self::Rules(_) => "rules",
            Self::Catalogue => "catalogue",
            Self::Store(_) => "evidence-store",
            Self::Records { .. } => "records",
        }
    }
}

/// Trials under way: who waits, and the lookups that are still out.
#[derive(Debug, Default)]
pub(crate) struct Trials {
    /// Lookup → who waits for it, and its record type.
    lookups: HashMap<u64, (Ticket, String)>,
    /// Who waits → how many lookups are out.
    out: HashMap<Ticket, usize>,
}

impl Engine {
    /// Everything up to the records; these answer later.
    pub(crate) fn try_out(&mut self, now: Millis, ticket: Ticket) {
        match self.asked_here(now) {
            Err(unable) => self.tell(ticket, Conclusion::Tried(Err(unable))),
            Ok(lookups) => {
                self.trials.out.insert(ticket, lookups.len());
                for (record_type, keys) in lookups {
                    let lookup = self.next_lookup;
                    self.next_lookup += 1;
                    self.trials.lookups.insert(lookup, (ticket, record_type.clone()));
                    let (limit, mode) = (limits::RECORDS_PER_ANSWER_MAX, Mode::Open);
                    self.emit(Effect::Lookup { lookup, record_type, keys, limit, mode });
                }
            }
        }
    }

    /// The records of a trial came back; false if the lookup is none of a trial's. What was found is not looked at.
    pub(crate) fn tried(&mut self, lookup: u64, records: &Result<Vec<Vec<u8>>, String>) -> bool {
        let Some((ticket, record_type)) = self.trials.lookups.remove(&lookup) else { return false };
        let Some(out) = self.trials.out.get_mut(&ticket) else { return true };
        *out -= 1;
        let ended = match records {
            Err(why) => Some(Err(Unable::Records { record_type, why: why.clone() })),
            Ok(_) if *out == 0 => Some(Ok(())),
            Ok(_) => None,
        };
        if let Some(result) = ended {
            self.trials.out.remove(&ticket);
            self.tell(ticket, Conclusion::Tried(result));
        }
        true
    }

    /// What a question of each record type would look up here.
    #[allow(clippy::type_complexity)]
    fn asked_here(&mut self, now: Millis) -> Result<Vec<(String, Vec<(String, String)>)>, Unable> {
        if !self.charter.status(now).may_exchange() {
            return Err(Unable::Charter);
        }
        self.escrowed_here(now)?;
        self.store.get(&persist::hit_key(&[0; 32])).map_err(Unable::Store)?;
        let catalogue = std::sync::Arc::clone(&self.catalogue);
        let mut lookups = BTreeMap::<String, BTreeMap<String, String>>::new();
        for kind in catalogue.query_kinds() {
            let Some(record_type) = catalogue.record_type(kind.record_type()) else { continue };
            self.judged_here(now, kind.kind(), kind.steps().iter().map(|step| step.step))?;
            let of = SampleOf { number: INVENTED, agency: &self.node.agency(), now };
            let Ok(params) = kind.sample(record_type, &of) else { continue };
            let keys = kind.lookup_keys(&params).into_iter().map(|key| (key.name.to_string(), key.value));
            // All of a type's keys together: a mapping may serve some of them only.
            lookups.entry(record_type.name().to_owned()).or_default().extend(keys);
        }
        lookups.retain(|_, keys| !keys.is_empty());
        if lookups.is_empty() {
            return Err(Unable::Catalogue);
        }
        Ok(lookups.into_iter().map(|(record_type, keys)| (record_type, keys.into_iter().collect())).collect())
    }

    /// An opening can be escrowed for some partner: each side's auditors have keys in force.
    fn escrowed_here(&mut self, now: Millis) -> Result<(), Unable> {
        let mut nations: BTreeSet<_> = BTreeSet::new();
        for peer in self.peers.values().filter(|peer| peer.admitted) {
            nations.insert(self.nations(&peer.uri));
        }
        let mut rng = ChaCha20Rng::from_seed(self.random());
        let exchange = ExchangeId::new(self.log_number, Seq(1), [0; 8]);
        let commitment = Digest::default();
        let entry = EscrowedEntry { origin: &self.origin, exchange, kind: PairKind::Query, commitment };
        let mut last = None;
        for nations in nations {
            // Seeds of its own: those in use stay as they are.
            match Seeds::default().escrow(&self.charter, nations, &entry, &[0; 32], now, &mut rng) {
                Ok(_) => return Ok(()),
                Err(error) => last = Some(Unable::Escrow(error.to_string())),
            }
        }
        last.map_or(Ok(()), Err)
    }

    /// The rules evaluate, both ways and at every step. That they may refuse is their right.
    fn judged_here(
        &mut self,
        now: Millis,
        kind: &puente_model::QueryKind,
        steps: impl Iterator<Item = puente_model::Step>,
    ) -> Result<(), Unable> {
        let charter = std::sync::Arc::clone(&self.charter);
        let other: Option<&NodeUri> = self.peers.values().find(|peer| peer.admitted).map(|peer| &peer.uri);
        let other_roles = other.and_then(|uri| self.peers.get(uri)).map(|p| p.agency_roles.clone()).unwrap_or_default();
        let other = other.unwrap_or(&self.node).agency();
        let own = (self.node.agency(), self.own_roles.clone());
        for step in steps {
            for direction in [Direction::Outbound, Direction::Inbound] {
                let ((agency, agency_roles), (holder, holder_roles)) = match direction {
                    Direction::Outbound => (own.clone(), (other.clone(), other_roles.clone())),
                    Direction::Inbound => ((other.clone(), other_roles.clone()), own.clone()),
                };
                // A basis that carries the purpose, or no rule is asked at all.
                let carries = |purpose: Purpose| {
                    let ids = charter.legal_bases().iter().map(|basis| &basis.id);
                    let nation = agency.jurisdiction();
                    let mut fit = ids.filter(|id| charter.legal_basis_for(id, purpose, &nation, now).is_ok());
                    Some((purpose, fit.next()?.clone()))
                };
                let Some((purpose, basis)) = Purpose::ALL.iter().copied().find_map(carries) else { continue };
                let request = Request {
                    direction,
                    agency,
                    agency_roles,
                    holder,
                    holder_roles,
                    kind: kind.clone(),
                    step,
                    purpose,
                    basis,
                    officer_role: Role::Investigator,
                    urgency: Urgency::Routine,
                    mode: Mode::Open,
                    handling: Handling::H2,
                    offence: None,
                    facts_stated: true,
                    suspicion_stated: true,
                    case_stated: true,
                    order_stated: true,
                    bound: true,
                };
                if let Verdict::Refuse(refusal) = &*self.judge.judge(&request, now)
                    && refusal.reason == RefusalReason::Failed
                {
                    return Err(Unable::Rules(refusal.rule.clone().unwrap_or_default()));
                }
            }
        }
        Ok(())
    }
}
