//! The one UDP socket: its buffers, and who may begin a handshake.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::{Arc, Mutex, PoisonError};

use aws_lc_rs::hmac;
use puente_model::Secret32;
use quinn::{
    ConnectionId, ConnectionIdGenerator, Endpoint, EndpointConfig, Incoming, TokioRuntime, ValidationTokenConfig,
};
use rand_chacha::ChaCha20Rng;
use rand_core::{RngCore as _, SeedableRng as _};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::time::timeout;

use super::options::NetOptions;
use super::reason::EndReason;
use super::{Shared, link};
use crate::files;

/// Connections that stand at once.
pub(crate) const LINKS_MAX: usize = 4_096;
/// Handshakes in progress at once.
const HANDSHAKES_MAX: usize = 1_024;

/// Binds the socket with large buffers and says what the kernel granted.
pub(crate) fn bind(options: &NetOptions) -> io::Result<UdpSocket> {
    let socket = Socket::new(Domain::for_address(options.listen), Type::DGRAM, Some(Protocol::UDP))?;
    if options.listen.is_ipv6() {
        socket.set_only_v6(false)?;
    }
    // The kernel grants what it grants (net.core.rmem_max, wmem_max): a smaller buffer is no reason not to run.
    let asked = options.socket_buffer;
    let _ = socket.set_recv_buffer_size(asked);
    let _ = socket.set_send_buffer_size(asked);
    socket.bind(&options.listen.into())?;
    let (receive, send) = (socket.recv_buffer_size()?, socket.send_buffer_size()?);
    if receive < asked || send < asked {
        tracing::warn!(asked, receive, send, "small socket buffers; raise net.core.rmem_max and net.core.wmem_max");
    } else {
        tracing::info!(receive, send, "socket buffers");
    }
    Ok(socket.into())
}

/// Bytes of a connection id.
const CID_BYTES: usize = 8;

/// Random connection ids. None is refused unseen: one of a run before this one is answered with a stateless reset.
struct RandomIds(Arc<Mutex<ChaCha20Rng>>);

impl ConnectionIdGenerator for RandomIds {
    fn generate_cid(&mut self) -> ConnectionId {
        let mut id = [0; CID_BYTES];
        self.0.lock().unwrap_or_else(PoisonError::into_inner).fill_bytes(&mut id);
        ConnectionId::new(&id)
    }

    fn cid_len(&self) -> usize {
        CID_BYTES
    }

    fn cid_lifetime(&self) -> Option<std::time::Duration> {
        None
    }
}

/// What whoever dials in gets, over UDP.
pub(crate) fn server(options: &NetOptions, crypto: quinn::crypto::rustls::QuicServerConfig) -> quinn::ServerConfig {
    let mut server = quinn::ServerConfig::with_crypto(Arc::new(crypto));
    let mut tokens = ValidationTokenConfig::default();
    tokens.sent(0);
    server
        .transport_config(options.transport(false))
        .validation_token_config(tokens)
        .max_incoming(4_096)
        .incoming_buffer_size(64 << 10)
        .incoming_buffer_size_total(32 << 20);
    server
}

/// The same on a TCP connection, which carries one of QUIC's.
pub(crate) fn server_over_tcp(options: &NetOptions, mut server: quinn::ServerConfig) -> quinn::ServerConfig {
    server.transport_config(options.transport_over_tcp(false)).max_incoming(1).migration(false);
    server
}

/// Opens the endpoint; `reset` keys its stateless resets.
pub(crate) fn open(options: &NetOptions, server: quinn::ServerConfig, reset: &Secret32) -> io::Result<Endpoint> {
    let mut config = EndpointConfig::new(Arc::new(hmac::Key::new(hmac::HMAC_SHA256, reset.expose())));
    let ids = Arc::new(Mutex::new(ChaCha20Rng::from_seed(*files::fresh_secret()?.expose())));
    config.cid_generator(move || Box::new(RandomIds(ids.clone())));
    if let Some(max) = options.udp_payload_max {
        // Fails below 1,200 bytes, which QUIC needs.
        config.max_udp_payload_size(max.max(1_200)).map_err(io::Error::other)?;
    }
    Endpoint::new(config, Some(server), bind(options)?, Arc::new(TokioRuntime))
}

/// Handshakes in progress, by network prefix.
#[derive(Debug, Default)]
pub(crate) struct Handshakes {
    by_prefix: Mutex<(usize, HashMap<Prefix, usize>)>,
}

/// /24 of IPv4, /48 of IPv6.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Prefix {
    V4([u8; 3]),
    V6([u8; 6]),
}

fn prefix(address: SocketAddr) -> Prefix {
    match address.ip().to_canonical() {
        IpAddr::V4(ip) => {
            let [a, b, c, _] = ip.octets();
            Prefix::V4([a, b, c])
        }
        IpAddr::V6(ip) => {
            let [a, b, c, d, e, f, ..] = ip.octets();
            Prefix::V6([a, b, c, d, e, f])
        }
    }
}

