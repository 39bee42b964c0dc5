//! A certificate authority for a nation without a public-key infrastructure of its own.
//!
//! A root vouches only for its own nation: its certificate says which (country
//! name), and [`issue`] refuses any other nation's node. Peers check the same
//! on their side, against the roots that the charter gives for each nation.

use std::io;
use std::path::{Path, PathBuf};

use puente_charter::certificate::{self, CertificateError, CertificateNames};
use puente_charter::{Charter, CharterStatus};
use puente_model::{AuditorUri, Digest, Jurisdiction, Millis, NodeUri};
use rcgen::{
    BasicConstraints, CertificateParams, CertificateSigningRequestParams, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose, SanType, SerialNumber,
};
use rustls::pki_types::CertificateSigningRequestDer;

use crate::files;
use crate::renewal::{ClaimedRequest, PAUSE_MILLIS, RequestError};

/// Certificates begin this long before they are made, so that a peer whose clock is late accepts them.
const BACKDATE_MILLIS: u64 = 5 * 60_000;

/// Name of the root's key in the authority's folder.
pub const ROOT_KEY: &str = "root.key.pem";
/// Name of the root's certificate in the authority's folder.
pub const ROOT_CERT: &str = "root.cert.pem";

/// Kinds of certificate keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Algorithm {
    /// ECDSA over P-256 with SHA-256.
    P256,
    /// Ed25519.
    Ed25519,
}

/// Why the authority did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum CaError {
    /// A file could not be read or written.
    #[error("{path}: {error}")]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// A file is not what it should be.
    #[error("{path}: {what}")]
    Malformed {
        /// Which.
        path: PathBuf,
        /// What is wrong.
        what: String,
    },
    /// The name belongs to another nation.
    #[error(
        "this authority vouches for names of {own} only; {name} belongs to {other}, \
         and only the authority of {other} can issue its certificate"
    )]
    OtherNation {
        /// The authority's nation.
        own: Jurisdiction,
        /// The node or auditor that was named.
        name: String,
        /// Its nation.
        other: Jurisdiction,
    },
    /// The signing request names somebody else than the command does.
    #[error("the signing request names {found}, not {expected}")]
    OtherName {
        /// What the request says.
        found: String,
        /// What the command says.
        expected: String,
    },
    /// The request does not vouch for itself.
    #[error(transparent)]
    Request(#[from] RequestError),
    /// It was issued a moment ago.
    #[error("the certificate was issued {minutes} minutes ago: renewing it again at once would be a loop")]
    JustRenewed {
        /// How long ago.
        minutes: u64,
    },
    /// The charter does not admit the node.
    #[error("the charter does not admit {0}: it is no member, or suspended")]
    NotAMember(NodeUri),
    /// Nobody exchanges under this charter any more.
    #[error("the charter and its grace have ended: nothing is renewed under it")]
    CharterOver,
    /// The certificate would outlive the root.
    #[error("the root ends at {root}, before the certificate would: make a new root, or issue for fewer days")]
    Outlives {
        /// When the root ends.
        root: Millis,
    },
    /// The cryptographic library refused.
    #[error("the certificate could not be made: {0}")]
    Library(#[from] rcgen::Error),
}

impl CaError {
    fn file(path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |error| Self::File { path: path.to_owned(), error }
    }

    fn malformed(path: &Path, what: impl Into<String>) -> Self {
        Self::Malformed { path: path.to_owned(), what: what.into() }
    }
}

/// What a certificate file says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shown {
    /// A nation's root, or else a node's or an auditor's certificate.
    pub authority: bool,
    /// The node, of a node's certificate.
    pub node: Option<NodeUri>,
    /// The auditor, of an auditor's certificate.
    pub auditor: Option<AuditorUri>,
    /// Country name of the subject, of an authority's.
    pub jurisdiction: Option<Jurisdiction>,
    /// First instant at which it is valid.
    pub not_before: Millis,
    /// Last second in which it is valid.
    pub not_after: Millis,
    /// SHA-256 of the certificate.
    pub sha256: Digest,
    /// The certificate, DER.
    pub der: Vec<u8>,
}

