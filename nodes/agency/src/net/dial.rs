//! Dialling: one dial per peer at a time, every address of the charter, growing pauses after failures.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use puente_exchange::api::Input;
use puente_model::NodeUri;
use tokio::time::{Instant, sleep_until, timeout};

use super::link::LinkShared;
use super::reason::{EndReason, NetCode};
use super::refusal::PeerRefusal;
use super::tls::{self, SERVER_NAME, TlsError, Verifier};
use super::writer::Command;
use super::{Shared, link, tcp};

/// Addresses that are tried per endpoint of the charter.
const ADDRESSES_MAX: usize = 4;

/// Why a peer could not be reached.
#[derive(Debug, thiserror::Error)]
pub enum DialError {
    /// The charter, or the peer's certificate, does not admit it.
    #[error(transparent)]
    Refused(#[from] PeerRefusal),
    /// The charter gives no address.
    #[error("the charter gives no endpoint for {0}: it only calls")]
    NoEndpoint(NodeUri),
    /// The name has no address.
    #[error("'{0}' cannot be resolved to an address; check DNS and the endpoint in the annex")]
    Unresolved(String),
    /// Nothing came back.
    #[error("no answer from {0} in time; is UDP, or at least TCP, let through?")]
    NoAnswer(SocketAddr),
    /// The handshake failed otherwise.
    #[error("the handshake failed: {0}")]
    Handshake(EndReason),
    /// The address cannot be dialled from this socket.
    #[error("cannot dial: {0}")]
    Connect(#[from] quinn::ConnectError),
    /// TLS could not be set up.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The connection stood but was not kept.
    #[error("the connection was not kept: {0}")]
    NotKept(String),
    /// The node is shutting down.
    #[error("the node is shutting down")]
    ShuttingDown,
}

impl DialError {
    /// The stable name of the class.
    pub const fn class(&self) -> &'static str {
        match self {
            Self::Refused(refusal) => refusal.class(),
            Self::NoEndpoint(_) => "no-endpoint",
            Self::Unresolved(_) => "unresolved",
            Self::NoAnswer(_) => "no-answer",
            Self::Handshake(reason) => reason.class(),
            Self::Connect(_) => "cannot-dial",
            Self::Tls(_) => "tls",
            Self::NotKept(_) => "not-kept",
            Self::ShuttingDown => "shutting-down",
        }
    }
}

/// What is remembered of dialling one peer.
#[derive(Debug, Default)]
pub(crate) struct Dial {
    in_flight: bool,
    /// Since the last frame from the peer.
    failures: u32,
    not_before: Option<Instant>,
    /// Class of the last failure.
    pub(crate) last: Option<&'static str>,
}

pub(crate) type Dials = HashMap<NodeUri, Dial>;

/// Dials, unless a dial to this peer is on its way already.
pub(crate) fn begin(node: &Arc<Shared>, peer: NodeUri) {
    let mut dials = node.dials();
    let dial = dials.entry(peer.clone()).or_default();
    if dial.in_flight {
        return;
    }
    dial.in_flight = true;
    let not_before = dial.not_before;
    drop(dials);
    let node = node.clone();
    tokio::spawn(async move {
        if let Some(at) = not_before {
            sleep_until(at).await;
        }
        let result = reach(&node, &peer).await;
        if let Some(dial) = node.dials().get_mut(&peer) {
            dial.in_flight = false;
        }
        if let Err(error) = result {
            node.dial_failed(&peer, error.class());
            tracing::info!(%peer, class = error.class(), "dial failed: {error}");
            // Fails only when the engine is gone.
            let _ = node.inbox.send(Input::DialFailed { peer }).await;
        }
    });
}

impl Dial {
    /// The peer spoke.
    pub(crate) fn succeeded(&mut self) {
        self.failures = 0;
        self.not_before = None;
        self.last = None;
    }

