//! What a check of a mapping against its database finds.

use std::fmt;

use super::At;

/// How grave a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// The node runs, and an operator should look.
    Warning,
    /// The node does not start on it.
    Error,
}

/// One finding. Names tables and columns, no content of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// How grave.
    pub severity: Severity,
    /// Stable name.
    pub code: &'static str,
    /// File and line, `file:line`.
    pub at: String,
    /// What.
    pub message: String,
    /// What to do about it.
    pub mend: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}; {}", self.at, self.message, self.mend)
    }
}

/// Gathers findings.
#[derive(Default)]
pub(super) struct Findings(pub(super) Vec<Finding>);

impl Findings {
    pub(super) fn error(&mut self, at: &At, code: &'static str, message: String, mend: String) {
        self.0.push(Finding { severity: Severity::Error, code, at: at.to_string(), message, mend });
    }

    pub(super) fn warn(&mut self, at: &At, code: &'static str, message: String, mend: String) {
        self.0.push(Finding { severity: Severity::Warning, code, at: at.to_string(), message, mend });
    }

    /// A name that the database does not have.
    pub(super) fn missing(&mut self, at: &At, what: &str, name: &str, known: &[String]) {
        let known: Vec<&str> = known.iter().map(String::as_str).collect();
        let shown = name.escape_debug();
        let mend = match crate::config::closest(name, &known) {
            Some(near) => format!("did you mean '{near}'? Names are case-sensitive here"),
            None => "check its name, and that the node's user may see it (GRANT SELECT)".to_owned(),
        };
        self.error(at, "missing", format!("there is no {what} '{shown}'"), mend);
    }

    /// Nothing but reading every row finds this key.
    pub(super) fn no_index(&mut self, at: &At, key: &str) {
        let mend = "make an index on exactly these columns or this expression, or questions by it time out".to_owned();
        self.warn(at, "no-index", format!("no index serves '{key}'"), mend);
    }
}

/// The errors among findings, if there are any; warnings are logged.
pub(in crate::records) fn errors(findings: &[Finding]) -> Result<(), String> {
    for finding in findings.iter().filter(|finding| finding.severity == Severity::Warning) {
        tracing::warn!(code = finding.code, "{finding}");
    }
    let errors: Vec<String> =
        findings.iter().filter(|finding| finding.severity == Severity::Error).map(ToString::to_string).collect();
    if errors.is_empty() { Ok(()) } else { Err(errors.join("; ")) }
}
