//! The API of a node that runs as a process, with keys that an operator makes: what it says on stderr, and what it does not.

// Helpers of tests are tests too: what is not as expected ends them.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
// Shared with the hardening tests, which use all of it.
#![allow(dead_code)]

#[path = "hardening/federation.rs"]
mod federation;

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use serde_json::{Value, json};

use federation::{Federation, Node, alone};

/// Opens the API in a node's configuration.
fn open_door(node: &Node) -> SocketAddr {
    let at = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let path = node.dir.join("node.toml");
    let text = fs::read_to_string(&path).unwrap();
    fs::write(&path, format!("{text}\n[api]\nlisten = \"{at}\"\n")).unwrap();
    at
}

fn send(at: SocketAddr, request: &str, key: &str, body: Option<&Value>) -> (u16, Value) {
    let mut stream = TcpStream::connect(at).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    let body = body.map(Value::to_string).unwrap_or_default();
    let head = "host: a\r\nconnection: close\r\ncontent-type: application/json";
    write!(
        stream,
        "{request} HTTP/1.1\r\n{head}\r\nidempotency-key: CNRYIDEMPOTENT1\r\nauthorization: Bearer {key}\r\n\
         content-length: {}\r\n\r\n{body}",
        body.len()
    )
    .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head[9..12].parse().unwrap(), serde_json::from_str(body).unwrap())
}

#[test]
fn nothing_that_a_program_asks_or_holds_is_in_log_lines() {
    let _alone = alone();
    let mut fed = Federation::found();
    fed.set_log_level("trace");
    let at = open_door(&fed.mx);
    assert!(fed.us.try_start(""), "{}", fed.us.words());
    assert!(fed.mx.try_start(""), "{}", fed.mx.words());

    let made =
        fed.mx.json(&["api-key", "add", "--officer", "o-1042", "--scope", "ask,read", "--program", "CNRYPROGRAM"]);
    let key = made["key"].as_str().unwrap().to_owned();
    assert_eq!((&made["recorded"], &made["entries"][0]["event"]), (&json!(true), &json!("GRANT")), "{made}");
    let listed = fed.mx.json(&["api-key", "list"]);
    assert_eq!((&listed["keys"][0]["state"], &listed["keys"][0]["id"]), (&json!("active"), &made["id"]), "{listed}");
    assert!(!listed.to_string().contains(&key[24..]));
    let kept = fs::read_to_string(fed.mx.dir.join("api-keys.toml")).unwrap();
    assert!(!kept.contains(&key[24..]), "the file holds no secret");
    // Nobody gets a key for an officer whom nobody granted anything.
    let nobody = fed.mx.run(&["api-key", "add", "--officer", "o-9", "--scope", "ask", "--program", "x", "--json"]);
    assert_eq!(nobody.status.code(), Some(2));

    let question = json!({
        "kind": "vehicle.status", "to": fed.us.uri, "purpose": "vehicle-recovery", "basis": "mx-us-stolen-vehicles-1981",
        "case": "FGEBC/2026/CNRYCASE1", "params": {"vin": "1M8GDM9AXKP042788"}, "due": "30s", "urgent": "CNRYURGENT",
    });
    let (status, put) = send(at, "POST /v1/questions", &key, Some(&question));
    assert_eq!(status, 202, "{put}");
    let exchange = put["exchange"].as_str().unwrap();
    let (status, answered) = send(at, &format!("GET /v1/questions/{exchange}/wait?seconds=40"), &key, None);
    assert_eq!((status, &answered["conclusion"]), (200, &json!("answered")), "{answered}");
    // What goes wrong is told to whoever did it, and to nobody else.
    let mut wrong = question.clone();
    wrong["params"] = json!({"vin": "CNRYWRONGVIN"});
    assert_eq!(send(at, "POST /v1/questions", &key, Some(&wrong)).0, 422);
    wrong["CNRYSTRANGER"] = json!("CNRYVALUE");
    let (status, malformed) = send(at, "POST /v1/questions", &key, Some(&wrong));
    assert!(status == 400 && malformed.to_string().contains("CNRYSTRANGER"), "{malformed}");
    assert_eq!(send(at, "GET /v1/CNRYPATH", &key, None).0, 404);
    assert_eq!(send(at, "GET /v1/questions?CNRYQUERY=1", &key, None).0, 400);
    assert_eq!(send(at, "GET /v1/node", &key.replace("puente_", "CNRYKEY"), None).0, 401);

    let revoked = fed.mx.json(&["api-key", "revoke", made["id"].as_str().unwrap()]);
    assert_eq!(revoked["entries"][0]["event"], "REVOKE", "{revoked}");
    assert_eq!(send(at, "GET /v1/node", &key, None).1["code"], "api-key-revoked");

    // The government changes: every grant and every key ends at once, and a second time there is nothing to end.
    let made = fed.mx.json(&["api-key", "add", "--officer", "o-1042", "--scope", "read", "--program", "CNRYPROGRAM"]);
    let next = made["key"].as_str().unwrap();
    assert_eq!(send(at, "GET /v1/node", next, None).0, 200);
    let all = ["officer", "revoke", "--all", "--reason", "CNRYREASON"];
    let ended = fed.mx.json(&all);
    assert_eq!((&ended["officers"], &ended["api_keys"]), (&json!(["o-1042"]), &json!([made["id"]])), "{ended}");
    let entries = ended["entries"].as_array().unwrap();
    assert!(entries.len() == 2 && entries.iter().all(|entry| entry["event"] == "REVOKE"), "{ended}");
    assert_eq!(send(at, "GET /v1/node", next, None).1["code"], "api-key-revoked");
    let again = fed.mx.json(&all);
    assert_eq!((&again["officers"], &again["api_keys"], &again["entries"]), (&json!([]), &json!([]), &json!([])));
    let state = fed.mx.status();
    fed.mx.stop();
    let words = fed.mx.words();
    assert!(words.contains("/v1/questions/{id}/wait"), "it says that it was asked: {words}");
    for text in [words, fed.us.words(), state.to_string()] {
        assert!(
            !text.contains("CNRY") && !text.contains("1M8GDM9AXKP042788") && !text.contains(&key[24..60]),
            "{text}"
        );
        assert!(!text.contains("o-1042"), "{text}");
    }
}
