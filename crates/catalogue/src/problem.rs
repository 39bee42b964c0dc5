use std::fmt;

use puente_model::Lang;
use puente_words::text;

macro_rules! problems {
    ($($(#[$doc:meta])* $v:ident = $code:literal {
        $message:literal; $mend:literal
    })+) => {
        /// What can be wrong, or doubtful, with one value: a stable code, and
        /// the words for it. The words never hold the value itself.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum Problem { $($(#[$doc])* $v),+ }

        impl Problem {
            /// Every problem.
            pub const ALL: &'static [Self] = &[$(Self::$v),+];

            /// The stable code, never translated.
            pub const fn code(self) -> &'static str {
                match self { $(Self::$v => $code),+ }
            }

            /// What is wrong.
            pub fn message(self, lang: Lang) -> &'static str {
                text(lang, match self { $(Self::$v => $message),+ })
            }

            /// What to do about it.
            pub fn mend(self, lang: Lang) -> &'static str {
                text(lang, match self { $(Self::$v => $mend),+ })
            }
        }
    };
}

problems! {
    /// A required value is absent.
    Missing = "missing" {
        "the value is required"; "give it"
    }
    /// No field has this name.
    UnknownColumn = "unknown-column" {
        "no such column"; "rename or remove it"
    }
    /// Two columns mean one field.
    DuplicateColumn = "duplicate-column" {
        "another column means the same field"; "keep one of them"
    }
    /// Longer than a field may be.
    TooLong = "too-long" {
        "the value is too long"; "shorten it"
    }
    /// More values than a repeated field may hold.
    TooMany = "too-many" {
        "too many values"; "keep the most important ones"
    }
    /// Control or invisible characters.
    ControlCharacter = "control-character" {
        "the value holds control or invisible characters"; "remove them"
    }
    /// A character that this identifier never has.
    BadCharacter = "bad-character" {
        "a character that this identifier never has"; "compare it with the original (I and 1, O and 0, Q and 0 are often confused)"
    }
    /// The wrong number of characters.
    BadLength = "bad-length" {
        "the wrong number of characters"; "compare it with the original; nothing may be missing or added"
    }
    /// The right characters in the wrong order.
    BadForm = "bad-form" {
        "not in the expected form"; "write it as the note of this field shows"
    }
    /// A decisive check digit fails: rejected, unless overridden.
    CheckDigit = "check-digit" {
        "the check digit does not hold"; "compare it with the original; if it really reads so, give the reason in the column's .override"
    }
    /// A check digit that is often wrong in practice fails: accepted.
    CheckDigitDoubtful = "check-digit-doubtful" {
        "the check digit does not hold, as in some genuine ones"; "compare it with the original"
    }
    /// The identifier has no check digit.
    NoCheckDigit = "no-check-digit" {
        "an identifier without a check digit: a mistake cannot be noticed"; "compare it with the original"
    }
    /// An RFC without its homoclave.
    NoHomoclave = "no-homoclave" {
        "the RFC has no homoclave: several people can share it"; "add the last three characters when known"
    }
    /// An identifier that stands for nobody in particular.
    GenericIdentifier = "generic-identifier" {
        "a generic identifier that stands for nobody in particular"; "find the real one"
    }
    /// No such day, or not in the expected form.
    BadDate = "bad-date" {
        "no such date"; "write it as year-month-day, for example 2026-03-01"
    }
    /// No such state, municipality, county or country.
    BadPlace = "bad-place" {
        "no such place code"; "use the official code list"
    }
    /// Not a code of its list.
    NotInList = "not-in-list" {
        "not a code of its list"; "use one of the list"
    }
    /// Not a code of an open list: kept.
    Unlisted = "unlisted" {
        "not in the list of known values; kept as written"; "check the spelling"
    }
    /// Not a whole number, or not yes or no.
    NotNumber = "not-a-number" {
        "not a whole number"; "use digits only"
    }
    /// Not a decimal number.
    NotDecimal = "not-a-decimal" {
        "not a decimal number"; "use digits and one point, without commas or a sign"
    }
    /// Not yes or no.
    NotYesNo = "not-yes-no" {
        "neither yes nor no"; "use yes or no"
    }
    /// Outside its bounds.
    OutOfRange = "out-of-range" {
        "outside its bounds"; "check the number and its unit"
    }
    /// Two fields that contradict each other.
    StateConflict = "state-conflict" {
        "contradicts another field"; "correct one of the two"
    }
    /// Part of a number is not known.
    PartialNumber = "partial-number" {
        "part of the number is not known"; "add the rest when it is"
    }
    /// A record that no question will find.
    NeverFound = "never-found" {
        "kept, and never found by a question: a juvenile, victim or protected person"; "nothing to do; check that it is right"
    }
    /// A span of time that is turned round or too long.
    BadWindow = "bad-window" {
        "the span of time is too long or turned round"; "ask for a shorter one, from before until"
    }
    /// A place more exact than is kept: coarsened.
    Coarsened = "coarsened" {
        "more exact than is kept; made coarser"; "nothing to do"
    }
    /// A question without anything to look up.
    NothingToMatch = "nothing-to-match" {
        "there is nothing to look up"; "give at least one complete key"
    }
    /// A value that is not in its normal form.
    NotNormalised = "not-normalised" {
        "not in its normal form"; "the sender must normalise before it asks"
    }
    /// An override that is not needed or not allowed.
    BadOverride = "bad-override" {
        "this override is not needed, not allowed or has no reason"; "remove it, or give a reason of 3 to 500 characters"
    }
}

