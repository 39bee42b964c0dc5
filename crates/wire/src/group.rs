//! A node's part in the history of its groups: local entries in the clear, for whoever compares the logs of two members.
//!
//! They came with entry version 2. Readers of version 1 alone see a newer version, which they judge no further; they do
//! not take it for damage.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use puente_model::{Digest, Minute, NameError};

use crate::codec::{code, digest};
use crate::strict::Strict;
use crate::{WireError, proto};

/// Longest name of a group, in bytes.
pub const GROUP_NAME_BYTES_MAX: usize = 200;
/// Largest number of a ledger of one group.
pub const LEDGER_NUMBER_MAX: u32 = 999_999;

/// A group's name, unique in its federation: parts of lower-case letters, digits and inner hyphens, between slashes.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct GroupName(Arc<str>);

impl GroupName {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

// Compares and orders as the text does.
impl std::borrow::Borrow<str> for GroupName {
    fn borrow(&self) -> &str {
        self.as_str()
    }
}

impl fmt::Display for GroupName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for GroupName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        let is_part =
            |part: &str| !part.is_empty() && part.bytes().all(plain) && !part.starts_with('-') && !part.ends_with('-');
        if text.len() <= GROUP_NAME_BYTES_MAX && text.split('/').all(is_part) {
            return Ok(Self(text.into()));
        }
        let expected = "a group: lower-case letters, digits and hyphens between slashes, for example frontera/otay";
        Err(NameError { found: text.chars().take(80).collect(), expected })
    }
}

/// An index of one of a group's ledgers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LedgerPlace {
    number: u32,
    index: u64,
}

impl LedgerPlace {
    /// Index `index` of the group's `number`-th ledger; none unless that is between 1 and [`LEDGER_NUMBER_MAX`].
    pub fn new(number: u32, index: u64) -> Option<Self> {
        (1..=LEDGER_NUMBER_MAX).contains(&number).then_some(Self { number, index })
    }

    /// Which of the group's ledgers, from 1.
    pub const fn number(&self) -> u32 {
        self.number
    }

    /// Where in it.
    pub const fn index(&self) -> u64 {
        self.index
    }

    /// The ledger's origin: `group/<group>/ledger<number>`.
    pub fn origin(&self, group: &GroupName) -> String {
        format!("group/{group}/ledger{}", self.number)
    }

    fn read(message: &mut Strict<'_>) -> Option<Self> {
        Self::new(message.small(1)?, message.number(2)?)
    }

    fn from_proto(raw: &proto::LedgerPlace) -> Result<Self, WireError> {
        Self::new(raw.number, raw.index).ok_or(WireError::Field("ledger"))
    }

    const fn to_proto(self) -> proto::LedgerPlace {
        proto::LedgerPlace { number: self.number, index: self.index }
    }
}

/// Why a node is in a group no longer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum LeftWhy {
    /// A commit took it out.
    Removed,
    /// It cannot follow any more, and comes back from outside, if at all.
    Lost,
}

impl LeftWhy {
    /// Every reason.
    pub const ALL: &'static [Self] = &[Self::Removed, Self::Lost];

    /// The number in entries.
    pub const fn code(self) -> u32 {
        match self {
            Self::Removed => 1,
            Self::Lost => 2,
        }
    }

    /// The reason of a number.
    pub const fn from_code(code: u32) -> Option<Self> {
        match code {
            1 => Some(Self::Removed),
            2 => Some(Self::Lost),
            _ => None,
        }
    }

    /// The stable text.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Removed => "removed",
            Self::Lost => "lost",
        }
    }
}

/// What happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GroupEvent {
    /// HELD: this node holds the commit that is to be ordered at a place, durably.
    Held {
        /// Where it is to stand.
        place: LedgerPlace,
        /// The statement of the ledger's entry: `digest("puente/v1/ledger/held", …)`.
        statement: Digest,
    },
    /// EPOCH: this node merged a commit.
    Epoch {
        /// The epoch that began: one more than the one that the commit ended, from 1.
        epoch: u64,
        /// The hash under which the ledger orders the commit: `digest("puente/v1/ledger/commit-hash", commit)`.
        commit: Digest,
        /// `digest("puente/v1/group-epoch", group id, epoch, epoch authenticator)`: the same at every member.
        hash: Digest,
        /// The entry that ordered the commit; none in a group that has no ledger.
        ordered: Option<LedgerPlace>,
    },
    /// LEFT: this node is in the group no longer. A later EPOCH may begin anywhere beyond.
    Left {
        /// The last epoch that it was in.
        epoch: u64,
        /// Why.
        why: LeftWhy,
    },
}

