//! What befalls one node in the middle of a plan: it leaves for good, or it comes back from an old backup and goes on
//! with a successor log. Everything else of the plan happens as ever, to everybody.

use std::sync::Arc;

use puente_charter::{AnnexPart, Charter, ClaimedPart, Offer};
use puente_exchange::api::{Alarm, Input, Ticket};
use rand_chacha::ChaCha20Rng;
use rand_core::{RngCore, SeedableRng};

use super::plan::{Op, Player, settle};
use super::world::{START, logs_of, nation_of, next_annex, uri};
use super::{Ending, Sim, check};

/// How long a node that leaves waits until its partners have closed their periods, in milliseconds.
const CLOSING: u64 = 5_000;
/// How often an operator may be turned away in a world where everything is mended.
const PATIENCE: usize = 600;

/// What the fate of a seed's node was.
#[derive(Debug)]
pub struct Fate {
    pub node: usize,
    /// The charter that says so.
    pub charter: Arc<Charter>,
    /// Its log was closed at a size, and has a successor.
    pub closed_at: Option<u64>,
    /// Partners that a node which left could not ask for newer charter parts.
    pub unasked: usize,
}

/// The annex after the one in force, and the charter with it.
fn amended(charter: &Charter, node: usize, tweak: impl FnOnce(&mut AnnexPart)) -> (ClaimedPart, Arc<Charter>) {
    let part = next_annex(charter, nation_of(node).as_str(), tweak);
    match charter.offer(std::slice::from_ref(&part), START).unwrap() {
        Offer::Next(next, _) => (part, Arc::from(next)),
        Offer::Same => panic!("nothing new"),
    }
}

/// Everybody runs, on whole disks and lines: what an operator brings about before a log is given up.
fn mend_all(sim: &mut Sim, player: &mut Player) {
    sim.cut.clear();
    for node in 0..sim.nodes.len() {
        sim.nodes[node].paused_until = 0;
        if player.down[node].take().is_some() {
            sim.nodes[node].disk_broken = false;
            sim.start(node);
        } else if std::mem::take(&mut sim.nodes[node].disk_broken) {
            sim.crash(node, false);
            sim.start(node);
        }
    }
}

// ---- leaving

/// What the operator of the node that leaves waits for.
enum Stage {
    Ending(Ticket),
    Closing(Ticket, u64),
    Comparing(Ticket),
    Leaving(Ticket),
}

struct Leaver {
    node: usize,
    run: u32,
    stage: Option<Stage>,
    unasked: usize,
}

impl Leaver {
    /// The next step of leaving, if the last one is done; begins anew after a crash. True once the node has left.
    fn on(&mut self, sim: &mut Sim) -> bool {
        let node = self.node;
        if sim.nodes[node].left.is_some() {
            return true;
        }
        if sim.nodes[node].engine.is_none() {
            return false;
        }
        let stage = match self.stage.take().filter(|_| self.run == sim.nodes[node].run) {
            Some(stage) => stage,
            None => {
                self.run = sim.nodes[node].run;
                sim.note(|| format!("node {node} is told to leave"));
                sim.input(node, Input::Drain);
                Stage::Ending(sim.wish(node, |ticket| Input::EndAll { ticket }))
            }
        };
        self.stage = match stage {
            Stage::Ending(ticket) => match sim.ending(node, ticket) {
                Some(Ending::Recorded) => Some(Stage::Closing(sim.close_periods(node), sim.now + CLOSING)),
                Some(_) => None,
                None => Some(Stage::Ending(ticket)),
            },
            Stage::Closing(ticket, until) => match sim.ending(node, ticket) {
                None if sim.now < until => Some(Stage::Closing(ticket, until)),
                _ => Some(Stage::Comparing(sim.wish(node, |ticket| Input::CompareCharters { ticket }))),
            },
            Stage::Comparing(ticket) => match sim.ending(node, ticket) {
                Some(Ending::Compared { unasked, .. }) => {
                    self.unasked = unasked.len();
                    let reason = "the agreement ended".to_owned();
                    Some(Stage::Leaving(sim.wish(node, |ticket| Input::Leave { ticket, reason })))
                }
                Some(_) => None,
                None => Some(Stage::Comparing(ticket)),
            },
            Stage::Leaving(ticket) => match sim.ending(node, ticket) {
                Some(Ending::Left(_)) => {
                    let size = sim.nodes[node].disk.lock().unwrap().size();
                    sim.nodes[node].left = Some(size - 1);
                    return true;
                }
                Some(_) => None,
                None => Some(Stage::Leaving(ticket)),
            },
        };
        false
    }
}

