//! Codecs, canonical encoding, hostile bytes, committed vectors, and the specification's tables.

mod asides;
mod dump;
mod expansion;
mod malformed;
mod properties;
mod raw;
mod samples;
mod strategies;
mod strictly;
mod tables;
mod vectors;

use crate::proto::{self, Message as _};
use crate::{Alert, Entry, Header, QueryPayload, WireError, decode_frame, decode_said, explanation_from_bytes};

/// The kinds of bytes that this crate decodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Codec {
    Entry,
    Header,
    Payload,
    Explanation,
    Frame,
    Said,
    Alert,
}

impl Codec {
    pub(crate) const ALL: [Self; 7] =
        [Self::Entry, Self::Header, Self::Payload, Self::Explanation, Self::Frame, Self::Said, Self::Alert];

    /// The folder of its vectors.
    pub(crate) fn folder(self) -> &'static str {
        match self {
            Self::Entry => "entry",
            Self::Header => "header",
            Self::Payload => "payload",
            Self::Explanation => "explanation",
            Self::Frame => "frame",
            Self::Said => "said",
            Self::Alert => "alert",
        }
    }

    /// Its protobuf message.
    pub(crate) fn message(self) -> &'static str {
        match self {
            Self::Entry => "Entry",
            Self::Header => "Header",
            Self::Payload => "QueryPayload",
            Self::Explanation => "Explanation",
            Self::Frame => "Frame",
            Self::Said => "Said",
            Self::Alert => "Alert",
        }
    }

    /// Decodes and encodes again; frames are not canonical, so theirs are returned as they came.
    pub(crate) fn round_trip(self, bytes: &[u8]) -> Result<Vec<u8>, WireError> {
        match self {
            Self::Entry => Entry::decode(bytes).map(|entry| entry.encode()),
            Self::Header => Header::decode(bytes).map(|header| header.encode()),
            Self::Payload => QueryPayload::decode(bytes).map(|payload| payload.encode()),
            Self::Explanation => explanation_from_bytes(bytes).map(|explanation| explanation.encode()),
            Self::Frame => decode_frame(bytes).map(|_| bytes.to_vec()),
            Self::Said => decode_said(bytes).map(|body| proto::Said { body: Some(body) }.encode_to_vec()),
            Self::Alert => Alert::decode(bytes).map(|alert| alert.encode()),
        }
    }
}

/// The error's name as it stands in vectors: the variant, and of a field its name.
pub(crate) fn name(error: &WireError) -> String {
    match error {
        WireError::Undecodable(_) => "Undecodable".to_owned(),
        WireError::Field(field) => format!("Field {field}"),
        WireError::NotCanonical(_) => "NotCanonical".to_owned(),
        WireError::TooLarge { .. } => "TooLarge".to_owned(),
        WireError::TooMany { what, .. } => format!("TooMany {what}"),
        WireError::Version(_) => "Version".to_owned(),
    }
}
