//! Profiles: how the columns of somebody's published table become fields of a record type.
//!
//! A profile is a TOML file and says nothing that is not data: which columns a field comes from, how their text is
//! converted, what is constant, what is left out and why, and whose work the table is.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::Path;

use puente_catalogue::RecordType;
use puente_model::{Digest, Label, digest};
use serde::Deserialize;

use super::convert::Convert;
use crate::config::closest;

const PROFILE: Label = Label("puente/v1/import-profile");
/// A profile's file, in bytes.
pub const PROFILE_BYTES_MAX: u64 = 256 * 1024;

/// Profiles that the program has: name and text.
pub const BUILTIN: &[(&str, &str)] =
    &[("cbp-seizures", include_str!("profiles/cbp-seizures.toml")), ("sesnsp", include_str!("profiles/sesnsp.toml"))];

/// Whose table it is and what may be done with it. Goes into the COLLECT of every batch.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Provenance {
    /// Who publishes it.
    pub publisher: String,
    /// What it is called.
    pub title: String,
    /// Where it is published.
    pub url: String,
    /// Under which terms.
    pub licence: String,
    /// How to name its makers.
    pub attribution: String,
}

/// One or several columns.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
enum From {
    One(String),
    Several(Vec<String>),
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct FieldText {
    to: String,
    #[serde(default)]
    from: Option<From>,
    #[serde(default)]
    constant: Option<String>,
    #[serde(default)]
    convert: Option<Convert>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Text {
    profile: String,
    label_en: String,
    label_es: String,
    record_type: String,
    provenance: Provenance,
    /// Columns that do not come in, with the reason.
    #[serde(default)]
    ignore: BTreeMap<String, String>,
    field: Vec<FieldText>,
}

/// What a field's text is made of.
#[derive(Debug, Clone)]
enum Make {
    Constant(String),
    Columns(Vec<usize>, Convert),
}

/// A profile, checked against its record type.
#[derive(Debug, Clone)]
pub struct Profile {
    /// Its name.
    pub name: String,
    /// For people, English and Spanish.
    pub labels: [String; 2],
    /// Name of the record type.
    pub record_type: String,
    /// Whose table it is.
    pub provenance: Provenance,
    columns: Vec<String>,
    ignored: BTreeSet<String>,
    fields: Vec<(String, Make)>,
    digest: Digest,
}

/// A profile that cannot be used. Holds no value of a table.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{file}: {message}")]
pub struct ProfileError {
    /// The profile's name or file.
    pub file: String,
    /// What is wrong.
    pub message: String,
    /// What to do about it.
    pub mend: String,
}

/// A value that the profile's conversion does not take: the column, and what it takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Refused<'p> {
    pub(crate) column: &'p str,
    pub(crate) expects: &'static str,
}

impl fmt::Display for Provenance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, {} ({}); {}; {}", self.publisher, self.title, self.url, self.licence, self.attribution)
    }
}

impl Profile {
    /// A profile that the program has.
    ///
    /// # Errors
    /// There is none of this name.
    pub fn builtin(name: &str, type_of: impl FnOnce(&str) -> Option<RecordType>) -> Result<Self, ProfileError> {
        match BUILTIN.iter().find(|(known, _)| *known == name) {
            Some((name, text)) => Self::parse(name, text, type_of),
            None => {
                let known: Vec<&str> = BUILTIN.iter().map(|(name, _)| *name).collect();
                let near = closest(name, &known).map(|n| format!("did you mean {n}? ")).unwrap_or_default();
                Err(ProfileError {
                    file: "--profile".to_owned(),
                    message: format!("there is no profile '{}'", name.escape_debug()),
                    mend: format!("{near}The profiles are: {}; --profile-file reads one of your own", known.join(", ")),
                })
            }
        }
    }

    /// A profile of one's own.
    ///
    /// # Errors
    /// The file cannot be read, or is no profile.
    pub fn read(path: &Path, type_of: impl FnOnce(&str) -> Option<RecordType>) -> Result<Self, ProfileError> {
        let file = path.display().to_string();
        let flaw = |message: String, mend: &str| ProfileError { file: file.clone(), message, mend: mend.to_owned() };
        let meta = std::fs::metadata(path).map_err(|e| flaw(e.to_string(), "check the path of --profile-file"))?;
        if meta.len() > PROFILE_BYTES_MAX {
            return Err(flaw(format!("longer than {PROFILE_BYTES_MAX} bytes"), "is this a profile?"));
        }
        let text =
            std::fs::read_to_string(path).map_err(|e| flaw(e.to_string(), "a profile is a TOML file in UTF-8"))?;
        Self::parse(&file, &text, type_of)
    }

