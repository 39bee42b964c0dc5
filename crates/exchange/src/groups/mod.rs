//! This node's groups (`puente-corridor`), hosted: their writes stand in this node's batches, their messages travel on the
//! connections that stand, their ledgers' heads go to the charter's witnesses.
//!
//! ```text
//! charter, connections, Group frames, witnesses ──▶ Corridors ──▶ Write ──▶ batch (puts, and HELD, EPOCH in the log)
//!                                                       ├──▶ Send ──▶ Group frames, in parts
//!                                                       ├──▶ Submit, Read ──▶ witnesses
//!                                                       └──▶ Alarm
//! ```

mod asking;
mod binding;
mod framing;
mod relaying;
mod witnesses;

use puente_corridor::{Corridors, Effect as Wanted, EpochBegan, GroupEvent, Input as Told, Want};
use puente_ledger::GroupId;
use puente_model::{Millis, NodeUri};
use puente_wire::fault::FaultCode;
use puente_wire::{Entry, GroupEntry, GroupEvent as Written, LedgerPlace};

use self::binding::Anew;
pub(crate) use self::binding::with_psk;
use self::framing::Partial;
use crate::api::{Alarm, Conclusion, ConnectionId, Effect, Ticket};
use crate::engine::{AGAIN_MILLIS, Engine, Then, Timer};
use crate::ledger::{Intent, Recorded};

/// The groups, and what is under way for them.
#[derive(Default)]
pub(crate) struct Groups {
    pub(crate) corridors: Option<Box<Corridors>>,
    due: Option<Millis>,
    /// Messages of which parts have come, by connection.
    partial: std::collections::HashMap<ConnectionId, Partial>,
    /// Messages that counted for nothing.
    faults: u64,
    /// Questions that are put anew, by the exchange that was refused.
    anew: std::collections::BTreeMap<puente_model::ExchangeId, Anew>,
}

/// Pairs that are read of the store at once.
const PAGE: usize = 1_000;

/// Why this node's groups cannot be hosted.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GroupsError {
    /// The store.
    #[error("the evidence store cannot be read: {0}")]
    Store(String),
    /// What is kept of the groups.
    #[error(transparent)]
    Open(#[from] puente_corridor::OpenError),
}

/// One group, as an operator sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupStanding {
    /// Its name.
    pub group: GroupId,
    /// The epoch that this node is in; none while it enters anew.
    pub epoch: Option<u64>,
    /// Who is in.
    pub members: Vec<NodeUri>,
}

impl Engine {
    /// Hosts this node's groups, as the store holds them.
    ///
    /// # Errors
    /// The store cannot be read, or what it holds makes no groups.
    pub fn with_groups(mut self, setup: puente_corridor::Setup) -> Result<Self, GroupsError> {
        self.open_groups(self.last_now(), setup)?;
        Ok(self)
    }

    /// The same while the node runs: whoever is reached already is met in the groups, too.
    pub(crate) fn host_groups(&mut self, now: Millis, ticket: Ticket, setup: puente_corridor::Setup) {
        let hosted = if self.groups.corridors.is_some() { Ok(()) } else { self.open_groups(now, setup) };
        if hosted.is_ok() {
            let speaks = |known: &&crate::peer::Peer| {
                let line = known.ready.and_then(|connection| self.connections.get(&connection));
                line.is_some_and(|line| line.minor >= crate::minor::GROUPS)
            };
            let reached: Vec<NodeUri> = self.peers.values().filter(speaks).map(|known| known.uri.clone()).collect();
            for peer in reached {
                self.tell_groups(now, Told::Reached(peer));
            }
        }
        self.tell(ticket, Conclusion::Hosted(hosted.map_err(Box::new)));
    }

    fn open_groups(&mut self, now: Millis, setup: puente_corridor::Setup) -> Result<(), GroupsError> {
        let mut kept = Vec::new();
        for prefix in puente_corridor::PREFIXES {
            let mut start = Vec::new();
            loop {
                let page = self.store.scan(prefix, &start, PAGE).map_err(GroupsError::Store)?;
                let full = page.len() == PAGE;
                if let Some((last, _)) = page.last() {
                    start = [last.as_slice(), &[0]].concat();
                }
                kept.extend(page);
                if !full {
                    break;
                }
            }
        }
        let corridors = Corridors::open(setup, kept)?;
        self.restore_alerts(now).map_err(GroupsError::Store)?;
        self.groups.corridors = Some(Box::new(corridors));
        // Once whoever can be reached is.
        self.at(now.plus(AGAIN_MILLIS), Timer::SayAsks);
        self.carry_groups(now);
        Ok(())
    }

    /// The groups that this node is in.
    pub fn groups(&self) -> Vec<GroupStanding> {
        let Some(corridors) = &self.groups.corridors else { return Vec::new() };
        let standing = |(name, group): (&GroupId, Option<&puente_group::Group>)| GroupStanding {
            group: name.clone(),
            epoch: group.map(puente_group::Group::epoch),
            members: group.map(|group| group.members().cloned().collect()).unwrap_or_default(),
        };
        corridors.groups().map(standing).collect()
    }

