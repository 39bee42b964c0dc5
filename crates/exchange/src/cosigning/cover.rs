//! How much of one log stands under cosigned heads, and since when the rest waits.

use std::collections::VecDeque;

use prost::Message;
use puente_model::Millis;

/// Heads of so much time are looked at as one, which waits as long as the oldest of them, in milliseconds.
const GRAIN_MILLIS: u64 = 60_000;
/// Times that are kept apart: beyond that neighbours are looked at as one.
const WAITING_MAX: usize = 1_024;

/// How much of one log stands under cosigned heads, and since when the rest waits.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Cover {
    cosigned: u64,
    /// The note of that size, with the cosignatures; empty before the first.
    head: Vec<u8>,
    /// Heads beyond that: when the first of a minute came, and the size of the largest.
    waiting: VecDeque<(Millis, u64)>,
}

/// As the store holds it.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct StoredCover {
    /// The newest cosigned head: a note.
    #[prost(bytes = "vec", tag = "1")]
    pub(crate) head: Vec<u8>,
    #[prost(uint64, tag = "2")]
    pub(crate) cosigned: u64,
    /// Since when the oldest head beyond it waits; 0: none waits.
    #[prost(uint64, tag = "3")]
    pub(crate) since: u64,
}

impl Cover {
    pub(crate) const fn cosigned(&self) -> u64 {
        self.cosigned
    }

    /// The newest cosigned head: a note.
    pub(crate) fn head(&self) -> Option<&[u8]> {
        Some(self.head.as_slice()).filter(|head| !head.is_empty())
    }

    /// Since when the oldest head that is not cosigned waits.
    pub(crate) fn pending_since(&self) -> Option<Millis> {
        self.waiting.front().map(|(since, _)| *since)
    }

    /// A head of this size came.
    pub(crate) fn came(&mut self, now: Millis, size: u64) {
        if size <= self.cosigned || self.waiting.back().is_some_and(|(_, largest)| size <= *largest) {
            return;
        }
        let full = self.waiting.len() >= WAITING_MAX;
        match self.waiting.back_mut() {
            // Later heads of one grain are counted from its first: that is never too late.
            Some((since, largest)) if full || now.since(*since) < GRAIN_MILLIS => *largest = size,
            _ => self.waiting.push_back((now, size)),
        }
    }

    /// A head of this size is cosigned. True if that is news.
    pub(crate) fn reach(&mut self, size: u64, head: &[u8]) -> bool {
        while self.waiting.front().is_some_and(|(_, largest)| *largest <= size) {
            self.waiting.pop_front();
        }
        if size <= self.cosigned {
            return false;
        }
        (self.cosigned, self.head) = (size, head.to_vec());
        true
    }

    /// No cosignatures are wanted.
    pub(crate) fn wait_for_none(&mut self) {
        self.waiting.clear();
    }

    /// A clock that was put back makes nothing wait longer, or shorter.
    pub(crate) fn put_clock_back(&mut self, back: u64) {
        for (since, _) in &mut self.waiting {
            *since = Millis(since.0.saturating_sub(back));
        }
    }

    pub(crate) fn stored(&self) -> Vec<u8> {
        let since = self.pending_since().map_or(0, |since| since.0);
        StoredCover { head: self.head.clone(), cosigned: self.cosigned, since }.encode_to_vec()
    }

    /// As it was stored, over a log whose newest head has this size.
    pub(crate) fn restore(stored: StoredCover, size: u64) -> Self {
        let waits = stored.since > 0 && size > stored.cosigned;
        let waiting = waits.then_some((Millis(stored.since), size)).into_iter().collect();
        Self { cosigned: stored.cosigned, head: stored.head, waiting }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_head_that_is_not_cosigned_counts() {
        let mut cover = Cover::default();
        assert_eq!(cover.pending_since(), None);
        for (at, size) in [(1_000, 4), (2_000, 5), (70_000, 9), (70_001, 9), (70_002, 7)] {
            cover.came(Millis(at), size);
        }
        assert_eq!(cover.pending_since(), Some(Millis(1_000)));
        // What is left of a minute still waits as long as its first.
        assert!(cover.reach(4, b"4"));
        assert_eq!(cover.pending_since(), Some(Millis(1_000)));
        assert!(cover.reach(5, b"5"));
        assert_eq!(cover.pending_since(), Some(Millis(70_000)));
        assert!(!cover.reach(3, b"3"), "less is no news");
        assert!(cover.reach(12, b"12"));
        assert_eq!((cover.pending_since(), cover.cosigned(), cover.head()), (None, 12, Some(&b"12"[..])));
        cover.came(Millis(80_000), 12);
        assert_eq!(cover.pending_since(), None);
    }

    #[test]
    fn memory_is_bounded_and_never_forgives() {
        let mut cover = Cover::default();
        for i in 0..5_000 {
            cover.came(Millis(1 + i * GRAIN_MILLIS), 1 + i);
        }
        assert_eq!((cover.waiting.len(), cover.pending_since()), (WAITING_MAX, Some(Millis(1))));
        cover.reach(WAITING_MAX as u64, b"n");
        let last = cover.pending_since().unwrap();
        assert!(last <= Millis(1 + WAITING_MAX as u64 * GRAIN_MILLIS), "{last:?}");
        cover.reach(5_000, b"n");
        assert_eq!(cover.pending_since(), None);
    }

    #[test]
    fn a_restart_forgives_nothing() {
        let mut cover = Cover::default();
        cover.came(Millis(5), 7);
        cover.reach(3, b"3");
        let stored = StoredCover::decode(cover.stored().as_slice()).unwrap();
        let back = Cover::restore(stored.clone(), 9);
        assert_eq!((back.cosigned(), back.head(), back.pending_since()), (3, Some(&b"3"[..]), Some(Millis(5))));
        assert_eq!(Cover::restore(stored, 3).pending_since(), None);
    }
}
