use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use puente_model::Millis;

use crate::request::Request;
use crate::set::PolicySet;
use crate::verdict::Verdict;

/// A policy set with a bounded memory of its decisions.
///
/// A decision is remembered under the whole request until the next expiry of any grant or legal basis, in either
/// direction of time; the oldest leaves first. What an asker may choose freely (an unknown kind or basis, an offence
/// that no rule reads) takes no place in it. Remembered or not, the verdict is the same.
#[derive(Debug)]
pub struct Judge {
    set: Arc<PolicySet>,
    capacity: usize,
    known: HashMap<Request, Decided>,
    order: VecDeque<Request>,
    hits: u64,
    misses: u64,
}

#[derive(Debug)]
struct Decided {
    stretch: usize,
    verdict: Arc<Verdict>,
}

impl Judge {
    /// Decisions that a node usually remembers.
    pub const CAPACITY: usize = 4_096;

    /// Judges by `set`, remembering at most `capacity` decisions (none if 0).
    pub fn new(set: Arc<PolicySet>, capacity: usize) -> Self {
        Self { set, capacity, known: HashMap::new(), order: VecDeque::new(), hits: 0, misses: 0 }
    }

    /// The set that judges.
    pub fn set(&self) -> &Arc<PolicySet> {
        &self.set
    }

    /// Judges by another set from now on, and forgets every decision.
    pub fn replace(&mut self, set: Arc<PolicySet>) {
        self.set = set;
        self.known.clear();
        self.order.clear();
    }

    /// The verdict of [`PolicySet::judge`], from memory where it still holds.
    pub fn judge(&mut self, request: &Request, now: Millis) -> Arc<Verdict> {
        let idle_offence = request.offence.is_some() && !self.set.reads_offence() && self.set.knows(request);
        if idle_offence {
            return self.decide(&Request { offence: None, ..request.clone() }, now);
        }
        self.decide(request, now)
    }

    fn decide(&mut self, request: &Request, now: Millis) -> Arc<Verdict> {
        let stretch = self.set.stretch(now);
        if let Some(decided) = self.known.get(request)
            && decided.stretch == stretch
        {
            self.hits += 1;
            return Arc::clone(&decided.verdict);
        }
        self.misses += 1;
        let verdict = Arc::new(self.set.judge(request, now));
        if self.capacity == 0 || !self.set.knows(request) {
            return verdict;
        }
        let decided = Decided { stretch, verdict: Arc::clone(&verdict) };
        if self.known.insert(request.clone(), decided).is_none() {
            self.order.push_back(request.clone());
            if self.order.len() > self.capacity
                && let Some(oldest) = self.order.pop_front()
            {
                self.known.remove(&oldest);
            }
        }
        verdict
    }

    /// Decisions taken from memory, and decisions judged anew.
    pub fn hits_and_misses(&self) -> (u64, u64) {
        (self.hits, self.misses)
    }
}
