//! Many nodes, one thread, one seed, over the real engine.

pub mod audit;
pub mod check;
mod describe;
pub mod disk;
mod ending;
pub mod fates;
pub mod forger;
pub mod net;
pub mod plan;
mod promises;
mod questions;
pub mod seeds;
pub mod server;
mod wishes;
pub mod world;

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::{Arc, Mutex};

use puente_audit_log::{ClaimedReceipt, leaf_hash};
use puente_charter::{Charter, ClaimedPart};
use puente_exchange::api::{
    Alarm, Batch, Conclusion, ConnectionId, Draft, Effect, Input, LocalEvent, Rules, StreamId, Ticket,
};
use puente_exchange::{Appeal, Engine, MINOR, OpenError, Setup, Tuning};
use puente_model::{Digest, EventKind, Millis, Mode, NodeUri};
use puente_wire::fault::FaultCode;
use puente_wire::{decode_frame, proto};
use rand_chacha::ChaCha20Rng;
use rand_core::{RngCore, SeedableRng};

pub use describe::describe;
use disk::{Disk, Shared};
pub use ending::Ending;
use ending::ending;
use net::{Conn, End, StreamKey};
pub use questions::{barred_question, core_question, hit_question};
use world::{START, World, uri};

/// What the network and the disks do.
#[derive(Debug, Clone)]
pub struct Weather {
    /// Milliseconds, from and to.
    pub delay: (u64, u64),
    pub dial: (u64, u64),
    pub write: (u64, u64),
    pub lookup: (u64, u64),
    /// Frames that arrive twice, in percent.
    pub duplicates: u32,
}

impl Weather {
    pub const CALM: Self = Self { delay: (5, 20), dial: (5, 20), write: (1, 3), lookup: (1, 3), duplicates: 0 };
}

enum Event {
    Arrive { conn: usize, to: usize, key: StreamKey, bytes: Vec<u8> },
    Lost { conn: usize, side: usize },
    Reset { conn: usize, to: usize, key: StreamKey },
    Dialled { from: usize, run: u32, to: NodeUri },
    Written { node: usize, run: u32 },
    Found { node: usize, run: u32, lookup: u64, records: Result<Vec<Vec<u8>>, String> },
    Kept { node: usize, run: u32, charter: Arc<Charter> },
    Sought { node: usize, run: u32, witness: String, origin: String, head: Result<Option<Vec<u8>>, String> },
    Submitted { node: usize, run: u32, submission: Digest, witness: String, answer: Result<(u16, Vec<u8>), String> },
    Wake { node: usize, run: u32 },
}

pub struct Node {
    pub engine: Option<Engine>,
    pub run: u32,
    pub disk: Arc<Mutex<Disk>>,
    /// The charter folder, if it is not the one that the node began with.
    pub charter: Option<Arc<Charter>>,
    /// Every charter that it adopted since it began.
    pub charters: Vec<Arc<Charter>>,
    /// Whom the node says that it keeps out.
    pub barred: BTreeMap<NodeUri, String>,
    pub records: Vec<world::Stored>,
    /// What answers in training.
    pub invented: Vec<world::Stored>,
    pub skew: i64,
    pub drift_ppm: i64,
    pub paused_until: u64,
    /// The disk accepts nothing more.
    pub disk_broken: bool,
    /// The record store cannot be read.
    pub records_broken: bool,
    /// Answers that found records, by the name of the match key.
    pub matched: BTreeMap<String, u64>,
    in_flight: Option<Batch>,
    conns: BTreeMap<ConnectionId, (usize, usize)>,
    next_conn: u64,
    wake: u64,
    pub endings: BTreeMap<Ticket, Ending>,
    /// Why questions were refused, in words.
    pub words: BTreeMap<Ticket, puente_wire::Explanation>,
    pub alarms: Vec<Alarm>,
    pub dials: bool,
    /// Its disk comes from a backup.
    pub restored: bool,
    /// Place of its log's final entry: it has left.
    pub left: Option<u64>,
    /// The newest head that the engine gave out as cosigned.
    pub cosigned: Option<Vec<u8>>,
    /// It has a key to cosign with.
    pub cosigns: bool,
}

