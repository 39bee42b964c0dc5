use std::collections::HashSet;
use std::fmt;

use puente_model::{
    AuditorUri, Digest, Jurisdiction, LegalBasisId, Millis, NameError, NodeUri, Origin, Purpose, QueryKind,
};
use serde::{Deserialize, Serialize};

use crate::check::{distinct, range, slug, text};
use crate::text::{INSTANT_MAX, blobs, key32, many, maybe, one, when};
use crate::vkey::{self, Holder};
use crate::witness::{Witness, WitnessGroup, check_witnesses};
use crate::{Defect, Quarter, certificate};

fn grace_days() -> u32 {
    14
}

fn cosign_bound_hours() -> u32 {
    72
}

fn period_minutes() -> u32 {
    60
}

fn none() -> String {
    "none".to_owned()
}

/// The rules of a federation: changed only with the signatures of every jurisdiction.
///
/// Not yet verified: a value of this type proves nothing; [`Charter`](crate::Charter) does.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct CommonPart {
    /// Name of the federation, a slug.
    pub federation: String,
    /// Version, counted from 1.
    pub number: u32,
    /// Hash of the previous common part; absent in version 1.
    #[serde(default, with = "maybe", skip_serializing_if = "Option::is_none")]
    pub previous: Option<Digest>,
    /// First instant at which this version is in force.
    #[serde(with = "when")]
    pub valid_from: Millis,
    /// First instant at which it is no longer in force.
    #[serde(with = "when")]
    pub expires: Millis,
    /// Days after the end in which existing members keep exchanging (default 14).
    #[serde(default = "grace_days")]
    pub grace_days: u32,
    /// Hours within which accepted heads must be cosigned (default 72).
    #[serde(default = "cosign_bound_hours")]
    pub cosign_bound_hours: u32,
    /// Days for which escrowed openings must stay openable.
    pub audit_hold_days: u32,
    /// Minutes between two PERIOD entries of a pair (default 60).
    #[serde(default = "period_minutes")]
    pub period_minutes: u32,
    /// Digest of the catalogue's descriptors.
    #[serde(with = "one")]
    pub catalogue: Digest,
    /// Query kinds that wait for cosignatures before Release.
    #[serde(default, with = "many", skip_serializing_if = "Vec::is_empty")]
    pub sensitive_kinds: Vec<QueryKind>,
    /// Name of the witness or witness group that must cosign; `none` without witnesses.
    #[serde(default = "none")]
    pub quorum: String,
    /// The nations.
    #[serde(default, rename = "jurisdiction")]
    pub jurisdictions: Vec<JurisdictionEntry>,
    /// Laws and treaties on which questions may be asked.
    #[serde(default, rename = "legal_basis")]
    pub legal_bases: Vec<LegalBasis>,
    /// Auditors, at least two of each nation.
    #[serde(default, rename = "auditor")]
    pub auditors: Vec<Auditor>,
    /// Witnesses; may be empty.
    #[serde(default, rename = "witness", skip_serializing_if = "Vec::is_empty")]
    pub witnesses: Vec<Witness>,
    /// Groups of witnesses, each after the groups it names.
    #[serde(default, rename = "witness_group", skip_serializing_if = "Vec::is_empty")]
    pub witness_groups: Vec<WitnessGroup>,
    /// Corridors; may be empty.
    #[serde(default, rename = "corridor", skip_serializing_if = "Vec::is_empty")]
    pub corridors: Vec<Corridor>,
}

/// A nation of the federation and what it vouches with.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct JurisdictionEntry {
    /// ISO 3166-1 alpha-2, lower case.
    #[serde(with = "one")]
    pub code: Jurisdiction,
    /// Name in English.
    pub name_en: String,
    /// Name in Spanish.
    pub name_es: String,
    /// How many of the governance keys must sign.
    pub threshold: u32,
    /// Certificate authorities, DER (Base64 in TOML). They vouch for this nation's names alone.
    #[serde(with = "blobs")]
    pub ca_roots: Vec<Vec<u8>>,
    /// The annex that stands when this version is made.
    pub annex: AnnexPin,
    /// Keys that sign for the nation.
    #[serde(default, rename = "governance_key")]
    pub governance_keys: Vec<GovernanceKey>,
}

