use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// A code that is not in its list, with the list.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{found}' is not a {what}; use one of: {valid}")]
pub struct CodeError {
    /// The text as it was given.
    pub found: String,
    /// What kind of code was expected.
    pub what: &'static str,
    /// Every valid code, comma separated.
    pub valid: String,
}

macro_rules! codes {
    ($(#[$doc:meta])* $t:ident, $what:literal, { $($(#[$vdoc:meta])* $v:ident = $code:literal => $text:literal),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum $t { $($(#[$vdoc])* $v),+ }

        impl $t {
            /// Every value, in the order of its wire code.
            pub const ALL: &'static [Self] = &[$(Self::$v),+];

            /// The stable number on the wire; 0 is never used.
            pub const fn code(self) -> u32 {
                match self { $(Self::$v => $code),+ }
            }

            /// The value of a wire number.
            pub const fn from_code(code: u32) -> Option<Self> {
                match code { $($code => Some(Self::$v),)+ _ => None }
            }

            /// The stable text, never translated.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$v => $text),+ }
            }
        }

        impl fmt::Display for $t {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl FromStr for $t {
            type Err = CodeError;

            fn from_str(text: &str) -> Result<Self, CodeError> {
                Self::ALL.iter().copied().find(|v| v.as_str() == text).ok_or_else(|| CodeError {
                    found: text.chars().take(60).collect(),
                    what: $what,
                    valid: Self::ALL.iter().map(|v| v.as_str()).collect::<Vec<_>>().join(", "),
                })
            }
        }
    };
}

codes!(
    /// Why a question is asked.
    Purpose, "purpose", {
        /// A criminal investigation with a case file.
        CriminalInvestigation = 1 => "criminal-investigation",
        /// Preventing a specific crime.
        CrimePrevention = 2 => "crime-prevention",
        /// Tracing firearms across the border.
        ArmsTrafficking = 3 => "arms-trafficking",
        /// Recovering stolen vehicles.
        VehicleRecovery = 4 => "vehicle-recovery",
        /// Finding a missing person.
        MissingPerson = 5 => "missing-person",
        /// Immediate threat to life.
        ImminentThreat = 6 => "imminent-threat",
        /// Prosecution and trial.
        Prosecution = 7 => "prosecution",
        /// Immigration enforcement: listed so that policies can bar it by name.
        ImmigrationEnforcement = 8 => "immigration-enforcement",
    }
);

codes!(
    /// An officer's role (DOMAIN: who may ask what).
    Role, "role", {
        /// Patrol or municipal police.
        Patrol = 1 => "patrol",
        /// Investigator.
        Investigator = 2 => "investigator",
        /// Forensic examiner.
        ForensicExaminer = 3 => "forensic-examiner",
        /// Customs officer.
        Customs = 4 => "customs",
        /// Prosecutor.
        Prosecutor = 5 => "prosecutor",
        /// Financial intelligence or treasury officer.
        FinancialIntelligence = 6 => "financial-intelligence",
        /// Analyst of a fusion centre.
        Analyst = 7 => "analyst",
        /// Auditor.
        Auditor = 8 => "auditor",
        /// Academic or observer.
        Observer = 9 => "observer",
    }
);

codes!(
    /// SIENA-style handling codes, from least to most restrictive.
    Handling, "handling code", {
        /// Use for preventing and combating crime.
        H0 = 1 => "H0",
        /// Not in judicial proceedings without the provider's permission.
        H1 = 2 => "H1",
        /// No dissemination without permission.
        H2 = 3 => "H2",
        /// Other restrictions apply.
        H3 = 4 => "H3",
    }
);

impl Handling {
    /// The handling of a product of both: the strictest.
    pub fn combine(self, other: Self) -> Self {
        self.max(other)
    }
}

codes!(
    /// Privacy mode of a question.
    Mode, "mode", {
        /// The holder sees the question.
        Open = 1 => "open",
        /// As open, among people who learn: about invented records, never about real ones.
        Training = 2 => "training",
    }
);

codes!(
    /// Which of the three steps of an exchange a question belongs to (Prüm II).
    Step, "step", {
        /// Hit or no hit.
        HitNoHit = 1 => "1",
        /// Core data, after a human confirmed and stated the facts.
        CoreData = 2 => "2",
        /// Evidence package for a court.
        Evidence = 3 => "3",
    }
);

codes!(
    /// How urgent a question is.
    Urgency, "urgency", {
        /// In the ordinary course.
        Routine = 1 => "routine",
        /// At once; needs a justification.
        Urgent = 2 => "urgent",
    }
);

codes!(
    /// Which part of the intelligence cycle an entry belongs to.
    Stage, "stage", {
        /// Collection.
        Collection = 1 => "collection",
        /// Processing.
        Processing = 2 => "processing",
        /// Dissemination.
        Dissemination = 3 => "dissemination",
        /// Governance.
        Governance = 4 => "governance",
    }
);

codes!(
    /// What an ANSWER says, in the clear.
    Outcome, "outcome", {
        /// Nothing was found.
        NoHit = 1 => "NO_HIT",
        /// Something was found; no human has confirmed it.
        HitUnconfirmed = 2 => "HIT_UNCONFIRMED",
        /// Something was found and confirmed.
        HitConfirmed = 3 => "HIT_CONFIRMED",
        /// Core data (step 2).
        CoreData = 4 => "CORE_DATA",
        /// The question lacks fields that the holder needs.
        NeedsData = 5 => "NEEDS_DATA",
        /// The question duplicates one that the holder knows.
        DuplicateOf = 6 => "DUPLICATE_OF",
    }
);

codes!(
    /// Why a question was refused (DOMAIN: refusal reasons), in the clear.
    RefusalReason, "refusal reason", {
        /// No policy permits it on this legal basis and purpose.
        NoLegalBasis = 1 => "no-legal-basis",
        /// Outside the scope of what the asker's role may ask.
        Scope = 2 => "scope",
        /// Sovereignty or ordre public.
        Sovereignty = 3 => "sovereignty",
        /// It would endanger an ongoing operation.
        OngoingOperation = 4 => "ongoing-operation",
        /// It would reveal a source.
        SourceProtection = 5 => "source-protection",
        /// A statute forbids it.
        StatutoryBar = 6 => "statutory-bar",
        /// The question's data quality is insufficient or malformed.
        Quality = 7 => "quality",
        /// Human rights.
        HumanRights = 8 => "human-rights",
        /// The holder is at another group epoch.
        StaleEpoch = 9 => "stale-epoch",
        /// The asker cancelled.
        Cancelled = 10 => "cancelled",
        /// The deadline passed before the question was judged.
        Expired = 11 => "expired",
        /// The holder could not complete it (its own failure).
        Failed = 12 => "failed",
    }
);

codes!(
    /// What a local event is (DOMAIN: audit events; the protocol's table maps them to entries).
    EventKind, "event kind", {
        /// Records were brought in: one commitment for a whole batch.
        Collect = 1 => "COLLECT",
        /// A record was changed.
        Alter = 2 => "ALTER",
        /// Several records became one product.
        Combine = 3 => "COMBINE",
        /// A possible match was noted.
        Correlate = 4 => "CORRELATE",
        /// A human confirmed a match.
        Confirm = 5 => "CONFIRM",
        /// A human refuted a match.
        Refute = 6 => "REFUTE",
        /// A record was consulted.
        Consult = 7 => "CONSULT",
        /// Something was erased.
        Erase = 8 => "ERASE",
        /// A rule or grant ended by its date.
        Sunset = 9 => "SUNSET",
        /// The policy set changed.
        PolicyChange = 10 => "POLICY_CHANGE",
        /// Access in an emergency, to be reviewed.
        BreakGlass = 11 => "BREAK_GLASS",
        /// A charter vector came into force at this node.
        CharterAdopted = 12 => "CHARTER_ADOPTED",
        /// An officer was granted access.
        Grant = 13 => "GRANT",
        /// An officer's access ended.
        Revoke = 14 => "REVOKE",
        /// The node started.
        Start = 15 => "START",
        /// A disclosed body was opened and matched its commitment.
        Opened = 16 => "OPENED",
        /// The content key did not come before the deadline.
        Unreleased = 17 => "UNRELEASED",
        /// What was released does not match what was committed.
        Dispute = 18 => "DISPUTE",
        /// The node's own outbound policy refused a question.
        OutboundRefused = 19 => "OUTBOUND_REFUSED",
        /// Faults of unauthenticated senders in the last minute, by class.
        Faults = 20 => "FAULTS",
        /// An authenticated peer broke the protocol.
        PeerFault = 21 => "PEER_FAULT",
        /// An auditor read the log at this node's door.
        LogRead = 22 => "LOG_READ",
        /// A person of the holder decided on a question.
        HumanDecision = 23 => "HUMAN_DECISION",
        /// A question was answered without the person whose decision it otherwise needs: to be reviewed.
        Review = 24 => "REVIEW",
        /// This log follows one that lost its tail: a partner handed over what it held.
        LostTail = 25 => "LOST_TAIL",
        /// An alert was made: it is signed by standing in the log.
        AlertSign = 26 => "ALERT_SIGN",
        /// Another node's alert came.
        AlertDeliver = 27 => "ALERT_DELIVER",
        /// An officer acknowledged another node's alert.
        AlertAck = 28 => "ALERT_ACK",
        /// An alert was cancelled by who made it.
        AlertCancel = 29 => "ALERT_CANCEL",
    }
);

impl EventKind {
    /// The stage of the intelligence cycle that the event belongs to.
    pub const fn stage(self) -> Stage {
        match self {
            Self::Collect => Stage::Collection,
            Self::Alter | Self::Combine | Self::Correlate | Self::Confirm | Self::Refute | Self::HumanDecision => {
                Stage::Processing
            }
            Self::Consult
            | Self::Opened
            | Self::Unreleased
            | Self::Dispute
            | Self::OutboundRefused
            | Self::AlertSign
            | Self::AlertDeliver
            | Self::AlertAck
            | Self::AlertCancel => Stage::Dissemination,
            _ => Stage::Governance,
        }
    }
}

codes!(
    /// What an alert is about (Common Alerting Protocol 1.2).
    AlertCategory, "category of alerts", {
        /// Geophysical.
        Geo = 1 => "geo",
        /// Meteorological.
        Met = 2 => "met",
        /// General emergency and public safety.
        Safety = 3 => "safety",
        /// Law enforcement and security.
        Security = 4 => "security",
        /// Rescue and recovery.
        Rescue = 5 => "rescue",
        /// Fire.
        Fire = 6 => "fire",
        /// Medical and public health.
        Health = 7 => "health",
        /// Pollution and other environmental.
        Env = 8 => "env",
        /// Public and private transportation.
        Transport = 9 => "transport",
        /// Utilities and other infrastructure.
        Infra = 10 => "infra",
        /// Chemical, biological, radiological, nuclear, explosive.
        Cbrne = 11 => "cbrne",
        /// Something else.
        Other = 12 => "other",
    }
);

codes!(
    /// How severe what an alert is about is (Common Alerting Protocol 1.2).
    AlertSeverity, "severity", {
        /// Extraordinary threat to life or property.
        Extreme = 1 => "extreme",
        /// Significant threat.
        Severe = 2 => "severe",
        /// Possible threat.
        Moderate = 3 => "moderate",
        /// Minimal to no known threat.
        Minor = 4 => "minor",
        /// Not known.
        Unknown = 5 => "unknown",
    }
);

codes!(
    /// How certain an alert is (Common Alerting Protocol 1.2).
    AlertCertainty, "certainty", {
        /// It has occurred, or goes on.
        Observed = 1 => "observed",
        /// Likely.
        Likely = 2 => "likely",
        /// Possible, not likely.
        Possible = 3 => "possible",
        /// Not expected to occur.
        Unlikely = 4 => "unlikely",
        /// Not known.
        Unknown = 5 => "unknown",
    }
);

codes!(
    /// How many records an answer holds, coarsely.
    CountBand, "count band", {
        /// None.
        Zero = 1 => "0",
        /// One to four.
        UnderFive = 2 => "1-4",
        /// Five or more.
        FiveOrMore = 3 => "5+",
    }
);

impl CountBand {
    /// The band of a count.
    pub const fn of(count: usize) -> Self {
        match count {
            0 => Self::Zero,
            1..=4 => Self::UnderFive,
            _ => Self::FiveOrMore,
        }
    }
}

codes!(
    /// The most sensitive class of field that an answer holds.
    FieldClass, "field class", {
        /// No fields.
        None = 1 => "none",
        /// Fields with no mark.
        Plain = 2 => "plain",
        /// Identifying fields.
        Identifying = 3 => "identifying",
        /// Sensitive fields.
        Sensitive = 4 => "sensitive",
        /// Source-revealing fields.
        SourceRevealing = 5 => "source-revealing",
    }
);

/// A legal basis of the charter's registry, for example `mx-us-mlat-1987`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LegalBasisId(Arc<str>);

impl LegalBasisId {
    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for LegalBasisId {
    type Err = CodeError;

    fn from_str(text: &str) -> Result<Self, CodeError> {
        let ok = !text.is_empty()
            && text.len() <= 64
            && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
        ok.then(|| Self(text.into())).ok_or_else(|| CodeError {
            found: text.chars().take(60).collect(),
            what: "legal basis id",
            valid: "lower-case letters, digits and hyphens, at most 64".to_owned(),
        })
    }
}

impl fmt::Display for LegalBasisId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A query kind of the catalogue, for example `vehicle.status`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct QueryKind(Arc<str>);

impl QueryKind {
    /// The kind as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for QueryKind {
    type Err = CodeError;

    fn from_str(text: &str) -> Result<Self, CodeError> {
        let ok = !text.is_empty()
            && text.len() <= 64
            && text.split('.').count() >= 2
            && text.split('.').all(|part| {
                !part.is_empty() && part.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
            });
        ok.then(|| Self(text.into())).ok_or_else(|| CodeError {
            found: text.chars().take(60).collect(),
            what: "query kind",
            valid: "dotted lower-case words, for example vehicle.status".to_owned(),
        })
    }
}

impl fmt::Display for QueryKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_round_trip() {
        for p in Purpose::ALL {
            assert_eq!(Purpose::from_code(p.code()), Some(*p));
            assert_eq!(p.as_str().parse(), Ok(*p));
        }
        assert_eq!(Purpose::from_code(0), None);
        let error = "curiosity".parse::<Purpose>().unwrap_err().to_string();
        assert!(error.contains("vehicle-recovery"), "{error}");
    }

    #[test]
    fn handling_combines_to_the_strictest() {
        assert_eq!(Handling::H0.combine(Handling::H2), Handling::H2);
    }
}
