//! What an operator configures: `node.toml`, and where things lie in a node's folder.

use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use puente_catalogue::edit_distance;
use puente_model::{NameError, NodeUri, Origin};
use serde::{Deserialize, Serialize};

use crate::api::ApiConfig;
use crate::auditors::AuditConfig;
use crate::net::NetworkConfig;
use crate::records::RecordSettings;

/// The longest `node.toml` that is read, in bytes.
pub const CONFIG_BYTES_MAX: u64 = 64 * 1024;

/// A node's folder: the place of every file in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeDir(PathBuf);

impl NodeDir {
    /// The folder at `path`; it need not exist yet.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self(path.into())
    }

    /// The folder itself.
    pub fn path(&self) -> &Path {
        &self.0
    }

    fn at(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// `node.toml`.
    pub fn config(&self) -> PathBuf {
        self.at("node.toml")
    }

    /// `keys/`: readable by the operator alone.
    pub fn keys(&self) -> PathBuf {
        self.at("keys")
    }

    /// PEM private key of the node's certificate.
    pub fn tls_key(&self) -> PathBuf {
        self.at("keys/tls.key.pem")
    }

    /// PEM private key of a certificate that was asked for and has not come.
    pub fn tls_next_key(&self) -> PathBuf {
        self.at("keys/tls.next.key.pem")
    }

    /// PEM certificate chain of the node, leaf first.
    pub fn tls_cert(&self) -> PathBuf {
        self.at("keys/tls.cert.pem")
    }

    /// PEM certificate signing request, for an authority elsewhere.
    pub fn tls_csr(&self) -> PathBuf {
        self.at("keys/tls.csr.pem")
    }

    /// Ed25519 seed of the log, 64 hexadecimal digits.
    pub fn log_key(&self) -> PathBuf {
        self.at("keys/log.key")
    }

    /// The same of the node's `k`-th log: each log may have a key of its own.
    pub fn log_key_of(&self, k: u32) -> PathBuf {
        if k <= 1 { self.log_key() } else { self.at(&format!("keys/log{k}.key")) }
    }

    /// Ed25519 seed with which the node cosigns its partners' heads, 64 hexadecimal digits.
    pub fn witness_key(&self) -> PathBuf {
        self.at("keys/witness.key")
    }

    /// Key of the evidence store, 64 hexadecimal digits.
    pub fn store_key(&self) -> PathBuf {
        self.at("keys/store.key")
    }

    /// Every version of every charter part, with signatures.
    pub fn charter(&self) -> PathBuf {
        self.at("charter")
    }

    /// Hash of common part 1, given out of band, 64 hexadecimal digits.
    pub fn charter_pin(&self) -> PathBuf {
        self.at("charter/pin")
    }

    /// Cedar files and `cases.toml`.
    pub fn policies(&self) -> PathBuf {
        self.at("policies")
    }

    /// Officers as the operator wants them.
    pub fn officers(&self) -> PathBuf {
        self.at("officers.toml")
    }

    /// Officers as the log knows them: only these may ask.
    pub fn officers_recorded(&self) -> PathBuf {
        self.at("officers.recorded.toml")
    }

    /// Keys of the agency's own programs, as the operator wants them.
    pub fn api_keys(&self) -> PathBuf {
        self.at("api-keys.toml")
    }

    /// Those keys, as the log knows them: only these open anything.
    pub fn api_keys_recorded(&self) -> PathBuf {
        self.at("api-keys.recorded.toml")
    }

    /// The operators who approve, as they are wanted.
    pub fn operators(&self) -> PathBuf {
        self.at("operators.toml")
    }

    /// The operators who approve, as the log knows them: only these do.
    pub fn operators_recorded(&self) -> PathBuf {
        self.at("operators.recorded.toml")
    }

    /// Signed approvals of changes that need two people.
    pub fn approvals(&self) -> PathBuf {
        self.at("approvals")
    }

    /// Charter and policies as the log knows them.
    pub fn adopted_recorded(&self) -> PathBuf {
        self.at("adopted.recorded.toml")
    }

    /// Evidence against others, as files for auditors.
    pub fn findings(&self) -> PathBuf {
        self.at("findings")
    }

    /// The agency's records and match keys (SQLite).
    pub fn records(&self) -> PathBuf {
        self.at("records.db")
    }

    /// `training/`: what is invented, laid out as a node's folder is, apart from everything real.
    pub fn training(&self) -> Self {
        Self(self.at("training"))
    }

    /// Records that are being erased, and when that was last done.
    pub fn retention(&self) -> PathBuf {
        self.at("retention")
    }

    /// Imported batches on their way into the records, and the openings of those that arrived.
    pub fn imports(&self) -> PathBuf {
        self.at("imports")
    }

    /// The evidence store (SQLite, values encrypted).
    pub fn evidence(&self) -> PathBuf {
        self.at("evidence.db")
    }

    /// Journal segments: the commit point.
    pub fn journal(&self) -> PathBuf {
        self.at("journal")
    }

    /// The log in C2SP layout.
    pub fn log(&self) -> PathBuf {
        self.at("log")
    }

    /// The newest head of the log that bears the cosignatures of the charter's quorum.
    pub fn cosigned(&self) -> PathBuf {
        self.log().join(crate::disk::COSIGNED)
    }

    /// How large the folder was, day by day.
    pub fn growth(&self) -> PathBuf {
        self.at("growth.recorded")
    }

    /// Which notices of what ends were given.
    pub fn notices(&self) -> PathBuf {
        self.at("notices.recorded")
    }

    /// Why the log takes no entries, while it does not.
    pub fn suspension(&self) -> PathBuf {
        self.at("log.suspended.toml")
    }

    /// Logs that came before this one, each in the folder of its name.
    pub fn closed_logs(&self) -> PathBuf {
        self.at("closed")
    }

    /// Socket of the running node, for local commands.
    pub fn control(&self) -> PathBuf {
        self.at("control.sock")
    }
}

