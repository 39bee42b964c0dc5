//! How a node is doing, the root cause first. Names nodes and numbers, nobody else.

use std::collections::BTreeSet;
use std::sync::PoisonError;

use puente_catalogue::Lang;
use puente_charter::{Charter, CharterStatus};
use puente_model::{Millis, NodeUri};
use serde_json::{Value, json};
use tokio::time::timeout;

use super::checks::PATIENCE;
use super::{Node, now};
use crate::net::{LinkStatus, Over};
use crate::ops::check::{Check, State, Words, w};
use crate::ops::expiry::{Ending, endings};
use crate::records::RecordsStatus;

/// One problem, in the order in which to mend them.
fn problem(check: &Check) -> Value {
    json!({
        "code": check.code,
        "check": check.name,
        "state": check.state.as_str(),
        "message": check.message(Lang::En),
        "message_es": check.message(Lang::Es),
        "fix": check.fix.get(Lang::En),
        "fix_es": check.fix.get(Lang::Es),
    })
}

/// Peers that are connected over TCP alone.
pub(super) fn only_over_tcp(links: &[LinkStatus]) -> BTreeSet<&NodeUri> {
    let of = |over: Over| links.iter().filter(move |link| link.over == over).map(|link| &link.peer);
    let udp: BTreeSet<_> = of(Over::Udp).collect();
    of(Over::Tcp).filter(|peer| !udp.contains(peer)).collect()
}

impl Node {
    fn endings(&self, charter: &Charter) -> Vec<Ending> {
        let nation = self.bearings.config.node.jurisdiction();
        let mut out = endings(charter, &nation, self.net.certificate_life(), now());
        out.extend(self.desk.ring.endings(now()));
        out.extend(self.roll.endings(now()));
        out
    }

    /// Says in the node's own log what ends soon, each notice once.
    pub(super) fn count_down(&self) {
        let (endings, now) = (self.endings(&self.now.charter.load()), now());
        let mut notices = self.notices.lock().unwrap_or_else(PoisonError::into_inner);
        let (due, written) = notices.due(&endings, now);
        for notice in due.into_iter().filter_map(|ending| ending.notice(now)) {
            tracing::warn!(code = notice.code, days = notice.days, "{}", notice.message);
        }
        if let Err(error) = written {
            tracing::warn!("which notices were given could not be written down: {error}");
        }
    }

