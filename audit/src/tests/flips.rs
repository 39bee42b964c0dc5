//! No single flipped byte, in any file of a copied log, leaves the verdict sound.

use std::fs;
use std::path::{Path, PathBuf};

use super::world::*;
use crate::{Auditor, Conclusion};

fn files(dir: &Path, out: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { files(&path, out) } else { out.push(path) }
    }
}

#[test]
fn every_byte_counts() {
    let mut world = World::new();
    world.event(MX);
    world.exchange(MX, US, Course::Released);
    world.period(MX, US, &[]);
    let dir = tempfile::tempdir().unwrap();
    let copies = world.copies(dir.path(), &[MX]);
    let verify = || Auditor::new(charter(), now()).with_keys(all_keys()).verify(&copies[0]).unwrap();
    assert_eq!(verify().verdict, Conclusion::Sound);
    let mut paths = Vec::new();
    files(&copies[0], &mut paths);
    paths.sort();
    let mut flips = 0;
    for path in paths {
        let bytes = fs::read(&path).unwrap();
        // The sidecar and the head are swept whole; of the many partial files a stride is enough.
        let whole = path.file_name().is_some_and(|n| n == "checkpoint");
        let step = if whole { 1 } else { 7 };
        for at in (0..bytes.len()).step_by(step) {
            let mut flipped = bytes.clone();
            flipped[at] ^= 1 << (at % 8);
            fs::write(&path, &flipped).unwrap();
            let verdict = verify();
            assert_ne!(verdict.verdict, Conclusion::Sound, "{} byte {at}", path.display());
            let guilty = verdict.faults().all(|f| ["unknown", MX].contains(&f.attributed_to.as_str()));
            assert!(guilty, "{} byte {at}: {:#?}", path.display(), verdict.findings);
            flips += 1;
        }
        fs::write(&path, &bytes).unwrap();
    }
    assert_eq!(verify().verdict, Conclusion::Sound);
    assert!(flips > 1_000, "{flips}");
}
