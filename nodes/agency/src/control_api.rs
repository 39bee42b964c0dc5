//! What the command line and a running node say to each other over the control socket.
//!
//! One JSON object a line. The client sends one [`Command`] and reads one
//! [`Answer`]; then it may send the next. The socket is the operator's own
//! (0600): whoever can open it acts as the operator.

mod concluded;

use std::collections::BTreeMap;

use puente_exchange::api::{Draft, LocalEvent};
use puente_model::{
    Digest, EventKind, ExchangeId, Handling, LegalBasisId, Millis, Mode, NodeUri, OfficerId, Purpose, QueryKind, Role,
    Step, Urgency,
};
use puente_wire::Officer;
use serde::{Deserialize, Serialize};

pub use concluded::{Concluded, DisclosedField, Explained, GroupPut, Invalid};

/// The longest line that either side sends, in bytes.
pub const LINE_BYTES_MAX: usize = 8 << 20;

/// Serialises codes and names as their text.
pub(crate) mod text {
    use std::fmt::Display;
    use std::str::FromStr;

    use serde::de::Error as _;
    use serde::{Deserialize, Deserializer, Serializer};

    pub(crate) fn serialize<T: Display, S: Serializer>(value: &T, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(value)
    }

    pub(crate) fn deserialize<'de, T, D>(from: D) -> Result<T, D::Error>
    where
        T: FromStr,
        T::Err: Display,
        D: Deserializer<'de>,
    {
        String::deserialize(from)?.parse().map_err(D::Error::custom)
    }
}

/// As [`text`], for values that may be absent.
pub(crate) mod maybe {
    use std::fmt::Display;
    use std::str::FromStr;

    use serde::de::Error as _;
    use serde::{Deserialize, Deserializer, Serializer};

    pub(crate) fn serialize<T: Display, S: Serializer>(value: &Option<T>, to: S) -> Result<S::Ok, S::Error> {
        match value {
            Some(value) => to.collect_str(value),
            None => to.serialize_none(),
        }
    }

    pub(crate) fn deserialize<'de, T, D>(from: D) -> Result<Option<T>, D::Error>
    where
        T: FromStr,
        T::Err: Display,
        D: Deserializer<'de>,
    {
        Option::<String>::deserialize(from)?.map(|text| text.parse().map_err(D::Error::custom)).transpose()
    }
}

