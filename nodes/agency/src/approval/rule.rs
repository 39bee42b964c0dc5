//! Who approves: `operators.toml`.

use std::collections::BTreeSet;
use std::io;

use puente_audit_log::VerifierKey;
use puente_model::{Digest, Label, digest};
use serde::{Deserialize, Serialize};

use super::APPROVERS;

/// Operators of one node at most.
pub(super) const OPERATORS_MAX: usize = 32;
/// Characters of a person's name at most.
const PERSON_CHARS_MAX: usize = 200;

/// Why a list of operators was not accepted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RuleError {
    /// It does not parse.
    #[error("{file}: {message}")]
    Toml {
        /// Which file.
        file: String,
        /// What is wrong.
        message: String,
    },
    /// Too few or too many.
    #[error("{file}: names {found} operators; a two-person rule needs 2 to {OPERATORS_MAX}")]
    Count {
        /// Which file.
        file: String,
        /// How many.
        found: usize,
    },
    /// A key does not bear its operator's name, or is none.
    #[error("{file}: the key of operator '{name}' is no C2SP verifier key of that name")]
    Key {
        /// Which file.
        file: String,
        /// Whose.
        name: String,
    },
    /// Nobody stands behind a name.
    #[error("{file}: operator '{name}' needs 'person', of 1 to {PERSON_CHARS_MAX} characters")]
    Person {
        /// Which file.
        file: String,
        /// Whose.
        name: String,
    },
    /// One person under two names.
    #[error("{file}: operators '{one}' and '{other}' are one person (the same name, key or person)")]
    OnePerson {
        /// Which file.
        file: String,
        /// One name.
        one: String,
        /// The other.
        other: String,
    },
}

/// One who approves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Operator {
    /// The name that the key bears.
    pub name: String,
    /// Whose it is, for people.
    pub person: String,
    /// The key.
    pub key: VerifierKey,
}

/// Operators any two of whom approve together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule(Vec<Operator>);

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Written {
    #[serde(default)]
    operator: Vec<WrittenOperator>,
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct WrittenOperator {
    name: String,
    person: String,
    key: String,
}

/// A person's name, however it is written.
fn folded(person: &str) -> String {
    person.split_whitespace().map(str::to_lowercase).collect::<Vec<_>>().join(" ")
}

impl Rule {
    /// Reads the file; `file` is its name for errors.
    ///
    /// # Errors
    /// It names no two different people with a key each.
    pub fn parse(file: &str, text: &str) -> Result<Self, RuleError> {
        let named = || file.to_owned();
        let written: Written =
            toml::from_str(text).map_err(|e| RuleError::Toml { file: named(), message: e.message().to_owned() })?;
        if !(APPROVERS..=OPERATORS_MAX).contains(&written.operator.len()) {
            return Err(RuleError::Count { file: named(), found: written.operator.len() });
        }
        let mut operators: Vec<Operator> = Vec::with_capacity(written.operator.len());
        for WrittenOperator { name, person, key } in written.operator {
            let key = key.parse::<VerifierKey>().ok().filter(|key| key.name() == name);
            let Some(key) = key else { return Err(RuleError::Key { file: named(), name }) };
            let who = folded(&person);
            if who.is_empty() || who.chars().count() > PERSON_CHARS_MAX {
                return Err(RuleError::Person { file: named(), name });
            }
            let same = |o: &&Operator| o.name == name || o.key.public() == key.public() || folded(&o.person) == who;
            if let Some(other) = operators.iter().find(same) {
                return Err(RuleError::OnePerson { file: named(), one: other.name.clone(), other: name });
            }
            operators.push(Operator { name, person, key });
        }
        Ok(Self(operators))
    }

    /// Prints the file.
    ///
    /// # Errors
    /// It cannot be printed.
    pub fn to_toml(&self) -> io::Result<String> {
        let operator =
            |o: &Operator| WrittenOperator { name: o.name.clone(), person: o.person.clone(), key: o.key.to_string() };
        let written = Written { operator: self.0.iter().map(operator).collect() };
        toml::to_string_pretty(&written).map_err(io::Error::other)
    }

    /// One operator, as the file writes it.
    ///
    /// # Errors
    /// It cannot be printed.
    pub fn stanza(operator: &Operator) -> io::Result<String> {
        Self(vec![operator.clone()]).to_toml()
    }

    /// Who approves.
    pub fn operators(&self) -> &[Operator] {
        &self.0
    }

    /// The operator whose key this is.
    pub fn holder(&self, key: &VerifierKey) -> Option<&Operator> {
        self.0.iter().find(|operator| operator.key == *key)
    }

    /// One digest of everybody and their keys, whatever their order; all zeros without a rule.
    pub fn digest_of(rule: Option<&Self>) -> Digest {
        let Some(Self(operators)) = rule else { return Digest::default() };
        let rows: BTreeSet<String> =
            operators.iter().map(|o| format!("{}\n{}\n{}", o.name, folded(&o.person), o.key)).collect();
        let parts: Vec<&[u8]> = rows.iter().map(String::as_bytes).collect();
        digest(Label("puente/v1/approval/operators"), &parts)
    }
}
