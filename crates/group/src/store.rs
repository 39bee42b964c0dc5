//! What a group keeps: pairs in memory, and which of them changed.
//!
//! `openmls` writes through a storage provider, one call for every piece of state; a merge is a dozen calls. Here they
//! land in an overlay. When the operation succeeded, what really changed is drained as [`Changes`], which the caller
//! makes durable together with whatever else belongs to the same step; when it failed, the overlay is dropped and the
//! group read again from what stood before. So there is no half-written group, and no second database whose commits
//! would have to be kept in step with the node's journal.
//!
//! One value, the seal, is the hash over all others: pairs of two different moments do not load.

mod provider;

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use puente_model::{Digest, Label, digest};
use serde::Serialize;
use serde::de::DeserializeOwned;
use zeroize::{Zeroize as _, Zeroizing};

/// `digest(STATE, [key, SHA-256(value)]*)`, keys ascending: what the seal holds.
const STATE: Label = Label("puente/v1/group-state");

/// Kinds of values: the first byte of every key.
pub(crate) mod table {
    pub(crate) const SEAL: u8 = 0;
    pub(crate) const OWN: u8 = 1;
    pub(crate) const PENDING: u8 = 2;
    pub(crate) const STOCK: u8 = 3;
    pub(crate) const KEY_PACKAGE: u8 = 16;
    pub(crate) const PSK: u8 = 17;
    pub(crate) const ENCRYPTION_KEY: u8 = 18;
    pub(crate) const SIGNATURE_KEY: u8 = 19;
    pub(crate) const EPOCH_KEYS: u8 = 20;
    pub(crate) const TREE: u8 = 21;
    pub(crate) const CONTEXT: u8 = 22;
    pub(crate) const INTERIM: u8 = 23;
    pub(crate) const CONFIRMATION: u8 = 24;
    pub(crate) const CONFIG: u8 = 25;
    pub(crate) const OWN_LEAVES: u8 = 26;
    pub(crate) const STATE: u8 = 27;
    pub(crate) const PROPOSAL: u8 = 28;
    pub(crate) const PROPOSALS: u8 = 29;
    pub(crate) const OWN_INDEX: u8 = 30;
    pub(crate) const EPOCH_SECRETS: u8 = 31;
    pub(crate) const RESUMPTION: u8 = 32;
    pub(crate) const MESSAGE_SECRETS: u8 = 33;
}

/// Why kept state could not be read or written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// The pairs are not those of one moment: some are missing, altered, or older than others.
    #[error(
        "the kept state of the group is torn: its pairs are not those of one moment; restore all of them together, or leave it and rejoin"
    )]
    Torn,
    /// A pair that this version of the program cannot read.
    #[error("kept state of the group cannot be read (table {table}): {why}")]
    Unreadable {
        /// Kind of the value.
        table: u8,
        /// What the codec says; it names no content.
        why: &'static str,
    },
    /// A value that cannot be written.
    #[error("state of the group cannot be kept (table {table})")]
    Unwritable {
        /// Kind of the value.
        table: u8,
    },
}

/// Pairs to make durable, in one transaction with everything else that belongs to the same step, **before** anything
/// that came of the operation leaves the node.
///
/// Values hold keys: encrypt them at rest. Keys hold no names and no secrets; put a prefix of your own before them.
/// Dropping changes that were not made durable means dropping the group that they came from, too, and loading it again.
#[must_use = "a group whose changes are not made durable must be dropped and loaded again"]
#[derive(Default)]
pub struct Changes {
    puts: Vec<(Vec<u8>, Put)>,
}

/// A new value; `None` deletes.
type Put = Option<Zeroizing<Vec<u8>>>;

impl Changes {
    /// Keys and new values, ascending; `None` deletes.
    pub fn into_puts(self) -> Vec<(Vec<u8>, Option<Vec<u8>>)> {
        self.puts.into_iter().map(|(key, value)| (key, value.map(|mut v| std::mem::take(&mut *v)))).collect()
    }

    /// The same, and whatever stands under `old` keys is deleted, where nothing is put in its place.
    pub(crate) fn instead_of(mut self, old: impl IntoIterator<Item = Vec<u8>>) -> Self {
        let put: BTreeSet<Vec<u8>> = self.puts.iter().map(|(key, _)| key.clone()).collect();
        self.puts.extend(old.into_iter().filter(|key| !put.contains(key)).map(|key| (key, None)));
        self
    }

