//! Proofs of misbehaviour that need nobody's word: whoever has the charter can check them.

use std::collections::BTreeSet;

use puente_audit_log::{SignedCheckpoint, VerifierKey, verify_consistency};
use puente_model::{Digest, NodeUri};

use crate::entry::{Body, Entry};
use crate::name::LedgerOrigin;
use crate::rules::Rules;
use crate::tree::Leaves;

/// What was proven, and about whom.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Evidence {
    /// Witnesses cosigned two trees that disagree.
    DoubleSigned(DoubleSigned),
    /// A successor closed a ledger that was not silent.
    Premature(Premature),
}

/// Two heads of one ledger that cannot both be true, and who cosigned both.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DoubleSigned {
    /// The smaller tree.
    pub early: SignedCheckpoint,
    /// The larger tree, or one of the same size.
    pub late: SignedCheckpoint,
    /// The root that the larger tree has at the smaller one's size.
    pub prefix: Digest,
    /// The proof of that (RFC 9162, 2.1.4).
    pub proof: Vec<Digest>,
}

impl DoubleSigned {
    /// The witnesses that signed both; empty if the heads do not disagree or nobody signed both.
    pub fn by(&self, witnesses: &[VerifierKey]) -> BTreeSet<String> {
        let (early, late) = (&self.early, &self.late);
        let proven = verify_consistency(early.size(), late.size(), &self.prefix, &late.root(), &self.proof).is_ok();
        if early.origin() != late.origin() || !proven || self.prefix == early.root() {
            return BTreeSet::new();
        }
        let keys: Vec<&VerifierKey> = witnesses.iter().collect();
        let names = |head: &SignedCheckpoint| -> BTreeSet<String> {
            head.cosignatures(&keys).unwrap_or_default().into_iter().map(|signature| signature.name).collect()
        };
        names(early).intersection(&names(late)).cloned().collect()
    }

    /// The proof that `other` contradicts `mine`, whose leaves these are; none if it does not, or if it is larger.
    pub(crate) fn of(other: &SignedCheckpoint, mine: &SignedCheckpoint, leaves: &Leaves) -> Option<Self> {
        let prefix = leaves.root_at(other.size().0)?;
        let forks = other.origin() == mine.origin() && other.size() <= mine.size() && prefix != other.root();
        forks.then(|| Self {
            early: other.clone(),
            late: mine.clone(),
            prefix,
            proof: leaves.consistency(other.size()),
        })
    }
}

/// A CLOSE, and a sign of life of the ledger that it came too soon after.
///
/// Instants of one witness are compared with each other, so no two clocks need to agree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Premature {
    /// The entry.
    pub close: Entry,
    /// The head that ends in it, cosigned.
    pub head: SignedCheckpoint,
    /// An earlier head of the ledger, cosigned.
    pub before: SignedCheckpoint,
    /// The ledger's convener then.
    pub convener: NodeUri,
}

impl Premature {
    /// The successor that did not wait; none if it did.
    ///
    /// It waited if the witnesses that saw the full silence make the quorum: a sign of life that reached some witnesses
    /// while CLOSE was already on its way does not convict.
    pub fn by(&self, rules: &Rules) -> Option<NodeUri> {
        let draft = self.close.draft();
        let of_ledger = |head: &SignedCheckpoint| head.origin() == draft.ledger.to_string();
        let ends = self.head.size().0 == draft.index + 1 && self.before.size().0 <= draft.index;
        if !matches!(draft.body, Body::Close { .. }) || !of_ledger(&self.head) || !of_ledger(&self.before) || !ends {
            return None;
        }
        let keys = rules.keys(&draft.ledger);
        let by = self.close.signed_by(keys.iter().map(|(node, key)| (key, node)))?;
        let rank = rules.order(&self.convener).iter().position(|node| node == by)? as u64;
        let (closed, before) = (rules.quorum().check(&self.head).ok()?.at, rules.quorum().verified(&self.before).ok()?);
        let needed = rules.silence().saturating_mul(rank);
        let waited = closed.iter().filter(|(name, at)| {
            before
                .iter()
                .filter(|signature| signature.name == **name)
                .all(|signature| signature.at.is_none_or(|alive| at.since(alive) >= needed))
        });
        let waited = rules.quorum().is_met_by(waited.map(|(name, _)| name.as_str()));
        (rank > 0 && !waited).then(|| by.clone())
    }

    /// The ledger that was closed.
    pub fn ledger(&self) -> &LedgerOrigin {
        &self.close.draft().ledger
    }
}
