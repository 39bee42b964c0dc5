//! Fresh seeds, sealed to auditors.

use puente_model::{Digest, Jurisdiction, Millis, Minute, Secret32, digest, limits};
use puente_wire::{Entry, SealedSeed, SeedUse, Seeds, label};
use rand_core::CryptoRngCore;
use subtle::ConstantTimeEq as _;

use crate::guard::leaf_hash;
use crate::hpke::{self, HpkeError, HpkeKeyPair};
use crate::keys::framed;

/// An auditor's public key of a quarter, from the charter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditorKey {
    /// The auditor's nation.
    pub jurisdiction: Jurisdiction,
    /// The auditor's name in the charter.
    pub auditor: String,
    /// The key's quarter, for example `2026Q4`.
    pub quarter: String,
    /// X25519 public key.
    pub key: [u8; 32],
}

/// Why a seed was not sealed or opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SeedError {
    /// Header seeds are sealed to 1 to 64 auditors.
    #[error("a header seed is sealed to 1 to 64 auditors, not to {0}: check the charter's auditors")]
    Auditors(usize),
    /// Two seeds for one auditor: it could open alone.
    #[error("the two escrow seeds must go to two different auditors with two different keys")]
    SameAuditor,
    /// HPKE failed.
    #[error("the seed: {0}")]
    Hpke(#[from] HpkeError),
    /// The seed opens, but is not the one that was committed.
    #[error("the seed is not the one that its entry commits to: the node that wrote the entry is at fault")]
    Commitment,
}

/// What an auditor's sealed seed is bound to: `framed(SEED, jurisdiction, auditor, quarter)`.
fn info(jurisdiction: &Jurisdiction, auditor: &str, quarter: &str) -> Vec<u8> {
    framed(label::SEED, &[jurisdiction.as_str().as_bytes(), auditor.as_bytes(), quarter.as_bytes()])
}

/// `digest(SEED, seed)`.
fn commitment(seed: &Secret32) -> Digest {
    digest(label::SEED, &[seed.expose()])
}

pub(crate) fn seal_seed(
    seed: &Secret32,
    to: &AuditorKey,
    rng: &mut impl CryptoRngCore,
) -> Result<SealedSeed, SeedError> {
    let sealed = hpke::seal(&to.key, None, &info(&to.jurisdiction, &to.auditor, &to.quarter), seed, rng)?;
    Ok(SealedSeed {
        jurisdiction: to.jurisdiction.clone(),
        auditor: to.auditor.clone(),
        quarter: to.quarter.clone(),
        commitment: commitment(seed),
        enc: sealed.enc.to_vec(),
        ciphertext: sealed.ciphertext,
    })
}

/// An auditor opens a seed that was sealed to its key of the quarter.
///
/// # Errors
/// [`SeedError::Hpke`] if it was sealed to another; [`SeedError::Commitment`] convicts the entry's author.
pub fn open_seed(key: &HpkeKeyPair, sealed: &SealedSeed) -> Result<Secret32, SeedError> {
    let info = info(&sealed.jurisdiction, &sealed.auditor, &sealed.quarter);
    let seed = hpke::open(key, None, &info, &sealed.enc, &sealed.ciphertext)?;
    if bool::from(commitment(&seed).0.ct_eq(&sealed.commitment.0)) { Ok(seed) } else { Err(SeedError::Commitment) }
}

/// The entry that announces seeds, and the leaf hash by which others quote it.
pub(crate) fn announce(purpose: SeedUse, minute: Minute, seeds: Vec<SealedSeed>) -> (Seeds, Digest) {
    let entry = Seeds { purpose, minute, seeds };
    let leaf = leaf_hash(&Entry::Seeds(entry.clone()).encode());
    (entry, leaf)
}

/// Whether seeds of `minute` may still be used: for one hour from the start of that minute.
pub(crate) fn alive(minute: Minute, now: Millis) -> bool {
    now >= minute.start() && now.since(minute.start()) < limits::ESCROW_SEED_MILLIS
}

#[cfg(test)]
mod tests;
