//! From descriptors to query kinds.

use std::collections::HashMap;

use prost_reflect::MessageDescriptor;
use puente_model::{QueryKind, Step};

use crate::build::{
    Build, Flaw, LABEL_MEND, conditions, labelled, message_flaw, names_to_mask, no_condition, no_field, snake_case,
};
use crate::options::Mark;
use crate::query::{LookupSpec, QueryKindSpec, StepSpec};
use crate::record::RecordType;
use crate::rules::{QueryRules, Window};
use crate::schema::Schema;
use crate::validate::Validator;

impl Build<'_> {
    pub(crate) fn query_kind(&mut self, message: &MessageDescriptor, mark: &Mark) -> Result<QueryKindSpec, Flaw> {
        let kind: QueryKind =
            mark.text("kind").parse().map_err(|e| message_flaw(message, format!("{e}"), "name it"))?;
        if self.query_kinds.iter().any(|k| k.kind == kind) {
            return Err(message_flaw(message, format!("two query kinds are called {kind}"), "rename one"));
        }
        let labels = labelled(mark.labels("label")).map_err(|what| message_flaw(message, what, LABEL_MEND))?;
        let name = mark.text("record_type");
        let Some(record) = self.record_types.iter().find(|t| *t.name == *name).cloned() else {
            return Err(message_flaw(message, format!("there is no record type '{name}'"), "name one"));
        };
        let root = snake_case(message.name());
        let schema = self.schema(message, &root, Some(&record))?;
        // Which parameter means which field of the record.
        let means: HashMap<String, usize> = message
            .fields()
            .filter_map(|at| {
                let of = Mark::of(&at.options(), &self.extensions.field)?.some_text("of")?;
                Some((of, schema.index_of_name(at.name())?))
            })
            .collect();
        let mut lookups = Vec::new();
        for lookup in mark.marks("lookups") {
            let key = lookup.text("key");
            let Some(key) = record.keys.iter().find(|k| *k.name == *key) else {
                return Err(message_flaw(message, format!("{name} has no match key '{key}'"), "name one that it has"));
            };
            let param = |field: &String| {
                let mend = format!("add a parameter with of: \"{field}\"");
                means.get(field).copied().ok_or_else(|| {
                    message_flaw(
                        message,
                        format!("key {} needs field '{field}', which no parameter means", key.name),
                        mend,
                    )
                })
            };
            let named = lookup.texts("params");
            let params: Vec<usize> = if named.is_empty() {
                key.field_names.iter().map(param).collect::<Result<_, _>>()?
            } else {
                let find = |name: &String| schema.index_of_name(name).ok_or_else(|| no_field(message, name, &schema));
                named.iter().map(find).collect::<Result<_, _>>()?
            };
            if params.len() != key.fields.len() {
                let what = format!("key {} has {} fields", key.name, key.fields.len());
                return Err(message_flaw(message, what, "name as many params"));
            }
            let unless_given = match lookup.some_text("unless_given") {
                None => None,
                Some(name) => Some(schema.index_of_name(&name).ok_or_else(|| no_field(message, &name, &schema))?),
            };
            lookups.push(LookupSpec { key: key.clone(), params, unless_given });
        }
        let rules = self.query_rules(message, mark, &record, &schema)?;
        if lookups.is_empty() && !rules.directed {
            return Err(message_flaw(message, "the query kind looks nothing up", "add lookups"));
        }
        if rules.window.is_none() && lookups.iter().any(|l| l.key.day_of.is_some()) {
            return Err(message_flaw(message, "a key with a day needs a window", "add window: { … }"));
        }
        let steps = steps(message, mark, &record)?;
        let number = mark.text("number");
        Ok(QueryKindSpec { kind, number, labels, record_type: record.name.clone(), schema, lookups, steps, rules })
    }

    fn query_rules(
        &self,
        message: &MessageDescriptor,
        mark: &Mark,
        record: &RecordType,
        schema: &Schema,
    ) -> Result<QueryRules, Flaw> {
        let of_record =
            |name: String| record.schema.index_of_name(&name).ok_or_else(|| no_field(message, &name, &record.schema));
        let param = |name: String| schema.index_of_name(&name).ok_or_else(|| no_field(message, &name, schema));
        let time = [Validator::DateTime];
        let missing = || message_flaw(message, "a window, filter or date is not complete", "give every part of it");
        let mut rules = QueryRules { directed: mark.flag("directed"), ..QueryRules::default() };
        rules.duplicate = mark.number("found") == 1;
        if let Some(window) = mark.mark("window") {
            let hours_max = u64::try_from(window.number("hours_max")).ok().filter(|h| (1..=8_784).contains(h));
            rules.window = Some(Window {
                field: self.dated(message, &record.schema, window.some_text("field"), &time)?.ok_or_else(missing)?,
                from: self.dated(message, schema, window.some_text("from"), &time)?.ok_or_else(missing)?,
                until: self.dated(message, schema, window.some_text("until"), &time)?.ok_or_else(missing)?,
                hours_max: hours_max.ok_or_else(missing)?,
            });
        }
        for filter in mark.marks("filters") {
            let (field, param) = (of_record(filter.text("field"))?, param(filter.text("param"))?);
            rules.filters.push((field, param, filter.flag("differs")));
        }
        if let Some(near) = mark.mark("near") {
            let date = [Validator::Date, Validator::DateTime];
            let field = self.dated(message, &record.schema, near.some_text("field"), &date)?.ok_or_else(missing)?;
            let param = self.dated(message, schema, near.some_text("param"), &date)?.ok_or_else(missing)?;
            rules.near = Some((field, param, near.number("days")));
        }
        if let Some(pending) = mark.mark("pending") {
            let when =
                conditions(&record.schema, &[pending.text("when")]).map_err(|text| no_condition(message, &text))?;
            let when = when.into_iter().next().ok_or_else(missing)?;
            rules.pending = Some((when, of_record(pending.text("fields"))?));
        }
        if let Some(text) = mark.some_text("final_when") {
            let ends = conditions(&record.schema, &[text]).map_err(|text| no_condition(message, &text))?;
            rules.ends = ends.into_iter().next();
        }
        rules.matter = mark.some_text("matter_param").map(param).transpose()?;
        rules.order = mark.some_text("order_param").map(param).transpose()?;
        rules.asker = mark.some_text("asker_field").map(of_record).transpose()?;
        Ok(rules)
    }
}

fn steps(message: &MessageDescriptor, mark: &Mark, record: &RecordType) -> Result<Vec<StepSpec>, Flaw> {
    let mut steps: Vec<StepSpec> = Vec::new();
    for spec in mark.marks("steps") {
        let step = u32::try_from(spec.number("step")).ok().and_then(Step::from_code);
        let step = step.filter(|step| steps.last().is_none_or(|last| last.step < *step));
        let Some(step) = step else {
            return Err(message_flaw(message, "the steps are not in order", "number them 1, 2, 3, ascending"));
        };
        let names = spec.texts("fields");
        let default_mask = if names.is_empty() {
            record.default_mask(step)
        } else {
            names_to_mask(&record.schema, &names).map_err(|name| no_field(message, &name, &record.schema))?
        };
        let only_when =
            conditions(&record.schema, &spec.texts("only_when")).map_err(|text| no_condition(message, &text))?;
        steps.push(StepSpec { step, default_mask, only_when });
    }
    if steps.is_empty() {
        return Err(message_flaw(message, "the query kind has no steps", "add steps: { step: 1 }"));
    }
    Ok(steps)
}
