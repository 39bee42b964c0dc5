//! The `puente` command: parses, does, prints.
//!
//! Commands are functions from arguments to a [`Report`] or a [`Failure`];
//! only this module touches standard output and standard error.

mod alert;
mod api_key;
mod approval;
mod args;
mod backup;
mod ca;
pub(crate) mod catalogue;
mod charter;
pub(crate) mod client;
mod clocks;
pub(crate) mod conclusion;
mod cost;
mod disclosure;
mod doctor;
mod formats;
mod group;
mod group_query;
mod heartbeat;
mod import;
pub(crate) mod inbox;
mod key_store;
mod keys;
mod leave;
mod lessons;
mod log;
mod man;
mod node;
mod officer;
pub(crate) mod outbox;
mod output;
mod peer;
pub(crate) mod peers;
mod policy;
mod propose;
pub(crate) mod query;
mod records;
mod renew;
mod status;
mod succession;
mod support;
mod words;

use std::ffi::OsString;
use std::io::{self, Write as _};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use clap::CommandFactory as _;
use clap::error::ErrorKind;
use puente_model::{Lang, Millis};
use puente_words::command_line;
use serde_json::json;

pub use args::Cli;
use args::{Command, Shell};
pub(crate) use output::wrap;
pub use output::{Exit, Failure, Report};

use crate::config::NodeDir;
use crate::keys::{PassphraseSource, Vault};

/// `puente audit-files ...` is `puente-audit ...`, for the demo where that program was not built.
pub(crate) const AUDIT_FILES: &str = "audit-files";

/// What every command needs to know.
#[derive(Debug, Clone)]
pub(crate) struct Context {
    /// The node's folder.
    pub(crate) dir: NodeDir,
    /// Language of answers.
    pub(crate) lang: Lang,
    /// Only one JSON value may be printed.
    pub(crate) json: bool,
    /// The time at which the command began.
    pub(crate) now: Millis,
    /// The node's keys.
    pub(crate) vault: Arc<Vault>,
}

