//! The engines against each other: partitions, delays, losses, repetitions, crashes at every durable step, clocks that are
//! wrong by up to an hour. Every run is decided by its seed.
#![allow(clippy::disallowed_methods, clippy::unwrap_used, clippy::panic, clippy::print_stdout, reason = "tests")]

mod world;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use puente_ledger::*;
use puente_model::{Digest, Millis};
use rand_chacha::ChaCha8Rng;
use rand_core::{RngCore as _, SeedableRng as _};
use world::charter::{BOTH, charter, signatures};
use world::*;

const NODE_COUNT: usize = NODES.len();
/// A day into the run's own time, so that clocks may be behind.
const START: u64 = 86_400_000;
const TROUBLE: u64 = START + 10 * 60_000;
const END: u64 = TROUBLE + 20 * 60_000;

fn tuning() -> Tuning {
    Tuning { retry: 2_000, retry_max: 60_000, hold: 10_000, patience: 20_000, signs_per_silence: 4 }
}

enum Event {
    /// To a node, if it has not crashed since.
    Input(usize, u32, Input),
    /// A record reaches a node's disk.
    Durable(usize, u32, u64, Vec<u8>),
    /// A message on its way.
    Arrive(usize, usize, Vec<u8>),
    Ask(usize, usize, puente_model::TreeSize, Vec<Digest>, puente_audit_log::SignedCheckpoint),
    Look(usize, usize, LedgerOrigin),
    Crash(usize),
    Start(usize),
    Wake(usize, u32),
    /// A node makes an intent.
    Intend(usize),
    /// If the group is wedged, people of both nations look where it stands and sign a reboot.
    Govern,
    Partition(u32),
}

struct Node {
    engine: Option<Engine>,
    /// Counts starts: what was under way in an earlier life is gone.
    life: u32,
    disk: Vec<Vec<u8>>,
    skew: u64,
    /// What its group merged: epoch, commit.
    merged: BTreeMap<u64, Digest>,
    seen: BTreeSet<(u32, u64)>,
}

struct World {
    random: ChaCha8Rng,
    now: u64,
    queue: BTreeMap<(u64, u64), Event>,
    count: u64,
    nodes: Vec<Node>,
    witnesses: Vec<(TestWitness, u64)>,
    /// One bit a node or witness: which side of a partition it is on.
    sides: u32,
    order: BTreeMap<(LedgerOrigin, u64), Digest>,
    epochs: BTreeMap<u64, Digest>,
    accepted: usize,
    stale: usize,
    rejected: usize,
    wedged: Option<(LedgerOrigin, u64)>,
    reboot: Option<Reboot>,
    convicted: Vec<Evidence>,
    intents: u64,
    merged_after_trouble: usize,
    silence: u64,
    /// While there is trouble, what the convener and its successor submit reaches different witnesses, and only once both have
    /// an entry for the same place.
    split: bool,
    held_up: Vec<((String, u64), Option<Event>)>,
}

/// The disk keeps what is still needed, and a node that starts from that stands where it stood.
fn pruned(engine: Engine, node: &mut Node, silence: u64, clock: Millis, at: usize) -> Engine {
    let records = node.disk.iter().map(|bytes| Record::decode(bytes).unwrap()).collect();
    let Some(kept) = engine.prune(records, Millis(0)) else { return engine };
    node.disk = kept.iter().map(Record::encode).collect();
    let (me, beginning) = (world::node(NODES[at]), Beginning { rules: patient(silence), ..beginning() });
    let again = Engine::open(me, beginning, Vec::new(), kept, keys(NODES[at]), tuning(), clock);
    let again = again.unwrap_or_else(|fault| panic!("node {at} does not start from what it kept: {fault}"));
    assert_eq!(again.chain(), engine.chain());
    again
}

#[derive(Debug, Default)]
struct Outcome {
    wedged: bool,
    accepted: usize,
    stale: usize,
    rejected: usize,
    ledgers: u32,
    premature: usize,
}