/// A frame that a node sent.
#[derive(Debug, Clone)]
pub struct Sent {
    pub from: usize,
    pub to: usize,
    pub bytes: Vec<u8>,
}

pub struct Sim {
    pub world: Arc<World>,
    pub rng: ChaCha20Rng,
    /// Milliseconds since [`START`].
    pub now: u64,
    pub nodes: Vec<Node>,
    pub conns: Vec<Conn>,
    pub weather: Weather,
    pub tuning: Tuning,
    /// Minor versions of the protocol that nodes speak; those beyond its end speak the newest.
    pub minors: Vec<u32>,
    /// Directions that carry nothing: from, to.
    pub cut: BTreeSet<(usize, usize)>,
    /// Frames that never arrive.
    pub lost: Option<fn(&Sent) -> bool>,
    /// Frames, if they are to be kept.
    pub sent: Option<Vec<Sent>>,
    /// Frames that reached a node, if they are to be kept.
    pub received: Option<Vec<Sent>>,
    queue: BTreeMap<(u64, u64), Event>,
    order: u64,
    pub steps: u64,
    pub trace: VecDeque<String>,
    next_ticket: u64,
    seed: u64,
    /// The witness that is no node.
    pub server: server::Server,
    /// An honest run: an alarm is a failure.
    pub alarms_fail: bool,
    /// A node that comes back from an old backup: what it says of its own log then is no failure.
    pub losing: Option<usize>,
    /// Crash a node when it has made this many durable steps: node, step, is the step durable.
    pub crash_at: Option<(usize, u64, bool)>,
    pub durable_steps: HashMap<usize, u64>,
}

impl Sim {
    pub fn new(seed: u64, nodes: usize) -> Self {
        Self::of(World::ordinary(), seed, nodes)
    }

    pub fn of(world: Arc<World>, seed: u64, nodes: usize) -> Self {
        Self::speaking(world, seed, nodes, &[])
    }

    pub fn speaking(world: Arc<World>, seed: u64, nodes: usize, minors: &[u32]) -> Self {
        let mut sim = Self {
            world,
            rng: ChaCha20Rng::seed_from_u64(seed),
            now: 0,
            nodes: Vec::new(),
            conns: Vec::new(),
            weather: Weather::CALM,
            tuning: Tuning::default(),
            minors: minors.to_vec(),
            cut: BTreeSet::new(),
            lost: None,
            sent: None,
            received: None,
            queue: BTreeMap::new(),
            order: 0,
            steps: 0,
            trace: VecDeque::new(),
            next_ticket: 1,
            seed,
            server: server::Server::default(),
            alarms_fail: true,
            losing: None,
            crash_at: None,
            durable_steps: HashMap::new(),
        };
        for index in 0..nodes {
            sim.nodes.push(Node {
                engine: None,
                run: 0,
                disk: Arc::new(Mutex::new(Disk::new(index))),
                charter: None,
                charters: Vec::new(),
                barred: BTreeMap::new(),
                records: world::records(),
                invented: Vec::new(),
                skew: 0,
                drift_ppm: 0,
                paused_until: 0,
                disk_broken: false,
                records_broken: false,
                matched: BTreeMap::new(),
                in_flight: None,
                conns: BTreeMap::new(),
                next_conn: 1,
                wake: u64::MAX,
                endings: BTreeMap::new(),
                words: BTreeMap::new(),
                alarms: Vec::new(),
                dials: true,
                restored: false,
                left: None,
                cosigned: None,
                cosigns: true,
            });
        }
        for index in 0..nodes {
            let suspended = sim.world.charter.member(&uri(index)).is_none_or(|m| !m.is_active());
            if !suspended {
                sim.start(index);
            }
        }
        sim
    }

    pub fn below(&mut self, n: u64) -> u64 {
        self.rng.next_u64() % n.max(1)
    }

    fn within(&mut self, (from, to): (u64, u64)) -> u64 {
        from + self.below(to - from + 1)
    }

    pub fn chance(&mut self, percent: u32) -> bool {
        self.below(100) < u64::from(percent)
    }

    /// The node's own clock.
    pub fn clock(&self, node: usize) -> Millis {
        let node = &self.nodes[node];
        let drift = (self.now as i64) * node.drift_ppm / 1_000_000;
        Millis((START.0 as i64 + self.now as i64 + drift + node.skew) as u64)
    }

