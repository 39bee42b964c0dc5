use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

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

impl FromStr for CharterVector {
    type Err = VectorError;

    /// The text that [`CharterVector`] prints, and no other.
    fn from_str(text: &str) -> Result<Self, VectorError> {
        let mut words = text.split('.');
        let common = words.next().and_then(|word| word.parse().ok()).ok_or(VectorError)?;
        let mut annexes = BTreeMap::new();
        for word in words {
            let (nation, number) = word.split_at_checked(2).ok_or(VectorError)?;
            let nation = nation.parse().map_err(|_| VectorError)?;
            annexes.insert(nation, number.parse().map_err(|_| VectorError)?);
        }
        let vector = Self { common, annexes };
        if vector.to_string() == text { Ok(vector) } else { Err(VectorError) }
    }
}

/// Not a charter vector.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a charter vector, for example 1.mx1.us2")]
pub struct VectorError;

impl fmt::Display for CharterVector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.common)?;
        for (j, n) in &self.annexes {
            write!(f, ".{j}{n}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vectors_are_read_as_they_are_printed() {
        for text in ["1", "1.mx1.us2", "12.mx340.us1"] {
            assert_eq!(text.parse::<CharterVector>().unwrap().to_string(), text);
        }
        for bad in ["", "1.us1.mx1", "01.mx1", "1.mx01", "1.mx", "1.", "1.mx1.mx2", "1.mxé"] {
            assert!(bad.parse::<CharterVector>().is_err(), "{bad}");
        }
    }
}
