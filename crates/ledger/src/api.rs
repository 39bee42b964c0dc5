//! What goes into a group's engine and what comes out of it.
//!
//! The driver moves bytes, keeps time and owns the disk; it decides nothing. It calls [`crate::Engine::handle`], carries
//! out every effect of [`crate::Engine::poll_effect`], then waits for bytes or for [`crate::Engine::poll_deadline`].

use std::fmt;
use std::sync::Arc;

use puente_audit_log::{CheckpointError, NoteError, NoteSignature, ReceiptError, SignedCheckpoint};
use puente_model::{CharterVector, Digest, Millis, NodeUri, TreeSize};

use crate::chain::{ChainError, Roster, Skip};
use crate::entry::EntryError;
use crate::evidence::Evidence;
use crate::name::{GroupId, LedgerOrigin};
use crate::reboot::Reboot;
use crate::rules::Rules;

/// Proof that a commit is the one that ends its epoch. Only [`crate::Engine`] makes one, after it was cosigned by the
/// quorum and is durable here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ordered {
    pub(crate) ledger: LedgerOrigin,
    pub(crate) index: u64,
    pub(crate) epoch: u64,
    pub(crate) commit_hash: Digest,
    pub(crate) charter: CharterVector,
    pub(crate) at: Millis,
}

impl Ordered {
    /// The group.
    pub const fn group(&self) -> &GroupId {
        self.ledger.group()
    }

    /// The ledger in which it stands.
    pub const fn ledger(&self) -> &LedgerOrigin {
        &self.ledger
    }

    /// Where in that ledger.
    pub const fn index(&self) -> u64 {
        self.index
    }

    /// The epoch that the commit ends.
    pub const fn epoch(&self) -> u64 {
        self.epoch
    }

    /// The commit's hash, of [`puente_model::commit_hash`].
    pub const fn commit_hash(&self) -> Digest {
        self.commit_hash
    }

    /// The charter that the entry names: leaves are judged by it.
    pub const fn charter(&self) -> &CharterVector {
        &self.charter
    }

    /// When it was proposed, the same for every member: leaves are judged at this moment.
    pub const fn at(&self) -> Millis {
        self.at
    }
}

/// An entry and its proof, for everyone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LedgerReceipt {
    /// The entry's bytes.
    pub entry: Vec<u8>,
    /// C2SP tlog-proof: inclusion, and the cosigned head.
    pub proof: Vec<u8>,
}

/// What becomes of a commit that a member submitted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// It ends its epoch.
    Accepted(LedgerReceipt),
    /// Another one ended the epoch: take that in and make the intent anew.
    Stale(LedgerReceipt),
    /// It was not proposed; nothing of it stands anywhere.
    Rejected(Reason),
}

/// Why a commit was not proposed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Reason {
    /// Whoever submitted it is not in the group, or no longer.
    #[error("{0} is not in the group")]
    NotAMember(NodeUri),
    /// Not this node's to propose.
    #[error("this node does not convene the group; {0} does")]
    NotTheConvener(NodeUri),
    /// Of an epoch that has not begun.
    #[error("the commit ends epoch {found}; the group is in epoch {expected}")]
    Future {
        /// The group's epoch.
        expected: u64,
        /// The commit's.
        found: u64,
    },
    /// Too large.
    #[error("the commit has {found} bytes; at most {} are held", crate::entry::COMMIT_BYTES_MAX)]
    TooLarge {
        /// Bytes found.
        found: usize,
    },
    /// Not enough members could hold it in time.
    #[error("the commit was not held by enough members in time ({0}): submit it again when they can be reached")]
    NotHeld(Skip),
    /// Too many wait already.
    #[error("too many commits wait already: submit it again later")]
    Busy,
    /// The convener signed for this place before and lost it; only a successor can go on.
    #[error("the convener cannot sign in this ledger any more: a successor will close it")]
    Spent,
}

