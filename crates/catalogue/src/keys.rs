//! Match keys: the normal texts under which a record is found. Blind matching
//! is exact and agencies' data are not, so a record has several.

use std::fmt;
use std::sync::Arc;

use crate::codec::DecodeError;
use crate::names::{first_name_key, name_key};
use crate::near;
use crate::record::{Record, RecordType};
use crate::schema::Condition;
use crate::validate::{fold, swap_day_and_month};

/// Parts of a key are joined with this (the ASCII unit separator), which no value holds.
const SEPARATOR: char = '\u{1f}';
/// Stands for one unreadable character of a value that is matched on.
const UNREADABLE: char = '?';

/// How the values of a key's fields become the text that is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum KeyForm {
    /// As normalised.
    Exact,
    /// Letters and digits only.
    Alnum,
    /// As `Alnum`, with look-alike characters folded on the first field.
    OcrFolded,
    /// A record's value with each position made unreadable, for questions with one unreadable character.
    Gap,
    /// A record's value with one unreadable character, for questions that know it.
    Partial,
    /// Names without accents and particles.
    Name,
    /// As `Name`, only the telling first name of the first field.
    NameFirst,
    /// As `Name`, with day and month of a record's last field swapped.
    DayMonth,
    /// The joined values, at most one edit apart.
    Near,
}

impl KeyForm {
    /// Stable name, for programs.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Exact => "exact",
            Self::Alnum => "alnum",
            Self::OcrFolded => "ocr-folded",
            Self::Gap => "gap",
            Self::Partial => "partial",
            Self::Name => "name",
            Self::NameFirst => "name-first",
            Self::DayMonth => "day-month",
            Self::Near => "near",
        }
    }
}

/// The definition of a match key.
#[derive(Debug, Clone)]
pub struct KeySpec {
    pub(crate) name: Arc<str>,
    pub(crate) fields: Vec<usize>,
    pub(crate) field_names: Vec<String>,
    pub(crate) form: KeyForm,
    pub(crate) only_when: Vec<Condition>,
    /// A date-time field whose day is joined last.
    pub(crate) day_of: Option<usize>,
    pub(crate) decisive: bool,
}

impl KeySpec {
    /// Name, unique in the catalogue, for example `vehicle.vin`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The fields that are joined.
    pub fn fields(&self) -> &[String] {
        &self.field_names
    }

    /// Whether two records that share it are two statements about one thing.
    pub const fn decisive(&self) -> bool {
        self.decisive
    }

    /// How values become text.
    pub const fn form(&self) -> KeyForm {
        self.form
    }
}

/// One key of a record, or one that a question looks up. The value is as
/// identifying as the fields it comes from: `Debug` does not show it.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MatchKey {
    /// Name of the key's definition.
    pub name: Arc<str>,
    /// Normal text.
    pub value: String,
}

impl fmt::Debug for MatchKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MatchKey({}, {} bytes)", self.name, self.value.len())
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    Record,
    Question,
}

/// Characters that cameras and eyes confuse, folded together.
pub(crate) fn ocr_fold(text: &str) -> String {
    let digit = |c| match c {
        'O' | 'Q' => '0',
        'I' => '1',
        'B' => '8',
        'S' => '5',
        'Z' => '2',
        c => c,
    };
    fold(text).chars().map(digit).collect()
}

/// `value` with each single position made unreadable.
fn gaps(value: &str) -> Vec<String> {
    (0..value.chars().count())
        .map(|gap| value.chars().enumerate().map(|(i, c)| if i == gap { UNREADABLE } else { c }).collect())
        .collect()
}

/// As [`fold`], keeping unreadable characters.
fn fold_keeping_gaps(value: &str) -> String {
    value.split(UNREADABLE).map(fold).collect::<Vec<_>>().join("?")
}

impl KeySpec {
    /// The keys of one combination of values (as many as fields), and of each of these days if the key has a day.
    pub(crate) fn make(&self, side: Side, values: &[&str], days: &[&str], out: &mut Vec<MatchKey>) {
        for value in self.texts(side, values) {
            if self.day_of.is_none() {
                out.push(MatchKey { name: self.name.clone(), value });
                continue;
            }
            for day in days {
                let value = format!("{value}{SEPARATOR}{day}");
                out.push(MatchKey { name: self.name.clone(), value });
            }
        }
    }

