//! Firearm traces: one matter is begun once, whoever brings it, and its clock stands still while data is missing.

use std::collections::BTreeMap;

use puente_exchange::api::Draft;
use puente_exchange::matters::{self, Matter, Standing};
use puente_model::{Digest, Mode, Outcome, Purpose, Role};

use crate::sim::disk::Shared;
use crate::sim::world::{self, DPS, FGE, FGR, uri};
use crate::sim::{Ending, Sim, core_question, hit_question};

const HOUR: u64 = 3_600_000;

fn request<'a>(id: &'a str, serial: &'a str, date: &'a str) -> Vec<(&'a str, &'a str)> {
    vec![
        ("request_id", id),
        ("request_date", date),
        ("priority", "routine"),
        ("crime_code", "0999"),
        ("requesting_agency", "mx/fge-bc"),
        ("serial", serial),
        ("make", "Glock"),
        ("type", "pistol"),
        ("calibre", "9mm"),
        ("model", "17"),
        ("country_of_manufacture", "AT"),
        ("importer", "GLOCK INC"),
    ]
}

fn ask(sim: &Sim, from: usize, kind: &str, params: &[(&str, &str)]) -> Draft {
    Draft {
        kind: kind.parse().unwrap(),
        purpose: Purpose::ArmsTrafficking,
        basis: "mx-us-mlat-1987".parse().unwrap(),
        officer: world::officer(Role::Investigator),
        params: params.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect(),
        ..hit_question(sim, from, DPS, "")
    }
}

fn submitted(sim: &mut Sim, from: usize, params: &[(&str, &str)]) -> (Outcome, Option<Digest>, Digest) {
    let draft = ask(sim, from, "firearm.trace.submit", params);
    match sim.ask_and_wait(from, draft) {
        Ending::Answered { outcome, duplicate_of, query_leaf, fields, .. } => {
            assert!(fields.is_empty(), "nothing of another request is shown");
            (outcome, duplicate_of, query_leaf)
        }
        ending => panic!("{ending:?}"),
    }
}

#[test]
fn a_second_request_for_one_firearm_is_a_duplicate_of_the_first_whoever_brought_it() {
    let mut sim = Sim::new(31, 3);
    let day = "2026-11-20";
    let (outcome, of, first) = submitted(&mut sim, FGE, &request("BC-T-1", "ABC12345", day));
    assert_eq!((outcome, of), (Outcome::NoHit, None), "accepted");
    for (serial, date) in [("ABC12345", day), ("ABC12346", day), ("ABC1234", day), ("AABC12345", "2026-10-25")] {
        let (outcome, of, _) = submitted(&mut sim, FGR, &request("FGR-9", serial, date));
        assert_eq!((outcome, of), (Outcome::DuplicateOf, Some(first)), "{serial} {date}");
    }
    let (outcome, ..) = submitted(&mut sim, FGE, &request("BC-T-1", "ABC12345", day));
    assert_eq!(outcome, Outcome::NoHit, "the same request again is no duplicate of itself");
    for (id, serial, date) in [("FGR-1", "ABC12399", day), ("FGR-2", "ABC12345", "2026-09-01")] {
        let (outcome, of, _) = submitted(&mut sim, FGR, &request(id, serial, date));
        assert_eq!((outcome, of), (Outcome::NoHit, None), "two characters or too many days away: {id}");
    }
    // A node that was away still knows.
    sim.crash(DPS, true);
    sim.start(DPS);
    sim.run(10_000);
    let (outcome, of, _) = submitted(&mut sim, FGR, &request("FGR-9", "ABC12346", day));
    assert_eq!((outcome, of), (Outcome::DuplicateOf, Some(first)));
    // What is done in training is compared with training alone.
    let draft =
        Draft { mode: Mode::Training, ..ask(&sim, FGR, "firearm.trace.submit", &request("FGR-9", "ABC12345", day)) };
    let ending = sim.ask_and_wait(FGR, draft);
    assert!(matches!(ending, Ending::Answered { outcome: Outcome::NoHit, .. }), "{ending:?}");
}

#[test]
fn of_two_requests_at_once_one_is_accepted() {
    for seed in 40..60 {
        let mut sim = Sim::new(seed, 3);
        sim.run(5_000);
        let tickets = [(FGE, "BC-T-1", "ABC12345"), (FGR, "FGR-9", "ABC12346")].map(|(from, id, serial)| {
            let draft = ask(&sim, from, "firearm.trace.submit", &request(id, serial, "2026-11-20"));
            (from, sim.ask(from, draft))
        });
        sim.run_until(3_600_000, |s| tickets.iter().all(|(from, ticket)| s.ending(*from, *ticket).is_some()));
        let outcomes = tickets.map(|(from, ticket)| match sim.ending(from, ticket) {
            Some(Ending::Answered { outcome, .. }) => *outcome,
            ending => panic!("{ending:?}"),
        });
        let accepted = outcomes.iter().filter(|outcome| **outcome == Outcome::NoHit).count();
        let duplicates = outcomes.iter().filter(|outcome| **outcome == Outcome::DuplicateOf).count();
        assert_eq!((accepted, duplicates), (1, 1), "seed {seed}: {outcomes:?}");
    }
}

