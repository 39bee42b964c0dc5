//! What a command hands back, and how it reaches people and programs.

use std::io::{self, Write};
use std::process::ExitCode;

use puente_model::Lang;
use puente_words::{say, text};
use serde_json::{Value, json};

use crate::training::BANNER;

/// What a command's exit code means. The table stands in `puente --help`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Exit {
    /// Done; a question was answered, be it with no hit.
    Ok = 0,
    /// Done, and the news is bad: refused, rejected rows, failed cases.
    Findings = 1,
    /// The command line, a file or a parameter is wrong; nothing was done.
    Usage = 2,
    /// A node or a peer could not be reached in time.
    Unreachable = 3,
    /// The log or the disk cannot be written, or this program is at fault.
    Unavailable = 4,
    /// There was nothing to do yet.
    NotDue = 5,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// What a command found out.
#[derive(Debug, Clone)]
pub struct Report {
    /// The machine form: printed alone with `--json`.
    pub json: Value,
    /// The human form, for stdout.
    pub text: String,
    /// Words about the work, for stderr; not printed with `--json`.
    pub notes: Vec<String>,
    /// What to do next, for stderr; not printed with `--json`.
    pub hints: Vec<String>,
    /// How it went.
    pub exit: Exit,
}

impl Report {
    /// Good news.
    pub fn new(json: Value, text: impl Into<String>) -> Self {
        Self { json, text: text.into(), notes: Vec::new(), hints: Vec::new(), exit: Exit::Ok }
    }

    /// With a word about the work.
    #[must_use]
    pub fn note(mut self, note: impl Into<String>) -> Self {
        self.notes.push(note.into());
        self
    }

    /// With advice.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hints.push(hint.into());
        self
    }

    /// Of training: so it says first and last, and to programs.
    #[must_use]
    pub fn in_training(mut self) -> Self {
        if let Some(object) = self.json.as_object_mut() {
            object.insert("training".to_owned(), Value::Bool(true));
        }
        let end = if self.text.ends_with('\n') || self.text.is_empty() { "" } else { "\n" };
        self.text = format!("{BANNER}\n{}{end}{BANNER}\n", self.text);
        self
    }

    /// With another exit code.
    #[must_use]
    pub fn exit(mut self, exit: Exit) -> Self {
        self.exit = exit;
        self
    }
}

/// Why a command did not do its work.
#[derive(Debug, Clone, PartialEq)]
pub struct Failure {
    /// Stable name of the cause, never translated.
    pub code: &'static str,
    /// What failed.
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
    /// More, for programs; null without.
    pub details: Box<Value>,
    /// How the command ends.
    pub exit: Exit,
    /// It is of training, which is said before it.
    pub marked: bool,
}

impl Failure {
    fn new(code: &'static str, message: impl Into<String>, exit: Exit) -> Self {
        Self { code, message: message.into(), hint: None, details: Box::new(Value::Null), exit, marked: false }
    }

    /// The command line, a file or a parameter is wrong.
    pub fn usage(code: &'static str, message: impl Into<String>) -> Self {
        Self::new(code, message, Exit::Usage)
    }

    /// The work was done and the news is bad.
    pub fn findings(code: &'static str, message: impl Into<String>) -> Self {
        Self::new(code, message, Exit::Findings)
    }

    /// Somebody could not be reached.
    pub fn unreachable(code: &'static str, message: impl Into<String>) -> Self {
        Self::new(code, message, Exit::Unreachable)
    }

    /// The log or the disk is not there, or this program is at fault.
    pub fn unavailable(code: &'static str, message: impl Into<String>) -> Self {
        Self::new(code, message, Exit::Unavailable)
    }

    /// A file that could not be read or written.
    pub fn file(path: &std::path::Path, error: &io::Error) -> Self {
        let message = format!("{}: {error}", path.display());
        match error.kind() {
            io::ErrorKind::NotFound => Self::usage("not-found", message).hint("check the path"),
            io::ErrorKind::PermissionDenied => Self::usage("permission", message).hint("check who owns the file"),
            io::ErrorKind::AlreadyExists => {
                Self::usage("exists", message).hint("nothing is overwritten; choose another place")
            }
            _ => Self::unavailable("io", message),
        }
    }

