//! What every member computes alike from a ledger's entries: which of them count.
//!
//! A pure function of the entries, the charters that they name and the rosters of the epochs. Whatever could be told
//! differently to different members (who signed a head, when something was cosigned) has no part in it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use puente_audit_log::{ClaimedCheckpoint, SignedCheckpoint};
use puente_model::{CharterVector, Digest, Jurisdiction, Millis, NodeUri};

use crate::api::Fault;
use crate::entry::{Body, Entry, EntryError};
use crate::name::{GroupId, LedgerOrigin};
use crate::quorum::NotCosigned;
use crate::rules::Rules;
use crate::tree::Leaves;

/// Who is in the group in one epoch.
pub type Roster = BTreeSet<NodeUri>;

/// Why an entry counts for nothing. It keeps its index; members go on to the next.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Skip {
    /// Not an entry.
    #[error(transparent)]
    Malformed(#[from] EntryError),
    /// Written for another ledger.
    #[error("the entry was written for ledger {0}")]
    OtherLedger(LedgerOrigin),
    /// Written for another index.
    #[error("the entry was written for index {0}")]
    OtherIndex(u64),
    /// No proposer's key signed it.
    #[error("the entry bears no signature of one of the group's proposers")]
    NotAProposer,
    /// A successor may close a ledger and nothing else.
    #[error("{0} does not convene this ledger: of a successor only CLOSE counts")]
    NotTheConvener(NodeUri),
    /// It ends another epoch than the group is in.
    #[error("the entry ends epoch {found}; the group is in epoch {expected}")]
    Epoch {
        /// The group's epoch.
        expected: u64,
        /// The entry's.
        found: u64,
    },
    /// Its time lies before that of the commit before it.
    #[error("the entry states a time before that of the commit before it")]
    TimeGoesBack,
    /// It names a charter older than the one that governs it.
    #[error("the entry names charter {found}, which goes behind {governing}")]
    CharterGoesBack {
        /// The charter that governs the entry.
        governing: CharterVector,
        /// The charter that the entry names.
        found: CharterVector,
    },
    /// It names a holder that is not in the group.
    #[error("{0} is named as a holder of the commit and is not in the group")]
    HolderNotAMember(NodeUri),
    /// Less than a majority of the members hold the commit.
    #[error("{holders} of {members} members hold the commit; it takes a majority")]
    NoMajority {
        /// How many hold it.
        holders: usize,
        /// How many there are.
        members: usize,
    },
    /// In one nation nobody holds the commit.
    #[error("no member in {0} holds the commit")]
    NoHolderIn(Jurisdiction),
    /// CLOSE that names another ledger than the next.
    #[error("CLOSE names {0}, which does not follow this ledger")]
    NotTheNext(LedgerOrigin),
}

/// What an entry does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It orders a commit.
    Commit {
        /// The epoch that the commit ends.
        epoch: u64,
        /// When it was proposed.
        at: Millis,
        /// The commit's hash.
        commit: Digest,
    },
    /// It ends the ledger.
    Close {
        /// Who goes on in the next one.
        by: NodeUri,
    },
    /// It counts for nothing.
    Skip(Skip),
}

/// Why an entry cannot be judged, or not yet.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ChainError {
    /// The entry before has not been settled.
    #[error("entry {0} is ordered and its commit not yet processed")]
    Unsettled(u64),
    /// The charter that governs the entry is not known here.
    #[error("charter {0} governs this entry and is not known here: fetch it")]
    UnknownCharter(CharterVector),
    /// The head is of another ledger.
    #[error("the head is of ledger {found}; the group is at {expected}")]
    OtherLedger {
        /// The ledger that the group is at.
        expected: LedgerOrigin,
        /// The head's.
        found: String,
    },
    /// The entries do not lead to the head's root.
    #[error("the entries up to size {size} do not lead to the root that was cosigned")]
    Root {
        /// The head's size.
        size: u64,
    },
    /// The quorum of the charter in force is not met.
    #[error(transparent)]
    NotCosigned(#[from] NotCosigned),
    /// A reboot for another state than this member's.
    #[error("the reboot is of {ledger} at size {size}, root {root}: this member is elsewhere; compare receipts first")]
    RebootElsewhere {
        /// The ledger it names.
        ledger: LedgerOrigin,
        /// The size it names.
        size: u64,
        /// The root it names.
        root: Digest,
    },
}

