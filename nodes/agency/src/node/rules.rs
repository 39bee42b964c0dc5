//! Other rules while the node runs: charter parts, policies, the certificate. Everything is checked before anything
//! changes; what does not hold leaves what is in force as it is, and is named.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use puente_charter::{Charter, CharterError, ClaimedPart, Conviction};
use puente_exchange::api::{Alarm, Conclusion, Input, Rules};
use puente_model::{Digest, NodeUri, OfficerId};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender};

use super::adopted::{self, Adopted, Operators, policies_consent};
use super::groups::Hosting;
use super::{Node, concluded, now};
use crate::approval::grants::Settled;
use crate::approval::{ApprovalError, Approvals, Consent};
use crate::config::NodeDir;
use crate::control::failure;
use crate::control_api::{Answer, Reloaded};
use crate::driver::{AlarmHook, DriverHandle, Gone, RulesHook, RulesStep};
use crate::keys::RoomError;
use crate::load::{self, Bearings};
use crate::net::Net;
use crate::{files, parts};

/// What rules the node now, for whoever looks.
pub(super) struct InForceNow {
    pub(super) charter: ArcSwap<Charter>,
    /// Whom the node keeps out, and why.
    pub(super) barred: ArcSwap<BTreeMap<NodeUri, String>>,
    pub(super) policy: ArcSwap<Digest>,
    /// Why the policies do not hold under the charter in force; the ones before them still rule.
    pub(super) problem: Mutex<Option<String>>,
}

impl InForceNow {
    pub(super) fn new(charter: Arc<Charter>, policy: Digest) -> Self {
        Self {
            charter: ArcSwap::new(charter),
            barred: ArcSwap::default(),
            policy: ArcSwap::from_pointee(policy),
            problem: Mutex::default(),
        }
    }

    pub(super) fn problem(&self) -> Option<String> {
        self.problem.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set_problem(&self, problem: Option<String>) {
        *self.problem.lock().unwrap_or_else(PoisonError::into_inner) = problem;
    }
}

/// What the engine asks the keeper for.
pub(super) enum Wish {
    Step(RulesStep),
    Evidence(Conviction, Vec<u8>),
}

/// Hooks of the driver that pass wishes on.
pub(super) fn hooks(wishes: &UnboundedSender<Wish>) -> (RulesHook, AlarmHook) {
    let (steps, evidence) = (wishes.clone(), wishes.clone());
    // Both fail only when the node is gone.
    let on_rules = move |step| drop(steps.send(Wish::Step(step)));
    let on_alarm = move |alarm: &Alarm| {
        if let Alarm::TwoParts { conviction, evidence: bytes } = alarm {
            drop(evidence.send(Wish::Evidence(conviction.clone(), bytes.clone())));
        }
    };
    (Box::new(on_rules), Box::new(on_alarm))
}

/// Keeps charter parts and evidence, one thing after the other.
pub(super) struct Keeper {
    pub(super) dir: NodeDir,
    pub(super) bearings: Bearings,
    pub(super) net: Net,
    pub(super) driver: DriverHandle,
    pub(super) now: Arc<InForceNow>,
    pub(super) hosting: Arc<Hosting>,
}

impl Keeper {
    pub(super) async fn keep(self, mut wishes: UnboundedReceiver<Wish>) {
        let keeper = Arc::new(self);
        // What the log will know once a charter is in force.
        let mut coming: Option<Adopted> = None;
        while let Some(wish) = wishes.recv().await {
            match wish {
                Wish::Step(RulesStep::Keep(charter, parts)) => {
                    let vector = charter.vector().to_string();
                    let worker = Arc::clone(&keeper);
                    let kept = tokio::task::spawn_blocking(move || worker.keep_parts(charter, &parts)).await;
                    let input = match kept {
                        Ok(Ok((adopted, rules))) => {
                            tracing::info!(charter = vector, "charter parts kept");
                            coming = Some(adopted);
                            Input::Kept(rules)
                        }
                        Ok(Err(error)) => {
                            tracing::error!(charter = vector, "the charter cannot be adopted: {error}");
                            Input::NotKept
                        }
                        Err(error) => {
                            tracing::error!(charter = vector, "the charter cannot be adopted: {error}");
                            Input::NotKept
                        }
                    };
                    // Fails only when the engine is gone.
                    let _ = keeper.driver.input_now(input);
                }
                Wish::Step(RulesStep::InForce(rules)) => {
                    let vector = rules.charter.vector().to_string();
                    keeper.now.charter.store(Arc::clone(&rules.charter));
                    keeper.now.barred.store(Arc::new(rules.barred));
                    if let Some(adopted) = coming.take_if(|adopted| adopted.is_under(&vector)) {
                        tracing::info!(charter = vector, "in force");
                        keeper.write_down(&adopted);
                    }
                    keeper.hosting.follow(&rules.charter, &keeper.driver).await;
                }
                Wish::Evidence(conviction, bytes) => keeper.write_evidence(&conviction, &bytes),
            }
        }
    }

