//! `puente inbox …`: questions of other agencies that wait for a person's decision here.

use clap::Subcommand;
use puente_catalogue::Lang;
use puente_model::{ExchangeId, NodeUri, OfficerId, Outcome, RefusalReason};
use puente_words::{text, texts};
use serde_json::json;

use super::clocks::spelled;
use super::conclusion::printable;
use super::output::{Exit, Failure, Report, table};
use super::words;
use super::{Context, client, load_failure};
use crate::control_api::{Answer, Command, Concluded};
use crate::inbox::{Decided, Seen, Waiting};
use crate::load::Bearings;
use crate::training::BANNER;

/// `puente inbox`.
#[derive(Debug, Subcommand)]
pub enum InboxCommand {
    /// List what waits: urgent questions first, then the soonest due. Shows no subject, records nothing.
    List,
    /// List answers that nobody decided on before they were given and that somebody is to look at: the soonest due first.
    Reviews,
    /// Say that one of them was looked at, and what was found: HUMAN_DECISION is recorded, and it is due no more.
    Reviewed {
        /// The exchange.
        id: ExchangeId,
        /// Who looked.
        #[arg(long, value_name = "ID")]
        officer: OfficerId,
        /// What was found, for this node's own log.
        #[arg(long, value_name = "TEXT")]
        note: String,
    },
    /// Show one question to an officer whose role decides on it; that is recorded as CONSULT.
    Show {
        /// The exchange.
        id: ExchangeId,
        /// Who looks.
        #[arg(long, value_name = "ID")]
        officer: OfficerId,
    },
    /// Answer with what the policy permits; a step-1 hit is confirmed by the person who looked.
    Confirm {
        /// The exchange.
        id: ExchangeId,
        /// Who decides.
        #[arg(long, value_name = "ID")]
        officer: OfficerId,
        /// For this node's own log.
        #[arg(long, default_value = "", value_name = "TEXT")]
        note: String,
    },
    /// Answer with what the policy permits.
    Answer {
        /// The exchange.
        id: ExchangeId,
        /// Who decides.
        #[arg(long, value_name = "ID")]
        officer: OfficerId,
        /// For this node's own log.
        #[arg(long, default_value = "", value_name = "TEXT")]
        note: String,
    },
    /// Refuse, with the class of the reason and words in both languages.
    Refuse {
        /// The exchange.
        id: ExchangeId,
        /// Who decides.
        #[arg(long, value_name = "ID")]
        officer: OfficerId,
        /// The class: scope, sovereignty, ongoing-operation, source-protection, statutory-bar, quality, human-rights,
        /// no-legal-basis.
        #[arg(long)]
        reason: RefusalReason,
        /// Why, in English.
        #[arg(long, value_name = "TEXT")]
        text_en: String,
        /// Why, in Spanish.
        #[arg(long, value_name = "TEXT")]
        text_es: String,
    },
    /// Say which fields the question lacks.
    NeedsData {
        /// The exchange.
        id: ExchangeId,
        /// Who decides.
        #[arg(long, value_name = "ID")]
        officer: OfficerId,
        /// Names of the fields, comma-separated.
        #[arg(long, value_name = "NAMES", value_delimiter = ',', required = true)]
        fields: Vec<String>,
        /// What is missing, in English.
        #[arg(long, default_value = "", value_name = "TEXT")]
        text_en: String,
        /// What is missing, in Spanish.
        #[arg(long, default_value = "", value_name = "TEXT")]
        text_es: String,
    },
}

texts! {
    /// What the inbox says.
    enum Text {
        Empty: "nothing waits for a decision";
        Count: "questions that wait";
        Urgent: "URGENT";
        UrgentCount: "urgent";
        Why: "why it cannot wait";
        From: "asked by";
        Kind: "question";
        Step: "step";
        Purpose: "purpose";
        Role: "role of who asks";
        Officer: "officer who asks";
        Case: "case";
        Offence: "offence";
        Facts: "statement of facts";
        Params: "asked about";
        Confirms: "confirms the hit of";
        DueAt: "due at";
        Left: "time left";
        Since: "waits since";
        Deciders: "decided by";
        Carried: "decided; it is being carried out";
        Done: "carried out";
        NotWaiting: "no question with this id waits for a decision: it was decided, given up, or has expired";
        NotYours: "this officer's role does not decide on it";
        HowToDecide: "decide with 'puente inbox answer|confirm|refuse|needs-data {id} --officer ID'";
        ListThem: "'puente inbox list' shows what waits";
    }
}