/// What a node is asked to do.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "cmd", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Command {
    /// Ask another node; answered by [`Answer::Concluded`] at the deadline at the latest.
    Query(Box<Question>),
    /// Ask every member of a group; answered by [`Answer::Concluded`] once the question stands in the log.
    GroupQuery {
        /// Name of the group.
        group: String,
        /// The question; whom it names is any member.
        question: Box<Question>,
    },
    /// The questions that this node asked; answered by [`Answer::Questions`].
    Questions(crate::outbox::Wanted),
    /// Where one question stands; answered by [`Answer::Questions`] with one, or with none.
    QuestionStatus {
        /// The exchange.
        #[serde(with = "text")]
        exchange: ExchangeId,
    },
    /// Wait for what comes of a question that goes on by itself; answered by [`Answer::Concluded`].
    QuestionAwait {
        /// The exchange.
        #[serde(with = "text")]
        exchange: ExchangeId,
    },
    /// Look at an answer again: CONSULT is recorded where fields are shown; answered by [`Answer::Concluded`].
    QuestionResult {
        /// The exchange.
        #[serde(with = "text")]
        exchange: ExchangeId,
        /// Who looks.
        #[serde(with = "text")]
        officer: OfficerId,
    },
    /// Confirm or refute a hit; answered by [`Answer::Concluded`].
    QuestionExamine(Box<crate::outbox::Examined>),
    /// Give a question up; answered by [`Answer::Concluded`].
    QuestionCancel {
        /// The exchange.
        #[serde(with = "text")]
        exchange: ExchangeId,
    },
    /// Publish an alert; answered by [`Answer::Concluded`] once it stands in the log.
    AlertPublish(Box<crate::alerts::Wished>),
    /// Acknowledge another node's alert; answered by [`Answer::Concluded`].
    AlertAcknowledge {
        /// Its id.
        #[serde(with = "text")]
        alert: Digest,
        /// Who.
        #[serde(with = "text")]
        officer: OfficerId,
        /// For the own log.
        #[serde(default)]
        note: String,
    },
    /// Cancel an alert of this node's; answered by [`Answer::Concluded`].
    AlertCancel {
        /// Its id.
        #[serde(with = "text")]
        alert: Digest,
        /// Who.
        #[serde(with = "text")]
        officer: OfficerId,
        /// Why.
        reason: String,
    },
    /// The alerts that this node made or was told; answered by [`Answer::Alerts`].
    Alerts,
    /// The questions that wait for a person's decision; answered by [`Answer::Inbox`].
    Inbox,
    /// Look at one of them: CONSULT is recorded; answered by [`Answer::Concluded`].
    InboxShow {
        /// The exchange.
        #[serde(with = "text")]
        exchange: ExchangeId,
        /// Who looks.
        #[serde(with = "text")]
        officer: OfficerId,
    },
    /// Decide on one of them; answered by [`Answer::Concluded`] once the decision is carried out.
    InboxDecide {
        /// The exchange.
        #[serde(with = "text")]
        exchange: ExchangeId,
        /// Who decides.
        #[serde(with = "text")]
        officer: OfficerId,
        /// What.
        decision: crate::inbox::Decided,
    },
    /// The answers to be reviewed; answered by [`Answer::Reviews`].
    InboxReviews,
    /// One of them was reviewed; answered by [`Answer::Concluded`].
    InboxReviewed {
        /// The exchange.
        #[serde(with = "text")]
        exchange: ExchangeId,
        /// Who looked.
        #[serde(with = "text")]
        officer: OfficerId,
        /// What was found.
        note: String,
    },
    /// The matters that this node brought; answered by [`Answer::Matters`].
    Matters,
    /// How the node is; answered by [`Answer::Status`].
    Status,
    /// What a support bundle takes from the running node; answered by [`Answer::Support`].
    Support,
    /// Record a local event; answered by [`Answer::Concluded`] once it is durable.
    Event(Event),
    /// Record what the officers' files hold and the log does not; answered by [`Answer::Officers`].
    Officers,
    /// Record what the API keys' files hold and the log does not; answered by [`Answer::Officers`].
    ApiKeys,
    /// Close all open periods now.
    ClosePeriods,
    /// Publish the newest head in `log/`; answered by [`Answer::Done`].
    Publish,
    /// Publish, then copy the log for an auditor; answered by [`Answer::Exported`].
    Export {
        /// Folder of the copy, absolute.
        to: std::path::PathBuf,
        /// With everything that own auditors may see.
        own: bool,
    },
    /// Adopt the charter parts of a folder; answered by [`Answer::Adopted`] or [`Answer::NotAdopted`].
    Adopt {
        /// The folder, absolute.
        from: std::path::PathBuf,
    },
    /// Erase the records that have been kept as long as they may be; answered by [`Answer::Retained`].
    Retain,
    /// Leave the federation for good; answered by [`Answer::Left`].
    Leave {
        /// Why, in the operator's words.
        reason: String,
        /// New folder for what is handed over, absolute.
        to: std::path::PathBuf,
    },
    /// Read certificate, charter folder and policies again; answered by [`Answer::Reloaded`].
    Reload,
    /// Read the certificate again, and nothing else; answered by [`Answer::Reloaded`].
    ReloadCertificate,
    /// The groups that the node is in; answered by [`Answer::Groups`].
    Groups,
    /// Want something of a group; answered by [`Answer::Done`].
    Group {
        /// Its name.
        group: String,
        /// What.
        want: GroupWant,
    },
    /// Block a peer at once; answered by [`Answer::Concluded`] once it is in the log.
    Block {
        /// Whom.
        #[serde(with = "text")]
        peer: NodeUri,
        /// Why.
        reason: String,
    },
    /// Take a block away; answered by [`Answer::Concluded`] once it is in the log.
    Unblock {
        /// Whom.
        #[serde(with = "text")]
        peer: NodeUri,
    },
    /// Copy what a backup cannot read where it lies; answered by [`Answer::Snapshot`].
    Snapshot {
        /// Folder of the copy, absolute and empty.
        to: std::path::PathBuf,
    },
    /// Stop, with periods closed and the log published; answered by [`Answer::Done`] before the node ends.
    Shutdown,
}

