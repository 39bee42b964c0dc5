//! Opening a log from its files: the right edge is rebuilt and checked against the signed head.

use puente_model::{Digest, TreeSize};

use crate::bundle::Entries;
use crate::checkpoint::{Checkpoint, SignedCheckpoint};
use crate::edge::Edge;
use crate::frontier::Frontier;
use crate::prove::pyramid;
use crate::reader::{BundleReadError, TileError, TileReader, read_bundle, read_tile};
use crate::second;
use crate::tile::{BundleId, TileId};
use crate::writer::Log;

/// Why a log refuses to open.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// A tile of the right edge is missing or damaged.
    #[error("the log cannot be opened: {0}; restore the files, or replay the journal onto an earlier checkpoint")]
    Tile(#[from] TileError),
    /// The newest bundle is missing or damaged.
    #[error("the log cannot be opened: {0}; restore the files, or replay the journal onto an earlier checkpoint")]
    Bundle(#[from] BundleReadError),
    /// The newest full tile of a level does not hash to its place in the level above.
    #[error("full tile {level}/{index} does not hash to its parent: the file is damaged; restore it from a copy")]
    FullTile {
        /// The tile's level.
        level: u8,
        /// The tile's position in its level.
        index: u64,
    },
    /// The right edge gives another root than the head states.
    #[error("the tiles give root {computed} at size {size}, the signed head says {signed}: do not write to this log")]
    Root {
        /// Size of the head.
        size: TreeSize,
        /// Root that the tiles give.
        computed: Digest,
        /// Root that the head states.
        signed: Digest,
    },
    /// An entry of the newest bundle does not have the hash that its tile holds.
    #[error("entry {index} in the newest bundle does not match its leaf hash: the bundle is damaged; restore it")]
    Entry {
        /// Position of the entry in the log.
        index: u64,
    },
}

impl Log {
    /// Opens the log at `head`, which the caller has verified with the log's key.
    ///
    /// Reads the partial tiles and bundle of the right edge and the newest full
    /// tile of each level, and checks all of them against the head. O(log n).
    pub fn open(head: &SignedCheckpoint, reader: &dyn TileReader) -> Result<Self, OpenError> {
        let (edge, partial) = checked(head.checkpoint(), reader)?;
        Ok(Self::assemble(head.origin(), edge, partial, Some(head.clone())))
    }

    /// A log as large as a checkpoint says that nobody signed: for trying out, in memory and under a key that is nobody's,
    /// what entries would cost it. It has no head before it takes some.
    ///
    /// # Errors
    /// As [`Log::open`].
    pub fn imagined(checkpoint: &Checkpoint, reader: &dyn TileReader) -> Result<Self, OpenError> {
        let (edge, partial) = checked(checkpoint, reader)?;
        Ok(Self::assemble(checkpoint.origin(), edge, partial, None))
    }
}

/// The right edge and the newest bundle of the files, if they are what the checkpoint says.
fn checked(head: &Checkpoint, reader: &dyn TileReader) -> Result<(Edge, Vec<u8>), OpenError> {
    let size = head.size().0;
    let edge = read_edge(size, reader)?;
    if edge.root() != head.root() {
        return Err(OpenError::Root { size: head.size(), computed: edge.root(), signed: head.root() });
    }
    check_full_tiles(size, &edge)?;
    let partial = match BundleId::new(size >> 8, (size % 256) as u16) {
        Ok(id) => read_bundle(reader, id)?,
        Err(_) => Vec::new(),
    };
    for (index, entry) in (size >> 8 << 8..size).zip(Entries::new(&partial)) {
        if entry.ok().map(second::leaf) != edge.node(0, index) {
            return Err(OpenError::Entry { index });
        }
    }
    Ok((edge, partial))
}

/// Rows of nodes for each height, from the newest full tile and the partial tile of each level.
fn read_edge(size: u64, reader: &dyn TileReader) -> Result<Edge, OpenError> {
    let mut rows: Vec<(u64, Vec<Digest>)> = Vec::new();
    for level in 0..8_u8 {
        let hashes = size >> (8 * level);
        if hashes == 0 {
            break;
        }
        let (full, width) = (hashes >> 8, (hashes % 256) as u16);
        let first = full.saturating_sub(1);
        let mut nodes = Vec::new();
        if full > 0 {
            nodes = read_tile(reader, TileId::full(level, first))?;
        }
        if let Ok(id) = TileId::new(level, full, width) {
            nodes.extend(read_tile(reader, id)?);
        }
        // Above the tile's eight rows lies the next level, which has its own tile.
        for (row, nodes) in pyramid(nodes).into_iter().take(8).enumerate() {
            rows.push((first << (8 - row), nodes));
        }
    }
    let peaks = (0..rows.len()).rev().filter(|height| size >> height & 1 == 1).filter_map(|height| {
        let (first, nodes) = rows.get(height)?;
        nodes.get(usize::try_from((size >> height) - 1 - first).ok()?).copied()
    });
    let peaks: Vec<Digest> = peaks.collect();
    Ok(Edge::from_rows(Frontier::from_peaks(size, peaks), rows))
}

/// The newest full tile of each level hashes to its place in the level above (computed the second way).
fn check_full_tiles(size: u64, edge: &Edge) -> Result<(), OpenError> {
    for level in 0..7_u8 {
        let height = 8 * usize::from(level);
        let Some(index) = (size >> height >> 8).checked_sub(1) else { break };
        let hashes: Option<Vec<Digest>> = (index << 8..(index + 1) << 8).map(|at| edge.node(height, at)).collect();
        let root = hashes.and_then(|hashes| second::root(&hashes));
        if root.is_none() || root != edge.node(height + 8, index) {
            return Err(OpenError::FullTile { level, index });
        }
    }
    Ok(())
}