/// How much a node says on stderr.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum LogLevel {
    /// What stops it.
    Error,
    /// What an operator should look at.
    Warn,
    /// Starts, stops, peers that come and go.
    #[default]
    Info,
    /// Every exchange, without content.
    Debug,
    /// Everything, without content.
    Trace,
}

impl LogLevel {
    /// The word for a filter.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warn => "warn",
            Self::Info => "info",
            Self::Debug => "debug",
            Self::Trace => "trace",
        }
    }
}

fn first_log() -> u32 {
    1
}

/// `node.toml`. Unknown keys are refused: a key that is silently ignored is a setting that is not in force.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct NodeConfig {
    /// This node's name in the charter.
    #[serde(with = "uri")]
    pub node: NodeUri,
    /// Number of this node's log: 1, or the number of the successor that the annex names.
    #[serde(default = "first_log")]
    pub log: u32,
    /// Address to listen on: UDP, and TCP for peers whose UDP is blocked.
    pub listen: SocketAddr,
    /// Folder with more record types (`.proto` files), relative to the node's folder.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub catalogue_extra: Option<PathBuf>,
    /// How much the node says on stderr.
    #[serde(default)]
    pub log_level: LogLevel,
    /// `[network]`: how peers are met.
    #[serde(default, skip_serializing_if = "NetworkConfig::is_default")]
    pub network: NetworkConfig,
    /// Where the records are.
    #[serde(default, skip_serializing_if = "RecordSettings::is_default")]
    pub records: RecordSettings,
    /// The door for auditors, if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub audit: Option<AuditConfig>,
    /// `[api]`: the door for the agency's own programs, if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub api: Option<ApiConfig>,
    /// What this agency says to whoever it refuses, and how long its hits may be confirmed.
    #[serde(default)]
    pub answering: crate::answering::Answering,
    /// `[ops]`: metrics, health, drain.
    #[serde(default)]
    pub ops: crate::ops::OpsConfig,
    /// `[training]`: whether this node takes part in it.
    #[serde(default)]
    pub training: crate::training::TrainingConfig,
    /// `[time_zones]`: whose clock shows what, beside UTC.
    #[serde(default, skip_serializing_if = "crate::time_zones::TimeZones::is_default")]
    pub time_zones: crate::time_zones::TimeZones,
    /// `[witnesses]`: the way to witnesses that are no nodes.
    #[serde(default, skip_serializing_if = "crate::witness::WitnessesConfig::is_default")]
    pub witnesses: crate::witness::WitnessesConfig,
    /// `[keys]`: private keys in a PKCS#11 token.
    #[serde(default, skip_serializing_if = "crate::keys::KeysConfig::is_default")]
    pub keys: crate::keys::KeysConfig,
}

/// Keys of `node.toml`, for suggestions.
const KEYS: &[&str] = &[
    "node",
    "log",
    "listen",
    "catalogue_extra",
    "log_level",
    "network",
    "records",
    "audit",
    "api",
    "answering",
    "ops",
    "training",
    "time_zones",
    "witnesses",
    "keys",
];

mod uri {
    use puente_model::NodeUri;
    use serde::de::Error as _;
    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<NodeUri, D::Error> {
        String::deserialize(from)?.parse().map_err(D::Error::custom)
    }

    pub(super) fn serialize<S: Serializer>(value: &NodeUri, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(value)
    }
}