/// A public key that signs charter parts for a nation.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct GovernanceKey {
    /// What signature lines call it, a slug.
    pub name: String,
    /// Ed25519 public key (Base64 in TOML).
    #[serde(with = "key32")]
    pub key: [u8; 32],
}

/// Number and hash of an annex.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct AnnexPin {
    /// Its number, from 1.
    pub number: u32,
    /// Its hash.
    #[serde(with = "one")]
    pub hash: Digest,
}

/// A law or treaty on which questions may be asked, until it lapses (sunset).
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct LegalBasis {
    /// Its id, for example `mx-us-mlat-1987`.
    #[serde(with = "one")]
    pub id: LegalBasisId,
    /// Title in English.
    pub title_en: String,
    /// Title in Spanish.
    pub title_es: String,
    /// Purposes that it covers.
    #[serde(with = "many")]
    pub purposes: Vec<Purpose>,
    /// Nations whose agencies may invoke it.
    #[serde(with = "many")]
    pub jurisdictions: Vec<Jurisdiction>,
    /// First instant at which it no longer counts.
    #[serde(with = "when")]
    pub expires: Millis,
}

/// An auditor of a nation, with a log of its own.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Auditor {
    /// Its name, a slug, unique in the charter.
    pub name: String,
    /// Its nation.
    #[serde(with = "one")]
    pub jurisdiction: Jurisdiction,
    /// Origin of the auditor's own log.
    #[serde(with = "one")]
    pub origin: Origin,
    /// C2SP verifier key of that log.
    pub vkey: String,
    /// Keys to which escrow seeds are sealed, one per quarter.
    #[serde(default)]
    pub seal_keys: Vec<SealKey>,
}

/// An auditor's sealing key for one quarter.
#[derive(Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct SealKey {
    /// The quarter, for example `2026Q4`.
    #[serde(with = "one")]
    pub quarter: Quarter,
    /// X25519 public key (Base64 in TOML).
    #[serde(with = "key32")]
    pub key: [u8; 32],
}

impl fmt::Debug for SealKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SealKey({}, {})", self.quarter, hex::encode(self.key))
    }
}

/// A group of nodes with a shared purpose.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Corridor {
    /// Its name, a slug.
    pub name: String,
    /// Node that orders the group's commits.
    #[serde(with = "one")]
    pub convener: NodeUri,
    /// Who follows the convener, in order.
    #[serde(default, with = "many", skip_serializing_if = "Vec::is_empty")]
    pub successors: Vec<NodeUri>,
    /// The other nodes that belong into it. One that its nation has no longer in its annex, or has suspended, does not.
    #[serde(default, with = "many", skip_serializing_if = "Vec::is_empty")]
    pub members: Vec<NodeUri>,
    /// How long the convener must be silent before its first successor may act, in seconds; 0: 15 minutes.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub silence_seconds: u32,
    /// The MLS ciphersuite of its group; 0 leaves it to whoever makes the group.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub suite: u16,
}

impl Corridor {
    /// Every node that belongs into it, the convener first, then those who follow it.
    pub fn nodes(&self) -> impl Iterator<Item = &NodeUri> + Clone {
        std::iter::once(&self.convener).chain(&self.successors).chain(&self.members)
    }

    /// How long the convener must be silent before its first successor may act, in milliseconds.
    pub fn silence_millis(&self) -> u64 {
        if self.silence_seconds == 0 { SILENCE_MILLIS } else { u64::from(self.silence_seconds) * 1_000 }
    }
}

/// How long a convener must be silent before its first successor may act, in milliseconds, where the charter names no
/// other time.
pub const SILENCE_MILLIS: u64 = 15 * 60_000;

/// The MLS ciphersuites that a corridor may name: X25519 with Ed25519, P-256 with ECDSA, and Ed25519 with ML-KEM-768 beside
/// X25519.
pub const SUITES: [u16; 3] = [0x0001, 0x0002, 0x004f];

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde hands it out like this")]
fn is_zero<T: Default + PartialEq>(number: &T) -> bool {
    *number == T::default()
}

