//! TLS 1.3 as this federation speaks it: both sides present certificates, nothing is resumed, nothing is sent early.

use std::fmt;
use std::sync::{Arc, OnceLock};

use arc_swap::ArcSwap;
use puente_model::{Label, NodeUri, Secret32, digest};
use quinn::crypto::rustls::{NoInitialCipherSuite, QuicClientConfig, QuicServerConfig};
use rustls::client::danger::{ServerCertVerified, ServerCertVerifier};
use rustls::client::{ClientConfig, ResolvesClientCert, Resumption};
use rustls::crypto::aws_lc_rs::{self, kx_group};
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{ClientHello, NoServerSessionStorage, ResolvesServerCert, ServerConfig};
use rustls::sign::{CertifiedKey, SigningKey};
use rustls::{
    CertificateError, ConfigBuilder, DistinguishedName, Error, OtherError, SignatureScheme, WantsVerifier,
    version::TLS13,
};

use super::refusal::{Counters, PeerRefusal};
use super::trust::{Presenter, Trust};
use crate::renewal::Life;

/// The one protocol that this node speaks over QUIC.
pub const ALPN: &[u8] = b"puente/1";

/// The one protocol that this node speaks over TCP: datagrams of QUIC, with [`ALPN`] inside.
pub const ALPN_TCP: &[u8] = b"puente-tcp/1";

/// Key of stateless resets, from a secret of the node.
const RESET: Label = Label("puente/v1/stateless-reset");

/// The name in the handshake; nobody looks at it, and it is not sent.
pub(crate) const SERVER_NAME: &str = "puente.invalid";

/// Why the node's own key cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// Not PEM, or nothing of the kind in it.
    #[error("{file} holds no {what} in PEM: {why}")]
    Pem {
        /// The file.
        file: &'static str,
        /// What was sought.
        what: &'static str,
        /// Why it was not found.
        why: String,
    },
    /// A key that TLS cannot use, or that is not the certificate's.
    #[error("the private key does not fit the certificate: {0}; run 'puente ca issue' again")]
    Key(Error),
    /// The certificate does not name a node.
    #[error("the certificate is no node's: {0}")]
    Names(#[from] puente_charter::certificate::CertificateError),
    /// No peer would accept the certificate.
    #[error("no peer would accept the certificate: {0}")]
    Refused(PeerRefusal),
    /// The certificate names another node.
    #[error("the certificate names {found}, but this node is {expected}; issue one for this node")]
    OtherNode {
        /// Whom the configuration names.
        expected: NodeUri,
        /// Whom the certificate names.
        found: NodeUri,
    },
}

/// The node's certificate and key, replaceable while it runs.
pub struct Identity {
    key: ArcSwap<CertifiedKey>,
    /// Keys the stateless resets of this node: the same after a restart, so that peers of connections that died with
    /// the process learn of it from the first packet that they send, not from their idle timeout.
    reset: Secret32,
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Identity(..)")
    }
}

impl Identity {
    /// Key of this node's stateless resets.
    pub(crate) const fn reset(&self) -> &Secret32 {
        &self.reset
    }

    /// From a PEM chain (leaf first) and a PEM key, for the node `own`.
    ///
    /// # Errors
    /// Not PEM, not each other's, or not this node's.
    pub fn from_pem(own: &NodeUri, chain: &[u8], key: &[u8]) -> Result<Self, IdentityError> {
        Self::from_key(own, chain, signing_key(key)?, key)
    }

    /// From a PEM chain (leaf first) and whatever signs with its key; `secret` keys the stateless resets.
    ///
    /// # Errors
    /// Not PEM, not each other's, or not this node's.
    pub(crate) fn from_key(
        own: &NodeUri,
        chain: &[u8],
        key: Arc<dyn SigningKey>,
        secret: &[u8],
    ) -> Result<Self, IdentityError> {
        let reset = Secret32::new(digest(RESET, &[secret]).0);
        Ok(Self { key: ArcSwap::from_pointee(certified(own, chain, key)?), reset })
    }

