//! Who may sign what: the charter's keys, and heads verified with them.

use std::cell::{Cell, OnceCell, RefCell};
use std::collections::HashMap;

use puente_audit_log::{
    CheckpointError, ClaimedCheckpoint, KeyKind, NoteError, SignedCheckpoint, VerifiedSignature, VerifierKey,
};
use puente_charter::Charter;
use puente_ledger::{LedgerOrigin, proposers};
use puente_model::{Digest, Origin};

use crate::finding::Cosigner;

/// Verified heads that are remembered, so that the receipts of one batch cost one signature check.
const HEADS_MAX: usize = 8_192;
/// Heads of a log after which its key is made quick: what that takes comes back over the next hundred.
const QUICK_AFTER: u32 = 100;
/// Keys that are made quick, 640 KiB each.
const QUICK_MAX: u32 = 16;

/// A log's key, and how many heads were verified with it.
struct LogKey {
    key: VerifierKey,
    heads: Cell<u32>,
    quick: OnceCell<VerifierKey>,
}

impl LogKey {
    fn new(key: VerifierKey) -> Self {
        Self { key, heads: Cell::new(0), quick: OnceCell::new() }
    }
}

/// Why a head is not believed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum HeadError {
    #[error("the charter names no log {0}")]
    UnknownLog(String),
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
}

/// The charter's log and witness keys.
pub(crate) struct Roster<'c> {
    pub(crate) charter: &'c Charter,
    logs: HashMap<String, LogKey>,
    /// Keys that were made quick.
    quick: Cell<u32>,
    witnesses: Vec<VerifierKey>,
    /// Names of witnesses whose keys are of a kind that is not verified here.
    other_witnesses: Vec<String>,
    heads: RefCell<HashMap<Digest, SignedCheckpoint>>,
}

impl<'c> Roster<'c> {
    pub(crate) fn new(charter: &'c Charter) -> Self {
        let logs = charter.members().iter().flat_map(|m| &m.logs);
        let logs = logs.filter_map(|l| Some((l.origin.to_string(), LogKey::new(l.vkey.parse().ok()?)))).collect();
        let (mut witnesses, mut other_witnesses) = (Vec::new(), Vec::new());
        for witness in charter.witness_policy().witnesses() {
            match witness.vkey.parse::<VerifierKey>() {
                Ok(key) if key.kind() == KeyKind::CosignatureV1 => witnesses.push(key),
                _ => other_witnesses.push(witness.name.clone()),
            }
        }
        Self { charter, logs, quick: Cell::new(0), witnesses, other_witnesses, heads: RefCell::default() }
    }

    /// The key of a log.
    pub(crate) fn key(&self, origin: &str) -> Option<&VerifierKey> {
        self.logs.get(origin).map(|log| &log.key)
    }

    /// The key of a log, for one more of its heads: a quick one once there are many.
    fn key_for_head(&self, origin: &str) -> Option<&VerifierKey> {
        let log = self.logs.get(origin)?;
        log.heads.set(log.heads.get().saturating_add(1));
        if log.heads.get() <= QUICK_AFTER || (log.quick.get().is_none() && self.quick.get() >= QUICK_MAX) {
            return Some(&log.key);
        }
        Some(log.quick.get_or_init(|| {
            self.quick.set(self.quick.get() + 1);
            log.key.clone().for_many()
        }))
    }

    /// The keys of a log: of a group's ledger those of every seat of its corridor, under the ledger's name.
    pub(crate) fn keys(&self, origin: &str) -> Vec<VerifierKey> {
        match origin.parse::<LedgerOrigin>() {
            Ok(ledger) => self.ledger_keys(&ledger),
            Err(_) => self.key(origin).cloned().into_iter().collect(),
        }
    }

    /// A proposer signs with the key of its newest open log; heads of long ago, with one that may be closed since.
    fn ledger_keys(&self, ledger: &LedgerOrigin) -> Vec<VerifierKey> {
        let Some(seats) = proposers(self.charter, ledger.group()) else { return Vec::new() };
        let logs = seats.iter().filter_map(|seat| self.charter.member(seat)).flat_map(|member| &member.logs);
        let keys = logs.filter_map(|log| ledger.key(log.vkey.parse::<VerifierKey>().ok()?.public()).ok());
        keys.collect()
    }

