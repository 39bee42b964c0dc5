//! What a question tells whom: before it is asked, from the question itself.

use puente_catalogue::{FieldMask, QueryKindSpec, RecordType};
use puente_charter::OfficerRecord;
use puente_model::{Lang, NodeUri, Step};
use puente_policy::{Direction, PolicySet, Request, Verdict};
use puente_words::{say, text};
use serde_json::{Value, json};

use super::Context;
use super::conclusion::printable;
use super::output::{table, wrap};
use crate::control_api::Question;

/// A question on its way out: every part of it, by who comes to know it.
pub(super) struct Going<'a> {
    pub(super) question: &'a Question,
    pub(super) officer: &'a OfficerRecord,
    /// Who asks.
    pub(super) from: &'a NodeUri,
}

/// What both logs hold as a hash or a commitment only: its stable name, and what it stands for.
const HASHED: [(&str, &str); 4] = [
    ("question", "the sealed part of the question, salted"),
    ("escrow", "the same, sealed to an auditor of each side, so that neither opens it alone"),
    ("policies", "the rules in force, of which the other side learns no word"),
    ("charter", "the version of the charter, as numbers"),
];

/// What never leaves.
const STAYS: [(&str, &str); 3] = [
    ("records", "this agency's own records"),
    ("rules", "the rules themselves, and which of them decided"),
    ("keys", "private keys, that which opens the answer included"),
];

impl Going<'_> {
    /// Both are of one nation: the logs hold the terms under a veil.
    pub(super) fn is_domestic(&self) -> bool {
        self.from.jurisdiction() == self.question.to.jurisdiction()
    }

    fn mode(&self) -> &'static str {
        if self.question.training { "training" } else { "open" }
    }

    /// The human form: a heading and a table for each.
    pub(super) fn text(&self, context: &Context, other: &NodeUri) -> String {
        let (lang, question) = (context.lang, self.question);
        let due = context.now.plus(question.due_in_millis);
        let clear = [
            (text(lang, "purpose"), format!("{} ({})", question.purpose, question.basis)),
            (text(lang, "asked"), format!("{} {}", question.kind, question.step)),
            (text(lang, "to"), question.to.to_string()),
            (text(lang, "handling"), question.handling.to_string()),
            (text(lang, "mode"), self.mode().to_owned()),
            (text(lang, "due at"), context.clocks_with(Some(other.as_str())).instant(due)),
        ];
        let officer = self.officer;
        let params: Vec<String> = question.params.iter().map(|(name, value)| format!("{name} {value}")).collect();
        let sealed = [
            (text(lang, "case"), question.case_ref.clone()),
            (text(lang, "officer"), format!("{} {} ({})", officer.id, officer.name, officer.role.as_str())),
            (text(lang, "question"), params.join(", ")),
            (text(lang, "facts"), question.facts_statement.clone()),
            (text(lang, "offence"), question.offence.clone()),
            (text(lang, "urgent"), question.justification.clone()),
        ];
        let shown = |rows: &[(&str, String)]| {
            let rows = rows.iter().filter(|(_, value)| !value.is_empty());
            table(&rows.map(|(label, value)| (format!("  {label}"), printable(value))).collect::<Vec<_>>())
        };
        let heading = match self.is_domestic() {
            false => text(lang, "in the clear, in the logs of both agencies, for the auditors of both nations:"),
            true => text(lang, "under a veil in the logs of both agencies, for the auditors of this nation alone:"),
        };
        format!(
            "{}\n{}\n{}\n{}\n{}\n{}\n{}\n{}",
            lines(heading, 0),
            shown(&clear),
            lines(text(lang, "sealed in the logs, read by the agency that is asked:"), 0),
            shown(&sealed),
            lines(text(lang, "only as a hash or commitment:"), 0),
            listed(lang, &HASHED),
            lines(text(lang, "stays here:"), 0),
            listed(lang, &STAYS),
        )
    }

    /// The machine form.
    pub(super) fn to_json(&self, context: &Context) -> Value {
        let (question, officer) = (self.question, self.officer);
        let due = context.now.plus(question.due_in_millis);
        json!({
            "clear_to": if self.is_domestic() { "auditors-of-the-nation" } else { "auditors-of-both-nations" },
            "clear": {"purpose": question.purpose.as_str(), "basis": question.basis.to_string(),
                "kind": question.kind.to_string(), "step": question.step.as_str(), "to": question.to.as_str(),
                "handling": question.handling.as_str(), "mode": self.mode(), "due_at": due.to_string()},
            "sealed": {"case": question.case_ref, "params": question.params, "facts": question.facts_statement,
                "officer": {"id": officer.id.to_string(), "name": officer.name, "role": officer.role.as_str(),
                    "expires": officer.expires.to_string()},
                "offence": question.offence, "urgent": question.justification},
            "hashed": HASHED.map(|(name, _)| name),
            "stays": STAYS.map(|(name, _)| name),
        })
    }
}

