//! A node that left: the final entry of its log, opened to everybody in the file `final` beside the checkpoint.

use puente_audit_log::{ClaimedReceipt, ReadError, SignedCheckpoint, leaf_hash};
use puente_model::{Digest, EventKind, NodeUri, Secret32};
use puente_wire::proto::{Message as _, Proven};
use puente_wire::{Entry, Event, Header};

use crate::dir::LogDir;
use crate::roster::Roster;

/// Says that a node has left: REVOKE with the node's own name.
pub(crate) fn leaves(event: &Event, owner: &NodeUri) -> bool {
    event.kind == EventKind::Revoke && event.peer.as_ref() == Some(owner)
}

/// A verified final entry.
pub(crate) struct Final {
    pub(crate) index: u64,
    pub(crate) leaf: Digest,
    /// The head that the node signed over it.
    pub(crate) head: SignedCheckpoint,
}

/// The final entry that lies beside a copied log; none if there is no such file.
///
/// # Errors
/// What is wrong with the file. It convicts nobody: whoever made the copy may have put it there.
pub(crate) fn read(dir: &LogDir, roster: &Roster<'_>, origin: &str, owner: &NodeUri) -> Result<Option<Final>, String> {
    let bytes = match dir.final_entry() {
        Ok(bytes) => bytes,
        Err(ReadError::NotFound) => return Ok(None),
        Err(error) => return Err(error.to_string()),
    };
    let proven = Proven::decode(bytes.as_slice()).map_err(|error| error.to_string())?;
    let receipt = ClaimedReceipt::parse(&proven.receipt).map_err(|error| error.to_string())?;
    let named = receipt.checkpoint().claimed().origin().to_owned();
    let key = roster.key(origin).filter(|_| named == origin).ok_or_else(|| format!("it is of log {named}"))?;
    let leaf = leaf_hash(&proven.entry);
    let receipt = receipt.verify(&leaf, key).map_err(|error| error.to_string())?;
    let Ok(Entry::Veiled(veiled)) = Entry::decode(&proven.entry) else {
        return Err("its entry is no event".to_owned());
    };
    let salt: [u8; 32] = proven.header_salt.as_slice().try_into().map_err(|_| "its salt is not 32 bytes".to_owned())?;
    if Header::commit(&proven.header, &Secret32::new(salt)) != veiled.commitment {
        return Err("its header is not the one that the entry commits to".to_owned());
    }
    match Header::decode(&proven.header) {
        Ok(Header::Event(event)) if leaves(&event, owner) => {
            Ok(Some(Final { index: receipt.index().0, leaf, head: receipt.head().clone() }))
        }
        _ => Err("its entry does not say that the node left".to_owned()),
    }
}
