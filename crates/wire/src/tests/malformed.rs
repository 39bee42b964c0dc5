//! Thousands of malformed messages, each made from a valid one by one named defect.
//!
//! They are made anew in every run, by the descriptors: a field that is added is attacked without anyone's doing.

use std::collections::{BTreeMap, BTreeSet};

use prost_types::field_descriptor_proto::Type;

use super::dump::{Descriptors, is_repeated, type_name};
use super::raw::{self, Raw};
use super::{Codec, name, samples};
use crate::proto::frame::Body;
use crate::{Entry, Header, QueryPayload, WireError, decode_frame, explanation_from_bytes, proto};

/// Byte strings that hold canonical messages of their own.
const INNER: [(&str, &str, &str); 4] = [
    ("Proven", "entry", "Entry"),
    ("Proven", "header", "Header"),
    ("Ask", "payload", "QueryPayload"),
    ("Plain", "payload", "Explanation"),
];

/// One malformed message.
struct Case {
    codec: Codec,
    name: String,
    bytes: Vec<u8>,
    /// Only the encoding is wrong: canonical messages must refuse it whatever it says.
    encoding: bool,
    /// It stands in canonical bytes.
    canonical: bool,
}

struct Forge<'a> {
    all: &'a Descriptors,
    cases: Vec<Case>,
}

impl Forge<'_> {
    /// Attacks the message of type `message` at `path` of `whole`, and every message in it.
    fn attack(&mut self, codec: Codec, sample: &str, whole: &[u8], path: &[u32], message: &str, canonical: bool) {
        let mut fields = Vec::new();
        let same = raw::edit(whole, path, &mut |found| fields.clone_from(found));
        assert_eq!(same, whole);
        let label = |place: &str, defect: &str| {
            let path: Vec<_> = path.iter().map(ToString::to_string).collect();
            format!("{sample}/{}{place}/{defect}", path.join("."))
        };
        let mut put = |place: &str, defect: &str, encoding: bool, change: &mut dyn FnMut(&mut Vec<Raw>)| {
            let bytes = raw::edit(whole, path, change);
            if bytes != whole {
                self.cases.push(Case { codec, name: label(place, defect), bytes, encoding, canonical });
            }
        };

        let tail = |bytes: &[u8]| Raw { tag: Some(bytes.to_vec()), wire: 1, ..Raw::bytes(1, b"") };
        put("", "unknown-varint", true, &mut |f| f.push(Raw::number(900, 1)));
        put("", "unknown-bytes-first", true, &mut |f| f.insert(0, Raw::bytes(900, b"?")));
        put("", "unknown-group", true, &mut |f| f.push(tail(&[0xa3, 0x38, 0xa4, 0x38])));
        put("", "group-unclosed", true, &mut |f| f.push(tail(&[0xa3, 0x38])));
        put("", "field-number-zero", true, &mut |f| f.push(tail(&[0x02, 0])));
        put("", "wire-type-seven", true, &mut |f| f.push(tail(&[0x0f])));
        put("", "trailing-zero", true, &mut |f| f.push(tail(&[0])));
        put("", "trailing-tag", true, &mut |f| f.push(tail(&[0x0a])));
        put("", "emptied", false, &mut Vec::clear);
        put("", "twice", true, &mut |f| f.extend(f.clone()));
        put("", "reversed", true, &mut |f| f.reverse());

        for (at, field) in fields.iter().enumerate() {
            let known = self.all.message(message).field.iter().find(|f| f.number() as u32 == field.number).unwrap();
            let place = format!(".{}[{at}]", known.name());
            let place = place.as_str();
            let repeated = is_repeated(known);
            let longer = |value: &[u8]| [value, b"?"].concat();
            put(place, "removed", false, &mut |f| drop(f.remove(at)));
            put(place, "doubled", !repeated, &mut |f| f.insert(at, f[at].clone()));
            put(place, "moved-last", !repeated, &mut |f| {
                let moved = f.remove(at);
                f.push(moved);
            });
            put(place, "tag-too-long", true, &mut |f| {
                f[at].tag = Some(raw::long_varint(u64::from(field.number) << 3 | u64::from(field.wire)));
            });
            put(place, "as-fixed32", true, &mut |f| {
                f[at] = Raw { wire: 5, value: vec![1; 4], ..f[at].clone() };
            });
            put(place, "as-fixed64", true, &mut |f| {
                f[at] = Raw { wire: 1, value: vec![1; 8], ..f[at].clone() };
            });
            if field.wire == 0 {
                let value = u64::from(field.value[0] & 0x7f);
                put(place, "explicit-default", true, &mut |f| f[at].value = vec![0]);
                put(place, "varint-too-long", true, &mut |f| {
                    let last = field.value.len() - 1;
                    f[at].value[last] |= 0x80;
                    f[at].value.push(0);
                });
                put(place, "varint-of-11-bytes", true, &mut |f| f[at].value = [vec![0xff; 10], vec![1]].concat());
                put(place, "varint-unended", true, &mut |f| f[at].value = vec![0x80 | value as u8]);
                put(place, "largest", false, &mut |f| f[at].value = raw::varint(u64::MAX));
                put(place, "beyond-32-bits", false, &mut |f| f[at].value = raw::varint(1 << 32 | value));
                put(place, "as-bytes", true, &mut |f| f[at] = Raw::bytes(field.number, b"?"));
            } else if field.wire == 2 {
                let len = field.value.len() as u64;
                // An empty message is not the same as none.
                let default = !repeated && known.r#type() != Type::Message;
                put(place, "explicit-default", default, &mut |f| f[at].value.clear());
                put(place, "length-too-long", true, &mut |f| f[at].length = Some(raw::long_varint(len)));
                put(place, "length-beyond-the-end", true, &mut |f| {
                    f[at].length = Some(raw::varint(len + 1_000_000));
                });
                put(place, "length-of-64-bits", true, &mut |f| f[at].length = Some(raw::varint(u64::MAX)));
                put(place, "cut-short", false, &mut |f| f[at].value.truncate(field.value.len().saturating_sub(1)));
                put(place, "one-byte-more", false, &mut |f| f[at].value = longer(&field.value));
                put(place, "not-utf-8", false, &mut |f| f[at].value = vec![0xc3, 0x28]);
                put(place, "as-number", true, &mut |f| f[at] = Raw::number(field.number, 1));
            }
        }
        for (at, field) in fields.iter().enumerate() {
            let known = self.all.message(message).field.iter().find(|f| f.number() as u32 == field.number).unwrap();
            let first = fields.iter().position(|f| f.number == field.number) == Some(at);
            let inner = INNER.iter().find(|(m, f, _)| *m == message && *f == known.name()).map(|(_, _, inner)| *inner);
            let below = match known.r#type() {
                Type::Message => Some((type_name(known), canonical)),
                _ => inner.map(|inner| (inner, true)),
            };
            if let Some((below, canonical)) = below.filter(|_| first && !field.value.is_empty()) {
                let path = [path, &[field.number]].concat();
                self.attack(codec, sample, whole, &path, below, canonical);
            }
        }
    }
}

