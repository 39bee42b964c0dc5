//! Connections, Ready, heads, faults: what frames are judged under.

use std::collections::BTreeMap;

use prost::Message as _;
use puente_audit_log::{ClaimedCheckpoint, verify_consistency};
use puente_model::{CharterVector, EventKind, ExchangeId, Millis, NodeUri, TreeSize};
use puente_wire::{WireError, decode_frame, encode_frame, fault::FaultCode, join_hashes, proto, split_hashes};

use crate::adoption::{part_names, shown_charter};
use crate::api::{Alarm, ConnectionId, Effect, LocalEvent, StreamId, Unasked};
use crate::engine::{Engine, Route, Standing, Then, Timer, aside};
use crate::heads::HeadProblem;
use crate::ledger::Intent;
use crate::minor;
use crate::peer::{Connection, PARKED_BYTES_MAX, PARKED_MAX};

/// Why a frame was not processed, and what is to be done with it.
#[derive(Debug)]
pub(crate) enum Problem {
    /// Say so to the sender.
    Fault(FaultCode, Option<ExchangeId>),
    /// Wait for the head of this size, then judge again.
    Park(u64),
    /// Its charter is newer: wait until its parts are adopted, then judge again.
    Behind(CharterVector, Option<ExchangeId>),
    /// Drop it: it repeats what is under way.
    Ignore,
}

impl From<FaultCode> for Problem {
    fn from(code: FaultCode) -> Self {
        Self::Fault(code, None)
    }
}

/// A peer's fault class is recorded at once, then at most once in this time.
const FAULT_EVENT_MILLIS: u64 = 60_000;

impl Engine {
    pub(crate) fn connected(&mut self, now: Millis, connection: ConnectionId, peer: NodeUri, _dialled: bool) {
        let Some(known) = self.peers.get_mut(&peer).filter(|p| p.admitted && !p.forked) else {
            self.emit(Effect::Close { connection, reason: FaultCode::NotAMember });
            return;
        };
        known.dialling = false;
        let who = peer.clone();
        let line = Connection { peer, ready: false, minor: 0, sent_head: 0, next_stream: 2, asks: BTreeMap::new() };
        self.connections.insert(connection, line);
        self.send_ready(now, connection, &who);
    }

    /// What this node is under now, and which heads it knows: when a connection begins, and when the charter changes.
    pub(crate) fn send_ready(&mut self, now: Millis, connection: ConnectionId, peer: &NodeUri) {
        let accepted = self.peers.get(peer).and_then(|known| known.log.accepted());
        let your_head = accepted.map(|h| h.note_bytes().to_vec()).unwrap_or_default();
        let own = self.tuning.minor;
        let ready = proto::Ready {
            version: 1,
            node: self.node.to_string(),
            charter: Some((&self.vector).into()),
            charter_hash: self.charter.hash().0.to_vec(),
            catalogue: self.catalogue.digest().0.to_vec(),
            own_head: self.head().map(<[u8]>::to_vec).unwrap_or_default(),
            your_head,
            clock_millis: now.0,
            parts: if own >= minor::PARTS { part_names(&self.charter) } else { Vec::new() },
            minor: own,
        };
        self.send_control(connection, proto::frame::Body::Ready(ready));
    }

