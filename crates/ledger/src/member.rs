//! What every member does: hold commits, keep entries, take in what stands.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use puente_audit_log::{ClaimedCheckpoint, ClaimedReceipt, SignedCheckpoint, VerifierKey};
use puente_model::{CharterVector, Digest, Millis, NodeUri, commit_hash};

use crate::api::{
    Answer, Effect, Fault, LedgerReceipt, Message, Ordered, Reason, Record, Refusal, Tuning, WANT_ENTRIES,
};
use crate::chain::{Chain, ChainError, Charters, Roster, Standing, Verdict};
use crate::entry::{Body, COMMIT_BYTES_MAX, Draft, Entry, held_statement};
use crate::evidence::{DoubleSigned, Evidence, Premature};
use crate::name::LedgerOrigin;
use crate::out::Out;
use crate::reboot::Reboot;
use crate::rules::Rules;
use crate::tree::Leaves;

mod holding;
mod starting;
mod taking;
mod watching;

/// Entries that are kept for one place.
const KEPT_MAX: usize = 32;
/// Commits that a guide is asked for before their turn.
const AHEAD_MAX: usize = 16;
/// Commits that this node may have submitted and not concluded.
pub(crate) const INTENTS_MAX: usize = 64;

/// Entries that stand, as they came.
#[derive(Debug, Clone)]
pub(crate) struct Segment {
    pub(crate) ledger: LedgerOrigin,
    pub(crate) from: u64,
    pub(crate) entries: Vec<Vec<u8>>,
    pub(crate) head: SignedCheckpoint,
    /// Who convened then.
    convener: NodeUri,
}

impl Segment {
    pub(crate) const fn convener(&self) -> &NodeUri {
        &self.convener
    }
}

/// An entry that is kept, and the head that ends in it.
#[derive(Debug, Clone)]
pub(crate) struct Kept {
    pub(crate) entry: Entry,
    pub(crate) head: SignedCheckpoint,
    since: Millis,
}

#[derive(Debug)]
struct Intent {
    epoch: u64,
    commit: Arc<[u8]>,
    since: Millis,
    told: bool,
}

/// A member's view of one group.
#[derive(Debug)]
pub(crate) struct Member {
    pub(crate) me: NodeUri,
    pub(crate) tuning: Tuning,
    pub(crate) charters: Charters,
    /// The newest charter.
    pub(crate) newest: CharterVector,
    pub(crate) chain: Chain,
    pub(crate) history: Vec<Segment>,
    /// What of the last segment waits for a commit to be settled.
    rest: Option<(Vec<Vec<u8>>, SignedCheckpoint)>,
    commits: HashMap<Digest, Arc<[u8]>>,
    /// Who showed what waits for a commit to be settled, and is asked for more then.
    guide: Option<NodeUri>,
    /// The commit that is ordered and not here.
    wanted: Option<Ordered>,
    /// Commits of entries that wait, which the guide was asked for before their turn.
    ahead: BTreeSet<Digest>,
    held: HashMap<Digest, Digest>,
    /// Whom to tell that a commit is held.
    holding: HashMap<Digest, (NodeUri, LedgerOrigin, u64, Digest)>,
    /// By leaf hash, for the next place.
    pub(crate) kept: BTreeMap<Digest, Kept>,
    /// The newest head of this ledger that the quorum signed.
    pub(crate) alive: Option<SignedCheckpoint>,
    /// The newest instant that the last sign of life bore; none before the first for this place.
    alive_at: Option<Millis>,
    /// When this node last saw a sign of life.
    pub(crate) heard: Millis,
    pub(crate) unseated: BTreeSet<NodeUri>,
    intents: BTreeMap<Digest, Intent>,
    retry_at: Millis,
    /// When the witnesses may be looked at again.
    read_at: Millis,
}

impl Member {
    pub(crate) fn new(me: NodeUri, chain: Chain, rules: Rules, tuning: Tuning, now: Millis) -> Self {
        let mut charters = Charters::default();
        let newest = rules.vector().clone();
        charters.learn(rules);
        Self {
            me,
            tuning,
            charters,
            newest,
            chain,
            history: Vec::new(),
            rest: None,
            commits: HashMap::new(),
            guide: None,
            wanted: None,
            ahead: BTreeSet::new(),
            held: HashMap::new(),
            holding: HashMap::new(),
            kept: BTreeMap::new(),
            alive: None,
            alive_at: None,
            heard: now,
            unseated: BTreeSet::new(),
            intents: BTreeMap::new(),
            retry_at: now,
            read_at: now,
        }
    }

