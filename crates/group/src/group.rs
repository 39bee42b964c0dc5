//! A group as one member holds it.

use std::collections::BTreeMap;
use std::fmt;

use openmls::prelude::{
    CredentialType, Extension, Extensions, GroupId as MlsGroupId, LeafNodeIndex, Lifetime, MlsGroup,
    MlsGroupCreateConfig, MlsGroupJoinConfig, PURE_PLAINTEXT_WIRE_FORMAT_POLICY, RequiredCapabilitiesExtension,
    SenderRatchetConfiguration, UnknownExtension,
};
use openmls_traits::OpenMlsProvider as _;
use puente_model::{Digest, Label, LeafIndex, Millis, NodeUri, Secret32, digest};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::error::GroupError;
use crate::identity::Identity;
use crate::leaf::{Bench, Door, LeafError, POLICY, Roster, capabilities, judge, uri_of};
use crate::limits::{
    KEY_PACKAGE_MILLIS, MEMBERS_MAX, OUT_OF_ORDER_MAX, PADDING_BYTES, PAST_EPOCHS_MAX, POLICY_BYTES_MAX, SKIPPED_MAX,
};
use crate::ordered::GroupId;
use crate::provider::Provider;
use crate::store::{Changes, Store, StoreError, table};
use crate::suite::Suite;
use crate::trust::Trust;

/// The exporter label of the PSK that a disclosure is sealed with.
pub const PSK: &str = "puente/v1/psk";

/// `digest(EPOCH, [group, epoch as u64be, epoch authenticator])`.
pub const EPOCH: Label = Label("puente/v1/group-epoch");

/// What this room keeps of a group beside what `openmls` does.
#[derive(Serialize, Deserialize)]
pub(crate) struct Own {
    /// Shape of this record.
    pub(crate) version: u8,
    /// This node's name in the group.
    pub(crate) uri: String,
    pub(crate) suite: u16,
    /// Ledger index of the last commit taken.
    pub(crate) index: Option<u64>,
}

const OWN_VERSION: u8 = 1;

/// What is asked often, computed once per epoch.
pub(crate) struct Standing {
    pub(crate) epoch: u64,
    pub(crate) members: BTreeMap<NodeUri, LeafNodeIndex>,
    pub(crate) epoch_hash: Digest,
}

/// A group as this member holds it.
///
/// Every operation that changes it hands [`Changes`] out, which the caller makes durable before anything that came of
/// the operation leaves the node. An operation that fails changes nothing.
pub struct Group {
    pub(crate) id: GroupId,
    pub(crate) me: NodeUri,
    pub(crate) suite: Suite,
    pub(crate) provider: Provider,
    /// None once this node was removed, or what it keeps could not be read again.
    pub(crate) mls: Option<MlsGroup>,
    pub(crate) own: Own,
    pub(crate) standing: Standing,
}

impl fmt::Debug for Group {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Group({} at {}, {} members)", self.id, self.standing.epoch, self.standing.members.len())
    }
}

impl Group {
    /// Makes a group of one. `policy` is opaque here: it stands in the group's context, so that members agree on it.
    ///
    /// # Errors
    /// A policy over its limit; an identity that no member would accept, or of another scheme than the suite's.
    pub fn create(
        id: GroupId,
        suite: Suite,
        policy: &[u8],
        me: &Identity,
        trust: &Trust,
        now: Millis,
    ) -> Result<(Self, Changes), GroupError> {
        limit("bytes of the group's policy", policy.len(), POLICY_BYTES_MAX)?;
        if !me.fits(suite) {
            return Err(GroupError::WrongScheme(suite.code()));
        }
        let provider = Provider::new(Store::default());
        let library = |error: &dyn fmt::Display| GroupError::Library(error.to_string());
        let extensions = Extensions::from_vec(vec![
            Extension::RequiredCapabilities(RequiredCapabilitiesExtension::new(
                &[POLICY],
                &[],
                &[CredentialType::X509],
            )),
            Extension::Unknown(u16::from(POLICY), UnknownExtension(policy.to_vec())),
        ]);
        let join = join_config();
        let config = MlsGroupCreateConfig::builder()
            .ciphersuite(suite.mls())
            .capabilities(capabilities(suite))
            .lifetime(lifetime(now))
            .wire_format_policy(PURE_PLAINTEXT_WIRE_FORMAT_POLICY)
            .padding_size(PADDING_BYTES)
            .max_past_epochs(PAST_EPOCHS_MAX)
            .use_ratchet_tree_extension(true)
            .sender_ratchet_configuration(*join.sender_ratchet_configuration())
            .with_group_context_extensions(extensions.map_err(|e| library(&e))?)
            .build();
        let mls = MlsGroup::new_with_group_id(&provider, me, &config, MlsGroupId::from_slice(&id.0), me.credential());
        let mls = mls.map_err(|e| library(&e))?;
        Self::enter(id, suite, me, provider, mls, None, trust, now)
    }

