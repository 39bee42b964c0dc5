//! The auditors' own program over what the simulated nodes have on disk.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use puente_audit::{Auditor, Verdict};
use puente_audit_log::{LogPath, MemoryFiles};
use puente_charter::Charter;
use puente_evidence::HpkeKeyPair;

use super::Sim;
use super::world;

/// Every nation's auditors together: they open every header.
fn keys() -> Vec<HpkeKeyPair> {
    let names = ["mx-auditor-a", "mx-auditor-b", "us-auditor-a", "us-auditor-b"];
    names.iter().flat_map(|name| world::QUARTERS.map(|quarter| world::auditor_key(name, quarter))).collect()
}

fn write(to: &Path, files: &MemoryFiles, asides: &[Vec<u8>]) {
    for path in files.paths() {
        let file = to.join(path.to_string());
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, files.get(path).unwrap()).unwrap();
    }
    let framed: Vec<u8> =
        asides.iter().flat_map(|aside| [&(aside.len() as u32).to_be_bytes(), aside.as_slice()].concat()).collect();
    fs::write(to.join("asides"), framed).unwrap();
}

/// Copies of every log, closed ones too.
fn copies(sim: &Sim, to: &Path) -> Vec<PathBuf> {
    let mut out = Vec::new();
    for (node, it) in sim.nodes.iter().enumerate() {
        let mut disk = it.disk.lock().unwrap();
        if let Some((files, asides)) = &disk.put_away {
            out.push(to.join(format!("{node}-before")));
            write(out.last().unwrap(), files, &disk.asides[..*asides]);
        }
        let (files, asides) = disk.published();
        // A log without an entry has no head: there is nothing to copy.
        if files.get(LogPath::Checkpoint).is_some() {
            out.push(to.join(node.to_string()));
            write(out.last().unwrap(), files, asides);
        }
    }
    out
}

/// What both nations' auditors say of all logs, under this charter.
pub fn reconcile(sim: &Sim, charter: &Arc<Charter>) -> Verdict {
    let dir = tempfile::tempdir().unwrap();
    let copies = copies(sim, dir.path());
    let folders: Vec<&Path> = copies.iter().map(PathBuf::as_path).collect();
    let now = (0..sim.nodes.len()).map(|node| sim.clock(node)).max().unwrap();
    Auditor::new(Charter::clone(charter), now).with_keys(keys()).reconcile(&folders).unwrap()
}
