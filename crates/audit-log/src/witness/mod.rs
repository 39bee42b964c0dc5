//! The witness protocol (C2SP tlog-witness), both ends of it, without its transport.
//!
//! ```text
//! log      Submission::encode ──────────────▶ ClaimedSubmission::parse           witness
//!                                               │ Witness::submit: every check
//!                                             Advance
//!                                               │ Advance::persist: durable first
//!          WitnessReply::read ◀── 200 ──────  Remembered::cosign
//!                    │        ◀── 4xx ──────  Refusal::status, Refusal::body
//!          head with cosignature
//! ```
//!
//! **Written before signed.** A cosignature is made of a [`Remembered`], which exists only durable: as what
//! [`Advance::persist`] wrote, or as what [`Remembered::parse`] read back. So a witness that crashes anywhere between
//! check, store, signature and reply has signed nothing that it does not remember.
//!
//! **One tree.** [`Witness::submit`] lets through what extends the tree that is remembered, or repeats it. One log's
//! submissions are judged and persisted one after the other; whoever holds what is remembered of a log sees to that.

mod judge;
mod remembered;
mod reply;
mod rule;
mod submission;

pub use judge::{Advance, CLOCK_BEHIND_MAX, Forgotten, Refusal, Witness};
pub use remembered::{REMEMBERED_BYTES_MAX, Remembered, RememberedError};
pub use reply::{ReplyError, SIZE_MEDIA_TYPE, WitnessReply};
pub use rule::{LogRule, RuleError, monitoring_name, monitoring_path};
pub use submission::{
    ClaimedSubmission, SUBMISSION_BYTES_MAX, SUBMISSION_PROOF_MAX, SubmissionError, encode_submission,
};
