//! Why a verdict is what it is, and what would have to differ.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use puente_model::{Lang, Millis, Purpose, RefusalReason, Role, Urgency};
use puente_words::text;
use serde_json::{Value, json};

use crate::date;
use crate::request::Request;
use crate::set::{Outcome, PolicySet};
use crate::verdict::Verdict;

/// Alternatives that an explanation lists at most.
pub const ALTERNATIVES_MAX: usize = 40;

/// An attribute of a question that an explanation may vary.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Attribute {
    /// Why it is asked.
    Purpose,
    /// The legal basis.
    Basis,
    /// The officer's role.
    OfficerRole,
    /// The step.
    Step,
    /// The urgency.
    Urgency,
    /// Whether facts are stated.
    FactsStated,
    /// Whether the basis of suspicion is stated.
    SuspicionStated,
    /// Whether a case is named.
    CaseStated,
    /// Whether a court order is named.
    OrderStated,
    /// Whether the question belongs to an epoch of a group.
    Bound,
    /// A role of the asking agency, added.
    AgencyRole,
}

impl Attribute {
    /// Every attribute.
    pub const ALL: &'static [Self] = &[
        Self::Purpose,
        Self::Basis,
        Self::OfficerRole,
        Self::Step,
        Self::Urgency,
        Self::FactsStated,
        Self::SuspicionStated,
        Self::CaseStated,
        Self::OrderStated,
        Self::Bound,
        Self::AgencyRole,
    ];

    /// The stable text, as the Cedar schema names it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Purpose => "purpose",
            Self::Basis => "basis",
            Self::OfficerRole => "officer_role",
            Self::Step => "step",
            Self::Urgency => "urgency",
            Self::FactsStated => "facts_stated",
            Self::SuspicionStated => "suspicion_stated",
            Self::CaseStated => "case_stated",
            Self::OrderStated => "order_stated",
            Self::Bound => "bound",
            Self::AgencyRole => "agency_role",
        }
    }

    fn words(self, language: Lang) -> &'static str {
        let words = match self {
            Self::Purpose => "purpose",
            Self::Basis => "legal basis",
            Self::OfficerRole => "officer's role",
            Self::Step => "step",
            Self::Urgency => "urgency",
            Self::FactsStated => "statement of facts",
            Self::SuspicionStated => "basis of suspicion stated",
            Self::CaseStated => "case named",
            Self::OrderStated => "court order named",
            Self::Bound => "bound to a group's epoch",
            Self::AgencyRole => "agency's role",
        };
        text(language, words)
    }
}

/// One attribute that would have to differ.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Change {
    /// Which attribute.
    pub attribute: Attribute,
    /// Its value in the question; empty for a role that the agency lacks.
    pub from: String,
    /// The value that would turn the verdict.
    pub to: String,
}

/// Changes (one, or two where no single one suffices) that together turn the verdict.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Alternative {
    /// What would have to differ.
    pub changes: Vec<Change>,
    /// The rules that would then decide; empty if none would permit it.
    pub rules: Vec<String>,
}

/// Why a verdict is what it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Explanation {
    /// The verdict explained.
    pub verdict: Verdict,
    /// The rules that decided: every permit in force that matched, or every forbid; empty where none matched.
    pub deciding: Vec<String>,
    /// Permits that matched, but are no longer in force, with their expiry.
    pub expired: Vec<(String, Millis)>,
    /// Permits that a listed change would satisfy.
    pub near: Vec<String>,
    /// What would turn the verdict, at most [`ALTERNATIVES_MAX`].
    pub alternatives: Vec<Alternative>,
}

pub(crate) fn explain(set: &PolicySet, request: &Request, now: Millis) -> Explanation {
    let name = |i: &usize| set.rule(*i).id.clone();
    let verdict = set.judge(request, now);
    let (mut deciding, mut expired) = (Vec::new(), Vec::new());
    match set.outcome(request, now) {
        Outcome::Screened { .. } => {}
        Outcome::Failed { rule } => deciding.extend(rule.iter().map(name)),
        Outcome::Forbidden { rules } | Outcome::Granted { permits: rules, .. } => {
            deciding.extend(rules.iter().map(name))
        }
        Outcome::Ungranted { expired: rules } => {
            expired.extend(rules.iter().filter_map(|i| Some((name(i), set.rule(*i).expires()?))));
        }
    }
    let permitted = verdict.is_permit();
    let single = variants(set, request, Attribute::ALL);
    let mut alternatives = Vec::new();
    for (change, variant) in &single {
        if let Some(rules) = turned(set, variant, now, permitted) {
            alternatives.push(Alternative { changes: vec![change.clone()], rules });
        }
    }
    if alternatives.is_empty() && !permitted {
        alternatives = pairs(set, &single, now);
    }
    alternatives.truncate(ALTERNATIVES_MAX);
    let near: BTreeSet<String> =
        if permitted { BTreeSet::new() } else { alternatives.iter().flat_map(|a| a.rules.iter().cloned()).collect() };
    Explanation { verdict, deciding, expired, near: near.into_iter().collect(), alternatives }
}