/// Why a member does not hold a commit or keep an entry.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// From somebody who does not convene.
    #[error("{0} does not convene the group")]
    NotTheConvener(NodeUri),
    /// From a successor that lost its place.
    #[error("{0} closed a ledger that was not silent, and lost its place")]
    Unseated(NodeUri),
    /// For another place than the next one.
    #[error("the next place is index {size} of {ledger}")]
    Elsewhere {
        /// The ledger here.
        ledger: LedgerOrigin,
        /// Its size here.
        size: u64,
    },
    /// The commit before is still being processed.
    #[error("the commit before is still being processed")]
    Unsettled,
    /// The entry would count for nothing.
    #[error(transparent)]
    Skip(#[from] Skip),
    /// A charter that is not known here, or too old.
    #[error("charter {0} is not known here, or goes back")]
    Charter(CharterVector),
    /// The convener's clock, or this member's, is wrong.
    #[error("the commit is dated {off} ms away from this member's clock: one of the two clocks is wrong")]
    Clock {
        /// By how much.
        off: u64,
    },
    /// The head does not go with the entry.
    #[error("the head does not end in this entry")]
    Head,
    /// The entry quotes a HELD of this member that it never gave.
    #[error("the entry quotes a HELD entry that this member did not make")]
    NeverHeld,
    /// The convener was heard from lately.
    #[error("the convener was heard from {0} ms ago: it is too early to close its ledger")]
    NotSilent(u64),
    /// Too large.
    #[error("the commit has {found} bytes; at most {} are held", crate::entry::COMMIT_BYTES_MAX)]
    TooLarge {
        /// Bytes found.
        found: usize,
    },
}

/// What members say to each other. Who says it is known from the connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Message {
    /// To the convener: order this commit.
    Submit {
        /// The epoch that it ends.
        epoch: u64,
        /// Its bytes.
        commit: Arc<[u8]>,
    },
    /// To whoever submitted.
    Answer {
        /// Hash of the commit.
        commit: Digest,
        /// What became of it.
        answer: Answer,
    },
    /// From the convener: hold this commit.
    Hold {
        /// Where it is to stand.
        ledger: LedgerOrigin,
        /// At which index.
        index: u64,
        /// The charter that the entry will name.
        charter: CharterVector,
        /// The epoch that it ends.
        epoch: u64,
        /// The time that the entry will state.
        at: Millis,
        /// Its bytes.
        commit: Arc<[u8]>,
    },
    /// To the convener: it is held, and recorded as held.
    Held {
        /// Where it is to stand.
        ledger: LedgerOrigin,
        /// At which index.
        index: u64,
        /// Hash of the commit.
        commit: Digest,
        /// Leaf hash of the HELD entry.
        leaf: Digest,
    },
    /// From a proposer, before any witness sees it: keep this entry, and the head that ends in it.
    Keep {
        /// The entry.
        entry: Vec<u8>,
        /// The head's note.
        head: Vec<u8>,
    },
    /// To the proposer: the entry is kept.
    Kept {
        /// Its leaf hash.
        leaf: Digest,
    },
    /// To the proposer: it is not held, or not kept.
    Refused {
        /// Hash of the commit, or leaf hash of the entry.
        what: Digest,
        /// Why.
        why: Refusal,
    },
    /// To everyone: an entry stands.
    Receipt(LedgerReceipt),
    /// Show what stands from here on.
    Want {
        /// In this ledger.
        ledger: LedgerOrigin,
        /// From this index.
        from: u64,
        /// How many entries at most, though never fewer than one head proves.
        most: u32,
    },
    /// What stands, in one piece, up to a cosigned head.
    Entries {
        /// In this ledger.
        ledger: LedgerOrigin,
        /// Index of the first.
        from: u64,
        /// The entries.
        entries: Vec<Vec<u8>>,
        /// The head's note, cosigned.
        head: Vec<u8>,
    },
    /// Show what is kept for this place.
    WantKept {
        /// In this ledger.
        ledger: LedgerOrigin,
        /// At this index.
        index: u64,
    },
    /// Show a commit.
    WantCommit(Digest),
    /// A commit.
    Commit(Arc<[u8]>),
    /// To everyone: a successor closed a ledger that was not silent.
    Premature {
        /// Its CLOSE.
        close: Vec<u8>,
        /// The head that ends in it, cosigned.
        head: Vec<u8>,
        /// An earlier head, cosigned too lately.
        before: Vec<u8>,
    },
    /// From the convener: the newest head, cosigned again. A sign of life.
    Fresh {
        /// The head's note.
        head: Vec<u8>,
    },
}

/// Entries that a node which is behind asks for at once.
pub const WANT_ENTRIES: u32 = 64;

/// What a witness answered to [`Effect::Submit`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WitnessReply {
    /// Its cosignature lines (200).
    Cosigned(Vec<NoteSignature>),
    /// It remembers another size (409).
    Conflict(TreeSize),
    /// It holds another tree of that size (422, or 409 without a size), or refuses for good (400, 403, 404).
    Refused,
}

