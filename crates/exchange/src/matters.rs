//! Matters: questions that are taken up and end days later, and their clocks.
//!
//! A matter begins with a directed question, is asked after under its own reference, and ends when the holder says so. Its
//! clock runs from the moment at which it was accepted as complete, and stands still while the holder needs data. All of
//! it follows from this node's own questions and the minutes of their answers, so both sides can compute it.

use std::collections::BTreeMap;

use prost::Message as _;
use puente_catalogue::{Catalogue, QueryKindSpec, RecordType};
use puente_evidence::tree::TRAINING_PATH;
use puente_model::{ExchangeId, Millis, Mode, NodeUri, Outcome};
use puente_wire::{Pair, PairBody, QueryPayload};

use crate::api::Store;
use crate::asker::read_plain;
use crate::engine::unwrap;
use crate::outbox::{after_last, body_of};
use crate::persist::{self, StoredAsk};

/// The newest questions to one peer, under one of this node's logs, that are read for their matters.
pub const READ_MAX: u64 = 100_000;
/// Matters that one list shows at most; the newest.
pub const LIST_MAX: usize = 1_000;
const PAGE: usize = 256;

/// Where a matter stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// Sent, and nothing came yet.
    Sent,
    /// Not accepted: the holder needs data first.
    Incomplete,
    /// Not accepted: somebody else brought it before.
    Duplicate,
    /// Not accepted: refused.
    Refused,
    /// Accepted; the clock runs.
    Running,
    /// The holder needs data; the clock stands still.
    Paused,
    /// It ended; the clock stopped.
    Ended,
}

impl Standing {
    /// The stable text, never translated.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Sent => "sent",
            Self::Incomplete => "incomplete",
            Self::Duplicate => "duplicate",
            Self::Refused => "refused",
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Ended => "ended",
        }
    }
}

/// What an answer means for a matter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turn {
    /// Accepted as complete.
    Accepted,
    /// The holder needs data.
    NeedsData,
    /// The holder goes on.
    GoesOn,
    /// It ended.
    Ended,
    /// Somebody else brought it before.
    Duplicate,
    /// Refused.
    Refused,
}

/// The clock of one matter: give it what came, in order.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Clock {
    accepted: Option<Millis>,
    paused_since: Option<Millis>,
    paused_millis: u64,
    ended: Option<Millis>,
    before: Option<Turn>,
}

impl Clock {
    /// Takes in what came at a time.
    pub fn take(&mut self, at: Millis, turn: Turn) {
        if self.ended.is_some() {
            return;
        }
        match (turn, self.accepted) {
            (Turn::Accepted, None) => self.accepted = Some(at),
            (Turn::Accepted | Turn::GoesOn, Some(_)) => self.resume(at),
            (Turn::NeedsData, Some(_)) => self.paused_since = self.paused_since.or(Some(at)),
            (Turn::Ended, Some(_)) => {
                self.resume(at);
                self.ended = Some(at);
            }
            // A later refusal, or a question by another reference, stops nothing.
            (Turn::Duplicate | Turn::Refused, Some(_)) => {}
            (turn, None) => self.before = Some(turn),
        }
    }

    fn resume(&mut self, at: Millis) {
        if let Some(since) = self.paused_since.take() {
            self.paused_millis += at.since(since);
        }
    }

    /// When it was accepted as complete.
    pub const fn accepted(&self) -> Option<Millis> {
        self.accepted
    }

    /// When it ended.
    pub const fn ended(&self) -> Option<Millis> {
        self.ended
    }

    /// How long it stood still, in milliseconds.
    pub fn paused_millis(&self, now: Millis) -> u64 {
        self.paused_millis + self.paused_since.map_or(0, |since| now.since(since))
    }

    /// How long it ran, in milliseconds.
    pub fn running_millis(&self, now: Millis) -> u64 {
        let whole = self.accepted.map_or(0, |accepted| self.ended.unwrap_or(now).since(accepted));
        whole.saturating_sub(self.paused_millis(now))
    }

