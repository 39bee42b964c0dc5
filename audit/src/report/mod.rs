//! The report: what the logs show, for people who would rather look than read, and as JSON.
//!
//! Everything in it comes from one audit ([`Verdict`], with its figures) and the charter: the same copies, keys and instant
//! give the same bytes. Exchanges are counted from the asker's log, else from the holder's; pages and charts hold no more than
//! the JSON does.

mod charts;
mod page;
mod public;
mod public_page;
pub(crate) mod signed;
mod words;

use std::collections::{BTreeMap, BTreeSet};

use puente_charter::{Charter, Member, Part};
use puente_model::{Millis, Minute, NodeUri};
use serde::Serialize;

use crate::acts::{Acts, Handling};
use crate::figures::{Ends, Figures, Flow, Growth};
use crate::finding::{Conclusion, Cosigner, Finding, LogReport, Trained, Verdict};

pub use page::page;
pub use public::{Cell, Public, Row};
pub use public_page::public_page;

/// Upper ends of the bins of waiting times, in whole minutes; what takes longer is in one more.
pub const WAIT_BINS: [u64; 8] = [0, 1, 5, 15, 60, 240, 1_440, 10_080];

/// A part of the charter.
#[derive(Debug, Clone, Serialize)]
pub struct PartShown {
    /// `common`, or the nation of an annex.
    pub part: String,
    /// Its number.
    pub number: u32,
    /// Its hash.
    pub hash: String,
    /// Names of the keys that signed it.
    pub signed_by: Vec<String>,
    /// The day from which it is valid, where it says so (a common part).
    pub valid_from: Option<String>,
    /// The day on which it ends, where it says so.
    pub expires: Option<String>,
}

/// A charter that a log went on under.
#[derive(Debug, Clone, Serialize)]
pub struct Adopted {
    /// The log.
    pub log: String,
    /// First entry under it.
    pub index: u64,
    /// The newest time that the log had stated by then.
    pub minute: String,
    /// The charter's vector.
    pub vector: String,
}

/// A log, and how it grew.
#[derive(Debug, Clone, Serialize)]
pub struct LogShown {
    /// What the audit says of it.
    #[serde(flatten)]
    pub report: LogReport,
    /// Minutes in a step of `growth`.
    pub step_minutes: u64,
    /// First minute of a step (UTC), and the entries dated in it.
    pub growth: Vec<(String, u64)>,
    /// Heads of it that stand in PERIOD entries of logs that were read: when, and over how many entries.
    pub heads: Vec<(String, u64)>,
    #[serde(skip)]
    steps: Growth,
    #[serde(skip)]
    seen: Vec<(Minute, u64)>,
}

/// What came of the questions of one kind and purpose between two nodes.
#[derive(Debug, Clone, Serialize)]
pub struct FlowShown {
    /// Who asks.
    pub asker: NodeShown,
    /// Who is asked.
    pub holder: NodeShown,
    /// What kind of question.
    pub kind: String,
    /// Why.
    pub purpose: String,
    /// Questions.
    pub asked: u64,
    /// Answers by outcome.
    pub answers: BTreeMap<String, u64>,
    /// Refusals by reason.
    pub refusals: BTreeMap<String, u64>,
    /// Contents released.
    pub released: u64,
    /// Questions given up.
    pub voided: u64,
    /// Questions without an end yet.
    pub open: u64,
}

/// A node's URI.
pub type NodeShown = String;

/// How long one node waits for another's answers, in whole minutes.
#[derive(Debug, Clone, Serialize)]
pub struct Wait {
    /// Who asks.
    pub asker: NodeShown,
    /// Who is asked.
    pub holder: NodeShown,
    /// Questions with an end.
    pub ended: u64,
    /// The middle one.
    pub median: u64,
    /// Nine of ten took no longer.
    pub p90: u64,
    /// The longest.
    pub longest: u64,
    /// How many fell into each of [`WAIT_BINS`], and beyond.
    pub bins: [u64; WAIT_BINS.len() + 1],
    /// Questions that still wait: they are in no other figure of this row.
    pub open: u64,
}

/// A question past its deadline.
#[derive(Debug, Clone, Serialize)]
pub struct OverdueShown {
    /// The log in which it stands.
    pub log: String,
    /// Its place there.
    pub index: u64,
    /// Who asked.
    pub asker: NodeShown,
    /// Who was asked.
    pub holder: NodeShown,
    /// When it was due.
    pub due: String,
}

