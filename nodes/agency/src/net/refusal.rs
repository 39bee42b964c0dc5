use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use puente_charter::certificate::CertificateError;
use puente_model::{AuditorUri, Jurisdiction, NodeUri};

/// Why a certificate was not accepted for a peer. Names of nodes and nations are public.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PeerRefusal {
    /// More certificates, or larger ones, than any nation needs.
    #[error("the certificate chain is too long; send the leaf and at most {max} intermediates")]
    ChainTooLong {
        /// Intermediates that are accepted.
        max: usize,
    },
    /// The leaf does not name one node.
    #[error(transparent)]
    Names(#[from] CertificateError),
    /// No certificate authority of that nation is in the charter.
    #[error("the charter has no nation '{0}'")]
    UnknownNation(Jurisdiction),
    /// The chain ends in no root of the charter.
    #[error("no certificate authority of the charter issued this certificate of '{0}'")]
    UnknownIssuer(Jurisdiction),
    /// One nation's authority vouches for another nation's name.
    #[error("a certificate authority of '{by}' issued a name of '{of}': a nation vouches only for its own")]
    OtherNation {
        /// The nation in the name.
        of: Jurisdiction,
        /// The nation whose root issued it.
        by: Jurisdiction,
    },
    /// Past its end.
    #[error("the certificate has expired; renew it with 'puente ca issue' and check both clocks")]
    Expired,
    /// Before its beginning.
    #[error("the certificate is not valid yet; check both clocks")]
    NotYetValid,
    /// Issued for another use.
    #[error("the certificate is not meant for this use; issue it for client and server authentication")]
    WrongUsage,
    /// A signature or key of a kind that is not accepted.
    #[error("the certificate is signed with an algorithm that is not accepted; use ECDSA P-256 or Ed25519")]
    Algorithm,
    /// The issuer's signature does not fit.
    #[error("the certificate's signature is not its issuer's")]
    BadSignature,
    /// The chain breaks a rule of X.509.
    #[error("the certificate chain breaks a rule of X.509: {0}")]
    BadChain(String),
    /// The name is well vouched for, but no member's.
    #[error("the charter lists no member {0}; ask your governance body whether the annex is adopted")]
    NotInCharter(NodeUri),
    /// The name is well vouched for, but no auditor's of the charter in force.
    #[error("the charter in force lists no auditor {0}; ask your governance body whether it is adopted")]
    NoSuchAuditor(AuditorUri),
    /// The member is suspended.
    #[error("the member {0} is suspended")]
    Suspended(NodeUri),
    /// This node keeps the member out.
    #[error("this node blocks the member {0}; 'puente peer unblock' takes the block away")]
    Blocked(NodeUri),
    /// Another member than the one that was dialled.
    #[error("dialled {expected}, but {found} answered; check the endpoint in the annex")]
    WrongPeer {
        /// Who was dialled.
        expected: NodeUri,
        /// Who answered.
        found: NodeUri,
    },
    /// This node's own name comes from elsewhere.
    #[error("the peer presents this node's own name {0}; is a copy of this node running?")]
    OwnName(NodeUri),
}

impl PeerRefusal {
    /// The stable name of the class, for logs, counters and the peer.
    pub const fn class(&self) -> &'static str {
        match self {
            Self::ChainTooLong { .. } => "chain-too-long",
            Self::Names(CertificateError::Malformed) => "malformed-certificate",
            Self::Names(CertificateError::Authority | CertificateError::NotAuthority) => "authority-certificate",
            Self::Names(CertificateError::NoUri) => "no-uri-name",
            Self::Names(CertificateError::ManyUris { .. }) => "many-uri-names",
            Self::Names(CertificateError::NotANode) => "not-a-node-name",
            Self::Names(CertificateError::NotAnAuditor) => "not-an-auditor-name",
            Self::UnknownNation(_) => "unknown-nation",
            Self::UnknownIssuer(_) => "unknown-issuer",
            Self::OtherNation { .. } => "other-nations-root",
            Self::Expired => "certificate-expired",
            Self::NotYetValid => "certificate-not-yet-valid",
            Self::WrongUsage => "wrong-usage",
            Self::Algorithm => "unsupported-algorithm",
            Self::BadSignature => "bad-signature",
            Self::BadChain(_) => "bad-chain",
            Self::NotInCharter(_) => "not-in-charter",
            Self::Blocked(_) => "blocked",
            Self::NoSuchAuditor(_) => "no-such-auditor",
            Self::Suspended(_) => "suspended",
            Self::WrongPeer { .. } => "wrong-peer",
            Self::OwnName(_) => "own-name",
        }
    }
}

/// How often one class is written to the log.
const LOG_EVERY: Duration = Duration::from_secs(60);

/// Counts what strangers do wrong; each class is logged at most once a minute.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    classes: Mutex<BTreeMap<&'static str, (u64, Option<Instant>)>>,
}

impl Counters {
    /// Counts one; true if it is time to log the class.
    pub(crate) fn count(&self, class: &'static str) -> bool {
        let mut classes = self.classes.lock().unwrap_or_else(PoisonError::into_inner);
        let (count, logged) = classes.entry(class).or_default();
        *count += 1;
        let due = logged.is_none_or(|at| at.elapsed() >= LOG_EVERY);
        if due {
            *logged = Some(Instant::now());
        }
        due
    }

    /// Every class that was counted, with its count since the start.
    pub(crate) fn all(&self) -> BTreeMap<&'static str, u64> {
        let classes = self.classes.lock().unwrap_or_else(PoisonError::into_inner);
        classes.iter().map(|(class, (count, _))| (*class, *count)).collect()
    }
}
