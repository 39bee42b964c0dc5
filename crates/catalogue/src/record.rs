use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use puente_model::{FieldClass, Lang, Step};

use crate::codec::{DecodeError, Fields, REPEATED_VALUES_MAX};
use crate::keys::KeySpec;
use crate::labels::Labels;
use crate::mask::FieldMask;
use crate::parse::Override;
use crate::problem::Finding;
use crate::rules::{Hiding, Kept};
use crate::schema::{Field, Schema};
use crate::value::Text;

/// One record: canonical protobuf of its type's message. `Debug` shows no content.
#[derive(Clone, PartialEq, Eq)]
pub struct Record {
    type_name: Arc<str>,
    bytes: Vec<u8>,
}

impl Record {
    /// Checks that `bytes` are a canonical record of this type: known fields in
    /// ascending order, clean text, codes of their lists. Fields may be absent
    /// (a holder released only some).
    pub fn decode(record_type: &RecordType, bytes: &[u8]) -> Result<Self, DecodeError> {
        record_type.check(bytes)?;
        Ok(Self { type_name: record_type.name.clone(), bytes: bytes.to_vec() })
    }

    /// Name of the record type, for example `Vehicle`.
    pub fn type_name(&self) -> &str {
        &self.type_name
    }

    /// The canonical encoding.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The canonical encoding, without copying.
    pub fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }
}

impl fmt::Debug for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Record({}, {} bytes)", self.type_name, self.bytes.len())
    }
}

/// A row that was read, with what a person should know about it.
#[derive(Debug, Clone)]
pub struct ParsedRow {
    /// The record.
    pub record: Record,
    /// Doubts that do not reject.
    pub warnings: Vec<Finding>,
    /// Values that a check rejected and a person accepted with a reason. The
    /// importer records them with the record.
    pub overrides: Vec<Override>,
}

/// One leaf of an answer tree: a path and the value as canonical UTF-8 text.
#[derive(Clone, PartialEq, Eq)]
pub struct Leaf {
    /// `<type>/<field>`, or `<type>/<field>/<index>` (three digits) of a repeated field.
    pub path: String,
    /// The normal form: text as is, a code's text, a decimal number, `true` or `false`.
    pub value: Vec<u8>,
}

impl fmt::Debug for Leaf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Leaf({}, {} bytes)", self.path, self.value.len())
    }
}

/// One line of a record for people.
#[derive(Clone, PartialEq, Eq)]
pub struct DisplayRow {
    /// The field's name, stable across languages.
    pub name: String,
    /// The field's label.
    pub label: String,
    /// The value: codes by their label, numbers with their unit.
    pub value: String,
    /// The field's class.
    pub class: FieldClass,
}

impl fmt::Debug for DisplayRow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DisplayRow({}, {} bytes)", self.name, self.value.len())
    }
}

/// A name that is not a field of the record type.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{type_name} has no field '{found}'; did you mean '{closest}'?")]
pub struct UnknownField {
    /// The record type.
    pub type_name: String,
    /// The name as given.
    pub found: String,
    /// The closest field name.
    pub closest: String,
}

/// A kind of record, read from a message of the descriptors.
#[derive(Debug, Clone)]
pub struct RecordType {
    pub(crate) name: Arc<str>,
    pub(crate) labels: Labels,
    pub(crate) retention: Labels,
    pub(crate) niem: String,
    pub(crate) schema: Schema,
    pub(crate) keys: Vec<KeySpec>,
    pub(crate) step_masks: [FieldMask; 2],
    pub(crate) hiding: Hiding,
    /// A field after whose time the record is not found any more.
    pub(crate) expires: Option<usize>,
    /// That end is also until when a record is kept.
    pub(crate) erased_at_end: bool,
    pub(crate) kept: Option<Kept>,
}

impl RecordType {
    /// Name, for example `Vehicle`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Label for people.
    pub const fn labels(&self) -> &Labels {
        &self.labels
    }

    /// Default retention, as a rule for people; the value in force is policy.
    pub const fn retention(&self) -> &Labels {
        &self.retention
    }

    /// NIEM type; may be empty.
    pub fn niem(&self) -> &str {
        &self.niem
    }

    /// The fields, ascending by number.
    pub fn fields(&self) -> &[Field] {
        &self.schema.fields
    }

    /// The field with this exact name.
    pub fn field(&self, name: &str) -> Option<&Field> {
        self.schema.fields.iter().find(|f| f.name == name)
    }

    /// The field with this number.
    pub fn field_by_number(&self, number: u32) -> Option<&Field> {
        self.schema.index_of_number(number).and_then(|i| self.schema.fields.get(i))
    }

    /// The field that a column of a file means: its name, NCIC code or label.
    pub fn field_of_column(&self, column: &str) -> Option<&Field> {
        self.schema.index_of_column(column).and_then(|i| self.schema.fields.get(i))
    }

    /// The keys under which records of this type are found.
    pub fn match_keys(&self) -> &[KeySpec] {
        &self.keys
    }

    /// Every field.
    pub fn all_fields(&self) -> FieldMask {
        self.schema.fields.iter().fold(FieldMask::EMPTY, |m, f| m.with(f.number))
    }

    /// Fields released by default at a step: none at step 1 (usually) and at step 3.
    pub const fn default_mask(&self, step: Step) -> FieldMask {
        match step {
            Step::HitNoHit => self.step_masks[0],
            Step::CoreData => self.step_masks[1],
            Step::Evidence => FieldMask::EMPTY,
        }
    }

