//! A member that cannot go on with what it holds enters its group anew (an external commit), ordered like any other.
//!
//! Its ledger goes on meanwhile: commits that the group took before the state that another member showed need no taking in
//! here; the roster is then the shown one.

use puente_group::{Rejoin, Trust};
use puente_ledger::{Ordered, Roster};
use puente_model::NodeUri;

use crate::api::{Fault, Genesis, Message};
use crate::corridor::{Corridor, Place, Shared};
use crate::inside::Taken;

impl Corridor {
    /// Asks one member that can be reached for the group as it is; another one each time.
    pub(crate) fn ask_for_info(&mut self, shared: &mut Shared) {
        let Place::Inside(inside) = &mut self.place else { return };
        let lately = inside.asked.is_some_and(|at| at.plus(shared.tuning.again) > shared.now);
        if inside.group.is_some() || inside.rejoin.is_some() || lately {
            return;
        }
        let roster = inside.ledger.chain().roster().cloned().unwrap_or_default();
        let others: Vec<&NodeUri> =
            roster.iter().filter(|node| shared.reached.contains(*node) && **node != shared.me).collect();
        if others.is_empty() {
            return;
        }
        inside.asked = Some(shared.now);
        let turn = shared.now.0 / shared.tuning.again.max(1);
        let member = others[usize::try_from(turn).unwrap_or(0) % others.len()].clone();
        shared.out.send(&member, &self.name, Message::WantInfo);
    }

    /// Shows the group to a member that lost its state.
    pub(crate) fn show(&mut self, shared: &mut Shared, from: &NodeUri) -> Result<(), Fault> {
        let lately = self.shown_at.get(from).is_some_and(|at| at.plus(shared.tuning.again / 2) > shared.now);
        let Place::Inside(inside) = &mut self.place else { return Err(Fault::Outside) };
        let Some(group) = &inside.group else { return Err(Fault::Outside) };
        if !group.has(from) {
            return Err(Fault::NoPart(from.clone()));
        }
        // It is as large as the group: not for whoever asks all the time.
        if lately {
            return Ok(());
        }
        self.shown_at.insert(from.clone(), shared.now);
        let info = group.info(&shared.identity)?;
        let message = Message::Info { genesis: inside.genesis.clone(), info };
        shared.out.send(from, &self.name, message);
        Ok(())
    }

    /// A member shows the group as it is.
    pub(crate) fn shown(
        &mut self,
        shared: &mut Shared,
        from: &NodeUri,
        genesis: Genesis,
        info: &[u8],
    ) -> Result<(), Fault> {
        let inside = match &mut self.place {
            Place::Joining(_) => return self.found_again(shared, from, genesis, info),
            Place::Inside(inside) if inside.group.is_none() && inside.rejoin.is_none() => inside,
            _ => return Err(Fault::NotAwaited("a group's state")),
        };
        if genesis != inside.genesis {
            return Err(Fault::OtherGenesis(genesis.founder));
        }
        let trust = shared.charters.trust_now(&self.name)?;
        let rejoin = Rejoin::start(info, &shared.identity, &trust, shared.now)?;
        if rejoin.group() != inside.genesis.id {
            return Err(Fault::OtherGenesis(from.clone()));
        }
        let chain = inside.ledger.chain();
        if rejoin.epoch() < chain.epoch() {
            // Older than what is known here: somebody else is asked.
            return Err(Fault::NotAwaited("an older state of the group"));
        }
        let (epoch, unsettled) = (chain.epoch(), chain.unsettled());
        let (at, roster) = (rejoin.epoch(), rejoin.members());
        inside.rejoin = Some(rejoin);
        if let Some(index) = unsettled.filter(|_| at > epoch) {
            self.settle(shared, index, Some(roster));
            self.follow(shared);
        }
        self.submit_rejoin(shared);
        Ok(())
    }

    /// Submits the commit with which this node enters anew, once the order has come to its epoch.
    fn submit_rejoin(&mut self, shared: &mut Shared) {
        let Place::Inside(inside) = &self.place else { return };
        let chain = inside.ledger.chain();
        let ready = chain.unsettled().is_none();
        if ready && inside.rejoin.as_ref().is_some_and(|rejoin| rejoin.epoch() == chain.epoch()) {
            self.submit(shared);
        }
    }

    /// A commit was ordered while this node holds no state to take it in.
    pub(crate) fn ordered_while_away(
        &mut self,
        shared: &mut Shared,
        ordered: &Ordered,
        proof: &puente_group::Ordered,
        trust: &Trust,
    ) {
        let Place::Inside(inside) = &mut self.place else { return };
        let Some(rejoin) = inside.rejoin.take() else { return self.ask_for_info(shared) };
        if rejoin.hash() == ordered.commit_hash() {
            let stale = std::mem::take(&mut inside.stale);
            match rejoin.merge(proof, trust, stale.iter().cloned()) {
                Ok((group, changes)) => {
                    inside.group = Some(group);
                    let (added, removed, welcome) = (Vec::new(), Vec::new(), None);
                    let taken = Taken { changes, added, removed, welcome, own: true, left: false };
                    self.take(shared, ordered, taken);
                }
                Err(why) => {
                    inside.stale = stale;
                    shared.out.fault(&self.name, None, why);
                    inside.asked = None;
                    self.ask_for_info(shared);
                }
            }
            return;
        }
        if rejoin.epoch() > ordered.epoch() {
            let roster: Roster = rejoin.members();
            inside.rejoin = Some(rejoin);
            self.settle(shared, ordered.index(), Some(roster));
            self.submit_rejoin(shared);
            return;
        }
        // Another commit ended that epoch: this one is of no use any more.
        inside.asked = None;
        self.ask_for_info(shared);
    }
}
