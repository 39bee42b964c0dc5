//! Where UDP is blocked: the same frames over TCP, who is not let in, and the way back.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use puente_exchange::api::{Input, StreamId};
use puente_model::limits;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use super::pki::{A, B, World, uri};
use super::test::{Node, eventually, failure, free_address, node, prefixed, quick};
use super::tls::{self, ALPN, ALPN_TCP, Verifier};
use super::*;

/// A firewall before an address: TCP passes, UDP only when told so.
pub(crate) struct Firewall {
    pub(crate) at: SocketAddr,
    _tcp: JoinSet<()>,
    udp: Option<tokio::task::JoinHandle<()>>,
    to: SocketAddr,
}

impl Firewall {
    /// Before `to`; UDP is swallowed.
    pub(crate) async fn before(to: SocketAddr) -> Self {
        Self::at(free_address(), to).await
    }

    /// At an address that nobody uses, before `to`.
    pub(crate) async fn at(at: SocketAddr, to: SocketAddr) -> Self {
        let listener = TcpListener::bind(at).await.unwrap();
        let hole = UdpSocket::bind(at).await.unwrap();
        let mut tcp = JoinSet::new();
        tcp.spawn(async move {
            let mut pairs = JoinSet::new();
            while let Ok((mut near, _)) = listener.accept().await {
                pairs.spawn(async move {
                    let Ok(mut far) = TcpStream::connect(to).await else { return };
                    let _ = tokio::io::copy_bidirectional(&mut near, &mut far).await;
                });
            }
        });
        let udp = tokio::spawn(async move {
            let mut swallowed = [0; 2_048];
            while hole.recv(&mut swallowed).await.is_ok() {}
        });
        Self { at, _tcp: tcp, udp: Some(udp), to }
    }

    /// Lets UDP through, for one peer at a time.
    pub(crate) async fn open_udp(&mut self) {
        if let Some(hole) = self.udp.take() {
            hole.abort();
            let _ = hole.await;
        }
        let (near, far) = (UdpSocket::bind(self.at).await.unwrap(), UdpSocket::bind("127.0.0.1:0").await.unwrap());
        far.connect(self.to).await.unwrap();
        self.udp = Some(tokio::spawn(async move {
            let (mut there, mut back, mut from) = ([0; 2_048], [0; 2_048], None);
            loop {
                tokio::select! {
                    Ok((read, peer)) = near.recv_from(&mut there) => {
                        from = Some(peer);
                        let _ = far.send(&there[..read]).await;
                    }
                    Ok(read) = far.recv(&mut back) => {
                        if let Some(peer) = from {
                            let _ = near.send_to(&back[..read], peer).await;
                        }
                    }
                }
            }
        }));
    }
}

fn hasty(listen: SocketAddr) -> NetOptions {
    let mut options = quick(listen);
    options.tcp_after = Duration::from_millis(100);
    // Nothing of what is tested here is about slow machines.
    options.open_timeout = Duration::from_secs(3);
    options.udp_again = Duration::from_millis(200);
    options
}

/// A dials B, before which stands a firewall.
async fn pair(change: impl Fn(&mut NetOptions)) -> (Node, Node, ConnectionId, ConnectionId, Firewall) {
    let world = World::new();
    let (at_a, at_b) = (free_address(), free_address());
    let firewall = Firewall::before(at_b).await;
    let (mut for_a, mut for_b) = (hasty(at_a), hasty(at_b));
    change(&mut for_a);
    change(&mut for_b);
    let mut a = node(&world, A, &world.mx, for_a, &[(B, firewall.at.to_string())]);
    let mut b = node(&world, B, &world.us, for_b, &[]);
    a.net.connect(uri(B));
    let (ca, peer, dialled) = a.connected().await;
    assert_eq!((peer, dialled), (uri(B), true));
    let (cb, peer, dialled) = b.connected().await;
    assert_eq!((peer, dialled), (uri(A), false));
    (a, b, ca, cb, firewall)
}

