//! Asking every partner for newer charter parts, before something that cannot be taken back.
//!
//! Ready says what a partner is under, and each says so again whenever that changes; a partner to which no connection
//! stands may know more. So each is dialled, and asked for its newest annex of this node's nation: control streams
//! keep their order, so once that is there, everything that the partner had adopted when it was asked has been shown.

use std::collections::BTreeMap;

use puente_charter::PartId;
use puente_model::{Millis, NodeUri};

use crate::api::{Conclusion, ConnectionId, StreamId, Ticket, Unasked};
use crate::engine::{Engine, Route, Timer};
use crate::minor;

/// How long partners have to answer, and what they show to be taken in.
const COMPARING_MILLIS: u64 = 20_000;

/// One wish to know of newer parts.
#[derive(Debug)]
pub(crate) struct Comparing {
    open: BTreeMap<NodeUri, Step>,
    unasked: Vec<(NodeUri, Unasked)>,
    until: Millis,
}

/// How far a partner was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    /// No ready connection stands yet.
    Seeking,
    /// It was asked.
    Asked,
    /// It answered; what it showed is being taken in.
    Answered,
}

impl Engine {
    /// Asks every partner.
    pub(crate) fn compare_charters(&mut self, now: Millis, ticket: Ticket) {
        let until = now.plus(COMPARING_MILLIS);
        let open = self.peers.keys().map(|peer| (peer.clone(), Step::Seeking)).collect();
        self.comparing.insert(ticket, Comparing { open, unasked: Vec::new(), until });
        self.at(until, Timer::Compare);
        self.compare_on(now);
    }

    /// Goes on with whoever can be asked now, and tells who waits once nobody is left.
    pub(crate) fn compare_on(&mut self, now: Millis) {
        if self.comparing.is_empty() {
            return;
        }
        let tickets: Vec<Ticket> = self.comparing.keys().copied().collect();
        for ticket in tickets {
            let Some(mut comparing) = self.comparing.remove(&ticket) else { continue };
            let late = comparing.until <= now;
            for (peer, step) in std::mem::take(&mut comparing.open) {
                match self.compare_with(now, &peer, step) {
                    Ok(None) => {}
                    Ok(Some(_)) if late => comparing.unasked.push((peer, Unasked::Silent)),
                    Ok(Some(step)) => drop(comparing.open.insert(peer, step)),
                    Err(why) => comparing.unasked.push((peer, why)),
                }
            }
            if comparing.open.is_empty() {
                let vector = self.vector.clone();
                self.tell(ticket, Conclusion::Compared { vector, unasked: comparing.unasked });
            } else {
                self.comparing.insert(ticket, comparing);
            }
        }
    }

    /// The next step with one partner; none once it was asked and what it showed is in force here.
    fn compare_with(&mut self, now: Millis, peer: &NodeUri, step: Step) -> Result<Option<Step>, Unasked> {
        let known = self.peers.get(peer).ok_or(Unasked::KeptOut)?;
        if !known.admitted {
            let member = self.charter.member(peer).is_some_and(puente_charter::Member::is_active);
            // Whoever the charter suspended is no partner any more.
            return if member { Err(Unasked::KeptOut) } else { Ok(None) };
        }
        if known.forked {
            return Err(Unasked::KeptOut);
        }
        let (asked, catching, shown) = (known.asked_part.is_some(), known.catching.is_some(), known.shown.clone());
        let Some(connection) = self.line_to(peer) else { return Ok(Some(Step::Seeking)) };
        if self.connections.get(&connection).is_none_or(|line| line.minor < minor::PARTS) {
            return Err(Unasked::Older);
        }
        let Some(shown) = shown else { return Err(Unasked::Older) };
        match step {
            Step::Asked if asked => Ok(Some(Step::Asked)),
            Step::Seeking if !asked => {
                if !self.vector.covers(&shown) && !catching {
                    // It was not asked for what it showed earlier, or that failed: once more. Too soon after a
                    // failure is refused here, and said below.
                    let route = Route { connection, stream: StreamId::CONTROL };
                    let _ = self.wait_for_charter(now, peer, route, &shown, None);
                }
                let nation = Some(self.node.jurisdiction());
                let annex = nation.as_ref().and_then(|nation| shown.annexes.get(nation)).copied();
                let id =
                    annex.map_or(PartId { nation: None, number: shown.common }, |number| PartId { nation, number });
                self.ask_part(connection, &id);
                if let Some(known) = self.peers.get_mut(peer) {
                    known.asked_part = Some((connection, id));
                }
                Ok(Some(Step::Asked))
            }
            Step::Seeking => Ok(Some(Step::Asked)),
            Step::Asked | Step::Answered if catching => Ok(Some(Step::Answered)),
            Step::Asked | Step::Answered if self.vector.covers(&shown) => Ok(None),
            Step::Asked | Step::Answered => Err(Unasked::NotAdopted),
        }
    }

    /// The part that the peer was asked for arrived, on this connection. False if it was not asked for it.
    pub(crate) fn compared_part(&mut self, now: Millis, peer: &NodeUri, connection: ConnectionId, id: &PartId) -> bool {
        let Some(known) = self.peers.get_mut(peer) else { return false };
        let asked = known.asked_part.take_if(|(line, part)| (*line, &*part) == (connection, id)).is_some();
        if asked {
            self.compare_on(now);
        }
        asked
    }

    /// Who is asked cannot be any more: it is not reachable, or what it showed does not hold.
    pub(crate) fn not_compared(&mut self, now: Millis, peer: &NodeUri, why: Unasked) {
        for comparing in self.comparing.values_mut() {
            if comparing.open.remove(peer).is_some() {
                comparing.unasked.push((peer.clone(), why));
            }
        }
        self.compare_on(now);
    }

    /// A connection is gone, with whatever was asked on it.
    pub(crate) fn compare_again(&mut self, now: Millis, peer: &NodeUri, connection: ConnectionId) {
        let Some(known) = self.peers.get_mut(peer) else { return };
        if known.asked_part.take_if(|(line, _)| *line == connection).is_some() {
            for comparing in self.comparing.values_mut() {
                if let Some(step) = comparing.open.get_mut(peer).filter(|step| **step == Step::Asked) {
                    *step = Step::Seeking;
                }
            }
        }
        self.compare_on(now);
    }
}
