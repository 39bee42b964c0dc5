//! `puente demo`: two nations, four agencies, real sockets and real processes on one machine.
//!
//! Every node is its own process of this very program, with its own keys and
//! folder; every step is a command that an agency would type. What is said of
//! the outcome is read from the processes' output and from copied log files;
//! verdicts come from fresh processes that get copies and charter alone.

mod acts;
mod audits;
mod cast;
mod cities;
mod copies;
mod corridor;
mod crash;
mod founding;
pub mod lessons;
mod process;
mod records;
mod stage;
mod tables;
mod tamper;
mod teller;
mod words;

use std::path::{Path, PathBuf};
use std::time::Instant;

use puente_catalogue::Lang;
use serde_json::{Value, json};

use crate::cli::{Exit, Failure, Report};
use crate::config::NodeDir;
use crate::control::ControlClient;
use crate::control_api::Command;

use stage::Stage;
use teller::Teller;
use words::Text;

/// How many municipalities may play.
pub(crate) use cities::{FEWEST as CITIES_FEWEST, MOST as CITIES_MOST};

/// What is played.
#[derive(Debug, Clone, Copy)]
pub enum Scenario {
    /// Four agencies and everything that befalls them.
    Agencies,
    /// So many municipalities in one corridor.
    SafeCities(usize),
}

/// The longest path of a Unix socket that every system takes, in bytes.
const SOCKET_PATH_MAX: usize = 103;

/// What the operator decided.
#[derive(Debug, Clone)]
pub struct Options {
    /// Folder for everything; a new one for temporary files unless given. It is kept.
    pub dir: Option<PathBuf>,
    /// What is played.
    pub scenario: Scenario,
    /// Seed of the invented records.
    pub seed: u64,
    /// Records of each agency.
    pub records: usize,
    /// Leave the nodes running until Ctrl-C.
    pub serve: bool,
    /// Language of the story.
    pub lang: Lang,
    /// One JSON object instead of the story.
    pub json: bool,
}

/// Runs the demo and tells of it.
///
/// # Errors
/// The folder is not empty or cannot be used, or a process could not be run at all. Expectations that do not hold
/// are no errors: the report says so and its exit code is 1.
pub fn run(options: &Options) -> Result<Report, Failure> {
    let begun = Instant::now();
    let root = folder(options.dir.as_deref())?;
    let out = if options.json { None } else { Some(teller::stdout()) };
    let mut teller = Teller::new(options.lang, out);
    let (seed, records, shown) = (options.seed.to_string(), options.records.to_string(), root.display().to_string());
    let cast = match options.scenario {
        Scenario::Agencies => cast::DEMO,
        Scenario::SafeCities(cities) => cities::cast(cities),
    };
    let title = match options.scenario {
        Scenario::Agencies => Text::Title,
        Scenario::SafeCities(_) => Text::CitiesTitle,
    };
    teller.title(&teller.text(title, &[&cast.agencies.len().to_string()]));
    teller.say(Text::Intro, &[&seed, &records, &shown]);

    let mut stage = Stage::new(root, cast, options.seed, options.records, teller)?;
    stage.found()?;
    stage.bring_in_records()?;
    let mut told = serde_json::Map::new();
    match options.scenario {
        Scenario::Agencies => stage.agencies()?,
        Scenario::SafeCities(_) => {
            told.insert("corridor".to_owned(), stage.cities()?);
        }
    }
    stage.close_and_copy()?;
    told.insert("audits".to_owned(), stage.audits()?);
    if let Scenario::Agencies = options.scenario {
        told.insert("tamper".to_owned(), stage.tamperings()?);
    }

    let seconds = begun.elapsed().as_secs_f64();
    let rounded = (seconds * 10.0).round() / 10.0;
    let ok = stage.teller.failures().is_empty();
    stage.teller.act(Text::ActEnd);
    if ok {
        stage.teller.say(Text::AllHeld, &[&rounded.to_string()]);
    } else {
        let count = stage.teller.failures().len().to_string();
        stage.teller.say(Text::NotHeld, &[&count]);
    }
    let shown = stage.root.display().to_string();
    stage.teller.say(Text::Explore, &[&shown]);
    told.insert("ok".to_owned(), json!(ok));
    told.insert("seconds".to_owned(), json!(rounded));
    told.insert("nodes".to_owned(), stage.nodes_json());
    told.insert("exchanges".to_owned(), stage.exchanges_json());
    let failures = stage.teller.failures().to_vec();
    if options.serve {
        serve(&mut stage)?;
    }
    stage.stop();
    if options.json {
        // Notes are not printed with --json, and somebody will want to know.
        failures.iter().for_each(|failure| teller::to_stderr(&format!("FAIL {failure}")));
    }
    Ok(Report::new(Value::Object(told), "").exit(if ok { Exit::Ok } else { Exit::Findings }))
}

