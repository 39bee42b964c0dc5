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
    /// Size and root with which acquaintance begins: the annex's, or the empty tree.
    first: (u64, Digest),
    known: BTreeMap<u64, SignedCheckpoint>,
    candidates: BTreeMap<u64, SignedCheckpoint>,
    /// The largest head was not yet part of a durable batch.
    pub(crate) dirty: bool,
}

impl PeerLog {
    pub(crate) fn new(key: VerifierKey, closed_at: Option<u64>) -> Self {
        let first = (0, puente_audit_log::empty_root());
        Self { key, closed_at, first, known: BTreeMap::new(), candidates: BTreeMap::new(), dirty: false }
    }

    /// Begins with the head that the annex pins: no tree that does not extend it is ever accepted.
    pub(crate) fn pinned(mut self, size: u64, root: Digest) -> Self {
        self.first = (size, root);
        self
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
        self.largest().0
    }

    /// Size and root of the largest accepted head; before the first, of the one that is pinned.
    fn largest(&self) -> (u64, Digest) {
        self.accepted().map_or(self.first, |head| (head.size().0, head.root()))
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
            None if head.size().0 == self.first.0 && head.root() != self.first.1 => Err(self.fork(head)),
            None => Ok(head.size().0 == self.first.0),
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
        let base_root = if base == self.first.0 { Some(self.first.1) } else { self.known.get(&base).map(|h| h.root()) };
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
        let (_, largest_root) = self.largest();
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

#[cfg(test)]
mod tests {
    use puente_audit_log::{Batch, Ed25519Signer, Journal, KeyKind, Log, MemoryFiles, Signer as _};
    use puente_model::{LeafIndex, Secret32};

    use super::*;

    struct Instant;

    impl Journal for Instant {
        type Error = std::convert::Infallible;

        fn persist(&mut self, _: Batch<'_>) -> Result<(), Self::Error> {
            Ok(())
        }
    }

    const ORIGIN: &str = "us/tx-dps/n1/log1";

    fn signer(seed: u8) -> Ed25519Signer {
        Ed25519Signer::new(ORIGIN, KeyKind::Ed25519, &Secret32::new([seed; 32])).unwrap()
    }

    /// A log of one-byte entries, with the head of every size.
    struct Author {
        log: Log,
        files: MemoryFiles,
        heads: Vec<Vec<u8>>,
        entries: Vec<Vec<u8>>,
    }

    impl Author {
        fn of(bytes: &[u8]) -> Self {
            let log = Log::empty(ORIGIN).unwrap();
            let mut author = Self { log, files: MemoryFiles::new(), heads: Vec::new(), entries: Vec::new() };
            author.append(&[]);
            for byte in bytes {
                author.append(&[vec![*byte]]);
            }
            author
        }

        fn append(&mut self, entries: &[Vec<u8>]) {
            let sealed = self.log.stage(entries).unwrap().sign(&signer(1)).unwrap();
            let persisted = sealed.persist(&mut Instant).unwrap();
            self.files.put(self.log.commit(persisted).unwrap().files);
            self.entries.extend_from_slice(entries);
            self.heads.push(self.log.head().unwrap().note_bytes().to_vec());
        }

        fn proof(&self, from: u64, to: u64) -> Vec<Digest> {
            self.log.prove_consistency(TreeSize(from), TreeSize(to), &self.files).unwrap()
        }

        /// The receipt of an entry under the newest head.
        fn receipt(&self, index: u64) -> (Vec<u8>, Digest) {
            let receipt = self.log.receipt(LeafIndex(index), &self.files).unwrap();
            (receipt.encode(), *receipt.leaf())
        }
    }

    fn fresh() -> PeerLog {
        PeerLog::new(signer(1).verifier().clone(), None)
    }

    fn is_fork<T>(result: Result<T, HeadProblem>) -> bool {
        matches!(result, Err(HeadProblem::Fork { .. }))
    }

    fn fault<T>(result: Result<T, HeadProblem>) -> Option<FaultCode> {
        match result {
            Err(HeadProblem::Fault(code)) => Some(code),
            _ => None,
        }
    }

    #[test]
    fn heads_are_accepted_one_after_the_other_with_their_proofs() {
        let (author, mut log) = (Author::of(b"abcdefg"), fresh());
        log.extend(&author.heads[3], 0, &[]).unwrap();
        log.extend(&author.heads[5], 3, &author.proof(3, 5)).unwrap();
        assert_eq!(log.accepted_size(), 5);
        assert!(log.dirty);
        // A repeat is no news.
        log.dirty = false;
        log.extend(&author.heads[5], 3, &author.proof(3, 5)).unwrap();
        assert!(!log.dirty);
        // A receipt under an accepted head counts.
        let old = Author::of(b"abcde");
        let (receipt, leaf) = old.receipt(2);
        assert_eq!(log.receipt(&receipt, &leaf).unwrap().index(), LeafIndex(2));
        assert_eq!(fault(log.receipt(&receipt, &old.receipt(1).1)), Some(FaultCode::BadReceipt));
    }

    #[test]
    fn nothing_that_does_not_extend_the_pinned_head_is_accepted() {
        let author = Author::of(b"abcdefg");
        let early = Author::of(b"abcd");
        let pinned = || fresh().pinned(4, early.log.root());
        let mut log = pinned();
        assert_eq!(log.accepted_size(), 4);
        assert!(matches!(log.extend(&author.heads[7], 0, &[]), Err(HeadProblem::Unproven)), "0 is not where it begins");
        assert_eq!(log.wanted(), [(4, 7)]);
        log.prove(4, 7, &author.proof(4, 7)).unwrap();
        assert_eq!(log.accepted_size(), 7);
        let other = Author::of(b"abXdefg");
        assert!(is_fork(pinned().extend(&other.heads[7], 4, &other.proof(4, 7))));
        assert!(is_fork(pinned().extend(&other.heads[4], 0, &[])), "another tree of the pinned size");
    }

    #[test]
    fn heads_out_of_order_are_proven_backwards() {
        let (author, mut log) = (Author::of(b"abcdefg"), fresh());
        log.extend(&author.heads[7], 0, &[]).unwrap();
        let early = Author::of(b"abcd");
        let (receipt, leaf) = early.receipt(3);
        assert!(matches!(log.receipt(&receipt, &leaf), Err(HeadProblem::Unproven)));
        assert_eq!(log.wanted(), [(4, 7)]);
        log.prove(4, 7, &author.proof(4, 7)).unwrap();
        assert!(log.receipt(&receipt, &leaf).is_ok());
        assert_eq!((log.accepted_size(), log.wanted().len()), (7, 0));
    }

    #[test]
    fn heads_ahead_wait_for_their_proof() {
        let (author, mut log) = (Author::of(b"abcdefg"), fresh());
        log.extend(&author.heads[2], 0, &[]).unwrap();
        let (receipt, leaf) = author.receipt(6);
        assert!(matches!(log.receipt(&receipt, &leaf), Err(HeadProblem::Unproven)));
        assert_eq!(log.wanted(), [(2, 7)]);
        // A proof between other sizes changes nothing.
        log.prove(1, 7, &author.proof(1, 7)).unwrap();
        assert_eq!(log.accepted_size(), 2);
        log.prove(2, 7, &author.proof(2, 7)).unwrap();
        assert_eq!(log.accepted_size(), 7);
        assert!(log.receipt(&receipt, &leaf).is_ok());
    }

    #[test]
    fn two_histories_are_a_fork_however_they_come() {
        let (author, other) = (Author::of(b"abcdefg"), Author::of(b"abcxefgh"));
        let known = || {
            let mut log = fresh();
            log.extend(&author.heads[5], 0, &[]).unwrap();
            log
        };
        // Another root of a known size.
        let mut log = known();
        let Err(HeadProblem::Fork { accepted, claimed }) = log.extend(&other.heads[5], 0, &[]) else { panic!() };
        assert_eq!((accepted, claimed), (author.heads[5].clone(), other.heads[5].clone()));
        // A larger head whose own proof does not start here.
        assert!(is_fork(known().extend(&other.heads[8], 5, &other.proof(5, 8))));
        // A receipt under a head of a known size.
        let five = Author::of(b"abcxe");
        let (receipt, leaf) = five.receipt(4);
        assert!(is_fork(known().receipt(&receipt, &leaf)));
        // A larger, and a smaller one, proven as asked.
        let (mut log, (receipt, leaf)) = (known(), other.receipt(7));
        assert!(matches!(log.receipt(&receipt, &leaf), Err(HeadProblem::Unproven)));
        assert!(is_fork(log.prove(5, 8, &other.proof(5, 8))));
        let (mut log, (receipt, leaf)) = (known(), Author::of(b"abcx").receipt(0));
        assert!(matches!(log.receipt(&receipt, &leaf), Err(HeadProblem::Unproven)));
        assert!(is_fork(log.prove(4, 5, &author.proof(4, 5))));
        // None of them was accepted.
        assert_eq!(log.accepted().unwrap().note_bytes(), author.heads[5]);
    }

    #[test]
    fn heads_of_other_keys_and_closed_logs_do_not_count() {
        let author = Author::of(b"abc");
        let mut log = PeerLog::new(signer(2).verifier().clone(), None);
        assert_eq!(fault(log.extend(&author.heads[3], 0, &[])), Some(FaultCode::WrongLog));
        assert_eq!(fault(log.extend(b"no note", 0, &[])), Some(FaultCode::Malformed));
        let (receipt, leaf) = author.receipt(0);
        assert_eq!(fault(log.receipt(&receipt, &leaf)), Some(FaultCode::WrongLog));
        assert_eq!(fault(log.receipt(b"", &leaf)), Some(FaultCode::BadReceipt));
        let mut closed = PeerLog::new(signer(1).verifier().clone(), Some(2));
        assert_eq!(fault(closed.extend(&author.heads[3], 0, &[])), Some(FaultCode::WrongLog));
        closed.extend(&author.heads[2], 0, &[]).unwrap();
        assert!(closed.restore(&author.heads[3]).is_err());
    }

    #[test]
    fn memory_is_bounded() {
        let author = Author::of(&[b'x'; 200]);
        let mut log = fresh();
        for head in &author.heads[1..] {
            assert!(matches!(log.extend(head, 500, &[]), Err(HeadProblem::Unproven)));
        }
        assert_eq!(log.candidates.len(), CANDIDATES_MAX);
    }

    #[test]
    fn a_ready_head_that_shrank_is_looked_into() {
        let author = Author::of(b"abcdefg");
        let mut log = fresh();
        log.extend(&author.heads[6], 0, &[]).unwrap();
        log.shown(&author.heads[4]).unwrap();
        assert_eq!(log.wanted(), [(4, 6)], "a smaller head must be shown to lead to the accepted one");
        log.shown(&author.heads[7]).unwrap();
        assert_eq!(log.accepted_size(), 6, "a larger one counts once it is proven");
        assert!(is_fork(log.shown(&Author::of(b"abcxef").heads[6])));
        assert_eq!(author.entries.len(), 7);
    }
}
