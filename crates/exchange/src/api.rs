//! What goes into the engine and what comes out of it.
//!
//! The driver (`nodes/agency`, or the simulator) moves bytes, keeps time and
//! owns the disk; it decides nothing. It calls [`crate::Engine::handle`] with
//! inputs until it has none left, then carries out every effect of
//! [`crate::Engine::poll_effect`], then waits for bytes or for
//! [`crate::Engine::poll_deadline`].

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use puente_charter::{Charter, CharterError, ClaimedPart, Conviction};
use puente_model::{
    CharterVector, Digest, EventKind, ExchangeId, Handling, LeafIndex, LegalBasisId, Millis, Mode, NodeUri, Outcome,
    Purpose, QueryKind, RefusalReason, Role, Step, Urgency,
};
use puente_policy::PolicySet;
use puente_wire::{Explanation, Officer, fault::FaultCode};

use crate::alerts::AlertDraft;
use crate::inbox::{Decision, Inspected};
use crate::lead::{Facts, Finding};

/// A QUIC (or simulated) connection, numbered by the driver; never reused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConnectionId(pub u64);

/// A bidirectional stream within a connection.
///
/// [`StreamId::CONTROL`] is opened by the side that dialled, as the first stream. The engine numbers
/// the streams that it wants opened with even numbers from 2: the driver opens one at the first
/// [`Effect::Send`] that names it. The driver numbers the streams that the peer opened with odd numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StreamId(pub u64);

impl StreamId {
    /// Ready, heads, periods, redelivery.
    pub const CONTROL: Self = Self(0);
}

/// The driver's name for something it asked for; comes back in [`Effect::Conclude`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Ticket(pub u64);

