//! Members of the federation that mean no good: their names, their certificates, their TLS.

use std::fmt::Write as _;
use std::path::Path;
use std::sync::Arc;

use puente_agency::ca::{self, Algorithm, Subject};
use puente_agency::net::ALPN;
use puente_audit_log::{Ed25519Signer, KeyKind, Signer as _};
use puente_model::{Digest, NodeUri, Secret32};
use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::aws_lc_rs::{self, kx_group};
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms};
use rustls::{DigitallySignedStruct, SignatureScheme};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};

use crate::Failure;
use crate::world::now;

fn uri(number: usize) -> Result<NodeUri, Failure> {
    Ok(format!("puente://mx/attacker-{number:04}/n1").parse()?)
}

/// Their lines in the federation's description. They only call: nobody can dial them.
///
/// # Errors
/// A name or key is refused.
pub fn stanzas(count: usize) -> Result<String, Failure> {
    let mut text = String::new();
    for number in 0..count {
        let uri = uri(number)?;
        let origin = uri.origin(1)?;
        let seed = Secret32::new(Digest::of(origin.as_str().as_bytes()).0);
        let signer = Ed25519Signer::new(origin.as_str(), KeyKind::Ed25519, &seed)?;
        write!(
            text,
            "\n[[member]]\nuri = \"{uri}\"\nname_en = \"A\"\nname_es = \"A\"\nroles = [\"state-police\"]\nendpoints = []\n\
             \n[[member.log]]\norigin = \"{origin}\"\nvkey = \"{}\"\n",
            signer.verifier()
        )?;
    }
    Ok(text)
}

/// One of them, as TLS needs it.
#[derive(Debug, Clone)]
pub struct Member(Arc<rustls::ClientConfig>);

impl Member {
    /// Issues certificates for all of them, with the authority in `folder/ca/mx`.
    ///
    /// # Errors
    /// A certificate cannot be made.
    pub fn all(folder: &Path, count: usize) -> Result<Vec<Self>, Failure> {
        (0..count).map(|number| Self::make(folder, &uri(number)?)).collect()
    }

    fn make(folder: &Path, uri: &NodeUri) -> Result<Self, Failure> {
        let at = folder.join("attackers").join(uri.agency().to_string());
        ca::issue(&folder.join("ca/mx"), Some(uri), &Subject::Fresh(Algorithm::P256), 7, &at, now())?;
        let chain = CertificateDer::pem_file_iter(at.join("tls.cert.pem"))?.collect::<Result<Vec<_>, _>>()?;
        let leaf = chain.into_iter().take(1).collect();
        let key = PrivateKeyDer::from_pem_file(at.join("tls.key.pem"))?;
        // Attackers need no secrecy: the cheaper key exchange leaves more of the processor to the node.
        let provider = CryptoProvider { kx_groups: vec![kx_group::X25519], ..aws_lc_rs::default_provider() };
        let trusting = Arc::new(Trusting(provider.signature_verification_algorithms));
        let mut config = rustls::ClientConfig::builder_with_provider(Arc::new(provider))
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .dangerous()
            .with_custom_certificate_verifier(trusting)
            .with_client_auth_cert(leaf, key)?;
        config.alpn_protocols = vec![ALPN.to_vec()];
        config.resumption = Resumption::disabled();
        config.enable_sni = false;
        Ok(Self(Arc::new(config)))
    }

    /// What its TLS client needs.
    pub fn tls(&self) -> Arc<rustls::ClientConfig> {
        self.0.clone()
    }
}

/// Believes whoever answers: an attacker knows whom it dialled.
#[derive(Debug)]
struct Trusting(WebPkiSupportedAlgorithms);

impl ServerCertVerifier for Trusting {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_schemes()
    }
}
