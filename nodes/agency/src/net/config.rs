use serde::{Deserialize, Serialize};

/// `[network]` of node.toml: how peers are met.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct NetworkConfig {
    /// Where UDP is blocked, speak over TCP: listen on the port of `listen` there too, and dial.
    pub tcp: bool,
}

impl Default for NetworkConfig {
    fn default() -> Self {
        Self { tcp: true }
    }
}

impl NetworkConfig {
    /// Nothing is set otherwise than usual.
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }
}