    /// Where the matter stands.
    pub const fn standing(&self) -> Standing {
        match (self.accepted, self.ended, self.paused_since, self.before) {
            (Some(_), Some(_), _, _) => Standing::Ended,
            (Some(_), None, Some(_), _) => Standing::Paused,
            (Some(_), None, None, _) => Standing::Running,
            (None, _, _, Some(Turn::NeedsData)) => Standing::Incomplete,
            (None, _, _, Some(Turn::Duplicate)) => Standing::Duplicate,
            (None, _, _, Some(Turn::Refused)) => Standing::Refused,
            (None, _, _, _) => Standing::Sent,
        }
    }
}

/// One matter of this node's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Matter {
    /// Number in the catalogue of queries, for example `Q2`.
    pub number: String,
    /// This agency's own reference.
    pub reference: String,
    /// Whom.
    pub to: NodeUri,
    /// In training, or not.
    pub mode: Mode,
    /// When it was first asked.
    pub asked_at: Millis,
    /// Its clock.
    pub clock: Clock,
    /// What the holder said it lacks, while it does.
    pub missing: Vec<String>,
    /// Its questions, in order.
    pub exchanges: Vec<ExchangeId>,
}

/// This node's matters with any of `peers`, under its logs up to `log`; the newest first.
///
/// # Errors
/// The store cannot be read; text for the operator.
pub fn list(store: &dyn Store, peers: &[NodeUri], log: u32, catalogue: &Catalogue) -> Result<Vec<Matter>, String> {
    let mut found: BTreeMap<(NodeUri, String, String, u32), Matter> = BTreeMap::new();
    for (peer, log) in peers.iter().flat_map(|peer| (1..=log).map(move |log| (peer, log))) {
        let end = after_last(store, peer, log)?;
        let prefix = persist::asks_key(peer, log);
        let mut start = persist::asks_from_key(peer, log, end.saturating_sub(READ_MAX));
        loop {
            let page = store.scan(&prefix, &start, PAGE)?;
            for (key, value) in &page {
                let Some(id) = key.last_chunk::<16>() else { continue };
                let mut stored = StoredAsk::decode(value.as_slice()).map_err(|e| e.to_string())?;
                let asked = read(ExchangeId(*id), &stored, catalogue);
                stored.wipe();
                let Some((asked, turn)) = asked? else { continue };
                let name = (asked.to.clone(), asked.number.clone(), asked.reference.clone(), asked.mode.code());
                let matter = found.entry(name).or_insert_with(|| asked.clone());
                if !matter.exchanges.contains(&ExchangeId(*id)) {
                    matter.exchanges.push(ExchangeId(*id));
                }
                if let Some((at, turn)) = turn {
                    matter.clock.take(at, turn);
                    matter.missing = if turn == Turn::NeedsData { asked.missing } else { Vec::new() };
                }
            }
            match page.last() {
                Some((key, _)) if page.len() == PAGE => {
                    start.clone_from(key);
                    start.push(0);
                }
                _ => break,
            }
        }
    }
    let mut out: Vec<Matter> = found.into_values().collect();
    out.sort_by_key(|matter| std::cmp::Reverse(matter.asked_at));
    out.truncate(LIST_MAX);
    Ok(out)
}

type Asked = Option<(Matter, Option<(Millis, Turn)>)>;

/// One question as a part of its matter, and what its answer means; none of one that belongs to no matter.
fn read(exchange: ExchangeId, stored: &StoredAsk, catalogue: &Catalogue) -> Result<Asked, String> {
    let query = stored.query.as_ref().ok_or("an ask without its QUERY")?;
    let (query, _) = unwrap(query).map_err(|e| e.to_string())?;
    let terms = query.terms().ok_or("a QUERY without terms")?;
    let kind = catalogue.query_kind(terms.kind.as_str());
    let Some((kind, name)) = kind.and_then(|kind| Some((kind, kind.matter()?))) else { return Ok(None) };
    let Some(record_type) = catalogue.record_type(kind.record_type()) else { return Ok(None) };
    let payload = QueryPayload::decode(&stored.payload).map_err(|e| e.to_string())?;
    let Some((_, reference)) = payload.params.iter().find(|(param, _)| param == name) else { return Ok(None) };
    let mut matter = Matter {
        number: kind.number().to_owned(),
        reference: reference.clone(),
        to: query.to.clone(),
        mode: terms.mode,
        asked_at: payload.asked_at,
        clock: Clock::default(),
        missing: Vec::new(),
        exchanges: vec![exchange],
    };
    let answer = match &stored.answer {
        Some(answer) => Some(unwrap(answer).map_err(|e| e.to_string())?.0),
        None => None,
    };
    let turn = answer.and_then(|answer| Some((answer.minute.start(), turn(stored, &answer, (kind, record_type))?)));
    if let (Some((_, Turn::NeedsData)), Some(plain), Some(answer)) = (turn, &stored.plain, &stored.answer)
        && let Ok((Pair { body: PairBody::Answer { commitment, .. }, .. }, _)) = unwrap(answer)
        && let Some(said) = read_plain(terms.mode, plain, commitment)
    {
        matter.missing = said.fields;
    }
    Ok(Some((matter, turn)))
}

