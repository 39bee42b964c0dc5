//! Where submissions are taken: one log's after the other, checked, written down, signed, in that order.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;

use puente_audit_log::witness::{
    ClaimedSubmission, LogRule, Refusal, Remembered, RememberedError, RuleError, SIZE_MEDIA_TYPE, Witness,
    monitoring_name,
};
use puente_audit_log::{CheckpointError, SignedCheckpoint, Signer, VerifierKey};
use puente_ledger::LedgerOrigin;
use puente_model::Millis;

use crate::config::Rulebook;
use crate::evidence::{Evidence, Shelf};
use crate::pace::Pace;
use crate::status::Counts;
use crate::store::{Site, Store, StoreError, WriteError};

const TEXT: &str = "text/plain; charset=utf-8";

/// Why the witness does not begin to work.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The folder.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A record cannot be used.
    #[error("log {origin}: {error}")]
    Record {
        /// Which log.
        origin: String,
        /// Why.
        error: RememberedError,
    },
    /// The key is no witness's.
    #[error(transparent)]
    Key(#[from] CheckpointError),
    /// A log's rule.
    #[error(transparent)]
    Rule(#[from] RuleError),
}

/// What a client is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// Media type of the body.
    pub media: &'static str,
    /// The body.
    pub body: Vec<u8>,
    /// Seconds after which asking again may help.
    pub retry_after: Option<u64>,
}

impl Answer {
    pub(crate) fn plain(status: u16, body: impl Into<Vec<u8>>) -> Self {
        Self { status, media: TEXT, body: body.into(), retry_after: None }
    }
}

/// How a log is served now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Standing {
    /// Heads are cosigned.
    Open,
    /// The witness signed more than it remembers: never again under this key.
    ReadOnly,
    /// It is not known what is on the disk: not before the witness starts again.
    Unsure,
}

/// A log as it is served under the rules of now.
struct Log {
    rule: LogRule,
    /// Under which what is remembered was read: with keys that signed once.
    memory: LogRule,
    now: Arc<Mutex<Now>>,
}

impl Log {
    /// The keys with which these heads are verified.
    fn keys_of(&self, heads: &[&SignedCheckpoint]) -> Vec<VerifierKey> {
        let signed = |key: &&VerifierKey| heads.iter().any(|head| head.signatures().iter().any(|line| line.names(key)));
        let once = self.memory.keys().iter().filter(|key| !self.rule.keys().contains(key)).filter(signed);
        self.rule.keys().iter().chain(once).cloned().collect()
    }
}

/// What is served.
#[derive(Default)]
struct Served {
    logs: BTreeMap<String, Arc<Log>>,
    /// Origins by their monitoring names.
    names: BTreeMap<String, String>,
}

struct Now {
    remembered: Option<Remembered>,
    standing: Standing,
}

/// Takes submissions and answers monitors.
pub struct Desk {
    witness: Witness,
    signer: Box<dyn Signer + Send + Sync>,
    served: RwLock<Served>,
    /// What is remembered of every log that was ever served since the start: one cell a log, whatever rules come, so that
    /// its submissions are judged one after the other.
    cells: Mutex<BTreeMap<String, Arc<Mutex<Now>>>>,
    store: Store,
    shelf: Shelf,
    pace: Pace,
    counts: Counts,
}

impl fmt::Debug for Desk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Desk({}, {} logs)", self.witness.key().name(), self.logs())
    }
}

impl Desk {
    /// Opens it over what is remembered.
    ///
    /// # Errors
    /// A record is damaged or at odds with what is pinned: nothing is signed before a person has looked.
    pub fn open(
        signer: Box<dyn Signer + Send + Sync>,
        rules: impl Into<Rulebook>,
        store: Store,
        evidence: std::path::PathBuf,
        requests_per_minute: u32,
    ) -> Result<Self, OpenError> {
        let witness = Witness::new(signer.verifier().clone())?;
        let counts = Counts::load(store.dir());
        let desk = Self {
            witness,
            signer,
            served: RwLock::default(),
            cells: Mutex::default(),
            store,
            shelf: Shelf::new(evidence),
            pace: Pace::new(requests_per_minute),
            counts,
        };
        desk.serve(&rules.into())?;
        Ok(desk)
    }

