//! How exchanges end otherwise: cancelled, voided, closed by a period.

use puente_exchange::api::{Alarm, Input, StreamId};
use puente_model::{Digest, RefusalReason, Seq};
use puente_wire::fault::FaultCode;
use puente_wire::proto::frame::Body;
use puente_wire::{Hole, HoleWhy, PairBody, Period, proto};

use crate::sim::check::read_log;
use crate::sim::forger::Duel;
use crate::sim::hit_question;
use crate::sim::world::{DPS, FGE};

#[test]
fn voids_close_what_is_unknown_and_leave_what_is_answered() {
    let mut duel = Duel::new();
    let (answered, never) = (duel.question(1, |_, _| ()), duel.question(2, |_, _| ()));
    duel.ask(&answered);
    duel.reply().unwrap();
    for (question, expected) in [(&answered, 3), (&never, 2)] {
        let void = PairBody::Void { exchange: question.exchange, voided: question.pair.seq, quoted: question.leaf };
        let pair = duel.pair(void);
        let entry = duel.record(&pair);
        duel.send(StreamId::CONTROL, Body::Deliver(proto::Deliver { entry: Some(entry), content: None }));
        assert_eq!(delivered(&mut duel), Some(expected));
    }
    duel.ask(&never);
    assert_eq!(duel.fault(), Some(FaultCode::NumberClosed));
    duel.ask(&answered);
    assert!(duel.reply().is_some(), "what was answered stands");
    duel.still_answers();
}

fn delivered(duel: &mut Duel) -> Option<u32> {
    duel.heard().into_iter().find_map(|body| match body {
        Body::Delivered(delivered) => Some(delivered.result),
        _ => None,
    })
}

#[test]
fn periods_must_say_what_is_recorded() {
    let good = |leaf: Digest| Period {
        first: Seq(1),
        last: Seq(1),
        count: 1,
        root: puente_audit_log::root_of([leaf]),
        holes: Vec::new(),
        peer_head: Vec::new(),
    };
    type Tweak = fn(&mut Period);
    let cases: [(&str, Tweak); 6] = [
        ("another root", |p| p.root = Digest([1; 32])),
        ("a recorded number as a hole", |p| {
            p.holes = vec![Hole { seq: Seq(1), leaf: Digest([2; 32]), why: HoleWhy::Undelivered }];
            (p.count, p.root) = (0, puente_audit_log::empty_root());
        }),
        ("beyond what is recorded", |p| p.last = Seq(9)),
        ("far beyond", |p| p.last = Seq(u64::MAX - 1)),
        ("with a gap before it", |p| (p.first, p.last) = (Seq(2), Seq(2))),
        ("another count", |p| p.count = 2),
    ];
    for (name, tweak) in cases {
        let mut duel = Duel::new();
        let question = duel.question(1, |_, _| ());
        duel.ask(&question);
        duel.reply().unwrap();
        let mut period = good(question.leaf);
        tweak(&mut period);
        let pair = duel.pair(PairBody::Period(period));
        let entry = duel.record(&pair);
        duel.send(StreamId::CONTROL, Body::Deliver(proto::Deliver { entry: Some(entry), content: None }));
        let heard = duel.heard();
        let mismatch = heard.iter().any(|b| matches!(b, Body::Delivered(d) if d.result == 4));
        let malformed = heard.iter().any(|b| matches!(b, Body::Fault(f) if f.code == FaultCode::Malformed.code()));
        assert!(mismatch || malformed, "{name}: {:?}", heard.iter().map(crate::sim::describe).collect::<Vec<_>>());
        assert_eq!(mismatch, matches!(duel.sim.nodes[FGE].alarms[..], [Alarm::PeriodMismatch { .. }]), "{name}");
        duel.still_answers();
    }
    let mut duel = Duel::new();
    let question = duel.question(1, |_, _| ());
    duel.ask(&question);
    duel.reply().unwrap();
    let pair = duel.pair(PairBody::Period(good(question.leaf)));
    let entry = duel.record(&pair);
    duel.send(StreamId::CONTROL, Body::Deliver(proto::Deliver { entry: Some(entry), content: None }));
    assert_eq!(delivered(&mut duel), Some(1));
    duel.still_answers();
}

