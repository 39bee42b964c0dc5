//! Bytes to model and back, with size limits. Knows nothing of who may ask what.
//!
//! Raw protobuf messages are in [`proto`]; what a peer sends is decoded once,
//! here, into types of `puente-model`. Entries and headers have one canonical
//! encoding ([`Entry::decode`] refuses every other), because their bytes are hashed.

mod aside;
mod codec;
mod datagram;
mod entry;
mod error;
pub mod fault;
mod frame;
mod generated;
mod group;
mod header;
mod known;
pub mod label;
mod pair;
mod payload;
mod said;
mod scan;
mod strict;

/// The raw messages of `proto/puente/v1`, as generated.
pub mod proto {
    pub use crate::generated::wire::*;
    pub use crate::generated::*;
    pub use prost::Message;
}

pub use aside::{Aside, AsideBody};
pub use datagram::{DATAGRAM_BYTES_MAX, DatagramBuffer, encode_datagram};
pub use entry::{ENTRY_VERSION, Entry, SealedSeed, SeedUse, Seeds, Veiled};
pub use error::WireError;
pub use frame::{FrameBuffer, decode_frame, encode_frame, join_hashes, split_hashes};
pub use group::{GROUP_NAME_BYTES_MAX, GroupEntry, GroupEvent, GroupName, LEDGER_NUMBER_MAX, LedgerPlace, LeftWhy};
pub use header::{Event, Header};
pub use known::EntryReader;
pub use pair::{Hole, HoleWhy, Pair, PairBody, PairKind, Period, Terms};
pub use payload::{Explanation, Officer, QueryPayload, explanation_from_bytes};
pub use said::{Alert, AlertText, SAID_BYTES_MAX, decode_said};

#[cfg(test)]
mod tests;
