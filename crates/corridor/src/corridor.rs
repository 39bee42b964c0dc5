//! One group at one node: outside, coming in, inside.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use puente_group::{Early, Group, Identity, Rejoin, Stock};
use puente_ledger::{Engine, GroupId, Reboot, Record};
use puente_model::{Digest, Millis, NodeUri};
use rand_core::RngCore;

use crate::api::{Fault, Genesis, Message, Welcome};
use crate::founding::Founding;
use crate::joining::Joining;
use crate::kept::{self, Kind};
use crate::out::{Out, Then};
use crate::post::{Post, PostId};
use crate::records::Records;
use crate::setup::{SharedKeys, Tuning};
use crate::terms::Charters;

/// What every group of this node shares.
pub(crate) struct Shared {
    pub(crate) me: NodeUri,
    pub(crate) identity: Identity,
    pub(crate) charters: Charters,
    pub(crate) stock: Stock,
    pub(crate) keys: SharedKeys,
    pub(crate) reached: BTreeSet<NodeUri>,
    /// Who is in which group.
    pub(crate) rosters: BTreeMap<GroupId, BTreeSet<NodeUri>>,
    /// Which key package was handed to whom, for which group.
    pub(crate) handed: BTreeMap<Digest, (GroupId, NodeUri)>,
    /// Posts that were opened here, by the group that they were said to: until when to remember that.
    pub(crate) received: BTreeMap<(GroupId, NodeUri, PostId), Millis>,
    /// Posts that cannot be sealed to their group, and to whom they go otherwise.
    pub(crate) apart: Vec<(GroupId, PostId, Vec<NodeUri>)>,
    pub(crate) tuning: Tuning,
    pub(crate) rng: Box<dyn RngCore + Send>,
    pub(crate) out: Out,
    pub(crate) now: Millis,
}

impl Shared {
    pub(crate) fn random<const N: usize>(&mut self) -> [u8; N] {
        let mut bytes = [0; N];
        self.rng.fill_bytes(&mut bytes);
        bytes
    }
}

/// What this node is to a group.
pub(crate) enum Place {
    /// Not in it. It waits for a Welcome, or looks whether it is to found the group.
    Outside(Founding),
    /// It was welcomed, or lost everything, and verifies the order before it believes anything.
    Joining(Box<Joining>),
    /// In it.
    Inside(Box<Inside>),
}

/// What a member holds.
pub(crate) struct Inside {
    pub(crate) genesis: Genesis,
    pub(crate) ledger: Engine,
    /// None while it enters anew: what it kept is torn, or it could not follow a commit.
    pub(crate) group: Option<Group>,
    /// Keys of what is still kept of the group that it cannot go on with.
    pub(crate) stale: Vec<Vec<u8>>,
    pub(crate) rejoin: Option<Rejoin>,
    /// When a member was last asked for the group as it is.
    pub(crate) asked: Option<Millis>,
    /// When this node's leaf last got fresh keys.
    pub(crate) fresh: Millis,
}

/// A group, whatever this node is to it.
pub(crate) struct Corridor {
    pub(crate) name: GroupId,
    pub(crate) place: Place,
    /// What is kept of its order.
    pub(crate) records: Records,
    /// Reboots of its order that were signed, by the hash of their terms.
    pub(crate) reboots: BTreeMap<Digest, Reboot>,
    /// Key packages to add nodes with, and when one was asked for.
    pub(crate) packages: BTreeMap<NodeUri, Vec<u8>>,
    pub(crate) packages_asked: BTreeMap<NodeUri, Millis>,
    /// Members of the charter that were removed and do not come back by themselves.
    pub(crate) expelled: BTreeSet<NodeUri>,
    pub(crate) wanted_in: BTreeSet<NodeUri>,
    pub(crate) wanted_out: BTreeSet<NodeUri>,
    pub(crate) rekey: bool,
    /// Not acknowledged, and when last sent.
    pub(crate) welcomes: BTreeMap<NodeUri, (Welcome, Option<Millis>)>,
    pub(crate) posts: BTreeMap<PostId, Post>,
    pub(crate) early: Early,
    /// Who was shown the group, and when.
    pub(crate) shown_at: BTreeMap<NodeUri, Millis>,
    /// When to look whether a commit is wanted.
    pub(crate) look_at: Millis,
    /// No commit before this: the last one was turned down, or others are waited for.
    pub(crate) pause: Millis,
    /// When it was last looked at what is due.
    pub(crate) ticked: Millis,
}

impl fmt::Debug for Corridor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.place {
            Place::Outside(_) => write!(f, "Corridor({}, outside)", self.name),
            Place::Joining(_) => write!(f, "Corridor({}, joining)", self.name),
            Place::Inside(inside) => write!(f, "Corridor({}, {:?}, {:?})", self.name, inside.group, inside.ledger),
        }
    }
}

