//! HTTP/1.1 before the desk: requests of bounded size and time, and two resources.
//!
//! ```text
//! POST /add-checkpoint          ─▶ Desk::add_checkpoint
//! GET  /<sha256>/checkpoint     ─▶ Desk::checkpoint
//! ```
//!
//! Promise: whatever a client sends or withholds costs at most the [`Limits`]. Thief: none of its own; what is signed is
//! the desk's business.

use std::collections::HashMap;
use std::convert::Infallible;
use std::future::Future;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use hyper::body::{Body as _, Bytes, Incoming};
use hyper::header::{self, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response};
use hyper_util::rt::{TokioIo, TokioTimer};
use puente_audit_log::witness::SUBMISSION_BYTES_MAX;
use puente_model::Millis;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};
use tokio_rustls::TlsAcceptor;

use crate::desk::{Answer, Desk};

/// The least that hyper reads headers into, in bytes.
const HEADER_BYTES_MAX: usize = 8_192;
/// Headers of one request.
const HEADERS_MAX: usize = 64;

/// What clients may cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Connections at once; others wait to be accepted.
    pub connections: usize,
    /// Connections at once from one address (a /64 of IPv6); further ones are closed.
    pub connections_per_address: usize,
    /// From accepting a connection to the end of its TLS handshake.
    pub handshake_time: Duration,
    /// From the end of one request, or the start, to the end of the next one's headers: idle time, too.
    pub header_time: Duration,
    /// From the end of the headers to the end of the body.
    pub body_time: Duration,
    /// Life of a connection; an answer on its way has as long as `body_time` to be taken.
    pub connection_time: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 256,
            connections_per_address: 64,
            handshake_time: Duration::from_secs(5),
            header_time: Duration::from_secs(30),
            body_time: Duration::from_secs(10),
            connection_time: Duration::from_secs(600),
        }
    }
}

/// What counts as one address: one of IPv4, a /64 of IPv6 (a host has as many in it as it likes).
pub(crate) fn network_of(from: IpAddr) -> IpAddr {
    match from.to_canonical() {
        IpAddr::V6(v6) => {
            let [a, b, c, d, ..] = v6.segments();
            IpAddr::from([a, b, c, d, 0, 0, 0, 0])
        }
        v4 => v4,
    }
}

/// Connections by address.
#[derive(Debug, Clone, Default)]
struct Guests(Arc<Mutex<HashMap<IpAddr, usize>>>);

/// One of them; free again when this is dropped.
struct Seat {
    guests: Guests,
    from: IpAddr,
}

impl Guests {
    fn enter(&self, from: IpAddr, most: usize) -> Option<Seat> {
        let from = network_of(from);
        let mut guests = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = guests.entry(from).or_default();
        if *count >= most {
            return None;
        }
        *count += 1;
        drop(guests);
        Some(Seat { guests: self.clone(), from })
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut guests = self.guests.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = guests.get_mut(&self.from) {
            *count -= 1;
            if *count == 0 {
                guests.remove(&self.from);
            }
        }
    }
}

/// Serves clients, each with the certificate of the moment, until `stop` ends; then requests under way are finished, within `body_time`, and no others.
pub async fn serve(
    listener: TcpListener,
    tls: watch::Receiver<Option<TlsAcceptor>>,
    desk: Arc<Desk>,
    limits: Limits,
    stop: impl Future<Output = ()>,
) {
    let places = Arc::new(Semaphore::new(limits.connections.max(1)));
    let guests = Guests::default();
    let (closing, closed) = watch::channel(false);
    let mut clients = JoinSet::new();
    let began = Instant::now();
    let mut stop = std::pin::pin!(stop);
    loop {
        while clients.try_join_next().is_some() {}
        let accepted = async {
            let place = places.clone().acquire_owned().await;
            (place, listener.accept().await)
        };
        let (place, accepted) = tokio::select! {
            () = &mut stop => break,
            accepted = accepted => accepted,
        };
        let (Ok(place), Ok((stream, from))) = (place, accepted) else {
            // Out of descriptors, most likely: others may finish.
            tracing::warn!("http: cannot accept a connection");
            sleep(Duration::from_millis(100)).await;
            continue;
        };
        let Some(seat) = guests.enter(from.ip(), limits.connections_per_address) else {
            tracing::debug!("http: too many connections from one address");
            continue;
        };
        let visit = Visit { desk: desk.clone(), from: from.ip(), began, limits };
        let (tls, closed) = (tls.borrow().clone(), closed.clone());
        clients.spawn(async move {
            match tls {
                None => visit.serve(stream, closed).await,
                Some(tls) => match timeout(limits.handshake_time, tls.accept(stream)).await {
                    Ok(Ok(stream)) => visit.serve(stream, closed).await,
                    Ok(Err(error)) => tracing::debug!("http: no TLS: {error}"),
                    Err(_) => tracing::debug!("http: a handshake did not end in time"),
                },
            }
            drop((seat, place));
        });
    }
    drop(listener);
    let _ = closing.send(true);
    let all = async { while clients.join_next().await.is_some() {} };
    if timeout(limits.body_time, all).await.is_err() {
        tracing::debug!("http: some clients did not take their answers in time");
    }
}

