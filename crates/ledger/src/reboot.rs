//! A lost or split slot ends in a reboot: what people of every nation sign, and no rule decides.

use std::collections::BTreeSet;
use std::fmt;

use ed25519_dalek::VerifyingKey;
use puente_charter::{Charter, PartSignature};
use puente_model::{Digest, Jurisdiction, Label, NodeUri, digest};

use crate::name::LedgerOrigin;

/// Signatures that one reboot may bear.
pub const REBOOT_SIGNATURES_MAX: usize = 64;

/// Where a group's order goes on, and after what. Unsigned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RebootTerms {
    /// The ledger that is given up.
    pub ledger: LedgerOrigin,
    /// How many of its entries count.
    pub size: u64,
    /// The root over them.
    pub root: Digest,
    /// The ledger in which the group goes on: a later one.
    pub next: LedgerOrigin,
    /// Who convenes it.
    pub convener: NodeUri,
}

impl fmt::Display for RebootTerms {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { ledger, size, root, next, convener } = self;
        write!(f, "{ledger} ends at size {size}, root {root}; {next} goes on, convened by {convener}")
    }
}

impl RebootTerms {
    /// What governance keys sign: `digest("puente/v1/ledger/reboot", [ledger, u64be size, root, next, convener])`, in the
    /// place of a charter part's hash.
    pub fn hash(&self) -> Digest {
        let (ledger, next) = (self.ledger.to_string(), self.next.to_string());
        let size = self.size.to_be_bytes();
        let parts: [&[u8]; 5] =
            [ledger.as_bytes(), &size, self.root.as_bytes(), next.as_bytes(), self.convener.as_str().as_bytes()];
        digest(Label("puente/v1/ledger/reboot"), &parts)
    }
}

/// Why a reboot was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RebootError {
    /// It does not lead to a later ledger of the same group.
    #[error("a reboot leads to a later ledger of the same group")]
    Next,
    /// Its convener is in no nation of the charter.
    #[error("{0}, which is to convene, is no member of the charter, or suspended")]
    Convener(NodeUri),
    /// More signatures than are read.
    #[error("a reboot bears at most {REBOOT_SIGNATURES_MAX} signatures")]
    TooManySignatures,
    /// A signature that does not hold.
    #[error("the signature of {0} does not hold, or the charter has no such governance key")]
    BadSignature(String),
    /// Too few keys of a nation signed.
    #[error("{found} of the {need} governance keys needed of {nation} signed the reboot")]
    Threshold {
        /// The nation.
        nation: Jurisdiction,
        /// How many signed.
        found: usize,
        /// How many must.
        need: usize,
    },
}

/// A reboot that the governance keys of every nation signed. It exists only verified, here or before this node recorded it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reboot {
    terms: RebootTerms,
    signatures: Vec<PartSignature>,
}

impl Reboot {
    /// Checks the signatures against a verified charter: every nation's threshold, by distinct keys, and none that does
    /// not hold.
    ///
    /// # Errors
    /// What is missing or wrong.
    pub fn verify(terms: RebootTerms, signatures: &[PartSignature], charter: &Charter) -> Result<Self, RebootError> {
        if terms.next.group() != terms.ledger.group() || terms.next.number() <= terms.ledger.number() {
            return Err(RebootError::Next);
        }
        if charter.member(&terms.convener).is_none_or(|member| member.suspended) {
            return Err(RebootError::Convener(terms.convener));
        }
        if signatures.len() > REBOOT_SIGNATURES_MAX {
            return Err(RebootError::TooManySignatures);
        }
        let hash = terms.hash();
        let mut signed: BTreeSet<&[u8; 32]> = BTreeSet::new();
        let nations = &charter.common().jurisdictions;
        for signature in signatures {
            let keys = nations.iter().flat_map(|nation| &nation.governance_keys);
            let by = keys
                .filter(|key| key.name == signature.key_name)
                .find(|key| VerifyingKey::from_bytes(&key.key).is_ok_and(|key| signature.verifies(&hash, &key)));
            signed.insert(&by.ok_or_else(|| RebootError::BadSignature(signature.key_name.clone()))?.key);
        }
        for nation in nations {
            let found = nation.governance_keys.iter().filter(|key| signed.contains(&key.key)).count();
            let need = nation.threshold as usize;
            if found < need {
                return Err(RebootError::Threshold { nation: nation.code.clone(), found, need });
            }
        }
        Ok(Self { terms, signatures: signatures.to_vec() })
    }

    /// Of this node's own record.
    pub(crate) const fn recorded(terms: RebootTerms, signatures: Vec<PartSignature>) -> Self {
        Self { terms, signatures }
    }

    /// What it says.
    pub const fn terms(&self) -> &RebootTerms {
        &self.terms
    }

    /// The signatures that it was verified by: whoever else has the charter verifies it by them.
    pub fn signatures(&self) -> &[PartSignature] {
        &self.signatures
    }
}
