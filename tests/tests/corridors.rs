//! Nodes and their groups: a corridor comes into being by itself, orders its commits before the nodes' own witnesses, and
//! outlives crashes, cuts and suspensions.

use std::collections::{BTreeMap, BTreeSet};

use puente_corridor::Want;
use puente_exchange::GroupStanding;
use puente_exchange::api::{Input, Ticket};
use puente_ledger::GroupId;
use puente_model::NodeUri;
use puente_wire::{GroupEvent, proto};

use crate::sim::check::{Read, read_log};
use crate::sim::world::{DOJ, DPS, FGE, FGR, Witnessed, World, next_annex, suspend, uri, vin};
use crate::sim::{Ending, Sim, hit_question};

pub const ALL: [usize; 4] = [FGE, DPS, FGR, DOJ];

pub fn otay() -> GroupId {
    "frontera/otay".parse().unwrap()
}

pub fn standing(sim: &Sim, node: usize, group: &GroupId) -> Option<GroupStanding> {
    let engine = sim.nodes[node].engine.as_ref()?;
    engine.groups().into_iter().find(|standing| standing.group == *group)
}

fn uris(nodes: &[usize]) -> BTreeSet<NodeUri> {
    nodes.iter().map(|node| uri(*node)).collect()
}

/// These nodes are in one epoch of the group, with each other and nobody else.
pub fn together(sim: &Sim, group: &GroupId, nodes: &[usize]) -> bool {
    let epochs: BTreeSet<Option<u64>> = nodes.iter().map(|n| standing(sim, *n, group).and_then(|s| s.epoch)).collect();
    let members = |node: &usize| standing(sim, *node, group).map(|s| s.members.into_iter().collect::<BTreeSet<_>>());
    epochs.len() == 1 && !epochs.contains(&None) && nodes.iter().all(|node| members(node) == Some(uris(nodes)))
}

/// Until everybody is in, and nothing is to be done.
pub fn founded(seed: u64) -> Sim {
    founded_in(World::grouped(Witnessed::ByNodes), seed)
}

pub fn founded_in(world: std::sync::Arc<World>, seed: u64) -> Sim {
    let mut sim = Sim::of(world, seed, 4);
    meet(&mut sim);
    assert!(sim.run_until(120_000, |s| together(s, &otay(), &ALL)), "{}", sim.story());
    sim.run(30_000);
    sim
}

/// Everybody reaches everybody.
pub fn meet(sim: &mut Sim) {
    for from in ALL {
        for to in ALL.into_iter().filter(|to| *to > from) {
            sim.connect(from, to);
        }
    }
}

/// What the logs say of each epoch of a group: the hash, at every node.
fn epochs(sim: &Sim, node: usize, group: &GroupId) -> BTreeMap<u64, (puente_model::Digest, String)> {
    let disk = sim.nodes[node].disk.lock().unwrap();
    let mut found = BTreeMap::new();
    for (_, read) in read_log(node, &disk).entries {
        let Read::Group(entry) = read else { continue };
        if entry.group.as_str() != group.as_str() {
            continue;
        }
        if let GroupEvent::Epoch { epoch, hash, ordered, .. } = entry.what {
            let earlier = found.insert(epoch, (hash, ordered.unwrap().origin(&entry.group)));
            assert!(earlier.is_none(), "node {node} entered epoch {epoch} twice");
        }
    }
    found
}

/// No two logs disagree on an epoch.
fn agree(sim: &Sim, group: &GroupId) {
    let mut seen: BTreeMap<u64, (puente_model::Digest, String)> = BTreeMap::new();
    for node in 0..sim.nodes.len() {
        for (epoch, what) in epochs(sim, node, group) {
            assert_eq!(*seen.entry(epoch).or_insert_with(|| what.clone()), what, "epoch {epoch} at node {node}");
        }
    }
    assert!(!seen.is_empty());
}

#[test]
fn a_corridor_and_the_groups_of_two_come_into_being_by_themselves() {
    let sim = founded(21);
    agree(&sim, &otay());
    for one in ALL {
        for other in ALL.into_iter().filter(|other| *other > one) {
            let pair = puente_corridor::pair("frontera", &uri(one), &uri(other)).unwrap();
            assert!(together(&sim, &pair, &[one, other]), "{one} {other}\n{}", sim.story());
            agree(&sim, &pair);
        }
    }
    // Commits were held by others before they were ordered.
    let held = |node: usize| {
        let log = read_log(node, &sim.nodes[node].disk.lock().unwrap());
        let is_held = |read: &Read| matches!(read, Read::Group(entry) if matches!(entry.what, GroupEvent::Held { .. }));
        log.entries.iter().filter(|(_, read)| is_held(read)).count()
    };
    assert!(ALL.iter().any(|node| held(*node) > 0));
    assert!(ALL.iter().all(|node| sim.nodes[*node].engine.as_ref().unwrap().group_faults() < 50));
}

#[test]
fn questions_go_on_beside_groups_and_the_logs_are_sound() {
    let mut sim = founded(22);
    for (from, to) in [(FGE, DPS), (DPS, FGR), (DOJ, FGE)] {
        let draft = hit_question(&sim, from, to, &vin(1));
        let ending = sim.ask_and_wait(from, draft);
        assert!(matches!(ending, Ending::Answered { .. }), "{ending:?}\n{}", sim.story());
    }
    crate::sim::plan::rest(&mut sim, &[]);
    agree(&sim, &otay());
}