    pub(crate) fn disconnected(&mut self, now: Millis, connection: ConnectionId) {
        let Some(gone) = self.connections.remove(&connection) else { return };
        let other = self.connections.iter().filter(|(_, c)| c.peer == gone.peer && c.ready).map(|(id, _)| *id).max();
        let mut closing = false;
        if let Some(peer) = self.peers.get_mut(&gone.peer)
            && peer.ready == Some(connection)
        {
            peer.ready = other;
            peer.closing = None;
            peer.handover = None;
            closing = !peer.close_tickets.is_empty();
        }
        if let Some(peer) = self.peers.get_mut(&gone.peer) {
            for waiting in peer.parked.values_mut() {
                waiting.retain(|(c, _, _)| *c != connection);
            }
            peer.parked.retain(|_, waiting| !waiting.is_empty());
            peer.parked_count = peer.parked.values().map(Vec::len).sum();
            peer.parked_bytes = peer.parked.values().flatten().map(|(_, _, bytes)| bytes.len()).sum();
        }
        if closing && self.line_to(&gone.peer).is_some() {
            self.start_period(now, &gone.peer);
        }
        self.line_lost(now, &gone.peer, gone.asks.into_values());
        self.witness_lost(now, connection);
        self.forget_partial(connection);
        if other.is_none() {
            self.tell_groups(now, puente_corridor::Input::Lost(gone.peer.clone()));
        }
        self.catch_up_elsewhere(&gone.peer, connection);
        self.compare_again(now, &gone.peer, connection);
    }

    pub(crate) fn dial_failed(&mut self, now: Millis, peer: &NodeUri) {
        if let Some(peer) = self.peers.get_mut(peer) {
            peer.dialling = false;
        }
        self.seek_line(now, peer, crate::engine::AGAIN_MILLIS / 5);
        self.peer_unreachable(peer);
        self.not_compared(now, peer, Unasked::Unreachable);
    }

    /// A ready connection to the peer; asks for one if there is none.
    pub(crate) fn line_to(&mut self, peer: &NodeUri) -> Option<ConnectionId> {
        let known = self.peers.get_mut(peer).filter(|known| known.admitted)?;
        if known.ready.is_none() && !known.dialling && !known.forked {
            known.dialling = true;
            self.emit(Effect::Connect { peer: peer.clone() });
            return None;
        }
        known.ready
    }

    /// The stream of an exchange that this node asks: the one it has, or a new one on this connection.
    pub(crate) fn open_stream(&mut self, connection: ConnectionId, exchange: ExchangeId) -> Option<Route> {
        if let Some(route) = self.asks.get(&exchange).and_then(|ask| ask.route) {
            return Some(route);
        }
        let line = self.connections.get_mut(&connection)?;
        let stream = StreamId(line.next_stream);
        line.next_stream += 2;
        line.asks.insert(stream, exchange);
        Some(Route { connection, stream })
    }

    /// Nothing more goes out on the stream of an exchange that this node asks.
    pub(crate) fn leave_stream(&mut self, route: Route) {
        let Some(line) = self.connections.get_mut(&route.connection) else { return };
        if let Some(exchange) = line.asks.remove(&route.stream)
            && let Some(ask) = self.asks.get_mut(&exchange)
            && ask.route == Some(route)
        {
            ask.route = None;
        }
    }

    /// Gives an exchange up: the peer need not look any further.
    pub(crate) fn reset_stream(&mut self, route: Route) {
        if self.connections.contains_key(&route.connection) {
            self.leave_stream(route);
            self.emit(Effect::Reset { connection: route.connection, stream: route.stream });
        }
    }

    /// True if nothing may be disclosed to the peer now: one of its heads is doubted, or it stands convicted.
    fn withholds(&self, connection: ConnectionId, body: &proto::frame::Body) -> bool {
        use proto::frame::Body;
        let discloses = match body {
            Body::Reply(_) | Body::Release(_) | Body::Pending(_) => true,
            Body::Deliver(deliver) => deliver.content.is_some(),
            _ => false,
        };
        discloses
            && self
                .connections
                .get(&connection)
                .and_then(|line| self.peers.get(&line.peer))
                .is_some_and(|known| known.forked || known.log.doubted().is_some())
    }

    pub(crate) fn send_control(&mut self, connection: ConnectionId, body: proto::frame::Body) {
        self.send(Route { connection, stream: StreamId::CONTROL }, body, false);
    }

