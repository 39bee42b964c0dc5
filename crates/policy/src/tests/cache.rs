use std::sync::Arc;

use puente_model::{Millis, Role};

use super::{forbid, permit, question, set, today};
use crate::{Judge, PolicySet, Request, date};

fn send_and_sync<T: Send + Sync>() {}

#[test]
fn sets_and_judges_cross_threads() {
    send_and_sync::<PolicySet>();
    send_and_sync::<Judge>();
}

#[test]
fn a_decision_is_remembered_until_the_next_expiry() {
    let set = Arc::new(set(&permit("answer", "", "", "")));
    let mut judge = Judge::new(Arc::clone(&set), 8);
    let end = date::parse("2027-06-30").unwrap();
    assert!(judge.judge(&question(), today()).is_permit());
    assert!(judge.judge(&question(), Millis(end.0 - 1)).is_permit());
    assert_eq!(judge.hits_and_misses(), (1, 1));
    assert!(!judge.judge(&question(), end).is_permit());
    assert!(judge.judge(&question(), today()).is_permit(), "a clock that steps back gets the verdict of that time");
    assert_eq!(judge.hits_and_misses(), (1, 3));
}

#[test]
fn memory_is_bounded_and_the_oldest_leaves_first() {
    let mut judge = Judge::new(Arc::new(set(&permit("answer", "", "", ""))), 2);
    let ask = |judge: &mut Judge, role| judge.judge(&Request { officer_role: role, ..question() }, today());
    for role in [Role::Patrol, Role::Customs, Role::Analyst, Role::Analyst, Role::Customs] {
        ask(&mut judge, role);
    }
    assert_eq!(judge.hits_and_misses(), (2, 3));
    ask(&mut judge, Role::Patrol);
    assert_eq!(judge.hits_and_misses(), (2, 4));
    let mut none = Judge::new(Arc::clone(judge.set()), 0);
    ask(&mut none, Role::Patrol);
    ask(&mut none, Role::Patrol);
    assert_eq!(none.hits_and_misses(), (0, 2));
}

#[test]
fn another_set_forgets_what_the_last_one_said() {
    let mut judge = Judge::new(Arc::new(set(&permit("answer", "", "", ""))), 8);
    assert!(judge.judge(&question(), today()).is_permit());
    judge.replace(Arc::new(set(&forbid("bar", ""))));
    assert!(!judge.judge(&question(), today()).is_permit());
}

#[test]
fn what_a_stranger_may_choose_freely_does_not_fill_the_memory() {
    let mut judge = Judge::new(Arc::new(set(&permit("answer", "", "", ""))), 8);
    judge.judge(&question(), today());
    for n in 0..50 {
        // No rule of this set reads the offence, so it is not part of the decision's key.
        assert!(judge.judge(&Request { offence: Some(format!("code-{n}")), ..question() }, today()).is_permit());
        let basis = format!("basis-{n}").parse().unwrap();
        assert!(!judge.judge(&Request { basis, ..question() }, today()).is_permit());
        let kind = format!("kind.k{n}").parse().unwrap();
        assert!(!judge.judge(&Request { kind, ..question() }, today()).is_permit());
    }
    assert_eq!(judge.hits_and_misses(), (50, 101));
    judge.judge(&question(), today());
    assert_eq!(judge.hits_and_misses(), (51, 101));
    let long = Some("x".repeat(65));
    assert!(!judge.judge(&Request { offence: long, ..question() }, today()).is_permit());
}

#[test]
fn an_offence_that_a_rule_reads_is_part_of_the_key() {
    for condition in ["context has offence && context.offence == \"theft\"", "context has \"offenc\\u{65}\""] {
        let when = format!("when {{ {condition} }}");
        let mut judge = Judge::new(Arc::new(set(&permit("answer", "", "", &when))), 8);
        assert!(!judge.judge(&question(), today()).is_permit());
        let theft = Request { offence: Some("theft".to_owned()), ..question() };
        assert!(judge.judge(&theft, today()).is_permit(), "{condition}");
        assert!(!judge.judge(&question(), today()).is_permit());
    }
}
