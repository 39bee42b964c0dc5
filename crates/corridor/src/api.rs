//! What goes into a node's corridors and what comes out of them.
//!
//! The driver moves bytes, keeps time and owns disk and log; it decides nothing. It calls [`crate::Corridors::handle`],
//! carries out every effect of [`crate::Corridors::poll_effect`], then waits for bytes or for
//! [`crate::Corridors::poll_deadline`].

use std::fmt;
use std::sync::Arc;

use puente_audit_log::SignedCheckpoint;
use puente_charter::Charter;
use puente_group::{GroupError, Identity};
use puente_ledger::{Evidence, GroupId, LedgerOrigin, Reboot, WitnessReply};
use puente_model::{CharterVector, Digest, NodeUri, TreeSize};
use zeroize::Zeroizing;

use crate::post::PostId;

/// A change of what is kept: key and value; `None` deletes. Values hold keys: encrypt them at rest.
pub type Put = (Vec<u8>, Option<Vec<u8>>);

/// What nodes say to each other about one group. Who says it is known from the connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Message {
    /// About the order of commits.
    Ledger(puente_ledger::Message),
    /// Whoever adds members asks for what to add this node with.
    WantKeyPackage {
        /// The group's ciphersuite, by its number in MLS.
        suite: u16,
    },
    /// What to add this node with.
    KeyPackage(Vec<u8>),
    /// To a node that was added.
    Welcome(Welcome),
    /// To whoever sent the Welcome: it is in.
    Joined,
    /// From a member that lost its state: show the group as it is.
    WantInfo,
    /// The group as it is, and where its order began.
    Info {
        /// Where its order began.
        genesis: Genesis,
        /// MLS GroupInfo.
        info: Vec<u8>,
    },
    /// Something said to all members, sealed.
    Post {
        /// Which.
        id: PostId,
        /// MLS application message.
        sealed: Vec<u8>,
    },
    /// To whoever sent a post: it was opened, and what came of it is durable.
    Posted(PostId),
    /// To whoever sent a post: it is of an epoch that cannot be opened here any more. It is sealed anew.
    Unreadable(PostId),
}

/// Where a group and its order began: what a node needs that comes in later.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Genesis {
    /// The group's MLS name, random: a group that is made anew has another.
    pub id: puente_group::GroupId,
    /// Who made it, alone in its first epoch.
    pub founder: NodeUri,
    /// The charter in force then.
    pub charter: CharterVector,
}

/// What a node that was added comes in with. It verifies the ledger up to the commit before it believes the Welcome.
#[derive(Clone, PartialEq, Eq)]
pub struct Welcome {
    /// Where the order began.
    pub genesis: Genesis,
    /// The ledger in which the commit that added it stands.
    pub ledger: LedgerOrigin,
    /// Where.
    pub index: u64,
    /// MLS Welcome.
    pub welcome: Vec<u8>,
}

impl fmt::Debug for Welcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Welcome(index {} of {}, {} bytes)", self.index, self.ledger, self.welcome.len())
    }
}

/// What an operator wants of a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Want {
    /// That a node comes in, also one that was removed before.
    Add(NodeUri),
    /// That a member goes.
    Remove(NodeUri),
    /// Fresh keys now.
    Rekey,
}

/// What the node's own log must hold of a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GroupEvent {
    /// This node holds a commit.
    Held {
        /// The ledger in which it is to stand.
        ledger: LedgerOrigin,
        /// Where.
        index: u64,
        /// What it states: [`puente_ledger::held_statement`].
        statement: Digest,
    },
    /// A commit was taken in: the group is in a new epoch.
    Epoch(EpochBegan),
}

/// A new epoch as this member sees it: auditors of both nations compare these.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EpochBegan {
    /// The epoch.
    pub epoch: u64,
    /// The commit that began it.
    pub commit: Digest,
    /// The ledger that ordered it.
    pub ledger: LedgerOrigin,
    /// Where.
    pub index: u64,
    /// `puente_group::Group::epoch_hash`: the same for all members of one epoch.
    pub epoch_hash: Digest,
}

/// What the driver tells the corridors.
#[derive(Debug)]
pub enum Input {
    /// A member of the federation says something.
    Message {
        /// Who, as the connection proves.
        from: NodeUri,
        /// About which group.
        group: GroupId,
        /// What.
        message: Message,
    },
    /// What [`Effect::Write`] asked for is durable.
    Written {
        /// Its ticket.
        ticket: u64,
        /// Leaf hash of the entry, if there was one to record.
        leaf: Option<Digest>,
    },
    /// A witness answered [`Effect::Submit`].
    Witness {
        /// About which group.
        group: GroupId,
        /// Its name.
        witness: String,
        /// The head that was submitted.
        head: SignedCheckpoint,
        /// What it said.
        reply: WitnessReply,
    },
    /// A witness answered [`Effect::Read`]; none if it knows no such ledger.
    WitnessHead {
        /// About which group.
        group: GroupId,
        /// Its name.
        witness: String,
        /// The ledger.
        ledger: LedgerOrigin,
        /// The newest head that it cosigned.
        head: Option<Vec<u8>>,
    },
    /// A charter is in force.
    Charter(Arc<Charter>),
    /// This node has another certificate, or key.
    Identity(Identity),
    /// A connection to a node stands.
    Reached(NodeUri),
    /// It is gone.
    Lost(NodeUri),
    /// A post came through a third node.
    Relayed {
        /// From whom, as that node says.
        from: NodeUri,
        /// Of which group.
        group: GroupId,
        /// Which post, as it says.
        id: PostId,
        /// Sealed to the group.
        sealed: Vec<u8>,
    },
    /// A node is at another epoch of a group: this one asks it for what it may lack.
    Behind {
        /// Which group.
        group: GroupId,
        /// Which node.
        than: NodeUri,
    },
    /// An operator wants something.
    Want {
        /// Of which group.
        group: GroupId,
        /// What.
        want: Want,
    },
    /// A reboot was signed by every nation.
    Reboot(Box<Reboot>),
    /// A deadline has passed.
    Tick,
}

