//! What an audit finds, and what follows from it.

use puente_model::{Digest, Millis, NodeUri};
use puente_words::text;
use serde::{Serialize, Serializer};

use crate::Lang;
use crate::class::{Class, Severity};
use crate::figures::Figures;

/// Findings of one class that are kept with all their details; further ones are counted.
pub const FINDINGS_PER_CLASS_MAX: usize = 200;

/// What names of findings are made under.
const IDENTITY: &str = "puente/finding/v1";
/// Bytes of a finding's name.
const ID_BYTES: usize = 8;

/// What follows from an audit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Conclusion {
    /// Every check was made and passed.
    Sound,
    /// At least one check failed: see the findings.
    Unsound,
    /// A file, key or charter part is missing: no verdict.
    CouldNotTell,
}

impl Conclusion {
    /// The stable text.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Sound => "sound",
            Self::Unsound => "unsound",
            Self::CouldNotTell => "could-not-tell",
        }
    }

    /// What a program returns: 0 sound, 1 unsound, 2 could not tell.
    pub const fn exit_code(self) -> u8 {
        match self {
            Self::Sound => 0,
            Self::Unsound => 1,
            Self::CouldNotTell => 2,
        }
    }

    /// For people.
    pub fn in_words(self, lang: Lang) -> &'static str {
        let words = match self {
            Self::Sound => "sound",
            Self::Unsound => "unsound",
            Self::CouldNotTell => "could not tell",
        };
        text(lang, words)
    }
}

/// Who answers for a finding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Blame {
    /// This node.
    Node(NodeUri),
    /// The charter's witness of this name.
    Witness(String),
    /// The files do not say.
    Unknown,
}

impl Blame {
    /// The node's URI, the witness's name, or `unknown`.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Node(node) => node.as_str(),
            Self::Witness(name) => name,
            Self::Unknown => "unknown",
        }
    }
}

impl Serialize for Blame {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

/// One thing that an audit found.
#[derive(Debug, Clone, Serialize)]
pub struct Finding {
    /// Its name: 16 hexadecimal digits, the same in every audit that finds the same, also when the log has grown.
    pub id: String,
    /// What it is; stable.
    pub class: Class,
    /// What it does to the verdict.
    pub severity: Severity,
    /// Who answers for it.
    pub attributed_to: Blame,
    /// The log it was found in or is about: its origin, or the folder where the origin is not known.
    pub log: String,
    /// Position of the (first) entry concerned.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub index: Option<u64>,
    /// Its number in its author's numbering.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seq: Option<u64>,
    /// What was seen, in technical terms; no identifier of a person.
    pub detail: String,
    /// The finding in one plain sentence, English.
    pub en: String,
    /// The finding in one plain sentence, Spanish.
    pub es: String,
    /// Where the evidence was written.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub evidence: Option<String>,
    /// Another entry of the same log that it is about.
    #[serde(skip)]
    pub(crate) related: Option<u64>,
    /// What a third party needs; written to the evidence file, not printed.
    #[serde(skip)]
    pub(crate) proof: crate::evidence::Proof,
}

impl Finding {
    pub(crate) fn new(class: Class, blame: Blame, log: &str, detail: impl Into<String>) -> Self {
        Self {
            id: String::new(),
            class,
            severity: class.severity(),
            attributed_to: blame,
            log: log.to_owned(),
            index: None,
            seq: None,
            detail: detail.into(),
            en: String::new(),
            es: String::new(),
            evidence: None,
            related: None,
            proof: crate::evidence::Proof::default(),
        }
        .phrased()
    }

    pub(crate) fn at(mut self, index: u64) -> Self {
        self.index = Some(index);
        self.phrased()
    }

    pub(crate) fn numbered(mut self, seq: u64) -> Self {
        self.seq = Some(seq);
        self.phrased()
    }

    pub(crate) fn related(mut self, index: Option<u64>) -> Self {
        self.related = index;
        self
    }

    pub(crate) fn soften(mut self) -> Self {
        self.severity = Severity::Notice;
        self
    }

    pub(crate) fn with_proof(mut self, proof: crate::evidence::Proof) -> Self {
        self.proof = proof;
        self
    }

