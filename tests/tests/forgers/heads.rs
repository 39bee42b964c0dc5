//! Heads and proofs that do not hold: who is convicted, who is doubted, and what is kept.

use puente_audit_log::leaf_hash;
use puente_exchange::Tuning;
use puente_exchange::api::{Alarm, StreamId};
use puente_model::{Step, limits};
use puente_wire::fault::FaultCode;
use puente_wire::proto;
use puente_wire::proto::frame::Body;

use super::terms;
use crate::sim::forger::{Book, Duel};
use crate::sim::world::{DPS, FGE, World, uri};

/// Both notes stand in the sidecar, where auditors find them.
fn assert_kept(duel: &Duel, notes: &[&Vec<u8>]) {
    let disk = duel.sim.nodes[FGE].disk.lock().unwrap();
    for note in notes {
        let kept = disk.asides.iter().any(|aside| {
            let aside = proto::Message::decode(aside.as_slice()).unwrap();
            matches!(aside, proto::Aside { body: Some(proto::aside::Body::PeerHead(head)), .. } if head == **note)
        });
        assert!(kept, "the evidence is kept");
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
    assert_kept(&duel, &[&accepted, &other.note()]);
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
    assert!(heard.iter().filter(|b| matches!(b, Body::NeedHead(_))).count() < 10, "asked for again, but seldom");
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
    assert_kept(&duel, &[&accepted, &other.note()]);
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