/// One connection.
struct Visit {
    desk: Arc<Desk>,
    from: IpAddr,
    began: Instant,
    limits: Limits,
}

impl Visit {
    async fn serve<S>(self, stream: S, mut closed: watch::Receiver<bool>)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let limits = self.limits;
        let visit = &self;
        let answer = service_fn(move |request| async move { Ok::<_, Infallible>(visit.answer(request).await) });
        let mut connection = std::pin::pin!(
            http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(limits.header_time)
                .max_buf_size(HEADER_BYTES_MAX)
                .max_headers(HEADERS_MAX)
                .half_close(false)
                .serve_connection(TokioIo::new(stream), answer)
        );
        let ended = tokio::select! {
            ended = &mut connection => Some(ended),
            () = sleep(limits.connection_time) => None,
            _ = closed.wait_for(|closed| *closed) => None,
        };
        let ended = match ended {
            Some(ended) => Ok(ended),
            None => {
                connection.as_mut().graceful_shutdown();
                timeout(limits.body_time, connection).await
            }
        };
        if let Ok(Err(error)) = ended {
            tracing::debug!("http: a connection broke: {error}");
        }
    }

    async fn answer(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let (head, body) = request.into_parts();
        let path = head.uri.path();
        let monitored = path.strip_prefix('/').and_then(|path| path.strip_suffix("/checkpoint"));
        match (path, monitored) {
            ("/add-checkpoint", _) if head.method == Method::POST => {}
            (_, Some(name)) if head.method == Method::GET || head.method == Method::HEAD => {
                return respond(self.desk.checkpoint(name));
            }
            ("/add-checkpoint", _) => return refused(405, "POST", "checkpoints are submitted with POST\n"),
            (_, Some(_)) => return refused(405, "GET, HEAD", "checkpoints are read with GET\n"),
            _ => return refused(404, "", "there is no such resource\n"),
        }
        // What says that it is too long is not waited for.
        if body.size_hint().lower() > SUBMISSION_BYTES_MAX as u64 {
            return refused(413, "", "the submission is too long\n");
        }
        let whole = timeout(self.limits.body_time, Limited::new(body, SUBMISSION_BYTES_MAX).collect()).await;
        let body = match whole {
            Ok(Ok(body)) => body.to_bytes(),
            Ok(Err(error)) if error.is::<LengthLimitError>() => {
                return refused(413, "", "the submission is too long\n");
            }
            Ok(Err(_)) => return refused(400, "", "the submission broke off\n"),
            Err(_) => return refused(408, "", "the submission did not come in time\n"),
        };
        let (desk, from, clock) = (self.desk.clone(), self.from, self.began.elapsed());
        // The disk is waited for elsewhere; what was begun there is finished even if the client leaves.
        let taken = tokio::task::spawn_blocking(move || desk.add_checkpoint(now(), clock, from, &body)).await;
        taken.map_or_else(|_| refused(500, "", "the submission could not be judged\n"), respond)
    }
}

fn now() -> Millis {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Millis(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

fn respond(answer: Answer) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(answer.body)));
    *response.status_mut() =
        hyper::StatusCode::from_u16(answer.status).unwrap_or(hyper::StatusCode::INTERNAL_SERVER_ERROR);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(answer.media));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if let Some(seconds) = answer.retry_after {
        headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    response
}

/// For what never came to the desk; the rest of a body is not waited for.
fn refused(status: u16, allow: &'static str, words: &'static str) -> Response<Full<Bytes>> {
    let mut response = respond(Answer::plain(status, words));
    response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    if !allow.is_empty() {
        response.headers_mut().insert(header::ALLOW, HeaderValue::from_static(allow));
    }
    response
}
