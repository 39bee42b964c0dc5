//! The order of a group's commits: propose, hold, witness, receipt, takeover. Nothing about what a commit holds.
//!
//! ```text
//! member            convener                 members                       witnesses (of every nation)
//!   │ Submit{commit}   │                        │                             │
//!   ├─────────────────▶│ Hold{commit}           │                             │
//!   │                  ├───────────────────────▶│ commit durable, HELD logged │
//!   │                  │◀──────── Held{leaf} ───┤  (a majority, some in each nation)
//!   │                  │ entry and head signed, durable                       │
//!   │                  │ Keep{entry, head}      │                             │
//!   │                  ├───────────────────────▶│ entry durable               │
//!   │                  │◀──────────────── Kept ─┤  (a majority, some in each nation)
//!   │                  │ head, consistency proof                              │
//!   │                  ├─────────────────────────────────────────────────────▶│ stored, then cosigned
//!   │                  │◀───────────────────────────────────── cosignatures ──┤  (the charter's quorum)
//!   │◀── Receipt ──────┼─────── Receipt ───────▶│ Ordered, once per index     │
//! ```
//!
//! A group's ledger is a C2SP log of its own. A witness never cosigns two trees that disagree, and two quorums share an
//! honest witness, so one entry stands at each index: witnesses are the write-once register, and whoever proposes can
//! neither forge nor fork. **No cosigned receipt, no merge**: [`Ordered`] comes out of an [`Engine`] alone, after the quorum
//! was verified and the entry is durable.
//!
//! - **Index is not epoch.** [`Chain`] judges every entry alike for everybody: what fails is skipped ([`Skip`]) and keeps its
//!   index. A commit that fails the group's own public checks is settled without a new roster, and its epoch goes on.
//! - **Whose entry it is stands in the entry**, signed: under a successor's key only CLOSE counts. Signature lines of heads
//!   can be exchanged, and count for nothing here. The charter that governs an entry is named by the one before it.
//! - **Nothing is lost or withheld** once a witness has seen it: commit and entry are with a majority before, and any member
//!   gathers the cosignatures from the witnesses itself if the receipt does not come.
//! - **Takeover.** The convener has its head cosigned again from time to time. After the charter's silence, once for the first
//!   successor, twice for the second, a successor reads the witnesses' heads, finishes any entry that it finds, has its CLOSE
//!   kept, reads the heads once more, and closes. It convenes the next ledger. Whoever did not wait is convicted by the
//!   instants of the witnesses ([`Premature`]), and no member holds a commit for it. Members keep no CLOSE that comes too soon,
//!   so that contention at the witnesses is rare; where it splits them for good ([`Effect::Wedged`]) only a [`Reboot`] helps, which
//!   the governance keys of every nation sign.
//! - **Forks** are proven by two heads and one proof ([`DoubleSigned`]).
//!
//! Nothing here reads a clock, a disk or a network. Safety rests on no clock; silence is measured by each node's own clock,
//! and proven by comparing instants of one witness with each other.

mod api;
mod chain;
mod engine;
mod entry;
mod evidence;
mod generated;
mod joiner;
mod member;
mod name;
mod out;
mod pair;
mod proposer;
mod prune;
mod quorum;
mod reboot;
mod rules;
mod tree;
mod wire;

pub use api::{
    Answer, Effect, Fault, Input, LedgerReceipt, Message, Ordered, Reason, Record, Refusal, Tuning, WANT_ENTRIES,
    WitnessReply,
};
pub use chain::{Chain, ChainError, Charters, Roster, Skip, Verdict, held_by_enough, held_by_enough_before};
pub use engine::{Beginning, Engine, LedgerCopy};
pub use entry::{Body, COMMIT_BYTES_MAX, Draft, Entry, EntryError, HOLDERS_MAX, held_statement};
pub use evidence::{DoubleSigned, Evidence, Premature};
pub use joiner::{JOINER_PATHS_MAX, Joiner, Target};
pub use name::{GROUP_NAME_BYTES_MAX, GroupId, LEDGER_NUMBER_MAX, LedgerOrigin};
pub use pair::{pair, pair_of, proposers};
pub use proposer::Keys;
pub use puente_charter::SILENCE_MILLIS;
pub use puente_model::commit_hash;
pub use quorum::{Met, Missing, NotCosigned, Quorum, QuorumError};
pub use reboot::{REBOOT_SIGNATURES_MAX, Reboot, RebootError, RebootTerms};
pub use rules::{Rules, RulesError, SEATS_MAX, Seat};
pub use wire::{ENTRIES_BYTES_MAX, ENTRIES_MAX, MESSAGE_BYTES_MAX, MessageError, PLAIN_BYTES_MAX, ROSTER_MAX};
