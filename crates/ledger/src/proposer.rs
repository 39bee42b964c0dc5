//! What a proposer does: the convener orders commits; a successor finishes what it finds, then closes.
//!
//! ```text
//! convener    Idle ── a commit ──▶ Holding ── held by enough ──▶ Storing ── durable ──▶ Keeping ── kept by enough ──▶ Asking
//! successor   Idle ── silence ──▶ Reading ── nothing found ─────▶ Storing (CLOSE) …                                      │
//!                                    └────── an entry found ─────────────────────────────────────────────────────▶ Asking
//!             Asking ── quorum ──▶ receipt to everyone ──▶ Idle        Asking ── no entry can get it ──▶ Wedged
//! ```

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;
use std::sync::Arc;

use puente_audit_log::{Batch, Journal, Log, Persisted, Sealed, SignedCheckpoint, Signer};
use puente_model::{Digest, Millis, NodeUri, TreeSize, commit_hash};

use crate::api::{Answer, Effect, Fault, Message, Reason, Record, Refusal, WANT_ENTRIES, WitnessReply};
use crate::chain::{fewest, held_by_enough};
use crate::entry::{Body, COMMIT_BYTES_MAX, Draft, Entry};
use crate::member::{INTENTS_MAX, Member, gathered};
use crate::name::LedgerOrigin;
use crate::out::Out;

mod arrivals;
mod steps;
mod takeover;

/// Where a proposer's key is kept.
///
/// Promise: the signer of a ledger signs with the key that the charter has for this node, under the ledger's name.
/// Thief: whoever can call it can close this group's ledgers or, if it convenes, propose commits; neither forges a
/// commit, nor shows two ledgers.
pub trait Keys {
    /// The signer for a ledger; none if the key cannot be used.
    fn signer(&self, ledger: &LedgerOrigin) -> Option<Box<dyn Signer + Send>>;
}

struct AlreadyDurable;

impl Journal for AlreadyDurable {
    type Error = std::convert::Infallible;

    fn persist(&mut self, _: Batch<'_>) -> Result<(), Self::Error> {
        Ok(())
    }
}

struct Waiting {
    from: NodeUri,
    epoch: u64,
    commit: Arc<[u8]>,
}

/// A commit that is being held.
struct Holding {
    draft: Draft,
    hash: Digest,
    commit: Arc<[u8]>,
    held: BTreeMap<NodeUri, Digest>,
    until: Millis,
}

/// An entry that witnesses are asked to cosign: this node's own, or one that it found.
struct Asking {
    entry: Entry,
    head: SignedCheckpoint,
    /// The size that each witness is thought to remember.
    olds: BTreeMap<String, u64>,
    /// Everybody was shown that it stands.
    told: bool,
}

/// An entry of this node's own that members keep, so that it cannot be lost.
struct Keeping {
    entry: Entry,
    head: SignedCheckpoint,
    kept: BTreeSet<NodeUri>,
    /// Of CLOSE: when the witnesses' heads were read once more, and by whom that was answered.
    read: Option<(Millis, BTreeSet<String>)>,
}

impl Keeping {
    const fn new(entry: Entry, head: SignedCheckpoint) -> Self {
        Self { entry, head, kept: BTreeSet::new(), read: None }
    }
}

enum Stage {
    Idle,
    Reading { since: Millis, seen: BTreeSet<String> },
    Holding(Holding),
    Storing { ticket: u64, entry: Entry, sealed: Option<Box<Sealed>> },
    Keeping(Keeping),
    Asking(Box<Asking>),
    Wedged,
}

/// This node's own signed entry, undecided.
struct Mine {
    entry: Entry,
    head: SignedCheckpoint,
    persisted: Option<Persisted>,
}

/// When what is under way is asked for again: ever more seldom while nothing comes of it.
struct Retry {
    at: Millis,
    wait: u64,
}

impl Retry {
    /// Something new is under way, and asked for then.
    const fn at(at: Millis, member: &Member) -> Self {
        Self { at, wait: member.tuning.retry }
    }

    /// Something came of it, or may now: it is asked for soon.
    fn soon(&mut self, now: Millis, member: &Member) {
        *self = Self::at(self.at.min(now.plus(member.tuning.retry)), member);
    }

    /// Whether it is asked for now.
    fn due(&mut self, now: Millis, most: u64) -> bool {
        let due = now >= self.at;
        if due {
            self.at = now.plus(self.wait);
            self.wait = self.wait.saturating_mul(2).min(most.max(self.wait));
        }
        due
    }
}

/// A proposer of one group.
pub(crate) struct Proposer {
    keys: Box<dyn Keys + Send>,
    log: Option<(LedgerOrigin, Log)>,
    /// This node signed for a place of this ledger that something else took: it cannot sign here again.
    spent: bool,
    mine: Option<Mine>,
    stage: Stage,
    queue: VecDeque<Waiting>,
    /// Heads that witnesses showed for the next place, and who showed each.
    rivals: BTreeMap<Digest, (SignedCheckpoint, BTreeSet<String>)>,
    retry: Retry,
    refresh_at: Millis,
    refreshing: Option<SignedCheckpoint>,
    /// Where the chain was at the last step.
    place: (u32, u64),
}

