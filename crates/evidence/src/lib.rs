//! Answer trees and their guard, sealed bodies, escrow, evidence packages.
//!
//! Everything here is composed of standard parts and does no IO; randomness is
//! an argument. Who may see what, and when, is decided elsewhere.
//!
//! | module | what it makes | of what |
//! |---|---|---|
//! | [`tree`] | the commitment to an answer's fields | rs_merkle, RFC 6962 hashes |
//! | [`guard`] | proofs that survive a hostile sender | rs_merkle behind checks |
//! | [`sealing`] | a body that cannot be read before Release | AES-256-GCM, HPKE (RFC 9180) |
//! | [`escrow`] | openings that need an auditor of each nation | HKDF-SHA256, AES-256-GCM, HPKE |
//! | [`veil`] | headers that own auditors can read | HKDF-SHA256, AES-256-GCM, HPKE |
//! | [`disclosure`] | a few fields of an answer, proven to a court | the tree and its guard |
//!
//! # Keys and nonces
//!
//! Every AES-256-GCM key in this crate encrypts exactly one message: a content
//! key is fresh for each body, an escrow or header key is derived from the
//! entry it belongs to. GCM needs nonces that never repeat *under one key*, so
//! the nonce of a single-use key is twelve zero bytes. GCM alone does not bind
//! a ciphertext to one key; here each key, share or content is also covered by
//! a SHA-256 commitment in the log.
//!
//! # Randomness
//!
//! All randomness that reaches an output comes from the caller. The HPKE
//! provider also seeds a generator of its own from the operating system each
//! time a context is set up (it would panic where that source fails), and offers
//! no way to prevent it; encapsulation here is computed from the caller's
//! randomness instead (RFC 9180 §4.1 over the provider's primitives), and the
//! provider's generator stays unused.

pub mod disclosure;
pub mod escrow;
pub mod guard;
mod hpke;
mod keys;
pub mod sealing;
mod seed;
#[cfg(test)]
mod testing;
pub mod tree;
#[cfg(test)]
mod vectors_test;
pub mod veil;

pub use disclosure::{DisclosureError, DisclosureSource, VerifiedDisclosure};
pub use escrow::{CheckedEscrow, EscrowError, EscrowSeeds, EscrowedEntry, Share};
pub use guard::{GuardError, Multiproof};
pub use hpke::{HpkeError, HpkeKeyPair, Psk};
pub use sealing::{CheckedSealed, ReplyKey, SealError, SealedAnswer};
pub use seed::{AuditorKey, SeedError, open_seed};
pub use tree::{AnswerTree, TreeError, VerifiedBody};
pub use veil::{HeaderSeed, OpenedHeader, VeilError};
