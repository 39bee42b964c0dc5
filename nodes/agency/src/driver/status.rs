//! What the driver shows of itself: numbers and names of nodes, never content.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use puente_exchange::api::{Alarm, ConnectionId, Input};
use puente_model::{Millis, NodeUri};

use crate::disk::{DiskStatus, NodeDisk};

/// Alarms remembered for status.
const ALARMS_MAX: usize = 32;

/// How the engine's task is doing.
#[derive(Debug, Clone, Default)]
pub struct DriverStatus {
    /// Inputs waiting for the engine.
    pub pending: u64,
    /// Batches written in this run.
    pub batches: u64,
    /// Entries written in this run.
    pub entries: u64,
    /// Why the log cannot be written, if so: nothing is asked or answered then.
    pub log_unavailable: Option<String>,
    /// The engine's task has ended.
    pub stopped: bool,
    /// The disk.
    pub disk: DiskStatus,
    /// Peers seen in this run.
    pub peers: Vec<PeerStatus>,
    /// The newest alarms, oldest first: when, and what, in words for an operator.
    pub alarms: Vec<(Millis, String)>,
    /// Answers of this run that found records, by the name of the match key.
    pub matched: BTreeMap<String, u64>,
    /// Alarms since the start, with those no longer remembered.
    pub alarms_total: u64,
    /// Peers that hold nothing of a restored log that the log cannot prove.
    pub agreed: Vec<String>,
    /// A peer holds a head that this node's log cannot prove.
    pub behind_own_heads: bool,
    /// How long the batch that is being written has been on its way to the disk.
    pub writing: Option<Duration>,
}

/// A peer, as its connections show it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerStatus {
    /// Who.
    pub peer: NodeUri,
    /// Connections that stand.
    pub connections: usize,
    /// When a connection last began, ended or failed to begin.
    pub since: Millis,
    /// Since when no connection stands; none while one does.
    pub lost: Option<Millis>,
}

/// What the threads write and [`DriverStatus`] is read from.
#[derive(Default)]
pub(super) struct Shown {
    pub(super) queued: AtomicU64,
    pub(super) batches: AtomicU64,
    pub(super) entries: AtomicU64,
    pub(super) stopped: AtomicBool,
    disk: Mutex<DiskShown>,
    detail: Mutex<Detail>,
}

/// The disk while the thread runs, and its last word.
#[derive(Default)]
pub(super) enum DiskShown {
    #[default]
    NotYet,
    Live(NodeDisk),
    Ended(DiskStatus),
}

#[derive(Default)]
struct Detail {
    failed: Option<String>,
    peers: BTreeMap<NodeUri, PeerStatus>,
    connections: HashMap<ConnectionId, NodeUri>,
    alarms: VecDeque<(Millis, String)>,
    matched: BTreeMap<String, u64>,
    alarms_total: u64,
    agreed: BTreeSet<String>,
    behind_own_heads: bool,
    writing_since: Option<Instant>,
}

impl Detail {
    fn peer(&mut self, peer: &NodeUri, now: Millis, change: impl FnOnce(&mut PeerStatus)) {
        let entry = self.peers.entry(peer.clone());
        let status = entry.or_insert_with(|| PeerStatus { peer: peer.clone(), connections: 0, since: now, lost: None });
        status.since = now;
        change(status);
        status.lost = if status.connections > 0 { None } else { status.lost.or(Some(now)) };
    }
}

impl Shown {
    fn detail(&self) -> MutexGuard<'_, Detail> {
        self.detail.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn show_disk(&self, disk: DiskShown) {
        *self.disk.lock().unwrap_or_else(PoisonError::into_inner) = disk;
    }

    /// Follows who is connected.
    pub(super) fn see(&self, now: Millis, input: &Input) {
        match input {
            Input::Connected { connection, peer, .. } => {
                let mut detail = self.detail();
                detail.connections.insert(*connection, peer.clone());
                detail.peer(peer, now, |status| status.connections += 1);
            }
            Input::Disconnected { connection } => {
                let mut detail = self.detail();
                if let Some(peer) = detail.connections.remove(connection) {
                    detail.peer(&peer, now, |status| status.connections = status.connections.saturating_sub(1));
                }
            }
            Input::DialFailed { peer } => self.detail().peer(peer, now, |_| ()),
            _ => (),
        }
    }

    /// A batch goes to the disk, or has come back.
    pub(super) fn writing(&self, now: bool) {
        self.detail().writing_since = now.then(Instant::now);
    }

    pub(super) fn fail(&self, reason: String) {
        self.detail().failed.get_or_insert(reason);
    }

    /// Counts an answer under the key that found records; there are as many names as the catalogue has keys.
    pub(super) fn matched(&self, key: String) {
        *self.detail().matched.entry(key).or_default() += 1;
    }

