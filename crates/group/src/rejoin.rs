//! A member that lost its state, or cannot follow a commit, enters anew by itself.

use std::collections::BTreeSet;
use std::fmt;

use openmls::messages::group_info::VerifiableGroupInfo;
use openmls::prelude::{LeafNodeParameters, MlsGroup, MlsMessageBodyIn, MlsMessageIn, ProposalStore, PublicGroup};
use openmls_traits::OpenMlsProvider as _;
use puente_model::{Digest, Millis, NodeUri, commit_hash};
use tls_codec::DeserializeBytes as _;

use crate::commit::differs_after;
use crate::error::{GroupError, of_making};
use crate::group::{Group, join_config, limit};
use crate::identity::Identity;
use crate::leaf::{capabilities, uri_of};
use crate::limits::{COMMIT_BYTES_MAX, GROUP_INFO_BYTES_MAX};
use crate::ordered::{GroupId, Ordered};
use crate::process::group_of;
use crate::provider::Provider;
use crate::store::{Changes, Store};
use crate::suite::Suite;
use crate::trust::Trust;

impl Group {
    /// What another member needs to rejoin: signed by this one. It holds the tree, and lets whoever has it **and** is a
    /// member propose to enter anew; give it to members only.
    ///
    /// # Errors
    /// This node was removed, or its key does not sign.
    pub fn info(&self, me: &Identity) -> Result<Vec<u8>, GroupError> {
        let info = self.mls()?.export_group_info(self.provider.crypto(), me, true);
        let info = info.map_err(|error| GroupError::BadGroupInfo(error.to_string()))?;
        let bytes = info.to_bytes().map_err(|error| GroupError::Library(error.to_string()))?;
        limit("bytes of a group info", bytes.len(), GROUP_INFO_BYTES_MAX)?;
        Ok(bytes)
    }
}

/// An external commit of this node that waits for its order.
///
/// `openmls` merges such a commit as it makes it. So it is made in a state of its own, which becomes the group when the
/// proof of order comes, and is dropped when another commit was ordered: then begin again from a newer group info. It is
/// not kept over a restart: if its commit was ordered nevertheless, rejoining once more is what helps.
pub struct Rejoin {
    group: GroupId,
    suite: Suite,
    me: Identity,
    epoch: u64,
    commit: Vec<u8>,
    hash: Digest,
    provider: Provider,
    mls: MlsGroup,
}

impl fmt::Debug for Rejoin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Rejoin({} of epoch {})", self.group, self.epoch)
    }
}

impl Rejoin {
    /// Makes the commit, from what another member exported. This node's old leaf goes with it: it must have the same
    /// signature key; a node that has another by now is removed and added by the others.
    ///
    /// # Errors
    /// [`GroupError::NotAMember`] if this node has no leaf there, or one with another key; a leaf in the tree that may not
    /// stand in a group.
    pub fn start(info: &[u8], me: &Identity, trust: &Trust, now: Millis) -> Result<Self, GroupError> {
        limit("bytes of a group info", info.len(), GROUP_INFO_BYTES_MAX)?;
        let malformed = || GroupError::Malformed("group info");
        let read = MlsMessageIn::tls_deserialize_exact_bytes(info).map_err(|_| malformed())?;
        let MlsMessageBodyIn::GroupInfo(info) = read.extract() else { return Err(malformed()) };
        let group = group_of(info.group_id().as_slice()).ok_or_else(malformed)?;
        let suite = Suite::from_code(u16::from(info.ciphersuite()));
        let suite = suite.ok_or_else(|| GroupError::BadGroupInfo("its ciphersuite is not used here".to_owned()))?;
        if !me.fits(suite) {
            return Err(GroupError::WrongScheme(suite.code()));
        }
        let epoch = info.epoch().as_u64();
        let provider = Provider::new(Store::default());
        is_member(&provider, &info, me)?;

        let bad = |error: &dyn fmt::Display| GroupError::BadGroupInfo(error.to_string());
        let leaf = LeafNodeParameters::builder().with_capabilities(capabilities(suite)).build();
        let builder = MlsGroup::external_commit_builder().with_config(join_config()).skip_lifetime_validation();
        let builder = builder.build_group(&provider, info, me.credential()).map_err(|e| bad(&e))?;
        let builder = builder.leaf_node_parameters(leaf).load_psks(provider.store()).map_err(of_making)?;
        let built = builder.create_group_info(false).build(provider.rand(), provider.crypto(), me, |_| true);
        let (mls, bundle) = built.map_err(of_making)?.finalize(&provider).map_err(|e| bad(&e))?;
        let commit = bundle.commit().to_bytes().map_err(|error| GroupError::Library(error.to_string()))?;
        limit("bytes of a commit", commit.len(), COMMIT_BYTES_MAX)?;
        crate::group::judge_all(&mls, suite, trust, now)?;
        let hash = commit_hash(&commit);
        Ok(Self { group, suite, me: me.clone(), epoch, commit, hash, provider, mls })
    }

