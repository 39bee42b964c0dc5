//! What opens the commitments of a batch's records, and how it goes when records are erased.
//!
//! ```text
//! puenteO2 ( commitment, 32 bytes ‖ 1 ‖ salt, 32 bytes ‖ SHA-256 of the record ‖ u32be length ‖ overrides
//!          | commitment, 32 bytes ‖ 0 )*
//! ```
//!
//! The commitments stand in the order of the tree whose root the COLLECT entry names. Of an erased record the commitment
//! alone stays: without its salt it tells nothing, and the records that are left can still be shown to be in the tree. When
//! none is left the file goes.

use std::collections::BTreeSet;
use std::fs::{File, OpenOptions};
use std::io::{self, BufReader, BufWriter, Read, Seek as _, Write};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use puente_audit_log::{Frontier, leaf_hash};
use puente_model::{Digest, Secret32};
use zeroize::Zeroizing;

use super::carry::rename;
use super::{Folder, Head, ITEM_BYTES_MAX, StageError, Step, Turn, file};
use crate::records::NewRecord;

const MAGIC: &[u8; 8] = b"puenteO2";
const ERASED: u8 = 0;
const OPEN: u8 = 1;

/// What opens one commitment.
pub(super) struct Opening {
    salt: Secret32,
    record: Digest,
    overrides: Zeroizing<Vec<u8>>,
}

/// Writes the openings of a batch that is being stored.
pub(super) struct Openings {
    to: BufWriter<File>,
    path: PathBuf,
}

impl Openings {
    /// Begins a draft.
    pub(super) fn begin(path: PathBuf) -> Result<Self, StageError> {
        let opened = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&path);
        let mut to = BufWriter::with_capacity(256 * 1024, opened.map_err(file(&path))?);
        to.write_all(MAGIC).map_err(file(&path))?;
        Ok(Self { to, path })
    }

    /// The next record's.
    pub(super) fn put(&mut self, salt: &Secret32, record: &NewRecord, overrides: &str) -> Result<(), StageError> {
        let commitment = super::super::commit(salt, &record.record_type, &record.bytes, overrides);
        self.open(&commitment, salt, &Digest::of(&record.bytes), overrides.as_bytes()).map_err(file(&self.path))
    }

    /// What is in another file, or what is left of it.
    fn copy(&mut self, commitment: &Digest, opening: Option<&Opening>) -> Result<(), StageError> {
        let copied = match opening {
            Some(Opening { salt, record, overrides }) => self.open(commitment, salt, record, overrides),
            None => self.to.write_all(commitment.as_bytes()).and_then(|()| self.to.write_all(&[ERASED])),
        };
        copied.map_err(file(&self.path))
    }

    fn open(&mut self, commitment: &Digest, salt: &Secret32, record: &Digest, overrides: &[u8]) -> io::Result<()> {
        let to = &mut self.to;
        to.write_all(commitment.as_bytes())?;
        to.write_all(&[OPEN])?;
        to.write_all(salt.expose())?;
        to.write_all(record.as_bytes())?;
        to.write_all(&u32::try_from(overrides.len()).unwrap_or(u32::MAX).to_be_bytes())?;
        to.write_all(overrides)
    }

    /// Everything is on disk.
    pub(super) fn finish(mut self) -> Result<PathBuf, StageError> {
        self.to.flush().and_then(|()| self.to.get_ref().sync_all()).map_err(file(&self.path))?;
        Ok(self.path)
    }
}

/// Every commitment of a file of openings, in order, with what opens it.
pub(super) fn each(
    path: &Path,
    visit: &mut dyn FnMut(Digest, Option<Opening>) -> Result<(), StageError>,
) -> Result<(), StageError> {
    let opened = File::open(path).map_err(file(path))?;
    let size = opened.metadata().map_err(file(path))?.len();
    let mut from = BufReader::with_capacity(256 * 1024, opened);
    let damaged = |at: u64| StageError::Openings { path: path.to_owned(), at };
    let mut take = |bytes: &mut [u8], at: u64| from.read_exact(bytes).map_err(|_| damaged(at));
    let mut magic = [0; 8];
    take(&mut magic, 0)?;
    if &magic != MAGIC {
        return Err(damaged(0));
    }
    let mut read = MAGIC.len() as u64;
    while read < size {
        let (mut commitment, mut kind) = ([0; 32], [0]);
        take(&mut commitment, read)?;
        take(&mut kind, read)?;
        let opening = match kind {
            [ERASED] => None,
            [OPEN] => {
                let (mut salt, mut record, mut len) = ([0; 32], [0; 32], [0; 4]);
                take(&mut salt, read)?;
                take(&mut record, read)?;
                take(&mut len, read)?;
                let len = u32::from_be_bytes(len);
                if len > ITEM_BYTES_MAX {
                    return Err(damaged(read));
                }
                let mut overrides = Zeroizing::new(vec![0; len as usize]);
                take(&mut overrides, read)?;
                read += 68 + u64::from(len);
                Some(Opening { salt: Secret32::new(salt), record: Digest(record), overrides })
            }
            _ => return Err(damaged(read)),
        };
        read += 33;
        visit(Digest(commitment), opening)?;
    }
    Ok(())
}

