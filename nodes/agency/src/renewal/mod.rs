//! A node's certificate, renewed: a fresh key, a request that the present key vouches for, a swap that a crash cannot
//! tear.
//!
//! The commit point is the replacement of `tls.cert.pem`. Until then the fresh key waits as `tls.next.key.pem`; from then on
//! it is the certificate's key, whatever its file is called, and [`settle`] gives it its name.
//! Promise: [`install`] changes nothing unless the certificate names this node, belongs to a key that is here, ends in a
//! root of the node's own nation and is newer than the present one.

mod request;

use std::io;
use std::path::{Path, PathBuf};

use puente_charter::Charter;
use puente_charter::certificate::{self, CertificateNames};
use puente_model::{Digest, Millis, NodeUri};
use rcgen::{KeyPair, PublicKeyData};
use zeroize::Zeroizing;

use crate::ca::{self, Algorithm, CaError};
use crate::config::NodeDir;
use crate::files;
use crate::keys::{TokenTlsKey, Vault};
use crate::net::certified;

pub use request::{ClaimedRequest, RenewalRequest, RequestError};

/// A certificate as young as this is not renewed: something is wrong with the clock, the timer or the authority.
pub const PAUSE_MILLIS: u64 = 3_600_000;
/// Largest certificate chain and largest request, in bytes of PEM.
pub const PAPER_BYTES_MAX: usize = 64 * 1024;

/// When a certificate is valid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Life {
    /// First instant at which it is valid.
    pub begin: Millis,
    /// Last second in which it is valid.
    pub end: Millis,
}

impl Life {
    /// When it is to be renewed: at two thirds of its life, and up to a twelfth of its life later, by the certificate's hash, so
    /// that the nodes of a nation do not all come at once and one node always comes at the same time.
    pub fn due(self, sha256: Digest) -> Millis {
        let life = self.end.since(self.begin);
        let mut first = [0; 8];
        first.copy_from_slice(&sha256.0[..8]);
        let jitter = u64::from_be_bytes(first).checked_rem(life / 12).unwrap_or(0);
        self.begin.plus(life / 3 * 2 + jitter)
    }
}

/// Why a certificate was not renewed. Nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum RenewalError {
    /// A file could not be read or written.
    #[error("{path}: {error}")]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// A key or request could not be made.
    #[error(transparent)]
    Ca(#[from] CaError),
    /// The key file is no key.
    #[error("{0}: this is not a PEM private key")]
    Key(PathBuf),
    /// The present certificate is hardly older than the clock.
    #[error("the certificate was issued {minutes} minutes ago: renewing it again at once would be a loop")]
    JustRenewed {
        /// How long ago.
        minutes: u64,
    },
    /// What came back is no certificate of a node.
    #[error("what came back is no certificate of a node: {0}")]
    NotACertificate(String),
    /// It names another node.
    #[error("the new certificate names {found}, but this node is {own}")]
    OtherNode {
        /// Whom it names.
        found: NodeUri,
        /// This node.
        own: NodeUri,
    },
    /// It belongs to a key that is not here.
    #[error("the new certificate belongs to a key that is not in this node's folder or token")]
    OtherKey,
    /// It has ended, or begins later.
    #[error("the new certificate is valid from {0} to {1}, not now")]
    NotNow(Millis, Millis),
    /// It ends no later than the present one.
    #[error("the new certificate ends at {new}, no later than the present one, which ends at {present}")]
    NotNewer {
        /// End of the new one.
        new: Millis,
        /// End of the present one.
        present: Millis,
    },
    /// It would have to be renewed at once.
    #[error("the new certificate ends at {0}: it would be due again at once, over and over")]
    DueAtOnce(Millis),
    /// No peer would accept it.
    #[error("no peer would accept the new certificate: {0}")]
    NotAccepted(String),
}

impl RenewalError {
    /// Stable name of the cause.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::File { .. } => "file",
            Self::Ca(_) => "certificate",
            Self::Key(_) => "key",
            Self::JustRenewed { .. } => "just-renewed",
            Self::NotACertificate(_) => "not-a-certificate",
            Self::OtherNode { .. } => "other-node",
            Self::OtherKey => "other-key",
            Self::NotNow(..) => "not-now",
            Self::NotNewer { .. } => "not-newer",
            Self::DueAtOnce(_) => "due-at-once",
            Self::NotAccepted(_) => "not-accepted",
        }
    }

    /// What to do about it.
    pub const fn mend(&self) -> &'static str {
        match self {
            Self::File { .. } => "check who owns the file",
            Self::Ca(_) | Self::Key(_) => "remove tls.next.key.pem from keys/ and begin again",
            Self::JustRenewed { .. } => "look at the clock and at what runs the renewal; --force renews all the same",
            Self::NotACertificate(_) => "the authority answers with the certificate in PEM, then its root",
            Self::OtherNode { .. } => "have it issued for this node's own request",
            Self::OtherKey => "have it issued for the newest request of this node: puente node renew --request FILE",
            Self::NotNow(..) => "compare this machine's clock with the authority's",
            Self::NotNewer { .. } => "the authority gave an old certificate: have a new one issued",
            Self::DueAtOnce(_) => "have it issued for more days; fourteen is usual",
            Self::NotAccepted(_) => "the authority must be the one whose root the charter gives for this nation",
        }
    }
}

