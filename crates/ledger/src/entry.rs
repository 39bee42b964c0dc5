//! Entries of a group ledger: signed notes (C2SP signed-note), read strictly.
//!
//! ```text
//! puente/v1/ledger/commit               puente/v1/ledger/close
//! ledger group/frontera/otay/ledger1    ledger group/frontera/otay/ledger1
//! index 7                               index 8
//! charter 3.mx2.us5                     charter 3.mx2.us5
//! epoch 6                               next group/frontera/otay/ledger2
//! at 1790000000123
//! commit <64 hexadecimal digits>
//! held mx/fge-bc/n1 <64 hexadecimal digits>
//! held us/sdpd/n1 <64 hexadecimal digits>
//!
//! — group/frontera/otay/ledger1 <Base64>  (of either: one line, by the proposer's key)
//! ```
//!
//! The proposer's signature stands in the entry, under the witnesses' cosignatures, and not only on the head: lines on
//! a head can be exchanged afterwards, so whether an entry is the convener's or a successor's would be told differently
//! to different members.
//!
//! `at` is the moment, in milliseconds since the Unix epoch, at which every member judges the leaves that a commit brings in.
//! The convener states it, holders compare it with their own clocks before they hold, and it never goes back.

use std::collections::BTreeMap;
use std::fmt;

use puente_audit_log::{ClaimedNote, NoteError, Signer, VerifierKey, leaf_hash};
use puente_model::limits::ENTRY_BYTES_MAX;
use puente_model::{CharterVector, Digest, Label, Millis, NodeUri, digest};

use crate::name::{GroupId, LedgerOrigin};

const COMMIT: &str = "puente/v1/ledger/commit";
const CLOSE: &str = "puente/v1/ledger/close";
/// Members that one entry can name as holders of its commit: a majority of 1,000.
pub const HOLDERS_MAX: usize = 501;
/// One commit as members hold it, in bytes.
pub const COMMIT_BYTES_MAX: usize = 8 << 20;

/// What a holder records as HELD before it says so:
/// `digest("puente/v1/ledger/held", [ledger, u64be index, charter vector as text, u64be epoch, u64be at, commit hash])`.
pub fn held_statement(draft: &Draft) -> Option<Digest> {
    let Body::Commit { epoch, at, commit, .. } = &draft.body else { return None };
    let (ledger, charter) = (draft.ledger.to_string(), draft.charter.to_string());
    let (index, epoch, at) = (draft.index.to_be_bytes(), epoch.to_be_bytes(), at.0.to_be_bytes());
    let parts: [&[u8]; 6] = [ledger.as_bytes(), &index, charter.as_bytes(), &epoch, &at, commit.as_bytes()];
    Some(digest(Label("puente/v1/ledger/held"), &parts))
}

/// What an entry says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Body {
    /// The commit that ends an epoch.
    Commit {
        /// The epoch that it ends.
        epoch: u64,
        /// When the convener proposed it: leaves are judged at this moment.
        at: Millis,
        /// Its hash, of [`puente_model::commit_hash`].
        commit: Digest,
        /// Who holds it, and the leaf hash of each holder's HELD entry in its own log.
        held: BTreeMap<NodeUri, Digest>,
    },
    /// The ledger's last entry.
    Close {
        /// Where the group goes on.
        next: LedgerOrigin,
    },
}

/// One entry, not yet anybody's word.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Draft {
    /// The ledger that it stands in.
    pub ledger: LedgerOrigin,
    /// Its index there.
    pub index: u64,
    /// The charter that governs the entry after it.
    pub charter: CharterVector,
    /// What it says.
    pub body: Body,
}

/// Why bytes are no entry.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EntryError {
    /// More bytes than a log entry may have.
    #[error("the ledger entry has {found} bytes; at most {ENTRY_BYTES_MAX} are read")]
    TooLong {
        /// Bytes found.
        found: usize,
    },
    /// Not a signed note.
    #[error("the ledger entry is not a signed note: {0}")]
    Note(#[from] NoteError),
    /// A line is missing, superfluous or not in its one canonical form.
    #[error("line {line} of the ledger entry is not '{expected}'")]
    Line {
        /// The line's number, from 1.
        line: usize,
        /// What belongs there.
        expected: &'static str,
    },
    /// Holders out of order, twice, or too many.
    #[error("the holders of a ledger entry stand in ascending order, each once, at most {HOLDERS_MAX}")]
    Holders,
    /// Another member says so.
    #[error("another member found the ledger entry not well formed")]
    Elsewhere,
    /// Not signed once.
    #[error("a ledger entry has one signature line, its proposer's")]
    Signatures,
}

/// An entry as it arrived: well formed, nobody's word yet. Whatever parses encodes to the same bytes.
#[derive(Clone, PartialEq, Eq)]
pub struct Entry {
    draft: Draft,
    note: ClaimedNote,
    leaf: Digest,
}

fn short(node: &NodeUri) -> &str {
    node.as_str().strip_prefix("puente://").unwrap_or_default()
}

