//! A node that comes back with an older log than its partners know, and its way on.

use std::sync::Arc;

use puente_charter::Offer;
use puente_exchange::Standing;
use puente_exchange::api::Alarm;

use puente_model::Digest;

use crate::sim::world::{DPS, FGE, FGR, START, World, logs_of, next_annex, uri, vin};
use crate::sim::{Ending, Sim, core_question, hit_question};

/// The node goes down and comes back with its disk as it was after so many batches.
fn restore(sim: &mut Sim, node: usize, batches: usize) {
    sim.crash(node, true);
    let backup = sim.nodes[node].disk.lock().unwrap().backup(batches);
    *sim.nodes[node].disk.lock().unwrap() = backup;
    sim.nodes[node].restored = true;
    sim.start(node);
}

fn batches(sim: &Sim, node: usize) -> usize {
    sim.nodes[node].disk.lock().unwrap().history.len()
}

fn ask(sim: &mut Sim, from: usize, to: usize, serial: u32) -> Ending {
    let draft = hit_question(sim, from, to, &vin(serial));
    sim.ask_and_wait(from, draft)
}

#[test]
fn a_restored_node_behind_its_partners_says_so_and_records_nothing() {
    let mut sim = Sim::new(7, 3);
    sim.alarms_fail = false;
    assert!(matches!(ask(&mut sim, FGE, DPS, 1), Ending::Answered { .. }));
    sim.run(10_000);
    let backup = batches(&sim, FGE);
    assert!(matches!(ask(&mut sim, DPS, FGE, 1), Ending::Answered { .. }));
    sim.run(10_000);
    restore(&mut sim, FGE, backup);
    let size = sim.nodes[FGE].disk.lock().unwrap().size();
    // It dials everybody by itself; the one that knows more says so.
    sim.run(20_000);
    let alarms = &sim.nodes[FGE].alarms;
    assert!(
        alarms.iter().any(|a| matches!(a, Alarm::OwnLogBehind { peer, .. } if *peer == crate::sim::world::uri(DPS)))
    );
    assert!(alarms.iter().any(|a| matches!(a, Alarm::OwnLogAgrees { peer } if *peer == crate::sim::world::uri(FGR))));
    assert_eq!(sim.nodes[FGE].engine.as_ref().unwrap().standing(), Standing::Behind);
    // Nobody's question makes an entry: not its own officer's, not a partner's, not even of one that knows no more.
    assert_eq!(ask(&mut sim, FGE, FGR, 2), Ending::LogSuspended);
    let draft = hit_question(&sim, FGR, FGE, &vin(2));
    let ticket = sim.ask(FGR, draft);
    sim.run(60_000);
    assert!(!matches!(sim.ending(FGR, ticket), Some(Ending::Answered { .. })));
    assert_eq!(sim.nodes[FGE].disk.lock().unwrap().size(), size);
}

#[test]
fn a_restored_node_that_lost_nothing_compares_and_waits_for_its_operator() {
    let mut sim = Sim::new(8, 2);
    sim.alarms_fail = false;
    assert!(matches!(ask(&mut sim, FGE, DPS, 1), Ending::Answered { .. }));
    sim.run(10_000);
    let backup = batches(&sim, FGE);
    restore(&mut sim, FGE, backup);
    let size = sim.nodes[FGE].disk.lock().unwrap().size();
    sim.run(20_000);
    assert!(matches!(sim.nodes[FGE].alarms[..], [Alarm::OwnLogAgrees { .. }]), "{:?}", sim.nodes[FGE].alarms);
    assert_eq!(sim.nodes[FGE].engine.as_ref().unwrap().standing(), Standing::Restored);
    assert_eq!(sim.nodes[FGE].disk.lock().unwrap().size(), size);
    // The operator says that it may go on.
    sim.crash(FGE, false);
    sim.nodes[FGE].restored = false;
    sim.start(FGE);
    assert!(matches!(ask(&mut sim, FGE, DPS, 2), Ending::Answered { .. }));
}

/// Every entry that `holder` recorded with a receipt of `author`'s closed log for a place from `from` on.
fn receipted_beyond(sim: &Sim, holder: usize, origin: &str, from: u64) -> Vec<Digest> {
    use puente_exchange::api::Store as _;
    let shared = crate::sim::disk::Shared(std::sync::Arc::clone(&sim.nodes[holder].disk));
    shared.kept_receipts(origin, from, usize::MAX).unwrap().into_iter().map(|(leaf, _)| leaf).collect()
}

fn asks_for_core(sim: &mut Sim, from: usize, to: usize, serial: u32) {
    let Ending::Answered { answer_leaf, .. } = ask(sim, from, to, serial) else { panic!() };
    let draft = core_question(sim, from, to, &vin(serial), answer_leaf);
    assert!(matches!(sim.ask_and_wait(from, draft), Ending::Answered { .. }));
}

fn close(sim: &mut Sim, node: usize) {
    let ticket = sim.close_periods(node);
    sim.run(40_000);
    assert!(matches!(sim.ending(node, ticket), Some(Ending::PeriodsClosed { unreachable: 0, .. })));
}

/// FGE lost everything after `backup` batches; its log is closed there, and all nodes adopt the annex that says so.
fn succeed(sim: &mut Sim, backup: usize) -> u64 {
    restore(sim, FGE, backup);
    sim.run(20_000);
    assert_eq!(sim.nodes[FGE].engine.as_ref().unwrap().standing(), Standing::Behind);
    let closed_at = sim.nodes[FGE].disk.lock().unwrap().size();
    for node in 0..sim.nodes.len() {
        sim.crash(node, true);
        sim.nodes[node].alarms.clear();
    }
    sim.world = World::succeeding(FGE, closed_at);
    sim.nodes[FGE].restored = false;
    sim.nodes[FGE].disk.lock().unwrap().succeed();
    for node in 0..sim.nodes.len() {
        sim.start(node);
    }
    sim.run(30_000);
    closed_at
}

