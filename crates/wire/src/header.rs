//! What a veiled entry commits to: a domestic pair entry, or a local event.

use std::fmt;

use prost::Message;
use puente_model::{
    CharterVector, Digest, EventKind, ExchangeId, LegalBasisId, Millis, NodeUri, Purpose, RefusalReason, Role,
    Secret32, digest as labelled, limits,
};

use crate::codec::{bounded, code, exchange, optional_digest, vector};
use crate::scan::Repeated;
use crate::strict::{Strict, decode};
use crate::{Pair, WireError, label, proto};

/// What a veiled entry commits to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Header {
    /// A pair entry of a domestic exchange.
    Pair(Pair),
    /// A local event.
    Event(Event),
}

/// A local event, readable by the own nation's auditors.
#[derive(Clone, PartialEq, Eq)]
pub struct Event {
    /// What happened.
    pub kind: EventKind,
    /// When.
    pub at: Millis,
    /// Leaf hash of the entry it is about.
    pub quoted: Option<Digest>,
    /// The exchange it is about.
    pub exchange: Option<ExchangeId>,
    /// The other node.
    pub peer: Option<NodeUri>,
    /// Record type of the catalogue, where records are concerned.
    pub record_type: String,
    /// How many records or faults.
    pub count: u64,
    /// Why.
    pub purpose: Option<Purpose>,
    /// On which legal basis.
    pub basis: Option<LegalBasisId>,
    /// Role of the officer.
    pub role: Option<Role>,
    /// Why refused.
    pub reason: Option<RefusalReason>,
    /// The charter in force.
    pub charter: CharterVector,
    /// The policy set in force; none before one is loaded.
    pub policy_hash: Option<Digest>,
    /// Commitment to the details, whose opening stays in the evidence store.
    pub detail: Option<Digest>,
}

impl Event {
    /// An event with nothing but its kind and time.
    pub fn new(kind: EventKind, at: Millis, charter: CharterVector) -> Self {
        Self {
            kind,
            at,
            quoted: None,
            exchange: None,
            peer: None,
            record_type: String::new(),
            count: 0,
            purpose: None,
            basis: None,
            role: None,
            reason: None,
            charter,
            policy_hash: None,
            detail: None,
        }
    }
}

impl fmt::Debug for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Event({} at {})", self.kind, self.at)
    }
}

/// Name of a record type.
const RECORD_TYPE_BYTES_MAX: usize = 128;

/// The repeated fields of headers.
pub(crate) const REPEATED: &[Repeated] = &[
    Repeated { path: &[1, 14, 2], packed: false, max: limits::NATIONS_MAX, name: "charter annexes" },
    Repeated { path: &[1, 29, 5], packed: false, max: limits::HOLES_PER_PERIOD_MAX, name: "period holes" },
    Repeated { path: &[2, 13, 2], packed: false, max: limits::NATIONS_MAX, name: "charter annexes" },
];

impl Header {
    /// The canonical bytes.
    pub fn encode(&self) -> Vec<u8> {
        let body = match self {
            Self::Pair(pair) => proto::header::Body::Pair(pair.to_proto()),
            Self::Event(event) => proto::header::Body::Event(event.to_proto()),
        };
        proto::Header { body: Some(body) }.encode_to_vec()
    }

    /// Decodes canonical bytes; refuses any other encoding of the same header.
    pub fn decode(bytes: &[u8]) -> Result<Self, WireError> {
        if bytes.len() > limits::ENTRY_BYTES_MAX {
            return Err(WireError::TooLarge { what: "header", bytes: bytes.len(), max: limits::ENTRY_BYTES_MAX });
        }
        decode(bytes, Self::read, Self::decode_by_encoding)
    }

    pub(crate) fn read(message: &mut Strict<'_>) -> Option<Self> {
        match message.optional_message(1, |pair| Pair::read(pair, None))? {
            Some(pair) => Some(Self::Pair(pair)),
            None => message.message(2, Event::read).map(Self::Event),
        }
    }

    /// Decodes by what the schema allows, and compares with what the header encodes to.
    pub(crate) fn decode_by_encoding(bytes: &[u8]) -> Result<Self, WireError> {
        bounded(bytes, REPEATED)?;
        let raw = proto::Header::decode(bytes).map_err(|_| WireError::Undecodable("Header"))?;
        let header = match raw.body {
            Some(proto::header::Body::Pair(pair)) => Self::Pair(Pair::from_proto(pair)?),
            Some(proto::header::Body::Event(event)) => Self::Event(Event::from_proto(event)?),
            None => return Err(WireError::Field("header")),
        };
        if header.encode() == bytes { Ok(header) } else { Err(WireError::NotCanonical("header")) }
    }

