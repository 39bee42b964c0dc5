use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::*;
use crate::progress::Progress;

fn manifest() -> Manifest {
    Manifest {
        version: VERSION,
        node: "puente://mx/fge-bc/n1".to_owned(),
        origin: "mx/fge-bc/n1/log1".to_owned(),
        entries: 3,
        made: "2026-12-01T12:00:00Z".to_owned(),
        keys: false,
        records: true,
        files: BTreeMap::new(),
    }
}

fn key() -> age::x25519::Identity {
    age::x25519::Identity::generate()
}

fn recipients(of: &age::x25519::Identity) -> Vec<Box<dyn age::Recipient + Send>> {
    vec![Box::new(of.to_public())]
}

fn open(path: &Path, with: &age::x25519::Identity) -> Result<Opened, BackupError> {
    open_backup(path, &[Box::new(with.clone())], &Arc::default())
}

/// A folder with a few files, backed up.
fn backup(dir: &Path, key: &age::x25519::Identity) -> PathBuf {
    let node = dir.join("node");
    std::fs::create_dir_all(node.join("log/tile/0")).unwrap();
    std::fs::write(node.join("node.toml"), "node").unwrap();
    std::fs::write(node.join("log/tile/0/000"), vec![7; 100_000]).unwrap();
    std::fs::write(node.join("log/asides"), b"0123456789").unwrap();
    let mut contents = Contents::default();
    contents.file("node.toml", node.join("node.toml")).unwrap();
    contents.file("officers.toml", node.join("officers.toml")).unwrap();
    contents.folder("log", &node.join("log")).unwrap();
    contents.beginning("log/asides", node.join("log/asides"), 4).unwrap();
    assert_eq!(contents.len(), 3, "what is not there is not missed");
    assert_eq!(contents.bytes(), 4 + 100_000 + 4);
    let (out, progress) = (dir.join("backup.age"), Arc::new(Progress::default()));
    let bytes = write_backup(&out, &contents, &mut manifest(), &recipients(key), &progress).unwrap();
    assert_eq!(std::fs::metadata(&out).unwrap().len(), bytes);
    let (phase, done) = progress.now().unwrap();
    assert_eq!((phase.code, phase.of, done), ("compare", Some(bytes), bytes));
    out
}

#[test]
fn a_backup_comes_back_as_it_was() {
    let (dir, key) = (tempfile::tempdir().unwrap(), key());
    let out = backup(dir.path(), &key);
    let to = dir.path().join("new");
    let found = unpack(open(&out, &key).unwrap(), Some(&to)).unwrap();
    assert_eq!((found.entries, found.files.len()), (3, 3));
    assert_eq!(std::fs::read(to.join("log/asides")).unwrap(), b"0123");
    assert_eq!(std::fs::read(to.join("log/tile/0/000")).unwrap(), vec![7; 100_000]);
    // Looking alone writes nothing; all of it is read.
    let progress = Arc::new(Progress::default());
    let opened = open_backup(&out, &[Box::new(key.clone())], &progress).unwrap();
    assert_eq!(unpack(opened, None).unwrap(), found);
    let ((phase, done), bytes) = (progress.now().unwrap(), std::fs::metadata(&out).unwrap().len());
    assert_eq!((phase.code, phase.of, done), ("read", Some(bytes), bytes));
    assert!(matches!(open(&out, &self::key()), Err(BackupError::Sealed(_))));
    // Nothing is overwritten.
    let again = write_backup(&out, &Contents::default(), &mut manifest(), &recipients(&key), &Arc::default());
    assert!(matches!(again, Err(BackupError::File { .. })));
    assert!(out.exists());
}

