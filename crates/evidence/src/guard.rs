//! Multiproofs of rs_merkle, made safe for what a stranger sends.
//!
//! `rs_merkle::MerkleProof::verify` trusts its arguments: with repeated,
//! out-of-range or aliased indices it accepts forgeries, it ignores trailing
//! hashes, and a root does not say how many leaves it covers. A [`Multiproof`]
//! exists only if none of that can happen, and is checked only against a
//! number of leaves that came with the root's own commitment.

use puente_model::{Digest, limits};
use rs_merkle::utils::indices::proof_indices_by_layers;
use rs_merkle::{Hasher, MerkleProof, MerkleTree};
use sha2::{Digest as _, Sha256};

/// Leaves of a tree that a multiproof may speak of.
pub const TREE_LEAVES_MAX: usize = 1 << 30;
/// Leaves that one multiproof may prove: checking costs the square of their number.
pub const PROVEN_LEAVES_MAX: usize = limits::ANSWER_LEAVES_MAX;

/// The hashes of RFC 6962: `SHA-256(0x00 ‖ data)` of a leaf, `SHA-256(0x01 ‖ left ‖ right)`
/// of two nodes; a node without a right neighbour is promoted as it is.
#[derive(Debug, Clone)]
pub enum Rfc6962 {}

impl Hasher for Rfc6962 {
    type Hash = [u8; 32];

    fn hash(data: &[u8]) -> [u8; 32] {
        Sha256::new().chain_update([0]).chain_update(data).finalize().into()
    }

    fn concat_and_hash(left: &[u8; 32], right: Option<&[u8; 32]>) -> [u8; 32] {
        match right {
            Some(right) => Sha256::new().chain_update([1]).chain_update(left).chain_update(right).finalize().into(),
            None => *left,
        }
    }
}

/// What is wrong with a multiproof.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum GuardError {
    /// No tree has no leaves.
    #[error("a tree of 0 leaves proves nothing")]
    EmptyTree,
    /// A tree over the limit.
    #[error("the tree has {leaves} leaves; at most {TREE_LEAVES_MAX} are allowed")]
    TreeTooLarge {
        /// Leaves claimed.
        leaves: usize,
    },
    /// Nothing to prove.
    #[error("the proof names no leaf")]
    NothingProven,
    /// Too much to prove at once.
    #[error("the proof names {leaves} leaves; at most {PROVEN_LEAVES_MAX} are allowed")]
    TooManyLeaves {
        /// Leaves named.
        leaves: usize,
    },
    /// A repeated or unsorted index.
    #[error("index {index} does not follow a smaller one: indices must be strictly increasing")]
    NotIncreasing {
        /// The first index that breaks the order.
        index: usize,
    },
    /// An index beyond the tree.
    #[error("index {index} lies outside a tree of {leaves} leaves")]
    OutOfRange {
        /// The index.
        index: usize,
        /// Leaves of the tree.
        leaves: usize,
    },
    /// As many leaves as indices are needed.
    #[error("{leaves} leaves are given for {indices} indices")]
    LeafCount {
        /// Indices of the proof.
        indices: usize,
        /// Leaves given.
        leaves: usize,
    },
    /// Bytes that are not whole hashes.
    #[error("{bytes} bytes are no whole number of 32-byte hashes")]
    PartialHash {
        /// Bytes given.
        bytes: usize,
    },
    /// Missing or trailing hashes.
    #[error("the proof carries {found} hashes; these indices need exactly {needed}")]
    HashCount {
        /// Hashes carried.
        found: usize,
        /// Hashes needed.
        needed: usize,
    },
    /// The hashes lead elsewhere.
    #[error("the proof leads to another root")]
    WrongRoot,
}

/// The RFC 6962 root over leaf hashes, as rs_merkle computes it; `None` of no leaves.
pub fn root_of(leaf_hashes: &[Digest]) -> Option<Digest> {
    tree(leaf_hashes).root().map(Digest)
}

/// The RFC 6962 hash of a leaf's bytes: `SHA-256(0x00 ‖ data)`.
pub fn leaf_hash(data: &[u8]) -> Digest {
    Digest(Rfc6962::hash(data))
}