impl World {
    fn new(seed: u64, silence: u64, split: bool) -> Self {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let mut skew = || random.next_u64() % 7_200_000;
        let nodes = NODES
            .iter()
            .map(|_| Node {
                engine: None,
                life: 0,
                disk: Vec::new(),
                skew: skew(),
                merged: BTreeMap::new(),
                seen: BTreeSet::new(),
            })
            .collect();
        let witnesses = WITNESSES.iter().map(|name| (TestWitness::new(name), skew())).collect();
        let mut world = Self {
            random,
            now: START,
            queue: BTreeMap::new(),
            count: 0,
            nodes,
            witnesses,
            sides: 0,
            order: BTreeMap::new(),
            epochs: BTreeMap::new(),
            accepted: 0,
            stale: 0,
            rejected: 0,
            wedged: None,
            reboot: None,
            convicted: Vec::new(),
            intents: 0,
            merged_after_trouble: 0,
            silence,
            split,
            held_up: Vec::new(),
        };
        for at in 0..NODE_COUNT {
            world.after(0, Event::Start(at));
        }
        // Trouble: intents of everybody, crashes and partitions, for ten minutes.
        for _ in 0..8 {
            let (at, when) = (world.below(NODE_COUNT as u64) as usize, world.below(TROUBLE - START));
            world.after(when, Event::Intend(at));
        }
        for _ in 0..6 {
            let (at, when) = (world.below(NODE_COUNT as u64) as usize, world.below(TROUBLE - START - 60_000));
            if !split {
                world.after(when, Event::Crash(at));
            }
        }
        for _ in 0..if split { 0 } else { 5 } {
            let (sides, when) = (world.random.next_u32(), world.below(TROUBLE - START - 60_000));
            world.after(when, Event::Partition(sides));
        }
        if split {
            world.after(20_000, Event::Intend(0));
        }
        world.after(TROUBLE - START, Event::Partition(0));
        world.after(TROUBLE - START + 120_000, Event::Govern);
        // Then everybody wants something once more.
        for at in 0..NODE_COUNT {
            world.after(TROUBLE - START + 600_000 + at as u64 * 60_000, Event::Intend(at));
        }
        world
    }

    fn below(&mut self, n: u64) -> u64 {
        self.random.next_u64() % n
    }

    fn chance(&mut self, percent: u64) -> bool {
        self.now < TROUBLE && self.below(100) < percent
    }

    fn after(&mut self, millis: u64, event: Event) {
        self.count += 1;
        self.queue.insert((self.now + millis, self.count), event);
    }

    fn apart(&self, one: usize, other: usize) -> bool {
        (self.sides >> one ^ self.sides >> other) & 1 == 1
    }

    fn delay(&mut self) -> u64 {
        let long = if self.chance(5) { 30_000 } else { 300 };
        5 + self.below(long)
    }

    fn clock(&self, at: usize) -> Millis {
        Millis(self.now - self.nodes[at].skew)
    }

    fn start(&mut self, at: usize) {
        let (clock, node) = (self.clock(at), &mut self.nodes[at]);
        if node.engine.is_some() {
            return;
        }
        node.life += 1;
        node.seen.clear();
        let (me, disk): (_, Vec<Record>) =
            (world::node(NODES[at]), node.disk.iter().map(|bytes| Record::decode(bytes).unwrap()).collect());
        let beginning = Beginning { rules: patient(self.silence), ..beginning() };
        let engine = Engine::open(me, beginning, Vec::new(), disk, keys(NODES[at]), tuning(), clock);
        let engine = engine.unwrap_or_else(|fault| panic!("node {at} does not start: {fault}"));
        node.engine = Some(pruned(engine, node, self.silence, clock, at));
        for other in NODES {
            self.input(at, Input::Reached(world::node(other)));
        }
    }

