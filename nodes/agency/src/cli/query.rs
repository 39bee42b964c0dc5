use std::collections::BTreeMap;
use std::time::Duration;

use puente_catalogue::{Finding, Lang, QueryKindSpec};
use puente_charter::{LegalBasisError, OfficerError, OfficerRecord};
use puente_model::limits::{DEADLINE_MILLIS_MAX, FACTS_CHARS_MAX};
use puente_model::{Digest, Handling, LegalBasisId, Millis, NodeUri, OfficerId, Purpose, QueryKind, Step, Urgency};
use serde_json::{Value, json};

use super::args::QueryArgs;
use super::conclusion::About;
use super::disclosure::Going;
use super::output::{Failure, Report};
use super::words::Text;
use super::{Context, client, load_failure, outbox};
use crate::config::closest;
use crate::control_api::Question;
use crate::load::Bearings;
use crate::officers::OfficerBook;

/// Characters of a case reference, an offence or a justification.
pub(crate) const TEXT_CHARS_MAX: usize = 500;

/// A question that has longer than this goes on by itself: nobody sits before a terminal for days.
pub(super) const FOREGROUND_MAX: Duration = Duration::from_secs(600);

/// The parts of a question that charter and catalogue can judge before anything is sent.
pub(super) struct Basics<'a> {
    pub(super) kind: &'a QueryKindSpec,
    pub(super) purpose: Purpose,
    pub(super) basis: LegalBasisId,
}

/// What somebody wants to ask, as they wrote it: on the command line, or to the API.
#[derive(Clone)]
pub(crate) struct Wish {
    pub(crate) kind: QueryKind,
    pub(crate) to: NodeUri,
    pub(crate) purpose: String,
    pub(crate) basis: String,
    pub(crate) officer: OfficerId,
    pub(crate) case_ref: String,
    pub(crate) training: bool,
    pub(crate) step: Step,
    pub(crate) confirms: Option<Digest>,
    pub(crate) facts: String,
    pub(crate) offence: String,
    pub(crate) params: BTreeMap<String, String>,
    pub(crate) due: Duration,
    pub(crate) urgent: Option<String>,
    pub(crate) handling: Handling,
}

impl Wish {
    fn of(args: &QueryArgs, to: NodeUri) -> Result<Self, Failure> {
        Ok(Self {
            kind: args.kind.clone(),
            to,
            purpose: args.purpose.clone(),
            basis: args.basis.clone(),
            officer: args.officer.clone(),
            case_ref: args.case_ref.clone(),
            training: args.training,
            step: args.step,
            confirms: args.confirms,
            facts: args.facts.clone(),
            offence: args.offence.clone(),
            params: params(args)?,
            due: duration(&args.due)?,
            urgent: args.urgent.clone(),
            handling: args.handling,
        })
    }
}

/// A question that charter and catalogue have nothing against, and what deserves a look.
pub(crate) struct Checked {
    pub(crate) question: Question,
    /// One sentence each.
    pub(crate) warnings: Vec<String>,
}

/// What everything is judged by.
#[derive(Clone, Copy)]
pub(crate) struct Bench<'a> {
    pub(crate) bearings: &'a Bearings,
    pub(crate) lang: Lang,
    pub(crate) now: Millis,
}

impl<'a> Basics<'a> {
    pub(super) fn parse(context: &Context, bearings: &'a Bearings, args: &QueryArgs) -> Result<Self, Failure> {
        let bench = Bench { bearings, lang: context.lang, now: context.now };
        Self::of(bench, (&args.kind, args.step), (&args.purpose, &args.basis), args.node()?)
    }

    fn of(
        bench: Bench<'a>,
        (named, step): (&QueryKind, Step),
        (why, law): (&str, &str),
        to: &NodeUri,
    ) -> Result<Self, Failure> {
        let kind = kind(bench, named, step)?;
        let purpose = purpose(why)?;
        let basis = basis(bench, purpose, law)?;
        holder(bench.bearings, to)?;
        Ok(Self { kind, purpose, basis })
    }
}

fn list<'a>(values: impl IntoIterator<Item = &'a str>) -> String {
    values.into_iter().collect::<Vec<_>>().join(", ")
}

