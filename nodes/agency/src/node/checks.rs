//! What must hold for a signed question to this node itself to succeed, in the order in which to mend it.

use std::path::Path;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use puente_audit_log::{ClaimedCheckpoint, VerifierKey};
use puente_charter::CharterStatus;
use puente_exchange::Unable;
use puente_exchange::api::{Conclusion, Input};
use puente_model::Millis;
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use super::suspension::{self, Why};
use super::{Node, now};
use crate::disk::{Edge, SEGMENT_BYTES};
use crate::driver::{CoreView, DriverStatus};
use crate::keys::HeadKey;
use crate::net::Over;
use crate::ops::check::{Check, State, Words, w};
use crate::ops::expiry::Ending;
use crate::ops::meter::Snapshot;
use crate::ops::probe::{self, Room};
use crate::records::{RecordsStatus, SqliteReader};
use crate::renewal::Life;

/// How long checks hold before they are made again.
const FRESH: Duration = Duration::from_secs(1);
/// How long a question to the node itself that succeeded is good for.
const ASKED_FRESH: Duration = Duration::from_secs(5);
/// How long the engine, or a store, may take to answer.
pub(super) const PATIENCE: Duration = Duration::from_secs(2);
/// How long a batch may be on its way to the disk.
const WRITE_MAX: Duration = Duration::from_secs(2);
/// Less room than this, and the journal's next segments do not fit.
pub(crate) const ROOM_LEAST: u64 = 2 * SEGMENT_BYTES;
/// Less room than this deserves a look.
pub(crate) const ROOM_WARN: u64 = 8 * SEGMENT_BYTES;
/// Files that must be makeable.
const FILES_LEAST: u64 = 64;
/// Inputs that may wait for the engine before it counts as behind.
const PENDING_WARN: u64 = 10_000;
/// Time before the end of the node's certificate from which every status says so; a quarter of its life, if that is less.
const CERTIFICATE_WARN_MILLIS: u64 = 3 * 86_400_000;
/// The newest head may be this much younger than the clock says it is.
const HEAD_AHEAD_MAX: Duration = Duration::from_secs(120);

const MEND_DISK: Words = w("mend the disk, then start the node again");
const WATCH_CLOCK: Words = w("let a time service (chrony, systemd-timesyncd) keep the clock; look at 'timedatectl'");

/// Room on a disk, judged.
pub(crate) fn room_check(name: &'static str, folder: &Path) -> Check {
    let fix = w("free space or enlarge the disk; nothing of the node's folder may be deleted");
    let not = |state, code, cause, evidence: String| Check::not(state, name, code, cause, evidence, fix);
    let room = match probe::room(folder) {
        Ok(room) => room,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let cause = w("the folder is gone");
            return not(State::Fail, "missing", cause, format!("{}: {error}", folder.display()));
        }
        Err(error) => {
            let cause = w("the disk does not say how much room it has");
            return not(State::Unknown, "no-answer", cause, format!("{}: {error}", folder.display()));
        }
    };
    let Room { free_bytes, bytes, free_files, read_only } = room;
    let shown = format!("{}: {} MiB of {} MiB free", folder.display(), free_bytes >> 20, bytes >> 20);
    if read_only {
        let cause = w("the disk can only be read");
        return not(State::Fail, "read-only", cause, shown);
    }
    if let Err(error) = probe::may_write(folder) {
        let cause = w("the node may not write in its folder");
        return not(State::Fail, "not-writable", cause, format!("{}: {error}", folder.display()));
    }
    if free_files.is_some_and(|files| files < FILES_LEAST) {
        let cause = w("the disk takes no more files");
        return not(State::Fail, "disk-full", cause, shown);
    }
    match free_bytes {
        0..ROOM_LEAST => not(State::Fail, "disk-full", w("the disk is full"), shown),
        ROOM_LEAST..ROOM_WARN => not(State::Warn, "disk-low", w("the disk is nearly full"), shown),
        _ => Check::ok(name, w("the journal's disk has room"), shown),
    }
}