/// As [`succeed`], with partners that run on: they learn of the annex from the successor.
fn succeed_live(sim: &mut Sim, backup: usize) -> u64 {
    restore(sim, FGE, backup);
    sim.run(20_000);
    let closed_at = sim.nodes[FGE].disk.lock().unwrap().size();
    sim.crash(FGE, true);
    for node in 0..sim.nodes.len() {
        sim.nodes[node].alarms.clear();
    }
    let part = next_annex(&sim.world.charter, "mx", |annex| {
        let member = annex.members.iter_mut().find(|member| member.uri == uri(FGE)).unwrap();
        member.logs = logs_of(FGE, Some(closed_at));
    });
    let next = match sim.world.charter.offer(&[part], START).unwrap() {
        Offer::Next(next, _) => Arc::from(next),
        Offer::Same => panic!("nothing new"),
    };
    sim.nodes[FGE].charter = Some(next);
    sim.nodes[FGE].restored = false;
    sim.nodes[FGE].disk.lock().unwrap().succeed();
    sim.start(FGE);
    sim.run(30_000);
    for node in [DPS, FGR] {
        assert_eq!(sim.vector(node), "1.mx2.us1", "{}", sim.story());
    }
    closed_at
}

#[test]
fn partners_that_run_on_learn_of_the_successor_from_it() {
    let mut sim = Sim::new(14, 3);
    sim.alarms_fail = false;
    asks_for_core(&mut sim, FGE, DPS, 1);
    asks_for_core(&mut sim, DPS, FGE, 1);
    let backup = batches(&sim, FGE);
    asks_for_core(&mut sim, FGE, DPS, 2);
    asks_for_core(&mut sim, DPS, FGE, 2);
    asks_for_core(&mut sim, FGR, FGE, 3);
    sim.run(10_000);
    let closed_at = succeed_live(&mut sim, backup);
    let origin = uri(FGE).origin(1).unwrap();
    for holder in [DPS, FGR] {
        let held = receipted_beyond(&sim, holder, origin.as_str(), closed_at);
        assert!(held.len() >= 2, "{} of {holder}", held.len());
        let disk = sim.nodes[FGE].disk.lock().unwrap();
        for leaf in held {
            assert!(disk.leaves.contains_key(&leaf), "lost for good: {leaf}\n{}", sim.story());
        }
    }
    asks_for_core(&mut sim, FGE, DPS, 0);
    asks_for_core(&mut sim, DPS, FGE, 3);
    asks_for_core(&mut sim, FGR, FGE, 4);
    for node in [FGE, DPS, FGR] {
        close(&mut sim, node);
        assert!(sim.nodes[node].alarms.is_empty(), "{:?}", sim.nodes[node].alarms);
    }
}

#[test]
fn a_successor_takes_up_everything_that_partners_hold_of_a_lost_tail() {
    for (seed, after) in [(11, 0), (12, 1), (13, 2)] {
        let mut sim = Sim::new(seed, 3);
        sim.alarms_fail = false;
        asks_for_core(&mut sim, FGE, DPS, 1);
        asks_for_core(&mut sim, DPS, FGE, 1);
        asks_for_core(&mut sim, FGR, FGE, 1);
        sim.run(10_000);
        if after > 0 {
            close(&mut sim, FGE);
            close(&mut sim, DPS);
        }
        let backup = batches(&sim, FGE);
        // What is lost: questions, answers and keys both ways, abroad and at home, with and without periods over them.
        asks_for_core(&mut sim, FGE, DPS, 2);
        asks_for_core(&mut sim, DPS, FGE, 2);
        asks_for_core(&mut sim, FGE, FGR, 3);
        asks_for_core(&mut sim, FGR, FGE, 3);
        if after > 1 {
            for node in [FGE, DPS, FGR] {
                close(&mut sim, node);
            }
            asks_for_core(&mut sim, DPS, FGE, 4);
            asks_for_core(&mut sim, FGE, DPS, 4);
        }
        sim.run(10_000);
        let closed_at = succeed(&mut sim, backup);
        let origin = uri(FGE).origin(1).unwrap();
        for holder in [DPS, FGR] {
            let held = receipted_beyond(&sim, holder, origin.as_str(), closed_at);
            assert!(held.len() >= 4, "{} of {holder}", held.len());
            let disk = sim.nodes[FGE].disk.lock().unwrap();
            for leaf in held {
                assert!(disk.leaves.contains_key(&leaf), "lost for good: {leaf}\n{}", sim.story());
            }
        }
        for node in 0..3 {
            assert!(sim.nodes[node].alarms.is_empty(), "{seed}: {node}: {:?}", sim.nodes[node].alarms);
        }
        // Life goes on, both ways; both sides still agree on every number.
        asks_for_core(&mut sim, FGE, DPS, 0);
        asks_for_core(&mut sim, DPS, FGE, 3);
        asks_for_core(&mut sim, FGR, FGE, 4);
        for node in [FGE, DPS, FGR] {
            close(&mut sim, node);
            assert!(sim.nodes[node].alarms.is_empty(), "{seed}: {:?}", sim.nodes[node].alarms);
        }
        // Nothing is handed over twice.
        let size = sim.nodes[FGE].disk.lock().unwrap().size();
        sim.crash(DPS, true);
        sim.start(DPS);
        assert!(matches!(ask(&mut sim, DPS, FGE, 2), Ending::Answered { .. }));
        sim.run(10_000);
        assert!(sim.nodes[FGE].disk.lock().unwrap().size() < size + 8);
    }
}
