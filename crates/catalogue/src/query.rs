use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use puente_model::{Lang, QueryKind, Step};

use crate::keys::{KeySpec, MatchKey, Side};
use crate::labels::Labels;
use crate::mask::FieldMask;
use crate::parse::{OVERRIDE_SUFFIX, Override};
use crate::problem::{Finding, Problem};
use crate::rules::QueryRules;
use crate::schema::{Condition, Field, Schema};

/// One step of a query kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StepSpec {
    /// The step.
    pub step: Step,
    /// Fields released by default; the holder's policy decides.
    pub default_mask: FieldMask,
    /// At this step only records for which one of these holds are found; all, if there are none.
    pub(crate) only_when: Vec<Condition>,
}

/// A key that a query kind looks up.
#[derive(Debug, Clone)]
pub(crate) struct LookupSpec {
    pub(crate) key: KeySpec,
    /// For each field of the key, the parameter that means it.
    pub(crate) params: Vec<usize>,
    pub(crate) unless_given: Option<usize>,
}

/// A kind of question, read from a message of the descriptors.
#[derive(Debug, Clone)]
pub struct QueryKindSpec {
    pub(crate) kind: QueryKind,
    pub(crate) number: String,
    pub(crate) labels: Labels,
    pub(crate) record_type: Arc<str>,
    pub(crate) schema: Schema,
    pub(crate) lookups: Vec<LookupSpec>,
    pub(crate) steps: Vec<StepSpec>,
    pub(crate) rules: QueryRules,
}

/// The parameters of one question, in their only form: pairs of name and normal
/// value, names strictly increasing, override reasons as `<name>.override`.
/// They are the question's subject: `Debug` shows names only.
#[derive(Clone, PartialEq, Eq)]
pub struct Params {
    pairs: Vec<(String, String)>,
    warnings: Vec<Finding>,
    overrides: Vec<Override>,
}

impl Params {
    /// The pairs, names strictly increasing: what travels and is committed.
    pub fn pairs(&self) -> &[(String, String)] {
        &self.pairs
    }

    /// The normal value of a parameter.
    pub fn get(&self, name: &str) -> Option<&str> {
        let i = self.pairs.binary_search_by(|(n, _)| n.as_str().cmp(name)).ok()?;
        self.pairs.get(i).map(|(_, value)| value.as_str())
    }

    /// Doubts that do not reject.
    pub fn warnings(&self) -> &[Finding] {
        &self.warnings
    }

    /// Values that a check rejected and the officer accepted with a reason.
    pub fn overrides(&self) -> &[Override] {
        &self.overrides
    }
}

impl fmt::Debug for Params {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Params")?;
        f.debug_set().entries(self.pairs.iter().map(|(name, _)| name)).finish()
    }
}

impl QueryKindSpec {
    /// The kind, for example `vehicle.status`.
    pub const fn kind(&self) -> &QueryKind {
        &self.kind
    }

    /// Number in the catalogue of queries, for example `Q5`; may be empty.
    pub fn number(&self) -> &str {
        &self.number
    }

    /// Label for people.
    pub const fn labels(&self) -> &Labels {
        &self.labels
    }

    /// Name of the record type that answers it.
    pub fn record_type(&self) -> &str {
        &self.record_type
    }

    /// The parameters, ascending by number.
    pub fn params(&self) -> &[Field] {
        &self.schema.fields
    }

    /// The keys it looks up, in order.
    pub fn keys(&self) -> impl Iterator<Item = &KeySpec> {
        self.lookups.iter().map(|l| &l.key)
    }

    /// The steps it has, ascending.
    pub fn steps(&self) -> &[StepSpec] {
        &self.steps
    }

    /// One of its steps.
    pub fn step(&self, step: Step) -> Option<&StepSpec> {
        self.steps.iter().find(|s| s.step == step)
    }