    fn write_down(&self, adopted: &Adopted) {
        if let Err(error) = adopted.write(&self.dir) {
            // The next start records it once more; nothing is lost.
            tracing::warn!("what is in force could not be written down: {error}");
        }
    }

    fn keep_parts(&self, charter: Arc<Charter>, new: &[ClaimedPart]) -> Result<(Adopted, Rules), String> {
        self.net.check(&charter).map_err(|error| error.to_string())?;
        parts::keep(&self.dir.charter(), new).map_err(|error| error.to_string())?;
        let bearings = Bearings { charter: Arc::clone(&charter), ..self.bearings.clone() };
        let approvals = Approvals::open(&self.dir, &self.bearings.config.node).map_err(|error| error.to_string())?;
        let mut consent = Consent::Free;
        let policy = match bearings.policies(&self.dir) {
            Ok(policy) => {
                consent = policies_consent(&self.dir, &approvals, policy.hash()).map_err(|error| error.to_string())?;
                // Other files than those in force, and nobody approved them: the ones before stay.
                let waiting = matches!(consent, Consent::Waits(_));
                self.now.set_problem(waiting.then(|| waits(&[])));
                (!waiting).then(|| Arc::new(policy))
            }
            Err(error) => {
                tracing::error!("the policies do not hold under the new charter; the ones before stay: {error}");
                self.now.set_problem(Some(error.to_string()));
                None
            }
        };
        let hash = policy.as_ref().map_or(**self.now.policy.load(), |policy| policy.hash());
        let adopted = Adopted::of(&charter, hash);
        let events = adopted.since(&self.dir, &consent).map_err(|error| error.to_string())?;
        self.now.policy.store(Arc::new(hash));
        Ok((adopted, Rules { charter: Some(charter), policy, events }))
    }

    fn write_evidence(&self, conviction: &Conviction, bytes: &[u8]) {
        let name = match conviction {
            Conviction::TwoAnnexes { jurisdiction, number, .. } => format!("two-annexes-{jurisdiction}-{number}.bin"),
            Conviction::TwoCommonParts { number, .. } => format!("two-common-parts-{number}.bin"),
        };
        let folder = self.dir.findings();
        let written = files::make_private_dir(&folder).and_then(|()| files::replace(&folder.join(name), bytes, false));
        if let Err(error) = written {
            // The evidence store holds it as the detail of its entry.
            tracing::error!("evidence could not be written: {error}");
        }
    }
}

impl Node {
    /// Adopts the parts of a folder.
    pub(super) async fn adopt(&self, from: std::path::PathBuf) -> Answer {
        let parts = match tokio::task::spawn_blocking(move || load::charter_parts(&from)).await {
            Ok(Ok(parts)) => parts,
            Ok(Err(error)) => return failure(error.code(), &error, &error.mend()),
            Err(error) => return failure("internal", error, "report this"),
        };
        adopted(self.driver.offer(parts).await)
    }

    /// Blocks a peer, or takes the block away.
    pub(super) async fn bar(&self, peer: NodeUri, reason: Option<String>) -> Answer {
        concluded(self.driver.bar(peer, reason).await)
    }

