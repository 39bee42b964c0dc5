use proptest::prelude::*;
use puente_model::{CharterVector, EventKind, Stage};
use puente_wire::{Event, Veiled};

use super::*;
use crate::testing::{auditor, flips, rng, wrong_lengths};
use crate::{AuditorKey, HpkeError, open_seed};

const MINUTE: Minute = Minute(29_000_000);

fn header() -> Header {
    Header::Event(Event::new(EventKind::ALL[0], MINUTE.start(), CharterVector::default()))
}

/// A veiled entry of `header` under `salt`, as it stands in the log.
fn veiled(header: &[u8], salt: &Secret32) -> Vec<u8> {
    let commitment = Header::commit(header, salt);
    Entry::Veiled(Veiled { stage: Stage::ALL[0], minute: MINUTE, commitment }).encode()
}

#[test]
fn every_own_auditor_opens_a_header() {
    let (one, a) = auditor("mx", "asf", 1);
    let (two, b) = auditor("mx", "inai", 2);
    let (foreign, _) = auditor("us", "gao", 3);
    let (seed, entry) = HeaderSeed::generate(&[a, b], MINUTE, &mut rng(4)).unwrap();
    let (salt, bytes) = (Secret32::new([5; 32]), header().encode());
    let log = veiled(&bytes, &salt);
    let sealed = seed.seal(leaf_hash(&log), &salt, &bytes, MINUTE.start()).unwrap();
    assert_eq!(sealed.seeds, leaf_hash(&Entry::Seeds(entry.clone()).encode()).0);
    assert_eq!(sealed.seeds, seed.leaf().0);
    for (pair, sealed_seed) in [(&one, &entry.seeds[0]), (&two, &entry.seeds[1])] {
        let opened = open_header(&open_seed(pair, sealed_seed).unwrap(), &log, &sealed).unwrap();
        assert_eq!(opened.header, header());
        assert_eq!(opened.salt.expose(), salt.expose());
    }
    for sealed_seed in &entry.seeds {
        let error = open_seed(&foreign, sealed_seed).unwrap_err();
        assert_eq!(error, SeedError::Hpke(HpkeError::NotForThisKey));
    }
}

#[test]
fn every_changed_byte_is_noticed() {
    let (_, a) = auditor("mx", "asf", 1);
    let (seed, _) = HeaderSeed::generate(&[a], MINUTE, &mut rng(4)).unwrap();
    let (salt, bytes) = (Secret32::new([5; 32]), header().encode());
    let log = veiled(&bytes, &salt);
    let sealed = seed.seal(leaf_hash(&log), &salt, &bytes, MINUTE.start()).unwrap();
    let open = |seed: &Secret32, log: &[u8], ciphertext: Vec<u8>| {
        open_header(seed, log, &proto::SealedHeader { ciphertext, ..sealed.clone() }).map(|_| ())
    };
    assert_eq!(open(&seed.seed, &log, sealed.ciphertext.clone()), Ok(()));
    for ciphertext in flips(&sealed.ciphertext).chain(wrong_lengths(&sealed.ciphertext)) {
        assert_eq!(open(&seed.seed, &log, ciphertext), Err(VeilError::DoesNotOpen));
    }
    for other in flips(seed.seed.expose()) {
        let other = Secret32::new(other.try_into().unwrap());
        assert_eq!(open(&other, &log, sealed.ciphertext.clone()), Err(VeilError::DoesNotOpen));
    }
    // The header of one entry beside another.
    let other = veiled(&bytes, &Secret32::new([6; 32]));
    assert_eq!(open(&seed.seed, &other, sealed.ciphertext.clone()), Err(VeilError::DoesNotOpen));
    assert!(matches!(open(&seed.seed, b"\xff", sealed.ciphertext.clone()), Err(VeilError::Wire(_))));
    let (_, a) = auditor("mx", "asf", 1);
    let (_, entry) = HeaderSeed::generate(&[a], MINUTE, &mut rng(4)).unwrap();
    let entry = Entry::Seeds(entry).encode();
    assert_eq!(open(&seed.seed, &entry, sealed.ciphertext.clone()), Err(VeilError::NotVeiled));
}

#[test]
fn a_header_that_was_not_committed_convicts() {
    let (_, a) = auditor("mx", "asf", 1);
    let (seed, _) = HeaderSeed::generate(&[a], MINUTE, &mut rng(4)).unwrap();
    let (salt, bytes) = (Secret32::new([5; 32]), header().encode());
    let log = veiled(&bytes, &salt);
    let open = |salt: &Secret32, bytes: &[u8]| {
        let sealed = seed.seal(leaf_hash(&log), salt, bytes, MINUTE.start()).unwrap();
        open_header(&seed.seed, &log, &sealed).map(|_| ())
    };
    assert_eq!(open(&Secret32::new([6; 32]), &bytes), Err(VeilError::Commitment));
    assert_eq!(open(&salt, b"other"), Err(VeilError::Commitment));
    let short = seal_once(&key(&seed.seed, leaf_hash(&log)), label::HEADER_KEY, &[0; 31]).unwrap();
    let short = proto::SealedHeader { seeds: vec![], ciphertext: short };
    assert_eq!(open_header(&seed.seed, &log, &short).map(|_| ()), Err(VeilError::Commitment));
    // Committed, but no header.
    let log = veiled(b"\xff\xff", &salt);
    let sealed = seed.seal(leaf_hash(&log), &salt, b"\xff\xff", MINUTE.start()).unwrap();
    assert!(matches!(open_header(&seed.seed, &log, &sealed), Err(VeilError::Wire(_))));
}

#[test]
fn seeds_need_auditors_and_die() {
    let keys: Vec<AuditorKey> = (0..65).map(|i| auditor("mx", "asf", i).1).collect();
    let generate = |n: usize| HeaderSeed::generate(&keys[..n], MINUTE, &mut rng(1));
    assert_eq!(generate(0).map(|_| ()), Err(SeedError::Auditors(0)));
    assert_eq!(generate(65).map(|_| ()), Err(SeedError::Auditors(65)));
    let (seed, entry) = generate(64).unwrap();
    let bytes = Entry::Seeds(entry).encode();
    assert!(Entry::decode(&bytes).is_ok());
    let end = MINUTE.start().plus(puente_model::limits::ESCROW_SEED_MILLIS);
    let seal = |now| seed.seal(Digest::default(), &Secret32::new([0; 32]), b"", now).map(|_| ());
    assert_eq!(seal(Millis(end.0 - 1)), Ok(()));
    assert_eq!(seal(end), Err(VeilError::Expired));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn headers_round_trip(salt: [u8; 32], count: u64, random: u64) {
        let (_, a) = auditor("mx", "asf", 1);
        let (seed, _) = HeaderSeed::generate(&[a], MINUTE, &mut rng(random)).unwrap();
        let Header::Event(event) = header() else { unreachable!() };
        let header = Header::Event(Event { count, ..event });
        let (salt, bytes) = (Secret32::new(salt), header.encode());
        let log = veiled(&bytes, &salt);
        let sealed = seed.seal(leaf_hash(&log), &salt, &bytes, MINUTE.start()).unwrap();
        prop_assert_eq!(open_header(&seed.seed, &log, &sealed).unwrap().header, header);
    }
}
