//! Rules that change under two running nodes: real folders, real sockets, the real engine.

use puente_charter::{AnnexPart, Part, sign};
use puente_model::NodeUri;

use super::tests::{MX, US, enlist, federation, keep_vehicle, key, question, status};
use super::*;
use crate::ca::{self, Algorithm, Subject};
use crate::control_api::Reloaded;

/// The annex after the newest of a folder, signed by `signer`'s nation, in a folder of its own.
pub(super) fn next_annex(
    dir: &NodeDir,
    nation: &str,
    signer: &str,
    tweak: impl FnOnce(&mut AnnexPart),
) -> tempfile::TempDir {
    let parts = crate::load::charter_parts(&dir.charter()).unwrap();
    let newest = parts
        .iter()
        .filter_map(|part| match part.part() {
            Part::Annex(annex) if annex.jurisdiction.as_str() == nation => Some(annex.clone()),
            _ => None,
        })
        .max_by_key(|annex| annex.number)
        .unwrap();
    let mut annex = AnnexPart { number: newest.number + 1, previous: Some(newest.hash()), ..newest };
    tweak(&mut annex);
    let out = tempfile::tempdir().unwrap();
    let name = format!("annex-{nation}-{}.toml", annex.number);
    std::fs::write(out.path().join(&name), annex.to_toml().unwrap()).unwrap();
    let line = format!("{}\n", sign(&annex.hash(), &key(signer), &format!("{signer}-gov")));
    std::fs::write(out.path().join(format!("{name}.sig")), line).unwrap();
    out
}

async fn adopt(node: &Node, from: &tempfile::TempDir) -> Answer {
    node.carry_out(Command::Adopt { from: from.path().to_owned() }).await
}

pub(super) async fn outcome(node: &Node) -> String {
    let Command::Query(mut question) = question("o-1042") else { unreachable!() };
    question.due_in_millis = 2_500;
    match node.carry_out(Command::Query(question)).await {
        Answer::Concluded(concluded) => match *concluded {
            Concluded::Answered { outcome, .. } => outcome,
            Concluded::Faulted { code, .. } => code,
            Concluded::Invalid { errors } => errors[0].message.clone(),
            other => format!("{other:?}"),
        },
        other => format!("{other:?}"),
    }
}

