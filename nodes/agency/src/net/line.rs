//! One TLS stream over TCP as a socket of QUIC: the same connections, streams and limits where UDP is blocked.
//!
//! ```text
//! quinn::Endpoint ⇄ Line ⇄ two pumps ⇄ TLS 1.3 ⇄ TCP        on the stream: u16 length ‖ datagram, again and again
//! ```
//!
//! Promise: holds at most [`LEAVING_MAX`] bytes on their way out and [`ARRIVED_MAX`] datagrams on their way in, whatever the
//! peer sends or does not take; what is full slows the other side down and loses nothing.

use std::fmt;
use std::io::{self, IoSliceMut};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use puente_wire::{DatagramBuffer, encode_datagram};
use quinn::udp::{RecvMeta, Transmit};
use quinn::{AsyncUdpSocket, Endpoint, EndpointConfig, TokioRuntime, UdpPoller};
use rustls::AlertDescription;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::sync::{Notify, mpsc, watch};
use tokio::task::AbortHandle;
use tokio::time::timeout;

use super::reason::EndReason;

/// Bytes that wait to be written to the stream: beyond these QUIC has to wait.
const LEAVING_MAX: usize = 256 * 1024;
/// Datagrams that wait for QUIC: beyond these the stream is not read.
const ARRIVED_MAX: usize = 128;
/// How long QUIC's last words may take.
const FAREWELL: Duration = Duration::from_millis(500);
/// Bytes read from the stream at once: one TLS record.
const CHUNK: usize = 16 * 1024;
/// Datagrams that QUIC may hand over at once.
const SEGMENTS: usize = 16;

/// Why a line carries no more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Broken {
    /// The other side ended the stream.
    Ended,
    /// The other side's TLS refused this one's certificate; the alert of RFC 8446 §6.2.
    Alert(u8),
    /// A length that no datagram has.
    Malformed,
    /// TCP or TLS failed.
    Failed(String),
}

impl From<io::Error> for Broken {
    fn from(error: io::Error) -> Self {
        match error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
            Some(rustls::Error::AlertReceived(alert)) if *alert != AlertDescription::CloseNotify => {
                Self::Alert(u8::from(*alert))
            }
            _ if error.kind() == io::ErrorKind::UnexpectedEof => Self::Ended,
            _ => Self::Failed(error.to_string()),
        }
    }
}

impl From<Broken> for EndReason {
    fn from(broken: Broken) -> Self {
        match broken {
            Broken::Alert(alert) => Self::CertificateRefused { alert, text: "over TCP".to_owned() },
            Broken::Ended => Self::LineLost("the peer ended it".to_owned()),
            Broken::Malformed => Self::LineLost("a length that no datagram has".to_owned()),
            Broken::Failed(why) => Self::LineLost(why.chars().filter(|c| !c.is_control()).take(200).collect()),
        }
    }
}

#[derive(Default)]
struct Leaving {
    bytes: Vec<u8>,
    waiting: Vec<Waker>,
}

/// What QUIC takes for a socket; everything goes to and comes from one address.
struct Line {
    local: SocketAddr,
    remote: SocketAddr,
    arrived: Mutex<mpsc::Receiver<Vec<u8>>>,
    leaving: Mutex<Leaving>,
    /// Something is to be written.
    written: Notify,
    broken: watch::Sender<Option<Broken>>,
}

impl fmt::Debug for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Line({})", self.remote)
    }
}

impl Line {
    fn leaving(&self) -> MutexGuard<'_, Leaving> {
        self.leaving.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn breaks(&self, why: Broken) {
        self.broken.send_if_modified(|broken| {
            let first = broken.is_none();
            broken.get_or_insert(why);
            first
        });
        // Who waits for room learns that there is no use in waiting.
        self.leaving().waiting.drain(..).for_each(Waker::wake);
    }

