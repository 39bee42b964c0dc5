use std::fmt;
use std::sync::Arc;

use arc_swap::ArcSwap;
use rustls::crypto::WebPkiSupportedAlgorithms;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::ServerConfig;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{DistinguishedName, Error};

use crate::net::tls::{alert, speaking, tls13, tls13_signatures};
use crate::net::{Counters, Identity, Trust};

/// Lets auditors of the charter in force in, and nobody else.
struct AuditorVerifier {
    trust: Arc<ArcSwap<Trust>>,
    refused: Arc<Counters>,
    algorithms: WebPkiSupportedAlgorithms,
}

impl fmt::Debug for AuditorVerifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AuditorVerifier")
    }
}

impl ClientCertVerifier for AuditorVerifier {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let checked = self.trust.load().verify_auditor(leaf, intermediates, now);
        checked.map(|_| ClientCertVerified::assertion()).map_err(|refusal| {
            if self.refused.count(refusal.class()) {
                tracing::warn!(class = refusal.class(), "an auditor's certificate was refused: {refusal}");
            }
            alert(&refusal)
        })
    }

    tls13_signatures!();
}

/// TLS of the door: the node's own certificate, auditors' certificates, HTTP/1.1.
pub(super) fn server(
    trust: Arc<ArcSwap<Trust>>,
    identity: Arc<Identity>,
    refused: Arc<Counters>,
) -> Result<ServerConfig, Error> {
    let algorithms = aws_lc_rs::default_provider().signature_verification_algorithms;
    let verifier = Arc::new(AuditorVerifier { trust, refused, algorithms });
    Ok(speaking(b"http/1.1", tls13()?.with_client_cert_verifier(verifier).with_cert_resolver(identity)))
}
