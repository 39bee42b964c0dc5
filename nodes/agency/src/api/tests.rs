//! Real HTTP over loopback, to a real node that asks another real node. Every answer is held against the OpenAPI document.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};

use boon::{Compiler, Schemas};
use puente_catalogue::Catalogue;
use puente_charter::OfficerRecord;
use puente_model::{EventKind, OfficerId, Role};
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

use super::keys::{ApiKey, KeyBook, KeyChange, KeyRecord, Scope};
use super::route::{Found, ROUTES, find};
use super::*;
use crate::control::Backend as _;
use crate::control_api::{Answer, Command};
use crate::keys::PassphraseSource;
use crate::node::now;
use crate::node::tests::{US, VIN, enlist, federation, keep_vehicle};
use crate::officers::OfficerBook;

const DAY: u64 = 86_400_000;
const ALL: [Scope; 3] = [Scope::Ask, Scope::Answer, Scope::Read];

fn officer(id: &str) -> OfficerRecord {
    OfficerRecord {
        id: id.parse().unwrap(),
        name: format!("Agente {id}"),
        role: Role::Investigator,
        granted: Millis(now().0 - DAY),
        expires: now().plus(DAY),
        revoked: None,
        revoked_for: String::new(),
        emergency: String::new(),
        review: String::new(),
    }
}

fn record(key: &ApiKey, officer: &str, scopes: &[Scope]) -> KeyRecord {
    KeyRecord {
        id: key.id,
        officer: officer.parse().unwrap(),
        scopes: scopes.iter().copied().collect::<BTreeSet<_>>(),
        program: "case files".to_owned(),
        hash: key.hash(),
        granted: Millis(now().0 - 2 * DAY),
        expires: now().plus(DAY),
        revoked: Millis(0),
    }
}

/// A key whose grant the node has recorded.
async fn key(dir: &NodeDir, node: &Node, officer: &str, scopes: &[Scope]) -> ApiKey {
    let key = ApiKey::generate().unwrap();
    KeyBook::open(dir).unwrap().add(record(&key, officer, scopes), now()).unwrap();
    let settled = node.carry_out(Command::ApiKeys).await;
    assert!(matches!(settled, Answer::Officers { waiting: 0, .. }), "{settled:?}");
    key
}

fn vault() -> Arc<Vault> {
    Arc::new(Vault::new(PassphraseSource::Ask))
}

/// A door on a free port of loopback.
async fn door(node: &Arc<Node>, dir: &NodeDir, tune: impl FnOnce(&mut ApiConfig)) -> Door {
    let mut config = ApiConfig::local("127.0.0.1:0".parse().unwrap());
    tune(&mut config);
    Door::open(&config, node.clone(), dir, vault()).await.unwrap()
}

/// What came back.
struct Said {
    status: u16,
    head: String,
    json: Value,
}

impl Said {
    fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (found, value) = line.split_once(':')?;
            found.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }

    /// The code of a problem, with its status.
    fn problem(&self) -> (u16, &str) {
        assert_eq!(self.header("content-type"), Some("application/problem+json"), "{} {}", self.head, self.json);
        let code = self.json["code"].as_str().unwrap();
        assert_eq!(self.json["type"], format!("urn:puente:problem:{code}"));
        assert_eq!(self.json["status"], self.status);
        (self.status, code)
    }
}

async fn talk(mut stream: impl AsyncRead + AsyncWrite + Unpin, request: &[u8]) -> String {
    // A server that has heard enough may close before everything is sent.
    let _ = stream.write_all(request).await;
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    String::from_utf8_lossy(&answer).into_owned()
}

fn written(method: &str, path: &str, headers: &[(&str, &str)], body: Option<&str>) -> Vec<u8> {
    let mut text = format!("{method} {path} HTTP/1.1\r\nhost: node\r\nconnection: close\r\n");
    for (name, value) in headers {
        text.push_str(&format!("{name}: {value}\r\n"));
    }
    if let Some(body) = body {
        text.push_str(&format!("content-length: {}\r\n\r\n{body}", body.len()));
    } else {
        text.push_str("\r\n");
    }
    text.into_bytes()
}

fn said(answer: &str) -> Said {
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no answer: {answer}"));
    let status = head[9..12].parse().unwrap();
    Said { status, head: head.to_owned(), json: serde_json::from_str(body).unwrap_or(Value::Null) }
}

/// A program with a key.
struct Program {
    at: SocketAddr,
    key: String,
    lang: &'static str,
    catalogue: Catalogue,
}

