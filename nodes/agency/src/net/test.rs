use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::Duration;

use puente_exchange::api::{ConnectionId, Input, StreamId};
use puente_model::limits;
use puente_wire::fault::FaultCode;
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout};

use super::pki::{A, B, World, uri};
use super::*;

/// One node: its network, and what it tells the engine.
struct Node {
    net: Net,
    inbox: mpsc::Receiver<Input>,
}

/// Two sockets' addresses that nobody uses now.
fn free_address() -> SocketAddr {
    std::net::UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

fn quick(listen: SocketAddr) -> NetOptions {
    let mut options = NetOptions::new(listen);
    options.stall = Duration::from_millis(600);
    options.backoff_min = Duration::from_millis(20);
    options.backoff_max = Duration::from_millis(100);
    options.open_timeout = Duration::from_millis(400);
    options.dial_timeout = Duration::from_secs(3);
    options
}

fn node(world: &World, name: &str, root: &super::pki::Root, options: NetOptions, peers: &[(&str, String)]) -> Node {
    let (tell, inbox) = mpsc::channel(64);
    let identity = world.identity(name, root);
    let net = Net::with_trust(uri(name), world.trust(name, peers), identity, options, tell).unwrap();
    Node { net, inbox }
}

impl Node {
    async fn next(&mut self) -> Input {
        timeout(Duration::from_secs(10), self.inbox.recv()).await.expect("nothing arrived").unwrap()
    }

    async fn connected(&mut self) -> (ConnectionId, NodeUri, bool) {
        match self.next().await {
            Input::Connected { connection, peer, dialled } => (connection, peer, dialled),
            other => panic!("{other:?}"),
        }
    }

    async fn frame(&mut self) -> (StreamId, Vec<u8>) {
        match self.next().await {
            Input::Frame { stream, bytes, .. } => (stream, bytes),
            other => panic!("{other:?}"),
        }
    }
}

fn prefixed(bytes: &[u8]) -> Vec<u8> {
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
    a.net.send(ca, StreamId::CONTROL, prefixed(b"ready a"), false);
    assert_eq!(b.frame().await, (StreamId::CONTROL, b"ready a".to_vec()));
    b.net.send(cb, StreamId::CONTROL, prefixed(b"ready b"), false);
    assert_eq!(a.frame().await, (StreamId::CONTROL, b"ready b".to_vec()));
    a.net.send(ca, StreamId(2), prefixed(b"ask"), false);
    assert_eq!(b.frame().await, (StreamId(1), b"ask".to_vec()));
    b.net.send(cb, StreamId(1), prefixed(b"reply"), true);
    assert_eq!(a.frame().await, (StreamId(2), b"reply".to_vec()));
    b.net.send(cb, StreamId(2), prefixed(b"back"), false);
    assert_eq!(a.frame().await, (StreamId(1), b"back".to_vec()));
    let large = vec![7; limits::FRAME_BYTES_MAX];
    a.net.send(ca, StreamId(2), prefixed(&large), true);
    assert_eq!(b.frame().await, (StreamId(1), large));
    assert_eq!(a.net.links()[0].peer, uri(B));
}
