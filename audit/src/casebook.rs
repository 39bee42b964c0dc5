//! Findings as they were first seen, each once, for as long as an auditor watches.
//!
//! `findings.jsonl` in the auditor's folder has a line of JSON for each, in the order in which they came; it is only ever added
//! to, and what a crash cut short is taken away when it is opened. `findings.told` names those that somebody was told of: who
//! is told of a finding may hear of it twice, and never not at all.

use std::collections::BTreeSet;
use std::fs::{File, OpenOptions};
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::path::{Path, PathBuf};

use puente_model::Millis;
use serde::{Deserialize, Serialize};

use crate::class::Severity;
use crate::error::AuditError;
use crate::finding::Finding;

/// Bytes of one line. What is told to a program fits into its pipe, whether it reads or not.
pub(crate) const LINE_BYTES_MAX: usize = 64 * 1024;
/// Characters of what was seen that a line repeats: a log decides how long its words are.
const DETAIL_CHARS_MAX: usize = 2_000;

/// A line: when, what, and what to do.
#[derive(Serialize)]
struct Line<'f> {
    first_seen: String,
    #[serde(flatten)]
    finding: &'f Finding,
    next_en: &'f str,
    next_es: &'f str,
}

#[derive(Deserialize)]
struct Named {
    id: String,
}

/// A finding as it stands in the file.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Kept {
    /// Its name.
    pub id: String,
    /// When it was first seen: RFC 3339, UTC.
    pub first_seen: String,
    /// In one plain sentence, English.
    pub en: String,
    /// In one plain sentence, Spanish.
    pub es: String,
    /// Where its evidence was written.
    #[serde(default)]
    pub evidence: Option<String>,
    /// Its line, without the line's end.
    #[serde(skip)]
    pub line: String,
}

/// A finding of which nobody was told yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Untold {
    /// Its name.
    pub id: String,
    /// Its line, without the line's end.
    pub line: String,
}

/// The findings of an auditor's folder.
#[derive(Debug)]
pub struct Casebook {
    path: PathBuf,
    lines: File,
    told: File,
    known: BTreeSet<String>,
    untold: Vec<Untold>,
}

/// What to do about a finding.
fn next(finding: &Finding) -> &'static str {
    match (finding.severity, finding.evidence.is_some()) {
        (Severity::Unsound, true) => {
            "give the evidence file to the other nation's auditors and to the agency: 'puente-audit check' verifies it offline"
        }
        (Severity::Unsound, false) => "copy the log once more and verify it: then show the agency both copies",
        (Severity::CouldNotTell, _) => "get what is missing, and audit again: there is no verdict without it",
        (Severity::Notice, _) => "nothing, unless it stays",
    }
}

/// Opens a file to add to, without what a crash left of its last line; gives each whole line.
pub(crate) fn open(path: &Path, mut each: impl FnMut(&str) -> Result<(), AuditError>) -> Result<File, AuditError> {
    let failed = |error: std::io::Error| AuditError::io(path, &error);
    let file = OpenOptions::new().create(true).read(true).append(true).open(path).map_err(failed)?;
    let mut reader = BufReader::new(&file);
    let (mut whole, mut line) = (0_u64, Vec::new());
    loop {
        line.clear();
        let read = reader.by_ref().take(LINE_BYTES_MAX as u64).read_until(b'\n', &mut line).map_err(failed)?;
        if read == LINE_BYTES_MAX && line.last() != Some(&b'\n') {
            return Err(AuditError::File { path: path.to_owned(), why: "a line is too long: restore the file".into() });
        }
        if line.pop() != Some(b'\n') {
            break;
        }
        each(&String::from_utf8_lossy(&line))?;
        whole += read as u64;
    }
    file.set_len(whole).map_err(failed)?;
    Ok(file)
}

impl Casebook {
    /// Opens the findings of an auditor's folder, or begins them.
    ///
    /// # Errors
    /// A file cannot be read, or holds what is no finding.
    pub fn open(dir: &Path) -> Result<Self, AuditError> {
        std::fs::create_dir_all(dir).map_err(|error| AuditError::io(dir, &error))?;
        let path = dir.join("findings.jsonl");
        let mut heard = BTreeSet::new();
        let told = open(&dir.join("findings.told"), |id| {
            heard.insert(id.to_owned());
            Ok(())
        })?;
        let (mut known, mut untold) = (BTreeSet::new(), Vec::new());
        let lines = open(&path, |line| {
            let Named { id } = serde_json::from_str(line).map_err(|error| AuditError::File {
                path: path.clone(),
                why: format!("a line is no finding ({error}): restore the file"),
            })?;
            if !heard.contains(&id) {
                untold.push(Untold { id: id.clone(), line: line.to_owned() });
            }
            known.insert(id);
            Ok(())
        })?;
        Ok(Self { path, lines, told, known, untold })
    }

