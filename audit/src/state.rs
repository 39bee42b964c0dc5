//! What an auditor keeps: the charter, its pin, and the largest head found sound of each log.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use puente_audit_log::SignedCheckpoint;
use puente_charter::{Charter, ClaimedPart};
use puente_model::Digest;
use puente_model::limits::{CHARTER_BYTES_MAX, NOTE_BYTES_MAX};

use crate::dir::read_bounded;
use crate::error::AuditError;

/// Charter parts that a folder may hold.
const PARTS_MAX: usize = 10_000;
/// The largest file of remembered heads, in bytes.
const HEADS_BYTES_MAX: u64 = 256 << 20;

/// Reads and verifies the charter of a folder: every `*.toml` with its `*.toml.sig`.
///
/// # Errors
/// A file cannot be read, or the charter does not verify against the pin.
pub fn load_charter(dir: &Path, pin: Digest) -> Result<Charter, AuditError> {
    let mut parts = Vec::new();
    for path in charter_files(dir)? {
        let read = |path: &Path| -> Result<String, AuditError> {
            let bytes = read_bounded(path, CHARTER_BYTES_MAX as u64).map_err(|error| AuditError::file(path, &error))?;
            String::from_utf8(bytes).map_err(|_| AuditError::File { path: path.to_owned(), why: "not UTF-8".into() })
        };
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        parts.push(ClaimedPart::from_files(&name, &read(&path)?, &read(&signature_file(&path))?)?);
    }
    Ok(Charter::verify(parts, pin)?)
}

fn signature_file(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".sig");
    name.into()
}

/// The charter parts of a folder: those files that have a signature file beside them.
fn charter_files(dir: &Path) -> Result<Vec<PathBuf>, AuditError> {
    let listed = fs::read_dir(dir).map_err(|error| AuditError::io(dir, &error))?;
    let mut files = Vec::new();
    for entry in listed {
        let path = entry.map_err(|error| AuditError::io(dir, &error))?.path();
        if path.extension().is_some_and(|e| e == "toml") && signature_file(&path).exists() {
            files.push(path);
        }
        if files.len() > PARTS_MAX {
            return Err(AuditError::File { path: dir.to_owned(), why: "too many charter parts".into() });
        }
    }
    files.sort();
    Ok(files)
}

/// An auditor's folder.
#[derive(Debug)]
pub struct State {
    dir: PathBuf,
    heads: BTreeMap<String, String>,
}

impl State {
    /// Makes the folder, or brings its charter up to date; returns the charter in force.
    ///
    /// # Errors
    /// The charter does not verify, goes back on the one already there, or files cannot be written.
    pub fn init(dir: &Path, charter_dir: &Path, pin: Digest) -> Result<(Self, Charter), AuditError> {
        let mut charter = load_charter(charter_dir, pin)?;
        let kept = dir.join("charter");
        if let Some(known) = read_pin(dir)? {
            if known != pin {
                return Err(AuditError::OtherPin { known: known.to_string(), given: pin.to_string() });
            }
            charter = load_charter(&kept, pin)?.adopt(charter)?;
        }
        fs::create_dir_all(&kept).map_err(|error| AuditError::io(&kept, &error))?;
        for path in charter_files(charter_dir)? {
            for from in [path.clone(), signature_file(&path)] {
                let bytes = read_bounded(&from, CHARTER_BYTES_MAX as u64).map_err(|e| AuditError::file(&from, &e))?;
                replace(&kept.join(from.file_name().unwrap_or_default()), &bytes)?;
            }
        }
        replace(&dir.join("pin"), format!("{pin}\n").as_bytes())?;
        Ok((Self { dir: dir.to_owned(), heads: read_heads(dir)? }, charter))
    }

    /// Opens the folder that [`State::init`] made.
    ///
    /// # Errors
    /// [`AuditError::NoCharter`] if there is none; its charter does not verify.
    pub fn open(dir: &Path) -> Result<(Self, Charter), AuditError> {
        let pin = read_pin(dir)?.ok_or(AuditError::NoCharter)?;
        let charter = load_charter(&dir.join("charter"), pin)?;
        Ok((Self { dir: dir.to_owned(), heads: read_heads(dir)? }, charter))
    }

    /// The note of the largest head of a log that was found sound.
    pub fn remembered(&self, origin: &str) -> Option<Vec<u8>> {
        self.heads.get(origin).map(|note| note.clone().into_bytes())
    }

    /// The logs and ledgers of which a head is remembered.
    pub(crate) fn origins(&self) -> impl Iterator<Item = &str> {
        self.heads.keys().map(String::as_str)
    }

    /// The notes of all remembered heads.
    pub(crate) fn notes(&self) -> impl Iterator<Item = &[u8]> {
        self.heads.values().map(String::as_bytes)
    }

    /// The folder.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Remembers heads, durably.
    pub(crate) fn remember<'h>(
        &mut self,
        heads: impl IntoIterator<Item = &'h SignedCheckpoint>,
    ) -> Result<(), AuditError> {
        for head in heads {
            let note = String::from_utf8_lossy(head.note_bytes()).into_owned();
            self.heads.insert(head.origin().to_owned(), note);
        }
        let text = serde_json::to_vec_pretty(&self.heads).map_err(|e| AuditError::Unreadable(e.to_string()))?;
        replace(&self.dir.join("heads.json"), &text)
    }
}

fn read_pin(dir: &Path) -> Result<Option<Digest>, AuditError> {
    let path = dir.join("pin");
    let bytes = match read_bounded(&path, 128) {
        Ok(bytes) => bytes,
        Err(puente_audit_log::ReadError::NotFound) => return Ok(None),
        Err(error) => return Err(AuditError::file(&path, &error)),
    };
    let text = String::from_utf8_lossy(&bytes);
    let pin = text.trim().parse().map_err(|_| AuditError::File { path, why: "it is no pin: run init again".into() })?;
    Ok(Some(pin))
}

fn read_heads(dir: &Path) -> Result<BTreeMap<String, String>, AuditError> {
    let path = dir.join("heads.json");
    let bytes = match read_bounded(&path, HEADS_BYTES_MAX) {
        Ok(bytes) => bytes,
        Err(puente_audit_log::ReadError::NotFound) => return Ok(BTreeMap::new()),
        Err(error) => return Err(AuditError::file(&path, &error)),
    };
    let heads: BTreeMap<String, String> = serde_json::from_slice(&bytes).map_err(|error| AuditError::File {
        path: path.clone(),
        why: format!("the remembered heads cannot be read ({error}): restore the file"),
    })?;
    match heads.values().find(|note| note.len() > NOTE_BYTES_MAX) {
        Some(_) => Err(AuditError::File { path, why: "a remembered head is too large: restore the file".into() }),
        None => Ok(heads),
    }
}

/// Writes a file in one step: readers see the old bytes or the new ones.
pub(crate) fn replace(path: &Path, bytes: &[u8]) -> Result<(), AuditError> {
    let failed = |error: std::io::Error| AuditError::io(path, &error);
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent).map_err(failed)?;
    }
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let draft = path.with_file_name(format!(".{name}.{}", std::process::id()));
    let mut file = fs::File::create(&draft).map_err(failed)?;
    file.write_all(bytes).and_then(|()| file.sync_all()).map_err(failed)?;
    fs::rename(&draft, path).map_err(failed)
}
