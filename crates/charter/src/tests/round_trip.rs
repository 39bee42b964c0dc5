//! TOML, canonical bytes and hash say the same.

use proptest::prelude::*;
use prost::Message as _;
use puente_model::{Digest, Millis, Purpose};

use crate::generated as pb;
use crate::testing::*;
use crate::*;

fn words() -> impl Strategy<Value = String> {
    "[\\p{L}\"'\\\\#=\\[\\]]{1,12}( [\\p{L}0-9]{1,12}){0,3}"
}

prop_compose! {
    fn commons()(
        number in 1u32..9, valid_from in 0u64..1 << 40, lasts in 1u64..1 << 40, grace_days in 0u32..365,
        cosign_bound_hours in 1u32..1000, period_minutes in 1u32..10_000, hash in any::<[u8; 32]>(),
        titles in (words(), words()), purposes in 1usize..Purpose::ALL.len(), drop_corridor in any::<bool>(),
        drop_bases in any::<bool>(), quarters in 0usize..3, threshold in 1u32..4,
    ) -> CommonPart {
        let mut part = common(&annex("mx"), &annex("us"));
        part.number = number;
        part.previous = (number > 1).then_some(Digest(hash));
        part.valid_from = Millis(valid_from);
        part.expires = Millis(valid_from + lasts);
        part.grace_days = grace_days;
        part.cosign_bound_hours = cosign_bound_hours;
        part.period_minutes = period_minutes;
        part.catalogue = Digest(hash);
        part.jurisdictions[0].threshold = threshold;
        part.jurisdictions[0].name_es.clone_from(&titles.0);
        part.legal_bases[0].title_en = titles.1;
        part.legal_bases[0].purposes = Purpose::ALL[..purposes].to_vec();
        part.auditors[0].seal_keys.truncate(quarters);
        if drop_corridor {
            part.corridors.clear();
        }
        if drop_bases {
            part.legal_bases.clear();
        }
        part
    }
}

prop_compose! {
    fn annexes()(
        number in 1u32..9, common in 1u32..9, hash in any::<[u8; 32]>(), names in (words(), words()),
        suspended in proptest::option::of(words()), closed in proptest::option::of(0u64..i64::MAX as u64),
        head in proptest::option::of((0u64..i64::MAX as u64, any::<[u8; 32]>())), members in 0usize..3,
    ) -> AnnexPart {
        let mut part = annex("mx");
        part.number = number;
        part.common = common;
        part.previous = (number > 1).then_some(Digest(hash));
        let first = &mut part.members[0];
        first.name_en = names.0;
        first.name_es = names.1;
        first.suspended = suspended.is_some() || closed.is_some();
        first.suspended_reason = first.suspended.then(|| suspended.unwrap_or("closed".to_owned()));
        first.logs[0].closed_at = closed;
        first.logs[0].first_head = head.map(|(size, root)| LogHead { size, root: Digest(root) });
        part.members.truncate(members);
        part
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn common_parts_round_trip(part in commons(), other in commons()) {
        let toml = part.to_toml().unwrap();
        let read = Part::from_toml("common.toml", &toml).unwrap();
        prop_assert_eq!(read.hash(), part.hash());
        prop_assert_eq!(&read, &Part::Common(part.clone()));
        let bytes = part.canonical_bytes();
        prop_assert_eq!(pb::CommonPart::decode(&bytes[..]).unwrap().encode_to_vec(), bytes);
        prop_assert_eq!(part.hash() == other.hash(), part == other);
    }

    #[test]
    fn annexes_round_trip(part in annexes(), other in annexes()) {
        let toml = part.to_toml().unwrap();
        let read = Part::from_toml("mx.toml", &toml).unwrap();
        prop_assert_eq!(read.hash(), part.hash());
        prop_assert_eq!(&read, &Part::Annex(part.clone()));
        let bytes = part.canonical_bytes();
        prop_assert_eq!(pb::AnnexPart::decode(&bytes[..]).unwrap().encode_to_vec(), bytes);
        prop_assert_eq!(part.hash() == other.hash(), part == other);
    }

    #[test]
    fn hostile_files_never_panic(at in any::<prop::sample::Index>(), to in "\\PC{0,3}", annex_file in any::<bool>()) {
        let toml = if annex_file { annex("mx").to_toml() } else { common(&annex("mx"), &annex("us")).to_toml() };
        let mut text = toml.unwrap();
        let mut at = at.index(text.len());
        while !text.is_char_boundary(at) {
            at -= 1;
        }
        let end = at + text[at..].chars().next().map_or(0, char::len_utf8);
        text.replace_range(at..end, &to);
        let _ = Part::from_toml("hostile.toml", &text);
        let _ = parse_signatures("hostile.sig", &text);
        let _ = Officers::parse("hostile.toml", &text);
    }
}

#[test]
fn layout_and_comments_are_free() {
    let part = annex("mx");
    let toml = part.to_toml().unwrap();
    let spaced = format!("# Anexo de México\n\n{}", toml.replace(" = ", "   =   "));
    assert_eq!(Part::from_toml("mx.toml", &spaced).unwrap().hash(), part.hash());
}

#[test]
fn defaults_stand_for_absent_keys() {
    let part = common(&annex("mx"), &annex("us"));
    let keep = |line: &&str| {
        !["grace_days", "cosign_bound_hours", "period_minutes", "quorum"].iter().any(|key| line.starts_with(key))
    };
    let toml = part.to_toml().unwrap();
    let short: String = toml.lines().filter(keep).map(|line| format!("{line}\n")).collect();
    assert!(short.len() < toml.len());
    assert_eq!(Part::from_toml("common.toml", &short), Ok(Part::Common(part)));
}

/// The hash of a fixed annex: a change here changes every signature ever made.
#[test]
fn the_canonical_form_is_frozen() {
    let part = annex("mx");
    assert_eq!(part.hash().to_string(), FROZEN);
    let bytes = part.canonical_bytes();
    assert_eq!(&bytes[..18], b"\x0a\x08frontera\x12\x02mx\x18\x01\x28\x01");
}

const FROZEN: &str = "5cd28f786c08a857c8906033074ad7a2561e352cb14e5b47e92785dc97d285d5";