    /// The ledgers of the groups that this node is in, as far as their entries stand here, each with its cosigned head.
    pub fn ledgers(&self) -> Vec<puente_ledger::LedgerCopy> {
        self.groups.corridors.as_ref().map(|corridors| corridors.ledgers()).unwrap_or_default()
    }

    /// Messages about groups that counted for nothing, since the start.
    pub const fn group_faults(&self) -> u64 {
        self.groups.faults
    }

    /// Tells the groups something, and carries out what they want.
    pub(crate) fn tell_groups(&mut self, now: Millis, told: Told) {
        if let Some(corridors) = &mut self.groups.corridors {
            corridors.handle(now, told);
            self.carry_groups(now);
        }
    }

    pub(crate) fn groups_due(&mut self, now: Millis) {
        self.groups.due = None;
        self.tell_groups(now, Told::Tick);
    }

    /// What was to be written stands.
    pub(crate) fn group_written(&mut self, now: Millis, ticket: u64, recorded: &[Recorded]) {
        let leaf = recorded.last().map(|recorded| *recorded.leaf());
        self.tell_groups(now, Told::Written { ticket, leaf });
    }

    /// An operator wants something of a group.
    pub(crate) fn want_of_group(&mut self, now: Millis, ticket: Ticket, group: GroupId, want: Want) {
        let known = self.groups().iter().any(|standing| standing.group == group);
        if known {
            self.tell_groups(now, Told::Want { group, want });
        }
        self.tell(ticket, Conclusion::Wanted { known });
    }

    /// Something came that counts for nothing.
    pub(crate) fn count_group_fault(&mut self) {
        self.groups.faults = self.groups.faults.saturating_add(1);
    }

    pub(crate) fn carry_groups(&mut self, now: Millis) {
        while let Some(wanted) = self.groups.corridors.as_mut().and_then(|corridors| corridors.poll_effect()) {
            self.carry_out_group(now, wanted);
        }
        let due = self.groups.corridors.as_ref().and_then(|corridors| corridors.poll_deadline());
        if let Some(due) = due.filter(|due| self.groups.due.is_none_or(|at| *due < at)) {
            if let Some(at) = self.groups.due.replace(due) {
                self.never(at, Timer::Groups);
            }
            self.at(due, Timer::Groups);
        }
    }

    /// Ends what stands with a node that was taken out: what ran there began under a trust that is gone. Whether they meet
    /// again is the charter's business, and the operator's; what is open goes on then.
    fn end_lines(&mut self, now: Millis, peer: &NodeUri) {
        let lines: Vec<ConnectionId> =
            self.connections.iter().filter(|(_, line)| line.peer == *peer).map(|(connection, _)| *connection).collect();
        for connection in lines {
            self.emit(Effect::Close { connection, reason: FaultCode::TakenOut });
            self.disconnected(now, connection);
        }
    }

    fn carry_out_group(&mut self, now: Millis, wanted: Wanted) {
        match wanted {
            Wanted::Send { to, group, message } => self.send_about_group(&to, &group, &message),
            Wanted::Write { ticket, group, puts, event } => {
                let entries = event.and_then(|event| group_entry(now, &group, event)).into_iter().collect();
                let then = Then::Group(ticket);
                self.enqueue(now, Intent { entries, puts, asides: Vec::new(), then });
            }
            Wanted::Submit { group, witness, old, proof, head } => {
                self.submit_ledger(now, group, &witness, old, &proof, head);
            }
            Wanted::Read { group, witness, ledger } => self.seek_head(now, group, &witness, ledger),
            Wanted::Alarm(alarm) => self.emit(Effect::Alarm(Alarm::Group(Box::new(alarm)))),
            Wanted::Fault { .. } => self.count_group_fault(),
            Wanted::Members { added, removed, .. } => {
                // Whoever enters anew is removed and added at once.
                for node in removed.iter().filter(|node| !added.contains(node)) {
                    self.end_lines(now, node);
                }
            }
            Wanted::Opened(opened) => self.heard(now, &opened),
            Wanted::Reached { post, node } => self.reached(now, post, &node),
            Wanted::Relay { to, group, id, sealed } => self.ask_to_relay(&to, &group, id, &sealed),
        }
    }

    pub(crate) fn put_groups_clock_back(&mut self, back: u64) {
        // Timers of all kinds move with the clock; this one's time is remembered here, too.
        self.groups.due = self.groups.due.map(|at| Millis(at.0.saturating_sub(back)));
    }
}

/// What the log holds of it; none for what no log can name.
fn group_entry(now: Millis, group: &GroupId, event: GroupEvent) -> Option<Vec<u8>> {
    let place = |ledger: &puente_ledger::LedgerOrigin, index| LedgerPlace::new(ledger.number(), index);
    let what = match event {
        GroupEvent::Held { ledger, index, statement } => Written::Held { place: place(&ledger, index)?, statement },
        GroupEvent::Epoch(EpochBegan { epoch, commit, ledger, index, epoch_hash }) => {
            Written::Epoch { epoch, commit, hash: epoch_hash, ordered: Some(place(&ledger, index)?) }
        }
    };
    let entry = GroupEntry { minute: now.minute(), group: group.as_str().parse().ok()?, what };
    Some(Entry::Group(entry).encode())
}
