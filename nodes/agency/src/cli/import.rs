use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufReader, IsTerminal as _, Read, Write as _};
use std::path::Path;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use puente_catalogue::RecordType;
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng as _;
use serde_json::{Value, json};

use super::args::{Format, ImportArgs};
use super::output::{Exit, Failure, Report};
use super::{Context, client, load_failure};
use crate::config::{NodeConfig, closest};
use crate::files;
use crate::import::stage::{StageError, Staged, Staging};
use crate::import::{self, AUTHORITY_CHARS_MAX, ImportError, Imported, Options, RowError, Sink, Summary};
use crate::load;
use crate::records::RecordStore;

/// Row errors that are shown; all of them go into the file of `--errors`.
const SHOWN_MAX: usize = 100;

impl From<ImportError> for Failure {
    fn from(error: ImportError) -> Self {
        let text = error.to_string();
        match error {
            ImportError::Read(_) => Self::usage("unreadable", text).hint("check the file"),
            ImportError::Store(_) => Self::unavailable("store", text).hint("mend the disk; nothing was brought in"),
            ImportError::File { code, mend, .. } => Self::usage(code, text).hint(mend),
        }
    }
}

impl From<StageError> for Failure {
    fn from(error: StageError) -> Self {
        let text = error.to_string();
        match error {
            StageError::File { path, error } => Self::file(&path, &error),
            StageError::Damaged { .. } => Self::findings("damaged", text),
            StageError::Store(_) => Self::unavailable("store", text).hint("mend the disk, then import again"),
        }
    }
}

pub(super) fn run(context: &Context, args: &ImportArgs) -> Result<Report, Failure> {
    let config = NodeConfig::load(&context.dir).map_err(|error| load_failure(error.into()))?;
    let extra = config.catalogue_extra.as_ref().map(|folder| context.dir.path().join(folder));
    let catalogue = load::catalogue(extra.as_deref()).map_err(load_failure)?;
    let Some(record_type) = catalogue.record_type(&args.record_type) else {
        let known: Vec<&str> = catalogue.record_types().iter().map(RecordType::name).collect();
        let near = closest(&args.record_type, &known).map(|n| format!("did you mean {n}? ")).unwrap_or_default();
        let message = format!("the catalogue has no record type '{}'", args.record_type.escape_debug());
        let hint = format!("{near}The record types are: {}", known.join(", "));
        return Err(Failure::usage("unknown-type", message).hint(hint).details(json!({"valid": known})));
    };
    if args.authority.chars().count() > AUTHORITY_CHARS_MAX || args.authority.chars().any(char::is_control) {
        let message =
            format!("--authority is longer than {AUTHORITY_CHARS_MAX} characters or holds control characters");
        return Err(Failure::usage("authority", message).hint("shorten it"));
    }
    let options = Options { format: format(args)?, overrides: overrides(args, record_type)?, lang: context.lang };
    let (source, bytes) = open(&args.file)?;
    let mut sink = ToDisk::new(context, args, bytes)?;
    let seed = files::fresh_secret().map_err(|error| Failure::unavailable("random", error.to_string()))?;
    let mut rng = ChaCha20Rng::from_seed(*seed.expose());
    let ran = import::run(BufReader::with_capacity(256 * 1024, source), record_type, &options, &mut rng, &mut sink);
    let Collected { staging, problems } = sink.end()?;
    let summary = match ran {
        Ok(summary) => summary,
        Err(error) => {
            if let Some(staging) = staging {
                staging.abandon();
            }
            return Err(error.into());
        }
    };
    let entry = match staging {
        Some(staging) if summary.accepted == 0 => {
            staging.abandon();
            Entry::Nothing
        }
        Some(staging) => settle(context, staging.finish(&summary, record_type.name(), &args.authority)?)?,
        None => Entry::DryRun,
    };
    Ok(report(args, record_type, &summary, &problems, &entry))
}

/// What became of the good rows.
enum Entry {
    Nothing,
    DryRun,
    /// The log holds the COLLECT entry at this index; the records are found from now on.
    Recorded(u64),
    /// No node runs: it records the entry at its start, and the records are found from then on.
    Staged,
}

