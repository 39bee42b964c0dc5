//! How an engine comes to be: what it is made of, and whether charter, log and store fit together.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::Arc;

use puente_audit_log::{Log, Signer, TileReader, VerifierKey};
use puente_catalogue::Catalogue;
use puente_charter::Charter;
use puente_model::{EventKind, Millis, NodeUri};
use puente_policy::{Judge, PolicySet};
use puente_wire::fault::FaultCode;
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng as _;

use super::{Engine, Standing, Then, Timer};
use crate::adoption::Changes;
use crate::api::{LocalEvent, Store};
use crate::cosigning::{Gathering, Quorum, Withheld, Witnessing};
use crate::groups::Groups;
use crate::ledger::{Ledger, Tuning};
use crate::peer::{Peer, number_of};
use crate::persist;
use crate::seeds::Seeds;
use crate::standing::Kept;

/// What an engine is made of.
pub struct Setup {
    /// This node.
    pub node: NodeUri,
    /// k of its log's origin `…/log<k>`.
    pub log: u32,
    /// The charter in force.
    pub charter: Arc<Charter>,
    /// The catalogue in use.
    pub catalogue: Arc<Catalogue>,
    /// The node's policies.
    pub policy: Arc<PolicySet>,
    /// Signs heads.
    pub signer: Box<dyn Signer + Send>,
    /// The log, opened under its durable head.
    pub tree: Log,
    /// The log's files.
    pub tiles: Box<dyn TileReader + Send>,
    /// The evidence store.
    pub store: Box<dyn Store + Send>,
    /// Fresh randomness of the operating system.
    pub seed: [u8; 32],
    /// Batch sizes and waits.
    pub tuning: Tuning,
    /// The log comes from a backup, and nobody has said yet that it may go on: heads are compared with every peer
    /// that connects, and nothing is recorded, asked or answered.
    pub restored: bool,
}

/// How to appeal against a refusal of this agency's, in both languages; empty where nobody says.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Appeal {
    /// English.
    pub en: String,
    /// Spanish.
    pub es: String,
}

/// Why an engine cannot start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The node is not in the charter.
    #[error("{0} is not an active member of the charter: check the annex of its nation")]
    NotAMember(NodeUri),
    /// The log's key or origin is not the charter's.
    #[error("the charter names another log for this node ({0}): check keys/log.key and the annex")]
    OtherLog(String),
    /// The annex closed this log.
    #[error("the annex closed the log {0}: go on with its successor ('puente log switch')")]
    Closed(String),
    /// The annex did not close the log that this one follows.
    #[error("the annex does not close the log {0}, which this node's log follows")]
    StillOpen(String),
    /// A key in the charter is unusable.
    #[error("the charter's log key of {0} is unusable: {1}")]
    Key(NodeUri, String),
    /// The evidence store cannot be read.
    #[error("the evidence store cannot be read: {0}")]
    Store(String),
    /// The node has left the federation.
    #[error(
        "this node has left the federation: entry {0} of its log is the final one, and nothing is recorded after it"
    )]
    Left(u64),
}

