//! Measurements, beside their peers.
//!
//! `cargo run --release -p puente-bench -- NAME` prints one JSON object: the
//! machine's size, medians of interleaved passes, the ratios that matter, and
//! each goal with what was measured. Nothing here is a test: a busy machine makes
//! figures worse and breaks nothing. docs/BENCH.md says how to read them.
//!
//! | name | what |
//! |---|---|
//! | `log` | durable appends, hash replay, verification, memory |
//! | `exchange` | audited questions beside a bare echo and a unary call without any log |
//! | `engine` | the same exchanges between two engines alone: no disk, no sockets |
//! | `lookup` | key lookups beside the same prepared statement without Puente |
//! | `import` | records from a file into SQLite |
//! | `group` | groups of 4 to 1,000 members, fresh and settled; an alert to fifty |
//! | `corridor` | a question and an alert to all of 50 real nodes |
//! | `binding` | exchanges in an epoch of the pair's group, beside exchanges without groups |
//! | `attack` | what hostile peers cost a node |
//! | `small` | a node with a million records on one core and 512 MiB |

pub mod attack;
pub mod binding;
pub mod cage;
pub mod corridor;
pub mod echo;
pub mod engine;
pub mod exchange;
pub mod goal;
pub mod group;
pub mod import;
pub mod load;
pub mod log;
pub mod lookup;
pub mod machine;
pub mod peers;
pub mod pki;
pub mod process;
pub mod small;
pub mod stats;
pub mod unary;
pub mod world;

/// What can go wrong in a measurement: told, then it ends.
pub type Failure = Box<dyn std::error::Error + Send + Sync>;
