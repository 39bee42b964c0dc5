//! The append side: one writer, and what it holds in memory.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use puente_model::limits::{BATCH_ENTRIES_MAX, ENTRY_BYTES_MAX};
use puente_model::{Digest, LeafIndex, TreeSize};

use crate::bundle::{Entries, frame};
use crate::checkpoint::{Checkpoint, CheckpointError, SignedCheckpoint, TREE_SIZE_MAX};
use crate::edge::{Edge, Growth};
use crate::hash::leaf_hash;
use crate::proof::verify_inclusion;
use crate::prove::{
    Nodes, ProveError, TileNodes, check_index, consistency_path, inclusion_path, needs_consistency, right_edge,
};
use crate::reader::TileReader;
use crate::receipt::Receipt;
use crate::second;
use crate::staged::{Committed, Persisted, SigningGuard, Staged};
use crate::tile::{BundleId, LogFile, LogPath, TILE_WIDTH, TileId, encode_tile};

/// Why a batch could not be staged. The log is as it was.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StageError {
    /// More entries than a batch may have.
    #[error("the batch has {found} entries; at most {BATCH_ENTRIES_MAX} are staged at once")]
    TooMany {
        /// Entries found.
        found: usize,
    },
    /// An entry that no bundle can hold.
    #[error("entry {at} of the batch has {found} bytes; a log entry has at most {ENTRY_BYTES_MAX}")]
    EntryTooLong {
        /// Its position in the batch, from 0.
        at: usize,
        /// Its length in bytes.
        found: usize,
    },
    /// The tree would outgrow what other implementations read.
    #[error("the log is full: start a successor log")]
    Full,
    /// The two computations of a completed tile disagree: memory or processor are failing.
    #[error("tile {level}/{index} was computed twice with different results: stop this machine and test its memory")]
    TileDisagrees {
        /// The tile's level.
        level: u8,
        /// The tile's position in its level.
        index: u64,
    },
    /// The checkpoint could not be stated (the origin was checked before, so this is our bug).
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
}

/// Why a persisted batch could not be committed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CommitError {
    /// The batch was staged on another state of the log.
    #[error("the batch was staged at size {staged}, the log is at {have}: stage it again from the current state")]
    Stale {
        /// Size that it was staged on.
        staged: TreeSize,
        /// Size of the log.
        have: TreeSize,
    },
}

/// One log being written. It holds the right edge only: O(log n) memory.
///
/// `stage` computes, [`Staged::sign`] signs, [`crate::Sealed::persist`] makes durable, `commit` takes in:
/// each step needs the value of the one before, and nothing to be released comes
/// out before the last.
pub struct Log {
    origin: String,
    edge: Edge,
    /// Framed entries of the partial bundle.
    partial: Vec<u8>,
    head: Option<SignedCheckpoint>,
    last_first: u64,
    guard: Arc<Mutex<SigningGuard>>,
}

impl fmt::Debug for Log {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Log({} size {} root {})", self.origin, self.size(), self.root())
    }
}

impl Log {
    /// A log without entries. Its first head is signed by staging an empty batch.
    pub fn empty(origin: &str) -> Result<Self, CheckpointError> {
        Checkpoint::new(origin, TreeSize(0), crate::hash::empty_root())?;
        Ok(Self::assemble(origin, Edge::default(), Vec::new(), None))
    }

    pub(crate) fn assemble(origin: &str, edge: Edge, partial: Vec<u8>, head: Option<SignedCheckpoint>) -> Self {
        let guard = Arc::new(Mutex::new(SigningGuard::new(edge.size())));
        let last_first = edge.size();
        Self { origin: origin.to_owned(), edge, partial, head, last_first, guard }
    }

    /// The log's name.
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// How many entries are committed.
    pub fn size(&self) -> TreeSize {
        TreeSize(self.edge.size())
    }

    /// Root of the committed tree.
    pub fn root(&self) -> Digest {
        self.edge.root()
    }

    /// The newest committed head; none before the first.
    pub const fn head(&self) -> Option<&SignedCheckpoint> {
        self.head.as_ref()
    }

