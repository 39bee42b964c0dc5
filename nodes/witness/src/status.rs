//! What became of submissions, and how every log stands.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use puente_audit_log::witness::{Remembered, monitoring_name};
use puente_ledger::LedgerOrigin;
use puente_words::Clocks;
use serde::Serialize;

use crate::config::{Config, ConfigError, Folder};
use crate::evidence::Shelf;
use crate::files;
use crate::store;

const FILE: &str = "counts.json";

type Kinds = BTreeMap<String, u64>;

/// How many submissions ended how, by log; under "" what belongs to no log that is served.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    counts: Mutex<(BTreeMap<String, Kinds>, bool)>,
}

impl Counts {
    /// Those of the folder; none if they cannot be read.
    pub(crate) fn load(dir: &Path) -> Self {
        Self { counts: Mutex::new((read(dir), false)) }
    }

    pub(crate) fn count(&self, origin: &str, kind: &str) {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        *counts.0.entry(origin.to_owned()).or_default().entry(kind.to_owned()).or_default() += 1;
        counts.1 = true;
    }

    /// Writes them, if they changed since.
    pub(crate) fn write(&self, dir: &Path) -> io::Result<()> {
        let bytes = {
            let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
            if !std::mem::take(&mut counts.1) {
                return Ok(());
            }
            serde_json::to_vec(&counts.0).map_err(io::Error::other)?
        };
        let draft = dir.join(format!("{FILE}.new"));
        fs::write(&draft, bytes)?;
        fs::rename(&draft, dir.join(FILE))
    }
}

fn read(dir: &Path) -> BTreeMap<String, Kinds> {
    let bytes = files::read_at_most(&dir.join(FILE), files::FILE_BYTES_MAX);
    bytes.ok().and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or_default()
}

/// How one log stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct LogStatus {
    /// The log's name.
    pub(crate) origin: String,
    /// Entries of the newest head that was cosigned; null: none was.
    pub(crate) size: Option<u64>,
    /// Its root, hexadecimal.
    pub(crate) root: Option<String>,
    /// When it was last cosigned, RFC 3339.
    pub(crate) cosigned_at: Option<String>,
    /// Entries of the head that is pinned.
    pub(crate) pinned: Option<u64>,
    /// Whether a first head is, or would be, believed without a pin.
    pub(crate) first_use: bool,
    /// True if the witness signed more than it remembers.
    pub(crate) read_only: bool,
    /// Why what is remembered cannot be used.
    pub(crate) damaged: Option<String>,
    /// How many submissions were cosigned.
    pub(crate) cosigned: u64,
    /// How many were not, by kind.
    pub(crate) refused: Kinds,
    /// Files that convict the log, or this witness.
    pub(crate) evidence: Vec<PathBuf>,
    #[serde(skip)]
    remembered: Option<Remembered>,
}

/// How the witness stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Status {
    /// C2SP verifier key.
    pub(crate) witness: String,
    /// Every log that is served; of groups' ledgers those that were ever submitted.
    pub(crate) logs: Vec<LogStatus>,
    /// Submissions that belong to none of them, by kind.
    pub(crate) strangers: Kinds,
}

impl Status {
    /// Reads it from the folder, whether or not the witness runs.
    pub(crate) fn read(folder: &Folder, witness: String) -> Result<Self, ConfigError> {
        let config = Config::load(folder)?;
        let (state, shelf) = (folder.state(), Shelf::new(folder.evidence()));
        let mut counts = read(&state);
        let mut logs = Vec::new();
        let rules = config.rules(folder)?;
        for (origin, rule) in rules.rules().clone() {
            let record = store::read_record(&state, &monitoring_name(&origin));
            let remembered = match record {
                Ok(None) => Ok(None),
                Ok(Some(bytes)) => {
                    let memory = rules.memory(&rule)?;
                    Remembered::parse(&bytes, &memory).map(Some).map_err(|error| error.to_string())
                }
                Err(error) => Err(error.to_string()),
            };
            let (remembered, damaged) = match remembered {
                Ok(remembered) => (remembered, None),
                Err(error) => (None, Some(error)),
            };
            // Of a group's ledgers those are shown of which there is something to show.
            let quiet = remembered.is_none() && damaged.is_none() && !counts.contains_key(&origin);
            if quiet && origin.parse::<LedgerOrigin>().is_ok() && shelf.of(&origin).is_empty() {
                continue;
            }
            let mut refused = counts.remove(&origin).unwrap_or_default();
            let cosigned = refused.remove("cosigned").unwrap_or_default();
            logs.push(LogStatus {
                size: remembered.as_ref().map(|known| known.size().0),
                root: remembered.as_ref().map(|known| known.root().to_string()),
                cosigned_at: remembered.as_ref().map(|known| known.at().to_string()),
                pinned: rule.pin().map(|pin| pin.size().0),
                first_use: rule.allows_first_use(),
                read_only: shelf.forgotten(&origin).exists(),
                damaged,
                cosigned,
                refused,
                evidence: shelf.of(&origin),
                remembered,
                origin,
            });
        }
        Ok(Self { witness, logs, strangers: counts.remove("").unwrap_or_default() })
    }

    /// True if somebody must look.
    pub(crate) fn is_unwell(&self) -> bool {
        self.logs.iter().any(|log| log.read_only || log.damaged.is_some() || !log.evidence.is_empty())
    }
}

impl LogStatus {
    /// How it stands, in a few words of English.
    pub(crate) fn standing(&self) -> String {
        if let Some(damaged) = &self.damaged {
            return damaged.clone();
        }
        match (&self.remembered, self.pinned) {
            (Some(known), _) => {
                let (size, at) = (known.size().0, Clocks::default().instant(known.at()));
                format!("{size} entries, last cosigned {at}")
            }
            (None, Some(pinned)) => {
                format!("nothing cosigned yet; begins with the pinned checkpoint of {pinned} entries")
            }
            (None, None) if self.first_use => {
                "nothing cosigned yet; the first checkpoint that comes is believed".to_owned()
            }
            (None, None) => {
                "not served: no first checkpoint is pinned, and first use is not allowed (witness.toml)".to_owned()
            }
        }
    }
}
