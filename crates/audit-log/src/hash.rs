//! The tree's two hashes (RFC 6962, section 2.1), apart by their first byte.

use puente_model::Digest;
use sha2::{Digest as _, Sha256};

/// Hash of a leaf: `SHA-256(0x00 ‖ entry)`.
pub fn leaf_hash(entry: &[u8]) -> Digest {
    let mut hash = Sha256::new();
    hash.update([0]);
    hash.update(entry);
    Digest(hash.finalize().into())
}

/// Hash of an inner node: `SHA-256(0x01 ‖ left ‖ right)`.
pub fn node_hash(left: &Digest, right: &Digest) -> Digest {
    let mut bytes = [1; 65];
    bytes[1..33].copy_from_slice(&left.0);
    bytes[33..].copy_from_slice(&right.0);
    Digest(Sha256::digest(bytes).into())
}

/// Root of the tree without entries: `SHA-256("")`.
pub fn empty_root() -> Digest {
    Digest::of(b"")
}

#[cfg(test)]
mod tests {
    use super::*;

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