/// Where the charter is in its life.
pub(crate) fn charter_check(status: CharterStatus) -> Check {
    let name = "charter";
    let fix = w("ask your governance body for the next common part, signed by every nation");
    let days = |days: u32| format!("{days} d");
    match status {
        CharterStatus::InForce { days_left, warn: false } => {
            Check::ok(name, w("the charter is in force"), days(days_left))
        }
        CharterStatus::InForce { days_left, .. } => {
            let cause = w("the charter ends in 30 days or less");
            Check::not(State::Warn, name, "charter-ends", cause, days(days_left), fix)
        }
        CharterStatus::Grace { days_left } => {
            let cause = w("the charter has ended; exchange goes on for its grace only");
            Check::not(State::Warn, name, "charter-grace", cause, days(days_left), fix)
        }
        CharterStatus::NotYet => {
            let cause = w("the charter is not in force yet");
            Check::not(State::Fail, name, "charter-begins", cause, "", fix)
        }
        CharterStatus::Expired => {
            let cause = w("the charter and its grace have ended: nothing is exchanged");
            Check::not(State::Fail, name, "charter-expired", cause, "", fix)
        }
    }
}

/// Where the node's certificate is in its life.
pub(crate) fn certificate_check(life: Option<Life>, now: Millis) -> Check {
    let name = "certificate";
    let fix =
        w("renew it ('puente node renew'); once it has ended, a person must have it issued anew ('puente ca issue')");
    let Some(life) = life else {
        let cause = w("the certificate says no end");
        return Check::not(State::Unknown, name, "certificate-unread", cause, "", fix);
    };
    let end = life.end;
    if end < now {
        let cause = w("this node's certificate has ended");
        return Check::not(State::Fail, name, "certificate-ended", cause, end.to_string(), fix);
    }
    let noticed = Ending::certificate(life).stage(now).is_some();
    if noticed || end.since(now) < CERTIFICATE_WARN_MILLIS.min(end.since(life.begin) / 4) {
        let cause = w("this node's certificate ends soon");
        return Check::not(State::Warn, name, "certificate-ends", cause, end.to_string(), fix);
    }
    Check::ok(name, w("the certificate is valid"), end.to_string())
}

fn log_check(driver: &DriverStatus) -> Check {
    let name = "log";
    if let Some(why) = driver.log_unavailable.as_ref() {
        let cause = w("the log cannot be written: nothing is asked or answered");
        return Check::not(State::Fail, name, "log-unavailable", cause, why.clone(), MEND_DISK);
    }
    if let Some(why) = &driver.disk.failed {
        let cause = w("nothing is written any more");
        return Check::not(State::Fail, name, "disk", cause, why.clone(), MEND_DISK);
    }
    if let Some(since) = driver.writing.filter(|since| *since > WRITE_MAX) {
        let cause = w("the log's disk does not answer: nothing is answered");
        return Check::not(State::Fail, name, "log-hangs", cause, format!("{} s", since.as_secs()), MEND_DISK);
    }
    let shown = format!("{} entries, {} published", driver.disk.size, driver.disk.published);
    Check::ok(name, w("the log takes entries"), shown)
}

fn edge_check(edge: Option<Edge>) -> Check {
    let name = "log-files";
    let fix = w("stop the node, keep the folder as it is, and let 'puente-audit verify' say what is wrong");
    let not = |state, code, cause, evidence: String| Check::not(state, name, code, cause, evidence, fix);
    let cause = w("the log's files are as they were written");
    match edge {
        Some(Edge::Same(size)) => Check::ok(name, cause, format!("{size} entries")),
        Some(Edge::None) => Check::ok(name, w("nothing is published yet"), ""),
        Some(Edge::Differs(what)) => not(State::Fail, "log-files", w("a file of the log is missing or changed"), what),
        Some(Edge::Busy) | None => {
            not(State::Unknown, "no-answer", w("the log's files could not be compared in time"), String::new())
        }
    }
}

fn store_check(name: &'static str, code: &'static str, answered: Option<Result<(), String>>) -> Check {
    match answered {
        Some(Ok(())) => Check::ok(name, w("the store answers"), ""),
        Some(Err(why)) => Check::not(State::Fail, name, code, w("the store cannot be read"), why, MEND_DISK),
        None => Check::not(
            State::Fail,
            name,
            code,
            w("the store does not answer in time"),
            format!("{} ms", PATIENCE.as_millis()),
            w("see which program holds the database, or what keeps the disk busy"),
        ),
    }
}

fn engine_check(view: Option<&CoreView>, driver: &DriverStatus) -> Check {
    let name = "engine";
    let fix = w("look at the disk and at the node's log; then restart it");
    let pending = format!("{} waiting", driver.pending);
    if driver.stopped {
        let cause = w("the engine has stopped");
        return Check::not(State::Fail, name, "stopped", cause, pending, fix);
    }
    match view {
        None => {
            let cause = w("the engine does not turn");
            Check::not(State::Fail, name, "stuck", cause, pending, fix)
        }
        Some(_) if driver.pending > PENDING_WARN => {
            let cause = w("the engine is behind");
            Check::not(State::Warn, name, "behind", cause, pending, fix)
        }
        Some(_) => Check::ok(name, w("the engine turns"), pending),
    }
}

