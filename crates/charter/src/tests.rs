//! The whole charter: one test per promise, one table row per defect.

mod defects;
mod history;
mod offers;
mod round_trip;

use puente_model::{LegalBasisId, Purpose};

use crate::testing::*;
use crate::*;

/// Version 1 with both annexes, properly signed.
fn version_1() -> Charter {
    let (mx, us) = (annex("mx"), annex("us"));
    let common = common(&mx, &us);
    let parts = [claim_annex(&us, &US).unwrap(), claim_common(&common, &ALL).unwrap(), claim_annex(&mx, &MX).unwrap()];
    Charter::verify(parts, common.hash()).unwrap()
}

#[test]
fn a_verified_charter_says_who_is_who() {
    let charter = version_1();
    assert_eq!(charter.federation(), "frontera");
    assert_eq!(charter.vector().to_string(), "1.mx1.us1");
    assert_eq!(charter.pin(), charter.common_hash());
    assert_eq!(charter.members().len(), 4);
    let uri = "puente://mx/fge-bc/n1".parse().unwrap();
    assert!(charter.member(&uri).unwrap().is_active());
    assert!(charter.member(&"puente://mx/other/n1".parse().unwrap()).is_none());
    let origin = "us/sdpd/n1/log1".parse().unwrap();
    let (member, log) = charter.member_by_origin(&origin).unwrap();
    assert_eq!((member.uri.as_str(), &log.origin), ("puente://us/sdpd/n1", &origin));
    assert_eq!(charter.jurisdictions().map(|j| j.as_str()).collect::<Vec<_>>(), ["mx", "us"]);
    assert_eq!(charter.auditors(&code("us")).len(), 2);
    assert_eq!(charter.auditors(&code("ca")).len(), 0);
    assert_eq!(charter.cosign_bound_millis(), 72 * 3_600_000);
    assert_eq!(charter.period_minutes(), 60);
    assert!(charter.is_sensitive(&"person.index".parse().unwrap()));
    assert!(!charter.is_sensitive(&"vehicle.status".parse().unwrap()));
    assert!(charter.witness_policy().is_none());
}

#[test]
fn a_root_vouches_only_for_its_own_nation() {
    let charter = version_1();
    assert_eq!(charter.trust_for(&"puente://mx/fge-bc/n1".parse().unwrap()), [authority(1)]);
    assert_eq!(charter.trust_for(&"puente://us/sdpd/n1".parse().unwrap()), [authority(2)]);
    assert!(charter.trust_for(&"puente://ca/rcmp/n1".parse().unwrap()).is_empty());
}

#[test]
fn the_status_counts_down() {
    let charter = version_1();
    let status = |text| charter.status(at(text));
    assert_eq!(status("2026-10-31T23:59:59Z"), CharterStatus::NotYet);
    assert_eq!(status("2026-11-01"), CharterStatus::InForce { days_left: 181, warn: false });
    assert_eq!(status("2027-03-31T12:00:00Z"), CharterStatus::InForce { days_left: 31, warn: false });
    assert_eq!(status("2027-04-01"), CharterStatus::InForce { days_left: 30, warn: true });
    assert_eq!(status("2027-04-30T23:59:59.999Z"), CharterStatus::InForce { days_left: 1, warn: true });
    assert_eq!(status("2027-05-01"), CharterStatus::Grace { days_left: 14 });
    assert_eq!(status("2027-05-14T23:59:59.999Z"), CharterStatus::Grace { days_left: 1 });
    assert_eq!(status("2027-05-15"), CharterStatus::Expired);
    assert!(status("2027-05-01").may_exchange() && !status("2027-05-01").may_admit());
    assert!(!status("2027-05-15").may_exchange() && !status("2026-10-31").may_exchange());
}

