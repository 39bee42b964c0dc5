//! Reading the log's files: the one port, and the C2SP rule for partial files.

use std::collections::BTreeMap;
use std::fmt;

use puente_model::Digest;

use crate::bundle::{BundleError, prefix_len};
use crate::tile::{BundleId, LogFile, LogPath, TILE_WIDTH, TileId};

/// Why a file could not be had. Never a verdict on the log.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// There is no such file.
    #[error("not found")]
    NotFound,
    /// Reading failed; the message is the driver's.
    #[error("cannot be read: {0}")]
    Io(String),
}

/// Reads files of one log.
///
/// Promise: it returns the whole file of exactly this name, or says that there
/// is none; it never waits for a file to appear. Thief: whoever can change what
/// it returns can make a writer refuse to start and a proof fail, but not make a
/// false tree pass: everything read is checked against a signed root, except by
/// [`crate::prove_inclusion`] and [`crate::prove_consistency`], whose results
/// their receiver checks.
pub trait TileReader {
    /// The tile's file: 32 bytes per hash.
    fn tile(&self, id: TileId) -> Result<Vec<u8>, ReadError>;

    /// The tile's file, in place of what `out` holds; after an error `out` holds anything.
    fn tile_into(&self, id: TileId, out: &mut Vec<u8>) -> Result<(), ReadError> {
        *out = self.tile(id)?;
        Ok(())
    }

    /// The bundle's file.
    fn bundle(&self, id: BundleId) -> Result<Vec<u8>, ReadError>;

    /// The bundle's file, in place of what `out` holds: whoever reads many need not allocate for each.
    /// After an error `out` holds anything.
    fn bundle_into(&self, id: BundleId, out: &mut Vec<u8>) -> Result<(), ReadError> {
        *out = self.bundle(id)?;
        Ok(())
    }
}

impl<T: TileReader + ?Sized> TileReader for &T {
    fn tile(&self, id: TileId) -> Result<Vec<u8>, ReadError> {
        (**self).tile(id)
    }

    fn tile_into(&self, id: TileId, out: &mut Vec<u8>) -> Result<(), ReadError> {
        (**self).tile_into(id, out)
    }

    fn bundle(&self, id: BundleId) -> Result<Vec<u8>, ReadError> {
        (**self).bundle(id)
    }

    fn bundle_into(&self, id: BundleId, out: &mut Vec<u8>) -> Result<(), ReadError> {
        (**self).bundle_into(id, out)
    }
}

/// Why a tile is of no use.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TileError {
    /// It could not be had.
    #[error("{path} {error}", path = LogPath::Tile(*.id))]
    Unavailable {
        /// Which tile.
        id: TileId,
        /// Why not.
        error: ReadError,
    },
    /// Its length does not fit its name.
    #[error("{path} has {found} bytes, not 32 per hash: the file is damaged", path = LogPath::Tile(*.id))]
    Length {
        /// Which tile.
        id: TileId,
        /// Bytes found.
        found: usize,
    },
}

/// A file; if a partial one is gone, the full one in its place (C2SP tlog-tiles: it may be).
fn read_or_widen<I: Copy, B>(
    id: I,
    full: bool,
    widened: I,
    mut read: impl FnMut(I) -> Result<B, ReadError>,
) -> Result<(B, bool), ReadError> {
    match read(id) {
        Err(ReadError::NotFound) if !full => read(widened).map(|bytes| (bytes, true)),
        other => other.map(|bytes| (bytes, false)),
    }
}

/// The `width` hashes of a tile, from its own file or the full one.
pub(crate) fn read_tile(reader: &dyn TileReader, id: TileId) -> Result<Vec<Digest>, TileError> {
    let mut bytes = Vec::new();
    read_tile_into(reader, id, &mut bytes).map(|hashes| hashes.iter().map(|hash| Digest(*hash)).collect())
}

