use proptest::prelude::*;
use puente_wire::Entry;

use super::*;
use crate::testing::{auditor, flips, rng, wrong_lengths};
use crate::{HpkeError, HpkeKeyPair, open_seed};

const MINUTE: Minute = Minute(29_000_000);

struct World {
    keys: [HpkeKeyPair; 2],
    seeds: EscrowSeeds,
    entry: Seeds,
    origin: Origin,
}

impl World {
    fn new(seed: u64) -> Self {
        let (first, a) = auditor("mx", "asf", seed);
        let (second, b) = auditor("us", "gao", seed.wrapping_add(1));
        let (seeds, entry) = EscrowSeeds::generate(&[a, b], MINUTE, &mut rng(seed.wrapping_add(2))).unwrap();
        Self { keys: [first, second], seeds, entry, origin: "mx/fge-bc/n1/log1".parse().unwrap() }
    }

    fn name(&self) -> EscrowedEntry<'_> {
        EscrowedEntry {
            origin: &self.origin,
            exchange: ExchangeId([1; 16]),
            kind: PairKind::Query,
            commitment: Digest::of(b"commitment"),
        }
    }

    /// What the two auditors release for the named entry, from the log's Seeds entry alone.
    fn shares(&self, name: &EscrowedEntry<'_>) -> [Secret32; 2] {
        [0, 1].map(|i| share_for(&open_seed(&self.keys[i], &self.entry.seeds[i]).unwrap(), name))
    }
}

#[test]
fn two_auditors_open_together() {
    let world = World::new(1);
    let name = world.name();
    let (escrow, hash) = world.seeds.escrow(&name, b"the opening", MINUTE.start()).unwrap();
    let checked = CheckedEscrow::check(&escrow, hash).unwrap();
    assert_eq!(checked.seeds, world.seeds.leaf());
    assert!(checked.quotes(&Entry::Seeds(world.entry.clone()).encode()));
    assert!(!checked.quotes(b"another entry"));
    let [first, second] = world.shares(&name);
    assert_eq!(checked.check_share(Share::First, &first), Ok(()));
    assert_eq!(checked.check_share(Share::Second, &second), Ok(()));
    assert_eq!(checked.open(&first, &second).unwrap().as_slice(), b"the opening");
}

#[test]
fn one_nations_seed_opens_nothing() {
    let world = World::new(1);
    let name = world.name();
    let (escrow, hash) = world.seeds.escrow(&name, b"the opening", MINUTE.start()).unwrap();
    let checked = CheckedEscrow::check(&escrow, hash).unwrap();
    let [first, second] = world.shares(&name);
    for (mine, which) in [(&first, Share::Second), (&second, Share::First)] {
        // Whatever stands in for the other nation's share: its own again, nothing, or a guess.
        for guess in [mine.clone(), Secret32::new([0; 32]), Secret32::new([0xff; 32])] {
            let (one, two) = if which == Share::Second { (mine, &guess) } else { (&guess, mine) };
            assert_eq!(checked.open(one, two).unwrap_err(), EscrowError::WrongShare(which));
            // Nor does the blob itself give way where the share hash is not looked at.
            assert!(open_once(&joined(one, two), label::ESCROW, &checked.blob).is_none());
        }
        assert!(open_once(mine, label::ESCROW, &checked.blob).is_none());
    }
    assert!(checked.open(&second, &first).is_err());
    // Nor does either auditor's key open the other's sealed seed.
    for (mine, theirs) in [(0, 1), (1, 0)] {
        let error = open_seed(&world.keys[mine], &world.entry.seeds[theirs]).unwrap_err();
        assert_eq!(error, SeedError::Hpke(HpkeError::NotForThisKey));
    }
}

