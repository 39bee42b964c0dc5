//! The tree's two hashes (RFC 6962, section 2.1), apart by their first byte.

use puente_model::Digest;
use sha2::digest::generic_array::GenericArray;
use sha2::{Digest as _, Sha256, compress256};

/// SHA-256 before its first block (FIPS 180-4, section 5.3.3).
const START: [u32; 8] =
    [0x6a09_e667, 0xbb67_ae85, 0x3c6e_f372, 0xa54f_f53a, 0x510e_527f, 0x9b05_688c, 0x1f83_d9ab, 0x5be0_cd19];
/// Bits of what an inner node hashes: its prefix and two digests.
const NODE_BITS: u16 = 65 * 8;

/// Hash of a leaf: `SHA-256(0x00 ‖ entry)`.
pub fn leaf_hash(entry: &[u8]) -> Digest {
    let mut hash = Sha256::new();
    hash.update([0]);
    hash.update(entry);
    Digest(hash.finalize().into())
}

/// Hash of an inner node: `SHA-256(0x01 ‖ left ‖ right)`.
///
/// Always 65 bytes, so that the two blocks with their padding are laid out here: a hasher for messages of any length
/// takes a quarter longer.
pub fn node_hash(left: &Digest, right: &Digest) -> Digest {
    let (mut first, mut second) = ([1; 64], [0; 64]);
    first[1..33].copy_from_slice(&left.0);
    first[33..].copy_from_slice(&right.0[..31]);
    second[0] = right.0[31];
    second[1] = 0x80;
    second[62..].copy_from_slice(&NODE_BITS.to_be_bytes());
    let mut state = START;
    compress256(&mut state, &[GenericArray::from(first), GenericArray::from(second)]);
    let mut hash = [0; 32];
    for (bytes, word) in hash.as_chunks_mut::<4>().0.iter_mut().zip(state) {
        *bytes = word.to_be_bytes();
    }
    Digest(hash)
}

/// Root of the tree without entries: `SHA-256("")`.
pub fn empty_root() -> Digest {
    Digest::of(b"")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_is_hashed_as_any_message() {
        let digest = |n: u32| Digest::of(&n.to_be_bytes());
        for n in 0..1_000 {
            let (left, right) = (digest(n), digest(n + 1));
            assert_eq!(node_hash(&left, &right), Digest::of(&[&[1], left.0.as_slice(), &right.0].concat()));
        }
    }

    // The first hashes of RFC 6962's test data (certificate-transparency, merkle_tree_test).
    #[test]
    fn matches_the_published_vectors() {
        let hex = |d: Digest| d.to_string();
        assert_eq!(hex(empty_root()), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
        assert_eq!(hex(leaf_hash(b"")), "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d");
        let two = node_hash(&leaf_hash(b""), &leaf_hash(&[0]));
        assert_eq!(hex(two), "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125");
    }
}
