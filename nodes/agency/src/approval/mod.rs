//! The two-person rule: where `operators.toml` names operators, other policies, grants of officers, access in an
//! emergency and changes of that file itself need two of them.
//!
//! What waits is a [`Proposal`]: which node, what changes, from what to what, since when. Operators sign its text, each
//! with a key of their own; the signatures stand in a C2SP signed note in the folder `approvals`. Two signatures of two
//! operators of the rule in force, at most seven days after the proposal, and the node carries it out; the entry names
//! them in its details. Nobody alone can switch the rule off: that is a change like any other. Taking access away
//! ([`puente_model::EventKind::Revoke`]) never waits.
//!
//! Whoever owns the node's folder on disk can replace any file in it, this one too. The rule keeps one operator from
//! changing things by the node's own means; against who owns the machine the log stands.

pub(crate) mod grants;
mod proposal;
mod rule;
#[cfg(test)]
mod tests;

use std::io;
use std::path::PathBuf;

use puente_audit_log::{ClaimedNote, NoteError, Signer};
use puente_model::{Digest, Millis, NodeUri};
use serde_json::{Value, json};

use crate::config::NodeDir;
use crate::files;

pub use grants::{AccessChange, grants_digest};
pub use proposal::{Change, Proposal};
pub use rule::{Operator, Rule, RuleError};

/// How many operators approve.
pub const APPROVERS: usize = 2;
/// How long after its proposal a change may be carried out, in milliseconds.
pub const VALID_MILLIS: u64 = 7 * 86_400_000;
/// How far a proposal's time may be ahead of this clock, in milliseconds.
const AHEAD_MILLIS: u64 = 5 * 60_000;
/// Notes that are looked through at most.
const NOTES_MAX: usize = 1_000;

/// Why approvals could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum ApprovalError {
    /// The operators.
    #[error(transparent)]
    Rule(#[from] RuleError),
    /// A file.
    #[error("{path}: {error}")]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// A note.
    #[error(transparent)]
    Note(#[from] NoteError),
    /// The key is no operator's.
    #[error("this key is none of the operators' who approve here")]
    NotAnOperator,
    /// The same operator, twice.
    #[error("operator '{name}' has approved this already; the second approval is another person's")]
    OnePerson {
        /// Who.
        name: String,
    },
}

impl ApprovalError {
    /// Stable name of the cause.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Rule(_) => "operators",
            Self::File { .. } => "file",
            Self::Note(_) => "approval",
            Self::NotAnOperator => "not-an-operator",
            Self::OnePerson { .. } => "one-person",
        }
    }

    /// What to do about it.
    pub fn mend(&self) -> &'static str {
        match self {
            Self::Rule(_) => "mend operators.toml; the operators in force stand in operators.recorded.toml",
            Self::File { .. } => "check who owns the file",
            Self::Note(_) => "remove the note from the folder approvals, and approve anew",
            Self::NotAnOperator => "an operator in force signs; they stand in operators.recorded.toml",
            Self::OnePerson { .. } => "have another operator run 'puente approval sign'",
        }
    }
}

/// Who approved a change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Approved {
    /// Names of the operators, at least [`APPROVERS`].
    pub by: Vec<String>,
    /// Digest of the proposal's text.
    pub proposal: Digest,
}

impl Approved {
    /// Puts who approved into the details of an event.
    pub fn stamp(&self, detail: &[u8]) -> Vec<u8> {
        let mut value: Value = serde_json::from_slice(detail).unwrap_or_else(|_| json!({}));
        if let Some(object) = value.as_object_mut() {
            object.insert("approved_by".to_owned(), json!(self.by));
            object.insert("proposal".to_owned(), json!(self.proposal.to_string()));
        }
        value.to_string().into_bytes()
    }
}

/// What may go ahead.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Consent {
    /// No two-person rule is in force here.
    Free,
    /// Two operators approved.
    Given(Approved),
    /// So many operators approved, and that is not enough.
    Waits(Vec<String>),
}

/// The rule and the approvals of one node.
#[derive(Debug, Clone)]
pub struct Approvals {
    dir: NodeDir,
    node: NodeUri,
    in_force: Option<Rule>,
    wanted: Option<Rule>,
}

impl Approvals {
    /// Reads the rule in force and the one that is wanted.
    ///
    /// # Errors
    /// A file cannot be read, or names no two different people.
    pub fn open(dir: &NodeDir, node: &NodeUri) -> Result<Self, ApprovalError> {
        let (in_force, wanted) = (read(dir.operators_recorded())?, read(dir.operators())?);
        Ok(Self { dir: dir.clone(), node: node.clone(), in_force, wanted })
    }

    /// Who approves here, if the rule is in force.
    pub fn rule(&self) -> Option<&Rule> {
        self.in_force.as_ref()
    }

    /// Who is to approve, as operators.toml has it; in force when it is recorded.
    pub fn wanted(&self) -> Option<&Rule> {
        self.wanted.as_ref()
    }

    /// The change of the rule itself that the folder asks for: from, to.
    pub fn rule_change(&self) -> Option<(Digest, Digest)> {
        let (from, to) = (Rule::digest_of(self.in_force.as_ref()), Rule::digest_of(self.wanted.as_ref()));
        (from != to).then_some((from, to))
    }

