use std::collections::BTreeMap;
use std::fmt;

use crate::Jurisdiction;

/// Which version of each charter part is in force: the common part's number and each annex's.
#[derive(Debug, Clone, PartialEq, Eq, Default, Hash)]
pub struct CharterVector {
    /// Number of the common part; the first is 1.
    pub common: u32,
    /// Number of each jurisdiction's annex; the first is 1.
    pub annexes: BTreeMap<Jurisdiction, u32>,
}

impl CharterVector {
    /// True if no component of `self` is below that of `other`.
    pub fn covers(&self, other: &Self) -> bool {
        self.common >= other.common
            && other.annexes.iter().all(|(j, n)| self.annexes.get(j).is_some_and(|own| own >= n))
    }

    /// The component-wise maximum of both.
    #[must_use]
    pub fn join(&self, other: &Self) -> Self {
        let mut annexes = self.annexes.clone();
        for (j, n) in &other.annexes {
            let own = annexes.entry(j.clone()).or_default();
            *own = (*own).max(*n);
        }
        Self { common: self.common.max(other.common), annexes }
    }
}

impl fmt::Display for CharterVector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.common)?;
        for (j, n) in &self.annexes {
            write!(f, ".{j}{n}")?;
        }
        Ok(())
    }
}
