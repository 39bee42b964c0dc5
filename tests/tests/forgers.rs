//! One test for every claim that a peer can make: each gets its named answer, and does no harm.

use puente_audit_log::leaf_hash;
use puente_exchange::Tuning;
use puente_exchange::api::{Alarm, Input, StreamId};
use puente_model::{Digest, EventKind, ExchangeId, Minute, NodeUri, RefusalReason, Secret32, Seq, Step, limits};
use puente_wire::fault::FaultCode;
use puente_wire::proto::frame::Body;
use puente_wire::{Hole, HoleWhy, Pair, PairBody, Period, proto};

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
    faulted("a charter that nobody has", FaultCode::OldCharter, |d| d.question(1, |_, p| p.charter.common = 2));
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
        (FaultCode::OldCharter, |r| r.charter_hash[0] ^= 1),
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
fn a_lost_tail_of_the_own_log_is_noticed_at_the_first_peer() {
    let mut duel = Duel::strangers(World::ordinary(), Tuning::default());
    let mut tail = Book::new(uri(FGE).origin(1).unwrap().as_str(), crate::sim::world::log_signer(FGE));
    tail.append(&vec![b"an entry that this node has no more".to_vec(); 40]);
    let note = tail.note();
    duel.greet(|ready| ready.your_head = note);
    assert_eq!(duel.fault(), Some(FaultCode::InconsistentHead));
    assert!(matches!(duel.sim.nodes[FGE].alarms[..], [Alarm::OwnLogBehind { .. }]));
    assert_eq!(duel.sim.nodes[FGE].engine.as_ref().unwrap().ready_peers().count(), 0);
}

#[test]
fn a_fork_is_convicted_and_both_heads_are_kept() {
    let mut duel = Duel::new();
    duel.still_answers();
    let accepted = duel.book.note();
    // Another history, signed by the same key, of the same size.
    let mut other = Book::new(uri(DPS).origin(1).unwrap().as_str(), crate::sim::world::log_signer(DPS));
    let size = usize::try_from(duel.book.log.size().0).unwrap();
    other.append(&vec![b"another history".to_vec(); size]);
    let head = proto::Head { checkpoint: other.note(), base: 0, proof: Vec::new() };
    duel.send(StreamId::CONTROL, Body::Head(head));
    assert_eq!(duel.fault(), Some(FaultCode::InconsistentHead));
    let [Alarm::Fork { peer, accepted: one, claimed: two }] = &duel.sim.nodes[FGE].alarms[..] else {
        panic!("{:?}", duel.sim.nodes[FGE].alarms)
    };
    assert_eq!((peer, one, two), (&uri(DPS), &accepted, &other.note()));
    let disk = duel.sim.nodes[FGE].disk.lock().unwrap();
    for note in [&accepted, &other.note()] {
        let kept = disk.asides.iter().any(|aside| {
            let aside = proto::Message::decode(aside.as_slice()).unwrap();
            matches!(aside, proto::Aside { body: Some(proto::aside::Body::PeerHead(head)), .. } if head == *note)
        });
        assert!(kept, "the evidence is kept");
    }
}

#[test]
fn a_receipt_under_a_fork_is_convicted_too() {
    let mut duel = Duel::new();
    duel.still_answers();
    let mut question = duel.question(1, |_, _| ());
    let mut other = Book::new(uri(DPS).origin(1).unwrap().as_str(), crate::sim::world::log_signer(DPS));
    let size = usize::try_from(duel.book.log.size().0).unwrap();
    let query = question.ask.query.as_mut().unwrap();
    let mut entries = vec![b"another history".to_vec(); size - 1];
    entries.push(query.entry.clone());
    query.receipt = other.append(&entries).pop().unwrap();
    duel.heard();
    duel.ask(&question);
    assert_eq!(duel.fault(), Some(FaultCode::InconsistentHead));
    assert!(matches!(duel.sim.nodes[FGE].alarms[..], [Alarm::Fork { .. }]));
    // Nothing more is exchanged with it.
    duel.dial();
    duel.greet(|_| ());
    assert_eq!(duel.sim.nodes[FGE].engine.as_ref().unwrap().ready_peers().count(), 0);
}

