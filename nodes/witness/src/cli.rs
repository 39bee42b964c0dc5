//! The command line.

use std::ffi::OsString;
use std::fs;
use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{CommandFactory as _, Parser, Subcommand};
use puente_audit_log::{KeyKind, Signer as _, VerifierKey};
use puente_model::{Digest, Lang};
use puente_words::{command_line, manual, say, text};
use serde_json::{Value, json};

use crate::config::{Config, ConfigError, Folder, POLICY, SAMPLE, load_charter};
use crate::desk::OpenError;
use crate::files;
use crate::key::{self, Keeping, KeyFileError};
use crate::run::{self, RunError};
use crate::status::Status;
use crate::store::StoreError;

const EXITS: &str = "Exit code: 0 done, 1 status has found evidence or damage, 2 the command line or a file is wrong, \
    4 the disk or the address cannot be used.";

/// Witnesses transparency logs: remembers the largest head of each and cosigns what extends it (C2SP tlog-witness).
#[derive(Debug, Parser)]
#[command(name = "puente-witness", version, propagate_version = true, arg_required_else_help = true)]
#[command(after_help = EXITS)]
struct Cli {
    #[command(subcommand)]
    command: Command,
    /// The witness's folder: configuration, key and what it remembers.
    #[arg(long, global = true, default_value = "puente-witness", value_name = "DIR")]
    dir: PathBuf,
    /// File whose first line is the passphrase of the key.
    #[arg(long, global = true, value_name = "FILE")]
    passphrase_file: Option<PathBuf>,
    /// One JSON object on stdout.
    #[arg(long, global = true)]
    json: bool,
    /// Language: en or es; else that of the locale.
    #[arg(long, global = true, value_name = "LANG")]
    lang: Option<Lang>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Make the witness's folder and its key, and print the key for logs to name.
    Init(InitArgs),
    /// Serve logs over HTTP until stopped.
    Run {
        /// Where to listen, instead of what witness.toml says.
        #[arg(long, value_name = "ADDR")]
        listen: Option<SocketAddr>,
    },
    /// Show how every log stands; the witness may run or not.
    Status,
    /// Write the manual pages of every command, in both languages.
    Man {
        /// Folder for them, for example /usr/local/share/man.
        #[arg(long, value_name = "DIR")]
        out: PathBuf,
    },
}

#[derive(Debug, clap::Args)]
struct InitArgs {
    /// The witness's name, which stands in its cosignatures, for example w1.example.org/oversight; in a charter a slug.
    #[arg(long)]
    name: String,
    /// C2SP verifier key of a log to serve. May be given several times.
    #[arg(long = "log", value_name = "VKEY")]
    logs: Vec<String>,
    /// Folder of a Puente charter: serve the logs of every member.
    #[arg(long, requires = "pin", value_name = "DIR")]
    charter: Option<PathBuf>,
    /// Hash of common part 1 of the charter, given out of band: 64 hexadecimal digits.
    #[arg(long, requires = "charter", value_name = "HASH")]
    pin: Option<Digest>,
    /// Believe the first checkpoint of a log for which none is pinned.
    #[arg(long)]
    allow_first_use: bool,
    /// Encrypt the key under a passphrase, asked for or from --passphrase-file.
    #[arg(long)]
    encrypt: bool,
}

/// The definition of the command line: what manual pages and the tests of documents are made from.
pub fn definition() -> clap::Command {
    Cli::command()
}

/// How a command ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
enum Exit {
    Ok = 0,
    Findings = 1,
    Usage = 2,
    Unavailable = 4,
}

/// What a command hands back.
struct Report {
    json: Value,
    text: String,
    hints: Vec<String>,
    exit: Exit,
}

impl Report {
    fn new(json: Value, text: String) -> Self {
        Self { json, text, hints: Vec::new(), exit: Exit::Ok }
    }

    fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hints.push(hint.into());
        self
    }
}

