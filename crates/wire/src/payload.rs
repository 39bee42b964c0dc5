//! What a QUERY's and a refusal's commitment hides from the log.

use std::fmt;

use prost::Message;
use puente_model::{Digest, Millis, Mode, OfficerId, Role, Secret32, Urgency, digest as labelled, limits};

use crate::codec::{bounded, code, optional_digest};
use crate::scan::Repeated;
use crate::strict::{Strict, decode, whole};
use crate::{WireError, label, proto};

/// The repeated fields of payloads.
pub(crate) const PAYLOAD_REPEATED: &[Repeated] =
    &[Repeated { path: &[5], packed: false, max: limits::PARAMS_PER_QUERY_MAX, name: "params" }];
/// The repeated fields of explanations: no more fields can be missing than a query may have.
pub(crate) const EXPLANATION_REPEATED: &[Repeated] =
    &[Repeated { path: &[5], packed: false, max: limits::PARAMS_PER_QUERY_MAX, name: "fields" }];

/// The person who asks: named in every query, committed, never in the clear.
#[derive(Clone, PartialEq, Eq)]
pub struct Officer {
    /// Individual id within the agency.
    pub id: OfficerId,
    /// Name.
    pub name: String,
    /// Role.
    pub role: Role,
    /// End of the grant.
    pub expires: Millis,
}

impl Officer {
    fn read(message: &mut Strict<'_>) -> Option<Self> {
        Some(Self {
            id: message.name(1)?,
            name: message.text(2)?.to_owned(),
            role: message.code(3, Role::from_code)?,
            expires: Millis(message.number(4)?),
        })
    }
}

impl fmt::Debug for Officer {
    // Officers are persons too: a log line must not name them.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Officer({})", self.role)
    }
}

/// The committed part of a QUERY.
#[derive(Clone, PartialEq, Eq)]
pub struct QueryPayload {
    /// When it was asked.
    pub asked_at: Millis,
    /// Its deadline.
    pub due_at: Millis,
    /// Case file of the asker.
    pub case_ref: String,
    /// Who asks.
    pub officer: Officer,
    /// Parameters, ascending by name, normalised by the catalogue.
    pub params: Vec<(String, String)>,
    /// How urgent.
    pub urgency: Urgency,
    /// Why urgent.
    pub justification: String,
    /// Steps 2 and 3: what a human states.
    pub facts_statement: String,
    /// The offence investigated.
    pub offence: String,
    /// One-time X25519 public key that the content key is sealed to.
    pub reply_key: [u8; 32],
    /// Steps 2 and 3: leaf hash of the step-1 ANSWER that a human confirmed.
    pub confirms: Option<Digest>,
}

impl fmt::Debug for QueryPayload {
    // Parameters are the subject of an investigation.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "QueryPayload(asked {}, due {})", self.asked_at, self.due_at)
    }
}

impl QueryPayload {
    /// The canonical bytes.
    pub fn encode(&self) -> Vec<u8> {
        self.to_proto().encode_to_vec()
    }

    /// Decodes canonical bytes, within limits.
    pub fn decode(bytes: &[u8]) -> Result<Self, WireError> {
        if bytes.len() > limits::QUERY_BYTES_MAX {
            return Err(WireError::TooLarge {
                what: "query payload",
                bytes: bytes.len(),
                max: limits::QUERY_BYTES_MAX,
            });
        }
        decode(bytes, Self::read, Self::decode_by_encoding)
    }

    pub(crate) fn read(message: &mut Strict<'_>) -> Option<Self> {
        let (asked_at, due_at) = (Millis(message.number(1)?), Millis(message.number(2)?));
        let case_ref = message.text(3)?.to_owned();
        let officer = message.message(4, Officer::read)?;
        let mut params: Vec<(String, String)> = Vec::new();
        message.each(5, limits::PARAMS_PER_QUERY_MAX, |param| {
            let (name, value) = whole(param, |param| Some((param.text(1)?, param.text(2)?)))?;
            if params.last().is_some_and(|(last, _)| last.as_str() >= name) {
                return None;
            }
            params.push((name.to_owned(), value.to_owned()));
            Some(())
        })?;
        Some(Self {
            asked_at,
            due_at,
            case_ref,
            officer,
            params,
            urgency: message.code(6, Urgency::from_code)?,
            justification: message.text(7)?.to_owned(),
            facts_statement: message.text(8)?.to_owned(),
            offence: message.text(9)?.to_owned(),
            reply_key: message.bytes(10)?.try_into().ok()?,
            confirms: message.optional_digest(11)?,
        })
    }

    /// Decodes by what the schema allows, and compares with what the payload encodes to.
    pub(crate) fn decode_by_encoding(bytes: &[u8]) -> Result<Self, WireError> {
        bounded(bytes, PAYLOAD_REPEATED)?;
        let raw = proto::QueryPayload::decode(bytes).map_err(|_| WireError::Undecodable("QueryPayload"))?;
        let officer = raw.officer.ok_or(WireError::Field("officer"))?;
        let params: Vec<_> = raw.params.into_iter().map(|p| (p.name, p.value)).collect();
        if !params.windows(2).all(|w| w[0].0 < w[1].0) {
            return Err(WireError::Field("params"));
        }
        let payload = Self {
            asked_at: Millis(raw.asked_at_millis),
            due_at: Millis(raw.due_at_millis),
            case_ref: raw.case_ref,
            officer: Officer {
                id: officer.id.parse()?,
                name: officer.name,
                role: code(Role::from_code(officer.role), "role")?,
                expires: Millis(officer.expires_millis),
            },
            params,
            urgency: code(Urgency::from_code(raw.urgency), "urgency")?,
            justification: raw.justification,
            facts_statement: raw.facts_statement,
            offence: raw.offence,
            reply_key: raw.reply_key.as_slice().try_into().map_err(|_| WireError::Field("reply_key"))?,
            confirms: optional_digest(&raw.confirms, "confirms")?,
        };
        if payload.encode() == bytes { Ok(payload) } else { Err(WireError::NotCanonical("query payload")) }
    }

