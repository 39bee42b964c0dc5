use puente_charter::{OfficerError, OfficerRecord};
use puente_model::{EventKind, Millis, OfficerId, Role};
use puente_words::{Lang, say, text, texts};
use serde_json::{Value, json};

use super::args::OfficerCommand;
use super::output::{Exit, Failure, Report, wrap};
use super::{Context, api_key, client};
use crate::api::keys::KeyBook;
use crate::config::NodeConfig;
use crate::control_api::{Answer, Command};
use crate::officers::{OfficerBook, OfficerBookError};

pub(super) fn run(context: &Context, command: OfficerCommand) -> Result<Report, Failure> {
    // Officers belong to a node's folder, not to wherever the command was typed.
    NodeConfig::load(&context.dir).map_err(|error| super::load_failure(error.into()))?;
    let mut book = OfficerBook::open(&context.dir)?;
    match command {
        OfficerCommand::List => return Ok(list(context, &book)),
        OfficerCommand::Add { id, name, role, expires } => {
            let expires = day(&expires)?;
            book.add(granted(context, id, name, role, expires))?;
        }
        OfficerCommand::BreakGlass { id, name, role, hours, reason } => {
            let reason = reason.trim();
            if reason.is_empty() {
                return Err(Failure::usage("no-reason", "access in an emergency needs its reason")
                    .hint("say with --reason what cannot wait for an ordinary grant"));
            }
            let expires = context.now.plus(u64::from(hours) * 3_600_000);
            let record = granted(context, id, name, role, expires);
            book.add(OfficerRecord { emergency: reason.to_owned(), ..record })?;
        }
        OfficerCommand::Review { id, found } => book.review(&id, &found)?,
        OfficerCommand::Revoke { id: Some(id), .. } => book.revoke(&id, context.now)?,
        OfficerCommand::Revoke { id: None, reason, .. } => {
            return revoke_all(context, &mut book, &reason.unwrap_or_default());
        }
    }
    settle(context, &mut book)
}

fn granted(context: &Context, id: OfficerId, name: String, role: Role, expires: Millis) -> OfficerRecord {
    let (emergency, review) = (String::new(), String::new());
    let (revoked, revoked_for) = (None, String::new());
    OfficerRecord { id, name, role, granted: context.now, expires, revoked, revoked_for, emergency, review }
}

/// Ends every grant and every API key. Both files say so before the log is asked for anything: whatever breaks off from there
/// on, a node that starts records the rest, and so does the same command again.
fn revoke_all(context: &Context, book: &mut OfficerBook, reason: &str) -> Result<Report, Failure> {
    let mut keys = KeyBook::open(&context.dir)?;
    let officers: Vec<String> = book.revoke_all(context.now, reason)?.iter().map(ToString::to_string).collect();
    let ended: Vec<String> = keys.revoke_all(context.now)?.iter().map(ToString::to_string).collect();
    let pending = keys.changes(context.now).len();
    let programs = api_key::settle(context)?;
    let mut report = settle(context, book)?;
    if let Some(object) = report.json.as_object_mut() {
        if let Some(entries) = object.get_mut("entries").and_then(Value::as_array_mut) {
            entries.splice(0..0, programs.entries());
        }
        if let Some(changes) = object.get_mut("pending") {
            *changes = json!(changes.as_u64().unwrap_or_default() + pending as u64);
        }
        object.insert("officers".to_owned(), json!(officers));
        object.insert("api_keys".to_owned(), json!(ended));
    }
    let names: String = officers.iter().chain(&ended).map(|id| format!("{id}\n")).collect();
    report.text = format!("{names}{}{}", programs.text(context), report.text);
    Ok(report
        .note(format!("grants revoked now: {}; API keys revoked now: {}", officers.len(), ended.len()))
        .hint("whoever is to ask again is added with 'puente officer add' under a new id, then 'puente api-key add'"))
}

/// Has the running node record what changed; without one, it is recorded when the node starts.
fn settle(context: &Context, book: &mut OfficerBook) -> Result<Report, Failure> {
    let changes = book.changes(context.now);
    let Some(mut node) = client::connect(context)? else {
        let revoked = changes.iter().any(|c| c.kind == EventKind::Revoke);
        let value = json!({"recorded": false, "pending": changes.len()});
        let mut report = Report::new(value, "")
            .note(format!("{} change(s) written down", changes.len()))
            .hint("no node is running here: the log gets the entry when it starts, and nobody may ask on it before");
        if revoked {
            report = report.note("a node that is down lets nobody ask; the revocation is recorded when it starts");
        }
        return Ok(report);
    };
    let Answer::Officers { recorded, waiting } = client::call(&mut node, Command::Officers, None)? else {
        return Err(client::unexpected());
    };
    let entries: Vec<_> = recorded.iter().map(|(event, index)| json!({"event": event, "index": index})).collect();
    let line = |(event, index): &(String, u64)| {
        let said = say(context.lang, &format!("{event} recorded at {index}")).into_owned();
        said + "\n"
    };
    let text: String = recorded.iter().map(line).collect();
    let report = Report::new(json!({"recorded": waiting == 0, "entries": entries, "waiting": waiting}), text);
    if waiting == 0 {
        return Ok(report);
    }
    Ok(report
        .exit(Exit::Findings)
        .note(format!("{waiting} grant(s) wait for the approval of two operators"))
        .hint("each of two operators runs 'puente approval sign'; nobody may ask on them before"))
}