impl CommonPart {
    /// The entry of a nation.
    pub fn jurisdiction(&self, code: &Jurisdiction) -> Option<&JurisdictionEntry> {
        self.jurisdictions.iter().find(|j| &j.code == code)
    }

    /// Checks everything that can be checked without the other parts.
    pub fn check(&self) -> Result<(), Defect> {
        slug("federation name", &self.federation)?;
        check_number(self.number, self.previous.is_some())?;
        if self.valid_from >= self.expires || self.expires > INSTANT_MAX {
            return Err(Defect::Dates);
        }
        range("grace_days", self.grace_days.into(), 0, 365)?;
        range("cosign_bound_hours", self.cosign_bound_hours.into(), 1, 24 * 365)?;
        range("audit_hold_days", self.audit_hold_days.into(), 1, 365 * 100)?;
        range("period_minutes", self.period_minutes.into(), 1, 7 * 24 * 60)?;
        distinct("sensitive kind", self.sensitive_kinds.iter().map(QueryKind::as_str))?;
        self.check_jurisdictions()?;
        self.check_legal_bases()?;
        self.check_auditors()?;
        check_witnesses(&self.witnesses, &self.witness_groups, &self.quorum)?;
        for witness in &self.witnesses {
            self.known(&witness.name, &witness.jurisdiction)?;
        }
        distinct("corridor", self.corridors.iter().map(|c| c.name.as_str()))?;
        for corridor in &self.corridors {
            slug("corridor name", &corridor.name)?;
            distinct("member of a corridor", corridor.nodes().map(NodeUri::as_str))?;
            for node in corridor.nodes() {
                self.known(node.as_str(), &node.jurisdiction())?;
            }
            if corridor.silence_seconds != 0 {
                range("silence_seconds", corridor.silence_seconds.into(), 60, 86_400)?;
            }
            if corridor.suite != 0 && !SUITES.contains(&corridor.suite) {
                return Err(Defect::Suite { corridor: corridor.name.clone(), suite: corridor.suite });
            }
            range("number of a corridor's members", corridor.nodes().count() as u64, 2, 1_000)?;
        }
        Ok(())
    }

    fn known(&self, name: &str, code: &Jurisdiction) -> Result<(), Defect> {
        match self.jurisdiction(code) {
            Some(_) => Ok(()),
            None => Err(Defect::NoSuchJurisdiction { name: name.to_owned(), jurisdiction: code.clone() }),
        }
    }

    fn check_jurisdictions(&self) -> Result<(), Defect> {
        if self.jurisdictions.is_empty() {
            return Err(Defect::Empty { of: self.federation.clone(), what: "[[jurisdiction]]" });
        }
        distinct("jurisdiction", self.jurisdictions.iter().map(|j| j.code.as_str()))?;
        let keys = || self.jurisdictions.iter().flat_map(|j| &j.governance_keys);
        distinct("governance key name", keys().map(|k| k.name.as_str()))?;
        let mut bytes = HashSet::new();
        if let Some(key) = keys().find(|k| !bytes.insert(k.key)) {
            return Err(Defect::Twice { what: "the governance key", name: key.name.clone() });
        }
        let mut roots: Vec<(Vec<u8>, &Jurisdiction)> = Vec::new();
        for j in &self.jurisdictions {
            j.check()?;
            for root in &j.ca_roots {
                let spki =
                    certificate::authority_key(root).map_err(|_| Defect::BadRoot { jurisdiction: j.code.clone() })?;
                if let Some((_, other)) = roots.iter().find(|(key, owner)| *key == spki && **owner != j.code) {
                    return Err(Defect::SharedRoot { first: (*other).clone(), second: j.code.clone() });
                }
                roots.push((spki, &j.code));
            }
        }
        Ok(())
    }

