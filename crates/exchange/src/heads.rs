//! What this node knows of one peer's log: which heads count.

use std::collections::BTreeMap;

use puente_audit_log::{ClaimedCheckpoint, ClaimedReceipt, Receipt, SignedCheckpoint, VerifierKey, verify_consistency};
use puente_model::{Digest, Millis, TreeSize};
use puente_wire::fault::FaultCode;

use crate::engine::AGAIN_MILLIS;

/// Proven heads kept for receipts that arrive late.
const KNOWN_MAX: usize = 4_096;
/// Signed heads whose consistency is still asked for.
const CANDIDATES_MAX: usize = 64;
/// How often a proof is asked for again after one that failed.
const PROOFS_ASKED_MAX: u32 = 3;

/// Why a head or receipt does not count, or not yet.
#[derive(Debug)]
pub(crate) enum HeadProblem {
    /// The sender broke the protocol.
    Fault(FaultCode),
    /// Two heads of one size with different roots, both signed by the peer's key: both notes.
    Fork { accepted: Vec<u8>, claimed: Vec<u8> },
    /// Signed, but not yet connected to what was accepted: a proof is needed ([`PeerLog::wanted`]). The head's size.
    Unproven(u64),
    /// Signed, and the proof beside it does not hold: nobody is convicted of that, the head is doubted until a
    /// proof holds ([`PeerLog::doubted`]).
    BadProof,
    /// The peer was asked for a proof between two heads that it signed, and none that it gave holds: both notes.
    NoProof { accepted: Vec<u8>, claimed: Vec<u8> },
}

/// A signed head that came with a proof that does not hold.
#[derive(Debug)]
struct Doubt {
    head: SignedCheckpoint,
    /// Since when a proof is asked for and not answered.
    asked: Option<Millis>,
    /// Answers that did not hold.
    failed: u32,
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
    /// The first head whose proof failed: while it stands, nothing is disclosed to the peer.
    doubt: Option<Doubt>,
    /// The largest head was not yet part of a durable batch.
    pub(crate) dirty: bool,
}

impl PeerLog {
    pub(crate) fn new(key: VerifierKey, closed_at: Option<u64>) -> Self {
        let first = (0, puente_audit_log::empty_root());
        Self { key, closed_at, first, known: BTreeMap::new(), candidates: BTreeMap::new(), doubt: None, dirty: false }
    }

    /// The key that signs it.
    pub(crate) fn key(&self) -> &VerifierKey {
        &self.key
    }

    /// The annex closes the log: heads beyond that do not count from now on. What was accepted before stays evidence.
    pub(crate) fn close_at(&mut self, closed_at: Option<u64>) {
        self.closed_at = closed_at;
    }

    /// Begins with the head that the annex pins: no tree that does not extend it is ever accepted.
    pub(crate) fn pinned(mut self, size: u64, root: Digest) -> Self {
        self.first = (size, root);
        self
    }

    /// Takes up the head that a durable batch held: closing the log voids nothing that was accepted before.
    pub(crate) fn restore(&mut self, note: &[u8]) -> Result<(), HeadProblem> {
        let head = self.signed(note)?;
        self.known.insert(head.size().0, head);
        Ok(())
    }

    /// The largest accepted head.
    pub(crate) fn accepted(&self) -> Option<&SignedCheckpoint> {
        self.known.last_key_value().map(|(_, head)| head)
    }

    /// A head that counts, by its size.
    pub(crate) fn known(&self, size: u64) -> Option<&SignedCheckpoint> {
        self.known.get(&size)
    }

    pub(crate) fn accepted_size(&self) -> u64 {
        self.largest().0
    }

    /// Size and root of the largest accepted head; before the first, of the one that is pinned.
    fn largest(&self) -> (u64, Digest) {
        self.accepted().map_or(self.first, |head| (head.size().0, head.root()))
    }

    fn signed(&self, note: &[u8]) -> Result<SignedCheckpoint, HeadProblem> {
        let claimed = ClaimedCheckpoint::parse(note).map_err(|_| HeadProblem::Fault(FaultCode::Malformed))?;
        claimed.verify(&self.key).map_err(|_| HeadProblem::Fault(FaultCode::WrongLog))
    }

