//! A node whose records are in PostgreSQL, and what its partners see when the server is gone.

use super::*;
use crate::records::tests::cluster::{Cluster, OWNER};

async fn ask(asker: &Node) -> Concluded {
    match asker.carry_out(question("o-1042")).await {
        Answer::Concluded(concluded) => *concluded,
        other => panic!("{other:?}"),
    }
}

fn is_hit(concluded: &Concluded) -> bool {
    matches!(concluded, Concluded::Answered { outcome, .. } if outcome == "HIT_UNCONFIRMED")
}

/// Codes of a node's problems.
fn problems(node: &Node) -> Vec<String> {
    let status = status(node);
    let of = |p: &serde_json::Value| p["code"].as_str().unwrap().to_owned();
    status["problems"].as_array().unwrap().iter().map(of).collect()
}

async fn eventually(what: &str, holds: impl Fn() -> bool) {
    let began = Instant::now();
    while !holds() {
        assert!(began.elapsed() < Duration::from_secs(60), "{what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_vanishes_in_mid_query_refuses_by_name_and_recovers_by_itself() {
    let Some(mut cluster) = Cluster::start() else { return };
    let (_root, mx, us) = federation();
    enlist(&mx);
    let mut text = std::fs::read_to_string(us.config()).unwrap();
    text.push_str(&format!("\n[records]\nstore = \"{}\"\n", cluster.url(OWNER, "postgres")));
    std::fs::write(us.config(), text).unwrap();
    keep_vehicle(&us);
    assert!(!us.records().exists(), "nothing is kept in the folder");
    let holder = Node::start(us.clone(), |_| {}).await.unwrap();
    let asker = Node::start(mx, |_| {}).await.unwrap();
    eventually("the store is up", || problems(&holder).is_empty()).await;
    assert!(is_hit(&ask(&asker).await));

    // The question is in the database when it dies.
    let blocker = cluster.client(OWNER).await;
    blocker.batch_execute("BEGIN; LOCK TABLE puente.match_key").await.unwrap();
    let watcher = cluster.client(OWNER).await;
    let asked = async { ask(&asker).await };
    let killed = async {
        let waits =
            "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'puente' AND wait_event_type = 'Lock'";
        while watcher.query_one(waits, &[]).await.unwrap().get::<_, i64>(0) == 0 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        tokio::task::block_in_place(|| cluster.kill());
    };
    let (concluded, ()) = tokio::join!(asked, killed);
    assert!(matches!(&concluded, Concluded::Refused { reason, .. } if reason == "failed"), "{concluded:?}");
    let size = |node: &Node| status(node)["log"]["size"].as_u64().unwrap();
    let (ours, theirs) = (size(&asker), size(&holder));
    eventually("the status says that the store is down", || problems(&holder).contains(&"records-down".to_owned()))
        .await;
    assert!(!status(&holder).to_string().contains(VIN));
    // The refusals are entries in both logs, as any other end.
    assert!(matches!(ask(&asker).await, Concluded::Refused { .. }));
    assert!(size(&asker) >= ours + 2 && size(&holder) >= theirs + 2);

    // The holder can start without its database, and tell the truth.
    holder.shut_down(true).await.unwrap();
    drop(holder);
    let holder = Node::start(us, |_| {}).await.unwrap();
    assert!(problems(&holder).contains(&"records-down".to_owned()));
    cluster.run();
    eventually("the store is back", || !problems(&holder).contains(&"records-down".to_owned())).await;
    assert!(is_hit(&ask(&asker).await), "nothing is lost");
    asker.shut_down(true).await.unwrap();
    holder.shut_down(true).await.unwrap();
}
