//! The eyes: verify, reconcile, classify and prove, from copied files alone.
//!
//! An auditor holds a charter (pinned by its hash) and copies of logs. Only
//! [`remote`] talks to nodes, and only to make copies; there is no async runtime,
//! no QUIC and no group key. A failed
//! check is a [`Finding`] with a stable [`Class`] and the node it is attributed
//! to; a missing file is never guilt but [`Conclusion::CouldNotTell`].
//!
//! ```no_run
//! use puente_audit::{Auditor, load_charter};
//! # fn main() -> Result<(), puente_audit::AuditError> {
//! # let (pin, now) = (puente_model::Digest::default(), puente_model::Millis(0));
//! let charter = load_charter("charter".as_ref(), pin)?;
//! let mut auditor = Auditor::new(charter, now).with_evidence("evidence");
//! let verdict = auditor.reconcile(&["copies/mx-fge".as_ref(), "copies/us-sdpd".as_ref()])?;
//! for finding in verdict.faults() {
//!     eprintln!("{}: {}", finding.class, finding.en);
//! }
//! # Ok(())
//! # }
//! ```

mod acts;
mod aside;
mod auditor;
mod casebook;
mod check;
mod class;
pub mod cli;
mod compare;
mod dir;
mod error;
mod evidence;
mod exchange;
mod figures;
mod finding;
mod groups;
mod heads;
mod kept;
mod last;
mod law;
mod ledgers;
mod numbering;
mod parts;
mod prove;
mod reconcile;
mod records;
pub mod remote;
pub mod report;
mod roster;
mod rules;
mod show;
mod state;
#[cfg(test)]
mod tests;
mod verify;
mod witnesses;

pub use acts::{Act, Acts, Done, Handling, Reply};
pub use auditor::{Auditor, Source, verify_rules};
pub use casebook::{Casebook, Kept, Untold};
pub use check::{CHECK_BYTES_MAX, Checked, Checker, check_bytes};
pub use class::{Class, Severity};
pub use dir::read_file;
pub use error::AuditError;
pub use evidence::{EvidenceEntry, EvidenceFile, EvidencePrefix};
pub use figures::{Ends, Figures, Flow, Growth, OVERDUE_MAX, Overdue};
pub use finding::{Blame, Conclusion, Cosigner, Counts, FINDINGS_PER_CLASS_MAX, Finding, LogReport, Trained, Verdict};
pub use prove::prove;
pub use puente_model::Lang;
pub use show::{Shown, show};
pub use state::{State, load_charter};
