//! The mapping file as it is written, and its way to a [`Mapping`]: every error with file, line and mend.

use std::collections::BTreeMap;
use std::path::Path;

use puente_catalogue::{Catalogue, RecordType};
use serde::Deserialize;
use toml::Spanned;

use super::convert::{Convert, DateForm, Step};
use super::{At, From, KeyBy, KeyColumn, Mapped, MappedField, MappedKey, Mapping, Placed, expression};
use crate::config::{ConfigError, closest};
use crate::records::settings::is_sql_name;

/// The longest mapping file, in bytes.
pub const MAPPING_BYTES_MAX: u64 = 256 * 1024;
/// Entries of one field's code table.
pub const FIELD_CODES_MAX: usize = 10_000;

type Text = Spanned<String>;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TypeText {
    schema: Option<Text>,
    table: Text,
    order: Option<Text>,
    #[serde(default)]
    fields: BTreeMap<Text, FieldText>,
    #[serde(default)]
    keys: BTreeMap<Text, KeyText>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FieldText {
    column: Option<Text>,
    constant: Option<Text>,
    #[serde(default)]
    convert: Vec<Step>,
    #[serde(default)]
    remove: String,
    date: Option<Text>,
    codes: Option<BTreeMap<String, String>>,
    #[serde(rename = "override")]
    accept: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct KeyText {
    columns: Option<Vec<Text>>,
    expression: Option<Text>,
    #[serde(default)]
    unserved: bool,
}

/// Reads the mapping at `path` for the record types of `catalogue`.
///
/// # Errors
/// Where it is wrong, and how to mend it.
pub(in crate::records) fn load(path: &Path, catalogue: &Catalogue) -> Result<Mapping, ConfigError> {
    let file = path.display().to_string();
    let fail = |message: String| ConfigError {
        file: file.clone(),
        at: None,
        message,
        mend: "name the file with 'mapping' under [records]; samples/mapping.toml shows one".to_owned(),
    };
    let meta = std::fs::metadata(path).map_err(|error| fail(error.to_string()))?;
    if meta.len() > MAPPING_BYTES_MAX {
        return Err(fail(format!("larger than {MAPPING_BYTES_MAX} bytes")));
    }
    let text = std::fs::read_to_string(path).map_err(|error| fail(error.to_string()))?;
    parse(&file, &text, catalogue)
}

/// Reads a mapping's text; `file` names it in errors.
pub(super) fn parse(file: &str, text: &str, catalogue: &Catalogue) -> Result<Mapping, ConfigError> {
    let reader = Reader { file: file.into(), text };
    let types: BTreeMap<Text, TypeText> = toml::from_str(text).map_err(|error| ConfigError {
        file: file.to_owned(),
        at: error.span().map(|span| reader.place(span.start)),
        message: error.message().trim().replace('\n', " "),
        mend: "samples/mapping.toml shows every key".to_owned(),
    })?;
    let mut out = BTreeMap::new();
    for (name, mapped) in types {
        let known: Vec<&str> = catalogue.record_types().iter().map(RecordType::name).collect();
        let Some(record_type) = catalogue.record_type(name.get_ref()) else {
            return Err(reader.unknown(&name, "record type", &known));
        };
        out.insert(record_type.name().to_owned(), reader.mapped(&name, mapped, record_type)?);
    }
    if out.is_empty() {
        let mend = "map a record type: [Vehicle] with table, fields and keys".to_owned();
        return Err(ConfigError { file: file.to_owned(), at: None, message: "nothing is mapped".to_owned(), mend });
    }
    Ok(Mapping { types: out })
}

struct Reader<'t> {
    file: std::sync::Arc<str>,
    text: &'t str,
}

impl Reader<'_> {
    /// Line and column, from 1.
    fn place(&self, offset: usize) -> (usize, usize) {
        let before = self.text.get(..offset).unwrap_or(self.text);
        (before.matches('\n').count() + 1, before.rsplit('\n').next().map_or(0, |l| l.chars().count()) + 1)
    }

    fn at(&self, text: &Text) -> At {
        At { file: self.file.clone(), line: self.place(text.span().start).0 }
    }

    fn placed(&self, text: &Text) -> Placed {
        Placed { text: text.get_ref().clone(), at: self.at(text) }
    }

    fn wrong(&self, at: &Text, message: impl Into<String>, mend: impl Into<String>) -> ConfigError {
        let place = self.place(at.span().start);
        ConfigError { file: self.file.to_string(), at: Some(place), message: message.into(), mend: mend.into() }
    }

    fn unknown(&self, name: &Text, what: &str, known: &[&str]) -> ConfigError {
        let mend = match closest(name.get_ref(), known) {
            Some(near) => format!("did you mean '{near}'?"),
            None => format!("use one of {}", known.join(", ")),
        };
        let shown: String = name.get_ref().escape_debug().take(80).collect();
        self.wrong(name, format!("there is no {what} '{shown}'"), mend)
    }

    /// The name of a schema, table or column.
    fn sql_name(&self, name: &Text) -> Result<Placed, ConfigError> {
        if is_sql_name(name.get_ref()) {
            return Ok(self.placed(name));
        }
        let mend = "write the bare name, without quotes or schema";
        Err(self.wrong(name, "a name in the database has 1 to 63 bytes and no control characters", mend))
    }

    fn mapped(&self, name: &Text, text: TypeText, record_type: &RecordType) -> Result<Mapped, ConfigError> {
        let mut columns: Vec<Placed> = Vec::new();
        let mut fields = Vec::new();
        let known: Vec<&str> = record_type.fields().iter().map(|f| f.name.as_str()).collect();
        for (field, text) in &text.fields {
            if record_type.field(field.get_ref()).is_none() {
                return Err(self.unknown(field, &format!("field of {}", record_type.name()), &known));
            }
            fields.push(self.field(field, text, &mut columns)?);
        }
        for field in record_type.fields().iter().filter(|field| field.required) {
            if !fields.iter().any(|mapped: &MappedField| mapped.name == field.name) {
                let message = format!("{} must have '{}', and nothing is mapped to it", record_type.name(), field.name);
                return Err(self.wrong(
                    name,
                    message,
                    format!("add {0} = {{ column = \"…\" }} under fields", field.name),
                ));
            }
        }
        let mut keys = BTreeMap::new();
        let known: Vec<&str> = record_type.match_keys().iter().map(|key| key.name()).collect();
        for (key, by) in &text.keys {
            let Some(spec) = record_type.match_keys().iter().find(|spec| spec.name() == key.get_ref()) else {
                return Err(self.unknown(key, &format!("match key of {}", record_type.name()), &known));
            };
            let by = self.key(key, by, spec.fields(), record_type, &text.fields)?;
            keys.insert(key.get_ref().clone(), MappedKey { at: self.at(key), by });
        }
        // A key that nobody thought of would be answered with a no-hit that is not one.
        if let Some(missing) = known.iter().find(|key| !keys.contains_key(**key)) {
            let message = format!("nothing says how records are found by '{missing}'");
            let mend =
                format!("add \"{missing}\" = {{ columns = […] }}, {{ expression = \"…\" }} or {{ unserved = true }}");
            return Err(self.wrong(name, message, mend));
        }
        Ok(Mapped {
            record_type: record_type.clone(),
            schema: text.schema.as_ref().map(|name| self.sql_name(name)).transpose()?,
            table: self.sql_name(&text.table)?,
            order: text.order.as_ref().map(|name| self.sql_name(name)).transpose()?,
            columns,
            fields,
            keys,
        })
    }

    fn field(&self, name: &Text, text: &FieldText, columns: &mut Vec<Placed>) -> Result<MappedField, ConfigError> {
        let date = match &text.date {
            None => None,
            Some(form) => Some(DateForm::parse(form.get_ref()).ok_or_else(|| {
                self.wrong(form, "a date form has YYYY, MM and DD once each", "write date = \"DD/MM/YYYY\"")
            })?),
        };
        if text.codes.as_ref().is_some_and(|codes| codes.len() > FIELD_CODES_MAX) {
            return Err(self.wrong(
                name,
                format!("more than {FIELD_CODES_MAX} codes"),
                "make a view that joins the table",
            ));
        }
        let convert =
            Convert { steps: text.convert.clone(), remove: text.remove.clone(), date, codes: text.codes.clone() };
        let from = match (&text.column, &text.constant) {
            (Some(column), None) => {
                let column = self.sql_name(column)?;
                let at = columns.iter().position(|known| known.text == column.text).unwrap_or_else(|| {
                    columns.push(column);
                    columns.len() - 1
                });
                From::Column(at, convert)
            }
            (None, Some(constant)) => From::Constant(constant.get_ref().clone()),
            _ => return Err(self.wrong(name, "a field has either 'column' or 'constant'", "keep one of them")),
        };
        Ok(MappedField { name: name.get_ref().clone(), from, accept: text.accept.clone() })
    }

    fn key(
        &self,
        name: &Text,
        text: &KeyText,
        parts: &[String],
        record_type: &RecordType,
        fields: &BTreeMap<Text, FieldText>,
    ) -> Result<KeyBy, ConfigError> {
        match (&text.columns, &text.expression, text.unserved) {
            (None, None, true) => Ok(KeyBy::Unserved),
            (None, Some(sql), false) => {
                let mend = "write one expression over the table's columns, as the index has it";
                expression::check(sql.get_ref()).map_err(|what| self.wrong(sql, what, mend))?;
                Ok(KeyBy::Expression(self.placed(sql)))
            }
            (Some(columns), None, false) => {
                if columns.len() != parts.len() {
                    let message = format!("this key has {} parts: {}", parts.len(), parts.join(", "));
                    return Err(self.wrong(name, message, "name one column for each, in this order"));
                }
                let columns = columns.iter().zip(parts).map(|(column, part)| {
                    let column = self.sql_name(column)?;
                    let field = fields.iter().find(|(field, _)| field.get_ref() == part).map(|(_, text)| text);
                    let own = field.filter(|f| f.column.as_ref().is_some_and(|c| *c.get_ref() == column.text));
                    let raw = own.and_then(|f| f.codes.as_ref()).map(|codes| raw_of(codes, record_type, part));
                    Ok(KeyColumn { column, raw })
                });
                Ok(KeyBy::Columns(columns.collect::<Result<_, ConfigError>>()?))
            }
            _ => Err(self.wrong(
                name,
                "a key has one of 'columns', 'expression' and 'unserved = true'",
                "keep one of them",
            )),
        }
    }
}

/// A code table the other way round: the catalogue's text of each code → what stands in the column.
fn raw_of(codes: &BTreeMap<String, String>, record_type: &RecordType, field: &str) -> BTreeMap<String, Vec<String>> {
    let list = record_type.field(field).and_then(|field| field.codes.clone());
    let mut out: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (raw, meaning) in codes {
        let normal = list.as_ref().and_then(|list| list.find(meaning)).map_or(meaning, |code| &code.text);
        out.entry(normal.clone()).or_default().push(raw.clone());
    }
    out
}
