use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// What is wrong with a name, and what it should look like.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{found}' is not {expected}")]
pub struct NameError {
    /// The text as it was given (names of agencies are public; no identifier of a person comes here).
    pub found: String,
    /// What was expected, in words.
    pub expected: &'static str,
}

fn slug(text: &str, max: usize) -> bool {
    !text.is_empty()
        && text.len() <= max
        && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
        && !text.starts_with('-')
        && !text.ends_with('-')
}

fn is_jurisdiction(text: &str) -> bool {
    text.len() == 2 && text.bytes().all(|b| b.is_ascii_lowercase())
}

fn is_agency(text: &str) -> bool {
    text.split_once('/').is_some_and(|(jurisdiction, agency)| is_jurisdiction(jurisdiction) && slug(agency, 40))
}

// Names are cloned with every entry, so that a clone shares the text.
macro_rules! text_name {
    ($(#[$doc:meta])* $t:ident, $expected:literal, $check:expr) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $t(Arc<str>);

        impl $t {
            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $t {
            type Err = NameError;

            fn from_str(text: &str) -> Result<Self, NameError> {
                let check: fn(&str) -> bool = $check;
                if check(text) {
                    Ok(Self(text.into()))
                } else {
                    let found = text.chars().take(80).collect();
                    Err(NameError { found, expected: $expected })
                }
            }
        }

        impl fmt::Display for $t {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $t {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({})", stringify!($t), self.0)
            }
        }
    };
}

text_name!(
    /// A nation: two lower-case letters (ISO 3166-1 alpha-2), for example `mx`.
    Jurisdiction,
    "a jurisdiction: two lower-case letters, for example mx",
    is_jurisdiction
);

text_name!(
    /// An agency of a nation: `<jurisdiction>/<agency>`, for example `mx/fge-bc`.
    AgencyId,
    "an agency: jurisdiction/agency, for example mx/fge-bc",
    is_agency
);

text_name!(
    /// A node's identity, the one URI name of its certificate:
    /// `puente://<jurisdiction>/<agency>/<node>`.
    NodeUri,
    "a node: puente://jurisdiction/agency/node, for example puente://mx/fge-bc/n1",
    |t| {
        let Some(rest) = t.strip_prefix("puente://") else { return false };
        match rest.rsplit_once('/') {
            Some((agency, node)) => is_agency(agency) && slug(node, 40),
            None => false,
        }
    }
);

text_name!(
    /// An auditor's identity, the one URI name of its certificate: `puente-auditor://<jurisdiction>/<name>`, the name
    /// as the charter lists it. Another scheme than a node's, so that neither can be taken for the other.
    AuditorUri,
    "an auditor: puente-auditor://jurisdiction/name, for example puente-auditor://mx/auditoria-a",
    |t| {
        let Some(rest) = t.strip_prefix("puente-auditor://") else { return false };
        rest.split_once('/').is_some_and(|(jurisdiction, name)| is_jurisdiction(jurisdiction) && slug(name, 64))
    }
);

text_name!(
    /// A log's name (the C2SP origin), begun with its jurisdiction:
    /// `<jurisdiction>/<agency>/<node>/log<k>`, `k` counting successors from 1.
    Origin,
    "a log origin: jurisdiction/agency/node/logK, for example mx/fge-bc/n1/log1",
    |t| {
        let mut parts = t.split('/');
        let (Some(j), Some(a), Some(n), Some(l), None) =
            (parts.next(), parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return false;
        };
        is_jurisdiction(j)
            && slug(a, 40)
            && slug(n, 40)
            && l.strip_prefix("log").is_some_and(|k| {
                !k.is_empty() && k.len() <= 6 && !k.starts_with('0') && k.bytes().all(|b| b.is_ascii_digit())
            })
    }
);

text_name!(
    /// An officer's individual identity within its agency, for example `o-1042`.
    /// Personal data: it is committed in entries, never written in the clear.
    OfficerId,
    "an officer id: lower-case letters, digits and hyphens, at most 64",
    |t| slug(t, 64)
);

impl AgencyId {
    /// The nation the agency belongs to.
    pub fn jurisdiction(&self) -> Jurisdiction {
        Jurisdiction(self.0[..2].into())
    }
}

impl NodeUri {
    /// Builds the URI of `node` of `agency`.
    pub fn new(agency: &AgencyId, node: &str) -> Result<Self, NameError> {
        format!("puente://{agency}/{node}").parse()
    }

    /// The agency that runs the node.
    pub fn agency(&self) -> AgencyId {
        let rest = &self.0["puente://".len()..];
        let end = rest.rfind('/').unwrap_or(rest.len());
        AgencyId(rest[..end].into())
    }

    /// The nation the node belongs to.
    pub fn jurisdiction(&self) -> Jurisdiction {
        Jurisdiction(self.0["puente://".len()..][..2].into())
    }

    /// The name of this node's `k`-th log (1 for the first; successors count on).
    pub fn origin(&self, k: u32) -> Result<Origin, NameError> {
        format!("{}/log{k}", &self.0["puente://".len()..]).parse()
    }
}

impl AuditorUri {
    /// Builds the URI of the auditor `name` of a nation.
    ///
    /// # Errors
    /// The name is no slug.
    pub fn new(jurisdiction: &Jurisdiction, name: &str) -> Result<Self, NameError> {
        format!("puente-auditor://{jurisdiction}/{name}").parse()
    }

    /// The nation that the auditor belongs to.
    pub fn jurisdiction(&self) -> Jurisdiction {
        Jurisdiction(self.0["puente-auditor://".len()..][..2].into())
    }

    /// Its name in the charter.
    pub fn name(&self) -> &str {
        &self.0["puente-auditor://mx/".len()..]
    }
}

impl Origin {
    /// The nation the log belongs to.
    pub fn jurisdiction(&self) -> Jurisdiction {
        Jurisdiction(self.0[..2].into())
    }

    /// The node that writes the log.
    pub fn node(&self) -> NodeUri {
        let end = self.0.rfind('/').unwrap_or(self.0.len());
        NodeUri(format!("puente://{}", &self.0[..end]).into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_nest() {
        let node: NodeUri = "puente://mx/fge-bc/n1".parse().unwrap();
        assert_eq!(node.agency().as_str(), "mx/fge-bc");
        assert_eq!(node.jurisdiction().as_str(), "mx");
        let origin = node.origin(1).unwrap();
        assert_eq!(origin.as_str(), "mx/fge-bc/n1/log1");
        assert_eq!(origin.node(), node);
        assert_eq!(origin.jurisdiction(), node.jurisdiction());
    }

    #[test]
    fn an_auditor_is_no_node() {
        let auditor: AuditorUri = "puente-auditor://mx/auditoria-a".parse().unwrap();
        assert_eq!((auditor.jurisdiction().as_str(), auditor.name()), ("mx", "auditoria-a"));
        assert_eq!(AuditorUri::new(&auditor.jurisdiction(), auditor.name()), Ok(auditor.clone()));
        assert!(auditor.as_str().parse::<NodeUri>().is_err());
        let long = format!("puente-auditor://mx/{}", "a".repeat(65));
        for bad in
            ["puente://mx/auditoria-a", "puente://mx/a/n", "puente-auditor://mx/a/n", "puente-auditor://mx/", &long]
        {
            assert!(bad.parse::<AuditorUri>().is_err(), "{bad}");
        }
    }

    #[test]
    fn bad_names_are_refused() {
        for bad in [
            "puente://MX/a/n",
            "puente://mx/a",
            "puente://mx/a/b/c",
            "https://mx/a/n",
            "puente://mx/-a/n",
            "puente://mx/a /n",
            "",
        ] {
            assert!(bad.parse::<NodeUri>().is_err(), "{bad}");
        }
        for bad in ["mx/a/n/log0", "mx/a/n/log", "mx/a/n", "mx/a/n/log1/x", "mx/a/n/log1+", "m/a/n/log1"] {
            assert!(bad.parse::<Origin>().is_err(), "{bad}");
        }
    }
}
