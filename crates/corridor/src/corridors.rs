//! All groups of this node.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use puente_charter::Charter;
use puente_group::{Group, GroupError, Stock};
use puente_ledger::{GroupId, MessageError, Record};
use puente_model::{Digest, Millis, NodeUri, Secret32};

use crate::api::{Effect, Fault, Genesis, Input, Message, Welcome};
use crate::corridor::{Corridor, Place, Shared};
use crate::inside;
use crate::kept::{self, Kind, Named};
use crate::out::Out;
use crate::post::{Address, Post, PostId};
use crate::posting;
use crate::setup::{Setup, SharedKeys};
use crate::terms::{self, Charters, TermsError};

/// Why what is kept does not make corridors.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// A charter cannot be used.
    #[error(transparent)]
    Terms(#[from] TermsError),
    /// What is kept of a group cannot be read.
    #[error("what is kept of group '{0}' cannot be read: restore the node's store from its journal, or from a backup")]
    Kept(GroupId),
    /// A record of a group's order.
    #[error("what is kept of the order of group '{group}' cannot be read: {why}")]
    Record {
        /// Which group.
        group: GroupId,
        /// Why.
        why: MessageError,
    },
    /// The order of a group.
    #[error("the order of group '{group}' cannot go on from what is kept: {why}")]
    Order {
        /// Which group.
        group: GroupId,
        /// Why.
        why: Box<Fault>,
    },
    /// The key packages.
    #[error("this node's key packages cannot be read: {0}")]
    Stock(GroupError),
}

/// The groups of this node: deterministic but for the keys that are made, without clock, disk or network.
pub struct Corridors {
    shared: Shared,
    groups: BTreeMap<GroupId, Corridor>,
}

impl fmt::Debug for Corridors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Corridors({}, {:?})", self.shared.me, self.groups.values().collect::<Vec<_>>())
    }
}

/// What is kept of one group.
#[derive(Default)]
struct Kept {
    genesis: Option<Vec<u8>>,
    state: Vec<(Vec<u8>, Vec<u8>)>,
    records: Vec<(Vec<u8>, Vec<u8>)>,
    others: Vec<(Kind, Vec<u8>, Vec<u8>)>,
}

impl Corridors {
    /// Starts from everything that was made durable: the pairs under [`kept::PREFIXES`](crate::PREFIXES), ascending.
    ///
    /// # Errors
    /// What is kept cannot be read. A group whose own state is torn is none: it is entered anew.
    pub fn open(setup: Setup, pairs: impl IntoIterator<Item = (Vec<u8>, Vec<u8>)>) -> Result<Self, OpenError> {
        let Setup { identity, keys, charters, rng, tuning, now } = setup;
        let mut known = Charters::default();
        for charter in charters {
            known.learn(charter).map_err(TermsError::from)?;
        }
        let (mut stock, mut groups) = (Vec::new(), BTreeMap::<GroupId, Kept>::new());
        for (key, value) in pairs {
            match kept::named(&key) {
                Some(Named::Stock(rest)) => stock.push((rest.to_vec(), value)),
                Some(Named::Group(group, kind, rest)) => {
                    let kept = groups.entry(group).or_default();
                    match kind {
                        Kind::Genesis => kept.genesis = Some(value),
                        Kind::State => kept.state.push((rest.to_vec(), value)),
                        Kind::Order => kept.records.push((rest.to_vec(), value)),
                        _ => kept.others.push((kind, rest.to_vec(), value)),
                    }
                }
                None => {}
            }
        }
        let stock = Stock::load(stock).map_err(|why| OpenError::Stock(why.into()))?;
        let mut shared = Shared {
            me: identity.uri().clone(),
            identity,
            charters: known,
            stock,
            keys: SharedKeys(keys),
            reached: BTreeSet::new(),
            rosters: BTreeMap::new(),
            handed: BTreeMap::new(),
            received: BTreeMap::new(),
            apart: Vec::new(),
            tuning,
            rng,
            out: Out::default(),
            now,
        };
        let mut corridors = BTreeMap::new();
        for (name, kept) in groups {
            corridors.insert(name.clone(), restore(&mut shared, name, kept)?);
        }
        let mut this = Self { shared, groups: corridors };
        this.look_at_charter();
        let names: Vec<GroupId> = this.groups.keys().cloned().collect();
        for name in names {
            this.with(&name, |corridor, shared| {
                corridor.follow(shared);
                corridor.submit(shared);
                corridor.tick(shared);
                Ok(())
            });
        }
        Ok(this)
    }