    /// Reads a profile from its text.
    ///
    /// # Errors
    /// It is no TOML, or says something that the record type does not have.
    pub fn parse(
        file: &str,
        text: &str,
        type_of: impl FnOnce(&str) -> Option<RecordType>,
    ) -> Result<Self, ProfileError> {
        let flaw = |message: String, mend: String| ProfileError { file: file.to_owned(), message, mend };
        let whole: Text = toml::from_str(text).map_err(|error| {
            let line = error.span().map(|s| text.get(..s.start).unwrap_or_default().lines().count().max(1));
            let at = line.map(|l| format!("line {l}: ")).unwrap_or_default();
            flaw(format!("{at}{}", error.message()), "docs/OPERATIONS.md shows every key of a profile".to_owned())
        })?;
        let Some(record_type) = type_of(&whole.record_type) else {
            let message = format!("the catalogue has no record type '{}'", whole.record_type.escape_debug());
            return Err(flaw(message, "name one that 'puente import --type ?' lists".to_owned()));
        };
        let mut profile = Self {
            name: whole.profile,
            labels: [whole.label_en, whole.label_es],
            record_type: whole.record_type,
            provenance: whole.provenance,
            columns: Vec::new(),
            ignored: whole.ignore.keys().cloned().collect(),
            fields: Vec::new(),
            digest: digest(PROFILE, &[text.as_bytes()]),
        };
        if let Some((column, _)) = whole.ignore.iter().find(|(_, reason)| reason.trim().len() < 3) {
            return Err(flaw(format!("the column '{column}' is ignored without a reason"), "say why".to_owned()));
        }
        for field in whole.field {
            let at = format!("field '{}'", field.to.escape_debug());
            if record_type.field(&field.to).is_none() {
                let known: Vec<&str> = record_type.fields().iter().map(|f| f.name.as_str()).collect();
                let near = closest(&field.to, &known).map(|n| format!("did you mean '{n}'? ")).unwrap_or_default();
                let message = format!("{at}: {} has no such field", profile.record_type);
                return Err(flaw(message, format!("{near}The fields are: {}", known.join(", "))));
            }
            if profile.fields.iter().any(|(known, _)| *known == field.to) {
                return Err(flaw(format!("{at} stands twice"), "keep one".to_owned()));
            }
            let make = match (field.from, field.constant, field.convert) {
                (None, Some(constant), None) => Make::Constant(constant),
                (Some(from), None, convert) => {
                    let names = match from {
                        From::One(name) => vec![name],
                        From::Several(names) => names,
                    };
                    let convert = convert.unwrap_or_default();
                    convert.check(names.len()).map_err(|(what, mend)| flaw(format!("{at}: {what}"), mend))?;
                    Make::Columns(names.iter().map(|name| profile.column(name)).collect(), convert)
                }
                _ => {
                    let mend = "a field has 'from' (and 'convert'), or 'constant'";
                    return Err(flaw(format!("{at}: it is not clear where its value comes from"), mend.to_owned()));
                }
            };
            profile.fields.push((field.to, make));
        }
        if let Some(column) = profile.columns.iter().find(|c| profile.ignored.contains(*c)) {
            return Err(flaw(format!("the column '{column}' is used and ignored"), "decide".to_owned()));
        }
        Ok(profile)
    }

    fn column(&mut self, name: &str) -> usize {
        self.columns.iter().position(|known| known == name).unwrap_or_else(|| {
            self.columns.push(name.to_owned());
            self.columns.len() - 1
        })
    }

    /// Stands for the whole text of the profile.
    pub const fn digest(&self) -> Digest {
        self.digest
    }

    /// Columns that fields come from.
    pub fn columns(&self) -> &[String] {
        &self.columns
    }

    /// Whether this column is left out on purpose.
    pub fn ignores(&self, column: &str) -> bool {
        self.ignored.contains(column)
    }

    /// The fields of one row; `cells` are the values of [`columns`](Self::columns), in that order.
    pub(crate) fn apply<'p>(&'p self, cells: &[&str], out: &mut Vec<(&'p str, String)>) -> Result<(), Refused<'p>> {
        for (name, make) in &self.fields {
            let text = match make {
                Make::Constant(text) => text.clone(),
                Make::Columns(columns, convert) => {
                    let parts: Vec<&str> = columns.iter().map(|c| cells.get(*c).copied().unwrap_or_default()).collect();
                    let first = columns.first().and_then(|c| self.columns.get(*c)).map_or("", String::as_str);
                    convert.apply(&parts).map_err(|expects| Refused { column: first, expects })?
                }
            };
            out.push((name, text));
        }
        Ok(())
    }
}