/// A head of the forger's own log beside a proof that does not hold.
fn broken_head(duel: &mut Duel) -> proto::Head {
    let base = duel.book.log.size().0;
    duel.book.append(&[b"one more".to_vec()]);
    proto::Head { checkpoint: duel.book.note(), base, proof: vec![7; 64] }
}

fn asked_for(duel: &mut Duel) -> Vec<(u64, u64)> {
    let needs = duel.heard().into_iter().filter_map(|body| match body {
        Body::NeedHead(need) => Some((need.from, need.to)),
        _ => None,
    });
    needs.collect()
}

#[test]
fn a_broken_proof_alone_convicts_nobody_and_discloses_nothing_until_another_holds() {
    let mut duel = Duel::new();
    duel.still_answers();
    // A disclosing answer that waits for its receipt.
    let question = duel.question(1, |_, _| ());
    duel.ask(&question);
    let (reply, _, _) = duel.reply().unwrap();
    let hit = leaf_hash(&reply.answer.unwrap().entry);
    let question = duel.question(1, |q, p| {
        (q.facts_statement, q.confirms) = ("seen".to_owned(), Some(hit));
        terms(p).step = Step::CoreData;
    });
    let stream = duel.ask(&question);
    let (_, _, receipt) = duel.reply().unwrap();
    let other = duel.question(2, |_, _| ());
    let head = broken_head(&mut duel);
    let (from, to) = (head.base, head.base + 1);
    duel.heard();
    duel.send(StreamId::CONTROL, Body::Head(head));
    let heard = duel.heard();
    assert!(heard.iter().any(|b| matches!(b, Body::Fault(f) if f.code == FaultCode::BadProof.code())));
    assert!(heard.iter().any(|b| matches!(b, Body::NeedHead(n) if (n.from, n.to) == (from, to))));
    // Receipt and question are right, under heads accepted before: nothing is disclosed all the same.
    let ack = proto::Acknowledge { exchange_id: question.exchange.0.to_vec(), receipt };
    duel.send(stream, Body::Acknowledge(ack));
    duel.ask(&other);
    duel.sim.run(20_000);
    let heard = duel.heard();
    let discloses = |b: &Body| matches!(b, Body::Release(_) | Body::Reply(_));
    assert!(!heard.iter().any(discloses), "{:?}", heard.iter().map(crate::sim::describe).collect::<Vec<_>>());
    assert!(heard.iter().filter(|b| matches!(b, Body::NeedHead(_))).count() < 10, "asked for now and again");
    // The proof that it was asked for: everything goes on.
    let sizes = (puente_model::TreeSize(from), puente_model::TreeSize(to));
    let proof = duel.book.log.prove_consistency(sizes.0, sizes.1, &duel.book.files).unwrap();
    let proof = puente_wire::join_hashes(&proof);
    duel.send(StreamId::CONTROL, Body::HeadProof(proto::HeadProof { from, to, proof }));
    let heard = duel.heard();
    assert!(heard.iter().any(|b| matches!(b, Body::Release(_))), "the key");
    assert!(heard.iter().any(|b| matches!(b, Body::Reply(_))), "the answer");
    assert!(duel.sim.nodes[FGE].alarms.is_empty(), "{:?}", duel.sim.nodes[FGE].alarms);
}

