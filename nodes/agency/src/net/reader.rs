//! One task per stream: bytes to frames, frames to the engine.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use puente_exchange::api::{Input, StreamId};
use puente_wire::fault::FaultCode;
use puente_wire::{FrameBuffer, WireError};
use quinn::{ReadError, RecvStream};
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio::time::{Duration, Instant, timeout, timeout_at};

use super::link::LinkShared;
use super::reason::NetCode;
use super::writer::Command;

/// Bytes taken from a stream at once.
const CHUNK: usize = 64 * 1024;
/// Bytes by which an unfinished frame must grow within the stall time.
const GROWTH_MIN: usize = 4 * 1024;
/// Bytes of unfinished frames that one connection may hold here.
const PARTIAL_PER_LINK_MAX: usize = 16 << 20;
/// Bytes of unfinished frames that all connections may hold here.
pub(crate) const PARTIAL_MAX: usize = 96 << 20;

/// How long a peer that finished the control stream has to close the connection.
const CLOSING: Duration = Duration::from_secs(2);

/// What a stream's reader keeps alive.
pub(crate) struct Held {
    /// The place among the streams that this node opened, if it did.
    pub(crate) permit: Option<Arc<OwnedSemaphorePermit>>,
    /// Dropped last: the connection is reported gone only after its last frame.
    pub(crate) alive: mpsc::Sender<()>,
}

/// Why reading a stream ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// The peer said all it had to say.
    Finished,
    /// The peer cancelled.
    Reset,
    /// The connection is gone.
    Lost,
    /// This node gives the stream up.
    Fault(NetCode),
}

/// Reads a stream to its end. Whoever `owes` a frame, because it opened the stream, must begin at once.
pub(crate) async fn read(link: Arc<LinkShared>, stream: StreamId, mut recv: RecvStream, held: Held, owes: bool) {
    link.node.streams.fetch_add(1, Ordering::Relaxed);
    link.streams.fetch_add(1, Ordering::Relaxed);
    let end = frames(&link, stream, &mut recv, owes).await;
    link.node.streams.fetch_sub(1, Ordering::Relaxed);
    link.streams.fetch_sub(1, Ordering::Relaxed);
    let code = match end {
        End::Lost => None,
        End::Finished if stream == StreamId::CONTROL => {
            // The peer is closing, and does so itself once everything has arrived. If not, this node does.
            let _ = timeout(CLOSING, link.conn.closed()).await;
            link.conn.close(NetCode::ControlLost.code(), b"control-lost");
            None
        }
        End::Finished => {
            // Who finishes wants nothing more on this stream; left open, it would count against the limit for ever.
            // Fails only if the connection is gone.
            let _ = link.commands.send(Command::Finish { stream });
            None
        }
        End::Reset => Some(NetCode::Cancelled),
        End::Fault(code) => {
            if link.node.counters.count(fault_class(code)) {
                tracing::warn!(peer = %link.peer, "stream reset: {code}");
            }
            // Fails only if the stream has ended meanwhile.
            let _ = recv.stop(code.code());
            Some(code)
        }
    };
    if let Some(code) = code {
        // Fails only if the connection is gone: nobody waits for the stream then.
        let _ = link.commands.send(Command::Forget { stream, code });
        let _ = link.node.inbox.send(Input::StreamReset { connection: link.id, stream }).await;
        if stream == StreamId::CONTROL {
            link.conn.close(code.code(), code.to_string().as_bytes());
        }
    }
    drop(held.permit);
    drop(held.alive);
}

fn fault_class(code: NetCode) -> &'static str {
    match code {
        NetCode::Stalled => "stream-stalled",
        NetCode::Fault(FaultCode::Oversized) => "frame-oversized",
        NetCode::Fault(FaultCode::Overloaded) => "partial-frames-full",
        _ => "stream-fault",
    }
}

async fn frames(link: &LinkShared, stream: StreamId, recv: &mut RecvStream, owes: bool) -> End {
    let mut buffer = FrameBuffer::default();
    let mut partial = Partial { link, bytes: 0 };
    // While a frame is owed or stands unfinished: by when it must have begun, or grown from how much.
    let mut stall: Option<(Instant, Option<usize>)> =
        owes.then(|| (Instant::now() + link.node.options.first_frame, None));
    loop {
        let chunk = match stall {
            None => recv.read_chunk(CHUNK, true).await,
            Some((by, _)) => match timeout_at(by, recv.read_chunk(CHUNK, true)).await {
                Ok(chunk) => chunk,
                Err(_) => return End::Fault(NetCode::Stalled),
            },
        };
        match chunk {
            Ok(Some(chunk)) => buffer.push(&chunk.bytes),
            Ok(None) if buffer.pending() > 0 => return End::Fault(NetCode::Fault(FaultCode::Malformed)),
            Ok(None) => return End::Finished,
            Err(ReadError::Reset(_)) => return End::Reset,
            Err(_) => return End::Lost,
        }
        let mut whole = false;
        loop {
            match buffer.next_frame() {
                Ok(Some(bytes)) => {
                    whole = true;
                    link.heard();
                    let frame = Input::Frame { connection: link.id, stream, bytes };
                    if link.node.inbox.send(frame).await.is_err() {
                        return End::Lost;
                    }
                }
                Ok(None) => break,
                Err(WireError::TooLarge { .. }) => return End::Fault(NetCode::Fault(FaultCode::Oversized)),
                Err(_) => return End::Fault(NetCode::Fault(FaultCode::Malformed)),
            }
        }
        let pending = buffer.pending();
        if !partial.set(pending) {
            return End::Fault(NetCode::Fault(FaultCode::Overloaded));
        }
        stall = match stall {
            _ if pending == 0 => None,
            Some((by, Some(from))) if !whole && pending < from + GROWTH_MIN => Some((by, Some(from))),
            _ => Some((Instant::now() + link.node.options.stall, Some(pending))),
        };
    }
}

/// This stream's share of what unfinished frames hold.
struct Partial<'a> {
    link: &'a LinkShared,
    bytes: usize,
}

impl Partial<'_> {
    /// False if the share would be too large.
    fn set(&mut self, bytes: usize) -> bool {
        let change = |counter: &AtomicUsize, max: usize| {
            if bytes < self.bytes {
                counter.fetch_sub(self.bytes - bytes, Ordering::Relaxed);
                return true;
            }
            let more = bytes - self.bytes;
            counter.fetch_add(more, Ordering::Relaxed) + more <= max
        };
        if bytes == self.bytes {
            return true;
        }
        let fits = change(&self.link.partial, PARTIAL_PER_LINK_MAX) & change(&self.link.node.partial, PARTIAL_MAX);
        self.bytes = bytes;
        fits
    }
}

impl Drop for Partial<'_> {
    fn drop(&mut self) {
        self.set(0);
    }
}
