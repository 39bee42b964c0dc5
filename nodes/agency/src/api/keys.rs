//! API keys: what an operator wants (`api-keys.toml`) and what the log knows (`api-keys.recorded.toml`).
//!
//! As with officers, the differences become GRANT and REVOKE entries, and **only a key whose grant stands in the log opens
//! anything**. A key that the operator has revoked opens nothing from that moment on, whether the log has the
//! entry already or not. Of a key the files hold the labelled SHA-256: it is 256 random bits, so no slow hash is needed.

use std::collections::BTreeSet;
use std::fmt;
use std::io;
use std::path::PathBuf;
use std::str::FromStr;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use clap::ValueEnum;
use puente_exchange::api::LocalEvent;
use puente_model::{Digest, EventKind, Label, Millis, OfficerId, Role, Secret32, digest};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::approval::{AccessChange, Change};
use crate::config::NodeDir;
use crate::control_api::text;
use crate::files;
use crate::ops::expiry::Ending;

/// Keys in force at once.
pub const KEYS_MAX: usize = 1_000;
/// Longest name of a program, in characters.
pub const NAME_CHARS_MAX: usize = 60;
/// Days that a key is good for unless told otherwise.
pub const DAYS_DEFAULT: u32 = 90;
/// Most days that a key is good for.
pub const DAYS_MAX: u32 = 366;
/// Days for which a key that has ended is still told of.
pub const ENDED_DAYS: u64 = 30;
const DAY: u64 = 86_400_000;
/// What every key begins with, so that programs that look for lost secrets know it.
const PREFIX: &str = "puente_";
const ID_BYTES: usize = 8;
const HASH: Label = Label("puente/v1/api-key");

/// What a key opens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Scope {
    /// Put questions and do everything with those of the key's officer.
    Ask,
    /// See and decide on other agencies' questions that wait for a person here.
    Answer,
    /// See how the node and its peers do.
    Read,
}

impl Scope {
    /// The stable text.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ask => "ask",
            Self::Answer => "answer",
            Self::Read => "read",
        }
    }
}

/// The public part of a key: 16 hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct KeyId([u8; ID_BYTES]);

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

/// Not the id of an API key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the id of an API key is 16 hexadecimal digits; 'puente api-key list' shows them")]
pub struct KeyIdError;

impl FromStr for KeyId {
    type Err = KeyIdError;

    fn from_str(text: &str) -> Result<Self, KeyIdError> {
        let mut id = [0; ID_BYTES];
        hex::decode_to_slice(text, &mut id).map_err(|_| KeyIdError)?;
        Ok(Self(id))
    }
}

/// A key as its program holds it.
pub struct ApiKey {
    /// Which.
    pub id: KeyId,
    secret: Secret32,
}

impl fmt::Debug for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ApiKey({})", self.id)
    }
}

impl ApiKey {
    /// A fresh key.
    ///
    /// # Errors
    /// The operating system gives no randomness.
    pub fn generate() -> io::Result<Self> {
        let mut id = [0; ID_BYTES];
        getrandom::fill(&mut id).map_err(|error| io::Error::other(error.to_string()))?;
        Ok(Self { id: KeyId(id), secret: files::fresh_secret()? })
    }

    /// Reads a key as its program shows it; none if it is not one.
    pub fn parse(text: &str) -> Option<Self> {
        let (id, secret) = text.strip_prefix(PREFIX)?.split_once('_')?;
        let mut bytes = Zeroizing::new([0; 32]);
        hex::decode_to_slice(secret, &mut *bytes).ok()?;
        Some(Self { id: id.parse().ok()?, secret: Secret32::new(*bytes) })
    }

    /// The key's text, shown once: `puente_<id>_<secret>`.
    pub fn text(&self) -> Zeroizing<String> {
        let secret = Zeroizing::new(hex::encode(self.secret.expose()));
        Zeroizing::new(format!("{PREFIX}{}_{}", self.id, *secret))
    }

    /// What is kept of it.
    pub fn hash(&self) -> Digest {
        digest(HASH, &[&self.id.0, self.secret.expose()])
    }