    /// Computes what the log becomes with these entries, changing nothing.
    ///
    /// Every tile and bundle that they complete is computed a second way and compared.
    pub fn stage<E: AsRef<[u8]>>(&self, entries: &[E]) -> Result<Staged, StageError> {
        if entries.len() > BATCH_ENTRIES_MAX {
            return Err(StageError::TooMany { found: entries.len() });
        }
        let base = self.edge.size();
        if base.checked_add(entries.len() as u64).is_none_or(|size| size > TREE_SIZE_MAX) {
            return Err(StageError::Full);
        }
        let mut growth = self.edge.grow();
        let mut framed = Vec::with_capacity(entries.iter().map(|e| e.as_ref().len() + 2).sum());
        let mut bundles = Vec::new();
        let mut cut = 0;
        for (at, entry) in entries.iter().enumerate() {
            let entry = entry.as_ref();
            frame(&mut framed, entry).map_err(|_| StageError::EntryTooLong { at, found: entry.len() })?;
            growth.push(leaf_hash(entry));
            if growth.size().is_multiple_of(u64::from(TILE_WIDTH)) {
                let before: &[u8] = if bundles.is_empty() { &self.partial } else { &[] };
                bundles.push([before, &framed[cut..]].concat());
                cut = framed.len();
            }
        }
        let files = self.completed(base, &growth, bundles)?;
        let checkpoint = Checkpoint::new(&self.origin, TreeSize(growth.size()), growth.root())?;
        Ok(Staged::new(base, growth, framed, cut, files, checkpoint, Arc::clone(&self.guard)))
    }

    /// The files that a batch completes, each checked the second way.
    fn completed(&self, base: u64, growth: &Growth, bundles: Vec<Vec<u8>>) -> Result<Vec<LogFile>, StageError> {
        let width = u64::from(TILE_WIDTH);
        let mut files = Vec::with_capacity(2 * bundles.len());
        let mut bundles = bundles.into_iter();
        for level in 0..8_u8 {
            let height = 8 * usize::from(level);
            let (from, to) = (base >> height >> 8, growth.size() >> height >> 8);
            for index in from..to {
                let disagrees = StageError::TileDisagrees { level, index };
                let hashes: Option<Vec<Digest>> =
                    (index * width..(index + 1) * width).map(|at| self.edge.grown_node(growth, height, at)).collect();
                let hashes = hashes.ok_or(disagrees.clone())?;
                if level == 0 {
                    let bytes = bundles.next().ok_or(disagrees.clone())?;
                    let again: Option<Vec<Digest>> =
                        Entries::new(&bytes).map(|entry| entry.ok().map(second::leaf)).collect();
                    if again.as_ref() != Some(&hashes) {
                        return Err(disagrees);
                    }
                    files.push(LogFile { path: BundleId::full(index).into(), bytes });
                }
                if second::root(&hashes) != self.edge.grown_node(growth, height + 8, index) {
                    return Err(disagrees);
                }
                files.push(LogFile { path: TileId::full(level, index).into(), bytes: encode_tile(&hashes) });
            }
        }
        Ok(files)
    }

    /// Takes in a batch that is durable. From here on its head, receipts and files may be released.
    pub fn commit(&mut self, persisted: Persisted) -> Result<Committed, CommitError> {
        let (staged, head) = persisted.into_parts();
        let base = self.edge.size();
        if staged.base != base || !Arc::ptr_eq(&staged.guard, &self.guard) {
            return Err(CommitError::Stale { staged: TreeSize(staged.base), have: TreeSize(base) });
        }
        let leaves = staged.growth.leaves().to_vec();
        if staged.cut > 0 {
            self.partial.clear();
        }
        self.partial.extend_from_slice(&staged.framed[staged.cut..]);
        self.edge.apply(staged.growth);
        self.last_first = base;
        self.head = Some(head.clone());
        *self.guard.lock().unwrap_or_else(PoisonError::into_inner) = SigningGuard::new(self.edge.size());
        Ok(Committed { head, first: LeafIndex(base), leaves, files: staged.files })
    }

