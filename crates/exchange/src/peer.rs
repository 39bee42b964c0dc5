//! What this node holds of one peer: its log's heads, both numberings, its connections.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use prost::Message;
use puente_audit_log::VerifierKey;
use puente_charter::{LogEntry, PartId};
use puente_model::{CharterVector, Digest, ExchangeId, Millis, NodeUri, Seq};
use puente_wire::{PairKind, fault::FaultCode, proto};

use crate::adoption::Catching;
use crate::api::{ConnectionId, Store, StreamId, Ticket};
use crate::cosigning::{Cover, StoredCover};
use crate::heads::PeerLog;
use crate::persist::{self, StoredNumbering, StoredOwn, StoredTheirs};
use crate::resend::{Backlog, Deliveries};

/// Frames that wait for a head they can be judged under.
pub(crate) const PARKED_MAX: usize = 4_096;
/// Their bytes: a peer that never proves its heads cannot fill this node's memory.
pub(crate) const PARKED_BYTES_MAX: usize = 8 << 20;

/// A number of this node's own.
#[derive(Debug, Clone)]
pub(crate) struct Own {
    pub(crate) leaf: Digest,
    pub(crate) kind: PairKind,
    pub(crate) exchange: Option<ExchangeId>,
    pub(crate) index: u64,
    /// VOID and PERIOD carry themselves.
    pub(crate) proven: Option<proto::Proven>,
    /// VOID: which number it voids; a voided QUERY: the number of its VOID; 0 otherwise.
    pub(crate) voided: u64,
    /// A VOID: the peer said, in this run, that the voided number is closed there for good.
    pub(crate) closed: bool,
}

/// A number of the peer's that is recorded here, or being recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Theirs {
    pub(crate) leaf: Digest,
    /// Where it stands, or will stand, in this node's log.
    pub(crate) index: u64,
}

/// A PERIOD on its way.
#[derive(Debug)]
pub(crate) struct Closing {
    pub(crate) first: u64,
    pub(crate) last: u64,
    /// Own numbers that the peer lacks and that are being delivered again, by leaf hash.
    pub(crate) redelivering: BTreeSet<Digest>,
    /// Numbers that the peer lacks for good.
    pub(crate) holes: BTreeSet<u64>,
    /// Seq of the PERIOD entry, once recorded.
    pub(crate) period: Option<(u64, Digest)>,
    /// Give up and begin anew at this time.
    pub(crate) until: Millis,
}

/// One peer of the charter.
#[derive(Debug)]
pub(crate) struct Peer {
    pub(crate) uri: NodeUri,
    pub(crate) agency_roles: BTreeSet<String>,
    /// k of its origin `…/log<k>`.
    pub(crate) log_number: u32,
    /// Its log before this one: k, origin, the size at which it was closed.
    pub(crate) log_before: Option<(u32, String, u64)>,
    /// k of this node's log that the own numbers count in.
    pub(crate) own_log: u32,
    /// What this node hands over to the peer's successor log.
    pub(crate) handover: Option<crate::handover::Handover>,
    /// This node's log is a successor, and the peer has not handed over yet what the one before it lost.
    pub(crate) owes_handover: bool,
    pub(crate) log: PeerLog,
    /// How much of it is cosigned.
    pub(crate) cover: Cover,
    /// Next number of this node towards the peer.
    pub(crate) next_seq: u64,
    pub(crate) own_closed: u64,
    pub(crate) theirs_closed: u64,
    /// Own numbers beyond `own_closed`.
    pub(crate) own: BTreeMap<u64, Own>,
    pub(crate) own_leaves: HashMap<Digest, u64>,
    /// The own PERIOD that is recorded and not accepted by the peer yet: number, leaf hash, last number it closes.
    pub(crate) pending_period: Option<(u64, Digest, u64)>,
    pub(crate) backlog: Backlog,
    pub(crate) deliveries: Deliveries,
    /// When to dial again; when more of the backlog goes out.
    pub(crate) redial: Option<Millis>,
    /// When proofs of heads are asked for.
    pub(crate) head_due: Option<Millis>,
    pub(crate) turn: Option<Millis>,
    /// The peer's numbers beyond `theirs_closed` that are recorded here (or being recorded).
    pub(crate) theirs: BTreeMap<u64, Theirs>,
    /// The peer's numbers beyond `theirs_closed` that a VOID closed before they arrived.
    pub(crate) closed: BTreeSet<u64>,
    /// The newest ready connection.
    pub(crate) ready: Option<ConnectionId>,
    pub(crate) dialling: bool,
    /// By the size of the head that they wait for.
    pub(crate) parked: BTreeMap<u64, Vec<(ConnectionId, StreamId, Vec<u8>)>>,
    pub(crate) parked_count: usize,
    pub(crate) parked_bytes: usize,
    pub(crate) head_asked: BTreeSet<(u64, u64)>,
    /// Answers of this node without a receipt, by deadline.
    pub(crate) unreceipted: BTreeSet<(Millis, ExchangeId)>,
    pub(crate) lookups: usize,
    /// Queries recorded in the running minute.
    pub(crate) minute: u64,
    pub(crate) minute_queries: u32,
    pub(crate) closing: Option<Closing>,
    pub(crate) close_tickets: Vec<Ticket>,
    /// Faults by class: how many since the last event, and when the next may be recorded.
    pub(crate) faults: BTreeMap<FaultCode, (u64, Millis)>,
    /// Evidence of a fork stands: nothing more is exchanged.
    pub(crate) forked: bool,
    /// Charter and operator let this node exchange with it.
    pub(crate) admitted: bool,
    /// It can be called and this node cannot: a connection stands only if this node calls.
    pub(crate) called: bool,
    /// Posts that it had passed on in the running minute.
    pub(crate) relays: (u64, u32),
    /// The charter that its last Ready named.
    pub(crate) shown: Option<CharterVector>,
    /// It is ahead: charter parts are being fetched from it.
    pub(crate) catching: Option<Catching>,
    /// The part that it was asked for on this connection, to learn of newer ones.
    pub(crate) asked_part: Option<(ConnectionId, PartId)>,
    /// Parts that it showed were not adopted: not asked for again before this.
    pub(crate) catch_after: Millis,
}

