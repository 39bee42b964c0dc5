//! What one version of the charter says about a group's ledger.

use std::fmt;

use puente_audit_log::{KeyError, VerifierKey};
use puente_charter::Charter;
use puente_model::{CharterVector, NodeUri};

use crate::name::{GroupId, LedgerOrigin};
use crate::quorum::{Quorum, QuorumError};

/// Proposers that a group may have, the convener included.
pub const SEATS_MAX: usize = 16;

/// A node that may propose, and its key.
#[derive(Clone, PartialEq, Eq)]
pub struct Seat {
    /// The node.
    pub node: NodeUri,
    /// Its public key (Ed25519), used under each ledger's own name.
    pub public: [u8; 32],
}

impl fmt::Debug for Seat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Seat({})", self.node)
    }
}

/// Why a charter orders nothing for a group.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RulesError {
    /// No such corridor.
    #[error("the charter has no corridor '{0}'")]
    NoCorridor(String),
    /// The corridor's name makes no group's name.
    #[error("the corridor '{0}' cannot name a group")]
    Name(String),
    /// A proposer is no member, or has no open log whose key it could use.
    #[error("{0} cannot propose: the charter names no open log of it")]
    NoKey(NodeUri),
    /// A proposer's key.
    #[error("the key of {node} cannot be used: {why}")]
    Key {
        /// Whose.
        node: NodeUri,
        /// Why.
        why: KeyError,
    },
    /// No proposers, too many, or one twice.
    #[error("a group has between 1 and {SEATS_MAX} proposers, each once")]
    Seats,
    /// The quorum.
    #[error(transparent)]
    Quorum(#[from] QuorumError),
}

/// Which charter, who must cosign, who may propose in which order, and after how long a silence.
#[derive(Debug, Clone)]
pub struct Rules {
    vector: CharterVector,
    quorum: Quorum,
    seats: Vec<Seat>,
    silence: u64,
}

impl Rules {
    /// Rules as somebody states them; `seats` begins with the convener, `silence` is in milliseconds.
    ///
    /// # Errors
    /// No proposers, too many, one twice, or a key that is no safe point.
    pub fn new(vector: CharterVector, quorum: Quorum, seats: Vec<Seat>, silence: u64) -> Result<Self, RulesError> {
        let twice = seats.iter().enumerate().any(|(at, seat)| {
            seats[..at].iter().any(|before| before.node == seat.node || before.public == seat.public)
        });
        if seats.is_empty() || seats.len() > SEATS_MAX || twice {
            return Err(RulesError::Seats);
        }
        for seat in &seats {
            let probe = VerifierKey::new("probe", puente_audit_log::KeyKind::Ed25519, &seat.public);
            probe.map_err(|why| RulesError::Key { node: seat.node.clone(), why })?;
        }
        Ok(Self { vector, quorum, seats, silence })
    }

    /// What a verified charter says of one of its corridors, and the group's name.
    ///
    /// A proposer signs with the key of its newest open log, under the ledger's name.
    ///
    /// # Errors
    /// There is no such corridor, no quorum, or a proposer without a key.
    pub fn of(charter: &Charter, corridor: &str) -> Result<(GroupId, Self), RulesError> {
        let found = charter.corridors().iter().find(|c| c.name == corridor);
        let found = found.ok_or_else(|| RulesError::NoCorridor(corridor.to_owned()))?;
        let group = format!("{}/{}", charter.federation(), corridor).parse();
        let group = group.map_err(|_| RulesError::Name(corridor.to_owned()))?;
        let nodes: Vec<NodeUri> = std::iter::once(&found.convener).chain(&found.successors).cloned().collect();
        Ok((group, Self::of_nodes(charter, &nodes, found.silence_millis())?))
    }

    /// Rules by which these nodes propose, the first of them convening, under the charter's quorum.
    ///
    /// # Errors
    /// There is no quorum, or one of them has no key.
    pub fn of_nodes(charter: &Charter, nodes: &[NodeUri], silence: u64) -> Result<Self, RulesError> {
        let mut seats = Vec::new();
        for node in nodes {
            let log = charter.member(node).and_then(|m| m.logs.iter().rev().find(|log| log.closed_at.is_none()));
            let key: Option<VerifierKey> = log.and_then(|log| log.vkey.parse().ok());
            let key = key.ok_or_else(|| RulesError::NoKey(node.clone()))?;
            seats.push(Seat { node: node.clone(), public: *key.public() });
        }
        let quorum = Quorum::of(&charter.witness_policy())?;
        Self::new(charter.vector(), quorum, seats, silence)
    }

    /// The charter's version.
    pub const fn vector(&self) -> &CharterVector {
        &self.vector
    }

    /// Who must cosign.
    pub const fn quorum(&self) -> &Quorum {
        &self.quorum
    }

    /// Who may propose, in the charter's order.
    pub fn seats(&self) -> &[Seat] {
        &self.seats
    }

    /// How long a convener must be silent before its first successor may act, in milliseconds.
    pub const fn silence(&self) -> u64 {
        self.silence
    }

    /// The proposers' keys in a ledger: what its witnesses must know of it.
    pub fn keys(&self, ledger: &LedgerOrigin) -> Vec<(NodeUri, VerifierKey)> {
        let keys = self.seats.iter().filter_map(|seat| Some((seat.node.clone(), ledger.key(&seat.public).ok()?)));
        keys.collect()
    }

    /// The proposers in order: the one that convenes, then the others as the charter has them.
    pub fn order(&self, convener: &NodeUri) -> Vec<NodeUri> {
        let mut order: Vec<NodeUri> = self.seats.iter().map(|seat| seat.node.clone()).collect();
        if let Some(at) = order.iter().position(|node| node == convener) {
            order[..=at].rotate_right(1);
        }
        order
    }
}
