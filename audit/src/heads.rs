//! A signed head that somebody kept, against the log as it is presented now.

use puente_audit_log::{
    SignedCheckpoint, TILE_WIDTH, TileId, TileReader, decode_tile, node_hash, prove_consistency, root_of,
    verify_consistency,
};
use puente_model::Digest;

/// What the presented log says of one of its smaller trees, with proof.
#[derive(Debug, Clone)]
pub(crate) struct Prefix {
    /// Size of the smaller tree.
    pub(crate) size: u64,
    /// Its root in the presented log.
    pub(crate) root: Digest,
    /// Consistency proof from it to the presented head.
    pub(crate) proof: Vec<Digest>,
}

/// How a kept head stands to the presented one.
#[derive(Debug)]
pub(crate) enum Relation {
    /// The presented log begins with what was signed.
    Consistent,
    /// The kept head is larger.
    Beyond,
    /// Same size, another root.
    Split,
    /// The presented log begins otherwise.
    Contradicts(Prefix),
    /// A tile is missing.
    CouldNotTell(String),
}

/// Compares. The tiles have been found to agree with the entries under `presented`.
pub(crate) fn relate(presented: &SignedCheckpoint, kept: &SignedCheckpoint, tiles: &dyn TileReader) -> Relation {
    let (old, new) = (kept.size(), presented.size());
    if old > new {
        return Relation::Beyond;
    }
    if old == new {
        return if kept.root() == presented.root() { Relation::Consistent } else { Relation::Split };
    }
    let proof = match prove_consistency(tiles, old, new) {
        Ok(proof) => proof,
        Err(error) => return Relation::CouldNotTell(error.to_string()),
    };
    if verify_consistency(old, new, &kept.root(), &presented.root(), &proof).is_ok() {
        return Relation::Consistent;
    }
    match root_at(old.0, new.0, &proof, tiles) {
        Some(root) if verify_consistency(old, new, &root, &presented.root(), &proof).is_ok() => {
            Relation::Contradicts(Prefix { size: old.0, root, proof })
        }
        _ => Relation::CouldNotTell(format!("no proof can be made from {old} to {new} entries")),
    }
}

/// The root of the smaller tree: what its consistency proof says, or a node of a tile.
fn root_at(old: u64, new: u64, proof: &[Digest], tiles: &dyn TileReader) -> Option<Digest> {
    if old.is_power_of_two() {
        let height = old.trailing_zeros();
        let (level, row) = (u8::try_from(height / 8).ok()?, height % 8);
        // The level's first tile, at whatever width the presented tree gives it.
        let width = u16::try_from(new >> (8 * u32::from(level))).unwrap_or(TILE_WIDTH).min(TILE_WIDTH);
        let tile = |width| TileId::new(level, 0, width).ok().and_then(|id| tiles.tile(id).ok());
        let bytes = tile(width).or_else(|| tile(TILE_WIDTH))?;
        return Some(root_of(decode_tile(&bytes)?.get(..1 << row)?.iter().copied()));
    }
    let (mut root, mut f, mut s) = (*proof.first()?, old - 1, new - 1);
    while f & 1 == 1 {
        (f, s) = (f >> 1, s >> 1);
    }
    for hash in proof.get(1..)? {
        if f & 1 == 1 || f == s {
            root = node_hash(hash, &root);
            while f & 1 == 0 && f != 0 {
                (f, s) = (f >> 1, s >> 1);
            }
        }
        (f, s) = (f >> 1, s >> 1);
    }
    Some(root)
}