    /// Reads certificate, charter folder and policies again.
    pub(super) async fn reload(&self) -> Vec<Reloaded> {
        let done = vec![
            self.reload_certificate().await,
            self.reload_charter().await,
            self.reload_operators().await,
            self.reload_policies().await,
            self.reload_officers().await,
            self.reload_api_keys().await,
        ];
        for item in &done {
            match item.outcome.as_str() {
                "failed" => tracing::error!(what = item.what, "not reloaded: {}; {}", item.message, item.mend),
                outcome => tracing::info!(what = item.what, outcome, "reloaded"),
            }
        }
        done
    }

    /// Reads the certificate and its key again.
    pub(super) async fn reload_certificate(&self) -> Reloaded {
        const WHAT: &str = "certificate";
        let (chain, key) = match self.keys.tls(&self.dir) {
            Ok(found) => found,
            Err(RoomError::Token(error)) => return Reloaded::failed(WHAT, &error, error.mend()),
            Err(error) => return Reloaded::failed(WHAT, error, "check who owns the file"),
        };
        match self.net.replace_identity(&chain, key) {
            Ok(changed) => {
                if changed {
                    self.hosting.renewed(&self.now.charter.load_full(), &self.driver).await;
                }
                Reloaded::done(WHAT, changed)
            }
            Err(error) => Reloaded::failed(WHAT, error, "issue a certificate for this node: puente ca issue"),
        }
    }

    async fn reload_charter(&self) -> Reloaded {
        const WHAT: &str = "charter";
        let folder = self.dir.charter();
        let parts = match tokio::task::spawn_blocking(move || load::charter_parts(&folder)).await {
            Ok(Ok(parts)) => parts,
            Ok(Err(error)) => return Reloaded::failed(WHAT, &error, &error.mend()),
            Err(error) => return Reloaded::failed(WHAT, error, "report this"),
        };
        match adopted(self.driver.offer(parts).await) {
            Answer::Adopted { changed, .. } => Reloaded::done(WHAT, changed),
            Answer::NotAdopted { message, hint, .. } | Answer::Error { message, hint, .. } => {
                Reloaded::failed(WHAT, message, &hint)
            }
            _ => Reloaded::failed(WHAT, "the node is stopping", "start the node, then try again"),
        }
    }

    /// The rule of two people and its approvals, as the folder holds them now.
    pub(super) fn approvals(&self) -> Result<Approvals, ApprovalError> {
        Approvals::open(&self.dir, &self.bearings.config.node)
    }

    async fn reload_operators(&self) -> Reloaded {
        const WHAT: &str = "operators";
        let mut approvals = match self.approvals() {
            Ok(approvals) => approvals,
            Err(error) => return Reloaded::failed(WHAT, &error, error.mend()),
        };
        match adopted::record_operators(&mut approvals, &self.driver).await {
            Ok(Operators::Same) => Reloaded::done(WHAT, false),
            Ok(Operators::Changed) => Reloaded::done(WHAT, true),
            Ok(Operators::Waits) => Reloaded::failed(WHAT, waits(&[]), SIGN),
            Ok(Operators::NotRecorded) => Reloaded::failed(WHAT, LOG, MEND_LOG),
            Err(error) => Reloaded::failed(WHAT, &error, error.mend()),
        }
    }

    async fn reload_officers(&self) -> Reloaded {
        reloaded("officers", self.officers_settled().await)
    }

    async fn reload_api_keys(&self) -> Reloaded {
        reloaded("api-keys", self.api_keys_settled().await)
    }

    /// Records what the officers' files hold and the log does not.
    pub(super) async fn officers_settled(&self) -> Answer {
        match self.approvals() {
            Ok(approvals) => {
                settled(self.roll.settle(&self.driver, &approvals).await, "officers", "mend officers.toml")
            }
            Err(error) => failure(error.code(), &error, error.mend()),
        }
    }

    /// Records what the API keys' files hold and the log does not.
    pub(super) async fn api_keys_settled(&self) -> Answer {
        match self.approvals() {
            Ok(approvals) => {
                let role = |id: &OfficerId| self.roll.role(id);
                let done = self.desk.ring.settle(&self.driver, &approvals, role, now()).await;
                settled(done, "api-keys", "mend api-keys.toml")
            }
            Err(error) => failure(error.code(), &error, error.mend()),
        }
    }

