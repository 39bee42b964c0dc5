//! Receipts made from a copied log's own files.

use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use puente_audit_log::{
    ClaimedCheckpoint, ClaimedReceipt, SignedCheckpoint, TileReader, leaf_hash, prove_inclusion, verify_inclusion,
};
use puente_model::{Digest, LeafIndex};

use crate::dir::LogDir;
use crate::error::AuditError;
use crate::evidence::ProvenEntry;

/// A C2SP tlog-proof for entry `index` of a copied log, under its head, from its files alone.
///
/// Nothing but the files' own agreement is checked: the head's signature is the reader's business.
///
/// # Errors
/// The entry is not under the head, or a file is missing or damaged.
pub fn prove(dir: &Path, index: u64) -> Result<Vec<u8>, AuditError> {
    let log = LogDir::new(dir);
    let note = log.checkpoint().map_err(|error| AuditError::file(&dir.join("checkpoint"), &error))?;
    let head = ClaimedCheckpoint::parse(&note)?;
    let (size, root) = (head.claimed().size(), head.claimed().root());
    let hashes = prove_inclusion(&log, LeafIndex(index), size)?;
    let entry = log.entry(index, size.0).ok_or(AuditError::NoEntry { index })?;
    verify_inclusion(LeafIndex(index), size, &leaf_hash(&entry), &hashes, &root)
        .map_err(|_| AuditError::Damaged { index })?;
    let text = tlog_proof(index, &hashes, &note);
    ClaimedReceipt::parse(&text)?;
    Ok(text)
}

/// An entry and its receipt, for evidence.
pub(crate) fn proven_entry(
    dir: &LogDir,
    tiles: &dyn TileReader,
    head: &SignedCheckpoint,
    index: u64,
) -> Option<ProvenEntry> {
    let hashes = prove_inclusion(tiles, LeafIndex(index), head.size()).ok()?;
    let entry = dir.entry(index, head.size().0)?;
    let leaf = leaf_hash(&entry);
    verify_inclusion(LeafIndex(index), head.size(), &leaf, &hashes, &head.root()).ok()?;
    Some(ProvenEntry { entry, receipt: tlog_proof(index, &hashes, head.note_bytes()) })
}

/// The text form of a C2SP tlog-proof.
fn tlog_proof(index: u64, hashes: &[Digest], note: &[u8]) -> Vec<u8> {
    let mut text = format!("c2sp.org/tlog-proof@v1\nindex {index}\n");
    for hash in hashes {
        text.push_str(&STANDARD.encode(hash.0));
        text.push('\n');
    }
    text.push('\n');
    let mut bytes = text.into_bytes();
    bytes.extend_from_slice(note);
    bytes
}
