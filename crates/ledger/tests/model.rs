//! The algorithm, model-checked: whatever is delayed, dropped, repeated or lost in a crash, one commit stands per epoch.
//!
//! ```text
//! old ledger   index 0: A or B (two commits of the convener for epoch 0; it crashed and forgot the first), or X (the
//!                       successor's CLOSE)
//!              index 1: X after A, X after B (the successor finished what it found, then closed)
//! new ledger   index 0: C (the successor's commit for epoch 0), or D (its commit for epoch 1)
//! ```
//!
//! What a proposer sent may reach any witness at any later time, never, or again: a head that was sent stays under way.
//! What a witness signed stays known: a reply may be taken in at any later time. So delay, loss and repetition need no
//! steps of their own. The successor waits for nothing, not even for its turn: silence is there for progress, and safety
//! must not rest on clocks. Witnesses of one nation are alike, so each nation's are kept sorted.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout, reason = "tests")]

use std::ops::Range;

use stateright::{Checker, HasDiscoveries, Model, Property};

/// A head of the old or of the new ledger.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Head {
    A,
    B,
    X,
    AX,
    BX,
    C,
    D,
}
use Head::{A, AX, B, BX, C, D, X};

const HEADS: [Head; 7] = [A, B, X, AX, BX, C, D];

impl Head {
    const fn bit(self) -> u8 {
        1 << self as u8
    }

    const fn is_new(self) -> bool {
        matches!(self, C | D)
    }

    /// Whether a witness that remembers `old` may go on to this head.
    fn extends(self, old: Option<Head>) -> bool {
        match old {
            None => true,
            Some(A) => matches!(self, A | AX),
            Some(B) => matches!(self, B | BX),
            Some(same) => self == same,
        }
    }

    /// What stands at index 0 of its ledger.
    fn first(self) -> Head {
        match self {
            AX => A,
            BX => B,
            first => first,
        }
    }
}

/// What a witness has durably, and what left it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct Witness {
    old: Option<Head>,
    new: Option<Head>,
    signed: u8,
}

