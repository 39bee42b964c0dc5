//! One row per defect, each with its own error.

use crate::testing::*;
use crate::*;

/// Signs honestly after the change, so that the defect itself is what is found.
fn with(change: impl FnOnce(&mut CommonPart, &mut AnnexPart, &mut AnnexPart)) -> Result<Charter, CharterError> {
    let (mut mx, mut us) = (annex("mx"), annex("us"));
    let mut part = common(&mx, &us);
    change(&mut part, &mut mx, &mut us);
    part.jurisdictions.iter_mut().for_each(|j| match j.code.as_str() {
        "mx" => j.annex = pin_of(&mx),
        _ => j.annex = pin_of(&us),
    });
    let parts = [claim_common(&part, &ALL)?, claim_annex(&mx, &MX)?, claim_annex(&us, &US)?];
    Charter::verify(parts, part.hash())
}

/// Signs with the keys named.
fn signed_by(all: &[&str], mx: &[&str], us: &[&str]) -> Result<Charter, CharterError> {
    let (a, b) = (annex("mx"), annex("us"));
    let part = common(&a, &b);
    Charter::verify([claim_common(&part, all)?, claim_annex(&a, mx)?, claim_annex(&b, us)?], part.hash())
}

fn defect(change: impl FnOnce(&mut CommonPart, &mut AnnexPart, &mut AnnexPart)) -> Defect {
    match with(change) {
        Err(CharterError::Defect { defect, .. }) => defect,
        other => panic!("{other:?}"),
    }
}

fn part(name: &str) -> String {
    name.to_owned()
}

#[test]
fn the_untouched_charter_is_sound() {
    assert!(with(|_, _, _| {}).is_ok());
    assert!(signed_by(&ALL, &MX, &US).is_ok());
}

#[test]
fn signatures() {
    let missing = |file: &str, nation: &str, have| {
        Some(CharterError::MissingSignatures { part: part(file), jurisdiction: code(nation), have, need: 2 })
    };
    let unknown =
        |file: &str, signer: &str| Some(CharterError::UnknownSigner { part: part(file), signer: part(signer) });
    assert_eq!(signed_by(&MX, &MX, &US).err(), missing("common-1.toml", "us", 0));
    assert_eq!(signed_by(&["us-gov-1", "us-gov-2", "mx-gov-1"], &MX, &US).err(), missing("common-1.toml", "mx", 1));
    // One signer twice is one signer.
    assert_eq!(signed_by(&ALL, &["mx-gov-1", "mx-gov-1"], &US).err(), missing("mx-1.toml", "mx", 1));
    assert_eq!(signed_by(&ALL, &[], &US).err(), missing("mx-1.toml", "mx", 0));
    // The other nation's keys do not sign an annex, not even beside enough of its own.
    assert_eq!(signed_by(&ALL, &US, &US).err(), unknown("mx-1.toml", "us-gov-2"));
    assert_eq!(signed_by(&ALL, &["mx-gov-1", "mx-gov-2", "us-gov-1"], &US).err(), unknown("mx-1.toml", "us-gov-1"));
    assert_eq!(signed_by(&["stranger"], &MX, &US).err(), unknown("common-1.toml", "stranger"));
    // Another key under a known name.
    let (mx, us) = (annex("mx"), annex("us"));
    let common = common(&mx, &us);
    let mut forged = signatures(mx.hash(), &["mx-gov-1"]);
    forged.push(sign(&mx.hash(), &key("stranger"), "mx-gov-2"));
    let forged = ClaimedPart::new("mx-1.toml", Part::Annex(mx), forged).unwrap();
    let parts = [claim_common(&common, &ALL).unwrap(), forged, claim_annex(&us, &US).unwrap()];
    assert_eq!(
        Charter::verify(parts, common.hash()).unwrap_err(),
        CharterError::BadSignature { part: part("mx-1.toml"), signer: part("mx-gov-2") }
    );
    // Signatures gathered in two copies of a file count together.
    let (mx, us) = (annex("mx"), annex("us"));
    let copies = [
        claim_common(&common, &MX).unwrap(),
        claim_common(&common, &US).unwrap(),
        claim_annex(&mx, &MX).unwrap(),
        claim_annex(&us, &US).unwrap(),
    ];
    assert!(Charter::verify(copies, common.hash()).is_ok());

    fn signatures(hash: puente_model::Digest, signers: &[&str]) -> Vec<PartSignature> {
        crate::testing::signatures(hash, signers)
    }
}