    fn check_legal_bases(&self) -> Result<(), Defect> {
        distinct("legal basis", self.legal_bases.iter().map(|b| b.id.as_str()))?;
        for basis in &self.legal_bases {
            text("title_en", &basis.title_en)?;
            text("title_es", &basis.title_es)?;
            let empty = |what| Defect::Empty { of: basis.id.to_string(), what };
            if basis.purposes.is_empty() {
                return Err(empty("purposes"));
            }
            if basis.jurisdictions.is_empty() {
                return Err(empty("jurisdictions"));
            }
            if basis.expires > INSTANT_MAX {
                return Err(Defect::Dates);
            }
            distinct("purpose", basis.purposes.iter().map(|p| p.as_str()))?;
            distinct("jurisdiction", basis.jurisdictions.iter().map(Jurisdiction::as_str))?;
            for code in &basis.jurisdictions {
                self.known(basis.id.as_str(), code)?;
            }
        }
        Ok(())
    }

    fn check_auditors(&self) -> Result<(), Defect> {
        distinct("auditor", self.auditors.iter().map(|a| a.name.as_str()))?;
        distinct("auditor's origin", self.auditors.iter().map(|a| a.origin.as_str()))?;
        let mut seal_keys = HashSet::new();
        for auditor in &self.auditors {
            self.known(&auditor.name, &auditor.jurisdiction)?;
            auditor.check()?;
            if !auditor.seal_keys.iter().all(|k| seal_keys.insert(k.key)) {
                return Err(Defect::Twice { what: "a sealing key of", name: auditor.name.clone() });
            }
        }
        for j in &self.jurisdictions {
            let found = self.auditors.iter().filter(|a| a.jurisdiction == j.code).count();
            if found < 2 {
                return Err(Defect::TooFewAuditors { jurisdiction: j.code.clone(), found });
            }
        }
        Ok(())
    }
}

impl JurisdictionEntry {
    fn check(&self) -> Result<(), Defect> {
        text("name_en", &self.name_en)?;
        text("name_es", &self.name_es)?;
        range("annex.number", self.annex.number.into(), 1, u32::MAX.into())?;
        let keys = self.governance_keys.len();
        if self.threshold == 0 || self.threshold as usize > keys {
            return Err(Defect::Threshold { jurisdiction: self.code.clone(), threshold: self.threshold, keys });
        }
        for key in &self.governance_keys {
            slug("governance key name", &key.name)?;
            key.verifying_key().ok_or_else(|| Defect::BadKey { name: key.name.clone() })?;
        }
        if self.ca_roots.is_empty() {
            return Err(Defect::Empty { of: self.code.to_string(), what: "ca_roots" });
        }
        Ok(())
    }
}

impl Auditor {
    fn check(&self) -> Result<(), Defect> {
        slug("auditor's name", &self.name)?;
        if self.origin.jurisdiction() != self.jurisdiction {
            let jurisdiction = self.jurisdiction.clone();
            return Err(Defect::OtherNation { name: self.origin.to_string(), jurisdiction });
        }
        vkey::check(&self.vkey, self.origin.as_str(), Holder::Log)
            .map_err(|why| Defect::Vkey { name: self.name.clone(), why })?;
        let quarters: Vec<String> = self.seal_keys.iter().map(|k| k.quarter.to_string()).collect();
        distinct("quarter", quarters.iter().map(String::as_str))?;
        if self.seal_keys.iter().any(|k| k.key == [0; 32]) {
            return Err(Defect::BadKey { name: self.name.clone() });
        }
        Ok(())
    }

    /// The name in the certificate that the auditor presents to nodes.
    ///
    /// # Errors
    /// The auditor's name is no slug: no verified charter has one.
    pub fn uri(&self) -> Result<AuditorUri, NameError> {
        AuditorUri::new(&self.jurisdiction, &self.name)
    }

    /// The quarter that `now` falls in and the key to seal to; `None` if the charter names none.
    pub fn seal_key(&self, now: Millis) -> Option<(&str, [u8; 32])> {
        let quarter = Quarter::of(now);
        self.seal_keys.iter().find(|k| k.quarter == quarter).map(|k| (k.quarter.as_str(), k.key))
    }
}

/// Version numbers count from 1, and only the first has no predecessor.
pub(crate) fn check_number(number: u32, has_previous: bool) -> Result<(), Defect> {
    if number == 0 {
        return Err(Defect::NumberZero);
    }
    if has_previous == (number == 1) {
        return Err(Defect::Previous);
    }
    Ok(())
}