    /// The witnesses that cosigned a head, each with the instants that it states.
    pub(crate) fn cosigners(&self, head: &SignedCheckpoint) -> Vec<VerifiedSignature> {
        // Every line of a known witness was verified with the head.
        head.cosignatures(&self.witnesses.iter().collect::<Vec<_>>()).unwrap_or_default()
    }

    /// The same, as it is shown.
    pub(crate) fn words_for(&self, head: &SignedCheckpoint) -> Vec<Cosigner> {
        let shown = |line: VerifiedSignature| Cosigner { witness: line.name, at: line.at, entries: head.size().0 };
        self.cosigners(head).into_iter().map(shown).collect()
    }

    /// The keys of the charter's witnesses.
    pub(crate) fn witnesses(&self) -> &[VerifierKey] {
        &self.witnesses
    }

    /// Verifies a head with the key of the log that it claims to be of, and its cosignatures by known witnesses.
    pub(crate) fn verify(&self, claimed: ClaimedCheckpoint) -> Result<SignedCheckpoint, HeadError> {
        let name = Digest::of(claimed.note_bytes());
        if let Some(known) = self.heads.borrow().get(&name) {
            return Ok(known.clone());
        }
        let origin = claimed.claimed().origin();
        let head = match (origin.parse::<LedgerOrigin>(), self.key_for_head(origin)) {
            (Ok(ledger), _) => self.ledger_head(&ledger, &claimed)?,
            (Err(_), Some(key)) => claimed.verify(key)?,
            (Err(_), None) => return Err(HeadError::UnknownLog(origin.chars().take(80).collect())),
        };
        let witnesses: Vec<&VerifierKey> = self.witnesses.iter().collect();
        if !witnesses.is_empty() {
            head.cosignatures(&witnesses).map_err(CheckpointError::Note)?;
        }
        let mut heads = self.heads.borrow_mut();
        if heads.len() >= HEADS_MAX {
            heads.clear();
        }
        heads.insert(name, head.clone());
        Ok(head)
    }

    /// Any proposer may have signed it.
    fn ledger_head(&self, ledger: &LedgerOrigin, claimed: &ClaimedCheckpoint) -> Result<SignedCheckpoint, HeadError> {
        let mut refused = HeadError::UnknownLog(ledger.to_string());
        for key in self.ledger_keys(ledger) {
            match claimed.clone().verify(&key) {
                Ok(head) => return Ok(head),
                Err(error @ CheckpointError::Note(NoteError::NoKnownSignature)) => refused = error.into(),
                Err(error) => return Err(error.into()),
            }
        }
        Err(refused)
    }

    /// Parses and verifies a head.
    pub(crate) fn head(&self, note: &[u8]) -> Result<SignedCheckpoint, HeadError> {
        self.verify(ClaimedCheckpoint::parse(note)?)
    }

    /// The name of a signature line that nobody in the charter made.
    pub(crate) fn unknown_signature<'h>(&self, head: &'h SignedCheckpoint) -> Option<&'h str> {
        let log = self.keys(head.origin());
        let known = |line: &&puente_audit_log::NoteSignature| {
            log.iter().any(|key| line.names(key))
                || self.witnesses.iter().any(|key| line.names(key))
                || self.other_witnesses.iter().any(|name| name == line.name())
        };
        head.signatures().iter().find(|line| !known(line)).map(|line| line.name())
    }

    /// The log that a note is of as far as it can be guessed: its first line, or the name of a signature line.
    pub(crate) fn guess_origin(&self, note: &[u8]) -> Option<Origin> {
        let text = String::from_utf8_lossy(note);
        let first = text.lines().next().unwrap_or_default();
        let signers = text.lines().filter_map(|line| line.strip_prefix("— ")?.split(' ').next());
        std::iter::once(first).chain(signers).find(|name| self.logs.contains_key(*name))?.parse().ok()
    }
}