    /// Nothing changed.
    pub fn is_empty(&self) -> bool {
        self.puts.is_empty()
    }

    /// Bytes of all keys and values.
    pub fn bytes(&self) -> usize {
        self.puts.iter().map(|(key, value)| key.len() + value.as_ref().map_or(0, |v| v.len())).sum()
    }
}

impl fmt::Debug for Changes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Changes({} pairs, {} bytes)", self.puts.len(), self.bytes())
    }
}

struct Value {
    bytes: Zeroizing<Vec<u8>>,
    hash: Digest,
}

/// The pairs of one group, or of the stock of key packages.
#[derive(Default)]
pub(crate) struct Store {
    pairs: RefCell<Pairs>,
}

#[derive(Default)]
struct Pairs {
    durable: BTreeMap<Vec<u8>, Value>,
    overlay: BTreeMap<Vec<u8>, Option<Value>>,
}

impl Store {
    /// From all pairs of a moment.
    pub(crate) fn load(pairs: impl IntoIterator<Item = (Vec<u8>, Vec<u8>)>) -> Result<Self, StoreError> {
        let mut seal = None;
        let mut durable = BTreeMap::new();
        for (key, value) in pairs {
            let value = Zeroizing::new(value);
            if key == [table::SEAL] {
                seal = Some(value);
            } else {
                durable.insert(key, Value { hash: Digest::of(&value), bytes: value });
            }
        }
        match seal {
            None if durable.is_empty() => {}
            Some(seal) if seal.as_slice() == sealed(&durable).as_bytes() => {}
            _ => return Err(StoreError::Torn),
        }
        Ok(Self { pairs: RefCell::new(Pairs { durable, overlay: BTreeMap::new() }) })
    }

    /// Takes the overlay over, and says what changed.
    pub(crate) fn drain(&self) -> Changes {
        let mut pairs = self.pairs.borrow_mut();
        let Pairs { durable, overlay } = &mut *pairs;
        let mut puts = Vec::with_capacity(overlay.len() + 1);
        for (key, value) in std::mem::take(overlay) {
            match value {
                Some(value) if durable.get(&key).is_none_or(|old| old.hash != value.hash) => {
                    puts.push((key.clone(), Some(value.bytes.clone())));
                    durable.insert(key, value);
                }
                None if durable.remove(&key).is_some() => puts.push((key, None)),
                _ => {}
            }
        }
        if !puts.is_empty() {
            puts.insert(0, (vec![table::SEAL], Some(Zeroizing::new(sealed(durable).0.to_vec()))));
        }
        Changes { puts }
    }

    /// Something was written since the last [`Store::drain`].
    pub(crate) fn is_dirty(&self) -> bool {
        !self.pairs.borrow().overlay.is_empty()
    }

    /// Every key, the seal's included.
    pub(crate) fn all_keys(&self) -> Vec<Vec<u8>> {
        std::iter::once(vec![table::SEAL]).chain(self.pairs.borrow().durable.keys().cloned()).collect()
    }

    /// Forgets what was written since the last [`Store::drain`].
    pub(crate) fn roll_back(&self) {
        self.pairs.borrow_mut().overlay.clear();
    }

    /// Deletes every pair.
    pub(crate) fn clear(&self) -> Changes {
        let mut pairs = self.pairs.borrow_mut();
        pairs.overlay.clear();
        let durable = std::mem::take(&mut pairs.durable);
        let mut puts: Vec<_> = durable.into_keys().map(|key| (key, None)).collect();
        if !puts.is_empty() {
            puts.insert(0, (vec![table::SEAL], None));
        }
        Changes { puts }
    }

    /// Serialised values under every key of a table.
    pub(crate) fn keys(&self, table: u8) -> Vec<Vec<u8>> {
        let pairs = self.pairs.borrow();
        let Pairs { durable, overlay } = &*pairs;
        let is_of = |key: &&Vec<u8>| key.first() == Some(&table);
        let mut keys: Vec<Vec<u8>> =
            durable.keys().filter(is_of).filter(|k| !overlay.contains_key(*k)).cloned().collect();
        keys.extend(overlay.iter().filter(|(k, v)| is_of(k) && v.is_some()).map(|(k, _)| k.clone()));
        keys
    }

