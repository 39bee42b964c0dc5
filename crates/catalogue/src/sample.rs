//! Records and questions that show what a type looks like, from its descriptor alone. Whatever an example holds
//! says that it is one, belongs to nobody, and passes the checks that a real value must pass.

use std::collections::BTreeMap;

use puente_model::{AgencyId, Millis};

use crate::problem::Finding;
use crate::query::{Params, QueryKindSpec};
use crate::record::{ParsedRow, RecordType};
use crate::schema::{Condition, Field, FieldKind, Schema};
use crate::validate::{Validator, Verdict};

const HOUR: u64 = 3_600_000;
const DAY: u64 = 24 * HOUR;
/// How far ahead an example's own end lies: within every retention that the catalogue names.
const KEPT_DAYS: u64 = 29;
/// Words that names begin with, as the telephone spells letters.
const WORDS: [&str; 26] = [
    "ALFA", "BRAVO", "CHARLIE", "DELTA", "ECHO", "FOXTROT", "GOLF", "HOTEL", "INDIA", "JULIETT", "KILO", "LIMA",
    "MIKE", "NOVEMBER", "OSCAR", "PAPA", "QUEBEC", "ROMEO", "SIERRA", "TANGO", "UNIFORM", "VICTOR", "WHISKEY", "XRAY",
    "YANKEE", "ZULU",
];

/// Which example is meant.
#[derive(Debug, Clone, Copy)]
pub struct SampleOf<'a> {
    /// Its number: examples with other numbers are about other things. Only the last six digits count.
    pub number: u32,
    /// The agency that stands wherever one is named.
    pub agency: &'a AgencyId,
    /// The time at which it is an example: nothing in it lies ahead but its end.
    pub now: Millis,
}

impl RecordType {
    /// The columns that a template of this type has, ascending by number.
    pub fn columns(&self) -> Vec<&str> {
        self.schema.fields.iter().map(|f| f.name.as_str()).collect()
    }

    /// An example: column → text, as a row of a file would give it. Every field that may be present is.
    pub fn sample_row(&self, of: &SampleOf<'_>) -> BTreeMap<String, String> {
        let value = |i: usize, field: &Field| {
            if self.expires == Some(i) {
                return example(field, of, of.now.0 + KEPT_DAYS * DAY);
            }
            // Examples can be found: no value hides its record.
            let hides = |text: &str| {
                let row: Vec<Vec<&str>> = (0..=i).map(|at| if at == i { vec![text] } else { vec![] }).collect();
                self.hiding.when.iter().any(|condition| condition.field == i && condition.holds(&row))
            };
            let choices = choices(field);
            choices.into_iter().find(|text| !hides(text)).unwrap_or_else(|| example(field, of, of.now.0))
        };
        self.schema.filled(value)
    }

    /// The example, read and checked as any row is.
    ///
    /// # Errors
    /// Rules of the type that no example fits (only a type of one's own can have such).
    pub fn sample(&self, of: &SampleOf<'_>) -> Result<ParsedRow, Vec<Finding>> {
        self.parse_row(&self.sample_row(of))
    }
}

impl QueryKindSpec {
    /// An example of a question, as a person gives it: name → text. It is about the example record of the same number.
    pub fn sample_params(&self, record_type: &RecordType, of: &SampleOf<'_>) -> BTreeMap<String, String> {
        let row = record_type.sample_row(of);
        let another = record_type.sample_row(&SampleOf { number: of.number + 1, ..*of });
        let window = self.rules.window.as_ref();
        let value = |i: usize, field: &Field| {
            let row = match self.rules.filters.iter().any(|(_, param, differs)| *param == i && *differs) {
                true => &another,
                false => &row,
            };
            match (&field.of, window) {
                (Some(name), _) => row.get(name).cloned().unwrap_or_default(),
                (None, Some(window)) if window.from == i => example(field, of, of.now.0.saturating_sub(3 * HOUR)),
                (None, _) => choices(field).into_iter().next().unwrap_or_else(|| example(field, of, of.now.0)),
            }
        };
        self.schema.filled(value)
    }

    /// The example, read and checked as any question is.
    ///
    /// # Errors
    /// As [`RecordType::sample`].
    pub fn sample(&self, record_type: &RecordType, of: &SampleOf<'_>) -> Result<Params, Vec<Finding>> {
        self.parse_params(&self.sample_params(record_type, of))
    }
}

