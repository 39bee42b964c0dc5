//! One numbering in one log: (an author's log, a receiver), counted from 1, closed by PERIODs.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, HashMap};

use puente_audit_log::root_of;
use puente_model::{Digest, ExchangeId, NodeUri};
use puente_wire::{HoleWhy, PairKind, Period};

use crate::class::Class;

/// Whose numbers, towards whom.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Numbering {
    pub(crate) from: NodeUri,
    pub(crate) log: u32,
    pub(crate) to: NodeUri,
}

/// An entry of a numbering.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Numbered {
    pub(crate) leaf: Digest,
    pub(crate) index: u64,
    pub(crate) kind: PairKind,
    pub(crate) exchange: Option<ExchangeId>,
    /// The author's own log, or with the author's receipt.
    pub(crate) proven: bool,
}

/// A number that does not fit, and the entry that it clashes with.
pub(crate) struct Clash {
    pub(crate) class: Class,
    pub(crate) detail: String,
    pub(crate) with: Option<Numbered>,
}

/// A PERIOD as this log holds it.
#[derive(Debug, Clone)]
pub(crate) struct PeriodSeen {
    pub(crate) leaf: Digest,
    pub(crate) last: u64,
    /// The recorded entries of this log give its root.
    pub(crate) matches: bool,
    index: u64,
    seq: u64,
    period: Period,
}

impl PeriodSeen {
    /// The numbers that it names as holes.
    pub(crate) fn holes(&self) -> impl Iterator<Item = u64> + '_ {
        self.period.holes.iter().map(|hole| hole.seq.0)
    }
}

/// What is wrong with a PERIOD, and where.
pub(crate) struct PeriodFault {
    pub(crate) class: Class,
    pub(crate) index: u64,
    pub(crate) seq: u64,
    pub(crate) detail: String,
}

/// A numbering as one log shows it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Track {
    /// The log under audit is the author's.
    own: bool,
    /// The largest number of the author's own log.
    last: u64,
    /// Numbers up to here are closed by periods whose roots match.
    pub(crate) closed: u64,
    /// The last number that any PERIOD closed.
    range_end: u64,
    /// Entries since.
    pub(crate) tail: BTreeMap<u64, Numbered>,
    pub(crate) periods: Vec<PeriodSeen>,
    /// Closed entries stay in the tail: for comparing number by number.
    pub(crate) keep: bool,
    /// Leaf hashes of voided questions, by number, until a period names them as holes.
    voided: HashMap<u64, Digest>,
}

impl Track {
    pub(crate) fn new(own: bool) -> Self {
        Self { own, ..Self::default() }
    }

    /// The same numbering in the log that follows: what was the author's own log there is taken over here.
    pub(crate) fn taken_over(mut self, rerecorded: bool) -> Self {
        self.own = self.own && !rerecorded;
        self
    }

    /// Takes an entry in. `rerecorded`: an own entry of an earlier log, taken over by its successor.
    pub(crate) fn push(&mut self, seq: u64, entry: Numbered, rerecorded: bool) -> Option<Clash> {
        let own = self.own && !rerecorded;
        let expected = self.last.saturating_add(1);
        let free = match self.tail.entry(seq) {
            Entry::Vacant(free) => free,
            Entry::Occupied(there) => {
                let there = *there.get();
                let same = there.leaf == entry.leaf;
                let class = if same || own { Class::SeqRepeat } else { Class::Equivocated };
                let detail = format!("number {seq} stands at entry {} already", there.index);
                return Some(Clash { class, detail, with: Some(there) });
            }
        };
        if seq <= self.closed || (self.own && seq <= self.range_end) {
            let class = if own { Class::SeqRepeat } else { Class::ClosedNumber };
            let detail = format!("numbers up to {} are closed", self.range_end);
            return Some(Clash { class, detail, with: None });
        }
        free.insert(entry);
        self.last = self.last.max(seq);
        if own && seq != expected {
            let class = if seq > expected { Class::SeqGap } else { Class::SeqRepeat };
            let detail = format!("number {seq} follows number {}", expected - 1);
            return Some(Clash { class, detail, with: None });
        }
        None
    }

