//! Reading a backup: into a folder, or only to see that it is whole.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{self, BufReader, Read, Write};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::sync::Arc;

use sha2::{Digest as _, Sha256};

use super::{BackupError, FILES_MAX, FileEntry, MANIFEST, MANIFEST_BYTES_MAX, Manifest, VERSION, check_name};
use crate::files;
use crate::progress::{Counted, Phase, Progress};

/// A backup on its way out of its encryption.
pub type Opened = Box<dyn Read>;

/// Opens a backup with any of these identities; `progress` counts what is read of it.
///
/// # Errors
/// It cannot be read, is no age file, or none of them opens it.
pub fn open_backup(
    path: &Path,
    identities: &[Box<dyn age::Identity>],
    progress: &Arc<Progress>,
) -> Result<Opened, BackupError> {
    let file = File::open(path).map_err(BackupError::file(path))?;
    let of = file.metadata().ok().map(|metadata| metadata.len());
    progress.begin(Phase { what: "the backup is read", code: "read", of });
    let file = BufReader::with_capacity(1 << 20, Counted::new(file, progress));
    let sealed = |error: age::DecryptError| BackupError::Sealed(error.to_string());
    let decryptor = age::Decryptor::new_buffered(file).map_err(sealed)?;
    let identities = identities.iter().map(AsRef::as_ref);
    Ok(Box::new(decryptor.decrypt(identities).map_err(sealed)?))
}

/// Takes a backup apart into the empty folder `to` (nowhere, if there is none) and compares every file with the
/// manifest.
///
/// # Errors
/// [`BackupError`]: what was written until then is incomplete and must not be used.
pub fn unpack(opened: Opened, to: Option<&Path>) -> Result<Manifest, BackupError> {
    let damaged = |what: &str| BackupError::Damaged(what.to_owned());
    let broken = |error: io::Error| BackupError::Damaged(error.to_string());
    let mut archive = tar::Archive::new(opened);
    let mut found: BTreeMap<String, FileEntry> = BTreeMap::new();
    let mut manifest = None;
    for entry in archive.entries().map_err(broken)? {
        let mut entry = entry.map_err(broken)?;
        if manifest.is_some() {
            return Err(damaged("files follow the manifest"));
        }
        if entry.header().entry_type() != tar::EntryType::Regular {
            return Err(damaged("it holds something else than files"));
        }
        let name = String::from_utf8(entry.path_bytes().into_owned()).map_err(|_| damaged("a name is not text"))?;
        if name == MANIFEST {
            manifest = Some(read_manifest(&mut entry)?);
            continue;
        }
        check_name(&name)?;
        if found.len() >= FILES_MAX {
            return Err(damaged("it holds too many files"));
        }
        let target = to.map(|to| to.join(&name));
        let entry = take_out(&mut entry, target.as_deref())?;
        if found.insert(name, entry).is_some() {
            return Err(damaged("it holds one file twice"));
        }
    }
    let manifest = manifest.ok_or_else(|| damaged("it ends before its manifest"))?;
    if manifest.files != found {
        let differs = |name: &&String| manifest.files.get(*name) != found.get(*name);
        let first = manifest.files.keys().chain(found.keys()).find(differs);
        return Err(damaged(&format!("{} is not what the manifest says", first.map_or("a file", String::as_str))));
    }
    // To the very end: the last chunk's authentication is what tells a whole file from a cut one.
    io::copy(&mut archive.into_inner(), &mut io::sink()).map_err(broken)?;
    Ok(manifest)
}

fn read_manifest(entry: &mut impl Read) -> Result<Manifest, BackupError> {
    let mut bytes = Vec::new();
    let read = entry.take(MANIFEST_BYTES_MAX).read_to_end(&mut bytes);
    read.map_err(|error| BackupError::Damaged(error.to_string()))?;
    #[derive(serde::Deserialize)]
    struct Versioned {
        version: u32,
    }
    let bad = |error: serde_json::Error| BackupError::Damaged(format!("its manifest: {error}"));
    let Versioned { version } = serde_json::from_slice(&bytes).map_err(bad)?;
    if version != VERSION {
        return Err(BackupError::Version { found: version });
    }
    serde_json::from_slice(&bytes).map_err(bad)
}

/// Copies one file out, and says what it was.
fn take_out(from: &mut impl Read, target: Option<&Path>) -> Result<FileEntry, BackupError> {
    let mut file = match target {
        Some(path) => {
            if let Some(folder) = path.parent() {
                files::make_private_dir(folder).map_err(BackupError::file(folder))?;
            }
            let mut options = OpenOptions::new();
            let file = options.write(true).create_new(true).mode(0o600).open(path);
            Some(file.map_err(BackupError::file(path))?)
        }
        None => None,
    };
    let (mut digest, mut len, mut buffer) = (Sha256::new(), 0, vec![0; 1 << 16]);
    loop {
        let read = from.read(&mut buffer).map_err(|error| BackupError::Damaged(error.to_string()))?;
        if read == 0 {
            break;
        }
        let bytes = buffer.get(..read).unwrap_or_default();
        digest.update(bytes);
        len += read as u64;
        if let (Some(file), Some(path)) = (&mut file, target) {
            file.write_all(bytes).map_err(BackupError::file(path))?;
        }
    }
    if let (Some(file), Some(path)) = (file, target) {
        file.sync_all().map_err(BackupError::file(path))?;
    }
    Ok(FileEntry { len, sha256: hex::encode(digest.finalize()) })
}
