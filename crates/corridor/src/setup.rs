//! What the corridors of a node start with.

use std::fmt;
use std::sync::Arc;

use puente_audit_log::Signer;
use puente_charter::Charter;
use puente_group::Identity;
use puente_ledger::{Keys, LedgerOrigin};
use puente_model::{Millis, NodeUri};
use rand_core::RngCore;

/// How long to wait for what, in milliseconds.
#[derive(Debug, Clone, Copy)]
pub struct Tuning {
    /// How often this node gives its leaf fresh keys.
    pub rekey: u64,
    /// Until something is asked or sent again.
    pub again: u64,
    /// How often it is looked whether a commit is wanted, where nothing else asks for that.
    pub look: u64,
    /// Until what was due and could not be done is looked at again.
    pub moment: u64,
    /// Until a commit that was turned down is made anew.
    pub pause: u64,
    /// How long key packages of nodes that are to come in are waited for, so that one commit adds them all.
    pub gather: u64,
    /// How often it is looked which records of the order are needed.
    pub prune: u64,
    /// How far a member may be behind and still follow; whoever is further behind enters anew.
    pub keep: u64,
    /// The ledger's own.
    pub ledger: puente_ledger::Tuning,
}

impl Default for Tuning {
    fn default() -> Self {
        let ledger = puente_ledger::Tuning::default();
        let day = 86_400_000;
        Self {
            rekey: day,
            again: 10_000,
            look: 60_000,
            moment: 1_000,
            pause: 5_000,
            gather: 2_000,
            prune: 7 * day,
            keep: 84 * day,
            ledger,
        }
    }
}

/// Signs for every ledger that this node convenes.
#[derive(Clone)]
pub(crate) struct SharedKeys(pub(crate) Arc<dyn Keys + Send + Sync>);

impl Keys for SharedKeys {
    fn signer(&self, ledger: &LedgerOrigin) -> Option<Box<dyn Signer + Send>> {
        self.0.signer(ledger)
    }
}

/// What the corridors of a node start with.
pub struct Setup {
    /// This node's certificate and the key that signs leaves.
    pub identity: Identity,
    /// Signs for the ledgers that this node convenes.
    pub keys: Arc<dyn Keys + Send + Sync>,
    /// Every charter that was in force here, the newest last.
    pub charters: Vec<Arc<Charter>>,
    /// Unpredictable bytes.
    pub rng: Box<dyn RngCore + Send>,
    /// How long to wait for what.
    pub tuning: Tuning,
    /// Now.
    pub now: Millis,
}

impl Setup {
    /// This node.
    pub fn node(&self) -> &NodeUri {
        self.identity.uri()
    }
}

impl fmt::Debug for Setup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Setup({}, {} charters)", self.node(), self.charters.len())
    }
}
