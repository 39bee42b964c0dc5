//! `puente-audit report`: pages for people, figures as JSON, evidence, and a summary for the public, in one folder.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use puente_charter::Charter;
use puente_model::{Digest, Lang, Millis, Minute};
use puente_words::say;
use serde_json::json;

use super::{Cli, How, auditor_at, doors, now, out, print_json, secret, words};
use crate::report::signed::{self, NOTE, SUMS};
use crate::report::{Public, Report, page, public_page};
use crate::state::replace;
use crate::{Acts, AuditError, Conclusion, Verdict};

/// All figures.
const JSON: &str = "report.json";
/// What is in a report's folder, and nothing else.
const FILES: [&str; 9] =
    ["en.html", "es.html", "public-en.html", "public-es.html", "public.json", JSON, SUMS, NOTE, EVIDENCE];
/// The folder of evidence files.
const EVIDENCE: &str = "evidence";

/// What it takes to report.
#[derive(Debug, clap::Args)]
pub(super) struct ReportArgs {
    /// Folders of the copied logs, or https://host:port/ of the nodes' doors (default: every copy that mirror keeps).
    #[arg(value_name = "DIR|URL")]
    dirs: Vec<PathBuf>,
    /// Folder for the report: a new or empty one, or that of an earlier report.
    #[arg(long, value_name = "DIR")]
    html: PathBuf,
    /// The instant as of which everything is judged, for example 2026-11-23T21:00:00Z (default: now).
    #[arg(long, value_name = "TIME", value_parser = instant)]
    as_of: Option<Millis>,
    /// The key of the auditor's own log, 64 hexadecimal digits: the report is signed with it. Who comes to the same report adds
    /// a signature by giving the same folder.
    #[arg(long, value_name = "FILE")]
    sign: Option<PathBuf>,
    #[command(flatten)]
    how: How,
}

fn instant(text: &str) -> Result<Millis, String> {
    let at: jiff::Timestamp = text.parse().map_err(|error: jiff::Error| error.to_string())?;
    u64::try_from(at.as_millisecond()).map(Millis).map_err(|_| "it lies before 1970".to_owned())
}

pub(super) fn run(cli: &Cli, args: &ReportArgs) -> Result<Conclusion, AuditError> {
    let at = args.as_of.unwrap_or_else(now);
    if at > now() {
        return Err(AuditError::AsOf { at, why: "it lies in the future".to_owned() });
    }
    let to = &args.html;
    let key = args.sign.as_deref().map(secret).transpose()?;
    let before = make_room(to)?;
    let mut auditor = auditor_at(cli, &args.how, at)?.with_figures().with_evidence(to.join(EVIDENCE));
    let charter = auditor.charter().clone();
    let dirs = if args.dirs.is_empty() { mirrored(&args.how.door.keep(cli), &charter) } else { args.dirs.clone() };
    if dirs.is_empty() {
        return Err(AuditError::NoLogs { keep: args.how.door.keep(cli) });
    }
    // What is remembered today must not make tomorrow's report of the same copies another one.
    let remembered = auditor.remembers();
    auditor = auditor.without_remembering();
    let names: Vec<&Path> = dirs.iter().map(PathBuf::as_path).collect();
    let verdict = doors::judge(cli, &args.how, &mut auditor, &names, true)?;
    // Judged as of a time before them, honest entries would be accused of lying in the future.
    if let Some(newest) = newest(&verdict).filter(|newest| args.as_of.is_some() && newest.start() > at) {
        return Err(AuditError::AsOf { at, why: format!("the logs hold entries of {newest}") });
    }
    let mut report = Report::new(&charter, &verdict, at, &remembered);
    if cli.charter.is_none() {
        report = report.with_acts(&Acts::open(&cli.state)?);
    }
    let public = Public::of(&report);
    let failed = |error: serde_json::Error| AuditError::Unreadable(error.to_string());
    let files = [
        ("en.html", page(&report, &charter, Lang::En).into_bytes()),
        ("es.html", page(&report, &charter, Lang::Es).into_bytes()),
        ("public-en.html", public_page(&public, &charter, Lang::En).into_bytes()),
        ("public-es.html", public_page(&public, &charter, Lang::Es).into_bytes()),
        ("public.json", serde_json::to_vec_pretty(&public).map_err(failed)?),
        (JSON, serde_json::to_vec_pretty(&report).map_err(failed)?),
    ];
    let mut sums: Vec<(String, Digest)> = Vec::new();
    for (name, bytes) in &files {
        replace(&to.join(name), bytes)?;
        sums.push(((*name).to_owned(), Digest::of(bytes)));
    }
    let evidence: BTreeSet<&String> = report.findings.iter().filter_map(|finding| finding.evidence.as_ref()).collect();
    for name in evidence {
        let path = to.join(EVIDENCE).join(name);
        let bytes = fs::read(&path).map_err(|error| AuditError::io(&path, &error))?;
        sums.push((format!("{EVIDENCE}/{name}"), Digest::of(&bytes)));
    }
    let mut text = String::new();
    for (name, sum) in &sums {
        // Writing into a text cannot fail.
        let _ = writeln!(text, "{sum}  {name}");
    }
    replace(&to.join(SUMS), text.as_bytes())?;
    if let Some(key) = &key {
        let text = signed::text(&report, text.as_bytes());
        replace(&to.join(NOTE), &signed::sign(&charter, &text, before.as_deref(), key)?)?;
    }
    told(cli, to, &report)?;
    Ok(verdict.verdict)
}

