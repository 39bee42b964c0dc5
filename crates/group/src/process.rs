//! Commits that others made.

use std::collections::{BTreeMap, BTreeSet};

use openmls::prelude::{
    ContentType, LeafNodeIndex, MlsGroup, MlsMessageBodyIn, MlsMessageIn, ProcessedMessageContent, Proposal,
    ProposalIn, ProposalOrRefIn, PublicMessageIn, Sender, StagedCommit,
};
use openmls::schedule::{PreSharedKeyId, Psk};
use openmls_traits::storage::StorageProvider as _;
use puente_model::{Digest, NodeUri, commit_hash};
use tls_codec::{DeserializeBytes as _, Serialize as _, VLBytes};

use crate::commit::{claimed_node, differs, differs_after};
use crate::error::{GroupError, of_merging, of_message};
use crate::group::{Group, limit};
use crate::leaf::{Bench, Door, LeafError, Roster, judge};
use crate::limits::{ADDS_PER_COMMIT_MAX, COMMIT_BYTES_MAX, MEMBERS_MAX, PSKS_PER_COMMIT_MAX};
use crate::ordered::{GroupId, Ordered};
use crate::store::{Changes, table};
use crate::trust::Trust;

/// What a commit of another member came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Processed {
    /// The group's epoch now.
    pub epoch: u64,
    /// Who made it.
    pub by: NodeUri,
    /// It was made from outside: the member had lost its state and rejoined.
    pub rejoined: bool,
    /// Who came in.
    pub added: Vec<NodeUri>,
    /// Who was removed: close its connections.
    pub removed: Vec<NodeUri>,
    /// This node was removed; nothing is kept of the group any more.
    pub left: bool,
    /// Hash of this node's own commit, which lost its epoch to this one: make its intent anew.
    pub lost: Option<Digest>,
}

impl Group {
    /// Takes the commit of another member over, on the proof that it was ordered. Every leaf that it brings in is judged
    /// at the moment of the order, with `trust` being that of the charter version which the ledger entry names.
    ///
    /// # Errors
    /// [`GroupError::remedy`] says for each what follows from it; nothing changed.
    pub fn process(
        &mut self,
        commit: &[u8],
        ordered: &Ordered,
        trust: &Trust,
    ) -> Result<(Processed, Changes), GroupError> {
        let at = self.standing.epoch;
        self.mls()?;
        if ordered.group() != self.id {
            return Err(GroupError::OtherGroup);
        }
        if ordered.epoch() < at {
            return Err(GroupError::Stale { at, found: ordered.epoch() });
        }
        if ordered.epoch() > at {
            return Err(GroupError::Early { at, found: ordered.epoch() });
        }
        self.ordered_now(ordered)?;
        if commit_hash(commit) != ordered.commit() {
            return Err(GroupError::OtherCommit { found: ordered.commit() });
        }
        let mine = self.pending()?.map(|pending| pending.hash());
        if mine == Some(ordered.commit()) {
            return Err(GroupError::OwnCommit);
        }
        let message = read_commit(commit)?;
        if group_of(message.group_id().as_slice()) != Some(self.id) {
            return Err(GroupError::BadCommit("it is of another group".to_owned()));
        }
        if message.epoch().as_u64() != at {
            return Err(GroupError::BadCommit("it ends another epoch than its entry says".to_owned()));
        }
        let before = self.standing.members.clone();
        let roster = self.roster()?;
        let bench = Bench { trust, suite: self.suite, at: ordered.at() };
        let ((by, rejoined, left), mut changes) = self.transact(|mls, provider, own| {
            let sender = message.sender().clone();
            let processed = mls.process_message(provider, message).map_err(|e| of_message(e, at, at))?;
            let staged = match processed.into_content() {
                ProcessedMessageContent::StagedCommitMessage(staged) => *staged,
                ProcessedMessageContent::OwnPendingCommit => return Err(GroupError::OwnCommit),
                _ => return Err(GroupError::Malformed("commit")),
            };
            let by = enter(&bench, &staged, &sender, &before, roster)?;
            let left = staged.self_removed();
            let next = staged.epoch_authenticator().map(|a| a.as_slice().to_vec());
            if !left {
                differs(mls.epoch_authenticator().as_slice(), next.as_deref())?;
            }
            psks(&staged)?.iter().try_for_each(|psk| provider.store().delete_psk(psk))?;
            mls.merge_staged_commit(provider, staged).map_err(of_merging)?;
            if !left {
                differs_after(mls, next.as_deref(), ordered.epoch())?;
            }
            provider.store().delete(table::PENDING, &())?;
            own.index = Some(ordered.index().0);
            Ok((by, sender == Sender::NewMemberCommit, left))
        })?;
        let mut added: Vec<NodeUri> = self.members().filter(|uri| !before.contains_key(*uri)).cloned().collect();
        let mut removed: Vec<NodeUri> = before.keys().filter(|uri| !self.has(uri)).cloned().collect();
        if left {
            // A node that was removed has no business with the group's secrets.
            (added, removed) = (Vec::new(), vec![self.me.clone()]);
            changes = self.provider.store().clear();
            self.mls = None;
            self.standing.members = BTreeMap::new();
        }
        let epoch = ordered.epoch().saturating_add(1);
        Ok((Processed { epoch, by, rejoined, added, removed, left, lost: mine }, changes))
    }
}

