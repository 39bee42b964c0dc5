//! What came of a question, a decision or an event, as programs read it.

use puente_exchange::api::{Answered, Conclusion};
use puente_model::NodeUri;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// One disclosed field.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DisclosedField {
    /// `000/Vehicle/vin`.
    pub path: String,
    /// The value, canonical text.
    pub value: String,
}

impl std::fmt::Debug for DisclosedField {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "DisclosedField({})", self.path)
    }
}

/// Why a question was refused or nothing was disclosed, in words.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub struct Explained {
    /// The deciding rule; empty when no rule permits it.
    pub rule: String,
    /// English.
    pub text_en: String,
    /// Spanish.
    pub text_es: String,
    /// Fields that the holder needs.
    pub fields: Vec<String>,
    /// How to appeal, in English; empty where nobody says.
    #[serde(default)]
    pub appeal_en: String,
    /// How to appeal, in Spanish.
    #[serde(default)]
    pub appeal_es: String,
}

/// One thing that is wrong with a question.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Invalid {
    /// Parameter.
    pub column: String,
    /// What is wrong.
    pub message: String,
    /// What to do.
    pub mend: String,
}

/// A member of a group that is asked, or is not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct GroupPut {
    /// Who.
    #[serde(with = "super::text")]
    #[schemars(with = "String")]
    pub node: NodeUri,
    /// Under which exchange; null if it is not asked.
    pub exchange: Option<String>,
    /// Why it is not asked, by class.
    pub reason: Option<String>,
    /// Why, in words.
    pub explanation: Option<Explained>,
}

impl GroupPut {
    fn of(node: &NodeUri, put: &puente_exchange::api::Put) -> Self {
        let refused = put.as_ref().err();
        Self {
            node: node.clone(),
            exchange: put.as_ref().ok().map(ToString::to_string),
            reason: refused.map(|(reason, _)| reason.to_string()),
            explanation: refused.map(|(_, explanation)| explanation.into()),
        }
    }
}

/// What came of a question, or of a decision.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "conclusion", rename_all = "kebab-case")]
pub enum Concluded {
    /// The holder answered.
    Answered {
        /// The exchange.
        exchange: String,
        /// What it says.
        outcome: String,
        /// The holder's handling code.
        handling: String,
        /// Disclosed fields, in order.
        fields: Vec<DisclosedField>,
        /// Obligations that come with it.
        obligations: Vec<String>,
        /// Why nothing was disclosed.
        explanation: Option<Explained>,
        /// Leaf hash of the ANSWER: what a step-2 question confirms.
        answer_leaf: String,
        /// Leaf hash of the QUERY.
        query_leaf: String,
    },
    /// Refused.
    Refused {
        /// The exchange; none if the own policy refused.
        exchange: Option<String>,
        /// Why, by class.
        reason: String,
        /// Why, in words.
        explanation: Explained,
    },
    /// Malformed; nothing was recorded or sent.
    Invalid {
        /// What is wrong.
        errors: Vec<Invalid>,
    },
    /// No answer by the deadline.
    TimedOut {
        /// The exchange.
        exchange: String,
    },
    /// The content key did not come.
    Unreleased {
        /// The exchange.
        exchange: String,
    },
    /// Released content does not match its commitment.
    Disputed {
        /// The exchange.
        exchange: String,
    },
    /// The holder's node would not process it.
    Faulted {
        /// The exchange.
        exchange: Option<String>,
        /// Why.
        code: String,
        /// What to do.
        mend: String,
    },
    /// The question stands in the log and goes on by itself.
    Asked {
        /// The exchange.
        exchange: String,
    },
    /// The question was given up.
    Withdrawn {
        /// The exchange.
        exchange: String,
    },
    /// The question has ended: its answer can be looked at.
    Ended {
        /// The exchange.
        exchange: String,
    },
    /// This node asked no such question.
    Unknown {
        /// The exchange.
        exchange: String,
    },
    /// The hit was confirmed before.
    AlreadyConfirmed {
        /// The step-1 exchange.
        exchange: String,
        /// The step-2 exchange that followed; none while it is being recorded.
        next: Option<String>,
    },
    /// A question that waits for a person's decision.
    Inspected(Box<crate::inbox::Seen>),
    /// A person's decision was carried out.
    Decided {
        /// The exchange.
        exchange: String,
        /// What was answered, if it was.
        outcome: Option<String>,
        /// Why it was refused, if it was.
        reason: Option<String>,
    },
    /// No such question waits for a decision.
    NotWaiting {
        /// The exchange.
        exchange: String,
    },
    /// The officer's role does not decide on it.
    NotYours {
        /// Roles that do.
        roles: Vec<String>,
    },
    /// The event is in the log.
    Recorded {
        /// Where.
        index: u64,
    },
    /// A question to a group stands in the log, and goes on by itself to each member.
    GroupAsked {
        /// Who is asked, and who is not.
        members: Vec<GroupPut>,
    },
    /// What was wanted of an alert stands in the log.
    Alerted {
        /// Its id.
        alert: String,
    },
    /// No such alert, or not one that this can be done with.
    UnknownAlert {
        /// The id that was given.
        alert: String,
    },
    /// A group was told what an operator wants.
    Wanted {
        /// Whether this node has a part in it.
        known: bool,
    },
    /// A question to the node itself would succeed, or why not.
    Tried {
        /// Why not; null if it would.
        unable: Option<String>,
    },
    /// Periods are closed.
    PeriodsClosed {
        /// How many numberings.
        closed: usize,
        /// Peers that could not be reached.
        unreachable: Vec<String>,
    },
    /// Other rules are in force.
    InForce {
        /// Versions of the charter's parts.
        vector: String,
        /// False if they were in force before.
        changed: bool,
    },
    /// Charter parts were refused.
    NotAdopted {
        /// Stable name of the cause.
        code: String,
        /// What is wrong.
        message: String,
        /// What to do.
        hint: String,
    },
    /// The log cannot be written.
    LogUnavailable,
    /// The log was restored, or lost its tail: it takes no entries.
    LogSuspended,
}

