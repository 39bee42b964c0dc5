//! The journal: any prefix of what was appended, and never anything else.

use std::collections::VecDeque;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use proptest::prelude::*;

use super::power::QuickDisk;
use super::store_key;
use crate::disk::DiskError;
use crate::disk::codec::Content;
use crate::disk::files::Disk;
use crate::disk::journal::Journal;
use crate::disk::seal::Keys;

const SEGMENT: u64 = 4 << 10;

fn quick() -> Arc<dyn Disk> {
    Arc::new(QuickDisk)
}

fn reopen(dir: &Path) -> Result<(Journal, Vec<Content>, usize), DiskError> {
    let mut seen = Vec::new();
    let keys = Keys::new(&store_key());
    let found = Journal::open(&quick(), &keys, dir, SEGMENT, 0, 0, |position, content| {
        assert_eq!(position as usize, seen.len() + 1);
        seen.push(content);
        Ok(())
    })?;
    Ok((found.journal, seen, found.torn))
}

fn content(seed: u8, len: usize) -> Content {
    Content {
        first_index: u64::from(seed),
        entries: vec![vec![seed; len], vec![]],
        checkpoint: vec![seed; 3],
        puts: vec![(vec![seed], Some(vec![seed; 5])), (vec![1, seed], None)],
        asides: vec![vec![seed; len % 7]],
    }
}

fn write(dir: &Path, lens: &[usize]) -> Vec<Content> {
    let (mut journal, mut all, _) = reopen(dir).unwrap();
    for (at, len) in lens.iter().enumerate() {
        let next = content(at as u8, *len);
        journal.append(&next).unwrap();
        all.push(next);
    }
    all
}

fn segments(dir: &Path) -> VecDeque<PathBuf> {
    let mut paths: Vec<_> = fs::read_dir(dir).unwrap().flatten().map(|entry| entry.path()).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "wal"));
    paths.sort();
    paths.into()
}

/// Where the records of a segment begin and end.
fn records(bytes: &[u8]) -> Vec<(usize, usize)> {
    let (mut at, mut out) = (128, Vec::new());
    while bytes.get(at..at + 4) == Some(b"PJR1") {
        let len = u32::from_be_bytes(bytes[at + 4..at + 8].try_into().unwrap()) as usize;
        let end = (at + 32 + len).next_multiple_of(16);
        out.push((at, end));
        at = end;
    }
    out
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_cut_tail_leaves_the_records_before_it(
        lens in prop::collection::vec(0_usize..6_000, 1..20),
        cut in 0_usize..5_000,
        noise in any::<bool>(),
    ) {
        let temp = tempfile::tempdir().unwrap();
        let all = write(temp.path(), &lens);
        let newest = segments(temp.path()).pop_back().unwrap();
        let mut bytes = fs::read(&newest).unwrap();
        let (from, to) = *records(&bytes).last().unwrap();
        // The last record is torn: from some byte on, old zeros (or noise) instead of it.
        let at = from + cut % (to - from);
        bytes[at..to].fill(if noise { 0xa5 } else { 0 });
        fs::write(&newest, &bytes).unwrap();
        let (mut journal, seen, _) = reopen(temp.path()).unwrap();
        // Only padding may have been cut: then the record still holds.
        prop_assert!(seen[..] == all[..all.len() - 1] || seen == all);
        let kept = seen.len();
        journal.append(&content(200, 77)).unwrap();
        drop(journal);
        let (_, seen, torn) = reopen(temp.path()).unwrap();
        prop_assert_eq!(torn, 0);
        prop_assert_eq!(seen.len(), kept + 1);
        prop_assert!(seen[kept] == content(200, 77));
    }

    #[test]
    fn one_wrong_bit_before_the_last_record_is_refused_by_name(
        lens in prop::collection::vec(0_usize..1_500, 3..12),
        pick in any::<prop::sample::Index>(),
        bit in 0_u8..8,
    ) {
        let temp = tempfile::tempdir().unwrap();
        write(temp.path(), &lens);
        let paths = segments(temp.path());
        // Bytes of records that were durable and are followed by another record.
        let mut places = Vec::new();
        for (number, path) in paths.iter().enumerate() {
            let bytes = fs::read(path).unwrap();
            let mut spans = records(&bytes);
            if number + 1 == paths.len() {
                spans.pop();
            }
            for (from, to) in spans {
                let len = u32::from_be_bytes(bytes[from + 4..from + 8].try_into().unwrap()) as usize;
                // The reserved word after the nonce and the padding say nothing.
                places.extend((from..to.min(from + 32 + len)).filter(|at| !(from + 28..from + 32).contains(at))
                    .map(|at| (path.clone(), at)));
            }
        }
        prop_assume!(!places.is_empty());
        let (path, at) = pick.get(&places);
        let mut bytes = fs::read(path).unwrap();
        bytes[*at] ^= 1 << bit;
        fs::write(path, bytes).unwrap();
        let error = reopen(temp.path()).map(|_| ()).unwrap_err();
        prop_assert!(matches!(&error, DiskError::Damaged { path: named, .. } if named == path), "{}", error);
    }
}

