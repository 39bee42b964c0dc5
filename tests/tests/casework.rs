//! Questions that outlive the command that put them.

use puente_exchange::api::{Draft, Input, Ticket};
use puente_exchange::lead::{Facts, Finding};
use puente_exchange::outbox::{self, Filter, Question, State};
use puente_model::{EventKind, ExchangeId, NodeUri, Outcome, Purpose, RefusalReason, Role, Urgency};
use puente_wire::PairKind;

use crate::sim::check::{check, read_log};
use crate::sim::disk::Shared;
use crate::sim::plan::rest;
use crate::sim::world::{self, DPS, FGE, uri, vin};
use crate::sim::{Ending, Sim, core_question, hit_question};

const HOUR: u64 = 3_600_000;

/// The same question, put without waiting.
fn staying(draft: Draft) -> Draft {
    Draft { stays: true, ..draft }
}

fn put(sim: &mut Sim, from: usize, draft: Draft) -> ExchangeId {
    match sim.ask_and_wait(from, staying(draft)) {
        Ending::Asked(exchange) => exchange,
        other => panic!("{other:?}"),
    }
}

fn others(node: usize) -> Vec<NodeUri> {
    (0..4).filter(|n| *n != node).map(uri).collect()
}

fn listed(sim: &Sim, node: usize, filter: &Filter) -> Vec<Question> {
    let store = Shared(sim.nodes[node].disk.clone());
    outbox::list(&store, &others(node), 1, &Filter { limit: 100, ..filter.clone() }).unwrap()
}

fn state(sim: &Sim, node: usize, exchange: ExchangeId) -> State {
    let store = Shared(sim.nodes[node].disk.clone());
    outbox::find(&store, &others(node), exchange).unwrap().expect("asked").state
}

fn awaited(sim: &mut Sim, node: usize, exchange: ExchangeId) -> Ending {
    let ticket = sim.wish(node, |ticket| Input::Await { ticket, exchange });
    sim.run_until(10 * HOUR, |s| s.ending(node, ticket).is_some());
    sim.ending(node, ticket).cloned().unwrap()
}

fn looked(sim: &mut Sim, node: usize, exchange: ExchangeId) -> Ending {
    let officer = world::officer(Role::Investigator);
    let ticket = sim.wish(node, |ticket| Input::Look { ticket, exchange, officer });
    sim.run_until(10_000, |s| s.ending(node, ticket).is_some());
    sim.ending(node, ticket).cloned().unwrap()
}

fn withdrawn(sim: &mut Sim, node: usize, exchange: ExchangeId) -> Ending {
    let ticket = sim.wish(node, |ticket| Input::Withdraw { ticket, exchange });
    sim.run_until(10_000, |s| s.ending(node, ticket).is_some());
    sim.ending(node, ticket).cloned().unwrap()
}

fn consulted(sim: &Sim, node: usize) -> Vec<puente_wire::Event> {
    let log = read_log(node, &sim.nodes[node].disk.lock().unwrap());
    log.events().filter(|e| e.kind == EventKind::Consult).cloned().collect()
}

