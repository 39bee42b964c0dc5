//! Both numberings with one peer: what is missing, what may be closed, whether two logs hold the same.

use std::collections::BTreeSet;

use puente_audit_log::{root_of, second_root_of};
use puente_model::{Digest, Seq, limits};
use puente_wire::{Hole, HoleWhy, PairKind, Period, fault::FaultCode};

use crate::peer::{Own, Peer};
use crate::period::{CLOSED, STANDS};

/// What a list of missing numbers leads to.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Settled {
    /// Nothing is missing but holes: the PERIOD may be recorded.
    Agreed,
    /// A missing question may still be answered: the attempt ends.
    Open,
    /// These are delivered again, each under its number.
    Again(Vec<(u64, PairKind)>),
}

impl Peer {
    /// What becomes of a number that the peer voids.
    pub(crate) fn judge_void(&self, voided: u64, quoted: &Digest) -> Result<u32, FaultCode> {
        match self.theirs.get(&voided) {
            Some(recorded) if recorded.leaf == *quoted => Ok(STANDS),
            Some(_) => Err(FaultCode::Replayed),
            None if voided <= self.theirs_closed => Ok(STANDS),
            None => Ok(CLOSED),
        }
    }

    /// The numbers of a range that were neither recorded here nor closed by a PERIOD, as many as a PERIOD can name.
    pub(crate) fn missing(&self, first: u64, last: u64) -> Vec<u64> {
        // A probe of long-closed numbers costs nothing.
        (first.max(self.theirs_closed + 1)..=last)
            .filter(|seq| !self.theirs.contains_key(seq))
            .take(limits::HOLES_PER_PERIOD_MAX)
            .collect()
    }

    /// The last own number that a PERIOD may close now: durable, below every question that is open, at most `max`
    /// of them. 0 if there is none.
    pub(crate) fn last_settled(&self, durable: u64, max: u64, open: impl Fn(&Own) -> bool) -> u64 {
        let settled = self.own.range(self.own_closed + 1..).take_while(|(_, own)| own.index < durable && !open(own));
        settled.take(usize::try_from(max).unwrap_or(usize::MAX)).last().map_or(0, |(seq, _)| *seq)
    }

    /// Takes in which numbers of the range being closed the peer lacks.
    pub(crate) fn settle_missing(&mut self, missing: &[u64]) -> Result<Settled, FaultCode> {
        let Some(closing) = &mut self.closing else { return Ok(Settled::Open) };
        if let Some(last) = missing.get(limits::HOLES_PER_PERIOD_MAX - 1) {
            closing.last = closing.last.min(*last); // Beyond it the peer may lack more than one period can name.
        }
        let mut again = Vec::new();
        for seq in missing {
            let Some(own) = self.own.get(seq).filter(|_| (closing.first..=closing.last).contains(seq)) else {
                return Err(FaultCode::Malformed);
            };
            // A QUERY is a hole once its VOID is known to have closed it there: until then it may still arrive.
            let (seq, own) = match own.kind {
                PairKind::Query => match self.own.get(&own.voided) {
                    Some(void) if void.closed => {
                        closing.holes.insert(*seq);
                        continue;
                    }
                    Some(void) => (own.voided, void),
                    None => {
                        self.closing = None;
                        return Ok(Settled::Open);
                    }
                },
                _ => (*seq, own),
            };
            closing.redelivering.insert(own.leaf);
            again.push((seq, own.kind));
        }
        Ok(if again.is_empty() { Settled::Agreed } else { Settled::Again(again) })
    }

    /// The PERIOD over the range being closed; none if its root computed twice is not the same.
    pub(crate) fn draft_period(&self) -> Option<Period> {
        let closing = self.closing.as_ref()?;
        let (mut leaves, mut holes) = (Vec::new(), Vec::new());
        for (seq, own) in self.own.range(closing.first..=closing.last) {
            if closing.holes.contains(seq) {
                let why = if own.voided > 0 { HoleWhy::Void } else { HoleWhy::Undelivered };
                holes.push(Hole { seq: Seq(*seq), leaf: own.leaf, why });
            } else {
                leaves.push(own.leaf);
            }
        }
        let root = root_of(leaves.iter().copied());
        (second_root(&leaves) == root).then(|| Period {
            first: Seq(closing.first),
            last: Seq(closing.last),
            count: leaves.len() as u64,
            root,
            holes,
            peer_head: self.log.accepted().map(|head| head.note_bytes().to_vec()).unwrap_or_default(),
        })
    }

