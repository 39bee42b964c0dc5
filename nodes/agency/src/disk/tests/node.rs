//! Opening a folder that is not what it should be.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use puente_audit_log::Signer;

use super::power::{QuickDisk, copy};
use super::{Author, ORIGIN, SMALL, open, signer, store_key};
use crate::disk::{DiskError, NodeDisk};

/// Writes `count` batches of ten entries each.
fn write(dir: &Path, count: u8, close: bool) {
    let (node, recovered) = open(Arc::new(QuickDisk), dir).unwrap();
    let mut author = Author::new(recovered.tree);
    for at in 0..count {
        let entries = (0..10_u8).map(|i| vec![at, i, b'e']).collect();
        let (batch, take_in) = author.batch(entries, vec![(vec![at], Some(vec![at; 40]))], vec![vec![at; 9]]);
        node.write(batch).unwrap();
        take_in(&mut author.log);
    }
    node.publish().unwrap();
    if close {
        node.close().unwrap();
    }
}

fn refused(dir: &Path) -> DiskError {
    match open(Arc::new(QuickDisk), dir) {
        Err(error) => error,
        Ok(_) => panic!("the folder was accepted"),
    }
}

#[test]
fn two_processes_cannot_have_one_folder() {
    let temp = tempfile::tempdir().unwrap();
    let (node, _) = open(Arc::new(QuickDisk), temp.path()).unwrap();
    assert!(matches!(refused(temp.path()), DiskError::InUse { .. }));
    drop(node);
    assert!(open(Arc::new(QuickDisk), temp.path()).is_ok());
}

#[test]
fn an_older_journal_under_a_newer_head_is_refused() {
    for close in [false, true] {
        let temp = tempfile::tempdir().unwrap();
        let (now, then) = (temp.path().join("now"), temp.path().join("then"));
        write(&now, 5, close);
        copy(&now, &then);
        write(&now, 5, close);
        // Everything but the log from the older copy: the head that auditors saw is larger.
        copy(&now.join("log"), &then.join("log"));
        let error = refused(&then);
        assert!(matches!(error, DiskError::HeadAhead { .. } | DiskError::Edge(_)), "{error}");
        // The journal alone from the older copy: the database knows better.
        let mixed = temp.path().join("mixed");
        copy(&now, &mixed);
        fs::remove_dir_all(mixed.join("journal")).unwrap();
        copy(&temp.path().join("then/journal"), &mixed.join("journal"));
        let error = refused(&mixed);
        assert!(matches!(error, DiskError::JournalGap { .. }), "{error}");
        assert!(error.to_string().contains("successor"), "{error}");
        // No journal at all.
        fs::remove_dir_all(mixed.join("journal")).unwrap();
        assert!(matches!(refused(&mixed), DiskError::JournalGap { .. }));
    }
}

#[test]
fn a_head_of_another_history_is_refused() {
    let temp = tempfile::tempdir().unwrap();
    let (one, other) = (temp.path().join("one"), temp.path().join("other"));
    write(&one, 5, true);
    {
        let (node, recovered) = open(Arc::new(QuickDisk), &other).unwrap();
        let mut author = Author::new(recovered.tree);
        let (batch, _) = author.batch(vec![b"another".to_vec(); 20], vec![], vec![]);
        node.write(batch).unwrap();
        node.close().unwrap();
    }
    fs::copy(other.join("log/checkpoint"), one.join("log/checkpoint")).unwrap();
    let error = refused(&one);
    assert!(matches!(error, DiskError::HeadDiffers { .. }), "{error}");
}

#[test]
fn a_forged_checkpoint_and_another_key_are_refused() {
    let temp = tempfile::tempdir().unwrap();
    let dir = temp.path().join("node");
    write(&dir, 3, true);
    let other = puente_model::Secret32::new([3; 32]);
    let error = NodeDisk::open_on(Arc::new(QuickDisk), &dir, &other, signer().verifier(), SMALL).err().unwrap();
    assert!(matches!(error, DiskError::WrongKey { .. }), "{error}");
    let key = puente_audit_log::Ed25519Signer::new(ORIGIN, puente_audit_log::KeyKind::Ed25519, &other).unwrap();
    let error = NodeDisk::open_on(Arc::new(QuickDisk), &dir, &store_key(), key.verifier(), SMALL).err().unwrap();
    assert!(matches!(error, DiskError::Head { .. }), "{error}");
    fs::write(dir.join("log/checkpoint"), "nonsense").unwrap();
    assert!(matches!(refused(&dir), DiskError::Head { .. }));
}