impl From<&puente_wire::Explanation> for Explained {
    fn from(e: &puente_wire::Explanation) -> Self {
        let (text_en, text_es) = (e.text_en.clone(), e.text_es.clone());
        let (appeal_en, appeal_es) = (e.appeal_en.clone(), e.appeal_es.clone());
        Self { rule: e.rule.clone(), text_en, text_es, fields: e.fields.clone(), appeal_en, appeal_es }
    }
}

impl From<&Conclusion> for Concluded {
    fn from(conclusion: &Conclusion) -> Self {
        match conclusion {
            Conclusion::Answered(answered) => Self::from(answered.as_ref()),
            Conclusion::Refused { exchange, reason, explanation } => Self::Refused {
                exchange: exchange.map(|x| x.to_string()),
                reason: reason.to_string(),
                explanation: explanation.into(),
            },
            Conclusion::Invalid { errors } => {
                let error = |(column, message, mend): &(String, String, String)| Invalid {
                    column: column.clone(),
                    message: message.clone(),
                    mend: mend.clone(),
                };
                Self::Invalid { errors: errors.iter().map(error).collect() }
            }
            Conclusion::TimedOut { exchange } => Self::TimedOut { exchange: exchange.to_string() },
            Conclusion::Unreleased { exchange } => Self::Unreleased { exchange: exchange.to_string() },
            Conclusion::Disputed { exchange } => Self::Disputed { exchange: exchange.to_string() },
            Conclusion::Faulted { exchange, code } => Self::Faulted {
                exchange: exchange.map(|x| x.to_string()),
                code: code.to_string(),
                mend: code.mend().to_owned(),
            },
            Conclusion::Asked { exchange } => Self::Asked { exchange: exchange.to_string() },
            Conclusion::Withdrawn { exchange } => Self::Withdrawn { exchange: exchange.to_string() },
            Conclusion::Ended { exchange } => Self::Ended { exchange: exchange.to_string() },
            Conclusion::Unknown { exchange } => Self::Unknown { exchange: exchange.to_string() },
            Conclusion::AlreadyConfirmed { exchange, next } => {
                Self::AlreadyConfirmed { exchange: exchange.to_string(), next: next.map(|next| next.to_string()) }
            }
            Conclusion::Inspected(seen) => Self::Inspected(Box::new(crate::inbox::Seen::from(seen.as_ref()))),
            Conclusion::Decided { exchange, outcome, reason } => Self::Decided {
                exchange: exchange.to_string(),
                outcome: outcome.map(|outcome| outcome.to_string()),
                reason: reason.map(|reason| reason.to_string()),
            },
            Conclusion::NotWaiting { exchange } => Self::NotWaiting { exchange: exchange.to_string() },
            Conclusion::NotYours { roles } => {
                Self::NotYours { roles: roles.iter().map(|role| role.to_string()).collect() }
            }
            Conclusion::GroupAsked { members } => {
                Self::GroupAsked { members: members.iter().map(|(node, put)| GroupPut::of(node, put)).collect() }
            }
            Conclusion::Alerted { alert } => Self::Alerted { alert: alert.to_string() },
            Conclusion::UnknownAlert { alert } => Self::UnknownAlert { alert: alert.to_string() },
            Conclusion::Wanted { known } => Self::Wanted { known: *known },
            // Only the node itself asks for it.
            Conclusion::Hosted(result) => Self::Tried { unable: result.as_ref().err().map(ToString::to_string) },
            Conclusion::Tried(result) => Self::Tried { unable: result.as_ref().err().map(ToString::to_string) },
            Conclusion::Recorded { index } => Self::Recorded { index: index.0 },
            Conclusion::PeriodsClosed { closed, unreachable } => Self::PeriodsClosed {
                closed: *closed,
                unreachable: unreachable.iter().map(NodeUri::to_string).collect(),
            },
            Conclusion::InForce { vector, changed } => Self::InForce { vector: vector.to_string(), changed: *changed },
            Conclusion::NotAdopted(error) => Self::NotAdopted {
                code: error.code().to_owned(),
                message: error.to_string(),
                hint: error.mend().to_owned(),
            },
            Conclusion::Compared { vector, .. } => Self::InForce { vector: vector.to_string(), changed: false },
            Conclusion::Left { index, .. } => Self::Recorded { index: index.0 },
            Conclusion::LogUnavailable => Self::LogUnavailable,
            Conclusion::LogSuspended => Self::LogSuspended,
        }
    }
}

impl From<&Answered> for Concluded {
    fn from(answered: &Answered) -> Self {
        let field = |(path, value): &(String, Vec<u8>)| DisclosedField {
            path: path.clone(),
            value: String::from_utf8_lossy(value).into_owned(),
        };
        Self::Answered {
            exchange: answered.exchange.to_string(),
            outcome: answered.outcome.to_string(),
            handling: answered.handling.to_string(),
            fields: answered.fields.iter().map(field).collect(),
            obligations: answered.obligations.clone(),
            explanation: answered.explanation.as_ref().map(Explained::from),
            answer_leaf: answered.answer_leaf.to_string(),
            query_leaf: answered.query_leaf.to_string(),
        }
    }
}