    /// The commitment that stands in the veiled entry.
    pub fn commit(header: &[u8], salt: &Secret32) -> Digest {
        labelled(label::VEIL, &[salt.expose(), header])
    }
}

impl Event {
    fn read(message: &mut Strict<'_>) -> Option<Self> {
        let kind = message.code(1, EventKind::from_code)?;
        if message.small(2)? != kind.stage().code() {
            return None;
        }
        let at = Millis(message.number(3)?);
        let quoted = message.optional_digest(4)?;
        let exchange = match message.bytes(5)? {
            [] => None,
            bytes => Some(bytes.try_into().ok()?),
        };
        let peer = optional_name(message.text(6)?)?;
        let record_type = message.text(7)?;
        if record_type.len() > RECORD_TYPE_BYTES_MAX {
            return None;
        }
        Some(Self {
            kind,
            at,
            quoted,
            exchange,
            peer,
            record_type: record_type.to_owned(),
            count: message.number(8)?,
            purpose: message.optional_code(9, Purpose::from_code)?,
            basis: optional_name(message.text(10)?)?,
            role: message.optional_code(11, Role::from_code)?,
            reason: message.optional_code(12, RefusalReason::from_code)?,
            charter: message.vector(13)?,
            policy_hash: message.optional_digest(14)?,
            detail: message.optional_digest(15)?,
        })
    }

    fn to_proto(&self) -> proto::Event {
        proto::Event {
            kind: self.kind.code(),
            stage: self.kind.stage().code(),
            at_millis: self.at.0,
            quoted: self.quoted.map(|d| d.0.to_vec()).unwrap_or_default(),
            exchange_id: self.exchange.map(|x| x.0.to_vec()).unwrap_or_default(),
            peer: self.peer.as_ref().map(ToString::to_string).unwrap_or_default(),
            record_type: self.record_type.clone(),
            count: self.count,
            purpose: self.purpose.map(Purpose::code).unwrap_or_default(),
            legal_basis: self.basis.as_ref().map(ToString::to_string).unwrap_or_default(),
            role: self.role.map(Role::code).unwrap_or_default(),
            reason: self.reason.map(RefusalReason::code).unwrap_or_default(),
            charter: Some((&self.charter).into()),
            policy_hash: self.policy_hash.map(|d| d.0.to_vec()).unwrap_or_default(),
            detail: self.detail.map(|d| d.0.to_vec()).unwrap_or_default(),
        }
    }

    fn from_proto(raw: proto::Event) -> Result<Self, WireError> {
        fn optional<T>(raw: u32, from: fn(u32) -> Option<T>, field: &'static str) -> Result<Option<T>, WireError> {
            if raw == 0 { Ok(None) } else { code(from(raw), field).map(Some) }
        }
        if raw.record_type.len() > RECORD_TYPE_BYTES_MAX {
            return Err(WireError::Field("record_type"));
        }
        Ok(Self {
            kind: code(EventKind::from_code(raw.kind), "kind")?,
            at: Millis(raw.at_millis),
            quoted: optional_digest(&raw.quoted, "quoted")?,
            exchange: if raw.exchange_id.is_empty() { None } else { Some(exchange(&raw.exchange_id)?) },
            peer: if raw.peer.is_empty() { None } else { Some(raw.peer.parse()?) },
            record_type: raw.record_type,
            count: raw.count,
            purpose: optional(raw.purpose, Purpose::from_code, "purpose")?,
            basis: if raw.legal_basis.is_empty() { None } else { Some(raw.legal_basis.parse()?) },
            role: optional(raw.role, Role::from_code, "role")?,
            reason: optional(raw.reason, RefusalReason::from_code, "reason")?,
            charter: vector(raw.charter)?,
            policy_hash: optional_digest(&raw.policy_hash, "policy_hash")?,
            detail: optional_digest(&raw.detail, "detail")?,
        })
    }
}

/// No name for no text; `None` for a text that is none.
fn optional_name<T: std::str::FromStr>(text: &str) -> Option<Option<T>> {
    if text.is_empty() { Some(None) } else { text.parse().ok().map(Some) }
}
