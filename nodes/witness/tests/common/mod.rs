//! A log that can be asked for any head it ever had, and can fork.

use puente_audit_log::witness::encode_submission;
use puente_audit_log::{
    Batch, Ed25519Signer, Journal, KeyKind, Log, MemoryFiles, SignedCheckpoint, Signer as _, VerifierKey,
    prove_consistency,
};
use puente_model::{Digest, Secret32, TreeSize};

struct Nowhere;

impl Journal for Nowhere {
    type Error = std::convert::Infallible;

    fn persist(&mut self, _: Batch<'_>) -> Result<(), Self::Error> {
        Ok(())
    }
}

/// The log `origin`, one entry an append, every head kept; `story` makes the entries, so that two stories are a fork.
pub(crate) struct ToyLog {
    signer: Ed25519Signer,
    log: Log,
    files: MemoryFiles,
    heads: Vec<SignedCheckpoint>,
    story: &'static str,
}

impl ToyLog {
    pub(crate) fn new(origin: &str, story: &'static str) -> Self {
        let seed = Digest::of(origin.as_bytes());
        Self::of(Ed25519Signer::new(origin, KeyKind::Ed25519, &Secret32::new(seed.0)).unwrap(), story)
    }

    /// The log of a key, which bears its name.
    pub(crate) fn of(signer: Ed25519Signer, story: &'static str) -> Self {
        let log = Log::empty(signer.verifier().name()).unwrap();
        let mut log = Self { signer, log, files: MemoryFiles::new(), heads: vec![], story };
        log.append(&[]);
        log
    }

    fn append(&mut self, entries: &[Vec<u8>]) {
        let sealed = self.log.stage(entries).unwrap().sign(&self.signer).unwrap();
        let committed = self.log.commit(sealed.persist(&mut Nowhere).unwrap()).unwrap();
        self.files.put(committed.files);
        self.heads.push(committed.head);
    }

    /// The head of the first `size` entries; they are written now if they were not.
    pub(crate) fn head(&mut self, size: u64) -> SignedCheckpoint {
        while self.log.size().0 < size {
            let n = self.log.size().0;
            self.append(&[format!("{} {n}", self.story).into_bytes()]);
            self.files.put(self.log.publish().unwrap());
        }
        self.heads[usize::try_from(size).unwrap()].clone()
    }

    pub(crate) fn proof(&mut self, old: u64, size: u64) -> Vec<Digest> {
        self.head(size);
        if old == 0 || old >= size {
            vec![]
        } else {
            prove_consistency(&self.files, TreeSize(old), TreeSize(size)).unwrap()
        }
    }

    /// An honest submission.
    pub(crate) fn submission(&mut self, old: u64, size: u64) -> Vec<u8> {
        let (head, proof) = (self.head(size), self.proof(old, size));
        encode_submission(TreeSize(old), &proof, &head).unwrap()
    }

    pub(crate) fn key(&self) -> VerifierKey {
        self.signer.verifier().clone()
    }
}
