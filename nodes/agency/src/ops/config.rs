use std::net::{IpAddr, SocketAddr};

use serde::{Deserialize, Serialize};

/// The longest drain, in seconds.
pub const DRAIN_SECONDS_MAX: u64 = 30;

/// The longest address of a collector, in bytes.
const COLLECTOR_BYTES_MAX: usize = 200;
/// The rarest sample: one exchange in so many.
const TRACE_ONE_IN_MAX: u32 = 1_000_000;

/// `[ops]` of node.toml: what an operator looks at.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct OpsConfig {
    /// TCP address of `/livez`, `/readyz` and `/metrics`, in the clear; none: no door.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub listen: Option<SocketAddr>,
    /// Let `listen` be other than loopback: whoever reaches it sees how the node does.
    pub allow_remote: bool,
    /// When the node is told to stop, exchanges under way have this many seconds to end; 0 to 30.
    pub drain_seconds: u64,
    /// Where traces of exchanges go: the OTLP/HTTP address of an OpenTelemetry collector on this machine; none: no traces.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub traces: Option<String>,
    /// One exchange in so many is traced; 1 to 1,000,000.
    pub trace_one_in: u32,
}

impl Default for OpsConfig {
    fn default() -> Self {
        Self { listen: None, allow_remote: false, drain_seconds: 10, traces: None, trace_one_in: 1 }
    }
}

/// What is wrong with `[ops]`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OpsConfigError {
    /// The address is not this machine's own.
    #[error("'listen' of [ops] is {0}, which others can reach: metrics and health are for this machine")]
    Remote(SocketAddr),
    /// Too long a drain.
    #[error("'drain_seconds' of [ops] is {0}; the longest is {DRAIN_SECONDS_MAX}")]
    Drain(u64),
    /// Not the address of a collector on this machine.
    #[error("'traces' of [ops] is no address of a collector on this machine")]
    Collector,
    /// A sample of none, or rarer than makes sense.
    #[error("'trace_one_in' of [ops] is {0}; it is 1 to {TRACE_ONE_IN_MAX}")]
    Sample(u32),
}

impl OpsConfigError {
    /// The key that is wrong.
    pub const fn key(&self) -> &'static str {
        match self {
            Self::Remote(_) => "listen",
            Self::Drain(_) => "drain_seconds",
            Self::Collector => "traces",
            Self::Sample(_) => "trace_one_in",
        }
    }

    /// What to do.
    pub const fn mend(&self) -> &'static str {
        match self {
            Self::Remote(_) => {
                "write 127.0.0.1 or [::1], or say allow_remote = true and let a firewall decide who reaches it"
            }
            Self::Drain(_) => "write at most 30",
            Self::Collector => {
                "write traces = \"http://127.0.0.1:4318/v1/traces\"; a collector there can send them on over TLS"
            }
            Self::Sample(_) => "write 1 for every exchange, 100 for one in a hundred",
        }
    }
}

impl OpsConfig {
    /// Whether it may be used.
    ///
    /// # Errors
    /// [`OpsConfigError`].
    pub fn check(&self) -> Result<(), OpsConfigError> {
        if let Some(listen) = self.listen
            && !listen.ip().is_loopback()
            && !self.allow_remote
        {
            return Err(OpsConfigError::Remote(listen));
        }
        if self.drain_seconds > DRAIN_SECONDS_MAX {
            return Err(OpsConfigError::Drain(self.drain_seconds));
        }
        if self.traces.as_deref().is_some_and(|url| !is_local_collector(url)) {
            return Err(OpsConfigError::Collector);
        }
        if !(1..=TRACE_ONE_IN_MAX).contains(&self.trace_one_in) {
            return Err(OpsConfigError::Sample(self.trace_one_in));
        }
        Ok(())
    }
}