fn kind<'a>(bench: Bench<'a>, named: &QueryKind, step: Step) -> Result<&'a QueryKindSpec, Failure> {
    let Bench { bearings, lang, .. } = bench;
    let Some(kind) = bearings.catalogue.query_kind(named.as_str()) else {
        let known: Vec<&str> = bearings.catalogue.query_kinds().iter().map(|k| k.kind().as_str()).collect();
        let hint = match closest(named.as_str(), &known) {
            Some(near) => format!("did you mean {near}? The kinds are: {}", list(known.iter().copied())),
            None => format!("the kinds are: {}", list(known.iter().copied())),
        };
        let message = format!("the catalogue has no query kind '{named}'");
        return Err(Failure::usage("unknown-kind", message).hint(hint).details(json!({"valid": known})));
    };
    if kind.step(step).is_none() {
        let steps: Vec<&str> = kind.steps().iter().map(|s| s.step.as_str()).collect();
        let message = format!("{} ({}) has no step {}", named, kind.labels().get(lang), step);
        return Err(Failure::usage("no-such-step", message)
            .hint(format!("its steps are: {}", list(steps.iter().copied())))
            .details(json!({"valid": steps})));
    }
    Ok(kind)
}

fn purpose(text: &str) -> Result<Purpose, Failure> {
    text.parse().map_err(|_| {
        let valid: Vec<&str> = Purpose::ALL.iter().map(|p| p.as_str()).collect();
        let near = closest(text, &valid).map(|p| format!("did you mean {p}? ")).unwrap_or_default();
        let message = format!("'{}' is not a purpose", text.escape_debug());
        Failure::usage("purpose", message)
            .hint(format!("{near}The purposes are: {}", list(valid.iter().copied())))
            .details(json!({"valid": valid}))
    })
}

/// A basis that carries the purpose now; where it does not, those that do are listed.
fn basis(bench: Bench<'_>, purpose: Purpose, text: &str) -> Result<LegalBasisId, Failure> {
    let Bench { bearings, now, .. } = bench;
    let charter = &bearings.charter;
    let nation = bearings.config.node.jurisdiction();
    let carries = |id: &LegalBasisId| charter.legal_basis_for(id, purpose, &nation, now).is_ok();
    let valid: Vec<String> =
        charter.legal_bases().iter().filter(|b| carries(&b.id)).map(|b| b.id.to_string()).collect();
    let hint = if valid.is_empty() {
        format!("no legal basis in force covers {purpose} for agencies of {nation}")
    } else {
        format!("for {purpose}, agencies of {nation} can invoke: {}", valid.join(", "))
    };
    let refuse = |message: String| Failure::usage("basis", message).hint(hint.clone()).details(json!({"valid": valid}));
    let id: LegalBasisId =
        text.parse().map_err(|_| refuse(format!("'{}' is not a legal basis", text.escape_debug())))?;
    match charter.legal_basis_for(&id, purpose, &nation, now) {
        Ok(_) => Ok(id),
        Err(LegalBasisError::Unknown { .. }) => Err(refuse(format!("the charter has no legal basis '{id}'"))),
        Err(error) => Err(refuse(error.to_string())),
    }
}

fn holder(bearings: &Bearings, to: &NodeUri) -> Result<(), Failure> {
    let others = || bearings.charter.members().iter().filter(|m| m.is_active() && m.uri != bearings.config.node);
    let names: Vec<&str> = others().map(|m| m.uri.as_str()).collect();
    let refuse = |message: String| {
        let near = closest(to.as_str(), &names).map(|n| format!("did you mean {n}? ")).unwrap_or_default();
        Failure::usage("holder", message)
            .hint(format!("{near}The members are: {}", list(names.iter().copied())))
            .details(json!({"valid": names}))
    };
    match bearings.charter.member(to) {
        _ if *to == bearings.config.node => Err(refuse(format!("{to} is this node"))),
        None => Err(refuse(format!("{} is not a member of the charter", to))),
        Some(member) if !member.is_active() => {
            let why = member.suspended_reason.clone().unwrap_or_default();
            Err(refuse(format!("{} is suspended: {why}", to)))
        }
        Some(_) => Ok(()),
    }
}

/// Urgent if a justification was given.
pub(super) fn urgency(args: &QueryArgs) -> Urgency {
    if args.urgent.is_some() { Urgency::Urgent } else { Urgency::Routine }
}

/// Whether a parameter that names a court order was given.
pub(super) fn order_stated(catalogue: &puente_catalogue::Catalogue, args: &QueryArgs) -> bool {
    let given = args.params.iter().filter_map(|p| p.split_once('=')).map(|(name, _)| name.trim());
    catalogue.query_kind(args.kind.as_str()).is_some_and(|kind| kind.states_order(given))
}

