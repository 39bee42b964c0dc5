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
#[serde(deny_unknown_fields)]
pub struct TrainingConfig {
    /// Whether this node asks and answers in training.
    pub take_part: bool,
}

impl Default for TrainingConfig {
    fn default() -> Self {
        Self { take_part: true }
    }
}

/// The event of a batch of invented records: nobody counts it as collection.
pub fn marked(event: LocalEvent) -> LocalEvent {
    LocalEvent { record_type: format!("{TRAINING_PATH}{}", event.record_type), ..event }
}
