//! Two real nodes in one corridor: the group makes itself, its commits are ordered before the nodes' own witnesses, and
//! auditors of both nations judge logs and ledgers together.

// Helpers of tests are tests too: what is not as expected ends them.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, dead_code)]

#[path = "hardening/federation.rs"]
mod federation;

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use federation::{Federation, Node, alone, ask, question};
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
    fed.stop();
}