impl Corridor {
    pub(crate) fn outside(name: GroupId) -> Self {
        Self {
            name,
            place: Place::Outside(Founding::default()),
            records: Records::default(),
            reboots: BTreeMap::new(),
            packages: BTreeMap::new(),
            packages_asked: BTreeMap::new(),
            expelled: BTreeSet::new(),
            wanted_in: BTreeSet::new(),
            wanted_out: BTreeSet::new(),
            rekey: false,
            welcomes: BTreeMap::new(),
            posts: BTreeMap::new(),
            early: Early::default(),
            shown_at: BTreeMap::new(),
            look_at: Millis(0),
            pause: Millis(0),
            ticked: Millis(0),
        }
    }

    pub(crate) const fn inside(&self) -> Option<&Inside> {
        match &self.place {
            Place::Inside(inside) => Some(inside),
            _ => None,
        }
    }

    /// The group, if this node is in it and can use it.
    pub(crate) fn group(&self) -> Option<&Group> {
        self.inside()?.group.as_ref()
    }

    /// A node says something about the group. It is an active member of the federation.
    pub(crate) fn message(&mut self, shared: &mut Shared, from: &NodeUri, message: Message) -> Result<(), Fault> {
        match message {
            Message::WantKeyPackage { suite } => self.hand_out(shared, from, suite),
            Message::KeyPackage(bytes) => self.package(shared, from, bytes),
            Message::Welcome(welcome) => self.welcomed(shared, from, welcome),
            Message::Joined => {
                if self.welcomes.remove(from).is_some() {
                    let put = (kept::node_key(&self.name, Kind::Welcome, from), None);
                    shared.out.write(&self.name, vec![put], None, Vec::new());
                }
                Ok(())
            }
            Message::WantInfo => self.show(shared, from),
            Message::Info { genesis, info } => self.shown(shared, from, genesis, &info),
            Message::Ledger(message) => self.about_order(shared, from, message),
            Message::Post { id, sealed } => self.arrived(shared, from, (id, &sealed), false),
            Message::Posted(id) => {
                self.posted(shared, from, id);
                Ok(())
            }
            Message::Unreadable(id) => {
                if let Some(post) = self.posts.get_mut(&id).filter(|post| post.left.contains(from)) {
                    post.sealed = None;
                    post.sent.remove(from);
                    self.deliver(shared, id);
                }
                Ok(())
            }
        }
    }

    fn about_order(
        &mut self,
        shared: &mut Shared,
        from: &NodeUri,
        message: puente_ledger::Message,
    ) -> Result<(), Fault> {
        match &mut self.place {
            Place::Outside(_) => {
                // Members speak of the order to members only: this node is one, and lost what it kept; or its Welcome is
                // still on its way, and will be preferred.
                let terms = shared.charters.terms_now(&self.name)?;
                if !terms.members.contains(from) || !terms.members.contains(&shared.me) {
                    return Err(Fault::NoPart(from.clone()));
                }
                self.place = Place::Joining(Box::new(Joining::lost(shared.now)));
                Ok(())
            }
            Place::Joining(_) => self.chain_arrived(shared, from, message),
            Place::Inside(inside) => {
                let input = puente_ledger::Input::Message { from: from.clone(), message };
                inside.ledger.handle(shared.now, input);
                self.follow(shared);
                Ok(())
            }
        }
    }

    /// A node can be reached, again or for the first time.
    pub(crate) fn reached(&mut self, shared: &mut Shared, node: &NodeUri) {
        self.look_at = shared.now;
        match &mut self.place {
            Place::Inside(inside) => {
                if inside.group.as_ref().is_none_or(|group| group.has(node)) {
                    inside.ledger.handle(shared.now, puente_ledger::Input::Reached(node.clone()));
                    self.follow(shared);
                }
                if let Some((_, sent)) = self.welcomes.get_mut(node) {
                    *sent = None;
                }
                for post in self.posts.values_mut() {
                    post.sent.remove(node);
                }
            }
            Place::Joining(joining) => joining.reached(),
            Place::Outside(_) => {}
        }
        self.tick(shared);
    }

    /// Whatever is due.
    pub(crate) fn tick(&mut self, shared: &mut Shared) {
        self.ticked = shared.now;
        match &mut self.place {
            Place::Outside(_) => self.look_whether_to_found(shared),
            Place::Joining(_) => self.ask_for_chain(shared),
            Place::Inside(inside) => {
                inside.ledger.handle(shared.now, puente_ledger::Input::Tick);
                self.follow(shared);
                self.follow_reboots(shared);
                self.prune(shared);
                self.ask_for_info(shared);
                self.maintain(shared);
                self.send_welcomes(shared);
                self.send_posts(shared);
            }
        }
        self.forget_old(shared);
    }