    /// Sends a frame that refers to nothing newer than what the peer was shown.
    pub(crate) fn send(&mut self, route: Route, body: proto::frame::Body, finish: bool) {
        // Whoever is on a connection that is gone, or may learn nothing now, asks again.
        if !self.connections.contains_key(&route.connection) || self.withholds(route.connection, &body) {
            return;
        }
        // Whoever speaks an older minor version could not read it.
        if self.connections.get(&route.connection).is_some_and(|line| minor::of(&body) > line.minor) {
            return;
        }
        // A frame of this node's own making over the limit is a bug; it is not sent, and the peer's deadline ends it.
        if let Ok(bytes) = encode_frame(&proto::Frame { body: Some(body) }) {
            self.emit(Effect::Send { connection: route.connection, stream: route.stream, bytes, finish });
        }
        if finish {
            self.leave_stream(route);
        }
    }

    /// Sends a frame with a receipt under the newest head, after that head.
    pub(crate) fn send_proven(&mut self, route: Route, body: proto::frame::Body, finish: bool) {
        self.show_head(route.connection);
        self.send(route, body, finish);
    }

    /// Shows the newest head on the control stream, proven from the one shown before.
    pub(crate) fn show_head(&mut self, connection: ConnectionId) {
        let size = self.ledger.size();
        let Some(line) = self.connections.get_mut(&connection).filter(|l| l.sent_head < size) else { return };
        let base = std::mem::replace(&mut line.sent_head, size);
        let Ok(proof) = self.ledger.consistency(base, size) else { return };
        let Some(head) = self.ledger.head() else { return };
        let head = proto::Head { checkpoint: head.note_bytes().to_vec(), base, proof: join_hashes(&proof) };
        self.send_control(connection, proto::frame::Body::Head(head));
    }

    pub(crate) fn frame(&mut self, now: Millis, connection: ConnectionId, stream: StreamId, bytes: &[u8]) {
        let Some(line) = self.connections.get(&connection) else { return };
        let (peer, ready) = (line.peer.clone(), line.ready);
        let route = Route { connection, stream };
        let body = match decode_frame(bytes) {
            Ok(body) if minor::of(&body) <= self.tuning.minor => body,
            decoded => {
                let code = match decoded {
                    Err(WireError::TooLarge { .. }) => FaultCode::Oversized,
                    // A kind of frame of a later minor version is one that this node does not know.
                    _ => FaultCode::Malformed,
                };
                self.fault(now, &peer, route, code, None);
                return;
            }
        };
        use proto::frame::Body;
        if !ready
            && !matches!(body, Body::Ready(_) | Body::CharterPart(_) | Body::Fault(_))
            && let Some(waits) = self.wait_behind_ready(&peer, route, bytes)
        {
            if let Err(code) = waits {
                self.fault(now, &peer, route, code, None);
            }
            return;
        }
        let doubted = self.peers.get(&peer).and_then(|known| known.log.doubted());
        // The holder finishes its half after these.
        let last = matches!(body, Body::Fault(_) | Body::Release(_) | Body::Pending(_)) && stream != StreamId::CONTROL;
        let answers = last || matches!(body, Body::Reply(_));
        let result = match body {
            Body::Fault(fault) => {
                self.faulted(now, &peer, route, &fault);
                Ok(())
            }
            // A charter part is taken from whoever was asked for it: without it, Ready may not be understood.
            _ if !ready && !matches!(body, Body::Ready(_) | Body::CharterPart(_)) => Err(FaultCode::NotReady.into()),
            _ if !belongs(&body, stream) => Err(FaultCode::OutOfOrder.into()),
            Body::Ready(claimed) => self.on_ready(now, &peer, connection, &claimed),
            Body::Ask(_) | Body::Acknowledge(_) if doubted.is_some() => Err(Problem::Park(doubted.unwrap_or_default())),
            Body::Head(head) => self.on_head(now, &peer, connection, &head),
            Body::NeedHead(need) => self.on_need_head(connection, &need),
            Body::HeadProof(proof) => self.on_head_proof(now, &peer, connection, &proof),
            Body::Ask(ask) => self.on_ask(now, &peer, Some(route), ask),
            Body::Reply(reply) => self.on_reply(now, &peer, route, reply, false),
            Body::Acknowledge(ack) => self.on_acknowledge(now, &peer, route, &ack),
            Body::Pending(pending) => self.on_pending(now, &peer, &pending),
            Body::Release(release) => self.on_release(now, &peer, route, release, false),
            Body::Deliver(deliver) => self.on_deliver(now, &peer, route, deliver),
            Body::Delivered(delivered) => self.on_delivered(now, &peer, &delivered),
            Body::Probe(probe) => self.on_probe(&peer, connection, &probe),
            Body::Have(have) => self.on_have(now, &peer, &have),
            Body::NeedPart(need) => self.on_need_part(connection, &need),
            Body::CharterPart(part) => self.on_charter_part(now, &peer, connection, &part),
            Body::Lost(lost) => self.on_lost(now, &peer, connection, lost),
            Body::Submit(submit) => self.on_submit(now, &peer, connection, &submit),
            Body::Judged(judged) => self.on_judged(now, connection, judged),
            Body::Seek(seek) => self.on_seek(connection, &seek),
            Body::Sought(sought) => self.on_sought(now, &peer, sought),
            Body::AboutGroup(part) => self.on_group(now, &peer, connection, part),
            Body::Relay(relay) => self.on_relay(now, &peer, relay),
            Body::Relayed(relayed) => self.on_relayed(now, relayed),
        };
        match result {
            Ok(()) | Err(Problem::Ignore) => {}
            Err(Problem::Fault(code, exchange)) => self.fault(now, &peer, route, code, exchange),
            Err(Problem::Behind(vector, exchange)) => {
                if let Err(code) = self.wait_for_charter(now, &peer, route, &vector, Some(bytes)) {
                    self.fault(now, &peer, route, code, exchange);
                }
                return;
            }
            Err(Problem::Park(size)) => {
                if let Some(known) = self.peers.get_mut(&peer) {
                    if known.parked_count < PARKED_MAX && known.parked_bytes + bytes.len() <= PARKED_BYTES_MAX {
                        known.parked_count += 1;
                        known.parked_bytes += bytes.len();
                        known.parked.entry(size).or_default().push((connection, stream, bytes.to_vec()));
                        self.want_head(now, &peer);
                    } else {
                        self.fault(now, &peer, route, FaultCode::Overloaded, None);
                    }
                }
                return;
            }
        }
        if last {
            self.leave_stream(route);
        }
        if answers {
            self.resend(now, &peer);
        }
    }

