use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, IsTerminal as _, Write as _};
use std::sync::Arc;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use puente_catalogue::{Catalogue, Lang, RecordType};
use puente_exchange::api::LocalEvent;
use puente_words::texts;
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng as _;
use serde_json::{Value, json};

use super::args::{Encoding, Format, ImportArgs};
use super::heartbeat::Heartbeat;
use super::output::{Exit, Failure, Report};
use super::{Context, client, load_failure};
use crate::config::{NodeConfig, closest};
use crate::files;
use crate::import::batch::Summary;
use crate::import::desk::{Audience, BatchState, Desk, Log, Order};
use crate::import::profile::{Profile, ProfileError};
use crate::import::source::Source;
use crate::import::stage::{Folder, Head, StageError};
use crate::import::text;
use crate::import::words::fill;
use crate::import::{self, AUTHORITY_CHARS_MAX, Counts, ImportError, Options, Outcome, RowError};
use crate::load;
use crate::progress::{Phase, Progress};
use crate::records::{RecordSettings, RecordStore};
use crate::training::marked;

/// Row errors that are shown; all of them go into the file of `--errors`.
const SHOWN_MAX: usize = 100;
/// Batches that the report lists.
const BATCHES_SHOWN_MAX: usize = 1_000;

impl From<ImportError> for Failure {
    fn from(error: ImportError) -> Self {
        let text = error.to_string();
        match error {
            ImportError::Open { path, error } => Self::file(&path, &error),
            ImportError::Read(_) => Self::usage("unreadable", text).hint("check the file"),
            ImportError::Errors(error) if is_full(&error) => disk_full(text),
            ImportError::Errors(_) => Self::unavailable("errors-file", text).hint("name another file with --errors"),
            ImportError::Stage(error) => error.into(),
            ImportError::Log { code: "log-unavailable", message, hint } => {
                Self::unavailable("log-unavailable", message).hint(hint)
            }
            ImportError::Log { code, message, hint } => Self::unreachable(code, message).hint(hint),
            ImportError::File { code: "file-changed", mend, .. } => Self::findings("file-changed", text).hint(mend),
            ImportError::File { code, mend, .. } => Self::usage(code, text).hint(mend),
        }
    }
}

fn is_full(error: &io::Error) -> bool {
    use io::ErrorKind::{FileTooLarge, QuotaExceeded, StorageFull};
    matches!(error.kind(), StorageFull | QuotaExceeded | FileTooLarge)
}

fn disk_full(text: String) -> Failure {
    let hint = "make room, then repeat the import: it goes on after the batches that are in";
    Failure::unavailable("disk-full", text).hint(hint)
}

impl From<StageError> for Failure {
    fn from(error: StageError) -> Self {
        let text = error.to_string();
        match error {
            StageError::File { error, .. } if is_full(&error) => disk_full(text),
            StageError::File { path, error } => Self::file(&path, &error),
            StageError::Busy(_) => Self::unavailable("busy", text).hint("wait until it has ended"),
            StageError::Damaged { .. } | StageError::Openings { .. } => Self::findings("damaged", text),
            StageError::Store(error) => Self::unavailable("store", text).hint(error.mend()),
        }
    }
}

impl From<ProfileError> for Failure {
    fn from(error: ProfileError) -> Self {
        Self::usage("profile", error.to_string()).hint(error.mend)
    }
}

pub(super) fn run(context: &Context, args: &ImportArgs) -> Result<Report, Failure> {
    let said = bring_in(context, args);
    if args.training { said.map(Report::in_training).map_err(Failure::in_training) } else { said }
}