    /// What waited for the disk.
    pub(crate) fn then(&mut self, shared: &mut Shared, then: Then, leaf: Option<Digest>) {
        match then {
            Then::Send(to, message) => shared.out.send(&to, &self.name, message),
            Then::Deliver(id) => self.deliver(shared, id),
            Then::Relay(to, id, sealed) => {
                shared.out.push(crate::api::Effect::Relay { to, group: self.name.clone(), id, sealed });
            }
            Then::Submit => self.submit(shared),
            Then::LedgerStored(ticket) => self.tell_ledger(shared, puente_ledger::Input::Stored { ticket }),
            Then::HeldStands(statement) => {
                if let Some(leaf) = leaf {
                    self.tell_ledger(shared, puente_ledger::Input::HeldRecorded { statement, leaf });
                }
            }
        }
    }

    pub(crate) fn tell_ledger(&mut self, shared: &mut Shared, input: puente_ledger::Input) {
        if let Place::Inside(inside) = &mut self.place {
            inside.ledger.handle(shared.now, input);
            self.follow(shared);
        }
    }

    /// A reboot was signed. It is kept: the order may not have come to where it begins, or is verified anew one day.
    pub(crate) fn rebooted(&mut self, shared: &mut Shared, reboot: Reboot) {
        let hash = reboot.terms().hash();
        let put =
            (kept::key(&self.name, Kind::Reboot, hash.as_bytes()), Some(Record::Rebooted(reboot.clone()).encode()));
        shared.out.write(&self.name, vec![put], None, Vec::new());
        self.reboots.insert(hash, reboot);
        match &mut self.place {
            Place::Joining(joining) => joining.rebooted(self.reboots.values().cloned().collect()),
            Place::Inside(_) => self.follow_reboots(shared),
            Place::Outside(_) => {}
        }
    }

    /// Goes on in another ledger, if one was signed for where this one ends.
    fn follow_reboots(&mut self, shared: &mut Shared) {
        let Some(chain) = self.inside().map(|inside| inside.ledger.chain()) else { return };
        let here = |reboot: &&Reboot| {
            let terms = reboot.terms();
            terms.ledger == *chain.ledger() && terms.size == chain.size() && terms.root == chain.root()
        };
        if chain.unsettled().is_none()
            && let Some(reboot) = self.reboots.values().find(here).cloned()
        {
            self.tell_ledger(shared, puente_ledger::Input::Reboot(reboot));
        }
    }

    /// Forgets what of the order is not needed any more.
    pub(crate) fn prune(&mut self, shared: &mut Shared) {
        let Place::Inside(inside) = &self.place else { return };
        if self.records.prune_at > shared.now {
            return;
        }
        self.records.prune_at = shared.now.plus(shared.tuning.prune);
        let since = Millis(shared.now.0.saturating_sub(shared.tuning.keep));
        let puts = self.records.prune(&self.name, &inside.ledger, since);
        if !puts.is_empty() {
            shared.out.write(&self.name, puts, None, Vec::new());
        }
    }

    /// Sends what was not acknowledged to whoever can be reached.
    fn send_welcomes(&mut self, shared: &mut Shared) {
        let again = shared.tuning.again;
        for (node, (welcome, sent)) in &mut self.welcomes {
            if shared.reached.contains(node) && sent.is_none_or(|at| at.plus(again) <= shared.now) {
                *sent = Some(shared.now);
                shared.out.send(node, &self.name, Message::Welcome(welcome.clone()));
            }
        }
    }

    /// When [`Corridor::tick`] is due at the latest.
    pub(crate) fn deadline(&self, shared: &Shared) -> Option<Millis> {
        let again = shared.tuning.again;
        match &self.place {
            Place::Outside(founding) => founding.deadline(),
            Place::Joining(joining) => Some(joining.deadline(again)),
            Place::Inside(inside) => {
                let waiting = |node: &NodeUri| shared.reached.contains(node);
                let welcomes = self.welcomes.iter().filter(|(node, _)| waiting(node));
                let welcomes = welcomes.map(|(_, (_, sent))| sent.map_or(shared.now, |at| at.plus(again))).min();
                let posts = self.posts.values().filter(|post| post.left.iter().any(waiting));
                let posts =
                    posts.flat_map(|post| post.sent.values().map(|at| at.plus(crate::post::AGAIN_MILLIS))).min();
                let passed = self.posts.values().filter(|_| !shared.reached.is_empty());
                let passed = passed.filter_map(|post| post.next_through(&shared.reached)).min();
                let info = inside.asked.filter(|_| inside.group.is_none()).map(|at| at.plus(again));
                // While a commit is on its way nothing of this kind is due.
                let free = inside.group.as_ref().is_some_and(|group| matches!(group.pending(), Ok(None)));
                let maintain = free.then(|| self.look_at.max(self.pause));
                let own = [welcomes, posts, passed, info, maintain].into_iter().flatten().min();
                // What was due and could not be done is tried again in a moment, not at once.
                let own = own.map(|at| at.max(self.ticked.plus(shared.tuning.moment)));
                [inside.ledger.poll_deadline(), own].into_iter().flatten().min()
            }
        }
    }
}
