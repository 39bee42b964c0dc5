//! Honest logs are sound, whatever is still under way.

use std::collections::BTreeMap;
use std::fs;

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use puente_model::Millis;
use puente_wire::proto;

use super::world::*;
use crate::{Auditor, Class, Conclusion, Severity, State, Verdict, load_charter};

pub(crate) fn assert_sound(verdict: &Verdict) {
    assert_eq!(verdict.verdict, Conclusion::Sound, "{:#?}", verdict.findings);
}

#[test]
fn a_busy_federation_is_sound() {
    let (verdict, _dir) = reconcile(&World::busy(), &[MX, US, US2]);
    assert_sound(&verdict);
    assert_eq!(verdict.pairs, 3);
    assert!(verdict.findings.is_empty(), "{:#?}", verdict.findings);
    let mx = &verdict.logs[0].counts;
    assert_eq!((mx.queries, mx.releases, mx.periods, mx.opened, mx.open), (15, 7, 2, 1, 0));
}

#[test]
fn what_is_under_way_convicts_nobody() {
    let mut world = World::busy();
    for course in [Course::Asked, Course::Answered, Course::Receipted] {
        world.exchange(US, MX, course);
    }
    let (verdict, _dir) = reconcile(&world, &[MX, US]);
    assert_sound(&verdict);
    let classes: Vec<Class> = verdict.findings.iter().map(|f| f.class).collect();
    assert!(classes.contains(&Class::Undelivered) && classes.contains(&Class::Pending), "{classes:?}");
    assert!(verdict.findings.iter().all(|f| f.severity == Severity::Notice));
    // A day later the same logs are still nobody's fault.
    let dir = tempfile::tempdir().unwrap();
    let copies = world.copies(dir.path(), &[MX, US]);
    let mut later = Auditor::new(charter(), now().plus(86_400_000)).with_keys(all_keys());
    assert_sound(&later.reconcile(&[&copies[0], &copies[1]]).unwrap());
}

#[test]
fn holes_that_a_period_names_are_no_gaps() {
    let mut world = World::busy();
    world.exchange(MX, US2, Course::Asked);
    let lost = puente_model::Seq(
        world.nodes[MX]
            .entries
            .iter()
            .enumerate()
            .filter(|(i, _)| world.nodes[MX].pair(*i).is_some_and(|p| p.from == uri(MX) && p.to == uri(US2)))
            .count() as u64,
    );
    world.period(MX, US2, &[lost]);
    world.exchange(MX, US2, Course::NoHit);
    world.period(MX, US2, &[]);
    let (verdict, _dir) = reconcile(&world, &[MX, US2]);
    assert_sound(&verdict);
    assert!(verdict.findings.is_empty(), "{:#?}", verdict.findings);
}

/// What a person confirms at step 1 is an outcome, without fields: there is no key to wait for, however late it gets.
#[test]
fn a_confirmed_hit_without_fields_needs_no_release() {
    let mut world = World::busy();
    world.exchange(MX, US, Course::Confirmed);
    let dir = tempfile::tempdir().unwrap();
    let copies = world.copies(dir.path(), &[MX, US]);
    let mut later = Auditor::new(charter(), now().plus(86_400_000)).with_keys(all_keys());
    let verdict = later.reconcile(&[&copies[0], &copies[1]]).unwrap();
    assert_sound(&verdict);
    assert!(verdict.findings.is_empty(), "{:#?}", verdict.findings);
}

#[test]
fn each_log_is_sound_by_itself_and_its_head_is_remembered() {
    let dir = tempfile::tempdir().unwrap();
    let pin = write_charter(&dir.path().join("charter"));
    let state = dir.path().join("state");
    let (_, made) = State::init(&state, &dir.path().join("charter"), pin).unwrap();
    assert_eq!(made.hash(), load_charter(&dir.path().join("charter"), pin).unwrap().hash());
    let mut world = World::busy();
    let first = world.copies(&dir.path().join("1"), &[MX]);
    let mut auditor = Auditor::open(&state, now()).unwrap().with_keys(all_keys());
    assert_sound(&auditor.verify(&first[0]).unwrap());
    let (remembered, _) = State::open(&state).unwrap();
    assert_eq!(remembered.remembered("mx/fge-bc/n1/log1"), Some(world.nodes[MX].head()));
    world.exchange(MX, US, Course::Released);
    let second = world.copies(&dir.path().join("2"), &[MX]);
    let mut auditor = Auditor::open(&state, now()).unwrap().with_keys(all_keys());
    assert_sound(&auditor.verify(&second[0]).unwrap());
    // The older copy is now a rollback.
    let mut auditor = Auditor::open(&state, now()).unwrap().with_keys(all_keys());
    let verdict = auditor.verify(&first[0]).unwrap();
    assert_eq!(verdict.faults().map(|f| f.class).collect::<Vec<_>>(), [Class::Truncated]);
    let wrong = State::init(&state, &dir.path().join("charter"), puente_model::Digest::default());
    assert!(wrong.is_err());
}

