//! What a witness answers to a submission.

use puente_model::{Millis, TreeSize};

use super::remembered::Remembered;
use super::rule::LogRule;
use super::submission::{ClaimedSubmission, SubmissionError};
use crate::checkpoint::{Checkpoint, CheckpointError, SignedCheckpoint, SplitView};
use crate::hash::empty_root;
use crate::key::{KeyKind, VerifierKey};
use crate::note::{ClaimedNote, NoteError, NoteSignature};
use crate::proof::{ProofError, verify_consistency};

/// How far a clock may lie behind the time of the newest cosignature, in milliseconds: that time is stated again then.
/// Further behind, nothing is signed, as a larger tree would be stated for an earlier time.
pub const CLOCK_BEHIND_MAX: u64 = 60_000;

/// A cosignature of this very witness which it does not remember: its memory was set back, or its key is used twice.
/// Both heads are whole notes, so that the witness's key alone shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Forgotten {
    /// What the witness remembers, without its cosignature; none: nothing at all.
    pub remembered: Option<Remembered>,
    /// What it was shown, with its cosignature.
    pub shown: SignedCheckpoint,
    /// The time that the cosignature states.
    pub at: Millis,
}

/// Why a head is not cosigned.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// The submission cannot be read.
    #[error(transparent)]
    Malformed(#[from] SubmissionError),
    /// The old size is larger than the checkpoint's.
    #[error("the old size, {old}, is larger than the checkpoint's, {size}")]
    OldLarger {
        /// Size from which the proof should lead.
        old: TreeSize,
        /// Size of the checkpoint.
        size: TreeSize,
    },
    /// Nobody told the witness about this log.
    #[error("this witness does not serve that log")]
    UnknownLog,
    /// No head is pinned, and first use is not allowed.
    #[error(
        "this witness has not begun to serve that log: its operator pins a first checkpoint that came out of band, or \
         allows first use"
    )]
    NotBegun,
    /// No trusted key signed, or one's signature fails.
    #[error("the checkpoint bears no valid signature of a key that is trusted for that log: {0}")]
    Untrusted(NoteError),
    /// The log was closed at a smaller size.
    #[error("that log was closed at {closed_at} entries")]
    Closed {
        /// Where it was closed.
        closed_at: TreeSize,
    },
    /// The old size is not that of the newest head that was cosigned.
    #[error("the newest checkpoint that was cosigned has {size} entries: prove consistency with that")]
    Stale {
        /// Size of the newest head that was cosigned, or the pinned one; 0 without.
        size: TreeSize,
    },
    /// The proof does not show that the tree grew.
    #[error(transparent)]
    Inconsistent(ProofError),
    /// An empty tree with another root than the empty tree's.
    #[error("the checkpoint of an empty tree carries a root that is not that of the empty tree")]
    EmptyRoot,
    /// Another root at the size that was cosigned, or pinned: the log forked.
    #[error("another root of that size was cosigned: the log has forked")]
    OtherRoot(Option<Box<SplitView>>),
    /// The witness was shown a cosignature of its own that it does not remember.
    #[error("this witness signed more than it remembers: its memory was set back, or its key is used twice")]
    Forgotten(Box<Forgotten>),
    /// The clock lies behind what was stated before.
    #[error("the clock of this witness lies behind its newest cosignature")]
    ClockBehind {
        /// By how much, in whole seconds.
        seconds: u64,
    },
}

impl Refusal {
    /// A stable name for counts and log lines.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Malformed(_) => "malformed",
            Self::OldLarger { .. } => "old-larger",
            Self::UnknownLog => "unknown-log",
            Self::NotBegun => "not-begun",
            Self::Untrusted(_) => "untrusted",
            Self::Closed { .. } => "closed",
            Self::Stale { .. } => "stale",
            Self::Inconsistent(_) => "inconsistent",
            Self::EmptyRoot => "empty-root",
            Self::OtherRoot(_) => "fork",
            Self::Forgotten(_) => "forgotten",
            Self::ClockBehind { .. } => "clock-behind",
        }
    }

    /// The HTTP status that C2SP tlog-witness gives it; 503 for what is the witness's own trouble.
    ///
    /// Version 1.0.0 of that specification has 409 for another root of one size; clients take both as final.
    pub const fn status(&self) -> u16 {
        match self {
            Self::Malformed(_) | Self::OldLarger { .. } => 400,
            Self::Untrusted(_) | Self::Closed { .. } => 403,
            Self::UnknownLog | Self::NotBegun => 404,
            Self::Stale { .. } => 409,
            Self::Inconsistent(_) | Self::EmptyRoot | Self::OtherRoot(_) => 422,
            Self::Forgotten(_) | Self::ClockBehind { .. } => 503,
        }
    }

    /// The body of the answer: the size that is known for a stale submission, else the reason in a line of English.
    pub fn body(&self) -> String {
        match self {
            Self::Stale { size } => format!("{}\n", size.0),
            other => format!("{other}\n"),
        }
    }
}

/// A head that passed every check and is not written down yet. Dropping it changes nothing.
#[derive(Debug)]
#[must_use = "nothing is remembered until it is persisted"]
pub struct Advance(Remembered);

impl Advance {
    /// The head that is to be remembered.
    pub fn head(&self) -> &SignedCheckpoint {
        self.0.head()
    }

    /// What is to be remembered, as [`Advance::persist`] hands it over: for whoever makes it durable together with other
    /// things, and calls that once they are.
    pub fn record(&self) -> Vec<u8> {
        self.0.encode()
    }

