use std::time::{Duration, Instant};

use puente_catalogue::Lang;
use puente_words::{say, texts};
use serde_json::{Value, json};

use super::args::NodeCommand;
use super::output::{Exit, Failure, Report, table};
use super::{Context, client, words};
use crate::control_api::{Answer, Command};
use crate::init::{self, InitError, Plan};
use crate::node::{RunError, RunOptions};

pub(super) fn run(context: &Context, command: NodeCommand) -> Result<Report, Failure> {
    match command {
        NodeCommand::Init { uri, listen, endpoint, name_en, name_es, roles, ca, charter } => {
            let plan = Plan { uri, listen, endpoint, name_en, name_es, roles, ca, charter };
            make(context, &plan)
        }
        NodeCommand::Run { json_logs, leave_periods_open, no_segmentation_offload, until_eof } => {
            if !context.dir.config().exists() {
                return Err(client::running(context).err().unwrap_or_else(client::unexpected));
            }
            if until_eof {
                crate::demo::stop_at_eof(context.dir.clone());
            }
            let options = RunOptions { json_logs, leave_periods_open, no_segmentation_offload };
            crate::node::run(&context.dir, &options).map_err(not_run)?;
            // The one value on stdout was the line that said ready.
            Ok(Report::new(Value::Null, "").note("stopped"))
        }
        NodeCommand::Status => status(context),
        NodeCommand::Reload => reload(context),
        NodeCommand::Renew(args) => super::renew::run(context, &args),
        NodeCommand::Stop => {
            let mut node = client::running(context)?;
            client::call(&mut node, Command::Shutdown, None)?;
            // The folder is free once its socket is.
            let until = Instant::now() + Duration::from_secs(10);
            while client::connect(context)?.is_some() && Instant::now() < until {
                std::thread::sleep(Duration::from_millis(20));
            }
            Ok(Report::new(json!({"stopped": true}), "stopped\n"))
        }
    }
}

fn not_run(error: RunError) -> Failure {
    let (text, code, hint) = (error.to_string(), error.code(), error.mend());
    let failure = match &error {
        RunError::Load(_) | RunError::Identity(_) | RunError::Officers(_) | RunError::Control(_) => {
            Failure::usage(code, text)
        }
        _ => Failure::unavailable(code, text),
    };
    failure.hint(hint)
}

impl From<InitError> for Failure {
    fn from(error: InitError) -> Self {
        let text = error.to_string();
        match error {
            InitError::Ca(error) => error.into(),
            InitError::File { path, error } => Self::file(&path, &error),
            InitError::Exists(_) => Self::usage("exists", text).hint("nothing was changed"),
            _ => Self::usage("init", text).hint("correct the value"),
        }
    }
}

fn make(context: &Context, plan: &Plan) -> Result<Report, Failure> {
    let made = init::init(&context.dir, plan, context.now)?;
    let checks: Vec<Value> = made
        .checks
        .iter()
        .map(|(what, how)| json!({"check": what, "ok": how.is_ok(), "words": how.as_ref().unwrap_or_else(|e| e)}))
        .collect();
    let value = json!({
        "dir": context.dir.path().display().to_string(),
        "uri": plan.uri.to_string(),
        "origin": made.origin.to_string(),
        "vkey": made.vkey,
        "endpoint": made.endpoint,
        "roles": plan.roles,
        "policies": made.policies,
        "stanza": made.stanza,
        "csr": plan.ca.is_none().then(|| context.dir.tls_csr().display().to_string()),
        "checks": checks,
    });
    let mut report = Report::new(value, made.stanza)
        .note(format!("made {} in {}", plan.uri, context.dir.path().display()))
        .note(format!("policies: the examples of {}; read them and make them your own", made.policies));
    for (what, how) in &made.checks {
        report = match how {
            Ok(words) => report.note(format!("  ok       {what}: {words}")),
            Err(words) => report.note(format!("  missing  {what}: {words}")),
        };
    }
    report = report.hint("paste the member above into the annex (or into the description of the federation)");
    if plan.ca.is_none() {
        let csr = context.dir.tls_csr();
        report =
            report.hint(format!("have the certificate issued: puente ca issue --ca FOLDER --csr {}", csr.display()));
    }
    if plan.roles.is_empty() {
        report = report.hint("give the agency its role in the member, for example roles = [\"state-prosecutor\"]");
    }
    if plan.listen.port() == 0 && plan.endpoint.is_none() {
        report = report.hint("port 0 means any free port: write the endpoint that peers dial into the member");
    }
    Ok(report)
}

fn status(context: &Context) -> Result<Report, Failure> {
    let mut node = match client::running(context) {
        Ok(node) => node,
        Err(failure) if failure.code == "not-running" => return Err(with_causes(context, failure)),
        Err(failure) => return Err(failure),
    };
    let Answer::Status { status } = client::call(&mut node, Command::Status, None)? else {
        return Err(client::unexpected());
    };
    let problems = status["problems"].as_array().cloned().unwrap_or_default();
    let exit = match status["ready"].as_bool() {
        _ if problems.is_empty() => Exit::Ok,
        Some(false) => Exit::Unavailable,
        _ => Exit::Findings,
    };
    let text = screen(&status, &problems, context.lang);
    Ok(Report::new(status, text).exit(exit))
}

