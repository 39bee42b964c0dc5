//! Private keys at rest: plain files for their owner alone, age files under a passphrase, or a PKCS#11 token.

mod passphrase;
mod room;
mod sealed;
mod token;

use std::io;
use std::path::Path;
use std::sync::Mutex;

use age::secrecy::SecretString;
use puente_model::Secret32;
use zeroize::Zeroizing;

use crate::files;

pub use passphrase::{PASSPHRASE_BYTES_MAX, PASSPHRASE_CHARS_MIN, PassphraseError, PassphraseSource};
pub(crate) use room::HeadKey;
pub use room::{KeyRoom, RoomError};
pub(crate) use sealed::{is_sealed, open, recipient_of, seal, unlock};
pub(crate) use token::{Care, Kind, Private, TokenSigner, TokenTlsKey, Work};
pub use token::{KeysConfig, LABEL_BYTES_MAX, Token, TokenError};

/// Reads key files, whichever way they are kept; asks for the passphrase once, and only if a file needs it.
pub struct Vault {
    source: PassphraseSource,
    passphrase: Mutex<Option<SecretString>>,
}

impl std::fmt::Debug for Vault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Vault({:?})", self.source)
    }
}

impl Vault {
    /// Keys under the passphrase that `source` gives.
    pub fn new(source: PassphraseSource) -> Self {
        Self { source, passphrase: Mutex::new(None) }
    }

    /// Where the passphrase comes from.
    pub const fn source(&self) -> &PassphraseSource {
        &self.source
    }

    /// The bytes of a key file, opened if it is encrypted.
    ///
    /// # Errors
    /// It cannot be read, there is no passphrase, or it is another's. Nothing of the content is in the error.
    pub fn read(&self, path: &Path) -> io::Result<Zeroizing<Vec<u8>>> {
        let bytes = Zeroizing::new(files::read(path)?);
        if !is_sealed(&bytes) {
            return Ok(bytes);
        }
        let mut held = self.passphrase.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let passphrase = match held.as_ref() {
            Some(passphrase) => passphrase.clone(),
            None => self.source.read("passphrase of the keys")?,
        };
        let opened = open(&bytes, &passphrase)?;
        *held = Some(passphrase);
        Ok(opened)
    }

    /// Writes a new private key to `path`, kept as the one at `like` is: plain, or under the same passphrase.
    ///
    /// # Errors
    /// `path` exists or cannot be written, or the passphrase is not to be had.
    pub fn create_as(&self, like: &Path, path: &Path, key: &[u8]) -> io::Result<()> {
        if !files::read(like).is_ok_and(|bytes| is_sealed(&bytes)) {
            return files::create(path, key, true);
        }
        // Opening it shows that the passphrase is this one.
        self.read(like)?;
        let held = self.passphrase.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let passphrase = held.as_ref().ok_or_else(|| io::Error::other("there is no passphrase"))?;
        files::create(path, &seal(key, passphrase)?, true)
    }

    /// A secret of 64 hexadecimal digits.
    ///
    /// # Errors
    /// As of [`Vault::read`], or it is no such secret.
    pub fn secret(&self, path: &Path) -> io::Result<Secret32> {
        files::secret_of(&self.read(path)?)
    }
}

#[cfg(test)]
mod tests;