fn file(path: &Path) -> impl FnOnce(io::Error) -> RenewalError + '_ {
    move |error| RenewalError::File { path: path.to_owned(), error }
}

/// What there is now: none before the first certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Present {
    /// What it says.
    pub names: CertificateNames,
    /// SHA-256 of the certificate.
    pub sha256: Digest,
    /// The certificate, DER.
    pub der: Vec<u8>,
}

impl Present {
    /// The certificate in the node's folder.
    ///
    /// # Errors
    /// There is one and it cannot be read.
    pub fn read(dir: &NodeDir) -> Result<Option<Self>, RenewalError> {
        let path = dir.tls_cert();
        match files::read(&path) {
            Ok(pem) => Self::parse(&pem).map(Some).map_err(RenewalError::NotACertificate),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(file(&path)(error)),
        }
    }

    fn parse(pem: &[u8]) -> Result<Self, String> {
        let der = match x509_parser::pem::parse_x509_pem(pem) {
            Ok((_, pem)) if pem.label == "CERTIFICATE" => pem.contents,
            _ => return Err("no certificate in PEM".to_owned()),
        };
        let names = certificate::names(&der).map_err(|error| error.to_string())?;
        Ok(Self { names, sha256: Digest::of(&der), der })
    }

    /// When it is valid.
    pub const fn life(&self) -> Life {
        Life { begin: self.names.not_before, end: self.names.not_after }
    }

    /// When it is to be renewed.
    pub fn due(&self) -> Millis {
        self.life().due(self.sha256)
    }

    /// That it was not issued a moment ago.
    ///
    /// # Errors
    /// [`RenewalError::JustRenewed`].
    pub fn not_just_renewed(&self, now: Millis) -> Result<(), RenewalError> {
        let age = now.since(self.names.not_before);
        if age < PAUSE_MILLIS { Err(RenewalError::JustRenewed { minutes: age / 60_000 }) } else { Ok(()) }
    }
}

/// Hash of a key's SubjectPublicKeyInfo.
pub(crate) fn key_digest(key: &impl PublicKeyData) -> Digest {
    Digest::of(&key.subject_public_key_info())
}

fn read_pair(vault: &Vault, path: &Path) -> Result<KeyPair, RenewalError> {
    let bytes = vault.read(path).map_err(file(path))?;
    let malformed = || RenewalError::Key(path.to_owned());
    let pem = std::str::from_utf8(&bytes).map_err(|_| malformed())?;
    KeyPair::from_pem(pem).map_err(|_| malformed())
}

/// A certificate chain, leaf first, and its private key, both PEM.
pub type Credentials = (Vec<u8>, Zeroizing<Vec<u8>>);

/// The node's certificate chain and its private key as they belong together: after a swap that was cut off the
/// key is still in `tls.next.key.pem`.
///
/// # Errors
/// A file cannot be read; the path says which.
pub fn credentials(dir: &NodeDir, vault: &Vault) -> Result<Credentials, (PathBuf, io::Error)> {
    let read = |path: PathBuf| vault.read(&path).map_err(|error| (path, error));
    let chain = read(dir.tls_cert())?.to_vec();
    let key = if next_is_in_force(dir, vault, &chain) { dir.tls_next_key() } else { dir.tls_key() };
    Ok((chain, read(key)?))
}

fn next_is_in_force(dir: &NodeDir, vault: &Vault, chain: &[u8]) -> bool {
    let next = read_pair(vault, &dir.tls_next_key());
    matches!((next, Present::parse(chain)), (Ok(next), Ok(present)) if key_digest(&next) == present.names.key_digest)
}

/// Ends a swap that was cut off between certificate and key.
///
/// # Errors
/// The key's file cannot be renamed.
pub fn settle(dir: &NodeDir, vault: &Vault) -> io::Result<()> {
    match files::read(&dir.tls_cert()) {
        Ok(chain) if next_is_in_force(dir, vault, &chain) => files::rename(&dir.tls_next_key(), &dir.tls_key()),
        _ => Ok(()),
    }
}

