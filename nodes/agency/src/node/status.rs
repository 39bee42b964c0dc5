//! How a node is doing, the root cause first. Names nodes and numbers, nobody else.

use puente_charter::CharterStatus;
use serde_json::{Value, json};

use super::{Node, now};

/// Entries that may wait for the engine before it counts as behind.
const PENDING_WARN: u64 = 10_000;
/// Days before the end of the node's certificate from which every status says so.
const CERTIFICATE_WARN_MILLIS: u64 = 3 * 86_400_000;

impl Node {
    /// How the node is doing: `problems` in the order in which to mend them, then every number.
    pub fn status(&self) -> Value {
        let now = now();
        let driver = self.driver.status();
        let charter = &self.bearings.charter;
        let faults = self.net.faults();
        let mut problems: Vec<Value> = Vec::new();
        let mut problem = |code: &str, message: String| problems.push(json!({"code": code, "message": message}));
        if let Some(why) = &driver.log_unavailable {
            problem("log-unavailable", why.clone());
        } else if let Some(why) = &driver.disk.failed {
            problem("disk", why.clone());
        }
        for (at, text) in &driver.alarms {
            problem("alarm", format!("{at}: {text}"));
        }
        let records = self.records.status();
        if let Some((why, since)) = &records.down {
            problem("records-down", format!("since {since} no record can be looked up: {why}"));
        }
        let (word, days_left) = match charter.status(now) {
            CharterStatus::NotYet => ("not-yet", None),
            CharterStatus::InForce { days_left, warn } => {
                if warn {
                    problem("charter-ends", format!("the charter ends in {days_left} days"));
                }
                ("in-force", Some(days_left))
            }
            CharterStatus::Grace { days_left } => {
                problem("charter-grace", format!("the charter has ended; exchange stops in {days_left} days"));
                ("grace", Some(days_left))
            }
            CharterStatus::Expired => {
                problem("charter-expired", "the charter and its grace have ended: nothing is exchanged".to_owned());
                ("expired", None)
            }
        };
        let certificate_end = self.net.certificate_end();
        if let Some(end) = certificate_end
            && end.since(now) < CERTIFICATE_WARN_MILLIS
        {
            problem("certificate-ends", format!("this node's certificate ends at {end}"));
        }
        if driver.pending > PENDING_WARN {
            problem("behind", format!("{} inputs wait for the engine", driver.pending));
        }
        let unreachable = self.net.unreachable();
        for (peer, class) in &unreachable {
            problem("unreachable", format!("{peer}: {class}"));
        }
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
            "certificate_ends": certificate_end.map(|end| end.to_string()),
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
            "peers": peers,
            "faults": faults,
            "audit": self.door.as_ref().map(crate::auditors::Door::status),
        })
    }
}