#[test]
fn pins() {
    let (mx, us) = (annex("mx"), annex("us"));
    let common_1 = common(&mx, &us);
    let all = || [claim_common(&common_1, &ALL), claim_annex(&mx, &MX), claim_annex(&us, &US)].map(Result::unwrap);
    let wrong = mx.hash();
    assert_eq!(
        Charter::verify(all(), wrong).unwrap_err(),
        CharterError::WrongPin { found: common_1.hash(), pinned: wrong }
    );
    assert_eq!(Charter::verify([], wrong).unwrap_err(), CharterError::NoCommonPart);
    let annexes = [claim_annex(&mx, &MX).unwrap()];
    assert_eq!(Charter::verify(annexes, wrong).unwrap_err(), CharterError::NoCommonPart);
    let no_us = [claim_common(&common_1, &ALL).unwrap(), claim_annex(&mx, &MX).unwrap()];
    assert_eq!(
        Charter::verify(no_us, common_1.hash()).unwrap_err(),
        CharterError::MissingAnnex { jurisdiction: code("us"), number: 1 }
    );
    // Its nation signed it, but it is not the one that all agreed on.
    let mut other = mx.clone();
    other.members.pop();
    let parts = [claim_common(&common_1, &ALL), claim_annex(&other, &MX), claim_annex(&us, &US)].map(Result::unwrap);
    assert_eq!(
        Charter::verify(parts, common_1.hash()).unwrap_err(),
        CharterError::PinnedAnnexDiffers {
            part: part("mx-1.toml"),
            common: 1,
            jurisdiction: code("mx"),
            number: 1,
            pinned: mx.hash(),
            found: other.hash()
        }
    );
    // An annex of nobody's.
    let stranger = claim_annex(&annex("ca"), &["ca-gov-1", "ca-gov-2"]).unwrap();
    let parts = all().into_iter().chain([stranger]);
    assert_eq!(
        Charter::verify(parts, common_1.hash()).unwrap_err(),
        CharterError::ForeignAnnex { part: part("ca-1.toml"), jurisdiction: code("ca") }
    );
    assert!(matches!(
        with(|_, mx, _| mx.federation = part("elsewhere")).unwrap_err(),
        CharterError::OtherFederation { found, .. } if found == "elsewhere"
    ));
    assert_eq!(with(|_, mx, _| mx.common = 2).unwrap_err(), CharterError::MissingCommonPart { number: 2 });
}

#[test]
fn holders() {
    let shared = with(|_, mx, us| {
        let origin = us.members[0].logs[0].origin.to_string();
        us.members[0].logs[0].vkey = vkey(&origin, 1);
        assert_eq!(mx.members[0].logs[0].vkey, vkey("mx/fge-bc/n1/log1", 1));
    });
    let (first, second) = (part("puente://mx/fge-bc/n1"), part("puente://us/sdpd/n1"));
    assert_eq!(shared.unwrap_err(), CharterError::SharedKey { first, second });
    let origin = with(|common, mx, _| {
        common.auditors[0].origin = mx.members[0].logs[0].origin.clone();
        common.auditors[0].vkey = vkey("mx/fge-bc/n1/log1", 60);
    });
    assert_eq!(origin.unwrap_err(), CharterError::SharedOrigin { origin: part("mx/fge-bc/n1/log1") });
    let convener = with(|common, _, _| common.corridors[0].convener = "puente://mx/nobody/n1".parse().unwrap());
    let (corridor, node) = (part("otay"), part("puente://mx/nobody/n1"));
    assert_eq!(convener.unwrap_err(), CharterError::ConvenerNotMember { corridor, node });
}

