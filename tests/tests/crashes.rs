//! A crash at every durable step of either side, a log that cannot be written, a nation that goes away.

use puente_exchange::api::Alarm;
use puente_model::{Outcome, Purpose, RefusalReason, Role};

use crate::sim::plan::rest;
use crate::sim::world::{self, DOJ, DPS, FGE, FGR, vin};
use crate::sim::{Ending, Sim, core_question, hit_question};

/// A question that Texas refuses by statute: an analyst's, for prevention, without a ground for suspicion.
fn refused(sim: &Sim) -> puente_exchange::api::Draft {
    puente_exchange::api::Draft {
        purpose: Purpose::CrimePrevention,
        basis: "bicentennial-framework-2021".parse().unwrap(),
        officer: world::officer(Role::Analyst),
        ..hit_question(sim, FGE, DPS, &vin(2))
    }
}

/// Every kind of entry once: released hit, no hit, refusal, VOID, PERIOD of both sides.
fn everything_once(sim: &mut Sim) {
    let draft = hit_question(sim, FGE, DPS, &vin(1));
    let confirmed = match sim.ask_across_crashes(FGE, draft) {
        Some(Ending::Answered { answer_leaf, .. }) => Some(answer_leaf),
        _ => {
            // Asked again by an officer who waits this time.
            sim.run(5_000);
            let draft = hit_question(sim, FGE, DPS, &vin(1));
            match sim.ask_across_crashes(FGE, draft) {
                Some(Ending::Answered { answer_leaf, .. }) => Some(answer_leaf),
                _ => None,
            }
        }
    };
    if let Some(leaf) = confirmed {
        let draft = core_question(sim, FGE, DPS, &vin(1), leaf);
        if let Some(ending) = sim.ask_across_crashes(FGE, draft) {
            assert!(matches!(ending, Ending::Answered { outcome: Outcome::CoreData, .. }), "{ending:?}");
        }
    }
    let draft = hit_question(sim, FGE, DPS, &vin(90));
    sim.ask_across_crashes(FGE, draft);
    let draft = refused(sim);
    if let Some(ending) = sim.ask_across_crashes(FGE, draft) {
        assert_eq!(ending, Ending::Refused { recorded: true, reason: RefusalReason::StatutoryBar });
    }
    sim.cut.extend([(FGE, DPS), (DPS, FGE)]);
    let draft = hit_question(sim, FGE, DPS, &vin(3));
    sim.ask_across_crashes(FGE, draft);
    sim.run(70_000);
    sim.cut.clear();
    for node in [FGE, DPS] {
        sim.close_periods(node);
        sim.run(30_000);
    }
    rest(sim, &[]);
}

#[test]
fn a_crash_at_every_durable_step_loses_nothing() {
    let mut sim = Sim::new(7, 2);
    everything_once(&mut sim);
    let steps = sim.durable_steps.clone();
    drop(sim);
    assert!(steps[&FGE] > 15 && steps[&DPS] > 8, "{steps:?}");
    let mut runs = 0;
    for victim in [FGE, DPS] {
        for step in 1..=steps[&victim] {
            for survives in [false, true] {
                let mut sim = Sim::new(7, 2);
                sim.note(|| format!("node {victim} crashes at durable step {step}, which survives: {survives}"));
                sim.crash_at = Some((victim, step, survives));
                everything_once(&mut sim);
                assert_eq!(sim.nodes[victim].run, 2, "the crash did happen");
                runs += 1;
            }
        }
    }
    eprintln!("{runs} crash points");
}

#[test]
fn two_crashes_in_a_row_lose_nothing() {
    for step in 3..14 {
        let mut sim = Sim::new(8, 2);
        sim.crash_at = Some((DPS, step, step % 2 == 0));
        let draft = hit_question(&sim, FGE, DPS, &vin(1));
        sim.ask_across_crashes(FGE, draft);
        sim.crash(FGE, step % 3 == 0);
        sim.start(FGE);
        everything_once(&mut sim);
    }
}