/// Why a command did not do its work.
#[derive(Debug)]
struct Failure {
    code: &'static str,
    message: String,
    hint: Option<String>,
    exit: Exit,
}

impl Failure {
    fn usage(code: &'static str, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), hint: None, exit: Exit::Usage }
    }

    fn unavailable(code: &'static str, message: impl Into<String>) -> Self {
        Self { exit: Exit::Unavailable, ..Self::usage(code, message) }
    }

    fn hint(self, hint: impl Into<String>) -> Self {
        Self { hint: Some(hint.into()), ..self }
    }

    fn file(path: &Path, error: &io::Error) -> Self {
        let message = format!("{}: {error}", path.display());
        match error.kind() {
            io::ErrorKind::NotFound => {
                Self::usage("not-found", message).hint("check the path; a witness's folder is named with --dir")
            }
            io::ErrorKind::AlreadyExists => {
                Self::usage("exists", message).hint("nothing is overwritten; choose another place")
            }
            io::ErrorKind::PermissionDenied => Self::usage("permission", message).hint("check who owns the file"),
            _ => Self::unavailable("io", message),
        }
    }
}

impl From<KeyFileError> for Failure {
    fn from(error: KeyFileError) -> Self {
        match &error {
            KeyFileError::File { path, error } => Self::file(path, error),
            KeyFileError::OtherKey { .. } => Self::usage("other-key", error.to_string()),
            KeyFileError::Key(_) => Self::usage("key-name", error.to_string()),
            KeyFileError::Malformed { .. } => Self::usage("key", error.to_string()),
            _ => Self::usage("passphrase", error.to_string()),
        }
    }
}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Self {
        match &error {
            ConfigError::File { path, error } => Self::file(path, error),
            ConfigError::Charter(_) => Self::usage("charter", error.to_string()),
            _ => Self::usage("config", error.to_string()),
        }
    }
}

impl From<RunError> for Failure {
    fn from(error: RunError) -> Self {
        match error {
            RunError::Config(error) => error.into(),
            RunError::Open(OpenError::Store(StoreError::File { path, error })) => Self::file(&path, &error),
            RunError::Open(OpenError::Store(_)) => {
                Self::unavailable("locked", error.to_string()).hint("one key is for one process: stop the other one")
            }
            RunError::Open(OpenError::Record { .. }) => Self::unavailable("memory", error.to_string()).hint(
                "do not delete it, and restore no backup of it: what is not remembered may have been signed; make a new \
                 witness with a new key",
            ),
            RunError::Open(_) | RunError::Tls(_) => Self::usage("config", error.to_string()),
            RunError::Listen { .. } => {
                Self::unavailable("listen", error.to_string()).hint("another program has the address: see --listen")
            }
            RunError::System(_) => Self::unavailable("system", error.to_string()),
        }
    }
}

/// Runs the command line of this process and says how to exit.
pub fn main() -> ExitCode {
    let args: Vec<OsString> = std::env::args_os().collect();
    let lang = command_line::chosen(&args, |name| std::env::var(name).ok());
    let (mut out, mut err) = (anstream::stdout(), anstream::stderr());
    let cli = match command_line::parse::<Cli, _, _>(args, lang) {
        Ok(cli) => cli,
        Err(error) => {
            let said = command_line::rendered(&error.render().ansi().to_string(), lang);
            let stream: &mut dyn io::Write = if error.use_stderr() { &mut err } else { &mut out };
            let _ = write!(stream, "{said}");
            return ExitCode::from(if error.use_stderr() { Exit::Usage as u8 } else { Exit::Ok as u8 });
        }
    };
    let lang = cli.lang.unwrap_or(lang);
    let exit = match dispatch(&cli, lang) {
        Ok(report) => {
            let said = if cli.json { report.json.to_string() } else { report.text };
            if !said.is_empty() && (!cli.json || !report.json.is_null()) {
                let _ = writeln!(out, "{}", said.trim_end_matches('\n'));
            }
            for hint in report.hints.iter().filter(|_| !cli.json) {
                let _ = writeln!(err, "{} {}", text(lang, "hint:"), say(lang, hint));
            }
            report.exit
        }
        Err(failure) => {
            let message = say(lang, &failure.message);
            let hint = failure.hint.as_deref().map(|hint| say(lang, hint));
            if cli.json {
                let object = json!({ "error": { "code": failure.code, "message": message, "hint": hint } });
                let _ = writeln!(out, "{object}");
            } else {
                let _ = writeln!(err, "{} {message}", text(lang, "error:"));
                if let Some(hint) = hint {
                    let _ = writeln!(err, "{} {hint}", text(lang, "hint:"));
                }
            }
            failure.exit
        }
    };
    ExitCode::from(exit as u8)
}

