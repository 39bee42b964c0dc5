//! The hands: config, driver, QUIC, stores, the `puente` command.

pub mod answering;
pub mod approval;
pub mod auditors;
pub mod ca;
pub mod cli;
pub mod config;
pub mod control;
pub mod control_api;
pub mod demo;
pub mod disk;
pub mod driver;
pub mod files;
pub mod http;
pub mod import;
pub mod inbox;
pub mod init;
pub mod load;
pub mod net;
pub mod node;
pub mod officers;
pub mod ops;
pub mod outbox;
pub mod parts;
pub mod records;
pub mod renewal;
pub mod signer;