    /// Takes one input in.
    pub fn handle(&mut self, now: Millis, input: Input) {
        self.shared.now = now;
        match input {
            Input::Message { from, group, message } => self.message(&from, &group, message),
            Input::Written { ticket, leaf } => {
                if let Some((group, then)) = self.shared.out.written(ticket) {
                    for then in then {
                        self.with(&group, |corridor, shared| {
                            corridor.then(shared, then, leaf);
                            Ok(())
                        });
                    }
                }
            }
            Input::Witness { group, witness, head, reply } => {
                let input = puente_ledger::Input::Witness { witness, head, reply };
                self.with(&group, |corridor, shared| {
                    corridor.tell_ledger(shared, input);
                    Ok(())
                });
            }
            Input::WitnessHead { group, witness, ledger, head } => {
                self.with(&group, |corridor, shared| match &corridor.place {
                    Place::Inside(_) => {
                        let input = puente_ledger::Input::WitnessHead { witness, ledger, head };
                        corridor.tell_ledger(shared, input);
                        Ok(())
                    }
                    _ => corridor.witness_knows(shared, &witness, head),
                });
            }
            Input::Charter(charter) => self.charter(charter),
            Input::Identity(identity) => self.shared.identity = identity,
            Input::Reached(node) => {
                if self.shared.reached.insert(node.clone()) {
                    self.pair_with(&node);
                    self.each(|corridor, shared| corridor.reached(shared, &node));
                }
            }
            Input::Relayed { from, group, id, sealed } => self.relayed(&from, &group, id, &sealed),
            Input::Behind { group, than } => self.with(&group, |corridor, shared| {
                corridor.tell_ledger(shared, puente_ledger::Input::Reached(than));
                Ok(())
            }),
            Input::Lost(node) => {
                self.shared.reached.remove(&node);
            }
            Input::Want { group, want } => self.with(&group, |corridor, shared| corridor.want(shared, want)),
            Input::Reboot(reboot) => {
                let group = reboot.terms().ledger.group().clone();
                self.with(&group, |corridor, shared| {
                    corridor.rebooted(shared, *reboot);
                    Ok(())
                });
            }
            Input::Tick => {
                self.each(|corridor, shared| {
                    if corridor.deadline(shared).is_some_and(|due| due <= shared.now) {
                        corridor.tick(shared);
                    }
                });
                posting::forget_received(&mut self.shared);
            }
        }
        self.carry_apart();
    }

    /// The next thing to be done; call until it returns `None`, then wait.
    pub fn poll_effect(&mut self) -> Option<Effect> {
        self.shared.out.effects.pop_front()
    }

    /// When to come back with [`Input::Tick`], if nothing arrives before.
    pub fn poll_deadline(&self) -> Option<Millis> {
        self.groups.values().filter_map(|corridor| corridor.deadline(&self.shared)).min()
    }

    /// The groups that this node is in, each with its state; none while it enters anew.
    pub fn groups(&self) -> impl Iterator<Item = (&GroupId, Option<&Group>)> {
        self.groups.values().filter_map(|corridor| Some((&corridor.name, corridor.inside()?.group.as_ref())))
    }

    /// A group that this node is in.
    pub fn group(&self, name: &GroupId) -> Option<&Group> {
        self.groups.get(name)?.group()
    }

    /// The ledgers of all groups that this node is in, as far as their entries stand here, each with its cosigned head.
    pub fn ledgers(&self) -> Vec<puente_ledger::LedgerCopy> {
        let inside = self.groups.values().filter_map(|corridor| corridor.inside());
        inside.flat_map(|inside| inside.ledger.ledgers()).collect()
    }

    /// The epoch that a question to `peer` belongs to: that of the group of two with it, or none yet.
    pub fn pair(&self, peer: &NodeUri) -> Option<(&GroupId, u64)> {
        let (charter, _) = self.shared.charters.newest()?;
        let name = puente_ledger::pair(charter.federation(), &self.shared.me, peer)?;
        let (name, corridor) = self.groups.get_key_value(&name)?;
        Some((name, corridor.group().filter(|group| group.has(peer))?.epoch()))
    }

    /// The PSK of one exchange with `peer` in a group's epoch; `leaf` is the leaf hash of the exchange's QUERY.
    ///
    /// # Errors
    /// This node, or `peer`, is not in the group; the group is at another epoch.
    pub fn psk(&self, group: &GroupId, epoch: u64, peer: &NodeUri, leaf: &Digest) -> Result<Secret32, Fault> {
        let found = self.group(group).ok_or(Fault::Outside)?;
        if !found.has(peer) {
            return Err(Fault::NoPart(peer.clone()));
        }
        if found.epoch() != epoch {
            return Err(GroupError::OtherEpoch { expected: found.epoch(), found: epoch }.into());
        }
        Ok(found.psk(leaf)?)
    }

