//! The holder's side of an exchange: what it is asked, and what it remembers of it.

use prost::Message as _;
use puente_evidence::CheckedEscrow;
use puente_model::{Digest, ExchangeId, Millis, NodeUri, RefusalReason, Secret32, limits};
use puente_policy::Grant;
use puente_wire::{Explanation, Pair, PairBody, PairKind, QueryPayload, fault::FaultCode, proto};

use crate::api::{ConnectionId, Effect, StreamId, Ticket};
use crate::control::Problem;
use crate::engine::{Engine, Route, unwrap};
use crate::finding::Asked;
use crate::judging::{Say, words};
use crate::persist::{self, StoredHold};

/// Where a held question stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum HoldStage {
    /// Records are being looked up; nothing is recorded.
    LookingUp,
    /// The QUERY stands recorded, and a person decides.
    Parked,
    /// QUERY and ANSWER are not durable yet: nothing was replied.
    Recording,
    /// Replied; the asker's receipt is to come.
    AwaitingReceipt,
    /// The RELEASE is not durable yet: the key was not sent.
    RecordingRelease,
    /// Released.
    Released,
}

impl HoldStage {
    const fn code(self) -> u32 {
        match self {
            Self::LookingUp | Self::Recording | Self::AwaitingReceipt => 1,
            Self::RecordingRelease | Self::Released => 2,
            Self::Parked => 3,
        }
    }
}

/// A question that this node holds the answer to.
#[derive(Debug)]
pub(crate) struct Holding {
    pub(crate) peer: NodeUri,
    pub(crate) stage: HoldStage,
    pub(crate) stored: StoredHold,
    pub(crate) query: Pair,
    pub(crate) query_leaf: Digest,
    pub(crate) answer: Option<(Pair, Digest)>,
    pub(crate) route: Option<Route>,
    /// It came as a post, on no stream.
    pub(crate) said_to_group: bool,
    pub(crate) due_at: Millis,
    pub(crate) query_receipt: Vec<u8>,
    pub(crate) grant: Option<Grant>,
    /// What is being looked up.
    pub(crate) asked: Option<Asked>,
    pub(crate) cancelled: bool,
    /// Whoever decided on it is told what came of it.
    pub(crate) decider: Option<Ticket>,
    /// What is kept with its answer, so that later questions find it.
    pub(crate) offers: Vec<(Vec<u8>, Option<Vec<u8>>)>,
}

impl Drop for Holding {
    fn drop(&mut self) {
        self.stored.wipe();
    }
}

impl Holding {
    pub(crate) fn put(&mut self, exchange: ExchangeId) -> (Vec<u8>, Option<Vec<u8>>) {
        // Until its answer is recorded, what was parked is parked.
        let parked = self.stored.query_index.is_some() && self.answer.is_none();
        self.stored.stage = if parked { HoldStage::Parked.code() } else { self.stage.code() };
        (persist::hold_key(&self.peer, exchange), Some(self.stored.encode_to_vec()))
    }
}

impl Engine {
    /// Takes up the held exchanges that still await a receipt.
    pub(crate) fn restore_holds(&mut self, now: Millis) -> Result<(), String> {
        for (peer, exchange) in persist::all_open(&*self.store, persist::OPEN_HOLDS)? {
            let Some(hold) = self.load_hold(&peer, exchange)? else { continue };
            if let Some(peer) = self.peers.get_mut(&peer) {
                peer.unreceipted.insert((hold.due_at, exchange));
            }
            self.holds.insert(exchange, hold);
        }
        self.restore_parked(now)
    }

