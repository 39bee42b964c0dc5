//! Who knows whom: `cargo metadata` against the table of allowed edges.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use serde_json::Value;

/// Room, and the rooms that it may use. Leaves do not know each other.
const EDGES: &[(&str, &[&str])] = &[
    ("puente-model", &[]),
    ("puente-charter", &["puente-model"]),
    ("puente-catalogue", &["puente-model", "puente-words"]),
    ("puente-wire", &["puente-model"]),
    ("puente-policy", &["puente-model", "puente-words"]),
    ("puente-words", &["puente-model"]),
    ("puente-audit-log", &["puente-model"]),
    ("puente-evidence", &["puente-model", "puente-wire"]),
    ("puente-group", &["puente-charter", "puente-model"]),
    ("puente-corridor", &["puente-audit-log", "puente-charter", "puente-group", "puente-ledger", "puente-model"]),
    ("puente-ledger", &["puente-audit-log", "puente-charter", "puente-model"]),
    (
        "puente-exchange",
        &[
            "puente-audit-log",
            "puente-catalogue",
            "puente-charter",
            "puente-corridor",
            "puente-evidence",
            "puente-group",
            "puente-ledger",
            "puente-model",
            "puente-policy",
            "puente-wire",
        ],
    ),
    ("puente-witness", &["puente-audit-log", "puente-charter", "puente-ledger", "puente-model", "puente-words"]),
    (
        "puente-audit",
        &[
            "puente-audit-log",
            "puente-catalogue",
            "puente-charter",
            "puente-evidence",
            "puente-ledger",
            "puente-model",
            "puente-wire",
            "puente-words",
        ],
    ),
    (
        "puente-agency",
        &[
            "puente-audit",
            "puente-audit-log",
            "puente-catalogue",
            "puente-charter",
            "puente-corridor",
            "puente-evidence",
            "puente-exchange",
            "puente-group",
            "puente-ledger",
            "puente-model",
            "puente-policy",
            "puente-wire",
            "puente-words",
        ],
    ),
];

/// Group encryption reads the clock and seeds itself in places: one room holds it, and no auditor needs to trust it.
const MLS: &[&str] = &["openmls", "openmls_memory_storage", "openmls_rust_crypto", "openmls_traits"];

/// What touches the world, and so has no place in `crates/` or among what an auditor must trust.
const WORLDLY: &[&str] = &[
    "async-std",
    "hyper",
    "mio",
    "quinn",
    "quinn-proto",
    "quinn-udp",
    "rusqlite",
    "rustls",
    "smol",
    "socket2",
    "tokio",
    "tonic",
    "ureq",
];