/// The clock against one that only goes forward, the newest head and the peers.
fn clock_check(node: &Node, view: Option<&CoreView>) -> Check {
    let name = "clock";
    let published = std::fs::metadata(node.dir.log().join("checkpoint")).and_then(|meta| meta.modified()).ok();
    let ahead = published.and_then(|then| then.duration_since(SystemTime::now()).ok()).unwrap_or_default();
    if ahead > HEAD_AHEAD_MAX {
        let cause = w("the clock is behind the node's own newest head");
        return Check::not(State::Fail, name, "clock-behind", cause, format!("{} s", ahead.as_secs()), WATCH_CLOCK);
    }
    let peers = view.map_or(0, |view| view.future_dated);
    let ready = view.map_or(0, |view| view.peers_ready);
    if peers > 0 {
        // One peer may be wrong; when all are, this clock is.
        let state = if peers >= ready.max(2) { State::Fail } else { State::Warn };
        let cause = w("peers send times in this clock's future: one of the clocks is wrong");
        return Check::not(state, name, "clock-differs", cause, format!("{peers} of {ready} peers"), WATCH_CLOCK);
    }
    let jumps = node.clock.jumps(Instant::now());
    if let Some(last) = jumps.last() {
        let cause = w("the clock jumped in the last ten minutes");
        let shown = format!("{} jumps, the last by {} ms {} s ago", jumps.len(), last.millis, last.ago.as_secs());
        return Check::not(State::Warn, name, "clock-jumped", cause, shown, WATCH_CLOCK);
    }
    Check::ok(name, w("the clock runs evenly"), "")
}

/// Whether a record could be looked up: the store's own word, and for a file, whether it is still there.
fn records_answer(health: &RecordsStatus, file: &Path) -> Result<(), String> {
    if let Some((why, since)) = &health.down {
        return Err(format!("since {since}: {why}"));
    }
    match health.store {
        "sqlite" => SqliteReader::open(file).map_err(|error| error.to_string())?.touch(),
        _ => Ok(()),
    }
}

