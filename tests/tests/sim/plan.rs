//! Random plans: what people, networks, disks and clocks do, as a list that can be cut short and played again.

use puente_exchange::api::{LocalEvent, Ticket};
use puente_model::{Digest, EventKind, Purpose};
use rand_chacha::ChaCha20Rng;
use rand_core::{RngCore, SeedableRng};

use super::world::{DOJ, HELD, vin};
use super::{Ending, Sim, Weather, barred_question, check, core_question, hit_question};

/// One thing that happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Op {
    Ask { from: usize, to: usize, serial: u32 },
    AskCore { from: usize, to: usize, serial: u32 },
    AskBarred { from: usize },
    AskWrongly { from: usize, to: usize },
    Cancel { nth: usize },
    Record { node: usize },
    Close { node: usize },
    Connect { from: usize, to: usize },
    Drop { nth: usize },
    Cut { from: usize, to: usize },
    CutOneWay { from: usize, to: usize },
    Heal,
    BreakDisk { node: usize },
    BreakRecords { node: usize },
    Reset { nth: usize },
    Crash { node: usize, survives: bool, down: u64 },
    Pause { node: usize, millis: u64 },
    Jump { node: usize, hours: i64 },
    Nudge { node: usize, millis: i64 },
    Drift { node: usize, ppm: i64 },
    Weather { slow: bool, duplicates: u32, slow_disk: bool },
    Advance(u64),
}

/// What a seed makes happen.
pub fn plan(seed: u64, nodes: usize) -> Vec<Op> {
    let mut rng = ChaCha20Rng::seed_from_u64(seed ^ 0x9e37_79b9_7f4a_7c15);
    let mut below = move |n: u64| rng.next_u64() % n;
    // Clocks that jump by days hold everything up for days: some plans only.
    let jumps = seed % 8 == 3;
    let mut ops = Vec::new();
    for _ in 0..10 + below(30) {
        let a = below(nodes as u64) as usize;
        let b = (a + 1 + below(nodes as u64 - 1) as usize) % nodes;
        let serial = below(u64::from(HELD) + 2) as u32;
        ops.push(match below(43) {
            0..=7 => Op::Ask { from: a, to: b, serial },
            8..=13 => Op::AskCore { from: a, to: b, serial: serial % HELD },
            14 => Op::AskBarred { from: a },
            15 => Op::AskWrongly { from: a, to: b },
            16 => Op::Cancel { nth: below(4) as usize },
            17 => Op::Record { node: a },
            18..=20 => Op::Close { node: a },
            21 => Op::Connect { from: a, to: b },
            22 | 23 => Op::Drop { nth: below(8) as usize },
            24 => Op::Cut { from: a, to: b },
            25 => Op::CutOneWay { from: a, to: b },
            26 | 27 => Op::Heal,
            28..=31 => Op::Crash { node: a, survives: below(2) == 0, down: [0, 50, 5_000][below(3) as usize] },
            32 => Op::Pause { node: a, millis: 100 + below(20_000) },
            33 if jumps => Op::Jump { node: a, hours: [-48, -3, 3, 48][below(4) as usize] },
            33 => Op::Nudge { node: a, millis: below(40_000) as i64 - 20_000 },
            34 => Op::Drift { node: a, ppm: below(1_001) as i64 - 500 },
            35 => Op::Weather { slow: below(2) == 0, duplicates: 50 * below(2) as u32, slow_disk: below(2) == 0 },
            36 if below(3) == 0 => Op::BreakDisk { node: a },
            37 => Op::BreakRecords { node: a },
            38 => Op::Reset { nth: below(3) as usize },
            _ => Op::Advance([3, 20, 80, 400, 6_000, 30_000][below(6) as usize]),
        });
        ops.push(Op::Advance([0, 3, 10, 30, 100, 1_000][below(6) as usize]));
    }
    ops
}

/// Carries a plan out in a fresh world, lets everything come to rest, and checks every promise.
pub fn play(seed: u64, nodes: usize, ops: &[Op]) -> Sim {
    play_in(Sim::new(seed, nodes), ops)
}

/// The same in a world that stands.
pub fn play_in(mut sim: Sim, ops: &[Op]) -> Sim {
    let nodes = sim.nodes.len();
    let mut player = Player::new(nodes);
    for op in ops {
        player.revive(&mut sim);
        player.apply(&mut sim, *op);
    }
    for node in 0..nodes {
        if player.down[node].is_some() {
            sim.nodes[node].disk_broken = false;
            sim.start(node);
        }
    }
    rest(&mut sim, &player.tickets);
    sim
}

