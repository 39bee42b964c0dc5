//! Receipts (C2SP tlog-proof): an inclusion proof and the checkpoint it leads to, in one text.

use std::fmt;

use puente_model::limits::{NOTE_BYTES_MAX, PROOF_HASHES_MAX};
use puente_model::{Digest, LeafIndex};

use crate::checkpoint::{CheckpointError, ClaimedCheckpoint, SignedCheckpoint};
use crate::key::VerifierKey;
use crate::proof::{ProofError, verify_inclusion};
use crate::text::{decode_base64, decode_decimal, decode_digest, encode_base64, proof_and_note};

pub(crate) const HEADER: &str = "c2sp.org/tlog-proof@v1";
/// One receipt, in bytes: a note, 63 hashes of 45 bytes, and extra data.
pub const RECEIPT_BYTES_MAX: usize = 2 * NOTE_BYTES_MAX;

/// Why a receipt was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ReceiptError {
    /// More bytes than a receipt may have.
    #[error("the receipt has {found} bytes; at most {RECEIPT_BYTES_MAX} are read")]
    TooLong {
        /// Bytes found.
        found: usize,
    },
    /// Not UTF-8, or no blank line before the checkpoint.
    #[error("the receipt is not a C2SP tlog-proof: it lacks its blank line or is not text")]
    NotText,
    /// The first line is another.
    #[error("the receipt does not begin with '{HEADER}'")]
    Header,
    /// The extra line is not canonical Base64.
    #[error("the receipt's extra line is not canonical Base64")]
    Extra,
    /// The index line is missing or not a canonical decimal.
    #[error("the receipt's index line is missing or not a canonical decimal")]
    Index,
    /// A hash line is not 32 bytes of canonical Base64.
    #[error("hash {line} of the receipt is not a SHA-256 digest in canonical Base64")]
    Hash {
        /// The hash's number, from 1.
        line: usize,
    },
    /// More hashes than any tree needs.
    #[error("the receipt has more than {PROOF_HASHES_MAX} hashes")]
    TooManyHashes,
    /// The checkpoint in it.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// The inclusion proof.
    #[error(transparent)]
    Proof(#[from] ProofError),
    /// The receipt's checkpoint is not the one it was to be checked under.
    #[error("the receipt is under another checkpoint; verify it with the log's key")]
    OtherCheckpoint,
}

/// A receipt as it arrived: well formed, proves nothing yet. Only this one can be decoded.
#[derive(Clone, PartialEq, Eq)]
pub struct ClaimedReceipt {
    extra: Option<Vec<u8>>,
    index: LeafIndex,
    hashes: Vec<Digest>,
    checkpoint: ClaimedCheckpoint,
}

impl ClaimedReceipt {
    /// Parses a tlog-proof. Whatever parses encodes to the same bytes again.
    pub fn parse(bytes: &[u8]) -> Result<Self, ReceiptError> {
        if bytes.len() > RECEIPT_BYTES_MAX {
            return Err(ReceiptError::TooLong { found: bytes.len() });
        }
        let text = std::str::from_utf8(bytes).map_err(|_| ReceiptError::NotText)?;
        // The first blank line ends the proof: its own lines are never empty.
        let (proof, note) = text.split_once("\n\n").ok_or(ReceiptError::NotText)?;
        let mut lines = proof.split('\n').peekable();
        if lines.next() != Some(HEADER) {
            return Err(ReceiptError::Header);
        }
        let extra = match lines.next_if(|line| line.starts_with("extra ")) {
            Some(line) => Some(decode_base64(&line["extra ".len()..]).ok_or(ReceiptError::Extra)?),
            None => None,
        };
        let index = lines.next().and_then(|line| line.strip_prefix("index ")).and_then(decode_decimal);
        let index = LeafIndex(index.ok_or(ReceiptError::Index)?);
        let mut hashes = Vec::new();
        for (at, line) in lines.enumerate() {
            if at == PROOF_HASHES_MAX {
                return Err(ReceiptError::TooManyHashes);
            }
            hashes.push(decode_digest(line).ok_or(ReceiptError::Hash { line: at + 1 })?);
        }
        Ok(Self { extra, index, hashes, checkpoint: ClaimedCheckpoint::parse(note.as_bytes())? })
    }

