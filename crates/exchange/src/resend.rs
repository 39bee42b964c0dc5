//! What is sent again: a few at a time, so that thousands of open questions do not stand in the way of a new one.
//!
//! A new question goes out at once. One that got no answer, or found no connection, waits in its peer's
//! [`Backlog`] for its turn; VOIDs, PERIODs and redelivered entries wait in its [`Deliveries`]. Both send the
//! next as soon as one is answered, never more than a window at once.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, HashMap};

use puente_model::{ExchangeId, Millis, NodeUri};
use puente_wire::PairKind;

use crate::asker::{AskStage, Asking};
use crate::engine::{AGAIN_MILLIS, Engine, Timer};
use crate::ledger::Recorded;
use crate::peer::Peer;

/// Exchanges of one peer that are sent again and unanswered at once: a quarter of its streams.
const RESENDING_MAX: usize = 64;
/// Entries delivered to one peer and unanswered at once.
const DELIVERING_MAX: usize = 256;
/// Their bytes: an answer's body may have half a mebibyte.
const DELIVERING_BYTES_MAX: usize = 4 << 20;
/// How soon more of the backlog goes out where nobody answers (a receipt for a plain answer).
const TURN_MILLIS: u64 = 20;

/// Questions and acknowledgements that wait to be sent again.
#[derive(Debug, Default)]
pub(crate) struct Backlog {
    /// Those tried least come first, the newest of them before all.
    waiting: BTreeSet<(u32, Reverse<u64>, ExchangeId)>,
    /// Of all that wait or fly: how often tried, number of the QUERY.
    tries: HashMap<ExchangeId, (u32, u64)>,
    flying: BTreeSet<ExchangeId>,
}

impl Backlog {
    fn push(&mut self, exchange: ExchangeId, seq: u64) {
        self.flying.remove(&exchange);
        let (tries, seq) = *self.tries.entry(exchange).or_insert((0, seq));
        self.waiting.insert((tries, Reverse(seq), exchange));
    }

    /// The next whose turn it is, if the window allows.
    fn take(&mut self) -> Option<ExchangeId> {
        if self.flying.len() >= RESENDING_MAX {
            return None;
        }
        let (_, _, exchange) = self.waiting.pop_first()?;
        self.flying.insert(exchange);
        if let Some((tries, _)) = self.tries.get_mut(&exchange) {
            *tries = tries.saturating_add(1);
        }
        Some(exchange)
    }

    /// Forgets what flew and is answered.
    fn settle(&mut self, unanswered: impl Fn(&ExchangeId) -> bool) {
        let tries = &mut self.tries;
        self.flying.retain(|exchange| unanswered(exchange) || tries.remove(exchange).is_none());
    }

    fn forget(&mut self, exchange: &ExchangeId) {
        self.flying.remove(exchange);
        if let Some((tries, seq)) = self.tries.remove(exchange) {
            self.waiting.remove(&(tries, Reverse(seq), *exchange));
        }
    }

    pub(crate) fn is_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }
}

/// Own entries that wait to be delivered, or to be answered, by their numbers.
#[derive(Debug, Default)]
pub(crate) struct Deliveries {
    /// What a PERIOD waits for.
    urgent: BTreeSet<u64>,
    voids: BTreeSet<u64>,
    /// Bytes, and by when an answer should have come.
    flying: BTreeMap<u64, (usize, Millis)>,
    bytes: usize,
    /// When the flying ones are looked at.
    timer: Option<Millis>,
}

impl Deliveries {
    pub(crate) fn push(&mut self, seq: u64, kind: PairKind) {
        if self.flying.contains_key(&seq) {
            return;
        }
        match kind {
            PairKind::Void => self.voids.insert(seq),
            _ => self.urgent.insert(seq),
        };
    }

    /// A PERIOD waits for it.
    pub(crate) fn urge(&mut self, seq: u64, kind: PairKind) {
        self.push(seq, kind);
        if self.voids.remove(&seq) {
            self.urgent.insert(seq);
        }
    }

    fn has_room(&self) -> bool {
        self.flying.len() < DELIVERING_MAX && self.bytes < DELIVERING_BYTES_MAX
    }

    /// The lowest number that waits, beyond `after`; what is urgent comes first.
    fn next(&self, urgent: bool, after: u64) -> Option<u64> {
        let set = if urgent { &self.urgent } else { &self.voids };
        set.range(after..).next().copied()
    }

