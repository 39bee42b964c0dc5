//! TLS under ureq. Its own layer takes roots of the web's kind and checks host names; a node is known by its name in the
//! charter, whatever its address. So the connector is written here, on ureq's TCP transport, in the shape of ureq's own.

use std::fmt;
use std::io::{Read as _, Write as _};
use std::path::Path;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use puente_charter::certificate;
use puente_model::{AuditorUri, NodeUri};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{ClientConfig, Resumption};
use rustls::crypto::aws_lc_rs::{self, kx_group};
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms, verify_tls13_signature};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::version::TLS13;
use rustls::{
    CertificateError, ClientConnection, DigitallySignedStruct, Error, PeerMisbehaved, SignatureScheme, StreamOwned,
};
use ureq::unversioned::transport::{
    Buffers, ConnectionDetails, Connector, LazyBuffers, NextTimeout, Transport, TransportAdapter,
};

use super::error::RemoteError;
use super::trust::Trust;
use crate::dir::read_file;

/// The name in the handshake; nobody looks at it, and it is not sent.
const SERVER_NAME: &str = "puente.invalid";
/// The largest file of a certificate chain or key, in bytes.
const PEM_BYTES_MAX: u64 = 256 * 1024;

/// What an auditor shows at a door: a certificate that names it, and its key.
#[derive(Clone)]
pub struct Credentials {
    key: Arc<CertifiedKey>,
    auditor: AuditorUri,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Credentials({})", self.auditor)
    }
}

impl Credentials {
    /// Reads the PEM files that `puente ca issue --auditor` makes: the chain, leaf first, and the private key.
    ///
    /// # Errors
    /// A file cannot be read, is not what it should be, or names no auditor; the key is not the certificate's.
    pub fn load(cert: &Path, key: &Path) -> Result<Self, RemoteError> {
        let bad = |path: &Path, why: String| RemoteError::Credentials { path: path.to_owned(), why };
        let read = |path: &Path| {
            read_file(path, PEM_BYTES_MAX).map_err(|error| match error {
                crate::AuditError::File { why, .. } => bad(path, why),
                error => bad(path, error.to_string()),
            })
        };
        let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&read(cert)?).collect();
        let chain = chain.map_err(|error| bad(cert, format!("no certificate in PEM ({error})")))?;
        let leaf = chain.first().ok_or_else(|| bad(cert, "no certificate in PEM".to_owned()))?;
        let auditor = certificate::auditor_names(leaf).map_err(|error| bad(cert, error.to_string()))?.uri;
        let secret = zeroize::Zeroizing::new(read(key)?);
        let secret = PrivateKeyDer::from_pem_slice(&secret)
            .map_err(|error| bad(key, format!("no private key in PEM ({error})")))?;
        let certified = CertifiedKey::from_der(chain, secret, &provider())
            .and_then(|key| key.keys_match().map(|()| key))
            .map_err(|error| bad(key, format!("it is not the certificate's key ({error})")))?;
        Ok(Self { key: Arc::new(certified), auditor })
    }

    /// Whom the certificate names.
    pub const fn auditor(&self) -> &AuditorUri {
        &self.auditor
    }
}

fn provider() -> CryptoProvider {
    CryptoProvider {
        kx_groups: vec![kx_group::X25519MLKEM768, kx_group::X25519, kx_group::SECP256R1, kx_group::SECP384R1],
        ..aws_lc_rs::default_provider()
    }
}

/// Who answers at a door. The first handshake decides; every other must be with the same node.
#[derive(Debug)]
pub(super) struct Peer {
    trust: Trust,
    pub(super) node: OnceLock<NodeUri>,
    /// Why the last certificate was refused.
    refused: Mutex<Option<String>>,
    algorithms: WebPkiSupportedAlgorithms,
}

impl Peer {
    pub(super) fn new(trust: Trust) -> Self {
        let algorithms = aws_lc_rs::default_provider().signature_verification_algorithms;
        Self { trust, node: OnceLock::new(), refused: Mutex::default(), algorithms }
    }

    pub(super) fn take_refusal(&self) -> Option<String> {
        self.refused.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl ServerCertVerifier for Peer {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let checked =
            self.trust.node(leaf, intermediates, now).and_then(|node| match self.node.get_or_init(|| node.clone()) {
                first if *first == node => Ok(()),
                first => Err(format!("{first} answered before, and now {node}")),
            });
        checked.map(|()| ServerCertVerified::assertion()).map_err(|why| {
            *self.refused.lock().unwrap_or_else(PoisonError::into_inner) = Some(why);
            Error::InvalidCertificate(CertificateError::ApplicationVerificationFailure)
        })
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(Error::PeerMisbehaved(PeerMisbehaved::SelectedTls12UsingTls13VersionExtension))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, dss, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

/// Puts TLS on ureq's TCP connections.
pub(super) struct NodeTls(Arc<ClientConfig>);

impl fmt::Debug for NodeTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("NodeTls")
    }
}

impl NodeTls {
    pub(super) fn new(peer: Arc<Peer>, credentials: &Credentials) -> Result<Self, Error> {
        let mut config = ClientConfig::builder_with_provider(Arc::new(provider()))
            .with_protocol_versions(&[&TLS13])?
            .dangerous()
            .with_custom_certificate_verifier(peer)
            .with_client_cert_resolver(Arc::new(SingleCertAndKey::from(credentials.key.clone())));
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        config.resumption = Resumption::disabled();
        config.enable_early_data = false;
        config.enable_sni = false;
        Ok(Self(Arc::new(config)))
    }
}

impl<In: Transport> Connector<In> for NodeTls {
    type Out = TlsTransport;

    fn connect(&self, details: &ConnectionDetails, chained: Option<In>) -> Result<Option<TlsTransport>, ureq::Error> {
        let Some(transport) = chained else { return Ok(None) };
        let failed = |error: Error| std::io::Error::new(std::io::ErrorKind::InvalidData, error);
        let name = ServerName::try_from(SERVER_NAME).map_err(|_| ureq::Error::Tls("the name of the handshake"))?;
        let mut conn = ClientConnection::new(self.0.clone(), name).map_err(failed)?;
        let boxed: Box<dyn Transport> = Box::new(transport);
        let mut sock = TransportAdapter::new(boxed, details.current_time.clone());
        sock.set_timeout(details.timeout);
        conn.complete_io(&mut sock)?;
        let buffers = LazyBuffers::new(details.config.input_buffer_size(), details.config.output_buffer_size());
        Ok(Some(TlsTransport { buffers, stream: StreamOwned { conn, sock } }))
    }
}

/// One connection to a door.
pub(super) struct TlsTransport {
    buffers: LazyBuffers,
    stream: StreamOwned<ClientConnection, TransportAdapter>,
}

impl fmt::Debug for TlsTransport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TlsTransport")
    }
}

impl Transport for TlsTransport {
    fn buffers(&mut self) -> &mut dyn Buffers {
        &mut self.buffers
    }

    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), ureq::Error> {
        self.stream.get_mut().set_timeout(timeout);
        let output = self.buffers.output();
        self.stream.write_all(output.get(..amount).unwrap_or_default())?;
        Ok(())
    }

    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, ureq::Error> {
        self.stream.get_mut().set_timeout(timeout);
        let amount = self.stream.read(self.buffers.input_append_buf())?;
        self.buffers.input_appended(amount);
        Ok(amount > 0)
    }

    fn is_open(&mut self) -> bool {
        self.stream.get_mut().get_mut().is_open()
    }

    fn is_tls(&self) -> bool {
        true
    }
}