fn tree(leaf_hashes: &[Digest]) -> MerkleTree<Rfc6962> {
    let hashes: Vec<_> = leaf_hashes.iter().map(|h| h.0).collect();
    MerkleTree::from_leaves(&hashes)
}

/// A well-formed proof that chosen leaves stand at chosen places of a tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Multiproof {
    leaf_count: usize,
    indices: Vec<usize>,
    hashes: Vec<[u8; 32]>,
}

impl Multiproof {
    /// Proves the leaves at `indices` of the tree over all of `leaf_hashes`.
    ///
    /// # Errors
    /// Indices that [`Multiproof::new`] refuses.
    pub fn prove(leaf_hashes: &[Digest], indices: &[usize]) -> Result<Self, GuardError> {
        check_indices(leaf_hashes.len(), indices)?;
        let hashes = tree(leaf_hashes).proof(indices).proof_hashes().to_vec();
        Self::new(leaf_hashes.len(), indices.to_vec(), &hashes.concat())
    }

    /// Takes in a proof: `hashes` are 32 bytes each, bottom layer first, left to right.
    /// `leaf_count` must be what the root's own commitment says, never the prover's word.
    ///
    /// # Errors
    /// Anything that `rs_merkle` would let pass: see [`GuardError`].
    pub fn new(leaf_count: usize, indices: Vec<usize>, hashes: &[u8]) -> Result<Self, GuardError> {
        check_indices(leaf_count, &indices)?;
        let (chunks, rest) = hashes.as_chunks::<32>();
        if !rest.is_empty() {
            return Err(GuardError::PartialHash { bytes: hashes.len() });
        }
        let needed = proof_indices_by_layers(&indices, leaf_count).iter().map(Vec::len).sum();
        if chunks.len() != needed {
            return Err(GuardError::HashCount { found: chunks.len(), needed });
        }
        Ok(Self { leaf_count, indices, hashes: chunks.to_vec() })
    }

    /// Checks that `leaves`, in the order of the indices, stand under `root`.
    ///
    /// # Errors
    /// [`GuardError::LeafCount`] or [`GuardError::WrongRoot`].
    pub fn verify(&self, root: Digest, leaves: &[Digest]) -> Result<(), GuardError> {
        if leaves.len() != self.indices.len() {
            return Err(GuardError::LeafCount { indices: self.indices.len(), leaves: leaves.len() });
        }
        let leaves: Vec<_> = leaves.iter().map(|h| h.0).collect();
        match MerkleProof::<Rfc6962>::new(self.hashes.clone()).root(&self.indices, &leaves, self.leaf_count) {
            Ok(found) if found == root.0 => Ok(()),
            _ => Err(GuardError::WrongRoot),
        }
    }

    /// Leaves of the tree.
    pub fn leaf_count(&self) -> usize {
        self.leaf_count
    }

    /// The proven places, strictly increasing.
    pub fn indices(&self) -> &[usize] {
        &self.indices
    }

    /// The proof's hashes, concatenated.
    pub fn to_bytes(&self) -> Vec<u8> {
        self.hashes.concat()
    }
}

fn check_indices(leaf_count: usize, indices: &[usize]) -> Result<(), GuardError> {
    if leaf_count == 0 {
        return Err(GuardError::EmptyTree);
    }
    if leaf_count > TREE_LEAVES_MAX {
        return Err(GuardError::TreeTooLarge { leaves: leaf_count });
    }
    if indices.is_empty() {
        return Err(GuardError::NothingProven);
    }
    if indices.len() > PROVEN_LEAVES_MAX {
        return Err(GuardError::TooManyLeaves { leaves: indices.len() });
    }
    if let Some(pair) = indices.windows(2).find(|w| w[0] >= w[1]) {
        return Err(GuardError::NotIncreasing { index: pair[1] });
    }
    match indices.iter().find(|&&i| i >= leaf_count) {
        Some(&index) => Err(GuardError::OutOfRange { index, leaves: leaf_count }),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests;
