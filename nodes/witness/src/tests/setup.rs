//! Keys and configuration.

use super::*;
use crate::config::{Config, ConfigError, FirstUse, Folder, SAMPLE};
use crate::key::{self, Keeping, KeyFileError};

fn folder() -> (tempfile::TempDir, Folder) {
    let dir = tempfile::tempdir().unwrap();
    let folder = Folder::new(dir.path());
    (dir, folder)
}

fn configured(folder: &Folder, text: &str) -> Result<Config, ConfigError> {
    std::fs::write(folder.config(), text).unwrap();
    Config::load(folder)
}

#[test]
fn the_sample_says_what_holds_without_it() {
    let (_dir, folder) = folder();
    let sample = configured(&folder, SAMPLE).unwrap();
    let empty = configured(&folder, "").unwrap();
    assert_eq!(sample.serve, empty.serve);
    assert_eq!((sample.logs.first_use, empty.logs.first_use), (FirstUse::Refuse, FirstUse::Refuse));
    // What stands there as a remark is a key, too.
    let all: String = SAMPLE.lines().map(|line| format!("{}\n", key_line(line))).collect();
    let all = configured(&folder, &all).unwrap();
    assert!(all.logs.charter.is_some() && all.logs.pin.is_some() && all.serve.tls_key.is_some());
}

/// A remark that is a key with a value, as the key with the value.
fn key_line(line: &str) -> &str {
    line.strip_prefix("# ").filter(|rest| rest.contains(" = \"")).unwrap_or(line)
}

#[test]
fn what_nobody_knows_is_refused() {
    let (_dir, folder) = folder();
    for text in [
        "[logs]\nfirst_use = \"always\"",
        "[logs]\nfirst-use = \"allow\"",
        "[serve]\nlisten = \"nowhere\"",
        "[server]\nlisten = \"127.0.0.1:1\"",
        "[serve]\nrequests_per_minute = -1",
        "listen = \"127.0.0.1:1\"",
    ] {
        assert!(matches!(configured(&folder, text), Err(ConfigError::Toml { .. })), "{text}");
    }
    assert!(matches!(configured(&folder, "[logs]\npin = \"00\""), Err(ConfigError::Pin)));
    assert!(matches!(configured(&folder, "[serve]\ntls_key = \"a\""), Err(ConfigError::Tls)));
}

#[test]
fn logs_stand_in_a_tlog_policy() {
    let (_dir, folder) = folder();
    let config = configured(&folder, "[logs]\npolicy = \"p\"\ncheckpoints = \"c\"\nfirst_use = \"allow\"").unwrap();
    let mut log = ToyLog::new(ORIGIN, "a");
    let (vkey, witness) = (log.key(), Notary::new().verifier().clone());
    std::fs::create_dir(folder.path().join("c")).unwrap();
    let rules = |policy: &str| {
        std::fs::write(folder.path().join("p"), policy).unwrap();
        config.rules(&folder).map(|book| book.rules().clone())
    };
    let good =
        format!("# logs\n\nlog {vkey} https://a.example/ # ours\nwitness w {witness}\ngroup g any w\nquorum g\n");
    let served = rules(&good).unwrap();
    assert_eq!(served.keys().collect::<Vec<_>>(), [ORIGIN]);
    assert!(served[ORIGIN].allows_first_use() && served[ORIGIN].pin().is_none());
    for (bad, line) in [("log", 1), ("\nlogs x", 2), (&*format!("log {vkey} a b"), 1)] {
        assert!(matches!(rules(bad), Err(ConfigError::Line { line: at, .. }) if at == line), "{bad}");
    }
    assert!(matches!(rules("log x+y+z"), Err(ConfigError::Key { line: 1, .. })));
    assert!(matches!(rules(&format!("log {witness}")), Err(ConfigError::Rule(_))), "a witness's key is no log's");
    // Of two pins the larger one counts; one that the log did not sign, or of another log, is a mistake.
    for (name, size) in [("a", 3), ("b", 5), ("c", 4)] {
        std::fs::write(folder.path().join("c").join(name), log.head(size).note_bytes()).unwrap();
    }
    assert_eq!(rules(&good).unwrap()[ORIGIN].pin().unwrap().size().0, 5);
    let forged = String::from_utf8(log.head(5).note_bytes().to_vec()).unwrap().replace("\n5\n", "\n6\n");
    std::fs::write(folder.path().join("c/d"), forged).unwrap();
    assert!(matches!(rules(&good), Err(ConfigError::Checkpoint { .. })));
    std::fs::write(folder.path().join("c/d"), ToyLog::new("b", "a").head(1).note_bytes()).unwrap();
    assert!(matches!(rules(&good), Err(ConfigError::StrangePin { .. })));
}

#[test]
fn keys_are_for_their_owner_and_never_overwritten() {
    use std::os::unix::fs::PermissionsExt as _;
    let (_dir, folder) = folder();
    let made = key::create(&folder, "w1", Keeping::Plain).unwrap();
    assert_eq!(std::fs::metadata(folder.key()).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(key::open(&folder, None, "?").unwrap().verifier(), made.verifier());
    assert_eq!(made.verifier().kind(), KeyKind::CosignatureV1);
    assert!(matches!(key::create(&folder, "w1", Keeping::Plain), Err(KeyFileError::File { .. })));
    // Another name would be another key.
    let other = Ed25519Signer::new("w1", KeyKind::CosignatureV1, &Secret32::new([1; 32])).unwrap();
    std::fs::write(folder.vkey(), other.verifier().to_string()).unwrap();
    assert!(matches!(key::open(&folder, None, "?"), Err(KeyFileError::OtherKey { .. })));
    std::fs::write(folder.key(), "canary-5f3").unwrap();
    let error = key::open(&folder, None, "?").unwrap_err();
    assert!(!error.to_string().contains("canary"), "{error}");
}

#[test]
fn an_encrypted_key_opens_with_its_passphrase_alone() {
    let (dir, folder) = folder();
    let word = |text: &str| {
        let path = dir.path().join("word");
        std::fs::write(&path, text).unwrap();
        path
    };
    let sealed =
        |path: &Path| key::create(&folder, "w1", Keeping::Sealed { file: Some(path), question: "", again: "" });
    assert!(matches!(sealed(&word("too short\n")), Err(KeyFileError::TooShort)));
    assert!(matches!(sealed(&word("\n")), Err(KeyFileError::Passphrase)));
    assert!(matches!(sealed(&word(&"x".repeat(key::PASSPHRASE_BYTES_MAX + 1))), Err(KeyFileError::Passphrase)));
    let made = sealed(&word("correct horse battery\n")).unwrap();
    assert!(std::fs::read_to_string(folder.key()).unwrap().starts_with("-----BEGIN AGE ENCRYPTED FILE-----"));
    let open = |path: &Path| key::open(&folder, Some(path), "?").map(|signer| signer.verifier().clone());
    assert_eq!(open(&word("correct horse battery")).unwrap(), *made.verifier());
    assert!(matches!(open(&word("incorrect horse battery")), Err(KeyFileError::Wrong { .. })));
    // The public half needs none.
    assert_eq!(key::public(&folder).unwrap(), *made.verifier());
}
