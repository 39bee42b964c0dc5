//! One test for every claim that a peer can make: each gets its named answer, and does no harm.

mod answers;
mod ends;
mod heads;
mod parts;
mod training;

use puente_audit_log::leaf_hash;
use puente_exchange::Tuning;
use puente_exchange::api::{Input, StreamId};
use puente_model::{Digest, EventKind, ExchangeId, Minute, NodeUri, RefusalReason, Seq, Step, limits};
use puente_wire::fault::FaultCode;
use puente_wire::proto::frame::Body;
use puente_wire::{Pair, PairBody, proto};

use crate::sim::check::read_log;
use crate::sim::forger::{Book, Duel, Question, stranger};
use crate::sim::world::{DOJ, DPS, FGE, START, World, uri};
use crate::sim::{Ending, core_question, hit_question};

/// The question gets this fault, nothing of it is recorded, the fault is, and an honest question is answered.
fn faulted(name: &str, code: FaultCode, make: impl FnOnce(&mut Duel) -> Question) {
    let mut duel = Duel::new();
    let question = make(&mut duel);
    duel.heard();
    duel.ask(&question);
    assert_eq!(duel.fault(), Some(code), "{name}");
    let log = read_log(FGE, &duel.sim.nodes[FGE].disk.lock().unwrap());
    assert!(log.pairs().next().is_none(), "{name}: nothing is recorded of it");
    let counted = log.events().any(|e| e.kind == EventKind::PeerFault && e.peer == Some(uri(DPS)));
    assert!(counted, "{name}: the fault is recorded");
    duel.still_answers();
}

/// The question is recorded and refused for this reason.
fn refused(name: &str, reason: RefusalReason, make: impl FnOnce(&mut Duel) -> Question) {
    let mut duel = Duel::new();
    let question = make(&mut duel);
    duel.heard();
    duel.ask(&question);
    let (_, pair, _) = duel.reply().unwrap_or_else(|| panic!("{name}: a REFUSAL"));
    let PairBody::Refusal { reason: found, quoted, .. } = pair.body else { panic!("{name}: {pair:?}") };
    assert_eq!((found, quoted), (reason, question.leaf), "{name}");
    duel.still_answers();
}

fn named(name: &str) -> NodeUri {
    name.parse().unwrap()
}

#[test]
fn questions_that_break_the_protocol_are_refused_by_name() {
    let other = |p: &mut Pair| p.from = uri(DOJ);
    faulted("from another node", FaultCode::Misaddressed, |d| d.question(1, |_, p| other(p)));
    faulted("to another node", FaultCode::Misaddressed, |d| d.question(1, |_, p| p.to = named("puente://mx/fgr/n1")));
    faulted("of another log", FaultCode::WrongLog, |d| d.question(1, |_, p| p.log = 2));
    faulted("an exchange of another number", FaultCode::Malformed, |d| {
        d.question(1, |_, p| terms(p).exchange = ExchangeId::new(1, Seq(99), [7; 8]))
    });
    faulted("minute in the future", FaultCode::FutureDated, |d| {
        d.question(1, |_, p| p.minute = Minute(p.minute.0 + 2))
    });
    faulted("asked in the future", FaultCode::FutureDated, |d| {
        d.question(1, |q, _| q.asked_at = q.asked_at.plus(31_000))
    });
    faulted("another payload", FaultCode::BadCommitment, |d| {
        let (mut one, two) = (d.question(1, |_, _| ()), d.question(2, |_, _| ()));
        one.ask.payload = two.ask.payload;
        one
    });
    faulted("another salt", FaultCode::BadCommitment, |d| {
        let mut question = d.question(1, |_, _| ());
        question.ask.salt = vec![1; 32];
        question
    });
    faulted("no salt", FaultCode::Malformed, |d| {
        let mut question = d.question(1, |_, _| ());
        question.ask.salt.clear();
        question
    });
    faulted("no escrow", FaultCode::BadEscrow, |d| {
        let mut question = d.question(1, |_, _| ());
        question.ask.query.as_mut().unwrap().escrow = None;
        question
    });
    faulted("another escrow", FaultCode::BadEscrow, |d| {
        let mut question = d.question(1, |_, _| ());
        question.ask.query.as_mut().unwrap().escrow.as_mut().unwrap().blob[0] ^= 1;
        question
    });
    faulted("a payload over the limit", FaultCode::Oversized, |d| {
        let mut question = d.question(1, |_, _| ());
        question.ask.payload = vec![0; limits::QUERY_BYTES_MAX + 1];
        question
    });
    faulted("an entry in another encoding", FaultCode::Malformed, |d| {
        let mut question = d.question(1, |_, _| ());
        question.ask.query.as_mut().unwrap().entry.extend([0x78, 0]);
        question
    });
    faulted("no entry", FaultCode::Malformed, |d| {
        let mut question = d.question(1, |_, _| ());
        question.ask.query = None;
        question
    });
}

