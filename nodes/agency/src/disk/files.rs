//! Every touch of the disk goes through here, under a stable name, so that tests can break each one.

use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// The name of one place in this program where the disk is touched, for errors and fault injection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Site(pub &'static str);

impl fmt::Display for Site {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

macro_rules! sites {
    ($($(#[$doc:meta])* $name:ident = $text:literal;)*) => {
        /// All places where the disk is touched. The names are stable: fault suites and runbooks quote them.
        pub mod site {
            use super::Site;
            $($(#[$doc])* pub const $name: Site = Site($text);)*
            /// Every site.
            pub const ALL: &[Site] = &[$($name),*];
        }
    };
}

sites! {
    /// Make `journal/`.
    JOURNAL_DIR = "journal.dir";
    /// Create a segment's file, under a provisional name.
    JOURNAL_CREATE = "journal.segment.create";
    /// Give a segment its length.
    JOURNAL_LENGTH = "journal.segment.length";
    /// Write zeros, so that later syncs touch no metadata.
    JOURNAL_ZERO = "journal.segment.zero";
    /// Sync the zeros.
    JOURNAL_ZERO_SYNC = "journal.segment.zero.sync";
    /// Write a segment's header.
    JOURNAL_HEADER = "journal.header.write";
    /// Sync a segment's header.
    JOURNAL_HEADER_SYNC = "journal.header.sync";
    /// Give a segment its name.
    JOURNAL_RENAME = "journal.segment.rename";
    /// Sync the directory that holds the name.
    JOURNAL_RENAME_SYNC = "journal.segment.rename.sync";
    /// Open the newest segment to go on with it.
    JOURNAL_OPEN = "journal.segment.open";
    /// Read a segment at start-up.
    JOURNAL_READ = "journal.segment.read";
    /// Wipe a torn tail.
    JOURNAL_WIPE = "journal.tail.wipe";
    /// Sync the wiped tail.
    JOURNAL_WIPE_SYNC = "journal.tail.wipe.sync";
    /// Write a batch.
    JOURNAL_APPEND = "journal.append.write";
    /// Sync a batch: the commit point.
    JOURNAL_APPEND_SYNC = "journal.append.sync";
    /// Remove a segment that is applied, or a provisional one.
    JOURNAL_DROP = "journal.drop";
    /// Sync the removal.
    JOURNAL_DROP_SYNC = "journal.drop.sync";
    /// Open the evidence store.
    EVIDENCE_OPEN = "evidence.open";
    /// Before a transaction of the evidence store.
    EVIDENCE_BEGIN = "evidence.apply.begin";
    /// Within it: values written, position not.
    EVIDENCE_POSITION = "evidence.apply.position";
    /// Before its commit.
    EVIDENCE_COMMIT = "evidence.apply.commit";
    /// After its commit, before memory lets go of the values.
    EVIDENCE_COMMITTED = "evidence.apply.committed";
    /// Before the starting point of the next replay is written.
    EVIDENCE_BASE = "evidence.base.write";
    /// After it is written.
    EVIDENCE_BASE_WRITTEN = "evidence.base.written";
    /// Before a checkpoint of the evidence store.
    EVIDENCE_CHECKPOINT = "evidence.checkpoint";
    /// After it.
    EVIDENCE_CHECKPOINTED = "evidence.checkpointed";
    /// Make a directory of the log.
    TILES_DIR = "tiles.dir";
    /// Sync the parent of a new directory of the log.
    TILES_DIR_SYNC = "tiles.dir.sync";
    /// Create a full tile or bundle, under a provisional name.
    TILES_FULL_CREATE = "tiles.full.create";
    /// Write it.
    TILES_FULL_WRITE = "tiles.full.write";
    /// Sync it.
    TILES_FULL_SYNC = "tiles.full.sync";
    /// Give it its name.
    TILES_FULL_RENAME = "tiles.full.rename";
    /// Create a partial tile or bundle.
    TILES_PARTIAL_CREATE = "tiles.partial.create";
    /// Write it.
    TILES_PARTIAL_WRITE = "tiles.partial.write";
    /// Sync it.
    TILES_PARTIAL_SYNC = "tiles.partial.sync";
    /// Give it its name.
    TILES_PARTIAL_RENAME = "tiles.partial.rename";
    /// Sync the directories of new tiles.
    TILES_NAMES_SYNC = "tiles.names.sync";
    /// Create the checkpoint's file.
    TILES_CHECKPOINT_CREATE = "tiles.checkpoint.create";
    /// Write it.
    TILES_CHECKPOINT_WRITE = "tiles.checkpoint.write";
    /// Sync it.
    TILES_CHECKPOINT_SYNC = "tiles.checkpoint.sync";
    /// Replace the old checkpoint.
    TILES_CHECKPOINT_RENAME = "tiles.checkpoint.rename";
    /// Sync the replacement.
    TILES_CHECKPOINT_RENAME_SYNC = "tiles.checkpoint.rename.sync";
    /// Remove partial files whose full one exists.
    TILES_STALE = "tiles.stale.remove";
    /// Read a tile, a bundle or the checkpoint.
    TILES_READ = "tiles.read";
    /// Create the file of asides.
    ASIDES_CREATE = "asides.create";
    /// Open it.
    ASIDES_OPEN = "asides.open";
    /// Cut off what the journal will repeat.
    ASIDES_CUT = "asides.cut";
    /// Sync the cut.
    ASIDES_CUT_SYNC = "asides.cut.sync";
    /// Append asides.
    ASIDES_APPEND = "asides.append.write";
    /// Sync asides.
    ASIDES_SYNC = "asides.append.sync";
    /// Read asides for an export.
    ASIDES_READ = "asides.read";
    /// Make a directory of an export.
    EXPORT_DIR = "export.dir";
    /// Create a file of an export.
    EXPORT_CREATE = "export.create";
    /// Write it.
    EXPORT_WRITE = "export.write";
    /// Sync it.
    EXPORT_SYNC = "export.sync";
    /// Give it its name.
    EXPORT_RENAME = "export.rename";
    /// Before a transaction of the records store.
    RECORDS_BEGIN = "records.insert.begin";
    /// Before its commit.
    RECORDS_COMMIT = "records.insert.commit";
}

/// An open file and where it is.
#[derive(Debug)]
pub struct Handle {
    /// The file.
    pub file: File,
    /// Its path; follows renames made by whoever holds the handle.
    pub path: PathBuf,
}

/// The file operations that this node uses. The methods given here are the real ones; a test's disk overrides
/// them to fail, to tear and to forget.
///
/// Promise: when `sync` and `sync_dir` return, what was written before survives the loss of power. Thief: whoever
/// stands behind it can make this node lose acknowledged batches, which convicts it before its partners.
pub trait Disk: Send + Sync + fmt::Debug {
    /// Makes a directory, for the owner only; its parent exists.
    ///
    /// # Errors
    /// The operating system's.
    fn create_dir(&self, _site: Site, path: &Path) -> io::Result<()> {
        fs::DirBuilder::new().mode(0o700).create(path)
    }

    /// Creates an empty file (or empties it), for the owner only.
    ///
    /// # Errors
    /// The operating system's.
    fn create(&self, _site: Site, path: &Path) -> io::Result<Handle> {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(true).mode(0o600);
        Ok(Handle { file: options.open(path)?, path: path.to_owned() })
    }

    /// Opens an existing file for reading and writing.
    ///
    /// # Errors
    /// The operating system's.
    fn open(&self, _site: Site, path: &Path) -> io::Result<Handle> {
        Ok(Handle { file: OpenOptions::new().read(true).write(true).open(path)?, path: path.to_owned() })
    }

    /// Writes all of `bytes` at `offset`.
    ///
    /// # Errors
    /// The operating system's; some of the bytes may have been written.
    fn write_at(&self, _site: Site, handle: &Handle, offset: u64, bytes: &[u8]) -> io::Result<()> {
        handle.file.write_all_at(bytes, offset)
    }

    /// Sets the length.
    ///
    /// # Errors
    /// The operating system's.
    fn set_len(&self, _site: Site, handle: &Handle, len: u64) -> io::Result<()> {
        handle.file.set_len(len)
    }

    /// Makes content (and the length) durable.
    ///
    /// # Errors
    /// The operating system's; afterwards nobody knows what the disk holds.
    fn sync(&self, _site: Site, handle: &Handle) -> io::Result<()> {
        handle.file.sync_data()
    }

    /// Makes the names in a directory durable.
    ///
    /// # Errors
    /// The operating system's.
    fn sync_dir(&self, _site: Site, path: &Path) -> io::Result<()> {
        File::open(path)?.sync_all()
    }

    /// Renames, replacing.
    ///
    /// # Errors
    /// The operating system's.
    fn rename(&self, _site: Site, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    /// Removes a file.
    ///
    /// # Errors
    /// The operating system's.
    fn remove(&self, _site: Site, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    /// Removes a directory and all in it.
    ///
    /// # Errors
    /// The operating system's.
    fn remove_dir(&self, _site: Site, path: &Path) -> io::Result<()> {
        fs::remove_dir_all(path)
    }

    /// Reads a whole file.
    ///
    /// # Errors
    /// The operating system's.
    fn read(&self, _site: Site, path: &Path) -> io::Result<Vec<u8>> {
        fs::read(path)
    }

    /// Called around steps that the database makes itself.
    ///
    /// # Errors
    /// Never, on a real disk.
    fn gate(&self, _site: Site) -> io::Result<()> {
        Ok(())
    }
}

/// The machine's own disk.
#[derive(Debug, Clone, Copy, Default)]
pub struct RealDisk;

impl Disk for RealDisk {}
