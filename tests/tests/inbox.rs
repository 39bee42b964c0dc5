//! Questions that wait for a person of the holder's.

use puente_exchange::api::{Draft, Input};
use puente_exchange::inbox::{self, Decision, Parked};
use puente_exchange::outbox::{self, State};
use puente_model::{EventKind, ExchangeId, Outcome, RefusalReason, Role, Urgency};
use puente_wire::PairKind;

use crate::sim::check::{check, read_log};
use crate::sim::disk::Shared;
use crate::sim::plan::rest;
use crate::sim::world::{self, DPS, FGE, World, uri, vin};
use crate::sim::{Ending, Sim, core_question, hit_question};

const HOUR: u64 = 3_600_000;

fn waiting(sim: &Sim) -> Vec<Parked> {
    inbox::list(&Shared(sim.nodes[DPS].disk.clone())).unwrap()
}

fn state(sim: &Sim, exchange: ExchangeId) -> State {
    outbox::find(&Shared(sim.nodes[FGE].disk.clone()), &[uri(DPS)], exchange).unwrap().expect("asked").state
}

fn pending(sim: &Sim, exchange: ExchangeId) -> bool {
    let store = Shared(sim.nodes[FGE].disk.clone());
    outbox::find(&store, &[uri(DPS)], exchange).unwrap().expect("asked").pending_at.is_some()
}

/// A hit, and the step-2 question about it, due in `hours`.
fn parked(sim: &mut Sim, hours: u64) -> ExchangeId {
    let draft = hit_question(sim, FGE, DPS, &vin(1));
    let Ending::Answered { answer_leaf, .. } = sim.ask_and_wait(FGE, draft) else { panic!() };
    let draft = core_question(sim, FGE, DPS, &vin(1), answer_leaf);
    let due_at = sim.clock(FGE).plus(hours * HOUR);
    let Ending::Asked(exchange) = sim.ask_and_wait(FGE, Draft { due_at, stays: true, ..draft }) else { panic!() };
    sim.run(2_000);
    exchange
}

fn decide(sim: &mut Sim, exchange: ExchangeId, role: Role, decision: Decision) -> Ending {
    let officer = world::officer(role);
    let ticket = sim.wish(DPS, |ticket| Input::Decide { ticket, exchange, officer, decision });
    sim.run_until(20_000, |s| s.ending(DPS, ticket).is_some());
    sim.ending(DPS, ticket).cloned().unwrap_or(Ending::LogUnavailable)
}

fn answer() -> Decision {
    Decision::Answer { note: "checked against the file".to_owned() }
}

fn refusal() -> Decision {
    Decision::Refuse {
        reason: RefusalReason::OngoingOperation,
        text_en: "the vehicle is under observation".to_owned(),
        text_es: "el vehículo está bajo observación".to_owned(),
    }
}