#[test]
fn receipts_that_prove_something_else_are_refused_by_name() {
    faulted("a receipt for another entry", FaultCode::BadReceipt, |d| {
        let (mut one, two) = (d.question(1, |_, _| ()), d.question(2, |_, _| ()));
        one.ask.query.as_mut().unwrap().receipt = two.ask.query.unwrap().receipt;
        one
    });
    faulted("no receipt", FaultCode::BadReceipt, |d| {
        let mut question = d.question(1, |_, _| ());
        question.ask.query.as_mut().unwrap().receipt.clear();
        question
    });
    faulted("a receipt of another log", FaultCode::WrongLog, |d| {
        let mut question = d.question(1, |_, _| ());
        let origin = uri(DOJ).origin(1).unwrap();
        let mut book = Book::new(origin.as_str(), crate::sim::world::log_signer(DOJ));
        let entry = question.ask.query.as_ref().unwrap().entry.clone();
        question.ask.query.as_mut().unwrap().receipt = book.append(&[entry]).remove(0);
        question
    });
    faulted("a receipt under a key that the charter does not name", FaultCode::WrongLog, |d| {
        let mut question = d.question(1, |_, _| ());
        let origin = uri(DPS).origin(1).unwrap();
        let mut book = Book::new(origin.as_str(), stranger(origin.as_str()));
        let entry = question.ask.query.as_ref().unwrap().entry.clone();
        question.ask.query.as_mut().unwrap().receipt = book.append(&[entry]).remove(0);
        question
    });
}

#[test]
fn questions_that_may_not_be_answered_are_recorded_and_refused() {
    refused("past its deadline", RefusalReason::Expired, |d| d.question(1, |q, _| q.due_at = q.asked_at));
    refused("an expired officer", RefusalReason::Scope, |d| d.question(1, |q, _| q.officer.expires = START));
    refused("a basis that the charter does not know", RefusalReason::NoLegalBasis, |d| {
        d.question(1, |_, p| terms(p).basis = "jay-treaty-1794".parse().unwrap())
    });
    refused("step 2 that quotes no hit", RefusalReason::Quality, |d| {
        d.question(1, |q, p| {
            (q.facts_statement, q.confirms) = ("seen".to_owned(), Some(Digest([9; 32])));
            terms(p).step = Step::CoreData;
        })
    });
    refused("urgent without a justification", RefusalReason::Quality, |d| {
        d.question(1, |q, _| q.urgency = puente_model::Urgency::Urgent)
    });
    refused("a statement of facts over the limit", RefusalReason::Quality, |d| {
        d.question(1, |q, _| q.facts_statement = "x".repeat(limits::FACTS_CHARS_MAX + 1))
    });
    refused("a parameter that the catalogue does not know", RefusalReason::Quality, |d| {
        d.question(1, |q, _| q.params = vec![("owner".to_owned(), "X".to_owned())])
    });
    refused("a VIN that is none", RefusalReason::Quality, |d| {
        d.question(1, |q, _| q.params[0].1 = "1FTFW1E5XKF000001".to_owned())
    });
}

