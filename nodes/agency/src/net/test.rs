use std::net::SocketAddr;
use std::time::Duration;

use puente_exchange::api::{ConnectionId, Input, StreamId};
use puente_model::limits;
use puente_wire::fault::FaultCode;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, timeout};

use super::pki::{A, B, World, uri};
use super::*;

/// One node: its network, and what it tells the engine.
pub(crate) struct Node {
    pub(crate) net: Net,
    pub(crate) inbox: mpsc::Receiver<Input>,
}

/// An address that nobody uses now, neither over UDP nor over TCP.
pub(crate) fn free_address() -> SocketAddr {
    loop {
        let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        let at = socket.local_addr().unwrap();
        if std::net::TcpListener::bind(at).is_ok() {
            return at;
        }
    }
}

pub(crate) fn quick(listen: SocketAddr) -> NetOptions {
    let mut options = NetOptions::new(listen);
    options.stall = Duration::from_millis(600);
    options.backoff_min = Duration::from_millis(20);
    options.backoff_max = Duration::from_millis(100);
    options.open_timeout = Duration::from_millis(400);
    options.dial_timeout = Duration::from_secs(3);
    options
}

pub(crate) fn node(
    world: &World,
    name: &str,
    root: &super::pki::Root,
    options: NetOptions,
    peers: &[(&str, String)],
) -> Node {
    let (tell, inbox) = mpsc::channel(64);
    let identity = world.identity(name, root);
    let net = Net::with_trust(uri(name), world.trust(name, peers), identity, options, Inbox::Channel(tell)).unwrap();
    net.accept();
    Node { net, inbox }
}

impl Node {
    pub(crate) async fn next(&mut self) -> Input {
        timeout(Duration::from_secs(10), self.inbox.recv()).await.expect("nothing arrived").unwrap()
    }

    pub(crate) async fn connected(&mut self) -> (ConnectionId, NodeUri, bool) {
        match self.next().await {
            Input::Connected { connection, peer, dialled } => (connection, peer, dialled),
            other => panic!("{other:?}"),
        }
    }

    pub(crate) async fn frame(&mut self) -> (StreamId, Vec<u8>) {
        match self.next().await {
            Input::Frame { stream, bytes, .. } => (stream, bytes),
            other => panic!("{other:?}"),
        }
    }
}

pub(crate) fn prefixed(bytes: &[u8]) -> Vec<u8> {
    [&(bytes.len() as u32).to_be_bytes()[..], bytes].concat()
}

/// A dials B; both stand.
async fn pair(change: impl Fn(&mut NetOptions)) -> (Node, Node, ConnectionId, ConnectionId) {
    let world = World::new();
    let (at_a, at_b) = (free_address(), free_address());
    let peers = [(A, at_a.to_string()), (B, at_b.to_string())];
    let (mut for_a, mut for_b) = (quick(at_a), quick(at_b));
    change(&mut for_a);
    change(&mut for_b);
    let mut a = node(&world, A, &world.mx, for_a, &peers);
    let mut b = node(&world, B, &world.us, for_b, &peers);
    a.net.connect(uri(B));
    let (ca, peer, dialled) = a.connected().await;
    assert_eq!((peer, dialled), (uri(B), true));
    let (cb, peer, dialled) = b.connected().await;
    assert_eq!((peer, dialled), (uri(A), false));
    (a, b, ca, cb)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn frames_go_both_ways_and_streams_have_their_numbers() {
    let (mut a, mut b, ca, cb) = pair(|_| {}).await;
    // The accepting side may speak first: the frame waits until the dialler opens the stream.
    b.net.send(cb, StreamId::CONTROL, prefixed(b"ready b"), false);
    a.net.send(ca, StreamId::CONTROL, prefixed(b"ready a"), false);
    assert_eq!(b.frame().await, (StreamId::CONTROL, b"ready a".to_vec()));
    assert_eq!(a.frame().await, (StreamId::CONTROL, b"ready b".to_vec()));
    a.net.send(ca, StreamId(2), prefixed(b"ask"), false);
    assert_eq!(b.frame().await, (StreamId(1), b"ask".to_vec()));
    b.net.send(cb, StreamId(1), prefixed(b"reply"), false);
    assert_eq!(a.frame().await, (StreamId(2), b"reply".to_vec()));
    b.net.send(cb, StreamId(2), prefixed(b"back"), false);
    assert_eq!(a.frame().await, (StreamId(1), b"back".to_vec()));
    let large = vec![7; limits::FRAME_BYTES_MAX];
    a.net.send(ca, StreamId(2), prefixed(&large), true);
    let (stream, bytes) = b.frame().await;
    assert!(stream == StreamId(1) && bytes == large, "the largest frame arrives whole");
    assert_eq!(a.net.links()[0].peer, uri(B));
}

fn raw(node: &Node, id: ConnectionId) -> quinn::Connection {
    node.net.shared.links().get(id).unwrap().conn.clone()
}

/// The class of the last failed dial to `peer`.
pub(crate) fn failure(node: &Node, peer: &str) -> Option<&'static str> {
    node.net.unreachable().into_iter().find(|(p, _)| *p == uri(peer)).map(|(_, class)| class)
}