/// Whether `signer` signs a head as `key` says.
fn signs(note: &[u8], key: &VerifierKey, signer: &HeadKey) -> Result<(), String> {
    let head = ClaimedCheckpoint::parse(note).and_then(|claimed| claimed.verify(key));
    let head = head.map_err(|error| error.to_string())?;
    match head.sign_again(key, |text| signer.try_sign(text)) {
        Ok(true) => Ok(()),
        Ok(false) => Err("its signature is not good under the key in the charter".to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

/// What to do where a question to this node would fail.
fn mend(unable: &Unable) -> Words {
    match unable {
        Unable::Charter => w("ask your governance body for the next common part, signed by every nation"),
        Unable::Escrow(_) => w("ask your governance body for auditors with a sealing key of this quarter"),
        Unable::Rules(_) => w("mend the rule that is named; 'puente policy check' and 'puente policy test' try it out"),
        Unable::Store(_) => MEND_DISK,
        Unable::Records { .. } => w("see which program holds the database, or what keeps the disk busy"),
        _ => w("run the same version of puente as the federation, with the same extra record types"),
    }
}

/// Runs blocking work with a bound; none: it did not end in time.
async fn within<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    timeout(PATIENCE, spawn_blocking(work)).await.ok()?.ok()
}

impl Node {
    /// The engine's task gets to what it is asked; or it waits for a token that is away, which another start would not
    /// mend.
    pub async fn turns(&self) -> bool {
        if self.keys.token().is_some_and(|token| token.trouble().is_some()) {
            return true;
        }
        self.driver.view().await.is_ok()
    }

    /// Every check, at most a second old, in the order in which to mend what is broken.
    pub async fn checks(&self) -> Arc<Vec<Check>> {
        let mut last = self.checked.lock().await;
        if let Some((at, checks)) = &*last
            && at.elapsed() < FRESH
        {
            return checks.clone();
        }
        let checks = Arc::new(self.check_all().await);
        *last = Some((Instant::now(), checks.clone()));
        checks
    }

    async fn check_all(&self) -> Vec<Check> {
        let (disk, evidence, records) = (self.disk.clone(), self.disk.clone(), self.dir.records());
        let health = self.records.clone();
        let journal = self.dir.journal();
        let (view, edge, evidence, records, room, policies, itself) = tokio::join!(
            timeout(PATIENCE, self.driver.view()),
            within(move || disk.edge()),
            within(move || evidence.evidence_answers()),
            within(move || records_answer(&health.status(), &records)),
            within(move || room_check("disk-space", &journal)),
            self.policies_check(),
            self.self_query_check(),
        );
        let view = view.ok().and_then(Result::ok);
        let driver = self.driver.status();
        let no_room = || {
            let cause = w("the disk does not answer in time");
            Check::not(State::Unknown, "disk-space", "no-answer", cause, "", MEND_DISK)
        };
        let mut checks = vec![
            self.standing_check(&driver),
            self.token_check().await,
            log_check(&driver),
            room.unwrap_or_else(no_room),
            edge_check(edge),
            store_check("evidence", "evidence-store", evidence),
            store_check("records", "records-down", records),
            engine_check(view.as_ref(), &driver),
            charter_check(self.now.charter.load().status(now())),
            self.member_check(),
            certificate_check(self.net.certificate_life(), now()),
            clock_check(self, view.as_ref()),
            policies,
            self.listen_check(),
            self.alarm_check(&driver),
            itself,
        ];
        let cosigning = view.as_ref().and_then(|view| view.cosigning.as_ref());
        checks.extend(super::cosigned::check(cosigning, driver.disk.size, now()));
        checks.extend(self.hosting.check());
        if self.draining.load(std::sync::atomic::Ordering::Relaxed) {
            let cause = w("the node is stopping");
            let fix = w("start it again");
            checks.insert(0, Check::not(State::Fail, "start", "stopping", cause, "", fix));
        }
        checks
    }

    /// Whether the log takes entries: a restored one does not yet, one that lost its tail never again.
    fn standing_check(&self, driver: &DriverStatus) -> Check {
        let (name, code) = ("log-open", "log-suspended");
        let found = match suspension::read(&self.dir) {
            Ok(None) => return Check::ok(name, w("the log takes entries"), ""),
            Ok(Some(found)) => found,
            Err(error) => {
                let cause = w("whether the log takes entries cannot be read");
                return Check::not(State::Unknown, name, code, cause, error.to_string(), MEND_DISK);
            }
        };
        let (cause, fix) = found.why.words();
        let shown = match found.why {
            Why::Restored => {
                let partners = self.now.charter.load().members().len().saturating_sub(1);
                format!("{} of {partners} agree: {}", driver.agreed.len(), driver.agreed.join(", "))
            }
            Why::LostTail => format!("{} holds {} entries", found.peer, found.entries.unwrap_or_default()),
            Why::Closing => found.since,
        };
        Check::not(State::Fail, name, code, cause, shown, fix)
    }

    /// Whether the private keys can be used: those in files were read at the start, those in a token are asked for.
    async fn token_check(&self) -> Check {
        let name = "keys";
        let Some(token) = self.keys.token() else {
            return Check::ok(name, w("the private keys are in files"), "");
        };
        match self.probe_token().await {
            Ok(()) => Check::ok(name, w("the token with the private keys answers"), token.name()),
            Err(error) => {
                let cause =
                    w("the token with the private keys does not answer: nothing is recorded, asked or answered");
                Check::not(State::Fail, name, "token", cause, error.to_string(), w(error.mend()))
            }
        }
    }

    /// Whether a signed question to this node itself would succeed: the log's key signs, and the engine judges, seals and
    /// looks up an invented question with the parts that real ones use. Nothing is recorded of it.
    async fn self_query_check(&self) -> Check {
        let name = "self-query";
        let fresh = *self.asked_itself.lock().unwrap_or_else(PoisonError::into_inner);
        let cause = w("a question to this node itself would be answered");
        if fresh.is_some_and(|at| at.elapsed() < ASKED_FRESH) {
            return Check::ok(name, cause, "");
        }
        let fix = w("see which other check fails, and what the node's log says; 'puente doctor' looks from outside");
        let not = |code, cause, evidence: String, fix| Check::not(State::Fail, name, code, cause, evidence, fix);
        let (signs, tried) =
            tokio::join!(self.head_is_signed(), timeout(PATIENCE, self.driver.wish(|ticket| Input::Try { ticket })),);
        if let Err(why) = signs {
            let cause = w("the log's key does not sign as the charter says: nothing can be asked or answered");
            let fix = w(
                "compare 'puente keys show' with the log's key in the annex; plug the token in, if the key is in one",
            );
            return not("log-key", cause, why, fix);
        }
        match tried {
            Ok(Ok(Conclusion::Tried(Ok(())))) => {
                *self.asked_itself.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
                Check::ok(name, cause, "")
            }
            Ok(Ok(Conclusion::Tried(Err(unable)))) => {
                let (code, fix) = (unable.code(), mend(&unable));
                not(code, w("a question to this node itself would fail"), unable.to_string(), fix)
            }
            Ok(_) => not("stopped", w("a question to this node itself would fail"), String::new(), fix),
            Err(_) => {
                let waited = format!("{} ms", PATIENCE.as_millis());
                not("no-answer", w("a question to this node itself is not answered in time"), waited, fix)
            }
        }
    }

    /// The log's key signs the newest published head once more, and the signature is good under the charter's key. No
    /// other text is ever given to it for this.
    async fn head_is_signed(&self) -> Result<(), String> {
        let Some(note) = self.disk.published_head() else { return Ok(()) };
        let charter = self.now.charter.load_full();
        let config = &self.bearings.config;
        let origin = config.origin().map_err(|error| error.to_string())?;
        let member = charter.member(&config.node);
        let Some(entry) = member.and_then(|member| member.logs.iter().find(|log| log.origin == origin)) else {
            return Err(format!("the charter does not name the log {origin}"));
        };
        let key: VerifierKey = entry.vkey.parse().map_err(|error: puente_audit_log::KeyError| error.to_string())?;
        let signer = Arc::clone(&self.signer);
        let silent = || Err("the key does not answer in time".to_owned());
        within(move || signs(&note, &key, &signer)).await.unwrap_or_else(silent)
    }

    fn member_check(&self) -> Check {
        let name = "member";
        let charter = self.now.charter.load_full();
        let member = charter.member(&self.bearings.config.node);
        if member.is_some_and(puente_charter::Member::is_active) {
            return Check::ok(name, w("the charter lists this node"), "");
        }
        let cause = w("the charter does not admit this node");
        let fix = w("ask your governance body about the annex");
        Check::not(State::Fail, name, "not-a-member", cause, self.bearings.config.node.to_string(), fix)
    }

    fn listen_check(&self) -> Check {
        let name = "listen";
        if self.net.is_listening() {
            let at = self.net.local_addr().map(|at| at.to_string()).unwrap_or_default();
            return Check::ok(name, w("peers can reach the socket"), at);
        }
        let cause = w("the node takes no connections");
        let fix = w("restart the node");
        Check::not(State::Fail, name, "not-listening", cause, "", fix)
    }

    fn alarm_check(&self, driver: &DriverStatus) -> Check {
        let name = "alarms";
        let Some((at, text)) = driver.alarms.last() else {
            return Check::ok(name, w("no alarm since the start"), "");
        };
        let state = if driver.behind_own_heads { State::Fail } else { State::Warn };
        let fix = w("do what the alarm says; tell the auditors");
        Check::not(state, name, "alarm", w("there were alarms"), format!("{at}: {text}"), fix)
    }

    /// The policies in force against those in the folder: the next start must not come as a surprise.
    async fn policies_check(&self) -> Check {
        let name = "policies";
        let (dir, mut bearings) = (self.dir.clone(), self.bearings.clone());
        bearings.charter = self.now.charter.load_full();
        let stamp = super::stamps(&dir.policies());
        let known = self.policies_seen.lock().await.clone();
        let found = match known {
            Some((seen, found)) if seen == stamp => Some(found),
            _ => {
                let found = within(move || {
                    bearings.policies(&dir).map(|policies| policies.hash()).map_err(|error| error.to_string())
                })
                .await;
                if let Some(found) = &found {
                    *self.policies_seen.lock().await = Some((stamp, found.clone()));
                }
                found
            }
        };
        match found {
            Some(Ok(hash)) if hash == **self.now.policy.load() => {
                Check::ok(name, w("the policies of the folder are in force"), hash.to_string())
            }
            Some(Ok(hash)) => Check::not(
                State::Warn,
                name,
                "policies-changed",
                w("the folder holds other policies than those in force"),
                hash.to_string(),
                w("'puente node reload' brings them into force"),
            ),
            Some(Err(why)) => Check::not(
                State::Warn,
                name,
                "policies-broken",
                w("the folder's policies do not validate: those in force stay, and the next start would refuse"),
                why,
                w("run 'puente policy check' and mend the rules"),
            ),
            None => Check::not(
                State::Warn,
                name,
                "policies-unread",
                w("the folder's policies could not be read in time; those in force stay"),
                "",
                MEND_DISK,
            ),
        }
    }

    /// The metrics, as Prometheus reads them.
    pub async fn metrics(&self) -> String {
        let checks = self.checks().await;
        let view = timeout(PATIENCE, self.driver.view()).await.ok().and_then(Result::ok).unwrap_or_default();
        let driver = self.driver.status();
        let charter = self.now.charter.load_full();
        let nation = self.bearings.config.node.jurisdiction();
        let roots = charter.ca_roots(&nation).iter().filter_map(|root| crate::ca::root_end(root));
        let charter = charter.common();
        let grace = u64::from(charter.grace_days) * 86_400;
        let links = self.net.links();
        let cosigning = view.cosigning.as_ref();
        let next = |endings: Vec<Ending>| {
            endings.iter().map(|ending| ending.end).filter(|end| *end > now()).min().map(|end| end.0 / 1_000)
        };
        let snapshot = Snapshot {
            ready: checks.iter().all(|check| check.state < State::Unknown),
            log_entries: driver.disk.size,
            published_entries: driver.disk.published,
            head_published: std::fs::metadata(self.dir.log().join("checkpoint")).and_then(|meta| meta.modified()).ok(),
            batches_behind: driver.disk.lag,
            pending_inputs: driver.pending,
            connections: links.len() as u64,
            connections_over_tcp: links.iter().filter(|link| link.over == Over::Tcp).count() as u64,
            streams: self.net.streams() as u64,
            peers_ready: view.peers_ready,
            peers_unreachable: self.net.unreachable().len() as u64,
            cosign_pending_seconds: cosigning
                .and_then(|c| c.pending_since)
                .map_or(0, |since| now().since(since) / 1_000),
            partners_held_back: cosigning.map_or(0, |c| c.peers.iter().filter(|peer| peer.held_back).count() as u64),
            under_way: (view.asking, view.holding),
            disk_free_bytes: probe::room(&self.dir.journal()).ok().map(|room| room.free_bytes),
            certificate_ends: self.net.certificate_life().map(|life| life.end.0 / 1_000),
            charter_ends: charter.expires.0 / 1_000 + grace,
            root_ends: roots.min().map(|end| end.0 / 1_000),
            api_key_ends: next(self.desk.ring.endings(now())),
            officer_ends: next(self.roll.endings(now())),
            notices: self.notices.lock().unwrap_or_else(PoisonError::into_inner).count(),
            failed_lookups: self.records.status().failed,
            alarms: driver.alarms_total,
            traces: self.traces.as_ref().map(|traces| traces.counted().sent_and_dropped()),
            faults: self.net.faults(),
        };
        self.meter.show(SystemTime::now(), &snapshot)
    }
}

#[cfg(test)]
mod tests {
    use puente_audit_log::{Ed25519Signer, KeyKind, Log, Signer as _};
    use puente_model::Secret32;

    use super::*;
    use crate::signer::LogSigner;

    #[test]
    fn a_head_is_signed_again_and_nothing_else() {
        let origin = "mx/fge-bc/n1/log1";
        let seed = || Secret32::new([7; 32]);
        let own = Ed25519Signer::new(origin, KeyKind::Ed25519, &seed()).unwrap();
        let sealed = Log::empty(origin).unwrap().stage(&[b"entry"]).unwrap().sign(&own).unwrap();
        let head = sealed.batch().head.clone();
        let key = |seed| HeadKey::File(Box::new(LogSigner::new(origin, &seed).unwrap()));
        assert_eq!(signs(head.note_bytes(), own.verifier(), &key(seed())), Ok(()));
        // The very bytes that are public already.
        let text = head.checkpoint().to_string();
        head.sign_again(own.verifier(), |asked| {
            assert_eq!(asked, text.as_bytes());
            Ok::<_, ()>(key(seed()).sign(asked))
        })
        .unwrap();
        let other = || Secret32::new([8; 32]);
        assert!(signs(head.note_bytes(), own.verifier(), &key(other())).unwrap_err().contains("not good"));
        let theirs = Ed25519Signer::new(origin, KeyKind::Ed25519, &other()).unwrap();
        assert!(signs(head.note_bytes(), theirs.verifier(), &key(other())).is_err(), "the charter names another key");
        assert!(signs(b"no head", own.verifier(), &key(seed())).is_err());
    }
}
