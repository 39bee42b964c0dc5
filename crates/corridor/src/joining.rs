//! Coming in: the order is verified from the group's genesis before anything of the group is believed.

use std::collections::BTreeMap;
use std::sync::Arc;

use puente_audit_log::{ClaimedCheckpoint, SignedCheckpoint};
use puente_ledger::{Beginning, GroupId, Joiner, LedgerOrigin, Reboot, Roster, Rules, Target, held_by_enough_before};
use puente_model::{Millis, NodeUri};

use crate::api::{Alarm, Effect, EpochBegan, Fault, Genesis, GroupEvent, Message, Welcome};
use crate::corridor::{Corridor, Inside, Place, Shared};
use crate::kept::{self, Kind};
use crate::out::Then;
use crate::proof::{place, proof};

/// What makes this node a member once the order is verified.
enum Ticket {
    /// A Welcome, and the commit that it belongs to, once it is here.
    Welcome(Welcome, Option<Arc<[u8]>>),
    /// A member showed the group with these members: this node, which lost everything, enters anew.
    Shown(Roster),
}

/// The order as far as it is verified, and whom to ask for more.
struct Path {
    genesis: Genesis,
    joiner: Joiner,
    ticket: Ticket,
    /// Who welcomed this node, or showed it the group.
    guide: NodeUri,
}

/// A node on its way in. Nothing of it is kept: a Welcome comes again until it is acknowledged.
pub(crate) struct Joining {
    path: Option<Box<Path>>,
    /// A Welcome that is of no use: its key package is gone, or too few held its commit. Only a newer one or entering anew
    /// helps.
    lost: Option<Welcome>,
    /// What witnesses showed as their newest head of the group's first ledger.
    witnessed: BTreeMap<String, Vec<u8>>,
    /// When something was last asked for.
    asked: Option<Millis>,
    since: Millis,
}

impl Joining {
    /// This node was in the group and lost everything that it kept of it.
    pub(crate) const fn lost(now: Millis) -> Self {
        Self { path: None, lost: None, witnessed: BTreeMap::new(), asked: Some(now), since: now }
    }

    pub(crate) fn witnessed(&mut self, witness: &str, head: Option<Vec<u8>>) {
        if let Some(head) = head {
            self.witnessed.insert(witness.to_owned(), head);
        }
    }

    pub(crate) fn rebooted(&mut self, reboots: Vec<Reboot>) {
        if let Some(path) = self.path.take() {
            let Path { genesis, joiner, ticket, guide } = *path;
            self.path = Some(Box::new(Path { genesis, joiner: joiner.with_reboots(reboots), ticket, guide }));
        }
    }

    /// The heads that a quorum of witnesses show alike. What one of them shows alone may have lost its place to another.
    fn agreed(&self, ledger: &LedgerOrigin, rules: &Rules) -> Vec<Vec<u8>> {
        let keys = rules.keys(ledger);
        let head = |witness: &str, note: &[u8]| {
            let claimed = ClaimedCheckpoint::parse(note).ok()?;
            let head = keys.iter().find_map(|(_, key)| claimed.clone().verify(key).ok())?;
            let cosigned = head.cosignatures(&[rules.quorum().key(witness)?]).ok()?;
            (head.origin() == ledger.to_string() && !cosigned.is_empty()).then_some(head)
        };
        let shown = self.witnessed.iter();
        let heads: Vec<_> = shown.filter_map(|(witness, note)| Some((witness, head(witness, note)?))).collect();
        let alike = |head: &SignedCheckpoint| {
            let same = heads.iter().filter(|(_, other)| other.checkpoint() == head.checkpoint());
            rules.quorum().is_met_by(same.map(|(witness, _)| witness.as_str()))
        };
        heads.iter().filter(|(_, head)| alike(head)).map(|(_, head)| head.note_bytes().to_vec()).take(1).collect()
    }

    pub(crate) fn reached(&mut self) {
        self.asked = None;
    }

    pub(crate) fn deadline(&self, again: u64) -> Millis {
        self.asked.unwrap_or(self.since).plus(again)
    }
}