fn pairs(set: &PolicySet, single: &[(Change, Request)], now: Millis) -> Vec<Alternative> {
    let mut out = Vec::new();
    for (first, variant) in single {
        for (second, both) in variants(set, variant, Attribute::ALL) {
            if second.attribute <= first.attribute {
                continue;
            }
            if let Some(rules) = turned(set, &both, now, false) {
                out.push(Alternative { changes: vec![first.clone(), second], rules });
                if out.len() == ALTERNATIVES_MAX {
                    return out;
                }
            }
        }
    }
    out
}

/// The rules that decide `variant` if its verdict differs from `permitted`.
fn turned(set: &PolicySet, variant: &Request, now: Millis, permitted: bool) -> Option<Vec<String>> {
    let rules = match set.outcome(variant, now) {
        Outcome::Granted { permits, .. } if !permitted => permits,
        Outcome::Forbidden { rules } if permitted => rules,
        Outcome::Screened { .. } | Outcome::Ungranted { .. } if permitted => Vec::new(),
        Outcome::Failed { rule } if permitted => rule.into_iter().collect(),
        _ => return None,
    };
    Some(rules.iter().map(|i| set.rule(*i).id.clone()).collect())
}

/// Every request that differs from this one in one of the attributes, over the known vocabulary.
fn variants(set: &PolicySet, request: &Request, attributes: &[Attribute]) -> Vec<(Change, Request)> {
    let mut out = Vec::new();
    let mut add = |attribute, from: &str, to: &str, edit: &dyn Fn(&mut Request)| {
        if from != to && attributes.contains(&attribute) {
            let mut variant = request.clone();
            edit(&mut variant);
            out.push((Change { attribute, from: from.to_owned(), to: to.to_owned() }, variant));
        }
    };
    for purpose in Purpose::ALL {
        add(Attribute::Purpose, request.purpose.as_str(), purpose.as_str(), &|r| r.purpose = *purpose);
    }
    for basis in &set.vocabulary().legal_bases {
        add(Attribute::Basis, request.basis.as_str(), basis.id.as_str(), &|r| r.basis = basis.id.clone());
    }
    for role in Role::ALL {
        add(Attribute::OfficerRole, request.officer_role.as_str(), role.as_str(), &|r| r.officer_role = *role);
    }
    for step in set.vocabulary().kind(&request.kind).map(|k| k.steps.as_slice()).unwrap_or_default() {
        add(Attribute::Step, request.step.as_str(), step.as_str(), &|r| r.step = *step);
    }
    for urgency in Urgency::ALL {
        add(Attribute::Urgency, request.urgency.as_str(), urgency.as_str(), &|r| r.urgency = *urgency);
    }
    let yes_no = |b: bool| if b { "yes" } else { "no" };
    let flag = |b: bool| (yes_no(b), yes_no(!b));
    let (from, to) = flag(request.facts_stated);
    add(Attribute::FactsStated, from, to, &|r| r.facts_stated = !r.facts_stated);
    let (from, to) = flag(request.suspicion_stated);
    add(Attribute::SuspicionStated, from, to, &|r| r.suspicion_stated = !r.suspicion_stated);
    let (from, to) = flag(request.case_stated);
    add(Attribute::CaseStated, from, to, &|r| r.case_stated = !r.case_stated);
    let (from, to) = flag(request.order_stated);
    add(Attribute::OrderStated, from, to, &|r| r.order_stated = !r.order_stated);
    let (from, to) = flag(request.bound);
    add(Attribute::Bound, from, to, &|r| r.bound = !r.bound);
    for role in set.vocabulary().agency_roles.iter().filter(|r| !request.agency_roles.contains(*r)) {
        add(Attribute::AgencyRole, "", role, &|r| {
            r.agency_roles.insert(role.clone());
        });
    }
    out
}

/// The reason and words for a question that no permit in force matches: the first kind of change that would help. A
/// handful of evaluations, since an asker can provoke it.
pub(crate) fn ungranted(
    set: &PolicySet,
    request: &Request,
    now: Millis,
    expired: &[usize],
) -> (RefusalReason, String, String) {
    let (kind, step) = (&request.kind, request.step);
    if let Some((rule, end)) = expired.iter().find_map(|i| Some((set.rule(*i), set.rule(*i).expires()?))) {
        let end = date::show(end);
        return (
            RefusalReason::NoLegalBasis,
            format!("the grant '{}' ended on {end}", rule.id),
            format!("la autorización '{}' terminó el {end}", rule.id),
        );
    }
    if !set.could_permit(request) {
        return (
            RefusalReason::Scope,
            format!("no rule permits {kind} here"),
            format!("ninguna regla permite {kind} aquí"),
        );
    }
    let helps = |attributes: &[Attribute]| {
        let mut variants = variants(set, request, attributes).into_iter();
        variants.find(|(_, variant)| turned(set, variant, now, false).is_some()).map(|(change, _)| change.attribute)
    };
    if let Some(missing) = helps(&[Attribute::FactsStated, Attribute::SuspicionStated, Attribute::CaseStated]) {
        return (
            RefusalReason::Quality,
            format!("{kind} step {step} needs: {}", missing.words(Lang::En)),
            format!("{kind} paso {step} requiere: {}", missing.words(Lang::Es)),
        );
    }
    if let Some(role) = helps(&[Attribute::OfficerRole, Attribute::AgencyRole]) {
        return (
            RefusalReason::Scope,
            format!("the {} does not cover {kind} step {step}", role.words(Lang::En)),
            format!("el {} no cubre {kind} paso {step}", role.words(Lang::Es)),
        );
    }
    let (basis, purpose) = (&request.basis, request.purpose);
    (
        RefusalReason::NoLegalBasis,
        format!("no rule permits {kind} step {step} for {purpose} on {basis}"),
        format!("ninguna regla permite {kind} paso {step} para {purpose} con base en {basis}"),
    )
}

