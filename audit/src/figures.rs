//! What one log shows of the exchanges of its node, counted in the same pass as its rules: what a report is made of.
//!
//! Exchanges of training stand in no figure. Nothing here is judged, and nothing is about a person: questions are counted by
//! kind and purpose, times are the minutes that entries state in the clear.

use std::collections::BTreeMap;

use puente_model::{CharterVector, Minute, Mode, NodeUri, Purpose, QueryKind};
use puente_wire::Terms;

/// Steps of time that are kept apart before they are made longer.
const STEPS_MAX: usize = 4_096;
/// Heads of one log that are kept.
const HEADS_MAX: usize = 4_096;
/// Overdue questions that are kept one by one.
pub const OVERDUE_MAX: usize = 200;
/// Minutes of an hour and of a day.
const LONGER: [u64; 2] = [60, 1_440];

/// Entries by the time that they state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Growth {
    /// Minutes in a step.
    pub step: u64,
    /// First minute of each step, and the entries dated in it.
    pub entries: BTreeMap<u64, u64>,
}

impl Default for Growth {
    fn default() -> Self {
        Self { step: 1, entries: BTreeMap::new() }
    }
}

impl Growth {
    fn add(&mut self, minute: Minute) {
        *self.entries.entry(minute.0 - minute.0 % self.step).or_default() += 1;
        if self.entries.len() > STEPS_MAX
            && let Some(step) = LONGER.into_iter().find(|step| *step > self.step)
        {
            self.lengthen(step);
        }
    }

    /// The same in longer steps: `step` is 1, 60 or 1,440 minutes.
    pub fn lengthen(&mut self, step: u64) {
        if step <= self.step {
            return;
        }
        self.step = step;
        for (minute, count) in std::mem::take(&mut self.entries) {
            *self.entries.entry(minute - minute % step).or_default() += count;
        }
    }
}

/// Who asks whom what, and why.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Flow {
    /// Who asks.
    pub asker: NodeUri,
    /// Who is asked.
    pub holder: NodeUri,
    /// What kind of question.
    pub kind: QueryKind,
    /// Why.
    pub purpose: Purpose,
}

impl Flow {
    pub(crate) fn new(asker: &NodeUri, holder: &NodeUri, terms: &Terms) -> Self {
        Self { asker: asker.clone(), holder: holder.clone(), kind: terms.kind.clone(), purpose: terms.purpose }
    }
}

/// What came of the questions of one flow.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ends {
    /// QUERY entries.
    pub asked: u64,
    /// ANSWER entries by outcome.
    pub answers: BTreeMap<String, u64>,
    /// REFUSAL entries by reason.
    pub refusals: BTreeMap<String, u64>,
    /// RELEASE entries.
    pub released: u64,
    /// Questions whose numbers were voided.
    pub voided: u64,
    /// Questions without an end yet.
    pub open: u64,
}

impl Ends {
    /// Adds another log's figures of the same flow.
    pub fn add(&mut self, other: &Self) {
        self.asked += other.asked;
        self.released += other.released;
        self.voided += other.voided;
        self.open += other.open;
        for (all, more) in [(&mut self.answers, &other.answers), (&mut self.refusals, &other.refusals)] {
            more.iter().for_each(|(code, count)| *all.entry(code.clone()).or_default() += count);
        }
    }
}

/// A question without end, past its deadline.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Overdue {
    /// When it was due.
    pub due: Minute,
    /// Who asked.
    pub asker: NodeUri,
    /// Who was asked.
    pub holder: NodeUri,
    /// Its place in the log.
    pub index: u64,
}