/// [`read_tile`], where the hashes lie in `bytes`, in place of what it holds.
pub(crate) fn read_tile_into<'b>(
    reader: &dyn TileReader,
    id: TileId,
    bytes: &'b mut Vec<u8>,
) -> Result<&'b [[u8; 32]], TileError> {
    let ((), widened) = read_or_widen(id, id.is_full(), id.widened(), |id| reader.tile_into(id, bytes))
        .map_err(|error| TileError::Unavailable { id, error })?;
    let expected = usize::from(if widened { TILE_WIDTH } else { id.width() });
    let (hashes, rest) = bytes.as_chunks();
    match hashes.get(..usize::from(id.width())) {
        Some(own) if hashes.len() == expected && rest.is_empty() => Ok(own),
        _ => Err(TileError::Length { id, found: bytes.len() }),
    }
}

/// Why a bundle is of no use.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BundleReadError {
    /// It could not be had.
    #[error("{path} {error}", path = LogPath::Bundle(*.id))]
    Unavailable {
        /// Which bundle.
        id: BundleId,
        /// Why not.
        error: ReadError,
    },
    /// It is not what its name says.
    #[error("{path}: {error}", path = LogPath::Bundle(*.id))]
    Malformed {
        /// Which bundle.
        id: BundleId,
        /// What is wrong.
        error: BundleError,
    },
}

/// The framed bytes of exactly the bundle's `width` entries, from its own file or the full one.
pub(crate) fn read_bundle(reader: &dyn TileReader, id: BundleId) -> Result<Vec<u8>, BundleReadError> {
    let mut bytes = Vec::new();
    read_bundle_into(reader, id, &mut bytes)?;
    Ok(bytes)
}

/// [`read_bundle`], in place of what `bytes` holds.
pub(crate) fn read_bundle_into(
    reader: &dyn TileReader,
    id: BundleId,
    bytes: &mut Vec<u8>,
) -> Result<(), BundleReadError> {
    let ((), widened) = read_or_widen(id, id.is_full(), id.widened(), |id| reader.bundle_into(id, bytes))
        .map_err(|error| BundleReadError::Unavailable { id, error })?;
    let malformed = |error| BundleReadError::Malformed { id, error };
    let len = prefix_len(bytes, id.width()).map_err(malformed)?;
    if len < bytes.len() && !widened {
        return Err(malformed(BundleError::TooMany { expected: usize::from(id.width()) }));
    }
    bytes.truncate(len);
    Ok(())
}

/// The files of a log in memory: for small logs, simulators and tests.
#[derive(Clone, Default)]
pub struct MemoryFiles {
    files: BTreeMap<LogPath, Vec<u8>>,
}

impl fmt::Debug for MemoryFiles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MemoryFiles({} files)", self.files.len())
    }
}

impl MemoryFiles {
    /// No files.
    pub fn new() -> Self {
        Self::default()
    }

    /// Writes files, replacing those of the same name.
    pub fn put(&mut self, files: impl IntoIterator<Item = LogFile>) {
        self.files.extend(files.into_iter().map(|file| (file.path, file.bytes)));
    }

    /// A file, if there is one.
    pub fn get(&self, path: LogPath) -> Option<&[u8]> {
        self.files.get(&path).map(Vec::as_slice)
    }

    /// Removes a file; says whether there was one.
    pub fn remove(&mut self, path: LogPath) -> bool {
        self.files.remove(&path).is_some()
    }

    /// The names of all files, in order.
    pub fn paths(&self) -> impl Iterator<Item = LogPath> + '_ {
        self.files.keys().copied()
    }
}

impl TileReader for MemoryFiles {
    fn tile(&self, id: TileId) -> Result<Vec<u8>, ReadError> {
        self.get(id.into()).map(<[u8]>::to_vec).ok_or(ReadError::NotFound)
    }

    fn bundle(&self, id: BundleId) -> Result<Vec<u8>, ReadError> {
        self.get(id.into()).map(<[u8]>::to_vec).ok_or(ReadError::NotFound)
    }
}
