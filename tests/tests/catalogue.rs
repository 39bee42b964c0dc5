//! Every kind of the catalogue, asked through two nodes: the masks hold, and the key that matched is evidence.

use std::collections::BTreeMap;

use puente_exchange::api::Draft;
use puente_model::{EventKind, Outcome, Purpose, RefusalReason, Role};

use crate::sim::check::read_all;
use crate::sim::world::{self, DPS, FGE, vin};
use crate::sim::{Ending, Sim, core_question, hit_question};

fn cells(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
}

/// A step-1 question of any kind from Baja California to Texas.
fn ask(sim: &Sim, kind: &str, params: &[(&str, &str)]) -> Draft {
    Draft {
        kind: kind.parse().unwrap(),
        purpose: Purpose::CriminalInvestigation,
        basis: "mx-us-mlat-1987".parse().unwrap(),
        params: cells(params).into_iter().collect(),
        ..hit_question(sim, FGE, DPS, "")
    }
}

/// The step-2 question after a hit.
fn core(sim: &Sim, kind: &str, params: &[(&str, &str)], confirms: puente_model::Digest) -> Draft {
    let first = ask(sim, kind, params);
    Draft {
        kind: first.kind,
        purpose: first.purpose,
        basis: first.basis,
        params: first.params,
        ..core_question(sim, FGE, DPS, "", confirms)
    }
}

/// Holds one record; asks at both steps; what is released has none of these words in it.
fn asked_and_masked(record_type: &str, row: &[(&str, &str)], kind: &str, params: &[(&str, &str)], secrets: &[&str]) {
    let mut sim = Sim::new(7, 2);
    sim.nodes[DPS].records.push(world::stored(record_type, &cells(row)));
    let draft = ask(&sim, kind, params);
    let ending = sim.ask_and_wait(FGE, draft);
    let Ending::Answered { outcome, fields, named, answer_leaf, .. } = ending else { panic!("{kind}: {ending:?}") };
    assert_eq!((outcome, fields.len()), (Outcome::HitUnconfirmed, 0), "{kind}: step 1 reveals the hit alone");
    assert_eq!(named.len(), 1, "{kind}: and under which key");
    let draft = core(&sim, kind, params, answer_leaf);
    let ending = sim.ask_and_wait(FGE, draft);
    let Ending::Answered { outcome, fields, .. } = ending else { panic!("{kind}: {ending:?}") };
    assert_eq!(outcome, Outcome::CoreData, "{kind}");
    assert!(fields.len() > 3, "{kind}");
    let key = fields.iter().find(|(path, _)| path == "000/match_key").map(|(_, value)| value.clone());
    assert_eq!(key.as_deref(), Some(named[0].as_bytes()), "{kind}");
    for (path, value) in &fields {
        let value = String::from_utf8_lossy(value);
        for secret in secrets {
            assert!(!value.contains(secret), "{kind}: {path} was released");
        }
    }
    assert_eq!(sim.nodes[DPS].matched.get(&named[0]), Some(&2), "{kind}: counted for status");
}

const PERSON: [(&str, &str); 9] = [
    ("record_id", "P-1"),
    ("surname_1", "Pérez"),
    ("surname_2", "de la Cruz"),
    ("given_names", "María Guadalupe"),
    ("birth_date", "1985-03-12"),
    ("protection", "none"),
    ("holder_agency", "us/tx-dps"),
    ("agency_case", "SECRET/CASE/1"),
    ("informant", "SECRET WITNESS"),
];
/// As the other side of the border writes her name.
const AS_ASKED: [(&str, &str); 4] =
    [("given_names", "GUADALUPE"), ("surname_1", "PEREZ"), ("surname_2", "CRUZ"), ("birth_date", "1985-03-12")];

fn person(more: &[(&'static str, &'static str)]) -> Vec<(&'static str, &'static str)> {
    PERSON.iter().chain(more).copied().collect()
}