#[test]
fn corridors() {
    type Change = fn(&mut Corridor);
    let wrong: [(Change, Defect); 8] = [
        (|c| c.silence_seconds = 59, Defect::Range { key: "silence_seconds", min: 60, max: 86_400 }),
        (|c| c.silence_seconds = 86_401, Defect::Range { key: "silence_seconds", min: 60, max: 86_400 }),
        (|c| c.suite = 3, Defect::Suite { corridor: part("otay"), suite: 3 }),
        (|c| c.suite = u16::MAX, Defect::Suite { corridor: part("otay"), suite: u16::MAX }),
        (
            |c| c.members.push(c.convener.clone()),
            Defect::Twice { what: "member of a corridor", name: part("puente://mx/fge-bc/n1") },
        ),
        (
            |c| c.members = vec!["puente://ca/rcmp/n1".parse().unwrap()],
            Defect::NoSuchJurisdiction { name: part("puente://ca/rcmp/n1"), jurisdiction: code("ca") },
        ),
        (
            |c| (c.successors, c.members) = (vec![], vec![]),
            Defect::Range { key: "number of a corridor's members", min: 2, max: 1_000 },
        ),
        (
            |c| c.members = (0..999).map(|n| format!("puente://mx/a/n{n}").parse().unwrap()).collect(),
            Defect::Range { key: "number of a corridor's members", min: 2, max: 1_000 },
        ),
    ];
    for (change, expected) in wrong {
        assert_eq!(defect(|common, _, _| change(&mut common.corridors[0])), expected);
    }
    let good: [Change; 5] = [
        |c| (c.silence_seconds, c.suite) = (60, 1),
        |c| (c.silence_seconds, c.suite) = (86_400, 0x4f),
        |c| (c.silence_seconds, c.suite) = (0, 0),
        |c| c.members.clear(),
        // A nation takes a member out of its annex by itself: the corridor still names it, and it does not belong any more.
        |c| c.members = (0..998).map(|n| format!("puente://mx/a/n{n}").parse().unwrap()).collect(),
    ];
    for change in good {
        let charter = with(|common, _, _| change(&mut common.corridors[0])).unwrap();
        let corridor = &charter.corridors()[0];
        let silence = if corridor.silence_seconds == 0 { 900 } else { corridor.silence_seconds };
        assert_eq!(corridor.silence_millis(), u64::from(silence) * 1_000);
        assert_eq!(corridor.nodes().next(), Some(&corridor.convener));
    }
}