/// The pre-shared keys that a commit takes in.
pub(crate) fn psks(staged: &StagedCommit) -> Result<Vec<Psk>, GroupError> {
    let mut psks = Vec::new();
    for queued in staged.queued_proposals() {
        if let Proposal::PreSharedKey(proposal) = queued.proposal() {
            // The library keeps the field to itself; on the wire the proposal is its id and nothing else.
            let bytes = proposal.tls_serialize_detached().map_err(|_| GroupError::Malformed("pre-shared key"))?;
            let id = PreSharedKeyId::tls_deserialize_exact_bytes(&bytes);
            psks.push(id.map_err(|_| GroupError::Malformed("pre-shared key"))?.psk().clone());
        }
    }
    Ok(psks)
}

/// Judges everything that a commit would change about who is in the group, and says who made it.
fn enter(
    bench: &Bench<'_>,
    staged: &StagedCommit,
    sender: &Sender,
    members: &BTreeMap<NodeUri, LeafNodeIndex>,
    mut roster: Roster,
) -> Result<NodeUri, GroupError> {
    let named = |index: LeafNodeIndex| members.iter().find(|(_, i)| **i == index).map(|(uri, _)| uri);
    let mut gone = Vec::new();
    let mut adds = Vec::new();
    for queued in staged.queued_proposals() {
        match queued.proposal() {
            Proposal::Add(add) => adds.push(add.key_package().leaf_node()),
            Proposal::Remove(remove) => {
                gone.push(named(remove.removed()).ok_or(GroupError::BadCommit("it removes nobody".to_owned()))?);
            }
            Proposal::PreSharedKey(_) | Proposal::ExternalInit(_) => {}
            Proposal::Update(_) => return Err(GroupError::Forbidden("an update proposal")),
            Proposal::GroupContextExtensions(_) => return Err(GroupError::Forbidden("another group context")),
            Proposal::ReInit(_) => return Err(GroupError::Forbidden("a new beginning")),
            _ => return Err(GroupError::Forbidden("a proposal of an unknown kind")),
        }
    }
    limit("members added by one commit", adds.len(), ADDS_PER_COMMIT_MAX)?;
    let psks = psks(staged)?;
    limit("pre-shared keys of one commit", psks.len(), PSKS_PER_COMMIT_MAX)?;
    gone.iter().for_each(|uri| roster.leave(uri));
    let path = staged.update_path_leaf_node().ok_or(GroupError::Forbidden("no fresh keys of its maker"))?;
    let by = match sender {
        Sender::Member(index) => {
            let by = named(*index).ok_or(GroupError::BadSignature)?;
            roster.leave(by);
            for leaf in adds {
                judge(bench, Door::Add, leaf, &mut roster)?;
            }
            judge(bench, Door::Replace(by), path, &mut roster)?
        }
        Sender::NewMemberCommit => {
            let by = crate::leaf::uri_of(path)?;
            if !members.contains_key(&by) {
                judge(bench, Door::Tree, path, &mut roster)?;
                return Err(GroupError::Outsider(by));
            }
            if let Some(other) = gone.iter().find(|uri| ***uri != by) {
                return Err(LeafError::OtherMember { expected: (*other).clone(), found: by }.into());
            }
            judge(bench, Door::Replace(&by), path, &mut roster)?
        }
        _ => return Err(GroupError::Forbidden("a sender that is no member")),
    };
    limit("members", roster.len(), MEMBERS_MAX)?;
    Ok(by)
}

