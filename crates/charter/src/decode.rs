//! From canonical bytes back to a part: how parts travel between nodes and stand in evidence.

use std::fmt::Display;
use std::str::FromStr;

use prost::Message as _;
use puente_model::limits::CHARTER_BYTES_MAX;
use puente_model::{Digest, Millis};

use crate::generated as pb;
use crate::{
    AnnexPart, AnnexPin, Auditor, CharterError, ClaimedPart, CommonPart, Corridor, GovernanceKey, JurisdictionEntry,
    LegalBasis, LogEntry, LogHead, Member, Part, PartSignature, SealKey, Witness, WitnessGroup,
};

/// Canonical bytes of a part, unverified.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PartBytes<'b> {
    /// `puente.v1.charter.CommonPart`.
    Common(&'b [u8]),
    /// `puente.v1.charter.AnnexPart`.
    Annex(&'b [u8]),
}

type Read<T> = Result<T, String>;

fn one<T>(text: &str) -> Read<T>
where
    T: FromStr,
    T::Err: Display,
{
    text.parse().map_err(|e: T::Err| e.to_string())
}

fn many<T>(texts: &[String]) -> Read<Vec<T>>
where
    T: FromStr,
    T::Err: Display,
{
    texts.iter().map(|text| one(text)).collect()
}

fn hash(bytes: &[u8]) -> Read<Digest> {
    Digest::try_from(bytes).map_err(|e| e.to_string())
}

fn key(bytes: &[u8]) -> Read<[u8; 32]> {
    bytes.try_into().map_err(|_| "a key is not 32 bytes".to_owned())
}

fn all<T, U>(items: &[T], read: impl Fn(&T) -> Read<U>) -> Read<Vec<U>> {
    items.iter().map(read).collect()
}

impl ClaimedPart {
    /// Reads a part that travelled: canonical bytes, and its signatures (key name, 64 bytes).
    ///
    /// # Errors
    /// [`CharterError::TooLarge`], [`CharterError::Canonical`] or [`CharterError::Defect`]; signatures are not judged.
    pub fn from_canonical(bytes: PartBytes<'_>, signatures: &[(String, Vec<u8>)]) -> Result<Self, CharterError> {
        let (PartBytes::Common(raw) | PartBytes::Annex(raw)) = bytes;
        let what = if matches!(bytes, PartBytes::Common(_)) { "a common part" } else { "an annex" };
        if raw.len() > CHARTER_BYTES_MAX {
            let (found, max) = (raw.len(), CHARTER_BYTES_MAX);
            return Err(CharterError::TooLarge { part: what.to_owned(), found, max });
        }
        let wrong = |why: String| CharterError::Canonical { part: what.to_owned(), why };
        let (part, again) = match bytes {
            PartBytes::Common(raw) => {
                let part = common(raw).map_err(wrong)?;
                let again = part.canonical_bytes();
                (Part::Common(part), again)
            }
            PartBytes::Annex(raw) => {
                let part = annex(raw).map_err(wrong)?;
                let again = part.canonical_bytes();
                (Part::Annex(part), again)
            }
        };
        if again != raw {
            return Err(wrong("its bytes are not the canonical ones".to_owned()));
        }
        let line = |(name, bytes): &(String, Vec<u8>)| {
            let signature = bytes.as_slice().try_into().map_err(|_| wrong("a signature is not 64 bytes".to_owned()))?;
            let signature = PartSignature { key_name: name.clone(), signature };
            // A name that its own file could not hold must not come in by another way.
            signature.to_string().parse::<PartSignature>().map_err(|why| wrong(why.to_owned()))
        };
        let signatures = signatures.iter().map(line).collect::<Result<_, _>>()?;
        let mut claimed = Self::new(what, part, signatures)?;
        claimed.file = claimed.id().file();
        Ok(claimed)
    }
}

fn common(raw: &[u8]) -> Read<CommonPart> {
    let p = pb::CommonPart::decode(raw).map_err(|e| e.to_string())?;
    Ok(CommonPart {
        federation: p.federation,
        number: p.number,
        previous: p.previous.as_deref().map(hash).transpose()?,
        valid_from: Millis(p.valid_from_millis),
        expires: Millis(p.expires_millis),
        grace_days: p.grace_days,
        cosign_bound_hours: p.cosign_bound_hours,
        audit_hold_days: p.audit_hold_days,
        period_minutes: p.period_minutes,
        catalogue: hash(&p.catalogue)?,
        sensitive_kinds: many(&p.sensitive_kinds)?,
        quorum: p.quorum,
        jurisdictions: all(&p.jurisdictions, jurisdiction)?,
        legal_bases: all(&p.legal_bases, legal_basis)?,
        auditors: all(&p.auditors, auditor)?,
        witnesses: all(&p.witnesses, |w| {
            let (name, vkey, url) = (w.name.clone(), w.vkey.clone(), w.url.clone());
            Ok(Witness { name, jurisdiction: one(&w.jurisdiction)?, vkey, url })
        })?,
        witness_groups: all(&p.witness_groups, |g| {
            Ok(WitnessGroup { name: g.name.clone(), need: one(&g.need)?, members: g.members.clone() })
        })?,
        corridors: all(&p.corridors, |c| {
            Ok(Corridor {
                name: c.name.clone(),
                convener: one(&c.convener)?,
                successors: many(&c.successors)?,
                members: many(&c.members)?,
                silence_seconds: c.silence_seconds,
                suite: u16::try_from(c.suite).map_err(|_| "a ciphersuite has a number below 65536".to_owned())?,
            })
        })?,
    })
}

fn jurisdiction(j: &pb::Jurisdiction) -> Read<JurisdictionEntry> {
    Ok(JurisdictionEntry {
        code: one(&j.code)?,
        name_en: j.name_en.clone(),
        name_es: j.name_es.clone(),
        threshold: j.threshold,
        ca_roots: j.ca_roots.clone(),
        annex: AnnexPin { number: j.annex_number, hash: hash(&j.annex_hash)? },
        governance_keys: all(&j.governance_keys, |k| Ok(GovernanceKey { name: k.name.clone(), key: key(&k.key)? }))?,
    })
}

fn legal_basis(b: &pb::LegalBasis) -> Read<LegalBasis> {
    Ok(LegalBasis {
        id: one(&b.id)?,
        title_en: b.title_en.clone(),
        title_es: b.title_es.clone(),
        purposes: many(&b.purposes)?,
        jurisdictions: many(&b.jurisdictions)?,
        expires: Millis(b.expires_millis),
    })
}

fn auditor(a: &pb::Auditor) -> Read<Auditor> {
    Ok(Auditor {
        name: a.name.clone(),
        jurisdiction: one(&a.jurisdiction)?,
        origin: one(&a.origin)?,
        vkey: a.vkey.clone(),
        seal_keys: all(&a.seal_keys, |k| Ok(SealKey { quarter: one(&k.quarter)?, key: key(&k.key)? }))?,
    })
}

fn annex(raw: &[u8]) -> Read<AnnexPart> {
    let p = pb::AnnexPart::decode(raw).map_err(|e| e.to_string())?;
    Ok(AnnexPart {
        federation: p.federation,
        jurisdiction: one(&p.jurisdiction)?,
        number: p.number,
        previous: p.previous.as_deref().map(hash).transpose()?,
        common: p.common,
        members: all(&p.members, member)?,
    })
}

fn member(m: &pb::Member) -> Read<Member> {
    Ok(Member {
        uri: one(&m.uri)?,
        name_en: m.name_en.clone(),
        name_es: m.name_es.clone(),
        roles: m.roles.clone(),
        endpoints: m.endpoints.clone(),
        suspended: m.suspended_reason.is_some(),
        suspended_reason: m.suspended_reason.clone(),
        logs: all(&m.logs, |l| {
            let head = |h: &pb::LogHead| Ok::<_, String>(LogHead { size: h.size, root: hash(&h.root)? });
            Ok(LogEntry {
                origin: one(&l.origin)?,
                vkey: l.vkey.clone(),
                closed_at: l.closed_at,
                first_head: l.first_head.as_ref().map(head).transpose()?,
            })
        })?,
    })
}
