//! The witness's key: 64 hexadecimal digits in a file for its owner alone, or the same in an age file under a passphrase.

use std::fs::File;
use std::io::{self, IsTerminal as _, Read as _, Write as _};
use std::path::{Path, PathBuf};

use age::armor::{ArmoredReader, ArmoredWriter, Format};
use age::secrecy::{ExposeSecret as _, SecretString};
use puente_audit_log::{Ed25519Signer, KeyError, KeyKind, Signer as _};
use puente_model::Secret32;
use zeroize::Zeroizing;

use crate::config::Folder;
use crate::files;

/// The longest passphrase that is read, in bytes.
pub(crate) const PASSPHRASE_BYTES_MAX: usize = 1_024;
/// The shortest new passphrase, in characters.
pub(crate) const PASSPHRASE_CHARS_MIN: usize = 12;
/// The largest key file, in bytes.
const KEY_BYTES_MAX: u64 = 16 << 10;
/// Name of the systemd credential that holds the passphrase.
const CREDENTIAL: &str = "puente-witness.passphrase";
/// What an armoured age file begins with.
const ARMOR: &[u8] = b"-----BEGIN AGE ENCRYPTED FILE-----";
/// Memory and time that a guess costs, as a power of two: 64 MiB.
#[cfg(not(test))]
const WORK_FACTOR: u8 = 16;
#[cfg(test)]
const WORK_FACTOR: u8 = 4;
/// The most that a file may ask of whoever opens it: 1 GiB.
const WORK_FACTOR_MAX: u8 = 20;

/// Why there is no key. No error shows what was read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum KeyFileError {
    /// A file.
    #[error("{path}: {error}")]
    File { path: PathBuf, error: io::Error },
    /// Nobody to ask.
    #[error(
        "a passphrase is needed and nobody can be asked: give it with --passphrase-file or the systemd credential \
         'puente-witness.passphrase'"
    )]
    Nobody,
    /// Not a passphrase.
    #[error("a passphrase is one line of text of at most {PASSPHRASE_BYTES_MAX} bytes, and not empty")]
    Passphrase,
    /// Too short for a new one.
    #[error("a new passphrase has at least {PASSPHRASE_CHARS_MIN} characters")]
    TooShort,
    /// Typed differently the second time.
    #[error("the two passphrases differ")]
    Differ,
    /// It does not open the file.
    #[error("{path}: the passphrase is wrong, or the file is damaged")]
    Wrong { path: PathBuf },
    /// Not a key.
    #[error("{path}: a key is 64 hexadecimal digits")]
    Malformed { path: PathBuf },
    /// The name.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// Key and public key do not belong together.
    #[error("{path} is not the public half of the key: one of the two files is of another witness")]
    OtherKey { path: PathBuf },
}

fn at(path: &Path) -> impl FnOnce(io::Error) -> KeyFileError {
    let path = path.to_owned();
    move |error| KeyFileError::File { path, error }
}

/// The passphrase: from a file, from systemd, or from a person. Never from the command line or the environment, which
/// others can read.
fn passphrase(file: Option<&Path>, question: &str) -> Result<SecretString, KeyFileError> {
    let credential = || Some(PathBuf::from(std::env::var_os("CREDENTIALS_DIRECTORY")?).join(CREDENTIAL));
    let file = file.map(Path::to_owned).or_else(|| credential().filter(|path| path.exists()));
    let text = match file {
        Some(path) => first_line(&path)?,
        None if io::stdin().is_terminal() => {
            Zeroizing::new(rpassword::prompt_password(question).map_err(at(Path::new("terminal")))?)
        }
        None => return Err(KeyFileError::Nobody),
    };
    if text.is_empty() || text.len() > PASSPHRASE_BYTES_MAX {
        return Err(KeyFileError::Passphrase);
    }
    Ok(SecretString::from(text.as_str()))
}

fn first_line(path: &Path) -> Result<Zeroizing<String>, KeyFileError> {
    let mut bytes = Zeroizing::new(Vec::with_capacity(PASSPHRASE_BYTES_MAX + 2));
    let file = File::open(path).map_err(at(path))?;
    file.take(PASSPHRASE_BYTES_MAX as u64 + 2).read_to_end(&mut bytes).map_err(at(path))?;
    let line = bytes.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    let text = std::str::from_utf8(line).map_err(|_| KeyFileError::Passphrase)?;
    Ok(Zeroizing::new(text.to_owned()))
}

/// How a new key is kept.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Keeping<'a> {
    /// Readable to the owner of the file.
    Plain,
    /// Under the passphrase in this file, or one that a person types twice.
    Sealed { file: Option<&'a Path>, question: &'a str, again: &'a str },
}