    /// The reboot is of where the most advanced member stands; the others are brought there first.
    fn govern(&mut self) {
        let chains = self.nodes.iter().filter_map(|node| node.engine.as_ref().map(Engine::chain));
        let chain = chains.max_by_key(|chain| (chain.ledger().number(), chain.size())).unwrap();
        let (ledger, size, root) = (chain.ledger().clone(), chain.size(), chain.root());
        let wedged = self.wedged.as_ref().is_some_and(|(at, index)| *at == ledger && *index == size);
        if wedged && self.reboot.is_none() {
            let terms =
                RebootTerms { next: ledger.next().unwrap(), convener: world::node(NODES[2]), ledger, size, root };
            let signed = signatures(&terms, &BOTH);
            self.reboot = Some(Reboot::verify(terms, &signed, &charter(true)).unwrap());
        }
        let Some(reboot) = self.reboot.clone() else { return };
        for at in 0..NODE_COUNT {
            let here = self.nodes[at].engine.as_ref().map(|engine| engine.chain().ledger().clone());
            if here.as_ref() == Some(&reboot.terms().ledger) {
                for other in NODES {
                    self.input(at, Input::Reached(world::node(other)));
                }
                self.input(at, Input::Reboot(reboot.clone()));
            }
        }
        self.after(10_000, Event::Govern);
    }

    fn input(&mut self, at: usize, input: Input) {
        let clock = self.clock(at);
        let Some(engine) = &mut self.nodes[at].engine else { return };
        engine.handle(clock, input);
        let mut effects = Vec::new();
        while let Some(effect) = engine.poll_effect() {
            effects.push(effect);
        }
        let (deadline, life) = (engine.poll_deadline(), self.nodes[at].life);
        for effect in effects {
            self.effect(at, effect);
        }
        if let Some(deadline) = deadline {
            self.after(deadline.since(clock).max(1), Event::Wake(at, life));
        }
    }

    fn effect(&mut self, at: usize, effect: Effect) {
        let life = self.nodes[at].life;
        match effect {
            Effect::Send { to, message } => {
                let to = NODES.iter().position(|name| world::node(name) == to).unwrap();
                let message = message.encode();
                for _ in 0..if self.chance(10) { 2 } else { 1 } {
                    if !self.chance(10) {
                        let delay = self.delay();
                        self.after(delay, Event::Arrive(at, to, message.clone()));
                    }
                }
            }
            Effect::Store { ticket, record } => {
                // Disks keep the order: all take the same time.
                self.after(3, Event::Durable(at, life, ticket, record.encode()));
            }
            Effect::RecordHeld { statement, .. } => {
                let leaf = commit_hash(&[NODES[at].as_bytes(), statement.as_bytes()].concat());
                self.after(4, Event::Input(at, life, Input::HeldRecorded { statement, leaf }));
            }
            Effect::Submit { witness, old, proof, head } => {
                let to = WITNESSES.iter().position(|name| *name == witness).unwrap();
                for _ in 0..if self.chance(10) { 2 } else { 1 } {
                    if !self.chance(10) {
                        let delay = self.delay();
                        self.submitted(delay, Event::Ask(at, to, old, proof.clone(), head.clone()));
                    }
                }
            }
            Effect::Read { witness, ledger } => {
                let to = WITNESSES.iter().position(|name| *name == witness).unwrap();
                let delay = self.delay();
                self.after(delay, Event::Look(at, to, ledger));
            }
            Effect::Ordered { ordered, commit } => {
                let place = (ordered.ledger().clone(), ordered.index());
                let node = &mut self.nodes[at];
                assert!(node.seen.insert((place.0.number(), place.1)), "ordered twice in one life: {place:?}");
                assert_eq!(commit_hash(&commit), ordered.commit_hash());
                let before = self.order.entry(place.clone()).or_insert(ordered.commit_hash());
                assert_eq!(*before, ordered.commit_hash(), "two commits at {place:?}");
                // One commit in eight fails a check that everybody makes alike.
                let good = !commit[0].is_multiple_of(8);
                if good {
                    let one = self.epochs.entry(ordered.epoch()).or_insert(ordered.commit_hash());
                    assert_eq!(*one, ordered.commit_hash(), "two commits end epoch {}", ordered.epoch());
                    let before = node.merged.insert(ordered.epoch(), ordered.commit_hash());
                    assert!(before.is_none_or(|before| before == ordered.commit_hash()));
                    self.merged_after_trouble += usize::from(self.now > TROUBLE);
                }
                let roster = good.then(roster);
                let delay = 1 + self.below(50);
                self.after(delay, Event::Input(at, life, Input::Settled { index: ordered.index(), roster }));
            }
            Effect::Conclude { answer, .. } => match answer {
                Answer::Accepted(_) => self.accepted += 1,
                Answer::Stale(_) => self.stale += 1,
                Answer::Rejected(_) => self.rejected += 1,
            },
            Effect::Wedged { ledger, index } => self.wedged = Some((ledger, index)),
            Effect::Convict(evidence) => self.convicted.push(evidence),
            Effect::Withheld { .. } | Effect::Fault { .. } => {}
        }
    }