    /// Compares a peer's PERIOD with what is recorded here; closes its numbers if they agree.
    #[allow(clippy::type_complexity)]
    pub(crate) fn take_period(&mut self, period: &Period) -> Result<Vec<(Vec<u8>, Option<Vec<u8>>)>, ()> {
        if period.first.0 != self.theirs_closed + 1 {
            return Err(());
        }
        let holes: BTreeSet<u64> = period.holes.iter().map(|hole| hole.seq.0).collect();
        let mut leaves = Vec::new();
        for seq in period.first.0..=period.last.0 {
            match (self.theirs.get(&seq), holes.contains(&seq)) {
                (Some(recorded), false) => leaves.push(recorded.leaf),
                (None, true) => {}
                _ => return Err(()),
            }
            // The peer cannot make this node walk further than what it holds.
            if leaves.len() > self.theirs.len() {
                return Err(());
            }
        }
        let root = root_of(leaves.iter().copied());
        if leaves.len() as u64 != period.count || root != period.root || second_root(&leaves) != root {
            return Err(());
        }
        let mut puts = Vec::new();
        for hole in &period.holes {
            self.closed.remove(&hole.seq.0);
            puts.push(self.theirs_put(hole.seq.0, &hole.leaf, None, None));
        }
        self.theirs_closed = period.last.0;
        self.theirs = self.theirs.split_off(&(period.last.0 + 1));
        self.closed = self.closed.split_off(&(period.last.0 + 1));
        Ok(puts)
    }
}

fn second_root(leaves: &[Digest]) -> Digest {
    second_root_of(leaves).unwrap_or_else(puente_audit_log::empty_root)
}

#[cfg(test)]
mod tests {
    use puente_audit_log::{Ed25519Signer, KeyKind, Signer as _};
    use puente_charter::LogEntry;
    use puente_model::{ExchangeId, Millis, NodeUri, Secret32};

    use super::*;
    use crate::peer::Closing;

    fn leaf(seq: u64) -> Digest {
        Digest::of(&seq.to_be_bytes())
    }

    fn peer() -> Peer {
        let uri: NodeUri = "puente://us/tx-dps/n1".parse().unwrap();
        let origin = uri.origin(1).unwrap();
        let signer = Ed25519Signer::new(origin.as_str(), KeyKind::Ed25519, &Secret32::new([1; 32])).unwrap();
        let vkey = signer.verifier().to_string();
        let entry = LogEntry { origin, vkey, closed_at: None, first_head: None };
        Peer::new(uri, BTreeSet::new(), &entry, signer.verifier().clone(), 1)
    }

    fn add(peer: &mut Peer, seq: u64, kind: PairKind, voided: u64) {
        let exchange = Some(ExchangeId([seq as u8; 16]));
        let own = Own { leaf: leaf(seq), kind, exchange, index: 10 + seq, proven: None, voided, closed: false };
        peer.own.insert(seq, own);
    }

    /// QUERY 1, ANSWER 2, QUERY 3 voided by VOID 4, RELEASE 5; all of them are being closed.
    fn closing() -> Peer {
        let mut peer = peer();
        add(&mut peer, 1, PairKind::Query, 0);
        add(&mut peer, 2, PairKind::Answer, 0);
        add(&mut peer, 3, PairKind::Query, 4);
        add(&mut peer, 4, PairKind::Void, 3);
        add(&mut peer, 5, PairKind::Release, 0);
        peer.closing = Some(Closing {
            first: 1,
            last: 5,
            redelivering: BTreeSet::new(),
            holes: BTreeSet::new(),
            period: None,
            until: Millis(0),
        });
        peer
    }

