//! What a round of watching came to, for Prometheus.

use std::fmt::Write as _;
use std::time::Duration;

use super::mirror::Brought;
use super::now;
use crate::remote::{Continuity, Outcome};
use crate::{Casebook, Severity, Verdict};

fn forked(outcome: &Outcome) -> bool {
    matches!(outcome, Outcome::Copied(copy) if matches!(copy.continuity, Continuity::Forked(_)))
}

/// The round in Prometheus' text format.
pub(super) fn of_round(brought: &Brought, verdict: &Verdict, casebook: &Casebook, took: Duration) -> String {
    let mut out = String::new();
    let mut family = |name: &str, kind: &str, help: &str, samples: &[(String, u64)]| {
        let _ = writeln!(out, "# HELP puente_audit_{name} {help}\n# TYPE puente_audit_{name} {kind}");
        for (labels, value) in samples {
            let _ = writeln!(out, "puente_audit_{name}{labels} {value}");
        }
    };
    let alone = |value: u64| vec![(String::new(), value)];
    family("round_timestamp_seconds", "gauge", "When the last round ended.", &alone(now().0 / 1_000));
    family("round_duration_seconds", "gauge", "How long it took.", &alone(took.as_secs()));
    family("verdict", "gauge", "0 sound, 1 unsound, 2 could not tell.", &alone(verdict.verdict.exit_code().into()));
    let sources = |of: fn(&Outcome) -> bool| brought.outcomes.iter().filter(|outcome| of(outcome)).count() as u64;
    let states = [
        ("copied", sources(|outcome| matches!(outcome, Outcome::Copied(_)) && !forked(outcome))),
        ("other-history", sources(forked)),
        ("failed", sources(|outcome| matches!(outcome, Outcome::Failed(_)))),
    ];
    let states = states.map(|(state, count)| (format!("{{state=\"{state}\"}}"), count));
    family("sources", "gauge", "What became of the logs that are watched.", &states);
    // Nodes' own: a federation has a ledger for every pair that met.
    let known: Vec<_> = verdict.logs.iter().filter(|log| !log.node.is_empty()).collect();
    let entries: Vec<_> = known.iter().map(|log| (format!("{{log=\"{}\"}}", log.origin), log.entries)).collect();
    family("log_entries", "gauge", "Entries under the head.", &entries);
    let cosigned = |log: &&crate::LogReport| Some((format!("{{log=\"{}\"}}", log.origin), log.cosigned?));
    let cosigned: Vec<_> = known.iter().copied().filter_map(|log| cosigned(&log)).collect();
    family("log_cosigned_entries", "gauge", "Entries that the charter's quorum cosigned.", &cosigned);
    let severities =
        [("unsound", Severity::Unsound), ("could-not-tell", Severity::CouldNotTell), ("notice", Severity::Notice)];
    let standing = severities.map(|(name, severity)| {
        let count = verdict.findings.iter().filter(|finding| finding.severity == severity).count() as u64;
        (format!("{{severity=\"{name}\"}}"), count)
    });
    family("findings", "gauge", "Findings of the last round.", &standing);
    family("findings_total", "counter", "Findings since the first round.", &alone(casebook.len() as u64));
    let untold = casebook.untold().len() as u64;
    family("findings_untold", "gauge", "Findings of which the hook was not told.", &alone(untold));
    out
}
