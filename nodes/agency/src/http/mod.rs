//! A small HTTP/1.1 server: requests of bounded size and time, over any stream.
//!
//! ```text
//! TcpListener ─▶ Admission::admit (TLS, who is it) ─▶ stream + handler ─▶ Handler::answer, request by request
//! ```
//!
//! Promise: whatever a client sends or withholds costs at most the [`Limits`]: bytes of header and body in memory, time
//! of a handshake, header, answer and stall, connections. Thief: none of its own; who may ask what is the
//! handler's and the admission's business.

mod body;
mod patient;
#[cfg(test)]
mod tests;
mod waiting;

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::header::{CONNECTION, HeaderValue};
use hyper::http::request::Parts;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{Instant, sleep, timeout, timeout_at};

pub use body::{Body, Chunks};
pub use hyper::{Method, Request, Response, StatusCode, header};

use patient::Patient;
use waiting::Waiting;

/// The least that hyper reads headers into, in bytes.
const HEADER_BYTES_LEAST: usize = 8_192;

/// What one server, and one connection of it, may cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Request line and headers of one request, in bytes; at least 8,192.
    pub header_bytes_max: usize,
    /// Headers of one request.
    pub headers_max: usize,
    /// Body of one request, in bytes.
    pub body_bytes_max: usize,
    /// From accepting a connection to its admission (TLS, say).
    pub admission_time: Duration,
    /// From the end of one request, or the start, to the end of the next one's headers: idle time, too.
    pub header_time: Duration,
    /// From the end of the headers to the end of the request's body.
    pub body_time: Duration,
    /// From the end of the headers to the handler's answer.
    pub answer_time: Duration,
    /// A client must take something of what is sent to it within this time.
    pub stall_time: Duration,
    /// Life of a connection; an answer on its way is finished first as far as `stall_time` allows.
    pub connection_time: Duration,
    /// Connections at once; others wait to be accepted.
    pub connections_max: usize,
    /// Connections from one address (a /64 of IPv6) that wait for their admission at once; further ones are closed.
    pub admissions_per_address: usize,
}

impl Default for Limits {
    /// For small answers to few clients.
    fn default() -> Self {
        Self {
            header_bytes_max: HEADER_BYTES_LEAST,
            headers_max: 64,
            body_bytes_max: 0,
            admission_time: Duration::from_secs(5),
            header_time: Duration::from_secs(10),
            body_time: Duration::from_secs(10),
            answer_time: Duration::from_secs(10),
            stall_time: Duration::from_secs(10),
            connection_time: Duration::from_secs(300),
            connections_max: 16,
            admissions_per_address: 16,
        }
    }
}

/// Answers the requests of one connection.
pub trait Handler: Send + Sync + 'static {
    /// Answers one request, whose body is whole.
    fn answer(&self, request: Request<Bytes>) -> impl Future<Output = Response<Body>> + Send;

    /// What a client hears whose request never came to be answered.
    fn refused(&self, _head: &Parts, why: Refused) -> Response<Body> {
        text(why.status(), why.words())
    }
}

/// Why a request is not answered by its handler.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refused {
    /// The body is longer than [`Limits::body_bytes_max`].
    TooLong,
    /// The body broke off.
    Broken,
    /// The body did not come within [`Limits::body_time`].
    Slow,
    /// The handler did not answer within [`Limits::answer_time`].
    NoAnswer,
}

impl Refused {
    /// The status that says so.
    pub const fn status(self) -> StatusCode {
        match self {
            Self::TooLong => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Broken => StatusCode::BAD_REQUEST,
            Self::Slow => StatusCode::REQUEST_TIMEOUT,
            Self::NoAnswer => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    /// In a few words.
    pub const fn words(self) -> &'static str {
        match self {
            Self::TooLong => "the request's body is too long\n",
            Self::Broken => "the request's body broke off\n",
            Self::Slow => "the request's body did not come in time\n",
            Self::NoAnswer => "no answer in time\n",
        }
    }
}

/// Decides who is at the other end of a connection, before its first request.
pub trait Admission: Send + Sync + 'static {
    /// What requests and answers go over.
    type Stream: AsyncRead + AsyncWrite + Unpin + Send + 'static;
    /// What answers this client.
    type Handler: Handler;

    /// Lets the client in, or says why not. Bounded by [`Limits::admission_time`].
    fn admit(
        &self,
        stream: TcpStream,
        from: SocketAddr,
    ) -> impl Future<Output = io::Result<(Self::Stream, Self::Handler)>> + Send;
}

/// Lets everybody in who reaches the socket, in the clear.
#[derive(Debug)]
pub struct Everybody<H>(pub Arc<H>);

impl<H: Handler> Handler for Arc<H> {
    async fn answer(&self, request: Request<Bytes>) -> Response<Body> {
        self.as_ref().answer(request).await
    }
}

