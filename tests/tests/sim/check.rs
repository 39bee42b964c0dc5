//! What must be true of the logs once everything has come to rest.

use puente_wire::{Entry, Pair};

/// The pair entry, if it stands in the clear.
pub fn pair_in_the_clear(entry: &[u8]) -> Option<Pair> {
    match Entry::decode(entry) {
        Ok(Entry::Pair(pair)) => Some(pair),
        _ => None,
    }
}
