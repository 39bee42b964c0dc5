//! From a row of text to values: normalised, checked against each other.

use crate::codec::{REPEATED_VALUES_MAX, put_number, put_text};
use crate::problem::{Finding, Problem};
use crate::schema::{Condition, Field, FieldKind, Schema};
use crate::validate::{Verdict, fold};

/// What follows a column's name in the column that holds its override reason.
pub const OVERRIDE_SUFFIX: &str = ".override";
/// Columns of one row that are reported as unknown or doubled before the rest is left unread.
pub const BAD_COLUMNS_PER_ROW_MAX: usize = 32;
/// Least and most characters of an override's reason.
const REASON_CHARS: std::ops::RangeInclusive<usize> = 3..=500;

/// A value that a check rejected and a person accepted all the same. Kept with
/// the record, and in the parameters of a question.
#[derive(Clone, PartialEq, Eq)]
pub struct Override {
    /// Name of the field.
    pub field: String,
    /// What the check said.
    pub problem: Problem,
    /// Why the person accepted it; in their words, so it may hold private data.
    pub reason: String,
}

impl std::fmt::Debug for Override {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Override").field("field", &self.field).field("problem", &self.problem).finish_non_exhaustive()
    }
}

/// Normal values by field index; empty where the field is absent.
#[derive(Default)]
pub(crate) struct Parsed {
    pub(crate) values: Vec<Vec<String>>,
    pub(crate) warnings: Vec<Finding>,
    pub(crate) overrides: Vec<Override>,
    /// A state that the text told and that no field takes (in a question).
    pub(crate) loose_states: Vec<(usize, &'static str)>,
}

/// One value's normal form, or what is wrong with it.
struct Normal {
    value: String,
    warning: Option<Problem>,
    state: Option<&'static str>,
    overridden: Option<Problem>,
}

impl Normal {
    const fn of(value: String) -> Self {
        Self { value, warning: None, state: None, overridden: None }
    }
}

fn normalise(field: &Field, text: &str, reason: Option<&str>) -> Result<Normal, (Problem, String)> {
    let number = |n: i128| match field.bounds {
        Some((min, max)) if n < i128::from(min) || n > i128::from(max) => {
            Err((Problem::OutOfRange, format!("{min} to {max}")))
        }
        _ => Ok(Normal::of(n.to_string())),
    };
    match field.kind {
        FieldKind::Bool => match fold(text).as_str() {
            "TRUE" | "YES" | "Y" | "SI" | "S" | "1" | "VERDADERO" => Ok(Normal::of("true".to_owned())),
            "FALSE" | "NO" | "N" | "0" | "FALSO" => Ok(Normal::of("false".to_owned())),
            _ => Err((Problem::NotYesNo, String::new())),
        },
        FieldKind::Unsigned => text.parse::<u64>().map_err(not_number).and_then(|n| number(n.into())),
        FieldKind::Signed => text.parse::<i64>().map_err(not_number).and_then(|n| number(n.into())),
        FieldKind::Code => {
            let Some(list) = &field.codes else { return Err((Problem::NotInList, String::new())) };
            match list.find(text) {
                Some(code) => Ok(Normal::of(code.text.clone())),
                None => Err((Problem::NotInList, list.choices())),
            }
        }
        FieldKind::Text => normalise_text(field, text, reason),
    }
}

fn not_number(_: std::num::ParseIntError) -> (Problem, String) {
    (Problem::NotNumber, String::new())
}

fn normalise_text(field: &Field, text: &str, reason: Option<&str>) -> Result<Normal, (Problem, String)> {
    let mut normal = match field.validator.check(text) {
        Verdict::Valid { normalised } => Normal::of(normalised),
        Verdict::Warn { normalised, problem } => Normal { warning: Some(problem), ..Normal::of(normalised) },
        Verdict::State { state, normalised } => Normal { state: Some(state), ..Normal::of(normalised) },
        Verdict::Reject { problem, if_overridden: Some(value) } if reason.is_some() => {
            Normal { overridden: Some(problem), ..Normal::of(value) }
        }
        Verdict::Reject { problem, .. } => return Err((problem, String::new())),
    };
    if normal.value.len() > puente_model::limits::FIELD_BYTES_MAX {
        return Err((Problem::TooLong, String::new()));
    }
    if let Some(list) = &field.codes {
        match list.find(&normal.value) {
            Some(code) => normal.value.clone_from(&code.text),
            None if field.codes_open => normal.warning = normal.warning.or(Some(Problem::Unlisted)),
            None => return Err((Problem::NotInList, list.choices())),
        }
    }
    Ok(normal)
}

/// The cells of one row, sorted to their fields.
struct Cells<'a> {
    columns: Vec<Option<&'a str>>,
    texts: Vec<&'a str>,
    reasons: Vec<Option<&'a str>>,
}

