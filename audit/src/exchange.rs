//! The course of each exchange in one log: one question, one end, one release.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;

use puente_model::{CharterVector, Digest, ExchangeId, FieldClass, Minute, Mode, NodeUri, Outcome};
use puente_wire::Terms;

use crate::class::Class;
use crate::kept::Place;

/// Ended exchanges that are remembered in each of two generations, to name a second end.
const ENDED_MAX: usize = 1 << 16;

/// What is known of an exchange that has not ended.
#[derive(Debug, Clone)]
pub(crate) struct Course {
    pub(crate) asker: Arc<NodeUri>,
    pub(crate) holder: Arc<NodeUri>,
    pub(crate) terms: Terms,
    asked: Minute,
    due: Minute,
    charter: Arc<CharterVector>,
    query_leaf: Digest,
    index: u64,
    seq: u64,
    stage: Stage,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Open,
    /// Voided, or named as a hole: needs no end, and may still get one.
    Closed,
    /// Answered with content; waits for its release.
    Answered(Answer),
}

/// An answer with content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Answer {
    leaf: Digest,
    first: First,
    /// Where its records in its log's sidecar are.
    kept: Option<Place>,
}

/// Where an exchange got its first end, and whether its author is proven.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct First {
    pub(crate) index: u64,
    pub(crate) proven: bool,
}

/// An entry's place and author, as the rules need it.
pub(crate) struct Said<'a> {
    pub(crate) leaf: Digest,
    pub(crate) index: u64,
    pub(crate) kept: Option<Place>,
    pub(crate) seq: u64,
    /// The author's own log, or with the author's receipt.
    pub(crate) proven: bool,
    pub(crate) from: &'a Arc<NodeUri>,
    pub(crate) to: &'a Arc<NodeUri>,
    pub(crate) minute: Minute,
    pub(crate) charter: &'a Arc<CharterVector>,
}

/// What an end says.
#[derive(Debug, Clone, Copy)]
pub(crate) enum End {
    Answer(Outcome, FieldClass),
    Refusal,
}

impl End {
    fn discloses(self) -> bool {
        match self {
            // A confirmed hit without fields is an outcome like a miss: nobody waits for its key.
            Self::Answer(Outcome::CoreData, _) => true,
            Self::Answer(_, class) => class != FieldClass::None,
            Self::Refusal => false,
        }
    }
}

/// A question without end.
#[derive(Debug)]
pub(crate) struct Unended {
    pub(crate) asker: Arc<NodeUri>,
    pub(crate) holder: Arc<NodeUri>,
    pub(crate) terms: Terms,
    pub(crate) due: Minute,
    pub(crate) index: u64,
    pub(crate) seq: u64,
}

#[derive(Debug, Clone, Default)]
pub(crate) struct Exchanges {
    courses: HashMap<ExchangeId, Course>,
    ended: [HashMap<ExchangeId, First>; 2],
}

impl Exchanges {
    pub(crate) fn query(&mut self, said: &Said<'_>, terms: Terms, due: Minute) -> Option<Class> {
        let id = terms.exchange;
        if self.ended(&id).is_some() {
            return Some(Class::ExchangeRepeated);
        }
        let Entry::Vacant(free) = self.courses.entry(id) else { return Some(Class::ExchangeRepeated) };
        let course = Course {
            asker: Arc::clone(said.from),
            holder: Arc::clone(said.to),
            terms,
            asked: said.minute,
            due,
            charter: Arc::clone(said.charter),
            query_leaf: said.leaf,
            index: said.index,
            seq: said.seq,
            stage: Stage::Open,
        };
        free.insert(course);
        None
    }

