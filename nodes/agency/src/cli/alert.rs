//! `puente alert …`: alerts to a group, and what becomes of them.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::time::{Duration, Instant};

use clap::{Args, Subcommand};
use puente_model::{AlertCategory, AlertCertainty, AlertSeverity, Handling, Lang, OfficerId};
use puente_words::{say, text, texts};
use serde_json::json;

use super::clocks::spelled;
use super::conclusion::printable;
use super::output::{Exit, Failure, Report, table};
use super::query::duration;
use super::{Context, client};
use crate::alerts::{Shown, Wished, Words};
use crate::control::ControlClient;
use crate::control_api::{Answer, Command, Concluded};

/// How often `watch` looks.
const EVERY: Duration = Duration::from_millis(250);
/// Letters of an id that name an alert, at least.
const PREFIX_MIN: usize = 6;

/// `puente alert`.
#[derive(Debug, Subcommand)]
pub enum AlertCommand {
    /// Say something to everybody in a group: it stands in this node's log first, and reaches whoever is offline later,
    /// unless it is over by then.
    Publish(Box<PublishArgs>),
    /// Acknowledge another agency's alert: recorded here, and seen by whoever published it.
    Ack {
        /// The alert: its id, or the first letters of it.
        id: String,
        /// Who.
        #[arg(long, value_name = "ID")]
        officer: OfficerId,
        /// For this node's own log.
        #[arg(long, default_value = "", value_name = "TEXT")]
        note: String,
    },
    /// Cancel an alert of this agency's, with the reason: everybody it was said to hears of it.
    Cancel {
        /// The alert: its id, or the first letters of it.
        id: String,
        /// Who.
        #[arg(long, value_name = "ID")]
        officer: OfficerId,
        /// Why.
        #[arg(long, value_name = "TEXT")]
        reason: String,
    },
    /// List alerts, the newest first: what this agency published and was told.
    List {
        /// Only those that stand: neither over nor cancelled.
        #[arg(long)]
        standing: bool,
    },
    /// Show one alert: what it says, and of this agency's own who has it since when, and who acknowledged it.
    Show {
        /// The alert: its id, or the first letters of it.
        id: String,
    },
    /// Print alerts, acknowledgements and cancellations as they come, until it is stopped.
    Watch {
        /// Stop after this time: 30s, 10m, 2h, 3d.
        #[arg(long = "for", value_name = "TIME")]
        until: Option<String>,
    },
}

/// `puente alert publish`.
#[derive(Debug, Args)]
pub struct PublishArgs {
    /// The group, for example tijuana-san-diego.
    #[arg(long)]
    pub group: String,
    /// What it is about: geo, met, safety, security, rescue, fire, health, env, transport, infra, cbrne, other.
    #[arg(long, default_value = "security")]
    pub category: AlertCategory,
    /// How severe that is: extreme, severe, moderate, minor, unknown.
    #[arg(long)]
    pub severity: AlertSeverity,
    /// How certain it is: observed, likely, possible, unlikely, unknown.
    #[arg(long, default_value = "observed")]
    pub certainty: AlertCertainty,
    /// Where, in words.
    #[arg(long, value_name = "TEXT")]
    pub area: String,
    /// What happened, in English.
    #[arg(long, value_name = "TEXT", required_unless_present = "es")]
    pub en: Option<String>,
    /// What happened, in Spanish.
    #[arg(long, value_name = "TEXT")]
    pub es: Option<String>,
    /// What to do, in English.
    #[arg(long, default_value = "", value_name = "TEXT", requires = "en")]
    pub action_en: String,
    /// What to do, in Spanish.
    #[arg(long, default_value = "", value_name = "TEXT", requires = "es")]
    pub action_es: String,
    /// How long ago it was seen: 30s, 10m, 2h, 3d; just now unless given.
    #[arg(long, value_name = "TIME")]
    pub seen: Option<String>,
    /// How long the alert stands: 30s, 10m, 2h, 3d.
    #[arg(long, default_value = "6h", value_name = "TIME")]
    pub stands: String,
    /// How it is to be handled.
    #[arg(long, default_value = "H1", value_name = "CODE")]
    pub handling: Handling,
    /// Why it is published.
    #[arg(long)]
    pub purpose: puente_model::Purpose,
    /// Legal basis of the charter.
    #[arg(long)]
    pub basis: puente_model::LegalBasisId,
    /// Who publishes it.
    #[arg(long, value_name = "ID")]
    pub officer: OfficerId,
}

