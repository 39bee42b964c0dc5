//! The auditor: a charter, keys, memory, and the verdicts that follow.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use puente_audit_log::SignedCheckpoint;
use puente_charter::Charter;
use puente_evidence::HpkeKeyPair;
use puente_ledger::LedgerOrigin;
use puente_model::{Digest, Millis, NodeUri};

use crate::dir::Cached;
use crate::error::AuditError;
use crate::evidence::EvidenceFile;
use crate::finding::{Conclusion, Findings, LogReport, Verdict};
use crate::ledgers::{self, Judged, Ledger};
use crate::reconcile::reconcile;
use crate::roster::Roster;
use crate::rules::Setting;
use crate::state::{State, replace};
use crate::verify::{Audited, Checked, place, verify};
use crate::witnesses::{self, AllHeads};

/// Minutes past its deadline after which a question without end is a finding.
const GRACE_MINUTES: u64 = 10;
/// Evidence files written for one verdict.
const EVIDENCE_FILES_MAX: usize = 500;

/// What is audited.
#[derive(Debug, Clone, Copy)]
pub enum Source<'s> {
    /// A copied log.
    Folder(&'s Path),
    /// A copied log, and the note of a head that was copied before.
    Copied(&'s Path, Option<&'s [u8]>),
    /// A log that could not be copied: its name, and why.
    Unreachable(&'s str, &'s str),
}

impl<'s> Source<'s> {
    const fn dir(&self) -> Option<&'s Path> {
        match self {
            Self::Folder(dir) | Self::Copied(dir, _) => Some(dir),
            Self::Unreachable(..) => None,
        }
    }
}

type Progress = dyn Fn(&str, u64, u64) + Send;

/// Verifies and reconciles copied logs.
pub struct Auditor {
    charter: Charter,
    now: Millis,
    keys: Vec<HpkeKeyPair>,
    state: Option<State>,
    evidence: Option<PathBuf>,
    grace_minutes: u64,
    without_headers: bool,
    figures: bool,
    forgets: bool,
    progress: Box<Progress>,
}

impl std::fmt::Debug for Auditor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Auditor({}, {} keys)", self.charter.federation(), self.keys.len())
    }
}

impl Auditor {
    /// An auditor without keys or memory. `now` is the auditor's clock.
    pub fn new(charter: Charter, now: Millis) -> Self {
        Self {
            charter,
            now,
            keys: Vec::new(),
            state: None,
            evidence: None,
            grace_minutes: GRACE_MINUTES,
            without_headers: false,
            figures: false,
            forgets: false,
            progress: Box::new(|_, _, _| {}),
        }
    }

    /// The auditor of a folder made by [`State::init`]: it remembers heads and writes evidence to `evidence/` in it.
    ///
    /// # Errors
    /// See [`State::open`].
    pub fn open(state: &Path, now: Millis) -> Result<Self, AuditError> {
        let (state, charter) = State::open(state)?;
        let evidence = state.dir().join("evidence");
        let mut auditor = Self::new(charter, now).with_evidence(evidence);
        auditor.state = Some(state);
        Ok(auditor)
    }

    /// Remembers heads in this folder.
    #[must_use]
    pub fn with_state(mut self, state: State) -> Self {
        self.state = Some(state);
        self
    }

    /// Opens sealed headers with these keys (an own auditor's, one of each quarter).
    #[must_use]
    pub fn with_keys(mut self, keys: Vec<HpkeKeyPair>) -> Self {
        self.keys = keys;
        self
    }

    /// Writes an evidence file for each fault into this folder.
    #[must_use]
    pub fn with_evidence(mut self, dir: impl Into<PathBuf>) -> Self {
        self.evidence = Some(dir.into());
        self
    }

    /// Minutes past its deadline after which a question without end is a finding (default 10).
    #[must_use]
    pub const fn with_grace(mut self, minutes: u64) -> Self {
        self.grace_minutes = minutes;
        self
    }

    /// Passes over sealed headers that no key opens: the verdict is then about everything but them.
    #[must_use]
    pub const fn without_headers(mut self) -> Self {
        self.without_headers = true;
        self
    }

    /// Remembers no head of what it finds sound.
    #[must_use]
    pub const fn without_remembering(mut self) -> Self {
        self.forgets = true;
        self
    }

