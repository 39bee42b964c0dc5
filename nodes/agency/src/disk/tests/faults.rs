//! Every site, every fault: nothing acknowledged is lost, nothing else is invented, the head is provable.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

use puente_audit_log::{ClaimedCheckpoint, MemoryFiles, Signer, hash_replay};
use puente_exchange::api::Store;

use super::power::{Fault, PowerDisk, QuickDisk, copy};
use super::{Author, open, signer};
use crate::disk::files::{Disk, Site, site};
use crate::disk::{ExportAsides, NodeDisk, split_aside};

/// What was acknowledged, and what was merely tried last.
#[derive(Default, Clone)]
struct Told {
    entries: Vec<Vec<u8>>,
    values: BTreeMap<Vec<u8>, Vec<u8>>,
    asides: Vec<Vec<u8>>,
    note: Vec<u8>,
}

impl Told {
    fn with(&self, batch: &puente_exchange::api::Batch) -> Self {
        let mut next = self.clone();
        next.entries.extend(batch.entries.iter().cloned());
        next.asides.extend(batch.asides.iter().cloned());
        for (key, value) in &batch.puts {
            match value {
                Some(value) => next.values.insert(key.clone(), value.clone()),
                None => next.values.remove(key),
            };
        }
        if !batch.checkpoint.is_empty() {
            next.note.clone_from(&batch.checkpoint);
        }
        next
    }
}

const BATCHES: u64 = 40;

/// A run of the node: writes batches, publishes, exports and, if `clean`, closes; stops at the first error.
/// Returns what was acknowledged and what may have become durable besides.
fn live(disk: Arc<dyn Disk>, dir: &Path, told: Told, clean: bool) -> (Told, Told) {
    let mut maybe = told.clone();
    let mut sure = told;
    let Ok((node, recovered)) = open(disk, dir) else { return (sure.clone(), sure) };
    let mut author = Author::new(recovered.tree);
    let base = author.log.size().0;
    for at in 0..if clean { BATCHES } else { 4 } {
        let number = base + at;
        let entries = (0..at % 13).map(|i| format!("entry {number} {i} {}", "x".repeat(100)).into_bytes()).collect();
        let puts = vec![
            (format!("e/{number:06}").into_bytes(), Some(format!("value {number}").into_bytes())),
            (format!("l/{:02}", number % 7).into_bytes(), Some(vec![number as u8; number as usize * 211 % 1_500])),
            (b"counter".to_vec(), Some(number.to_be_bytes().to_vec())),
            (format!("e/{:06}", number.saturating_sub(5)).into_bytes(), None),
        ];
        let asides = vec![format!("aside {number}").into_bytes()];
        let (batch, take_in) = author.batch(entries, puts, asides);
        maybe = sure.with(&batch);
        if node.write(batch).is_err() {
            return (sure, maybe);
        }
        take_in(&mut author.log);
        sure = maybe.clone();
        if at % 16 == 15 && node.publish().is_err() {
            return (sure, maybe);
        }
    }
    let to = dir.parent().unwrap().join("export");
    if node.export(&to, &ExportAsides::All).is_ok() && clean {
        let _ = node.close();
    }
    (sure, maybe)
}

/// Opens what the fault left and compares it with what was acknowledged.
fn inspect(dir: &Path, sure: &Told, maybe: &Told, what: &str) -> NodeDisk {
    let (node, recovered) = open(Arc::new(QuickDisk), dir).unwrap_or_else(|error| panic!("{what}: {error}"));
    let size = recovered.tree.size().0 as usize;
    let told = if size == sure.entries.len() && store_is(&node, sure) { sure } else { maybe };
    assert_eq!(size, told.entries.len(), "{what}: entries");
    assert!(store_is(&node, told), "{what}: values");
    let head = recovered.tree.head().map(|head| head.note_bytes().to_vec()).unwrap_or_default();
    assert_eq!(head, told.note, "{what}: head");
    assert_eq!(node.publish().unwrap() as usize, size, "{what}: published");
    if size > 0 {
        assert_sound(&dir.join("log"), told, what);
    }
    node
}