impl Program {
    fn new(door: &Door, key: &ApiKey) -> Self {
        Self {
            at: door.local_addr(),
            key: key.text().to_string(),
            lang: "en",
            catalogue: Catalogue::builtin().unwrap(),
        }
    }

    async fn send(&self, method: &str, path: &str, more: &[(&str, &str)], body: Option<&str>) -> Said {
        let bearer = format!("Bearer {}", self.key);
        let mut headers = vec![("authorization", bearer.as_str()), ("accept-language", self.lang)];
        if body.is_some() {
            headers.push(("content-type", "application/json"));
        }
        headers.extend_from_slice(more);
        let stream = TcpStream::connect(self.at).await.unwrap();
        let said = said(&talk(stream, &written(method, path, &headers, body)).await);
        assert_eq!(said.header("cache-control"), Some("no-store"), "{}", said.head);
        fits(&self.catalogue, method, path, &said);
        said
    }

    async fn get(&self, path: &str) -> Said {
        self.send("GET", path, &[], None).await
    }

    async fn post(&self, path: &str, body: &Value) -> Said {
        self.send("POST", path, &[], Some(&body.to_string())).await
    }
}

/// Whether an answer is what the document promises of this path and status.
fn fits(catalogue: &Catalogue, method: &str, path: &str, said: &Said) {
    let Found::Route(route, _) = find(method, path.split('?').next().unwrap()) else { return };
    let document = openapi::document(catalogue);
    let pointer = |text: &str| text.replace('~', "~0").replace('/', "~1");
    let status = said.status.to_string();
    let answers = &document["paths"][route.path][method.to_lowercase()]["responses"];
    let (status, media) = match answers.get(&status) {
        Some(_) => (status, "application/json"),
        None => ("default".to_owned(), "application/problem+json"),
    };
    assert_eq!(said.header("content-type"), Some(media), "{method} {path}: {} {}", said.head, said.json);
    let place = format!(
        "urn:api#/paths/{}/{}/responses/{status}/content/{}/schema",
        pointer(route.path).replace('{', "%7B").replace('}', "%7D"),
        method.to_lowercase(),
        pointer(media)
    );
    valid(&document, &place, &said.json);
}

fn valid(document: &Value, place: &str, value: &Value) {
    let mut compiler = Compiler::new();
    compiler.add_resource("urn:api", document.clone()).unwrap();
    let mut schemas = Schemas::new();
    let index = compiler.compile(place, &mut schemas).unwrap_or_else(|e| panic!("{place}: {e}"));
    schemas.validate(value, index).unwrap_or_else(|e| panic!("{place}: {e}\n{value}"));
}

fn question(case: &str) -> Value {
    json!({
        "kind": "vehicle.status", "to": US, "purpose": "vehicle-recovery", "basis": "mx-us-stolen-vehicles-1981",
        "case": case, "params": {"vin": VIN}, "due": "20s",
    })
}

/// A node with an officer and a partner that holds a stolen vehicle; the partner may have other rules.
async fn pair(rules: Option<&str>) -> (tempfile::TempDir, NodeDir, Arc<Node>, NodeDir, Arc<Node>) {
    let (root, mx, us) = federation();
    enlist(&mx);
    enlist(&us);
    keep_vehicle(&us);
    if let Some(rules) = rules {
        std::fs::write(us.policies().join("all.cedar"), rules).unwrap();
    }
    let holder = Arc::new(Node::start(us.clone(), |_| {}).await.unwrap());
    let asker = Arc::new(Node::start(mx.clone(), |_| {}).await.unwrap());
    (root, mx, asker, us, holder)
}

