//! The conversation: from question to recorded, sealed, released answer.
//!
//! Sans-IO: time, randomness, disk and network arrive as arguments and leave as effects ([`api`]).

pub mod api;
