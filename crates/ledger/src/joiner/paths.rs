//! The standings that members may be in, as far as somebody can tell who was not there.

use std::collections::BTreeMap;

use puente_audit_log::SignedCheckpoint;
use puente_model::{Digest, NodeUri};

use super::Target;
use crate::api::Ordered;
use crate::chain::{ChainError, Charters, Skip, Standing, Verdict};
use crate::entry::{Body, Entry};
use crate::evidence::Premature;
use crate::name::LedgerOrigin;
use crate::rules::Rules;

/// Standings that a joiner follows at once. An honest convener leaves it one for each epoch at most, told apart by the next
/// entry.
pub const JOINER_PATHS_MAX: usize = 32;

/// The commit with which a joiner comes in, and what members were in after it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Arrival {
    pub(super) ordered: Ordered,
    pub(super) holders: BTreeMap<NodeUri, Digest>,
    pub(super) standing: Standing,
}

/// One way in which members may have taken the entries.
#[derive(Debug, Clone)]
pub(super) struct Path {
    pub(super) standing: Standing,
    /// How much on it is out of the ordinary.
    pub(super) cost: usize,
    /// Successors that did not wait, and the proofs.
    pub(super) premature: BTreeMap<NodeUri, Premature>,
    /// The commit after which the group was in the epoch in which it was shown.
    pub(super) reached: Option<Arrival>,
    pub(super) arrival: Option<Arrival>,
    /// What the entry at the joiner's place does on it, if it orders nothing.
    pub(super) missed: Option<Skip>,
}

/// What is the same for every path while one page is judged.
pub(super) struct Judging<'a> {
    pub(super) charters: &'a Charters,
    pub(super) head: &'a SignedCheckpoint,
    /// The newest head of the ledger before.
    pub(super) before: Option<&'a SignedCheckpoint>,
    pub(super) target: &'a Target,
    /// Whether the quorum of a charter signed the head.
    pub(super) met: BTreeMap<String, Result<(), ChainError>>,
}

/// What an entry costs that counts for nothing, a commit that failed the members' checks, and one that too few held: the
/// second needs one member that errs, the others a convener that lies.
const COSTS: (usize, usize, usize) = (2, 1, 3);

impl Judging<'_> {
    /// Takes every path over one entry.
    pub(super) fn entry(
        &mut self,
        paths: Vec<Path>,
        ledger: &LedgerOrigin,
        index: u64,
        entry: &[u8],
    ) -> Result<Vec<Path>, ChainError> {
        let mut next = Vec::new();
        for (at, path) in paths.into_iter().enumerate() {
            if path.standing.ledger != *ledger {
                next.push(path);
                continue;
            }
            match self.path(path, index, entry) {
                Ok(paths) => next.extend(paths),
                // A page that stops the believed path does not go by way of another.
                Err(error) if at == 0 => return Err(error),
                Err(_) => {}
            }
        }
        // The sort is stable: of two that are alike out of the ordinary, the one in which the commit was taken in is first.
        next.sort_by_key(|path| path.cost);
        let mut seen: Vec<Path> = Vec::new();
        for path in next {
            let believed = seen.first().is_none_or(|first| first.standing.vector == path.standing.vector);
            let same = |other: &Path| other.standing == path.standing && other.arrival == path.arrival;
            if believed && !seen.iter().any(same) && seen.len() < JOINER_PATHS_MAX {
                seen.push(path);
            }
        }
        Ok(seen)
    }

    fn met(&mut self, rules: &Rules) -> Result<(), ChainError> {
        let head = self.head;
        let check = || rules.quorum().check(head).map(drop).map_err(ChainError::from);
        self.met.entry(rules.vector().to_string()).or_insert_with(check).clone()
    }

    fn path(&mut self, mut path: Path, index: u64, bytes: &[u8]) -> Result<Vec<Path>, ChainError> {
        let rules = self.charters.get(&path.standing.vector)?.clone();
        self.met(&rules)?;
        let verdict = path.standing.judge(index, bytes, &rules);
        let place = *self.target == Target::Place(path.standing.ledger.clone(), index);
        let before = path.standing.clone();
        path.standing.take(bytes, &verdict, self.charters)?;
        match verdict {
            Verdict::Skip(skip) => {
                path.cost += COSTS.0;
                path.missed = place.then_some(skip).or(path.missed);
                Ok(vec![path])
            }
            Verdict::Close { .. } => {
                if let (Ok(close), Some(early)) = (Entry::parse(bytes), self.before) {
                    let (head, early) = (self.head.clone(), early.clone());
                    let premature = Premature { close, head, before: early, convener: before.convener };
                    if let Some(by) = premature.by(&rules) {
                        path.premature.insert(by, premature);
                    }
                }
                Ok(vec![path])
            }
            Verdict::Commit { epoch, at, commit } => {
                let ledger = before.ledger.clone();
                let ordered =
                    Ordered { ledger, index, epoch, commit_hash: commit, charter: path.standing.vector.clone(), at };
                let mut paths = Vec::with_capacity(3);
                let mut taken = path.clone();
                taken.standing.epoch += 1;
                taken.standing.roster = None;
                let standing = taken.standing.clone();
                let here = Arrival { ordered, holders: holders(bytes), standing };
                if place {
                    taken.arrival = Some(here);
                    return Ok(vec![taken]);
                }
                match *self.target {
                    // Still in the epoch in which it was shown, or beyond it.
                    Target::Epoch(shown) if shown == taken.standing.epoch => taken.reached = Some(here),
                    Target::Epoch(shown) if shown == before.epoch => taken.arrival.clone_from(&taken.reached),
                    _ => {}
                }
                paths.push(taken);
                let cost = path.cost;
                path.cost += COSTS.1;
                // Where the members are known, what they hold is known.
                if before.roster.is_none() && before.vector == path.standing.vector {
                    let unheld = Path { standing: before, cost: cost + COSTS.2, ..path.clone() };
                    paths.push(unheld);
                }
                paths.push(path);
                Ok(paths)
            }
        }
    }
}

fn holders(bytes: &[u8]) -> BTreeMap<NodeUri, Digest> {
    match Entry::parse(bytes).map(|entry| entry.draft().body.clone()) {
        Ok(Body::Commit { held, .. }) => held,
        _ => BTreeMap::new(),
    }
}