texts! {
    /// What alerts say.
    enum Text {
        Id: "alert";
        From: "published by";
        Own: "this agency";
        Group: "group";
        What: "what";
        Where: "where";
        Do: "what to do";
        Handling: "handling";
        Seen: "seen at";
        Signed: "signed at";
        Came: "came at";
        Stands: "stands until";
        Over: "over";
        Acknowledged: "acknowledged at";
        Cancelled: "cancelled at";
        Reason: "because";
        Reached: "reached";
        NotReached: "not reached yet";
        None: "no alerts";
        OnlyCancelled: "only its cancellation came yet";
    }
}

pub(super) fn run(context: &Context, command: AlertCommand) -> Result<Report, Failure> {
    match command {
        AlertCommand::Publish(args) => publish(context, *args),
        AlertCommand::Ack { id, officer, note } => {
            let mut node = client::running(context)?;
            let alert = find(&mut node, &id)?.id;
            done(context, &mut node, Command::AlertAcknowledge { alert, officer, note })
        }
        AlertCommand::Cancel { id, officer, reason } => {
            let mut node = client::running(context)?;
            let alert = find(&mut node, &id)?.id;
            done(context, &mut node, Command::AlertCancel { alert, officer, reason })
        }
        AlertCommand::List { standing } => list(context, standing),
        AlertCommand::Show { id } => {
            let mut node = client::running(context)?;
            let alert = find(&mut node, &id)?;
            Ok(Report::new(json!(alert), table(&rows(context, &alert))))
        }
        AlertCommand::Watch { until } => watch(context, until.as_deref()),
    }
}

fn publish(context: &Context, args: PublishArgs) -> Result<Report, Failure> {
    let words = |lang, headline: Option<String>, action| headline.map(|headline| Words { lang, headline, action });
    let texts = [words(Lang::En, args.en, args.action_en), words(Lang::Es, args.es, args.action_es)];
    let millis = |text: &str| duration(text).map(|time| u64::try_from(time.as_millis()).unwrap_or(u64::MAX));
    let wished = Wished {
        group: args.group,
        category: args.category,
        severity: args.severity,
        certainty: args.certainty,
        area: args.area,
        seen_millis_ago: args.seen.as_deref().map_or(Ok(0), millis)?,
        stands_millis: millis(&args.stands)?,
        handling: args.handling,
        texts: texts.into_iter().flatten().collect(),
        purpose: args.purpose,
        basis: args.basis,
        officer: args.officer,
    };
    let mut node = client::running(context)?;
    done(context, &mut node, Command::AlertPublish(Box::new(wished)))
}

/// Carries out what an officer wants with an alert.
fn done(context: &Context, node: &mut ControlClient, command: Command) -> Result<Report, Failure> {
    let Answer::Concluded(concluded) = client::call(node, command, None)? else { return Err(client::unexpected()) };
    match *concluded {
        Concluded::Alerted { alert } => {
            let rows = [(Text::Id.get(context.lang).to_owned(), alert.clone())];
            Ok(Report::new(json!({"alert": alert}), table(&rows))
                .note("it stands in the log, and its group hears of it")
                .hint("'puente alert show' says who has it, and who acknowledged it"))
        }
        Concluded::UnknownAlert { .. } => Err(Failure::usage(
            "unknown-alert",
            "there is no such alert here, or not one of the agency that may do this",
        )
        .hint("'puente alert list' shows them; its author cancels an alert, the others acknowledge it")),
        Concluded::Invalid { errors } => {
            let first = errors.into_iter().next();
            let (message, mend) = first.map(|e| (e.message, e.mend)).unwrap_or_default();
            Err(Failure::usage("malformed", message).hint(mend))
        }
        Concluded::Refused { reason, explanation, .. } => {
            let words = if context.lang == Lang::Es { explanation.text_es } else { explanation.text_en };
            let json = json!({"refused": reason, "rule": explanation.rule});
            Ok(Report::new(json, format!("{}\n", printable(&words))).exit(Exit::Findings))
        }
        Concluded::LogUnavailable => Err(client::log_unavailable()),
        Concluded::LogSuspended => Err(client::log_suspended()),
        _ => Err(client::unexpected()),
    }
}

