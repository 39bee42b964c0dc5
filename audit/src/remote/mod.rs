//! Logs from nodes' doors, or from folders that others fill: copied into a folder of the auditor's, then audited like any
//! other copy.
//!
//! ```text
//! checkpoint (signature verified) ─▶ tiles and bundles, a few at a time ─▶ sidecar ─▶ groups' ledgers ─▶ checkpoint put in place ─▶ audit
//! ```
//!
//! A verdict is about bytes that lie still: nothing is read from a node twice, and what a node says later changes no
//! copy. A line that fails, and a server that says what no node says, make a copy that is not finished: could not tell.
//! Guilt comes from what was copied whole under a head that the node signed. What lay in the folder before is
//! no evidence against a node either: whoever finds fault with a copy that was not fetched anew fetches it anew first.

mod client;
mod copy;
mod door;
mod error;
mod mirror;
mod tls;
mod trust;

pub use copy::{Busy, CONNECTIONS, Continuity, Copied, Copier, CopyLimits, CopyProgress, Fork};
pub use error::RemoteError;
pub use mirror::{Mirror, MirrorProgress, Outcome};
pub use tls::Credentials;