fn settle(context: &Context, mut batch: Staged) -> Result<Entry, Failure> {
    let mut node = match client::connect(context)? {
        Some(node) => node,
        None => {
            batch.release();
            // One that has begun to run meanwhile either takes the batch up, or has found it held and left it.
            match client::connect(context)? {
                Some(node) if batch.hold() => node,
                _ => return Ok(Entry::Staged),
            }
        }
    };
    let index = client::record(&mut node, batch.event())?;
    batch.collected()?;
    let mut records =
        RecordStore::open(&context.dir).map_err(|error| Failure::unavailable("store", error.to_string()))?;
    batch.store(&mut records, &mut |_| ())?;
    Ok(Entry::Recorded(index))
}

fn format(args: &ImportArgs) -> Result<import::Format, Failure> {
    let ending = args.file.extension().map(|e| e.to_string_lossy().to_lowercase());
    match (args.format, ending.as_deref()) {
        (Some(Format::Csv), _) | (None, Some("csv" | "tsv" | "txt")) => Ok(import::Format::Csv),
        (Some(Format::Jsonl), _) | (None, Some("jsonl" | "ndjson")) => Ok(import::Format::JsonLines),
        _ => Err(Failure::usage("format", "the file's name does not tell how it is written")
            .hint("give --format csv or --format jsonl")),
    }
}

fn overrides(args: &ImportArgs, record_type: &RecordType) -> Result<BTreeMap<String, String>, Failure> {
    let mut out = BTreeMap::new();
    for text in &args.overrides {
        let bad = |message: String| Failure::usage("override", message).hint("write --override column=reason");
        let (column, reason) = text.split_once('=').ok_or_else(|| bad("an --override has no '='".to_owned()))?;
        if reason.trim().chars().count() < 3 {
            return Err(bad(format!("the --override of '{}' gives no reason", column.escape_debug())));
        }
        let Some(field) = record_type.field_of_column(column) else {
            let known: Vec<&str> = record_type.fields().iter().map(|f| f.name.as_str()).collect();
            let near = closest(column, &known).map(|n| format!("; did you mean '{n}'?")).unwrap_or_default();
            return Err(bad(format!("'{}' is no column of {}{near}", column.escape_debug(), record_type.name())));
        };
        out.insert(field.name.clone(), reason.trim().to_owned());
    }
    Ok(out)
}

fn open(path: &Path) -> Result<(Box<dyn Read>, Option<u64>), Failure> {
    if path.as_os_str() == "-" {
        return Ok((Box::new(io::stdin()), None));
    }
    let file = File::open(path).map_err(|error| Failure::file(path, &error))?;
    let meta = file.metadata().map_err(|error| Failure::file(path, &error))?;
    if meta.is_dir() {
        return Err(Failure::usage("folder", format!("{} is a folder", path.display())).hint("name a file"));
    }
    Ok((Box::new(file), meta.is_file().then_some(meta.len())))
}

/// Row errors, as far as they are shown.
#[derive(Default)]
struct Problems {
    shown: Vec<RowError>,
    more: u64,
}

struct Collected {
    staging: Option<Staging>,
    problems: Problems,
}

/// Good rows go to the staging file, bad ones to stderr and the errors file.
struct ToDisk {
    staging: Option<Staging>,
    errors: Option<csv::Writer<File>>,
    bar: ProgressBar,
    json: bool,
    problems: Problems,
}

impl ToDisk {
    fn new(context: &Context, args: &ImportArgs, bytes: Option<u64>) -> Result<Self, Failure> {
        let errors = match &args.errors {
            None => None,
            Some(path) => {
                let file = File::create(path).map_err(|error| Failure::file(path, &error))?;
                let mut to = csv::Writer::from_writer(file);
                to.write_record(["line", "column", "code", "rejected", "message", "mend"])
                    .map_err(|error| Failure::unavailable("errors-file", error.to_string()))?;
                Some(to)
            }
        };
        let staging = if args.dry_run { None } else { Some(Staging::begin(&context.dir.imports())?) };
        Ok(Self { staging, errors, bar: bar(context, bytes), json: context.json, problems: Problems::default() })
    }

    fn end(mut self) -> Result<Collected, Failure> {
        self.bar.finish_and_clear();
        if let Some(errors) = &mut self.errors {
            errors.flush().map_err(|error| Failure::unavailable("errors-file", error.to_string()))?;
        }
        Ok(Collected { staging: self.staging, problems: self.problems })
    }

