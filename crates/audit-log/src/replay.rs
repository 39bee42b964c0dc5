//! Replaying a log: everything recomputed from its entries, in one pass and O(log n) memory.

use std::ops::ControlFlow;

use puente_model::{Digest, LeafIndex, TreeSize};

use crate::bundle::split_entry;
use crate::checkpoint::SignedCheckpoint;
use crate::frontier::Frontier;
use crate::hash::node_hash;
use crate::reader::{BundleReadError, ReadError, TileError, TileReader, read_bundle_into, read_tile_into};
use crate::tile::{BundleId, LogPath, TILE_WIDTH, TileId};

/// The files and the head contradict each other, and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Divergence {
    /// A bundle is not well formed.
    #[error(transparent)]
    Bundle(BundleReadError),
    /// A tile's file has a length that does not fit its name.
    #[error(transparent)]
    TileLength(TileError),
    /// A tile holds another hash than the entries give.
    #[error("{path} differs from its entries at hash {at}: entries {first}..{end}", path = LogPath::Tile(*.tile))]
    Tile {
        /// Which tile.
        tile: TileId,
        /// Position in the tile of the first hash that differs.
        at: u16,
        /// First entry under that hash.
        first: LeafIndex,
        /// Entry after the last one under that hash.
        end: LeafIndex,
    },
    /// The entries give another root than the head states.
    #[error("the entries give root {computed} at size {size}, the signed head says {signed}")]
    Root {
        /// Size of the head.
        size: TreeSize,
        /// Root that the entries give.
        computed: Digest,
        /// Root that the head states.
        signed: Digest,
    },
}

/// Why a replay did not end well.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ReplayError {
    /// The log is damaged or forged.
    #[error(transparent)]
    Diverges(#[from] Divergence),
    /// A bundle could not be had: no verdict.
    #[error("could not tell: {path} {error}; fetch it and replay again", path = LogPath::Bundle(*.bundle))]
    Unavailable {
        /// Which bundle.
        bundle: BundleId,
        /// Why not.
        error: ReadError,
    },
    /// A tile could not be read although it may exist: no verdict.
    #[error("could not tell: {path} {error}; fetch it and replay again", path = LogPath::Tile(*.tile))]
    TileUnavailable {
        /// Which tile.
        tile: TileId,
        /// Why not.
        error: ReadError,
    },
    /// The visitor ended the replay.
    #[error("the replay was ended at entry {0}")]
    Stopped(LeafIndex),
}

/// A replay that ended well: every entry leads to the signed root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Replayed {
    /// Entries hashed.
    pub size: TreeSize,
    /// The root, computed and signed.
    pub root: Digest,
    /// Tiles compared with the entries.
    pub tiles_compared: u64,
    /// Tiles that do not exist; the entries alone prove the root, but nobody could fetch proofs from these.
    pub tiles_missing: Vec<TileId>,
}

/// Replays the log up to `head` and shows each entry to `visit` with its position and leaf hash.
///
/// What `visit` sees is provisional until this returns `Ok`: the root is compared last.
pub fn replay(
    head: &SignedCheckpoint,
    reader: &dyn TileReader,
    mut visit: impl FnMut(LeafIndex, &Digest, &[u8]) -> ControlFlow<()>,
) -> Result<Replayed, ReplayError> {
    let mut state = Replay::new(reader);
    let mut framed = Vec::new();
    let size = head.size().0;
    let mut at = 0;
    while at < size {
        let width = u16::try_from(size - at).unwrap_or(TILE_WIDTH).min(TILE_WIDTH);
        let Ok(id) = BundleId::new(at >> 8, width) else { break };
        read_bundle_into(reader, id, &mut framed).map_err(|error| match error {
            BundleReadError::Unavailable { id, error } => ReplayError::Unavailable { bundle: id, error },
            malformed => ReplayError::Diverges(Divergence::Bundle(malformed)),
        })?;
        let mut start = 0;
        while let Some((entry, rest)) = split_entry(&framed[start..]) {
            let (from, to) = (framed.len() - rest.len() - entry.len(), framed.len() - rest.len());
            // Hashed where it lies: the second byte of its length, already read, becomes the leaf prefix.
            framed[from - 1] = 0;
            let leaf = Digest::of(&framed[from - 1..to]);
            if visit(LeafIndex(at), &leaf, &framed[from..to]).is_break() {
                return Err(ReplayError::Stopped(LeafIndex(at)));
            }
            state.push(leaf)?;
            at += 1;
            start = to;
        }
    }
    state.finish(head)
}

