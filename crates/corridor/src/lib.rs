//! A node's groups: who is in, which commit comes next, what is said to all.
//!
//! Joins the two rooms that know nothing of each other: `puente-group` makes and takes commits, `puente-ledger` orders them.
//!
//! ```text
//! charter, operators ──▶ what is wanted ──▶ stage ─ durable ─▶ submit ─▶ ledger ─▶ Ordered ─▶ merge or process
//!                            ▲                                                                     │ durable, EPOCH logged
//!                            └─────────────── compared again after every commit ◀──────────────────┤
//!                                                                             Welcome ◀────────────┘
//! ```
//!
//! - **No ordered receipt, no merge, no Welcome**: this is the one room that turns a ledger's proof into a group's.
//! - **Groups**: those that the charter names (corridors), and one of two for every pair of nodes, made without ceremony when
//!   they first reach each other. The charter says who belongs in; a member that was removed by an operator stays out until
//!   an operator wants it in.
//! - **Founding**: the charter's convener makes a group once enough witnesses say that they know no ledger of it; so a convener
//!   that lost its disk does not make its group a second time.
//! - **Coming in**: a node that is welcomed verifies the order from the group's genesis to the commit that added it, and only
//!   then opens the Welcome. A node that cannot go on with what it holds enters anew.
//! - **Posts** are sealed once an epoch, kept until every member has acknowledged them, sealed anew for whoever was away too
//!   long, opened once. While a suspended leaf stands in a group they go out under the groups of two.
//! - **Durable first**: whatever leaves waits for the write that it follows from; writes are made durable in their order.
//!
//! Nothing here reads a clock, a disk or a network; randomness of keys is `puente-group`'s.

mod api;
mod codec;
mod corridor;
mod corridors;
mod founding;
mod generated;
mod inside;
mod joining;
mod kept;
mod maintaining;
mod out;
mod post;
mod posting;
mod proof;
mod records;
mod rejoining;
mod setup;
mod terms;

pub use api::{Alarm, Effect, EpochBegan, Fault, Genesis, GroupEvent, Input, Message, Opened, Put, Want, Welcome};
pub use codec::{CodecError, MESSAGE_BYTES_MAX};
pub use corridors::{Corridors, OpenError};
pub use kept::PREFIXES;
pub use post::{POST_LIFE_MILLIS_MAX, POSTS_MAX, PostId};
pub use puente_ledger::pair;
pub use setup::{Setup, Tuning};
pub use terms::{TermsError, corridors, rules};
