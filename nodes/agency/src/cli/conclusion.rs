//! What came of a question, for people and for programs.

use puente_catalogue::{Lang, QueryKindSpec, RecordType};
use puente_evidence::tree::TRAINING_PATH;
use puente_model::{NodeUri, Outcome, RefusalReason};
use serde_json::{Value, json};

use super::output::{Exit, Failure, Report, table};
use super::words::{self, Text};
use super::{client, outbox};
use crate::control_api::{Concluded, DisclosedField, Explained};
use crate::load::Bearings;

/// What a conclusion is about: who was asked, and what.
pub(crate) struct About<'a> {
    pub(crate) kind: &'a QueryKindSpec,
    pub(crate) to: &'a NodeUri,
    /// About invented records.
    pub(crate) training: bool,
}

/// The leaf that names the key under which a record was found.
const MATCH_KEY: &str = "match_key";

type Rows = Vec<(String, String)>;

/// The report of a conclusion; one of training says so.
pub(crate) fn report(
    lang: Lang,
    bearings: &Bearings,
    about: &About<'_>,
    concluded: &Concluded,
) -> Result<Report, Failure> {
    let said = report_of(lang, bearings, about, concluded);
    match about.training {
        true => said.map(Report::in_training).map_err(Failure::in_training),
        false => said,
    }
}

fn report_of(lang: Lang, bearings: &Bearings, about: &About<'_>, concluded: &Concluded) -> Result<Report, Failure> {
    let value = with_labels(concluded, bearings, about, lang);
    let row = |text: Text, value: &str| (text.get(lang).to_owned(), value.to_owned());
    let mut rows = vec![
        row(Text::Asked, &format!("{} ({})", about.kind.labels().get(lang), about.kind.kind())),
        row(Text::To, &name_of(bearings, about.to, lang)),
    ];
    Ok(match concluded {
        Concluded::Answered { outcome, handling, fields, obligations, explanation, answer_leaf, exchange, .. } => {
            let meaning = outcome.parse::<Outcome>().ok();
            let words = meaning.map_or(outcome.clone(), |o| format!("{} ({o})", words::outcome(o, lang)));
            rows.push(row(Text::OutcomeLabel, &words));
            rows.push(row(Text::Handling, handling));
            if !obligations.is_empty() {
                rows.push(row(Text::Obligations, &obligations.join(", ")));
            }
            if let Some(explained) = explanation {
                // Of a hit the fields are the keys that found it.
                let owed = matches!(meaning, Some(Outcome::NeedsData));
                explain(&mut rows, explained, if owed { Text::Fields } else { Text::FoundBy }, lang);
            }
            rows.push(row(Text::Exchange, exchange));
            rows.push(row(Text::AnswerLeaf, answer_leaf));
            let record_type = bearings.catalogue.record_type(about.kind.record_type());
            let text = format!("{}{}", table(&rows), disclosed(fields, record_type, lang));
            let report = Report::new(value, text);
            let hit = matches!(meaning, Some(Outcome::HitUnconfirmed));
            if hit { report.hint(Text::ConfirmHint.get(lang)) } else { report }
        }
        Concluded::Refused { exchange, reason, explanation } => {
            let by = if exchange.is_some() { Text::RefusedByHolder } else { Text::RefusedHere };
            rows.push(row(Text::OutcomeLabel, by.get(lang)));
            let words = reason.parse::<RefusalReason>().ok();
            let words = words.map_or(reason.clone(), |r| format!("{} ({r})", words::reason(r, lang)));
            rows.push(row(Text::Reason, &words));
            explain(&mut rows, explanation, Text::Fields, lang);
            if let Some(exchange) = exchange {
                rows.push(row(Text::Exchange, exchange));
            }
            Report::new(value, table(&rows)).exit(Exit::Findings).hint(Text::ExplainHint.get(lang))
        }
        Concluded::Invalid { errors } => {
            let lines: Vec<String> =
                errors.iter().map(|e| format!("  {}: {}; {}", e.column, e.message, e.mend)).collect();
            let message = format!("{}\n{}", Text::Malformed.get(lang), lines.join("\n"));
            return Err(Failure::usage("malformed", message).details(json!(errors)));
        }
        Concluded::TimedOut { exchange } => {
            let failure = Failure::unreachable("timed-out", Text::TimedOut.get(lang)).hint(Text::AskAgain.get(lang));
            return Err(failure.details(json!({"exchange": exchange})));
        }
        Concluded::Unreleased { exchange } => {
            let failure = Failure::unreachable("unreleased", Text::Unreleased.get(lang)).hint(Text::AskAgain.get(lang));
            return Err(failure.details(json!({"exchange": exchange})));
        }
        Concluded::Disputed { exchange } => {
            let failure = Failure::findings("disputed", Text::Disputed.get(lang)).hint(Text::TellAuditors.get(lang));
            return Err(failure.details(json!({"exchange": exchange})));
        }
        Concluded::Faulted { exchange, code, mend } => {
            let message = format!("{}: {code}", Text::NotProcessed.get(lang));
            let failure = Failure::unreachable("not-processed", message).hint(mend.clone());
            return Err(failure.details(json!({"exchange": exchange, "fault": code})));
        }
        Concluded::LogUnavailable => {
            return Err(
                Failure::unavailable("log-unavailable", Text::LogUnavailable.get(lang)).hint(Text::FreeSpace.get(lang))
            );
        }
        Concluded::Asked { exchange } => {
            rows.push(row(Text::Exchange, exchange));
            Report::new(value, table(&rows)).hint(outbox::goes_on(exchange, lang))
        }
        Concluded::Withdrawn { exchange } => {
            rows.push(row(Text::Exchange, exchange));
            rows.push(row(Text::OutcomeLabel, outbox::Text::Cancelled.get(lang)));
            Report::new(value, table(&rows))
        }
        Concluded::Ended { exchange } => {
            rows.push(row(Text::Exchange, exchange));
            Report::new(value, table(&rows)).hint(outbox::ended(exchange, lang))
        }
        Concluded::Unknown { exchange } => return Err(outbox::unknown(exchange, lang)),
        Concluded::AlreadyConfirmed { exchange, next } => {
            return Err(outbox::already_confirmed(exchange, next.as_deref()));
        }
        Concluded::LogSuspended => return Err(client::log_suspended()),
        Concluded::Inspected(_)
        | Concluded::Decided { .. }
        | Concluded::NotWaiting { .. }
        | Concluded::NotYours { .. }
        | Concluded::Recorded { .. }
        | Concluded::Tried { .. }
        | Concluded::Wanted { .. }
        | Concluded::Alerted { .. }
        | Concluded::GroupAsked { .. }
        | Concluded::UnknownAlert { .. }
        | Concluded::PeriodsClosed { .. }
        | Concluded::InForce { .. }
        | Concluded::NotAdopted { .. } => return Err(client::unexpected()),
    })
}

