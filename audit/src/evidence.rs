//! Evidence files: what convinces a third party who trusts nobody but the charter's keys.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use puente_audit_log::{SignedCheckpoint, VerifierKey};
use serde::{Deserialize, Serialize};

use crate::finding::{Blame, Finding};
use crate::heads::Prefix;
use crate::roster::Roster;

/// An entry and a receipt for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ProvenEntry {
    pub(crate) entry: Vec<u8>,
    pub(crate) receipt: Vec<u8>,
}

/// What supports a finding.
#[derive(Debug, Clone, Default)]
pub(crate) struct Proof {
    /// Signed heads.
    pub(crate) heads: Vec<SignedCheckpoint>,
    /// Entries with receipts of the accused.
    pub(crate) entries: Vec<ProvenEntry>,
    /// What the presented log says of its smaller tree.
    pub(crate) prefix: Option<Prefix>,
}

impl Proof {
    pub(crate) fn heads(heads: impl IntoIterator<Item = SignedCheckpoint>) -> Self {
        Self { heads: heads.into_iter().collect(), ..Self::default() }
    }

    pub(crate) fn with_prefix(mut self, prefix: Prefix) -> Self {
        self.prefix = Some(prefix);
        self
    }

    pub(crate) fn with_entry(mut self, entry: Option<ProvenEntry>) -> Self {
        self.entries.extend(entry);
        self
    }
}

/// The file: JSON, self-contained. Notes and receipts verbatim, entries in Base64.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EvidenceFile {
    /// 1.
    pub puente_evidence: u32,
    /// Hash of common part 1 of the charter that names the keys.
    pub charter_pin: String,
    /// The finding's class.
    pub class: String,
    /// The node or witness that answers for it, or `unknown`.
    pub attributed_to: String,
    /// The log.
    pub log: String,
    /// Position of the entry.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub index: Option<u64>,
    /// Number of the entry.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seq: Option<u64>,
    /// What was seen.
    pub detail: String,
    /// In one sentence, English.
    pub en: String,
    /// In one sentence, Spanish.
    pub es: String,
    /// C2SP verifier keys of the logs, and of the witness that answers, as the charter names them.
    pub keys: Vec<String>,
    /// Signed heads, verbatim.
    #[serde(default)]
    pub heads: Vec<String>,
    /// Entries, each with a receipt.
    #[serde(default)]
    pub entries: Vec<EvidenceEntry>,
    /// What the last of `heads` says of its own beginning.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prefix: Option<EvidencePrefix>,
}

/// An entry and a receipt for it.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EvidenceEntry {
    /// The entry's canonical bytes, Base64.
    pub entry: String,
    /// C2SP tlog-proof, verbatim.
    pub receipt: String,
}

/// The root that a log has at a smaller size, with a consistency proof (RFC 9162) to its newest head in the file.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EvidencePrefix {
    /// The smaller size.
    pub size: u64,
    /// The root that the presented log has there, lower-case hexadecimal.
    pub root: String,
    /// The proof's hashes, Base64.
    pub proof: Vec<String>,
}

impl EvidenceFile {
    pub(crate) fn of(finding: &Finding, roster: &Roster<'_>) -> Self {
        let proof = &finding.proof;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let mut origins: Vec<String> = proof.heads.iter().map(|head| head.origin().to_owned()).collect();
        for entry in &proof.entries {
            let receipt = puente_audit_log::ClaimedReceipt::parse(&entry.receipt);
            origins.extend(receipt.ok().map(|r| r.checkpoint().claimed().origin().to_owned()));
        }
        origins.sort();
        origins.dedup();
        Self {
            puente_evidence: 1,
            charter_pin: roster.charter.pin().to_string(),
            class: finding.class.to_string(),
            attributed_to: finding.attributed_to.as_str().to_owned(),
            log: finding.log.clone(),
            index: finding.index,
            seq: finding.seq,
            detail: finding.detail.clone(),
            en: finding.en.clone(),
            es: finding.es.clone(),
            keys: {
                let witness =
                    |key: &&VerifierKey| matches!(&finding.attributed_to, Blame::Witness(name) if name == key.name());
                let logs = origins.iter().flat_map(|origin| roster.keys(origin));
                let witnesses = roster.witnesses().iter().filter(witness).cloned();
                logs.chain(witnesses).map(|key| key.to_string()).collect()
            },
            heads: proof.heads.iter().map(|head| text(head.note_bytes())).collect(),
            entries: proof
                .entries
                .iter()
                .map(|e| EvidenceEntry { entry: STANDARD.encode(&e.entry), receipt: text(&e.receipt) })
                .collect(),
            prefix: proof.prefix.as_ref().map(|prefix| EvidencePrefix {
                size: prefix.size,
                root: prefix.root.to_string(),
                proof: prefix.proof.iter().map(|hash| STANDARD.encode(hash.0)).collect(),
            }),
        }
    }
}