    /// What makes it the same finding again. A log grows, and with it the head that is presented: what stays is which entry it
    /// is about, else which head somebody kept, else what was seen.
    fn identity(&self) -> Digest {
        let number = |of: Option<u64>| of.map(|n| n.to_string()).unwrap_or_default();
        // The one that is presented comes after it.
        let kept = self.proof.heads.first();
        let about = match (self.index, self.seq, kept) {
            (None, None, Some(head)) => format!("{} {}", head.size(), head.root()),
            // How many of them there are changes.
            (None, None, None) => self.detail.chars().filter(|c| !c.is_ascii_digit()).collect(),
            _ => format!("{} {} {}", number(self.index), number(self.seq), number(self.related)),
        };
        // A log that was cut short and grows again contradicts the same head in another way.
        let class = match (self.class, self.index) {
            (Class::Truncated | Class::SplitView | Class::Rewritten, None) => "contradicts-a-head",
            (class, _) => class.as_str(),
        };
        let parts = [IDENTITY, class, self.attributed_to.as_str(), &self.log, &about];
        let framed =
            parts.iter().flat_map(|part| [(part.len() as u64).to_be_bytes().to_vec(), part.as_bytes().to_vec()]);
        Digest::of(&framed.collect::<Vec<_>>().concat())
    }

    fn phrased(mut self) -> Self {
        let phrased = |lang| {
            let index = self.index.map(|i| format!(", {} {i}", text(lang, "entry"))).unwrap_or_default();
            let seq = self.seq.map(|s| format!(", {} {s}", text(lang, "number"))).unwrap_or_default();
            let who = match &self.attributed_to {
                Blame::Node(node) => node.as_str().to_owned(),
                Blame::Witness(name) => format!("{} {name}", text(lang, "witness")),
                Blame::Unknown => text(lang, "unknown").to_owned(),
            };
            format!("{}{index}{seq}: {} ({who}).", self.log, self.class.sentence(lang))
        };
        (self.en, self.es) = (phrased(Lang::En), phrased(Lang::Es));
        self
    }

    /// The plain sentence in a language.
    pub fn sentence(&self, lang: Lang) -> &str {
        match lang {
            Lang::En => &self.en,
            Lang::Es => &self.es,
        }
    }
}

/// Findings as they are gathered, bounded.
#[derive(Debug, Default)]
pub(crate) struct Findings {
    pub(crate) list: Vec<Finding>,
    counts: std::collections::HashMap<(Class, Severity), u64>,
}

impl Findings {
    pub(crate) fn push(&mut self, finding: Finding) {
        let count = self.counts.entry((finding.class, finding.severity)).or_default();
        *count += 1;
        if *count <= FINDINGS_PER_CLASS_MAX as u64 {
            self.list.push(finding);
        }
    }

    /// Counts a finding and says whether it would be kept.
    pub(crate) fn wants(&mut self, class: Class, severity: Severity) -> bool {
        let count = self.counts.entry((class, severity)).or_default();
        if *count < FINDINGS_PER_CLASS_MAX as u64 {
            return true;
        }
        *count += 1;
        false
    }

    pub(crate) fn extend(&mut self, more: impl IntoIterator<Item = Finding>) {
        more.into_iter().for_each(|finding| self.push(finding));
    }

    /// How many were found but not kept.
    pub(crate) fn omitted(&self) -> u64 {
        self.counts.values().map(|n| n.saturating_sub(FINDINGS_PER_CLASS_MAX as u64)).sum()
    }

    pub(crate) fn conclusion(&self) -> Conclusion {
        conclude(&self.list)
    }
}

/// What follows from findings.
pub(crate) fn conclude<'a>(findings: impl IntoIterator<Item = &'a Finding>) -> Conclusion {
    let worst = findings.into_iter().map(|f| f.severity).max();
    match worst {
        Some(Severity::Unsound) => Conclusion::Unsound,
        Some(Severity::CouldNotTell) => Conclusion::CouldNotTell,
        Some(Severity::Notice) | None => Conclusion::Sound,
    }
}