    /// The mask of these field names; a name that is not a field is refused.
    pub fn mask_of<S: AsRef<str>>(&self, names: impl IntoIterator<Item = S>) -> Result<FieldMask, UnknownField> {
        names.into_iter().try_fold(FieldMask::EMPTY, |mask, name| match self.field(name.as_ref()) {
            Some(field) => Ok(mask.with(field.number)),
            None => Err(UnknownField {
                type_name: self.name.to_string(),
                found: name.as_ref().chars().take(80).collect(),
                closest: self.schema.closest(name.as_ref()).to_owned(),
            }),
        })
    }

    /// The field names of a mask, ascending by number; numbers that are not fields are left out.
    pub fn names_of(&self, mask: FieldMask) -> Vec<&str> {
        self.schema.fields.iter().filter(|f| mask.contains(f.number)).map(|f| f.name.as_str()).collect()
    }

    /// The gravest class of the fields in a mask.
    pub fn class_of(&self, mask: FieldMask) -> FieldClass {
        let classes = self.schema.fields.iter().filter(|f| mask.contains(f.number)).map(Field::class);
        classes.max().unwrap_or(FieldClass::None)
    }

    /// Reads one row: column → text. Columns are field names, NCIC codes or
    /// labels; empty cells are absent; `<column>.override` gives the reason for
    /// which a failing check digit is accepted. Repeated fields separate their
    /// values with `|`.
    pub fn parse_row(&self, cells: &BTreeMap<String, String>) -> Result<ParsedRow, Vec<Finding>> {
        self.parse_cells(cells.iter().map(|(column, text)| (column.as_str(), text.as_str())))
    }

    /// The same for cells that stand elsewhere: nothing is copied but what goes into the record.
    pub fn parse_cells<'a>(
        &self,
        cells: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) -> Result<ParsedRow, Vec<Finding>> {
        let mut parsed = self.schema.parse(cells)?;
        parsed.warnings.extend(self.hiding.warn(&self.schema, &parsed.values));
        let bytes = self.schema.encode(&parsed.values);
        let record = Record { type_name: self.name.clone(), bytes };
        Ok(ParsedRow { record, warnings: parsed.warnings, overrides: parsed.overrides })
    }

    /// Drops every field that is not in `allowed`, on the wire encoding. Bytes
    /// that cannot be walked are an error, never passed on.
    pub fn mask(&self, bytes: &[u8], allowed: FieldMask) -> Result<Vec<u8>, DecodeError> {
        let mut out = Vec::with_capacity(bytes.len());
        for field in Fields::new(bytes)? {
            let field = field?;
            if allowed.contains(field.number) {
                out.extend_from_slice(field.whole);
            }
        }
        Ok(out)
    }

    /// The numbers of the fields that are present.
    pub fn present(&self, bytes: &[u8]) -> Result<FieldMask, DecodeError> {
        Fields::new(bytes)?.try_fold(FieldMask::EMPTY, |mask, field| Ok(mask.with(field?.number)))
    }

    /// The leaves of an answer tree: paths unique and strictly increasing bytewise.
    pub fn leaves(&self, bytes: &[u8]) -> Result<Vec<Leaf>, DecodeError> {
        let values = self.values(bytes)?;
        let mut leaves = Vec::with_capacity(values.iter().map(Vec::len).sum());
        for i in &self.schema.by_path {
            let (Some(field), Some(values)) = (self.schema.fields.get(*i), values.get(*i)) else { continue };
            for (n, value) in values.iter().enumerate() {
                let path = if field.repeated { format!("{}/{n:03}", field.path) } else { field.path.clone() };
                leaves.push(Leaf { path, value: value.as_ref().as_bytes().to_vec() });
            }
        }
        Ok(leaves)
    }

    /// The record as lines for people, ascending by field number.
    pub fn rows(&self, bytes: &[u8], lang: Lang) -> Result<Vec<DisplayRow>, DecodeError> {
        let values = self.values(bytes)?;
        let mut rows = Vec::new();
        for (field, values) in self.schema.fields.iter().zip(&values) {
            for value in values {
                rows.push(DisplayRow {
                    name: field.name.clone(),
                    label: field.labels.get(lang).to_owned(),
                    value: field.display(value.as_ref(), lang),
                    class: field.class(),
                });
            }
        }
        Ok(rows)
    }

    fn check(&self, bytes: &[u8]) -> Result<(), DecodeError> {
        self.values(bytes).map(|_| ())
    }

    /// Normal values by field index, every one checked.
    pub(crate) fn values<'a>(&self, bytes: &'a [u8]) -> Result<Vec<Vec<Text<'a>>>, DecodeError> {
        let mut values: Vec<Vec<Text<'a>>> = vec![Vec::new(); self.schema.fields.len()];
        for wire in Fields::new(bytes)? {
            let wire = wire?;
            let i = self.schema.index_of_number(wire.number).ok_or(DecodeError::UnknownField(wire.number))?;
            let (Some(field), Some(slot)) = (self.schema.fields.get(i), values.get_mut(i)) else {
                return Err(DecodeError::UnknownField(wire.number));
            };
            let room = if field.repeated { REPEATED_VALUES_MAX } else { 1 };
            if slot.len() >= room {
                return Err(DecodeError::NotCanonical(wire.number));
            }
            slot.push(field.decode(wire)?);
        }
        Ok(values)
    }
}
