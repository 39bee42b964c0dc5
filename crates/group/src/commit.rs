//! Commits that this node makes: staged, then merged when ordered, or abandoned.

use std::fmt;

use ciborium::Value;
use openmls::prelude::{
    KeyPackage, KeyPackageIn, LeafNodeIndex, LeafNodeParameters, MlsGroup, NewSignerBundle, OpenMlsRand as _,
    PreSharedKeyProposal, Proposal, ProtocolVersion,
};
use openmls::schedule::PreSharedKeyId;
use openmls_traits::OpenMlsProvider as _;
use openmls_traits::storage::StorageProvider as _;
use puente_model::{Digest, LeafIndex, Millis, NodeUri, Secret32, commit_hash};
use tls_codec::{DeserializeBytes as _, Serialize as _};

use crate::chain::Chain;
use crate::error::{GroupError, of_making, of_merging_own};
use crate::group::{Group, limit};
use crate::identity::Identity;
use crate::leaf::{Bench, Door, LeafError, Roster, capabilities, judge};
use crate::limits::{
    ADDS_PER_COMMIT_MAX, COMMIT_BYTES_MAX, KEY_PACKAGE_BYTES_MAX, MEMBERS_MAX, PSK_NAME_BYTES_MAX, PSKS_PER_COMMIT_MAX,
    WELCOME_BYTES_MAX,
};
use crate::ordered::{GroupId, Ordered};
use crate::process::psks;
use crate::provider::Provider;
use crate::store::{Changes, StoreError, table};
use crate::suite::Suite;
use crate::trust::Trust;

/// What one commit shall do. Every commit also gives this node's leaf fresh keys, so an empty intent is a rekeying.
///
/// Keep the intent, not the bytes: whoever loses the race for an epoch makes its commit anew.
#[derive(Debug, Clone, Default)]
pub struct Intent {
    /// Key packages of nodes to add.
    pub add: Vec<Vec<u8>>,
    /// Members to remove.
    pub remove: Vec<NodeUri>,
    /// Names of pre-shared keys to take in, which every member holds ([`Group::hold_psk`]).
    pub psks: Vec<Vec<u8>>,
}

/// A commit of this node that waits for its order.
///
/// Its Welcome, if it has one, stays in the group's store until [`Group::merge`]: nobody can be welcomed into an epoch
/// that may never be.
#[derive(Clone, PartialEq, Eq)]
pub struct Pending {
    group: GroupId,
    epoch: u64,
    hash: Digest,
    commit: Vec<u8>,
}

impl Pending {
    /// The bytes to submit to the group's ledger.
    pub fn commit(&self) -> &[u8] {
        &self.commit
    }

    /// The hash that the ledger orders.
    pub const fn hash(&self) -> Digest {
        self.hash
    }

    /// The epoch that it would end.
    pub const fn epoch(&self) -> u64 {
        self.epoch
    }

    /// Of which group.
    pub const fn group(&self) -> GroupId {
        self.group
    }
}

impl fmt::Debug for Pending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Pending({} of epoch {}, {} bytes)", self.hash, self.epoch, self.commit.len())
    }
}

/// What a commit of this node came to.
#[derive(Clone, PartialEq, Eq)]
pub struct Merged {
    /// The group's epoch now.
    pub epoch: u64,
    /// For those who were added, if any: send it together with the commit and its proof of order.
    pub welcome: Option<Vec<u8>>,
    /// Who came in.
    pub added: Vec<NodeUri>,
    /// Who was removed: close its connections.
    pub removed: Vec<NodeUri>,
}

impl fmt::Debug for Merged {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Merged(epoch {}, added {:?}, removed {:?})", self.epoch, self.added, self.removed)
    }
}

/// Whose leaf a key package claims to be; staging judges it.
///
/// # Errors
/// Not a key package, or over its limit; a leaf without one name.
pub fn claimed_node(key_package: &[u8]) -> Result<NodeUri, GroupError> {
    limit("bytes of a key package", key_package.len(), KEY_PACKAGE_BYTES_MAX)?;
    let claimed = KeyPackageIn::tls_deserialize_exact_bytes(key_package);
    let claimed = claimed.map_err(|_| GroupError::Malformed("key package"))?;
    let credential = claimed.unverified_credential().credential;
    Ok(puente_charter::certificate::peer_uri(Chain::of(&credential)?.own()).map_err(LeafError::from)?)
}

impl Group {
    /// Makes a commit and stages it. Make the changes durable, then submit [`Pending::commit`]; a proof of order decides
    /// between [`Group::merge`] and [`Group::abandon`] (or the winner's [`Group::process`], which abandons, too).
    ///
    /// # Errors
    /// [`GroupError::PendingExists`]; whom it would add, and every remaining member if it adds anybody, is judged here
    /// as all others will judge; limits.
    pub fn stage(
        &mut self,
        me: &Identity,
        intent: &Intent,
        trust: &Trust,
        now: Millis,
    ) -> Result<(Pending, Changes), GroupError> {
        self.stage_as(me, None, intent, trust, now)
    }

