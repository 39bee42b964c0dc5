//! Newer parts on top of a charter in force.

use std::collections::BTreeMap;
use std::fmt;

use puente_model::{CharterVector, Digest, Jurisdiction, Millis};

use crate::{Charter, CharterError, ClaimedPart, Conviction, Part};

/// Which part: the common one or a nation's annex, and its number.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PartId {
    /// Whose annex; none for the common part.
    pub nation: Option<Jurisdiction>,
    /// Its number, from 1.
    pub number: u32,
}

impl PartId {
    /// The file that a part stands in, in a charter folder that a node keeps.
    pub fn file(&self) -> String {
        match &self.nation {
            None => format!("common-{}.toml", self.number),
            Some(nation) => format!("annex-{nation}-{}.toml", self.number),
        }
    }
}

impl fmt::Display for PartId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.nation {
            None => write!(f, "common part {}", self.number),
            Some(nation) => write!(f, "annex {} of {nation}", self.number),
        }
    }
}

impl ClaimedPart {
    /// Which part it claims to be.
    pub fn id(&self) -> PartId {
        match self.part() {
            Part::Common(part) => PartId { nation: None, number: part.number },
            Part::Annex(part) => PartId { nation: Some(part.jurisdiction.clone()), number: part.number },
        }
    }
}

/// What parts that were offered lead to.
#[derive(Debug)]
pub enum Offer {
    /// Every one of them is in force or past already.
    Same,
    /// A later charter, and the parts that are new in it.
    Next(Box<Charter>, Vec<ClaimedPart>),
}

impl Charter {
    /// Every part of the history with its signatures: what another node needs to verify it.
    pub fn parts(&self) -> &[ClaimedPart] {
        &self.parts
    }

    /// A part of the history.
    pub fn part(&self, id: &PartId) -> Option<&ClaimedPart> {
        self.parts.iter().find(|part| part.id() == *id)
    }

    /// The hash of a part of the history.
    pub fn part_hash(&self, id: &PartId) -> Option<Digest> {
        let chain = match &id.nation {
            None => &self.commons,
            Some(nation) => self.annexes.get(nation)?,
        };
        chain.get(usize::try_from(id.number.checked_sub(1)?).ok()?).copied()
    }

    /// The newest part of each kind.
    pub fn newest(&self) -> Vec<PartId> {
        let vector = self.vector();
        let common = PartId { nation: None, number: vector.common };
        let annexes = vector.annexes.into_iter().map(|(nation, number)| PartId { nation: Some(nation), number });
        std::iter::once(common).chain(annexes).collect()
    }

    /// Verifies newer parts on top of this history; parts that stand in it already are passed over, so a whole folder
    /// may be offered. Nothing is adopted in part, and nothing ever goes back.
    ///
    /// # Errors
    /// The first defect found; a common part that begins after `now`; two different parts with one number
    /// ([`Charter::both`] finds them); parts that all lie below those in force.
    pub fn offer(&self, offered: &[ClaimedPart], now: Millis) -> Result<Offer, CharterError> {
        let mut highest: BTreeMap<Option<Jurisdiction>, u32> = BTreeMap::new();
        let mut fresh: Vec<ClaimedPart> = Vec::new();
        for part in offered {
            let id = part.id();
            let known = highest.entry(id.nation.clone()).or_default();
            *known = id.number.max(*known);
            if self.part_hash(&id) != Some(part.hash()) {
                fresh.push(part.clone());
            }
        }
        if fresh.is_empty() {
            let behind = self.newest().into_iter().any(|own| highest.get(&own.nation).is_some_and(|n| *n < own.number));
            if behind {
                let common = highest.remove(&None).unwrap_or_default();
                let annexes = highest.into_iter().filter_map(|(nation, number)| Some((nation?, number))).collect();
                let offered = CharterVector { common, annexes };
                return Err(CharterError::WouldGoBack {
                    current: self.vector().to_string(),
                    offered: offered.to_string(),
                });
            }
            return Ok(Offer::Same);
        }
        let next = Self::verify(self.parts.iter().cloned().chain(fresh.iter().cloned()), self.pin())?;
        let next = self.adopt(next)?;
        if next.common.valid_from > now {
            return Err(CharterError::NotYet { number: next.common.number, from: next.common.valid_from });
        }
        fresh.sort_by_key(ClaimedPart::id);
        fresh.dedup_by(|a, b| a.hash() == b.hash());
        Ok(Offer::Next(Box::new(next), fresh))
    }

    /// The two parts that a conviction names, found in this history and among those offered: the first is the one
    /// that was adopted, if one was.
    pub fn both(&self, offered: &[ClaimedPart], conviction: &Conviction) -> Option<(ClaimedPart, ClaimedPart)> {
        let (Conviction::TwoAnnexes { first, second, .. } | Conviction::TwoCommonParts { first, second, .. }) =
            conviction;
        let find = |hash: &Digest| self.parts.iter().chain(offered).find(|part| part.hash() == *hash).cloned();
        let (first, second) = (find(first)?, find(second)?);
        let own = |part: &ClaimedPart| self.part_hash(&part.id()) == Some(part.hash());
        if own(&second) { Some((second, first)) } else { Some((first, second)) }
    }

    /// Whether two parts are properly signed, different, and one part by their names: a conviction. Both are judged
    /// under this history, whichever of them it holds.
    pub fn convicts(&self, first: &ClaimedPart, second: &ClaimedPart) -> Option<Conviction> {
        if first.id() != second.id() || first.hash() == second.hash() {
            return None;
        }
        let id = first.id();
        // Whatever came after either of them rests on one of them only.
        let before = self.parts.iter().filter(|part| match (&part.id(), &id) {
            (PartId { nation: None, number }, PartId { nation: None, number: n }) => number < n,
            (PartId { nation: Some(a), number }, PartId { nation: Some(b), number: n }) if a == b => number < n,
            _ => true,
        });
        let parts = before.cloned().chain([first.clone(), second.clone()]);
        match Self::verify(parts, self.pin()) {
            Err(CharterError::Convicted(conviction)) => Some(conviction),
            _ => None,
        }
    }
}