fn terms(pair: &mut Pair) -> &mut puente_wire::Terms {
    match &mut pair.body {
        PairBody::Query { terms, .. } | PairBody::Answer { terms, .. } | PairBody::Release { terms, .. } => terms,
        _ => panic!("an entry without terms"),
    }
}

#[test]
fn a_step_2_question_on_another_subject_than_the_hit_is_refused() {
    let mut duel = Duel::new();
    let question = duel.question(1, |_, _| ());
    duel.ask(&question);
    let (reply, _, _) = duel.reply().unwrap();
    let hit = leaf_hash(&reply.answer.unwrap().entry);
    for (serial, good) in [(2, false), (1, true)] {
        let question = duel.question(serial, |q, p| {
            (q.facts_statement, q.confirms) = ("seen".to_owned(), Some(hit));
            terms(p).step = Step::CoreData;
        });
        duel.ask(&question);
        let (_, pair, _) = duel.reply().unwrap();
        assert_eq!(matches!(pair.body, PairBody::Answer { .. }), good, "{pair:?}");
    }
}

#[test]
fn numbers_and_exchanges_are_used_once() {
    let mut duel = Duel::new();
    let first = duel.question(1, |_, _| ());
    duel.ask(&first);
    let (reply, _, _) = duel.reply().unwrap();
    // The same bytes again: the same reply, nothing recorded.
    let size = duel.sim.nodes[FGE].disk.lock().unwrap().size();
    duel.ask(&first);
    let (again, _, _) = duel.reply().unwrap();
    assert_eq!(reply.answer.unwrap().entry, again.answer.unwrap().entry);
    assert_eq!(duel.sim.nodes[FGE].disk.lock().unwrap().size(), size);
    // The same number, another question.
    let other = duel.question(2, |_, p| p.seq = Seq(1));
    duel.ask(&other);
    assert_eq!(duel.fault(), Some(FaultCode::Replayed));
    // The same exchange, another question.
    let other = duel.question(2, |_, p| terms(p).exchange = first.exchange);
    duel.ask(&other);
    assert_eq!(duel.fault(), Some(FaultCode::Replayed));
    duel.still_answers();
}

#[test]
fn frames_out_of_order_or_out_of_shape() {
    let mut duel = Duel::new();
    let stream = duel.stream();
    duel.send_raw(stream, vec![0xff, 0xff, 0xff]);
    assert_eq!(duel.fault(), Some(FaultCode::Malformed));
    duel.send_raw(stream, Vec::new());
    assert_eq!(duel.fault(), Some(FaultCode::Malformed));
    duel.send_raw(stream, vec![0; limits::FRAME_BYTES_MAX + 1]);
    assert_eq!(duel.fault(), Some(FaultCode::Oversized));
    let unknown = proto::Acknowledge { exchange_id: vec![3; 16], receipt: b"?".to_vec() };
    duel.send(stream, Body::Acknowledge(unknown));
    assert_eq!(duel.fault(), Some(FaultCode::UnknownExchange));
    duel.send(stream, Body::Acknowledge(proto::Acknowledge { exchange_id: vec![3; 15], receipt: Vec::new() }));
    assert_eq!(duel.fault(), Some(FaultCode::Malformed));
    duel.send(StreamId::CONTROL, Body::NeedHead(proto::NeedHead { from: 0, to: 1_000 }));
    assert_eq!(duel.fault(), Some(FaultCode::NoSuchHead));
    duel.send(StreamId::CONTROL, Body::NeedHead(proto::NeedHead { from: 2, to: 1 }));
    assert_eq!(duel.fault(), Some(FaultCode::NoSuchHead));
    duel.send(StreamId::CONTROL, Body::Probe(proto::Probe { log: 1, first: 0, last: 3 }));
    assert_eq!(duel.fault(), Some(FaultCode::Malformed));
    duel.send(StreamId::CONTROL, Body::Probe(proto::Probe { log: 1, first: 1, last: u64::MAX }));
    let have = duel.heard().into_iter().find_map(|b| match b {
        Body::Have(have) => Some(have.missing.len()),
        _ => None,
    });
    assert_eq!(have, Some(limits::HOLES_PER_PERIOD_MAX));
    // An ANSWER where a QUERY belongs.
    let mut question = duel.question(1, |_, _| ());
    let pair = duel.pair(PairBody::Void { exchange: ExchangeId([1; 16]), voided: Seq(1), quoted: question.leaf });
    question.ask.query = Some(duel.record(&pair));
    duel.ask(&question);
    assert_eq!(duel.fault(), Some(FaultCode::OutOfOrder));
    duel.still_answers();
}