#[test]
fn a_share_opens_the_named_entry_only() {
    let world = World::new(1);
    let name = world.name();
    let (escrow, hash) = world.seeds.escrow(&name, b"opening", MINUTE.start()).unwrap();
    let checked = CheckedEscrow::check(&escrow, hash).unwrap();
    let other_origin = "mx/fge-bc/n1/log2".parse().unwrap();
    for other in [
        EscrowedEntry { origin: &other_origin, ..name },
        EscrowedEntry { exchange: ExchangeId([2; 16]), ..name },
        EscrowedEntry { kind: PairKind::Answer, ..name },
        EscrowedEntry { commitment: Digest::of(b"other"), ..name },
    ] {
        let [first, second] = world.shares(&other);
        assert_eq!(checked.check_share(Share::First, &first), Err(EscrowError::WrongShare(Share::First)));
        assert_eq!(checked.check_share(Share::Second, &second), Err(EscrowError::WrongShare(Share::Second)));
    }
}

#[test]
fn every_changed_byte_is_noticed() {
    let world = World::new(1);
    let (escrow, hash) = world.seeds.escrow(&world.name(), b"opening", MINUTE.start()).unwrap();
    let check = |escrow: &proto::Escrow| CheckedEscrow::check(escrow, hash).unwrap_err();
    for blob in flips(&escrow.blob) {
        assert_eq!(check(&proto::Escrow { blob, ..escrow.clone() }), EscrowError::Hash);
    }
    for seeds in flips(&escrow.seeds) {
        assert_eq!(check(&proto::Escrow { seeds, ..escrow.clone() }), EscrowError::Hash);
    }
    for share_hash_1 in flips(&escrow.share_hash_1) {
        assert_eq!(check(&proto::Escrow { share_hash_1, ..escrow.clone() }), EscrowError::Hash);
    }
    for share_hash_2 in flips(&escrow.share_hash_2) {
        assert_eq!(check(&proto::Escrow { share_hash_2, ..escrow.clone() }), EscrowError::Hash);
    }
    for hash in flips(hash.as_bytes()) {
        let hash = Digest::try_from(hash.as_slice()).unwrap();
        assert_eq!(CheckedEscrow::check(&escrow, hash).unwrap_err(), EscrowError::Hash);
    }
    for blob in wrong_lengths(&escrow.blob) {
        assert_eq!(check(&proto::Escrow { blob, ..escrow.clone() }), EscrowError::Field("blob"));
    }
    for seeds in wrong_lengths(&escrow.seeds) {
        assert_eq!(check(&proto::Escrow { seeds, ..escrow.clone() }), EscrowError::Field("seeds"));
    }
    for share_hash_2 in wrong_lengths(&escrow.share_hash_2) {
        assert_eq!(check(&proto::Escrow { share_hash_2, ..escrow.clone() }), EscrowError::Field("share_hash_2"));
    }
    let blob = vec![0; 2 * padded(limits::ESCROW_OPENING_BYTES_MAX) + TAG_BYTES];
    let bytes = blob.len() - TAG_BYTES;
    assert_eq!(check(&proto::Escrow { blob, ..escrow.clone() }), EscrowError::TooLarge { bytes });
}

#[test]
fn a_lying_author_is_named() {
    // Honest shares, a blob of noise: the escrow hash covers it, the auditors see it.
    let world = World::new(1);
    let [first, second] = world.shares(&world.name());
    let lie = CheckedEscrow {
        seeds: world.seeds.leaf(),
        share_hashes: [share_hash(&first), share_hash(&second)],
        blob: vec![0; PADDED_MIN + TAG_BYTES],
    };
    assert_eq!(lie.open(&first, &second).unwrap_err(), EscrowError::DoesNotOpen);
    // A plaintext that is not padded as it should be.
    let mut bad = vec![0; PADDED_MIN];
    bad[..4].copy_from_slice(&1000u32.to_be_bytes());
    let blob = seal_once(&joined(&first, &second), label::ESCROW, &bad).unwrap();
    assert_eq!(CheckedEscrow { blob, ..lie }.open(&first, &second).unwrap_err(), EscrowError::DoesNotOpen);
}

