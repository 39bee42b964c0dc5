//! A node from start to stop: what it lives by, its parts, and what the control socket asks of it.

mod adopted;
mod alerts;
mod api;
mod checks;
mod cosigned;
pub(crate) use checks::{certificate_check, charter_check, room_check};
#[cfg(test)]
mod approval_test;
mod error;
mod groups;
mod leaving;
#[cfg(test)]
mod leaving_test;
mod officers;
#[cfg(test)]
mod officers_test;
mod questions;
mod retaining;
#[cfg(test)]
mod retaining_test;
mod rules;
#[cfg(test)]
mod rules_test;
mod run;
mod service;
mod status;
pub(crate) mod suspension;
#[cfg(test)]
pub(crate) mod tests;
#[cfg(test)]
mod wires_test;

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use puente_exchange::api::{Conclusion, Input};
use puente_exchange::{Engine, Setup, Tuning};
use puente_model::{EventKind, Millis};
use serde_json::json;
use tokio::sync::{Mutex, watch};

use crate::api::{Desk, Half};
use crate::approval::{Approvals, Consent};
use crate::auditors::{Door, for_other_nations};
use crate::config::NodeDir;
use crate::control::{Backend, failure};
use crate::control_api::{Answer, Command, Concluded, Question};
use crate::disk::{Disk, DiskError, ExportAsides, NodeDisk, RealDisk, SEGMENT_BYTES};
use crate::driver::{Driver, DriverHandle, DriverOptions, Gone, Watch};
use crate::files;
use crate::keys::{HeadKey, KeyRoom, PassphraseSource, TokenError, Vault};
use crate::load::Bearings;
use crate::net::{Net, NetOptions};
use crate::ops::check::Check;
use crate::ops::clock::ClockWatch;
use crate::ops::expiry::Notices;
use crate::ops::meter::Meter;
use crate::ops::{Steps, Traces};
use crate::records::{Health, RecordReader};
use crate::renewal;
use crate::witness::HttpWitnesses;

pub(crate) use adopted::recorded_policies;
pub use error::RunError;
use groups::Hosting;
use officers::Roll;
use rules::{InForceNow, Keeper};
pub use run::{RunOptions, run};

/// How long closing the periods may take when the node stops.
const CLOSING: Duration = Duration::from_secs(5);
/// How often a draining node looks whether something is still under way.
const DRAIN_LOOK: Duration = Duration::from_millis(20);
/// How long the last traces may take to the collector.
const LAST_TRACES: Duration = Duration::from_secs(1);