/// A question, its officer named by id: the node looks the officer up among those in force.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Question {
    /// Whom.
    #[serde(with = "text")]
    pub to: NodeUri,
    /// What kind of question.
    #[serde(with = "text")]
    pub kind: QueryKind,
    /// Which step.
    #[serde(with = "text")]
    pub step: Step,
    /// Why.
    #[serde(with = "text")]
    pub purpose: Purpose,
    /// On which legal basis.
    #[serde(with = "text")]
    pub basis: LegalBasisId,
    /// The strictest handling code the asker accepts.
    #[serde(with = "text")]
    pub handling: Handling,
    /// Who.
    #[serde(with = "text")]
    pub officer: OfficerId,
    /// Case file.
    pub case_ref: String,
    /// Parameters as typed.
    pub params: BTreeMap<String, String>,
    /// Deadline: milliseconds from when the node reads this.
    pub due_in_millis: u64,
    /// How urgent.
    #[serde(with = "text")]
    pub urgency: Urgency,
    /// Why urgent.
    #[serde(default)]
    pub justification: String,
    /// Steps 2 and 3: statement of facts.
    #[serde(default)]
    pub facts_statement: String,
    /// The offence.
    #[serde(default)]
    pub offence: String,
    /// Steps 2 and 3: leaf hash of the step-1 answer that a human confirmed.
    #[serde(default, with = "maybe")]
    pub confirms: Option<Digest>,
    /// About invented records, among people who learn.
    #[serde(default)]
    pub training: bool,
    /// Nobody waits: answered by `asked` once the question stands in the log, and it goes on by itself.
    #[serde(default)]
    pub stays: bool,
}

impl Question {
    /// The question as the engine takes it, by this officer; `half` names it for whoever may put it once only.
    pub(crate) fn draft(self, officer: Officer, now: Millis, half: Option<[u8; 8]>) -> Draft {
        Draft {
            to: self.to,
            kind: self.kind,
            step: self.step,
            purpose: self.purpose,
            basis: self.basis,
            handling: self.handling,
            officer,
            case_ref: self.case_ref,
            params: self.params.into_iter().collect(),
            due_at: now.plus(self.due_in_millis),
            urgency: self.urgency,
            justification: self.justification,
            facts_statement: self.facts_statement,
            offence: self.offence,
            confirms: self.confirms,
            mode: if self.training { Mode::Training } else { Mode::Open },
            stays: self.stays,
            half,
        }
    }
}

impl std::fmt::Debug for Question {
    // Who is sought, by whom and why is nobody's business but the log's.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Question({} step {} to {})", self.kind, self.step, self.to)
    }
}

/// A local event, as [`LocalEvent`].
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Event {
    /// What.
    #[serde(with = "text")]
    pub kind: EventKind,
    /// Record type, where records are concerned.
    #[serde(default)]
    pub record_type: String,
    /// How many.
    #[serde(default)]
    pub count: u64,
    /// Why.
    #[serde(default, with = "maybe")]
    pub purpose: Option<Purpose>,
    /// On which legal basis.
    #[serde(default, with = "maybe")]
    pub basis: Option<LegalBasisId>,
    /// Role of the officer.
    #[serde(default, with = "maybe")]
    pub role: Option<Role>,
    /// Details, hexadecimal.
    #[serde(default)]
    pub detail: String,
}