#[test]
fn a_person_decides_before_core_data_is_released() {
    let mut sim = Sim::of(World::deciding(), 51, 2);
    let exchange = parked(&mut sim, 72);
    // Recorded at once, answered by nobody; the asker knows why.
    assert_eq!(state(&sim, exchange), State::Open);
    assert!(pending(&sim, exchange));
    let held = read_log(DPS, &sim.nodes[DPS].disk.lock().unwrap());
    assert_eq!(held.pairs().filter(|(_, p)| p.kind() == PairKind::Query).count(), 2);
    assert_eq!(held.pairs().filter(|(_, p)| p.kind() == PairKind::Answer).count(), 1);
    let list = waiting(&sim);
    assert_eq!((list.len(), list[0].exchange, list[0].urgency), (1, exchange, Urgency::Routine));
    assert_eq!(list[0].deciders, [Role::Prosecutor, Role::Analyst]);
    // Hours pass, both nodes start anew, a period is closed over the open question: it waits.
    sim.run(5 * HOUR);
    for node in [DPS, FGE] {
        sim.crash(node, true);
        sim.start(node);
        sim.run(HOUR);
    }
    assert_eq!((waiting(&sim).len(), state(&sim, exchange)), (1, State::Open));
    // Only the right role sees it, and its look is an entry.
    let patrol = world::officer(Role::Patrol);
    let ticket = sim.wish(DPS, |ticket| Input::Inspect { ticket, exchange, officer: patrol });
    sim.run(1_000);
    assert_eq!(sim.ending(DPS, ticket), Some(&Ending::NotYours));
    let prosecutor = world::officer(Role::Prosecutor);
    let ticket = sim.wish(DPS, |ticket| Input::Inspect { ticket, exchange, officer: prosecutor });
    sim.run(1_000);
    let Some(Ending::Inspected { facts, params, confirms, .. }) = sim.ending(DPS, ticket).cloned() else { panic!() };
    assert_eq!((facts.as_str(), params[0].1.as_str()), ("seen at the crossing with these plates", vin(1).as_str()));
    assert!(confirms.is_some(), "the confirmed step-1 answer");
    assert_eq!(decide(&mut sim, exchange, Role::Patrol, answer()), Ending::NotYours);
    assert_eq!(decide(&mut sim, exchange, Role::Prosecutor, answer()), Ending::Decided(Some(Outcome::CoreData), None));
    assert_eq!(decide(&mut sim, exchange, Role::Prosecutor, answer()), Ending::NotWaiting, "once");
    sim.run(10_000);
    assert_eq!(state(&sim, exchange), State::Closed(Outcome::CoreData));
    assert!(waiting(&sim).is_empty());
    let log = read_log(DPS, &sim.nodes[DPS].disk.lock().unwrap());
    let decisions: Vec<_> = log.events().filter(|e| e.kind == EventKind::HumanDecision).collect();
    assert_eq!(
        (decisions.len(), decisions[0].exchange, decisions[0].role),
        (1, Some(exchange), Some(Role::Prosecutor))
    );
    assert!(decisions[0].detail.is_some() && decisions[0].purpose.is_some());
    assert!(log.events().any(|e| e.kind == EventKind::Consult && e.exchange == Some(exchange) && e.purpose.is_some()));
    rest(&mut sim, &[]);
}

#[test]
fn a_person_refuses_or_wants_more_and_nobody_deciding_is_a_refusal_too() {
    let mut sim = Sim::of(World::deciding(), 52, 2);
    let exchange = parked(&mut sim, 24);
    let bad = Decision::Refuse { reason: RefusalReason::Expired, text_en: "x".to_owned(), text_es: "x".to_owned() };
    assert_eq!(decide(&mut sim, exchange, Role::Analyst, bad), Ending::Invalid);
    let reason = RefusalReason::OngoingOperation;
    assert_eq!(decide(&mut sim, exchange, Role::Analyst, refusal()), Ending::Decided(None, Some(reason)));
    sim.run(10_000);
    assert_eq!(state(&sim, exchange), State::Refused(reason));
    let exchange = parked(&mut sim, 24);
    let more = Decision::NeedsData {
        fields: vec!["plate".to_owned()],
        text_en: "which plates did it bear".to_owned(),
        text_es: "qué placas portaba".to_owned(),
    };
    assert_eq!(decide(&mut sim, exchange, Role::Analyst, more), Ending::Decided(Some(Outcome::NeedsData), None));
    sim.run(10_000);
    assert_eq!(state(&sim, exchange), State::Closed(Outcome::NeedsData));
    // The deadline passes: refused by itself, also over a restart that slept through it.
    let slept = parked(&mut sim, 3);
    sim.crash(DPS, false);
    sim.run(5 * HOUR);
    sim.start(DPS);
    sim.run(60_000);
    assert_eq!(state(&sim, slept), State::Refused(RefusalReason::Expired));
    let awake = parked(&mut sim, 2);
    sim.run(3 * HOUR);
    assert_eq!(state(&sim, awake), State::Refused(RefusalReason::Expired));
    assert!(waiting(&sim).is_empty());
    rest(&mut sim, &[]);
    check(&sim, true);
}

#[test]
fn a_question_that_waits_for_a_person_can_be_given_up() {
    let mut sim = Sim::of(World::deciding(), 53, 2);
    let exchange = parked(&mut sim, 24);
    let ticket = sim.wish(FGE, |ticket| Input::Withdraw { ticket, exchange });
    sim.run(10_000);
    assert_eq!(sim.ending(FGE, ticket), Some(&Ending::Withdrawn));
    assert_eq!(state(&sim, exchange), State::Refused(RefusalReason::Cancelled));
    assert!(waiting(&sim).is_empty());
    assert_eq!(decide(&mut sim, exchange, Role::Analyst, answer()), Ending::NotWaiting);
    rest(&mut sim, &[]);
}

