//! Leaving the federation: what is open ends, one final entry closes the log, and nothing comes after it.
//!
//! The final entry is REVOKE with the own name. Its header is opened to everybody ([`Conclusion::Left`]), so that any
//! auditor sees that the log is closed, without a key. Once it is durable this engine does nothing more, and no other
//! opens on its store.

use prost::Message as _;
use puente_model::{EventKind, ExchangeId, Millis, RefusalReason};
use puente_wire::fault::FaultCode;
use puente_wire::proto;

use crate::api::{Conclusion, Ticket};
use crate::control::plain_event;
use crate::engine::{Engine, Then};
use crate::holder::HoldStage;
use crate::judging::{Say, words};
use crate::ledger::{Intent, Recorded};
use crate::persist;

impl Engine {
    /// Ends what is open, as a cut towards every peer would: VOID where nothing was answered, UNRELEASED where the
    /// content was not released; what waits for a person here is refused.
    pub(crate) fn end_all(&mut self, now: Millis, ticket: Ticket) {
        self.draining = true;
        let asks: Vec<ExchangeId> = self.asks.keys().copied().collect();
        for exchange in asks {
            self.end_cut(now, exchange);
        }
        let waits = |hold: &crate::holder::Holding| hold.stage == HoldStage::Parked && hold.answer.is_none();
        let parked: Vec<ExchangeId> =
            self.holds.iter().filter(|(_, hold)| waits(hold)).map(|(exchange, _)| *exchange).collect();
        for exchange in parked {
            let text = words(now, "this agency leaves the federation", "esta institución deja la federación");
            self.answer(now, exchange, Say::Refuse(RefusalReason::Failed, text));
        }
        // Durable once all of that is: entries are recorded in the order in which they are enqueued.
        let then = Then::Ended(ticket);
        self.enqueue(now, Intent { entries: Vec::new(), puts: Vec::new(), asides: Vec::new(), then });
    }

    /// Records the final entry.
    pub(crate) fn leave(&mut self, now: Millis, ticket: Ticket, reason: String) {
        self.draining = true;
        let mut event = self.event(now, plain_event(EventKind::Revoke, 1, Vec::new()));
        event.peer = Some(self.node.clone());
        let crate::record::OpenedEvent { mut intent, proven, .. } = self.opened_event(now, event, reason.into_bytes());
        let last = self.next_index() + intent.entries.len().saturating_sub(1) as u64;
        intent.puts.push((persist::LEFT.to_vec(), Some(last.to_be_bytes().to_vec())));
        self.ledger.finish(now, Intent { then: Then::Left(ticket, Box::new(proven)), ..intent });
    }

    /// The final entry stands: everybody is told, and nothing else happens here any more.
    pub(crate) fn left(&mut self, ticket: Ticket, mut proven: proto::Proven, recorded: Option<&Recorded>) {
        if let Some(recorded) = recorded {
            proven.receipt = recorded.receipt();
            let (index, proven) = (recorded.index(), proven.encode_to_vec());
            self.tell(ticket, Conclusion::Left { index, proven });
        }
        self.end(FaultCode::Left);
    }
}