/// Everything that is counted of one log.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Figures {
    /// How it grew.
    pub growth: Growth,
    /// What came of questions.
    pub flows: BTreeMap<Flow, Ends>,
    /// By asker and holder: whole minutes from a question to its end, and how often.
    pub waits: BTreeMap<(NodeUri, NodeUri), BTreeMap<u64, u64>>,
    /// By log: heads of it that PERIOD entries in this log name, with the minute of the entry, in the order found.
    pub heads: BTreeMap<String, Vec<(Minute, u64)>>,
    /// Under which charter it went on: place of the entry, time, vector.
    pub charters: Vec<(u64, Minute, CharterVector)>,
    /// Questions past their deadlines, the first ones.
    pub overdue: Vec<Overdue>,
    /// How many there are in all.
    pub overdue_all: u64,
}

impl Figures {
    pub(crate) fn dated(&mut self, minute: Minute) {
        self.growth.add(minute);
    }

    /// The figures of a flow, unless it is training.
    fn ends(&mut self, asker: &NodeUri, holder: &NodeUri, terms: &Terms) -> Option<&mut Ends> {
        let real = terms.mode != Mode::Training;
        real.then(|| self.flows.entry(Flow::new(asker, holder, terms)).or_default())
    }

    pub(crate) fn asked(&mut self, asker: &NodeUri, holder: &NodeUri, terms: &Terms) {
        if let Some(ends) = self.ends(asker, holder, terms) {
            ends.asked += 1;
        }
    }

    /// An ANSWER (its outcome) or a REFUSAL (its reason), `waited` minutes after its QUERY, where that is known.
    pub(crate) fn ended(
        &mut self,
        asker: &NodeUri,
        holder: &NodeUri,
        terms: &Terms,
        end: Result<&str, &str>,
        waited: Option<u64>,
    ) {
        let Some(ends) = self.ends(asker, holder, terms) else { return };
        let (of, code) = match end {
            Ok(outcome) => (&mut ends.answers, outcome),
            Err(reason) => (&mut ends.refusals, reason),
        };
        *of.entry(code.to_owned()).or_default() += 1;
        if let Some(minutes) = waited {
            *self.waits.entry((asker.clone(), holder.clone())).or_default().entry(minutes).or_default() += 1;
        }
    }

    pub(crate) fn released(&mut self, asker: &NodeUri, holder: &NodeUri, terms: &Terms) {
        if let Some(ends) = self.ends(asker, holder, terms) {
            ends.released += 1;
        }
    }

    pub(crate) fn voided(&mut self, asker: &NodeUri, holder: &NodeUri, terms: &Terms) {
        if let Some(ends) = self.ends(asker, holder, terms) {
            ends.voided += 1;
        }
    }

    pub(crate) fn open(&mut self, asker: &NodeUri, holder: &NodeUri, terms: &Terms, late: Option<Overdue>) {
        let Some(ends) = self.ends(asker, holder, terms) else { return };
        ends.open += 1;
        let Some(late) = late else { return };
        self.overdue_all += 1;
        if self.overdue.len() < OVERDUE_MAX {
            self.overdue.push(late);
        }
    }

    pub(crate) fn head(&mut self, origin: &str, minute: Minute, size: u64) {
        let of = self.heads.entry(origin.to_owned()).or_default();
        if of.len() < HEADS_MAX {
            of.push((minute, size));
        }
    }

    pub(crate) fn under(&mut self, index: u64, minute: Minute, vector: &CharterVector) {
        self.charters.push((index, minute, vector.clone()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_log_is_counted_in_longer_steps_and_nothing_is_lost() {
        let mut growth = Growth::default();
        for minute in 0..20_000 {
            growth.add(Minute(minute));
        }
        assert_eq!(growth.step, 60);
        assert_eq!(growth.entries.values().sum::<u64>(), 20_000);
        for minute in (0..10_000_000).step_by(60) {
            growth.add(Minute(minute));
        }
        assert_eq!(growth.step, 1_440);
        assert!(growth.entries.keys().all(|minute| minute % 1_440 == 0));
        assert_eq!(growth.entries.values().sum::<u64>(), 20_000 + 10_000_000_u64.div_ceil(60));
        growth.lengthen(60);
        assert_eq!(growth.step, 1_440);
    }
}