#[test]
fn openings_of_like_size_look_alike() {
    let world = World::new(1);
    let size = |n: usize| {
        let (escrow, hash) = world.seeds.escrow(&world.name(), &vec![7; n], MINUTE.start()).unwrap();
        assert_eq!(CheckedEscrow::check(&escrow, hash).unwrap().blob.len(), escrow.blob.len());
        escrow.blob.len() - TAG_BYTES
    };
    assert_eq!([0, 1, 252, 253, 508, 509].map(size), [256, 256, 256, 512, 512, 1024]);
    assert_eq!(size(limits::ESCROW_OPENING_BYTES_MAX), 128 * 1024);
    let bytes = limits::ESCROW_OPENING_BYTES_MAX + 1;
    assert_eq!(
        world.seeds.escrow(&world.name(), &vec![7; bytes], MINUTE.start()).unwrap_err(),
        EscrowError::TooLarge { bytes }
    );
}

#[test]
fn dead_seeds_escrow_nothing() {
    let world = World::new(1);
    let end = MINUTE.start().plus(limits::ESCROW_SEED_MILLIS);
    assert!(world.seeds.escrow(&world.name(), b"", Millis(end.0 - 1)).is_ok());
    assert_eq!(world.seeds.escrow(&world.name(), b"", end).unwrap_err(), EscrowError::Expired);
    assert_eq!(world.seeds.escrow(&world.name(), b"", Millis(MINUTE.start().0 - 1)).unwrap_err(), EscrowError::Expired);
}

#[test]
fn one_auditor_cannot_be_both() {
    let (_, a) = auditor("mx", "asf", 1);
    let (_, b) = auditor("mx", "inai", 2);
    let generate = |pair: [AuditorKey; 2]| EscrowSeeds::generate(&pair, MINUTE, &mut rng(1)).map(|_| ());
    assert_eq!(generate([a.clone(), a.clone()]), Err(SeedError::SameAuditor));
    assert_eq!(generate([a.clone(), AuditorKey { key: a.key, ..b.clone() }]), Err(SeedError::SameAuditor));
    assert_eq!(generate([a.clone(), AuditorKey { key: b.key, ..a.clone() }]), Err(SeedError::SameAuditor));
    // A domestic exchange: two auditors of one nation.
    assert_eq!(generate([a.clone(), b.clone()]), Ok(()));
    let low = AuditorKey { key: [0; 32], ..b };
    assert_eq!(generate([a, low]), Err(SeedError::Hpke(HpkeError::PublicKey)));
}

#[test]
fn debug_shows_no_seed() {
    let text = format!("{:?}", World::new(1).seeds);
    assert!(text.contains("Secret32(..)"), "{text}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn openings_round_trip(opening: Vec<u8>, exchange: [u8; 16], commitment: [u8; 32], seed in 0..u64::MAX - 9) {
        let world = World::new(seed);
        let name = EscrowedEntry {
            origin: &world.origin,
            exchange: ExchangeId(exchange),
            kind: PairKind::Refusal,
            commitment: Digest(commitment),
        };
        let (escrow, hash) = world.seeds.escrow(&name, &opening, MINUTE.start()).unwrap();
        let [first, second] = world.shares(&name);
        let opened = CheckedEscrow::check(&escrow, hash).unwrap().open(&first, &second).unwrap();
        prop_assert_eq!(opened.as_slice(), opening.as_slice());
    }

    #[test]
    fn hostile_escrow_never_panics(seeds: Vec<u8>, one: Vec<u8>, two: Vec<u8>, blob: Vec<u8>) {
        let escrow = proto::Escrow { seeds, share_hash_1: one, share_hash_2: two, blob };
        prop_assert!(CheckedEscrow::check(&escrow, Digest::default()).is_err());
    }
}