fn brought(sim: &Sim, node: usize) -> Vec<Matter> {
    let peers: Vec<_> = (0..sim.nodes.len()).filter(|n| *n != node).map(uri).collect();
    let store = Shared(sim.nodes[node].disk.clone());
    matters::list(&store, &peers, 1, world::catalogue()).unwrap()
}

/// The holder's own record of the trace, as it stands now.
fn result(sim: &mut Sim, more: &[(&str, &str)]) {
    let row = [("trace_no", "T-77"), ("request_id", "BC-T-1"), ("requesting_agency", "mx/fge-bc")];
    let row: BTreeMap<String, String> =
        row.iter().chain(more).map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
    sim.nodes[DPS].records.retain(|r| r.record_type != "TraceResult");
    sim.nodes[DPS].records.push(world::stored("TraceResult", &row));
}

#[test]
fn a_matters_clock_pauses_while_data_is_missing_and_ends_with_the_result() {
    let mut sim = Sim::new(32, 2);
    assert!(brought(&sim, FGE).is_empty());
    submitted(&mut sim, FGE, &request("BC-T-1", "ABC12345", "2026-11-20"));
    let of = |sim: &Sim| brought(sim, FGE).pop().unwrap();
    let params = [("request_id", "BC-T-1")];
    let looked = |sim: &mut Sim| {
        let draft = ask(sim, FGE, "firearm.trace.result", &params);
        match sim.ask_and_wait(FGE, draft) {
            Ending::Answered { outcome, answer_leaf, .. } => (outcome, answer_leaf),
            ending => panic!("{ending:?}"),
        }
    };
    assert_eq!(looked(&mut sim).0, Outcome::NoHit, "no result yet");
    let matter = of(&sim);
    assert_eq!((matter.reference.as_str(), matter.number.as_str()), ("BC-T-1", "Q2"));
    assert_eq!((matter.clock.standing(), matter.exchanges.len()), (Standing::Running, 2));
    sim.run(5 * HOUR);
    result(&mut sim, &[("trace_status", "pending-data"), ("missing_fields", "importer")]);
    assert_eq!(looked(&mut sim).0, Outcome::NeedsData);
    let matter = of(&sim);
    assert_eq!(
        (matter.clock.standing(), matter.missing.as_slice()),
        (Standing::Paused, ["importer".to_owned()].as_slice())
    );
    let ran = matter.clock.running_millis(sim.clock(FGE));
    assert!((5 * HOUR - 120_000..=5 * HOUR + 120_000).contains(&ran), "{ran}");
    sim.run(3 * HOUR);
    assert_eq!(of(&sim).clock.running_millis(sim.clock(FGE)), ran, "it stands still");
    result(&mut sim, &[("trace_status", "open")]);
    assert_eq!(looked(&mut sim).0, Outcome::HitUnconfirmed);
    assert_eq!(of(&sim).clock.standing(), Standing::Running);
    sim.run(2 * HOUR);
    let closed = [("trace_status", "closed"), ("disposition", "lawful_export"), ("closed_on", "2026-12-01")];
    result(&mut sim, &closed);
    let (outcome, confirms) = looked(&mut sim);
    assert_eq!(outcome, Outcome::HitUnconfirmed);
    let first = ask(&sim, FGE, "firearm.trace.result", &params);
    let draft = Draft {
        kind: first.kind,
        purpose: first.purpose,
        basis: first.basis,
        officer: first.officer,
        params: first.params,
        ..core_question(&sim, FGE, DPS, "", confirms)
    };
    let ending = sim.ask_and_wait(FGE, draft);
    let Ending::Answered { outcome: Outcome::CoreData, fields, .. } = ending else { panic!("{ending:?}") };
    assert!(fields.iter().all(|(path, _)| !path.contains("purchaser") && !path.contains("chain")));
    let matter = of(&sim);
    let later = sim.clock(FGE).plus(100 * HOUR);
    let (running, paused) = (matter.clock.running_millis(later), matter.clock.paused_millis(later));
    assert_eq!((matter.clock.standing(), matter.missing.len()), (Standing::Ended, 0));
    assert!((7 * HOUR - 240_000..=7 * HOUR + 240_000).contains(&running), "{running}");
    assert!((3 * HOUR - 240_000..=3 * HOUR + 240_000).contains(&paused), "{paused}");
}