fn metadata() -> Value {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
    let output = Command::new(cargo)
        .args(["metadata", "--offline", "--locked", "--format-version", "1"])
        .current_dir(root)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn array(value: &Value) -> &[Value] {
    value.as_array().map(Vec::as_slice).unwrap_or_default()
}

/// Direct dependencies that ship: not those of tests alone.
fn direct(package: &Value) -> BTreeSet<&str> {
    array(&package["dependencies"]).iter().filter(|d| text(&d["kind"]) != "dev").map(|d| text(&d["name"])).collect()
}

#[test]
fn rooms_know_only_whom_they_may() {
    let metadata = metadata();
    let allowed: BTreeMap<&str, BTreeSet<&str>> =
        EDGES.iter().map(|(room, rooms)| (*room, rooms.iter().copied().collect())).collect();
    let mut seen = BTreeSet::new();
    for package in array(&metadata["packages"]) {
        let name = text(&package["name"]);
        if !package["source"].is_null()
            || !name.starts_with("puente-")
            || ["puente-tests", "puente-bench"].contains(&name)
        {
            continue;
        }
        let may = allowed.get(name).unwrap_or_else(|| panic!("{name} is not in the table of rooms"));
        for dependency in direct(package).iter().filter(|d| d.starts_with("puente-")) {
            assert!(may.contains(dependency), "{name} must not know {dependency}");
        }
        seen.insert(name);
    }
    assert_eq!(seen, allowed.keys().copied().collect(), "every room of the table exists");
}

#[test]
fn what_thinks_does_not_touch_the_world() {
    let metadata = metadata();
    for package in array(&metadata["packages"]) {
        if !text(&package["manifest_path"]).contains("/crates/") || !package["source"].is_null() {
            continue;
        }
        for worldly in WORLDLY {
            assert!(!direct(package).contains(worldly), "{} depends on {worldly}", text(&package["name"]));
        }
    }
}

#[test]
fn one_room_holds_group_encryption() {
    let metadata = metadata();
    let ours = array(&metadata["packages"]).iter().filter(|p| p["source"].is_null());
    let users = ours.filter(|p| MLS.iter().any(|name| direct(p).contains(name)));
    assert_eq!(users.map(|p| text(&p["name"])).collect::<Vec<_>>(), ["puente-group"]);
}

/// A proof that a commit was ordered is made of the ledger's own, in one place, and by tests.
#[test]
fn one_place_says_that_a_commit_was_ordered() {
    let root = std::path::Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."));
    let (mut waiting, mut makers) = (vec![root.join("crates"), root.join("nodes"), root.join("audit")], Vec::new());
    while let Some(folder) = waiting.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                waiting.push(path);
            } else if path.extension().is_some_and(|e| e == "rs")
                && std::fs::read_to_string(&path).unwrap().contains("by_ledger(")
            {
                makers.push(path.strip_prefix(root).unwrap().to_owned());
            }
        }
    }
    let makes = |path: &std::path::Path| {
        path.ends_with("crates/corridor/src/proof.rs")
            || path.starts_with("crates/group/src/tests")
            || path.starts_with("crates/corridor/tests")
            || path.ends_with("ordered.rs")
    };
    assert!(makers.iter().any(|path| path.ends_with("crates/group/src/ordered.rs")), "the walk works");
    let others: Vec<_> = makers.iter().filter(|path| !makes(path)).collect();
    assert!(others.is_empty(), "{others:?} make proofs of order");
}

/// An auditor trusts no async runtime, no QUIC and no group encryption; TLS and an HTTP client only to fetch copies.
#[test]
fn an_auditor_trusts_little() {
    let metadata = metadata();
    let names: BTreeMap<&str, &str> =
        array(&metadata["packages"]).iter().map(|p| (text(&p["id"]), text(&p["name"]))).collect();
    let nodes: BTreeMap<&str, &Value> =
        array(&metadata["resolve"]["nodes"]).iter().map(|n| (text(&n["id"]), n)).collect();
    let audit = names.iter().find(|(_, name)| **name == "puente-audit").map(|(id, _)| *id).unwrap();
    let (mut waiting, mut reached) = (vec![audit], BTreeSet::from([audit]));
    while let Some(id) = waiting.pop() {
        for dependency in array(&nodes[id]["deps"]) {
            let ships = array(&dependency["dep_kinds"]).iter().any(|k| text(&k["kind"]) != "dev");
            let id = text(&dependency["pkg"]);
            if ships && reached.insert(id) {
                waiting.push(id);
            }
        }
    }
    let tree: BTreeSet<&str> = reached.iter().map(|id| names[id]).collect();
    assert!(tree.contains("puente-audit-log"), "the walk works");
    let fetches = ["rustls", "ureq"];
    assert!(fetches.iter().all(|name| tree.contains(name)), "what copies are fetched with");
    for forbidden in ["native-tls", "openssl", "webpki-roots"] {
        assert!(!tree.contains(forbidden), "puente-audit depends on {forbidden}");
    }
    let worldly = WORLDLY.iter().filter(|name| !fetches.contains(name));
    for worldly in worldly.chain(MLS).chain(&["async-trait", "futures-executor", "cedar-policy", "puente-exchange"]) {
        assert!(!tree.contains(worldly), "puente-audit depends on {worldly}");
    }
}