    /// Origins of the logs of which a head is remembered.
    pub fn remembers(&self) -> BTreeSet<String> {
        self.state.iter().flat_map(State::origins).map(str::to_owned).collect()
    }

    /// Counts what each log shows of its node's exchanges ([`LogReport::figures`]), for a report.
    #[must_use]
    pub const fn with_figures(mut self) -> Self {
        self.figures = true;
        self
    }

    /// Tells of long work: the log's origin, entries done, entries in all.
    #[must_use]
    pub fn with_progress(mut self, progress: impl Fn(&str, u64, u64) + Send + 'static) -> Self {
        self.progress = Box::new(progress);
        self
    }

    /// The charter in force.
    pub const fn charter(&self) -> &Charter {
        &self.charter
    }

    /// Audits one copied log by itself.
    ///
    /// # Errors
    /// Memory or evidence cannot be written. Anything wrong with the copy is a finding, not an error.
    pub fn verify(&mut self, dir: &Path) -> Result<Verdict, AuditError> {
        self.audit(&[Source::Folder(dir)], false, true)
    }

    /// Audits each copied log, then each pair of them.
    ///
    /// # Errors
    /// As of [`Auditor::verify`].
    pub fn reconcile(&mut self, dirs: &[&Path]) -> Result<Verdict, AuditError> {
        self.audit(&dirs.iter().map(|dir| Source::Folder(dir)).collect::<Vec<_>>(), true, true)
    }

    /// Audits each source; with `pairs` each pair of them, too; with `evidence` faults are written to files.
    ///
    /// # Errors
    /// As of [`Auditor::verify`].
    pub fn audit<'s>(&mut self, sources: &[Source<'s>], pairs: bool, evidence: bool) -> Result<Verdict, AuditError> {
        let roster = Roster::new(&self.charter);
        let set = self.setting(&roster);
        let remembered = |origin: &str| self.state.as_ref().and_then(|state| state.remembered(origin));
        let claims = |source: &Source<'s>| source.dir().and_then(|dir| Some((dir, ledgers::origin_of(dir)?)));
        let (books, logs): (Vec<_>, Vec<_>) = sources.iter().copied().partition(|source| claims(source).is_some());
        let mut audited = verify_in_order(&set, &logs, &remembered, &*self.progress);
        // Nodes export the ledgers of their groups beside their logs.
        let beside: Vec<(PathBuf, LedgerOrigin)> =
            if pairs { logs.iter().filter_map(Source::dir).flat_map(ledgers::beside).collect() } else { Vec::new() };
        let beside = beside.iter().map(|(dir, origin)| (dir.as_path(), origin.clone()));
        let books: Vec<_> = books.iter().filter_map(claims).chain(beside).collect();
        let judged = ledgers::verify_all(&roster, &books, &remembered);
        let mut compared = 0;
        let mut findings = Findings::default();
        if pairs {
            compared = reconcile(&set, &mut audited, &mut findings);
        }
        self.histories(&roster, &audited, &judged, pairs, &mut findings);
        let mut reports: Vec<LogReport> = Vec::new();
        let mut heads: Vec<SignedCheckpoint> = Vec::new();
        for one in audited {
            findings.extend(one.findings.list);
            reports.push(one.report);
            heads.extend(one.checked.map(|checked| checked.head));
        }
        for one in judged {
            findings.extend(one.findings.list);
            reports.push(one.report);
            heads.extend(one.ledger.map(|ledger| ledger.head));
        }
        let mut verdict = Verdict::new(reports, compared, findings);
        if evidence {
            write_evidence(self.evidence.as_deref(), &roster, &mut verdict)?;
        }
        if verdict.verdict == Conclusion::Sound
            && !self.forgets
            && let Some(state) = &mut self.state
        {
            state.remember(&heads)?;
        }
        Ok(verdict)
    }

    /// Ledgers against members' logs, and witnesses against themselves.
    fn histories(
        &self,
        roster: &Roster<'_>,
        audited: &[Audited],
        judged: &[Judged],
        pairs: bool,
        findings: &mut Findings,
    ) {
        let logs: Vec<&Checked> = audited.iter().filter_map(|one| one.checked.as_ref()).collect();
        let ledgers: Vec<&Ledger> = judged.iter().filter_map(|one| one.ledger.as_ref()).collect();
        if pairs {
            ledgers::copies(&ledgers, findings);
            ledgers::compare(roster, &ledgers, &logs, findings);
        }
        let memory = self.state.iter().flat_map(State::notes).filter_map(|note| roster.head(note).ok());
        let memory: Vec<SignedCheckpoint> = memory.collect();
        let tiles: Vec<(&SignedCheckpoint, Cached<'_>)> = logs
            .iter()
            .map(|log| (&log.head, Cached::new(&log.dir)))
            .chain(ledgers.iter().map(|ledger| (&ledger.head, Cached::new(&ledger.dir))))
            .collect();
        let mut all = AllHeads::default();
        tiles.iter().for_each(|(head, tiles)| all.present(head, tiles));
        for log in &logs {
            all.add(
                log.own_heads.iter().chain(&log.peer_heads).chain(&log.asides.heads).chain(log.asides.receipt_heads()),
            );
        }
        all.add(&memory);
        witnesses::judge(roster, &all, findings);
    }

    fn setting<'a>(&'a self, roster: &'a Roster<'a>) -> Setting<'a> {
        Setting {
            roster,
            keys: &self.keys,
            now: self.now,
            grace_minutes: self.grace_minutes,
            without_headers: self.without_headers,
            figures: self.figures,
        }
    }
}

