//! Every partner, step by step; and what their clocks say of this one.

use super::Patient;
use crate::cli::peers::{probe_all, remedy};
use crate::net::Probed;
use crate::ops::check::{Check, State, w};

/// Clocks may differ by this much before a peer refuses what comes from its future.
const SKEW_FAIL_MILLIS: u64 = 30_000;
/// From here on it deserves a look.
const SKEW_WARN_MILLIS: u64 = 2_000;

pub(super) fn checks(patient: &Patient<'_>) -> Vec<Check> {
    let unknown = |why: String| {
        vec![Check::not(
            State::Unknown,
            "peer",
            "not-tried",
            w("the partners could not be tried"),
            why,
            w("mend what is named above first"),
        )]
    };
    let Ok(bearings) = &patient.bearings else { return unknown(String::new()) };
    let others = bearings.charter.members().iter().filter(|member| member.is_active() && !member.endpoints.is_empty());
    let others: Vec<_> = others.map(|member| member.uri.clone()).filter(|uri| *uri != bearings.config.node).collect();
    let probed = match probe_all(patient.context, bearings, &others) {
        Ok(probed) => probed,
        Err(failure) => return unknown(failure.message),
    };
    let mut out: Vec<Check> = probed.iter().map(reached).collect();
    out.push(clock(&probed));
    out
}

fn reached(probed: &Probed) -> Check {
    let name = "peer";
    let walked: Vec<String> =
        probed.steps.iter().map(|step| format!("{} {:.1} ms", step.name, step.took.as_secs_f64() * 1e3)).collect();
    let shown = format!("{}: {}", probed.peer, walked.join(", "));
    match probed.steps.last().map(|step| (step.name, &step.found)) {
        Some((step, Err((class, words)))) => {
            let cause = w("a partner cannot be exchanged with");
            Check::not(State::Warn, name, class, cause, format!("{shown}: {words}"), remedy(step))
        }
        _ if probed.over_tcp() => {
            let cause = w("UDP to a partner is blocked: TCP stands in");
            Check::not(State::Warn, name, "over-tcp", cause, shown, remedy("udp"))
        }
        _ => Check::ok(name, w("a partner answers"), shown),
    }
}

fn clock(probed: &[Probed]) -> Check {
    let name = "clock-peers";
    let fix = w("let a time service keep the clock; ask the peers about theirs");
    let mut skews: Vec<i64> = probed.iter().filter_map(|probed| Some(probed.ready.as_ref()?.skew_millis)).collect();
    skews.sort_unstable();
    let Some(median) = skews.get(skews.len() / 2).copied() else {
        return Check::not(State::Unknown, name, "no-peer", w("no partner's clock could be seen"), "", fix);
    };
    let shown = format!("{median:+} ms, {} peers", skews.len());
    let cause = w("this clock differs from the partners'");
    match median.unsigned_abs() {
        SKEW_FAIL_MILLIS.. => Check::not(State::Fail, name, "clock-differs", cause, shown, fix),
        SKEW_WARN_MILLIS..SKEW_FAIL_MILLIS => Check::not(State::Warn, name, "clock-differs", cause, shown, fix),
        _ => Check::ok(name, w("the partners' clocks agree"), shown),
    }
}