    /// The inclusion proof, leaf to root, as claimed.
    pub(crate) fn hashes(&self) -> &[Digest] {
        &self.hashes
    }

    /// The entry's position, as claimed.
    pub const fn index(&self) -> LeafIndex {
        self.index
    }

    /// Opaque data that travels along; no signature covers it.
    pub fn extra(&self) -> Option<&[u8]> {
        self.extra.as_deref()
    }

    /// The checkpoint, as claimed: for choosing a key, or to see whether it is known already.
    pub const fn checkpoint(&self) -> &ClaimedCheckpoint {
        &self.checkpoint
    }

    /// The text form.
    pub fn encode(&self) -> Vec<u8> {
        encode(self.extra.as_deref(), self.index, &self.hashes, self.checkpoint.note_bytes())
    }

    /// Verifies signature and inclusion of the entry with this leaf hash.
    pub fn verify(self, leaf: &Digest, log: &VerifierKey) -> Result<Receipt, ReceiptError> {
        let head = self.checkpoint.verify(log)?;
        Receipt::new(*leaf, self.index, self.hashes, head)
    }

    /// Verifies inclusion under a checkpoint whose signature was verified before: a whole batch
    /// shares one checkpoint, and one signature check.
    pub fn verify_under(self, leaf: &Digest, head: &SignedCheckpoint) -> Result<Receipt, ReceiptError> {
        if self.checkpoint.note_bytes() != head.note_bytes() {
            return Err(ReceiptError::OtherCheckpoint);
        }
        Receipt::new(*leaf, self.index, self.hashes, head.clone())
    }
}

impl fmt::Debug for ClaimedReceipt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let claimed = self.checkpoint.claimed();
        write!(f, "ClaimedReceipt(entry {} of {} in {})", self.index, claimed.size(), claimed.origin())
    }
}

/// Proof that one entry stands in a log whose head is signed. It exists only verified.
#[derive(Clone, PartialEq, Eq)]
pub struct Receipt {
    leaf: Digest,
    index: LeafIndex,
    hashes: Vec<Digest>,
    head: SignedCheckpoint,
}

impl Receipt {
    /// Puts a proof together that others made the parts of; it exists only if it holds.
    ///
    /// # Errors
    /// The hashes do not lead from the leaf to the head's root.
    pub fn new(
        leaf: Digest,
        index: LeafIndex,
        hashes: Vec<Digest>,
        head: SignedCheckpoint,
    ) -> Result<Self, ReceiptError> {
        verify_inclusion(index, head.size(), &leaf, &hashes, &head.root())?;
        Ok(Self { leaf, index, hashes, head })
    }

    /// A receipt that the log itself computed from its own tree.
    pub(crate) fn from_own_tree(leaf: Digest, index: LeafIndex, hashes: Vec<Digest>, head: SignedCheckpoint) -> Self {
        Self { leaf, index, hashes, head }
    }

    /// Hash of the entry that it proves.
    pub const fn leaf(&self) -> &Digest {
        &self.leaf
    }

    /// The entry's position in the log.
    pub const fn index(&self) -> LeafIndex {
        self.index
    }

    /// The signed head that it leads to.
    pub const fn head(&self) -> &SignedCheckpoint {
        &self.head
    }

    /// The inclusion proof, leaf to root.
    pub fn hashes(&self) -> &[Digest] {
        &self.hashes
    }

    /// The text form (C2SP tlog-proof), without extra data.
    pub fn encode(&self) -> Vec<u8> {
        encode(None, self.index, &self.hashes, self.head.note_bytes())
    }
}

impl fmt::Debug for Receipt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Receipt(entry {} of {:?})", self.index, self.head)
    }
}

fn encode(extra: Option<&[u8]>, index: LeafIndex, hashes: &[Digest], note: &[u8]) -> Vec<u8> {
    let mut text = String::with_capacity(64 + 45 * hashes.len() + note.len());
    text.push_str(HEADER);
    if let Some(extra) = extra {
        text.push_str("\nextra ");
        text.push_str(&encode_base64(extra));
    }
    text.push_str("\nindex ");
    text.push_str(&index.to_string());
    text.push('\n');
    proof_and_note(text, hashes, note)
}
