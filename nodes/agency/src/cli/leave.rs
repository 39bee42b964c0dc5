//! `puente charter leave`: out of the federation, for good.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use puente_model::Lang;
use puente_words::{say, text};
use serde_json::json;

use super::heartbeat::Heartbeat;
use super::output::{Failure, Report, table};
use super::{Context, client};
use crate::control_api::{Answer, Command};

/// Longest reason, in bytes.
const REASON_BYTES_MAX: usize = 500;
/// Draining, ending, closing periods and copying the log.
const PATIENCE: Duration = Duration::from_secs(1_800);

/// `puente charter leave`.
#[derive(Debug, Args)]
pub struct LeaveArgs {
    /// New folder for what others need to verify this node's history for ever.
    #[arg(long, value_name = "FOLDER")]
    out: PathBuf,
    /// Why; committed in the log's final entry, not shown.
    #[arg(long, value_name = "TEXT")]
    reason: String,
    /// Yes: nothing can be recorded, asked or answered by this node afterwards, ever.
    #[arg(long)]
    for_good: bool,
}

pub(super) fn run(context: &Context, args: LeaveArgs) -> Result<Report, Failure> {
    if args.reason.trim().is_empty() || args.reason.len() > REASON_BYTES_MAX {
        let message = format!("a reason has 1 to {REASON_BYTES_MAX} bytes");
        return Err(Failure::usage("reason", message).hint("say in a sentence why the node leaves"));
    }
    if !args.for_good {
        return Err(Failure::usage("for-good", "leaving cannot be taken back: the log is closed for ever")
            .hint("add --for-good if that is what you want; 'puente peer block' and 'node stop' can be taken back"));
    }
    let out = std::path::absolute(&args.out).map_err(|error| Failure::file(&args.out, &error))?;
    let mut node = client::running(context)?;
    let beat = Heartbeat::of(context, "what is open ends, and the log is closed", "leave");
    let command = Command::Leave { reason: args.reason, to: out };
    let Answer::Left { index, entries, folder, draft, unasked } = client::call(&mut node, command, Some(PATIENCE))?
    else {
        return Err(client::unexpected());
    };
    client::call(&mut node, Command::Shutdown, None)?;
    drop(beat);
    let lang = context.lang;
    let english = format!("{entries} entries, closed");
    let mut rows = vec![
        (text(lang, "final entry").to_owned(), index.to_string()),
        (text(lang, "log").to_owned(), say(lang, &english).into_owned()),
        (text(lang, "handed over").to_owned(), folder.clone()),
        (text(lang, "closing annex").to_owned(), draft.clone()),
    ];
    rows.extend(
        unasked.iter().map(|partner| {
            (text(lang, "NOT ASKED").to_owned(), format!("{}: {}", partner.peer, why(lang, &partner.why)))
        }),
    );
    let value = json!({
        "final_entry": index, "entries": entries, "folder": folder, "closing_annex": draft, "not_asked": unasked,
    });
    let report = Report::new(value, table(&rows))
        .note("this node has left; it has stopped, and does not start again")
        .hint("have your nation sign the annex in draft/, which closes the log for everybody: puente charter sign")
        .hint("keep the node's folder as long as its records must be kept; give everyone/ to whoever asks");
    if unasked.is_empty() {
        return Ok(report.note("every partner was asked for newer charter parts: the closing annex follows the newest"));
    }
    Ok(report
        .note("NOT every partner could be asked for newer charter parts: the closing annex may not follow the newest")
        .hint("before anybody signs it, ask your nation for its newest annex: two with one number convict the nation"))
}

/// Why it is not known what a partner has, in words.
fn why(lang: Lang, code: &str) -> &'static str {
    match code {
        "unreachable" => text(lang, "it cannot be reached"),
        "silent" => text(lang, "it did not answer in time"),
        "older-protocol" => text(lang, "its version of the protocol cannot name charter parts"),
        "kept-out" => text(lang, "it is blocked here, or convicted"),
        _ => text(lang, "it showed newer parts that do not hold here: the node's log lines say why"),
    }
}
