use std::fmt;

/// One thing that is wrong with a policy or case file, where it stands, and how to mend it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Finding {
    /// The file's name as it was given.
    pub file: String,
    /// Line, counted from 1.
    pub line: usize,
    /// Column in characters, counted from 1.
    pub column: usize,
    /// What is wrong.
    pub message: String,
    /// What to do about it.
    pub mend: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}: {}; {}", self.file, self.line, self.column, self.message, self.mend)
    }
}

/// Why policies, their vocabulary or their cases were not accepted. All of these are the operator's to mend.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PolicyError {
    /// The vocabulary (from the charter and the catalogue) cannot make a schema.
    #[error("the policy vocabulary is not usable: {what}; {mend}")]
    Vocabulary {
        /// What is wrong.
        what: String,
        /// What to do about it.
        mend: &'static str,
    },
    /// The policy files were refused; every finding is listed, in file order.
    #[error("{}", list(.0))]
    Rules(Vec<Finding>),
    /// The case file was refused.
    #[error("{0}")]
    Cases(Finding),
}

fn list(findings: &[Finding]) -> String {
    findings.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

/// Line and column (from 1, in characters) of a byte offset; an offset beyond the text stands at its end.
pub(crate) fn position(text: &str, offset: usize) -> (usize, usize) {
    let mut end = offset.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    let before = &text[..end];
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().map_or(0, |l| l.chars().count()) + 1;
    (line, column)
}

/// A finding at a byte offset of a file.
pub(crate) fn finding(
    file: &str,
    text: &str,
    offset: usize,
    message: impl Into<String>,
    mend: impl Into<String>,
) -> Finding {
    let (line, column) = position(text, offset);
    Finding { file: file.to_owned(), line, column, message: message.into(), mend: mend.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_count_characters() {
        assert_eq!(position("año\nx", 0), (1, 1));
        assert_eq!(position("año\nx", 4), (1, 4));
        assert_eq!(position("año\nx", 5), (2, 1));
        assert_eq!(position("año\nx", 99), (2, 2));
        assert_eq!(position("ñ", 1), (1, 1));
    }
}
