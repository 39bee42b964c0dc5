//! Rules that a `.proto` file gives beside its keys: who is never found, when a
//! record lapses, and which of the records found a question means.

use std::sync::Arc;

use puente_model::{AgencyId, Millis, Step};

use crate::codec::DecodeError;
use crate::keys::MatchKey;
use crate::problem::{Finding, Problem};
use crate::query::{Params, QueryKindSpec};
use crate::record::{Record, RecordType};
use crate::schema::{Condition, Schema};
use crate::validate::{day_number, instant_of, younger_than};

const DAY: u64 = 86_400_000;

/// The age from which a person's record may be found.
const ADULT_YEARS: u32 = 18;

/// Which records of a type have no match keys.
#[derive(Debug, Clone, Default)]
pub(crate) struct Hiding {
    pub(crate) when: Vec<Condition>,
    /// Date of birth, and the date at which age counts.
    pub(crate) minor: Option<(usize, usize)>,
}

impl Hiding {
    /// The field for which a record is hidden.
    pub(crate) fn applies<S: AsRef<str>>(&self, values: &[Vec<S>]) -> Option<usize> {
        if let Some(condition) = self.when.iter().find(|c| c.holds(values)) {
            return Some(condition.field);
        }
        let (birth, event) = self.minor?;
        let one = |i: usize| values.get(i).and_then(|v| v.first()).map(AsRef::as_ref);
        younger_than(ADULT_YEARS, one(birth)?, one(event)?)?.then_some(birth)
    }

    /// Tells whoever brings the record in.
    pub(crate) fn warn<S: AsRef<str>>(&self, schema: &Schema, values: &[Vec<S>]) -> Option<Finding> {
        let field = schema.fields.get(self.applies(values)?)?;
        Some(Finding::new(&field.name, Problem::NeverFound, ""))
    }
}

/// How long records of a type are found at most, whatever they say themselves.
#[derive(Debug, Clone)]
pub(crate) struct Kept {
    /// The field from whose time the days count.
    pub(crate) from: usize,
    pub(crate) days_max: i64,
    /// Records for which one of these holds are found as long as they say.
    pub(crate) longer_when: Vec<Condition>,
}

/// A span of time that a question must name.
#[derive(Debug, Clone)]
pub(crate) struct Window {
    /// Of the record.
    pub(crate) field: usize,
    /// Of the question.
    pub(crate) from: usize,
    pub(crate) until: usize,
    pub(crate) hours_max: u64,
}

/// Which of the records found a question means, and what it means that it found them.
#[derive(Debug, Clone, Default)]
pub(crate) struct QueryRules {
    pub(crate) window: Option<Window>,
    /// Field of the record, parameter, and whether they must differ.
    pub(crate) filters: Vec<(usize, usize, bool)>,
    /// Field of the record, parameter, days.
    pub(crate) near: Option<(usize, usize, i64)>,
    pub(crate) duplicate: bool,
    pub(crate) directed: bool,
    /// The parameter that names a court order.
    pub(crate) order: Option<usize>,
    /// Field of the record that must name the asking agency.
    pub(crate) asker: Option<usize>,
    /// Condition of the record, and the field that lists what is missing.
    pub(crate) pending: Option<(Condition, usize)>,
    /// The parameter that names a matter.
    pub(crate) matter: Option<usize>,
    /// Condition of a disclosed record that ends the matter.
    pub(crate) ends: Option<Condition>,
}

impl Window {
    /// What is wrong with the window that a question names, and at which parameter.
    pub(crate) fn check<S: AsRef<str>>(&self, values: &[Vec<S>]) -> Option<(usize, Problem, String)> {
        let at = |i: usize| values.get(i).and_then(|v| v.first()).and_then(|v| instant_of(v.as_ref()));
        // An absent bound is a missing required parameter.
        let (from, until) = (at(self.from)?, at(self.until)?);
        let hours = format!("at most {} hours, from before until", self.hours_max);
        let sound = from <= until && until.since(from) <= self.hours_max * 3_600_000;
        (!sound).then_some((self.until, Problem::BadWindow, hours))
    }

    /// Every day that the window touches.
    pub(crate) fn days(&self, param: impl Fn(usize) -> Option<String>) -> Vec<String> {
        let bounds = (param(self.from).and_then(|t| instant_of(&t)), param(self.until).and_then(|t| instant_of(&t)));
        let (Some(from), Some(until)) = bounds else { return Vec::new() };
        let day = |at: Millis| at.0 / DAY;
        (day(from)..=day(until)).map(|n| Millis(n * DAY).to_string().chars().take(10).collect()).collect()
    }
}