#[test]
fn an_answer_that_nobody_waited_for_is_shown_once_and_every_later_look_is_recorded() {
    let mut sim = Sim::new(41, 2);
    let draft = hit_question(&sim, FGE, DPS, &vin(1));
    let hit = put(&mut sim, FGE, draft);
    sim.run(1_000);
    assert_eq!(state(&sim, FGE, hit), State::Closed(Outcome::HitUnconfirmed));
    let Ending::Answered { answer_leaf, fields, .. } = awaited(&mut sim, FGE, hit) else { panic!() };
    assert!(fields.is_empty());
    let draft = core_question(&sim, FGE, DPS, &vin(1), answer_leaf);
    let core = put(&mut sim, FGE, draft);
    sim.run(1_000);
    assert_eq!(state(&sim, FGE, core), State::Closed(Outcome::CoreData));
    // Whoever waits for it first sees it: OPENED stands for that, also after a restart.
    sim.crash(FGE, false);
    sim.start(FGE);
    let Ending::Answered { fields, .. } = awaited(&mut sim, FGE, core) else { panic!() };
    assert!(fields.iter().any(|(path, _)| path == "000/vehicle/vin"));
    assert!(consulted(&sim, FGE).is_empty());
    assert_eq!(awaited(&mut sim, FGE, core), Ending::Ended);
    // Later looks are entries of their own, and come after them.
    let Ending::Answered { fields: again, answer_leaf, .. } = looked(&mut sim, FGE, core) else { panic!() };
    assert_eq!(again, fields);
    let entries = consulted(&sim, FGE);
    assert_eq!(entries.len(), 1);
    let entry = &entries[0];
    assert_eq!((entry.exchange, entry.quoted, entry.count), (Some(core), Some(answer_leaf), fields.len() as u64));
    assert!(entry.purpose.is_some() && entry.role == Some(Role::Investigator) && entry.detail.is_some());
    // A look at what disclosed nothing is none.
    assert!(matches!(looked(&mut sim, FGE, hit), Ending::Answered { .. }));
    assert_eq!(consulted(&sim, FGE).len(), 1);
    assert_eq!(looked(&mut sim, FGE, ExchangeId([7; 16])), Ending::Unknown);
    rest(&mut sim, &[]);
}

#[test]
fn an_answer_that_somebody_waited_for_is_not_shown_again_unrecorded() {
    let mut sim = Sim::new(42, 2);
    let draft = hit_question(&sim, FGE, DPS, &vin(1));
    let Ending::Answered { answer_leaf, .. } = sim.ask_and_wait(FGE, draft) else { panic!() };
    let draft = core_question(&sim, FGE, DPS, &vin(1), answer_leaf);
    assert!(matches!(sim.ask_and_wait(FGE, draft), Ending::Answered { outcome: Outcome::CoreData, .. }));
    sim.run(1_000);
    let core = listed(&sim, FGE, &Filter::default())[0].exchange;
    assert_eq!(awaited(&mut sim, FGE, core), Ending::Ended);
    assert!(consulted(&sim, FGE).is_empty());
}

#[test]
fn questions_are_listed_open_ones_first_with_where_they_stand() {
    let mut sim = Sim::new(43, 4);
    for n in 0..3 {
        let draft = hit_question(&sim, FGE, DPS, &vin(n * 40));
        put(&mut sim, FGE, draft);
        sim.run(500);
    }
    let draft = crate::sim::barred_question(&sim, FGE, world::DOJ);
    let refused = put(&mut sim, FGE, draft);
    sim.run(500);
    sim.cut.extend([(FGE, DPS), (DPS, FGE)]);
    let mut draft = hit_question(&sim, FGE, DPS, &vin(1));
    draft.due_at = draft.due_at.plus(HOUR);
    let late = put(&mut sim, FGE, draft);
    let draft = hit_question(&sim, FGE, DPS, &vin(2));
    let soon = put(&mut sim, FGE, draft);
    let all = listed(&sim, FGE, &Filter::default());
    let ids: Vec<_> = all.iter().map(|q| q.exchange).collect();
    assert_eq!((ids.len(), ids[0], ids[1], ids[2]), (6, soon, late, refused));
    assert_eq!(all[2].state, State::Refused(RefusalReason::StatutoryBar));
    assert!(all[3].asked_at > all[4].asked_at && all[4].asked_at > all[5].asked_at, "the newest first");
    assert_eq!(listed(&sim, FGE, &Filter { open: true, ..Filter::default() }).len(), 2);
    assert_eq!(listed(&sim, FGE, &Filter { to: Some(uri(world::DOJ)), ..Filter::default() }).len(), 1);
    let nobody = Filter { officer: Some("o-9".parse().unwrap()), ..Filter::default() };
    assert!(listed(&sim, FGE, &nobody).is_empty());
    let store = Shared(sim.nodes[FGE].disk.clone());
    let two = outbox::list(&store, &others(FGE), 1, &Filter { limit: 2, ..Filter::default() }).unwrap();
    assert_eq!(two.len(), 2);
    // A node whose log has successors lists what it asked under the logs before.
    let later = outbox::list(&store, &others(FGE), 3, &Filter { limit: 100, ..Filter::default() }).unwrap();
    let ids = |found: &[Question]| found.iter().map(|q| q.exchange).collect::<Vec<_>>();
    assert_eq!(ids(&later), ids(&listed(&sim, FGE, &Filter::default())));
    assert!(!format!("{all:?}").contains("C-1/2026"), "who asks for which case is not for log lines");
    // Given up from elsewhere: the number is voided, and that stays so.
    assert_eq!(withdrawn(&mut sim, FGE, soon), Ending::Withdrawn);
    sim.run(1_000);
    assert_eq!(state(&sim, FGE, soon), State::Withdrawn);
    assert_eq!(withdrawn(&mut sim, FGE, soon), Ending::Ended);
    assert_eq!(withdrawn(&mut sim, FGE, refused), Ending::Ended);
    assert_eq!(withdrawn(&mut sim, FGE, ExchangeId([9; 16])), Ending::Unknown);
    sim.cut.clear();
    sim.run(60_000);
    assert_eq!(state(&sim, FGE, late), State::Closed(Outcome::HitUnconfirmed));
    rest(&mut sim, &[]);
}