    fn push(&mut self, at: u64, event: Event) {
        self.order += 1;
        self.queue.insert((at, self.order), event);
    }

    pub fn note(&mut self, text: impl FnOnce() -> String) {
        if self.trace.len() >= 400 {
            self.trace.remove(150);
        }
        let line = format!("{:>10} {}", self.now, text());
        self.trace.push_back(line);
    }

    // ---- nodes

    pub fn start(&mut self, node: usize) {
        let now = self.clock(node);
        let mut seed = [0; 32];
        // Each run of each node has its own randomness, whatever the others do.
        let run = self.nodes[node].run + 1;
        seed[..8].copy_from_slice(&self.seed.to_be_bytes());
        seed[8] = node as u8;
        seed[9..13].copy_from_slice(&run.to_be_bytes());
        let shared = Shared(Arc::clone(&self.nodes[node].disk));
        let tree = shared.0.lock().unwrap().open();
        let log = shared.0.lock().unwrap().log();
        let engine = Engine::new(
            Setup {
                node: uri(node),
                log,
                charter: self.nodes[node].charter.clone().unwrap_or_else(|| Arc::clone(&self.world.charter)),
                catalogue: Arc::clone(world::catalogue()),
                policy: Arc::clone(&self.world.policies[node]),
                signer: Box::new(world::signer_of(node, log)),
                tree,
                tiles: Box::new(shared.clone()),
                store: Box::new(shared),
                seed,
                tuning: Tuning { minor: self.minors.get(node).copied().unwrap_or(MINOR), ..self.tuning },
                restored: self.nodes[node].restored,
            },
            now,
        );
        let engine = match engine {
            // Its final entry was durable before the crash.
            Err(OpenError::Left(index)) => {
                self.note(|| format!("node {node} has left"));
                self.nodes[node].left = Some(index);
                return;
            }
            engine => engine.unwrap(),
        };
        let engine = engine.with_appeal(Appeal {
            en: "write to the oversight office".to_owned(),
            es: "escriba al órgano de control".to_owned(),
        });
        let engine = match self.nodes[node].cosigns {
            true => engine.with_cosigner(Box::new(world::cosigner(Some(node)))),
            false => engine,
        };
        let engine = if self.world.grouped {
            let mut charters = vec![Arc::clone(&self.world.charter)];
            charters.extend(self.nodes[node].charters.iter().cloned());
            let setup = puente_corridor::Setup {
                identity: world::Papers::made().identity(node, charters.last().unwrap()),
                keys: Arc::new(world::LedgerKeys(node)),
                charters,
                rng: Box::new(ChaCha20Rng::from_seed(seed)),
                tuning: puente_corridor::Tuning::default(),
                now,
            };
            engine.with_groups(setup).unwrap()
        } else {
            engine
        };
        let it = &mut self.nodes[node];
        it.engine = Some(engine);
        it.run = run;
        it.in_flight = None;
        it.wake = u64::MAX;
        self.note(|| format!("start {node} run {run}"));
        self.pump(node);
    }

    /// Power loss. A batch on its way is lost (or torn: the same), or durable without anyone knowing.
    pub fn crash(&mut self, node: usize, in_flight_survives: bool) {
        self.note(|| format!("crash {node} survives={in_flight_survives}"));
        let it = &mut self.nodes[node];
        it.engine = None;
        if let Some(batch) = it.in_flight.take()
            && in_flight_survives
        {
            it.disk.lock().unwrap().apply(batch);
        }
        let conns: Vec<_> = std::mem::take(&mut it.conns).into_values().collect();
        for (conn, _) in conns {
            self.drop_conn(conn);
        }
    }

    /// The connection is gone with everything on it; each side learns of it in its own time.
    pub fn drop_conn(&mut self, conn: usize) {
        if !std::mem::replace(&mut self.conns[conn].up, false) {
            return;
        }
        for side in 0..2 {
            let at = self.now + self.within((0, 3_000));
            self.push(at, Event::Lost { conn, side });
        }
    }

    pub fn input(&mut self, node: usize, input: Input) {
        let now = self.clock(node);
        if let Some(engine) = &mut self.nodes[node].engine {
            engine.handle(now, input);
            self.pump(node);
        }
    }