#[test]
fn common_parts() {
    let twice = |what, name: &str| Defect::Twice { what, name: part(name) };
    let range = |key, min, max| Defect::Range { key, min, max };
    assert_eq!(defect(|c, _, _| c.number = 0), Defect::NumberZero);
    assert_eq!(defect(|c, _, _| c.number = 2), Defect::Previous);
    assert_eq!(defect(|c, _, _| c.previous = Some(c.catalogue)), Defect::Previous);
    assert_eq!(defect(|c, _, _| c.expires = c.valid_from), Defect::Dates);
    assert_eq!(defect(|c, _, _| c.expires.0 = u64::MAX), Defect::Dates);
    assert_eq!(defect(|c, _, _| c.grace_days = 366), range("grace_days", 0, 365));
    assert_eq!(defect(|c, _, _| c.period_minutes = 0), range("period_minutes", 1, 10_080));
    assert_eq!(defect(|c, _, _| c.cosign_bound_hours = 0), range("cosign_bound_hours", 1, 8_760));
    assert_eq!(defect(|c, _, _| c.audit_hold_days = 0), range("audit_hold_days", 1, 36_500));
    let threshold = |threshold| Defect::Threshold { jurisdiction: code("mx"), threshold, keys: 3 };
    assert_eq!(defect(|c, _, _| c.jurisdictions[0].threshold = 0), threshold(0));
    assert_eq!(defect(|c, _, _| c.jurisdictions[0].threshold = 4), threshold(4));
    let found = part("Frontera Sur");
    assert_eq!(
        defect(|c, _, _| c.federation = found.clone()),
        Defect::Slug { found: found.clone(), what: "federation name" }
    );
    assert_eq!(defect(|c, _, _| c.jurisdictions[0].name_en.clear()), Defect::Text { key: "name_en" });
    assert_eq!(defect(|c, _, _| c.jurisdictions[1].name_es = part("a\nb")), Defect::Text { key: "name_es" });
    assert_eq!(defect(|c, _, _| c.jurisdictions[1].code = code("mx")), twice("jurisdiction", "mx"));
    let one_key_for_two =
        |c: &mut CommonPart| c.jurisdictions[1].governance_keys[0].key = c.jurisdictions[0].governance_keys[0].key;
    assert_eq!(defect(|c, _, _| one_key_for_two(c)), twice("the governance key", "us-gov-1"));
    let same_name = |c: &mut CommonPart| c.jurisdictions[1].governance_keys[0].name = part("mx-gov-1");
    assert_eq!(defect(|c, _, _| same_name(c)), twice("governance key name", "mx-gov-1"));
    assert_eq!(
        defect(|c, _, _| c.jurisdictions[0].governance_keys[1].key = [0; 32]),
        Defect::BadKey { name: part("mx-gov-2") }
    );
    assert_eq!(defect(|c, _, _| c.jurisdictions[0].ca_roots[0].push(0)), Defect::BadRoot { jurisdiction: code("mx") });
    let a_leaf = |c: &mut CommonPart| c.jurisdictions[0].ca_roots[0] = leaf(&["puente://mx/a/n"], &[]);
    assert_eq!(defect(|c, _, _| a_leaf(c)), Defect::BadRoot { jurisdiction: code("mx") });
    assert_eq!(
        defect(|c, _, _| c.jurisdictions[0].ca_roots.clear()),
        Defect::Empty { of: part("mx"), what: "ca_roots" }
    );
    assert_eq!(
        defect(|c, _, _| c.jurisdictions[1].ca_roots = vec![authority(1)]),
        Defect::SharedRoot { first: code("mx"), second: code("us") }
    );
    let basis = part("mx-us-mlat-1987");
    assert_eq!(
        defect(|c, _, _| c.legal_bases[0].purposes.clear()),
        Defect::Empty { of: basis.clone(), what: "purposes" }
    );
    assert_eq!(
        defect(|c, _, _| c.legal_bases[0].jurisdictions.push(code("ca"))),
        Defect::NoSuchJurisdiction { name: basis.clone(), jurisdiction: code("ca") }
    );
    assert_eq!(defect(|c, _, _| c.legal_bases.push(c.legal_bases[0].clone())), twice("legal basis", &basis));
    let witness_group = |why| Defect::WitnessGroup { name: part("quorum"), why };
    assert_eq!(defect(|c, _, _| c.quorum = part("both")), witness_group("it names no witness and no group"));
}

#[test]
fn auditors_of_each_nation() {
    assert_eq!(defect(|c, _, _| drop(c.auditors.pop())), Defect::TooFewAuditors { jurisdiction: code("us"), found: 1 });
    assert_eq!(
        defect(|c, _, _| c.auditors[0].jurisdiction = code("us")),
        Defect::OtherNation { name: part("mx/mx-auditor-a/n1/log1"), jurisdiction: code("us") }
    );
    assert_eq!(
        defect(|c, _, _| c.auditors[0].vkey = vkey("mx/other/n1/log1", 1)),
        Defect::Vkey { name: part("mx-auditor-a"), why: VkeyError::Name }
    );
    let repeat = |c: &mut CommonPart| c.auditors[1].seal_keys[0].key = c.auditors[0].seal_keys[0].key;
    assert_eq!(defect(|c, _, _| repeat(c)), Defect::Twice { what: "a sealing key of", name: part("mx-auditor-b") });
    let repeat = |c: &mut CommonPart| c.auditors[0].seal_keys[1].quarter = "2026Q4".parse().unwrap();
    assert_eq!(defect(|c, _, _| repeat(c)), Defect::Twice { what: "quarter", name: part("2026Q4") });
}

