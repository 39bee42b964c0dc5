//! The strict reader accepts what decoding, encoding again and comparing accepts: the same bytes, with the same meaning.
//!
//! `decode_by_encoding` is the definition of canonical; here it judges the reader, byte string by byte string.

use std::cell::RefCell;

use proptest::collection::vec;
use proptest::prelude::*;

use super::raw::{self, Raw};
use super::{Codec, malformed, samples, strategies};
use crate::strict::whole;
use crate::{Entry, EntryReader, Explanation, Header, QueryPayload};

thread_local! {
    static READER: RefCell<EntryReader> = RefCell::default();
}

/// Panics unless both ways make the same of these bytes; says whether they accept them.
fn same(codec: Codec, bytes: &[u8]) -> bool {
    macro_rules! both {
        ($t:ty) => {{
            let (strict, long) = (whole(bytes, <$t>::read), <$t>::decode_by_encoding(bytes).ok());
            assert!(strict == long, "{codec:?}: strict {}, long {}", strict.is_some(), long.is_some());
            strict.is_some()
        }};
    }
    match codec {
        Codec::Entry => {
            let long = Entry::decode_by_encoding(bytes).ok();
            let alone = whole(bytes, |message| Entry::read(message, None));
            assert!(alone == long, "strict {}, long {}", alone.is_some(), long.is_some());
            // One reader for all of them: what it remembers of the others changes nothing.
            let together = READER.with_borrow_mut(|reader| reader.read(bytes));
            assert!(together.ok() == long, "in a series, long {}", long.is_some());
            long.is_some()
        }
        Codec::Header => both!(Header),
        Codec::Payload => both!(QueryPayload),
        Codec::Explanation => both!(Explanation),
        // These have no strict reader.
        Codec::Frame | Codec::Said | Codec::Alert => false,
    }
}

fn canonical() -> impl Iterator<Item = (Codec, String, Vec<u8>)> {
    let strict = |codec: &Codec| !matches!(codec, Codec::Frame | Codec::Said | Codec::Alert);
    samples::all().into_iter().filter(move |(codec, ..)| strict(codec))
}

#[test]
fn every_sample_and_every_defect() {
    for (codec, name, bytes) in canonical() {
        assert!(same(codec, &bytes), "{codec:?} {name}");
    }
    let mut judged = 0;
    for (codec, bytes) in malformed::canonical_cases() {
        same(codec, &bytes);
        judged += 1;
    }
    assert!(judged > 2_000, "{judged}");
}

#[test]
fn every_bit_and_every_cut() {
    for (codec, _, bytes) in canonical() {
        for at in 0..bytes.len() {
            same(codec, &bytes[..at]);
            for bit in 0..8 {
                let mut changed = bytes.clone();
                changed[at] ^= 1 << bit;
                same(codec, &changed);
            }
        }
    }
}

/// Numbers of the fields that lead to each message of a sample.
fn messages(bytes: &[u8], path: &[u32], out: &mut Vec<Vec<u32>>) {
    out.push(path.to_vec());
    let mut fields = Vec::new();
    raw::edit(bytes, path, &mut |found| fields.clone_from(found));
    fields.dedup_by_key(|field| field.number);
    for field in fields.iter().filter(|field| field.wire == 2 && !field.value.is_empty()) {
        // A text may look like a message: what is done to it is then one defect more.
        if raw::parse(&field.value).is_some() {
            messages(bytes, &[path, &[field.number]].concat(), out);
        }
    }
}

/// Fields of one kind of entry in an entry of another kind, where their number belongs.
#[test]
fn every_field_of_every_other_sample() {
    let all: Vec<_> = canonical().collect();
    let mut judged = 0;
    for (codec, _, bytes) in &all {
        for (_, _, donor) in all.iter().filter(|(c, ..)| c == codec) {
            for outer in [&[][..], &[1], &[2], &[3], &[4]] {
                let fields_at = |of: &[u8]| match outer {
                    [] => raw::parse(of),
                    [number, ..] => {
                        let field = raw::parse(of)?.into_iter().find(|f| f.number == *number && f.wire == 2)?;
                        raw::parse(&field.value)
                    }
                };
                let (Some(_), Some(theirs)) = (fields_at(bytes), fields_at(donor)) else { continue };
                for field in theirs {
                    let changed = raw::edit(bytes, outer, &mut |mine| raw::set(mine, field.clone()));
                    same(*codec, &changed);
                    judged += 1;
                }
            }
        }
    }
    assert!(judged > 2_000, "{judged}");
}

