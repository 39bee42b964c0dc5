//! Files that a stranger sends: named findings, no panic, no endless work.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::world::*;
use crate::{AuditError, Checker, Class, Conclusion, check_bytes, prove, show};

fn copy_of_mx(dir: &Path) -> std::path::PathBuf {
    World::busy().copies(dir, &[MX]).remove(0)
}

fn never_sound(what: &str, spoil: impl Fn(&Path)) {
    let dir = tempfile::tempdir().unwrap();
    let copy = copy_of_mx(dir.path());
    spoil(&copy);
    let begun = Instant::now();
    let verdict = auditor(dir.path()).verify(&copy).unwrap();
    assert_ne!(verdict.verdict, Conclusion::Sound, "{what}");
    assert!(begun.elapsed() < Duration::from_secs(30), "{what}");
    let _ = show(&copy, 0, 10);
    let _ = prove(&copy, 0);
}

#[test]
fn hostile_files_have_names() {
    let newest = |dir: &Path, kind: &str| {
        let size = fs::read_dir(dir.join(kind)).unwrap().count();
        let width = |e: &fs::DirEntry| e.file_name().to_str().unwrap().parse::<u16>().unwrap();
        assert!(size > 0);
        fs::read_dir(dir.join(kind)).unwrap().map(|e| e.unwrap()).max_by_key(width).unwrap().path()
    };
    never_sound("an empty tile", |d| fs::write(newest(d, "tile/0/000.p"), "").unwrap());
    never_sound("an empty bundle", |d| fs::write(newest(d, "tile/entries/000.p"), "").unwrap());
    never_sound("a huge note", |d| fs::write(d.join("checkpoint"), vec![b'a'; 1 << 20]).unwrap());
    never_sound("an empty note", |d| fs::write(d.join("checkpoint"), "").unwrap());
    never_sound("a note that is not text", |d| fs::write(d.join("checkpoint"), [0xff; 99]).unwrap());
    never_sound("10,000 signatures", |d| {
        let mut note = fs::read_to_string(d.join("checkpoint")).unwrap();
        let line = note.lines().last().unwrap().to_owned() + "\n";
        note.push_str(&line.repeat(10_000));
        fs::write(d.join("checkpoint"), note).unwrap();
    });
    never_sound("signatures of strangers", |d| {
        let mut note = fs::read_to_string(d.join("checkpoint")).unwrap();
        note.push_str("— stranger AAAAAAAA\n");
        fs::write(d.join("checkpoint"), note).unwrap();
    });
    never_sound("a huge tile", |d| fs::write(newest(d, "tile/0/000.p"), vec![0; 50 << 20]).unwrap());
    never_sound("hostile lengths in a bundle", |d| {
        fs::write(newest(d, "tile/entries/000.p"), vec![0xff; 70_000]).unwrap();
    });
    never_sound("hostile lengths in the sidecar", |d| fs::write(d.join("asides"), [0xff; 64]).unwrap());
    never_sound("a sidecar of empty records", |d| fs::write(d.join("asides"), vec![0; 4 * 10_000]).unwrap());
    never_sound("a folder in place of a file", |d| {
        fs::remove_file(d.join("asides")).unwrap();
        fs::create_dir(d.join("asides")).unwrap();
    });
    never_sound("no folder at all", |d| fs::remove_dir_all(d).unwrap());
}

#[cfg(unix)]
#[test]
fn links_are_not_followed() {
    for target in ["/dev/zero", "/dev/null", "checkpoint"] {
        never_sound(target, |d| {
            fs::remove_file(d.join("asides")).unwrap();
            std::os::unix::fs::symlink(target, d.join("asides")).unwrap();
        });
    }
}

#[test]
fn a_head_of_a_stranger_cannot_be_told() {
    let dir = tempfile::tempdir().unwrap();
    let copy = copy_of_mx(dir.path());
    let note = fs::read_to_string(copy.join("checkpoint")).unwrap();
    fs::write(copy.join("checkpoint"), note.replace("mx/fge-bc/n1/log1", "mx/stranger/n1/log1")).unwrap();
    let verdict = auditor(dir.path()).verify(&copy).unwrap();
    assert_eq!(verdict.verdict, Conclusion::CouldNotTell, "{:#?}", verdict.findings);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn arbitrary_files_are_never_checked_as_sound(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        let charter = charter();
        match check_bytes(&bytes, Some(b"x"), &Checker::Charter(&charter)) {
            Ok(checked) => prop_assert_ne!(checked.verdict, Conclusion::Sound),
            Err(error) => prop_assert!(matches!(error, AuditError::Unreadable(_))),
        }
    }
}

/// A log in which a newer node writes entries of the next version: this program says so, and convicts nobody of anything.
#[test]
fn entries_of_a_newer_version_are_named_and_convict_nobody() {
    use puente_wire::proto::{self, Message as _};

    let mut world = World::busy();
    let newer = proto::Entry { v: puente_wire::ENTRY_VERSION + 1, body: None };
    // Numbers go on in entries that only a newer program reads: what is seen of them has gaps.
    world.next(MX, US);
    world.node(MX).append(vec![newer.encode_to_vec()]);
    world.exchange(MX, US, Course::Released);
    let dir = tempfile::tempdir().unwrap();
    let copies = world.copies(dir.path(), &[MX, US]);
    let folders: Vec<&Path> = copies.iter().map(std::path::PathBuf::as_path).collect();
    let verdict = auditor(dir.path()).reconcile(&folders).unwrap();
    assert_eq!(verdict.verdict, Conclusion::CouldNotTell, "{:?}", verdict.findings);
    let found = verdict.findings.iter().find(|finding| finding.class == Class::NewerVersion).unwrap();
    assert!(found.detail.contains("version 3") && found.en.contains("newer puente-audit"), "{found:?}");
}
