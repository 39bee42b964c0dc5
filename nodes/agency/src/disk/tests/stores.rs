//! Evidence and records: what is found, and what a thief finds.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use puente_exchange::api::Store;

use super::power::{Fault, PowerDisk, QuickDisk};
use super::{Author, open};
use crate::disk::files::site;
use crate::disk::{DiskError, NodeDisk};
use crate::records::{Inserted, NewRecord, SqliteStore};

/// A value of this many bytes is not kept beside its key.
const LARGE: usize = 600;
/// The longest value that is, before it is sealed.
const SMALL_TOP: usize = 256 - 4 - 12 - 16;

fn all_bytes(dir: &Path, out: &mut Vec<u8>) {
    for entry in fs::read_dir(dir).unwrap().flatten() {
        if entry.path().is_dir() {
            all_bytes(&entry.path(), out);
        } else {
            out.extend(fs::read(entry.path()).unwrap());
        }
    }
}

fn contains(bytes: &[u8], needle: &[u8]) -> bool {
    bytes.windows(needle.len()).any(|window| window == needle)
}

#[test]
fn evidence_values_are_nowhere_on_disk_in_the_clear() {
    use base64::Engine as _;
    let temp = tempfile::tempdir().unwrap();
    let (node, recovered) = open(Arc::new(QuickDisk), temp.path()).unwrap();
    let mut author = Author::new(recovered.tree);
    let canary = b"CANARY-PLATE-ABC-1234-DE".to_vec();
    for round in 0..20_u8 {
        let value = [&[round][..], &canary, &[round]].concat();
        let (batch, take_in) = author.batch(vec![vec![round]], vec![(vec![b'k', round], Some(value))], vec![]);
        node.write(batch).unwrap();
        take_in(&mut author.log);
    }
    let mut forms = vec![canary.clone(), hex::encode(&canary).into_bytes(), hex::encode_upper(&canary).into_bytes()];
    // In Base64 the canary looks different at each of three alignments; the ends depend on the neighbours.
    for shift in 0..3 {
        let text = base64::engine::general_purpose::STANDARD_NO_PAD.encode([&vec![0; shift][..], &canary].concat());
        forms.push(text.as_bytes()[4..text.len() - 4].to_vec());
    }
    for moment in ["before closing", "closed"] {
        let mut bytes = Vec::new();
        all_bytes(temp.path(), &mut bytes);
        assert!(contains(&bytes, b"PJR1"), "the journal is being looked at");
        for form in &forms {
            assert!(!contains(&bytes, form), "{moment}");
        }
        if moment == "before closing" {
            node.close().unwrap();
        }
    }
    let store = node.store().unwrap();
    assert!(contains(&store.get(&[b'k', 3]).unwrap().unwrap(), &canary));
}

#[test]
fn a_value_moved_to_another_key_is_refused() {
    let temp = tempfile::tempdir().unwrap();
    let (node, recovered) = open(Arc::new(QuickDisk), temp.path()).unwrap();
    let mut author = Author::new(recovered.tree);
    let puts = vec![
        (b"a".to_vec(), Some(b"one".to_vec())),
        (b"b".to_vec(), Some(b"two".to_vec())),
        (b"c".to_vec(), Some(vec![3; LARGE])),
        (b"d".to_vec(), Some(vec![4; LARGE])),
        (b"e".to_vec(), Some(vec![5; LARGE])),
    ];
    let (batch, _) = author.batch(vec![], puts, vec![]);
    node.write(batch).unwrap();
    node.close().unwrap();
    let thief = rusqlite::Connection::open(temp.path().join("evidence.db")).unwrap();
    thief.execute("UPDATE kv SET value = (SELECT value FROM kv WHERE key = x'61') WHERE key = x'62'", []).unwrap();
    thief.execute("UPDATE kv SET value = (SELECT value FROM kv WHERE key = x'63') WHERE key = x'64'", []).unwrap();
    thief.execute("DELETE FROM large WHERE id = (SELECT value FROM kv WHERE key = x'65')", []).unwrap();
    let store = node.store().unwrap();
    assert_eq!(store.get(b"a").unwrap().unwrap(), b"one");
    assert_eq!(store.get(b"c").unwrap().unwrap(), [3; LARGE]);
    for moved in [b"b", b"d", b"e"] {
        assert!(store.get(moved).unwrap_err().contains("does not open"));
        assert!(store.scan(moved, b"", 1).unwrap_err().contains("does not open"));
    }
}

/// The sealed values of the database, small and large.
fn sealed_values(dir: &Path) -> (Vec<Vec<u8>>, Vec<Vec<u8>>) {
    let database = rusqlite::Connection::open(dir.join("evidence.db")).unwrap();
    let all = |sql| {
        let mut statement = database.prepare(sql).unwrap();
        let rows = statement.query_map([], |row| row.get(0)).unwrap();
        rows.collect::<Result<Vec<Vec<u8>>, _>>().unwrap()
    };
    (all("SELECT value FROM kv WHERE typeof(value) = 'blob' ORDER BY key"), all("SELECT value FROM large ORDER BY id"))
}

