//! What the evidence store holds, and under which keys. Internal to a node: no peer reads it.

use prost::Message;
use puente_model::{ExchangeId, NodeUri};
use puente_wire::proto;
use zeroize::Zeroize;

use crate::api::Store;

/// An exchange this node asked.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct StoredAsk {
    #[prost(string, tag = "1")]
    pub(crate) peer: String,
    /// The QUERY, without receipt.
    #[prost(message, optional, tag = "2")]
    pub(crate) query: Option<proto::Proven>,
    #[prost(uint64, tag = "3")]
    pub(crate) query_index: u64,
    #[prost(bytes = "vec", tag = "4")]
    pub(crate) payload: Vec<u8>,
    #[prost(bytes = "vec", tag = "5")]
    pub(crate) salt: Vec<u8>,
    /// One-time X25519 private key.
    #[prost(bytes = "vec", tag = "6")]
    pub(crate) reply_key: Vec<u8>,
    #[prost(uint64, tag = "7")]
    pub(crate) due_at: u64,
    /// The ANSWER or REFUSAL, without receipt.
    #[prost(message, optional, tag = "8")]
    pub(crate) answer: Option<proto::Proven>,
    #[prost(uint64, tag = "9")]
    pub(crate) answer_index: u64,
    #[prost(message, optional, tag = "10")]
    pub(crate) sealed: Option<proto::Sealed>,
    #[prost(message, optional, tag = "11")]
    pub(crate) plain: Option<proto::Plain>,
    #[prost(message, optional, tag = "12")]
    pub(crate) release: Option<proto::Proven>,
    #[prost(bytes = "vec", tag = "13")]
    pub(crate) content_key: Vec<u8>,
    #[prost(bytes = "vec", tag = "14")]
    pub(crate) sealed_key: Vec<u8>,
    /// See `AskStage`.
    #[prost(uint32, tag = "15")]
    pub(crate) stage: u32,
    #[prost(bytes = "vec", tag = "16")]
    pub(crate) query_leaf: Vec<u8>,
    #[prost(bytes = "vec", tag = "17")]
    pub(crate) answer_leaf: Vec<u8>,
    /// Why it ended otherwise than by an answer; see `Why`.
    #[prost(uint32, tag = "18")]
    pub(crate) why: u32,
    /// `Why::Faulted`: the code.
    #[prost(uint32, tag = "19")]
    pub(crate) fault: u32,
    /// Whoever waited was told what was disclosed: OPENED stands for that. Every later look is a CONSULT.
    #[prost(bool, tag = "20")]
    pub(crate) told: bool,
    /// When the holder first said that it recorded the QUERY and that a person decides; 0 if it did not.
    #[prost(uint64, tag = "21")]
    pub(crate) pending_at: u64,
    /// What the exchange's group and epoch make of the QUERY: 32 bytes, until the content is opened; empty without a group.
    #[prost(bytes = "vec", tag = "22")]
    pub(crate) psk: Vec<u8>,
    /// It was refused for its epoch, and put anew as this exchange.
    #[prost(bytes = "vec", tag = "23")]
    pub(crate) again: Vec<u8>,
}

/// Why a question ended otherwise than by an answer that could be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Why {
    /// Its deadline passed.
    Deadline,
    /// An officer gave it up.
    Withdrawn,
    /// The holder's node would not process it.
    Faulted,
    /// What came does not match what was committed.
    Disputed,
    /// The content key did not come by the deadline.
    Unreleased,
}

impl Why {
    const ALL: [Self; 5] = [Self::Deadline, Self::Withdrawn, Self::Faulted, Self::Disputed, Self::Unreleased];

    pub(crate) fn code(self) -> u32 {
        Self::ALL.iter().zip(1..).find(|(why, _)| **why == self).map_or(0, |(_, code)| code)
    }

    pub(crate) fn from_code(code: u32) -> Option<Self> {
        Self::ALL.get(usize::try_from(code).ok()?.checked_sub(1)?).copied()
    }
}

impl StoredAsk {
    /// Wipes what must not outlive its use in memory; the store holds it, encrypted.
    pub(crate) fn wipe(&mut self) {
        self.reply_key.zeroize();
        self.psk.zeroize();
        self.content_key.zeroize();
        self.payload.zeroize();
        self.salt.zeroize();
    }
}