    /// The findings of an auditor's folder, the oldest first; none where nobody watched yet.
    ///
    /// # Errors
    /// The file cannot be read, or holds what is no finding.
    pub fn kept(dir: &Path) -> Result<Vec<Kept>, AuditError> {
        let path = dir.join("findings.jsonl");
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(AuditError::io(&path, &error)),
        };
        // Whoever watches may be in the middle of the last line.
        let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
        let read = |line: &str| match serde_json::from_str::<Kept>(line) {
            Ok(kept) => Ok(Kept { line: line.to_owned(), ..kept }),
            Err(error) => {
                let why = format!("a line is no finding ({error}): restore the file");
                Err(AuditError::File { path: path.clone(), why })
            }
        };
        whole.lines().map(read).collect()
    }

    /// Adds a finding, durably, unless it stands there already; says whether it is new.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn add(&mut self, finding: &Finding, at: Millis) -> Result<bool, AuditError> {
        if self.known.contains(&finding.id) {
            return Ok(false);
        }
        let english = next(finding);
        let next_es = puente_words::text(crate::Lang::Es, english);
        let short = Finding { detail: finding.detail.chars().take(DETAIL_CHARS_MAX).collect(), ..finding.clone() };
        let line = Line { first_seen: at.to_string(), finding: &short, next_en: english, next_es };
        let mut line = serde_json::to_string(&line).map_err(|error| AuditError::Unreadable(error.to_string()))?;
        line.push('\n');
        if line.len() >= LINE_BYTES_MAX {
            // Never written what could not be read again.
            let why = "a finding is too long to be kept: give the logs shorter names".to_owned();
            return Err(AuditError::File { path: self.path.clone(), why });
        }
        let written = self.lines.write_all(line.as_bytes()).and_then(|()| self.lines.sync_data());
        written.map_err(|error| AuditError::io(&self.path, &error))?;
        line.pop();
        self.known.insert(finding.id.clone());
        self.untold.push(Untold { id: finding.id.clone(), line });
        Ok(true)
    }

    /// Findings of which nobody was told yet, the oldest first.
    pub fn untold(&self) -> &[Untold] {
        &self.untold
    }

    /// Somebody was told of the oldest of them.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn told(&mut self) -> Result<(), AuditError> {
        let Some(first) = self.untold.first() else { return Ok(()) };
        let line = format!("{}\n", first.id);
        let written = self.told.write_all(line.as_bytes()).and_then(|()| self.told.sync_data());
        written.map_err(|error| AuditError::io(&self.path, &error))?;
        self.untold.remove(0);
        Ok(())
    }

    /// How many findings there are.
    pub fn len(&self) -> usize {
        self.known.len()
    }

    /// True if there is none.
    pub fn is_empty(&self) -> bool {
        self.known.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::class::Class;
    use crate::finding::Blame;

    fn finding(id: &str) -> Finding {
        let mut finding = Finding::new(Class::Corrupt, Blame::Unknown, "us/sdpd/n1/log1", "a tile");
        finding.id = id.to_owned();
        finding
    }

    #[test]
    fn each_finding_stands_once_and_is_told_at_least_once() {
        let dir = tempfile::tempdir().unwrap();
        let mut book = Casebook::open(dir.path()).unwrap();
        assert!(book.is_empty() && book.add(&finding("a"), Millis(1)).unwrap());
        assert!(!book.add(&finding("a"), Millis(2)).unwrap() && book.add(&finding("b"), Millis(3)).unwrap());
        book.told().unwrap();
        // As it is after a restart, and after crashes in the middle of either file.
        let lines = std::fs::read(dir.path().join("findings.jsonl")).unwrap();
        for torn in ["", "{\"id\":\"c", "\u{1b}"] {
            std::fs::write(dir.path().join("findings.jsonl"), [lines.as_slice(), torn.as_bytes()].concat()).unwrap();
            std::fs::write(dir.path().join("findings.told"), format!("a\n{}", torn.get(..1).unwrap_or_default()))
                .unwrap();
            let mut book = Casebook::open(dir.path()).unwrap();
            assert_eq!((book.len(), book.untold().len(), book.untold()[0].id.as_str()), (2, 1, "b"));
            assert!(!book.add(&finding("b"), Millis(4)).unwrap());
            assert_eq!(std::fs::read(dir.path().join("findings.jsonl")).unwrap(), lines);
        }
        let told: serde_json::Value =
            serde_json::from_str(&Casebook::open(dir.path()).unwrap().untold()[0].line).unwrap();
        assert_eq!((&told["class"], &told["first_seen"]), (&"corrupt".into(), &Millis(3).to_string().into()));
        assert!(!told["next_es"].as_str().unwrap().is_empty() && told["next_es"] != told["next_en"]);
    }

    #[test]
    fn no_log_makes_a_line_that_cannot_be_read_again() {
        let dir = tempfile::tempdir().unwrap();
        let mut book = Casebook::open(dir.path()).unwrap();
        let long = Finding { detail: "\u{1}".repeat(1 << 20), ..finding("long") };
        assert!(book.add(&long, Millis(1)).unwrap());
        assert!(book.untold()[0].line.len() < LINE_BYTES_MAX);
        let named = Finding { log: "x".repeat(1 << 20), ..finding("named") };
        assert!(book.add(&named, Millis(1)).unwrap_err().to_string().contains("shorter names"));
        assert!(book.add(&finding("short"), Millis(2)).unwrap());
        assert_eq!(Casebook::open(dir.path()).unwrap().len(), 2);
    }

    #[test]
    fn what_is_no_finding_is_named_and_stays() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("findings.jsonl");
        for bytes in ["{}\n".to_owned(), "no json\n".to_owned(), format!("{}\n", "x".repeat(LINE_BYTES_MAX))] {
            std::fs::write(&path, &bytes).unwrap();
            let error = Casebook::open(dir.path()).unwrap_err().to_string();
            assert!(error.contains("restore the file"), "{error}");
            assert_eq!(std::fs::read_to_string(&path).unwrap(), bytes);
        }
    }
}
