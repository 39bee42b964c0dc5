//! A mapping: where an agency's own tables hold what a record type's fields mean, and by which column each match key is
//! found. Read once at the start; every name is checked here, quoted where it goes into a statement, and every value bound.

mod check;
mod convert;
mod expression;
mod file;
mod postgres;
mod row;
mod sqlite;

use std::collections::BTreeMap;
use std::fmt;

use puente_catalogue::RecordType;

pub(super) use check::errors;
pub use check::{Finding, Severity};
pub(super) use file::load;
pub use file::{FIELD_CODES_MAX, MAPPING_BYTES_MAX};
pub(super) use postgres::MappedTables;
pub(super) use sqlite::{MappedFile, check_file};

use convert::Convert;
use row::Reading;

/// Separates the parts of a match key's value.
const SEPARATOR: char = '\u{1f}';

/// A place in the mapping file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct At {
    file: std::sync::Arc<str>,
    line: usize,
}

impl fmt::Display for At {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file, self.line)
    }
}

/// A name or expression as the file has it, and where.
#[derive(Debug, Clone)]
struct Placed {
    text: String,
    at: At,
}

/// Every record type that is mapped.
#[derive(Debug, Clone)]
pub(super) struct Mapping {
    types: BTreeMap<String, Mapped>,
}

/// One record type and its table.
#[derive(Debug, Clone)]
struct Mapped {
    record_type: RecordType,
    schema: Option<Placed>,
    table: Placed,
    order: Option<Placed>,
    /// The columns that are read, once each.
    columns: Vec<Placed>,
    fields: Vec<MappedField>,
    keys: BTreeMap<String, MappedKey>,
}

/// Where one field's text comes from.
#[derive(Debug, Clone)]
struct MappedField {
    name: String,
    from: From,
    /// Why a failing check digit is accepted.
    accept: Option<String>,
}

#[derive(Debug, Clone)]
enum From {
    Constant(String),
    /// Index into the columns that are read.
    Column(usize, Convert),
}

/// How a match key is found.
#[derive(Debug, Clone)]
struct MappedKey {
    at: At,
    by: KeyBy,
}

#[derive(Debug, Clone)]
enum KeyBy {
    /// Each part of the key's value equals a column.
    Columns(Vec<KeyColumn>),
    /// The whole value equals this.
    Expression(Placed),
    /// Never: who asks by this key alone is told that it failed.
    Unserved,
}

#[derive(Debug, Clone)]
struct KeyColumn {
    column: Placed,
    /// What the column holds for each value of a key's part, where a code table says so.
    raw: Option<BTreeMap<String, Vec<String>>>,
}

impl KeyColumn {
    /// What the column may hold for this part of a key.
    fn candidates(&self, part: &str) -> Vec<String> {
        match &self.raw {
            Some(raw) => raw.get(part).cloned().unwrap_or_default(),
            None => vec![part.to_owned()],
        }
    }
}

impl MappedKey {
    /// The lists of values to bind for one value of the key: one list per column, or one for the expression. None if no row
    /// can have it.
    fn binds(&self, value: &str) -> Option<Vec<Vec<String>>> {
        if value.contains('\0') {
            return None;
        }
        match &self.by {
            KeyBy::Unserved => None,
            KeyBy::Expression(_) => Some(vec![vec![value.to_owned()]]),
            KeyBy::Columns(columns) => {
                let parts: Vec<&str> = value.split(SEPARATOR).collect();
                if parts.len() != columns.len() {
                    return None;
                }
                let binds: Vec<_> = columns.iter().zip(parts).map(|(column, part)| column.candidates(part)).collect();
                binds.iter().all(|list| !list.is_empty()).then_some(binds)
            }
        }
    }

    const fn is_served(&self) -> bool {
        !matches!(self.by, KeyBy::Unserved)
    }
}
