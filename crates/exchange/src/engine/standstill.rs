//! When the log takes nothing more: it cannot be written, it ended, or it came from a backup. Whoever waits is told.

use std::collections::BTreeSet;

use puente_model::Millis;
use puente_wire::fault::FaultCode;

use super::{Engine, Route, Then};
use crate::api::{Alarm, Conclusion, Effect, Input, Ticket};

/// Whether the log takes entries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// It does.
    Open,
    /// It was restored from a backup: heads are compared, nothing else.
    Restored,
    /// A peer showed a signed head of this log that it cannot prove: it lost its tail. It never takes entries again.
    Behind,
}

impl Engine {
    /// Whether the log takes entries.
    pub const fn standing(&self) -> Standing {
        self.standing
    }

    /// The log lost its tail: no entry may follow the one that it ends with, whoever asks for it.
    pub(crate) fn fall_behind(&mut self) {
        if self.standing == Standing::Behind {
            return;
        }
        self.standing = Standing::Behind;
        for ticket in self.waiting_tickets() {
            self.tell(ticket, Conclusion::LogSuspended);
        }
        for input in self.held_back.take().unwrap_or_default() {
            self.stand_still(self.last_now, input);
        }
    }

    /// What comes while the log takes no entries: heads are compared, everybody else is told.
    pub(super) fn stand_still(&mut self, now: Millis, input: Input) {
        match input {
            Input::Connected { connection, peer, dialled } => self.connected(now, connection, peer, dialled),
            Input::Disconnected { connection } => {
                if let Some(gone) = self.connections.remove(&connection)
                    && let Some(peer) = self.peers.get_mut(&gone.peer)
                {
                    peer.ready = peer.ready.filter(|line| *line != connection);
                }
            }
            Input::Frame { connection, stream, bytes } => self.frame_held_back(now, connection, stream, &bytes),
            Input::DialFailed { peer } => {
                if let Some(peer) = self.peers.get_mut(&peer) {
                    peer.dialling = false;
                }
            }
            Input::WriteFailed { .. } => self.fail(),
            Input::Drain => self.draining = true,
            input => {
                if let Some(ticket) = input.waits() {
                    self.tell(ticket, Conclusion::LogSuspended);
                }
            }
        }
    }

    /// What comes once the log cannot be written: everybody is told so, and nothing else happens.
    pub(super) fn turn_away(&mut self, now: Millis, input: Input) {
        match input {
            Input::Connected { connection, .. } => {
                self.effects.push_back(Effect::Close { connection, reason: self.ended });
            }
            Input::Disconnected { connection } => {
                self.connections.remove(&connection);
            }
            Input::Frame { connection, stream, .. } => {
                if let Some(line) = self.connections.get(&connection) {
                    let peer = line.peer.clone();
                    self.fault(now, &peer, Route { connection, stream }, self.ended, None);
                }
            }
            input => {
                if let Some(ticket) = input.waits() {
                    self.tell(ticket, Conclusion::LogUnavailable);
                }
            }
        }
    }

    /// The log cannot be written: nothing is asked or answered any more.
    pub(super) fn fail(&mut self) {
        if self.failed {
            return;
        }
        self.effects.clear();
        self.effects.push_back(Effect::Alarm(Alarm::LogUnavailable));
        self.end(FaultCode::LogUnavailable);
    }

    /// Nothing is asked, answered or recorded from here on.
    pub(crate) fn end(&mut self, why: FaultCode) {
        self.failed = true;
        self.ended = why;
        for ticket in self.waiting_tickets() {
            self.tell(ticket, Conclusion::LogUnavailable);
        }
        let connections: Vec<_> = self.connections.keys().copied().collect();
        for connection in connections {
            self.effects.push_back(Effect::Close { connection, reason: self.ended });
        }
        for input in self.held_back.take().unwrap_or_default() {
            self.turn_away(self.last_now, input);
        }
    }

    /// Everybody who waits for something of the log's.
    pub(super) fn waiting_tickets(&mut self) -> BTreeSet<Ticket> {
        let mut waiting: BTreeSet<Ticket> = self.tickets.drain().map(|(ticket, _)| ticket).collect();
        waiting.extend(self.closers.drain().map(|(ticket, _)| ticket));
        waiting.extend(std::mem::take(&mut self.comparing).into_keys());
        waiting.extend(self.collecting.drain().flat_map(|(_, tickets)| tickets));
        waiting.extend(self.ledger.abandon().into_iter().filter_map(|then| match then {
            Then::Event(ticket)
            | Then::Tell(ticket, _)
            | Then::Unblock(ticket, _)
            | Then::Ended(ticket)
            | Then::Left(ticket, _)
            | Then::Rule(Some(ticket), _) => Some(ticket),
            _ => None,
        }));
        waiting.extend(self.changes.abandon());
        waiting
    }
}