    /// Judges the frames again that waited for the head of this size.
    fn unpark(&mut self, now: Millis, peer: &NodeUri, size: u64) {
        let Some(known) = self.peers.get_mut(peer) else { return };
        let Some(waiting) = known.parked.remove(&size) else { return };
        known.parked_count -= waiting.len();
        known.parked_bytes -= waiting.iter().map(|(_, _, bytes)| bytes.len()).sum::<usize>();
        for (connection, stream, bytes) in waiting {
            self.frame(now, connection, stream, &bytes);
        }
    }

    /// Turns a head problem into what is to be done with the frame; a fork ends the exchange with the peer.
    pub(crate) fn head_problem(&mut self, now: Millis, peer: &NodeUri, problem: HeadProblem) -> Problem {
        match problem {
            HeadProblem::Fault(code) => code.into(),
            HeadProblem::Unproven(size) => Problem::Park(size),
            HeadProblem::BadProof => FaultCode::BadProof.into(),
            HeadProblem::Fork { accepted, claimed } => {
                self.convict(now, peer, accepted, claimed, FaultCode::InconsistentHead);
                FaultCode::InconsistentHead.into()
            }
            HeadProblem::NoProof { accepted, claimed } => {
                self.convict(now, peer, accepted, claimed, FaultCode::BadProof);
                FaultCode::BadProof.into()
            }
        }
    }

