//! Entries one after the other: what one says in the same bytes as one shortly before is not read again.

use std::fmt;
use std::str::FromStr;

use puente_model::{CharterVector, LegalBasisId, NodeUri, QueryKind};

use crate::strict::{Strict, decode, whole};
use crate::{Entry, WireError};

/// Names of one kind that are remembered; looked through one by one.
const NAMES: usize = 4;
/// The largest charter vector that is remembered, in bytes.
const VECTOR_BYTES_MAX: usize = 1_024;

/// What was read lately. Equal bytes have equal meaning, so nothing is accepted that would not be read.
#[derive(Default)]
pub(crate) struct Known {
    nodes: [Option<NodeUri>; NAMES],
    kinds: [Option<QueryKind>; NAMES],
    bases: [Option<LegalBasisId>; NAMES],
    vectors: [(Vec<u8>, CharterVector); 2],
}

/// Reads many entries. A few kilobytes at most, however many there are.
#[derive(Default)]
pub struct EntryReader {
    known: Known,
}

impl fmt::Debug for EntryReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("EntryReader")
    }
}

impl EntryReader {
    /// Remembers nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// [`Entry::decode`], quicker for an entry that is much like those before.
    ///
    /// # Errors
    /// As of [`Entry::decode`].
    pub fn read(&mut self, bytes: &[u8]) -> Result<Entry, WireError> {
        let known = &mut self.known;
        Entry::bounded_in_size(bytes)?;
        decode(bytes, |message| Entry::read(message, Some(known)), Entry::decode_by_encoding)
    }
}

/// The name in this field, shared with one that was read before.
fn name<T: FromStr + Clone>(
    message: &mut Strict<'_>,
    field: u32,
    known: Option<&mut [Option<T>; NAMES]>,
    text_of: fn(&T) -> &str,
) -> Option<T> {
    let text = message.text(field)?;
    let Some(known) = known else { return text.parse().ok() };
    if let Some(same) = known.iter().flatten().find(|name| text_of(name) == text) {
        return Some(same.clone());
    }
    let name: T = text.parse().ok()?;
    known.rotate_right(1);
    known[0] = Some(name.clone());
    Some(name)
}

pub(crate) fn node(message: &mut Strict<'_>, field: u32, known: Option<&mut Known>) -> Option<NodeUri> {
    name(message, field, known.map(|known| &mut known.nodes), NodeUri::as_str)
}

pub(crate) fn kind(message: &mut Strict<'_>, field: u32, known: Option<&mut Known>) -> Option<QueryKind> {
    name(message, field, known.map(|known| &mut known.kinds), QueryKind::as_str)
}

pub(crate) fn basis(message: &mut Strict<'_>, field: u32, known: Option<&mut Known>) -> Option<LegalBasisId> {
    name(message, field, known.map(|known| &mut known.bases), LegalBasisId::as_str)
}

/// The charter vector in this field, which must be there.
pub(crate) fn vector(message: &mut Strict<'_>, field: u32, known: Option<&mut Known>) -> Option<CharterVector> {
    let Some(Known { vectors, .. }) = known else { return message.vector(field) };
    let bytes = message.optional_bytes(field)??;
    if let Some((_, same)) = vectors.iter().find(|(text, _)| text == bytes && !text.is_empty()) {
        return Some(same.clone());
    }
    let vector = whole(bytes, Strict::vector_parts)?;
    if bytes.len() <= VECTOR_BYTES_MAX {
        vectors.rotate_right(1);
        vectors[0] = (bytes.to_vec(), vector.clone());
    }
    Some(vector)
}