    async fn reload_policies(&self) -> Reloaded {
        const WHAT: &str = "policies";
        let charter = self.now.charter.load_full();
        let bearings = Bearings { charter: Arc::clone(&charter), ..self.bearings.clone() };
        let dir = self.dir.clone();
        let policy = match tokio::task::spawn_blocking(move || bearings.policies(&dir)).await {
            Ok(Ok(policy)) => Arc::new(policy),
            Ok(Err(error)) => return Reloaded::failed(WHAT, &error, &error.mend()),
            Err(error) => return Reloaded::failed(WHAT, error, "report this"),
        };
        let hash = policy.hash();
        if hash == **self.now.policy.load() && self.now.problem().is_none() {
            return Reloaded::done(WHAT, false);
        }
        let adopted = Adopted::of(&charter, hash);
        let consent = self.approvals().and_then(|approvals| policies_consent(&self.dir, &approvals, hash));
        let events = match consent {
            Ok(Consent::Waits(by)) => return Reloaded::failed(WHAT, waits(&by), SIGN),
            Ok(consent) => adopted.since(&self.dir, &consent),
            Err(error) => return Reloaded::failed(WHAT, &error, error.mend()),
        };
        let events = match events {
            Ok(events) => events,
            Err(error) => return Reloaded::failed(WHAT, error, "check who owns adopted.recorded.toml"),
        };
        match self.driver.rules(Rules { charter: None, policy: Some(policy), events }).await {
            Ok(Conclusion::InForce { .. }) => {
                self.now.policy.store(Arc::new(hash));
                self.now.set_problem(None);
                if let Err(error) = adopted.write(&self.dir) {
                    // The next start records it once more; nothing is lost.
                    tracing::warn!("what is in force could not be written down: {error}");
                }
                Reloaded::done(WHAT, true)
            }
            _ => Reloaded::failed(WHAT, LOG, MEND_LOG),
        }
    }
}

pub(super) const LOG: &str = "the log cannot be written";
pub(super) const MEND_LOG: &str = "mend the disk, then start the node again";
const SIGN: &str =
    "two operators approve it, each with 'puente approval sign'; 'puente approval list' shows what waits";

/// Who has approved, and that it is not enough.
fn waits(by: &[String]) -> String {
    match by {
        [] => "it needs the approval of two operators".to_owned(),
        by => format!("it needs the approval of two operators; {} has approved", by.join(", ")),
    }
}

/// What came of settling officers or API keys with the log, for the command.
fn settled<E: std::fmt::Display>(done: Result<Settled, E>, code: &str, mend: &str) -> Answer {
    match done {
        Ok(settled) if settled.failed > 0 => failure("log-unavailable", LOG, MEND_LOG),
        Ok(Settled { recorded, waiting, .. }) => Answer::Officers {
            recorded: recorded.into_iter().map(|(kind, index)| (kind.as_str().to_owned(), index.0)).collect(),
            waiting,
        },
        Err(error) => failure(code, error, mend),
    }
}

/// The same, for a reload.
fn reloaded(what: &str, settled: Answer) -> Reloaded {
    match settled {
        Answer::Officers { waiting: 1.., .. } => Reloaded::failed(what, waits(&[]), SIGN),
        Answer::Officers { recorded, .. } => Reloaded::done(what, !recorded.is_empty()),
        Answer::Error { message, hint, .. } => Reloaded::failed(what, message, &hint),
        _ => Reloaded::failed(what, LOG, MEND_LOG),
    }
}

/// What came of an offer, for the operator.
fn adopted(conclusion: Result<Conclusion, Gone>) -> Answer {
    match conclusion {
        Ok(Conclusion::InForce { vector, changed }) => Answer::Adopted { vector: vector.to_string(), changed },
        Ok(Conclusion::NotAdopted(error)) => not_adopted(&error),
        other => concluded(other),
    }
}

fn not_adopted(error: &CharterError) -> Answer {
    Answer::NotAdopted { code: error.code().to_owned(), message: error.to_string(), hint: error.mend().to_owned() }
}