/// The charters that are known, by version.
#[derive(Debug, Clone, Default)]
pub struct Charters(BTreeMap<String, Arc<Rules>>);

impl Charters {
    /// Remembers what a version says.
    pub fn learn(&mut self, rules: Rules) {
        self.0.insert(rules.vector().to_string(), Arc::new(rules));
    }

    /// Every version that is known.
    pub(crate) fn all(&self) -> impl Iterator<Item = &Rules> {
        self.0.values().map(Arc::as_ref)
    }

    /// A head of a ledger, signed by one of those who may propose under any charter that is known; its quorum is checked
    /// where it counts.
    pub(crate) fn head(&self, ledger: &LedgerOrigin, note: &[u8]) -> Result<SignedCheckpoint, Fault> {
        let claimed = ClaimedCheckpoint::parse(note)?;
        let found = claimed.claimed().origin();
        if found != ledger.to_string() {
            let found = found.to_owned();
            return Err(ChainError::OtherLedger { expected: ledger.clone(), found }.into());
        }
        let keys = self.all().flat_map(|rules| rules.keys(ledger));
        let mut last = None;
        for (_, key) in keys {
            match claimed.clone().verify(&key) {
                Ok(head) => return Ok(head),
                Err(error) => last = Some(error),
            }
        }
        Err(last.map_or(Fault::NotAwaited("a head"), Fault::Head))
    }

    /// What a version says.
    ///
    /// # Errors
    /// It is not known.
    pub fn get(&self, vector: &CharterVector) -> Result<&Arc<Rules>, ChainError> {
        self.0.get(&vector.to_string()).ok_or_else(|| ChainError::UnknownCharter(vector.clone()))
    }
}

/// What decides which entries count: who convenes under which charter, since when, in which epoch, and who is in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Standing {
    pub(crate) ledger: LedgerOrigin,
    pub(crate) convener: NodeUri,
    /// The charter that governs the next entry.
    pub(crate) vector: CharterVector,
    pub(crate) epoch: u64,
    /// What the last commit states as its time.
    pub(crate) at: Millis,
    /// Unknown to whoever checks history and was not there.
    pub(crate) roster: Option<Roster>,
}

impl Standing {
    pub(crate) fn new(group: GroupId, rules: &Rules, epoch: u64, roster: Roster) -> Self {
        // Rules without a seat do not exist.
        let convener = rules.seats()[0].node.clone();
        let (vector, ledger) = (rules.vector().clone(), LedgerOrigin::first(group));
        Self { ledger, convener, vector, epoch, at: Millis(0), roster: Some(roster) }
    }

    /// What an entry at an index of the ledger does, under the rules that govern it.
    pub(crate) fn judge(&self, index: u64, bytes: &[u8], rules: &Rules) -> Verdict {
        self.judged(index, bytes, rules).unwrap_or_else(Verdict::Skip)
    }

