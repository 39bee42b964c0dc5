//! Ledgers of a node's groups as C2SP logs: in folders beside a copied log, and at the auditors' door.

use std::path::Path;

use puente_audit_log::{
    BundleError, BundleId, LogPath, SignedCheckpoint, TILE_WIDTH, TileId, encode_bundle, encode_tile, leaf_hash,
    root_of,
};
use puente_ledger::LedgerCopy;
use puente_model::Digest;

use crate::files;

/// The folder beside a copied log with the ledgers of its node's groups; the door serves them under the same name.
pub(crate) const LEDGERS: &str = "ledgers";
/// Levels of tiles.
const LEVELS: usize = 8;

/// One ledger, from which every file of its tree can be made.
pub(crate) struct Book {
    head: SignedCheckpoint,
    entries: Vec<Vec<u8>>,
    /// Hashes of each level of tiles, the leaves first.
    levels: Vec<Vec<Digest>>,
}

impl Book {
    pub(crate) fn new(head: SignedCheckpoint, entries: Vec<Vec<u8>>) -> Self {
        let mut levels = vec![entries.iter().map(|entry| leaf_hash(entry)).collect::<Vec<Digest>>()];
        while let Some(below) = levels.last().filter(|below| below.len() >= wide(1) && levels.len() < LEVELS) {
            levels.push(below.chunks_exact(wide(1)).map(|tile| root_of(tile.iter().copied())).collect());
        }
        Self { head, entries, levels }
    }

    /// A file of this tree or of a smaller one; none if there is no such file.
    ///
    /// # Errors
    /// An entry is too long for a bundle.
    pub(crate) fn file(&self, path: LogPath) -> Result<Option<Vec<u8>>, BundleError> {
        match path {
            LogPath::Checkpoint => Ok(Some(self.head.note_bytes().to_vec())),
            LogPath::Bundle(id) => part(&self.entries, id.index(), id.width()).map(encode_bundle).transpose(),
            LogPath::Tile(id) => {
                let hashes = self.levels.get(usize::from(id.level()));
                Ok(hashes.and_then(|hashes| part(hashes, id.index(), id.width())).map(encode_tile))
            }
        }
    }

    /// Names of all files of this tree, the head last.
    fn paths(&self) -> impl Iterator<Item = LogPath> {
        let bundles = widths(self.entries.len()).filter_map(|(index, width)| BundleId::new(index, width).ok());
        let tiles = self.levels.iter().zip(0..).flat_map(|(hashes, level)| {
            widths(hashes.len()).filter_map(move |(index, width)| TileId::new(level, index, width).ok())
        });
        bundles.map(LogPath::Bundle).chain(tiles.map(LogPath::Tile)).chain([LogPath::Checkpoint])
    }
}

/// So many files' width.
fn wide(files: usize) -> usize {
    files.saturating_mul(usize::from(TILE_WIDTH))
}

/// The first `width` of what the file with this index holds.
fn part<T>(of: &[T], index: u64, width: u16) -> Option<&[T]> {
    let from = wide(usize::try_from(index).ok()?);
    of.get(from..from.checked_add(usize::from(width))?)
}

/// Index and width of the files over so many entries or hashes.
fn widths(len: usize) -> impl Iterator<Item = (u64, u16)> {
    let width = move |at: usize| u16::try_from(len - at).unwrap_or(TILE_WIDTH).min(TILE_WIDTH);
    (0..).zip((0..len).step_by(wide(1)).map(width))
}

/// Writes ledgers into folders below `to`, named as they are.
pub(crate) fn write(to: &Path, ledgers: &[LedgerCopy]) -> Result<(), String> {
    for (ledger, head, entries) in ledgers {
        let (folder, book) = (to.join(ledger.to_string()), Book::new(head.clone(), entries.clone()));
        for path in book.paths() {
            let Some(bytes) = book.file(path).map_err(|error| format!("{ledger}: {error}"))? else { continue };
            let path = folder.join(path.to_string());
            let made = files::make_dir(path.parent().unwrap_or(&folder));
            let put = made.and_then(|()| files::replace(&path, &bytes, false));
            put.map_err(|error| format!("{}: {error}", path.display()))?;
        }
    }
    Ok(())
}
