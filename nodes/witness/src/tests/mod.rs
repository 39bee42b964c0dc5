//! Tests of the room as a whole: crashes, disks that fail, many clients at once, memories that were set back.

mod audited;
mod crashes;
mod reloaded;
mod setup;
mod trust;

#[path = "../../tests/common/mod.rs"]
mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use puente_audit_log::witness::LogRule;
use puente_audit_log::{Ed25519Signer, KeyKind, Signer, VerifierKey};
use puente_model::{Millis, Secret32};

use crate::desk::{Answer, Desk, OpenError};
use crate::store::{Probe, Store};
use common::ToyLog;

const ORIGIN: &str = "example.org/log1";
const NOW: Millis = Millis(1_700_000_000_000);
const FROM: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

/// The witness's key, which notes what it ever signed: the judge of every test here.
#[derive(Clone)]
struct Notary {
    key: Arc<Ed25519Signer>,
    signed: Arc<Mutex<Vec<(String, u64, String)>>>,
}

impl Notary {
    fn new() -> Self {
        let key = Ed25519Signer::new("w1", KeyKind::CosignatureV1, &Secret32::new([8; 32])).unwrap();
        Self { key: Arc::new(key), signed: Arc::default() }
    }

    /// Log, size and root of everything that was signed.
    fn signed(&self) -> Vec<(String, u64, String)> {
        self.signed.lock().unwrap().clone()
    }

    /// What must hold whatever happened: of one log, one root a size, and sizes that do not go back.
    fn is_honest(&self) {
        let (mut roots, mut largest) = (BTreeMap::new(), BTreeMap::new());
        for (origin, size, root) in self.signed() {
            let known = roots.entry((origin.clone(), size)).or_insert_with(|| root.clone());
            assert_eq!(*known, root, "two roots of {size} entries of {origin}");
            let before = largest.insert(origin.clone(), size).unwrap_or(0);
            assert!(before <= size, "{origin} went back from {before} to {size}");
        }
    }
}

impl Signer for Notary {
    fn sign(&self, message: &[u8]) -> [u8; 64] {
        let text = String::from_utf8(message.to_vec()).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[0], "cosignature/v1");
        self.signed.lock().unwrap().push((lines[2].to_owned(), lines[3].parse().unwrap(), lines[4].to_owned()));
        self.key.sign(message)
    }

    fn verifier(&self) -> &VerifierKey {
        self.key.verifier()
    }
}

/// A witness's folder without its program.
struct Bench {
    dir: tempfile::TempDir,
    notary: Notary,
    rules: BTreeMap<String, LogRule>,
}

impl Bench {
    /// Serves these logs and believes their first heads.
    fn of(logs: &[&ToyLog]) -> Self {
        let rule = |log: &&ToyLog| {
            let (key, origin) = (log.key(), log.key().name().to_owned());
            let rule = LogRule::new(&origin, vec![key]).unwrap().first_use(true);
            (origin, rule)
        };
        let rules = logs.iter().map(rule).collect();
        Self { dir: tempfile::tempdir().unwrap(), notary: Notary::new(), rules }
    }

    fn state(&self) -> std::path::PathBuf {
        self.dir.path().join("state")
    }

    fn evidence(&self) -> std::path::PathBuf {
        self.dir.path().join("evidence")
    }

    fn try_open(&self, probe: Option<Probe>) -> Result<Desk, OpenError> {
        let store = Store::open(&self.state())?;
        let store = match probe {
            Some(probe) => store.probed(probe),
            None => store,
        };
        Desk::open(Box::new(self.notary.clone()), self.rules.clone(), store, self.evidence(), 1_000_000)
    }

    fn open(&self) -> Desk {
        self.try_open(None).unwrap()
    }

    fn probed(&self, probe: Probe) -> Desk {
        self.try_open(Some(probe)).unwrap()
    }
}

/// Submits; the clock stands.
fn submit(desk: &Desk, body: &[u8]) -> Answer {
    desk.add_checkpoint(NOW, Duration::ZERO, FROM, body)
}

/// Every file of a folder.
fn snapshot(dir: &Path) -> BTreeMap<String, Vec<u8>> {
    let entries = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap());
    entries.map(|e| (e.file_name().to_string_lossy().into_owned(), std::fs::read(e.path()).unwrap())).collect()
}

/// Sets a folder back.
fn set_back(dir: &Path, files: &BTreeMap<String, Vec<u8>>) {
    let kept: BTreeSet<&String> = files.keys().collect();
    for name in snapshot(dir).keys().filter(|name| !kept.contains(name)) {
        std::fs::remove_file(dir.join(name)).unwrap();
    }
    files.iter().for_each(|(name, bytes)| std::fs::write(dir.join(name), bytes).unwrap());
}
