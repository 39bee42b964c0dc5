//! Record types and questions as JSON: a schema (draft 2020-12) for other programs, and rows as objects that fit it.
//!
//! The schema describes normal forms: what fits it is taken as it stands. Import takes other spellings, too, and
//! checks what no schema can say, such as check digits.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use crate::codec::REPEATED_VALUES_MAX;
use crate::parse::OVERRIDE_SUFFIX;
use crate::query::QueryKindSpec;
use crate::record::RecordType;
use crate::schema::{Condition, Field, FieldKind, Schema};
use crate::validate::Validator;

const DIALECT: &str = "https://json-schema.org/draft/2020-12/schema";
/// Most characters of a normal form; its limit in bytes is the same.
const TEXT_CHARS_MAX: usize = 512;
const NAME_CHARS_MAX: usize = 256;
const REFERENCE_CHARS_MAX: usize = 64;
const REASON_CHARS_MAX: usize = 500;

impl RecordType {
    /// The JSON Schema of a record of this type.
    pub fn json_schema(&self) -> Value {
        let title = json!({"title": self.labels.en, "x-title-es": self.labels.es, "x-record-type": &*self.name});
        self.schema.json_schema(title)
    }

    /// A row as a JSON object: numbers and yes or no as such, several values as a list.
    pub fn json_of(&self, row: &BTreeMap<String, String>) -> Value {
        self.schema.json_of(row)
    }
}

impl QueryKindSpec {
    /// The JSON Schema of the parameters of a question.
    pub fn json_schema(&self) -> Value {
        let title = json!({"title": self.labels.en, "x-title-es": self.labels.es, "x-query-kind": self.kind.as_str()});
        self.schema.json_schema(title)
    }

    /// Parameters as a JSON object.
    pub fn json_of(&self, params: &BTreeMap<String, String>) -> Value {
        self.schema.json_of(params)
    }
}

impl Schema {
    fn json_of(&self, row: &BTreeMap<String, String>) -> Value {
        let mut object = Map::new();
        for field in &self.fields {
            let Some(text) = row.get(&field.name) else { continue };
            let one = |text: &str| match field.kind {
                FieldKind::Bool => json!(text == "true"),
                FieldKind::Unsigned | FieldKind::Signed => text.parse::<i64>().map_or(json!(text), |n| json!(n)),
                FieldKind::Text | FieldKind::Code => json!(text),
            };
            let value = if field.repeated { text.split('|').map(one).collect() } else { one(text) };
            object.insert(field.name.clone(), value);
        }
        Value::Object(object)
    }

    fn json_schema(&self, mut schema: Value) -> Value {
        let properties: Map<String, Value> = self.fields.iter().map(|f| (f.name.clone(), property(f))).collect();
        let required: Vec<&str> = self.fields.iter().filter(|f| f.required).map(|f| f.name.as_str()).collect();
        let mut with: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        let mut rules = Vec::new();
        for field in &self.fields {
            if let Some(other) = field.required_with.and_then(|i| self.fields.get(i)) {
                with.entry(&other.name).or_default().push(&field.name);
            }
            let given = json!({"required": [field.name]});
            rules.extend(field.required_when.iter().filter_map(|c| self.rule(c, given.clone())));
            let absent = json!({"properties": {field.name.clone(): false}});
            rules.extend(field.empty_when.iter().filter_map(|c| self.rule(c, absent.clone())));
        }
        let reasons = format!("^.+\\{OVERRIDE_SUFFIX}$");
        let parts = [
            ("$schema", json!(DIALECT)),
            ("type", json!("object")),
            ("properties", Value::Object(properties)),
            ("patternProperties", json!({reasons: {"type": "string", "maxLength": REASON_CHARS_MAX}})),
            ("additionalProperties", json!(false)),
            ("required", json!(required)),
        ];
        if let Some(object) = schema.as_object_mut() {
            object.extend(parts.map(|(name, value)| (name.to_owned(), value)));
            if !with.is_empty() {
                object.insert("dependentRequired".to_owned(), json!(with));
            }
            if !rules.is_empty() {
                object.insert("allOf".to_owned(), Value::Array(rules));
            }
        }
        schema
    }