#[test]
fn a_question_waits_for_the_line_for_days_over_restarts_of_both_sides() {
    let mut sim = Sim::new(44, 2);
    sim.cut.extend([(FGE, DPS), (DPS, FGE)]);
    let mut draft = hit_question(&sim, FGE, DPS, &vin(1));
    draft.due_at = sim.clock(FGE).plus(72 * HOUR);
    let exchange = put(&mut sim, FGE, draft);
    sim.run(7 * HOUR);
    sim.crash(FGE, true);
    sim.run(HOUR);
    sim.start(FGE);
    sim.crash(DPS, true);
    sim.run(5 * HOUR);
    sim.start(DPS);
    sim.run(30 * HOUR);
    assert_eq!(state(&sim, FGE, exchange), State::Open, "nothing is given up before its time");
    let void = |sim: &Sim| {
        read_log(FGE, &sim.nodes[FGE].disk.lock().unwrap()).pairs().any(|(_, p)| p.kind() == PairKind::Void)
    };
    assert!(!void(&sim));
    sim.cut.clear();
    let ending = awaited(&mut sim, FGE, exchange);
    assert!(matches!(ending, Ending::Answered { outcome: Outcome::HitUnconfirmed, .. }), "{ending:?}");
    rest(&mut sim, &[]);
    check(&sim, true);
}

#[test]
fn a_deadline_that_passes_while_the_line_is_gone_voids_the_number_once() {
    let mut sim = Sim::new(45, 2);
    sim.cut.extend([(FGE, DPS), (DPS, FGE)]);
    let mut draft = hit_question(&sim, FGE, DPS, &vin(1));
    draft.due_at = sim.clock(FGE).plus(6 * HOUR);
    let exchange = put(&mut sim, FGE, draft);
    let ticket = sim.wish(FGE, |ticket| Input::Await { ticket, exchange });
    sim.run(7 * HOUR);
    assert_eq!(sim.ending(FGE, ticket), Some(&Ending::TimedOut));
    assert_eq!(state(&sim, FGE, exchange), State::TimedOut);
    // The deadline passes while the asker is down: it is voided at the next start.
    let mut draft = hit_question(&sim, FGE, DPS, &vin(2));
    draft.due_at = sim.clock(FGE).plus(HOUR);
    let other = put(&mut sim, FGE, draft);
    sim.crash(FGE, false);
    sim.run(3 * HOUR);
    sim.start(FGE);
    sim.run(10_000);
    assert_eq!(state(&sim, FGE, other), State::TimedOut);
    sim.cut.clear();
    rest(&mut sim, &[]);
    assert_eq!(state(&sim, FGE, exchange), State::TimedOut);
    let log = read_log(FGE, &sim.nodes[FGE].disk.lock().unwrap());
    assert_eq!(log.pairs().filter(|(_, p)| p.kind() == PairKind::Void).count(), 2);
    let holder = read_log(DPS, &sim.nodes[DPS].disk.lock().unwrap());
    assert!(holder.pairs().all(|(_, p)| p.kind() != PairKind::Query), "the holder never recorded it");
}

