//! What can go wrong in a group, and what to do about it.

use openmls::framing::errors::{MessageDecryptionError, SecretTreeError};
use openmls::group::{
    CreateCommitError, MergeCommitError, MergePendingCommitError, ProcessMessageError, StageCommitError,
    ValidationError,
};
use openmls::prelude::{ApplyUpdatePathError, ProposalValidationError};
use puente_model::{Digest, LeafIndex, NodeUri};

use crate::leaf::LeafError;
use crate::store::StoreError;

/// Why a group did not do what it was asked to.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum GroupError {
    /// More than its limit.
    #[error("{what}: {found} are too many; the limit is {max}")]
    TooLarge {
        /// What is limited.
        what: &'static str,
        /// How much there is.
        found: usize,
        /// How much there may be.
        max: usize,
    },
    /// Bytes that are no message of the kind that is expected.
    #[error("these bytes are no {0}")]
    Malformed(&'static str),
    /// A leaf may not stand in the group.
    #[error("{0}")]
    Leaf(#[from] LeafError),
    /// A member's leaf would be refused by whoever joins.
    #[error("{uri} cannot stay in the group while others join ({why}); remove it in the same commit")]
    Unfit {
        /// Which member.
        uri: NodeUri,
        /// Why.
        why: LeafError,
    },
    /// Sealing would let a member read that may not.
    #[error(
        "{0} is suspended and still in the group: nothing is sealed to it; send to each member by itself until it is removed"
    )]
    SuspendedInside(NodeUri),
    /// Not of this group.
    #[error("{0} is not a member of the group")]
    NotInGroup(NodeUri),
    /// This node was removed, or the group forgotten.
    #[error("this node is no longer a member of the group")]
    NotAMember,
    /// The certificate or key is not the one of this node's leaf.
    #[error("this node's leaf has another name or key than the identity given; renew it with both")]
    NotItsIdentity,
    /// The key is of another kind than the group's ciphersuite signs with.
    #[error("this node's group certificate does not fit ciphersuite {0:#06x}")]
    WrongScheme(u16),
    /// A commit of this node is waiting for its order.
    #[error("a commit of this node waits for its order; merge or abandon it first")]
    PendingExists,
    /// No commit of this node is waiting.
    #[error("no commit of this node waits for its order")]
    NoPending,
    /// A proof of order for another group.
    #[error("the proof of order is of another group")]
    OtherGroup,
    /// A proof of order for another epoch.
    #[error("the proof of order ends epoch {found}; the group is at {expected}")]
    OtherEpoch {
        /// Where the group is.
        expected: u64,
        /// What the proof is for.
        found: u64,
    },
    /// A proof of order for another commit.
    #[error("the proof of order is of another commit ({found})")]
    OtherCommit {
        /// What it is for.
        found: Digest,
    },
    /// The ledger does not go backwards.
    #[error("the proof of order stands at {found}, not after {last}")]
    OrderWentBack {
        /// The last one taken.
        last: LeafIndex,
        /// This one.
        found: LeafIndex,
    },
    /// The epoch that the commit ends has ended.
    #[error("the commit ends epoch {found}, which has ended; the group is at {at}")]
    Stale {
        /// Where the group is.
        at: u64,
        /// Where the message belongs.
        found: u64,
    },
    /// Of an epoch that this node has not reached.
    #[error("the message is of epoch {found}; this node is at {at}: fetch the commits between")]
    Early {
        /// Where the group is.
        at: u64,
        /// Where the message belongs.
        found: u64,
    },
    /// A message of an epoch whose keys are gone.
    #[error("the message is of epoch {found}, whose keys are gone; the group is at {at}")]
    TooOld {
        /// Where the group is.
        at: u64,
        /// Where the message belongs.
        found: u64,
    },
    /// This node made the commit: it is merged, not processed.
    #[error("this node made the commit: merge it")]
    OwnCommit,
    /// This node made the commit, and what it needs to merge it is gone.
    #[error("this node made the commit, but what it kept of it is gone: rejoin")]
    LostOwnCommit,
    /// This node sent the message.
    #[error("this node sent the message")]
    OwnMessage,
    /// It was opened before.
    #[error("the message was opened before")]
    Replayed,
    /// Too many newer ones of its sender were opened before it.
    #[error("the message is too late: newer ones of its sender used up what it needs")]
    TooLate,
    /// Too many of its sender are missing before it.
    #[error("too many messages of its sender are missing before this one")]
    TooManyMissing,
    /// Not encrypted to this group and epoch, or changed on the way.
    #[error("the message does not open: changed bytes, or not for this group")]
    DoesNotOpen,
    /// Not signed by the member that it names.
    #[error("the message is not signed by the member that it names")]
    BadSignature,
    /// The sender was removed meanwhile.
    #[error("the message is of {0}, which was removed meanwhile")]
    SenderRemoved(NodeUri),
    /// Something that groups here do not do.
    #[error("the commit holds {0}, which groups here do not use")]
    Forbidden(&'static str),
    /// An external commit of a node that is no member: only members rejoin.
    #[error("{0} is not a member: only members rejoin by themselves, others are added")]
    Outsider(NodeUri),
    /// A commit whose public part breaks the rules of MLS: every member sees that alike.
    #[error("the commit breaks the rules of MLS: {0}")]
    BadCommit(String),
    /// A commit whose part for this node does not hold: others may see that differently.
    #[error("the commit holds for others, but its part for this node does not: {0}; rejoin")]
    BrokenForUs(&'static str),
    /// The commit takes in a pre-shared key that this node does not hold. (Secrets of past epochs, which MLS also lets
    /// commits take in, nobody holds here: such a commit stays unknown to all.)
    #[error(
        "the commit takes in a pre-shared key that this node does not hold; hand it over, then process the commit again"
    )]
    PskUnknown,
    /// The new epoch would have the secrets of the old one.
    #[error(
        "the epoch authenticator would stay the same: what this node keeps of the group is torn; reload it, or rejoin"
    )]
    AuthenticatorUnchanged,
    /// The Welcome is for none of this node's key packages.
    #[error("the Welcome is for no key package that this node still holds; ask to be added anew")]
    NoKeyPackage,
    /// The Welcome does not hold.
    #[error("the Welcome does not hold: {0}")]
    BadWelcome(String),
    /// The Welcome leads into another epoch than the ordered commit does.
    #[error("the Welcome does not belong to the commit that was ordered")]
    WelcomeOfOtherCommit,
    /// The group info does not hold.
    #[error("the group info does not hold: {0}")]
    BadGroupInfo(String),
    /// The key package does not hold.
    #[error("the key package does not hold: {0}")]
    BadKeyPackage(String),
    /// The key could not sign.
    #[error("{0}")]
    Sign(#[from] crate::identity::SignFailed),
    /// Kept state.
    #[error("{0}")]
    Store(#[from] StoreError),
    /// The library says that this cannot happen.
    #[error("the MLS library failed inside: {0}")]
    Library(String),
}

/// What to do after an error of [`Group::process`](crate::Group::process) or [`Group::open`](crate::Group::open).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Remedy {
    /// The entry counts for nothing, and does so for every member that judges with the same charter and moment: the
    /// epoch stays as it is and the next entry for it decides.
    Skip,
    /// It was done before, or is over: nothing to do.
    Drop,
    /// Commits are missing: fetch them, then come back.
    CatchUp,
    /// Something is missing here: hand it over, then come back. What no member has counts for nothing: skip the entry.
    Supply,
    /// This node cannot follow: enter the group anew with [`Rejoin`](crate::Rejoin).
    Rejoin,
    /// The caller mixed things up, or the machine fails.
    Fix,
}

