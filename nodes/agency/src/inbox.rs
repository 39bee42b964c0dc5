//! Questions that wait for a person of this node's, as the control socket shows them.

use puente_exchange::inbox::{Decision, Inspected, Parked, Review};
use puente_model::{CodeError, Millis, Mode};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A question that waits, without its subject.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Waiting {
    /// The exchange.
    pub exchange: String,
    /// `routine` or `urgent`.
    pub urgency: String,
    /// Who asks.
    pub from: String,
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
    /// Role of the officer who asks.
    pub role: String,
    /// When it was asked.
    pub asked_at: String,
    /// Since when it waits.
    pub parked_at: String,
    /// Its deadline: without a decision it is refused then.
    pub due_at: String,
    /// How long is left.
    pub left_millis: u64,
    /// Roles one of which decides.
    pub deciders: Vec<String>,
    /// A decision stands and is being carried out.
    pub decided: bool,
}

impl Waiting {
    /// The question as of `now`.
    pub fn of(parked: &Parked, now: Millis) -> Self {
        Self {
            exchange: parked.exchange.to_string(),
            urgency: parked.urgency.to_string(),
            from: parked.from.to_string(),
            training: parked.mode == Mode::Training,
            kind: parked.kind.to_string(),
            step: parked.step.to_string(),
            purpose: parked.purpose.to_string(),
            basis: parked.basis.to_string(),
            role: parked.role.to_string(),
            asked_at: parked.asked_at.to_string(),
            parked_at: parked.parked_at.to_string(),
            due_at: parked.due_at.to_string(),
            left_millis: parked.due_at.since(now),
            deciders: parked.deciders.iter().map(|role| role.to_string()).collect(),
            decided: parked.decided,
        }
    }
}

/// A question that waits, as its judge sees it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Seen {
    /// Everything but its subject; `left_millis` is 0.
    pub question: Waiting,
    /// Why urgent.
    pub justification: String,
    /// The officer who asks.
    pub officer: String,
    /// The officer's name.
    pub officer_name: String,
    /// Case file of the asker.
    pub case_ref: String,
    /// The offence.
    pub offence: String,
    /// What a person of the asker's states.
    pub facts_statement: String,
    /// Name and value of each parameter.
    pub params: Vec<(String, String)>,
    /// The step-1 exchange whose hit was confirmed.
    pub confirms: Option<String>,
    /// When that was asked.
    pub confirms_asked_at: Option<String>,
}

impl std::fmt::Debug for Seen {
    // Who is sought, by whom and why is nobody's business but the log's.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Seen({:?})", self.question)
    }
}

impl From<&Inspected> for Seen {
    fn from(seen: &Inspected) -> Self {
        let question = Waiting { left_millis: 0, ..Waiting::of(&seen.question, seen.question.due_at) };
        Self {
            question,
            justification: seen.justification.clone(),
            officer: seen.officer.id.to_string(),
            officer_name: seen.officer.name.clone(),
            case_ref: seen.case_ref.clone(),
            offence: seen.offence.clone(),
            facts_statement: seen.facts_statement.clone(),
            params: seen.params.clone(),
            confirms: seen.confirms.map(|(exchange, _)| exchange.to_string()),
            confirms_asked_at: seen.confirms.map(|(_, at)| at.to_string()),
        }
    }
}

/// An answer to be reviewed, without its subject.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ToReview {
    /// The exchange.
    pub exchange: String,
    /// Who asked.
    pub from: String,
    /// About invented records.
    pub training: bool,
    /// What kind of question.
    pub kind: String,
    /// Which step.
    pub step: String,
    /// Why.
    pub purpose: String,
    /// Until when somebody looks.
    pub due_at: String,
    /// That moment has passed.
    pub overdue: bool,
    /// Leaf hash of the ANSWER.
    pub answer_leaf: String,
}

impl ToReview {
    /// The review as of `now`.
    pub fn of(review: &Review, now: Millis) -> Self {
        Self {
            exchange: review.exchange.to_string(),
            from: review.from.to_string(),
            training: review.mode == Mode::Training,
            kind: review.kind.to_string(),
            step: review.step.to_string(),
            purpose: review.purpose.to_string(),
            due_at: review.due_at.to_string(),
            overdue: review.due_at <= now,
            answer_leaf: review.answer_leaf.to_string(),
        }
    }
}

/// What a person decides.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Decided {
    /// Answer with what the policy permits.
    Answer {
        /// For the own log.
        #[serde(default)]
        note: String,
    },
    /// The same; a step-1 hit is confirmed.
    Confirm {
        /// For the own log.
        #[serde(default)]
        note: String,
    },
    /// Refuse.
    Refuse {
        /// Why, by class.
        reason: String,
        /// Why, in English.
        text_en: String,
        /// Why, in Spanish.
        text_es: String,
    },
    /// Ask for more.
    NeedsData {
        /// Names of the fields.
        fields: Vec<String>,
        /// What is missing, in English.
        #[serde(default)]
        text_en: String,
        /// What is missing, in Spanish.
        #[serde(default)]
        text_es: String,
    },
}

impl std::fmt::Debug for Decided {
    // What a person writes may name the subject.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Decided")
    }
}

impl Decided {
    /// The decision.
    ///
    /// # Errors
    /// The reason is none.
    pub fn decision(self) -> Result<Decision, CodeError> {
        Ok(match self {
            Self::Answer { note } => Decision::Answer { note },
            Self::Confirm { note } => Decision::Confirm { note },
            Self::Refuse { reason, text_en, text_es } => Decision::Refuse { reason: reason.parse()?, text_en, text_es },
            Self::NeedsData { fields, text_en, text_es } => Decision::NeedsData { fields, text_en, text_es },
        })
    }
}
