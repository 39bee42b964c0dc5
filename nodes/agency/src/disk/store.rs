//! What the engine reads: values and tiles, including what is durable and not yet in its place.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use puente_audit_log::{BundleId, LogPath, ReadError, TileId, TileReader};
use puente_exchange::api::Store;
use puente_model::Digest;

use super::evidence_reader::EvidenceReader;
use super::files::{Disk, site};
use super::receipts;
use super::shared::Shared;

/// How long a read waits for the applier to hash entries that are durable already.
const HASHING_MAX: Duration = Duration::from_secs(30);

/// The evidence store as the engine sees it: every durable batch at once, also those not yet in SQLite.
pub struct EvidenceStore {
    pub(crate) shared: Arc<Shared>,
    pub(crate) reader: EvidenceReader,
    /// The log's folder, with the sidecar in it.
    pub(crate) root: PathBuf,
}

impl Store for EvidenceStore {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, String> {
        // Memory lets go of a value only after its transaction: what is not here is there.
        match self.shared.newer(key) {
            Some(newer) => Ok(newer.map(|value| value.as_ref().clone())),
            None => self.reader.get(key),
        }
    }

    fn scan(&self, prefix: &[u8], start: &[u8], limit: usize) -> Result<Vec<(Vec<u8>, Vec<u8>)>, String> {
        let start = start.max(prefix);
        let end = after_prefix(prefix);
        let newer = self.shared.newer_range(start, end.as_deref(), limit);
        let deleted = newer.iter().filter(|(_, value)| value.is_none()).count();
        let replaced = newer.len() - deleted;
        let older = self.reader.range(start, end.as_deref(), limit.saturating_add(deleted).saturating_add(replaced))?;
        let mut newer = newer.into_iter().peekable();
        let mut older = older.into_iter().peekable();
        let mut out = Vec::with_capacity(limit.min(1_024));
        while out.len() < limit {
            // On equal keys memory wins and the database's value is passed over.
            let from_memory = match (newer.peek(), older.peek()) {
                (Some((new, _)), Some((old, _))) => new <= old,
                (Some(_), None) => true,
                (None, Some(_)) => false,
                (None, None) => break,
            };
            if from_memory {
                let Some((key, value)) = newer.next() else { break };
                older.next_if(|(old, _)| *old == key);
                if let Some(value) = value {
                    out.push((key, value.as_ref().clone()));
                }
            } else {
                out.extend(older.next());
            }
        }
        Ok(out)
    }

    fn kept_receipts(&self, origin: &str, from: u64, limit: usize) -> Result<Vec<(Digest, Vec<u8>)>, String> {
        let mut out = Vec::new();
        for path in receipts::sidecars(&self.root).map_err(|error| error.to_string())? {
            let read = receipts::gather(&path, origin, from, limit, &mut out);
            read.map_err(|error| format!("{}: {error}", path.display()))?;
        }
        Ok(out)
    }
}

/// The first key after all that begin with `prefix`; none if there is no such key.
fn after_prefix(prefix: &[u8]) -> Option<Vec<u8>> {
    let last = prefix.iter().rposition(|byte| *byte != u8::MAX)?;
    let mut end = prefix[..=last].to_vec();
    end[last] += 1;
    Some(end)
}

/// The log's files as the engine sees them: on disk, or in memory on their way there.
pub struct LogTiles {
    pub(crate) shared: Arc<Shared>,
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) root: PathBuf,
}

impl LogTiles {
    /// The file, once the entries under it (`needed` of them) are hashed.
    fn read(&self, path: LogPath, needed: u64) -> Result<Vec<u8>, ReadError> {
        let ready = self.shared.wait_until(Some(HASHING_MAX), |state| state.mirrored >= needed || state.size < needed);
        let state = ready.map_err(|error| ReadError::Io(error.to_string()))?;
        if state.size < needed {
            return Err(ReadError::NotFound);
        }
        if let Some(file) = state.pending.get(&path) {
            return Ok(file.bytes.clone());
        }
        drop(state);
        read_file(self.disk.as_ref(), &self.root.join(path.to_string()))
    }
}

/// A file of the log.
pub(crate) fn read_file(disk: &dyn Disk, path: &std::path::Path) -> Result<Vec<u8>, ReadError> {
    disk.read(site::TILES_READ, path).map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => ReadError::NotFound,
        _ => ReadError::Io(error.to_string()),
    })
}

impl TileReader for LogTiles {
    fn tile(&self, id: TileId) -> Result<Vec<u8>, ReadError> {
        let hashes = id.index().saturating_mul(256).saturating_add(u64::from(id.width()));
        let needed = hashes.checked_shl(8 * u32::from(id.level())).ok_or(ReadError::NotFound)?;
        self.read(id.into(), needed)
    }

    fn bundle(&self, id: BundleId) -> Result<Vec<u8>, ReadError> {
        self.read(id.into(), id.index().saturating_mul(256).saturating_add(u64::from(id.width())))
    }
}
