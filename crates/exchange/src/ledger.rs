//! This node's own log: what waits to be recorded, what is being made durable, what is proven.

use std::collections::VecDeque;

use puente_audit_log::{
    Batch as LogBatch, BundleId, Journal, Log, ProveError, Receipt, SealError, Sealed, SignedCheckpoint, Signer,
    StageError, TILE_WIDTH, TileReader, decode_bundle, leaf_hash,
};
use puente_model::{Digest, LeafIndex, Millis, TreeSize, limits};

use crate::api::Batch;
use crate::minor::MINOR;

/// An entry that is durable in this node's log, under a signed head.
///
/// Only [`Ledger::durable`] makes one: whoever sends an entry's consequence needs the `Recorded` of that very
/// entry, so nothing can be revealed before it is recorded.
#[derive(Debug, Clone)]
pub(crate) struct Recorded {
    receipt: Receipt,
}

impl Recorded {
    pub(crate) fn leaf(&self) -> &Digest {
        self.receipt.leaf()
    }

    pub(crate) fn index(&self) -> LeafIndex {
        self.receipt.index()
    }

    /// The receipt (C2SP tlog-proof) for a peer.
    pub(crate) fn receipt(&self) -> Vec<u8> {
        self.receipt.encode()
    }
}

/// Entries and store changes that stand or fall together, and what follows once they are durable.
#[derive(Debug)]
pub(crate) struct Intent<T> {
    pub(crate) entries: Vec<Vec<u8>>,
    pub(crate) puts: Vec<(Vec<u8>, Option<Vec<u8>>)>,
    pub(crate) asides: Vec<Vec<u8>>,
    pub(crate) then: T,
}

