//! One task per connection: frames to streams, in order per stream; no stream waits for another.

use std::collections::{HashMap, VecDeque};
use std::future::{Future as _, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::Poll;

use puente_exchange::api::{Input, StreamId};
use quinn::{RecvStream, SendStream, WriteError};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::{Duration, Instant, sleep_until, timeout};

use super::link::LinkShared;
use super::reader::{self, Held};
use super::reason::NetCode;

/// Commands taken at once.
const BATCH: usize = 256;
/// Finished streams whose delivery is awaited before the connection is closed.
const LINGERING: usize = 64;
/// How long a close waits for delivery.
const DELIVERY: Duration = Duration::from_millis(500);

/// What the connection's writer is told, in order.
pub(crate) enum Command {
    /// The peer opened a stream.
    Accepted { stream: StreamId, send: SendStream },
    /// Send a frame.
    Send { stream: StreamId, bytes: Vec<u8>, finish: bool },
    /// The peer has finished its half: so does this node once it has sent what waits.
    Finish { stream: StreamId },
    /// The stream is given up.
    Forget { stream: StreamId, code: NetCode },
    /// Send what stands before, then close.
    Close(NetCode),
    /// The connection is gone.
    Lost,
}

/// A frame that waits, and whether it is the stream's last.
type Frame = (Vec<u8>, bool);
type Permit = Option<Arc<OwnedSemaphorePermit>>;

/// A stream's sending half.
enum Out {
    /// Ready for more.
    Open(SendStream, Permit),
    /// A task of its own is writing, or the peer has yet to open it; these frames come next.
    Busy(VecDeque<Frame>),
    /// Not opened yet; to be opened by then.
    Waiting(VecDeque<Frame>, Instant),
}

/// A stream that comes back from its own task.
struct Written {
    stream: StreamId,
    send: SendStream,
    permit: Permit,
    result: Result<bool, WriteError>,
}

struct Writer {
    link: Arc<LinkShared>,
    alive: mpsc::Sender<()>,
    permits: Arc<Semaphore>,
    streams: HashMap<StreamId, Out>,
    waiting: VecDeque<StreamId>,
    lingering: VecDeque<SendStream>,
    written: mpsc::UnboundedSender<Written>,
    /// Why the connection is to be closed, and by when, whatever still waits.
    closing: Option<(NetCode, Instant)>,
}

/// Carries out commands until the connection is gone.
pub(crate) async fn write(
    link: Arc<LinkShared>,
    mut commands: mpsc::UnboundedReceiver<Command>,
    alive: mpsc::Sender<()>,
) {
    let (written, mut back) = mpsc::unbounded_channel();
    let permits = Arc::new(Semaphore::new(link.node.options.streams));
    let mut writer = Writer {
        link,
        alive,
        permits,
        streams: HashMap::new(),
        waiting: VecDeque::new(),
        lingering: VecDeque::new(),
        written,
        closing: None,
    };
    let mut batch = Vec::with_capacity(BATCH);
    loop {
        if let Some((code, by)) = writer.closing
            && (writer.has_sent_all() || Instant::now() >= by)
        {
            return writer.close(code).await;
        }
        let close_by = writer.closing.map_or_else(Instant::now, |(_, by)| by);
        let first = writer.waiting.front().copied();
        let by = first.and_then(|stream| writer.deadline(stream)).unwrap_or_else(Instant::now);
        tokio::select! {
            count = commands.recv_many(&mut batch, BATCH) => {
                if count == 0 {
                    return;
                }
                for command in batch.drain(..) {
                    if !writer.carry_out(command).await {
                        return;
                    }
                }
            }
            Some(written) = back.recv() => writer.returned(written).await,
            opened = open(writer.link.clone(), writer.permits.clone()), if first.is_some() => match opened {
                Some((send, recv, permit)) => writer.opened(first, send, recv, permit).await,
                None => return,
            },
            () = sleep_until(by), if first.is_some() => writer.expired(first).await,
            () = sleep_until(close_by), if writer.closing.is_some() => {}
        }
    }
}

/// Opens a stream as soon as one of this node's places and the peer's credit allow.
async fn open(
    link: Arc<LinkShared>,
    permits: Arc<Semaphore>,
) -> Option<(SendStream, RecvStream, Arc<OwnedSemaphorePermit>)> {
    let permit = permits.acquire_owned().await.ok()?;
    let (send, recv) = link.conn.open_bi().await.ok()?;
    Some((send, recv, Arc::new(permit)))
}

impl Writer {
    fn deadline(&self, stream: StreamId) -> Option<Instant> {
        match self.streams.get(&stream) {
            Some(Out::Waiting(_, by)) => Some(*by),
            _ => None,
        }
    }

    /// False when the writer's work is over.
    async fn carry_out(&mut self, command: Command) -> bool {
        match command {
            Command::Accepted { stream, send } => match self.streams.remove(&stream) {
                Some(Out::Busy(frames)) => self.push(stream, send, None, frames).await,
                _ => {
                    self.streams.insert(stream, Out::Open(send, None));
                }
            },
            Command::Send { stream, bytes, finish } => {
                self.link.queued.fetch_sub(bytes.len(), Ordering::Relaxed);
                if self.closing.is_none() {
                    self.send(stream, (bytes, finish)).await;
                }
            }
            Command::Finish { stream } => self.finish(stream).await,
            Command::Forget { stream, code } => self.forget(stream, code),
            Command::Close(code) => {
                self.closing.get_or_insert((code, Instant::now() + DELIVERY));
            }
            Command::Lost => return false,
        }
        true
    }

    /// True if no frame waits for a stream or for room on one.
    fn has_sent_all(&self) -> bool {
        self.streams.values().all(|out| matches!(out, Out::Open(..)))
    }

    async fn send(&mut self, stream: StreamId, frame: Frame) {
        match self.streams.remove(&stream) {
            Some(Out::Open(send, permit)) => {
                self.push(stream, send, permit, VecDeque::from([frame])).await;
            }
            Some(Out::Busy(mut next)) => {
                next.push_back(frame);
                self.streams.insert(stream, Out::Busy(next));
            }
            Some(Out::Waiting(mut next, by)) => {
                next.push_back(frame);
                self.streams.insert(stream, Out::Waiting(next, by));
            }
            // The peer that dialled has not opened it yet.
            None if stream == StreamId::CONTROL => {
                self.streams.insert(stream, Out::Busy(VecDeque::from([frame])));
            }
            None if stream.0.is_multiple_of(2) => self.begin(stream, frame).await,
            // The peer's stream is gone: the engine hears of it by StreamReset.
            None => {}
        }
    }

    /// First frame of a stream that this node opens.
    async fn begin(&mut self, stream: StreamId, frame: Frame) {
        if self.waiting.is_empty() {
            let mut opening = pin!(open(self.link.clone(), self.permits.clone()));
            let opened = poll_fn(|cx| Poll::Ready(opening.as_mut().poll(cx))).await;
            match opened {
                Poll::Ready(Some((send, recv, permit))) => {
                    self.listen(stream, recv, &permit);
                    return self.push(stream, send, Some(permit), VecDeque::from([frame])).await;
                }
                Poll::Ready(None) => return,
                Poll::Pending => {}
            }
        }
        let by = Instant::now() + self.link.node.options.open_timeout;
        self.streams.insert(stream, Out::Waiting(VecDeque::from([frame]), by));
        self.waiting.push_back(stream);
    }

    fn listen(&self, stream: StreamId, recv: RecvStream, permit: &Arc<OwnedSemaphorePermit>) {
        let held = Held { permit: Some(permit.clone()), alive: self.alive.clone() };
        tokio::spawn(reader::read(self.link.clone(), stream, recv, held, false));
    }

    async fn opened(
        &mut self,
        stream: Option<StreamId>,
        send: SendStream,
        recv: RecvStream,
        permit: Arc<OwnedSemaphorePermit>,
    ) {
        let Some(stream) = stream else { return };
        self.waiting.pop_front();
        // A stream that was given up while it waited is opened for nothing: dropping both halves ends it.
        if let Some(Out::Waiting(frames, _)) = self.streams.remove(&stream) {
            self.listen(stream, recv, &permit);
            self.push(stream, send, Some(permit), frames).await;
        }
    }

    async fn expired(&mut self, stream: Option<StreamId>) {
        let Some(stream) = stream else { return };
        self.waiting.pop_front();
        if self.streams.remove(&stream).is_some() {
            if self.link.node.counters.count("streams-exhausted") {
                let limit = self.link.node.options.streams;
                tracing::warn!(peer = %self.link.peer, limit, "streams-exhausted: no stream came free in time");
            }
            self.tell_reset(stream).await;
        }
    }

    async fn tell_reset(&self, stream: StreamId) {
        // Fails only when the engine is gone.
        let _ = self.link.node.inbox.send(Input::StreamReset { connection: self.link.id, stream }).await;
    }

    /// Writes what can be written without waiting; the rest gets a task of its own.
    async fn push(&mut self, stream: StreamId, mut send: SendStream, permit: Permit, mut frames: VecDeque<Frame>) {
        while let Some((bytes, finish)) = frames.pop_front() {
            match try_write(&mut send, bytes, finish).await {
                Try::Written if finish => return self.linger(send),
                Try::Written => {}
                Try::Failed => return self.failed(stream, send).await,
                Try::Blocked(rest) => {
                    self.streams.insert(stream, Out::Busy(frames));
                    let written = self.written.clone();
                    let alive = self.alive.clone();
                    tokio::spawn(async move {
                        let result = write_rest(&mut send, &rest, finish).await;
                        // Fails only when the connection is gone.
                        let _ = written.send(Written { stream, send, permit, result });
                        drop(alive);
                    });
                    return;
                }
            }
        }
        self.streams.insert(stream, Out::Open(send, permit));
    }

    async fn returned(&mut self, written: Written) {
        let Written { stream, mut send, permit, result } = written;
        match (self.streams.remove(&stream), result) {
            (Some(Out::Busy(_)), Ok(true)) => self.linger(send),
            (Some(Out::Busy(next)), Ok(false)) => self.push(stream, send, permit, next).await,
            (Some(Out::Busy(_)), Err(_)) => self.failed(stream, send).await,
            _ => {
                // Given up meanwhile.
                let _ = send.reset(NetCode::Cancelled.code());
            }
        }
    }

    /// The peer does not want to hear more, or is gone.
    async fn failed(&mut self, stream: StreamId, mut send: SendStream) {
        let _ = send.reset(NetCode::Cancelled.code());
        if self.link.conn.close_reason().is_none() {
            self.tell_reset(stream).await;
        }
    }

    async fn finish(&mut self, stream: StreamId) {
        match self.streams.remove(&stream) {
            Some(Out::Open(send, permit)) => {
                self.push(stream, send, permit, VecDeque::from([(Vec::new(), true)])).await;
            }
            Some(Out::Busy(mut next)) => {
                next.push_back((Vec::new(), true));
                self.streams.insert(stream, Out::Busy(next));
            }
            Some(waiting) => {
                self.streams.insert(stream, waiting);
            }
            // Finished already.
            None => {}
        }
    }

    fn forget(&mut self, stream: StreamId, code: NetCode) {
        if let Some(Out::Open(mut send, _)) = self.streams.remove(&stream) {
            // Fails only if the stream has ended already.
            let _ = send.reset(code.code());
        }
    }

    /// Keeps a finished stream until others have followed, so that a close can await its delivery.
    fn linger(&mut self, send: SendStream) {
        if self.lingering.len() == LINGERING {
            self.lingering.pop_front();
        }
        self.lingering.push_back(send);
    }

    /// CONNECTION_CLOSE discards what is not delivered: finish every stream and wait a moment first.
    async fn close(&mut self, code: NetCode) {
        let mut last: Vec<SendStream> = self.lingering.drain(..).collect();
        for (_, out) in self.streams.drain() {
            if let Out::Open(mut send, _) = out {
                // Fails only if the peer stopped the stream.
                let _ = send.finish();
                last.push(send);
            }
        }
        let delivered = async {
            for send in &last {
                let _ = send.stopped().await;
            }
        };
        // Whether delivered or out of time, the connection closes.
        let _ = timeout(DELIVERY, delivered).await;
        self.link.conn.close(code.code(), code.to_string().as_bytes());
    }
}

enum Try {
    Written,
    Blocked(Vec<u8>),
    Failed,
}

/// Writes without waiting.
async fn try_write(send: &mut SendStream, bytes: Vec<u8>, finish: bool) -> Try {
    if !bytes.is_empty() {
        let mut chunks = [bytes.into()];
        loop {
            let written = {
                let mut writing = pin!(send.write_chunks(&mut chunks));
                poll_fn(|cx| Poll::Ready(writing.as_mut().poll(cx))).await
            };
            match written {
                Poll::Ready(Ok(_)) if chunks[0].is_empty() => break,
                Poll::Ready(Ok(_)) => {}
                Poll::Ready(Err(_)) => return Try::Failed,
                Poll::Pending => return Try::Blocked(chunks[0].to_vec()),
            }
        }
    }
    if finish && send.finish().is_err() {
        return Try::Failed;
    }
    Try::Written
}

async fn write_rest(send: &mut SendStream, bytes: &[u8], finish: bool) -> Result<bool, WriteError> {
    send.write_all(bytes).await?;
    if finish {
        send.finish().map_err(|_| WriteError::ClosedStream)?;
    }
    Ok(finish)
}
