//! Where a passphrase comes from: never the command line and never the environment, which others can read.

use std::fs::File;
use std::io::{self, IsTerminal as _, Read as _};
use std::path::PathBuf;

use age::secrecy::SecretString;
use zeroize::Zeroizing;

/// The longest passphrase that is read, in bytes.
pub const PASSPHRASE_BYTES_MAX: usize = 1_024;
/// The shortest new passphrase, in characters.
pub const PASSPHRASE_CHARS_MIN: usize = 12;
/// Name of the systemd credential that holds the passphrase of the keys.
const CREDENTIAL: &str = "puente.passphrase";

/// Where a passphrase comes from.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum PassphraseSource {
    /// The systemd credential `puente.passphrase` if the service has it, else a prompt without echo.
    #[default]
    Ask,
    /// A prompt without echo, whatever credentials there are.
    Prompt,
    /// The first line of a file (or of `/dev/fd/N`).
    File(PathBuf),
}

/// Why there is no passphrase.
#[derive(Debug, thiserror::Error)]
pub enum PassphraseError {
    /// Nobody to ask.
    #[error(
        "a passphrase is needed and nobody can be asked: give it with --passphrase-file, --passphrase-fd or the \
         systemd credential 'puente.passphrase'"
    )]
    Nobody,
    /// No PIN.
    #[error(
        "the token's PIN is needed and nobody can be asked: name 'pin_file' in [keys] of node.toml, or give the \
         systemd credential 'puente.pin'"
    )]
    NoPin,
    /// Nothing in it.
    #[error("the passphrase is empty")]
    Empty,
    /// Too long.
    #[error("the passphrase has more than {PASSPHRASE_BYTES_MAX} bytes")]
    TooLong,
    /// Too short for a new one.
    #[error("a new passphrase has at least {PASSPHRASE_CHARS_MIN} characters")]
    TooShort,
    /// Typed differently the second time.
    #[error("the two passphrases differ")]
    Differ,
    /// Not text.
    #[error("the passphrase is not UTF-8 text")]
    NotText,
}

impl From<PassphraseError> for io::Error {
    fn from(error: PassphraseError) -> Self {
        Self::new(io::ErrorKind::PermissionDenied, error)
    }
}

impl PassphraseSource {
    /// The source that a command line names.
    pub fn of(file: Option<PathBuf>, fd: Option<u32>) -> Self {
        match (file, fd) {
            (Some(path), _) => Self::File(path),
            (None, Some(fd)) => Self::File(PathBuf::from(format!("/dev/fd/{fd}"))),
            (None, None) => Self::Ask,
        }
    }

    fn file(&self) -> Option<PathBuf> {
        match self {
            Self::File(path) => Some(path.clone()),
            Self::Prompt => None,
            Self::Ask => {
                let folder = std::env::var_os("CREDENTIALS_DIRECTORY")?;
                let path = PathBuf::from(folder).join(CREDENTIAL);
                path.exists().then_some(path)
            }
        }
    }

    /// Reads the passphrase; `what` is said when a person is asked.
    ///
    /// # Errors
    /// [`PassphraseError`] within, or the file cannot be read.
    pub fn read(&self, what: &str) -> io::Result<SecretString> {
        let text = match self.file() {
            Some(path) => first_line(File::open(&path)?)?,
            None if io::stdin().is_terminal() => Zeroizing::new(rpassword::prompt_password(format!("{what}: "))?),
            None => return Err(PassphraseError::Nobody.into()),
        };
        if text.is_empty() {
            return Err(PassphraseError::Empty.into());
        }
        if text.len() > PASSPHRASE_BYTES_MAX {
            return Err(PassphraseError::TooLong.into());
        }
        Ok(SecretString::from(text.as_str()))
    }

    /// Reads a new passphrase: long enough, and typed twice by a person.
    ///
    /// # Errors
    /// As of [`PassphraseSource::read`].
    pub fn read_new(&self, what: &str, again: &str) -> io::Result<SecretString> {
        use age::secrecy::ExposeSecret as _;
        let passphrase = self.read(what)?;
        if passphrase.expose_secret().chars().count() < PASSPHRASE_CHARS_MIN {
            return Err(PassphraseError::TooShort.into());
        }
        if self.file().is_none() && self.read(again)?.expose_secret() != passphrase.expose_secret() {
            return Err(PassphraseError::Differ.into());
        }
        Ok(passphrase)
    }
}

/// Name of the systemd credential that holds the token's PIN.
const PIN_CREDENTIAL: &str = "puente.pin";

/// The token's PIN: from the file that the configuration names, the systemd credential `puente.pin`, or a person.
///
/// # Errors
/// As of [`PassphraseSource::read`].
pub(crate) fn pin(file: Option<&std::path::Path>) -> io::Result<SecretString> {
    let credential = || {
        let path = PathBuf::from(std::env::var_os("CREDENTIALS_DIRECTORY")?).join(PIN_CREDENTIAL);
        path.exists().then_some(path)
    };
    let source = file.map(std::path::Path::to_owned).or_else(credential);
    if source.is_none() && !io::stdin().is_terminal() {
        return Err(PassphraseError::NoPin.into());
    }
    source.map_or(PassphraseSource::Prompt, PassphraseSource::File).read("PIN of the token")
}

fn first_line(file: File) -> io::Result<Zeroizing<String>> {
    let mut bytes = Zeroizing::new(Vec::with_capacity(PASSPHRASE_BYTES_MAX + 2));
    file.take(PASSPHRASE_BYTES_MAX as u64 + 2).read_to_end(&mut bytes)?;
    let line = bytes.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    if line.len() > PASSPHRASE_BYTES_MAX {
        return Err(PassphraseError::TooLong.into());
    }
    let text = std::str::from_utf8(line).map_err(|_| PassphraseError::NotText)?;
    Ok(Zeroizing::new(text.to_owned()))
}
