use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

/// The longest drain, in seconds.
pub const DRAIN_SECONDS_MAX: u64 = 30;

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
}

impl Default for OpsConfig {
    fn default() -> Self {
        Self { listen: None, allow_remote: false, drain_seconds: 10 }
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
}

impl OpsConfigError {
    /// The key that is wrong.
    pub const fn key(&self) -> &'static str {
        match self {
            Self::Remote(_) => "listen",
            Self::Drain(_) => "drain_seconds",
        }
    }

    /// What to do.
    pub const fn mend(&self) -> &'static str {
        match self {
            Self::Remote(_) => {
                "write 127.0.0.1 or [::1], or say allow_remote = true and let a firewall decide who reaches it"
            }
            Self::Drain(_) => "write at most 30",
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
        Ok(())
    }
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
    fn a_drain_is_bounded_and_unknown_keys_are_named() {
        assert_eq!(parse("drain_seconds = 30\n").unwrap().ops.drain_seconds, 30);
        assert_eq!(parse("drain_seconds = 31\n").unwrap_err().at, Some((4, 1)));
        let error = parse("drain_second = 3\n").unwrap_err();
        assert!(error.mend.contains("'drain_seconds'"), "{error:?}");
    }
}