    /// `then` holds while the condition does.
    fn rule(&self, condition: &Condition, then: Value) -> Option<Value> {
        let field = self.fields.get(condition.field)?;
        let one = match (condition.below, field.kind) {
            (Some(bound), _) => json!({"exclusiveMaximum": bound}),
            (None, FieldKind::Bool) => json!({"const": condition.value == "true"}),
            (None, _) => json!({"const": condition.value}),
        };
        let holds = if field.repeated { json!({"contains": one}) } else { one };
        Some(json!({"if": {"properties": {field.name.clone(): holds}, "required": [field.name]}, "then": then}))
    }
}

fn property(field: &Field) -> Value {
    let codes = field.codes.as_ref();
    let mut one = match (field.kind, codes) {
        (FieldKind::Bool, _) => json!({"type": "boolean"}),
        (FieldKind::Unsigned | FieldKind::Signed, _) => {
            let mut number = json!({"type": "integer"});
            let least = if field.kind == FieldKind::Unsigned { Some(0) } else { None };
            number["minimum"] = json!(field.bounds.map(|(min, _)| min).or(least));
            number["maximum"] = json!(field.bounds.map(|(_, max)| max));
            number
        }
        (_, Some(list)) if !field.codes_open => {
            json!({"type": "string", "enum": list.codes().iter().map(|c| &c.text).collect::<Vec<_>>()})
        }
        _ => text(field.validator),
    };
    if let Some(object) = one.as_object_mut() {
        object.retain(|_, value| !value.is_null());
        if let (Some(list), true) = (codes, field.codes_open) {
            object.insert("examples".to_owned(), list.codes().iter().map(|c| json!(c.text)).collect());
        }
    }
    let mut whole = match field.repeated {
        true => json!({"type": "array", "items": one, "minItems": 1, "maxItems": REPEATED_VALUES_MAX}),
        false => one,
    };
    if let Some(object) = whole.as_object_mut() {
        let known = [
            ("title", field.labels.en.as_str()),
            ("x-title-es", &field.labels.es),
            ("description", &field.notes.en),
            ("x-description-es", &field.notes.es),
            ("x-unit", &field.unit),
            ("x-niem", &field.niem),
            ("x-ncic", &field.ncic),
        ];
        let known = known.into_iter().filter(|(_, text)| !text.is_empty());
        object.extend(known.map(|(name, text)| (name.to_owned(), json!(text))));
        object.insert("x-class".to_owned(), json!(field.class().as_str()));
    }
    whole
}

fn text(validator: Validator) -> Value {
    let most = match validator {
        Validator::Text => TEXT_CHARS_MAX,
        Validator::Name => NAME_CHARS_MAX,
        Validator::Reference => REFERENCE_CHARS_MAX,
        _ => puente_model::limits::FIELD_BYTES_MAX,
    };
    let format = match validator {
        Validator::Date => Some("date"),
        Validator::DateTime => Some("date-time"),
        _ => None,
    };
    let mut text = match pattern(validator) {
        Some(pattern) => json!({"type": "string", "pattern": pattern}),
        None => json!({"type": "string", "minLength": 1, "maxLength": most}),
    };
    if let (Some(format), Some(object)) = (format, text.as_object_mut()) {
        object.insert("format".to_owned(), json!(format));
    }
    text
}