    fn verify(&self, note: &[u8]) -> Result<SignedCheckpoint, HeadProblem> {
        let head = self.signed(note)?;
        if self.closed_at.is_some_and(|closed| head.size().0 > closed) {
            return Err(HeadProblem::Fault(FaultCode::WrongLog));
        }
        Ok(head)
    }

    /// True if the head is known; an error if the peer signed a different one of that size, accepted or not.
    fn is_known(&self, head: &SignedCheckpoint) -> Result<bool, HeadProblem> {
        let (size, known) = (head.size().0, self.known.get(&head.size().0));
        let doubted = self.doubt.as_ref().map(|doubt| &doubt.head).filter(|doubted| doubted.size() == head.size());
        for signed in known.into_iter().chain(self.candidates.get(&size)).chain(doubted) {
            if signed.root() != head.root() {
                return Err(HeadProblem::Fork { accepted: note(signed), claimed: note(head) });
            }
        }
        if size == self.first.0 && head.root() != self.first.1 {
            // The other head is the annex's, or the empty tree: no note of the peer's.
            return Err(HeadProblem::Fork { accepted: Vec::new(), claimed: note(head) });
        }
        Ok(known.is_some() || size == self.first.0)
    }

    fn learn(&mut self, head: SignedCheckpoint) {
        let size = head.size().0;
        if size > self.accepted_size() {
            self.dirty = true;
        }
        self.candidates.remove(&size);
        self.doubt.take_if(|doubt| doubt.head.size().0 == size);
        self.known.insert(size, head);
        while self.known.len() > KNOWN_MAX {
            self.known.pop_first();
        }
    }

    /// Takes in a head that comes with a proof from `base`. Returns the size that counts now.
    pub(crate) fn extend(&mut self, note: &[u8], base: u64, proof: &[Digest]) -> Result<u64, HeadProblem> {
        let head = self.verify(note)?;
        if self.is_known(&head)? {
            return Ok(head.size().0);
        }
        let (size, largest) = (head.size().0, self.accepted_size());
        let base_root = if base == self.first.0 { Some(self.first.1) } else { self.known.get(&base).map(|h| h.root()) };
        match base_root {
            // A proof from the largest head, forwards, is the ordinary case. From a smaller one it shows that
            // this head extends *that*, not that it agrees with the largest.
            Some(root) if base == largest && size > base => {
                if verify_consistency(TreeSize(base), head.size(), &root, &head.root(), proof).is_err() {
                    return Err(self.begin_doubt(head));
                }
                self.learn(head);
                Ok(size)
            }
            _ => Err(self.set_aside(head)),
        }
    }

    /// A proof alone convicts nobody: whoever breaks one in two is no forger of trees.
    fn begin_doubt(&mut self, head: SignedCheckpoint) -> HeadProblem {
        if self.doubt.is_none() {
            self.candidates.remove(&head.size().0);
            self.doubt = Some(Doubt { head, asked: None, failed: 0 });
        } else {
            self.set_aside(head);
        }
        HeadProblem::BadProof
    }

    /// Size of the head that is doubted.
    pub(crate) fn doubted(&self) -> Option<u64> {
        self.doubt.as_ref().map(|doubt| doubt.head.size().0)
    }

    /// What was asked on a connection that is gone is asked again.
    pub(crate) fn forget_asked(&mut self) {
        if let Some(doubt) = &mut self.doubt {
            doubt.asked = None;
        }
    }

    /// The proof to be asked for because of a doubt: from, to. None while one is asked for, for some seconds.
    pub(crate) fn ask_in_doubt(&mut self, now: Millis) -> Option<(u64, u64)> {
        let largest = self.accepted_size();
        let waits = |asked: Millis| now >= asked && now.since(asked) < AGAIN_MILLIS;
        let doubt = self.doubt.as_mut().filter(|doubt| !doubt.asked.is_some_and(waits))?;
        doubt.asked = Some(now);
        let size = doubt.head.size().0;
        Some((size.min(largest), size.max(largest)))
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
        let size = head.size().0;
        if self.doubted() != Some(size) {
            self.candidates.insert(size, head);
        }
        while self.candidates.len() > CANDIDATES_MAX {
            self.candidates.pop_first();
        }
        HeadProblem::Unproven(size)
    }

    /// True if a proof for this size is still asked for, or not needed any more.
    pub(crate) fn is_asked(&self, size: u64) -> bool {
        self.candidates.contains_key(&size) || self.doubted() == Some(size) || self.known.contains_key(&size)
    }