/// What the driver tells the engine.
#[derive(Debug)]
pub enum Input {
    /// A connection stands, mutually authenticated; `peer` is the one SAN URI of the peer's certificate,
    /// whose chain ends in a root of its own nation.
    Connected {
        /// The connection.
        connection: ConnectionId,
        /// Who is at the other end.
        peer: NodeUri,
        /// This side dialled.
        dialled: bool,
    },
    /// The connection is gone.
    Disconnected {
        /// The connection.
        connection: ConnectionId,
    },
    /// A dial that [`Effect::Connect`] asked for failed.
    DialFailed {
        /// Who could not be reached.
        peer: NodeUri,
    },
    /// Somebody wants to know whether a question to this node itself would succeed: [`Conclusion::Tried`].
    Try {
        /// Names the conclusion.
        ticket: Ticket,
    },
    /// One whole frame arrived, without its length prefix.
    Frame {
        /// On this connection.
        connection: ConnectionId,
        /// On this stream.
        stream: StreamId,
        /// `Frame` bytes.
        bytes: Vec<u8>,
    },
    /// The peer reset the stream: it cancels.
    StreamReset {
        /// On this connection.
        connection: ConnectionId,
        /// This stream.
        stream: StreamId,
    },
    /// The batch of [`Effect::Write`] with this number is durable.
    Durable {
        /// Number of the batch.
        batch: u64,
    },
    /// The batch could not be written. The engine answers nothing more; the process must be restarted
    /// once the disk is mended (a failed sync is never retried: what the disk holds is unknown).
    WriteFailed {
        /// Number of the batch.
        batch: u64,
    },
    /// Answer to [`Effect::Lookup`]: the canonical bytes of the records found.
    Found {
        /// Number of the lookup.
        lookup: u64,
        /// Records, or why none could be read (holds no identifier).
        records: Result<Vec<Vec<u8>>, String>,
    },
    /// An officer of this agency asks.
    Question {
        /// Comes back with the conclusion.
        ticket: Ticket,
        /// The question.
        draft: Box<Draft>,
    },
    /// The officer gives up waiting.
    Cancel {
        /// The question's ticket.
        ticket: Ticket,
    },
    /// An officer gives a question up, from anywhere, at any time before it is answered: its number is voided.
    Withdraw {
        /// Comes back with what came of it.
        ticket: Ticket,
        /// Which question.
        exchange: ExchangeId,
    },
    /// An officer waits for what comes of a question that was put earlier.
    Await {
        /// Comes back with the conclusion.
        ticket: Ticket,
        /// Which question.
        exchange: ExchangeId,
    },
    /// An officer looks at an answer again. Where fields were disclosed, CONSULT is recorded before they are shown.
    Look {
        /// Comes back with the answer.
        ticket: Ticket,
        /// Which question.
        exchange: ExchangeId,
        /// Who looks.
        officer: Officer,
    },
    /// An officer confirms or refutes a hit, stating the facts: CONFIRM or REFUTE is recorded, and after CONFIRM the step-2
    /// question is asked with everything of the step-1 question.
    Examine {
        /// Comes back with what came of the step-2 question, or with [`Conclusion::Recorded`] of the REFUTE.
        ticket: Ticket,
        /// The step-1 question.
        exchange: ExchangeId,
        /// Who examined the hit.
        officer: Officer,
        /// What is stated.
        facts: Facts,
        /// What was found.
        finding: Finding,
    },
    /// An officer looks at a question that waits for a person's decision: CONSULT is recorded before it is shown.
    Inspect {
        /// Comes back with the question.
        ticket: Ticket,
        /// Which question.
        exchange: ExchangeId,
        /// Who looks.
        officer: Officer,
    },
    /// An officer decides on a question that waits for it.
    Decide {
        /// Comes back with what came of it.
        ticket: Ticket,
        /// Which question.
        exchange: ExchangeId,
        /// Who decides.
        officer: Officer,
        /// What.
        decision: Decision,
    },
    /// An officer has looked at an answer that nobody decided on before it was given: HUMAN_DECISION is recorded, and it
    /// is due no more.
    Reviewed {
        /// Comes back with [`Conclusion::Recorded`], [`Conclusion::NotWaiting`] or [`Conclusion::Invalid`].
        ticket: Ticket,
        /// Which question.
        exchange: ExchangeId,
        /// Who looked.
        officer: Officer,
        /// What was found, for the own log.
        note: String,
    },
    /// Something happened at this node that the log must hold.
    Event {
        /// Comes back with [`Conclusion::Recorded`].
        ticket: Ticket,
        /// What.
        event: LocalEvent,
    },
    /// Close all open periods now (at shutdown, or before an audit).
    ClosePeriods {
        /// Comes back with [`Conclusion::PeriodsClosed`] when every reachable peer has answered.
        ticket: Ticket,
    },
    /// The node is about to stop: what is under way goes on; new questions of peers are told to come again
    /// (`overloaded`), unrecorded, and new ones of this node's officers are [`Conclusion::Faulted`] alike. For good.
    Drain,
    /// Ends what is open: questions are voided, those that wait for a person here are refused. After [`Input::Drain`].
    EndAll {
        /// Concluded when that is recorded.
        ticket: Ticket,
    },
    /// Asks every partner for newer charter parts, and takes in those that hold.
    CompareCharters {
        /// Comes back with [`Conclusion::Compared`].
        ticket: Ticket,
    },
    /// Records the log's final entry; nothing is recorded after it, ever.
    Leave {
        /// Concluded with [`Conclusion::Left`].
        ticket: Ticket,
        /// Why, in the operator's words: committed, not shown.
        reason: String,
    },
    /// Charter parts that an operator wants adopted, for example all of a folder.
    Offer {
        /// Comes back with [`Conclusion::InForce`] or [`Conclusion::NotAdopted`].
        ticket: Ticket,
        /// The parts, unverified.
        parts: Vec<ClaimedPart>,
    },
    /// What [`Effect::Adopt`] asked for is done: the parts are on the disk.
    Kept(Rules),
    /// What [`Effect::Adopt`] asked for cannot be done.
    NotKept,
    /// Other rules of this node's own.
    Rules {
        /// Comes back with [`Conclusion::InForce`].
        ticket: Ticket,
        /// The rules.
        rules: Rules,
    },
    /// The operator blocks a peer, or takes the block away.
    Bar {
        /// Comes back with [`Conclusion::Recorded`], or [`Conclusion::Invalid`].
        ticket: Ticket,
        /// Whom.
        peer: NodeUri,
        /// Why; none takes the block away.
        reason: Option<String>,
    },
    /// What came of [`Effect::Submit`].
    Submitted {
        /// Which.
        submission: Digest,
        /// The witness's name in the charter.
        witness: String,
        /// HTTP status and body, or why there is none (holds no identifier).
        answer: Result<(u16, Vec<u8>), String>,
    },
    /// What came of [`Effect::Seek`].
    Sought {
        /// The witness's name in the charter.
        witness: String,
        /// The log's name.
        origin: String,
        /// The head, if the witness knows one; or why there is no answer.
        head: Result<Option<Vec<u8>>, String>,
    },
    /// The node can stand in groups from now on: it has what it takes, and its charter names a corridor.
    HostGroups {
        /// Comes back with [`Conclusion::Hosted`].
        ticket: Ticket,
        /// What it stands there with.
        setup: Box<puente_corridor::Setup>,
    },
    /// This node has another certificate, or key: what stands in groups follows.
    GroupIdentity(Box<puente_group::Identity>),
    /// An operator wants something of a group.
    WantOfGroup {
        /// Comes back with [`Conclusion::Wanted`].
        ticket: Ticket,
        /// Which group.
        group: puente_ledger::GroupId,
        /// What.
        want: puente_corridor::Want,
    },
    /// Ask every member of a group one question.
    GroupQuestion {
        /// Comes back with [`Conclusion::GroupAsked`].
        ticket: Ticket,
        /// Which group.
        group: puente_ledger::GroupId,
        /// The question; whom it names is asked only if it is a member.
        draft: Box<Draft>,
    },
    /// Publish an alert.
    PublishAlert {
        /// Comes back with [`Conclusion::Alerted`].
        ticket: Ticket,
        /// The alert.
        draft: Box<AlertDraft>,
    },
    /// An officer acknowledges another node's alert.
    AcknowledgeAlert {
        /// Comes back with [`Conclusion::Alerted`].
        ticket: Ticket,
        /// Its id.
        alert: Digest,
        /// Who.
        officer: Officer,
        /// For the own log; may be empty.
        note: String,
    },
    /// An officer cancels an alert of this node's.
    CancelAlert {
        /// Comes back with [`Conclusion::Alerted`].
        ticket: Ticket,
        /// Its id.
        alert: Digest,
        /// Who.
        officer: Officer,
        /// Why.
        reason: String,
    },
    /// A deadline of [`crate::Engine::poll_deadline`] has passed.
    Tick,
}