/// A local entry about a group, in the clear.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupEntry {
    /// When, to the minute.
    pub minute: Minute,
    /// Which group.
    pub group: GroupName,
    /// What happened.
    pub what: GroupEvent,
}

impl GroupEntry {
    /// HELD, EPOCH or LEFT: its name in the specification.
    pub const fn kind(&self) -> &'static str {
        match self.what {
            GroupEvent::Held { .. } => "HELD",
            GroupEvent::Epoch { .. } => "EPOCH",
            GroupEvent::Left { .. } => "LEFT",
        }
    }

    /// What it says, in one line for people.
    pub fn says(&self) -> String {
        let group = &self.group;
        let at = |place: &LedgerPlace| format!("{}, {}", place.origin(group), place.index);
        match &self.what {
            GroupEvent::Held { place, .. } => format!("a commit of {group} is held for {}", at(place)),
            GroupEvent::Epoch { epoch, ordered: Some(place), .. } => {
                format!("epoch {epoch} of {group} began, ordered by {}", at(place))
            }
            GroupEvent::Epoch { epoch, ordered: None, .. } => format!("epoch {epoch} of {group} began"),
            GroupEvent::Left { epoch, why: LeftWhy::Removed } => {
                format!("removed from {group}; epoch {epoch} was its last")
            }
            GroupEvent::Left { epoch, why: LeftWhy::Lost } => {
                format!("{group} cannot be followed any more; epoch {epoch} was the last")
            }
        }
    }

    pub(crate) fn read(message: &mut Strict<'_>) -> Option<Self> {
        let (minute, group) = (Minute(message.number(1)?), message.name(2)?);
        let held = message.optional_message(3, |held| {
            Some(GroupEvent::Held { place: held.message(1, LedgerPlace::read)?, statement: held.digest(2)? })
        })?;
        if let Some(what) = held {
            return Some(Self { minute, group, what });
        }
        let begun = message.optional_message(4, |begun| {
            let epoch = begun.number(1).filter(|epoch| *epoch != 0)?;
            let (commit, hash) = (begun.digest(2)?, begun.digest(3)?);
            let ordered = begun.optional_message(4, LedgerPlace::read)?;
            Some(GroupEvent::Epoch { epoch, commit, hash, ordered })
        })?;
        if let Some(what) = begun {
            return Some(Self { minute, group, what });
        }
        let what = message.message(5, |left| {
            Some(GroupEvent::Left { epoch: left.number(1)?, why: left.code(2, LeftWhy::from_code)? })
        })?;
        Some(Self { minute, group, what })
    }

    pub(crate) fn to_proto(&self) -> proto::Group {
        use proto::group::What;
        let what = match &self.what {
            GroupEvent::Held { place, statement } => {
                What::Held(proto::Held { place: Some(place.to_proto()), statement: statement.0.to_vec() })
            }
            GroupEvent::Epoch { epoch, commit, hash, ordered } => What::Begun(proto::Begun {
                epoch: *epoch,
                commit: commit.0.to_vec(),
                hash: hash.0.to_vec(),
                ordered: ordered.map(LedgerPlace::to_proto),
            }),
            GroupEvent::Left { epoch, why } => What::Left(proto::Left { epoch: *epoch, why: why.code() }),
        };
        proto::Group { minute: self.minute.0, name: self.group.to_string(), what: Some(what) }
    }

    pub(crate) fn from_proto(raw: &proto::Group) -> Result<Self, WireError> {
        use proto::group::What;
        let what = match raw.what.as_ref().ok_or(WireError::Field("what"))? {
            What::Held(held) => GroupEvent::Held {
                place: LedgerPlace::from_proto(held.place.as_ref().ok_or(WireError::Field("place"))?)?,
                statement: digest(&held.statement, "statement")?,
            },
            What::Begun(begun) if begun.epoch == 0 => return Err(WireError::Field("epoch")),
            What::Begun(begun) => GroupEvent::Epoch {
                epoch: begun.epoch,
                commit: digest(&begun.commit, "commit")?,
                hash: digest(&begun.hash, "hash")?,
                ordered: begun.ordered.as_ref().map(LedgerPlace::from_proto).transpose()?,
            },
            What::Left(left) => GroupEvent::Left { epoch: left.epoch, why: code(LeftWhy::from_code(left.why), "why")? },
        };
        Ok(Self { minute: Minute(raw.minute), group: raw.name.parse()?, what })
    }
}
