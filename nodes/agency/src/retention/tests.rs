//! The job over real stores, cut off at every step.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;

use puente_audit_log::{Frontier, leaf_hash};
use puente_model::{Digest, LeafIndex, Secret32};

use super::*;
use crate::import::stage::{Head, Staging, Step, Watch, commitments};
use crate::import::{Counts, Imported, commit};
use crate::records::tests::cluster::{Cluster, OWNER};
use crate::records::{NewRecord, identity};
use crate::training::TrainingConfig;

/// 2026-12-01T12:00:00Z.
const NOW: Millis = Millis(1_796_126_400_000);

pub(crate) const PLATE: &str = "ABC1234";

/// A log that holds each details once, as the engine's does, and may be unable to.
#[derive(Default)]
struct FakeLog {
    entries: Mutex<Vec<LocalEvent>>,
    closed: bool,
}

impl Recorder for FakeLog {
    async fn record(&self, event: LocalEvent) -> Option<Conclusion> {
        if self.closed {
            return Some(Conclusion::LogSuspended);
        }
        let mut entries = self.entries.lock().unwrap();
        if entries.iter().all(|held| held.detail != event.detail) {
            entries.push(event);
        }
        Some(Conclusion::Recorded { index: LeafIndex(entries.len() as u64) })
    }
}

impl FakeLog {
    fn counts(&self) -> Vec<u64> {
        self.entries.lock().unwrap().iter().map(|event| event.count).collect()
    }
}