/// What the corridors want done, in order.
#[derive(Debug)]
pub enum Effect {
    /// Send a message.
    Send {
        /// To whom; never this node.
        to: NodeUri,
        /// About which group.
        group: GroupId,
        /// What.
        message: Message,
    },
    /// Make these changes durable, and the entry, if any, with them; all of them in the order in which they come. Then say
    /// [`Input::Written`].
    Write {
        /// Its ticket.
        ticket: u64,
        /// About which group.
        group: GroupId,
        /// What is kept.
        puts: Vec<Put>,
        /// What the node's own log must hold.
        event: Option<GroupEvent>,
    },
    /// Submit a head to a witness (C2SP tlog-witness), then say [`Input::Witness`].
    Submit {
        /// About which group.
        group: GroupId,
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
        /// About which group.
        group: GroupId,
        /// Its name.
        witness: String,
        /// The ledger.
        ledger: LedgerOrigin,
    },
    /// Who is in a group changed.
    Members {
        /// Which group.
        group: GroupId,
        /// Its epoch now.
        epoch: u64,
        /// Who came in.
        added: Vec<NodeUri>,
        /// Who went.
        removed: Vec<NodeUri>,
    },
    /// A member said something to all. What comes of it is durable with the write that follows at once.
    Opened(Opened),
    /// A member cannot be reached: have a post passed on to it.
    Relay {
        /// Whom.
        to: NodeUri,
        /// Of which group.
        group: GroupId,
        /// Which post.
        id: PostId,
        /// Sealed to the group.
        sealed: Vec<u8>,
    },
    /// A member has a post of this node's.
    Reached {
        /// Which post.
        post: PostId,
        /// Who.
        node: NodeUri,
    },
    /// An operator must know.
    Alarm(Alarm),
    /// Something arrived that counts for nothing: to be counted, and shown if its sender goes on.
    Fault {
        /// About which group.
        group: GroupId,
        /// From whom; none if it came from a witness or this node's own driver.
        from: Option<NodeUri>,
        /// What is wrong with it.
        fault: Fault,
    },
}

/// Something a member said to all.
pub struct Opened {
    /// In which group.
    pub group: GroupId,
    /// Which post.
    pub id: PostId,
    /// Who said it; a member then.
    pub from: NodeUri,
    /// In which epoch it was sealed.
    pub epoch: u64,
    /// What.
    pub content: Zeroizing<Vec<u8>>,
}

impl fmt::Debug for Opened {
    // Contents are questions and alerts.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Opened({:?} of {} in {}, {} bytes)", self.id, self.from, self.group, self.content.len())
    }
}

/// What an operator must know of a group.
#[derive(Debug)]
pub enum Alarm {
    /// Misbehaviour, proven. To be kept and shown.
    Convicted {
        /// In which group.
        group: GroupId,
        /// By what.
        evidence: Box<Evidence>,
    },
    /// No commit can be ordered any more: only a reboot helps, which every nation signs.
    Wedged {
        /// The ledger.
        ledger: LedgerOrigin,
        /// The index.
        index: u64,
    },
    /// The convener is alive and does not order what this node submitted.
    Withheld {
        /// In which group.
        group: GroupId,
        /// Who.
        convener: NodeUri,
    },
    /// Witnesses know this group, and this node, which is to convene it, does not: it lost what it kept.
    Forgotten {
        /// Which group.
        group: GroupId,
        /// A witness that knows it.
        witness: String,
    },
    /// This node cannot follow its group and enters it anew.
    Rejoining {
        /// Which group.
        group: GroupId,
        /// Why.
        why: GroupError,
    },
}

/// What is wrong with something that arrived.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Fault {
    /// About a group of which the charter knows nothing.
    #[error("the charter knows no group '{0}'")]
    UnknownGroup(GroupId),
    /// From a node that is no active member of that group in the charter.
    #[error("{0} has no part in the group")]
    NoPart(NodeUri),
    /// This node is not in the group.
    #[error("this node is not in the group")]
    Outside,
    /// A group of the same name that began elsewhere.
    #[error("this is of another group of that name: it was founded by {0}")]
    OtherGenesis(NodeUri),
    /// A charter that is not known here.
    #[error("charter {0} is not known here: fetch it")]
    UnknownCharter(CharterVector),
    /// Nothing here waits for it.
    #[error("{0} that nothing here waits for")]
    NotAwaited(&'static str),
    /// The commit that added this node was not held by enough of those who were members then: they pass it over.
    #[error("the commit that added this node counts for nothing: {0}")]
    NotHeld(puente_ledger::Skip),
    /// A commit of this node's was not ordered; what is still wanted is made anew.
    #[error("this node's commit was turned down: {0}")]
    TurnedDown(puente_ledger::Reason),
    /// Too many posts wait for acknowledgements.
    #[error("{} posts to the group wait for acknowledgements already", crate::post::POSTS_MAX)]
    TooManyPosts,
    /// A post to another group than the one that it was sealed to, from somebody who is not in that one.
    #[error("a post to group {0} from a node that is not in it")]
    NotToThisGroup(GroupId),
    /// About the order.
    #[error(transparent)]
    Order(#[from] puente_ledger::Fault),
    /// About the group itself.
    #[error(transparent)]
    Group(#[from] GroupError),
    /// The charter says nothing that a group can be run by.
    #[error(transparent)]
    Terms(#[from] crate::terms::TermsError),
}