/// Why a batch cannot be made.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LedgerError {
    #[error(transparent)]
    Stage(#[from] StageError),
    #[error(transparent)]
    Seal(#[from] SealError),
}

#[derive(Debug)]
struct InFlight<T> {
    number: u64,
    sealed: Option<Sealed>,
    /// First entry's place in the batch, number of entries, what follows.
    parts: Vec<(usize, usize, T)>,
}

/// The driver said that the batch is durable: this journal has nothing left to do.
pub(crate) struct AlreadyDurable;

impl Journal for AlreadyDurable {
    type Error = std::convert::Infallible;

    fn persist(&mut self, _: LogBatch<'_>) -> Result<(), Self::Error> {
        Ok(())
    }
}

/// How long changes of the store alone wait for a batch with entries: a sync of their own would cost what an exchange
/// does, and what a crash takes of them (a peer's receipt, a mark that an exchange ended) is asked for again.
const QUIET_MILLIS: u64 = 250;

/// How long to wait for company before a batch is cut.
#[derive(Debug, Clone, Copy)]
pub struct Tuning {
    /// A batch may wait this long for more entries, in milliseconds, if the one before held several.
    pub linger_millis: u64,
    /// A batch is cut at once with this many entries waiting.
    pub batch_entries: usize,
    /// A numbering's open period is closed at this many numbers, however young it is.
    pub period_entries_max: u64,
    /// Lookups that one peer may have under way before it is told to wait.
    pub lookups_per_peer_max: usize,
    /// Questions that one officer may put in one minute.
    pub queries_per_officer_per_minute: u32,
    /// Questions that one peer may have recorded here in one minute.
    pub queries_per_peer_per_minute: u32,
    /// How long after its ANSWER a step-1 hit may be quoted at step 2, in milliseconds.
    pub hit_valid_millis: u64,
    /// Whether this node asks and answers in training.
    pub training: bool,
    /// Minor version of the protocol that is spoken: this implementation's, or an older one, exactly as a node of that minor.
    pub minor: u32,
}

impl Default for Tuning {
    fn default() -> Self {
        Self {
            linger_millis: 0,
            batch_entries: 256,
            period_entries_max: 100_000,
            lookups_per_peer_max: 1_024,
            queries_per_officer_per_minute: limits::QUERIES_PER_OFFICER_PER_MINUTE_MAX,
            queries_per_peer_per_minute: limits::QUERIES_PER_PEER_PER_MINUTE_MAX,
            hit_valid_millis: 30 * 86_400_000,
            training: true,
            minor: MINOR,
        }
    }
}

/// This node's own log, with at most one batch on its way to the disk.
pub(crate) struct Ledger<T> {
    tree: Log,
    tiles: Box<dyn TileReader + Send>,
    signer: Box<dyn Signer + Send>,
    queue: VecDeque<Intent<T>>,
    queued_entries: usize,
    waiting_since: Option<Millis>,
    /// Since when changes of the store alone wait, which nobody waits for.
    quiet_since: Option<Millis>,
    last_batch_entries: usize,
    in_flight: Option<InFlight<T>>,
    next_number: u64,
    tuning: Tuning,
    /// The final entry is in the queue or the log: nothing comes after it.
    finished: bool,
    /// What would have followed entries that came too late.
    refused: Vec<T>,
}

impl<T> Ledger<T> {
    pub(crate) fn new(
        tree: Log,
        tiles: Box<dyn TileReader + Send>,
        signer: Box<dyn Signer + Send>,
        tuning: Tuning,
    ) -> Self {
        Self {
            tree,
            tiles,
            signer,
            queue: VecDeque::new(),
            queued_entries: 0,
            waiting_since: None,
            quiet_since: None,
            last_batch_entries: 0,
            in_flight: None,
            next_number: 1,
            tuning,
            finished: false,
            refused: Vec::new(),
        }
    }

    pub(crate) fn tree(&self) -> &Log {
        &self.tree
    }

    pub(crate) fn head(&self) -> Option<&SignedCheckpoint> {
        self.tree.head()
    }

    pub(crate) fn size(&self) -> u64 {
        self.tree.size().0
    }

    /// The index that the next enqueued entry will have.
    pub(crate) fn next_index(&self) -> u64 {
        let in_flight = self.in_flight.as_ref().map_or(0, |f| f.parts.iter().map(|(_, n, _)| *n).sum());
        self.size() + (in_flight + self.queued_entries) as u64
    }

    /// Nothing waits and nothing is on its way.
    pub(crate) fn is_idle(&self) -> bool {
        self.queue.is_empty() && self.in_flight.is_none()
    }

    /// Enqueues the log's final entry: whatever comes after it, in this batch or another, is never recorded.
    pub(crate) fn finish(&mut self, now: Millis, intent: Intent<T>) {
        self.enqueue(now, intent);
        self.finished = true;
    }

    pub(crate) fn enqueue(&mut self, now: Millis, intent: Intent<T>) {
        if self.finished {
            self.refused.push(intent.then);
            return;
        }
        self.queued_entries += intent.entries.len();
        self.waiting_since.get_or_insert(now);
        self.queue.push_back(intent);
    }

    /// Changes of the store that nothing follows from: they go with the next batch, or after a while alone.
    pub(crate) fn enqueue_quiet(&mut self, now: Millis, intent: Intent<T>) {
        if self.finished {
            self.refused.push(intent.then);
            return;
        }
        self.quiet_since.get_or_insert(now);
        self.queue.push_back(intent);
    }

    /// When the waiting batch is to be cut, if one waits and none is on its way.
    pub(crate) fn deadline(&self) -> Option<Millis> {
        if self.in_flight.is_some() {
            return None;
        }
        let waiting = self.waiting_since.map(|since| since.plus(self.linger()));
        let quiet = self.quiet_since.map(|since| since.plus(QUIET_MILLIS));
        [waiting, quiet].into_iter().flatten().min()
    }

    /// What waits would otherwise wait until the clock is where it was.
    pub(crate) fn clock_put_back(&mut self, now: Millis) {
        self.waiting_since = self.waiting_since.map(|since| since.min(now));
        self.quiet_since = self.quiet_since.map(|since| since.min(now));
    }

    fn linger(&self) -> u64 {
        let crowd = self.queued_entries < self.tuning.batch_entries && self.last_batch_entries > 4;
        if crowd { self.tuning.linger_millis } else { 0 }
    }

    /// Cuts the next batch if it is time: stages it, checks it a second way, signs its head.
    pub(crate) fn cut(
        &mut self,
        now: Millis,
        mut puts: Vec<(Vec<u8>, Option<Vec<u8>>)>,
    ) -> Result<Option<Batch>, LedgerError> {
        if self.deadline().is_none_or(|due| due > now) {
            return Ok(None);
        }
        let (mut entries, mut asides, mut parts) = (Vec::new(), Vec::new(), Vec::new());
        while let Some(intent) = self.queue.front() {
            if entries.len() + intent.entries.len() > limits::BATCH_ENTRIES_MAX {
                break;
            }
            let Some(intent) = self.queue.pop_front() else { break };
            parts.push((entries.len(), intent.entries.len(), intent.then));
            entries.extend(intent.entries);
            puts.extend(intent.puts);
            asides.extend(intent.asides);
        }
        self.queued_entries -= entries.len();
        self.waiting_since = if self.queue.is_empty() { None } else { Some(now) };
        self.quiet_since = None;
        self.last_batch_entries = entries.len();
        let number = self.next_number;
        self.next_number += 1;
        let first_index = LeafIndex(self.size());
        let (sealed, checkpoint) = if entries.is_empty() && self.tree.head().is_some() {
            (None, Vec::new())
        } else {
            let sealed = self.tree.stage(&entries)?.sign(&*self.signer)?;
            let note = sealed.batch().head.note_bytes().to_vec();
            (Some(sealed), note)
        };
        self.in_flight = Some(InFlight { number, sealed, parts });
        Ok(Some(Batch { number, first_index, entries, checkpoint, puts, asides }))
    }

    /// The batch is durable: what follows, each with its entries' proofs.
    pub(crate) fn durable(&mut self, number: u64) -> Vec<(T, Vec<Recorded>)> {
        let Some(in_flight) = self.in_flight.take_if(|f| f.number == number) else { return Vec::new() };
        let mut receipts = Vec::new();
        if let Some(sealed) = in_flight.sealed {
            // Neither can fail: the journal has nothing to do, and the tree cannot have moved while the one
            // batch was on its way. If they did, nothing would follow: no proof, no consequence.
            if let Ok(persisted) = sealed.persist(&mut AlreadyDurable)
                && self.tree.commit(persisted).is_ok()
            {
                receipts = self.tree.last_receipts().unwrap_or_default();
            }
        }
        let mut receipts = receipts.into_iter();
        in_flight
            .parts
            .into_iter()
            .map(|(_, count, then)| {
                let recorded = receipts.by_ref().take(count).map(|receipt| Recorded { receipt }).collect();
                (then, recorded)
            })
            .collect()
    }

    /// The log cannot be written: what waited for it never follows.
    pub(crate) fn abandon(&mut self) -> Vec<T> {
        self.waiting_since = None;
        self.queued_entries = 0;
        let flying = self.in_flight.take().into_iter().flat_map(|f| f.parts).map(|(_, _, then)| then);
        let refused = std::mem::take(&mut self.refused);
        flying.chain(self.queue.drain(..).map(|intent| intent.then)).chain(refused).collect()
    }

    /// A fresh proof of an entry recorded earlier, by this run or one before.
    pub(crate) fn recorded(&self, index: LeafIndex) -> Result<Recorded, ProveError> {
        Ok(Recorded { receipt: self.tree.receipt(index, &*self.tiles)? })
    }

    /// The bytes of a durable entry, if it is the one with this leaf hash.
    pub(crate) fn entry(&self, index: u64, leaf: &Digest) -> Option<Vec<u8>> {
        let wide = u64::from(TILE_WIDTH);
        let rest = self.size().checked_sub(index / wide * wide)?.min(wide);
        let id = BundleId::new(index / wide, u16::try_from(rest).ok()?).ok()?;
        // A partial bundle may have grown to a full one.
        let (bytes, width) = match self.tiles.bundle(id) {
            Ok(bytes) => (bytes, id.width()),
            Err(_) => (self.tiles.bundle(id.widened()).ok()?, TILE_WIDTH),
        };
        let entries = decode_bundle(&bytes, width).ok()?;
        let entry = entries.get(usize::try_from(index % wide).ok()?)?;
        (leaf_hash(entry) == *leaf).then(|| entry.to_vec())
    }

    pub(crate) fn consistency(&self, from: u64, to: u64) -> Result<Vec<Digest>, ProveError> {
        self.tree.prove_consistency(TreeSize(from), TreeSize(to), &*self.tiles)
    }
}

#[cfg(test)]
mod tests {
    use puente_audit_log::{Ed25519Signer, KeyKind, MemoryFiles};
    use puente_model::Secret32;

    use super::*;

    const ORIGIN: &str = "mx/fge-bc/n1/log1";

    fn ledger(tuning: Tuning) -> Ledger<u32> {
        let signer = Ed25519Signer::new(ORIGIN, KeyKind::Ed25519, &Secret32::new([1; 32])).unwrap();
        Ledger::new(Log::empty(ORIGIN).unwrap(), Box::new(MemoryFiles::new()), Box::new(signer), tuning)
    }

    fn intent(entries: &[&str], then: u32) -> Intent<u32> {
        let entries = entries.iter().map(|e| e.as_bytes().to_vec()).collect();
        Intent { entries, puts: vec![(vec![then as u8], Some(Vec::new()))], asides: Vec::new(), then }
    }

    #[test]
    fn proofs_come_with_durability_and_not_before() {
        let mut ledger = ledger(Tuning::default());
        ledger.enqueue(Millis(5), intent(&["one"], 1));
        ledger.enqueue(Millis(5), intent(&[], 2));
        ledger.enqueue(Millis(5), intent(&["two", "three"], 3));
        assert_eq!((ledger.next_index(), ledger.size()), (3, 0));
        let batch = ledger.cut(Millis(5), Vec::new()).unwrap().unwrap();
        assert_eq!((batch.number, batch.first_index, batch.entries.len(), batch.puts.len()), (1, LeafIndex(0), 3, 3));
        assert!(ledger.recorded(LeafIndex(0)).is_err(), "nothing is proven before it is durable");
        // What comes meanwhile waits for its turn.
        ledger.enqueue(Millis(6), intent(&["four"], 4));
        assert_eq!((ledger.next_index(), ledger.deadline()), (4, None));
        assert!(ledger.cut(Millis(9), Vec::new()).unwrap().is_none(), "one batch at a time");
        assert!(ledger.durable(7).is_empty(), "a batch that nobody cut");
        let done = ledger.durable(1);
        let leaves: Vec<(u32, Vec<Digest>)> =
            done.into_iter().map(|(then, proofs)| (then, proofs.iter().map(|p| *p.leaf()).collect())).collect();
        let leaf = |text: &str| leaf_hash(text.as_bytes());
        assert_eq!(leaves, [(1, vec![leaf("one")]), (2, vec![]), (3, vec![leaf("two"), leaf("three")])]);
        assert!(ledger.durable(1).is_empty(), "once");
        assert_eq!(*ledger.recorded(LeafIndex(2)).unwrap().leaf(), leaf("three"));
        let batch = ledger.cut(Millis(9), Vec::new()).unwrap().unwrap();
        assert_eq!((batch.number, batch.first_index), (2, LeafIndex(3)));
        ledger.durable(2);
        assert!(ledger.is_idle());
    }

    #[test]
    fn nothing_comes_after_the_final_entry_whatever_is_under_way() {
        let mut ledger = ledger(Tuning::default());
        ledger.enqueue(Millis(0), intent(&["one"], 1));
        ledger.cut(Millis(0), Vec::new()).unwrap().unwrap();
        ledger.finish(Millis(0), intent(&["final"], 2));
        // What follows the batch on its way, and what comes after: too late, all of it.
        ledger.enqueue(Millis(0), intent(&["late"], 3));
        ledger.enqueue_quiet(Millis(0), intent(&[], 4));
        assert_eq!(ledger.durable(1).len(), 1);
        let batch = ledger.cut(Millis(0), Vec::new()).unwrap().unwrap();
        assert_eq!(batch.entries, [b"final".to_vec()]);
        assert_eq!(ledger.durable(2).len(), 1);
        ledger.enqueue(Millis(9), intent(&["later"], 5));
        assert!(ledger.cut(Millis(9), Vec::new()).unwrap().is_none() && ledger.is_idle());
        assert_eq!((ledger.size(), ledger.abandon()), (2, vec![3, 4, 5]));
    }

    #[test]
    fn changes_of_the_store_alone_need_no_head() {
        let mut ledger = ledger(Tuning::default());
        ledger.enqueue(Millis(0), intent(&["one"], 1));
        ledger.cut(Millis(0), Vec::new()).unwrap();
        ledger.durable(1);
        ledger.enqueue(Millis(0), intent(&[], 2));
        let batch = ledger.cut(Millis(0), Vec::new()).unwrap().unwrap();
        assert!(batch.checkpoint.is_empty() && batch.entries.is_empty());
        assert_eq!(ledger.durable(2).len(), 1);
        assert_eq!(ledger.size(), 1);
    }

    #[test]
    fn a_batch_holds_what_the_limit_allows_and_keeps_intents_whole() {
        let mut ledger = ledger(Tuning::default());
        let pair = ["a", "b"];
        for then in 0..600 {
            ledger.enqueue(Millis(0), intent(&pair, then));
        }
        let first = ledger.cut(Millis(0), Vec::new()).unwrap().unwrap();
        assert_eq!(first.entries.len(), limits::BATCH_ENTRIES_MAX);
        ledger.durable(1);
        let second = ledger.cut(Millis(0), Vec::new()).unwrap().unwrap();
        assert_eq!((second.first_index.0, second.entries.len()), (1_024, 176));
    }

    #[test]
    fn lingering_ends_and_a_clock_put_back_holds_nothing_up() {
        let mut ledger = ledger(Tuning { linger_millis: 4, ..Tuning::default() });
        ledger.enqueue(Millis(100), intent(&["a", "b", "c", "d", "e"], 1));
        assert_eq!(ledger.deadline(), Some(Millis(100)), "alone it need not wait");
        ledger.cut(Millis(100), Vec::new()).unwrap().unwrap();
        ledger.durable(1);
        ledger.enqueue(Millis(100), intent(&["f"], 2));
        assert_eq!(ledger.deadline(), Some(Millis(104)), "after a crowd it waits for company");
        assert!(ledger.cut(Millis(103), Vec::new()).unwrap().is_none());
        ledger.clock_put_back(Millis(10));
        assert_eq!(ledger.deadline(), Some(Millis(14)));
        assert!(ledger.cut(Millis(14), Vec::new()).unwrap().is_some());
    }
}
