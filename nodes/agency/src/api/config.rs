use std::net::SocketAddr;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// Most requests of one key in a minute that may be configured.
const PER_MINUTE_MAX: u32 = 60_000;
/// Requests of one key at once, and connections, that may be configured.
const AT_ONCE_MAX: usize = 1_024;

/// `[api]` of node.toml: the door for the agency's own programs. Without it there is none.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct ApiConfig {
    /// TCP address to listen on; anything but loopback needs `certificate` and `key`.
    pub listen: SocketAddr,
    /// The agency's certificate chain for its own programs (PEM, leaf first), relative to the node's folder: then TLS 1.3 is
    /// spoken. It is read again when the file changes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate: Option<PathBuf>,
    /// The private key of that certificate (PEM, plain or under the passphrase of the node's keys).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<PathBuf>,
    /// Requests of one key in a minute, 1 to 60,000; a tenth of it may come at once.
    #[serde(default = "per_minute")]
    pub requests_per_minute: u32,
    /// Requests of one key under way at once, 1 to 1,024.
    #[serde(default = "at_once")]
    pub requests_at_once: usize,
    /// Connections of all programs together, 1 to 1,024.
    #[serde(default = "connections")]
    pub connections: usize,
}

fn per_minute() -> u32 {
    600
}

fn at_once() -> usize {
    16
}

fn connections() -> usize {
    64
}

/// What is wrong with `[api]`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ApiConfigError {
    /// Others can reach the address, and nothing is encrypted.
    #[error("'listen' of [api] is {0}, which others can reach: keys and answers would go in the clear")]
    Clear(SocketAddr),
    /// One without the other.
    #[error("'certificate' and 'key' of [api] belong together")]
    Half,
    /// A number out of bounds.
    #[error("'{0}' of [api] is out of bounds")]
    Bounds(&'static str),
}

impl ApiConfigError {
    /// The key that is wrong.
    pub const fn key(&self) -> &'static str {
        match self {
            Self::Clear(_) => "listen",
            Self::Half => "certificate",
            Self::Bounds(key) => key,
        }
    }

    /// What to do.
    pub fn mend(&self) -> &'static str {
        match self {
            Self::Clear(_) => {
                "write 127.0.0.1 or [::1], or give 'certificate' and 'key' that the agency's own programs trust"
            }
            Self::Half => "write both, or neither",
            Self::Bounds(key) if key.ends_with("minute") => "write 1 to 60000",
            Self::Bounds(_) => "write 1 to 1024",
        }
    }
}

impl ApiConfig {
    /// On loopback, in the clear, within the ordinary limits.
    pub fn local(listen: SocketAddr) -> Self {
        let (requests_per_minute, requests_at_once, connections) = (per_minute(), at_once(), connections());
        Self { listen, certificate: None, key: None, requests_per_minute, requests_at_once, connections }
    }

    /// Whether it may be used.
    ///
    /// # Errors
    /// [`ApiConfigError`].
    pub fn check(&self) -> Result<(), ApiConfigError> {
        if self.certificate.is_some() != self.key.is_some() {
            return Err(ApiConfigError::Half);
        }
        if !self.listen.ip().is_loopback() && self.certificate.is_none() {
            return Err(ApiConfigError::Clear(self.listen));
        }
        if !(1..=PER_MINUTE_MAX).contains(&self.requests_per_minute) {
            return Err(ApiConfigError::Bounds("requests_per_minute"));
        }
        let counted = [("requests_at_once", self.requests_at_once), ("connections", self.connections)];
        match counted.into_iter().find(|(_, n)| !(1..=AT_ONCE_MAX).contains(n)) {
            Some((key, _)) => Err(ApiConfigError::Bounds(key)),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::config::NodeConfig;

    fn parse(api: &str) -> Result<NodeConfig, crate::config::ConfigError> {
        let head = "node = \"puente://mx/fge-bc/n1\"\nlisten = \"127.0.0.1:7400\"\n[api]\n";
        NodeConfig::parse("node.toml", &format!("{head}{api}"))
    }

    #[test]
    fn the_api_is_shut_unless_set_and_never_in_the_clear_beyond_this_machine() {
        let plain = NodeConfig::parse("node.toml", "node = \"puente://mx/fge-bc/n1\"\nlisten = \"127.0.0.1:1\"\n");
        assert_eq!(plain.unwrap().api, None);
        for local in ["127.0.0.1:7480", "[::1]:7480"] {
            assert!(parse(&format!("listen = \"{local}\"\n")).is_ok(), "{local}");
        }
        for remote in ["0.0.0.0:7480", "[::]:1", "192.0.2.1:7480", "[::ffff:127.0.0.1]:1"] {
            let error = parse(&format!("listen = \"{remote}\"\n")).unwrap_err();
            assert!(error.message.contains(remote) && error.mend.contains("certificate"), "{error:?}");
            assert_eq!(error.at, Some((4, 1)), "{error:?}");
            let papers = "certificate = \"api.pem\"\nkey = \"keys/api.key.pem\"\n";
            assert!(parse(&format!("listen = \"{remote}\"\n{papers}")).is_ok());
            assert!(parse(&format!("listen = \"{remote}\"\ncertificate = \"api.pem\"\n")).is_err());
        }
    }

    #[test]
    fn numbers_have_bounds_and_unknown_keys_are_named() {
        let with = |line: &str| parse(&format!("listen = \"127.0.0.1:1\"\n{line}\n"));
        for good in
            ["requests_per_minute = 1", "requests_per_minute = 60000", "requests_at_once = 1024", "connections = 1"]
        {
            assert!(with(good).is_ok(), "{good}");
        }
        for bad in
            ["requests_per_minute = 0", "requests_per_minute = 60001", "requests_at_once = 0", "connections = 1025"]
        {
            assert_eq!(with(bad).unwrap_err().at, Some((5, 1)), "{bad}");
        }
        assert!(with("conections = 3").unwrap_err().mend.contains("'connections'"));
    }
}
