//! A ledger as a proposer would write it, and as witnesses would cosign it.

use std::collections::BTreeMap;

use puente_audit_log::{Batch, Journal, Log, Receipt, SignedCheckpoint, leaf_hash};
use puente_ledger::{Draft, Entry, LedgerOrigin, LedgerReceipt};
use puente_model::{Digest, LeafIndex, Millis, NodeUri};

use super::{cosigned, ledger, node, proposer_signer};

pub const NOW: Millis = Millis(1_800_000_000_000);
pub const QUORUM: [&str; 4] = ["mx1", "mx2", "us1", "us3"];

struct Durable;

impl Journal for Durable {
    type Error = std::convert::Infallible;

    fn persist(&mut self, _: Batch<'_>) -> Result<(), Self::Error> {
        Ok(())
    }
}

pub struct Writer {
    pub log: Log,
    pub leaves: Vec<Digest>,
    pub origin: LedgerOrigin,
}

impl Writer {
    pub fn new(number: u32) -> Self {
        let origin = ledger(number);
        Self { log: Log::empty(&origin.to_string()).unwrap(), leaves: Vec::new(), origin }
    }

    /// Adds bytes under a proposer's head; returns the head without cosignatures.
    pub fn add(&mut self, by: &str, bytes: &[u8]) -> SignedCheckpoint {
        let sealed = self.log.stage(&[bytes]).unwrap().sign(&proposer_signer(by, &self.origin)).unwrap();
        self.leaves.push(leaf_hash(bytes));
        self.log.commit(sealed.persist(&mut Durable).unwrap()).unwrap().head
    }

    /// The receipt of the newest entry under a head.
    pub fn receipt(&self, entry: &[u8], head: &SignedCheckpoint) -> LedgerReceipt {
        let mine = self.log.last_receipts().unwrap().pop().unwrap();
        let index = LeafIndex(self.leaves.len() as u64 - 1);
        let proof = Receipt::new(leaf_hash(entry), index, mine.hashes().to_vec(), head.clone()).unwrap().encode();
        LedgerReceipt { entry: entry.to_vec(), proof }
    }

    pub fn stand(&mut self, by: &str, entry: &Entry) -> LedgerReceipt {
        let head = cosigned(&self.add(by, entry.as_bytes()), &QUORUM, NOW);
        self.receipt(entry.as_bytes(), &head)
    }
}

pub fn holders(names: &[&str]) -> BTreeMap<NodeUri, Digest> {
    names.iter().map(|name| (node(name), Digest::of(name.as_bytes()))).collect()
}

pub fn signed(by: &str, draft: Draft) -> Entry {
    let signer = proposer_signer(by, &draft.ledger);
    draft.sign(&signer).unwrap()
}