/// `http://`, a loopback address or `localhost`, a port, a path, and nothing else: traces leave this machine in the clear
/// for nobody.
fn is_local_collector(url: &str) -> bool {
    let Some((host, path)) = url.strip_prefix("http://").and_then(|rest| rest.split_once('/')) else { return false };
    let Some((name, port)) = host.rsplit_once(':') else { return false };
    let address = name.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    let local = name == "localhost" || address.is_ok_and(|ip| ip.is_loopback());
    let plain = path.bytes().all(|b| b.is_ascii_alphanumeric() || b"/-_.".contains(&b));
    local && plain && port.parse::<u16>().is_ok_and(|port| port > 0) && url.len() <= COLLECTOR_BYTES_MAX
}

#[cfg(test)]
mod tests {
    use crate::config::NodeConfig;

    fn parse(ops: &str) -> Result<NodeConfig, crate::config::ConfigError> {
        let head = "node = \"puente://mx/fge-bc/n1\"\nlisten = \"127.0.0.1:7400\"\n[ops]\n";
        NodeConfig::parse("node.toml", &format!("{head}{ops}"))
    }

    #[test]
    fn the_door_is_shut_unless_set_and_local_unless_allowed() {
        let plain = NodeConfig::parse("node.toml", "node = \"puente://mx/fge-bc/n1\"\nlisten = \"127.0.0.1:1\"\n");
        assert_eq!(plain.unwrap().ops.listen, None);
        for local in ["127.0.0.1:9464", "127.9.9.9:1", "[::1]:9464"] {
            assert!(parse(&format!("listen = \"{local}\"\n")).is_ok(), "{local}");
        }
        for remote in ["0.0.0.0:9464", "[::]:9464", "192.0.2.1:9464", "[::ffff:192.0.2.1]:1"] {
            let error = parse(&format!("listen = \"{remote}\"\n")).unwrap_err();
            assert!(error.message.contains(remote) && error.mend.contains("allow_remote"), "{error:?}");
            assert_eq!(error.at, Some((4, 1)), "{error:?}");
            assert!(parse(&format!("listen = \"{remote}\"\nallow_remote = true\n")).is_ok());
        }
    }

    #[test]
    fn traces_stay_on_this_machine() {
        for local in ["http://127.0.0.1:4318/v1/traces", "http://[::1]:1/", "http://localhost:4318/v1/traces"] {
            assert_eq!(parse(&format!("traces = \"{local}\"\n")).unwrap().ops.traces.as_deref(), Some(local));
        }
        for other in [
            "https://127.0.0.1:4318/v1/traces",
            "http://192.0.2.1:4318/v1/traces",
            "http://localhost.example:4318/v1/traces",
            "http://user@127.0.0.1:4318/",
            "http://127.0.0.1/v1/traces",
            "http://127.0.0.1:0/",
            "http://127.0.0.1:4318",
            "http://127.0.0.1:4318/?key=1",
            "",
        ] {
            let error = parse(&format!("traces = \"{other}\"\n")).unwrap_err();
            assert!(error.mend.contains("http://127.0.0.1:4318"), "{other}: {error:?}");
            assert_eq!(error.at, Some((4, 1)), "{error:?}");
        }
        assert!(parse(&format!("traces = \"http://127.0.0.1:1/{}\"\n", "x".repeat(200))).is_err());
        assert_eq!(parse("trace_one_in = 1000000\n").unwrap().ops.trace_one_in, 1_000_000);
        for wrong in [0, 1_000_001] {
            assert_eq!(parse(&format!("trace_one_in = {wrong}\n")).unwrap_err().at, Some((4, 1)));
        }
    }

    #[test]
    fn a_drain_is_bounded_and_unknown_keys_are_named() {
        assert_eq!(parse("drain_seconds = 30\n").unwrap().ops.drain_seconds, 30);
        assert_eq!(parse("drain_seconds = 31\n").unwrap_err().at, Some((4, 1)));
        let error = parse("drain_second = 3\n").unwrap_err();
        assert!(error.mend.contains("'drain_seconds'"), "{error:?}");
    }
}