/// Every way from a small or a large value (or none) to another: the old one is found nowhere, the new one is.
#[test]
fn what_is_replaced_or_deleted_is_overwritten_in_the_database() {
    let temp = tempfile::tempdir().unwrap();
    let sizes = [None, Some(3), Some(SMALL_TOP), Some(SMALL_TOP + 1), Some(LARGE), Some(LARGE + 1), Some(9 * LARGE)];
    let ways: Vec<_> = sizes.iter().flat_map(|from| sizes.iter().map(move |to| (*from, *to))).collect();
    let value = |of: u8, size: Option<usize>| size.map(|size| vec![of; size]);
    let write = |node: &NodeDisk, recovered: crate::disk::Recovered, of: u8, puts: Vec<Option<Vec<u8>>>| {
        let puts = puts.into_iter().enumerate().map(|(at, value)| (vec![b'k', at as u8], value)).collect();
        let (batch, _) = Author::new(recovered.tree).batch(vec![], puts, vec![vec![of]]);
        node.write(batch).unwrap();
        node.close().unwrap();
    };
    let (node, recovered) = open(Arc::new(QuickDisk), temp.path()).unwrap();
    write(&node, recovered, 1, ways.iter().map(|(from, _)| value(1, *from)).collect());
    drop(node);
    let (small, large) = sealed_values(temp.path());
    assert_eq!((small.len(), large.len()), (2 * 7, 4 * 7));
    let (node, recovered) = open(Arc::new(QuickDisk), temp.path()).unwrap();
    write(&node, recovered, 2, ways.iter().map(|(_, to)| value(2, *to)).collect());
    let store = node.store().unwrap();
    let mut living = Vec::new();
    for (at, (from, to)) in ways.iter().enumerate() {
        let key = vec![b'k', at as u8];
        assert_eq!(store.get(&key).unwrap(), value(2, *to), "{from:?} to {to:?}");
        living.extend(value(2, *to).map(|value| (key, value)));
    }
    assert_eq!(store.scan(b"k", b"", 100).unwrap(), living);
    drop((store, node));
    let (new_small, new_large) = sealed_values(temp.path());
    assert_eq!((new_small.len(), new_large.len()), (2 * 7, 4 * 7));
    let bytes = fs::read(temp.path().join("evidence.db")).unwrap();
    let log = fs::metadata(temp.path().join("evidence.db-wal"));
    assert!(log.is_err() || log.unwrap().len() == 0, "everything is in the database");
    // What is longer than a page is not in one piece: the middle of its beginning is looked for.
    let piece = |sealed: &Vec<u8>| sealed[..sealed.len().min(200)].to_vec();
    for new in new_small.iter().chain(&new_large) {
        assert!(contains(&bytes, &piece(new)));
    }
    for old in small.iter().chain(&large) {
        assert!(!contains(&bytes, &piece(old)), "{} bytes", old.len());
    }
}

/// Values while the applier runs beside: always those of the newest durable batch.
#[test]
fn reads_see_every_durable_batch_at_once() {
    let temp = tempfile::tempdir().unwrap();
    let (node, recovered) = open(Arc::new(QuickDisk), temp.path()).unwrap();
    let store = node.store().unwrap();
    let mut author = Author::new(recovered.tree);
    let mut model = std::collections::BTreeMap::new();
    for round in 0_u32..600 {
        let mut puts = Vec::new();
        for part in 0..4_u32 {
            let key = format!("p/{:02}", (round * 7 + part * 13) % 50).into_bytes();
            let more = if (round + part) % 3 == 0 { LARGE } else { 0 };
            let value = (round % 5 != part).then(|| format!("{round}-{part}{}", "x".repeat(more)).into_bytes());
            match &value {
                Some(value) => model.insert(key.clone(), value.clone()),
                None => model.remove(&key),
            };
            puts.push((key, value));
        }
        let entries = vec![format!("entry {round}").into_bytes(); 3];
        let (batch, take_in) = author.batch(entries, puts, vec![]);
        node.write(batch).unwrap();
        take_in(&mut author.log);
        let key = format!("p/{:02}", round % 50).into_bytes();
        assert_eq!(store.get(&key).unwrap(), model.get(&key).cloned(), "round {round}");
        let start = format!("p/{:02}", round % 40).into_bytes();
        let want: Vec<_> =
            model.range(start.clone()..).take(7).map(|(key, value)| (key.clone(), value.clone())).collect();
        assert_eq!(store.scan(b"p/", &start, 7).unwrap(), want, "round {round}");
        if round % 97 == 0 {
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
        // The engine proves old entries from files that may still be in memory.
        if round % 50 == 49 {
            let tiles = node.tiles();
            let index = puente_model::LeafIndex(u64::from(round / 2));
            author.log.receipt(index, &tiles).unwrap();
            let again =
                puente_audit_log::Log::open(author.log.head().unwrap(), &Published(&node, &author.log)).unwrap();
            assert_eq!(again.root(), author.log.root());
        }
    }
    assert!(store.scan(b"q", b"", 10).unwrap().is_empty());
    assert!(store.scan(&[0xff, 0xff], b"", 10).unwrap().is_empty());
    node.close().unwrap();
    assert_eq!(node.status().lag, 0);
}

/// The edge from the engine's log, everything else from the node's files.
struct Published<'a>(&'a NodeDisk, &'a puente_audit_log::Log);

impl puente_audit_log::TileReader for Published<'_> {
    fn tile(&self, id: puente_audit_log::TileId) -> Result<Vec<u8>, puente_audit_log::ReadError> {
        self.edge(id.into()).map_or_else(|| self.0.tiles().tile(id), Ok)
    }

    fn bundle(&self, id: puente_audit_log::BundleId) -> Result<Vec<u8>, puente_audit_log::ReadError> {
        self.edge(id.into()).map_or_else(|| self.0.tiles().bundle(id), Ok)
    }
}

