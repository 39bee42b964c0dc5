//! The one place where a ledger's proof of order becomes a group's.

use puente_group::GroupId;
use puente_ledger::{LedgerOrigin, Ordered};
use puente_model::LeafIndex;

/// Place of an entry in a group's order, counted on over successor ledgers: the ledger's number, then the index.
pub(crate) fn place(ledger: &LedgerOrigin, index: u64) -> LeafIndex {
    LeafIndex((u64::from(ledger.number()) << 40) | index)
}

/// What the group takes a commit in on. `ordered` exists only verified and durable.
pub(crate) fn proof(group: GroupId, ordered: &Ordered) -> puente_group::Ordered {
    let at = place(ordered.ledger(), ordered.index());
    puente_group::Ordered::by_ledger(group, ordered.epoch(), ordered.commit_hash(), at, ordered.at())
}
