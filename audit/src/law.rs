//! What the charter says about an entry: membership, legal bases, versions, auditors.

use std::cell::RefCell;

use puente_charter::{Charter, LegalBasisError};
use puente_model::{CharterVector, Jurisdiction, LegalBasisId, Millis, Minute, NodeUri, Purpose};
use puente_wire::{SeedUse, Seeds, Terms};

use crate::class::Class;

/// Legal bases that are remembered as good.
const GOOD_MAX: usize = 64;

pub(crate) struct Law<'c> {
    charter: &'c Charter,
    vector: CharterVector,
    /// Bases that were found good: basis, purpose, asker's nation as text, and until when.
    good: RefCell<Vec<(LegalBasisId, Purpose, String, Millis)>>,
}

impl<'c> Law<'c> {
    pub(crate) fn new(charter: &'c Charter) -> Self {
        Self { charter, vector: charter.vector(), good: RefCell::default() }
    }

    /// The auditor's charter is not older than this.
    pub(crate) fn knows(&self, vector: &CharterVector) -> bool {
        self.vector.covers(vector)
    }

    /// The origin of a member's `k`-th log, if the charter names it.
    pub(crate) fn author_log(&self, author: &NodeUri, k: u32) -> Option<String> {
        let origin = author.origin(k).ok().filter(|origin| self.charter.member_by_origin(origin).is_some());
        origin.map(|origin| origin.to_string())
    }

    /// What is wrong with the legal basis of a question that `asker` asked.
    pub(crate) fn wrong_basis(&self, terms: &Terms, minute: Minute, asker: &NodeUri) -> Option<(Class, String)> {
        let (at, nation) = (minute.start(), nation_of(asker));
        let good = |(basis, purpose, of, until): &(LegalBasisId, Purpose, String, Millis)| {
            *purpose == terms.purpose && of == nation && at < *until && *basis == terms.basis
        };
        if self.good.borrow().iter().any(good) {
            return None;
        }
        let found = self.charter.legal_basis_for(&terms.basis, terms.purpose, &asker.jurisdiction(), at);
        if let Ok(basis) = &found
            && self.good.borrow().len() < GOOD_MAX
        {
            self.good.borrow_mut().push((basis.id.clone(), terms.purpose, nation.to_owned(), basis.expires));
        }
        let error = found.err()?;
        let class = match error {
            LegalBasisError::Unknown { .. } => Class::BasisUnknown,
            LegalBasisError::Expired { .. } => Class::BasisExpired,
            LegalBasisError::Purpose { .. } => Class::PurposeNotCovered,
            LegalBasisError::Jurisdiction { .. } => Class::BasisNotForNation,
        };
        Some((class, error.to_string()))
    }

    /// Why these seeds are not sealed to the right auditors.
    pub(crate) fn wrong_auditors(&self, seeds: &Seeds, own: &Jurisdiction) -> Option<String> {
        for seed in &seeds.seeds {
            let Some(auditor) = self.charter.auditor(&seed.auditor) else {
                return Some(format!("the charter names no auditor {}", seed.auditor));
            };
            if auditor.jurisdiction != seed.jurisdiction {
                return Some(format!("auditor {} is not of {}", seed.auditor, seed.jurisdiction));
            }
            if !auditor.seal_keys.iter().any(|key| key.quarter.as_str() == seed.quarter) {
                return Some(format!("auditor {} has no key of quarter {}", seed.auditor, seed.quarter));
            }
            if seeds.purpose == SeedUse::Headers && seed.jurisdiction != *own {
                return Some(format!("headers are sealed to {}, not of {own}", seed.auditor));
            }
        }
        match (seeds.purpose, seeds.seeds.as_slice()) {
            (SeedUse::Escrow, [first, second]) if first.auditor == second.auditor => {
                Some(format!("both shares go to {}", first.auditor))
            }
            _ => None,
        }
    }
}

/// The two letters of a node's nation.
pub(crate) fn nation_of(node: &NodeUri) -> &str {
    node.as_str().strip_prefix("puente://").and_then(|rest| rest.get(..2)).unwrap_or_default()
}
