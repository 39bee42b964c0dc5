use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use puente_model::limits;
use quinn::{IdleTimeout, MtuDiscoveryConfig, TransportConfig, VarInt};

/// A connection without a sign of life ends after this long.
const IDLE: Duration = Duration::from_secs(30);
/// The dialling side says at least this often that it is alive.
const KEEP_ALIVE: Duration = Duration::from_secs(10);
/// Bytes of one stream that may be on their way to this node.
const STREAM_WINDOW: u32 = 256 * 1024;
/// Bytes of one connection that this node buffers on their way out.
const SEND_WINDOW: u64 = 4 << 20;
/// Bytes that all connections together may have on their way to this node, roughly.
const RECEIVE_BUDGET: u64 = 48 << 20;
/// Connections that get a full share of the budget.
const FULL_SHARES: u64 = 32;

/// How the endpoint behaves. [`NetOptions::new`] is right for production; tests shorten times and switch features off.
#[derive(Debug, Clone)]
pub struct NetOptions {
    /// UDP address to listen on and to dial from.
    pub listen: SocketAddr,
    /// Let the kernel cut large sends into packets (GSO). Some network cards get it wrong: then switch it off.
    pub segmentation_offload: bool,
    /// Largest UDP payload that this node sends, in bytes; none: find out per path (at most 1,452).
    pub udp_payload_max: Option<u16>,
    /// An unfinished frame must grow within this time, or its stream is reset.
    pub stall: Duration,
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
    /// Streams that this node opens on a connection, below the peer's limit.
    pub streams: usize,
    /// Socket buffers to ask for, in bytes.
    pub socket_buffer: usize,
}

impl NetOptions {
    /// What a node uses.
    pub fn new(listen: SocketAddr) -> Self {
        Self {
            listen,
            segmentation_offload: true,
            udp_payload_max: None,
            stall: Duration::from_secs(15),
            dial_timeout: Duration::from_secs(5),
            handshake_timeout: Duration::from_secs(5),
            open_timeout: Duration::from_secs(10),
            backoff_min: Duration::from_millis(250),
            backoff_max: Duration::from_secs(30),
            retry_above: 32,
            handshakes_per_prefix: 64,
            // The peer returns stream credit in lots of an eighth: stay that far below its limit.
            streams: limits::STREAMS_PER_PEER_MAX as usize * 27 / 32,
            socket_buffer: 4 << 20,
        }
    }

    /// QUIC's settings; only the dialling side keeps a connection alive.
    pub(crate) fn transport(&self, dialling: bool) -> Arc<TransportConfig> {
        let mut t = TransportConfig::default();
        t.max_concurrent_bidi_streams(limits::STREAMS_PER_PEER_MAX.into())
            .max_concurrent_uni_streams(0u32.into())
            .stream_receive_window(STREAM_WINDOW.into())
            .receive_window(receive_window(0))
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
        Arc::new(t)
    }
}

/// The receive window of a connection when `open` others stand: all together stay within a budget, so that peers
/// who send streams full of gaps cannot fill the memory.
pub(crate) fn receive_window(open: usize) -> VarInt {
    let share = RECEIVE_BUDGET / FULL_SHARES.max(open as u64 + 1);
    VarInt::from_u64(share.max(64 * 1024)).unwrap_or(VarInt::from_u32(64 * 1024))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thousand_peers_stay_within_256_mib() {
        let total: u64 = (0..1_000).map(|open| receive_window(open).into_inner()).sum();
        assert!(total < 256 << 20, "{total}");
        assert!(receive_window(0).into_inner() >= 1 << 20);
    }
}