pub(super) fn run(context: &Context, command: InboxCommand) -> Result<Report, Failure> {
    let decide = |id: ExchangeId, officer: OfficerId, decision: Decided| {
        decided(context, id, &Command::InboxDecide { exchange: id, officer, decision })
    };
    match command {
        InboxCommand::List => list(context),
        InboxCommand::Reviews => reviews(context),
        InboxCommand::Reviewed { id, officer, note } => {
            let mut node = client::running(context)?;
            let command = Command::InboxReviewed { exchange: id, officer, note };
            let Answer::Concluded(said) = client::call(&mut node, command, None)? else {
                return Err(client::unexpected());
            };
            match *said {
                Concluded::Recorded { index } => {
                    let rows = [(words::Text::Exchange.get(context.lang).to_owned(), id.to_string())];
                    let json = json!({"exchange": id.to_string(), "recorded": index});
                    Ok(Report::new(json, table(&rows)).note("HUMAN_DECISION is recorded; the answer is reviewed"))
                }
                Concluded::NotWaiting { .. } => {
                    Err(Failure::usage("not-waiting", "no answer with this id waits for a review")
                        .hint("'puente inbox reviews' lists those that do"))
                }
                Concluded::Invalid { errors } => {
                    let first = errors.into_iter().next();
                    let (message, mend) = first.map(|e| (e.message, e.mend)).unwrap_or_default();
                    Err(Failure::usage("note", message).hint(mend))
                }
                Concluded::LogUnavailable => Err(client::log_unavailable()),
                _ => Err(client::unexpected()),
            }
        }
        InboxCommand::Show { id, officer } => decided(context, id, &Command::InboxShow { exchange: id, officer }),
        InboxCommand::Confirm { id, officer, note } => decide(id, officer, Decided::Confirm { note }),
        InboxCommand::Answer { id, officer, note } => decide(id, officer, Decided::Answer { note }),
        InboxCommand::Refuse { id, officer, reason, text_en, text_es } => {
            decide(id, officer, Decided::Refuse { reason: reason.to_string(), text_en, text_es })
        }
        InboxCommand::NeedsData { id, officer, fields, text_en, text_es } => {
            decide(id, officer, Decided::NeedsData { fields, text_en, text_es })
        }
    }
}

/// Answers to be reviewed; the exit code says that some are due.
fn reviews(context: &Context) -> Result<Report, Failure> {
    let mut node = client::running(context)?;
    let Answer::Reviews { reviews, due } = client::call(&mut node, Command::InboxReviews, None)? else {
        return Err(client::unexpected());
    };
    let lang = context.lang;
    let json = json!({"waiting": reviews.len(), "due": due, "reviews": reviews});
    if reviews.is_empty() {
        return Ok(Report::new(json, text(lang, "no answer waits for a review")));
    }
    let mut shown = String::new();
    for one in &reviews {
        let mut rows = vec![
            (text(lang, "asked by").to_owned(), one.from.clone()),
            (text(lang, "question").to_owned(), format!("{} {}", one.kind, one.step)),
            (text(lang, "purpose").to_owned(), one.purpose.clone()),
            (text(lang, "due at").to_owned(), one.due_at.clone()),
        ];
        if one.overdue {
            rows.push((String::new(), text(lang, "OVERDUE").to_owned()));
        }
        if one.training {
            rows.insert(0, (String::new(), BANNER.to_owned()));
        }
        let rows: Vec<_> = rows.into_iter().map(|(label, value)| (format!("  {label}"), value)).collect();
        let rows = spelled(rows, &context.clocks_with(Some(&one.from)));
        shown.push_str(&format!("{}\n{}", one.exchange, table(&rows)));
    }
    let report =
        Report::new(json, shown).hint("'puente inbox reviewed ID --officer ID --note TEXT' once somebody has looked");
    Ok(if due > 0 { report.exit(Exit::Findings) } else { report })
}

fn list(context: &Context) -> Result<Report, Failure> {
    let bearings = Bearings::load(&context.dir).map_err(load_failure)?;
    let mut node = client::running(context)?;
    let Answer::Inbox { questions, urgent } = client::call(&mut node, Command::Inbox, None)? else {
        return Err(client::unexpected());
    };
    let (lang, json) = (context.lang, json!({"waiting": questions.len(), "urgent": urgent, "questions": questions}));
    if questions.is_empty() {
        return Ok(Report::new(json, format!("{}\n", Text::Empty.get(lang))));
    }
    let counts = [(Text::Count, questions.len()), (Text::UrgentCount, urgent)];
    let counts = counts.map(|(text, n)| (text.get(lang).to_owned(), n.to_string()));
    let mut text = table(&counts);
    for question in &questions {
        text.push_str(&format!("\n{}\n", question.exchange));
        let clocks = context.clocks_with(Some(&question.from));
        text.push_str(&table(&spelled(described(&bearings, question, lang), &clocks)));
    }
    Ok(Report::new(json, text))
}

