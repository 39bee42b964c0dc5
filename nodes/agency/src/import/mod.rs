//! Bringing records in: streaming, row by row; good rows go in, bad rows are
//! named with their line, what is wrong and how to mend it.
//!
//! Rows are parsed (`rows`), looked up so that each record goes in once, and
//! gathered in batches of bounded size ([`batch`]). A batch is staged on disk
//! ([`stage`]), committed by one COLLECT event (the RFC 6962 root over the
//! salted commitments of its records) and only then stored ([`desk`]). The
//! records stay out of every lookup until that entry is durable in the log
//! (record before reveal). A repeated import goes on after the batches that
//! are in ([`resume`]).

pub mod batch;
mod convert;
mod decimal;
pub mod desk;
mod index;
pub(crate) mod jsonl;
mod lines;
pub mod profile;
pub mod resume;
mod rows;
pub mod source;
pub mod stage;
mod table;
pub mod text;
pub mod words;

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use puente_catalogue::Lang;
use puente_model::{Digest, Label, Secret32, digest};
use serde::{Deserialize, Serialize};

use profile::Profile;
use stage::StageError;
use words::Words;

/// Commitment of one imported record: salt, record type, canonical bytes, overrides.
const RECORD: Label = Label("puente/v1/record");
/// Characters of an `authority` text.
pub const AUTHORITY_CHARS_MAX: usize = 500;

/// How a file is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Comma-, semicolon- or tab-separated values with a header line.
    Csv,
    /// One JSON object a line.
    JsonLines,
}

/// What a person decided about an import.
#[derive(Debug, Clone)]
pub struct Options {
    /// How the file is written.
    pub format: Format,
    /// How its columns become fields; without, columns are fields.
    pub profile: Option<Profile>,
    /// Column → reason for which values whose check digit does not hold are accepted.
    pub overrides: BTreeMap<String, String>,
    /// Language of row errors.
    pub lang: Lang,
}

/// One record on its way in. `Debug` shows no content.
pub struct Imported {
    /// Canonical bytes.
    pub record: Vec<u8>,
    /// Name and value of each match key.
    pub keys: Vec<(Arc<str>, String)>,
    /// Opens the record's commitment.
    pub salt: Secret32,
    /// `digest("puente/v1/record", salt, type, record, overrides)`.
    pub commitment: Digest,
    /// Overrides as JSON (`[{"field","problem","reason"}]`); empty without.
    pub overrides: String,
}

impl fmt::Debug for Imported {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Imported({} bytes, {} keys)", self.record.len(), self.keys.len())
    }
}

/// What became of a row about which there is something to say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// It did not go in.
    Rejected,
    /// It went in, and is doubtful.
    Doubt,
    /// Its record is in already, and is kept once.
    Duplicate,
}

impl Outcome {
    /// The word of the errors file.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Rejected => "rejected",
            Self::Doubt => "doubt",
            Self::Duplicate => "duplicate",
        }
    }
}

/// Something wrong or doubtful about one row. Holds no value of the row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RowError {
    /// Line on which the row begins, from 1.
    pub line: u64,
    /// The column, where one is at fault.
    pub column: Option<String>,
    /// Stable code.
    pub code: String,
    /// What is wrong.
    pub message: String,
    /// What to do about it.
    pub mend: String,
}

impl RowError {
    pub(crate) fn new(column: Option<&str>, code: &str, lang: Lang, words: Words, parts: &[&str]) -> Self {
        let (message, mend) = words.say(lang, parts);
        Self { line: 0, column: column.map(shown), code: code.to_owned(), message, mend }
    }
}

impl fmt::Display for RowError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}", self.line)?;
        if let Some(column) = &self.column {
            write!(f, ", column {}", column.escape_debug())?;
        }
        write!(f, ": {}; {}", self.message, self.mend)
    }
}

/// Why an import stopped. The batches before are in; a repeated import goes on after them.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// The file cannot be opened.
    #[error("{path}: {error}")]
    Open {
        /// Which.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// The file cannot be read.
    #[error("the file cannot be read: {0}")]
    Read(io::Error),
    /// The file that takes the errors cannot be written.
    #[error("the file of errors cannot be written: {0}")]
    Errors(io::Error),
    /// The records cannot be staged or stored.
    #[error(transparent)]
    Stage(#[from] StageError),
    /// The log did not take a batch.
    #[error("{message}")]
    Log {
        /// Stable code.
        code: &'static str,
        /// What is wrong.
        message: String,
        /// What to do about it.
        hint: String,
    },
    /// The file as a whole is wrong.
    #[error("{message}")]
    File {
        /// Stable code.
        code: &'static str,
        /// What is wrong.
        message: String,
        /// What to do about it.
        mend: String,
    },
}

impl ImportError {
    pub(crate) fn file(code: &'static str, lang: Lang, words: Words, parts: &[&str]) -> Self {
        let (message, mend) = words.say(lang, parts);
        Self::File { code, message, mend }
    }
}

/// How many rows, and what became of them: `rows` = `accepted` + `rejected` + `duplicates_in_batch` + `duplicates_in_store`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Counts {
    /// Rows read, blank lines aside.
    pub rows: u64,
    /// Rows that went in.
    pub accepted: u64,
    /// Rows that did not.
    pub rejected: u64,
    /// Rows whose record another row of the same batch brought in.
    #[serde(default)]
    pub duplicates_in_batch: u64,
    /// Rows whose record was in already: by an earlier import, or an earlier batch of this file.
    #[serde(default)]
    pub duplicates_in_store: u64,
    /// Rows that went in beside another record with the same decisive key.
    #[serde(default)]
    pub same_key: u64,
    /// Other doubts about rows that went in.
    pub warnings: u64,
    /// Values whose failing check was overridden.
    pub overridden: u64,
}

impl Counts {
    /// Takes others in.
    pub fn add(&mut self, other: &Self) {
        self.rows += other.rows;
        self.accepted += other.accepted;
        self.rejected += other.rejected;
        self.duplicates_in_batch += other.duplicates_in_batch;
        self.duplicates_in_store += other.duplicates_in_store;
        self.same_key += other.same_key;
        self.warnings += other.warnings;
        self.overridden += other.overridden;
    }
}

/// The commitment of one record.
pub fn commit(salt: &Secret32, record_type: &str, record: &[u8], overrides: &str) -> Digest {
    digest(RECORD, &[salt.expose(), record_type.as_bytes(), record, overrides.as_bytes()])
}

/// A column name fit for a message.
fn shown(column: &str) -> String {
    column.chars().filter(|c| !c.is_control()).take(80).collect()
}

#[cfg(test)]
mod profile_test;
#[cfg(test)]
mod tests;