    /// Whether a change may be carried out now.
    ///
    /// # Errors
    /// The folder of approvals cannot be read.
    pub fn consent(&self, change: Change, from: Digest, to: Digest, now: Millis) -> Result<Consent, ApprovalError> {
        let Some(rule) = &self.in_force else { return Ok(Consent::Free) };
        let mut most: Vec<String> = Vec::new();
        for (_, note, proposal) in self.notes()? {
            if !proposal.is(&self.node, change, from, to) || !timely(&proposal, now) {
                continue;
            }
            let by = signers(rule, &note);
            if by.len() >= APPROVERS {
                return Ok(Consent::Given(Approved { by, proposal: proposal.digest() }));
            }
            if by.len() > most.len() {
                most = by;
            }
        }
        Ok(Consent::Waits(most))
    }

    /// Adds an operator's signature to a change: to its proposal, or to a new one. Returns who has approved now.
    ///
    /// # Errors
    /// The key is no operator's, the operator has signed already, or a file cannot be written.
    pub fn sign(
        &self,
        change: Change,
        (from, to): (Digest, Digest),
        signer: &dyn Signer,
        now: Millis,
    ) -> Result<Vec<String>, ApprovalError> {
        let rule = self.in_force.as_ref().ok_or(ApprovalError::NotAnOperator)?;
        let operator = rule.holder(signer.verifier()).ok_or(ApprovalError::NotAnOperator)?;
        let open = |(_, _, p): &(PathBuf, ClaimedNote, Proposal)| p.is(&self.node, change, from, to) && timely(p, now);
        let (text, before, path) = match self.notes()?.into_iter().find(open) {
            Some((path, note, proposal)) => {
                if signers(rule, &note).contains(&operator.name) {
                    return Err(ApprovalError::OnePerson { name: operator.name.clone() });
                }
                // What is no operator's is not carried on.
                let known = |s: &puente_audit_log::NoteSignature| rule.operators().iter().any(|o| s.names(&o.key));
                (proposal.text(), note.signatures().iter().filter(|s| known(s)).cloned().collect(), path)
            }
            None => {
                let proposal = Proposal { node: self.node.clone(), change, from, to, proposed: now };
                let name = format!("{}-{}.note", change.as_str(), &proposal.digest().to_string()[..16]);
                (proposal.text(), Vec::new(), self.dir.approvals().join(name))
            }
        };
        let note = ClaimedNote::signed(&text, before, signer)?;
        let failed = |error| ApprovalError::File { path: path.clone(), error };
        files::make_private_dir(&self.dir.approvals()).map_err(failed)?;
        files::replace(&path, note.as_bytes(), true).map_err(failed)?;
        Ok(signers(rule, &note))
    }

    /// Writes down that the wanted rule is in force. Call it only when its entry is durable in the log.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn rule_recorded(&mut self) -> Result<(), ApprovalError> {
        let path = self.dir.operators_recorded();
        let done = match &self.wanted {
            Some(rule) => rule.to_toml().and_then(|text| files::replace(&path, text.as_bytes(), true)),
            None => std::fs::remove_file(&path),
        };
        done.map_err(|error| ApprovalError::File { path, error })?;
        self.in_force.clone_from(&self.wanted);
        Ok(())
    }

    /// Every well-formed note of the folder with its proposal; others are passed over.
    fn notes(&self) -> Result<Vec<(PathBuf, ClaimedNote, Proposal)>, ApprovalError> {
        let folder = self.dir.approvals();
        let entries = match std::fs::read_dir(&folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(ApprovalError::File { path: folder, error }),
        };
        let mut paths: Vec<PathBuf> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
        paths.retain(|path| path.extension().is_some_and(|kind| kind == "note"));
        paths.sort();
        let read = |path: PathBuf| {
            let note = ClaimedNote::parse(&files::read(&path).ok()?).ok()?;
            let proposal = Proposal::parse(note.text())?;
            Some((path, note, proposal))
        };
        Ok(paths.into_iter().take(NOTES_MAX).filter_map(read).collect())
    }
}

/// Operators of the rule whose signatures hold, each once. A note with a forged one is nobody's.
fn signers(rule: &Rule, note: &ClaimedNote) -> Vec<String> {
    let keys: Vec<_> = rule.operators().iter().map(|operator| &operator.key).collect();
    let mut names: Vec<String> =
        note.verify(&keys).unwrap_or_default().into_iter().map(|signature| signature.name).collect();
    names.sort();
    names.dedup();
    names
}

fn timely(proposal: &Proposal, now: Millis) -> bool {
    proposal.proposed.0 <= now.0.saturating_add(AHEAD_MILLIS)
        && now.0 <= proposal.proposed.0.saturating_add(VALID_MILLIS)
}

fn read(path: PathBuf) -> Result<Option<Rule>, ApprovalError> {
    match files::read_text(&path) {
        Ok(text) => Ok(Some(Rule::parse(&path.display().to_string(), &text)?)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(ApprovalError::File { path, error }),
    }
}
