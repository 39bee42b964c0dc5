//! A member: what its ledger wants done, and commits that were ordered.

use std::sync::Arc;

use puente_group::{Changes, Group, GroupError, Remedy};
use puente_ledger::{Beginning, Engine, GroupId, Ordered, Record, Roster};
use puente_model::{Millis, NodeUri};

use crate::api::{Alarm, Effect, EpochBegan, Fault, Genesis, GroupEvent, Message, Put, Welcome};
use crate::corridor::{Corridor, Inside, Place, Shared};
use crate::kept::{self, Kind};
use crate::out::Then;
use crate::proof::proof;

/// A member as it begins, from what is kept of its group's order.
pub(crate) fn begin(
    shared: &Shared,
    name: &GroupId,
    genesis: Genesis,
    group: Option<Group>,
    records: Vec<Record>,
) -> Result<Inside, Fault> {
    let terms = shared.charters.terms(name, &genesis.charter);
    let terms = terms.ok_or_else(|| Fault::UnknownCharter(genesis.charter.clone()))??;
    let roster = Roster::from([genesis.founder.clone()]);
    let beginning = Beginning { group: name.clone(), rules: terms.rules, epoch: 0, roster };
    let charters = shared.charters.rules(name);
    let keys = Box::new(shared.keys.clone());
    let tuning = shared.tuning.ledger;
    let ledger = Engine::open(shared.me.clone(), beginning, charters, records, Some(keys), tuning, shared.now)?;
    let (stale, rejoin, asked) = (Vec::new(), None, None);
    Ok(Inside { genesis, ledger, group, stale, rejoin, asked, fresh: shared.now })
}

/// What a commit changed.
pub(crate) struct Taken {
    pub(crate) changes: Changes,
    pub(crate) added: Vec<NodeUri>,
    pub(crate) removed: Vec<NodeUri>,
    /// For whom this node added.
    pub(crate) welcome: Option<Vec<u8>>,
    /// This node made it, so its leaf is fresh.
    pub(crate) own: bool,
    /// This node was removed.
    pub(crate) left: bool,
}

impl Corridor {
    /// Carries out what the ledger wants, until it wants nothing more.
    pub(crate) fn follow(&mut self, shared: &mut Shared) {
        while let Place::Inside(inside) = &mut self.place
            && let Some(effect) = inside.ledger.poll_effect()
        {
            use puente_ledger::Effect as E;
            let group = self.name.clone();
            match effect {
                E::Send { to, message } => shared.out.send(&to, &group, Message::Ledger(message)),
                E::Store { ticket, record } => {
                    let put = self.records.push(&group, &record);
                    shared.out.write(&group, vec![put], None, vec![Then::LedgerStored(ticket)]);
                }
                E::RecordHeld { ledger, index, statement } => {
                    let event = GroupEvent::Held { ledger, index, statement };
                    shared.out.write(&group, Vec::new(), Some(event), vec![Then::HeldStands(statement)]);
                }
                E::Submit { witness, old, proof, head } => {
                    shared.out.push(Effect::Submit { group, witness, old, proof, head });
                }
                E::Read { witness, ledger } => shared.out.push(Effect::Read { group, witness, ledger }),
                E::Ordered { ordered, commit } => self.ordered(shared, &ordered, &commit),
                E::Conclude { commit, answer } => self.concluded(shared, commit, &answer),
                E::Withheld { convener, .. } => shared.out.alarm(Alarm::Withheld { group, convener }),
                E::Convict(evidence) => shared.out.alarm(Alarm::Convicted { group, evidence: Box::new(evidence) }),
                E::Wedged { ledger, index } => shared.out.alarm(Alarm::Wedged { ledger, index }),
                E::Fault { from, fault } => shared.out.fault(&group, from.as_ref(), fault),
            }
        }
    }

