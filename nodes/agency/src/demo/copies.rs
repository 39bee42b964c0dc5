//! Copied logs as files: read without trusting them, and written anew by a dishonest operator.

use std::convert::Infallible;
use std::fs;
use std::path::Path;

use puente_audit_log::{
    Batch, BundleId, ClaimedCheckpoint, Ed25519Signer, Journal, KeyKind, Log, LogFile, TILE_WIDTH, decode_bundle,
    leaf_hash,
};
use puente_model::limits::BATCH_ENTRIES_MAX;
use puente_model::{Digest, Secret32};
use puente_wire::{Entry, Pair};

use crate::cli::Failure;

/// A copied log, read.
#[derive(Debug, Clone)]
pub(super) struct Copy {
    /// Origin as the head states it.
    pub(super) origin: String,
    /// Every entry under the head.
    pub(super) entries: Vec<Vec<u8>>,
}

/// One pair entry of a copy.
#[derive(Debug, Clone)]
pub(super) struct Placed {
    pub(super) index: usize,
    pub(super) leaf: Digest,
    pub(super) pair: Pair,
}

fn broken(dir: &Path, why: impl std::fmt::Display) -> Failure {
    Failure::unavailable("copy", format!("{}: {why}", dir.display()))
}

fn io(path: &Path) -> impl FnOnce(std::io::Error) -> Failure + '_ {
    |error| Failure::file(path, &error)
}

impl Copy {
    /// Reads head and entries of a folder that `puente log export` wrote.
    pub(super) fn read(dir: &Path) -> Result<Self, Failure> {
        let path = dir.join("checkpoint");
        let note = fs::read(&path).map_err(io(&path))?;
        let head = ClaimedCheckpoint::parse(&note).map_err(|e| broken(dir, e))?;
        let (origin, size) = (head.claimed().origin().to_owned(), head.claimed().size().0);
        let mut entries = Vec::new();
        while (entries.len() as u64) < size {
            let at = entries.len() as u64;
            let width = u16::try_from(size - at).unwrap_or(TILE_WIDTH).min(TILE_WIDTH);
            let id = BundleId::new(at >> 8, width).map_err(|e| broken(dir, e))?;
            let path = dir.join(puente_audit_log::LogPath::from(id).to_string());
            let bytes = fs::read(&path).map_err(io(&path))?;
            let read = decode_bundle(&bytes, width).map_err(|e| broken(dir, e))?;
            entries.extend(read.into_iter().map(<[u8]>::to_vec));
        }
        Ok(Self { origin, entries })
    }

    /// The pair entries, in order.
    pub(super) fn pairs(&self) -> Vec<Placed> {
        let entries = self.entries.iter().enumerate();
        entries
            .filter_map(|(index, bytes)| match Entry::decode(bytes) {
                Ok(Entry::Pair(pair)) => Some(Placed { index, leaf: leaf_hash(bytes), pair }),
                _ => None,
            })
            .collect()
    }
}

/// The disk of a dishonest operator, who needs none.
struct Nowhere;

impl Journal for Nowhere {
    type Error = Infallible;

    fn persist(&mut self, _: Batch<'_>) -> Result<(), Infallible> {
        Ok(())
    }
}

/// The files of a log with these entries, its head signed afresh with the log's own key.
pub(super) fn sign_anew(origin: &str, entries: &[Vec<u8>], key: &Secret32) -> Result<Vec<LogFile>, Failure> {
    let failed =
        |what: String| Failure::unavailable("demo", format!("the log {origin} could not be written anew: {what}"));
    let signer = Ed25519Signer::new(origin, KeyKind::Ed25519, key).map_err(|e| failed(e.to_string()))?;
    let mut log = Log::empty(origin).map_err(|e| failed(e.to_string()))?;
    let mut files = Vec::new();
    for batch in entries.chunks(BATCH_ENTRIES_MAX) {
        let staged = log.stage(batch).map_err(|e| failed(e.to_string()))?;
        let sealed = staged.sign(&signer).map_err(|e| failed(e.to_string()))?;
        let persisted = sealed.persist(&mut Nowhere).map_err(|e| failed(e.to_string()))?;
        files.extend(log.commit(persisted).map_err(|e| failed(e.to_string()))?.files);
    }
    files.extend(log.publish().unwrap_or_default());
    Ok(files)
}

/// Replaces the log in `dir` (not its sidecar) by these files.
pub(super) fn replace_log(dir: &Path, files: &[LogFile]) -> Result<(), Failure> {
    let tiles = dir.join("tile");
    if tiles.exists() {
        fs::remove_dir_all(&tiles).map_err(io(&tiles))?;
    }
    for file in files {
        let path = dir.join(file.path.to_string());
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent).map_err(io(parent))?;
        }
        fs::write(&path, &file.bytes).map_err(io(&path))?;
    }
    Ok(())
}

/// Copies a folder and everything in it.
pub(super) fn copy_folder(from: &Path, to: &Path) -> Result<(), Failure> {
    fs::create_dir_all(to).map_err(io(to))?;
    for entry in fs::read_dir(from).map_err(io(from))? {
        let entry = entry.map_err(io(from))?;
        let (source, target) = (entry.path(), to.join(entry.file_name()));
        if entry.file_type().map_err(io(&source))?.is_dir() {
            copy_folder(&source, &target)?;
        } else {
            fs::copy(&source, &target).map_err(io(&source))?;
        }
    }
    Ok(())
}

/// Every file below a folder, sorted.
pub(super) fn files_below(dir: &Path) -> Result<Vec<std::path::PathBuf>, Failure> {
    let mut out = Vec::new();
    for entry in fs::read_dir(dir).map_err(io(dir))? {
        let entry = entry.map_err(io(dir))?;
        if entry.file_type().map_err(io(dir))?.is_dir() {
            out.extend(files_below(&entry.path())?);
        } else {
            out.push(entry.path());
        }
    }
    out.sort();
    Ok(out)
}

/// The ledgers of groups beside a copied log, by their names.
pub(super) fn ledgers_below(dir: &Path) -> Result<Vec<std::path::PathBuf>, Failure> {
    let ledgers = dir.join("ledgers");
    if !ledgers.exists() {
        return Ok(Vec::new());
    }
    let heads = files_below(&ledgers)?.into_iter().filter(|file| file.ends_with("checkpoint"));
    Ok(heads.filter_map(|file| Some(file.parent()?.strip_prefix(&ledgers).ok()?.to_owned())).collect())
}