    fn texts(&self, side: Side, values: &[&str]) -> Vec<String> {
        let Some((first, rest)) = values.split_first() else { return Vec::new() };
        if values.iter().any(|v| v.is_empty()) || rest.iter().any(|v| v.contains(UNREADABLE)) {
            return Vec::new();
        }
        let unreadable = first.matches(UNREADABLE).count();
        let firsts = match (self.form, side, unreadable) {
            (KeyForm::Exact, _, 0) => vec![(*first).to_owned()],
            (KeyForm::Alnum, _, 0) => vec![fold(first)],
            (KeyForm::OcrFolded, _, 0) => vec![ocr_fold(first)],
            // Readable values offer every gap; a value with one gap looks itself up, and the reverse.
            (KeyForm::Gap, Side::Record, 0) | (KeyForm::Partial, Side::Question, 0) => gaps(&fold(first)),
            (KeyForm::Gap, Side::Question, 1) | (KeyForm::Partial, _, 1) => vec![fold_keeping_gaps(first)],
            (KeyForm::Name | KeyForm::DayMonth, _, 0) => return self.names(side, name_key(first), rest),
            (KeyForm::NameFirst, _, 0) => return self.names(side, first_name_key(first), rest),
            (KeyForm::Near, side, 0) => {
                let whole = join(fold(first), rest.iter().map(|part| fold(part)));
                return if side == Side::Record { near::published(&whole) } else { near::sought(&whole) };
            }
            _ => return Vec::new(),
        };
        let exact = self.form == KeyForm::Exact;
        let part = |part: &&str| if exact { (*part).to_owned() } else { fold(part) };
        firsts.into_iter().map(|first| join(first, rest.iter().map(part))).collect()
    }

    /// A name's key; none where a name has no letter or digit, or its date nothing to swap.
    fn names(&self, side: Side, first: String, rest: &[&str]) -> Vec<String> {
        let swapped = self.form == KeyForm::DayMonth && side == Side::Record;
        let mut parts: Vec<String> = rest.iter().map(|part| name_key(part)).collect();
        if swapped {
            let Some(date) = rest.last().and_then(|date| swap_day_and_month(date)) else { return Vec::new() };
            parts.pop();
            parts.push(name_key(&date));
        }
        if first.is_empty() || parts.iter().any(String::is_empty) {
            return Vec::new();
        }
        vec![join(first, parts.into_iter())]
    }
}

fn join(first: String, rest: impl Iterator<Item = String>) -> String {
    rest.fold(first, |mut joined, part| {
        joined.push(SEPARATOR);
        joined.push_str(&part);
        joined
    })
}

impl RecordType {
    /// The keys under which a record is found, sorted, each once; none while a
    /// rule of its type hides it. A record of another type, or bytes that are
    /// not one, is an error.
    pub fn match_keys_of(&self, record: &Record) -> Result<Vec<MatchKey>, DecodeError> {
        let values = self.values(record.bytes())?;
        let mut out = Vec::new();
        if self.hiding.applies(&values).is_some() {
            return Ok(out);
        }
        for key in &self.keys {
            if !key.only_when.is_empty() && !key.only_when.iter().any(|c| c.holds(&values)) {
                continue;
            }
            // Every combination of the fields' values; a code also stands for those comparable to it.
            let mut combinations: Vec<Vec<&str>> = vec![Vec::new()];
            for i in &key.fields {
                let own = values.get(*i).map(Vec::as_slice).unwrap_or_default();
                let codes = self.schema.fields.get(*i).and_then(|f| f.codes.as_ref());
                let mut parts: Vec<&str> = own.iter().map(AsRef::as_ref).collect();
                for value in own {
                    let comparable = codes.and_then(|list| list.by_text(value.as_ref())).map(|c| &c.comparable);
                    parts.extend(comparable.into_iter().flatten().map(String::as_str));
                }
                combinations = combinations
                    .iter()
                    .flat_map(|head| parts.iter().map(|part| head.iter().chain([part]).copied().collect()))
                    .take(KEYS_PER_DEFINITION_MAX)
                    .collect();
            }
            let of_days = key.day_of.and_then(|i| values.get(i)).map(Vec::as_slice).unwrap_or_default();
            let days: Vec<&str> = of_days.iter().filter_map(|v| v.as_ref().get(..10)).collect();
            for combination in combinations {
                key.make(Side::Record, &combination, &days, &mut out);
            }
        }
        out.sort_unstable();
        out.dedup();
        Ok(out)
    }
}

/// Combinations of values that one key definition may give per record.
pub const KEYS_PER_DEFINITION_MAX: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn look_alikes_fold_together() {
        assert_eq!(ocr_fold("ABO-I23"), "A80123");
        assert_eq!(ocr_fold("SZ5"), ocr_fold("525"));
    }

    #[test]
    fn a_gap_meets_a_known_value_from_both_sides_but_two_known_values_never_meet() {
        let key = |form| KeySpec {
            name: "k".into(),
            fields: vec![0],
            field_names: vec!["serial".into()],
            form,
            only_when: vec![],
            day_of: None,
            decisive: false,
        };
        let make = |form, side, value: &str| {
            let mut out = Vec::new();
            key(form).make(side, &[value], &[], &mut out);
            out
        };
        let meet = |form, record: &str, question: &str| {
            let published = make(form, Side::Record, record);
            make(form, Side::Question, question).iter().any(|k| published.contains(k))
        };
        assert!(meet(KeyForm::Gap, "AB123", "AB?23"));
        assert!(meet(KeyForm::Partial, "AB?23", "AB123"));
        assert!(meet(KeyForm::Partial, "AB?23", "AB?23"));
        for form in [KeyForm::Exact, KeyForm::Alnum, KeyForm::Gap, KeyForm::Partial] {
            assert!(!meet(form, "AB123", "AB124"), "{form:?}");
            assert!(!meet(form, "A??23", "AB123"), "{form:?}");
        }
    }
}