    fn pump(&mut self, node: usize) {
        let mut rounds = 0;
        loop {
            let now = self.clock(node);
            let Some(engine) = &mut self.nodes[node].engine else { return };
            let Some(effect) = engine.poll_effect(now) else { break };
            rounds += 1;
            assert!(rounds < 100_000, "node {node} never comes to rest");
            self.effect(node, effect);
        }
        let now = self.clock(node);
        let Some(engine) = &self.nodes[node].engine else { return };
        if let Some(due) = engine.poll_deadline() {
            let at = self.now + due.since(now).max(1);
            let it = &mut self.nodes[node];
            if it.wake <= self.now || at < it.wake {
                it.wake = at;
                let run = it.run;
                self.push(at, Event::Wake { node, run });
            }
        }
    }

    fn effect(&mut self, node: usize, effect: Effect) {
        let run = self.nodes[node].run;
        match effect {
            Effect::Send { connection, stream, bytes, finish: _ } => self.send(node, connection, stream, bytes),
            Effect::Reset { connection, stream } => {
                if let Some((conn, side)) = self.nodes[node].conns.get(&connection).copied() {
                    let key = self.conns[conn].key(side, stream);
                    self.note(|| format!("node {node} resets {stream:?}"));
                    self.reset_half(conn, side, key);
                }
            }
            Effect::Matched { key } => *self.nodes[node].matched.entry(key).or_default() += 1,
            Effect::Write(batch) => {
                assert!(self.nodes[node].in_flight.is_none(), "one batch at a time");
                self.nodes[node].in_flight = Some(batch);
                let at = self.now + self.within(self.weather.write);
                self.push(at, Event::Written { node, run });
            }
            Effect::Lookup { lookup, record_type, keys, limit, mode } => {
                let of_mode = match mode {
                    Mode::Open => &self.nodes[node].records,
                    Mode::Training => &self.nodes[node].invented,
                };
                let records = of_mode
                    .iter()
                    .filter(|r| r.record_type == record_type && r.keys.iter().any(|k| keys.contains(k)))
                    .take(limit)
                    .map(|r| r.bytes.clone())
                    .collect();
                let broken = self.nodes[node].records_broken;
                let records = if broken { Err("disk I/O error".to_owned()) } else { Ok(records) };
                let at = self.now + self.within(self.weather.lookup);
                self.push(at, Event::Found { node, run, lookup, records });
            }
            Effect::Conclude { ticket, conclusion } => {
                if let Conclusion::Refused { explanation, .. } = conclusion.as_ref() {
                    self.nodes[node].words.insert(ticket, explanation.clone());
                }
                let ending = ending(*conclusion);
                self.note(|| format!("node {node} {ticket:?} {ending:?}"));
                self.check_ending(node, &ending);
                let earlier = self.nodes[node].endings.insert(ticket, ending);
                assert!(earlier.is_none(), "{ticket:?} of node {node} was concluded twice");
            }
            Effect::Connect { peer } => {
                let at = self.now + self.within(self.weather.dial);
                self.push(at, Event::Dialled { from: node, run, to: peer });
            }
            Effect::Close { connection, reason } => {
                self.note(|| format!("node {node} closes {connection:?}: {reason}"));
                if let Some((conn, side)) = self.nodes[node].conns.get(&connection).copied() {
                    // Frames sent before go out first.
                    let drained = self.conns[conn].drained().max(self.now) + 1;
                    self.push(drained, Event::Lost { conn, side: 1 - side });
                    self.push(drained, Event::Lost { conn, side });
                }
            }
            Effect::Adopt { charter, parts } => {
                self.note(|| format!("node {node} keeps {} part(s)", parts.len()));
                let at = self.now + self.within(self.weather.write);
                self.push(at, Event::Kept { node, run, charter });
            }
            Effect::InForce(rules) => {
                self.note(|| format!("node {node} is under {}", rules.charter.vector()));
                self.nodes[node].barred = rules.barred;
            }
            Effect::Submit { submission, witness, url, body } => {
                self.note(|| format!("node {node} submits to {witness} at {url}"));
                let answer = self.server.submit(self.clock(node), &self.world.charter, &body);
                let at = self.now + self.within(self.weather.delay);
                self.push(at, Event::Submitted { node, run, submission, witness, answer });
            }
            Effect::Seek { witness, origin, .. } => {
                let head = self.server.newest(&origin);
                let at = self.now + self.within(self.weather.delay);
                self.push(at, Event::Sought { node, run, witness, origin, head });
            }
            Effect::Cosigned { checkpoint } => {
                self.note(|| format!("node {node} is cosigned"));
                self.nodes[node].cosigned = Some(checkpoint);
            }
            Effect::Alarm(alarm) => {
                self.note(|| format!("node {node} ALARM {alarm:?}"));
                let own = matches!(alarm, Alarm::OwnLogBehind { .. } | Alarm::OwnLogAgrees { .. });
                // A line that is cut or slow for longer than parts of a charter are waited for.
                let slow = matches!(&alarm, Alarm::CharterRefused { why, .. } if why.ends_with("in time"));
                let expected = slow
                    || own && self.losing == Some(node)
                    || matches!(alarm, Alarm::LogUnavailable) && self.nodes[node].disk_broken;
                assert!(!self.alarms_fail || expected, "node {node} raised an alarm in an honest run: {alarm:?}");
                self.nodes[node].alarms.push(alarm);
            }
        }
    }