#[test]
fn lost_asides_are_refused_and_surplus_ones_cut() {
    let temp = tempfile::tempdir().unwrap();
    let dir = temp.path().join("node");
    write(&dir, 3, true);
    let asides = dir.join("log/asides");
    let whole = fs::read(&asides).unwrap();
    fs::write(&asides, [&whole[..], &[0, 0, 0, 99, 1, 2]].concat()).unwrap();
    write(&dir, 0, true);
    assert_eq!(fs::read(&asides).unwrap(), whole);
    fs::write(&asides, &whole[..whole.len() - 1]).unwrap();
    assert!(matches!(refused(&dir), DiskError::AsidesLost { .. }));
}

#[test]
fn a_damaged_tile_of_the_edge_is_refused() {
    let temp = tempfile::tempdir().unwrap();
    let dir = temp.path().join("node");
    write(&dir, 30, true);
    let tile = dir.join("log/tile/0/000");
    let mut bytes = fs::read(&tile).unwrap();
    bytes[100] ^= 1;
    fs::write(&tile, bytes).unwrap();
    assert!(matches!(refused(&dir), DiskError::Edge(_)));
}

#[test]
fn batches_that_do_not_follow_are_refused() {
    let temp = tempfile::tempdir().unwrap();
    let (node, recovered) = open(Arc::new(QuickDisk), temp.path()).unwrap();
    let mut author = Author::new(recovered.tree);
    let (mut batch, _) = author.batch(vec![b"e".to_vec()], vec![], vec![]);
    batch.first_index = puente_model::LeafIndex(5);
    assert!(matches!(node.write(batch), Err(DiskError::Unfit(_))));
    assert_eq!(node.status().size, 0);
}

#[test]
fn segments_are_dropped_once_applied() {
    let temp = tempfile::tempdir().unwrap();
    let (node, recovered) = open(Arc::new(QuickDisk), temp.path()).unwrap();
    let mut author = Author::new(recovered.tree);
    for at in 0..200_u8 {
        let (batch, take_in) = author.batch(vec![vec![at; 900]], vec![(vec![at], Some(vec![at; 100]))], vec![]);
        node.write(batch).unwrap();
        take_in(&mut author.log);
    }
    node.close().unwrap();
    assert_eq!(node.status().segments, 1);
    drop(node);
    let (node, recovered) = open(Arc::new(QuickDisk), temp.path()).unwrap();
    assert_eq!(recovered.replayed, 0);
    assert_eq!(recovered.tree.size().0, 200);
    assert_eq!(recovered.position, 200);
    drop(node);
}

#[test]
fn a_first_batch_larger_than_a_segment_is_kept() {
    for clean in [false, true] {
        let temp = tempfile::tempdir().unwrap();
        let (node, recovered) = open(Arc::new(QuickDisk), temp.path()).unwrap();
        let mut author = Author::new(recovered.tree);
        for count in [40, 1] {
            let entries = vec![vec![b'x'; 1_000]; count];
            let (batch, take_in) = author.batch(entries, vec![], vec![]);
            node.write(batch).unwrap();
            take_in(&mut author.log);
        }
        if clean {
            node.close().unwrap();
        }
        drop(node);
        let (_, recovered) = open(Arc::new(QuickDisk), temp.path()).unwrap();
        assert_eq!((recovered.position, recovered.tree.size().0), (2, 41), "clean {clean}");
        assert_eq!(recovered.tree.root(), author.log.root());
    }
}

#[test]
fn a_store_of_another_version_is_refused() {
    let temp = tempfile::tempdir().unwrap();
    write(temp.path(), 1, true);
    let database = rusqlite::Connection::open(temp.path().join("evidence.db")).unwrap();
    database.execute("UPDATE meta SET value = x'00000001' WHERE name = 'version'", []).unwrap();
    drop(database);
    assert!(matches!(refused(temp.path()), DiskError::Version { found: 1, expected: 2, .. }));
}
