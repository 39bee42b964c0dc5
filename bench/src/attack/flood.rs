//! First packets of handshakes from addresses that nobody has proven.

use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::{Duration, Instant};

use quinn_proto::crypto::rustls::QuicClientConfig;
use quinn_proto::{ClientConfig, Endpoint, EndpointConfig};

use super::members::Member;
use crate::Failure;

/// Addresses that the packets come from, each in a network of its own.
const SOURCES: u8 = 64;
/// Clients of one endpoint, which remembers each.
const PER_ENDPOINT: usize = 1_000;

/// So many first packets, each of a client of its own.
///
/// # Errors
/// The cryptography is unusable.
pub fn build(member: &Member, node: SocketAddr, count: usize) -> Result<Vec<Vec<u8>>, Failure> {
    let config = ClientConfig::new(Arc::new(QuicClientConfig::try_from(member.tls())?));
    let mut packets = Vec::with_capacity(count);
    while packets.len() < count {
        let mut endpoint = Endpoint::new(Arc::new(EndpointConfig::default()), None, false, None);
        for _ in 0..PER_ENDPOINT.min(count - packets.len()) {
            let now = Instant::now();
            let (_, mut connection) = endpoint.connect(now, config.clone(), node, "puente.invalid")?;
            let mut packet = Vec::new();
            if connection.poll_transmit(now, 1, &mut packet).is_none() {
                return Err("a client that says nothing".into());
            }
            packets.push(packet);
        }
    }
    Ok(packets)
}

/// Sends all of them evenly over `duration`.
///
/// # Errors
/// The sockets are unusable.
pub fn send(packets: &[Vec<u8>], node: SocketAddr, duration: Duration) -> Result<(), Failure> {
    let sources: Vec<UdpSocket> =
        (1..=SOURCES).map(|net| UdpSocket::bind((format!("127.0.{net}.1"), 0))).collect::<Result<_, _>>()?;
    let began = Instant::now();
    for (number, (packet, source)) in packets.iter().zip(sources.iter().cycle()).enumerate() {
        source.send_to(packet, node)?;
        if number.is_multiple_of(25) {
            let due = began + duration.mul_f64(number as f64 / packets.len() as f64);
            std::thread::sleep(due.saturating_duration_since(Instant::now()));
        }
    }
    Ok(())
}