/// What the audit of one copied log came to.
#[derive(Debug, Clone, Serialize)]
pub struct LogReport {
    /// The folder.
    pub dir: String,
    /// The log's origin; empty where the head does not say.
    pub origin: String,
    /// The node that writes it; empty of a group's ledger, and where the head does not say.
    pub node: String,
    /// Entries under the head.
    pub entries: u64,
    /// Entries at which the log is closed: by its node, that left, or by the charter.
    pub closed_at: Option<u64>,
    /// Entries under a head beside the log that the charter's quorum cosigned; none while the charter wants no cosignatures.
    pub cosigned: Option<u64>,
    /// The root, lower-case hexadecimal; empty without a verified head.
    pub root: String,
    /// What the entries are.
    pub counts: Counts,
    /// What follows for this log alone.
    pub verdict: Conclusion,
    /// The witnesses that cosigned the head beside the log.
    pub cosigners: Vec<Cosigner>,
    /// What the log shows of its node's exchanges, where that was asked for.
    #[serde(skip)]
    pub figures: Option<Box<Figures>>,
}

/// A witness's word for a head.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Cosigner {
    /// The witness, as the charter names it.
    pub witness: String,
    /// When it had seen no larger tree, in milliseconds since 1970.
    #[serde(serialize_with = "millis")]
    pub at: Option<Millis>,
    /// Entries under the head.
    pub entries: u64,
}

fn millis<S: Serializer>(at: &Option<Millis>, serializer: S) -> Result<S::Ok, S::Error> {
    at.map(|at| at.0).serialize(serializer)
}

/// What was seen in one log.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// QUERY entries.
    pub queries: u64,
    /// ANSWER entries.
    pub answers: u64,
    /// REFUSAL entries.
    pub refusals: u64,
    /// RELEASE entries.
    pub releases: u64,
    /// VOID entries.
    pub voids: u64,
    /// PERIOD entries.
    pub periods: u64,
    /// Seeds entries.
    pub seeds: u64,
    /// Entries about groups.
    pub groups: u64,
    /// Veiled entries.
    pub veiled: u64,
    /// Veiled entries whose header was opened.
    pub opened: u64,
    /// Kept receipts that verified.
    pub receipts: u64,
    /// Questions without an end yet.
    pub open: u64,
    /// Entries of training: they stand under no other count.
    pub training: Trained,
}

/// Entries of exchanges about invented records. Every rule holds for them, and no figure of real ones has them in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Trained {
    /// QUERY entries.
    pub queries: u64,
    /// ANSWER entries.
    pub answers: u64,
    /// REFUSAL entries.
    pub refusals: u64,
    /// RELEASE entries.
    pub releases: u64,
    /// VOID entries that give up a question of training which stands in the same log.
    pub voids: u64,
}

/// What an audit came to.
#[derive(Debug, Clone, Serialize)]
pub struct Verdict {
    /// What follows.
    pub verdict: Conclusion,
    /// One report for each folder.
    pub logs: Vec<LogReport>,
    /// Pairs of nodes whose logs were compared.
    pub pairs: u64,
    /// Everything that was found, worst first.
    pub findings: Vec<Finding>,
    /// Findings beyond the limit of a class: counted, not listed.
    pub findings_not_listed: u64,
}

impl Verdict {
    pub(crate) fn new(logs: Vec<LogReport>, pairs: u64, findings: Findings) -> Self {
        let (verdict, findings_not_listed) = (findings.conclusion(), findings.omitted());
        let mut list = findings.list;
        list.sort_by_key(|f| std::cmp::Reverse(f.severity));
        let mut seen = std::collections::HashMap::<Digest, u64>::new();
        for finding in &mut list {
            let identity = finding.identity();
            let times = seen.entry(identity).or_default();
            // Two that cannot be told apart otherwise are told apart by their order.
            let named = Digest::of(&[identity.0.as_slice(), &times.to_be_bytes()].concat());
            *times += 1;
            finding.id = hex::encode(&named.0[..ID_BYTES]);
        }
        Self { verdict, logs, pairs, findings: list, findings_not_listed }
    }

    /// The findings that make it unsound.
    pub fn faults(&self) -> impl Iterator<Item = &Finding> {
        self.findings.iter().filter(|f| f.severity == Severity::Unsound)
    }
}