#[test]
fn heads_that_a_peer_cannot_prove_when_asked_are_kept_for_the_auditors() {
    let mut duel = Duel::new();
    duel.still_answers();
    let accepted = duel.book.note();
    // Another, longer history: no proof connects it with the accepted head.
    let mut other = Book::new(uri(DPS).origin(1).unwrap().as_str(), crate::sim::world::log_signer(DPS));
    let base = duel.book.log.size().0;
    other.append(&vec![b"another history".to_vec(); usize::try_from(base).unwrap() + 3]);
    duel.heard();
    let head = proto::Head { checkpoint: other.note(), base, proof: vec![7; 64] };
    duel.send(StreamId::CONTROL, Body::Head(head));
    for answers in 0..3 {
        assert!(duel.sim.nodes[FGE].alarms.is_empty(), "{answers} answers convict nobody");
        assert_eq!(asked_for(&mut duel), [(base, base + 3)]);
        let proof = proto::HeadProof { from: base, to: base + 3, proof: vec![answers; 96] };
        duel.send(StreamId::CONTROL, Body::HeadProof(proof));
    }
    assert_eq!(asked_for(&mut duel), []);
    let [Alarm::HeadsUnproven { peer, accepted: one, claimed: two }] = &duel.sim.nodes[FGE].alarms[..] else {
        panic!("{:?}", duel.sim.nodes[FGE].alarms)
    };
    assert_eq!((peer, one, two), (&uri(DPS), &accepted, &other.note()));
    let disk = duel.sim.nodes[FGE].disk.lock().unwrap();
    for note in [&accepted, &other.note()] {
        let kept = disk.asides.iter().any(|aside| {
            let aside = proto::Message::decode(aside.as_slice()).unwrap();
            matches!(aside, proto::Aside { body: Some(proto::aside::Body::PeerHead(head)), .. } if head == *note)
        });
        assert!(kept, "the evidence is kept");
    }
    drop(disk);
    assert!(duel.sim.story().contains("closes ConnectionId(1): bad-proof"), "{}", duel.sim.story());
    // Nothing more is exchanged with it.
    duel.dial();
    duel.greet(|_| ());
    assert_eq!(duel.sim.nodes[FGE].engine.as_ref().unwrap().ready_peers().count(), 0);
}

