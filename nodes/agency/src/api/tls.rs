use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use arc_swap::ArcSwap;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, NoServerSessionStorage, ResolvesServerCert, ServerConfig};
use rustls::sign::CertifiedKey;
use rustls::version::TLS13;

use crate::keys::Vault;
use crate::net::tls::provider;

type Stamps = [Option<(u64, SystemTime)>; 2];

/// The agency's certificate for its own programs; taken anew when its files change.
pub(super) struct Papers {
    files: [PathBuf; 2],
    vault: Arc<Vault>,
    now: ArcSwap<CertifiedKey>,
    seen: Mutex<Stamps>,
}

impl fmt::Debug for Papers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Papers(..)")
    }
}

fn stamps(files: &[PathBuf; 2]) -> Stamps {
    let stamp = |path: &PathBuf| {
        let meta = std::fs::metadata(path).ok()?;
        Some((meta.len(), meta.modified().ok()?))
    };
    [stamp(&files[0]), stamp(&files[1])]
}

fn load([certificate, key]: &[PathBuf; 2], vault: &Vault) -> io::Result<CertifiedKey> {
    let at = |path: &Path, error: &dyn fmt::Display| io::Error::other(format!("{}: {error}", path.display()));
    let chain = vault.read(certificate).map_err(|error| at(certificate, &error))?;
    let chain: Vec<_> =
        CertificateDer::pem_slice_iter(&chain).collect::<Result<_, _>>().map_err(|error| at(certificate, &error))?;
    if chain.is_empty() {
        return Err(at(certificate, &"it holds no certificate"));
    }
    let private = vault.read(key).map_err(|error| at(key, &error))?;
    let private = PrivateKeyDer::from_pem_slice(&private).map_err(|error| at(key, &error))?;
    let certified = CertifiedKey::from_der(chain, private, &provider()).map_err(|error| at(key, &error))?;
    certified.keys_match().map_err(|error| at(key, &error))?;
    Ok(certified)
}

impl Papers {
    pub(super) fn open(files: [PathBuf; 2], vault: Arc<Vault>) -> io::Result<Self> {
        let seen = Mutex::new(stamps(&files));
        let now = ArcSwap::from_pointee(load(&files, &vault)?);
        Ok(Self { files, vault, now, seen })
    }

    /// Takes what the files hold now, if they changed and belong together.
    pub(super) fn look(&self) {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let current = stamps(&self.files);
        if *seen == current {
            return;
        }
        *seen = current;
        match load(&self.files, &self.vault) {
            Ok(certified) => self.now.store(Arc::new(certified)),
            Err(error) => tracing::warn!("the API keeps its former certificate: {error}"),
        }
    }
}

impl ResolvesServerCert for Papers {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.now.load_full())
    }
}

/// TLS 1.3, HTTP/1.1, nothing resumed and nothing early.
pub(super) fn server(papers: Arc<Papers>) -> Result<ServerConfig, rustls::Error> {
    let mut config = ServerConfig::builder_with_provider(Arc::new(provider()))
        .with_protocol_versions(&[&TLS13])?
        .with_no_client_auth()
        .with_cert_resolver(papers);
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    config.max_early_data_size = 0;
    config.send_tls13_tickets = 0;
    config.session_storage = Arc::new(NoServerSessionStorage {});
    Ok(config)
}
