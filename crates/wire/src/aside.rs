//! Records of the sidecar that stands beside a log's tiles, read where they lie.

use crate::strict::{Strict, whole};

/// One record: what is kept for one entry. Its parts are byte strings as they came; nothing of them is believed yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Aside<'a> {
    /// Leaf hash of the entry that it belongs to.
    pub leaf_hash: &'a [u8],
    /// What is kept; none in a record that holds nothing.
    pub body: Option<AsideBody<'a>>,
}

/// What a record keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AsideBody<'a> {
    /// A peer's receipt for the same entry: a C2SP tlog-proof.
    PeerReceipt(&'a [u8]),
    /// A veiled entry's header, sealed to own auditors.
    SealedHeader {
        /// Leaf hash of the Seeds entry.
        seeds: &'a [u8],
        /// Salt and header, encrypted.
        ciphertext: &'a [u8],
    },
    /// Escrow that travels with the entry.
    Escrow {
        /// Leaf hash of the Seeds entry.
        seeds: &'a [u8],
        /// Hashes of the two shares.
        share_hashes: [&'a [u8]; 2],
        /// The encrypted opening.
        blob: &'a [u8],
    },
    /// A signed head of a peer's log: a note.
    PeerHead(&'a [u8]),
}

impl<'a> Aside<'a> {
    /// The record, if these are its canonical bytes.
    pub fn read(bytes: &'a [u8]) -> Option<Self> {
        whole(bytes, |message| {
            let leaf_hash = message.bytes(1)?;
            Some(Self { leaf_hash, body: AsideBody::read(message)? })
        })
    }
}

impl<'a> AsideBody<'a> {
    fn read(message: &mut Strict<'a>) -> Option<Option<Self>> {
        if let Some(text) = message.optional_bytes(2)? {
            return Some(Some(Self::PeerReceipt(text)));
        }
        let sealed = |m: &mut Strict<'a>| Some(Self::SealedHeader { seeds: m.bytes(1)?, ciphertext: m.bytes(2)? });
        if let Some(header) = message.optional_message(3, sealed)? {
            return Some(Some(header));
        }
        let escrow = |m: &mut Strict<'a>| {
            let (seeds, share_hashes) = (m.bytes(1)?, [m.bytes(2)?, m.bytes(3)?]);
            Some(Self::Escrow { seeds, share_hashes, blob: m.bytes(4)? })
        };
        if let Some(escrow) = message.optional_message(4, escrow)? {
            return Some(Some(escrow));
        }
        Some(message.optional_bytes(5)?.map(Self::PeerHead))
    }
}
