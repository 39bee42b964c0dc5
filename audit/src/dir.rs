//! Reading a copied log from its folder. Files are never trusted: sizes are bounded, links are not followed.

use std::cell::RefCell;
use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use puente_audit_log::{BundleId, LogPath, ReadError, TILE_WIDTH, TileId, TileReader, decode_bundle};
use puente_model::limits::{ENTRY_BYTES_MAX, NOTE_BYTES_MAX};

use crate::error::AuditError;

/// The largest file of a tile, in bytes.
const TILE_BYTES_MAX: u64 = 32 * TILE_WIDTH as u64;
/// The largest file of a bundle, in bytes.
const BUNDLE_BYTES_MAX: u64 = TILE_WIDTH as u64 * (ENTRY_BYTES_MAX as u64 + 2);
/// Files that a log's folder may hold before listing it is given up.
const FILES_MAX: usize = 4_000_000;
/// Tiles kept in memory while proofs are made.
const CACHE_TILES_MAX: usize = 1_024;

/// The files of one copied log.
#[derive(Debug)]
pub(crate) struct LogDir {
    root: PathBuf,
}

/// The largest opened final entry, in bytes: an entry with its header and a receipt.
const FINAL_BYTES_MAX: u64 = 256 * 1024;

impl LogDir {
    pub(crate) fn new(root: &Path) -> Self {
        Self { root: root.to_owned() }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.root
    }

    /// The head's note.
    pub(crate) fn checkpoint(&self) -> Result<Vec<u8>, ReadError> {
        self.file(LogPath::Checkpoint)
    }

    /// A file of the log; one byte more than it may have if it is too large.
    pub(crate) fn file(&self, path: LogPath) -> Result<Vec<u8>, ReadError> {
        let max = match path {
            LogPath::Checkpoint => NOTE_BYTES_MAX as u64,
            LogPath::Tile(_) => TILE_BYTES_MAX,
            LogPath::Bundle(_) => BUNDLE_BYTES_MAX,
        };
        read_bounded(&self.root.join(path.to_string()), max)
    }

    /// The sidecar, opened for reading.
    pub(crate) fn asides(&self) -> Result<File, ReadError> {
        open(&self.root.join("asides"))
    }

    /// The newest head that the charter's quorum cosigned: a note.
    pub(crate) fn cosigned(&self) -> Result<Vec<u8>, ReadError> {
        let bytes = read_bounded(&self.root.join("cosigned"), NOTE_BYTES_MAX as u64)?;
        if bytes.len() > NOTE_BYTES_MAX { Err(ReadError::Io("too large".to_owned())) } else { Ok(bytes) }
    }

    /// The opened final entry of a node that left.
    pub(crate) fn final_entry(&self) -> Result<Vec<u8>, ReadError> {
        let bytes = read_bounded(&self.root.join("final"), FINAL_BYTES_MAX)?;
        if bytes.len() as u64 > FINAL_BYTES_MAX { Err(ReadError::Io("too large".to_owned())) } else { Ok(bytes) }
    }

    /// One entry of the tree of `size` entries.
    pub(crate) fn entry(&self, index: u64, size: u64) -> Option<Vec<u8>> {
        let width = u16::try_from(size.checked_sub(index >> 8 << 8)?).unwrap_or(TILE_WIDTH).min(TILE_WIDTH);
        let id = BundleId::new(index >> 8, width).ok()?;
        let bytes = self.bundle(id).or_else(|_| self.bundle(id.widened())).ok()?;
        let at = usize::try_from(index % 256).ok()?;
        for expected in [width, TILE_WIDTH] {
            if let Ok(entries) = decode_bundle(&bytes, expected) {
                return entries.get(at).map(|entry| entry.to_vec());
            }
        }
        None
    }

    /// The names of all files below `tile/` that a log has, and how many others there are.
    pub(crate) fn list(&self) -> io::Result<(Vec<LogPath>, usize)> {
        let (mut found, mut others) = (Vec::new(), 0);
        let mut folders = vec!["tile".to_owned()];
        while let Some(folder) = folders.pop() {
            let entries = match fs::read_dir(self.root.join(&folder)) {
                Ok(entries) => entries,
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(error),
            };
            for entry in entries {
                let entry = entry?;
                let name = format!("{folder}/{}", entry.file_name().to_string_lossy());
                if entry.file_type()?.is_dir() {
                    if folder.matches('/').count() < 12 {
                        folders.push(name);
                    }
                } else if let Ok(path) = name.parse() {
                    found.push(path);
                } else {
                    others += 1;
                }
                if found.len() + others + folders.len() > FILES_MAX {
                    return Err(io::Error::other("too many files"));
                }
            }
        }
        found.sort_unstable();
        Ok((found, others))
    }
}

