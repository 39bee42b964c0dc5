use std::collections::BTreeMap;
use std::path::Path;

use puente_model::Millis;
use puente_policy::{Cases, Direction, PolicyError, PolicySet, Request};
use puente_words::{say, text};
use serde_json::{Value, json};

use super::args::{ExplainArgs, PolicyCommand};
use super::output::{Exit, Failure, Report, wrap};
use super::query::{self, Basics};
use super::{Context, load_failure, words};
use crate::files;
use crate::load::{self, Bearings, LoadError};
use crate::officers::OfficerBook;

pub(super) fn run(context: &Context, command: PolicyCommand) -> Result<Report, Failure> {
    let bearings = Bearings::load(&context.dir).map_err(load_failure)?;
    match command {
        PolicyCommand::Check { folder } => {
            let folder = folder.unwrap_or_else(|| context.dir.policies());
            let set = open(&bearings, &folder)?;
            Ok(check(context, &set))
        }
        PolicyCommand::Explain(args) => explain(context, &bearings, &args),
        PolicyCommand::Test { cases } => {
            let path = cases.unwrap_or_else(|| context.dir.policies().join("cases.toml"));
            test(context, &bearings, &path)
        }
    }
}

fn open(bearings: &Bearings, folder: &Path) -> Result<PolicySet, Failure> {
    let vocabulary = puente_exchange::vocabulary(&bearings.charter, &bearings.catalogue);
    load::policies(folder, &vocabulary).map_err(|error| match error {
        LoadError::Policy(error) => refused(&error),
        other => load_failure(other),
    })
}

fn refused(error: &PolicyError) -> Failure {
    let finding = |f: &puente_policy::Finding| json!({"file": f.file, "line": f.line, "column": f.column, "message": f.message, "mend": f.mend});
    let details = match error {
        PolicyError::Rules(findings) => Value::Array(findings.iter().map(finding).collect()),
        PolicyError::Cases(one) => Value::Array(vec![finding(one)]),
        _ => Value::Null,
    };
    Failure::findings("policy", error.to_string())
        .hint("nothing starts on rules that do not validate; mend what is listed")
        .details(details)
}

fn check(context: &Context, set: &PolicySet) -> Report {
    let rules: Vec<&str> = set.rules().collect();
    let grants: Vec<Value> = set
        .grants_by_expiry()
        .iter()
        .map(|(at, rule)| json!({"rule": rule, "expires": at.to_string(), "days": words::days(context.now, *at)}))
        .collect();
    let (lang, clocks) = (context.lang, context.clocks());
    let english = format!("{} rules hold; policy set {}", rules.len(), set.hash());
    let mut shown = format!("{}\n", say(lang, &english));
    let mut report_hints = Vec::new();
    let mut ends: BTreeMap<Millis, Vec<&str>> = BTreeMap::new();
    for (at, rule) in set.grants_by_expiry() {
        let days = words::days(context.now, at);
        if days < 0 {
            report_hints.push(format!("the grant '{rule}' ended on {}: renew or remove it", clocks.instant(at)));
        } else if days <= 30 {
            report_hints.push(format!("the grant '{rule}' ends in {days} days"));
        }
        ends.entry(at).or_default().push(rule);
    }
    for (at, rules) in ends {
        let english = format!("permitted until {}", clocks.instant(at));
        wrap(&say(lang, &english), 78).iter().for_each(|line| shown.push_str(&format!("  {line}\n")));
        wrap(&rules.join(", "), 74).iter().for_each(|line| shown.push_str(&format!("      {line}\n")));
    }
    let mut report =
        Report::new(json!({"ok": true, "hash": set.hash().to_string(), "rules": rules, "grants": grants}), shown);
    report.hints = report_hints;
    report
}

fn explain(context: &Context, bearings: &Bearings, args: &ExplainArgs) -> Result<Report, Failure> {
    let basics = Basics::parse(context, bearings, &args.query)?;
    let set = open(bearings, &context.dir.policies())?;
    let officer_role = match args.role {
        Some(role) => role,
        None => {
            let book = OfficerBook::open(&context.dir)?;
            let found = book.wanted().find(&args.query.officer);
            found
                .ok_or_else(|| {
                    Failure::usage("unknown-officer", "this node has no officer with this id")
                        .hint("give the role with --role")
                })?
                .role
        }
    };
    let (own, other) = (&bearings.config.node, &args.query.to);
    let (direction, asker, holder) =
        if args.inbound { (Direction::Inbound, other, own) } else { (Direction::Outbound, own, other) };
    let roles = |uri| bearings.charter.member(uri).map(|m| m.roles.iter().cloned().collect()).unwrap_or_default();
    let request = Request {
        direction,
        agency: asker.agency(),
        agency_roles: roles(asker),
        holder: holder.agency(),
        holder_roles: roles(holder),
        kind: args.query.kind.clone(),
        step: args.query.step,
        purpose: basics.purpose,
        basis: basics.basis.clone(),
        officer_role,
        urgency: query::urgency(&args.query),
        mode: if args.query.training { puente_model::Mode::Training } else { puente_model::Mode::Open },
        handling: args.query.handling,
        offence: Some(args.query.offence.clone()).filter(|o| !o.is_empty()),
        facts_stated: !args.query.facts.is_empty(),
        suspicion_stated: !args.query.facts.is_empty(),
        case_stated: !args.query.case_ref.is_empty(),
        order_stated: query::order_stated(&bearings.catalogue, &args.query),
    };
    let explanation = set.explain(&request, context.now);
    let text: String = explanation
        .lines(context.lang)
        .iter()
        .flat_map(|line| wrap(line, 78))
        .map(|line| format!("{line}\n"))
        .collect();
    let exit = if explanation.verdict.is_permit() { Exit::Ok } else { Exit::Findings };
    Ok(Report::new(explanation.to_json(), text).note("nobody was asked").exit(exit))
}

fn test(context: &Context, bearings: &Bearings, path: &Path) -> Result<Report, Failure> {
    let lang = context.lang;
    let table = files::read_text(path).map_err(|error| Failure::file(path, &error))?;
    let cases = Cases::parse(&path.display().to_string(), &table).map_err(|error| refused(&error))?;
    // A table is judged by the rules beside it, where there are any.
    let beside = path.parent().filter(|p| p.join("inbound.cedar").exists() || p.join("outbound.cedar").exists());
    let folder = beside.map_or_else(|| context.dir.policies(), Path::to_path_buf);
    let set = open(bearings, &folder)?;
    let results = cases.run(&set);
    let failed = results.iter().filter(|r| !r.passed()).count();
    let list: Vec<Value> = results
        .iter()
        .map(|r| json!({"name": r.name, "passed": r.passed(), "differences": r.differences, "verdict": r.verdict.to_json()}))
        .collect();
    let mut out = String::new();
    for result in results.iter().filter(|r| !r.passed()) {
        out.push_str(&format!("{} {}\n", text(lang, "FAILED"), result.name));
        for difference in &result.differences {
            for line in wrap(&say(lang, difference), 74) {
                out.push_str(&format!("    {line}\n"));
            }
        }
    }
    let english = format!("{} cases, {} passed, {failed} failed", results.len(), results.len() - failed);
    out.push_str(&format!("{}\n", say(lang, &english)));
    let exit = if failed == 0 { Exit::Ok } else { Exit::Findings };
    Ok(Report::new(json!({"ok": failed == 0, "failed": failed, "cases": list}), out).exit(exit))
}