fn instant(at: Millis) -> impl Fn(&mut CertificateParams, bool) {
    move |params, end| {
        let seconds = std::time::Duration::from_secs(at.0 / 1_000);
        let moment = rcgen::date_time_ymd(1970, 1, 1) + seconds;
        if end {
            params.not_after = moment;
        } else {
            params.not_before = moment;
        }
    }
}

pub(crate) fn generate(algorithm: Algorithm) -> Result<KeyPair, CaError> {
    Ok(KeyPair::generate_for(match algorithm {
        Algorithm::P256 => &rcgen::PKCS_ECDSA_P256_SHA256,
        Algorithm::Ed25519 => &rcgen::PKCS_ED25519,
    })?)
}

fn serial() -> Result<SerialNumber, CaError> {
    let secret = files::fresh_secret().map_err(CaError::file(Path::new("randomness")))?;
    let mut bytes = secret.expose()[..16].to_vec();
    bytes[0] = bytes[0] & 0x7f | 0x40;
    Ok(SerialNumber::from(bytes))
}

/// Makes a nation's root in `out`: key (0600) and certificate. Existing files are left alone.
///
/// # Errors
/// A root exists there already, or files cannot be written.
pub fn init(
    jurisdiction: &Jurisdiction,
    out: &Path,
    algorithm: Algorithm,
    days: u32,
    now: Millis,
) -> Result<Shown, CaError> {
    files::make_private_dir(out).map_err(CaError::file(out))?;
    let key = generate(algorithm)?;
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CountryName, jurisdiction.as_str().to_uppercase());
    params.distinguished_name.push(DnType::CommonName, format!("Puente root of {jurisdiction}"));
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.serial_number = Some(serial()?);
    instant(Millis(now.0.saturating_sub(BACKDATE_MILLIS)))(&mut params, false);
    instant(now.plus(u64::from(days) * 86_400_000))(&mut params, true);
    let cert = params.self_signed(&key)?;
    let (key_path, cert_path) = (out.join(ROOT_KEY), out.join(ROOT_CERT));
    let pem = zeroize::Zeroizing::new(key.serialize_pem());
    files::create(&key_path, pem.as_bytes(), true).map_err(CaError::file(&key_path))?;
    files::create(&cert_path, cert.pem().as_bytes(), false).map_err(CaError::file(&cert_path))?;
    show(&cert_path)
}

/// The key that a certificate is issued for.
#[derive(Debug)]
pub enum Subject<'a> {
    /// A fresh key, written beside the certificate.
    Fresh(Algorithm),
    /// The key of a signing request (PEM file).
    Request(&'a Path),
}

/// Whose certificate it is to be.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Name {
    Node(NodeUri),
    Auditor(AuditorUri),
}

impl Name {
    fn as_str(&self) -> &str {
        match self {
            Self::Node(uri) => uri.as_str(),
            Self::Auditor(uri) => uri.as_str(),
        }
    }

    fn jurisdiction(&self) -> Jurisdiction {
        match self {
            Self::Node(uri) => uri.jurisdiction(),
            Self::Auditor(uri) => uri.jurisdiction(),
        }
    }

    /// Nodes dial and are dialled; auditors only dial.
    fn usages(&self) -> Vec<ExtendedKeyUsagePurpose> {
        match self {
            Self::Node(_) => vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth],
            Self::Auditor(_) => vec![ExtendedKeyUsagePurpose::ClientAuth],
        }
    }
}

/// Issues a node's certificate into `out`: `tls.cert.pem` (leaf, then root) and, for a fresh key, `tls.key.pem` (0600).
///
/// An existing certificate is replaced (certificates are renewed daily); an existing key is not.
///
/// # Errors
/// The node is another nation's, the request is malformed or names another node, or files cannot be read or written.
pub fn issue(
    ca: &Path,
    node: Option<&NodeUri>,
    subject: &Subject<'_>,
    days: u32,
    out: &Path,
    now: Millis,
) -> Result<Shown, CaError> {
    issue_to(ca, node.cloned().map(Name::Node), subject, days, out, now)
}

/// Issues the certificate that an auditor presents to nodes, as [`issue`] does a node's.
///
/// # Errors
/// As of [`issue`].
pub fn issue_auditor(
    ca: &Path,
    auditor: &AuditorUri,
    subject: &Subject<'_>,
    days: u32,
    out: &Path,
    now: Millis,
) -> Result<Shown, CaError> {
    issue_to(ca, Some(Name::Auditor(auditor.clone())), subject, days, out, now)
}

