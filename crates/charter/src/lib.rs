//! Who is who and under which rules: versions, k-of-n signatures, certificate
//! names, quorum policy.
//!
//! A charter is a **common part** (rules, nations with their authorities and
//! governance keys, legal bases, auditors, witnesses), signed by every nation,
//! and one **annex** per nation (its nodes and their logs), signed by that
//! nation alone. People write parts as `<name>.toml`; `<name>.toml.sig` beside
//! it holds one line per signature, `key-name base64`. Signatures cover the
//! hash of canonical bytes (`proto/puente/v1/charter.proto`), so layout and
//! comments of the TOML are free:
//!
//! ```text
//! part hash  = digest("puente/v1/charter/common" | "puente/v1/charter/annex", [canonical bytes])
//! signature  = Ed25519 over "puente/v1/charter-signature" ‖ 0x00 ‖ part hash (32 bytes)
//! ```
//!
//! [`ClaimedPart`] is what was read; [`Charter::verify`] turns the whole
//! history into the [`Charter`] in force, against the hash of common part 1
//! that was given out of band. The crate reads no clock, disk or network.

mod annex;
mod canonical;
pub mod certificate;
mod charter;
mod check;
mod claimed;
mod common;
mod decode;
mod error;
mod generated;
mod mend;
mod offer;
mod officer;
mod quarter;
mod signature;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
mod text;
mod verify;
mod vkey;
mod witness;

pub use annex::{AnnexPart, LogEntry, LogHead, Member};
pub use charter::{Charter, CharterStatus, LegalBasisError, WARN_DAYS};
pub use claimed::{ClaimedPart, Part};
pub use common::{
    AnnexPin, Auditor, CommonPart, Corridor, GovernanceKey, JurisdictionEntry, LegalBasis, SILENCE_MILLIS, SUITES,
    SealKey,
};
pub use decode::PartBytes;
pub use error::{CharterError, Conviction, Defect, VkeyError};
pub use offer::{Offer, PartId};
pub use officer::{EMERGENCY_MILLIS_MAX, OfficerError, OfficerRecord, Officers, REVIEW_MILLIS};
pub use quarter::{Quarter, quarter_of};
pub use signature::{PartSignature, parse_signatures, sign, signed_message};
pub use witness::{Need, OwnedWitnessPolicy, Witness, WitnessGroup, WitnessPolicy};