/// The shape of normal forms, as a regular expression of ECMA-262.
const fn pattern(validator: Validator) -> Option<&'static str> {
    Some(match validator {
        Validator::Text | Validator::Name | Validator::Narrative | Validator::Reference => return None,
        Validator::Agency => "^([a-z]{2}/[0-9a-z-]{1,40}|[A-Z]{2}[0-9A-Z]{7})$",
        Validator::Ori => "^[A-Z]{2}[0-9A-Z]{7}$",
        Validator::Nuc => "^[0-9A-Z/-]{5,40}$",
        Validator::Sha256 => "^[0-9a-f]{64}$",
        Validator::Vin => "^[0-9A-HJ-NPR-Z]{17}$",
        Validator::Plate => "^[0-9A-Z]{1,10}$",
        Validator::PlateJurisdiction | Validator::Territory => "^[A-Z]{2}(-[0-9A-Z]{1,3})?$",
        Validator::FirearmSerial => "^[0-9A-ZА-Я?]{1,24}$",
        Validator::Ffl => "^[0-9]-([0-9]{2}|XX)-([0-9]{3}|XXX)-([0-9]{2}|XX)-([0-9][A-HJ-M]|XX)-[0-9]{5}$",
        Validator::Curp => "^[A-ZÑ]{4}[0-9]{6}[HMX][A-Z]{2}[A-ZÑ]{3}[0-9A-ZÑ][0-9]$",
        Validator::Rfc => "^[A-ZÑ&]{3,4}[0-9]{6}([0-9A-ZÑ&]{3})?$",
        Validator::Clabe => "^[0-9]{18}$",
        Validator::ClaveElector => "^[A-ZÑ]{6}[0-9]{8}[HM][0-9]{3}$",
        Validator::Passport => "^[0-9A-Z]{5,12}$",
        Validator::ANumber => "^A[0-9]{9}$",
        Validator::Cvegeo | Validator::Fips => "^[0-9]{5}$",
        Validator::Place => "^(MX|US)-[0-9]{5}$",
        Validator::Cell1Km => "^[1-9][0-9]?[C-HJ-NP-X][A-HJ-NP-Z][A-HJ-NP-V][0-9]{4}$",
        Validator::Country => "^[A-Z]{2}$",
        Validator::Decimal => "^(0|[1-9][0-9]{0,14})(\\.[0-9]{1,30})?$",
        Validator::Date => "^[0-9]{4}-[0-9]{2}-[0-9]{2}$",
        Validator::DateTime => "^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\\.[0-9]{3}Z$",
    })
}

#[cfg(test)]
mod tests {
    use boon::{Compiler, SchemaIndex, Schemas};
    use proptest::prelude::*;
    use puente_model::{AgencyId, Millis};

    use super::*;
    use crate::validate::Verdict;
    use crate::{Catalogue, SampleOf};

    /// One schema, compiled with formats in force.
    struct Compiled(Schemas, SchemaIndex);

    impl Compiled {
        fn of(schema: Value) -> Self {
            let mut compiler = Compiler::new();
            compiler.enable_format_assertions();
            compiler.add_resource("urn:type", schema).unwrap();
            let mut schemas = Schemas::new();
            let index = compiler.compile("urn:type", &mut schemas).unwrap_or_else(|e| panic!("{e}"));
            Self(schemas, index)
        }

        fn takes(&self, value: &Value) -> bool {
            self.0.validate(value, self.1).is_ok()
        }
    }

    /// What no schema may take: a stranger, each required field left out, each value of another type or form.
    fn broken(schema: &Schema, good: &Value) -> Vec<(String, Value)> {
        let good = good.as_object().unwrap();
        let with = |name: &str, value: Value| {
            let mut object = good.clone();
            object.insert(name.to_owned(), value);
            Value::Object(object)
        };
        let mut out =
            vec![("a stranger".to_owned(), with("no_such_field", json!("x"))), ("no object".to_owned(), json!([]))];
        for field in &schema.fields {
            if field.required {
                let rest = good.iter().filter(|(name, _)| **name != field.name);
                out.push((format!("no {}", field.name), rest.map(|(k, v)| (k.clone(), v.clone())).collect()));
            }
            let mut wrong = vec![json!({}), json!(null)];
            if field.kind == FieldKind::Code || pattern(field.validator).is_some() {
                wrong.push(json!("no such thing"));
            }
            if let Some((_, max)) = field.bounds {
                wrong.push(json!(max + 1));
            }
            let wrong = wrong.into_iter().map(|one| if field.repeated { json!([one]) } else { one });
            out.extend(wrong.map(|one| (field.name.clone(), with(&field.name, one))));
        }
        out
    }

