//! Records.

use std::collections::BTreeSet;

use pb::record::Body;
use puente_charter::PartSignature;
use puente_model::Millis;

use super::*;
use crate::api::Record;
use crate::reboot::{REBOOT_SIGNATURES_MAX, Reboot, RebootTerms};

/// The fields of a record that holds a commit: commit.
const HOLDS_COMMIT: &[u32] = &[1];

impl Record {
    /// Its bytes (`puente.v1.ledger.Record`).
    pub fn encode(&self) -> Vec<u8> {
        pb::Record { body: Some(self.body()) }.encode_to_vec()
    }

    fn body(&self) -> Body {
        let pair = |entry: &Vec<u8>, head: &Vec<u8>| pb::Keep { entry: entry.clone(), head: head.clone() };
        match self {
            Self::Commit(commit) => Body::Commit(pb::Commit { commit: commit.to_vec() }),
            Self::Held { statement, leaf } => {
                Body::Held(pb::HeldRecord { statement: bytes(statement), leaf: bytes(leaf) })
            }
            Self::Kept { entry, head } => Body::Kept(pair(entry, head)),
            Self::Staged { entry, head } => Body::Staged(pair(entry, head)),
            Self::Accepted { entries, head } => {
                Body::Accepted(pb::Accepted { entries: entries.clone(), head: head.clone() })
            }
            Self::Settled { index, roster } => {
                Body::Settled(pb::Settled { index: *index, roster: roster.as_ref().map(nodes) })
            }
            Self::Unseated(node) => Body::Unseated(pb::Unseated { node: node.to_string() }),
            Self::Rebooted(reboot) => Body::Rebooted(rebooted(reboot)),
            Self::Verified { ledger, from, convener, entries, head } => Body::Verified(pb::Verified {
                place: Some(placed(ledger, *from)),
                convener: convener.to_string(),
                entries: entries.clone(),
                head: head.clone(),
            }),
            Self::Joined { ledger, size, convener, charter, epoch, at, roster } => Body::Joined(pb::Joined {
                place: Some(placed(ledger, *size)),
                convener: convener.to_string(),
                charter: charter.to_string(),
                epoch: *epoch,
                at_millis: at.0,
                roster: Some(nodes(roster)),
            }),
        }
    }

    /// Reads a record of this node's own store. A reboot is as it was verified when it was recorded.
    ///
    /// # Errors
    /// Anything but the one canonical form of a record whose every field is within its limit.
    pub fn decode(raw: &[u8]) -> Result<Self, MessageError> {
        guard(raw, HOLDS_COMMIT)?;
        let found = pb::Record::decode(raw)?;
        let record = Self::of(found.body.ok_or(MessageError::Unknown)?)?;
        canonical(raw, &record.encode())?;
        Ok(record)
    }

    fn of(body: Body) -> Read<Self> {
        Ok(match body {
            Body::Commit(r) => Self::Commit(commit(r.commit)?),
            Body::Held(r) => Self::Held { statement: hash("statement", &r.statement)?, leaf: hash("leaf", &r.leaf)? },
            Body::Kept(r) => Self::Kept { entry: entry(r.entry)?, head: head(r.head)? },
            Body::Staged(r) => Self::Staged { entry: entry(r.entry)?, head: head(r.head)? },
            Body::Accepted(r) => Self::Accepted { entries: entries(r.entries)?, head: head(r.head)? },
            Body::Settled(r) => Self::Settled { index: r.index, roster: r.roster.map(|r| roster(&r)).transpose()? },
            Body::Unseated(r) => Self::Unseated(name("node", &r.node)?),
            Body::Rebooted(r) => Self::Rebooted(reboot(r)?),
            Body::Verified(r) => {
                let ((ledger, from), convener) = (place(r.place)?, name("convener", &r.convener)?);
                Self::Verified { ledger, from, convener, entries: entries(r.entries)?, head: head(r.head)? }
            }
            Body::Joined(r) => {
                let ((ledger, size), convener) = (place(r.place)?, name("convener", &r.convener)?);
                let (charter, roster) = (name("charter", &r.charter)?, roster(&there("roster", r.roster)?)?);
                Self::Joined { ledger, size, convener, charter, epoch: r.epoch, at: Millis(r.at_millis), roster }
            }
        })
    }
}

fn nodes(roster: &crate::Roster) -> pb::Roster {
    pb::Roster { nodes: roster.iter().map(ToString::to_string).collect() }
}

fn roster(found: &pb::Roster) -> Read<crate::Roster> {
    at_most("roster", found.nodes.len(), ROSTER_MAX)?;
    found.nodes.iter().map(|node| name("roster", node)).collect::<Read<BTreeSet<_>>>()
}

fn rebooted(reboot: &Reboot) -> pb::Rebooted {
    let RebootTerms { ledger, size, root, next, convener } = reboot.terms();
    let line = |s: &PartSignature| pb::Signature { key_name: s.key_name.clone(), signature: s.signature.to_vec() };
    pb::Rebooted {
        place: Some(placed(ledger, *size)),
        root: bytes(root),
        next: next.to_string(),
        convener: convener.to_string(),
        signatures: reboot.signatures().iter().map(line).collect(),
    }
}

fn reboot(found: pb::Rebooted) -> Read<Reboot> {
    let (ledger, size) = place(found.place)?;
    let (next, convener) = (name("next", &found.next)?, name("convener", &found.convener)?);
    let terms = RebootTerms { ledger, size, root: hash("root", &found.root)?, next, convener };
    at_most("signatures", found.signatures.len(), REBOOT_SIGNATURES_MAX)?;
    let line = |found: &pb::Signature| {
        let wrong = |why: &str| MessageError::Field { field: "signatures", why: why.to_owned() };
        let signature = found.signature.as_slice().try_into().map_err(|_| wrong("a signature has 64 bytes"))?;
        let signature = PartSignature { key_name: found.key_name.clone(), signature };
        signature.to_string().parse::<PartSignature>().map_err(wrong)
    };
    let signatures = found.signatures.iter().map(line).collect::<Read<_>>()?;
    Ok(Reboot::recorded(terms, signatures))
}
