//! The suite that every store passes: what is inserted, what is found, in which order, how often.

use super::*;
use crate::import::batch::{Probe, Seen};

fn vehicle(number: u32) -> NewRecord {
    NewRecord {
        record_type: "vehicle".into(),
        bytes: format!("record {number}").into_bytes(),
        keys: vec![key("vin", &format!("VIN{number:014}")), key("plate", &format!("P{}", number % 10))],
    }
}

fn texts(found: Found) -> Vec<String> {
    found.unwrap().into_iter().map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).collect()
}

/// Every promise, on an empty store.
pub(super) fn all(open: &(dyn Fn() -> RecordStore + Sync), reader: &RecordReader) {
    let store = &mut open();
    nothing_is_found_in_an_empty_store(store, reader);
    records_are_found_by_any_key_once(store, reader);
    inserting_twice_changes_nothing(store, reader);
    a_known_record_gets_the_keys_that_it_lacks(store, reader);
    what_is_there_is_seen(store);
    hostile_values_are_values(store, reader);
    many_and_large_records_go_in_at_once(store, reader);
    two_imports_at_once_store_each_record_once(open, reader);
}

fn nothing_is_found_in_an_empty_store(store: &mut RecordStore, reader: &RecordReader) {
    assert!(store.counts().unwrap().is_empty());
    assert!(find(reader, "vehicle", &[key("vin", "VIN1")], 10).unwrap().is_empty());
    assert_eq!(store.insert(&[]).unwrap(), Inserted::default());
}

fn records_are_found_by_any_key_once(store: &mut RecordStore, reader: &RecordReader) {
    let records: Vec<_> = (0..100).map(vehicle).collect();
    assert_eq!(store.insert(&records).unwrap(), Inserted { new: 100, known: 0 });
    let find = |keys: &[(String, String)], limit| texts(find(reader, "vehicle", keys, limit));
    assert_eq!(find(&[key("vin", "VIN00000000000007")], 10), ["record 7"]);
    // In the order of the keys, oldest first per key, each record once, never more than asked for.
    let both = [key("vin", "VIN00000000000017"), key("plate", "P7")];
    assert_eq!(find(&both, 100)[..3], ["record 17", "record 7", "record 27"]);
    assert_eq!(find(&both, 100).len(), 10);
    assert_eq!(find(&both, 3).len(), 3);
    assert!(find(&both, 0).is_empty());
    assert!(find(&[], 10).is_empty());
    assert!(find(&[key("vin", "P7")], 10).is_empty(), "another key's value");
    assert!(find(&[key("colour", "P7")], 10).is_empty());
    assert!(super::find(reader, "firearm", &both, 10).unwrap().is_empty());
    // A reader sees what is inserted later, also new types; the same bytes of another type are another record.
    let firearm = NewRecord { record_type: "firearm".into(), keys: vec![key("serial", "S1")], ..vehicle(7) };
    assert_eq!(store.insert(std::slice::from_ref(&firearm)).unwrap(), Inserted { new: 1, known: 0 });
    assert_eq!(texts(super::find(reader, "firearm", &[key("serial", "S1")], 1)), ["record 7"]);
    assert_eq!(store.counts().unwrap(), [("firearm".to_owned(), 1), ("vehicle".to_owned(), 100)]);
    assert_eq!(format!("{firearm:?}"), "NewRecord(firearm, 8 bytes, 1 keys)");
}

fn inserting_twice_changes_nothing(store: &mut RecordStore, reader: &RecordReader) {
    let records: Vec<_> = (40..110).map(vehicle).collect();
    assert_eq!(store.insert(&records).unwrap(), Inserted { new: 10, known: 60 });
    let twice = [vehicle(200), vehicle(200), vehicle(201)];
    assert_eq!(store.insert(&twice).unwrap(), Inserted { new: 2, known: 1 }, "within one batch");
    assert_eq!(texts(find(reader, "vehicle", &[key("vin", "VIN00000000000200")], 10)), ["record 200"]);
    assert_eq!(store.counts().unwrap()[1], ("vehicle".to_owned(), 112));
}

fn a_known_record_gets_the_keys_that_it_lacks(store: &mut RecordStore, reader: &RecordReader) {
    let mut newer = vehicle(3);
    newer.keys.push(key("plate_ocr", "9H"));
    assert_eq!(store.insert(&[newer]).unwrap(), Inserted { new: 0, known: 1 });
    assert_eq!(texts(find(reader, "vehicle", &[key("plate_ocr", "9H")], 10)), ["record 3"]);
    assert_eq!(texts(find(reader, "vehicle", &[key("vin", "VIN00000000000003")], 10)), ["record 3"]);
}

