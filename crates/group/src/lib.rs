//! Membership and sealing: groups over MLS (RFC 9420), with leaves bound to the charter.
//!
//! The only room that knows `openmls`. It knows nothing of questions and logs, and decides no order: a commit is merged
//! on a proof of order ([`Ordered`]) that another room makes. In short:
//!
//! ```text
//! Stock      this node's key packages ──── published ──▶ others add this node with them
//!   └ join(Welcome, commit, Ordered) ──▶ Group
//! Group      create · stage(Intent) ──▶ Pending ── submit to the ledger ──▶ Ordered
//!   ├ merge(Pending, Ordered) ──▶ Merged { welcome }     this node's commit won
//!   ├ process(commit, Ordered) ──▶ Processed { lost }    another's won: make the intent anew
//!   ├ seal, open                                         messages to all: questions, alerts
//!   └ psk(QUERY leaf hash), epoch_hash                   for the exchange, and for both logs
//! Rejoin     start(group info) ──▶ commit ── Ordered ──▶ Group
//! ```
//!
//! # One client rule
//!
//! No ordered receipt, no merge, no Welcome. [`Group::stage`] hands out a commit and its hash and keeps the Welcome;
//! [`Group::merge`] takes the proof and gives the Welcome. A proof for another group, epoch or commit is a named error.
//! External commits, which the library merges as it makes them, are made in a state of their own ([`Rejoin`]) that
//! becomes the group when the proof comes.
//!
//! # What members must judge alike
//!
//! A member that refuses a commit which others take parts from them. So leaves of an ordered commit are judged at the
//! moment that the proof names, not by anybody's clock, and against the [`Trust`] that is given: that of the charter
//! version which the ledger entry names, without local blocks or revocation lists that not everybody has.
//! [`GroupError::remedy`] says what follows from a refusal: entries that fail a *public* check are skipped by all alike;
//! who fails privately (a path secret that does not open) rejoins.
//!
//! # Leaves
//!
//! A leaf's credential is the chain of DER certificates of a node, as `cert_data<V>` items. One function judges every
//! leaf at every entrance: the chain holds under the roots of the nation that its one URI names, at that moment; the
//! certified key is the one that the leaf signs with; the URI is an active member of the charter; one leaf a node, one
//! node a key; a leaf gives way only to one of the same node; it can do what groups need; a key package is fresh.
//! Standalone proposals do not exist: a commit carries its own, and every commit gives its maker fresh keys. Commits from
//! outside only bring members back; everybody else is added by a member.
//!
//! # What is kept, and how
//!
//! Operations hand out [`Changes`]: pairs that the caller makes durable in the transaction of the step that they belong
//! to, before anything that came of the step leaves the node: a node's journal writes them as `puts` of one batch, which
//! it also encrypts at rest. A group loads from all of its pairs, or not at all. That is why this room brings a storage
//! provider of its own instead of `openmls_sqlite_storage`: a second database would have a commit point of its own, and
//! "durable before QUERY's head" would hold on one of the two. Values are CBOR, which describes itself.
//!
//! # What reads the world all the same
//!
//! Randomness is the system's, through aws-lc and `hpke-rs`; neither `openmls` nor `hpke-rs` takes it as an argument.
//! `openmls` compares the life of key packages in commits with the machine's clock, to which 42 days of slack are left
//! ([`limits::KEY_PACKAGE_MARGIN_MILLIS`]), and stamps past epochs, which nothing reads. Time that decides anything is an
//! argument.
//!
//! Messages show their group, epoch and sender's place to whoever carries them, and commits the names and certificates of
//! members, because ledger and witnesses check them; contents are padded to 256 bytes.

mod chain;
mod commit;
mod crypto;
mod early;
mod error;
mod group;
mod identity;
mod leaf;
pub mod limits;
mod message;
mod ordered;
mod process;
mod provider;
mod rejoin;
mod stock;
mod store;
mod suite;
#[cfg(test)]
mod tests;
mod trust;

pub use commit::{Intent, Merged, Pending, claimed_node};
pub use early::{Early, EarlyFull};
pub use error::{GroupError, Remedy};
pub use group::{EPOCH, Group, PSK};
pub use identity::{Identity, IdentityError, LeafSigner, SignFailed, SoftKey};
pub use leaf::LeafError;
pub use message::Opened;
pub use ordered::{GroupId, Ordered};
pub use process::{Moves, Processed, moves, peek};
pub use puente_model::{COMMIT, commit_hash};
pub use rejoin::Rejoin;
pub use stock::{Joined, Left, Published, Stock};
pub use store::{Changes, StoreError};
pub use suite::{Scheme, Suite};
pub use trust::{Trust, TrustError};