    /// Takes an ANSWER or REFUSAL in; says what is wrong with it, and where the exchange had ended before.
    pub(crate) fn end(
        &mut self,
        said: &Said<'_>,
        terms: &Terms,
        quoted: Digest,
        end: End,
        grace_minutes: u64,
    ) -> (Vec<Class>, Option<First>) {
        let id = terms.exchange;
        let Entry::Occupied(mut open) = self.courses.entry(id) else {
            let ended = self.ended(&id);
            let class = if ended.is_some() { Class::Equivocated } else { Class::AnswerWithoutQuery };
            return (vec![class], ended);
        };
        let course = open.get_mut();
        if let Stage::Answered(answer) = course.stage {
            return (vec![Class::Equivocated], Some(answer.first));
        }
        if course.query_leaf != quoted {
            return (vec![Class::AnswerWithoutQuery], None);
        }
        let first = First { index: said.index, proven: said.proven };
        let mut wrong = Vec::new();
        if (&course.asker, &course.holder) != (said.to, said.from) || !same_terms(&course.terms, terms) {
            wrong.push(Class::TermsChanged);
        }
        if !Arc::ptr_eq(said.charter, &course.charter) && !said.charter.covers(&course.charter) {
            wrong.push(Class::CharterBack);
        }
        if matches!(end, End::Answer(..)) && said.minute.0 > course.due.0.saturating_add(grace_minutes) {
            wrong.push(Class::Late);
        }
        if end.discloses() {
            course.stage = Stage::Answered(Answer { leaf: said.leaf, first, kept: said.kept });
            course.terms.handling = terms.handling;
        } else {
            open.remove();
            self.remember(id, first);
        }
        (wrong, None)
    }

    /// Takes a RELEASE in; says what is wrong with it, and where the answer's records in the sidecar were.
    pub(crate) fn release(&mut self, said: &Said<'_>, terms: &Terms, quoted: Digest) -> (Option<Class>, Option<Place>) {
        let id = terms.exchange;
        let Entry::Occupied(open) = self.courses.entry(id) else {
            let again = self.ended(&id).is_some();
            return (Some(if again { Class::ReleasedTwice } else { Class::ReleaseWithoutAnswer }), None);
        };
        let course = open.get();
        let answer = match course.stage {
            Stage::Answered(answer) if answer.leaf == quoted => answer,
            _ => return (Some(Class::ReleaseWithoutAnswer), None),
        };
        let same = (&course.asker, &course.holder) == (said.to, said.from) && course.terms == *terms;
        open.remove();
        self.remember(id, answer.first);
        ((!same).then_some(Class::TermsChanged), answer.kept)
    }

    /// The mode of a question that has no end yet.
    pub(crate) fn mode(&self, id: &ExchangeId) -> Option<Mode> {
        self.courses.get(id).map(|course| course.terms.mode)
    }

    /// When a question was asked that has no end yet.
    pub(crate) fn asked(&self, id: &ExchangeId) -> Option<Minute> {
        self.courses.get(id).map(|course| course.asked)
    }

    /// The question of a number that is voided or named as a hole needs no end; the course that this closed.
    pub(crate) fn close(&mut self, id: &ExchangeId, query_leaf: &Digest) -> Option<&Course> {
        let course = self.courses.get_mut(id)?;
        if course.query_leaf != *query_leaf || course.stage != Stage::Open {
            return None;
        }
        course.stage = Stage::Closed;
        Some(course)
    }

    /// Questions without end.
    pub(crate) fn unended(&self) -> Vec<Unended> {
        let open = self.courses.values().filter(|c| c.stage == Stage::Open);
        let mut out: Vec<Unended> = open
            .map(|c| Unended {
                asker: c.asker.clone(),
                holder: c.holder.clone(),
                terms: c.terms.clone(),
                due: c.due,
                index: c.index,
                seq: c.seq,
            })
            .collect();
        out.sort_by_key(|u| u.index);
        out
    }

    fn ended(&self, id: &ExchangeId) -> Option<First> {
        self.ended.iter().find_map(|map| map.get(id)).copied()
    }

    fn remember(&mut self, id: ExchangeId, first: First) {
        if self.ended[0].len() >= ENDED_MAX {
            self.ended.swap(0, 1);
            self.ended[0].clear();
        }
        self.ended[0].insert(id, first);
    }
}

/// The same terms, except that the holder states its own handling code.
fn same_terms(asked: &Terms, answered: &Terms) -> bool {
    let Terms { exchange, kind, step, purpose, basis, handling: _, group, epoch, mode } = asked;
    *exchange == answered.exchange
        && *kind == answered.kind
        && *step == answered.step
        && *purpose == answered.purpose
        && *basis == answered.basis
        && *group == answered.group
        && *epoch == answered.epoch
        && *mode == answered.mode
}
