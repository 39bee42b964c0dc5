//! Small secrets in age files (C2SP age, scrypt recipient): what `age --decrypt` opens too.

use std::io::{self, Read as _, Write as _};

use age::armor::{ArmoredReader, ArmoredWriter, Format};
use age::secrecy::SecretString;
use zeroize::Zeroizing;

use crate::files::FILE_BYTES_MAX;

/// What an armoured age file begins with.
const ARMOR: &[u8] = b"-----BEGIN AGE ENCRYPTED FILE-----";
/// What a binary age file begins with.
const BINARY: &[u8] = b"age-encryption.org/v1\n";
/// Memory and time that a guess costs, as a power of two: 64 MiB, which a small node has to spare at its start.
#[cfg(not(test))]
const WORK_FACTOR: u8 = 16;
#[cfg(test)]
const WORK_FACTOR: u8 = 4;
/// The most that a file may ask of whoever opens it: 1 GiB.
const WORK_FACTOR_MAX: u8 = 20;

/// True for the bytes of an age file.
pub(crate) fn is_sealed(bytes: &[u8]) -> bool {
    bytes.starts_with(ARMOR) || bytes.starts_with(BINARY)
}

/// Whoever knows the passphrase.
pub(crate) fn recipient_of(passphrase: &SecretString) -> age::scrypt::Recipient {
    let mut recipient = age::scrypt::Recipient::new(passphrase.clone());
    recipient.set_work_factor(WORK_FACTOR);
    recipient
}

/// Opens what a passphrase seals.
pub(crate) fn unlock(passphrase: &SecretString) -> age::scrypt::Identity {
    let mut identity = age::scrypt::Identity::new(passphrase.clone());
    identity.set_max_work_factor(WORK_FACTOR_MAX);
    identity
}

/// Encrypts a small secret, armoured.
pub(crate) fn seal(secret: &[u8], passphrase: &SecretString) -> io::Result<Vec<u8>> {
    let recipient = recipient_of(passphrase);
    let recipients = std::iter::once(&recipient as &dyn age::Recipient);
    let encryptor = age::Encryptor::with_recipients(recipients).map_err(io::Error::other)?;
    let armored = ArmoredWriter::wrap_output(Vec::new(), Format::AsciiArmor)?;
    let mut writer = encryptor.wrap_output(armored)?;
    writer.write_all(secret)?;
    writer.finish()?.finish()
}

/// Decrypts what [`seal`] made, or `age --passphrase`.
pub(crate) fn open(bytes: &[u8], passphrase: &SecretString) -> io::Result<Zeroizing<Vec<u8>>> {
    let wrong = |error: age::DecryptError| {
        let kind = io::ErrorKind::PermissionDenied;
        match error {
            age::DecryptError::Io(error) => error,
            age::DecryptError::DecryptionFailed | age::DecryptError::KeyDecryptionFailed => {
                io::Error::new(kind, "the passphrase is wrong, or the file is damaged")
            }
            error => io::Error::new(kind, format!("the encrypted file cannot be opened: {error}")),
        }
    };
    let decryptor = age::Decryptor::new_buffered(ArmoredReader::new(bytes)).map_err(wrong)?;
    let identity = unlock(passphrase);
    let reader = decryptor.decrypt(std::iter::once(&identity as &dyn age::Identity)).map_err(wrong)?;
    // Grown in place, a buffer would leave copies behind.
    let mut out = Zeroizing::new(Vec::with_capacity(bytes.len()));
    reader.take(FILE_BYTES_MAX).read_to_end(&mut out)?;
    Ok(out)
}