impl Input {
    /// The ticket of whoever waits for a conclusion.
    pub(crate) fn waits(&self) -> Option<Ticket> {
        match self {
            Self::Question { ticket, .. }
            | Self::PublishAlert { ticket, .. }
            | Self::GroupQuestion { ticket, .. }
            | Self::AcknowledgeAlert { ticket, .. }
            | Self::CancelAlert { ticket, .. }
            | Self::Withdraw { ticket, .. }
            | Self::Await { ticket, .. }
            | Self::Look { ticket, .. }
            | Self::Examine { ticket, .. }
            | Self::Inspect { ticket, .. }
            | Self::Decide { ticket, .. }
            | Self::Reviewed { ticket, .. }
            | Self::Event { ticket, .. }
            | Self::ClosePeriods { ticket }
            | Self::EndAll { ticket }
            | Self::CompareCharters { ticket }
            | Self::Leave { ticket, .. }
            | Self::Offer { ticket, .. }
            | Self::Rules { ticket, .. }
            | Self::Try { ticket }
            | Self::HostGroups { ticket, .. }
            | Self::WantOfGroup { ticket, .. }
            | Self::Bar { ticket, .. } => Some(*ticket),
            Self::Connected { .. }
            | Self::Disconnected { .. }
            | Self::DialFailed { .. }
            | Self::Frame { .. }
            | Self::StreamReset { .. }
            | Self::Durable { .. }
            | Self::WriteFailed { .. }
            | Self::Found { .. }
            | Self::Submitted { .. }
            | Self::Sought { .. }
            | Self::GroupIdentity(_)
            | Self::Cancel { .. }
            | Self::Drain
            | Self::Kept(_)
            | Self::NotKept
            | Self::Tick => None,
        }
    }
}

/// What is to rule from now on, recorded first.
pub struct Rules {
    /// The charter that [`Effect::Adopt`] carried.
    pub charter: Option<Arc<Charter>>,
    /// The node's policies, if they change.
    pub policy: Option<Arc<PolicySet>>,
    /// What stands in the log before anything is judged by it.
    pub events: Vec<LocalEvent>,
}

impl fmt::Debug for Rules {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let charter = self.charter.as_ref().map(|charter| charter.vector().to_string());
        write!(f, "Rules({charter:?}, {} events)", self.events.len())
    }
}

/// Who is who, and who is kept out here.
#[derive(Debug, Clone)]
pub struct InForce {
    /// The charter.
    pub charter: Arc<Charter>,
    /// Members with whom this node does not exchange, whatever the charter says, and why.
    pub barred: BTreeMap<NodeUri, String>,
}