/// Something that the verdict is not about.
#[derive(Debug, Clone, Serialize)]
#[serde(tag = "what", rename_all = "kebab-case")]
pub enum Unchecked {
    /// A member's log that nobody gave.
    LogNotGiven {
        /// The log.
        log: String,
    },
    /// A log whose exchanges with these partners stand in no second log that was given.
    OneSided {
        /// The log.
        log: String,
        /// Partners without a log here.
        partners: Vec<String>,
    },
    /// Veiled entries whose headers no key opened.
    HeadersUnopened {
        /// The log.
        log: String,
        /// How many.
        count: u64,
    },
    /// No head of it is remembered from an earlier audit.
    NothingRemembered {
        /// The log.
        log: String,
    },
    /// The charter names no witnesses.
    NoWitnesses,
    /// Questions that were put past Puente leave nothing in any log.
    OutsideTheLogs,
    /// Contents are sealed: that an answer is true was not looked at.
    Contents,
}

/// Everything a report says.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// 1.
    pub puente_report: u32,
    /// The federation.
    pub federation: String,
    /// Hash of common part 1 of its charter.
    pub charter_pin: String,
    /// The charter's vector.
    pub charter: String,
    /// Its parts, in order.
    pub parts: Vec<PartShown>,
    /// Which log went on under which charter.
    pub adopted: Vec<Adopted>,
    /// As of when everything is judged, in milliseconds since 1970.
    pub as_of: u64,
    /// What follows.
    pub verdict: Conclusion,
    /// Pairs of nodes whose logs were compared.
    pub pairs: u64,
    /// Each log.
    pub logs: Vec<LogShown>,
    /// Questions by pair, kind and purpose.
    pub flows: Vec<FlowShown>,
    /// Waiting times by pair.
    pub waits: Vec<Wait>,
    /// Refusals by reason.
    pub refusals: BTreeMap<String, u64>,
    /// Entries of training: they are in no figure above.
    pub training: Trained,
    /// Questions past their deadlines, the first ones of each log.
    pub overdue: Vec<OverdueShown>,
    /// How many there are in all.
    pub overdue_all: u64,
    /// Everything that was found, worst first; `evidence` is a file's name under `evidence/`.
    pub findings: Vec<Finding>,
    /// By a finding's name: who sees to it, and what the agency replied.
    pub handling: BTreeMap<String, Handling>,
    /// Findings beyond the limit of a class.
    pub findings_not_listed: u64,
    /// What the verdict is not about.
    pub unchecked: Vec<Unchecked>,
}

impl Report {
    /// The report of an audit that counted figures ([`crate::Auditor::with_figures`]). `remembered`: origins of the logs of
    /// which the auditor remembered a head before.
    pub fn new(charter: &Charter, verdict: &Verdict, as_of: Millis, remembered: &BTreeSet<String>) -> Self {
        let counted = counted(&verdict.logs);
        let heads = heads(&verdict.logs);
        let trained = |of: fn(&Trained) -> u64| verdict.logs.iter().map(|log| of(&log.counts.training)).sum();
        let figures = || verdict.logs.iter().filter_map(|log| Some((log, log.figures.as_deref()?)));
        let mut refusals = BTreeMap::new();
        for (reason, count) in counted.flows.values().flat_map(|ends| &ends.refusals) {
            *refusals.entry(reason.clone()).or_default() += count;
        }
        let mut findings = verdict.findings.clone();
        for finding in &mut findings {
            finding.evidence = finding.evidence.as_deref().map(file_name);
        }
        Self {
            puente_report: 1,
            federation: charter.federation().to_owned(),
            charter_pin: charter.pin().to_string(),
            charter: charter.vector().to_string(),
            parts: charter.parts().iter().map(part).collect(),
            adopted: figures().flat_map(|(log, figures)| adopted(log, figures)).collect(),
            as_of: as_of.0,
            verdict: verdict.verdict,
            pairs: verdict.pairs,
            logs: verdict.logs.iter().map(|log| shown(log, &heads)).collect(),
            flows: counted.flows.iter().map(|(flow, ends)| flow_shown(flow, ends)).collect(),
            waits: waits(&counted),
            refusals,
            training: Trained {
                queries: trained(|t| t.queries),
                answers: trained(|t| t.answers),
                refusals: trained(|t| t.refusals),
                releases: trained(|t| t.releases),
                voids: trained(|t| t.voids),
            },
            overdue: counted.overdue,
            overdue_all: counted.overdue_all,
            findings,
            handling: BTreeMap::new(),
            findings_not_listed: verdict.findings_not_listed,
            unchecked: unchecked(charter, verdict, remembered),
        }
    }