async fn until(what: &str, mut done: impl FnMut() -> bool) -> Duration {
    let began = Instant::now();
    while !done() {
        assert!(began.elapsed() < Duration::from_secs(10), "{what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    began.elapsed()
}

fn vector(node: &Node) -> String {
    status(node)["charter"]["vector"].as_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_annex_is_adopted_without_a_restart_and_found_by_the_peer() {
    let (_root, mx, us) = federation();
    enlist(&mx);
    keep_vehicle(&us);
    let holder = Node::start(us.clone(), |_| {}).await.unwrap();
    let asker = Node::start(mx.clone(), |_| {}).await.unwrap();
    assert_eq!(outcome(&asker).await, "HIT_UNCONFIRMED");

    let renamed = next_annex(&us, "us", "us", |annex| annex.members[0].name_en = "Another name".to_owned());
    let answer = adopt(&holder, &renamed).await;
    assert!(matches!(&answer, Answer::Adopted { vector, changed: true } if vector == "1.mx1.us2"), "{answer:?}");
    until("the asker finds the annex by itself", || vector(&asker) == "1.mx1.us2").await;
    assert!(mx.charter().join("annex-us-2.toml").exists() && us.charter().join("annex-us-2.toml.sig").exists());
    assert_eq!(outcome(&asker).await, "HIT_UNCONFIRMED");
    let again = adopt(&holder, &renamed).await;
    assert!(matches!(again, Answer::Adopted { changed: false, .. }), "{again:?}");

    // What is wrong with a part is named, with a mend, and changes nothing.
    type Tweak = fn(&mut AnnexPart);
    let cases: [(&str, &str, Tweak); 5] = [
        ("unknown-key", "mx", |_| ()),
        ("wrong-previous", "us", |annex| annex.previous = Some(puente_model::Digest::of(b"another"))),
        ("gap", "us", |annex| annex.number += 1),
        ("defective-part", "us", |annex| annex.members[0].uri = MX.parse().unwrap()),
        ("log-removed", "us", |annex| annex.members.clear()),
    ];
    for (code, signer, tweak) in cases {
        let folder = next_annex(&us, "us", signer, tweak);
        match adopt(&holder, &folder).await {
            Answer::NotAdopted { code: found, hint, .. } | Answer::Error { code: found, hint, .. } => {
                assert_eq!(found, code);
                assert!(!hint.is_empty());
            }
            other => panic!("{code}: {other:?}"),
        }
    }
    assert_eq!(vector(&holder), "1.mx1.us2");

    // A restart is under what was adopted; a folder that lost a part is refused by name.
    let size = status(&holder)["log"]["size"].as_u64().unwrap();
    asker.shut_down(true).await.unwrap();
    holder.shut_down(true).await.unwrap();
    drop((asker, holder));
    let again = Node::start(us.clone(), |_| {}).await.unwrap();
    assert_eq!(vector(&again), "1.mx1.us2");
    assert!(status(&again)["log"]["size"].as_u64().unwrap() >= size);
    again.shut_down(true).await.unwrap();
    drop(again);
    std::fs::remove_file(us.charter().join("annex-us-2.toml")).unwrap();
    assert_eq!(Node::start(us.clone(), |_| {}).await.unwrap_err().code(), "charter-goes-back");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_suspended_or_blocked_peers_live_connection_closes_within_five_seconds() {
    let (_root, mx, us) = federation();
    enlist(&mx);
    keep_vehicle(&us);
    let holder = Node::start(us.clone(), |_| {}).await.unwrap();
    let asker = Node::start(mx.clone(), |_| {}).await.unwrap();
    assert_eq!(outcome(&asker).await, "HIT_UNCONFIRMED");

    let peer: NodeUri = MX.parse().unwrap();
    let block = Command::Block { peer: peer.clone(), reason: "stolen laptop".to_owned() };
    assert!(matches!(holder.carry_out(block).await, Answer::Concluded(c) if matches!(*c, Concluded::Recorded { .. })));
    let closed = until("the connection closes", || asker.net.links().is_empty()).await;
    assert!(closed < Duration::from_secs(5), "{closed:?}");
    let shown = status(&holder);
    assert_eq!(shown["peers"][0]["blocked"], "stolen laptop", "{shown}");
    assert_ne!(outcome(&asker).await, "HIT_UNCONFIRMED");
    assert!(holder.net.faults().contains_key("blocked"), "new handshakes are refused: {:?}", holder.net.faults());
    // The block is this node's own, and outlives a restart.
    holder.shut_down(true).await.unwrap();
    drop(holder);
    let holder = Node::start(us.clone(), |_| {}).await.unwrap();
    until("the block is known", || status(&holder)["peers"][0]["blocked"] == "stolen laptop").await;
    holder.carry_out(Command::Unblock { peer }).await;
    // While it was blocked the asker's dials were refused, and its pauses grew.
    let began = Instant::now();
    while outcome(&asker).await != "HIT_UNCONFIRMED" {
        assert!(began.elapsed() < Duration::from_secs(60), "{:?}", asker.net.unreachable());
    }

    let suspended = next_annex(&mx, "mx", "mx", |annex| {
        annex.members[0].suspended = true;
        annex.members[0].suspended_reason = Some("under investigation".to_owned());
    });
    assert!(matches!(adopt(&holder, &suspended).await, Answer::Adopted { changed: true, .. }));
    let closed = until("the connection closes", || asker.net.links().is_empty()).await;
    assert!(closed < Duration::from_secs(5), "{closed:?}");
    assert_ne!(outcome(&asker).await, "HIT_UNCONFIRMED");
    asker.shut_down(true).await.unwrap();
    holder.shut_down(true).await.unwrap();
}

fn find<'r>(items: &'r [Reloaded], what: &str) -> &'r Reloaded {
    items.iter().find(|item| item.what == what).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reload_takes_up_what_holds_and_leaves_the_rest_as_it_was() {
    let (root, mx, us) = federation();
    enlist(&mx);
    keep_vehicle(&us);
    let holder = Node::start(us.clone(), |_| {}).await.unwrap();
    let asker = Node::start(mx.clone(), |_| {}).await.unwrap();
    assert_eq!(outcome(&asker).await, "HIT_UNCONFIRMED");
    let items = holder.reload().await;
    assert!(items.len() == 6 && items.iter().all(|item| item.outcome == "same"), "{items:?}");

    // Nothing of this holds.
    let (old_cert, old_policy) = (std::fs::read(us.tls_cert()).unwrap(), us.policies().join("all.cedar"));
    let text = std::fs::read_to_string(&old_policy).unwrap();
    std::fs::write(us.tls_cert(), std::fs::read(mx.tls_cert()).unwrap()).unwrap();
    std::fs::write(&old_policy, "permit (principal, action, resource);").unwrap();
    std::fs::write(us.charter().join("annex-us-2.toml"), "number = 2").unwrap();
    let items = holder.reload().await;
    for what in ["certificate", "charter", "policies"] {
        let item = find(&items, what);
        assert!(item.outcome == "failed" && !item.mend.is_empty(), "{items:?}");
    }
    assert_eq!(outcome(&asker).await, "HIT_UNCONFIRMED", "the old ones stay");

    // A new certificate and another policy, without a restart; connections stay.
    std::fs::remove_file(us.charter().join("annex-us-2.toml")).unwrap();
    std::fs::write(us.tls_cert(), old_cert).unwrap();
    let fresh = root.path().join("fresh");
    let node: NodeUri = US.parse().unwrap();
    let subject = Subject::Fresh(Algorithm::P256);
    ca::issue(&root.path().join("ca-us"), Some(&node), &subject, 10, &fresh, now()).unwrap();
    for (from, to) in [("tls.cert.pem", us.tls_cert()), ("tls.key.pem", us.tls_key())] {
        std::fs::copy(fresh.join(from), to).unwrap();
    }
    std::fs::write(&old_policy, text.replace("@fields(\"\")", "@fields(\"make\")")).unwrap();
    let size = holder.driver.status().disk.size;
    let items = holder.reload().await;
    assert_eq!(find(&items, "certificate").outcome, "changed", "{items:?}");
    assert_eq!(find(&items, "charter").outcome, "same", "{items:?}");
    assert_eq!(find(&items, "policies").outcome, "changed", "{items:?}");
    assert!(holder.driver.status().disk.size > size, "POLICY_CHANGE is in the log");
    assert_eq!(asker.net.links().len(), 1, "connections stay");
    assert_eq!(outcome(&asker).await, "HIT_UNCONFIRMED");
    // A connection begun afterwards is under the new certificate.
    asker.shut_down(true).await.unwrap();
    drop(asker);
    let asker = Node::start(mx, |_| {}).await.unwrap();
    assert_eq!(outcome(&asker).await, "HIT_UNCONFIRMED");
    asker.shut_down(true).await.unwrap();
    holder.shut_down(true).await.unwrap();
}