    pub(crate) fn load_hold(&self, peer: &NodeUri, exchange: ExchangeId) -> Result<Option<Holding>, String> {
        let Some(bytes) = self.store.get(&persist::hold_key(peer, exchange))? else { return Ok(None) };
        let stored = StoredHold::decode(bytes.as_slice()).map_err(|e| e.to_string())?;
        let query = stored.query.as_ref().ok_or("a held exchange without its QUERY")?;
        let (query, query_leaf) = unwrap(query).map_err(|e| e.to_string())?;
        let answer = match &stored.answer {
            Some(answer) => Some(unwrap(answer).map_err(|e| e.to_string())?),
            None => None,
        };
        let stage = match (stored.stage, &answer) {
            (3, None) => HoldStage::Parked,
            (_, None) => return Err("a held exchange without its ANSWER".to_owned()),
            (2, _) => HoldStage::Released,
            _ => HoldStage::AwaitingReceipt,
        };
        Ok(Some(Holding {
            peer: query.from.clone(),
            stage,
            due_at: Millis(stored.due_at),
            stored,
            query,
            query_leaf,
            answer,
            route: None,
            said_to_group: false,
            query_receipt: Vec::new(),
            grant: None,
            asked: None,
            cancelled: false,
            decider: None,
            offers: Vec::new(),
        }))
    }

    /// Makes sure a known exchange is in memory.
    pub(crate) fn hold_in_memory(&mut self, peer: &NodeUri, exchange: ExchangeId) -> Result<bool, Problem> {
        if self.holds.contains_key(&exchange) {
            return Ok(true);
        }
        match self.load_hold(peer, exchange) {
            Ok(Some(hold)) => {
                self.holds.insert(exchange, hold);
                Ok(true)
            }
            Ok(None) => Ok(false),
            Err(text) => {
                self.emit(Effect::Alarm(crate::api::Alarm::StoreUnavailable(text)));
                Err(Problem::Fault(FaultCode::LogUnavailable, Some(exchange)))
            }
        }
    }

