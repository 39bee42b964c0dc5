//! A real node erases what has been kept as long as it may be: recorded first, by its own job and by its command.

use puente_audit::{Auditor, Conclusion as Verdict, load_charter};

use super::tests::federation;
use super::*;
use crate::control;
use crate::records::RecordStore;
use crate::retention::tests::{PLATE, reads};

fn day(before: u64) -> String {
    Millis(now().0 - before * 86_400_000).to_string()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_erases_plate_reads_past_their_window_and_its_log_names_none_of_them() {
    let (root, _mx, us) = federation();
    let (old, new) = (day(40), day(3));
    let rows = reads(&[("old-1", &old, false), ("old-2", &old, false), ("hot", &old, true), ("new", &new, false)]);
    RecordStore::open(&us).unwrap().insert(&rows).unwrap();
    let words = |more: &str| -> Vec<String> {
        let words = format!("puente --dir {} records retention {more}", us.path().display());
        words.split_whitespace().map(str::to_owned).collect()
    };
    let dry = words("");
    let dry = tokio::task::spawn_blocking(move || crate::cli::run(dry)).await.unwrap().unwrap();
    assert_eq!((&dry.json["records"]["PlateRead"], &dry.json["last"]), (&2.into(), &serde_json::Value::Null));
    assert_eq!(RecordStore::open(&us).unwrap().counts().unwrap(), [("PlateRead".to_owned(), 4)]);

    let node = Arc::new(Node::start(us.clone(), |_| {}).await.unwrap());
    let size = node.status().await["log"]["size"].as_u64().unwrap();
    let serving = tokio::spawn(control::serve(control::bind(&us.control()).unwrap(), node.clone()));
    let erase = words("--erase");
    let done = tokio::task::spawn_blocking(move || crate::cli::run(erase)).await.unwrap().unwrap();
    assert_eq!((&done.json["records"]["PlateRead"], &done.json["erased_in_all"]), (&2.into(), &2.into()));
    assert_eq!(RecordStore::open(&us).unwrap().counts().unwrap(), [("PlateRead".to_owned(), 2)]);
    let status = node.status().await;
    assert_eq!(status["log"]["size"], size + 1, "one ERASE: {status}");
    assert!(status["retention"]["erased_in_all"] == 2 && status["retention"]["last"].is_string(), "{status}");
    // Nothing is due any more: nothing is recorded, today or by the daily job.
    assert!(matches!(node.carry_out(Command::Retain).await, Answer::Retained { erased } if erased.is_empty()));
    node.retain_daily().await;
    assert_eq!(node.status().await["log"]["size"], size + 1);

    let copy = root.path().join("copy");
    let exported = node.carry_out(Command::Export { to: copy.clone(), own: true }).await;
    assert!(matches!(exported, Answer::Exported { .. }), "{exported:?}");
    let pin = std::fs::read_to_string(us.charter_pin()).unwrap().trim().parse().unwrap();
    let charter = load_charter(&us.charter(), pin).unwrap();
    let verdict = Auditor::new(charter, now()).without_headers().verify(&copy).unwrap();
    assert_eq!(verdict.verdict, Verdict::Sound, "{verdict:?}");
    for folder in [copy, us.retention()] {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let bytes = std::fs::read(&path).unwrap_or_default();
            assert!(!bytes.windows(PLATE.len()).any(|part| part == PLATE.as_bytes()), "{}", path.display());
        }
    }
    serving.abort();
    node.shut_down(true).await.unwrap();
}
