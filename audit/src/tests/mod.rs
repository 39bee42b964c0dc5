//! Tests of the room as a whole: honest logs, every kind of tampering, hostile files.

mod checks;
mod domestic;
mod flips;
mod freshness;
mod groups;
mod honest;
mod hostile;
mod kinds;
mod kinds_history;
mod kinds_rules;
mod last;
mod ledgers;
mod parts;
mod report;
mod tamper;
mod training;
mod world;

/// The clock of these tests.
pub(crate) fn now() -> puente_model::Millis {
    puente_model::Millis(1_795_000_000_000)
}