    /// Whether everything that is ordered is settled.
    pub(crate) fn is_at_rest(&self) -> bool {
        self.chain.unsettled().is_none() && self.rest.is_none()
    }

    /// What to ask whoever is ahead for.
    pub(crate) fn wants(&self, most: u32) -> Message {
        Message::Want { ledger: self.chain.ledger().clone(), from: self.chain.size(), most }
    }

    pub(crate) fn rules(&self) -> Option<&Arc<Rules>> {
        self.charters.get(self.chain.vector()).ok()
    }

    pub(crate) fn is_member(&self, node: &NodeUri) -> bool {
        self.chain.roster().is_some_and(|roster| roster.contains(node))
    }

    pub(crate) fn roster(&self) -> Roster {
        self.chain.roster().cloned().unwrap_or_default()
    }

    /// The proposers in order, without those that lost their place.
    pub(crate) fn order(&self) -> Vec<NodeUri> {
        let order = self.rules().map(|rules| rules.order(self.chain.convener())).unwrap_or_default();
        let seated = |node: &NodeUri| node == self.chain.convener() || !self.unseated.contains(node);
        order.into_iter().filter(seated).collect()
    }

    /// How long the ledger must have been silent before a proposer may close it; none if it is no proposer.
    pub(crate) fn must_be_silent(&self, node: &NodeUri) -> Option<u64> {
        let rank = self.order().iter().position(|other| other == node)? as u64;
        Some(self.rules()?.silence().saturating_mul(rank))
    }

    pub(crate) fn learn(&mut self, rules: Rules) {
        if rules.vector().covers(&self.newest) {
            self.newest = rules.vector().clone();
        }
        self.charters.learn(rules);
    }

    /// A head of the current ledger, signed by one of its proposers.
    pub(crate) fn head(&self, note: &[u8]) -> Result<SignedCheckpoint, Fault> {
        let claimed = ClaimedCheckpoint::parse(note)?;
        let origin = claimed.claimed().origin().to_owned();
        let ledger = self.ledger_named(&origin)?;
        let keys = self.rules().map(|rules| rules.keys(&ledger)).unwrap_or_default();
        let mut last = None;
        for (_, key) in &keys {
            match claimed.clone().verify(key) {
                Ok(head) => return Ok(head),
                Err(error) => last = Some(error),
            }
        }
        let refused = ChainError::OtherLedger { expected: self.chain.ledger().clone(), found: origin };
        Err(last.map_or(Fault::Chain(refused), Fault::Head))
    }

    /// A head without lines of witnesses: whoever sends it may have put any there.
    pub(crate) fn bare(&self, head: &SignedCheckpoint) -> Result<SignedCheckpoint, Fault> {
        let keys = self.rules().map(|rules| rules.quorum().keys()).unwrap_or_default();
        let of_log = head.signatures().iter().filter(|line| !keys.iter().any(|key| line.names(key)));
        let lines: String = of_log.map(|line| format!("{line}\n")).collect();
        self.head(format!("{}\n{lines}", head.checkpoint()).as_bytes())
    }

    fn ledger_named(&self, origin: &str) -> Result<LedgerOrigin, Fault> {
        let expected = self.chain.ledger().clone();
        let Ok(ledger) = origin.parse::<LedgerOrigin>() else {
            return Err(Fault::Chain(ChainError::OtherLedger { expected, found: origin.chars().take(120).collect() }));
        };
        if ledger.group() != expected.group() {
            let (expected, found) = (expected.group().clone(), ledger.group().clone());
            return Err(Fault::OtherGroup { expected, found });
        }
        Ok(ledger)
    }
}

/// A head with the cosignatures that another copy of it bears of one witness. A line that does not hold is an error and
/// adds nothing.
pub(crate) fn gathered(
    head: &SignedCheckpoint,
    other: &SignedCheckpoint,
    witness: &VerifierKey,
) -> Result<SignedCheckpoint, Fault> {
    other.cosignatures(&[witness])?;
    let lines: Vec<_> = other.signatures().iter().filter(|line| line.names(witness)).cloned().collect();
    Ok(head.with_signatures(&lines)?)
}