/// A nation's authority: its root, and the key that signs.
struct Authority<'a> {
    folder: &'a Path,
    root: Shown,
    nation: Jurisdiction,
}

impl<'a> Authority<'a> {
    fn open(folder: &'a Path) -> Result<Self, CaError> {
        let path = folder.join(ROOT_CERT);
        let root = show(&path)?;
        match (root.authority, root.jurisdiction.clone()) {
            (true, Some(nation)) => Ok(Self { folder, root, nation }),
            _ => Err(CaError::malformed(&path, "this is no nation's root; make one with 'puente ca init'")),
        }
    }

    /// The certificate of a name and then the root, PEM; `sign` brings the key that is certified.
    fn certify(
        &self,
        name: &Name,
        days: u32,
        now: Millis,
        sign: impl FnOnce(CertificateParams, &Issuer<'_, KeyPair>) -> Result<rcgen::Certificate, CaError>,
    ) -> Result<String, CaError> {
        if name.jurisdiction() != self.nation {
            let (own, other) = (self.nation.clone(), name.jurisdiction());
            return Err(CaError::OtherNation { own, name: name.as_str().to_owned(), other });
        }
        let end = now.plus(u64::from(days) * 86_400_000);
        if end > self.root.not_after {
            return Err(CaError::Outlives { root: self.root.not_after });
        }
        let (key_path, cert_path) = (self.folder.join(ROOT_KEY), self.folder.join(ROOT_CERT));
        let pem = files::read_text(&key_path).map(zeroize::Zeroizing::new).map_err(CaError::file(&key_path))?;
        let key =
            KeyPair::from_pem(&pem).map_err(|_| CaError::malformed(&key_path, "this is not a PEM private key"))?;
        let root_pem = files::read_text(&cert_path).map_err(CaError::file(&cert_path))?;
        let issuer = Issuer::from_ca_cert_pem(&root_pem, key)?;
        let mut params = leaf_params(name)?;
        params.serial_number = Some(serial()?);
        params.use_authority_key_identifier_extension = true;
        instant(Millis(now.0.saturating_sub(BACKDATE_MILLIS)))(&mut params, false);
        instant(end)(&mut params, true);
        Ok(format!("{}{root_pem}", sign(params, &issuer)?.pem()))
    }
}

fn issue_to(
    ca: &Path,
    name: Option<Name>,
    subject: &Subject<'_>,
    days: u32,
    out: &Path,
    now: Millis,
) -> Result<Shown, CaError> {
    let authority = Authority::open(ca)?;
    let request = match subject {
        Subject::Request(path) => Some(read_request(path)?),
        Subject::Fresh(_) => None,
    };
    let name = match (name, &request) {
        (Some(name), Some((_, found))) if *found != name.as_str() => {
            let found = if found.is_empty() { "nobody".to_owned() } else { found.clone() };
            return Err(CaError::OtherName { found, expected: name.as_str().to_owned() });
        }
        (Some(name), _) => name,
        (None, Some((_, found))) => Name::Node(found.parse().map_err(|_| {
            CaError::malformed(ca, "name whose certificate it is with --node or --auditor: the request names no node")
        })?),
        (None, None) => return Err(CaError::malformed(ca, "name the node with --node")),
    };
    let chain = authority.certify(&name, days, now, |params, issuer| match (subject, request) {
        (Subject::Fresh(algorithm), _) => {
            files::make_dir(out).map_err(CaError::file(out))?;
            let leaf_key = make_key(*algorithm, &out.join("tls.key.pem"))?;
            Ok(params.signed_by(&leaf_key, issuer)?)
        }
        (Subject::Request(_), Some((request, _))) => Ok(params.signed_by(&request.public_key, issuer)?),
        (Subject::Request(path), None) => Err(CaError::malformed(path, "the signing request is empty")),
    })?;
    files::make_dir(out).map_err(CaError::file(out))?;
    let path = out.join("tls.cert.pem");
    files::replace(&path, chain.as_bytes(), false).map_err(CaError::file(&path))?;
    show(&path)
}

/// Makes a key in a file of its own (0600). An existing file is left alone.
///
/// # Errors
/// The file exists already, or cannot be written.
pub fn make_key(algorithm: Algorithm, path: &Path) -> Result<KeyPair, CaError> {
    let key = generate(algorithm)?;
    let pem = zeroize::Zeroizing::new(key.serialize_pem());
    files::create(path, pem.as_bytes(), true).map_err(CaError::file(path))?;
    Ok(key)
}

/// A node's signing request (PKCS #10, DER) for a key.
///
/// # Errors
/// The cryptographic library refuses.
pub fn request_for(node: &NodeUri, key: &impl rcgen::SigningKey) -> Result<Vec<u8>, CaError> {
    Ok(leaf_params(&Name::Node(node.clone()))?.serialize_request(key)?.der().to_vec())
}

/// Renews a node's certificate on a request that the present certificate vouches for, without a person: chain in PEM, leaf
/// first, and what it says. With a charter, for its active members only.
///
/// # Errors
/// Nothing in force vouches for the request, it is another node's or nation's, the present certificate is younger than
/// [`PAUSE_MILLIS`] (unless `force`), or the charter has no such member.
pub fn renew(
    ca: &Path,
    request: ClaimedRequest,
    charter: Option<&Charter>,
    days: u32,
    now: Millis,
    force: bool,
) -> Result<(String, Shown), CaError> {
    let authority = Authority::open(ca)?;
    let (csr, present) = request.verify(&authority.root.der, now)?;
    let age = now.since(present.not_before);
    if age < PAUSE_MILLIS && !force {
        return Err(CaError::JustRenewed { minutes: age / 60_000 });
    }
    if let Some(charter) = charter {
        if charter.status(now) == CharterStatus::Expired {
            return Err(CaError::CharterOver);
        }
        if !charter.member(&present.uri).is_some_and(puente_charter::Member::is_active) {
            return Err(CaError::NotAMember(present.uri));
        }
    }
    let (request, found) = parse_request(&csr.into())?;
    if found != present.uri.as_str() {
        return Err(CaError::OtherName { found, expected: present.uri.to_string() });
    }
    let name = Name::Node(present.uri);
    let chain =
        authority.certify(&name, days, now, |params, issuer| Ok(params.signed_by(&request.public_key, issuer)?))?;
    let (_, pem) = x509_parser::pem::parse_x509_pem(chain.as_bytes())
        .map_err(|_| CaError::malformed(ca, "the new certificate cannot be read"))?;
    let shown = shown(ca, pem.contents)?;
    Ok((chain, shown))
}

fn leaf_params(name: &Name) -> Result<CertificateParams, CaError> {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    // No name in the subject: the one URI among the alternative names is the identity.
    params.subject_alt_names = vec![SanType::URI(name.as_str().try_into()?)];
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = name.usages();
    params.is_ca = IsCa::ExplicitNoCa;
    Ok(params)
}

/// Makes a node's key and signing request: `key` (0600) and `csr`. Existing files are left alone.
///
/// # Errors
/// A file exists already, or cannot be written.
pub fn request(node: &NodeUri, algorithm: Algorithm, key: &Path, csr: &Path) -> Result<(), CaError> {
    let pair = make_key(algorithm, key)?;
    let text = leaf_params(&Name::Node(node.clone()))?.serialize_request(&pair)?.pem()?;
    files::create(csr, text.as_bytes(), false).map_err(CaError::file(csr))
}

/// A signing request, and the URI that it names; empty if it names none.
fn read_request(path: &Path) -> Result<(CertificateSigningRequestParams, String), CaError> {
    let text = files::read(path).map_err(CaError::file(path))?;
    // A renewal's file begins with the signing request; a person may issue on it, too.
    let der = match x509_parser::pem::parse_x509_pem(&text) {
        Ok((_, pem)) => pem.contents.into(),
        Err(_) => return Err(CaError::malformed(path, "this is not a signing request in PEM")),
    };
    parse_request(&der).map_err(|error| match error {
        CaError::Library(error) => CaError::malformed(path, format!("this is not a usable signing request ({error})")),
        other => other,
    })
}

fn parse_request(der: &CertificateSigningRequestDer<'_>) -> Result<(CertificateSigningRequestParams, String), CaError> {
    let request = CertificateSigningRequestParams::from_der(der)?;
    let name = request.params.subject_alt_names.iter().find_map(|name| match name {
        SanType::URI(uri) => Some(uri.as_str().to_owned()),
        _ => None,
    });
    Ok((request, name.unwrap_or_default()))
}

/// What the first certificate of a file (PEM or DER) says.
///
/// # Errors
/// The file cannot be read or holds no certificate.
pub fn show(path: &Path) -> Result<Shown, CaError> {
    let bytes = files::read(path).map_err(CaError::file(path))?;
    let der = match x509_parser::pem::parse_x509_pem(&bytes) {
        Ok((_, pem)) if pem.label == "CERTIFICATE" => pem.contents,
        Ok((_, pem)) => {
            let what = format!("this is a {}, not a certificate", pem.label.to_lowercase());
            return Err(CaError::malformed(path, what));
        }
        Err(_) => bytes,
    };
    shown(path, der)
}

fn shown(path: &Path, der: Vec<u8>) -> Result<Shown, CaError> {
    match certificate::names(&der) {
        Ok(CertificateNames { uri, not_before, not_after, .. }) => {
            let jurisdiction = Some(uri.jurisdiction());
            let sha256 = Digest::of(&der);
            let node = Some(uri);
            Ok(Shown { authority: false, node, auditor: None, jurisdiction, not_before, not_after, sha256, der })
        }
        Err(CertificateError::NotANode) => {
            let names = certificate::auditor_names(&der);
            let CertificateNames { uri, not_before, not_after, .. } =
                names.map_err(|_| CaError::malformed(path, "its URI name is neither a node's nor an auditor's"))?;
            let (jurisdiction, sha256) = (Some(uri.jurisdiction()), Digest::of(&der));
            let auditor = Some(uri);
            Ok(Shown { authority: false, node: None, auditor, jurisdiction, not_before, not_after, sha256, der })
        }
        Err(CertificateError::Authority) => show_root(path, der),
        Err(error) => Err(CaError::malformed(path, error.to_string())),
    }
}

/// When a root's certificate (DER) ends; none if it is no certificate.
pub fn root_end(der: &[u8]) -> Option<Millis> {
    show_root(Path::new("root"), der.to_vec()).ok().map(|shown| shown.not_after)
}

fn show_root(path: &Path, der: Vec<u8>) -> Result<Shown, CaError> {
    let sha256 = Digest::of(&der);
    let (jurisdiction, not_before, not_after) = {
        let (_, cert) = x509_parser::parse_x509_certificate(&der)
            .map_err(|_| CaError::malformed(path, "this is not a certificate"))?;
        let country = cert.subject().iter_country().next().and_then(|c| c.as_str().ok()).map(str::to_lowercase);
        let millis = |seconds: i64| Millis(u64::try_from(seconds).unwrap_or(0).saturating_mul(1_000));
        let validity = cert.validity();
        (
            country.and_then(|c| c.parse().ok()),
            millis(validity.not_before.timestamp()),
            millis(validity.not_after.timestamp()),
        )
    };
    Ok(Shown { authority: true, node: None, auditor: None, jurisdiction, not_before, not_after, sha256, der })
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Millis = Millis(1_795_305_600_000);

    fn uri(text: &str) -> NodeUri {
        text.parse().unwrap()
    }

    #[test]
    fn a_root_vouches_for_its_own_nation_only() {
        let dir = tempfile::tempdir().unwrap();
        let (ca, out) = (dir.path().join("ca"), dir.path().join("keys"));
        for (algorithm, name) in [(Algorithm::P256, "p256"), (Algorithm::Ed25519, "ed25519")] {
            let ca = ca.join(name);
            let root = init(&"mx".parse().unwrap(), &ca, algorithm, 3650, NOW).unwrap();
            assert!(root.authority);
            assert_eq!(root.jurisdiction.unwrap().as_str(), "mx");
            let node = uri("puente://mx/fge-bc/n1");
            let out = out.join(name);
            let leaf = issue(&ca, Some(&node), &Subject::Fresh(algorithm), 14, &out, NOW).unwrap();
            assert_eq!(leaf.node.as_ref(), Some(&node));
            assert_eq!(leaf.not_after, NOW.plus(14 * 86_400_000));
            assert!(leaf.not_before < NOW);
        }
        let foreign = uri("puente://us/tx-dps/n1");
        let error =
            issue(&ca.join("p256"), Some(&foreign), &Subject::Fresh(Algorithm::P256), 14, &out, NOW).unwrap_err();
        let text = error.to_string();
        assert!(text.contains("names of mx only") && text.contains("authority of us"), "{text}");
        assert!(!out.join("tls.key.pem").exists());
    }

    #[test]
    fn a_request_keeps_its_key_at_home() {
        let dir = tempfile::tempdir().unwrap();
        let (ca, key, csr) = (dir.path().join("ca"), dir.path().join("k.pem"), dir.path().join("r.pem"));
        init(&"mx".parse().unwrap(), &ca, Algorithm::P256, 3650, NOW).unwrap();
        let node = uri("puente://mx/fge-bc/n1");
        request(&node, Algorithm::P256, &key, &csr).unwrap();
        let leaf = issue(&ca, None, &Subject::Request(&csr), 14, dir.path(), NOW).unwrap();
        assert_eq!(leaf.node, Some(node));
        // Renewal replaces the certificate.
        issue(&ca, None, &Subject::Request(&csr), 14, dir.path(), NOW.plus(1_000)).unwrap();
        let other = uri("puente://mx/fgr/n1");
        let error = issue(&ca, Some(&other), &Subject::Request(&csr), 14, dir.path(), NOW).unwrap_err();
        assert!(matches!(error, CaError::OtherName { .. }), "{error}");
        assert!(matches!(show(&key), Err(CaError::Malformed { .. })));
    }

    #[test]
    fn an_auditor_gets_a_certificate_to_dial_with() {
        let dir = tempfile::tempdir().unwrap();
        let ca = dir.path().join("ca");
        init(&"mx".parse().unwrap(), &ca, Algorithm::P256, 3650, NOW).unwrap();
        let auditor: AuditorUri = "puente-auditor://mx/auditoria-a".parse().unwrap();
        let (fresh, out) = (Subject::Fresh(Algorithm::P256), dir.path().join("auditor"));
        let shown = issue_auditor(&ca, &auditor, &fresh, 14, &out, NOW).unwrap();
        assert_eq!((shown.auditor, shown.node), (Some(auditor.clone()), None));
        let (_, pem) = x509_parser::pem::parse_x509_pem(&files::read(&out.join("tls.cert.pem")).unwrap()).unwrap();
        let (_, cert) = x509_parser::parse_x509_certificate(&pem.contents).unwrap();
        let usage = cert.extended_key_usage().unwrap().unwrap().value.clone();
        assert!(usage.client_auth && !usage.server_auth, "an auditor dials and is never dialled");
        // The request of a node makes no auditor, and no other nation's root does.
        let (key, csr) = (dir.path().join("k.pem"), dir.path().join("r.pem"));
        request(&uri("puente://mx/fge-bc/n1"), Algorithm::P256, &key, &csr).unwrap();
        let error = issue_auditor(&ca, &auditor, &Subject::Request(&csr), 14, &out, NOW).unwrap_err();
        assert!(matches!(error, CaError::OtherName { .. }), "{error}");
        let foreign = AuditorUri::new(&"us".parse().unwrap(), "auditor-a").unwrap();
        let error = issue_auditor(&ca, &foreign, &fresh, 14, &dir.path().join("us"), NOW).unwrap_err();
        assert!(matches!(error, CaError::OtherNation { .. }), "{error}");
    }

    #[test]
    fn nothing_outlives_its_root() {
        let dir = tempfile::tempdir().unwrap();
        init(&"mx".parse().unwrap(), dir.path(), Algorithm::P256, 10, NOW).unwrap();
        let node = uri("puente://mx/fge-bc/n1");
        let error = issue(dir.path(), Some(&node), &Subject::Fresh(Algorithm::P256), 14, dir.path(), NOW).unwrap_err();
        assert!(matches!(error, CaError::Outlives { .. }), "{error}");
        let error = init(&"mx".parse().unwrap(), dir.path(), Algorithm::P256, 10, NOW).unwrap_err();
        assert!(error.to_string().contains("exists"), "{error}");
    }
}