    async fn write(&self, mut stream: impl AsyncWrite + Unpin) -> io::Result<()> {
        loop {
            let bytes = {
                let mut leaving = self.leaving();
                leaving.waiting.drain(..).for_each(Waker::wake);
                std::mem::take(&mut leaving.bytes)
            };
            if bytes.is_empty() {
                self.written.notified().await;
                continue;
            }
            stream.write_all(&bytes).await?;
            stream.flush().await?;
        }
    }
}

/// Reads until the stream ends, one way or another.
async fn read(mut stream: impl AsyncRead + Unpin, arrived: mpsc::Sender<Vec<u8>>) -> Broken {
    let (mut buffer, mut chunk) = (DatagramBuffer::default(), vec![0; CHUNK]);
    loop {
        match stream.read(&mut chunk).await {
            Ok(0) => return Broken::Ended,
            Ok(read) => buffer.push(&chunk[..read]),
            Err(error) => return error.into(),
        }
        loop {
            match buffer.next_datagram() {
                Ok(Some(datagram)) => {
                    if arrived.send(datagram).await.is_err() {
                        return Broken::Ended;
                    }
                }
                Ok(None) => break,
                Err(_) => return Broken::Malformed,
            }
        }
    }
}

impl AsyncUdpSocket for Line {
    fn create_io_poller(self: Arc<Self>) -> Pin<Box<dyn UdpPoller>> {
        Box::pin(Room(self))
    }

    fn try_send(&self, transmit: &Transmit<'_>) -> io::Result<()> {
        let mut leaving = self.leaving();
        if self.broken.borrow().is_some() {
            // As UDP would: it is lost. Whoever minds hears of it from `Standing::broken`.
            return Ok(());
        }
        if leaving.bytes.len() >= LEAVING_MAX {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let segment = transmit.segment_size.unwrap_or(transmit.contents.len()).max(1);
        for datagram in transmit.contents.chunks(segment) {
            encode_datagram(datagram, &mut leaving.bytes).map_err(io::Error::other)?;
        }
        drop(leaving);
        self.written.notify_one();
        Ok(())
    }

    fn poll_recv(
        &self,
        cx: &mut Context<'_>,
        bufs: &mut [IoSliceMut<'_>],
        meta: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        let mut arrived = self.arrived.lock().unwrap_or_else(PoisonError::into_inner);
        let mut count = 0;
        for (buf, meta) in bufs.iter_mut().zip(meta) {
            // A broken line is silent: whoever minds hears of it from `Standing::broken`.
            let Poll::Ready(Some(datagram)) = arrived.poll_recv(cx) else { break };
            let Some(place) = buf.get_mut(..datagram.len()) else {
                // Cannot be: QUIC's buffers are as large as a datagram may be. Lost, then, as UDP would.
                cx.waker().wake_by_ref();
                break;
            };
            place.copy_from_slice(&datagram);
            *meta =
                RecvMeta { addr: self.remote, len: datagram.len(), stride: datagram.len(), ecn: None, dst_ip: None };
            count += 1;
        }
        if count == 0 { Poll::Pending } else { Poll::Ready(Ok(count)) }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.local)
    }

    fn max_transmit_segments(&self) -> usize {
        SEGMENTS
    }

    fn may_fragment(&self) -> bool {
        // There is no path whose largest packet could be found out.
        true
    }
}

/// Waits for room on the line.
#[derive(Debug)]
struct Room(Arc<Line>);

impl UdpPoller for Room {
    fn poll_writable(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut leaving = self.0.leaving();
        if leaving.bytes.len() < LEAVING_MAX || self.0.broken.borrow().is_some() {
            return Poll::Ready(Ok(()));
        }
        if !leaving.waiting.iter().any(|waker| waker.will_wake(cx.waker())) {
            leaving.waiting.push(cx.waker().clone());
        }
        Poll::Pending
    }
}

/// A line with its QUIC endpoint. Dropped, the TCP connection ends at once.
pub(crate) struct Standing {
    endpoint: Endpoint,
    line: Arc<Line>,
    pumps: [AbortHandle; 2],
}

impl Drop for Standing {
    fn drop(&mut self) {
        self.end();
    }
}

impl Standing {
    /// QUIC over `stream`, which connects `local` and `remote`; with `server` it may be dialled. Call it inside a Tokio
    /// runtime.
    pub(crate) fn over(
        stream: impl AsyncRead + AsyncWrite + Send + 'static,
        (local, remote): (SocketAddr, SocketAddr),
        server: Option<quinn::ServerConfig>,
    ) -> io::Result<Self> {
        let (arriving, arrived) = mpsc::channel(ARRIVED_MAX);
        let line = Arc::new(Line {
            local,
            remote,
            arrived: Mutex::new(arrived),
            leaving: Mutex::default(),
            written: Notify::new(),
            broken: watch::Sender::new(None),
        });
        let (reading, writing) = tokio::io::split(stream);
        let (of_reader, of_writer) = (line.clone(), line.clone());
        let pumps = [
            tokio::spawn(async move { of_reader.breaks(read(reading, arriving).await) }).abort_handle(),
            tokio::spawn(async move {
                if let Err(error) = of_writer.write(writing).await {
                    of_writer.breaks(error.into());
                }
            })
            .abort_handle(),
        ];
        let config = EndpointConfig::default();
        match Endpoint::new_with_abstract_socket(config, server, line.clone(), Arc::new(TokioRuntime)) {
            Ok(endpoint) => Ok(Self { endpoint, line, pumps }),
            Err(error) => {
                pumps.iter().for_each(AbortHandle::abort);
                Err(error)
            }
        }
    }

