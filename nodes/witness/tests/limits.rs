//! What clients may cost, over real sockets, with limits that a test need not wait for; and TLS.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use common::ToyLog;
use puente_audit_log::witness::LogRule;
use puente_audit_log::{Ed25519Signer, KeyKind};
use puente_model::Secret32;
use puente_witness::{Desk, Limits, Store, serve};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

const ORIGIN: &str = "example.org/log1";

struct Served {
    at: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    ended: JoinHandle<()>,
    _dir: tempfile::TempDir,
}

impl Served {
    async fn with(limits: Limits) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let key = ToyLog::new(ORIGIN, "a").key();
        let rule = LogRule::new(ORIGIN, vec![key]).unwrap().first_use(true);
        let signer = Ed25519Signer::new("w1", KeyKind::CosignatureV1, &Secret32::new([8; 32])).unwrap();
        let store = Store::open(&dir.path().join("state")).unwrap();
        let rules = BTreeMap::from([(ORIGIN.to_owned(), rule)]);
        let desk = Arc::new(Desk::open(Box::new(signer), rules, store, dir.path().join("evidence"), 1_000).unwrap());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (at, (stop, stopped)) = (listener.local_addr().unwrap(), oneshot::channel());
        let stopped = async move {
            let _ = stopped.await;
        };
        let ended = tokio::spawn(serve(listener, tokio::sync::watch::channel(None).1, desk, limits, stopped));
        Self { at, stop: Some(stop), ended, _dir: dir }
    }

    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.at).await.unwrap()
    }

    /// Everything that comes back for these bytes, until the server closes.
    async fn say(&self, bytes: &[u8]) -> String {
        let mut stream = self.connect().await;
        let _ = stream.write_all(bytes).await;
        heard(stream).await
    }
}

async fn heard(mut stream: TcpStream) -> String {
    let mut reply = Vec::new();
    let _ = stream.read_to_end(&mut reply).await;
    String::from_utf8_lossy(&reply).into_owned()
}

fn post(body: &[u8]) -> Vec<u8> {
    let head = format!(
        "POST /add-checkpoint HTTP/1.1\r\nHost: w\r\nConnection: close\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    [head.as_bytes(), body].concat()
}

const SHORT: Duration = Duration::from_millis(200);

#[tokio::test(flavor = "multi_thread")]
async fn who_is_slow_is_given_up_and_others_are_not() {
    let limits = Limits { header_time: SHORT, body_time: SHORT, connection_time: 5 * SHORT, ..Limits::default() };
    let served = Served::with(limits).await;
    // Says nothing; half a header; a header and half a body: each is closed by the server.
    assert_eq!(served.say(b"").await, "");
    assert!(!served.say(b"POST /add-checkpoint HTTP/1.1\r\nHost:").await.contains(" 200 "));
    let whole = post(&ToyLog::new(ORIGIN, "a").submission(0, 3));
    assert!(served.say(&whole[..whole.len() - 1]).await.contains(" 408 "));
    // One byte now and then outlives no connection.
    let mut dripping = served.connect().await;
    while dripping.write_all(b"P").await.is_ok() {
        tokio::time::sleep(SHORT / 4).await;
    }
    assert!(served.say(&whole).await.contains(" 200 "));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_too_large_is_refused_unread() {
    let served = Served::with(Limits::default()).await;
    let large = b"POST /add-checkpoint HTTP/1.1\r\nHost: w\r\nContent-Length: 9000000000\r\n\r\n";
    assert!(served.say(large).await.contains(" 413 "));
    let mut chunked = b"POST /add-checkpoint HTTP/1.1\r\nHost: w\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
    for _ in 0..3 {
        chunked.extend_from_slice(b"10000\r\n");
        chunked.extend_from_slice(&[b'a'; 0x10000]);
        chunked.extend_from_slice(b"\r\n");
    }
    // The answer may be lost, as the rest is not read.
    let answer = served.say(&chunked).await;
    assert!(answer.is_empty() || answer.contains(" 413 "), "{answer}");
    let header = format!("POST /add-checkpoint HTTP/1.1\r\nHost: w\r\nX: {}\r\n\r\n", "a".repeat(100_000));
    assert!(served.say(header.as_bytes()).await.contains(" 431 "));
    let many = format!("GET / HTTP/1.1\r\nHost: w\r\n{}\r\n", "X: a\r\n".repeat(100));
    assert!(served.say(many.as_bytes()).await.contains(" 431 "));
    assert!(served.say(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n").await.contains(" 400 "));
}

#[tokio::test(flavor = "multi_thread")]
async fn one_address_does_not_take_every_connection() {
    let limits = Limits { connections_per_address: 2, ..Limits::default() };
    let served = Served::with(limits).await;
    let whole = post(&ToyLog::new(ORIGIN, "a").submission(0, 3));
    // Two connections that are known to be in, as they were answered.
    let mut held = Vec::new();
    for _ in 0..2 {
        let mut stream = served.connect().await;
        stream.write_all(b"GET /00/checkpoint HTTP/1.1\r\nHost: w\r\n\r\n").await.unwrap();
        let mut first = [0; 12];
        stream.read_exact(&mut first).await.unwrap();
        assert_eq!(&first, b"HTTP/1.1 404");
        held.push(stream);
    }
    assert_eq!(served.say(&whole).await, "");
    held.pop();
    // A place that was just left is not free at once.
    let mut answer = served.say(&whole).await;
    while answer.is_empty() {
        answer = served.say(&whole).await;
    }
    assert!(answer.contains(" 200 "), "{answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn stopping_finishes_what_is_under_way() {
    let limits = Limits { body_time: Duration::from_secs(60), ..Limits::default() };
    let mut served = Served::with(limits).await;
    let whole = post(&ToyLog::new(ORIGIN, "a").submission(0, 3));
    let mut stream = served.connect().await;
    // The server says that it waits for the body: the request is under way.
    let expecting = String::from_utf8(whole.clone()).unwrap().replace("Host: w", "Host: w\r\nExpect: 100-continue");
    let (head, body) = expecting.split_at(expecting.find("\r\n\r\n").unwrap() + 4);
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut go_on = [0; 25];
    stream.read_exact(&mut go_on).await.unwrap();
    assert!(go_on.starts_with(b"HTTP/1.1 100"));
    served.stop.take().unwrap().send(()).unwrap();
    stream.write_all(body.as_bytes()).await.unwrap();
    assert!(heard(stream).await.contains(" 200 "));
    served.ended.await.unwrap();
}
