//! `puente-audit monitor`: copies brought up to date and audited, again and again, each finding told once.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use puente_words::{say, text};

use super::mirror::{self, Brought, MirrorArgs};
use super::scrape::Page;
use super::{Cli, auditor, metrics, now, print_finding, words};
use crate::remote::{Continuity, Fork, Outcome};
use crate::state::replace;
use crate::{AuditError, Casebook, Conclusion, Source, Untold};

/// How long whoever is told of a finding may take.
const HOOK_PATIENCE: Duration = Duration::from_secs(30);
const HOOK_LOOK: Duration = Duration::from_millis(20);

/// What it takes to watch.
#[derive(Debug, clap::Args)]
pub(super) struct MonitorArgs {
    #[command(flatten)]
    mirror: MirrorArgs,
    /// Seconds from one round to the next.
    #[arg(long, default_value_t = 300, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=86_400))]
    every: u64,
    /// One round; the exit code is its verdict's.
    #[arg(long)]
    once: bool,
    /// Program that is told of each new finding: a line of JSON on its standard input. It is told again until it exits with 0.
    #[arg(long, value_name = "PROGRAM")]
    hook: Option<PathBuf>,
    /// File that is written anew after each round, for Prometheus' node_exporter (textfile collector).
    #[arg(long, value_name = "FILE")]
    metrics: Option<PathBuf>,
    /// Address at which the same is served over HTTP, as /metrics, for Prometheus to scrape, for example 127.0.0.1:9464.
    #[arg(long, value_name = "IP:PORT", conflicts_with = "once")]
    listen: Option<SocketAddr>,
}

pub(super) fn run(cli: &Cli, args: &MonitorArgs) -> Result<Conclusion, AuditError> {
    let mut first = true;
    let page = Page::default();
    if let Some(at) = args.listen {
        let at = page.serve(at)?;
        words(&say(cli.lang(), &format!("Prometheus finds the rounds' figures at http://{at}/metrics.")));
    }
    loop {
        let began = Instant::now();
        match round(cli, args, &page) {
            Ok(concluded) if args.once => return Ok(concluded),
            Ok(_) => {}
            // What is wrong from the first is wrong with the command; later it may pass.
            Err(error) if first || args.once => return Err(error),
            Err(error) => words(&format!("{} {}", text(cli.lang(), "error:"), say(cli.lang(), &error.to_string()))),
        }
        first = false;
        std::thread::sleep(Duration::from_secs(args.every).saturating_sub(began.elapsed()));
    }
}

fn round(cli: &Cli, args: &MonitorArgs, page: &Page) -> Result<Conclusion, AuditError> {
    let (lang, began) = (cli.lang(), Instant::now());
    let mut casebook = Casebook::open(&cli.state)?;
    // Opened anew each time: charter and keys may have come meanwhile.
    let mut auditor = auditor(cli, &args.mirror.how)?;
    let brought = mirror::bring(cli, &args.mirror, &auditor)?;
    let failures: Vec<String> = brought.outcomes.iter().map(why).collect();
    let verdict = auditor.audit(&logs(&brought, &failures), true, true)?;
    let mut new = 0_u64;
    for finding in &verdict.findings {
        if casebook.add(finding, now())? {
            new += 1;
            if cli.json {
                let line = casebook.untold().last().map(|untold| untold.line.clone()).unwrap_or_default();
                super::out(&line)?;
            } else {
                print_finding(lang, finding);
            }
        }
    }
    // They stand in the casebook now: not before.
    brought.outcomes.iter().filter_map(fork).try_for_each(Fork::told)?;
    tell(cli, args.hook.as_deref(), &mut casebook)?;
    let figures = metrics::of_round(&brought, &verdict, &casebook, began.elapsed());
    if let Some(path) = &args.metrics {
        replace(path, figures.as_bytes())?;
    }
    page.put(figures);
    let (at, concluded) = (now(), verdict.verdict.in_words(lang));
    let logs = verdict.logs.iter().filter(|log| !log.node.is_empty()).count();
    let ledgers = verdict.logs.len() - logs;
    words(&say(lang, &format!("{at}: {concluded}, {logs} logs, {ledgers} ledgers of groups, {new} new findings")));
    Ok(verdict.verdict)
}

/// Why a source could not be copied; empty if it was.
fn why(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Failed(error) => error.to_string(),
        Outcome::Copied(_) => String::new(),
    }
}

fn fork(outcome: &Outcome) -> Option<&Fork> {
    match outcome {
        Outcome::Copied(copy) => match &copy.continuity {
            Continuity::Forked(fork) => Some(fork),
            _ => None,
        },
        Outcome::Failed(_) => None,
    }
}

/// Everything that was copied, each folder once, and what was not.
fn logs<'b>(brought: &'b Brought, failures: &'b [String]) -> Vec<Source<'b>> {
    let mut copies: BTreeMap<&Path, Option<&[u8]>> = BTreeMap::new();
    let mut logs = Vec::new();
    for ((source, outcome), why) in brought.sources.iter().zip(&brought.outcomes).zip(failures) {
        match outcome {
            Outcome::Copied(copy) => {
                let before = copies.entry(&copy.dir).or_default();
                *before = before.or(fork(outcome).map(|fork| fork.before.as_slice()));
            }
            Outcome::Failed(_) => logs.push(Source::Unreachable(source, why)),
        }
    }
    logs.extend(copies.into_iter().map(|(dir, before)| Source::Copied(dir, before)));
    logs
}

/// Tells of what nobody was told of yet; what fails is told again in the next round.
fn tell(cli: &Cli, hook: Option<&Path>, casebook: &mut Casebook) -> Result<(), AuditError> {
    let Some(hook) = hook else { return Ok(()) };
    while let Some(untold) = casebook.untold().first().cloned() {
        if let Err(why) = told(hook, &untold) {
            let (lang, id, hook) = (cli.lang(), &untold.id, hook.display());
            words(&say(
                lang,
                &format!("{hook} was not told of finding {id} ({why}); it is tried again in the next round"),
            ));
            return Ok(());
        }
        casebook.told()?;
    }
    Ok(())
}

fn told(hook: &Path, untold: &Untold) -> Result<(), String> {
    let failed = |error: std::io::Error| error.to_string();
    let mut child = Command::new(hook).stdin(Stdio::piped()).stdout(Stdio::null()).spawn().map_err(failed)?;
    if let Some(mut stdin) = child.stdin.take() {
        // A program that does not care to read is told all the same.
        let _ = writeln!(stdin, "{}", untold.line);
    }
    let began = Instant::now();
    loop {
        match child.try_wait().map_err(failed)? {
            Some(status) if status.success() => return Ok(()),
            Some(status) => return Err(status.to_string()),
            None if began.elapsed() > HOOK_PATIENCE => {
                let _ = child.kill();
                let _ = child.wait();
                return Err("it takes too long".to_owned());
            }
            None => std::thread::sleep(HOOK_LOOK),
        }
    }
}
