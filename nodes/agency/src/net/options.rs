use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use puente_model::limits;
use quinn::{IdleTimeout, MtuDiscoveryConfig, TransportConfig, VarInt};

/// A connection without a sign of life ends after this long.
const IDLE: Duration = Duration::from_secs(30);
/// The dialling side says at least this often that it is alive.
const KEEP_ALIVE: Duration = Duration::from_secs(10);
/// QUIC's packets on a TCP connection, in bytes: TCP cuts them as the path wants.
const TCP_PACKET: u16 = 1_452;
/// Bytes of one stream that may be on their way to this node.
const STREAM_WINDOW: u32 = 256 * 1024;
/// Bytes of one connection that this node buffers on their way out.
const SEND_WINDOW: u64 = 4 << 20;
/// Bytes that all connections together may have on their way to this node, roughly.
const RECEIVE_BUDGET: u64 = 48 << 20;
/// Connections that get a full share of the budget.
const FULL_SHARES: u64 = 32;
/// Bytes that a connection may have on their way to this node before its first whole frame, and at least afterwards.
const FIRST_WINDOW: u32 = 64 * 1024;
/// Streams that a peer may open before its first whole frame. QUIC keeps whatever arrives behind a gap, and up to
/// 32 KiB for a few bytes of it: streams are given to those who finish what they begin.
pub(crate) const FIRST_STREAMS: u32 = 4;

/// How the endpoint behaves. [`NetOptions::new`] is right for production; tests shorten times and switch features off.
#[derive(Debug, Clone)]
pub struct NetOptions {
    /// UDP address to listen on and to dial from; over TCP, too, the port to listen on.
    pub listen: SocketAddr,
    /// Let the kernel cut large sends into packets (GSO). Some network cards get it wrong: then switch it off.
    pub segmentation_offload: bool,
    /// Largest UDP payload that this node sends, in bytes; none: find out per path (at most 1,452).
    pub udp_payload_max: Option<u16>,
    /// An unfinished frame must grow within this time, or its stream is reset.
    pub stall: Duration,
    /// A peer must have sent a whole frame within this time, or it is closed; and one on each stream that it opens.
    pub first_frame: Duration,
    /// A dial must succeed within this time, per address.
    pub dial_timeout: Duration,
    /// Whoever dials in must prove its name within this time.
    pub handshake_timeout: Duration,
    /// A stream must be opened within this time.
    pub open_timeout: Duration,
    /// First wait after a failed dial; doubles to `backoff_max`, each with ±50 % jitter.
    pub backoff_min: Duration,
    /// Longest wait after a failed dial, before jitter.
    pub backoff_max: Duration,
    /// Handshakes in progress from which unproven addresses are made to prove themselves (QUIC Retry).
    pub retry_above: usize,
    /// Handshakes in progress per /24 or /48.
    pub handshakes_per_prefix: usize,
    /// Where UDP is blocked, speak over TCP: listen on the same port there, and dial.
    pub tcp: bool,
    /// TCP is tried as well when a dial over UDP has heard nothing for so long.
    pub tcp_after: Duration,
    /// How often a connection that this node dialled over TCP is tried over UDP again.
    pub udp_again: Duration,
    /// Streams that this node opens on a connection, below the peer's limit.
    pub streams: usize,
    /// Socket buffers to ask for, in bytes.
    pub socket_buffer: usize,
    /// Minor version of the protocol that the node speaks. Nothing in a node's folder sets it: tests start nodes of an
    /// older one beside those of this one.
    pub minor: u32,
}