/// Every parameter that was given, by its name in the catalogue.
pub(super) fn params(args: &QueryArgs) -> Result<BTreeMap<String, String>, Failure> {
    let mut out = BTreeMap::new();
    let mut put = |name: &str, value: &str| match out.insert(name.to_owned(), value.to_owned()) {
        None => Ok(()),
        Some(_) => Err(Failure::usage("parameter", format!("the parameter '{}' is given twice", name.escape_debug()))),
    };
    for pair in &args.params {
        let Some((name, value)) = pair.split_once('=') else {
            return Err(Failure::usage("parameter", "a --param has no '='").hint("write --param name=value"));
        };
        put(name.trim(), value)?;
    }
    let flags = [
        ("vin", &args.vin),
        ("plate", &args.plate),
        ("plate_jurisdiction", &args.jurisdiction),
        ("serial", &args.serial),
        ("make", &args.make),
        ("calibre", &args.caliber),
    ];
    for (name, value) in flags {
        if let Some(value) = value {
            put(name, value)?;
        }
    }
    Ok(out)
}

/// Findings about parameters as a failure; nothing was sent.
pub(super) fn malformed(findings: &[Finding], lang: Lang) -> Failure {
    let errors: Vec<Value> = findings
        .iter()
        .map(|f| json!({"parameter": f.column, "code": f.code(), "message": f.message(lang), "mend": f.mend(lang)}))
        .collect();
    let lines: Vec<String> = findings
        .iter()
        .map(|f| format!("  {}: {}; {}", f.column.escape_debug(), f.message(lang), f.mend(lang)))
        .collect();
    Failure::usage("malformed", format!("{}\n{}", Text::Malformed.get(lang), lines.join("\n")))
        .details(Value::Array(errors))
}

pub(crate) fn bounded(what: &str, text: &str, max: usize) -> Result<(), Failure> {
    if text.chars().count() > max || text.chars().any(|c| c.is_control() && c != '\n') {
        return Err(Failure::usage(
            "text",
            format!("--{what} is longer than {max} characters or holds control characters"),
        )
        .hint("shorten it"));
    }
    Ok(())
}

/// `30s`, `10m`, `2h`, `3d`.
pub(crate) fn duration(text: &str) -> Result<Duration, Failure> {
    let bad = || {
        Failure::usage("due", format!("'{}' is not a time to wait", text.escape_debug()))
            .hint("write a number and s, m, h or d, for example 60s; at most 7d")
    };
    let unit = text.chars().next_back().ok_or_else(bad)?;
    let factor = match unit {
        's' => 1_000,
        'm' => 60_000,
        'h' => 3_600_000,
        'd' => 86_400_000,
        _ => return Err(bad()),
    };
    let digits = text.strip_suffix(unit).unwrap_or_default();
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return Err(bad());
    }
    let millis = digits.parse::<u64>().ok().and_then(|n| n.checked_mul(factor)).ok_or_else(bad)?;
    if millis == 0 || millis > DEADLINE_MILLIS_MAX {
        return Err(bad());
    }
    Ok(Duration::from_millis(millis))
}

fn officer(context: &Context, args: &QueryArgs) -> Result<OfficerRecord, Failure> {
    let book = OfficerBook::open(&context.dir)?;
    match book.in_force().active(&args.officer, context.now) {
        Ok(officer) => Ok(officer.clone()),
        Err(OfficerError::Unknown) if book.wanted().find(&args.officer).is_some() => {
            let message = "the officer's grant does not stand in the log yet, so the officer may not ask";
            Err(Failure::usage("officer", message).hint("start the node: it records the grant first"))
        }
        Err(error) => Err(Failure::usage("officer", error.to_string()).hint("'puente officer list' shows who may ask")),
    }
}

fn check_step(wish: &Wish) -> Result<(), Failure> {
    let later = wish.step != Step::HitNoHit;
    if later && (wish.confirms.is_none() || wish.facts.trim().is_empty()) {
        let message = format!("step {} follows a hit that a human confirmed, and states the facts", wish.step);
        return Err(
            Failure::usage("step", message).hint("give --confirms with the leaf hash of the answer, and --facts")
        );
    }
    if !later && wish.confirms.is_some() {
        return Err(
            Failure::usage("step", "step 1 confirms nothing").hint("leave --confirms out, or ask with --step 2")
        );
    }
    Ok(())
}

/// Whether the command waits for the answer: not for days, whatever the deadline.
pub(super) fn waits(stays: bool, due: Duration) -> bool {
    !stays && due <= FOREGROUND_MAX
}

