//! What programs send: the options of the commands, by the same names.

use std::collections::BTreeMap;

use puente_model::{Digest, Handling, NodeUri, OfficerId, QueryKind, Step};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::cli::Failure;
use crate::cli::query::{Wish, duration};
use crate::control_api::{maybe, text};
use crate::import::jsonl::Cells;
use crate::inbox::Waiting;
use crate::outbox::Shown;

fn first() -> Step {
    Step::HitNoHit
}

fn handling() -> Handling {
    Handling::H2
}

fn minute() -> String {
    "60s".to_owned()
}

/// A question. Its officer is the key's.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Put {
    /// Kind of question, for example `vehicle.status`.
    #[serde(with = "text")]
    #[schemars(with = "String")]
    kind: QueryKind,
    /// Node that is asked, for example `puente://us/tx-dps/n1`.
    #[serde(with = "text")]
    #[schemars(with = "String")]
    to: NodeUri,
    /// Why it is asked.
    purpose: String,
    /// Legal basis of the charter.
    basis: String,
    /// Case file.
    case: String,
    /// Parameters of the kind: an object that fits its JSON Schema (`/v1/catalogue/{name}/schema`).
    #[schemars(with = "BTreeMap<String, Value>")]
    params: Cells,
    /// `1`: hit or no hit; `2`: core data; `3`: evidence.
    #[serde(default = "first", with = "text")]
    #[schemars(with = "String")]
    step: Step,
    /// Steps 2 and 3: leaf hash of the step-1 answer that a human confirmed.
    #[serde(default, with = "maybe")]
    #[schemars(with = "Option<String>")]
    confirms: Option<Digest>,
    /// Steps 2 and 3: statement of facts.
    #[serde(default)]
    facts: String,
    /// The offence.
    #[serde(default)]
    offence: String,
    /// Deadline of the answer: `30s`, `10m`, `2h`, `3d`; at most `7d`.
    #[serde(default = "minute")]
    due: String,
    /// Urgent, with the justification.
    #[serde(default)]
    urgent: Option<String>,
    /// The strictest handling code that the asker accepts.
    #[serde(default = "handling", with = "text")]
    #[schemars(with = "String")]
    handling: Handling,
    /// About invented records alone; never taken for a real question.
    #[serde(default)]
    training: bool,
}

impl Put {
    pub(super) fn wish(self, officer: OfficerId) -> Result<Wish, Failure> {
        Ok(Wish {
            kind: self.kind,
            to: self.to,
            purpose: self.purpose,
            basis: self.basis,
            officer,
            case_ref: self.case,
            training: self.training,
            step: self.step,
            confirms: self.confirms,
            facts: self.facts,
            offence: self.offence,
            params: self.params.0,
            due: duration(&self.due)?,
            urgent: self.urgent,
            handling: self.handling,
        })
    }
}

/// The hit holds: core data (step 2) is asked for.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Confirm {
    /// What was seen and established.
    pub(super) facts: String,
    /// The offence; that of the step-1 question unless given.
    #[serde(default)]
    pub(super) offence: String,
    /// Urgent, with the justification.
    #[serde(default)]
    pub(super) urgent: String,
    /// Deadline of the answer: `30s`, `10m`, `2h`, `3d`; at most `7d`.
    #[serde(default = "minute")]
    pub(super) due: String,
}

/// The hit does not hold.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Refute {
    /// What was seen and established.
    pub(super) facts: String,
}

/// Answer with what the policy permits.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Note {
    /// For this node's own log.
    #[serde(default)]
    pub(super) note: String,
}

/// Refuse.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Refuse {
    /// The class: `scope`, `sovereignty`, `ongoing-operation`, `source-protection`, `statutory-bar`, `quality`, `human-rights`,
    /// `no-legal-basis`.
    pub(super) reason: String,
    /// Why, in English.
    pub(super) text_en: String,
    /// Why, in Spanish.
    pub(super) text_es: String,
}

/// Say which fields the question lacks.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NeedsData {
    /// Names of the fields.
    pub(super) fields: Vec<String>,
    /// What is missing, in English.
    #[serde(default)]
    pub(super) text_en: String,
    /// What is missing, in Spanish.
    #[serde(default)]
    pub(super) text_es: String,
}

/// The officer's questions: open ones first, the soonest due before all; then the newest.
#[derive(Serialize, JsonSchema)]
pub(super) struct Questions {
    pub(super) questions: Vec<Shown>,
}

/// Questions that wait for a person here: urgent ones first, then the soonest due.
#[derive(Serialize, JsonSchema)]
pub(super) struct Waits {
    pub(super) questions: Vec<Waiting>,
    /// How many of them are urgent.
    pub(super) urgent: usize,
}

/// It stands in the log.
#[derive(Serialize, JsonSchema)]
pub(super) struct Recorded {
    /// The exchange.
    pub(super) exchange: String,
    /// Place of the entry.
    pub(super) recorded: u64,
}