impl Witness {
    fn remembered(&mut self, head: Head) -> &mut Option<Head> {
        if head.is_new() { &mut self.new } else { &mut self.old }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct State {
    sent: u8,
    /// The nations' witnesses, one nation after the other.
    witnesses: Vec<Witness>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Action {
    /// A proposer sends a head to every witness.
    Send(Head),
    /// A witness receives a head and stores it. It may crash then, and sign only when the head comes again.
    Store(usize, Head),
    /// A witness signs: what it has stored, or (the planted bug) what it is about to store when it crashes.
    Sign(usize, Head),
}

/// How the witnesses behave.
struct Ledger {
    /// Witnesses that keep the rules: how many of each nation.
    honest: [usize; 2],
    /// Witnesses that sign whatever they are sent.
    liars: [usize; 2],
    /// The rule: a head is stored before it is signed.
    store_first: bool,
}

impl Ledger {
    fn nation(&self, of: usize) -> Range<usize> {
        if of == 0 { 0..self.honest[0] } else { self.honest[0]..self.honest[0] + self.honest[1] }
    }

    /// A majority in each nation has signed the head.
    fn decided(&self, state: &State, head: Head) -> bool {
        (0..2).all(|of| {
            let nation = &state.witnesses[self.nation(of)];
            let honest = nation.iter().filter(|witness| witness.signed & head.bit() != 0).count();
            let lies = if state.sent & head.bit() != 0 { self.liars[of] } else { 0 };
            2 * (honest + lies) > self.honest[of] + self.liars[of]
        })
    }

    fn may_send(&self, state: &State, head: Head) -> bool {
        match head {
            A | B | X => true,
            // Finished by the successor: it has to have been sent by the convener.
            AX => state.sent & A.bit() != 0,
            BX => state.sent & B.bit() != 0,
            // The successor works in the new ledger once its CLOSE stands.
            C => self.decided(state, X),
            D => self.decided(state, AX) || self.decided(state, BX),
        }
    }

    /// What members may take in for epoch 0, whichever receipts reach them.
    fn epoch_zero(&self, state: &State) -> usize {
        let a = self.decided(state, A) || self.decided(state, AX);
        let b = self.decided(state, B) || self.decided(state, BX);
        let c = self.decided(state, C) && self.decided(state, X);
        [a, b, c].into_iter().filter(|taken| *taken).count()
    }

    fn checked(self) -> impl Checker<Self> {
        self.checker().spawn_bfs().join()
    }

    /// Stops at the first way to two commits for one epoch.
    fn broken(self) -> impl Checker<Self> {
        self.checker().finish_when(HasDiscoveries::AnyOf(["one commit per epoch"].into())).spawn_bfs().join()
    }
}

impl Model for Ledger {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        vec![State { sent: 0, witnesses: vec![Witness::default(); self.honest[0] + self.honest[1]] }]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        for head in HEADS {
            if state.sent & head.bit() == 0 {
                if self.may_send(state, head) {
                    actions.push(Action::Send(head));
                }
                continue;
            }
            for (at, witness) in state.witnesses.iter().enumerate() {
                let mut witness = *witness;
                let remembered = *witness.remembered(head);
                if remembered != Some(head) && head.extends(remembered) {
                    actions.push(Action::Store(at, head));
                }
                let may_sign = if self.store_first { remembered == Some(head) } else { head.extends(remembered) };
                if may_sign && witness.signed & head.bit() == 0 {
                    actions.push(Action::Sign(at, head));
                }
            }
        }
    }

    fn next_state(&self, last: &State, action: Action) -> Option<State> {
        let mut state = last.clone();
        match action {
            Action::Send(head) => state.sent |= head.bit(),
            Action::Store(at, head) => *state.witnesses[at].remembered(head) = Some(head),
            Action::Sign(at, head) => state.witnesses[at].signed |= head.bit(),
        }
        for of in 0..2 {
            state.witnesses[self.nation(of)].sort_unstable();
        }
        Some(state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always("one commit per epoch", |model: &Ledger, state: &State| model.epoch_zero(state) <= 1),
            Property::always("one entry per index", |model: &Ledger, state: &State| {
                let decided = HEADS.into_iter().filter(|head| model.decided(state, *head));
                let mut first = [None; 2];
                decided.into_iter().all(|head| {
                    let slot = &mut first[usize::from(head.is_new())];
                    slot.replace(head.first()).is_none_or(|before| before == head.first())
                })
            }),
            // What must be reachable, or the model proves nothing.
            Property::sometimes("a commit is accepted", |model: &Ledger, state: &State| model.decided(state, A)),
            Property::sometimes("a successor closes an idle ledger", |model: &Ledger, state: &State| {
                model.decided(state, C)
            }),
            Property::sometimes("a successor finishes, then closes", |model: &Ledger, state: &State| {
                model.decided(state, D)
            }),
            Property::sometimes("contention wedges a slot", |model: &Ledger, state: &State| {
                let cannot_win = |head: Head| {
                    (0..2).any(|of| {
                        let nation = &state.witnesses[model.nation(of)];
                        let others = nation.iter().filter(|w| w.old.is_some_and(|held| held.first() != head)).count();
                        2 * (nation.len() - others) <= nation.len()
                    })
                };
                [A, B, X].into_iter().all(cannot_win)
            }),
        ]
    }
}

#[test]
fn at_most_one_commit_stands_per_epoch() {
    let checker = Ledger { honest: [3, 2], liars: [0, 0], store_first: true }.checked();
    println!("{} states, {} of them distinct", checker.state_count(), checker.unique_state_count());
    checker.assert_properties();
}

#[test]
fn a_witness_that_lies_in_one_nation_changes_nothing() {
    let checker = Ledger { honest: [2, 2], liars: [1, 0], store_first: true }.checked();
    checker.assert_no_discovery("one commit per epoch");
    checker.assert_no_discovery("one entry per index");
}

#[test]
fn lies_in_both_nations_are_found() {
    let checker = Ledger { honest: [2, 2], liars: [1, 1], store_first: true }.broken();
    let found = checker.discovery("one commit per epoch").expect("two quorums without an honest witness in common");
    println!("{:?}", found.into_actions());
}

#[test]
fn a_signature_before_the_store_is_found() {
    let checker = Ledger { honest: [3, 2], liars: [0, 0], store_first: false }.broken();
    let found = checker.discovery("one commit per epoch").expect("a witness that forgets signs twice");
    let actions = found.into_actions();
    println!("{actions:?}");
    let signed = |head: Head| actions.iter().any(|action| matches!(action, Action::Sign(_, of) if of.first() == head));
    assert!(signed(A) as u8 + signed(B) as u8 + signed(C) as u8 >= 2, "it shows two commits for one epoch");
}
