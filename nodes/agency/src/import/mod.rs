//! Bringing records in: streaming, row by row; good rows go in, bad rows are
//! named with their line, what is wrong and how to mend it.
//!
//! A batch is committed by one COLLECT event: the RFC 6962 root over the
//! salted commitments of its records. The records stay out of every lookup
//! until that entry is durable in the log (record before reveal).

mod jsonl;
mod lines;
pub mod stage;
mod table;

use std::collections::BTreeMap;
use std::fmt;
use std::io::{self, BufRead};

use puente_audit_log::{Frontier, leaf_hash};
use puente_catalogue::{Finding, Lang, OVERRIDE_SUFFIX, ParsedRow, Problem, RecordType};
use puente_exchange::api::LocalEvent;
use puente_model::limits::IMPORT_LINE_BYTES_MAX;
use puente_model::{Digest, EventKind, Label, Secret32, digest};
use rand_core::CryptoRngCore;

use lines::{Line, Lines};
use table::{ROW_CELLS_MAX, ROW_LINES_MAX, Row, Rows};

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
    pub keys: Vec<(String, String)>,
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

/// Something wrong or doubtful about one row. Holds no value of the row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RowError {
    /// Line on which the row begins, from 1.
    pub line: u64,
    /// The column, where one is at fault.
    pub column: Option<String>,
    /// Stable code.
    pub code: &'static str,
    /// What is wrong.
    pub message: String,
    /// What to do about it.
    pub mend: String,
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

/// Why an import stopped. Nothing of it is in force.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// The file cannot be read.
    #[error("the file cannot be read: {0}")]
    Read(io::Error),
    /// The records cannot be stored.
    #[error("the records cannot be stored: {0}")]
    Store(String),
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

/// Takes what the import finds, as it finds it.
pub trait Sink {
    /// A good row.
    ///
    /// # Errors
    /// It cannot be stored; the import stops.
    fn record(&mut self, record: Imported) -> Result<(), String>;

    /// A bad row, or a doubt about a good one.
    ///
    /// # Errors
    /// It cannot be noted; the import stops.
    fn problem(&mut self, error: &RowError, rejected: bool) -> Result<(), String>;

    /// So far: bytes of the file, rows read.
    fn progress(&mut self, bytes: u64, rows: u64);
}

/// What came of an import.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Summary {
    /// Rows read, blank lines aside.
    pub rows: u64,
    /// Rows that went in.
    pub accepted: u64,
    /// Rows that did not.
    pub rejected: u64,
    /// Doubts about rows that went in.
    pub warnings: u64,
    /// Values whose failing check was overridden.
    pub overridden: u64,
    /// RFC 6962 root over the records' commitments, in order.
    pub root: Digest,
}

impl Summary {
    /// The one event that commits the batch.
    pub fn event(&self, record_type: &str, authority: &str) -> LocalEvent {
        let detail = serde_json::json!({
            "root": self.root.to_string(),
            "count": self.accepted,
            "rejected": self.rejected,
            "overridden": self.overridden,
            "record_type": record_type,
            "authority": authority,
        });
        LocalEvent {
            kind: EventKind::Collect,
            record_type: record_type.to_owned(),
            count: self.accepted,
            purpose: None,
            basis: None,
            role: None,
            detail: detail.to_string().into_bytes(),
        }
    }
}

/// The commitment of one record.
pub fn commit(salt: &Secret32, record_type: &str, record: &[u8], overrides: &str) -> Digest {
    digest(RECORD, &[salt.expose(), record_type.as_bytes(), record, overrides.as_bytes()])
}

