//! Tests of the room as a whole: against other implementations, against crashes, against forgers.

mod cose;
mod hostile;
mod oracles;
mod readers;
mod replays;
mod vectors;
mod witnessing;
mod writing;

use puente_model::{LeafIndex, Secret32};

use crate::{
    Batch, Committed, Ed25519Signer, Journal, KeyKind, Log, LogFile, MemoryFiles, Receipt, SignedCheckpoint, Signer,
    VerifierKey,
};

pub(crate) const ORIGIN: &str = "mx/fge-bc/n1/log1";

pub(crate) fn signer() -> Ed25519Signer {
    Ed25519Signer::new(ORIGIN, KeyKind::Ed25519, &Secret32::new([7; 32])).unwrap()
}

pub(crate) fn witness() -> Ed25519Signer {
    Ed25519Signer::new("witness.example/w1", KeyKind::CosignatureV1, &Secret32::new([8; 32])).unwrap()
}

pub(crate) fn log_key() -> VerifierKey {
    signer().verifier().clone()
}

/// A journal that keeps everything, and can be told to fail.
#[derive(Debug, Default)]
pub(crate) struct MemoryJournal {
    pub(crate) batches: Vec<(Vec<u8>, SignedCheckpoint)>,
    pub(crate) fails: bool,
}

impl Journal for MemoryJournal {
    type Error = String;

    fn persist(&mut self, batch: Batch<'_>) -> Result<(), String> {
        if self.fails {
            return Err("disk full".to_owned());
        }
        self.batches.push((batch.framed.to_vec(), batch.head.clone()));
        Ok(())
    }
}

/// A log, its signer, its journal and its published files.
pub(crate) struct Bench {
    pub(crate) log: Log,
    pub(crate) files: MemoryFiles,
    pub(crate) journal: MemoryJournal,
    pub(crate) heads: Vec<SignedCheckpoint>,
    signer: Ed25519Signer,
}

impl Bench {
    pub(crate) fn new() -> Self {
        Self {
            log: Log::empty(ORIGIN).unwrap(),
            files: MemoryFiles::new(),
            journal: MemoryJournal::default(),
            heads: Vec::new(),
            signer: signer(),
        }
    }

    /// A log of the entries `entry(0..n)`, in batches, published once at the end.
    pub(crate) fn of_size(n: u64) -> Self {
        let mut bench = Self::new();
        bench.grow_to(n);
        bench.publish();
        bench
    }

    pub(crate) fn grow_to(&mut self, n: u64) {
        while self.log.size().0 < n {
            let from = self.log.size().0;
            let batch: Vec<Vec<u8>> = (from..n.min(from + 1000)).map(entry).collect();
            self.append(&batch);
        }
    }

    pub(crate) fn append<E: AsRef<[u8]>>(&mut self, entries: &[E]) -> Committed {
        let sealed = self.log.stage(entries).unwrap().sign(&self.signer).unwrap();
        let persisted = sealed.persist(&mut self.journal).unwrap();
        let committed = self.log.commit(persisted).unwrap();
        self.files.put(committed.files.clone());
        self.heads.push(committed.head.clone());
        committed
    }

    pub(crate) fn publish(&mut self) -> Vec<LogFile> {
        if self.log.head().is_none() {
            self.append::<&[u8]>(&[]);
        }
        let files = self.log.publish().unwrap();
        self.files.put(files.clone());
        files
    }

    pub(crate) fn head(&self) -> SignedCheckpoint {
        self.log.head().unwrap().clone()
    }

    pub(crate) fn receipt(&self, index: u64) -> Receipt {
        self.log.receipt(LeafIndex(index), &self.files).unwrap()
    }
}

/// The entry at a position: lengths differ, some are empty.
pub(crate) fn entry(index: u64) -> Vec<u8> {
    let mut bytes = index.to_be_bytes().repeat(usize::try_from(index % 7).unwrap());
    bytes.truncate(usize::try_from(index % 50).unwrap());
    bytes
}
