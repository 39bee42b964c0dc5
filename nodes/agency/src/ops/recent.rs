//! The newest log lines of this process, kept in memory for a support bundle: level and message, no fields.
//!
//! Thief: what a log line says is no identifier of a person; a test with canaries at level `trace` watches that.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Mutex, PoisonError};

use serde::{Deserialize, Serialize};
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;

/// Lines that are kept.
pub const LINES_MAX: usize = 100;
/// Bytes of a message that are kept.
pub const LINE_BYTES_MAX: usize = 300;

static RECENT: Mutex<VecDeque<Line>> = Mutex::new(VecDeque::new());

/// One log line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Line {
    /// When, RFC 3339 in UTC.
    pub at: String,
    /// ERROR, WARN or INFO.
    pub level: String,
    /// What was said.
    pub message: String,
}

/// The newest lines, the oldest first.
pub fn lines() -> Vec<Line> {
    RECENT.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
}

/// Keeps what this program itself says at level INFO or above.
#[derive(Debug, Clone, Copy)]
pub struct Recent;

impl<S: Subscriber> Layer<S> for Recent {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let about = event.metadata();
        if *about.level() > Level::INFO || !about.target().starts_with("puente") {
            return;
        }
        let mut said = Said(String::new());
        event.record(&mut said);
        let line = Line {
            at: crate::cli::now().to_string(),
            level: about.level().to_string(),
            message: said
                .0
                .chars()
                .scan(0, |bytes, c| {
                    *bytes += c.len_utf8();
                    (*bytes <= LINE_BYTES_MAX).then_some(c)
                })
                .collect(),
        };
        let mut recent = RECENT.lock().unwrap_or_else(PoisonError::into_inner);
        if recent.len() >= LINES_MAX {
            recent.pop_front();
        }
        recent.push_back(line);
    }
}

/// The message among an event's fields.
struct Said(String);

impl Visit for Said {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() == "message" {
            self.0 = format!("{value:?}");
        }
    }
}

#[cfg(test)]
mod tests {
    use tracing_subscriber::layer::SubscriberExt as _;

    use super::*;

    #[test]
    fn the_newest_lines_are_kept_without_their_fields() {
        let subscriber = tracing_subscriber::registry().with(Recent);
        tracing::subscriber::with_default(subscriber, || {
            tracing::info!(peer = "not-this", "kept");
            tracing::debug!("too small");
            tracing::warn!(target: "other", "another program's");
            (0..LINES_MAX + 5).for_each(|n| tracing::warn!("line {n} {}", "x".repeat(LINE_BYTES_MAX)));
        });
        let lines = lines();
        let all = lines.iter().map(|line| line.message.clone()).collect::<String>();
        assert_eq!(lines.len(), LINES_MAX);
        assert!(lines.iter().all(|line| line.message.len() == LINE_BYTES_MAX && line.level == "WARN"), "{all}");
        assert!(!all.contains("not-this") && !all.contains("too small") && !all.contains("another"), "{all}");
        assert!(lines[0].message.starts_with("line 5 ") && lines[LINES_MAX - 1].message.starts_with("line 104 "));
    }
}
