//! Posts that travel through a third node: what a sender cannot bring to a member itself, another node passes on.
//!
//! Whoever passes a post on cannot read it, be it in the group or not, and cannot change it. It can lose it: so a post is
//! acknowledged on the connection of the two alone, and offered again until then, ever more seldom.

use puente_corridor::{Input as Told, PostId};
use puente_ledger::GroupId;
use puente_model::{Millis, NodeUri};
use puente_wire::fault::FaultCode;
use puente_wire::{SAID_BYTES_MAX, proto};

use crate::control::Problem;
use crate::engine::Engine;
use crate::minor;

/// Nodes that are asked to pass one post on at once.
const RELAYS: usize = 2;
/// Posts that one node may have passed on in one minute.
const RELAYS_PER_MINUTE_MAX: u32 = 120;
/// Bytes of a sealed post: padded content, and what MLS adds.
const SEALED_BYTES_MAX: usize = SAID_BYTES_MAX + 8 * 1_024;

impl Engine {
    /// Asks nodes that can be reached to pass a post on to one that cannot.
    pub(super) fn ask_to_relay(&mut self, to: &NodeUri, group: &GroupId, id: PostId, sealed: &[u8]) {
        let speaks = |line: &crate::peer::Connection| line.minor >= minor::GROUPS;
        let mut lines: Vec<_> = self
            .peers
            .values()
            .filter(|known| known.uri != *to && known.admitted && !known.forked)
            .filter_map(|known| known.ready)
            .filter(|connection| self.connections.get(connection).is_some_and(speaks))
            .collect();
        // Not always the same ones.
        let [turn]: [u8; 1] = self.random();
        if !lines.is_empty() {
            let turn = usize::from(turn) % lines.len();
            lines.rotate_left(turn);
        }
        for connection in lines.into_iter().take(RELAYS) {
            let relay = proto::Relay {
                to: to.to_string(),
                group: group.to_string(),
                post: id.0.to_vec(),
                sealed: sealed.to_vec(),
            };
            self.send_control(connection, proto::frame::Body::Relay(relay));
        }
    }

    /// Passes a post on, if its receiver is reached.
    pub(crate) fn on_relay(&mut self, now: Millis, peer: &NodeUri, relay: proto::Relay) -> Result<(), Problem> {
        let to: NodeUri = relay.to.parse().map_err(|_| Problem::from(FaultCode::Malformed))?;
        if to == self.node || to == *peer || relay.group.parse::<GroupId>().is_err() || relay.post.len() != 16 {
            return Err(FaultCode::Malformed.into());
        }
        if relay.sealed.len() > SEALED_BYTES_MAX {
            return Err(FaultCode::Oversized.into());
        }
        let Some(known) = self.peers.get_mut(peer) else { return Err(FaultCode::NotAMember.into()) };
        if known.relays.0 != now.minute().0 {
            known.relays = (now.minute().0, 0);
        }
        known.relays.1 += 1;
        if known.relays.1 > RELAYS_PER_MINUTE_MAX {
            return Err(Problem::Ignore);
        }
        if !self.admits(&to) {
            return Err(Problem::Ignore);
        }
        let line = self.peers.get(&to).and_then(|known| known.ready);
        let line = line.filter(|line| self.connections.get(line).is_some_and(|line| line.minor >= minor::GROUPS));
        if let Some(connection) = line {
            let proto::Relay { group, post, sealed, .. } = relay;
            let relayed = proto::Relayed { from: peer.to_string(), group, post, sealed };
            self.send_control(connection, proto::frame::Body::Relayed(relayed));
        }
        Ok(())
    }

    /// A post came through another node. Who said it, the post itself proves.
    pub(crate) fn on_relayed(&mut self, now: Millis, relayed: proto::Relayed) -> Result<(), Problem> {
        let malformed = || Problem::from(FaultCode::Malformed);
        let from: NodeUri = relayed.from.parse().map_err(|_| malformed())?;
        let group: GroupId = relayed.group.parse().map_err(|_| malformed())?;
        let id = PostId(relayed.post.as_slice().try_into().map_err(|_| malformed())?);
        if relayed.sealed.len() > SEALED_BYTES_MAX {
            return Err(FaultCode::Oversized.into());
        }
        self.tell_groups(now, Told::Relayed { from, group, id, sealed: relayed.sealed });
        Ok(())
    }
}