#[test]
fn proofs_that_nobody_asked_for_neither_convict_nor_unlock() {
    let mut duel = Duel::new();
    duel.still_answers();
    let head = broken_head(&mut duel);
    let (from, to) = (head.base, head.base + 1);
    duel.send(StreamId::CONTROL, Body::Head(head));
    // Ranges that were not asked for, however often, change nothing; so do repeats of the broken head.
    for n in 0..20 {
        let proof = proto::HeadProof { from: from - 1, to, proof: vec![n; 64] };
        duel.send(StreamId::CONTROL, Body::HeadProof(proof));
        let again = proto::Head { checkpoint: duel.book.note(), base: from, proof: vec![n; 64] };
        duel.send(StreamId::CONTROL, Body::Head(again));
    }
    assert!(duel.sim.nodes[FGE].alarms.is_empty(), "{:?}", duel.sim.nodes[FGE].alarms);
    assert_eq!(asked_for(&mut duel), [(from, to)], "asked for once");
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
fn a_key_is_released_only_for_a_receipt_of_that_very_answer() {
    let mut duel = Duel::new();
    let question = duel.question(1, |_, _| ());
    duel.ask(&question);
    let (reply, _, _) = duel.reply().unwrap();
    let hit = leaf_hash(&reply.answer.unwrap().entry);
    let question = duel.question(1, |q, p| {
        (q.facts_statement, q.confirms) = ("seen".to_owned(), Some(hit));
        terms(p).step = Step::CoreData;
    });
    let stream = duel.ask(&question);
    let (reply, _, receipt) = duel.reply().unwrap();
    assert!(matches!(reply.content, Some(proto::reply::Content::Sealed(_))));
    let ack =
        |receipt: Vec<u8>| Body::Acknowledge(proto::Acknowledge { exchange_id: question.exchange.0.to_vec(), receipt });
    duel.send(stream, ack(question.ask.query.as_ref().unwrap().receipt.clone()));
    assert_eq!(duel.fault(), Some(FaultCode::BadReceipt));
    duel.send(stream, ack(Vec::new()));
    assert_eq!(duel.fault(), Some(FaultCode::BadReceipt));
    let released = |duel: &mut Duel| {
        duel.heard().into_iter().find_map(|b| match b {
            Body::Release(release) => Some(release),
            _ => None,
        })
    };
    duel.send(stream, ack(receipt.clone()));
    let first = released(&mut duel).expect("the key, for the receipt");
    // Asked again, the same key again, sealed in the same bytes.
    duel.send(stream, ack(receipt));
    let second = released(&mut duel).expect("the same again");
    assert_eq!(first.sealed_key, second.sealed_key);
    assert_eq!(first.release.unwrap().entry, second.release.unwrap().entry);
}

#[test]
fn frames_that_wait_for_a_head_do_not_fill_the_memory() {
    let mut duel = Duel::new();
    duel.still_answers();
    let template = duel.question(1, |_, _| ());
    // Ever larger heads that are never proven.
    let mut overloaded = 0;
    for n in 0..300 {
        let mut question = template.clone();
        let entry = question.ask.query.as_ref().unwrap().entry.clone();
        question.ask.query.as_mut().unwrap().receipt = duel.book.append(&[entry]).remove(0);
        question.ask.payload = vec![n as u8; limits::QUERY_BYTES_MAX];
        duel.ask(&question);
        overloaded += usize::from(duel.fault() == Some(FaultCode::Overloaded));
    }
    assert!(overloaded > 100, "{overloaded}");
    duel.show_head();
    duel.heard();
    duel.still_answers();
}

// ---- the forger holds the answer

#[test]
fn a_right_answer_is_opened_and_a_false_key_is_disputed() {
    for good in [true, false] {
        let mut duel = Duel::new();
        let (ticket, ask, query) = duel.asked_hit();
        let answer = duel.answer(&query, &ask, |_| ());
        duel.send(StreamId(2), Body::Reply(answer.reply.clone()));
        let ack = duel.acknowledged().expect("an Acknowledge");
        let key = if good { answer.key.clone() } else { Secret32::new([3; 32]) };
        let release = duel.release(&ask, &answer, &ack, &key, |_| ());
        duel.send(StreamId(2), Body::Release(release));
        duel.sim.run(100);
        let ending = duel.sim.ending(FGE, ticket).unwrap();
        let log = read_log(FGE, &duel.sim.nodes[FGE].disk.lock().unwrap());
        let kinds: Vec<_> = log.events().map(|e| e.kind).collect();
        if good {
            assert!(matches!(ending, Ending::Answered { .. }), "{ending:?}");
            assert!(kinds.contains(&EventKind::Opened));
        } else {
            assert_eq!(ending, &Ending::Disputed);
            assert!(kinds.contains(&EventKind::Dispute) && !kinds.contains(&EventKind::Opened));
        }
        duel.still_answers();
    }
}

#[test]
fn answers_to_something_else_are_refused_by_name() {
    type Tweak = fn(&mut Pair);
    let cases: [(&str, FaultCode, Tweak); 8] = [
        ("other terms", FaultCode::BadCommitment, |p| terms(p).purpose = puente_model::Purpose::Prosecution),
        ("another step", FaultCode::BadCommitment, |p| terms(p).step = Step::CoreData),
        ("quotes another query", FaultCode::BadCommitment, |p| {
            if let PairBody::Answer { quoted, .. } = &mut p.body {
                *quoted = Digest([5; 32]);
            }
        }),
        ("another exchange", FaultCode::UnknownExchange, |p| terms(p).exchange = ExchangeId([8; 16])),
        ("from another node", FaultCode::Misaddressed, |p| p.from = uri(DOJ)),
        ("of another log", FaultCode::WrongLog, |p| p.log = 3),
        ("from the future", FaultCode::FutureDated, |p| p.minute = Minute(p.minute.0 + 2)),
        ("under an older charter", FaultCode::OldCharter, |p| p.charter.annexes.clear()),
    ];
    for (name, code, tweak) in cases {
        let mut duel = Duel::new();
        let (ticket, ask, query) = duel.asked_hit();
        let bad = duel.answer(&query, &ask, tweak);
        duel.send(StreamId(2), Body::Reply(bad.reply));
        assert_eq!(duel.fault(), Some(code), "{name}");
        assert_eq!(duel.sim.ending(FGE, ticket), None, "{name}: it still waits for an answer");
        let good = duel.answer(&query, &ask, |_| ());
        duel.send(StreamId(2), Body::Reply(good.reply));
        assert!(duel.acknowledged().is_some(), "{name}: the right answer is taken");
    }
}

#[test]
fn an_answer_is_recorded_before_its_content_is_judged() {
    let mut duel = Duel::new();
    let (ticket, ask, query) = duel.asked_hit();
    let mut answer = duel.answer(&query, &ask, |_| ());
    let Some(proto::reply::Content::Sealed(sealed)) = &mut answer.reply.content else { panic!() };
    sealed.body[0] ^= 1;
    duel.send(StreamId(2), Body::Reply(answer.reply));
    duel.sim.run(100);
    assert_eq!(duel.sim.ending(FGE, ticket), Some(&Ending::Disputed));
    let disk = duel.sim.nodes[FGE].disk.lock().unwrap();
    assert!(disk.leaves.contains_key(&answer.leaf), "the answer stands in the asker's log");
}

#[test]
fn a_second_answer_to_one_question_is_refused() {
    let mut duel = Duel::new();
    let (_, ask, query) = duel.asked_hit();
    let first = duel.answer(&query, &ask, |_| ());
    duel.send(StreamId(2), Body::Reply(first.reply));
    assert!(duel.acknowledged().is_some());
    let second = duel.answer(&query, &ask, |_| ());
    duel.send(StreamId(2), Body::Reply(second.reply));
    assert_eq!(duel.fault(), Some(FaultCode::Replayed));
}

#[test]
fn releases_of_something_else_are_refused_by_name() {
    type Tweak = fn(&mut Pair);
    let cases: [(&str, FaultCode, Tweak); 4] = [
        ("of another answer", FaultCode::BadCommitment, |p| {
            if let PairBody::Release { quoted, .. } = &mut p.body {
                *quoted = Digest([5; 32]);
            }
        }),
        ("for a receipt that was never sent", FaultCode::BadReceipt, |p| {
            if let PairBody::Release { receipt, .. } = &mut p.body {
                *receipt = Digest([5; 32]);
            }
        }),
        ("of another sealed key", FaultCode::BadCommitment, |p| {
            if let PairBody::Release { sealed_key, .. } = &mut p.body {
                *sealed_key = Digest([5; 32]);
            }
        }),
        ("of other terms", FaultCode::BadCommitment, |p| terms(p).handling = puente_model::Handling::H0),
    ];
    for (name, code, tweak) in cases {
        let mut duel = Duel::new();
        let (ticket, ask, query) = duel.asked_hit();
        let answer = duel.answer(&query, &ask, |_| ());
        duel.send(StreamId(2), Body::Reply(answer.reply.clone()));
        let ack = duel.acknowledged().unwrap();
        let key = answer.key.clone();
        let bad = duel.release(&ask, &answer, &ack, &key, tweak);
        duel.send(StreamId(2), Body::Release(bad));
        assert_eq!(duel.fault(), Some(code), "{name}");
        let good = duel.release(&ask, &answer, &ack, &key, |_| ());
        duel.send(StreamId(2), Body::Release(good));
        duel.sim.run(100);
        assert!(matches!(duel.sim.ending(FGE, ticket), Some(Ending::Answered { .. })), "{name}");
    }
}

#[test]
fn a_key_that_never_comes_is_recorded() {
    let mut duel = Duel::new();
    let (ticket, ask, query) = duel.asked_hit();
    let answer = duel.answer(&query, &ask, |_| ());
    duel.send(StreamId(2), Body::Reply(answer.reply));
    duel.sim.run(70_000);
    assert_eq!(duel.sim.ending(FGE, ticket), Some(&Ending::Unreleased));
    let log = read_log(FGE, &duel.sim.nodes[FGE].disk.lock().unwrap());
    assert!(log.events().any(|e| e.kind == EventKind::Unreleased && e.quoted == Some(answer.leaf)));
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
