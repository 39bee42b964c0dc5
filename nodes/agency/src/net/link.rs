//! The life of one connection, dialled or accepted: proven name, streams, end.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use puente_charter::certificate;
use puente_exchange::api::{ConnectionId, Input, StreamId};
use puente_model::{Millis, NodeUri, limits};
use quinn::{Connection, RecvStream, SendStream, Side};
use rustls::pki_types::CertificateDer;
use tokio::sync::mpsc;

use super::Shared;
use super::dial;
use super::line::{Broken, Standing};
use super::options::{FIRST_STREAMS, earned_streams, receive_window};
use super::reader::{self, Held};
use super::reason::{EndReason, NetCode};
use super::writer::{self, Command};

/// Connections of one peer that are kept.
pub(crate) const LINKS_PER_PEER_MAX: usize = 4;

/// A connection as its tasks share it.
pub(crate) struct LinkShared {
    pub(crate) node: Arc<Shared>,
    pub(crate) id: ConnectionId,
    pub(crate) peer: NodeUri,
    pub(crate) conn: Connection,
    /// The TCP connection under it, where UDP is blocked.
    pub(crate) line: Option<Standing>,
    pub(crate) commands: mpsc::UnboundedSender<Command>,
    /// Bytes handed over by the engine and not yet taken by the writer.
    pub(crate) queued: AtomicUsize,
    /// Bytes of unfinished frames.
    pub(crate) partial: AtomicUsize,
    /// A frame has arrived: the peer accepted this node too.
    heard: AtomicBool,
    /// Whole frames that have arrived, until the peer has earned all the streams there are.
    frames: AtomicU32,
    /// Streams that the peer may have open.
    granted: AtomicU32,
    /// Streams that are read.
    pub(crate) streams: AtomicUsize,
}

/// What a connection runs over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Over {
    /// UDP, as it should.
    Udp,
    /// TCP, because UDP is blocked.
    Tcp,
}

impl Over {
    /// The word for people and metrics: `udp` or `tcp`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Udp => "udp",
            Self::Tcp => "tcp",
        }
    }
}

impl LinkShared {
    /// What it runs over.
    pub(crate) const fn over(&self) -> Over {
        if self.line.is_some() { Over::Tcp } else { Over::Udp }
    }

    /// A whole frame has arrived.
    pub(crate) fn heard(&self) {
        if !self.heard.swap(true, Ordering::Relaxed) {
            self.node.dials_ok(&self.peer);
            let open = self.node.links().len();
            self.conn.set_receive_window(receive_window(open));
        }
        let granted = self.granted.load(Ordering::Relaxed);
        if granted >= limits::STREAMS_PER_PEER_MAX {
            return;
        }
        let frames = self.frames.fetch_add(1, Ordering::Relaxed) + 1;
        if let Some(more) = earned_streams(granted, frames)
            && self.granted.compare_exchange(granted, more, Ordering::Relaxed, Ordering::Relaxed).is_ok()
        {
            self.conn.set_max_concurrent_bi_streams(more.into());
        }
    }

    /// True once a whole frame has arrived.
    pub(crate) fn has_spoken(&self) -> bool {
        self.heard.load(Ordering::Relaxed)
    }
}

/// Every connection that stands.
#[derive(Default)]
pub(crate) struct Links {
    by_id: HashMap<ConnectionId, Arc<LinkShared>>,
    next: u64,
    /// No more.
    closed: bool,
}

impl Links {
    /// A connection that stands.
    pub(crate) fn get(&self, id: ConnectionId) -> Option<&Arc<LinkShared>> {
        self.by_id.get(&id)
    }

    /// All of them.
    pub(crate) fn all(&self) -> impl Iterator<Item = &Arc<LinkShared>> {
        self.by_id.values()
    }

    /// How many.
    pub(crate) fn len(&self) -> usize {
        self.by_id.len()
    }

    /// Lets go of all of them, as the end of the process would.
    #[cfg(test)]
    pub(crate) fn forget(&mut self) {
        self.by_id.clear();
    }

    /// Takes no more.
    pub(crate) fn close(&mut self) {
        self.closed = true;
    }
}

/// Why a connection that stood was not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Untaken {
    /// TLS proved a certificate that names nobody; the verifier lets none through.
    #[error("the connection has no peer certificate")]
    Nameless,
    /// The peer has as many as are kept.
    #[error("the peer holds {LINKS_PER_PEER_MAX} connections already")]
    TooMany,
    /// The node is shutting down.
    #[error("the node is shutting down")]
    ShuttingDown,
}

/// Chain that the peer presented, leaf first.
pub(crate) fn chain(conn: &Connection) -> Vec<CertificateDer<'static>> {
    let identity = conn.peer_identity().and_then(|any| any.downcast::<Vec<CertificateDer<'static>>>().ok());
    identity.map(|chain| *chain).unwrap_or_default()
}

