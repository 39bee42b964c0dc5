//! TLS 1.3 from certificate files.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{NoServerSessionStorage, ServerConfig};
use rustls::version::TLS13;
use tokio_rustls::TlsAcceptor;
use zeroize::Zeroizing;

use crate::files;

/// Why TLS cannot be spoken. No error shows what a key file holds.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum TlsError {
    /// A file.
    #[error("{path}: {error}")]
    File { path: PathBuf, error: std::io::Error },
    /// Not PEM of the right kind.
    #[error("{path}: it holds no certificate chain, or no private key, in PEM")]
    Pem { path: PathBuf },
    /// They do not belong together.
    #[error("the certificate and the key for TLS cannot be used together: {0}")]
    Pair(#[from] rustls::Error),
}

fn read(path: &Path) -> Result<Zeroizing<Vec<u8>>, TlsError> {
    let bytes = files::read_at_most(path, files::FILE_BYTES_MAX);
    bytes.map(Zeroizing::new).map_err(|error| TlsError::File { path: path.to_owned(), error })
}

/// One protocol, nothing resumed and nothing early.
pub(crate) fn acceptor(certificate: &Path, key: &Path) -> Result<TlsAcceptor, TlsError> {
    let pem = |path: &Path| TlsError::Pem { path: path.to_owned() };
    let chain = CertificateDer::pem_slice_iter(&read(certificate)?).collect::<Result<Vec<_>, _>>();
    let chain = chain.ok().filter(|chain| !chain.is_empty()).ok_or_else(|| pem(certificate))?;
    let private = PrivateKeyDer::from_pem_slice(&read(key)?).map_err(|_| pem(key))?;
    let builder = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()));
    let builder = builder.with_protocol_versions(&[&TLS13])?.with_no_client_auth();
    let mut config = builder.with_single_cert(chain, private)?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    config.max_early_data_size = 0;
    config.send_tls13_tickets = 0;
    config.session_storage = Arc::new(NoServerSessionStorage {});
    Ok(TlsAcceptor::from(Arc::new(config)))
}
