//! The two-person rule on a running node: its folder, its control commands, its restarts.

use puente_audit_log::{Ed25519Signer, KeyKind, Signer as _};
use puente_model::{Digest, EventKind, Secret32};

use super::tests::{enlist, federation, question};
use super::*;
use crate::api::keys::{ApiKey, KeyBook, KeyRecord, Scope};
use crate::approval::{Approvals, Change, Operator, Rule, grants_digest};
use crate::control_api::{Event, Reloaded};
use crate::officers::OfficerBook;

const OTHER: &str = r#"
@id("ask") @expires("2090-01-01")
permit (principal, action == Action::"ask", resource == Kind::"plate.status");
"#;

fn signer(name: &str) -> Ed25519Signer {
    Ed25519Signer::new(name, KeyKind::Ed25519, &Secret32::new(Digest::of(name.as_bytes()).0)).unwrap()
}

fn name_operators(dir: &NodeDir, names: &[&str]) {
    let stanza = |name: &&str| {
        let key = signer(name).verifier().clone();
        Rule::stanza(&Operator { name: (*name).to_owned(), person: format!("Person {name}"), key }).unwrap()
    };
    std::fs::write(dir.operators(), names.iter().map(stanza).collect::<String>()).unwrap();
}

/// Has somebody approve whatever the folder asks for.
fn approve(dir: &NodeDir, name: &str) {
    let bearings = Bearings::load(dir).unwrap();
    let approvals = Approvals::open(dir, &bearings.config.node).unwrap();
    let policies = (recorded_policies(dir).unwrap().unwrap(), bearings.policies(dir).unwrap().hash());
    let grants = grants_digest(&OfficerBook::open(dir).unwrap().changes(now()));
    let keys = grants_digest(&KeyBook::open(dir).unwrap().changes(now()));
    let waiting = [
        (policies.0 != policies.1).then_some((Change::Policies, policies)),
        grants.map(|grants| (Change::Officers, (Digest::default(), grants))),
        keys.map(|keys| (Change::ApiKeys, (Digest::default(), keys))),
        approvals.rule_change().map(|change| (Change::Operators, change)),
    ];
    for (change, digests) in waiting.into_iter().flatten() {
        approvals.sign(change, digests, &signer(name), now()).unwrap();
    }
}

async fn reload(node: &Node) -> Vec<Reloaded> {
    match node.carry_out(Command::Reload).await {
        Answer::Reloaded { items } => items,
        other => panic!("{other:?}"),
    }
}

fn outcome<'i>(items: &'i [Reloaded], what: &str) -> &'i str {
    &items.iter().find(|item| item.what == what).unwrap().outcome
}

/// Whether the node lets the officer ask at all.
async fn may_ask(node: &Node, officer: &str) -> bool {
    let Command::Query(mut question) = question(officer) else { unreachable!() };
    question.due_in_millis = 200;
    !matches!(node.carry_out(Command::Query(question)).await, Answer::Error { code, .. } if code == "officer")
}

