//! Effects on their way out, and what waits for the disk.

use std::collections::{BTreeMap, VecDeque};

use puente_model::NodeUri;

use crate::api::{Effect, Message, Record};

/// What leaves the engine, in order; what is for this node itself stays inside.
#[derive(Debug, Default)]
pub(crate) struct Out {
    pub(crate) effects: VecDeque<Effect>,
    /// Messages of this node to itself.
    pub(crate) own: VecDeque<Message>,
    waiting: BTreeMap<u64, Vec<Effect>>,
    tickets: u64,
}

impl Out {
    pub(crate) fn push(&mut self, effect: Effect) {
        self.effects.push_back(effect);
    }

    pub(crate) fn send(&mut self, me: &NodeUri, to: &NodeUri, message: Message) {
        self.release(me, vec![Effect::Send { to: to.clone(), message }]);
    }

    /// Asks for a record to be made durable; the effects follow once it is.
    pub(crate) fn store(&mut self, record: Record, then: Vec<Effect>) -> u64 {
        self.tickets += 1;
        let ticket = self.tickets;
        self.waiting.insert(ticket, then);
        self.push(Effect::Store { ticket, record });
        ticket
    }

    /// A record is durable.
    pub(crate) fn stored(&mut self, me: &NodeUri, ticket: u64) {
        let then = self.waiting.remove(&ticket).unwrap_or_default();
        self.release(me, then);
    }

    fn release(&mut self, me: &NodeUri, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::Send { to, message } if to == *me => self.own.push_back(message),
                effect => self.effects.push_back(effect),
            }
        }
    }
}
