//! Tests of the room as a whole: honest logs, every kind of tampering, hostile files.

mod checks;
mod flips;
mod honest;
mod hostile;
mod kinds;
mod kinds_history;
mod kinds_rules;
mod tamper;
mod world;