    /// With advice.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Of training: so it says, and to programs.
    #[must_use]
    pub fn in_training(mut self) -> Self {
        if self.details.is_null() {
            *self.details = json!({});
        }
        if let Some(object) = self.details.as_object_mut() {
            object.insert("training".to_owned(), Value::Bool(true));
        }
        self.marked = true;
        self
    }

    /// With more for programs.
    #[must_use]
    pub fn details(mut self, details: Value) -> Self {
        self.details = Box::new(details);
        self
    }

    /// The machine form.
    pub fn to_json(&self, lang: Lang) -> Value {
        let hint = self.hint.as_deref().map(|hint| say(lang, hint));
        let mut error = json!({"code": self.code, "message": say(lang, &self.message), "hint": hint});
        if let (Some(object), false) = (error.as_object_mut(), self.details.is_null()) {
            object.insert("details".to_owned(), (*self.details).clone());
        }
        json!({ "error": error })
    }
}

/// Prints what a command handed back, in the reader's language: data to `out`, words to `err`.
///
/// # Errors
/// The stream is closed; a reader that has seen enough is no failure.
pub(super) fn print(
    result: &Result<Report, Failure>,
    lang: Lang,
    as_json: bool,
    out: &mut dyn Write,
    err: &mut dyn Write,
) -> io::Result<Exit> {
    match (result, as_json) {
        // A node that ran has said its one value when it was ready.
        (Ok(report), true) if report.json.is_null() => Ok(report.exit),
        (Ok(report), true) => {
            writeln!(out, "{}", report.json)?;
            Ok(report.exit)
        }
        (Ok(report), false) => {
            if !report.text.is_empty() {
                let end = if report.text.ends_with('\n') { "" } else { "\n" };
                write!(out, "{}{end}", report.text)?;
                out.flush()?;
            }
            for note in &report.notes {
                writeln!(err, "{}", say(lang, note))?;
            }
            for hint in &report.hints {
                writeln!(err, "{} {}", paint(text(lang, "hint:"), HINT), say(lang, hint))?;
            }
            Ok(report.exit)
        }
        (Err(failure), true) => {
            writeln!(out, "{}", failure.to_json(lang))?;
            Ok(failure.exit)
        }
        (Err(failure), false) => {
            if failure.marked {
                writeln!(err, "{BANNER}")?;
            }
            writeln!(err, "{} {}", paint("error:", ERROR), say(lang, &failure.message))?;
            if let Some(hint) = &failure.hint {
                writeln!(err, "{} {}", paint(text(lang, "hint:"), HINT), say(lang, hint))?;
            }
            Ok(failure.exit)
        }
    }
}

/// Widest text for people, and the narrowest terminal that counts.
const COLUMNS_MAX: usize = 80;
const COLUMNS_MIN: usize = 40;
const ERROR: &str = "\u{1b}[1;31m";
const HINT: &str = "\u{1b}[1;36m";

/// Styled text; the stream strips the style where it is not wanted (NO_COLOR, pipes, plain terminals).
fn paint(text: &str, style: &str) -> String {
    format!("{style}{text}\u{1b}[0m")
}

/// Columns that lines are wrapped to: those of a narrow terminal, 80 anywhere else.
fn columns() -> usize {
    let narrow = rustix::termios::tcgetwinsize(io::stdout()).map(|size| usize::from(size.ws_col));
    narrow.ok().filter(|columns| *columns > 0).unwrap_or(COLUMNS_MAX).clamp(COLUMNS_MIN, COLUMNS_MAX)
}

/// Rows of `label: value`, the labels in one column, wrapped to the terminal's width.
pub(super) fn table(rows: &[(String, String)]) -> String {
    table_in(columns(), rows)
}

fn table_in(columns: usize, rows: &[(String, String)]) -> String {
    let widest = rows.iter().map(|(label, _)| label.chars().count()).max().unwrap_or(0).min(30);
    let mut out = String::new();
    for (label, value) in rows {
        let pad = " ".repeat(widest.saturating_sub(label.chars().count()));
        let indent = " ".repeat(widest + 2);
        let body = wrap(value, columns.saturating_sub(widest + 2).max(COLUMNS_MIN / 2));
        for (i, line) in body.iter().enumerate() {
            if i == 0 {
                out.push_str(&format!("{label}{pad}  {line}\n"));
            } else {
                out.push_str(&format!("{indent}{line}\n"));
            }
        }
    }
    out
}