#[test]
fn frames_on_a_stream_where_they_do_not_belong_are_out_of_order() {
    let mut duel = Duel::new();
    let question = duel.question(1, |_, _| ());
    let size = duel.sim.nodes[FGE].disk.lock().unwrap().size();
    duel.heard();
    for stream in [StreamId::CONTROL, StreamId(2)] {
        duel.send(stream, Body::Ask(question.ask.clone()));
        assert_eq!(duel.fault(), Some(FaultCode::OutOfOrder));
        let ack = proto::Acknowledge { exchange_id: question.exchange.0.to_vec(), receipt: Vec::new() };
        duel.send(stream, Body::Acknowledge(ack));
        assert_eq!(duel.fault(), Some(FaultCode::OutOfOrder));
    }
    let head = proto::Head { checkpoint: duel.book.note(), base: 0, proof: Vec::new() };
    let control = [
        Body::Head(head),
        Body::NeedHead(proto::NeedHead { from: 0, to: 1 }),
        Body::HeadProof(proto::HeadProof { from: 0, to: 1, proof: Vec::new() }),
        Body::Deliver(proto::Deliver { entry: question.ask.query.clone(), content: None }),
        Body::Delivered(proto::Delivered { leaf_hash: vec![1; 32], result: 1, receipt: Vec::new() }),
        Body::Probe(proto::Probe { log: 1, first: 1, last: 1 }),
        Body::Have(proto::Have { log: 1, first: 1, last: 1, missing: Vec::new() }),
        Body::Lost(proto::Lost { entry: question.ask.query.clone(), head: Vec::new() }),
        Body::Ready(proto::Ready::default()),
    ];
    for body in control {
        for stream in [StreamId(2), StreamId(3)] {
            duel.send(stream, body.clone());
            assert_eq!(duel.fault(), Some(FaultCode::OutOfOrder), "{}", crate::sim::describe(&body));
        }
    }
    let (_, ask, query) = duel.asked_hit();
    let answer = duel.answer(&query, &ask, |_| ());
    for stream in [StreamId::CONTROL, StreamId(3)] {
        duel.send(stream, Body::Reply(answer.reply.clone()));
        assert_eq!(duel.fault(), Some(FaultCode::OutOfOrder));
        let release = proto::Release { release: answer.reply.answer.clone(), sealed_key: Vec::new() };
        duel.send(stream, Body::Release(release));
        assert_eq!(duel.fault(), Some(FaultCode::OutOfOrder));
    }
    let log = read_log(FGE, &duel.sim.nodes[FGE].disk.lock().unwrap());
    assert_eq!(log.pairs().count(), 1, "only the own question is recorded, of {size} entries");
    duel.still_answers();
}

#[test]
fn nothing_is_handed_over_to_a_log_that_follows_none() {
    let mut duel = Duel::new();
    let question = duel.question(1, |_, _| ());
    let size = duel.sim.nodes[FGE].disk.lock().unwrap().size();
    for entry in [question.ask.query.clone(), None] {
        duel.send(StreamId::CONTROL, Body::Lost(proto::Lost { entry, head: duel.book.note() }));
        assert_eq!(duel.fault(), Some(FaultCode::OutOfOrder));
    }
    let log = read_log(FGE, &duel.sim.nodes[FGE].disk.lock().unwrap());
    assert_eq!(log.pairs().count(), 0, "of {size} entries");
    duel.still_answers();
}

