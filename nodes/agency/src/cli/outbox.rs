//! `puente query …`: a question outlives the command that put it; what was asked can be listed, looked at, given up.

use std::time::Duration;

use clap::{Args, Subcommand};
use puente_catalogue::Lang;
use puente_model::limits::FACTS_CHARS_MAX;
use puente_model::{ExchangeId, NodeUri, OfficerId};
use puente_words::{text, texts};
use serde_json::json;

use super::args::QueryArgs;
use super::clocks::spelled;
use super::conclusion::{self, About};
use super::output::{Failure, Report, table};
use super::words;
use super::{Context, client, group_query, load_failure, query};
use crate::control_api::{Answer, Command, Concluded, Question};
use crate::load::Bearings;
use crate::outbox::{Examined, FollowUp, Shown, Waits, Wanted};
use crate::training::BANNER;

/// `puente query`.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub struct QueryCommand {
    /// What to do with a question that was put earlier.
    #[command(subcommand)]
    pub earlier: Option<Earlier>,
    /// The question.
    #[command(flatten)]
    pub question: Option<QueryArgs>,
    /// Do not wait: print the exchange's id once the question stands in the log. It goes on by itself.
    #[arg(long)]
    pub no_wait: bool,
    /// Show what would leave this agency and who would read it; asks nobody, records nothing.
    #[arg(long, conflicts_with = "no_wait")]
    pub dry_run: bool,
}

/// What can be done with a question that was put earlier.
#[derive(Debug, Subcommand)]
pub enum Earlier {
    /// List this node's questions: open ones first, with what they wait for and how long is left.
    List {
        /// Only this officer's.
        #[arg(long, value_name = "ID")]
        officer: Option<OfficerId>,
        /// Only those to this node.
        #[arg(long, value_name = "URI")]
        to: Option<NodeUri>,
        /// Only those that may still be answered.
        #[arg(long)]
        open: bool,
        /// At most this many.
        #[arg(long, default_value_t = 50, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=1_000))]
        limit: u64,
    },
    /// List the matters that this node brought, such as firearm traces, with their clocks: they run from acceptance and stand
    /// still while the holder needs data.
    Matters,
    /// Say where one question stands; shows no disclosed field and records nothing.
    Status {
        /// The exchange.
        id: ExchangeId,
    },
    /// Wait for the answer of a question that was put with --no-wait.
    Wait {
        /// The exchange.
        id: ExchangeId,
        /// How long to wait: 30s, 10m, 2h, 3d.
        #[arg(long = "for", default_value = "60s", value_name = "TIME")]
        patience: String,
    },
    /// Show an answer again; where fields were disclosed, that is recorded as CONSULT.
    Result {
        /// The exchange.
        id: ExchangeId,
        /// Who looks.
        #[arg(long, value_name = "ID")]
        officer: OfficerId,
    },
    /// Confirm a hit, stating the facts: CONFIRM is recorded, and core data (step 2) is asked for with everything of the
    /// step-1 question.
    Confirm {
        /// The step-1 exchange that was answered with a hit.
        id: ExchangeId,
        /// Who examined the hit.
        #[arg(long, value_name = "ID")]
        officer: OfficerId,
        /// What was seen and established.
        #[arg(long, value_name = "TEXT")]
        facts: String,
        /// The offence; that of the step-1 question unless given.
        #[arg(long, default_value = "", value_name = "TEXT")]
        offence: String,
        /// Urgent, with the justification.
        #[arg(long, default_value = "", value_name = "JUSTIFICATION")]
        urgent: String,
        /// Deadline of the answer: 30s, 10m, 2h, 3d; where it is beyond 10m the command does not wait.
        #[arg(long, default_value = "60s", value_name = "TIME")]
        due: String,
        /// Do not wait for the answer.
        #[arg(long)]
        no_wait: bool,
    },
    /// Refute a hit, stating the facts: REFUTE is recorded, and nothing is asked.
    Refute {
        /// The step-1 exchange that was answered with a hit.
        id: ExchangeId,
        /// Who examined the hit.
        #[arg(long, value_name = "ID")]
        officer: OfficerId,
        /// What was seen and established.
        #[arg(long, value_name = "TEXT")]
        facts: String,
    },
    /// Give a question up: its number is voided, unless an answer came before.
    Cancel {
        /// The exchange.
        id: ExchangeId,
    },
}