/// What to do with somebody who knocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Admission {
    /// Begin the handshake.
    Accept,
    /// Let it prove its address first: costs it a round trip and this node nothing.
    Retry,
    /// Say nothing.
    Ignore(&'static str),
}

impl Handshakes {
    pub(crate) fn admit(&self, from: SocketAddr, proven: bool, options: &NetOptions) -> Admission {
        let mut counts = self.by_prefix.lock().unwrap_or_else(PoisonError::into_inner);
        let (total, by_prefix) = &mut *counts;
        if *total >= options.retry_above && !proven {
            return Admission::Retry;
        }
        if *total >= HANDSHAKES_MAX {
            return Admission::Ignore("handshakes-full");
        }
        let count = by_prefix.entry(prefix(from)).or_default();
        if *count >= options.handshakes_per_prefix {
            return Admission::Ignore("handshakes-full-for-prefix");
        }
        *count += 1;
        *total += 1;
        Admission::Accept
    }

    pub(crate) fn done(&self, from: SocketAddr) {
        let mut counts = self.by_prefix.lock().unwrap_or_else(PoisonError::into_inner);
        let (total, by_prefix) = &mut *counts;
        *total = total.saturating_sub(1);
        if let Some(count) = by_prefix.get_mut(&prefix(from)) {
            *count -= 1;
            if *count == 0 {
                by_prefix.remove(&prefix(from));
            }
        }
    }
}

/// Answers whoever knocks until the endpoint closes.
pub(crate) async fn accept(node: Arc<Shared>) {
    while let Some(incoming) = node.endpoint.accept().await {
        let from = incoming.remote_address();
        let proven = incoming.remote_address_validated() || !incoming.may_retry();
        if node.links().len() >= LINKS_MAX {
            node.counters.count("connections-full");
            incoming.refuse();
            continue;
        }
        match node.handshakes.admit(from, proven, &node.options) {
            Admission::Retry => {
                node.counters.count("retry");
                // Fails only for an address that has proven itself.
                let _ = incoming.retry();
            }
            Admission::Ignore(class) => {
                if node.counters.count(class) {
                    tracing::warn!(class, "handshake ignored");
                }
                incoming.ignore();
            }
            Admission::Accept => {
                tokio::spawn(handshake(node.clone(), incoming, from));
            }
        }
    }
}

async fn handshake(node: Arc<Shared>, incoming: Incoming, from: SocketAddr) {
    let result = match incoming.accept() {
        Ok(connecting) => timeout(node.options.handshake_timeout, connecting).await,
        Err(error) => Ok(Err(error)),
    };
    node.handshakes.done(from);
    let class = match result {
        Err(_) => "handshake-timed-out",
        // Refused certificates are counted and logged by their verifier.
        Ok(Err(quinn::ConnectionError::TransportError(_))) => return,
        Ok(Err(error)) => EndReason::from(error).class(),
        Ok(Ok(conn)) => match link::take(&node, conn, None) {
            Ok(_) => return,
            Err(link::Untaken::TooMany) => "too-many-connections",
            Err(_) => "connection-not-taken",
        },
    };
    if node.counters.count(class) {
        tracing::warn!(class, "incoming connection failed");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strangers_prove_their_address_under_load_and_share_their_networks_places() {
        let mut options = NetOptions::new("127.0.0.1:0".parse().unwrap());
        (options.retry_above, options.handshakes_per_prefix) = (2, 3);
        let handshakes = Handshakes::default();
        let at = |text: &str| -> SocketAddr { text.parse().unwrap() };
        let admit = |from: &str, proven| handshakes.admit(at(from), proven, &options);
        assert_eq!(admit("192.0.2.1:1", false), Admission::Accept);
        assert_eq!(admit("192.0.2.2:1", false), Admission::Accept);
        assert_eq!(admit("192.0.2.3:1", false), Admission::Retry);
        assert_eq!(admit("[::ffff:192.0.2.3]:1", true), Admission::Accept);
        assert_eq!(admit("192.0.2.4:1", true), Admission::Ignore("handshakes-full-for-prefix"));
        assert_eq!(admit("192.0.3.4:1", true), Admission::Accept);
        assert_eq!(admit("[2001:db8:1::1]:1", true), Admission::Accept);
        for from in ["192.0.2.1:9", "192.0.2.2:9", "192.0.2.3:9", "192.0.3.4:9", "[2001:db8:1:ffff::1]:9"] {
            handshakes.done(at(from));
        }
        let counts = handshakes.by_prefix.lock().unwrap();
        assert_eq!((counts.0, counts.1.len()), (0, 0));
    }
}
