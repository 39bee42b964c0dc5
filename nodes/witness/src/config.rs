//! `witness.toml`, and the logs that it names.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use puente_audit_log::witness::{LogRule, RuleError};
use puente_audit_log::{Checkpoint, CheckpointError, ClaimedCheckpoint, KeyError, NoteError, VerifierKey, empty_root};
use puente_charter::{Charter, CharterError, ClaimedPart};
use puente_ledger::{LedgerOrigin, Rules};
use puente_model::limits::NOTE_BYTES_MAX;
use puente_model::{Digest, TreeSize};
use serde::Deserialize;

use crate::files;

/// Logs that one witness serves.
const LOGS_MAX: usize = 100_000;
/// Parts of a charter, of all versions, that a folder may hold.
const PARTS_MAX: usize = 10_000;
/// Longest line of a policy file, in bytes.
const LINE_BYTES_MAX: usize = 4_096;

/// The most that `ledgers_per_corridor` can be.
const LEDGERS_PER_CORRIDOR_MAX: u32 = 1_000;

/// What [`Config`] is written as by `init`.
pub(crate) const SAMPLE: &str = include_str!("../samples/witness.toml");
/// The policy file that `init` begins.
pub(crate) const POLICY: &str = "\
# One line a log: log <vkey> [url] (C2SP tlog-policy). Lines about witnesses, groups and quorums are passed over.
";

/// Why the configuration cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// A file or folder.
    #[error("{path}: {error}")]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// Not the TOML that is expected.
    #[error("{path}: {error}")]
    Toml {
        /// Which file.
        path: PathBuf,
        /// What is wrong, and where.
        error: Box<toml::de::Error>,
    },
    /// A line of the policy.
    #[error("{path}, line {line}: it is no line of a C2SP tlog-policy: a log stands as 'log <vkey> [url]'")]
    Line {
        /// Which file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
    },
    /// A key in the policy.
    #[error("{path}, line {line}: {error}")]
    Key {
        /// Which file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// Why.
        error: KeyError,
    },
    /// A key in the charter.
    #[error("the key of log {origin} in the charter is unusable: {error}")]
    CharterKey {
        /// Which log.
        origin: String,
        /// Why.
        error: KeyError,
    },
    /// The charter.
    #[error("the charter is refused: {0}")]
    Charter(#[from] CharterError),
    /// Charter and pin belong together.
    #[error(
        "'charter' and 'pin' of witness.toml are given together: the pin is the hash of common part 1, given out of band"
    )]
    Pin,
    /// A pinned checkpoint.
    #[error("{path}: {error}")]
    Checkpoint {
        /// Which file.
        path: PathBuf,
        /// Why.
        error: CheckpointError,
    },
    /// A pinned checkpoint of a log that nobody named.
    #[error("{path}: it is a checkpoint of log {origin}, which neither the policy nor the charter names")]
    StrangePin {
        /// Which file.
        path: PathBuf,
        /// Its log.
        origin: String,
    },
    /// A log.
    #[error(transparent)]
    Rule(#[from] RuleError),
    /// More ledgers than one witness serves of a corridor.
    #[error("'ledgers_per_corridor' of witness.toml is between 0 and {LEDGERS_PER_CORRIDOR_MAX}, not {0}")]
    Ledgers(u32),
    /// TLS needs both.
    #[error("'tls_cert' and 'tls_key' of witness.toml are given together")]
    Tls,
    /// Too much of something.
    #[error("{path} holds more than {max} files or lines")]
    TooMany {
        /// Where.
        path: PathBuf,
        /// The limit.
        max: usize,
    },
}

fn at(path: &Path) -> impl FnOnce(io::Error) -> ConfigError {
    let path = path.to_owned();
    move |error| ConfigError::File { path, error }
}

/// A witness's folder, and what stands where in it.
#[derive(Debug, Clone)]
pub struct Folder(PathBuf);

impl Folder {
    /// The folder at a path.
    pub fn new(path: &Path) -> Self {
        Self(path.to_owned())
    }

    /// The folder itself.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// `witness.toml`.
    pub fn config(&self) -> PathBuf {
        self.0.join("witness.toml")
    }

    /// The private key.
    pub fn key(&self) -> PathBuf {
        self.0.join("witness.key")
    }

    /// The public key, as logs name it.
    pub fn vkey(&self) -> PathBuf {
        self.0.join("witness.vkey")
    }

    /// What is remembered.
    pub fn state(&self) -> PathBuf {
        self.0.join("state")
    }