/// Verifies each log after the one that it follows, and gives them back in the order asked for.
fn verify_in_order(
    set: &Setting<'_>,
    sources: &[Source<'_>],
    remembered: &dyn Fn(&str) -> Option<Vec<u8>>,
    progress: &Progress,
) -> Vec<Audited> {
    let places: Vec<_> = sources.iter().map(|source| source.dir().and_then(|dir| place(set, dir))).collect();
    let mut order: Vec<usize> = (0..sources.len()).collect();
    order.sort_by(|a, b| places[*a].cmp(&places[*b]));
    let mut done: Vec<(usize, Audited)> = Vec::new();
    for (nth, at) in order.iter().enumerate() {
        let follows = |one: &Option<(NodeUri, u32)>, next: &Option<(NodeUri, u32)>| match (one, next) {
            (Some((a, k)), Some((b, n))) => a == b && k + 1 == *n,
            _ => false,
        };
        let continues = order.get(nth + 1).is_some_and(|next| follows(&places[*at], &places[*next]));
        let before = done.last_mut().filter(|(last, _)| follows(&places[*last], &places[*at]));
        let before = before.and_then(|(_, audited)| audited.carry.take());
        let audited = match sources[*at] {
            Source::Folder(dir) => verify(set, dir, remembered, None, progress, before, continues),
            Source::Copied(dir, copied) => verify(set, dir, remembered, copied, progress, before, continues),
            Source::Unreachable(name, why) => Audited::unreachable(name, why),
        };
        done.push((*at, audited));
    }
    done.sort_by_key(|(at, _)| *at);
    done.into_iter().map(|(_, audited)| audited).collect()
}

fn write_evidence(dir: Option<&Path>, roster: &Roster<'_>, verdict: &mut Verdict) -> Result<(), AuditError> {
    let Some(dir) = dir else { return Ok(()) };
    let faults = verdict.findings.iter_mut().filter(|f| f.severity == crate::Severity::Unsound);
    for finding in faults.take(EVIDENCE_FILES_MAX) {
        let file = EvidenceFile::of(finding, roster);
        let bytes = serde_json::to_vec_pretty(&file).map_err(|e| AuditError::Unreadable(e.to_string()))?;
        let name = format!("{}-{}.json", finding.class, hex::encode(&Digest::of(&bytes).0[..6]));
        let path = dir.join(name);
        replace(&path, &bytes)?;
        finding.evidence = Some(path.display().to_string());
    }
    Ok(())
}

/// Replays one copied log with parsing and every rule, and nothing else: no memory, no evidence. For measurements.
pub fn verify_rules(charter: &Charter, dir: &Path, now: Millis) -> Verdict {
    let roster = Roster::new(charter);
    let set = Setting {
        roster: &roster,
        keys: &[],
        now,
        grace_minutes: GRACE_MINUTES,
        without_headers: true,
        figures: false,
    };
    let audited = verify(&set, dir, &|_| None, None, &|_, _, _| {}, None, false);
    Verdict::new(vec![audited.report], 0, audited.findings)
}
