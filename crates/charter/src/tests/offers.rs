//! Newer parts on top of a charter, and parts as they travel.

use proptest::prelude::*;

use crate::testing::*;
use crate::*;

fn base() -> (Charter, AnnexPart, AnnexPart) {
    let (mx, us) = (annex("mx"), annex("us"));
    let common = common(&mx, &us);
    let parts = [claim_common(&common, &ALL).unwrap(), claim_annex(&mx, &MX).unwrap(), claim_annex(&us, &US).unwrap()];
    (Charter::verify(parts, common.hash()).unwrap(), mx, us)
}

fn after(annex: &AnnexPart) -> AnnexPart {
    AnnexPart { number: annex.number + 1, previous: Some(annex.hash()), ..annex.clone() }
}

const NOW: &str = "2026-12-01";

#[test]
fn newer_parts_come_on_top_and_nothing_goes_back() {
    let (charter, mx, _) = base();
    let second = after(&mx);
    let claimed = claim_annex(&second, &MX).unwrap();
    // A whole folder may be offered: what is known is passed over.
    let folder: Vec<_> = charter.parts().iter().cloned().chain([claimed.clone()]).collect();
    let Ok(Offer::Next(next, new)) = charter.offer(&folder, at(NOW)) else { panic!() };
    assert_eq!((next.vector().to_string().as_str(), new), ("1.mx2.us1", vec![claimed.clone()]));
    assert!(matches!(next.offer(&[claimed], at(NOW)), Ok(Offer::Same)));
    let error = next.offer(charter.parts(), at(NOW)).unwrap_err();
    assert_eq!(error.code(), "goes-back");
    let id = PartId { nation: Some(code("mx")), number: 2 };
    assert_eq!(
        (next.part(&id).map(ClaimedPart::hash), next.part_hash(&id)),
        (Some(second.hash()), Some(second.hash()))
    );
    assert_eq!((id.file().as_str(), id.to_string().as_str()), ("annex-mx-2.toml", "annex 2 of mx"));
}

#[test]
fn every_defect_of_an_offer_has_its_name_and_mend() {
    let (charter, mx, us) = base();
    let second = after(&mx);
    let mut broken = claim_annex(&second, &MX).unwrap();
    broken.signatures[0].signature[3] ^= 1;
    let gap = AnnexPart { number: 3, ..second.clone() };
    let another = AnnexPart { previous: Some(us.hash()), ..second.clone() };
    let mut fork = mx.clone();
    fork.members[0].endpoints = vec!["127.0.0.1:1".to_owned()];
    let cases = [
        ("bad-signature", broken),
        ("unknown-key", claim_annex(&second, &US).unwrap()),
        ("missing-signatures", claim_annex(&second, &MX[..1]).unwrap()),
        ("gap", claim_annex(&gap, &MX).unwrap()),
        ("wrong-previous", claim_annex(&another, &MX).unwrap()),
        ("two-parts", claim_annex(&fork, &MX).unwrap()),
        ("foreign-annex", claim_annex(&annex("fr"), &MX).unwrap()),
    ];
    for (code, part) in cases {
        let error = charter.offer(std::slice::from_ref(&part), at(NOW)).unwrap_err();
        assert_eq!(error.code(), code, "{error}");
        assert!(!error.mend().is_empty());
        if let CharterError::Convicted(conviction) = &error {
            let (first, second) = charter.both(std::slice::from_ref(&part), conviction).unwrap();
            assert_eq!((first.hash(), second.hash()), (mx.hash(), fork.hash()), "the adopted one first");
            assert_eq!(charter.convicts(&first, &second).as_ref(), Some(conviction));
            assert_eq!(charter.convicts(&second, &first).is_some(), true);
            assert_eq!(charter.convicts(&first, &first), None);
            let unsigned = claim_annex(&fork, &MX[..1]).unwrap();
            assert_eq!(charter.convicts(&first, &unsigned), None, "an unsigned part convicts nobody");
        }
    }
    let mut common = charter.common().clone();
    (common.number, common.previous, common.valid_from) = (2, Some(charter.common_hash()), at("2027-01-01"));
    let later = claim_common(&common, &ALL).unwrap();
    assert_eq!(charter.offer(std::slice::from_ref(&later), at(NOW)).unwrap_err().code(), "not-yet");
    assert!(matches!(charter.offer(&[later], at("2027-01-01")), Ok(Offer::Next(..))));
}

fn travelled(part: &ClaimedPart) -> Result<ClaimedPart, CharterError> {
    let signatures: Vec<_> = part.signatures().iter().map(|s| (s.key_name.clone(), s.signature.to_vec())).collect();
    match part.part() {
        Part::Common(part) => ClaimedPart::from_canonical(PartBytes::Common(&part.canonical_bytes()), &signatures),
        Part::Annex(part) => ClaimedPart::from_canonical(PartBytes::Annex(&part.canonical_bytes()), &signatures),
    }
}

#[test]
fn parts_travel_as_canonical_bytes_and_come_out_the_same() {
    let (charter, ..) = base();
    for part in charter.parts() {
        let came = travelled(part).unwrap();
        assert_eq!((came.part(), came.hash(), came.signatures()), (part.part(), part.hash(), part.signatures()));
    }
    let common = charter.common().canonical_bytes();
    let bad_name = [("MX GOV".to_owned(), vec![0; 64])];
    assert_eq!(
        ClaimedPart::from_canonical(PartBytes::Common(&common), &bad_name).unwrap_err().code(),
        "malformed-part"
    );
    let large = vec![0; puente_model::limits::CHARTER_BYTES_MAX + 1];
    assert_eq!(ClaimedPart::from_canonical(PartBytes::Annex(&large), &[]).unwrap_err().code(), "oversized-part");
}

proptest! {
    #[test]
    fn changed_bytes_are_refused_or_another_part(at in any::<prop::sample::Index>(), bit in 0_u8..8) {
        let (charter, ..) = base();
        for part in charter.parts() {
            let hash = part.hash();
            let (mut bytes, is_common) = match part.part() {
                Part::Common(part) => (part.canonical_bytes(), true),
                Part::Annex(part) => (part.canonical_bytes(), false),
            };
            let at = at.index(bytes.len());
            bytes[at] ^= 1 << bit;
            let raw = if is_common { PartBytes::Common(&bytes) } else { PartBytes::Annex(&bytes) };
            if let Ok(other) = ClaimedPart::from_canonical(raw, &[]) {
                prop_assert_ne!(other.hash(), hash);
            }
        }
    }
}