/// Starts once the socket of the node before is free: its tasks end a moment after it is dropped.
async fn again(dir: &NodeDir) -> Node {
    let began = Instant::now();
    loop {
        match Node::start(dir.clone(), |_| {}).await {
            Ok(node) => return node,
            Err(RunError::Net(_)) if began.elapsed() < Duration::from_secs(10) => {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            Err(error) => panic!("{error}"),
        }
    }
}

async fn codes(node: &Node) -> Vec<String> {
    let status = node.status().await;
    status["problems"].as_array().unwrap().iter().map(|p| p["code"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_may_ask_and_no_rule_changes_until_two_operators_approve() {
    let (_root, mx, _us) = federation();
    name_operators(&mx, &["ana", "luis", "eva"]);
    enlist(&mx);
    let node = Node::start(mx.clone(), |_| {}).await.unwrap();
    assert!(!may_ask(&node, "o-1042").await);
    assert!(codes(&node).await.contains(&"approvals-wait".to_owned()));
    approve(&mx, "ana");
    assert_eq!(outcome(&reload(&node).await, "officers"), "failed");
    assert!(!may_ask(&node, "o-1042").await);
    approve(&mx, "luis");
    assert_eq!(outcome(&reload(&node).await, "officers"), "changed");
    assert!(may_ask(&node, "o-1042").await);
    assert!(!codes(&node).await.contains(&"approvals-wait".to_owned()));

    // Access ends by one person's word.
    OfficerBook::open(&mx).unwrap().revoke(&"o-1042".parse().unwrap(), now()).unwrap();
    assert!(
        matches!(node.carry_out(Command::Officers).await, Answer::Officers { waiting: 0, recorded } if recorded.len() == 1)
    );
    assert!(!may_ask(&node, "o-1042").await);

    // Nobody gets round the rule by the control socket.
    for kind in [EventKind::Grant, EventKind::PolicyChange, EventKind::BreakGlass] {
        let event: Event = serde_json::from_value(json!({"kind": kind.as_str()})).unwrap();
        let answer = node.carry_out(Command::Event(event)).await;
        assert!(matches!(answer, Answer::Error { ref code, .. } if code == "not-allowed"), "{answer:?}");
    }

    // Other policies wait, while the node runs and when it starts.
    let rules = mx.policies().join("all.cedar");
    let before = std::fs::read_to_string(&rules).unwrap();
    std::fs::write(&rules, OTHER).unwrap();
    let items = reload(&node).await;
    assert_eq!(outcome(&items, "policies"), "failed");
    assert!(items.iter().any(|item| item.message.contains("needs the approval of two operators")));
    node.shut_down(true).await.unwrap();
    drop(node);
    approve(&mx, "eva");
    let refused = Node::start(mx.clone(), |_| {}).await.unwrap_err();
    assert!(matches!(refused, RunError::NotApproved { approved: 1 }), "{refused}");
    std::fs::write(&rules, before).unwrap();
    let node = again(&mx).await;
    std::fs::write(&rules, OTHER).unwrap();
    approve(&mx, "ana");
    assert_eq!(outcome(&reload(&node).await, "policies"), "changed");

    // The rule itself: one person neither ends it nor puts friends in.
    std::fs::remove_file(mx.operators()).unwrap();
    assert_eq!(outcome(&reload(&node).await, "operators"), "failed");
    approve(&mx, "ana");
    assert_eq!(outcome(&reload(&node).await, "operators"), "failed");
    approve(&mx, "eva");
    assert_eq!(outcome(&reload(&node).await, "operators"), "changed");
    assert!(!mx.operators_recorded().exists());
    node.shut_down(true).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_waits_for_two_operators_where_they_are_named() {
    let (_root, mx, _us) = federation();
    name_operators(&mx, &["ana", "luis"]);
    enlist(&mx);
    let node = Node::start(mx.clone(), |_| {}).await.unwrap();
    let key = ApiKey::generate().unwrap();
    let record = KeyRecord {
        id: key.id,
        officer: "o-1042".parse().unwrap(),
        scopes: [Scope::Ask].into(),
        program: "case files".to_owned(),
        hash: key.hash(),
        granted: now(),
        expires: now().plus(60_000),
        revoked: puente_model::Millis(0),
    };
    KeyBook::open(&mx).unwrap().add(record, now()).unwrap();
    let opens = || node.desk().ring.caller(Some(&key.text()), now()).is_ok();
    assert!(matches!(node.carry_out(Command::ApiKeys).await, Answer::Officers { waiting: 1, .. }) && !opens());
    assert!(codes(&node).await.contains(&"approvals-wait".to_owned()));
    approve(&mx, "ana");
    assert_eq!(outcome(&reload(&node).await, "api-keys"), "failed");
    assert!(!opens());
    approve(&mx, "luis");
    assert_eq!(outcome(&reload(&node).await, "api-keys"), "changed");
    assert!(opens());
    // Taking it away needs nobody else.
    KeyBook::open(&mx).unwrap().revoke(key.id, now()).unwrap();
    assert!(
        matches!(node.carry_out(Command::ApiKeys).await, Answer::Officers { waiting: 0, recorded } if recorded.len() == 1)
    );
    assert!(!opens());
    node.shut_down(true).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everybodys_access_ends_by_one_persons_word_and_a_node_that_starts_finishes_it() {
    let (_root, mx, _us) = federation();
    enlist(&mx);
    let node = Node::start(mx.clone(), |_| {}).await.unwrap();
    name_operators(&mx, &["ana", "luis"]);
    assert_eq!(outcome(&reload(&node).await, "operators"), "changed");
    assert!(may_ask(&node, "o-1042").await);
    let key = ApiKey::generate().unwrap();
    let record = KeyRecord {
        id: key.id,
        officer: "o-1042".parse().unwrap(),
        scopes: [Scope::Ask].into(),
        program: "case files".to_owned(),
        hash: key.hash(),
        granted: now(),
        expires: now().plus(60_000),
        revoked: puente_model::Millis(0),
    };
    KeyBook::open(&mx).unwrap().add(record, now()).unwrap();
    for name in ["ana", "luis"] {
        approve(&mx, name);
    }
    assert_eq!(outcome(&reload(&node).await, "api-keys"), "changed");
    // Somebody else waits for two operators when everybody's access ends.
    let officer = OfficerBook::open(&mx).unwrap().wanted().find(&"o-1042".parse().unwrap()).unwrap().clone();
    let mut book = OfficerBook::open(&mx).unwrap();
    book.add(puente_charter::OfficerRecord { id: "o-2".parse().unwrap(), ..officer }).unwrap();
    assert_eq!(outcome(&reload(&node).await, "officers"), "failed");

    // The command broke off when the files were written: no key opens anything, and a node that starts records the rest.
    assert_eq!(OfficerBook::open(&mx).unwrap().revoke_all(now(), "another government").unwrap().len(), 2);
    assert_eq!(KeyBook::open(&mx).unwrap().revoke_all(now()).unwrap(), [key.id]);
    assert!(node.desk().ring.caller(Some(&key.text()), now()).is_err());
    node.shut_down(true).await.unwrap();
    drop(node);
    let node = again(&mx).await;
    assert!(!codes(&node).await.contains(&"approvals-wait".to_owned()));
    assert!(!may_ask(&node, "o-1042").await && !may_ask(&node, "o-2").await);
    for command in [Command::Officers, Command::ApiKeys] {
        let answer = node.carry_out(command).await;
        assert!(matches!(&answer, Answer::Officers { waiting: 0, recorded } if recorded.is_empty()), "{answer:?}");
    }
    node.shut_down(true).await.unwrap();
}
