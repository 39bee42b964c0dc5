//! The demo as a whole: what it says of itself, and that no byte of its logs can change unseen.

// Helpers of tests are tests too: what is not as expected ends them.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::{Mutex, PoisonError};

use rand_chacha::ChaCha20Rng;
use rand_core::{RngCore as _, SeedableRng as _};
use serde_json::Value;

/// Bytes of the copied logs that are changed, one at a time.
const SAMPLES: usize = 40;

/// Scenarios are played one after the other: each is many processes.
static STAGE: Mutex<()> = Mutex::new(());

fn puente(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_puente")).env("LC_ALL", "C").args(args).stdin(Stdio::null()).output().unwrap()
}

fn json(output: &Output) -> Value {
    let text = String::from_utf8_lossy(&output.stdout);
    let words = String::from_utf8_lossy(&output.stderr);
    serde_json::from_str(&text).unwrap_or_else(|e| panic!("stdout is not one JSON value: {e}\n{text}\n{words}"))
}

fn keys(value: &Value) -> Vec<&str> {
    let mut keys: Vec<&str> = value.as_object().unwrap().keys().map(String::as_str).collect();
    keys.sort_unstable();
    keys
}

fn all<'v>(value: &'v Value, list: &str) -> &'v [Value] {
    value[list].as_array().unwrap()
}

fn files_below(dir: &Path, out: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(dir).unwrap() {
        let entry = entry.unwrap();
        if entry.file_type().unwrap().is_dir() {
            files_below(&entry.path(), out);
        } else {
            out.push(entry.path());
        }
    }
    out.sort();
}

/// Processes whose command line names this folder.
fn processes_in(dir: &Path) -> Vec<String> {
    let Ok(all) = std::fs::read_dir("/proc") else { return Vec::new() };
    let lines = all.filter_map(|e| std::fs::read(e.ok()?.path().join("cmdline")).ok());
    let lines = lines.map(|l| String::from_utf8_lossy(&l).replace('\0', " "));
    lines.filter(|l| l.contains(&dir.display().to_string()) && l.contains("node run")).collect()
}

#[test]
fn the_demo_keeps_its_word_and_every_byte_of_its_logs_counts() {
    let _stage = STAGE.lock().unwrap_or_else(PoisonError::into_inner);
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join("d");
    let ran = puente(&["--dir", dir.to_str().unwrap(), "--json", "demo", "--records", "30", "--seed", "7"]);
    let words = String::from_utf8_lossy(&ran.stderr).into_owned();
    let value = json(&ran);
    assert_eq!(value["ok"], true, "{words}");
    assert!(ran.status.success(), "{words}");
    assert!(value["seconds"].as_f64().unwrap() < 60.0, "{value}");
    shape(&value);
    told(&value);
    assert_eq!(processes_in(&dir), Vec::<String>::new(), "a node outlived the demo");
    every_byte_counts(&dir);

    let again = puente(&["--dir", dir.to_str().unwrap(), "--json", "demo"]);
    assert_eq!(again.status.code(), Some(2));
    assert_eq!(json(&again)["error"]["code"], "not-empty");
}

#[test]
fn twenty_two_municipalities_stand_together() {
    let _stage = STAGE.lock().unwrap_or_else(PoisonError::into_inner);
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join("d");
    let scenario = ["demo", "--scenario", "safe-cities", "--records", "20"];
    let ran = puente(&[&["--dir", dir.to_str().unwrap(), "--json"], &scenario[..]].concat());
    let words = String::from_utf8_lossy(&ran.stderr).into_owned();
    let value = json(&ran);
    assert_eq!(value["ok"], true, "{words}");
    assert_eq!(keys(&value), ["audits", "corridor", "exchanges", "nodes", "ok", "seconds"]);
    for nation in ["mx", "us"] {
        assert_eq!(all(&value, "nodes").iter().filter(|node| node["nation"] == nation).count(), 11);
        let audits: Vec<&Value> = all(&value, "audits").iter().filter(|a| a["nation"] == nation).collect();
        assert!(audits.len() >= 2);
        assert!(audits.iter().all(|a| a["verdict"] == "sound" && a["findings"].as_array().unwrap().is_empty()));
    }
    let corridor = &value["corridor"];
    assert_eq!((&corridor["members"], &corridor["question"]["answers"]), (&22.into(), &21.into()));
    let millis =
        |what: &str, of: &str| corridor[what][of].as_u64().unwrap_or_else(|| panic!("{what} {of}: {corridor}"));
    assert!(millis("question", "first_millis") <= millis("question", "half_millis"));
    assert!(millis("question", "half_millis") <= millis("question", "all_millis"));
    assert!(millis("alert", "last_millis") > 0);
    assert_eq!(processes_in(&dir), Vec::<String>::new(), "a node outlived the demo");
    // Whoever has no example of its own has its nation's, with its own name in it.
    for node in ["mx-nogales", "us-laredo"] {
        let node = dir.join("nodes").join(node);
        let tested = puente(&["--dir", node.to_str().unwrap(), "--json", "policy", "test"]);
        assert!(tested.status.success(), "{}", json(&tested));
    }
}