#[test]
fn a_node_that_crashes_at_any_step_comes_back_into_its_groups() {
    for step in [1, 2, 3, 4, 5, 6, 8, 10, 13, 17, 22] {
        for survives in [false, true] {
            for victim in [FGE, DPS, DOJ] {
                let mut sim = Sim::of(World::grouped(Witnessed::ByNodes), 300 + step, 4);
                sim.crash_at = Some((victim, step, survives));
                meet(&mut sim);
                sim.run(20_000);
                meet(&mut sim);
                assert!(
                    sim.run_until(900_000, |s| together(s, &otay(), &ALL)),
                    "step {step} of {victim}, {survives}\n{}",
                    sim.story()
                );
                agree(&sim, &otay());
            }
        }
    }
}

#[test]
fn a_restart_of_everybody_forgets_nothing() {
    let mut sim = founded(24);
    let before = standing(&sim, FGE, &otay());
    for node in ALL {
        sim.crash(node, true);
    }
    for node in ALL {
        sim.start(node);
    }
    assert_eq!(standing(&sim, FGE, &otay()), before);
    assert!(together(&sim, &otay(), &ALL));
    meet(&mut sim);
    let ticket = want(&mut sim, FGE, Want::Rekey);
    assert_eq!(sim.ending(FGE, ticket), Some(&Ending::Wanted(true)));
    let epoch = before.and_then(|s| s.epoch).unwrap();
    let newer = |s: &Sim| standing(s, DOJ, &otay()).is_some_and(|s| s.epoch > Some(epoch));
    assert!(sim.run_until(120_000, |s| newer(s) && together(s, &otay(), &ALL)), "{}", sim.story());
    agree(&sim, &otay());
}

fn want(sim: &mut Sim, node: usize, want: Want) -> Ticket {
    let ticket = sim.ticket();
    sim.input(node, Input::WantOfGroup { ticket, group: otay(), want });
    ticket
}

#[test]
fn a_member_that_an_operator_removes_stays_out_until_one_wants_it_in() {
    let mut sim = founded(25);
    let with = |sim: &Sim, node: usize| -> Vec<usize> {
        let up = |conn: &usize| sim.conns[*conn].up && sim.conns[*conn].ends.iter().any(|end| end.node == node);
        (0..sim.conns.len()).filter(up).collect()
    };
    want(&mut sim, FGE, Want::Remove(uri(DOJ)));
    let before = with(&sim, DOJ);
    assert!(before.len() >= 3, "{before:?}");
    let rest = [FGE, DPS, FGR];
    assert!(sim.run_until(120_000, |s| together(s, &otay(), &rest)), "{}", sim.story());
    // What stood with it ends within five seconds. What the charter still allows goes on, over connections of their own.
    sim.run(5_000);
    let still: Vec<usize> = with(&sim, DOJ).into_iter().filter(|conn| before.contains(conn)).collect();
    assert_eq!(still, Vec::<usize>::new(), "{}", sim.story());
    let question = hit_question(&sim, FGE, DOJ, &vin(1));
    assert!(matches!(sim.ask_and_wait(FGE, question), Ending::Answered { .. }), "{}", sim.story());
    sim.run(600_000);
    assert!(together(&sim, &otay(), &rest));
    want(&mut sim, FGE, Want::Add(uri(DOJ)));
    assert!(sim.run_until(300_000, |s| together(s, &otay(), &ALL)), "{}", sim.story());
    agree(&sim, &otay());
    // A group that this node knows nothing of.
    let ticket = sim.ticket();
    let group = "frontera/nowhere".parse().unwrap();
    sim.input(FGE, Input::WantOfGroup { ticket, group, want: Want::Rekey });
    assert_eq!(sim.ending(FGE, ticket), Some(&Ending::Wanted(false)));
}

#[test]
fn a_suspension_by_annex_takes_a_member_out() {
    let mut sim = founded_in(World::grouped(Witnessed::ByServer), 26);
    let part = next_annex(&sim.world.charter, "us", suspend(DOJ));
    let ticket = sim.offer(DPS, vec![part]);
    assert!(sim.run_until(10_000, |s| s.ending(DPS, ticket).is_some()));
    let rest = [FGE, DPS, FGR];
    assert!(sim.run_until(300_000, |s| together(s, &otay(), &rest)), "{}", sim.story());
    agree(&sim, &otay());
    // What it knew stays in its log, and it is asked and told nothing more.
    let last = epochs(&sim, DOJ, &otay()).into_keys().max();
    assert!(last < epochs(&sim, FGE, &otay()).into_keys().max());
}

#[test]
fn parts_of_messages_that_do_not_fit_each_other_are_refused() {
    let mut sim = founded(27);
    sim.alarms_fail = false;
    let epoch = standing(&sim, DPS, &otay()).unwrap().epoch;
    let part = |group: &str, part: &[u8], more| {
        let body =
            proto::frame::Body::AboutGroup(proto::AboutGroup { group: group.to_owned(), part: part.to_vec(), more });
        puente_wire::encode_frame(&proto::Frame { body: Some(body) }).unwrap()[4..].to_vec()
    };
    let garbage = [
        vec![part("frontera/otay", b"\xff\xff\xff", false)],
        vec![part("frontera/otay", b"", false)],
        vec![part("FRONTERA", b"\x1a\x00", false)],
        vec![part("frontera/otay", b"\x1a", true), part("frontera/else", b"\x00", false)],
        (0..40).map(|_| part("frontera/otay", &vec![0; 1 << 19], true)).collect(),
    ];
    for frames in garbage {
        sim.connect(FGE, DPS);
        sim.run(200);
        let connection = sim.nodes[DPS].last_connection();
        let stream = puente_exchange::api::StreamId::CONTROL;
        for bytes in frames {
            sim.input(DPS, Input::Frame { connection, stream, bytes });
        }
        sim.run(200);
    }
    assert_eq!(standing(&sim, DPS, &otay()).unwrap().epoch, epoch);
    assert!(together(&sim, &otay(), &ALL));
}
