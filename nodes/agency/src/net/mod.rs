//! Peers over QUIC, on UDP or, where that is blocked, on TCP: who they are, and frames to and from the engine.
//!
//! Promise: `Connected` names the one URI of a certificate whose chain ends in a root of that name's own
//! nation and whose name the charter lists as active. Frames of a connection come after its `Connected` and before its
//! `Disconnected`, in order per stream. Nothing that a peer sends or withholds makes another peer wait.
//!
//! Thief: whoever takes the node's TLS key speaks as this node until the certificate ends or the annex suspends it,
//! but signs no log heads.

mod config;
mod dial;
mod endpoint;
mod inbox;
mod line;
mod link;
mod options;
mod probe;
mod reader;
mod reason;
mod refusal;
mod tcp;
pub(crate) mod tls;
mod trust;
mod writer;

#[cfg(test)]
mod matrix_test;
#[cfg(test)]
pub(crate) mod pki;
#[cfg(test)]
pub(crate) mod tcp_test;
#[cfg(test)]
pub(crate) mod test;

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use puente_charter::Charter;
use puente_exchange::api::{ConnectionId, InForce, StreamId};
use puente_model::NodeUri;
use puente_wire::fault::FaultCode;
use quinn::{Endpoint, TransportConfig, VarInt};
use rustls::pki_types::UnixTime;
use rustls::sign::SigningKey;
use tokio::net::TcpListener;
use tokio::runtime::Handle;
use tokio::task::AbortHandle;

use crate::driver::{DriverHandle, Network};

pub use config::NetworkConfig;
pub use dial::DialError;
pub use link::Over;
pub use options::NetOptions;
pub use probe::{PeerReady, ProbeError, ProbeStep, Probed, certified, probe};
pub use reason::{EndReason, NetCode};
pub use refusal::PeerRefusal;
pub(crate) use tls::signing_key;
pub use tls::{ALPN, ALPN_TCP, Identity, IdentityError, TlsError};
pub use trust::RootError;

use dial::Dials;
use endpoint::Handshakes;
use inbox::Inbox;
use link::Links;
pub(crate) use refusal::Counters;
pub(crate) use trust::{Presenter, Trust};

use tls::Verifier;
use writer::Command;

/// Bytes that the engine may hand over for one connection before the network has taken them.
const QUEUED_MAX: usize = 64 << 20;

/// Why the network could not be started.
#[derive(Debug, thiserror::Error)]
pub enum NetError {
    /// A root of the charter is unusable.
    #[error(transparent)]
    Root(#[from] RootError),
    /// TLS is unusable.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The address cannot be listened on.
    #[error("cannot listen on {at} ({over}): {why}; is another node running?")]
    Listen {
        /// Where.
        at: SocketAddr,
        /// UDP or TCP.
        over: &'static str,
        /// Why.
        why: io::Error,
    },
}

/// What connections over TCP are made with.
pub(crate) struct OverTcp {
    tls: Arc<rustls::ServerConfig>,
    server: quinn::ServerConfig,
    dialling: Arc<TransportConfig>,
    /// Taken by [`Net::accept`].
    listener: Mutex<Option<std::net::TcpListener>>,
    /// Accepts, until the node stops.
    accepting: Mutex<Option<AbortHandle>>,
}

/// What the tasks of the network share.
pub(crate) struct Shared {
    options: NetOptions,
    own: NodeUri,
    endpoint: Endpoint,
    dialling: Arc<TransportConfig>,
    over_tcp: OverTcp,
    trust: Arc<ArcSwap<Trust>>,
    identity: Arc<Identity>,
    counters: Arc<Counters>,
    handshakes: Handshakes,
    inbox: Inbox,
    links: Mutex<Links>,
    dials: Mutex<Dials>,
    /// Bytes of unfinished frames of all connections.
    partial: AtomicUsize,
    /// Streams that are read.
    streams: AtomicUsize,
    stopping: AtomicBool,
}

impl Shared {
    fn links(&self) -> MutexGuard<'_, Links> {
        self.links.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn dials(&self) -> MutexGuard<'_, Dials> {
        self.dials.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The peer has spoken.
    fn dials_ok(&self, peer: &NodeUri) {
        if let Some(dial) = self.dials().get_mut(peer) {
            dial.succeeded();
        }
    }

