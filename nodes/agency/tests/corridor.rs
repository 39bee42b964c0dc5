//! Two real nodes in one corridor: the group makes itself, its commits are ordered before the nodes' own witnesses, and
//! auditors of both nations judge logs and ledgers together.

// Helpers of tests are tests too: what is not as expected ends them.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, dead_code)]

#[path = "hardening/federation.rs"]
mod federation;

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use federation::{Federation, Node, alone, ask, problems, question};
use puente_agency::control_api::{Answer, Concluded};

const VIN: &str = "1M8GDM9AXKP042788";
const OTAY: &str = "frontera/otay";
const PAIR: &str = "frontera/pair/mx/fge-bc/n1/us/tx-dps/n1";

/// The groups that a node says it is in: epoch and members.
fn groups(node: &Node) -> BTreeMap<String, (u64, Vec<String>)> {
    let listed = node.json(&["group", "list"]);
    let group = |value: &serde_json::Value| {
        let members = value["members"].as_array().unwrap().iter().map(|m| m.as_str().unwrap().to_owned()).collect();
        (value["group"].as_str().unwrap().to_owned(), (value["epoch"].as_u64().unwrap_or_default(), members))
    };
    listed["groups"].as_array().unwrap().iter().map(group).collect()
}

/// Waits until both nodes are in both groups with each other, in one epoch each, beyond `epoch` in the corridor.
fn together(fed: &Federation, epoch: u64) -> u64 {
    let until = Instant::now() + Duration::from_secs(120);
    loop {
        let (mx, us) = (groups(&fed.mx), groups(&fed.us));
        let whole =
            |name: &str| mx.get(name).is_some_and(|(_, members)| members.len() == 2) && mx.get(name) == us.get(name);
        if whole(OTAY) && whole(PAIR) && mx[OTAY].0 > epoch {
            return mx[OTAY].0;
        }
        assert!(Instant::now() < until, "{mx:?}\n{us:?}\n{}\n{}", fed.mx.words(), fed.us.words());
        std::thread::sleep(Duration::from_millis(200));
    }
}

fn hit(fed: &Federation) -> String {
    let mut asked = question(&fed.us.uri, VIN, 10_000);
    asked.officer = "o-1042".parse().unwrap();
    let answer = ask(&fed.mx, asked);
    let Answer::Concluded(concluded) = &answer else { panic!("{answer:?}") };
    let Concluded::Answered { exchange, .. } = &**concluded else { panic!("{answer:?}") };
    exchange.clone()
}

