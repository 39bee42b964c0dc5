//! One record type or kind of question, for people and programs.

use puente_catalogue::{Catalogue, Field, FieldKind, QueryKindSpec, RecordType};
use puente_model::Lang;
use puente_words::text;
use serde_json::{Value, json};

use super::super::output::{Report, wrap};
use super::both;

/// What a field takes: its codes' list, its number, or the form that its text has.
fn form(field: &Field) -> &str {
    match (&field.codes, field.kind) {
        (Some(list), _) => list.name().rsplit('.').next().unwrap_or_default(),
        (None, FieldKind::Bool) => "bool",
        (None, FieldKind::Unsigned | FieldKind::Signed) => "integer",
        (None, _) => field.validator.name(),
    }
}

fn described(field: &Field) -> Value {
    let codes = field.codes.iter().flat_map(|list| list.codes());
    let codes: Vec<Value> = codes.map(|c| json!({"code": c.text, "label": both(&c.labels)})).collect();
    json!({
        "name": field.name,
        "number": field.number,
        "label": both(&field.labels),
        "note": both(&field.notes),
        "form": form(field),
        "required": field.required,
        "repeated": field.repeated,
        "class": field.class().as_str(),
        "identifying": field.marks.identifying,
        "sensitive": field.marks.sensitive,
        "source_revealing": field.marks.source_revealing,
        "codes": codes,
        "codes_open": field.codes_open,
        "unit": field.unit,
        "niem": field.niem,
        "ncic": field.ncic,
    })
}

/// Words of the class that a field's marks give it.
fn class(lang: Lang, field: &Field) -> &'static str {
    match field.class().as_str() {
        "identifying" => text(lang, "identifying"),
        "sensitive" => text(lang, "sensitive"),
        "source-revealing" => text(lang, "source-revealing"),
        _ => "",
    }
}

/// One field in two lines or three: what it is called, what it takes, which codes.
fn lines(lang: Lang, field: &Field) -> String {
    let mut marks = vec![form(field)];
    if field.required {
        marks.push(text(lang, "required"));
    }
    if field.repeated {
        marks.push(text(lang, "several, separated by |"));
    }
    marks.push(class(lang, field));
    marks.retain(|mark| !mark.is_empty());
    let mut out = format!("  {:<26} {}\n{:29}{}\n", field.name, field.labels.get(lang), "", marks.join("; "));
    let codes = field.codes.iter().flat_map(|list| list.codes());
    let codes: Vec<String> = codes.map(|c| format!("{} = {}", c.text, c.labels.get(lang))).collect();
    // A long list is for programs: --json and the schema hold it all.
    let shown = if codes.len() > 12 { String::new() } else { codes.join("; ") };
    for text in [field.notes.get(lang), &shown] {
        if !text.is_empty() {
            wrap(text, 50).iter().for_each(|line| out.push_str(&format!("{:29}{line}\n", "")));
        }
    }
    out
}

fn heading(out: &mut String, words: &str) {
    out.push_str(&format!("\n{words}\n"));
}

pub(super) fn record_type(lang: Lang, catalogue: &Catalogue, shown: &RecordType) -> Report {
    let mut out = format!("{}: {}\n", shown.name(), shown.labels().get(lang));
    let retention = shown.retention().get(lang);
    if !retention.is_empty() {
        let kept = text(lang, "kept by default");
        out.push_str(&format!("{kept}: {retention}\n"));
    }
    heading(&mut out, text(lang, "fields"));
    shown.fields().iter().for_each(|field| out.push_str(&lines(lang, field)));
    heading(&mut out, text(lang, "keys under which it is found"));
    for key in shown.match_keys() {
        out.push_str(&format!("  {} ({})\n", key.name(), key.form().as_str()));
        wrap(&key.fields().join(" + "), 70).iter().for_each(|line| out.push_str(&format!("      {line}\n")));
    }
    heading(&mut out, text(lang, "released by default at step 2"));
    let released = shown.names_of(shown.default_mask(puente_model::Step::CoreData));
    wrap(&released.join(", "), 76).iter().for_each(|line| out.push_str(&format!("  {line}\n")));
    let kinds = catalogue.query_kinds().iter().filter(|k| k.record_type() == shown.name());
    let kinds: Vec<&str> = kinds.map(|k| k.kind().as_str()).collect();
    if !kinds.is_empty() {
        heading(&mut out, text(lang, "answers"));
        out.push_str(&format!("  {}\n", kinds.join(", ")));
    }
    let keys = shown.match_keys().iter();
    let keys = keys
        .map(|k| json!({"name": k.name(), "fields": k.fields(), "form": k.form().as_str(), "decisive": k.decisive()}));
    let json = json!({
        "type": shown.name(),
        "label": both(shown.labels()),
        "retention": both(shown.retention()),
        "niem": shown.niem(),
        "fields": shown.fields().iter().map(described).collect::<Vec<_>>(),
        "keys": keys.collect::<Vec<_>>(),
        "step2_fields": released,
        "kinds": kinds,
    });
    Report::new(json, out)
}

pub(super) fn kind(lang: Lang, shown: &QueryKindSpec, answers: &RecordType) -> Report {
    let mut out = format!("{} {}: {}\n", shown.kind(), shown.number(), shown.labels().get(lang));
    let by = text(lang, "answered by");
    out.push_str(&format!("{by}: {} ({})\n", answers.name(), answers.labels().get(lang)));
    if let Some((from, until, hours)) = shown.window() {
        out.push_str(&format!("{from} … {until}: {hours} h\n"));
    }
    heading(&mut out, text(lang, "parameters"));
    shown.params().iter().for_each(|field| out.push_str(&lines(lang, field)));
    heading(&mut out, text(lang, "keys that it looks up, in order"));
    let keys: Vec<&str> = shown.keys().map(|k| k.name()).collect();
    keys.iter().for_each(|key| out.push_str(&format!("  {key}\n")));
    let mut steps = Vec::new();
    for step in shown.steps() {
        let fields = answers.names_of(step.default_mask);
        let word = text(lang, "step");
        heading(&mut out, &format!("{word} {}", step.step.as_str()));
        let fields_shown = match fields.is_empty() {
            true => text(lang, "hit or no hit, no field").to_owned(),
            false => fields.join(", "),
        };
        wrap(&fields_shown, 76).iter().for_each(|line| out.push_str(&format!("  {line}\n")));
        steps.push(json!({"step": step.step.code(), "fields": fields}));
    }
    let window = shown.window().map(|(from, until, hours)| json!({"from": from, "until": until, "hours_max": hours}));
    let json = json!({
        "kind": shown.kind().as_str(),
        "number": shown.number(),
        "label": both(shown.labels()),
        "type": answers.name(),
        "params": shown.params().iter().map(described).collect::<Vec<_>>(),
        "keys": keys,
        "steps": steps,
        "window": window,
        "directed": shown.is_directed(),
    });
    Report::new(json, out)
}
