//! Tree, tiles, proofs, checkpoints, cosignatures; append and verify apart; leaves are opaque bytes.