/// What the engine wants done, in order.
#[derive(Debug)]
pub enum Effect {
    /// Send this whole frame, length prefix included.
    Send {
        /// On this connection.
        connection: ConnectionId,
        /// On this stream; opened if it is even and new.
        stream: StreamId,
        /// Prefix and frame.
        bytes: Vec<u8>,
        /// Nothing more will be sent on it.
        finish: bool,
    },
    /// Reset this node's half of the stream: it gives up. What the peer still sends on it is taken in.
    Reset {
        /// On this connection.
        connection: ConnectionId,
        /// This stream.
        stream: StreamId,
    },
    /// Write this batch and make it durable in one step, then say [`Input::Durable`].
    Write(Batch),
    /// Look these up, then say [`Input::Found`].
    Lookup {
        /// Number of the lookup.
        lookup: u64,
        /// Record type of the catalogue.
        record_type: String,
        /// Name and value of each match key; a record found by any of them counts, once.
        keys: Vec<(String, String)>,
        /// At most this many records.
        limit: usize,
        /// Among the invented records of training alone, or among the real ones alone.
        mode: Mode,
    },
    /// Tell whoever asked.
    Conclude {
        /// Whose.
        ticket: Ticket,
        /// What came of it.
        conclusion: Box<Conclusion>,
    },
    /// Dial this peer (once; say [`Input::Connected`] or [`Input::DialFailed`]).
    Connect {
        /// Whom.
        peer: NodeUri,
    },
    /// Close the connection.
    Close {
        /// Which.
        connection: ConnectionId,
        /// Why.
        reason: FaultCode,
    },
    /// A question found records under this key: for status. The name of a key holds no identifier.
    Matched {
        /// Name of the match key, for example `vehicle.plate_ocr`.
        key: String,
    },
    /// Keep these parts beside those in force, for good, and see which policies hold under the new charter; then say
    /// [`Input::Kept`] or [`Input::NotKept`]. Nothing is adopted before.
    Adopt {
        /// The verified charter.
        charter: Arc<Charter>,
        /// The parts that are new in it.
        parts: Vec<ClaimedPart>,
    },
    /// This is in force now: handshakes and everything else judge by it.
    InForce(InForce),
    /// Submit a head to a witness over HTTP (`POST <url>/add-checkpoint`, C2SP tlog-witness), then say [`Input::Submitted`].
    Submit {
        /// SHA-256 of the body.
        submission: Digest,
        /// The witness's name in the charter.
        witness: String,
        /// Its submission prefix: `http://` or `https://`.
        url: String,
        /// The body.
        body: Vec<u8>,
    },
    /// Ask a witness over HTTP for the newest head of a log that it cosigned (C2SP tlog-witness, monitoring), then say
    /// [`Input::Sought`].
    Seek {
        /// The witness's name in the charter.
        witness: String,
        /// Its prefix: `http://` or `https://`.
        url: String,
        /// The log's name.
        origin: String,
    },
    /// This head of the own log bears the cosignatures of the charter's quorum: for whoever reads the log's files.
    Cosigned {
        /// A note, with the log's signature and the witnesses'.
        checkpoint: Vec<u8>,
    },
    /// An operator must know.
    Alarm(Alarm),
}

/// One group commit: entries, the head over them, and what must stand or fall with them.
///
/// The driver appends all of it to its journal, syncs once, and only then reports it durable. Nothing
/// of a batch may be seen by anyone before that. Tiles and bundles are the driver's: it computes them from the
/// entries in a log of its own, which refuses a head that they do not give.
#[derive(Clone)]
pub struct Batch {
    /// Counts up from 1 in each run of the engine.
    pub number: u64,
    /// Index of the first entry.
    pub first_index: LeafIndex,
    /// Entry bytes.
    pub entries: Vec<Vec<u8>>,
    /// The signed head over the log with these entries: a C2SP note. Empty if the batch has no entries.
    pub checkpoint: Vec<u8>,
    /// Changes of the evidence store, in order: `None` deletes. Values are secret: encrypt them at rest.
    pub puts: Vec<(Vec<u8>, Option<Vec<u8>>)>,
    /// Records for the sidecar beside the tiles (`puente.v1.Aside`, encoded).
    pub asides: Vec<Vec<u8>>,
}

