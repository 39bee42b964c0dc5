//! Two charter parts with one number.

use puente_charter::{ClaimedPart, CommonPart, Part, PartSignature};
use puente_wire::proto::{self, Message as _};

use super::world::*;
use crate::{Checked, Checker, Conclusion, check_bytes};

fn part(nation: Option<&str>) -> ClaimedPart {
    let (charter, nation) = (charter(), nation.map(|n| n.parse().unwrap()));
    charter.part(&puente_charter::PartId { nation, number: 1 }).unwrap().clone()
}

fn signed(part: &Part, nations: &[&str]) -> ClaimedPart {
    ClaimedPart::new("other", part.clone(), signatures(part.hash(), nations)).unwrap()
}

/// The annex of a nation under another text, signed by these.
fn other_annex(nations: &[&str]) -> ClaimedPart {
    let Part::Annex(mut annex) = part(Some("us")).part().clone() else { panic!() };
    annex.members[0].suspended = true;
    annex.members[0].suspended_reason = Some("canary".to_owned());
    signed(&Part::Annex(annex), nations)
}

fn wire(part: &ClaimedPart) -> proto::CharterPart {
    let bytes = match part.part() {
        Part::Common(part) => proto::charter_part::Part::Common(part.canonical_bytes()),
        Part::Annex(part) => proto::charter_part::Part::Annex(part.canonical_bytes()),
    };
    let signature =
        |s: &PartSignature| proto::PartSignature { key_name: s.key_name.clone(), signature: s.signature.to_vec() };
    proto::CharterPart { part: Some(bytes), signatures: part.signatures().iter().map(signature).collect() }
}

fn both(first: &ClaimedPart, second: &ClaimedPart) -> Vec<u8> {
    proto::TwoParts { v: 1, first: Some(wire(first)), second: Some(wire(second)) }.encode_to_vec()
}

fn checked(bytes: &[u8]) -> Checked {
    let checked = check_bytes(bytes, None, &Checker::Charter(&charter())).unwrap();
    assert_eq!(checked.what, "two-parts");
    checked
}

#[test]
fn two_annexes_with_one_number_convict_their_nation_offline() {
    let (own, other) = (part(Some("us")), other_annex(&["us"]));
    for bytes in [both(&own, &other), both(&other, &own)] {
        let checked = checked(&bytes);
        let words = checked.words.join("\n");
        assert_eq!(checked.verdict, Conclusion::Sound, "{words}");
        assert!(words.contains("governance keys of us signed both under number 1"), "{words}");
        assert!(words.contains(&format!("holds {}", own.hash())), "{words}");
        assert!(words.contains("suspended_reason = \"canary\""), "{words}");
        // Without the charter nobody knows whose keys count.
        let nobody = check_bytes(&bytes, None, &Checker::Nobody).unwrap();
        assert_eq!((nobody.verdict, nobody.what), (Conclusion::CouldNotTell, "two-parts"));
    }
    // Common parts are signed by all, and convict all.
    let next = |grace_days| {
        let Part::Common(first) = part(None).part().clone() else { panic!() };
        let second = CommonPart { number: 2, previous: Some(first.hash()), grace_days, ..first };
        signed(&Part::Common(second), &["mx", "us"])
    };
    let checked = checked(&both(&next(3), &next(4)));
    assert_eq!(checked.verdict, Conclusion::Sound, "{:?}", checked.words);
    assert!(checked.words.iter().any(|line| line.contains("all of them answer")), "{:?}", checked.words);
}

#[test]
fn forged_evidence_of_two_parts_convicts_nobody() {
    let own = part(Some("us"));
    let good = other_annex(&["us"]);
    let mut unsound = vec![
        ("another nation's keys", both(&own, &other_annex(&["mx"]))),
        ("one part twice", both(&own, &own)),
        ("two nations' annexes", both(&own, &part(Some("mx")))),
    ];
    let Part::Common(mut common) = part(None).part().clone() else { panic!() };
    common.grace_days += 1;
    unsound.push(("a common part that one nation signed", both(&part(None), &signed(&Part::Common(common), &["us"]))));
    // A true signature under other bytes.
    let mut moved = wire(&good);
    moved.signatures = wire(&own).signatures;
    let moved = proto::TwoParts { v: 1, first: Some(wire(&own)), second: Some(moved) };
    unsound.push(("a signature of the other part", moved.encode_to_vec()));
    let mut none = wire(&good);
    none.signatures.clear();
    let none = proto::TwoParts { v: 1, first: Some(wire(&own)), second: Some(none) };
    unsound.push(("no signature", none.encode_to_vec()));
    let mut broken = wire(&good);
    broken.part = Some(proto::charter_part::Part::Annex(vec![0xff]));
    let broken = proto::TwoParts { v: 1, first: Some(wire(&own)), second: Some(broken) };
    unsound.push(("bytes that are no annex", broken.encode_to_vec()));
    for (what, bytes) in unsound {
        let checked = checked(&bytes);
        assert_eq!(checked.verdict, Conclusion::Unsound, "{what}: {:?}", checked.words);
    }
    // Any bit changed: never sound.
    let (bytes, known) = (both(&own, &good), charter());
    for at in (0..bytes.len()).step_by(7) {
        let mut changed = bytes.clone();
        changed[at] ^= 0x10;
        if let Ok(checked) = check_bytes(&changed, None, &Checker::Charter(&known)) {
            assert_ne!(checked.verdict, Conclusion::Sound, "byte {at}");
        }
    }
}