/// Plays a plan in whose middle one node leaves; the others adopt the annex that closes its log, and go on.
pub fn leaves(mut sim: Sim, seed: u64, ops: &[Op]) -> (Sim, Fate) {
    let nodes = sim.nodes.len();
    let mut rng = ChaCha20Rng::seed_from_u64(seed ^ 0x51ed_2701);
    let mut below = |n: u64| rng.next_u64() % n;
    let (node, at) = (below(nodes as u64) as usize, ops.len() / 4 + below(ops.len() as u64 / 2) as usize);
    let herald = (node + 1 + below(nodes as u64 - 1) as usize) % nodes;
    let mut player = Player::new(nodes);
    let mut leaver = Leaver { node, run: 0, stage: None, unasked: 0 };
    let mut closing: Option<(ClaimedPart, Arc<Charter>)> = None;
    for (nth, op) in ops.iter().enumerate() {
        player.revive(&mut sim);
        if nth >= at {
            player.gone = Some(node);
            if leaver.on(&mut sim) && closing.is_none() {
                closing = Some(close_log(&mut sim, node, herald));
            }
        }
        player.apply(&mut sim, *op);
    }
    mend_all(&mut sim, &mut player);
    player.gone = Some(node);
    for turn in 0.. {
        if leaver.on(&mut sim) {
            break;
        }
        assert!(turn < PATIENCE, "node {node} with everything mended cannot leave");
        sim.run(100);
    }
    let (part, charter) = closing.unwrap_or_else(|| close_log(&mut sim, node, herald));
    sim.run(1_000);
    // Its process has stopped.
    sim.crash(node, false);
    for stayer in (0..nodes).filter(|stayer| *stayer != node) {
        sim.offer(stayer, vec![part.clone()]);
    }
    sim.run(2_000);
    for stayer in (0..nodes).filter(|stayer| *stayer != node) {
        assert_eq!(sim.vector(stayer), charter.vector().to_string(), "node {stayer} adopted the closing annex");
    }
    settle(&mut sim, &player.tickets);
    let size = sim.nodes[node].disk.lock().unwrap().size();
    assert_eq!(sim.nodes[node].left, Some(size - 1), "nothing stands after the final entry");
    check::check(&sim, true);
    (sim, Fate { node, charter, closed_at: None, unasked: leaver.unasked })
}

/// The nation signs the annex that closes the log for good; one node is given it, others learn of it from each other.
fn close_log(sim: &mut Sim, node: usize, herald: usize) -> (ClaimedPart, Arc<Charter>) {
    let closed_at = sim.nodes[node].left.unwrap() + 1;
    let charter = Arc::clone(sim.nodes[node].charter.as_ref().unwrap_or(&sim.world.charter));
    let closing = amended(&charter, node, |annex| {
        let member = annex.members.iter_mut().find(|member| member.uri == uri(node)).unwrap();
        (member.suspended, member.suspended_reason) = (true, Some("left the federation".to_owned()));
        member.logs[0].closed_at = Some(closed_at);
    });
    sim.offer(herald, vec![closing.0.clone()]);
    closing
}

// ---- losing the tail

/// Plays a plan in whose middle one node is restored from an old backup. Its operator compares with everybody; the log
/// goes on if nobody knows more, and else is closed and followed by a successor, which takes up what was lost.
pub fn loses_its_tail(mut sim: Sim, seed: u64, ops: &[Op]) -> (Sim, Fate) {
    let nodes = sim.nodes.len();
    let mut rng = ChaCha20Rng::seed_from_u64(seed ^ 0x10_57a1);
    let mut below = |n: u64| rng.next_u64() % n;
    let node = below(nodes as u64) as usize;
    let restored = ops.len() / 4 + below(ops.len() as u64 / 2) as usize;
    let decided = restored + below(ops.len() as u64 / 4) as usize;
    let (survives, depth) = (below(2) == 0, below(60));
    let mut player = Player::new(nodes);
    let mut decision: Option<(Arc<Charter>, Option<u64>)> = None;
    for (nth, op) in ops.iter().enumerate() {
        player.revive(&mut sim);
        if nth == restored {
            restore(&mut sim, &mut player, node, survives, depth as usize);
        }
        if nth == decided {
            decision = Some(decide(&mut sim, &mut player, node));
        }
        player.apply(&mut sim, *op);
    }
    let (charter, closed_at) = decision.unwrap();
    mend_all(&mut sim, &mut player);
    settle(&mut sim, &player.tickets);
    check::check_without(&sim, node);
    if let Some(closed_at) = closed_at {
        nothing_receipted_is_lost(&sim, node, closed_at);
    }
    (sim, Fate { node, charter, closed_at, unasked: 0 })
}

