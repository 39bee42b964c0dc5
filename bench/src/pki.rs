//! Certificates of the peers: one authority, two leaves, P-256 as the nodes have.

use std::fs;
use std::path::Path;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, ExtendedKeyUsagePurpose, IsCa, KeyPair};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use crate::Failure;

/// Writes `root.pem`, and `client` and `server` with `.cert.pem` and `.key.pem`, into the folder.
///
/// # Errors
/// A file cannot be written.
pub fn make(folder: &Path) -> Result<(), Failure> {
    let mut params = CertificateParams::new(Vec::new())?;
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let root = CertifiedIssuer::self_signed(params, KeyPair::generate()?)?;
    fs::write(folder.join("root.pem"), root.pem())?;
    for (name, usage) in
        [("client", ExtendedKeyUsagePurpose::ClientAuth), ("server", ExtendedKeyUsagePurpose::ServerAuth)]
    {
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::new(vec!["localhost".to_owned()])?;
        params.extended_key_usages = vec![usage];
        fs::write(folder.join(format!("{name}.cert.pem")), params.signed_by(&key, &root)?.pem())?;
        fs::write(folder.join(format!("{name}.key.pem")), key.serialize_pem())?;
    }
    Ok(())
}

/// One side's certificate and key, and the root that it trusts.
#[derive(Debug)]
pub struct Identity {
    /// The root.
    pub root: CertificateDer<'static>,
    /// The certificate.
    pub certificate: CertificateDer<'static>,
    /// Its key.
    pub key: PrivateKeyDer<'static>,
}

impl Identity {
    /// Reads what [`make`] wrote.
    ///
    /// # Errors
    /// A file is missing.
    pub fn read(folder: &Path, name: &str) -> Result<Self, Failure> {
        Ok(Self {
            root: CertificateDer::from_pem_file(folder.join("root.pem"))?,
            certificate: CertificateDer::from_pem_file(folder.join(format!("{name}.cert.pem")))?,
            key: PrivateKeyDer::from_pem_file(folder.join(format!("{name}.key.pem")))?,
        })
    }

    /// What rustls wants of whom to trust.
    ///
    /// # Errors
    /// The root is no certificate.
    pub fn roots(&self) -> Result<rustls::RootCertStore, Failure> {
        let mut roots = rustls::RootCertStore::empty();
        roots.add(self.root.clone())?;
        Ok(roots)
    }
}
