//! A holder that answers something else, and an asker that acknowledges something else.

use puente_audit_log::leaf_hash;
use puente_exchange::api::StreamId;
use puente_model::{Digest, EventKind, ExchangeId, Minute, Secret32, Step};
use puente_wire::fault::FaultCode;
use puente_wire::proto::frame::Body;
use puente_wire::{Pair, PairBody, proto};

use super::terms;
use crate::sim::Ending;
use crate::sim::check::read_log;
use crate::sim::forger::Duel;
use crate::sim::world::{DOJ, FGE, uri};

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
fn a_pending_proves_that_the_question_is_recorded_or_is_refused_by_name() {
    let mut duel = Duel::new();
    let (ticket, ask, query) = duel.asked_hit();
    let terms = query.terms().unwrap().clone();
    let asked = ask.query.clone().unwrap();
    let pending =
        |exchange: Vec<u8>, receipt: Vec<u8>| Body::Pending(proto::Pending { exchange_id: exchange, receipt });
    let id = terms.exchange.0.to_vec();
    let other = duel.answer(&query, &ask, |_| ()).reply.answer.unwrap().receipt;
    duel.show_head();
    let cases = [
        ("no receipt", FaultCode::BadReceipt, id.clone(), Vec::new()),
        ("the asker's own receipt", FaultCode::WrongLog, id.clone(), asked.receipt.clone()),
        ("a receipt for another entry", FaultCode::BadReceipt, id.clone(), other),
        ("another exchange", FaultCode::UnknownExchange, vec![8; 16], asked.receipt.clone()),
        ("no exchange", FaultCode::Malformed, vec![8; 3], asked.receipt.clone()),
    ];
    duel.heard();
    for (name, code, exchange, receipt) in cases {
        duel.send(StreamId(2), pending(exchange, receipt));
        assert_eq!(duel.fault(), Some(code), "{name}");
        assert_eq!(duel.sim.ending(FGE, ticket), None, "{name}: it still waits for an answer");
    }
    let receipt = duel.book.append(std::slice::from_ref(&asked.entry)).remove(0);
    duel.show_head();
    duel.send(StreamId::CONTROL, pending(id.clone(), receipt.clone()));
    assert_eq!(duel.fault(), Some(FaultCode::OutOfOrder), "not on the control stream");
    // The true one: the asker rests, and a thousand repeats of it write nothing.
    duel.send(StreamId(2), pending(id.clone(), receipt.clone()));
    assert_eq!(duel.fault(), None);
    duel.sim.run(1_000);
    let kept = duel.sim.nodes[FGE].disk.lock().unwrap().asides.len();
    for _ in 0..1_000 {
        duel.send(StreamId(2), pending(id.clone(), receipt.clone()));
    }
    duel.sim.run(1_000);
    assert_eq!(duel.sim.nodes[FGE].disk.lock().unwrap().asides.len(), kept);
    duel.heard();
    duel.sim.run(30_000);
    assert!(!duel.heard().iter().any(|b| matches!(b, Body::Ask(_))), "it is not asked again every few seconds");
}