fn all(node: &mut ControlClient) -> Result<Vec<Shown>, Failure> {
    match client::call(node, Command::Alerts, None)? {
        Answer::Alerts { alerts } => Ok(alerts),
        _ => Err(client::unexpected()),
    }
}

/// The one alert whose id begins so.
fn find(node: &mut ControlClient, id: &str) -> Result<Shown, Failure> {
    let mut found: Vec<Shown> = all(node)?;
    found.retain(|alert| id.len() >= PREFIX_MIN && alert.id.to_string().starts_with(id));
    match (found.pop(), found.is_empty()) {
        (Some(alert), true) => Ok(alert),
        (Some(_), false) => Err(Failure::usage("which-alert", "several alerts begin so").hint("give more of the id")),
        (None, _) => Err(Failure::usage("unknown-alert", "there is no such alert here")
            .hint("'puente alert list' shows them; give its id, or the first six letters or more")),
    }
}

/// What an alert says in this language, or in the other one.
fn words(alert: &Shown, lang: Lang) -> Option<&Words> {
    alert.texts.iter().find(|words| words.lang == lang).or_else(|| alert.texts.first())
}

fn rows(context: &Context, alert: &Shown) -> Vec<(String, String)> {
    let lang = context.lang;
    let mut rows = Vec::new();
    let mut push = |label: Text, value: &str| {
        if !value.is_empty() {
            rows.push((label.get(lang).to_owned(), printable(value)));
        }
    };
    push(Text::Id, &alert.id.to_string());
    push(Text::From, alert.from.as_deref().unwrap_or(Text::Own.get(lang)));
    push(Text::Group, &alert.group);
    match words(alert, lang) {
        Some(words) => {
            let (severity, category) = (severity(&alert.severity, lang), category(&alert.category, lang));
            push(Text::What, &format!("{} ({severity}, {category})", words.headline));
            push(Text::Where, &alert.area);
            push(Text::Do, &words.action);
            push(Text::Handling, &alert.handling);
        }
        None => push(Text::What, Text::OnlyCancelled.get(lang)),
    }
    push(Text::Seen, alert.observed_at.as_deref().unwrap_or_default());
    push(Text::Signed, &alert.signed_at);
    push(Text::Came, alert.delivered_at.as_deref().unwrap_or_default());
    push(if alert.stands { Text::Stands } else { Text::Over }, alert.expires_at.as_deref().unwrap_or_default());
    push(Text::Acknowledged, alert.acknowledged_at.as_deref().unwrap_or_default());
    push(Text::Cancelled, alert.cancelled_at.as_deref().unwrap_or_default());
    push(Text::Reason, &alert.reason);
    for hop in &alert.hops {
        let mut value = match (&hop.reached_at, hop.after_millis) {
            (Some(at), Some(after)) => say(lang, &format!("{at}, {after} ms after it was signed")).into_owned(),
            _ => Text::NotReached.get(lang).to_owned(),
        };
        if let (Some(at), Some(role)) = (&hop.acknowledged_at, &hop.role) {
            value.push_str("; ");
            value.push_str(&say(lang, &format!("acknowledged {at} ({role})")));
        }
        rows.push((format!("{} {}", Text::Reached.get(lang), hop.node), value));
    }
    spelled(rows, &context.clocks_with(alert.from.as_deref()))
}

/// A severity in words.
fn severity(code: &str, lang: Lang) -> &'static str {
    match code {
        "extreme" => text(lang, "extreme"),
        "severe" => text(lang, "severe"),
        "moderate" => text(lang, "moderate"),
        "minor" => text(lang, "minor"),
        _ => text(lang, "severity unknown"),
    }
}

/// A category in words.
fn category(code: &str, lang: Lang) -> &'static str {
    match code {
        "geo" => text(lang, "geophysical"),
        "met" => text(lang, "weather"),
        "safety" => text(lang, "public safety"),
        "security" => text(lang, "security"),
        "rescue" => text(lang, "rescue"),
        "fire" => text(lang, "fire"),
        "health" => text(lang, "health"),
        "env" => text(lang, "environment"),
        "transport" => text(lang, "transport"),
        "infra" => text(lang, "infrastructure"),
        "cbrne" => text(lang, "hazardous substances"),
        _ => text(lang, "other"),
    }
}

