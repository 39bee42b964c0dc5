use proptest::collection::btree_set;
use proptest::prelude::*;

use super::*;

fn leaves(n: usize) -> Vec<Digest> {
    (0..n).map(|i| leaf_hash(&(i as u64).to_be_bytes())).collect()
}

fn pick(all: &[Digest], indices: &[usize]) -> Vec<Digest> {
    indices.iter().map(|&i| all[i]).collect()
}

/// RFC 6962 §2.1, as it is written there.
fn rfc_root(leaves: &[Digest]) -> Digest {
    if leaves.len() == 1 {
        return leaves[0];
    }
    let split = leaves.len().next_power_of_two() / 2;
    let (left, right) = leaves.split_at(split);
    let parts = [&[1][..], &rfc_root(left).0, &rfc_root(right).0].concat();
    Digest::of(&parts)
}

/// What rs_merkle alone says of a proof.
fn bare(root: Digest, indices: &[usize], leaves: &[Digest], n: usize, hashes: &[u8]) -> bool {
    let leaves: Vec<_> = leaves.iter().map(|h| h.0).collect();
    MerkleProof::<Rfc6962>::from_bytes(hashes).unwrap().verify(root.0, indices, &leaves, n)
}

/// What the guard says of the same.
fn guarded(root: Digest, indices: &[usize], leaves: &[Digest], n: usize, hashes: &[u8]) -> Result<(), GuardError> {
    Multiproof::new(n, indices.to_vec(), hashes)?.verify(root, leaves)
}

fn evil() -> Digest {
    leaf_hash(b"never in the tree")
}

#[test]
fn roots_are_rfc_6962() {
    assert_eq!(root_of(&[]), None);
    for n in 1..=130 {
        let all = leaves(n);
        assert_eq!(root_of(&all), Some(rfc_root(&all)), "{n} leaves");
    }
}

#[test]
fn forgery_1_duplicate_indices() {
    for n in 2..40 {
        let all = leaves(n);
        let root = rfc_root(&all);
        let honest = Multiproof::prove(&all, &[0]).unwrap().to_bytes();
        // Three siblings are asked for, none is looked at; the layers above are honest.
        let forged = [&[0; 96][..], &honest[32..]].concat();
        let claimed = [all[0], all[1], evil()];
        assert!(bare(root, &[0, 0, 0], &claimed, n, &forged), "rs_merkle accepts it at n = {n}");
        assert_eq!(
            guarded(root, &[0, 0, 0], &claimed, n, &forged),
            Err(GuardError::NotIncreasing { index: 0 }),
            "{n} leaves"
        );
    }
}

#[test]
fn forgery_2_index_out_of_range() {
    let all = leaves(3);
    let root = rfc_root(&all);
    let forged = [all[1].0, [0; 32], all[2].0, [0; 32]].concat();
    let claimed = [all[0], evil()];
    assert!(bare(root, &[0, 16], &claimed, 3, &forged));
    assert_eq!(guarded(root, &[0, 16], &claimed, 3, &forged), Err(GuardError::OutOfRange { index: 16, leaves: 3 }));
}

#[test]
fn forgery_3_aliased_index() {
    let all = leaves(3);
    let root = rfc_root(&all);
    let honest = Multiproof::prove(&all, &[0]).unwrap().to_bytes();
    assert!(bare(root, &[4], &all[..1], 3, &honest));
    assert_eq!(guarded(root, &[4], &all[..1], 3, &honest), Err(GuardError::OutOfRange { index: 4, leaves: 3 }));
}

#[test]
fn forgery_4_trailing_hashes() {
    let all = leaves(8);
    let root = rfc_root(&all);
    let longer = [Multiproof::prove(&all, &[2]).unwrap().to_bytes(), vec![7; 32]].concat();
    assert!(bare(root, &[2], &all[2..3], 8, &longer));
    assert_eq!(guarded(root, &[2], &all[2..3], 8, &longer), Err(GuardError::HashCount { found: 4, needed: 3 }));
}

#[test]
fn forgery_5_wrong_leaf_count() {
    let all = leaves(7);
    let root = rfc_root(&all);
    let proof = Multiproof::prove(&all, &[3]).unwrap().to_bytes();
    // A root does not say how many leaves it covers: no guard can tell, which
    // is why `leaf_count` comes from the commitment (`disclosure` tests it).
    for n in [5, 6, 8] {
        assert!(bare(root, &[3], &all[3..4], n, &proof));
    }
    // Where the shape differs the guard sees it.
    assert_eq!(guarded(root, &[3], &all[3..4], 9, &proof), Err(GuardError::HashCount { found: 3, needed: 4 }));
    assert_eq!(guarded(root, &[3], &all[3..4], 3, &proof), Err(GuardError::OutOfRange { index: 3, leaves: 3 }));
}

