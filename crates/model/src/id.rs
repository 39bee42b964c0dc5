use std::fmt;
use std::str::FromStr;

use crate::DigestError;

/// Names one exchange: `u16be log ‖ u48be number ‖ 8 random bytes`, log and number being those of its QUERY.
///
/// Whoever knows that a number is new knows that the exchange is, without a search; and what both sides keep of the
/// exchanges with one peer lies in the order in which they were asked.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ExchangeId(pub [u8; 16]);

impl ExchangeId {
    /// The name of the exchange whose QUERY has this number in the asker's log `k` (origin `…/log<k>`).
    pub fn new(log: u32, seq: Seq, random: [u8; 8]) -> Self {
        let mut id = [0; 16];
        id[..8].copy_from_slice(&Self::place(log, seq).to_be_bytes());
        id[8..].copy_from_slice(&random);
        Self(id)
    }

    /// Whether this is a name for the QUERY with this number in the asker's log `k`.
    pub fn is_of(&self, log: u32, seq: Seq) -> bool {
        self.0[..8] == Self::place(log, seq).to_be_bytes()
    }

    /// The second half of its name, which is not its place.
    pub fn half(&self) -> [u8; 8] {
        let mut half = [0; 8];
        half.copy_from_slice(&self.0[8..]);
        half
    }

    // Logs and numbers beyond 2^16 and 2^48 wrap: uniqueness beyond them rests on the random half.
    fn place(log: u32, seq: Seq) -> u64 {
        u64::from(log) << 48 | seq.0 & 0xffff_ffff_ffff
    }
}

impl TryFrom<&[u8]> for ExchangeId {
    type Error = DigestError;

    fn try_from(bytes: &[u8]) -> Result<Self, DigestError> {
        bytes.try_into().map(Self).map_err(|_| DigestError)
    }
}

impl FromStr for ExchangeId {
    type Err = DigestError;

    fn from_str(text: &str) -> Result<Self, DigestError> {
        let mut out = [0; 16];
        hex::decode_to_slice(text, &mut out).map_err(|_| DigestError)?;
        Ok(Self(out))
    }
}

impl fmt::Display for ExchangeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for ExchangeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ExchangeId({self})")
    }
}

/// Position of a pair entry in its author's numbering towards one receiver; the first is 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Seq(pub u64);

impl Seq {
    /// The first number of a numbering.
    pub const FIRST: Self = Self(1);

    /// The number after this one.
    pub const fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

/// Position of an entry in a log; the first is 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LeafIndex(pub u64);

/// How many entries a tree holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct TreeSize(pub u64);

macro_rules! display_number {
    ($($t:ty),*) => {$(
        impl fmt::Display for $t {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    )*};
}
display_number!(Seq, LeafIndex, TreeSize);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_exchange_is_named_after_its_number() {
        let id = ExchangeId::new(2, Seq(0x0102_0304), [9; 8]);
        assert_eq!(id.to_string(), "00020000010203040909090909090909");
        assert!(id.is_of(2, Seq(0x0102_0304)));
        assert!(!id.is_of(1, Seq(0x0102_0304)));
        assert!(!id.is_of(2, Seq(0x0102_0305)));
        assert_ne!(id, ExchangeId::new(2, Seq(0x0102_0304), [8; 8]));
    }
}
