//! What a TLS certificate says about who presents it.
//!
//! Nodes and auditors have certificates, with names that cannot be taken for each other.
//! The identity is the one URI among the subject alternative names; the common
//! name, DNS names and addresses count for nothing. Whether the chain holds is
//! for the TLS stack to say, with [`Charter::trust_for`](crate::Charter::trust_for)
//! as its roots: a root vouches only for its own nation.

use std::str::FromStr;

use puente_model::{AuditorUri, Digest, Millis, NodeUri};
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::FromDer as _;

/// Why a certificate does not name a node.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CertificateError {
    /// The bytes are no certificate, or more than one.
    #[error("this is not one DER certificate")]
    Malformed,
    /// A certificate authority's certificate is no node's.
    #[error("this certificate belongs to an authority; a node needs one of its own")]
    Authority,
    /// A node's certificate is no authority's.
    #[error("this certificate does not belong to an authority")]
    NotAuthority,
    /// No URI among the subject alternative names.
    #[error("the certificate has no URI name; issue it with the SAN URI puente://jurisdiction/agency/node")]
    NoUri,
    /// More than one URI among the subject alternative names.
    #[error("the certificate has {found} URI names; a node has exactly one")]
    ManyUris {
        /// How many.
        found: usize,
    },
    /// The URI is not a node's name.
    #[error("the certificate's URI name is not puente://jurisdiction/agency/node")]
    NotANode,
    /// The URI is not an auditor's name.
    #[error("the certificate's URI name is not puente-auditor://jurisdiction/name")]
    NotAnAuditor,
}

/// What a certificate says: a node's, or with [`AuditorUri`] an auditor's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateNames<U = NodeUri> {
    /// Whose it is.
    pub uri: U,
    /// First instant at which it is valid.
    pub not_before: Millis,
    /// Last second in which it is valid.
    pub not_after: Millis,
    /// SHA-256 of the DER of its subject public key info.
    pub key_digest: Digest,
}

/// The node that a certificate names.
pub fn peer_uri(der: &[u8]) -> Result<NodeUri, CertificateError> {
    names(der).map(|names| names.uri)
}

/// The node that a certificate names, and when it is valid.
pub fn names(der: &[u8]) -> Result<CertificateNames, CertificateError> {
    named(der, CertificateError::NotANode)
}

/// The auditor that a certificate names, and when it is valid.
pub fn auditor_names(der: &[u8]) -> Result<CertificateNames<AuditorUri>, CertificateError> {
    named(der, CertificateError::NotAnAuditor)
}

fn named<U: FromStr>(der: &[u8], other: CertificateError) -> Result<CertificateNames<U>, CertificateError> {
    let cert = parse(der)?;
    if is_authority(&cert)? {
        return Err(CertificateError::Authority);
    }
    let san = cert.subject_alternative_name().map_err(|_| CertificateError::Malformed)?;
    let all = san.map(|extension| extension.value.general_names.as_slice()).unwrap_or_default();
    let uris: Vec<&str> = all
        .iter()
        .filter_map(|name| match name {
            GeneralName::URI(uri) => Some(*uri),
            _ => None,
        })
        .collect();
    let uri = match uris.as_slice() {
        [] => return Err(CertificateError::NoUri),
        [uri] => uri.parse().map_err(|_| other)?,
        _ => return Err(CertificateError::ManyUris { found: uris.len() }),
    };
    let validity = cert.validity();
    let millis = |seconds: i64| Millis(u64::try_from(seconds).unwrap_or(0).saturating_mul(1_000));
    Ok(CertificateNames {
        uri,
        not_before: millis(validity.not_before.timestamp()),
        not_after: millis(validity.not_after.timestamp()),
        key_digest: Digest::of(cert.public_key().raw),
    })
}

/// The subject public key info of an authority's certificate, in DER.
pub(crate) fn authority_key(der: &[u8]) -> Result<Vec<u8>, CertificateError> {
    let cert = parse(der)?;
    if is_authority(&cert)? { Ok(cert.public_key().raw.to_vec()) } else { Err(CertificateError::NotAuthority) }
}

fn parse(der: &[u8]) -> Result<X509Certificate<'_>, CertificateError> {
    match X509Certificate::from_der(der) {
        Ok(([], cert)) => Ok(cert),
        _ => Err(CertificateError::Malformed),
    }
}

fn is_authority(cert: &X509Certificate<'_>) -> Result<bool, CertificateError> {
    let constraints = cert.basic_constraints().map_err(|_| CertificateError::Malformed)?;
    Ok(constraints.is_some_and(|c| c.value.ca))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::testing::{authority, leaf};

    #[test]
    fn one_uri_is_the_identity() {
        let der = leaf(&["puente://mx/fge-bc/n1"], &["localhost"]);
        assert_eq!(peer_uri(&der).unwrap().as_str(), "puente://mx/fge-bc/n1");
        let names = names(&der).unwrap();
        assert_eq!(names.not_before.to_string(), "2026-11-01T00:00:00.000Z");
        assert_eq!(names.not_after.to_string(), "2026-11-15T00:00:00.000Z");
    }

    #[test]
    fn each_defect_has_its_name() {
        let table: [(Vec<u8>, CertificateError); 7] = [
            (vec![], CertificateError::Malformed),
            ([leaf(&["puente://mx/a/n"], &[]), vec![0]].concat(), CertificateError::Malformed),
            (leaf(&[], &["puente.example"]), CertificateError::NoUri),
            (leaf(&[], &[]), CertificateError::NoUri),
            (leaf(&["puente://mx/a/n", "puente://us/b/n"], &[]), CertificateError::ManyUris { found: 2 }),
            (leaf(&["https://mx/a/n"], &[]), CertificateError::NotANode),
            (authority(1), CertificateError::Authority),
        ];
        for (der, error) in table {
            assert_eq!(peer_uri(&der), Err(error));
        }
        assert_eq!(authority_key(&leaf(&["puente://mx/a/n"], &[])), Err(CertificateError::NotAuthority));
    }

    #[test]
    fn nodes_and_auditors_are_not_taken_for_each_other() {
        let (node, auditor) = (leaf(&["puente://mx/fge-bc/n1"], &[]), leaf(&["puente-auditor://mx/auditoria-a"], &[]));
        assert_eq!(auditor_names(&auditor).unwrap().uri.name(), "auditoria-a");
        assert_eq!(auditor_names(&node), Err(CertificateError::NotAnAuditor));
        assert_eq!(names(&auditor), Err(CertificateError::NotANode));
        let both = leaf(&["puente://mx/fge-bc/n1", "puente-auditor://mx/auditoria-a"], &[]);
        assert_eq!(names(&both), Err(CertificateError::ManyUris { found: 2 }));
        assert_eq!(auditor_names(&both), Err(CertificateError::ManyUris { found: 2 }));
    }

    proptest! {
        #[test]
        fn hostile_bytes_never_panic(at in 0usize..600, to in any::<u8>(), cut in 0usize..600) {
            let whole = leaf(&["puente://mx/fge-bc/n1"], &["localhost"]);
            let mut changed = whole.clone();
            let at = at % whole.len();
            changed[at] = to;
            let _ = names(&changed);
            let cut = cut % whole.len();
            prop_assert_eq!(names(&whole[..cut]), Err(CertificateError::Malformed));
        }
    }
}