/// Plate reads: id, when, on a hot list.
pub(crate) fn reads(rows: &[(&str, &str, bool)]) -> Vec<NewRecord> {
    let catalogue = crate::load::catalogue(None).unwrap();
    let kind = catalogue.record_type("PlateRead").unwrap();
    let read = |(id, at, hot): &(&str, &str, bool)| {
        let cells: BTreeMap<String, String> = [
            ("read_id", *id),
            ("plate", PLATE),
            ("read_at", *at),
            ("cell", "11SMS8832"),
            ("verification", "unverified"),
            ("expires_at", "2099-01-01T00:00:00Z"),
            ("holder_agency", "us/tx-dps"),
            ("hot_list", if *hot { "yes" } else { "no" }),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into();
        let row = kind.parse_row(&cells).unwrap();
        let found = kind.match_keys_of(&row.record).unwrap();
        let keys = found.iter().map(|key| (key.name.clone(), key.value.clone())).collect();
        NewRecord { record_type: "PlateRead".into(), bytes: row.record.into_bytes(), keys }
    };
    rows.iter().map(read).collect()
}

fn some() -> Vec<NewRecord> {
    reads(&[
        ("old-1", "2026-10-01T10:00:00Z", false),
        ("old-2", "2026-10-31T11:59:59Z", false),
        ("on-a-hot-list", "2026-10-01T10:00:00Z", true),
        ("in-time", "2026-11-01T12:00:00Z", false),
    ])
}

/// Brings records in as an import does; the path of their batch.
fn bring_in(dir: &NodeDir, settings: &RecordSettings, records: &[NewRecord]) -> PathBuf {
    let mut staging = Staging::begin(&Folder::new(&dir.imports())).unwrap();
    let mut tree = Frontier::default();
    for (record, n) in records.iter().zip(1..) {
        let (salt, overrides) = (Secret32::new([n; 32]), "[{\"reason\":\"seen by o-77\"}]".to_owned());
        let commitment = commit(&salt, &record.record_type, &record.bytes, &overrides);
        tree.push(leaf_hash(commitment.as_bytes()));
        let NewRecord { bytes, keys, .. } = record.clone();
        staging.put(&Imported { record: bytes, keys, salt, commitment, overrides }).unwrap();
    }
    let accepted = records.len() as u64;
    let counts = Counts { rows: accepted, accepted, ..Counts::default() };
    let (record_type, authority) = (records[0].record_type.to_string(), "us/tx-dps".to_owned());
    let root = tree.root().to_string();
    let mut staged =
        staging.finish(Head { record_type, authority, provenance: None, counts, root, part: None }).unwrap();
    staged.collected().unwrap();
    staged.store(&mut RecordStore::open_with(dir, settings).unwrap()).unwrap();
    let mut batches: Vec<_> = Folder::new(&dir.imports()).heads().unwrap().into_iter().map(|(path, _)| path).collect();
    batches.sort();
    batches.pop().unwrap()
}

/// Which records of a batch can still be opened; its commitments still make the root that COLLECT names.
fn openable(batch: &Path) -> Vec<bool> {
    let (mut tree, mut open) = (Frontier::default(), Vec::new());
    commitments(&batch.with_extension("openings"), &mut |commitment, opens| {
        tree.push(leaf_hash(commitment.as_bytes()));
        open.push(opens);
    })
    .unwrap();
    let head: Head = serde_json::from_slice(&std::fs::read(batch).unwrap()).unwrap();
    assert_eq!(tree.root().to_string(), head.root, "what is left can still be shown to be in the batch");
    open
}

fn holds(folder: &Path, what: &[u8]) -> bool {
    let mut files = std::fs::read_dir(folder).unwrap().map(|entry| std::fs::read(entry.unwrap().path()).unwrap());
    files.any(|bytes| bytes.windows(what.len()).any(|part| part == what))
}

fn left(dir: &NodeDir, settings: &RecordSettings) -> BTreeSet<Vec<u8>> {
    let mut store = RecordStore::open_with(dir, settings).unwrap();
    store.page("PlateRead", 0, 100).unwrap().into_iter().map(|(_, bytes)| bytes).collect()
}

/// The whole job, cut off at every step, over one store.
async fn cut_off(dir: &NodeDir, settings: &RecordSettings) {
    let catalogue = crate::load::catalogue(None).unwrap();
    let job = Retention { dir, settings, catalogue: &catalogue };
    let all = some();
    let kept: BTreeSet<Vec<u8>> = all[2..].iter().map(|record| record.bytes.clone()).collect();
    let batch = bring_in(dir, settings, &all);
    let due = |count| Gone::from([("PlateRead".to_owned(), count)]);
    assert_eq!(job.due(NOW).unwrap(), Gone::from([("PlateRead".to_owned(), 2), ("Seizure".to_owned(), 0)]));
    assert_eq!(left(dir, settings).len(), 4, "a dry run changes nothing");
    assert_eq!(openable(&batch), [true; 4]);

    // The log takes nothing: nothing is erased, and what was to be is not forgotten.
    let closed = FakeLog { closed: true, ..FakeLog::default() };
    assert!(matches!(job.run(&closed, NOW).await, Err(RetentionError::Log)));
    assert_eq!((left(dir, settings).len(), job.files(&["due"]).unwrap().len()), (4, 1));
    assert_eq!((Last::read(dir), openable(&batch)), (Last::default(), vec![true; 4]));

    // Cut off after the log held it and before the job heard so: it is said again, and stands once.
    let log = FakeLog::default();
    let staged = job.files(&["due"]).unwrap().remove(0);
    log.record(read(&staged).unwrap().event()).await.unwrap();
    // Cut off after it was noted, with one of two records gone: the other goes.
    std::fs::rename(&staged, staged.with_extension("recorded")).unwrap();
    let first = [identity("PlateRead", &all[0].bytes)];
    assert_eq!(RecordStore::open_with(dir, settings).unwrap().erase(&first).unwrap(), 1);
    // While an import runs nobody touches what imports left: the records are gone, and the job is not through.
    let turn = Folder::new(&dir.imports()).enter().unwrap();
    assert_eq!(job.run(&log, NOW).await.unwrap(), due(1));
    assert_eq!((left(dir, settings), openable(&batch)), (kept, vec![true; 4]));
    assert_eq!(Last::read(dir), Last { at: 0, erased: 1 });
    drop(turn);
    assert_eq!(job.run(&log, NOW).await.unwrap(), Gone::new());
    assert_eq!(log.counts(), [2], "one ERASE for one batch");
    assert!(job.files(&["due", "recorded", "erased"]).unwrap().is_empty());
    assert_eq!(Last::read(dir), Last { at: NOW.0, erased: 1 });
    // No salt of theirs is left, nor what was said about them; what opens the others is.
    assert_eq!(openable(&batch), [false, false, true, true]);
    assert!(!holds(&dir.imports(), &[1; 32]) && !holds(&dir.imports(), &[2; 32]) && holds(&dir.imports(), &[3; 32]));
    assert!(!holds(&dir.imports(), Digest::of(&all[0].bytes).as_bytes()));

    // Nothing is due: nothing is recorded. A day later the next one is.
    assert_eq!(job.run(&log, NOW).await.unwrap(), Gone::new());
    assert_eq!(job.run(&log, NOW.plus(86_400_000)).await.unwrap(), due(1));
    assert_eq!((log.counts(), left(dir, settings).len()), (vec![2, 1], 1));
    assert_eq!(openable(&batch), [false, false, true, false]);
    // What came later is looked at as well; a place that was free again is no place that was looked at.
    let late = reads(&[("late", "2026-10-02T10:00:00Z", false)]);
    let another = bring_in(dir, settings, &late);
    assert_eq!(job.due(NOW).unwrap()["PlateRead"], 1);
    assert_eq!(job.run(&log, NOW).await.unwrap(), due(1));
    assert!(another.exists() && !another.with_extension("openings").exists(), "nothing of it is left to open");
    let entries = log.entries.lock().unwrap();
    let said: String = entries.iter().map(|event| String::from_utf8_lossy(&event.detail).into_owned()).collect();
    assert!(said.contains("\"rule\":\"expires_at,read_at+30d!hot_list=true\""), "{said}");
    for record in &all {
        assert!(!said.contains(&identity("PlateRead", &record.bytes).to_string()), "no entry names a record: {said}");
    }
}

/// Refuses the nth step.
struct Breaks(Mutex<usize>);

impl Watch for Breaks {
    fn step(&self, step: Step) -> io::Result<()> {
        let mut left = self.0.lock().unwrap();
        *left -= usize::from(step == Step::Forget);
        if *left == 0 { Err(io::ErrorKind::StorageFull.into()) } else { Ok(()) }
    }
}

#[test]
fn openings_are_destroyed_whole_or_not_at_all_and_damaged_ones_are_named() {
    let root = tempfile::tempdir().unwrap();
    let (dir, settings) = (NodeDir::new(root.path()), RecordSettings::default());
    let all = some();
    let (one, other) = (bring_in(&dir, &settings, &all[..3]), bring_in(&dir, &settings, &all[1..]));
    let erased: BTreeSet<Digest> = [Digest::of(&all[1].bytes), Digest::of(&all[2].bytes)].into();
    let broken = Folder::watched(&dir.imports(), std::sync::Arc::new(Breaks(Mutex::new(2))));
    let turn = broken.enter().unwrap();
    assert_eq!(broken.forget(&turn, "Vehicle", &erased).unwrap(), 0, "another type's");
    assert!(matches!(broken.forget(&turn, "PlateRead", &erased), Err(StageError::File { .. })));
    // One of the two was done; the other stands as it was, beside a draft that nobody takes for it.
    let (mut done, mut stands) = (openable(&one), openable(&other));
    if done == [true; 3] {
        assert_eq!(stands, [false, false, true]);
    } else {
        assert_eq!((done, stands), (vec![true, false, false], vec![true; 3]));
    }
    let folder = Folder::new(&dir.imports());
    assert_eq!(folder.forget(&turn, "PlateRead", &erased).unwrap(), 2);
    (done, stands) = (openable(&one), openable(&other));
    assert_eq!((done, stands), (vec![true, false, false], vec![false, false, true]));
    assert_eq!(folder.forget(&turn, "PlateRead", &erased).unwrap(), 0);
    // Cut short, or with another commitment: it is named, and nothing is put in its place.
    let path = one.with_extension("openings");
    let whole = std::fs::read(&path).unwrap();
    let rest: BTreeSet<Digest> = [Digest::of(&all[0].bytes)].into();
    let mut other_commitment = whole.clone();
    *other_commitment.last_mut().unwrap() = 7;
    for bad in [&whole[..whole.len() - 1], &whole[1..], b"", &other_commitment] {
        std::fs::write(&path, bad).unwrap();
        assert!(matches!(folder.forget(&turn, "PlateRead", &rest), Err(StageError::Openings { .. })));
        assert_eq!(std::fs::read(&path).unwrap(), bad);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_record_is_read_once_and_again_when_it_is_due() {
    let root = tempfile::tempdir().unwrap();
    let (dir, settings) = (NodeDir::new(root.path()), RecordSettings::default());
    let catalogue = crate::load::catalogue(None).unwrap();
    let (job, log) = (Retention { dir: &dir, settings: &settings, catalogue: &catalogue }, FakeLog::default());
    let later: Vec<String> = (0..2_500).map(|n| format!("read-{n}")).collect();
    let rows: Vec<_> = later.iter().map(|id| (id.as_str(), "2026-11-20T10:00:00Z", false)).collect();
    RecordStore::open_with(&dir, &settings).unwrap().insert(&reads(&rows)).unwrap();
    assert_eq!(job.run(&log, NOW).await.unwrap(), Gone::new());
    let kind = catalogue.record_type("PlateRead").unwrap();
    let rule = kind.erased_when().unwrap();
    let mut store = RecordStore::open_with(&dir, &settings).unwrap();
    let upto = store.looked_upto("PlateRead", &rule).unwrap();
    assert_eq!((upto, look(&mut store, kind, upto).unwrap()), (2_500, None), "nothing is left to look at");
    assert!(store.due("PlateRead", NOW, 10).unwrap().is_empty());
    // Another rule: everything is looked at anew.
    assert_eq!(store.looked_upto("PlateRead", "read_at+1d").unwrap(), 0);
    // A note that is wrong erases nothing, and is put right.
    store.note_due("PlateRead", &rule, &[(7, Some(Millis(1)))]).unwrap();
    assert_eq!(store.count_due("PlateRead", NOW).unwrap(), 1);
    assert_eq!(job.run(&log, NOW).await.unwrap(), Gone::new());
    assert_eq!((store.count_due("PlateRead", NOW).unwrap(), left(&dir, &settings).len()), (0, 100));
    assert!(log.counts().is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn invented_records_go_when_the_exercise_is_long_over() {
    let root = tempfile::tempdir().unwrap();
    let (dir, settings) = (NodeDir::new(root.path()), RecordSettings::default());
    let catalogue = crate::load::catalogue(None).unwrap();
    let (job, log) = (Retention { dir: &dir, settings: &settings, catalogue: &catalogue }, FakeLog::default());
    let config = TrainingConfig { kept_days: 10, ..TrainingConfig::default() };
    assert_eq!(job.run_training(&config, &log, NOW).await.unwrap(), Gone::new());
    assert!(std::fs::read_dir(root.path()).unwrap().next().is_none(), "without training nothing is made");
    // A real record that looks the same stays whatever becomes of the invented one.
    bring_in(&dir, &settings, &some()[2..3]);
    let batch = bring_in(&dir.training(), &settings, &some());
    let begun = Folder::new(&dir.training().imports()).newest().unwrap().unwrap();
    let over = Millis(begun + 10 * 86_400_000 + 1);
    assert_eq!(job.training_due(&config, Millis(over.0 - 1)).unwrap(), Gone::new());
    assert_eq!(job.run_training(&config, &log, Millis(over.0 - 1)).await.unwrap(), Gone::new());
    let all = Gone::from([("training/PlateRead".to_owned(), 4)]);
    assert_eq!(job.training_due(&config, over).unwrap(), all);
    // The log takes nothing: they stay. Then they go, wherever the job was cut off.
    let closed = FakeLog { closed: true, ..FakeLog::default() };
    assert!(matches!(job.run_training(&config, &closed, over).await, Err(RetentionError::Log)));
    assert_eq!((left(&dir.training(), &settings).len(), openable(&batch)), (4, vec![true; 4]));
    assert_eq!(job.run_training(&config, &log, over).await.unwrap(), all);
    let entries = log.entries.lock().unwrap();
    assert_eq!((entries.len(), &*entries[0].record_type, entries[0].count), (1, "training/PlateRead", 4));
    assert!(left(&dir.training(), &settings).is_empty());
    let names: Vec<_> = std::fs::read_dir(dir.training().imports()).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(names, ["lock"], "the same file can be brought in again");
    assert_eq!(left(&dir, &settings).len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_due_is_erased_once_wherever_the_job_is_cut_off() {
    let root = tempfile::tempdir().unwrap();
    let dir = NodeDir::new(root.path());
    cut_off(&dir, &RecordSettings::default()).await;
    // Not even the file holds it any more.
    let old = some();
    let file = [
        std::fs::read(dir.records()).unwrap(),
        std::fs::read(dir.records().with_extension("db-wal")).unwrap_or_default(),
    ]
    .concat();
    let holds = |record: &NewRecord| file.windows(record.bytes.len()).any(|part| part == record.bytes);
    assert!(holds(&old[2]) && !holds(&old[0]) && !holds(&old[1]), "erased means erased");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_due_is_erased_once_in_postgres_too() {
    let Some(cluster) = Cluster::start() else { return };
    let root = tempfile::tempdir().unwrap();
    cut_off(&NodeDir::new(root.path()), &cluster.settings(OWNER)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn more_than_one_batch_is_erased_under_one_entry_each_and_keys_go_along() {
    let root = tempfile::tempdir().unwrap();
    let (dir, settings) = (NodeDir::new(root.path()), RecordSettings::default());
    let catalogue = crate::load::catalogue(None).unwrap();
    let one = reads(&[("x", "2026-10-01T10:00:00Z", false)]).remove(0);
    let ids: Vec<String> = (0..BATCH_RECORDS + 1).map(|n| format!("read-{n}")).collect();
    let rows: Vec<_> = ids.iter().map(|id| (id.as_str(), "2026-10-01T10:00:00Z", false)).collect();
    RecordStore::open_with(&dir, &settings).unwrap().insert(&reads(&rows)).unwrap();
    let log = FakeLog::default();
    let gone = Retention { dir: &dir, settings: &settings, catalogue: &catalogue }.run(&log, NOW).await.unwrap();
    assert_eq!(gone, Gone::from([("PlateRead".to_owned(), BATCH_RECORDS as u64 + 1)]));
    assert_eq!(log.counts(), [BATCH_RECORDS as u64, 1]);
    let reader = crate::records::SqliteReader::open(&dir.records()).unwrap();
    let keys: Vec<_> = one.keys.iter().map(|(name, value)| (name.to_string(), value.clone())).collect();
    assert_eq!(reader.lookup("PlateRead", &keys, 10).unwrap(), Vec::<Vec<u8>>::new());
    let keys: i64 = rusqlite::Connection::open(dir.records())
        .unwrap()
        .query_row("SELECT count(*) FROM key", [], |row| row.get(0))
        .unwrap();
    assert_eq!(keys, 0, "no key leads to what is gone");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agencys_own_tables_are_never_touched() {
    let root = tempfile::tempdir().unwrap();
    let dir = NodeDir::new(root.path());
    let text = "store = \"sqlite:agency.db\"\nmapping = \"mapping.toml\"\n";
    let settings: RecordSettings = toml::from_str(text).unwrap();
    let catalogue = crate::load::catalogue(None).unwrap();
    let (job, log) = (Retention { dir: &dir, settings: &settings, catalogue: &catalogue }, FakeLog::default());
    assert_eq!(job.due(NOW).unwrap(), Gone::new());
    assert_eq!(job.run(&log, NOW).await.unwrap(), Gone::new());
    assert!(log.counts().is_empty() && std::fs::read_dir(root.path()).unwrap().next().is_none());
}