#[test]
fn a_fault_with_a_code_of_a_later_version_ends_the_question() {
    let mut duel = Duel::new();
    let (ticket, _, query) = duel.asked_hit();
    let exchange_id = query.exchange().unwrap().0.to_vec();
    let fault = proto::Fault { code: 900, text: String::new(), retry_after_millis: 50, exchange_id };
    duel.send(StreamId(2), Body::Fault(fault));
    assert!(matches!(duel.sim.ending(FGE, ticket), Some(Ending::Faulted(_))));
}

#[test]
fn a_question_that_overtook_ready_goes_out_again_at_once() {
    let mut duel = Duel::new();
    let (ticket, first, _) = duel.asked_hit();
    let fault = proto::Fault { code: FaultCode::NotReady.code(), ..proto::Fault::default() };
    duel.send(StreamId(2), Body::Fault(fault.clone()));
    let again =
        |duel: &mut Duel| duel.heard().into_iter().find_map(|b| if let Body::Ask(a) = b { Some(a) } else { None });
    let second = again(&mut duel).or_else(|| again(&mut duel)).expect("the same question, at once");
    assert_eq!(second.query.unwrap().entry, first.query.unwrap().entry);
    // On a stream that carries no question, it means nothing.
    duel.send(StreamId(2), Body::Fault(fault));
    assert!(again(&mut duel).is_none() && again(&mut duel).is_none());
    assert!(duel.sim.ending(FGE, ticket).is_none(), "the question is open");
}

#[test]
fn ready_comes_first_and_must_fit() {
    let strangers = || Duel::strangers(World::ordinary(), Tuning::default());
    let mut duel = strangers();
    let question = duel.question(1, |_, _| ());
    duel.heard();
    duel.ask(&question);
    assert_eq!(duel.fault(), Some(FaultCode::NotReady));
    duel.greet(|_| ());
    duel.still_answers();
    type Tweak = fn(&mut proto::Ready);
    let cases: [(FaultCode, Tweak); 6] = [
        (FaultCode::Version, |r| r.version = 2),
        (FaultCode::Misaddressed, |r| r.node = uri(DOJ).to_string()),
        (FaultCode::Malformed, |r| r.charter_hash[0] ^= 1),
        (FaultCode::Catalogue, |r| r.catalogue[0] ^= 1),
        (FaultCode::WrongLog, |r| r.your_head = r.own_head.clone()),
        (FaultCode::Malformed, |r| r.own_head.truncate(20)),
    ];
    for (code, tweak) in cases {
        let mut duel = strangers();
        duel.greet(tweak);
        assert_eq!(duel.fault(), Some(code));
        assert_eq!(duel.sim.nodes[FGE].engine.as_ref().unwrap().ready_peers().count(), 0, "{code}");
        duel.dial();
        duel.greet(|_| ());
        duel.still_answers();
    }
}

#[test]
fn a_suspended_member_is_turned_away() {
    let duel = Duel::strangers(World::suspending(DPS), Tuning::default());
    assert!(duel.sim.story().contains("closes ConnectionId(1): not-a-member"), "{}", duel.sim.story());
}

#[test]
fn too_many_questions_at_once_are_told_to_wait_and_not_recorded() {
    let mut duel = Duel::with(World::ordinary(), Tuning { lookups_per_peer_max: 2, ..Tuning::default() });
    duel.sim.weather.lookup = (500, 500);
    let questions: Vec<_> = (0..3).map(|n| duel.question(n, |_, _| ())).collect();
    duel.heard();
    for question in &questions {
        duel.ask(question);
    }
    assert_eq!(duel.fault(), Some(FaultCode::Overloaded));
    duel.sim.run(1_000);
    // The same number again, as it was told.
    duel.sim.weather.lookup = (1, 1);
    duel.heard();
    duel.ask(&questions[2]);
    assert!(duel.reply().is_some());
}

