//! Names of groups and of their ledgers.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use puente_audit_log::{KeyError, KeyKind, VerifierKey};
use puente_model::NameError;

/// Longest name of a group, in bytes.
pub const GROUP_NAME_BYTES_MAX: usize = 200;
/// Largest number of a ledger of one group.
pub const LEDGER_NUMBER_MAX: u32 = 999_999;

/// A group's name, unique in its federation: parts of lower-case letters, digits and hyphens, between slashes.
///
/// A corridor's is `<federation>/<corridor>`.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct GroupId(Arc<str>);

impl GroupId {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

fn is_part(part: &str) -> bool {
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    !part.is_empty() && part.bytes().all(plain) && !part.starts_with('-') && !part.ends_with('-')
}

impl FromStr for GroupId {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        if text.len() <= GROUP_NAME_BYTES_MAX && text.split('/').all(is_part) {
            return Ok(Self(text.into()));
        }
        let expected = "a group: lower-case letters, digits and hyphens between slashes, for example frontera/otay";
        Err(NameError { found: text.chars().take(80).collect(), expected })
    }
}

impl fmt::Display for GroupId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for GroupId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "GroupId({})", self.0)
    }
}

/// The origin of one of a group's ledgers: `group/<group>/ledger<k>`, `k` counted from 1.
///
/// No node's or auditor's log can bear such a name: those begin with a nation and have four parts that end in `log<k>`.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LedgerOrigin {
    group: GroupId,
    number: u32,
}

impl LedgerOrigin {
    /// The group's first ledger.
    pub const fn first(group: GroupId) -> Self {
        Self { group, number: 1 }
    }

    /// The ledger that follows this one; none after [`LEDGER_NUMBER_MAX`].
    pub fn next(&self) -> Option<Self> {
        let number = self.number.checked_add(1).filter(|number| *number <= LEDGER_NUMBER_MAX)?;
        Some(Self { group: self.group.clone(), number })
    }

    /// The group.
    pub const fn group(&self) -> &GroupId {
        &self.group
    }

    /// Which of the group's ledgers, from 1.
    pub const fn number(&self) -> u32 {
        self.number
    }

    /// A proposer's key in this ledger: the public half, under the ledger's name.
    ///
    /// # Errors
    /// The point is not safe.
    pub fn key(&self, public: &[u8; 32]) -> Result<VerifierKey, KeyError> {
        VerifierKey::new(&self.to_string(), KeyKind::Ed25519, public)
    }
}

impl FromStr for LedgerOrigin {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let parse = || {
            let (group, number) = text.strip_prefix("group/")?.rsplit_once("/ledger")?;
            let canonical = number.bytes().all(|b| b.is_ascii_digit()) && !number.starts_with('0');
            let number = number.parse().ok().filter(|n| canonical && *n <= LEDGER_NUMBER_MAX)?;
            Some(Self { group: group.parse().ok()?, number })
        };
        let expected = "a group ledger: group/<group>/ledger<k>, for example group/frontera/otay/ledger1";
        parse().ok_or_else(|| NameError { found: text.chars().take(80).collect(), expected })
    }
}

impl fmt::Display for LedgerOrigin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "group/{}/ledger{}", self.group, self.number)
    }
}

impl fmt::Debug for LedgerOrigin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LedgerOrigin({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ledgers_follow_each_other() {
        let first = LedgerOrigin::first("frontera/otay".parse().unwrap());
        assert_eq!(first.to_string(), "group/frontera/otay/ledger1");
        let second = first.next().unwrap();
        assert_eq!(second.to_string().parse(), Ok(second.clone()));
        let last: LedgerOrigin = format!("group/a/ledger{LEDGER_NUMBER_MAX}").parse().unwrap();
        assert_eq!(last.next(), None);
        assert!("mx/a/n/log1".parse::<LedgerOrigin>().is_err());
        assert!(first.to_string().parse::<puente_model::Origin>().is_err());
    }

    #[test]
    fn bad_names_are_refused() {
        let long = "a".repeat(GROUP_NAME_BYTES_MAX + 1);
        assert!(long[1..].parse::<GroupId>().is_ok());
        for bad in ["", "A", "a//b", "/a", "a/", "-a", "a b", "a+b", &long] {
            assert!(bad.parse::<GroupId>().is_err(), "{bad}");
        }
        for bad in ["group/a/ledger0", "group/a/ledger01", "group/a/ledger", "group/a/ledger1000000", "a/ledger1"] {
            assert!(bad.parse::<LedgerOrigin>().is_err(), "{bad}");
        }
    }
}