/// The newest time that an entry states, unless even this machine's clock has not come to it.
fn newest(verdict: &Verdict) -> Option<Minute> {
    let figures = verdict.logs.iter().filter_map(|log| log.figures.as_deref());
    let last = figures.filter_map(|figures| figures.growth.entries.keys().next_back().copied()).map(Minute);
    last.filter(|minute| minute.start() <= now()).max()
}

fn told(cli: &Cli, to: &Path, report: &Report) -> Result<(), AuditError> {
    let (lang, logs, found) = (cli.lang(), report.node_logs().count(), report.findings.len());
    let first = to.join(if lang == Lang::En { "en.html" } else { "es.html" });
    if cli.json {
        return print_json(&json!({
            "verdict": report.verdict, "logs": logs, "findings": found, "html": first.display().to_string(),
            "report": to.join(JSON).display().to_string(),
        }));
    }
    let concluded = report.verdict.in_words(lang);
    out(&say(lang, &format!("verdict: {concluded}  logs: {logs}  findings: {found}")))?;
    let public = to.join(if lang == Lang::En { "public-en.html" } else { "public-es.html" });
    let page = first.display();
    words(&say(lang, &format!("The report is {page}; for the public: {}.", public.display())));
    Ok(())
}

/// Nothing of somebody else's is overwritten, and nothing of an earlier report stays beside the new one. Returns the note of the
/// earlier one: where the new one is the same, its signatures stand.
fn make_room(dir: &Path) -> Result<Option<Vec<u8>>, AuditError> {
    let entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(AuditError::io(dir, &error)),
    };
    // What a crash left of one is one, too.
    if entries.flatten().any(|entry| !FILES.iter().any(|known| entry.file_name() == *known)) {
        return Err(AuditError::NotAReport { dir: dir.to_owned() });
    }
    let note = fs::read(dir.join(NOTE)).ok();
    let gone = [fs::remove_dir_all(dir.join(EVIDENCE)), fs::remove_file(dir.join(NOTE))];
    for done in gone {
        match done {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(AuditError::io(dir, &error)),
            _ => {}
        }
    }
    Ok(note)
}

/// Every copy of a member's log that `mirror` keeps: below one folder for each source, one for each log.
fn mirrored(keep: &Path, charter: &Charter) -> Vec<PathBuf> {
    let sources = fs::read_dir(keep).into_iter().flatten().filter_map(|entry| Some(entry.ok()?.path()));
    let sources: BTreeSet<PathBuf> = sources.collect();
    let origins = charter.members().iter().flat_map(|member| &member.logs).map(|log| log.origin.as_str());
    let copy = |origin: &str| {
        let copies = sources.iter().map(|source| source.join(origin));
        copies.into_iter().find(|dir| dir.join("checkpoint").is_file())
    };
    origins.filter_map(copy).collect()
}
