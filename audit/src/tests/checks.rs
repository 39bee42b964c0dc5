//! `check`, `prove` and `show`.

use puente_audit_log::{ClaimedReceipt, Signer as _, cose_receipt, leaf_hash, prove_inclusion};
use puente_model::LeafIndex;
use puente_wire::PairKind;

use super::world::*;
use crate::{Checker, Conclusion, check_bytes, prove, show};

#[test]
fn a_proof_is_checked_with_a_key_or_the_charter() {
    let world = World::busy();
    let dir = tempfile::tempdir().unwrap();
    let copy = world.copies(dir.path(), &[MX]).remove(0);
    let key = log_signer("mx/fge-bc/n1/log1").verifier().clone();
    let charter = charter();
    for index in [0, 7, world.nodes[MX].entries.len() - 1] {
        let text = prove(&copy, index as u64).unwrap();
        let entry = &world.nodes[MX].entries[index];
        ClaimedReceipt::parse(&text).unwrap().verify(&leaf_hash(entry), &key).unwrap();
        for checker in [Checker::Key(&key), Checker::Charter(&charter)] {
            let checked = check_bytes(&text, Some(entry), &checker).unwrap();
            assert_eq!((checked.verdict, checked.what), (Conclusion::Sound, "proof"));
            let other = &world.nodes[MX].entries[index / 2 + 1];
            assert_eq!(check_bytes(&text, Some(other), &checker).unwrap().verdict, Conclusion::Unsound);
            assert_eq!(check_bytes(&text, None, &checker).unwrap().verdict, Conclusion::CouldNotTell);
        }
        let nobody = check_bytes(&text, Some(entry), &Checker::Nobody).unwrap();
        assert_eq!(nobody.verdict, Conclusion::CouldNotTell);
    }
    assert!(prove(&copy, 10_000).is_err());
}

#[test]
fn a_cose_receipt_is_checked_with_a_key_or_the_charter() {
    let world = World::busy();
    let dir = tempfile::tempdir().unwrap();
    let copy = world.copies(dir.path(), &[MX]).remove(0);
    let signer = log_signer("mx/fge-bc/n1/log1");
    let (key, charter) = (signer.verifier().clone(), charter());
    let entry = &world.nodes[MX].entries[7];
    let tiles = crate::dir::LogDir::new(&copy);
    let head = crate::roster::Roster::new(&charter).head(&tiles.checkpoint().unwrap()).unwrap();
    let tiles = crate::dir::Cached::new(&tiles);
    let hashes = prove_inclusion(&tiles, LeafIndex(7), head.size()).unwrap();
    let receipt = cose_receipt(&head, LeafIndex(7), &leaf_hash(entry), &hashes, &signer).unwrap();
    for checker in [Checker::Key(&key), Checker::Charter(&charter)] {
        let checked = check_bytes(&receipt, Some(entry), &checker).unwrap();
        assert_eq!((checked.verdict, checked.what), (Conclusion::Sound, "cose-receipt"), "{:?}", checked.words);
        let other = &world.nodes[MX].entries[8];
        assert_eq!(check_bytes(&receipt, Some(other), &checker).unwrap().verdict, Conclusion::Unsound);
        assert_eq!(check_bytes(&receipt, None, &checker).unwrap().verdict, Conclusion::CouldNotTell);
        assert_eq!(check_bytes(&receipt[..90], Some(entry), &checker).unwrap().verdict, Conclusion::Unsound);
    }
    assert_eq!(check_bytes(&receipt, Some(entry), &Checker::Nobody).unwrap().verdict, Conclusion::CouldNotTell);
}

#[test]
fn entries_are_shown_decoded() {
    let world = World::busy();
    let dir = tempfile::tempdir().unwrap();
    let copy = world.copies(dir.path(), &[US]).remove(0);
    let at = world.nodes[US].find(PairKind::Refusal, US) as u64;
    let shown = show(&copy, at, 1).unwrap().remove(0);
    assert_eq!((shown.index, shown.kind.as_str()), (at, "REFUSAL"));
    assert!(shown.says.contains("statutory-bar"), "{}", shown.says);
    let all = show(&copy, 0, u64::MAX).unwrap();
    assert_eq!(all.len(), world.nodes[US].entries.len());
    assert!(all.iter().any(|s| s.kind == "VEILED") && all.iter().any(|s| s.kind == "PERIOD"));
    assert!(show(&copy, 1 << 40, 5).unwrap().is_empty());
}
