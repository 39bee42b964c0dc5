//! The control socket: [`Command`]s to the running node, one JSON object a line, over a Unix socket that only its
//! owner can open.
//!
//! ```text
//! → {"id":1,"cmd":"query","to":"puente://us/tx-dps/n1","kind":"vehicle.status",…,"due_in_millis":60000}
//! → {"id":2,"cmd":"status"}
//! ← {"id":2,"micros":35,"answer":"status","status":{…}}
//! ← {"id":1,"micros":3912,"answer":"concluded","conclusion":"answered","outcome":"hit",…}
//! ```
//!
//! Many commands may be under way on one connection: answers come as they are ready, each with its command's `id`
//! and the microseconds it took. Whoever closes the connection gives up its questions.
//!
//! Thief: whoever can open the socket asks as any officer on record; it can neither read keys nor rewrite the log.

mod client;
mod server;
#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize};

use crate::control_api::{Answer, Command};

pub use client::{ClientError, ControlClient, ControlReceiver, ControlSender, Numbered};
pub use server::{Backend, Listener, ServeError, bind, serve};

/// The longest line of a command, in bytes.
pub const COMMAND_BYTES_MAX: usize = 256 * 1024;
/// Commands under way on one connection.
pub const IN_FLIGHT_MAX: usize = 8_192;

/// A command with the number that comes back in its answer.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Request {
    /// 0 for a client that sends one command at a time.
    #[serde(default)]
    id: u64,
    #[serde(flatten)]
    command: Command,
}

/// An answer with its command's number.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Reply {
    id: u64,
    /// From reading the command to its answer.
    #[serde(default)]
    micros: u64,
    #[serde(flatten)]
    answer: Answer,
}

/// An answer that says why something was not done.
pub fn failure(code: &str, message: impl std::fmt::Display, hint: &str) -> Answer {
    Answer::Error { code: code.to_owned(), message: message.to_string(), hint: hint.to_owned() }
}