impl Explanation {
    /// The explanation in words, one statement to a line.
    pub fn lines(&self, language: Lang) -> Vec<String> {
        let mut out = Vec::new();
        let rules = |ids: &[String]| ids.join(", ");
        match &self.verdict {
            Verdict::Permit(_) => {
                out.push(format!("{}: {}", text(language, "permitted by"), rules(&self.deciding)));
            }
            Verdict::Refuse(r) => {
                let why = if language == Lang::En { &r.explain_en } else { &r.explain_es };
                out.push(format!("{} ({}): {why}", text(language, "refused"), r.reason));
            }
        }
        if let Verdict::Permit(grant) = &self.verdict {
            let (fields, handling) = (grant.fields.iter().cloned().collect::<Vec<_>>().join(", "), grant.handling);
            let duties = grant.obligations.iter().cloned().collect::<Vec<_>>().join(", ");
            let or = |list: String| if list.is_empty() { text(language, "none").to_owned() } else { list };
            out.push(format!("{}: {}", text(language, "fields"), or(fields)));
            out.push(format!("{}: {handling}", text(language, "handling")));
            out.push(format!("{}: {}", text(language, "obligations"), or(duties)));
        } else if !self.deciding.is_empty() {
            out.push(format!("{}: {}", text(language, "decided by"), rules(&self.deciding)));
        }
        for (rule, end) in &self.expired {
            out.push(format!("{rule}: {} {}", text(language, "ended on"), date::show(*end)));
        }
        let turn = match self.verdict.is_permit() {
            true => text(language, "it would be refused with"),
            false => text(language, "it would be permitted with"),
        };
        let mut grouped: BTreeMap<Vec<(Attribute, String)>, Vec<&Alternative>> = BTreeMap::new();
        for alternative in &self.alternatives {
            let (last, first) = match alternative.changes.split_last() {
                Some((last, first)) => (last, first),
                None => continue,
            };
            let mut key: Vec<_> = first.iter().map(|c| (c.attribute, c.to.clone())).collect();
            key.push((last.attribute, String::new()));
            grouped.entry(key).or_default().push(alternative);
        }
        for (key, group) in grouped {
            let last = |a: &&Alternative| a.changes.last().map(|c| c.to.clone());
            let values = group.iter().filter_map(last).collect::<Vec<_>>().join(" | ");
            let change = |(attribute, to): &(Attribute, String)| {
                let to = if to.is_empty() { values.as_str() } else { to.as_str() };
                format!("{} = {}", attribute.words(language), local(to, language))
            };
            let and = format!(" {} ", text(language, "and"));
            let changes = key.iter().map(change).collect::<Vec<_>>().join(&and);
            let by: BTreeSet<&str> = group.iter().flat_map(|a| a.rules.iter().map(String::as_str)).collect();
            let by = by.into_iter().collect::<Vec<_>>().join(", ");
            let by = if by.is_empty() { String::new() } else { format!(" ({by})") };
            out.push(format!("{turn} {changes}{by}"));
        }
        if let Verdict::Refuse(r) = &self.verdict {
            out.push(if language == Lang::En { r.next_step_en.clone() } else { r.next_step_es.clone() });
        }
        out
    }

    /// The machine form.
    pub fn to_json(&self) -> Value {
        let change = |c: &Change| json!({"attribute": c.attribute.as_str(), "from": c.from, "to": c.to});
        let alternatives: Vec<Value> = self
            .alternatives
            .iter()
            .map(|a| json!({"changes": a.changes.iter().map(change).collect::<Vec<_>>(), "rules": a.rules}))
            .collect();
        let expired: Vec<Value> =
            self.expired.iter().map(|(rule, at)| json!({"rule": rule, "expired": date::show(*at)})).collect();
        json!({
            "verdict": self.verdict.to_json(),
            "deciding": self.deciding,
            "expired": expired,
            "near": self.near,
            "alternatives": alternatives,
        })
    }
}

/// Flag values in the reader's language; codes stay as they are.
fn local(value: &str, language: Lang) -> &str {
    if value == "yes" { text(language, "yes") } else { value }
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.lines(Lang::En).join("\n"))
    }
}
