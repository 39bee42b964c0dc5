//! Whether the charter's quorum vouched for a log as lately as the charter wants.

use std::fs;

use puente_audit_log::{Log, SignedCheckpoint};
use puente_model::Millis;

use super::ledgers::{QUORUM, cosigned};
use super::world::*;
use crate::{Auditor, Class, Conclusion, Verdict};

const HOUR: u64 = 3_600_000;
/// The charter's bound.
const BOUND: u64 = 72 * HOUR;

/// The head over the first entries of MX's log.
fn head(world: &World, size: usize) -> SignedCheckpoint {
    let mut log = Log::empty("mx/fge-bc/n1/log1").unwrap();
    let sealed = log.stage(&world.nodes[MX].entries[..size]).unwrap().sign(&log_signer("mx/fge-bc/n1/log1")).unwrap();
    log.commit(sealed.persist(&mut Nowhere).unwrap()).unwrap();
    log.head().unwrap().clone()
}

/// MX's log audited at `then`, beside it a head that these witnesses cosigned at these times.
fn audited(world: &World, size: usize, by: &[(&str, u64)], then: Millis) -> Verdict {
    let dir = tempfile::tempdir().unwrap();
    let copy = world.copies(dir.path(), &[MX]).remove(0);
    let head = head(world, size);
    let mut note = String::from_utf8(head.note_bytes().to_vec()).unwrap();
    for (witness, at) in by {
        let signed = cosigned(&head, &[witness], Millis(*at));
        let text = String::from_utf8(signed.note_bytes().to_vec()).unwrap();
        note.push_str(text.lines().last().unwrap());
        note.push('\n');
    }
    if !by.is_empty() {
        fs::write(copy.join("cosigned"), note).unwrap();
    }
    let mut auditor = Auditor::new(group_charter(), then).with_keys(all_keys());
    auditor.verify(&copy).unwrap()
}

fn classes(verdict: &Verdict) -> Vec<Class> {
    verdict.findings.iter().map(|finding| finding.class).collect()
}

/// A log with local events only: nothing else in it comes of age.
fn quiet() -> (World, usize) {
    let mut world = World::new();
    (0..3).for_each(|_| world.event(MX));
    let size = world.nodes[MX].entries.len();
    (world, size)
}

#[test]
fn entries_wait_for_the_quorum_no_longer_than_the_charter_says() {
    let (world, size) = quiet();
    let at = now().0;
    let all: Vec<(&str, u64)> = QUORUM.iter().map(|name| (*name, at)).collect();
    // Young entries wait, cosigned or not.
    for by in [&all[..], &[]] {
        assert_eq!(classes(&audited(&world, size, by, now())), []);
    }
    // The world's entries are up to an hour old.
    let later = now().plus(BOUND);
    let verdict = audited(&world, size, &[], later);
    assert_eq!((verdict.verdict, classes(&verdict)), (Conclusion::CouldNotTell, vec![Class::CosignOverdue]));
    assert!(verdict.findings[0].detail.starts_with("entries from 0 on"), "{}", verdict.findings[0].detail);
    // A head that leaves the last entries out vouches for the others only.
    let verdict = audited(&world, size - 1, &all, later);
    assert_eq!(classes(&verdict), [Class::CosignOverdue]);
    assert!(verdict.findings[0].detail.starts_with(&format!("entries from {} on", size - 1)));
    assert_eq!(classes(&audited(&world, size, &all, later)), []);
}

#[test]
fn a_quorum_of_one_nation_vouches_for_nothing() {
    let (world, size) = quiet();
    let one_nation: Vec<(&str, u64)> = ["mx1", "mx2", "mx3"].map(|name| (name, now().0)).to_vec();
    let verdict = audited(&world, size, &one_nation, now().plus(BOUND));
    assert!(classes(&verdict).contains(&Class::CosignOverdue), "{:?}", verdict.findings);
    assert_eq!(verdict.verdict, Conclusion::CouldNotTell);
}

#[test]
fn a_log_of_which_nobody_vouches_lately_is_named_and_convicts_nobody() {
    let (world, size) = quiet();
    let at = now().0;
    let all: Vec<(&str, u64)> = QUORUM.iter().map(|name| (*name, at)).collect();
    assert_eq!(classes(&audited(&world, size, &all, Millis(at + BOUND))), []);
    let verdict = audited(&world, size, &all, Millis(at + BOUND + 1));
    assert_eq!((verdict.verdict, classes(&verdict)), (Conclusion::Sound, vec![Class::HeadStale]));
    // One witness that says so again tells nothing: a quorum must.
    let mut one = all.clone();
    one[0].1 = at + BOUND;
    assert_eq!(classes(&audited(&world, size, &one, Millis(at + BOUND + 1_000))), [Class::HeadStale]);
    let again: Vec<(&str, u64)> = QUORUM.iter().map(|name| (*name, at + BOUND)).collect();
    assert_eq!(classes(&audited(&world, size, &again, Millis(at + BOUND + 1_000))), []);
}