    /// The peer could not be reached, or would not have this node.
    fn dial_failed(&self, peer: &NodeUri, class: &'static str) {
        // Without randomness the pause has no jitter, which is no reason to fail.
        let jitter = getrandom::u32().map_or(0.5, |random| f64::from(random) / f64::from(u32::MAX));
        let pauses = (self.options.backoff_min, self.options.backoff_max);
        let now = tokio::time::Instant::now();
        self.dials().entry(peer.clone()).or_default().failed(now, class, pauses, jitter);
    }
}

/// One connection, for `status`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LinkStatus {
    /// Who is at the other end.
    pub peer: NodeUri,
    /// Round trip.
    pub rtt: Duration,
    /// What it runs over.
    pub over: Over,
}

/// Handle on the node's network; cheap to clone.
#[derive(Clone)]
pub struct Net {
    shared: Arc<Shared>,
    runtime: Handle,
}

impl std::fmt::Debug for Net {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Net({})", self.shared.own)
    }
}

impl Network for Net {
    /// In order per stream. A connection that takes nothing for so long that 64 MiB are queued is closed.
    fn send(&self, connection: ConnectionId, stream: StreamId, bytes: Vec<u8>, finish: bool) {
        let links = self.shared.links();
        let Some(link) = links.get(connection) else { return };
        let queued = link.queued.fetch_add(bytes.len(), Ordering::Relaxed) + bytes.len();
        if queued > QUEUED_MAX {
            let code = NetCode::Fault(FaultCode::Overloaded);
            link.conn.close(code.code(), code.to_string().as_bytes());
            return;
        }
        // Fails only if the connection is gone: the engine hears of it.
        let _ = link.commands.send(Command::Send { stream, bytes, finish });
    }

    fn reset(&self, connection: ConnectionId, stream: StreamId) {
        if let Some(link) = self.shared.links().get(connection) {
            // Fails only if the connection is gone already.
            let _ = link.commands.send(Command::Forget { stream, code: NetCode::Cancelled });
        }
    }

    /// Does nothing while a dial to this peer is on its way.
    fn connect(&self, peer: NodeUri) {
        let _inside = self.runtime.enter();
        dial::begin(&self.shared, peer);
    }

    /// Closes after what was sent before.
    fn close(&self, connection: ConnectionId, reason: FaultCode) {
        if let Some(link) = self.shared.links().get(connection) {
            // Fails only if the connection is gone already.
            let _ = link.commands.send(Command::Close(NetCode::Fault(reason)));
        }
    }

    /// New handshakes are judged by it, and connections that it no longer admits are closed at once.
    fn in_force(&self, rules: &InForce) {
        match Trust::of(&rules.charter, self.shared.own.clone()) {
            Ok(trust) => self.adopt_trust(trust.barring(rules.barred.clone())),
            // Checked before the charter was adopted; whoever was admitted before stays so, and no one else.
            Err(error) => tracing::error!("the charter's authorities cannot be used: {error}"),
        }
    }
}

/// Ports that are tried when any will do and one must be free for both UDP and TCP.
const PORTS_TRIED: usize = 32;

/// The socket of QUIC, and the listener of TCP on the same port if there is to be one.
fn sockets(
    options: &NetOptions,
    server: &quinn::ServerConfig,
    identity: &Identity,
) -> Result<(Endpoint, Option<std::net::TcpListener>), NetError> {
    let failed = |over| move |why| NetError::Listen { at: options.listen, over, why };
    let mut tries = if options.listen.port() == 0 { PORTS_TRIED } else { 1 };
    loop {
        let endpoint = endpoint::open(options, server.clone(), identity.reset()).map_err(failed("UDP"))?;
        if !options.tcp {
            return Ok((endpoint, None));
        }
        tries -= 1;
        match endpoint.local_addr().and_then(tcp::bind) {
            Ok(listener) => return Ok((endpoint, Some(listener))),
            Err(_) if tries > 0 => {}
            Err(why) => return Err(failed("TCP")(why)),
        }
    }
}

