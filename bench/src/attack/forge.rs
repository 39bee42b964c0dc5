//! A QUIC client that shakes hands as it should and afterwards writes its own packets.
//!
//! quinn sends every stream from its beginning, so it cannot leave gaps. The keys of its session are taken here, and
//! packets with any frames are made by hand.

use std::any::Any;
use std::fmt;
use std::net::{SocketAddr, UdpSocket};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::BytesMut;
use quinn_proto::crypto::rustls::QuicClientConfig;
use quinn_proto::crypto::{
    ClientConfig as CryptoConfig, CryptoError, ExportKeyingMaterialError, HeaderKey, KeyPair, Keys, PacketKey, Session,
};
use quinn_proto::transport_parameters::TransportParameters;
use quinn_proto::{
    ClientConfig, ConnectError, Connection, ConnectionHandle, ConnectionId, DatagramEvent, Dir, Endpoint,
    EndpointConfig, Event, Side, TransportConfig, TransportError,
};

use super::members::Member;
use crate::Failure;

/// Bytes of the node's connection ids.
const CID_BYTES: usize = 8;
/// Bytes of a packet that crosses every path without discovery.
const PACKET_BYTES: usize = 1_200;
/// Header of a short packet: flags, connection id, a packet number of four bytes.
const HEADER_BYTES: usize = 1 + CID_BYTES + 4;
/// Far beyond whatever the handshake used.
const FIRST_NUMBER: u64 = 10_000;
/// Handshakes at once: fewer than a network prefix may have in progress.
const AT_ONCE: usize = 24;

/// What a session's keys gave away.
#[derive(Default)]
struct Taken {
    packet: Option<Arc<dyn PacketKey>>,
    header: Option<Arc<dyn HeaderKey>>,
    /// The node's connection id, as it stood in the last packet.
    id: Option<[u8; CID_BYTES]>,
}

type Tap = Arc<Mutex<Taken>>;

struct TappedConfig(Arc<QuicClientConfig>, Tap);

impl CryptoConfig for TappedConfig {
    fn start_session(
        self: Arc<Self>,
        version: u32,
        name: &str,
        parameters: &TransportParameters,
    ) -> Result<Box<dyn Session>, ConnectError> {
        let inner = self.0.clone().start_session(version, name, parameters)?;
        Ok(Box::new(Tapped { inner, tap: self.1.clone(), keys: 0 }))
    }
}

/// A session whose second set of keys, the one for data, is shared.
struct Tapped {
    inner: Box<dyn Session>,
    tap: Tap,
    keys: usize,
}

impl Session for Tapped {
    fn initial_keys(&self, id: &ConnectionId, side: Side) -> Keys {
        self.inner.initial_keys(id, side)
    }
    fn handshake_data(&self) -> Option<Box<dyn Any>> {
        self.inner.handshake_data()
    }
    fn peer_identity(&self) -> Option<Box<dyn Any>> {
        self.inner.peer_identity()
    }
    fn early_crypto(&self) -> Option<(Box<dyn HeaderKey>, Box<dyn PacketKey>)> {
        self.inner.early_crypto()
    }
    fn early_data_accepted(&self) -> Option<bool> {
        self.inner.early_data_accepted()
    }
    fn is_handshaking(&self) -> bool {
        self.inner.is_handshaking()
    }
    fn read_handshake(&mut self, bytes: &[u8]) -> Result<bool, TransportError> {
        self.inner.read_handshake(bytes)
    }
    fn transport_parameters(&self) -> Result<Option<TransportParameters>, TransportError> {
        self.inner.transport_parameters()
    }
    fn write_handshake(&mut self, out: &mut Vec<u8>) -> Option<Keys> {
        let keys = self.inner.write_handshake(out)?;
        self.keys += 1;
        if self.keys < 2 {
            return Some(keys);
        }
        let (packet, header): (Arc<dyn PacketKey>, Arc<dyn HeaderKey>) =
            (Arc::from(keys.packet.local), Arc::from(keys.header.local));
        let mut taken = self.tap.lock().unwrap_or_else(PoisonError::into_inner);
        (taken.packet, taken.header) = (Some(packet.clone()), Some(header.clone()));
        Some(Keys {
            header: KeyPair { local: Box::new(SharedHeader(header)), remote: keys.header.remote },
            packet: KeyPair { local: Box::new(SharedPacket(packet, self.tap.clone())), remote: keys.packet.remote },
        })
    }
    fn next_1rtt_keys(&mut self) -> Option<KeyPair<Box<dyn PacketKey>>> {
        self.inner.next_1rtt_keys()
    }
    fn is_valid_retry(&self, id: &ConnectionId, header: &[u8], payload: &[u8]) -> bool {
        self.inner.is_valid_retry(id, header, payload)
    }
    fn export_keying_material(
        &self,
        out: &mut [u8],
        label: &[u8],
        context: &[u8],
    ) -> Result<(), ExportKeyingMaterialError> {
        self.inner.export_keying_material(out, label, context)
    }
}

