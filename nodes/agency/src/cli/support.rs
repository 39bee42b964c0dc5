//! `puente support`: one signed file for whoever helps, of an allow-list of facts.
//!
//! Promise: nothing stands in it but what this module names, and it is shown before it is written. Thief: whoever gets
//! the file learns versions, numbers, which partners answer, and what is broken; no person, case, record, rule or key.

use std::path::{Path, PathBuf};

use clap::Args;
use puente_audit_log::{ClaimedNote, Signer};
use puente_model::limits::NOTE_BYTES_MAX;
use puente_words::text;
use serde_json::{Map, Value, json};

use super::output::{Failure, Report};
use super::{Context, client, doctor, formats};
use crate::config::NodeConfig;
use crate::control_api::{Answer, Command};
use crate::files;
use crate::keys::KeyRoom;
use crate::ops::check::Check;

/// First line of a bundle: no log's origin, so no bundle is taken for a head.
const TITLE: &str = "puente support bundle v1";
/// Room for signatures in a note.
const SIGNATURES: usize = 1_024;
/// Checks whose evidence is numbers, times, hashes and names of nodes; of the others only the code goes in.
const EVIDENCE: &[&str] = &[
    "version",
    "open-files-limit",
    "core-dumps",
    "udp-receive-buffer",
    "udp-send-buffer",
    "udp-offload",
    "time-service",
    "clock-head",
    "clock-peers",
    "disk-space",
    "disk-space-records",
    "disk-forecast",
    "disk-sync",
    "log-edge",
    "certificate",
    "charter",
    "charter-verified",
    "nation-roots",
    "charter-member",
    "charter-endpoint",
    "auditors",
    "legal-bases",
    "officers",
    "officers-expiry",
    "peer",
];
/// What goes in of the running node's word on itself, by JSON pointer.
const STATUS: &[&str] = &[
    "/version",
    "/ready",
    "/uptime_seconds",
    "/charter",
    "/catalogue",
    "/policy",
    "/certificate_ends",
    "/log",
    "/records/store",
    "/records/lookups",
    "/records/failed",
    "/records/rows_invalid",
    "/records/rows_strayed",
    "/pending",
    "/matched",
    "/faults",
];
/// What goes in of each peer: why one is blocked is a person's own words.
const PEER: &[&str] = &["/peer", "/suspended", "/connections", "/over", "/rtt_millis", "/unreachable"];
/// What goes in of each problem: what it is about may name files.
const PROBLEM: &[&str] = &["/code", "/check", "/state"];

/// `puente support`.
#[derive(Debug, Args)]
pub struct SupportArgs {
    /// File for the bundle.
    #[arg(long, value_name = "FILE", required_unless_present = "dry_run")]
    out: Option<PathBuf>,
    /// Print exactly what would go in, write nothing.
    #[arg(long)]
    dry_run: bool,
    /// Write it without a preview; it was looked at before.
    #[arg(long, conflicts_with = "dry_run")]
    yes: bool,
}

pub(super) fn run(context: &Context, args: &SupportArgs) -> Result<Report, Failure> {
    let mut left_out: Vec<&'static str> =
        vec!["officers, cases, questions, records, rules, keys, paths, free text: never"];
    let whole = gathered(context, &mut left_out)?;
    let shown = bundle(&whole, &left_out)?;
    let Some(out) = args.out.as_ref().filter(|_| !args.dry_run) else {
        return Ok(Report::new(
            json!({"written": null, "signed": false, "bundle": whole, "left_out": left_out}),
            shown,
        )
        .note("nothing was written"));
    };
    if !args.yes && !agreed(context, &shown)? {
        return Err(Failure::usage("not-agreed", "nothing was written").hint("--dry-run prints what would go in"));
    }
    let (bytes, signed) = match signer(context) {
        Ok(signer) => {
            let note = ClaimedNote::signed(&shown, Vec::new(), &*signer)
                .map_err(|error| Failure::unavailable("sign", error.to_string()))?;
            (note.as_bytes().to_vec(), true)
        }
        Err(_) => (shown.into_bytes(), false),
    };
    files::create(out, &bytes, true).map_err(|error| Failure::file(out, &error))?;
    let value = json!({"written": out.display().to_string(), "signed": signed, "bundle": whole, "left_out": left_out});
    let mut report = Report::new(value, format!("{}\n", out.display()));
    if !signed {
        report = report.note("it is not signed: this node's log key cannot be read by who runs this");
    }
    Ok(left_out.iter().fold(report, |report, what| report.note(format!("left out: {what}"))))
}