/// Confirms or refutes the hit of an exchange.
fn examined(sim: &mut Sim, exchange: ExchangeId, confirm: bool) -> Ending {
    let ticket = examining(sim, exchange, confirm);
    sim.run_until(90_000, |s| s.ending(FGE, ticket).is_some());
    sim.ending(FGE, ticket).cloned().unwrap()
}

/// The same, without waiting for what comes of it.
fn examining(sim: &mut Sim, exchange: ExchangeId, confirm: bool) -> Ticket {
    let due_at = sim.clock(FGE).plus(60_000);
    let finding = if confirm {
        let (justification, offence) = (String::new(), "vehicle theft".to_owned());
        Finding::Confirmed { due_at, urgency: Urgency::Routine, justification, offence, stays: false }
    } else {
        Finding::Refuted
    };
    let facts = Facts::new("the number plate was read at the crossing").unwrap();
    let officer = world::officer(Role::Investigator);
    sim.wish(FGE, |ticket| Input::Examine { ticket, exchange, officer, facts, finding })
}

/// The kinds of local events about an exchange, in order.
fn examinations(sim: &Sim, exchange: ExchangeId) -> Vec<EventKind> {
    let log = read_log(FGE, &sim.nodes[FGE].disk.lock().unwrap());
    let of = |e: &&puente_wire::Event| {
        e.exchange == Some(exchange) && e.quoted.is_some() && e.role.is_some() && e.detail.is_some()
    };
    log.events().filter(of).map(|e| e.kind).collect()
}

#[test]
fn a_hit_is_confirmed_once_however_often_that_is_sent() {
    let mut sim = Sim::new(50, 2);
    let draft = hit_question(&sim, FGE, DPS, &vin(1));
    let hit = put(&mut sim, FGE, draft);
    sim.run(1_000);
    // Three at once: the first is on its way to the disk when the others come.
    let tickets: Vec<Ticket> = (0..3).map(|_| examining(&mut sim, hit, true)).collect();
    sim.run_until(90_000, |s| tickets.iter().all(|ticket| s.ending(FGE, *ticket).is_some()));
    let endings: Vec<Ending> = tickets.iter().map(|ticket| sim.ending(FGE, *ticket).cloned().unwrap()).collect();
    assert!(matches!(endings[0], Ending::Answered { outcome: Outcome::CoreData, .. }), "{endings:?}");
    assert!(endings[1..].iter().all(|ending| matches!(ending, Ending::AlreadyConfirmed(_))), "{endings:?}");
    // Later, and after a restart, the question that followed is named.
    let core = listed(&sim, FGE, &Filter::default())[0].exchange;
    assert_eq!(examined(&mut sim, hit, true), Ending::AlreadyConfirmed(Some(core)));
    sim.crash(FGE, false);
    sim.start(FGE);
    assert_eq!(examined(&mut sim, hit, true), Ending::AlreadyConfirmed(Some(core)));
    assert_eq!(listed(&sim, FGE, &Filter::default()).len(), 2);
    assert_eq!(examinations(&sim, hit), [EventKind::Confirm]);
    rest(&mut sim, &[]);
}

#[test]
fn a_confirmed_hit_that_could_not_be_asked_about_is_confirmed_again() {
    let mut sim = Sim::new(51, 2);
    let draft = hit_question(&sim, FGE, DPS, &vin(1));
    let hit = put(&mut sim, FGE, draft);
    sim.run(1_000);
    // The node asks nothing new any more: the CONFIRM stands, and nothing follows it.
    let ticket = examining(&mut sim, hit, true);
    sim.input(FGE, Input::Drain);
    sim.run_until(90_000, |s| s.ending(FGE, ticket).is_some());
    assert!(matches!(sim.ending(FGE, ticket), Some(Ending::Faulted(_))));
    sim.crash(FGE, false);
    sim.start(FGE);
    assert!(matches!(examined(&mut sim, hit, true), Ending::Answered { outcome: Outcome::CoreData, .. }));
    assert_eq!(examinations(&sim, hit), [EventKind::Confirm, EventKind::Confirm]);
    rest(&mut sim, &[]);
}

