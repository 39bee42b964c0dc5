//! Making proofs from nodes, and nodes from tiles.

use std::collections::BTreeMap;

use puente_model::{Digest, LeafIndex, TreeSize};

use crate::hash::node_hash;
use crate::proof::ProofError;
use crate::reader::{TileError, TileReader, read_tile};
use crate::tile::{TILE_WIDTH, TileId};

/// Why a proof could not be made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ProveError {
    /// There is no such entry, or no such smaller tree.
    #[error(transparent)]
    Asked(#[from] ProofError),
    /// The log is not as large as the tree that was asked about.
    #[error("the log holds {have} entries; a proof for {asked} cannot be made yet")]
    Future {
        /// Size asked about.
        asked: TreeSize,
        /// Size of the log.
        have: TreeSize,
    },
    /// A tile that the proof needs.
    #[error(transparent)]
    Tile(#[from] TileError),
    /// The log's own proof does not lead to its own root.
    #[error("the proof does not lead to the log's own root: a tile on disk is damaged; replay the log to find it")]
    Damaged,
}

/// Where the nodes of perfect subtrees come from: height 0 is the leaves, `index` counts within a height.
pub(crate) trait Nodes {
    fn node(&mut self, height: usize, index: u64) -> Result<Digest, ProveError>;
}

/// The right edge of the tree of `size` entries: for each height, the root of whatever lies under the
/// last node, perfect or not. The last one is the tree's root. Empty for an empty tree.
pub(crate) fn right_edge(nodes: &mut impl Nodes, size: u64) -> Result<Vec<Digest>, ProveError> {
    let Some(mut last) = size.checked_sub(1) else { return Ok(Vec::new()) };
    let mut node = nodes.node(0, last)?;
    let mut edge = vec![node];
    while last > 0 {
        if last & 1 == 1 {
            node = node_hash(&nodes.node(edge.len() - 1, last - 1)?, &node);
        }
        edge.push(node);
        last >>= 1;
    }
    Ok(edge)
}

/// The path of entry `index` (RFC 9162, 2.1.3.1), leaf to root. `index` < `size`.
pub(crate) fn inclusion_path(
    nodes: &mut impl Nodes,
    edge: &[Digest],
    index: u64,
    size: u64,
) -> Result<Vec<Digest>, ProveError> {
    let (mut node, mut last) = (index, size - 1);
    let mut path = Vec::with_capacity(edge.len());
    for (height, edge_node) in edge.iter().enumerate() {
        if node & 1 == 1 {
            path.push(nodes.node(height, node - 1)?);
        } else if node + 1 == last {
            path.push(*edge_node);
        } else if node < last {
            path.push(nodes.node(height, node + 1)?);
        }
        (node, last) = (node >> 1, last >> 1);
    }
    Ok(path)
}

/// The consistency proof from `old` to `size` entries (RFC 9162, 2.1.4.1). 0 < `old` < `size`.
pub(crate) fn consistency_path(
    nodes: &mut impl Nodes,
    edge: &[Digest],
    old: u64,
    size: u64,
) -> Result<Vec<Digest>, ProveError> {
    // Root of the entries [lo, hi): a perfect subtree, or what the right edge ends in.
    let mut range = |lo: u64, hi: u64| {
        let height = (hi - lo).next_power_of_two().trailing_zeros() as usize;
        match edge.get(height) {
            Some(node) if hi == size => Ok(*node),
            _ => nodes.node(height, lo >> height),
        }
    };
    let (mut lo, mut hi) = (0, size);
    let mut path = Vec::new();
    while old != hi {
        let left = 1 << (hi - lo - 1).ilog2();
        if old <= lo + left {
            path.push(range(lo + left, hi)?);
            hi = lo + left;
        } else {
            path.push(range(lo, lo + left)?);
            lo += left;
        }
    }
    // If the old tree is itself a node of the new one, the verifier has it.
    if lo != 0 {
        path.push(range(lo, hi)?);
    }
    path.reverse();
    Ok(path)
}

/// The nodes of one tile: row `r` holds the perfect subtrees over 2^r of its hashes.
type Pyramid = Vec<Vec<Digest>>;

/// All perfect nodes over consecutive hashes that begin at a tile's border, by height above them.
pub(crate) fn pyramid(hashes: Vec<Digest>) -> Pyramid {
    let mut rows = vec![hashes];
    while let Some(below) = rows.last()
        && below.len() > 1
    {
        let row = below.as_chunks::<2>().0.iter().map(|[left, right]| node_hash(left, right)).collect();
        rows.push(row);
    }
    rows
}

/// The nodes of the tree of `size` entries, from its tiles. Each tile is read once.
pub(crate) struct TileNodes<'a> {
    reader: &'a dyn TileReader,
    size: u64,
    tiles: BTreeMap<(usize, u64), Pyramid>,
}

impl<'a> TileNodes<'a> {
    pub(crate) fn new(reader: &'a dyn TileReader, size: u64) -> Self {
        Self { reader, size, tiles: BTreeMap::new() }
    }
}

impl Nodes for TileNodes<'_> {
    fn node(&mut self, height: usize, index: u64) -> Result<Digest, ProveError> {
        let (level, row) = (height / 8, height % 8);
        let place = (level, index >> (8 - row));
        if !self.tiles.contains_key(&place) {
            let beyond = (self.size >> (8 * level)).saturating_sub(place.1 << 8);
            let width = u16::try_from(beyond).unwrap_or(TILE_WIDTH).min(TILE_WIDTH);
            let id = TileId::new(level as u8, place.1, width).map_err(|_| ProveError::Damaged)?;
            self.tiles.insert(place, pyramid(read_tile(self.reader, id)?));
        }
        let at = (index - (place.1 << (8 - row))) as usize;
        self.tiles.get(&place).and_then(|rows| rows.get(row)?.get(at)).copied().ok_or(ProveError::Damaged)
    }
}

/// Makes an inclusion proof for entry `index` in the published tree of `size` entries, from its files alone.
/// Nothing is verified: the receiver does that.
pub fn prove_inclusion(reader: &dyn TileReader, index: LeafIndex, size: TreeSize) -> Result<Vec<Digest>, ProveError> {
    check_index(index, size)?;
    let mut nodes = TileNodes::new(reader, size.0);
    let edge = right_edge(&mut nodes, size.0)?;
    inclusion_path(&mut nodes, &edge, index.0, size.0)
}

/// Makes a consistency proof between two published trees, from the files of the larger one alone.
/// Nothing is verified: the receiver does that.
pub fn prove_consistency(reader: &dyn TileReader, old: TreeSize, new: TreeSize) -> Result<Vec<Digest>, ProveError> {
    if !needs_consistency(old, new)? {
        return Ok(Vec::new());
    }
    let mut nodes = TileNodes::new(reader, new.0);
    let edge = right_edge(&mut nodes, new.0)?;
    consistency_path(&mut nodes, &edge, old.0, new.0)
}

pub(crate) fn check_index(index: LeafIndex, size: TreeSize) -> Result<(), ProofError> {
    if index.0 < size.0 { Ok(()) } else { Err(ProofError::IndexOutOfRange { index, size }) }
}

/// False if the proof is empty by definition.
pub(crate) fn needs_consistency(old: TreeSize, new: TreeSize) -> Result<bool, ProofError> {
    if old > new {
        return Err(ProofError::ShrunkTree { old, new });
    }
    Ok(old.0 != 0 && old != new)
}
