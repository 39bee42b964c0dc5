//! Cosignatures: this node's heads gather them, this node gives them to its partners, and what a partner lacks of them
//! holds back what would be disclosed to it.
//!
//! ```text
//! own head durable ──▶ gathering ── Submit ──▶ witnesses (partners over their connection, others over HTTP)
//!                          │ quorum of the charter                     │
//!                          ▼                                           ▼ witnessing: judged, durable, cosigned
//!                  Head, cosigned ──▶ partners ──▶ cover ──▶ content keys released, or held back
//! ```
//!
//! C2SP tlog-witness and tlog-cosignature, cosignature/v1; `puente_audit_log::witness` judges and reads.

mod cover;
mod gathering;
mod releasing;
mod witnessing;

use std::collections::{BTreeMap, BTreeSet};

use puente_audit_log::{SignedCheckpoint, Signer, VerifierKey};
use puente_charter::Charter;
use puente_model::{Millis, NodeUri};

pub(crate) use self::cover::{Cover, StoredCover};
pub(crate) use self::gathering::{About, Gathering};
pub(crate) use self::releasing::Withheld;
pub(crate) use self::witnessing::{Cosignable, Witnessing};
use crate::engine::Engine;

/// How long to wait after a head was sent out for cosignatures before a newer one is, in milliseconds.
pub(crate) const GATHER_PAUSE_MILLIS: u64 = 2_000;

/// What the charter in force says of witnesses, ready for use.
#[derive(Debug, Default)]
pub(crate) struct Quorum {
    keys: BTreeMap<String, VerifierKey>,
}

impl Quorum {
    pub(crate) fn of(charter: &Charter) -> Self {
        // The charter was refused if one of its keys cannot be read.
        let key = |w: &puente_charter::Witness| Some((w.name.clone(), w.vkey.parse().ok()?));
        Self { keys: charter.witness_policy().witnesses().iter().filter_map(key).collect() }
    }

    pub(crate) fn key(&self, witness: &str) -> Option<&VerifierKey> {
        self.keys.get(witness)
    }

    /// The witnesses whose cosignatures a head bears.
    pub(crate) fn cosigners(&self, head: &SignedCheckpoint) -> BTreeSet<String> {
        let keys: Vec<&VerifierKey> = self.keys.values().collect();
        let verified = head.cosignatures(&keys).unwrap_or_default();
        verified.into_iter().map(|line| line.name).collect()
    }
}

/// How far cosignatures have come, for an operator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cosigning {
    /// Entries of this node's log under a head that the charter's quorum cosigned.
    pub own: u64,
    /// Since when the oldest entry beyond that waits; none if none does.
    pub pending_since: Option<Millis>,
    /// The charter's witnesses, in its order.
    pub witnesses: Vec<WitnessStanding>,
    /// Partners with entries that wait.
    pub peers: Vec<PeerCosigning>,
}

/// What is known of one witness.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WitnessStanding {
    /// Its name in the charter.
    pub name: String,
    /// Entries of this node's log that it has cosigned; none: it has not answered yet in this run.
    pub cosigned: Option<u64>,
    /// When it cosigned last.
    pub at: Option<Millis>,
    /// Why it did not cosign what it was shown last, if it did not.
    pub trouble: Option<String>,
    /// This node itself.
    pub own: bool,
}

/// A partner's log as far as it is cosigned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerCosigning {
    /// Who.
    pub peer: NodeUri,
    /// Entries under a cosigned head that this node holds.
    pub cosigned: u64,
    /// Entries under the newest head that this node has accepted.
    pub accepted: u64,
    /// Since when the oldest accepted head beyond that waits.
    pub pending_since: Option<Millis>,
    /// The charter's bound is past: no content key is released to this partner.
    pub held_back: bool,
}

impl Engine {
    /// Lets this node cosign the heads of its partners with a key of its own. It does so once the charter names that key as
    /// the witness at this node (`url = "puente://…"`).
    #[must_use]
    pub fn with_cosigner(mut self, signer: Box<dyn Signer + Send>) -> Self {
        self.witnessing = Witnessing::new(signer);
        self
    }

    /// How far cosignatures have come; none while the charter wants none.
    pub fn cosigning(&self, now: Millis) -> Option<Cosigning> {
        if self.charter.witness_policy().is_none() {
            return None;
        }
        let standing =
            |witness: &puente_charter::Witness| self.gathering.standing(&witness.name, self.is_own_witness(witness));
        let peer = |(uri, known): (&NodeUri, &crate::peer::Peer)| PeerCosigning {
            peer: uri.clone(),
            cosigned: known.cover.cosigned(),
            accepted: known.log.accepted_size(),
            pending_since: known.cover.pending_since(),
            held_back: self.is_past_bound(now, &known.cover),
        };
        Some(Cosigning {
            own: self.gathering.cover.cosigned(),
            pending_since: self.gathering.cover.pending_since(),
            witnesses: self.charter.witness_policy().witnesses().iter().map(standing).collect(),
            peers: self.peers.iter().map(peer).filter(|peer| peer.pending_since.is_some()).collect(),
        })
    }

    /// The head of this node's log that the quorum cosigned last: a note with the log's signature and the witnesses'.
    pub fn cosigned_head(&self) -> Option<&[u8]> {
        self.gathering.cover.head()
    }

    /// Another charter is in force: other witnesses may count.
    pub(crate) fn follow_witnesses(&mut self, now: Millis) {
        self.quorum = Quorum::of(&self.charter);
        self.gathering.begin_anew();
        if self.charter.witness_policy().is_none() {
            // Nothing waits for anybody; what came so far does not begin to wait when there are witnesses again.
            self.gathering.cover.wait_for_none();
            self.peers.values_mut().for_each(|peer| peer.cover.wait_for_none());
        }
        self.gather(now);
        self.release_covered(now, None);
    }

    /// Entries of a partner wait for cosignatures for longer than the charter bears.
    pub(crate) fn is_past_bound(&self, now: Millis, cover: &Cover) -> bool {
        let bound = u64::from(self.charter.common().cosign_bound_hours) * 3_600_000;
        let late = cover.pending_since().is_some_and(|since| now.since(since) > bound);
        late && !self.charter.witness_policy().is_none()
    }
}