impl Path {
    fn new(
        shared: &Shared,
        name: &GroupId,
        genesis: Genesis,
        target: Target,
        ticket: Ticket,
        guide: NodeUri,
    ) -> Result<Self, Fault> {
        let terms = shared.charters.terms(name, &genesis.charter);
        let terms = terms.ok_or_else(|| Fault::UnknownCharter(genesis.charter.clone()))??;
        // Whom the charter of that day has convene the group founded it.
        if terms.rules.seats().first().is_none_or(|seat| seat.node != genesis.founder) {
            return Err(Fault::OtherGenesis(genesis.founder));
        }
        let roster = Roster::from([genesis.founder.clone()]);
        let beginning = Beginning { group: name.clone(), rules: terms.rules, epoch: 0, roster };
        let joiner = Joiner::new(shared.me.clone(), beginning, shared.charters.rules(name), target);
        Ok(Self { genesis, joiner, ticket, guide })
    }

    /// What is still missing.
    fn want(&self) -> puente_ledger::Message {
        match (&self.ticket, self.joiner.arrived()) {
            (Ticket::Welcome(_, None), Some(ordered)) => puente_ledger::Message::WantCommit(ordered.commit_hash()),
            _ => self.joiner.next_want(),
        }
    }
}

/// That enough of those who were members before the commit with which this node came in hold it. Of the commits before
/// nobody who was not there knows the members; these would not hold one that does not follow from them. A node that enters
/// anew needs no such look: the members that it was shown must hold the commit with which it does so, as its ledger judges.
fn held(joiner: &Joiner, after: &Roster, commit: &[u8]) -> Result<(), Fault> {
    let moves = puente_group::moves(commit)?;
    let stayed: Roster = after.difference(&moves.added).cloned().collect();
    let holders = joiner.holders().ok_or(Fault::NotAwaited("a Welcome"))?;
    held_by_enough_before(&stayed, moves.removed, holders.keys()).map_err(Fault::NotHeld)
}

impl Corridor {
    /// Somebody says that this node was added.
    pub(crate) fn welcomed(&mut self, shared: &mut Shared, from: &NodeUri, welcome: Welcome) -> Result<(), Fault> {
        match &self.place {
            Place::Inside(inside) if inside.genesis == welcome.genesis && inside.group.is_some() => {
                shared.out.send(from, &self.name, Message::Joined);
                return Ok(());
            }
            Place::Inside(_) => return Err(Fault::OtherGenesis(welcome.genesis.founder)),
            Place::Joining(joining) => {
                // One at a time, and the newer one: of an older epoch nothing is sent any more.
                let newer = |mine: &Welcome| place(&welcome.ledger, welcome.index) > place(&mine.ledger, mine.index);
                let on_its_way = joining.path.as_ref().is_some_and(|path| match &path.ticket {
                    Ticket::Welcome(mine, _) => !newer(mine),
                    Ticket::Shown(_) => false,
                });
                if on_its_way || joining.lost.as_ref().is_some_and(|mine| !newer(mine)) {
                    return Ok(());
                }
            }
            Place::Outside(_) => {}
        }
        if welcome.ledger.group() != &self.name {
            return Err(Fault::UnknownGroup(welcome.ledger.group().clone()));
        }
        let (genesis, target) = (welcome.genesis.clone(), Target::Place(welcome.ledger.clone(), welcome.index));
        let path = self.path(shared, genesis, target, Ticket::Welcome(welcome, None), from.clone())?;
        self.start_on(shared, path);
        Ok(())
    }

    /// A member shows the group to a node that lost everything.
    pub(crate) fn found_again(
        &mut self,
        shared: &mut Shared,
        from: &NodeUri,
        genesis: Genesis,
        info: &[u8],
    ) -> Result<(), Fault> {
        let Place::Joining(joining) = &self.place else { return Err(Fault::NotAwaited("a group's state")) };
        if joining.path.is_some() {
            return Err(Fault::NotAwaited("a group's state"));
        }
        let trust = shared.charters.trust_now(&self.name)?;
        let shown = puente_group::Rejoin::start(info, &shared.identity, &trust, shared.now)?;
        if shown.group() != genesis.id {
            return Err(Fault::OtherGenesis(from.clone()));
        }
        let (target, ticket) = (Target::Epoch(shown.epoch()), Ticket::Shown(shown.members()));
        let path = self.path(shared, genesis, target, ticket, from.clone())?;
        self.start_on(shared, path);
        Ok(())
    }

