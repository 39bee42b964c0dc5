//! The eyes: verify, reconcile, classify and prove, from copied files alone.