#[test]
fn urgent_questions_are_answered_at_once_and_reviewed_later() {
    let mut sim = Sim::of(World::deciding(), 54, 2);
    let draft = hit_question(&sim, FGE, DPS, &vin(1));
    let Ending::Answered { answer_leaf, .. } = sim.ask_and_wait(FGE, draft) else { panic!() };
    let draft = Draft {
        urgency: Urgency::Urgent,
        justification: "a child is in the vehicle".to_owned(),
        ..core_question(&sim, FGE, DPS, &vin(1), answer_leaf)
    };
    let ending = sim.ask_and_wait(FGE, draft);
    assert!(matches!(ending, Ending::Answered { outcome: Outcome::CoreData, .. }), "{ending:?}");
    let log = read_log(DPS, &sim.nodes[DPS].disk.lock().unwrap());
    let reviews: Vec<_> = log.events().filter(|e| e.kind == EventKind::Review).collect();
    assert_eq!((reviews.len(), reviews[0].count), (1, 24));
    assert!(reviews[0].quoted.is_some() && reviews[0].exchange.is_some());
    // It stays on the list of what is due until somebody has looked, also over a crash.
    let (exchange, quoted) = (reviews[0].exchange.unwrap(), reviews[0].quoted);
    let due = |sim: &Sim| inbox::reviews(&Shared(sim.nodes[DPS].disk.clone())).unwrap();
    sim.crash(DPS, true);
    sim.start(DPS);
    sim.run(5_000);
    let waiting = due(&sim);
    assert_eq!((waiting.len(), waiting[0].exchange, Some(waiting[0].answer_leaf)), (1, exchange, quoted));
    let hours = waiting[0].due_at.since(sim.clock(DPS)) as f64 / 3_600_000.0;
    assert!((23.0..24.1).contains(&hours), "{hours}");
    let reviewed = |sim: &mut Sim, note: &str| {
        let (officer, note) = (world::officer(Role::Prosecutor), note.to_owned());
        let ticket = sim.wish(DPS, |ticket| Input::Reviewed { ticket, exchange, officer, note });
        sim.run(5_000);
        sim.ending(DPS, ticket).cloned()
    };
    assert_eq!(reviewed(&mut sim, " "), Some(Ending::Invalid), "a review says what was found");
    assert!(matches!(reviewed(&mut sim, "in order"), Some(Ending::Recorded)), "recorded");
    assert!(due(&sim).is_empty());
    assert_eq!(reviewed(&mut sim, "again"), Some(Ending::NotWaiting));
    let log = read_log(DPS, &sim.nodes[DPS].disk.lock().unwrap());
    let looked: Vec<_> = log.events().filter(|e| e.kind == EventKind::HumanDecision && e.quoted == quoted).collect();
    assert_eq!(looked.len(), 1);
    rest(&mut sim, &[]);
}

#[test]
fn a_period_closes_over_a_question_that_the_holder_has_shown_to_hold() {
    let mut sim = Sim::of(World::deciding(), 55, 2);
    let exchange = parked(&mut sim, 100);
    sim.close_periods(FGE);
    sim.run(10_000);
    let log = read_log(FGE, &sim.nodes[FGE].disk.lock().unwrap());
    let query = log.pairs().find(|(_, p)| p.exchange() == Some(exchange)).unwrap().1.seq;
    let closed = log.pairs().any(|(_, p)| match &p.body {
        puente_wire::PairBody::Period(period) => {
            (period.first..=period.last).contains(&query) && period.holes.is_empty()
        }
        _ => false,
    });
    assert!(closed, "an open question does not hold up periods for days");
    assert_eq!(decide(&mut sim, exchange, Role::Prosecutor, answer()), Ending::Decided(Some(Outcome::CoreData), None));
    sim.run(10_000);
    assert_eq!(state(&sim, exchange), State::Closed(Outcome::CoreData));
    rest(&mut sim, &[]);
}

