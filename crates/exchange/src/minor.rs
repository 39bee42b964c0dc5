//! Minor versions of the protocol: what each brought, and what is said to a peer that speaks an older one.
//!
//! A minor version adds kinds of frames and optional fields of frames, nothing else: entries, their meaning and what must be checked
//! belong to the version. Each side names its minor in Ready, and neither sends a kind of frame that is younger than the other's.

use puente_wire::proto::frame::Body;

/// The minor version of this implementation.
pub const MINOR: u32 = 2;

/// The first minor version with charter parts on the line: Ready's `parts`, NeedPart, CharterPart.
pub(crate) const PARTS: u32 = 1;
/// The first minor version with questions that wait for a person: Pending.
pub(crate) const PENDING: u32 = 1;

/// The first minor version in which a successor log is handed what the one before it lost: Lost.
pub(crate) const LOST: u32 = 1;

/// The first minor version in which nodes cosign each other's heads: Submit, Judged.
pub(crate) const COSIGN: u32 = 2;

/// The first minor version with groups: Seek, Sought, AboutGroup, Relay, Relayed.
pub(crate) const GROUPS: u32 = 2;

/// The minor version that brought a kind of frame.
pub(crate) const fn of(body: &Body) -> u32 {
    match body {
        Body::NeedPart(_) | Body::CharterPart(_) => PARTS,
        Body::Pending(_) => PENDING,
        Body::Lost(_) => LOST,
        Body::Submit(_) | Body::Judged(_) => COSIGN,
        Body::Seek(_) | Body::Sought(_) | Body::AboutGroup(_) | Body::Relay(_) | Body::Relayed(_) => GROUPS,
        Body::Ready(_)
        | Body::Head(_)
        | Body::NeedHead(_)
        | Body::HeadProof(_)
        | Body::Ask(_)
        | Body::Reply(_)
        | Body::Acknowledge(_)
        | Body::Release(_)
        | Body::Deliver(_)
        | Body::Delivered(_)
        | Body::Probe(_)
        | Body::Have(_)
        | Body::Fault(_) => 0,
    }
}