#[test]
fn a_stream_that_the_asker_resets_cancels_what_is_not_recorded() {
    let mut duel = Duel::new();
    duel.sim.weather.lookup = (500, 500);
    let question = duel.question(1, |_, _| ());
    let stream = duel.ask(&question);
    duel.sim.input(FGE, Input::StreamReset { connection: duel.connection, stream });
    duel.sim.run(1_000);
    duel.heard();
    duel.ask(&question);
    let (_, pair, _) = duel.reply().unwrap();
    assert!(matches!(pair.body, PairBody::Refusal { reason: RefusalReason::Cancelled, .. }), "{pair:?}");
}

#[test]
fn a_void_that_overtakes_the_records_leaves_nothing_to_record() {
    let mut duel = Duel::new();
    duel.sim.weather.lookup = (500, 500);
    let question = duel.question(1, |_, _| ());
    duel.ask(&question);
    let void = PairBody::Void { exchange: question.exchange, voided: question.pair.seq, quoted: question.leaf };
    let pair = duel.pair(void);
    let entry = duel.record(&pair);
    duel.send(StreamId::CONTROL, Body::Deliver(proto::Deliver { entry: Some(entry), content: None }));
    assert_eq!(delivered(&mut duel), Some(2), "closed");
    duel.sim.run(1_000);
    assert_eq!(duel.fault(), Some(FaultCode::NumberClosed));
    let log = read_log(FGE, &duel.sim.nodes[FGE].disk.lock().unwrap());
    assert!(log.pairs().all(|p| !matches!(p.1.body, PairBody::Query { .. })), "what is closed is never recorded");
    duel.sim.weather.lookup = (1, 1);
    duel.still_answers();
}

#[test]
fn a_void_that_overtakes_a_question_that_waits_for_a_head_leaves_nothing_to_record() {
    let mut duel = Duel::new();
    let mut question = duel.question(1, |_, _| ());
    let void = PairBody::Void { exchange: question.exchange, voided: question.pair.seq, quoted: question.leaf };
    let pair = duel.pair(void);
    let void = duel.record(&pair);
    // The question's receipt is under a head that nobody has seen: it waits.
    let query = question.ask.query.as_mut().unwrap();
    query.receipt = duel.book.append(std::slice::from_ref(&query.entry)).remove(0);
    duel.heard();
    duel.ask(&question);
    assert_eq!(duel.fault(), None);
    duel.send(StreamId::CONTROL, Body::Deliver(proto::Deliver { entry: Some(void), content: None }));
    assert_eq!(delivered(&mut duel), Some(2), "closed");
    duel.show_head();
    assert_eq!(duel.fault(), Some(FaultCode::NumberClosed));
    let log = read_log(FGE, &duel.sim.nodes[FGE].disk.lock().unwrap());
    assert!(log.pairs().all(|p| !matches!(p.1.body, PairBody::Query { .. })), "what is closed is never recorded");
    duel.still_answers();
}

#[test]
fn an_answer_that_a_void_crossed_is_delivered_again() {
    let mut duel = Duel::new();
    let question = duel.question(1, |_, _| ());
    duel.ask(&question);
    duel.reply().unwrap();
    let void = PairBody::Void { exchange: question.exchange, voided: question.pair.seq, quoted: question.leaf };
    let pair = duel.pair(void);
    let entry = duel.record(&pair);
    duel.send(StreamId::CONTROL, Body::Deliver(proto::Deliver { entry: Some(entry), content: None }));
    let heard = duel.heard();
    assert!(heard.iter().any(|b| matches!(b, Body::Delivered(d) if d.result == 3)));
    assert!(heard.iter().any(|b| matches!(b, Body::Deliver(d) if d.content.is_some())), "the answer, again");
}

#[test]
fn whoever_gives_up_resets_its_stream_and_the_holder_stops() {
    let mut sim = crate::sim::Sim::new(31, 2);
    sim.run(1_000);
    sim.weather.lookup = (5_000, 5_000);
    let draft = hit_question(&sim, FGE, DPS, &crate::sim::world::vin(1));
    let ticket = sim.ask(FGE, draft);
    sim.run(500);
    let said = |sim: &crate::sim::Sim, text: &str| sim.story().contains(text);
    assert!(said(&sim, "Ask(") && !said(&sim, "resets"));
    sim.cancel(FGE, ticket);
    sim.run(20_000);
    assert!(said(&sim, "node 0 resets StreamId(2)"), "{}", sim.story());
    // The VOID came before the records did: the holder recorded nothing of the question.
    let log = read_log(DPS, &sim.nodes[DPS].disk.lock().unwrap());
    assert!(log.pairs().all(|p| matches!(p.1.body, PairBody::Void { .. })));
    crate::sim::plan::rest(&mut sim, &[]);
}