    /// The key of a value.
    pub(crate) fn key(table: u8, key: &impl Serialize) -> Result<Vec<u8>, StoreError> {
        let mut bytes = vec![table];
        ciborium::into_writer(key, &mut bytes).map_err(|_| StoreError::Unwritable { table })?;
        Ok(bytes)
    }

    /// Writes a value.
    pub(crate) fn put(&self, table: u8, key: &impl Serialize, value: &impl Serialize) -> Result<(), StoreError> {
        self.put_raw(Self::key(table, key)?, value)
    }

    /// Writes the value under a key of [`Store::keys`].
    pub(crate) fn put_raw(&self, key: Vec<u8>, value: &impl Serialize) -> Result<(), StoreError> {
        let table = key.first().copied().unwrap_or_default();
        let mut bytes = Wiped(Zeroizing::new(Vec::with_capacity(512)));
        ciborium::into_writer(value, &mut bytes).map_err(|_| StoreError::Unwritable { table })?;
        let value = Value { hash: Digest::of(&bytes.0), bytes: bytes.0 };
        self.pairs.borrow_mut().overlay.insert(key, Some(value));
        Ok(())
    }

    /// Reads a value.
    pub(crate) fn get<T: DeserializeOwned>(&self, table: u8, key: &impl Serialize) -> Result<Option<T>, StoreError> {
        self.get_raw(&Self::key(table, key)?)
    }

    /// Reads the value under a key of [`Store::keys`].
    pub(crate) fn get_raw<T: DeserializeOwned>(&self, key: &[u8]) -> Result<Option<T>, StoreError> {
        let pairs = self.pairs.borrow();
        let value = match pairs.overlay.get(key) {
            Some(value) => value.as_ref(),
            None => pairs.durable.get(key),
        };
        let Some(value) = value else { return Ok(None) };
        let table = key.first().copied().unwrap_or_default();
        let mut bytes = value.bytes.as_slice();
        let read = ciborium::from_reader(&mut bytes);
        let unreadable = |why| StoreError::Unreadable { table, why };
        let read = read.map_err(|_| unreadable("its encoding is not the expected one"))?;
        if bytes.is_empty() { Ok(Some(read)) } else { Err(unreadable("something follows the value")) }
    }

    /// Deletes a value.
    pub(crate) fn delete(&self, table: u8, key: &impl Serialize) -> Result<(), StoreError> {
        self.delete_raw(Self::key(table, key)?);
        Ok(())
    }

    /// Deletes the value under a key of [`Store::keys`].
    pub(crate) fn delete_raw(&self, key: Vec<u8>) {
        self.pairs.borrow_mut().overlay.insert(key, None);
    }

    /// Copies the value under a key into another store's overlay; false if there is none.
    pub(crate) fn lend(&self, key: &[u8], to: &Self) -> bool {
        let pairs = self.pairs.borrow();
        let Some(value) = pairs.durable.get(key) else { return false };
        let value = Value { bytes: value.bytes.clone(), hash: value.hash };
        to.pairs.borrow_mut().overlay.insert(key.to_vec(), Some(value));
        true
    }
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Store({} pairs)", self.pairs.borrow().durable.len())
    }
}

fn sealed(durable: &BTreeMap<Vec<u8>, Value>) -> Digest {
    let parts: Vec<&[u8]> = durable.iter().flat_map(|(k, v)| [k.as_slice(), v.hash.as_bytes().as_slice()]).collect();
    digest(STATE, &parts)
}

/// A growing buffer that leaves no copy of what it held where it grew from.
struct Wiped(Zeroizing<Vec<u8>>);

impl ciborium_io::Write for &mut Wiped {
    type Error = std::convert::Infallible;

    fn write_all(&mut self, data: &[u8]) -> Result<(), Self::Error> {
        let needed = self.0.len() + data.len();
        if needed > self.0.capacity() {
            let mut grown = Vec::with_capacity(needed.max(2 * self.0.capacity()));
            grown.extend_from_slice(&self.0);
            self.0.zeroize();
            self.0 = Zeroizing::new(grown);
        }
        self.0.extend_from_slice(data);
        Ok(())
    }

    fn flush(&mut self) -> Result<(), Self::Error> {
        Ok(())
    }
}
