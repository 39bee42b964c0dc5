//! What the crate promises, on the vocabulary of the catalogue's own `.proto` files.

mod cache;
mod cases;
mod examples;
mod explain;
mod judge;
mod load;
mod properties;

use std::collections::BTreeSet;

use puente_model::{Handling, Millis, Mode, Purpose, Role, Step, Urgency};

use crate::{BasisInfo, Direction, FieldInfo, KindInfo, PolicyError, PolicySet, Request, Vocabulary, date};

const VEHICLE: &str = include_str!("../../../../proto/puente/v1/vehicle.proto");
const FIREARM: &str = include_str!("../../../../proto/puente/v1/firearm.proto");
const DETENTION: &str = include_str!("../../../../proto/puente/v1/detention.proto");
const MISSING: &str = include_str!("../../../../proto/puente/v1/missing.proto");
const PERSON: &str = include_str!("../../../../proto/puente/v1/person.proto");
const WANTED: &str = include_str!("../../../../proto/puente/v1/wanted.proto");
const PLATE_READ: &str = include_str!("../../../../proto/puente/v1/plate_read.proto");
const TRACE: &str = include_str!("../../../../proto/puente/v1/trace.proto");
const SEIZURE: &str = include_str!("../../../../proto/puente/v1/seizure.proto");

/// The day at which tests judge.
pub(crate) fn today() -> Millis {
    date::parse("2026-12-01").unwrap()
}

/// Fields of the first message of a `.proto` file, with their marks.
fn fields(proto: &str) -> Vec<FieldInfo> {
    fields_of(proto, 1)
}

fn fields_of(proto: &str, nth: usize) -> Vec<FieldInfo> {
    let message = proto.split("\nmessage ").nth(nth).unwrap().split("\n}\n").next().unwrap();
    let mut out = Vec::new();
    for block in message.split("\n  ").filter(|b| b.contains("[(field)")) {
        let mut words = block.split("[(field)").next().unwrap().split_whitespace().rev();
        let number = words.next().unwrap().parse().unwrap();
        let name = words.nth(1).unwrap().to_owned();
        let at = message.find(block).unwrap();
        let options = message[at..].split("}];").next().unwrap();
        out.push(FieldInfo {
            name,
            number,
            identifying: options.contains(" identifying: true"),
            sensitive: options.contains(" sensitive: true"),
            source_revealing: options.contains(" source_revealing: true"),
        });
    }
    out
}

pub(crate) fn vocabulary() -> Vocabulary {
    let kind = |kind: &str, record: &str, proto: &str| KindInfo {
        kind: kind.parse().unwrap(),
        record_type: record.to_owned(),
        steps: vec![Step::HitNoHit, Step::CoreData],
        fields: fields(proto),
    };
    let alert = |kind: &str| KindInfo {
        kind: kind.parse().unwrap(),
        record_type: String::new(),
        steps: vec![Step::HitNoHit],
        fields: Vec::new(),
    };
    let basis = |id: &str, purposes: &[Purpose]| BasisInfo {
        id: id.parse().unwrap(),
        purposes: purposes.to_vec(),
        expires: date::parse("2031-01-01").unwrap(),
    };
    let domestic =
        [Purpose::CriminalInvestigation, Purpose::VehicleRecovery, Purpose::CrimePrevention, Purpose::MissingPerson];
    Vocabulary {
        kinds: vec![
            kind("firearm.status", "Firearm", FIREARM),
            kind("vehicle.status", "Vehicle", VEHICLE),
            kind("plate.status", "Vehicle", VEHICLE),
            kind("person.index", "Person", PERSON),
            kind("person.wanted", "WantedPerson", WANTED),
            kind("person.missing", "MissingPerson", MISSING),
            kind("person.detained", "Detention", DETENTION),
            kind("plate.reads", "PlateRead", PLATE_READ),
            kind("firearm.trace.submit", "TraceRequest", TRACE),
            KindInfo { fields: fields_of(TRACE, 2), ..kind("firearm.trace.result", "TraceResult", TRACE) },
            kind("seizure.search", "Seizure", SEIZURE),
            kind("seizure.link", "Seizure", SEIZURE),
            alert("alert.publish"),
            alert("alert.ack"),
            alert("alert.cancel"),
        ],
        legal_bases: vec![
            basis("mx-us-mlat-1987", &[Purpose::CriminalInvestigation, Purpose::Prosecution, Purpose::ArmsTrafficking]),
            basis("mx-us-stolen-vehicles-1981", &[Purpose::VehicleRecovery, Purpose::CriminalInvestigation]),
            basis("bicentennial-framework-2021", &[Purpose::ArmsTrafficking, Purpose::CrimePrevention]),
            basis("interpol-rpd-2011", &[Purpose::MissingPerson]),
            basis("mx-lgsnsp-2009", &domestic),
            basis("us-28cfr20", &domestic),
        ],
        jurisdictions: vec!["mx".parse().unwrap(), "us".parse().unwrap()],
        agency_roles: vec!["state-prosecutor".to_owned(), "federal-prosecutor".to_owned(), "state-police".to_owned()],
    }
}

