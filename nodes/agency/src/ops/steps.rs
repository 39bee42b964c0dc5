//! Follows exchanges through the driver, from outside: when each step began and ended, and what came of it.
//!
//! It sees batches and conclusions as the driver carries them, reads kinds, exchange ids and outcomes from entries, and
//! keeps nothing else of them. The driver tells it through [`crate::driver::Watch`].

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use puente_exchange::api::{Batch, Conclusion, Draft, Ticket};
use puente_model::{ExchangeId, FieldClass, Mode, NodeUri, QueryKind};
use puente_wire::{Entry, Pair, PairBody, Terms};

use super::meter::Meter;
use crate::driver::Watch;

/// Exchanges followed at once; others are counted when they end, but their steps are not told.
const FOLLOWED_MAX: usize = 4_096;
/// How long an exchange is followed.
const FOLLOWED_FOR: Duration = Duration::from_secs(600);
/// What is counted of a question that nobody waits for.
const ASKED: &str = "ASKED";
/// Questions timed at once.
const TICKETS_MAX: usize = 65_536;

/// One step of an exchange.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Step {
    /// Which; a word of this program.
    pub name: &'static str,
    /// When it began.
    pub began: Instant,
    /// When it ended.
    pub ended: Instant,
}

/// An exchange that came to its end. Holds no identifier: not its own, not a node's, not a person's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Followed {
    /// `asker` or `holder`.
    pub role: &'static str,
    /// Kind of question, of the catalogue.
    pub kind: QueryKind,
    /// What came of it: a word of the protocol.
    pub outcome: String,
    /// Its steps, in order.
    pub steps: Vec<Step>,
}

/// Takes exchanges that came to their end; must not block.
pub type Sink = Box<dyn Fn(Followed) + Send + Sync>;

/// What is known of an exchange under way.
struct Track {
    role: &'static str,
    kind: QueryKind,
    mode: Mode,
    outcome: String,
    began: Instant,
    /// Since when it waits, and for what comes next.
    waiting: Option<(Instant, &'static str)>,
    /// Since when its entry is being written, under which name, and what it waits for afterwards; none: the end.
    writing: Option<(Instant, &'static str, Option<&'static str>)>,
    steps: Vec<Step>,
}

#[derive(Default)]
struct Inner {
    tickets: HashMap<Ticket, (Instant, QueryKind, Mode)>,
    tracks: HashMap<ExchangeId, Track>,
    batches: HashMap<u64, (Instant, Vec<ExchangeId>)>,
}

/// Follows the exchanges of one node.
pub struct Steps {
    own: NodeUri,
    meter: Arc<Meter>,
    sink: Option<Sink>,
    inner: Mutex<Inner>,
}

impl std::fmt::Debug for Steps {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Steps({})", self.own)
    }
}

/// What an entry means for the one who follows: what it begins, how its writing is called, what is waited for next.
struct Meaning<'p> {
    role: &'static str,
    terms: &'p Terms,
    outcome: Option<String>,
    name: &'static str,
    next: Option<&'static str>,
}

fn meaning<'p>(pair: &'p Pair, own: &NodeUri) -> Option<Meaning<'p>> {
    let mine = pair.from == *own;
    let role = |asker: bool| if asker { "asker" } else { "holder" };
    Some(match &pair.body {
        PairBody::Query { terms, .. } => {
            // The holder writes it together with its answer, which says the rest, unless a person decides first.
            let next = Some(if mine { "await-answer" } else { "await-decision" });
            Meaning { role: role(mine), terms, outcome: None, name: "record-question", next }
        }
        PairBody::Answer { terms, outcome, field_class, .. } => {
            let next = match (mine, *field_class) {
                (false, _) => Some("await-key"),
                (true, FieldClass::None) => None,
                (true, _) => Some("await-receipt"),
            };
            Meaning { role: role(!mine), terms, outcome: Some(outcome.to_string()), name: "record-answer", next }
        }
        PairBody::Refusal { terms, reason, .. } => {
            let next = (!mine).then_some("conclude");
            let outcome = Some(format!("REFUSED_{reason}"));
            Meaning { role: role(!mine), terms, outcome, name: "record-refusal", next }
        }
        PairBody::Release { terms, .. } => {
            let next = (!mine).then_some("open");
            Meaning { role: role(!mine), terms, outcome: None, name: "record-release", next }
        }
        _ => return None,
    })
}

/// The word of a conclusion, and its exchange.
fn end(conclusion: &Conclusion) -> Option<(String, Option<ExchangeId>)> {
    Some(match conclusion {
        Conclusion::Answered(answered) => (answered.outcome.to_string(), Some(answered.exchange)),
        Conclusion::Refused { exchange, reason, .. } => (format!("REFUSED_{reason}"), *exchange),
        Conclusion::Invalid { .. } => ("INVALID".to_owned(), None),
        Conclusion::TimedOut { exchange } => ("TIMED_OUT".to_owned(), Some(*exchange)),
        Conclusion::Unreleased { exchange } => ("UNRELEASED".to_owned(), Some(*exchange)),
        Conclusion::Disputed { exchange } => ("DISPUTED".to_owned(), Some(*exchange)),
        Conclusion::Faulted { exchange, code } => (format!("FAULTED_{code}"), *exchange),
        Conclusion::LogUnavailable => ("LOG_UNAVAILABLE".to_owned(), None),
        Conclusion::LogSuspended => ("LOG_SUSPENDED".to_owned(), None),
        // It goes on without anybody who waits.
        Conclusion::Asked { .. } => (ASKED.to_owned(), None),
        Conclusion::Withdrawn { exchange } => ("WITHDRAWN".to_owned(), Some(*exchange)),
        Conclusion::Ended { .. }
        | Conclusion::Inspected(_)
        | Conclusion::Decided { .. }
        | Conclusion::NotWaiting { .. }
        | Conclusion::NotYours { .. }
        | Conclusion::InForce { .. }
        | Conclusion::NotAdopted(_)
        | Conclusion::Unknown { .. }
        | Conclusion::AlreadyConfirmed { .. }
        | Conclusion::Compared { .. }
        | Conclusion::Left { .. }
        | Conclusion::Tried(_)
        | Conclusion::Wanted { .. }
        | Conclusion::Hosted(_)
        | Conclusion::Alerted { .. }
        | Conclusion::GroupAsked { .. }
        | Conclusion::UnknownAlert { .. }
        | Conclusion::Recorded { .. }
        | Conclusion::PeriodsClosed { .. } => return None,
    })
}