    /// The same, and this node's leaf takes another certificate and key: `next`.
    ///
    /// # Errors
    /// As [`Group::stage`].
    pub fn stage_renewal(
        &mut self,
        me: &Identity,
        next: &Identity,
        intent: &Intent,
        trust: &Trust,
        now: Millis,
    ) -> Result<(Pending, Changes), GroupError> {
        self.stage_as(me, Some(next), intent, trust, now)
    }

    fn stage_as(
        &mut self,
        me: &Identity,
        next: Option<&Identity>,
        intent: &Intent,
        trust: &Trust,
        now: Millis,
    ) -> Result<(Pending, Changes), GroupError> {
        let bench = Bench { trust, suite: self.suite, at: now };
        let mls = self.mls()?;
        if mls.pending_commit().is_some() {
            return Err(GroupError::PendingExists);
        }
        let key = mls.own_leaf_node().map(|leaf| leaf.signature_key().as_slice());
        if *me.uri() != self.me || key != Some(me.key()) {
            return Err(GroupError::NotItsIdentity);
        }
        limit("members added by one commit", intent.add.len(), ADDS_PER_COMMIT_MAX)?;
        limit("pre-shared keys of one commit", intent.psks.len(), PSKS_PER_COMMIT_MAX)?;
        let mut roster = self.roster()?;
        let removals = self.removals(&intent.remove, &mut roster)?;
        if !intent.add.is_empty() {
            let gone = |uri: &NodeUri| intent.remove.contains(uri) || *uri == self.me;
            if let Some((uri, why)) = self.unfit(trust, now)?.into_iter().find(|(uri, _)| !gone(uri)) {
                return Err(GroupError::Unfit { uri, why });
            }
        }
        let mut key_packages = Vec::with_capacity(intent.add.len());
        for bytes in &intent.add {
            let key_package = read_key_package(bytes, self.suite, &self.provider)?;
            judge(&bench, Door::Add, key_package.leaf_node(), &mut roster)?;
            key_packages.push(key_package);
        }
        limit("members", roster.len(), MEMBERS_MAX)?;
        let psks = self.proposals(&intent.psks)?;
        let (id, suite) = (self.id, self.suite);
        self.transact(|mls, provider, _| {
            let parts = Parts { key_packages, removals, psks };
            let bundle = build(mls, provider, suite, me, next, parts)?;
            let mut roster = roster;
            own_leaf(&bench, mls, me, &mut roster)?;
            let commit = bundle.commit().to_bytes().map_err(|e| GroupError::Library(e.to_string()))?;
            limit("bytes of a commit", commit.len(), COMMIT_BYTES_MAX)?;
            let welcome = bundle.to_welcome_msg().map(|welcome| welcome.to_bytes()).transpose();
            let welcome = welcome.map_err(|e| GroupError::Library(e.to_string()))?;
            limit("bytes of a Welcome", welcome.as_ref().map_or(0, Vec::len), WELCOME_BYTES_MAX)?;
            let kept = (Value::Bytes(commit.clone()), welcome.map(Value::Bytes));
            provider.store().put(table::PENDING, &(), &kept)?;
            Ok(Pending { group: id, epoch: mls.epoch().as_u64(), hash: commit_hash(&commit), commit })
        })
    }

    /// The commit of this node that waits for its order, for example after a restart.
    ///
    /// # Errors
    /// What was kept of it is torn.
    pub fn pending(&self) -> Result<Option<Pending>, GroupError> {
        if self.mls.as_ref().is_none_or(|mls| mls.pending_commit().is_none()) {
            return Ok(None);
        }
        let (commit, _) = kept(&self.provider)?;
        Ok(Some(Pending { group: self.id, epoch: self.standing.epoch, hash: commit_hash(&commit), commit }))
    }

