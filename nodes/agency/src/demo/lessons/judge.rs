//! Judging an answer: the copies are audited again, with the auditor's own library, and the answer is held against that.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use puente_audit::{Auditor, Blame, Class, Conclusion, Finding, Severity, Verdict, load_charter};
use puente_catalogue::Lang;
use puente_evidence::HpkeKeyPair;
use puente_model::{AgencyId, Digest, Millis, NodeUri};
use serde_json::json;

use super::super::words::fill;
use super::Lesson;
use super::folder::{self, CHARTER, COPIES, KEY};
use super::forgeries::everybody;
use super::sheet::COLUMNS;
use super::words::Text;
use crate::cli::{Exit, Failure, Report, wrap};
use crate::files;

/// What a learner found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Found {
    /// Every check passed.
    Sound,
    /// Something that the verdict needs is missing.
    CouldNotTell,
    /// A finding of this class.
    Class(Class),
}

impl FromStr for Found {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "sound" => Ok(Self::Sound),
            "could-not-tell" => Ok(Self::CouldNotTell),
            _ => text.parse().map(Self::Class).map_err(|_| {
                "a class is the word in square brackets before a finding; otherwise 'sound' or 'could-not-tell'"
                    .to_owned()
            }),
        }
    }
}

impl fmt::Display for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sound => f.write_str("sound"),
            Self::CouldNotTell => f.write_str("could-not-tell"),
            Self::Class(class) => class.fmt(f),
        }
    }
}

/// A learner's answer.
#[derive(Debug, Clone)]
pub struct Answer {
    /// What was found.
    pub found: Found,
    /// Who answers for it.
    pub by: Option<AgencyId>,
    /// At which entry.
    pub entry: Option<u64>,
}

/// Judges an answer, or gives the right one without one.
///
/// # Errors
/// The folder is no lesson's, or not what it was; the answer leaves out who answers for it.
pub fn check(dir: &Path, answer: Option<&Answer>, now: Millis, lang: Lang) -> Result<Report, Failure> {
    let (lesson, pin) = folder::read(dir)?;
    let verdict = audit(dir, pin, now)?;
    match answer {
        None => Ok(told(lesson, &verdict, lang)),
        Some(answer) => judged(lesson, &verdict, answer, lang),
    }
}

/// The audit of the lesson's copies, as its learner makes it.
fn audit(dir: &Path, pin: Digest, now: Millis) -> Result<Verdict, Failure> {
    let failed = |what: String| Failure::usage("no-lesson", what);
    let charter = load_charter(&dir.join(CHARTER), pin).map_err(|error| failed(error.to_string()))?;
    let path = dir.join(KEY);
    let secret = files::read_secret(&path).map_err(|error| Failure::file(&path, &error))?;
    let key = HpkeKeyPair::from_private(secret).map_err(|error| failed(error.to_string()))?;
    let copies: Vec<PathBuf> = everybody().map(|agency| dir.join(COPIES).join(agency.folder())).collect();
    let copies: Vec<&Path> = copies.iter().map(PathBuf::as_path).collect();
    let mut auditor = Auditor::new(charter, now).with_keys(vec![key]);
    auditor.reconcile(&copies).map_err(|error| failed(error.to_string()))
}

/// What is wrong with an answer; nothing with the right one.
fn wrong(verdict: &Verdict, answer: &Answer) -> Option<Text> {
    let class = match (answer.found, verdict.verdict) {
        (Found::Sound, Conclusion::Sound) | (Found::CouldNotTell, Conclusion::CouldNotTell) => {
            return (answer.by.is_some() || answer.entry.is_some()).then_some(Text::NobodyToBlame);
        }
        (Found::Sound, _) => return Some(Text::NotSound),
        (Found::CouldNotTell, _) => return Some(Text::NotAGap),
        (Found::Class(class), _) => class,
    };
    let of_class: Vec<&Finding> = verdict.findings.iter().filter(|f| f.class == class).collect();
    if of_class.is_empty() {
        return Some(Text::NoneOfThem);
    }
    if verdict.verdict == Conclusion::CouldNotTell {
        return Some(Text::AGap);
    }
    let faults: Vec<&&Finding> = of_class.iter().filter(|f| f.severity == Severity::Unsound).collect();
    if faults.is_empty() {
        return Some(Text::NotAlone);
    }
    let theirs: Vec<&&&Finding> = faults.iter().filter(|f| blamed(f).as_ref() == answer.by.as_ref()).collect();
    if theirs.is_empty() {
        return Some(Text::OtherAgency);
    }
    let there = |entry: u64| theirs.iter().any(|f| f.index == Some(entry));
    answer.entry.filter(|entry| !there(*entry)).map(|_| Text::OtherEntry)
}

/// The agency that answers for a finding.
fn blamed(finding: &Finding) -> Option<AgencyId> {
    match &finding.attributed_to {
        Blame::Node(node) => Some(node.agency()),
        Blame::Witness(_) | Blame::Unknown => None,
    }
}

