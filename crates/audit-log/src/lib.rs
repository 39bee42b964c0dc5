//! Tree, tiles, proofs, checkpoints, cosignatures; append and verify apart; leaves are opaque bytes.

mod bundle;
mod checkpoint;
mod edge;
mod frontier;
mod hash;
mod key;
mod note;
mod open;
mod proof;
mod prove;
mod reader;
mod receipt;
mod replay;
mod second;
mod staged;
mod text;
mod tile;
mod writer;

pub use bundle::{BundleError, Entries, decode_bundle, encode_bundle};
pub use checkpoint::{Checkpoint, CheckpointError, ClaimedCheckpoint, SignedCheckpoint, SplitView, TREE_SIZE_MAX};
pub use frontier::{Frontier, root_of, root_of_entries};
pub use hash::{empty_root, leaf_hash, node_hash};
pub use key::{Ed25519Signer, KeyError, KeyId, KeyKind, Signer, VerifierKey};
pub use note::{ClaimedNote, NoteError, NoteSignature, VerifiedSignature};
pub use open::OpenError;
pub use proof::{ProofError, verify_consistency, verify_extension, verify_inclusion};
pub use prove::{ProveError, prove_consistency, prove_inclusion};
pub use reader::{BundleReadError, MemoryFiles, ReadError, TileError, TileReader};
pub use receipt::{ClaimedReceipt, RECEIPT_BYTES_MAX, Receipt, ReceiptError};
pub use replay::{Divergence, ReplayError, Replayed, hash_replay, replay};
pub use staged::{Batch, Committed, Journal, PersistFailed, Persisted, SealError, Sealed, Staged};
pub use tile::{BundleId, LogFile, LogPath, PathError, TILE_LEVEL_MAX, TILE_WIDTH, TileId, decode_tile, encode_tile};
pub use writer::{CommitError, Log, StageError};
