//! Documents that cannot rot: every test that SECURITY.md names exists.

use std::fs;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn sources(dir: &Path, out: &mut String) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if path.is_dir() && name != "target" {
            sources(&path, out);
        } else if name.ends_with(".rs") {
            out.push_str(&fs::read_to_string(&path).unwrap());
        }
    }
}

#[test]
fn every_threat_names_tests_that_exist() {
    let text = fs::read_to_string(root().join("SECURITY.md")).unwrap();
    let mut code = String::new();
    for room in ["crates", "nodes", "audit", "tests"] {
        sources(&root().join(room), &mut code);
    }
    let mut rows = 0;
    let mut missing = Vec::new();
    let threats = text.split("## Who can learn what").next().unwrap();
    for row in threats.lines().filter(|l| l.starts_with("| ") && !l.contains("mitigation | test")) {
        rows += 1;
        let cell = row.trim_end_matches(" |").rsplit(" | ").next().unwrap();
        let names: Vec<_> = cell.split('`').skip(1).step_by(2).collect();
        assert!(!names.is_empty(), "no test shows: {row}");
        for name in names {
            let found =
                if name.contains('/') { root().join(name).exists() } else { code.contains(&format!("fn {name}(")) };
            if !found {
                missing.push(name.to_owned());
            }
        }
    }
    assert!(rows >= 30, "{rows} rows read: has the table changed its shape?");
    assert!(missing.is_empty(), "SECURITY.md names tests that do not exist: {missing:?}");
}
