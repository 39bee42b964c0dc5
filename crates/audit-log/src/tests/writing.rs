//! The writer: batches, crashes, recovery, and proofs from memory.

use proptest::prelude::*;
use puente_model::limits::{BATCH_ENTRIES_MAX, ENTRY_BYTES_MAX};
use puente_model::{LeafIndex, TreeSize};

use super::{Bench, MemoryJournal, ORIGIN, entry, log_key, signer, witness};
use crate::{
    ClaimedReceipt, CommitError, Entries, Log, LogPath, MemoryFiles, OpenError, ProveError, SealError, StageError,
    TileId, hash_replay, leaf_hash, root_of_entries, verify_consistency,
};

/// The worked example of C2SP tlog-tiles, size 70,000.
#[test]
fn a_log_of_seventy_thousand_has_the_tiles_of_the_specification() {
    let bench = Bench::of_size(70_000);
    let tiles = |level| {
        let all = bench.files.paths().filter_map(|path| match path {
            LogPath::Tile(tile) if tile.level() == level => Some(tile),
            _ => None,
        });
        all.partition::<Vec<TileId>, _>(|tile| tile.is_full())
    };
    let widths = |partial: &[TileId]| partial.iter().map(|t| (t.index(), t.width())).collect::<Vec<_>>();
    let (full, partial) = tiles(0);
    assert_eq!((full.len(), widths(&partial)), (273, vec![(273, 112)]));
    let (full, partial) = tiles(1);
    assert_eq!((full.len(), widths(&partial)), (1, vec![(1, 17)]));
    let (full, partial) = tiles(2);
    assert_eq!((full.len(), widths(&partial)), (0, vec![(0, 1)]));
    assert!(tiles(3).0.is_empty() && tiles(3).1.is_empty());
    let names: Vec<String> = bench.files.paths().map(|p| p.to_string()).collect();
    for name in ["checkpoint", "tile/0/273.p/112", "tile/1/001.p/17", "tile/2/000.p/1", "tile/entries/273.p/112"] {
        assert!(names.contains(&name.to_owned()), "{name}");
    }
    let replayed = hash_replay(&bench.head(), &bench.files).unwrap();
    assert_eq!((replayed.tiles_compared, replayed.tiles_missing.len()), (277, 0));
    let reopened = Log::open(&bench.head(), &bench.files).unwrap();
    assert_eq!(reopened.root(), bench.log.root());
    for index in [0, 255, 256, 65_535, 65_536, 69_887, 69_888, 69_999] {
        let proof = reopened.prove_inclusion(LeafIndex(index), TreeSize(70_000), &bench.files).unwrap();
        assert_eq!(proof, bench.receipt(index).hashes());
    }
    for old in [1, 256, 65_536, 65_537, 69_999] {
        let proof = reopened.prove_consistency(TreeSize(old), TreeSize(70_000), &bench.files).unwrap();
        let old_root = root_of_entries((0..old).map(entry));
        verify_consistency(TreeSize(old), TreeSize(70_000), &old_root, &reopened.root(), &proof).unwrap();
    }
}

#[test]
fn proofs_of_the_newest_batch_read_no_file() {
    let nothing = MemoryFiles::new();
    for (before, batch) in [(0, 1), (255, 1), (255, 2), (256, 1024), (5000, 1024), (66_000, 1024), (65_535, 1)] {
        let mut bench = Bench::of_size(before);
        let entries: Vec<Vec<u8>> = (before..before + batch).map(entry).collect();
        let committed = bench.append(&entries);
        let receipts = bench.log.last_receipts().unwrap();
        assert_eq!(receipts.len() as u64, batch);
        for (at, receipt) in receipts.iter().enumerate() {
            let index = LeafIndex(before + at as u64);
            assert_eq!((receipt.index(), receipt.leaf()), (index, &leaf_hash(&entries[at])));
            assert_eq!(receipt.head(), &committed.head);
            let claimed = ClaimedReceipt::parse(&receipt.encode()).unwrap();
            assert_eq!(&claimed.verify_under(receipt.leaf(), &committed.head).unwrap(), receipt);
            if at % 100 == 0 {
                assert_eq!(bench.log.prove_inclusion(index, bench.log.size(), &nothing).unwrap(), receipt.hashes());
            }
        }
        let claimed = ClaimedReceipt::parse(&receipts[0].encode()).unwrap();
        claimed.verify(&leaf_hash(&entries[0]), &log_key()).unwrap();
    }
}

#[test]
fn a_staged_batch_that_is_dropped_leaves_no_trace() {
    let mut bench = Bench::of_size(300);
    let before = (bench.log.head().cloned(), bench.log.root(), bench.log.publish());
    drop(bench.log.stage(&[b"lost"]).unwrap());
    assert_eq!((bench.log.head().cloned(), bench.log.root(), bench.log.publish()), before);
    bench.append(&[b"kept"]);
    assert_eq!(bench.log.size(), TreeSize(301));
}