impl fmt::Debug for Batch {
    // Values of the store are salts, keys and payloads.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Batch({}: {} entries from {})", self.number, self.entries.len(), self.first_index)
    }
}

/// The evidence store: the engine's durable memory, apart from the log.
///
/// Promise: it holds every `put` of every batch reported durable, across crashes, and nothing of any other.
/// Thief: whoever reads it reads openings (salts, payloads, content keys); whoever rewrites it can make this
/// node repeat or forget exchanges, but not change what its log proves.
pub trait Store {
    /// The value of a key.
    ///
    /// # Errors
    /// The store cannot be read; text for the operator.
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, String>;

    /// Up to `limit` pairs whose key starts with `prefix`, ascending, from `start` on (inclusive; empty for the first).
    ///
    /// # Errors
    /// The store cannot be read; text for the operator.
    #[allow(clippy::type_complexity)]
    fn scan(&self, prefix: &[u8], start: &[u8], limit: usize) -> Result<Vec<(Vec<u8>, Vec<u8>)>, String>;

    /// Leaf hash and receipt of every kept receipt of the log `origin` for an entry from `from` on, as the sidecar
    /// holds them, at most `limit`. May take as long as reading the whole sidecar takes.
    ///
    /// # Errors
    /// The sidecar cannot be read; text for the operator.
    fn kept_receipts(&self, origin: &str, from: u64, limit: usize) -> Result<Vec<(Digest, Vec<u8>)>, String>;
}

/// A question as an officer puts it.
#[derive(Clone)]
pub struct Draft {
    /// Whom.
    pub to: NodeUri,
    /// What kind of question.
    pub kind: QueryKind,
    /// Which step.
    pub step: Step,
    /// Why.
    pub purpose: Purpose,
    /// On which legal basis.
    pub basis: LegalBasisId,
    /// The strictest handling code the asker accepts.
    pub handling: Handling,
    /// Who.
    pub officer: Officer,
    /// Case file.
    pub case_ref: String,
    /// Parameters as typed: the catalogue validates and normalises them.
    pub params: Vec<(String, String)>,
    /// Deadline.
    pub due_at: Millis,
    /// How urgent.
    pub urgency: Urgency,
    /// Why urgent.
    pub justification: String,
    /// Steps 2 and 3: the human's statement of facts.
    pub facts_statement: String,
    /// The offence.
    pub offence: String,
    /// Steps 2 and 3: leaf hash of the step-1 ANSWER that a human confirmed.
    pub confirms: Option<Digest>,
    /// In training, or not.
    pub mode: Mode,
    /// The officer does not wait: [`Conclusion::Asked`] comes once the QUERY is durable, and the question goes on by itself.
    pub stays: bool,
    /// Second half of the exchange's id, by which whoever may put a question once only finds it again
    /// ([`recent`](crate::outbox::recent)); must look random to everybody else. Random unless given.
    pub half: Option<[u8; 8]>,
}

impl fmt::Debug for Draft {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Draft({} step {} to {})", self.kind, self.step, self.to)
    }
}

/// Something that happened at this node.
#[derive(Clone)]
pub struct LocalEvent {
    /// What.
    pub kind: EventKind,
    /// Record type, where records are concerned.
    pub record_type: String,
    /// How many.
    pub count: u64,
    /// Why.
    pub purpose: Option<Purpose>,
    /// On which legal basis.
    pub basis: Option<LegalBasisId>,
    /// Role of the officer.
    pub role: Option<Role>,
    /// Details, committed and kept in the evidence store; never in the clear.
    pub detail: Vec<u8>,
}

impl fmt::Debug for LocalEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LocalEvent({} ×{})", self.kind, self.count)
    }
}

/// Under which exchange a member of a group is asked; or why it is not.
pub type Put = Result<ExchangeId, (RefusalReason, Explanation)>;

