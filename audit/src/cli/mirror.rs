//! `puente-audit mirror`: local copies of many logs.

use std::io::{self, IsTerminal as _, Write as _};
use std::path::PathBuf;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use puente_words::{say, text};
use serde_json::{Value, json};

use super::doors::{self, DoorArgs, size};
use super::{Cli, How, SILENCE_MAX, auditor, print_json, report, words};
use crate::remote::{Continuity, Copied, Mirror, MirrorProgress, Outcome};
use crate::{AuditError, Auditor, Conclusion, Source, read_file};

/// Bytes of a list of sources.
const LIST_BYTES_MAX: u64 = 1 << 20;

/// What it takes to mirror.
#[derive(Debug, clap::Args)]
pub(super) struct MirrorArgs {
    /// Folders of exported logs, or https://host:port/ of nodes' doors.
    #[arg(required_unless_present = "list", value_name = "DIR|URL")]
    sources: Vec<PathBuf>,
    /// File that names more of them, one a line; '#' begins a comment.
    #[arg(long, value_name = "FILE")]
    list: Option<PathBuf>,
    /// Logs that are copied at once.
    #[arg(long, default_value_t = 4, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=64))]
    jobs: u16,
    #[command(flatten)]
    pub(super) how: How,
}

/// What a round of copying came to.
pub(super) struct Brought {
    pub(super) sources: Vec<String>,
    pub(super) outcomes: Vec<Outcome>,
    pub(super) keep: PathBuf,
}

impl MirrorArgs {
    fn sources(&self) -> Result<Vec<PathBuf>, AuditError> {
        let mut sources = self.sources.clone();
        if let Some(path) = &self.list {
            let bytes = read_file(path, LIST_BYTES_MAX)?;
            let list = String::from_utf8(bytes)
                .map_err(|_| AuditError::File { path: path.clone(), why: "it is no text".to_owned() })?;
            let lines = list.lines().map(|line| line.split('#').next().unwrap_or_default().trim());
            sources.extend(lines.filter(|line| !line.is_empty()).map(PathBuf::from));
        }
        sources.sort_unstable();
        sources.dedup();
        Ok(sources)
    }

    const fn door(&self) -> &DoorArgs {
        &self.how.door
    }
}

/// Brings the copies up to date, and tells how far it is.
pub(super) fn bring(cli: &Cli, args: &MirrorArgs, auditor: &Auditor) -> Result<Brought, AuditError> {
    let lang = cli.lang();
    let sources = args.sources()?;
    let at_doors = sources.iter().any(|source| doors::url(source).is_some());
    let credentials = if at_doors { Some(doors::credentials(cli, args.door())?) } else { None };
    let keep = args.door().keep(cli);
    let plain = !io::stderr().is_terminal();
    let told = Mutex::new(Instant::now());
    let tell = |progress: MirrorProgress| {
        let MirrorProgress { done, all, bytes } = progress;
        let bytes = size(bytes);
        let line = say(lang, &format!("{done} of {all} logs, {bytes}")).into_owned();
        let mut told = told.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        // One line for all of them, not one for each.
        let often = if plain { SILENCE_MAX - Duration::from_secs(1) } else { Duration::from_millis(200) };
        if told.elapsed() >= often {
            *told = Instant::now();
            let _ = if plain { writeln!(io::stderr(), "{line}") } else { write!(io::stderr(), "\r{line}\x1b[K") };
        }
    };
    let clear = || {
        if !plain {
            let _ = write!(io::stderr(), "\r\x1b[K");
        }
    };
    let came = |at: usize, outcome: &Outcome| {
        clear();
        let source = sources.get(at).map(|source| source.display().to_string()).unwrap_or_default();
        words(&told_of(cli, &source, outcome));
    };
    let outcomes = {
        let copier = args.door().copier(auditor.charter(), credentials.as_ref(), &keep);
        Mirror { copier, jobs: usize::from(args.jobs) }.run(&sources, &tell, &came)
    };
    clear();
    Ok(Brought { sources: sources.iter().map(|source| source.display().to_string()).collect(), outcomes, keep })
}

