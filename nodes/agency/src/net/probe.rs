//! Trying a peer step by step, from a socket of its own: what an operator wants to know when two nodes do not meet.
//!
//! It contacts the addresses that the charter gives for that peer, and nobody else. It asks nothing: it listens to the
//! peer's Ready and leaves.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use puente_charter::Charter;
use puente_model::{Digest, Millis, NodeUri};
use puente_wire::proto::{Ready, frame::Body};
use puente_wire::{FrameBuffer, decode_frame};
use quinn::crypto::rustls::QuicClientConfig;
use quinn::{Endpoint, EndpointConfig, TokioRuntime, VarInt};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, UnixTime};
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::timeout;

use super::line::Standing;
use super::options::NetOptions;
use super::reason::EndReason;
use super::refusal::{Counters, PeerRefusal};
use super::tcp::{self, Problem};
use super::tls::{self, Identity, SERVER_NAME, TlsError, Verifier};
use super::trust::{Presenter, RootError, Trust};

/// How long one step may take.
const STEP: Duration = Duration::from_secs(5);
/// How often a datagram is sent before nothing coming back counts: UDP loses some.
const SENDS: u32 = 4;
/// Bytes of a QUIC datagram that a server answers at all.
const DATAGRAM: usize = 1_200;

/// One step towards a peer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProbeStep {
    /// Which: a stable word.
    pub name: &'static str,
    /// How long it took.
    pub took: Duration,
    /// What was found, or the class and the words of what went wrong.
    pub found: Result<String, (&'static str, String)>,
}

/// What a peer said of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerReady {
    /// Its charter's digest.
    pub charter_hash: Vec<u8>,
    /// Its catalogue's digest.
    pub catalogue: Vec<u8>,
    /// Its clock minus this one's, in milliseconds, to about half a round trip.
    pub skew_millis: i64,
}

/// What a probe came to: the steps that were taken, in order; the first that failed is the last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Probed {
    /// Whom.
    pub peer: NodeUri,
    /// The steps.
    pub steps: Vec<ProbeStep>,
    /// Ready, if it came.
    pub ready: Option<PeerReady>,
}

impl Probed {
    /// Every step succeeded, but for UDP where TCP stands in.
    pub fn is_well(&self) -> bool {
        let stands_in = self.over_tcp();
        self.steps.iter().all(|step| step.found.is_ok() || (stands_in && step.name == "udp"))
    }

    /// UDP is blocked on the way to it, and TCP stands in.
    pub fn over_tcp(&self) -> bool {
        self.steps.iter().any(|step| step.name == "tcp" && step.found.is_ok())
    }
}

