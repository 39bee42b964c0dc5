//! Messages about groups in frames: a Welcome of a large group is longer than one.

use puente_corridor::{Input as Told, MESSAGE_BYTES_MAX, Message};
use puente_ledger::GroupId;
use puente_model::{Millis, NodeUri};
use puente_wire::fault::FaultCode;
use puente_wire::proto;

use crate::api::ConnectionId;
use crate::control::Problem;
use crate::engine::Engine;
use crate::minor;

/// Bytes of a message in one frame: half of what a frame holds, so that heads and questions get between.
const PART_BYTES: usize = 512 * 1024;

/// A message of which parts have come.
#[derive(Debug)]
pub(super) struct Partial {
    group: String,
    bytes: Vec<u8>,
}

impl Engine {
    /// Sends a message to a node that is reached; asks for a connection to one that is not, and the message is made again.
    pub(super) fn send_about_group(&mut self, to: &NodeUri, group: &GroupId, message: &Message) {
        let Some(connection) = self.line_to(to) else { return };
        if self.connections.get(&connection).is_none_or(|line| line.minor < minor::GROUPS) {
            return;
        }
        let bytes = message.encode();
        let parts = bytes.len().div_ceil(PART_BYTES).max(1);
        for (at, part) in bytes.chunks(PART_BYTES).enumerate() {
            let more = at + 1 < parts;
            let frame = proto::AboutGroup { group: group.to_string(), part: part.to_vec(), more };
            self.send_control(connection, proto::frame::Body::AboutGroup(frame));
        }
    }

    pub(crate) fn on_group(
        &mut self,
        now: Millis,
        peer: &NodeUri,
        connection: ConnectionId,
        frame: proto::AboutGroup,
    ) -> Result<(), Problem> {
        let begun = self.groups.partial.remove(&connection);
        let mut partial = begun.unwrap_or_else(|| Partial { group: frame.group.clone(), bytes: Vec::new() });
        if partial.group != frame.group || frame.part.is_empty() {
            return Err(FaultCode::Malformed.into());
        }
        if partial.bytes.len() + frame.part.len() > MESSAGE_BYTES_MAX {
            return Err(FaultCode::Oversized.into());
        }
        partial.bytes.extend_from_slice(&frame.part);
        if frame.more {
            self.groups.partial.insert(connection, partial);
            return Ok(());
        }
        let group: GroupId = partial.group.parse().map_err(|_| Problem::from(FaultCode::Malformed))?;
        let message = Message::decode(&partial.bytes).map_err(|_| Problem::from(FaultCode::Malformed))?;
        self.tell_groups(now, Told::Message { from: peer.clone(), group, message });
        Ok(())
    }

    /// A connection is gone: what had come of a message in parts is of no use.
    pub(crate) fn forget_partial(&mut self, connection: ConnectionId) {
        self.groups.partial.remove(&connection);
    }
}
