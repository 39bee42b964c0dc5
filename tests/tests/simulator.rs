//! Seeds: many small histories with every fault, each checked at every step and at its end.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use crate::sim::plan::{Op, plan, play};

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().and_then(|text| text.parse().ok())
}

fn fails(seed: u64, ops: &[Op]) -> bool {
    catch_unwind(AssertUnwindSafe(|| drop(play(seed, 4, ops)))).is_err()
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
            if fails(seed, &fewer) {
                ops = fewer;
            } else {
                at += width;
            }
        }
        width /= 2;
    }
    ops
}

/// `PUENTE_SEED` plays one seed; `PUENTE_SEEDS` says how many (300), `PUENTE_FIRST_SEED` from where.
#[test]
fn every_seed_keeps_every_promise() {
    if let Some(seed) = number("PUENTE_SEED") {
        let ops = plan(seed, 4);
        eprintln!("{ops:?}");
        drop(play(seed, 4, &ops));
        return;
    }
    let (first, count) = (number("PUENTE_FIRST_SEED").unwrap_or(0), number("PUENTE_SEEDS").unwrap_or(300));
    let began = Instant::now();
    for seed in first..first + count {
        let ops = plan(seed, 4);
        let quiet = std::panic::take_hook();
        std::panic::set_hook(Box::new(|_| {}));
        let failed = fails(seed, &ops);
        if !failed {
            std::panic::set_hook(quiet);
            continue;
        }
        let short = shorten(seed, ops);
        std::panic::set_hook(quiet);
        eprintln!("seed {seed} fails; the shortest list of what has to happen:\n{short:#?}");
        drop(play(seed, 4, &short));
        panic!("seed {seed} fails, but not when played again");
    }
    eprintln!("{count} seeds in {:?}", began.elapsed());
}