/// Why a configuration was not accepted: where, what, and how to mend it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigError {
    /// The file.
    pub file: String,
    /// Line and column, from 1; none if the file could not be read.
    pub at: Option<(usize, usize)>,
    /// What is wrong.
    pub message: String,
    /// What to do about it.
    pub mend: String,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.at {
            Some((line, column)) => write!(f, "{}:{line}:{column}: {}", self.file, self.message),
            None => write!(f, "{}: {}", self.file, self.message),
        }
    }
}

impl std::error::Error for ConfigError {}

impl NodeConfig {
    /// Reads the `node.toml` of a node's folder.
    ///
    /// # Errors
    /// [`ConfigError`] with file, line, column and mend.
    pub fn load(dir: &NodeDir) -> Result<Self, ConfigError> {
        let path = dir.config();
        let file = path.display().to_string();
        let fail =
            |message: String, mend: &str| ConfigError { file: file.clone(), at: None, message, mend: mend.to_owned() };
        match std::fs::metadata(&path) {
            Ok(meta) if meta.len() > CONFIG_BYTES_MAX => {
                return Err(fail(format!("larger than {CONFIG_BYTES_MAX} bytes"), "is this the right file?"));
            }
            Ok(_) => {}
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                let mend = "name the node's folder with --dir, or make one with 'puente node init'";
                return Err(fail("there is no such file".to_owned(), mend));
            }
            Err(error) => return Err(fail(error.to_string(), "check the folder's permissions")),
        }
        let text = std::fs::read_to_string(&path)
            .map_err(|error| fail(error.to_string(), "the file must be readable and UTF-8"))?;
        Self::parse(&file, &text)
    }

    /// Reads the text of a `node.toml`; `file` names it in errors.
    ///
    /// # Errors
    /// [`ConfigError`] with file, line, column and mend.
    pub fn parse(file: &str, text: &str) -> Result<Self, ConfigError> {
        let config: Self = toml::from_str(text).map_err(|error| {
            let at = error.span().map(|span| position(text, span.start));
            let message = error.message().trim().replace('\n', " ");
            let mend = mend(&message);
            ConfigError { file: file.to_owned(), at, message, mend }
        })?;
        let fail = |key: &str, message: &str, mend: &str| {
            let at = text.lines().position(|line| line.trim_start().starts_with(key)).map(|line| (line + 1, 1));
            let (message, mend) = (message.to_owned(), mend.to_owned());
            Err(ConfigError { file: file.to_owned(), at, message, mend })
        };
        if let Some((message, mend)) = config.keys.problem() {
            return fail("[keys]", &message, &mend);
        }
        if let Some((key, bounds)) = config.audit.as_ref().and_then(AuditConfig::out_of_bounds) {
            return fail(key, &format!("'{key}' of [audit] is out of bounds"), &format!("write {bounds}"));
        }
        if config.origin().is_err() {
            return fail("log", "'log' counts the node's logs from 1", "write log = 1");
        }
        if let Err((key, message, mend)) = config.records.check() {
            return fail(key, &message, mend);
        }
        let within = |section: &str, key: &str, message: String, mend: &str| {
            let from = text.lines().position(|line| line.trim() == section).unwrap_or(0);
            let below = text.lines().skip(from).position(|line| line.trim_start().starts_with(key));
            let at = below.map(|line| (from + line + 1, 1));
            Err(ConfigError { file: file.to_owned(), at, message, mend: mend.to_owned() })
        };
        if let Err(error) = config.ops.check() {
            return within("[ops]", error.key(), error.to_string(), error.mend());
        }
        if let Some(Err(error)) = config.api.as_ref().map(ApiConfig::check) {
            return within("[api]", error.key(), error.to_string(), error.mend());
        }
        Ok(config)
    }

    /// The configuration as TOML for people.
    ///
    /// # Errors
    /// The values cannot be written as TOML (a path that is not UTF-8).
    pub fn to_toml(&self) -> Result<String, toml::ser::Error> {
        toml::to_string(self)
    }

    /// Origin of this node's log.
    ///
    /// # Errors
    /// The log number is 0 or too large.
    pub fn origin(&self) -> Result<Origin, NameError> {
        self.node.origin(self.log)
    }
}

/// Line and column, from 1, of a byte offset.
fn position(text: &str, offset: usize) -> (usize, usize) {
    let before = text.get(..offset).unwrap_or(text);
    let line = before.matches('\n').count() + 1;
    (line, before.rsplit('\n').next().map_or(0, |l| l.chars().count()) + 1)
}

