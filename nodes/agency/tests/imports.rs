//! `puente import` as a process that is killed at every step, beside a node that is killed and starts again.

// Helpers of tests are tests too: what is not as expected ends them.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[allow(dead_code, reason = "made for another suite")]
#[path = "hardening/federation.rs"]
mod federation;

use std::io::Write as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use puente_agency::config::NodeDir;
use puente_agency::records::RecordStore;
use serde_json::Value;

use federation::{Federation, Node, alone};

const HEADER: &str = "vin,plate,plate_jurisdiction,status,entering_agency,remarks\n";
const ROWS: u64 = 12_000;
/// Rows that are wrong on purpose, and rows that stand twice.
const WRONG: u64 = 12;

/// Vehicles whose VINs begin with `maker`, so that two files have none in common.
fn write_rows(path: &Path, maker: &str) {
    let mut to = std::io::BufWriter::new(std::fs::File::create(path).unwrap());
    to.write_all(HEADER.as_bytes()).unwrap();
    for n in 0..ROWS {
        let row = format!("{maker}ZZZ1KZF{n:07},,,stolen,mx/fge-bc,{n}");
        writeln!(to, "{row}").unwrap();
        if n % 1_000 == 0 {
            writeln!(to, "1M8GDM9A0KP042788,,,stolen,mx/fge-bc,\n{row}").unwrap();
        }
    }
    to.flush().unwrap();
}

/// COLLECT entries of the node's log: the only local ones of their stage.
fn collected(node: &Node) -> usize {
    let log = node.json(&["log", "show", "--limit", "10000"]);
    let entries = log["entries"].as_array().unwrap();
    let of = |e: &&Value| e["type"] == "veiled" && e["stage"] == puente_model::EventKind::Collect.stage().as_str();
    entries.iter().filter(of).count()
}

fn stored(node: &Node) -> u64 {
    let mut store = RecordStore::open(&NodeDir::new(node.dir.clone())).unwrap();
    store.counts().unwrap().iter().map(|(_, n)| n).sum()
}

fn begin(node: &Node, file: &Path) -> Child {
    let mut command = Command::new(env!("CARGO_BIN_EXE_puente"));
    command.arg("--dir").arg(&node.dir).args(["import", file.to_str().unwrap(), "--type", "Vehicle", "--json"]);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
}

fn has(node: &Node, ending: &str) -> usize {
    let Ok(entries) = std::fs::read_dir(node.dir.join("imports")) else { return 0 };
    entries.flatten().filter(|e| e.path().extension().is_some_and(|x| x == ending)).count()
}

/// Begins an import and kills it (`kill -9`) as soon as one more file of this kind is there.
fn kill_at(node: &Node, file: &Path, ending: &str) {
    let before = has(node, ending);
    let mut child = begin(node, file);
    while has(node, ending) <= before && child.try_wait().unwrap().is_none() {
        std::thread::yield_now();
    }
    let _ = child.kill();
    child.wait().unwrap();
}

fn import(node: &Node, file: &Path) -> Value {
    let ran = node.run(&["import", file.to_str().unwrap(), "--type", "Vehicle", "--json"]);
    let value: Value = serde_json::from_slice(&ran.stdout).unwrap();
    assert_eq!(ran.status.code(), Some(1), "{value}");
    value
}

#[test]
fn an_import_killed_at_every_step_ends_with_every_row_once() {
    let _alone = alone();
    let mut fed = Federation::found();
    let file = fed.root.path().join("v.csv");
    write_rows(&file, "WVW");
    assert!(fed.mx.try_start(""), "{}", fed.mx.words());
    let node = &fed.mx;
    for ending in ["part", "problems-part", "problems", "staged", "collected", "openings-part", "openings", "batch"] {
        kill_at(node, &file, ending);
        assert!(collected(node) <= 1, "after {ending}");
    }
    let done = import(node, &file);
    let duplicates =
        done["duplicates"]["in_batch"].as_u64().unwrap() + done["duplicates"]["in_already"].as_u64().unwrap();
    assert_eq!((done["accepted"].as_u64(), done["rejected"].as_u64(), duplicates), (Some(ROWS), Some(WRONG), WRONG));
    assert_eq!((stored(node), collected(node)), (ROWS, 1), "{done}");
    let again = import(node, &file);
    assert_eq!((&again["collect"]["state"], &again["before"]["accepted"]), (&"in-already".into(), &ROWS.into()));
    assert_eq!((stored(node), collected(node)), (ROWS, 1), "{again}");
    fed.mx.stop();
}

#[test]
fn a_batch_that_loses_both_its_import_and_its_node_is_taken_up_at_the_next_start() {
    let _alone = alone();
    let mut fed = Federation::found();
    let file = fed.root.path().join("v.csv");
    write_rows(&file, "WVW");
    assert!(fed.mx.try_start(""), "{}", fed.mx.words());
    for (n, ending) in ["staged", "collected"].into_iter().enumerate() {
        let maker = ["WVW", "TMB"][n];
        write_rows(&file, maker);
        let before = has(&fed.mx, ending);
        let mut child = begin(&fed.mx, &file);
        while has(&fed.mx, ending) <= before && child.try_wait().unwrap().is_none() {
            std::thread::yield_now();
        }
        fed.mx.kill();
        let _ = child.kill();
        child.wait().unwrap();
        assert!(fed.mx.try_start(""), "{}", fed.mx.words());
        let done = import(&fed.mx, &file);
        assert_eq!(done["accepted"].as_u64(), Some(ROWS), "{done}");
        let both = n as u64 + 1;
        assert_eq!((stored(&fed.mx), collected(&fed.mx) as u64), (both * ROWS, both), "{ending}: {done}");
    }
    fed.mx.stop();
}