    /// On its way to a witness.
    fn submitted(&mut self, delay: u64, event: Event) {
        let Event::Ask(from, to, .., head) = &event else { return };
        let place = (head.origin().to_owned(), head.size().0);
        if !self.split || self.now >= TROUBLE {
            return self.after(delay, event);
        }
        match (from, to) {
            (0, 0 | 1 | 3) => self.held_up.push((place, Some(event))),
            (1, 2 | 4 | 5) if self.held_up.iter().any(|(held_up, _)| *held_up == place) => {
                self.after(delay, event);
                // Later ones of the convener are repetitions of these.
                let released: Vec<Event> = self.held_up.iter_mut().filter_map(|(_, event)| event.take()).collect();
                for event in released {
                    self.after(delay, event);
                }
            }
            _ => {}
        }
    }

    fn event(&mut self, event: Event) {
        match event {
            Event::Input(at, life, input) if self.nodes[at].life == life => self.input(at, input),
            Event::Input(..) => {}
            Event::Durable(at, life, ticket, record) => {
                if self.nodes[at].life != life || self.nodes[at].engine.is_none() {
                    return;
                }
                // The machine may lose power just before the record is durable, or just after.
                let crash = self.chance(2);
                if crash && self.below(2) == 0 {
                    return self.event(Event::Crash(at));
                }
                self.nodes[at].disk.push(record);
                if crash {
                    return self.event(Event::Crash(at));
                }
                self.input(at, Input::Stored { ticket });
            }
            Event::Arrive(from, to, message) => {
                if !self.apart(from, to) {
                    let message = Message::decode(&message).unwrap();
                    self.input(to, Input::Message { from: world::node(NODES[from]), message });
                }
            }
            Event::Ask(at, to, old, proof, head) => {
                if self.apart(at, NODE_COUNT + to) {
                    return;
                }
                // The witness crashes before it has stored: it knows nothing. After: it remembers, and nobody is told.
                if self.chance(3) {
                    return;
                }
                let clock = Millis(self.now - self.witnesses[to].1);
                let reply = self.witnesses[to].0.add(clock, old, &proof, head.note_bytes());
                if self.chance(8) {
                    return;
                }
                let (delay, life) = (self.delay(), self.nodes[at].life);
                let witness = WITNESSES[to].to_owned();
                self.after(delay, Event::Input(at, life, Input::Witness { witness, head, reply }));
            }
            Event::Look(at, to, ledger) => {
                if self.apart(at, NODE_COUNT + to) {
                    return;
                }
                let head = self.witnesses[to].0.newest(&ledger);
                let head = head.map(|head| head.note_bytes().to_vec());
                let (delay, life) = (self.delay(), self.nodes[at].life);
                let witness = WITNESSES[to].to_owned();
                self.after(delay, Event::Input(at, life, Input::WitnessHead { witness, ledger, head }));
            }
            Event::Crash(at) => {
                self.nodes[at].engine = None;
                self.nodes[at].life += 1;
                let long = 1_000 + self.below(150_000);
                self.after(long, Event::Start(at));
            }
            Event::Start(at) => self.start(at),
            Event::Wake(at, life) if self.nodes[at].life == life => {
                let clock = self.clock(at);
                let due = self.nodes[at].engine.as_ref().and_then(Engine::poll_deadline);
                if due.is_some_and(|due| due <= clock) {
                    self.input(at, Input::Tick);
                }
            }
            Event::Wake(..) => {}
            Event::Intend(at) => {
                let Some(engine) = &self.nodes[at].engine else { return };
                self.intents += 1;
                let epoch = engine.chain().epoch();
                let commit: Arc<[u8]> =
                    format!("{}{at} {}", (b'a' + self.intents as u8) as char, self.intents).into_bytes().into();
                self.input(at, Input::Submit { epoch, commit });
            }
            Event::Partition(sides) => self.sides = sides,
            Event::Govern => self.govern(),
        }
    }

