//! Thousands of open questions: what they cost is counted, not timed.

use puente_exchange::Tuning;
use puente_exchange::api::Ticket;
use puente_wire::{decode_frame, proto::frame::Body};

use crate::sim::world::{DPS, FGE, vin};
use crate::sim::{Ending, Sim, Weather, check, hit_question};

/// `PUENTE_OPEN` says how many (2,000).
fn open_questions() -> u64 {
    std::env::var("PUENTE_OPEN").ok().and_then(|text| text.parse().ok()).unwrap_or(2_000)
}

/// A node with many questions to a partner that is away, started again; each is due after `millis`.
fn burdened(seed: u64, millis: u64) -> Sim {
    let mut sim = Sim::new(seed, 2);
    sim.tuning = Tuning { queries_per_officer_per_minute: u32::MAX, ..Tuning::default() };
    sim.crash(DPS, false);
    sim.crash(FGE, false);
    sim.start(FGE);
    sim.weather = Weather { dial: (200, 400), ..Weather::CALM };
    sim.run(1_000);
    for n in 0..open_questions() {
        let mut draft = hit_question(&sim, FGE, DPS, &vin(5 + (n % 50) as u32));
        draft.due_at = sim.clock(FGE).plus(millis);
        sim.ask(FGE, draft);
        if n % 256 == 255 {
            sim.run(5);
        }
    }
    sim.run(2_000);
    sim.crash(FGE, false);
    sim.start(FGE);
    sim
}

/// A question that cannot wait.
fn urgent(sim: &mut Sim) -> Ticket {
    let mut draft = hit_question(sim, FGE, DPS, &vin(1));
    draft.due_at = sim.clock(FGE).plus(1_000);
    sim.ask(FGE, draft)
}

/// Frames that the node sent, of the kind.
fn sent(sim: &Sim, kind: impl Fn(&Body) -> bool) -> u64 {
    let sent = sim.sent.as_ref().unwrap().iter().filter(|s| s.from == FGE);
    sent.filter(|s| kind(&decode_frame(&s.bytes).unwrap())).count() as u64
}

fn is_answered(sim: &Sim, ticket: Ticket) -> bool {
    matches!(sim.ending(FGE, ticket), Some(Ending::Answered { .. }))
}

#[test]
fn a_new_question_overtakes_thousands_of_open_ones() {
    let many = open_questions();
    let mut sim = burdened(41, 86_400_000);
    // Nothing happens while the partner is away but a dial now and then.
    let steps = sim.steps;
    sim.run(60_000);
    assert!(sim.steps - steps < 500, "{} steps while nobody can be reached", sim.steps - steps);
    assert_eq!(sim.nodes[FGE].engine.as_ref().unwrap().open_exchanges().0 as u64, many);
    // The partner returns; the question is put in the midst of what is sent again.
    sim.sent = Some(Vec::new());
    sim.start(DPS);
    sim.connect(FGE, DPS);
    sim.run(100);
    let before = sent(&sim, |b| matches!(b, Body::Ask(_)));
    assert!((1..1_500).contains(&before), "{before} asks in a tenth of a second");
    let ticket = urgent(&mut sim);
    assert!(sim.run_until(1_000, |s| is_answered(s, ticket)), "no answer in time\n{}", sim.story());
    let ahead = sent(&sim, |b| matches!(b, Body::Ask(_))) - before;
    assert!(ahead < 1_000, "{ahead} old questions went ahead of the new one");
    // A connection that is lost in the midst starts nothing over.
    let conn = sim.conns.len() - 1;
    sim.drop_conn(conn);
    let open = |s: &Sim| s.nodes[FGE].engine.as_ref().unwrap().open_exchanges().0;
    assert!(sim.run_until(600_000, |s| open(s) == 0), "{} are open still", open(&sim));
    let asks = sent(&sim, |b| matches!(b, Body::Ask(_)));
    assert!(asks < many + many / 10 + 500, "{asks} asks for {many} questions");
    sim.run(10_000);
    check::check(&sim, false);
}

#[test]
fn a_new_question_overtakes_thousands_of_voids() {
    let many = open_questions();
    let mut sim = burdened(42, 30_000);
    sim.run(60_000);
    assert_eq!(sim.nodes[FGE].engine.as_ref().unwrap().open_exchanges().0, 0, "all are voided");
    // Which VOIDs were answered is not known after a start: all are delivered.
    sim.crash(FGE, false);
    sim.start(FGE);
    sim.sent = Some(Vec::new());
    sim.start(DPS);
    sim.connect(FGE, DPS);
    sim.run(100);
    let voids = |b: &Body| matches!(b, Body::Deliver(_));
    let before = sent(&sim, voids);
    assert!((1..1_500).contains(&before), "{before} VOIDs in a tenth of a second");
    let ticket = urgent(&mut sim);
    assert!(sim.run_until(1_000, |s| is_answered(s, ticket)), "no answer in time\n{}", sim.story());
    // In bulk: a window of them is under way at any time, so all pass in few round trips.
    let began = sim.now;
    while sent(&sim, voids) < many && sim.now < began + 60_000 {
        sim.run(100);
    }
    assert!((sim.now - began) * 100 < many * 200, "{} ms for {many} VOIDs", sim.now - began);
    sim.run(10_000);
    let total = sent(&sim, voids);
    assert!(total < many + many / 10 + 300, "{total} deliveries of {many} VOIDs");
    // Answered once, they are not sent again on another connection.
    let conn = sim.conns.len() - 1;
    sim.drop_conn(conn);
    sim.run(5_000);
    sim.connect(FGE, DPS);
    sim.run(5_000);
    assert_eq!(sent(&sim, voids), total);
    check::check(&sim, false);
}