/// Power fails, and the disk is lost with it: what comes back is a backup of some batches ago.
fn restore(sim: &mut Sim, player: &mut Player, node: usize, survives: bool, depth: usize) {
    sim.losing = Some(node);
    if player.down[node].take().is_none() {
        sim.crash(node, survives);
    }
    sim.nodes[node].disk_broken = false;
    let batches = sim.nodes[node].disk.lock().unwrap().history.len();
    let backup = sim.nodes[node].disk.lock().unwrap().backup(batches.saturating_sub(depth).max(1));
    sim.note(|| format!("node {node} is restored: {backup:?}, {depth} batches ago"));
    *sim.nodes[node].disk.lock().unwrap() = backup;
    sim.nodes[node].restored = true;
    sim.start(node);
}

/// The operator compares with every partner, then goes on, or closes the log and begins its successor.
fn decide(sim: &mut Sim, player: &mut Player, node: usize) -> (Arc<Charter>, Option<u64>) {
    mend_all(sim, player);
    sim.crash(node, false);
    sim.nodes[node].alarms.clear();
    sim.start(node);
    let size = sim.nodes[node].disk.lock().unwrap().size();
    let compared = |sim: &Sim| {
        let behind = sim.nodes[node].alarms.iter().any(|alarm| matches!(alarm, Alarm::OwnLogBehind { .. }));
        let agree = |alarm: &&Alarm| matches!(alarm, Alarm::OwnLogAgrees { .. });
        behind || sim.nodes[node].alarms.iter().filter(agree).count() >= sim.nodes.len() - 1
    };
    assert!(sim.run_until(60_000, compared), "node {node} was not compared with everybody");
    // Whoever compares later may know more.
    sim.run(10_000);
    let behind = sim.nodes[node].alarms.iter().any(|alarm| matches!(alarm, Alarm::OwnLogBehind { .. }));
    assert_eq!(sim.nodes[node].disk.lock().unwrap().size(), size, "a log that is compared takes no entry");
    sim.crash(node, false);
    sim.nodes[node].restored = false;
    let charter = Arc::clone(sim.nodes[node].charter.as_ref().unwrap_or(&sim.world.charter));
    if !behind {
        sim.start(node);
        return (charter, None);
    }
    sim.note(|| format!("the log of node {node} is closed at {size}"));
    sim.nodes[node].disk.lock().unwrap().succeed();
    let (_, next) = amended(&charter, node, |annex| {
        let member = annex.members.iter_mut().find(|member| member.uri == uri(node)).unwrap();
        member.logs = logs_of(node, Some(size));
    });
    sim.nodes[node].charter = Some(Arc::clone(&next));
    sim.start(node);
    (next, Some(size))
}

/// The successor holds every entry for which a partner kept a receipt of the closed log beyond its end.
fn nothing_receipted_is_lost(sim: &Sim, node: usize, closed_at: u64) {
    use puente_exchange::api::Store as _;
    let origin = uri(node).origin(1).unwrap();
    for holder in (0..sim.nodes.len()).filter(|holder| *holder != node) {
        let shared = super::disk::Shared(Arc::clone(&sim.nodes[holder].disk));
        let held = shared.kept_receipts(origin.as_str(), closed_at, usize::MAX).unwrap();
        let disk = sim.nodes[node].disk.lock().unwrap();
        for (leaf, _) in held {
            assert!(disk.leaves.contains_key(&leaf), "{holder} holds a receipt for what is lost for good: {leaf}");
        }
    }
}