    /// Whether this is the key that was kept so; takes the same time whatever differs.
    pub fn is(&self, kept: &Digest) -> bool {
        verify_slices_are_equal(&self.hash().0, &kept.0).is_ok()
    }
}

/// One key, without its secret.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeyRecord {
    /// Which.
    #[serde(with = "text")]
    pub id: KeyId,
    /// The officer for whom its program acts.
    #[serde(with = "text")]
    pub officer: OfficerId,
    /// What it opens.
    pub scopes: BTreeSet<Scope>,
    /// Which program has it.
    pub program: String,
    /// Labelled SHA-256 of the key.
    #[serde(with = "text")]
    pub hash: Digest,
    /// When it was made, in milliseconds since 1970.
    #[serde(with = "instant")]
    pub granted: Millis,
    /// From when on it opens nothing.
    #[serde(with = "instant")]
    pub expires: Millis,
    /// When it was revoked; 0 while it is not.
    #[serde(default, with = "instant")]
    pub revoked: Millis,
}

mod instant {
    use puente_model::Millis;
    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(at: &Millis, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_u64(at.0)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Millis, D::Error> {
        u64::deserialize(from).map(Millis)
    }
}

impl fmt::Debug for KeyRecord {
    // Whose it is, is nobody's business but the log's.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyRecord({})", self.id)
    }
}

impl KeyRecord {
    /// It was revoked.
    pub fn is_revoked(&self) -> bool {
        self.revoked.0 > 0
    }

    /// It opens something at this moment, as far as its own dates say.
    pub fn is_open(&self, now: Millis) -> bool {
        !self.is_revoked() && now < self.expires
    }

    fn is_sound(&self) -> bool {
        let chars = self.program.chars().count();
        let named = (1..=NAME_CHARS_MAX).contains(&chars) && !self.program.chars().any(char::is_control);
        let most = u64::from(DAYS_MAX) * 86_400_000;
        named && !self.scopes.is_empty() && self.granted < self.expires && self.expires.since(self.granted) <= most
    }
}

/// Why API keys could not be read or written. Names nobody.
#[derive(Debug, thiserror::Error)]
pub enum KeyBookError {
    /// A file.
    #[error("{path}: {error}")]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// Its content.
    #[error("{path}: {message}")]
    Toml {
        /// Which.
        path: PathBuf,
        /// What is wrong.
        message: String,
    },
    /// A key's program, scope or dates.
    #[error(
        "an API key needs a program's name of 1 to {NAME_CHARS_MAX} characters, a scope, and at most {DAYS_MAX} days that end after they begin"
    )]
    Invalid,
    /// Too many.
    #[error("{KEYS_MAX} API keys are in force, and that is the most")]
    TooMany,
    /// There is none of this id.
    #[error("no API key has this id")]
    Unknown,
    /// An id stands twice.
    #[error("{path} holds two API keys of one id")]
    Twice {
        /// Which file.
        path: PathBuf,
    },
}

/// One difference between what is wanted and what is recorded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyChange {
    /// The key as wanted; for REVOKE with its time.
    pub record: KeyRecord,
    /// GRANT or REVOKE.
    pub kind: EventKind,
}

impl AccessChange for KeyChange {
    const OF: Change = Change::ApiKeys;
    const LABEL: Label = Label("puente/v1/approval/api-keys");

    fn kind(&self) -> EventKind {
        self.kind
    }

    fn detail(&self) -> Vec<u8> {
        self.event(None).detail
    }
}

impl KeyChange {
    /// The event that the log must hold before this change takes effect; `role` is the officer's.
    pub fn event(&self, role: Option<Role>) -> LocalEvent {
        let KeyRecord { id, officer, scopes, program, hash, granted, expires, revoked } = &self.record;
        let detail = serde_json::json!({
            "api_key": id.to_string(),
            "officer": officer.as_str(),
            "scopes": scopes,
            "program": program,
            "hash": hash.to_string(),
            "granted": granted.0,
            "expires": expires.0,
            "revoked": revoked.0,
        });
        LocalEvent {
            kind: self.kind,
            record_type: String::new(),
            count: 1,
            purpose: None,
            basis: None,
            role,
            detail: detail.to_string().into_bytes(),
        }
    }
}