    /// Takes another certificate and key, if `admit` has nothing against the chain; new handshakes use them,
    /// connections stay. False if they are the ones in use.
    ///
    /// # Errors
    /// As [`Identity::from_pem`], or what `admit` says; the old ones stay in use.
    pub(crate) fn replace(
        &self,
        own: &NodeUri,
        chain: &[u8],
        key: Arc<dyn SigningKey>,
        admit: impl FnOnce(&[CertificateDer<'static>]) -> Result<(), PeerRefusal>,
    ) -> Result<bool, IdentityError> {
        let next = certified(own, chain, key)?;
        admit(&next.cert).map_err(IdentityError::Refused)?;
        let same = self.key.load().cert == next.cert;
        self.key.store(Arc::new(next));
        Ok(!same)
    }
}

impl Identity {
    /// When the certificate is valid.
    pub(crate) fn life(&self) -> Option<Life> {
        let key = self.key.load();
        let names = puente_charter::certificate::names(key.cert.first()?).ok()?;
        Some(Life { begin: names.not_before, end: names.not_after })
    }
}

fn pem(file: &'static str, what: &'static str, why: String) -> IdentityError {
    IdentityError::Pem { file, what, why }
}

/// The private key in a PEM file.
pub(crate) fn signing_key(key: &[u8]) -> Result<Arc<dyn SigningKey>, IdentityError> {
    let key = PrivateKeyDer::from_pem_slice(key).map_err(|e| pem("tls.key.pem", "private key", e.to_string()))?;
    provider().key_provider.load_private_key(key).map_err(IdentityError::Key)
}

fn certified(own: &NodeUri, chain: &[u8], key: Arc<dyn SigningKey>) -> Result<CertifiedKey, IdentityError> {
    let certs = CertificateDer::pem_slice_iter(chain).collect::<Result<Vec<_>, _>>();
    let certs = certs.map_err(|e| pem("tls.cert.pem", "certificate", e.to_string()))?;
    let Some(leaf) = certs.first() else {
        return Err(pem("tls.cert.pem", "certificate", "it is empty".to_owned()));
    };
    let found = puente_charter::certificate::peer_uri(leaf)?;
    if found != *own {
        return Err(IdentityError::OtherNode { expected: own.clone(), found });
    }
    let certified = CertifiedKey::new(certs, key);
    certified.keys_match().map_err(IdentityError::Key)?;
    Ok(certified)
}

impl ResolvesServerCert for Identity {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.key.load_full())
    }
}

impl ResolvesClientCert for Identity {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        Some(self.key.load_full())
    }

    fn has_certs(&self) -> bool {
        true
    }
}

/// AWS-LC with the hybrid of X25519 and ML-KEM-768 first: what is recorded today must not be read in twenty years.
pub(crate) fn provider() -> CryptoProvider {
    CryptoProvider {
        kx_groups: vec![kx_group::X25519MLKEM768, kx_group::X25519, kx_group::SECP256R1, kx_group::SECP384R1],
        ..aws_lc_rs::default_provider()
    }
}

/// Checks the other side's certificate against the charter, in either role.
pub(crate) struct Verifier {
    trust: Arc<ArcSwap<Trust>>,
    /// Whom this node dialled; none for whoever dials in.
    expected: Option<NodeUri>,
    /// What was refused in this very handshake.
    pub(crate) refused: OnceLock<PeerRefusal>,
    counters: Arc<Counters>,
    algorithms: WebPkiSupportedAlgorithms,
}

impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Verifier").field("expected", &self.expected).finish_non_exhaustive()
    }
}

impl Verifier {
    pub(crate) fn new(trust: Arc<ArcSwap<Trust>>, expected: Option<NodeUri>, counters: Arc<Counters>) -> Self {
        let algorithms = aws_lc_rs::default_provider().signature_verification_algorithms;
        Self { trust, expected, refused: OnceLock::new(), counters, algorithms }
    }

    fn check(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        presenter: Presenter,
        now: UnixTime,
    ) -> Result<(), Error> {
        let checked = self.trust.load().verify(leaf, intermediates, presenter, self.expected.as_ref(), now);
        checked.map(|_| ()).map_err(|refusal| {
            if self.counters.count(refusal.class()) {
                tracing::warn!(class = refusal.class(), "certificate refused: {refusal}");
            }
            let error = alert(&refusal);
            // Set at most once: one certificate is presented per handshake.
            let _ = self.refused.set(refusal);
            error
        })
    }
}

/// The text reaches the peer as the reason of the closed handshake; the alert is TLS's word for the class.
pub(crate) fn alert(refusal: &PeerRefusal) -> Error {
    Error::InvalidCertificate(match refusal {
        PeerRefusal::Expired => CertificateError::Expired,
        PeerRefusal::NotYetValid => CertificateError::NotValidYet,
        PeerRefusal::UnknownIssuer(_) | PeerRefusal::UnknownNation(_) => CertificateError::UnknownIssuer,
        PeerRefusal::BadSignature => CertificateError::BadSignature,
        PeerRefusal::WrongUsage => CertificateError::InvalidPurpose,
        other => CertificateError::Other(OtherError(Arc::new(other.clone()))),
    })
}

