use std::collections::BTreeMap;
use std::path::Path;

use puente_catalogue::{FieldMask, RecordType, SampleOf};
use puente_charter::OfficerRecord;
use puente_exchange::rehearsal::Foreseen;
use puente_model::limits::DEADLINE_MILLIS_MAX;
use puente_model::{Digest, Millis, Step};
use puente_policy::{Cases, Direction, PolicyError, PolicySet, Request, Verdict};
use puente_wire::Officer;
use puente_words::{say, text};
use serde_json::{Value, json};

use super::args::{ExplainArgs, PolicyCommand};
use super::disclosure::{self, Going};
use super::output::{Exit, Failure, Report, wrap};
use super::query::{self, Basics};
use super::{Context, client, cost, load_failure, words};
use crate::control_api::Question;
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
    let (own, other) = (&bearings.config.node, args.query.node()?);
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
        bound: !bearings.charter.corridors().is_empty(),
    };
    let explanation = set.explain(&request, context.now);
    let text: String = explanation
        .lines(context.lang)
        .iter()
        .flat_map(|line| wrap(line, 78))
        .map(|line| format!("{line}\n"))
        .collect();
    let exit = if explanation.verdict.is_permit() { Exit::Ok } else { Exit::Findings };
    let mut value = explanation.to_json();
    let more = beyond(context, bearings, (&basics, args), (&set, &request, &explanation.verdict))?;
    if let Some(object) = value.as_object_mut() {
        object.insert("leakage".to_owned(), more.leakage);
        object.insert("cost".to_owned(), more.cost);
    }
    Ok(Report::new(value, format!("{text}\n{}", more.text)).note("nobody was asked").exit(exit))
}

/// What lies beyond the verdict.
struct Beyond {
    leakage: Value,
    cost: Value,
    text: String,
}

/// The question with parameters in normal form; where it comes without the ones it needs, with those of the catalogue's
/// sample, which is said.
fn asked(
    context: &Context,
    bearings: &Bearings,
    (basics, args): (&Basics<'_>, &ExplainArgs),
    record_type: &RecordType,
) -> Result<(Question, bool), Failure> {
    let wanted = &args.query;
    let given = query::params(wanted)?;
    let (params, sample) = match basics.kind.parse_params(&given) {
        Ok(params) => (params, false),
        Err(findings) => {
            let of = SampleOf { number: 1, agency: &bearings.config.node.agency(), now: context.now };
            let mut filled = basics.kind.sample_params(record_type, &of);
            filled.extend(given.clone());
            let filled = basics.kind.parse_params(&filled);
            (filled.map_err(|_| query::malformed(&findings, context.lang))?, true)
        }
    };
    let due = query::duration(&wanted.due)?;
    let question = Question {
        to: if args.inbound { bearings.config.node.clone() } else { wanted.node()?.clone() },
        kind: wanted.kind.clone(),
        step: wanted.step,
        purpose: basics.purpose,
        basis: basics.basis.clone(),
        handling: wanted.handling,
        officer: wanted.officer.clone(),
        case_ref: wanted.case_ref.clone(),
        params: params.pairs().iter().cloned().collect(),
        due_in_millis: u64::try_from(due.as_millis()).unwrap_or(DEADLINE_MILLIS_MAX),
        urgency: query::urgency(wanted),
        justification: wanted.urgent.clone().unwrap_or_default(),
        facts_statement: wanted.facts.clone(),
        offence: wanted.offence.clone(),
        // A later step quotes a hit, whichever.
        confirms: wanted.confirms.or((wanted.step != Step::HitNoHit).then(Digest::default)),
        training: wanted.training,
        stays: true,
    };
    Ok((question, sample))
}

fn beyond(
    context: &Context,
    bearings: &Bearings,
    (basics, args): (&Basics<'_>, &ExplainArgs),
    (set, request, verdict): (&PolicySet, &Request, &Verdict),
) -> Result<Beyond, Failure> {
    let lang = context.lang;
    let (kind, catalogue) = (basics.kind, &bearings.catalogue);
    let record_type = catalogue.record_type(kind.record_type()).ok_or_else(client::unexpected)?;
    let (question, sample) = asked(context, bearings, (basics, args), record_type)?;
    let (own, other) = (&bearings.config.node, args.query.node()?);
    let (asker, holder) = if args.inbound { (other, own) } else { (own, other) };
    let known = OfficerBook::open(&context.dir)?.wanted().find(&question.officer).cloned();
    let officer = known.filter(|_| !args.inbound).unwrap_or_else(|| OfficerRecord {
        id: question.officer.clone(),
        name: String::new(),
        role: request.officer_role,
        granted: context.now,
        expires: context.now,
        revoked: None,
        revoked_for: String::new(),
        emergency: String::new(),
        review: String::new(),
    });

    let going = Going { question: &question, officer: &officer, from: asker };
    let told = disclosure::told((kind, record_type), (set, request), context.now);
    let leaves = args.inbound || verdict.is_permit();
    let leakage = json!({
        "leaves": leaves,
        "question": leaves.then(|| going.to_json(context)),
        "answer": leaves.then(|| disclosure::told_json(&told)),
    });
    let shown = match leaves {
        true => format!("{}\n{}", going.text(context, other), disclosure::told_text(lang, &told)),
        false => format!("{}\n", disclosure::lines(text(lang, "refused here: nothing leaves this agency"), 0)),
    };

    let person =
        Officer { id: officer.id.clone(), name: officer.name.clone(), role: officer.role, expires: officer.expires };
    let draft = question.clone().draft(person, context.now, None);
    let wanted = cost::Wanted { bearings, draft: &draft, kind, policy_hash: set.hash(), asker, holder, sample };
    let of = SampleOf { number: 1, agency: &holder.agency(), now: context.now };
    let record = record_type.sample(&of).map(|row| row.record.into_bytes()).unwrap_or_default();
    let costs = match verdict {
        Verdict::Refuse(refusal) if args.inbound => cost::costs(context, &wanted, &[Foreseen::Refused(refusal)]),
        Verdict::Refuse(_) => cost::costs(context, &wanted, &[Foreseen::RefusedHere]),
        Verdict::Permit(grant) => {
            let mut grant = grant.clone();
            if !args.inbound && question.step != Step::HitNoHit {
                // The other agency's rules say what is shown; by default it is this.
                let mask = kind.step(question.step).map_or(FieldMask::EMPTY, |step| step.default_mask);
                grant.field_numbers = mask.numbers().collect();
                grant.field_class = record_type.class_of(mask);
            }
            let answers = match question.step {
                Step::HitNoHit => [Foreseen::NoHit, Foreseen::Hit(&grant)],
                _ if grant.field_numbers.is_empty() => [Foreseen::NoHit, Foreseen::Hit(&grant)],
                _ => [Foreseen::NoHit, Foreseen::CoreData { grant: &grant, record_type, record: &record }],
            };
            cost::costs(context, &wanted, &answers)
        }
    };
    Ok(Beyond { leakage, cost: costs.to_json(), text: format!("{shown}\n{}", costs.text(context)) })
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