#[test]
fn a_node_that_stops_ends_what_it_holds_and_tells_new_questions_to_come_again() {
    let mut duel = Duel::new();
    let (held, new) = (duel.question(0, |_, _| ()), duel.question(1, |_, _| ()));
    let stream = duel.ask(&held);
    let (_, _, receipt) = duel.reply().unwrap();
    duel.sim.input(FGE, Input::Drain);
    duel.heard();
    duel.ask(&new);
    assert_eq!(duel.fault(), Some(FaultCode::Overloaded));
    // What it has answered is released, and what was repeated is answered alike.
    duel.heard();
    duel.send(stream, Body::Acknowledge(proto::Acknowledge { exchange_id: held.exchange.0.to_vec(), receipt }));
    duel.heard();
    duel.ask(&held);
    assert!(duel.reply().is_some());
}

#[test]
fn whoever_owes_receipts_gets_nothing_new_until_it_has_sent_them() {
    let mut duel = Duel::new();
    let mut owed = Vec::new();
    for n in 0..limits::UNRECEIPTED_ANSWERS_MAX {
        let question = duel.question(n as u32, |q, _| q.due_at = q.asked_at.plus(1_000));
        let stream = duel.ask(&question);
        owed.push((question.exchange, stream, duel.reply().unwrap().2));
    }
    duel.sim.run(2_000);
    let question = duel.question(1, |_, _| ());
    duel.ask(&question);
    assert_eq!(duel.fault(), Some(FaultCode::ReceiptsOwed));
    let (exchange, stream, receipt) = owed.remove(0);
    duel.send(stream, Body::Acknowledge(proto::Acknowledge { exchange_id: exchange.0.to_vec(), receipt }));
    duel.heard();
    duel.ask(&question);
    assert!(duel.reply().is_some(), "one receipt less is owed");
}

#[test]
fn drafts_that_are_wrong_are_refused_before_anything_is_recorded() {
    let mut duel = Duel::new();
    let size = duel.sim.nodes[FGE].disk.lock().unwrap().size();
    let vin = crate::sim::world::vin(1);
    let base = hit_question(&duel.sim, FGE, DPS, &vin);
    let now = duel.sim.clock(FGE);
    type Tweak = Box<dyn Fn(&mut puente_exchange::api::Draft)>;
    let cases: Vec<(&str, Tweak)> = vec![
        ("unknown kind", Box::new(|d| d.kind = "weather.status".parse().unwrap())),
        ("unknown node", Box::new(|d| d.to = named("puente://us/nobody/n1"))),
        ("bad VIN", Box::new(|d| d.params[0].1 = "1FTFW1E5XKF000001".to_owned())),
        ("no VIN", Box::new(|d| d.params.clear())),
        ("past deadline", Box::new(move |d| d.due_at = now)),
        ("far deadline", Box::new(move |d| d.due_at = now.plus(limits::DEADLINE_MILLIS_MAX + 1))),
        ("urgent without a reason", Box::new(|d| d.urgency = puente_model::Urgency::Urgent)),
        ("expired officer", Box::new(move |d| d.officer.expires = now)),
        ("step 2 without a hit", Box::new(|d| d.step = Step::CoreData)),
    ];
    for (name, tweak) in cases {
        let mut draft = base.clone();
        tweak(&mut draft);
        let ticket = duel.sim.ask(FGE, draft);
        assert_eq!(duel.sim.ending(FGE, ticket), Some(&Ending::Invalid), "{name}");
    }
    duel.sim.run(100);
    assert_eq!(duel.sim.nodes[FGE].disk.lock().unwrap().size(), size);
    let draft = core_question(&duel.sim, FGE, DPS, &vin, Digest([1; 32]));
    let ticket = duel.sim.ask(FGE, draft);
    duel.sim.run(100);
    assert_eq!(duel.sim.ending(FGE, ticket), None, "only the holder knows its hits");
}
