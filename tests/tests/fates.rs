//! One node leaves, or comes back from an old backup, in the middle of everything that a plan makes happen. Both
//! nations' auditors look at every log afterwards.

use std::collections::BTreeMap;

use puente_audit::{Blame, Class, Conclusion, Verdict};

use crate::sim::fates::{Fate, leaves, loses_its_tail};
use crate::sim::plan::{Op, plan};
use crate::sim::seeds::{self, number};
use crate::sim::{Sim, audit};

const NODES: usize = 4;

type Story = fn(Sim, u64, &[Op]) -> (Sim, Fate);

/// Nobody is accused, and nothing is found but what the documents say of such a story.
fn look(verdict: &Verdict, documented: &[Class]) {
    for finding in &verdict.findings {
        assert!(documented.contains(&finding.class), "{} at {:?}: {}", finding.class, finding.index, finding.detail);
        // A clock that was put back is its node's own.
        let known = finding.class == Class::BackDated;
        assert!(known || finding.attributed_to == Blame::Unknown, "{}: {}", finding.class, finding.detail);
    }
    assert_eq!((verdict.verdict, verdict.findings_not_listed), (Conclusion::Sound, 0));
    for log in &verdict.logs {
        assert_eq!(log.verdict, Conclusion::Sound, "{}", log.origin);
    }
}

/// One seed's story, from its beginning to its audit; what of it is worth counting.
fn tell(seed: u64, story: Story) -> &'static str {
    let (sim, fate) = story(Sim::new(seed, NODES), seed, &plan(seed, NODES));
    let verdict = audit::reconcile(&sim, &fate.charter);
    let found = |class: Class| verdict.findings.iter().any(|finding| finding.class == class);
    match fate.closed_at {
        Some(closed_at) => {
            look(&verdict, &[Class::LostTail, Class::NoEnd, Class::BackDated]);
            assert!(found(Class::LostTail), "others hold heads beyond {closed_at}");
            "succeeded"
        }
        None if sim.nodes[fate.node].left.is_some() => {
            // What its partners had for it when it was gone for good reaches it no more.
            look(&verdict, &[Class::Undelivered, Class::NoEnd, Class::BackDated]);
            if fate.unasked > 0 { "left, not all asked" } else { "left, all asked" }
        }
        None => {
            look(&verdict, &[Class::NoEnd, Class::BackDated]);
            "resumed"
        }
    }
}

/// `PUENTE_SEED` tells one seed's story; `PUENTE_SEEDS` says how many, `PUENTE_FIRST_SEED` from where.
fn every_seed(story: Story, usual: u64, expected: &[&str]) {
    if let Some(seed) = number("PUENTE_SEED") {
        eprintln!("{:?}\n{}", plan(seed, NODES), tell(seed, story));
        return;
    }
    let (first, count) = (number("PUENTE_FIRST_SEED").unwrap_or(0), number("PUENTE_SEEDS").unwrap_or(usual));
    let add = |seen: &mut BTreeMap<&'static str, u64>, what| *seen.entry(what).or_default() += 1;
    let (seen, failed) = seeds::all(first, count, |seed| tell(seed, story), add);
    if let Some(seed) = failed {
        tell(seed, story);
        panic!("seed {seed} fails, but not when it is told again");
    }
    eprintln!("{count} seeds: {seen:?}");
    for what in expected.iter().filter(|_| count >= usual) {
        assert!(seen.contains_key(what), "no seed made this happen: {what}");
    }
}

#[test]
fn a_member_leaves_in_the_middle_of_everything() {
    every_seed(leaves, 32, &["left, all asked", "left, not all asked"]);
}

#[test]
fn a_member_restored_from_an_old_backup_goes_on_with_a_successor_log() {
    every_seed(loses_its_tail, 32, &["succeeded", "resumed"]);
}
