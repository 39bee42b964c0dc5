//! What a writer holds in memory: the frontier, and the nodes of the newest tiles.

use std::collections::VecDeque;

use puente_model::Digest;

use crate::frontier::Frontier;

/// Full tiles of each level whose nodes stay in memory behind the growing one: enough that proofs
/// for the newest batch (at most 1,024 entries) never read a file.
const RECENT_TILES: u64 = 8;

/// Consecutive perfect nodes of one height.
#[derive(Debug, Clone, Default)]
struct Row {
    first: u64,
    nodes: VecDeque<Digest>,
}

/// The right edge of a tree: O(log n) memory.
#[derive(Debug, Clone, Default)]
pub(crate) struct Edge {
    frontier: Frontier,
    rows: Vec<Row>,
}

/// Leaves that a batch adds to an edge, not yet part of it.
#[derive(Debug, Clone)]
pub(crate) struct Growth {
    base: u64,
    frontier: Frontier,
    added: Vec<Vec<Digest>>,
}

impl Growth {
    pub(crate) fn push(&mut self, leaf: Digest) {
        let added = &mut self.added;
        self.frontier.push_visiting(leaf, |height, node| {
            if added.len() == height {
                added.push(Vec::new());
            }
            added[height].push(node);
        });
    }

    pub(crate) fn size(&self) -> u64 {
        self.frontier.size().0
    }

    pub(crate) fn root(&self) -> Digest {
        self.frontier.root()
    }

    pub(crate) fn leaves(&self) -> &[Digest] {
        self.added.first().map_or(&[], Vec::as_slice)
    }

    /// A node that this batch completed.
    fn node(&self, height: usize, index: u64) -> Option<Digest> {
        let at = index.checked_sub(self.base >> height)?;
        self.added.get(height)?.get(usize::try_from(at).ok()?).copied()
    }
}

impl Edge {
    /// The edge of a tree whose newest tiles' nodes are known: for each height, the first index and the nodes.
    pub(crate) fn from_rows(frontier: Frontier, rows: Vec<(u64, Vec<Digest>)>) -> Self {
        let rows = rows.into_iter().map(|(first, nodes)| Row { first, nodes: nodes.into() }).collect();
        Self { frontier, rows }
    }

    pub(crate) fn size(&self) -> u64 {
        self.frontier.size().0
    }

    pub(crate) fn root(&self) -> Digest {
        self.frontier.root()
    }

    /// A node, if it is among the newest.
    pub(crate) fn node(&self, height: usize, index: u64) -> Option<Digest> {
        let row = self.rows.get(height)?;
        row.nodes.get(usize::try_from(index.checked_sub(row.first)?).ok()?).copied()
    }

    /// Begins a batch on top of this edge, leaving it as it is.
    pub(crate) fn grow(&self) -> Growth {
        let heights = self.rows.len();
        Growth { base: self.size(), frontier: self.frontier.clone(), added: vec![Vec::new(); heights] }
    }

    /// A node of this edge or of the batch on top of it.
    pub(crate) fn grown_node(&self, growth: &Growth, height: usize, index: u64) -> Option<Digest> {
        growth.node(height, index).or_else(|| self.node(height, index))
    }

    /// Takes the batch in and forgets what is no longer new.
    pub(crate) fn apply(&mut self, growth: Growth) {
        let Growth { base, frontier, added } = growth;
        let size = frontier.size().0;
        self.frontier = frontier;
        for (height, nodes) in added.into_iter().enumerate() {
            if self.rows.len() == height {
                self.rows.push(Row { first: base >> height, nodes: VecDeque::new() });
            }
            let row = &mut self.rows[height];
            row.nodes.extend(nodes);
            let (level, above) = (height / 8, 8 - height % 8);
            let oldest_tile = (size >> (8 * level) >> 8).saturating_sub(RECENT_TILES);
            let gone = (oldest_tile << above).saturating_sub(row.first);
            let gone = usize::try_from(gone).unwrap_or(usize::MAX).min(row.nodes.len());
            row.nodes.drain(..gone);
            row.first += gone as u64;
        }
    }
}
