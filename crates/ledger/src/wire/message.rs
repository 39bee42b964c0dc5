//! Messages.

use std::num::NonZeroU32;

use pb::message::Body;
use puente_model::Millis;

use super::*;
use crate::api::{Answer, Message};

/// The fields of a message that holds a commit: submit, hold, commit.
const HOLDS_COMMIT: &[u32] = &[1, 3, 13];

impl Message {
    /// Its bytes (`puente.v1.ledger.Message`).
    pub fn encode(&self) -> Vec<u8> {
        pb::Message { body: Some(self.body()) }.encode_to_vec()
    }

    fn body(&self) -> Body {
        match self {
            Self::Submit { epoch, commit } => Body::Submit(pb::Submit { epoch: *epoch, commit: commit.to_vec() }),
            Self::Answer { commit, answer } => {
                use pb::answer::Outcome;
                let outcome = match answer {
                    Answer::Accepted(receipt) => Outcome::Accepted(receipt.into()),
                    Answer::Stale(receipt) => Outcome::Stale(receipt.into()),
                    Answer::Rejected(reason) => Outcome::Rejected(reason.into()),
                };
                Body::Answer(pb::Answer { commit: bytes(commit), outcome: Some(outcome) })
            }
            Self::Hold { ledger, index, charter, epoch, at, commit } => Body::Hold(pb::Hold {
                place: Some(placed(ledger, *index)),
                charter: charter.to_string(),
                epoch: *epoch,
                at_millis: at.0,
                commit: commit.to_vec(),
            }),
            Self::Held { ledger, index, commit, leaf } => {
                Body::Held(pb::Held { place: Some(placed(ledger, *index)), commit: bytes(commit), leaf: bytes(leaf) })
            }
            Self::Keep { entry, head } => Body::Keep(pb::Keep { entry: entry.clone(), head: head.clone() }),
            Self::Kept { leaf } => Body::Kept(pb::Kept { leaf: bytes(leaf) }),
            Self::Refused { what, why } => Body::Refused(pb::Refused { what: bytes(what), why: Some(why.into()) }),
            Self::Receipt(receipt) => Body::Receipt(receipt.into()),
            Self::Want { ledger, from, most } => {
                Body::Want(pb::Want { place: Some(placed(ledger, *from)), most: *most })
            }
            Self::Entries { ledger, from, entries, head } => Body::Entries(pb::Entries {
                place: Some(placed(ledger, *from)),
                entries: entries.clone(),
                head: head.clone(),
            }),
            Self::WantKept { ledger, index } => Body::WantKept(placed(ledger, *index)),
            Self::WantCommit(commit) => Body::WantCommit(pb::WantCommit { commit: bytes(commit) }),
            Self::Commit(commit) => Body::Commit(pb::Commit { commit: commit.to_vec() }),
            Self::Premature { close, head, before } => {
                Body::Premature(pb::Premature { close: close.clone(), head: head.clone(), before: before.clone() })
            }
            Self::Fresh { head } => Body::Fresh(pb::Fresh { head: head.clone() }),
        }
    }

    /// Reads what a node sent. Entries, heads and proofs are bounded here and judged where they are used.
    ///
    /// # Errors
    /// Anything but the one canonical form of a message whose every field is within its limit.
    pub fn decode(raw: &[u8]) -> Result<Self, MessageError> {
        guard(raw, HOLDS_COMMIT)?;
        let body = pb::Message::decode(raw)?.body.ok_or(MessageError::Unknown)?;
        let message = Self::of(body)?;
        canonical(raw, &message.encode())?;
        Ok(message)
    }

    fn of(body: Body) -> Read<Self> {
        Ok(match body {
            Body::Submit(m) => Self::Submit { epoch: m.epoch, commit: commit(m.commit)? },
            Body::Answer(m) => {
                use pb::answer::Outcome;
                let answer = match there("outcome", m.outcome)? {
                    Outcome::Accepted(found) => Answer::Accepted(receipt(found)?),
                    Outcome::Stale(found) => Answer::Stale(receipt(found)?),
                    Outcome::Rejected(why) => Answer::Rejected((&why).try_into()?),
                };
                Self::Answer { commit: hash("commit", &m.commit)?, answer }
            }
            Body::Hold(m) => {
                let (ledger, index) = place(m.place)?;
                let (charter, at) = (name("charter", &m.charter)?, Millis(m.at_millis));
                Self::Hold { ledger, index, charter, epoch: m.epoch, at, commit: commit(m.commit)? }
            }
            Body::Held(m) => {
                let (ledger, index) = place(m.place)?;
                Self::Held { ledger, index, commit: hash("commit", &m.commit)?, leaf: hash("leaf", &m.leaf)? }
            }
            Body::Keep(m) => Self::Keep { entry: entry(m.entry)?, head: head(m.head)? },
            Body::Kept(m) => Self::Kept { leaf: hash("leaf", &m.leaf)? },
            Body::Refused(m) => {
                Self::Refused { what: hash("what", &m.what)?, why: (&there("why", m.why)?).try_into()? }
            }
            Body::Receipt(found) => Self::Receipt(receipt(found)?),
            Body::Want(m) => {
                let (ledger, from) = place(m.place)?;
                let most = NonZeroU32::new(m.most).ok_or(MessageError::Missing("most"))?.get();
                Self::Want { ledger, from, most }
            }
            Body::Entries(m) => {
                let (ledger, from) = place(m.place)?;
                Self::Entries { ledger, from, entries: entries(m.entries)?, head: head(m.head)? }
            }
            Body::WantKept(found) => {
                let (ledger, index) = place(Some(found))?;
                Self::WantKept { ledger, index }
            }
            Body::WantCommit(m) => Self::WantCommit(hash("commit", &m.commit)?),
            Body::Commit(m) => Self::Commit(commit(m.commit)?),
            Body::Premature(m) => {
                Self::Premature { close: entry(m.close)?, head: head(m.head)?, before: head(m.before)? }
            }
            Body::Fresh(m) => Self::Fresh { head: head(m.head)? },
        })
    }
}