/// What came of a question or another wish of the driver's.
#[derive(Debug)]
pub enum Conclusion {
    /// The holder answered; both logs hold it.
    Answered(Box<Answered>),
    /// Refused, by the holder (recorded in both logs) or by this node's own outbound policy (recorded here).
    Refused {
        /// The exchange; none if the own policy refused.
        exchange: Option<ExchangeId>,
        /// Why, by class.
        reason: RefusalReason,
        /// Why, in words.
        explanation: Explanation,
    },
    /// The question is malformed; nothing was recorded or sent.
    Invalid {
        /// Column or parameter, what is wrong, how to mend it.
        errors: Vec<(String, String, String)>,
    },
    /// No answer by the deadline. If the holder never recorded the question, its number is voided.
    TimedOut {
        /// The exchange.
        exchange: ExchangeId,
    },
    /// Answered, but the content key did not come by the deadline: UNRELEASED is recorded.
    Unreleased {
        /// The exchange.
        exchange: ExchangeId,
    },
    /// Released content does not match its commitment: DISPUTE is recorded.
    Disputed {
        /// The exchange.
        exchange: ExchangeId,
    },
    /// The holder's node would not process it; nothing was recorded there.
    Faulted {
        /// The exchange.
        exchange: Option<ExchangeId>,
        /// Why.
        code: FaultCode,
    },
    /// The question stands in the log and goes on: nobody need wait for it.
    Asked {
        /// The exchange.
        exchange: ExchangeId,
    },
    /// The question was given up: its number is voided, unless an answer came before.
    Withdrawn {
        /// The exchange.
        exchange: ExchangeId,
    },
    /// The question has ended: its answer can be looked at.
    Ended {
        /// The exchange.
        exchange: ExchangeId,
    },
    /// This node asked no such question.
    Unknown {
        /// The exchange.
        exchange: ExchangeId,
    },
    /// The hit was confirmed before: nothing was recorded or asked again.
    AlreadyConfirmed {
        /// The step-1 exchange.
        exchange: ExchangeId,
        /// The step-2 exchange that followed; none while its QUERY is on its way to the log.
        next: Option<ExchangeId>,
    },
    /// A question that waits for a person's decision, as its judge sees it.
    Inspected(Box<Inspected>),
    /// A person's decision was carried out.
    Decided {
        /// The exchange.
        exchange: ExchangeId,
        /// What was answered, if it was.
        outcome: Option<Outcome>,
        /// Why it was refused, if it was: a person cannot release what policy forbids.
        reason: Option<RefusalReason>,
    },
    /// No question with this id waits for a decision: it was decided, given up or has expired.
    NotWaiting {
        /// The exchange.
        exchange: ExchangeId,
    },
    /// The officer's role is not one that decides on this question.
    NotYours {
        /// Who does.
        roles: Vec<Role>,
    },
    /// A question to this node itself would succeed, or why not.
    Tried(Result<(), crate::Unable>),
    /// The event is in the log.
    Recorded {
        /// Where.
        index: LeafIndex,
    },
    /// Every reachable peer has closed its periods with this node.
    PeriodsClosed {
        /// How many numberings were closed.
        closed: usize,
        /// Peers that could not be reached.
        unreachable: Vec<NodeUri>,
    },
    /// The rules are in force and stand in the log.
    InForce {
        /// Versions of the charter's parts.
        vector: CharterVector,
        /// False if they were in force before.
        changed: bool,
    },
    /// A question to a group stands in the log, and goes on by itself to each member.
    GroupAsked {
        /// Who is asked, under which exchange; or why that member is not asked.
        members: Vec<(NodeUri, Put)>,
    },
    /// What was wanted of an alert stands in the log, and its group hears of it.
    Alerted {
        /// Its id.
        alert: Digest,
    },
    /// There is no such alert, or it is not one that this can be done with.
    UnknownAlert {
        /// The id that was given.
        alert: Digest,
    },
    /// The node stands in its groups; or cannot, and everything else goes on.
    Hosted(Result<(), Box<crate::groups::GroupsError>>),
    /// The group was told; whether it comes about shows in its state.
    Wanted {
        /// Whether this node has a part in the group at all.
        known: bool,
    },
    /// The charter parts were not adopted; nothing changed.
    NotAdopted(Box<CharterError>),
    /// Every partner that can be was asked for newer charter parts.
    Compared {
        /// Versions of the charter's parts that are in force now.
        vector: CharterVector,
        /// Partners that may know of newer ones, and why that is not known.
        unasked: Vec<(NodeUri, Unasked)>,
    },
    /// The node has left: its log ends with this entry.
    Left {
        /// Place of the final entry.
        index: LeafIndex,
        /// The final entry with its receipt and its opened header, for everybody: `puente.v1.Proven`, encoded.
        proven: Vec<u8>,
    },
    /// This node's log cannot be written: nothing is asked or answered until it can.
    LogUnavailable,
    /// This node's log was restored, or lost its tail: it takes no entries, so nothing is asked or answered.
    LogSuspended,
}