pub(super) struct Player {
    /// Node, its run, ticket.
    pub(super) tickets: Vec<(usize, u32, Ticket)>,
    /// Hits that a person could confirm: from, to, serial, ticket.
    hits: Vec<(usize, usize, u32, Ticket)>,
    pub(super) down: Vec<Option<u64>>,
    /// A node that has left, or is about to.
    pub(super) gone: Option<usize>,
}

impl Player {
    pub(super) fn new(nodes: usize) -> Self {
        Self { tickets: Vec::new(), hits: Vec::new(), down: vec![None; nodes], gone: None }
    }

    pub(super) fn revive(&mut self, sim: &mut Sim) {
        for node in 0..self.down.len() {
            if self.down[node].is_some_and(|at| at <= sim.now) {
                self.down[node] = None;
                sim.nodes[node].disk_broken = false;
                sim.start(node);
            }
        }
    }

    fn alive(&self, node: usize) -> bool {
        self.down[node].is_none() && self.gone != Some(node)
    }

    fn asked(&mut self, sim: &Sim, node: usize, ticket: Ticket) {
        self.tickets.push((node, sim.nodes[node].run, ticket));
    }

    /// Some hit of this node's: whom it asked, about what, and the answer that a person confirmed.
    fn confirmed(&self, sim: &Sim, from: usize, nth: u32) -> Option<(usize, u32, Digest)> {
        let hits: Vec<_> = self
            .hits
            .iter()
            .filter(|(f, _, serial, _)| *f == from && *serial < HELD)
            .filter_map(|(_, to, serial, ticket)| match sim.ending(from, *ticket) {
                Some(Ending::Answered { answer_leaf, .. }) => Some((*to, *serial, *answer_leaf)),
                _ => None,
            })
            .collect();
        hits.get(nth as usize % hits.len().max(1)).copied()
    }

    pub(super) fn apply(&mut self, sim: &mut Sim, op: Op) {
        match op {
            Op::Ask { from, to, serial } if self.alive(from) => {
                let mut draft = hit_question(sim, from, to, &vin(serial));
                draft.due_at = due(sim, from, serial);
                let ticket = sim.ask(from, draft);
                self.asked(sim, from, ticket);
                self.hits.push((from, to, serial, ticket));
            }
            Op::AskCore { from, to, serial } if self.alive(from) => {
                let Some((to, subject, leaf)) = self.confirmed(sim, from, serial) else {
                    return self.apply(sim, Op::Ask { from, to, serial });
                };
                let mut draft = core_question(sim, from, to, &vin(subject), leaf);
                draft.due_at = due(sim, from, serial);
                let ticket = sim.ask(from, draft);
                self.asked(sim, from, ticket);
            }
            Op::AskBarred { from } if self.alive(from) && from != DOJ && sim.nodes.len() > DOJ => {
                let draft = barred_question(sim, from, DOJ);
                let ticket = sim.ask(from, draft);
                self.asked(sim, from, ticket);
            }
            Op::AskWrongly { from, to } if self.alive(from) => {
                let draft = hit_question(sim, from, to, "1FTFW1E5XKF00000");
                let ticket = sim.ask(from, draft);
                assert!(matches!(
                    sim.ending(from, ticket),
                    Some(Ending::Invalid | Ending::LogUnavailable | Ending::LogSuspended)
                ));
            }
            Op::Cancel { nth } => {
                if let Some((node, run, ticket)) = self.tickets.iter().rev().nth(nth).copied()
                    && self.alive(node)
                    && sim.nodes[node].run == run
                    && sim.ending(node, ticket).is_none()
                {
                    sim.cancel(node, ticket);
                    self.tickets.retain(|(_, _, t)| *t != ticket);
                }
            }
            Op::Record { node } if self.alive(node) => {
                let ticket = sim.event(
                    node,
                    LocalEvent {
                        kind: EventKind::Collect,
                        record_type: "Vehicle".to_owned(),
                        count: 3,
                        purpose: Some(Purpose::VehicleRecovery),
                        basis: None,
                        role: None,
                        detail: b"batch".to_vec(),
                    },
                );
                self.asked(sim, node, ticket);
            }
            Op::Close { node } if self.alive(node) => {
                let ticket = sim.close_periods(node);
                self.asked(sim, node, ticket);
            }
            Op::Connect { from, to } if self.alive(from) && self.alive(to) && !sim.is_cut(from, to) => {
                sim.connect(from, to);
            }
            Op::Drop { nth } if nth < sim.conns.len() => {
                let conn = sim.conns.len() - 1 - nth;
                sim.drop_conn(conn);
            }
            Op::Cut { from, to } => {
                sim.cut.insert((from, to));
                sim.cut.insert((to, from));
            }
            Op::CutOneWay { from, to } => {
                sim.cut.insert((from, to));
            }
            Op::Heal => sim.cut.clear(),
            Op::BreakDisk { node } => sim.nodes[node].disk_broken = true,
            Op::BreakRecords { node } => {
                let broken = &mut sim.nodes[node].records_broken;
                *broken = !*broken;
            }
            Op::Reset { nth } => sim.reset(nth),
            Op::Crash { node, survives, down } if self.down[node].is_none() && sim.nodes[node].left.is_none() => {
                sim.crash(node, survives);
                sim.nodes[node].disk_broken = false;
                if down == 0 {
                    sim.start(node);
                } else {
                    self.down[node] = Some(sim.now + down);
                }
            }
            Op::Pause { node, millis } => sim.nodes[node].paused_until = sim.now + millis,
            Op::Jump { node, hours } => sim.nodes[node].skew += hours * 3_600_000,
            Op::Nudge { node, millis } => sim.nodes[node].skew += millis,
            Op::Drift { node, ppm } => sim.nodes[node].drift_ppm = ppm,
            Op::Weather { slow, duplicates, slow_disk } => {
                sim.weather = Weather {
                    delay: if slow { (5, 5_000) } else { (1, 50) },
                    write: if slow_disk { (1, 400) } else { (0, 5) },
                    duplicates,
                    ..Weather::CALM
                };
            }
            Op::Advance(millis) => sim.run(millis),
            _ => {}
        }
    }
}

