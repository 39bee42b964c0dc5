//! `puente node formats`: the dry run of an upgrade, as an operator runs it, on a node that has lived.

// Helpers of tests are tests too: what is not as expected ends them.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, dead_code)]

#[path = "hardening/federation.rs"]
mod federation;

use std::path::Path;

use federation::{Federation, Node, alone};
use serde_json::Value;

/// Exit code, and what was said as JSON.
fn formats(node: &Node) -> (i32, Value) {
    let ran = node.run(&["node", "formats", "--json"]);
    (ran.status.code().unwrap(), serde_json::from_slice(&ran.stdout).unwrap())
}

fn found<'v>(said: &'v Value, what: &str) -> Vec<(&'v str, Option<u64>)> {
    let files = said["files"].as_array().unwrap().iter().filter(|file| file["what"] == what);
    files.map(|file| (file["format"].as_str().unwrap(), file["version"].as_u64())).collect()
}

/// Every file of a folder with its bytes.
fn all(folder: &Path) -> Vec<(std::path::PathBuf, Vec<u8>)> {
    let mut out = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            out.extend(all(&path));
        } else if path.is_file() {
            out.push((path.clone(), std::fs::read(&path).unwrap()));
        }
    }
    out.sort();
    out
}

#[test]
fn the_dry_run_of_an_upgrade_reads_everything_changes_nothing_and_explains_what_it_refuses() {
    let _alone = alone();
    let mut fed = Federation::found();
    let file = fed.us.dir.join("stolen.csv");
    std::fs::write(&file, "vin,status,entering_agency\n1M8GDM9AXKP042788,stolen,us/tx-dps\n").unwrap();
    let import = ["import", file.to_str().unwrap(), "--type", "Vehicle"];
    // Staged while no node runs: the next start carries it on.
    fed.us.json(&import);
    fed.us.json(&[&import[..], &["--training"]].concat());
    let before = all(&fed.us.dir);
    let (code, said) = formats(&fed.us);
    assert_eq!((code, &said["opens"]), (0, &true.into()), "{said}");
    assert_eq!((found(&said, "import").len(), found(&said, "journal").len()), (2, 0), "{said}");
    assert_eq!(all(&fed.us.dir), before, "it changes nothing");

    // A node that has lived: everything is read, by its numbers.
    assert!(fed.us.try_start(""), "{}", fed.us.words());
    fed.us.stop();
    let (code, said) = formats(&fed.us);
    assert_eq!((code, &said["opens"]), (0, &true.into()), "{said}");
    for what in ["journal", "evidence", "records", "training"] {
        assert!(found(&said, what).iter().all(|(format, version)| *format == "read" && version.is_some()), "{said}");
        assert!(!found(&said, what).is_empty(), "{what}: {said}");
    }
    assert!(found(&said, "import").is_empty(), "both are stored: {said}");
    assert!(said["protocol"]["minor"].as_u64().unwrap() >= 1);

    // What a newer program wrote is refused by name, here and by the node itself; put back, everything is as before.
    let batch = fed.us.dir.join("imports/ffffffffffffffff.staged");
    std::fs::write(&batch, b"puenteI7 of another day").unwrap();
    let (code, said) = formats(&fed.us);
    assert_eq!((code, &said["opens"], found(&said, "import")), (1, &false.into(), vec![("other-version", Some(7))]));
    let shown = fed.us.run(&["node", "formats"]);
    let words = String::from_utf8(shown.stdout).unwrap();
    assert!(words.contains("other-version 7, reads 2") && words.contains("imports/ffffffffffffffff.staged"), "{words}");
    assert!(String::from_utf8(shown.stderr).unwrap().contains("run the program that wrote it"));
    std::fs::remove_file(&batch).unwrap();
    let records = fed.us.dir.join("records.db");
    let kept = std::fs::read(&records).unwrap();
    let mut newer = kept.clone();
    newer[60..64].copy_from_slice(&9_u32.to_be_bytes());
    std::fs::write(&records, &newer).unwrap();
    let (code, said) = formats(&fed.us);
    assert_eq!((code, found(&said, "records")), (1, vec![("other-version", Some(9))]), "{said}");
    assert!(!fed.us.try_start(""), "a node does not open what it does not read");
    assert!(fed.us.words().contains("9"), "{}", fed.us.words());
    fed.us.kill();
    assert_eq!(std::fs::read(&records).unwrap(), newer, "nothing of it was changed");
    std::fs::write(&records, kept).unwrap();
    assert_eq!(formats(&fed.us).0, 0);

    // A database that is away is no verdict.
    let config = fed.us.dir.join("node.toml");
    let text = std::fs::read_to_string(&config).unwrap();
    let away = format!("{text}\n[records]\nstore = \"postgres://nobody@127.0.0.1:1/none?sslmode=disable\"\n");
    std::fs::write(&config, away).unwrap();
    let (code, said) = formats(&fed.us);
    assert_eq!((code, found(&said, "records")), (3, vec![("unreachable", None)]), "{said}");
}
