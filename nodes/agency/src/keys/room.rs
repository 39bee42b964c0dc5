//! Where the node's private keys are: in files, or in a token. Whoever needs one asks here.

use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use puente_audit_log::{KeyError, Signer, VerifierKey};
use puente_model::{NodeUri, Origin, Secret32};
use rustls::sign::SigningKey;

use super::Vault;
use super::token::{Care, KeysConfig, Kind, Token, TokenError, TokenSigner, TokenTlsKey};
use crate::config::NodeDir;
use crate::net::{Identity, IdentityError};
use crate::signer::LogSigner;

/// A token that answered this recently is not asked whether it is there.
const FRESH: Duration = Duration::from_secs(1);

/// Why a key cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RoomError {
    /// Its file, or the PIN's.
    #[error("{path}: {error}")]
    File {
        /// Which file.
        path: String,
        /// Why.
        error: io::Error,
    },
    /// There is no PIN, or no thread for the token.
    #[error("the token cannot be opened: {0}")]
    Pin(io::Error),
    /// The token.
    #[error(transparent)]
    Token(#[from] TokenError),
    /// The log's key.
    #[error("the log's key is unusable: {0}")]
    Log(#[from] KeyError),
    /// The TLS key, or the certificate.
    #[error(transparent)]
    Identity(#[from] IdentityError),
}

/// What signs the heads of one log, wherever its key is.
#[derive(Debug)]
pub(crate) enum HeadKey {
    File(Box<LogSigner>),
    Token(Box<TokenSigner>),
}

impl HeadKey {
    /// One attempt, for whoever can do without: [`Signer::sign`] waits until there is a signature.
    pub(crate) fn try_sign(&self, message: &[u8]) -> Result<[u8; 64], TokenError> {
        match self {
            Self::File(signer) => Ok(signer.sign(message)),
            Self::Token(signer) => signer.try_sign(message),
        }
    }

    /// The public half, with the log's name.
    pub(crate) fn verifier(&self) -> &VerifierKey {
        match self {
            Self::File(signer) => signer.verifier(),
            Self::Token(signer) => signer.verifier(),
        }
    }
}

impl Signer for HeadKey {
    fn sign(&self, message: &[u8]) -> [u8; 64] {
        match self {
            Self::File(signer) => signer.sign(message),
            Self::Token(signer) => signer.sign(message),
        }
    }

    fn verifier(&self) -> &VerifierKey {
        Self::verifier(self)
    }
}

/// The private keys of one node.
#[derive(Debug)]
pub struct KeyRoom {
    vault: Arc<Vault>,
    config: KeysConfig,
    token: Option<Token>,
    answered: Mutex<Option<Instant>>,
}

impl KeyRoom {
    /// The room that `[keys]` describes; a person may be asked for the PIN.
    ///
    /// # Errors
    /// There is no PIN.
    pub fn open(vault: Arc<Vault>, config: &KeysConfig) -> Result<Self, RoomError> {
        Self::open_with(vault, config, Care::Untried)
    }

    /// The same; `care` says when the PIN is tried.
    pub(crate) fn open_with(vault: Arc<Vault>, config: &KeysConfig, care: Care) -> Result<Self, RoomError> {
        let token = Token::open(config, care).map_err(RoomError::Pin)?;
        Ok(Self { vault, config: config.clone(), token, answered: Mutex::default() })
    }

    /// The token, if the configuration names one.
    pub const fn token(&self) -> Option<&Token> {
        self.token.as_ref()
    }

    /// What reads the key files.
    pub(crate) fn vault(&self) -> &Vault {
        &self.vault
    }

    /// Bytes of a key file.
    pub(crate) fn read(&self, path: &Path) -> Result<zeroize::Zeroizing<Vec<u8>>, RoomError> {
        self.vault.read(path).map_err(|error| RoomError::File { path: path.display().to_string(), error })
    }

    /// A secret of 64 hexadecimal digits, from its file.
    pub(crate) fn secret(&self, path: &Path) -> Result<Secret32, RoomError> {
        self.vault.secret(path).map_err(|error| RoomError::File { path: path.display().to_string(), error })
    }

    /// Signs the heads of the node's `k`-th log.
    pub(crate) fn log_signer(&self, dir: &NodeDir, origin: &Origin, k: u32) -> Result<Arc<HeadKey>, RoomError> {
        match (&self.token, self.config.log_label(k)) {
            (Some(token), Some(label)) => {
                let signer = TokenSigner::new(token.clone(), label, origin.as_str())?;
                Ok(Arc::new(HeadKey::Token(Box::new(signer))))
            }
            _ => {
                let signer = LogSigner::new(origin.as_str(), &self.secret(&dir.log_key_of(k))?)?;
                Ok(Arc::new(HeadKey::File(Box::new(signer))))
            }
        }
    }

    /// The TLS key, if it is in the token.
    pub(crate) fn tls_in_token(&self) -> Result<Option<TokenTlsKey>, TokenError> {
        match (&self.token, &self.config.tls_key) {
            (Some(token), Some(label)) => TokenTlsKey::new(token.clone(), label.clone()).map(Some),
            _ => Ok(None),
        }
    }

    /// The node's certificate chain and the key that signs for it.
    pub(crate) fn tls(&self, dir: &NodeDir) -> Result<(Vec<u8>, Arc<dyn SigningKey>), RoomError> {
        if let Some(key) = self.tls_in_token()? {
            return Ok((self.read(&dir.tls_cert())?.to_vec(), Arc::new(key)));
        }
        let (chain, key) = crate::renewal::credentials(dir, &self.vault)
            .map_err(|(path, error)| RoomError::File { path: path.display().to_string(), error })?;
        Ok((chain, crate::net::signing_key(&key)?))
    }

    /// The node, as it shows itself to peers.
    pub(crate) fn identity(&self, dir: &NodeDir, own: &NodeUri) -> Result<Identity, RoomError> {
        let (chain, key) = self.tls(dir)?;
        // What resets are keyed with must be secret, and outlive certificates: the store's key.
        let secret = self.secret(&dir.store_key())?;
        Ok(Identity::from_key(own, &chain, key, secret.expose())?)
    }

    /// Whether the token is there with the keys that the node signs with; without a token there is nothing to ask.
    pub(crate) fn probe(&self, k: u32) -> Result<(), TokenError> {
        let Some(token) = &self.token else { return Ok(()) };
        let mut answered = self.answered.lock().unwrap_or_else(PoisonError::into_inner);
        if answered.is_some_and(|at| at.elapsed() < FRESH) && token.trouble().is_none() {
            return Ok(());
        }
        if let Some(label) = self.config.log_label(k) {
            token.public(&label, Kind::Ed25519)?;
        }
        if let Some(label) = &self.config.tls_key {
            token.public(label, Kind::P256)?;
        }
        *answered = Some(Instant::now());
        Ok(())
    }
}