fn store_is(node: &NodeDisk, told: &Told) -> bool {
    let store = node.store().unwrap();
    let have: BTreeMap<_, _> = store.scan(b"", b"", usize::MAX >> 1).unwrap().into_iter().collect();
    have == told.values
}

/// An auditor's view of the published files.
fn assert_sound(log: &Path, told: &Told, what: &str) {
    let mut files = MemoryFiles::new();
    collect(log, log, &mut files);
    let note = fs::read(log.join("checkpoint")).unwrap();
    let head = ClaimedCheckpoint::parse(&note).unwrap().verify(signer().verifier()).unwrap();
    let mut entries = Vec::new();
    let replayed = puente_audit_log::replay(&head, &files, |_, _, entry| {
        entries.push(entry.to_vec());
        std::ops::ControlFlow::Continue(())
    });
    let replayed = replayed.unwrap_or_else(|error| panic!("{what}: {error}"));
    assert!(replayed.tiles_missing.is_empty(), "{what}: missing {:?}", replayed.tiles_missing);
    assert!(entries == told.entries, "{what}: published {} entries of {}", entries.len(), told.entries.len());
    assert!(hash_replay(&head, &files).is_ok());
    let bytes = fs::read(log.join("asides")).unwrap();
    let (mut rest, mut asides) = (bytes.as_slice(), Vec::new());
    while let Some((aside, after)) = split_aside(rest) {
        asides.push(aside.to_vec());
        rest = after;
    }
    assert!(rest.is_empty(), "{what}: torn asides");
    assert!(asides == told.asides, "{what}: {} asides of {}", asides.len(), told.asides.len());
}

fn collect(root: &Path, dir: &Path, files: &mut MemoryFiles) {
    for entry in fs::read_dir(dir).unwrap().flatten() {
        let path = entry.path();
        if path.is_dir() {
            collect(root, &path, files);
        } else if let Ok(name) = path.strip_prefix(root).unwrap().to_str().unwrap().parse() {
            files.put([puente_audit_log::LogFile { path: name, bytes: fs::read(&path).unwrap() }]);
        }
    }
}

/// A folder with some history, and what it was told.
fn history(dir: &Path) -> Told {
    fs::create_dir_all(dir).unwrap();
    let (sure, _) = live(Arc::new(QuickDisk), dir, Told::default(), true);
    assert!(sure.entries.len() > 200);
    sure
}

#[test]
fn a_node_without_faults_keeps_everything() {
    let temp = tempfile::tempdir().unwrap();
    let dir = temp.path().join("node");
    let told = history(&dir);
    let (told, _) = live(Arc::new(QuickDisk), &dir, told, true);
    drop(inspect(&dir, &told, &told, "no fault"));
    assert_sound(&temp.path().join("export"), &told, "export");
}

/// All sites but those of the records store, which has tests of its own.
fn node_sites() -> impl Iterator<Item = Site> {
    site::ALL.iter().copied().filter(|site| !site.0.starts_with("records"))
}

#[test]
fn every_site_is_named_once_and_there_are_many() {
    let names: BTreeSet<_> = site::ALL.iter().map(|site| site.0).collect();
    assert_eq!(names.len(), site::ALL.len());
    assert!(names.len() >= 40, "{}", names.len());
}

/// One run of a fault, on a new folder or on one with history: true if the site was reached.
fn strike(site: Site, visit: u64, fault: Fault, before: Option<&(PathBuf, Told)>) -> bool {
    let temp = tempfile::tempdir().unwrap();
    let dir = temp.path().join("node");
    fs::create_dir_all(&dir).unwrap();
    let fresh = before.is_none();
    let mut told = Told::default();
    if let Some((folder, known)) = before {
        copy(folder, &dir);
        told = known.clone();
    }
    let disk = Arc::new(PowerDisk::new(&dir));
    disk.plan(site, visit, fault);
    let (sure, maybe) = live(Arc::clone(&disk) as Arc<dyn Disk>, &dir, told, true);
    if !disk.fired() {
        return false;
    }
    for keep in [true, false] {
        let what = format!("{site} visit {visit} {fault:?} fresh {fresh} unsynced kept {keep}");
        let after = temp.path().join(format!("after-{keep}"));
        fs::create_dir_all(&after).unwrap();
        disk.after_power_cut(&after, keep);
        let node = inspect(&after, &sure, &maybe, &what);
        // And it goes on from there.
        drop(node);
        let (node, recovered) = open(Arc::new(QuickDisk), &after).unwrap();
        let mut author = Author::new(recovered.tree);
        let (batch, take_in) = author.batch(vec![b"after".to_vec()], Vec::new(), Vec::new());
        node.write(batch).unwrap();
        take_in(&mut author.log);
        node.close().unwrap();
        assert_eq!(node.status().size, author.log.size().0);
    }
    true
}

