//! Who may exchange with this node now: the charter's members, less those that this node blocks.
//!
//! A block is local and at once: it is an entry of this node's log (REVOKE, with the peer) and lies in the evidence
//! store, in one batch. Members whom the charter names first after its end wait for a new common part.

use std::collections::BTreeMap;

use puente_charter::{Charter, Member};
use puente_model::{EventKind, ExchangeId, Millis, NodeUri};
use puente_wire::fault::FaultCode;

use crate::api::{Conclusion, Effect, InForce, Store, Ticket};
use crate::asker::AskStage;
use crate::control::plain_event;
use crate::engine::{Engine, Then};
use crate::holder::HoldStage;
use crate::persist::{self, Why};

/// Why a peer is kept out, apart from the charter.
#[derive(Debug, Default)]
pub(crate) struct Kept {
    /// Blocked here, and why, in the operator's words.
    pub(crate) blocked: BTreeMap<NodeUri, String>,
    /// Named first after the charter's end.
    pub(crate) waiting: BTreeMap<NodeUri, String>,
}

/// What is said of members that the charter names first after its end.
const WAITING: &str = "the charter has ended; it is admitted once a new common part is adopted";

impl Kept {
    pub(crate) fn restore(store: &dyn Store) -> Result<Self, String> {
        Ok(Self {
            blocked: persist::each_peer(store, persist::BLOCKED)?,
            waiting: persist::each_peer(store, persist::WAITING)?,
        })
    }

    fn holds(&self, peer: &NodeUri) -> bool {
        self.blocked.contains_key(peer) || self.waiting.contains_key(peer)
    }

    /// Both lists in one: who is kept out, and why.
    pub(crate) fn all(&self) -> BTreeMap<NodeUri, String> {
        self.waiting.iter().chain(&self.blocked).map(|(peer, why)| (peer.clone(), why.clone())).collect()
    }

    /// What the store must hold once `next` takes the place of `before`.
    pub(crate) fn admit(&mut self, now: Millis, before: &Charter, next: &Charter) -> Vec<(Vec<u8>, Option<Vec<u8>>)> {
        if next.status(now).may_admit() {
            let gone = std::mem::take(&mut self.waiting);
            return gone.into_keys().map(|peer| (persist::peer_key(persist::WAITING, &peer), None)).collect();
        }
        let active = |charter: &Charter, uri: &NodeUri| charter.member(uri).is_some_and(Member::is_active);
        let mut puts = Vec::new();
        for member in next.members().iter().filter(|m| m.is_active() && !active(before, &m.uri)) {
            self.waiting.insert(member.uri.clone(), WAITING.to_owned());
            puts.push((persist::peer_key(persist::WAITING, &member.uri), Some(WAITING.as_bytes().to_vec())));
        }
        puts
    }
}

impl Engine {
    /// True if this node may exchange with the peer, as far as charter and operator say.
    pub(crate) fn admits(&self, peer: &NodeUri) -> bool {
        self.peers.get(peer).is_some_and(|known| known.admitted && !known.forked)
    }

    /// Nobody exchanges with a node that its own nation suspended, or whose log it closed.
    fn in_good_standing(&self) -> bool {
        let own = self.charter.member(&self.node).filter(|member| member.is_active());
        own.and_then(Member::open_log).is_some_and(|log| log.origin == self.origin)
    }

    /// Judges every peer anew, and cuts off who may not exchange any more.
    pub(crate) fn settle_standing(&mut self, now: Millis) {
        let own = self.in_good_standing();
        let only_calls = self.charter.member(&self.node).is_some_and(|member| member.endpoints.is_empty());
        let (mut out, mut call) = (Vec::new(), Vec::new());
        for (uri, peer) in &mut self.peers {
            let member = self.charter.member(uri);
            let admitted = own && member.is_some_and(Member::is_active) && !self.kept.holds(uri);
            if !admitted && peer.admitted {
                out.push(uri.clone());
            }
            peer.admitted = admitted;
            peer.called = only_calls && member.is_some_and(|member| !member.endpoints.is_empty());
            if peer.called && peer.ready.is_none() {
                call.push(uri.clone());
            }
        }
        for peer in out {
            self.cut_off(now, &peer);
        }
        for peer in call {
            self.seek_line(now, &peer, 0);
        }
        let barred = self.kept.all();
        self.emit(Effect::InForce(InForce { charter: self.charter.clone(), barred }));
    }