    /// `route`: where it came from; none if it was said to a group, and its answer is delivered.
    pub(crate) fn on_ask(
        &mut self,
        now: Millis,
        peer: &NodeUri,
        route: Option<Route>,
        ask: proto::Ask,
    ) -> Result<(), Problem> {
        let mut proven = ask.query.ok_or(Problem::from(FaultCode::Malformed))?;
        if ask.payload.len() > limits::QUERY_BYTES_MAX {
            return Err(FaultCode::Oversized.into());
        }
        let (pair, leaf) = unwrap(&proven)?;
        let PairBody::Query { terms, due, commitment, escrow } = &pair.body else {
            return Err(FaultCode::OutOfOrder.into());
        };
        let (exchange, due, commitment, escrow_hash) = (terms.exchange, *due, *commitment, *escrow);
        let fault = |code| Problem::Fault(code, Some(exchange));
        if pair.from != *peer || pair.to != self.node {
            return Err(fault(FaultCode::Misaddressed));
        }
        if terms.group.is_empty() && terms.epoch != 0 {
            return Err(fault(FaultCode::Malformed));
        }
        if self.holds.contains_key(&exchange) {
            return self.repeat(exchange, peer, leaf, route);
        }
        // A number that this node never took has an exchange that it never held.
        let taken = self.peers.get(peer).is_some_and(|known| known.has_taken(pair.seq));
        if taken && self.hold_in_memory(peer, exchange)? {
            return self.repeat(exchange, peer, leaf, route);
        }
        if self.peers.get(peer).is_some_and(|known| known.owes_handover) {
            return Err(fault(FaultCode::Overloaded));
        }
        if !self.vector.covers(&pair.charter) {
            return Err(Problem::Behind(pair.charter, Some(exchange)));
        }
        self.check_number(now, peer, &pair, leaf).map_err(fault)?;
        if taken {
            // It was answered in a log that lost its tail: a second answer would contradict the first.
            return Err(fault(FaultCode::NumberClosed));
        }
        if !exchange.is_of(pair.log, pair.seq) {
            return Err(fault(FaultCode::Malformed));
        }
        let receipt = match self.peers.get_mut(peer) {
            Some(known) if route.is_some() => known.log.receipt(&proven.receipt, &leaf),
            Some(known) => known.log.receipt_from_afar(&proven.receipt, &leaf),
            None => return Err(fault(FaultCode::NotAMember)),
        };
        if let Err(problem) = receipt {
            return Err(match self.head_problem(now, peer, problem) {
                Problem::Fault(code, _) => fault(code),
                other => other,
            });
        }
        if self.draining {
            return Err(fault(FaultCode::Overloaded));
        }
        self.check_load(now, peer).map_err(fault)?;
        let escrow = proven.escrow.as_ref().ok_or(fault(FaultCode::BadEscrow))?;
        CheckedEscrow::check(escrow, escrow_hash).map_err(|_| fault(FaultCode::BadEscrow))?;
        let salt: [u8; 32] = ask.salt.as_slice().try_into().map_err(|_| fault(FaultCode::Malformed))?;
        if QueryPayload::commit(terms.mode, &ask.payload, &Secret32::new(salt)) != commitment {
            return Err(fault(FaultCode::BadCommitment));
        }
        let terms = terms.clone();
        let payload = QueryPayload::decode(&ask.payload);
        if payload.as_ref().is_ok_and(|p| p.asked_at.0 > now.0 + limits::CLOCK_SKEW_MILLIS_MAX) {
            return Err(fault(FaultCode::FutureDated));
        }
        let longest = limits::DEADLINE_MILLIS_MAX + limits::CLOCK_SKEW_MILLIS_MAX;
        if payload.as_ref().is_ok_and(|p| p.due_at.since(now) > longest || p.due_at.0.div_ceil(60_000) != due.0) {
            return Err(fault(FaultCode::Malformed));
        }
        let due_at = payload.as_ref().map_or(now, |p| p.due_at);
        let psk = self.exchange_psk(&terms, peer, &leaf);
        let query_receipt = std::mem::take(&mut proven.receipt);
        let hold = Holding {
            peer: peer.clone(),
            stage: HoldStage::LookingUp,
            stored: StoredHold {
                peer: peer.to_string(),
                query: Some(proto::Proven { receipt: Vec::new(), ..proven }),
                payload: ask.payload,
                salt: ask.salt,
                due_at: due_at.0,
                query_leaf: leaf.0.to_vec(),
                psk: psk.clone().unwrap_or_default(),
                ..StoredHold::default()
            },
            query: pair,
            query_leaf: leaf,
            answer: None,
            route,
            said_to_group: route.is_none(),
            due_at,
            query_receipt,
            grant: None,
            asked: None,
            cancelled: false,
            decider: None,
            offers: Vec::new(),
        };
        self.holds.insert(exchange, hold);
        match payload {
            Ok(_) if psk.is_none() => {
                let explanation = words(
                    now,
                    "asker and holder are at different epochs of the group: ask again in a moment",
                    "quien pregunta y quien responde están en épocas distintas del grupo: pregunte de nuevo en un momento",
                );
                self.answer(now, exchange, Say::Refuse(RefusalReason::StaleEpoch, explanation));
                self.catch_up_in_group(now, &terms, peer);
            }
            Ok(payload) => self.judge_inbound(now, exchange, &terms, &payload),
            Err(error) => {
                let text = error.to_string();
                let explanation =
                    Explanation { at: now, text_en: text.clone(), text_es: text, ..Explanation::default() };
                self.answer(now, exchange, Say::Refuse(RefusalReason::Quality, explanation));
            }
        }
        Ok(())
    }

    /// The same QUERY again: the stored reply, again.
    fn repeat(
        &mut self,
        exchange: ExchangeId,
        peer: &NodeUri,
        leaf: Digest,
        route: Option<Route>,
    ) -> Result<(), Problem> {
        let Some(hold) = self.holds.get_mut(&exchange) else { return Err(Problem::Ignore) };
        if hold.peer != *peer || hold.query_leaf != leaf {
            return Err(Problem::Fault(FaultCode::Replayed, Some(exchange)));
        }
        // Whoever was told through a group asks again here when nothing came.
        hold.route = route.or(hold.route);
        if matches!(hold.stage, HoldStage::LookingUp | HoldStage::Recording) {
            return Ok(());
        }
        if hold.stage == HoldStage::Parked {
            self.send_pending(exchange, None);
            return Ok(());
        }
        self.send_reply(exchange, None);
        self.forget_held(exchange);
        Ok(())
    }