    /// Both heads are kept, and nothing more is exchanged with the peer until people decide.
    pub(crate) fn convict(
        &mut self,
        now: Millis,
        peer: &NodeUri,
        accepted: Vec<u8>,
        claimed: Vec<u8>,
        reason: FaultCode,
    ) {
        let Some(known) = self.peers.get_mut(peer).filter(|p| !p.forked) else { return };
        known.forked = true;
        let detail = [accepted.as_slice(), b"\n", &claimed].concat();
        let leaf = puente_model::Digest::of(&detail);
        let asides = [&accepted, &claimed]
            .into_iter()
            .filter(|note| !note.is_empty())
            .map(|note| aside(&leaf, proto::aside::Body::PeerHead(note.clone())))
            .collect();
        self.enqueue(now, Intent { entries: Vec::new(), puts: Vec::new(), asides, then: Then::Nothing });
        let who = peer.clone();
        self.record_event(now, plain_event(EventKind::PeerFault, 1, detail), |e| e.peer = Some(who), Then::Nothing);
        let who = peer.clone();
        self.emit(Effect::Alarm(match reason {
            FaultCode::InconsistentHead => Alarm::Fork { peer: who, accepted, claimed },
            _ => Alarm::HeadsUnproven { peer: who, accepted, claimed },
        }));
        let lines: Vec<_> = self.connections.iter().filter(|(_, c)| c.peer == *peer).map(|(id, _)| *id).collect();
        for connection in lines {
            self.emit(Effect::Close { connection, reason });
        }
    }

    /// Refuses a frame by name.
    pub(crate) fn refuse(&mut self, route: Route, code: FaultCode, exchange: Option<ExchangeId>) {
        let retry = match code {
            FaultCode::Overloaded => 200,
            FaultCode::ReceiptsOwed | FaultCode::LogUnavailable => 1_000,
            _ => 0,
        };
        let fault = proto::Fault {
            code: code.code(),
            text: code.mend().to_owned(),
            retry_after_millis: retry,
            exchange_id: exchange.map(|x| x.0.to_vec()).unwrap_or_default(),
        };
        self.send(route, proto::frame::Body::Fault(fault), route.stream != StreamId::CONTROL);
        // Without Ready there is nothing to say to each other.
        let ready = self.connections.get(&route.connection).is_some_and(|line| line.ready);
        if !ready && matches!(code, FaultCode::Version | FaultCode::OldCharter | FaultCode::Catalogue) {
            self.emit(Effect::Close { connection: route.connection, reason: code });
        }
    }

    /// Refuses a frame by name, and counts it: the first of a class is recorded at once.
    pub(crate) fn fault(
        &mut self,
        now: Millis,
        peer: &NodeUri,
        route: Route,
        code: FaultCode,
        exchange: Option<ExchangeId>,
    ) {
        self.refuse(route, code, exchange);
        // Being busy is no misdeed of the peer's, and a log that takes no entries takes none of these.
        if self.standing() != Standing::Open || matches!(code, FaultCode::Overloaded | FaultCode::LogUnavailable) {
            return;
        }
        let Some(known) = self.peers.get_mut(peer) else { return };
        let (count, next) = known.faults.entry(code).or_insert((0, Millis(0)));
        *count += 1;
        if *next <= now {
            self.record_faults(now);
        }
    }

    /// Records what was counted and is due.
    pub(crate) fn record_faults(&mut self, now: Millis) {
        let mut due = Vec::new();
        for peer in self.peers.values_mut() {
            for (code, (count, next)) in &mut peer.faults {
                if *count > 0 && *next <= now {
                    due.push((peer.uri.clone(), *code, std::mem::take(count)));
                    *next = now.plus(FAULT_EVENT_MILLIS);
                }
            }
        }
        if due.is_empty() {
            return;
        }
        self.at(now.plus(FAULT_EVENT_MILLIS), Timer::Faults);
        for (peer, code, count) in due {
            let event = plain_event(EventKind::PeerFault, count, code.as_str().as_bytes().to_vec());
            self.record_event(now, event, |e| e.peer = Some(peer), Then::Nothing);
        }
    }