    /// Takes an ordered commit in, once.
    fn ordered(&mut self, shared: &mut Shared, ordered: &Ordered, commit: &Arc<[u8]>) {
        let Place::Inside(inside) = &mut self.place else { return };
        let proof = proof(inside.genesis.id, ordered);
        let trust = match shared.charters.trust(&self.name, ordered.charter()) {
            Ok(trust) => trust,
            // The chain was extended under this charter, so it is known.
            Err(fault) => return shared.out.fault(&self.name, None, fault),
        };
        let Some(group) = &mut inside.group else {
            return self.ordered_while_away(shared, ordered, &proof, &trust);
        };
        if group.epoch() > ordered.epoch() {
            // It was taken in before a crash; only the ledger's note of it was lost.
            let roster = group.members().cloned().collect();
            return self.settle(shared, ordered.index(), Some(roster));
        }
        let own = group.pending().ok().flatten().filter(|pending| pending.hash() == ordered.commit_hash());
        let taken = match &own {
            Some(pending) => group.merge(pending, &proof).map(|(merged, changes)| Taken {
                changes,
                added: merged.added,
                removed: merged.removed,
                welcome: merged.welcome,
                own: true,
                left: false,
            }),
            None => group.process(commit, &proof, &trust).map(|(done, changes)| Taken {
                changes,
                own: done.by == shared.me,
                added: done.added,
                removed: done.removed,
                welcome: None,
                left: done.left,
            }),
        };
        match taken {
            Ok(taken) => self.take(shared, ordered, taken),
            Err(error) => self.not_taken(shared, ordered, error),
        }
    }

    fn not_taken(&mut self, shared: &mut Shared, ordered: &Ordered, error: GroupError) {
        match error.remedy() {
            // Every member that judges with the same charter at the same moment skips it alike.
            Remedy::Skip | Remedy::Supply => {
                shared.out.fault(&self.name, None, error);
                self.settle(shared, ordered.index(), None);
            }
            _ => self.give_up(shared, error),
        }
    }

    /// This node cannot go on with what it holds of the group: it enters anew, and everything kept gives way then.
    pub(crate) fn give_up(&mut self, shared: &mut Shared, why: GroupError) {
        let Place::Inside(inside) = &mut self.place else { return };
        if let Some(group) = inside.group.take() {
            inside.stale = group.keys();
        }
        inside.rejoin = None;
        inside.asked = None;
        shared.out.alarm(Alarm::Rejoining { group: self.name.clone(), why });
        self.ask_for_info(shared);
    }

    pub(crate) fn take(&mut self, shared: &mut Shared, ordered: &Ordered, taken: Taken) {
        let Taken { changes, added, removed, welcome, own, left } = taken;
        let mut puts = kept::state(&self.name, changes);
        if left {
            return self.leave(shared, puts, ordered);
        }
        let mut then = Vec::new();
        if let Some(welcome) = welcome {
            then.extend(self.keep_welcomes(&added, ordered, &welcome, shared.now, &mut puts));
        }
        let Place::Inside(inside) = &mut self.place else { return };
        let Some(group) = &inside.group else { return };
        if own {
            inside.fresh = ordered.at();
        }
        let (epoch, epoch_hash) = (group.epoch(), group.epoch_hash());
        let roster: Roster = group.members().cloned().collect();
        let began = EpochBegan {
            epoch,
            commit: ordered.commit_hash(),
            ledger: ordered.ledger().clone(),
            index: ordered.index(),
            epoch_hash,
        };
        self.remember_moves(shared, &added, &removed, &roster, &mut puts);
        shared.rosters.insert(self.name.clone(), roster.clone());
        shared.out.write(&self.name, puts, Some(GroupEvent::Epoch(began)), then);
        let group = self.name.clone();
        shared.out.push(Effect::Members { group, epoch, added, removed });
        self.settle(shared, ordered.index(), Some(roster));
        self.look_at = shared.now;
        self.try_early(shared);
        self.maintain(shared);
    }