/// An import asks before it stores: the same record, another with a decisive key, or neither; a key of another type, name
/// or value is none.
fn what_is_there_is_seen(store: &mut RecordStore) {
    let decisive = ["vin".to_owned()];
    let (known, twin, other) =
        (vehicle(5), NewRecord { bytes: b"another statement".to_vec(), ..vehicle(5) }, vehicle(900));
    let renamed = NewRecord { keys: vec![key("plate", "VIN00000000000005")], ..vehicle(901) };
    let (hostile, long) = (vec![key("vin", "' OR 1=1 --")], vec![key("vin", &"V".repeat(4_096))]);
    let odd = [NewRecord { keys: hostile, ..vehicle(902) }, NewRecord { keys: long, ..vehicle(903) }];
    let asked: Vec<&NewRecord> = [&known, &twin, &other, &renamed].into_iter().chain(&odd).collect();
    let probes: Vec<Probe<'_>> = asked.iter().map(|r| Probe::of("vehicle", &r.bytes, &r.keys, &decisive)).collect();
    let expected = [Seen::Known, Seen::SameKey(0), Seen::New, Seen::New, Seen::New, Seen::New];
    assert_eq!(store.seen("vehicle", &probes).unwrap(), expected);
    // The record of one type is not known as another's, whatever its keys.
    let of_another: Vec<Probe<'_>> = asked.iter().map(|r| Probe::of("boat", &r.bytes, &r.keys, &decisive)).collect();
    assert_eq!(store.seen("boat", &of_another).unwrap(), [Seen::New; 6]);
    // As many as one batch asks at once, and none.
    let many: Vec<NewRecord> = (0..5_000).map(|n| vehicle(n % 200)).collect();
    let probes: Vec<Probe<'_>> = many.iter().map(|r| Probe::of("vehicle", &r.bytes, &r.keys, &decisive)).collect();
    let seen = store.seen("vehicle", &probes).unwrap();
    assert_eq!(seen.iter().filter(|s| **s == Seen::Known).count(), 110 * 25);
    assert_eq!(seen[..200], seen[200..400], "the same question, the same answer");
    assert_eq!(store.seen("vehicle", &[]).unwrap(), []);
}

/// Whatever a question or a record holds is a value, never a part of a statement.
fn hostile_values_are_values(store: &mut RecordStore, reader: &RecordReader) {
    let long = "L".repeat(4_096);
    let hostile = ["'; DROP TABLE record; --", "' OR 1=1 --", "\\", "$1", "%", "_", "\u{1f}", "É?\u{0}", "", &long];
    let name = "k'; DELETE FROM record; --";
    let record_type = "type'\"; DROP TABLE name; --";
    for (at, value) in hostile.into_iter().enumerate() {
        assert!(find(reader, record_type, &[key(name, value)], 10).unwrap().is_empty(), "{at}");
        let bytes = format!("hostile {at}").into_bytes();
        let record = NewRecord { record_type: record_type.into(), bytes, keys: vec![key(name, value)] };
        assert_eq!(store.insert(&[record]).unwrap(), Inserted { new: 1, known: 0 });
        assert_eq!(texts(find(reader, record_type, &[key(name, value)], 10)), [format!("hostile {at}")]);
    }
    // The beginning of a long value is another value.
    assert!(find(reader, record_type, &[key(name, &long[1..])], 10).unwrap().is_empty());
    assert_eq!(store.counts().unwrap().len(), 3);
}

fn many_and_large_records_go_in_at_once(store: &mut RecordStore, reader: &RecordReader) {
    let large = |n: u8| NewRecord {
        record_type: "large".into(),
        bytes: vec![n; 300_000],
        keys: (0..200).map(|k| key("k", &format!("{n}-{k}"))).collect(),
    };
    let mut records: Vec<_> = (0..40).map(large).collect();
    records.extend((0..3_000).map(|n| NewRecord { record_type: "small".into(), ..vehicle(n) }));
    assert_eq!(store.insert(&records).unwrap(), Inserted { new: 3_040, known: 0 });
    assert_eq!(find(reader, "large", &[key("k", "39-199")], 1).unwrap(), [vec![39; 300_000]]);
    let keys: Vec<_> = (0..40).map(|n| key("k", &format!("{n}-7"))).collect();
    assert_eq!(find(reader, "large", &keys, 100).unwrap().len(), 40);
    assert_eq!(find(reader, "small", &[key("plate", "P1")], 100).unwrap().len(), 100);
}

fn two_imports_at_once_store_each_record_once(open: &(dyn Fn() -> RecordStore + Sync), reader: &RecordReader) {
    let records: Vec<_> = (0..500).map(|n| NewRecord { record_type: "raced".into(), ..vehicle(n) }).collect();
    let import = |order: &[NewRecord]| {
        let mut store = open();
        let mut sum = Inserted::default();
        for part in order.chunks(50) {
            let done = store.insert(part).unwrap();
            sum = Inserted { new: sum.new + done.new, known: sum.known + done.known };
        }
        sum
    };
    let reversed: Vec<_> = records.iter().rev().cloned().collect();
    let (one, other) = std::thread::scope(|scope| {
        let other = scope.spawn(|| import(&reversed));
        (import(&records), other.join().unwrap())
    });
    assert_eq!((one.new + other.new, one.known + other.known), (500, 500), "{one:?} {other:?}");
    assert_eq!(find(reader, "raced", &[key("vin", "VIN00000000000499")], 10).unwrap().len(), 1);
}