impl Steps {
    /// Follows the exchanges of the node `own`; those that end go to `sink`, if there is one.
    pub fn new(own: NodeUri, meter: Arc<Meter>, sink: Option<Sink>) -> Self {
        Self { own, meter, sink, inner: Mutex::default() }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tell(&self, track: Track) {
        let Track { role, kind, mode, outcome, steps, .. } = track;
        if mode == Mode::Training {
            // Told apart, and nowhere else: no figure of real exchanges has them in it.
            if role == "holder" {
                self.meter.trained(role);
            }
            return;
        }
        if role == "holder" {
            self.meter.exchange(role, kind.as_str(), &outcome);
        }
        if let Some(sink) = &self.sink {
            sink(Followed { role, kind, outcome, steps });
        }
    }
}

impl Watch for Steps {
    fn asked(&self, ticket: Ticket, draft: &Draft) {
        let mut inner = self.inner();
        if inner.tickets.len() < TICKETS_MAX {
            inner.tickets.insert(ticket, (Instant::now(), draft.kind.clone(), draft.mode));
        }
    }

    fn concluded(&self, ticket: Ticket, conclusion: &Conclusion) {
        let now = Instant::now();
        let mut inner = self.inner();
        let asked = inner.tickets.remove(&ticket);
        let Some((outcome, exchange)) = end(conclusion) else { return };
        let track = exchange.and_then(|exchange| inner.tracks.remove(&exchange));
        drop(inner);
        if let Some((_, _, Mode::Training)) = asked {
            self.meter.trained("asker");
        } else if let Some((began, kind, Mode::Open)) = asked {
            if outcome != ASKED {
                self.meter.took(now.saturating_duration_since(began));
            }
            self.meter.exchange("asker", kind.as_str(), &outcome);
        }
        if let Some(mut track) = track {
            if let Some((since, name)) = track.waiting.take() {
                track.steps.push(Step { name, began: since, ended: now });
            }
            track.outcome = outcome;
            self.tell(track);
        }
    }

    fn cancelled(&self, ticket: Ticket) {
        self.inner().tickets.remove(&ticket);
    }

    fn writing(&self, batch: &Batch) {
        let now = Instant::now();
        let mut inner = self.inner();
        let mut written = Vec::new();
        for bytes in &batch.entries {
            let Ok(Entry::Pair(pair)) = Entry::decode(bytes) else { continue };
            let Some(Meaning { role, terms, outcome, name, next }) = meaning(&pair, &self.own) else { continue };
            let full = inner.tracks.len() >= FOLLOWED_MAX;
            if full && !inner.tracks.contains_key(&terms.exchange) {
                inner.tracks.retain(|_, track| now.saturating_duration_since(track.began) < FOLLOWED_FOR);
                if inner.tracks.len() >= FOLLOWED_MAX {
                    continue;
                }
            }
            let track = inner.tracks.entry(terms.exchange).or_insert_with(|| Track {
                role,
                kind: terms.kind.clone(),
                mode: terms.mode,
                outcome: String::new(),
                began: now,
                waiting: None,
                writing: None,
                steps: Vec::new(),
            });
            if let Some((since, name)) = track.waiting.take() {
                track.steps.push(Step { name, began: since, ended: now });
            }
            track.outcome = outcome.unwrap_or_else(|| std::mem::take(&mut track.outcome));
            track.writing = Some((now, name, next));
            written.push(terms.exchange);
        }
        inner.batches.insert(batch.number, (now, written));
    }

    fn written(&self, batch: u64, ok: bool) {
        let now = Instant::now();
        let mut inner = self.inner();
        let Some((began, exchanges)) = inner.batches.remove(&batch) else { return };
        let mut ended = Vec::new();
        for exchange in exchanges {
            let Some(track) = inner.tracks.get_mut(&exchange) else { continue };
            let Some((since, name, next)) = track.writing.take() else { continue };
            track.steps.push(Step { name, began: since, ended: now });
            match next {
                Some(next) if ok => track.waiting = Some((now, next)),
                // An asker's exchange ends with its conclusion.
                _ if track.role == "asker" && ok => {}
                _ => ended.extend(inner.tracks.remove(&exchange)),
            }
        }
        drop(inner);
        if ok {
            self.meter.committed(now.saturating_duration_since(began));
        } else {
            self.meter.log_error();
        }
        for track in ended {
            self.tell(track);
        }
    }

    fn store_failed(&self) {
        self.meter.log_error();
    }
}