fn tear_tail(dir: &Path) {
    let mut segments: Vec<_> = fs::read_dir(dir.join("journal")).unwrap().flatten().map(|e| e.path()).collect();
    segments.retain(|path| path.extension().is_some_and(|e| e == "wal"));
    segments.sort();
    let newest = segments.last().unwrap();
    let mut bytes = fs::read(newest).unwrap();
    let end = bytes.iter().rposition(|b| *b != 0).unwrap() + 1;
    let at = end.next_multiple_of(16);
    if at + 64 < bytes.len() {
        bytes[at..at + 4].copy_from_slice(b"PJR1");
        bytes[at + 4..at + 60].fill(0x5a);
        fs::write(newest, bytes).unwrap();
    }
}

#[test]
fn power_cuts_and_errors_at_every_site_lose_nothing_acknowledged() {
    let temp = tempfile::tempdir().unwrap();
    let folder = temp.path().join("node");
    let told = history(&folder);
    // A run that ends without ceremony, so that there is something to replay, and
    // a record that was being written when the node went down, for the sites that wipe it.
    let (told, _) = live(Arc::new(QuickDisk), &folder, told, false);
    tear_tail(&folder);
    let before = (folder, told);
    let mut strikes = Vec::new();
    for site in node_sites() {
        strikes.push((site, Fault::CutAfter, 3, Some(&before)));
        for fault in Fault::ALL {
            strikes.extend([(site, fault, 1, None), (site, fault, 1, Some(&before))]);
        }
    }
    let struck = Mutex::new(BTreeSet::new());
    let next = AtomicUsize::new(0);
    // Most of a strike is waiting.
    thread::scope(|scope| {
        for _ in 0..12 {
            scope.spawn(|| {
                while let Some((site, fault, visit, before)) = strikes.get(next.fetch_add(1, Ordering::Relaxed)) {
                    if strike(*site, *visit, *fault, *before) {
                        struck.lock().unwrap().insert(*site);
                    }
                }
            });
        }
    });
    let struck = struck.into_inner().unwrap();
    let missed: Vec<_> = node_sites().filter(|site| !struck.contains(site)).collect();
    assert!(missed.is_empty(), "never reached: {missed:?}");
}

#[test]
fn a_disk_that_fills_up_loses_nothing_acknowledged() {
    let temp = tempfile::tempdir().unwrap();
    let whole = temp.path().join("whole");
    fs::create_dir_all(&whole).unwrap();
    let disk = Arc::new(PowerDisk::new(&whole));
    disk.set_budget(u64::MAX >> 1);
    let _ = live(disk, &whole, Told::default(), true);
    let mut failures = 0;
    for step in 0..64_u64 {
        let dir = temp.path().join(format!("full-{step}"));
        fs::create_dir_all(&dir).unwrap();
        let disk = Arc::new(PowerDisk::new(&dir));
        disk.set_budget(step * 4_096);
        let (sure, maybe) = live(Arc::clone(&disk) as Arc<dyn Disk>, &dir, Told::default(), true);
        failures += u64::from(sure.entries.len() < 200);
        let after = temp.path().join(format!("freed-{step}"));
        fs::create_dir_all(&after).unwrap();
        disk.after_power_cut(&after, true);
        drop(inspect(&after, &sure, &maybe, &format!("{step} × 4 KiB")));
    }
    assert!(failures > 5, "{failures}");
}
