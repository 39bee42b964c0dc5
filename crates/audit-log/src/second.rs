//! A second, independent computation of tile roots, with rs_merkle.

use puente_model::Digest;
use rs_merkle::{Hasher, MerkleTree};
use sha2::{Digest as _, Sha256};

/// rs_merkle's tree with RFC 6962 hashing: prefixes 0 and 1; the default for a lone right node is to promote it.
#[derive(Clone)]
struct Rfc6962;

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

/// Hash of an entry.
pub(crate) fn leaf(entry: &[u8]) -> Digest {
    Digest(Rfc6962::hash(entry))
}

/// Root over leaf (or node) hashes, computed by rs_merkle and not by this crate's own tree; none for no hashes.
///
/// For comparing with [`crate::root_of`] before a root is signed or believed: a
/// fault of memory, processor or code would have to strike both alike.
/// It sorts and copies: for tiles and the pair roots of periods, not for logs.
pub fn root(hashes: &[Digest]) -> Option<Digest> {
    let hashes: Vec<[u8; 32]> = hashes.iter().map(|h| h.0).collect();
    MerkleTree::<Rfc6962>::from_leaves(&hashes).root().map(Digest)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hash::leaf_hash;

    #[test]
    fn both_ways_agree_at_every_width() {
        let leaves: Vec<Digest> = (0_u16..300).map(|i| leaf_hash(&i.to_be_bytes())).collect();
        for n in 1..=leaves.len() {
            assert_eq!(root(&leaves[..n]), Some(crate::root_of(leaves[..n].iter().copied())), "{n}");
        }
        assert_eq!(leaf(b"x"), leaf_hash(b"x"));
    }
}