impl TileReader for LogDir {
    fn tile(&self, id: TileId) -> Result<Vec<u8>, ReadError> {
        self.file(LogPath::Tile(id))
    }

    fn bundle(&self, id: BundleId) -> Result<Vec<u8>, ReadError> {
        self.file(LogPath::Bundle(id))
    }

    fn tile_into(&self, id: TileId, out: &mut Vec<u8>) -> Result<(), ReadError> {
        read_bounded_into(&self.root.join(LogPath::Tile(id).to_string()), TILE_BYTES_MAX, out)
    }

    fn bundle_into(&self, id: BundleId, out: &mut Vec<u8>) -> Result<(), ReadError> {
        read_bounded_into(&self.root.join(LogPath::Bundle(id).to_string()), BUNDLE_BYTES_MAX, out)
    }
}

/// Opens a regular file: not a link, a pipe or a device, on which reading could wait for ever.
pub(crate) fn open(path: &Path) -> Result<File, ReadError> {
    open_sized(path).map(|(file, _)| file)
}

/// [`open`], with the bytes that the file had just before.
fn open_sized(path: &Path) -> Result<(File, u64), ReadError> {
    let found = fs::symlink_metadata(path).map_err(|e| read_error(&e))?;
    if !found.file_type().is_file() {
        return Err(ReadError::Io("not a regular file".to_owned()));
    }
    Ok((File::open(path).map_err(|e| read_error(&e))?, found.len()))
}

/// A whole file, or its first `max + 1` bytes if it is longer.
pub(crate) fn read_bounded(path: &Path, max: u64) -> Result<Vec<u8>, ReadError> {
    let mut bytes = Vec::new();
    read_bounded_into(path, max, &mut bytes)?;
    Ok(bytes)
}

/// [`read_bounded`], in place of what `bytes` holds.
fn read_bounded_into(path: &Path, max: u64, bytes: &mut Vec<u8>) -> Result<(), ReadError> {
    let (file, length) = open_sized(path)?;
    bytes.clear();
    bytes.reserve(length.min(max + 1) as usize);
    file.take(max + 1).read_to_end(bytes).map_err(|e| read_error(&e))?;
    Ok(())
}

/// Reads a regular file of at most `max` bytes.
///
/// # Errors
/// It cannot be read, is no regular file, or is larger.
pub fn read_file(path: &Path, max: u64) -> Result<Vec<u8>, AuditError> {
    let bytes = read_bounded(path, max).map_err(|error| AuditError::file(path, &error))?;
    if bytes.len() as u64 > max {
        return Err(AuditError::File { path: path.to_owned(), why: format!("larger than {max} bytes") });
    }
    Ok(bytes)
}

fn read_error(error: &io::Error) -> ReadError {
    match error.kind() {
        // A folder in place of a file of the path is the same to a reader as no file.
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => ReadError::NotFound,
        _ => ReadError::Io(error.to_string()),
    }
}

/// A reader that keeps tiles, for making many proofs.
pub(crate) struct Cached<'a> {
    dir: &'a LogDir,
    tiles: RefCell<HashMap<TileId, Vec<u8>>>,
}

impl<'a> Cached<'a> {
    pub(crate) fn new(dir: &'a LogDir) -> Self {
        Self { dir, tiles: RefCell::default() }
    }
}

impl TileReader for Cached<'_> {
    fn tile(&self, id: TileId) -> Result<Vec<u8>, ReadError> {
        if let Some(bytes) = self.tiles.borrow().get(&id) {
            return Ok(bytes.clone());
        }
        let bytes = self.dir.tile(id)?;
        let mut tiles = self.tiles.borrow_mut();
        if tiles.len() >= CACHE_TILES_MAX {
            tiles.clear();
        }
        tiles.insert(id, bytes.clone());
        Ok(bytes)
    }

    fn bundle(&self, id: BundleId) -> Result<Vec<u8>, ReadError> {
        self.dir.bundle(id)
    }
}
