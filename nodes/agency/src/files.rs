//! Small files, written whole: secrets readable by their owner alone, nothing half written.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use puente_model::Secret32;

/// The largest key, certificate, charter part or policy file that is read, in bytes.
pub const FILE_BYTES_MAX: u64 = 4 << 20;

/// Makes a folder, and those above it, unless it exists.
///
/// # Errors
/// The folder cannot be made.
pub fn make_dir(path: &Path) -> io::Result<()> {
    std::fs::create_dir_all(path)
}

/// Makes a folder that only its owner may enter, unless it exists.
///
/// # Errors
/// The folder cannot be made.
pub fn make_private_dir(path: &Path) -> io::Result<()> {
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path)
}

/// Writes a new file; an existing one is left alone.
///
/// # Errors
/// It exists already, or cannot be written.
pub fn create(path: &Path, bytes: &[u8], private: bool) -> io::Result<()> {
    let mode = if private { 0o600 } else { 0o644 };
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(path)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    sync_parent(path)
}

/// Replaces a file in one step: readers see the old text or the new.
///
/// # Errors
/// It cannot be written.
pub fn replace(path: &Path, bytes: &[u8], private: bool) -> io::Result<()> {
    let mode = if private { 0o600 } else { 0o644 };
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let draft = path.with_file_name(format!(".{name}.{}.new", std::process::id()));
    let write = || {
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(mode).open(&draft)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        std::fs::rename(&draft, path)?;
        sync_parent(path)
    };
    write().inspect_err(|_| {
        let _ = std::fs::remove_file(&draft);
    })
}

/// Gives a file another name, in place of whatever had it.
///
/// # Errors
/// It cannot be renamed.
pub fn rename(from: &Path, to: &Path) -> io::Result<()> {
    std::fs::rename(from, to)?;
    sync_parent(to)
}

fn sync_parent(path: &Path) -> io::Result<()> {
    match path.parent() {
        Some(parent) if parent.as_os_str().is_empty() => File::open(".")?.sync_all(),
        Some(parent) => File::open(parent)?.sync_all(),
        None => Ok(()),
    }
}

/// Reads a file of at most [`FILE_BYTES_MAX`].
///
/// # Errors
/// It cannot be read, or is larger.
pub fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, format!("larger than {FILE_BYTES_MAX} bytes")));
    }
    Ok(bytes)
}

/// Reads a UTF-8 file of at most [`FILE_BYTES_MAX`].
///
/// # Errors
/// It cannot be read, is larger, or is not UTF-8.
pub fn read_text(path: &Path) -> io::Result<String> {
    String::from_utf8(read(path)?).map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "not UTF-8 text"))
}

/// Inode, length and time of a file, by which one tells that it was changed; none if it is not there.
pub(crate) type Stamp = Option<(u64, u64, SystemTime)>;

/// What tells now whether the file was changed.
pub(crate) fn stamp(path: &Path) -> Stamp {
    let meta = std::fs::metadata(path).ok()?;
    Some((meta.ino(), meta.len(), meta.modified().ok()?))
}

/// What was read from some files, and is read again whenever one of them has changed.
#[derive(Debug)]
pub(crate) struct Reread<T, const N: usize> {
    files: [PathBuf; N],
    read: Option<(T, [Stamp; N])>,
}

impl<T, const N: usize> Reread<T, N> {
    /// Nothing is read before it is asked for.
    pub(crate) const fn new(files: [PathBuf; N]) -> Self {
        Self { files, read: None }
    }

    /// What the files hold now, as `read` reads them.
    ///
    /// # Errors
    /// They cannot be read. What they held before counts for nothing then: half a change lets nobody in.
    pub(crate) fn now<E>(&mut self, read: impl FnOnce() -> Result<T, E>) -> Result<&T, E> {
        // Taken before the files are read: what changes meanwhile is read again.
        let stamps = self.files.each_ref().map(|path| stamp(path));
        let held = match self.read.take() {
            Some(held) if held.1 == stamps => held,
            _ => (read()?, stamps),
        };
        Ok(&self.read.insert(held).0)
    }
}

/// Writes a new secret: 64 hexadecimal digits, for its owner alone.
///
/// # Errors
/// It exists already, or cannot be written.
pub fn create_secret(path: &Path, secret: &Secret32) -> io::Result<()> {
    let mut text = zeroize::Zeroizing::new(hex::encode(secret.expose()));
    text.push('\n');
    create(path, text.as_bytes(), true)
}

/// Reads a secret of 64 hexadecimal digits.
///
/// # Errors
/// It cannot be read, or is not one. The error never shows what was read.
pub fn read_secret(path: &Path) -> io::Result<Secret32> {
    secret_of(&zeroize::Zeroizing::new(read(path)?))
}

/// The secret that a key file's bytes spell.
///
/// # Errors
/// They are not 64 hexadecimal digits. The error never shows them.
pub fn secret_of(text: &[u8]) -> io::Result<Secret32> {
    let mut bytes = [0; 32];
    hex::decode_to_slice(text.trim_ascii(), &mut bytes)
        .map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "a secret is 64 hexadecimal digits"))?;
    Ok(Secret32::new(bytes))
}

/// A fresh secret, from the operating system.
///
/// # Errors
/// The operating system gives no randomness.
pub fn fresh_secret() -> io::Result<Secret32> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).map_err(|error| io::Error::other(error.to_string()))?;
    Ok(Secret32::new(bytes))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn secrets_are_for_their_owner_and_never_overwritten() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.key");
        let secret = fresh_secret().unwrap();
        create_secret(&path, &secret).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(read_secret(&path).unwrap().expose(), secret.expose());
        assert_eq!(create_secret(&path, &secret).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        std::fs::write(&path, "canary-5f3").unwrap();
        assert!(!read_secret(&path).unwrap_err().to_string().contains("canary"));
    }

    #[test]
    fn replacing_leaves_nothing_behind() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a");
        replace(&path, b"1", false).unwrap();
        replace(&path, b"2", true).unwrap();
        assert_eq!(read_text(&path).unwrap(), "2");
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
    }
}