#[test]
fn missing_files_are_never_guilt() {
    let world = World::busy();
    let victims = ["checkpoint", "asides", "tile/0/000.p", "tile/entries/000.p"];
    for victim in victims {
        let dir = tempfile::tempdir().unwrap();
        let copies = world.copies(dir.path(), &[MX]);
        let path = copies[0].join(victim);
        if path.is_dir() {
            fs::remove_dir_all(path).unwrap()
        } else {
            fs::remove_file(path).unwrap()
        }
        let verdict = auditor(dir.path()).verify(&copies[0]).unwrap();
        assert_eq!(verdict.verdict, Conclusion::CouldNotTell, "{victim}: {:#?}", verdict.findings);
    }
}

#[test]
fn headers_need_a_key_or_an_explicit_choice() {
    let world = World::busy();
    let dir = tempfile::tempdir().unwrap();
    let copies = world.copies(dir.path(), &[MX]);
    let without = Auditor::new(charter(), now()).verify(&copies[0]).unwrap();
    assert_eq!(without.verdict, Conclusion::CouldNotTell);
    assert_eq!(without.findings[0].class, Class::HeaderUnread);
    assert_sound(&Auditor::new(charter(), now()).without_headers().verify(&copies[0]).unwrap());
    let foreign = Auditor::new(charter(), now()).with_keys(vec![auditor_key("us-a")]).verify(&copies[0]).unwrap();
    assert_eq!(foreign.verdict, Conclusion::CouldNotTell);
}

#[test]
fn a_closed_log_ends_at_its_size() {
    let world = World::busy();
    let dir = tempfile::tempdir().unwrap();
    let copies = world.copies(dir.path(), &[MX]);
    let size = world.nodes[MX].entries.len() as u64;
    let closed = |at| charter_with(&BTreeMap::from([(MX.to_owned(), at)]));
    assert_sound(&Auditor::new(closed(size), now()).with_keys(all_keys()).verify(&copies[0]).unwrap());
    let verdict = Auditor::new(closed(size - 1), now()).with_keys(all_keys()).verify(&copies[0]).unwrap();
    assert_eq!(verdict.faults().next().unwrap().class, Class::BeyondClosed);
}

#[test]
fn longer_logs_compare_by_periods() {
    let mut world = World::new();
    for round in 0..6 {
        for _ in 0..30 {
            world.exchange(MX, US, Course::NoHit);
            world.now = Millis(world.now.0 - 40_000);
        }
        if round < 5 {
            world.period(MX, US, &[]);
            world.period(US, MX, &[]);
        }
    }
    assert!(world.nodes[MX].entries.len() > 256);
    let (verdict, _dir) = reconcile(&world, &[MX, US]);
    assert_sound(&verdict);
}

/// Faults of the sidecar itself name the place in the file, so that none of them is among these.
#[test]
fn the_order_of_the_sidecar_decides_nothing() {
    let mut world = World::busy();
    let escrow = |a: &proto::Aside| matches!(a.body, Some(proto::aside::Body::Escrow(_)));
    let receipt = |a: &proto::Aside| matches!(a.body, Some(proto::aside::Body::PeerReceipt(_)));
    let asides = &mut world.node(US).asides;
    let found = |what: &dyn Fn(&proto::Aside) -> bool, of: &[proto::Aside]| of.iter().position(what).unwrap();
    asides.remove(found(&receipt, asides));
    asides.remove(found(&escrow, asides));
    let mut stray = asides[found(&escrow, asides)].clone();
    let twice = stray.clone();
    stray.leaf_hash = vec![9; 32];
    asides.extend([stray, twice]);
    let all = asides.clone();

    let dir = tempfile::tempdir().unwrap();
    let copy = world.copies(dir.path(), &[US]).remove(0);
    let verdict = |asides: &[proto::Aside]| {
        world.node(US).asides = asides.to_vec();
        world.nodes[US].export(&copy);
        let verdict = Auditor::new(charter(), now()).with_keys(all_keys()).verify(&copy).unwrap();
        let mut findings: Vec<String> = verdict.findings.iter().map(|finding| format!("{finding:?}")).collect();
        findings.sort_unstable();
        (verdict.verdict, findings)
    };
    let verdict = std::cell::RefCell::new(verdict);
    let expected = (verdict.borrow_mut())(&all);
    assert_eq!(expected.0, Conclusion::Unsound);
    assert!(expected.1.len() >= 3, "{expected:?}");
    let mut runner = TestRunner::new(Config::with_cases(24));
    let shuffled = Just(all).prop_shuffle();
    runner
        .run(&shuffled, |asides| {
            prop_assert_eq!((verdict.borrow_mut())(&asides), expected.clone());
            Ok(())
        })
        .unwrap();
}
