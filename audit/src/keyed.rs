//! A quick hash for tables whose keys a stranger may choose.

use std::hash::{BuildHasher, Hasher, RandomState};

/// Numbers drawn for each table, so that nobody can choose keys that fall together.
#[derive(Debug, Clone)]
pub(crate) struct Keyed {
    first: u64,
    multiplier: u64,
}

impl Default for Keyed {
    fn default() -> Self {
        let drawn = RandomState::new();
        Self { first: drawn.hash_one(0_u8), multiplier: drawn.hash_one(1_u8) | 1 }
    }
}

impl BuildHasher for Keyed {
    type Hasher = KeyedHasher;

    fn build_hasher(&self) -> KeyedHasher {
        KeyedHasher { state: self.first, multiplier: self.multiplier }
    }
}

/// One multiplication for each eight bytes, its upper half folded into the lower.
#[derive(Debug)]
pub(crate) struct KeyedHasher {
    state: u64,
    multiplier: u64,
}

impl Hasher for KeyedHasher {
    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.write_u64(u64::from_le_bytes(word));
        }
    }

    fn write_u64(&mut self, word: u64) {
        let product = u128::from(self.state ^ word) * u128::from(self.multiplier);
        self.state = product as u64 ^ (product >> 64) as u64;
    }

    fn write_usize(&mut self, length: usize) {
        self.write_u64(length as u64);
    }

    fn finish(&self) -> u64 {
        self.state
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn equal_keys_have_one_hash_and_others_spread() {
        let keyed = Keyed::default();
        let hash = |n: u64| keyed.hash_one([n.to_be_bytes(), [7; 8]].concat());
        assert_eq!(hash(3), hash(3));
        let all: HashSet<u64> = (0..10_000).map(hash).collect();
        assert_eq!(all.len(), 10_000);
        // The places of a table of as many: as full as chance makes them, two thirds.
        let places: HashSet<u64> = all.iter().map(|hash| hash % 16_384).collect();
        assert!(places.len() > 6_500, "{}", places.len());
        let upper: HashSet<u64> = all.iter().map(|hash| hash >> 50).collect();
        assert!(upper.len() > 6_500, "{}", upper.len());
        assert_ne!(Keyed::default().hash_one(3_u64), keyed.hash_one(3_u64));
    }
}