texts! {
    /// What a list of questions says.
    pub(super) enum Text {
        State: "state";
        Step: "step";
        Purpose: "purpose";
        Officer: "officer";
        Case: "case";
        AskedAt: "asked at";
        DueAt: "due at";
        Left: "time left";
        Urgency: "urgency";
        None: "no questions";
        Open: "asked; the holder has not answered yet";
        AwaitsKey: "answered; the content's key is to come";
        WithPerson: "with a person at the holder since";
        WaitsForLine: "waits for the line since";
        Answered: "answered";
        Refused: "refused by the holder";
        TimedOut: "no answer by the deadline; the number is voided";
        Cancelled: "given up; the number is voided unless the holder recorded the question before";
        NotProcessed: "the holder's node did not process it; the number is voided";
        Disputed: "what came does not match what was committed; DISPUTE is recorded";
        Unreleased: "answered, but the content's key did not come by the deadline; UNRELEASED is recorded";
        GoesOn: "the question goes on by itself; look with 'puente query status {id}', wait with 'puente query wait {id}', give it up with 'puente query cancel {id}'";
        HasEnded: "it has ended: show it with 'puente query result {id} --officer ID'";
        Refuted: "REFUTE is recorded; nothing more is asked";
        Interrupted: "you stopped waiting; the question was not given up";
        NotYet: "no answer yet";
        UnknownQuestion: "this node asked no such question";
        ListThem: "'puente query list' shows the questions of this node";
    }
}

fn with_id(text: Text, id: &str, lang: Lang) -> String {
    text.get(lang).replace("{id}", id)
}

/// How to look at a question again, and how to give it up.
pub(super) fn goes_on(id: &str, lang: Lang) -> String {
    with_id(Text::GoesOn, id, lang)
}

/// How to see what came of a question.
pub(super) fn ended(id: &str, lang: Lang) -> String {
    with_id(Text::HasEnded, id, lang)
}

/// There is no such question.
pub(crate) fn unknown(id: &str, lang: Lang) -> Failure {
    Failure::usage("unknown-exchange", Text::UnknownQuestion.get(lang))
        .hint(Text::ListThem.get(lang))
        .details(json!({"exchange": id}))
}

/// A hit is confirmed once: the question that followed is named.
pub(crate) fn already_confirmed(id: &str, next: Option<&str>) -> Failure {
    let failure =
        Failure::usage("already-confirmed", "this hit was confirmed before: nothing was recorded or asked again");
    match next {
        Some(next) => failure.hint(format!(
            "question {next} asks for its core data; if that came to nothing, ask again with 'puente query --step 2 --confirms'"
        )),
        None => failure.hint("its step-2 question is being recorded: 'puente query list' shows it in a moment"),
    }
    .details(json!({"exchange": id, "next": next}))
}

