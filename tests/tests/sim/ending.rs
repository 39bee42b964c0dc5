//! What came of a wish, as a test looks at it.

use puente_exchange::api::{Conclusion, Unasked};
use puente_model::{Digest, ExchangeId, NodeUri, Outcome, RefusalReason};
use puente_wire::fault::FaultCode;

/// How a question ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ending {
    Left(Vec<u8>),
    Answered {
        outcome: Outcome,
        fields: Vec<(String, Vec<u8>)>,
        /// What an explanation names: the keys that matched, or what is missing.
        named: Vec<String>,
        duplicate_of: Option<Digest>,
        answer_leaf: Digest,
        query_leaf: Digest,
    },
    Refused {
        recorded: bool,
        reason: RefusalReason,
    },
    Invalid,
    TimedOut,
    Unreleased,
    Disputed,
    Faulted(FaultCode),
    Asked(ExchangeId),
    Inspected {
        facts: String,
        params: Vec<(String, String)>,
        justification: String,
        confirms: Option<ExchangeId>,
    },
    Decided(Option<Outcome>, Option<RefusalReason>),
    NotWaiting,
    NotYours,
    Withdrawn,
    Ended,
    Unknown,
    AlreadyConfirmed(Option<ExchangeId>),
    Recorded,
    InForce {
        changed: bool,
    },
    Wanted(bool),
    Alerted(Digest),
    UnknownAlert,
    GroupAsked(Vec<(NodeUri, Option<ExchangeId>)>),
    NotAdopted(&'static str),
    Compared {
        vector: String,
        unasked: Vec<(NodeUri, Unasked)>,
    },
    PeriodsClosed {
        closed: usize,
        unreachable: usize,
    },
    Tried(Result<(), puente_exchange::Unable>),
    LogUnavailable,
    LogSuspended,
}

pub(super) fn ending(conclusion: Conclusion) -> Ending {
    match conclusion {
        Conclusion::Answered(a) => Ending::Answered {
            named: a.explanation.as_ref().map(|e| e.fields.clone()).unwrap_or_default(),
            duplicate_of: a.explanation.as_ref().and_then(|e| e.duplicate_of),
            outcome: a.outcome,
            fields: a.fields.clone(),
            answer_leaf: a.answer_leaf,
            query_leaf: a.query_leaf,
        },
        Conclusion::Refused { exchange, reason, .. } => Ending::Refused { recorded: exchange.is_some(), reason },
        Conclusion::Invalid { .. } => Ending::Invalid,
        Conclusion::TimedOut { .. } => Ending::TimedOut,
        Conclusion::Unreleased { .. } => Ending::Unreleased,
        Conclusion::Disputed { .. } => Ending::Disputed,
        Conclusion::Faulted { code, .. } => Ending::Faulted(code),
        Conclusion::Inspected(seen) => Ending::Inspected {
            facts: seen.facts_statement.clone(),
            params: seen.params.clone(),
            justification: seen.justification.clone(),
            confirms: seen.confirms.map(|(exchange, _)| exchange),
        },
        Conclusion::Decided { outcome, reason, .. } => Ending::Decided(outcome, reason),
        Conclusion::NotWaiting { .. } => Ending::NotWaiting,
        Conclusion::NotYours { .. } => Ending::NotYours,
        Conclusion::Asked { exchange } => Ending::Asked(exchange),
        Conclusion::Withdrawn { .. } => Ending::Withdrawn,
        Conclusion::Ended { .. } => Ending::Ended,
        Conclusion::Unknown { .. } => Ending::Unknown,
        Conclusion::AlreadyConfirmed { next, .. } => Ending::AlreadyConfirmed(next),
        Conclusion::Tried(result) => Ending::Tried(result),
        Conclusion::Recorded { .. } => Ending::Recorded,
        Conclusion::PeriodsClosed { closed, unreachable } => {
            Ending::PeriodsClosed { closed, unreachable: unreachable.len() }
        }
        Conclusion::Compared { vector, unasked } => Ending::Compared { vector: vector.to_string(), unasked },
        Conclusion::GroupAsked { members } => {
            Ending::GroupAsked(members.into_iter().map(|(node, put)| (node, put.ok())).collect())
        }
        Conclusion::Alerted { alert } => Ending::Alerted(alert),
        Conclusion::UnknownAlert { .. } => Ending::UnknownAlert,
        Conclusion::Wanted { known } => Ending::Wanted(known),
        Conclusion::InForce { changed, .. } => Ending::InForce { changed },
        Conclusion::NotAdopted(error) => Ending::NotAdopted(error.code()),
        Conclusion::Left { proven, .. } => Ending::Left(proven),
        Conclusion::LogUnavailable => Ending::LogUnavailable,
        Conclusion::LogSuspended => Ending::LogSuspended,
        Conclusion::Hosted(_) => unreachable!("only programs host groups later"),
    }
}