    /// With what people did about its findings.
    #[must_use]
    pub fn with_acts(mut self, acts: &Acts) -> Self {
        let of = |finding: &Finding| Some((finding.id.clone(), acts.of(&finding.id)?.clone()));
        self.handling = self.findings.iter().filter_map(of).collect();
        self
    }

    /// The logs of nodes; the others are ledgers of groups.
    pub fn node_logs(&self) -> impl Iterator<Item = &LogShown> {
        self.logs.iter().filter(|log| !log.report.node.is_empty())
    }

    /// Every witness's word for a head beside a log.
    fn cosigners(&self) -> impl Iterator<Item = (&LogShown, &Cosigner)> {
        self.logs.iter().flat_map(|log| log.report.cosigners.iter().map(move |by| (log, by)))
    }
}

/// Figures of all logs, each exchange once.
#[derive(Debug, Default)]
struct Counted {
    flows: BTreeMap<Flow, Ends>,
    waits: BTreeMap<(NodeUri, NodeUri), BTreeMap<u64, u64>>,
    overdue: Vec<OverdueShown>,
    overdue_all: u64,
}

fn counted(logs: &[LogReport]) -> Counted {
    let owners: BTreeSet<&str> = logs.iter().filter(|log| log.figures.is_some()).map(|log| &*log.node).collect();
    // Both parties' logs hold an exchange: the asker's counts where it is here.
    let counts = |log: &LogReport, asker: &NodeUri| log.node == asker.as_str() || !owners.contains(asker.as_str());
    let mut out = Counted::default();
    for (log, figures) in logs.iter().filter_map(|log| Some((log, log.figures.as_deref()?))) {
        for (flow, ends) in figures.flows.iter().filter(|(flow, _)| counts(log, &flow.asker)) {
            out.flows.entry(flow.clone()).or_default().add(ends);
        }
        for (pair, waits) in figures.waits.iter().filter(|(pair, _)| counts(log, &pair.0)) {
            let of = out.waits.entry(pair.clone()).or_default();
            waits.iter().for_each(|(minutes, count)| *of.entry(*minutes).or_default() += count);
        }
        let late = figures.overdue.iter().filter(|late| counts(log, &late.asker));
        out.overdue.extend(late.map(|late| OverdueShown {
            log: log.origin.clone(),
            index: late.index,
            asker: late.asker.to_string(),
            holder: late.holder.to_string(),
            due: late.due.to_string(),
        }));
        let beyond = figures.overdue_all - figures.overdue.len() as u64;
        out.overdue_all += beyond;
    }
    out.overdue.sort_by(|a, b| (&a.due, &a.log, a.index).cmp(&(&b.due, &b.log, b.index)));
    out.overdue_all += out.overdue.len() as u64;
    out
}

fn waits(counted: &Counted) -> Vec<Wait> {
    let open = |asker: &NodeUri, holder: &NodeUri| {
        let of = counted.flows.iter().filter(|(flow, _)| flow.asker == *asker && flow.holder == *holder);
        of.map(|(_, ends)| ends.open).sum()
    };
    let shown = |((asker, holder), minutes): (&(NodeUri, NodeUri), &BTreeMap<u64, u64>)| {
        let ended: u64 = minutes.values().sum();
        let mut bins = [0; WAIT_BINS.len() + 1];
        for (waited, count) in minutes {
            let bin = WAIT_BINS.iter().position(|most| waited <= most).unwrap_or(WAIT_BINS.len());
            if let Some(of) = bins.get_mut(bin) {
                *of += count;
            }
        }
        Wait {
            asker: asker.to_string(),
            holder: holder.to_string(),
            ended,
            median: nth(minutes, ended.div_ceil(2)),
            p90: nth(minutes, (ended * 9).div_ceil(10)),
            longest: minutes.keys().next_back().copied().unwrap_or_default(),
            bins,
            open: open(asker, holder),
        }
    };
    counted.waits.iter().map(shown).collect()
}

/// The value of which `rank` are no larger (nearest rank).
fn nth(counts: &BTreeMap<u64, u64>, rank: u64) -> u64 {
    let mut seen = 0;
    let found = counts.iter().find(|(_, count)| {
        seen += **count;
        seen >= rank
    });
    found.map(|(value, _)| *value).unwrap_or_default()
}