/// Shows what would be written, and asks.
fn agreed(context: &Context, shown: &str) -> Result<bool, Failure> {
    use std::io::{BufRead as _, IsTerminal as _, Write as _};
    if context.json || !std::io::stdin().is_terminal() {
        return Err(Failure::usage("not-agreed", "nobody is here to look at the bundle before it is written")
            .hint("look at it with --dry-run, then write it with --yes"));
    }
    let question = text(context.lang, "write this? [y/N]");
    let mut err = std::io::stderr().lock();
    let mut line = String::new();
    let asked = write!(err, "{shown}\n{question} ").and_then(|()| err.flush());
    asked
        .and_then(|()| std::io::stdin().lock().read_line(&mut line))
        .map_err(|error| Failure::unavailable("io", error.to_string()))?;
    Ok(matches!(line.trim().to_lowercase().as_str(), "y" | "yes" | "s" | "sí" | "si"))
}

fn signer(context: &Context) -> Result<Box<dyn Signer + Send>, String> {
    let config = NodeConfig::load(&context.dir).map_err(|error| error.to_string())?;
    let origin = config.origin().map_err(|error| error.to_string())?;
    let room = KeyRoom::open(context.vault.clone(), &config.keys).map_err(|error| error.to_string())?;
    let signer = room.log_signer(&context.dir, &origin, config.log).map_err(|error| error.to_string())?;
    Ok(Box::new(signer))
}

/// The text of a bundle, short enough to be signed: the oldest log lines make room.
fn bundle(whole: &Value, left_out: &[&str]) -> Result<String, Failure> {
    let mut whole = whole.clone();
    whole["left_out"] = json!(left_out);
    loop {
        let body =
            serde_json::to_string_pretty(&whole).map_err(|error| Failure::unavailable("io", error.to_string()))?;
        let text = format!("{TITLE}\n{body}\n");
        if text.len() + SIGNATURES <= NOTE_BYTES_MAX {
            return Ok(text);
        }
        match whole["log_lines"].as_array_mut() {
            Some(lines) if !lines.is_empty() => drop(lines.remove(0)),
            _ => return Err(Failure::unavailable("too-large", "the bundle is too large to be signed")),
        }
    }
}

fn gathered(context: &Context, left_out: &mut Vec<&'static str>) -> Result<Value, Failure> {
    let (patient, checks) = doctor::examined(context)?;
    let mut out = Map::new();
    let mut put = |name: &str, value: Value| out.insert(name.to_owned(), value);
    put("made", context.now.to_string().into());
    put("program", env!("CARGO_PKG_VERSION").into());
    put("machine", format!("{} {}", std::env::consts::OS, std::env::consts::ARCH).into());
    put("checks", checks.iter().map(|check| checked(check, context.dir.path())).collect());
    match NodeConfig::load(&context.dir) {
        Ok(config) => drop(put("config", configured(&config))),
        Err(_) => left_out.push("the configuration: it is not accepted"),
    }
    match formats::run(context) {
        Ok(report) => drop(put("formats", only(&report.json, &["/opens", "/program", "/protocol"]))),
        Err(_) => left_out.push("the formats of stored data: they cannot be read"),
    }
    match &patient.status {
        Some(status) => {
            let mut word = only(status, STATUS);
            word["peers"] = each(&status["peers"], PEER);
            word["problems"] = each(&status["problems"], PROBLEM);
            put("status", word);
        }
        None => left_out.push("the node's word on itself: it does not run, or does not answer who runs this"),
    }
    let mut node = client::connect(context).ok().flatten();
    match node.as_mut().map(|node| client::call(node, Command::Support, None)) {
        Some(Ok(Answer::Support { metrics, lines })) => {
            put("metrics", metrics.lines().filter(|line| !line.starts_with('#')).map(Value::from).collect());
            put(
                "log_lines",
                lines.iter().map(|l| Value::String(format!("{} {} {}", l.at, l.level, l.message))).collect(),
            );
        }
        _ => left_out.push("metrics and log lines: only a running node has them"),
    }
    Ok(Value::Object(out))
}