#[test]
fn a_hit_is_confirmed_or_refuted_with_facts_and_only_then_asked_about() {
    let mut sim = Sim::new(46, 2);
    let draft = hit_question(&sim, FGE, DPS, &vin(1));
    let hit = put(&mut sim, FGE, draft);
    let draft = hit_question(&sim, FGE, DPS, &vin(99));
    let miss = put(&mut sim, FGE, draft);
    sim.run(1_000);
    assert_eq!(examined(&mut sim, miss, true), Ending::Invalid, "no hit, no lead");
    assert_eq!(examined(&mut sim, ExchangeId([5; 16]), true), Ending::Unknown);
    assert_eq!(examined(&mut sim, hit, false), Ending::Recorded);
    let asked = |sim: &Sim| {
        let log = read_log(FGE, &sim.nodes[FGE].disk.lock().unwrap());
        log.pairs().filter(|(_, p)| p.kind() == PairKind::Query).count()
    };
    assert_eq!(asked(&sim), 2, "what is refuted is not asked about");
    let ending = examined(&mut sim, hit, true);
    let Ending::Answered { outcome: Outcome::CoreData, fields, .. } = ending else { panic!("{ending:?}") };
    assert!(fields.iter().any(|(path, value)| path == "000/vehicle/vin" && *value == vin(1).into_bytes()));
    assert_eq!(examinations(&sim, hit), [EventKind::Refute, EventKind::Confirm]);
    let core = listed(&sim, FGE, &Filter::default())[0].exchange;
    assert_eq!(examined(&mut sim, core, true), Ending::Invalid, "core data is no hit");
    rest(&mut sim, &[]);
}

#[test]
fn an_old_hit_confirms_nothing() {
    let mut sim = Sim::new(47, 2);
    sim.tuning.hit_valid_millis = 2 * HOUR;
    sim.crash(DPS, false);
    sim.start(DPS);
    let mut hit = || {
        let draft = hit_question(&sim, FGE, DPS, &vin(1));
        put(&mut sim, FGE, draft)
    };
    let (young, old) = (hit(), hit());
    sim.run(HOUR);
    assert!(matches!(examined(&mut sim, young, true), Ending::Answered { outcome: Outcome::CoreData, .. }));
    sim.run(2 * HOUR);
    let refused = Ending::Refused { recorded: true, reason: RefusalReason::Quality };
    assert_eq!(examined(&mut sim, old, true), refused);
    rest(&mut sim, &[]);
}

#[test]
fn a_refusal_says_why_and_how_to_appeal_in_both_languages() {
    let mut sim = Sim::new(48, 4);
    // The rule's own words; where it has none, the agency's.
    let draft = Draft {
        purpose: Purpose::CrimePrevention,
        basis: "bicentennial-framework-2021".parse().unwrap(),
        officer: world::officer(Role::Analyst),
        ..hit_question(&sim, FGE, DPS, &vin(2))
    };
    for (draft, en, es) in [
        (draft, "privacy officer", "responsable de privacidad"),
        (crate::sim::barred_question(&sim, FGE, world::DOJ), "oversight office", "órgano de control"),
    ] {
        let ticket = sim.ask(FGE, draft);
        sim.run(5_000);
        assert!(matches!(sim.ending(FGE, ticket), Some(Ending::Refused { recorded: true, .. })));
        let words = &sim.nodes[FGE].words[&ticket];
        assert!(words.appeal_en.contains(en) && words.appeal_es.contains(es), "{words:?}");
        assert!(!words.rule.is_empty() && !words.text_en.is_empty() && !words.text_es.is_empty());
    }
    rest(&mut sim, &[]);
}

#[test]
fn an_urgent_question_without_its_reason_is_not_even_asked() {
    let mut sim = Sim::new(49, 2);
    let draft = Draft { urgency: Urgency::Urgent, ..hit_question(&sim, FGE, DPS, &vin(1)) };
    assert_eq!(sim.ask_and_wait(FGE, draft), Ending::Invalid);
}