#[test]
fn another_key_is_named_and_wipes_nothing() {
    let temp = tempfile::tempdir().unwrap();
    let all = write(temp.path(), &[10, 20]);
    let other = Keys::new(&puente_model::Secret32::new([1; 32]));
    let error = Journal::open(&quick(), &other, temp.path(), SEGMENT, 0, 0, |_, _| Ok(())).map(|_| ()).unwrap_err();
    assert!(matches!(error, DiskError::WrongKey { .. }), "{error}");
    assert!(reopen(temp.path()).unwrap().1 == all);
}

#[test]
fn a_journal_that_lost_its_tail_is_refused() {
    let temp = tempfile::tempdir().unwrap();
    write(temp.path(), &[10, 20]);
    let keys = Keys::new(&store_key());
    // Another file knows of a third batch.
    let error = Journal::open(&quick(), &keys, temp.path(), SEGMENT, 0, 3, |_, _| Ok(())).map(|_| ()).unwrap_err();
    assert!(matches!(error, DiskError::JournalGap { need: 3, .. }), "{error}");
    assert!(error.to_string().contains("successor"), "{error}");
}

#[test]
fn a_missing_segment_is_refused() {
    let temp = tempfile::tempdir().unwrap();
    write(temp.path(), &[3_000, 3_000, 3_000, 3_000]);
    let paths = segments(temp.path());
    assert!(paths.len() >= 4);
    fs::remove_file(&paths[1]).unwrap();
    assert!(matches!(reopen(temp.path()).map(|_| ()).unwrap_err(), DiskError::Damaged { .. }));
    fs::remove_file(&paths[0]).unwrap();
    assert!(matches!(reopen(temp.path()).map(|_| ()).unwrap_err(), DiskError::JournalGap { .. }));
}

#[test]
fn a_record_larger_than_a_segment_gets_one_of_its_own() {
    let temp = tempfile::tempdir().unwrap();
    let all = write(temp.path(), &[10, 60_000, 10]);
    assert!(reopen(temp.path()).unwrap().1 == all);
}

#[test]
fn after_a_failed_sync_nothing_is_written_any_more() {
    use super::power::{Fault, PowerDisk};
    use crate::disk::files::site;
    let temp = tempfile::tempdir().unwrap();
    let disk = Arc::new(PowerDisk::new(temp.path()));
    let keys = Keys::new(&store_key());
    let dynamic: Arc<dyn Disk> = disk.clone();
    let mut journal = Journal::open(&dynamic, &keys, temp.path(), SEGMENT, 0, 0, |_, _| Ok(())).unwrap().journal;
    journal.append(&content(0, 1)).unwrap();
    disk.plan(site::JOURNAL_APPEND_SYNC, 2, Fault::Eio);
    assert!(matches!(journal.append(&content(1, 1)).map(|_| ()).unwrap_err(), DiskError::Io { .. }));
    // The disk is well again; the journal does not believe it.
    assert!(matches!(journal.append(&content(1, 1)).map(|_| ()).unwrap_err(), DiskError::Stopped { .. }));
}