    /// A group that this node just came into, in `provider`'s overlay: every leaf of its tree is judged, its own too.
    #[allow(clippy::too_many_arguments)]
    pub(crate) fn enter(
        id: GroupId,
        suite: Suite,
        me: &Identity,
        provider: Provider,
        mls: MlsGroup,
        index: Option<LeafIndex>,
        trust: &Trust,
        at: Millis,
    ) -> Result<(Self, Changes), GroupError> {
        judge_all(&mls, suite, trust, at)?;
        let leaf = mls.own_leaf_node().ok_or(GroupError::NotAMember)?;
        let own = uri_of(leaf)?;
        if own != *me.uri() {
            return Err(LeafError::OtherMember { expected: me.uri().clone(), found: own }.into());
        }
        let own = Own { version: OWN_VERSION, uri: own.to_string(), suite: suite.code(), index: index.map(|i| i.0) };
        let standing = standing(id, &mls)?;
        provider.store().put(table::OWN, &(), &own)?;
        let changes = provider.store().drain();
        Ok((Self { id, me: me.uri().clone(), suite, provider, mls: Some(mls), own, standing }, changes))
    }

    /// Reads a group again from all of its pairs.
    ///
    /// # Errors
    /// [`StoreError::Torn`] if they are not those of one moment; [`StoreError::Unreadable`].
    pub fn load(id: GroupId, pairs: impl IntoIterator<Item = (Vec<u8>, Vec<u8>)>) -> Result<Self, GroupError> {
        let provider = Provider::new(Store::load(pairs)?);
        let own: Own = provider.store().get(table::OWN, &())?.ok_or(StoreError::Torn)?;
        let unreadable = |why| StoreError::Unreadable { table: table::OWN, why };
        if own.version != OWN_VERSION {
            return Err(unreadable("it was written by another version of the program").into());
        }
        let me = own.uri.parse().map_err(|_| unreadable("the node's name is none"))?;
        let suite = Suite::from_code(own.suite).ok_or(unreadable("this build lacks the group's ciphersuite"))?;
        let mls = read(id, &provider)?;
        let standing = standing(id, &mls)?;
        Ok(Self { id, me, suite, provider, mls: Some(mls), own, standing })
    }

    /// Its name.
    pub const fn id(&self) -> GroupId {
        self.id
    }

    /// This node's name.
    pub const fn me(&self) -> &NodeUri {
        &self.me
    }

    /// Its ciphersuite.
    pub const fn suite(&self) -> Suite {
        self.suite
    }

    /// Its epoch: the number of commits since it was made.
    pub const fn epoch(&self) -> u64 {
        self.standing.epoch
    }

    /// Ledger index of the last commit taken; none before the first.
    pub fn last_index(&self) -> Option<LeafIndex> {
        self.own.index.map(LeafIndex)
    }

    /// Who is in it, this node included, ascending; empty once this node was removed.
    pub fn members(&self) -> impl Iterator<Item = &NodeUri> {
        self.standing.members.keys()
    }

    /// True if the node is in it.
    pub fn has(&self, uri: &NodeUri) -> bool {
        self.standing.members.contains_key(uri)
    }

    /// The policy bytes that members agree on.
    ///
    /// # Errors
    /// This node was removed.
    pub fn policy(&self) -> Result<&[u8], GroupError> {
        let found = self.mls()?.extensions().iter().find_map(|extension| match extension {
            Extension::Unknown(kind, UnknownExtension(bytes)) if *kind == u16::from(POLICY) => Some(bytes.as_slice()),
            _ => None,
        });
        Ok(found.unwrap_or_default())
    }

    /// `digest(EPOCH, [group, epoch, epoch authenticator])`: the same for all members of the epoch, and of no use to
    /// anyone else. Both nations' logs hold it, so that auditors see a fork.
    pub const fn epoch_hash(&self) -> Digest {
        self.standing.epoch_hash
    }

    /// The PSK with which the content key of one exchange is sealed: `MLS-Exporter("puente/v1/psk", leaf, 32)` of this
    /// epoch, `leaf` being the leaf hash of the exchange's QUERY. Keep it durably before the QUERY's head: a later epoch
    /// cannot make it again.
    ///
    /// # Errors
    /// This node was removed.
    pub fn psk(&self, leaf: &Digest) -> Result<Secret32, GroupError> {
        let secret = self.mls()?.export_secret(self.provider.crypto(), PSK, leaf.as_bytes(), 32);
        let secret = Zeroizing::new(secret.map_err(|error| GroupError::Library(error.to_string()))?);
        let bytes = <[u8; 32]>::try_from(secret.as_slice());
        Ok(Secret32::new(bytes.map_err(|_| GroupError::Library("an exported secret is too short".to_owned()))?))
    }

    /// Members whose leaves would be refused today, and why: suspended, expired, revoked. Remove them.
    ///
    /// # Errors
    /// This node was removed.
    pub fn unfit(&self, trust: &Trust, now: Millis) -> Result<Vec<(NodeUri, LeafError)>, GroupError> {
        let mls = self.mls()?;
        let bench = Bench { trust, suite: self.suite, at: now };
        let mut unfit = Vec::new();
        for (uri, index) in &self.standing.members {
            let leaf = mls.public_group().leaf(*index).ok_or(GroupError::NotAMember)?;
            if let Err(why) = judge(&bench, Door::Replace(uri), leaf, &mut Roster::default()) {
                unfit.push((uri.clone(), why));
            }
        }
        Ok(unfit)
    }

