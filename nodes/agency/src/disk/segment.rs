//! One file of the journal: header, then records at multiples of 16 bytes, then zeros.
//!
//! ```text
//! header, 128 bytes   magic 8 | version u32 | 0 u32 | first position u64 | salt 16 | tag of the record before 16 |
//!                     nonce 12 | tag 16 | zeros
//! record              "PJR1" | length of what follows the 32 bytes u32 | position u64 | nonce 12 | 0 u32 |
//!                     AES-256-GCM(content) | tag 16 | zeros up to a multiple of 16
//! ```
//!
//! Each segment has its own key: HKDF(`store.key`, salt of the header). Header and first 16 bytes of a record are
//! additional data, so nobody without `store.key` (a peer whose bytes are in a torn record, for example) can
//! make bytes that pass for a record.

use std::path::{Path, PathBuf};

use super::error::DiskError;
use super::seal::{Key, Keys, NONCE_BYTES, TAG_LEN, random};

/// Bytes before the first record.
pub(crate) const HEADER_LEN: u64 = 128;
/// Bytes of a record before its content.
pub(crate) const RECORD_HEADER_LEN: usize = 32;
/// Records begin at multiples of this.
pub(crate) const ALIGN: usize = 16;
/// The largest content of a record, in bytes.
pub(crate) const CONTENT_BYTES_MAX: usize = 192 << 20;
pub(crate) const VERSION: u32 = 1;
const MAGIC: &[u8; 8] = b"PUENTEJ\x01";
const RECORD_MAGIC: &[u8; 4] = b"PJR1";

/// The tag of the record before the first one.
pub(crate) const NO_TAG: [u8; TAG_LEN] = [0; TAG_LEN];

/// The format version that the first bytes of a segment state; none if they are no segment's.
pub(crate) fn version(head: &[u8; 12]) -> Option<u32> {
    head.starts_with(MAGIC).then(|| u32::from_be_bytes([head[8], head[9], head[10], head[11]]))
}

/// What a segment's header says, and the key that follows from it.
pub(crate) struct Header {
    pub(crate) first: u64,
    pub(crate) before: [u8; TAG_LEN],
    pub(crate) key: Key,
}

/// The name of the segment whose first record is `first`.
pub(crate) fn name(first: u64) -> String {
    format!("{first:020}.wal")
}

/// The first position that a segment's name states.
pub(crate) fn parse_name(name: &str) -> Option<u64> {
    let digits = name.strip_suffix(".wal")?;
    (digits.len() == 20 && digits.bytes().all(|b| b.is_ascii_digit())).then(|| digits.parse().ok())?
}

fn key(keys: &Keys, salt: &[u8]) -> Result<Key, DiskError> {
    keys.derive("journal segment", salt)
}

impl Header {
    /// A new segment's header and its bytes.
    pub(crate) fn create(keys: &Keys, first: u64, before: [u8; TAG_LEN]) -> Result<(Self, Vec<u8>), DiskError> {
        let mut bytes = Vec::with_capacity(HEADER_LEN as usize);
        bytes.extend_from_slice(MAGIC);
        bytes.extend_from_slice(&VERSION.to_be_bytes());
        bytes.extend_from_slice(&[0; 4]);
        bytes.extend_from_slice(&first.to_be_bytes());
        bytes.extend_from_slice(&random::<16>()?);
        bytes.extend_from_slice(&before);
        let key = key(keys, &bytes[24..40])?;
        let (nonce, tag) = key.seal(&bytes, &mut [])?;
        bytes.extend_from_slice(&nonce);
        bytes.extend_from_slice(&tag);
        bytes.resize(HEADER_LEN as usize, 0);
        Ok((Self { first, before, key }, bytes))
    }

