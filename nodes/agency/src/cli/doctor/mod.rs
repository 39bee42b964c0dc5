//! `puente doctor`: everything that a node needs, looked at from outside, whether it runs or not.

mod folder;
mod machine;
mod papers;
mod peers;

use serde_json::{Value, json};

use super::output::{Exit, Failure, Report, wrap};
use super::{Context, client};
use crate::control_api::{Answer, Command};
use crate::load::Bearings;
use crate::ops::check::{Check, State};

/// What the checks have in common.
pub(crate) struct Patient<'c> {
    pub(crate) context: &'c Context,
    /// Configuration, charter and catalogue, if they can be read.
    pub(crate) bearings: Result<Bearings, String>,
    /// The running node's word, if one runs.
    pub(crate) status: Option<Value>,
}

pub(super) fn run(context: &Context) -> Result<Report, Failure> {
    let (patient, checks) = examined(context)?;
    Ok(report(&patient, &checks))
}

/// The node, and everything that was looked at.
pub(super) fn examined(context: &Context) -> Result<(Patient<'_>, Vec<Check>), Failure> {
    if !context.dir.config().exists() {
        return Err(client::running(context).err().unwrap_or_else(client::unexpected));
    }
    let status = match client::connect(context) {
        Ok(Some(mut node)) => match client::call(&mut node, Command::Status, None) {
            Ok(Answer::Status { status }) => Some(status),
            _ => None,
        },
        _ => None,
    };
    let bearings = Bearings::load(&context.dir).map_err(|error| error.to_string());
    let patient = Patient { context, bearings, status };
    let mut checks = machine::checks(&patient);
    checks.extend(folder::checks(&patient));
    checks.extend(papers::checks(&patient));
    checks.extend(peers::checks(&patient));
    Ok((patient, checks))
}

fn report(patient: &Patient<'_>, checks: &[Check]) -> Report {
    let lang = patient.context.lang;
    let count = |state: State| checks.iter().filter(|check| check.state == state).count();
    let counts = json!({
        "ok": count(State::Ok),
        "warn": count(State::Warn),
        "unknown": count(State::Unknown),
        "fail": count(State::Fail),
    });
    // The node's own word comes first: it knows what it lives by.
    let own = patient.status.as_ref().map(|status| status["problems"].clone()).unwrap_or_default();
    let mut text = String::new();
    let clocks = patient.context.clocks();
    for check in checks {
        let (state, name) = (check.state.as_str(), check.name);
        text.push_str(&format!("{state:<8} {name:<20} "));
        let lines = wrap(&clocks.spell(&check.message(lang)), 50);
        text.push_str(&lines.join(&format!("\n{}", " ".repeat(30))));
        text.push('\n');
        if check.state > State::Ok {
            for line in wrap(&format!("→ {}", check.fix.get(lang)), 50) {
                text.push_str(&format!("{}{line}\n", " ".repeat(30)));
            }
        }
    }
    let exit = match checks.iter().map(|check| check.state).max() {
        Some(State::Fail) => Exit::Unavailable,
        Some(State::Warn | State::Unknown) => Exit::Findings,
        _ => Exit::Ok,
    };
    let value = json!({
        "running": patient.status.is_some(),
        "counts": counts,
        "node_problems": own,
        "checks": checks.iter().map(|check| check.to_json(lang)).collect::<Vec<_>>(),
    });
    Report::new(value, text).exit(exit)
}
