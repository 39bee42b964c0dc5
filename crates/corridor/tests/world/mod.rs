//! A federation of two nations: nodes with disks and logs, a network that loses and delays, witnesses that keep the rules.
#![allow(dead_code, unreachable_pub, missing_docs, clippy::unwrap_used, reason = "every test uses some of it")]

pub mod charter;

use std::collections::{BTreeMap, BTreeSet, BinaryHeap};
use std::sync::Arc;

use puente_audit_log::witness::{self, ClaimedSubmission, LogRule, Remembered, encode_submission};
use puente_audit_log::{Ed25519Signer, KeyKind, SignedCheckpoint, Signer};
use puente_charter::Charter;
use puente_corridor::{Alarm, Corridors, Effect, Fault, GroupEvent, Input, Message, PREFIXES, Setup, Tuning};
use puente_group::{Identity, LeafSigner, SignFailed, SoftKey, Trust};
use puente_ledger::{GroupId, Keys, LedgerOrigin, Record, Rules, WitnessReply};
use puente_model::{Digest, Millis, NodeUri, Secret32, TreeSize};
use rand_chacha::ChaCha20Rng;
use rand_core::{RngCore as _, SeedableRng as _};
use rcgen::{
    BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose, SanType,
};

pub use self::charter::Plan;

/// 2027-01-15.
pub const NOW: Millis = Millis(1_800_000_000_000);
pub const WITNESSES: [&str; 6] = ["mx1", "mx2", "mx3", "us1", "us2", "us3"];

pub fn node(name: &str) -> NodeUri {
    format!("puente://{name}").parse().unwrap()
}

pub fn otay() -> GroupId {
    "frontera/otay".parse().unwrap()
}

pub fn seed(node: &NodeUri) -> Secret32 {
    Secret32::new(Digest::of(node.as_str().as_bytes()).0)
}

pub fn witness_signer(name: &str) -> Ed25519Signer {
    Ed25519Signer::new(name, KeyKind::CosignatureV1, &Secret32::new(Digest::of(name.as_bytes()).0)).unwrap()
}