/// One change of a message's fields.
#[derive(Debug, Clone)]
enum Change {
    Remove(prop::sample::Index),
    Double(prop::sample::Index),
    Swap(prop::sample::Index, prop::sample::Index),
    Number(u32, u64),
    Bytes(u32, Vec<u8>),
    LongTag(prop::sample::Index),
    LongLength(prop::sample::Index),
}

fn change() -> impl Strategy<Value = Change> {
    let at = any::<prop::sample::Index>;
    let value = prop_oneof![0..8_u64, any::<u64>(), Just(u64::from(u32::MAX)), Just(1 << 32), Just(u64::MAX)];
    let bytes = prop_oneof![vec(any::<u8>(), 0..4), vec(any::<u8>(), 16), vec(any::<u8>(), 32)];
    prop_oneof![
        at().prop_map(Change::Remove),
        at().prop_map(Change::Double),
        (at(), at()).prop_map(|(a, b)| Change::Swap(a, b)),
        (1..33_u32, value).prop_map(|(number, value)| Change::Number(number, value)),
        (1..33_u32, bytes).prop_map(|(number, bytes)| Change::Bytes(number, bytes)),
        at().prop_map(Change::LongTag),
        at().prop_map(Change::LongLength),
    ]
}

fn apply(change: &Change, fields: &mut Vec<Raw>) {
    if fields.is_empty() {
        return;
    }
    let len = fields.len();
    match change {
        Change::Remove(at) => drop(fields.remove(at.index(len))),
        Change::Double(at) => fields.insert(at.index(len), fields[at.index(len)].clone()),
        Change::Swap(a, b) => fields.swap(a.index(len), b.index(len)),
        Change::Number(number, value) => raw::set(fields, Raw::number(*number, *value)),
        Change::Bytes(number, bytes) => raw::set(fields, Raw::bytes(*number, bytes)),
        Change::LongTag(at) => {
            let field = &mut fields[at.index(len)];
            field.tag = Some(raw::long_varint(u64::from(field.number) << 3 | u64::from(field.wire)));
        }
        Change::LongLength(at) => {
            let field = &mut fields[at.index(len)];
            field.length = Some(raw::long_varint(field.value.len() as u64));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn whatever_can_be_said_and_what_is_near_it(
        entry in strategies::entry(),
        header in strategies::header(),
        payload in strategies::payload(),
        explanation in strategies::explanation(),
        place in any::<prop::sample::Index>(),
        changes in vec(change(), 1..3),
        noise in vec((any::<prop::sample::Index>(), any::<u8>(), 0..3_u8), 1..3),
    ) {
        let all = [
            (Codec::Entry, entry.encode()),
            (Codec::Header, header.encode()),
            (Codec::Payload, payload.encode()),
            (Codec::Explanation, explanation.encode()),
        ];
        for (codec, bytes) in all {
            prop_assert!(same(codec, &bytes));
            let mut paths = Vec::new();
            messages(&bytes, &[], &mut paths);
            let path = &paths[place.index(paths.len())];
            let edited = raw::edit(&bytes, path, &mut |fields| changes.iter().for_each(|c| apply(c, fields)));
            same(codec, &edited);
            let mut noisy = bytes;
            for (at, byte, what) in &noise {
                let at = at.index(noisy.len() + 1);
                match what {
                    0 => noisy.insert(at, *byte),
                    1 if at < noisy.len() => noisy[at] = *byte,
                    _ if at < noisy.len() => drop(noisy.remove(at)),
                    _ => noisy.push(*byte),
                }
            }
            same(codec, &noisy);
        }
    }

    #[test]
    fn any_bytes(bytes in vec(any::<u8>(), 0..200)) {
        for codec in Codec::ALL {
            same(codec, &bytes);
        }
    }
}
