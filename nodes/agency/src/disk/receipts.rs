//! Receipts of one log, read out of the sidecar: what a partner's successor log has to take up.

use std::fs::{self, File};
use std::io::{self, BufReader, Read};
use std::path::{Path, PathBuf};

use puente_audit_log::ClaimedReceipt;
use puente_model::Digest;
use puente_wire::proto::{self, Message as _};

/// The largest record of a sidecar, in bytes.
const ASIDE_BYTES_MAX: usize = 16 << 20;

/// The sidecars of a node: that of its log, and those of the logs before it.
pub(super) fn sidecars(root: &Path) -> io::Result<Vec<PathBuf>> {
    let mut out = Vec::new();
    let closed = root.with_file_name("closed");
    match fs::read_dir(&closed) {
        Ok(folders) => {
            for folder in folders {
                out.push(folder?.path().join("asides"));
            }
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    out.sort();
    out.push(root.join("asides"));
    Ok(out)
}

/// Gathers receipts of the log `origin` for entries from `from` on.
pub(super) fn gather(
    path: &Path,
    origin: &str,
    from: u64,
    limit: usize,
    out: &mut Vec<(Digest, Vec<u8>)>,
) -> io::Result<()> {
    let mut file = match File::open(path) {
        Ok(file) => BufReader::with_capacity(1 << 20, file),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    let mut bytes = Vec::new();
    while out.len() < limit {
        let mut len = [0; 4];
        match file.read_exact(&mut len) {
            Ok(()) => {}
            // What is being written now is no receipt of a log that is closed.
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(()),
            Err(error) => return Err(error),
        }
        let len = u32::from_be_bytes(len) as usize;
        if len > ASIDE_BYTES_MAX {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "a record of the sidecar is too long"));
        }
        bytes.resize(len, 0);
        match file.read_exact(&mut bytes) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(()),
            Err(error) => return Err(error),
        }
        let Ok(proto::Aside { leaf_hash, body: Some(proto::aside::Body::PeerReceipt(receipt)) }) =
            proto::Aside::decode(bytes.as_slice())
        else {
            continue;
        };
        let (Ok(leaf), Ok(claimed)) = (Digest::try_from(leaf_hash.as_slice()), ClaimedReceipt::parse(&receipt)) else {
            continue;
        };
        if claimed.checkpoint().claimed().origin() == origin && claimed.index().0 >= from {
            out.push((leaf, receipt));
        }
    }
    Ok(())
}
