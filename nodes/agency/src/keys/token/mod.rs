//! Private keys in a PKCS#11 token: they sign there, and never leave it.
//!
//! One thread speaks to the module, which is code that this program did not make: whatever it does, callers wait for a
//! bounded time. A session that fails is opened anew from the start, so that a token that was pulled out is found again
//! when it returns. A PIN that was refused is not tried again, by this process or the next: tokens lock themselves after a
//! few, and remember that one was refused.

mod import;
mod signers;
mod worker;

use std::path::PathBuf;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TryRecvError, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use age::secrecy::SecretString;
use serde::{Deserialize, Serialize};

pub(crate) use import::Private;
pub(crate) use signers::{TokenSigner, TokenTlsKey};

/// How long a caller waits for the token.
pub(crate) const PATIENCE: Duration = Duration::from_secs(5);
/// Requests that wait for the token at most.
const WAITING_MAX: usize = 64;
/// The longest label of a token or key, in bytes.
pub const LABEL_BYTES_MAX: usize = 32;

/// `[keys]` of `node.toml`: which private keys are in a token, and in which.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct KeysConfig {
    /// The PKCS#11 module, a shared library.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub module: Option<PathBuf>,
    /// Label of the token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<String>,
    /// Label of the log's key, if it is in the token; that of the k-th log, from the second on, ends in its number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log_key: Option<String>,
    /// Label of the TLS key, if it is in the token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls_key: Option<String>,
    /// File whose first line is the PIN. Without it: the systemd credential `puente.pin`, else a prompt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pin_file: Option<PathBuf>,
}

impl KeysConfig {
    /// True without a `[keys]` section.
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }

    /// Why it cannot be used, and how to mend it.
    pub fn problem(&self) -> Option<(String, String)> {
        let wants = self.log_key.is_some() || self.tls_key.is_some();
        if (wants || self.token.is_some()) && (self.module.is_none() || self.token.is_none()) {
            let mend = "name both 'module' (the PKCS#11 library) and 'token' (its label) in [keys]";
            return Some(("[keys] names a key in a token, but not the token".to_owned(), mend.to_owned()));
        }
        let labels = [&self.token, &self.log_key, &self.tls_key];
        let long = labels.into_iter().flatten().find(|label| label.is_empty() || label.len() > LABEL_BYTES_MAX);
        long.map(|label| {
            (format!("[keys]: '{label}' is no label"), format!("a label has 1 to {LABEL_BYTES_MAX} bytes"))
        })
    }

    /// Label of the k-th log's key.
    pub fn log_label(&self, k: u32) -> Option<String> {
        let label = self.log_key.as_ref()?;
        Some(if k <= 1 { label.clone() } else { format!("{label}{k}") })
    }
}

/// Why the token did not do what it was asked to.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TokenError {
    /// The module cannot be loaded or started.
    #[error("the PKCS#11 module {path} cannot be used: {why}")]
    Module {
        /// The library.
        path: String,
        /// What it said.
        why: String,
    },
    /// No such token.
    #[error("the token '{0}' is not plugged in")]
    Absent(String),
    /// The PIN is wrong; it is not tried again.
    #[error("the token '{0}' refuses the PIN: it was tried once and is not tried again")]
    Pin(String),
    /// A wrong PIN was given to the token earlier, by whomever.
    #[error("a wrong PIN was given to the token '{0}' before: none is tried now unless a person says so")]
    PinDoubted(String),
    /// The token takes no PIN any more.
    #[error("the PIN of the token '{0}' is locked")]
    Locked(String),
    /// The token holds no such key.
    #[error("the token '{token}' holds no key '{label}'")]
    NoKey {
        /// The token's label.
        token: String,
        /// The key's label.
        label: String,
    },
    /// The key in the token is of another kind than is needed, or its public half is missing.
    #[error("the key '{label}' in the token '{token}' cannot be used: {why}")]
    Unfit {
        /// The token's label.
        token: String,
        /// The key's label.
        label: String,
        /// What is wrong with it.
        why: String,
    },
    /// It failed.
    #[error("the token '{token}' failed: {why}")]
    Failed {
        /// The token's label.
        token: String,
        /// What it said.
        why: String,
    },
    /// It does not answer.
    #[error("the token '{0}' does not answer")]
    Silent(String),
}