struct SharedPacket(Arc<dyn PacketKey>, Tap);

impl PacketKey for SharedPacket {
    fn encrypt(&self, number: u64, bytes: &mut [u8], header: usize) {
        if let Some(id) = bytes.get(1..=CID_BYTES).and_then(|id| id.try_into().ok()) {
            self.1.lock().unwrap_or_else(PoisonError::into_inner).id = Some(id);
        }
        self.0.encrypt(number, bytes, header);
    }
    fn decrypt(&self, number: u64, header: &[u8], payload: &mut BytesMut) -> Result<(), CryptoError> {
        self.0.decrypt(number, header, payload)
    }
    fn tag_len(&self) -> usize {
        self.0.tag_len()
    }
    fn confidentiality_limit(&self) -> u64 {
        self.0.confidentiality_limit()
    }
    fn integrity_limit(&self) -> u64 {
        self.0.integrity_limit()
    }
}

struct SharedHeader(Arc<dyn HeaderKey>);

impl HeaderKey for SharedHeader {
    fn decrypt(&self, offset: usize, packet: &mut [u8]) {
        self.0.decrypt(offset, packet);
    }
    fn encrypt(&self, offset: usize, packet: &mut [u8]) {
        self.0.encrypt(offset, packet);
    }
    fn sample_size(&self) -> usize {
        self.0.sample_size()
    }
}

/// What the node lets a fresh connection have.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Credit {
    /// Streams.
    pub streams: u64,
    /// Bytes of one stream.
    pub stream_bytes: u64,
    /// Bytes of all streams together.
    pub bytes: u64,
}

/// A connection that stands, and on which only forged packets are sent.
pub struct Forged {
    id: [u8; CID_BYTES],
    packet: Arc<dyn PacketKey>,
    header: Arc<dyn HeaderKey>,
    next: u64,
    /// What the node lets it have.
    pub credit: Credit,
}

impl fmt::Debug for Forged {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Forged").field("credit", &self.credit).finish_non_exhaustive()
    }
}

/// Appends a number of QUIC's variable length.
fn varint(out: &mut Vec<u8>, value: u64) {
    // Always four bytes: no value here needs more than thirty bits.
    let value = u32::try_from(value).unwrap_or(u32::MAX) & 0x3fff_ffff | 0x8000_0000;
    out.extend_from_slice(&value.to_be_bytes());
}

/// A STREAM frame with offset and length.
pub fn stream_frame(out: &mut Vec<u8>, stream: u64, offset: u64, data: &[u8]) {
    out.push(0x0e);
    // Streams of both directions that the client opens are numbered 0, 4, 8 …
    varint(out, stream * 4);
    varint(out, offset);
    varint(out, data.len() as u64);
    out.extend_from_slice(data);
}

/// A PING frame: a sign of life.
pub const PING: &[u8] = &[0x01];
/// Bytes that frames of one packet may have.
pub const FRAMES_BYTES_MAX: usize = PACKET_BYTES - HEADER_BYTES - 16;

impl Forged {
    /// A packet with these frames, padded to full length if wished.
    pub fn packet(&mut self, frames: &[u8], pad: bool) -> Vec<u8> {
        let number = self.next;
        self.next += 1;
        let mut out = Vec::with_capacity(PACKET_BYTES);
        out.push(0x43);
        out.extend_from_slice(&self.id);
        out.extend_from_slice(&(number as u32).to_be_bytes());
        out.extend_from_slice(frames);
        // What protects the header is sampled from behind the packet number.
        let least = if pad { PACKET_BYTES - self.packet.tag_len() } else { HEADER_BYTES + 8 };
        out.resize(least.max(out.len()), 0);
        out.resize(out.len() + self.packet.tag_len(), 0);
        self.packet.encrypt(number, &mut out, HEADER_BYTES);
        self.header.encrypt(1 + CID_BYTES, &mut out);
        out
    }
}

/// One whose handshake is under way.
struct Shaking {
    handle: ConnectionHandle,
    connection: Connection,
    tap: Tap,
    began: Instant,
    connected: Option<Instant>,
    failed: bool,
}

