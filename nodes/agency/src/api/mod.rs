//! The API: the commands of the control socket over HTTP, for programs of the agency's own, such as case management.
//!
//! ```text
//! TCP (TLS unless loopback) ─▶ request ─▶ API key, its officer in force, its scope, its pace ─▶ one Command ─▶ Answer as JSON
//! ```
//!
//! Promise: a request does nothing that the command of the same name would not do, is checked by the same code, and is for one officer
//! whose grant is in force; a key opens nothing before its grant stands in the log, nor after it is revoked; what a retry asks
//! is asked once. Thief: whoever takes a key acts for its officer, within its scope and pace, until it ends or is revoked; every
//! question stands in the log with that officer's name.

mod bodies;
mod config;
pub mod keys;
mod once;
mod openapi;
mod problem;
mod put;
mod request;
mod ring;
mod route;
#[cfg(test)]
mod tests;
mod tls;
mod visit;

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use hyper::body::Bytes;
use puente_model::{Millis, Secret32};
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::config::NodeDir;
use crate::control::COMMAND_BYTES_MAX;
use crate::http::{Admission, Limits, Serving};
use crate::keys::Vault;
use crate::net::Counters;
use crate::node::Node;

pub use config::{ApiConfig, ApiConfigError};
pub(crate) use once::{Half, KNOWN_MAX, KNOWN_MILLIS, Once};
pub(crate) use ring::{Pace, Ring};

use tls::Papers;
use visit::Visit;

/// Bounds of one connection.
const LIMITS: Limits = Limits {
    header_bytes_max: 8_192,
    headers_max: 64,
    // What a command may be.
    body_bytes_max: COMMAND_BYTES_MAX,
    admission_time: Duration::from_secs(5),
    header_time: Duration::from_secs(15),
    body_time: Duration::from_secs(10),
    // Longer than the longest wait for an answer.
    answer_time: Duration::from_secs(75),
    stall_time: Duration::from_secs(15),
    connection_time: Duration::from_secs(600),
    connections_max: 64,
    admissions_per_address: 16,
};

/// Why the door could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    /// The address cannot be listened on.
    #[error("cannot listen on {at} (TCP, [api] of node.toml): {why}")]
    Listen {
        /// Where.
        at: SocketAddr,
        /// Why.
        why: io::Error,
    },
    /// Certificate or key.
    #[error("the API's certificate cannot be used: {0}")]
    Papers(io::Error),
    /// A build without what the protocol needs.
    #[error("TLS 1.3 is not available: {0}")]
    Tls(#[from] rustls::Error),
}

/// What a node keeps for its API, whether the door is open or not.
pub(crate) struct Desk {
    pub(crate) ring: Ring,
    pub(crate) once: Once,
    /// Requests that were refused, by class.
    pub(crate) refused: Arc<Counters>,
    at: OnceLock<SocketAddr>,
}

impl Desk {
    pub(crate) fn new(dir: NodeDir, store_key: &Secret32) -> Self {
        let (ring, once) = (Ring::new(dir), Once::new(store_key));
        Self { ring, once, refused: Arc::new(Counters::default()), at: OnceLock::new() }
    }

    /// Where the door is, how many keys are in force, what was refused; null while the door is shut.
    pub(crate) fn status(&self, now: Millis) -> Value {
        let Some(at) = self.at.get() else { return Value::Null };
        json!({"listen": at.to_string(), "keys": self.ring.open(now), "refused": self.refused.all()})
    }

    /// Where the door is, if it is open.
    pub(crate) fn at(&self) -> Option<SocketAddr> {
        self.at.get().copied()
    }
}

/// What every request needs.
struct Room {
    node: Arc<Node>,
    pace: Pace,
    /// The OpenAPI document, once it was asked for.
    description: Mutex<Option<Bytes>>,
}

/// The open door. It closes when this is dropped.
#[derive(Debug)]
pub struct Door(Serving);

impl Door {
    /// Opens the door of a running node.
    ///
    /// # Errors
    /// The address cannot be listened on, or the certificate cannot be used.
    pub async fn open(config: &ApiConfig, node: Arc<Node>, dir: &NodeDir, vault: Arc<Vault>) -> Result<Self, ApiError> {
        let papers = match (&config.certificate, &config.key) {
            (Some(certificate), Some(key)) => {
                let files = [dir.path().join(certificate), dir.path().join(key)];
                Some(Arc::new(Papers::open(files, vault).map_err(ApiError::Papers)?))
            }
            _ => None,
        };
        let why = |why| ApiError::Listen { at: config.listen, why };
        let listener = TcpListener::bind(config.listen).await.map_err(why)?;
        let pace = Pace { per_minute: config.requests_per_minute, at_once: config.requests_at_once };
        let visit = Visit(Arc::new(Room { node: node.clone(), pace, description: Mutex::default() }));
        let limits = Limits { connections_max: config.connections, ..LIMITS };
        let serving = match papers {
            None => Serving::begin(listener, Arc::new(Plain(visit)), limits),
            Some(papers) => {
                let tls = TlsAcceptor::from(Arc::new(tls::server(papers.clone())?));
                Serving::begin(listener, Arc::new(Encrypted { visit, papers, tls }), limits)
            }
        };
        let serving = serving.map_err(why)?;
        // There is one door.
        let _ = node.desk().at.set(serving.at());
        tracing::info!(at = %serving.at(), "the agency's own programs may ask");
        Ok(Self(serving))
    }

    /// Where it listens.
    pub const fn local_addr(&self) -> SocketAddr {
        self.0.at()
    }
}

/// Programs on this machine.
struct Plain(Visit);

impl Admission for Plain {
    type Stream = TcpStream;
    type Handler = Visit;

    async fn admit(&self, stream: TcpStream, _: SocketAddr) -> io::Result<(TcpStream, Visit)> {
        Ok((stream, self.0.clone()))
    }
}

/// Programs anywhere.
struct Encrypted {
    visit: Visit,
    papers: Arc<Papers>,
    tls: TlsAcceptor,
}

impl Admission for Encrypted {
    type Stream = TlsStream<TcpStream>;
    type Handler = Visit;

    async fn admit(&self, stream: TcpStream, _: SocketAddr) -> io::Result<(Self::Stream, Visit)> {
        self.papers.look();
        Ok((self.tls.accept(stream).await?, self.visit.clone()))
    }
}