    /// Closes what stands with a peer; what is open ends as it would at its deadline, and is recorded so.
    fn cut_off(&mut self, now: Millis, peer: &NodeUri) {
        let lines: Vec<_> = self.connections.iter().filter(|(_, c)| c.peer == *peer).map(|(id, _)| *id).collect();
        for connection in lines {
            self.emit(Effect::Close { connection, reason: FaultCode::NotAMember });
            // Nothing more goes out on it, and nothing that still comes in on it is looked at.
            self.disconnected(now, connection);
        }
        self.drop_catching(peer);
        // What is not recorded yet never happened here: the asker may ask again when it is back.
        let holds = &self.holds;
        let dropped: Vec<ExchangeId> = holds
            .iter()
            .filter(|(_, hold)| hold.peer == *peer && hold.stage == HoldStage::LookingUp)
            .map(|(exchange, _)| *exchange)
            .collect();
        self.lookups.retain(|_, exchange| !dropped.contains(exchange));
        for exchange in dropped {
            self.holds.remove(&exchange);
        }
        if let Some(known) = self.peers.get_mut(peer) {
            known.lookups = 0;
        }
        let asks: Vec<ExchangeId> =
            self.asks.iter().filter(|(_, ask)| ask.peer == *peer).map(|(exchange, _)| *exchange).collect();
        for exchange in asks {
            self.end_cut(now, exchange);
        }
        self.peer_unreachable(peer);
    }

    /// Ends a question to a peer that was cut off: VOID where nothing was answered, UNRELEASED where the content was
    /// not released. A step that is on its way to the disk is looked at when it is there.
    pub(crate) fn end_cut(&mut self, now: Millis, exchange: ExchangeId) {
        let Some(ask) = self.asks.get_mut(&exchange) else { return };
        match ask.stage {
            AskStage::AwaitingReply => {
                let ticket = ask.ticket.take();
                self.give_up(now, exchange, Why::Faulted, FaultCode::NotAMember.code());
                if let Some(ticket) = ticket {
                    self.tell(ticket, Conclusion::Faulted { exchange: Some(exchange), code: FaultCode::NotAMember });
                }
            }
            AskStage::AwaitingRelease if ask.stored.sealed.is_some() => self.unreleased(now, exchange),
            _ => {}
        }
    }

    /// Blocks a peer, or takes the block away.
    pub(crate) fn bar(&mut self, now: Millis, ticket: Ticket, peer: NodeUri, reason: Option<String>) {
        if self.charter.member(&peer).is_none() || peer == self.node {
            let errors = vec![(
                "peer".to_owned(),
                "not another member of the charter".to_owned(),
                "'puente charter show' lists the members".to_owned(),
            )];
            self.tell(ticket, Conclusion::Invalid { errors });
            return;
        }
        let kind = if reason.is_some() { EventKind::Revoke } else { EventKind::Grant };
        let put = (persist::peer_key(persist::BLOCKED, &peer), reason.as_ref().map(|why| why.as_bytes().to_vec()));
        let why = reason.clone().unwrap_or_default();
        let block = reason.is_some();
        // A block does not wait for the disk: what may not be sent any more is not sent from now on.
        if let Some(reason) = reason {
            self.kept.blocked.insert(peer.clone(), reason);
            self.settle_standing(now);
        }
        let mut event = self.event(now, plain_event(kind, 1, Vec::new()));
        event.peer = Some(peer.clone());
        let then = if block { Then::Event(ticket) } else { Then::Unblock(ticket, peer) };
        let mut intent = self.event_intent(now, event, why.into_bytes(), then);
        intent.puts.push(put);
        self.enqueue(now, intent);
    }

    /// The end of a block is in the log.
    pub(crate) fn unblocked(&mut self, now: Millis, peer: &NodeUri) {
        self.kept.blocked.remove(peer);
        self.settle_standing(now);
        self.resend(now, peer);
    }
}