    /// What convicts somebody.
    pub fn evidence(&self) -> PathBuf {
        self.0.join("evidence")
    }
}

/// `witness.toml`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Which logs are served.
    pub logs: Logs,
    /// To whom, and how much.
    pub serve: Serve,
}

/// `[logs]`: paths are relative to the witness's folder.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Logs {
    /// A file of `log` lines, as in C2SP tlog-policy.
    pub policy: Option<PathBuf>,
    /// Folder of a Puente charter: the logs of every member.
    pub charter: Option<PathBuf>,
    /// Hash of the charter's common part 1, given out of band.
    pub pin: Option<String>,
    /// Folder of checkpoints, given out of band, with which logs begin.
    pub checkpoints: Option<PathBuf>,
    /// What becomes of the first checkpoint of a log where none is pinned.
    pub first_use: FirstUse,
    /// How many ledgers of each of the charter's corridors are served and remembered, counted from the first; 0: none.
    pub ledgers_per_corridor: u32,
}

impl Default for Logs {
    fn default() -> Self {
        let first_use = FirstUse::Refuse;
        Self { policy: None, charter: None, pin: None, checkpoints: None, first_use, ledgers_per_corridor: 64 }
    }
}

/// Whether a first checkpoint is believed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FirstUse {
    /// Nothing is believed that was not pinned.
    #[default]
    Refuse,
    /// The first checkpoint that comes is believed.
    Allow,
}

/// How much is written to stderr.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogLevel {
    /// What failed.
    Error,
    /// And what somebody should look at.
    Warn,
    /// And every cosignature.
    #[default]
    Info,
    /// And every refusal.
    Debug,
}

impl LogLevel {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warn => "warn",
            Self::Info => "info",
            Self::Debug => "debug",
        }
    }
}

/// `[serve]`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Serve {
    /// Where to listen.
    pub listen: SocketAddr,
    /// Requests about one log from one address (a /64 of IPv6) in a minute.
    pub requests_per_minute: u32,
    /// Connections at once.
    pub connections: usize,
    /// Connections at once from one address (a /64 of IPv6).
    pub connections_per_address: usize,
    /// What is written to stderr.
    pub log_level: LogLevel,
    /// Certificate chain in PEM; with it, TLS 1.3 is spoken.
    pub tls_cert: Option<PathBuf>,
    /// Its private key in PEM.
    pub tls_key: Option<PathBuf>,
}

impl Default for Serve {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 8490)),
            requests_per_minute: 120,
            connections: 256,
            connections_per_address: 64,
            log_level: LogLevel::Info,
            tls_cert: None,
            tls_key: None,
        }
    }
}

impl Serve {
    /// Those of its values that hold from start to end.
    pub(crate) fn at_start(&self) -> Self {
        Self { tls_cert: None, tls_key: None, ..self.clone() }
    }
}

impl Config {
    /// Reads `witness.toml`.
    ///
    /// # Errors
    /// It cannot be read, or holds a key or value that nobody knows.
    pub fn load(folder: &Folder) -> Result<Self, ConfigError> {
        let path = folder.config();
        let text = files::read_text(&path).map_err(at(&path))?;
        let config: Self = toml::from_str(&text).map_err(|error| ConfigError::Toml { path, error: Box::new(error) })?;
        if config.serve.tls_cert.is_some() != config.serve.tls_key.is_some() {
            return Err(ConfigError::Tls);
        }
        if config.logs.charter.is_some() != config.logs.pin.is_some() {
            return Err(ConfigError::Pin);
        }
        if config.logs.ledgers_per_corridor > LEDGERS_PER_CORRIDOR_MAX {
            return Err(ConfigError::Ledgers(config.logs.ledgers_per_corridor));
        }
        Ok(config)
    }

