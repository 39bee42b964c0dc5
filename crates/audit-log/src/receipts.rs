//! Many receipts, most of them under few heads: what they share is read and hashed once.
//!
//! Receipts of one batch share their checkpoint and the upper part of their paths, byte for byte. A line that stood
//! in the receipt before is not decoded again, and a node whose two halves were hashed before is not hashed again:
//! equal input gives equal output, so nothing is believed that would not be computed.

use std::fmt;

use puente_model::limits::PROOF_HASHES_MAX;
use puente_model::{Digest, LeafIndex};

use crate::checkpoint::SignedCheckpoint;
use crate::hash::node_hash;
use crate::proof::verify_inclusion_by;
use crate::receipt::{ClaimedReceipt, HEADER, RECEIPT_BYTES_MAX, ReceiptError};
use crate::text::{decode_decimal, decode_digest};

/// Nodes that are remembered: 96 bytes each.
const NODES: usize = 4_096;
/// A digest in Base64, and its newline.
const LINE_BYTES: usize = 45;

/// Reads and verifies receipts one after the other. A megabyte at most, however many there are.
pub struct ReceiptReader {
    /// Left, right, parent.
    nodes: Vec<[Digest; 3]>,
    /// The lines of the receipt before, the one next to the root first.
    lines: Vec<([u8; LINE_BYTES], Digest)>,
    hashes: Vec<Digest>,
}

impl fmt::Debug for ReceiptReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ReceiptReader({} hashes)", self.hashes.len())
    }
}

impl Default for ReceiptReader {
    fn default() -> Self {
        Self::new()
    }
}

/// A receipt as it was read: well formed up to its checkpoint, proves nothing yet.
#[derive(Debug)]
pub struct ReadReceipt<'r, 't> {
    reader: &'r mut ReceiptReader,
    index: LeafIndex,
    note: &'t [u8],
}

impl ReceiptReader {
    /// Remembers nothing yet.
    pub fn new() -> Self {
        let zero = Digest([0; 32]);
        let node = [zero, zero, node_hash(&zero, &zero)];
        Self { nodes: vec![node; NODES], lines: Vec::new(), hashes: Vec::new() }
    }

    /// Reads a tlog-proof up to its checkpoint.
    ///
    /// # Errors
    /// As of [`ClaimedReceipt::parse`]; of the checkpoint only its size is looked at.
    pub fn read<'t>(&mut self, text: &'t [u8]) -> Result<ReadReceipt<'_, 't>, ReceiptError> {
        let (index, note) = match self.read_plain(text) {
            Some(found) => found,
            None => {
                // One with extra data, or a malformed one, whose error has a name.
                let claimed = ClaimedReceipt::parse(text)?;
                self.hashes.clear();
                self.hashes.extend_from_slice(claimed.hashes());
                let note = claimed.checkpoint().note_bytes().len();
                (claimed.index(), &text[text.len().saturating_sub(note)..])
            }
        };
        Ok(ReadReceipt { reader: self, index, note })
    }

    /// A receipt of the usual form: header, index, hashes, blank line.
    fn read_plain<'t>(&mut self, text: &'t [u8]) -> Option<(LeafIndex, &'t [u8])> {
        if text.len() > RECEIPT_BYTES_MAX {
            return None;
        }
        let rest = text.strip_prefix(HEADER.as_bytes())?.strip_prefix(b"\nindex ")?;
        let end = rest.iter().take(20 + 1).position(|byte| *byte == b'\n')?;
        let (index, rest) = rest.split_at_checked(end)?;
        let index = LeafIndex(decode_decimal(std::str::from_utf8(index).ok()?)?);
        let (lines, rest) = rest.get(1..)?.as_chunks::<LINE_BYTES>();
        let count = lines.iter().take(PROOF_HASHES_MAX + 1).take_while(|line| line[0] != b'\n').count();
        let (lines, after) = lines.split_at_checked(count).filter(|_| count <= PROOF_HASHES_MAX)?;
        let note_bytes = after.as_flattened().len() + rest.len();
        let (_, blank_and_note) = text.split_at_checked(text.len().checked_sub(note_bytes)?)?;
        let note = blank_and_note.strip_prefix(b"\n")?;
        // From the root down: the upper lines are those of the receipt before.
        self.lines.truncate(count);
        for (at, line) in lines.iter().rev().enumerate() {
            let known = self.lines.get(at).is_some_and(|(text, _)| text == line);
            if known {
                continue;
            }
            let [text @ .., b'\n'] = line else { return None };
            let hash = decode_digest(std::str::from_utf8(text).ok()?)?;
            match self.lines.get_mut(at) {
                Some(place) => *place = (*line, hash),
                None => self.lines.push((*line, hash)),
            }
        }
        self.hashes.clear();
        self.hashes.extend(self.lines.iter().rev().map(|(_, hash)| *hash));
        Some((index, note))
    }
}

impl<'t> ReadReceipt<'_, 't> {
    /// The entry's position, as claimed.
    pub const fn index(&self) -> LeafIndex {
        self.index
    }

    /// The checkpoint's note, as claimed: for finding the head that was verified before, or for verifying it now.
    pub const fn note(&self) -> &'t [u8] {
        self.note
    }

    /// Verifies inclusion of the entry with this leaf hash under the receipt's own checkpoint, verified before.
    ///
    /// # Errors
    /// [`ReceiptError::OtherCheckpoint`] if it is another's; [`ReceiptError::Proof`].
    pub fn verify_under(self, leaf: &Digest, head: &SignedCheckpoint) -> Result<LeafIndex, ReceiptError> {
        if self.note != head.note_bytes() {
            return Err(ReceiptError::OtherCheckpoint);
        }
        let ReceiptReader { nodes, hashes, .. } = self.reader;
        verify_inclusion_by(self.index, head.size(), leaf, hashes, &head.root(), |left, right| {
            remembered(nodes, left, right)
        })?;
        Ok(self.index)
    }
}

/// The node's hash, computed if these two were not hashed lately.
fn remembered(nodes: &mut [[Digest; 3]], left: &Digest, right: &Digest) -> Digest {
    let mixed = u16::from_le_bytes([left.0[0], left.0[1]]) ^ u16::from_le_bytes([right.0[2], right.0[3]]);
    let Some(node) = nodes.get_mut(usize::from(mixed) % NODES) else { return node_hash(left, right) };
    if node[0] != *left || node[1] != *right {
        *node = [*left, *right, node_hash(left, right)];
    }
    node[2]
}