/// Some questions are in a hurry.
fn due(sim: &Sim, node: usize, serial: u32) -> puente_model::Millis {
    sim.clock(node).plus([60_000, 15_000, 3_000][serial as usize % 3])
}

/// Closes the periods of a node with everybody; a planned crash may come between.
fn close(sim: &mut Sim, node: usize) {
    loop {
        let runs: Vec<u32> = sim.nodes.iter().map(|n| n.run).collect();
        let ticket = sim.close_periods(node);
        sim.run_until(120_000, |s| s.ending(node, ticket).is_some() || s.nodes[node].run != runs[node]);
        let ending = sim.ending(node, ticket);
        if matches!(ending, Some(Ending::PeriodsClosed { unreachable: 0, .. })) {
            return;
        }
        let crashed = sim.nodes.iter().map(|n| n.run).ne(runs);
        assert!(crashed, "node {node} with everything mended cannot close its periods: {ending:?}");
    }
}

/// Everything is mended; after a while nothing is open, both logs agree, and nothing acknowledged was lost.
///
/// `tickets`: node, its run, ticket.
pub fn rest(sim: &mut Sim, tickets: &[(usize, u32, Ticket)]) {
    settle(sim, tickets);
    check::check(sim, true);
}

/// The same, without a look at the logs.
pub(super) fn settle(sim: &mut Sim, tickets: &[(usize, u32, Ticket)]) {
    sim.note(|| "everything is mended".to_owned());
    sim.cut.clear();
    sim.weather = Weather::CALM;
    let mut late = 0;
    for node in 0..sim.nodes.len() {
        late = late.max(sim.nodes[node].skew.unsigned_abs());
        sim.nodes[node].skew = 0;
        sim.nodes[node].drift_ppm = 0;
        sim.nodes[node].paused_until = 0;
        sim.nodes[node].records_broken = false;
        if sim.nodes[node].disk_broken && sim.nodes[node].left.is_none() {
            // The disk is mended; the process has to be started again.
            sim.crash(node, false);
            sim.nodes[node].disk_broken = false;
            sim.start(node);
        }
    }
    sim.run(200_000 + if late > 60_000 { 50 * 3_600_000 } else { 0 });
    for _ in 0..2 {
        for node in (0..sim.nodes.len()).filter(|node| sim.nodes[*node].left.is_none()).collect::<Vec<_>>() {
            close(sim, node);
        }
        // Longer than a key is waited for that a late answer still promises.
        sim.run(10_000);
    }
    for (node, run, ticket) in tickets {
        let ended = sim.ending(*node, *ticket).is_some() || sim.nodes[*node].run != *run;
        assert!(ended, "{ticket:?} of node {node} never ended");
    }
    for (index, node) in sim.nodes.iter().enumerate() {
        if node.left.is_some() {
            continue;
        }
        let open = node.engine.as_ref().map(|e| e.open_exchanges());
        assert_eq!(open, Some((0, 0)), "node {index} still has open exchanges");
    }
}
