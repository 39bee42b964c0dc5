//! The smallest state from which a tree can grow: the roots of its perfect subtrees.

use puente_model::{Digest, TreeSize};

use crate::hash::{empty_root, leaf_hash, node_hash};

/// A growing RFC 6962 tree in O(log n) memory: it can take a leaf and say its root, and nothing else.
///
/// Used by the writer, by replays, and by whoever needs the root of a list of
/// leaf hashes (the pair roots of periods, for example).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Frontier {
    size: u64,
    /// Roots of the perfect subtrees, the largest (leftmost) first.
    peaks: Vec<Digest>,
}

impl Frontier {
    /// The empty tree.
    pub fn new() -> Self {
        Self::default()
    }

    /// Rebuilds the tree of `size` leaves from the roots of its perfect subtrees, largest first.
    /// The caller has checked that there is one for each set bit of `size`.
    pub(crate) fn from_peaks(size: u64, peaks: Vec<Digest>) -> Self {
        debug_assert_eq!(size.count_ones() as usize, peaks.len());
        Self { size, peaks }
    }

    /// The roots of the perfect subtrees, the largest (leftmost) first.
    pub(crate) fn into_peaks(self) -> Vec<Digest> {
        self.peaks
    }

    /// How many leaves the tree holds.
    pub fn size(&self) -> TreeSize {
        TreeSize(self.size)
    }

    /// Takes the hash of the next leaf.
    pub fn push(&mut self, leaf: Digest) {
        self.push_visiting(leaf, |_, _| ());
    }

    /// Takes the hash of the next leaf and shows each node that it completes, by height (the leaf is height 0).
    pub(crate) fn push_visiting(&mut self, leaf: Digest, mut completed: impl FnMut(usize, Digest)) {
        let (mut node, mut rest, mut height) = (leaf, self.size, 0);
        completed(height, node);
        while rest & 1 == 1 {
            let Some(left) = self.peaks.pop() else { break };
            node = node_hash(&left, &node);
            rest >>= 1;
            height += 1;
            completed(height, node);
        }
        self.peaks.push(node);
        self.size += 1;
    }

    /// Root of the tree as it stands.
    pub fn root(&self) -> Digest {
        self.peaks.iter().copied().rev().reduce(|right, left| node_hash(&left, &right)).unwrap_or_else(empty_root)
    }
}

impl Extend<Digest> for Frontier {
    fn extend<I: IntoIterator<Item = Digest>>(&mut self, leaves: I) {
        leaves.into_iter().for_each(|leaf| self.push(leaf));
    }
}

impl FromIterator<Digest> for Frontier {
    fn from_iter<I: IntoIterator<Item = Digest>>(leaves: I) -> Self {
        let mut tree = Self::new();
        tree.extend(leaves);
        tree
    }
}

/// Root of the tree over these leaf hashes.
pub fn root_of(leaves: impl IntoIterator<Item = Digest>) -> Digest {
    leaves.into_iter().collect::<Frontier>().root()
}

/// Root of the tree over these entries.
pub fn root_of_entries<E: AsRef<[u8]>>(entries: impl IntoIterator<Item = E>) -> Digest {
    root_of(entries.into_iter().map(|entry| leaf_hash(entry.as_ref())))
}
