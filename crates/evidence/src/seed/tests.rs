use super::*;
use crate::testing::{auditor, flips, rng, wrong_lengths};

#[test]
fn a_seed_opens_for_its_auditor_and_quarter_only() {
    let (pair, key) = auditor("mx", "asf", 1);
    let (other, _) = auditor("us", "gao", 2);
    let seed = Secret32::new([3; 32]);
    let sealed = seal_seed(&seed, &key, &mut rng(1)).unwrap();
    assert_eq!(open_seed(&pair, &sealed).unwrap().expose(), seed.expose());
    let no = Err(SeedError::Hpke(HpkeError::NotForThisKey));
    let opens = |pair, sealed: &SealedSeed| open_seed(pair, sealed).map(|_| ());
    assert_eq!(opens(&other, &sealed), no);
    // An entry that names another auditor, nation or quarter than the one it was sealed for.
    assert_eq!(opens(&pair, &SealedSeed { auditor: "inai".into(), ..sealed.clone() }), no);
    assert_eq!(opens(&pair, &SealedSeed { quarter: "2027Q1".into(), ..sealed.clone() }), no);
    assert_eq!(opens(&pair, &SealedSeed { jurisdiction: "us".parse().unwrap(), ..sealed.clone() }), no);
}

#[test]
fn a_seed_that_misses_its_commitment_convicts_the_author() {
    let (pair, key) = auditor("mx", "asf", 1);
    let sealed = seal_seed(&Secret32::new([3; 32]), &key, &mut rng(1)).unwrap();
    for changed in flips(sealed.commitment.as_bytes()) {
        let commitment = Digest::try_from(changed.as_slice()).unwrap();
        let error = open_seed(&pair, &SealedSeed { commitment, ..sealed.clone() }).unwrap_err();
        assert_eq!(error, SeedError::Commitment);
    }
    for ciphertext in flips(&sealed.ciphertext) {
        let error = open_seed(&pair, &SealedSeed { ciphertext, ..sealed.clone() }).unwrap_err();
        assert_eq!(error, SeedError::Hpke(HpkeError::NotForThisKey));
    }
    for enc in wrong_lengths(&sealed.enc) {
        let error = open_seed(&pair, &SealedSeed { enc, ..sealed.clone() }).unwrap_err();
        assert_eq!(error, SeedError::Hpke(HpkeError::Length));
    }
}

#[test]
fn seeds_live_one_hour() {
    let minute = Minute(100);
    let start = minute.start();
    assert!(!alive(minute, Millis(start.0 - 1)));
    assert!(alive(minute, start));
    assert!(alive(minute, start.plus(limits::ESCROW_SEED_MILLIS - 1)));
    assert!(!alive(minute, start.plus(limits::ESCROW_SEED_MILLIS)));
}

#[test]
fn the_announced_leaf_is_the_entrys() {
    let (_, key) = auditor("mx", "asf", 1);
    let sealed = seal_seed(&Secret32::new([3; 32]), &key, &mut rng(1)).unwrap();
    let (entry, leaf) = announce(SeedUse::Headers, Minute(4), vec![sealed]);
    let bytes = Entry::Seeds(entry.clone()).encode();
    assert_eq!(Entry::decode(&bytes).unwrap(), Entry::Seeds(entry));
    assert_eq!(leaf, Digest::of(&[&[0], bytes.as_slice()].concat()));
}