/// Findings that are the answer: faults, or gaps where there is no fault.
fn decisive(verdict: &Verdict) -> Vec<&Finding> {
    let severity = match verdict.verdict {
        Conclusion::Unsound => Severity::Unsound,
        Conclusion::CouldNotTell => Severity::CouldNotTell,
        Conclusion::Sound => return Vec::new(),
    };
    verdict.findings.iter().filter(|f| f.severity == severity).collect()
}

fn judged(lesson: &Lesson, verdict: &Verdict, answer: &Answer, lang: Lang) -> Result<Report, Failure> {
    if matches!(answer.found, Found::Class(_)) && answer.by.is_none() && verdict.verdict == Conclusion::Unsound {
        let failure = Failure::usage("by-whom", "the answer does not say who answers for what was found");
        return Err(failure.hint("add --by AGENCY, for example --by us/tx-dps").in_training());
    }
    let why = wrong(verdict, answer);
    let value = json!({
        "lesson": lesson.name,
        "right": why.is_none(),
        "found": answer.found.to_string(),
        "by": answer.by.as_ref().map(ToString::to_string),
        "entry": answer.entry,
    });
    let Some(why) = why else {
        let mut report = explained(lesson, verdict, Text::Right, value, lang);
        report.json["verdict"] = verdict.verdict.as_str().into();
        return Ok(report);
    };
    let (wrong, why_not, look) = (Text::Wrong.get(lang), lines(why.get(lang)), lines(lesson.look.get(lang)));
    let text = format!("{wrong}\n{why_not}\n{look}");
    let mut value = value;
    value["explanation"] = why.get(lang).into();
    let again = "read the audit again and answer once more; 'puente lessons check --give-up' shows the answer";
    Ok(Report::new(value, text).hint(again).exit(Exit::Findings).in_training())
}

fn told(lesson: &Lesson, verdict: &Verdict, lang: Lang) -> Report {
    let decisive = decisive(verdict);
    let first = decisive.iter().find(|f| f.severity == Severity::Unsound);
    let value = json!({
        "lesson": lesson.name,
        "verdict": verdict.verdict.as_str(),
        "found": first.map_or(verdict.verdict.as_str(), |f| f.class.as_str()),
        "by": first.and_then(|f| blamed(f)).map(|by| by.to_string()),
        "entry": first.and_then(|f| f.index),
    });
    explained(lesson, verdict, Text::ShownAnswer, value, lang)
}

/// The answer with how one sees it, and how to go on.
fn explained(lesson: &Lesson, verdict: &Verdict, first: Text, mut value: serde_json::Value, lang: Lang) -> Report {
    let mut text = lines(&fill(first.get(lang), &[verdict.verdict.in_words(lang)]));
    let mut seen: Vec<Text> = Vec::new();
    let mut found: Vec<String> = Vec::new();
    for finding in decisive(verdict) {
        // The same is often seen in many places.
        let line = lines(&format!("[{}] {}", finding.class, finding.sentence(lang)));
        let how = how(finding.class);
        if !found.contains(&line) {
            found.push(line);
        }
        if !seen.contains(&how) {
            seen.push(how);
        }
    }
    if seen.len() > 1 {
        seen.retain(|how| *how != Text::SeenOther);
    }
    text.push_str(&found.concat());
    if verdict.verdict == Conclusion::Sound {
        seen.push(Text::SeenSound);
    }
    let explanations: Vec<&str> = seen.iter().map(|how| how.get(lang)).collect();
    for how in &explanations {
        text.push('\n');
        text.push_str(&lines(&fill(Text::Seen.get(lang), &[how])));
    }
    value["explanation"] = explanations.join(" ").into();
    let next = lesson.next().map(|next| next.name);
    value["next"] = next.into();
    let report = Report::new(value, text);
    let report = match next {
        Some(next) => report.hint(format!("go on with: puente lessons start {next}")),
        None => report.hint("that was the last lesson; 'puente lessons start audit' is another case every time"),
    };
    report.in_training()
}

/// A paragraph, in lines.
fn lines(text: &str) -> String {
    wrap(text, COLUMNS).into_iter().map(|line| line + "\n").collect()
}

/// How one sees a fault of this class.
const fn how(class: Class) -> Text {
    match class {
        Class::Corrupt => Text::SeenCorrupt,
        Class::Truncated => Text::SeenTruncated,
        Class::Rewritten | Class::SplitView | Class::Equivocated => Text::SeenTwoHeads,
        Class::Omitted | Class::NeverLogged => Text::SeenReceipt,
        Class::ReleaseUnproven => Text::SeenRelease,
        Class::ReceiptInvalid => Text::SeenInvalid,
        Class::EscrowMissing => Text::SeenEscrow,
        Class::PeriodMismatch => Text::SeenPeriod,
        Class::Unavailable => Text::SeenGap,
        _ => Text::SeenOther,
    }
}

/// An agency as people write it: `us/tx-dps`, or the URI of its node.
///
/// # Errors
/// It is neither.
pub fn agency(text: &str) -> Result<AgencyId, String> {
    if text.contains("://") {
        return text.parse::<NodeUri>().map(|node| node.agency()).map_err(|error| error.to_string());
    }
    text.parse::<AgencyId>().map_err(|error| error.to_string())
}
