//! A batch on its way into the log: staged, sealed, persisted, committed. Each is a type, and spent by the next step.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use puente_model::{Digest, LeafIndex, TreeSize};

use crate::checkpoint::{Checkpoint, CheckpointError, SignedCheckpoint, check_log_key};
use crate::edge::Growth;
use crate::key::Signer;
use crate::tile::LogFile;

/// Why a staged batch was not signed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SealError {
    /// The log moved on since the batch was staged.
    #[error("the batch was staged at size {staged}, the log is at {have}: stage it again from the current state")]
    Stale {
        /// Size that it was staged on.
        staged: TreeSize,
        /// Size of the log.
        have: TreeSize,
    },
    /// Another batch on this state was signed and not committed: its head may be on disk already.
    #[error(
        "another head for the same state was signed and not committed: persist that batch again, or reopen the log \
         and recover it from the journal; never sign a second one"
    )]
    AlreadySigned,
    /// The head that was given is not of this batch.
    #[error("the head does not belong to this batch: it states another log, size or root")]
    OtherHead,
    /// The key cannot sign for this log.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
}

/// What a log remembers so that it never signs two heads for one step.
#[derive(Debug)]
pub(crate) struct SigningGuard {
    size: u64,
    signed: Option<Checkpoint>,
}

impl SigningGuard {
    pub(crate) const fn new(size: u64) -> Self {
        Self { size, signed: None }
    }
}

/// A batch and the tree it would make. Dropping it changes nothing.
pub struct Staged {
    pub(crate) base: u64,
    pub(crate) growth: Growth,
    pub(crate) framed: Vec<u8>,
    /// Where in `framed` the new partial bundle begins; 0 if the batch completes none.
    pub(crate) cut: usize,
    pub(crate) files: Vec<LogFile>,
    checkpoint: Checkpoint,
    pub(crate) guard: Arc<Mutex<SigningGuard>>,
}

impl fmt::Debug for Staged {
    // Entries are nobody's business in a log line.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Staged({} entries from {})", self.leaves().len(), self.base)
    }
}

impl Staged {
    pub(crate) const fn new(
        base: u64,
        growth: Growth,
        framed: Vec<u8>,
        cut: usize,
        files: Vec<LogFile>,
        checkpoint: Checkpoint,
        guard: Arc<Mutex<SigningGuard>>,
    ) -> Self {
        Self { base, growth, framed, cut, files, checkpoint, guard }
    }

    /// What the head of this batch will state.
    pub const fn checkpoint(&self) -> &Checkpoint {
        &self.checkpoint
    }

    /// The position that its first entry will have.
    pub const fn first(&self) -> LeafIndex {
        LeafIndex(self.base)
    }

    /// The leaf hashes of its entries, in order.
    pub fn leaves(&self) -> &[Digest] {
        self.growth.leaves()
    }

    /// Signs the head. For one state of a log only one head is ever signed: a second, different one is refused.
    pub fn sign(self, signer: &dyn Signer) -> Result<Sealed, SealError> {
        // A key that cannot sign must not reserve the step for this batch.
        check_log_key(&self.checkpoint, signer.verifier())?;
        self.reserve()?;
        let head = self.checkpoint.clone().sign(signer)?;
        Ok(Sealed { staged: self, head })
    }

    /// Takes up a batch that was read back from the journal after a crash: durable already, and signed with `head`
    /// (verified with the log's key when it was read). Stage the journal's entries, in order, then recover each.
    pub fn recover(self, head: SignedCheckpoint) -> Result<Persisted, SealError> {
        if *head.checkpoint() != self.checkpoint {
            return Err(SealError::OtherHead);
        }
        self.reserve()?;
        Ok(Persisted(Sealed { staged: self, head }))
    }