/// One parked question decided each way; whoever's node crashed decides or asks again.
fn everything_once(sim: &mut Sim) {
    for (n, decision) in [answer(), refusal()].into_iter().enumerate() {
        let draft = hit_question(sim, FGE, DPS, &vin(1));
        let leaf = match sim.ask_across_crashes(FGE, draft) {
            Some(Ending::Answered { answer_leaf, .. }) => answer_leaf,
            _ => {
                sim.run(8_000);
                let draft = hit_question(sim, FGE, DPS, &vin(1));
                match sim.ask_across_crashes(FGE, draft) {
                    Some(Ending::Answered { answer_leaf, .. }) => answer_leaf,
                    other => panic!("{other:?}"),
                }
            }
        };
        let due_at = sim.clock(FGE).plus(HOUR);
        let draft = Draft { due_at, stays: true, ..core_question(sim, FGE, DPS, &vin(1), leaf) };
        sim.ask_across_crashes(FGE, draft);
        sim.run(30_000);
        // Whoever heard nothing because the node crashed decides again.
        for _ in 0..2 {
            for parked in waiting(sim) {
                decide(sim, parked.exchange, Role::Prosecutor, decision.clone());
            }
            sim.run(30_000);
        }
        assert!(waiting(sim).is_empty(), "decided, and carried out, whatever crashed ({n})");
    }
    for node in [FGE, DPS] {
        sim.close_periods(node);
        sim.run(20_000);
    }
    rest(sim, &[]);
}

#[test]
fn a_crash_at_every_durable_step_leaves_one_decision_and_one_answer() {
    let mut sim = Sim::of(World::deciding(), 56, 2);
    everything_once(&mut sim);
    let steps = sim.durable_steps.clone();
    drop(sim);
    for victim in [FGE, DPS] {
        for step in 1..=steps[&victim] {
            for survives in [false, true] {
                let mut sim = Sim::of(World::deciding(), 56, 2);
                sim.note(|| format!("node {victim} crashes at durable step {step}, which survives: {survives}"));
                sim.crash_at = Some((victim, step, survives));
                everything_once(&mut sim);
                let log = read_log(DPS, &sim.nodes[DPS].disk.lock().unwrap());
                for event in log.events().filter(|e| e.kind == EventKind::HumanDecision) {
                    let ends = log.pairs().filter(|(_, p)| {
                        p.exchange() == event.exchange && matches!(p.kind(), PairKind::Answer | PairKind::Refusal)
                    });
                    assert_eq!(ends.count(), 1);
                }
            }
        }
    }
}

/// A node of the previous minor version knows no Pending: it waits for the Reply on its stream, asks again when the line was
/// lost, and gets what the person decided.
#[test]
fn an_asker_of_the_previous_minor_version_gets_what_a_person_decides() {
    for restarts in [false, true] {
        let mut sim = Sim::speaking(World::deciding(), 61, 2, &minors(FGE));
        sim.received = Some(Vec::new());
        let exchange = parked(&mut sim, 72);
        assert_eq!((state(&sim, exchange), waiting(&sim).len()), (State::Open, 1));
        assert!(!pending(&sim, exchange));
        if restarts {
            for node in [DPS, FGE] {
                sim.crash(node, true);
                sim.start(node);
                sim.run(HOUR);
            }
        }
        sim.run(HOUR);
        assert!(matches!(decide(&mut sim, exchange, Role::Prosecutor, answer()), Ending::Decided(..)));
        sim.run(2 * HOUR);
        assert_eq!(state(&sim, exchange), State::Closed(Outcome::CoreData), "restarts: {restarts}");
        for frame in sim.received.take().unwrap_or_default() {
            let body = puente_wire::decode_frame(&frame.bytes).unwrap();
            let younger = matches!(
                body,
                puente_wire::proto::frame::Body::Pending(_)
                    | puente_wire::proto::frame::Body::NeedPart(_)
                    | puente_wire::proto::frame::Body::CharterPart(_)
            );
            assert!(!younger, "{body:?} between nodes of two minor versions");
        }
        rest(&mut sim, &[]);
    }
}

/// A holder of the previous minor version cannot let a question wait: it refuses, and says why.
#[test]
fn a_holder_of_the_previous_minor_version_refuses_what_a_person_would_decide() {
    let mut sim = Sim::speaking(World::deciding(), 62, 2, &minors(DPS));
    let draft = hit_question(&sim, FGE, DPS, &vin(1));
    let Ending::Answered { answer_leaf, .. } = sim.ask_and_wait(FGE, draft) else { panic!() };
    let draft = core_question(&sim, FGE, DPS, &vin(1), answer_leaf);
    let refused = sim.ask_and_wait(FGE, draft);
    assert_eq!(refused, Ending::Refused { recorded: true, reason: RefusalReason::Scope });
    rest(&mut sim, &[]);
}

/// This node speaks the minor version before questions could wait for a person, the other the newest.
fn minors(older: usize) -> Vec<u32> {
    (0..=older).map(|node| if node == older { 0 } else { puente_exchange::MINOR }).collect()
}
