//! Which logs a witness serves, and what it was told about each out of band.

use puente_model::{Digest, TreeSize};

use crate::checkpoint::Checkpoint;
use crate::key::{KeyKind, VerifierKey};

/// Why a rule about a log makes no sense.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RuleError {
    /// Nobody could sign for the log.
    #[error("log {origin} has no key")]
    NoKey {
        /// Which log.
        origin: String,
    },
    /// A key of another name or kind.
    #[error("key {key} is not a log key of {origin}: a log's key is of type 0x01 and bears the log's name")]
    OtherKey {
        /// Which log.
        origin: String,
        /// Name of the key.
        key: String,
    },
    /// A pinned head of another log.
    #[error("the pinned checkpoint is of log {found}, not of {origin}")]
    OtherPin {
        /// Which log.
        origin: String,
        /// Whose head was pinned.
        found: String,
    },
    /// A pin beyond the size at which the log was closed.
    #[error("log {origin} is closed at {closed_at} entries; the pinned checkpoint has {pinned}")]
    PinBeyondEnd {
        /// Which log.
        origin: String,
        /// Where it was closed.
        closed_at: TreeSize,
        /// The pin's size.
        pinned: TreeSize,
    },
}

/// What a witness was told about one log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogRule {
    origin: String,
    pub(super) keys: Vec<VerifierKey>,
    pub(super) pin: Option<Checkpoint>,
    pub(super) first_use: bool,
    pub(super) closed_at: Option<TreeSize>,
}

impl LogRule {
    /// Serves the log that these keys sign for; any one of them suffices. Nothing is accepted of it before a head is
    /// pinned ([`LogRule::pinned`]) or first use is allowed ([`LogRule::first_use`]).
    ///
    /// # Errors
    /// There is no key, or one is of another name or kind.
    pub fn new(origin: &str, keys: Vec<VerifierKey>) -> Result<Self, RuleError> {
        if keys.is_empty() {
            return Err(RuleError::NoKey { origin: origin.to_owned() });
        }
        if let Some(key) = keys.iter().find(|key| key.kind() != KeyKind::Ed25519 || key.name() != origin) {
            return Err(RuleError::OtherKey { origin: origin.to_owned(), key: key.name().to_owned() });
        }
        Ok(Self { origin: origin.to_owned(), keys, pin: None, first_use: false, closed_at: None })
    }

    /// Begins with this head, which came out of band.
    ///
    /// # Errors
    /// It is another log's, or lies beyond the log's end.
    pub fn pinned(mut self, head: Checkpoint) -> Result<Self, RuleError> {
        if head.origin() != self.origin {
            return Err(RuleError::OtherPin { origin: self.origin, found: head.origin().to_owned() });
        }
        if let Some(closed_at) = self.closed_at.filter(|closed_at| head.size() > *closed_at) {
            return Err(RuleError::PinBeyondEnd { origin: self.origin, closed_at, pinned: head.size() });
        }
        self.pin = Some(head);
        Ok(self)
    }

    /// Whether the first head that comes is believed where none is pinned.
    #[must_use]
    pub fn first_use(mut self, allowed: bool) -> Self {
        self.first_use = allowed;
        self
    }

    /// Refuses heads beyond this size: the log was closed there.
    ///
    /// # Errors
    /// The pinned head lies beyond it.
    pub fn closed_at(mut self, size: TreeSize) -> Result<Self, RuleError> {
        self.closed_at = Some(size);
        match self.pin.take() {
            Some(pin) => self.pinned(pin),
            None => Ok(self),
        }
    }

    /// The log's name.
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// The keys that sign for it.
    pub fn keys(&self) -> &[VerifierKey] {
        &self.keys
    }

    /// The head to begin with.
    pub const fn pin(&self) -> Option<&Checkpoint> {
        self.pin.as_ref()
    }

    /// The size at which the log was closed.
    pub const fn end(&self) -> Option<TreeSize> {
        self.closed_at
    }

    /// Whether a first head would be believed.
    pub const fn allows_first_use(&self) -> bool {
        self.first_use
    }

    pub(super) fn known(&self) -> Vec<&VerifierKey> {
        self.keys.iter().collect()
    }
}

/// Where a witness shows the newest head of a log, below its monitoring prefix: `<sha256 of the origin>/checkpoint`.
pub fn monitoring_path(origin: &str) -> String {
    format!("{}/checkpoint", monitoring_name(origin))
}

/// The log's part of [`monitoring_path`]: 64 hexadecimal digits.
pub fn monitoring_name(origin: &str) -> String {
    Digest::of(origin.as_bytes()).to_string()
}