    fn judged(&self, index: u64, bytes: &[u8], rules: &Rules) -> Result<Verdict, Skip> {
        let entry = Entry::parse(bytes)?;
        let draft = entry.draft();
        if draft.ledger != self.ledger {
            return Err(Skip::OtherLedger(draft.ledger.clone()));
        }
        if draft.index != index {
            return Err(Skip::OtherIndex(draft.index));
        }
        let keys = rules.keys(&self.ledger);
        let by = entry.signed_by(keys.iter().map(|(node, key)| (key, node))).ok_or(Skip::NotAProposer)?;
        if !draft.charter.covers(&self.vector) {
            let (governing, found) = (self.vector.clone(), draft.charter.clone());
            return Err(Skip::CharterGoesBack { governing, found });
        }
        match &draft.body {
            Body::Close { next } if Some(next) == self.ledger.next().as_ref() => Ok(Verdict::Close { by: by.clone() }),
            Body::Close { next } => Err(Skip::NotTheNext(next.clone())),
            Body::Commit { .. } if *by != self.convener => Err(Skip::NotTheConvener(by.clone())),
            Body::Commit { epoch, .. } if *epoch != self.epoch => {
                Err(Skip::Epoch { expected: self.epoch, found: *epoch })
            }
            Body::Commit { at, .. } if *at < self.at => Err(Skip::TimeGoesBack),
            Body::Commit { epoch, at, commit, held } => {
                if let Some(roster) = &self.roster {
                    held_by_enough(roster, held.keys())?;
                }
                Ok(Verdict::Commit { epoch: *epoch, at: *at, commit: *commit })
            }
        }
    }

    /// What is otherwise after an entry. True if the group goes on in another ledger.
    pub(crate) fn take(&mut self, entry: &[u8], verdict: &Verdict, charters: &Charters) -> Result<bool, ChainError> {
        let (false, Ok(entry)) = (matches!(verdict, Verdict::Skip(_)), Entry::parse(entry)) else { return Ok(false) };
        let (old, new) = (charters.get(&self.vector)?, charters.get(&entry.draft().charter)?);
        let nodes = |rules: &Rules| rules.seats().iter().map(|seat| seat.node.clone()).collect::<Vec<_>>();
        // A charter that names other proposers names the convener anew.
        if nodes(old) != nodes(new) {
            self.convener = new.seats()[0].node.clone();
        }
        self.vector = new.vector().clone();
        match verdict {
            Verdict::Commit { at, .. } => self.at = *at,
            Verdict::Close { by } => {
                if nodes(new).contains(by) {
                    self.convener = by.clone();
                }
                if let Some(next) = self.ledger.next() {
                    self.ledger = next;
                    return Ok(true);
                }
            }
            Verdict::Skip(_) => {}
        }
        Ok(false)
    }
}

/// Where a group stands: its ledger, its tree, its epoch, who convenes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chain {
    standing: Standing,
    leaves: Leaves,
    /// The index of the commit that is ordered and not settled.
    unsettled: Option<u64>,
}

impl Chain {
    /// A group at the beginning of its first ledger.
    pub fn new(group: GroupId, rules: &Rules, epoch: u64, roster: Roster) -> Self {
        Self::at_rest(Standing::new(group, rules, epoch, roster), Leaves::default())
    }

    /// A group of which everything that is ordered is settled.
    pub(crate) const fn at_rest(standing: Standing, leaves: Leaves) -> Self {
        Self { standing, leaves, unsettled: None }
    }

    /// The ledger that takes entries.
    pub const fn ledger(&self) -> &LedgerOrigin {
        &self.standing.ledger
    }

    /// How many entries it has.
    pub fn size(&self) -> u64 {
        self.leaves.size()
    }

    /// Its root.
    pub fn root(&self) -> Digest {
        self.leaves.root()
    }

    pub(crate) const fn leaves(&self) -> &Leaves {
        &self.leaves
    }

    /// The epoch that the next commit ends.
    pub const fn epoch(&self) -> u64 {
        self.standing.epoch
    }

    /// What the last commit states as its time.
    pub const fn at(&self) -> Millis {
        self.standing.at
    }

    /// The charter that governs the next entry.
    pub const fn vector(&self) -> &CharterVector {
        &self.standing.vector
    }

    /// Who convenes this ledger.
    pub const fn convener(&self) -> &NodeUri {
        &self.standing.convener
    }

    /// Who is in the group; unknown while history is checked by somebody who was not.
    pub const fn roster(&self) -> Option<&Roster> {
        self.standing.roster.as_ref()
    }

    /// The index of the commit that is ordered and not settled.
    pub const fn unsettled(&self) -> Option<u64> {
        self.unsettled
    }

