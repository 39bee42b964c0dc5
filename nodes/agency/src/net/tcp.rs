//! The stand-in where UDP is blocked: QUIC's datagrams in TLS 1.3 over TCP, the same certificates on both layers.
//!
//! Who is at the other end is what the QUIC connection inside proves, as ever; the TLS outside proves the same name first, so
//! that strangers do not reach QUIC at all.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use puente_charter::certificate;
use puente_model::NodeUri;
use quinn::Connection;
use rustls::pki_types::ServerName;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{sleep, timeout};
use tokio_rustls::{TlsAcceptor, TlsConnector};

use super::dial::DialError;
use super::endpoint::{Admission, LINKS_MAX};
use super::line::{Broken, Standing};
use super::reason::{EndReason, NetCode};
use super::tls::{self, ALPN_TCP, SERVER_NAME, Verifier};
use super::{Shared, link};

/// Connections that the kernel holds until they are accepted.
const BACKLOG: i32 = 1_024;

/// Listens for peers whose UDP is blocked.
pub(crate) fn bind(at: SocketAddr) -> io::Result<std::net::TcpListener> {
    let socket = Socket::new(Domain::for_address(at), Type::STREAM, Some(Protocol::TCP))?;
    if at.is_ipv6() {
        socket.set_only_v6(false)?;
    }
    // A node that starts again does not wait for the connections of its last run.
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&at.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// Answers whoever dials in until the task is ended.
pub(crate) async fn accept(node: Arc<Shared>, listener: TcpListener) {
    loop {
        let (stream, from) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                // Out of descriptors, most likely: others may finish.
                if node.counters.count("tcp-accept-failed") {
                    tracing::warn!("cannot accept over TCP: {error}");
                }
                sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        if node.links().len() >= LINKS_MAX {
            node.counters.count("connections-full");
            continue;
        }
        // Whoever completes TCP's handshake has proven its address.
        match node.handshakes.admit(from, true, &node.options) {
            Admission::Accept => {
                tokio::spawn(welcome(node.clone(), stream, from));
            }
            Admission::Ignore(class) => {
                if node.counters.count(class) {
                    tracing::warn!(class, "handshake over TCP ignored");
                }
            }
            Admission::Retry => {}
        }
    }
}

async fn welcome(node: Arc<Shared>, stream: TcpStream, from: SocketAddr) {
    let result = timeout(node.options.handshake_timeout, handshake(&node, stream, from)).await;
    node.handshakes.done(from);
    let class = match result {
        Err(_) => "handshake-timed-out",
        Ok(Err(class)) => class,
        Ok(Ok((conn, standing))) => match link::take(&node, conn, Some(standing)) {
            Ok(_) => return,
            Err(link::Untaken::TooMany) => "too-many-connections",
            Err(_) => "connection-not-taken",
        },
    };
    if node.counters.count(class) {
        tracing::warn!(class, "incoming connection over TCP failed");
    }
}

/// The class of what went wrong; refused certificates have been counted and logged by their verifier, too.
async fn handshake(
    node: &Arc<Shared>,
    stream: TcpStream,
    from: SocketAddr,
) -> Result<(Connection, Standing), &'static str> {
    // Fails on a socket that is gone: the handshake says so.
    let _ = stream.set_nodelay(true);
    let local = stream.local_addr().map_err(|_| "tcp-failed")?;
    let acceptor = TlsAcceptor::from(node.over_tcp.tls.clone());
    let tls = acceptor.accept(stream).await.map_err(|_| "tcp-tls-failed")?;
    let (_, session) = tls.get_ref();
    if session.alpn_protocol() != Some(ALPN_TCP) {
        return Err("tcp-other-protocol");
    }
    let outer = session.peer_certificates().and_then(|chain| certificate::peer_uri(chain.first()?).ok());
    let standing = Standing::over(tls, (local, from), Some(node.over_tcp.server.clone())).map_err(|_| "tcp-failed")?;
    let quic = async {
        let incoming = standing.endpoint().accept().await.ok_or("tcp-failed")?;
        // One connection per line.
        standing.endpoint().set_server_config(None);
        let connecting = incoming.accept().map_err(|error| EndReason::from(error).class())?;
        connecting.await.map_err(|error| EndReason::from(error).class())
    };
    let conn = tokio::select! {
        conn = quic => conn?,
        broken = standing.broken() => return Err(if broken == Broken::Malformed { "datagram-malformed" } else { "tcp-failed" }),
    };
    let inner = link::chain(&conn).first().and_then(|leaf| certificate::peer_uri(leaf).ok());
    if inner.is_none() || inner != outer {
        conn.close(NetCode::NoLongerTrusted.code(), b"two names on one line");
        standing.leave().await;
        return Err("wrong-peer");
    }
    Ok((conn, standing))
}

