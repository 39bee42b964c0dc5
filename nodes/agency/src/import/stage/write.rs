//! Writing a batch: records and problems as they come, then its head.

use std::fs::{File, OpenOptions};
use std::io::{self, BufReader, BufWriter, Write};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::super::{Imported, Outcome, RowError};
use super::carry::{Staged, rename};
use super::{Folder, Head, ITEM_BYTES_MAX, MAGIC, StageError, Step, file};
use crate::files;

/// A line of a file of problems.
#[derive(Serialize, Deserialize)]
struct Said {
    line: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    column: Option<String>,
    code: String,
    outcome: Outcome,
    message: String,
    mend: String,
}

/// A part of a staged record: its length in four bytes, then itself.
fn put_part(to: &mut Vec<u8>, part: &[u8]) {
    to.extend_from_slice(&u32::try_from(part.len()).unwrap_or(u32::MAX).to_be_bytes());
    to.extend_from_slice(part);
}

/// Takes records in, to be staged when all are there.
#[derive(Debug)]
pub struct Staging {
    folder: Folder,
    part: PathBuf,
    to: BufWriter<File>,
    problems: Option<(PathBuf, BufWriter<File>)>,
    /// One record, kept from one to the next.
    item: zeroize::Zeroizing<Vec<u8>>,
}

fn create(path: &Path) -> Result<BufWriter<File>, StageError> {
    let opened = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).map_err(file(path))?;
    Ok(BufWriter::with_capacity(256 * 1024, opened))
}

impl Staging {
    /// Begins a batch.
    ///
    /// # Errors
    /// The folder or file cannot be made.
    pub fn begin(folder: &Folder) -> Result<Self, StageError> {
        let mut name = [0; 10];
        files::make_private_dir(&folder.path).map_err(file(&folder.path))?;
        getrandom::fill(&mut name).map_err(|error| StageError::File {
            path: folder.path.clone(),
            error: io::Error::other(error.to_string()),
        })?;
        // Batches are carried on in the order in which they were made.
        let made = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default().as_millis();
        let part = folder.path.join(format!("{made:012x}{}.part", hex::encode(name)));
        folder.step(Step::Begin, &part)?;
        let mut to = create(&part)?;
        to.write_all(MAGIC).map_err(file(&part))?;
        Ok(Self { folder: folder.clone(), part, to, problems: None, item: zeroize::Zeroizing::default() })
    }

    /// Takes one record in.
    ///
    /// # Errors
    /// The disk is full or failed.
    pub fn put(&mut self, record: &Imported) -> Result<(), StageError> {
        self.folder.step(Step::Write, &self.part)?;
        // Salt, record, overrides, then name and value of each key.
        let bytes = &mut *self.item;
        bytes.clear();
        bytes.extend_from_slice(record.salt.expose());
        put_part(bytes, &record.record);
        put_part(bytes, record.overrides.as_bytes());
        for part in record.keys.iter().flat_map(|(name, value)| [&**name, value.as_str()]) {
            put_part(bytes, part.as_bytes());
        }
        frame(&mut self.to, bytes).map_err(file(&self.part))
    }

    /// Takes in what there is to say about one row.
    ///
    /// # Errors
    /// The disk is full or failed.
    pub fn problem(&mut self, error: &RowError, outcome: Outcome) -> Result<(), StageError> {
        let (path, to) = match &mut self.problems {
            Some(problems) => problems,
            None => {
                let path = self.part.with_extension("problems-part");
                let to = create(&path)?;
                self.problems.insert((path, to))
            }
        };
        self.folder.watch.step(Step::Problem).map_err(file(path))?;
        let RowError { line, column, code, message, mend } = error.clone();
        let mut line = serde_json::to_vec(&Said { line, column, code, outcome, message, mend })
            .map_err(|error| file(path)(error.into()))?;
        line.push(b'\n');
        to.write_all(&line).map_err(file(path))
    }

    /// Ends the batch: it is on disk, whole, when this returns.
    ///
    /// # Errors
    /// The disk is full or failed; nothing is staged.
    pub fn finish(mut self, head: Head) -> Result<Staged, StageError> {
        let folder = self.folder.clone();
        folder.step(Step::Sync, &self.part)?;
        let mut write = || {
            // The end of the records, then the head, then its length: the file is read from its end.
            self.to.write_all(&0_u32.to_be_bytes())?;
            let bytes = serde_json::to_vec(&head)?;
            self.to.write_all(&bytes)?;
            self.to.write_all(&u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_be_bytes())?;
            self.to.write_all(MAGIC)?;
            self.to.flush()?;
            self.to.get_ref().sync_all()?;
            // Nobody else knows the file yet.
            self.to.get_ref().lock()?;
            self.to.get_ref().try_clone()
        };
        let hold = Some(Arc::new(write().map_err(file(&self.part))?));
        if let Some((path, to)) = &mut self.problems {
            to.flush().and_then(|()| to.get_ref().sync_all()).map_err(file(path))?;
            folder.step(Step::NameProblems, path)?;
            rename(path, &self.part.with_extension("problems"), &folder.path)?;
        }
        let path = self.part.with_extension("staged");
        folder.step(Step::Stage, &path)?;
        rename(&self.part, &path, &folder.path)?;
        Ok(Staged { path, head, folder, hold })
    }

    /// Gives the batch up.
    pub fn abandon(self) {
        let _ = std::fs::remove_file(&self.part);
        if let Some((path, _)) = &self.problems {
            let _ = std::fs::remove_file(path);
        }
    }
}

/// What there is to say about the rows of the batch that `path` names, in their order.
///
/// # Errors
/// The file cannot be read.
pub fn problems(path: &Path, each: &mut dyn FnMut(RowError, Outcome) -> io::Result<()>) -> Result<(), StageError> {
    use std::io::BufRead as _;
    let path = path.with_extension("problems");
    let from = match File::open(&path) {
        Ok(from) => BufReader::new(from),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(file(&path)(error)),
    };
    for line in from.lines() {
        let line = line.map_err(file(&path))?;
        let said = serde_json::from_str(&line).map_err(|error| file(&path)(error.into()))?;
        let Said { line, column, code, outcome, message, mend } = said;
        each(RowError { line, column, code, message, mend }, outcome).map_err(file(&path))?;
    }
    Ok(())
}

fn frame(to: &mut impl Write, bytes: &[u8]) -> io::Result<()> {
    let len = u32::try_from(bytes.len()).ok().filter(|len| (1..=ITEM_BYTES_MAX).contains(len));
    let len = len.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "a record is too large to stage"))?;
    to.write_all(&len.to_be_bytes())?;
    to.write_all(bytes)
}
