//! COSE receipts: made of what C2SP receipts are made of, and refused for every byte that is changed.

use puente_model::{Digest, LeafIndex, Secret32};

use super::{Bench, ORIGIN, log_key, signer, witness};
use crate::{
    COSE_RECEIPT_BYTES_MAX, ClaimedCoseReceipt, CoseError, Ed25519Signer, KeyKind, Signer as _, cose_receipt,
    leaf_hash, prove_inclusion,
};

/// The receipt of an entry of a log of `size` entries, and the entry's leaf hash.
fn made(size: u64, index: u64) -> (Vec<u8>, Digest) {
    let bench = Bench::of_size(size);
    let head = bench.heads.last().unwrap();
    let hashes = prove_inclusion(&bench.files, LeafIndex(index), head.size()).unwrap();
    let leaf = leaf_hash(&super::entry(index));
    (cose_receipt(head, LeafIndex(index), &leaf, &hashes, &signer()).unwrap(), leaf)
}

#[test]
fn every_entry_of_every_small_tree_has_one() {
    for size in [1, 2, 3, 5, 8, 33, 300] {
        for index in [0, size / 3, size / 2, size - 1] {
            let (bytes, leaf) = made(size, index);
            assert!(ClaimedCoseReceipt::is_like(&bytes));
            let claimed = ClaimedCoseReceipt::parse(&bytes).unwrap();
            assert_eq!(claimed.origin(), ORIGIN);
            let receipt = claimed.verify(&leaf, &log_key()).unwrap();
            let root = Bench::of_size(size).heads.last().unwrap().root();
            assert_eq!((receipt.origin.as_str(), receipt.root), (ORIGIN, root));
            assert!(claimed.verify(&leaf_hash(b"another"), &log_key()).is_err());
        }
    }
}

/// As RFC 9942 and RFC 9052 have it, byte by byte: written out by hand from the RFCs, not by the library.
#[test]
fn its_bytes_are_those_of_the_rfcs() {
    let (bytes, leaf) = made(2, 0);
    let other = leaf_hash(&super::entry(1));
    let mut protected = vec![0xa3, 0x01, 0x27, 0x04, 0x51]; // {1: -8, 4: bytes(17)
    assert_eq!(ORIGIN.len(), 17);
    protected.extend_from_slice(ORIGIN.as_bytes());
    protected.extend_from_slice(&[0x19, 0x01, 0x8b, 0x01]); // 395: 1}
    let mut proof = vec![0x83, 0x02, 0x00, 0x81, 0x58, 0x20]; // [2, 0, [bytes(32)
    proof.extend_from_slice(&other.0);
    let mut expected = vec![0xd2, 0x84, 0x58, u8::try_from(protected.len()).unwrap()];
    expected.extend_from_slice(&protected);
    expected.extend_from_slice(&[0xa1, 0x19, 0x01, 0x8c, 0xa1, 0x20, 0x81, 0x58]); // {396: {-1: [bytes
    expected.push(u8::try_from(proof.len()).unwrap());
    expected.extend_from_slice(&proof);
    expected.extend_from_slice(&[0xf6, 0x58, 0x40]); // nil, bytes(64)
    assert_eq!(&bytes[..bytes.len() - 64], expected);
    // Sig_structure: ["Signature1", protected, external_aad, payload].
    let root = crate::node_hash(&leaf, &other);
    let mut message = vec![0x84, 0x6a];
    message.extend_from_slice(b"Signature1");
    message.extend_from_slice(&[0x58, u8::try_from(protected.len()).unwrap()]);
    message.extend_from_slice(&protected);
    message.extend_from_slice(&[0x40, 0x58, 0x20]);
    message.extend_from_slice(&root.0);
    assert_eq!(bytes[bytes.len() - 64..], signer().sign(&message));
}

/// Size and place are not signed: another that leads to the same root changes nothing of what is said.
#[test]
fn no_changed_byte_changes_what_is_said() {
    let (bytes, leaf) = made(300, 17);
    let verified =
        |bytes: &[u8]| ClaimedCoseReceipt::parse(bytes).and_then(|claimed| claimed.verify(&leaf, &log_key()));
    let said = verified(&bytes).unwrap();
    let mut unsigned = 0;
    for at in 0..bytes.len() {
        for bit in 0..8 {
            let mut changed = bytes.clone();
            changed[at] ^= 1 << bit;
            if let Ok(other) = verified(&changed) {
                assert_eq!(other, said, "byte {at}, bit {bit}");
                unsigned += 1;
            }
        }
        assert!(verified(&bytes[..at]).is_err(), "cut at {at}");
    }
    assert!(unsigned < 16, "{unsigned} bits of size and place at most");
    let longer = [bytes.as_slice(), &[0]].concat();
    assert!(verified(&longer).is_err());
    let long = vec![0xd2; COSE_RECEIPT_BYTES_MAX + 1];
    assert_eq!(ClaimedCoseReceipt::parse(&long), Err(CoseError::TooLong { found: long.len() }));
    // The same in another encoding of the same values: an index of two bytes where one would do.
    let at = bytes.windows(2).position(|two| two == [0x11, 0x89]).expect("index 17, nine hashes");
    let mut other = bytes.clone();
    other.splice(at..=at, [0x18, 0x11]);
    assert!(ClaimedCoseReceipt::parse(&other).is_err());
}

#[test]
fn nobody_elses_key_signs_or_verifies() {
    let bench = Bench::of_size(5);
    let head = bench.heads.last().unwrap();
    let hashes = prove_inclusion(&bench.files, LeafIndex(3), head.size()).unwrap();
    let leaf = leaf_hash(&super::entry(3));
    let stranger = Ed25519Signer::new("us/sdpd/n1/log1", KeyKind::Ed25519, &Secret32::new([9; 32])).unwrap();
    let another = Ed25519Signer::new(ORIGIN, KeyKind::Ed25519, &Secret32::new([9; 32])).unwrap();
    for signer in [&stranger, &witness()] {
        assert_eq!(cose_receipt(head, LeafIndex(3), &leaf, &hashes, signer), Err(CoseError::OtherKey));
    }
    // A proof of something else is not signed.
    assert!(matches!(cose_receipt(head, LeafIndex(2), &leaf, &hashes, &signer()), Err(CoseError::Proof(_))));
    let forged = cose_receipt(head, LeafIndex(3), &leaf, &hashes, &another).unwrap();
    let claimed = ClaimedCoseReceipt::parse(&forged).unwrap();
    assert_eq!(claimed.verify(&leaf, &log_key()), Err(CoseError::Signature));
    assert_eq!(claimed.verify(&leaf, stranger.verifier()), Err(CoseError::OtherKey));
}