    /// The peer speaks this version, with this catalogue, in its own name.
    fn fits(&self, peer: &NodeUri, claimed: &proto::Ready) -> Result<(), FaultCode> {
        if claimed.version != 1 {
            return Err(FaultCode::Version);
        }
        if claimed.node != peer.as_str() {
            return Err(FaultCode::Misaddressed);
        }
        if claimed.catalogue != self.catalogue.digest().0 {
            return Err(FaultCode::Catalogue);
        }
        Ok(())
    }

    fn on_ready(
        &mut self,
        now: Millis,
        peer: &NodeUri,
        connection: ConnectionId,
        claimed: &proto::Ready,
    ) -> Result<(), Problem> {
        self.fits(peer, claimed)?;
        let older = proto::Ready { parts: Vec::new(), ..claimed.clone() };
        let claimed = if self.tuning.minor >= minor::PARTS { claimed } else { &older };
        let shown = match shown_charter(claimed) {
            Some(shown) => Some(shown),
            // A node that does not say which parts it has cannot be given any.
            None if claimed.parts.is_empty() && claimed.charter_hash == self.charter.hash().0 => None,
            None if claimed.parts.is_empty() => return Err(FaultCode::OldCharter.into()),
            None => return Err(FaultCode::Malformed.into()),
        };
        let before = self.peers.get(peer).and_then(|known| known.shown.as_ref());
        if shown.as_ref().is_some_and(|(vector, _)| before.is_some_and(|before| !vector.covers(before))) {
            return Err(FaultCode::OldCharter.into());
        }
        if let Some((vector, _)) = &shown
            && !self.vector.covers(vector)
            && self.is_of_another_log(peer, &claimed.own_head)
        {
            // Its log has a successor that only the newer annex names.
            if let Some(line) = self.connections.get_mut(&connection) {
                line.minor = claimed.minor.min(self.tuning.minor);
            }
            return Err(Problem::Behind(vector.clone(), None));
        }
        let sent_head = self.compare_own_head(peer, &claimed.your_head)?;
        if !claimed.own_head.is_empty() {
            self.compare_peer_head(now, peer, &claimed.own_head)?;
        }
        let mut again = false;
        if let Some(line) = self.connections.get_mut(&connection) {
            again = std::mem::replace(&mut line.ready, true);
            line.minor = claimed.minor.min(self.tuning.minor);
            line.sent_head = if again { line.sent_head.max(sent_head) } else { sent_head };
        }
        if let Some((vector, parts)) = shown {
            if let Some(known) = self.peers.get_mut(peer) {
                known.shown = Some(vector);
            }
            self.compare_charter(now, peer, connection, &parts)?;
        }
        if again {
            return Ok(());
        }
        if let Some(known) = self.peers.get_mut(peer) {
            known.ready = Some(connection);
            known.head_asked.clear();
            known.log.forget_asked();
        }
        self.show_head(connection);
        self.show_cosigned(connection);
        self.witness_ready(now, peer);
        if self.connections.get(&connection).is_some_and(|line| line.minor >= minor::GROUPS) {
            self.tell_groups(now, puente_corridor::Input::Reached(peer.clone()));
        }
        self.ask_in_doubt(now, peer, connection);
        self.hand_over(now, peer);
        self.line_ready(now, peer);
        Ok(())
    }

    /// The head is of a log that the charter in force does not name as the peer's.
    fn is_of_another_log(&self, peer: &NodeUri, note: &[u8]) -> bool {
        let Ok(claimed) = ClaimedCheckpoint::parse(note) else { return false };
        self.peers.get(peer).is_some_and(|known| known.log.key().name() != claimed.claimed().origin())
    }

