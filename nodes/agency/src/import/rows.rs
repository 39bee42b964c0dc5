//! From the bytes of a file to records: header, cells, encoding, profile, checks.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::io::BufRead;

use puente_catalogue::{Finding, OVERRIDE_SUFFIX, ParsedRow, Problem, RecordType};
use puente_model::Digest;
use puente_model::limits::IMPORT_LINE_BYTES_MAX;

use super::lines::{Line, Lines};
use super::table::{ROW_CELLS_MAX, ROW_LINES_MAX, Row, Rows};
use super::text::{BadText, Encoding, decode};
use super::words::{Lang, Words};
use super::{Format, ImportError, Options, RowError, jsonl, shown};

/// What a row turned out to be.
pub(crate) enum Found {
    /// A record.
    Good { line: u64, row: ParsedRow },
    /// None.
    Bad { line: u64, errors: Vec<RowError> },
}

/// Where reading stands, always between two rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Position {
    /// Bytes before it.
    pub(crate) bytes: u64,
    /// SHA-256 of these bytes.
    pub(crate) digest: Digest,
}

enum From<S> {
    Table(Box<Rows<S>>),
    Objects(Lines<S>, Vec<u8>),
}

/// What one column of the file is for.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Column {
    /// This field, or the reason of its override.
    Field(String),
    /// The profile's column with this number.
    Profile(usize),
    /// Nothing: the profile leaves it out, or it has no name and must be empty.
    Ignored,
}

/// Reads records out of a source.
pub(crate) struct Reader<'a, S> {
    record_type: &'a RecordType,
    options: &'a Options,
    encoding: Encoding,
    from: From<S>,
    names: Vec<String>,
    columns: Vec<Column>,
}

impl<'a, S: BufRead> Reader<'a, S> {
    /// Reads the header, if the format has one.
    pub(crate) fn new(
        source: S,
        encoding: Encoding,
        record_type: &'a RecordType,
        options: &'a Options,
    ) -> Result<Self, ImportError> {
        let lines = Lines::new(source, IMPORT_LINE_BYTES_MAX);
        let from = match options.format {
            Format::Csv => From::Table(Box::new(Rows::new(lines, IMPORT_LINE_BYTES_MAX))),
            Format::JsonLines => From::Objects(lines, Vec::new()),
        };
        let mut reader = Self { record_type, options, encoding, from, names: Vec::new(), columns: Vec::new() };
        reader.header()?;
        Ok(reader)
    }

    fn lang(&self) -> Lang {
        self.options.lang
    }

    fn lines(&self) -> &Lines<S> {
        match &self.from {
            From::Table(rows) => rows.lines(),
            From::Objects(lines, _) => lines,
        }
    }

    /// The source itself.
    pub(crate) fn source(&self) -> &S {
        self.lines().source()
    }

    /// Bytes read so far.
    pub(crate) fn bytes(&self) -> u64 {
        self.lines().bytes()
    }

    /// Where reading stands; none while lines that were read ahead wait to be read again.
    pub(crate) fn position(&self) -> Option<Position> {
        let between = match &self.from {
            From::Table(rows) => rows.at_boundary(),
            From::Objects(..) => true,
        };
        between.then(|| Position { bytes: self.lines().bytes(), digest: self.lines().digest() })
    }

    /// Goes on at another position, which must be the end of a row of this very file.
    pub(crate) fn skip_to(&mut self, to: &Position) -> Result<(), ImportError> {
        let reached = match &mut self.from {
            From::Table(rows) => rows.skip_to(to.bytes),
            From::Objects(lines, _) => lines.skip_to(to.bytes),
        };
        if reached.map_err(ImportError::Read)? && self.position().as_ref() == Some(to) {
            return Ok(());
        }
        Err(ImportError::file("file-changed", self.lang(), Words::Changed, &[]))
    }

    fn header(&mut self) -> Result<(), ImportError> {
        let lang = self.lang();
        let From::Table(rows) = &mut self.from else { return Ok(()) };
        let cells = loop {
            match rows.header().map_err(ImportError::Read)? {
                Row::Blank => {}
                Row::Cells(cells) => break cells,
                Row::End => return Err(ImportError::file("empty", lang, Words::Empty, &[])),
                _ => {
                    let line = rows.line().to_string();
                    return Err(ImportError::file("header", lang, Words::NoHeader, &[&line]));
                }
            }
        };
        let mut names = Vec::with_capacity(cells.len());
        for cell in &cells {
            let text = decode(self.encoding, cell)
                .map_err(|_| ImportError::file("encoding", lang, Words::HeaderText, &[self.encoding.name()]))?;
            names.push(text.trim().to_owned());
        }
        // Spreadsheets leave empty columns at the end.
        while names.last().is_some_and(String::is_empty) {
            names.pop();
        }
        self.columns = match &self.options.profile {
            Some(profile) => self.profile_columns(profile, &names)?,
            None => self.field_columns(&names)?,
        };
        self.names = names;
        Ok(())
    }