fn overs(node: &Node) -> Vec<Over> {
    node.net.links().iter().map(|link| link.over).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_udp_is_blocked_frames_go_over_tcp_and_over_udp_once_it_is_let_through() {
    let (mut a, mut b, ca, cb, mut firewall) = pair(|_| {}).await;
    assert_eq!((overs(&a), overs(&b)), (vec![Over::Tcp], vec![Over::Tcp]));
    a.net.send(ca, StreamId::CONTROL, prefixed(b"ready a"), false);
    b.net.send(cb, StreamId::CONTROL, prefixed(b"ready b"), false);
    assert_eq!(b.frame().await, (StreamId::CONTROL, b"ready a".to_vec()));
    assert_eq!(a.frame().await, (StreamId::CONTROL, b"ready b".to_vec()));
    for n in 1..=300u64 {
        a.net.send(ca, StreamId(2 * n), prefixed(&n.to_be_bytes()), false);
        let (stream, bytes) = b.frame().await;
        b.net.send(cb, stream, prefixed(&bytes), true);
        assert_eq!(a.frame().await, (StreamId(2 * n), n.to_be_bytes().to_vec()));
    }
    let large = vec![7; limits::FRAME_BYTES_MAX];
    a.net.send(ca, StreamId(602), prefixed(&large), false);
    let (asked, bytes) = b.frame().await;
    assert!(bytes == large, "the largest frame arrives whole");

    // The new connection takes over; the old one goes when what is under way on it has ended.
    firewall.open_udp().await;
    let (na, _, dialled) = a.connected().await;
    assert!(dialled);
    let (nb, ..) = b.connected().await;
    assert_eq!(overs(&a).len(), 2);
    a.net.send(na, StreamId::CONTROL, prefixed(b"ready a"), false);
    assert_eq!(b.frame().await, (StreamId::CONTROL, b"ready a".to_vec()));
    b.net.send(nb, StreamId::CONTROL, prefixed(b"ready b"), false);
    assert_eq!(a.frame().await, (StreamId::CONTROL, b"ready b".to_vec()));
    sleep(Duration::from_millis(300)).await;
    b.net.send(cb, asked, prefixed(b"late"), false);
    assert_eq!(a.frame().await, (StreamId(602), b"late".to_vec()));
    a.net.send(ca, StreamId(602), prefixed(b"receipt"), true);
    assert_eq!(b.frame().await, (asked, b"receipt".to_vec()));
    assert!(matches!(a.next().await, Input::Disconnected { connection } if connection == ca));
    assert!(matches!(b.next().await, Input::Disconnected { connection } if connection == cb));
    eventually(|| overs(&a) == [Over::Udp] && overs(&b) == [Over::Udp]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn udp_is_taken_when_it_answers_and_tcp_when_it_is_switched_off_is_not() {
    let world = World::new();
    let (at_a, at_b) = (free_address(), free_address());
    let mut b = node(&world, B, &world.us, hasty(at_b), &[]);
    let mut a = node(&world, A, &world.mx, hasty(at_a), &[(B, at_b.to_string())]);
    a.net.connect(uri(B));
    a.connected().await;
    b.connected().await;
    assert_eq!(overs(&a), [Over::Udp]);
    drop(a);

    let firewall = Firewall::before(at_b).await;
    let mut options = hasty(free_address());
    (options.tcp, options.dial_timeout) = (false, Duration::from_millis(400));
    let mut a = node(&world, A, &world.mx, options, &[(B, firewall.at.to_string())]);
    a.net.connect(uri(B));
    assert!(matches!(a.next().await, Input::DialFailed { .. }));
    assert_eq!(failure(&a, B), Some("no-answer"));
    // Who does not listen over TCP has no socket there.
    let mut options = hasty("127.0.0.1:0".parse().unwrap());
    options.tcp = false;
    let silent = node(&world, B, &world.us, options, &[]);
    assert!(TcpStream::connect(silent.net.local_addr().unwrap()).await.is_err());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_line_that_breaks_is_noticed_at_once_and_dialled_again() {
    let (mut a, mut b, ca, cb, firewall) = pair(|_| {}).await;
    a.net.send(ca, StreamId::CONTROL, prefixed(b"ready a"), false);
    b.frame().await;
    let began = Instant::now();
    drop(firewall);
    assert!(matches!(b.next().await, Input::Disconnected { connection } if connection == cb));
    assert!(matches!(a.next().await, Input::Disconnected { connection } if connection == ca));
    assert!(began.elapsed() < Duration::from_secs(5), "not the idle timeout: {:?}", began.elapsed());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn closes_and_suspensions_get_through_tcp() {
    let (mut a, mut b, ca, _, _firewall) = pair(|_| {}).await;
    a.net.send(ca, StreamId::CONTROL, prefixed(b"ready a"), false);
    b.frame().await;
    let members = [(uri(A), trust::Member { endpoints: vec![], suspended: true })];
    let world = World::new();
    let roots = [world.mx.der.to_vec()];
    b.net.adopt_trust(Trust::new(uri(B), [("mx".parse().unwrap(), &roots[..])], members).unwrap());
    let began = Instant::now();
    for node in [&mut a, &mut b] {
        while !matches!(node.next().await, Input::Disconnected { .. }) {}
    }
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    eventually(|| a.net.links().is_empty() && b.net.links().is_empty()).await;

    let (a, mut b, ca, _, _firewall) = pair(|_| {}).await;
    a.net.send(ca, StreamId(2), prefixed(b"last"), true);
    a.net.shut_down().await;
    assert_eq!(b.frame().await.1, b"last");
    assert!(matches!(b.next().await, Input::Disconnected { .. }));
}

/// B behind nothing, and its address.
fn listening(world: &World, change: impl FnOnce(&mut NetOptions)) -> (Node, SocketAddr) {
    let mut options = hasty("127.0.0.1:0".parse().unwrap());
    change(&mut options);
    let b = node(world, B, &world.us, options, &[]);
    let at = b.net.local_addr().unwrap();
    (b, at)
}

/// TLS for a hand-made dial to B; `alpn` is offered if there is any.
fn tls_of(world: &World, identity: Identity, alpn: Option<&[u8]>) -> rustls::ClientConfig {
    let trust = Arc::new(ArcSwap::from_pointee(world.trust(A, &[])));
    let verifier = Arc::new(Verifier::new(trust, Some(uri(B)), Arc::default()));
    let mut config = tls::tcp_client(verifier, Arc::new(identity)).unwrap();
    config.alpn_protocols = alpn.map(<[u8]>::to_vec).into_iter().collect();
    config
}

/// TLS to B by hand, however it ends.
async fn raw(
    config: rustls::ClientConfig,
    at: SocketAddr,
) -> std::io::Result<tokio_rustls::client::TlsStream<TcpStream>> {
    let name = rustls::pki_types::ServerName::try_from(tls::SERVER_NAME).unwrap();
    let stream = TcpStream::connect(at).await?;
    tokio_rustls::TlsConnector::from(Arc::new(config)).connect(name, stream).await
}

/// The stream ends within a moment.
async fn ends(stream: &mut (impl tokio::io::AsyncRead + Unpin)) {
    let mut rest = [0; 4_096];
    let end = async { while stream.read(&mut rest).await.is_ok_and(|read| read > 0) {} };
    timeout(Duration::from_secs(5), end).await.expect("it stays open");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn forgers_get_nowhere_over_tcp() {
    let world = World::new();
    let (mut b, at_b) = listening(&world, |_| {});
    let count = |class: &str| b.net.faults().get(class).copied().unwrap_or_default();

    // Another nation's certificate.
    if let Ok(mut stream) = raw(tls_of(&world, world.identity(A, &world.us), Some(ALPN_TCP)), at_b).await {
        ends(&mut stream).await;
    }
    eventually(|| count("other-nations-root") == 1).await;
    // Another protocol, and none at all.
    let other = raw(tls_of(&world, world.identity(A, &world.mx), Some(b"http/1.1")), at_b).await;
    assert!(other.is_err());
    let other = raw(tls_of(&world, world.identity(A, &world.mx), Some(ALPN)), at_b).await;
    assert!(other.is_err());
    let mut none = raw(tls_of(&world, world.identity(A, &world.mx), None), at_b).await.unwrap();
    ends(&mut none).await;
    eventually(|| count("tcp-other-protocol") == 1).await;
    // Datagrams that are too long, or nothing.
    for (wrongs, prefix) in [[0xff, 0xff], [0, 0], [5, 193]].into_iter().enumerate() {
        let mut stream = raw(tls_of(&world, world.identity(A, &world.mx), Some(ALPN_TCP)), at_b).await.unwrap();
        stream.write_all(&prefix).await.unwrap();
        stream.flush().await.unwrap();
        ends(&mut stream).await;
        eventually(|| count("datagram-malformed") == wrongs as u64 + 1).await;
    }
    assert!(b.net.links().is_empty());
    assert!(b.inbox.try_recv().is_err(), "the engine hears of none of them");

    // TLS only resumes or sends early what it was told to: nothing.
    let config = tls_of(&world, world.identity(A, &world.mx), Some(ALPN_TCP));
    assert!(!config.enable_early_data && !config.enable_sni);
    for _ in 0..2 {
        let stream = raw(config.clone(), at_b).await.unwrap();
        assert_eq!(stream.get_ref().1.handshake_kind(), Some(rustls::HandshakeKind::Full));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn half_open_connections_end_in_time_and_hold_their_places_only_so_long() {
    let world = World::new();
    let (b, at_b) = listening(&world, |options| {
        options.handshake_timeout = Duration::from_millis(500);
        options.handshakes_per_prefix = 3;
    });
    let mut silent = TcpStream::connect(at_b).await.unwrap();
    let mut half = TcpStream::connect(at_b).await.unwrap();
    half.write_all(&[22, 3, 1, 2, 0, 1]).await.unwrap();
    let mut quiet = raw(tls_of(&world, world.identity(A, &world.mx), Some(ALPN_TCP)), at_b).await.unwrap();
    let mut fourth = TcpStream::connect(at_b).await.unwrap();
    ends(&mut fourth).await;
    eventually(|| b.net.faults().get("handshakes-full-for-prefix") == Some(&1)).await;
    let began = Instant::now();
    ends(&mut silent).await;
    ends(&mut half).await;
    ends(&mut quiet).await;
    assert!(began.elapsed() < Duration::from_secs(3), "{:?}", began.elapsed());
    eventually(|| b.net.faults().get("handshake-timed-out") == Some(&3)).await;
    // Their places are free again.
    let stream = raw(tls_of(&world, world.identity(A, &world.mx), Some(ALPN_TCP)), at_b).await;
    assert!(stream.is_ok());
}

/// A line to B, and QUIC on it, by hand.
async fn by_hand(
    world: &World,
    outer: Identity,
    inner: Identity,
    at: SocketAddr,
) -> (line::Standing, quinn::ConnectionError) {
    let stream = raw(tls_of(world, outer, Some(ALPN_TCP)), at).await.unwrap();
    let local = stream.get_ref().0.local_addr().unwrap();
    let standing = line::Standing::over(stream, (local, at), None).unwrap();
    let trust = Arc::new(ArcSwap::from_pointee(world.trust(A, &[])));
    let crypto = tls::client(Arc::new(Verifier::new(trust, Some(uri(B)), Arc::default())), Arc::new(inner)).unwrap();
    let config = quinn::ClientConfig::new(Arc::new(crypto));
    let connecting = standing.endpoint().connect_with(config, at, tls::SERVER_NAME).unwrap();
    let error = match timeout(Duration::from_secs(5), connecting).await.unwrap() {
        Ok(conn) => timeout(Duration::from_secs(5), conn.closed()).await.unwrap(),
        Err(error) => error,
    };
    (standing, error)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_line_bears_one_name() {
    const D: &str = "puente://mx/gn/n1";
    let world = World::new();
    let (mut b, at_b) = listening(&world, |_| {});
    let roots = [world.mx.der.to_vec()];
    let member = || trust::Member { endpoints: vec![], suspended: false };
    let members = [(uri(A), member()), (uri(D), member())];
    b.net.adopt_trust(Trust::new(uri(B), [("mx".parse().unwrap(), &roots[..])], members).unwrap());
    let (_line, error) = by_hand(&world, world.identity(A, &world.mx), world.identity(D, &world.mx), at_b).await;
    assert_eq!(EndReason::from(error), EndReason::ClosedByPeer(NetCode::NoLongerTrusted));
    eventually(|| b.net.faults().get("wrong-peer") == Some(&1)).await;
    assert!(b.net.links().is_empty() && b.inbox.try_recv().is_err());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn streams_and_frames_have_their_limits_over_tcp_too() {
    let (a, mut b, ca, _, _firewall) = pair(|_| {}).await;
    let conn = a.net.shared.links().get(ca).unwrap().conn.clone();
    let mut open = Vec::new();
    for _ in 1..options::FIRST_STREAMS {
        open.push(timeout(Duration::from_secs(2), conn.open_bi()).await.unwrap().unwrap());
    }
    assert!(timeout(Duration::from_millis(300), conn.open_bi()).await.is_err(), "nothing earned, nothing granted");
    let (bad, _) = &mut open[0];
    bad.write_all(&(limits::FRAME_BYTES_MAX as u32 + 1).to_be_bytes()).await.unwrap();
    assert!(matches!(b.next().await, Input::StreamReset { .. }));
    assert_eq!(b.net.faults().get("frame-oversized"), Some(&1));
    // A frame that does not go on is given up, and the others are not.
    let (slow, _) = &mut open[1];
    slow.write_all(&1_000u32.to_be_bytes()).await.unwrap();
    assert_eq!(slow.stopped().await.unwrap(), Some(NetCode::Stalled.code()));
    assert!(conn.close_reason().is_none());
}