    /// Compares the head of *this* log that the peer holds with the log. Returns its size.
    fn compare_own_head(&mut self, peer: &NodeUri, note: &[u8]) -> Result<u64, Problem> {
        if note.is_empty() {
            return Ok(0);
        }
        let claimed = ClaimedCheckpoint::parse(note).map_err(|_| Problem::from(FaultCode::Malformed))?;
        if self.earlier.contains_key(claimed.claimed().origin()) {
            // It does not know yet that this log follows that one: the newer annex says so.
            return Ok(0);
        }
        // A head that this node's key did not sign says nothing about this node.
        let held = claimed.verify(&self.own_key).map_err(|_| Problem::from(FaultCode::WrongLog))?;
        let (size, own) = (held.size().0, self.ledger.size());
        let agrees = size <= own && {
            let proof = self.ledger.consistency(size, own);
            let root = self.ledger.tree().root();
            proof.is_ok_and(|p| verify_consistency(TreeSize(size), TreeSize(own), &held.root(), &root, &p).is_ok())
        };
        if agrees {
            return Ok(size);
        }
        // An entry of it would make a second history of this log: from here on there are none.
        self.emit(Effect::Alarm(Alarm::OwnLogBehind { peer: peer.clone(), head: note.to_vec() }));
        self.fall_behind();
        Err(FaultCode::InconsistentHead.into())
    }

    /// A frame while the log takes no entries: Ready is compared, everything else waits for another day.
    pub(crate) fn frame_held_back(&mut self, now: Millis, connection: ConnectionId, stream: StreamId, bytes: &[u8]) {
        let Some(line) = self.connections.get(&connection) else { return };
        let peer = line.peer.clone();
        let route = Route { connection, stream };
        match decode_frame(bytes) {
            Ok(proto::frame::Body::Ready(claimed)) if self.fits(&peer, &claimed).is_ok() => {
                match self.compare_own_head(&peer, &claimed.your_head) {
                    Ok(_) => self.emit(Effect::Alarm(Alarm::OwnLogAgrees { peer })),
                    Err(_) => self.fault(now, &peer, route, FaultCode::InconsistentHead, None),
                }
            }
            Ok(proto::frame::Body::Fault(_)) => {}
            _ => self.fault(now, &peer, route, FaultCode::LogUnavailable, None),
        }
    }

    /// Compares the peer's newest head with what was accepted: it may not have shrunk.
    fn compare_peer_head(&mut self, now: Millis, peer: &NodeUri, note: &[u8]) -> Result<(), Problem> {
        let Some(known) = self.peers.get_mut(peer) else { return Err(FaultCode::NotAMember.into()) };
        match known.log.shown(note) {
            Ok(()) => Ok(()),
            Err(problem) => Err(self.head_problem(now, peer, problem)),
        }
    }

    fn on_head(
        &mut self,
        now: Millis,
        peer: &NodeUri,
        connection: ConnectionId,
        head: &proto::Head,
    ) -> Result<(), Problem> {
        let proof = split_hashes(&head.proof).map_err(|_| Problem::from(FaultCode::Malformed))?;
        let Some(known) = self.peers.get_mut(peer) else { return Err(FaultCode::NotAMember.into()) };
        match known.log.extend(&head.checkpoint, head.base, &proof) {
            Ok(size) => {
                self.cover_shown(now, peer, &head.checkpoint);
                self.unpark(now, peer, size);
                Ok(())
            }
            Err(HeadProblem::Unproven(_)) => {
                self.want_head(now, peer);
                Ok(())
            }
            Err(problem) => {
                let problem = self.head_problem(now, peer, problem);
                self.ask_in_doubt(now, peer, connection);
                Err(problem)
            }
        }
    }

    /// Asks for the proof of a doubted head, unless it is asked for already.
    fn ask_in_doubt(&mut self, now: Millis, peer: &NodeUri, connection: ConnectionId) {
        let Some(known) = self.peers.get_mut(peer).filter(|known| !known.forked) else { return };
        if let Some((from, to)) = known.log.ask_in_doubt(now) {
            self.send_control(connection, proto::frame::Body::NeedHead(proto::NeedHead { from, to }));
            self.want_head(now.plus(crate::engine::AGAIN_MILLIS), peer);
        }
    }