/// Both files of one node.
#[derive(Debug, Clone)]
pub struct KeyBook {
    dir: NodeDir,
    wanted: Vec<KeyRecord>,
    recorded: Vec<KeyRecord>,
}

impl KeyBook {
    /// Reads both files; one that does not exist is empty.
    ///
    /// # Errors
    /// A file cannot be read or is malformed.
    pub fn open(dir: &NodeDir) -> Result<Self, KeyBookError> {
        let (wanted, recorded) = (read(dir.api_keys())?, read(dir.api_keys_recorded())?);
        Ok(Self { dir: dir.clone(), wanted, recorded })
    }

    /// Keys as the operator wants them.
    pub fn wanted(&self) -> &[KeyRecord] {
        &self.wanted
    }

    /// The key, if its grant stands in the log, with the time at which anybody revoked it.
    pub fn granted(&self, id: KeyId) -> Option<KeyRecord> {
        let recorded = self.recorded.iter().find(|key| key.id == id)?;
        let wanted = self.wanted.iter().find(|key| key.id == id);
        // A line that is gone or was changed is a key that was taken away.
        let revoked = match wanted {
            Some(wanted) if same(wanted, recorded) => wanted.revoked.max(recorded.revoked),
            _ => recorded.revoked.max(recorded.granted),
        };
        Some(KeyRecord { revoked, ..recorded.clone() })
    }

    /// The keys in force, and those that ended by themselves less than [`ENDED_DAYS`] ago.
    pub fn endings(&self, now: Millis) -> Vec<Ending> {
        let lately = |key: &&KeyRecord| key.expires.plus(ENDED_DAYS * DAY) > now;
        let granted = self.recorded.iter().filter(lately).filter_map(|key| self.granted(key.id));
        granted
            .filter(|key| !key.is_revoked())
            .map(|key| Ending::api_key(key.id.to_string(), key.granted, key.expires))
            .collect()
    }

    /// Writes down a new key as wanted.
    ///
    /// # Errors
    /// There are too many, it is not sound, or the file cannot be written.
    pub fn add(&mut self, record: KeyRecord, now: Millis) -> Result<(), KeyBookError> {
        if !record.is_sound() {
            return Err(KeyBookError::Invalid);
        }
        if self.wanted.iter().filter(|key| key.is_open(now)).count() >= KEYS_MAX {
            return Err(KeyBookError::TooMany);
        }
        let mut wanted = self.wanted.clone();
        wanted.push(record);
        self.want(wanted)
    }

    /// Writes down the end of a key.
    ///
    /// # Errors
    /// There is no such key, or the file cannot be written.
    pub fn revoke(&mut self, id: KeyId, now: Millis) -> Result<(), KeyBookError> {
        let mut wanted = self.wanted.clone();
        let key = wanted.iter_mut().find(|key| key.id == id).ok_or(KeyBookError::Unknown)?;
        if !key.is_revoked() {
            key.revoked = now;
        }
        self.want(wanted)
    }