    /// The rules of every log that is served, by its name.
    ///
    /// # Errors
    /// A file is missing or says something that cannot hold.
    pub fn rules(&self, folder: &Folder) -> Result<Rulebook, ConfigError> {
        let (mut named, mut members) = (BTreeMap::new(), Vec::new());
        if let Some(policy) = &self.logs.policy {
            read_policy(&folder.path().join(policy), &mut named)?;
        }
        if let (Some(charter), Some(pin)) = (&self.logs.charter, &self.logs.pin) {
            let pin = pin.parse::<Digest>().map_err(|_| ConfigError::Pin)?;
            let charter = load_charter(&folder.path().join(charter), pin)?;
            of_charter(&charter, &mut named)?;
            of_corridors(&charter, self.logs.ledgers_per_corridor, &mut named)?;
            let keys = charter.members().iter().flat_map(|member| &member.logs).map(|log| log.vkey.parse());
            members = keys.filter_map(|key: Result<VerifierKey, _>| Some(*key.ok()?.public())).collect();
        }
        if let Some(checkpoints) = &self.logs.checkpoints {
            read_pins(&folder.path().join(checkpoints), &mut named)?;
        }
        let allow = self.logs.first_use == FirstUse::Allow;
        let rules = named.into_iter().map(|(origin, log)| {
            let mut rule = LogRule::new(&origin, log.keys)?.first_use(allow);
            if let Some(size) = log.closed_at {
                rule = rule.closed_at(size)?;
            }
            if let Some(pin) = log.pin {
                rule = rule.pinned(pin)?;
            }
            Ok((origin, rule))
        });
        Ok(Rulebook { rules: rules.collect::<Result<_, ConfigError>>()?, members })
    }
}

/// Which logs are served, and under which rules.
#[derive(Debug, Clone, Default)]
pub struct Rulebook {
    rules: BTreeMap<String, LogRule>,
    /// Keys of every log of the charter's members.
    members: Vec<[u8; 32]>,
}

impl From<BTreeMap<String, LogRule>> for Rulebook {
    fn from(rules: BTreeMap<String, LogRule>) -> Self {
        Self { rules, members: Vec::new() }
    }
}

impl Rulebook {
    /// These rules, and these keys of the members' logs.
    #[cfg(test)]
    pub(crate) const fn of(rules: BTreeMap<String, LogRule>, members: Vec<[u8; 32]>) -> Self {
        Self { rules, members }
    }

    /// The rules, by log.
    pub const fn rules(&self) -> &BTreeMap<String, LogRule> {
        &self.rules
    }

    /// Under which rule what is remembered of a log is read. Seats of a corridor come and go, and their keys: a ledger's
    /// newest head may be signed by one that signs for it no more.
    pub(crate) fn memory(&self, rule: &LogRule) -> Result<LogRule, RuleError> {
        let Ok(ledger) = rule.origin().parse::<LedgerOrigin>() else { return Ok(rule.clone()) };
        let mut keys = rule.keys().to_vec();
        keys.extend(
            self.members.iter().filter_map(|public| ledger.key(public).ok()).filter(|key| !rule.keys().contains(key)),
        );
        let memory = LogRule::new(rule.origin(), keys)?;
        match rule.pin() {
            Some(pin) => memory.pinned(pin.clone()),
            None => Ok(memory),
        }
    }
}

/// The ledgers of the charter's corridors. A ledger begins empty: that is the head that it is pinned to.
fn of_corridors(charter: &Charter, most: u32, named: &mut BTreeMap<String, Named>) -> Result<(), ConfigError> {
    for corridor in charter.corridors() {
        let (group, rules) = match Rules::of(charter, &corridor.name) {
            Ok(found) => found,
            Err(error) => {
                tracing::warn!(corridor = corridor.name, "its ledgers are not served: {error}");
                continue;
            }
        };
        let ledgers = std::iter::successors(Some(LedgerOrigin::first(group)), LedgerOrigin::next);
        for ledger in ledgers.take(most as usize) {
            let origin = ledger.to_string();
            let pin = Checkpoint::new(&origin, TreeSize(0), empty_root());
            let path = PathBuf::from(&origin);
            let pin = pin.map_err(|error| ConfigError::Checkpoint { path: path.clone(), error })?;
            let entry = named.entry(origin).or_default();
            rules.keys(&ledger).into_iter().for_each(|(_, key)| entry.key(key));
            entry.pin(pin);
            if named.len() > LOGS_MAX {
                return Err(ConfigError::TooMany { path, max: LOGS_MAX });
            }
        }
    }
    Ok(())
}

/// What is said of one log before its rule is made.
#[derive(Debug, Default)]
struct Named {
    keys: Vec<VerifierKey>,
    closed_at: Option<TreeSize>,
    pin: Option<Checkpoint>,
}

impl Named {
    fn key(&mut self, key: VerifierKey) {
        if !self.keys.contains(&key) {
            self.keys.push(key);
        }
    }

    /// Of two pins the larger counts: it says more.
    fn pin(&mut self, pin: Checkpoint) {
        if self.pin.as_ref().is_none_or(|known| known.size() < pin.size()) {
            self.pin = Some(pin);
        }
    }
}

