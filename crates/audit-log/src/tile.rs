//! The log's files and their names (C2SP tlog-tiles).

use std::fmt;
use std::str::FromStr;

use puente_model::Digest;

use crate::text::decode_decimal;

/// Hashes in a full tile, and entries in a full bundle.
pub const TILE_WIDTH: u16 = 256;
/// The highest tile level that a path may name.
pub const TILE_LEVEL_MAX: u8 = 63;

/// A name that is not that of a file of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not the name of a file of the log; names are checkpoint, tile/L/N[.p/W] and tile/entries/N[.p/W]")]
pub struct PathError;

/// A tile: up to 256 hashes of one level.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TileId {
    level: u8,
    index: u64,
    width: u16,
}

impl TileId {
    /// Tile `index` of `level` (0 holds leaf hashes) with `width` hashes, 1 to 256.
    pub const fn new(level: u8, index: u64, width: u16) -> Result<Self, PathError> {
        if level > TILE_LEVEL_MAX || width == 0 || width > TILE_WIDTH {
            return Err(PathError);
        }
        Ok(Self { level, index, width })
    }

    /// The full tile `index` of `level`, which a tree's height bounds to 7.
    pub(crate) const fn full(level: u8, index: u64) -> Self {
        Self { level, index, width: TILE_WIDTH }
    }

    /// The tile's level; a hash of level `l` covers 256^l entries.
    pub const fn level(self) -> u8 {
        self.level
    }

    /// The tile's position in its level.
    pub const fn index(self) -> u64 {
        self.index
    }

    /// How many hashes it holds.
    pub const fn width(self) -> u16 {
        self.width
    }

    /// True if it holds all 256.
    pub const fn is_full(self) -> bool {
        self.width == TILE_WIDTH
    }

    /// The full tile at the same place: it begins with this one's hashes.
    #[must_use]
    pub const fn widened(self) -> Self {
        Self { width: TILE_WIDTH, ..self }
    }
}

/// A bundle: up to 256 entries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BundleId {
    index: u64,
    width: u16,
}

impl BundleId {
    /// Bundle `index` with `width` entries, 1 to 256.
    pub const fn new(index: u64, width: u16) -> Result<Self, PathError> {
        if width == 0 || width > TILE_WIDTH {
            return Err(PathError);
        }
        Ok(Self { index, width })
    }

    pub(crate) const fn full(index: u64) -> Self {
        Self { index, width: TILE_WIDTH }
    }

    /// The bundle's position; its first entry is 256 times this.
    pub const fn index(self) -> u64 {
        self.index
    }

    /// How many entries it holds.
    pub const fn width(self) -> u16 {
        self.width
    }

    /// True if it holds all 256.
    pub const fn is_full(self) -> bool {
        self.width == TILE_WIDTH
    }

    /// The full bundle at the same place: it begins with this one's entries.
    #[must_use]
    pub const fn widened(self) -> Self {
        Self { width: TILE_WIDTH, ..self }
    }
}

/// A file of the log, by its place under the log's prefix.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum LogPath {
    /// The newest published checkpoint.
    Checkpoint,
    /// A tile of hashes.
    Tile(TileId),
    /// A bundle of entries.
    Bundle(BundleId),
}

/// `1234067` as `x001/x234/067`.
fn write_index(f: &mut fmt::Formatter<'_>, index: u64) -> fmt::Result {
    let mut groups = [0_u16; 7];
    let mut used = 0;
    let mut rest = index;
    for group in &mut groups {
        *group = (rest % 1000) as u16;
        rest /= 1000;
        used += 1;
        if rest == 0 {
            break;
        }
    }
    for group in groups[1..used].iter().rev() {
        write!(f, "x{group:03}/")?;
    }
    write!(f, "{:03}", groups[0])
}

fn parse_index<'a>(groups: impl Iterator<Item = &'a str>) -> Option<u64> {
    let mut index = 0_u64;
    let mut groups = groups.peekable();
    let mut first = true;
    while let Some(group) = groups.next() {
        let last = groups.peek().is_none();
        let digits = if last { group } else { group.strip_prefix('x')? };
        if digits.len() != 3 || !digits.bytes().all(|b| b.is_ascii_digit()) || (first && !last && digits == "000") {
            return None;
        }
        index = index.checked_mul(1000)?.checked_add(digits.parse().ok()?)?;
        first = false;
    }
    (!first).then_some(index)
}

impl fmt::Display for LogPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = match *self {
            Self::Checkpoint => return f.write_str("checkpoint"),
            Self::Tile(tile) => {
                write!(f, "tile/{}/", tile.level)?;
                write_index(f, tile.index)?;
                tile.width
            }
            Self::Bundle(bundle) => {
                f.write_str("tile/entries/")?;
                write_index(f, bundle.index)?;
                bundle.width
            }
        };
        if width == TILE_WIDTH { Ok(()) } else { write!(f, ".p/{width}") }
    }
}

impl FromStr for LogPath {
    type Err = PathError;

    /// Reads a path and nothing else: no `..`, no second slash, no other spelling of a number.
    fn from_str(path: &str) -> Result<Self, PathError> {
        if path == "checkpoint" {
            return Ok(Self::Checkpoint);
        }
        let (level, rest) = path.strip_prefix("tile/").and_then(|p| p.split_once('/')).ok_or(PathError)?;
        let (index, width) = match rest.split_once(".p/") {
            None => (rest, TILE_WIDTH),
            Some((index, width)) => {
                let width = decode_decimal(width).and_then(|w| u16::try_from(w).ok()).ok_or(PathError)?;
                if width >= TILE_WIDTH {
                    return Err(PathError);
                }
                (index, width)
            }
        };
        let index = parse_index(index.split('/')).ok_or(PathError)?;
        if level == "entries" {
            return BundleId::new(index, width).map(Self::Bundle);
        }
        let level = decode_decimal(level).and_then(|l| u8::try_from(l).ok()).ok_or(PathError)?;
        TileId::new(level, index, width).map(Self::Tile)
    }
}

impl From<TileId> for LogPath {
    fn from(tile: TileId) -> Self {
        Self::Tile(tile)
    }
}

impl From<BundleId> for LogPath {
    fn from(bundle: BundleId) -> Self {
        Self::Bundle(bundle)
    }
}

/// One file of the log: where, and its bytes.
#[derive(Clone, PartialEq, Eq)]
pub struct LogFile {
    /// Its place under the log's prefix.
    pub path: LogPath,
    /// Its whole content.
    pub bytes: Vec<u8>,
}

impl fmt::Debug for LogFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LogFile({}, {} bytes)", self.path, self.bytes.len())
    }
}

/// The file of a tile.
pub fn encode_tile<'a>(hashes: impl IntoIterator<Item = &'a Digest>) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(32 * usize::from(TILE_WIDTH));
    hashes.into_iter().for_each(|hash| bytes.extend_from_slice(&hash.0));
    bytes
}

/// The hashes of a tile's file; none if its length is not a whole number of hashes.
pub fn decode_tile(bytes: &[u8]) -> Option<Vec<Digest>> {
    let (hashes, rest) = bytes.as_chunks::<32>();
    rest.is_empty().then(|| hashes.iter().map(|hash| Digest(*hash)).collect())
}