    /// Writes down the end of every key that opens something, all at once; returns which.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn revoke_all(&mut self, now: Millis) -> Result<Vec<KeyId>, KeyBookError> {
        let mut wanted = self.wanted.clone();
        let open = wanted.iter_mut().filter(|key| key.is_open(now));
        let end = |key: &mut KeyRecord| {
            key.revoked = now;
            key.id
        };
        let ended = open.map(end).collect();
        self.want(wanted)?;
        Ok(ended)
    }

    fn want(&mut self, wanted: Vec<KeyRecord>) -> Result<(), KeyBookError> {
        write(self.dir.api_keys(), &wanted)?;
        self.wanted = wanted;
        Ok(())
    }

    /// What the log does not know yet, in the order in which it must be recorded. A line that was removed or changed by
    /// hand is a key revoked as of `now`; one that was revoked before its grant was recorded never was.
    pub fn changes(&self, now: Millis) -> Vec<KeyChange> {
        let mut out = Vec::new();
        for recorded in self.recorded.iter().filter(|key| !key.is_revoked()) {
            let revoked = match self.wanted.iter().find(|key| key.id == recorded.id) {
                Some(wanted) if same(wanted, recorded) => wanted.revoked,
                _ => now,
            };
            if revoked.0 > 0 {
                out.push(KeyChange { record: KeyRecord { revoked, ..recorded.clone() }, kind: EventKind::Revoke });
            }
        }
        let known = |id: KeyId| self.recorded.iter().any(|key| key.id == id);
        let new = self.wanted.iter().filter(|key| !known(key.id) && key.is_open(now) && key.is_sound());
        out.extend(new.map(|key| KeyChange { record: key.clone(), kind: EventKind::Grant }));
        out
    }

    /// Moves a change into the recorded file. Call it only when the change's event is durable in the log.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn recorded(&mut self, change: &KeyChange) -> Result<(), KeyBookError> {
        let mut recorded = self.recorded.clone();
        recorded.retain(|key| key.id != change.record.id);
        recorded.push(change.record.clone());
        write(self.dir.api_keys_recorded(), &recorded)?;
        self.recorded = recorded;
        Ok(())
    }
}

/// The same but for their ends.
fn same(one: &KeyRecord, other: &KeyRecord) -> bool {
    *one == KeyRecord { revoked: one.revoked, ..other.clone() }
}

#[derive(Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    #[serde(default)]
    api_key: Vec<KeyRecord>,
}

fn read(path: PathBuf) -> Result<Vec<KeyRecord>, KeyBookError> {
    let text = match files::read_text(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(KeyBookError::File { path, error }),
    };
    let keys = match toml::from_str::<Written>(&text) {
        Ok(written) => written.api_key,
        Err(error) => return Err(KeyBookError::Toml { path, message: error.message().to_owned() }),
    };
    let ids: BTreeSet<KeyId> = keys.iter().map(|key| key.id).collect();
    if ids.len() < keys.len() { Err(KeyBookError::Twice { path }) } else { Ok(keys) }
}

