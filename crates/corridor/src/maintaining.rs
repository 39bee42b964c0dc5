//! Commits that this node makes: who comes in, who goes, fresh keys.
//!
//! What is wanted is compared with what is, again after every commit, so that whoever loses a race for an epoch makes what
//! is still wanted anew. The convener brings in whom the charter names and removes whose leaf may not stand; an operator
//! of any member may want more.

use std::collections::BTreeSet;

use puente_group::{GroupError, Intent, Suite, Trust};
use puente_ledger::{Answer, held_by_enough};
use puente_model::{Digest, NodeUri};

use crate::api::{Fault, Message, Want};
use crate::corridor::{Corridor, Place, Shared};
use crate::kept::{self, Kind};
use crate::out::Then;

impl Corridor {
    /// An operator wants something.
    pub(crate) fn want(&mut self, shared: &mut Shared, want: Want) -> Result<(), Fault> {
        let Some(group) = self.group() else { return Err(Fault::Outside) };
        let put = match want {
            Want::Add(node) => {
                let terms = shared.charters.terms_now(&self.name)?;
                if !terms.members.contains(&node) {
                    return Err(Fault::NoPart(node));
                }
                let key = kept::node_key(&self.name, Kind::WantedIn, &node);
                (!group.has(&node) && self.wanted_in.insert(node)).then_some(key)
            }
            Want::Remove(node) => {
                if !group.has(&node) || node == shared.me {
                    return Err(Fault::NoPart(node));
                }
                let key = kept::node_key(&self.name, Kind::WantedOut, &node);
                self.wanted_out.insert(node).then_some(key)
            }
            Want::Rekey => {
                self.rekey = true;
                None
            }
        };
        if let Some(key) = put {
            shared.out.write(&self.name, vec![(key, Some(Vec::new()))], None, Vec::new());
        }
        self.look_at = shared.now;
        self.maintain(shared);
        Ok(())
    }

    /// Makes a commit if something is wanted and nothing is under way.
    pub(crate) fn maintain(&mut self, shared: &mut Shared) {
        let Place::Inside(inside) = &self.place else { return };
        let Some(group) = &inside.group else { return };
        let (chain, now) = (inside.ledger.chain(), shared.now);
        let busy =
            !matches!(group.pending(), Ok(None)) || chain.unsettled().is_some() || chain.epoch() != group.epoch();
        if busy || self.look_at > now || self.pause > now {
            return;
        }
        // Looking costs a verification of every leaf.
        self.look_at = now.plus(shared.tuning.look);
        if !self.can_be_ordered(shared) {
            return;
        }
        let Ok(trust) = shared.charters.trust_now(&self.name) else { return };
        // Whoever may not stand in the group itself changes nothing in it.
        if trust.active(&shared.me).is_err() {
            return;
        }
        let (add, remove) = self.wanted_moves(shared, &trust);
        let Place::Inside(inside) = &self.place else { return };
        let stale = inside.fresh.plus(shared.tuning.rekey);
        let rekey = self.rekey || stale <= now;
        self.look_at = self.look_at.min(stale.max(now.plus(shared.tuning.moment)));
        let ready = self.gather(shared, &add);
        if remove.is_empty() && !rekey && !ready {
            return;
        }
        let add: Vec<NodeUri> = add.into_iter().filter(|node| self.packages.contains_key(node)).collect();
        self.stage(shared, &trust, add, remove);
    }

    /// Who is to come in and who is to go, as the charter has it and operators want it.
    fn wanted_moves(&self, shared: &Shared, trust: &Trust) -> (BTreeSet<NodeUri>, BTreeSet<NodeUri>) {
        let (Some(inside), Some(group)) = (self.inside(), self.group()) else { return Default::default() };
        let members: BTreeSet<NodeUri> = group.members().cloned().collect();
        let mut remove: BTreeSet<NodeUri> = self.wanted_out.intersection(&members).cloned().collect();
        let mut add: BTreeSet<NodeUri> = self.wanted_in.difference(&members).cloned().collect();
        if *inside.ledger.chain().convener() == shared.me {
            remove.extend(group.unfit(trust, shared.now).unwrap_or_default().into_iter().map(|(node, _)| node));
            if let Ok(terms) = shared.charters.terms_now(&self.name) {
                let missing = terms.members.difference(&members);
                add.extend(missing.filter(|node| !self.expelled.contains(*node)).cloned());
            }
        }
        remove.remove(&shared.me);
        // Of a group of two nobody is removed: alone there is no majority, and nothing to say.
        if members.len() == 2 {
            remove.clear();
        }
        add.retain(|node| !remove.contains(node) && trust.active(node).is_ok());
        (add, remove)
    }

