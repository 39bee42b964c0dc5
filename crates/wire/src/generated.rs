//! Code generated from `proto/puente/v1/{entry,evidence,frame}.proto`; a test regenerates it and compares.
#![allow(missing_docs, unreachable_pub, clippy::all)]
include!("generated/puente.v1.rs");

/// What travels between two nodes.
pub mod wire {
    include!("generated/puente.v1.wire.rs");
}

// It compares files.
#[allow(clippy::disallowed_methods)]
#[cfg(test)]
mod test;
