//! A transparency log: tree, tiles, proofs, checkpoints and cosignatures.
//!
//! The log is an append-only Merkle tree of opaque entries. Its files and texts
//! are those of [C2SP](https://c2sp.org), so that verifiers which others wrote
//! accept them unmodified; its hashing and proofs are those of
//! [RFC 9162](https://www.rfc-editor.org/rfc/rfc9162) (unchanged from RFC 6962).
//!
//! | what | here | source |
//! |---|---|---|
//! | hashing, growing a tree | [`leaf_hash`], [`node_hash`], [`Frontier`] | RFC 9162, 2.1.1 |
//! | proofs | [`verify_inclusion`], [`verify_consistency`], [`prove_inclusion`], [`prove_consistency`] | RFC 9162, 2.1.3, 2.1.4 |
//! | keys and notes | [`VerifierKey`], [`Signer`], [`ClaimedNote`] | C2SP signed-note |
//! | heads | [`ClaimedCheckpoint`], [`SignedCheckpoint`] | C2SP tlog-checkpoint |
//! | cosignatures | [`witness::Remembered::cosign`], [`SignedCheckpoint::cosignatures`] | C2SP tlog-cosignature |
//! | witnesses, and asking one | [`witness`] | C2SP tlog-witness |
//! | receipts | [`ClaimedReceipt`], [`Receipt`] | C2SP tlog-proof |
//! | files | [`LogPath`], [`TileId`], [`BundleId`], [`TileReader`] | C2SP tlog-tiles |
//!
//! **Claimed and verified are two types.** Only `Claimed…` can be decoded;
//! `SignedCheckpoint` and `Receipt` exist only verified, or made by this log.
//!
//! **Appending** is four steps, each spent by the next: [`Log::stage`] computes
//! (and drops without a trace), [`Staged::sign`] signs, [`Sealed::persist`]
//! makes durable through the [`Journal`], [`Log::commit`] takes in. Receipts and
//! files to publish come out of the last only. For one state of the log one head
//! is signed and no second. [`Log::open`] checks the right edge against the
//! signed head; [`Staged::recover`] takes up what the journal holds beyond it.
//! The writer keeps the right edge and a few tiles in memory, O(log n), so the
//! newest receipts need no disk.
//!
//! **Every completed tile is computed twice**: by the log's own tree, and from
//! the bundle's bytes with rs_merkle under an RFC 6962 hasher. rs_merkle is not
//! used for anything else here: its `verify` is forgeable without a guard.
//!
//! **Verifying** needs none of the writer: [`replay`] recomputes a log from its
//! entries in one pass and O(log n) memory, compares every tile with its file and
//! ends at the signed root. A difference is a [`Divergence`] that names its
//! place; a file that cannot be had is never a verdict.
//!
//! Nothing here reads a clock, a disk or a network, and nothing knows what an
//! entry means. Extension lines in checkpoints are refused, tree sizes end at
//! 2^63-1; there is no ML-DSA here.

mod bundle;
mod checkpoint;
mod cose;
mod edge;
mod frontier;
mod hash;
mod key;
mod multiples;
mod note;
mod open;
mod proof;
mod prove;
mod reader;
mod receipt;
mod receipts;
mod replay;
mod second;
mod staged;
#[cfg(test)]
mod tests;
mod text;
mod tile;
pub mod witness;
mod writer;

pub use bundle::{BundleError, Entries, decode_bundle, encode_bundle};
pub use checkpoint::{Checkpoint, CheckpointError, ClaimedCheckpoint, SignedCheckpoint, SplitView, TREE_SIZE_MAX};
pub use cose::{COSE_RECEIPT_BYTES_MAX, ClaimedCoseReceipt, CoseError, CoseReceipt, cose_receipt};
pub use frontier::{Frontier, root_of, root_of_entries};
pub use hash::{empty_root, leaf_hash, node_hash};
pub use key::{Ed25519Signer, KeyError, KeyId, KeyKind, Signer, VerifierKey};
pub use note::{ClaimedNote, NoteError, NoteSignature, VerifiedSignature};
pub use open::OpenError;
pub use proof::{ProofError, verify_consistency, verify_extension, verify_inclusion};
pub use prove::{ProveError, prove_consistency, prove_inclusion};
pub use reader::{BundleReadError, MemoryFiles, ReadError, TileError, TileReader};
pub use receipt::{ClaimedReceipt, RECEIPT_BYTES_MAX, Receipt, ReceiptError};
pub use receipts::{ReadReceipt, ReceiptReader};
pub use replay::{Divergence, ReplayError, Replayed, hash_replay, replay};
pub use second::root as second_root_of;
pub use staged::{Batch, Committed, Journal, PersistFailed, Persisted, SealError, Sealed, Staged};
pub use tile::{BundleId, LogFile, LogPath, PathError, TILE_LEVEL_MAX, TILE_WIDTH, TileId, decode_tile, encode_tile};
pub use writer::{CommitError, Log, StageError};