impl fmt::Display for Draft {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = if matches!(self.body, Body::Commit { .. }) { COMMIT } else { CLOSE };
        writeln!(f, "{kind}\nledger {}\nindex {}\ncharter {}", self.ledger, self.index, self.charter)?;
        match &self.body {
            Body::Commit { epoch, at, commit, held } => {
                writeln!(f, "epoch {epoch}\nat {}\ncommit {commit}", at.0)?;
                held.iter().try_for_each(|(node, leaf)| writeln!(f, "held {} {leaf}", short(node)))
            }
            Body::Close { next } => writeln!(f, "next {next}"),
        }
    }
}

impl Draft {
    /// Signs it as the proposer.
    ///
    /// # Errors
    /// It is too large, names too many holders, or the key cannot sign notes.
    pub fn sign(self, signer: &dyn Signer) -> Result<Entry, EntryError> {
        if let Body::Commit { held, .. } = &self.body
            && held.len() > HOLDERS_MAX
        {
            return Err(EntryError::Holders);
        }
        let note = ClaimedNote::signed(&self.to_string(), Vec::new(), signer)?;
        Entry::of(self, note)
    }

    fn parse(text: &str) -> Result<Self, EntryError> {
        let mut lines = Lines { lines: text.lines(), line: 0 };
        let kind = lines.next_as(COMMIT, |line| [COMMIT, CLOSE].into_iter().find(|kind| *kind == line))?;
        let ledger = lines.value("ledger ", "ledger <origin>")?;
        let index = lines.value("index ", "index <number>")?;
        let charter = lines.value("charter ", "charter <vector>")?;
        let body = if kind == COMMIT {
            let epoch = lines.value("epoch ", "epoch <number>")?;
            let at = Millis(lines.value("at ", "at <milliseconds>")?);
            let commit = lines.value("commit ", "commit <digest>")?;
            let mut held = BTreeMap::new();
            while lines.lines.clone().next().is_some() {
                let expected = "held <node> <digest>";
                let (node, leaf) = lines.next_as(expected, |line| {
                    let (node, leaf) = line.strip_prefix("held ")?.split_once(' ')?;
                    Some((format!("puente://{node}").parse::<NodeUri>().ok()?, leaf.parse::<Digest>().ok()?))
                })?;
                let ascends = held.last_key_value().is_none_or(|(last, _)| *last < node);
                if !ascends || held.len() == HOLDERS_MAX {
                    return Err(EntryError::Holders);
                }
                held.insert(node, leaf);
            }
            Body::Commit { epoch, at, commit, held }
        } else {
            Body::Close { next: lines.value("next ", "next <origin>")? }
        };
        let draft = Self { ledger, index, charter, body };
        // Numbers with leading zeros or signs, and lines after the last, have no form of their own.
        let same = draft.to_string() == text;
        same.then_some(draft).ok_or(EntryError::Line { line: lines.line + 1, expected: "the end, in canonical form" })
    }
}

struct Lines<'a> {
    lines: std::str::Lines<'a>,
    line: usize,
}

impl<'a> Lines<'a> {
    fn next_as<T>(&mut self, expected: &'static str, read: impl FnOnce(&'a str) -> Option<T>) -> Result<T, EntryError> {
        self.line += 1;
        self.lines.next().and_then(read).ok_or(EntryError::Line { line: self.line, expected })
    }

    fn value<T: std::str::FromStr>(&mut self, prefix: &str, expected: &'static str) -> Result<T, EntryError> {
        self.next_as(expected, |line| line.strip_prefix(prefix)?.parse().ok())
    }
}

impl Entry {
    /// Reads an entry, strictly.
    ///
    /// # Errors
    /// Anything but the one canonical form.
    pub fn parse(bytes: &[u8]) -> Result<Self, EntryError> {
        if bytes.len() > ENTRY_BYTES_MAX {
            return Err(EntryError::TooLong { found: bytes.len() });
        }
        let note = ClaimedNote::parse(bytes)?;
        Self::of(Draft::parse(note.text())?, note)
    }

    fn of(draft: Draft, note: ClaimedNote) -> Result<Self, EntryError> {
        if note.signatures().len() != 1 {
            return Err(EntryError::Signatures);
        }
        let bytes = note.as_bytes();
        if bytes.len() > ENTRY_BYTES_MAX {
            return Err(EntryError::TooLong { found: bytes.len() });
        }
        let leaf = leaf_hash(bytes);
        Ok(Self { draft, note, leaf })
    }

    /// What it says, as claimed.
    pub const fn draft(&self) -> &Draft {
        &self.draft
    }

    /// Its bytes, as they stand in the ledger.
    pub fn as_bytes(&self) -> &[u8] {
        self.note.as_bytes()
    }

    /// Its leaf hash.
    pub const fn leaf(&self) -> Digest {
        self.leaf
    }

    /// The group, as claimed.
    pub const fn group(&self) -> &GroupId {
        self.draft.ledger.group()
    }

    /// Which of these keys signed it.
    pub fn signed_by<'k, T>(&self, keys: impl IntoIterator<Item = (&'k VerifierKey, T)>) -> Option<T> {
        keys.into_iter().find(|(key, _)| self.note.verify(&[key]).is_ok()).map(|(_, who)| who)
    }
}

impl fmt::Debug for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Draft { ledger, index, body, .. } = &self.draft;
        match body {
            Body::Commit { epoch, .. } => write!(f, "Entry({ledger} {index}: commit of epoch {epoch})"),
            Body::Close { next } => write!(f, "Entry({ledger} {index}: close, next {})", next.number()),
        }
    }
}
