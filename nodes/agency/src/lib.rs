//! The hands: config, driver, QUIC, stores, the `puente` command.

pub mod ca;
pub mod config;
pub mod disk;
pub mod files;
pub mod import;
pub mod load;
pub mod officers;