    fn sent(&mut self, seq: u64, bytes: usize, until: Millis) {
        self.urgent.remove(&seq);
        self.voids.remove(&seq);
        self.bytes += bytes;
        if let Some((before, _)) = self.flying.insert(seq, (bytes, until)) {
            self.bytes -= before;
        }
    }

    /// It is answered, or nobody needs it any more.
    pub(crate) fn settle(&mut self, seq: u64) {
        self.urgent.remove(&seq);
        self.voids.remove(&seq);
        if let Some((bytes, _)) = self.flying.remove(&seq) {
            self.bytes -= bytes;
        }
    }

    /// Numbers up to `last` are closed.
    pub(crate) fn close(&mut self, last: u64) {
        self.urgent = self.urgent.split_off(&(last + 1));
        self.voids = self.voids.split_off(&(last + 1));
        let ended: Vec<u64> = self.flying.range(..=last).map(|(seq, _)| *seq).collect();
        ended.into_iter().for_each(|seq| self.settle(seq));
    }

    /// What flew for too long, or on a connection that is gone, waits again.
    fn land(&mut self, now: Option<Millis>, kind: impl Fn(u64) -> Option<PairKind>) {
        let due = |until: Millis| now.is_none_or(|now| until <= now);
        let late: Vec<u64> = self.flying.iter().filter(|(_, (_, until))| due(*until)).map(|(seq, _)| *seq).collect();
        for seq in late {
            self.settle(seq);
            if let Some(kind) = kind(seq) {
                self.push(seq, kind);
            }
        }
    }
}

impl Peer {
    /// Takes note of what the store gave: which leaves and VOIDs are this node's, which PERIOD was not accepted yet.
    pub(crate) fn index_own(&mut self) {
        self.own_leaves = self.own.iter().map(|(seq, own)| (own.leaf, *seq)).collect();
        for (seq, own) in self.own.iter().filter(|(_, own)| own.kind == PairKind::Void) {
            self.deliveries.push(*seq, own.kind);
        }
        self.pending_period = self.recorded_period();
    }

    /// The clock was put back: nothing waits longer for it.
    pub(crate) fn put_clock_back(&mut self, back: u64) {
        let earlier = |at: Millis| Millis(at.0.saturating_sub(back));
        self.redial = self.redial.map(earlier);
        self.turn = self.turn.map(earlier);
        self.head_due = self.head_due.map(earlier);
        for (_, until) in self.deliveries.flying.values_mut() {
            *until = earlier(*until);
        }
    }
}

impl Engine {
    /// Asks or acknowledges again what is still unanswered.
    pub(crate) fn again(&mut self, now: Millis, exchange: ExchangeId) {
        let Some(ask) = self.asks.get(&exchange) else { return };
        if (ask.route.is_some() || ask.rests) && ask.again_at > now {
            self.at(ask.again_at, Timer::Again(exchange));
            return;
        }
        if let Some(ask) = self.asks.get_mut(&exchange) {
            ask.rests = false;
        }
        self.wait_for_turn(now, exchange);
    }

    /// It is sent when its turn comes and the peer can be reached.
    pub(crate) fn wait_for_turn(&mut self, now: Millis, exchange: ExchangeId) {
        if let Some(peer) = self.put_back(exchange) {
            self.resend(now, &peer);
        }
    }

    fn put_back(&mut self, exchange: ExchangeId) -> Option<NodeUri> {
        let ask = self.asks.get(&exchange).filter(|ask| ask.wants_line())?;
        let known = self.peers.get_mut(&ask.peer)?;
        known.backlog.push(exchange, ask.query.seq.0);
        Some(ask.peer.clone())
    }