    /// A peer that recorded these numbers, of `last`.
    fn recorded(seqs: &[u64]) -> Peer {
        let mut peer = peer();
        for seq in seqs {
            peer.take(*seq, leaf(*seq), None, 20 + seq);
        }
        peer
    }

    fn period(leaves: &[u64], holes: &[u64], last: u64) -> Period {
        Period {
            first: Seq(1),
            last: Seq(last),
            count: leaves.len() as u64,
            root: root_of(leaves.iter().map(|seq| leaf(*seq))),
            holes: holes.iter().map(|seq| Hole { seq: Seq(*seq), leaf: leaf(*seq), why: HoleWhy::Void }).collect(),
            peer_head: Vec::new(),
        }
    }

    #[test]
    fn nothing_is_closed_beyond_what_is_durable_or_open_or_allowed() {
        let peer = closing();
        let none = |_: &Own| false;
        assert_eq!(peer.last_settled(100, 100, none), 5);
        assert_eq!(peer.last_settled(14, 100, none), 3, "4 stands at index 14 and is not durable");
        assert_eq!(peer.last_settled(100, 2, none), 2, "a PERIOD closes so many numbers at most");
        assert_eq!(peer.last_settled(100, 100, |own| own.leaf == leaf(3)), 2, "an open question and all after it wait");
        assert_eq!(peer.last_settled(100, 100, |own| own.leaf == leaf(1)), 0);
        assert_eq!(super::tests::peer().last_settled(100, 100, none), 0, "nothing is numbered");
    }

    #[test]
    fn what_is_missing_is_delivered_again_before_anything_is_closed() {
        let mut peer = closing();
        assert_eq!(
            peer.settle_missing(&[2, 5]),
            Ok(Settled::Again(vec![(2, PairKind::Answer), (5, PairKind::Release)]))
        );
        assert_eq!(peer.closing.as_ref().unwrap().redelivering, BTreeSet::from([leaf(2), leaf(5)]));
        assert!(peer.closing.as_ref().unwrap().holes.is_empty());
    }

    #[test]
    fn a_voided_question_is_a_hole_only_once_the_void_was_answered_closed() {
        let mut peer = closing();
        // It may still arrive: the VOID goes out again, not a hole.
        assert_eq!(peer.settle_missing(&[3]), Ok(Settled::Again(vec![(4, PairKind::Void)])));
        let mut peer = closing();
        peer.own.get_mut(&4).unwrap().closed = true;
        assert_eq!(peer.settle_missing(&[3]), Ok(Settled::Agreed));
        let period = peer.draft_period().unwrap();
        assert_eq!((period.first, period.last, period.count), (Seq(1), Seq(5), 4));
        assert_eq!(period.holes, [Hole { seq: Seq(3), leaf: leaf(3), why: HoleWhy::Void }]);
        assert_eq!(period.root, root_of([1, 2, 4, 5].map(leaf)));
        // The other side recorded all but the hole: it agrees, and takes nothing of the range any more.
        let mut other = recorded(&[1, 2, 4, 5, 6]);
        other.closed.insert(3);
        assert_eq!(other.missing(1, 5), [3]);
        let puts = other.take_period(&period).unwrap();
        assert_eq!((puts.len(), other.theirs_closed, other.closed.len()), (1, 5, 0));
        assert_eq!(other.theirs.keys().copied().collect::<Vec<_>>(), [6]);
        assert_eq!(other.judge_void(3, &leaf(3)), Ok(STANDS), "closed numbers are not voided again");
    }

    #[test]
    fn a_question_that_is_missing_and_not_voided_ends_the_attempt() {
        let mut peer = closing();
        assert_eq!(peer.settle_missing(&[1]), Ok(Settled::Open));
        assert!(peer.closing.is_none(), "it may still arrive: nothing is closed now");
        assert_eq!(peer.settle_missing(&[]), Ok(Settled::Open));
        assert!(peer.draft_period().is_none());
    }

