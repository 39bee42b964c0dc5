//! What the charter says about an entry: membership, legal bases, versions, auditors.

use std::cell::RefCell;
use std::collections::HashMap;

use puente_charter::{Charter, LegalBasisError};
use puente_model::{CharterVector, Jurisdiction, Minute, NodeUri};
use puente_wire::{SeedUse, Seeds, Terms};

use crate::class::Class;

pub(crate) struct Law<'c> {
    charter: &'c Charter,
    vector: CharterVector,
    /// Origins of the charter by author and log number.
    origins: RefCell<HashMap<(NodeUri, u32), Option<String>>>,
}

impl<'c> Law<'c> {
    pub(crate) fn new(charter: &'c Charter) -> Self {
        Self { charter, vector: charter.vector(), origins: RefCell::default() }
    }

    /// The auditor's charter is not older than this.
    pub(crate) fn knows(&self, vector: &CharterVector) -> bool {
        self.vector.covers(vector)
    }

    /// The origin of a member's `k`-th log, if the charter names it.
    pub(crate) fn author_log(&self, author: &NodeUri, k: u32) -> Option<String> {
        let place = (author.clone(), k);
        if let Some(known) = self.origins.borrow().get(&place) {
            return known.clone();
        }
        let origin = author.origin(k).ok().filter(|origin| self.charter.member_by_origin(origin).is_some());
        let origin = origin.map(|origin| origin.to_string());
        let mut origins = self.origins.borrow_mut();
        if origins.len() < 65_536 {
            origins.insert(place, origin.clone());
        }
        origin
    }

    /// What is wrong with the legal basis of a question that `asker` asked.
    pub(crate) fn wrong_basis(&self, terms: &Terms, minute: Minute, asker: &NodeUri) -> Option<(Class, String)> {
        let found = self.charter.legal_basis_for(&terms.basis, terms.purpose, &asker.jurisdiction(), minute.start());
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