fn bring_in(context: &Context, args: &ImportArgs) -> Result<Report, Failure> {
    let config = NodeConfig::load(&context.dir).map_err(|error| load_failure(error.into()))?;
    let extra = config.catalogue_extra.as_ref().map(|folder| context.dir.path().join(folder));
    let catalogue = load::catalogue(extra.as_deref()).map_err(load_failure)?;
    let profile = profile(args, &catalogue)?;
    let record_type = record_type(args, profile.as_ref(), &catalogue)?;
    if args.authority.chars().count() > AUTHORITY_CHARS_MAX || args.authority.chars().any(char::is_control) {
        let message =
            format!("--authority is longer than {AUTHORITY_CHARS_MAX} characters or holds control characters");
        return Err(Failure::usage("authority", message).hint("shorten it"));
    }
    let format = format(args, profile.is_some())?;
    let options = Options { format, profile, overrides: overrides(args, record_type)?, lang: context.lang };
    let source = Source::named(&args.file);
    let encoding = args.encoding.map(|encoding| match encoding {
        Encoding::Utf8 => text::Encoding::Utf8,
        Encoding::Latin1 => text::Encoding::Latin1,
        Encoding::Windows1252 => text::Encoding::Windows1252,
        Encoding::Utf16Le => text::Encoding::Utf16Le,
        Encoding::Utf16Be => text::Encoding::Utf16Be,
    });
    let order = Order {
        source: &source,
        encoding,
        options: &options,
        catalogue: &catalogue,
        record_type,
        authority: &args.authority,
    };
    let size = match &source {
        Source::File(path) => path.metadata().ok().filter(|m| m.is_file()).map(|m| m.len()),
        Source::Stdin => None,
    };
    let mut hall = Hall::new(context, args, size)?;
    let (dir, settings) = match args.training {
        true => (context.dir.training(), RecordSettings::default()),
        false => (context.dir.clone(), config.records.clone()),
    };
    if args.training {
        files::make_private_dir(dir.path()).map_err(|error| Failure::file(dir.path(), &error))?;
    }
    let records = RecordStore::open_with(&dir, &settings).map_err(StageError::from)?;
    let folder = Folder::new(&dir.imports());
    let log = Client { context, training: args.training };
    let seed = files::fresh_secret().map_err(|error| Failure::unavailable("random", error.to_string()))?;
    let mut rng = ChaCha20Rng::from_seed(*seed.expose());
    let mut summary = Summary::default();
    let ran =
        Desk { folder, records, log, audience: &mut hall, dry_run: args.dry_run }.run(&order, &mut rng, &mut summary);
    let ended = hall.end();
    let report = Told { context, args, record_type, summary: &summary, hall: &hall };
    match ran {
        Ok(encoding) => {
            ended?;
            Ok(report.good(encoding))
        }
        Err(error) => Err(report.bad(error.into())),
    }
}

fn profile(args: &ImportArgs, catalogue: &Catalogue) -> Result<Option<Profile>, Failure> {
    let type_of = |name: &str| catalogue.record_type(name).cloned();
    Ok(match (&args.profile, &args.profile_file) {
        (Some(name), _) => Some(Profile::builtin(name, type_of)?),
        (None, Some(path)) => Some(Profile::read(path, type_of)?),
        (None, None) => None,
    })
}

fn record_type<'c>(
    args: &ImportArgs,
    profile: Option<&Profile>,
    catalogue: &'c Catalogue,
) -> Result<&'c RecordType, Failure> {
    let name = profile.map(|p| p.record_type.as_str()).or(args.record_type.as_deref()).unwrap_or_default();
    catalogue.record_type(name).ok_or_else(|| {
        let known: Vec<&str> = catalogue.record_types().iter().map(RecordType::name).collect();
        let near = closest(name, &known).map(|n| format!("did you mean {n}? ")).unwrap_or_default();
        let message = format!("the catalogue has no record type '{}'", name.escape_debug());
        let hint = format!("{near}The record types are: {}", known.join(", "));
        Failure::usage("unknown-type", message).hint(hint).details(json!({"valid": known}))
    })
}

