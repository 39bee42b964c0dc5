//! What was to be reached, and whether it was.

use serde_json::{Value, json};

use crate::stats::round;

/// A figure that must not be lower than its goal.
pub fn at_least(what: &str, goal: f64, measured: f64) -> Value {
    stated(what, "at least", goal, measured, measured >= goal)
}

/// A figure that must not be higher than its goal.
pub fn at_most(what: &str, goal: f64, measured: f64) -> Value {
    stated(what, "at most", goal, measured, measured <= goal)
}

fn stated(what: &str, side: &str, goal: f64, measured: f64, met: bool) -> Value {
    json!({"what": what, "goal": format!("{side} {}", round(goal)), "measured": round(measured), "met": met})
}