#[test]
fn a_holder_that_cannot_write_its_log_answers_nothing() {
    let mut sim = Sim::new(9, 2);
    let draft = hit_question(&sim, FGE, DPS, &vin(1));
    assert!(matches!(sim.ask_and_wait(FGE, draft), Ending::Answered { .. }));
    sim.nodes[DPS].disk_broken = true;
    let before = sim.nodes[DPS].disk.lock().unwrap().size();
    let mut tickets = Vec::new();
    for n in 0..300 {
        let draft = hit_question(&sim, FGE, DPS, &vin(n % 7));
        tickets.push(sim.ask(FGE, draft));
        sim.run(50);
    }
    sim.run(100_000);
    for ticket in tickets {
        assert_eq!(sim.ending(FGE, ticket), Some(&Ending::TimedOut), "nothing is answered");
    }
    assert_eq!(sim.nodes[DPS].disk.lock().unwrap().size(), before);
    assert!(sim.nodes[DPS].alarms.iter().any(|a| matches!(a, Alarm::LogUnavailable)));
    // The disk is mended, the process started again.
    sim.crash(DPS, false);
    sim.nodes[DPS].disk_broken = false;
    sim.start(DPS);
    let draft = hit_question(&sim, FGE, DPS, &vin(1));
    assert!(matches!(sim.ask_and_wait(FGE, draft), Ending::Answered { .. }));
    rest(&mut sim, &[]);
}

#[test]
fn an_asker_that_cannot_write_its_log_asks_nothing() {
    let mut sim = Sim::new(10, 2);
    sim.run(1_000);
    sim.nodes[FGE].disk_broken = true;
    sim.sent = Some(Vec::new());
    for n in 0..100 {
        let draft = hit_question(&sim, FGE, DPS, &vin(n % 7));
        let ticket = sim.ask(FGE, draft);
        sim.run(20);
        assert_eq!(sim.ending(FGE, ticket), Some(&Ending::LogUnavailable));
    }
    assert!(sim.sent.as_ref().unwrap().iter().all(|s| s.from != FGE), "nothing left the node");
}

#[test]
fn p5_domestic_exchanges_go_on_without_the_other_nation_and_all_agrees_afterwards() {
    let mut sim = Sim::new(13, 4);
    let draft = hit_question(&sim, FGE, DPS, &vin(1));
    assert!(matches!(sim.ask_and_wait(FGE, draft), Ending::Answered { .. }));
    for gone in [DPS, DOJ] {
        sim.crash(gone, false);
    }
    for day in 0..13 {
        let draft = hit_question(&sim, FGE, FGR, &vin(1));
        let Ending::Answered { answer_leaf, .. } = sim.ask_and_wait(FGE, draft) else { panic!("day {day}") };
        let draft = core_question(&sim, FGE, FGR, &vin(1), answer_leaf);
        let ending = sim.ask_and_wait(FGE, draft);
        assert!(matches!(ending, Ending::Answered { outcome: Outcome::CoreData, .. }), "day {day}: {ending:?}");
        let draft = hit_question(&sim, FGR, FGE, &vin(88));
        assert!(matches!(sim.ask_and_wait(FGR, draft), Ending::Answered { outcome: Outcome::NoHit, .. }));
        let draft = hit_question(&sim, FGR, DOJ, &vin(2));
        assert_eq!(sim.ask_and_wait(FGR, draft), Ending::TimedOut, "the other nation is gone");
        for node in [FGE, FGR] {
            sim.crash(node, true);
            sim.start(node);
        }
        sim.run(86_400_000 - 200_000);
    }
    for node in [DPS, DOJ] {
        sim.start(node);
    }
    rest(&mut sim, &[]);
    let draft = hit_question(&sim, FGR, DOJ, &vin(2));
    assert!(matches!(sim.ask_and_wait(FGR, draft), Ending::Answered { .. }));
}
