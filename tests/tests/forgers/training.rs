//! What is said in training is never taken for real, nor the reverse, whoever says it.

use puente_exchange::Tuning;
use puente_exchange::api::{Draft, StreamId};
use puente_model::{EventKind, Mode, RefusalReason, Step};
use puente_wire::fault::FaultCode;
use puente_wire::proto::frame::Body;

use super::{faulted, refused, terms};
use crate::sim::check::read_log;
use crate::sim::forger::Duel;
use crate::sim::world::{DPS, FGE, World, vin};
use crate::sim::{Ending, hit_question};

fn other(mode: Mode) -> Mode {
    if mode == Mode::Open { Mode::Training } else { Mode::Open }
}

/// The honest node asks in this mode.
fn asked(duel: &mut Duel, mode: Mode) -> (puente_exchange::api::Ticket, puente_wire::proto::Ask, puente_wire::Pair) {
    duel.asked(|sim| Draft { mode, ..hit_question(sim, FGE, DPS, &vin(1)) })
}

#[test]
fn a_question_committed_to_in_one_mode_is_none_of_the_other() {
    for mode in [Mode::Open, Mode::Training] {
        faulted("the payload of the other mode", FaultCode::BadCommitment, |d| {
            d.commits_as = Some(other(mode));
            let question = d.question(1, |_, p| terms(p).mode = mode);
            d.commits_as = None;
            question
        });
    }
}

#[test]
fn an_answer_of_the_other_mode_is_refused_by_name() {
    for mode in [Mode::Open, Mode::Training] {
        let mut duel = Duel::new();
        let (_, ask, query) = asked(&mut duel, mode);
        let answer = duel.answer_sealed_as(other(mode), &query, &ask, |p| terms(p).mode = other(mode));
        duel.send(StreamId(2), Body::Reply(answer.reply));
        assert_eq!(duel.fault(), Some(FaultCode::BadCommitment), "{mode}");
    }
}

#[test]
fn content_of_the_other_mode_is_disputed_and_never_shown() {
    for mode in [Mode::Open, Mode::Training] {
        let mut duel = Duel::new();
        let (ticket, ask, query) = asked(&mut duel, mode);
        // What was sealed for one exchange, under an ANSWER of the other mode that commits to it as it was.
        let answer = duel.answer_sealed_as(other(mode), &query, &ask, |_| ());
        duel.send(StreamId(2), Body::Reply(answer.reply));
        duel.sim.run(1_000);
        assert!(duel.acknowledged().is_none(), "{mode}: nothing is acknowledged");
        assert_eq!(duel.sim.ending(FGE, ticket), Some(&Ending::Disputed), "{mode}");
        let log = read_log(FGE, &duel.sim.nodes[FGE].disk.lock().unwrap());
        assert!(log.events().any(|e| e.kind == EventKind::Dispute && e.quoted == Some(answer.leaf)), "{mode}");
        // The right one is opened.
        let mut duel = Duel::new();
        let (ticket, ask, query) = asked(&mut duel, mode);
        let answer = duel.answer(&query, &ask, |_| ());
        duel.send(StreamId(2), Body::Reply(answer.reply.clone()));
        let ack = duel.acknowledged().unwrap();
        let key = answer.key.clone();
        let release = duel.release(&ask, &answer, &ack, &key, |_| ());
        duel.send(StreamId(2), Body::Release(release));
        duel.sim.run(100);
        let Some(Ending::Answered { fields, .. }) = duel.sim.ending(FGE, ticket) else { panic!("{mode}") };
        assert_eq!(fields[0].0.starts_with("training/"), mode == Mode::Training);
    }
}

#[test]
fn a_hit_of_one_mode_confirms_nothing_in_the_other() {
    refused("step 2 in training after a real hit", RefusalReason::Quality, |duel| {
        let first = duel.question(1, |_, _| ());
        duel.ask(&first);
        let (reply, _, _) = duel.reply().unwrap();
        let hit = puente_audit_log::leaf_hash(&reply.answer.unwrap().entry);
        duel.question(1, |q, p| {
            (q.facts_statement, q.confirms) = ("seen".to_owned(), Some(hit));
            (terms(p).step, terms(p).mode) = (Step::CoreData, Mode::Training);
        })
    });
}

#[test]
fn a_node_may_take_no_part_in_training() {
    let mut duel = Duel::with(World::ordinary(), Tuning { training: false, ..Tuning::default() });
    let question = duel.question(1, |_, p| terms(p).mode = Mode::Training);
    duel.ask(&question);
    let (_, pair, _) = duel.reply().expect("a REFUSAL");
    let puente_wire::PairBody::Refusal { reason, .. } = pair.body else { panic!("{pair:?}") };
    assert_eq!(reason, RefusalReason::Scope);
    // Nor does it ask.
    let draft = Draft { mode: Mode::Training, ..hit_question(&duel.sim, FGE, DPS, &vin(1)) };
    let ticket = duel.sim.ask(FGE, draft);
    duel.sim.run(100);
    assert_eq!(duel.sim.ending(FGE, ticket), Some(&Ending::Invalid));
    duel.still_answers();
}