/// Why nobody could be probed.
#[derive(Debug, thiserror::Error)]
pub enum ProbeError {
    /// A root of the charter is unusable.
    #[error(transparent)]
    Root(#[from] RootError),
    /// TLS is unusable.
    #[error(transparent)]
    Tls(#[from] TlsError),
}

struct Walk {
    peer: NodeUri,
    steps: Vec<ProbeStep>,
    began: Instant,
}

impl Walk {
    /// Ends a step; none if it failed.
    fn step<T>(
        &mut self,
        name: &'static str,
        result: Result<T, (&'static str, String)>,
        show: impl FnOnce(&T) -> String,
    ) -> Option<T> {
        let (took, next) = (self.began.elapsed(), Instant::now());
        self.began = next;
        let found = result.as_ref().map(show).map_err(Clone::clone);
        self.steps.push(ProbeStep { name, took, found });
        result.ok()
    }
}

/// The wall clock.
fn now() -> Millis {
    super::link::now()
}

/// Tries one peer of the charter, as the node `own`, which shows `identity`.
///
/// # Errors
/// This node's own side cannot be set up.
pub async fn probe(own: &NodeUri, charter: &Charter, identity: Identity, peer: &NodeUri) -> Result<Probed, ProbeError> {
    let trust = Arc::new(ArcSwap::from_pointee(Trust::of(charter, own.clone())?));
    let counters = Arc::new(Counters::default());
    let verifier = Arc::new(Verifier::new(trust.clone(), Some(peer.clone()), counters));
    let identity = Arc::new(identity);
    let crypto = tls::client(verifier.clone(), identity.clone())?;
    let outer = tls::tcp_client(verifier.clone(), identity)?;
    let mut walk = Walk { peer: peer.clone(), steps: Vec::new(), began: Instant::now() };
    let ready = steps(&mut walk, &trust.load(), &verifier, (crypto, outer)).await;
    if let Some(ready) = &ready {
        let same = |found: &[u8], own: Digest, code, words: &str| match found == own.0 {
            true => Ok(own.to_string()),
            false => Err((code, format!("{words}: {} there, {own} here", hex::encode(found)))),
        };
        let charters = same(&ready.charter_hash, charter.hash(), "other-charter", "the peer has another charter");
        walk.step("charter", charters, String::clone);
        let other = "the peer has another catalogue";
        walk.step("catalogue", same(&ready.catalogue, charter.catalogue(), "other-catalogue", other), String::clone);
    }
    Ok(Probed { peer: walk.peer, steps: walk.steps, ready })
}

async fn steps(
    walk: &mut Walk,
    trust: &Trust,
    verifier: &Verifier,
    (crypto, outer): (QuicClientConfig, rustls::ClientConfig),
) -> Option<PeerReady> {
    let member = trust.active(&walk.peer).map(|member| member.endpoints.clone());
    let member = member.map_err(|refusal| (refusal.class(), refusal.to_string()));
    let endpoints = walk.step("member", member, |endpoints| endpoints.join(", "))?;
    let resolved = resolve(&endpoints).await;
    let addresses = walk.step("dns", resolved, |all: &Vec<SocketAddr>| join(all))?;
    let reached = reach(&addresses).await;
    let dialled = match walk.step("udp", reached, ToString::to_string) {
        Some(address) => {
            let dialled = dial(&NetOptions::new(unspecified(address)), address, crypto).await;
            dialled.map(|(endpoint, connection)| (Held::Udp(endpoint), connection))
        }
        None => {
            let address = walk.step("tcp", reach_over_tcp(&addresses).await, ToString::to_string)?;
            let dialled = dial_over_tcp(&NetOptions::new(unspecified(address)), address, crypto, outer).await;
            dialled.map(|(connection, standing)| (Held::Tcp(standing), connection))
        }
    };
    // Whether the handshake failed over the certificate is the verifier's to say.
    let (tls, certificate) = match (&dialled, verifier.refused.get()) {
        (Err(_), Some(refusal)) => (Ok(()), Err((refusal.class(), refusal.to_string()))),
        (Err((class, words)), None) => (Err((*class, words.clone())), Ok(())),
        (Ok(_), _) => (Ok(()), Ok(())),
    };
    walk.step("tls", tls, |()| "TLS 1.3, both sides".to_owned())?;
    walk.step("certificate", certificate, |()| "its own nation's".to_owned())?;
    let (held, connection) = dialled.ok()?;
    let ready = listen(&connection, &walk.peer).await;
    connection.close(VarInt::from_u32(0), b"probed");
    let ready = walk.step("ready", ready, |ready| format!("clock {:+} ms", ready.skew_millis));
    // Its farewell is worth a moment, not a wait.
    let _ = timeout(Duration::from_millis(500), held.endpoint().wait_idle()).await;
    walk.began = Instant::now();
    ready
}

fn join(addresses: &[SocketAddr]) -> String {
    addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

async fn resolve(endpoints: &[String]) -> Result<Vec<SocketAddr>, (&'static str, String)> {
    if endpoints.is_empty() {
        return Err(("no-endpoint", "the charter gives no address: the peer only calls".to_owned()));
    }
    let (mut found, mut last) = (Vec::new(), String::new());
    for endpoint in endpoints {
        match timeout(STEP, tokio::net::lookup_host(endpoint)).await {
            Ok(Ok(addresses)) => found.extend(addresses.take(4)),
            Ok(Err(error)) => last = format!("{endpoint}: {error}"),
            Err(_) => last = format!("{endpoint}: no answer in time"),
        }
    }
    if found.is_empty() { Err(("unresolved", last)) } else { Ok(found) }
}

fn unspecified(like: SocketAddr) -> SocketAddr {
    match like {
        SocketAddr::V4(_) => (std::net::Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (std::net::Ipv6Addr::UNSPECIFIED, 0).into(),
    }
}

/// The first address from which anything comes back to a datagram of a QUIC version that nobody speaks: every QUIC
/// server answers that with the versions it does speak, before any cryptography.
async fn reach(addresses: &[SocketAddr]) -> Result<SocketAddr, (&'static str, String)> {
    let mut last = ("no-answer", format!("nothing comes back from {}; is UDP let through?", join(addresses)));
    for address in addresses {
        match knock(*address).await {
            Ok(true) => return Ok(*address),
            Ok(false) => {}
            Err(error) => last = ("unreachable", format!("{address}: {error}")),
        }
    }
    Err(last)
}

async fn knock(address: SocketAddr) -> std::io::Result<bool> {
    let socket = UdpSocket::bind(unspecified(address)).await?;
    socket.connect(address).await?;
    // RFC 9000 §6, §15: long header, a reserved version, ids of 8 bytes, padded.
    let mut datagram = vec![0; DATAGRAM];
    datagram[..6].copy_from_slice(&[0xc0, 0x1a, 0x2a, 0x3a, 0x4a, 8]);
    getrandom::fill(&mut datagram[6..14]).map_err(|error| std::io::Error::other(error.to_string()))?;
    datagram[14] = 8;
    datagram[15..23].fill(7);
    let mut answer = [0; 64];
    for _ in 0..SENDS {
        socket.send(&datagram).await?;
        match timeout(STEP / SENDS, socket.recv(&mut answer)).await {
            // Version 0: the list of versions.
            Ok(Ok(read)) if read > 5 && answer[0] & 0x80 != 0 && answer[1..5] == [0; 4] => return Ok(true),
            Ok(Err(error)) => return Err(error),
            _ => {}
        }
    }
    Ok(false)
}

/// What keeps a connection of a probe alive.
enum Held {
    Udp(Endpoint),
    Tcp(Standing),
}

impl Held {
    const fn endpoint(&self) -> &Endpoint {
        match self {
            Self::Udp(endpoint) => endpoint,
            Self::Tcp(standing) => standing.endpoint(),
        }
    }
}

/// The first address that takes a TCP connection.
async fn reach_over_tcp(addresses: &[SocketAddr]) -> Result<SocketAddr, (&'static str, String)> {
    let mut last = ("no-answer", format!("nobody takes a TCP connection at {}", join(addresses)));
    for address in addresses {
        match timeout(STEP, TcpStream::connect(address)).await {
            Ok(Ok(_)) => return Ok(*address),
            Ok(Err(error)) => last = ("unreachable", format!("{address}: {error}")),
            Err(_) => {}
        }
    }
    Err(last)
}

async fn dial_over_tcp(
    options: &NetOptions,
    address: SocketAddr,
    crypto: QuicClientConfig,
    outer: rustls::ClientConfig,
) -> Result<(quinn::Connection, Standing), (&'static str, String)> {
    let mut config = quinn::ClientConfig::new(Arc::new(crypto));
    config.transport_config(options.transport_over_tcp(true));
    let no_answer = || ("no-answer", format!("no handshake with {address} over TCP in time"));
    match timeout(STEP, tcp::open(outer, config, address)).await {
        Ok(Ok(opened)) => Ok(opened),
        Ok(Err(Problem::Ended(reason))) => Err((reason.class(), reason.to_string())),
        Ok(Err(Problem::Connect(error))) => Err(("cannot-dial", error.to_string())),
        Ok(Err(Problem::NoAnswer)) | Err(_) => Err(no_answer()),
    }
}

async fn dial(
    options: &NetOptions,
    address: SocketAddr,
    crypto: QuicClientConfig,
) -> Result<(Endpoint, quinn::Connection), (&'static str, String)> {
    let own = |error: &dyn std::fmt::Display| ("cannot-dial", error.to_string());
    let socket = std::net::UdpSocket::bind(options.listen).map_err(|error| own(&error))?;
    let endpoint = Endpoint::new(EndpointConfig::default(), None, socket, Arc::new(TokioRuntime));
    let endpoint = endpoint.map_err(|error| own(&error))?;
    let mut config = quinn::ClientConfig::new(Arc::new(crypto));
    config.transport_config(options.transport(true));
    let connecting = endpoint.connect_with(config, address, SERVER_NAME).map_err(|error| own(&error))?;
    match timeout(STEP, connecting).await {
        Ok(Ok(connection)) => Ok((endpoint, connection)),
        Ok(Err(error)) => {
            let reason = EndReason::from(error);
            Err((reason.class(), reason.to_string()))
        }
        Err(_) => Err(("no-answer", format!("no handshake with {address} in time"))),
    }
}

/// The peer's Ready. The control stream is opened with half a prefix: nothing is said on it.
async fn listen(connection: &quinn::Connection, peer: &NodeUri) -> Result<PeerReady, (&'static str, String)> {
    let broken = |error: &dyn std::fmt::Display| ("no-ready", error.to_string());
    let ended = |error: quinn::ConnectionError| {
        let reason = EndReason::from(error);
        (reason.class(), reason.to_string())
    };
    let work = async {
        let began = Instant::now();
        let (mut send, mut recv) = connection.open_bi().await.map_err(ended)?;
        send.write_all(&[0]).await.map_err(|error| broken(&error))?;
        let mut frames = FrameBuffer::default();
        let mut chunk = [0; 4_096];
        loop {
            if let Some(frame) = frames.next_frame().map_err(|error| broken(&error))? {
                let body = decode_frame(&frame).map_err(|error| broken(&error))?;
                let Body::Ready(ready) = body else {
                    return Err(("no-ready", "the peer says something else than Ready first".to_owned()));
                };
                return understood(&ready, peer, began.elapsed());
            }
            match recv.read(&mut chunk).await {
                Ok(Some(read)) => frames.push(&chunk[..read]),
                Ok(None) => return Err(("no-ready", "the peer ended the stream".to_owned())),
                Err(quinn::ReadError::ConnectionLost(error)) => return Err(ended(error)),
                Err(error) => return Err(broken(&error)),
            }
        }
    };
    timeout(STEP, work).await.unwrap_or_else(|_| Err(("no-ready", "the peer says nothing in time".to_owned())))
}

fn understood(ready: &Ready, peer: &NodeUri, took: Duration) -> Result<PeerReady, (&'static str, String)> {
    if ready.version != 1 {
        return Err(("other-version", format!("the peer speaks version {}, this node 1", ready.version)));
    }
    if ready.node != peer.as_str() {
        return Err((PeerRefusal::OwnName(peer.clone()).class(), "the peer calls itself otherwise".to_owned()));
    }
    let half = u64::try_from(took.as_millis() / 2).unwrap_or(u64::MAX);
    let here = i64::try_from(now().0.saturating_sub(half)).unwrap_or(i64::MAX);
    let there = i64::try_from(ready.clock_millis).unwrap_or(i64::MAX);
    Ok(PeerReady {
        charter_hash: ready.charter_hash.clone(),
        catalogue: ready.catalogue.clone(),
        skew_millis: there.saturating_sub(here),
    })
}

/// Whether peers will accept this node's certificate chain (PEM, leaf first): it ends in a root of its own nation in
/// the charter, and is in its time.
///
/// # Errors
/// Why not, in words.
pub fn certified(own: &NodeUri, charter: &Charter, chain: &[u8], now: Millis) -> Result<(), String> {
    let certificates = CertificateDer::pem_slice_iter(chain).collect::<Result<Vec<_>, _>>();
    let certificates = certificates.map_err(|error| error.to_string())?;
    let (leaf, rest) = certificates.split_first().ok_or("the file holds no certificate")?;
    let trust = Trust::of(charter, own.clone()).map_err(|error| error.to_string())?;
    let now = UnixTime::since_unix_epoch(Duration::from_millis(now.0));
    match trust.verify(leaf, rest, Presenter::Server, None, now) {
        // Everything else was looked at before.
        Ok(_) | Err(PeerRefusal::OwnName(_)) => Ok(()),
        Err(refusal) => Err(refusal.to_string()),
    }
}
