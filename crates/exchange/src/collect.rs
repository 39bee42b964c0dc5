//! One batch of records, one COLLECT, and one ERASE when it goes: whoever says again what was collected or erased gets the
//! entry that stands.

use puente_model::{Digest, EventKind, LeafIndex, Millis};

use crate::api::{Conclusion, LocalEvent, Ticket};
use crate::engine::{Engine, Then};
use crate::persist;

impl Engine {
    /// Records a local event. A COLLECT or ERASE with the details of an earlier one is not recorded a second time:
    /// its details name the root of a batch, so equal details are one batch whose job was cut off before it heard the answer.
    pub(crate) fn local_event(&mut self, now: Millis, ticket: Ticket, event: LocalEvent) {
        if !matches!(event.kind, EventKind::Collect | EventKind::Erase) || event.detail.is_empty() {
            return self.record_event(now, event, |_| {}, Then::Event(ticket));
        }
        let batch = Digest::of(&event.detail);
        if let Some(waiting) = self.collecting.get_mut(&batch) {
            return waiting.push(ticket);
        }
        let key = persist::collected_key(&batch.0);
        match self.store.get(&key) {
            Ok(Some(index)) => {
                let index = <[u8; 8]>::try_from(index.as_slice()).map_or(0, u64::from_be_bytes);
                self.tell(ticket, Conclusion::Recorded { index: LeafIndex(index) });
            }
            Ok(None) => {
                self.collecting.insert(batch, vec![ticket]);
                self.record_event(now, event, |_| {}, Then::Collected(batch));
            }
            // Whether it stands cannot be known: twice would be worse than later.
            Err(_) => self.tell(ticket, Conclusion::LogUnavailable),
        }
    }

    /// The batch's entry stands: everybody who waits for it hears where.
    pub(crate) fn collected(&mut self, batch: &Digest, index: LeafIndex) {
        for ticket in self.collecting.remove(batch).unwrap_or_default() {
            self.tell(ticket, Conclusion::Recorded { index });
        }
    }
}