    /// Whether a commit of this node's could be ordered now, as far as can be seen from here: its convener can be reached,
    /// and enough members could hold it.
    fn can_be_ordered(&self, shared: &Shared) -> bool {
        let Some(inside) = self.inside() else { return false };
        let chain = inside.ledger.chain();
        let there = |node: &NodeUri| *node == shared.me || shared.reached.contains(node);
        let Some(roster) = chain.roster() else { return false };
        there(chain.convener()) && held_by_enough(roster, roster.iter().filter(|node| there(node))).is_ok()
    }

    /// Asks for key packages of those who are to come in. True once one commit is worth making for those that are here.
    fn gather(&mut self, shared: &mut Shared, add: &BTreeSet<NodeUri>) -> bool {
        let Some(suite) = self.group().map(|group| group.suite().code()) else { return false };
        let mut waiting = false;
        for node in add.iter().filter(|node| shared.reached.contains(*node)) {
            if self.packages.contains_key(node) {
                continue;
            }
            let asked = self.packages_asked.get(node).copied();
            // Whoever does not answer, as a node that does not stand in groups yet, is asked again.
            let next = asked.map(|at| at.plus(shared.tuning.again)).filter(|next| *next > shared.now);
            self.look_at = self.look_at.min(next.unwrap_or_else(|| shared.now.plus(shared.tuning.again)));
            if asked.is_none_or(|at| at.plus(shared.tuning.again) <= shared.now) {
                self.packages_asked.insert(node.clone(), shared.now);
                shared.out.send(node, &self.name, Message::WantKeyPackage { suite });
            }
            waiting |= asked.is_none_or(|at| at.plus(shared.tuning.gather) > shared.now);
        }
        let here = add.iter().any(|node| self.packages.contains_key(node));
        if waiting {
            self.look_at = self.look_at.min(shared.now.plus(shared.tuning.gather));
        }
        here && !waiting
    }

    fn stage(&mut self, shared: &mut Shared, trust: &Trust, add: Vec<NodeUri>, remove: BTreeSet<NodeUri>) {
        let Place::Inside(inside) = &mut self.place else { return };
        let Some(group) = &mut inside.group else { return };
        let packages = add.iter().filter_map(|node| self.packages.get(node).cloned()).collect();
        let intent = Intent { add: packages, remove: remove.iter().cloned().collect(), psks: Vec::new() };
        match group.stage(&shared.identity, &intent, trust, shared.now) {
            Ok((_, changes)) => {
                self.rekey = false;
                let puts = kept::state(&self.name, changes);
                shared.out.write(&self.name, puts, None, vec![Then::Submit]);
            }
            Err(error) => {
                let culprit = matches!(error, GroupError::Leaf(_) | GroupError::BadKeyPackage(_)) && !add.is_empty();
                shared.out.fault(&self.name, None, error);
                self.pause = shared.now.plus(shared.tuning.pause);
                self.look_at = self.pause;
                if culprit && add.len() == 1 {
                    // Its key package is no good: it is asked for another.
                    self.packages.remove(&add[0]);
                } else if culprit {
                    // One of them is: each for itself.
                    for node in add {
                        self.stage(shared, trust, vec![node], BTreeSet::new());
                    }
                }
            }
        }
    }