#[test]
fn every_route_is_described_and_every_example_fits() {
    let catalogue = Catalogue::builtin().unwrap();
    let document = openapi::document(&catalogue);
    assert_eq!(document["openapi"], "3.1.0");
    let mut ids = BTreeSet::new();
    for route in ROUTES {
        let method = route.method.to_lowercase();
        let operation = &document["paths"][route.path][&method];
        assert!(ids.insert(operation["operationId"].as_str().unwrap().to_owned()), "{operation}");
        assert_ne!(operation["summary"], operation["x-summary-es"], "{operation}");
        assert!(!route.gives.is_empty() && route.body.is_some() == route.example.is_some(), "{}", route.path);
        assert_eq!(operation["security"] == json!([]), route.open);
        let named = route.path.contains('{');
        assert_eq!(operation["parameters"].as_array().unwrap().iter().any(|p| p["in"] == "path"), named);
        if route.body.is_some() {
            let content = &operation["requestBody"]["content"]["application/json"];
            let place = format!(
                "urn:api#/paths/{}/{method}/requestBody/content/application~1json/schema",
                route.path.replace('/', "~1").replace('{', "%7B").replace('}', "%7D")
            );
            valid(&document, &place, &content["example"]);
            // What it does not know, it does not take.
            let mut strange = content["example"].clone();
            strange["stranger"] = json!(1);
            let refused = std::panic::catch_unwind(|| valid(&document, &place, &strange));
            assert!(refused.is_err(), "{}", route.path);
        }
        // Each answer's schema resolves, whatever it refers to.
        for (status, answer) in operation["responses"].as_object().unwrap() {
            let (media, _) = answer["content"].as_object().unwrap().iter().next().unwrap();
            let place = format!(
                "urn:api#/paths/{}/{method}/responses/{status}/content/{}/schema",
                route.path.replace('/', "~1").replace('{', "%7B").replace('}', "%7D"),
                media.replace('/', "~1")
            );
            let mut compiler = Compiler::new();
            compiler.add_resource("urn:api", document.clone()).unwrap();
            compiler.compile(&place, &mut Schemas::new()).unwrap_or_else(|e| panic!("{place}: {e}"));
        }
    }
    // No path beside those of the table.
    let described: usize = document["paths"].as_object().unwrap().values().map(|p| p.as_object().unwrap().len()).sum();
    assert_eq!(described, ROUTES.len());
    for kind in catalogue.query_kinds() {
        assert!(document["components"]["schemas"][format!("params-{}", kind.kind())].is_object());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_program_asks_waits_and_reads_the_answer_over_http() {
    let (_root, mx, asker, _us, holder) = pair(None).await;
    let door = door(&asker, &mx, |_| {}).await;
    let program = Program::new(&door, &key(&mx, &asker, "o-1042", &ALL).await);
    assert_eq!(asker.ready()["api"], door.local_addr().to_string());

    let put = program.post("/v1/questions", &question("FGEBC/1")).await;
    assert_eq!((put.status, &put.json["conclusion"]), (202, &json!("asked")), "{}", put.json);
    let place = put.header("location").unwrap().to_owned();
    let answer = program.get(&format!("{place}/wait?seconds=50")).await;
    assert_eq!((answer.status, &answer.json["outcome"]), (200, &json!("HIT_UNCONFIRMED")), "{}", answer.json);
    let status = program.get(&place).await.json;
    assert_eq!((&status["state"], &status["officer"]), (&json!("answered"), &json!("o-1042")), "{status}");
    assert_eq!(program.get(&format!("{place}/result")).await.json["outcome"], "HIT_UNCONFIRMED");
    assert_eq!(program.post(&format!("{place}/cancel"), &json!({})).await.json["conclusion"], "ended");

    // A person examined the hit: core data is asked for, and that question goes on by itself.
    let more = json!({"facts": "VIN read on the frame", "offence": "theft", "due": "20s"});
    let step2 = program.post(&format!("{place}/confirm"), &more).await;
    assert_eq!((step2.status, &step2.json["conclusion"]), (202, &json!("asked")), "{}", step2.json);
    let second = format!("/v1/questions/{}", step2.json["exchange"].as_str().unwrap());
    let core = program.get(&format!("{second}/wait")).await;
    assert_eq!((core.status, &core.json["conclusion"]), (200, &json!("answered")), "{}", core.json);
    // The answer may have been lost on its way to the program: sent again, nothing is asked again.
    let again = program.post(&format!("{place}/confirm"), &more).await;
    assert_eq!(again.problem(), (409, "already-confirmed"));
    assert_eq!(again.json["more"]["next"], step2.json["exchange"], "{}", again.json);
    let refuted = program.post(&format!("{place}/refute"), &json!({"facts": "another frame"})).await;
    assert!(refuted.status == 200 || refuted.status == 422, "{}", refuted.json);

    let listed =
        program.get(&format!("/v1/questions?limit=10&to={}", US.replace(':', "%3A").replace('/', "%2F"))).await;
    assert_eq!(listed.json["questions"].as_array().unwrap().len(), 2, "{}", listed.json);
    assert_eq!(program.get("/v1/questions?open=true").await.json["questions"], json!([]));
    // Nothing of what was asked about is in a list.
    assert!(!listed.json.to_string().contains(VIN));

    assert_eq!(program.get("/v1/node").await.json["ready"], true);
    assert_eq!(program.get("/v1/peers").await.json["peers"].as_array().unwrap().len(), 2);
    assert!(program.get("/v1/catalogue").await.json["kinds"].as_array().unwrap().len() > 3);
    let schema = program.get("/v1/catalogue/vehicle.status/schema").await;
    assert_eq!(schema.json["x-query-kind"], "vehicle.status");
    assert_eq!(program.get("/v1/catalogue/no-such/schema").await.problem(), (404, "unknown-type"));
    let status = asker.status().await;
    assert_eq!((&status["api"]["keys"], &status["api"]["refused"]), (&json!(1), &json!({})), "{}", status["api"]);

    // Somebody else's key sees none of it.
    OfficerBook::open(&mx).unwrap().add(officer("o-2000")).unwrap();
    asker.carry_out(Command::Officers).await;
    let other = Program::new(&door, &key(&mx, &asker, "o-2000", &ALL).await);
    assert_eq!(other.get("/v1/questions").await.json["questions"], json!([]));
    for path in [place.clone(), format!("{place}/wait"), format!("{place}/result")] {
        assert_eq!(other.get(&path).await.problem(), (404, "unknown-exchange"), "{path}");
    }
    assert_eq!(other.post(&format!("{place}/refute"), &json!({"facts": "x"})).await.problem().0, 404);
    drop(door);
    asker.shut_down(true).await.unwrap();
    holder.shut_down(true).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_waits_for_a_person_is_seen_and_decided_over_http() {
    const PERSON: &str = r#"
@id("ask") @expires("2090-01-01")
permit (principal, action == Action::"ask", resource == Kind::"vehicle.status");
@id("answer") @expires("2090-01-01") @fields("") @decide("investigator")
permit (principal, action == Action::"answer", resource == Kind::"vehicle.status");
"#;
    let (_root, mx, asker, us, holder) = pair(Some(PERSON)).await;
    let (asking, answering) = (door(&asker, &mx, |_| {}).await, door(&holder, &us, |_| {}).await);
    let program = Program::new(&asking, &key(&mx, &asker, "o-1042", &[Scope::Ask]).await);
    let desk = Program::new(&answering, &key(&us, &holder, "o-1042", &[Scope::Answer]).await);
    for (number, decision, body, expected) in [
        (1, "confirm", json!({"note": "compared"}), "answered"),
        (2, "answer", json!({}), "answered"),
        (3, "refuse", json!({"reason": "ongoing-operation", "text_en": "no", "text_es": "no"}), "refused"),
        (4, "needs-data", json!({"fields": ["plate"]}), "answered"),
    ] {
        let put = program.post("/v1/questions", &question(&format!("FGEBC/{number}"))).await;
        let id = put.json["exchange"].as_str().unwrap().to_owned();
        // Nobody has decided: it goes on by itself.
        assert_eq!(program.get(&format!("/v1/questions/{id}/wait?seconds=0")).await.status, 202);
        let waiting = loop {
            let inbox = desk.get("/v1/inbox").await;
            match inbox.json["questions"].as_array().unwrap().iter().find(|q| q["exchange"] == id.as_str()) {
                Some(found) => break found.clone(),
                None => tokio::time::sleep(Duration::from_millis(20)).await,
            }
        };
        assert!(!waiting.to_string().contains(VIN), "{waiting}");
        let seen = desk.get(&format!("/v1/inbox/{id}")).await;
        assert_eq!((seen.status, &seen.json["params"][0][1]), (200, &json!(VIN)), "{}", seen.json);
        let decided = desk.post(&format!("/v1/inbox/{id}/{decision}"), &body).await;
        assert_eq!((decided.status, &decided.json["conclusion"]), (200, &json!("decided")), "{}", decided.json);
        assert_eq!(desk.get(&format!("/v1/inbox/{id}")).await.problem(), (409, "not-waiting"));
        let ended = program.get(&format!("/v1/questions/{id}/wait")).await;
        assert_eq!((ended.status, &ended.json["conclusion"]), (200, &json!(expected)), "{}", ended.json);
    }
    assert_eq!(desk.post("/v1/inbox/x/answer", &json!({})).await.problem(), (404, "unknown-exchange"));
    let unknown = json!({"reason": "no-such", "text_en": "a", "text_es": "b"});
    let id = "0".repeat(32);
    assert_eq!(desk.post(&format!("/v1/inbox/{id}/refuse"), &unknown).await.problem(), (422, "decision"));
    drop((asking, answering));
    asker.shut_down(true).await.unwrap();
    holder.shut_down(true).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_needs_a_key_in_force_of_an_officer_in_force_and_its_scope() {
    let (_root, mx, asker, _us, holder) = pair(None).await;
    let door = door(&asker, &mx, |_| {}).await;
    let good = key(&mx, &asker, "o-1042", &[Scope::Read]).await;
    let mut program = Program::new(&door, &good);
    assert_eq!(program.get("/v1/node").await.status, 200);

    // No key, no bearer, another's secret under this key's id, this secret under another id, one digit changed.
    let bare = |headers: &'static [(&'static str, &'static str)]| {
        let at = door.local_addr();
        async move {
            let stream = TcpStream::connect(at).await.unwrap();
            said(&talk(stream, &written("GET", "/v1/node", headers, None)).await)
        }
    };
    let none = bare(&[]).await;
    assert_eq!(none.problem(), (401, "api-key"));
    assert!(none.header("www-authenticate").unwrap().starts_with("Bearer"));
    assert_eq!(bare(&[("authorization", "Basic b3BlbjpzZXNhbWU=")]).await.problem(), (401, "api-key"));
    let (text, other) = (good.text(), ApiKey::generate().unwrap().text());
    let changed = if text.ends_with('0') { "1" } else { "0" };
    for forged in [
        format!("{}{}", &text[..24], &other[24..]),
        format!("{}{}", &other[..24], &text[24..]),
        format!("{}{changed}", &text[..text.len() - 1]),
        "x".repeat(4_000),
    ] {
        program.key = forged;
        assert_eq!(program.get("/v1/node").await.problem(), (401, "api-key"));
    }

    // Made, and not in the log yet; in the log, and ended.
    let pending = ApiKey::generate().unwrap();
    KeyBook::open(&mx).unwrap().add(record(&pending, "o-1042", &ALL), now()).unwrap();
    program.key = pending.text().to_string();
    assert_eq!(program.get("/v1/node").await.problem(), (401, "api-key"));
    asker.carry_out(Command::ApiKeys).await;
    assert_eq!(program.get("/v1/node").await.status, 200);
    let ended = ApiKey::generate().unwrap();
    let record_of_ended = KeyRecord { expires: Millis(now().0 - 1), ..record(&ended, "o-1042", &ALL) };
    let mut book = KeyBook::open(&mx).unwrap();
    book.add(record_of_ended.clone(), Millis(0)).unwrap();
    book.recorded(&KeyChange { record: record_of_ended, kind: EventKind::Grant }).unwrap();
    program.key = ended.text().to_string();
    assert_eq!(program.get("/v1/node").await.problem(), (401, "api-key-expired"));

    // What ends is told of in time, by the public part alone.
    let status = asker.status().await;
    let told =
        status["notices"].as_array().unwrap().iter().filter(|n| n["code"].as_str().unwrap().starts_with("api-key"));
    let told: BTreeSet<_> = told.map(|n| (n["name"].as_str().unwrap(), n["code"].as_str().unwrap())).collect();
    let ids = [good.id, pending.id, ended.id].map(|id| id.to_string());
    let expected = [(&*ids[0], "api-key-ends"), (&*ids[1], "api-key-ends"), (&*ids[2], "api-key-ended")];
    assert_eq!(told, BTreeSet::from(expected));
    let problems = status["problems"].as_array().unwrap();
    assert!(
        problems.iter().any(|p| p["code"] == "api-key-ends" && p["message"] == "3 API keys end soon, or have ended")
    );
    let metrics = asker.metrics().await;
    assert!(metrics.contains("puente_expiry_days{what=\"api-key\"} 0.9"), "{metrics}");

    // Each scope opens its own, and the catalogue is for any.
    for (scope, open) in [(Scope::Ask, "/v1/questions"), (Scope::Answer, "/v1/inbox"), (Scope::Read, "/v1/node")] {
        program.key = key(&mx, &asker, "o-1042", &[scope]).await.text().to_string();
        assert_eq!(program.get(open).await.status, 200, "{open}");
        assert_eq!(program.get("/v1/catalogue").await.status, 200);
        if scope != Scope::Ask {
            assert_eq!(program.post("/v1/questions", &question("A/1")).await.problem(), (403, "scope"));
        }
        if scope != Scope::Answer {
            let path = format!("/v1/inbox/{}/answer", "0".repeat(32));
            assert_eq!(program.post(&path, &json!({})).await.problem(), (403, "scope"));
        }
        if scope != Scope::Read {
            assert_eq!(program.get("/v1/peers").await.problem(), (403, "scope"));
        }
    }

    // Revoked: at once, though the log does not have it yet.
    program.key = pending.text().to_string();
    KeyBook::open(&mx).unwrap().revoke(pending.id, now()).unwrap();
    assert_eq!(program.get("/v1/node").await.problem(), (401, "api-key-revoked"));
    let revoked = asker.carry_out(Command::ApiKeys).await;
    assert!(matches!(&revoked, Answer::Officers { recorded, .. } if recorded[0].0 == "REVOKE"), "{revoked:?}");
    assert_eq!(program.get("/v1/node").await.problem(), (401, "api-key-revoked"));

    // The officer's access ends: so does that of every program that acts for the officer.
    program.key = good.text().to_string();
    assert_eq!(program.get("/v1/node").await.status, 200);
    let id: OfficerId = "o-1042".parse().unwrap();
    OfficerBook::open(&mx).unwrap().revoke(&id, now()).unwrap();
    asker.carry_out(Command::Officers).await;
    assert_eq!(program.get("/v1/node").await.problem(), (403, "officer"));
    let refused = &asker.status().await["api"]["refused"];
    for class in ["missing", "unknown", "expired", "revoked", "scope", "officer"] {
        assert!(refused[class].as_u64() > Some(0), "{class}: {refused}");
    }
    drop(door);
    asker.shut_down(true).await.unwrap();
    holder.shut_down(true).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bad_requests_are_problems_in_the_callers_language() {
    let (_root, mx, asker, _us, holder) = pair(None).await;
    let door = door(&asker, &mx, |_| {}).await;
    let mut program = Program::new(&door, &key(&mx, &asker, "o-1042", &ALL).await);
    let with = |name: &str, value: Value| {
        let mut body = question("A/1");
        body[name] = value;
        body
    };
    for (body, status, code) in [
        (with("stranger", json!(1)), 400, "malformed"),
        (with("officer", json!("o-2000")), 400, "malformed"),
        (with("step", json!("9")), 400, "malformed"),
        (with("params", json!({"vin": {"a": 1}})), 400, "malformed"),
        (with("params", json!({"vin": "1M8"})), 422, "malformed"),
        (with("params", json!({"vin": VIN, "stranger": "x"})), 422, "malformed"),
        (with("kind", json!("vehicle.stats")), 422, "unknown-kind"),
        (with("purpose", json!("curiosity")), 422, "purpose"),
        (with("basis", json!("no-such-law")), 422, "basis"),
        (with("to", json!("puente://us/no/n1")), 422, "holder"),
        (with("case", json!(" ")), 422, "case"),
        (with("due", json!("8d")), 422, "due"),
        (with("step", json!("2")), 422, "step"),
        (with("urgent", json!("")), 422, "urgent"),
    ] {
        assert_eq!(program.post("/v1/questions", &body).await.problem(), (status, code), "{body}");
    }
    // What one's own policy refuses is a problem too, with what the policy says.
    let barred = json!({
        "kind": "plate.status", "to": US, "purpose": "vehicle-recovery", "basis": "mx-us-stolen-vehicles-1981",
        "case": "A/1", "params": {"plate": "ABC1234", "plate_jurisdiction": "US-TX"},
    });
    let refused = program.post("/v1/questions", &barred).await;
    assert_eq!(refused.problem(), (403, "refused"));
    assert_eq!(refused.json["more"]["conclusion"]["conclusion"], "refused", "{}", refused.json);

    assert_eq!(program.get("/v1/nothing").await.problem(), (404, "no-such-path"));
    let method = program.send("DELETE", "/v1/questions", &[], None).await;
    assert_eq!((method.problem(), method.header("allow")), ((405, "method"), Some("GET, POST")));
    for query in ["stranger=1", "limit", "limit=1&limit=2", "limit=x", "to=%zz", "to=%ff", "open=perhaps"] {
        assert_eq!(program.get(&format!("/v1/questions?{query}")).await.problem(), (400, "parameter"), "{query}");
    }
    assert_eq!(program.get("/v1/questions/xyz").await.problem(), (404, "unknown-exchange"));
    let plain = [("content-type", "text/plain")];
    let at = door.local_addr();
    let bearer = format!("Bearer {}", program.key);
    let headers = [("authorization", bearer.as_str()), plain[0]];
    let stream = TcpStream::connect(at).await.unwrap();
    let typed = said(&talk(stream, &written("POST", "/v1/questions", &headers, Some("{}"))).await);
    assert_eq!(typed.problem(), (415, "media-type"));
    let most = "x".repeat(COMMAND_BYTES_MAX);
    assert_eq!(program.send("POST", "/v1/questions", &[], Some(&most)).await.problem(), (400, "malformed"));
    let oversized = program.send("POST", "/v1/questions", &[], Some(&format!("{most}x"))).await;
    assert_eq!(oversized.problem(), (413, "oversized"));
    for bad in ["", "\"\"", &"x".repeat(129), "a b"] {
        let said = program
            .send("POST", "/v1/questions", &[("idempotency-key", bad)], Some(&question("A/1").to_string()))
            .await;
        assert_eq!(said.problem(), (400, "idempotency-key"), "{bad}");
    }

    for (lang, words) in [
        ("es", "no existe esa ruta"),
        ("es-MX, en;q=0.5", "no existe esa ruta"),
        ("en;q=0.3, es;q=0.7", "no existe esa ruta"),
        ("es;q=0.1, en", "there is no such path"),
        ("fr, *;q=0.1", "there is no such path"),
        ("", "there is no such path"),
    ] {
        program.lang = lang;
        let said = program.get("/v1/nothing").await;
        assert_eq!(said.json["title"], words, "{lang}");
    }
    drop(door);
    asker.shut_down(true).await.unwrap();
    holder.shut_down(true).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_retry_does_not_ask_twice() {
    let (_root, mx, asker, _us, holder) = pair(None).await;
    let first = door(&asker, &mx, |_| {}).await;
    let one = key(&mx, &asker, "o-1042", &ALL).await;
    let program = Arc::new(Program::new(&first, &one));
    let once = |program: Arc<Program>, idempotency: &'static str, case: &'static str| async move {
        let body = question(case).to_string();
        program.send("POST", "/v1/questions", &[("idempotency-key", idempotency)], Some(&body)).await
    };
    // Many at once: one puts it, the others hear of it or are told to come again.
    let tries: Vec<_> = (0..12).map(|_| tokio::spawn(once(program.clone(), "\"r-1\"", "A/1"))).collect();
    let mut exchanges = BTreeSet::new();
    for said in tries {
        let said = said.await.unwrap();
        match said.status {
            202 => drop(exchanges.insert(said.json["exchange"].as_str().unwrap().to_owned())),
            _ => assert_eq!(said.problem(), (409, "idempotency-key-in-use")),
        }
    }
    assert_eq!(exchanges.len(), 1, "{exchanges:?}");
    let exchange = exchanges.pop_first().unwrap();
    let again = once(program.clone(), "r-1", "A/1").await;
    assert_eq!((&again.json["exchange"], again.header("idempotent-replayed")), (&json!(exchange), Some("true")));
    assert_eq!(once(program.clone(), "r-1", "A/2").await.problem(), (422, "idempotency-key-reused"));
    let other = once(program.clone(), "r-2", "A/2").await;
    assert_ne!(other.json["exchange"], json!(exchange));
    // What was not put is not remembered.
    assert_eq!(once(program.clone(), "r-3", " ").await.problem(), (422, "case"));
    assert_eq!(once(program.clone(), "r-3", "A/3").await.status, 202);
    let count = |program: Arc<Program>| async move {
        program.get("/v1/questions").await.json["questions"].as_array().unwrap().len()
    };
    assert_eq!(count(program.clone()).await, 3);

    // The log remembers it: another run of the node, as after a crash.
    drop((first, program));
    asker.shut_down(true).await.unwrap();
    drop(asker);
    let began = std::time::Instant::now();
    let asker = loop {
        match Node::start(mx.clone(), |_| {}).await {
            Ok(node) => break Arc::new(node),
            Err(error) => assert!(began.elapsed() < Duration::from_secs(20), "{error}"),
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    let second = door(&asker, &mx, |_| {}).await;
    let program = Arc::new(Program::new(&second, &one));
    let again = once(program.clone(), "r-1", "A/1").await;
    assert_eq!((again.status, &again.json["exchange"]), (202, &json!(exchange)), "{}", again.json);
    assert_eq!(once(program.clone(), "r-1", "A/9").await.problem(), (422, "idempotency-key-reused"));
    // Another program's keys are its own.
    let other = Arc::new(Program::new(&second, &key(&mx, &asker, "o-1042", &ALL).await));
    assert_ne!(once(other, "r-1", "A/1").await.json["exchange"], json!(exchange));
    assert_eq!(count(program).await, 4);
    drop(second);
    asker.shut_down(true).await.unwrap();
    holder.shut_down(true).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_that_asks_too_much_is_told_to_come_again() {
    let (_root, mx, asker, _us, holder) = pair(None).await;
    let door = door(&asker, &mx, |config| config.requests_per_minute = 60).await;
    let program = Program::new(&door, &key(&mx, &asker, "o-1042", &ALL).await);
    let mut limited = 0;
    // Six at once and one a second, however slow this machine: ten times as many get no further.
    let began = std::time::Instant::now();
    let allowed = AtomicU64::new(0);
    for _ in 0..60 {
        let said = program.get("/v1/catalogue/vehicle.status/schema").await;
        if said.status == 200 {
            allowed.fetch_add(1, Ordering::Relaxed);
        } else {
            assert_eq!(said.problem(), (429, "rate"));
            assert!(said.header("retry-after").unwrap().parse::<u64>().unwrap() >= 1);
            limited += 1;
        }
    }
    let most = 7 + began.elapsed().as_secs();
    assert!(allowed.load(Ordering::Relaxed) <= most && limited >= 60_u64.saturating_sub(most), "{limited}");
    // Another key has a pace of its own.
    let other = Program::new(&door, &key(&mx, &asker, "o-1042", &ALL).await);
    assert_eq!(other.get("/v1/catalogue").await.status, 200);
    drop(door);
    asker.shut_down(true).await.unwrap();
    holder.shut_down(true).await.unwrap();
}

/// A certificate for `localhost`, and the root that vouches for it: PEM and DER.
fn papers(dir: &NodeDir) -> rustls::pki_types::CertificateDer<'static> {
    let key = rcgen::KeyPair::generate().unwrap();
    let cert = rcgen::CertificateParams::new(vec!["localhost".to_owned()]).unwrap().self_signed(&key).unwrap();
    std::fs::write(dir.path().join("api.cert.pem"), cert.pem()).unwrap();
    std::fs::write(dir.path().join("keys/api.key.pem"), key.serialize_pem()).unwrap();
    cert.der().clone()
}

async fn over_tls(at: SocketAddr, root: rustls::pki_types::CertificateDer<'static>) -> Option<Said> {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(root).unwrap();
    let config = rustls::ClientConfig::builder_with_provider(Arc::new(crate::net::tls::provider()))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let stream = TcpStream::connect(at).await.unwrap();
    let name = ServerName::try_from("localhost").unwrap();
    let stream = tokio_rustls::TlsConnector::from(Arc::new(config)).connect(name, stream).await.ok()?;
    Some(said(&talk(stream, &written("GET", "/v1/openapi.json", &[], None)).await))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_the_agencys_certificate_the_api_speaks_tls_and_takes_a_new_one_while_it_runs() {
    let (_root, mx, asker, _us, holder) = pair(None).await;
    let first = papers(&mx);
    let door = door(&asker, &mx, |config| {
        config.certificate = Some("api.cert.pem".into());
        config.key = Some("keys/api.key.pem".into());
    })
    .await;
    let said = over_tls(door.local_addr(), first.clone()).await.unwrap();
    assert_eq!((said.status, &said.json["openapi"]), (200, &json!("3.1.0")));
    // In the clear nothing is said.
    let request = written("GET", "/v1/openapi.json", &[], None);
    let clear = talk(TcpStream::connect(door.local_addr()).await.unwrap(), &request).await;
    assert!(!clear.starts_with("HTTP"), "{clear}");
    let second = papers(&mx);
    assert!(over_tls(door.local_addr(), second.clone()).await.is_some());
    assert!(over_tls(door.local_addr(), first).await.is_none());
    // Half a change: the former stays.
    std::fs::write(mx.path().join("api.cert.pem"), "no certificate").unwrap();
    assert!(over_tls(door.local_addr(), second).await.is_some());
    let config = ApiConfig {
        certificate: Some("api.cert.pem".into()),
        key: Some("no.pem".into()),
        ..ApiConfig::local(door.local_addr())
    };
    assert!(matches!(Door::open(&config, asker.clone(), &mx, vault()).await, Err(ApiError::Papers(_))));
    drop(door);
    asker.shut_down(true).await.unwrap();
    holder.shut_down(true).await.unwrap();
}