#[test]
fn a_legal_basis_carries_only_what_it_covers() {
    let charter = version_1();
    let id: LegalBasisId = "mx-us-mlat-1987".parse().unwrap();
    let ask = |id: &LegalBasisId, purpose, nation: &str, when| {
        charter.legal_basis_for(id, purpose, &code(nation), at(when)).map(|b| b.id.clone())
    };
    let now = "2026-11-22";
    assert_eq!(ask(&id, Purpose::VehicleRecovery, "mx", now), Ok(id.clone()));
    let unknown: LegalBasisId = "habit".parse().unwrap();
    let valid = id.to_string();
    assert_eq!(
        ask(&unknown, Purpose::VehicleRecovery, "mx", now),
        Err(LegalBasisError::Unknown { id: unknown.clone(), valid })
    );
    assert_eq!(
        ask(&id, Purpose::VehicleRecovery, "mx", "2027-01-01"),
        Err(LegalBasisError::Expired { id: id.clone(), at: at("2027-01-01") })
    );
    assert_eq!(
        ask(&id, Purpose::ImmigrationEnforcement, "mx", now),
        Err(LegalBasisError::Purpose {
            id: id.clone(),
            purpose: Purpose::ImmigrationEnforcement,
            valid: "criminal-investigation, vehicle-recovery".to_owned()
        })
    );
    assert_eq!(
        ask(&id, Purpose::VehicleRecovery, "us", now),
        Err(LegalBasisError::Jurisdiction { id: id.clone(), jurisdiction: code("us") })
    );
}

#[test]
fn seal_keys_follow_the_quarter() {
    let charter = version_1();
    let auditor = charter.auditor("mx-auditor-a").unwrap();
    let (quarter, first) = auditor.seal_key(at("2026-12-31T23:59:59Z")).unwrap();
    assert_eq!(quarter, "2026Q4");
    let (quarter, second) = auditor.seal_key(at("2027-01-01")).unwrap();
    assert_eq!(quarter, "2027Q1");
    assert_ne!(first, second);
    assert_eq!(auditor.seal_key(at("2027-04-01")), None);
}

#[test]
fn the_hash_depends_on_every_part() {
    let charter = version_1();
    let (mut mx, us) = (annex("mx"), annex("us"));
    mx.members.pop();
    let common = common(&mx, &us);
    let parts = [claim_annex(&us, &US).unwrap(), claim_common(&common, &ALL).unwrap(), claim_annex(&mx, &MX).unwrap()];
    let other = Charter::verify(parts, common.hash()).unwrap();
    assert_ne!(charter.hash(), other.hash());
    assert_eq!(charter.hash(), version_1().hash());
    assert_eq!(charter.annex_hash(&code("mx")), Some(annex("mx").hash()));
}

#[test]
fn a_binational_quorum_needs_both_nations() {
    let (mx, us) = (annex("mx"), annex("us"));
    let mut common = common(&mx, &us);
    let witness = |name: &str, nation: &str, seed| Witness {
        name: name.to_owned(),
        jurisdiction: code(nation),
        vkey: witness_vkey(name, seed),
        url: Some("https://witness.example".to_owned()),
    };
    let group = |name: &str, need: &str, members: &[&str]| WitnessGroup {
        name: name.to_owned(),
        need: need.parse().unwrap(),
        members: members.iter().map(|m| (*m).to_owned()).collect(),
    };
    common.witnesses =
        vec![witness("m1", "mx", 1), witness("m2", "mx", 2), witness("m3", "mx", 3), witness("u1", "us", 4)];
    common.witness_groups =
        vec![group("mx-majority", "2", &["m1", "m2", "m3"]), group("both", "all", &["mx-majority", "u1"])];
    common.quorum = "both".to_owned();
    let parts = [claim_annex(&us, &US).unwrap(), claim_common(&common, &ALL).unwrap(), claim_annex(&mx, &MX).unwrap()];
    let charter = Charter::verify(parts, common.hash()).unwrap();
    let policy = charter.witness_policy();
    assert!(policy.is_met_by(&["m1", "m3", "u1"].into()));
    assert!(!policy.is_met_by(&["m1", "m2", "m3"].into()));
    assert!(!policy.is_met_by(&["m1", "u1", "u2"].into()));
    let text = policy.to_string();
    assert!(text.contains("\ngroup both all mx-majority u1\nquorum both\n"), "{text}");
    let toml = common.to_toml().unwrap();
    assert_eq!(Part::from_toml("c", &toml), Ok(Part::Common(common)));
}