impl Stage {
    /// What befalls the four agencies, until their periods close.
    fn agencies(&mut self) -> Result<(), Failure> {
        self.stolen_vehicle()?;
        self.firearms()?;
        self.statutory_refusal()?;
        self.malformed()?;
        self.domestic()?;
        self.corridor()?;
        self.crashes()
    }
}

/// The folder, new or empty, as an absolute path.
fn folder(given: Option<&Path>) -> Result<PathBuf, Failure> {
    let path = match given {
        Some(path) => path.to_owned(),
        None => {
            let name = format!("puente-demo-{}-{}", crate::cli::now().0 / 1_000, std::process::id());
            std::env::temp_dir().join(name)
        }
    };
    let path = empty(&path)?;
    let socket = path.join("nodes").join("mx-piedras-negras").join("control.sock");
    if socket.as_os_str().len() > SOCKET_PATH_MAX {
        let message = format!("the path {} is too long for the nodes' sockets", path.display());
        return Err(Failure::usage("path-too-long", message).hint("name a folder with a shorter path with --dir"));
    }
    Ok(path)
}

/// Makes a folder that is new or empty; its absolute path.
fn empty(path: &Path) -> Result<PathBuf, Failure> {
    let file = |error: std::io::Error| Failure::file(path, &error);
    if path.exists() && std::fs::read_dir(path).map_err(file)?.next().is_some() {
        let message = format!("the folder {} is not empty", path.display());
        return Err(Failure::usage("not-empty", message).hint("name an empty or new folder with --dir"));
    }
    std::fs::create_dir_all(path).map_err(file)?;
    path.canonicalize().map_err(file)
}

/// Leaves the nodes running until Ctrl-C or SIGTERM.
fn serve(stage: &mut Stage) -> Result<(), Failure> {
    stage.teller.say(Text::Serving, &[]);
    let line = stage.sample_question();
    stage.teller.plain(&line);
    stage.teller.end_progress();
    let failed = |error: std::io::Error| Failure::unavailable("signals", error.to_string());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(failed)?;
    runtime
        .block_on(async {
            let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
            tokio::select! {
                _ = terminate.recv() => Ok(()),
                interrupted = tokio::signal::ctrl_c() => interrupted,
            }
        })
        .map_err(failed)
}

/// Stops the node of this folder when standard input ends: whoever started it holds the other end, and is gone then.
pub(crate) fn stop_at_eof(dir: NodeDir) {
    std::thread::spawn(move || {
        // Whatever comes is of no interest, and a broken pipe is an end too.
        let _ = std::io::copy(&mut std::io::stdin().lock(), &mut std::io::sink());
        let stopped = ControlClient::connect(&dir.control()).and_then(|mut node| node.call(Command::Shutdown));
        if stopped.is_err() {
            // Not up yet, or not listening: the journal holds everything acknowledged.
            std::process::exit(0);
        }
    });
}

fn text_of<'v>(value: &'v Value, path: &[&str]) -> &'v str {
    path.iter().try_fold(value, |v, key| v.get(key)).and_then(Value::as_str).unwrap_or_default()
}