    /// The commitment that stands in the QUERY.
    pub fn commit(mode: Mode, payload: &[u8], salt: &Secret32) -> Digest {
        labelled(label::query(mode), &[salt.expose(), payload])
    }

    fn to_proto(&self) -> proto::QueryPayload {
        proto::QueryPayload {
            asked_at_millis: self.asked_at.0,
            due_at_millis: self.due_at.0,
            case_ref: self.case_ref.clone(),
            officer: Some(proto::Officer {
                id: self.officer.id.to_string(),
                name: self.officer.name.clone(),
                role: self.officer.role.code(),
                expires_millis: self.officer.expires.0,
            }),
            params: self.params.iter().map(|(n, v)| proto::Param { name: n.clone(), value: v.clone() }).collect(),
            urgency: self.urgency.code(),
            justification: self.justification.clone(),
            facts_statement: self.facts_statement.clone(),
            offence: self.offence.clone(),
            reply_key: self.reply_key.to_vec(),
            confirms: self.confirms.map(|d| d.0.to_vec()).unwrap_or_default(),
        }
    }
}

/// Why nothing was disclosed: the committed part of a no-hit or a REFUSAL.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Explanation {
    /// When it was decided.
    pub at: Millis,
    /// The deciding rule, where there is one.
    pub rule: String,
    /// For people, in English.
    pub text_en: String,
    /// For people, in Spanish.
    pub text_es: String,
    /// NEEDS_DATA: the fields that are missing.
    pub fields: Vec<String>,
    /// DUPLICATE_OF: leaf hash of the QUERY it duplicates.
    pub duplicate_of: Option<Digest>,
    /// How to appeal, in English; empty where nobody says.
    pub appeal_en: String,
    /// How to appeal, in Spanish.
    pub appeal_es: String,
}

impl Explanation {
    /// The canonical bytes.
    pub fn encode(&self) -> Vec<u8> {
        proto::Explanation {
            at_millis: self.at.0,
            rule: self.rule.clone(),
            text_en: self.text_en.clone(),
            text_es: self.text_es.clone(),
            fields: self.fields.clone(),
            duplicate_of: self.duplicate_of.map(|d| d.0.to_vec()).unwrap_or_default(),
            appeal_en: self.appeal_en.clone(),
            appeal_es: self.appeal_es.clone(),
        }
        .encode_to_vec()
    }

    pub(crate) fn read(message: &mut Strict<'_>) -> Option<Self> {
        let (at, rule) = (Millis(message.number(1)?), message.text(2)?.to_owned());
        let (text_en, text_es) = (message.text(3)?.to_owned(), message.text(4)?.to_owned());
        let mut fields = Vec::new();
        message.each(5, limits::PARAMS_PER_QUERY_MAX, |field| {
            fields.push(std::str::from_utf8(field).ok()?.to_owned());
            Some(())
        })?;
        let duplicate_of = message.optional_digest(6)?;
        let (appeal_en, appeal_es) = (message.text(7)?.to_owned(), message.text(8)?.to_owned());
        Some(Self { at, rule, text_en, text_es, fields, duplicate_of, appeal_en, appeal_es })
    }

    /// Decodes by what the schema allows, and compares with what the explanation encodes to.
    pub(crate) fn decode_by_encoding(bytes: &[u8]) -> Result<Self, WireError> {
        bounded(bytes, EXPLANATION_REPEATED)?;
        let raw = proto::Explanation::decode(bytes).map_err(|_| WireError::Undecodable("Explanation"))?;
        let explanation = Self {
            at: Millis(raw.at_millis),
            rule: raw.rule,
            text_en: raw.text_en,
            text_es: raw.text_es,
            fields: raw.fields,
            duplicate_of: optional_digest(&raw.duplicate_of, "duplicate_of")?,
            appeal_en: raw.appeal_en,
            appeal_es: raw.appeal_es,
        };
        if explanation.encode() == bytes { Ok(explanation) } else { Err(WireError::NotCanonical("explanation")) }
    }

    /// The commitment that stands in the ANSWER or REFUSAL.
    pub fn commit(mode: Mode, explanation: &[u8], salt: &Secret32) -> Digest {
        labelled(label::plain(mode), &[salt.expose(), explanation])
    }
}

/// Decodes an [`Explanation`] from canonical bytes.
pub fn explanation_from_bytes(bytes: &[u8]) -> Result<Explanation, WireError> {
    if bytes.len() > limits::QUERY_BYTES_MAX {
        return Err(WireError::TooLarge { what: "explanation", bytes: bytes.len(), max: limits::QUERY_BYTES_MAX });
    }
    decode(bytes, Explanation::read, Explanation::decode_by_encoding)
}
