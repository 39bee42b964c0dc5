use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};
use tokio::time::Instant;

use super::*;

/// Answers with the body's length; `/slow` never, `/large` with 4 MiB in pieces, `/short` with less than announced.
struct Echo(AtomicUsize);

impl Handler for Echo {
    async fn answer(&self, request: Request<Bytes>) -> Response<Body> {
        self.0.fetch_add(1, Ordering::Relaxed);
        match request.uri().path() {
            "/slow" => std::future::pending().await,
            "/large" => {
                let (pieces, body) = Body::pieces(4 << 20, 1);
                tokio::spawn(async move { while pieces.send(Ok(vec![b'x'; 64 << 10].into())).await.is_ok() {} });
                Response::new(body)
            }
            "/short" => {
                let (pieces, body) = Body::pieces(10, 2);
                assert!(pieces.try_send(Ok(Bytes::from_static(b"12345"))).is_ok());
                Response::new(body)
            }
            _ => text(StatusCode::OK, format!("{}", request.body().len())),
        }
    }
}

fn echo() -> Arc<Echo> {
    Arc::new(Echo(AtomicUsize::new(0)))
}

fn limits() -> Limits {
    Limits { body_bytes_max: 10, connections_max: 2, ..Limits::default() }
}

/// A connection over a pipe of 16 KiB; time is virtual.
fn connection() -> (DuplexStream, tokio::task::JoinHandle<()>) {
    let (client, server) = duplex(16 << 10);
    (client, tokio::spawn(async move { serve_stream(server, &echo(), limits()).await }))
}

/// Sends bytes and reads until the server closes.
async fn exchange(bytes: &[u8]) -> String {
    let (mut client, serving) = connection();
    client.write_all(bytes).await.unwrap();
    let mut answer = Vec::new();
    client.read_to_end(&mut answer).await.unwrap();
    serving.await.unwrap();
    String::from_utf8_lossy(&answer).into_owned()
}

fn status(answer: &str) -> &str {
    answer.get(9..12).unwrap_or(answer)
}

#[tokio::test(start_paused = true)]
async fn requests_are_answered_one_after_the_other_until_the_client_has_enough() {
    let answer = exchange(
        b"GET / HTTP/1.1\r\nhost: a\r\n\r\nPOST / HTTP/1.1\r\nhost: a\r\ncontent-length: 10\r\nconnection: close\r\n\r\n0123456789",
    )
    .await;
    assert_eq!(answer.matches("HTTP/1.1 200 OK").count(), 2, "{answer}");
    assert!(answer.contains("nosniff") && answer.ends_with("\r\n\r\n10"), "{answer}");
}

#[tokio::test(start_paused = true)]
async fn bodies_are_bounded_whether_they_announce_their_length_or_not() {
    let announced = b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 11\r\n\r\n01234567890";
    assert_eq!(status(&exchange(announced).await), "413");
    let chunked = b"POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\nb\r\n01234567890\r\n0\r\n\r\n";
    assert_eq!(status(&exchange(chunked).await), "413");
    let fits = b"POST / HTTP/1.1\r\nhost: a\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\r\na\r\n0123456789\r\n0\r\n\r\n";
    assert_eq!(status(&exchange(fits).await), "200");
    // One that never comes is given up.
    let missing = b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 10\r\n\r\n0";
    assert_eq!(status(&exchange(missing).await), "408");
}

#[tokio::test(start_paused = true)]
async fn headers_are_bounded_in_bytes_and_number() {
    let close = "connection: close\r\n";
    let long = |bytes: usize| format!("GET / HTTP/1.1\r\nhost: a\r\n{close}a: {}\r\n\r\n", "x".repeat(bytes));
    assert_eq!(status(&exchange(long(4_000).as_bytes()).await), "200");
    assert_eq!(status(&exchange(long(8_192).as_bytes()).await), "431");
    let many = |n: usize| format!("GET / HTTP/1.1\r\nhost: a\r\n{close}{}\r\n", "a: b\r\n".repeat(n));
    assert_eq!(status(&exchange(many(62).as_bytes()).await), "200");
    assert_eq!(status(&exchange(many(63).as_bytes()).await), "431");
    assert_eq!(status(&exchange(b"nonsense\r\n\r\n").await), "400");
}

