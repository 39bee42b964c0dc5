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