impl StoredHold {
    /// Wipes what must not outlive its use in memory; the store holds it, encrypted.
    pub(crate) fn wipe(&mut self) {
        self.psk.zeroize();
        self.content_key.zeroize();
        self.payload.zeroize();
        self.salt.zeroize();
    }
}

/// An exchange this node was asked.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct StoredHold {
    #[prost(string, tag = "1")]
    pub(crate) peer: String,
    #[prost(message, optional, tag = "2")]
    pub(crate) query: Option<proto::Proven>,
    #[prost(bytes = "vec", tag = "3")]
    pub(crate) payload: Vec<u8>,
    #[prost(bytes = "vec", tag = "4")]
    pub(crate) salt: Vec<u8>,
    #[prost(uint64, tag = "5")]
    pub(crate) due_at: u64,
    #[prost(message, optional, tag = "6")]
    pub(crate) answer: Option<proto::Proven>,
    #[prost(uint64, tag = "7")]
    pub(crate) answer_index: u64,
    #[prost(message, optional, tag = "8")]
    pub(crate) sealed: Option<proto::Sealed>,
    #[prost(message, optional, tag = "9")]
    pub(crate) plain: Option<proto::Plain>,
    #[prost(bytes = "vec", tag = "10")]
    pub(crate) content_key: Vec<u8>,
    #[prost(message, optional, tag = "11")]
    pub(crate) release: Option<proto::Proven>,
    #[prost(uint64, tag = "12")]
    pub(crate) release_index: u64,
    #[prost(bytes = "vec", tag = "13")]
    pub(crate) sealed_key: Vec<u8>,
    /// See `HoldStage`.
    #[prost(uint32, tag = "14")]
    pub(crate) stage: u32,
    #[prost(bytes = "vec", tag = "15")]
    pub(crate) query_leaf: Vec<u8>,
    #[prost(bytes = "vec", tag = "16")]
    pub(crate) answer_leaf: Vec<u8>,
    /// Where the QUERY stands in this node's log, if it was recorded before its answer.
    #[prost(uint64, optional, tag = "17")]
    pub(crate) query_index: Option<u64>,
    /// When it was parked for a person's decision.
    #[prost(uint64, tag = "18")]
    pub(crate) parked_at: u64,
    /// Roles one of which decides.
    #[prost(uint32, repeated, tag = "19")]
    pub(crate) deciders: Vec<u32>,
    #[prost(message, optional, tag = "20")]
    pub(crate) decision: Option<StoredDecision>,
    /// As of [`StoredAsk`]: until its RELEASE is recorded.
    #[prost(bytes = "vec", tag = "21")]
    pub(crate) psk: Vec<u8>,
}

/// What a person decided on a parked question.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct StoredDecision {
    /// See `Decision`.
    #[prost(uint32, tag = "1")]
    pub(crate) kind: u32,
    #[prost(uint32, tag = "2")]
    pub(crate) reason: u32,
    #[prost(string, tag = "3")]
    pub(crate) text_en: String,
    #[prost(string, tag = "4")]
    pub(crate) text_es: String,
    #[prost(string, repeated, tag = "5")]
    pub(crate) fields: Vec<String>,
}

/// A number of this node's own, towards one peer.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct StoredOwn {
    #[prost(bytes = "vec", tag = "1")]
    pub(crate) leaf: Vec<u8>,
    /// `PairKind`.
    #[prost(uint32, tag = "2")]
    pub(crate) kind: u32,
    #[prost(bytes = "vec", tag = "3")]
    pub(crate) exchange: Vec<u8>,
    /// VOID and PERIOD carry themselves; the others are found by their exchange.
    #[prost(message, optional, tag = "4")]
    pub(crate) proven: Option<proto::Proven>,
    #[prost(uint64, tag = "5")]
    pub(crate) index: u64,
    /// VOID: which number it voids; a voided QUERY: the number of its VOID; 0 otherwise.
    #[prost(uint64, tag = "6")]
    pub(crate) voided: u64,
}

/// A number of a peer's.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct StoredTheirs {
    #[prost(bytes = "vec", tag = "1")]
    pub(crate) leaf: Vec<u8>,
    /// The number was closed before it arrived; `leaf` is what it would have been.
    #[prost(bool, tag = "2")]
    pub(crate) closed: bool,
    #[prost(bytes = "vec", tag = "3")]
    pub(crate) exchange: Vec<u8>,
    /// Where it stands in this node's log.
    #[prost(uint64, tag = "4")]
    pub(crate) index: u64,
}