impl Schema {
    /// Reads a row: column → text. Empty cells are absent; `<column>.override` holds the reason of an override.
    pub(crate) fn parse<'a>(
        &self,
        cells: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) -> Result<Parsed, Vec<Finding>> {
        let mut errors = Vec::new();
        let row = self.sort_cells(cells, &mut errors);
        let mut parsed = Parsed { values: vec![Vec::new(); self.fields.len()], ..Parsed::default() };
        let mut states: Vec<(usize, &'static str)> = Vec::new();
        for (i, field) in self.fields.iter().enumerate() {
            let column = row.columns[i].unwrap_or(&field.name);
            let before = parsed.overrides.len();
            let parts: Vec<&str> = match row.texts[i] {
                "" => Vec::new(),
                text if field.repeated => text.split('|').map(str::trim).filter(|t| !t.is_empty()).collect(),
                text => vec![text],
            };
            if parts.len() > REPEATED_VALUES_MAX {
                errors.push(Finding::new(column, Problem::TooMany, format!("at most {REPEATED_VALUES_MAX}")));
                continue;
            }
            for text in parts {
                match normalise(field, text, row.reasons[i]) {
                    Ok(normal) => self.accept(i, column, normal, row.reasons[i], &mut parsed, &mut states),
                    Err((problem, detail)) => errors.push(Finding::new(column, problem, detail)),
                }
            }
            if row.reasons[i].is_some() && parsed.overrides.len() == before {
                parsed.warnings.push(Finding::new(column, Problem::BadOverride, ""));
            }
        }
        self.apply_states(&states, &mut parsed, &mut errors);
        self.check_together(&row, &parsed, &mut errors);
        if errors.is_empty() { Ok(parsed) } else { Err(errors) }
    }

    fn sort_cells<'a>(
        &self,
        cells: impl IntoIterator<Item = (&'a str, &'a str)>,
        errors: &mut Vec<Finding>,
    ) -> Cells<'a> {
        let n = self.fields.len();
        let mut row = Cells { columns: vec![None; n], texts: vec![""; n], reasons: vec![None; n] };
        for (column, text) in cells {
            if errors.len() >= BAD_COLUMNS_PER_ROW_MAX {
                break;
            }
            let (name, is_reason) = match column.strip_suffix(OVERRIDE_SUFFIX) {
                Some(name) => (name, true),
                None => (column, false),
            };
            let Some(i) = self.index_of_column(name) else {
                let hint = format!("did you mean '{}'?", self.closest(name));
                errors.push(Finding::new(column, Problem::UnknownColumn, hint));
                continue;
            };
            let text = text.trim();
            if is_reason {
                let clean = !crate::validate::has_forbidden_character(text, false);
                match text.chars().count() {
                    0 => {}
                    n if REASON_CHARS.contains(&n) && clean => row.reasons[i] = Some(text),
                    _ => errors.push(Finding::new(column, Problem::BadOverride, "")),
                }
            } else if row.columns[i].replace(column).is_some() {
                errors.push(Finding::new(column, Problem::DuplicateColumn, self.fields[i].name.clone()));
            } else {
                row.texts[i] = text;
            }
        }
        row
    }

    fn accept(
        &self,
        i: usize,
        column: &str,
        normal: Normal,
        reason: Option<&str>,
        parsed: &mut Parsed,
        states: &mut Vec<(usize, &'static str)>,
    ) {
        let field = &self.fields[i];
        if let Some(problem) = normal.warning {
            parsed.warnings.push(Finding::new(column, problem, ""));
        }
        if let (Some(problem), Some(reason)) = (normal.overridden, reason) {
            parsed.overrides.push(Override { field: field.name.clone(), problem, reason: reason.to_owned() });
        }
        if let Some(state) = normal.state {
            states.push((i, state));
        }
        if !normal.value.is_empty() {
            parsed.values[i].push(normal.value);
        }
    }

    /// Puts states that texts told into the fields that take them.
    fn apply_states(&self, states: &[(usize, &'static str)], parsed: &mut Parsed, errors: &mut Vec<Finding>) {
        for (i, field) in self.fields.iter().enumerate() {
            let told = states.iter().find(|(from, _)| *from == i).map(|(_, state)| *state);
            let Some(target) = field.state_field else {
                parsed.loose_states.extend(told.map(|state| (i, state)));
                continue;
            };
            let state = told.map(str::to_owned).or_else(|| {
                let known = !parsed.values[i].is_empty();
                if known && parsed.values[target].is_empty() { field.state_default.clone() } else { None }
            });
            let Some(state) = state else { continue };
            match parsed.values[target].first() {
                None => parsed.values[target].push(state),
                Some(given) if *given == state => {}
                Some(_) => {
                    errors.push(Finding::new(&field.name, Problem::StateConflict, self.fields[target].name.clone()));
                }
            }
        }
    }

    fn check_together(&self, row: &Cells<'_>, parsed: &Parsed, errors: &mut Vec<Finding>) {
        for (i, field) in self.fields.iter().enumerate() {
            let column = row.columns[i].unwrap_or(&field.name);
            let absent = parsed.values[i].is_empty();
            if absent && !errors.iter().any(|e| e.column == column) {
                if field.required {
                    errors.push(Finding::new(column, Problem::Missing, ""));
                } else if let Some(rule) = field.required_when.iter().find(|c| c.holds(&parsed.values)) {
                    let detail = format!("while {} is {}", self.fields[rule.field].name, rule.value);
                    errors.push(Finding::new(column, Problem::Missing, detail));
                } else if let Some(other) = field.required_with
                    && !parsed.values[other].is_empty()
                {
                    let detail = format!("with '{}'", self.fields[other].name);
                    errors.push(Finding::new(column, Problem::Missing, detail));
                }
            }
            if !absent && let Some(rule) = field.empty_when.iter().find(|c| c.holds(&parsed.values)) {
                let detail = format!("must be empty while {} is {}", self.fields[rule.field].name, rule.value);
                errors.push(Finding::new(column, Problem::StateConflict, detail));
            }
        }
    }

    /// Canonical protobuf of parsed values.
    pub(crate) fn encode(&self, values: &[Vec<String>]) -> Vec<u8> {
        let mut out = Vec::with_capacity(256);
        // Fields stand in ascending order of their numbers.
        for (field, values) in self.fields.iter().zip(values) {
            let number = field.number;
            for value in values {
                match field.kind {
                    FieldKind::Text => put_text(&mut out, number, value),
                    _ => match wire_number(field, value) {
                        Some(0) if !field.presence && !field.repeated => {}
                        Some(n) => put_number(&mut out, number, n),
                        None => {}
                    },
                }
            }
        }
        out
    }
}

/// The varint of a normal value; `None` for text that is not one (which parsing excludes).
fn wire_number(field: &Field, value: &str) -> Option<u64> {
    match field.kind {
        FieldKind::Text => None,
        FieldKind::Bool => Some(u64::from(value == "true")),
        FieldKind::Unsigned => value.parse().ok(),
        FieldKind::Signed => value.parse::<i64>().ok().map(i64::cast_unsigned),
        FieldKind::Code => field.codes.as_ref()?.by_text(value).map(|c| u64::from(c.number)),
    }
}

impl Condition {
    pub(crate) fn holds<S: AsRef<str>>(&self, values: &[Vec<S>]) -> bool {
        let holds = |value: &str| match self.below {
            None => value == self.value,
            Some(bound) => value.parse::<i64>().is_ok_and(|n| n < bound),
        };
        values.get(self.field).is_some_and(|v| v.iter().any(|v| holds(v.as_ref())))
    }
}