    /// Words on stderr, above the bar.
    fn say(&self, words: &str) {
        self.bar.suspend(|| {
            let _ = writeln!(anstream::stderr(), "{words}");
        });
    }
}

/// A progress bar on stderr; none where nobody watches.
fn bar(context: &Context, bytes: Option<u64>) -> ProgressBar {
    if context.json || !io::stderr().is_terminal() || std::env::var_os("TERM").is_some_and(|t| t == "dumb") {
        return ProgressBar::hidden();
    }
    let (bar, template) = match bytes {
        Some(bytes) => (ProgressBar::new(bytes), "{bar:30} {bytes}/{total_bytes} {msg} {eta}"),
        None => (ProgressBar::new_spinner(), "{spinner} {bytes} {msg}"),
    };
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
    bar.enable_steady_tick(Duration::from_millis(200));
    bar
}

impl Sink for ToDisk {
    fn record(&mut self, record: Imported) -> Result<(), String> {
        match &mut self.staging {
            Some(staging) => staging.put(&record).map_err(|error| error.to_string()),
            None => Ok(()),
        }
    }

    fn problem(&mut self, error: &RowError, rejected: bool) -> Result<(), String> {
        if let Some(errors) = &mut self.errors {
            let line = error.line.to_string();
            let column = error.column.clone().unwrap_or_default();
            let rejected = if rejected { "yes" } else { "no" };
            errors
                .write_record([&line, &column, error.code, rejected, &error.message, &error.mend])
                .map_err(|e| e.to_string())?;
        }
        if !rejected {
            return Ok(());
        }
        if self.problems.shown.len() < SHOWN_MAX {
            if !self.json {
                self.say(&error.to_string());
            }
            self.problems.shown.push(error.clone());
        } else {
            self.problems.more += 1;
        }
        Ok(())
    }

    fn progress(&mut self, bytes: u64, rows: u64) {
        if rows.is_multiple_of(64) {
            self.bar.set_position(bytes);
            self.bar.set_message(format!("{rows} rows"));
        }
    }
}

fn report(
    args: &ImportArgs,
    record_type: &RecordType,
    summary: &Summary,
    problems: &Problems,
    entry: &Entry,
) -> Report {
    let errors: Vec<Value> = problems
        .shown
        .iter()
        .map(|e| json!({"line": e.line, "column": e.column, "code": e.code, "message": e.message, "mend": e.mend}))
        .collect();
    let (state, index) = match entry {
        Entry::Nothing => ("nothing", None),
        Entry::DryRun => ("dry-run", None),
        Entry::Recorded(index) => ("recorded", Some(*index)),
        Entry::Staged => ("staged", None),
    };
    let value = json!({
        "type": record_type.name(),
        "rows": summary.rows,
        "accepted": summary.accepted,
        "rejected": summary.rejected,
        "warnings": summary.warnings,
        "overridden": summary.overridden,
        "root": summary.root.to_string(),
        "collect": {"state": state, "index": index},
        "errors": errors,
        "errors_not_shown": problems.more,
    });
    let mut text = format!("{} rows: {} accepted, {} rejected\n", summary.rows, summary.accepted, summary.rejected);
    if summary.warnings + summary.overridden > 0 {
        text.push_str(&format!("{} doubts, {} overrides\n", summary.warnings, summary.overridden));
    }
    text.push_str(&match entry {
        Entry::Nothing => "nothing was brought in\n".to_owned(),
        Entry::DryRun => "nothing was brought in: this was a trial\n".to_owned(),
        Entry::Recorded(index) => format!("COLLECT recorded at {index}: the records are found from now on\n"),
        Entry::Staged => "staged: no node is running here\n".to_owned(),
    });
    let mut report = Report::new(value, text);
    if problems.more > 0 {
        report = report.note(format!("{} more errors are not shown", problems.more));
    }
    if summary.rejected > 0 && args.errors.is_none() {
        report = report.hint("--errors FILE writes every error to a file");
    }
    if matches!(entry, Entry::Staged) {
        report = report.hint("the node records the COLLECT entry when it starts; the records are found from then on");
    }
    if summary.rejected > 0 { report.exit(Exit::Findings) } else { report }
}
