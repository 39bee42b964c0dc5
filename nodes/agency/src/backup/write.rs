//! Writing a backup: one pass over the files, into an encrypted archive, and a second pass over what was written.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Read, Write};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use sha2::{Digest as _, Sha256};

use super::{BackupError, FileEntry, MANIFEST, Manifest, check_name};
use crate::progress::{Counted, Phase, Progress};

/// What goes into a backup: name in the archive, where it lies, how many bytes of it (all, if none is said).
#[derive(Debug, Default)]
pub struct Contents {
    files: BTreeMap<String, (PathBuf, Option<u64>)>,
}

impl Contents {
    /// A file, if it is there.
    ///
    /// # Errors
    /// Its name is not one of a node's files.
    pub fn file(&mut self, name: &str, path: PathBuf) -> Result<(), BackupError> {
        check_name(name)?;
        if path.is_file() {
            self.files.insert(name.to_owned(), (path, None));
        }
        Ok(())
    }

    /// The first `len` bytes of a file that only grows.
    ///
    /// # Errors
    /// Its name is not one of a node's files.
    pub fn beginning(&mut self, name: &str, path: PathBuf, len: u64) -> Result<(), BackupError> {
        check_name(name)?;
        self.files.insert(name.to_owned(), (path, Some(len)));
        Ok(())
    }

    /// Every plain file of a folder, if it is there; links and hidden files are passed over.
    ///
    /// # Errors
    /// It cannot be read, or holds a name that no backup takes.
    pub fn folder(&mut self, name: &str, path: &Path) -> Result<(), BackupError> {
        let entries = match fs::read_dir(path) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(BackupError::File { path: path.to_owned(), error }),
        };
        for entry in entries {
            let entry = entry.map_err(BackupError::file(path))?;
            let kind = entry.file_type().map_err(BackupError::file(entry.path()))?;
            let file_name = entry.file_name();
            let Some(file_name) = file_name.to_str().filter(|name| !name.starts_with('.')) else { continue };
            let name = format!("{name}/{file_name}");
            if kind.is_dir() {
                self.folder(&name, &entry.path())?;
            } else if kind.is_file() {
                self.file(&name, entry.path())?;
            }
        }
        Ok(())
    }

    /// How many bytes, as far as can be seen before they are read.
    pub fn bytes(&self) -> u64 {
        let len = |path: &Path| fs::metadata(path).map_or(0, |metadata| metadata.len());
        self.files.values().map(|(path, part)| part.unwrap_or_else(|| len(path))).sum()
    }

    /// How many files.
    pub fn len(&self) -> usize {
        self.files.len()
    }

    /// True without any.
    pub fn is_empty(&self) -> bool {
        self.files.is_empty()
    }
}

/// Passes bytes on and remembers their digest.
struct Digesting<T> {
    inner: T,
    digest: Sha256,
    bytes: u64,
}

impl<T> Digesting<T> {
    fn new(inner: T) -> Self {
        Self { inner, digest: Sha256::new(), bytes: 0 }
    }
}

impl<W: Write> Write for Digesting<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.inner.write(bytes)?;
        self.digest.update(&bytes[..written]);
        self.bytes += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

impl<R: Read> Read for Digesting<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(into)?;
        self.digest.update(&into[..read]);
        self.bytes += read as u64;
        Ok(read)
    }
}

/// Writes a backup for these recipients into a new file, and reads it back. `manifest.files` is filled in; `progress` counts
/// what is written, then what is compared.
///
/// Returns the bytes of the file.
///
/// # Errors
/// [`BackupError`]; what was written of the file is removed.
pub fn write_backup(
    out: &Path,
    contents: &Contents,
    manifest: &mut Manifest,
    recipients: &[Box<dyn age::Recipient + Send>],
    progress: &Arc<Progress>,
) -> Result<u64, BackupError> {
    let mut options = OpenOptions::new();
    let file = options.write(true).create_new(true).mode(0o600).open(out).map_err(BackupError::file(out))?;
    progress.begin(Phase { what: "the backup is written", code: "write", of: Some(contents.bytes()) });
    let written = write_all(out, file, contents, manifest, recipients, progress).and_then(|(digest, bytes)| {
        progress.begin(Phase { what: "the backup is compared", code: "compare", of: Some(bytes) });
        let mut back = Digesting::new(Counted::new(File::open(out).map_err(BackupError::file(out))?, progress));
        io::copy(&mut back, &mut io::sink()).map_err(BackupError::file(out))?;
        let same = back.bytes == bytes && back.digest.finalize()[..] == digest[..];
        same.then_some(bytes).ok_or_else(|| BackupError::NotWritten(out.to_owned()))
    });
    if written.is_err() {
        // The error is what counts.
        let _ = fs::remove_file(out);
    }
    written
}

fn write_all(
    out: &Path,
    file: File,
    contents: &Contents,
    manifest: &mut Manifest,
    recipients: &[Box<dyn age::Recipient + Send>],
    progress: &Arc<Progress>,
) -> Result<(Vec<u8>, u64), BackupError> {
    let failed = || BackupError::file(out);
    let recipients = recipients.iter().map(|recipient| recipient.as_ref() as &dyn age::Recipient);
    let encryptor =
        age::Encryptor::with_recipients(recipients).map_err(|error| BackupError::Sealed(error.to_string()))?;
    let sink = Digesting::new(BufWriter::with_capacity(1 << 20, file));
    let mut archive = tar::Builder::new(encryptor.wrap_output(sink).map_err(failed())?);
    for (name, (path, len)) in &contents.files {
        let entry = append(&mut archive, name, path, *len, progress)?;
        manifest.files.insert(name.clone(), entry);
    }
    let bytes = serde_json::to_vec(manifest).map_err(|error| BackupError::Damaged(error.to_string()))?;
    let mut header = header(bytes.len() as u64);
    archive.append_data(&mut header, MANIFEST, bytes.as_slice()).map_err(failed())?;
    let sealed = archive.into_inner().map_err(failed())?;
    let Digesting { mut inner, digest, bytes } = sealed.finish().map_err(failed())?;
    inner.flush().map_err(failed())?;
    let file =
        inner.into_inner().map_err(|error| BackupError::File { path: out.to_owned(), error: error.into_error() })?;
    file.sync_all().map_err(failed())?;
    Ok((digest.finalize().to_vec(), bytes))
}

fn header(len: u64) -> tar::Header {
    let mut header = tar::Header::new_gnu();
    header.set_size(len);
    header.set_mode(0o600);
    header.set_mtime(0);
    header
}

fn append<W: Write>(
    archive: &mut tar::Builder<W>,
    name: &str,
    path: &Path,
    len: Option<u64>,
    progress: &Arc<Progress>,
) -> Result<FileEntry, BackupError> {
    let failed = || BackupError::file(path);
    let file = File::open(path).map_err(failed())?;
    let len = match len {
        Some(len) => len,
        None => file.metadata().map_err(failed())?.len(),
    };
    let mut source = Digesting::new(Counted::new(file.take(len), progress));
    archive.append_data(&mut header(len), name, &mut source).map_err(failed())?;
    if source.bytes != len {
        return Err(BackupError::Changed(name.to_owned()));
    }
    Ok(FileEntry { len, sha256: hex::encode(source.digest.finalize()) })
}