pub(super) fn run(context: &Context, command: &QueryCommand) -> Result<Report, Failure> {
    let Some(earlier) = &command.earlier else {
        let args = command.question.as_ref().ok_or_else(|| {
            Failure::usage("usage", "a question names its kind").hint("for example: puente query vehicle.status --help")
        })?;
        return match &args.group {
            Some(_) if command.dry_run => Err(args.node().err().unwrap_or_else(client::unexpected)),
            Some(group) => group_query::run(context, args, group, command.no_wait),
            None => query::run(context, args, command.no_wait, command.dry_run),
        };
    };
    match earlier {
        Earlier::List { officer, to, open, limit } => {
            let limit = usize::try_from(*limit).ok();
            list(context, Wanted { officer: officer.clone(), to: to.clone(), open: *open, limit })
        }
        Earlier::Matters => matters(context),
        Earlier::Status { id } => {
            let bearings = Bearings::load(&context.dir).map_err(load_failure)?;
            let question = find(context, *id)?;
            let mut rows = vec![(words::Text::Exchange.get(context.lang).to_owned(), question.exchange.clone())];
            rows.extend(described(&bearings, &question, context.lang));
            let hint = if question.left_millis > 0 || question.waits.is_some() {
                goes_on(&question.exchange, context.lang)
            } else {
                ended(&question.exchange, context.lang)
            };
            let rows = spelled(rows, &context.clocks_with(Some(question.to.as_str())));
            let report = Report::new(json!(question), table(&rows)).hint(hint);
            Ok(if question.training { report.in_training() } else { report })
        }
        Earlier::Wait { id, patience } => {
            let patience = query::duration(patience)?;
            concluded(context, *id, || wait(context, *id, patience))
        }
        Earlier::Result { id, officer } => {
            let command = Command::QuestionResult { exchange: *id, officer: officer.clone() };
            concluded(context, *id, || answer(context, command))
        }
        Earlier::Confirm { id, officer, facts, offence, urgent, due, no_wait } => {
            query::bounded("facts", facts, FACTS_CHARS_MAX)?;
            query::bounded("urgent", urgent, query::TEXT_CHARS_MAX)?;
            query::bounded("offence", offence, puente_policy::OFFENCE_CHARS_MAX)?;
            let due = query::duration(due)?;
            let confirmed = FollowUp {
                due_in_millis: u64::try_from(due.as_millis()).unwrap_or(u64::MAX),
                justification: urgent.clone(),
                offence: offence.clone(),
            };
            let (officer, facts) = (officer.clone(), facts.clone());
            let examined = Examined { exchange: *id, officer, facts, confirmed: Some(confirmed) };
            concluded(context, *id, || match answer(context, Command::QuestionExamine(Box::new(examined)))? {
                Concluded::Asked { exchange } if !no_wait && due <= query::FOREGROUND_MAX => {
                    let id = exchange.parse().map_err(|_| client::unexpected())?;
                    wait(context, id, due + Duration::from_secs(10))
                }
                said => Ok(said),
            })
        }
        Earlier::Refute { id, officer, facts } => {
            query::bounded("facts", facts, FACTS_CHARS_MAX)?;
            let (officer, facts) = (officer.clone(), facts.clone());
            let examined = Examined { exchange: *id, officer, facts, confirmed: None };
            match answer(context, Command::QuestionExamine(Box::new(examined)))? {
                Concluded::Recorded { index } => {
                    let rows = [(words::Text::Exchange.get(context.lang).to_owned(), id.to_string())];
                    let json = json!({"exchange": id.to_string(), "recorded": index});
                    let report = Report::new(json, table(&rows)).note(Text::Refuted.get(context.lang));
                    Ok(if find(context, *id)?.training { report.in_training() } else { report })
                }
                said => concluded(context, *id, || Ok(said)),
            }
        }
        Earlier::Cancel { id } => {
            concluded(context, *id, || answer(context, Command::QuestionCancel { exchange: *id }))
        }
    }
}

/// Puts a question; with patience, waits for what comes of it.
pub(super) fn ask(
    context: &Context,
    bearings: &Bearings,
    about: &About<'_>,
    question: Question,
    patience: Option<Duration>,
) -> Result<Report, Failure> {
    let mut said = answer(context, Command::Query(Box::new(question)))?;
    if let (Concluded::Asked { exchange }, Some(patience)) = (&said, patience) {
        let id = exchange.parse().map_err(|_| client::unexpected())?;
        said = wait(context, id, patience)?;
    }
    conclusion::report(context.lang, bearings, about, &said)
}

fn answer(context: &Context, command: Command) -> Result<Concluded, Failure> {
    let mut node = client::running(context)?;
    match client::call(&mut node, command, None)? {
        Answer::Concluded(concluded) => Ok(*concluded),
        _ => Err(client::unexpected()),
    }
}

/// Waits until the question ends, patience does, or Ctrl-C says so: only the waiting ends then.
fn wait(context: &Context, id: ExchangeId, patience: Duration) -> Result<Concluded, Failure> {
    let mut node = client::running(context)?;
    let call = move || client::call(&mut node, Command::QuestionAwait { exchange: id }, Some(patience));
    let stopped = |code: &'static str, text: Text| {
        Failure::unreachable(code, text.get(context.lang))
            .hint(goes_on(&id.to_string(), context.lang))
            .details(json!({"exchange": id.to_string()}))
    };
    match interruptible(call)? {
        None => Err(stopped("interrupted", Text::Interrupted)),
        Some(Ok(Answer::Concluded(concluded))) => Ok(*concluded),
        Some(Ok(_)) => Err(client::unexpected()),
        Some(Err(failure)) if failure.code == "no-answer" => Err(stopped("no-answer-yet", Text::NotYet)),
        Some(Err(failure)) => Err(failure.details(json!({"exchange": id.to_string()}))),
    }
}

