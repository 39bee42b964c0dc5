//! Replays: what they find, and that they name the place.

use std::ops::ControlFlow;

use puente_model::{LeafIndex, TreeSize};

use super::{Bench, entry};
use crate::{
    BundleId, Divergence, LogFile, LogPath, MemoryFiles, ReadError, ReplayError, TileId, TileReader, hash_replay,
    leaf_hash, replay,
};

fn flip(files: &mut MemoryFiles, name: &str, at: usize) {
    let path: LogPath = name.parse().unwrap();
    let mut bytes = files.get(path).unwrap().to_vec();
    bytes[at] ^= 1;
    files.put([LogFile { path, bytes }]);
}

#[test]
fn every_entry_is_shown_in_order() {
    let bench = Bench::of_size(700);
    let mut next = 0;
    let replayed = replay(&bench.head(), &bench.files, |index, leaf, bytes| {
        assert_eq!((index, leaf, bytes), (LeafIndex(next), &leaf_hash(bytes), entry(next).as_slice()));
        next += 1;
        ControlFlow::Continue(())
    });
    assert_eq!((replayed.unwrap().size, next), (TreeSize(700), 700));
    let stopped = replay(&bench.head(), &bench.files, |index, _, _| match index {
        LeafIndex(9) => ControlFlow::Break(()),
        _ => ControlFlow::Continue(()),
    });
    assert_eq!(stopped, Err(ReplayError::Stopped(LeafIndex(9))));
    assert_eq!(hash_replay(&Bench::of_size(0).head(), &MemoryFiles::new()).unwrap().size, TreeSize(0));
}

#[test]
fn a_changed_leaf_hash_is_found_where_it_is() {
    let mut bench = Bench::of_size(700);
    flip(&mut bench.files, "tile/0/001", 32 * 5 + 31);
    let tile = TileId::new(0, 1, 256).unwrap();
    let (first, end) = (LeafIndex(261), LeafIndex(262));
    let expected = ReplayError::Diverges(Divergence::Tile { tile, at: 5, first, end });
    assert_eq!(hash_replay(&bench.head(), &bench.files).unwrap_err(), expected);
}

#[test]
fn a_changed_upper_hash_names_the_entries_under_it() {
    let mut bench = Bench::of_size(700);
    flip(&mut bench.files, "tile/1/000.p/2", 33);
    let tile = TileId::new(1, 0, 2).unwrap();
    let (first, end) = (LeafIndex(256), LeafIndex(512));
    let expected = ReplayError::Diverges(Divergence::Tile { tile, at: 1, first, end });
    assert_eq!(hash_replay(&bench.head(), &bench.files).unwrap_err(), expected);
}

#[test]
fn a_changed_entry_is_found_by_its_tile_or_the_root() {
    let mut bench = Bench::of_size(700);
    // Entry 20 has 20 bytes; its last one precedes entry 21's length.
    let at: usize = (0..=20).map(|i| entry(i).len() + 2).sum();
    flip(&mut bench.files, "tile/entries/000", at - 1);
    let found = hash_replay(&bench.head(), &bench.files).unwrap_err();
    assert!(matches!(found, ReplayError::Diverges(Divergence::Tile { first: LeafIndex(20), .. })), "{found:?}");
    let tiles: Vec<LogPath> = bench.files.paths().filter(|p| matches!(p, LogPath::Tile(_))).collect();
    tiles.into_iter().for_each(|path| assert!(bench.files.remove(path)));
    let found = hash_replay(&bench.head(), &bench.files).unwrap_err();
    assert!(matches!(found, ReplayError::Diverges(Divergence::Root { .. })), "{found:?}");
}

#[test]
fn missing_tiles_are_reported_and_missing_bundles_are_no_verdict() {
    let mut bench = Bench::of_size(700);
    assert!(bench.files.remove("tile/0/001".parse().unwrap()));
    let replayed = hash_replay(&bench.head(), &bench.files).unwrap();
    assert_eq!(replayed.tiles_missing, [TileId::new(0, 1, 256).unwrap()]);
    assert!(bench.files.remove("tile/entries/001".parse().unwrap()));
    let bundle = BundleId::new(1, 256).unwrap();
    let expected = ReplayError::Unavailable { bundle, error: ReadError::NotFound };
    assert_eq!(hash_replay(&bench.head(), &bench.files).unwrap_err(), expected);
}

#[test]
fn files_of_wrong_length_are_divergence() {
    for (name, cut) in [("tile/0/001", 1), ("tile/0/002.p/188", 32), ("tile/entries/000", 1), ("tile/entries/001", 0)] {
        let mut bench = Bench::of_size(700);
        let path: LogPath = name.parse().unwrap();
        let mut bytes = bench.files.get(path).unwrap().to_vec();
        if cut == 0 {
            bytes.extend_from_slice(&[0, 0]);
        } else {
            bytes.truncate(bytes.len() - cut);
        }
        bench.files.put([LogFile { path, bytes }]);
        let found = hash_replay(&bench.head(), &bench.files).unwrap_err();
        assert!(matches!(found, ReplayError::Diverges(_)), "{name}: {found:?}");
    }
}

#[test]
fn a_reader_that_fails_is_no_verdict() {
    struct Broken<'a>(&'a MemoryFiles);
    impl TileReader for Broken<'_> {
        fn tile(&self, _: TileId) -> Result<Vec<u8>, ReadError> {
            Err(ReadError::Io("bus error".to_owned()))
        }
        fn bundle(&self, id: BundleId) -> Result<Vec<u8>, ReadError> {
            self.0.bundle(id)
        }
    }
    let bench = Bench::of_size(700);
    let found = hash_replay(&bench.head(), &Broken(&bench.files)).unwrap_err();
    assert!(matches!(found, ReplayError::TileUnavailable { .. }), "{found:?}");
    assert!(found.to_string().contains("tile/0/000") && found.to_string().contains("bus error"));
}
