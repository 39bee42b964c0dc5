//! Many receipts, most of them under few heads: what they share is read and hashed once.
//!
//! Receipts of one batch share their checkpoint and the upper part of their paths, byte for byte. Lines that stood
//! in the receipt before are not decoded again, a node whose two halves were hashed before is not hashed again, and
//! where a path meets the one before with only equal hashes above, it ends where that one ended: equal input gives
//! equal output, so nothing is believed that would not be computed.

use std::fmt;

use puente_model::limits::PROOF_HASHES_MAX;
use puente_model::{Digest, LeafIndex};

use crate::checkpoint::SignedCheckpoint;
use crate::hash::node_hash;
use crate::proof::{Climb, verify_inclusion_by};
use crate::receipt::{ClaimedReceipt, HEADER, RECEIPT_BYTES_MAX, ReceiptError};
use crate::text::{decode_decimal, decode_digest};

/// Nodes that are remembered: 96 bytes each.
const NODES: usize = 1_024;
/// A digest in Base64, and its newline.
const LINE_BYTES: usize = 45;

/// Reads and verifies receipts one after the other. A megabyte at most, however many there are.
pub struct ReceiptReader {
    /// Left, right, parent.
    nodes: Vec<[Digest; 3]>,
    /// The hash lines of the receipt before, leaf to root; none if it was not of the usual form.
    lines: Vec<[u8; LINE_BYTES]>,
    hashes: Vec<Digest>,
    /// Hashes of lines that the receipt before did not have.
    fresh: Vec<Digest>,
    /// The steps of the receipt before, from its leaf to its root.
    steps: Vec<Climb>,
    /// The root that they lead to, if that receipt was found good.
    proven: Option<Digest>,
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
    /// How many hashes, those next to the root, are the same as in the receipt before.
    same: usize,
    /// The root that the receipt before was proven to lead to.
    before: Option<Digest>,
}

impl ReceiptReader {
    /// Remembers nothing yet.
    pub fn new() -> Self {
        let zero = Digest([0; 32]);
        let node = [zero, zero, node_hash(&zero, &zero)];
        Self {
            nodes: vec![node; NODES],
            lines: Vec::new(),
            hashes: Vec::new(),
            fresh: Vec::new(),
            steps: Vec::new(),
            proven: None,
        }
    }

    /// Reads a tlog-proof up to its checkpoint.
    ///
    /// # Errors
    /// As of [`ClaimedReceipt::parse`]; of the checkpoint only its size is looked at.
    pub fn read<'t>(&mut self, text: &'t [u8]) -> Result<ReadReceipt<'_, 't>, ReceiptError> {
        let before = self.proven.take();
        let (index, note, same) = match self.read_plain(text) {
            Some(found) => found,
            None => {
                // One with extra data, or a malformed one, whose error has a name.
                let claimed = ClaimedReceipt::parse(text)?;
                self.lines.clear();
                self.hashes.clear();
                self.hashes.extend_from_slice(claimed.hashes());
                let note = claimed.checkpoint().note_bytes().len();
                (claimed.index(), &text[text.len().saturating_sub(note)..], 0)
            }
        };
        Ok(ReadReceipt { reader: self, index, note, same, before })
    }

    /// A receipt of the usual form: header, index, hashes, blank line. Says how many of its last hashes are those of
    /// the receipt before.
    fn read_plain<'t>(&mut self, text: &'t [u8]) -> Option<(LeafIndex, &'t [u8], usize)> {
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
        // The upper lines are those of the receipt before.
        let same_from = |from: usize| self.lines.ends_with(&lines[from..]);
        let from = (0..count).find(|from| same_from(*from)).unwrap_or(count);
        let same = count - from;
        self.fresh.clear();
        for line in &lines[..from] {
            let [text @ .., b'\n'] = line else { return None };
            self.fresh.push(decode_digest(text)?);
        }
        self.lines.splice(..self.lines.len() - same, lines[..from].iter().copied());
        self.hashes.splice(..self.hashes.len() - same, self.fresh.iter().copied());
        Some((index, note, same))
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
        let ReceiptReader { nodes, hashes, steps, proven, .. } = self.reader;
        let root = head.root();
        // Steps can only be shared with a path of as many, to the same root.
        let shared = self.before == Some(root) && steps.len() == hashes.len();
        let from = if shared { hashes.len() - self.same } else { usize::MAX };
        steps.resize(hashes.len(), Climb::default());
        verify_inclusion_by(
            (self.index, head.size()),
            leaf,
            hashes,
            &root,
            |left, right| remembered(nodes, left, right),
            |at, step| match steps.get_mut(at) {
                Some(known) if at >= from && *known == step => true,
                Some(known) => {
                    *known = step;
                    false
                }
                None => false,
            },
        )?;
        *proven = Some(root);
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