    /// Every column must be known, so that no value is silently dropped.
    fn field_columns(&self, names: &[String]) -> Result<Vec<Column>, ImportError> {
        let lang = self.lang();
        let mut seen = BTreeMap::new();
        for (at, column) in names.iter().enumerate() {
            let (name, is_reason) = match column.strip_suffix(OVERRIDE_SUFFIX) {
                Some(name) => (name, true),
                None => (column.as_str(), false),
            };
            let Some(field) = self.record_type.field_of_column(name) else {
                let known: Vec<&str> = self.record_type.fields().iter().map(|f| f.name.as_str()).collect();
                let (words, last) = match crate::config::closest(name, &known) {
                    Some(near) => (Words::UnknownColumnNear, near.to_owned()),
                    None => (Words::UnknownColumn, known.join(", ")),
                };
                let parts = [&(at + 1).to_string(), &shown(name), self.record_type.name(), last.as_str()];
                return Err(ImportError::file("unknown-column", lang, words, &parts));
            };
            if let Some(other) = seen.insert((field.name.clone(), is_reason), column.clone()) {
                let parts = [shown(&other), shown(column)];
                let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
                return Err(ImportError::file("duplicate-column", lang, Words::DuplicateColumn, &parts));
            }
        }
        Ok(names.iter().cloned().map(Column::Field).collect())
    }

    fn profile_columns(&self, profile: &super::profile::Profile, names: &[String]) -> Result<Vec<Column>, ImportError> {
        let lang = self.lang();
        let mut columns = Vec::with_capacity(names.len());
        for (at, name) in names.iter().enumerate() {
            columns.push(match profile.columns().iter().position(|c| c == name) {
                Some(i) if columns.contains(&Column::Profile(i)) => {
                    let parts = [shown(name), shown(name)];
                    let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
                    return Err(ImportError::file("duplicate-column", lang, Words::DuplicateColumn, &parts));
                }
                Some(i) => Column::Profile(i),
                None if profile.ignores(name) => Column::Ignored,
                None => {
                    let parts = [&(at + 1).to_string(), &shown(name), profile.name.as_str()];
                    return Err(ImportError::file("unknown-column", lang, Words::ExtraColumn, &parts));
                }
            });
        }
        let missing = (0..profile.columns().len()).find(|i| !columns.contains(&Column::Profile(*i)));
        if let Some(name) = missing.and_then(|i| profile.columns().get(i)) {
            let found: Vec<String> = names.iter().take(50).map(|n| shown(n)).collect();
            let parts = [profile.name.as_str(), name, &found.join(", ")];
            return Err(ImportError::file("missing-column", lang, Words::MissingColumn, &parts));
        }
        Ok(columns)
    }

    /// The next row that is not blank; none at the end.
    pub(crate) fn next(&mut self) -> Result<Option<Found>, ImportError> {
        let lang = self.lang();
        loop {
            let (line, bad) = match &mut self.from {
                From::Table(rows) => {
                    let row = rows.read().map_err(ImportError::Read)?;
                    let line = rows.line();
                    match row {
                        Row::End => return Ok(None),
                        Row::Blank => continue,
                        Row::Cells(cells) => return Ok(Some(self.cells(line, &cells))),
                        Row::TooLong => (line, too_long(lang)),
                        Row::OpenQuote => {
                            let parts = [&*ROW_LINES_MAX.to_string()];
                            (line, RowError::new(None, "open-quote", lang, Words::OpenQuote, &parts))
                        }
                        Row::TooManyCells => {
                            let parts = [&*ROW_CELLS_MAX.to_string()];
                            (line, RowError::new(None, "cells", lang, Words::TooManyCells, &parts))
                        }
                    }
                }
                From::Objects(lines, line) => {
                    let found = lines.read(line).map_err(ImportError::Read)?;
                    let number = lines.number();
                    match found {
                        Line::End => return Ok(None),
                        Line::Whole if line.iter().all(u8::is_ascii_whitespace) => continue,
                        Line::Whole => {
                            let bytes = std::mem::take(line);
                            let found = self.object(number, &bytes);
                            if let From::Objects(_, line) = &mut self.from {
                                *line = bytes;
                            }
                            return Ok(Some(found));
                        }
                        Line::TooLong => (number, too_long(lang)),
                    }
                }
            };
            return Ok(Some(Found::Bad { line, errors: vec![bad] }));
        }
    }