    #[test]
    fn a_late_question_is_no_hole() {
        // The VOID was answered closed, and the peer has the QUERY all the same: it counts.
        let mut peer = closing();
        peer.own.get_mut(&4).unwrap().closed = true;
        assert_eq!(peer.settle_missing(&[]), Ok(Settled::Agreed));
        let period = peer.draft_period().unwrap();
        assert_eq!((period.count, period.holes.len()), (5, 0));
        assert!(recorded(&[1, 2, 3, 4, 5]).take_period(&period).is_ok());
    }

    #[test]
    fn numbers_outside_the_range_are_malformed() {
        for wrong in [0, 6, u64::MAX] {
            assert_eq!(closing().settle_missing(&[wrong]), Err(FaultCode::Malformed), "{wrong}");
        }
    }

    #[test]
    fn a_list_at_the_limit_shortens_the_range() {
        let (mut peer, many) = (closing(), limits::HOLES_PER_PERIOD_MAX as u64);
        for seq in 6..=2 * many {
            add(&mut peer, seq, PairKind::Answer, 0);
        }
        peer.closing.as_mut().unwrap().last = 2 * many;
        let other = recorded(&[1, 2, 3, 4, 5]);
        let missing = other.missing(1, 2 * many);
        assert_eq!((missing.len() as u64, missing[0]), (many, 6));
        let Ok(Settled::Again(again)) = peer.settle_missing(&missing) else { panic!() };
        assert_eq!(again.len() as u64, many);
        assert_eq!(peer.closing.as_ref().unwrap().last, many + 5, "the last one listed");
        // One less than the limit: nothing beyond it is missing, and the range stays.
        peer.closing.as_mut().unwrap().last = 2 * many;
        peer.settle_missing(&missing[1..]).unwrap();
        assert_eq!(peer.closing.as_ref().unwrap().last, 2 * many);
    }

    #[test]
    fn a_probe_without_an_end_ends() {
        let missing = recorded(&[1, 2, 3]).missing(1, u64::MAX);
        assert_eq!((missing.len(), missing[0]), (limits::HOLES_PER_PERIOD_MAX, 4));
        assert!(recorded(&[1, 2, 3]).missing(1, 3).is_empty());
    }

    #[test]
    fn periods_that_say_something_else_close_nothing() {
        type Tweak = fn(&mut Period);
        let cases: [(&str, Tweak); 7] = [
            ("another root", |p| p.root = leaf(9)),
            ("another count", |p| p.count += 1),
            ("a recorded number as a hole", |p| {
                p.holes.push(Hole { seq: Seq(2), leaf: leaf(2), why: HoleWhy::Undelivered });
            }),
            ("no hole where one is", |p| p.holes.clear()),
            ("a gap before it", |p| p.first = Seq(2)),
            ("beyond what is recorded", |p| p.last = Seq(6)),
            ("far beyond", |p| p.last = Seq(u64::MAX - 1)),
        ];
        for (name, tweak) in cases {
            let mut other = recorded(&[1, 2, 4, 5]);
            let mut wrong = period(&[1, 2, 4, 5], &[3], 5);
            tweak(&mut wrong);
            assert!(other.take_period(&wrong).is_err(), "{name}");
            assert_eq!((other.theirs_closed, other.theirs.len()), (0, 4), "{name}");
            assert!(other.take_period(&period(&[1, 2, 4, 5], &[3], 5)).is_ok(), "{name}: the right one is taken after");
        }
    }

    #[test]
    fn a_void_closes_what_is_unknown_and_leaves_what_stands() {
        let mut other = recorded(&[2]);
        assert_eq!(other.judge_void(1, &leaf(1)), Ok(CLOSED));
        assert_eq!(other.judge_void(2, &leaf(2)), Ok(STANDS));
        assert_eq!(other.judge_void(2, &leaf(9)), Err(FaultCode::Replayed), "of another QUERY");
        other.theirs_closed = 7;
        assert_eq!(other.judge_void(5, &leaf(5)), Ok(STANDS));
    }
}
