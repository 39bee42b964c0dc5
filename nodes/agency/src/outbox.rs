//! What this node asked, as the control socket shows it: states and dates, never a subject.

use puente_exchange::matters::Matter;
use puente_exchange::outbox::{Question, State};
use puente_model::{ExchangeId, Millis, Mode, NodeUri, OfficerId};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::control_api::{maybe, text};
use crate::driver::PeerStatus;

/// Questions that are listed unless told otherwise.
pub const LIST_DEFAULT: usize = 50;

/// Which questions are wanted.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Wanted {
    /// Only this officer's.
    #[serde(default, with = "maybe")]
    pub officer: Option<OfficerId>,
    /// Only those to this node.
    #[serde(default, with = "maybe")]
    pub to: Option<NodeUri>,
    /// Only those that may still be answered.
    #[serde(default)]
    pub open: bool,
    /// At most this many.
    #[serde(default)]
    pub limit: Option<usize>,
}

/// What an officer found out about a hit.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Examined {
    /// The step-1 exchange.
    #[serde(with = "text")]
    pub exchange: ExchangeId,
    /// Who examined it.
    #[serde(with = "text")]
    pub officer: OfficerId,
    /// The statement of facts.
    pub facts: String,
    /// The step-2 question that follows; none if the hit is refuted.
    #[serde(default)]
    pub confirmed: Option<FollowUp>,
}

impl std::fmt::Debug for Examined {
    // Facts name persons.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Examined({})", self.exchange)
    }
}

/// What the step-2 question has of its own.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FollowUp {
    /// Deadline: milliseconds from when the node reads this.
    pub due_in_millis: u64,
    /// Why it is urgent; empty if it is not.
    #[serde(default)]
    pub justification: String,
    /// The offence; that of the step-1 question if empty.
    #[serde(default)]
    pub offence: String,
}

/// What an open question waits for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "for", rename_all = "kebab-case")]
pub enum Waits {
    /// The peer cannot be reached: it is sent when the line returns.
    Line {
        /// Since when, as far as this run of the node knows.
        since: String,
    },
    /// The holder was asked.
    Holder,
    /// The holder recorded the question, and a person there decides.
    Person {
        /// Since when this node knows.
        since: String,
    },
}

/// A question of this node's.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Shown {
    /// The exchange.
    pub exchange: String,
    /// Whom.
    #[serde(with = "text")]
    #[schemars(with = "String")]
    pub to: NodeUri,
    /// About invented records.
    #[serde(default)]
    pub training: bool,
    /// What kind of question.
    pub kind: String,
    /// Which step.
    pub step: String,
    /// Why.
    pub purpose: String,
    /// On which legal basis.
    pub basis: String,
    /// When it was asked.
    pub asked_at: String,
    /// Its deadline.
    pub due_at: String,
    /// How long is left; 0 if it has passed or the question has ended.
    pub left_millis: u64,
    /// How urgent.
    pub urgency: String,
    /// Who asked.
    pub officer: String,
    /// With which role.
    pub role: String,
    /// Case file.
    pub case_ref: String,
    /// Where it stands.
    pub state: String,
    /// What the answer says.
    pub outcome: Option<String>,
    /// Why it was refused, by class.
    pub reason: Option<String>,
    /// Why the holder's node would not process it.
    pub fault: Option<String>,
    /// What it waits for, if it is open.
    pub waits: Option<Waits>,
    /// Leaf hash of the QUERY.
    pub query_leaf: String,
    /// Leaf hash of the ANSWER or REFUSAL.
    pub answer_leaf: Option<String>,
    /// The exchange as which it was put anew: the holder was at another epoch of the group.
    #[serde(default)]
    pub again: Option<String>,
}

impl std::fmt::Debug for Shown {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Shown({} step {} to {}: {})", self.kind, self.step, self.to, self.state)
    }
}

impl Shown {
    /// The question as of `now`; `lines` are the peers as their connections show them, `started` is when the node did.
    pub fn of(question: &Question, lines: &[PeerStatus], started: Millis, now: Millis) -> Self {
        let line = lines.iter().find(|line| line.peer == question.to);
        let waits = question.state.is_open().then(|| match line {
            _ if question.pending_at.is_some() => {
                Waits::Person { since: question.pending_at.unwrap_or(now).to_string() }
            }
            Some(line) if line.connections > 0 => Waits::Holder,
            Some(line) => Waits::Line { since: line.lost.unwrap_or(started).to_string() },
            None => Waits::Line { since: started.to_string() },
        });
        let (outcome, reason, fault) = match question.state {
            State::Answered(outcome) | State::Closed(outcome) => (Some(outcome.to_string()), None, None),
            State::Refused(reason) => (None, Some(reason.to_string()), None),
            State::Faulted(code) => (None, None, code.map(|code| code.to_string())),
            _ => (None, None, None),
        };
        Self {
            exchange: question.exchange.to_string(),
            to: question.to.clone(),
            training: question.mode == Mode::Training,
            kind: question.kind.to_string(),
            step: question.step.to_string(),
            purpose: question.purpose.to_string(),
            basis: question.basis.to_string(),
            asked_at: question.asked_at.to_string(),
            due_at: question.due_at.to_string(),
            left_millis: if question.state.is_open() { question.due_at.since(now) } else { 0 },
            urgency: question.urgency.to_string(),
            officer: question.officer.to_string(),
            role: question.role.to_string(),
            case_ref: question.case_ref.clone(),
            state: question.state.as_str().to_owned(),
            outcome,
            reason,
            fault,
            waits,
            query_leaf: question.query_leaf.to_string(),
            answer_leaf: question.answer_leaf.map(|leaf| leaf.to_string()),
            again: question.again.map(|again| again.to_string()),
        }
    }
}

/// A matter of this node's: a question that was taken up, and its clock.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShownMatter {
    /// Number in the catalogue of queries.
    pub number: String,
    /// This agency's own reference.
    pub reference: String,
    /// Whom.
    #[serde(with = "text")]
    pub to: NodeUri,
    /// About invented records.
    pub training: bool,
    /// Where it stands.
    pub standing: String,
    /// When it was first asked.
    pub asked_at: String,
    /// When it was accepted as complete.
    pub accepted_at: Option<String>,
    /// When it ended.
    pub ended_at: Option<String>,
    /// How long its clock ran.
    pub running_millis: u64,
    /// How long it stood still while the holder needed data.
    pub paused_millis: u64,
    /// What the holder lacks now.
    pub missing: Vec<String>,
    /// Its questions, in order.
    pub exchanges: Vec<String>,
}

impl ShownMatter {
    /// The matter as of `now`.
    pub fn of(matter: &Matter, now: Millis) -> Self {
        let clock = &matter.clock;
        Self {
            number: matter.number.clone(),
            reference: matter.reference.clone(),
            to: matter.to.clone(),
            training: matter.mode == Mode::Training,
            standing: clock.standing().as_str().to_owned(),
            asked_at: matter.asked_at.to_string(),
            accepted_at: clock.accepted().map(|at| at.to_string()),
            ended_at: clock.ended().map(|at| at.to_string()),
            running_millis: clock.running_millis(now),
            paused_millis: clock.paused_millis(now),
            missing: matter.missing.clone(),
            exchanges: matter.exchanges.iter().map(ToString::to_string).collect(),
        }
    }
}