#[test]
fn annexes() {
    let jurisdiction = code("mx");
    let uri = part("puente://mx/fge-bc/n1");
    // A nation names only its own.
    assert_eq!(
        defect(|_, mx, us| mx.members.push(us.members[0].clone())),
        Defect::OtherNation { name: part("puente://us/sdpd/n1"), jurisdiction }
    );
    assert_eq!(
        defect(|_, mx, us| mx.members[0].logs.push(us.members[0].logs[0].clone())),
        Defect::OtherNodesLog { origin: part("us/sdpd/n1/log1"), member: uri.clone() }
    );
    assert_eq!(
        defect(|_, mx, _| mx.members.push(mx.members[0].clone())),
        Defect::Twice { what: "member", name: uri.clone() }
    );
    assert_eq!(
        defect(|_, mx, _| mx.members[0].logs[0].vkey = part("junk")),
        Defect::Vkey { name: part("mx/fge-bc/n1/log1"), why: VkeyError::Shape }
    );
    assert_eq!(defect(|_, mx, _| mx.members[0].suspended = true), Defect::Suspension { member: uri.clone() });
    assert_eq!(defect(|_, mx, _| mx.members[0].logs.clear()), Defect::OpenLogs { member: uri.clone() });
    assert_eq!(defect(|_, mx, _| mx.members[0].roles.clear()), Defect::Empty { of: uri, what: "roles" });
    assert_eq!(
        defect(|_, mx, _| mx.members[0].roles[0] = part("Fiscalía")),
        Defect::Slug { found: part("Fiscalía"), what: "role" }
    );
    assert_eq!(
        defect(|_, mx, _| mx.members[0].endpoints[0] = part("nowhere")),
        Defect::Endpoint { found: part("nowhere") }
    );
    assert_eq!(defect(|_, mx, _| mx.common = 0), Defect::Range { key: "common", min: 1, max: u32::MAX.into() });
}

#[test]
fn files_name_file_and_line() {
    let good = annex("mx").to_toml().unwrap();
    let line = |text: &str, needle: &str| 1 + text.lines().position(|l| l.contains(needle)).unwrap();
    for (from, to, needle) in [
        ("name_es", "nombre_es", "unknown field `nombre_es`"),
        ("number = 1", "number = -1", "invalid value"),
        ("number = 1", "number = \"1\"", "invalid type"),
        ("puente://mx/sspc/n1", "puente://MX/sspc/n1", "is not a node"),
        ("federation = ", "federation ", "key"),
    ] {
        let bad = good.replacen(from, to, 1);
        let error = Part::from_toml("mx.toml", &bad).unwrap_err();
        let CharterError::Toml { part, line: found, message } = &error else { panic!("{error:?}") };
        assert_eq!((part.as_str(), *found), ("mx.toml", line(&bad, to)), "{error}");
        assert!(message.contains(needle), "{error}");
    }
    let good = common(&annex("mx"), &annex("us")).to_toml().unwrap();
    for (from, to, needle) in [
        ("expires = 2027-05-01T00:00:00Z", "expires = 2027-05-01T00:00:00+02:00", "a date is"),
        ("catalogue = \"", "catalogue = \"x", "a digest is 32 bytes"),
        ("\"criminal-investigation\"", "\"curiosity\"", "is not a purpose"),
        ("2026Q4", "2026Q5", "is not a quarter"),
        ("threshold = 2", "treshold = 2", "unknown field `treshold`"),
    ] {
        let bad = good.replacen(from, to, 1);
        let error = Part::from_toml("common.toml", &bad).unwrap_err();
        let CharterError::Toml { line: found, message, .. } = &error else { panic!("{error:?}") };
        assert!(message.contains(needle), "{error}");
        // A value inside a list is reported where its list or itself begins.
        assert!(*found <= line(&bad, to) && *found + 4 >= line(&bad, to), "{error}: {}", line(&bad, to));
    }
    let huge = "#".repeat(puente_model::limits::CHARTER_BYTES_MAX + 1);
    assert!(matches!(Part::from_toml("huge.toml", &huge), Err(CharterError::TooLarge { .. })));
}