fn checked(check: &Check, folder: &Path) -> Value {
    let mut value = json!({"name": check.name, "code": check.code, "state": check.state.as_str()});
    if EVIDENCE.contains(&check.name) {
        // Where the folder is may name a person.
        let folder = folder.display().to_string();
        let shown = if folder.contains('/') { check.evidence.replace(&folder, "DIR") } else { check.evidence.clone() };
        value["evidence"] = shown.into();
    }
    value
}

/// Settings by name: what is not named here is not told.
fn configured(config: &NodeConfig) -> Value {
    json!({
        "node": config.node.as_str(),
        "log": config.log,
        "log_level": config.log_level.as_str(),
        "catalogue_extra": config.catalogue_extra.is_some(),
        "tcp": config.network.tcp,
        "records": {"store": config.records.store.kind(), "mapped": config.records.mapping.is_some()},
        "audit_door": config.audit.is_some(),
        "ops": {"door": config.ops.listen.is_some(), "traces": config.ops.traces.is_some()},
        "training": config.training.take_part,
    })
}

/// What stands at some places of a value, each under its path.
fn only(value: &Value, pointers: &[&str]) -> Value {
    let found =
        pointers.iter().filter_map(|at| Some((at.trim_start_matches('/').to_owned(), value.pointer(at)?.clone())));
    Value::Object(found.collect())
}

fn each(values: &Value, pointers: &[&str]) -> Value {
    values.as_array().into_iter().flatten().map(|value| only(value, pointers)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_named_does_not_go_in() {
        let status = json!({"version": "1", "node": "x", "records": {"store": "sqlite", "down": "secret"}, "new": 1});
        assert_eq!(only(&status, STATUS), json!({"version": "1", "records/store": "sqlite"}));
        let peers = json!([{"peer": "p", "blocked": "because of somebody"}]);
        assert_eq!(each(&peers, PEER), json!([{"peer": "p"}]));
        let config = "node = \"puente://mx/a/n1\"\nlisten = \"127.0.0.1:1\"\n\
                      [records]\nstore = \"postgres://quiroga@db.example/r?sslmode=disable\"\npassword_file = \"/home/quiroga/p\"\n";
        let shown = configured(&NodeConfig::parse("node.toml", config).unwrap()).to_string();
        assert!(shown.contains("postgres") && !shown.contains("quiroga") && !shown.contains("home"), "{shown}");
    }

    #[test]
    fn a_bundle_is_short_enough_to_be_signed_and_the_newest_lines_stay() {
        let lines: Vec<String> = (0..1_000).map(|n| format!("line {n} {}", "x".repeat(200))).collect();
        let text = bundle(&json!({"log_lines": lines}), &[]).unwrap();
        assert!(text.len() + SIGNATURES <= NOTE_BYTES_MAX && text.starts_with("puente support bundle v1\n{"));
        assert!(text.contains("line 999 ") && !text.contains("line 0 "));
        let error = bundle(&json!({"metrics": "x".repeat(NOTE_BYTES_MAX)}), &[]).unwrap_err();
        assert_eq!(error.code, "too-large");
    }
}
