//! What every record store does, and what some do more.

pub(crate) mod cluster;
mod conformance;
mod mapped;
mod postgres;

use std::sync::mpsc;
use std::time::Duration;

use puente_catalogue::Catalogue;

use super::{Found, Inserted, Lookup, NewRecord, RecordReader, RecordSettings, RecordStore, RecordsError};
use crate::config::NodeDir;

/// Looks up and waits, whichever way the store answers.
fn find(reader: &RecordReader, record_type: &str, keys: &[(String, String)], limit: usize) -> Found {
    let (done, found) = mpsc::channel();
    let lookup = Lookup { record_type: record_type.to_owned(), keys: keys.to_vec(), limit };
    match reader.lookup(lookup, move |records| done.send(records).unwrap()) {
        Some(records) => records,
        None => found.recv_timeout(Duration::from_secs(60)).expect("an answer, be it a failure"),
    }
}

fn key<N: for<'n> From<&'n str>>(name: &str, value: &str) -> (N, String) {
    (name.into(), value.to_owned())
}

async fn open(dir: &NodeDir, settings: &RecordSettings) -> Result<RecordReader, RecordsError> {
    RecordReader::open(dir, settings, &Catalogue::builtin().unwrap()).await
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

#[test]
fn sqlite_passes_the_conformance_suite() {
    let temp = tempfile::tempdir().unwrap();
    let dir = NodeDir::new(temp.path());
    let settings = RecordSettings::default();
    let reader = runtime().block_on(open(&dir, &settings)).unwrap();
    conformance::all(&|| RecordStore::open_with(&dir, &settings).unwrap(), &reader);
    let status = reader.health().status();
    assert_eq!((status.store, status.down, status.failed), ("sqlite", None, 0));
    assert!(status.answered > 20);
    use std::os::unix::fs::PermissionsExt;
    assert_eq!(std::fs::metadata(dir.records()).unwrap().permissions().mode() & 0o777, 0o600);
}

#[test]
fn invented_records_stand_in_a_file_of_their_own_and_neither_lookup_finds_the_others() {
    let temp = tempfile::tempdir().unwrap();
    let (dir, settings) = (NodeDir::new(temp.path()), RecordSettings::default());
    let record = |n: u32| NewRecord {
        record_type: "vehicle".into(),
        bytes: format!("record {n}").into_bytes(),
        keys: vec![key("vin", &format!("V{n}"))],
    };
    RecordStore::open_with(&dir, &settings).unwrap().insert(&[record(1)]).unwrap();
    let reader = runtime().block_on(open(&dir, &settings)).unwrap();
    let asked =
        |n: u32| Lookup { record_type: "vehicle".to_owned(), keys: vec![key("vin", &format!("V{n}"))], limit: 9 };
    assert!(reader.invented(&asked(2)).unwrap().is_empty(), "nothing was brought in for training yet");
    crate::files::make_private_dir(dir.training().path()).unwrap();
    RecordStore::open_with(&dir.training(), &settings).unwrap().insert(&[record(2)]).unwrap();
    assert_eq!(reader.invented(&asked(2)).unwrap(), [b"record 2".to_vec()], "found as soon as it is there");
    assert!(reader.invented(&asked(1)).unwrap().is_empty(), "a real record");
    assert!(find(&reader, "vehicle", &asked(2).keys, 9).unwrap().is_empty(), "an invented record");
    assert_eq!(find(&reader, "vehicle", &asked(1).keys, 9).unwrap().len(), 1);
}

#[test]
fn sqlite_is_built_to_map_all_of_a_large_store() {
    // What the build allows caps what a connection may ask for; the system's own would be 2 GiB.
    let dir = tempfile::tempdir().unwrap();
    let connection = rusqlite::Connection::open(dir.path().join("records.db")).unwrap();
    let asked: i64 = 1 << 40;
    connection.pragma_update(None, "mmap_size", asked).unwrap();
    let allowed: i64 = connection.pragma_query_value(None, "mmap_size", |row| row.get(0)).unwrap();
    assert_eq!(allowed, asked, "build with .cargo/config.toml: LIBSQLITE3_FLAGS");
}
