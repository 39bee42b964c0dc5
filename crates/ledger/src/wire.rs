//! Messages between nodes and records on disk as bytes (`proto/puente/v1/ledger.proto`): canonical, bounded, parsed at the door.

use std::fmt::Display;
use std::str::FromStr;
use std::sync::Arc;

use prost::Message as _;
use prost::encoding::{WireType, decode_key, decode_varint};
use puente_audit_log::RECEIPT_BYTES_MAX;
use puente_model::limits::{ENTRY_BYTES_MAX, NOTE_BYTES_MAX};
use puente_model::{Digest, DigestError};

use crate::api::LedgerReceipt;
use crate::entry::COMMIT_BYTES_MAX;
use crate::generated as pb;
use crate::name::LedgerOrigin;

mod message;
mod record;
mod why;

/// Entries that one message or record holds.
pub const ENTRIES_MAX: usize = 1_024;
/// The same, in bytes.
pub const ENTRIES_BYTES_MAX: usize = 1 << 20;
/// Members that a record of a new epoch names.
pub const ROSTER_MAX: usize = 1_000;
/// A message or a record that holds no commit, in bytes.
pub const PLAIN_BYTES_MAX: usize = ENTRIES_BYTES_MAX + 4 * ENTRIES_MAX + NOTE_BYTES_MAX + 1_024;
/// A message or a record that holds a commit, in bytes.
pub const MESSAGE_BYTES_MAX: usize = COMMIT_BYTES_MAX + 16 * 1_024;

/// Why bytes are no message about a group's order, or no record of it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MessageError {
    /// Too large.
    #[error("a message or record of the group's ledger has {found} bytes; at most {max} are read")]
    TooLong {
        /// Bytes found.
        found: usize,
        /// Bytes that are read of this kind.
        max: usize,
    },
    /// Not one field that holds all the rest.
    #[error("a message or record of the group's ledger is not one field that holds everything")]
    Frame,
    /// Not protobuf.
    #[error("a message or record of the group's ledger is not protobuf of the expected shape: {0}")]
    Protobuf(#[from] prost::DecodeError),
    /// Nothing in it that is known here.
    #[error("a message or record of the group's ledger is of no kind that is known here")]
    Unknown,
    /// A field that must be there is not.
    #[error("a message or record of the group's ledger lacks its field '{0}'")]
    Missing(&'static str),
    /// A field is not what it must be.
    #[error("the field '{field}' of a message or record of the group's ledger does not hold what it must: {why}")]
    Field {
        /// Which.
        field: &'static str,
        /// What is wrong with it.
        why: String,
    },
    /// More of something than is read.
    #[error("the field '{field}' of a message or record of the group's ledger holds {found}; at most {max} are read")]
    TooMany {
        /// Which.
        field: &'static str,
        /// How many bytes or elements were found.
        found: usize,
        /// How many are read.
        max: usize,
    },
    /// A code that is not in the specification's table, or not of this message.
    #[error("a message of the group's ledger gives a reason with code {0}, which it cannot have")]
    Code(u32),
    /// Another encoding of the same.
    #[error("the bytes of a message or record of the group's ledger are not the canonical ones")]
    NotCanonical,
}

type Read<T> = Result<T, MessageError>;

/// Refuses what is too large for its kind before anything is allocated for it.
fn guard(raw: &[u8], holds_commit: &[u32]) -> Read<()> {
    if raw.len() > MESSAGE_BYTES_MAX {
        return Err(MessageError::TooLong { found: raw.len(), max: MESSAGE_BYTES_MAX });
    }
    let mut rest = raw;
    let (tag, wire) = decode_key(&mut rest)?;
    let length = decode_varint(&mut rest)?;
    if wire != WireType::LengthDelimited || usize::try_from(length) != Ok(rest.len()) {
        return Err(MessageError::Frame);
    }
    if raw.len() > PLAIN_BYTES_MAX && !holds_commit.contains(&tag) {
        return Err(MessageError::TooLong { found: raw.len(), max: PLAIN_BYTES_MAX });
    }
    Ok(())
}

fn canonical(raw: &[u8], again: &[u8]) -> Read<()> {
    if again == raw { Ok(()) } else { Err(MessageError::NotCanonical) }
}

fn there<T>(field: &'static str, value: Option<T>) -> Read<T> {
    value.ok_or(MessageError::Missing(field))
}

fn name<T>(field: &'static str, text: &str) -> Read<T>
where
    T: FromStr,
    T::Err: Display,
{
    text.parse().map_err(|why: T::Err| MessageError::Field { field, why: why.to_string() })
}

fn hash(field: &'static str, bytes: &[u8]) -> Read<Digest> {
    Digest::try_from(bytes).map_err(|why: DigestError| MessageError::Field { field, why: why.to_string() })
}

fn at_most(field: &'static str, found: usize, max: usize) -> Read<()> {
    if found > max { Err(MessageError::TooMany { field, found, max }) } else { Ok(()) }
}

fn bounded(field: &'static str, bytes: Vec<u8>, max: usize) -> Read<Vec<u8>> {
    at_most(field, bytes.len(), max)?;
    Ok(bytes)
}

fn entry(bytes: Vec<u8>) -> Read<Vec<u8>> {
    bounded("entry", bytes, ENTRY_BYTES_MAX)
}

fn head(bytes: Vec<u8>) -> Read<Vec<u8>> {
    bounded("head", bytes, NOTE_BYTES_MAX)
}

fn commit(bytes: Vec<u8>) -> Read<Arc<[u8]>> {
    Ok(bounded("commit", bytes, COMMIT_BYTES_MAX)?.into())
}

fn entries(found: Vec<Vec<u8>>) -> Read<Vec<Vec<u8>>> {
    at_most("entries", found.len(), ENTRIES_MAX)?;
    at_most("entries", found.iter().map(Vec::len).sum(), ENTRIES_BYTES_MAX)?;
    found.into_iter().map(entry).collect()
}

fn place(found: Option<pb::Place>) -> Read<(LedgerOrigin, u64)> {
    let found = there("place", found)?;
    Ok((name("ledger", &found.ledger)?, found.index))
}

fn placed(ledger: &LedgerOrigin, index: u64) -> pb::Place {
    pb::Place { ledger: ledger.to_string(), index }
}

fn receipt(found: pb::Receipt) -> Read<LedgerReceipt> {
    Ok(LedgerReceipt { entry: entry(found.entry)?, proof: bounded("proof", found.proof, RECEIPT_BYTES_MAX)? })
}

fn bytes(digest: &Digest) -> Vec<u8> {
    digest.as_bytes().to_vec()
}

impl From<&LedgerReceipt> for pb::Receipt {
    fn from(receipt: &LedgerReceipt) -> Self {
        Self { entry: receipt.entry.clone(), proof: receipt.proof.clone() }
    }
}