    /// A VOID of the author's names a question.
    pub(crate) fn void(&mut self, voided: u64, quoted: Digest) -> Option<Class> {
        if self.own && voided > self.range_end {
            let named = self.tail.get(&voided);
            if named.is_none_or(|entry| entry.leaf != quoted || entry.kind != PairKind::Query) {
                return Some(Class::VoidMismatch);
            }
        }
        self.voided.insert(voided, quoted);
        None
    }

    /// A PERIOD closes numbers. Returns the questions that it names as holes.
    pub(crate) fn period(
        &mut self,
        leaf: Digest,
        index: u64,
        seq: u64,
        period: Period,
        faults: &mut Vec<PeriodFault>,
    ) -> Vec<Numbered> {
        let fault = |class, detail: String| PeriodFault { class, index, seq, detail };
        let (first, last) = (period.first.0, period.last.0);
        if first != self.range_end.saturating_add(1) || last >= seq {
            let detail = format!("closes {first} to {last}, but numbers up to {} are closed", self.range_end);
            faults.push(fault(Class::PeriodRange, detail));
        }
        let mut holes = Vec::new();
        for hole in &period.holes {
            let there = self.tail.get(&hole.seq.0).copied();
            let voided = self.voided.remove(&hole.seq.0);
            let wrong = match (self.own, there) {
                (true, Some(entry)) => {
                    holes.push(entry);
                    entry.leaf != hole.leaf
                        || entry.kind != PairKind::Query
                        || (hole.why == HoleWhy::Void && voided != Some(hole.leaf))
                }
                (true, None) => true,
                (false, Some(_)) => true,
                // The VOID itself may be delivered after the period.
                (false, None) => false,
            };
            if wrong {
                faults.push(fault(Class::HoleMismatch, format!("hole {}", hole.seq)));
            }
        }
        self.range_end = self.range_end.max(last);
        let mut seen = PeriodSeen { leaf, last, matches: false, index, seq, period };
        seen.matches = self.matches(&seen.period);
        if seen.matches {
            self.closed = self.closed.max(last);
            if self.keep {
                self.periods.push(seen);
                return holes;
            }
            let open = self.tail.split_off(&last.saturating_add(1));
            // What an earlier, unmatched period left behind stays for comparison.
            self.tail.retain(|n, _| *n < first);
            self.tail.extend(open);
        } else if self.own {
            faults.push(fault(Class::PeriodMismatch, "the own entries give another root".to_owned()));
        }
        self.periods.push(seen);
        holes
    }

    /// The recorded entries give the period's root, computed in two ways.
    fn matches(&self, period: &Period) -> bool {
        let (first, last) = (period.first.0, period.last.0);
        let mut holes = period.holes.iter().map(|hole| hole.seq.0).peekable();
        let mut leaves = Vec::new();
        // The tail is never longer than what was recorded: a period over 2^63 numbers ends at the first gap.
        let mut next = first;
        for (seq, entry) in self.tail.range(first..=last) {
            while holes.next_if(|hole| *hole < *seq).is_some() {
                next = next.saturating_add(1);
            }
            if holes.next_if_eq(seq).is_some() {
                next = next.saturating_add(1);
                continue;
            }
            if *seq != next {
                return false;
            }
            leaves.push(entry.leaf);
            next = next.saturating_add(1);
        }
        next = next.saturating_add(holes.count() as u64);
        if next != last.saturating_add(1) || leaves.len() as u64 != period.count {
            return false;
        }
        let second = puente_evidence::guard::root_of(&leaves).unwrap_or_else(puente_audit_log::empty_root);
        root_of(leaves.iter().copied()) == period.root && second == period.root
    }

    /// At the end of the log: entries that came after their period count for it; periods that still differ are faults.
    pub(crate) fn settle(&mut self) -> Vec<PeriodFault> {
        let mut faults = Vec::new();
        for at in 0..self.periods.len() {
            if self.periods[at].matches {
                continue;
            }
            let matches = self.matches(&self.periods[at].period);
            let seen = &mut self.periods[at];
            seen.matches = matches;
            if !matches && !self.own {
                let (index, seq) = (seen.index, seen.seq);
                let detail = "the entries recorded here give another root".to_owned();
                faults.push(PeriodFault { class: Class::PeriodMismatch, index, seq, detail });
            }
        }
        faults
    }
}