/// Reads a whole file, a row at a time; memory is bounded whatever the file holds.
///
/// # Errors
/// The file cannot be read, is no table of this record type, or the sink refuses.
pub fn run(
    source: impl BufRead,
    record_type: &RecordType,
    options: &Options,
    rng: &mut impl CryptoRngCore,
    sink: &mut dyn Sink,
) -> Result<Summary, ImportError> {
    let mut lines = Lines::new(source, IMPORT_LINE_BYTES_MAX);
    skip_mark(&mut lines)?;
    let mut import = Import {
        record_type,
        options,
        rng,
        sink,
        tree: Frontier::new(),
        summary: Summary { rows: 0, accepted: 0, rejected: 0, warnings: 0, overridden: 0, root: Digest::default() },
    };
    match options.format {
        Format::Csv => import.table(lines)?,
        Format::JsonLines => import.objects(lines)?,
    }
    import.summary.root = import.tree.root();
    Ok(import.summary)
}

/// A UTF-8 byte order mark is skipped; UTF-16 is refused by name.
fn skip_mark<R: BufRead>(lines: &mut Lines<R>) -> Result<(), ImportError> {
    let start = lines.peek().map_err(ImportError::Read)?;
    if start.starts_with(&[0xef, 0xbb, 0xbf]) {
        lines.skip(3);
    } else if start.starts_with(&[0xff, 0xfe]) || start.starts_with(&[0xfe, 0xff]) {
        return Err(ImportError::File {
            code: "encoding",
            message: "the file is UTF-16".to_owned(),
            mend: "save it as UTF-8 (in a spreadsheet: 'CSV UTF-8'), then import it again".to_owned(),
        });
    }
    Ok(())
}

struct Import<'a, R> {
    record_type: &'a RecordType,
    options: &'a Options,
    rng: &'a mut R,
    sink: &'a mut dyn Sink,
    tree: Frontier,
    summary: Summary,
}