fn cases() -> Vec<Case> {
    let all = Descriptors::load();
    let mut forge = Forge { all: &all, cases: Vec::new() };
    // What is said carries entries as bytes, which are judged as entries.
    for (codec, sample, bytes) in samples::all().into_iter().filter(|(codec, ..)| *codec != Codec::Said) {
        forge.attack(codec, &sample, &bytes, &[], codec.message(), codec != Codec::Frame);
    }
    forge.cases
}

/// Malformed messages of the canonical codecs, among them those that frames carry.
pub(super) fn canonical_cases() -> impl Iterator<Item = (Codec, Vec<u8>)> {
    cases().into_iter().filter(|case| case.codec != Codec::Frame).map(|case| (case.codec, case.bytes))
}

/// Everything in a frame that is decoded before anyone is asked whether it is believed.
fn judge_frame(bytes: &[u8]) -> Result<(), WireError> {
    let proven = |proven: &Option<proto::Proven>| match proven {
        Some(proven) => {
            Entry::decode(&proven.entry)?;
            if !proven.header.is_empty() {
                Header::decode(&proven.header)?;
            }
            Ok(())
        }
        None => Err(WireError::Field("entry")),
    };
    let plain = |plain: &proto::Plain| explanation_from_bytes(&plain.payload).map(|_| ());
    match decode_frame(bytes)? {
        Body::Ask(ask) => {
            QueryPayload::decode(&ask.payload)?;
            proven(&ask.query)
        }
        Body::Reply(reply) => {
            if let Some(proto::reply::Content::Plain(content)) = &reply.content {
                plain(content)?;
            }
            proven(&reply.answer)
        }
        Body::Release(release) => proven(&release.release),
        Body::Deliver(deliver) => {
            if let Some(proto::deliver::Content::Plain(content)) = &deliver.content {
                plain(content)?;
            }
            proven(&deliver.entry)
        }
        Body::Lost(lost) if lost.entry.is_some() => proven(&lost.entry),
        _ => Ok(()),
    }
}

#[test]
fn every_defect_has_its_own_bytes_and_name() {
    let cases = cases();
    let names: BTreeSet<_> = cases.iter().map(|case| (case.codec, &case.name)).collect();
    assert_eq!(names.len(), cases.len());
    let frames = cases.iter().filter(|case| case.codec == Codec::Frame).count();
    assert!(frames >= 2_000, "{frames} malformed frames");
}

#[test]
fn canonical_bytes_have_one_encoding() {
    for case in cases().iter().filter(|case| case.codec != Codec::Frame) {
        match case.codec.round_trip(&case.bytes) {
            Err(error) => assert!(!error.to_string().is_empty()),
            Ok(again) => {
                assert!(!case.encoding, "{:?} {} was accepted", case.codec, case.name);
                assert_eq!(again, case.bytes, "{:?} {}", case.codec, case.name);
            }
        }
    }
}

#[test]
fn malformed_frames_are_refused_by_name_or_mean_what_they_say() {
    let mut outcomes: BTreeMap<String, usize> = BTreeMap::new();
    for case in cases().iter().filter(|case| case.codec == Codec::Frame) {
        let outcome = match judge_frame(&case.bytes) {
            Ok(()) => {
                // Frames tolerate, what they carry does not.
                assert!(!(case.canonical && case.encoding), "{} was accepted", case.name);
                "accepted".to_owned()
            }
            Err(error) => name(&error),
        };
        *outcomes.entry(outcome).or_default() += 1;
    }
    assert!(outcomes["Undecodable"] > 500 && outcomes["NotCanonical"] > 300, "{outcomes:?}");
    println!("{outcomes:?}");
}