#[tokio::test(start_paused = true)]
async fn nobody_holds_a_connection_by_saying_little_or_nothing() {
    let began = Instant::now();
    // Virtual time: nothing, half a header, a handler that never answers.
    exchange(b"").await;
    assert_eq!(began.elapsed(), limits().header_time);
    exchange(b"GET / HT").await;
    let slow = exchange(b"GET /slow HTTP/1.1\r\nhost: a\r\n\r\n").await;
    assert_eq!(status(&slow), "503");
    // One byte now and then does not help: the header has a deadline, not a pace.
    let (mut client, serving) = connection();
    let began = Instant::now();
    while !serving.is_finished() {
        let _ = client.write_all(b"x").await;
        sleep(Duration::from_secs(3)).await;
    }
    assert!(began.elapsed() <= limits().header_time + Duration::from_secs(3));
}

#[tokio::test(start_paused = true)]
async fn a_client_that_takes_nothing_is_left() {
    let (mut client, serving) = connection();
    let began = Instant::now();
    client.write_all(b"GET /large HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
    serving.await.unwrap();
    assert_eq!(began.elapsed(), limits().stall_time);
    // One that reads slowly gets all of it, past the time of an answer.
    let (mut client, serving) = connection();
    client.write_all(b"GET /large HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").await.unwrap();
    let (mut read, mut buffer) = (0, vec![0; 64 << 10]);
    loop {
        sleep(Duration::from_millis(900)).await;
        match client.read(&mut buffer).await.unwrap() {
            0 => break,
            n => read += n,
        }
    }
    serving.await.unwrap();
    assert!(read > 4 << 20, "{read}");
}

#[tokio::test(start_paused = true)]
async fn half_an_answer_is_never_taken_for_a_whole_one() {
    let began = Instant::now();
    let answer = exchange(b"GET /short HTTP/1.1\r\nhost: a\r\n\r\n").await;
    // The connection ends at once, with less than was announced.
    assert_eq!(began.elapsed(), Duration::ZERO);
    assert!(answer.split("\r\n\r\n").nth(1).unwrap_or_default().len() < 10, "{answer}");
}

#[tokio::test(start_paused = true)]
async fn connections_end_in_time_however_busy() {
    let (mut client, serving) = connection();
    let began = Instant::now();
    let mut buffer = vec![0; 4_096];
    while !serving.is_finished() {
        if client.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").await.is_ok() {
            let _ = client.read(&mut buffer).await;
        }
        sleep(Duration::from_secs(5)).await;
    }
    let life = limits().connection_time;
    assert!(began.elapsed() >= life && began.elapsed() < life + Duration::from_secs(10), "{:?}", began.elapsed());
}

#[tokio::test]
async fn more_connections_than_places_wait() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = listener.local_addr().unwrap();
    let echo = echo();
    let serving = tokio::spawn(serve(listener, Arc::new(Everybody(echo.clone())), limits()));
    let held = [TcpStream::connect(at).await.unwrap(), TcpStream::connect(at).await.unwrap()];
    let mut third = TcpStream::connect(at).await.unwrap();
    third.write_all(b"GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").await.unwrap();
    // The two that say nothing hold both places; no answer comes before one of them leaves.
    let mut answer = Vec::new();
    assert!(timeout(Duration::from_millis(100), third.read_to_end(&mut answer)).await.is_err());
    assert_eq!(echo.0.load(Ordering::Relaxed), 0);
    drop(held);
    third.read_to_end(&mut answer).await.unwrap();
    assert!(answer.starts_with(b"HTTP/1.1 200"));
    serving.abort();
}

/// Never lets anybody in.
struct Nobody;

impl Admission for Nobody {
    type Stream = TcpStream;
    type Handler = Arc<Echo>;

    async fn admit(&self, _stream: TcpStream, _: SocketAddr) -> io::Result<(TcpStream, Arc<Echo>)> {
        std::future::pending().await
    }
}

#[tokio::test]
async fn one_address_does_not_fill_the_door_with_clients_that_are_not_admitted() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = listener.local_addr().unwrap();
    let limits = Limits { connections_max: 8, admissions_per_address: 2, ..limits() };
    let serving = tokio::spawn(async move { serve(listener, Arc::new(Nobody), limits).await });
    let mut clients = Vec::new();
    for _ in 0..3 {
        clients.push(TcpStream::connect(at).await.unwrap());
    }
    // The third is closed at once; the first two wait.
    let mut byte = [0];
    let closed = tokio::time::timeout(Duration::from_secs(10), clients[2].read(&mut byte)).await.unwrap();
    assert!(matches!(closed, Ok(0) | Err(_)), "{closed:?}");
    let waits = tokio::time::timeout(Duration::from_millis(50), clients[0].read(&mut byte)).await;
    assert!(waits.is_err(), "{waits:?}");
    serving.abort();
}
