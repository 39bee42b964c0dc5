//! Tables of cases: what an operator expects of the policies, judged.

use std::collections::{BTreeMap, BTreeSet};

use puente_model::{
    AgencyId, Handling, LegalBasisId, Millis, Mode, Purpose, QueryKind, RefusalReason, Role, Step, Urgency,
};
use serde::Deserialize;
use toml::Spanned;

use crate::date;
use crate::error::{PolicyError, finding};
use crate::load::FILE_BYTES_MAX;
use crate::request::{Direction, Request};
use crate::set::PolicySet;
use crate::verdict::Verdict;

/// A table of cases, read from TOML and checked against the vocabulary.
#[derive(Debug, Clone)]
pub struct Cases(Vec<Case>);

#[derive(Debug, Clone)]
struct Case {
    name: String,
    request: Request,
    at: Millis,
    expect: Expect,
}

#[derive(Debug, Clone)]
struct Expect {
    permit: bool,
    fields: Option<BTreeSet<String>>,
    handling: Option<Handling>,
    obligations: Option<BTreeSet<String>>,
    reason: Option<RefusalReason>,
    rule: Option<String>,
}

/// How one case came out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CaseResult {
    /// The case's name.
    pub name: String,
    /// What differs from what was expected, in words; empty if the case passed.
    pub differences: Vec<String>,
    /// The verdict.
    pub verdict: Verdict,
}

impl CaseResult {
    /// Whether the verdict is as expected.
    pub fn passed(&self) -> bool {
        self.differences.is_empty()
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawTable {
    /// The agency whose policies these are: it asks outbound and holds inbound.
    agency: Spanned<String>,
    /// The date at which cases are judged.
    at: Spanned<String>,
    /// Roles of agencies.
    #[serde(default)]
    roles: BTreeMap<String, Vec<String>>,
    case: Vec<RawCase>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawCase {
    name: Spanned<String>,
    direction: Spanned<String>,
    asker: Option<Spanned<String>>,
    holder: Option<Spanned<String>>,
    kind: Spanned<String>,
    step: Spanned<u32>,
    purpose: Spanned<String>,
    basis: Spanned<String>,
    officer_role: Spanned<String>,
    urgency: Option<Spanned<String>>,
    handling: Option<Spanned<String>>,
    offence: Option<String>,
    #[serde(default)]
    facts: bool,
    #[serde(default)]
    suspicion: bool,
    #[serde(default)]
    case: bool,
    #[serde(default)]
    order: bool,
    /// The question belongs to no group's epoch.
    #[serde(default)]
    unbound: bool,
    at: Option<Spanned<String>>,
    expect: Spanned<String>,
    fields: Option<BTreeSet<String>>,
    obligations: Option<BTreeSet<String>>,
    answer_handling: Option<Spanned<String>>,
    reason: Option<Spanned<String>>,
    rule: Option<String>,
}

struct Reader<'a> {
    file: &'a str,
    text: &'a str,
}

impl Reader<'_> {
    fn at(&self, offset: usize, message: impl Into<String>, mend: impl Into<String>) -> PolicyError {
        PolicyError::Cases(finding(self.file, self.text, offset, message, mend))
    }

    fn parse<T: std::str::FromStr<Err: std::fmt::Display>>(
        &self,
        what: &str,
        value: &Spanned<String>,
    ) -> Result<T, PolicyError> {
        value.get_ref().parse().map_err(|e: T::Err| {
            let message = format!("{what}: {e}");
            self.at(value.span().start, message, "correct the value")
        })
    }

    fn date(&self, value: &Spanned<String>) -> Result<Millis, PolicyError> {
        date::parse(value.get_ref()).ok_or_else(|| self.at(value.span().start, "not a date", "write YYYY-MM-DD"))
    }
}

impl Cases {
    /// Reads a case file.
    ///
    /// # Errors
    /// [`PolicyError::Cases`] with file, line, column and mend.
    pub fn parse(file: &str, text: &str) -> Result<Self, PolicyError> {
        let reader = Reader { file, text };
        if text.len() > FILE_BYTES_MAX {
            return Err(reader.at(0, format!("the file has more than {FILE_BYTES_MAX} bytes"), "split it"));
        }
        let table: RawTable = toml::from_str(text).map_err(|e| {
            let message: String = e.message().chars().map(|c| if c.is_control() { ' ' } else { c }).take(300).collect();
            reader.at(e.span().map_or(0, |s| s.start), message, "correct the TOML")
        })?;
        let own: AgencyId = reader.parse("agency", &table.agency)?;
        let at = reader.date(&table.at)?;
        let roles = |agency: &AgencyId| -> BTreeSet<String> {
            table.roles.get(agency.as_str()).into_iter().flatten().cloned().collect()
        };
        let mut names = BTreeSet::new();
        let mut cases = Vec::with_capacity(table.case.len());
        for raw in &table.case {
            if !names.insert(raw.name.get_ref()) {
                return Err(reader.at(raw.name.span().start, "two cases have this name", "rename one of them"));
            }
            cases.push(raw.read(&reader, &own, at, &roles)?);
        }
        Ok(Self(cases))
    }

    /// Judges every case, in the order of the file.
    pub fn run(&self, set: &PolicySet) -> Vec<CaseResult> {
        let judge = |case: &Case| {
            let verdict = set.judge(&case.request, case.at);
            CaseResult { name: case.name.clone(), differences: case.expect.differences(&verdict), verdict }
        };
        self.0.iter().map(judge).collect()
    }