    #[test]
    fn every_schema_takes_the_example_and_nothing_broken() {
        let (catalogue, agency): (_, AgencyId) = (Catalogue::builtin().unwrap(), "us/tx-dps".parse().unwrap());
        let of = SampleOf { number: 3, agency: &agency, now: Millis(1_796_083_200_000) };
        let types = catalogue.record_types().iter();
        let types = types.map(|t| (t.name(), &t.schema, t.json_schema(), t.json_of(&t.sample_row(&of))));
        let kinds = catalogue.query_kinds().iter().map(|k| {
            let params = k.sample_params(catalogue.record_type(k.record_type()).unwrap(), &of);
            (k.kind().as_str(), &k.schema, k.json_schema(), k.json_of(&params))
        });
        for (name, schema, json_schema, good) in types.chain(kinds) {
            let compiled = Compiled::of(json_schema);
            assert!(compiled.takes(&good), "{name}: {:?}", compiled.0.validate(&good, compiled.1));
            for (what, bad) in broken(schema, &good) {
                assert!(!compiled.takes(&bad), "{name}: {what} was taken: {bad}");
            }
        }
    }

    #[test]
    fn rules_between_fields_stand_in_the_schema() {
        let (catalogue, agency): (_, AgencyId) = (Catalogue::builtin().unwrap(), "us/tx-dps".parse().unwrap());
        let of = SampleOf { number: 3, agency: &agency, now: Millis(1_796_083_200_000) };
        let result = catalogue.record_type("TraceResult").unwrap();
        let compiled = Compiled::of(result.json_schema());
        let mut row = result.json_of(&result.sample_row(&of));
        row["trace_status"] = json!("closed");
        assert!(!compiled.takes(&row), "closed, and nobody says how");
        row["disposition"] = json!("lawful_export");
        row["closed_on"] = json!("2026-10-01");
        assert!(compiled.takes(&row));
        let request = catalogue.record_type("TraceRequest").unwrap();
        let compiled = Compiled::of(request.json_schema());
        let mut row = request.json_of(&request.sample_row(&of));
        row["serial_status"] = json!("obliterated");
        assert!(!compiled.takes(&row), "a serial number that cannot be read");
        row.as_object_mut().unwrap().remove("serial");
        assert!(compiled.takes(&row));
        row["serial.override"] = json!("the reason of an override");
        assert!(compiled.takes(&row));
    }

    proptest! {
        // Whatever a validator takes, its normal form fits the pattern: a schema refuses nothing that is right.
        #[test]
        fn normal_forms_fit_their_patterns(text in "[0-9A-ZÑ&a-z/.:TZ +-]{1,24}", which in 0..Validator::ALL.len()) {
            let validator = Validator::ALL[which];
            let (Verdict::Valid { normalised } | Verdict::Warn { normalised, .. }) = validator.check(&text) else {
                return Ok(());
            };
            let compiled = Compiled::of(super::text(validator));
            prop_assert!(compiled.takes(&json!(normalised)), "{}: {normalised}", validator.name());
        }
    }

    #[test]
    fn doubtful_forms_that_are_taken_fit_their_patterns() {
        let forms = [
            (Validator::Ffl, "1-48-01234"),
            (Validator::Ffl, "14801234"),
            (Validator::Rfc, "XAXX010101000"),
            (Validator::Rfc, "A&B800101"),
            (Validator::Agency, "TX2200000"),
            (Validator::Agency, "us/tx-dps"),
            (Validator::Place, "MX:02-999"),
            (Validator::Cell1Km, "11SMS 88321 32123"),
            (Validator::PlateJurisdiction, "us_tx"),
            (Validator::DateTime, "2026-03-01 10:00:00+02:00"),
            (Validator::Date, "2026/03/01"),
            (Validator::Decimal, "1.5e3"),
            (Validator::ANumber, "#1234567"),
            (Validator::FirearmSerial, "мс-123"),
            (Validator::Nuc, "cdi fge.1_2"),
        ];
        for (validator, text) in forms {
            let normalised = match validator.check(text) {
                Verdict::Valid { normalised } | Verdict::Warn { normalised, .. } => normalised,
                _ => continue,
            };
            assert!(
                Compiled::of(super::text(validator)).takes(&json!(normalised)),
                "{}: {normalised}",
                validator.name()
            );
        }
    }
}
