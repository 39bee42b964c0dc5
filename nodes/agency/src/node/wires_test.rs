//! Two whole nodes between which UDP is blocked: they exchange over TCP, both logs are sound, a block closes, and UDP is
//! taken again when it returns.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::path::PathBuf;

use puente_audit::{Auditor, Conclusion as Verdict, load_charter};
use puente_model::NodeUri;

use super::tests::{MX, enlist, federation_until, keep_vehicle, question};
use super::*;
use crate::net::tcp_test::Firewall;
use crate::net::test::free_address;

/// Two folders that are ready to run, and a firewall before each.
async fn walled() -> (tempfile::TempDir, NodeDir, NodeDir, Vec<Firewall>) {
    let walls: RefCell<Vec<(SocketAddr, SocketAddr)>> = RefCell::default();
    let before = |node: SocketAddr| {
        let at = free_address();
        walls.borrow_mut().push((at, node));
        Some(at.to_string())
    };
    let (root, mx, us) = federation_until(now().plus(200 * 86_400_000), &before);
    enlist(&mx);
    keep_vehicle(&us);
    let mut standing = Vec::new();
    for (at, node) in walls.into_inner() {
        standing.push(Firewall::at(at, node).await);
    }
    (root, mx, us, standing)
}

fn hasty(options: &mut NetOptions) {
    options.tcp_after = Duration::from_millis(200);
    options.udp_again = Duration::from_millis(400);
}

async fn outcome(node: &Node) -> String {
    let Command::Query(mut question) = question("o-1042") else { unreachable!() };
    question.due_in_millis = 5_000;
    match node.carry_out(Command::Query(question)).await {
        Answer::Concluded(concluded) => match *concluded {
            Concluded::Answered { outcome, .. } => outcome,
            other => format!("{other:?}"),
        },
        other => format!("{other:?}"),
    }
}

/// Closes the periods, copies both logs and reconciles them.
async fn audit(root: &Path, nodes: [(&Node, &NodeDir); 2]) {
    let (mut copies, mut charter) = (Vec::<PathBuf>::new(), None);
    for (node, dir) in nodes {
        node.carry_out(Command::ClosePeriods).await;
        let pin = std::fs::read_to_string(dir.charter_pin()).unwrap().trim().parse().unwrap();
        charter.get_or_insert(load_charter(&dir.charter(), pin).unwrap());
    }
    for (number, (node, _)) in nodes.into_iter().enumerate() {
        let to = root.join(format!("copy-{number}"));
        let answer = node.carry_out(Command::Export { to: to.clone(), own: true }).await;
        assert!(matches!(answer, Answer::Exported { .. }), "{answer:?}");
        copies.push(to);
    }
    let folders: Vec<&Path> = copies.iter().map(PathBuf::as_path).collect();
    let verdict = Auditor::new(charter.unwrap(), now()).without_headers().reconcile(&folders).unwrap();
    assert_eq!(verdict.verdict, Verdict::Sound, "{:?}", verdict.findings);
    assert!(verdict.pairs >= 1);
}

async fn until(what: &str, mut done: impl AsyncFnMut() -> bool) {
    let began = Instant::now();
    while !done().await {
        assert!(began.elapsed() < Duration::from_secs(20), "{what}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_exchange_goes_over_tcp_where_udp_is_blocked_and_both_logs_are_sound() {
    let (root, mx, us, mut walls) = walled().await;
    let holder = Node::start(us.clone(), hasty).await.unwrap();
    let asker = Node::start(mx.clone(), hasty).await.unwrap();
    assert_eq!(outcome(&asker).await, "HIT_UNCONFIRMED");
    for node in [&asker, &holder] {
        let status = node.status().await;
        assert_eq!(status["peers"][0]["over"], "tcp", "{status}");
        assert!(status["problems"].as_array().unwrap().iter().any(|p| p["code"] == "over-tcp"), "{status}");
        assert!(!node.metrics().await.contains("puente_connections_over_tcp 0"));
    }
    audit(root.path(), [(&asker, &mx), (&holder, &us)]).await;

    for wall in &mut walls {
        wall.open_udp().await;
    }
    let over = async |node: &Node| node.status().await["peers"][0]["over"].clone();
    until("both are back on UDP", async || over(&asker).await == "udp" && over(&holder).await == "udp").await;
    until("no TCP is left", async || asker.metrics().await.contains("puente_connections_over_tcp 0")).await;
    assert_eq!(outcome(&asker).await, "HIT_UNCONFIRMED");
    audit(&root.path().join("again"), [(&asker, &mx), (&holder, &us)]).await;
    asker.shut_down(true).await.unwrap();
    holder.shut_down(true).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_blocked_peers_live_connection_over_tcp_closes_within_five_seconds() {
    let (_root, mx, us, _walls) = walled().await;
    let holder = Node::start(us, hasty).await.unwrap();
    let asker = Node::start(mx, hasty).await.unwrap();
    assert_eq!(outcome(&asker).await, "HIT_UNCONFIRMED");
    assert!(holder.net.links().iter().all(|link| link.over == crate::net::Over::Tcp));
    let peer: NodeUri = MX.parse().unwrap();
    let block = Command::Block { peer, reason: "stolen laptop".to_owned() };
    assert!(matches!(holder.carry_out(block).await, Answer::Concluded(c) if matches!(*c, Concluded::Recorded { .. })));
    let began = Instant::now();
    until("the connections close", async || asker.net.links().is_empty() && holder.net.links().is_empty()).await;
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    assert_ne!(outcome(&asker).await, "HIT_UNCONFIRMED");
    until("dials over TCP are refused by name", async || holder.net.faults().contains_key("blocked")).await;
    asker.shut_down(true).await.unwrap();
    holder.shut_down(true).await.unwrap();
}