    /// Keeps the Welcome for everybody who came in, to be sent once the merge is durable.
    fn keep_welcomes(
        &mut self,
        added: &[NodeUri],
        ordered: &Ordered,
        welcome: &[u8],
        now: Millis,
        puts: &mut Vec<Put>,
    ) -> Vec<Then> {
        let Place::Inside(inside) = &self.place else { return Vec::new() };
        let welcome = Welcome {
            genesis: inside.genesis.clone(),
            ledger: ordered.ledger().clone(),
            index: ordered.index(),
            welcome: welcome.to_vec(),
        };
        let encoded = welcome.encode();
        let mut then = Vec::new();
        for node in added {
            puts.push((kept::node_key(&self.name, Kind::Welcome, node), Some(encoded.clone())));
            then.push(Then::Send(node.clone(), Message::Welcome(welcome.clone())));
            self.welcomes.insert(node.clone(), (welcome.clone(), Some(now)));
        }
        then
    }

    /// Who was removed does not come back by itself; what an operator wanted is done.
    fn remember_moves(
        &mut self,
        shared: &Shared,
        added: &[NodeUri],
        removed: &[NodeUri],
        roster: &Roster,
        puts: &mut Vec<Put>,
    ) {
        let members = shared.charters.terms_now(&self.name).map(|terms| terms.members).unwrap_or_default();
        for node in removed.iter().filter(|node| members.contains(*node)) {
            self.expelled.insert(node.clone());
            puts.push((kept::node_key(&self.name, Kind::Expelled, node), Some(Vec::new())));
        }
        for node in removed {
            self.welcomes.remove(node);
            puts.push((kept::node_key(&self.name, Kind::Welcome, node), None));
        }
        for node in added {
            self.packages.remove(node);
            if self.expelled.remove(node) {
                puts.push((kept::node_key(&self.name, Kind::Expelled, node), None));
            }
        }
        for node in self.wanted_in.extract_if(.., |node| roster.contains(node)) {
            puts.push((kept::node_key(&self.name, Kind::WantedIn, &node), None));
        }
        for node in self.wanted_out.extract_if(.., |node| !roster.contains(node)) {
            puts.push((kept::node_key(&self.name, Kind::WantedOut, &node), None));
        }
        for (id, post) in &mut self.posts {
            let before = post.left.len();
            post.left.retain(|node| roster.contains(node));
            if post.left.len() != before {
                let value = (!post.left.is_empty()).then(|| post.encode());
                puts.push((kept::key(&self.name, Kind::Post, &id.0), value));
            }
        }
        self.posts.retain(|_, post| !post.left.is_empty());
    }

    /// This node was removed: nothing of the group's secrets is left. The order that it knows stays, for auditors.
    fn leave(&mut self, shared: &mut Shared, mut puts: Vec<Put>, ordered: &Ordered) {
        let name = self.name.clone();
        shared.rosters.remove(&name);
        puts.extend(self.welcomes.keys().map(|node| (kept::node_key(&name, Kind::Welcome, node), None)));
        puts.extend(self.posts.keys().map(|id| (kept::key(&name, Kind::Post, &id.0), None)));
        puts.push((kept::key(&name, Kind::Genesis, b""), None));
        shared.out.write(&name, puts, None, Vec::new());
        let (epoch, removed) = (ordered.epoch().saturating_add(1), vec![shared.me.clone()]);
        shared.out.push(Effect::Members { group: name.clone(), epoch, added: Vec::new(), removed });
        let expelled = std::mem::take(&mut self.expelled);
        let (records, reboots) = (std::mem::take(&mut self.records), std::mem::take(&mut self.reboots));
        *self = Self { expelled, records, reboots, ..Self::outside(name) };
    }

    /// Tells the ledger that a commit was taken in, or counts for nothing.
    pub(crate) fn settle(&mut self, shared: &mut Shared, index: u64, roster: Option<Roster>) {
        if let Place::Inside(inside) = &mut self.place {
            inside.ledger.handle(shared.now, puente_ledger::Input::Settled { index, roster });
            // What follows is carried out by whoever called, who is in `follow` or comes to it.
        }
    }
}