/// Replays the log up to `head` without looking at the entries.
pub fn hash_replay(head: &SignedCheckpoint, reader: &dyn TileReader) -> Result<Replayed, ReplayError> {
    replay(head, reader, |_, _, _| ControlFlow::Continue(()))
}

/// Hashes of a full tile.
const FULL: usize = TILE_WIDTH as usize;

struct Replay<'a> {
    reader: &'a dyn TileReader,
    size: u64,
    /// Hashes of the growing tile of each level.
    levels: Vec<Vec<Digest>>,
    /// The tile's file that was read last.
    tile: Vec<u8>,
    compared: u64,
    missing: Vec<TileId>,
}

impl<'a> Replay<'a> {
    fn new(reader: &'a dyn TileReader) -> Self {
        Self {
            reader,
            size: 0,
            levels: vec![Vec::with_capacity(FULL)],
            tile: Vec::new(),
            compared: 0,
            missing: Vec::new(),
        }
    }

    /// Takes the next leaf in. A tile that it fills is compared and becomes one hash of the level above.
    fn push(&mut self, leaf: Digest) -> Result<(), ReplayError> {
        self.size += 1;
        let mut hash = leaf;
        for level in 0.. {
            if self.levels.len() == level {
                self.levels.push(Vec::with_capacity(FULL));
            }
            self.levels[level].push(hash);
            if self.levels[level].len() < FULL {
                break;
            }
            self.compare(level, (self.size >> (8 * level) >> 8) - 1)?;
            hash = fold(&mut self.levels[level]);
        }
        Ok(())
    }

    /// Compares the hashes collected for a tile with its file, if there is one.
    fn compare(&mut self, level: usize, index: u64) -> Result<(), ReplayError> {
        let hashes = &self.levels[level];
        let Ok(tile) = TileId::new(level as u8, index, hashes.len() as u16) else { return Ok(()) };
        let file = match read_tile_into(self.reader, tile, &mut self.tile) {
            Ok(file) => file,
            Err(TileError::Unavailable { id, error: ReadError::NotFound }) => {
                self.missing.push(id);
                return Ok(());
            }
            Err(TileError::Unavailable { id, error }) => return Err(ReplayError::TileUnavailable { tile: id, error }),
            Err(length) => return Err(Divergence::TileLength(length).into()),
        };
        self.compared += 1;
        let Some(at) = file.iter().zip(hashes).position(|(file, own)| *file != own.0) else { return Ok(()) };
        let span = 1_u64 << (8 * level);
        let first = ((index << 8) + at as u64) * span;
        let (first, end) = (LeafIndex(first), LeafIndex(first + span));
        Err(Divergence::Tile { tile, at: at as u16, first, end }.into())
    }

    fn finish(mut self, head: &SignedCheckpoint) -> Result<Replayed, ReplayError> {
        let size = TreeSize(self.size);
        for level in 0..self.levels.len() {
            self.compare(level, size.0 >> (8 * level) >> 8)?;
        }
        // Every level's tile ends in perfect subtrees, larger ones in higher levels.
        let peaks =
            self.levels.iter().rev().flat_map(|hashes| hashes.iter().copied().collect::<Frontier>().into_peaks());
        let root = Frontier::from_peaks(size.0, peaks.collect()).root();
        if size != head.size() || root != head.root() {
            return Err(Divergence::Root { size: head.size(), computed: root, signed: head.root() }.into());
        }
        Ok(Replayed { size, root, tiles_compared: self.compared, tiles_missing: self.missing })
    }
}

/// Empties a full tile's hashes into the one above them.
fn fold(hashes: &mut Vec<Digest>) -> Digest {
    while hashes.len() > 1 {
        let half = hashes.len() / 2;
        for at in 0..half {
            hashes[at] = node_hash(&hashes[2 * at], &hashes[2 * at + 1]);
        }
        hashes.truncate(half);
    }
    hashes.pop().unwrap_or_default()
}