/// What must be durable. A driver makes records durable in the order in which they come, and gives all of them back, in
/// that order, to [`crate::Engine::open`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Record {
    /// A commit that is held.
    Commit(Arc<[u8]>),
    /// A HELD entry stands in this node's log.
    Held {
        /// Its statement, of [`crate::held_statement`].
        statement: Digest,
        /// Its leaf hash.
        leaf: Digest,
    },
    /// An entry that is kept, and the head that ends in it.
    Kept {
        /// The entry.
        entry: Vec<u8>,
        /// The head's note.
        head: Vec<u8>,
    },
    /// An entry that this node proposes, and the head that it signed. Written before anybody sees either.
    Staged {
        /// The entry.
        entry: Vec<u8>,
        /// The head's note.
        head: Vec<u8>,
    },
    /// Entries that stand.
    Accepted {
        /// The entries.
        entries: Vec<Vec<u8>>,
        /// The head's note, cosigned.
        head: Vec<u8>,
    },
    /// A commit was processed.
    Settled {
        /// The entry's index.
        index: u64,
        /// Who is in the group now, if it ended the epoch.
        roster: Option<Roster>,
    },
    /// A successor lost its place.
    Unseated(NodeUri),
    /// A reboot.
    Rebooted(Reboot),
    /// Entries that this node verified before it came in.
    Verified {
        /// The ledger.
        ledger: LedgerOrigin,
        /// Index of the first.
        from: u64,
        /// Who convened then.
        convener: NodeUri,
        /// The entries.
        entries: Vec<Vec<u8>>,
        /// The head's note, cosigned.
        head: Vec<u8>,
    },
    /// Where this node stood when it came in, after the entries before.
    Joined {
        /// The ledger.
        ledger: LedgerOrigin,
        /// How many of its entries were taken in.
        size: u64,
        /// Who convenes it.
        convener: NodeUri,
        /// The charter that governs the next entry.
        charter: CharterVector,
        /// The epoch.
        epoch: u64,
        /// What the last commit states as its time.
        at: Millis,
        /// Who is in the group.
        roster: Roster,
    },
}

/// What the driver tells the engine.
#[derive(Debug)]
pub enum Input {
    /// A node of the federation says something about this group.
    Message {
        /// Who, as the connection proves.
        from: NodeUri,
        /// What.
        message: Message,
    },
    /// A record of [`Effect::Store`] is durable.
    Stored {
        /// Its ticket.
        ticket: u64,
    },
    /// HELD stands in this node's log (of [`Effect::RecordHeld`]).
    HeldRecorded {
        /// Its statement.
        statement: Digest,
        /// Its leaf hash.
        leaf: Digest,
    },
    /// A witness answered [`Effect::Submit`].
    Witness {
        /// Its name.
        witness: String,
        /// The head that was submitted.
        head: SignedCheckpoint,
        /// What it said.
        reply: WitnessReply,
    },
    /// What a witness shows as its newest head (of [`Effect::Read`]); none if it knows no such ledger.
    WitnessHead {
        /// Its name.
        witness: String,
        /// The ledger that was asked for.
        ledger: LedgerOrigin,
        /// The note.
        head: Option<Vec<u8>>,
    },
    /// The group took an ordered commit in: with the members of the new epoch, or without if it failed a check that every
    /// member makes alike.
    Settled {
        /// The entry's index.
        index: u64,
        /// Who is in the group now, if it ended the epoch.
        roster: Option<Roster>,
    },
    /// This node wants a commit ordered.
    Submit {
        /// The epoch that it ends.
        epoch: u64,
        /// Its bytes.
        commit: Arc<[u8]>,
    },
    /// A charter was adopted.
    Charter(Rules),
    /// A reboot was signed.
    Reboot(Reboot),
    /// A member can be reached, again or for the first time: it is asked for what is missing here.
    Reached(NodeUri),
    /// A deadline has passed.
    Tick,
}