    fn send(&mut self, node: usize, connection: ConnectionId, stream: StreamId, bytes: Vec<u8>) {
        let Some((conn, side)) = self.nodes[node].conns.get(&connection).copied() else { return };
        let to = self.conns[conn].ends[1 - side].node;
        let frame = bytes[4..].to_vec();
        self.check_sent(node, to, &frame);
        let lost = self.lost.is_some_and(|lost| lost(&Sent { from: node, to, bytes: frame.clone() }));
        if let Some(sent) = &mut self.sent {
            sent.push(Sent { from: node, to, bytes: frame.clone() });
        }
        if !self.conns[conn].up || lost {
            return;
        }
        let key = self.conns[conn].key(side, stream);
        if self.conns[conn].silent.contains(&(key, side)) {
            return;
        }
        let wish = self.now + self.within(self.weather.delay);
        let twice = self.chance(self.weather.duplicates);
        let at = self.conns[conn].arrival(key, side, wish);
        if twice {
            self.push(at, Event::Arrive { conn, to: 1 - side, key, bytes: frame.clone() });
        }
        self.push(at, Event::Arrive { conn, to: 1 - side, key, bytes: frame });
    }

    // ---- events

    /// Carries out the next event, if there is one until `until`.
    pub fn step(&mut self, until: u64) -> bool {
        let Some((&(at, _), _)) = self.queue.first_key_value() else { return false };
        if at > until {
            return false;
        }
        let Some(((at, _), event)) = self.queue.pop_first() else { return false };
        self.now = self.now.max(at);
        self.steps += 1;
        let target = match &event {
            Event::Arrive { conn, to, .. } => self.conns[*conn].ends[*to].node,
            Event::Lost { conn, side } => self.conns[*conn].ends[*side].node,
            Event::Reset { conn, to, .. } => self.conns[*conn].ends[*to].node,
            Event::Dialled { from, .. } => *from,
            Event::Written { node, .. }
            | Event::Found { node, .. }
            | Event::Kept { node, .. }
            | Event::Submitted { node, .. }
            | Event::Sought { node, .. }
            | Event::Wake { node, .. } => *node,
        };
        let paused = self.nodes[target].paused_until;
        if paused > self.now {
            self.push(paused, event);
            return true;
        }
        match event {
            Event::Arrive { conn, to, key, bytes } => self.arrive(conn, to, key, bytes),
            Event::Lost { conn, side } => {
                self.conns[conn].up = false;
                let end = self.conns[conn].ends[side];
                if self.nodes[end.node].run == end.run && self.nodes[end.node].conns.remove(&end.id).is_some() {
                    self.note(|| format!("node {} lost {:?}", end.node, end.id));
                    self.input(end.node, Input::Disconnected { connection: end.id });
                }
            }
            Event::Reset { conn, to, key } => self.was_reset(conn, to, key),
            Event::Dialled { from, run, to } => {
                if self.nodes[from].run == run && self.nodes[from].engine.is_some() {
                    self.dialled(from, to);
                }
            }
            Event::Written { node, run } => {
                if self.nodes[node].run == run && self.nodes[node].engine.is_some() {
                    self.written(node);
                }
            }
            Event::Found { node, run, lookup, records } => {
                if self.nodes[node].run == run {
                    self.input(node, Input::Found { lookup, records });
                }
            }
            Event::Kept { node, run, charter } => {
                if self.nodes[node].run == run && self.nodes[node].engine.is_some() {
                    self.keep(node, charter);
                }
            }
            Event::Sought { node, run, witness, origin, head } => {
                if self.nodes[node].run == run {
                    self.input(node, Input::Sought { witness, origin, head });
                }
            }
            Event::Submitted { node, run, submission, witness, answer } => {
                if self.nodes[node].run == run {
                    self.input(node, Input::Submitted { submission, witness, answer });
                }
            }
            Event::Wake { node, run } => {
                if self.nodes[node].run == run {
                    self.input(node, Input::Tick);
                }
            }
        }
        true
    }

