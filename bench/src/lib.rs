//! Measurements, beside their peers.