    /// Merges this node's commit, on the proof that it was ordered. Only now is there a Welcome.
    ///
    /// # Errors
    /// A proof for another group, epoch or commit; one that stands before the last; an epoch that would have the secrets
    /// of the one before.
    pub fn merge(&mut self, pending: &Pending, ordered: &Ordered) -> Result<(Merged, Changes), GroupError> {
        if ordered.group() != self.id || pending.group != self.id {
            return Err(GroupError::OtherGroup);
        }
        self.ordered_now(ordered)?;
        if ordered.commit() != pending.hash {
            return Err(GroupError::OtherCommit { found: ordered.commit() });
        }
        let names: Vec<(NodeUri, LeafNodeIndex)> =
            self.standing.members.iter().map(|(uri, index)| (uri.clone(), *index)).collect();
        let before = self.standing.members.clone();
        let (welcome, changes) = self.transact(|mls, provider, own| {
            let staged = mls.pending_commit().ok_or(GroupError::NoPending)?;
            let (commit, welcome) = kept(provider)?;
            if commit_hash(&commit) != ordered.commit() {
                return Err(GroupError::OtherCommit { found: ordered.commit() });
            }
            let next = staged.epoch_authenticator().map(|a| a.as_slice().to_vec());
            differs(mls.epoch_authenticator().as_slice(), next.as_deref())?;
            psks(staged)?.iter().try_for_each(|psk| provider.store().delete_psk(psk))?;
            mls.merge_pending_commit(provider).map_err(of_merging_own)?;
            differs_after(mls, next.as_deref(), ordered.epoch())?;
            provider.store().delete(table::PENDING, &())?;
            own.index = Some(ordered.index().0);
            Ok(welcome)
        })?;
        let added = self.members().filter(|uri| !before.contains_key(*uri)).cloned().collect();
        let removed = names.into_iter().map(|(uri, _)| uri).filter(|uri| !self.has(uri)).collect();
        Ok((Merged { epoch: self.epoch(), welcome, added, removed }, changes))
    }

    /// Drops this node's commit: another was ordered, or it is no longer wanted. Only when it cannot be ordered any more
    /// either: a commit that is ordered after its maker dropped it can only be followed by rejoining.
    ///
    /// # Errors
    /// [`GroupError::NoPending`].
    pub fn abandon(&mut self) -> Result<Changes, GroupError> {
        if self.mls()?.pending_commit().is_none() {
            return Err(GroupError::NoPending);
        }
        let ((), changes) = self.transact(|mls, provider, _| {
            mls.clear_pending_commit(provider.store())?;
            provider.store().delete(table::PENDING, &())?;
            Ok(())
        })?;
        Ok(changes)
    }

    /// Keeps a pre-shared key that a coming commit takes in. Members agree on name and key outside.
    ///
    /// # Errors
    /// A name over its limit.
    pub fn hold_psk(&mut self, name: &[u8], secret: &Secret32) -> Result<Changes, GroupError> {
        limit("bytes of a pre-shared key's name", name.len(), PSK_NAME_BYTES_MAX)?;
        let length = self.suite.mls().hash_length();
        let ((), changes) = self.transact(|_, provider, _| {
            let id = PreSharedKeyId::external(name.to_vec(), vec![0; length]);
            id.store(provider, secret.expose()).map_err(|e| GroupError::Library(e.to_string()))
        })?;
        Ok(changes)
    }

    /// Forgets a pre-shared key.
    ///
    /// # Errors
    /// This node was removed.
    pub fn drop_psk(&mut self, name: &[u8]) -> Result<Changes, GroupError> {
        let ((), changes) = self.transact(|_, provider, _| {
            let id = PreSharedKeyId::external(name.to_vec(), Vec::new());
            Ok(provider.store().delete_psk(id.psk())?)
        })?;
        Ok(changes)
    }

    /// That a proof of order is for this group's present epoch, and comes after the last.
    pub(crate) fn ordered_now(&self, ordered: &Ordered) -> Result<(), GroupError> {
        if ordered.epoch() != self.standing.epoch {
            return Err(GroupError::OtherEpoch { expected: self.standing.epoch, found: ordered.epoch() });
        }
        match self.own.index {
            Some(last) if ordered.index().0 <= last => {
                Err(GroupError::OrderWentBack { last: LeafIndex(last), found: ordered.index() })
            }
            _ => Ok(()),
        }
    }

    fn removals(&self, uris: &[NodeUri], roster: &mut Roster) -> Result<Vec<LeafNodeIndex>, GroupError> {
        let mut indices = Vec::with_capacity(uris.len());
        for uri in uris {
            let index = self.standing.members.get(uri).filter(|_| *uri != self.me);
            let index = *index.ok_or_else(|| GroupError::NotInGroup(uri.clone()))?;
            if !indices.contains(&index) {
                indices.push(index);
            }
            roster.leave(uri);
        }
        Ok(indices)
    }

    fn proposals(&self, names: &[Vec<u8>]) -> Result<Vec<Proposal>, GroupError> {
        let mut proposals = Vec::with_capacity(names.len());
        for name in names {
            limit("bytes of a pre-shared key's name", name.len(), PSK_NAME_BYTES_MAX)?;
            let nonce = self.provider.rand().random_vec(self.suite.mls().hash_length());
            let nonce = nonce.map_err(|e| GroupError::Library(e.to_string()))?;
            let id = PreSharedKeyId::external(name.clone(), nonce);
            proposals.push(Proposal::PreSharedKey(Box::new(PreSharedKeyProposal::new(id))));
        }
        Ok(proposals)
    }
}