/// What `work` gives, or none if Ctrl-C came first.
fn interruptible<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<Option<T>, Failure> {
    let refused = |error: std::io::Error| Failure::unavailable("system", error.to_string());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(refused)?;
    let done = runtime.block_on(async {
        tokio::select! {
            biased;
            done = tokio::task::spawn_blocking(work) => done.map(Some).map_err(|error| refused(error.into())),
            signal = tokio::signal::ctrl_c() => signal.map(|()| None).map_err(refused),
        }
    });
    // Whoever still reads from the node must not hold up the end.
    runtime.shutdown_background();
    done
}

fn find(context: &Context, id: ExchangeId) -> Result<Shown, Failure> {
    let mut node = client::running(context)?;
    match client::call(&mut node, Command::QuestionStatus { exchange: id }, None)? {
        Answer::Questions { mut questions } => questions.pop().ok_or_else(|| unknown(&id.to_string(), context.lang)),
        _ => Err(client::unexpected()),
    }
}

/// Carries something out with an earlier question and reports what came of it.
fn concluded(
    context: &Context,
    id: ExchangeId,
    carry_out: impl FnOnce() -> Result<Concluded, Failure>,
) -> Result<Report, Failure> {
    let bearings = Bearings::load(&context.dir).map_err(load_failure)?;
    let question = find(context, id)?;
    let kind = bearings.catalogue.query_kind(&question.kind).ok_or_else(client::unexpected)?;
    let said = carry_out()?;
    conclusion::report(context.lang, &bearings, &About { kind, to: &question.to, training: question.training }, &said)
}

fn matters(context: &Context) -> Result<Report, Failure> {
    let mut node = client::running(context)?;
    let Answer::Matters { matters } = client::call(&mut node, Command::Matters, None)? else {
        return Err(client::unexpected());
    };
    let lang = context.lang;
    let json = json!({"matters": matters});
    if matters.is_empty() {
        return Ok(Report::new(json, text(lang, "no matters")));
    }
    let mut shown = String::new();
    for one in &matters {
        let standing = match one.standing.as_str() {
            "incomplete" => text(lang, "not accepted yet: the holder needs data"),
            "duplicate" => text(lang, "not accepted: another agency brought it before; agree which one goes on"),
            "refused" => text(lang, "refused by the holder"),
            "running" => text(lang, "accepted; the clock runs"),
            "paused" => text(lang, "the holder needs data; the clock stands still"),
            "ended" => text(lang, "ended"),
            _ => text(lang, "sent; no answer yet"),
        };
        let mut rows = vec![
            (Text::State.get(lang).to_owned(), format!("{standing} ({})", one.standing)),
            (words::Text::To.get(lang).to_owned(), one.to.to_string()),
        ];
        if one.training {
            rows.insert(0, (String::new(), BANNER.to_owned()));
        }
        if let Some(at) = &one.accepted_at {
            rows.push((text(lang, "accepted at").to_owned(), at.clone()));
            rows.push((text(lang, "clock").to_owned(), words::duration(one.running_millis / 1_000)));
            rows.push((text(lang, "stood still").to_owned(), words::duration(one.paused_millis / 1_000)));
        }
        if let Some(at) = &one.ended_at {
            rows.push((text(lang, "ended at").to_owned(), at.clone()));
        }
        if !one.missing.is_empty() {
            rows.push((text(lang, "missing").to_owned(), one.missing.join(", ")));
        }
        let rows: Vec<_> = rows.into_iter().map(|(label, value)| (format!("  {label}"), value)).collect();
        let rows = spelled(rows, &context.clocks_with(Some(one.to.as_str())));
        shown.push_str(&format!("{} {}\n{}", one.number, one.reference, table(&rows)));
    }
    Ok(Report::new(json, shown))
}