    /// Takes in a proof that was asked for. Returns the size that counts now, if one does that did not before.
    pub(crate) fn prove(&mut self, from: u64, to: u64, proof: &[Digest]) -> Result<Option<u64>, HeadProblem> {
        let largest = self.accepted_size();
        let candidate = if from == largest { to } else { from };
        if from != largest && to != largest {
            return Ok(None); // A proof towards a head that has grown since; whoever still needs one asks again.
        }
        let doubted = self.doubt.as_ref().map(|doubt| &doubt.head).filter(|head| head.size().0 == candidate);
        let Some(head) = doubted.or_else(|| self.candidates.get(&candidate)).cloned() else { return Ok(None) };
        let (_, largest_root) = self.largest();
        let (old, new) = if candidate > largest { (largest_root, head.root()) } else { (head.root(), largest_root) };
        if verify_consistency(TreeSize(from), TreeSize(to), &old, &new, proof).is_err() {
            return Err(self.failed_proof(head));
        }
        self.learn(head);
        Ok(Some(candidate))
    }

    fn failed_proof(&mut self, head: SignedCheckpoint) -> HeadProblem {
        let accepted = self.accepted().map(note).unwrap_or_default();
        match self.doubt.as_mut().filter(|doubt| doubt.head.size() == head.size()) {
            Some(doubt) if doubt.asked.is_some() => {
                (doubt.asked, doubt.failed) = (None, doubt.failed + 1);
                if doubt.failed < PROOFS_ASKED_MAX {
                    return HeadProblem::BadProof;
                }
                HeadProblem::NoProof { accepted, claimed: note(&head) }
            }
            Some(_) => HeadProblem::BadProof,
            None => self.begin_doubt(head),
        }
    }

    /// Verifies a receipt for the entry with this leaf hash, under a head that counts.
    pub(crate) fn receipt(&mut self, bytes: &[u8], leaf: &Digest) -> Result<Receipt, HeadProblem> {
        let claimed = ClaimedReceipt::parse(bytes).map_err(|_| HeadProblem::Fault(FaultCode::BadReceipt))?;
        let note_bytes = claimed.checkpoint().note_bytes().to_vec();
        let size = claimed.checkpoint().claimed().size().0;
        if let Some(known) = self.known.get(&size)
            && known.note_bytes() == note_bytes
        {
            let known = known.clone();
            return claimed.verify_under(leaf, &known).map_err(|_| HeadProblem::Fault(FaultCode::BadReceipt));
        }
        let head = self.verify(&note_bytes)?;
        if self.is_known(&head)? {
            return claimed.verify_under(leaf, &head).map_err(|_| HeadProblem::Fault(FaultCode::BadReceipt));
        }
        Err(self.set_aside(head))
    }
}

impl PeerLog {
    /// As [`PeerLog::receipt`], for what came without its author's connection: a head that its log signed will do, and is set
    /// aside until its proof can be asked for.
    pub(crate) fn receipt_from_afar(&mut self, bytes: &[u8], leaf: &Digest) -> Result<Receipt, HeadProblem> {
        match self.receipt(bytes, leaf) {
            Err(HeadProblem::Unproven(_)) => {
                let claimed = ClaimedReceipt::parse(bytes).map_err(|_| HeadProblem::Fault(FaultCode::BadReceipt))?;
                claimed.verify(leaf, &self.key).map_err(|_| HeadProblem::Fault(FaultCode::BadReceipt))
            }
            judged => judged,
        }
    }
}

