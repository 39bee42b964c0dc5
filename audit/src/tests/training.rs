//! Exchanges of training: every rule holds for them, and no figure of real ones has them in it.

use puente_model::*;
use puente_wire::{Pair, PairBody};

use super::honest::assert_sound;
use super::world::*;
use crate::finding::Trained;
use crate::{Class, Conclusion};

fn train(pair: &mut Pair) {
    match &mut pair.body {
        PairBody::Query { terms, .. }
        | PairBody::Answer { terms, .. }
        | PairBody::Refusal { terms, .. }
        | PairBody::Release { terms, .. } => terms.mode = Mode::Training,
        PairBody::Void { .. } | PairBody::Period(_) => {}
    }
}

#[test]
fn training_is_judged_like_anything_and_counted_apart() {
    let mut world = World::busy();
    let (before, _dir) = reconcile(&world, &[MX, US]);
    world.spoil = Some(train);
    for course in [Course::Released, Course::NoHit, Course::Refused] {
        world.exchange(MX, US, course);
    }
    world.spoil = None;
    world.period(MX, US, &[]);
    world.period(US, MX, &[]);
    let (verdict, _dir) = reconcile(&world, &[MX, US]);
    assert_sound(&verdict);
    for (log, before) in verdict.logs.iter().zip(&before.logs) {
        assert_eq!(log.counts.training, Trained { queries: 3, answers: 2, refusals: 1, releases: 1, voids: 0 });
        assert_eq!(before.counts.training, Trained::default());
        let real = |c: &crate::Counts| (c.queries, c.answers, c.refusals, c.releases, c.voids);
        assert_eq!(real(&log.counts), real(&before.counts), "no real figure has training in it");
    }
}

#[test]
fn a_real_answer_to_a_question_of_training_is_found() {
    let mut world = World::busy();
    world.spoil = Some(|pair| {
        if let PairBody::Query { terms, .. } = &mut pair.body {
            terms.mode = Mode::Training;
        }
    });
    world.exchange(MX, US, Course::NoHit);
    world.spoil = None;
    let (verdict, _dir) = reconcile(&world, &[MX, US]);
    assert_eq!(verdict.verdict, Conclusion::Unsound);
    assert!(verdict.findings.iter().any(|f| f.class == Class::TermsChanged), "{:#?}", verdict.findings);
}
