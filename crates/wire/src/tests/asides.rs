//! Sidecar records: the reader accepts what prost decodes and encodes to the same bytes.

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

use super::raw::{self, Raw};
use crate::proto::{self, Message as _, aside::Body};
use crate::{Aside, AsideBody};

fn by_encoding(bytes: &[u8]) -> Option<proto::Aside> {
    proto::Aside::decode(bytes).ok().filter(|aside| aside.encode_to_vec() == bytes)
}

fn copied(aside: &Aside<'_>) -> proto::Aside {
    let body = aside.body.map(|body| match body {
        AsideBody::PeerReceipt(text) => Body::PeerReceipt(text.to_vec()),
        AsideBody::PeerHead(note) => Body::PeerHead(note.to_vec()),
        AsideBody::SealedHeader { seeds, ciphertext } => {
            Body::SealedHeader(proto::SealedHeader { seeds: seeds.to_vec(), ciphertext: ciphertext.to_vec() })
        }
        AsideBody::Escrow { seeds, share_hashes: [first, second], blob } => Body::Escrow(proto::Escrow {
            seeds: seeds.to_vec(),
            share_hash_1: first.to_vec(),
            share_hash_2: second.to_vec(),
            blob: blob.to_vec(),
        }),
    });
    proto::Aside { leaf_hash: aside.leaf_hash.to_vec(), body }
}

fn same(bytes: &[u8]) {
    assert_eq!(Aside::read(bytes).map(|aside| copied(&aside)), by_encoding(bytes));
}

fn some() -> impl Strategy<Value = Vec<u8>> {
    vec(any::<u8>(), 0..40)
}

fn body() -> impl Strategy<Value = Body> {
    prop_oneof![
        some().prop_map(Body::PeerReceipt),
        some().prop_map(Body::PeerHead),
        (some(), some()).prop_map(|(seeds, ciphertext)| Body::SealedHeader(proto::SealedHeader { seeds, ciphertext })),
        (some(), some(), some(), some()).prop_map(|(seeds, share_hash_1, share_hash_2, blob)| {
            Body::Escrow(proto::Escrow { seeds, share_hash_1, share_hash_2, blob })
        }),
    ]
}

proptest! {
    #[test]
    fn a_record_is_read_as_it_encodes(
        leaf_hash in some(),
        body in option::of(body()),
        at in any::<prop::sample::Index>(),
        byte in any::<u8>(),
        other in 0..7_u32,
    ) {
        let bytes = proto::Aside { leaf_hash, body }.encode_to_vec();
        prop_assert!(Aside::read(&bytes).is_some());
        same(&bytes);
        let mut grown = bytes.clone();
        grown.insert(at.index(bytes.len() + 1), byte);
        same(&grown);
        if !bytes.is_empty() {
            same(&bytes[..at.index(bytes.len())]);
            let mut changed = bytes.clone();
            changed[at.index(bytes.len())] ^= 1 << (byte % 8);
            same(&changed);
        }
        // A second body, an empty one, a repeated one.
        same(&raw::edit(&bytes, &[], &mut |fields| fields.push(Raw::bytes(other + 1, b""))));
        same(&raw::edit(&bytes, &[], &mut |fields| fields.extend(fields.clone())));
    }
}
