//! The door: `/livez`, `/readyz` and `/metrics` over HTTP, open before the node is up.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use hyper::body::Bytes;
use puente_catalogue::Lang;
use serde_json::json;
use tokio::net::TcpListener;
use tokio::time::timeout;

use super::check::{Check, State, w};
use crate::http::{self, Body, Everybody, Handler, Limits, Method, Request, Response, Serving, StatusCode};
use crate::node::Node;

/// How long the engine may take to turn before it counts as dead.
const LIVE: Duration = Duration::from_secs(5);

/// Why there is no door.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {at} (TCP, [ops] of node.toml): {why}")]
pub struct DoorError {
    /// Where.
    pub at: SocketAddr,
    /// Why.
    pub why: io::Error,
}

/// The open door. It closes when this is dropped.
#[derive(Debug)]
pub struct Door {
    node: Arc<OnceLock<Arc<Node>>>,
    serving: Serving,
}

impl Door {
    /// Opens it: until [`Door::show`] the node is starting. Call it inside a Tokio runtime.
    ///
    /// # Errors
    /// The address cannot be listened on.
    pub fn open(at: SocketAddr) -> Result<Self, DoorError> {
        let failed = |why| DoorError { at, why };
        let listen = || {
            let socket = std::net::TcpListener::bind(at)?;
            socket.set_nonblocking(true)?;
            TcpListener::from_std(socket)
        };
        let listener = listen().map_err(failed)?;
        let node = Arc::new(OnceLock::new());
        let guard = Guard { node: node.clone() };
        let guard = Arc::new(Everybody(Arc::new(guard)));
        let serving = Serving::begin(listener, guard, Limits::default()).map_err(failed)?;
        Ok(Self { node, serving })
    }

    /// Where it is.
    pub const fn at(&self) -> SocketAddr {
        self.serving.at()
    }

    /// From now on it tells how this node does.
    pub fn show(&self, node: Arc<Node>) {
        // There is one node.
        let _ = self.node.set(node);
    }
}

struct Guard {
    node: Arc<OnceLock<Arc<Node>>>,
}

impl Handler for Guard {
    async fn answer(&self, request: Request<Bytes>) -> Response<Body> {
        if request.method() != Method::GET && request.method() != Method::HEAD {
            return http::text(StatusCode::METHOD_NOT_ALLOWED, "GET or HEAD\n");
        }
        let lang = match request.uri().query() {
            Some("lang=es") => Lang::Es,
            _ => Lang::En,
        };
        let node = self.node.get();
        match request.uri().path() {
            "/livez" => live(node).await,
            "/readyz" => ready(node, lang).await,
            "/metrics" => match node {
                Some(node) => metrics(node).await,
                None => http::text(StatusCode::SERVICE_UNAVAILABLE, "starting\n"),
            },
            _ => http::text(StatusCode::NOT_FOUND, "/livez, /readyz and /metrics are here\n"),
        }
    }
}

/// A node that starts may take its time: replaying a journal is no reason to be restarted.
async fn live(node: Option<&Arc<Node>>) -> Response<Body> {
    let alive = match node {
        None => true,
        Some(node) => timeout(LIVE, node.turns()).await.unwrap_or(false),
    };
    let (status, word) =
        if alive { (StatusCode::OK, "live") } else { (StatusCode::SERVICE_UNAVAILABLE, "the engine does not turn") };
    json_reply(status, &json!({"live": alive, "why": word}))
}

async fn ready(node: Option<&Arc<Node>>, lang: Lang) -> Response<Body> {
    let checks = match node {
        Some(node) => node.checks().await,
        None => Arc::new(vec![Check::not(
            State::Fail,
            "start",
            "starting",
            w("the node is starting"),
            "",
            w("wait; its log says how far it is"),
        )]),
    };
    let ready = is_ready(&checks);
    let cause = checks.iter().find(|check| check.state >= State::Unknown).map(|check| check.name);
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let checks: Vec<_> = checks.iter().map(|check| check.to_json(lang)).collect();
    json_reply(status, &json!({"ready": ready, "root_cause": cause, "checks": checks}))
}

/// Ready: nothing is broken, and nothing is unknown.
pub(crate) fn is_ready(checks: &[Check]) -> bool {
    checks.iter().all(|check| check.state < State::Unknown)
}

async fn metrics(node: &Arc<Node>) -> Response<Body> {
    let text = node.metrics().await;
    http::reply(StatusCode::OK, "application/openmetrics-text; version=1.0.0; charset=utf-8", text)
}

fn json_reply(status: StatusCode, value: &serde_json::Value) -> Response<Body> {
    http::reply(status, "application/json", format!("{value}\n"))
}
