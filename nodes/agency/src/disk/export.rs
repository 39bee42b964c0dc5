//! A consistent copy of the log's files, for auditors.

use std::fs;
use std::path::Path;

use puente_audit_log::{BundleId, ClaimedCheckpoint, LogPath, TILE_WIDTH, TileId};
use puente_model::limits::NOTE_BYTES_MAX;

use super::asides;
use super::error::DiskError;
use super::files::{Disk, Site, site};
use super::shared::Published;
use super::tiles::make_dirs;

/// Which asides go along with an export.
pub enum ExportAsides<'f> {
    /// None: for readers who may see commitments only.
    None,
    /// All: for own auditors.
    All,
    /// Those that the filter, shown the bytes of a `puente.v1.Aside`, lets pass.
    Only(&'f dyn Fn(&[u8]) -> bool),
}

/// What an export holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Exported {
    /// Entries that its checkpoint covers.
    pub size: u64,
    /// Files copied; full ones that were there already are not copied again.
    pub files: u64,
    /// Asides in it.
    pub asides: u64,
}

pub(super) fn export(
    disk: &dyn Disk,
    root: &Path,
    published: &Published,
    to: &Path,
    which: &ExportAsides<'_>,
) -> Result<Exported, DiskError> {
    make_dirs(disk, to, site::EXPORT_DIR, site::EXPORT_DIR)?;
    let mut files = 0;
    for path in full_files(published.size) {
        let (name, len) = (path.to_string(), u64::from(TILE_WIDTH) * 32);
        let target = to.join(&name);
        let there = fs::metadata(&target).map(|data| data.len()).ok();
        // A tile's length tells that it is whole; bundles are put in place whole, by renaming.
        if there.is_some_and(|there| matches!(path, LogPath::Bundle(_)) || there == len) {
            continue;
        }
        let from = root.join(&name);
        let bytes = disk.read(site::TILES_READ, &from).map_err(DiskError::io(site::TILES_READ, &from))?;
        put(disk, &target, &bytes)?;
        files += 1;
    }
    let kept = export_asides(disk, root, published.asides_len, to, which)?;
    // The checkpoint comes last in the edge: whoever sees it finds everything under it.
    for file in &published.edge {
        put(disk, &to.join(file.path.to_string()), &file.bytes)?;
        files += 1;
    }
    if let Some(note) = cosigned(root, published.size).map_err(DiskError::io(site::TILES_READ, root))? {
        put(disk, &to.join(COSIGNED), &note)?;
        files += 1;
    }
    Ok(Exported { size: published.size, files, asides: kept })
}

/// Name of the file with the newest head that the charter's quorum cosigned.
pub(crate) const COSIGNED: &str = "cosigned";

/// The newest cosigned head, unless it is of a larger tree than the one that is shown beside it.
pub(super) fn cosigned(root: &Path, size: u64) -> std::io::Result<Option<Vec<u8>>> {
    let note = match puente_audit::read_file(&root.join(COSIGNED), NOTE_BYTES_MAX as u64) {
        Ok(note) => note,
        Err(_) if !root.join(COSIGNED).exists() => return Ok(None),
        Err(error) => return Err(std::io::Error::other(error)),
    };
    let of = ClaimedCheckpoint::parse(&note).map_or(u64::MAX, |head| head.claimed().size().0);
    Ok((of <= size).then_some(note))
}

/// Names of the full tiles and bundles of a tree.
pub fn full_files(size: u64) -> impl Iterator<Item = LogPath> {
    let tiles = (0..8_u8).flat_map(move |level| {
        let count = size.checked_shr(8 * (u32::from(level) + 1)).unwrap_or(0);
        (0..count).filter_map(move |index| TileId::new(level, index, TILE_WIDTH).ok().map(LogPath::Tile))
    });
    let bundles = (0..size >> 8).filter_map(|index| BundleId::new(index, TILE_WIDTH).ok().map(LogPath::Bundle));
    bundles.chain(tiles)
}

fn export_asides(
    disk: &dyn Disk,
    root: &Path,
    len: u64,
    to: &Path,
    which: &ExportAsides<'_>,
) -> Result<u64, DiskError> {
    if matches!(which, ExportAsides::None) {
        return Ok(0);
    }
    let path = root.join("asides");
    let all = disk.read(site::ASIDES_READ, &path).map_err(DiskError::io(site::ASIDES_READ, &path))?;
    let damaged = |offset: usize| DiskError::Damaged {
        path: path.clone(),
        offset: offset as u64,
        why: "it ends within a record".to_owned(),
    };
    let len = usize::try_from(len).unwrap_or(usize::MAX);
    let mut rest = all.get(..len).ok_or_else(|| damaged(all.len()))?;
    let (mut out, mut kept) = (Vec::new(), 0);
    while !rest.is_empty() {
        let (aside, after) = asides::split(rest).ok_or_else(|| damaged(len - rest.len()))?;
        if matches!(which, ExportAsides::All) || matches!(which, ExportAsides::Only(passes) if passes(aside)) {
            asides::frame(&mut out, aside);
            kept += 1;
        }
        rest = after;
    }
    put(disk, &to.join("asides"), &out)?;
    Ok(kept)
}

fn put(disk: &dyn Disk, path: &Path, bytes: &[u8]) -> Result<(), DiskError> {
    let failed = |site: Site| DiskError::io(site, path);
    let provisional = path.with_extension("tmp");
    if let Some(dir) = path.parent() {
        make_dirs(disk, dir, site::EXPORT_DIR, site::EXPORT_DIR)?;
    }
    let handle = disk.create(site::EXPORT_CREATE, &provisional).map_err(failed(site::EXPORT_CREATE))?;
    disk.write_at(site::EXPORT_WRITE, &handle, 0, bytes).map_err(failed(site::EXPORT_WRITE))?;
    disk.sync(site::EXPORT_SYNC, &handle).map_err(failed(site::EXPORT_SYNC))?;
    disk.rename(site::EXPORT_RENAME, &provisional, path).map_err(failed(site::EXPORT_RENAME))
}
