//! What the evidence store holds of alerts, and how it is read beside the engine.

use prost::Message;
use puente_model::{Digest, LegalBasisId, Millis, NodeUri, Purpose, Role};
use puente_wire::{Alert, proto};

use crate::api::Store;
use crate::persist;

/// An alert of this node's, or of another's.
#[derive(Clone, PartialEq, Message)]
pub(super) struct StoredAlert {
    /// Who made it; empty: this node.
    #[prost(string, tag = "1")]
    pub(super) from: String,
    /// Canonical; empty as long as only its cancellation came.
    #[prost(bytes = "vec", tag = "2")]
    pub(super) alert: Vec<u8>,
    /// ALERT_SIGN; of others with its receipt.
    #[prost(message, optional, tag = "3")]
    pub(super) signed: Option<proto::Proven>,
    #[prost(bytes = "vec", tag = "4")]
    pub(super) detail_salt: Vec<u8>,
    #[prost(uint64, tag = "5")]
    pub(super) signed_at: u64,
    /// When it came here; 0: it is this node's.
    #[prost(uint64, tag = "6")]
    pub(super) delivered_at: u64,
    #[prost(uint64, tag = "7")]
    pub(super) acknowledged_at: u64,
    #[prost(uint64, tag = "8")]
    pub(super) cancelled_at: u64,
    #[prost(string, tag = "9")]
    pub(super) reason: String,
    #[prost(uint32, tag = "10")]
    pub(super) purpose: u32,
    #[prost(string, tag = "11")]
    pub(super) basis: String,
    #[prost(uint64, tag = "12")]
    pub(super) expires_at: u64,
    /// This node's: the members that it was said to.
    #[prost(message, repeated, tag = "13")]
    pub(super) hops: Vec<StoredHop>,
    /// This node's: the post that carries it.
    #[prost(bytes = "vec", tag = "14")]
    pub(super) post: Vec<u8>,
    /// This node's: who made it.
    #[prost(string, tag = "15")]
    pub(super) officer: String,
}

/// One member that an alert was said to.
#[derive(Clone, PartialEq, Message)]
pub(super) struct StoredHop {
    #[prost(string, tag = "1")]
    pub(super) node: String,
    /// When it said that it has it, by this node's clock.
    #[prost(uint64, tag = "2")]
    pub(super) reached_at: u64,
    /// When an officer there acknowledged it, by its clock.
    #[prost(uint64, tag = "3")]
    pub(super) acknowledged_at: u64,
    #[prost(uint32, tag = "4")]
    pub(super) role: u32,
    /// ALERT_ACK, with its receipt.
    #[prost(message, optional, tag = "5")]
    pub(super) acknowledged: Option<proto::Proven>,
}

impl StoredAlert {
    pub(super) fn is_own(&self) -> bool {
        self.from.is_empty()
    }

    pub(super) fn put(&self, id: &Digest) -> (Vec<u8>, Option<Vec<u8>>) {
        (persist::alert_key(id), Some(self.encode_to_vec()))
    }
}

/// Something that stands in the log, or is about to, and is to be said to a group then.
#[derive(Clone, PartialEq, Message)]
pub(super) struct StoredSaying {
    #[prost(string, tag = "1")]
    pub(super) group: String,
    #[prost(uint64, tag = "2")]
    pub(super) until: u64,
    /// Still without the receipt.
    #[prost(message, optional, tag = "3")]
    pub(super) said: Option<proto::Said>,
    /// Where its entry stands in this node's log, and in which.
    #[prost(uint64, tag = "4")]
    pub(super) index: u64,
    #[prost(uint32, tag = "5")]
    pub(super) log: u32,
}

impl StoredSaying {
    pub(super) fn new(group: &str, until: Millis, body: proto::said::Body) -> Self {
        let said = Some(proto::Said { body: Some(body) });
        Self { group: group.to_owned(), until: until.0, said, index: 0, log: 0 }
    }

    pub(super) fn put(&self, leaf: &Digest) -> (Vec<u8>, Option<Vec<u8>>) {
        (persist::saying_key(leaf), Some(self.encode_to_vec()))
    }