    /// The parts are in the node's folder; a crash from here on starts under them.
    fn keep(&mut self, node: usize, charter: Arc<Charter>) {
        self.nodes[node].charter = Some(Arc::clone(&charter));
        self.nodes[node].charters.push(Arc::clone(&charter));
        let detail = charter.vector().to_string().into_bytes();
        let event = LocalEvent {
            kind: EventKind::CharterAdopted,
            record_type: String::new(),
            count: 1,
            purpose: None,
            basis: None,
            role: None,
            detail,
        };
        let rules = Rules { charter: Some(charter), policy: None, events: vec![event] };
        self.input(node, Input::Kept(rules));
    }

    fn written(&mut self, node: usize) {
        let Some(batch) = self.nodes[node].in_flight.take() else { return };
        let number = batch.number;
        if self.nodes[node].disk_broken {
            self.input(node, Input::WriteFailed { batch: number });
            return;
        }
        let step = self.durable_steps.entry(node).or_insert(0);
        *step += 1;
        let step = *step;
        if let Some((victim, at, survives)) = self.crash_at
            && victim == node
            && at == step
        {
            self.nodes[node].in_flight = Some(batch);
            self.crash(node, survives);
            self.start(node);
            return;
        }
        let size = batch.entries.len();
        self.nodes[node].disk.lock().unwrap().apply(batch);
        self.note(|| format!("node {node} batch {number} durable, {size} entries"));
        self.input(node, Input::Durable { batch: number });
    }

    fn arrive(&mut self, conn: usize, to: usize, key: StreamKey, bytes: Vec<u8>) {
        let (from, end) = (self.conns[conn].ends[1 - to], self.conns[conn].ends[to]);
        if !self.conns[conn].up
            || self.nodes[end.node].run != end.run
            || !self.nodes[end.node].conns.contains_key(&end.id)
            || self.conns[conn].reset.contains(&(key, 1 - to))
        {
            return;
        }
        if self.cut.contains(&(from.node, end.node)) {
            // QUIC sends again until the connection dies of it.
            let at = self.now + 500;
            let at = self.conns[conn].arrival(key, 1 - to, at);
            self.push(at, Event::Arrive { conn, to, key, bytes });
            if self.chance(2) {
                self.drop_conn(conn);
            }
            return;
        }
        let stream = self.conns[conn].name(to, key);
        self.note(|| {
            let what = decode_frame(&bytes).map_or_else(|e| e.to_string(), |b| describe(&b));
            format!("{} -> {} {:?} {what}", from.node, end.node, stream)
        });
        if let Some(received) = &mut self.received {
            received.push(Sent { from: from.node, to: end.node, bytes: bytes.clone() });
        }
        self.input(end.node, Input::Frame { connection: end.id, stream, bytes });
    }

    /// A side gives up its half of a stream: a reset may overtake what was sent on it.
    fn reset_half(&mut self, conn: usize, side: usize, key: StreamKey) {
        if self.conns[conn].silent.insert((key, side)) {
            let at = self.now + self.within(self.weather.delay);
            self.push(at, Event::Reset { conn, to: 1 - side, key });
        }
    }

