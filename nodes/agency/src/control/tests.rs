use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

use puente_model::{Handling, Purpose, Step, Urgency};
use serde_json::json;

use super::*;
use crate::control_api::Question;

/// Answers a question after as many milliseconds as it says, a status at once.
struct Toy;

impl Backend for Toy {
    async fn carry_out(&self, command: Command) -> Answer {
        match command {
            Command::Query(question) => {
                tokio::time::sleep(Duration::from_millis(question.due_in_millis)).await;
                Answer::Status { status: json!({"case": question.case_ref}) }
            }
            Command::Status => Answer::Status { status: json!({"node": "toy"}) },
            _ => failure("not-here", "toys do nothing else", "ask a node"),
        }
    }
}

fn question(due_in_millis: u64, case: &str) -> Command {
    Command::Query(Box::new(Question {
        to: "puente://us/tx-dps/n1".parse().unwrap(),
        kind: "vehicle.status".parse().unwrap(),
        step: Step::ALL[0],
        purpose: Purpose::ALL[0],
        basis: "mx-us-mlat-1987".parse().unwrap(),
        handling: Handling::ALL[0],
        officer: "o-1042".parse().unwrap(),
        case_ref: case.to_owned(),
        params: BTreeMap::from([("vin".to_owned(), "1HGCM82633A004352".to_owned())]),
        due_in_millis,
        urgency: Urgency::ALL[0],
        justification: String::new(),
        facts_statement: String::new(),
        offence: String::new(),
        confirms: None,
        training: false,
        stays: false,
    }))
}

fn status(answer: Answer) -> serde_json::Value {
    match answer {
        Answer::Status { status } => status,
        other => panic!("{other:?}"),
    }
}

async fn running() -> (tempfile::TempDir, std::path::PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("control.sock");
    let listener = bind(&path).unwrap();
    tokio::spawn(serve(listener, Arc::new(Toy)));
    (folder, path)
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(work).await.unwrap()
}

#[tokio::test]
async fn commands_are_carried_out_and_refusals_have_three_texts() {
    let (_folder, path) = running().await;
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    blocking(move || {
        let mut client = ControlClient::connect(&path).unwrap();
        assert_eq!(status(client.call(Command::Status).unwrap())["node"], "toy");
        assert!(matches!(client.call(Command::Publish), Ok(Answer::Error { code, .. }) if code == "not-here"));
        assert_eq!(status(client.call(question(0, "7")).unwrap())["case"], "7");
    })
    .await;
}

#[tokio::test]
async fn many_questions_are_under_way_on_one_connection() {
    let (_folder, path) = running().await;
    blocking(move || {
        let (mut sender, mut receiver) = ControlClient::connect(&path).unwrap().split();
        for n in 0..2_000 {
            sender.queue(question(if n == 0 { 1_000 } else { 100 }, &n.to_string())).unwrap();
        }
        let start = Instant::now();
        let sending = std::thread::spawn(move || {
            sender.flush().unwrap();
            sender
        });
        let mut first = None;
        for _ in 0..2_000 {
            let Numbered { id, micros, answer } = receiver.receive().unwrap();
            assert!(micros >= 100_000);
            assert_eq!(status(answer)["case"], (id - 1).to_string());
            first.get_or_insert(id);
        }
        // One after the other they would take over three minutes.
        assert!(start.elapsed() < Duration::from_secs(60), "{:?}", start.elapsed());
        assert_ne!(first, Some(1), "answers come as they are ready");
        sending.join().unwrap();
    })
    .await;
}

#[tokio::test]
async fn malformed_and_oversized_commands_are_named() {
    let (_folder, path) = running().await;
    blocking(move || {
        use std::io::{BufRead as _, Write as _};
        let mut stream = std::os::unix::net::UnixStream::connect(&path).unwrap();
        let mut lines = std::io::BufReader::new(stream.try_clone().unwrap()).lines();
        let bad = [
            (0, "no JSON"),
            (5, r#"{"id":5,"cmd":"query","officer":"o-1042"}"#),
            (6, r#"{"id":6,"cmd":"fly"}"#),
            (8, r#"{"id":8}"#),
        ];
        for (id, line) in bad {
            writeln!(stream, "{line}").unwrap();
            let reply: Reply = serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap();
            assert!(matches!(&reply.answer, Answer::Error { code, .. } if code == "malformed"), "{line}");
            assert_eq!(reply.id, id);
        }
        writeln!(stream, r#"{{"id":9,"cmd":"status"}}"#).unwrap();
        assert!(lines.next().unwrap().unwrap().contains("toy"));
        stream.write_all(&vec![b'x'; COMMAND_BYTES_MAX + 1]).unwrap();
        assert!(lines.next().unwrap().unwrap().contains("oversized"));
        // Closed, with what was not read thrown away.
        assert!(lines.next().is_none_or(|line| line.is_err()));
    })
    .await;
}

#[tokio::test]
async fn a_second_node_does_not_start_and_a_dead_ones_socket_is_replaced() {
    let (folder, path) = running().await;
    assert!(matches!(bind(&path), Err(ServeError::Running(_))));
    let left_behind = folder.path().join("dead.sock");
    drop(std::os::unix::net::UnixListener::bind(&left_behind).unwrap());
    bind(&left_behind).unwrap();
    let long = folder.path().join("x".repeat(120)).join("control.sock");
    assert!(matches!(bind(&long), Err(ServeError::TooLong { .. })));
    let nobody = folder.path().join("nobody.sock");
    assert!(matches!(ControlClient::connect(&nobody), Err(ClientError::NotRunning { .. })));
}