/// Why it is not known whether a partner has newer charter parts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unasked {
    /// No connection can be made.
    Unreachable,
    /// It did not answer in time.
    Silent,
    /// Its protocol cannot name charter parts.
    Older,
    /// It is blocked here, or convicted.
    KeptOut,
    /// It showed newer parts, and they do not hold here.
    NotAdopted,
}

impl Unasked {
    /// Stable name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unreachable => "unreachable",
            Self::Silent => "silent",
            Self::Older => "older-protocol",
            Self::KeptOut => "kept-out",
            Self::NotAdopted => "not-adopted",
        }
    }
}

/// An answer, opened and checked.
pub struct Answered {
    /// The exchange.
    pub exchange: ExchangeId,
    /// What it says.
    pub outcome: Outcome,
    /// The holder's handling code.
    pub handling: Handling,
    /// Path (`000/vehicle/vin`) and value of each disclosed field, in order.
    pub fields: Vec<(String, Vec<u8>)>,
    /// Obligations that come with it.
    pub obligations: Vec<String>,
    /// Why nothing was disclosed, where nothing was.
    pub explanation: Option<Explanation>,
    /// Leaf hash of the ANSWER: what a step-2 question quotes.
    pub answer_leaf: Digest,
    /// Leaf hash of the QUERY.
    pub query_leaf: Digest,
}

impl fmt::Debug for Answered {
    // Fields belong to the data subjects.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Answered({}, {} fields)", self.outcome, self.fields.len())
    }
}

/// What an operator must know at once.
#[derive(Debug)]
pub enum Alarm {
    /// A peer signed two heads of one size with different roots: both notes, verbatim.
    Fork {
        /// Who.
        peer: NodeUri,
        /// The head accepted before.
        accepted: Vec<u8>,
        /// The head that contradicts it.
        claimed: Vec<u8>,
    },
    /// A peer signed two heads and cannot prove, when asked, that one extends the other: both notes, verbatim. That
    /// is no proof of a fork: auditors need the peer's tiles to convict.
    HeadsUnproven {
        /// Who.
        peer: NodeUri,
        /// The largest head accepted before.
        accepted: Vec<u8>,
        /// The head that no proof connects with it.
        claimed: Vec<u8>,
    },
    /// A peer holds a signed head of *this* node's log that is larger than the log, or differs from it:
    /// this log lost its tail. The way out is a successor origin.
    OwnLogBehind {
        /// Who showed it.
        peer: NodeUri,
        /// The head, verbatim.
        head: Vec<u8>,
    },
    /// A peer's PERIOD root differs from what this node recorded.
    PeriodMismatch {
        /// Who.
        peer: NodeUri,
    },
    /// Somebody signed two different charter parts with one number.
    TwoParts {
        /// Which part, and both hashes.
        conviction: Conviction,
        /// Both parts, signed: `puente.v1.TwoParts`, encoded.
        evidence: Vec<u8>,
    },
    /// A peer is ahead, but the charter parts that it shows are not adopted.
    CharterRefused {
        /// Who.
        peer: NodeUri,
        /// Why, and what to do.
        why: String,
    },
    /// A peer holds nothing of this node's restored log that the log cannot prove: one more partner that agrees.
    OwnLogAgrees {
        /// Who compared.
        peer: NodeUri,
    },
    /// A witness says that it cosigned more of this node's log than there is: the log lost its tail, or the witness is wrong.
    WitnessAhead {
        /// Its name in the charter.
        witness: String,
        /// How many entries it says that it knows.
        size: u64,
        /// How many there are.
        own: u64,
    },
    /// A witness will not cosign this node's log.
    WitnessRefuses {
        /// Its name in the charter.
        witness: String,
        /// What it says.
        why: String,
    },
    /// This node was shown a cosignature of its own that it does not remember: its memory as a witness was set back, or its
    /// key is used elsewhere.
    CosignatureForgotten {
        /// The name of the log that it is of.
        log: String,
        /// The head with the cosignature: a note.
        shown: Vec<u8>,
    },
    /// Two heads of one size of a group's ledger, both signed by who proposes in it: both notes.
    LedgerFork {
        /// The ledger.
        ledger: String,
        /// One.
        one: Vec<u8>,
        /// The other.
        other: Vec<u8>,
    },
    /// Something of a group.
    Group(Box<puente_corridor::Alarm>),
    /// The log cannot be written.
    LogUnavailable,
    /// The store cannot be read.
    StoreUnavailable(String),
}
