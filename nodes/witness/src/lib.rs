//! A witness of transparency logs: remembers the largest head of every log it is told of, and cosigns heads that extend it.
//!
//! ```text
//! http ─▶ Desk ─▶ puente_audit_log::witness (every check) ─▶ Store (durable) ─▶ cosignature ─▶ reply
//! ```
//!
//! It speaks C2SP tlog-witness, so that any log can ask it, and knows nothing of entries: it sees heads and hashes.
//!
//! Promise: of one log it never cosigns two trees that disagree, whatever clients send and wherever it crashes. Thief: who
//! has its key, or a copy of its folder from before, can break that; what can be noticed of it is refused and kept as
//! evidence ([`Desk`]).

pub mod cli;
mod config;
mod desk;
mod evidence;
mod files;
mod http;
mod key;
mod pace;
mod run;
mod status;
mod store;
#[cfg(test)]
mod tests;
mod tls;

pub use config::{Config, ConfigError, Folder, Rulebook};
pub use desk::{Answer, Desk, OpenError};
pub use http::{Limits, serve};
pub use store::{Store, StoreError};
