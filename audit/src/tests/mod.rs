//! Tests of the room as a whole: honest logs, every kind of tampering, hostile files.

mod checks;
mod flips;
mod honest;
mod hostile;
mod tamper;
mod world;
