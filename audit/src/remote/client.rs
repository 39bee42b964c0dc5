//! One door: requests with bounds on what an answer may be and take, and another attempt where the line failed.

use std::error::Error as _;
use std::io::Read as _;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use puente_model::NodeUri;
use ureq::Agent;
use ureq::http::{HeaderMap, StatusCode};
use ureq::unversioned::resolver::DefaultResolver;
use ureq::unversioned::transport::{Connector as _, TcpConnector};

use super::copy::CopyLimits;
use super::error::RemoteError;
use super::tls::{Credentials, NodeTls, Peer};
use super::trust::Trust;

/// Bytes of the headers of an answer.
const HEADER_BYTES_MAX: usize = 16 << 10;
/// The longest pause that a node may ask for.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(30);
/// How many bytes of the sidecar belong to a checkpoint.
pub(super) const ASIDES_HEADER: &str = "puente-asides";

/// An answer.
pub(super) struct Got {
    pub(super) bytes: Vec<u8>,
    pub(super) asides: Option<u64>,
}

/// What became of one attempt.
enum Failed {
    /// The line, or a node that is busy: to be tried again, after a pause if the node named one.
    Passing(String, Option<Duration>),
    /// Trying again changes nothing.
    Final(RemoteError),
}

pub(super) struct Client {
    agent: Agent,
    base: String,
    peer: Arc<Peer>,
    limits: CopyLimits,
}

impl Client {
    pub(super) fn new(
        url: &str,
        trust: Trust,
        credentials: &Credentials,
        limits: CopyLimits,
    ) -> Result<Self, RemoteError> {
        let not_a_door = || RemoteError::Url(url.chars().take(200).collect());
        let base = if url.ends_with('/') { url.to_owned() } else { format!("{url}/") };
        let uri: ureq::http::Uri = base.parse().map_err(|_| not_a_door())?;
        let plain = uri.path() == "/" && uri.query().is_none() && !base.contains('@');
        if uri.scheme_str() != Some("https") || uri.host().is_none_or(str::is_empty) || !plain {
            return Err(not_a_door());
        }
        let peer = Arc::new(Peer::new(trust));
        let tls = NodeTls::new(peer.clone(), credentials).map_err(|e| RemoteError::NotAdmitted(e.to_string()))?;
        let config = Agent::config_builder()
            .https_only(true)
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .proxy(None)
            .user_agent(concat!("puente-audit/", env!("CARGO_PKG_VERSION")))
            .max_response_header_size(HEADER_BYTES_MAX)
            .max_idle_connections_per_host(limits.connections)
            .timeout_resolve(Some(limits.patience))
            .timeout_connect(Some(limits.patience))
            .timeout_send_request(Some(limits.patience))
            .timeout_recv_response(Some(limits.patience))
            .timeout_global(Some(limits.patience))
            .build();
        let connector = ().chain(TcpConnector::default()).chain(tls);
        let agent = Agent::with_parts(config, connector, DefaultResolver::default());
        Ok(Self { agent, base, peer, limits })
    }

    /// Who answered.
    pub(super) fn peer_node(&self) -> Option<&NodeUri> {
        self.peer.node.get()
    }

    /// One file of at most `max` bytes, or exactly the range of it.
    pub(super) fn fetch(&self, path: &str, max: u64, range: Option<Range<u64>>) -> Result<Got, RemoteError> {
        let mut pause = self.limits.pause;
        let mut attempt = 1;
        loop {
            match self.once(path, max, range.clone()) {
                Ok(got) => return Ok(got),
                Err(Failed::Final(error)) => return Err(error),
                Err(Failed::Passing(why, _)) if attempt >= self.limits.attempts => {
                    return Err(RemoteError::Line { path: path.to_owned(), attempts: attempt, why });
                }
                Err(Failed::Passing(_, asked)) => {
                    std::thread::sleep(asked.map_or(pause, |asked| asked.clamp(pause, RETRY_AFTER_MAX)));
                    pause = (2 * pause).min(RETRY_AFTER_MAX);
                    attempt += 1;
                }
            }
        }
    }