    /// The other half of a stream was given up: so is this one, and the engine hears of it.
    fn was_reset(&mut self, conn: usize, to: usize, key: StreamKey) {
        let end = self.conns[conn].ends[to];
        self.conns[conn].reset.insert((key, 1 - to));
        if !self.conns[conn].up || self.nodes[end.node].run != end.run {
            return;
        }
        self.reset_half(conn, to, key);
        let stream = self.conns[conn].name(to, key);
        self.input(end.node, Input::StreamReset { connection: end.id, stream });
    }

    fn dialled(&mut self, from: usize, to: NodeUri) {
        let target = (0..self.nodes.len()).find(|n| uri(*n) == to);
        let reachable = target.filter(|t| {
            self.nodes[*t].engine.is_some()
                && self.nodes[from].dials
                && self.world.charter.member(&to).is_some_and(|member| !member.endpoints.is_empty())
                && !self.cut.contains(&(from, *t))
                && !self.cut.contains(&(*t, from))
        });
        match reachable {
            Some(target) => self.connect(from, target),
            None => self.input(from, Input::DialFailed { peer: to }),
        }
    }

    /// Makes a connection that stands at once.
    pub fn connect(&mut self, from: usize, to: usize) {
        let conn = self.conns.len();
        let mut ends = Vec::new();
        for (side, node) in [from, to].into_iter().enumerate() {
            let it = &mut self.nodes[node];
            let id = ConnectionId(it.next_conn);
            it.next_conn += 1;
            it.conns.insert(id, (conn, side));
            ends.push(End { node, id, run: it.run });
        }
        self.conns.push(Conn::new([ends[0], ends[1]]));
        self.note(|| format!("{from} and {to} connected"));
        self.input(from, Input::Connected { connection: ends[0].id, peer: uri(to), dialled: true });
        self.input(to, Input::Connected { connection: ends[1].id, peer: uri(from), dialled: false });
    }

    /// Runs until nothing happens any more, or until `millis` have passed.
    pub fn run(&mut self, millis: u64) {
        let until = self.now + millis;
        while self.step(until) {}
        self.now = until;
    }

    /// Runs until `done`, at most for `millis`.
    pub fn run_until(&mut self, millis: u64, done: impl Fn(&Self) -> bool) -> bool {
        let until = self.now + millis;
        while !done(self) {
            if !self.step(until) {
                self.now = until;
                return done(self);
            }
        }
        true
    }

    // ---- what people do

    pub fn story(&self) -> String {
        self.trace.iter().map(|line| format!("{line}\n")).collect()
    }
}

thread_local! {
    static QUIET: std::cell::Cell<bool> = const { std::cell::Cell::new(false) };
}

/// Runs what may panic without its words, on this thread alone.
pub fn quietly<T>(run: impl FnOnce() -> T) -> T {
    static HOOK: std::sync::Once = std::sync::Once::new();
    HOOK.call_once(|| {
        let usual = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            if !QUIET.get() {
                usual(info);
            }
        }));
    });
    QUIET.set(true);
    let result = run();
    QUIET.set(false);
    result
}

impl Drop for Sim {
    fn drop(&mut self) {
        if std::thread::panicking() && !QUIET.get() {
            eprintln!("---- PUENTE_SEED={} at {} ms, the last events:\n{}", self.seed, self.now, self.story());
        }
    }
}

impl Sim {
    /// The peer of the newest connection resets a stream that it had opened.
    pub fn reset(&mut self, nth: usize) {
        let Some(at) = self.conns.len().checked_sub(nth + 1) else { return };
        let conn = &self.conns[at];
        let (end, up) = (conn.ends[nth % 2], conn.up);
        if up && self.nodes[end.node].run == end.run {
            let stream = StreamId(1 + 2 * nth as u64);
            self.note(|| format!("node {} sees {stream:?} reset", end.node));
            self.input(end.node, Input::StreamReset { connection: end.id, stream });
        }
    }

    pub fn is_cut(&self, a: usize, b: usize) -> bool {
        self.cut.contains(&(a, b)) || self.cut.contains(&(b, a))
    }
}

impl Node {
    /// The connection made last.
    pub fn last_connection(&self) -> ConnectionId {
        ConnectionId(self.next_conn - 1)
    }
}