/// A standing connection.
#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) peer: NodeUri,
    /// Ready was received and compared.
    pub(crate) ready: bool,
    /// The minor version that both speak; 0 until Ready said.
    pub(crate) minor: u32,
    /// The largest own head that went out on its control stream.
    pub(crate) sent_head: u64,
    pub(crate) next_stream: u64,
    /// Exchanges on the streams that this node opened and that are not finished.
    pub(crate) asks: BTreeMap<StreamId, ExchangeId>,
}

impl Peer {
    pub(crate) fn new(
        uri: NodeUri,
        agency_roles: BTreeSet<String>,
        entry: &LogEntry,
        key: VerifierKey,
        own_log: u32,
    ) -> Self {
        let (log, log_number) = log_of(entry, key);
        Self {
            uri,
            agency_roles,
            log_number,
            log_before: None,
            own_log,
            handover: None,
            owes_handover: false,
            log,
            cover: Cover::default(),
            next_seq: Seq::FIRST.0,
            own_closed: 0,
            theirs_closed: 0,
            own: BTreeMap::new(),
            own_leaves: HashMap::new(),
            pending_period: None,
            backlog: Backlog::default(),
            deliveries: Deliveries::default(),
            redial: None,
            head_due: None,
            turn: None,
            theirs: BTreeMap::new(),
            closed: BTreeSet::new(),
            ready: None,
            dialling: false,
            parked: BTreeMap::new(),
            parked_count: 0,
            parked_bytes: 0,
            head_asked: BTreeSet::new(),
            unreceipted: BTreeSet::new(),
            lookups: 0,
            minute: 0,
            minute_queries: 0,
            relays: (0, 0),
            closing: None,
            close_tickets: Vec::new(),
            faults: BTreeMap::new(),
            forked: false,
            admitted: true,
            called: false,
            shown: None,
            catching: None,
            asked_part: None,
            catch_after: Millis(0),
        }
    }