    fn reserve(&self) -> Result<(), SealError> {
        let mut guard = self.guard.lock().unwrap_or_else(PoisonError::into_inner);
        if guard.size != self.base {
            return Err(SealError::Stale { staged: TreeSize(self.base), have: TreeSize(guard.size) });
        }
        match &guard.signed {
            Some(signed) if *signed != self.checkpoint => Err(SealError::AlreadySigned),
            _ => {
                guard.signed = Some(self.checkpoint.clone());
                Ok(())
            }
        }
    }
}

/// A batch whose head is signed but known to nobody. The head must not leave the
/// machine before the batch is durable.
#[derive(Debug)]
pub struct Sealed {
    staged: Staged,
    head: SignedCheckpoint,
}

/// What a journal must make durable, in one piece: either all of it survives a crash, or none.
#[derive(Clone, Copy)]
pub struct Batch<'a> {
    /// Size of the log before the batch.
    pub base: TreeSize,
    /// The entries, each after its length as 16 bits, big-endian; read them with [`crate::Entries`].
    pub framed: &'a [u8],
    /// Full tiles and bundles that the batch completes, for stores that stage files instead of journalling entries.
    pub files: &'a [LogFile],
    /// The signed head after the batch.
    pub head: &'a SignedCheckpoint,
}

impl fmt::Debug for Batch<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Batch({} bytes from entry {}, {:?})", self.framed.len(), self.base, self.head)
    }
}

/// Where batches become durable.
///
/// Promise: when `persist` returns `Ok`, entries and head survive the loss of
/// power, together; after a crash the driver finds every persisted batch again,
/// in order. Thief: whoever can lose or rewrite a persisted batch makes the
/// log contradict a head that others already hold, which convicts this node.
pub trait Journal {
    /// What can go wrong.
    type Error;

    /// Makes the batch durable.
    fn persist(&mut self, batch: Batch<'_>) -> Result<(), Self::Error>;
}

/// The journal failed. The batch may or may not be on disk: persist the same one
/// again, or stop and reopen; the log refuses to sign another in its place.
#[derive(Debug)]
pub struct PersistFailed<E> {
    /// The batch, to try again.
    pub sealed: Sealed,
    /// What the journal said.
    pub error: E,
}

impl<E: fmt::Display> fmt::Display for PersistFailed<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let size = self.sealed.head.size();
        write!(
            f,
            "the batch up to size {size} could not be made durable ({}): try the same batch again or stop",
            self.error
        )
    }
}

impl<E: fmt::Debug + fmt::Display> std::error::Error for PersistFailed<E> {}

impl Sealed {
    /// What must be made durable.
    pub fn batch(&self) -> Batch<'_> {
        let Staged { base, framed, files, .. } = &self.staged;
        Batch { base: TreeSize(*base), framed, files, head: &self.head }
    }

    /// Makes the batch durable. Besides [`Staged::recover`], the only way to a [`Persisted`].
    pub fn persist<J: Journal + ?Sized>(self, journal: &mut J) -> Result<Persisted, Box<PersistFailed<J::Error>>> {
        match journal.persist(self.batch()) {
            Ok(()) => Ok(Persisted(self)),
            Err(error) => Err(Box::new(PersistFailed { sealed: self, error })),
        }
    }
}

/// Proof that a batch is durable.
#[derive(Debug)]
pub struct Persisted(Sealed);

impl Persisted {
    pub(crate) fn into_parts(self) -> (Staged, SignedCheckpoint) {
        (self.0.staged, self.0.head)
    }
}

/// A batch that is part of the log: its head and receipts may be shown, its files written.
#[derive(Debug, Clone)]
pub struct Committed {
    /// The head that covers it.
    pub head: SignedCheckpoint,
    /// Position of its first entry.
    pub first: LeafIndex,
    /// Leaf hashes of its entries, in order.
    pub leaves: Vec<Digest>,
    /// Full tiles and bundles that it completed: to be written before the next [`crate::Log::publish`] is.
    pub files: Vec<LogFile>,
}
