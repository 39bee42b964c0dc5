//! What record types and query kinds share: a flat list of fields, and how a
//! row of text becomes values.

use std::collections::HashMap;
use std::sync::Arc;

use puente_model::FieldClass;

use crate::codec::FIELD_NUMBER_MAX;
use crate::codes::CodeList;
use crate::labels::Labels;
use crate::validate::Validator;

/// What a field is, for policy and for auditors.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Marks {
    /// Points at a person or a thing that is someone's.
    pub identifying: bool,
    /// Could harm someone if it leaked.
    pub sensitive: bool,
    /// Could reveal where the information came from.
    pub source_revealing: bool,
}

impl Marks {
    /// The class of a field with these marks: the gravest.
    pub const fn class(self) -> FieldClass {
        match self {
            Self { source_revealing: true, .. } => FieldClass::SourceRevealing,
            Self { sensitive: true, .. } => FieldClass::Sensitive,
            Self { identifying: true, .. } => FieldClass::Identifying,
            _ => FieldClass::Plain,
        }
    }
}

/// How a field stands on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FieldKind {
    /// UTF-8 text.
    Text,
    /// Yes or no.
    Bool,
    /// A whole number, not negative.
    Unsigned,
    /// A whole number.
    Signed,
    /// A code of an enum.
    Code,
}

/// "This field holds this value", or a number below it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Condition {
    /// Index of the field.
    pub(crate) field: usize,
    pub(crate) value: String,
    /// The value is a bound: numbers below it hold.
    pub(crate) below: Option<i64>,
}

/// One field of a record type, or one parameter of a query kind.
#[derive(Debug, Clone)]
pub struct Field {
    /// Number on the wire and in masks, 1 to 127.
    pub number: u32,
    /// Name, for example `vin`: the column name in files.
    pub name: String,
    /// Path in an answer tree, for example `vehicle/vin`.
    pub path: String,
    /// Label for people.
    pub labels: Labels,
    /// What the field is, beyond its label; may be empty.
    pub notes: Labels,
    /// What it is, for policy.
    pub marks: Marks,
    /// How it stands on the wire.
    pub kind: FieldKind,
    /// The check of a text field, with its normal form.
    pub validator: Validator,
    /// Must be present.
    pub required: bool,
    /// May hold several values (in one cell, separated by '|').
    pub repeated: bool,
    /// The codes it takes its values from.
    pub codes: Option<Arc<CodeList>>,
    /// Values outside `codes` are kept, with a warning.
    pub codes_open: bool,
    /// Bounds of a number, both included.
    pub bounds: Option<(i64, i64)>,
    /// UCUM unit of a number; may be empty.
    pub unit: String,
    /// NIEM property; may be empty.
    pub niem: String,
    /// NCIC message field code; may be empty. Accepted as a column name.
    pub ncic: String,
    /// Of a parameter: name of the record type's field that it means.
    pub of: Option<String>,
    pub(crate) presence: bool,
    pub(crate) required_with: Option<usize>,
    pub(crate) required_when: Vec<Condition>,
    pub(crate) empty_when: Vec<Condition>,
    pub(crate) state_field: Option<usize>,
    pub(crate) state_default: Option<String>,
}

impl Field {
    /// The class of this field, from its marks.
    pub const fn class(&self) -> FieldClass {
        self.marks.class()
    }

    pub(crate) const fn allows_lines(&self) -> bool {
        matches!(self.validator, Validator::Narrative)
    }
}

/// The fields of one message.
#[derive(Debug, Clone)]
pub(crate) struct Schema {
    /// Snake-case name: the root of paths.
    pub(crate) root: String,
    /// Ascending by number.
    pub(crate) fields: Vec<Field>,
    /// Index + 1 of the field with a number; 0 for none.
    by_number: [u8; FIELD_NUMBER_MAX as usize + 1],
    /// Index of the field for each accepted column name, lower case.
    columns: HashMap<String, usize>,
    /// Rank of each field by path, bytewise.
    pub(crate) by_path: Vec<usize>,
}

impl Schema {
    pub(crate) fn new(root: String, fields: Vec<Field>) -> Self {
        let mut by_number = [0; FIELD_NUMBER_MAX as usize + 1];
        let mut columns = HashMap::new();
        for (i, field) in fields.iter().enumerate() {
            // At most 127 fields, so index + 1 fits.
            if let (Some(slot), Ok(entry)) = (by_number.get_mut(field.number as usize), u8::try_from(i + 1)) {
                *slot = entry;
            }
            columns.insert(field.name.to_lowercase(), i);
        }
        // Other spellings never take a name from a field.
        for (i, field) in fields.iter().enumerate() {
            for other in [&field.ncic, &field.labels.en, &field.labels.es] {
                if !other.is_empty() {
                    columns.entry(other.to_lowercase()).or_insert(i);
                }
            }
        }
        let mut by_path: Vec<usize> = (0..fields.len()).collect();
        by_path.sort_by(|a, b| fields[*a].path.cmp(&fields[*b].path));
        Self { root, fields, by_number, columns, by_path }
    }

    pub(crate) fn index_of_number(&self, number: u32) -> Option<usize> {
        self.by_number.get(number as usize).and_then(|i| usize::from(*i).checked_sub(1))
    }

    pub(crate) fn index_of_name(&self, name: &str) -> Option<usize> {
        self.fields.iter().position(|f| f.name == name)
    }

    /// The field that a column of a file means: its name, its NCIC code, or its label in either language.
    pub(crate) fn index_of_column(&self, column: &str) -> Option<usize> {
        self.columns.get(column.trim()).or_else(|| self.columns.get(&column.trim().to_lowercase())).copied()
    }

    /// The field name closest to a mistyped column.
    pub(crate) fn closest(&self, column: &str) -> &str {
        let column: String = column.trim().to_lowercase().chars().take(40).collect();
        let best = self.columns.iter().min_by_key(|(name, i)| (edit_distance(name, &column), **i));
        best.and_then(|(_, i)| self.fields.get(*i)).map_or("", |f| f.name.as_str())
    }
}

/// Insertions, deletions and replacements between two short texts.
pub fn edit_distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, ca) in a.chars().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, cb) in b.iter().enumerate() {
            let cost = diagonal + usize::from(ca != *cb);
            diagonal = row[j + 1];
            row[j + 1] = cost.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn edit_distance_counts_edits() {
        assert_eq!(edit_distance("vin", "vin"), 0);
        assert_eq!(edit_distance("vim", "vin"), 1);
        assert_eq!(edit_distance("", "vin"), 3);
        assert_eq!(edit_distance("plate", "palte"), 2);
    }

    #[test]
    fn the_gravest_mark_gives_the_class() {
        let marks = Marks { identifying: true, sensitive: true, source_revealing: false };
        assert_eq!(marks.class(), FieldClass::Sensitive);
        assert_eq!(Marks::default().class(), FieldClass::Plain);
    }
}
