//! Decoding may not multiply what a stranger sends.
//!
//! Byte strings and texts are copied once. Only repeated fields cost more in memory than on the wire: an empty
//! element is two bytes there and up to 48 here. So every repeated field that a decoder can meet must be bounded
//! before it decodes: this is read from the descriptors, and measured on the worst messages.

use std::collections::BTreeSet;

use super::dump::{Descriptors, is_repeated, type_name};
use super::{Codec, name, raw, samples};
use crate::proto::{self, Message as _};
use crate::{entry, frame, header, payload, said};

/// Paths of all repeated fields below a message, by field numbers.
fn repeated(all: &Descriptors, message: &str, prefix: &[u32], out: &mut BTreeSet<Vec<u32>>) {
    for field in &all.message(message).field {
        let path = [prefix, &[field.number() as u32]].concat();
        if is_repeated(field) {
            out.insert(path);
        } else if !field.type_name().is_empty() {
            repeated(all, type_name(field), &path, out);
        }
    }
}

#[test]
fn every_repeated_field_is_counted_before_it_is_decoded() {
    let all = Descriptors::load();
    let bounded = [
        (Codec::Entry, entry::REPEATED),
        (Codec::Header, header::REPEATED),
        (Codec::Payload, payload::PAYLOAD_REPEATED),
        (Codec::Explanation, payload::EXPLANATION_REPEATED),
        (Codec::Frame, frame::REPEATED),
        (Codec::Said, said::SAID_REPEATED),
        (Codec::Alert, said::ALERT_REPEATED),
    ];
    for (codec, fields) in bounded {
        let mut found = BTreeSet::new();
        repeated(&all, codec.message(), &[], &mut found);
        let counted: BTreeSet<_> = fields.iter().map(|field| field.path.to_vec()).collect();
        assert_eq!(found, counted, "{}", codec.message());
    }
}

#[test]
fn lists_of_empty_elements_are_refused_whole() {
    let many = |codec: Codec, sample: &str, path: &[u32], number: u32, element: raw::Raw| {
        let (_, _, bytes) = samples::all().into_iter().find(|(c, n, _)| *c == codec && n == sample).unwrap();
        let stuffed = raw::edit(&bytes, path, &mut |fields| {
            fields.retain(|f| f.number != number);
            fields.extend(std::iter::repeat_n(element.clone(), 20_000));
        });
        name(&codec.round_trip(&stuffed).unwrap_err())
    };
    let empty = |number| raw::Raw::bytes(number, b"");
    assert_eq!(many(Codec::Frame, "ready", &[1, 3], 2, empty(2)), "TooMany charter annexes");
    assert_eq!(many(Codec::Frame, "have", &[10], 4, raw::Raw::number(4, 1)), "TooMany missing numbers");
    let packed = raw::Raw::bytes(4, &[1; 40]);
    assert_eq!(many(Codec::Frame, "have", &[10], 4, packed), "TooMany missing numbers");
    assert_eq!(many(Codec::Entry, "query", &[2, 14], 2, empty(2)), "TooMany charter annexes");
    assert_eq!(many(Codec::Entry, "period", &[2, 29], 5, empty(5)), "TooMany period holes");
    assert_eq!(many(Codec::Entry, "seeds-escrow", &[4], 3, empty(3)), "TooMany seeds");
    assert_eq!(many(Codec::Said, "ask", &[4], 2, empty(2)), "TooMany asks");
    assert_eq!(many(Codec::Alert, "full", &[], 9, empty(9)), "TooMany texts");
    assert_eq!(many(Codec::Header, "event-full", &[2, 13], 2, empty(2)), "TooMany charter annexes");
    assert_eq!(many(Codec::Payload, "full", &[], 5, empty(5)), "TooMany params");
    assert_eq!(many(Codec::Explanation, "full", &[], 5, empty(5)), "TooMany fields");
}

/// Heap bytes of the two frames with lists; of all others the byte strings are the heap, copied once.
fn weight(frame: &proto::frame::Body) -> usize {
    match frame {
        proto::frame::Body::Ready(ready) => {
            let annexes = ready.charter.as_ref().map(|c| &c.annexes);
            let of = |annex: &proto::AnnexNumber| size_of_val(annex) + annex.jurisdiction.capacity();
            let texts = [&ready.charter_hash, &ready.catalogue, &ready.own_head, &ready.your_head];
            let spare = annexes.map_or(0, |a| (a.capacity() - a.len()) * size_of::<proto::AnnexNumber>());
            annexes.map_or(0, |a| a.iter().map(of).sum())
                + spare
                + ready.node.capacity()
                + texts.iter().map(|t| t.capacity()).sum::<usize>()
        }
        proto::frame::Body::Have(have) => have.missing.capacity() * 8,
        _ => 0,
    }
}

#[test]
fn the_largest_lists_weigh_little() {
    let annex = proto::AnnexNumber { jurisdiction: String::new(), number: 0 };
    let ready = proto::Ready {
        charter: Some(proto::CharterVector { common: 0, annexes: vec![annex; 676] }),
        ..proto::Ready::default()
    };
    let have = proto::Have { missing: vec![1; 1_000], ..proto::Have::default() };
    for body in [proto::frame::Body::Ready(ready), proto::frame::Body::Have(have)] {
        let bytes = proto::Frame { body: Some(body) }.encode_to_vec();
        let decoded = crate::decode_frame(&bytes).unwrap();
        let weight = size_of_val(&decoded) + weight(&decoded);
        assert!(weight <= 4 * bytes.len() + 64 * 1024, "{weight} of {}", bytes.len());
    }
}
