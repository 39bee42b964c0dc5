use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

/// The least that an auditor gets: the largest file of a log then takes 17 s.
const BYTES_PER_SECOND_MIN: u64 = 1 << 20;
/// Connections of one auditor, and requests at once, that may be configured.
const AT_ONCE_MAX: usize = 64;

fn bytes_per_second() -> u64 {
    16 << 20
}

fn connections_per_auditor() -> usize {
    8
}

fn requests_per_auditor() -> usize {
    8
}

/// `[audit]` in node.toml: the door for auditors. Without it there is none.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct AuditConfig {
    /// TCP address to listen on.
    pub listen: SocketAddr,
    /// Bytes per second for one auditor, on all its connections together; at least 1 MiB.
    #[serde(default = "bytes_per_second")]
    pub bytes_per_second: u64,
    /// Connections that one auditor may hold, 1 to 64.
    #[serde(default = "connections_per_auditor")]
    pub connections_per_auditor: usize,
    /// Answers on their way to one auditor, 1 to 64.
    #[serde(default = "requests_per_auditor")]
    pub requests_per_auditor: usize,
}

impl AuditConfig {
    /// The key whose value is out of bounds, and its bounds.
    pub fn out_of_bounds(&self) -> Option<(&'static str, &'static str)> {
        let counted = |n: usize| (1..=AT_ONCE_MAX).contains(&n);
        if self.bytes_per_second < BYTES_PER_SECOND_MIN {
            return Some(("bytes_per_second", "at least 1048576"));
        }
        if !counted(self.connections_per_auditor) {
            return Some(("connections_per_auditor", "1 to 64"));
        }
        (!counted(self.requests_per_auditor)).then_some(("requests_per_auditor", "1 to 64"))
    }
}