/// Wrapped, each line behind so many blanks.
pub(super) fn lines(words: &str, indent: usize) -> String {
    let pad = " ".repeat(indent);
    wrap(words, 78 - indent).iter().map(|line| format!("{pad}{line}")).collect::<Vec<_>>().join("\n")
}

fn listed(lang: Lang, of: &[(&str, &'static str)]) -> String {
    of.iter().map(|(_, words)| format!("{}\n", lines(text(lang, words), 2))).collect()
}

/// What an answer would tell the asker at one step.
pub(super) struct Told<'a> {
    pub(super) step: Step,
    /// The grant of the own rules; none where the rules of the agency that is asked decide.
    verdict: Option<Verdict>,
    fields: Vec<&'a str>,
    masked: Vec<&'a str>,
}

/// The answer at every step of the kind: by the own rules where this agency is asked, else what the catalogue lets out by
/// default, for the rules of the other agency are its own.
pub(super) fn told<'a>(
    (kind, record_type): (&QueryKindSpec, &'a RecordType),
    (set, request): (&PolicySet, &Request),
    now: puente_model::Millis,
) -> Vec<Told<'a>> {
    let of = |spec: &puente_catalogue::StepSpec| {
        let later = spec.step != Step::HitNoHit;
        let (mask, verdict) = match request.direction {
            Direction::Outbound if later => (spec.default_mask, None),
            Direction::Outbound => (FieldMask::EMPTY, None),
            Direction::Inbound => {
                let stated = |before: bool| before || later;
                let request = Request {
                    step: spec.step,
                    facts_stated: stated(request.facts_stated),
                    suspicion_stated: stated(request.suspicion_stated),
                    ..request.clone()
                };
                let verdict = set.judge(&request, now);
                let mask = match &verdict {
                    Verdict::Permit(grant) => FieldMask::from_numbers(grant.field_numbers.iter().copied()),
                    Verdict::Refuse(_) => None,
                };
                (mask.unwrap_or(FieldMask::EMPTY), Some(verdict))
            }
        };
        let fields = record_type.names_of(mask);
        let all = record_type.names_of(record_type.all_fields());
        let masked = all.into_iter().filter(|name| !fields.contains(name)).collect();
        Told { step: spec.step, verdict, fields, masked }
    };
    kind.steps().iter().map(of).collect()
}

/// What every answer says in the clear.
const ALWAYS: &str = "outcome, a coarse count, the class of the fields and the handling code";

/// The human form of what an answer would tell.
pub(super) fn told_text(lang: Lang, told: &[Told<'_>]) -> String {
    let own = told.iter().any(|told| told.verdict.is_some());
    let heading = match own {
        true => text(lang, "what the answer would tell the asker, by the rules of this agency:"),
        false => text(lang, "what the answer may tell back, where the rules of the agency that is asked agree:"),
    };
    let mut out = format!("{}\n{}\n", lines(heading, 0), lines(text(lang, ALWAYS), 2));
    for told in told {
        let step = told.step.as_str();
        let english = match &told.verdict {
            Some(Verdict::Refuse(refusal)) => format!("step {step}: refused ({})", refusal.reason),
            _ if told.fields.is_empty() => format!("step {step}: hit or no hit, no field"),
            _ => format!("step {step}: {}", told.fields.join(", ")),
        };
        let said = say(lang, &english);
        out.push_str(&format!("{}\n", lines(&said, 2)));
        if matches!(&told.verdict, Some(Verdict::Permit(grant)) if grant.match_key) {
            out.push_str(&format!("{}\n", lines(text(lang, "the name of the key that matched"), 4)));
        }
        if !told.fields.is_empty() && !told.masked.is_empty() {
            let masked = told.masked.join(", ");
            out.push_str(&format!("{}\n", lines(&say(lang, &format!("masked: {masked}")), 4)));
        }
    }
    out
}

/// The machine form.
pub(super) fn told_json(told: &[Told<'_>]) -> Value {
    let steps: Vec<Value> = told
        .iter()
        .map(|told| {
            let grant = match &told.verdict {
                Some(Verdict::Permit(grant)) => Some(grant),
                _ => None,
            };
            json!({
                "step": told.step.as_str(),
                "permitted": told.verdict.as_ref().map(Verdict::is_permit),
                "fields": told.fields,
                "masked": told.masked,
                "match_key": grant.map(|grant| grant.match_key),
            })
        })
        .collect();
    let own = told.iter().any(|told| told.verdict.is_some());
    json!({
        "decided_by": if own { "own-rules" } else { "rules-of-the-asked" },
        "clear": ["outcome", "count", "field_class", "handling"],
        "steps": steps,
    })
}