fn list(context: &Context, standing: bool) -> Result<Report, Failure> {
    let mut node = client::running(context)?;
    let mut alerts = all(&mut node)?;
    alerts.retain(|alert| alert.stands || !standing);
    let json = json!({"alerts": alerts});
    if alerts.is_empty() {
        return Ok(Report::new(json, Text::None.get(context.lang)));
    }
    let mut shown = String::new();
    for alert in &alerts {
        if !shown.is_empty() {
            shown.push('\n');
        }
        shown.push_str(&table(&rows(context, alert)));
    }
    Ok(Report::new(json, shown))
}

/// What is told of an alert once: that it came, that it was cancelled, that a member has or acknowledged it.
fn news(alert: &Shown) -> Vec<(String, &'static str, Option<String>)> {
    let name = |what: &str| format!("{what} {}", alert.id);
    let mut out = Vec::new();
    if !alert.texts.is_empty() {
        out.push((name("alert"), if alert.from.is_some() { "alert" } else { "published" }, None));
    }
    for hop in &alert.hops {
        let of = |what: &str| format!("{what} {} {}", alert.id, hop.node);
        if hop.reached_at.is_some() {
            out.push((of("reached"), "reached", Some(hop.node.to_string())));
        }
        if hop.acknowledged_at.is_some() {
            out.push((of("acknowledged"), "acknowledged", Some(hop.node.to_string())));
        }
    }
    if alert.acknowledged_at.is_some() {
        out.push((name("acknowledged"), "acknowledged", None));
    }
    if alert.cancelled_at.is_some() {
        out.push((name("cancelled"), "cancelled", None));
    }
    out
}

/// Prints what comes, from now on; alerts that stand already come first.
fn watch(context: &Context, until: Option<&str>) -> Result<Report, Failure> {
    let end = until.map(duration).transpose()?.map(|time| Instant::now() + time);
    let mut node = client::running(context)?;
    let (mut told, mut count, mut first) = (BTreeSet::new(), 0_u64, true);
    loop {
        let mut alerts = all(&mut node)?;
        alerts.reverse();
        for alert in &alerts {
            for (key, what, who) in news(alert) {
                let old = first && !alert.stands;
                if told.insert(key) && !old {
                    count += 1;
                    if !print(context, alert, what, who.as_deref()) {
                        return Ok(Report::new(json!({"told": count}), ""));
                    }
                }
            }
        }
        first = false;
        if end.is_some_and(|end| Instant::now() >= end) {
            return Ok(Report::new(json!({"told": count}), ""));
        }
        std::thread::sleep(EVERY);
    }
}

/// One line; false if nobody reads any more.
fn print(context: &Context, alert: &Shown, what: &'static str, who: Option<&str>) -> bool {
    let lang = context.lang;
    let line = if context.json {
        json!({"event": what, "by": who, "alert": alert}).to_string()
    } else {
        let headline = words(alert, lang).map(|words| words.headline.as_str()).unwrap_or_default();
        let what = match what {
            "alert" => text(lang, "ALERT"),
            "published" => text(lang, "published"),
            "reached" => text(lang, "reached"),
            "acknowledged" => text(lang, "acknowledged"),
            _ => text(lang, "CANCELLED"),
        };
        let by = who.or(alert.from.as_deref()).unwrap_or_default();
        let id: String = alert.id.to_string().chars().take(12).collect();
        printable(&format!("{what} {id} {by} {headline} | {} | {}", alert.area, severity(&alert.severity, lang)))
    };
    let mut out = std::io::stdout().lock();
    writeln!(out, "{line}").and_then(|()| out.flush()).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_has_its_word() {
        let words: BTreeSet<&str> = AlertCategory::ALL.iter().map(|code| category(code.as_str(), Lang::Es)).collect();
        assert_eq!(words.len(), AlertCategory::ALL.len());
        let words: BTreeSet<&str> = AlertSeverity::ALL.iter().map(|code| severity(code.as_str(), Lang::Es)).collect();
        assert_eq!(words.len(), AlertSeverity::ALL.len());
    }
}