fn format(args: &ImportArgs, profile: bool) -> Result<import::Format, Failure> {
    let ending = args.file.extension().map(|e| e.to_string_lossy().to_lowercase());
    match (args.format, ending.as_deref()) {
        (Some(Format::Jsonl), _) if profile => {
            Err(Failure::usage("format", "a profile reads tables, not JSON").hint("leave --format out"))
        }
        (Some(Format::Csv), _) | (None, Some("csv" | "tsv" | "txt")) => Ok(import::Format::Csv),
        (Some(Format::Jsonl), _) | (None, Some("jsonl" | "ndjson")) if !profile => Ok(import::Format::JsonLines),
        _ if profile => Ok(import::Format::Csv),
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
            let near = closest(column, &known).map(|n| format!("did you mean '{n}'? ")).unwrap_or_default();
            let message = format!("'{}' is no column of {}", column.escape_debug(), record_type.name());
            return Err(bad(message).hint(format!("{near}write --override column=reason")));
        };
        out.insert(field.name.clone(), reason.trim().to_owned());
    }
    Ok(out)
}

/// The running node of the folder, looked for anew for each batch: it may come and go.
#[derive(Debug)]
struct Client<'a> {
    context: &'a Context,
    training: bool,
}

impl Log for Client<'_> {
    fn collect(&mut self, event: LocalEvent) -> Result<Option<u64>, ImportError> {
        let event = if self.training { marked(event) } else { event };
        let told = client::connect(self.context).and_then(|node| match node {
            Some(mut node) => client::record(&mut node, event).map(Some),
            None => Ok(None),
        });
        told.map_err(|failure| {
            let Failure { code, message, hint, .. } = failure;
            ImportError::Log { code, message, hint: hint.unwrap_or_default() }
        })
    }
}

/// Row errors, as far as they are shown.
#[derive(Default)]
struct Problems {
    shown: Vec<(RowError, Outcome)>,
    more: u64,
}

/// Tells people on stderr and in the errors file what happens.
struct Hall {
    errors: Option<csv::Writer<File>>,
    bar: ProgressBar,
    /// Where there is no bar.
    _beat: Option<Heartbeat>,
    progress: Arc<Progress>,
    json: bool,
    lang: Lang,
    problems: Problems,
    batches: Vec<Value>,
    /// Batches that the log did not have before.
    recorded: u64,
    staged: u64,
    in_already: u64,
    last: Option<(BatchState, String)>,
}

impl Hall {
    fn new(context: &Context, args: &ImportArgs, bytes: Option<u64>) -> Result<Self, Failure> {
        let errors = match &args.errors {
            None => None,
            Some(path) => {
                let file = File::create(path).map_err(|error| Failure::file(path, &error))?;
                let mut to = csv::Writer::from_writer(file);
                to.write_record(["line", "column", "code", "outcome", "message", "mend"]).map_err(errors_file)?;
                Some(to)
            }
        };
        let (bar, progress) = (bar(context, bytes), Arc::new(Progress::default()));
        progress.begin(Phase { what: "records are brought in", code: "import", of: bytes });
        Ok(Self {
            errors,
            _beat: bar.is_hidden().then(|| Heartbeat::start(context, &progress)),
            bar,
            progress,
            json: context.json,
            lang: context.lang,
            problems: Problems::default(),
            batches: Vec::new(),
            recorded: 0,
            staged: 0,
            in_already: 0,
            last: None,
        })
    }

    fn end(&mut self) -> Result<(), ImportError> {
        self.bar.finish_and_clear();
        match &mut self.errors {
            Some(errors) => errors.flush().map_err(ImportError::Errors),
            None => Ok(()),
        }
    }

    /// Words on stderr, above the bar.
    fn say(&self, words: &str) {
        if self.json {
            return;
        }
        self.bar.suspend(|| {
            let _ = writeln!(anstream::stderr(), "{words}");
        });
    }
}