/// Breaks text into lines of at most `width` characters, at blanks where there are any.
pub(crate) fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines = Vec::new();
    for paragraph in text.lines() {
        let mut line = String::new();
        for word in paragraph.split(' ') {
            let mut word: Vec<char> = word.chars().collect();
            let used = line.chars().count();
            if used > 0 && used + 1 + word.len() > width {
                lines.push(std::mem::take(&mut line));
            } else if used > 0 {
                line.push(' ');
            }
            while word.len() > width {
                let rest = word.split_off(width);
                lines.push(word.into_iter().collect());
                word = rest;
            }
            line.extend(word);
        }
        lines.push(line);
    }
    if lines.is_empty() {
        lines.push(String::new());
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    fn printed(result: &Result<Report, Failure>, as_json: bool) -> (String, String, Exit) {
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let exit = print(result, Lang::En, as_json, &mut out, &mut err).unwrap();
        (String::from_utf8(out).unwrap(), String::from_utf8(err).unwrap(), exit)
    }

    #[test]
    fn json_is_one_value_on_stdout_whatever_happens() {
        let good = Ok(Report::new(json!({"a": 1}), "a").note("n").hint("h"));
        assert_eq!(printed(&good, true), ("{\"a\":1}\n".to_owned(), String::new(), Exit::Ok));
        let bad = Err(Failure::usage("what", "it\nbroke").hint("mend it").details(json!([1])));
        let (out, err, exit) = printed(&bad, true);
        let value: Value = serde_json::from_str(&out).unwrap();
        assert_eq!(value["error"]["code"], "what");
        assert_eq!(value["error"]["hint"], "mend it");
        assert_eq!((err.as_str(), exit), ("", Exit::Usage));
    }

    #[test]
    fn training_is_marked_on_every_screen_and_in_every_value() {
        let good = Ok(Report::new(json!({"a": 1}), "a").in_training());
        let (out, _, _) = printed(&good, false);
        assert_eq!(out, format!("{BANNER}\na\n{BANNER}\n"));
        assert_eq!(printed(&good, true).0, "{\"a\":1,\"training\":true}\n");
        let bad = Err(Failure::usage("what", "it broke").in_training());
        assert!(printed(&bad, false).1.starts_with(BANNER));
        let value: Value = serde_json::from_str(&printed(&bad, true).0).unwrap();
        assert_eq!(value["error"]["details"]["training"], true);
    }

    #[test]
    fn help_says_what_every_exit_code_means() {
        use clap::CommandFactory as _;
        let help = crate::cli::Cli::command().render_help().to_string();
        for exit in [Exit::Ok, Exit::Findings, Exit::Usage, Exit::Unreachable, Exit::Unavailable, Exit::NotDue] {
            assert!(help.contains(&format!("\n  {}  ", exit as u8)), "{exit:?}");
        }
        assert!(!help.contains(&format!("\n  {}  ", Exit::NotDue as u8 + 1)));
    }

    #[test]
    fn words_go_to_stderr() {
        let (out, err, _) = printed(&Ok(Report::new(Value::Null, "data").note("word").hint("next")), false);
        assert_eq!(out, "data\n");
        assert!(err.starts_with("word\n") && err.contains("hint:"), "{err}");
    }

    #[test]
    fn long_words_and_long_texts_are_wrapped() {
        for line in wrap(&"x".repeat(200), 78) {
            assert!(line.chars().count() <= 78);
        }
        assert_eq!(wrap("uno dos tres", 7), ["uno dos", "tres"]);
        let rows = [("Etiqueta".to_owned(), "palabra ".repeat(40))];
        for columns in [COLUMNS_MIN, 60, COLUMNS_MAX] {
            assert!(table_in(columns, &rows).lines().all(|l| l.chars().count() <= columns), "{columns}");
        }
        assert!((COLUMNS_MIN..=COLUMNS_MAX).contains(&columns()));
    }
}