    /// Says something to everybody who is in a group now. It is delivered to each of them, also to those who are offline
    /// now, unless `until` passes before; at most [`POST_LIFE_MILLIS_MAX`](crate::POST_LIFE_MILLIS_MAX) from now.
    ///
    /// # Errors
    /// This node is not in the group; a content over its limit; too many posts on their way.
    pub fn say(&mut self, now: Millis, group: &GroupId, content: &[u8], until: Millis) -> Result<PostId, Fault> {
        self.shared.now = now;
        let corridor = self.groups.get_mut(group).ok_or_else(|| Fault::UnknownGroup(group.clone()))?;
        corridor.say(&mut self.shared, content, until)
    }

    /// Who has not acknowledged a post of this node's.
    pub fn unacknowledged(&self, group: &GroupId, id: PostId) -> Option<&BTreeSet<NodeUri>> {
        Some(&self.groups.get(group)?.posts.get(&id)?.left)
    }

    fn message(&mut self, from: &NodeUri, group: &GroupId, message: Message) {
        let known = self.shared.charters.newest().is_some_and(|(_, trust)| trust.active(from).is_ok());
        if !known {
            return self.shared.out.fault(group, Some(from), Fault::NoPart(from.clone()));
        }
        if !self.groups.contains_key(group)
            && self
                .shared
                .charters
                .terms_now(group)
                .is_ok_and(|terms| terms.members.contains(&self.shared.me) && terms.members.contains(from))
        {
            self.groups.insert(group.clone(), Corridor::outside(group.clone()));
        }
        // A post that went out under another group is acknowledged under that one; its name is unique.
        let group = match &message {
            Message::Posted(id) | Message::Unreadable(id) => {
                let of = self.groups.values().find(|corridor| corridor.posts.contains_key(id));
                &of.map_or(group, |corridor| &corridor.name).clone()
            }
            _ => group,
        };
        let Some(corridor) = self.groups.get_mut(group) else {
            return self.shared.out.fault(group, Some(from), Fault::UnknownGroup(group.clone()));
        };
        if let Err(fault) = corridor.message(&mut self.shared, from, message) {
            self.shared.out.fault(group, Some(from), fault);
        }
    }

    fn relayed(&mut self, from: &NodeUri, group: &GroupId, id: PostId, sealed: &[u8]) {
        let known = self.shared.charters.newest().is_some_and(|(_, trust)| trust.active(from).is_ok());
        let corridor = self.groups.get_mut(group).filter(|_| known);
        let done = match corridor {
            Some(corridor) => corridor.arrived(&mut self.shared, from, (id, sealed), true),
            None => Err(Fault::UnknownGroup(group.clone())),
        };
        if let Err(fault) = done {
            self.shared.out.fault(group, None, fault);
        }
    }

    fn with(&mut self, group: &GroupId, act: impl FnOnce(&mut Corridor, &mut Shared) -> Result<(), Fault>) {
        let done = match self.groups.get_mut(group) {
            Some(corridor) => act(corridor, &mut self.shared),
            None => Err(Fault::UnknownGroup(group.clone())),
        };
        if let Err(fault) = done {
            self.shared.out.fault(group, None, fault);
        }
    }

    fn each(&mut self, mut act: impl FnMut(&mut Corridor, &mut Shared)) {
        for corridor in self.groups.values_mut() {
            act(corridor, &mut self.shared);
        }
    }

    fn charter(&mut self, charter: Arc<Charter>) {
        if let Err(error) = self.shared.charters.learn(charter) {
            // It was verified with its roots: a root that makes no anchor now is a bug, not a state.
            for name in self.groups.keys() {
                self.shared.out.fault(name, None, TermsError::from(error.clone()));
            }
            return;
        }
        self.look_at_charter();
        let rules: Vec<_> = self.groups.keys().map(|name| self.shared.charters.terms_now(name).ok()).collect();
        for (corridor, terms) in self.groups.values_mut().zip(rules) {
            if let Some(terms) = terms {
                corridor.tell_ledger(&mut self.shared, puente_ledger::Input::Charter(terms.rules));
            }
            corridor.look_at = self.shared.now;
            corridor.tick(&mut self.shared);
        }
    }

    /// A corridor that the charter names has a place here, if this node belongs into it.
    fn look_at_charter(&mut self) {
        let Some((charter, _)) = self.shared.charters.newest() else { return };
        let names: Vec<GroupId> = terms::corridors(charter).collect();
        for name in names {
            let mine = self.shared.charters.terms_now(&name).is_ok_and(|terms| terms.members.contains(&self.shared.me));
            if mine {
                self.groups.entry(name.clone()).or_insert_with(|| Corridor::outside(name));
            }
        }
    }

