//! Versions after the first: changes, forks, going back, leaving.

use crate::testing::*;
use crate::*;

struct World {
    mx: Vec<AnnexPart>,
    us: Vec<AnnexPart>,
    commons: Vec<CommonPart>,
}

impl World {
    fn new() -> Self {
        let (mx, us) = (annex("mx"), annex("us"));
        let commons = vec![common(&mx, &us)];
        Self { mx: vec![mx], us: vec![us], commons }
    }

    fn change_mx(&mut self, change: impl FnOnce(&mut AnnexPart)) {
        let mut next = self.mx.last().unwrap().clone();
        next.previous = Some(next.hash());
        next.number += 1;
        change(&mut next);
        self.mx.push(next);
    }

    fn change_common(&mut self, change: impl FnOnce(&mut CommonPart)) {
        let mut next = self.commons.last().unwrap().clone();
        next.previous = Some(next.hash());
        next.number += 1;
        next.jurisdictions[0].annex = pin_of(self.mx.last().unwrap());
        next.jurisdictions[1].annex = pin_of(self.us.last().unwrap());
        change(&mut next);
        self.commons.push(next);
    }

    fn verify(&self) -> Result<Charter, CharterError> {
        let mut parts = Vec::new();
        for part in &self.commons {
            parts.push(claim_common(part, &ALL)?);
        }
        for part in &self.mx {
            parts.push(claim_annex(part, &MX)?);
        }
        for part in &self.us {
            parts.push(claim_annex(part, &US)?);
        }
        Charter::verify(parts, self.commons[0].hash())
    }
}

fn suspend(annex: &mut AnnexPart) {
    annex.members[0].suspended = true;
    annex.members[0].suspended_reason = Some("under investigation".to_owned());
}

#[test]
fn an_annex_changes_alone() {
    let mut world = World::new();
    let before = world.verify().unwrap();
    world.change_mx(suspend);
    let after = before.adopt(world.verify().unwrap()).unwrap();
    assert_eq!(after.vector().to_string(), "1.mx2.us1");
    assert!(!after.member(&"puente://mx/fge-bc/n1".parse().unwrap()).unwrap().is_active());
    let WouldGoBackTexts(current, offered) = went_back(after.adopt(before));
    assert_eq!((current.as_str(), offered.as_str()), ("1.mx2.us1", "1.mx1.us1"));
}

struct WouldGoBackTexts(String, String);