#[test]
fn every_cut_and_every_flip_is_noticed() {
    let (dir, key) = (tempfile::tempdir().unwrap(), key());
    let out = backup(dir.path(), &key);
    let bytes = std::fs::read(&out).unwrap();
    let damaged = dir.path().join("damaged.age");
    let refused = |bytes: &[u8]| {
        std::fs::write(&damaged, bytes).unwrap();
        open(&damaged, &key).and_then(|opened| unpack(opened, None)).is_err()
    };
    assert!(!refused(&bytes));
    for at in (0..bytes.len()).step_by(bytes.len() / 60) {
        assert!(refused(&bytes[..at]), "cut at {at}");
        let mut flipped = bytes.clone();
        flipped[at] ^= 1;
        assert!(refused(&flipped), "flipped at {at}");
    }
    assert!(refused(&bytes[..bytes.len() - 1]));
}

/// An archive that somebody else made: whoever knows a recipient can write one.
fn forged(dir: &Path, key: &age::x25519::Identity, fill: impl Fn(&mut tar::Builder<&mut Vec<u8>>)) -> PathBuf {
    let mut archive = Vec::new();
    let mut builder = tar::Builder::new(&mut archive);
    fill(&mut builder);
    builder.finish().unwrap();
    drop(builder);
    let out = dir.join("forged.age");
    std::fs::write(&out, age::encrypt(&key.to_public(), &archive).unwrap()).unwrap();
    out
}

fn put(builder: &mut tar::Builder<&mut Vec<u8>>, name: &str, bytes: &[u8]) {
    let mut header = tar::Header::new_gnu();
    header.set_size(bytes.len() as u64);
    // Straight into the header: the builder itself refuses such names.
    let field = &mut header.as_old_mut().name;
    field[..name.len()].copy_from_slice(name.as_bytes());
    header.set_cksum();
    builder.append(&header, bytes).unwrap();
}

#[test]
fn archives_cannot_write_elsewhere_or_say_something_else() {
    let (dir, key) = (tempfile::tempdir().unwrap(), key());
    let to = dir.path().join("new");
    let try_it = |fill: &dyn Fn(&mut tar::Builder<&mut Vec<u8>>)| {
        let out = forged(dir.path(), &key, fill);
        let result = unpack(open(&out, &key).unwrap(), Some(&to));
        let _ = std::fs::remove_dir_all(&to);
        result.unwrap_err()
    };
    for name in ["../evil", "/etc/passwd", "log/../../evil", "somewhere", "log//x", "log/./x", "", "control.sock"] {
        let error = try_it(&|builder| put(builder, name, b"x"));
        assert!(matches!(error, BackupError::Place(_) | BackupError::Damaged(_)), "{name}: {error}");
    }
    assert!(!dir.path().join("evil").exists());
    let link = |builder: &mut tar::Builder<&mut Vec<u8>>| {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(tar::EntryType::Symlink);
        header.set_size(0);
        builder.append_link(&mut header, "log/x", "/etc/passwd").unwrap();
    };
    assert!(try_it(&link).to_string().contains("something else than files"));
    assert!(try_it(&|builder| put(builder, "node.toml", b"x")).to_string().contains("before its manifest"));
    let text = serde_json::to_vec(&manifest()).unwrap();
    let unnamed = |builder: &mut tar::Builder<&mut Vec<u8>>| {
        put(builder, "node.toml", b"x");
        put(builder, MANIFEST, &text);
    };
    assert!(try_it(&unnamed).to_string().contains("node.toml is not what the manifest says"));
    let newer = serde_json::to_vec(&Manifest { version: 2, ..manifest() }).unwrap();
    assert!(matches!(try_it(&|builder| put(builder, MANIFEST, &newer)), BackupError::Version { found: 2 }));
}

#[test]
fn the_plaintext_is_a_plain_archive() {
    let (dir, key) = (tempfile::tempdir().unwrap(), key());
    let out = backup(dir.path(), &key);
    let mut plain = Vec::new();
    open(&out, &key).unwrap().read_to_end(&mut plain).unwrap();
    let mut archive = tar::Archive::new(plain.as_slice());
    let names: Vec<String> =
        archive.entries().unwrap().map(|e| e.unwrap().path().unwrap().display().to_string()).collect();
    assert_eq!(names, ["log/asides", "log/tile/0/000", "node.toml", MANIFEST]);
}