pub(super) fn run(cli: &Cli, args: &MirrorArgs) -> Result<Conclusion, AuditError> {
    let lang = cli.lang();
    let mut auditor = auditor(cli, &args.how)?;
    let Brought { sources, outcomes, keep } = bring(cli, args, &auditor)?;
    let (mut logs, mut failed, mut forks) = (Vec::new(), Vec::new(), Vec::new());
    let mut concluded = Conclusion::Sound;
    for (source, outcome) in sources.iter().zip(&outcomes) {
        match outcome {
            Outcome::Failed(error) => {
                failed.push(json!({"source": source, "why": error.to_string()}));
                concluded = worse(concluded, Conclusion::CouldNotTell);
            }
            Outcome::Copied(copy) => match &copy.continuity {
                Continuity::Forked(fork) => {
                    let verdict = auditor.audit(&[Source::Copied(&copy.dir, Some(&fork.before))], false, true)?;
                    concluded = worse(concluded, verdict.verdict);
                    let mut shown =
                        serde_json::to_value(&verdict).map_err(|e| AuditError::Unreadable(e.to_string()))?;
                    shown["set_aside"] = json!(fork.aside.display().to_string());
                    forks.push((shown, verdict, fork));
                }
                Continuity::Whole => logs.push(shown(source, copy, None)),
                Continuity::Damaged { aside } => logs.push(shown(source, copy, Some(aside))),
            },
        }
    }
    if cli.json {
        let forked: Vec<&Value> = forks.iter().map(|(shown, ..)| shown).collect();
        print_json(&json!({"verdict": concluded, "logs": logs, "failed": failed, "forked": forked}))?;
    } else {
        for (_, verdict, _) in &forks {
            report(cli, verdict)?;
        }
    }
    // Said, and the evidence is written: not before.
    forks.iter().try_for_each(|(.., fork)| fork.told())?;
    if cli.json {
        return Ok(concluded);
    }
    let (copied, all) = (logs.len(), sources.len());
    super::out(&say(lang, &format!("{copied} of {all} logs are here as they are there, in {}", keep.display())))?;
    Ok(concluded)
}

fn shown(source: &str, copy: &Copied, damaged: Option<&PathBuf>) -> Value {
    json!({
        "source": source, "origin": copy.origin, "dir": copy.dir.display().to_string(),
        "entries": copy.entries, "fetched_bytes": copy.bytes,
        "damaged": damaged.map(|dir| dir.display().to_string()),
    })
}

fn told_of(cli: &Cli, source: &str, outcome: &Outcome) -> String {
    let lang = cli.lang();
    let copy = match outcome {
        Outcome::Copied(copy) => copy,
        Outcome::Failed(error) => {
            return format!("{} {source}: {}", text(lang, "error:"), say(lang, &error.to_string()));
        }
    };
    let (origin, bytes, dir) = (&copy.origin, size(copy.bytes), copy.dir.display());
    let here = say(lang, &format!("{origin}: {bytes} fetched; the copy is in {dir}")).into_owned();
    match &copy.continuity {
        Continuity::Whole => here,
        Continuity::Damaged { aside } => {
            let aside = aside.display();
            let english = format!("the copy of before was damaged here and is in {aside}");
            format!("{here}\n{}", say(lang, &english))
        }
        Continuity::Forked(fork) => {
            let aside = fork.aside.display();
            say(lang, &format!("{origin} shows another history than before; that one is kept in {aside}")).into_owned()
        }
    }
}

/// What two conclusions come to together.
fn worse(one: Conclusion, other: Conclusion) -> Conclusion {
    match (one, other) {
        (Conclusion::Unsound, _) | (_, Conclusion::Unsound) => Conclusion::Unsound,
        (Conclusion::CouldNotTell, _) | (_, Conclusion::CouldNotTell) => Conclusion::CouldNotTell,
        (Conclusion::Sound, Conclusion::Sound) => Conclusion::Sound,
    }
}