/// An inbound step-1 vehicle question from a Mexican prosecutor to Texas.
pub(crate) fn question() -> Request {
    Request {
        direction: Direction::Inbound,
        agency: "mx/fge-bc".parse().unwrap(),
        agency_roles: BTreeSet::from(["state-prosecutor".to_owned()]),
        holder: "us/tx-dps".parse().unwrap(),
        holder_roles: BTreeSet::from(["state-police".to_owned()]),
        kind: "vehicle.status".parse().unwrap(),
        step: Step::HitNoHit,
        purpose: Purpose::VehicleRecovery,
        basis: "mx-us-stolen-vehicles-1981".parse().unwrap(),
        officer_role: Role::Investigator,
        urgency: Urgency::Routine,
        mode: Mode::Open,
        handling: Handling::H0,
        offence: None,
        facts_stated: false,
        suspicion_stated: false,
        case_stated: false,
        order_stated: false,
        bound: true,
    }
}

/// The same at step 2, with facts.
pub(crate) fn core_question() -> Request {
    Request { step: Step::CoreData, facts_stated: true, ..question() }
}

pub(crate) fn set(text: &str) -> PolicySet {
    try_set(text).unwrap_or_else(|e| panic!("{e}\n{text}"))
}

pub(crate) fn try_set(text: &str) -> Result<PolicySet, PolicyError> {
    PolicySet::load(&[("rules.cedar".to_owned(), text.to_owned())], &vocabulary())
}

/// A permit to answer vehicle questions, with more annotations, scope conditions and body.
pub(crate) fn permit(id: &str, fields: &str, more: &str, when: &str) -> String {
    format!(
        "@id(\"{id}\")\n@expires(\"2027-06-30\")\n@fields(\"{fields}\")\n{more}\npermit (principal, action == \
         Action::\"answer\", resource == Kind::\"vehicle.status\")\n{when};\n"
    )
}

pub(crate) fn forbid(id: &str, when: &str) -> String {
    format!(
        "@id(\"{id}\")\n@reason(\"statutory-bar\")\n@explain_en(\"barred\")\n@explain_es(\"prohibido\")\nforbid \
         (principal, action, resource)\n{when};\n"
    )
}

#[test]
fn the_fixture_reads_marks_from_the_proto_files() {
    let vehicle = fields(VEHICLE);
    assert_eq!(vehicle.len(), 22);
    let informant = vehicle.iter().find(|f| f.name == "informant").unwrap();
    assert!(informant.source_revealing && informant.sensitive && informant.number == 20);
    let make = vehicle.iter().find(|f| f.name == "make").unwrap();
    assert!(!make.identifying && !make.sensitive && !make.source_revealing);
    assert_eq!(fields(FIREARM).len(), 23);
}