    /// Reads the header of the segment at `path`.
    pub(crate) fn parse(keys: &Keys, path: &Path, bytes: &[u8]) -> Result<Self, DiskError> {
        let damaged = |why: &str| DiskError::Damaged { path: path.to_owned(), offset: 0, why: why.to_owned() };
        let header = bytes.first_chunk::<{ HEADER_LEN as usize }>().ok_or_else(|| damaged("it has no header"))?;
        let word = |at: usize| u32::from_be_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]);
        if &header[..8] != MAGIC {
            return Err(damaged("it does not begin as a journal segment"));
        }
        if word(8) != VERSION {
            return Err(DiskError::Version { path: path.to_owned(), found: word(8), expected: VERSION });
        }
        let key = key(keys, &header[24..40])?;
        let (mut nonce, mut before) = ([0; NONCE_BYTES], NO_TAG);
        nonce.copy_from_slice(&header[56..68]);
        before.copy_from_slice(&header[40..56]);
        let mut tag = header[68..84].to_vec();
        key.open(nonce, &header[..56], &mut tag).map_err(|_| DiskError::WrongKey { path: path.to_owned() })?;
        let first = u64::from(word(16)) << 32 | u64::from(word(20));
        Ok(Self { first, before, key })
    }
}

/// Seals a record in place: `buffer` has 32 bytes of room, then the content. Returns its tag.
pub(crate) fn seal_record(key: &Key, position: u64, buffer: &mut Vec<u8>) -> Result<[u8; TAG_LEN], DiskError> {
    let len = u32::try_from(buffer.len() - RECORD_HEADER_LEN + TAG_LEN).unwrap_or(u32::MAX);
    buffer[..4].copy_from_slice(RECORD_MAGIC);
    buffer[4..8].copy_from_slice(&len.to_be_bytes());
    buffer[8..16].copy_from_slice(&position.to_be_bytes());
    let (head, content) = buffer.split_at_mut(RECORD_HEADER_LEN);
    let (nonce, tag) = key.seal(&head[..16], content)?;
    head[16..28].copy_from_slice(&nonce);
    buffer.extend_from_slice(&tag);
    buffer.resize(buffer.len().next_multiple_of(ALIGN), 0);
    Ok(tag)
}

/// A record that holds.
pub(crate) struct Record {
    pub(crate) content: Vec<u8>,
    pub(crate) tag: [u8; TAG_LEN],
    /// Where the next one begins.
    pub(crate) end: usize,
}

/// The position that the bytes at `at` claim, if they look like a record.
fn claims(bytes: &[u8], at: usize) -> Option<(u64, usize)> {
    let head = bytes.get(at..at + RECORD_HEADER_LEN)?;
    let len = u32::from_be_bytes(head[4..8].try_into().ok()?) as usize;
    let position = u64::from_be_bytes(head[8..16].try_into().ok()?);
    let sound = &head[..4] == RECORD_MAGIC && (TAG_LEN..=CONTENT_BYTES_MAX + TAG_LEN).contains(&len);
    sound.then_some((position, len))
}

/// The record at `at`, if it holds and has this position.
pub(crate) fn read_record(key: &Key, bytes: &[u8], at: usize, position: u64) -> Option<Record> {
    let (claimed, len) = claims(bytes, at)?;
    if claimed != position {
        return None;
    }
    let from = at + RECORD_HEADER_LEN;
    let sealed = bytes.get(from..from.checked_add(len)?)?;
    let mut content = sealed.to_vec();
    let nonce = bytes.get(at + 16..at + 28)?.try_into().ok()?;
    let len = key.open(nonce, &bytes[at..at + 16], &mut content).ok()?.len();
    content.truncate(len);
    let tag = sealed.last_chunk::<TAG_LEN>().copied()?;
    Some(Record { content, tag, end: (from + sealed.len()).next_multiple_of(ALIGN) })
}

/// Where, from `at` on, a record later than `position` holds: what comes before it was durable once.
pub(crate) fn later_record(key: &Key, bytes: &[u8], at: usize, position: u64) -> Option<usize> {
    (at..bytes.len()).step_by(ALIGN).find(|&at| {
        claims(bytes, at)
            .is_some_and(|(claimed, _)| claimed >= position && read_record(key, bytes, at, claimed).is_some())
    })
}

/// The path of a segment.
pub(crate) fn path(dir: &Path, first: u64) -> PathBuf {
    dir.join(name(first))
}