    /// The content, with the receipt of its entry.
    pub(super) fn content(&self, receipt: Vec<u8>) -> Option<Vec<u8>> {
        use proto::said::Body;
        let mut said = self.said.clone()?;
        let proven = match said.body.as_mut()? {
            Body::Alert(alert) => alert.signed.as_mut(),
            Body::Acknowledged(acknowledged) => acknowledged.acknowledged.as_mut(),
            Body::Cancelled(cancelled) => cancelled.cancelled.as_mut(),
            Body::Ask(_) => None,
        };
        proven?.receipt = receipt;
        Some(said.encode_to_vec())
    }

    pub(super) const fn carries_alert(&self) -> bool {
        matches!(&self.said, Some(proto::Said { body: Some(proto::said::Body::Alert(_)) }))
    }
}

/// Everything of a table that is named by leaf hashes.
pub(super) fn each<T: Message + Default>(store: &dyn Store, table: &str) -> Result<Vec<(Digest, T)>, String> {
    const PAGE: usize = 1_000;
    let prefix = persist::name_key(table, "");
    let (mut out, mut start) = (Vec::new(), Vec::new());
    loop {
        let page = store.scan(&prefix, &start, PAGE)?;
        for (key, value) in &page {
            let leaf = key.strip_prefix(prefix.as_slice()).and_then(|rest| <[u8; 32]>::try_from(rest).ok());
            let leaf = leaf.ok_or_else(|| format!("a key of table {table} is not well formed"))?;
            out.push((Digest(leaf), T::decode(value.as_slice()).map_err(|e| e.to_string())?));
        }
        match page.last() {
            Some((key, _)) if page.len() == PAGE => start = [key.as_slice(), &[0]].concat(),
            _ => return Ok(out),
        }
    }
}

/// A member that an alert of this node's was said to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hop {
    /// Who.
    pub node: NodeUri,
    /// When it said that it has it, by this node's clock.
    pub reached_at: Option<Millis>,
    /// When an officer there acknowledged it, by that node's clock.
    pub acknowledged_at: Option<Millis>,
    /// With which role.
    pub role: Option<Role>,
}

/// An alert, and what became of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// Its id: leaf hash of the ALERT_SIGN.
    pub id: Digest,
    /// Who made it; none: this node.
    pub from: Option<NodeUri>,
    /// What it says; none as long as only its cancellation came.
    pub alert: Option<Alert>,
    /// Why it was made.
    pub purpose: Option<Purpose>,
    /// On which legal basis.
    pub basis: Option<LegalBasisId>,
    /// When it was signed, by its author's clock.
    pub signed_at: Millis,
    /// When it came here.
    pub delivered_at: Option<Millis>,
    /// When an officer of this node's acknowledged it.
    pub acknowledged_at: Option<Millis>,
    /// When it was cancelled, by its author's clock.
    pub cancelled_at: Option<Millis>,
    /// Why it was cancelled.
    pub reason: String,
    /// This node's: the members that it was said to.
    pub hops: Vec<Hop>,
}

fn at(millis: u64) -> Option<Millis> {
    (millis > 0).then_some(Millis(millis))
}

impl Standing {
    fn of(id: Digest, stored: StoredAlert) -> Self {
        let hop = |hop: StoredHop| {
            Some(Hop {
                node: hop.node.parse().ok()?,
                reached_at: at(hop.reached_at),
                acknowledged_at: at(hop.acknowledged_at),
                role: super::role(hop.role),
            })
        };
        Self {
            id,
            from: stored.from.parse().ok(),
            alert: Alert::decode(&stored.alert).ok(),
            purpose: Purpose::from_code(stored.purpose),
            basis: stored.basis.parse().ok(),
            signed_at: Millis(stored.signed_at),
            delivered_at: at(stored.delivered_at),
            acknowledged_at: at(stored.acknowledged_at),
            cancelled_at: at(stored.cancelled_at),
            reason: stored.reason,
            hops: stored.hops.into_iter().filter_map(hop).collect(),
        }
    }
}

/// The alerts that this node made or was told, the newest first.
///
/// # Errors
/// The store cannot be read; text for the operator.
pub fn list(store: &dyn Store) -> Result<Vec<Standing>, String> {
    let mut out: Vec<Standing> =
        each(store, persist::ALERTS)?.into_iter().map(|(id, stored)| Standing::of(id, stored)).collect();
    out.sort_by_key(|alert| std::cmp::Reverse((alert.delivered_at.unwrap_or(alert.signed_at), alert.id)));
    Ok(out)
}