/// Makes the witness's key and writes both halves; neither is overwritten.
///
/// # Errors
/// The name cannot stand in a key, the files exist, or there is no passphrase.
pub(crate) fn create(folder: &Folder, name: &str, keeping: Keeping<'_>) -> Result<Ed25519Signer, KeyFileError> {
    let mut seed = Zeroizing::new([0; 32]);
    getrandom::fill(&mut *seed).map_err(|error| at(&folder.key())(io::Error::other(error.to_string())))?;
    let signer = Ed25519Signer::new(name, KeyKind::CosignatureV1, &Secret32::new(*seed))?;
    let mut text = Zeroizing::new(hex::encode(*seed));
    text.push('\n');
    let path = folder.key();
    let bytes = match keeping {
        Keeping::Plain => Zeroizing::new(text.as_bytes().to_vec()),
        Keeping::Sealed { file, question, again } => {
            let phrase = passphrase(file, question)?;
            if phrase.expose_secret().chars().count() < PASSPHRASE_CHARS_MIN {
                return Err(KeyFileError::TooShort);
            }
            if file.is_none() && passphrase(None, again)?.expose_secret() != phrase.expose_secret() {
                return Err(KeyFileError::Differ);
            }
            Zeroizing::new(seal(text.as_bytes(), &phrase).map_err(at(&path))?)
        }
    };
    files::create(&path, &bytes, true).map_err(at(&path))?;
    let path = folder.vkey();
    files::create(&path, format!("{}\n", signer.verifier()).as_bytes(), false).map_err(at(&path))?;
    Ok(signer)
}

/// Reads the key back, and sees that the public half beside it is its own.
///
/// # Errors
/// A file cannot be read, the passphrase is not to be had or wrong, or the halves do not belong together.
pub(crate) fn open(folder: &Folder, file: Option<&Path>, question: &str) -> Result<Ed25519Signer, KeyFileError> {
    let path = folder.vkey();
    let public = files::read_text(&path).map_err(at(&path))?;
    let public: puente_audit_log::VerifierKey = public.trim().parse()?;
    let path = folder.key();
    let bytes = Zeroizing::new(files::read_at_most(&path, KEY_BYTES_MAX).map_err(at(&path))?);
    let text = if bytes.starts_with(ARMOR) { unseal(&bytes, &passphrase(file, question)?, &path)? } else { bytes };
    let mut seed = Zeroizing::new([0; 32]);
    let malformed = |_| KeyFileError::Malformed { path: path.clone() };
    hex::decode_to_slice(text.trim_ascii(), &mut *seed).map_err(malformed)?;
    let signer = Ed25519Signer::new(public.name(), KeyKind::CosignatureV1, &Secret32::new(*seed))?;
    if *signer.verifier() == public { Ok(signer) } else { Err(KeyFileError::OtherKey { path: folder.vkey() }) }
}

/// The public half alone, without a passphrase.
///
/// # Errors
/// It cannot be read.
pub(crate) fn public(folder: &Folder) -> Result<puente_audit_log::VerifierKey, KeyFileError> {
    let path = folder.vkey();
    Ok(files::read_text(&path).map_err(at(&path))?.trim().parse()?)
}

fn seal(secret: &[u8], passphrase: &SecretString) -> io::Result<Vec<u8>> {
    let mut recipient = age::scrypt::Recipient::new(passphrase.clone());
    recipient.set_work_factor(WORK_FACTOR);
    let recipients = std::iter::once(&recipient as &dyn age::Recipient);
    let encryptor = age::Encryptor::with_recipients(recipients).map_err(io::Error::other)?;
    let armored = ArmoredWriter::wrap_output(Vec::new(), Format::AsciiArmor)?;
    let mut writer = encryptor.wrap_output(armored)?;
    writer.write_all(secret)?;
    writer.finish()?.finish()
}

fn unseal(bytes: &[u8], passphrase: &SecretString, path: &Path) -> Result<Zeroizing<Vec<u8>>, KeyFileError> {
    let wrong = || KeyFileError::Wrong { path: path.to_owned() };
    let mut identity = age::scrypt::Identity::new(passphrase.clone());
    identity.set_max_work_factor(WORK_FACTOR_MAX);
    let decryptor = age::Decryptor::new_buffered(ArmoredReader::new(bytes)).map_err(|_| wrong())?;
    let reader = decryptor.decrypt(std::iter::once(&identity as &dyn age::Identity)).map_err(|_| wrong())?;
    // Grown in place, a buffer would leave copies behind.
    let mut out = Zeroizing::new(Vec::with_capacity(bytes.len()));
    reader.take(KEY_BYTES_MAX).read_to_end(&mut out).map_err(|_| wrong())?;
    Ok(out)
}