/// Dials one address of a peer over TCP.
pub(crate) async fn dial(
    node: &Arc<Shared>,
    peer: &NodeUri,
    address: SocketAddr,
) -> Result<(Connection, Standing), DialError> {
    if node.stopping.load(Ordering::Relaxed) {
        return Err(DialError::ShuttingDown);
    }
    let verifier = || Arc::new(Verifier::new(node.trust.clone(), Some(peer.clone()), node.counters.clone()));
    let (outer, inner) = (verifier(), verifier());
    let tls = tls::tcp_client(outer.clone(), node.identity.clone())?;
    let mut config = quinn::ClientConfig::new(Arc::new(tls::client(inner.clone(), node.identity.clone())?));
    config.transport_config(node.over_tcp.dialling.clone());
    match timeout(node.options.dial_timeout, open(tls, config, address)).await {
        Ok(Ok(opened)) => Ok(opened),
        Err(_) | Ok(Err(Problem::NoAnswer)) => Err(DialError::NoAnswer(address)),
        Ok(Err(Problem::Connect(error))) => Err(error.into()),
        Ok(Err(Problem::Ended(reason))) => Err(match outer.refused.get().or_else(|| inner.refused.get()) {
            Some(refusal) => DialError::Refused(refusal.clone()),
            None => DialError::Handshake(reason),
        }),
    }
}

/// Why there is no connection to an address over TCP.
pub(crate) enum Problem {
    /// Nobody answers.
    NoAnswer,
    /// It began and ended.
    Ended(EndReason),
    /// QUIC cannot be begun.
    Connect(quinn::ConnectError),
}

impl From<Broken> for Problem {
    fn from(broken: Broken) -> Self {
        Self::Ended(broken.into())
    }
}

impl From<io::Error> for Problem {
    fn from(error: io::Error) -> Self {
        Broken::from(error).into()
    }
}

/// TCP to an address, TLS on it, QUIC on that.
pub(crate) async fn open(
    tls: rustls::ClientConfig,
    config: quinn::ClientConfig,
    address: SocketAddr,
) -> Result<(Connection, Standing), Problem> {
    let stream = TcpStream::connect(address).await.map_err(|_| Problem::NoAnswer)?;
    stream.set_nodelay(true)?;
    let local = stream.local_addr()?;
    let name = ServerName::try_from(SERVER_NAME).map_err(io::Error::other)?;
    let stream = TlsConnector::from(Arc::new(tls)).connect(name, stream).await?;
    if stream.get_ref().1.alpn_protocol() != Some(ALPN_TCP) {
        return Err(Broken::Failed("another protocol is spoken there over TCP".to_owned()).into());
    }
    let standing = Standing::over(stream, (local, address), None)?;
    let connecting = standing.endpoint().connect_with(config, address, SERVER_NAME).map_err(Problem::Connect)?;
    let conn = tokio::select! {
        conn = connecting => conn.map_err(|error| Problem::Ended(error.into()))?,
        // TLS 1.3 lets this side believe that it is done before the peer has judged its certificate.
        broken = standing.broken() => return Err(broken.into()),
    };
    Ok((conn, standing))
}