fn turn(stored: &StoredAsk, answer: &Pair, (kind, record_type): (&QueryKindSpec, &RecordType)) -> Option<Turn> {
    let PairBody::Answer { outcome, .. } = &answer.body else { return Some(Turn::Refused) };
    match outcome {
        Outcome::NoHit if kind.is_directed() => Some(Turn::Accepted),
        Outcome::NoHit => None,
        Outcome::NeedsData => Some(Turn::NeedsData),
        Outcome::DuplicateOf => Some(Turn::Duplicate),
        Outcome::HitUnconfirmed | Outcome::HitConfirmed => Some(Turn::GoesOn),
        Outcome::CoreData => {
            let ended = body_of(stored, answer).is_some_and(|body| {
                body.tree.fields().any(|(path, value)| {
                    let field = path.strip_prefix(TRAINING_PATH).unwrap_or(path).split('/').nth(2);
                    let value = std::str::from_utf8(value).unwrap_or_default();
                    field.is_some_and(|field| kind.ends(record_type, field, value))
                })
            });
            Some(if ended { Turn::Ended } else { Turn::GoesOn })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: u64 = 3_600_000;

    fn at(hours: u64) -> Millis {
        Millis(hours * HOUR)
    }

    #[test]
    fn a_clock_runs_from_acceptance_and_stands_still_while_data_is_missing() {
        let mut clock = Clock::default();
        assert_eq!((clock.standing(), clock.running_millis(at(9))), (Standing::Sent, 0));
        clock.take(at(10), Turn::NeedsData);
        assert_eq!((clock.standing(), clock.running_millis(at(20))), (Standing::Incomplete, 0), "not accepted yet");
        clock.take(at(20), Turn::Accepted);
        assert_eq!((clock.standing(), clock.running_millis(at(24))), (Standing::Running, 4 * HOUR));
        clock.take(at(30), Turn::NeedsData);
        clock.take(at(33), Turn::NeedsData);
        assert_eq!((clock.standing(), clock.running_millis(at(40))), (Standing::Paused, 10 * HOUR));
        assert_eq!(clock.paused_millis(at(40)), 10 * HOUR, "since it first said so");
        clock.take(at(45), Turn::GoesOn);
        assert_eq!((clock.standing(), clock.running_millis(at(46))), (Standing::Running, 11 * HOUR));
        clock.take(at(50), Turn::NeedsData);
        clock.take(at(60), Turn::Ended);
        assert_eq!((clock.accepted(), clock.ended()), (Some(at(20)), Some(at(60))));
        let (running, paused) = (clock.running_millis(at(999)), clock.paused_millis(at(999)));
        assert_eq!((clock.standing(), running, paused), (Standing::Ended, 15 * HOUR, 25 * HOUR));
        assert_eq!(running + paused, 40 * HOUR, "both are published, and together they are all of it");
        clock.take(at(70), Turn::NeedsData);
        assert_eq!(clock.standing(), Standing::Ended, "what comes later changes nothing");
    }

    #[test]
    fn what_was_never_accepted_has_no_clock() {
        for (turn, standing) in [(Turn::Duplicate, Standing::Duplicate), (Turn::Refused, Standing::Refused)] {
            let mut clock = Clock::default();
            clock.take(at(1), turn);
            assert_eq!((clock.standing(), clock.running_millis(at(9)), clock.accepted()), (standing, 0, None));
        }
    }
}