impl TokenError {
    /// What to do.
    pub const fn mend(&self) -> &'static str {
        match self {
            Self::Module { .. } => "check 'module' of [keys] in node.toml, and that the library is installed",
            Self::Absent(_) | Self::Failed { .. } | Self::Silent(_) => {
                "plug the token in again, or mend what it needs; a node that runs goes on by itself"
            }
            Self::Pin(_) | Self::PinDoubted(_) => {
                "correct the PIN (pin_file, the credential 'puente.pin' or the prompt), have it tried once with \
                 'puente keys try-pin', then start the node"
            }
            Self::Locked(_) => "have the token's security officer set the PIN anew, with the token's own tool",
            Self::NoKey { .. } => {
                "check the labels in [keys] of node.toml; 'puente keys move --to-token' brings a key in"
            }
            Self::Unfit { .. } => "a log's key is Ed25519, a TLS key ECDSA P-256, each with its public half beside it",
        }
    }
}

/// How the token signs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Ed25519, over the message.
    Ed25519,
    /// ECDSA over P-256, over a SHA-256 digest; 64 bytes.
    P256,
}

#[derive(Debug)]
pub(crate) enum Work {
    LogIn,
    Sign { label: String, kind: Kind, data: Vec<u8> },
    Public { label: String, kind: Kind },
    Import { label: String, private: Private },
}

/// When a PIN is tried that was not taken yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Care {
    /// Unless the token says that a wrong one was given before: a service that is started again and again would lock it.
    Untried,
    /// Once, because a person says so; not if the token would lock itself.
    TryOnce,
}

type Outcome = Result<Vec<u8>, TokenError>;

struct Job {
    work: Work,
    answer: SyncSender<Outcome>,
}

/// A token, whoever uses it.
#[derive(Clone)]
pub struct Token {
    name: Arc<str>,
    desk: Arc<Desk>,
    trouble: Arc<Mutex<Option<TokenError>>>,
}

/// The way to the thread, and its end.
struct Desk {
    jobs: Mutex<Option<SyncSender<Job>>>,
    /// The answer to what somebody gave up waiting for: until it comes, nobody else need wait.
    late: Mutex<Option<Receiver<Outcome>>>,
    ended: Mutex<Receiver<()>>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Desk {
    /// The thread puts the module away before the process can end: a module that is put away while the process takes its
    /// library down crashes or hangs. One that does not answer is left behind.
    fn close(&self) {
        *lock(&self.jobs) = None;
        let Some(thread) = lock(&self.thread).take() else { return };
        if lock(&self.ended).recv_timeout(PATIENCE) == Err(RecvTimeoutError::Disconnected) {
            // It has nothing to say.
            let _ = thread.join();
        }
    }

    fn ask(&self, work: Work, patience: Duration) -> Option<Outcome> {
        let mut late = lock(&self.late);
        if late.as_ref().is_some_and(|answer| answer.try_recv() == Err(TryRecvError::Empty)) {
            return None;
        }
        *late = None;
        drop(late);
        let jobs = lock(&self.jobs).clone()?;
        let (answer, answered) = sync_channel(1);
        jobs.try_send(Job { work, answer }).ok()?;
        let outcome = answered.recv_timeout(patience);
        if outcome.is_err() {
            *lock(&self.late) = Some(answered);
        }
        outcome.ok()
    }
}

impl Drop for Desk {
    fn drop(&mut self) {
        self.close();
    }
}

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Token({})", self.name)
    }
}