impl Published<'_> {
    fn edge(&self, path: puente_audit_log::LogPath) -> Option<Vec<u8>> {
        self.1.publish()?.into_iter().find(|file| file.path == path).map(|file| file.bytes)
    }
}

fn record(number: u32) -> NewRecord {
    NewRecord {
        record_type: "vehicle".into(),
        bytes: format!("record {number}").into_bytes(),
        keys: vec![("vin".into(), format!("VIN{number:014}")), ("plate".into(), format!("P{}", number % 10))],
    }
}

#[test]
fn a_failed_import_leaves_nothing_and_can_be_repeated() {
    for (site, kept) in [(site::RECORDS_BEGIN, 0), (site::RECORDS_COMMIT, 0)] {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("records.db");
        let disk = Arc::new(PowerDisk::new(temp.path()));
        disk.plan(site, 1, Fault::Eio);
        let mut store = SqliteStore::open_on(disk, &path).unwrap();
        let records: Vec<_> = (0..10).map(record).collect();
        assert!(matches!(store.insert(&records).unwrap_err(), DiskError::Io { .. }));
        assert_eq!(store.counts().unwrap().len(), kept);
        assert_eq!(store.insert(&records).unwrap(), Inserted { new: 10, known: 0 });
    }
}

/// What is newer than the database, before, during and after a transaction: always the newest, in order.
#[test]
fn values_on_their_way_are_seen_in_every_moment_of_a_transaction() {
    let shared = crate::disk::shared::Shared::default();
    let none = || crate::disk::shared::LogPart { entries: vec![], checkpoint: vec![], asides: vec![] };
    let (mut database, mut model) = (std::collections::BTreeMap::new(), std::collections::BTreeMap::new());
    let mut under_way = None;
    for round in 1_u64..2_000 {
        let key = vec![b'k', (round * round % 41) as u8];
        let value = (round % 3 != 0).then(|| round.to_be_bytes().to_vec());
        model.insert(key.clone(), value.clone());
        shared.lock().take_in(round, none(), vec![(key, value)]);
        match (round % 7, under_way.take()) {
            (0, None) => under_way = Some((round, shared.lock().begin_applying())),
            (4, Some((position, (puts, bytes)))) => {
                database.extend(puts.iter().map(|(key, value)| (key.clone(), value.clone())));
                shared.lock().end_applying(position, bytes);
            }
            (_, same) => under_way = same,
        }
        let merged = |key: &Vec<u8>| match shared.newer(key) {
            Some(newer) => newer,
            None => database.get(key).cloned().flatten(),
        };
        for (key, value) in &model {
            assert_eq!(merged(key).map(|value| value.to_vec()), *value, "round {round}");
        }
        let start = vec![b'k', (round % 43) as u8];
        let some = shared.newer_range(&start, Some(b"l"), 5);
        let all = shared.newer_range(&start, Some(b"l"), usize::MAX);
        assert!(some.iter().filter(|(_, value)| value.is_some()).count() <= 5);
        assert_eq!(some[..], all[..some.len()]);
        assert!(all.is_sorted_by(|(a, _), (b, _)| a < b));
        let want: Vec<_> = model.range(start..).map(|(key, _)| (key, shared.newer(key))).collect();
        let want: Vec<_> = want.into_iter().filter_map(|(key, newer)| Some((key.clone(), newer?))).collect();
        assert_eq!(all, want, "round {round}");
    }
    if let Some((position, (_, bytes))) = under_way {
        shared.lock().end_applying(position, bytes);
    }
    assert!(shared.lock().held > 0);
    let (_, bytes) = shared.lock().begin_applying();
    shared.lock().end_applying(2_000, bytes);
    assert_eq!(shared.lock().held, 0);
}