fn dispatch(cli: &Cli, lang: Lang) -> Result<Report, Failure> {
    let folder = Folder::new(&cli.dir);
    match &cli.command {
        Command::Init(args) => init(cli, &folder, args, lang),
        Command::Run { listen } => serve(cli, &folder, *listen, lang),
        Command::Status => status(&folder, lang),
        Command::Man { out } => write_manual(out),
    }
}

fn init(cli: &Cli, folder: &Folder, args: &InitArgs, lang: Lang) -> Result<Report, Failure> {
    let dir = folder.path();
    let mut policy = POLICY.to_owned();
    for vkey in &args.logs {
        let key: VerifierKey = vkey.parse().map_err(|error| Failure::usage("vkey", format!("--log: {error}")))?;
        if key.kind() != KeyKind::Ed25519 {
            return Err(Failure::usage("vkey", "--log: it is a witness's key, not a log's"));
        }
        policy.push_str(&format!("log {key}\n"));
    }
    if folder.key().exists() || folder.config().exists() {
        let message = format!("{} holds a witness already", dir.display());
        return Err(Failure::usage("exists", message).hint("nothing is overwritten; choose another place"));
    }
    let mut config = SAMPLE.to_owned();
    if let (Some(charter), Some(pin)) = (&args.charter, args.pin) {
        // Refused now rather than at the first start.
        load_charter(charter, pin)?;
        copy_charter(charter, &dir.join("charter"))?;
        config = config.replace("# charter = \"charter\"", "charter = \"charter\"");
        config = config.replace("# pin = \"64 hexadecimal digits\"", &format!("pin = \"{pin}\""));
    }
    if args.allow_first_use {
        config = config.replace("first_use = \"refuse\"", "first_use = \"allow\"");
    }
    for made in [dir.to_owned(), dir.join("checkpoints"), folder.state(), folder.evidence()] {
        files::make_private_dir(&made).map_err(|error| Failure::file(&made, &error))?;
    }
    let keeping = if args.encrypt {
        Keeping::Sealed {
            file: cli.passphrase_file.as_deref(),
            question: &format!("{}: ", text(lang, "passphrase of the key")),
            again: &format!("{}: ", text(lang, "the same passphrase again")),
        }
    } else {
        Keeping::Plain
    };
    let signer = key::create(folder, &args.name, keeping)?;
    for (path, body) in [(dir.join("logs.policy"), &policy), (folder.config(), &config)] {
        files::create(&path, body.as_bytes(), false).map_err(|error| Failure::file(&path, &error))?;
    }
    let vkey = signer.verifier().to_string();
    let report = Report::new(json!({ "dir": dir.display().to_string(), "vkey": vkey }), vkey.clone());
    let report = report.hint("give this key to the logs: it is what cosignatures are verified with");
    Ok(if args.allow_first_use {
        report
    } else {
        report.hint(format!(
            "put a first checkpoint of each log, which came out of band, into {}",
            dir.join("checkpoints").display()
        ))
    })
}