#[test]
fn seizures_persons_and_detentions_are_asked_under_masks() {
    asked_and_masked(
        "Seizure",
        &[
            ("seizure_id", "S-1"),
            ("joint_seizure_id", "TJ-2026-7"),
            ("agencies", "us/tx-dps|mx/fge-bc"),
            ("date", "2026-03-01"),
            ("place", "US-48141"),
            ("commodity_class", "drug"),
            ("commodity", "fentanilo"),
            ("quantity", "12.5"),
            ("quantity_unit", "kg"),
            ("concealment", "SECRET wall of the tank"),
            ("persons_count", "3"),
            ("informant", "SECRET WITNESS"),
        ],
        "seizure.search",
        &[("joint_seizure_id", "TJ-2026-7")],
        &["SECRET"],
    );
    let recorded = [("recorded_on", "2026-01-05"), ("standing", "imputado")];
    asked_and_masked("Person", &person(&recorded), "person.index", &AS_ASKED, &["SECRET"]);
    let warrant = [
        ("issued_on", "2026-01-05"),
        ("warrant_no", "OA-17/2026"),
        ("warrant_status", "vigente"),
        ("issuing_authority", "Juzgado Primero"),
        ("offence", "Homicidio"),
        ("extradition", "international"),
        ("cautions", "armed"),
    ];
    asked_and_masked("WantedPerson", &person(&warrant), "person.wanted", &AS_ASKED, &["SECRET", "armed"]);
    let detention = [
        ("detained_at", "2026-01-05T10:00:00-08:00"),
        ("folio", "RND-17"),
        ("grounds", "flagrancia"),
        ("detention_status", "in-custody"),
        ("custody_agency", "us/tx-dps"),
        ("place", "US-48141"),
        ("injuries", "SECRET"),
    ];
    asked_and_masked("Detention", &person(&detention), "person.detained", &AS_ASKED, &["SECRET"]);
}

#[test]
fn a_juvenile_is_not_found_even_where_a_store_still_lists_the_keys() {
    let adult = person(&[("recorded_on", "2026-01-05"), ("standing", "imputado")]);
    let keys = world::stored("Person", &cells(&adult)).keys;
    let mut child = cells(&adult);
    child.insert("protection".to_owned(), "juvenile".to_owned());
    let mut sim = Sim::new(8, 2);
    // A store that an older import filled, before the rule or the mark was there.
    sim.nodes[DPS].records.push(world::Stored { keys, ..world::stored("Person", &child) });
    let draft = ask(&sim, "person.index", &AS_ASKED);
    let ending = sim.ask_and_wait(FGE, draft);
    let Ending::Answered { outcome, named, .. } = ending else { panic!("{ending:?}") };
    assert_eq!((outcome, named.len()), (Outcome::NoHit, 0));
    assert!(sim.nodes[DPS].matched.is_empty());
}

#[test]
fn missing_persons_are_answered_to_find_them_and_for_nothing_else() {
    let mut sim = Sim::new(9, 2);
    let row = person(&[("reported_on", "2026-01-05"), ("folio", "F-1"), ("missing_status", "desaparecida")]);
    sim.nodes[DPS].records.push(world::stored("MissingPerson", &cells(&row)));
    let draft = ask(&sim, "person.missing", &AS_ASKED);
    // The own node's rules know no such purpose for this kind: nothing is sent.
    assert_eq!(sim.ask_and_wait(FGE, draft), Ending::Refused { recorded: false, reason: RefusalReason::NoLegalBasis });
    // On the basis that both nations share for it, they are.
    let draft = Draft {
        purpose: Purpose::MissingPerson,
        basis: "interpol-rpd-2011".parse().unwrap(),
        ..ask(&sim, "person.missing", &AS_ASKED)
    };
    let ending = sim.ask_and_wait(FGE, draft);
    assert!(matches!(ending, Ending::Answered { outcome: Outcome::HitUnconfirmed, .. }), "{ending:?}");
}

