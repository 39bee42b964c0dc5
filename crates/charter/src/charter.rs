use std::collections::{BTreeMap, HashMap};

use puente_model::{
    CharterVector, Digest, Jurisdiction, Label, LegalBasisId, Millis, NodeUri, Origin, Purpose, digest,
};

use crate::{
    AnnexPart, Auditor, CharterError, ClaimedPart, CommonPart, Conviction, Corridor, LegalBasis, LogEntry, Member,
    WitnessPolicy,
};

const DAY: u64 = 86_400_000;

/// Days before the end from which every status line counts down.
pub const WARN_DAYS: u32 = 30;

/// The verified charter in force: who is who and under which rules.
///
/// Only [`Charter::verify`] makes one.
#[derive(Debug, Clone)]
pub struct Charter {
    pub(crate) common: CommonPart,
    /// Hash of every common part, version 1 first.
    pub(crate) commons: Vec<Digest>,
    /// Hash of every annex, version 1 first.
    pub(crate) annexes: BTreeMap<Jurisdiction, Vec<Digest>>,
    pub(crate) auditors: BTreeMap<Jurisdiction, Vec<Auditor>>,
    pub(crate) members: Vec<Member>,
    pub(crate) by_uri: HashMap<NodeUri, usize>,
    pub(crate) by_origin: HashMap<Origin, (usize, usize)>,
    pub(crate) hash: Digest,
    /// Every part with its signatures, as verified.
    pub(crate) parts: Vec<ClaimedPart>,
}

/// Where a charter stands in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CharterStatus {
    /// It begins later.
    NotYet,
    /// It is in force.
    InForce {
        /// Days until it ends, rounded up.
        days_left: u32,
        /// True from 30 days before the end: say so in every status line.
        warn: bool,
    },
    /// It ended; existing members keep exchanging, nothing new is admitted.
    Grace {
        /// Days until exchange stops, rounded up.
        days_left: u32,
    },
    /// It and its grace ended; nothing is exchanged.
    Expired,
}

impl CharterStatus {
    /// True while existing members may exchange.
    pub const fn may_exchange(self) -> bool {
        matches!(self, Self::InForce { .. } | Self::Grace { .. })
    }

    /// True while new members may be admitted.
    pub const fn may_admit(self) -> bool {
        matches!(self, Self::InForce { .. })
    }
}

/// Why a legal basis does not carry a question.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LegalBasisError {
    /// The charter does not know it.
    #[error("the charter has no legal basis '{id}'; use one of: {valid}")]
    Unknown {
        /// The id asked for.
        id: LegalBasisId,
        /// Every id that the charter knows, comma separated.
        valid: String,
    },
    /// Its sunset passed.
    #[error("the legal basis '{id}' lapsed at {at}")]
    Expired {
        /// Its id.
        id: LegalBasisId,
        /// When.
        at: Millis,
    },
    /// It does not cover the purpose.
    #[error("the legal basis '{id}' does not cover {purpose}; it covers: {valid}")]
    Purpose {
        /// Its id.
        id: LegalBasisId,
        /// The purpose asked for.
        purpose: Purpose,
        /// What it covers, comma separated.
        valid: String,
    },
    /// Agencies of that nation may not invoke it.
    #[error("agencies of {jurisdiction} may not invoke the legal basis '{id}'")]
    Jurisdiction {
        /// Its id.
        id: LegalBasisId,
        /// The nation.
        jurisdiction: Jurisdiction,
    },
}

impl Charter {
    pub(crate) fn build(
        common: CommonPart,
        commons: Vec<Digest>,
        annexes: BTreeMap<Jurisdiction, Vec<Digest>>,
        in_force: Vec<AnnexPart>,
        parts: Vec<ClaimedPart>,
    ) -> Self {
        let mut members = Vec::new();
        for annex in in_force {
            let departed = common.jurisdiction(&annex.jurisdiction).is_none();
            for mut member in annex.members {
                if departed && !member.suspended {
                    member.suspended = true;
                    member.suspended_reason = Some("its jurisdiction left the federation".to_owned());
                }
                members.push(member);
            }
        }
        let mut by_uri = HashMap::new();
        let mut by_origin = HashMap::new();
        for (m, member) in members.iter().enumerate() {
            by_uri.insert(member.uri.clone(), m);
            for (l, log) in member.logs.iter().enumerate() {
                by_origin.insert(log.origin.clone(), (m, l));
            }
        }
        let mut auditors: BTreeMap<Jurisdiction, Vec<Auditor>> = BTreeMap::new();
        for auditor in &common.auditors {
            auditors.entry(auditor.jurisdiction.clone()).or_default().push(auditor.clone());
        }
        let vector = vector(&commons, &annexes).to_string();
        let mut covered: Vec<&[u8]> = vec![vector.as_bytes()];
        covered.extend(commons.last().map(|d| d.as_bytes().as_slice()));
        for (code, chain) in &annexes {
            covered.push(code.as_str().as_bytes());
            covered.extend(chain.last().map(|d| d.as_bytes().as_slice()));
        }
        let hash = digest(Label("puente/v1/charter"), &covered);
        Self { common, commons, annexes, auditors, members, by_uri, by_origin, hash, parts }
    }

