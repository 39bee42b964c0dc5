//! Certificates for tests: two nations, and everything that a certificate can get wrong.

use puente_model::NodeUri;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    SanType, date_time_ymd,
};
use rustls::pki_types::CertificateDer;

use super::Identity;
use super::trust::{Member, Trust};

pub(crate) const A: &str = "puente://mx/fge-bc/n1";
pub(crate) const B: &str = "puente://us/sdsheriff/n1";
pub(crate) const C: &str = "puente://us/suspended/n1";

pub(crate) fn uri(text: &str) -> NodeUri {
    text.parse().unwrap()
}

/// A nation's certificate authority.
pub(crate) struct Root {
    pub(crate) der: CertificateDer<'static>,
    pub(crate) issuer: Issuer<'static, KeyPair>,
}

pub(crate) fn authority(name: &str, constraints: BasicConstraints) -> (CertificateParams, KeyPair) {
    let mut params = CertificateParams::new(vec![]).unwrap();
    params.is_ca = IsCa::Ca(constraints);
    params.distinguished_name.push(DnType::CommonName, name);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    (params, KeyPair::generate().unwrap())
}

pub(crate) fn root(name: &str) -> Root {
    let (params, key) = authority(name, BasicConstraints::Unconstrained);
    let der = params.self_signed(&key).unwrap().der().clone();
    Root { der, issuer: Issuer::new(params, key) }
}

/// The parameters of a good node certificate.
pub(crate) fn leaf(name: &str) -> CertificateParams {
    let mut params = CertificateParams::new(vec![]).unwrap();
    params.subject_alt_names = vec![SanType::URI(name.try_into().unwrap())];
    params.distinguished_name.push(DnType::CommonName, name);
    params.not_before = date_time_ymd(2020, 1, 1);
    params.not_after = date_time_ymd(2095, 1, 1);
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    params
}

/// Issues it with a fresh P-256 key: chain and key in PEM.
pub(crate) fn issue(
    params: CertificateParams,
    issuer: &Issuer<'static, KeyPair>,
) -> (CertificateDer<'static>, KeyPair) {
    let key = KeyPair::generate().unwrap();
    (params.signed_by(&key, issuer).unwrap().der().clone(), key)
}

/// Two nations with a root each.
pub(crate) struct World {
    pub(crate) mx: Root,
    pub(crate) us: Root,
}

impl World {
    pub(crate) fn new() -> Self {
        Self { mx: root("Root of MX"), us: root("Root of US") }
    }

    /// What node `own` trusts; `addresses` are the members' endpoints.
    pub(crate) fn trust(&self, own: &str, addresses: &[(&str, String)]) -> Trust {
        let (mx, us) = ([self.mx.der.to_vec()], [self.us.der.to_vec()]);
        let roots = [("mx".parse().unwrap(), &mx[..]), ("us".parse().unwrap(), &us[..])];
        let members = [A, B, C].map(|name| {
            let endpoints = addresses.iter().filter(|(n, _)| *n == name).map(|(_, at)| at.clone()).collect();
            (uri(name), Member { endpoints, suspended: name == C })
        });
        Trust::new(uri(own), roots, members).unwrap()
    }

    /// A good identity of a node, issued by the root of its nation, or by another.
    pub(crate) fn identity(&self, name: &str, issuer: &Root) -> Identity {
        let (chain, key) = self.pem(name, issuer);
        Identity::from_pem(&uri(name), &chain, &key).unwrap()
    }

    /// The same as the files that a node keeps.
    pub(crate) fn pem(&self, name: &str, issuer: &Root) -> (Vec<u8>, Vec<u8>) {
        let (der, key) = issue(leaf(name), &issuer.issuer);
        (pem(&der).into_bytes(), key.serialize_pem().into_bytes())
    }
}

pub(crate) fn pem(der: &[u8]) -> String {
    use base64::Engine as _;
    let text = base64::engine::general_purpose::STANDARD.encode(der);
    let lines: Vec<&str> = text.as_bytes().chunks(64).map(|c| std::str::from_utf8(c).unwrap()).collect();
    format!("-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n", lines.join("\n"))
}
