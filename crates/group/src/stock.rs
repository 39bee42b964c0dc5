//! Key packages: what a node leaves with others so that they can add it to groups.

use std::fmt;

use ciborium::Value;
use openmls::prelude::{KeyPackage, MlsMessageBodyIn, MlsMessageIn, StagedWelcome};
use openmls::schedule::PreSharedKeyId;
use openmls_traits::OpenMlsProvider as _;
use puente_model::{Millis, NodeUri, Secret32, commit_hash};
use serde::{Deserialize, Serialize};
use tls_codec::DeserializeBytes as _;

use crate::commit::write_key_package;
use crate::error::GroupError;
use crate::group::{Group, join_config, lifetime, limit};
use crate::identity::Identity;
use crate::leaf::{capabilities, fresh};
use crate::limits::{COMMIT_BYTES_MAX, KEY_PACKAGE_MILLIS, PSKS_PER_COMMIT_MAX, STOCK, STOCK_LOW, WELCOME_BYTES_MAX};
use crate::ordered::Ordered;
use crate::process::{confirms, group_of};
use crate::provider::Provider;
use crate::store::{Changes, Store, StoreError, table};
use crate::suite::Suite;
use crate::trust::Trust;

/// One key package of the stock; its private keys stand under the same reference in a table of their own.
#[derive(Serialize, Deserialize)]
struct Entry {
    suite: u16,
    /// Milliseconds since 1970.
    not_after: u64,
    last_resort: bool,
    used: bool,
    /// The public key that it is signed with.
    holder: Value,
    key: Value,
    bytes: Value,
}

impl Entry {
    fn is_of(&self, me: &Identity) -> bool {
        self.holder.as_bytes().is_some_and(|key| key == me.key())
    }

    fn usable(&self, me: &Identity, now: Millis) -> bool {
        self.is_of(me) && fresh(Millis(self.not_after), now).is_ok()
    }
}

/// A key package to hand out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Published {
    /// What others add this node with.
    pub bytes: Vec<u8>,
    /// Only when no other is left: it may be used more than once.
    pub last_resort: bool,
}

/// How many key packages are ready.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Left {
    /// For one use each.
    pub single: usize,
    /// One of last resort is there, and was not used yet.
    pub last_resort: bool,
}

impl Left {
    /// Time to make more.
    pub const fn is_low(self) -> bool {
        self.single < STOCK_LOW || !self.last_resort
    }
}

/// This node's key packages, with their private keys.
///
/// Each serves once: the private keys are deleted by the join that they served. One a suite is of last resort, so that
/// a node that is away can still be added when the others are used up: it is to be handed out only when nothing else is
/// left, stays usable until [`Stock::replenish`] puts a new one in its place, which [`Left::is_low`] asks for as soon as
/// it was used once. In between, who steals the node's store could read a Welcome that came before.
pub struct Stock {
    store: Store,
}

impl fmt::Debug for Stock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Stock(..)")
    }
}

/// A group that this node came into.
#[derive(Debug)]
pub struct Joined {
    /// The group.
    pub group: Group,
    /// Who added this node.
    pub by: NodeUri,
    /// What to keep for the group.
    pub group_changes: Changes,
    /// What changed in the stock: in the same transaction.
    pub stock_changes: Changes,
}

impl Stock {
    /// An empty one.
    pub fn new() -> Self {
        Self { store: Store::default() }
    }

    /// Reads it again from all of its pairs.
    ///
    /// # Errors
    /// [`StoreError::Torn`].
    pub fn load(pairs: impl IntoIterator<Item = (Vec<u8>, Vec<u8>)>) -> Result<Self, StoreError> {
        Ok(Self { store: Store::load(pairs)? })
    }

    /// How many are ready for groups of `suite` now: those of this very identity, with enough of their life left to be used.
    ///
    /// # Errors
    /// Kept state that cannot be read.
    pub fn left(&self, me: &Identity, suite: Suite, now: Millis) -> Result<Left, StoreError> {
        let mut left = Left { single: 0, last_resort: false };
        for (_, entry) in self.entries(suite)? {
            let usable = entry.usable(me, now);
            left.single += usize::from(usable && !entry.last_resort);
            left.last_resort |= usable && entry.last_resort && !entry.used;
        }
        Ok(left)
    }