impl std::fmt::Debug for Event {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Event({} ×{})", self.kind, self.count)
    }
}

impl From<LocalEvent> for Event {
    fn from(event: LocalEvent) -> Self {
        let LocalEvent { kind, record_type, count, purpose, basis, role, detail } = event;
        Self { kind, record_type, count, purpose, basis, role, detail: hex::encode(detail) }
    }
}

impl TryFrom<Event> for LocalEvent {
    type Error = hex::FromHexError;

    fn try_from(event: Event) -> Result<Self, Self::Error> {
        let Event { kind, record_type, count, purpose, basis, role, detail } = event;
        Ok(Self { kind, record_type, count, purpose, basis, role, detail: hex::decode(detail)? })
    }
}

/// What an operator wants of a group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum GroupWant {
    /// That a node comes in, also one that was removed before.
    Add {
        /// Who.
        #[serde(with = "text")]
        node: NodeUri,
    },
    /// That a member goes.
    Remove {
        /// Who.
        #[serde(with = "text")]
        node: NodeUri,
    },
    /// Fresh keys.
    Rekey,
}

/// What a node answers.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "answer", rename_all = "kebab-case")]
pub enum Answer {
    /// What came of a question, an event or closing periods.
    Concluded(Box<Concluded>),
    /// The groups that the node is in.
    Groups {
        /// Name, epoch and members of each.
        groups: Vec<serde_json::Value>,
    },
    /// Alerts, the newest first.
    Alerts {
        /// What they say, and what became of them.
        alerts: Vec<crate::alerts::Shown>,
    },
    /// Questions of this node's.
    Questions {
        /// Open ones first, the soonest due before all; then the newest.
        questions: Vec<crate::outbox::Shown>,
    },
    /// Questions that wait for a person's decision.
    Inbox {
        /// Urgent ones first, then the soonest due.
        questions: Vec<crate::inbox::Waiting>,
        /// How many of them are urgent.
        urgent: usize,
    },
    /// Answers to be reviewed.
    Reviews {
        /// The soonest due first.
        reviews: Vec<crate::inbox::ToReview>,
        /// How many are due.
        due: usize,
    },
    /// Matters that this node brought.
    Matters {
        /// The newest first.
        matters: Vec<crate::outbox::ShownMatter>,
    },
    /// How the node is: an object for people and programs.
    Status {
        /// The node's own words.
        status: serde_json::Value,
    },
    /// What a support bundle takes from the running node.
    Support {
        /// The metrics, as Prometheus reads them.
        metrics: String,
        /// The newest log lines, the oldest first.
        lines: Vec<crate::ops::recent::Line>,
    },
    /// The log was copied.
    Exported {
        /// Entries under the copied head.
        size: u64,
        /// Files copied.
        files: u64,
        /// Records of the sidecar.
        asides: u64,
    },
    /// Records that had been kept as long as they may be are erased.
    Retained {
        /// How many, by record type.
        erased: std::collections::BTreeMap<String, u64>,
    },
    /// The node has left.
    Left {
        /// Place of the final entry.
        index: u64,
        /// Entries of the closed log.
        entries: u64,
        /// Where everything was handed over.
        folder: String,
        /// File name of the closing annex's draft.
        draft: String,
        /// Partners that may know of newer charter parts, and why that is not known.
        unasked: Vec<UnaskedPartner>,
    },
    /// The charter is in force.
    Adopted {
        /// Versions of its parts.
        vector: String,
        /// False if it was in force before.
        changed: bool,
    },
    /// The charter parts were refused; nothing changed.
    NotAdopted {
        /// Stable name of the cause.
        code: String,
        /// What is wrong.
        message: String,
        /// What to do.
        hint: String,
    },
    /// What came of settling the officers, or the API keys, with the log.
    Officers {
        /// Kind and index of each entry.
        recorded: Vec<(String, u64)>,
        /// Grants that wait for two operators.
        waiting: usize,
    },
    /// What was read again.
    Reloaded {
        /// Certificate, charter, operators, policies, officers.
        items: Vec<Reloaded>,
    },
    /// What changes was copied.
    Snapshot {
        /// Entries of the log.
        size: u64,
        /// Bytes of `log/asides` that belong to them.
        asides_len: u64,
    },
    /// Done; nothing more to say.
    Done,
    /// Not done.
    Error {
        /// Stable name of the cause.
        code: String,
        /// What failed; holds no identifier of a person.
        message: String,
        /// What to do.
        hint: String,
    },
}