#[test]
fn plate_reads_are_answered_for_a_serious_offence_and_never_from_california_abroad() {
    let mut sim = Sim::new(12, 4);
    let row = [
        ("read_id", "L-1"),
        ("plate", "XYZ1230"),
        ("plate_jurisdiction", "US-TX"),
        ("read_at", "2026-03-02T23:30:00Z"),
        ("cell", "13RCR5812"),
        ("camera", "SECRET"),
        ("hot_list", "true"),
        ("verification", "unverified"),
        ("expires_at", "2099-01-01T00:00:00Z"),
        ("holder_agency", "us/tx-dps"),
    ];
    for node in [DPS, world::DOJ] {
        sim.nodes[node].records.push(world::stored("PlateRead", &cells(&row)));
    }
    let params = [("plate", "XYZ1230"), ("from", "2026-03-02T00:00:00Z"), ("until", "2026-03-03T00:00:00Z")];
    let barred = Ending::Refused { recorded: true, reason: RefusalReason::StatutoryBar };
    let draft = ask(&sim, "plate.reads", &params);
    assert_eq!(sim.ask_and_wait(FGE, draft), barred, "neither an order nor a serious offence");
    let serious = |sim: &Sim| Draft { offence: "100".to_owned(), ..ask(sim, "plate.reads", &params) };
    let draft = serious(&sim);
    let Ending::Answered { outcome, named, .. } = sim.ask_and_wait(FGE, draft) else { panic!() };
    assert_eq!((outcome, named.as_slice()), (Outcome::HitUnconfirmed, ["plate_read.plate_only".to_owned()].as_slice()));
    let draft = Draft { to: world::uri(world::DOJ), ..serious(&sim) };
    assert_eq!(sim.ask_and_wait(FGE, draft), barred);
    // Step 1 says that a plate is on a hot list, not that anybody was seen.
    let mut other = cells(&row);
    other.insert("hot_list".to_owned(), "false".to_owned());
    sim.nodes[DPS].records.clear();
    sim.nodes[DPS].records.push(world::stored("PlateRead", &other));
    let draft = serious(&sim);
    let Ending::Answered { outcome, named, .. } = sim.ask_and_wait(FGE, draft) else { panic!() };
    assert_eq!((outcome, named.len()), (Outcome::NoHit, 0));
}

#[test]
fn the_key_that_matched_is_in_the_holders_log_even_where_the_asker_may_not_know_it() {
    let mut sim = Sim::new(10, 2);
    let plates = [("plate", "A8C0OO1"), ("plate_jurisdiction", "US-TX")];
    let draft = Draft {
        purpose: Purpose::VehicleRecovery,
        basis: "mx-us-stolen-vehicles-1981".parse().unwrap(),
        ..ask(&sim, "plate.status", &plates)
    };
    let Ending::Answered { outcome, named, .. } = sim.ask_and_wait(FGE, draft) else { panic!() };
    assert_eq!((outcome, named.as_slice()), (Outcome::HitUnconfirmed, ["vehicle.plate_ocr".to_owned()].as_slice()));
    let correlated = |sim: &Sim, node: usize| {
        let logs = read_all(sim);
        logs[node].events().filter(|e| e.kind == EventKind::Correlate).cloned().collect::<Vec<_>>()
    };
    assert_eq!(correlated(&sim, DPS).len(), 0, "it stands in the ANSWER's committed part");
    // The same under rules that do not release it.
    let mut sim = Sim::of(world::World::silent(), 11, 2);
    let draft = hit_question(&sim, FGE, DPS, &vin(1));
    let Ending::Answered { outcome, named, query_leaf, .. } = sim.ask_and_wait(FGE, draft) else { panic!() };
    assert_eq!((outcome, named.len()), (Outcome::HitUnconfirmed, 0), "the asker does not learn it");
    let events = correlated(&sim, DPS);
    assert_eq!(events.len(), 1);
    let event = &events[0];
    assert_eq!((event.record_type.as_str(), event.count, event.role), ("Vehicle", 1, Some(Role::Investigator)));
    assert_eq!((event.quoted, event.purpose), (Some(query_leaf), Some(Purpose::VehicleRecovery)));
    assert!(event.detail.is_some(), "the key's name is committed");
    assert_eq!(correlated(&sim, FGE).len(), 0);
    assert_eq!(sim.nodes[DPS].matched.get("vehicle.vin"), Some(&1));
}
