//! What several modules' tests need.

use puente_model::{
    CharterVector, CountBand, Digest, ExchangeId, FieldClass, Handling, Minute, Mode, Outcome, Purpose, Seq, Step,
};
use puente_wire::{Pair, PairBody, Terms};
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng as _;

use crate::{AuditorKey, HpkeKeyPair};

pub(crate) fn rng(seed: u64) -> ChaCha20Rng {
    ChaCha20Rng::seed_from_u64(seed)
}

/// An auditor and its public key.
pub(crate) fn auditor(jurisdiction: &str, name: &str, seed: u64) -> (HpkeKeyPair, AuditorKey) {
    let pair = HpkeKeyPair::generate(&mut rng(seed)).unwrap();
    let key = AuditorKey {
        jurisdiction: jurisdiction.parse().unwrap(),
        auditor: name.to_owned(),
        quarter: "2026Q4".to_owned(),
        key: *pair.public(),
    };
    (pair, key)
}

/// An ANSWER with this commitment, by a Mexican node to `to`.
pub(crate) fn answer(to: &str, commitment: Digest) -> Pair {
    Pair {
        from: "puente://mx/fge-bc/n1".parse().unwrap(),
        to: to.parse().unwrap(),
        log: 1,
        seq: Seq(7),
        minute: Minute(29_000_000),
        charter: CharterVector::default(),
        policy_hash: Digest::of(b"policy"),
        body: PairBody::Answer {
            terms: Terms {
                exchange: ExchangeId([3; 16]),
                kind: "vehicle.status".parse().unwrap(),
                step: Step::CoreData,
                purpose: Purpose::VehicleRecovery,
                basis: "treaty-1".parse().unwrap(),
                handling: Handling::H0,
                group: String::new(),
                epoch: 0,
                mode: Mode::Open,
            },
            outcome: Outcome::CoreData,
            field_class: FieldClass::Identifying,
            count: CountBand::UnderFive,
            commitment,
            escrow: Digest::of(b"escrow"),
            quoted: Digest::of(b"query"),
        },
    }
}

/// `bytes` with every single bit of one byte, at every place in turn, flipped.
pub(crate) fn flips(bytes: &[u8]) -> impl Iterator<Item = Vec<u8>> + '_ {
    (0..bytes.len()).map(|i| {
        let mut changed = bytes.to_vec();
        changed[i] ^= 1 << (i % 8);
        changed
    })
}

/// `bytes` cut short at every length, and with one byte too many.
pub(crate) fn wrong_lengths(bytes: &[u8]) -> impl Iterator<Item = Vec<u8>> + '_ {
    (0..bytes.len()).map(|n| bytes[..n].to_vec()).chain([[bytes, &[0]].concat()])
}
