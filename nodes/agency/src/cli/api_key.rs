//! `puente api-key`: keys of the agency's own programs.

use std::collections::BTreeSet;

use clap::Subcommand;
use puente_charter::OfficerError;
use puente_model::{Millis, OfficerId};
use puente_words::{say, text, texts};
use serde_json::json;

use super::output::{Exit, Failure, Report, table};
use super::{Context, client};
use crate::api::keys::{ApiKey, DAYS_DEFAULT, DAYS_MAX, KeyBook, KeyBookError, KeyId, KeyRecord, Scope};
use crate::config::NodeConfig;
use crate::control_api::{Answer, Command};
use crate::officers::OfficerBook;

const DAY_MILLIS: u64 = 86_400_000;

/// `puente api-key`.
#[derive(Debug, Subcommand)]
pub enum ApiKeyCommand {
    /// Make a key for a program that acts for one officer; it is shown once, and opens something once the log holds its GRANT.
    Add {
        /// The officer for whom the program acts: every question bears this name.
        #[arg(long, value_name = "ID")]
        officer: OfficerId,
        /// What the key opens, comma-separated.
        #[arg(long, value_enum, value_delimiter = ',', required = true)]
        scope: Vec<Scope>,
        /// Which program gets it, for this node's own list and log.
        #[arg(long, value_name = "NAME")]
        program: String,
        /// For how many days; never longer than the officer's grant.
        #[arg(long, default_value_t = DAYS_DEFAULT, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=i64::from(DAYS_MAX)))]
        days: u32,
    },
    /// List the keys: whose, for what, until when. Shows no secret.
    List,
    /// End a key at once.
    Revoke {
        /// Its id, the 16 digits in its middle.
        id: KeyId,
    },
}

pub(super) fn run(context: &Context, command: ApiKeyCommand) -> Result<Report, Failure> {
    // Keys belong to a node's folder, not to wherever the command was typed.
    NodeConfig::load(&context.dir).map_err(|error| super::load_failure(error.into()))?;
    let mut book = KeyBook::open(&context.dir)?;
    match command {
        ApiKeyCommand::Add { officer, scope, program, days } => {
            let scopes = BTreeSet::from_iter(scope);
            add(context, &mut book, officer, scopes, program.trim().to_owned(), days)
        }
        ApiKeyCommand::List => Ok(list(context, &book)),
        ApiKeyCommand::Revoke { id } => {
            book.revoke(id, context.now)?;
            let settled = settle(context)?;
            let report =
                Report::new(json!({"id": id.to_string(), "entries": settled.entries()}), settled.text(context));
            Ok(report.note("the key opens nothing any more"))
        }
    }
}

fn add(
    context: &Context,
    book: &mut KeyBook,
    officer: OfficerId,
    scopes: BTreeSet<Scope>,
    program: String,
    days: u32,
) -> Result<Report, Failure> {
    let officers = OfficerBook::open(&context.dir)?;
    let until = match officers.in_force().active(&officer, context.now) {
        Ok(record) => record.expires,
        Err(OfficerError::Unknown) if officers.wanted().find(&officer).is_some() => {
            let message = "the officer's grant does not stand in the log yet, so no program may act for the officer";
            return Err(Failure::usage("officer", message).hint("start the node: it records the grant first"));
        }
        Err(error) => {
            return Err(Failure::usage("officer", error.to_string()).hint("'puente officer list' shows who may ask"));
        }
    };
    let key = ApiKey::generate().map_err(|error| Failure::unavailable("random", error.to_string()))?;
    let expires = until.min(context.now.plus(u64::from(days) * DAY_MILLIS));
    let record = KeyRecord {
        id: key.id,
        officer,
        scopes,
        program,
        hash: key.hash(),
        granted: context.now,
        expires,
        revoked: Millis(0),
    };
    book.add(record, context.now)?;
    let settled = settle(context)?;
    let shown = key.text();
    let value = json!({
        "id": key.id.to_string(),
        "key": *shown,
        "expires": expires.to_string(),
        "recorded": settled.recorded.as_ref().is_some_and(|_| settled.waiting == 0),
        "entries": settled.entries(),
        "waiting": settled.waiting,
    });
    let report = Report::new(value, format!("{}\n{}", *shown, settled.text(context)))
        .note("this is the only time that the key is shown: give it to the program, and to nobody else");
    Ok(if settled.waiting > 0 {
        let waiting = settled.waiting;
        report
            .exit(Exit::Findings)
            .note(format!("{waiting} key(s) wait for the approval of two operators"))
            .hint("each of two operators runs 'puente approval sign'; then 'puente node reload' carries it out")
    } else if settled.recorded.is_none() {
        report.hint("no node is running here: the key opens something once the node has started and recorded its GRANT")
    } else {
        report
    })
}