    /// Another failure at `now`; `jitter` is between 0 and 1.
    pub(crate) fn failed(&mut self, now: Instant, class: &'static str, pauses: (Duration, Duration), jitter: f64) {
        let (min, max) = pauses;
        let pause = min.saturating_mul(1 << self.failures.min(16)).min(max);
        self.failures = self.failures.saturating_add(1);
        self.not_before = Some(now + pause.mul_f64(0.5 + jitter));
        self.last = Some(class);
    }
}

async fn reach(node: &Arc<Shared>, peer: &NodeUri) -> Result<(), DialError> {
    let endpoints = node.trust.load().active(peer)?.endpoints.clone();
    let mut last = DialError::NoEndpoint(peer.clone());
    for endpoint in endpoints {
        let addresses = match resolve(node, endpoint).await {
            Ok(addresses) => addresses,
            Err(error) => {
                last = error;
                continue;
            }
        };
        for address in addresses {
            if node.stopping.load(Ordering::Relaxed) {
                return Err(DialError::ShuttingDown);
            }
            match attempt(node, peer, address).await {
                Ok(()) => return Ok(()),
                Err(error) => last = error,
            }
        }
    }
    Err(last)
}

async fn resolve(node: &Shared, endpoint: String) -> Result<Vec<SocketAddr>, DialError> {
    match timeout(node.options.dial_timeout, tokio::net::lookup_host(endpoint.clone())).await {
        Ok(Ok(addresses)) => Ok(addresses.take(ADDRESSES_MAX).collect()),
        _ => Err(DialError::Unresolved(endpoint)),
    }
}

/// UDP first; when it has been silent for a while TCP too, and whichever stands first is taken. Who answers over UDP and
/// refuses has refused.
async fn attempt(node: &Arc<Shared>, peer: &NodeUri, address: SocketAddr) -> Result<(), DialError> {
    let keep = |(conn, line)| match link::take(node, conn, line) {
        Ok(_) => Ok(()),
        Err(untaken) => Err(DialError::NotKept(untaken.to_string())),
    };
    let mut udp = pin!(over_udp(node, peer, address));
    if !node.options.tcp {
        return udp.await.and_then(|conn| keep((conn, None)));
    }
    let mut silent = false;
    match timeout(node.options.tcp_after, &mut udp).await {
        Ok(Err(DialError::NoAnswer(_))) => silent = true,
        Ok(answered) => return answered.and_then(|conn| keep((conn, None))),
        Err(_) => {}
    }
    let mut tcp = pin!(tcp::dial(node, peer, address));
    let mut failed = None;
    loop {
        tokio::select! {
            biased;
            answered = &mut udp, if !silent => match answered {
                Err(DialError::NoAnswer(_)) => silent = true,
                answered => return answered.and_then(|conn| keep((conn, None))),
            },
            answered = &mut tcp, if failed.is_none() => match answered {
                Ok((conn, line)) => return keep((conn, Some(line))),
                Err(error) => failed = Some(error),
            },
        }
        if silent && let Some(error) = failed.take() {
            return Err(error);
        }
    }
}

async fn over_udp(node: &Arc<Shared>, peer: &NodeUri, address: SocketAddr) -> Result<quinn::Connection, DialError> {
    let verifier = Arc::new(Verifier::new(node.trust.clone(), Some(peer.clone()), node.counters.clone()));
    let crypto = tls::client(verifier.clone(), node.identity.clone())?;
    let mut config = quinn::ClientConfig::new(Arc::new(crypto));
    config.transport_config(node.dialling.clone());
    let connecting = node.endpoint.connect_with(config, address, SERVER_NAME)?;
    match timeout(node.options.dial_timeout, connecting).await {
        Err(_) => Err(DialError::NoAnswer(address)),
        Ok(Err(error)) => Err(match verifier.refused.get() {
            Some(refusal) => refusal.clone().into(),
            None if error == quinn::ConnectionError::TimedOut => DialError::NoAnswer(address),
            None => DialError::Handshake(error.into()),
        }),
        Ok(Ok(conn)) => Ok(conn),
    }
}

/// Exchanges on a connection that is to be replaced have this long to end.
const REPLACING: Duration = Duration::from_secs(30);
/// How often it is looked whether they have.
const LOOK: Duration = Duration::from_millis(50);

/// Looks after a connection that this node dialled over TCP: from time to time the peer is tried over UDP, and when that works the
/// engine asks there, and this connection is closed once nothing is under way on it.
pub(crate) async fn over_udp_again(link: Arc<LinkShared>) {
    let node = link.node.clone();
    loop {
        tokio::select! {
            _ = link.conn.closed() => return,
            () = tokio::time::sleep(node.options.udp_again) => {}
        }
        if let Some(successor) = replaced(&node, &link.peer).await
            && speaks(&successor).await
        {
            break;
        }
    }
    tracing::info!(peer = %link.peer, connection = link.id.0, "UDP is let through again: leaving TCP");
    let by = Instant::now() + REPLACING;
    // The control stream is always open.
    while link.streams.load(Ordering::Relaxed) > 1 && Instant::now() < by && link.conn.close_reason().is_none() {
        tokio::time::sleep(LOOK).await;
    }
    // Fails only if the connection is gone already.
    let _ = link.commands.send(Command::Close(NetCode::Done));
}

/// Whether the peer says something on a new connection, and so has accepted this node.
async fn speaks(link: &LinkShared) -> bool {
    let by = Instant::now() + link.node.options.first_frame;
    while !link.has_spoken() && Instant::now() < by && link.conn.close_reason().is_none() {
        tokio::time::sleep(LOOK).await;
    }
    link.has_spoken()
}

/// A connection to the peer over UDP, if there can be one.
async fn replaced(node: &Arc<Shared>, peer: &NodeUri) -> Option<Arc<LinkShared>> {
    if node.stopping.load(Ordering::Relaxed) {
        return None;
    }
    let endpoints = node.trust.load().active(peer).ok()?.endpoints.clone();
    for endpoint in endpoints {
        for address in resolve(node, endpoint).await.unwrap_or_default() {
            if let Ok(conn) = over_udp(node, peer, address).await {
                return link::take(node, conn, None).ok();
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_with_jitter_up_to_the_longest() {
        let mut dial = Dial::default();
        let pauses = (Duration::from_millis(100), Duration::from_secs(1));
        let now = Instant::now();
        for (jitter, expected) in [(0.0, 50), (0.5, 200), (1.0, 600), (0.5, 800), (0.5, 1_000), (0.5, 1_000)] {
            dial.failed(now, "no-answer", pauses, jitter);
            assert_eq!(dial.not_before, Some(now + Duration::from_millis(expected)));
        }
        dial.succeeded();
        assert_eq!(dial.not_before, None);
    }
}
