//! A running node tells of officers' grants before they end, and names nobody.

use puente_charter::OfficerRecord;
use puente_model::Role;

use super::tests::{DAY, federation};
use super::*;
use crate::officers::OfficerBook;

fn grant(id: &str, days: u64, left: u64) -> OfficerRecord {
    let expires = now().plus(left * DAY - DAY / 2);
    OfficerRecord {
        id: id.parse().unwrap(),
        name: "Ana Ruiz".to_owned(),
        role: Role::Investigator,
        granted: Millis(expires.0 - days * DAY),
        expires,
        revoked: None,
        revoked_for: String::new(),
        emergency: String::new(),
        review: String::new(),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn officers_grants_are_told_of_before_they_end_by_their_number_alone() {
    let (_root, mx, _us) = federation();
    let mut book = OfficerBook::open(&mx).unwrap();
    // Two on one day, one much later, and one that is granted for a few days only.
    for record in [grant("o-771", 365, 7), grant("o-772", 365, 7), grant("o-773", 365, 200), grant("o-774", 8, 7)] {
        book.add(record).unwrap();
    }
    let node = Node::start(mx.clone(), |_| {}).await.unwrap();
    let status = node.status().await;
    let ours = |list: &str, prefix: &str| -> Vec<serde_json::Value> {
        let list = status[list].as_array().unwrap().iter();
        list.filter(|one| one["code"].as_str().unwrap().starts_with(prefix)).cloned().collect()
    };
    let told = ours("notices", "officer-grants");
    assert_eq!(told.len(), 1, "{status}");
    assert_eq!(
        (&told[0]["code"], &told[0]["name"], &told[0]["days"]),
        (&"officer-grants-end".into(), &"3".into(), &7.into())
    );
    assert_eq!(told[0]["message_es"], "autorizaciones de agentes que vencen en 7 días: 3");
    let problems = ours("problems", "officer-grants");
    assert_eq!(problems[0]["message"], "3 grants of officers end soon, or have ended");
    // What the node wrote down that it told, and its metrics.
    node.count_down();
    let written = std::fs::read_to_string(mx.notices()).unwrap();
    assert!(written.lines().any(|line| line.starts_with("officers ") && line.ends_with(" 3 7")), "{written}");
    let metrics = node.metrics().await;
    assert!(metrics.contains("puente_expiry_days{what=\"officer\"} 6.4"), "{metrics}");
    for text in [status.to_string(), written, metrics] {
        assert!(!text.contains("o-77") && !text.contains("Ruiz"), "{text}");
    }
    // Revoked, nobody waits for it any more.
    let mut book = OfficerBook::open(&mx).unwrap();
    for id in ["o-771", "o-772", "o-774"] {
        book.revoke(&id.parse().unwrap(), now()).unwrap();
    }
    assert!(matches!(node.carry_out(Command::Officers).await, Answer::Officers { .. }));
    assert!(!node.status().await.to_string().contains("officer-grants"));
    node.shut_down(true).await.unwrap();
}
