//! The auditors' door: this node's log over HTTPS, for auditors whom the charter in force names.
//!
//! ```text
//! TCP ─▶ TLS 1.3, the auditor's certificate ─▶ request ─▶ still an auditor? ─▶ LOG_READ durable ─▶ a file of the view
//! ```
//!
//! Promise: who is no auditor of the charter in force reads nothing, not even on a connection that stood before;
//! nobody reads anything beyond the published checkpoint; sealed headers go to the own nation's auditors
//! only; nothing is read before the log says so. Thief: whoever takes an auditor's certificate key reads
//! what that auditor may read, until the certificate ends or the charter drops the name, and every minute of it is in the log.

mod book;
mod bucket;
mod config;
mod resource;
mod shelf;
mod sidecar;
#[cfg(test)]
mod tests;
mod tls;
mod visit;

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use rustls::pki_types::UnixTime;
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::disk::NodeDisk;
use crate::driver::DriverHandle;
use crate::http::{self, Admission, Limits};
use crate::net::{Counters, Identity, Net, Trust};

pub use config::AuditConfig;
pub(crate) use sidecar::for_other_nations;

use book::{Book, Recorder};
use shelf::{Groups, Shelf};
use sidecar::Filtered;
use visit::Visit;

/// How often what was read is recorded, while something is.
const SETTLE_EVERY: Duration = Duration::from_secs(60);
/// Files of a charter that are listed.
const PARTS_MAX: usize = 20_000;
/// Bounds of one connection; connections of all auditors, and of strangers who are not admitted yet.
const LIMITS: Limits = Limits {
    header_bytes_max: 8_192,
    headers_max: 32,
    body_bytes_max: 0,
    admission_time: Duration::from_secs(5),
    header_time: Duration::from_secs(15),
    body_time: Duration::from_secs(10),
    answer_time: Duration::from_secs(30),
    stall_time: Duration::from_secs(30),
    connection_time: Duration::from_secs(600),
    connections_max: 128,
    admissions_per_address: 16,
};

/// Why the door could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum DoorError {
    /// The address cannot be listened on.
    #[error("cannot listen on {at} (TCP) for auditors: {why}; does another program use the port?")]
    Listen {
        /// Where.
        at: SocketAddr,
        /// Why.
        why: io::Error,
    },
    /// A build without what the protocol needs.
    #[error("TLS 1.3 is not available: {0}")]
    Tls(#[from] rustls::Error),
}

/// What every visit needs.
struct Inner {
    trust: Arc<ArcSwap<Trust>>,
    disk: NodeDisk,
    charter: PathBuf,
    recorder: Box<dyn Recorder>,
    shelf: Shelf,
    book: Book,
    filtered: Mutex<Filtered>,
    /// Who was not let in, or is no longer, by class.
    refused: Arc<Counters>,
    started: Instant,
}

/// The open door. It closes when this is dropped.
pub struct Door {
    inner: Arc<Inner>,
    at: SocketAddr,
    tasks: [JoinHandle<()>; 2],
}

impl std::fmt::Debug for Door {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Door({})", self.at)
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

impl Door {
    /// Opens the door of a node. `charter` is the folder of the charter's files.
    ///
    /// # Errors
    /// The address cannot be listened on.
    pub async fn open(
        config: &AuditConfig,
        net: &Net,
        disk: NodeDisk,
        charter: PathBuf,
        driver: DriverHandle,
    ) -> Result<Self, DoorError> {
        let engine: (Box<dyn Recorder>, Box<dyn Groups>) = (Box::new(driver.clone()), Box::new(driver));
        Self::over(config, net.trust(), net.identity(), disk, charter, engine).await
    }

    async fn over(
        config: &AuditConfig,
        trust: Arc<ArcSwap<Trust>>,
        identity: Arc<Identity>,
        disk: NodeDisk,
        charter: PathBuf,
        (recorder, groups): (Box<dyn Recorder>, Box<dyn Groups>),
    ) -> Result<Self, DoorError> {
        let refused = Arc::new(Counters::default());
        let tls = tls::server(trust.clone(), identity, refused.clone())?;
        let why = |why| DoorError::Listen { at: config.listen, why };
        let listener = TcpListener::bind(config.listen).await.map_err(why)?;
        let at = listener.local_addr().map_err(why)?;
        let inner = Arc::new(Inner {
            trust,
            disk,
            charter,
            recorder,
            shelf: Shelf::new(groups),
            book: Book::new(config.clone()),
            filtered: Mutex::default(),
            refused,
            started: Instant::now(),
        });
        let porter = Arc::new(Porter { door: inner.clone(), tls: TlsAcceptor::from(Arc::new(tls)) });
        let settling = inner.clone();
        let tasks = [
            tokio::spawn(http::serve(listener, porter, LIMITS)),
            tokio::spawn(async move {
                loop {
                    tokio::time::sleep(SETTLE_EVERY).await;
                    settling.book.settle(settling.recorder.as_ref()).await;
                    settling.shelf.tidy().await;
                }
            }),
        ];
        tracing::info!(%at, "auditors may read the log");
        Ok(Self { inner, at, tasks })
    }

    /// Where it listens.
    pub const fn local_addr(&self) -> SocketAddr {
        self.at
    }

    /// Who read how much since the start, and who was not let in. Auditors' names are in the charter.
    pub fn status(&self) -> Value {
        let Inner { book, refused, .. } = &*self.inner;
        json!({"listen": self.at.to_string(), "auditors": book.status(), "refused": refused.all()})
    }

    /// Takes no more requests, and records what was read. Call it while the log still takes entries.
    pub async fn close(&self) {
        self.tasks.iter().for_each(JoinHandle::abort);
        self.inner.book.settle(self.inner.recorder.as_ref()).await;
    }
}

/// Finds out who is at the door.
struct Porter {
    door: Arc<Inner>,
    tls: TlsAcceptor,
}

impl Admission for Porter {
    type Stream = TlsStream<TcpStream>;
    type Handler = Visit;

    async fn admit(&self, stream: TcpStream, _: SocketAddr) -> io::Result<(Self::Stream, Visit)> {
        let stream = self.tls.accept(stream).await?;
        let chain = stream.get_ref().1.peer_certificates().unwrap_or_default().to_vec();
        let trust = self.door.trust.load();
        let (leaf, rest) = chain.split_first().ok_or(io::ErrorKind::PermissionDenied)?;
        let (auditor, _) = trust.verify_auditor(leaf, rest, UnixTime::now()).map_err(io::Error::other)?;
        let own = auditor.jurisdiction() == trust.own().jurisdiction();
        let reader = self.door.book.reader(&auditor);
        let max = self.door.book.limits().connections_per_auditor;
        let seat = reader.sit(max).ok_or_else(|| io::Error::other("the auditor holds too many connections"))?;
        Ok((stream, Visit { door: self.door.clone(), chain, reader, own, _seat: seat }))
    }
}
