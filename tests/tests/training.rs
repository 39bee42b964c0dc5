//! Training: the same conversation about invented records, which no real question finds.

use puente_exchange::api::Draft;
use puente_model::{Mode, Outcome, RefusalReason};

use crate::sim::check::read_all;
use crate::sim::world::{self, DPS, FGE, vin};
use crate::sim::{Ending, Sim, core_question, hit_question};

fn hit(sim: &Sim, mode: Mode, of: u32) -> Draft {
    Draft { mode, ..hit_question(sim, FGE, DPS, &vin(of)) }
}

fn outcome(sim: &mut Sim, mode: Mode, of: u32) -> (Outcome, puente_model::Digest) {
    let draft = hit(sim, mode, of);
    match sim.ask_and_wait(FGE, draft) {
        Ending::Answered { outcome, answer_leaf, .. } => (outcome, answer_leaf),
        ending => panic!("{ending:?}"),
    }
}

/// A VIN that no real record has, one that no invented record has.
const INVENTED: u32 = 777_777;
const REAL: u32 = 1;

#[test]
fn invented_records_answer_training_alone_and_real_ones_never_do() {
    let mut sim = Sim::new(21, 2);
    sim.nodes[DPS].invented.push(world::vehicle(&vin(INVENTED), &[]));
    assert_eq!(outcome(&mut sim, Mode::Training, INVENTED).0, Outcome::HitUnconfirmed);
    assert_eq!(outcome(&mut sim, Mode::Training, REAL).0, Outcome::NoHit, "a real record");
    assert_eq!(outcome(&mut sim, Mode::Open, INVENTED).0, Outcome::NoHit, "an invented record");
    assert_eq!(outcome(&mut sim, Mode::Open, REAL).0, Outcome::HitUnconfirmed);
}

#[test]
fn everything_of_training_is_marked_in_both_logs_and_counted_apart() {
    let mut sim = Sim::new(22, 2);
    sim.nodes[DPS].invented.push(world::vehicle(&vin(INVENTED), &[]));
    let (_, confirms) = outcome(&mut sim, Mode::Training, INVENTED);
    let core = |sim: &Sim, mode| Draft { mode, ..core_question(sim, FGE, DPS, &vin(INVENTED), confirms) };
    let draft = core(&sim, Mode::Open);
    let refused = Ending::Refused { recorded: true, reason: RefusalReason::Quality };
    assert_eq!(sim.ask_and_wait(FGE, draft), refused, "a hit of training confirms no real one");
    let draft = core(&sim, Mode::Training);
    let Ending::Answered { outcome, fields, .. } = sim.ask_and_wait(FGE, draft) else { panic!() };
    assert_eq!(outcome, Outcome::CoreData);
    assert!(!fields.is_empty() && fields.iter().all(|(path, _)| path.starts_with("training/000/")), "{fields:?}");
    let logs = read_all(&sim);
    for node in [FGE, DPS] {
        let modes: Vec<Mode> = logs[node].pairs().filter_map(|(_, p)| p.terms().map(|t| t.mode)).collect();
        assert_eq!(modes.iter().filter(|m| **m == Mode::Open).count(), 2, "the refused question alone");
        assert!(modes.iter().filter(|m| **m == Mode::Training).count() >= 5);
        for event in logs[node].events().filter(|e| e.exchange.is_some()) {
            assert!(event.record_type.starts_with("training/"), "{:?} of node {node}", event.kind);
        }
    }
    assert!(sim.nodes[DPS].matched.keys().all(|key| key.starts_with("training/")), "{:?}", sim.nodes[DPS].matched);
}