fn read_policy(path: &Path, named: &mut BTreeMap<String, Named>) -> Result<(), ConfigError> {
    let text = files::read_text(path).map_err(at(path))?;
    for (number, line) in text.lines().enumerate() {
        let (path, line_number) = (path.to_owned(), number + 1);
        let line = line.split('#').next().unwrap_or_default().trim();
        let mut words = line.split_ascii_whitespace();
        match (words.next(), words.next(), words.next(), words.next()) {
            (None | Some("witness" | "group" | "quorum"), ..) => {}
            (Some("log"), Some(vkey), _, None) if line.len() <= LINE_BYTES_MAX => {
                let key = vkey.parse::<VerifierKey>();
                let key = key.map_err(|error| ConfigError::Key { path: path.clone(), line: line_number, error })?;
                named.entry(key.name().to_owned()).or_default().key(key);
                if named.len() > LOGS_MAX {
                    return Err(ConfigError::TooMany { path, max: LOGS_MAX });
                }
            }
            _ => return Err(ConfigError::Line { path, line: line_number }),
        }
    }
    Ok(())
}

/// Reads the parts of a charter: files that have a signature file beside them.
pub(crate) fn load_charter(dir: &Path, pin: Digest) -> Result<Charter, ConfigError> {
    let mut paths = Vec::new();
    for entry in fs::read_dir(dir).map_err(at(dir))? {
        let path = entry.map_err(at(dir))?.path();
        if path.extension().is_some_and(|e| e == "toml") && signatures_of(&path).exists() {
            paths.push(path);
        }
        if paths.len() > PARTS_MAX {
            return Err(ConfigError::TooMany { path: dir.to_owned(), max: PARTS_MAX });
        }
    }
    paths.sort();
    let mut parts = Vec::new();
    for path in &paths {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let signatures = signatures_of(path);
        let text = files::read_text(path).map_err(at(path))?;
        let signed = files::read_text(&signatures).map_err(at(&signatures))?;
        parts.push(ClaimedPart::from_files(&name, &text, &signed)?);
    }
    Ok(Charter::verify(parts, pin)?)
}

fn signatures_of(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".sig");
    name.into()
}

fn of_charter(charter: &Charter, named: &mut BTreeMap<String, Named>) -> Result<(), ConfigError> {
    for log in charter.members().iter().flat_map(|member| &member.logs) {
        let origin = log.origin.as_str();
        let unusable = |error| ConfigError::CharterKey { origin: origin.to_owned(), error };
        let entry = named.entry(origin.to_owned()).or_default();
        entry.key(log.vkey.parse().map_err(unusable)?);
        entry.closed_at = log.closed_at.map(TreeSize);
        if let Some(head) = log.first_head {
            let pin = Checkpoint::new(origin, TreeSize(head.size), head.root);
            let path = PathBuf::from(origin);
            entry.pin(pin.map_err(|error| ConfigError::Checkpoint { path, error })?);
        }
    }
    Ok(())
}

fn read_pins(dir: &Path, named: &mut BTreeMap<String, Named>) -> Result<(), ConfigError> {
    for (count, entry) in fs::read_dir(dir).map_err(at(dir))?.enumerate() {
        let path = entry.map_err(at(dir))?.path();
        if count >= LOGS_MAX {
            return Err(ConfigError::TooMany { path: dir.to_owned(), max: LOGS_MAX });
        }
        if !path.is_file() || path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.')) {
            continue;
        }
        let bytes = files::read_at_most(&path, NOTE_BYTES_MAX as u64).map_err(at(&path))?;
        let wrong = |error| ConfigError::Checkpoint { path: path.clone(), error };
        let claimed = ClaimedCheckpoint::parse(&bytes).map_err(wrong)?;
        let Some(log) = named.get_mut(claimed.claimed().origin()) else {
            let origin = claimed.claimed().origin().to_owned();
            return Err(ConfigError::StrangePin { path, origin });
        };
        // Any key of the log may have signed it.
        let mut verified = Err(CheckpointError::Note(NoteError::NoKnownSignature));
        for key in &log.keys {
            verified = claimed.clone().verify(key);
            if !matches!(verified, Err(CheckpointError::Note(NoteError::NoKnownSignature))) {
                break;
            }
        }
        log.pin(verified.map_err(wrong)?.checkpoint().clone());
    }
    Ok(())
}