    /// QUIC's end of the line.
    pub(crate) const fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// Ends the TCP connection once what QUIC says last has got through, or soon.
    pub(crate) async fn leave(&self) {
        if !self.line.broken.borrow().is_some() {
            // Whether it got through or not, the line ends.
            let _ = timeout(FAREWELL, self.endpoint.wait_idle()).await;
        }
        self.end();
    }

    /// Ends the TCP connection at once.
    fn end(&self) {
        self.line.breaks(Broken::Ended);
        self.pumps.iter().for_each(AbortHandle::abort);
    }

    /// Returns when the line carries no more.
    pub(crate) async fn broken(&self) -> Broken {
        let mut broken = self.line.broken.subscribe();
        let why = broken.wait_for(Option::is_some).await.map(|why| why.clone());
        why.ok().flatten().unwrap_or(Broken::Ended)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn transmit(contents: &[u8]) -> Transmit<'_> {
        Transmit {
            destination: ([127, 0, 0, 1], 1).into(),
            ecn: None,
            contents,
            segment_size: Some(1_000),
            src_ip: None,
        }
    }

    #[tokio::test]
    async fn what_nobody_takes_is_bounded_and_goes_on_when_somebody_does() {
        let (near, mut far) = tokio::io::duplex(1_024);
        let at = ([127, 0, 0, 1], 1).into();
        let standing = Standing::over(near, (at, at), None).unwrap();
        let contents = [5; 1_000 * SEGMENTS];
        let mut sent = 0;
        while standing.line.try_send(&transmit(&contents)).is_ok() {
            sent += contents.len() + 2 * SEGMENTS;
            assert!(sent <= 2 * (LEAVING_MAX + contents.len() + 1_024), "{sent}");
            tokio::task::yield_now().await;
        }
        assert!(standing.line.leaving().bytes.len() < LEAVING_MAX + contents.len() + 2 * SEGMENTS);
        let mut room = standing.line.clone().create_io_poller();
        let ready = std::future::poll_fn(|cx| room.as_mut().poll_writable(cx));
        let mut taken = vec![0; sent];
        let (ready, taken) = tokio::join!(ready, far.read_exact(&mut taken));
        assert!(ready.is_ok() && taken.is_ok());

        drop(far);
        assert_eq!(standing.broken().await, Broken::Ended);
        assert!(standing.line.try_send(&transmit(&contents)).is_ok(), "lost, as on UDP");
    }
}