    /// What was staged is durable: it may be ordered now.
    pub(crate) fn submit(&mut self, shared: &mut Shared) {
        let Place::Inside(inside) = &mut self.place else { return };
        let pending = inside.group.as_ref().and_then(|group| group.pending().ok().flatten());
        let submitted = match (&pending, &inside.rejoin) {
            (Some(pending), _) => Some((pending.epoch(), pending.commit().into())),
            (None, Some(rejoin)) => Some((rejoin.epoch(), rejoin.commit().into())),
            (None, None) => None,
        };
        if let Some((epoch, commit)) = submitted {
            inside.ledger.handle(shared.now, puente_ledger::Input::Submit { epoch, commit });
            self.follow(shared);
        }
    }

    /// What became of a commit that this node submitted. What is ordered is taken in as it comes.
    pub(crate) fn concluded(&mut self, shared: &mut Shared, commit: Digest, answer: &Answer) {
        let Answer::Rejected(reason) = answer else { return };
        let Place::Inside(inside) = &mut self.place else { return };
        self.pause = shared.now.plus(shared.tuning.pause);
        self.look_at = self.pause;
        shared.out.fault(&self.name, None, Fault::TurnedDown(reason.clone()));
        if inside.rejoin.as_ref().is_some_and(|rejoin| rejoin.hash() == commit) {
            inside.rejoin = None;
            inside.asked = None;
        }
        let Some(group) = &mut inside.group else { return };
        let pending = group.pending().ok().flatten().filter(|pending| pending.hash() == commit);
        if pending.is_some()
            && let Ok(changes) = group.abandon()
        {
            shared.out.write(&self.name, kept::state(&self.name, changes), None, Vec::new());
        }
    }

    /// Whoever convenes the group adds this node with what is handed out here.
    pub(crate) fn hand_out(&mut self, shared: &mut Shared, from: &NodeUri, suite: u16) -> Result<(), Fault> {
        let terms = shared.charters.terms_now(&self.name)?;
        if !terms.members.contains(from) || !terms.members.contains(&shared.me) {
            return Err(Fault::NoPart(from.clone()));
        }
        let suite = Suite::from_code(suite).ok_or(GroupError::WrongScheme(suite))?;
        let low = shared.stock.left(&shared.identity, suite, shared.now).map_err(GroupError::from)?.is_low();
        if low {
            let changes = shared.stock.replenish(&shared.identity, suite, shared.now)?;
            shared.out.write(&self.name, kept::stock(changes), None, Vec::new());
        }
        let published = shared.stock.published(&shared.identity, suite, shared.now).map_err(GroupError::from)?;
        // Each asker has one of its own, as long as there are enough: whoever joins with one uses it up.
        let mine = (self.name.clone(), from.clone());
        let handed = &mut shared.handed;
        handed.retain(|hash, _| published.iter().any(|package| Digest::of(&package.bytes) == *hash));
        let of = |bytes: &[u8]| handed.get(&Digest::of(bytes));
        let package = published.iter().find(|package| of(&package.bytes) == Some(&mine));
        let package = package.or_else(|| published.iter().find(|package| of(&package.bytes).is_none()));
        if let Some(package) = package.or(published.last()) {
            let bytes = package.bytes.clone();
            shared.handed.insert(Digest::of(&bytes), mine);
            // Its private half is durable before anybody can use it.
            let then = vec![Then::Send(from.clone(), Message::KeyPackage(bytes))];
            shared.out.write(&self.name, Vec::new(), None, then);
        }
        Ok(())
    }

    /// A key package that was asked for. Whose it is, the group judges.
    pub(crate) fn package(&mut self, shared: &mut Shared, from: &NodeUri, bytes: Vec<u8>) -> Result<(), Fault> {
        if self.packages_asked.remove(from).is_none() {
            return Err(Fault::NotAwaited("a key package"));
        }
        let claimed = puente_group::claimed_node(&bytes)?;
        if claimed != *from {
            return Err(Fault::NoPart(claimed));
        }
        self.packages.insert(from.clone(), bytes);
        // Others that were asked at the same time answer in a moment.
        if self.packages_asked.is_empty() {
            self.look_at = shared.now;
        }
        self.maintain(shared);
        Ok(())
    }
}