/// The question of a wish, in normal form. Whether the officer may ask is the caller's to find out.
///
/// # Errors
/// What is wrong with it, under the same stable codes whoever asks.
pub(crate) fn check(bench: Bench<'_>, wish: &Wish) -> Result<Checked, Failure> {
    let lang = bench.lang;
    let basics = Basics::of(bench, (&wish.kind, wish.step), (&wish.purpose, &wish.basis), &wish.to)?;
    let parsed = basics.kind.parse_params(&wish.params).map_err(|findings| malformed(&findings, lang))?;
    if wish.case_ref.trim().is_empty() {
        return Err(Failure::usage("case", "a question names its case file").hint("give --case with the file's number"));
    }
    let urgent = wish.urgent.clone().unwrap_or_default();
    if wish.urgent.is_some() && urgent.trim().is_empty() {
        return Err(Failure::usage("urgent", "an urgent question needs its justification").hint("--urgent \"why\""));
    }
    bounded("case", &wish.case_ref, TEXT_CHARS_MAX)?;
    bounded("offence", &wish.offence, puente_policy::OFFENCE_CHARS_MAX)?;
    bounded("urgent", &urgent, TEXT_CHARS_MAX)?;
    bounded("facts", &wish.facts, FACTS_CHARS_MAX)?;
    check_step(wish)?;
    let of = |f: &Finding| format!("{}: {}; {}", f.column, f.message(lang), f.mend(lang));
    let question = Question {
        to: wish.to.clone(),
        kind: wish.kind.clone(),
        step: wish.step,
        purpose: basics.purpose,
        basis: basics.basis,
        handling: wish.handling,
        officer: wish.officer.clone(),
        case_ref: wish.case_ref.clone(),
        params: parsed.pairs().iter().cloned().collect(),
        due_in_millis: u64::try_from(wish.due.as_millis()).unwrap_or(DEADLINE_MILLIS_MAX),
        urgency: if wish.urgent.is_some() { Urgency::Urgent } else { Urgency::Routine },
        justification: urgent,
        facts_statement: wish.facts.clone(),
        offence: wish.offence.clone(),
        confirms: wish.confirms,
        training: wish.training,
        stays: true,
    };
    Ok(Checked { question, warnings: parsed.warnings().iter().map(of).collect() })
}

/// A question as if it were for one node: what charter and catalogue say of it, and how long it has.
pub(super) fn checked(
    context: &Context,
    bearings: &Bearings,
    args: &QueryArgs,
    to: NodeUri,
) -> Result<(Question, Vec<String>, Duration), Failure> {
    let wish = Wish::of(args, to)?;
    let checked = check(Bench { bearings, lang: context.lang, now: context.now }, &wish)?;
    officer(context, args)?;
    Ok((checked.question, checked.warnings, wish.due))
}

/// Asks; with `stays` the officer does not wait for the answer; a `dry` run shows what would leave and asks nobody.
pub(super) fn run(context: &Context, args: &QueryArgs, stays: bool, dry: bool) -> Result<Report, Failure> {
    let bearings = Bearings::load(&context.dir).map_err(load_failure)?;
    let to = args.node()?.clone();
    let wish = Wish::of(args, to.clone())?;
    let checked = check(Bench { bearings: &bearings, lang: context.lang, now: context.now }, &wish)?;
    let officer = officer(context, args)?;
    if dry {
        return Ok(leaving(context, &bearings, &checked.question, &officer));
    }
    let kind = bearings.catalogue.query_kind(args.kind.as_str()).ok_or_else(client::unexpected)?;
    let about = About { kind, to: &to, training: args.training };
    // The node answers at the deadline at the latest; a little more for the way.
    let patience = wish.due + Duration::from_secs(10);
    let waits = waits(stays, wish.due).then_some(patience);
    let mut report = outbox::ask(context, &bearings, &about, checked.question, waits)?;
    for words in checked.warnings {
        report = report.note(words);
    }
    Ok(report)
}

/// What would leave this agency: in the clear for whoever holds the log, and what only the holder reads.
fn leaving(context: &Context, bearings: &Bearings, question: &Question, officer: &OfficerRecord) -> Report {
    let going = Going { question, officer, from: &bearings.config.node };
    let mut value = going.to_json(context);
    if let Some(object) = value.as_object_mut() {
        object.insert("dry_run".to_owned(), Value::Bool(true));
    }
    let report =
        Report::new(value, going.text(context, &question.to)).note("nobody was asked and nothing was recorded");
    if question.training { report.in_training() } else { report }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_waits_for_days() {
        let due = |text| duration(text).unwrap();
        assert!(waits(false, due("60s")) && waits(false, due("10m")));
        assert!(!waits(false, due("11m")) && !waits(false, due("3d")) && !waits(true, due("60s")));
    }

    #[test]
    fn times_to_wait_have_a_unit_and_a_bound() {
        assert_eq!(duration("30s").unwrap(), Duration::from_secs(30));
        assert_eq!(duration("7d").unwrap(), Duration::from_secs(7 * 86_400));
        for bad in ["", "s", "30", "8d", "0s", "-1s", "+1s", "1.5h", "99999999999999999999d", "1é", "é"] {
            assert!(duration(bad).is_err(), "{bad}");
        }
    }
}