texts! {
    /// What came of a reload.
    enum Text {
        Changed: "in force from now on";
        Same: "unchanged";
        Failed: "the old one stays in force";
    }
}

/// By the outcome's stable word.
const RELOADED: [(&str, Text); 3] = [("changed", Text::Changed), ("same", Text::Same), ("failed", Text::Failed)];

fn reload(context: &Context) -> Result<Report, Failure> {
    let mut node = client::running(context)?;
    let Answer::Reloaded { items } = client::call(&mut node, Command::Reload, None)? else {
        return Err(client::unexpected());
    };
    let word = |outcome: &str| {
        let row = RELOADED.iter().find(|(code, _)| *code == outcome);
        row.map_or("", |(_, text)| text.get(context.lang))
    };
    let rows: Vec<_> = items.iter().map(|i| (i.what.clone(), word(&i.outcome).to_owned())).collect();
    let failed = items.iter().any(|item| item.outcome == "failed");
    let value = json!({"items": items});
    let mut report = Report::new(value, table(&rows)).exit(if failed { Exit::Findings } else { Exit::Ok });
    for item in items.iter().filter(|item| item.outcome == "failed") {
        let message = say(context.lang, &item.message);
        report = report.note(format!("{}: {message}", item.what)).hint(item.mend.clone());
    }
    Ok(report)
}

/// One screen, the root cause first.
fn screen(status: &Value, problems: &[Value], lang: Lang) -> String {
    let text = |value: &Value| line(value);
    let mut out = String::new();
    if problems.is_empty() {
        out.push_str("healthy\n\n");
    } else {
        let (message, fix) = match lang {
            Lang::En => ("message", "fix"),
            Lang::Es => ("message_es", "fix_es"),
        };
        let words = |p: &Value| format!("{}\n→ {}", text(&p[message]), text(&p[fix]));
        let rows: Vec<_> = problems.iter().map(|p| (text(&p["code"]), words(p))).collect();
        out.push_str(&format!("{} problem(s); mend them in this order\n{}\n", problems.len(), table(&rows)));
    }
    let (charter, log) = (&status["charter"], &status["log"]);
    let days = charter["days_left"].as_u64().map_or_else(String::new, |days| format!(", {days} days left"));
    let rows = [
        ("node", text(&status["node"])),
        ("listening on", text(&status["listen"])),
        ("running for", words::duration(status["uptime_seconds"].as_u64().unwrap_or(0))),
        (
            "charter",
            format!(
                "{} {}: {}{days}",
                text(&charter["federation"]),
                text(&charter["vector"]),
                text(&charter["status"])
            ),
        ),
        ("certified to", text(&status["certificate_ends"])),
        ("policy set", text(&status["policy"])),
        ("log", format!("{} entries, {} published", text(&log["size"]), text(&log["published"]))),
    ];
    let rows: Vec<_> = rows.into_iter().map(|(label, value)| (label.to_owned(), value)).collect();
    out.push_str(&table(&rows));
    if let Some(door) = status["audit"].as_object() {
        let auditors = door["auditors"].as_array().map(Vec::as_slice).unwrap_or_default();
        out.push_str(&format!("\nauditors at {}: {}\n", text(&door["listen"]), auditors.len()));
        for auditor in auditors {
            let number = |key: &str| auditor[key].as_u64().unwrap_or(0);
            let read = format!("{} answers, {} bytes", number("answers"), number("bytes"));
            out.push_str(&format!("  {}  {read}\n", text(&auditor["auditor"])));
        }
    }
    let peers = status["peers"].as_array().map(Vec::as_slice).unwrap_or_default();
    out.push_str(&format!("\n{} peer(s)\n", peers.len()));
    for peer in peers {
        let state = match (peer["suspended"].as_bool(), peer["connections"].as_u64(), peer["unreachable"].as_str()) {
            (Some(true), ..) => "suspended".to_owned(),
            _ if peer["blocked"].is_string() => format!("blocked: {}", text(&peer["blocked"])),
            (_, Some(0) | None, Some(why)) => format!("unreachable: {why}"),
            (_, Some(0) | None, None) => "not connected".to_owned(),
            (_, Some(_), _) => {
                let over = if peer["over"] == "tcp" { "connected over TCP" } else { "connected" };
                peer["rtt_millis"].as_f64().map_or(over.to_owned(), |rtt| format!("{over}, {rtt:.1} ms"))
            }
        };
        out.push_str(&format!("  {}  {state}\n", text(&peer["peer"])));
    }
    out
}

/// The root cause first: why a node that is down would not start.
fn with_causes(context: &Context, failure: Failure) -> Failure {
    let failed: Vec<String> = init::self_test(&context.dir)
        .into_iter()
        .filter_map(|(what, how)| how.err().map(|words| format!("{what}: {words}")))
        .collect();
    match failed.first() {
        Some(first) => failure.hint(format!("before it can start: {first}")).details(json!({"missing": failed})),
        None => failure,
    }
}

fn line(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => "none".to_owned(),
        Value::Array(items) if items.is_empty() => "none".to_owned(),
        Value::Array(items) => items.iter().map(line).collect::<Vec<_>>().join(", "),
        other => other.to_string(),
    }
}