fn described(bearings: &Bearings, question: &Waiting, lang: Lang) -> Vec<(String, String)> {
    let row = |text: Text, value: String| (format!("  {}", text.get(lang)), value);
    let label = bearings.catalogue.query_kind(&question.kind).map(|kind| kind.labels().get(lang));
    let kind = label.map_or_else(|| question.kind.clone(), |label| format!("{label} ({})", question.kind));
    let mut rows = Vec::new();
    if question.training {
        rows.push((String::new(), BANNER.to_owned()));
    }
    if question.urgency == "urgent" {
        rows.push(row(Text::Urgent, String::new()));
    }
    rows.extend([
        row(Text::From, question.from.clone()),
        row(Text::Kind, kind),
        row(Text::Step, question.step.clone()),
        row(Text::Purpose, format!("{} ({})", question.purpose, question.basis)),
        row(Text::Role, question.role.clone()),
        row(Text::DueAt, question.due_at.clone()),
    ]);
    if question.left_millis > 0 {
        rows.push(row(Text::Left, words::duration(question.left_millis / 1_000)));
    }
    rows.push(row(Text::Since, question.parked_at.clone()));
    rows.push(row(Text::Deciders, question.deciders.join(", ")));
    if question.decided {
        rows.push((String::new(), Text::Carried.get(lang).to_owned()));
    }
    rows
}

/// Carries something out with a question that waits; one of training says so.
fn decided(context: &Context, id: ExchangeId, command: &Command) -> Result<Report, Failure> {
    let mut node = client::running(context)?;
    let Answer::Inbox { questions, .. } = client::call(&mut node, Command::Inbox, None)? else {
        return Err(client::unexpected());
    };
    let training = questions.iter().any(|question| question.training && question.exchange == id.to_string());
    let said = carried(context, command);
    if training { said.map(Report::in_training).map_err(Failure::in_training) } else { said }
}

fn carried(context: &Context, command: &Command) -> Result<Report, Failure> {
    let bearings = Bearings::load(&context.dir).map_err(load_failure)?;
    let lang = context.lang;
    let mut node = client::running(context)?;
    let Answer::Concluded(said) = client::call(&mut node, command.clone(), None)? else {
        return Err(client::unexpected());
    };
    report(lang, &bearings, *said)
}

/// What came of looking at a question that waits, or of deciding on it.
pub(crate) fn report(lang: Lang, bearings: &Bearings, said: Concluded) -> Result<Report, Failure> {
    let json = json!(said);
    match said {
        Concluded::Inspected(seen) => {
            let hint = Text::HowToDecide.get(lang).replace("{id}", &seen.question.exchange);
            let partner: Option<NodeUri> = seen.question.from.parse().ok();
            let clocks =
                bearings.config.time_zones.clocks(&bearings.config.node, &partner.iter().collect::<Vec<_>>(), None);
            Ok(Report::new(json, table(&spelled(shown(bearings, &seen, lang), &clocks))).hint(hint))
        }
        Concluded::Decided { exchange, outcome, reason } => {
            let outcome = outcome.map(|code| {
                code.parse::<Outcome>().map_or(code.clone(), |o| format!("{} ({code})", words::outcome(o, lang)))
            });
            let reason = reason.map(|code| {
                code.parse::<RefusalReason>().map_or(code.clone(), |r| format!("{} ({code})", words::reason(r, lang)))
            });
            let rows = [
                (words::Text::Exchange.get(lang).to_owned(), exchange),
                (Text::Done.get(lang).to_owned(), outcome.or(reason).unwrap_or_default()),
            ];
            Ok(Report::new(json, table(&rows)))
        }
        Concluded::NotWaiting { exchange } => Err(Failure::usage("not-waiting", Text::NotWaiting.get(lang))
            .hint(Text::ListThem.get(lang))
            .details(json!({"exchange": exchange}))),
        Concluded::NotYours { roles } => Err(Failure::usage("not-yours", Text::NotYours.get(lang))
            .hint(format!("{}: {}", Text::Deciders.get(lang), roles.join(", ")))
            .details(json!({"roles": roles}))),
        Concluded::Invalid { errors } => {
            let message = errors.first().map(|e| e.message.clone()).unwrap_or_default();
            Err(Failure::usage("decision", message).hint("see 'puente inbox --help'"))
        }
        closed @ (Concluded::LogUnavailable | Concluded::LogSuspended) => Err(client::log_closed(&closed)),
        _ => Err(client::unexpected()),
    }
}

/// Why it cannot wait comes first.
fn shown(bearings: &Bearings, seen: &Seen, lang: Lang) -> Vec<(String, String)> {
    let row = |text: Text, value: &str| (format!("  {}", text.get(lang)), printable(value));
    let mut rows = Vec::new();
    if !seen.justification.is_empty() {
        rows.push(row(Text::Why, &seen.justification));
    }
    rows.extend(described(bearings, &seen.question, lang));
    rows.push(row(Text::Officer, &format!("{} {}", seen.officer, seen.officer_name)));
    rows.push(row(Text::Case, &seen.case_ref));
    for (text, value) in [(Text::Offence, &seen.offence), (Text::Facts, &seen.facts_statement)] {
        if !value.is_empty() {
            rows.push(row(text, value));
        }
    }
    let params: Vec<_> = seen.params.iter().map(|(name, value)| format!("{name} {value}")).collect();
    rows.push(row(Text::Params, &params.join(", ")));
    if let (Some(exchange), Some(at)) = (&seen.confirms, &seen.confirms_asked_at) {
        rows.push(row(Text::Confirms, &format!("{exchange} ({at})")));
    }
    rows
}