    /// The bytes to submit to the group's ledger.
    pub fn commit(&self) -> &[u8] {
        &self.commit
    }

    /// The hash that the ledger orders.
    pub const fn hash(&self) -> Digest {
        self.hash
    }

    /// Of which group.
    pub const fn group(&self) -> GroupId {
        self.group
    }

    /// The epoch that it would end.
    pub const fn epoch(&self) -> u64 {
        self.epoch
    }

    /// Who is in the group, as the other member showed it.
    pub fn members(&self) -> BTreeSet<NodeUri> {
        let leaves = self.mls.members().filter_map(|member| self.mls.public_group().leaf(member.index));
        leaves.filter_map(|leaf| uri_of(leaf).ok()).collect()
    }

    /// The group, on the proof that the commit was ordered. `old` are the keys of whatever is still kept of it.
    ///
    /// # Errors
    /// A proof for another group, epoch or commit.
    pub fn merge(
        self,
        ordered: &Ordered,
        trust: &Trust,
        old: impl IntoIterator<Item = Vec<u8>>,
    ) -> Result<(Group, Changes), GroupError> {
        if ordered.group() != self.group {
            return Err(GroupError::OtherGroup);
        }
        if ordered.epoch() != self.epoch {
            return Err(GroupError::OtherEpoch { expected: self.epoch, found: ordered.epoch() });
        }
        if ordered.commit() != self.hash {
            return Err(GroupError::OtherCommit { found: ordered.commit() });
        }
        let authenticator = self.mls.epoch_authenticator().as_slice().to_vec();
        differs_after(&self.mls, Some(&authenticator), self.epoch)?;
        let index = Some(ordered.index());
        let Self { group, suite, me, provider, mls, .. } = self;
        let (group, changes) = Group::enter(group, suite, &me, provider, mls, index, trust, ordered.at())?;
        Ok((group, changes.instead_of(old)))
    }
}

/// That the group has a leaf of this node with its signature key: the one that the external commit removes. Said here,
/// so that nobody waits for an order that no member would take; where the library will not show the tree, because its
/// clock finds a leaf too old, members say it.
fn is_member(provider: &Provider, info: &VerifiableGroupInfo, me: &Identity) -> Result<(), GroupError> {
    let bad = |what: &str| GroupError::BadGroupInfo(what.to_owned());
    let tree = info.extensions().ratchet_tree().ok_or_else(|| bad("it holds no tree"))?.ratchet_tree().clone();
    // Seen from outside, in a store of its own: nothing of it is kept.
    let outside = Store::default();
    let seen = PublicGroup::from_external(provider.crypto(), &outside, tree, info.clone(), ProposalStore::new());
    let Ok((seen, _)) = seen else { return Ok(()) };
    for member in seen.members() {
        let leaf = seen.leaf(member.index).ok_or(GroupError::NotAMember)?;
        if uri_of(leaf)? == *me.uri() {
            return if member.signature_key == me.key() { Ok(()) } else { Err(GroupError::NotItsIdentity) };
        }
    }
    Err(GroupError::NotAMember)
}