/// The request for a renewal, with a fresh key that waits for its certificate. The same key again while none has come.
///
/// The present key vouches for the request unless its certificate has ended: then a person must.
///
/// # Errors
/// A file cannot be read or written.
pub fn prepare(dir: &NodeDir, vault: &Vault, own: &NodeUri, now: Millis) -> Result<RenewalRequest, RenewalError> {
    settle(dir, vault).map_err(file(&dir.tls_key()))?;
    let path = dir.tls_next_key();
    if !path.exists() {
        let pem = Zeroizing::new(ca::generate(Algorithm::P256)?.serialize_pem());
        vault.create_as(&dir.tls_key(), &path, pem.as_bytes()).map_err(file(&path))?;
    }
    let next = read_pair(vault, &path)?;
    let csr = ca::request_for(own, &next)?;
    let present = Present::read(dir).ok().flatten().filter(|present| present.names.not_after >= now);
    Ok(match present {
        Some(present) => RenewalRequest::vouched(&csr, &present.der, &read_pair(vault, &dir.tls_key())?)?,
        None => RenewalRequest::alone(&csr),
    })
}

/// The request for a renewal of a key that stays where it is, in a token: it vouches for itself, unless its certificate has
/// ended.
///
/// # Errors
/// The token does not sign.
pub(crate) fn prepare_held(
    dir: &NodeDir,
    own: &NodeUri,
    key: &TokenTlsKey,
    now: Millis,
) -> Result<RenewalRequest, RenewalError> {
    let csr = ca::request_for(own, key)?;
    let present = Present::read(dir).ok().flatten().filter(|present| present.names.not_after >= now);
    Ok(match present {
        Some(present) if present.names.key_digest == key_digest(key) => {
            RenewalRequest::vouched(&csr, &present.der, key)?
        }
        _ => RenewalRequest::alone(&csr),
    })
}

/// What [`install`] put in force.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Installed {
    /// When the new certificate is valid.
    pub life: Life,
    /// When it is to be renewed.
    pub due: Millis,
    /// The key is a new one.
    pub new_key: bool,
}

/// Puts a certificate chain (PEM, leaf first) into the node's folder, if it is this node's, its key's, its nation's and newer.
/// Without a charter the nation's root is not known, and not looked at: a node's first certificate comes before its charter.
/// Where the key is in a token, `held` is the hash of its SubjectPublicKeyInfo: no other key will do.
///
/// # Errors
/// What speaks against the certificate; nothing was changed then.
pub fn install(
    dir: &NodeDir,
    vault: &Vault,
    own: &NodeUri,
    charter: Option<&Charter>,
    chain: &[u8],
    held: Option<Digest>,
    now: Millis,
) -> Result<Installed, RenewalError> {
    settle(dir, vault).map_err(file(&dir.tls_key()))?;
    if chain.len() > PAPER_BYTES_MAX {
        return Err(RenewalError::NotACertificate(format!("larger than {PAPER_BYTES_MAX} bytes")));
    }
    let new = Present::parse(chain).map_err(RenewalError::NotACertificate)?;
    if new.names.uri != *own {
        return Err(RenewalError::OtherNode { found: new.names.uri, own: own.clone() });
    }
    let fits = |path: &Path| read_pair(vault, path).is_ok_and(|key| key_digest(&key) == new.names.key_digest);
    let new_key = held.is_none() && fits(&dir.tls_next_key());
    let fitting = held.map_or_else(|| new_key || fits(&dir.tls_key()), |held| held == new.names.key_digest);
    if !fitting {
        return Err(RenewalError::OtherKey);
    }
    let life = new.life();
    if life.begin > now || life.end <= now {
        return Err(RenewalError::NotNow(life.begin, life.end));
    }
    if let Ok(Some(present)) = Present::read(dir)
        && new.names.not_after <= present.names.not_after
    {
        return Err(RenewalError::NotNewer { new: life.end, present: present.names.not_after });
    }
    if new.due() <= now {
        return Err(RenewalError::DueAtOnce(life.end));
    }
    if let Some(charter) = charter {
        certified(own, charter, chain, now).map_err(RenewalError::NotAccepted)?;
    }
    files::replace(&dir.tls_cert(), chain, false).map_err(file(&dir.tls_cert()))?;
    settle(dir, vault).map_err(file(&dir.tls_key()))?;
    Ok(Installed { life, due: new.due(), new_key })
}