    /// Serves these logs from now on, and no others. What is remembered stays; a submission that is being judged comes to
    /// its end under the rule it came under.
    ///
    /// # Errors
    /// As of [`Desk::open`]; then what was served is served as it was.
    pub fn serve(&self, rules: &Rulebook) -> Result<(), OpenError> {
        let mut next = Served::default();
        let mut cells = self.cells.lock().unwrap_or_else(PoisonError::into_inner);
        for (origin, rule) in rules.rules() {
            let name = monitoring_name(origin);
            let memory = rules.memory(rule)?;
            let damaged = |error| OpenError::Record { origin: origin.clone(), error };
            let now = match cells.get(origin) {
                Some(cell) => {
                    // A newer pin must not contradict what was signed.
                    if let Some(known) = &lock(cell).remembered {
                        known.fits(&memory).map_err(damaged)?;
                    }
                    Arc::clone(cell)
                }
                None => {
                    let record = self.store.read(&name)?;
                    let remembered = record.map(|bytes| Remembered::parse(&bytes, &memory)).transpose();
                    let remembered = remembered.map_err(damaged)?;
                    let read_only = self.shelf.forgotten(origin).exists();
                    let standing = if read_only { Standing::ReadOnly } else { Standing::Open };
                    Arc::new(Mutex::new(Now { remembered, standing }))
                }
            };
            next.names.insert(name, origin.clone());
            next.logs.insert(origin.clone(), Arc::new(Log { rule: rule.clone(), memory, now }));
        }
        // Only now: what cannot be served changes nothing.
        for (origin, log) in &next.logs {
            cells.entry(origin.clone()).or_insert_with(|| Arc::clone(&log.now));
        }
        *self.served.write().unwrap_or_else(PoisonError::into_inner) = next;
        Ok(())
    }

    fn log(&self, origin: &str) -> Option<Arc<Log>> {
        self.served.read().unwrap_or_else(PoisonError::into_inner).logs.get(origin).cloned()
    }

    /// How many logs are served; of groups' ledgers those that have begun.
    pub fn logs(&self) -> usize {
        let served = self.served.read().unwrap_or_else(PoisonError::into_inner);
        let begun = |(origin, log): &(&String, &Arc<Log>)| {
            origin.parse::<LedgerOrigin>().is_err() || lock(&log.now).remembered.is_some()
        };
        served.logs.iter().filter(begun).count()
    }

    /// Answers `add-checkpoint`. `clock` only goes forward and paces clients; `now` is what a cosignature states.
    pub fn add_checkpoint(&self, now: Millis, clock: Duration, from: IpAddr, body: &[u8]) -> Answer {
        let submission = match ClaimedSubmission::parse(body) {
            Ok(submission) => submission,
            Err(error) => return self.refuse("", &Refusal::Malformed(error)),
        };
        let Some(log) = self.log(submission.origin()) else {
            return match self.pace.take(from, "", clock) {
                Ok(()) => self.refuse("", &Refusal::UnknownLog),
                Err(wait) => self.later("", wait),
            };
        };
        let origin = log.rule.origin();
        if let Err(wait) = self.pace.take(from, origin, clock) {
            return self.later(origin, wait);
        }
        let mut state = lock(&log.now);
        match state.standing {
            Standing::Open => {}
            Standing::ReadOnly => {
                self.counts.count(origin, "read-only");
                return Answer::plain(
                    503,
                    "this witness signed more than it remembers of that log and cosigns it no more\n",
                );
            }
            Standing::Unsure => {
                self.counts.count(origin, "disk");
                return Answer::plain(
                    503,
                    "this witness does not know what its disk holds of that log until it starts again\n",
                );
            }
        }
        let advance = match self.witness.submit(now, &submission, Some(&log.rule), state.remembered.as_ref()) {
            Ok(advance) => advance,
            Err(refusal) => {
                self.keep(&log, &mut state, &refusal);
                return self.refuse(origin, &refusal);
            }
        };
        let name = monitoring_name(origin);
        let remembered = match advance.persist(|bytes| self.store.replace(&name, bytes)) {
            Ok(remembered) => remembered,
            Err(error) => {
                let (WriteError::Before(why) | WriteError::Unknown(why)) = &error;
                tracing::error!(log = origin, "the disk does not take what must be remembered: {why}");
                if matches!(error, WriteError::Unknown(_)) {
                    state.standing = Standing::Unsure;
                }
                self.counts.count(origin, "disk");
                return Answer::plain(500, "this witness could not write the checkpoint down\n");
            }
        };
        state.remembered = Some(remembered.clone());
        drop(state);
        self.sign(&remembered)
    }

