//! Rows of an agency's table become records, or are reported: never half of one.

use std::collections::{BTreeMap, BTreeSet};

use puente_catalogue::{OVERRIDE_SUFFIX, Problem};

use super::{From, Mapped};
use crate::records::health::Health;
use crate::records::{Lookup, identity};

/// Gathers the records of one lookup.
pub(super) struct Reading<'m> {
    mapped: &'m Mapped,
    lookup: &'m Lookup,
    seen: BTreeSet<[u8; 32]>,
    records: Vec<Vec<u8>>,
    rows: u64,
    strayed: u64,
    invalid: u64,
    /// Field and code of what is wrong with rows that do not validate.
    wrong: BTreeSet<(String, &'static str)>,
}

/// What is wrong with one row: fields and codes, no value.
type Wrong = Vec<(String, &'static str)>;

/// Canonical bytes, and name and value of each match key.
type Made = (Vec<u8>, Vec<(String, String)>);

impl Mapped {
    /// The canonical record of a row, and its match keys.
    fn record(&self, row: &[Option<String>]) -> Result<Made, Wrong> {
        let mut cells = BTreeMap::new();
        let mut wrong = Wrong::new();
        for field in &self.fields {
            let text = match &field.from {
                From::Constant(text) => Ok(text.clone()),
                From::Column(at, convert) => match row.get(*at) {
                    Some(Some(text)) => convert.apply(text),
                    _ => Ok(String::new()),
                },
            };
            match text {
                Ok(text) => {
                    if let (Some(reason), false) = (&field.accept, text.is_empty()) {
                        cells.insert(format!("{}{OVERRIDE_SUFFIX}", field.name), reason.clone());
                    }
                    cells.insert(field.name.clone(), text);
                }
                Err(unconverted) => wrong.push((field.name.clone(), unconverted.code())),
            }
        }
        let parsed = match self.record_type.parse_row(&cells) {
            Ok(parsed) if wrong.is_empty() => parsed,
            Ok(_) => return Err(wrong),
            Err(findings) => {
                wrong.extend(findings.into_iter().map(|finding| (finding.column.clone(), finding.code())));
                return Err(wrong);
            }
        };
        let unreadable = |_| vec![("record".to_owned(), Problem::BadCharacter.code())];
        let keys = self.record_type.match_keys_of(&parsed.record).map_err(unreadable)?;
        let keys = keys.into_iter().map(|key| (key.name.to_string(), key.value)).collect();
        Ok((parsed.record.into_bytes(), keys))
    }
}

impl<'m> Reading<'m> {
    pub(super) fn new(mapped: &'m Mapped, lookup: &'m Lookup) -> Self {
        let (seen, wrong) = (BTreeSet::new(), BTreeSet::new());
        Self { mapped, lookup, seen, records: Vec::new(), rows: 0, strayed: 0, invalid: 0, wrong }
    }

    /// True once no more rows are wanted.
    pub(super) fn is_full(&self) -> bool {
        self.records.len() >= self.lookup.limit
    }

    /// Takes a row that the database found.
    pub(super) fn take(&mut self, row: &[Option<String>]) {
        self.rows += 1;
        match self.mapped.record(row) {
            Err(wrong) => {
                self.invalid += 1;
                self.wrong.extend(wrong);
            }
            // The catalogue has the last word on what a key finds: a mapping may not widen a question.
            Ok((_, keys)) if !keys.iter().any(|key| self.lookup.keys.contains(key)) => self.strayed += 1,
            Ok((bytes, _)) => {
                if !self.is_full() && self.seen.insert(*identity(&self.lookup.record_type, &bytes).as_bytes()) {
                    self.records.push(bytes);
                }
            }
        }
    }

    /// The records; or why there are none, if any row that was found is no record: leaving it out would be half an answer.
    pub(super) fn end(self, health: &Health) -> Result<Vec<Vec<u8>>, String> {
        if self.strayed > 0 {
            health.strayed(self.strayed);
        }
        if self.invalid == 0 {
            return Ok(self.records);
        }
        let wrong: Vec<String> = self.wrong.iter().take(8).map(|(field, code)| format!("{field} ({code})")).collect();
        let what = format!("{}: {}", self.mapped.record_type.name(), wrong.join(", "));
        health.invalid(self.invalid, &what);
        Err(format!(
            "{} of {} rows are no records of their type: {what}; mend the rows or the mapping",
            self.invalid, self.rows
        ))
    }
}
