//! Effects on their way out, and what waits for the disk.

use std::collections::{BTreeMap, VecDeque};

use puente_ledger::GroupId;
use puente_model::{Digest, NodeUri};

use crate::api::{Alarm, Effect, Fault, GroupEvent, Message, Put};

/// What follows once something is durable.
#[derive(Debug)]
pub(crate) enum Then {
    /// Send.
    Send(NodeUri, Message),
    /// Tell the ledger's engine that its record is durable.
    LedgerStored(u64),
    /// Tell the ledger's engine that HELD stands.
    HeldStands(Digest),
    /// Have a post passed on.
    Relay(NodeUri, crate::post::PostId, Vec<u8>),
    /// Submit the commit that was staged.
    Submit,
    /// Send a post to whoever can be reached.
    Deliver(crate::post::PostId),
}

/// What leaves, in order.
#[derive(Default)]
pub(crate) struct Out {
    pub(crate) effects: VecDeque<Effect>,
    waiting: BTreeMap<u64, (GroupId, Vec<Then>)>,
    tickets: u64,
}

impl Out {
    pub(crate) fn push(&mut self, effect: Effect) {
        self.effects.push_back(effect);
    }

    pub(crate) fn alarm(&mut self, alarm: Alarm) {
        self.push(Effect::Alarm(alarm));
    }

    pub(crate) fn fault(&mut self, group: &GroupId, from: Option<&NodeUri>, fault: impl Into<Fault>) {
        self.push(Effect::Fault { group: group.clone(), from: from.cloned(), fault: fault.into() });
    }

    pub(crate) fn send(&mut self, to: &NodeUri, group: &GroupId, message: Message) {
        self.push(Effect::Send { to: to.clone(), group: group.clone(), message });
    }

    /// Asks for changes to be made durable; what waits for them follows.
    pub(crate) fn write(&mut self, group: &GroupId, puts: Vec<Put>, event: Option<GroupEvent>, then: Vec<Then>) {
        self.tickets += 1;
        let ticket = self.tickets;
        self.waiting.insert(ticket, (group.clone(), then));
        self.push(Effect::Write { ticket, group: group.clone(), puts, event });
    }

    /// What waited for a write.
    pub(crate) fn written(&mut self, ticket: u64) -> Option<(GroupId, Vec<Then>)> {
        self.waiting.remove(&ticket)
    }
}