    /// Signs what is durable. A client that is not told asks again and gets the like.
    fn sign(&self, remembered: &Remembered) -> Answer {
        let origin = remembered.head().origin();
        let line = match self.store.pass(Site::Sign).map(|()| remembered.cosign(&*self.signer)) {
            Ok(Ok(line)) => format!("{line}\n"),
            Ok(Err(error)) => return Answer::plain(500, format!("{error}\n")),
            Err(error) => return Answer::plain(500, format!("{error}\n")),
        };
        if let Err(error) = self.store.pass(Site::Reply) {
            return Answer::plain(500, format!("{error}\n"));
        }
        self.counts.count(origin, "cosigned");
        tracing::info!(log = origin, size = remembered.size().0, "cosigned");
        Answer::plain(200, line)
    }

    fn refuse(&self, origin: &str, refusal: &Refusal) -> Answer {
        self.counts.count(origin, refusal.kind());
        tracing::debug!(log = origin, kind = refusal.kind(), "refused: {refusal}");
        let media = if matches!(refusal, Refusal::Stale { .. }) { SIZE_MEDIA_TYPE } else { TEXT };
        Answer { status: refusal.status(), media, body: refusal.body().into_bytes(), retry_after: None }
    }

    fn later(&self, origin: &str, wait: Duration) -> Answer {
        self.counts.count(origin, "too-often");
        let retry_after = Some(wait.as_secs().saturating_add(1));
        Answer { retry_after, ..Answer::plain(429, "too many requests about that log in a minute\n") }
    }

    /// Keeps what convicts a log, or this witness.
    fn keep(&self, log: &Log, state: &mut Now, refusal: &Refusal) {
        let origin = log.rule.origin();
        let kept = match refusal {
            Refusal::OtherRoot(Some(split)) => {
                tracing::warn!(log = origin, size = split.one.size().0, "the log forked");
                let keys = log.keys_of(&[&split.one, &split.other]);
                let evidence = Evidence::fork(split, &keys, self.witness.key());
                self.shelf.keep_fork(&evidence, split.one.size().0)
            }
            Refusal::Forgotten(forgotten) => {
                // Whatever becomes of the file.
                state.standing = Standing::ReadOnly;
                tracing::error!(
                    log = origin,
                    size = forgotten.shown.size().0,
                    "this witness signed more than it remembers: its memory was set back, or its key is used twice; it \
                     cosigns this log no more"
                );
                let heads: Vec<_> =
                    forgotten.remembered.iter().map(Remembered::head).chain([&forgotten.shown]).collect();
                let evidence = Evidence::forgotten(forgotten, &log.keys_of(&heads), &*self.signer);
                self.shelf.keep_forgotten(&evidence).map(Some)
            }
            _ => return,
        };
        match kept {
            Ok(Some(path)) => tracing::warn!(log = origin, file = %path.display(), "evidence"),
            Ok(None) => {}
            Err(error) => tracing::error!(log = origin, "evidence could not be written: {error}"),
        }
    }

    /// Answers a monitor: the newest checkpoint of the log with this monitoring name, cosigned.
    pub fn checkpoint(&self, name: &str) -> Answer {
        let served = self.served.read().unwrap_or_else(PoisonError::into_inner);
        let log = served.names.get(name).and_then(|origin| served.logs.get(origin)).cloned();
        drop(served);
        // What is remembered is durable and was cosigned, or may be.
        let remembered = log.and_then(|log| lock(&log.now).remembered.clone());
        match remembered.map(|remembered| remembered.cosigned(&*self.signer)) {
            Some(Ok(head)) => Answer::plain(200, head.note_bytes()),
            Some(Err(error)) => Answer::plain(500, format!("{error}\n")),
            None => Answer::plain(404, "no checkpoint of such a log was cosigned here\n"),
        }
    }

    /// Writes the counts down; they are not part of any promise.
    pub(crate) fn write_counts(&self) {
        if let Err(error) = self.counts.write(self.store.dir()) {
            tracing::warn!("the counts of refused submissions could not be written: {error}");
        }
    }
}

fn lock(now: &Mutex<Now>) -> MutexGuard<'_, Now> {
    // What is remembered changes in one step, after the disk has it.
    now.lock().unwrap_or_else(PoisonError::into_inner)
}
