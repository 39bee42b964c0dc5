//! The job over real stores, cut off at every step.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;

use puente_model::LeafIndex;

use super::*;
use crate::records::NewRecord;
use crate::records::tests::cluster::{Cluster, OWNER};

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
    RecordStore::open_with(dir, settings).unwrap().insert(&all).unwrap();
    assert_eq!(job.due(NOW).unwrap(), [("PlateRead".to_owned(), 2)]);
    assert_eq!(left(dir, settings).len(), 4, "a dry run changes nothing");

    // The log takes nothing: nothing is erased, and what was to be is not forgotten.
    let closed = FakeLog { closed: true, ..FakeLog::default() };
    assert!(matches!(job.run(&closed, NOW).await, Err(RetentionError::Log)));
    assert_eq!((left(dir, settings).len(), job.pending().unwrap().len()), (4, 1));
    assert_eq!(Last::read(dir), Last::default());

    // Cut off after the log held it and before the job heard so: it is said again, and stands once.
    let log = FakeLog::default();
    let due = job.pending().unwrap().remove(0);
    let batch: Batch = serde_json::from_slice(&std::fs::read(&due).unwrap()).unwrap();
    log.record(batch.event()).await.unwrap();
    // Cut off after it was noted, with one of two records gone: the other goes.
    std::fs::rename(&due, due.with_extension("recorded")).unwrap();
    let first = [identity("PlateRead", &all[0].bytes)];
    assert_eq!(RecordStore::open_with(dir, settings).unwrap().erase(&first).unwrap(), 1);
    assert_eq!(job.run(&log, NOW).await.unwrap(), [("PlateRead".to_owned(), 1)]);
    assert_eq!(left(dir, settings), kept);
    assert_eq!(log.counts(), [2], "one ERASE for one batch");
    assert!(job.pending().unwrap().is_empty());
    assert_eq!(Last::read(dir), Last { at: NOW.0, erased: 1 });

    // Nothing is due: nothing is recorded. A day later the next one is.
    assert_eq!(job.run(&log, NOW).await.unwrap(), []);
    assert_eq!(job.run(&log, NOW.plus(86_400_000)).await.unwrap(), [("PlateRead".to_owned(), 1)]);
    assert_eq!((log.counts(), left(dir, settings).len()), (vec![2, 1], 1));
    let entries = log.entries.lock().unwrap();
    let said: String = entries.iter().map(|event| String::from_utf8_lossy(&event.detail).into_owned()).collect();
    assert!(said.contains("\"kept_days_max\":30"), "{said}");
    for record in &all {
        assert!(!said.contains(&identity("PlateRead", &record.bytes).to_string()), "no entry names a record: {said}");
    }
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
    assert_eq!(gone, [("PlateRead".to_owned(), BATCH_RECORDS as u64 + 1)]);
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
    assert_eq!(job.due(NOW).unwrap(), []);
    assert_eq!(job.run(&log, NOW).await.unwrap(), []);
    assert!(log.counts().is_empty() && std::fs::read_dir(root.path()).unwrap().next().is_none());
}