    /// Name of the federation.
    pub fn federation(&self) -> &str {
        &self.common.federation
    }

    /// Hash of common part 1, as given out of band.
    pub fn pin(&self) -> Digest {
        self.commons.first().copied().unwrap_or_default()
    }

    /// Digest of everything in force:
    /// `digest("puente/v1/charter", [vector as text, hash of the common part, (nation, hash of its annex)*])`,
    /// nations in ascending order.
    pub fn hash(&self) -> Digest {
        self.hash
    }

    /// Which version of each part is in force.
    pub fn vector(&self) -> CharterVector {
        vector(&self.commons, &self.annexes)
    }

    /// The common part in force.
    pub fn common(&self) -> &CommonPart {
        &self.common
    }

    /// Hash of the common part in force.
    pub fn common_hash(&self) -> Digest {
        self.commons.last().copied().unwrap_or_default()
    }

    /// Hash of a nation's annex in force.
    pub fn annex_hash(&self, code: &Jurisdiction) -> Option<Digest> {
        self.annexes.get(code)?.last().copied()
    }

    /// Every member, suspended ones included, by nation and in the order of its annex.
    pub fn members(&self) -> &[Member] {
        &self.members
    }

    /// A member by its name; it may be suspended.
    pub fn member(&self, uri: &NodeUri) -> Option<&Member> {
        self.members.get(*self.by_uri.get(uri)?)
    }

    /// The member that wrote a log, and the log; it may be closed, and the member suspended.
    pub fn member_by_origin(&self, origin: &Origin) -> Option<(&Member, &LogEntry)> {
        let (m, l) = *self.by_origin.get(origin)?;
        let member = self.members.get(m)?;
        Some((member, member.logs.get(l)?))
    }

    /// The nations of the common part in force.
    pub fn jurisdictions(&self) -> impl Iterator<Item = &Jurisdiction> {
        self.common.jurisdictions.iter().map(|j| &j.code)
    }

    /// A nation's certificate authorities, DER; empty for a nation that is not in the charter.
    pub fn ca_roots(&self, code: &Jurisdiction) -> &[Vec<u8>] {
        self.common.jurisdiction(code).map(|j| j.ca_roots.as_slice()).unwrap_or_default()
    }

    /// The only roots that may vouch for a node: those of its own nation.
    pub fn trust_for(&self, node: &NodeUri) -> &[Vec<u8>] {
        self.ca_roots(&node.jurisdiction())
    }

    /// Laws and treaties, lapsed ones included.
    pub fn legal_bases(&self) -> &[LegalBasis] {
        &self.common.legal_bases
    }

    /// A law or treaty by its id; it may have lapsed.
    pub fn legal_basis(&self, id: &LegalBasisId) -> Option<&LegalBasis> {
        self.common.legal_bases.iter().find(|b| &b.id == id)
    }

    /// A law or treaty that carries a question for `purpose` by an agency of `code` now.
    pub fn legal_basis_for(
        &self,
        id: &LegalBasisId,
        purpose: Purpose,
        code: &Jurisdiction,
        now: Millis,
    ) -> Result<&LegalBasis, LegalBasisError> {
        let join = |texts: Vec<&str>| texts.join(", ");
        let Some(basis) = self.legal_basis(id) else {
            let valid = join(self.legal_bases().iter().map(|b| b.id.as_str()).collect());
            return Err(LegalBasisError::Unknown { id: id.clone(), valid });
        };
        if now >= basis.expires {
            return Err(LegalBasisError::Expired { id: id.clone(), at: basis.expires });
        }
        if !basis.purposes.contains(&purpose) {
            let valid = join(basis.purposes.iter().map(|p| p.as_str()).collect());
            return Err(LegalBasisError::Purpose { id: id.clone(), purpose, valid });
        }
        if !basis.jurisdictions.contains(code) {
            return Err(LegalBasisError::Jurisdiction { id: id.clone(), jurisdiction: code.clone() });
        }
        Ok(basis)
    }