    /// What an entry at the next index does, under the rules that govern it. Changes nothing.
    pub fn judge(&self, bytes: &[u8], rules: &Rules) -> Verdict {
        self.standing.judge(self.size(), bytes, rules)
    }

    /// The leaves that these entries add, if the head is of this ledger and ends in them.
    pub(crate) fn ends_in(&self, entries: &[Vec<u8>], head: &SignedCheckpoint) -> Result<Vec<Digest>, ChainError> {
        self.leaves.ends_in(self.ledger(), entries, head)
    }

    /// Takes entries in that a cosigned head proves, as far as they can be judged now: up to the first commit, which must
    /// be settled before anything after it. Each entry needs the quorum of the charter that governs it.
    ///
    /// Returns what each entry that was taken in does.
    ///
    /// # Errors
    /// The head proves something else, or not enough. Nothing is taken in then.
    pub(crate) fn extend(
        &mut self,
        entries: &[Vec<u8>],
        head: &SignedCheckpoint,
        charters: &Charters,
    ) -> Result<Vec<Verdict>, ChainError> {
        let leaves = self.ends_in(entries, head)?;
        let mut next = self.clone();
        let mut verdicts = Vec::new();
        for (entry, leaf) in entries.iter().zip(leaves) {
            if let Some(index) = next.unsettled {
                if verdicts.is_empty() {
                    return Err(ChainError::Unsettled(index));
                }
                break;
            }
            let rules = charters.get(next.vector())?;
            rules.quorum().check(head)?;
            let verdict = next.judge(entry, rules);
            let last = matches!(verdict, Verdict::Close { .. });
            next.take(entry, leaf, &verdict, charters)?;
            verdicts.push(verdict);
            if last {
                break;
            }
        }
        *self = next;
        Ok(verdicts)
    }

    /// Entries of a ledger that were verified before this node came in: their place in the tree counts, and nothing else.
    pub(crate) fn pass(
        &mut self,
        ledger: &LedgerOrigin,
        entries: &[Vec<u8>],
        head: &SignedCheckpoint,
    ) -> Result<(), ChainError> {
        if self.ledger() != ledger {
            let convener = self.convener().clone();
            self.move_to(ledger.clone(), convener);
        }
        let leaves = self.ends_in(entries, head)?;
        leaves.into_iter().for_each(|leaf| self.leaves.push(leaf));
        Ok(())
    }

    /// Stands where this node came in, after so many of the entries that were verified. False if there are fewer.
    pub(crate) fn stand(&mut self, standing: Standing, size: u64) -> bool {
        if standing.ledger != *self.ledger() {
            self.move_to(standing.ledger.clone(), standing.convener.clone());
        }
        let there = size <= self.size();
        if there {
            self.leaves.truncate(size);
            self.standing = standing;
            self.unsettled = None;
        }
        there
    }

    fn take(&mut self, entry: &[u8], leaf: Digest, verdict: &Verdict, charters: &Charters) -> Result<(), ChainError> {
        let index = self.size();
        self.leaves.push(leaf);
        if self.standing.take(entry, verdict, charters)? {
            self.leaves = Leaves::default();
        }
        if matches!(verdict, Verdict::Commit { .. }) {
            self.unsettled = Some(index);
        }
        Ok(())
    }

    pub(crate) fn move_to(&mut self, ledger: LedgerOrigin, convener: NodeUri) {
        self.standing.ledger = ledger;
        self.standing.convener = convener;
        self.leaves = Leaves::default();
    }

    /// The commit at `index` was processed: with the new roster if it ended the epoch, without one if it failed a check
    /// that every member makes alike. False if that commit does not wait.
    pub(crate) fn settle(&mut self, index: u64, roster: Option<Roster>) -> bool {
        if self.unsettled != Some(index) {
            return false;
        }
        self.unsettled = None;
        if let Some(roster) = roster {
            self.standing.epoch += 1;
            self.standing.roster = Some(roster);
        }
        true
    }
}