pub(crate) async fn eventually(mut holds: impl FnMut() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < Duration::from_secs(5), "never came true");
        sleep(Duration::from_millis(10)).await;
    }
}

/// A node A that dials in by hand, past `Net`: endpoint and configuration.
fn dialler(world: &World, identity: Identity) -> (Endpoint, quinn::ClientConfig) {
    let trust = Arc::new(ArcSwap::from_pointee(world.trust(A, &[])));
    let verifier = Arc::new(Verifier::new(trust, Some(uri(B)), Arc::default()));
    let crypto = tls::client(verifier, Arc::new(identity)).unwrap();
    let endpoint = Endpoint::client("127.0.0.1:0".parse().unwrap()).unwrap();
    (endpoint, quinn::ClientConfig::new(Arc::new(crypto)))
}

/// A node B that listens, and its address.
fn listener(world: &World, change: impl FnOnce(&mut NetOptions)) -> (Node, SocketAddr) {
    let mut options = quick("127.0.0.1:0".parse().unwrap());
    change(&mut options);
    let b = node(world, B, &world.us, options, &[]);
    let at = b.net.local_addr().unwrap();
    (b, at)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_with_another_nations_certificate_is_refused_by_name() {
    let world = World::new();
    let at_b = free_address();
    let _b = node(&world, B, &world.mx, quick(at_b), &[]);
    let mut a = node(&world, A, &world.mx, quick(free_address()), &[(B, at_b.to_string())]);
    a.net.connect(uri(B));
    assert!(matches!(a.next().await, Input::DialFailed { peer } if peer == uri(B)));
    assert_eq!(failure(&a, B), Some("other-nations-root"));
    assert_eq!(a.net.faults().get("other-nations-root"), Some(&1));
}

/// The trap of mutual TLS 1.3: `connect` succeeds for a client that the server is about to refuse.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refused_client_learns_that_nothing_was_processed() {
    let world = World::new();
    let (mut b, at_b) = listener(&world, |_| {});
    let mut a = node(&world, A, &world.us, quick(free_address()), &[(B, at_b.to_string())]);
    a.net.connect(uri(B));
    let first = a.next().await;
    if let Input::Connected { connection, .. } = first {
        a.net.send(connection, StreamId::CONTROL, prefixed(b"ready?"), false);
        loop {
            match a.next().await {
                Input::Disconnected { .. } => break,
                Input::StreamReset { .. } => {}
                other => panic!("{other:?}"),
            }
        }
    } else {
        assert!(matches!(first, Input::DialFailed { .. }), "{first:?}");
    }
    eventually(|| failure(&a, B) == Some("certificate-refused-by-peer")).await;
    assert_eq!(b.net.faults().get("other-nations-root"), Some(&1));
    assert!(b.inbox.try_recv().is_err(), "the engine must not hear of a refused client");
}

#[tokio::test]
async fn a_client_without_a_certificate_is_refused() {
    let world = World::new();
    let (b, at_b) = listener(&world, |_| {});
    let trust = Arc::new(ArcSwap::from_pointee(world.trust(A, &[])));
    let verifier = Arc::new(Verifier::new(trust, Some(uri(B)), Arc::default()));
    let mut config = rustls::ClientConfig::builder_with_provider(Arc::new(tls::provider()))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_no_client_auth();
    config.alpn_protocols = vec![ALPN.to_vec()];
    let crypto = quinn::crypto::rustls::QuicClientConfig::try_from(config).unwrap();
    let endpoint = Endpoint::client("127.0.0.1:0".parse().unwrap()).unwrap();
    let config = quinn::ClientConfig::new(Arc::new(crypto));
    let error = match endpoint.connect_with(config, at_b, tls::SERVER_NAME).unwrap().await {
        Ok(conn) => conn.closed().await,
        Err(error) => error,
    };
    let reason = EndReason::from(error);
    assert!(matches!(reason, EndReason::CertificateRefused { alert: 116, .. }), "{reason:?}");
    assert!(b.net.links().is_empty());
}

