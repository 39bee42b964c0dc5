//! What a partner's log lacks of cosignatures holds back what would be disclosed to it.

use std::collections::{BTreeMap, BTreeSet};

use puente_audit_log::{ClaimedCheckpoint, SignedCheckpoint};
use puente_model::{Digest, ExchangeId, Millis, NodeUri};

use crate::api::{Alarm, Effect};
use crate::engine::{Engine, Then};
use crate::holder::HoldStage;
use crate::ledger::Intent;
use crate::persist;

/// Content keys that wait for cosignatures. Whatever is lost of it comes again with the asker's next acknowledgement.
#[derive(Debug, Default)]
pub(crate) struct Withheld {
    waiting: BTreeMap<ExchangeId, Waiting>,
}

#[derive(Debug, Clone)]
struct Waiting {
    peer: NodeUri,
    /// Of the asker's receipt for the ANSWER.
    receipt: Digest,
    /// Where the ANSWER stands in the asker's log.
    theirs: u64,
}

impl Withheld {
    pub(crate) fn holds(&self, exchange: ExchangeId) -> bool {
        self.waiting.contains_key(&exchange)
    }
}

impl Engine {
    /// A partner showed a head that counts, with all its signatures.
    pub(crate) fn cover_shown(&mut self, now: Millis, peer: &NodeUri, note: &[u8]) {
        if self.charter.witness_policy().is_none() {
            return;
        }
        let Some(known) = self.peers.get(peer) else { return };
        let Ok(claimed) = ClaimedCheckpoint::parse(note) else { return };
        let size = claimed.claimed().size().0;
        // Most heads bear the log's signature alone.
        if size <= known.cover.cosigned() || claimed.signatures().len() < 2 {
            return;
        }
        let counts = known.log.known(size).map(SignedCheckpoint::root);
        let head = claimed.verify(known.log.key()).ok().filter(|head| Some(head.root()) == counts);
        if let Some(head) = head {
            self.cover(now, peer, &head);
        }
    }

    /// A head of a partner's that waited for its proof counts now.
    pub(crate) fn cover_known(&mut self, now: Millis, peer: &NodeUri, size: u64) {
        let head = self.peers.get(peer).and_then(|known| known.log.known(size)).cloned();
        if let Some(head) = head.filter(|head| head.signatures().len() > 1) {
            self.cover(now, peer, &head);
        }
    }

    fn cover(&mut self, now: Millis, peer: &NodeUri, head: &SignedCheckpoint) {
        let policy = self.charter.witness_policy();
        let by = self.quorum.cosigners(head);
        let by: BTreeSet<&str> = by.iter().map(String::as_str).collect();
        if policy.is_none() || !policy.is_met_by(&by) {
            return;
        }
        let Some(known) = self.peers.get_mut(peer) else { return };
        if !known.cover.reach(head.size().0, head.note_bytes()) {
            return;
        }
        let stored = known.cover.stored();
        let puts = vec![(persist::cover_key(peer, known.log_number), Some(stored))];
        self.enqueue(now, Intent { entries: Vec::new(), puts, asides: Vec::new(), then: Then::Nothing });
        self.release_covered(now, Some(peer));
    }

    /// The asker acknowledged: its content key is released, or waits for cosignatures.
    pub(crate) fn release_or_withhold(
        &mut self,
        now: Millis,
        exchange: ExchangeId,
        receipt: Digest,
        theirs: u64,
    ) -> Result<(), String> {
        let Some(hold) = self.holds.get(&exchange) else { return Ok(()) };
        let peer = hold.peer.clone();
        if self.may_release(now, exchange, theirs) {
            self.withheld.waiting.remove(&exchange);
            return self.record_release_entry(now, exchange, receipt);
        }
        self.withheld.waiting.insert(exchange, Waiting { peer, receipt, theirs });
        Ok(())
    }

    /// Nothing is disclosed to whoever's log is behind the charter's bound, and what the charter marks sensitive only once
    /// both logs' entries of the exchange are cosigned.
    fn may_release(&self, now: Millis, exchange: ExchangeId, theirs: u64) -> bool {
        if self.charter.witness_policy().is_none() {
            return true;
        }
        let Some(hold) = self.holds.get(&exchange) else { return false };
        let Some(known) = self.peers.get(&hold.peer) else { return false };
        if self.is_past_bound(now, &known.cover) {
            return false;
        }
        let sensitive = hold.query.terms().is_none_or(|terms| self.charter.is_sensitive(&terms.kind));
        let covered = known.cover.cosigned() > theirs && self.gathering.cover.cosigned() > hold.stored.answer_index;
        !sensitive || covered
    }

    /// More is cosigned than before, of one partner's log or of the own: looks again at what was held back.
    pub(crate) fn release_covered(&mut self, now: Millis, peer: Option<&NodeUri>) {
        let of_peer = |waiting: &Waiting| peer.is_none_or(|peer| *peer == waiting.peer);
        let waiting: Vec<(ExchangeId, Waiting)> =
            self.withheld.waiting.iter().filter(|(_, w)| of_peer(w)).map(|(id, w)| (*id, w.clone())).collect();
        for (exchange, waiting) in waiting {
            if !self.may_still_release(now, &waiting.peer, exchange) {
                self.withheld.waiting.remove(&exchange);
                self.forget_held(exchange);
                continue;
            }
            if let Err(text) = self.release_or_withhold(now, exchange, waiting.receipt, waiting.theirs) {
                self.emit(Effect::Alarm(Alarm::StoreUnavailable(text)));
            }
        }
    }

    /// The key is still awaited, and the asker may still have it.
    pub(crate) fn may_still_release(&self, now: Millis, peer: &NodeUri, exchange: ExchangeId) -> bool {
        let awaited = self.holds.get(&exchange).is_some_and(|hold| {
            hold.stage == HoldStage::AwaitingReceipt && hold.stored.sealed.is_some() && hold.due_at >= now
        });
        awaited && self.admits(peer) && self.charter.status(now).may_exchange()
    }
}
