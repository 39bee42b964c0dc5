//! How a node is doing, the root cause first. Names nodes and numbers, nobody else.

use puente_catalogue::Lang;
use puente_charter::CharterStatus;
use serde_json::{Value, json};

use super::{Node, now};
use crate::ops::check::{Check, State, w};

/// One problem, in the order in which to mend them.
fn problem(check: &Check) -> Value {
    json!({
        "code": check.code,
        "check": check.name,
        "state": check.state.as_str(),
        "message": check.message(Lang::En),
        "message_es": check.message(Lang::Es),
        "fix": check.fix.en,
        "fix_es": check.fix.es,
    })
}

impl Node {
    /// How the node is doing: `problems` in the order in which to mend them, then every number.
    pub async fn status(&self) -> Value {
        let checks = self.checks().await;
        let driver = self.driver.status();
        let charter = &self.bearings.charter;
        let records = self.records.status();
        // What is broken before what only deserves a look; either in the order in which to mend it.
        let of = |wanted: State| checks.iter().filter(move |check| check.state == wanted);
        let mut problems: Vec<Value> =
            of(State::Fail).chain(of(State::Unknown)).chain(of(State::Warn)).map(problem).collect();
        let unreachable = self.net.unreachable();
        for (peer, class) in &unreachable {
            problems.push(problem(&Check::not(
                State::Warn,
                "peers",
                "unreachable",
                w("a peer cannot be reached", "no se alcanza a un nodo"),
                format!("{peer}: {class}"),
                w("'puente peer test' says which step fails", "'puente peer test' dice qué paso falla"),
            )));
        }
        let (word, days_left) = match charter.status(now()) {
            CharterStatus::NotYet => ("not-yet", None),
            CharterStatus::InForce { days_left, .. } => ("in-force", Some(days_left)),
            CharterStatus::Grace { days_left } => ("grace", Some(days_left)),
            CharterStatus::Expired => ("expired", None),
        };
        let links = self.net.links();
        let others = charter.members().iter().filter(|m| m.uri != self.bearings.config.node);
        let peers: Vec<Value> = others
            .map(|member| {
                let own = links.iter().filter(|l| l.peer == member.uri);
                let rtt = own.clone().map(|l| l.rtt).min();
                json!({
                    "peer": member.uri.as_str(),
                    "suspended": member.suspended,
                    "connections": own.count(),
                    "rtt_millis": rtt.map(|rtt| rtt.as_secs_f64() * 1e3),
                    "unreachable": unreachable.iter().find(|(peer, _)| *peer == member.uri).map(|(_, class)| class),
                })
            })
            .collect();
        json!({
            "node": self.bearings.config.node.as_str(),
            "version": env!("CARGO_PKG_VERSION"),
            "ready": checks.iter().all(|check| check.state < State::Unknown),
            "problems": problems,
            "uptime_seconds": self.started.elapsed().as_secs(),
            "listen": self.net.local_addr().map(|at| at.to_string()).unwrap_or_default(),
            "charter": {
                "federation": charter.federation(),
                "vector": charter.vector().to_string(),
                "status": word,
                "days_left": days_left,
            },
            "catalogue": charter.catalogue().to_string(),
            "policy": self.policy_hash.to_string(),
            "certificate_ends": self.net.certificate_end().map(|end| end.to_string()),
            "log": {
                "size": driver.disk.size,
                "published": driver.disk.published,
                "batches_behind": driver.disk.lag,
                "sync_micros": driver.disk.sync_micros,
                "journal_segments": driver.disk.segments,
                "batches": driver.batches,
                "entries": driver.entries,
            },
            "records": {
                "store": records.store,
                "down": records.down.map(|(why, _)| why),
                "lookups": records.answered,
                "failed": records.failed,
            },
            "pending": driver.pending,
            "matched": driver.matched,
            "alarms": driver.alarms.iter().map(|(at, text)| format!("{at}: {text}")).collect::<Vec<_>>(),
            "peers": peers,
            "faults": self.net.faults(),
        })
    }
}