impl Problem {
    /// Whether a person may accept the value all the same, with a reason.
    pub const fn overridable(self) -> bool {
        matches!(self, Self::CheckDigit)
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

/// One error or warning about one column of a row or one parameter of a
/// question. Holds no value of the row, so it may be logged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The column, as the file names it, or the parameter.
    pub column: String,
    /// What is wrong or doubtful.
    pub problem: Problem,
    /// What helps to mend it: the closest column, the valid codes, the bounds. May be empty.
    pub detail: String,
}

impl Finding {
    pub(crate) fn new(column: &str, problem: Problem, detail: impl Into<String>) -> Self {
        Self { column: column.chars().take(80).collect(), problem, detail: detail.into() }
    }

    /// The stable code, for example `check-digit`.
    pub const fn code(&self) -> &'static str {
        self.problem.code()
    }

    /// What is wrong, in words, with the detail.
    pub fn message(&self, lang: Lang) -> String {
        let words = self.problem.message(lang);
        if self.detail.is_empty() { words.to_owned() } else { format!("{words} ({})", self.detail) }
    }

    /// What to do about it.
    pub fn mend(&self, lang: Lang) -> &'static str {
        self.problem.mend(lang)
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let column = self.column.escape_debug();
        write!(f, "column '{column}': {}; {}", self.message(Lang::En), self.mend(Lang::En))
    }
}

impl std::error::Error for Finding {}

#[cfg(test)]
mod tests {

    use super::*;

    #[test]
    fn every_problem_has_its_own_code_and_words_in_both_languages() {
        let codes: std::collections::BTreeSet<&str> = Problem::ALL.iter().map(|p| p.code()).collect();
        assert_eq!(codes.len(), Problem::ALL.len());
        for problem in Problem::ALL {
            assert_ne!(problem.message(Lang::En), problem.message(Lang::Es));
            assert_ne!(problem.mend(Lang::En), problem.mend(Lang::Es));
        }
        assert_eq!(("es".parse(), "fr".parse::<Lang>()), (Ok(Lang::Es), Err(puente_model::LangError)));
    }

    #[test]
    fn a_column_cannot_write_to_the_terminal() {
        let finding = Finding::new("\u{1b}[2J", Problem::UnknownColumn, "");
        assert!(!finding.to_string().contains('\u{1b}'));
    }
}
