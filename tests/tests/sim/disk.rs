//! A disk in memory: what is durable, and nothing else, survives a crash.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex};

use puente_audit_log::{
    BundleId, ClaimedCheckpoint, ClaimedReceipt, Log, MemoryFiles, ReadError, Signer as _, TileId, TileReader,
    leaf_hash,
};
use puente_exchange::api::{Batch, Store};
use puente_model::Digest;
use puente_wire::proto::{self, Message as _};

use super::world;

/// What a node has on disk.
pub struct Disk {
    node: usize,
    /// k of the log.
    log: u32,
    /// Entries of the logs before it.
    pub closed: Vec<Vec<u8>>,
    /// Files and asides of the log before it.
    pub put_away: Option<(MemoryFiles, usize)>,
    pub entries: Vec<Vec<u8>>,
    pub leaves: HashMap<Digest, u64>,
    /// Every durable head, by size.
    pub heads: BTreeMap<u64, Vec<u8>>,
    pub store: BTreeMap<Vec<u8>, Vec<u8>>,
    pub asides: Vec<Vec<u8>>,
    files: MemoryFiles,
    tree: Log,
    /// Every durable batch, in order: what a backup is made of.
    pub history: Vec<Batch>,
}

impl std::fmt::Debug for Disk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Disk({} entries)", self.entries.len())
    }
}

impl Disk {
    pub fn new(node: usize) -> Self {
        let origin = world::uri(node).origin(1).unwrap();
        Self {
            node,
            log: 1,
            closed: Vec::new(),
            put_away: None,
            entries: Vec::new(),
            leaves: HashMap::new(),
            heads: BTreeMap::new(),
            store: BTreeMap::new(),
            asides: Vec::new(),
            files: MemoryFiles::new(),
            tree: Log::empty(origin.as_str()).unwrap(),
            history: Vec::new(),
        }
    }

    /// The disk as it was after so many batches: a backup of then.
    pub fn backup(&self, batches: usize) -> Self {
        let mut disk = Self::new(self.node);
        self.history.iter().take(batches).for_each(|batch| disk.apply(batch.clone()));
        disk
    }

    /// The log is closed; its successor begins.
    pub fn succeed(&mut self) {
        self.log += 1;
        let origin = world::uri(self.node).origin(self.log).unwrap();
        self.open();
        self.tree = Log::empty(origin.as_str()).unwrap();
        self.put_away = Some((std::mem::take(&mut self.files), self.asides.len()));
        self.closed.append(&mut self.entries);
        self.leaves.clear();
        self.heads.clear();
        self.history.clear();
    }

    /// k of the log.
    pub fn log(&self) -> u32 {
        self.log
    }

    /// The whole batch becomes durable in one step.
    pub fn apply(&mut self, batch: Batch) {
        self.history.push(batch.clone());
        if !batch.checkpoint.is_empty() {
            assert_eq!(batch.first_index.0, self.entries.len() as u64, "a batch must follow the log's end");
            let claimed = ClaimedCheckpoint::parse(&batch.checkpoint).unwrap();
            let head = claimed.verify(world::signer_of(self.node, self.log).verifier()).unwrap();
            let staged = self.tree.stage(&batch.entries).unwrap();
            let size = head.size().0;
            let committed = self.tree.commit(staged.recover(head).unwrap()).unwrap();
            self.files.put(committed.files);
            self.heads.insert(size, batch.checkpoint);
        } else {
            assert!(batch.entries.is_empty(), "entries without a head");
        }
        for entry in batch.entries {
            self.leaves.insert(leaf_hash(&entry), self.entries.len() as u64);
            self.entries.push(entry);
        }
        for (key, value) in batch.puts {
            match value {
                Some(value) => self.store.insert(key, value),
                None => self.store.remove(&key),
            };
        }
        self.asides.extend(batch.asides);
    }

    /// The log as a start finds it.
    pub fn open(&mut self) -> Log {
        let Some(head) = self.tree.head().cloned() else {
            return Log::empty(self.tree.origin()).unwrap();
        };
        self.files.put(self.tree.publish().unwrap());
        Log::open(&head, &self.files).unwrap()
    }

    /// The files of the newest log, and the asides beside it.
    pub fn published(&mut self) -> (&MemoryFiles, &[Vec<u8>]) {
        self.open();
        let before = self.put_away.as_ref().map_or(0, |(_, asides)| *asides);
        (&self.files, &self.asides[before..])
    }

    pub fn size(&self) -> u64 {
        self.entries.len() as u64
    }
}

/// A handle for the engine.
#[derive(Debug, Clone)]
pub struct Shared(pub Arc<Mutex<Disk>>);

impl TileReader for Shared {
    fn tile(&self, id: TileId) -> Result<Vec<u8>, ReadError> {
        self.0.lock().unwrap().files.tile(id)
    }

    fn bundle(&self, id: BundleId) -> Result<Vec<u8>, ReadError> {
        self.0.lock().unwrap().files.bundle(id)
    }
}

impl Store for Shared {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, String> {
        Ok(self.0.lock().unwrap().store.get(key).cloned())
    }

    fn scan(&self, prefix: &[u8], start: &[u8], limit: usize) -> Result<Vec<(Vec<u8>, Vec<u8>)>, String> {
        let disk = self.0.lock().unwrap();
        let from = if start.is_empty() { prefix } else { start };
        let rows = disk.store.range(from.to_vec()..).take_while(|(k, _)| k.starts_with(prefix)).take(limit);
        Ok(rows.map(|(k, v)| (k.clone(), v.clone())).collect())
    }

    fn kept_receipts(&self, origin: &str, from: u64, limit: usize) -> Result<Vec<(Digest, Vec<u8>)>, String> {
        let disk = self.0.lock().unwrap();
        let mut out = Vec::new();
        for bytes in &disk.asides {
            let aside = proto::Aside::decode(bytes.as_slice()).unwrap();
            let Some(proto::aside::Body::PeerReceipt(receipt)) = aside.body else { continue };
            let claimed = ClaimedReceipt::parse(&receipt).unwrap();
            if claimed.checkpoint().claimed().origin() == origin && claimed.index().0 >= from && out.len() < limit {
                out.push((Digest::try_from(aside.leaf_hash.as_slice()).unwrap(), receipt));
            }
        }
        Ok(out)
    }
}
