//! Honest exchanges in calm weather.

use puente_model::{Outcome, RefusalReason};

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
