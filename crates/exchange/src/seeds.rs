//! The seeds in use: fresh for each set of nations, new every hour and after every start.

use std::collections::BTreeMap;

use puente_charter::Charter;
use puente_evidence::{AuditorKey, EscrowSeeds, EscrowedEntry, HeaderSeed};
use puente_model::{Digest, Jurisdiction, Millis, Secret32};
use puente_wire::{Entry, proto};
use rand_chacha::ChaCha20Rng;

/// Why nothing can be escrowed or veiled now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NoSeeds {
    #[error(
        "the charter names no two auditors with a sealing key of this quarter: its governance bodies must add them"
    )]
    Auditors,
    #[error("the opening does not fit into an escrow")]
    TooLarge,
}

/// Seeds live in memory only.
#[derive(Debug, Default)]
pub(crate) struct Seeds {
    escrow: BTreeMap<(Jurisdiction, Jurisdiction), EscrowSeeds>,
    headers: Option<HeaderSeed>,
}

/// Something made with a seed, and the Seeds entry to be recorded before it, if the seed is new.
pub(crate) struct Made<T> {
    pub(crate) value: T,
    pub(crate) entry: Option<Vec<u8>>,
}

fn keys_of(charter: &Charter, nation: &Jurisdiction, now: Millis) -> Vec<AuditorKey> {
    let key = |auditor: &puente_charter::Auditor| {
        let (quarter, key) = auditor.seal_key(now)?;
        Some(AuditorKey {
            jurisdiction: nation.clone(),
            auditor: auditor.name.clone(),
            quarter: quarter.to_owned(),
            key,
        })
    };
    charter.auditors(nation).iter().filter_map(key).collect()
}

impl Seeds {
    /// Escrows an opening for one auditor of each nation (two of the own for a domestic exchange).
    pub(crate) fn escrow(
        &mut self,
        charter: &Charter,
        nations: (Jurisdiction, Jurisdiction),
        entry: &EscrowedEntry<'_>,
        opening: &[u8],
        now: Millis,
        rng: &mut ChaCha20Rng,
    ) -> Result<Made<(proto::Escrow, Digest)>, NoSeeds> {
        let nations = if nations.0 <= nations.1 { nations } else { (nations.1, nations.0) };
        let mut fresh = None;
        if !self.escrow.get(&nations).is_some_and(|seeds| seeds.alive(now)) {
            let first = keys_of(charter, &nations.0, now);
            let pair = if nations.0 == nations.1 {
                first.into_iter().take(2).collect::<Vec<_>>()
            } else {
                first.into_iter().take(1).chain(keys_of(charter, &nations.1, now).into_iter().take(1)).collect()
            };
            let pair: [AuditorKey; 2] = pair.try_into().map_err(|_| NoSeeds::Auditors)?;
            let (seeds, announced) = EscrowSeeds::generate(&pair, now.minute(), rng).map_err(|_| NoSeeds::Auditors)?;
            self.escrow.insert(nations.clone(), seeds);
            fresh = Some(Entry::Seeds(announced).encode());
        }
        let seeds = self.escrow.get(&nations).ok_or(NoSeeds::Auditors)?;
        let value = seeds.escrow(entry, opening, now).map_err(|_| NoSeeds::TooLarge)?;
        Ok(Made { value, entry: fresh })
    }

    /// Seals a veiled entry's header to every own auditor.
    pub(crate) fn seal_header(
        &mut self,
        charter: &Charter,
        nation: &Jurisdiction,
        veiled: (Digest, &Secret32, &[u8]),
        now: Millis,
        rng: &mut ChaCha20Rng,
    ) -> Result<Made<proto::SealedHeader>, NoSeeds> {
        let mut fresh = None;
        if !self.headers.as_ref().is_some_and(|seed| seed.alive(now)) {
            let auditors = keys_of(charter, nation, now);
            let (seed, announced) =
                HeaderSeed::generate(&auditors, now.minute(), rng).map_err(|_| NoSeeds::Auditors)?;
            self.headers = Some(seed);
            fresh = Some(Entry::Seeds(announced).encode());
        }
        let seed = self.headers.as_ref().ok_or(NoSeeds::Auditors)?;
        let (leaf, salt, header) = veiled;
        let value = seed.seal(leaf, salt, header, now).map_err(|_| NoSeeds::TooLarge)?;
        Ok(Made { value, entry: fresh })
    }
}