    /// A path from the genesis that must lead by what this node knows: heads that it kept or that witnesses showed it, and
    /// reboots.
    fn path(
        &self,
        shared: &Shared,
        genesis: Genesis,
        target: Target,
        ticket: Ticket,
        guide: NodeUri,
    ) -> Result<Path, Fault> {
        let mut path = Path::new(shared, &self.name, genesis, target, ticket, guide)?;
        let mut heads: Vec<Vec<u8>> = self.records.heads().cloned().collect();
        if let Place::Joining(joining) = &self.place {
            let rules = shared.charters.terms_now(&self.name)?.rules;
            heads.extend(joining.agreed(&LedgerOrigin::first(self.name.clone()), &rules));
        }
        path.joiner = path.joiner.with_reboots(self.reboots.values().cloned().collect()).with_heads(&heads)?;
        Ok(path)
    }

    fn start_on(&mut self, shared: &mut Shared, path: Path) {
        let (lost, witnessed) = match &mut self.place {
            Place::Joining(joining) => (joining.lost.take(), std::mem::take(&mut joining.witnessed)),
            _ => (None, BTreeMap::new()),
        };
        let joining = Joining { path: Some(Box::new(path)), lost, witnessed, asked: None, since: shared.now };
        self.place = Place::Joining(Box::new(joining));
        self.ask_for_chain(shared);
    }

    /// Asks for what is missing.
    pub(crate) fn ask_for_chain(&mut self, shared: &mut Shared) {
        let Place::Joining(joining) = &mut self.place else { return };
        if joining.asked.is_some_and(|at| at.plus(shared.tuning.again) > shared.now) {
            return;
        }
        joining.asked = Some(shared.now);
        match &joining.path {
            Some(path) => {
                let message = Message::Ledger(path.want());
                shared.out.send(&path.guide, &self.name, message);
            }
            None => {
                let Ok(terms) = shared.charters.terms_now(&self.name) else { return };
                let others = terms.members.intersection(&shared.reached).filter(|node| **node != shared.me);
                for node in others.cloned().collect::<Vec<_>>() {
                    shared.out.send(&node, &self.name, Message::WantInfo);
                }
                // What is shown must not end before what witnesses remember.
                for key in terms.rules.quorum().keys() {
                    if !joining.witnessed.contains_key(key.name()) {
                        let (group, witness) = (self.name.clone(), key.name().to_owned());
                        let ledger = LedgerOrigin::first(self.name.clone());
                        shared.out.push(Effect::Read { group, witness, ledger });
                    }
                }
            }
        }
    }

    /// A part of the order arrived.
    pub(crate) fn chain_arrived(
        &mut self,
        shared: &mut Shared,
        from: &NodeUri,
        message: puente_ledger::Message,
    ) -> Result<(), Fault> {
        let Place::Joining(joining) = &mut self.place else { return Ok(()) };
        let Some(path) = &mut joining.path else { return Ok(()) };
        match (message, &mut path.ticket) {
            (puente_ledger::Message::Commit(commit), Ticket::Welcome(_, kept @ None)) => {
                let ordered = path.joiner.arrived();
                if ordered.is_none_or(|ordered| ordered.commit_hash() != puente_group::commit_hash(&commit)) {
                    return Err(Fault::NotAwaited("a commit"));
                }
                *kept = Some(commit);
            }
            (message @ puente_ledger::Message::Entries { .. }, _) => {
                if let Err(fault) = path.joiner.handle(message) {
                    // What the guide shows does not hold: somebody else is to show it.
                    if *from == path.guide {
                        joining.path = None;
                    }
                    return Err(fault.into());
                }
            }
            // What members say to each other about what comes next: it is asked for again once this node is in.
            _ => return Ok(()),
        }
        joining.asked = None;
        self.come_in(shared)?;
        self.ask_for_chain(shared);
        Ok(())
    }

    /// Comes in, if the order is verified that far.
    fn come_in(&mut self, shared: &mut Shared) -> Result<(), Fault> {
        let Place::Joining(joining) = &mut self.place else { return Ok(()) };
        let Some(path) = &joining.path else { return Ok(()) };
        match &path.ticket {
            Ticket::Welcome(_, Some(_)) => self.come_in_welcomed(shared),
            Ticket::Shown(_) if path.joiner.arrived().is_some() => self.come_in_shown(shared),
            _ => Ok(()),
        }
    }

