//! The hands: config, driver, QUIC, stores, the `puente` command.

pub mod config;