impl fmt::Debug for Proposer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let stage = match &self.stage {
            Stage::Idle => "idle",
            Stage::Reading { .. } => "reading",
            Stage::Holding(_) => "holding",
            Stage::Storing { .. } => "storing",
            Stage::Keeping(_) => "keeping",
            Stage::Asking(_) => "asking",
            Stage::Wedged => "wedged",
        };
        write!(f, "Proposer({stage} at {:?}, spent {})", self.place, self.spent)
    }
}

impl Proposer {
    pub(crate) fn new(keys: Box<dyn Keys + Send>, member: &Member, now: Millis) -> Self {
        Self {
            keys,
            log: None,
            spent: false,
            mine: None,
            // Whatever stood before is read from the witnesses first.
            stage: Stage::Reading { since: now, seen: BTreeSet::new() },
            queue: VecDeque::new(),
            rivals: BTreeMap::new(),
            retry: Retry::at(now, member),
            refresh_at: now,
            refreshing: None,
            place: (member.chain.ledger().number(), member.chain.size()),
        }
    }

    /// Takes back what this node signed before it stopped.
    pub(crate) fn recover(&mut self, member: &Member, entry: &[u8], note: &[u8]) -> Result<(), Fault> {
        let (entry, head) = (Entry::parse(entry)?, member.head(note)?);
        let draft = entry.draft();
        if draft.ledger != *member.chain.ledger() {
            return Ok(());
        }
        if draft.index < member.chain.size() {
            self.spent |= member.chain.leaves().get(draft.index) != Some(entry.leaf());
            return Ok(());
        }
        self.follow(member);
        let Some((_, log)) = &self.log else { return Ok(()) };
        match log.stage(&[entry.as_bytes()]).map(|staged| staged.recover(head.clone())) {
            Ok(Ok(persisted)) => self.mine = Some(Mine { entry, head, persisted: Some(persisted) }),
            _ => self.spent = true,
        }
        Ok(())
    }

    /// Brings this node's own tree to where the chain is.
    fn follow(&mut self, member: &Member) {
        let ledger = member.chain.ledger();
        if self.log.as_ref().is_none_or(|(at, _)| at != ledger) {
            self.log = Log::empty(&ledger.to_string()).ok().map(|log| (ledger.clone(), log));
            self.spent = false;
            self.mine = None;
        }
        let Some((_, log)) = &mut self.log else { return };
        for segment in member.history.iter().filter(|segment| segment.ledger == *ledger) {
            let size = log.size().0;
            if segment.head.size().0 <= size || segment.head.size().0 > member.chain.size() {
                continue;
            }
            let entries = &segment.entries[usize::try_from(size - segment.from).unwrap_or_default()..];
            let own = self.mine.take_if(|mine| segment.head.checkpoint() == mine.head.checkpoint());
            let persisted = match own.and_then(|mine| mine.persisted) {
                Some(persisted) => Some(persisted),
                None => log.stage(entries).ok().and_then(|staged| staged.recover(segment.head.clone()).ok()),
            };
            if persisted.is_none_or(|persisted| log.commit(persisted).is_err()) {
                self.spent = true;
                self.mine = None;
                return;
            }
        }
    }

    /// Somebody can be reached again.
    pub(crate) fn reached(&mut self, member: &Member, now: Millis) {
        self.retry.soon(now, member);
    }

    fn is_convener(member: &Member) -> bool {
        member.me == *member.chain.convener()
    }

    pub(crate) fn deadline(&self, member: &Member) -> Option<Millis> {
        let silence = member.must_be_silent(&member.me).map(|needed| member.heard.plus(needed));
        match &self.stage {
            Stage::Idle if Self::is_convener(member) => (!self.spent && self.mine.is_none()).then_some(self.refresh_at),
            Stage::Idle if member.unseated.contains(&member.me) => None,
            Stage::Idle => silence,
            Stage::Storing { .. } | Stage::Wedged => None,
            _ => Some(self.retry.at),
        }
    }
}

impl Holding {
    fn message(&self) -> Message {
        let Draft { ledger, index, charter, body } = &self.draft;
        let (epoch, at) = match body {
            Body::Commit { epoch, at, .. } => (*epoch, *at),
            Body::Close { .. } => (u64::MAX, Millis(0)),
        };
        Message::Hold {
            ledger: ledger.clone(),
            index: *index,
            charter: charter.clone(),
            epoch,
            at,
            commit: Arc::clone(&self.commit),
        }
    }
}

impl Asking {
    fn submit(&self, member: &Member, witness: &str) -> Effect {
        let index = self.entry.draft().index;
        let old = TreeSize(self.olds.get(witness).copied().unwrap_or(index));
        let mut leaves = member.chain.leaves().clone();
        leaves.push(self.entry.leaf());
        let proof = leaves.consistency(old);
        Effect::Submit { witness: witness.to_owned(), old, proof, head: self.head.clone() }
    }

    /// To every witness whose cosignature is not there yet.
    fn submit_to_all(&self, member: &Member, out: &mut Out) {
        let Some(rules) = member.rules() else { return };
        let there = self.head.signatures();
        for key in rules.quorum().keys() {
            if !there.iter().any(|line| line.names(key)) {
                out.push(self.submit(member, key.name()));
            }
        }
    }
}