impl Token {
    /// The token that the configuration names, behind a thread of its own; none if it names none.
    ///
    /// # Errors
    /// There is no PIN, or no thread. Whether the token answers is not tried here.
    pub(crate) fn open(config: &KeysConfig, care: Care) -> std::io::Result<Option<Self>> {
        let (Some(module), Some(name)) = (config.module.clone(), config.token.clone()) else { return Ok(None) };
        let pin: SecretString = super::passphrase::pin(config.pin_file.as_deref())?;
        let (jobs, work): (_, Receiver<Job>) = sync_channel(WAITING_MAX);
        let token: Arc<str> = name.clone().into();
        let (ending, ended) = sync_channel(1);
        let thread = std::thread::Builder::new().name("token".to_owned()).spawn(move || {
            // Dropped when the thread ends, however it does.
            let _ending: SyncSender<()> = ending;
            worker::Worker::new(module, name, pin, care).serve(&work);
        })?;
        let desk = Desk {
            jobs: Mutex::new(Some(jobs)),
            late: Mutex::default(),
            ended: Mutex::new(ended),
            thread: Mutex::new(Some(thread)),
        };
        Ok(Some(Self { name: token, desk: Arc::new(desk), trouble: Arc::default() }))
    }

    /// Its label.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What went wrong last, unless something went well since.
    pub fn trouble(&self) -> Option<TokenError> {
        lock(&self.trouble).clone()
    }

    /// Has the token do it; waits for at most [`PATIENCE`], and not at all while what was asked before is not done.
    pub(crate) fn ask(&self, work: Work) -> Outcome {
        let silent = || Err(TokenError::Silent(self.name.to_string()));
        let result = self.desk.ask(work, PATIENCE).unwrap_or_else(silent);
        *lock(&self.trouble) = result.as_ref().err().cloned();
        result
    }

    /// Puts the module away; whoever asks afterwards hears that the token is silent.
    pub(crate) fn close(&self) {
        self.desk.close();
    }

    /// The public half of a key: 32 bytes of Ed25519, or the 65 of an uncompressed point of P-256.
    pub(crate) fn public(&self, label: &str, kind: Kind) -> Result<Vec<u8>, TokenError> {
        self.ask(Work::Public { label: label.to_owned(), kind })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_waits_behind_a_token_that_does_not_answer() {
        let (jobs, work) = sync_channel(WAITING_MAX);
        let (_ending, ended) = sync_channel(1);
        let desk = Desk {
            jobs: Mutex::new(Some(jobs)),
            late: Mutex::default(),
            ended: Mutex::new(ended),
            thread: Mutex::default(),
        };
        assert!(desk.ask(Work::LogIn, Duration::ZERO).is_none());
        // Neither waits nor stands in the queue: with the longest patience there is it would hang otherwise.
        assert!(desk.ask(Work::LogIn, Duration::MAX).is_none());
        let first = work.recv().unwrap();
        assert!(work.try_recv().is_err());
        first.answer.send(Ok(Vec::new())).unwrap();
        // It answers again.
        std::thread::scope(|scope| {
            let asked = scope.spawn(|| desk.ask(Work::LogIn, PATIENCE * 12));
            work.recv().unwrap().answer.send(Ok(vec![7])).unwrap();
            assert_eq!(asked.join().unwrap(), Some(Ok(vec![7])));
        });
        desk.close();
        assert!(desk.ask(Work::LogIn, Duration::MAX).is_none(), "closed");
    }

    #[test]
    fn a_token_needs_its_module_and_labels_have_a_length() {
        let named = |label: &str| KeysConfig {
            module: Some("m".into()),
            token: Some("t".to_owned()),
            log_key: Some(label.to_owned()),
            ..KeysConfig::default()
        };
        assert_eq!(named("log").problem(), None);
        assert_eq!(named(&"x".repeat(LABEL_BYTES_MAX)).problem(), None);
        assert!(named(&"x".repeat(LABEL_BYTES_MAX + 1)).problem().is_some());
        assert!(named("").problem().is_some());
        assert!(KeysConfig { module: None, ..named("log") }.problem().is_some());
        assert_eq!(named("log").log_label(1).as_deref(), Some("log"));
        assert_eq!(named("log").log_label(2).as_deref(), Some("log2"));
    }
}
