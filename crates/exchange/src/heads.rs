//! What this node knows of one peer's log: which heads count.

use std::collections::BTreeMap;

use puente_audit_log::{ClaimedCheckpoint, ClaimedReceipt, Receipt, SignedCheckpoint, VerifierKey, verify_consistency};
use puente_model::{Digest, TreeSize};
use puente_wire::fault::FaultCode;

/// Proven heads kept for receipts that arrive late.
const KNOWN_MAX: usize = 4_096;
/// Signed heads whose consistency is still asked for.
const CANDIDATES_MAX: usize = 64;

/// Why a head or receipt does not count, or not yet.
#[derive(Debug)]
pub(crate) enum HeadProblem {
    /// The sender broke the protocol.
    Fault(FaultCode),
    /// Signed by the peer's key, and contradicting a head accepted before: both notes.
    Fork { accepted: Vec<u8>, claimed: Vec<u8> },
    /// Signed, but not yet connected to what was accepted: a proof is needed ([`PeerLog::wanted`]).
    Unproven,
}

/// The heads of one peer's log that this node has accepted.
///
/// Every head in `known` is consistent with every other: each was proven to or from the largest.
#[derive(Debug)]
pub(crate) struct PeerLog {
    key: VerifierKey,
    /// Heads beyond this size do not count, once the annex closes the log.
    closed_at: Option<u64>,
    known: BTreeMap<u64, SignedCheckpoint>,
    candidates: BTreeMap<u64, SignedCheckpoint>,
    /// The largest head was not yet part of a durable batch.
    pub(crate) dirty: bool,
}

impl PeerLog {
    pub(crate) fn new(key: VerifierKey, closed_at: Option<u64>) -> Self {
        Self { key, closed_at, known: BTreeMap::new(), candidates: BTreeMap::new(), dirty: false }
    }

    /// Takes up the head that a durable batch held.
    pub(crate) fn restore(&mut self, note: &[u8]) -> Result<(), HeadProblem> {
        let head = self.verify(note)?;
        self.known.insert(head.size().0, head);
        Ok(())
    }

    /// The largest accepted head.
    pub(crate) fn accepted(&self) -> Option<&SignedCheckpoint> {
        self.known.last_key_value().map(|(_, head)| head)
    }

    pub(crate) fn accepted_size(&self) -> u64 {
        self.accepted().map_or(0, |head| head.size().0)
    }

    fn verify(&self, note: &[u8]) -> Result<SignedCheckpoint, HeadProblem> {
        let claimed = ClaimedCheckpoint::parse(note).map_err(|_| HeadProblem::Fault(FaultCode::Malformed))?;
        let head = claimed.verify(&self.key).map_err(|_| HeadProblem::Fault(FaultCode::WrongLog))?;
        if self.closed_at.is_some_and(|closed| head.size().0 > closed) {
            return Err(HeadProblem::Fault(FaultCode::WrongLog));
        }
        Ok(head)
    }

    fn fork(&self, claimed: &SignedCheckpoint) -> HeadProblem {
        let accepted = self
            .known
            .get(&claimed.size().0)
            .or_else(|| self.accepted())
            .map(|head| head.note_bytes().to_vec())
            .unwrap_or_default();
        HeadProblem::Fork { accepted, claimed: claimed.note_bytes().to_vec() }
    }

    /// True if the head is known; an error if a different one of that size is.
    fn is_known(&self, head: &SignedCheckpoint) -> Result<bool, HeadProblem> {
        match self.known.get(&head.size().0) {
            Some(known) if known.root() == head.root() => Ok(true),
            Some(_) => Err(self.fork(head)),
            None => Ok(head.size().0 == 0),
        }
    }

    fn learn(&mut self, head: SignedCheckpoint) {
        let size = head.size().0;
        if size > self.accepted_size() {
            self.dirty = true;
        }
        self.candidates.remove(&size);
        self.known.insert(size, head);
        while self.known.len() > KNOWN_MAX {
            self.known.pop_first();
        }
    }

