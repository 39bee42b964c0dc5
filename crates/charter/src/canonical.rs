//! Canonical bytes: the parts as protobuf messages, encoded in one way only.
//!
//! prost writes fields in ascending order and leaves default values out; the
//! messages hold no maps and no unknown fields, so equal parts have equal bytes.

use prost::Message as _;
use puente_model::{Digest, Jurisdiction, Label, NodeUri, Purpose, QueryKind, digest};

use crate::generated as pb;
use crate::{AnnexPart, Auditor, CommonPart, JurisdictionEntry, LegalBasis, LogEntry, Member};

const COMMON: Label = Label("puente/v1/charter/common");
const ANNEX: Label = Label("puente/v1/charter/annex");

fn bytes(digest: &Digest) -> Vec<u8> {
    digest.as_bytes().to_vec()
}

impl CommonPart {
    /// The bytes that the part's hash covers (`puente.v1.charter.CommonPart`).
    pub fn canonical_bytes(&self) -> Vec<u8> {
        pb::CommonPart {
            federation: self.federation.clone(),
            number: self.number,
            previous: self.previous.as_ref().map(bytes),
            valid_from_millis: self.valid_from.0,
            expires_millis: self.expires.0,
            grace_days: self.grace_days,
            cosign_bound_hours: self.cosign_bound_hours,
            audit_hold_days: self.audit_hold_days,
            period_minutes: self.period_minutes,
            catalogue: bytes(&self.catalogue),
            sensitive_kinds: self.sensitive_kinds.iter().map(QueryKind::to_string).collect(),
            quorum: self.quorum.clone(),
            jurisdictions: self.jurisdictions.iter().map(jurisdiction).collect(),
            legal_bases: self.legal_bases.iter().map(legal_basis).collect(),
            auditors: self.auditors.iter().map(auditor).collect(),
            witnesses: self
                .witnesses
                .iter()
                .map(|w| pb::Witness {
                    name: w.name.clone(),
                    jurisdiction: w.jurisdiction.to_string(),
                    vkey: w.vkey.clone(),
                    url: w.url.clone(),
                })
                .collect(),
            witness_groups: self
                .witness_groups
                .iter()
                .map(|g| pb::WitnessGroup {
                    name: g.name.clone(),
                    need: g.need.to_string(),
                    members: g.members.clone(),
                })
                .collect(),
            corridors: self
                .corridors
                .iter()
                .map(|c| pb::Corridor {
                    name: c.name.clone(),
                    convener: c.convener.to_string(),
                    successors: c.successors.iter().map(NodeUri::to_string).collect(),
                    members: c.members.iter().map(NodeUri::to_string).collect(),
                    silence_seconds: c.silence_seconds,
                    suite: c.suite.into(),
                })
                .collect(),
        }
        .encode_to_vec()
    }

    /// The part's hash: what its signatures cover, what its successor names and what a pin holds.
    pub fn hash(&self) -> Digest {
        digest(COMMON, &[&self.canonical_bytes()])
    }
}

impl AnnexPart {
    /// The bytes that the part's hash covers (`puente.v1.charter.AnnexPart`).
    pub fn canonical_bytes(&self) -> Vec<u8> {
        pb::AnnexPart {
            federation: self.federation.clone(),
            jurisdiction: self.jurisdiction.to_string(),
            number: self.number,
            previous: self.previous.as_ref().map(bytes),
            common: self.common,
            members: self.members.iter().map(member).collect(),
        }
        .encode_to_vec()
    }

    /// The part's hash: what its signatures cover, what its successor names and what a common part pins.
    pub fn hash(&self) -> Digest {
        digest(ANNEX, &[&self.canonical_bytes()])
    }
}

fn jurisdiction(j: &JurisdictionEntry) -> pb::Jurisdiction {
    pb::Jurisdiction {
        code: j.code.to_string(),
        name_en: j.name_en.clone(),
        name_es: j.name_es.clone(),
        threshold: j.threshold,
        governance_keys: j
            .governance_keys
            .iter()
            .map(|k| pb::GovernanceKey { name: k.name.clone(), key: k.key.to_vec() })
            .collect(),
        ca_roots: j.ca_roots.clone(),
        annex_number: j.annex.number,
        annex_hash: bytes(&j.annex.hash),
    }
}

fn legal_basis(b: &LegalBasis) -> pb::LegalBasis {
    pb::LegalBasis {
        id: b.id.to_string(),
        title_en: b.title_en.clone(),
        title_es: b.title_es.clone(),
        purposes: b.purposes.iter().map(Purpose::to_string).collect(),
        jurisdictions: b.jurisdictions.iter().map(Jurisdiction::to_string).collect(),
        expires_millis: b.expires.0,
    }
}

fn auditor(a: &Auditor) -> pb::Auditor {
    pb::Auditor {
        name: a.name.clone(),
        jurisdiction: a.jurisdiction.to_string(),
        origin: a.origin.to_string(),
        vkey: a.vkey.clone(),
        seal_keys: a
            .seal_keys
            .iter()
            .map(|k| pb::SealKey { quarter: k.quarter.to_string(), key: k.key.to_vec() })
            .collect(),
    }
}

fn member(m: &Member) -> pb::Member {
    pb::Member {
        uri: m.uri.to_string(),
        name_en: m.name_en.clone(),
        name_es: m.name_es.clone(),
        roles: m.roles.clone(),
        endpoints: m.endpoints.clone(),
        logs: m.logs.iter().map(log).collect(),
        suspended_reason: m.suspended_reason.clone(),
    }
}

fn log(l: &LogEntry) -> pb::Log {
    pb::Log {
        origin: l.origin.to_string(),
        vkey: l.vkey.clone(),
        closed_at: l.closed_at,
        first_head: l.first_head.as_ref().map(|h| pb::LogHead { size: h.size, root: bytes(&h.root) }),
    }
}