    /// Forgets the group: deletes everything kept of it.
    pub fn forget(self) -> Changes {
        self.provider.store().clear()
    }

    /// Every key that something is kept under.
    pub fn keys(&self) -> Vec<Vec<u8>> {
        self.provider.store().all_keys()
    }

    pub(crate) fn mls(&self) -> Result<&MlsGroup, GroupError> {
        self.mls.as_ref().ok_or(GroupError::NotAMember)
    }

    /// Who stands in it, with their keys.
    pub(crate) fn roster(&self) -> Result<Roster, GroupError> {
        let mls = self.mls()?;
        let mut roster = Roster::default();
        for (uri, index) in &self.standing.members {
            let leaf = mls.public_group().leaf(*index).ok_or(GroupError::NotAMember)?;
            roster.standing(uri.clone(), leaf.signature_key().as_slice());
        }
        Ok(roster)
    }

    /// Does something to the group, whole or not at all.
    ///
    /// `openmls` changes memory as it goes. When `act` fails after something was written, both are put back: the overlay
    /// is dropped and the group read again. Whatever only looks at a message writes nothing before it succeeded, so
    /// that garbage from outside does not cost a reload.
    pub(crate) fn transact<T>(
        &mut self,
        act: impl FnOnce(&mut MlsGroup, &Provider, &mut Own) -> Result<T, GroupError>,
    ) -> Result<(T, Changes), GroupError> {
        let Self { id, provider, mls, own, standing: current, .. } = self;
        let group = mls.as_mut().ok_or(GroupError::NotAMember)?;
        let index = own.index;
        let acted = act(group, provider, own).and_then(|done| {
            if own.index != index {
                provider.store().put(table::OWN, &(), own)?;
            }
            let moved = (group.epoch().as_u64() != current.epoch).then(|| standing(*id, group)).transpose()?;
            Ok((done, moved))
        });
        match acted {
            Ok((done, moved)) => {
                if let Some(moved) = moved {
                    *current = moved;
                }
                Ok((done, provider.store().drain()))
            }
            Err(error) => {
                own.index = index;
                if provider.store().is_dirty() || matches!(error, GroupError::Store(_) | GroupError::Library(_)) {
                    provider.store().roll_back();
                    *mls = None;
                    *mls = Some(read(*id, provider)?);
                }
                Err(error)
            }
        }
    }
}

fn read(id: GroupId, provider: &Provider) -> Result<MlsGroup, GroupError> {
    let mls = MlsGroup::load(provider.store(), &MlsGroupId::from_slice(&id.0))?;
    Ok(mls.ok_or(StoreError::Torn)?)
}

/// Judges every leaf of a group that this node comes into.
pub(crate) fn judge_all(mls: &MlsGroup, suite: Suite, trust: &Trust, at: Millis) -> Result<(), GroupError> {
    let bench = Bench { trust, suite, at };
    let mut roster = Roster::default();
    for member in mls.members() {
        let leaf = mls.public_group().leaf(member.index).ok_or(GroupError::NotAMember)?;
        judge(&bench, Door::Tree, leaf, &mut roster)?;
    }
    limit("members", roster.len(), MEMBERS_MAX)
}

fn standing(id: GroupId, mls: &MlsGroup) -> Result<Standing, GroupError> {
    let mut members = BTreeMap::new();
    for member in mls.members() {
        let leaf = mls.public_group().leaf(member.index).ok_or(GroupError::NotAMember)?;
        members.insert(uri_of(leaf)?, member.index);
    }
    let epoch = mls.epoch().as_u64();
    let epoch_hash = digest(EPOCH, &[&id.0, &epoch.to_be_bytes(), mls.epoch_authenticator().as_slice()]);
    Ok(Standing { epoch, members, epoch_hash })
}

pub(crate) fn join_config() -> MlsGroupJoinConfig {
    MlsGroupJoinConfig::builder()
        .wire_format_policy(PURE_PLAINTEXT_WIRE_FORMAT_POLICY)
        .padding_size(PADDING_BYTES)
        .max_past_epochs(PAST_EPOCHS_MAX)
        .use_ratchet_tree_extension(true)
        .sender_ratchet_configuration(SenderRatchetConfiguration::new(OUT_OF_ORDER_MAX, SKIPPED_MAX))
        .build()
}

/// Until when a key package made now counts. When it begins to count is its certificate's to say: `openmls` compares
/// both with the clock of the machine, which is none of this room's business.
pub(crate) fn lifetime(now: Millis) -> Lifetime {
    Lifetime::init(0, now.plus(KEY_PACKAGE_MILLIS).0 / 1_000)
}

pub(crate) const fn limit(what: &'static str, found: usize, max: usize) -> Result<(), GroupError> {
    if found > max { Err(GroupError::TooLarge { what, found, max }) } else { Ok(()) }
}
