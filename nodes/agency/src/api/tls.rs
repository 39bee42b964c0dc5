use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert, ServerConfig};
use rustls::sign::CertifiedKey;

use crate::files::{Stamp, stamp};
use crate::keys::Vault;
use crate::net::tls::{provider, speaking, tls13};

/// The agency's certificate for its own programs; taken anew when its files change.
pub(super) struct Papers {
    files: [PathBuf; 2],
    vault: Arc<Vault>,
    now: ArcSwap<CertifiedKey>,
    seen: Mutex<[Stamp; 2]>,
}

impl fmt::Debug for Papers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Papers(..)")
    }
}

fn stamps(files: &[PathBuf; 2]) -> [Stamp; 2] {
    files.each_ref().map(|path| stamp(path))
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

/// TLS for HTTP/1.1.
pub(super) fn server(papers: Arc<Papers>) -> Result<ServerConfig, rustls::Error> {
    Ok(speaking(b"http/1.1", tls13()?.with_no_client_auth().with_cert_resolver(papers)))
}