impl GroupError {
    /// What to do about it.
    pub const fn remedy(&self) -> Remedy {
        match self {
            Self::TooLarge { .. }
            | Self::Malformed(_)
            | Self::Leaf(_)
            | Self::Forbidden(_)
            | Self::Outsider(_)
            | Self::BadCommit(_) => Remedy::Skip,
            Self::Stale { .. }
            | Self::TooOld { .. }
            | Self::OwnMessage
            | Self::Replayed
            | Self::TooLate
            | Self::TooManyMissing
            | Self::DoesNotOpen
            | Self::BadSignature
            | Self::SenderRemoved(_)
            | Self::NotAMember => Remedy::Drop,
            Self::Early { .. } => Remedy::CatchUp,
            Self::PskUnknown => Remedy::Supply,
            Self::LostOwnCommit | Self::BrokenForUs(_) | Self::AuthenticatorUnchanged | Self::Store(_) => {
                Remedy::Rejoin
            }
            _ => Remedy::Fix,
        }
    }
}

/// What the library says to a message, in this room's words. Its texts name no content.
pub(crate) fn of_message(error: ProcessMessageError<StoreError>, at: u64, found: u64) -> GroupError {
    use ProcessMessageError as P;
    use ValidationError as V;
    match error {
        P::LibraryError(error) => GroupError::Library(error.to_string()),
        P::StorageError(error) => GroupError::Store(error),
        P::InvalidCommit(error) => of_commit(error),
        P::GroupStateError(_) => GroupError::NotAMember,
        P::ValidationError(V::WrongGroupId) => GroupError::OtherGroup,
        P::ValidationError(V::WrongEpoch | V::NoPastEpochData) if found < at => GroupError::TooOld { at, found },
        P::ValidationError(V::InvalidSignature | V::UnknownMember) => GroupError::BadSignature,
        P::ValidationError(V::UnableToDecrypt(MessageDecryptionError::SecretTreeError(error))) => match error {
            SecretTreeError::SecretReuseError => GroupError::Replayed,
            SecretTreeError::TooDistantInThePast => GroupError::TooLate,
            SecretTreeError::TooDistantInTheFuture => GroupError::TooManyMissing,
            _ => GroupError::DoesNotOpen,
        },
        P::ValidationError(V::UnableToDecrypt(_)) => GroupError::DoesNotOpen,
        other => GroupError::BadCommit(other.to_string()),
    }
}