fn list(context: &Context, book: &OfficerBook) -> Report {
    let mut rows = Vec::new();
    let mut out = String::new();
    let pending = book.changes(context.now);
    let clocks = context.clocks();
    for officer in book.wanted().iter() {
        let standing = standing(book, officer, context.now);
        rows.push(json!({
            "id": officer.id.to_string(),
            "name": officer.name,
            "role": officer.role.as_str(),
            "granted": officer.granted.to_string(),
            "expires": officer.expires.to_string(),
            "revoked": officer.revoked.map(|at| at.to_string()),
            "emergency": officer.is_emergency(),
            "review_due": officer.review_due().map(|at| at.to_string()),
            "state": standing.get(Lang::En),
        }));
        let until = format!("{} {}", text(context.lang, "until"), clocks.instant(officer.expires));
        out.push_str(&format!(
            "{:<16} {:<12} {}\n{:<16} {}\n",
            officer.id.to_string(),
            standing.get(context.lang),
            officer.role.as_str(),
            "",
            officer.name
        ));
        wrap(&until, 62).iter().for_each(|line| out.push_str(&format!("{:<16} {line}\n", "")));
    }
    for officer in book.wanted().iter() {
        if let Some(due) = officer.review_due() {
            let due = clocks.instant(due);
            let line = format!("{}: access in an emergency, to be reviewed until {due}", officer.id);
            out.push_str(&format!("{}\n", say(context.lang, &line)));
        }
    }
    if rows.is_empty() {
        out.push_str(&format!("{}\n", text(context.lang, "no officers")));
    }
    let report = Report::new(json!({"officers": rows, "pending": pending.len()}), out);
    if pending.is_empty() { report } else { report.hint("'pending' takes effect once the log holds its entry") }
}

texts! {
    /// Whether somebody may ask; in English, the stable code.
    enum Standing {
        Active: "active";
        Pending: "pending";
        NotYet: "not-yet";
        Expired: "expired";
        Revoked: "revoked";
    }
}

fn standing(book: &OfficerBook, officer: &OfficerRecord, now: Millis) -> Standing {
    if officer.revoked.is_some_and(|at| now >= at) {
        return Standing::Revoked;
    }
    match book.in_force().active(&officer.id, now) {
        Ok(_) => Standing::Active,
        Err(OfficerError::Unknown) => Standing::Pending,
        Err(OfficerError::Expired { .. }) => Standing::Expired,
        Err(OfficerError::NotYet { .. }) => Standing::NotYet,
        Err(_) => Standing::Revoked,
    }
}

/// The first instant after a day, UTC: the grant holds through that day.
fn day(text: &str) -> Result<Millis, Failure> {
    let bad = || Failure::usage("date", format!("'{text}' is not a date")).hint("write it as 2026-12-31");
    let date: jiff::civil::Date = text.parse().map_err(|_| bad())?;
    let next = date.tomorrow().map_err(|_| bad())?;
    let at = next.to_zoned(jiff::tz::TimeZone::UTC).map_err(|_| bad())?.timestamp().as_millisecond();
    u64::try_from(at).map(Millis).map_err(|_| bad())
}

impl From<OfficerBookError> for Failure {
    fn from(error: OfficerBookError) -> Self {
        let text = error.to_string();
        match error {
            OfficerBookError::File { path, error } => Self::file(&path, &error),
            OfficerBookError::Officer(OfficerError::Exists) => {
                Self::usage("exists", text).hint("give the person a new id, for example with a suffix")
            }
            OfficerBookError::Officer(OfficerError::Unknown) => {
                Self::usage("unknown-officer", text).hint("'puente officer list' shows everybody")
            }
            OfficerBookError::Officer(OfficerError::Toml { .. }) => {
                Self::usage("officers", text).hint("correct the file, or change officers with 'puente officer'")
            }
            OfficerBookError::Officer(OfficerError::Reason) => {
                Self::usage("no-reason", text).hint("say with --reason why everybody's access ends")
            }
            OfficerBookError::Officer(_) => Self::usage("officer", text).hint("'puente officer list' shows everybody"),
        }
    }
}