/// A partner that may know of newer charter parts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnaskedPartner {
    /// Who.
    pub peer: String,
    /// Stable name of the cause: [`puente_exchange::api::Unasked::as_str`].
    pub why: String,
}

/// What came of reading one thing again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reloaded {
    /// `certificate`, `charter`, `operators`, `policies`, `officers` or `api-keys`.
    pub what: String,
    /// `changed`, `same` or `failed`: then the old one stays in force.
    pub outcome: String,
    /// Why it failed; empty otherwise.
    pub message: String,
    /// What to do about it; empty otherwise.
    pub mend: String,
}

impl Reloaded {
    /// It holds.
    pub fn done(what: &str, changed: bool) -> Self {
        let outcome = if changed { "changed" } else { "same" };
        Self { what: what.to_owned(), outcome: outcome.to_owned(), message: String::new(), mend: String::new() }
    }

    /// It does not hold: the old one stays.
    pub fn failed(what: &str, message: impl std::fmt::Display, mend: &str) -> Self {
        let (message, mend) = (message.to_string(), mend.to_owned());
        Self { what: what.to_owned(), outcome: "failed".to_owned(), message, mend }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_and_answers_round_trip() {
        let event = LocalEvent {
            kind: EventKind::Collect,
            record_type: "Vehicle".to_owned(),
            count: 7,
            purpose: None,
            basis: None,
            role: Some(Role::Analyst),
            detail: vec![1, 2],
        };
        let line = serde_json::to_string(&Command::Event(event.into())).unwrap();
        assert!(line.starts_with(r#"{"cmd":"event","kind":"COLLECT""#), "{line}");
        let Ok(Command::Event(event)) = serde_json::from_str(&line) else { panic!("{line}") };
        assert_eq!(LocalEvent::try_from(event).unwrap().detail, [1, 2]);
        assert!(matches!(serde_json::from_str(r#"{"cmd":"status"}"#), Ok(Command::Status)));
        assert!(serde_json::from_str::<Command>(r#"{"cmd":"stop"}"#).is_err());

        let answer = Answer::Concluded(Box::new(Concluded::Recorded { index: 3 }));
        let line = serde_json::to_string(&answer).unwrap();
        assert_eq!(line, r#"{"answer":"concluded","conclusion":"recorded","index":3}"#);
        assert!(
            matches!(serde_json::from_str(&line), Ok(Answer::Concluded(c)) if *c == Concluded::Recorded { index: 3 })
        );
    }

    #[test]
    fn a_question_hides_its_subject_from_debug() {
        let line = r#"{"cmd":"query","to":"puente://us/tx-dps/n1","kind":"vehicle.status","step":"1",
            "purpose":"vehicle-recovery","basis":"mx-us-mlat-1987","handling":"H2","officer":"o-1042",
            "case_ref":"NUC-77","params":{"vin":"1M8GDM9AXKP042788"},"due_in_millis":1000,"urgency":"routine"}"#;
        let command: Command = serde_json::from_str(line).unwrap();
        let text = format!("{command:?}");
        assert!(!text.contains("1M8") && !text.contains("o-1042") && !text.contains("NUC"), "{text}");
        let bad = line.replace("vehicle-recovery", "curiosity");
        let error = serde_json::from_str::<Command>(&bad).unwrap_err().to_string();
        assert!(error.contains("use one of"), "{error}");
    }
}