#[test]
fn one_state_gets_one_signed_head() {
    let mut bench = Bench::of_size(10);
    let staged = bench.log.stage(&[b"a"]).unwrap();
    let rival = bench.log.stage(&[b"b"]).unwrap();
    let same = bench.log.stage(&[b"a"]).unwrap();
    // A key that cannot sign for the log takes nothing.
    assert!(matches!(bench.log.stage(&[b"b"]).unwrap().sign(&witness()), Err(SealError::Checkpoint(_))));
    let sealed = staged.sign(&signer()).unwrap();
    assert_eq!(rival.sign(&signer()).unwrap_err(), SealError::AlreadySigned);
    assert!(same.sign(&signer()).is_ok());

    // The journal fails: only the same batch may try again.
    let mut broken = MemoryJournal { fails: true, ..Default::default() };
    let failed = sealed.persist(&mut broken).unwrap_err();
    assert!(failed.to_string().contains("disk full"));
    assert_eq!(bench.log.stage(&[b"b"]).unwrap().sign(&signer()).unwrap_err(), SealError::AlreadySigned);
    let late = bench.log.stage(&[b"late"]).unwrap();
    let persisted = failed.sealed.persist(&mut bench.journal).unwrap();
    bench.log.commit(persisted).unwrap();

    // What was staged before the commit is stale after it.
    let stale = SealError::Stale { staged: TreeSize(10), have: TreeSize(11) };
    assert_eq!(late.sign(&signer()).unwrap_err(), stale);
}

#[test]
fn a_batch_of_another_log_is_not_committed() {
    let mut one = Bench::of_size(10);
    let mut other = Bench::of_size(10);
    let sealed = one.log.stage(&[b"a"]).unwrap().sign(&signer()).unwrap();
    let persisted = sealed.persist(&mut one.journal).unwrap();
    let stale = CommitError::Stale { staged: TreeSize(10), have: TreeSize(10) };
    assert_eq!(other.log.commit(persisted).unwrap_err(), stale);
}

#[test]
fn a_crash_after_any_batch_recovers_from_the_journal() {
    let mut bench = Bench::of_size(200);
    let published = bench.head();
    let from = bench.journal.batches.len();
    for batch in [1_u64, 54, 2, 600, 0, 256] {
        let size = bench.log.size().0;
        bench.append(&(size..size + batch).map(entry).collect::<Vec<_>>());
    }
    let lost_files = {
        let mut files = bench.files.clone();
        let full: Vec<LogPath> = files.paths().filter(|p| !p.to_string().contains(".p/")).collect();
        full.into_iter().for_each(|path| assert!(files.remove(path)));
        files
    };
    let mut log = Log::open(&published, &lost_files).unwrap();
    for (framed, head) in &bench.journal.batches[from..] {
        let entries: Vec<&[u8]> = Entries::new(framed).collect::<Result<_, _>>().unwrap();
        let staged = log.stage(&entries).unwrap();
        assert_eq!(
            log.stage(&[b"other"]).unwrap().recover(head.clone()).unwrap_err(),
            SealError::OtherHead,
            "a head of another batch is not taken"
        );
        log.commit(staged.recover(head.clone()).unwrap()).unwrap();
    }
    assert_eq!((log.head(), log.size()), (bench.log.head(), bench.log.size()));
    assert_eq!(log.publish(), bench.log.publish());
}

#[test]
fn opening_checks_every_file_of_the_right_edge() {
    let bench = Bench::of_size(70_000);
    let open = |change: &dyn Fn(&mut MemoryFiles)| {
        let mut files = bench.files.clone();
        change(&mut files);
        Log::open(&bench.head(), &files).map(|log| log.size())
    };
    let flip = |name: &str, at: usize| {
        let path: LogPath = name.parse().unwrap();
        open(&|files: &mut MemoryFiles| {
            let mut bytes = files.get(path).unwrap().to_vec();
            bytes[at] ^= 1;
            files.put([crate::LogFile { path, bytes }]);
        })
    };
    assert_eq!(open(&|_| ()), Ok(TreeSize(70_000)));
    assert!(matches!(flip("tile/0/273.p/112", 0), Err(OpenError::Root { .. })));
    assert!(matches!(flip("tile/1/001.p/17", 40), Err(OpenError::Root { .. })));
    assert!(matches!(flip("tile/2/000.p/1", 0), Err(OpenError::Root { .. })));
    assert_eq!(flip("tile/0/272", 0), Err(OpenError::FullTile { level: 0, index: 272 }));
    assert_eq!(flip("tile/1/000", 0), Err(OpenError::FullTile { level: 1, index: 0 }));
    // Entry 69,888 is empty (its length comes first); entry 69,889 is not.
    assert!(matches!(flip("tile/entries/273.p/112", 30), Err(OpenError::Entry { .. }) | Err(OpenError::Bundle(_))));
    let gone = |name: &str| {
        let path: LogPath = name.parse().unwrap();
        open(&|files: &mut MemoryFiles| assert!(files.remove(path)))
    };
    assert!(matches!(gone("tile/0/273.p/112"), Err(OpenError::Tile(_))));
    assert!(matches!(gone("tile/entries/273.p/112"), Err(OpenError::Bundle(_))));
    assert!(matches!(gone("tile/0/272"), Err(OpenError::Tile(_))));
    assert_eq!(gone("tile/0/271"), Ok(TreeSize(70_000)), "only the edge is read");
}