/// Connects every member in turn through `socket`; those that were admitted, and how many were not.
///
/// # Errors
/// The socket or the cryptography is unusable.
pub fn connect(socket: &UdpSocket, node: SocketAddr, members: &[Member]) -> Result<(Vec<Forged>, usize), Failure> {
    socket.set_read_timeout(Some(Duration::from_millis(1)))?;
    let mut endpoint = Endpoint::new(Arc::new(EndpointConfig::default()), None, false, None);
    let mut out = Vec::new();
    let mut refused = 0;
    for some in members.chunks(AT_ONCE) {
        let mut shaking = Vec::new();
        for member in some {
            let tap = Tap::default();
            let crypto = QuicClientConfig::try_from(member.tls())?;
            let mut config = ClientConfig::new(Arc::new(TappedConfig(Arc::new(crypto), tap.clone())));
            let mut transport = TransportConfig::default();
            transport.mtu_discovery_config(None).send_window(1 << 30).max_idle_timeout(None);
            config.transport_config(Arc::new(transport));
            let (handle, connection) = endpoint.connect(Instant::now(), config, node, "puente.invalid")?;
            shaking.push(Shaking { handle, connection, tap, began: Instant::now(), connected: None, failed: false });
        }
        drive(socket, &mut endpoint, &mut shaking)?;
        for one in shaking {
            match taken(one) {
                Some(forged) => out.push(forged),
                None => refused += 1,
            }
        }
    }
    Ok((out, refused))
}

/// How long a connection is listened to after its handshake: for credit that is granted late, or a refusal.
const SETTLE: Duration = Duration::from_millis(150);

fn drive(socket: &UdpSocket, endpoint: &mut Endpoint, shaking: &mut [Shaking]) -> Result<(), Failure> {
    let mut buffer = vec![0; 65_536];
    let mut reply = Vec::new();
    loop {
        let now = Instant::now();
        let mut waiting = false;
        for one in shaking.iter_mut() {
            if one.connection.poll_timeout().is_some_and(|at| at <= now) {
                one.connection.handle_timeout(now);
            }
            while let Some(event) = one.connection.poll() {
                match event {
                    Event::Connected => one.connected = Some(now),
                    Event::ConnectionLost { .. } => one.failed = true,
                    _ => {}
                }
            }
            while let Some(event) = one.connection.poll_endpoint_events() {
                if let Some(event) = endpoint.handle_event(one.handle, event) {
                    one.connection.handle_event(event);
                }
            }
            let mut packets = Vec::new();
            while let Some(transmit) = one.connection.poll_transmit(now, 1, &mut packets) {
                socket.send_to(&packets[..transmit.size], transmit.destination)?;
                packets.clear();
            }
            let settled = one.connected.is_some_and(|at| at + SETTLE <= now);
            one.failed |= one.connected.is_none() && one.began + Duration::from_secs(10) < now;
            waiting |= !settled && !one.failed;
        }
        if !waiting {
            return Ok(());
        }
        let Ok((len, from)) = socket.recv_from(&mut buffer) else { continue };
        reply.clear();
        let event = endpoint.handle(Instant::now(), from, None, None, BytesMut::from(&buffer[..len]), &mut reply);
        if let Some(DatagramEvent::ConnectionEvent(handle, event)) = event
            && let Some(one) = shaking.iter_mut().find(|one| one.handle == handle)
        {
            one.connection.handle_event(event);
        }
    }
}

fn taken(mut one: Shaking) -> Option<Forged> {
    if one.failed || one.connected.is_none() {
        return None;
    }
    let credit = credit(&mut one.connection);
    let taken = one.tap.lock().unwrap_or_else(PoisonError::into_inner);
    let (packet, header) = (taken.packet.clone()?, taken.header.clone()?);
    // Nothing is sent for the connection itself any more: it stays as it is on the node.
    Some(Forged { id: taken.id?, packet, header, next: FIRST_NUMBER, credit })
}

/// Opens and fills streams on paper until nothing more is granted.
fn credit(connection: &mut Connection) -> Credit {
    let zeros = vec![0; 64 * 1024];
    let mut credit = Credit::default();
    while let Some(id) = connection.streams().open(Dir::Bi) {
        credit.streams += 1;
        let mut of_stream = 0;
        while let Ok(written @ 1..) = connection.send_stream(id).write(&zeros) {
            of_stream += written as u64;
        }
        credit.stream_bytes = credit.stream_bytes.max(of_stream);
        credit.bytes += of_stream;
    }
    credit
}