    fn come_in_welcomed(&mut self, shared: &mut Shared) -> Result<(), Fault> {
        let Place::Joining(joining) = &mut self.place else { return Ok(()) };
        let Some(path) = joining.path.take() else { return Ok(()) };
        let Path { genesis, joiner, ticket: Ticket::Welcome(welcome, Some(commit)), guide } = *path else {
            return Ok(());
        };
        let ordered = joiner.arrived().cloned().ok_or(Fault::NotAwaited("a commit"))?;
        let (hash, proof) = (ordered.commit_hash(), proof(genesis.id, &ordered));
        let trust = shared.charters.trust(&self.name, ordered.charter())?;
        let old = Vec::<Vec<u8>>::new();
        let joined = shared.stock.join(&shared.identity, &welcome.welcome, &commit, &proof, &trust, &[], old);
        let joined = match joined {
            Ok(joined) => joined,
            Err(error) => {
                joining.lost = Some(welcome);
                return Err(error.into());
            }
        };
        let group = joined.group;
        let roster: Roster = group.members().cloned().collect();
        if let Err(fault) = held(&joiner, &roster, &commit) {
            joining.lost = Some(welcome);
            // Its key package is used up all the same.
            shared.out.write(&self.name, kept::stock(joined.stock_changes), None, Vec::new());
            return Err(fault);
        }
        let (ledger, records) =
            joiner.enter(roster.clone(), Some(Box::new(shared.keys.clone())), shared.tuning.ledger, shared.now)?;
        let began = EpochBegan {
            epoch: group.epoch(),
            commit: hash,
            ledger: ordered.ledger().clone(),
            index: ordered.index(),
            epoch_hash: group.epoch_hash(),
        };
        let mut puts = kept::state(&self.name, joined.group_changes);
        puts.extend(kept::stock(joined.stock_changes));
        let then = vec![Then::Send(guide, Message::Joined)];
        let epoch = group.epoch();
        self.enter(shared, genesis, ledger, records, Some(group), puts, Some(GroupEvent::Epoch(began)), then);
        let (group, added, removed) = (self.name.clone(), vec![shared.me.clone()], Vec::new());
        shared.rosters.insert(group.clone(), roster);
        shared.out.push(Effect::Members { group, epoch, added, removed });
        self.tick(shared);
        Ok(())
    }

    fn come_in_shown(&mut self, shared: &mut Shared) -> Result<(), Fault> {
        let Place::Joining(joining) = &mut self.place else { return Ok(()) };
        let Some(path) = joining.path.take() else { return Ok(()) };
        let Path { genesis, joiner, ticket: Ticket::Shown(roster), .. } = *path else { return Ok(()) };
        let keys = Some(Box::new(shared.keys.clone()) as Box<_>);
        let (ledger, records) = joiner.enter(roster, keys, shared.tuning.ledger, shared.now)?;
        self.enter(shared, genesis, ledger, records, None, Vec::new(), None, Vec::new());
        shared.out.alarm(Alarm::Rejoining { group: self.name.clone(), why: puente_group::StoreError::Torn.into() });
        self.tick(shared);
        Ok(())
    }

    #[allow(clippy::too_many_arguments)]
    fn enter(
        &mut self,
        shared: &mut Shared,
        genesis: Genesis,
        ledger: puente_ledger::Engine,
        records: Vec<puente_ledger::Record>,
        group: Option<puente_group::Group>,
        mut puts: Vec<crate::api::Put>,
        event: Option<GroupEvent>,
        then: Vec<Then>,
    ) {
        puts.push((kept::key(&self.name, Kind::Genesis, b""), Some(genesis.encode())));
        puts.extend(self.records.replace(&self.name, &records));
        shared.out.write(&self.name, puts, event, then);
        let (stale, rejoin, asked, fresh) = (Vec::new(), None, None, shared.now);
        self.place = Place::Inside(Box::new(Inside { genesis, ledger, group, stale, rejoin, asked, fresh }));
    }
}
