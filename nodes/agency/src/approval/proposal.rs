//! The text that operators sign.

use std::fmt;
use std::str::FromStr;

use puente_model::{Digest, Millis, NodeUri};

/// First line of every proposal; another meaning would be another line.
const HEADER: &str = "puente/v1/approval";

/// What needs two people.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// Another policy set.
    Policies,
    /// Grants of officers, in an emergency or not.
    Officers,
    /// Keys of the agency's own programs.
    ApiKeys,
    /// Other operators, or none.
    Operators,
}

impl Change {
    /// Every one.
    pub const ALL: [Self; 4] = [Self::Policies, Self::Officers, Self::ApiKeys, Self::Operators];

    /// The stable text.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Policies => "policies",
            Self::Officers => "officers",
            Self::ApiKeys => "api-keys",
            Self::Operators => "operators",
        }
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// No such change.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no such change; use policies, officers, api-keys or operators")]
pub struct ChangeError;

impl FromStr for Change {
    type Err = ChangeError;

    fn from_str(text: &str) -> Result<Self, ChangeError> {
        Self::ALL.into_iter().find(|change| change.as_str() == text).ok_or(ChangeError)
    }
}

/// A change that waits for two people.
///
/// ```text
/// puente/v1/approval
/// node puente://mx/fge-bc/n1
/// change policies
/// from 4f0c…
/// to 91d2…
/// proposed 1795363200000
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proposal {
    /// Of which node: an approval counts nowhere else.
    pub node: NodeUri,
    /// What changes.
    pub change: Change,
    /// Digest of what is in force; all zeros if nothing is.
    pub from: Digest,
    /// Digest of what shall be.
    pub to: Digest,
    /// When.
    pub proposed: Millis,
}

impl Proposal {
    /// The text: six lines.
    pub fn text(&self) -> String {
        let Self { node, change, from, to, proposed } = self;
        format!("{HEADER}\nnode {node}\nchange {change}\nfrom {from}\nto {to}\nproposed {}\n", proposed.0)
    }

    /// Reads a text; none if it is not exactly one.
    pub fn parse(text: &str) -> Option<Self> {
        let mut lines = text.lines();
        if lines.next()? != HEADER {
            return None;
        }
        let mut value = |name: &str| lines.next()?.strip_prefix(name)?.strip_prefix(' ');
        let proposal = Self {
            node: value("node")?.parse().ok()?,
            change: value("change")?.parse().ok()?,
            from: value("from")?.parse().ok()?,
            to: value("to")?.parse().ok()?,
            proposed: Millis(value("proposed")?.parse().ok()?),
        };
        (proposal.text() == text).then_some(proposal)
    }

    /// SHA-256 of the text, labelled.
    pub fn digest(&self) -> Digest {
        puente_model::digest(puente_model::Label(HEADER), &[self.text().as_bytes()])
    }

    /// Whether it proposes just this.
    pub fn is(&self, node: &NodeUri, change: Change, from: Digest, to: Digest) -> bool {
        self.node == *node && self.change == change && self.from == from && self.to == to
    }
}