fn errors_file(error: csv::Error) -> ImportError {
    ImportError::Errors(match error.into_kind() {
        csv::ErrorKind::Io(error) => error,
        _ => io::Error::other("a line of errors cannot be written"),
    })
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

impl Audience for Hall {
    fn problem(&mut self, error: &RowError, outcome: Outcome) -> Result<(), ImportError> {
        if let Some(errors) = &mut self.errors {
            let line = error.line.to_string();
            let column = error.column.as_deref().unwrap_or_default();
            errors
                .write_record([&line, column, &error.code, outcome.as_str(), &error.message, &error.mend])
                .map_err(errors_file)?;
        }
        if outcome != Outcome::Rejected {
            return Ok(());
        }
        if self.problems.shown.len() < SHOWN_MAX {
            self.say(&error.to_string());
            self.problems.shown.push((error.clone(), outcome));
        } else {
            self.problems.more += 1;
        }
        Ok(())
    }

    fn batch(&mut self, head: &Head, state: BatchState) {
        let (word, index) = match state {
            BatchState::Recorded(index) => ("recorded", Some(index)),
            BatchState::Staged => ("staged", None),
            BatchState::InAlready => ("in-already", None),
            BatchState::CarriedOn(index) => ("carried-on", index),
        };
        match state {
            BatchState::Recorded(_) | BatchState::CarriedOn(_) => self.recorded += 1,
            BatchState::Staged => self.staged += 1,
            BatchState::InAlready => self.in_already += 1,
        }
        if !matches!(state, BatchState::CarriedOn(_)) {
            self.last = Some((state, head.root.clone()));
        }
        if self.batches.len() < BATCHES_SHOWN_MAX {
            let counts = &head.counts;
            self.batches.push(json!({
                "state": word, "index": index, "root": head.root, "rows": counts.rows, "accepted": counts.accepted,
            }));
        }
        let parts = [head.counts.accepted.to_string(), index.map(|i| i.to_string()).unwrap_or_default()];
        let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
        let text = match state {
            BatchState::Recorded(_) => Text::BatchRecorded,
            BatchState::Staged => Text::BatchStaged,
            BatchState::InAlready => Text::BatchInAlready,
            BatchState::CarriedOn(_) => Text::BatchCarriedOn,
        };
        self.say(&fill(text.get(self.lang), &parts));
    }

    fn progress(&mut self, bytes: u64, rows: u64) {
        if rows.is_multiple_of(1_024) {
            self.progress.reach(bytes);
            self.bar.set_position(bytes);
            self.bar.set_message(fill(Text::Rows.get(self.lang), &[&rows.to_string()]));
        }
    }
}

texts! {
    /// What an import says.
    enum Text {
        Rows: "{0} rows";
        BatchRecorded: "a batch of {0} records is in: COLLECT at {1}";
        BatchStaged: "a batch of {0} records is staged";
        BatchInAlready: "a batch of {0} records is in already: going on after it";
        BatchCarriedOn: "a batch of {0} records that an earlier import left is in now";
        Counted: "{0} rows: {1} accepted, {2} rejected, {3} duplicates";
        Duplicates: "duplicates: {0} of a row of the same batch, {1} of a record that was in already";
        Doubts: "{0} doubts, {1} overrides, {2} with the key of another record";
        Before: "{0} of the rows are in since an earlier import";
        Nothing: "nothing new was brought in";
        Trial: "nothing was brought in: this was a trial";
        Recorded: "COLLECT recorded at {0}: the records are found from now on";
        Staged: "staged: no node is running here";
        Waits: "the node records the COLLECT entry when it starts; the records are found from then on";
        MoreErrors: "{0} more errors are not shown";
        ErrorsHint: "--errors FILE writes everything there is to say about rows to a file";
        ReadAs: "read as {0}";
    }
}

/// What the command hands back.
struct Told<'a> {
    context: &'a Context,
    args: &'a ImportArgs,
    record_type: &'a RecordType,
    summary: &'a Summary,
    hall: &'a Hall,
}