    /// Reads the parameters as a person gave them: name → text. Names may be
    /// field names, NCIC codes or labels; `<name>.override` accepts a failing
    /// check digit with a reason.
    pub fn parse_params(&self, given: &BTreeMap<String, String>) -> Result<Params, Vec<Finding>> {
        let parsed = self.schema.parse(given.iter().map(|(name, text)| (name.as_str(), text.as_str())))?;
        // A state instead of a value ("obliterated") is nothing that could be matched.
        if let Some((i, state)) = parsed.loose_states.iter().find(|(i, _)| parsed.values[*i].is_empty()) {
            let name = self.schema.fields.get(*i).map_or("", |f| f.name.as_str());
            return Err(vec![Finding::new(name, Problem::NothingToMatch, *state)]);
        }
        if let Some((i, problem, detail)) = self.rules.window.as_ref().and_then(|w| w.check(&parsed.values)) {
            let name = self.schema.fields.get(i).map_or("", |f| f.name.as_str());
            return Err(vec![Finding::new(name, problem, detail)]);
        }
        let mut pairs = Vec::new();
        for (field, values) in self.schema.fields.iter().zip(&parsed.values) {
            if !values.is_empty() {
                pairs.push((field.name.clone(), values.join("|")));
            }
        }
        for o in &parsed.overrides {
            pairs.push((format!("{}{OVERRIDE_SUFFIX}", o.field), o.reason.clone()));
        }
        pairs.sort_unstable();
        let params = Params { pairs, warnings: parsed.warnings, overrides: parsed.overrides };
        if !self.rules.directed && self.lookup_keys(&params).is_empty() {
            let key = self.lookups.first().map(|l| l.key.fields().join(" + ")).unwrap_or_default();
            let column = self.schema.fields.first().map_or("", |f| f.name.as_str());
            return Err(vec![Finding::new(column, Problem::NothingToMatch, key)]);
        }
        Ok(params)
    }

    /// Checks parameters that a peer sent: every value valid and already
    /// normal, names strictly increasing, nothing else.
    pub fn params_from_pairs(&self, pairs: &[(String, String)]) -> Result<Params, Vec<Finding>> {
        let refuse = |name: &str| vec![Finding::new(name, Problem::NotNormalised, "")];
        // Each parameter can have an override beside it.
        if pairs.len() > 2 * self.schema.fields.len() {
            return Err(refuse(""));
        }
        if let Some(pair) = pairs.windows(2).find(|w| w[0].0 >= w[1].0) {
            return Err(refuse(&pair[1].0));
        }
        let params = self.parse_params(&pairs.iter().cloned().collect())?;
        match params.pairs.iter().zip(pairs).find(|(ours, theirs)| ours != theirs) {
            Some((_, theirs)) => Err(refuse(&theirs.0)),
            None if params.pairs.len() != pairs.len() => Err(refuse("")),
            None => Ok(params),
        }
    }

    /// The keys to look up, in order of the definition, each once.
    pub fn lookup_keys(&self, params: &Params) -> Vec<MatchKey> {
        let value = |i: usize| self.schema.fields.get(i).and_then(|f| params.get(&f.name)).unwrap_or_default();
        let days = self.rules.window.as_ref().map(|w| w.days(|i| Some(value(i).to_owned()))).unwrap_or_default();
        let days: Vec<&str> = days.iter().map(String::as_str).collect();
        let mut out = Vec::new();
        for lookup in &self.lookups {
            if lookup.unless_given.is_some_and(|i| !value(i).is_empty()) {
                continue;
            }
            let values: Vec<&str> = lookup.params.iter().map(|i| value(*i)).collect();
            lookup.key.make(Side::Question, &values, &days, &mut out);
        }
        let mut seen = std::collections::BTreeSet::new();
        out.retain(|key| seen.insert(key.clone()));
        out
    }

    /// The parameters as label and value, for people.
    pub fn rows(&self, params: &Params, lang: Lang) -> Vec<(String, String)> {
        let fields = self.schema.fields.iter();
        fields
            .filter_map(|f| params.get(&f.name).map(|value| (f.labels.get(lang).to_owned(), f.display(value, lang))))
            .collect()
    }
}