/// Heads of each log that stand in any of them, in order.
fn heads(logs: &[LogReport]) -> BTreeMap<String, BTreeSet<(Minute, u64)>> {
    let mut all: BTreeMap<String, BTreeSet<(Minute, u64)>> = BTreeMap::new();
    for (origin, seen) in logs.iter().filter_map(|log| log.figures.as_deref()).flat_map(|figures| &figures.heads) {
        all.entry(origin.clone()).or_default().extend(seen.iter().copied());
    }
    all
}

fn shown(log: &LogReport, heads: &BTreeMap<String, BTreeSet<(Minute, u64)>>) -> LogShown {
    let steps = log.figures.as_deref().map(|figures| figures.growth.clone()).unwrap_or_default();
    let seen: Vec<(Minute, u64)> = heads.get(&log.origin).into_iter().flatten().copied().collect();
    LogShown {
        report: LogReport { figures: None, dir: file_name(&log.dir), ..log.clone() },
        step_minutes: steps.step,
        growth: steps.entries.iter().map(|(minute, count)| (Minute(*minute).to_string(), *count)).collect(),
        heads: seen.iter().map(|(minute, size)| (minute.to_string(), *size)).collect(),
        steps,
        seen,
    }
}

fn flow_shown(flow: &Flow, ends: &Ends) -> FlowShown {
    FlowShown {
        asker: flow.asker.to_string(),
        holder: flow.holder.to_string(),
        kind: flow.kind.as_str().to_owned(),
        purpose: flow.purpose.as_str().to_owned(),
        asked: ends.asked,
        answers: ends.answers.clone(),
        refusals: ends.refusals.clone(),
        released: ends.released,
        voided: ends.voided,
        open: ends.open,
    }
}

fn adopted(log: &LogReport, figures: &Figures) -> Vec<Adopted> {
    let shown = |(index, minute, vector): &(u64, Minute, _)| {
        let vector: &puente_model::CharterVector = vector;
        Adopted { log: log.origin.clone(), index: *index, minute: minute.to_string(), vector: vector.to_string() }
    };
    figures.charters.iter().map(shown).collect()
}

fn part(claimed: &puente_charter::ClaimedPart) -> PartShown {
    let (part, number, valid_from, expires) = match claimed.part() {
        Part::Common(common) => ("common".to_owned(), common.number, Some(common.valid_from), Some(common.expires)),
        Part::Annex(annex) => (annex.jurisdiction.to_string(), annex.number, None, None),
    };
    let day = |at: Millis| at.to_string().chars().take(10).collect();
    PartShown {
        part,
        number,
        hash: claimed.hash().to_string(),
        signed_by: claimed.signatures().iter().map(|signature| signature.key_name.clone()).collect(),
        valid_from: valid_from.map(day),
        expires: expires.map(day),
    }
}

fn file_name(path: &str) -> String {
    std::path::Path::new(path).file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}

fn unchecked(charter: &Charter, verdict: &Verdict, remembered: &BTreeSet<String>) -> Vec<Unchecked> {
    let given: BTreeSet<&str> = verdict.logs.iter().map(|log| &*log.origin).collect();
    let owners: BTreeSet<&str> = verdict.logs.iter().map(|log| &*log.node).collect();
    let logs = charter.members().iter().flat_map(|member: &Member| &member.logs).map(|log| log.origin.to_string());
    let mut out: Vec<Unchecked> =
        logs.filter(|log| !given.contains(&**log)).map(|log| Unchecked::LogNotGiven { log }).collect();
    for log in verdict.logs.iter().filter(|log| !log.node.is_empty()) {
        let (veiled, opened, name) = (log.counts.veiled, log.counts.opened, log.origin.clone());
        if let Some(figures) = log.figures.as_deref() {
            let parties = figures.flows.keys().flat_map(|flow| [flow.asker.as_str(), flow.holder.as_str()]);
            let without: BTreeSet<&str> = parties.filter(|node| !owners.contains(node)).collect();
            if !without.is_empty() {
                let partners = without.into_iter().map(str::to_owned).collect();
                out.push(Unchecked::OneSided { log: name.clone(), partners });
            }
        }
        if veiled > opened {
            out.push(Unchecked::HeadersUnopened { log: name.clone(), count: veiled - opened });
        }
        if !remembered.contains(&log.origin) {
            out.push(Unchecked::NothingRemembered { log: name });
        }
    }
    if charter.witness_policy().is_none() {
        out.push(Unchecked::NoWitnesses);
    }
    out.extend([Unchecked::OutsideTheLogs, Unchecked::Contents]);
    out
}