/// The wall clock.
pub(crate) fn now() -> Millis {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Millis(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

/// Takes a connection whose handshake succeeded, and looks after it until it ends.
pub(crate) fn take(node: &Arc<Shared>, conn: Connection, line: Option<Standing>) -> Result<Arc<LinkShared>, Untaken> {
    let leaf = chain(&conn).into_iter().next().ok_or(Untaken::Nameless)?;
    let names = certificate::names(&leaf).map_err(|_| Untaken::Nameless)?;
    let (commands, orders) = mpsc::unbounded_channel();
    let mut links = node.links();
    if links.closed {
        return Err(turn_away(&conn, line, NetCode::ShuttingDown, Untaken::ShuttingDown));
    }
    if links.all().filter(|l| l.peer == names.uri).count() >= LINKS_PER_PEER_MAX {
        return Err(turn_away(&conn, line, NetCode::TooManyConnections, Untaken::TooMany));
    }
    links.next += 1;
    let link = Arc::new(LinkShared {
        node: node.clone(),
        id: ConnectionId(links.next),
        peer: names.uri,
        conn,
        line,
        commands,
        queued: AtomicUsize::new(0),
        partial: AtomicUsize::new(0),
        heard: AtomicBool::new(false),
        frames: AtomicU32::new(0),
        granted: AtomicU32::new(FIRST_STREAMS),
        streams: AtomicUsize::new(0),
    });
    links.by_id.insert(link.id, link.clone());
    drop(links);
    tokio::spawn(live(link.clone(), orders, names.not_after));
    if link.line.is_some() && link.conn.side() == Side::Client {
        tokio::spawn(dial::over_udp_again(link.clone()));
    }
    Ok(link)
}

fn turn_away(conn: &Connection, line: Option<Standing>, code: NetCode, why: Untaken) -> Untaken {
    conn.close(code.code(), code.to_string().as_bytes());
    if let Some(line) = line {
        tokio::spawn(async move { line.leave().await });
    }
    why
}

async fn live(link: Arc<LinkShared>, orders: mpsc::UnboundedReceiver<Command>, not_after: Millis) {
    let node = link.node.clone();
    let dialled = link.conn.side() == Side::Client;
    let (connection, peer) = (link.id, link.peer.clone());
    let (alive, mut dead) = mpsc::channel(1);
    tokio::spawn(writer::write(link.clone(), orders, alive.clone()));
    // Before the engine hears of the connection: its first stream must be the control stream.
    let control = if dialled { Some(link.conn.open_bi().await) } else { None };
    // Fails only when the engine is gone; then the connection is of no use either.
    let told = node.inbox.send(Input::Connected { connection, peer, dialled }).await;
    if told.is_err() {
        link.conn.close(NetCode::ShuttingDown.code(), b"shutting-down");
    }
    let over = link.over().as_str();
    tracing::info!(peer = %link.peer, connection = link.id.0, dialled, over, "connected");
    let reason = match control {
        Some(Err(error)) => {
            drop(alive);
            EndReason::from(error)
        }
        Some(Ok(control)) => serve(&link, Some(control), not_after, alive).await,
        None => serve(&link, None, not_after, alive).await,
    };
    // The writer may have gone first.
    let _ = link.commands.send(Command::Lost);
    while dead.recv().await.is_some() {}
    if let Some(line) = &link.line {
        line.leave().await;
    }
    node.links().by_id.remove(&link.id);
    // Fails only when the engine is gone.
    let _ = node.inbox.send(Input::Disconnected { connection }).await;
    if link.has_spoken() || reason == EndReason::ClosedHere {
        tracing::info!(peer = %link.peer, connection = link.id.0, class = reason.class(), "disconnected: {reason}");
    } else {
        // Before its Ready, the peer has processed nothing: every question may be asked again.
        tracing::warn!(peer = %link.peer, connection = link.id.0, class = reason.class(), "not processed: {reason}");
        if dialled {
            node.dial_failed(&link.peer, reason.class());
        }
    }
}

/// Returns when the TCP connection under it, if there is one, is gone.
async fn broken(link: &LinkShared) -> Broken {
    match &link.line {
        Some(line) => line.broken().await,
        None => std::future::pending().await,
    }
}

/// Accepts streams until the connection ends.
async fn serve(
    link: &Arc<LinkShared>,
    control: Option<(SendStream, RecvStream)>,
    not_after: Millis,
    alive: mpsc::Sender<()>,
) -> EndReason {
    let listen = |stream: StreamId, send: SendStream, recv: RecvStream| {
        // In this order: the engine may answer as soon as the reader has delivered. Fails only if the writer is gone.
        let _ = link.commands.send(Command::Accepted { stream, send });
        let held = Held { permit: None, alive: alive.clone() };
        tokio::spawn(reader::read(link.clone(), stream, recv, held, true));
    };
    let dialled = control.is_some();
    if let Some((send, recv)) = control {
        listen(StreamId::CONTROL, send, recv);
    }
    // Nobody's certificate outlives itself; one second more, since the last second still counts.
    let left = Duration::from_millis(not_after.plus(1_000).since(now()));
    let expiry = tokio::time::sleep(left);
    tokio::pin!(expiry);
    let silence = tokio::time::sleep(link.node.options.first_frame);
    tokio::pin!(silence);
    let mut next = 1;
    loop {
        tokio::select! {
            accepted = link.conn.accept_bi() => match accepted {
                Ok((send, recv)) if !dialled && recv.id().index() == 0 => listen(StreamId::CONTROL, send, recv),
                Ok((send, recv)) => {
                    listen(StreamId(next), send, recv);
                    next += 2;
                }
                Err(error) => return error.into(),
            },
            broken = broken(link) => {
                link.conn.close(NetCode::Done.code(), b"line-lost");
                return broken.into();
            }
            () = &mut silence, if !silence.is_elapsed() => {
                if !link.has_spoken() {
                    if link.node.counters.count("peer-silent") {
                        tracing::warn!(peer = %link.peer, "the peer says nothing: closing");
                    }
                    link.conn.close(NetCode::Stalled.code(), b"stalled");
                }
            }
            () = &mut expiry, if !expiry.is_elapsed() => {
                tracing::warn!(peer = %link.peer, "the peer's certificate has expired: closing");
                link.conn.close(NetCode::NoLongerTrusted.code(), b"no-longer-trusted");
            }
        }
    }
}