    /// The group of two with a node comes into being when they first reach each other.
    fn pair_with(&mut self, node: &NodeUri) {
        let Some((charter, _)) = self.shared.charters.newest() else { return };
        let Some(name) = puente_ledger::pair(charter.federation(), &self.shared.me, node) else { return };
        if self.shared.charters.terms_now(&name).is_ok() {
            self.groups.entry(name.clone()).or_insert_with(|| Corridor::outside(name));
        }
    }

    /// Posts that cannot be sealed to their group go to each member under the group of two with it.
    fn carry_apart(&mut self) {
        for (group, id, to) in std::mem::take(&mut self.shared.apart) {
            let Some(post) = self.groups.get(&group).and_then(|corridor| corridor.posts.get(&id)) else { continue };
            let (content, address) = (post.content.clone(), Address { id, until: post.until, group: group.clone() });
            for node in to {
                let Some((pair, _)) = self.pair(&node) else { continue };
                let pair = pair.clone();
                let carried = self
                    .groups
                    .get_mut(&pair)
                    .is_some_and(|corridor| corridor.carry(&mut self.shared, &node, &address, &content));
                if let (true, Some(post)) = (carried, self.groups.get_mut(&group).and_then(|c| c.posts.get_mut(&id))) {
                    post.sent.insert(node, self.shared.now);
                }
            }
        }
    }
}

fn restore(shared: &mut Shared, name: GroupId, kept: Kept) -> Result<Corridor, OpenError> {
    let mut corridor = Corridor::outside(name.clone());
    let unreadable = || OpenError::Kept(name.clone());
    for (kind, rest, value) in kept.others {
        let node = || std::str::from_utf8(&rest).ok()?.parse::<NodeUri>().ok();
        match kind {
            Kind::Expelled => drop(corridor.expelled.insert(node().ok_or_else(unreadable)?)),
            Kind::WantedIn => drop(corridor.wanted_in.insert(node().ok_or_else(unreadable)?)),
            Kind::WantedOut => drop(corridor.wanted_out.insert(node().ok_or_else(unreadable)?)),
            Kind::Welcome => {
                let welcome = Welcome::decode(&value).map_err(|_| unreadable())?;
                corridor.welcomes.insert(node().ok_or_else(unreadable)?, (welcome, None));
            }
            Kind::Post => {
                let id = PostId(rest.as_slice().try_into().map_err(|_| unreadable())?);
                corridor.posts.insert(id, Post::parse(&value).ok_or_else(unreadable)?);
            }
            Kind::Received => {
                let until = value.try_into().map(u64::from_be_bytes).map_err(|_| unreadable())?;
                let (from, id) = posting::received(&rest).ok_or_else(unreadable)?;
                shared.received.insert((name.clone(), from, id), Millis(until));
            }
            Kind::Reboot => {
                let Ok(Record::Rebooted(reboot)) = Record::decode(&value) else { return Err(unreadable()) };
                corridor.reboots.insert(reboot.terms().hash(), reboot);
            }
            Kind::Genesis | Kind::State | Kind::Order => {}
        }
    }
    let mut records = Vec::new();
    for (number, bytes) in &kept.records {
        let number = number.as_slice().try_into().map(u64::from_be_bytes).map_err(|_| unreadable())?;
        let record = Record::decode(bytes).map_err(|why| OpenError::Record { group: name.clone(), why })?;
        corridor.records.load(number, &record);
        records.push(record);
    }
    let Some(genesis) = kept.genesis else { return Ok(corridor) };
    let genesis = Genesis::decode(&genesis).map_err(|_| unreadable())?;
    let stale: Vec<Vec<u8>> = kept.state.iter().map(|(key, _)| key.clone()).collect();
    let (group, torn) = match Group::load(genesis.id, kept.state) {
        Ok(group) => (Some(group), None),
        Err(why) => (None, Some(why)),
    };
    let inside = inside::begin(shared, &name, genesis, group, records);
    let mut inside = inside.map_err(|why| OpenError::Order { group: name.clone(), why: Box::new(why) })?;
    if let Some(group) = &inside.group {
        shared.rosters.insert(name.clone(), group.members().cloned().collect());
    }
    if let Some(why) = torn {
        inside.stale = stale;
        shared.out.alarm(crate::api::Alarm::Rejoining { group: name, why });
    }
    corridor.place = Place::Inside(Box::new(inside));
    Ok(corridor)
}