fn shape(value: &Value) {
    assert_eq!(keys(value), ["audits", "exchanges", "nodes", "ok", "seconds", "tamper"]);
    for node in all(value, "nodes") {
        assert_eq!(keys(node), ["entries", "id", "log_dir", "nation", "origin", "vkey"]);
        assert!(node["vkey"].as_str().unwrap().starts_with(node["origin"].as_str().unwrap()));
        assert!(Path::new(node["log_dir"].as_str().unwrap()).join("checkpoint").is_file());
        assert!(node["entries"].as_u64().unwrap() > 5);
    }
    for exchange in all(value, "exchanges") {
        assert_eq!(keys(exchange), ["from", "kind", "outcome", "released_fields", "to"]);
    }
    for audit in all(value, "audits") {
        assert_eq!(keys(audit), ["auditor", "findings", "nation", "verdict"]);
    }
    for tamper in all(value, "tamper") {
        assert_eq!(keys(tamper), ["attributed_to", "caught", "kind"]);
    }
}

fn told(value: &Value) {
    let nations = |nation| all(value, "nodes").iter().filter(|n| n["nation"] == nation).count();
    assert!(nations("mx") >= 2 && nations("us") >= 2);
    let outcomes: Vec<&str> = all(value, "exchanges").iter().map(|e| e["outcome"].as_str().unwrap()).collect();
    for outcome in ["HIT_UNCONFIRMED", "CORE_DATA", "NO_HIT", "refused(statutory-bar)", "not-sent(malformed)"] {
        assert!(outcomes.contains(&outcome), "{outcome} is not among {outcomes:?}");
    }
    let core = all(value, "exchanges").iter().find(|e| e["outcome"] == "CORE_DATA").unwrap();
    let fields: Vec<&str> = core["released_fields"].as_array().unwrap().iter().map(|f| f.as_str().unwrap()).collect();
    assert!(fields.contains(&"vin") && !fields.contains(&"theft_place") && !fields.contains(&"agency_case"));
    for nation in ["mx", "us"] {
        let audits: Vec<&Value> = all(value, "audits").iter().filter(|a| a["nation"] == nation).collect();
        assert!(audits.len() >= 2);
        assert!(audits.iter().all(|a| a["verdict"] == "sound" && a["findings"].as_array().unwrap().is_empty()));
    }
    assert!(all(value, "tamper").len() >= 5);
    for tamper in all(value, "tamper") {
        assert_eq!(tamper["caught"], true, "{tamper}");
        assert!(tamper["attributed_to"].as_str().unwrap().starts_with("puente://"), "{tamper}");
    }
}

/// An audit of the copies for the auditors of Mexico, by a process and an auditor's folder of its own.
fn verdict(dir: &Path, copies: &[PathBuf], state: &Path) -> String {
    let at = |path: &str| dir.join(path).display().to_string();
    let pin = std::fs::read_to_string(at("charter/pin")).unwrap();
    let state = state.display().to_string();
    let charter = at("charter");
    let made =
        puente(&["audit-files", "init", "--state", &state, "--charter", &charter, "--pin", pin.trim(), "--json"]);
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let key = at("auditors/mx-auditor-a/seal.key");
    let mut args = vec!["audit-files", "reconcile", "--state", &state, "--key", &key, "--json"];
    let copies: Vec<String> = copies.iter().map(|c| c.display().to_string()).collect();
    args.extend(copies.iter().map(String::as_str));
    let ran = puente(&args);
    let value = json(&ran);
    let verdict = value["verdict"].as_str().unwrap().to_owned();
    let code = ["sound", "unsound", "could-not-tell"].iter().position(|v| *v == verdict);
    assert_eq!(ran.status.code().map(|c| c as usize), code);
    verdict
}

fn every_byte_counts(dir: &Path) {
    let root = dir.join("copies/mx");
    let copies: Vec<PathBuf> =
        ["mx-fge-bc", "mx-fgr", "us-tx-dps", "us-ca-doj"].iter().map(|name| root.join(name)).collect();
    let states = dir.join("states");
    assert_eq!(verdict(dir, &copies, &states.join("before")), "sound");
    let mut files = Vec::new();
    files_below(&root, &mut files);
    let sizes: Vec<u64> = files.iter().map(|f| f.metadata().unwrap().len()).collect();
    let total: u64 = sizes.iter().sum();
    let mut rng = ChaCha20Rng::seed_from_u64(2026);
    for sample in 0..SAMPLES {
        // One byte of all, each as likely as the next.
        let mut at = rng.next_u64() % total;
        let (file, at) = files
            .iter()
            .zip(&sizes)
            .find_map(|(file, size)| {
                if at < *size {
                    return Some((file, at as usize));
                }
                at -= size;
                None
            })
            .unwrap();
        let original = std::fs::read(file).unwrap();
        let mut changed = original.clone();
        changed[at] ^= 1 << (rng.next_u32() % 8);
        std::fs::write(file, &changed).unwrap();
        let found = verdict(dir, &copies, &states.join(sample.to_string()));
        std::fs::write(file, &original).unwrap();
        assert_ne!(found, "sound", "byte {at} of {} was changed and nobody saw it", file.display());
    }
    assert_eq!(verdict(dir, &copies, &states.join("after")), "sound");
}

#[test]
fn a_story_in_spanish_is_eighty_columns_wide_and_without_colours() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join("d");
    let ran = puente(&["--dir", dir.to_str().unwrap(), "--lang", "es", "demo", "--records", "20"]);
    let story = String::from_utf8_lossy(&ran.stdout).into_owned();
    assert!(ran.status.success(), "{story}");
    assert!(story.contains("Dos naciones fundan una federación") && !story.contains('\u{1b}'));
    for line in story.lines() {
        assert!(line.chars().count() <= 80, "{line}");
    }
}