/// The time, from the operating system.
pub(crate) fn now() -> Millis {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Millis(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

/// The whole program: reads the command line, runs the command, prints what came of it.
pub fn main() -> ExitCode {
    let args: Vec<OsString> = std::env::args_os().collect();
    if args.get(1).is_some_and(|arg| arg == AUDIT_FILES) {
        return puente_audit::cli::run_from(args.into_iter().skip(1));
    }
    let as_json = args.iter().any(|a| a == "--json");
    let lang = command_line::chosen(&args, |name| std::env::var(name).ok());
    let result = run_at(args, now(), lang);
    let (mut out, mut err) = (anstream::stdout(), anstream::stderr());
    let printed = output::print(&result, lang, as_json, &mut out, &mut err);
    let flushed = out.flush().and_then(|()| err.flush());
    let exit = match &result {
        Ok(report) => report.exit,
        Err(failure) => failure.exit,
    };
    match printed.and(flushed.map(|()| exit)) {
        Ok(exit) => exit.into(),
        // Whoever reads has seen enough.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => exit.into(),
        Err(_) => Exit::Unavailable.into(),
    }
}

/// Runs one command line; the first argument is the program's name. Speaks English unless told otherwise.
///
/// # Errors
/// Whatever the command could not do, in English.
pub fn run<I, T>(args: I) -> Result<Report, Failure>
where
    I: IntoIterator<Item = T>,
    T: Into<OsString> + Clone,
{
    run_at(args, now(), Lang::En)
}

/// As [`run`], as if it began at `now`, in a language unless the command line names one.
fn run_at<I, T>(args: I, now: Millis, lang: Lang) -> Result<Report, Failure>
where
    I: IntoIterator<Item = T>,
    T: Into<OsString> + Clone,
{
    let cli = match command_line::parse::<Cli, _, _>(args, lang) {
        Ok(cli) => cli,
        Err(error) => return parse_failure(&error, lang),
    };
    let lang = cli.lang.unwrap_or(lang);
    let vault = Arc::new(Vault::new(PassphraseSource::of(cli.passphrase_file, cli.passphrase_fd)));
    let context = Context { dir: NodeDir::new(&cli.dir), lang, json: cli.json, now, vault };
    let result = match cli.command {
        Command::Backup(args) => backup::backup(&context, &args),
        Command::Keys(command) => key_store::run(&context, command),
        Command::Restore(args) => backup::restore(&context, &args),
        Command::Ca(command) => ca::run(&context, command),
        Command::Charter(command) => charter::run(&context, command),
        Command::Completions { shell } => Ok(completions(shell)),
        Command::Officer(command) => officer::run(&context, command),
        Command::Approval(command) => approval::run(&context, command),
        Command::Node(command) => node::run(&context, command),
        Command::Import(args) => import::run(&context, &args),
        Command::Query(command) => outbox::run(&context, &command),
        Command::Inbox(command) => inbox::run(&context, command),
        Command::Support(args) => support::run(&context, &args),
        Command::Man(args) => man::write(&args),
        Command::Log(command) => log::run(&context, command),
        Command::Peer(command) => peer::run(&context, command),
        Command::Group(command) => group::run(&context, command),
        Command::Alert(command) => alert::run(&context, command),
        Command::ApiKey(command) => api_key::run(&context, command),
        Command::Policy(command) => policy::run(&context, command),
        Command::Doctor => doctor::run(&context),
        Command::Catalogue(command) => catalogue::run(&context, &command),
        Command::Records(command) => records::run(&context, &command),
        Command::Demo(args) => demo(&context, &args),
        Command::Lessons(args) => lessons::run(&context, args),
    };
    clocks::said(&context, result)
}

fn demo(context: &Context, args: &args::DemoArgs) -> Result<Report, Failure> {
    // The current folder is what --dir says if it is not given: no folder for a demo.
    let dir = context.dir.path();
    let dir = (dir != std::path::Path::new(".")).then(|| dir.to_owned());
    let scenario = match args.scenario {
        args::Scenario::Agencies => crate::demo::Scenario::Agencies,
        args::Scenario::SafeCities => {
            crate::demo::Scenario::SafeCities(usize::try_from(args.cities).unwrap_or(usize::MAX))
        }
    };
    crate::demo::run(&crate::demo::Options {
        dir,
        scenario,
        seed: args.seed,
        records: usize::try_from(args.records).unwrap_or(usize::MAX),
        serve: args.serve,
        lang: context.lang,
        json: context.json,
    })
}

/// A file that a node lives by could not be loaded.
fn load_failure(error: crate::load::LoadError) -> Failure {
    Failure::from(error)
}

/// Help and version are good news; the rest says what is wrong with the command line.
fn parse_failure(error: &clap::Error, lang: Lang) -> Result<Report, Failure> {
    let plain = command_line::rendered(&error.render().to_string(), lang);
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
            Ok(Report::new(json!({"text": plain}), command_line::rendered(&error.render().ansi().to_string(), lang)))
        }
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            Err(Failure::usage("usage", "a command is missing").hint(plain))
        }
        _ => {
            let text = plain.trim().strip_prefix("error: ").unwrap_or(plain.trim());
            let (message, rest) = text.split_once("\n\n").unwrap_or((text, ""));
            let rest = rest.trim().trim_end_matches("For more information, try '--help'.").trim();
            let failure = Failure::usage("usage", message.trim());
            Err(if rest.is_empty() { failure.hint("see --help") } else { failure.hint(rest) })
        }
    }
}

fn completions(shell: Shell) -> Report {
    let mut script = Vec::new();
    let mut command = Cli::command();
    let shell = match shell {
        Shell::Bash => clap_complete::Shell::Bash,
        Shell::Zsh => clap_complete::Shell::Zsh,
        Shell::Fish => clap_complete::Shell::Fish,
    };
    clap_complete::generate(shell, &mut command, "puente", &mut script);
    let script = String::from_utf8_lossy(&script).into_owned();
    Report::new(json!({"shell": shell.to_string(), "script": script}), script)
}

#[cfg(test)]
mod tests;