impl Schema {
    /// Every field with its value, but those that the others' values leave no place for.
    fn filled(&self, value: impl Fn(usize, &Field) -> String) -> BTreeMap<String, String> {
        let mut values: Vec<Vec<String>> = self.fields.iter().enumerate().map(|(i, f)| vec![value(i, f)]).collect();
        for value in &mut values {
            value.retain(|text| !text.is_empty());
        }
        let any = |conditions: &[Condition], values: &[Vec<String>]| conditions.iter().any(|c| c.holds(values));
        for (i, field) in self.fields.iter().enumerate() {
            let uncalled = !field.required && !field.required_when.is_empty() && !any(&field.required_when, &values);
            let alone = field.required_with.is_some_and(|other| values.get(other).is_none_or(Vec::is_empty));
            let out = uncalled || alone || any(&field.empty_when, &values);
            if let (true, Some(value)) = (out, values.get_mut(i)) {
                value.clear();
            }
        }
        let filled = self.fields.iter().zip(values);
        filled.filter_map(|(field, value)| Some((field.name.clone(), value.into_iter().next()?))).collect()
    }
}

/// The values that a field without free text can take in an example, the likeliest first; none of a free one.
fn choices(field: &Field) -> Vec<String> {
    match (field.kind, &field.codes) {
        (_, Some(list)) => list.codes().iter().map(|code| code.text.clone()).collect(),
        (FieldKind::Bool, _) => vec!["true".to_owned(), "false".to_owned()],
        (FieldKind::Unsigned | FieldKind::Signed, _) => {
            let (least, most) = field.bounds.unwrap_or((0, i64::MAX));
            [1, 30, most].map(|n: i64| n.clamp(least, most).to_string()).to_vec()
        }
        _ => Vec::new(),
    }
}

/// One value of a free field; a time lies an hour before `at`, or at `at` where that is ahead.
fn example(field: &Field, of: &SampleOf<'_>, at: u64) -> String {
    let n = of.number % 1_000_000;
    let at = Millis(if at > of.now.0 { at } else { at.saturating_sub(HOUR) });
    let day = |at: Millis| at.to_string().chars().take(10).collect::<String>();
    let label = field.labels.en.trim();
    match field.validator {
        Validator::Text | Validator::Narrative => format!("Example {n}: {label}"),
        Validator::Name => format!("{} {}", word(n), label.to_uppercase()),
        Validator::Agency => of.agency.as_str().to_owned(),
        // A date that identifies is one of birth: of an adult's.
        Validator::Date if field.marks.identifying => day(Millis(u64::from(n % 3_650) * DAY)),
        Validator::Date => day(at),
        Validator::DateTime => at.to_string(),
        other => sample_of(other, n),
    }
}

/// A word of its own for each number.
fn word(n: u32) -> String {
    let (more, last) = (n / 26, WORDS.get(n as usize % 26).copied().unwrap_or_default());
    if more == 0 { last.to_owned() } else { format!("{}{last}", word(more - 1)) }
}

/// A value with a form of its own; check digits are found by trying them.
fn sample_of(validator: Validator, n: u32) -> String {
    let letters: String = [n / 17_576, n / 676, n / 26, n].iter().map(|n| letter(n % 26)).collect();
    let checked = |form: &dyn Fn(char) -> String| {
        let valid = |text: &String| matches!(validator.check(text), Verdict::Valid { .. });
        "0123456789XA".chars().map(form).find(valid).unwrap_or_default()
    };
    match validator {
        Validator::Vin => checked(&|check| format!("1PUENTE0{check}X0{n:06}")),
        Validator::Curp => checked(&|check| format!("{letters}800101HBCXXX0{check}")),
        Validator::Rfc => checked(&|check| format!("{letters}800101AA{check}")),
        Validator::Clabe => checked(&|check| format!("00200000000{n:06}{check}")),
        Validator::Reference => format!("EXAMPLE-{n:06}"),
        Validator::Ori => format!("EX9{n:06}"),
        Validator::Nuc => format!("EXAMPLE/2026/{n:06}"),
        Validator::Sha256 => format!("{n:064x}"),
        Validator::Plate => format!("E{n:06}"),
        Validator::PlateJurisdiction => "MX-BCN".to_owned(),
        Validator::Territory => "US-TX".to_owned(),
        Validator::FirearmSerial => format!("EX{n:06}"),
        Validator::Ffl => format!("1-48-141-01-5A-{:05}", n % 100_000),
        Validator::ClaveElector => format!("{letters}XX80010102H{:03}", n % 1_000),
        Validator::Passport => format!("E{n:08}"),
        Validator::ANumber => format!("A{n:09}"),
        Validator::Cvegeo => "02004".to_owned(),
        Validator::Fips => "48141".to_owned(),
        Validator::Place => "MX-02004".to_owned(),
        Validator::Cell1Km => "11SMS8832".to_owned(),
        Validator::Country => "MX".to_owned(),
        Validator::Decimal => format!("{}.5", n % 1_000 + 1),
        // Made from the field, above.
        Validator::Text
        | Validator::Name
        | Validator::Narrative
        | Validator::Agency
        | Validator::Date
        | Validator::DateTime => String::new(),
    }
}