/// The wall clock.
pub(crate) fn now() -> Millis {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Millis(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

/// A running node.
pub struct Node {
    dir: NodeDir,
    keys: Arc<KeyRoom>,
    /// Signs the heads of the log, for the engine and for whoever asks whether it does.
    signer: Arc<HeadKey>,
    bearings: Bearings,
    now: Arc<InForceNow>,
    hosting: Arc<Hosting>,
    driver: DriverHandle,
    disk: NodeDisk,
    net: Net,
    roll: Roll,
    desk: Desk,
    records: Arc<Health>,
    door: Option<Door>,
    meter: Arc<Meter>,
    traces: Option<Traces>,
    clock: ClockWatch,
    /// The last checks, and when they were made.
    checked: Mutex<Option<(Instant, Arc<Vec<Check>>)>>,
    /// When a question to the node itself succeeded last.
    asked_itself: std::sync::Mutex<Option<Instant>>,
    /// What the policies' folder was found to hold, when its files were like this.
    policies_seen: Mutex<Option<(Stamps, Result<puente_model::Digest, String>)>>,
    /// Which notices of what ends were given.
    notices: std::sync::Mutex<Notices>,
    /// Held while records that are due are erased.
    retaining: Mutex<()>,
    /// Nothing new is taken on any more.
    draining: AtomicBool,
    started: Instant,
    /// Somebody wants it to stop.
    stop: watch::Sender<bool>,
    /// It has stopped.
    stopped: watch::Sender<bool>,
}

impl std::fmt::Debug for Node {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Node({})", self.bearings.config.node)
    }
}

/// Name, length and time of every file of a folder.
type Stamps = Vec<(std::ffi::OsString, u64, Option<SystemTime>)>;

fn stamps(folder: &Path) -> Stamps {
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    let stamp = |entry: std::fs::DirEntry| {
        let meta = entry.metadata().ok()?;
        Some((entry.file_name(), meta.len(), meta.modified().ok()))
    };
    let mut stamps: Stamps = entries.filter_map(|entry| stamp(entry.ok()?)).take(4_096).collect();
    stamps.sort();
    stamps
}

/// Who may ask, and by which rules: the node records these by itself, from its folder and its charter.
const SETTLED_HERE: [EventKind; 7] = [
    EventKind::Grant,
    EventKind::Revoke,
    EventKind::BreakGlass,
    EventKind::Review,
    EventKind::PolicyChange,
    EventKind::CharterAdopted,
    EventKind::Start,
];

impl Node {
    /// Starts every part of the node in the folder `dir`; `tune` may change how it meets the network. Call it inside
    /// a Tokio runtime.
    ///
    /// # Errors
    /// [`RunError`]; nothing keeps running then.
    pub async fn start(dir: NodeDir, tune: impl FnOnce(&mut NetOptions)) -> Result<Self, RunError> {
        Self::start_with(dir, tune, Arc::new(Vault::new(PassphraseSource::Ask))).await
    }

    /// As [`Node::start`], with keys that `vault` opens.
    ///
    /// # Errors
    /// [`RunError`]; nothing keeps running then.
    pub async fn start_with(
        dir: NodeDir,
        tune: impl FnOnce(&mut NetOptions),
        vault: Arc<Vault>,
    ) -> Result<Self, RunError> {
        Self::start_on(dir, tune, vault, Arc::new(RealDisk)).await
    }

    async fn start_on(
        dir: NodeDir,
        tune: impl FnOnce(&mut NetOptions),
        vault: Arc<Vault>,
        real: Arc<dyn Disk>,
    ) -> Result<Self, RunError> {
        let bearings = Bearings::load(&dir)?;
        let config = &bearings.config;
        let recorded = |error| RunError::Key { path: dir.adopted_recorded().display().to_string(), error };
        if let Some(known) = adopted::behind(&dir, &bearings.charter).map_err(recorded)? {
            return Err(RunError::GoesBack { found: bearings.charter.vector(), known });
        }
        crate::parts::finish(&dir.charter())
            .map_err(|error| RunError::Key { path: dir.charter().display().to_string(), error })?;
        let policy = bearings.policies(&dir)?;
        let policy_hash = policy.hash();
        let mut approvals = Approvals::open(&dir, &config.node)?;
        let consent = adopted::policies_consent(&dir, &approvals, policy_hash)?;
        if let Consent::Waits(by) = consent {
            return Err(RunError::NotApproved { approved: by.len() });
        }
        let keys = Arc::new(KeyRoom::open(vault, &config.keys)?);
        let origin = config.origin().map_err(|error| RunError::Key {
            path: dir.config().display().to_string(),
            error: io::Error::other(error),
        })?;
        let signer = keys.log_signer(&dir, &origin, config.log)?;
        renewal::settle(&dir, keys.vault())
            .map_err(|error| RunError::Key { path: dir.tls_key().display().to_string(), error })?;
        let store_key = keys.secret(&dir.store_key())?;
        let identity = keys.identity(&dir, &config.node)?;
        let mut options = NetOptions::new(config.listen);
        options.tcp = config.network.tcp;
        tune(&mut options);

        let (disk, recovered) = NodeDisk::open_on(real, dir.path(), &store_key, signer.verifier(), SEGMENT_BYTES)?;
        tracing::info!(
            size = recovered.tree.size().0,
            replayed = recovered.replayed,
            torn_bytes = recovered.torn_bytes,
            "log opened"
        );
        let records = RecordReader::open(&dir, &config.records, &bearings.catalogue).await?;
        let records_health = records.health();
        let suspended = suspension::read(&dir)?;
        let seed = files::fresh_secret().map_err(|error| RunError::System { what: "randomness", error })?;
        let setup = Setup {
            node: config.node.clone(),
            log: config.log,
            charter: bearings.charter.clone(),
            catalogue: bearings.catalogue.clone(),
            policy: Arc::new(policy),
            signer: Box::new(Arc::clone(&signer)),
            tree: recovered.tree,
            tiles: Box::new(disk.tiles()),
            store: Box::new(disk.store()?),
            seed: *seed.expose(),
            tuning: Tuning {
                hit_valid_millis: u64::from(config.answering.hit_days) * 86_400_000,
                training: config.training.take_part,
                minor: options.minor,
                ..Tuning::default()
            },
            restored: suspended.is_some(),
        };
        let mut engine = Engine::new(setup, now())?.with_appeal(config.answering.appeal());
        let cosigner = crate::witness::signer(&dir, keys.vault(), &config.node, suspended.is_some())
            .map_err(|error| RunError::Key { path: dir.witness_key().display().to_string(), error })?;
        if let Some(cosigner) = cosigner {
            engine = engine.with_cosigner(Box::new(cosigner));
        }
        let hosting = Arc::new(Hosting::new(&dir, &keys, &signer));
        if let Some(setup) = hosting.setup(&bearings.charter) {
            engine = engine.with_groups(setup)?;
        }
        let ca = config.witnesses.ca.as_ref().map(|ca| dir.path().join(ca));
        let witnesses = HttpWitnesses::new(ca.as_deref())
            .map_err(|error| RunError::Key { path: dir.config().display().to_string(), error })?;
        let (wishes, wished) = tokio::sync::mpsc::unbounded_channel();
        let (on_rules, evidence) = rules::hooks(&wishes);
        let meter = Arc::new(Meter::new());
        let traces = config.ops.traces.clone().map(Traces::start).transpose();
        let traces = traces.map_err(|error| RunError::System { what: "a thread", error })?;
        let sink = traces.as_ref().map(|traces| traces.sink(config.ops.trace_one_in));
        let watched = config.ops.listen.is_some() || sink.is_some();
        let steps = Steps::new(config.node.clone(), meter.clone(), sink);
        let options_of_driver = DriverOptions {
            on_rules: Some(on_rules),
            on_cosigned: Some(cosigned::keeping(&dir, &disk)),
            witnesses: Some(witnesses),
            on_alarm: Some(suspension::remembering(&dir, evidence)),
            watch: watched.then(|| Arc::new(steps) as Arc<dyn Watch>),
            ..DriverOptions::default()
        };
        let (parts, driver) = Driver::new(options_of_driver);
        let net = Net::start(config.node.clone(), &bearings.charter, identity, options, driver.clone())?;
        let engine = parts
            .prepare(engine, disk.clone(), records, Box::new(net.clone()))
            .map_err(|error| RunError::System { what: "a thread", error })?;
        tokio::spawn(engine);
        let now_in_force = Arc::new(InForceNow::new(bearings.charter.clone(), policy_hash));
        let keeper = Keeper {
            dir: dir.clone(),
            bearings: bearings.clone(),
            net: net.clone(),
            driver: driver.clone(),
            now: Arc::clone(&now_in_force),
            hosting: Arc::clone(&hosting),
        };
        let roll = Roll::open(&dir)?;
        let desk = Desk::new(dir.clone(), &store_key);
        let (stop, stopped) = (watch::Sender::new(false), watch::Sender::new(false));
        let started = Instant::now();
        let clock = ClockWatch::new(SystemTime::now(), started);
        let (checked, policies_seen, draining) = (Mutex::default(), Mutex::default(), AtomicBool::new(false));
        let notices = std::sync::Mutex::new(Notices::open(&dir.notices()));
        let mut node = Self {
            retaining: Mutex::default(),
            dir,
            keys,
            signer,
            bearings,
            now: now_in_force,
            hosting,
            driver,
            disk,
            net,
            roll,
            desk,
            door: None,
            records: records_health,
            meter,
            traces,
            clock,
            checked,
            asked_itself: std::sync::Mutex::default(),
            policies_seen,
            notices,
            draining,
            started,
            stop,
            stopped,
        };
        match suspended {
            // Before anybody is served: what rules now, who may ask, and what was brought in while the node was down.
            None => {
                adopted::record(&node.dir, &node.bearings.charter, (policy_hash, &consent), &node.driver).await?;
                adopted::record_operators(&mut approvals, &node.driver).await?;
                node.roll.settle(&node.driver, &approvals).await.map_err(RunError::Officers)?;
                if !matches!(node.api_keys_settled().await, Answer::Officers { .. }) {
                    // Nobody is let in by what is not in the log; the node's own work goes on.
                    tracing::error!("the API keys could not be settled with the log: changes are not in force");
                }
                crate::import::stage::settle(&node.dir, Some(&node.bearings.config.records), &node.driver).await;
                crate::import::stage::settle(&node.dir.training(), None, &node.driver).await;
            }
            Some(why) => tracing::warn!("{why}"),
        }
        tokio::spawn(keeper.keep(wished));
        node.net.accept();
        if let Some(config) = &node.bearings.config.audit {
            let (disk, driver) = (node.disk.clone(), node.driver.clone());
            node.door = Some(Door::open(config, &node.net, disk, node.dir.charter(), driver).await?);
        }
        Ok(node)
    }

    /// The one line that says that the node runs, for programs that wait for it.
    pub fn ready(&self) -> serde_json::Value {
        let listen = self.net.local_addr().map(|at| at.to_string()).unwrap_or_default();
        json!({
            "ready": true,
            "node": self.bearings.config.node.as_str(),
            "listen": listen,
            "audit": self.door.as_ref().map(|door| door.local_addr().to_string()),
            "api": self.desk.at().map(|at| at.to_string()),
            "control": self.dir.control().display().to_string(),
            "pid": std::process::id(),
        })
    }

    /// Takes nothing new on: officers and peers are told to come again. Waits until what is under way with ready peers
    /// has ended, at most as long as the configuration says; what has not ended then goes on with the next start.
    pub async fn drain(&self) {
        self.draining.store(true, Ordering::Relaxed);
        *self.checked.lock().await = None;
        // Fails only if the engine's task has ended: then nothing is under way.
        let _ = self.driver.input_now(Input::Drain);
        let until = Instant::now() + Duration::from_secs(self.bearings.config.ops.drain_seconds);
        loop {
            let left = until.saturating_duration_since(Instant::now());
            match tokio::time::timeout(left, self.driver.view()).await {
                Ok(Ok(view)) if view.asking + view.holding == 0 => {
                    tracing::info!("drained: nothing is under way");
                    return;
                }
                Ok(Ok(view)) if left.is_zero() => {
                    let (asked, held) = (view.asking, view.holding);
                    tracing::warn!(asked, held, "not everything ended in time; the next start goes on with it");
                    return;
                }
                Ok(Ok(_)) => tokio::time::sleep(left.min(DRAIN_LOOK)).await,
                Ok(Err(_)) => return,
                Err(_) => {
                    tracing::warn!("the engine does not turn; not waiting for what is under way");
                    return;
                }
            }
        }
    }

    /// Makes the node's parts stop: periods closed unless told otherwise, everything sent, everything published.
    ///
    /// # Errors
    /// What is derived from the journal could not be written; nothing acknowledged is lost.
    pub async fn shut_down(&self, leave_periods_open: bool) -> Result<(), DiskError> {
        if let Some(door) = &self.door {
            door.close().await;
        }
        if !leave_periods_open {
            match tokio::time::timeout(CLOSING, self.driver.close_periods()).await {
                Ok(Ok(Conclusion::PeriodsClosed { closed, unreachable })) => {
                    tracing::info!(closed, unreachable = unreachable.len(), "periods closed");
                }
                Ok(_) => {}
                Err(_) => tracing::warn!("not every peer closed its periods in time; the next start goes on with them"),
            }
        }
        self.net.shut_down().await;
        let stopped = self.driver.shutdown().await;
        if let Some(traces) = self.traces.clone() {
            // Traces that do not get through in time are lost.
            let _ = tokio::task::spawn_blocking(move || traces.flush(LAST_TRACES)).await;
        }
        stopped
    }

    /// Whether the token with the node's keys is there.
    async fn probe_token(&self) -> Result<(), TokenError> {
        let Some(token) = self.keys.token() else { return Ok(()) };
        let (keys, log) = (Arc::clone(&self.keys), self.bearings.config.log);
        let silent = TokenError::Silent(token.name().to_owned());
        tokio::task::spawn_blocking(move || keys.probe(log)).await.unwrap_or(Err(silent))
    }

    /// Ends when the token with the node's keys does not answer; never without a token.
    async fn token_away(&self) -> TokenError {
        if self.keys.token().is_none() {
            return std::future::pending().await;
        }
        loop {
            if let Err(error) = self.probe_token().await {
                return error;
            }
            tokio::time::sleep(DRAIN_LOOK).await;
        }
    }

    async fn query(&self, question: Question, half: Option<Half>) -> Answer {
        if self.draining.load(Ordering::Relaxed) {
            return failure("stopping", Gone, "ask again when the node runs");
        }
        let officer = match self.roll.officer(&question.officer, now()) {
            Ok(officer) => officer,
            Err(error) => {
                let hint = "list the officers with 'puente officer list'";
                return failure("officer", error, hint);
            }
        };
        let draft = question.draft(officer, now(), half);
        concluded(self.driver.ask(draft).await)
    }

    /// Asks every member of a group.
    async fn group_query(&self, group: String, question: Question) -> Answer {
        // Within a federation a corridor's own name says enough.
        let name = match group.contains('/') {
            true => group,
            false => format!("{}/{group}", self.now.charter.load().federation()),
        };
        let Ok(group) = name.parse() else {
            return failure("group", format!("'{name}' is no group's name"), "'puente group list' names them");
        };
        match self.roll.officer(&question.officer, now()) {
            Ok(officer) => {
                let draft = Box::new(question.draft(officer, now(), None));
                concluded(self.driver.wish(|ticket| Input::GroupQuestion { ticket, group, draft }).await)
            }
            Err(error) => failure("officer", error, "list the officers with 'puente officer list'"),
        }
    }

    async fn on_disk<T: Send + 'static>(
        &self,
        work: impl FnOnce(&NodeDisk) -> Result<T, DiskError> + Send + 'static,
    ) -> Result<T, Answer> {
        let disk = self.disk.clone();
        let done = tokio::task::spawn_blocking(move || work(&disk)).await;
        let hint = "check the disk; 'puente node status' says more";
        match done {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(error)) => Err(failure("disk", error, hint)),
            Err(error) => Err(failure("internal", error, "report this")),
        }
    }

    async fn export(&self, to: std::path::PathBuf, own: bool) -> Answer {
        if !to.is_absolute() {
            return failure("path", "the folder of the copy must be absolute", "name it from the root on");
        }
        let ledgers = to.clone();
        let exported = self.on_disk(move |disk| {
            if own {
                return disk.export(&to, &ExportAsides::All);
            }
            disk.export(&to, &ExportAsides::Only(&for_other_nations))
        });
        let exported = exported.await;
        if exported.is_ok()
            && let Err(answer) = self.export_ledgers(vec![ledgers]).await
        {
            return answer;
        }
        match exported {
            Ok(done) => Answer::Exported { size: done.size, files: done.files, asides: done.asides },
            Err(answer) => answer,
        }
    }
}