fn mend(message: &str) -> String {
    if let Some(found) = message.strip_prefix("unknown field `").and_then(|rest| rest.split('`').next()) {
        if found == "period_minutes" {
            return "remove it: both sides of a pair keep the charter's 'period_minutes'".to_owned();
        }
        // A section names its own keys.
        let expected: Vec<&str> = message.split('`').skip(3).step_by(2).collect();
        let keys = if expected.is_empty() { KEYS } else { &expected };
        return match closest(found, keys) {
            Some(key) => format!("did you mean '{key}'? Remove the key if not"),
            None => format!("remove it; the keys are: {}", keys.join(", ")),
        };
    }
    if message.contains("missing field `listen`") {
        return "add listen = \"127.0.0.1:7400\"".to_owned();
    }
    if message.contains("missing field `node`") {
        return "add node = \"puente://jurisdiction/agency/node\"".to_owned();
    }
    if message.contains("socket address") {
        return "write address and port, for example \"127.0.0.1:7400\" or \"[::1]:7400\"".to_owned();
    }
    if message.contains("time zone") {
        return "write a name of the IANA database, for example \"America/Tijuana\" or \"America/Chicago\"".to_owned();
    }
    "correct the value; samples/node.toml shows every key".to_owned()
}

/// The candidate that is closest to a mistyped word, if one is close.
pub(crate) fn closest<'a>(found: &str, candidates: &[&'a str]) -> Option<&'a str> {
    let found: String = found.trim().to_lowercase().chars().take(64).collect();
    let best = candidates.iter().map(|c| (edit_distance(&found, &c.to_lowercase()), *c)).min()?;
    (best.0 <= 2.max(found.chars().count() / 3)).then_some(best.1)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAMPLE: &str = include_str!("../samples/node.toml");

    #[test]
    fn the_sample_is_read_and_writes_back() {
        let config = NodeConfig::parse("node.toml", SAMPLE).unwrap();
        assert_eq!(config.node.as_str(), "puente://mx/fge-bc/n1");
        assert_eq!(config.origin().unwrap().as_str(), "mx/fge-bc/n1/log1");
        assert_eq!(NodeConfig::parse("again", &config.to_toml().unwrap()), Ok(config));
        // Every key stands in the sample, in force or as a comment.
        for key in KEYS {
            assert!(SAMPLE.lines().any(|l| l.trim_start_matches(['#', ' ', '[']).starts_with(key)), "{key}");
        }
    }

    #[test]
    fn errors_name_line_column_and_mend() {
        let error = NodeConfig::parse("node.toml", &format!("\nlog_leval = \"info\"\n{SAMPLE}")).unwrap_err();
        assert!(error.to_string().contains("unknown field `log_leval`"), "{error}");
        assert_eq!(error.at, Some((2, 1)));
        assert_eq!(error.mend, "did you mean 'log_level'? Remove the key if not");

        let text = "node = \"puente://mx/fge-bc/n1\"\nlisten = \"localhost\"\n";
        let error = NodeConfig::parse("node.toml", text).unwrap_err();
        assert_eq!(error.at, Some((2, 10)), "{error}");
        assert!(error.mend.contains("127.0.0.1:7400"), "{error:?}");

        let error = NodeConfig::parse("node.toml", "node = \"mx/fge-bc\"\nlisten = \"127.0.0.1:1\"\n").unwrap_err();
        assert!(error.to_string().starts_with("node.toml:1:8: 'mx/fge-bc' is not a node"), "{error}");

        let error = NodeConfig::parse("node.toml", &format!("{SAMPLE}period_minutes = 60\n")).unwrap_err();
        assert_eq!(error.at, Some((SAMPLE.lines().count() + 1, 1)), "{error}");
        assert!(error.mend.contains("the charter's"), "{error:?}");

        for (days, good) in [("0", false), ("1", true), ("3650", true), ("3651", false)] {
            let text = format!("{SAMPLE}\n[training]\nkept_days = {days}\n");
            let config = NodeConfig::parse("node.toml", &text);
            assert_eq!(config.as_ref().ok().map(|c| c.training.take_part), good.then_some(true), "{days}: {config:?}");
        }

        let text = "node = \"puente://mx/fge-bc/n1\"\nlisten = \"127.0.0.1:1\"\nlog = 0\n";
        let error = NodeConfig::parse("node.toml", text).unwrap_err();
        assert_eq!(error.at, Some((3, 1)));
    }

    #[test]
    fn a_missing_file_says_what_to_do() {
        let dir = tempfile::tempdir().unwrap();
        let error = NodeConfig::load(&NodeDir::new(dir.path())).unwrap_err();
        assert!(error.mend.contains("puente node init"), "{error:?}");
    }
}
