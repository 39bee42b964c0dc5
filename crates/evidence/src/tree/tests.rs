use proptest::collection::{btree_map, vec};
use proptest::prelude::*;

use super::*;
use crate::testing::rng;

fn fields(n: usize) -> Vec<(String, Vec<u8>)> {
    (0..n).map(|i| (format!("records/0/{i:05}"), vec![i as u8; i % 5])).collect()
}

#[test]
fn leaves_have_the_documented_bytes() {
    let leaf = Leaf { salt: Secret32::new([9; 32]), path: "a/b".into(), value: vec![1, 2] };
    let mut data = Vec::new();
    data.extend_from_slice(b"\0\0\0\x0epuente/v1/leaf");
    data.extend_from_slice(b"\0\0\0\x20");
    data.extend_from_slice(&[9; 32]);
    data.extend_from_slice(b"\0\0\0\x03a/b\0\0\0\x02\x01\x02");
    assert_eq!(leaf.hash(), Digest::of(&[&[0], data.as_slice()].concat()));
}

#[test]
fn commitment_covers_count_and_root() {
    let tree = AnswerTree::build(fields(2), &mut rng(1)).unwrap();
    let node = [&[1][..], &tree.hashes[0].0, &tree.hashes[1].0].concat();
    assert_eq!(tree.root(), Digest::of(&node));
    assert_eq!(tree.commitment(), digest(label::TREE, &[&[0, 0, 0, 2], &tree.root().0]));
}

#[test]
fn trees_are_padded_to_a_power_of_two() {
    for (count, leaves) in [(0, 2), (1, 2), (2, 2), (3, 4), (4, 4), (5, 8), (4096, 4096)] {
        let tree = AnswerTree::build(fields(count), &mut rng(1)).unwrap();
        assert_eq!(tree.leaf_count(), leaves);
        assert_eq!(tree.fields().len(), count);
    }
    assert_eq!(AnswerTree::build(fields(4097), &mut rng(1)).unwrap_err(), TreeError::TooManyFields { fields: 4097 });
}

#[test]
fn every_leaf_has_its_own_salt() {
    let leaves = AnswerTree::build(fields(5), &mut rng(1)).unwrap().to_leaves();
    let mut salts: Vec<_> = leaves.iter().map(|leaf| leaf.salt.clone()).collect();
    salts.sort();
    salts.dedup();
    assert_eq!(salts.len(), 8);
    assert!(salts.iter().all(|salt| salt.len() == 32));
}

#[test]
fn paths_must_increase() {
    let build = |paths: &[&str]| {
        let fields = paths.iter().map(|p| ((*p).to_owned(), vec![])).collect();
        AnswerTree::build(fields, &mut rng(1)).map(|_| ())
    };
    assert_eq!(build(&["a", "a/b", "b"]), Ok(()));
    assert_eq!(build(&["a", "a"]), Err(TreeError::Path { index: 1 }));
    assert_eq!(build(&["a", "c", "b"]), Err(TreeError::Path { index: 2 }));
    assert_eq!(build(&["a", ""]), Err(TreeError::Path { index: 1 }));
    assert_eq!(build(&[""]), Err(TreeError::Path { index: 0 }));
    // Bytewise, not by any locale.
    assert_eq!(build(&["Z", "a", "á"]), Ok(()));
}

#[test]
fn hostile_bodies_are_named() {
    let tree = AnswerTree::build(fields(3), &mut rng(1)).unwrap();
    let good = tree.to_body(Millis(5), vec!["confirm-before-seizure".into()]);
    let verified = verify_body(&good, tree.commitment()).unwrap();
    assert_eq!(verified.at, Millis(5));
    assert_eq!(verified.obligations, good.obligations);

    let check = |change: &dyn Fn(&mut Vec<proto::Leaf>)| {
        let mut body = good.clone();
        change(&mut body.leaves);
        verify_body(&body, tree.commitment()).unwrap_err()
    };
    let decoy = || proto::Leaf { salt: vec![0; 32], ..proto::Leaf::default() };
    assert_eq!(check(&|l| l.swap(0, 1)), TreeError::Path { index: 1 });
    assert_eq!(check(&|l| l.swap(2, 3)), TreeError::Path { index: 3 });
    assert_eq!(check(&|l| l[1] = l[0].clone()), TreeError::Path { index: 1 });
    assert_eq!(check(&|l| l[3].value = vec![1]), TreeError::DecoyValue { index: 3 });
    assert_eq!(check(&|l| l[3].path = "zz".into()), TreeError::Commitment);
    assert_eq!(check(&|l| l[0].value = vec![77]), TreeError::Commitment);
    assert_eq!(check(&|l| l[3].salt[0] ^= 1), TreeError::Commitment);
    assert_eq!(check(&|l| l[2].salt.truncate(31)), TreeError::Salt { index: 2 });
    assert_eq!(check(&|l| l[2].salt.push(0)), TreeError::Salt { index: 2 });
    assert_eq!(check(&|l| l.truncate(3)), TreeError::Padding { fields: 3, found: 3, expected: 4 });
    assert_eq!(check(&|l| l.truncate(0)), TreeError::Padding { fields: 0, found: 0, expected: 2 });
    assert_eq!(
        check(&|l| l.extend([(); 4].map(|()| decoy()))),
        TreeError::Padding { fields: 3, found: 8, expected: 4 }
    );
    assert_eq!(check(&|l| l.resize(4097, decoy())), TreeError::TooManyFields { fields: 4097 });
}

#[test]
fn debug_hides_values() {
    let tree = AnswerTree::build(vec![("owner".into(), b"Maria".to_vec())], &mut rng(1)).unwrap();
    let verified = verify_body(&tree.to_body(Millis(0), vec![]), tree.commitment()).unwrap();
    let text = format!("{verified:?}");
    assert!(!text.contains("owner") && !text.contains("Maria"), "{text}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn bodies_round_trip(
        fields in btree_map("[a-z0-9/]{1,12}", vec(any::<u8>(), 0..40), 0..70),
        seed in any::<u64>(),
    ) {
        let fields: Vec<_> = fields.into_iter().collect();
        let tree = AnswerTree::build(fields.clone(), &mut rng(seed)).unwrap();
        prop_assert!(tree.leaf_count().is_power_of_two());
        let verified = verify_body(&tree.to_body(Millis(1), vec![]), tree.commitment()).unwrap();
        let found: Vec<_> = verified.tree.fields().map(|(p, v)| (p.to_owned(), v.to_vec())).collect();
        prop_assert_eq!(found, fields.clone());
        // The same fields under other salts: another commitment, so nobody can guess values against it.
        let other = AnswerTree::build(fields, &mut rng(seed.wrapping_add(1))).unwrap();
        prop_assert_ne!(other.commitment(), tree.commitment());
    }

    #[test]
    fn any_changed_leaf_is_noticed(
        count in 1usize..20,
        at in any::<prop::sample::Index>(),
        part in 0u8..3,
        seed in any::<u64>(),
    ) {
        let tree = AnswerTree::build(fields(count), &mut rng(seed)).unwrap();
        let mut body = tree.to_body(Millis(0), vec![]);
        let leaf = at.get_mut(&mut body.leaves);
        match part {
            0 => leaf.salt[5] ^= 1,
            1 => leaf.path.push('x'),
            _ => leaf.value.push(0),
        }
        prop_assert!(verify_body(&body, tree.commitment()).is_err());
    }
}