fn concluded(conclusion: Result<Conclusion, Gone>) -> Answer {
    match conclusion {
        Ok(conclusion) => Answer::Concluded(Box::new(Concluded::from(&conclusion))),
        Err(gone) => failure("stopping", gone, "start the node, then try again"),
    }
}

impl Backend for Node {
    async fn carry_out(&self, command: Command) -> Answer {
        let records = !matches!(
            command,
            Command::Status
                | Command::Questions(_)
                | Command::QuestionStatus { .. }
                | Command::Reload
                | Command::Shutdown
        );
        if records && let Err(error) = self.probe_token().await {
            // Otherwise the command would wait for as long as the token is away.
            return failure("token", &error, error.mend());
        }
        match command {
            Command::Query(question) => self.query(*question, None).await,
            Command::GroupQuery { group, question } => self.group_query(group, *question).await,
            Command::Questions(list) => self.questions(list).await,
            Command::QuestionStatus { exchange } => self.question_status(exchange).await,
            Command::QuestionAwait { exchange } => concluded(self.driver.await_end(exchange).await),
            Command::QuestionResult { exchange, officer } => self.look(exchange, &officer).await,
            Command::QuestionExamine(examined) => self.examine(*examined).await,
            Command::QuestionCancel { exchange } => {
                concluded(self.driver.wish(|ticket| Input::Withdraw { ticket, exchange }).await)
            }
            Command::Inbox => self.inbox().await,
            Command::InboxReviews => self.reviews().await,
            Command::InboxReviewed { exchange, officer, note } => self.reviewed(exchange, &officer, note).await,
            Command::Matters => self.matters().await,
            Command::InboxShow { exchange, officer } => self.inspect(exchange, &officer).await,
            Command::InboxDecide { exchange, officer, decision } => self.decide(exchange, &officer, decision).await,
            Command::Status => Answer::Status { status: self.status().await },
            Command::Support => Answer::Support { metrics: self.metrics().await, lines: crate::ops::recent::lines() },
            Command::Officers => self.officers_settled().await,
            Command::ApiKeys => self.api_keys_settled().await,
            Command::Event(event) => match puente_exchange::api::LocalEvent::try_from(event) {
                // Who may ask, and by which rules, the node settles itself, from its folder.
                Ok(event) if SETTLED_HERE.contains(&event.kind) => failure(
                    "not-allowed",
                    "events of governance are recorded by the node itself",
                    "use the command that makes the change",
                ),
                Ok(event) => concluded(self.driver.event(event).await),
                Err(_) => failure("malformed", "'detail' is not hexadecimal", "encode the details"),
            },
            Command::ClosePeriods => concluded(self.driver.close_periods().await),
            Command::Publish => match self.on_disk(NodeDisk::publish).await {
                Ok(_) => Answer::Done,
                Err(answer) => answer,
            },
            Command::Export { to, own } => self.export(to, own).await,
            Command::Adopt { from } => self.adopt(from).await,
            Command::Reload => Answer::Reloaded { items: self.reload().await },
            Command::ReloadCertificate => Answer::Reloaded { items: vec![self.reload_certificate().await] },
            Command::AlertPublish(wished) => self.publish_alert(*wished).await,
            Command::AlertAcknowledge { alert, officer, note } => self.acknowledge_alert(alert, &officer, note).await,
            Command::AlertCancel { alert, officer, reason } => self.cancel_alert(alert, &officer, reason).await,
            Command::Alerts => self.alerts().await,
            Command::Groups => self.list_groups().await,
            Command::Group { group, want } => self.want_of_group(&group, want).await,
            Command::Block { peer, reason } => self.bar(peer, Some(reason)).await,
            Command::Unblock { peer } => self.bar(peer, None).await,
            Command::Leave { reason, to } => self.leave(reason, to).await,
            Command::Retain => self.retain_now().await,
            Command::Snapshot { to } => {
                if !to.is_absolute() {
                    return failure("path", "the folder of the copy must be absolute", "name it from the root on");
                }
                match self.on_disk(move |disk| disk.snapshot(&to)).await {
                    Ok(done) => Answer::Snapshot { size: done.size, asides_len: done.asides_len },
                    Err(answer) => answer,
                }
            }
            Command::Shutdown => {
                let mut stopped = self.stopped.subscribe();
                self.stop.send_replace(true);
                // Fails only if the node is gone, and then it has stopped.
                let _ = stopped.wait_for(|stopped| *stopped).await;
                Answer::Done
            }
        }
    }
}
