//! One thing that was looked at: how it is, why, what shows it, what to do.

use puente_catalogue::Lang;
use puente_words::say;
use serde_json::{Value, json};

/// A text for people.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Words(&'static str);

/// The text that reads so in English.
pub(crate) const fn w(english: &'static str) -> Words {
    Words(english)
}

impl Words {
    /// The text in one language.
    pub fn get(self, lang: Lang) -> &'static str {
        puente_words::text(lang, self.0)
    }
}

/// Nothing to do.
pub(crate) const NOTHING: Words = w("nothing to do");

/// How something is. Unknown is not false: what could not be looked at is neither well nor broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum State {
    /// As it should be.
    Ok,
    /// Works; an operator should look at it.
    Warn,
    /// Could not be found out.
    Unknown,
    /// Broken.
    Fail,
}

impl State {
    /// The stable word, never translated.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warn => "warn",
            Self::Unknown => "unknown",
            Self::Fail => "fail",
        }
    }
}

/// One thing that was looked at. Holds names of nodes, files and numbers; never an identifier of a person.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Check {
    /// What was looked at: stable, never translated.
    pub name: &'static str,
    /// What was found: stable, never translated.
    pub code: &'static str,
    /// How it is.
    pub state: State,
    /// Why, in words.
    pub cause: Words,
    /// What shows it: numbers, paths, what the system said, in English.
    pub evidence: String,
    /// What to do.
    pub fix: Words,
}

impl Check {
    /// As it should be.
    pub(crate) fn ok(name: &'static str, cause: Words, evidence: impl Into<String>) -> Self {
        Self { name, code: "ok", state: State::Ok, cause, evidence: evidence.into(), fix: NOTHING }
    }

    /// Not as it should be, or not known.
    pub(crate) fn not(
        state: State,
        name: &'static str,
        code: &'static str,
        cause: Words,
        evidence: impl Into<String>,
        fix: Words,
    ) -> Self {
        Self { name, code, state, cause, evidence: evidence.into(), fix }
    }

    /// The machine form, in one language.
    pub fn to_json(&self, lang: Lang) -> Value {
        json!({
            "name": self.name,
            "code": self.code,
            "state": self.state.as_str(),
            "cause": self.cause.get(lang),
            "evidence": say(lang, &self.evidence),
            "fix": self.fix.get(lang),
        })
    }

    /// The cause with what shows it.
    pub fn message(&self, lang: Lang) -> String {
        match self.evidence.as_str() {
            "" => self.cause.get(lang).to_owned(),
            evidence => format!("{}: {}", self.cause.get(lang), say(lang, evidence)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_is_neither_ok_nor_fail() {
        let check = Check::not(State::Unknown, "clock", "no-answer", NOTHING, "7 ms", NOTHING);
        assert_eq!(check.to_json(Lang::Es)["state"], "unknown");
        assert_eq!(
            (check.message(Lang::En), check.message(Lang::Es)),
            ("nothing to do: 7 ms".to_owned(), "nada que hacer: 7 ms".to_owned())
        );
        assert!(State::Ok < State::Warn && State::Warn < State::Unknown && State::Unknown < State::Fail);
    }
}