fn write(path: PathBuf, keys: &[KeyRecord]) -> Result<(), KeyBookError> {
    let text = toml::to_string_pretty(&Written { api_key: keys.to_vec() });
    let text = text.map_err(|error| KeyBookError::Toml { path: path.clone(), message: error.to_string() })?;
    files::replace(&path, text.as_bytes(), true).map_err(|error| KeyBookError::File { path, error })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(key: &ApiKey) -> KeyRecord {
        KeyRecord {
            id: key.id,
            officer: "o-1042".parse().unwrap(),
            scopes: BTreeSet::from([Scope::Ask]),
            program: "case files".to_owned(),
            hash: key.hash(),
            granted: Millis(DAY),
            expires: Millis(91 * DAY),
            revoked: Millis(0),
        }
    }

    #[test]
    fn a_key_is_read_back_and_no_other_text_is_one() {
        let key = ApiKey::generate().unwrap();
        let text = key.text();
        assert_eq!(text.len(), 7 + 16 + 1 + 64);
        let again = ApiKey::parse(&text).unwrap();
        assert!(again.id == key.id && again.is(&key.hash()));
        // The same secret under another id is another key.
        let other = ApiKey { id: KeyId([7; 8]), secret: Secret32::new(*again.secret.expose()) };
        assert!(!other.is(&key.hash()) && !ApiKey::generate().unwrap().is(&key.hash()));
        for bad in ["", "puente_", "puente_00_00", &text[..text.len() - 1], &text[1..], &format!("{}0", *text)] {
            assert!(ApiKey::parse(bad).is_none(), "{bad}");
        }
        assert!(!format!("{key:?}").contains(&text[24..40]));
    }

    #[test]
    fn a_key_is_in_force_only_while_the_log_has_its_grant_and_the_operator_wants_it() {
        let folder = tempfile::tempdir().unwrap();
        let dir = NodeDir::new(folder.path());
        let (key, now) = (ApiKey::generate().unwrap(), Millis(2 * DAY));
        let mut book = KeyBook::open(&dir).unwrap();
        book.add(record(&key), now).unwrap();
        assert_eq!(book.granted(key.id), None);
        let changes = KeyBook::open(&dir).unwrap().changes(now);
        assert_eq!((changes.len(), changes[0].kind), (1, EventKind::Grant));
        book.recorded(&changes[0]).unwrap();
        assert!(book.changes(now).is_empty() && book.granted(key.id).unwrap().is_open(now));
        assert!(!book.granted(key.id).unwrap().is_open(Millis(91 * DAY)));

        // Its end is told of, for a while after it, too.
        let ends = |book: &KeyBook, at: u64| book.endings(Millis(at * DAY)).iter().map(|e| e.end).collect::<Vec<_>>();
        assert_eq!((ends(&book, 2), ends(&book, 120)), (vec![Millis(91 * DAY)], vec![Millis(91 * DAY)]));
        assert!(ends(&book, 121).is_empty());

        // At once, before the log has it.
        book.revoke(key.id, now).unwrap();
        assert!(!KeyBook::open(&dir).unwrap().granted(key.id).unwrap().is_open(now));
        assert!(ends(&book, 2).is_empty(), "nobody waits for what was revoked");
        let changes = book.changes(now);
        assert_eq!((changes.len(), changes[0].kind), (1, EventKind::Revoke));
        book.recorded(&changes[0]).unwrap();
        assert!(book.changes(now).is_empty() && !book.granted(key.id).unwrap().is_open(now));
        // Taken back by hand, it stays revoked.
        let text =
            std::fs::read_to_string(dir.api_keys()).unwrap().replace(&format!("revoked = {}", now.0), "revoked = 0");
        std::fs::write(dir.api_keys(), text).unwrap();
        assert!(!KeyBook::open(&dir).unwrap().granted(key.id).unwrap().is_open(now));
    }

    #[test]
    fn what_is_changed_by_hand_ends_the_key() {
        let folder = tempfile::tempdir().unwrap();
        let dir = NodeDir::new(folder.path());
        let (key, now) = (ApiKey::generate().unwrap(), Millis(2 * DAY));
        let mut book = KeyBook::open(&dir).unwrap();
        book.add(record(&key), now).unwrap();
        book.recorded(&book.changes(now)[0].clone()).unwrap();
        let text = std::fs::read_to_string(dir.api_keys()).unwrap();
        for (from, to) in
            [("\"ask\"", "\"ask\", \"read\""), ("o-1042", "o-77"), (&*format!("{}", 91 * DAY), "9999999999999")]
        {
            let changed = text.replace(from, to);
            assert_ne!(changed, text);
            std::fs::write(dir.api_keys(), changed).unwrap();
            let book = KeyBook::open(&dir).unwrap();
            assert!(!book.granted(key.id).unwrap().is_open(now), "{to}");
            assert_eq!(book.changes(now)[0].kind, EventKind::Revoke);
        }
        std::fs::write(dir.api_keys(), format!("{text}\n{text}")).unwrap();
        assert!(KeyBook::open(&dir).is_err());
    }

    #[test]
    fn keys_have_bounds_and_hide_whose_they_are() {
        let folder = tempfile::tempdir().unwrap();
        let mut book = KeyBook::open(&NodeDir::new(folder.path())).unwrap();
        let good = record(&ApiKey::generate().unwrap());
        for bad in [
            KeyRecord { scopes: BTreeSet::new(), ..good.clone() },
            KeyRecord { program: String::new(), ..good.clone() },
            KeyRecord { program: "x".repeat(61), ..good.clone() },
            KeyRecord { expires: good.granted, ..good.clone() },
            KeyRecord { expires: good.granted.plus(367 * DAY), ..good.clone() },
        ] {
            assert!(matches!(book.add(bad, good.granted), Err(KeyBookError::Invalid)));
        }
        assert!(matches!(book.revoke(good.id, good.granted), Err(KeyBookError::Unknown)));
        let change = KeyChange { record: good, kind: EventKind::Grant };
        let shown = format!("{change:?} {:?}", change.event(None));
        assert!(!shown.contains("o-1042"), "{shown}");
    }
}