    /// What deserves a look and stands in nobody's way.
    fn notes(&self, charter: &Charter, records: &RecordsStatus) -> Vec<Value> {
        let mut out = Vec::new();
        let mut note = |code: &'static str, words: String, fix: Words| {
            out.push(json!({
                "code": code,
                "check": code,
                "state": State::Warn.as_str(),
                "message_es": puente_words::say(Lang::Es, &words),
                "message": words,
                "fix": fix.get(Lang::En),
                "fix_es": fix.get(Lang::Es),
            }));
        };
        if let Some(what) = &records.last_invalid {
            let words = format!("{} rows are no records, last of {what}", records.rows_invalid);
            note("records-invalid", words, w("run 'puente records check'"));
        }
        // Charter and certificate have checks of their own.
        let others = |ending: &&Ending| matches!(ending.what, "legal-basis" | "root");
        for notice in self.endings(charter).iter().filter(others).filter_map(|ending| ending.notice(now())) {
            note(notice.code, notice.message, w("ask your governance body"));
        }
        let told = self.desk.ring.endings(now()).iter().filter(|key| key.stage(now()).is_some()).count();
        if told > 0 {
            let words = format!("{told} API keys end soon, or have ended");
            let fix = w("'puente api-key list' names them; make each program's next key with 'puente api-key add'");
            note("api-key-ends", words, fix);
        }
        let told = self.roll.told(now());
        if told > 0 {
            let words = format!("{told} grants of officers end soon, or have ended");
            let fix = w("'puente officer list' names them; grant anew with 'puente officer add', under another id");
            note("officer-grants-end", words, fix);
        }
        if let Some(why) = self.now.problem() {
            let words = format!("the policies do not hold under the charter in force; the ones before rule: {why}");
            note("policies", words, w("mend the rules, then 'puente node reload'"));
        }
        match self.approvals() {
            Ok(approvals) => {
                let (waiting, overdue) = self.roll.open_matters(&approvals, now());
                let waiting = waiting + approvals.rule().map_or(0, |_| self.desk.ring.waiting(now()));
                if waiting > 0 || approvals.rule_change().is_some_and(|_| approvals.rule().is_some()) {
                    let words = "changes wait for the approval of two operators".to_owned();
                    note("approvals-wait", words, w("'puente approval list' shows them; two operators sign each"));
                }
                if overdue > 0 {
                    let words = format!("{overdue} accesses in an emergency are to be reviewed, and overdue");
                    note(
                        "review-overdue",
                        words,
                        w("'puente officer list' names them; write down what was found with 'puente officer review'"),
                    );
                }
            }
            Err(error) => note("operators", error.to_string(), w("mend operators.toml")),
        }
        for (peer, why) in self.now.barred.load().iter() {
            let fix = w("'puente peer unblock' takes it away");
            note("blocked", format!("{peer}: {why}"), fix);
        }
        out
    }

    /// How the node is doing: `problems` in the order in which to mend them, then every number.
    pub async fn status(&self) -> Value {
        let checks = self.checks().await;
        let driver = self.driver.status();
        let view = timeout(PATIENCE, self.driver.view()).await.ok().and_then(Result::ok).unwrap_or_default();
        let charter = self.now.charter.load_full();
        let records = self.records.status();
        let retention = crate::retention::Last::read(&self.dir);
        let barred = self.now.barred.load_full();
        // What is broken before what only deserves a look; either in the order in which to mend it.
        let of = |wanted: State| checks.iter().filter(move |check| check.state == wanted);
        let mut problems: Vec<Value> =
            of(State::Fail).chain(of(State::Unknown)).chain(of(State::Warn)).map(problem).collect();
        problems.extend(self.notes(&charter, &records));
        let unreachable = self.net.unreachable();
        for (peer, class) in &unreachable {
            problems.push(problem(&Check::not(
                State::Warn,
                "peers",
                "unreachable",
                w("a peer cannot be reached"),
                format!("{peer}: {class}"),
                w("'puente peer test' says which step fails"),
            )));
        }
        let links = self.net.links();
        for peer in only_over_tcp(&links) {
            problems.push(problem(&Check::not(
                State::Warn,
                "peers",
                "over-tcp",
                w("UDP to a peer is blocked: TCP stands in"),
                peer.to_string(),
                w("let UDP through; the node goes back to it by itself"),
            )));
        }
        let (word, days_left) = match charter.status(now()) {
            CharterStatus::NotYet => ("not-yet", None),
            CharterStatus::InForce { days_left, .. } => ("in-force", Some(days_left)),
            CharterStatus::Grace { days_left } => ("grace", Some(days_left)),
            CharterStatus::Expired => ("expired", None),
        };
        let others = charter.members().iter().filter(|m| m.uri != self.bearings.config.node);
        let peers: Vec<Value> = others
            .map(|member| {
                let own = links.iter().filter(|l| l.peer == member.uri);
                let rtt = own.clone().map(|l| l.rtt).min();
                // UDP is what the engine asks over when both stand.
                let over = own.clone().map(|l| l.over).min();
                json!({
                    "peer": member.uri.as_str(),
                    "suspended": member.suspended,
                    "blocked": barred.get(&member.uri),
                    "connections": own.count(),
                    "over": over.map(Over::as_str),
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
            "policy": self.now.policy.load().to_string(),
            "certificate_ends": self.net.certificate_life().map(|life| life.end.to_string()),
            "notices": self.endings(&charter).iter().filter_map(|ending| {
                let notice = ending.notice(now())?;
                let (end, message_es) = (ending.end.to_string(), puente_words::say(Lang::Es, &notice.message));
                Some(json!({"code": notice.code, "name": ending.name, "ends": end, "days": notice.days,
                    "message_es": message_es, "message": notice.message}))
            }).collect::<Vec<_>>(),
            "log": {
                "size": driver.disk.size,
                "published": driver.disk.published,
                "batches_behind": driver.disk.lag,
                "sync_micros": driver.disk.sync_micros,
                "journal_segments": driver.disk.segments,
                "batches": driver.batches,
                "entries": driver.entries,
            },
            "cosignatures": view.cosigning.as_ref().map(|cosigning| super::cosigned::show(cosigning, now())),
            "groups": super::groups::show(&view.groups),
            "retention": {
                "mapped": self.bearings.config.records.mapping.is_some(),
                "last": (retention.at > 0).then(|| Millis(retention.at).to_string()),
                "erased_in_all": retention.erased,
            },
            "records": {
                "store": records.store,
                "down": records.down.map(|(why, _)| why),
                "lookups": records.answered,
                "failed": records.failed,
                "rows_invalid": records.rows_invalid,
                "rows_strayed": records.rows_strayed,
            },
            "pending": driver.pending,
            "matched": driver.matched,
            "alarms": driver.alarms.iter().map(|(at, text)| format!("{at}: {text}")).collect::<Vec<_>>(),
            "peers": peers,
            "faults": self.net.faults(),
            "audit": self.door.as_ref().map(crate::auditors::Door::status),
            "api": self.desk.status(now()),
        })
    }
}