impl<H: Handler> Admission for Everybody<H> {
    type Stream = TcpStream;
    type Handler = Arc<H>;

    async fn admit(&self, stream: TcpStream, _: SocketAddr) -> io::Result<(TcpStream, Arc<H>)> {
        Ok((stream, self.0.clone()))
    }
}

/// A server at work. It ends when this is dropped, and its connections with it.
#[derive(Debug)]
pub struct Serving {
    at: SocketAddr,
    task: JoinHandle<()>,
}

impl Serving {
    /// Begins to serve. Call it inside a Tokio runtime.
    ///
    /// # Errors
    /// The listener does not know where it is.
    pub fn begin<A: Admission>(listener: TcpListener, admission: Arc<A>, limits: Limits) -> io::Result<Self> {
        let at = listener.local_addr()?;
        Ok(Self { at, task: tokio::spawn(serve(listener, admission, limits)) })
    }

    /// Where it listens.
    pub const fn at(&self) -> SocketAddr {
        self.at
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Serves clients until the future is dropped; then their connections end at once.
pub async fn serve<A: Admission>(listener: TcpListener, admission: Arc<A>, limits: Limits) {
    let places = Arc::new(Semaphore::new(limits.connections_max));
    let waiting = Waiting::default();
    let mut clients = JoinSet::new();
    loop {
        let Ok(place) = places.clone().acquire_owned().await else { return };
        while clients.try_join_next().is_some() {}
        match listener.accept().await {
            Ok((stream, from)) => {
                let Some(waits) = waiting.enter(from.ip(), limits.admissions_per_address) else {
                    tracing::debug!("http: a client was not admitted: too many wait from its address");
                    continue;
                };
                let admission = admission.clone();
                clients.spawn(async move {
                    // Small answers leave at once.
                    let _ = stream.set_nodelay(true);
                    let admitted = timeout(limits.admission_time, admission.admit(stream, from)).await;
                    drop(waits);
                    match admitted {
                        Ok(Ok((stream, handler))) => serve_stream(stream, &handler, limits).await,
                        Ok(Err(error)) => tracing::debug!("http: a client was not admitted: {error}"),
                        Err(_) => tracing::debug!("http: a client was not admitted in time"),
                    }
                    drop(place);
                });
            }
            Err(error) => {
                // Out of descriptors, most likely: others may finish.
                tracing::warn!("http: cannot accept: {error}");
                sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

/// Serves one client until it, or a limit, ends the connection.
pub async fn serve_stream<S, H>(stream: S, handler: &H, limits: Limits)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    H: Handler,
{
    let answer = service_fn(move |request| async move { Ok::<_, Infallible>(answer(handler, request, limits).await) });
    let stream = TokioIo::new(Patient::new(stream, limits.stall_time));
    let mut connection = std::pin::pin!(
        http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(limits.header_time)
            .max_buf_size(limits.header_bytes_max.max(HEADER_BYTES_LEAST))
            .max_headers(limits.headers_max)
            .half_close(false)
            .serve_connection(stream, answer)
    );
    let over = tokio::select! {
        ended = &mut connection => ended,
        () = sleep(limits.connection_time) => {
            connection.as_mut().graceful_shutdown();
            // What is on its way is finished: the handler's time and the stalls bound it.
            connection.await
        }
    };
    if let Err(error) = over {
        tracing::debug!("http: a connection broke: {error}");
    }
}

async fn answer<H: Handler>(handler: &H, request: Request<Incoming>, limits: Limits) -> Response<Body> {
    let (head, body) = request.into_parts();
    let until = Instant::now() + limits.answer_time;
    let whole = timeout(limits.body_time.min(limits.answer_time), Limited::new(body, limits.body_bytes_max).collect());
    // The rest of a body is not waited for.
    let refused = |head: &Parts, why| closing(handler.refused(head, why));
    let body = match whole.await {
        Ok(Ok(body)) => body.to_bytes(),
        Ok(Err(error)) if error.is::<LengthLimitError>() => return refused(&head, Refused::TooLong),
        Ok(Err(_)) => return refused(&head, Refused::Broken),
        Err(_) => return refused(&head, Refused::Slow),
    };
    let kept = head.clone();
    match timeout_at(until, handler.answer(Request::from_parts(head, body))).await {
        Ok(response) => response,
        Err(_) => refused(&kept, Refused::NoAnswer),
    }
}

fn closing(mut response: Response<Body>) -> Response<Body> {
    response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    response
}

/// An answer of plain text.
pub fn text(status: StatusCode, words: impl Into<Bytes>) -> Response<Body> {
    reply(status, "text/plain; charset=utf-8", words)
}

/// An answer of a media type.
pub fn reply(status: StatusCode, media: &'static str, bytes: impl Into<Bytes>) -> Response<Body> {
    let mut response = Response::new(Body::from(bytes.into()));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(media));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}