impl Told<'_> {
    fn text(&self, text: Text, parts: &[u64]) -> String {
        let parts: Vec<String> = parts.iter().map(u64::to_string).collect();
        fill(text.get(self.context.lang), &parts.iter().map(String::as_str).collect::<Vec<_>>())
    }

    fn json(&self) -> Value {
        let errors: Vec<Value> = self
            .hall
            .problems
            .shown
            .iter()
            .map(|(e, _)| json!({"line": e.line, "column": e.column, "code": e.code, "message": e.message, "mend": e.mend}))
            .collect();
        let (state, index) = match self.hall.last.as_ref().map(|(state, _)| *state) {
            _ if self.args.dry_run => ("dry-run", None),
            None => ("nothing", None),
            Some(BatchState::Recorded(index)) => ("recorded", Some(index)),
            Some(BatchState::Staged) => ("staged", None),
            Some(BatchState::InAlready | BatchState::CarriedOn(_)) => ("in-already", None),
        };
        let counts = |counts: &Counts| {
            json!({
                "rows": counts.rows,
                "accepted": counts.accepted,
                "rejected": counts.rejected,
                "duplicates": {
                    "in_batch": counts.duplicates_in_batch,
                    "in_already": counts.duplicates_in_store,
                },
                "same_key": counts.same_key,
                "warnings": counts.warnings,
                "overridden": counts.overridden,
            })
        };
        let mut value = counts(&self.summary.counts);
        let more = json!({
            "type": self.record_type.name(),
            "before": counts(&self.summary.before),
            "root": self.hall.last.as_ref().map(|(_, root)| root),
            "collect": {"state": state, "index": index},
            "batches": self.hall.batches,
            "batches_in_already": self.hall.in_already,
            "batches_recorded": self.hall.recorded,
            "batches_staged": self.hall.staged,
            "errors": errors,
            "errors_not_shown": self.hall.problems.more,
        });
        if let (Some(value), Value::Object(more)) = (value.as_object_mut(), more) {
            value.extend(more);
        }
        value
    }

    fn counted(&self) -> String {
        let counts = &self.summary.counts;
        let duplicates = counts.duplicates_in_batch + counts.duplicates_in_store;
        let mut text = self.text(Text::Counted, &[counts.rows, counts.accepted, counts.rejected, duplicates]) + "\n";
        if duplicates > 0 {
            text += &(self.text(Text::Duplicates, &[counts.duplicates_in_batch, counts.duplicates_in_store]) + "\n");
        }
        if counts.warnings + counts.overridden + counts.same_key > 0 {
            text += &(self.text(Text::Doubts, &[counts.warnings, counts.overridden, counts.same_key]) + "\n");
        }
        if self.summary.before.rows > 0 {
            text += &(self.text(Text::Before, &[self.summary.before.rows]) + "\n");
        }
        text
    }

    fn good(&self, encoding: text::Encoding) -> Report {
        let mut json = self.json();
        if let Some(json) = json.as_object_mut() {
            json.insert("encoding".to_owned(), encoding.name().into());
        }
        let state = self.hall.last.as_ref().map(|(state, _)| *state);
        let mut text = self.counted();
        text += &match state {
            _ if self.args.dry_run => self.text(Text::Trial, &[]),
            Some(BatchState::Recorded(index)) => self.text(Text::Recorded, &[index]),
            Some(BatchState::Staged) => self.text(Text::Staged, &[]),
            Some(BatchState::InAlready | BatchState::CarriedOn(_)) | None => self.text(Text::Nothing, &[]),
        };
        text.push('\n');
        let counts = &self.summary.counts;
        let mut report = Report::new(json, text);
        if encoding != text::Encoding::Utf8 {
            report = report.note(fill(Text::ReadAs.get(self.context.lang), &[encoding.name()]));
        }
        if self.hall.problems.more > 0 {
            report = report.note(self.text(Text::MoreErrors, &[self.hall.problems.more]));
        }
        let doubts = counts.duplicates_in_batch + counts.duplicates_in_store + counts.same_key + counts.warnings;
        if counts.rejected + doubts > 0 && self.args.errors.is_none() {
            report = report.hint(self.text(Text::ErrorsHint, &[]));
        }
        if state == Some(BatchState::Staged) {
            report = report.hint(self.text(Text::Waits, &[]));
        }
        if counts.rejected > 0 { report.exit(Exit::Findings) } else { report }
    }

    /// The failure, with how far the import came.
    fn bad(&self, failure: Failure) -> Failure {
        let message = format!("{}; {}", failure.message, self.counted().trim_end().replace('\n', "; "));
        let failure = if self.summary.counts.rows > 0 { Failure { message, ..failure } } else { failure };
        failure.details(self.json())
    }
}