    fn cells(&self, line: u64, cells: &csv::ByteRecord) -> Found {
        let lang = self.lang();
        let bad = |error| Found::Bad { line, errors: vec![error] };
        if cells.iter().skip(self.columns.len()).any(|c| !c.is_empty()) {
            let parts = [cells.len().to_string(), self.columns.len().to_string()];
            let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
            return bad(RowError::new(None, "cells", lang, Words::ExtraCells, &parts));
        }
        let mut texts: Vec<Cow<'_, str>> = Vec::with_capacity(self.columns.len());
        for (name, cell) in self.names.iter().zip(cells) {
            if let Some(at) = memchr::memchr(0, cell) {
                let parts = [&*(at + 1).to_string()];
                return bad(RowError::new(Some(name), "nul", lang, Words::Nul, &parts));
            }
            match decode(self.encoding, cell) {
                Ok(text) => texts.push(text),
                Err(error) => return bad(not_text(Some(name), self.encoding, error, lang)),
            }
        }
        if let Some(profile) = &self.options.profile {
            let mut row = vec![""; profile.columns().len()];
            for (column, text) in self.columns.iter().zip(&texts) {
                if let Column::Profile(i) = column
                    && let Some(slot) = row.get_mut(*i)
                {
                    *slot = text;
                }
            }
            let mut fields = Vec::with_capacity(24);
            if let Err(refused) = profile.apply(&row, &mut fields) {
                return bad(RowError::new(
                    Some(refused.column),
                    "conversion",
                    lang,
                    Words::Conversion,
                    &[refused.expects],
                ));
            }
            let pairs: Vec<(&str, &str)> = fields.iter().map(|(name, text)| (*name, text.as_str())).collect();
            return self.row(line, pairs);
        }
        let mut pairs = Vec::with_capacity(texts.len() + 2);
        for (column, text) in self.columns.iter().zip(&texts) {
            if let Column::Field(name) = column {
                pairs.push((name.as_str(), &**text));
            }
        }
        self.row(line, pairs)
    }

    fn object(&self, line: u64, bytes: &[u8]) -> Found {
        let lang = self.lang();
        let bad = |error| Found::Bad { line, errors: vec![error] };
        let text = match decode(self.encoding, bytes) {
            Ok(text) => text,
            Err(error) => return bad(not_text(None, self.encoding, error, lang)),
        };
        match jsonl::cells(&text) {
            Ok(cells) => self.row(line, cells.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect()),
            Err(error) => {
                let parts = [&*error.column.to_string(), error.what.get(lang)];
                bad(RowError::new(None, "json", lang, Words::Json, &parts))
            }
        }
    }

    fn row(&self, line: u64, pairs: Vec<(&str, &str)>) -> Found {
        let mut parsed = self.record_type.parse_cells(pairs.iter().copied());
        if let Err(findings) = &parsed
            && !self.options.overrides.is_empty()
            && findings.iter().all(|f| f.problem.overridable() && self.reason(&f.column).is_some())
        {
            let reasons: Vec<(String, &str)> = findings
                .iter()
                .filter_map(|f| Some((format!("{}{OVERRIDE_SUFFIX}", f.column), self.reason(&f.column)?)))
                .collect();
            let given = pairs.iter().copied().filter(|(name, _)| !reasons.iter().any(|(column, _)| column == name));
            parsed = self.record_type.parse_cells(given.chain(reasons.iter().map(|(c, r)| (c.as_str(), *r))));
        }
        match parsed {
            Ok(row) => Found::Good { line, row },
            Err(findings) => Found::Bad { line, errors: findings.iter().map(|f| self.of_finding(f)).collect() },
        }
    }

    /// The reason given on the command line for a column, by any of its names.
    fn reason(&self, column: &str) -> Option<&str> {
        let field = &self.record_type.field_of_column(column)?.name;
        self.options.overrides.get(field).map(String::as_str)
    }

    /// A finding of the catalogue's, as a row error without its line.
    pub(crate) fn of_finding(&self, finding: &Finding) -> RowError {
        let lang = self.lang();
        let mend = match finding.problem {
            Problem::UnknownColumn => format!("{} ({})", finding.mend(lang), finding.detail),
            _ => finding.mend(lang).to_owned(),
        };
        RowError {
            line: 0,
            column: Some(shown(&finding.column)),
            code: finding.code().to_owned(),
            message: finding.message(lang),
            mend,
        }
    }
}

fn too_long(lang: Lang) -> RowError {
    RowError::new(None, "line-too-long", lang, Words::LongLine, &[&IMPORT_LINE_BYTES_MAX.to_string()])
}

/// Names the byte, never the text around it.
fn not_text(column: Option<&str>, encoding: Encoding, error: BadText, lang: Lang) -> RowError {
    match error {
        BadText::Utf8 => RowError::new(column, "encoding", lang, Words::LooksUtf8, &[encoding.name()]),
        BadText::Byte { at, byte } => {
            let latin = byte >= 0xa0 || matches!(byte, 0x91..=0x97);
            let words = if latin && encoding != Encoding::Windows1252 { Words::LooksLatin } else { Words::NotText };
            let parts = [encoding.name(), &format!("{byte:02X}"), &(at + 1).to_string()];
            RowError::new(column, "encoding", lang, words, &parts)
        }
    }
}