#[test]
fn forgery_6_unsorted_indices() {
    let all = leaves(8);
    let root = rfc_root(&all);
    let proof = Multiproof::prove(&all, &[1, 6]).unwrap().to_bytes();
    assert_eq!(guarded(root, &[6, 1], &[all[6], all[1]], 8, &proof), Err(GuardError::NotIncreasing { index: 1 }));
}

#[test]
fn limits_hold_on_both_sides() {
    assert_eq!(Multiproof::new(0, vec![0], &[]), Err(GuardError::EmptyTree));
    assert_eq!(Multiproof::new(4, vec![], &[]), Err(GuardError::NothingProven));
    assert_eq!(
        Multiproof::new(TREE_LEAVES_MAX + 1, vec![0], &[]),
        Err(GuardError::TreeTooLarge { leaves: TREE_LEAVES_MAX + 1 })
    );
    assert!(Multiproof::new(TREE_LEAVES_MAX, vec![0], &[0; 32 * 30]).is_ok());
    assert_eq!(
        Multiproof::new(PROVEN_LEAVES_MAX + 1, (0..=PROVEN_LEAVES_MAX).collect(), &[]),
        Err(GuardError::TooManyLeaves { leaves: PROVEN_LEAVES_MAX + 1 })
    );
    assert!(Multiproof::new(PROVEN_LEAVES_MAX, (0..PROVEN_LEAVES_MAX).collect(), &[]).is_ok());
    assert_eq!(Multiproof::new(4, vec![0], &[0; 65]), Err(GuardError::PartialHash { bytes: 65 }));
    assert_eq!(Multiproof::new(4, vec![0], &[0; 32]), Err(GuardError::HashCount { found: 1, needed: 2 }));
    let proof = Multiproof::prove(&leaves(4), &[0]).unwrap();
    assert_eq!(proof.verify(rfc_root(&leaves(4)), &[]), Err(GuardError::LeafCount { indices: 1, leaves: 0 }));
    // What rs_merkle would answer with a partial proof.
    assert_eq!(Multiproof::prove(&leaves(4), &[1, 4]), Err(GuardError::OutOfRange { index: 4, leaves: 4 }));
}

/// A tree size and some of its leaves.
fn tree_and_indices() -> impl Strategy<Value = (usize, Vec<usize>)> {
    (1usize..300)
        .prop_flat_map(|n| (Just(n), btree_set(0..n, 1..=n.min(24))))
        .prop_map(|(n, set)| (n, set.into_iter().collect()))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn honest_proofs_pass((n, indices) in tree_and_indices()) {
        let all = leaves(n);
        let proof = Multiproof::prove(&all, &indices).unwrap();
        let again = Multiproof::new(n, indices.clone(), &proof.to_bytes()).unwrap();
        prop_assert_eq!(&again, &proof);
        prop_assert_eq!(again.verify(rfc_root(&all), &pick(&all, &indices)), Ok(()));
    }

    #[test]
    fn mutated_proofs_fail(
        (n, indices) in tree_and_indices(),
        what in 0u8..7,
        at in any::<prop::sample::Index>(),
        bit in 0u8..8,
        to in 0usize..600,
    ) {
        let all = leaves(n);
        let root = rfc_root(&all);
        let mut hashes = Multiproof::prove(&all, &indices).unwrap().to_bytes();
        let (mut claimed, mut claimed_indices) = (pick(&all, &indices), indices.clone());
        let k = at.index(indices.len());
        match what {
            0 if !hashes.is_empty() => { let i = at.index(hashes.len()); hashes[i] ^= 1 << bit; }
            0 | 1 => claimed[k].0[usize::from(bit)] ^= 1,
            2 if to != indices[k] => claimed_indices[k] = to,
            2 | 3 => claimed[k] = evil(),
            4 => { claimed_indices.insert(k, indices[k]); claimed.insert(k, evil()); }
            5 => hashes.extend_from_slice(&[0; 32]),
            _ if hashes.len() >= 32 => { hashes.truncate(hashes.len() - 32); }
            _ => { claimed.push(evil()); }
        }
        prop_assert!(guarded(root, &claimed_indices, &claimed, n, &hashes).is_err());
    }

    #[test]
    fn garbage_never_panics(
        n in any::<usize>(),
        indices in prop::collection::vec(any::<usize>(), 0..8),
        hashes in prop::collection::vec(any::<u8>(), 0..400),
        small in any::<bool>(),
    ) {
        let n = if small { n % 40 } else { n };
        let indices: Vec<_> = indices.into_iter().map(|i| if small { i % 40 } else { i }).collect();
        let claimed = vec![evil(); indices.len()];
        prop_assert!(guarded(evil(), &indices, &claimed, n, &hashes).is_err() || n == 1);
    }
}
