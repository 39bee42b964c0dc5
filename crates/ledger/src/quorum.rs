//! Whether enough witnesses cosigned (C2SP tlog-policy), and which are still wanted.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use puente_audit_log::{KeyKind, NoteError, SignedCheckpoint, VerifiedSignature, VerifierKey};
use puente_charter::{OwnedWitnessPolicy, WitnessPolicy};
use puente_model::Millis;

/// Why a policy orders nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum QuorumError {
    /// Without witnesses nothing keeps a proposer from showing two ledgers.
    #[error("the charter names no witnesses: a group's commits are ordered by witnesses of every nation; name them")]
    NoWitnesses,
    /// Two quorums need not share a witness.
    #[error(
        "two quorums of the charter's witnesses need not share one: groups need majorities, in at least one nation"
    )]
    Apart,
    /// Too few of its witnesses have keys of a kind that is understood here.
    #[error("the charter's quorum cannot be reached with cosignature/v1 keys: {names} have keys of another kind")]
    Unreachable {
        /// The witnesses whose keys are not understood.
        names: String,
    },
}

/// The quorum of one charter: its witnesses, their keys, and who of them must cosign.
#[derive(Clone)]
pub struct Quorum {
    policy: OwnedWitnessPolicy,
    keys: Vec<VerifierKey>,
}

/// Enough witnesses cosigned, each at the instant that it states by its own clock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Met {
    /// The newest instant of each witness that cosigned.
    pub at: BTreeMap<String, Millis>,
}

/// Not enough witnesses cosigned.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the quorum of witnesses is not met; cosignatures of these would help: {}", names.join(", "))]
pub struct Missing {
    /// Whose cosignatures would help.
    pub names: Vec<String>,
}

/// Why a head does not count.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotCosigned {
    /// Too few cosignatures.
    #[error(transparent)]
    Missing(#[from] Missing),
    /// A witness's line is there and does not hold.
    #[error(transparent)]
    Note(#[from] NoteError),
}

impl Quorum {
    /// The quorum of a charter.
    ///
    /// # Errors
    /// There are no witnesses, or too few whose cosignatures can be checked.
    pub fn of(policy: &WitnessPolicy<'_>) -> Result<Self, QuorumError> {
        if policy.is_none() {
            return Err(QuorumError::NoWitnesses);
        }
        if !policy.overlaps() {
            return Err(QuorumError::Apart);
        }
        let keys = policy.witnesses().iter().filter_map(|witness| witness.vkey.parse::<VerifierKey>().ok());
        let keys: Vec<VerifierKey> = keys.filter(|key| key.kind() == KeyKind::CosignatureV1).collect();
        let known: BTreeSet<&str> = keys.iter().map(VerifierKey::name).collect();
        if !policy.is_met_by(&known) {
            let names = policy.witnesses().iter().map(|w| w.name.as_str()).filter(|name| !known.contains(name));
            return Err(QuorumError::Unreachable { names: names.collect::<Vec<_>>().join(", ") });
        }
        Ok(Self { policy: (*policy).into(), keys })
    }

    /// The witnesses' keys; a witness is called as its key is.
    pub fn keys(&self) -> &[VerifierKey] {
        &self.keys
    }

    /// A witness's key.
    pub fn key(&self, witness: &str) -> Option<&VerifierKey> {
        self.keys.iter().find(|key| key.name() == witness)
    }

    /// Whether these cosignatures, verified, make the quorum. A witness counts once, whatever it signed how often; a
    /// signature that states no instant is no cosignature.
    ///
    /// # Errors
    /// Whose cosignatures would help.
    pub fn met(&self, signatures: &[VerifiedSignature]) -> Result<Met, Missing> {
        let mut at = BTreeMap::new();
        for signature in signatures {
            let known = self.key(&signature.name).is_some_and(|key| key.id() == signature.id);
            if let (true, Some(instant)) = (known, signature.at) {
                let newest = at.entry(signature.name.clone()).or_insert(instant);
                *newest = instant.max(*newest);
            }
        }
        let names: BTreeSet<&str> = at.keys().map(String::as_str).collect();
        let policy = self.policy.policy();
        if policy.is_met_by(&names) {
            return Ok(Met { at });
        }
        let names = policy.missing(&names);
        Err(Missing { names: names.into_iter().map(str::to_owned).collect() })
    }

    /// Whether a head bears the quorum's cosignatures.
    ///
    /// # Errors
    /// Too few, or one that does not hold.
    pub fn check(&self, head: &SignedCheckpoint) -> Result<Met, NotCosigned> {
        Ok(self.met(&self.verified(head)?)?)
    }

    /// Whether the lines that a head bears, if they held, would be enough: nothing is verified.
    pub(crate) fn may_be_met(&self, head: &SignedCheckpoint) -> bool {
        let there = |key: &&VerifierKey| head.signatures().iter().any(|line| line.names(key));
        self.is_met_by(self.keys.iter().filter(there).map(VerifierKey::name))
    }

    /// The cosignatures of this quorum's witnesses that a head bears.
    ///
    /// # Errors
    /// One does not hold.
    pub fn verified(&self, head: &SignedCheckpoint) -> Result<Vec<VerifiedSignature>, NoteError> {
        head.cosignatures(&self.keys.iter().collect::<Vec<_>>())
    }

    /// Whether the quorum can be met by these witnesses.
    pub fn is_met_by<'n>(&self, names: impl IntoIterator<Item = &'n str>) -> bool {
        let names: BTreeSet<&str> = names.into_iter().collect();
        self.policy.policy().is_met_by(&names)
    }
}

impl fmt::Debug for Quorum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Quorum({} of {} witnesses)", self.policy.policy().quorum(), self.keys.len())
    }
}