impl Engine {
    /// Takes up where the store and the log left off.
    ///
    /// # Errors
    /// Charter, log and store do not fit together.
    pub fn new(setup: Setup, now: Millis) -> Result<Self, OpenError> {
        let Setup { node, log, charter, catalogue, policy, signer, tree, tiles, store, seed, tuning, restored } = setup;
        let member =
            charter.member(&node).filter(|m| m.is_active()).ok_or_else(|| OpenError::NotAMember(node.clone()))?;
        if let Some(last) = store.get(persist::LEFT).map_err(OpenError::Store)? {
            let last = last.try_into().map_or(0, u64::from_be_bytes);
            return Err(OpenError::Left(last));
        }
        let origin = node.origin(log).map_err(|e| OpenError::OtherLog(e.to_string()))?;
        let entry =
            member.logs.iter().find(|l| l.origin == origin).ok_or_else(|| OpenError::OtherLog(origin.to_string()))?;
        let own_key: VerifierKey =
            entry.vkey.parse().map_err(|e: puente_audit_log::KeyError| OpenError::Key(node.clone(), e.to_string()))?;
        if *signer.verifier() != own_key || tree.origin() != origin.as_str() {
            return Err(OpenError::OtherLog(origin.to_string()));
        }
        let own_roles = member.roles.iter().cloned().collect();
        let number = log;
        let mut earlier = BTreeMap::new();
        for log in member.logs.iter().filter(|log| number_of(log) < number) {
            let key: VerifierKey = log
                .vkey
                .parse()
                .map_err(|e: puente_audit_log::KeyError| OpenError::Key(node.clone(), e.to_string()))?;
            let closed_at = log.closed_at.ok_or_else(|| OpenError::StillOpen(log.origin.to_string()))?;
            earlier.insert(log.origin.to_string(), (key, closed_at));
        }
        if entry.closed_at.is_some() {
            return Err(OpenError::Closed(origin.to_string()));
        }
        let mut peers = BTreeMap::new();
        for member in charter.members() {
            if member.uri == node {
                continue;
            }
            let Some(log) = member.open_log().or(member.logs.last()) else { continue };
            let key = log
                .vkey
                .parse()
                .map_err(|e: puente_audit_log::KeyError| OpenError::Key(member.uri.clone(), e.to_string()))?;
            let roles = member.roles.iter().cloned().collect();
            let mut peer = Peer::new(member.uri.clone(), roles, log, key, number);
            peer.know_closed(&member.logs);
            peer.restore(&*store).map_err(OpenError::Store)?;
            peer.index_own();
            peers.insert(member.uri.clone(), peer);
        }
        let vector = charter.vector();
        let policy_hash = policy.hash();
        let kept = Kept::restore(&*store).map_err(OpenError::Store)?;
        let changes = Changes::restore(&*store).map_err(OpenError::Store)?;
        let mut engine = Self {
            node,
            origin,
            log_number: log,
            own_key,
            earlier,
            taken_up: HashMap::new(),
            own_roles,
            vector,
            judge: Judge::new(policy, Judge::CAPACITY),
            appeal: Appeal::default(),
            policy_hash,
            ledger: Ledger::new(tree, tiles, signer, tuning),
            store,
            rng: ChaCha20Rng::from_seed(seed),
            tuning,
            seeds: Seeds::default(),
            peers,
            connections: HashMap::new(),
            asks: HashMap::new(),
            tickets: HashMap::new(),
            confirming: HashMap::new(),
            holds: HashMap::new(),
            lookups: HashMap::new(),
            next_lookup: 1,
            trials: crate::trial::Trials::default(),
            officers: HashMap::new(),
            collecting: HashMap::new(),
            closers: HashMap::new(),
            comparing: BTreeMap::new(),
            kept,
            quorum: Quorum::of(&charter),
            gathering: Gathering::default(),
            witnessing: Witnessing::default(),
            withheld: Withheld::default(),
            groups: Groups::default(),
            alerts: crate::alerts::Alerts::default(),
            changes,
            held_back: None,
            timers: BTreeSet::new(),
            effects: VecDeque::new(),
            last_now: now,
            draining: false,
            matter_secret: None,
            reviewing: std::collections::BTreeSet::new(),
            failed: false,
            ended: FaultCode::LogUnavailable,
            standing: if restored { Standing::Restored } else { Standing::Open },
            charter,
            catalogue,
        };
        let stored = engine.store.get(&persist::own_cover_key(log)).map_err(OpenError::Store)?;
        engine.gathering.restore(now, stored, engine.ledger.size());
        // Nothing is open yet: nobody is cut off.
        engine.settle_standing(now);
        if restored {
            engine.seek_comparisons();
            return Ok(engine);
        }
        engine.restore_asks(now).map_err(OpenError::Store)?;
        engine.restore_holds(now).map_err(OpenError::Store)?;
        let period = u64::from(engine.charter.period_minutes()) * 60_000;
        for uri in engine.peers.keys().cloned().collect::<Vec<_>>() {
            engine.at(now.plus(period), Timer::Period(uri));
        }
        let start = LocalEvent {
            kind: EventKind::Start,
            record_type: String::new(),
            count: 0,
            purpose: None,
            basis: None,
            role: None,
            detail: Vec::new(),
        };
        engine.record_event(now, start, |_| {}, Then::Nothing);
        if engine.peers.values().any(|peer| peer.owes_handover) {
            engine.seek_comparisons();
        }
        Ok(engine)
    }

    /// What this agency says to whoever it refuses, where the deciding rule does not.
    #[must_use]
    pub fn with_appeal(mut self, appeal: Appeal) -> Self {
        self.appeal = appeal;
        self
    }
}
