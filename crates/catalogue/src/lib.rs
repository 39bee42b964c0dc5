//! Record types and query kinds, read from the descriptors; validation, normalisation, match keys.