fn went_back(result: Result<Charter, CharterError>) -> WouldGoBackTexts {
    match result {
        Err(CharterError::WouldGoBack { current, offered }) => WouldGoBackTexts(current, offered),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_new_common_part_pins_and_rekeys() {
    let mut world = World::new();
    world.change_mx(suspend);
    world.change_common(|c| c.expires = at("2027-11-01"));
    let charter = world.verify().unwrap();
    assert_eq!(charter.vector().to_string(), "2.mx2.us1");
    assert_ne!(charter.pin(), charter.common_hash());
    // A later annex needs the keys of the common part that pinned the one before.
    world.change_mx(|_| {});
    let error = world.verify().unwrap_err();
    assert_eq!(error, CharterError::WrongKeys { part: "mx-3.toml".to_owned(), expected: 2, found: 1 });
    world.mx.last_mut().unwrap().common = 2;
    assert_eq!(world.verify().unwrap().vector().to_string(), "2.mx3.us1");
}

#[test]
fn old_keys_must_authorise_new_ones() {
    let mut world = World::new();
    world.change_common(|c| {
        for (i, k) in c.jurisdictions[0].governance_keys.iter_mut().enumerate() {
            k.name = format!("mx-new-{i}");
            k.key = key(&k.name).verifying_key().to_bytes();
        }
    });
    let verify = |signers: &[&str]| {
        let (mx, us) = (&world.mx[0], &world.us[0]);
        let parts = [
            claim_common(&world.commons[0], &ALL).unwrap(),
            claim_common(&world.commons[1], signers).unwrap(),
            claim_annex(mx, &MX).unwrap(),
            claim_annex(us, &US).unwrap(),
        ];
        Charter::verify(parts, world.commons[0].hash()).map(|c| c.vector().to_string())
    };
    let missing = Err(CharterError::MissingSignatures {
        part: "common-2.toml".to_owned(),
        jurisdiction: code("mx"),
        have: 0,
        need: 2,
    });
    assert_eq!(verify(&["mx-new-0", "mx-new-1", "us-gov-1", "us-gov-2"]), missing);
    assert_eq!(verify(&ALL), missing);
    let both = ["mx-new-0", "mx-new-1", "mx-gov-1", "mx-gov-2", "us-gov-1", "us-gov-2"];
    assert_eq!(verify(&both), Ok("2.mx1.us1".to_owned()));
}

#[test]
fn a_lost_governance_key_is_replaced_by_the_others_and_what_it_signed_stays_signed() {
    let mut world = World::new();
    world.change_mx(suspend);
    world.change_common(|c| {
        let lost = &mut c.jurisdictions[0].governance_keys[0];
        lost.name = "mx-gov-4".to_owned();
        lost.key = key("mx-gov-4").verifying_key().to_bytes();
    });
    world.change_mx(|annex| annex.common = 2);
    let verify = |rotation: &[&str], after: &[&str]| {
        let parts = [
            // The lost key signed these, and they hold for ever.
            claim_common(&world.commons[0], &ALL).unwrap(),
            claim_annex(&world.mx[0], &["mx-gov-1", "mx-gov-2"]).unwrap(),
            claim_annex(&world.mx[1], &["mx-gov-1", "mx-gov-3"]).unwrap(),
            claim_annex(&world.us[0], &US).unwrap(),
            claim_common(&world.commons[1], rotation).unwrap(),
            claim_annex(&world.mx[2], after).unwrap(),
        ];
        Charter::verify(parts, world.commons[0].hash()).map(|c| c.vector().to_string())
    };
    let others = ["mx-gov-2", "mx-gov-3", "us-gov-1", "us-gov-2"];
    for after in [["mx-gov-2", "mx-gov-4"], ["mx-gov-3", "mx-gov-4"]] {
        assert_eq!(verify(&others, &after), Ok("2.mx3.us1".to_owned()));
    }
    // The new key brings nobody in: neither itself nor another with it.
    let missing = |have| CharterError::MissingSignatures {
        part: "common-2.toml".to_owned(),
        jurisdiction: code("mx"),
        have,
        need: 2,
    };
    assert_eq!(verify(&["mx-gov-2", "mx-gov-4", "us-gov-1", "us-gov-2"], &MX), Err(missing(1)));
    // One nation alone replaces no key of its own.
    let alone = verify(&["mx-gov-2", "mx-gov-3"], &MX);
    assert!(
        matches!(&alone, Err(CharterError::MissingSignatures { jurisdiction, .. }) if jurisdiction.as_str() == "us")
    );
    // From there on the lost key signs nothing.
    let unknown = CharterError::UnknownSigner { part: "mx-3.toml".to_owned(), signer: "mx-gov-1".to_owned() };
    assert_eq!(verify(&others, &["mx-gov-1", "mx-gov-2"]), Err(unknown));
}

#[test]
fn the_history_must_be_whole_and_linked() {
    let mut world = World::new();
    world.change_mx(suspend);
    world.change_mx(|_| {});
    let gone = world.mx.remove(1);
    assert_eq!(world.verify().unwrap_err(), CharterError::MissingAnnex { jurisdiction: code("mx"), number: 2 });
    world.mx.insert(1, AnnexPart { members: world.mx[0].members.clone(), ..gone });
    let expected = world.mx[1].hash();
    assert_eq!(world.verify().unwrap_err(), CharterError::BrokenChain { part: "mx-3.toml".to_owned(), expected });

    let mut world = World::new();
    world.change_common(|_| {});
    world.change_common(|_| {});
    world.commons.remove(1);
    assert_eq!(world.verify().unwrap_err(), CharterError::MissingCommonPart { number: 2 });

    let mut world = World::new();
    world.change_common(|c| c.previous = Some(c.catalogue));
    let expected = world.commons[0].hash();
    assert_eq!(world.verify().unwrap_err(), CharterError::BrokenChain { part: "common-2.toml".to_owned(), expected });
}

#[test]
fn pins_never_go_back() {
    let mut world = World::new();
    world.change_mx(suspend);
    world.change_common(|_| {});
    let old = pin_of(&world.mx[0]);
    world.change_common(|c| c.jurisdictions[0].annex = old);
    let part = "common-3.toml".to_owned();
    assert_eq!(
        world.verify().unwrap_err(),
        CharterError::PinGoesBack { part, jurisdiction: code("mx"), found: 1, before: 2 }
    );
}

#[test]
fn two_annexes_with_one_number_convict_their_nation() {
    let mut world = World::new();
    let mut other = World::new();
    world.change_mx(suspend);
    other.change_mx(|annex| annex.members[1].endpoints.clear());
    let (first, second) = (world.mx[1].hash(), other.mx[1].hash());
    let convicted = |first, second| {
        CharterError::Convicted(Conviction::TwoAnnexes { jurisdiction: code("mx"), number: 2, first, second })
    };
    // Side by side in one history ...
    world.mx.push(other.mx[1].clone());
    assert_eq!(world.verify().unwrap_err(), convicted(first, second));
    // ... or met by a node that adopted the other.
    world.mx.pop();
    let ours = world.verify().unwrap();
    assert_eq!(ours.adopt(other.verify().unwrap()).unwrap_err(), convicted(first, second));
    // A second annex that its nation did not sign convicts nobody.
    let forged = ClaimedPart::new("forged.toml", Part::Annex(other.mx[1].clone()), vec![]).unwrap();
    let parts = [
        claim_common(&world.commons[0], &ALL).unwrap(),
        claim_annex(&world.mx[0], &MX).unwrap(),
        claim_annex(&world.mx[1], &MX).unwrap(),
        claim_annex(&world.us[0], &US).unwrap(),
        forged,
    ];
    assert!(matches!(
        Charter::verify(parts, ours.pin()).unwrap_err(),
        CharterError::MissingSignatures { have: 0, need: 2, .. }
    ));
}

#[test]
fn two_common_parts_with_one_number_are_named() {
    let mut world = World::new();
    let mut other = World::new();
    world.change_common(|c| c.period_minutes = 30);
    other.change_common(|c| c.period_minutes = 15);
    let (first, second) = (world.commons[1].hash(), other.commons[1].hash());
    let convicted = CharterError::Convicted(Conviction::TwoCommonParts { number: 2, first, second });
    let ours = world.verify().unwrap();
    assert_eq!(ours.adopt(other.verify().unwrap()).unwrap_err(), convicted);
    world.commons.push(other.commons[1].clone());
    assert_eq!(world.verify().unwrap_err(), convicted);
}

#[test]
fn logs_close_but_never_vanish() {
    let mut world = World::new();
    world.change_mx(|annex| {
        let member = &mut annex.members[0];
        let mut successor = member.logs[0].clone();
        member.logs[0].closed_at = Some(1_000);
        successor.origin = "mx/fge-bc/n1/log2".parse().unwrap();
        successor.vkey = vkey("mx/fge-bc/n1/log2", 40);
        member.logs.push(successor);
    });
    let charter = world.verify().unwrap();
    let member = charter.member(&"puente://mx/fge-bc/n1".parse().unwrap()).unwrap();
    assert_eq!(member.open_log().unwrap().origin.as_str(), "mx/fge-bc/n1/log2");
    assert!(charter.member_by_origin(&"mx/fge-bc/n1/log1".parse().unwrap()).is_some());

    let removed =
        Err(CharterError::LogRemoved { part: "mx-3.toml".to_owned(), origin: "mx/fge-bc/n1/log1".to_owned() });
    let changes: [fn(&mut AnnexPart); 4] = [
        |annex| drop(annex.members[0].logs.remove(0)),
        |annex| annex.members[0].logs[0].closed_at = Some(999),
        |annex| annex.members[0].logs[0].vkey = vkey("mx/fge-bc/n1/log1", 41),
        |annex| drop(annex.members.remove(0)),
    ];
    for change in changes {
        world.change_mx(change);
        assert_eq!(world.verify().map(|c| c.hash()), removed);
        world.mx.pop();
    }
}

#[test]
fn a_nation_that_leaves_stays_verifiable() {
    let mut world = World::new();
    world.change_common(|c| {
        c.jurisdictions.remove(1);
        c.auditors.retain(|a| a.jurisdiction == code("mx"));
        c.corridors.clear();
    });
    let before = World::new().verify().unwrap();
    let after = before.adopt(world.verify().unwrap()).unwrap();
    assert_eq!(after.vector().to_string(), "2.mx1.us1");
    let (member, _) = after.member_by_origin(&"us/sdpd/n1/log1".parse().unwrap()).unwrap();
    assert!(!member.is_active());
    assert!(after.trust_for(&member.uri).is_empty());
    assert!(after.auditors(&code("us")).is_empty());
    // It consented: without its signatures the others cannot write it out.
    let parts = [
        claim_common(&world.commons[0], &ALL).unwrap(),
        claim_common(&world.commons[1], &MX).unwrap(),
        claim_annex(&world.mx[0], &MX).unwrap(),
        claim_annex(&world.us[0], &US).unwrap(),
    ];
    assert!(matches!(
        Charter::verify(parts, world.commons[0].hash()).unwrap_err(),
        CharterError::MissingSignatures { jurisdiction, .. } if jurisdiction == code("us")
    ));
}

#[test]
fn a_nation_that_joins_brings_its_first_annex() {
    let mut world = World::new();
    let mut ca = annex("ca");
    ca.common = 2;
    world.change_common(|c| {
        c.jurisdictions.push(nation("ca", 3, pin_of(&ca)));
        c.auditors.extend(auditors("ca", 50));
    });
    let verify = |signers: &[&str], ca: &AnnexPart| {
        let parts = [
            claim_common(&world.commons[0], &ALL).unwrap(),
            claim_common(&world.commons[1], signers).unwrap(),
            claim_annex(&world.mx[0], &MX).unwrap(),
            claim_annex(&world.us[0], &US).unwrap(),
            claim_annex(ca, &["ca-gov-1", "ca-gov-2"]).unwrap(),
        ];
        Charter::verify(parts, world.commons[0].hash())
    };
    let all = [&ALL[..], &["ca-gov-1", "ca-gov-2"]].concat();
    let charter = verify(&all, &ca).unwrap();
    assert_eq!(charter.vector().to_string(), "2.ca1.mx1.us1");
    assert!(matches!(verify(&ALL, &ca), Err(CharterError::MissingSignatures { have: 0, .. })));
    ca.common = 1;
    assert!(matches!(verify(&all, &ca), Err(CharterError::ForeignAnnex { .. })));
}

#[test]
fn another_pin_is_another_federation() {
    let ours = World::new().verify().unwrap();
    let mut other = World::new();
    other.commons[0].period_minutes = 5;
    let other = other.verify().unwrap();
    assert_eq!(
        ours.adopt(other.clone()).unwrap_err(),
        CharterError::OtherPin { found: other.pin(), pinned: ours.pin() }
    );
}
