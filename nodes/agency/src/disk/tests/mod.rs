//! The disk against power cuts, full disks, torn writes and forgetful syncs.

mod faults;
mod journal;
mod node;
mod power;
mod stores;

use std::path::Path;
use std::sync::Arc;

use puente_audit_log::{Ed25519Signer, KeyKind, Log, Signer};
use puente_exchange::api::Batch;
use puente_model::{LeafIndex, Secret32};

use super::files::Disk;
use super::{DiskError, NodeDisk, Recovered};

pub(crate) const ORIGIN: &str = "mx.example/fiscalia/log1";
/// Small segments make the journal roll in tests.
pub(crate) const SMALL: u64 = 16 << 10;

pub(crate) fn signer() -> Ed25519Signer {
    Ed25519Signer::new(ORIGIN, KeyKind::Ed25519, &Secret32::new([7; 32])).unwrap()
}

pub(crate) fn store_key() -> Secret32 {
    Secret32::new([9; 32])
}

pub(crate) fn open(disk: Arc<dyn Disk>, dir: &Path) -> Result<(NodeDisk, Recovered), DiskError> {
    NodeDisk::open_on(disk, dir, &store_key(), signer().verifier(), SMALL)
}

/// What the engine does, reduced to the log: stages, signs, and takes in once durable.
pub(crate) struct Author {
    pub(crate) log: Log,
    signer: Ed25519Signer,
    number: u64,
}

impl Author {
    pub(crate) fn new(log: Log) -> Self {
        Self { log, signer: signer(), number: 0 }
    }

    /// A batch of `entries`, and how to take it in.
    pub(crate) fn batch(
        &mut self,
        entries: Vec<Vec<u8>>,
        puts: Vec<(Vec<u8>, Option<Vec<u8>>)>,
        asides: Vec<Vec<u8>>,
    ) -> (Batch, impl FnOnce(&mut Log) + use<>) {
        self.number += 1;
        let first_index = LeafIndex(self.log.size().0);
        let sealed = (!entries.is_empty()).then(|| self.log.stage(&entries).unwrap().sign(&self.signer).unwrap());
        let checkpoint = sealed.as_ref().map(|s| s.batch().head.note_bytes().to_vec()).unwrap_or_default();
        let batch = Batch { number: self.number, first_index, entries, checkpoint, puts, asides };
        let take_in = move |log: &mut Log| {
            if let Some(sealed) = sealed {
                log.commit(sealed.persist(&mut Durable).unwrap()).unwrap();
            }
        };
        (batch, take_in)
    }
}

struct Durable;

impl puente_audit_log::Journal for Durable {
    type Error = std::convert::Infallible;

    fn persist(&mut self, _: puente_audit_log::Batch<'_>) -> Result<(), Self::Error> {
        Ok(())
    }
}
