//! Honest exchanges in calm weather.

use puente_exchange::api::LocalEvent;
use puente_model::{EventKind, Outcome, RefusalReason};

use crate::sim::check::read_all;
use crate::sim::world::{DOJ, DPS, FGE, vin};
use crate::sim::{Ending, Sim, barred_question, core_question, hit_question};

#[test]
fn a_question_is_answered_and_core_data_released() {
    let mut sim = Sim::new(1, 4);
    let draft = hit_question(&sim, FGE, DPS, &vin(1));
    let Ending::Answered { outcome, answer_leaf, fields, .. } = sim.ask_and_wait(FGE, draft) else { panic!() };
    assert_eq!((outcome, fields.len()), (Outcome::HitUnconfirmed, 0));
    let draft = core_question(&sim, FGE, DPS, &vin(1), answer_leaf);
    let Ending::Answered { outcome, fields, .. } = sim.ask_and_wait(FGE, draft) else { panic!() };
    assert_eq!(outcome, Outcome::CoreData);
    assert!(fields.iter().any(|(path, value)| path == "000/vehicle/vin" && *value == vin(1).into_bytes()));
    assert!(!fields.iter().any(|(path, _)| path.contains("owner")), "the owner is not released");
    let draft = hit_question(&sim, FGE, DPS, &vin(77));
    let Ending::Answered { outcome, .. } = sim.ask_and_wait(FGE, draft) else { panic!() };
    assert_eq!(outcome, Outcome::NoHit);
    let draft = barred_question(&sim, FGE, DOJ);
    assert_eq!(sim.ask_and_wait(FGE, draft), Ending::Refused { recorded: true, reason: RefusalReason::StatutoryBar });
}

#[test]
fn a_batch_is_collected_once_however_often_its_import_says_so() {
    let collects = |sim: &Sim| read_all(sim)[FGE].events().filter(|e| e.kind == EventKind::Collect).count();
    let batch = |root: &str| LocalEvent {
        kind: EventKind::Collect,
        record_type: "Vehicle".to_owned(),
        count: 3,
        purpose: None,
        basis: None,
        role: None,
        detail: format!("{{\"root\":\"{root}\"}}").into_bytes(),
    };
    for seed in 0..20 {
        let mut sim = Sim::new(seed, 2);
        sim.run(1_000);
        // Twice at once, and again when it stands.
        let tickets = [sim.event(FGE, batch("aa")), sim.event(FGE, batch("aa"))];
        sim.run_until(60_000, |s| tickets.iter().all(|t| s.ending(FGE, *t).is_some()));
        let again = sim.event(FGE, batch("aa"));
        sim.run_until(60_000, |s| s.ending(FGE, again).is_some());
        for ticket in tickets.into_iter().chain([again]) {
            assert_eq!(sim.ending(FGE, ticket), Some(&Ending::Recorded));
        }
        assert_eq!(collects(&sim), 1);
        // Killed while another is on its way to the disk: it stands or not, and saying it again makes one of it.
        let _unheard = sim.event(FGE, batch("bb"));
        sim.crash(FGE, seed % 2 == 0);
        sim.start(FGE);
        let again = sim.event(FGE, batch("bb"));
        assert!(sim.run_until(60_000, |s| s.ending(FGE, again).is_some()));
        assert_eq!(sim.ending(FGE, again), Some(&Ending::Recorded));
        assert_eq!(collects(&sim), 2, "seed {seed}");
    }
}
