//! What a node sends to its authority: a signing request (PKCS #10), and beside it the present certificate with the
//! present key's signature over the request.

use puente_charter::certificate::{self, CertificateNames};
use puente_model::{Digest, Label, Millis, digest};
use rcgen::SigningKey;
use rustls::pki_types::{CertificateDer, TrustAnchor, UnixTime};
use webpki::{EndEntityCert, KeyUsage};

use super::{PAPER_BYTES_MAX, RenewalError};
use crate::ca::CaError;

/// What the present key signs: the request and its own certificate.
const RENEWAL: Label = Label("puente/v1/certificate-renewal");
const CSR: &str = "CERTIFICATE REQUEST";
const CERTIFICATE: &str = "CERTIFICATE";
const SIGNATURE: &str = "PUENTE RENEWAL SIGNATURE";

fn statement(csr: &[u8], present: &[u8]) -> Digest {
    digest(RENEWAL, &[csr, present])
}

fn block(label: &str, der: &[u8]) -> String {
    use base64::Engine as _;
    let text = base64::engine::general_purpose::STANDARD.encode(der);
    let lines: Vec<&str> = text.as_bytes().chunks(64).map(|c| std::str::from_utf8(c).unwrap_or_default()).collect();
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", lines.join("\n"))
}

/// A request on its way to the authority. Holds no secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RenewalRequest {
    pem: String,
    vouched: bool,
}

impl RenewalRequest {
    pub(super) fn alone(csr: &[u8]) -> Self {
        Self { pem: block(CSR, csr), vouched: false }
    }

    pub(super) fn vouched(csr: &[u8], present: &[u8], key: &impl SigningKey) -> Result<Self, RenewalError> {
        let signature = key.sign(statement(csr, present).as_bytes()).map_err(CaError::from)?;
        let pem = [block(CSR, csr), block(CERTIFICATE, present), block(SIGNATURE, &signature)].concat();
        Ok(Self { pem, vouched: true })
    }

    /// The file's text.
    pub fn pem(&self) -> &str {
        &self.pem
    }

    /// The present key vouches for it: the authority can renew without a person.
    pub const fn is_vouched(&self) -> bool {
        self.vouched
    }
}

/// Why an authority does not renew on a request.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// Not the three blocks of a renewal.
    #[error("this is no renewal request: {0}")]
    Malformed(&'static str),
    /// Only a signing request: nothing vouches for it.
    #[error("nothing vouches for this request: the node has no certificate in force")]
    Alone,
    /// The certificate that vouches names no node.
    #[error("the certificate that vouches is no node's: {0}")]
    Names(#[from] certificate::CertificateError),
    /// The certificate that vouches has ended.
    #[error("the certificate that vouches for this request ended at {0}: its key vouches for nothing any more")]
    Ended(Millis),
    /// The certificate that vouches is not of this authority.
    #[error("this authority did not issue the certificate that vouches for this request")]
    OtherAuthority,
    /// The signature is not of the certificate's key, or not over this request.
    #[error("the signature over the request is not of the present certificate's key")]
    Signature,
}

/// A request as it came, not yet believed.
#[derive(Debug, Clone)]
pub struct ClaimedRequest {
    csr: Vec<u8>,
    present: Option<(Vec<u8>, Vec<u8>)>,
}

impl ClaimedRequest {
    /// Reads a request file.
    ///
    /// # Errors
    /// [`RequestError::Malformed`].
    pub fn parse(text: &[u8]) -> Result<Self, RequestError> {
        if text.len() > PAPER_BYTES_MAX {
            return Err(RequestError::Malformed("larger than 64 KiB"));
        }
        let mut blocks = Vec::new();
        for pem in x509_parser::pem::Pem::iter_from_buffer(text) {
            blocks.push(pem.map_err(|_| RequestError::Malformed("broken PEM"))?);
        }
        let labels: Vec<&str> = blocks.iter().map(|pem| pem.label.as_str()).collect();
        let present = match labels.as_slice() {
            [CSR] => None,
            [CSR, CERTIFICATE, SIGNATURE] => Some((blocks[1].contents.clone(), blocks[2].contents.clone())),
            _ => {
                return Err(RequestError::Malformed(
                    "it holds a signing request, the present certificate and a signature",
                ));
            }
        };
        Ok(Self { csr: std::mem::take(&mut blocks[0].contents), present })
    }

    /// That a certificate in force of the authority with this root vouches for the request: the signing request (DER), and
    /// what that certificate says.
    ///
    /// # Errors
    /// What speaks against it.
    pub fn verify(self, root: &[u8], now: Millis) -> Result<(Vec<u8>, CertificateNames), RequestError> {
        let (present, signature) = self.present.ok_or(RequestError::Alone)?;
        let names = certificate::names(&present)?;
        if names.not_after < now {
            return Err(RequestError::Ended(names.not_after));
        }
        let root = CertificateDer::from(root);
        let anchor: TrustAnchor<'_> =
            webpki::anchor_from_trusted_cert(&root).map_err(|_| RequestError::OtherAuthority)?;
        let der = CertificateDer::from(present.as_slice());
        let cert = EndEntityCert::try_from(&der).map_err(|_| RequestError::Malformed("the certificate is broken"))?;
        let (algorithms, anchors) = (webpki::ALL_VERIFICATION_ALGS, [anchor]);
        let at = UnixTime::since_unix_epoch(std::time::Duration::from_millis(now.0));
        cert.verify_for_usage(algorithms, &anchors, &[], at, KeyUsage::client_auth(), None, None)
            .map_err(|_| RequestError::OtherAuthority)?;
        let said = statement(&self.csr, &present);
        let holds = |algorithm: &&dyn rustls::pki_types::SignatureVerificationAlgorithm| {
            cert.verify_signature(*algorithm, said.as_bytes(), &signature).is_ok()
        };
        if !algorithms.iter().any(holds) {
            return Err(RequestError::Signature);
        }
        Ok((self.csr, names))
    }
}
