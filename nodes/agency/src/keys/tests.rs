use super::*;

fn passphrase(text: &str) -> SecretString {
    SecretString::from(text)
}

#[test]
fn sealed_keys_open_with_their_passphrase_alone() {
    let sealed = seal(b"canary-secret", &passphrase("correct horse battery")).unwrap();
    assert!(is_sealed(&sealed) && !is_sealed(b"canary-secret"));
    assert!(!sealed.windows(6).any(|w| w == b"canary"));
    assert_eq!(open(&sealed, &passphrase("correct horse battery")).unwrap().as_slice(), b"canary-secret");
    let error = open(&sealed, &passphrase("another")).unwrap_err();
    assert_eq!(error.to_string(), "the passphrase is wrong, or the file is damaged");
    let mut damaged = sealed.clone();
    let at = damaged.len() - 60;
    damaged[at] ^= 1;
    assert!(open(&damaged, &passphrase("correct horse battery")).is_err());
}

#[test]
fn passphrases_come_from_files_and_have_limits() {
    use age::secrecy::ExposeSecret as _;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("passphrase");
    let source = PassphraseSource::of(Some(path.clone()), None);
    let read = |bytes: &[u8]| {
        std::fs::write(&path, bytes).unwrap();
        source.read("x").map(|p| p.expose_secret().to_owned()).map_err(|e| e.to_string())
    };
    assert_eq!(read(b"one two\nthree").unwrap(), "one two");
    assert_eq!(read(b"one two\r\n").unwrap(), "one two");
    assert_eq!(read("contraseña".as_bytes()).unwrap(), "contraseña");
    assert!(read(b"\n").unwrap_err().contains("empty"));
    assert!(read(b"\xff\n").unwrap_err().contains("UTF-8"));
    assert_eq!(read(&[b'x'; PASSPHRASE_BYTES_MAX]).unwrap().len(), PASSPHRASE_BYTES_MAX);
    assert!(read(&[b'x'; PASSPHRASE_BYTES_MAX + 1]).unwrap_err().contains("1024 bytes"));
    std::fs::write(&path, "12345678901").unwrap();
    assert!(source.read_new("x", "y").unwrap_err().to_string().contains("at least 12"));
    std::fs::write(&path, "123456789012").unwrap();
    assert!(source.read_new("x", "y").is_ok());
    assert_eq!(PassphraseSource::of(None, Some(3)), PassphraseSource::File("/dev/fd/3".into()));
}

#[test]
fn a_vault_reads_plain_and_sealed_keys() {
    let dir = tempfile::tempdir().unwrap();
    let (word, plain, hidden) = (dir.path().join("word"), dir.path().join("plain"), dir.path().join("sealed"));
    std::fs::write(&word, "correct horse battery\n").unwrap();
    let secret = Secret32::new([7; 32]);
    files::create_secret(&plain, &secret).unwrap();
    let text = files::read(&plain).unwrap();
    std::fs::write(&hidden, seal(&text, &passphrase("correct horse battery")).unwrap()).unwrap();
    let vault = Vault::new(PassphraseSource::File(word.clone()));
    assert_eq!(vault.secret(&plain).unwrap().expose(), secret.expose());
    assert_eq!(vault.secret(&hidden).unwrap().expose(), secret.expose());
    // It is asked for once.
    std::fs::remove_file(&word).unwrap();
    assert_eq!(vault.secret(&hidden).unwrap().expose(), secret.expose());
    assert!(Vault::new(PassphraseSource::File(word)).secret(&hidden).is_err());
}
