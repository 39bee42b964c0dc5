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
    /// Nobody of that name.
    #[error("{file}: names no operator '{name}'")]
    Unknown {
        /// Which file.
        file: String,
        /// Who is not there.
        name: String,
    },
    /// Not the lines of one operator.
    #[error("{file}: is not what 'puente approval keygen' prints for one operator")]
    NotOne {
        /// Which file.
        file: String,
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

fn written(operator: &Operator) -> WrittenOperator {
    let Operator { name, person, key } = operator;
    WrittenOperator { name: name.clone(), person: person.clone(), key: key.to_string() }
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

    /// The same operators, but the one called `name` as the lines of one operator (`stanza`, from `from`) have them; `file`
    /// is the whole list's name for errors.
    ///
    /// # Errors
    /// Nobody has that name, the lines are not one operator's, or two of the new list are one person.
    pub fn replaced(&self, file: &str, name: &str, from: &str, stanza: &str) -> Result<Self, RuleError> {
        let Some(at) = self.0.iter().position(|operator| operator.name == name) else {
            return Err(RuleError::Unknown { file: file.to_owned(), name: name.to_owned() });
        };
        let not_one = || RuleError::NotOne { file: from.to_owned() };
        let one: Written = toml::from_str(stanza).map_err(|_| not_one())?;
        let [next] = <[WrittenOperator; 1]>::try_from(one.operator).map_err(|_| not_one())?;
        let mut operator: Vec<WrittenOperator> = self.0.iter().map(written).collect();
        operator[at] = next;
        let text = toml::to_string(&Written { operator }).map_err(|_| not_one())?;
        Self::parse(file, &text)
    }

    /// Prints the file.
    ///
    /// # Errors
    /// It cannot be printed.
    pub fn to_toml(&self) -> io::Result<String> {
        let list = Written { operator: self.0.iter().map(written).collect() };
        toml::to_string_pretty(&list).map_err(io::Error::other)
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