    fn run(mut self) -> Outcome {
        while let Some(((at, _), event)) = self.queue.pop_first() {
            if at > END {
                break;
            }
            self.now = at;
            self.event(event);
        }
        let chains: Vec<_> = self.nodes.iter().map(|node| node.engine.as_ref().unwrap().chain()).collect();
        for (at, chain) in chains.iter().enumerate() {
            let same = (chain.ledger(), chain.size(), chain.root(), chain.epoch());
            let first = (chains[0].ledger(), chains[0].size(), chains[0].root(), chains[0].epoch());
            assert_eq!(same, first, "node {at} did not catch up");
            assert_eq!(self.nodes[at].merged, self.epochs, "node {at} lacks a commit");
        }
        assert!(self.merged_after_trouble >= NODE_COUNT, "nothing was ordered after the trouble");
        let double = |evidence: &&Evidence| matches!(evidence, Evidence::DoubleSigned(_));
        assert_eq!(self.convicted.iter().filter(double).count(), 0, "an honest witness was convicted");
        Outcome {
            wedged: self.reboot.is_some(),
            accepted: self.accepted,
            stale: self.stale,
            rejected: self.rejected,
            ledgers: chains.iter().map(|chain| chain.ledger().number()).max().unwrap(),
            premature: self.convicted.len(),
        }
    }
}

/// Runs so many seeds, and says what came of them; PUENTE_SEED and PUENTE_SEEDS choose others.
fn runs(silence: u64, split: bool, seeds: u64) -> (u64, u64, Outcome) {
    let given = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let (first, seeds) = (given("PUENTE_SEED").unwrap_or(0), given("PUENTE_SEEDS").unwrap_or(seeds));
    let (mut wedged, mut sum) = (0, Outcome::default());
    for seed in first..first + seeds {
        let outcome = std::panic::catch_unwind(|| World::new(seed, silence, split).run());
        let outcome = outcome.unwrap_or_else(|_| panic!("seed {seed}, silence {silence}"));
        wedged += u64::from(outcome.wedged);
        sum.accepted += outcome.accepted;
        sum.stale += outcome.stale;
        sum.rejected += outcome.rejected;
        sum.ledgers += outcome.ledgers;
        sum.premature += outcome.premature;
    }
    println!(
        "silence {silence} ms, split {split}, {seeds} seeds: {wedged} wedged and rebooted; {} commits accepted, {} stale, {} rejected; \
         {} ledgers; {} convictions",
        sum.accepted, sum.stale, sum.rejected, sum.ledgers, sum.premature
    );
    (seeds, wedged, sum)
}

#[test]
fn whatever_happens_one_commit_stands_per_epoch_and_work_goes_on() {
    let (seeds, wedged, _) = runs(SILENCE, false, 60);
    assert!(wedged * 20 <= seeds, "who waits for silence hardly ever contends");
}

/// A charter that lets successors act after ten seconds: conveners and successors contend all the time.
#[test]
fn contention_forks_nothing_and_work_goes_on() {
    let (seeds, _, sum) = runs(10_000, false, 12);
    assert!(u64::from(sum.ledgers) > seeds, "nobody ever took over");
}

/// Witnesses are split for good: people of both nations reboot the group, and everybody goes on from there.
#[test]
fn a_group_whose_witnesses_are_split_goes_on_after_its_reboot() {
    let (seeds, wedged, _) = runs(SILENCE, true, 6);
    assert_eq!(wedged, seeds, "the witnesses were not split");
}