    /// Takes in a head that comes with a proof from `base`.
    pub(crate) fn extend(&mut self, note: &[u8], base: u64, proof: &[Digest]) -> Result<(), HeadProblem> {
        let head = self.verify(note)?;
        if self.is_known(&head)? {
            return Ok(());
        }
        let (size, largest) = (head.size().0, self.accepted_size());
        let base_root =
            if base == 0 { Some(puente_audit_log::empty_root()) } else { self.known.get(&base).map(|h| h.root()) };
        match base_root {
            // A proof from the largest head, forwards, is the ordinary case. From a smaller one it shows that
            // this head extends *that*, not that it agrees with the largest.
            Some(root) if base == largest && size > base => {
                verify_consistency(TreeSize(base), head.size(), &root, &head.root(), proof)
                    .map_err(|_| self.fork(&head))?;
                self.learn(head);
                Ok(())
            }
            _ => Err(self.set_aside(head)),
        }
    }

    /// Takes note of the peer's newest head, shown in Ready. A larger one is proven on the control stream; a
    /// smaller one that was never shown (Ready was overtaken on another connection) waits for its proof.
    pub(crate) fn shown(&mut self, note: &[u8]) -> Result<(), HeadProblem> {
        let head = self.verify(note)?;
        if !self.is_known(&head)? && head.size().0 < self.accepted_size() {
            self.set_aside(head);
        }
        Ok(())
    }

    /// The proofs that set-aside heads wait for: from, to.
    pub(crate) fn wanted(&self) -> Vec<(u64, u64)> {
        let largest = self.accepted_size();
        self.candidates.keys().map(|size| (*size.min(&largest), *size.max(&largest))).collect()
    }

    fn set_aside(&mut self, head: SignedCheckpoint) -> HeadProblem {
        self.candidates.insert(head.size().0, head);
        while self.candidates.len() > CANDIDATES_MAX {
            self.candidates.pop_first();
        }
        HeadProblem::Unproven
    }

    /// Takes in a proof that was asked for.
    pub(crate) fn prove(&mut self, from: u64, to: u64, proof: &[Digest]) -> Result<(), HeadProblem> {
        let largest = self.accepted_size();
        let candidate = if from == largest { to } else { from };
        if from != largest && to != largest {
            return Ok(()); // A proof towards a head that has grown since; whoever still needs one asks again.
        }
        let Some(head) = self.candidates.get(&candidate).cloned() else { return Ok(()) };
        let largest_root = self.accepted().map_or_else(puente_audit_log::empty_root, SignedCheckpoint::root);
        let (old, new) = if candidate > largest { (largest_root, head.root()) } else { (head.root(), largest_root) };
        verify_consistency(TreeSize(from), TreeSize(to), &old, &new, proof).map_err(|_| self.fork(&head))?;
        self.learn(head);
        Ok(())
    }

    /// Verifies a receipt for the entry with this leaf hash, under a head that counts.
    pub(crate) fn receipt(&mut self, bytes: &[u8], leaf: &Digest) -> Result<Receipt, HeadProblem> {
        let claimed = ClaimedReceipt::parse(bytes).map_err(|_| HeadProblem::Fault(FaultCode::BadReceipt))?;
        let note = claimed.checkpoint().note_bytes().to_vec();
        let size = claimed.checkpoint().claimed().size().0;
        if let Some(known) = self.known.get(&size)
            && known.note_bytes() == note
        {
            let known = known.clone();
            return claimed.verify_under(leaf, &known).map_err(|_| HeadProblem::Fault(FaultCode::BadReceipt));
        }
        let head = self.verify(&note)?;
        if self.is_known(&head)? {
            return claimed.verify_under(leaf, &head).map_err(|_| HeadProblem::Fault(FaultCode::BadReceipt));
        }
        Err(self.set_aside(head))
    }
}