/// What the engine wants done, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Send a message.
    Send {
        /// To whom; never this node.
        to: NodeUri,
        /// What.
        message: Message,
    },
    /// Make a record durable, then say [`Input::Stored`].
    Store {
        /// Its ticket.
        ticket: u64,
        /// What.
        record: Record,
    },
    /// Record HELD in this node's own log, then say [`Input::HeldRecorded`].
    RecordHeld {
        /// Where the commit is to stand.
        ledger: LedgerOrigin,
        /// At which index.
        index: u64,
        /// What it states.
        statement: Digest,
    },
    /// Submit a head to a witness (C2SP add-checkpoint), then say [`Input::Witness`].
    Submit {
        /// Its name.
        witness: String,
        /// The size that it is thought to remember.
        old: TreeSize,
        /// The consistency proof from there.
        proof: Vec<Digest>,
        /// The head.
        head: SignedCheckpoint,
    },
    /// Ask a witness for its newest head of a ledger, then say [`Input::WitnessHead`].
    Read {
        /// Its name.
        witness: String,
        /// The ledger.
        ledger: LedgerOrigin,
    },
    /// Take this commit in, then say [`Input::Settled`]. Comes once per index, and again after a restart until it is settled.
    Ordered {
        /// The proof.
        ordered: Ordered,
        /// The commit.
        commit: Arc<[u8]>,
    },
    /// What became of a commit that this node submitted.
    Conclude {
        /// Hash of the commit.
        commit: Digest,
        /// What became of it.
        answer: Answer,
    },
    /// The convener is alive and does not order what this node submitted. It goes on being submitted.
    Withheld {
        /// Hash of the commit.
        commit: Digest,
        /// Who does not answer.
        convener: NodeUri,
    },
    /// Misbehaviour, proven. To be kept and shown.
    Convict(Evidence),
    /// No entry can get a quorum at this place any more: only a reboot helps.
    Wedged {
        /// The ledger.
        ledger: LedgerOrigin,
        /// The index.
        index: u64,
    },
    /// Something arrived that counts for nothing.
    Fault {
        /// From whom; none if it came from a witness or this node's own driver.
        from: Option<NodeUri>,
        /// What is wrong with it.
        fault: Fault,
    },
}

/// What is wrong with something that arrived.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Fault {
    /// The sender is not in the group, or no longer.
    #[error("{0} is not in the group")]
    NotAMember(NodeUri),
    /// Of another group.
    #[error("this is of group {found}, not of {expected}")]
    OtherGroup {
        /// This group.
        expected: GroupId,
        /// The other one.
        found: GroupId,
    },
    /// An entry.
    #[error(transparent)]
    Entry(#[from] EntryError),
    /// A head.
    #[error(transparent)]
    Head(#[from] CheckpointError),
    /// A cosignature.
    #[error(transparent)]
    Note(#[from] NoteError),
    /// A receipt.
    #[error(transparent)]
    Receipt(#[from] ReceiptError),
    /// The receipt is of another place than the entry says.
    #[error("the receipt is for index {receipt}, the entry for index {entry}")]
    OtherIndex {
        /// The receipt's.
        receipt: u64,
        /// The entry's.
        entry: u64,
    },
    /// It does not extend what stands here.
    #[error(transparent)]
    Chain(#[from] ChainError),
    /// It contradicts what stands here: the ledger forked.
    #[error("at size {size} this contradicts what was accepted: the ledger forked; keep both heads")]
    Fork {
        /// Where.
        size: u64,
    },
    /// What is shown ends before what this node knew.
    #[error("this node knew {ledger} up to size {size} already, and what it is shown ends before that")]
    Behind {
        /// The ledger.
        ledger: LedgerOrigin,
        /// Its size then.
        size: u64,
    },
    /// Not held, or not kept.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// A commit that nobody asked for.
    #[error("a commit that nobody asked for")]
    UnwantedCommit,
    /// A message that does not fit what is under way: late, repeated, or out of order.
    #[error("{0} that nothing here waits for: late, repeated or out of order")]
    NotAwaited(&'static str),
    /// A witness that the charter does not name.
    #[error("the charter names no witness {0}")]
    UnknownWitness(String),
    /// A commit that is settled and was never ordered, or twice.
    #[error("index {0} does not wait to be settled")]
    NotOrdered(u64),
    /// This node's log refused to sign: a bug here, or a disk that went back in time.
    #[error("this node cannot propose: {0}")]
    CannotSign(String),
}

/// How long to wait for what, in milliseconds.
#[derive(Debug, Clone, Copy)]
pub struct Tuning {
    /// Until something is sent again.
    pub retry: u64,
    /// The same for a proposer that nobody answers: it waits twice as long each time, up to this.
    pub retry_max: u64,
    /// Until a commit that is not held by enough members is rejected.
    pub hold: u64,
    /// Until a member looks for itself what became of an entry that it keeps, or of a commit that it submitted.
    pub patience: u64,
    /// Between two signs of life, as a part of the charter's silence: a fourth, a fifth …
    pub signs_per_silence: u64,
}

impl Default for Tuning {
    fn default() -> Self {
        Self { retry: 2_000, retry_max: 60_000, hold: 20_000, patience: 30_000, signs_per_silence: 4 }
    }
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Accepted(_) => f.write_str("accepted"),
            Self::Stale(_) => f.write_str("stale: another commit ended the epoch"),
            Self::Rejected(reason) => write!(f, "rejected: {reason}"),
        }
    }
}