    /// The partial tiles, the partial bundle and, last, the checkpoint of the committed size.
    ///
    /// Write the full files of every [`Committed`] first, then these in order, the
    /// checkpoint by an atomic replacement. None before the first head.
    pub fn publish(&self) -> Option<Vec<LogFile>> {
        let head = self.head.as_ref()?;
        let size = self.edge.size();
        let mut files = Vec::new();
        if let Ok(id) = BundleId::new(size >> 8, (size % 256) as u16) {
            files.push(LogFile { path: id.into(), bytes: self.partial.clone() });
        }
        for level in 0..8_u8 {
            let hashes = size >> (8 * level);
            let Ok(id) = TileId::new(level, hashes >> 8, (hashes % 256) as u16) else { continue };
            let nodes: Vec<Digest> =
                (hashes >> 8 << 8..hashes).filter_map(|at| self.edge.node(8 * usize::from(level), at)).collect();
            files.push(LogFile { path: id.into(), bytes: encode_tile(&nodes) });
        }
        files.push(LogFile { path: LogPath::Checkpoint, bytes: head.note_bytes().to_vec() });
        Some(files)
    }

    /// An inclusion proof for entry `index` in the tree of `size` entries, now or then.
    ///
    /// Memory is asked first; the reader only for full tiles that are no longer new.
    pub fn prove_inclusion(
        &self,
        index: LeafIndex,
        size: TreeSize,
        reader: &dyn TileReader,
    ) -> Result<Vec<Digest>, ProveError> {
        check_index(index, size)?;
        let mut nodes = self.nodes(size, reader)?;
        let edge = right_edge(&mut nodes, size.0)?;
        let path = inclusion_path(&mut nodes, &edge, index.0, size.0)?;
        if size == self.size() {
            let leaf = nodes.node(0, index.0)?;
            verify_inclusion(index, size, &leaf, &path, &self.root()).map_err(|_| ProveError::Damaged)?;
        }
        Ok(path)
    }

    /// A consistency proof between two sizes of this log.
    pub fn prove_consistency(
        &self,
        old: TreeSize,
        new: TreeSize,
        reader: &dyn TileReader,
    ) -> Result<Vec<Digest>, ProveError> {
        if !needs_consistency(old, new)? {
            return Ok(Vec::new());
        }
        let mut nodes = self.nodes(new, reader)?;
        let edge = right_edge(&mut nodes, new.0)?;
        consistency_path(&mut nodes, &edge, old.0, new.0)
    }

    /// A receipt for entry `index` under the newest head.
    pub fn receipt(&self, index: LeafIndex, reader: &dyn TileReader) -> Result<Receipt, ProveError> {
        let head = self.head.clone().ok_or(ProveError::Future { asked: TreeSize(index.0 + 1), have: self.size() })?;
        let hashes = self.prove_inclusion(index, self.size(), reader)?;
        let leaf = self.nodes(self.size(), reader)?.node(0, index.0)?;
        Ok(Receipt::from_own_tree(leaf, index, hashes, head))
    }

    /// Receipts for all entries of the last commit, in order, under its head. Reads no file and hashes
    /// only the right edge.
    pub fn last_receipts(&self) -> Result<Vec<Receipt>, ProveError> {
        let Some(head) = &self.head else { return Ok(Vec::new()) };
        let size = self.edge.size();
        let mut nodes = Memory(&self.edge);
        let edge = right_edge(&mut nodes, size)?;
        (self.last_first..size)
            .map(|index| {
                let hashes = inclusion_path(&mut nodes, &edge, index, size)?;
                let leaf = nodes.node(0, index)?;
                Ok(Receipt::from_own_tree(leaf, LeafIndex(index), hashes, head.clone()))
            })
            .collect()
    }

    fn nodes<'a>(&'a self, size: TreeSize, reader: &'a dyn TileReader) -> Result<Overlay<'a>, ProveError> {
        if size > self.size() {
            return Err(ProveError::Future { asked: size, have: self.size() });
        }
        Ok(Overlay { edge: &self.edge, tiles: TileNodes::new(reader, self.edge.size()) })
    }
}

/// Memory alone.
struct Memory<'a>(&'a Edge);

impl Nodes for Memory<'_> {
    fn node(&mut self, height: usize, index: u64) -> Result<Digest, ProveError> {
        self.0.node(height, index).ok_or(ProveError::Damaged)
    }
}

/// Memory first, then files.
struct Overlay<'a> {
    edge: &'a Edge,
    tiles: TileNodes<'a>,
}

impl Nodes for Overlay<'_> {
    fn node(&mut self, height: usize, index: u64) -> Result<Digest, ProveError> {
        match self.edge.node(height, index) {
            Some(node) => Ok(node),
            None => self.tiles.node(height, index),
        }
    }
}