/// A commit in the clear: whoever holds it can check its public part.
pub(crate) fn read_commit(bytes: &[u8]) -> Result<PublicMessageIn, GroupError> {
    limit("bytes of a commit", bytes.len(), COMMIT_BYTES_MAX)?;
    let malformed = GroupError::Malformed("commit");
    let read = MlsMessageIn::tls_deserialize_exact_bytes(bytes).map_err(|_| malformed.clone())?;
    match read.extract() {
        MlsMessageBodyIn::PublicMessage(message) if message.content_type() == ContentType::Commit => Ok(message),
        _ => Err(malformed),
    }
}

pub(crate) fn group_of(bytes: &[u8]) -> Option<GroupId> {
    bytes.try_into().ok().map(GroupId)
}

/// Which epoch of which group a commit ends, as it says itself: unverified, for whoever sorts commits.
///
/// # Errors
/// No commit, or over its limit.
pub fn peek(commit: &[u8]) -> Result<(GroupId, u64), GroupError> {
    let message = read_commit(commit)?;
    let group = group_of(message.group_id().as_slice()).ok_or(GroupError::Malformed("commit"))?;
    Ok((group, message.epoch().as_u64()))
}

/// Who is brought in by a commit, and how many leaves it takes away.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Moves {
    /// Who is brought in.
    pub added: BTreeSet<NodeUri>,
    /// How many leaves are taken away: a commit names their places, and who stands there only members know.
    pub removed: usize,
}

/// Whom a commit moves, as it says itself: for a node that was brought in by it and wants to know how large the group was
/// before.
///
/// # Errors
/// No commit of this room's kind, or over its limit.
pub fn moves(commit: &[u8]) -> Result<Moves, GroupError> {
    read_commit(commit)?;
    let malformed = |_| GroupError::Malformed("commit");
    // The library keeps what a commit proposes to itself. RFC 9420, 6: version, wire format, group, epoch, sender,
    // authenticated data, content type; then the commit, which begins with its proposals.
    let (_, rest) = u32::tls_deserialize_bytes(commit).map_err(malformed)?;
    let (_, rest) = VLBytes::tls_deserialize_bytes(rest).map_err(malformed)?;
    let (_, rest) = u64::tls_deserialize_bytes(rest).map_err(malformed)?;
    let (_, rest) = Sender::tls_deserialize_bytes(rest).map_err(malformed)?;
    let (_, rest) = VLBytes::tls_deserialize_bytes(rest).map_err(malformed)?;
    let (_, rest) = ContentType::tls_deserialize_bytes(rest).map_err(malformed)?;
    let (proposals, _) = Vec::<ProposalOrRefIn>::tls_deserialize_bytes(rest).map_err(malformed)?;
    let mut moves = Moves { added: BTreeSet::new(), removed: 0 };
    for proposal in proposals {
        let ProposalOrRefIn::Proposal(proposal) = proposal else {
            return Err(GroupError::Forbidden("a proposal that stands elsewhere"));
        };
        match *proposal {
            ProposalIn::Add(add) => {
                // It is its key package and nothing else.
                let package = add.tls_serialize_detached().map_err(malformed)?;
                moves.added.insert(claimed_node(&package)?);
            }
            ProposalIn::Remove(_) => moves.removed += 1,
            _ => {}
        }
    }
    Ok(moves)
}

/// That the tag which confirms an epoch is the one that an ordered commit announced.
pub(crate) fn confirms(commit: &[u8], mls: &MlsGroup) -> Result<bool, GroupError> {
    Ok(read_commit(commit)?.confirmation_tag() == Some(mls.confirmation_tag()))
}