#[tokio::test]
async fn nothing_is_sent_early_and_nothing_is_resumed() {
    let world = World::new();
    let (_b, at_b) = listener(&world, |_| {});
    let (endpoint, config) = dialler(&world, world.identity(A, &world.mx));
    for _ in 0..3 {
        let connecting = endpoint.connect_with(config.clone(), at_b, tls::SERVER_NAME).unwrap();
        let connecting = connecting.into_0rtt().err().expect("0-RTT must not be offered");
        let conn = connecting.await.unwrap();
        sleep(Duration::from_millis(50)).await;
        conn.close(0u32.into(), b"");
    }
}

#[test]
fn the_hybrid_key_exchange_comes_first_and_nothing_logs_keys() {
    let provider = tls::provider();
    assert_eq!(provider.kx_groups[0].name(), rustls::NamedGroup::X25519MLKEM768);
    // Both configurations keep rustls's default, which logs nothing; only these names would change that.
    for source in [include_str!("tls.rs"), include_str!("dial.rs"), include_str!("mod.rs")] {
        assert!(!source.contains("key_log") && !source.contains("KeyLogFile"));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_frame_that_trickles_is_reset_and_others_are_not() {
    let (a, mut b, ca, _) = pair(|_| {}).await;
    let (mut slow, _recv) = raw(&a, ca).open_bi().await.unwrap();
    slow.write_all(&1_000u32.to_be_bytes()).await.unwrap();
    let start = Instant::now();
    let stopped = slow.stopped();
    let trickle = tokio::spawn(async move {
        while slow.write_all(b"x").await.is_ok() {
            sleep(Duration::from_millis(100)).await;
        }
    });
    a.net.send(ca, StreamId(2), prefixed(b"honest"), false);
    assert_eq!(b.frame().await, (StreamId(3), b"honest".to_vec()));
    assert_eq!(stopped.await.unwrap(), Some(NetCode::Stalled.code()));
    assert!(start.elapsed() < Duration::from_secs(2));
    assert!(matches!(b.next().await, Input::StreamReset { stream: StreamId(1), .. }));
    trickle.await.unwrap();
    // A stream that holds no unfinished frame may stay silent.
    a.net.send(ca, StreamId(2), prefixed(b"still here"), true);
    assert_eq!(b.frame().await, (StreamId(3), b"still here".to_vec()));
    assert_eq!(b.net.shared.partial.load(Ordering::Relaxed), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_opens_a_stream_or_a_connection_must_say_something() {
    let (a, b, ca, cb) = pair(|options| options.first_frame = Duration::from_millis(700)).await;
    let conn = raw(&a, ca);
    // QUIC tells of a stream when anything of it arrives, a byte behind a gap for example: here, one byte.
    let (mut slow, _recv) = conn.open_bi().await.unwrap();
    slow.write_all(b"\0").await.unwrap();
    a.net.send(ca, StreamId::CONTROL, prefixed(b"ready a"), false);
    b.net.send(cb, StreamId::CONTROL, prefixed(b"ready b"), false);
    assert_eq!(slow.stopped().await.unwrap(), Some(NetCode::Stalled.code()));
    assert!(b.net.faults().contains_key("stream-stalled"));
    // Both have spoken: silence is allowed from now on.
    sleep(Duration::from_millis(900)).await;
    assert_eq!(conn.close_reason(), None);

    let world = World::new();
    let (mut b, at_b) = listener(&world, |options| options.first_frame = Duration::from_millis(300));
    let (endpoint, config) = dialler(&world, world.identity(A, &world.mx));
    let silent = endpoint.connect_with(config, at_b, tls::SERVER_NAME).unwrap().await.unwrap();
    b.connected().await;
    assert_eq!(EndReason::from(silent.closed().await), EndReason::ClosedByPeer(NetCode::Stalled));
    assert!(matches!(b.next().await, Input::Disconnected { .. }));
    assert_eq!(b.net.faults().get("peer-silent"), Some(&1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn credit_is_earned_with_whole_frames() {
    let (a, mut b, ca, _) = pair(|_| {}).await;
    let conn = raw(&a, ca);
    // The control stream is one of the four.
    let mut open = Vec::new();
    for _ in 1..options::FIRST_STREAMS {
        open.push(timeout(Duration::from_secs(2), conn.open_bi()).await.unwrap().unwrap());
    }
    assert!(timeout(Duration::from_millis(300), conn.open_bi()).await.is_err(), "nothing earned, nothing granted");
    for (send, _) in &mut open {
        send.write_all(&prefixed(b"ask")).await.unwrap();
        b.frame().await;
    }
    for _ in 0..3 {
        open.push(timeout(Duration::from_secs(2), conn.open_bi()).await.expect("more is granted").unwrap());
    }
}

/// Drops a node as a crash would: nothing is said to anybody.
fn vanish(runtime: tokio::runtime::Runtime, node: Node) {
    runtime.shutdown_timeout(Duration::from_secs(5));
    // Links and node hold each other while their tasks live; these are gone.
    node.net.shared.links().forget();
    drop(node);
}

#[test]
fn a_peer_learns_of_a_restart_from_its_first_packet() {
    let outer = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let world = World::new();
    let (at_a, at_b) = (free_address(), free_address());
    let peers = [(A, at_a.to_string()), (B, at_b.to_string())];
    let mut a = outer.block_on(async { node(&world, A, &world.mx, quick(at_a), &peers) });
    let (cert, key) = world.pem(B, &world.us);
    let start = |runtime: &tokio::runtime::Runtime| {
        runtime.block_on(async {
            let (tell, inbox) = mpsc::channel(64);
            let until = Instant::now() + Duration::from_secs(10);
            loop {
                let identity = Identity::from_pem(&uri(B), &cert, &key).unwrap();
                let (trust, inbox_of) = (world.trust(B, &peers), Inbox::Channel(tell.clone()));
                match Net::with_trust(uri(B), trust, identity, quick(at_b), inbox_of) {
                    Ok(net) => {
                        net.accept();
                        return Node { net, inbox };
                    }
                    // The socket of the run before may take a moment to go.
                    Err(NetError::Listen { .. }) if Instant::now() < until => sleep(Duration::from_millis(50)).await,
                    Err(error) => panic!("{error}"),
                }
            }
        })
    };
    let first = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let b = start(&first);
    a.net.connect(uri(B));
    let ca = outer.block_on(async { a.connected().await.0 });
    vanish(first, b);

    let second = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let _b = start(&second);
    let began = std::time::Instant::now();
    // The next thing that A says is answered with a reset that only B's key can make.
    a.net.send(ca, StreamId::CONTROL, prefixed(b"still there?"), false);
    let said = outer.block_on(async { a.next().await });
    assert!(matches!(said, Input::Disconnected { connection } if connection == ca), "{said:?}");
    assert!(began.elapsed() < Duration::from_secs(2), "not its idle timeout: {:?}", began.elapsed());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_oversized_prefix_resets_its_stream() {
    let (a, mut b, ca, _) = pair(|_| {}).await;
    let (mut bad, _recv) = raw(&a, ca).open_bi().await.unwrap();
    bad.write_all(&(limits::FRAME_BYTES_MAX as u32 + 1).to_be_bytes()).await.unwrap();
    let code = NetCode::from_code(bad.stopped().await.unwrap().unwrap());
    assert_eq!(code, NetCode::Fault(FaultCode::Oversized));
    assert!(matches!(b.next().await, Input::StreamReset { stream: StreamId(1), .. }));
    assert_eq!(b.net.faults().get("frame-oversized"), Some(&1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_truncated_frame_resets_its_stream() {
    let (a, mut b, ca, _) = pair(|_| {}).await;
    let (mut bad, mut recv) = raw(&a, ca).open_bi().await.unwrap();
    bad.write_all(&[0, 0, 0, 9, 1]).await.unwrap();
    bad.finish().unwrap();
    assert!(matches!(b.next().await, Input::StreamReset { stream: StreamId(1), .. }));
    let error = recv.read_to_end(10).await.unwrap_err();
    let reset = NetCode::Fault(FaultCode::Malformed).code();
    assert!(matches!(error, quinn::ReadToEndError::Read(quinn::ReadError::Reset(code)) if code == reset));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_peers_reset_and_the_end_of_control_reach_the_engine() {
    let (mut a, mut b, ca, cb) = pair(|_| {}).await;
    let (mut send, _recv) = raw(&a, ca).open_bi().await.unwrap();
    send.write_all(&prefixed(b"ask")).await.unwrap();
    assert_eq!(b.frame().await.0, StreamId(1));
    send.reset(NetCode::Cancelled.code()).unwrap();
    assert!(matches!(b.next().await, Input::StreamReset { stream: StreamId(1), .. }));
    a.net.send(ca, StreamId::CONTROL, prefixed(b"bye"), true);
    assert_eq!(b.frame().await.0, StreamId::CONTROL);
    assert!(matches!(b.next().await, Input::Disconnected { connection } if connection == cb));
    assert!(matches!(a.next().await, Input::Disconnected { connection } if connection == ca));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_that_the_engine_resets_is_reset_at_the_peers_engine_and_others_are_not() {
    let (mut a, mut b, ca, cb) = pair(|_| {}).await;
    for stream in [2, 4] {
        a.net.send(ca, StreamId(stream), prefixed(b"ask"), false);
        assert_eq!(b.frame().await, (StreamId(stream - 1), b"ask".to_vec()));
    }
    a.net.reset(ca, StreamId(2));
    assert!(matches!(b.next().await, Input::StreamReset { connection, stream: StreamId(1) } if connection == cb));
    assert!(matches!(a.next().await, Input::StreamReset { connection, stream: StreamId(2) } if connection == ca));
    b.net.send(cb, StreamId(3), prefixed(b"reply"), false);
    assert_eq!(a.frame().await, (StreamId(4), b"reply".to_vec()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn streams_beyond_the_limit_wait_their_turn_or_fail_in_time() {
    for (streams, sent) in [(4, 6), (1_000, 270)] {
        let (mut a, mut b, ca, _) = pair(|options| options.streams = streams).await;
        let limit = streams.min(limits::STREAMS_PER_PEER_MAX as usize - 1);
        for n in 1..=sent {
            a.net.send(ca, StreamId(2 * n), prefixed(b"ask"), false);
        }
        let start = Instant::now();
        for _ in limit as u64..sent {
            assert!(matches!(a.next().await, Input::StreamReset { .. }));
        }
        assert!(start.elapsed() < Duration::from_secs(3), "a deadline, not a hang");
        for _ in 0..limit {
            b.frame().await;
        }
        assert_eq!(a.net.faults().get("streams-exhausted"), Some(&(sent - limit as u64)));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_exchanges_pass_through_four_streams() {
    let (mut a, mut b, ca, cb) = pair(|options| {
        options.streams = 4;
        options.open_timeout = Duration::from_secs(20);
    })
    .await;
    let echo = tokio::spawn(async move {
        for _ in 0..1_000 {
            let (stream, bytes) = b.frame().await;
            b.net.send(cb, stream, prefixed(&bytes), true);
        }
        b
    });
    for n in 1..=1_000u64 {
        // Whoever finishes wants nothing more on the stream: the asker does not, the answerer does.
        a.net.send(ca, StreamId(2 * n), prefixed(&n.to_be_bytes()), false);
    }
    let mut answered: Vec<u64> = Vec::new();
    for _ in 0..1_000 {
        let (stream, bytes) = a.frame().await;
        assert_eq!(bytes, (stream.0 / 2).to_be_bytes());
        answered.push(stream.0);
    }
    answered.sort_unstable();
    answered.dedup();
    assert_eq!(answered.len(), 1_000);
    echo.await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_engine_slows_the_peer_and_loses_nothing() {
    let (a, mut b, ca, _) = pair(|_| {}).await;
    let frames: Vec<Vec<u8>> = (0..300u32).map(|n| [&n.to_be_bytes()[..], &[5; 20_000]].concat()).collect();
    for frame in &frames {
        a.net.send(ca, StreamId(2), prefixed(frame), false);
    }
    a.net.send(ca, StreamId(4), prefixed(b"another stream"), true);
    sleep(Duration::from_millis(300)).await;
    let mut got = Vec::new();
    let mut other = false;
    while got.len() < frames.len() || !other {
        match b.frame().await {
            (StreamId(1), bytes) => got.push(bytes),
            (stream, bytes) => other = (stream, &bytes[..]) == (StreamId(3), b"another stream"),
        }
    }
    assert!(got == frames);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_sent_before_a_close_arrives() {
    let (mut a, mut b, ca, _) = pair(|_| {}).await;
    for n in 1..=50u64 {
        a.net.send(ca, StreamId(2 * n), prefixed(&[1; 3_000]), true);
    }
    a.net.close(ca, FaultCode::NotReady);
    for _ in 0..50 {
        assert_eq!(b.frame().await.1.len(), 3_000);
    }
    assert!(matches!(b.next().await, Input::Disconnected { .. }));
    assert!(matches!(a.next().await, Input::Disconnected { .. }));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_that_is_suspended_is_cut_off_and_not_dialled() {
    let (mut a, mut b, _, _) = pair(|_| {}).await;
    let world = World::new();
    let root = [world.us.der.to_vec()];
    let members = [(uri(B), trust::Member { endpoints: vec!["127.0.0.1:9".to_owned()], suspended: true })];
    let trust = Trust::new(uri(A), [("us".parse().unwrap(), &root[..])], members).unwrap();
    a.net.adopt_trust(trust);
    for node in [&mut a, &mut b] {
        loop {
            match node.next().await {
                Input::Disconnected { .. } => break,
                Input::StreamReset { .. } => {}
                other => panic!("{other:?}"),
            }
        }
    }
    a.net.connect(uri(B));
    assert!(matches!(a.next().await, Input::DialFailed { .. }));
    assert_eq!(failure(&a, B), Some("suspended"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fifth_connection_of_one_peer_is_turned_away() {
    let world = World::new();
    let (mut b, at_b) = listener(&world, |_| {});
    let (endpoint, config) = dialler(&world, world.identity(A, &world.mx));
    let mut kept = Vec::new();
    for _ in 0..link::LINKS_PER_PEER_MAX {
        kept.push(endpoint.connect_with(config.clone(), at_b, tls::SERVER_NAME).unwrap().await.unwrap());
        b.connected().await;
    }
    let fifth = endpoint.connect_with(config, at_b, tls::SERVER_NAME).unwrap().await.unwrap();
    let reason = EndReason::from(fifth.closed().await);
    assert_eq!(reason, EndReason::ClosedByPeer(NetCode::TooManyConnections));
    assert_eq!(b.net.links().len(), link::LINKS_PER_PEER_MAX);
    kept.pop().unwrap().close(0u32.into(), b"");
    assert!(matches!(b.next().await, Input::Disconnected { .. }));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn under_load_addresses_prove_themselves() {
    let (a, b, ca, _) = pair(|options| options.retry_above = 0).await;
    assert_eq!(b.net.faults().get("retry"), Some(&1));
    drop((a, ca));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn small_packets_without_offload_carry_the_largest_frame() {
    let (a, mut b, ca, _) = pair(|options| {
        options.segmentation_offload = false;
        options.udp_payload_max = Some(1_280 - 48);
    })
    .await;
    let large = vec![3; limits::FRAME_BYTES_MAX];
    a.net.send(ca, StreamId(2), prefixed(&large), true);
    assert!(b.frame().await.1 == large);
    assert!(raw(&a, ca).stats().path.current_mtu <= 1_232);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dials_fail_in_time_one_at_a_time_and_by_name() {
    let world = World::new();
    let silent = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let peers = [(B, silent.local_addr().unwrap().to_string())];
    let mut options = quick(free_address());
    options.dial_timeout = Duration::from_millis(200);
    let mut a = node(&world, A, &world.mx, options, &peers);
    for _ in 0..5 {
        a.net.connect(uri(B));
    }
    assert!(matches!(a.next().await, Input::DialFailed { .. }));
    assert_eq!(failure(&a, B), Some("no-answer"));
    sleep(Duration::from_millis(300)).await;
    assert!(a.inbox.try_recv().is_err(), "five wishes, one dial");
    a.net.connect(uri(super::pki::C));
    assert!(matches!(a.next().await, Input::DialFailed { .. }));
    assert_eq!(failure(&a, super::pki::C), Some("suspended"));
    a.net.connect(uri("puente://us/nobody/n1"));
    assert!(matches!(a.next().await, Input::DialFailed { .. }));
    assert_eq!(failure(&a, "puente://us/nobody/n1"), Some("not-in-charter"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn shutting_down_says_so_and_does_not_linger() {
    let (a, mut b, ca, _) = pair(|_| {}).await;
    a.net.send(ca, StreamId(2), prefixed(b"last"), true);
    let start = Instant::now();
    a.net.shut_down().await;
    assert!(start.elapsed() < Duration::from_secs(2));
    assert_eq!(b.frame().await.1, b"last");
    assert!(matches!(b.next().await, Input::Disconnected { .. }));
}