    fn once(&self, path: &str, max: u64, range: Option<Range<u64>>) -> Result<Got, Failed> {
        let odd = |why: String| Failed::Final(RemoteError::Protocol { path: path.to_owned(), why });
        let mut request = self.agent.get(format!("{}{path}", self.base));
        if let Some(range) = &range {
            request = request.header("range", format!("bytes={}-{}", range.start, range.end.saturating_sub(1)));
        }
        let mut response = request.call().map_err(|error| self.failed(path, &error))?;
        let status = response.status();
        match status {
            StatusCode::OK if range.is_none() => {}
            StatusCode::PARTIAL_CONTENT if range.is_some() => {}
            StatusCode::FORBIDDEN => {
                return Err(Failed::Final(RemoteError::NotAdmitted("it says: no longer".to_owned())));
            }
            StatusCode::NOT_FOUND => return Err(Failed::Final(RemoteError::Missing(path.to_owned()))),
            StatusCode::TOO_MANY_REQUESTS => {
                return Err(Failed::Passing("the node is busy".to_owned(), retry_after(response.headers())));
            }
            status if status.is_server_error() => {
                let why = format!("the node answers {}", status.as_u16());
                return Err(Failed::Passing(why, retry_after(response.headers())));
            }
            status => return Err(odd(format!("status {}", status.as_u16()))),
        }
        let headers = response.headers();
        let length = number(headers, "content-length").ok_or_else(|| odd("no length".to_owned()))?;
        let asides = number(headers, ASIDES_HEADER);
        let (expected, bounds) = match &range {
            Some(range) => (Some(range.end - range.start), format!("bytes {}-{}/", range.start, range.end - 1)),
            None => (None, String::new()),
        };
        let named = headers.get("content-range").and_then(|value| value.to_str().ok()).unwrap_or_default();
        if length > max || expected.is_some_and(|expected| expected != length) || !named.starts_with(&bounds) {
            return Err(odd(format!("{length} bytes where at most {max} belong")));
        }
        let mut bytes = Vec::with_capacity(usize::try_from(length).unwrap_or(0));
        let body = response.body_mut().with_config().limit(max.saturating_add(1));
        // A connection that ends early, or drips, is the line's fault until it was tried again.
        let read = body.reader().take(max.saturating_add(1)).read_to_end(&mut bytes);
        read.map_err(|error| Failed::Passing(error.to_string(), None))?;
        if bytes.len() as u64 != length {
            return Err(Failed::Passing(format!("{} of {length} bytes came", bytes.len()), None));
        }
        Ok(Got { bytes, asides })
    }

    fn failed(&self, path: &str, error: &ureq::Error) -> Failed {
        if let Some(why) = self.peer.take_refusal() {
            return Failed::Final(RemoteError::NoNode(why));
        }
        let tls = match error {
            ureq::Error::Io(error) => error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()),
            _ => None,
        };
        match (tls, error) {
            (Some(rustls::Error::AlertReceived(alert)), _) => {
                Failed::Final(RemoteError::NotAdmitted(format!("{alert:?}")))
            }
            (Some(error), _) => {
                Failed::Final(RemoteError::Protocol { path: path.to_owned(), why: format!("TLS: {error}") })
            }
            (
                None,
                ureq::Error::Protocol(_) | ureq::Error::LargeResponseHeader(..) | ureq::Error::BodyExceedsLimit(_),
            ) => Failed::Final(RemoteError::Protocol { path: path.to_owned(), why: error.to_string() }),
            (None, error) => {
                let cause = error.source().map(|cause| format!(" ({cause})")).unwrap_or_default();
                Failed::Passing(format!("{error}{cause}"), None)
            }
        }
    }
}

fn number(headers: &HeaderMap, name: &str) -> Option<u64> {
    headers.get(name)?.to_str().ok()?.parse().ok()
}

fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    number(headers, "retry-after").map(|seconds| Duration::from_secs(seconds.min(RETRY_AFTER_MAX.as_secs())))
}