/// Where the numberings with one peer stand.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct StoredNumbering {
    #[prost(uint64, tag = "1")]
    pub(crate) next: u64,
    #[prost(uint64, tag = "2")]
    pub(crate) own_closed: u64,
    /// Of the peer's log `theirs_log`.
    #[prost(uint64, tag = "3")]
    pub(crate) theirs_closed: u64,
    /// k of the peer's log; 0 is 1.
    #[prost(uint32, tag = "4")]
    pub(crate) theirs_log: u32,
    /// k of this node's log that `next` and `own_closed` count in; 0 is 1.
    #[prost(uint32, tag = "5")]
    pub(crate) own_log: u32,
}

fn key(table: &str, parts: &[&[u8]]) -> Vec<u8> {
    let mut out = table.as_bytes().to_vec();
    for part in parts {
        out.push(b'/');
        out.extend_from_slice(part);
    }
    out
}

/// `a/<peer>/<exchange>`: [`StoredAsk`].
pub(crate) fn ask_key(peer: &NodeUri, exchange: ExchangeId) -> Vec<u8> {
    key("a", &[peer.as_str().as_bytes(), &exchange.0])
}

/// `a/<peer>/<log>`: the asks of one log; ids begin with the log's number and the QUERY's.
pub(crate) fn asks_key(peer: &NodeUri, log: u32) -> Vec<u8> {
    let log = u16::try_from(log).unwrap_or(u16::MAX).to_be_bytes();
    key("a", &[peer.as_str().as_bytes(), &log])
}

/// `a/<peer>/<log><seq>`: where the asks from this number on begin.
pub(crate) fn asks_from_key(peer: &NodeUri, log: u32, seq: u64) -> Vec<u8> {
    let mut out = asks_key(peer, log);
    out.extend_from_slice(&seq.min((1 << 48) - 1).to_be_bytes()[2..]);
    out
}

/// `oa/<peer>/<exchange>`: that ask is not ended.
pub(crate) fn open_ask_key(peer: &NodeUri, exchange: ExchangeId) -> Vec<u8> {
    key(OPEN_ASKS, &[peer.as_str().as_bytes(), &exchange.0])
}

/// `b/<peer>/<exchange>`: [`StoredHold`].
pub(crate) fn hold_key(peer: &NodeUri, exchange: ExchangeId) -> Vec<u8> {
    key("b", &[peer.as_str().as_bytes(), &exchange.0])
}

/// `ob/<peer>/<exchange>`: that hold awaits a receipt.
pub(crate) fn open_hold_key(peer: &NodeUri, exchange: ExchangeId) -> Vec<u8> {
    key(OPEN_HOLDS, &[peer.as_str().as_bytes(), &exchange.0])
}

/// `pk/<peer>/<exchange>`: that hold waits for a person's decision.
pub(crate) fn parked_key(peer: &NodeUri, exchange: ExchangeId) -> Vec<u8> {
    key(PARKED, &[peer.as_str().as_bytes(), &exchange.0])
}

/// Table of [`parked_key`].
pub(crate) const PARKED: &str = "pk";
/// Table of [`open_ask_key`].
pub(crate) const OPEN_ASKS: &str = "oa";
/// Table of [`open_hold_key`].
pub(crate) const OPEN_HOLDS: &str = "ob";

/// Visits peer and exchange of every key of a table of open exchanges.
pub(crate) fn each_open(
    store: &dyn Store,
    table: &str,
    mut visit: impl FnMut(NodeUri, ExchangeId) -> Result<(), String>,
) -> Result<(), String> {
    const PAGE: usize = 1_000;
    let prefix = key(table, &[b""]);
    let mut start = Vec::new();
    loop {
        let page = store.scan(&prefix, &start, PAGE)?;
        for (key, _) in &page {
            // `<peer>/<16 bytes>`: the exchange may hold any byte, so it is cut off from behind.
            let parts = key.strip_prefix(prefix.as_slice()).and_then(|rest| rest.split_last_chunk::<16>());
            let peer = parts.and_then(|(peer, id)| Some((peer.strip_suffix(b"/")?, id)));
            let Some((peer, id)) = peer else { return Err(format!("a key of table {table} is not well formed")) };
            let peer = std::str::from_utf8(peer).map_err(|e| e.to_string())?.parse();
            visit(peer.map_err(|e: puente_model::NameError| e.to_string())?, ExchangeId(*id))?;
        }
        match page.last() {
            Some((key, _)) if page.len() == PAGE => {
                start.clone_from(key);
                start.push(0);
            }
            _ => return Ok(()),
        }
    }
}

