//! Seeds: many small histories with every fault, each checked at every step and at its end.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::sim::plan::{Op, plan, play, play_in};
use crate::sim::seeds::{self, number, tried};
use crate::sim::world::{Witnessed, World};
use crate::sim::{Ending, Sim};

const NODES: usize = 4;

fn try_play(seed: u64, ops: &[Op]) -> Option<Sim> {
    tried(|| play(seed, NODES, ops))
}

/// Takes out what the failure does not need, for a minute at most.
fn shorten(seed: u64, mut ops: Vec<Op>) -> Vec<Op> {
    let began = Instant::now();
    let mut width = ops.len() / 2;
    while width > 0 && began.elapsed() < Duration::from_secs(60) {
        let mut at = 0;
        while at < ops.len() && began.elapsed() < Duration::from_secs(60) {
            let mut fewer = ops.clone();
            fewer.drain(at..(at + width).min(ops.len()));
            if try_play(seed, &fewer).is_none() {
                ops = fewer;
            } else {
                at += width;
            }
        }
        width /= 2;
    }
    ops
}

/// What the seeds made happen: a simulator that never refuses or releases tests nothing.
fn count(sim: &Sim, seen: &mut BTreeMap<String, u64>) {
    for ending in sim.nodes.iter().flat_map(|n| n.endings.values()) {
        let name = match ending {
            Ending::Answered { outcome, .. } => format!("answered {outcome}"),
            Ending::Refused { recorded, reason } => format!("refused {reason}, recorded: {recorded}"),
            Ending::Faulted(code) => format!("faulted {code}"),
            Ending::PeriodsClosed { .. } => "periods closed".to_owned(),
            other => format!("{other:?}"),
        };
        *seen.entry(name).or_default() += 1;
    }
}

/// Plays seeds in worlds of their own, on every core: steps, endings, and a seed that failed.
fn all(first: u64, seeds: u64, world: impl Fn(u64) -> Sim + Sync) -> (u64, BTreeMap<String, u64>, Option<u64>) {
    let add = |(steps, seen): &mut (u64, BTreeMap<String, u64>), sim: Sim| {
        *steps += sim.steps;
        count(&sim, seen);
    };
    let ((steps, seen), failed) = seeds::all(first, seeds, |seed| play_in(world(seed), &plan(seed, NODES)), add);
    (steps, seen, failed)
}

/// `PUENTE_SEED` plays one seed; `PUENTE_SEEDS` says how many (300), `PUENTE_FIRST_SEED` from where.
#[test]
fn every_seed_keeps_every_promise() {
    if let Some(seed) = number("PUENTE_SEED") {
        let ops = plan(seed, NODES);
        eprintln!("{ops:?}");
        drop(play(seed, NODES, &ops));
        return;
    }
    let (first, seeds) = (number("PUENTE_FIRST_SEED").unwrap_or(0), number("PUENTE_SEEDS").unwrap_or(300));
    let began = Instant::now();
    let (steps, seen, failed) = all(first, seeds, |seed| Sim::new(seed, NODES));
    if let Some(seed) = failed {
        let short = shorten(seed, plan(seed, NODES));
        eprintln!("seed {seed} fails; the shortest list of what has to happen:\n{short:#?}");
        drop(play(seed, NODES, &short));
        panic!("seed {seed} fails, but not when its short list is played again");
    }
    eprintln!("{seeds} seeds, {steps} steps, in {:?}: {seen:#?}", began.elapsed());
    if seeds >= 300 {
        for expected in ["answered CORE_DATA", "answered NO_HIT", "TimedOut", "Unreleased", "LogUnavailable"] {
            assert!(seen.contains_key(expected), "no seed made this happen: {expected}");
        }
    }
}

/// Nodes of the previous minor version and of this one, asking each other both ways; `PUENTE_SEEDS` says how many (500).
#[test]
fn nodes_of_two_minor_versions_keep_every_promise_together() {
    let mixed = |seed: u64| {
        let minor = |node: u64| ((node + seed) % u64::from(puente_exchange::MINOR + 1)) as u32;
        let minors: Vec<u32> = (0..NODES as u64).map(minor).collect();
        Sim::speaking(World::ordinary(), seed, NODES, &minors)
    };
    let (seeds, began) = (number("PUENTE_SEEDS").unwrap_or(500), Instant::now());
    let (steps, seen, failed) = all(number("PUENTE_FIRST_SEED").unwrap_or(0), seeds, mixed);
    if let Some(seed) = failed {
        drop(play_in(mixed(seed), &plan(seed, NODES)));
        panic!("seed {seed} fails, but not when it is played again");
    }
    eprintln!("{seeds} seeds of two minor versions, {steps} steps, in {:?}: {seen:#?}", began.elapsed());
    for expected in ["answered CORE_DATA", "answered NO_HIT"] {
        assert!(seeds < 100 || seen.contains_key(expected), "no seed made this happen: {expected}");
    }
}

/// The same where heads must be cosigned by one other node of each nation, one kind of question waits for it, and clocks, lines
/// and disks fail as ever; `PUENTE_SEEDS` says how many (150).
#[test]
fn every_seed_keeps_every_promise_where_heads_are_cosigned() {
    let witnessed = |seed: u64| {
        let by = if seed.is_multiple_of(2) { Witnessed::ByNodes } else { Witnessed::Sensitive };
        Sim::of(World::witnessed(by), seed, NODES)
    };
    let (seeds, began) = (number("PUENTE_SEEDS").unwrap_or(150), Instant::now());
    let (steps, seen, failed) = all(number("PUENTE_FIRST_SEED").unwrap_or(0), seeds, witnessed);
    if let Some(seed) = failed {
        drop(play_in(witnessed(seed), &plan(seed, NODES)));
        panic!("seed {seed} fails, but not when it is played again");
    }
    eprintln!("{seeds} seeds with cosignatures, {steps} steps, in {:?}: {seen:#?}", began.elapsed());
    for expected in ["answered CORE_DATA", "answered NO_HIT"] {
        assert!(seeds < 100 || seen.contains_key(expected), "no seed made this happen: {expected}");
    }
}