    pub(super) fn alarm(&self, now: Millis, alarm: &Alarm) {
        let text = describe(alarm);
        if let Alarm::OwnLogAgrees { peer } = alarm {
            tracing::info!(%peer, "{text}");
            self.detail().agreed.insert(peer.to_string());
            return;
        }
        tracing::error!(alarm = %text, "alarm");
        let mut detail = self.detail();
        if detail.alarms.len() == ALARMS_MAX {
            detail.alarms.pop_front();
        }
        detail.alarms.push_back((now, text));
        detail.alarms_total += 1;
        detail.behind_own_heads |= matches!(alarm, Alarm::OwnLogBehind { .. });
    }

    pub(super) fn status(&self) -> DriverStatus {
        let disk = match &*self.disk.lock().unwrap_or_else(PoisonError::into_inner) {
            DiskShown::NotYet => DiskStatus::default(),
            DiskShown::Live(disk) => disk.status(),
            DiskShown::Ended(status) => status.clone(),
        };
        let detail = self.detail();
        DriverStatus {
            pending: self.queued.load(Ordering::Relaxed),
            batches: self.batches.load(Ordering::Relaxed),
            entries: self.entries.load(Ordering::Relaxed),
            log_unavailable: detail.failed.clone(),
            stopped: self.stopped.load(Ordering::Relaxed),
            disk,
            peers: detail.peers.values().cloned().collect(),
            alarms: detail.alarms.iter().cloned().collect(),
            matched: detail.matched.clone(),
            alarms_total: detail.alarms_total,
            agreed: detail.agreed.iter().cloned().collect(),
            behind_own_heads: detail.behind_own_heads,
            writing: detail.writing_since.map(|since| since.elapsed()),
        }
    }
}

/// An alarm in words: what happened, and what to do.
fn describe(alarm: &Alarm) -> String {
    match alarm {
        Alarm::Fork { peer, .. } => format!(
            "{peer} signed two heads that cannot both be honest; both are kept: stop exchanging with it and tell the \
             auditors"
        ),
        Alarm::HeadsUnproven { peer, .. } => format!(
            "{peer} signed two heads and cannot prove that one extends the other; both are kept: stop exchanging with it \
             and have the auditors compare them with its log"
        ),
        Alarm::OwnLogBehind { peer, .. } => format!(
            "{peer} holds a signed head of this node's log that the log cannot prove: it lost its tail. Nothing \
             more is recorded, asked or answered; stop the node and run 'puente log successor'"
        ),
        Alarm::OwnLogAgrees { peer } => {
            format!("the restored log has everything that {peer} holds of it")
        }
        Alarm::PeriodMismatch { peer } => {
            format!("{peer} and this node recorded different entries in a period: run an audit of the pair")
        }
        Alarm::TwoParts { conviction, .. } => {
            format!(
                "{conviction}: both are kept in the folder 'findings'; tell every governance office and the auditors"
            )
        }
        Alarm::CharterRefused { peer, why } => format!("{peer} is under another charter, which was not adopted: {why}"),
        Alarm::WitnessAhead { witness, size, own } => format!(
            "the witness {witness} says that it cosigned {size} entries of this node's log, which has {own}: if the log was set \
             back, stop the node and run 'puente log successor'; else tell the witness's operator and the auditors"
        ),
        Alarm::WitnessRefuses { witness, why } => {
            format!(
                "the witness {witness} does not cosign this node's log: {why}; compare the charter with its configuration"
            )
        }
        Alarm::CosignatureForgotten { log, .. } => format!(
            "this node was shown a cosignature of its own over {log}'s log that it does not remember: its memory was set back, or \
             its key is used elsewhere; make a new witness key, have the charter name it, and tell the auditors"
        ),
        Alarm::LedgerFork { ledger, .. } => format!(
            "two heads of one size of {ledger} were signed by who proposes in it, and cannot both be honest; tell the auditors of \
             every nation"
        ),
        Alarm::Group(alarm) => describe_group(alarm),
        Alarm::LogUnavailable => {
            "the log cannot be written: nothing is asked or answered; mend the disk, then start the node again"
                .to_owned()
        }
        Alarm::StoreUnavailable(reason) => format!("the evidence store cannot be read: {reason}"),
    }
}

/// An alarm about a group in words: what happened, and what to do.
fn describe_group(alarm: &puente_corridor::Alarm) -> String {
    use puente_corridor::Alarm as A;
    match alarm {
        A::Convicted { group, .. } => {
            format!(
                "somebody who orders or witnesses {group} contradicted itself, proven; tell the auditors of every nation"
            )
        }
        A::Wedged { ledger, index } => format!(
            "no commit can be ordered in {ledger} any more, at index {index}: witnesses hold different entries; every nation's \
             governance signs a reboot"
        ),
        A::Withheld { group, convener } => {
            format!(
                "{convener} is there and does not order what was submitted to {group}, or too few witnesses answer it"
            )
        }
        A::Forgotten { group, witness } => format!(
            "the witness {witness} knows {group}, and this node, which is to make it, does not: it lost what it kept, and enters \
             the group anew as soon as a member lets it in"
        ),
        A::Rejoining { group, why } => format!("this node cannot follow {group} any more and enters it anew: {why}"),
    }
}
