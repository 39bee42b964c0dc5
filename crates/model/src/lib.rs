//! The nouns of Puente: digests, names, time, codes and limits.
//!
//! Everything here is parsed at the door: a value that exists is well formed.
//! This crate knows nothing of protobuf, MLS or QUIC, performs no IO and reads
//! no clock.

mod code;
mod digest;
mod id;
mod lang;
pub mod limits;
mod name;
mod secret;
mod time;
mod vector;

pub use code::{
    AlertCategory, AlertCertainty, AlertSeverity, CodeError, CountBand, EventKind, FieldClass, Handling, LegalBasisId,
    Mode, Outcome, Purpose, QueryKind, RefusalReason, Role, Stage, Step, Urgency,
};
pub use digest::{COMMIT, Digest, DigestError, Label, commit_hash, digest};
pub use id::{ExchangeId, LeafIndex, Seq, TreeSize};
pub use lang::{Lang, LangError};
pub use name::{AgencyId, AuditorUri, Jurisdiction, NameError, NodeUri, OfficerId, Origin};
pub use secret::Secret32;
pub use time::{Millis, Minute, days_from_civil};
pub use vector::{CharterVector, VectorError};