/// Peer and exchange of every key of a table of open exchanges.
pub(crate) fn all_open(store: &dyn Store, table: &str) -> Result<Vec<(NodeUri, ExchangeId)>, String> {
    let mut out = Vec::new();
    each_open(store, table, |peer, exchange| {
        out.push((peer, exchange));
        Ok(())
    })?;
    Ok(out)
}

/// `o/<peer>/<seq>`: [`StoredOwn`] of this node's first log; `o2/<peer>/<log>/<seq>` of its successors.
pub(crate) fn own_key(peer: &NodeUri, log: u32, seq: u64) -> Vec<u8> {
    match log {
        0 | 1 => key("o", &[peer.as_str().as_bytes(), &seq.to_be_bytes()]),
        _ => key("o2", &[peer.as_str().as_bytes(), &log.to_be_bytes(), &seq.to_be_bytes()]),
    }
}

/// `t/<peer>/<log>/<seq>`: [`StoredTheirs`].
pub(crate) fn theirs_key(peer: &NodeUri, log: u32, seq: u64) -> Vec<u8> {
    key("t", &[peer.as_str().as_bytes(), &log.to_be_bytes(), &seq.to_be_bytes()])
}

/// `n/<peer>`: [`StoredNumbering`].
pub(crate) fn numbering_key(peer: &NodeUri) -> Vec<u8> {
    key("n", &[peer.as_str().as_bytes()])
}

/// `h/<peer>`: the largest accepted head of its first log, as its note; `h2/<peer>/<log>` of its successors.
pub(crate) fn head_key(peer: &NodeUri, log: u32) -> Vec<u8> {
    match log {
        0 | 1 => key("h", &[peer.as_str().as_bytes()]),
        _ => key("h2", &[peer.as_str().as_bytes(), &log.to_be_bytes()]),
    }
}

/// `g/<leaf>`: a VOID or PERIOD of a peer's, as it came, without its receipt.
pub(crate) fn governance_key(leaf: &[u8; 32]) -> Vec<u8> {
    key("g", &[leaf])
}

/// `r/<leaf>`: where this log took up an entry of the log that it follows.
pub(crate) fn taken_up_key(leaf: &[u8; 32]) -> Vec<u8> {
    key("r", &[leaf])
}

/// `ru/<peer>/<log>`: the peer handed over to this node's log everything that the one before it lost.
pub(crate) fn received_key(peer: &NodeUri, log: u32) -> Vec<u8> {
    key("ru", &[peer.as_str().as_bytes(), &log.to_be_bytes()])
}

/// `rh/<peer>/<log>`: everything was handed over to that log of the peer's.
pub(crate) fn handed_key(peer: &NodeUri, log: u32) -> Vec<u8> {
    key("rh", &[peer.as_str().as_bytes(), &log.to_be_bytes()])
}

/// `d/<leaf>`: salt and detail of a local event (salt first, 32 bytes).
pub(crate) fn detail_key(leaf: &[u8; 32]) -> Vec<u8> {
    key("d", &[leaf])
}

/// `v/<leaf>`: salt (32 bytes) and header of a veiled entry that could not be sealed to an auditor.
pub(crate) fn header_key(leaf: &[u8; 32]) -> Vec<u8> {
    key("v", &[leaf])
}

/// `c/<SHA-256 of the details>`: index of the COLLECT with these details (8 bytes).
pub(crate) fn collected_key(batch: &[u8; 32]) -> Vec<u8> {
    key("c", &[batch])
}

/// `s/<leaf>`: the exchange whose step-1 ANSWER with this leaf hash was a hit.
pub(crate) fn hit_key(leaf: &[u8; 32]) -> Vec<u8> {
    key("s", &[leaf])
}

/// `f/<peer>/<exchange>`: the step-2 exchange (16 bytes) that followed the CONFIRM of that step-1 exchange.
pub(crate) fn followed_key(peer: &NodeUri, exchange: ExchangeId) -> Vec<u8> {
    key("f", &[peer.as_str().as_bytes(), &exchange.0])
}

/// Table of answers to be reviewed: `rv/<peer>/<exchange>`, until when in milliseconds (8 bytes).
pub(crate) const REVIEWS: &str = "rv";