/// The part that every verifier of certificates has alike: TLS 1.3 signatures by `self.algorithms`, and none of TLS 1.2.
macro_rules! tls13_signatures {
    () => {
        fn verify_tls12_signature(
            &self,
            _: &[u8],
            _: &rustls::pki_types::CertificateDer<'_>,
            _: &rustls::DigitallySignedStruct,
        ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
            use rustls::PeerMisbehaved::SelectedTls12UsingTls13VersionExtension;
            Err(rustls::Error::PeerMisbehaved(SelectedTls12UsingTls13VersionExtension))
        }

        fn verify_tls13_signature(
            &self,
            message: &[u8],
            cert: &rustls::pki_types::CertificateDer<'_>,
            dss: &rustls::DigitallySignedStruct,
        ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
            rustls::crypto::verify_tls13_signature(message, cert, dss, &self.algorithms)
        }

        fn supported_verify_schemes(&self) -> Vec<rustls::SignatureScheme> {
            self.algorithms.supported_schemes()
        }
    };
}
pub(crate) use tls13_signatures;

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        self.check(leaf, intermediates, Presenter::Server, now).map(|()| ServerCertVerified::assertion())
    }

    tls13_signatures!();
}

impl ClientCertVerifier for Verifier {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        // Every node has one certificate; hints would only tell strangers who is in the charter.
        &[]
    }

    fn verify_client_cert(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        self.check(leaf, intermediates, Presenter::Client, now).map(|()| ClientCertVerified::assertion())
    }

    tls13_signatures!();
}

/// Why TLS could not be set up: a build without what the protocol needs.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// No TLS 1.3.
    #[error("TLS 1.3 is not available: {0}")]
    Tls(#[from] Error),
    /// No cipher for QUIC's first packets.
    #[error("QUIC's initial cipher is not available: {0}")]
    Quic(#[from] NoInitialCipherSuite),
}

/// TLS for whoever dials in.
pub(crate) fn server(verifier: Arc<Verifier>, identity: Arc<Identity>) -> Result<QuicServerConfig, TlsError> {
    Ok(QuicServerConfig::try_from(serving(verifier, identity, ALPN)?)?)
}

/// TLS for whoever dials in over TCP.
pub(crate) fn tcp_server(verifier: Arc<Verifier>, identity: Arc<Identity>) -> Result<ServerConfig, TlsError> {
    Ok(serving(verifier, identity, ALPN_TCP)?)
}

fn serving(verifier: Arc<Verifier>, identity: Arc<Identity>, alpn: &[u8]) -> Result<ServerConfig, Error> {
    let config = tls13()?.with_client_cert_verifier(verifier).with_cert_resolver(identity);
    Ok(speaking(alpn, config))
}

/// Every server of the node begins so: TLS 1.3 and nothing older, with this program's cryptography.
pub(crate) fn tls13() -> Result<ConfigBuilder<ServerConfig, WantsVerifier>, Error> {
    ServerConfig::builder_with_provider(Arc::new(provider())).with_protocol_versions(&[&TLS13])
}

/// And ends so: one protocol, nothing resumed and nothing early.
pub(crate) fn speaking(alpn: &[u8], mut config: ServerConfig) -> ServerConfig {
    config.alpn_protocols = vec![alpn.to_vec()];
    config.max_early_data_size = 0;
    config.send_tls13_tickets = 0;
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config
}

/// TLS for one dial.
pub(crate) fn client(verifier: Arc<Verifier>, identity: Arc<Identity>) -> Result<QuicClientConfig, TlsError> {
    Ok(QuicClientConfig::try_from(dialling(verifier, identity, ALPN)?)?)
}

/// TLS for one dial over TCP.
pub(crate) fn tcp_client(verifier: Arc<Verifier>, identity: Arc<Identity>) -> Result<ClientConfig, TlsError> {
    Ok(dialling(verifier, identity, ALPN_TCP)?)
}

fn dialling(verifier: Arc<Verifier>, identity: Arc<Identity>, alpn: &[u8]) -> Result<ClientConfig, Error> {
    let mut config = ClientConfig::builder_with_provider(Arc::new(provider()))
        .with_protocol_versions(&[&TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_client_cert_resolver(identity);
    config.alpn_protocols = vec![alpn.to_vec()];
    config.resumption = Resumption::disabled();
    config.enable_early_data = false;
    config.enable_sni = false;
    Ok(config)
}
