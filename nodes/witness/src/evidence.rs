//! What convicts somebody: files that prove themselves under the keys in them.

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use puente_audit_log::witness::{Forgotten, monitoring_name};
use puente_audit_log::{SignedCheckpoint, Signer, SplitView, VerifierKey};
use serde::{Deserialize, Serialize};

use crate::files;

/// Forks of one log that are kept; the first convicts as well as the last.
pub(crate) const FORKS_KEPT_MAX: usize = 16;

/// One file: JSON. Whoever verifies `heads` under `keys` and `witness` needs to believe nobody.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Evidence {
    /// 1.
    pub(crate) puente_witness_evidence: u32,
    /// `log-forked` or `witness-forgot`.
    pub(crate) class: String,
    /// The log's name.
    pub(crate) log: String,
    /// C2SP verifier keys of the log.
    pub(crate) keys: Vec<String>,
    /// C2SP verifier key of the witness.
    pub(crate) witness: String,
    /// What was seen, in English.
    pub(crate) says_en: String,
    /// What was seen, in Spanish.
    pub(crate) says_es: String,
    /// Signed notes, verbatim.
    pub(crate) heads: Vec<String>,
}

fn note(head: &SignedCheckpoint) -> String {
    String::from_utf8_lossy(head.note_bytes()).into_owned()
}

impl Evidence {
    /// A log that signed two roots of one size.
    pub(crate) fn fork(split: &SplitView, keys: &[VerifierKey], witness: &VerifierKey) -> Self {
        Self {
            puente_witness_evidence: 1,
            class: "log-forked".to_owned(),
            log: split.one.origin().to_owned(),
            keys: keys.iter().map(ToString::to_string).collect(),
            witness: witness.to_string(),
            says_en: format!("The log signed two different roots of {} entries.", split.one.size()),
            says_es: format!("La bitácora firmó dos raíces distintas de {} asientos.", split.one.size()),
            heads: vec![note(&split.one), note(&split.other)],
        }
    }

    /// A witness that signed more than it remembers. What it remembers is durable, so its cosignature says nothing new.
    pub(crate) fn forgotten(forgotten: &Forgotten, keys: &[VerifierKey], signer: &dyn Signer) -> Self {
        let remembered = forgotten.remembered.as_ref();
        let known = remembered.map_or(0, |known| known.size().0);
        let shown = &forgotten.shown;
        let mut heads = vec![note(shown)];
        heads.extend(remembered.and_then(|known| known.cosigned(signer).ok()).map(|head| note(&head)));
        Self {
            puente_witness_evidence: 1,
            class: "witness-forgot".to_owned(),
            log: shown.origin().to_owned(),
            keys: keys.iter().map(ToString::to_string).collect(),
            witness: signer.verifier().to_string(),
            says_en: format!(
                "The witness cosigned {} entries and remembers a head of {known}: its memory was set back, or its key is \
                 used twice.",
                shown.size()
            ),
            says_es: format!(
                "El testigo cofirmó {} asientos y recuerda una cabeza de {known}: su memoria se retrasó o su llave se usa \
                 dos veces.",
                shown.size()
            ),
            heads,
        }
    }
}

/// The folder of evidence.
#[derive(Debug, Clone)]
pub(crate) struct Shelf {
    dir: PathBuf,
}

impl Shelf {
    pub(crate) fn new(dir: PathBuf) -> Self {
        Self { dir }
    }

    /// The file that makes a log read-only, where it stands.
    pub(crate) fn forgotten(&self, origin: &str) -> PathBuf {
        self.dir.join(format!("{}.witness-forgot.json", monitoring_name(origin)))
    }

    fn fork(&self, origin: &str, size: u64) -> PathBuf {
        self.dir.join(format!("{}.log-forked-{size}.json", monitoring_name(origin)))
    }

    /// Every file about a log.
    pub(crate) fn of(&self, origin: &str) -> Vec<PathBuf> {
        let name = monitoring_name(origin);
        let Ok(entries) = fs::read_dir(&self.dir) else { return Vec::new() };
        let about = |path: &PathBuf| {
            path.file_name().is_some_and(|file| {
                let file = file.to_string_lossy();
                file.starts_with(&name) && file.ends_with(".json")
            })
        };
        let mut files: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).filter(about).collect();
        files.sort();
        files
    }

    /// Keeps a fork, unless one of that size or enough of them are there.
    pub(crate) fn keep_fork(&self, evidence: &Evidence, size: u64) -> io::Result<Option<PathBuf>> {
        let path = self.fork(&evidence.log, size);
        if path.exists() || self.of(&evidence.log).len() >= FORKS_KEPT_MAX {
            return Ok(None);
        }
        self.keep(&path, evidence)?;
        Ok(Some(path))
    }

    /// Keeps what makes a log read-only; the first such file stays.
    pub(crate) fn keep_forgotten(&self, evidence: &Evidence) -> io::Result<PathBuf> {
        let path = self.forgotten(&evidence.log);
        if !path.exists() {
            self.keep(&path, evidence)?;
        }
        Ok(path)
    }

    fn keep(&self, path: &Path, evidence: &Evidence) -> io::Result<()> {
        files::make_private_dir(&self.dir)?;
        let bytes = serde_json::to_vec_pretty(evidence).map_err(io::Error::other)?;
        let draft = path.with_extension("new");
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&draft)?;
        file.write_all(&bytes)?;
        file.sync_all()?;
        fs::rename(&draft, path)?;
        files::sync_parent(path)?;
        files::sync_parent(&self.dir)
    }
}