impl<R: CryptoRngCore> Import<'_, R> {
    fn table<S: BufRead>(&mut self, lines: Lines<S>) -> Result<(), ImportError> {
        let mut rows = Rows::new(lines, IMPORT_LINE_BYTES_MAX);
        let header = loop {
            match rows.header().map_err(ImportError::Read)? {
                Row::Blank => {}
                Row::Cells(cells) => break self.header(&cells)?,
                Row::End => return Err(file_error("empty", "the file is empty", "is this the right file?")),
                _ => {
                    let message = format!("line {} is no header line", rows.line());
                    return Err(file_error("header", &message, "the first line names the columns"));
                }
            }
        };
        loop {
            let row = rows.read().map_err(ImportError::Read)?;
            let line = rows.line();
            match row {
                Row::End => return Ok(()),
                Row::Blank => continue,
                Row::Cells(cells) => self.cells(line, &header, &cells)?,
                Row::TooLong => self.reject(line, too_long())?,
                Row::OpenQuote => {
                    let mend = format!(
                        "close it, or double quotes that belong to the value; a row has at most {ROW_LINES_MAX} lines"
                    );
                    self.reject(line, vec![row_error(None, "open-quote", "a quoted value does not end", mend)])?;
                }
                Row::TooManyCells => {
                    let message = format!("more than {ROW_CELLS_MAX} cells");
                    self.reject(line, vec![row_error(None, "cells", message, "is this the right file?")])?;
                }
            }
            self.sink.progress(rows.bytes(), self.summary.rows);
        }
    }

    /// The columns; every one must be known, so that no value is silently dropped.
    fn header(&self, cells: &csv::ByteRecord) -> Result<Vec<String>, ImportError> {
        let mut columns = Vec::with_capacity(cells.len());
        for cell in cells {
            let text = std::str::from_utf8(cell).map_err(|_| {
                file_error("encoding", "the header line is not UTF-8", "save the file as UTF-8, then import it again")
            })?;
            columns.push(text.trim().to_owned());
        }
        // Spreadsheets leave empty columns at the end.
        while columns.last().is_some_and(String::is_empty) {
            columns.pop();
        }
        let mut seen = BTreeMap::new();
        for (at, column) in columns.iter().enumerate() {
            let (name, is_reason) = match column.strip_suffix(OVERRIDE_SUFFIX) {
                Some(name) => (name, true),
                None => (column.as_str(), false),
            };
            let Some(field) = self.record_type.field_of_column(name) else {
                return Err(self.unknown_column(name, at));
            };
            if let Some(other) = seen.insert((field.name.clone(), is_reason), column.clone()) {
                let message = format!("the columns '{}' and '{}' mean the same field", shown(&other), shown(column));
                return Err(file_error("duplicate-column", &message, "keep one of them"));
            }
        }
        Ok(columns)
    }

    fn unknown_column(&self, name: &str, at: usize) -> ImportError {
        let known: Vec<&str> = self.record_type.fields().iter().map(|f| f.name.as_str()).collect();
        let mend = match crate::config::closest(name, &known) {
            Some(near) => format!("did you mean '{near}'? Rename or remove the column"),
            None => format!("rename or remove it; the columns are: {}", known.join(", ")),
        };
        let message = format!("column {} ('{}') is no field of {}", at + 1, shown(name), self.record_type.name());
        file_error("unknown-column", &message, &mend)
    }

    fn cells(&mut self, line: u64, header: &[String], cells: &csv::ByteRecord) -> Result<(), ImportError> {
        let extra = cells.iter().skip(header.len()).any(|c| !c.is_empty());
        if extra {
            let message = format!("{} cells where the header has {}", cells.len(), header.len());
            let mend = "quote values that hold the separator";
            return self.reject(line, vec![row_error(None, "cells", message, mend)]);
        }
        let mut row = BTreeMap::new();
        for (column, cell) in header.iter().zip(cells) {
            match std::str::from_utf8(cell) {
                Ok(text) => {
                    row.insert(column.clone(), text.to_owned());
                }
                Err(error) => {
                    let error = not_utf8(Some(column), cell, error.valid_up_to());
                    return self.reject(line, vec![error]);
                }
            }
        }
        self.row(line, row)
    }

    fn objects<S: BufRead>(&mut self, mut lines: Lines<S>) -> Result<(), ImportError> {
        let mut line = Vec::new();
        loop {
            let found = lines.read(&mut line).map_err(ImportError::Read)?;
            let number = lines.number();
            match found {
                Line::End => return Ok(()),
                Line::Whole if line.iter().all(u8::is_ascii_whitespace) => continue,
                Line::Whole => match std::str::from_utf8(&line) {
                    Ok(text) => match jsonl::cells(text) {
                        Ok(cells) => self.row(number, cells)?,
                        Err(bad) => {
                            let message = format!("at character {}: {}", bad.column, bad.what);
                            self.reject(number, vec![row_error(None, "json", message, "write one object a line")])?;
                        }
                    },
                    Err(error) => {
                        let error = not_utf8(None, &line, error.valid_up_to());
                        self.reject(number, vec![error])?;
                    }
                },
                Line::TooLong => self.reject(number, too_long())?,
            }
            self.sink.progress(lines.bytes(), self.summary.rows);
        }
    }

    fn row(&mut self, line: u64, mut cells: BTreeMap<String, String>) -> Result<(), ImportError> {
        let mut parsed = self.record_type.parse_row(&cells);
        if let Err(findings) = &parsed
            && !self.options.overrides.is_empty()
            && findings.iter().all(|f| f.problem.overridable() && self.reason(&f.column).is_some())
        {
            for finding in findings {
                if let Some(reason) = self.reason(&finding.column) {
                    cells.insert(format!("{}{OVERRIDE_SUFFIX}", finding.column), reason.to_owned());
                }
            }
            parsed = self.record_type.parse_row(&cells);
        }
        match parsed {
            Ok(row) => self.accept(line, &row),
            Err(findings) => {
                let errors = findings.iter().map(|f| self.of_finding(f)).collect();
                self.reject(line, errors)
            }
        }
    }

    /// The reason given on the command line for a column, by any of its names.
    fn reason(&self, column: &str) -> Option<&str> {
        let field = &self.record_type.field_of_column(column)?.name;
        self.options.overrides.get(field).map(String::as_str)
    }

    fn of_finding(&self, finding: &Finding) -> RowError {
        let lang = self.options.lang;
        let mend = match finding.problem {
            Problem::UnknownColumn => format!("{} ({})", finding.mend(lang), finding.detail),
            _ => finding.mend(lang).to_owned(),
        };
        let message = finding.message(lang);
        row_error(Some(finding.column.as_str()), finding.code(), message, mend)
    }

    fn accept(&mut self, line: u64, row: &ParsedRow) -> Result<(), ImportError> {
        let keys = match self.record_type.match_keys_of(&row.record) {
            Ok(keys) => keys,
            Err(error) => {
                let mend = "tell the makers of this software";
                return self.reject(line, vec![row_error(None, "record", error.to_string(), mend)]);
            }
        };
        let mut salt = [0; 32];
        self.rng.fill_bytes(&mut salt);
        let salt = Secret32::new(salt);
        let overrides = overrides_json(row);
        let commitment = commit(&salt, self.record_type.name(), row.record.bytes(), &overrides);
        let imported = Imported {
            record: row.record.bytes().to_vec(),
            keys: keys.into_iter().map(|k| (k.name.to_string(), k.value)).collect(),
            salt,
            commitment,
            overrides,
        };
        self.sink.record(imported).map_err(ImportError::Store)?;
        self.tree.push(leaf_hash(commitment.as_bytes()));
        self.summary.rows += 1;
        self.summary.accepted += 1;
        self.summary.warnings += row.warnings.len() as u64;
        self.summary.overridden += row.overrides.len() as u64;
        for finding in &row.warnings {
            let error = RowError { line, ..self.of_finding(finding) };
            self.sink.problem(&error, false).map_err(ImportError::Store)?;
        }
        Ok(())
    }

    fn reject(&mut self, line: u64, errors: Vec<RowError>) -> Result<(), ImportError> {
        self.summary.rows += 1;
        self.summary.rejected += 1;
        for error in errors {
            self.sink.problem(&RowError { line, ..error }, true).map_err(ImportError::Store)?;
        }
        Ok(())
    }
}

