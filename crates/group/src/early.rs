//! Messages that arrived before the commits that make them readable.

use std::collections::BTreeMap;
use std::fmt;

use crate::limits::{EARLY_BYTES_MAX, EARLY_EPOCHS_MAX, EARLY_MESSAGES_MAX};

/// What is held back is full, or the message is from too far ahead: drop it, its sender sends it again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the message is early, and what is held back is full: fetch the commits, then ask for the message again")]
pub struct EarlyFull;

/// Messages of coming epochs of one group, a bounded number of them. Nobody can tell yet whether they are genuine, so
/// they are held in memory only.
#[derive(Default)]
pub struct Early {
    held: BTreeMap<u64, Vec<Vec<u8>>>,
    messages: usize,
    bytes: usize,
}

impl fmt::Debug for Early {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Early({} messages, {} bytes)", self.messages, self.bytes)
    }
}

impl Early {
    /// Holds a message of epoch `found` back while the group is at `at`.
    ///
    /// # Errors
    /// [`EarlyFull`].
    pub fn hold(&mut self, at: u64, found: u64, message: &[u8]) -> Result<(), EarlyFull> {
        let ahead = found.saturating_sub(at);
        let full = self.messages == EARLY_MESSAGES_MAX || self.bytes + message.len() > EARLY_BYTES_MAX;
        if full || ahead == 0 || ahead > EARLY_EPOCHS_MAX {
            return Err(EarlyFull);
        }
        self.held.entry(found).or_default().push(message.to_vec());
        self.messages += 1;
        self.bytes += message.len();
        Ok(())
    }

    /// Those that can be tried now that the group is at `at`, in the order of their arrival.
    pub fn ready(&mut self, at: u64) -> Vec<Vec<u8>> {
        let later = self.held.split_off(&at.saturating_add(1));
        let ready: Vec<Vec<u8>> = std::mem::replace(&mut self.held, later).into_values().flatten().collect();
        self.messages -= ready.len();
        self.bytes -= ready.iter().map(Vec::len).sum::<usize>();
        ready
    }

    /// How many are held back.
    pub const fn len(&self) -> usize {
        self.messages
    }

    /// None are.
    pub const fn is_empty(&self) -> bool {
        self.messages == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_sides_of_every_limit() {
        let mut early = Early::default();
        assert_eq!(early.hold(5, 5, b"now"), Err(EarlyFull));
        assert_eq!(early.hold(5, 6 + EARLY_EPOCHS_MAX, b"far"), Err(EarlyFull));
        for n in 0..EARLY_MESSAGES_MAX {
            assert_eq!(early.hold(5, 6 + (n as u64 % EARLY_EPOCHS_MAX), b"m"), Ok(()));
        }
        assert_eq!(early.hold(5, 6, b"m"), Err(EarlyFull));
        assert_eq!(early.ready(5), Vec::<Vec<u8>>::new());
        assert_eq!(early.ready(6).len() + early.len(), EARLY_MESSAGES_MAX);
        assert_eq!(early.hold(6, 7, &vec![0; EARLY_BYTES_MAX - early.bytes]), Ok(()));
        assert_eq!(early.hold(6, 7, b"m"), Err(EarlyFull));
        early.ready(u64::MAX);
        assert!(early.is_empty() && early.bytes == 0);
    }

    #[test]
    fn order_of_arrival_is_kept() {
        let mut early = Early::default();
        for (epoch, text) in [(3, "c"), (2, "a"), (3, "d"), (2, "b"), (4, "e")] {
            early.hold(1, epoch, text.as_bytes()).unwrap();
        }
        let text = |messages: Vec<Vec<u8>>| String::from_utf8(messages.concat()).unwrap();
        assert_eq!(text(early.ready(3)), "abcd");
        assert_eq!(text(early.ready(4)), "e");
    }
}