    /// Has `write` make the record durable, in place of what was remembered of this log before; only then it may be
    /// cosigned.
    ///
    /// # Errors
    /// What `write` says. Nothing was signed then, whether or not the bytes are on the disk.
    pub fn persist<E>(self, write: impl FnOnce(&[u8]) -> Result<(), E>) -> Result<Remembered, E> {
        write(&self.0.encode())?;
        Ok(self.0)
    }
}

/// Judges submissions for one cosigning key. Knows nothing of disks and clocks.
#[derive(Debug, Clone)]
pub struct Witness {
    key: VerifierKey,
}

impl Witness {
    /// The witness of this key.
    ///
    /// # Errors
    /// The key is not of the cosignature kind.
    pub fn new(key: VerifierKey) -> Result<Self, CheckpointError> {
        if key.kind() == KeyKind::CosignatureV1 {
            Ok(Self { key })
        } else {
            Err(CheckpointError::WrongKind { key: key.name().to_owned() })
        }
    }

    /// The witness's public key.
    pub const fn key(&self) -> &VerifierKey {
        &self.key
    }

    /// Judges one submission under what is known of its log: `rule`, None for a log that nobody named, and what is
    /// remembered. Until the result is persisted, or dropped, no other submission of that log may be judged.
    ///
    /// # Errors
    /// A check fails; the state stays as it is.
    pub fn submit(
        &self,
        now: Millis,
        submission: &ClaimedSubmission,
        rule: Option<&LogRule>,
        remembered: Option<&Remembered>,
    ) -> Result<Advance, Refusal> {
        let rule = rule.filter(|rule| rule.origin() == submission.origin()).ok_or(Refusal::UnknownLog)?;
        submission.note.verify(&rule.known()).map_err(Refusal::Untrusted)?;
        let claimed = submission.claimed.clone().ok_or(Refusal::EmptyRoot)?;
        let (old, size) = (submission.old, claimed.size());
        if old > size {
            return Err(Refusal::OldLarger { old, size });
        }
        let head = trimmed(&claimed, &submission.note, |line| rule.keys.iter().any(|key| line.names(key)));
        let head = head.map_err(Refusal::Untrusted)?;
        self.recall(&claimed, &submission.note, rule, remembered)?;
        if let Some(closed_at) = rule.closed_at.filter(|closed_at| size > *closed_at) {
            return Err(Refusal::Closed { closed_at });
        }
        let base = remembered.map(|known| known.head().checkpoint()).or(rule.pin());
        if base.is_none() && !rule.first_use {
            return Err(Refusal::NotBegun);
        }
        let (known, root) = base.map_or((TreeSize(0), empty_root()), |base| (base.size(), base.root()));
        if old != known {
            return Err(Refusal::Stale { size: known });
        }
        if base.is_some() && size == known && claimed.root() != root {
            let split = remembered.and_then(|known| SplitView::of(known.head(), &head)).map(Box::new);
            return Err(Refusal::OtherRoot(split));
        }
        verify_consistency(old, size, &root, &claimed.root(), &submission.proof).map_err(Refusal::Inconsistent)?;
        Ok(Advance(Remembered::new(head, self.instant(now, remembered)?)))
    }

    /// Looks for cosignatures of this witness's own key on what it is shown, which tell what it did sign.
    fn recall(
        &self,
        claimed: &Checkpoint,
        note: &ClaimedNote,
        rule: &LogRule,
        remembered: Option<&Remembered>,
    ) -> Result<(), Refusal> {
        let remembers = |at: Millis| {
            remembered.is_some_and(|known| {
                at <= known.at()
                    && match claimed.size().cmp(&known.size()) {
                        std::cmp::Ordering::Less => true,
                        std::cmp::Ordering::Equal => claimed.root() == known.root(),
                        std::cmp::Ordering::Greater => false,
                    }
            })
        };
        for line in note.signatures().iter().filter(|line| line.names(&self.key)) {
            // Anybody can write a line that does not verify: it says nothing.
            let Ok(Some(at)) = line.verify(&self.key, note.text()) else { continue };
            if !remembers(at) {
                let keep = |other: &NoteSignature| other == line || rule.keys.iter().any(|key| other.names(key));
                let shown = trimmed(claimed, note, keep).map_err(Refusal::Untrusted)?;
                return Err(Refusal::Forgotten(Box::new(Forgotten { remembered: remembered.cloned(), shown, at })));
            }
        }
        Ok(())
    }

    /// The time to state, in seconds: now, and never before what was stated last.
    fn instant(&self, now: Millis, remembered: Option<&Remembered>) -> Result<u64, Refusal> {
        let (now, last) = (now.0 / 1000, remembered.map_or(0, Remembered::seconds));
        let behind = last.saturating_sub(now);
        if behind > CLOCK_BEHIND_MAX / 1000 { Err(Refusal::ClockBehind { seconds: behind }) } else { Ok(now.max(last)) }
    }
}

/// The checkpoint with those of its signature lines that are worth keeping, each once.
fn trimmed(
    checkpoint: &Checkpoint,
    note: &ClaimedNote,
    keep: impl Fn(&NoteSignature) -> bool,
) -> Result<SignedCheckpoint, NoteError> {
    let mut lines: Vec<NoteSignature> = Vec::new();
    for line in note.signatures() {
        if keep(line) && !lines.contains(line) {
            lines.push(line.clone());
        }
    }
    Ok(SignedCheckpoint::verified(checkpoint.clone(), ClaimedNote::assemble(note.text(), lines)?))
}