impl NetOptions {
    /// What a node uses.
    pub fn new(listen: SocketAddr) -> Self {
        Self {
            listen,
            segmentation_offload: true,
            udp_payload_max: None,
            stall: Duration::from_secs(10),
            first_frame: Duration::from_secs(10),
            dial_timeout: Duration::from_secs(5),
            handshake_timeout: Duration::from_secs(5),
            open_timeout: Duration::from_secs(10),
            backoff_min: Duration::from_millis(250),
            backoff_max: Duration::from_secs(30),
            retry_above: 32,
            handshakes_per_prefix: 64,
            tcp: true,
            tcp_after: Duration::from_secs(2),
            udp_again: Duration::from_secs(120),
            // The peer returns stream credit in lots of an eighth: stay that far below its limit.
            streams: limits::STREAMS_PER_PEER_MAX as usize * 27 / 32,
            socket_buffer: 4 << 20,
            minor: puente_exchange::MINOR,
        }
    }

    /// QUIC's settings; only the dialling side keeps a connection alive. What a peer may send is little: more is
    /// granted as it is earned, and what was granted once cannot be taken back.
    pub(crate) fn transport(&self, dialling: bool) -> Arc<TransportConfig> {
        Arc::new(self.config(dialling))
    }

    /// The same on a TCP connection.
    pub(crate) fn transport_over_tcp(&self, dialling: bool) -> Arc<TransportConfig> {
        let mut t = self.config(dialling);
        t.initial_mtu(TCP_PACKET).mtu_discovery_config(None);
        Arc::new(t)
    }

    fn config(&self, dialling: bool) -> TransportConfig {
        let mut t = TransportConfig::default();
        t.max_concurrent_bidi_streams(FIRST_STREAMS.into())
            .max_concurrent_uni_streams(0u32.into())
            .stream_receive_window(STREAM_WINDOW.into())
            .receive_window(FIRST_WINDOW.into())
            .send_window(SEND_WINDOW)
            .max_idle_timeout(IdleTimeout::try_from(IDLE).ok())
            .keep_alive_interval(dialling.then_some(KEEP_ALIVE))
            .datagram_receive_buffer_size(None)
            .enable_segmentation_offload(self.segmentation_offload);
        if let Some(max) = self.udp_payload_max {
            let mut discovery = MtuDiscoveryConfig::default();
            discovery.upper_bound(max);
            t.mtu_discovery_config((max > 1200).then_some(discovery));
        }
        t
    }
}

/// The receive window of a connection that has sent a whole frame, when `open` stand: all together stay within a
/// budget, so that peers who send streams full of gaps cannot fill the memory.
pub(crate) fn receive_window(open: usize) -> VarInt {
    let share = RECEIVE_BUDGET / FULL_SHARES.max(open as u64);
    VarInt::from_u64(share.max(FIRST_WINDOW.into())).unwrap_or(VarInt::from_u32(FIRST_WINDOW))
}

/// The streams of a peer that has `granted` and has sent so many whole `frames`, if these earn it more. Whoever has a
/// frame on every stream always earns more: nobody waits for ever.
pub(crate) fn earned_streams(granted: u32, frames: u32) -> Option<u32> {
    let earned = FIRST_STREAMS.saturating_add(frames.saturating_mul(2));
    let more = granted.saturating_mul(2).min(limits::STREAMS_PER_PEER_MAX);
    (granted < more && earned >= more).then_some(more)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thousand_peers_stay_within_256_mib() {
        let total: u64 = (1..=1_000).map(|open| receive_window(open).into_inner()).sum();
        assert!(total < 256 << 20, "{total}");
        assert!(receive_window(1).into_inner() >= 1 << 20);
    }

    #[test]
    fn streams_are_earned_and_nobody_waits_for_ever() {
        let mut granted = FIRST_STREAMS;
        for frames in 1..=limits::STREAMS_PER_PEER_MAX {
            granted = earned_streams(granted, frames).unwrap_or(granted);
            // A frame on every stream but the control stream, and no answer to any: one more can be opened.
            assert!(granted > frames.saturating_add(1) || granted == limits::STREAMS_PER_PEER_MAX, "{frames}");
        }
        assert_eq!(granted, limits::STREAMS_PER_PEER_MAX);
        assert_eq!(earned_streams(granted, u32::MAX), None);
        assert_eq!(earned_streams(FIRST_STREAMS, 0), None);
    }
}