    /// Takes up what a newer annex says of it: roles, and a log that was closed or has a successor. Numbers count from
    /// 1 under a successor; receipts under the old log stay where they are. Returns what the store must hold of the
    /// log before.
    pub(crate) fn follow(
        &mut self,
        agency_roles: BTreeSet<String>,
        entry: &LogEntry,
        logs: &[LogEntry],
        key: VerifierKey,
    ) -> Option<(Vec<u8>, Option<Vec<u8>>)> {
        self.agency_roles = agency_roles;
        if *self.log.key() == key {
            self.log.close_at(entry.closed_at);
            return None;
        }
        let head = self.log.accepted().filter(|_| self.log.dirty).map(|head| head.note_bytes().to_vec());
        let put = head.map(|head| (persist::head_key(&self.uri, self.log_number), Some(head)));
        (self.log, self.log_number) = log_of(entry, key);
        self.cover = Cover::default();
        self.know_closed(logs);
        self.handover = None;
        self.theirs_closed = 0;
        self.theirs.clear();
        self.closed.clear();
        self.parked.clear();
        (self.parked_count, self.parked_bytes) = (0, 0);
        self.head_asked.clear();
        put
    }

    /// Takes note of the peer's logs that the annex closed: the newest of them is the one that `log` follows.
    pub(crate) fn know_closed(&mut self, logs: &[LogEntry]) {
        let closed = logs.iter().filter_map(|log| Some((number_of(log), log.origin.to_string(), log.closed_at?)));
        self.log_before = closed.filter(|(k, _, _)| *k < self.log_number).max_by_key(|(k, _, _)| *k);
    }

    /// Takes up what the store holds.
    pub(crate) fn restore(&mut self, store: &dyn Store) -> Result<(), String> {
        if let Some(note) = store.get(&persist::head_key(&self.uri, self.log_number))?
            && self.log.restore(&note).is_err()
        {
            return Err(format!("the stored head of {} does not verify under the charter's key", self.uri));
        }
        if let Some(bytes) = store.get(&persist::cover_key(&self.uri, self.log_number))? {
            let stored = StoredCover::decode(bytes.as_slice()).map_err(|e| e.to_string())?;
            self.cover = Cover::restore(stored, self.log.accepted_size());
        }
        if let Some(bytes) = store.get(&persist::numbering_key(&self.uri))? {
            let stored = StoredNumbering::decode(bytes.as_slice()).map_err(|e| e.to_string())?;
            // A successor's numbers begin anew, on either side.
            if stored.own_log.max(1) == self.own_log {
                self.next_seq = stored.next.max(1);
                self.own_closed = stored.own_closed;
            }
            if stored.theirs_log.max(1) == self.log_number {
                self.theirs_closed = stored.theirs_closed;
            }
        }
        let received = persist::received_key(&self.uri, self.own_log);
        self.owes_handover = self.own_log > 1 && store.get(&received)?.is_none();
        let own_prefix = persist::own_key(&self.uri, self.own_log, 0);
        each(store, &own_prefix[..own_prefix.len() - 8], self.own_closed + 1, |seq, bytes| {
            let stored = StoredOwn::decode(bytes).map_err(|e| e.to_string())?;
            let leaf = Digest::try_from(stored.leaf.as_slice()).map_err(|e| e.to_string())?;
            let kind = PairKind::try_from(stored.kind as i32).unwrap_or(PairKind::Unspecified);
            let exchange = ExchangeId::try_from(stored.exchange.as_slice()).ok();
            let own = Own {
                leaf,
                kind,
                exchange,
                index: stored.index,
                proven: stored.proven,
                voided: stored.voided,
                closed: false,
            };
            self.own.insert(seq, own);
            Ok(())
        })?;
        let theirs_prefix = persist::theirs_key(&self.uri, self.log_number, 0);
        each(store, &theirs_prefix[..theirs_prefix.len() - 8], self.theirs_closed + 1, |seq, bytes| {
            let stored = StoredTheirs::decode(bytes).map_err(|e| e.to_string())?;
            if stored.closed {
                self.closed.insert(seq);
            } else {
                let leaf = Digest::try_from(stored.leaf.as_slice()).map_err(|e| e.to_string())?;
                self.theirs.insert(seq, Theirs { leaf, index: stored.index });
            }
            Ok(())
        })
    }

    pub(crate) fn numbering_put(&self) -> (Vec<u8>, Option<Vec<u8>>) {
        let stored = StoredNumbering {
            next: self.next_seq,
            own_closed: self.own_closed,
            theirs_closed: self.theirs_closed,
            own_log: self.own_log,
            theirs_log: self.log_number,
        };
        (persist::numbering_key(&self.uri), Some(stored.encode_to_vec()))
    }

