//! Record types and query kinds, read from the protobuf descriptors.
//!
//! Nothing here knows a firearm from a vehicle. A [`Catalogue`] is compiled in
//! memory from `.proto` files whose options (`catalogue_options.proto`) say
//! what each field is; import, checks, normal forms, match keys, masks, answer
//! leaves and display follow from them. Adding a record type is adding a file.
//!
//! ```
//! use puente_catalogue::Catalogue;
//! use std::collections::BTreeMap;
//!
//! let catalogue = Catalogue::builtin()?;
//! let vehicle = catalogue.record_type("Vehicle").ok_or("no such type")?;
//! let row = [("VIN", "1m8gdm9axkp042788"), ("status", "robado"), ("entering_agency", "mx/fge-bc")];
//! let row: BTreeMap<String, String> = row.map(|(k, v)| (k.into(), v.into())).into();
//! let parsed = vehicle.parse_row(&row).map_err(|e| e[0].to_string())?;
//! let keys = vehicle.match_keys_of(&parsed.record)?;
//! assert_eq!(keys[0].value, "1M8GDM9AXKP042788");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod build;
mod build_query;
mod builtin;
mod codec;
mod codes;
mod compile;
mod json_schema;
mod keys;
mod labels;
mod mask;
mod names;
mod near;
mod options;
mod parse;
mod problem;
mod query;
mod record;
mod rules;
mod sample;
mod schema;
mod validate;
mod value;

pub use codec::{DecodeError, FIELD_NUMBER_MAX, RECORD_BYTES_MAX, REPEATED_VALUES_MAX};
pub use codes::{Code, CodeList};
pub use compile::{Catalogue, CatalogueError, PROTO_FILES_MAX, PROTO_TEXT_BYTES_MAX};
pub use keys::{KEYS_PER_DEFINITION_MAX, KeyForm, KeySpec, MatchKey};
pub use labels::Labels;
pub use mask::FieldMask;
pub use parse::{BAD_COLUMNS_PER_ROW_MAX, OVERRIDE_SUFFIX, Override};
pub use problem::{Finding, Problem};
pub use puente_model::{Lang, LangError};
pub use query::{Params, QueryKindSpec, StepSpec};
pub use record::{DisplayRow, Leaf, ParsedRow, Record, RecordType, UnknownField};
pub use rules::Match;
pub use sample::SampleOf;
pub use schema::{Field, FieldKind, Marks, edit_distance};
pub use validate::{Validator, Verdict};

#[cfg(test)]
mod tests;