fn letter(n: u32) -> char {
    char::from_u32('A' as u32 + n).unwrap_or('A')
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::Catalogue;

    fn of(number: u32, agency: &AgencyId) -> SampleOf<'_> {
        SampleOf { number, agency, now: Millis(1_796_083_200_000) }
    }

    #[test]
    fn every_form_has_an_example_that_is_its_own_normal_form() {
        for validator in Validator::ALL {
            let text = sample_of(*validator, 123_456);
            if !text.is_empty() {
                assert_eq!(validator.check(&text), Verdict::valid(text), "{}", validator.name());
            }
        }
    }

    #[test]
    fn examples_are_valid_without_a_doubt_and_each_is_about_another_thing() {
        let (catalogue, agency) = (Catalogue::builtin().unwrap(), "mx/fge-bc".parse().unwrap());
        for record_type in catalogue.record_types() {
            let mut keys = BTreeSet::new();
            for number in [0, 1, 25, 26, 27, 702, 999_999] {
                let parsed = record_type.sample(&of(number, &agency));
                let parsed = parsed.unwrap_or_else(|e| panic!("{}: {e:?}", record_type.name()));
                assert_eq!(parsed.warnings, [], "{}", record_type.name());
                let found = record_type.match_keys_of(&parsed.record).unwrap();
                let decisive = record_type.match_keys().iter().filter(|k| k.decisive()).map(|k| k.name());
                for name in decisive {
                    let own: Vec<_> = found.iter().filter(|k| *k.name == *name).collect();
                    assert!(own.iter().all(|k| keys.insert((*k).clone())), "{}: {name} again", record_type.name());
                }
                assert!(record_type.match_keys().is_empty() || !found.is_empty(), "{}", record_type.name());
            }
        }
    }

    #[test]
    fn the_example_of_each_question_finds_the_example_record_and_no_other() {
        let (catalogue, agency) = (Catalogue::builtin().unwrap(), "mx/fge-bc".parse().unwrap());
        for kind in catalogue.query_kinds() {
            let record_type = catalogue.record_type(kind.record_type()).unwrap();
            let sample = of(7, &agency);
            let params = kind.sample(record_type, &sample).unwrap_or_else(|e| panic!("{}: {e:?}", kind.kind()));
            let keys = kind.lookup_keys(&params);
            for (number, finds) in [(7, true), (9, false), (33, false)] {
                let bytes = record_type.sample(&of(number, &agency)).unwrap().record.into_bytes();
                let record = crate::Record::decode(record_type, &bytes).unwrap();
                let own = record_type.match_keys_of(&record).unwrap();
                // A node looks up first; what it finds is then judged.
                let met = keys.iter().any(|key| own.contains(key));
                let concerns = kind
                    .concerns(record_type, puente_model::Step::HitNoHit, &bytes, &params, &keys, &agency, sample.now)
                    .unwrap();
                // Serial numbers of neighbours are near, seizures of one kind, place and time kin: such questions mean it.
                let kin = kind.finds_duplicates() && number == 9 || kind.kind().as_str() == "seizure.link";
                assert_eq!(met && concerns.is_some(), finds || kin, "{} {number}", kind.kind());
            }
        }
    }
}