    /// The question of a case, for example to explain it, with the time at which it is judged.
    pub fn question(&self, name: &str) -> Option<(&Request, Millis)> {
        self.0.iter().find(|c| c.name == name).map(|c| (&c.request, c.at))
    }
}

impl RawCase {
    fn read(
        &self,
        reader: &Reader<'_>,
        own: &AgencyId,
        at: Millis,
        roles: &dyn Fn(&AgencyId) -> BTreeSet<String>,
    ) -> Result<Case, PolicyError> {
        let found = Direction::ALL.iter().copied().find(|d| d.as_str() == self.direction.get_ref());
        let direction = found
            .ok_or_else(|| reader.at(self.direction.span().start, "not a direction", "use outbound or inbound"))?;
        let agency = |value: &Option<Spanned<String>>, what: &str, may_be_own: bool| match value {
            Some(value) => reader.parse(what, value),
            None if may_be_own => Ok(own.clone()),
            None => {
                let mend = format!("add {what} = \"jurisdiction/agency\"");
                Err(reader.at(self.name.span().start, format!("the case names no {what}"), mend))
            }
        };
        let asker: AgencyId = agency(&self.asker, "asker", direction == Direction::Outbound)?;
        let holder: AgencyId = agency(&self.holder, "holder", direction == Direction::Inbound)?;
        let step = Step::from_code(*self.step.get_ref());
        let step = step.ok_or_else(|| reader.at(self.step.span().start, "not a step", "use 1, 2 or 3"))?;
        let permit = match self.expect.get_ref().as_str() {
            "permit" => true,
            "refuse" => false,
            _ => return Err(reader.at(self.expect.span().start, "not a verdict", "use permit or refuse")),
        };
        if permit && self.reason.is_some() || !permit && (self.fields.is_some() || self.obligations.is_some()) {
            let mend = "give reason only with refuse, fields and obligations only with permit";
            return Err(reader.at(self.expect.span().start, "the case contradicts itself", mend));
        }
        let optional = |value: &Option<Spanned<String>>, what: &str| {
            value.as_ref().map(|v| reader.parse::<Handling>(what, v)).transpose()
        };
        let request = Request {
            direction,
            agency_roles: roles(&asker),
            agency: asker,
            holder_roles: roles(&holder),
            holder,
            kind: reader.parse::<QueryKind>("kind", &self.kind)?,
            step,
            purpose: reader.parse::<Purpose>("purpose", &self.purpose)?,
            basis: reader.parse::<LegalBasisId>("basis", &self.basis)?,
            officer_role: reader.parse::<Role>("officer_role", &self.officer_role)?,
            urgency: match &self.urgency {
                Some(value) => reader.parse("urgency", value)?,
                None => Urgency::Routine,
            },
            mode: Mode::Open,
            handling: optional(&self.handling, "handling")?.unwrap_or(Handling::H0),
            offence: self.offence.clone(),
            facts_stated: self.facts,
            suspicion_stated: self.suspicion,
            case_stated: self.case,
            order_stated: self.order,
            bound: !self.unbound,
        };
        let expect = Expect {
            permit,
            fields: self.fields.clone(),
            handling: optional(&self.answer_handling, "answer_handling")?,
            obligations: self.obligations.clone(),
            reason: self.reason.as_ref().map(|v| reader.parse("reason", v)).transpose()?,
            rule: self.rule.clone(),
        };
        let at = self.at.as_ref().map_or(Ok(at), |v| reader.date(v))?;
        Ok(Case { name: self.name.get_ref().clone(), request, at, expect })
    }
}

impl Expect {
    fn differences(&self, verdict: &Verdict) -> Vec<String> {
        let mut out = Vec::new();
        let mut differ = |what: &str, wanted: String, found: String| {
            if wanted != found {
                out.push(format!("{what}: expected {wanted}, found {found}"));
            }
        };
        let list = |set: &BTreeSet<String>| format!("[{}]", set.iter().cloned().collect::<Vec<_>>().join(", "));
        match (self.permit, verdict) {
            (true, Verdict::Permit(grant)) => {
                if let Some(fields) = &self.fields {
                    differ("fields", list(fields), list(&grant.fields));
                }
                if let Some(obligations) = &self.obligations {
                    differ("obligations", list(obligations), list(&grant.obligations));
                }
                if let Some(handling) = self.handling {
                    differ("handling", handling.to_string(), grant.handling.to_string());
                }
                if let Some(rule) = &self.rule
                    && !grant.rules.contains(rule)
                {
                    differ("rule", rule.clone(), grant.rules.join(", "));
                }
            }
            (false, Verdict::Refuse(refusal)) => {
                if let Some(reason) = self.reason {
                    differ("reason", reason.to_string(), refusal.reason.to_string());
                }
                if let Some(rule) = &self.rule {
                    differ("rule", rule.clone(), refusal.rule.clone().unwrap_or_else(|| "none".to_owned()));
                }
            }
            (true, Verdict::Refuse(r)) => {
                differ("verdict", "permit".to_owned(), format!("refuse ({}: {})", r.reason, r.explain_en));
            }
            (false, Verdict::Permit(g)) => {
                differ("verdict", "refuse".to_owned(), format!("permit by {}", g.rules.join(", ")));
            }
        }
        out
    }
}