fn note(head: &SignedCheckpoint) -> Vec<u8> {
    head.note_bytes().to_vec()
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
        assert!(
            matches!(log.extend(&author.heads[7], 0, &[]), Err(HeadProblem::Unproven(_))),
            "0 is not where it begins"
        );
        assert_eq!(log.wanted(), [(4, 7)]);
        log.prove(4, 7, &author.proof(4, 7)).unwrap();
        assert_eq!(log.accepted_size(), 7);
        let other = Author::of(b"abXdefg");
        assert!(matches!(pinned().extend(&other.heads[7], 4, &other.proof(4, 7)), Err(HeadProblem::BadProof)));
        assert!(is_fork(pinned().extend(&other.heads[4], 0, &[])), "another tree of the pinned size");
    }

    #[test]
    fn heads_out_of_order_are_proven_backwards() {
        let (author, mut log) = (Author::of(b"abcdefg"), fresh());
        log.extend(&author.heads[7], 0, &[]).unwrap();
        let early = Author::of(b"abcd");
        let (receipt, leaf) = early.receipt(3);
        assert!(matches!(log.receipt(&receipt, &leaf), Err(HeadProblem::Unproven(_))));
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
        assert!(matches!(log.receipt(&receipt, &leaf), Err(HeadProblem::Unproven(_))));
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
        // A receipt under a head of a known size.
        let five = Author::of(b"abcxe");
        let (receipt, leaf) = five.receipt(4);
        assert!(is_fork(known().receipt(&receipt, &leaf)));
        // Two heads of one size, neither of which was accepted.
        let mut log = known();
        assert!(matches!(log.extend(&other.heads[8], 7, &[]), Err(HeadProblem::Unproven(8))));
        let third = Author::of(b"abcdefgX");
        assert!(is_fork(log.extend(&third.heads[8], 7, &[])));
        // None of them was accepted.
        assert_eq!(log.accepted().unwrap().note_bytes(), author.heads[5]);
    }

    #[test]
    fn a_proof_that_fails_is_no_fork_until_the_peer_cannot_give_another() {
        let (author, other) = (Author::of(b"abcdefg"), Author::of(b"abcxefgh"));
        let known = || {
            let mut log = fresh();
            log.extend(&author.heads[5], 0, &[]).unwrap();
            log
        };
        let garbage = vec![Digest([9; 32]); 3];
        // An honest head with a broken proof: doubted, asked for, and accepted once a proof holds.
        let mut log = known();
        assert!(matches!(log.extend(&author.heads[7], 5, &garbage), Err(HeadProblem::BadProof)));
        assert_eq!((log.accepted_size(), log.doubted()), (5, Some(7)));
        assert_eq!((log.ask_in_doubt(Millis(7)), log.ask_in_doubt(Millis(7))), (Some((5, 7)), None));
        assert!(matches!(log.prove(5, 7, &garbage), Err(HeadProblem::BadProof)));
        // A proof that nobody asked for counts nothing.
        for _ in 0..9 {
            assert!(matches!(log.prove(5, 7, &garbage), Err(HeadProblem::BadProof)));
        }
        assert_eq!(log.ask_in_doubt(Millis(7)), Some((5, 7)));
        assert_eq!(log.prove(5, 7, &author.proof(5, 7)).unwrap(), Some(7));
        assert_eq!((log.accepted_size(), log.doubted()), (7, None));
        // Another history: no proof can hold, forwards or backwards.
        for (receipt, sizes) in [(other.receipt(7), (5, 8)), (Author::of(b"abcx").receipt(0), (4, 5))] {
            let mut log = known();
            assert!(matches!(log.receipt(&receipt.0, &receipt.1), Err(HeadProblem::Unproven(_))));
            assert!(matches!(log.prove(sizes.0, sizes.1, &garbage), Err(HeadProblem::BadProof)));
            for _ in 1..PROOFS_ASKED_MAX {
                assert_eq!(log.ask_in_doubt(Millis(7)), Some(sizes));
                assert!(matches!(log.prove(sizes.0, sizes.1, &garbage), Err(HeadProblem::BadProof)));
            }
            assert_eq!(log.ask_in_doubt(Millis(7)), Some(sizes));
            let Err(HeadProblem::NoProof { accepted, claimed }) = log.prove(sizes.0, sizes.1, &garbage) else {
                panic!()
            };
            assert_eq!(accepted, author.heads[5]);
            assert!(claimed != accepted && ClaimedCheckpoint::parse(&claimed).is_ok());
        }
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
        // What was accepted before the log was closed stays evidence; what another key signed never was.
        closed.restore(&author.heads[3]).unwrap();
        assert_eq!(closed.accepted_size(), 3);
        assert!(PeerLog::new(signer(2).verifier().clone(), None).restore(&author.heads[3]).is_err());
    }

    #[test]
    fn memory_is_bounded() {
        let author = Author::of(&[b'x'; 200]);
        let mut log = fresh();
        for head in &author.heads[1..] {
            assert!(matches!(log.extend(head, 500, &[]), Err(HeadProblem::Unproven(_))));
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
