//! Which certificate is a node's, as the charter says: roots of nations, never the web's.

use std::collections::HashSet;

use puente_charter::{Charter, certificate};
use puente_model::{Jurisdiction, NodeUri};
use rustls::pki_types::{CertificateDer, TrustAnchor, UnixTime};
use webpki::{EndEntityCert, KeyUsage};

use super::error::RemoteError;

/// Intermediate certificates that a chain may have, and bytes of one certificate.
const INTERMEDIATES_MAX: usize = 4;
const CERTIFICATE_BYTES_MAX: usize = 16 * 1024;

/// The charter's roots, one set for each nation, and its members.
#[derive(Debug)]
pub(super) struct Trust {
    nations: Vec<(Jurisdiction, Vec<TrustAnchor<'static>>)>,
    members: HashSet<NodeUri>,
}

impl Trust {
    pub(super) fn of(charter: &Charter) -> Result<Self, RemoteError> {
        let mut nations = Vec::new();
        for code in charter.jurisdictions() {
            let anchor = |der: &Vec<u8>| {
                let der = CertificateDer::from(der.as_slice());
                webpki::anchor_from_trusted_cert(&der).map(|anchor| anchor.to_owned())
            };
            let anchors: Result<Vec<_>, _> = charter.ca_roots(code).iter().map(anchor).collect();
            let anchors = anchors.map_err(|e| RemoteError::NoNode(format!("a root of {code} cannot be used: {e}")))?;
            nations.push((code.clone(), anchors));
        }
        // Suspended members, too: their logs are audited all the more.
        Ok(Self { nations, members: charter.members().iter().map(|member| member.uri.clone()).collect() })
    }

    /// The node that a chain proves: its one URI is a member's name, and the chain ends in a root of that very nation.
    pub(super) fn node(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<NodeUri, String> {
        let too_large = |der: &CertificateDer<'_>| der.len() > CERTIFICATE_BYTES_MAX;
        if intermediates.len() > INTERMEDIATES_MAX || too_large(leaf) || intermediates.iter().any(too_large) {
            return Err("its certificate chain is too long".to_owned());
        }
        let uri = certificate::peer_uri(leaf).map_err(|error| error.to_string())?;
        let nation = uri.jurisdiction();
        let found = self.nations.iter().find(|(code, _)| *code == nation);
        let (_, anchors) = found.ok_or_else(|| format!("the charter has no nation '{nation}'"))?;
        let cert = EndEntityCert::try_from(leaf).map_err(|error| error.to_string())?;
        let usage = KeyUsage::server_auth();
        cert.verify_for_usage(webpki::ALL_VERIFICATION_ALGS, anchors, intermediates, now, usage, None, None)
            .map_err(|error| format!("the certificate of {uri} does not hold under the roots of {nation}: {error}"))?;
        if self.members.contains(&uri) { Ok(uri) } else { Err(format!("the charter lists no member {uri}")) }
    }
}