    /// A nation's auditors, in the order of the charter; none for a nation that is not in it.
    pub fn auditors(&self, code: &Jurisdiction) -> &[Auditor] {
        self.auditors.get(code).map(Vec::as_slice).unwrap_or_default()
    }

    /// An auditor by its name.
    pub fn auditor(&self, name: &str) -> Option<&Auditor> {
        self.common.auditors.iter().find(|a| a.name == name)
    }

    /// Who must cosign heads.
    pub fn witness_policy(&self) -> WitnessPolicy<'_> {
        let common = &self.common;
        WitnessPolicy { witnesses: &common.witnesses, groups: &common.witness_groups, quorum: &common.quorum }
    }

    /// The corridors.
    pub fn corridors(&self) -> &[Corridor] {
        &self.common.corridors
    }

    /// True if this query kind waits for cosignatures before Release.
    pub fn is_sensitive(&self, kind: &puente_model::QueryKind) -> bool {
        self.common.sensitive_kinds.contains(kind)
    }

    /// Digest of the catalogue's descriptors.
    pub fn catalogue(&self) -> Digest {
        self.common.catalogue
    }

    /// Within how many milliseconds accepted heads must be cosigned.
    pub fn cosign_bound_millis(&self) -> u64 {
        u64::from(self.common.cosign_bound_hours) * 3_600_000
    }

    /// For how many milliseconds escrowed openings must stay openable.
    pub fn audit_hold_millis(&self) -> u64 {
        u64::from(self.common.audit_hold_days) * DAY
    }

    /// Minutes between two PERIOD entries of a pair.
    pub fn period_minutes(&self) -> u32 {
        self.common.period_minutes
    }

    /// Where the charter stands in its life.
    pub fn status(&self, now: Millis) -> CharterStatus {
        let days = |millis: u64| u32::try_from(millis.div_ceil(DAY)).unwrap_or(u32::MAX);
        let end = self.common.expires;
        let stop = end.plus(u64::from(self.common.grace_days) * DAY);
        if now < self.common.valid_from {
            CharterStatus::NotYet
        } else if now < end {
            let days_left = days(end.since(now));
            CharterStatus::InForce { days_left, warn: days_left <= WARN_DAYS }
        } else if now < stop {
            CharterStatus::Grace { days_left: days(stop.since(now)) }
        } else {
            CharterStatus::Expired
        }
    }

    /// Takes a later charter in this one's place: same federation, no fork, no component going back.
    pub fn adopt(&self, next: Self) -> Result<Self, CharterError> {
        if self.pin() != next.pin() {
            return Err(CharterError::OtherPin { found: next.pin(), pinned: self.pin() });
        }
        if let Some((number, first, second)) = fork(&self.commons, &next.commons) {
            return Err(CharterError::Convicted(Conviction::TwoCommonParts { number, first, second }));
        }
        for (code, chain) in &self.annexes {
            let other = next.annexes.get(code).map(Vec::as_slice).unwrap_or_default();
            if let Some((number, first, second)) = fork(chain, other) {
                let jurisdiction = code.clone();
                return Err(CharterError::Convicted(Conviction::TwoAnnexes { jurisdiction, number, first, second }));
            }
        }
        let (current, offered) = (self.vector(), next.vector());
        if !offered.covers(&current) {
            return Err(CharterError::WouldGoBack { current: current.to_string(), offered: offered.to_string() });
        }
        Ok(next)
    }
}

/// The first number at which two chains differ, and both hashes.
fn fork(ours: &[Digest], theirs: &[Digest]) -> Option<(u32, Digest, Digest)> {
    let (at, (a, b)) = ours.iter().zip(theirs).enumerate().find(|(_, (a, b))| a != b)?;
    Some((u32::try_from(at + 1).unwrap_or(u32::MAX), *a, *b))
}

fn vector(commons: &[Digest], annexes: &BTreeMap<Jurisdiction, Vec<Digest>>) -> CharterVector {
    let number = |chain: &[Digest]| u32::try_from(chain.len()).unwrap_or(u32::MAX);
    CharterVector {
        common: number(commons),
        annexes: annexes.iter().map(|(code, chain)| (code.clone(), number(chain))).collect(),
    }
}
