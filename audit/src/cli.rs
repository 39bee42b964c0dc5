//! The command line.

mod doors;
mod findings;
mod metrics;
mod mirror;
mod monitor;
mod report;
mod scrape;

use std::ffi::OsString;
use std::io::{self, IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::report::signed;
use crate::{
    AuditError, Auditor, CHECK_BYTES_MAX, Checker, Conclusion, Finding, Lang, Severity, Shown, State, Trained, Verdict,
    check_bytes, load_charter, prove, read_file, show,
};
use clap::{CommandFactory as _, Parser, Subcommand};
use puente_audit_log::VerifierKey;
use puente_evidence::HpkeKeyPair;
use puente_model::{Digest, Millis, NodeUri, Secret32};
use puente_words::{Clocks, capital_zone, command_line, manual, say, text};
use serde::Serialize;
use zeroize::Zeroizing;

/// What a program returns when it could not tell: also for wrong arguments and unreadable files.
const COULD_NOT_TELL: u8 = 2;
/// Between two lines about work that goes on.
const SILENCE_MAX: Duration = Duration::from_secs(4);
/// Findings printed one by one.
const FINDINGS_PRINTED_MAX: usize = 50;

const EXITS: &str = "The verdict goes to stdout, words go to stderr.\n\
    Exit code: 0 sound, 1 unsound, 2 could not tell.";

/// Verifies and reconciles Puente's logs from copied files alone.
#[derive(Debug, Parser)]
#[command(name = "puente-audit", version, propagate_version = true, arg_required_else_help = true)]
#[command(after_help = EXITS)]
struct Cli {
    #[command(subcommand)]
    command: Command,
    /// The auditor's folder: charter, pin and remembered heads.
    #[arg(long, global = true, default_value = "puente-auditor", value_name = "DIR")]
    state: PathBuf,
    /// Folder of a charter, instead of the one in --state (nothing is remembered then).
    #[arg(long, global = true, requires = "pin", value_name = "DIR")]
    charter: Option<PathBuf>,
    /// Hash of common part 1 of the charter, given out of band: 64 hexadecimal digits.
    #[arg(long, global = true, value_name = "HASH")]
    pin: Option<Digest>,
    /// One JSON object on stdout.
    #[arg(long, global = true)]
    json: bool,
    /// Language: en or es; else that of the locale.
    #[arg(long, global = true, value_name = "LANG")]
    lang: Option<Lang>,
}

impl Cli {
    fn lang(&self) -> Lang {
        self.lang.unwrap_or_default()
    }
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Verify a charter against its pin and make (or bring up to date) the auditor's folder.
    Init,
    /// Verify one log by itself, from a copy or at its node's door.
    Verify {
        /// Folder of the copied log, or https://host:port/ of the node's door.
        #[arg(value_name = "DIR|URL")]
        dir: PathBuf,
        #[command(flatten)]
        how: How,
    },
    /// Verify logs, and each pair of them against each other.
    Reconcile {
        /// Folders of the copied logs, or https://host:port/ of the nodes' doors.
        #[arg(required = true, value_name = "DIR|URL")]
        dirs: Vec<PathBuf>,
        #[command(flatten)]
        how: How,
    },
    /// Bring local copies of many logs up to date, side by side; goes on where it was broken off.
    Mirror(mirror::MirrorArgs),
    /// Mirror and audit again and again; each finding is kept and told once.
    Monitor(monitor::MonitorArgs),
    /// Write a report to look at: pages in both languages, figures as JSON, evidence, a summary for the public.
    Report(report::ReportArgs),
    /// What monitor found: list, assign, enter the agency's reply.
    #[command(subcommand)]
    Findings(findings::FindingsCommand),
    /// Show decoded entries of a copied log; verifies nothing.
    Show {
        /// Folder of the copied log.
        dir: PathBuf,
        /// First entry.
        #[arg(long, default_value_t = 0, value_name = "N")]
        from: u64,
        /// How many entries at most.
        #[arg(long, default_value_t = 100, value_name = "M")]
        limit: u64,
    },
    /// Write the C2SP tlog-proof of an entry to stdout.
    Prove {
        /// Folder of the copied log.
        dir: PathBuf,
        /// Position of the entry, from 0.
        index: u64,
    },
    /// Check one proof, evidence file, disclosure or signed report, offline.
    Check {
        /// The file.
        file: PathBuf,
        /// The entry's bytes, for a tlog-proof.
        #[arg(long, value_name = "FILE")]
        entry: Option<PathBuf>,
        /// C2SP verifier key of the log, instead of a charter.
        #[arg(long, value_name = "VKEY")]
        vkey: Option<String>,
    },
    /// Write the manual pages of every command, in both languages.
    Man {
        /// Folder for them, for example /usr/local/share/man.
        #[arg(long, value_name = "DIR")]
        out: PathBuf,
    },
    /// Write shell completions to stdout.
    Completions {
        /// The shell.
        shell: clap_complete::Shell,
    },
}

#[derive(Debug, clap::Args)]
struct How {
    /// Private key of an own auditor, 64 hexadecimal digits: opens sealed headers. May be given several times.
    #[arg(long = "key", value_name = "FILE")]
    keys: Vec<PathBuf>,
    /// Pass over sealed headers that no key opens: the verdict is then about everything but them.
    #[arg(long)]
    without_headers: bool,
    /// Where evidence files go (default: evidence/ in --state).
    #[arg(long, value_name = "DIR")]
    evidence: Option<PathBuf>,
    /// Minutes past its deadline after which a question without end is a finding.
    #[arg(long, default_value_t = 10, value_name = "MINUTES")]
    grace: u64,
    #[command(flatten)]
    door: doors::DoorArgs,
}

/// The definition of the command line: what manual pages, completions and the tests of documents are made from.
pub fn definition() -> clap::Command {
    Cli::command()
}

/// Runs the command line of this process and says how to exit.
pub fn run() -> ExitCode {
    run_from(std::env::args_os())
}

/// Runs a command line, the program's name first, and says how to exit. Prints the verdict on stdout, words on stderr.
pub fn run_from(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let args: Vec<OsString> = args.into_iter().collect();
    let lang = command_line::chosen(&args, |name| std::env::var(name).ok());
    let cli = match command_line::parse::<Cli, _, _>(args, lang) {
        Ok(cli) => Cli { lang: Some(lang), ..cli },
        Err(error) => {
            let said = command_line::rendered(&error.render().to_string(), lang);
            let _ = if error.use_stderr() { write!(io::stderr(), "{said}") } else { write!(io::stdout(), "{said}") };
            return if error.use_stderr() { ExitCode::from(COULD_NOT_TELL) } else { ExitCode::SUCCESS };
        }
    };
    match dispatch(&cli) {
        Ok(conclusion) => ExitCode::from(conclusion.exit_code()),
        Err(error) => {
            if cli.json {
                let object = serde_json::json!({ "verdict": Conclusion::CouldNotTell, "error": error.to_string() });
                let _ = out(&object.to_string());
            } else if !matches!(cli.command, Command::Init | Command::Show { .. } | Command::Prove { .. }) {
                let english = format!("verdict: {}", Conclusion::CouldNotTell.in_words(lang));
                let _ = out(&say(lang, &english));
            }
            words(&format!("{} {}", text(lang, "error:"), say(lang, &error.to_string())));
            ExitCode::from(COULD_NOT_TELL)
        }
    }
}

fn dispatch(cli: &Cli) -> Result<Conclusion, AuditError> {
    match &cli.command {
        Command::Init => init(cli),
        Command::Verify { dir, how } => doors::run(cli, how, &[dir], false),
        Command::Reconcile { dirs, how } => {
            let dirs: Vec<&Path> = dirs.iter().map(PathBuf::as_path).collect();
            doors::run(cli, how, &dirs, true)
        }
        Command::Mirror(args) => mirror::run(cli, args),
        Command::Monitor(args) => monitor::run(cli, args),
        Command::Findings(command) => findings::run(cli, command),
        Command::Report(args) => report::run(cli, args),
        Command::Show { dir, from, limit } => show_entries(cli, dir, *from, *limit),
        Command::Prove { dir, index } => {
            io::stdout().write_all(&prove(dir, *index)?).map_err(stdout_failed)?;
            Ok(Conclusion::Sound)
        }
        Command::Check { file, entry, vkey } => check(cli, file, entry.as_deref(), vkey.as_deref()),
        Command::Man { out: folder } => {
            let failed = |path: &Path, error: io::Error| AuditError::File { path: path.into(), why: error.to_string() };
            let pages = manual::pages(&Cli::command()).map_err(|error| failed(folder, error))?;
            for (path, page) in &pages {
                let path = folder.join(path);
                let made = path.parent().map_or(Ok(()), std::fs::create_dir_all);
                made.and_then(|()| std::fs::write(&path, page)).map_err(|error| failed(&path, error))?;
            }
            out(&folder.display().to_string())?;
            Ok(Conclusion::Sound)
        }
        Command::Completions { shell } => {
            clap_complete::generate(*shell, &mut Cli::command(), "puente-audit", &mut io::stdout());
            Ok(Conclusion::Sound)
        }
    }
}

fn init(cli: &Cli) -> Result<Conclusion, AuditError> {
    let (Some(charter), Some(pin)) = (&cli.charter, cli.pin) else { return Err(AuditError::NoCharter) };
    let (_, charter) = State::init(&cli.state, charter, pin)?;
    let (members, vector) = (charter.members().len(), charter.vector());
    if cli.json {
        print_json(&serde_json::json!({
            "federation": charter.federation(), "vector": vector.to_string(), "members": members,
            "state": cli.state.display().to_string(),
        }))?;
    } else {
        let lang = cli.lang();
        let (name, state) = (charter.federation(), cli.state.display());
        out(&say(lang, &format!("charter: {name} version {vector}, {members} members")))?;
        words(&say(lang, &format!("The auditor's folder is {state}; verdicts will be remembered there.")));
    }
    Ok(Conclusion::Sound)
}

fn auditor(cli: &Cli, how: &How) -> Result<Auditor, AuditError> {
    auditor_at(cli, how, now())
}

fn auditor_at(cli: &Cli, how: &How, at: Millis) -> Result<Auditor, AuditError> {
    let mut auditor = match (&cli.charter, cli.pin) {
        (Some(dir), Some(pin)) => Auditor::new(load_charter(dir, pin)?, at),
        _ => Auditor::open(&cli.state, at)?,
    };
    auditor = auditor.with_keys(how.keys.iter().map(|path| key(path)).collect::<Result<_, _>>()?);
    auditor = auditor.with_grace(how.grace);
    if how.without_headers {
        auditor = auditor.without_headers();
    }
    if let Some(dir) = &how.evidence {
        auditor = auditor.with_evidence(dir);
    }
    let (lang, plain) = (cli.lang(), !io::stderr().is_terminal());
    let plain = plain || std::env::var_os("TERM").is_some_and(|term| term == "dumb");
    let last = Mutex::new(Instant::now());
    auditor = auditor.with_progress(move |log, done, all| {
        let english = format!("{log}: {done} of {all} entries");
        if plain {
            // A line now and then: silence lasts no longer than five seconds.
            let mut last = last.lock().unwrap_or_else(PoisonError::into_inner);
            if last.elapsed() >= SILENCE_MAX {
                *last = Instant::now();
                words(&say(lang, &english));
            }
        } else {
            let _ = write!(io::stderr(), "\r{}\x1b[K", say(lang, &english));
            if done.saturating_add(50_000) > all {
                let _ = write!(io::stderr(), "\r\x1b[K");
            }
        }
    });
    Ok(auditor)
}

/// Reads an X25519 private key.
fn key(path: &Path) -> Result<HpkeKeyPair, AuditError> {
    let bad = |why: String| AuditError::File { path: path.to_owned(), why };
    HpkeKeyPair::from_private(secret(path)?).map_err(|error| bad(error.to_string()))
}

/// Reads a private key. No error shows what was read.
fn secret(path: &Path) -> Result<Secret32, AuditError> {
    let bad = || AuditError::File { path: path.to_owned(), why: "a key is 64 hexadecimal digits".to_owned() };
    let bytes = Zeroizing::new(read_file(path, 256)?);
    let text = std::str::from_utf8(&bytes).map_err(|_| bad())?;
    let mut secret = Zeroizing::new([0; 32]);
    hex::decode_to_slice(text.trim(), secret.as_mut()).map_err(|_| bad())?;
    Ok(Secret32::new(*secret))
}

fn now() -> Millis {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Millis(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

fn report(cli: &Cli, verdict: &Verdict) -> Result<Conclusion, AuditError> {
    let lang = cli.lang();
    if cli.json {
        print_json(verdict)?;
    } else {
        let entries: u64 = verdict.logs.iter().map(|log| log.entries).sum();
        let names: Vec<&str> =
            verdict.logs.iter().map(|log| if log.origin.is_empty() { &*log.dir } else { &*log.origin }).collect();
        let concluded = verdict.verdict.in_words(lang);
        let english = match names.as_slice() {
            [one] => format!("verdict: {concluded}  log: {one}  entries: {entries}"),
            many => format!("verdict: {concluded}  logs: {}  entries: {entries}", many.len()),
        };
        out(&say(lang, &english))?;
        let trained = |of: fn(&Trained) -> u64| verdict.logs.iter().map(|log| of(&log.counts.training)).sum::<u64>();
        let (asked, answered) = (trained(|t| t.queries), trained(|t| t.answers + t.refusals));
        if asked + answered > 0 {
            let english = format!("training, counted apart: {asked} questions, {answered} answers and refusals");
            out(&say(lang, &english))?;
        }
    }
    for log in verdict.logs.iter() {
        if let Some(closed) = log.closed_at {
            let name = if log.origin.is_empty() { &log.dir } else { &log.origin };
            words(&say(lang, &format!("log {name} is closed at {closed} entries")));
        }
    }
    for log in verdict.logs.iter() {
        if let Some(cosigned) = log.cosigned {
            let (name, entries) = (&log.origin, log.entries);
            words(&say(
                lang,
                &format!("log {name}: {cosigned} of {entries} entries are cosigned by the charter's quorum"),
            ));
        }
    }
    verdict.findings.iter().take(FINDINGS_PRINTED_MAX).for_each(|finding| print_finding(lang, finding));
    let further = verdict.findings.len().saturating_sub(FINDINGS_PRINTED_MAX) as u64 + verdict.findings_not_listed;
    if further > 0 {
        words(&say(lang, &format!("… {further} more; use --json for a list")));
    }
    Ok(verdict.verdict)
}

fn print_finding(lang: Lang, finding: &Finding) {
    let mark = match finding.severity {
        Severity::Unsound => text(lang, "error"),
        Severity::CouldNotTell => text(lang, "gap"),
        Severity::Notice => text(lang, "note"),
    };
    words(&format!("{mark}: [{}] {}", finding.class, finding.sentence(lang)));
    if !finding.detail.is_empty() {
        words(&format!("       {}", say(lang, &finding.detail)));
    }
    words(&format!("       {} {}", text(lang, "finding"), finding.id));
    if let Some(path) = &finding.evidence {
        words(&format!("       {}: {path}", text(lang, "evidence")));
    }
}

fn show_entries(cli: &Cli, dir: &Path, from: u64, limit: u64) -> Result<Conclusion, AuditError> {
    let entries = show(dir, from, limit)?;
    if cli.json {
        print_json(&entries)?;
        return Ok(Conclusion::Sound);
    }
    let lang = cli.lang();
    for entry in &entries {
        let party = |uri: &Option<String>| uri.as_deref().and_then(|u| u.strip_prefix("puente://")).map(str::to_owned);
        let parties = match (party(&entry.from), party(&entry.to), entry.seq) {
            (Some(from), Some(to), Some(seq)) => format!("  {from} → {to} #{seq}"),
            _ => String::new(),
        };
        let when = entry.minute.as_deref().unwrap_or("-");
        out(&format!("{:>6}  {:<8} {when}{parties}", entry.index, entry.kind))?;
        let clocks = clocks(entry);
        out(&format!("        {}", clocks.spell(&say(lang, &entry.says))))?;
        let local = clocks.spell(when);
        if let Some((_, local)) = local.split_once('(') {
            out(&format!("        {}", local.trim_end_matches(')')))?;
        }
    }
    Ok(Conclusion::Sound)
}

/// The clocks of the capitals of those whom an entry concerns.
fn clocks(entry: &Shown) -> Clocks {
    let nation = |uri: &Option<String>| Some(uri.as_deref()?.parse::<NodeUri>().ok()?.jurisdiction());
    let nations: Vec<_> = [&entry.from, &entry.to].into_iter().filter_map(nation).collect();
    Clocks::of(nations.iter().filter_map(|nation| capital_zone(nation.as_str())), jiff::tz::db())
}

fn check(cli: &Cli, file: &Path, entry: Option<&Path>, vkey: Option<&str>) -> Result<Conclusion, AuditError> {
    let bytes = read_file(file, CHECK_BYTES_MAX)?;
    let entry = entry.map(|path| read_file(path, CHECK_BYTES_MAX)).transpose()?;
    let charter = match (&cli.charter, cli.pin, vkey) {
        (Some(dir), Some(pin), _) => Some(load_charter(dir, pin)?),
        (_, _, None) => State::open(&cli.state).map(|(_, charter)| charter).ok(),
        _ => None,
    };
    let vkey: Option<VerifierKey> = match vkey {
        Some(text) => Some(text.parse().map_err(|e| AuditError::Unreadable(format!("--vkey: {e}")))?),
        None => None,
    };
    let checker = match (&charter, &vkey) {
        (_, Some(key)) => Checker::Key(key),
        (Some(charter), None) => Checker::Charter(charter),
        (None, None) => Checker::Nobody,
    };
    let checked = match bytes.starts_with(signed::FIRST_LINE.as_bytes()) {
        true => signed::check(&bytes, file.parent().unwrap_or(Path::new("")), charter.as_ref()),
        false => check_bytes(&bytes, entry.as_deref(), &checker)?,
    };
    if cli.json {
        print_json(&checked)?;
    } else {
        let lang = cli.lang();
        let english = format!("verdict: {}  file: {}", checked.verdict.in_words(lang), checked.what);
        out(&say(lang, &english))?;
        checked.words.iter().for_each(|line| words(&say(lang, line)));
    }
    Ok(checked.verdict)
}

fn print_json(value: &impl Serialize) -> Result<(), AuditError> {
    let text = serde_json::to_string(value).map_err(|error| AuditError::Unreadable(error.to_string()))?;
    out(&text)
}

fn out(line: &str) -> Result<(), AuditError> {
    writeln!(io::stdout(), "{line}").map_err(stdout_failed)
}

fn stdout_failed(error: io::Error) -> AuditError {
    AuditError::File { path: "stdout".into(), why: error.to_string() }
}

fn words(line: &str) {
    let _ = writeln!(io::stderr(), "{line}");
}