/// One record found, as it concerns a question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Match {
    /// Name of the first key of the question under which the record stands; none where the record does not say so itself.
    pub key: Option<Arc<str>>,
    /// What the asker still owes, where the record says so: names of fields.
    pub pending: Option<Vec<String>>,
}

impl QueryKindSpec {
    /// Whether records found mean that the question says what the holder has already.
    pub const fn finds_duplicates(&self) -> bool {
        self.rules.duplicate
    }

    /// Whether the question is a matter of its own, which may have nothing to look up.
    pub const fn is_directed(&self) -> bool {
        self.rules.directed
    }

    /// Whether these parameters, by their names, hold one that names a court order.
    pub fn states_order<'a>(&self, mut given: impl Iterator<Item = &'a str>) -> bool {
        let name = self.rules.order.and_then(|i| self.schema.fields.get(i)).map(|f| f.name.as_str());
        name.is_some_and(|name| given.any(|given| given == name))
    }

    /// The parameter that names the matter which questions like this one are about.
    pub fn matter(&self) -> Option<&str> {
        self.rules.matter.and_then(|i| self.schema.fields.get(i)).map(|f| f.name.as_str())
    }

    /// Whether a disclosed field of the record type, by its name and value, ends the matter.
    pub fn ends(&self, record_type: &RecordType, field: &str, value: &str) -> bool {
        let ends = self.rules.ends.as_ref();
        ends.is_some_and(|c| {
            c.value == value && record_type.schema.fields.get(c.field).is_some_and(|f| f.name == field)
        })
    }

    /// The record that a question states, where its parameters are one: what another question is compared with.
    pub fn record_of(&self, record_type: &RecordType, params: &Params) -> Option<Record> {
        let stated = self.schema.fields.iter().filter_map(|f| Some((f.of.as_deref()?, params.get(&f.name)?)));
        record_type.parse_cells(stated).ok().map(|parsed| parsed.record)
    }

    /// The parameters of the window that a question must name, and the hours that it may have at most.
    pub fn window(&self) -> Option<(&str, &str, u64)> {
        let window = self.rules.window.as_ref()?;
        let name = |i: usize| self.schema.fields.get(i).map(|f| f.name.as_str());
        Some((name(window.from)?, name(window.until)?, window.hours_max))
    }

    /// How a record that a lookup found concerns the question at this time: `None` if it does not (hidden, lapsed,
    /// outside its window, another agency's, not one of those that this step finds).
    ///
    /// # Errors
    /// Bytes that are no record of the type.
    #[allow(clippy::too_many_arguments)]
    pub fn concerns(
        &self,
        record_type: &RecordType,
        step: Step,
        bytes: &[u8],
        params: &Params,
        keys: &[MatchKey],
        asker: &AgencyId,
        now: Millis,
    ) -> Result<Option<Match>, DecodeError> {
        let values = record_type.values(bytes)?;
        let one = |i: usize| values.get(i).and_then(|v| v.first()).map(AsRef::as_ref);
        let param = |i: usize| self.schema.fields.get(i).and_then(|f| params.get(&f.name));
        if record_type.hiding.applies(&values).is_some() || record_type.lapsed(&values, now) {
            return Ok(None);
        }
        let only = self.step(step).map(|step| step.only_when.as_slice()).unwrap_or_default();
        if !only.is_empty() && !only.iter().any(|condition| condition.holds(&values)) {
            return Ok(None);
        }
        if let Some(window) = &self.rules.window {
            let at = |text: Option<&str>| text.and_then(instant_of);
            let inside = match (at(one(window.field)), at(param(window.from)), at(param(window.until))) {
                (Some(at), Some(from), Some(until)) => from <= at && at <= until,
                _ => false,
            };
            if !inside {
                return Ok(None);
            }
        }
        let fails = |(field, i, differs): &(usize, usize, bool)| {
            param(*i).is_some_and(|given| (one(*field) == Some(given)) == *differs)
        };
        let foreign = |field: usize| one(field).is_none_or(|named| named != asker.as_str());
        if self.rules.filters.iter().any(fails) || self.rules.asker.is_some_and(foreign) {
            return Ok(None);
        }
        if let Some((field, i, days)) = self.rules.near {
            let apart = one(field).and_then(day_number).zip(param(i).and_then(day_number)).map(|(a, b)| (a - b).abs());
            if apart.is_none_or(|apart| apart > days) {
                return Ok(None);
            }
        }
        let own = record_type.match_keys_of(&Record::decode(record_type, bytes)?)?;
        let key = keys.iter().find(|key| own.binary_search(key).is_ok()).map(|key| key.name.clone());
        let pending = self.rules.pending.as_ref().filter(|(condition, _)| condition.holds(&values));
        let listed = |i: usize| values.get(i).into_iter().flatten().map(|v| v.as_ref().to_owned()).collect();
        Ok(Some(Match { key, pending: pending.map(|(_, fields)| listed(*fields)) }))
    }
}