    /// Those to hand out for groups of `suite`, the one of last resort at the end.
    ///
    /// # Errors
    /// Kept state that cannot be read.
    pub fn published(&self, me: &Identity, suite: Suite, now: Millis) -> Result<Vec<Published>, StoreError> {
        let mut published = Vec::new();
        for (_, entry) in self.entries(suite)? {
            if entry.usable(me, now) {
                published.push(Published { bytes: bytes(entry.bytes)?, last_resort: entry.last_resort });
            }
        }
        published.sort_by_key(|p| p.last_resort);
        Ok(published)
    }

    /// Makes as many as are missing, replaces the one of last resort if it was used, and deletes those that nobody will
    /// use any more: what another identity of this node signed would bring a leaf into a group that it cannot act with. Make the changes durable before the new ones are handed out.
    ///
    /// # Errors
    /// An identity of another scheme than the suite's; its key does not sign.
    pub fn replenish(&mut self, me: &Identity, suite: Suite, now: Millis) -> Result<Changes, GroupError> {
        if !me.fits(suite) {
            return Err(GroupError::WrongScheme(suite.code()));
        }
        let mut left = self.left(me, suite, now)?;
        for (key, entry) in self.entries(suite)? {
            let replaced = entry.last_resort && (entry.used || fresh(Millis(entry.not_after), now).is_err());
            if entry.not_after < now.0 || replaced || !entry.is_of(me) {
                self.store.delete_raw(bytes(entry.key)?);
                self.store.delete_raw(key);
            }
        }
        let made = loop {
            let last_resort = left.single >= STOCK;
            if last_resort && left.last_resort {
                break Ok(());
            }
            if let Err(error) = self.make(me, suite, now, last_resort) {
                break Err(error);
            }
            left.single += usize::from(!last_resort);
            left.last_resort |= last_resort;
        };
        if let Err(error) = made {
            self.store.roll_back();
            return Err(error);
        }
        Ok(self.store.drain())
    }

    fn make(&self, me: &Identity, suite: Suite, now: Millis, last_resort: bool) -> Result<(), GroupError> {
        let scratch = Provider::new(Store::default());
        let builder =
            KeyPackage::builder().leaf_node_capabilities(capabilities(suite)).key_package_lifetime(lifetime(now));
        let builder = if last_resort { builder.mark_as_last_resort() } else { builder };
        let made = builder.build(suite.mls(), &scratch, me, me.credential());
        let made = made.map_err(|error| GroupError::BadKeyPackage(error.to_string()))?;
        let reference = made.key_package().hash_ref(scratch.crypto());
        let reference = reference.map_err(|error| GroupError::Library(error.to_string()))?;
        let key = Store::key(table::KEY_PACKAGE, &reference)?;
        let entry = Entry {
            suite: suite.code(),
            not_after: now.plus(KEY_PACKAGE_MILLIS).0,
            last_resort,
            used: false,
            holder: Value::Bytes(me.key().to_vec()),
            key: Value::Bytes(key),
            bytes: Value::Bytes(write_key_package(made.key_package())?),
        };
        self.store.put(table::KEY_PACKAGE, &reference, &made)?;
        self.store.put(table::STOCK, &reference, &entry)?;
        Ok(())
    }