/// Every commitment of a file of openings, in the order of its batch's tree, and whether what opens it is still there.
///
/// # Errors
/// The file cannot be read, or is damaged.
pub fn commitments(path: &Path, visit: &mut dyn FnMut(Digest, bool)) -> Result<(), StageError> {
    each(path, &mut |commitment, opening| {
        visit(commitment, opening.is_some());
        Ok(())
    })
}

/// Overwrites what stood in a file that has no name any more. A file system that writes elsewhere keeps what it keeps.
fn wipe(mut old: File) -> io::Result<()> {
    let size = old.metadata()?.len();
    old.rewind()?;
    io::copy(&mut io::repeat(0).take(size), &mut old)?;
    old.sync_data()
}

impl Folder {
    /// Destroys what opens the commitments of these records (SHA-256 of their bytes) of a type; their commitments stay.
    /// Returns how many there were. Cut off anywhere it is simply repeated.
    ///
    /// # Errors
    /// A file cannot be read or replaced, or does not hold what the log's entry names; those before it are done.
    pub fn forget(&self, _turn: &Turn, record_type: &str, erased: &BTreeSet<Digest>) -> Result<u64, StageError> {
        let mut count = 0;
        for (path, head) in self.heads()? {
            let openings = path.with_extension("openings");
            // What is not stored yet has none; its records come, and go, later.
            if head.record_type != record_type || !openings.exists() || path.extension().is_none_or(|e| e != "batch") {
                continue;
            }
            count += self.forget_in(&openings, &head, erased)?;
        }
        Ok(count)
    }

    fn forget_in(&self, path: &Path, head: &Head, erased: &BTreeSet<Digest>) -> Result<u64, StageError> {
        let (mut gone, mut left) = (0, 0_u64);
        each(path, &mut |_, opening| {
            match opening {
                Some(opening) if erased.contains(&opening.record) => gone += 1,
                Some(_) => left += 1,
                None => {}
            }
            Ok(())
        })?;
        if gone == 0 {
            return Ok(0);
        }
        let old = OpenOptions::new().write(true).open(path).map_err(file(path))?;
        if left == 0 {
            self.step(Step::Forget, path)?;
            std::fs::remove_file(path).map_err(file(path))?;
            File::open(&self.path).and_then(|folder| folder.sync_all()).map_err(file(&self.path))?;
        } else {
            let mut draft = Openings::begin(path.with_extension("openings-part"))?;
            let mut tree = Frontier::default();
            each(path, &mut |commitment, opening| {
                tree.push(leaf_hash(commitment.as_bytes()));
                draft.copy(&commitment, opening.filter(|opening| !erased.contains(&opening.record)).as_ref())
            })?;
            if tree.root().to_string() != head.root {
                return Err(StageError::Openings { path: path.to_owned(), at: 0 });
            }
            let draft = draft.finish()?;
            self.step(Step::Forget, path)?;
            rename(&draft, path, &self.path)?;
        }
        wipe(old).map_err(file(path))?;
        Ok(gone)
    }

    /// Forgets that anything was ever brought in: batches, what opens them, what there was to say about their rows. The
    /// oldest goes first. What is still on its way stays.
    ///
    /// # Errors
    /// A file cannot be removed; repeat it.
    pub fn clear(&self, _turn: &Turn) -> Result<(), StageError> {
        let mut paths = self.files()?;
        paths.retain(|path| path.extension().is_some_and(|ending| ending == "batch"));
        paths.sort();
        for path in paths {
            for ending in ["openings", "problems", "batch"] {
                let path = path.with_extension(ending);
                match std::fs::remove_file(&path) {
                    Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(file(&path)(error)),
                    _ => {}
                }
            }
        }
        Ok(())
    }

    /// When the newest batch was begun, in milliseconds since 1970, by its name; none without one.
    ///
    /// # Errors
    /// The folder cannot be read.
    pub fn newest(&self) -> Result<Option<u64>, StageError> {
        let begun = |path: PathBuf| u64::from_str_radix(path.file_stem()?.to_str()?.get(..12)?, 16).ok();
        Ok(self.files()?.into_iter().filter_map(begun).max())
    }
}