impl Net {
    /// Binds the socket; peers are answered from [`Net::accept`] on. Tells the driver whatever arrives. When too much waits there, nothing more is read from the
    /// network: that is the back-pressure. Call it inside a Tokio runtime.
    ///
    /// # Errors
    /// [`NetError`].
    pub fn start(
        own: NodeUri,
        charter: &Charter,
        identity: Identity,
        options: NetOptions,
        driver: DriverHandle,
    ) -> Result<Self, NetError> {
        let trust = Trust::of(charter, own.clone())?;
        Self::with_trust(own, trust, identity, options, Inbox::Driver(driver))
    }

    fn with_trust(
        own: NodeUri,
        trust: Trust,
        identity: Identity,
        options: NetOptions,
        inbox: Inbox,
    ) -> Result<Self, NetError> {
        let trust = Arc::new(ArcSwap::from_pointee(trust));
        let identity = Arc::new(identity);
        let counters = Arc::new(Counters::default());
        let verifier = Arc::new(Verifier::new(trust.clone(), None, counters.clone()));
        let server = endpoint::server(&options, tls::server(verifier.clone(), identity.clone())?);
        let (endpoint, listener) = sockets(&options, &server, &identity)?;
        let dialling = options.transport(true);
        let over_tcp = OverTcp {
            tls: Arc::new(tls::tcp_server(verifier, identity.clone())?),
            server: endpoint::server_over_tcp(&options, server),
            dialling: options.transport_over_tcp(true),
            listener: Mutex::new(listener),
            accepting: Mutex::default(),
        };
        let shared = Arc::new(Shared {
            options,
            own,
            endpoint,
            dialling,
            over_tcp,
            trust,
            identity,
            counters,
            handshakes: Handshakes::default(),
            inbox,
            links: Mutex::default(),
            dials: Mutex::default(),
            partial: AtomicUsize::new(0),
            streams: AtomicUsize::new(0),
            stopping: AtomicBool::new(false),
        });
        Ok(Self { shared, runtime: Handle::current() })
    }

    /// Answers whoever dials in, from now on. Call it once, when the node can serve.
    pub fn accept(&self) {
        self.runtime.spawn(endpoint::accept(self.shared.clone()));
        let over_tcp = &self.shared.over_tcp;
        let Some(listener) = over_tcp.listener.lock().unwrap_or_else(PoisonError::into_inner).take() else { return };
        let _inside = self.runtime.enter();
        match TcpListener::from_std(listener) {
            Ok(listener) => {
                let task = tokio::spawn(tcp::accept(self.shared.clone(), listener)).abort_handle();
                *over_tcp.accepting.lock().unwrap_or_else(PoisonError::into_inner) = Some(task);
            }
            Err(error) => tracing::error!("peers whose UDP is blocked cannot connect: {error}"),
        }
    }

