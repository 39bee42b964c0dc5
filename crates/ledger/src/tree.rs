//! A ledger's tree in memory: it is small, one leaf a commit.

use puente_audit_log::{SignedCheckpoint, root_of};
use puente_model::{Digest, TreeSize};

use crate::chain::ChainError;
use crate::name::LedgerOrigin;

/// The leaf hashes of one ledger, in order: 32 bytes a commit.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Leaves(Vec<Digest>);

impl Leaves {
    pub(crate) fn push(&mut self, leaf: Digest) {
        self.0.push(leaf);
    }

    /// The first of them.
    pub(crate) fn truncate(&mut self, size: u64) {
        self.0.truncate(usize::try_from(size).unwrap_or(usize::MAX));
    }

    /// The leaves that these entries add, if the head is of this ledger and ends in them.
    pub(crate) fn ends_in(
        &self,
        ledger: &LedgerOrigin,
        entries: &[Vec<u8>],
        head: &SignedCheckpoint,
    ) -> Result<Vec<Digest>, ChainError> {
        if head.origin() != ledger.to_string() {
            return Err(ChainError::OtherLedger { expected: ledger.clone(), found: head.origin().to_owned() });
        }
        let leaves: Vec<Digest> = entries.iter().map(|entry| puente_audit_log::leaf_hash(entry)).collect();
        if head.size().0 != self.size() + leaves.len() as u64 || head.root() != self.root_with(&leaves) {
            return Err(ChainError::Root { size: head.size().0 });
        }
        Ok(leaves)
    }

    pub(crate) fn size(&self) -> u64 {
        self.0.len() as u64
    }

    pub(crate) fn get(&self, index: u64) -> Option<Digest> {
        self.0.get(usize::try_from(index).ok()?).copied()
    }

    pub(crate) fn root(&self) -> Digest {
        root(&self.0)
    }

    /// The root at an earlier size; none at a later one.
    pub(crate) fn root_at(&self, size: u64) -> Option<Digest> {
        self.0.get(..usize::try_from(size).ok()?).map(root)
    }

    /// The root with these leaves after the others.
    pub(crate) fn root_with(&self, more: &[Digest]) -> Digest {
        root(&[self.0.as_slice(), more].concat())
    }

    /// The path of a leaf in the whole tree (RFC 9162, 2.1.3.1).
    pub(crate) fn inclusion(&self, index: u64) -> Vec<Digest> {
        let mut path = Vec::new();
        if let Ok(index) = usize::try_from(index)
            && index < self.0.len()
        {
            inclusion(&self.0, index, &mut path);
        }
        path
    }

    /// The proof that the whole tree begins with `old` leaves (RFC 9162, 2.1.4.1).
    pub(crate) fn consistency(&self, old: TreeSize) -> Vec<Digest> {
        let mut proof = Vec::new();
        match usize::try_from(old.0) {
            Ok(old) if 0 < old && old < self.0.len() => consistency(&self.0, old, true, &mut proof),
            _ => {}
        }
        proof
    }
}

fn root(leaves: &[Digest]) -> Digest {
    root_of(leaves.iter().copied())
}

/// The largest power of two below the number of leaves.
fn split(leaves: &[Digest]) -> usize {
    leaves.len().next_power_of_two() / 2
}

fn inclusion(leaves: &[Digest], index: usize, path: &mut Vec<Digest>) {
    if leaves.len() <= 1 {
        return;
    }
    let (left, right) = leaves.split_at(split(leaves));
    if index < left.len() {
        inclusion(left, index, path);
        path.push(root(right));
    } else {
        inclusion(right, index - left.len(), path);
        path.push(root(left));
    }
}

fn consistency(leaves: &[Digest], old: usize, whole: bool, proof: &mut Vec<Digest>) {
    if old == leaves.len() {
        if !whole {
            proof.push(root(leaves));
        }
        return;
    }
    let (left, right) = leaves.split_at(split(leaves));
    if old <= left.len() {
        consistency(left, old, whole, proof);
        proof.push(root(right));
    } else {
        consistency(right, old - left.len(), false, proof);
        proof.push(root(left));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use puente_audit_log::{leaf_hash, node_hash, verify_consistency, verify_inclusion};
    use puente_model::LeafIndex;

    #[test]
    fn proofs_hold_for_every_leaf_and_size() {
        let mut leaves = Leaves::default();
        for n in 1..=40_u64 {
            leaves.push(leaf_hash(&n.to_be_bytes()));
            let (size, root) = (TreeSize(n), leaves.root());
            for at in 0..n {
                let path = leaves.inclusion(at);
                verify_inclusion(LeafIndex(at), size, &leaves.get(at).unwrap(), &path, &root).unwrap();
                let old = leaves.root_at(at).unwrap();
                verify_consistency(TreeSize(at), size, &old, &root, &leaves.consistency(TreeSize(at))).unwrap();
            }
        }
        assert_eq!(node_hash(&leaves.get(0).unwrap(), &leaves.get(1).unwrap()), leaves.root_at(2).unwrap());
    }
}