impl RecordType {
    /// How many days records of this type are kept at most, if the catalogue says so.
    pub fn kept_days_max(&self) -> Option<u64> {
        self.kept.as_ref().map(|kept| kept.days_max.unsigned_abs())
    }

    /// When records of this type have to be erased, as a text that is another one whenever that changes; none where
    /// nothing says so.
    pub fn erased_when(&self) -> Option<String> {
        let name = |i: usize| self.schema.fields.get(i).map(|f| f.name.as_str()).unwrap_or_default();
        let ends = self.erased_at_end.then(|| self.expires.map(|i| name(i).to_owned())).flatten();
        let kept = self.kept.as_ref().map(|kept| {
            let unless = kept.longer_when.iter().map(|c| match c.below {
                None => format!("!{}={}", name(c.field), c.value),
                Some(bound) => format!("!{}<{bound}", name(c.field)),
            });
            format!("{}+{}d{}", name(kept.from), kept.days_max, unless.collect::<String>())
        });
        let rules: Vec<String> = ends.into_iter().chain(kept).collect();
        (!rules.is_empty()).then(|| rules.join(","))
    }

    /// From when on a record is not only not found: it has to be erased, since it was kept as long as its type may be, or
    /// as long as it says itself. None where nothing says so, and of a record without a readable beginning or end: what is
    /// erased cannot be brought back.
    ///
    /// # Errors
    /// Bytes that are no record of the type.
    pub fn due_at(&self, bytes: &[u8]) -> Result<Option<Millis>, DecodeError> {
        let values = self.values(bytes)?;
        let own = self.expires.filter(|_| self.erased_at_end).and_then(|i| ended_at(one(&values, i)?, 0));
        Ok(own.into_iter().chain(self.outstays_at(&values)).min())
    }

    /// When it will have been kept for as long as records of its type may be; none for ever, or if that cannot be told.
    fn outstays_at<S: AsRef<str>>(&self, values: &[Vec<S>]) -> Option<Millis> {
        let kept = self.kept.as_ref().filter(|kept| !kept.longer_when.iter().any(|c| c.holds(values)))?;
        // The last instant of its time is still within it.
        let from = one(values, kept.from)?;
        let over = ended_at(from, kept.days_max.unsigned_abs())?;
        Some(if instant_of(from).is_some() { over.plus(1) } else { over })
    }

    /// Whether the record's own end has passed, or that of all records of its type.
    fn lapsed<S: AsRef<str>>(&self, values: &[Vec<S>], now: Millis) -> bool {
        let over = |end: Option<Millis>| end.is_none_or(|end| end <= now);
        let limited = self.kept.as_ref().is_some_and(|k| !k.longer_when.iter().any(|c| c.holds(values)));
        // What cannot be told is not found.
        (limited && over(self.outstays_at(values)))
            || self.expires.and_then(|i| one(values, i)).is_some_and(|end| over(ended_at(end, 0)))
    }
}

fn one<S: AsRef<str>>(values: &[Vec<S>], field: usize) -> Option<&str> {
    values.get(field).and_then(|v| v.first()).map(AsRef::as_ref)
}

/// So many days after an instant, or after the end of a day; none if the text is neither.
fn ended_at(from: &str, days: u64) -> Option<Millis> {
    let days = days.saturating_mul(DAY);
    match instant_of(from) {
        Some(at) => Some(at.plus(days)),
        // A date: it stands to the end of that day.
        None => Some(Millis(u64::try_from((day_number(from)? + 1).max(0)).ok()?.saturating_mul(DAY)).plus(days)),
    }
}