fn of_commit(error: StageCommitError) -> GroupError {
    use StageCommitError as E;
    match error {
        E::LibraryError(error) => GroupError::Library(error.to_string()),
        E::OwnCommitMismatch => GroupError::LostOwnCommit,
        E::ConfirmationTagMismatch => GroupError::BrokenForUs("its confirmation tag is another"),
        E::MissingDecryptionKey => GroupError::BrokenForUs("this node lacks a key of the tree"),
        // Each member sees its own part of a path, and only that: the part of another may hold.
        E::UpdatePathError(
            ApplyUpdatePathError::UnableToDecrypt
            | ApplyUpdatePathError::PathMismatch
            | ApplyUpdatePathError::MissingCiphertext,
        ) => GroupError::BrokenForUs("its path secret does not open"),
        E::UpdatePathError(ApplyUpdatePathError::MissingSender | ApplyUpdatePathError::MissingOwnLeaf) => {
            GroupError::BrokenForUs("this node lacks a key of the tree")
        }
        E::PskError(openmls::schedule::errors::PskError::KeyNotFound) => GroupError::PskUnknown,
        other => GroupError::BadCommit(other.to_string()),
    }
}

/// What the library says to a commit that this node makes.
pub(crate) fn of_making(error: CreateCommitError) -> GroupError {
    match error {
        CreateCommitError::ProposalValidationError(ProposalValidationError::DuplicateSignatureKey) => {
            GroupError::BadCommit("two leaves would share a signature key".to_owned())
        }
        CreateCommitError::PskError(_) => GroupError::PskUnknown,
        CreateCommitError::SignatureError(_) => GroupError::Sign(crate::identity::SignFailed),
        CreateCommitError::LibraryError(error) => GroupError::Library(error.to_string()),
        other => GroupError::BadCommit(other.to_string()),
    }
}

pub(crate) fn of_merging(error: MergeCommitError<StoreError>) -> GroupError {
    match error {
        MergeCommitError::StorageError(error) => GroupError::Store(error),
        MergeCommitError::LibraryError(error) => GroupError::Library(error.to_string()),
    }
}

pub(crate) fn of_merging_own(error: MergePendingCommitError<StoreError>) -> GroupError {
    match error {
        MergePendingCommitError::MlsGroupStateError(_) => GroupError::NoPending,
        MergePendingCommitError::MergeCommitError(error) => of_merging(error),
    }
}