pub(super) fn name_of(bearings: &Bearings, to: &NodeUri, lang: Lang) -> String {
    let member = bearings.charter.member(to);
    let name = member.map(|m| if lang == Lang::Es { &m.name_es } else { &m.name_en });
    name.map_or_else(|| to.to_string(), |name| format!("{name} ({to})"))
}

fn explain(rows: &mut Rows, explained: &Explained, fields: Text, lang: Lang) {
    let mut push = |text: Text, value: &str| {
        if !value.is_empty() {
            rows.push((text.get(lang).to_owned(), printable(value)));
        }
    };
    push(Text::Rule, &explained.rule);
    push(Text::Explanation, if lang == Lang::Es { &explained.text_es } else { &explained.text_en });
    push(fields, &explained.fields.join(", "));
    push(Text::Appeal, if lang == Lang::Es { &explained.appeal_es } else { &explained.appeal_en });
}

/// `000/Vehicle/vin`, in training after its mark → record number and field name.
fn split(path: &str) -> (&str, &str) {
    let path = path.strip_prefix(TRAINING_PATH).unwrap_or(path);
    let (record, rest) = path.split_once('/').unwrap_or(("000", path));
    (record, rest.split('/').nth(1).unwrap_or(rest))
}

fn disclosed(fields: &[DisclosedField], record_type: Option<&RecordType>, lang: Lang) -> String {
    if fields.is_empty() {
        return format!("\n{}\n", Text::NoFields.get(lang));
    }
    let mut out = String::new();
    let mut current: Option<&str> = None;
    let mut rows: Rows = Vec::new();
    for field in fields {
        let (record, name) = split(&field.path);
        if current != Some(record) {
            out.push_str(&table(&rows));
            rows.clear();
            let number = record.parse::<u32>().map_or_else(|_| record.to_owned(), |n| (n + 1).to_string());
            let label = record_type.map_or("", |t| t.labels().get(lang));
            out.push_str(&format!("\n{} {number}: {label}\n", Text::Record.get(lang)));
            current = Some(record);
        }
        let known = record_type.and_then(|t| t.field(name));
        let other = if name == MATCH_KEY { Text::FoundBy.get(lang) } else { name };
        let label = known.map_or(other, |f| f.labels.get(lang)).to_owned();
        let value = known.map_or_else(|| field.value.clone(), |f| f.display(&field.value, lang));
        rows.push((format!("  {label}"), printable(&value)));
    }
    out.push_str(&table(&rows));
    out
}

/// A peer's text must not steer the terminal.
pub(super) fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() && c != '\n' { '\u{fffd}' } else { c }).collect()
}

fn with_labels(concluded: &Concluded, bearings: &Bearings, about: &About<'_>, lang: Lang) -> Value {
    let mut value = serde_json::to_value(concluded).unwrap_or(Value::Null);
    let record_type = bearings.catalogue.record_type(about.kind.record_type());
    if let Concluded::Answered { fields, .. } = concluded {
        let fields: Vec<Value> = fields
            .iter()
            .map(|field| {
                let (_, name) = split(&field.path);
                let label = record_type.and_then(|t| t.field(name)).map(|f| f.labels.get(lang));
                json!({"path": field.path, "value": field.value, "field": name, "label": label})
            })
            .collect();
        if let Some(object) = value.as_object_mut() {
            object.insert("fields".to_owned(), Value::Array(fields));
        }
    }
    value
}
