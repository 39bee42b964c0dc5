//! Training: questions about invented records, in folders of their own, that are never taken for real ones.
//!
//! What is brought in with `puente import --training` is kept in `training/` of the node's folder, whatever store holds
//! the real records, and answers questions of mode `training` alone.

use puente_evidence::tree::TRAINING_PATH;
use puente_exchange::api::LocalEvent;
use serde::{Deserialize, Serialize};

/// What stands on every screen of training, in both languages whatever the reader's.
pub const BANNER: &str = "TRAINING / ADIESTRAMIENTO";

/// `[training]` of node.toml.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct TrainingConfig {
    /// Whether this node asks and answers in training.
    pub take_part: bool,
    /// Days after which the invented records go, counted from when some were last brought in; 1 to [`KEPT_DAYS_MAX`].
    #[serde(deserialize_with = "kept_days")]
    pub kept_days: u16,
}

/// Most days for which invented records are kept.
pub const KEPT_DAYS_MAX: u16 = 3_650;

fn kept_days<'de, D: serde::Deserializer<'de>>(from: D) -> Result<u16, D::Error> {
    let days = u16::deserialize(from)?;
    let message = || serde::de::Error::custom(format!("kept_days is a number from 1 to {KEPT_DAYS_MAX}"));
    if (1..=KEPT_DAYS_MAX).contains(&days) { Ok(days) } else { Err(message()) }
}

impl Default for TrainingConfig {
    fn default() -> Self {
        // A course, its exams and those who missed them.
        Self { take_part: true, kept_days: 90 }
    }
}

/// The event of a batch of invented records: nobody counts it as collection.
pub fn marked(event: LocalEvent) -> LocalEvent {
    LocalEvent { record_type: marked_type(&event.record_type), ..event }
}

/// A record type, as it stands in entries about invented records.
pub fn marked_type(record_type: &str) -> String {
    format!("{TRAINING_PATH}{record_type}")
}