/// Copies the files of a charter's folder.
fn copy_charter(from: &Path, to: &Path) -> Result<(), Failure> {
    files::make_private_dir(to).map_err(|error| Failure::file(to, &error))?;
    let entries = fs::read_dir(from).map_err(|error| Failure::file(from, &error))?;
    for entry in entries {
        let path = entry.map_err(|error| Failure::file(from, &error))?.path();
        let Some(name) = path.file_name() else { continue };
        let file = name.to_string_lossy();
        if path.is_file() && (file.ends_with(".toml") || file.ends_with(".toml.sig")) {
            let bytes = files::read_at_most(&path, files::FILE_BYTES_MAX);
            let bytes = bytes.map_err(|error| Failure::file(&path, &error))?;
            files::create(&to.join(name), &bytes, false).map_err(|error| Failure::file(&to.join(name), &error))?;
        }
    }
    Ok(())
}

fn serve(cli: &Cli, folder: &Folder, listen: Option<SocketAddr>, lang: Lang) -> Result<Report, Failure> {
    // What cannot be served is said before a person is asked for a passphrase.
    Config::load(folder)?.rules(folder)?;
    let question = format!("{}: ", text(lang, "passphrase of the key"));
    let signer = key::open(folder, cli.passphrase_file.as_deref(), &question)?;
    let (vkey, json) = (signer.verifier().to_string(), cli.json);
    let ready = move |at: SocketAddr, logs: usize| {
        if json {
            json!({ "ready": true, "listen": at.to_string(), "logs": logs, "vkey": vkey }).to_string()
        } else {
            say(lang, &format!("witnessing {logs} logs on {at}")).into_owned()
        }
    };
    run::run(folder, signer, listen, ready, json)?;
    Ok(Report::new(Value::Null, String::new()))
}

fn status(folder: &Folder, lang: Lang) -> Result<Report, Failure> {
    let status = Status::read(folder, key::public(folder)?.to_string())?;
    let json = serde_json::to_value(&status).map_err(|error| Failure::unavailable("json", error.to_string()))?;
    let mut lines = status.witness.clone();
    for log in &status.logs {
        lines.push_str(&format!("\n{}\n    {}", log.origin, say(lang, &log.standing())));
        if let Some(root) = &log.root {
            lines.push_str(&format!("\n    {} {root}", text(lang, "root")));
        }
        if log.read_only {
            let words =
                text(lang, "READ-ONLY: this witness signed more than it remembers; make a new one with a new key");
            lines.push_str(&format!("\n    {words}"));
        }
        if !log.refused.is_empty() {
            lines.push_str(&format!("\n    {} {}", text(lang, "refused:"), kinds(&log.refused)));
        }
        for path in &log.evidence {
            lines.push_str(&format!("\n    {}: {}", text(lang, "evidence"), path.display()));
        }
    }
    if !status.strangers.is_empty() {
        lines.push_str(&format!("\n{} {}", text(lang, "about no log that is served:"), kinds(&status.strangers)));
    }
    let exit = if status.is_unwell() { Exit::Findings } else { Exit::Ok };
    Ok(Report { exit, ..Report::new(json, lines) })
}

fn kinds(kinds: &std::collections::BTreeMap<String, u64>) -> String {
    kinds.iter().map(|(kind, count)| format!("{kind} {count}")).collect::<Vec<_>>().join(", ")
}

fn write_manual(folder: &Path) -> Result<Report, Failure> {
    let pages = manual::pages(&Cli::command()).map_err(|error| Failure::file(folder, &error))?;
    for (path, page) in &pages {
        let path = folder.join(path);
        let made = path.parent().map_or(Ok(()), fs::create_dir_all);
        made.and_then(|()| fs::write(&path, page)).map_err(|error| Failure::file(&path, &error))?;
    }
    let shown = folder.display().to_string();
    Ok(Report::new(json!({ "out": shown }), shown))
}