#[test]
fn a_partial_file_may_be_replaced_by_the_full_one() {
    let mut bench = Bench::of_size(300);
    let old = bench.head();
    bench.grow_to(600);
    bench.publish();
    let partial = ["tile/0/001.p/44", "tile/entries/001.p/44"];
    partial.iter().for_each(|name| assert!(bench.files.remove(name.parse().unwrap())));
    assert_eq!(Log::open(&old, &bench.files).unwrap().root(), old.root());
    hash_replay(&old, &bench.files).unwrap();
}

#[test]
fn batches_and_entries_have_limits() {
    let log = Log::empty(ORIGIN).unwrap();
    assert!(log.stage(&vec![b""; BATCH_ENTRIES_MAX]).is_ok());
    let found = BATCH_ENTRIES_MAX + 1;
    assert_eq!(log.stage(&vec![b""; found]).unwrap_err(), StageError::TooMany { found });
    assert!(log.stage(&[vec![0; ENTRY_BYTES_MAX]]).is_ok());
    let found = ENTRY_BYTES_MAX + 1;
    assert_eq!(log.stage(&[vec![], vec![0; found]]).unwrap_err(), StageError::EntryTooLong { at: 1, found });
    assert!(Log::empty("").is_err() && Log::empty("a b").is_err());
}

#[test]
fn proofs_that_cannot_be_made_say_why() {
    let bench = Bench::of_size(600);
    let (log, files) = (&bench.log, &bench.files);
    assert!(matches!(log.prove_inclusion(LeafIndex(600), TreeSize(600), files), Err(ProveError::Asked(_))));
    assert!(matches!(log.prove_inclusion(LeafIndex(0), TreeSize(601), files), Err(ProveError::Future { .. })));
    assert!(matches!(log.prove_consistency(TreeSize(9), TreeSize(8), files), Err(ProveError::Asked(_))));
    assert_eq!(log.prove_consistency(TreeSize(0), TreeSize(8), files), Ok(vec![]));
    assert!(Log::empty(ORIGIN).unwrap().receipt(LeafIndex(0), files).is_err());
    assert!(Log::empty(ORIGIN).unwrap().publish().is_none());
    // A reopened log has the newest full tile in memory; a damaged older one shows in the proof.
    let mut files = Bench::of_size(3000).files;
    let head = Bench::of_size(3000).head();
    let path: LogPath = "tile/0/000".parse().unwrap();
    let mut bytes = files.get(path).unwrap().to_vec();
    bytes[40] ^= 1;
    files.put([crate::LogFile { path, bytes }]);
    let log = Log::open(&head, &files).unwrap();
    assert_eq!(log.prove_inclusion(LeafIndex(0), TreeSize(3000), &files), Err(ProveError::Damaged));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Whatever the batches, the log is the tree of its entries, and every old head stays provable.
    #[test]
    fn any_batches_make_the_same_log(batches in proptest::collection::vec(0_u64..400, 1..12), at in any::<u64>()) {
        let mut bench = Bench::new();
        for batch in batches {
            let size = bench.log.size().0;
            bench.append(&(size..size + batch).map(entry).collect::<Vec<_>>());
            bench.publish();
            let head = bench.head();
            let all = root_of_entries((0..head.size().0).map(entry));
            prop_assert_eq!(head.root(), all);
            let reopened = Log::open(&head, &bench.files).unwrap();
            prop_assert_eq!(reopened.publish(), bench.log.publish());
            prop_assert_eq!(bench.log.last_receipts().unwrap().len() as u64, batch);
        }
        hash_replay(&bench.head(), &bench.files).unwrap();
        let size = bench.log.size().0;
        for head in &bench.heads {
            let proof = bench.log.prove_consistency(head.size(), TreeSize(size), &bench.files).unwrap();
            crate::verify_extension(head, &bench.head(), &proof).unwrap();
            if head.size().0 > 0 {
                let index = LeafIndex(at % head.size().0);
                let proof = bench.log.prove_inclusion(index, head.size(), &bench.files).unwrap();
                let leaf = leaf_hash(&entry(index.0));
                crate::verify_inclusion(index, head.size(), &leaf, &proof, &head.root()).unwrap();
            }
        }
    }
}
