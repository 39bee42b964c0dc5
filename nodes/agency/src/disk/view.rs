//! The log as auditors may read it: the tree under the checkpoint that was published last, and nothing beyond.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use puente_audit_log::{LogPath, TILE_WIDTH};

use super::files::{Disk, site};
use super::shared::Published;

/// Levels of tiles that a log can have.
const LEVELS: u8 = 8;

/// One published state of the log. It stays readable while the log grows on.
///
/// Promise: [`LogView::file`] gives the files of this tree and of every smaller one, and no entry or hash beyond it.
#[derive(Clone)]
pub struct LogView {
    disk: Arc<dyn Disk>,
    root: PathBuf,
    published: Arc<Published>,
}

impl std::fmt::Debug for LogView {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "LogView({} entries)", self.published.size)
    }
}

impl LogView {
    pub(super) fn new(disk: Arc<dyn Disk>, root: &Path, published: Arc<Published>) -> Self {
        Self { disk, root: root.to_owned(), published }
    }

    /// Entries under the checkpoint.
    pub fn size(&self) -> u64 {
        self.published.size
    }

    /// The newest head that the charter's quorum cosigned, if there is one that the checkpoint covers.
    pub(crate) fn cosigned(&self) -> io::Result<Option<Vec<u8>>> {
        super::export::cosigned(&self.root, self.published.size)
    }

    /// Bytes of the sidecar that belong to the checkpoint.
    pub fn asides_len(&self) -> u64 {
        self.published.asides_len
    }

    /// The sidecar; only its first [`LogView::asides_len`] bytes belong to this view.
    ///
    /// # Errors
    /// It cannot be opened.
    pub fn asides(&self) -> io::Result<File> {
        File::open(self.root.join("asides"))
    }

    /// A file of the log, or none if this tree has no such file. Partial files are beginnings of what is there now.
    ///
    /// # Errors
    /// A file that must be there cannot be read.
    pub fn file(&self, path: LogPath) -> io::Result<Option<Vec<u8>>> {
        let (level, index, width) = match path {
            LogPath::Checkpoint => return Ok(self.edge(path)),
            LogPath::Tile(id) => (id.level(), id.index(), id.width()),
            LogPath::Bundle(id) => (0, id.index(), id.width()),
        };
        let hashes = if level < LEVELS { self.size() >> (8 * level) } else { 0 };
        let before = index.checked_mul(u64::from(TILE_WIDTH));
        let there = before.and_then(|before| hashes.checked_sub(before)).unwrap_or(0);
        if there < u64::from(width) {
            return Ok(None);
        }
        let whole = if there >= u64::from(TILE_WIDTH) {
            let full = match path {
                LogPath::Checkpoint => path,
                LogPath::Tile(id) => LogPath::Tile(id.widened()),
                LogPath::Bundle(id) => LogPath::Bundle(id.widened()),
            };
            self.disk.read(site::TILES_READ, &self.root.join(full.to_string()))?
        } else {
            let same = |found: LogPath| match (found, path) {
                (LogPath::Tile(found), LogPath::Tile(id)) => (found.level(), found.index()) == (level, id.index()),
                (LogPath::Bundle(found), LogPath::Bundle(id)) => found.index() == id.index(),
                _ => false,
            };
            let file = self.published.edge.iter().find(|file| same(file.path));
            file.map(|file| file.bytes.clone()).ok_or(io::ErrorKind::NotFound)?
        };
        let cut = match path {
            LogPath::Bundle(_) => first_entries(&whole, width),
            _ => 32 * usize::from(width),
        };
        let mut bytes = whole;
        if bytes.len() < cut {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof));
        }
        bytes.truncate(cut);
        Ok(Some(bytes))
    }

    fn edge(&self, path: LogPath) -> Option<Vec<u8>> {
        self.published.edge.iter().find(|file| file.path == path).map(|file| file.bytes.clone())
    }
}

/// Bytes of the first `count` entries of a bundle; more than there are if it ends before.
fn first_entries(bundle: &[u8], count: u16) -> usize {
    let mut at = 0_usize;
    for _ in 0..count {
        let Some(len) = bundle.get(at..).and_then(|rest| rest.first_chunk::<2>()) else { return usize::MAX };
        at += 2 + usize::from(u16::from_be_bytes(*len));
    }
    at
}