/// The overrides of a row, as they are stored with the record and committed.
fn overrides_json(row: &ParsedRow) -> String {
    if row.overrides.is_empty() {
        return String::new();
    }
    let list: Vec<_> = row
        .overrides
        .iter()
        .map(|o| serde_json::json!({"field": o.field, "problem": o.problem.code(), "reason": o.reason}))
        .collect();
    serde_json::Value::Array(list).to_string()
}

fn row_error(
    column: Option<&str>,
    code: &'static str,
    message: impl Into<String>,
    mend: impl Into<String>,
) -> RowError {
    RowError { line: 0, column: column.map(shown), code, message: message.into(), mend: mend.into() }
}

fn file_error(code: &'static str, message: &str, mend: &str) -> ImportError {
    ImportError::File { code, message: message.to_owned(), mend: mend.to_owned() }
}

fn too_long() -> Vec<RowError> {
    let message = format!("the line is longer than {IMPORT_LINE_BYTES_MAX} bytes");
    vec![row_error(None, "line-too-long", message, "is this the right file? Rows end with a line break")]
}

/// Names the byte, never the text around it.
fn not_utf8(column: Option<&str>, bytes: &[u8], at: usize) -> RowError {
    let byte = bytes.get(at).copied().unwrap_or_default();
    let message = format!("not UTF-8: byte 0x{byte:02X} at position {}", at + 1);
    let latin = byte >= 0xa0 || matches!(byte, 0x91..=0x94);
    let mend = if latin {
        "it looks like Latin-1 or Windows-1252: save the file as UTF-8 (in a spreadsheet: 'CSV UTF-8')"
    } else {
        "save the file as UTF-8"
    };
    row_error(column, "encoding", message, mend)
}

/// A column name fit for a message.
fn shown(column: &str) -> String {
    column.chars().filter(|c| !c.is_control()).take(80).collect()
}

#[cfg(test)]
mod tests;
