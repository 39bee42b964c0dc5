//! The proof that a commit was ordered, as this room sees it.

use std::fmt;

use puente_model::{Digest, Label, LeafIndex, Millis, NodeUri, digest};

/// `digest(PAIR, [name of one, name of the other, generation as u64be])`, names ascending.
const PAIR: Label = Label("puente/v1/pair-group");

/// A group's name: 32 bytes, never used twice.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct GroupId(pub [u8; 32]);

impl GroupId {
    /// The group of two that a pair of nodes has without ceremony: both know its name. `generation` counts up when the
    /// group is made anew.
    pub fn pair(one: &NodeUri, other: &NodeUri, generation: u64) -> Self {
        let (first, second) = if one <= other { (one, other) } else { (other, one) };
        let generation = generation.to_be_bytes();
        Self(digest(PAIR, &[first.as_str().as_bytes(), second.as_str().as_bytes(), &generation]).0)
    }
}

impl fmt::Display for GroupId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&Digest(self.0), f)
    }
}

impl fmt::Debug for GroupId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "GroupId({self})")
    }
}

/// One entry of a group's ledger, proven: this commit, and no other, ends this epoch.
///
/// This room does not order commits and cannot check order; it only refuses to go on without such a proof, and takes
/// each of them for the one commit that it names. Who makes one vouches that the entry stands in the ledger under a
/// head that the quorum cosigned: [`Ordered::by_ledger`] is called by the room that verified just that, and nowhere
/// else (a test reads the sources).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ordered {
    group: GroupId,
    epoch: u64,
    commit: Digest,
    index: LeafIndex,
    at: Millis,
}

impl Ordered {
    /// From a verified ledger entry.
    ///
    /// `epoch` is the one that the commit ends; `index` the entry's place in the ledger, counted on over successor
    /// ledgers; `at` the moment that the ledger gives it, the same for every member: leaves are judged at it, so that no
    /// two members judge a certificate differently because their clocks differ.
    pub const fn by_ledger(group: GroupId, epoch: u64, commit: Digest, index: LeafIndex, at: Millis) -> Self {
        Self { group, epoch, commit, index, at }
    }

    /// Of which group.
    pub const fn group(&self) -> GroupId {
        self.group
    }

    /// Which epoch the commit ends.
    pub const fn epoch(&self) -> u64 {
        self.epoch
    }

    /// The commit's hash.
    pub const fn commit(&self) -> Digest {
        self.commit
    }

    /// Where it stands in the ledger.
    pub const fn index(&self) -> LeafIndex {
        self.index
    }

    /// When it was ordered.
    pub const fn at(&self) -> Millis {
        self.at
    }
}
