//! Peers that send a byte now and then, so that nothing ever becomes whole.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use quinn::crypto::rustls::QuicClientConfig;
use tokio::sync::Semaphore;

use super::members::Member;
use crate::Failure;

/// Between two bytes.
const EVERY: Duration = Duration::from_secs(10);
/// Handshakes at once: fewer than a network prefix may have in progress.
const AT_ONCE: usize = 24;

/// How long each was kept; none for those that were still there at the end.
#[derive(Debug, Default)]
pub struct Shed {
    /// From the first byte, or the handshake of those that send none, until the node closed.
    pub kept: Vec<Option<Duration>>,
    /// Never admitted.
    pub refused: usize,
}

fn config(member: &Member) -> Result<quinn::ClientConfig, Failure> {
    let mut config = quinn::ClientConfig::new(Arc::new(QuicClientConfig::try_from(member.tls())?));
    let mut transport = quinn::TransportConfig::default();
    transport.keep_alive_interval(Some(Duration::from_secs(5))).mtu_discovery_config(None);
    config.transport_config(Arc::new(transport));
    Ok(config)
}

/// A handshake as anybody's.
///
/// # Errors
/// It fails.
pub async fn connect(
    endpoint: &quinn::Endpoint,
    node: SocketAddr,
    member: &Member,
) -> Result<quinn::Connection, Failure> {
    let connecting = endpoint.connect_with(config(member)?, node, "puente.invalid")?;
    Ok(tokio::time::timeout(Duration::from_secs(5), connecting).await??)
}

/// Drips on one connection until the node closes it. A third each: on the control stream; on a second stream as well;
/// without any stream.
async fn drip(conn: quinn::Connection, kind: usize, until: Instant) -> Option<Duration> {
    let began = Instant::now();
    let mut streams = Vec::new();
    for _ in 0..kind {
        streams.push(conn.open_bi().await.ok()?);
    }
    loop {
        for (send, _) in &mut streams {
            // The first byte of a length that is never reached. Fails when the node has had enough.
            let _ = send.write_all(&[0]).await;
        }
        tokio::select! {
            _ = conn.closed() => return Some(began.elapsed()),
            () = tokio::time::sleep(EVERY) => {}
        }
        if Instant::now() >= until {
            return None;
        }
    }
}

/// All members at once, for so long.
///
/// # Errors
/// No socket, or no thread.
pub fn run(node: SocketAddr, members: &[Member], duration: Duration) -> Result<Shed, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let endpoint = quinn::Endpoint::client("127.0.0.1:0".parse()?)?;
        let until = Instant::now() + duration;
        let places = Arc::new(Semaphore::new(AT_ONCE));
        let mut tasks = Vec::new();
        for (number, member) in members.iter().enumerate() {
            let place = places.clone().acquire_owned().await?;
            let (endpoint, member) = (endpoint.clone(), member.clone());
            tasks.push(tokio::spawn(async move {
                let conn = connect(&endpoint, node, &member).await.ok()?;
                drop(place);
                Some(drip(conn, number % 3, until).await)
            }));
        }
        let mut shed = Shed::default();
        for task in tasks {
            match task.await? {
                Some(kept) => shed.kept.push(kept),
                None => shed.refused += 1,
            }
        }
        endpoint.close(0u32.into(), b"");
        Ok(shed)
    })
}
