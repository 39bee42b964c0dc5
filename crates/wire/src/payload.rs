//! What a QUERY's and a refusal's commitment hides from the log.

use std::fmt;

use prost::Message;
use puente_model::{Digest, Millis, OfficerId, Role, Secret32, Urgency, digest as labelled, limits};

use crate::codec::{bounded, code, optional_digest};
use crate::scan::Repeated;
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
    pub fn commit(payload: &[u8], salt: &Secret32) -> Digest {
        labelled(label::QUERY, &[salt.expose(), payload])
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
        }
        .encode_to_vec()
    }

    /// The commitment that stands in the ANSWER or REFUSAL.
    pub fn commit(explanation: &[u8], salt: &Secret32) -> Digest {
        labelled(label::PLAIN, &[salt.expose(), explanation])
    }
}

/// Decodes an [`Explanation`] from canonical bytes.
pub fn explanation_from_bytes(bytes: &[u8]) -> Result<Explanation, WireError> {
    if bytes.len() > limits::QUERY_BYTES_MAX {
        return Err(WireError::TooLarge { what: "explanation", bytes: bytes.len(), max: limits::QUERY_BYTES_MAX });
    }
    bounded(bytes, EXPLANATION_REPEATED)?;
    let raw = proto::Explanation::decode(bytes).map_err(|_| WireError::Undecodable("Explanation"))?;
    let explanation = Explanation {
        at: Millis(raw.at_millis),
        rule: raw.rule,
        text_en: raw.text_en,
        text_es: raw.text_es,
        fields: raw.fields,
        duplicate_of: optional_digest(&raw.duplicate_of, "duplicate_of")?,
    };
    if explanation.encode() == bytes { Ok(explanation) } else { Err(WireError::NotCanonical("explanation")) }
}
