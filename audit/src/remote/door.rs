//! Where a log's files come from: a node's door, or a folder that somebody else fills.

use std::fs::File;
use std::io::{BufRead as _, Read as _, Seek as _, SeekFrom};
use std::ops::Range;
use std::path::{Path, PathBuf};

use puente_model::NodeUri;

use super::client::{Client, Got};
use super::error::RemoteError;
use crate::dir::open;
use crate::ledgers;

/// Bytes that are compared at once.
const PIECE: usize = 64 * 1024;

/// Files of one log, by the names that C2SP tlog-tiles and this protocol give them.
pub(super) trait Door: Sync {
    /// One file of at most `max` bytes, or exactly the range of it.
    fn get(&self, path: &str, max: u64, range: Option<Range<u64>>) -> Result<Got, RemoteError>;

    /// Whether it shows what is signed now, so that a head smaller than an earlier one is a node's doing.
    fn is_current(&self) -> bool;

    /// Whether a sidecar that was copied before is the beginning of the one that is there now.
    fn continues(&self, asides: &Path) -> Result<bool, RemoteError>;

    /// Who gives it; none where nobody shows a certificate.
    fn node(&self) -> Result<Option<&NodeUri>, RemoteError>;
}

impl Door for Client {
    fn get(&self, path: &str, max: u64, range: Option<Range<u64>>) -> Result<Got, RemoteError> {
        self.fetch(path, max, range)
    }

    fn is_current(&self) -> bool {
        true
    }

    fn continues(&self, _: &Path) -> Result<bool, RemoteError> {
        // One node's, and it only ever adds to it; what it did not, the audit says.
        Ok(true)
    }

    fn node(&self) -> Result<Option<&NodeUri>, RemoteError> {
        self.peer_node().map(Some).ok_or_else(|| RemoteError::NoNode("it showed no certificate".to_owned()))
    }
}

/// An exported log: on a disk that came by courier, or in a folder that another program keeps up to date.
#[derive(Debug)]
pub(super) struct Folder {
    dir: PathBuf,
}

impl Folder {
    pub(super) fn new(dir: &Path) -> Self {
        Self { dir: dir.to_owned() }
    }

    /// The names of the ledgers beside the log, a line each, as a door tells them.
    fn ledgers(&self) -> Vec<u8> {
        ledgers::beside(&self.dir).into_iter().map(|(_, origin)| format!("{origin}\n")).collect::<String>().into_bytes()
    }
}

impl Door for Folder {
    fn get(&self, path: &str, max: u64, range: Option<Range<u64>>) -> Result<Got, RemoteError> {
        if path == "ledgers/" {
            return Ok(Got { bytes: self.ledgers(), asides: None });
        }
        let at = self.dir.join(path);
        let odd = |why: String| RemoteError::Protocol { path: at.display().to_string(), why };
        let mut file: File = match open(&at) {
            Ok(file) => file,
            Err(puente_audit_log::ReadError::NotFound) => return Err(RemoteError::Missing(at.display().to_string())),
            Err(error) => return Err(odd(error.to_string())),
        };
        let failed = |error: std::io::Error| odd(error.to_string());
        let asides = match path {
            // What an exporter writes last: all of the sidecar that belongs to it is there.
            "checkpoint" => Some(std::fs::metadata(self.dir.join("asides")).map_or(0, |found| found.len())),
            _ => None,
        };
        let mut bytes = Vec::new();
        if let Some(range) = &range {
            file.seek(SeekFrom::Start(range.start)).map_err(failed)?;
        }
        let most = range.as_ref().map_or(max.saturating_add(1), |range| range.end - range.start);
        file.take(most).read_to_end(&mut bytes).map_err(failed)?;
        let short = range.is_some_and(|range| bytes.len() as u64 != range.end - range.start);
        if bytes.len() as u64 > max || short {
            let length = bytes.len();
            return Err(odd(format!("{length} bytes where at most {max} belong")));
        }
        Ok(Got { bytes, asides })
    }

    fn is_current(&self) -> bool {
        false
    }

    fn continues(&self, asides: &Path) -> Result<bool, RemoteError> {
        // One export was for the own auditors, another for a foreign nation's: their sidecars differ from the first byte on.
        let open = |path: &Path| File::open(path).map(std::io::BufReader::new);
        let failed = |error: std::io::Error| RemoteError::Disk { path: asides.to_owned(), why: error.to_string() };
        let Ok(mut theirs) = open(&self.dir.join("asides")) else { return Ok(false) };
        let mut ours = open(asides).map_err(failed)?;
        loop {
            let chunk = ours.fill_buf().map_err(failed)?;
            let length = chunk.len().min(PIECE);
            if length == 0 {
                return Ok(true);
            }
            let mut same = vec![0; length];
            if theirs.read_exact(&mut same).is_err() || same != chunk[..length] {
                return Ok(false);
            }
            ours.consume(length);
        }
    }

    fn node(&self) -> Result<Option<&NodeUri>, RemoteError> {
        Ok(None)
    }
}
