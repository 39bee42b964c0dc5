//! What people did about findings: to whom each was given, and what the agency replied.
//!
//! `findings.acts.jsonl` in the auditor's folder has a line for each act, in the order in which they were done. Nothing is ever
//! changed or taken away: who was given a finding later is the one who has it now, replies stand beside each other. They are
//! as the auditor entered them; nobody signed them.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use puente_model::Millis;
use serde::{Deserialize, Serialize};

use crate::casebook::{LINE_BYTES_MAX, open};
use crate::error::AuditError;

/// Bytes of a name or of a reply.
const NAME_BYTES_MAX: usize = 200;
const TEXT_BYTES_MAX: usize = 10_000;

/// What somebody did about a finding.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "act", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Act {
    /// Somebody is to see to it.
    Assigned {
        /// Who.
        to: String,
    },
    /// The agency said something to it.
    Reply {
        /// Who said so.
        from: String,
        /// What.
        text: String,
    },
}

/// An act, with its finding and its time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Done {
    /// The finding's name.
    pub id: String,
    /// When it was entered: RFC 3339, UTC.
    pub at: String,
    /// What was done.
    #[serde(flatten)]
    pub act: Act,
}

/// How a finding stands with people.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Handling {
    /// Who is to see to it.
    pub assigned_to: Option<String>,
    /// What was replied, the first reply first.
    pub replies: Vec<Reply>,
}

/// What an agency replied.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Reply {
    /// When it was entered: RFC 3339, UTC.
    pub at: String,
    /// Who said so.
    pub from: String,
    /// What.
    pub text: String,
}

/// The acts of an auditor's folder.
#[derive(Debug)]
pub struct Acts {
    path: PathBuf,
    /// Made with the first act: who only reads leaves nothing.
    file: Option<File>,
    by_finding: BTreeMap<String, Handling>,
}

impl Acts {
    /// The acts of an auditor's folder; none where nothing was done yet.
    ///
    /// # Errors
    /// The file cannot be read, or holds what is no act.
    pub fn open(dir: &Path) -> Result<Self, AuditError> {
        let path = dir.join("findings.acts.jsonl");
        let mut by_finding = BTreeMap::new();
        if !path.exists() {
            return Ok(Self { path, file: None, by_finding });
        }
        let file = open(&path, |line| {
            let done: Done = serde_json::from_str(line).map_err(|error| AuditError::File {
                path: path.clone(),
                why: format!("a line is no act ({error}): restore the file"),
            })?;
            take(&mut by_finding, done);
            Ok(())
        })?;
        Ok(Self { path, file: Some(file), by_finding })
    }

    /// Adds an act, durably.
    ///
    /// # Errors
    /// A name or text that is empty, too long or holds control characters; the file cannot be written.
    pub fn add(&mut self, id: &str, act: Act, at: Millis) -> Result<(), AuditError> {
        match &act {
            Act::Assigned { to } => said("a name", to, NAME_BYTES_MAX)?,
            Act::Reply { from, text } => {
                said("a name", from, NAME_BYTES_MAX)?;
                said("a reply", text, TEXT_BYTES_MAX)?;
            }
        }
        let done = Done { id: id.to_owned(), at: at.to_string(), act };
        let mut line = serde_json::to_string(&done).map_err(|error| AuditError::Unreadable(error.to_string()))?;
        line.push('\n');
        debug_assert!(line.len() < LINE_BYTES_MAX, "bounded above");
        let file = match &mut self.file {
            Some(file) => file,
            none => none.insert(open(&self.path, |_| Ok(()))?),
        };
        let written = file.write_all(line.as_bytes()).and_then(|()| file.sync_data());
        written.map_err(|error| AuditError::io(&self.path, &error))?;
        take(&mut self.by_finding, done);
        Ok(())
    }

    /// How a finding stands with people.
    pub fn of(&self, id: &str) -> Option<&Handling> {
        self.by_finding.get(id)
    }
}

fn take(by_finding: &mut BTreeMap<String, Handling>, done: Done) {
    let Done { id, at, act } = done;
    let of = by_finding.entry(id).or_default();
    match act {
        Act::Assigned { to } => of.assigned_to = Some(to),
        Act::Reply { from, text } => of.replies.push(Reply { at, from, text }),
    }
}

fn said(what: &str, text: &str, bytes_max: usize) -> Result<(), AuditError> {
    let odd = text.chars().any(|c| c.is_control() && c != '\n');
    if text.trim().is_empty() || text.len() > bytes_max || odd {
        let why = format!("{what} is 1 to {bytes_max} bytes of text without control characters");
        return Err(AuditError::Unreadable(why));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn assigned(to: &str) -> Act {
        Act::Assigned { to: to.to_owned() }
    }

    fn reply(text: &str) -> Act {
        Act::Reply { from: "us/sdpd".to_owned(), text: text.to_owned() }
    }

    #[test]
    fn nothing_is_lost_and_who_has_it_now_is_who_got_it_last() {
        let dir = tempfile::tempdir().unwrap();
        let mut acts = Acts::open(dir.path()).unwrap();
        for (id, act) in [("a", assigned("ana")), ("a", reply("one")), ("b", reply("x")), ("a", assigned("bo"))] {
            acts.add(id, act, Millis(1_000)).unwrap();
        }
        acts.add("a", reply("two\nlines"), Millis(2_000)).unwrap();
        let path = dir.path().join("findings.acts.jsonl");
        let whole = std::fs::read(&path).unwrap();
        // After a restart, and after a crash in the middle of a line.
        for torn in ["", "{\"id\":\"a\""] {
            std::fs::write(&path, [whole.as_slice(), torn.as_bytes()].concat()).unwrap();
            let acts = Acts::open(dir.path()).unwrap();
            let of = acts.of("a").unwrap();
            assert_eq!(of.assigned_to.as_deref(), Some("bo"));
            assert_eq!(of.replies.iter().map(|r| &*r.text).collect::<Vec<_>>(), ["one", "two\nlines"]);
            assert_eq!(acts.of("b").unwrap().assigned_to, None);
            assert_eq!(acts.of("c"), None);
            assert_eq!(std::fs::read(&path).unwrap(), whole);
        }
    }

    #[test]
    fn what_is_no_text_is_refused_and_nothing_is_written() {
        let dir = tempfile::tempdir().unwrap();
        let mut acts = Acts::open(dir.path()).unwrap();
        let long = "x".repeat(TEXT_BYTES_MAX + 1);
        for act in [assigned(""), assigned(" "), assigned("a\u{1b}[2J"), assigned(&long), reply(&long), reply("\0")] {
            assert!(acts.add("a", act, Millis(1)).unwrap_err().to_string().contains("control characters"));
        }
        // The longest that may be, in the characters that JSON makes longest, can be read again.
        acts.add("a", reply(&"\"".repeat(TEXT_BYTES_MAX)), Millis(1)).unwrap();
        assert_eq!(Acts::open(dir.path()).unwrap().of("a").unwrap().replies.len(), 1);
        let path = dir.path().join("findings.acts.jsonl");
        for bad in ["{}\n", "{\"id\":\"a\",\"at\":\"x\",\"act\":\"erased\"}\n", "no\n"] {
            std::fs::write(&path, bad).unwrap();
            assert!(Acts::open(dir.path()).unwrap_err().to_string().contains("restore the file"), "{bad}");
        }
    }
}
