use std::time::{Duration, Instant};

use puente_words::{Lang, say, text, texts};
use serde_json::{Value, json};

use super::args::NodeCommand;
use super::output::{Exit, Failure, Report, table};
use super::{Context, client, status};
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
            let passphrase = context.vault.source().clone();
            let options = RunOptions { json_logs, leave_periods_open, no_segmentation_offload, passphrase };
            crate::node::run(&context.dir, &options).map_err(not_run)?;
            // The one value on stdout was the line that said ready.
            Ok(Report::new(Value::Null, "").note("stopped"))
        }
        NodeCommand::Check => check(context),
        NodeCommand::Status => status(context),
        NodeCommand::Formats => super::formats::run(context),
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
            Ok(Report::new(json!({"stopped": true}), format!("{}\n", text(context.lang, "stopped"))))
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
    let value = json!({
        "dir": context.dir.path().display().to_string(),
        "uri": plan.uri.to_string(),
        "origin": made.origin.to_string(),
        "vkey": made.vkey,
        "endpoint": made.endpoint,
        "roles": plan.roles,
        "policies": made.policies,
        "stanza": made.stanza,
        "witness": made.witness,
        "csr": plan.ca.is_none().then(|| context.dir.tls_csr().display().to_string()),
        "checks": tried(&made.checks),
    });
    let (lang, clocks) = (context.lang, context.clocks());
    let mut report = Report::new(value, made.stanza)
        .note(format!("made {} in {}", plan.uri, context.dir.path().display()))
        .note(format!("policies: the examples of {}; read them and make them your own", made.policies));
    for (what, how) in &made.checks {
        let (mark, found) = marked(how, lang);
        let line = format!("  {mark:<8} {}: {}", part(what, lang), clocks.spell(&say(lang, found)));
        report.notes.push(line);
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

/// Tries everything but the start itself; needs no lock and asks for no passphrase.
fn check(context: &Context) -> Result<Report, Failure> {
    if !context.dir.config().exists() {
        return Err(client::running(context).err().unwrap_or_else(client::unexpected));
    }
    let (lang, clocks) = (context.lang, context.clocks());
    let found = init::self_test(&context.dir);
    let row = |what, how: &Tried| {
        let (mark, found) = marked(how, lang);
        (part(what, lang).to_owned(), format!("{mark}: {}", clocks.spell(&say(lang, found))))
    };
    let rows: Vec<_> = found.iter().map(|(what, how)| row(what, how)).collect();
    let ok = found.iter().all(|(_, how)| how.is_ok());
    let report = Report::new(json!({"ok": ok, "checks": tried(&found)}), table(&rows));
    Ok(if ok { report } else { report.exit(Exit::Findings).hint("'puente doctor' looks at more, partners too") })
}

/// How one part of the self-test went, in words either way.
type Tried = Result<String, String>;

fn tried(found: &[(&'static str, Tried)]) -> Vec<Value> {
    let one = |(what, how): &(&'static str, Tried)| json!({"check": what, "ok": how.is_ok(), "words": how.as_ref().unwrap_or_else(|words| words)});
    found.iter().map(one).collect()
}

fn marked(how: &Tried, lang: Lang) -> (&'static str, &str) {
    match how {
        Ok(found) => (text(lang, "ok"), found),
        Err(found) => (text(lang, "missing"), found),
    }
}

/// What the self-test of a folder looks at, in words.
fn part(what: &'static str, lang: Lang) -> &'static str {
    match what {
        "configuration" => text(lang, "configuration"),
        "log key" => text(lang, "log key"),
        "store key" => text(lang, "store key"),
        "certificate" => text(lang, "certificate"),
        "charter" => text(lang, "charter"),
        "policies" => text(lang, "policies"),
        other => other,
    }
}

fn status(context: &Context) -> Result<Report, Failure> {
    let mut node = match client::running(context) {
        Ok(node) => node,
        Err(failure) if failure.code == "not-running" => return Err(with_causes(context, failure)),
        Err(failure) => return Err(failure),
    };
    let Answer::Status { status: word } = client::call(&mut node, Command::Status, None)? else {
        return Err(client::unexpected());
    };
    let problems = word["problems"].as_array().cloned().unwrap_or_default();
    let exit = match word["ready"].as_bool() {
        _ if problems.is_empty() => Exit::Ok,
        Some(false) => Exit::Unavailable,
        _ => Exit::Findings,
    };
    let screen = status::screen(&word, &problems, context.lang, &context.clocks());
    Ok(Report::new(word, screen).exit(exit))
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

/// The root cause first: why a node that is down would not start.
fn with_causes(context: &Context, failure: Failure) -> Failure {
    let failed: Vec<String> = init::self_test(&context.dir)
        .into_iter()
        .filter_map(|(what, how)| how.err().map(|found| format!("{what}: {found}")))
        .collect();
    match failed.first() {
        Some(first) => failure.hint(format!("before it can start: {first}")).details(json!({"missing": failed})),
        None => failure,
    }
}