/// Of those who hold a commit, as few as make enough, one of each nation first and those with short names: an entry has to
/// hold them all.
pub(crate) fn fewest<T: Clone>(roster: &Roster, held: &BTreeMap<NodeUri, T>) -> BTreeMap<NodeUri, T> {
    let mut all: Vec<_> = held.iter().filter(|(node, _)| roster.contains(*node)).collect();
    all.sort_by_key(|(node, _)| node.as_str().len());
    let mut nations = BTreeSet::new();
    let (mut chosen, others): (Vec<_>, Vec<_>) =
        all.into_iter().partition(|(node, _)| nations.insert(node.jurisdiction()));
    let majority = roster.len() / 2 + 1;
    let missing = majority.saturating_sub(chosen.len());
    chosen.extend(others.into_iter().take(missing));
    chosen.into_iter().map(|(node, leaf)| (node.clone(), leaf.clone())).collect()
}

/// A majority of the members, some in each nation.
///
/// # Errors
/// What is missing.
pub fn held_by_enough<'n>(roster: &Roster, holders: impl IntoIterator<Item = &'n NodeUri>) -> Result<(), Skip> {
    held_by_enough_before(roster, 0, holders)
}

/// The same for a node that came in with the commit: it knows the members who stayed, and of those who were removed by it
/// how many they were.
///
/// # Errors
/// What is missing, whoever they were.
pub fn held_by_enough_before<'n>(
    stayed: &Roster,
    removed: usize,
    holders: impl IntoIterator<Item = &'n NodeUri>,
) -> Result<(), Skip> {
    let holders: BTreeSet<&NodeUri> = holders.into_iter().collect();
    if let Some(stranger) = holders.iter().filter(|holder| !stayed.contains(**holder)).nth(removed) {
        return Err(Skip::HolderNotAMember((*stranger).clone()));
    }
    let members = stayed.len().saturating_add(removed);
    if 2 * holders.len() <= members {
        return Err(Skip::NoMajority { holders: holders.len(), members });
    }
    let held: BTreeSet<Jurisdiction> = holders.iter().map(|holder| holder.jurisdiction()).collect();
    match stayed.iter().map(NodeUri::jurisdiction).find(|nation| !held.contains(nation)) {
        Some(nation) => Err(Skip::NoHolderIn(nation)),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entry::{Draft, HOLDERS_MAX};
    use puente_audit_log::{Ed25519Signer, KeyKind};
    use puente_model::Secret32;

    /// The largest group that there is, in which nearly everybody holds the commit before a nation's one member does.
    #[test]
    fn the_holders_of_the_largest_group_fit_into_an_entry() {
        let node = |name: String| name.parse::<NodeUri>().unwrap();
        let mut roster: Roster =
            (0..999).map(|n| node(format!("puente://mx/agencia-{}/n{n}", "x".repeat(1 + n % 30)))).collect();
        let last = node("puente://us/a/n1".to_owned());
        roster.insert(last.clone());
        let held: BTreeMap<NodeUri, Digest> = roster.iter().map(|node| (node.clone(), Digest::default())).collect();
        let chosen = fewest(&roster, &held);
        assert_eq!((chosen.len(), chosen.contains_key(&last)), (HOLDERS_MAX, true));
        assert_eq!(held_by_enough(&roster, chosen.keys()), Ok(()));
        let ledger = LedgerOrigin::first("frontera/otay".parse().unwrap());
        let signer = Ed25519Signer::new(&ledger.to_string(), KeyKind::Ed25519, &Secret32::new([7; 32])).unwrap();
        let body = Body::Commit { epoch: 1, at: Millis(1), commit: Digest::default(), held: chosen };
        let draft = Draft { ledger, index: 1, charter: "1.mx1.us1".parse().unwrap(), body };
        assert!(draft.sign(&signer).is_ok());
        // Too few are not made enough.
        let few: BTreeMap<_, _> = held.into_iter().take(3).collect();
        assert_eq!(fewest(&roster, &few), few);
    }
}
