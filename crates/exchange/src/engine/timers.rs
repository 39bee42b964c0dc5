//! What is due when, and a clock that is put back.

use puente_model::{ExchangeId, Millis, NodeUri};

use super::{AGAIN_MILLIS, Engine};

/// Timers that fire in one go: ten thousand deadlines at once do not hold up what arrives.
const TIMERS_PER_TURN: usize = 256;
/// How long to wait for a head that travels beside its frame, before asking for a proof.
const HEAD_WAIT_MILLIS: u64 = 250;

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Timer {
    /// An ask's deadline.
    Ask(ExchangeId),
    /// Ask or acknowledge again.
    Again(ExchangeId),
    /// A parked question's deadline, or a decision on it that is still to be carried out.
    Parked(ExchangeId),
    /// Close the period with a peer.
    Period(NodeUri),
    /// Ask a peer for a head proof.
    Head(NodeUri),
    /// Give up waiting for a peer to close its period.
    Closing(NodeUri),
    /// Record counted faults.
    Faults,
    /// Dial a peer that something waits for.
    Dial(NodeUri),
    /// Send more of what waits for a peer.
    Turn(NodeUri),
    /// See which deliveries to a peer were not answered.
    Deliver(NodeUri),
    /// Give up waiting for a peer's charter parts.
    CatchUp(NodeUri),
    /// Give up waiting for partners that are asked for newer charter parts.
    Compare,
    /// Ask witnesses to cosign.
    Gather,
    /// Something is due in a group.
    Groups,
    /// Say to groups what was asked of them before a restart.
    SayAsks,
    /// Put a question anew that was refused for its epoch.
    Anew(ExchangeId),
    /// Say to a group what stands in the log.
    Say(puente_model::Digest),
}

impl Engine {
    pub(crate) fn at(&mut self, due: Millis, timer: Timer) {
        self.timers.insert((due, timer));
    }

    /// What [`Engine::at`] set is not wanted any more.
    pub(crate) fn never(&mut self, due: Millis, timer: Timer) {
        self.timers.remove(&(due, timer));
    }

    pub(crate) fn want_head(&mut self, now: Millis, peer: &NodeUri) {
        let due = now.plus(HEAD_WAIT_MILLIS);
        let Some(known) = self.peers.get_mut(peer) else { return };
        // One timer a peer, however many frames wait.
        if !known.head_due.is_some_and(|at| at <= due && at >= self.last_now) {
            known.head_due = Some(due);
            self.at(due, Timer::Head(peer.clone()));
        }
    }

    /// A clock that was put back must not hold up what waits: everything waits as long as it would have.
    pub(super) fn watch_clock(&mut self, now: Millis) {
        let back = self.last_now.since(now);
        self.last_now = now;
        if back < 1_000 {
            return;
        }
        self.timers = std::mem::take(&mut self.timers)
            .into_iter()
            .map(|(due, timer)| (Millis(due.0.saturating_sub(back)), timer))
            .collect();
        self.ledger.clock_put_back(now);
        for ask in self.asks.values_mut() {
            ask.again_at = ask.again_at.min(now.plus(AGAIN_MILLIS));
        }
        self.gathering.put_clock_back(back);
        self.put_groups_clock_back(back);
        for peer in self.peers.values_mut() {
            peer.put_clock_back(back);
            peer.cover.put_clock_back(back);
            if let Some(closing) = &mut peer.closing {
                closing.until = Millis(closing.until.0.saturating_sub(back));
            }
            for (_, next) in peer.faults.values_mut() {
                *next = Millis(next.0.saturating_sub(back));
            }
        }
    }

    pub(super) fn fire_timers(&mut self, now: Millis) {
        if self.held_back.is_some() {
            return;
        }
        for _ in 0..TIMERS_PER_TURN {
            let Some((_, timer)) =
                self.timers.first().is_some_and(|(due, _)| *due <= now).then(|| self.timers.pop_first()).flatten()
            else {
                break;
            };
            match timer {
                Timer::Ask(exchange) => self.ask_due(now, exchange),
                Timer::Again(exchange) => self.again(now, exchange),
                Timer::Parked(exchange) => self.parked_due(now, exchange),
                Timer::Period(peer) => self.period_due(now, &peer),
                Timer::Head(peer) => self.ask_for_heads(now, &peer),
                Timer::Closing(peer) => self.closing_due(now, &peer),
                Timer::Faults => self.record_faults(now),
                Timer::Dial(peer) => self.dial_due(now, &peer),
                Timer::Turn(peer) => self.resend(now, &peer),
                Timer::Deliver(peer) => self.deliveries_due(now, &peer),
                Timer::Compare => self.compare_on(now),
                Timer::Gather => self.gather_due(now),
                Timer::Groups => self.groups_due(now),
                Timer::SayAsks => self.say_asks_again(now),
                Timer::Anew(exchange) => self.ask_anew(now, exchange),
                Timer::Say(leaf) => self.say_recorded(now, leaf),
                Timer::CatchUp(peer) => self.catch_up_due(now, &peer),
            }
        }
    }
}