    /// Sends what waits for this peer, as far as the window allows.
    pub(crate) fn resend(&mut self, now: Millis, peer: &NodeUri) {
        let Some(known) = self.peers.get_mut(peer) else { return };
        if known.backlog.flying.is_empty() && !known.backlog.is_waiting() {
            return;
        }
        let asks = &self.asks;
        known.backlog.settle(|exchange| asks.get(exchange).is_some_and(Asking::wants_line));
        // Of a peer that is being cut off another connection may still stand: nothing goes out on it.
        if !known.backlog.is_waiting() || !known.admitted {
            return;
        }
        if known.ready.is_none() {
            // Asks for a connection, now and again.
            self.line_to(peer);
            self.seek_line(now, peer, AGAIN_MILLIS);
            return;
        }
        while let Some(exchange) = self.peers.get_mut(peer).and_then(|known| known.backlog.take()) {
            match self.asks.get(&exchange).map(|ask| ask.stage) {
                Some(AskStage::AwaitingReply) => self.send_ask(now, exchange, None),
                Some(AskStage::AwaitingRelease) => self.send_acknowledge(now, exchange, None),
                _ => {
                    if let Some(known) = self.peers.get_mut(peer) {
                        known.backlog.forget(&exchange);
                    }
                }
            }
        }
        let Some(known) = self.peers.get_mut(peer) else { return };
        if known.backlog.is_waiting() && known.turn.is_none_or(|turn| turn <= now) {
            let turn = now.plus(TURN_MILLIS);
            known.turn = Some(turn);
            self.at(turn, Timer::Turn(peer.clone()));
        }
    }

    /// Dials after a while, and again, for as long as something waits for the peer.
    pub(crate) fn seek_line(&mut self, now: Millis, peer: &NodeUri, after: u64) {
        let Some(known) = self.peers.get_mut(peer).filter(|known| known.wants_line() && known.admitted) else {
            return;
        };
        let due = now.plus(after);
        if known.redial.is_none_or(|at| at > due) {
            known.redial = Some(due);
            self.at(due, Timer::Dial(peer.clone()));
        }
    }

    /// It is time to dial again.
    pub(crate) fn dial_due(&mut self, now: Millis, peer: &NodeUri) {
        let Some(known) = self.peers.get_mut(peer) else { return };
        if known.redial.is_none_or(|at| at > now) {
            return;
        }
        known.redial = None;
        if known.wants_line() && known.ready.is_none() {
            self.line_to(peer);
            self.seek_line(now, peer, AGAIN_MILLIS);
        }
    }

    /// The exchanges on a connection that is gone wait for another.
    pub(crate) fn line_lost(&mut self, now: Millis, peer: &NodeUri, exchanges: impl IntoIterator<Item = ExchangeId>) {
        for exchange in exchanges {
            if let Some(ask) = self.asks.get_mut(&exchange) {
                ask.route = None;
                self.put_back(exchange);
            }
        }
        if let Some(known) = self.peers.get_mut(peer) {
            let own = &known.own;
            known.deliveries.land(None, |seq| own.get(&seq).map(|own| own.kind));
        }
        self.resend(now, peer);
        self.redeliver(now, peer);
        self.seek_line(now, peer, AGAIN_MILLIS / 5);
    }

    /// A connection with the peer is ready: everything that waits for it goes out, in its turn.
    pub(crate) fn line_ready(&mut self, now: Millis, peer: &NodeUri) {
        // Whether they were answered meanwhile is asked once.
        let of_peer = self.asks.iter_mut().filter(|(_, ask)| ask.rests && ask.peer == *peer);
        let resting: Vec<_> = of_peer
            .map(|(exchange, ask)| {
                ask.rests = false;
                *exchange
            })
            .collect();
        for exchange in resting {
            self.put_back(exchange);
        }
        self.resend(now, peer);
        self.redeliver(now, peer);
        self.compare_on(now);
        if self.peers.get(peer).is_some_and(|known| !known.close_tickets.is_empty()) {
            self.start_period(now, peer);
        }
    }

    /// Delivers an entry that was just recorded: at once if the window allows.
    pub(crate) fn deliver_new(&mut self, now: Millis, peer: &NodeUri, seq: u64, recorded: Option<&Recorded>) {
        let Some(known) = self.peers.get_mut(peer) else { return };
        let Some(kind) = known.own.get(&seq).map(|own| own.kind) else { return };
        known.deliveries.push(seq, kind);
        if known.deliveries.has_room() && known.ready.is_some() {
            self.deliver_one(now, peer, seq, recorded);
        }
    }

    /// Delivers what waits for this peer, as far as the window allows.
    pub(crate) fn redeliver(&mut self, now: Millis, peer: &NodeUri) {
        let durable = self.ledger.size();
        for urgent in [true, false] {
            let mut after = 0;
            while let Some(known) = self.peers.get_mut(peer)
                && known.ready.is_some()
                && known.deliveries.has_room()
                && let Some(seq) = known.deliveries.next(urgent, after)
            {
                after = seq + 1;
                match known.own.get(&seq) {
                    None => known.deliveries.settle(seq),
                    // On its way to the disk: it is delivered once it is there.
                    Some(own) if own.index >= durable => {}
                    Some(_) => self.deliver_one(now, peer, seq, None),
                }
            }
        }
    }

