use puente_model::{Digest, Jurisdiction, NodeUri, Origin};
use serde::{Deserialize, Serialize};

use crate::Defect;
use crate::check::{distinct, range, slug, text};
use crate::common::check_number;
use crate::text::{maybe, one};
use crate::vkey::{self, Holder};

/// The members that one jurisdiction names, and changes alone.
///
/// Not yet verified: a value of this type proves nothing; [`Charter`](crate::Charter) does.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct AnnexPart {
    /// Name of the federation.
    pub federation: String,
    /// Whose annex it is.
    #[serde(with = "one")]
    pub jurisdiction: Jurisdiction,
    /// Version, counted from 1.
    pub number: u32,
    /// Hash of this jurisdiction's previous annex; absent in version 1.
    #[serde(default, with = "maybe", skip_serializing_if = "Option::is_none")]
    pub previous: Option<Digest>,
    /// Number of the common part whose governance keys sign this annex.
    pub common: u32,
    /// The nation's nodes.
    #[serde(default, rename = "member")]
    pub members: Vec<Member>,
}

/// A node of an agency.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Member {
    /// The node's name, as in its certificate.
    #[serde(with = "one")]
    pub uri: NodeUri,
    /// The agency's name in English.
    pub name_en: String,
    /// The agency's name in Spanish.
    pub name_es: String,
    /// Node classes, for example `state-prosecutor`; slugs.
    pub roles: Vec<String>,
    /// Where it answers, `host:port`; may be empty for a node that only calls.
    #[serde(default)]
    pub endpoints: Vec<String>,
    /// True while nobody may exchange with it.
    #[serde(default, skip_serializing_if = "is_false")]
    pub suspended: bool,
    /// Why it is suspended; present exactly then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub suspended_reason: Option<String>,
    /// Its logs, oldest first; never removed, only closed.
    #[serde(default, rename = "log")]
    pub logs: Vec<LogEntry>,
}

/// A log that a member wrote or writes.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct LogEntry {
    /// The log's name.
    #[serde(with = "one")]
    pub origin: Origin,
    /// Its C2SP verifier key; its name equals the origin.
    pub vkey: String,
    /// Entries beyond this size do not count; absent while the log is open.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub closed_at: Option<u64>,
    /// The head with which acquaintance begins; absent: the empty tree.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_head: Option<LogHead>,
}

/// Size and root of a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct LogHead {
    /// How many entries.
    pub size: u64,
    /// RFC 6962 root.
    #[serde(with = "one")]
    pub root: Digest,
}

fn is_false(value: &bool) -> bool {
    !value
}

impl AnnexPart {
    /// Checks everything that can be checked without the other parts.
    pub fn check(&self) -> Result<(), Defect> {
        slug("federation name", &self.federation)?;
        check_number(self.number, self.previous.is_some())?;
        range("common", self.common.into(), 1, u32::MAX.into())?;
        distinct("member", self.members.iter().map(|m| m.uri.as_str()))?;
        let logs = || self.members.iter().flat_map(|m| &m.logs);
        distinct("log", logs().map(|l| l.origin.as_str()))?;
        for member in &self.members {
            if member.uri.jurisdiction() != self.jurisdiction {
                let jurisdiction = self.jurisdiction.clone();
                return Err(Defect::OtherNation { name: member.uri.to_string(), jurisdiction });
            }
            member.check()?;
        }
        Ok(())
    }
}

impl Member {
    fn check(&self) -> Result<(), Defect> {
        text("name_en", &self.name_en)?;
        text("name_es", &self.name_es)?;
        if self.roles.is_empty() {
            return Err(Defect::Empty { of: self.uri.to_string(), what: "roles" });
        }
        distinct("role", self.roles.iter().map(String::as_str))?;
        for role in &self.roles {
            slug("role", role)?;
        }
        distinct("endpoint", self.endpoints.iter().map(String::as_str))?;
        if let Some(bad) = self.endpoints.iter().find(|e| !is_endpoint(e)) {
            return Err(Defect::Endpoint { found: bad.chars().take(80).collect() });
        }
        let member = self.uri.to_string();
        match &self.suspended_reason {
            Some(reason) if self.suspended => text("suspended_reason", reason)?,
            None if !self.suspended => {}
            _ => return Err(Defect::Suspension { member }),
        }
        for log in &self.logs {
            if log.origin.node() != self.uri {
                return Err(Defect::OtherNodesLog { origin: log.origin.to_string(), member });
            }
            vkey::check(&log.vkey, log.origin.as_str(), Holder::Log)
                .map_err(|why| Defect::Vkey { name: log.origin.to_string(), why })?;
        }
        let open = self.logs.iter().filter(|l| l.closed_at.is_none()).count();
        if open > 1 || (open == 0 && !self.suspended) {
            return Err(Defect::OpenLogs { member });
        }
        Ok(())
    }

    /// True unless suspended.
    pub fn is_active(&self) -> bool {
        !self.suspended
    }

    /// The log that the member writes now; `None` only while it is suspended.
    pub fn open_log(&self) -> Option<&LogEntry> {
        self.logs.iter().find(|l| l.closed_at.is_none())
    }
}

fn is_endpoint(text: &str) -> bool {
    let Some((host, port)) = text.rsplit_once(':') else { return false };
    let port_ok = !port.is_empty()
        && !port.starts_with('0')
        && port.bytes().all(|b| b.is_ascii_digit())
        && port.parse::<u16>().is_ok();
    let host_ok = match host.strip_prefix('[').and_then(|h| h.strip_suffix(']')) {
        Some(v6) => v6.parse::<std::net::Ipv6Addr>().is_ok(),
        None => {
            !host.is_empty()
                && host.len() <= 253
                && host.split('.').all(|label| {
                    !label.is_empty()
                        && label.len() <= 63
                        && !label.starts_with('-')
                        && !label.ends_with('-')
                        && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
                })
        }
    };
    port_ok && host_ok
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints_have_a_host_and_a_port() {
        for good in ["node.example.mx:7400", "127.0.0.1:1", "[::1]:65535", "localhost:7400"] {
            assert!(is_endpoint(good), "{good}");
        }
        for bad in ["node", ":1", "a:0", "a:65536", "::1:80", "a b:1", "http://a:1", "a:-1", "a:+1", "a.:1", "[a]:1"] {
            assert!(!is_endpoint(bad), "{bad}");
        }
    }
}