    /// Comes into a group with a Welcome, on the proof that the commit which it belongs to was ordered. Every leaf of the
    /// group is judged at the moment of the order. `psks` are those that the commit takes in; `old` the keys of whatever
    /// is still kept of an earlier membership of the same group.
    ///
    /// # Errors
    /// [`GroupError::NoKeyPackage`]; [`GroupError::NotItsIdentity`], if it answers a key package of an earlier certificate;
    /// [`GroupError::WelcomeOfOtherCommit`]; a leaf that may not stand in a group. Nothing
    /// changed then: the key package is still there.
    #[allow(clippy::too_many_arguments)]
    pub fn join(
        &mut self,
        me: &Identity,
        welcome: &[u8],
        commit: &[u8],
        ordered: &Ordered,
        trust: &Trust,
        psks: &[(Vec<u8>, Secret32)],
        old: impl IntoIterator<Item = Vec<u8>>,
    ) -> Result<Joined, GroupError> {
        limit("bytes of a Welcome", welcome.len(), WELCOME_BYTES_MAX)?;
        limit("bytes of a commit", commit.len(), COMMIT_BYTES_MAX)?;
        limit("pre-shared keys of one commit", psks.len(), PSKS_PER_COMMIT_MAX)?;
        if commit_hash(commit) != ordered.commit() {
            return Err(GroupError::OtherCommit { found: ordered.commit() });
        }
        let read = MlsMessageIn::tls_deserialize_exact_bytes(welcome).map_err(|_| GroupError::Malformed("Welcome"))?;
        let MlsMessageBodyIn::Welcome(welcome) = read.extract() else { return Err(GroupError::Malformed("Welcome")) };
        let suite = Suite::from_code(u16::from(welcome.ciphersuite()));
        let suite = suite.ok_or_else(|| GroupError::BadWelcome("its ciphersuite is not used here".to_owned()))?;

        // The library deletes the key package as soon as it looks at it: it looks at a copy.
        let scratch = Store::default();
        let mut mine = None;
        for secrets in welcome.secrets() {
            let key = Store::key(table::KEY_PACKAGE, &secrets.new_member())?;
            if self.store.lend(&key, &scratch) {
                mine = Some((key, Store::key(table::STOCK, &secrets.new_member())?));
                break;
            }
        }
        let Some((private, entry)) = mine else { return Err(GroupError::NoKeyPackage) };
        let provider = Provider::new(scratch);
        for (name, secret) in psks {
            let id = PreSharedKeyId::external(name.clone(), vec![0; suite.mls().hash_length()]);
            id.store(&provider, secret.expose()).map_err(|error| GroupError::Library(error.to_string()))?;
        }
        let bad = |error: &dyn fmt::Display| GroupError::BadWelcome(error.to_string());
        let builder = StagedWelcome::build_from_welcome(&provider, &join_config(), welcome).map_err(|e| bad(&e))?;
        // Lifetimes are judged by the moment of the order, not by the machine's clock.
        let staged = builder.skip_lifetime_validation().build().map_err(|e| bad(&e))?;
        let by = crate::leaf::uri_of(staged.welcome_sender().map_err(|e| bad(&e))?)?;
        let mls = staged.into_group(&provider).map_err(|e| bad(&e))?;
        if mls.own_leaf_node().is_none_or(|leaf| leaf.signature_key().as_slice() != me.key()) {
            return Err(GroupError::NotItsIdentity);
        }
        let id = group_of(mls.group_id().as_slice());
        let id = id.ok_or_else(|| GroupError::BadWelcome("its group has no name of 32 bytes".to_owned()))?;
        if id != ordered.group() {
            return Err(GroupError::OtherGroup);
        }
        if mls.epoch().as_u64() != ordered.epoch().saturating_add(1) || !confirms(commit, &mls)? {
            return Err(GroupError::WelcomeOfOtherCommit);
        }
        provider.store().delete_raw(private.clone());
        for (name, _) in psks {
            provider.store().delete(table::PSK, PreSharedKeyId::external(name.clone(), Vec::new()).psk())?;
        }
        let (group, group_changes) =
            Group::enter(id, suite, me, provider, mls, Some(ordered.index()), trust, ordered.at())?;
        let group_changes = group_changes.instead_of(old);
        let mut used: Entry = self.store.get_raw(&entry)?.ok_or(StoreError::Torn)?;
        if used.last_resort {
            used.used = true;
            self.store.put_raw(entry, &used)?;
        } else {
            self.store.delete_raw(private);
            self.store.delete_raw(entry);
        }
        Ok(Joined { group, by, group_changes, stock_changes: self.store.drain() })
    }

    fn entries(&self, suite: Suite) -> Result<Vec<(Vec<u8>, Entry)>, StoreError> {
        let mut entries = Vec::new();
        for key in self.store.keys(table::STOCK) {
            let entry: Entry = self.store.get_raw(&key)?.ok_or(StoreError::Torn)?;
            if entry.suite == suite.code() {
                entries.push((key, entry));
            }
        }
        Ok(entries)
    }
}

impl Default for Stock {
    fn default() -> Self {
        Self::new()
    }
}

fn bytes(value: Value) -> Result<Vec<u8>, StoreError> {
    value.into_bytes().map_err(|_| StoreError::Torn)
}