struct Parts {
    key_packages: Vec<KeyPackage>,
    removals: Vec<LeafNodeIndex>,
    psks: Vec<Proposal>,
}

fn build(
    mls: &mut MlsGroup,
    provider: &Provider,
    suite: Suite,
    me: &Identity,
    next: Option<&Identity>,
    parts: Parts,
) -> Result<openmls::prelude::CommitMessageBundle, GroupError> {
    let leaf = LeafNodeParameters::builder()
        .with_credential_with_key(next.unwrap_or(me).credential())
        .with_capabilities(capabilities(suite))
        .build();
    let builder = mls
        .commit_builder()
        .propose_removals(parts.removals)
        .propose_adds(parts.key_packages)
        .add_proposals(parts.psks)
        .force_self_update(true)
        .leaf_node_parameters(leaf)
        .load_psks(provider.store())
        .map_err(of_making)?
        .create_group_info(false);
    let (rand, crypto) = (provider.rand(), provider.crypto());
    let built = match next {
        Some(next) if next.key() != me.key() => {
            let bundle = NewSignerBundle { signer: next, credential_with_key: next.credential() };
            builder.build_with_new_signer(rand, crypto, me, bundle, |_| true)
        }
        _ => builder.build(rand, crypto, me, |_| true),
    };
    let staged = built.map_err(of_making)?.stage_commit(provider);
    staged.map_err(|error| GroupError::Library(error.to_string()))
}

/// That the leaf which this commit gives this node will be accepted.
fn own_leaf(bench: &Bench<'_>, mls: &MlsGroup, me: &Identity, roster: &mut Roster) -> Result<(), GroupError> {
    let staged = mls.pending_commit().ok_or(GroupError::NoPending)?;
    let leaf = staged.update_path_leaf_node().ok_or(GroupError::BadCommit("it has no update path".to_owned()))?;
    roster.leave(me.uri());
    judge(bench, Door::Replace(me.uri()), leaf, roster)?;
    Ok(())
}

/// The bytes of this node's commit and of its Welcome.
fn kept(provider: &Provider) -> Result<(Vec<u8>, Option<Vec<u8>>), GroupError> {
    let kept: Option<(Value, Option<Value>)> = provider.store().get(table::PENDING, &())?;
    let bytes = |value: Value| value.into_bytes().map_err(|_| StoreError::Torn);
    let (commit, welcome) = kept.ok_or(StoreError::Torn)?;
    Ok((bytes(commit)?, welcome.map(bytes).transpose()?))
}

/// That the epoch to come has secrets of its own.
pub(crate) fn differs(before: &[u8], after: Option<&[u8]>) -> Result<(), GroupError> {
    match after {
        Some(after) if after != before => Ok(()),
        _ => Err(GroupError::AuthenticatorUnchanged),
    }
}

/// That the epoch which came is the one that was staged.
pub(crate) fn differs_after(mls: &MlsGroup, staged: Option<&[u8]>, ended: u64) -> Result<(), GroupError> {
    let came = mls.epoch().as_u64() == ended.saturating_add(1);
    if came && staged == Some(mls.epoch_authenticator().as_slice()) {
        Ok(())
    } else {
        Err(GroupError::AuthenticatorUnchanged)
    }
}

/// A key package from bytes: its signatures hold and it is of the group's ciphersuite. Its leaf is still to be judged.
pub(crate) fn read_key_package(bytes: &[u8], suite: Suite, provider: &Provider) -> Result<KeyPackage, GroupError> {
    limit("bytes of a key package", bytes.len(), KEY_PACKAGE_BYTES_MAX)?;
    let read = KeyPackageIn::tls_deserialize_exact_bytes(bytes).map_err(|_| GroupError::Malformed("key package"))?;
    let valid = read.validate(provider.crypto(), ProtocolVersion::Mls10);
    let valid = valid.map_err(|error| GroupError::BadKeyPackage(error.to_string()))?;
    let found = u16::from(valid.ciphersuite());
    if found != suite.code() {
        return Err(LeafError::OtherSuite { expected: suite.code(), found }.into());
    }
    Ok(valid)
}

/// A key package as it travels.
pub(crate) fn write_key_package(key_package: &KeyPackage) -> Result<Vec<u8>, GroupError> {
    let bytes = key_package.tls_serialize_detached().map_err(|e| GroupError::Library(e.to_string()))?;
    limit("bytes of a key package", bytes.len(), KEY_PACKAGE_BYTES_MAX)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_epoch_with_the_secrets_of_the_last_is_refused() {
        assert_eq!(differs(b"a", Some(b"b")), Ok(()));
        assert_eq!(differs(b"a", Some(b"a")), Err(GroupError::AuthenticatorUnchanged));
        assert_eq!(differs(b"a", None), Err(GroupError::AuthenticatorUnchanged));
    }
}