fn list(context: &Context, wanted: Wanted) -> Result<Report, Failure> {
    let bearings = Bearings::load(&context.dir).map_err(load_failure)?;
    let mut node = client::running(context)?;
    let Answer::Questions { questions } = client::call(&mut node, Command::Questions(wanted), None)? else {
        return Err(client::unexpected());
    };
    let lang = context.lang;
    if questions.is_empty() {
        return Ok(Report::new(json!({"questions": []}), format!("{}\n", Text::None.get(lang))));
    }
    let mut text = String::new();
    for question in &questions {
        text.push_str(&format!("{}\n", question.exchange));
        let rows = described(&bearings, question, lang).into_iter().map(|(label, value)| (format!("  {label}"), value));
        text.push_str(&table(&spelled(rows.collect(), &context.clocks_with(Some(question.to.as_str())))));
    }
    Ok(Report::new(json!({"questions": questions}), text))
}

/// Where a question stands, in words.
pub(super) fn state(question: &Shown, lang: Lang) -> String {
    if let Some(Waits::Line { since }) = &question.waits {
        return format!("{} {since}", Text::WaitsForLine.get(lang));
    }
    if let Some(Waits::Person { since }) = &question.waits {
        return format!("{} {since}", Text::WithPerson.get(lang));
    }
    let said = |text: Text, more: Option<String>| match more {
        Some(more) => format!("{}: {more}", text.get(lang)),
        None => text.get(lang).to_owned(),
    };
    let outcome = || {
        let code = question.outcome.as_deref()?;
        Some(code.parse().map_or_else(|_| code.to_owned(), |o| format!("{} ({code})", words::outcome(o, lang))))
    };
    let reason = || {
        let code = question.reason.as_deref()?;
        Some(code.parse().map_or_else(|_| code.to_owned(), |r| format!("{} ({code})", words::reason(r, lang))))
    };
    match question.state.as_str() {
        "open" => said(Text::Open, None),
        "awaiting-release" => said(Text::AwaitsKey, outcome()),
        "answered" => said(Text::Answered, outcome()),
        "refused" => said(Text::Refused, reason()),
        "timed-out" => said(Text::TimedOut, None),
        "cancelled" => said(Text::Cancelled, None),
        "not-processed" => said(Text::NotProcessed, question.fault.clone()),
        "disputed" => said(Text::Disputed, None),
        "unreleased" => said(Text::Unreleased, None),
        other => other.to_owned(),
    }
}

fn described(bearings: &Bearings, question: &Shown, lang: Lang) -> Vec<(String, String)> {
    let row = |text: Text, value: String| (text.get(lang).to_owned(), value);
    let label = bearings.catalogue.query_kind(&question.kind).map(|kind| kind.labels().get(lang));
    let asked = label.map_or_else(|| question.kind.clone(), |label| format!("{label} ({})", question.kind));
    let mut rows = vec![
        row(Text::State, state(question, lang)),
        (words::Text::Asked.get(lang).to_owned(), asked),
        (words::Text::To.get(lang).to_owned(), conclusion::name_of(bearings, &question.to, lang)),
        row(Text::Step, question.step.clone()),
        row(Text::Purpose, format!("{} ({})", question.purpose, question.basis)),
        row(Text::Officer, format!("{} ({})", question.officer, question.role)),
        row(Text::Case, question.case_ref.clone()),
        row(Text::AskedAt, question.asked_at.clone()),
        row(Text::DueAt, question.due_at.clone()),
    ];
    if question.training {
        rows.insert(0, (String::new(), BANNER.to_owned()));
    }
    if question.left_millis > 0 {
        rows.push(row(Text::Left, words::duration(question.left_millis / 1_000)));
    }
    if question.urgency != "routine" {
        rows.push(row(Text::Urgency, question.urgency.clone()));
    }
    rows
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_goes_on_says_how_to_look_and_how_to_give_up() {
        for lang in [Lang::En, Lang::Es] {
            let text = goes_on("00ff", lang);
            assert!(text.contains("query status 00ff") && text.contains("query cancel 00ff"), "{text}");
        }
    }
}
