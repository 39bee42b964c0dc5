//! The conversation: from question to recorded, sealed, released answer.
//!
//! Sans-IO: time, randomness, disk and network arrive as inputs and leave as effects ([`api`]). One
//! [`Engine`] is one node's side of every conversation it has. Inside, an ask moves through
//! `Recording → AwaitingReply → RecordingReply → AwaitingRelease → RecordingEnd`, a held question through
//! `LookingUp → Recording → AwaitingReceipt → RecordingRelease → Released`; every step to the right of a
//! `Recording…` needs the proof that its entry is durable, which only the ledger makes.
//!
//! `control` judges which heads count; `question`, `asker` and `opening` are the one side of an exchange, `holder`,
//! `judging` and `answering` the other; `period`
//! makes both logs hold the same numbers, `resend` sends again what is unanswered, a few at a time. `standing` says who
//! may exchange now, `adoption` takes newer charter parts and rules up.

mod adoption;
pub mod alerts;
mod answering;
pub mod api;
mod asker;
mod collect;
mod comparing;
mod control;
mod cosigning;
mod earlier;
mod engine;
mod finding;
mod groups;
mod handover;
mod heads;
mod holder;
pub mod inbox;
mod judging;
pub mod lead;
mod leaving;
mod ledger;
pub mod matters;
mod minor;
mod numbers;
mod opening;
pub mod outbox;
mod peer;
mod period;
mod persist;
mod question;
mod record;
pub mod rehearsal;
mod resend;
mod seeds;
mod standing;
mod trial;
mod vocabulary;

pub use cosigning::{Cosigning, PeerCosigning, WitnessStanding};
pub use engine::{Appeal, Engine, OpenError, Setup, Standing};
pub use groups::{GroupStanding, GroupsError};
pub use ledger::Tuning;
pub use minor::MINOR;
pub use trial::Unable;
pub use vocabulary::vocabulary;
