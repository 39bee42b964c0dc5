use puente_model::{Digest, Secret32};

use super::super::{Imported, Outcome, RowError};
use super::*;
use crate::config::NodeDir;
use crate::records::RecordStore;

fn record(n: u8) -> Imported {
    let salt = Secret32::new([n; 32]);
    let bytes = vec![0x0a, 1, n];
    let overrides = String::new();
    let commitment = super::super::commit(&salt, "Vehicle", &bytes, &overrides);
    Imported { record: bytes, keys: vec![("vehicle.vin".into(), n.to_string())], salt, commitment, overrides }
}

fn staged(folder: &Path, count: u8) -> Staged {
    let mut staging = Staging::begin(&Folder::new(folder)).unwrap();
    for n in 0..count {
        staging.put(&record(n)).unwrap();
    }
    let accepted = u64::from(count);
    let counts = Counts { rows: accepted + 1, accepted, rejected: 1, ..Counts::default() };
    let root = Digest::of(b"root").to_string();
    let (record_type, authority) = ("Vehicle".to_owned(), "REPUVE".to_owned());
    staging.finish(Head { record_type, authority, provenance: None, counts, root, part: None }).unwrap()
}

fn pending(folder: &Path) -> Result<Vec<Staged>, StageError> {
    Folder::new(folder).pending()
}

#[test]
fn records_are_found_only_after_their_entry() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("imports");
    let mut store = RecordStore::open_with(&NodeDir::new(dir.path()), &Default::default()).unwrap();
    staged(&folder, 3);
    let mut found = pending(&folder).unwrap();
    assert_eq!((found.len(), found[0].head().counts.accepted, found[0].is_collected()), (1, 3, false));
    let event = found[0].event().unwrap();
    assert_eq!(event.count, 3);
    assert!(String::from_utf8(event.detail).unwrap().contains("REPUVE"));
    // Not before the entry is in the log.
    assert!(found[0].clone().store(&mut store).is_err());
    assert!(store.counts().unwrap().is_empty());
    found[0].collected().unwrap();
    // A crash here: the batch is found again, collected.
    let found = pending(&folder).unwrap().remove(0);
    assert!(found.is_collected());
    assert_eq!(found.store(&mut store).unwrap().new, 3);
    assert_eq!(store.counts().unwrap(), [("Vehicle".to_owned(), 3)]);
    assert!(pending(&folder).unwrap().is_empty());
    let heads = Folder::new(&folder).heads().unwrap();
    assert_eq!((heads.len(), heads[0].1.counts.rejected), (1, 1));
    assert_eq!(heads[0].0.with_extension("openings").metadata().unwrap().len(), 8 + 3 * (33 + 68));
}

#[test]
fn one_at_a_time_carries_a_batch_on() {
    let dir = tempfile::tempdir().unwrap();
    let mut import = staged(dir.path(), 2);
    let mut node = pending(dir.path()).unwrap().remove(0);
    assert!(!node.hold(), "the import has it");
    import.release();
    assert!(node.hold());
    assert!(!import.hold(), "the node has it");
    node.collected().unwrap();
    node.release();
    assert!(!import.hold(), "the node has carried it on");
    assert!(!import.wait().unwrap());
}

#[test]
fn one_import_at_a_time_and_half_written_files_are_cleared_away() {
    let dir = tempfile::tempdir().unwrap();
    let folder = Folder::new(dir.path());
    let turn = folder.enter().unwrap();
    assert!(matches!(folder.enter(), Err(StageError::Busy(_))));
    let mut dead = Staging::begin(&folder).unwrap();
    let said = RowError { line: 2, column: None, code: "x".into(), message: "m".into(), mend: "n".into() };
    dead.problem(&said, Outcome::Rejected).unwrap();
    let batch = staged(dir.path(), 1);
    std::fs::write(batch.path.with_extension("problems"), "").unwrap();
    std::fs::write(dir.path().join("orphan.problems"), "").unwrap();
    drop((turn, dead));
    let _turn = folder.enter().unwrap();
    let mut left: Vec<_> = std::fs::read_dir(dir.path()).unwrap().map(|e| e.unwrap().path()).collect();
    left.sort();
    let endings: Vec<_> = left.iter().map(|p| p.extension().unwrap_or_default().to_string_lossy()).collect();
    assert_eq!(endings, ["problems", "staged", ""], "{left:?}");
}

#[test]
fn damage_is_named_and_nothing_of_it_is_pending_silently() {
    let dir = tempfile::tempdir().unwrap();
    let batch = staged(dir.path(), 3);
    let whole = std::fs::read(&batch.path).unwrap();
    for cut in 0..whole.len() {
        std::fs::write(&batch.path, &whole[..cut]).unwrap();
        assert!(pending(dir.path()).is_err(), "{cut}");
    }
    assert!(pending(&dir.path().join("none")).unwrap().is_empty());
}
