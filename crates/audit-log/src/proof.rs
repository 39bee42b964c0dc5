//! Verification of Merkle proofs (RFC 9162, sections 2.1.3.2 and 2.1.4.2).

use puente_model::{Digest, LeafIndex, TreeSize};

use crate::checkpoint::SignedCheckpoint;
use crate::hash::{empty_root, node_hash};

/// Why a proof does not prove what it should.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ProofError {
    /// The tree does not hold that entry.
    #[error("entry {index} is not in a tree of {size} entries")]
    IndexOutOfRange {
        /// The entry's position.
        index: LeafIndex,
        /// The tree's size.
        size: TreeSize,
    },
    /// The newer tree is smaller than the older one.
    #[error("the tree shrank from {old} to {new} entries: the log was rolled back or forked")]
    ShrunkTree {
        /// Size of the older tree.
        old: TreeSize,
        /// Size of the newer tree.
        new: TreeSize,
    },
    /// Fewer hashes than the sizes require.
    #[error("the proof has too few hashes")]
    TooShort,
    /// More hashes than the sizes require.
    #[error("the proof has too many hashes")]
    TooLong,
    /// The hashes do not lead to the root (of the newer tree).
    #[error("the proof does not lead to the root: another entry, another tree or a damaged proof")]
    RootMismatch,
    /// The hashes do not lead to the older tree's root.
    #[error("the proof does not lead to the older root: the newer tree does not contain the older one")]
    OldRootMismatch,
    /// The older tree is empty and its root is not that of the empty tree.
    #[error("the older tree is empty, and its root is not that of the empty tree")]
    EmptyRoot,
    /// The two checkpoints are of different logs.
    #[error("the checkpoints are of different logs")]
    DifferentLogs,
}

/// Verifies that the tree of `size` entries with this root holds `leaf` (a leaf hash) at `index`.
pub fn verify_inclusion(
    index: LeafIndex,
    size: TreeSize,
    leaf: &Digest,
    proof: &[Digest],
    root: &Digest,
) -> Result<(), ProofError> {
    verify_inclusion_by((index, size), leaf, proof, root, node_hash, |_, _| false)
}

/// A step on the way from a leaf to the root: the node reached, and its place and the last one's in their row.
/// With the hashes that are left and the root, it decides how the way ends.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Climb {
    place: u64,
    last: u64,
    node: Digest,
}

/// [`verify_inclusion`] with another way to the same node hashes. `ends_well` is shown every step with the number of
/// hashes behind it, and says whether it is known that the way leads to the root from there.
pub(crate) fn verify_inclusion_by(
    (index, size): (LeafIndex, TreeSize),
    leaf: &Digest,
    proof: &[Digest],
    root: &Digest,
    mut node_hash: impl FnMut(&Digest, &Digest) -> Digest,
    mut ends_well: impl FnMut(usize, Climb) -> bool,
) -> Result<(), ProofError> {
    if index.0 >= size.0 {
        return Err(ProofError::IndexOutOfRange { index, size });
    }
    let (mut f, mut s, mut r) = (index.0, size.0 - 1, *leaf);
    for (at, c) in proof.iter().enumerate() {
        if ends_well(at, Climb { place: f, last: s, node: r }) {
            return Ok(());
        }
        if s == 0 {
            return Err(ProofError::TooLong);
        }
        if f & 1 == 1 || f == s {
            r = node_hash(c, &r);
            while f & 1 == 0 && f != 0 {
                (f, s) = (f >> 1, s >> 1);
            }
        } else {
            r = node_hash(&r, c);
        }
        (f, s) = (f >> 1, s >> 1);
    }
    if s != 0 {
        return Err(ProofError::TooShort);
    }
    if r == *root { Ok(()) } else { Err(ProofError::RootMismatch) }
}

/// Verifies that the tree of `new` entries begins with all entries of the tree of `old` entries.
pub fn verify_consistency(
    old: TreeSize,
    new: TreeSize,
    old_root: &Digest,
    new_root: &Digest,
    proof: &[Digest],
) -> Result<(), ProofError> {
    if old.0 > new.0 {
        return Err(ProofError::ShrunkTree { old, new });
    }
    if old.0 == 0 && *old_root != empty_root() {
        return Err(ProofError::EmptyRoot);
    }
    if old == new || old.0 == 0 {
        if !proof.is_empty() {
            return Err(ProofError::TooLong);
        }
        return if old == new && old_root != new_root { Err(ProofError::RootMismatch) } else { Ok(()) };
    }
    let (seed, rest) =
        if old.0.is_power_of_two() { (old_root, proof) } else { proof.split_first().ok_or(ProofError::TooShort)? };
    let (mut f, mut s) = (old.0 - 1, new.0 - 1);
    while f & 1 == 1 {
        (f, s) = (f >> 1, s >> 1);
    }
    let (mut fr, mut sr) = (*seed, *seed);
    for c in rest {
        if s == 0 {
            return Err(ProofError::TooLong);
        }
        if f & 1 == 1 || f == s {
            fr = node_hash(c, &fr);
            sr = node_hash(c, &sr);
            while f & 1 == 0 && f != 0 {
                (f, s) = (f >> 1, s >> 1);
            }
        } else {
            sr = node_hash(&sr, c);
        }
        (f, s) = (f >> 1, s >> 1);
    }
    if s != 0 {
        return Err(ProofError::TooShort);
    }
    if fr != *old_root {
        return Err(ProofError::OldRootMismatch);
    }
    if sr == *new_root { Ok(()) } else { Err(ProofError::RootMismatch) }
}

/// Verifies that `newer` extends `older`, both heads of one log.
pub fn verify_extension(
    older: &SignedCheckpoint,
    newer: &SignedCheckpoint,
    proof: &[Digest],
) -> Result<(), ProofError> {
    if older.origin() != newer.origin() {
        return Err(ProofError::DifferentLogs);
    }
    verify_consistency(older.size(), newer.size(), &older.root(), &newer.root(), proof)
}