    fn deliver_one(&mut self, now: Millis, peer: &NodeUri, seq: u64, recorded: Option<&Recorded>) {
        let until = now.plus(AGAIN_MILLIS);
        let sent = self.deliver(peer, seq, recorded);
        let Some(known) = self.peers.get_mut(peer) else { return };
        let Some(bytes) = sent else { return };
        known.deliveries.sent(seq, bytes, until);
        if known.deliveries.timer.is_none() {
            known.deliveries.timer = Some(until);
            self.at(until, Timer::Deliver(peer.clone()));
        }
    }

    /// Deliveries that were not answered in time go out again.
    pub(crate) fn deliveries_due(&mut self, now: Millis, peer: &NodeUri) {
        let Some(known) = self.peers.get_mut(peer) else { return };
        let own = &known.own;
        known.deliveries.land(Some(now), |seq| own.get(&seq).map(|own| own.kind));
        known.deliveries.timer = known.deliveries.flying.values().map(|(_, until)| *until).min();
        if let Some(next) = known.deliveries.timer {
            self.at(next, Timer::Deliver(peer.clone()));
        }
        self.redeliver(now, peer);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(n: u64) -> ExchangeId {
        ExchangeId([n as u8; 16])
    }

    #[test]
    fn the_newest_goes_first_and_nobody_waits_for_ever() {
        let mut backlog = Backlog::default();
        for n in 0..200 {
            backlog.push(id(n), n);
        }
        let first: Vec<_> = std::iter::from_fn(|| backlog.take()).collect();
        assert_eq!(first.len(), RESENDING_MAX, "a window, not all");
        assert_eq!((first[0], first[63]), (id(199), id(136)));
        // A new one takes the first place that comes free.
        backlog.push(id(200), 200);
        assert!(backlog.take().is_none());
        backlog.settle(|exchange| *exchange != id(150));
        assert_eq!(backlog.take(), Some(id(200)));
        // Those that stay unanswered go behind all that were not tried yet.
        for n in 136..200 {
            if n != 150 {
                backlog.push(id(n), n);
            }
        }
        let next: Vec<_> = std::iter::from_fn(|| backlog.take()).collect();
        assert_eq!((next[0], next[62]), (id(135), id(73)));
        backlog.settle(|_| false);
        let rest: Vec<_> = std::iter::from_fn(|| backlog.take()).collect();
        assert_eq!(rest[0], id(72));
        backlog.settle(|_| false);
        while let Some(exchange) = backlog.take() {
            backlog.forget(&exchange);
        }
        assert!(!backlog.is_waiting() && backlog.tries.is_empty() && backlog.flying.is_empty());
    }

    #[test]
    fn deliveries_keep_to_their_window_in_number_and_bytes() {
        let mut out = Deliveries::default();
        for seq in 1..=1_000 {
            out.push(seq, PairKind::Void);
        }
        out.push(2_000, PairKind::Answer);
        out.urge(700, PairKind::Void);
        assert_eq!((out.next(true, 0), out.next(true, 701), out.next(false, 0)), (Some(700), Some(2_000), Some(1)));
        let mut sent = 0;
        while out.has_room() {
            let seq = out.next(true, 0).or_else(|| out.next(false, 0)).unwrap();
            out.sent(seq, 1_000, Millis(5_000));
            sent += 1;
        }
        assert_eq!(sent, DELIVERING_MAX);
        // What flies is not pushed again; what is answered makes room.
        out.push(1, PairKind::Void);
        assert_ne!(out.next(false, 0), Some(1));
        out.settle(1);
        assert!(out.has_room());
        out.sent(999, DELIVERING_BYTES_MAX, Millis(6_000));
        assert!(!out.has_room());
        out.settle(999);
        // Late ones wait again; closed ones never do.
        out.land(Some(Millis(4_999)), |_| Some(PairKind::Void));
        assert_eq!(out.flying.len(), DELIVERING_MAX - 1);
        out.land(Some(Millis(5_000)), |_| Some(PairKind::Void));
        assert_eq!((out.flying.len(), out.bytes, out.next(false, 0)), (0, 0, Some(2)));
        out.close(998);
        assert_eq!((out.next(true, 0), out.next(false, 0)), (None, Some(1_000)));
    }
}