    pub(crate) fn own_put(&self, seq: u64, own: &Own) -> (Vec<u8>, Option<Vec<u8>>) {
        let stored = StoredOwn {
            leaf: own.leaf.0.to_vec(),
            kind: own.kind as u32,
            exchange: own.exchange.map(|x| x.0.to_vec()).unwrap_or_default(),
            proven: own.proven.clone(),
            index: own.index,
            voided: own.voided,
        };
        (persist::own_key(&self.uri, self.own_log, seq), Some(stored.encode_to_vec()))
    }

    /// Takes note of a number of the peer's that is being recorded.
    pub(crate) fn take(
        &mut self,
        seq: u64,
        leaf: Digest,
        exchange: Option<ExchangeId>,
        index: u64,
    ) -> (Vec<u8>, Option<Vec<u8>>) {
        self.theirs.insert(seq, Theirs { leaf, index });
        self.theirs_put(seq, &leaf, exchange, Some(index))
    }

    /// Whether a number of the peer's was recorded here, or closed, at any time.
    pub(crate) fn has_taken(&self, seq: Seq) -> bool {
        seq.0 <= self.theirs_closed || self.theirs.contains_key(&seq.0) || self.closed.contains(&seq.0)
    }

    /// `index` is none for a number that is closed without having been recorded.
    pub(crate) fn theirs_put(
        &self,
        seq: u64,
        leaf: &Digest,
        exchange: Option<ExchangeId>,
        index: Option<u64>,
    ) -> (Vec<u8>, Option<Vec<u8>>) {
        let stored = StoredTheirs {
            leaf: leaf.0.to_vec(),
            closed: index.is_none(),
            exchange: exchange.map(|x| x.0.to_vec()).unwrap_or_default(),
            index: index.unwrap_or_default(),
        };
        (persist::theirs_key(&self.uri, self.log_number, seq), Some(stored.encode_to_vec()))
    }

    /// A PERIOD over the open numbers that stands in this node's log and is not accepted by the peer yet: its
    /// number, its leaf hash, the last number it closes.
    pub(crate) fn recorded_period(&self) -> Option<(u64, Digest, u64)> {
        self.own.iter().filter(|(_, own)| own.kind == PairKind::Period).find_map(|(seq, own)| {
            let (pair, leaf) = crate::engine::unwrap(own.proven.as_ref()?).ok()?;
            match pair.body {
                puente_wire::PairBody::Period(period) if period.first.0 == self.own_closed + 1 => {
                    Some((*seq, leaf, period.last.0))
                }
                _ => None,
            }
        })
    }

    /// Something waits for a connection: questions, what the log before this node's lost, or whatever the peer may have to
    /// ask of a node that it cannot call.
    pub(crate) fn wants_line(&self) -> bool {
        self.backlog.is_waiting() || self.owes_handover || (self.called && !self.forked)
    }

    /// Too many answers without a receipt past their deadlines.
    pub(crate) fn owes_receipts(&self, now: Millis) -> bool {
        let max = puente_model::limits::UNRECEIPTED_ANSWERS_MAX;
        // In time, as a rule: then the first says so.
        let late = self.unreceipted.first().is_some_and(|(due, _)| *due < now);
        late && self.unreceipted.len() >= max && self.unreceipted.iter().nth(max - 1).is_some_and(|(due, _)| *due < now)
    }
}

/// A log as the annex names it, and its k.
fn log_of(entry: &LogEntry, key: VerifierKey) -> (PeerLog, u32) {
    let log = PeerLog::new(key, entry.closed_at);
    let log = match &entry.first_head {
        Some(first) => log.pinned(first.size, first.root),
        None => log,
    };
    (log, number_of(entry))
}

/// k of a log's origin.
pub(crate) fn number_of(log: &LogEntry) -> u32 {
    log.origin.as_str().rsplit("/log").next().and_then(|k| k.parse().ok()).unwrap_or(1)
}

/// Visits the pairs under `prefix` whose last eight bytes are a number from `from` on.
pub(crate) fn each(
    store: &dyn Store,
    prefix: &[u8],
    from: u64,
    mut visit: impl FnMut(u64, &[u8]) -> Result<(), String>,
) -> Result<(), String> {
    const PAGE: usize = 1_000;
    let mut start = [prefix, &from.to_be_bytes()].concat();
    loop {
        let page = store.scan(prefix, &start, PAGE)?;
        for (key, value) in &page {
            if let Some(seq) = key.strip_prefix(prefix).and_then(|rest| <[u8; 8]>::try_from(rest).ok()) {
                visit(u64::from_be_bytes(seq), value)?;
            }
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