    /// Asks for the proofs that parked frames wait for.
    pub(crate) fn ask_for_heads(&mut self, now: Millis, peer: &NodeUri) {
        let Some(known) = self.peers.get_mut(peer) else { return };
        let Some(connection) = known.ready else { return };
        // Nobody asks any more for a head that others displaced: what waits for it is judged again, a few at a time.
        let displaced: Vec<u64> =
            known.parked.keys().filter(|size| !known.log.is_asked(**size)).take(16).copied().collect();
        for size in displaced {
            self.unpark(now, peer, size);
        }
        let Some(known) = self.peers.get_mut(peer) else { return };
        let mut asked = Vec::new();
        for (from, to) in known.log.wanted() {
            if known.head_asked.len() < 1_024 && known.head_asked.insert((from, to)) {
                asked.push((from, to));
            }
        }
        let waiting = !known.parked.is_empty();
        let doubted = known.log.doubted().is_some();
        for (from, to) in asked {
            self.send_control(connection, proto::frame::Body::NeedHead(proto::NeedHead { from, to }));
        }
        if doubted {
            self.ask_in_doubt(now, peer, connection);
        } else if waiting {
            if let Some(known) = self.peers.get_mut(peer) {
                known.head_asked.clear();
            }
            self.want_head(now.plus(crate::engine::AGAIN_MILLIS), peer);
        }
    }

    fn on_need_head(&mut self, connection: ConnectionId, need: &proto::NeedHead) -> Result<(), Problem> {
        if need.from > need.to || need.to > self.ledger.size() {
            return Err(FaultCode::NoSuchHead.into());
        }
        let proof = self.ledger.consistency(need.from, need.to).map_err(|_| Problem::from(FaultCode::NoSuchHead))?;
        let answer = proto::HeadProof { from: need.from, to: need.to, proof: join_hashes(&proof) };
        self.send_control(connection, proto::frame::Body::HeadProof(answer));
        Ok(())
    }

    fn on_head_proof(
        &mut self,
        now: Millis,
        peer: &NodeUri,
        connection: ConnectionId,
        proof: &proto::HeadProof,
    ) -> Result<(), Problem> {
        let hashes = split_hashes(&proof.proof).map_err(|_| Problem::from(FaultCode::Malformed))?;
        let Some(known) = self.peers.get_mut(peer) else { return Err(FaultCode::NotAMember.into()) };
        match known.log.prove(proof.from, proof.to, &hashes) {
            Ok(size) => {
                if let Some(size) = size {
                    self.cover_known(now, peer, size);
                    self.unpark(now, peer, size);
                }
                Ok(())
            }
            Err(problem) => {
                let problem = self.head_problem(now, peer, problem);
                self.ask_in_doubt(now, peer, connection);
                Err(problem)
            }
        }
    }
}

/// Whether frames of this kind travel on this stream: the asker opens one for each exchange.
fn belongs(body: &proto::frame::Body, stream: StreamId) -> bool {
    use proto::frame::Body;
    match body {
        Body::Ask(_) | Body::Acknowledge(_) => stream.0 % 2 == 1,
        Body::Reply(_) | Body::Release(_) | Body::Pending(_) => {
            stream != StreamId::CONTROL && stream.0.is_multiple_of(2)
        }
        Body::Fault(_) => true,
        _ => stream == StreamId::CONTROL,
    }
}

/// A local event with nothing but a kind, a count and a detail.
pub(crate) fn plain_event(kind: EventKind, count: u64, detail: Vec<u8>) -> LocalEvent {
    LocalEvent { kind, record_type: String::new(), count, purpose: None, basis: None, role: None, detail }
}

/// The aside that keeps a peer's receipt.
pub(crate) fn receipt_aside(leaf: &puente_model::Digest, receipt: &[u8]) -> Vec<u8> {
    proto::Aside { leaf_hash: leaf.0.to_vec(), body: Some(proto::aside::Body::PeerReceipt(receipt.to_vec())) }
        .encode_to_vec()
}