/// The nations' authorities.
pub struct Nations(BTreeMap<String, (Vec<u8>, Issuer<'static, KeyPair>)>);

impl Nations {
    pub fn new() -> Self {
        let make = |name: &str| {
            let mut params = CertificateParams::new(vec![]).unwrap();
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
            params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
            let key = KeyPair::generate().unwrap();
            let der = params.self_signed(&key).unwrap().der().to_vec();
            (name.to_owned(), (der, Issuer::new(params, key)))
        };
        Self(["mx", "us"].map(make).into_iter().collect())
    }

    pub fn root(&self, nation: &str) -> &[u8] {
        &self.0[nation].0
    }

    /// A certificate of the node's own nation, and its key in PKCS #8.
    pub fn issue(&self, node: &NodeUri) -> (Vec<u8>, Vec<u8>) {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec![]).unwrap();
        params.subject_alt_names = vec![SanType::URI(node.as_str().try_into().unwrap())];
        params.not_before = rcgen::date_time_ymd(2026, 1, 1);
        params.not_after = rcgen::date_time_ymd(2028, 1, 1);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        let issuer = &self.0[node.jurisdiction().as_str()].1;
        (params.signed_by(&key, issuer).unwrap().der().to_vec(), key.serialize_der())
    }
}

struct LogKey(Secret32);

impl Keys for LogKey {
    fn signer(&self, ledger: &LedgerOrigin) -> Option<Box<dyn Signer + Send>> {
        Some(Box::new(Ed25519Signer::new(&ledger.to_string(), KeyKind::Ed25519, &self.0).unwrap()))
    }
}

struct Soft(SoftKey);

impl LeafSigner for Soft {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, SignFailed> {
        self.0.sign(message)
    }
}

pub struct TestWitness {
    signer: Ed25519Signer,
    core: witness::Witness,
    remembered: BTreeMap<String, Remembered>,
    pub up: bool,
}

impl TestWitness {
    fn new(name: &str) -> Self {
        let signer = witness_signer(name);
        let core = witness::Witness::new(signer.verifier().clone()).unwrap();
        Self { signer, core, remembered: BTreeMap::new(), up: true }
    }

    fn add(
        &mut self,
        now: Millis,
        rule: &LogRule,
        old: TreeSize,
        proof: &[Digest],
        head: &SignedCheckpoint,
    ) -> WitnessReply {
        let submission = ClaimedSubmission::parse(&encode_submission(old, proof, head).unwrap()).unwrap();
        match self.core.submit(now, &submission, Some(rule), self.remembered.get(head.origin())) {
            Ok(advance) => {
                let stored = advance.persist(|_| Ok::<(), ()>(())).unwrap();
                let line = stored.cosign(&self.signer).unwrap();
                self.remembered.insert(head.origin().to_owned(), stored);
                WitnessReply::Cosigned(vec![line])
            }
            Err(witness::Refusal::Stale { size }) => WitnessReply::Conflict(size),
            Err(_) => WitnessReply::Refused,
        }
    }
}

/// A node: what it kept outlives its process.
pub struct Node {
    pub uri: NodeUri,
    pub identity: Identity,
    pub charters: Vec<Arc<Charter>>,
    pub disk: BTreeMap<Vec<u8>, Vec<u8>>,
    /// Its own log, of groups alone.
    pub log: Vec<(GroupId, GroupEvent)>,
    pub corridors: Option<Corridors>,
    /// Counts its processes.
    pub life: u32,
    pub heard: Vec<(GroupId, NodeUri, Vec<u8>)>,
    /// How often it asked a node for entries of the order.
    pub wanted: BTreeMap<GroupId, u64>,
    /// How often it asked a witness for something.
    pub asked: BTreeMap<GroupId, u64>,
    pub alarms: Vec<Alarm>,
    pub faults: Vec<(GroupId, Option<NodeUri>, Fault)>,
    /// The Welcomes that it was sent to the corridor.
    pub welcomes: Vec<(NodeUri, Message)>,
}

enum Event {
    Input(usize, u32, Input),
    /// A message on its way, as bytes.
    Deliver {
        to: usize,
        from: NodeUri,
        group: GroupId,
        bytes: Vec<u8>,
    },
    Written {
        at: usize,
        life: u32,
        ticket: u64,
        group: GroupId,
        puts: Vec<puente_corridor::Put>,
        event: Option<GroupEvent>,
    },
    Submit {
        at: usize,
        life: u32,
        group: GroupId,
        witness: String,
        old: TreeSize,
        proof: Vec<Digest>,
        head: SignedCheckpoint,
    },
    Read {
        at: usize,
        life: u32,
        group: GroupId,
        witness: String,
        ledger: LedgerOrigin,
    },
}

struct Timed(u64, u64, Event);

impl PartialEq for Timed {
    fn eq(&self, other: &Self) -> bool {
        (self.0, self.1) == (other.0, other.1)
    }
}
impl Eq for Timed {}
impl PartialOrd for Timed {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Timed {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (other.0, other.1).cmp(&(self.0, self.1))
    }
}

pub struct World {
    pub nations: Nations,
    pub plan: Plan,
    pub now: u64,
    pub nodes: Vec<Node>,
    pub witnesses: BTreeMap<String, TestWitness>,
    /// Nodes that cannot reach anybody.
    pub cut: BTreeSet<usize>,
    pub tuning: Tuning,
    /// Of a thousand messages, how many are lost.
    pub loss: u64,
    events: BinaryHeap<Timed>,
    count: u64,
    random: ChaCha20Rng,
}

impl World {
    /// A federation of these nodes, of which the first `inside` belong into the corridor.
    pub fn new(names: &[&str], inside: usize, random: u64) -> Self {
        let nations = Nations::new();
        let nodes: Vec<NodeUri> = names.iter().map(|name| node(name)).collect();
        let plan = Plan { corridor: nodes[..inside].to_vec(), nodes: nodes.clone(), suspended: BTreeSet::new() };
        let charter = charter::charter(&nations, &plan);
        let trust = Trust::of(&charter).unwrap();
        let nodes = nodes.into_iter().map(|uri| {
            let (certificate, key) = nations.issue(&uri);
            let signer = Arc::new(Soft(SoftKey::from_pkcs8(&key).unwrap()));
            let identity = Identity::new(vec![certificate], signer, &trust, NOW).unwrap();
            Node {
                uri,
                identity,
                charters: vec![Arc::clone(&charter)],
                disk: BTreeMap::new(),
                log: Vec::new(),
                corridors: None,
                life: 0,
                heard: Vec::new(),
                wanted: BTreeMap::new(),
                asked: BTreeMap::new(),
                alarms: Vec::new(),
                faults: Vec::new(),
                welcomes: Vec::new(),
            }
        });
        let mut world = Self {
            nodes: nodes.collect(),
            nations,
            plan,
            now: NOW.0,
            witnesses: WITNESSES.iter().map(|name| ((*name).to_owned(), TestWitness::new(name))).collect(),
            cut: BTreeSet::new(),
            tuning: Tuning::default(),
            loss: 0,
            events: BinaryHeap::new(),
            count: 0,
            random: ChaCha20Rng::seed_from_u64(random),
        };
        for at in 0..world.nodes.len() {
            world.start(at);
        }
        world
    }

    pub fn below(&mut self, n: u64) -> u64 {
        self.random.next_u64() % n
    }

    fn after(&mut self, delay: u64, event: Event) {
        self.count += 1;
        self.events.push(Timed(self.now + delay, self.count, event));
    }

    fn position(&self, uri: &NodeUri) -> Option<usize> {
        self.nodes.iter().position(|node| node.uri == *uri)
    }

    pub fn apart(&self, one: usize, other: usize) -> bool {
        self.cut.contains(&one) || self.cut.contains(&other)
    }

    /// A node's process starts from its disk.
    pub fn start(&mut self, at: usize) {
        let random = self.random.next_u64();
        let node = &mut self.nodes[at];
        node.life += 1;
        let pairs = node.disk.iter().filter(|(key, _)| PREFIXES.iter().any(|prefix| key.starts_with(prefix)));
        let pairs: Vec<_> = pairs.map(|(key, value)| (key.clone(), value.clone())).collect();
        let setup = Setup {
            identity: node.identity.clone(),
            keys: Arc::new(LogKey(seed(&node.uri))),
            charters: node.charters.clone(),
            rng: Box::new(ChaCha20Rng::seed_from_u64(random)),
            tuning: self.tuning,
            now: Millis(self.now),
        };
        node.corridors = Some(Corridors::open(setup, pairs).unwrap());
        self.drain(at);
        for other in 0..self.nodes.len() {
            if other != at && self.nodes[other].corridors.is_some() && !self.apart(at, other) {
                self.meet(at, other);
            }
        }
    }

    fn meet(&mut self, one: usize, other: usize) {
        for (at, with) in [(one, other), (other, one)] {
            let uri = self.nodes[with].uri.clone();
            self.input(at, Input::Reached(uri));
        }
    }

    fn part(&mut self, one: usize, other: usize) {
        for (at, with) in [(one, other), (other, one)] {
            let uri = self.nodes[with].uri.clone();
            self.input(at, Input::Lost(uri));
        }
    }

    /// Its process dies: what was not durable is gone.
    pub fn crash(&mut self, at: usize) {
        self.nodes[at].corridors = None;
        for other in 0..self.nodes.len() {
            if other != at {
                let uri = self.nodes[at].uri.clone();
                self.input(other, Input::Lost(uri));
            }
        }
    }

    /// It reaches nobody from now on.
    pub fn isolate(&mut self, at: usize) {
        self.cut.insert(at);
        for other in 0..self.nodes.len() {
            if other != at {
                self.part(at, other);
            }
        }
    }

    /// It reaches everybody again.
    pub fn reconnect(&mut self, at: usize) {
        self.cut.remove(&at);
        for other in 0..self.nodes.len() {
            if other != at && !self.apart(at, other) && self.nodes[other].corridors.is_some() {
                self.meet(at, other);
            }
        }
    }

    /// A charter comes into force everywhere.
    pub fn suspend(&mut self, at: usize) {
        let uri = self.nodes[at].uri.clone();
        self.plan.suspended.insert(uri);
        let charter = charter::charter(&self.nations, &self.plan);
        for at in 0..self.nodes.len() {
            self.nodes[at].charters.push(Arc::clone(&charter));
            self.input(at, Input::Charter(Arc::clone(&charter)));
        }
    }

    pub fn input(&mut self, at: usize, input: Input) {
        let now = Millis(self.now);
        if let Some(corridors) = &mut self.nodes[at].corridors {
            corridors.handle(now, input);
            self.drain(at);
        }
    }

    pub fn say(&mut self, at: usize, group: &GroupId, text: &str, until: Millis) -> puente_corridor::PostId {
        let now = Millis(self.now);
        let id = self.nodes[at].corridors.as_mut().unwrap().say(now, group, text.as_bytes(), until).unwrap();
        self.drain(at);
        id
    }

    fn drain(&mut self, at: usize) {
        let life = self.nodes[at].life;
        while let Some(effect) = self.nodes[at].corridors.as_mut().and_then(Corridors::poll_effect) {
            match effect {
                Effect::Send { to, group, message } => {
                    if matches!(message, Message::Ledger(puente_ledger::Message::Want { .. })) {
                        *self.nodes[at].wanted.entry(group.clone()).or_default() += 1;
                    }
                    let (lost, delay) = (self.below(1_000) < self.loss, 5 + self.below(40));
                    let Some(to) = self.position(&to).filter(|_| !lost) else { continue };
                    let from = self.nodes[at].uri.clone();
                    self.after(delay, Event::Deliver { to, from, group, bytes: message.encode() });
                }
                Effect::Write { ticket, group, puts, event } => {
                    // In order: every write takes as long.
                    self.after(3, Event::Written { at, life, ticket, group, puts, event });
                }
                Effect::Submit { group, witness, old, proof, head } => {
                    *self.nodes[at].asked.entry(group.clone()).or_default() += 1;
                    let delay = 5 + self.below(40);
                    self.after(delay, Event::Submit { at, life, group, witness, old, proof, head });
                }
                Effect::Read { group, witness, ledger } => {
                    *self.nodes[at].asked.entry(group.clone()).or_default() += 1;
                    let delay = 5 + self.below(40);
                    self.after(delay, Event::Read { at, life, group, witness, ledger });
                }
                Effect::Opened(opened) => {
                    self.nodes[at].heard.push((opened.group, opened.from, opened.content.to_vec()));
                }
                Effect::Members { .. } => {}
                Effect::Alarm(alarm) => self.nodes[at].alarms.push(alarm),
                Effect::Reached { .. } | Effect::Relay { .. } => {}
                Effect::Fault { group, from, fault } => self.nodes[at].faults.push((group, from, fault)),
            }
        }
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Input(at, life, input) => {
                if self.nodes[at].life == life {
                    self.input(at, input);
                }
            }
            Event::Deliver { to, from, group, bytes } => {
                let Some(sender) = self.position(&from) else { return };
                if !self.apart(sender, to) {
                    let message = Message::decode(&bytes).unwrap();
                    assert_eq!(message.encode(), bytes);
                    if group == otay() && matches!(message, Message::Welcome(_)) {
                        self.nodes[to].welcomes.push((from.clone(), message.clone()));
                    }
                    self.input(to, Input::Message { from, group, message });
                }
            }
            Event::Written { at, life, ticket, group, puts, event } => {
                let node = &mut self.nodes[at];
                if node.life != life || node.corridors.is_none() {
                    return;
                }
                for (key, value) in puts {
                    match value {
                        Some(value) => drop(node.disk.insert(key, value)),
                        None => drop(node.disk.remove(&key)),
                    }
                }
                let leaf = event.map(|event| {
                    let leaf = Digest::of(format!("{} {} {event:?}", node.uri, node.log.len()).as_bytes());
                    node.log.push((group, event));
                    leaf
                });
                self.input(at, Input::Written { ticket, leaf });
            }
            Event::Submit { at, life, group, witness, old, proof, head } => {
                if self.cut.contains(&at) {
                    return;
                }
                let Some(rule) = self.rule(head.origin()) else { return };
                let now = Millis(self.now);
                let Some(of) = self.witnesses.get_mut(&witness).filter(|of| of.up) else { return };
                let reply = of.add(now, &rule, old, &proof, &head);
                let delay = 5 + self.below(40);
                self.after(delay, Event::Input(at, life, Input::Witness { group, witness, head, reply }));
            }
            Event::Read { at, life, group, witness, ledger } => {
                let Some(of) = self.witnesses.get(&witness).filter(|of| of.up && !self.cut.contains(&at)) else {
                    return;
                };
                let newest = of.remembered.get(&ledger.to_string());
                let head = newest.map(|head| head.cosigned(&of.signer).unwrap().note_bytes().to_vec());
                let delay = 5 + self.below(40);
                self.after(delay, Event::Input(at, life, Input::WitnessHead { group, witness, ledger, head }));
            }
        }
    }

    /// What a witness's operator configured: the ledgers of the charter's groups.
    fn rule(&self, origin: &str) -> Option<LogRule> {
        let ledger: LedgerOrigin = origin.parse().ok()?;
        let charter = self.nodes[0].charters.last()?;
        let rules: Rules = puente_corridor::rules(charter, ledger.group()).ok()?;
        let keys = rules.keys(&ledger).into_iter().map(|(_, key)| key).collect();
        Some(LogRule::new(origin, keys).ok()?.first_use(true))
    }

    /// Lets time pass.
    pub fn run(&mut self, millis: u64) {
        let end = self.now + millis;
        loop {
            let timer = self.nodes.iter().enumerate();
            let timer = timer.filter_map(|(at, node)| Some((node.corridors.as_ref()?.poll_deadline()?.0, at))).min();
            let event = self.events.peek().map(|timed| timed.0);
            match (event, timer) {
                (Some(due), other) if due <= end && other.is_none_or(|(timer, _)| due <= timer) => {
                    let Some(Timed(due, _, event)) = self.events.pop() else { return };
                    self.now = self.now.max(due);
                    self.happen(event);
                }
                (_, Some((due, at))) if due <= end => {
                    // A deadline that does not move on would stop time.
                    self.now = self.now.max(due).max(self.now + u64::from(due <= self.now));
                    self.input(at, Input::Tick);
                }
                _ => {
                    self.now = end;
                    return;
                }
            }
        }
    }

    pub fn group(&self, at: usize) -> Option<&puente_group::Group> {
        self.nodes[at].corridors.as_ref()?.group(&otay())
    }

    /// The records that a node keeps of the corridor's order.
    pub fn records(&self, at: usize) -> Vec<Record> {
        let order = self.nodes[at].disk.iter().filter(|(key, _)| key.starts_with(b"Gfrontera/otay\0l"));
        order.map(|(_, value)| Record::decode(value).unwrap()).collect()
    }

    /// These are in the corridor, all of them in one epoch with the same secrets, and nobody else is.
    pub fn agree(&self, inside: &[usize]) -> u64 {
        let first = self.group(inside[0]).unwrap_or_else(|| panic!("{} is not in it", self.nodes[inside[0]].uri));
        let leaf = Digest::of(b"a QUERY");
        let members: BTreeSet<&NodeUri> = inside.iter().map(|at| &self.nodes[*at].uri).collect();
        for at in inside {
            let group = self.group(*at).unwrap_or_else(|| panic!("{} is not in it", self.nodes[*at].uri));
            assert_eq!(group.members().collect::<BTreeSet<_>>(), members, "{}", self.nodes[*at].uri);
            assert_eq!((group.epoch(), group.epoch_hash()), (first.epoch(), first.epoch_hash()));
            assert_eq!(group.psk(&leaf).unwrap().expose(), first.psk(&leaf).unwrap().expose());
        }
        first.epoch()
    }

    /// What each node's log says of every epoch is the same at all of them.
    pub fn logs_agree(&self) {
        let mut known = BTreeMap::new();
        for node in &self.nodes {
            for (group, event) in &node.log {
                if let GroupEvent::Epoch(began) = event {
                    let first = known.entry((group.clone(), began.epoch)).or_insert_with(|| began.clone());
                    assert_eq!(first, began, "{}", node.uri);
                }
            }
        }
    }
}