    /// The number is new, of the peer's log, under a charter that this node knows, not from the future.
    fn check_number(&mut self, now: Millis, peer: &NodeUri, pair: &Pair, leaf: Digest) -> Result<(), FaultCode> {
        let known = self.peers.get(peer).ok_or(FaultCode::NotAMember)?;
        if pair.log != known.log_number {
            return Err(FaultCode::WrongLog);
        }
        if pair.minute.start().0 > now.0 + limits::CLOCK_SKEW_MILLIS_MAX {
            return Err(FaultCode::FutureDated);
        }
        if !self.charter.status(now).may_exchange() {
            return Err(FaultCode::CharterEnded);
        }
        if known.theirs.get(&pair.seq.0).is_some_and(|recorded| recorded.leaf != leaf) {
            return Err(FaultCode::Replayed);
        }
        if pair.seq.0 <= known.theirs_closed || self.is_closed(peer, pair.seq.0) {
            return Err(FaultCode::NumberClosed);
        }
        Ok(())
    }

    fn check_load(&mut self, now: Millis, peer: &NodeUri) -> Result<(), FaultCode> {
        let tuning = self.tuning;
        let known = self.peers.get_mut(peer).ok_or(FaultCode::NotAMember)?;
        if known.owes_receipts(now) {
            return Err(FaultCode::ReceiptsOwed);
        }
        if known.minute != now.minute().0 {
            (known.minute, known.minute_queries) = (now.minute().0, 0);
        }
        if known.lookups >= tuning.lookups_per_peer_max || known.minute_queries >= tuning.queries_per_peer_per_minute {
            return Err(FaultCode::Overloaded);
        }
        known.minute_queries += 1;
        Ok(())
    }

    /// Drops a held exchange that waits for nothing; the store has it.
    pub(crate) fn forget_held(&mut self, exchange: ExchangeId) {
        if self.withheld.holds(exchange) {
            return;
        }
        let Some(hold) = self.holds.get(&exchange) else { return };
        let awaited = self.peers.get(&hold.peer).is_some_and(|p| p.unreceipted.contains(&(hold.due_at, exchange)));
        if hold.stage == HoldStage::Released || (hold.stage == HoldStage::AwaitingReceipt && !awaited) {
            self.holds.remove(&exchange);
        }
    }

    /// The asker reset its stream: what is not recorded yet is refused as cancelled.
    pub(crate) fn cancelled(&mut self, connection: ConnectionId, stream: StreamId) {
        let route = Route { connection, stream };
        self.leave_stream(route);
        for exchange in self.lookups.values() {
            if let Some(hold) = self.holds.get_mut(exchange).filter(|h| h.route == Some(route)) {
                (hold.route, hold.cancelled) = (None, true);
            }
        }
    }

    /// What is delivered again of an answer or release of this node's: entry and content.
    pub(crate) fn held_again(
        &self,
        peer: &NodeUri,
        exchange: ExchangeId,
        kind: PairKind,
    ) -> Option<(proto::Proven, u64, proto::deliver::Content)> {
        let loaded;
        let hold = match self.holds.get(&exchange) {
            Some(hold) => hold,
            None => {
                loaded = self.load_hold(peer, exchange).ok()??;
                &loaded
            }
        };
        let stored = &hold.stored;
        if kind == PairKind::Release {
            let content = proto::deliver::Content::SealedKey(stored.sealed_key.clone());
            return Some((stored.release.clone()?, stored.release_index, content));
        }
        let content = match (&stored.sealed, &stored.plain) {
            (Some(sealed), _) => proto::deliver::Content::Sealed(sealed.clone()),
            (_, Some(plain)) => proto::deliver::Content::Plain(plain.clone()),
            _ => return None,
        };
        Some((stored.answer.clone()?, stored.answer_index, content))
    }
}
