//! Bytes to model and back, with size limits.