/// One of [`REVIEWS`].
pub(crate) fn review_key(peer: &NodeUri, exchange: ExchangeId) -> Vec<u8> {
    key(REVIEWS, &[peer.as_str().as_bytes(), &exchange.0])
}

/// `ms`: the secret (32 bytes) that [`matter_key`] is made with.
pub(crate) fn matter_secret_key() -> Vec<u8> {
    key("ms", &[])
}

/// `m/<SHA-256 with a secret of a match key>/<exchange>`: a question that was accepted as a matter, by a key under
/// which another question would find it; the peer. Nobody who reads the store's keys learns what it is about.
pub(crate) fn matter_key(name: &[u8; 32], exchange: Option<ExchangeId>) -> Vec<u8> {
    let id = exchange.map(|exchange| exchange.0);
    key("m", &[name, id.as_ref().map_or(&[][..], |id| id.as_slice())])
}

/// `wr/<log>`: what this node remembers as a witness of a log.
pub(crate) fn remembered_key(origin: &str) -> Vec<u8> {
    name_key("wr", origin)
}

/// `wo/<k>`: how far this node's own log k is cosigned.
pub(crate) fn own_cover_key(log: u32) -> Vec<u8> {
    key("wo", &[&log.to_be_bytes()])
}

/// `wp/<peer>/<k>`: how far a partner's log k is cosigned.
pub(crate) fn cover_key(peer: &NodeUri, log: u32) -> Vec<u8> {
    key("wp", &[peer.as_str().as_bytes(), &log.to_be_bytes()])
}

/// Table of alerts: `al/<leaf hash of the ALERT_SIGN>`.
pub(crate) const ALERTS: &str = "al";
/// Table of what stands in the log and is still to be said to a group: `aw/<leaf hash>`.
pub(crate) const SAYINGS: &str = "aw";

/// One of [`ALERTS`].
pub(crate) fn alert_key(leaf: &puente_model::Digest) -> Vec<u8> {
    key(ALERTS, &[&leaf.0])
}

/// One of [`SAYINGS`].
pub(crate) fn saying_key(leaf: &puente_model::Digest) -> Vec<u8> {
    key(SAYINGS, &[&leaf.0])
}

/// Table of peers that are blocked here: `x/<peer>`, the reason.
pub(crate) const BLOCKED: &str = "x";
/// Set once this node has left: the index of its log's final entry.
pub(crate) const LEFT: &[u8] = b"left";
/// Table of members that wait for a new common part: `u/<peer>`, the reason.
pub(crate) const WAITING: &str = "u";
/// Table of nations that signed two annexes with one number: `j/<nation>`, [`StoredStop`].
pub(crate) const STOPPED: &str = "j";

/// `<table>/<name>`.
pub(crate) fn name_key(table: &str, name: &str) -> Vec<u8> {
    key(table, &[name.as_bytes()])
}

/// `<table>/<peer>`.
pub(crate) fn peer_key(table: &str, peer: &NodeUri) -> Vec<u8> {
    name_key(table, peer.as_str())
}

/// What a table holds of each name.
pub(crate) fn each_name(store: &dyn Store, table: &str) -> Result<Vec<(String, Vec<u8>)>, String> {
    const NAMES_MAX: usize = 100_000;
    let prefix = name_key(table, "");
    let name = |key: &[u8]| String::from_utf8(key.strip_prefix(prefix.as_slice())?.to_vec()).ok();
    let malformed = || format!("a key of table {table} is not well formed");
    let pairs = store.scan(&prefix, &[], NAMES_MAX)?;
    pairs.into_iter().map(|(key, value)| Ok((name(&key).ok_or_else(malformed)?, value))).collect()
}

/// Peer and text of every key of a table.
pub(crate) fn each_peer(store: &dyn Store, table: &str) -> Result<std::collections::BTreeMap<NodeUri, String>, String> {
    let read = |(name, value): (String, Vec<u8>)| {
        let peer: NodeUri = name.parse().map_err(|e: puente_model::NameError| e.to_string())?;
        Ok((peer, String::from_utf8_lossy(&value).into_owned()))
    };
    each_name(store, table)?.into_iter().map(read).collect()
}

/// A nation whose annexes are not adopted any more.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct StoredStop {
    /// The number that two annexes carry.
    #[prost(uint32, tag = "1")]
    pub(crate) number: u32,
    /// The common part that was in force: a later one that pins the annex lifts the stop.
    #[prost(uint32, tag = "2")]
    pub(crate) common: u32,
}
