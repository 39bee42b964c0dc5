//! A node of the previous minor version of the protocol and one of this, over real sockets: they exchange, in both
//! directions, and the auditors' program finds both logs sound.

// Helpers of tests are tests too: what is not as expected ends them.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, dead_code)]

#[path = "hardening/federation.rs"]
mod federation;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use federation::{Federation, alone, ask, question, word};
use puente_agency::config::NodeDir;
use puente_agency::control;
use puente_agency::control_api::{Answer, Concluded};
use puente_exchange::MINOR;
use puente_wire::{Entry, PairKind};

const VIN: &str = "1M8GDM9AXKP042788";

/// How many entries of a kind stand in a copied log.
fn count(copy: &std::path::Path, kind: PairKind) -> usize {
    let is = |entry: &Vec<u8>| matches!(Entry::decode(entry), Ok(Entry::Pair(pair)) if pair.kind() == kind);
    federation::entries(copy).iter().filter(|entry| is(entry)).count()
}

#[test]
fn a_real_node_of_the_previous_minor_version_exchanges_and_audits_with_one_of_this() {
    const { assert!(MINOR > 0, "there is a version before") };
    let _alone = alone();
    let mut fed = Federation::found();
    for node in [&fed.mx, &fed.us] {
        let file = node.dir.join("stolen.csv");
        std::fs::write(&file, format!("vin,status,entering_agency,make,colour\n{VIN},stolen,us/tx-dps,FORD,RED\n"))
            .unwrap();
        node.json(&["import", file.to_str().unwrap(), "--type", "Vehicle"]);
    }
    // The older one runs in this process, where its minor can be set: nothing in its folder can.
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let dir = NodeDir::new(fed.us.dir.clone());
    let older = runtime.block_on(async {
        let listener = control::bind(&dir.control()).unwrap();
        let older = puente_agency::node::Node::start(dir.clone(), |net| net.minor = MINOR - 1).await.unwrap();
        let older = Arc::new(older);
        tokio::spawn(control::serve(listener, Arc::clone(&older)));
        older
    });
    assert!(fed.mx.try_start(""), "{}", fed.mx.words());

    let mut acknowledged = BTreeSet::new();
    for (asker, holder, officer) in [(&fed.mx, &fed.us, "o-1042"), (&fed.us, &fed.mx, "o-77")] {
        let mut asked = question(&holder.uri, VIN, 10_000);
        asked.officer = officer.parse().unwrap();
        let hit = ask(asker, asked.clone());
        let Answer::Concluded(concluded) = &hit else { panic!("{hit:?}") };
        let Concluded::Answered { exchange, answer_leaf, .. } = &**concluded else { panic!("{hit:?}") };
        acknowledged.insert(exchange.clone());
        assert_eq!(word(&hit), "answered HIT_UNCONFIRMED");
        // After a person confirmed it: core data, under a key that is released last.
        asked.step = puente_model::Step::CoreData;
        asked.facts_statement = "seen at the crossing with these plates".to_owned();
        asked.offence = "vehicle theft".to_owned();
        asked.confirms = Some(answer_leaf.parse().unwrap());
        let core = ask(asker, asked);
        assert_eq!(word(&core), "answered CORE_DATA", "{core:?}");
        let Answer::Concluded(concluded) = &core else { panic!() };
        let Concluded::Answered { exchange, fields, .. } = &**concluded else { panic!() };
        acknowledged.insert(exchange.clone());
        assert!(fields.iter().any(|field| field.value == "FORD"), "{fields:?}");
    }
    fed.audit(&acknowledged);
    for copy in ["copies-mx-mx", "copies-mx-us"] {
        assert_eq!(count(&fed.root.path().join(copy), PairKind::Release), 2, "{copy}");
    }
    runtime.block_on(async { older.shut_down(true).await.unwrap() });
    runtime.shutdown_timeout(Duration::from_secs(5));
    fed.mx.stop();
}