/// An alert from one to the other: published, seen, acknowledged, cancelled.
fn alerted(fed: &Federation) {
    let said = ["--en", "armed men in a white pickup", "--es", "hombres armados en pickup blanca"];
    let about = ["--group", "otay", "--severity", "severe", "--area", "Otay Mesa", "--officer", "o-1042"];
    let lawful = ["--purpose", "criminal-investigation", "--basis", "mx-us-mlat-1987"];
    let publish: Vec<&str> = ["alert", "publish"].into_iter().chain(said).chain(about).chain(lawful).collect();
    let id = fed.mx.json(&publish)["alert"].as_str().unwrap().to_owned();
    let watched = fed.us.run(&["--json", "alert", "watch", "--for", "2s"]);
    let lines = String::from_utf8(watched.stdout).unwrap();
    let first: serde_json::Value = serde_json::from_str(lines.lines().next().unwrap()).unwrap();
    assert_eq!((first["event"].as_str(), first["alert"]["id"].as_str()), (Some("alert"), Some(&*id)), "{lines}");
    let listed = fed.us.run(&["--lang", "es", "alert", "list", "--standing"]);
    let listed = String::from_utf8(listed.stdout).unwrap();
    assert!(
        listed.contains("hombres armados en pickup blanca") && listed.contains(&fed.mx.uri.to_string()),
        "{listed}"
    );
    fed.us.json(&["alert", "ack", &id[..8], "--officer", "o-77", "--note", "units sent"]);
    let until = Instant::now() + Duration::from_secs(20);
    let hop = loop {
        let shown = fed.mx.json(&["alert", "show", &id]);
        if !shown["hops"][0]["acknowledged_at"].is_null() {
            break shown["hops"][0].clone();
        }
        assert!(Instant::now() < until, "{shown}");
        std::thread::sleep(Duration::from_millis(100));
    };
    assert!(hop["after_millis"].as_u64().is_some_and(|after| after < 20_000), "{hop}");
    let other = fed.us.run(&["alert", "cancel", &id, "--officer", "o-77", "--reason", "mistaken"]);
    assert!(!other.status.success() && String::from_utf8_lossy(&other.stderr).contains("alert list"), "{other:?}");
    fed.mx.json(&["alert", "cancel", &id, "--officer", "o-1042", "--reason", "they were customs officers"]);
    let until = Instant::now() + Duration::from_secs(20);
    while fed.us.json(&["alert", "show", &id])["reason"] != "they were customs officers" {
        assert!(Instant::now() < until);
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// The whole corridor is asked at once; here that is one other agency.
fn asked_in_group(fed: &Federation) -> String {
    let lawful = ["--purpose", "vehicle-recovery", "--basis", "mx-us-stolen-vehicles-1981", "--officer", "o-1042"];
    let question = ["query", "vehicle.status", "--group", "otay", "--vin", VIN, "--case", "C-1/2026", "--due", "20s"];
    let all: Vec<&str> = question.into_iter().chain(lawful).collect();
    let summed = fed.mx.json(&all);
    let member = &summed["members"][0];
    assert_eq!(
        (member["node"].as_str(), member["answered"].as_bool()),
        (Some(fed.us.uri.as_str()), Some(true)),
        "{summed}"
    );
    assert_eq!(member["answer"]["outcome"], "HIT_UNCONFIRMED", "{summed}");
    let told = fed.mx.run(&["--lang", "es"].into_iter().chain(all).collect::<Vec<_>>());
    let (out, err) = (String::from_utf8_lossy(&told.stdout), String::from_utf8_lossy(&told.stderr));
    assert!(told.status.success() && out.contains("HIT_UNCONFIRMED") && out.contains("coincidencia"), "{out}{err}");
    let unknown = fed.mx.run(
        &["query", "vehicle.status", "--group", "nowhere", "--vin", VIN, "--case", "C"]
            .into_iter()
            .chain(lawful)
            .collect::<Vec<_>>(),
    );
    assert!(!unknown.status.success() && String::from_utf8_lossy(&unknown.stderr).contains("otay"), "{unknown:?}");
    member["exchange"].as_str().unwrap().to_owned()
}

#[test]
fn two_real_nodes_make_their_corridor_and_auditors_judge_its_order() {
    let _alone = alone();
    let mut fed = Federation::found_in_a_corridor();
    let file = fed.us.dir.join("stolen.csv");
    std::fs::write(&file, format!("vin,status,entering_agency,make,colour\n{VIN},stolen,us/tx-dps,FORD,RED\n"))
        .unwrap();
    fed.us.json(&["import", file.to_str().unwrap(), "--type", "Vehicle"]);
    fed.start();
    let mut acknowledged = BTreeSet::from([hit(&fed)]);
    let first = together(&fed, 0);
    // Fresh keys, because an operator wants them.
    fed.mx.json(&["group", "rekey", OTAY]);
    let second = together(&fed, first);
    acknowledged.insert(hit(&fed));
    alerted(&fed);
    acknowledged.insert(asked_in_group(&fed));
    let status = fed.us.status();
    assert!(status["groups"].as_array().unwrap().iter().any(|group| group["group"] == OTAY), "{status}");
    assert!(status["cosignatures"]["cosigned"].as_u64().unwrap() > 0, "{status}");
    // No such group.
    let refused = fed.mx.run(&["group", "rekey", "frontera/nowhere"]);
    assert!(!refused.status.success() && String::from_utf8_lossy(&refused.stderr).contains("frontera/nowhere"));
    // Nothing is forgotten by a restart of both.
    fed.stop();
    fed.start();
    assert_eq!(together(&fed, first), second);
    fed.us.json(&["group", "rekey", OTAY]);
    together(&fed, second);
    fed.audit(&acknowledged);
    for nation in ["mx", "us"] {
        let ledgers = fed.root.path().join(format!("copies-{nation}-mx/ledgers/group"));
        for group in [OTAY, PAIR] {
            assert!(ledgers.join(group).join("ledger1/checkpoint").is_file(), "{group}");
        }
    }
    left_with_ledgers(&fed);
    // Who left has stopped by itself.
    fed.mx.stop();
}

#[test]
fn a_corridor_that_is_named_later_is_entered_by_nodes_at_work() {
    let _alone = alone();
    let mut fed = Federation::found_with_witnesses();
    fed.start();
    assert!(groups(&fed.mx).is_empty() && !problems(&fed.mx.status()).contains("no-groups"));
    let at = |name: &str| fed.root.path().join(name).to_str().unwrap().to_owned();
    let draft = at("draft");
    fed.mx.json(&["charter", "propose", &at("charter/common-1.toml"), "--out", &draft]);
    let common = format!("{draft}/common-2.toml");
    let text = std::fs::read_to_string(&common).unwrap();
    std::fs::write(&common, text + federation::CORRIDOR).unwrap();
    for nation in ["mx", "us"] {
        fed.mx.json(&["charter", "sign", &common, "--key", &at(&format!("governance/{nation}-gov-1.key"))]);
    }
    fed.mx.json(&["charter", "adopt", &draft]);
    // The other node hears of it by itself, or is told the same.
    fed.us.json(&["charter", "adopt", &draft]);
    together(&fed, 0);
    assert!(!problems(&fed.us.status()).contains("no-groups"));
    fed.stop();
}

/// Who leaves hands over the ledgers with the log: auditors judge them with the copy of whoever stays.
fn left_with_ledgers(fed: &Federation) {
    let at = |name: &str| fed.root.path().join(name).to_str().unwrap().to_owned();
    let (handover, stayed) = (at("handover"), at("stayed"));
    let left = ["charter", "leave", "--reason", "the agreement ended", "--out", &handover, "--for-good"];
    let left = fed.us.run(&left);
    assert!(left.status.success(), "{}", String::from_utf8_lossy(&left.stderr));
    fed.mx.json(&["log", "export", &stayed, "--auditor", "own"]);
    for folder in ["everyone", "own-auditors"] {
        for group in [OTAY, PAIR] {
            let head = format!("{handover}/{folder}/log/ledgers/group/{group}/ledger1/checkpoint");
            assert!(std::path::Path::new(&head).is_file(), "{head}");
        }
    }
    let ran = std::process::Command::new(federation::EXE)
        .args(["audit-files", "reconcile", "--json", "--state", &at("state-mx")])
        .args(["--key", &at("auditors/mx-a.seal.key"), &stayed, &format!("{handover}/everyone/log")])
        .output()
        .unwrap();
    let verdict: serde_json::Value = serde_json::from_slice(&ran.stdout).unwrap();
    assert_eq!((&verdict["verdict"], &verdict["findings"]), (&"sound".into(), &serde_json::json!([])), "{verdict}");
}