/// What the running node recorded, if one runs.
pub(super) struct Settled {
    recorded: Option<Vec<(String, u64)>>,
    waiting: usize,
}

impl Settled {
    pub(super) fn entries(&self) -> Vec<serde_json::Value> {
        let recorded = self.recorded.iter().flatten();
        recorded.map(|(event, index)| json!({"event": event, "index": index})).collect()
    }

    pub(super) fn text(&self, context: &Context) -> String {
        let line = |(event, index): &(String, u64)| {
            let said = say(context.lang, &format!("{event} recorded at {index}")).into_owned();
            said + "\n"
        };
        self.recorded.iter().flatten().map(line).collect()
    }
}

/// Has the running node record what changed.
pub(super) fn settle(context: &Context) -> Result<Settled, Failure> {
    let Some(mut node) = client::connect(context)? else { return Ok(Settled { recorded: None, waiting: 0 }) };
    match client::call(&mut node, Command::ApiKeys, None)? {
        Answer::Officers { recorded, waiting } => Ok(Settled { recorded: Some(recorded), waiting }),
        _ => Err(client::unexpected()),
    }
}

texts! {
    /// What a key is; in English, the stable code.
    enum Standing {
        Active: "active";
        Pending: "pending";
        Expired: "expired";
        Revoked: "revoked";
    }
}

fn standing(book: &KeyBook, key: &KeyRecord, now: Millis) -> Standing {
    match book.granted(key.id) {
        _ if key.is_revoked() => Standing::Revoked,
        _ if now >= key.expires => Standing::Expired,
        None => Standing::Pending,
        Some(granted) if granted.is_revoked() => Standing::Revoked,
        Some(_) => Standing::Active,
    }
}

fn list(context: &Context, book: &KeyBook) -> Report {
    let lang = context.lang;
    let clocks = context.clocks();
    let (mut rows, mut out) = (Vec::new(), String::new());
    for key in book.wanted() {
        let standing = standing(book, key, context.now);
        let scopes: Vec<&str> = key.scopes.iter().map(|scope| scope.as_str()).collect();
        rows.push(json!({
            "id": key.id.to_string(),
            "officer": key.officer.as_str(),
            "scopes": scopes,
            "program": key.program,
            "granted": key.granted.to_string(),
            "expires": key.expires.to_string(),
            "revoked": key.is_revoked().then(|| key.revoked.to_string()),
            "state": standing.get(puente_words::Lang::En),
        }));
        let lines = [
            (format!("  {}", text(lang, "state")), standing.get(lang).to_owned()),
            (format!("  {}", text(lang, "officer")), key.officer.to_string()),
            (format!("  {}", text(lang, "program")), key.program.clone()),
            (format!("  {}", text(lang, "scope")), scopes.join(", ")),
            (format!("  {}", text(lang, "until")), clocks.instant(key.expires)),
        ];
        out.push_str(&format!("{}\n{}", key.id, table(&lines)));
    }
    if rows.is_empty() {
        out = format!("{}\n", text(lang, "no API keys"));
    }
    Report::new(json!({"keys": rows}), out)
}

impl From<KeyBookError> for Failure {
    fn from(error: KeyBookError) -> Self {
        let words = error.to_string();
        match error {
            KeyBookError::File { path, error } => Self::file(&path, &error),
            KeyBookError::Unknown => {
                Self::usage("unknown-api-key", words).hint("'puente api-key list' shows every key")
            }
            KeyBookError::TooMany => Self::usage("too-many", words).hint("revoke those that no program uses"),
            KeyBookError::Invalid => Self::usage("api-key", words).hint("give --program a short name"),
            KeyBookError::Toml { .. } | KeyBookError::Twice { .. } => {
                Self::usage("api-keys", words).hint("mend the file, or remove it: then every key is revoked")
            }
        }
    }
}