    /// Where it listens.
    ///
    /// # Errors
    /// The socket is gone.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.shared.endpoint.local_addr()
    }

    /// Whether handshakes could be judged by a charter.
    ///
    /// # Errors
    /// A root of the charter is unusable.
    pub fn check(&self, charter: &Charter) -> Result<(), RootError> {
        Trust::of(charter, self.shared.own.clone()).map(|_| ())
    }

    fn adopt_trust(&self, trust: Trust) {
        self.shared.trust.store(Arc::new(trust));
        let trust = self.shared.trust.load();
        for link in self.shared.links().all() {
            let chain = link::chain(&link.conn);
            let presenter = match link.conn.side() {
                quinn::Side::Client => Presenter::Server,
                quinn::Side::Server => Presenter::Client,
            };
            let checked = match chain.split_first() {
                Some((leaf, rest)) => trust.verify(leaf, rest, presenter, Some(&link.peer), UnixTime::now()),
                None => Err(PeerRefusal::NotInCharter(link.peer.clone())),
            };
            if let Err(refusal) = checked {
                tracing::warn!(peer = %link.peer, class = refusal.class(), "closing: {refusal}");
                link.conn.close(NetCode::NoLongerTrusted.code(), b"no-longer-trusted");
            }
        }
    }

    /// Takes another certificate and key for new handshakes. False if they are the ones in use.
    ///
    /// # Errors
    /// Not PEM, not each other's, not this node's, or nothing that a peer would accept; the old ones stay in use.
    pub(crate) fn replace_identity(&self, chain: &[u8], key: Arc<dyn SigningKey>) -> Result<bool, IdentityError> {
        let trust = self.shared.trust.load();
        self.shared.identity.replace(&self.shared.own, chain, key, |chain| {
            let Some((leaf, rest)) = chain.split_first() else { return Ok(()) };
            match trust.verify(leaf, rest, Presenter::Server, None, UnixTime::now()) {
                // Its own name is the last thing that a verifier objects to.
                Ok(_) | Err(PeerRefusal::OwnName(_)) => Ok(()),
                Err(refusal) => Err(refusal),
            }
        })
    }

    /// What decides whose certificates count; it follows [`Net::adopt`].
    pub(crate) fn trust(&self) -> Arc<ArcSwap<Trust>> {
        self.shared.trust.clone()
    }

    /// This node's certificate and key; they follow [`Net::replace_identity`].
    pub(crate) fn identity(&self) -> Arc<Identity> {
        self.shared.identity.clone()
    }

    /// When this node's certificate is valid.
    pub fn certificate_life(&self) -> Option<crate::renewal::Life> {
        self.shared.identity.life()
    }

    /// Every connection that stands.
    pub fn links(&self) -> Vec<LinkStatus> {
        let links = self.shared.links();
        links.all().map(|l| LinkStatus { peer: l.peer.clone(), rtt: l.conn.rtt(), over: l.over() }).collect()
    }

    /// Streams of all connections that are read.
    pub fn streams(&self) -> usize {
        self.shared.streams.load(Ordering::Relaxed)
    }

    /// The node takes connections.
    pub fn is_listening(&self) -> bool {
        !self.shared.stopping.load(Ordering::Relaxed) && self.local_addr().is_ok()
    }

    /// Class of the last failed dial of each peer that has not spoken since.
    pub fn unreachable(&self) -> Vec<(NodeUri, &'static str)> {
        let dials = self.shared.dials();
        dials.iter().filter_map(|(peer, dial)| Some((peer.clone(), dial.last?))).collect()
    }

    /// What strangers and peers did wrong since the start, by class.
    pub fn faults(&self) -> BTreeMap<&'static str, u64> {
        self.shared.counters.all()
    }

    /// Takes no new connections, closes those that stand after what was sent on them, and waits for it.
    pub async fn shut_down(&self) {
        self.shared.stopping.store(true, Ordering::Relaxed);
        self.shared.endpoint.set_server_config(None);
        if let Some(task) = self.shared.over_tcp.accepting.lock().unwrap_or_else(PoisonError::into_inner).take() {
            task.abort();
        }
        {
            let mut links = self.shared.links();
            links.close();
            for link in links.all() {
                // Fails only if the connection is gone already.
                let _ = link.commands.send(Command::Close(NetCode::ShuttingDown));
            }
        }
        for _ in 0..100 {
            if self.shared.links().len() == 0 {
                break;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        self.shared.endpoint.close(VarInt::from_u32(0), b"");
        // Peers that do not answer are not waited for.
        let _ = tokio::time::timeout(Duration::from_secs(1), self.shared.endpoint.wait_idle()).await;
    }
}
