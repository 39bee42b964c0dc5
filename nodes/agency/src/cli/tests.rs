//! Transcripts: what people type, what they read, how it ends.

mod renewal;

use std::path::{Path, PathBuf};

use serde_json::Value;

use clap::Parser as _;

use super::*;

/// 2026-12-01, within the dates of the samples.
const NOW: Millis = Millis(1_796_083_200_000);
const FEDERATION: &str = include_str!("../../samples/federation.toml");

fn puente(folder: &Path, line: &str) -> Result<Report, Failure> {
    puente_at(folder, line, NOW)
}

fn puente_at(folder: &Path, line: &str, now: Millis) -> Result<Report, Failure> {
    let words = line.split(' ').filter(|w| !w.is_empty()).map(|word| {
        // '_' stands for a blank within a word, '@' for the test's folder.
        word.replace('_', " ").replace('@', &folder.display().to_string())
    });
    run_at(std::iter::once("puente".to_owned()).chain(words), now, puente_model::Lang::En)
}

fn ok(folder: &Path, line: &str) -> Report {
    puente(folder, line).unwrap_or_else(|f| panic!("{line}: {} ({:?})", f.message, f.hint))
}

fn fails(folder: &Path, line: &str) -> Failure {
    let failure = puente(folder, line).err().unwrap_or_else(|| panic!("{line} succeeded"));
    // Whatever fails, programs can read it.
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let exit = output::print(&Err(failure.clone()), puente_model::Lang::En, true, &mut out, &mut err).unwrap();
    let value: Value = serde_json::from_slice(&out).unwrap();
    assert_eq!(value["error"]["code"], failure.code);
    assert!(value["error"]["message"].is_string() && err.is_empty() && exit != Exit::Ok);
    failure
}

/// The sample federation with authorities, keys and nodes of its own, made by the commands alone.
struct World {
    folder: tempfile::TempDir,
}

impl World {
    fn path(&self) -> &Path {
        self.folder.path()
    }

    fn file(&self, name: &str) -> PathBuf {
        self.path().join(name)
    }

    fn new() -> Self {
        Self::of(FEDERATION)
    }

    fn of(federation: &str) -> Self {
        let world = Self { folder: tempfile::tempdir().unwrap() };
        let at = world.path();
        let mut text = federation.to_owned();
        for nation in ["mx", "us"] {
            ok(at, &format!("ca init --jurisdiction {nation} --out @/ca-{nation}"));
            let key = ok(at, &format!("charter keygen --name {nation}-gov-1 --out @/{nation}-gov-1.key"));
            let begin = text.find(&format!("name = \"{nation}-gov-1\"")).unwrap();
            let end = begin + text[begin..].find("\n\n").unwrap();
            let public = key.json["public"].as_str().unwrap();
            text.replace_range(begin..end, &format!("name = \"{nation}-gov-1\"\nkey = \"{public}\""));
        }
        let made = ok(at, "--dir @/n1 node init --uri puente://mx/fge-bc/n1 --role state-prosecutor --ca @/ca-mx");
        let old = text.find("vkey = \"mx/fge-bc/n1/log1").unwrap();
        let end = old + text[old..].find('\n').unwrap();
        text.replace_range(old..end, &format!("vkey = \"{}\"", made.json["vkey"].as_str().unwrap()));
        std::fs::write(world.file("federation.toml"), text).unwrap();
        ok(at, "charter create @/federation.toml --out @/charter");
        for nation in ["mx", "us"] {
            for part in ["common-1".to_owned(), format!("annex-{nation}-1")] {
                ok(at, &format!("charter sign @/charter/{part}.toml --key @/{nation}-gov-1.key"));
            }
        }
        for entry in std::fs::read_dir(world.file("charter")).unwrap() {
            let from = entry.unwrap().path();
            std::fs::copy(&from, world.file("n1/charter").join(from.file_name().unwrap())).unwrap();
        }
        world
    }
}

const ASK: &str = "--dir @/n1 query vehicle.status --to puente://us/tx-dps/n1 --officer o-1042 --case NUC-77";
const LAWFUL: &str = "--purpose vehicle-recovery --basis mx-us-stolen-vehicles-1981";
const VIN: &str = "--vin 1M8GDM9AXKP042788";

#[test]
fn a_federation_is_made_signed_verified_and_shown() {
    let world = World::new();
    let at = world.path();
    let pin = std::fs::read_to_string(world.file("charter/pin")).unwrap();
    let report = ok(at, &format!("charter verify @/charter --pin {}", pin.trim()));
    assert_eq!((report.exit, &report.json["vector"]), (Exit::Ok, &Value::from("1.mx1.us1")));
    assert!(ok(at, "charter show @/charter").text.lines().all(|l| l.chars().count() <= 80));

    let failure = fails(at, &format!("charter verify @/charter --pin {}", "0".repeat(64)));
    assert_eq!((failure.code, failure.exit), ("wrong-pin", Exit::Findings));
    // Signing again with the same key replaces its line; with another nation's key it is refused.
    ok(at, "charter sign @/charter/common-1.toml --key @/mx-gov-1.key");
    ok(at, "charter verify @/charter");
    let failure = fails(at, "charter sign @/charter/common-1.toml --key @/mx-gov-1.key --name us-gov-1");
    assert_eq!(failure.code, "other-key");
    // A changed part no longer verifies.
    let annex = world.file("charter/annex-us-1.toml");
    let text = std::fs::read_to_string(&annex).unwrap().replace("127.0.0.1:7462", "127.0.0.1:7463");
    std::fs::write(&annex, text).unwrap();
    assert_eq!(fails(at, "charter verify @/charter").exit, Exit::Findings);
    // The next version of a part follows the one before it.
    let next = ok(at, "charter propose @/charter/annex-mx-1.toml --out @/next");
    let text = std::fs::read_to_string(world.file("next/annex-mx-2.toml")).unwrap();
    assert!(text.contains("number = 2") && text.contains(next.json["previous"].as_str().unwrap()), "{text}");
}

#[test]
fn a_root_refuses_foreign_names() {
    let folder = tempfile::tempdir().unwrap();
    ok(folder.path(), "ca init --jurisdiction mx --out @/ca");
    let failure = fails(folder.path(), "ca issue --ca @/ca --node puente://us/tx-dps/n1 --out @/keys");
    assert_eq!((failure.code, failure.exit), ("other-nation", Exit::Usage));
    assert!(failure.message.contains("vouches for names of mx only"), "{}", failure.message);
    assert!(failure.hint.unwrap().contains("authority of us"));
    assert!(!folder.path().join("keys").exists());
    let shown = ok(folder.path(), "ca show @/ca/root.cert.pem");
    assert_eq!(shown.json["jurisdiction"], "mx");
}

#[test]
fn an_unknown_configuration_key_is_named_with_its_line_and_mend() {
    let world = World::new();
    let path = world.file("n1/node.toml");
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, format!("{text}catalog_extra = 5\n")).unwrap();
    let failure = fails(world.path(), &format!("{ASK} {LAWFUL} {VIN}"));
    let line = text.lines().count() + 1;
    assert!(failure.message.contains(&format!("node.toml:{line}:1: unknown field `catalog_extra`")), "{failure:?}");
    assert_eq!(failure.hint.as_deref(), Some("did you mean 'catalogue_extra'? Remove the key if not"));
    assert_eq!(failure.exit, Exit::Usage);
    // The same without a question, a lock or a node.
    let report = ok(world.path(), "--dir @/n1 node check");
    assert_eq!((report.exit, &report.json["ok"]), (Exit::Findings, &false.into()), "{}", report.text);
    assert!(report.text.contains(&format!("node.toml:{line}:1")), "{}", report.text);
    std::fs::write(&path, &text).unwrap();
    let report = ok(world.path(), "--dir @/n1 node check --lang es");
    assert_eq!((report.exit, &report.json["ok"]), (Exit::Ok, &true.into()), "{}", report.text);
    assert!(report.text.contains("configuración") && report.text.contains("America/Mexico_City"), "{}", report.text);
    let rule = world.file("n1/policies/outbound.cedar");
    let rules = std::fs::read_to_string(&rule).unwrap();
    std::fs::write(&rule, format!("{rules}\npermit(principal, action, resource);\n")).unwrap();
    let report = ok(world.path(), "--dir @/n1 node check");
    assert_eq!((report.exit, &report.json["ok"]), (Exit::Findings, &false.into()), "{}", report.text);
}

#[test]
fn a_wrong_question_is_refused_before_anything_is_sent() {
    let world = World::new();
    let at = world.path();
    let valid = |f: &Failure| f.details["valid"].as_array().cloned().unwrap_or_default();

    let f = fails(at, &format!("{ASK} --purpose curiosity --basis mx-us-mlat-1987 {VIN}"));
    assert_eq!(f.code, "purpose");
    assert!(f.hint.as_ref().unwrap().contains("vehicle-recovery") && valid(&f).len() == 8, "{f:?}");

    let f = fails(at, &format!("{ASK} --purpose vehicle-recovery --basis mx-us-mlat-1987 {VIN}"));
    assert_eq!((f.code, valid(&f)), ("basis", vec!["mx-us-stolen-vehicles-1981".into(), "mx-lgsnsp-2009".into()]));
    let f = fails(at, &format!("{ASK} --purpose vehicle-recovery --basis no-such-law {VIN}"));
    assert!(f.message.contains("no legal basis 'no-such-law'"), "{f:?}");

    let f =
        fails(at, &ASK.replace("vehicle.status", "vehicle.statu").replace("--case", &format!("{LAWFUL} {VIN} --case")));
    assert!(f.code == "unknown-kind" && f.hint.unwrap().contains("did you mean vehicle.status?"));
    let f = fails(at, &format!("{ASK} {LAWFUL} {VIN}").replace("us/tx-dps", "us/tx-dpx"));
    assert!(f.code == "holder" && f.hint.unwrap().contains("did you mean puente://us/tx-dps/n1?"));
    let f = fails(at, &format!("{ASK} {LAWFUL} {VIN}").replace("us/tx-dps", "mx/fgr"));
    assert!(f.message.contains("suspended"), "{f:?}");

    let f = fails(at, &format!("{ASK} {LAWFUL} --vin 1M8GDM9A0KP042788"));
    assert_eq!((f.code, f.exit), ("malformed", Exit::Usage));
    assert_eq!(f.details[0]["code"], "check-digit");
    assert!(f.message.contains("nothing was sent") && !f.message.contains("1M8GDM"), "{f:?}");
    let f = fails(at, &format!("{ASK} {LAWFUL} --vin 1M8GDM9A0KP042788 --lang es"));
    assert!(f.message.contains("no se envió nada") && f.message.contains("dígito verificador"), "{f:?}");
    let f = fails(at, &format!("{ASK} {LAWFUL} {VIN} --param color=red"));
    assert_eq!(f.details[0]["code"], "unknown-column");

    let f = fails(at, &format!("{ASK} {LAWFUL} {VIN} --step 2"));
    assert!(f.code == "step" && f.hint.unwrap().contains("--confirms"));
    let f = fails(at, &format!("{ASK} {LAWFUL} {VIN} --step 3"));
    assert_eq!(f.code, "no-such-step");
    assert_eq!(fails(at, &format!("{ASK} {LAWFUL} {VIN} --due 8d")).code, "due");
    assert_eq!(fails(at, &format!("{ASK} {LAWFUL} {VIN} --urgent _")).code, "urgent");
    assert_eq!(fails(at, &format!("{ASK} {LAWFUL} {VIN} --handling H9")).code, "usage");
}

#[test]
fn an_officer_may_not_ask_before_the_log_knows() {
    let world = World::new();
    let at = world.path();
    let question = format!("{ASK} {LAWFUL} {VIN}");
    assert!(fails(at, &question).message.contains("no officer has this id"));
    let add = "--dir @/n1 officer add o-1042 --name Ana_Ruiz --role investigator --expires 2099-12-31";
    assert_eq!(ok(at, add).json["recorded"], false);
    assert_eq!(ok(at, "--dir @/n1 officer list").json["officers"][0]["state"], "pending");
    let f = fails(at, &question);
    assert!(f.code == "officer" && f.message.contains("does not stand in the log yet"), "{f:?}");
    assert_eq!(fails(at, add).code, "exists");
    assert_eq!(fails(at, &add.replace("2099-12-31", "31/12/2099")).code, "date");
    assert!(fails(at, &add.replace("investigator", "boss")).message.contains("prosecutor"));
    assert_eq!(fails(at, "--dir @/n1 officer revoke o-7").code, "unknown-officer");

    // Once it stands in the log, only the node is missing.
    let dir = NodeDir::new(world.file("n1"));
    let mut book = crate::officers::OfficerBook::open(&dir).unwrap();
    let grant = book.changes(NOW).remove(0);
    book.recorded(&grant).unwrap();
    let f = fails(at, &question);
    assert_eq!((f.code, f.exit), ("not-running", Exit::Unreachable));
    // What would leave can be looked at all the same: nobody is asked, here or elsewhere.
    let dry = ok(at, &format!("{question} --dry-run --due 2h --lang es"));
    assert_eq!(
        (&dry.json["clear"]["purpose"], &dry.json["sealed"]["case"]),
        (&"vehicle-recovery".into(), &"NUC-77".into())
    );
    let (clear, sealed) = dry.text.split_once("\n\n").unwrap();
    assert!(clear.trim_start().contains("finalidad") && clear.contains("mx-us-stolen-vehicles-1981"), "{clear}");
    // On 2026-12-01 at 00:00 UTC it is still November on both sides.
    assert!(
        clear.contains("2026-12-01 02:00 UTC") && clear.contains("America/Mexico_City") && clear.contains("-06:00")
    );
    assert!(
        clear.contains("2026-11-30 21:00") && clear.contains("America/New_York") && clear.contains("-05:00"),
        "{clear}"
    );
    for secret in ["NUC-77", "o-1042", "Ana Ruiz", "1M8GDM9AXKP042788"] {
        assert!(!clear.contains(secret) && sealed.contains(secret), "{secret}: {}", dry.text);
    }
    let f = fails(at, "--dir @/n1 node status");
    assert_eq!((f.code, f.exit), ("not-running", Exit::Unreachable));
    assert_eq!(fails(at, "--dir @/nowhere node status").code, "no-node");
    assert_eq!(fails(at, "--dir @/n1 log show").code, "empty-log");
}

#[test]
fn everybodys_access_ends_at_once_and_once() {
    let world = World::new();
    let at = world.path();
    for id in ["o-1", "o-2"] {
        ok(at, &format!("--dir @/n1 officer add {id} --name Ana_Ruiz --role investigator --expires 2099-12-31"));
    }
    let dir = NodeDir::new(world.file("n1"));
    let mut book = crate::officers::OfficerBook::open(&dir).unwrap();
    let granted = book.changes(NOW).remove(0);
    book.recorded(&granted).unwrap();
    ok(at, "--dir @/n1 api-key add --officer o-1 --scope ask --program case_files");

    for bad in ["", "o-1 --all --reason x", "--all", "o-1 --reason x"] {
        assert_eq!(fails(at, &format!("--dir @/n1 officer revoke {bad}")).code, "usage", "{bad}");
    }
    assert_eq!(fails(at, "--dir @/n1 officer revoke --all --reason _").code, "no-reason");
    assert_eq!(ok(at, "--dir @/n1 officer list").json["officers"][0]["state"], "active", "nothing was half done");

    let all = "--dir @/n1 officer revoke --all --reason another_government";
    let ended = ok(at, all);
    assert_eq!(ended.json["officers"], serde_json::json!(["o-1", "o-2"]));
    assert_eq!((ended.json["api_keys"].as_array().unwrap().len(), &ended.json["pending"]), (1, &2.into()));
    assert!(ended.text.starts_with("o-1\no-2\n") && ended.hints.iter().any(|hint| hint.contains("officer add")));
    let list = ok(at, "--dir @/n1 officer list").json;
    assert!(list["officers"].as_array().unwrap().iter().all(|officer| officer["state"] == "revoked"), "{list}");
    assert_eq!(ok(at, "--dir @/n1 api-key list").json["keys"][0]["state"], "revoked");
    let again = ok(at, all).json;
    assert_eq!((&again["officers"], &again["api_keys"]), (&serde_json::json!([]), &serde_json::json!([])));
    assert_eq!(again["pending"], 2, "what a node that starts will record is the same");
    let changes = crate::officers::OfficerBook::open(&dir).unwrap().changes(NOW);
    let entry = String::from_utf8(changes[0].event().detail).unwrap();
    assert!(entry.contains("\"revoked_for\":\"another government\""), "{entry}");
}

#[test]
fn an_import_names_bad_rows_and_stages_good_ones() {
    let world = World::new();
    let at = world.path();
    let header = "vin,plate,plate_jurisdiction,status,entering_agency\n";
    let good = "1M8GDM9AXKP042788,ABC1234,US-TX,stolen,mx/fge-bc\n";
    std::fs::write(world.file("v.csv"), format!("{header}{good}1M8GDM9A0KP042788,,,stolen,mx/fge-bc\n")).unwrap();
    let report = ok(at, "--dir @/n1 import @/v.csv --type Vehicle --errors @/e.csv --authority REPUVE");
    assert_eq!(report.exit, Exit::Findings);
    assert_eq!((&report.json["accepted"], &report.json["rejected"]), (&Value::from(1), &Value::from(1)));
    assert_eq!(report.json["collect"]["state"], "staged");
    assert_eq!((&report.json["errors"][0]["line"], &report.json["errors"][0]["column"]), (&3.into(), &"vin".into()));
    let errors = std::fs::read_to_string(world.file("e.csv")).unwrap();
    assert!(errors.lines().nth(1).unwrap().starts_with("3,vin,check-digit,rejected,"), "{errors}");
    // Record before reveal: staged records are in no store.
    assert_eq!(crate::import::stage::Folder::new(&world.file("n1/imports")).pending().unwrap().len(), 1);
    let dir = NodeDir::new(world.file("n1"));
    let stored = crate::records::RecordStore::open(&dir).unwrap().counts().unwrap();
    assert!(stored.is_empty(), "{stored:?}");

    let report = ok(at, "--dir @/n1 import @/v.csv --type Vehicle --override vin=read_twice --dry-run");
    assert_eq!((report.exit, &report.json["overridden"]), (Exit::Ok, &Value::from(1)));
    assert_eq!(crate::import::stage::Folder::new(&world.file("n1/imports")).pending().unwrap().len(), 1);

    let f = fails(at, "--dir @/n1 import @/v.csv --type Vehicel");
    assert!(f.code == "unknown-type" && f.hint.unwrap().contains("did you mean Vehicle?"));
    std::fs::write(world.file("u.csv"), "vin,plaet\n1,2\n").unwrap();
    let f = fails(at, "--dir @/n1 import @/u.csv --type Vehicle");
    assert!(f.code == "unknown-column" && f.hint.unwrap().contains("did you mean 'plate'"));
    assert_eq!(fails(at, "--dir @/n1 import @/none.csv --type Vehicle").code, "not-found");
    assert_eq!(fails(at, "--dir @/n1 import @/v --type Vehicle").code, "format");
    assert_eq!(fails(at, "--dir @/n1 import @/v.csv --type Vehicle --override mood=red").code, "override");
    let mut left: Vec<_> = std::fs::read_dir(world.file("n1/imports")).unwrap().map(|e| e.unwrap().path()).collect();
    left.sort();
    let endings: Vec<_> = left.iter().map(|p| p.extension().unwrap_or_default().to_string_lossy()).collect();
    assert_eq!(endings, ["problems", "staged", ""], "what failed leaves nothing behind: {left:?}");
    // The same file again: it is known, and what there is to say about it is said again.
    let report = ok(at, "--dir @/n1 import @/v.csv --type Vehicle --errors @/e2.csv --lang es");
    assert_eq!((&report.json["before"]["accepted"], &report.json["batches_in_already"]), (&1.into(), &1.into()));
    assert_eq!(std::fs::read_to_string(world.file("e2.csv")).unwrap(), errors);
    assert!(report.text.contains("2 filas: 1 aceptadas, 1 rechazadas") && report.text.contains("no entró nada nuevo"));
}

/// Whatever arrives where the peers are said to be: a socket of each kind under one number.
struct Ears {
    udp: std::net::UdpSocket,
    tcp: std::net::TcpListener,
}

impl Ears {
    fn new() -> Self {
        let pair = (0..100).find_map(|_| {
            let tcp = std::net::TcpListener::bind("127.0.0.1:0").ok()?;
            let udp = std::net::UdpSocket::bind(tcp.local_addr().ok()?).ok()?;
            Some(Self { udp, tcp })
        });
        let ears = pair.expect("a number that is free for both");
        ears.udp.set_nonblocking(true).unwrap();
        ears.tcp.set_nonblocking(true).unwrap();
        ears
    }

    fn hear_nothing(&self) -> bool {
        let nothing = |kind: std::io::ErrorKind| kind == std::io::ErrorKind::WouldBlock;
        self.udp.recv(&mut [0; 2_048]).is_err_and(|error| nothing(error.kind()))
            && self.tcp.accept().is_err_and(|error| nothing(error.kind()))
    }
}

#[test]
fn explaining_contacts_nobody() {
    let ears = Ears::new();
    let address = ears.tcp.local_addr().unwrap().to_string();
    let listening = FEDERATION
        .lines()
        .map(
            |line| if line.starts_with("endpoints") { format!("endpoints = [\"{address}\"]") } else { line.to_owned() },
        )
        .collect::<Vec<_>>()
        .join("\n");
    assert!(listening.matches(&address).count() >= 2, "every member is where the test listens");
    let world = World::of(&listening);
    let at = world.path();
    let add = "--dir @/n1 officer add o-1042 --name Ana_Ruiz --role investigator --expires 2099-12-31";
    assert!(ok(at, add).json.is_object());
    let dir = NodeDir::new(world.file("n1"));
    let mut book = crate::officers::OfficerBook::open(&dir).unwrap();
    let grant = book.changes(NOW).remove(0);
    book.recorded(&grant).unwrap();
    let explain = ASK.replace("query", "policy explain");
    for more in ["", "--inbound", "--step 2 --facts seen", "--training"] {
        ok(at, &format!("{explain} {LAWFUL} {VIN} {more}"));
        assert!(ears.hear_nothing(), "explain {more}");
    }
    ok(at, &format!("{ASK} {LAWFUL} {VIN} --dry-run"));
    assert!(ears.hear_nothing(), "--dry-run");
    // The ears do hear: they would have told.
    std::net::UdpSocket::bind("127.0.0.1:0").unwrap().send_to(b"a", &address).unwrap();
    std::net::TcpStream::connect(&address).unwrap();
    let end = std::time::Instant::now() + std::time::Duration::from_secs(10);
    while ears.udp.peek(&mut [0; 1]).is_err() || ears.hear_nothing() {
        assert!(std::time::Instant::now() < end, "what is sent to them arrives");
    }
    // Nor is there anything that was recorded.
    assert!(!world.file("n1/log/checkpoint").exists());
}

#[test]
fn policies_are_checked_tested_and_explained() {
    let world = World::new();
    let at = world.path();
    assert_eq!(ok(at, "--dir @/n1 policy check").json["ok"], true);
    let tested = ok(at, "--dir @/n1 policy test");
    assert_eq!((tested.exit, &tested.json["failed"]), (Exit::Ok, &Value::from(0)), "{}", tested.text);

    let explain = ASK.replace("query", "policy explain --role investigator");
    let report = ok(at, &format!("{explain} {LAWFUL}"));
    assert_eq!(
        (report.exit, &report.json["verdict"]["verdict"]),
        (Exit::Ok, &Value::from("permit")),
        "{}",
        report.text
    );
    let report = ok(at, &format!("{explain} {LAWFUL} --lang es").replace("investigator", "observer"));
    assert_eq!(report.exit, Exit::Findings);
    assert!(
        report.text.starts_with("rechazado") && report.text.lines().all(|l| l.chars().count() <= 80),
        "{}",
        report.text
    );
    assert!(!report.json["alternatives"].as_array().unwrap().is_empty());

    // What it would tell whom, and what it would take: by the same words as a dry run, down to the bytes.
    let report = ok(at, &format!("{explain} {LAWFUL} {VIN}"));
    let (leakage, cost) = (&report.json["leakage"], &report.json["cost"]);
    assert_eq!(leakage["question"]["clear"]["purpose"], "vehicle-recovery");
    assert_eq!(leakage["question"]["sealed"]["params"]["vin"], "1M8GDM9AXKP042788");
    assert_eq!(leakage["question"]["hashed"].as_array().unwrap().len(), 4);
    let steps = leakage["answer"]["steps"].as_array().unwrap();
    assert!(steps[0]["fields"].as_array().unwrap().is_empty() && !steps[1]["fields"].as_array().unwrap().is_empty());
    assert!(steps[1]["masked"].as_array().unwrap().contains(&"owner_name".into()), "{}", steps[1]);
    assert_eq!((&cost["params"], &cost["answers"][0]["outcome"]), (&"given".into(), &"NO_HIT".into()), "{cost}");
    assert_eq!((&cost["answers"][0]["asker"]["entries"], &cost["answers"][0]["round_trips"]), (&2.into(), &1.into()));
    let bytes = |report: &Report, by: &str| report.json["cost"]["answers"][1][by]["bytes_sent"].as_u64().unwrap();
    let longer = ok(at, &format!("{explain}-as-the-file-is-called {LAWFUL} {VIN}"));
    // A case reference that is longer goes to the other side, and nowhere else.
    assert!(bytes(&longer, "asker") > bytes(&report, "asker") && bytes(&longer, "holder") == bytes(&report, "holder"));
    let core = ok(at, &format!("{explain} {LAWFUL} {VIN} --step 2 --facts seen_at_the_crossing --lang es"));
    assert_eq!(core.json["cost"]["answers"][1]["outcome"], "CORE_DATA", "{}", core.json["cost"]);
    assert_eq!(core.json["cost"]["answers"][1]["round_trips"], 2);
    assert!(
        core.text.contains("lo que cuesta:") && core.text.lines().all(|l| l.chars().count() <= 80),
        "{}",
        core.text
    );
    // As the agency that is asked, the own rules say what is shown and what is masked.
    let inbound = ok(at, &format!("{explain} {LAWFUL} {VIN} --inbound"));
    assert_eq!(inbound.json["leakage"]["answer"]["decided_by"], "own-rules");
    // What is refused here leaves nothing but an entry in the own log.
    let refused = ok(at, &format!("{explain} {LAWFUL} {VIN}").replace("investigator", "observer"));
    assert_eq!(
        (&refused.json["leakage"]["leaves"], &refused.json["leakage"]["question"]),
        (&false.into(), &Value::Null)
    );
    let alone = &refused.json["cost"]["answers"][0];
    assert_eq!((&alone["asker"]["entries"], &alone["holder"]["entries"]), (&1.into(), &0.into()), "{alone}");
    assert!(alone["frames"].as_array().unwrap().is_empty());

    std::fs::write(world.file("n1/policies/more.cedar"), "permit (principal, action, resource) when { context.mood };")
        .unwrap();
    let f = fails(at, "--dir @/n1 policy check");
    assert_eq!((f.code, f.exit), ("policy", Exit::Findings));
    assert_eq!(f.details[0]["file"], "more.cedar");
    assert!(f.details[0]["line"].is_u64() && f.details[0]["mend"].is_string());
}

#[test]
fn the_command_line_itself_fails_well() {
    let folder = tempfile::tempdir().unwrap();
    let f = fails(folder.path(), "imprt x");
    assert_eq!((f.code, f.exit), ("usage", Exit::Usage));
    assert!(f.message.contains("imprt") && !f.message.starts_with("error:"), "{f:?}");
    assert!(fails(folder.path(), "ca init --jurisdiction mexico --out @/x").message.contains("two lower-case letters"));
    let help = ok(folder.path(), "--help");
    assert!(help.text.contains("Exit codes:") && help.text.contains("could not be reached"));
    assert!(ok(folder.path(), "--version").text.contains(env!("CARGO_PKG_VERSION")));
    for shell in ["bash", "zsh", "fish"] {
        let report = ok(folder.path(), &format!("completions {shell}"));
        assert!(report.text.contains("query") && report.text.contains("import"), "{shell}");
    }
}

#[test]
fn answers_and_refusals_read_well_in_80_columns() {
    use crate::control_api::{Concluded, DisclosedField, Explained};
    let world = World::new();
    let bearings = crate::load::Bearings::load(&NodeDir::new(world.file("n1"))).unwrap();
    for lang in [Lang::En, Lang::Es] {
        let context = Context {
            dir: NodeDir::new(world.file("n1")),
            lang,
            json: false,
            now: NOW,
            vault: std::sync::Arc::new(crate::keys::Vault::new(crate::keys::PassphraseSource::Ask)),
        };
        let line = format!("puente {ASK} {LAWFUL} {VIN}");
        let Command::Query(args) = Cli::try_parse_from(line.split(' ')).unwrap().command else { panic!() };
        let args = args.question.unwrap();
        let basics = query::Basics::parse(&context, &bearings, &args).unwrap();
        let about = conclusion::About { kind: basics.kind, to: args.to.as_ref().unwrap(), training: false };
        let field = |path: &str, value: &str| DisclosedField { path: path.to_owned(), value: value.to_owned() };
        let explained = Explained {
            rule: "bar-plate-reads".to_owned(),
            text_en: "a statute bars it ".repeat(20),
            text_es: "una ley lo impide ".repeat(20),
            fields: vec![],
            appeal_en: "write to the agency's oversight office".to_owned(),
            appeal_es: "escriba al órgano de control de la institución".to_owned(),
        };
        let answered = Concluded::Answered {
            exchange: "0".repeat(32),
            outcome: "CORE_DATA".to_owned(),
            handling: "H1".to_owned(),
            fields: vec![
                field("000/vehicle/vin", "1M8GDM9AXKP042788"),
                field("000/vehicle/status", "stolen"),
                field("001/vehicle/remarks", "\u{1b}[2Jevil"),
            ],
            obligations: vec!["confirm-before-seizure".to_owned()],
            explanation: None,
            answer_leaf: "a".repeat(64),
            query_leaf: "b".repeat(64),
        };
        let report = conclusion::report(lang, &bearings, &about, &answered).unwrap();
        assert!(report.text.contains("1M8GDM9AXKP042788") && !report.text.contains('\u{1b}'), "{}", report.text);
        assert!(report.text.contains(if lang == Lang::Es { "NIV" } else { "VIN" }), "{}", report.text);
        assert!(report.text.lines().all(|l| l.chars().count() <= 80), "{}", report.text);
        assert_eq!(report.json["fields"][0]["field"], "vin");

        let refused = Concluded::Refused { exchange: None, reason: "statutory-bar".to_owned(), explanation: explained };
        let report = conclusion::report(lang, &bearings, &about, &refused).unwrap();
        let words = if lang == Lang::Es { "una ley lo impide" } else { "a statute bars it" };
        let appeal = if lang == Lang::Es { "escriba al órgano" } else { "write to the agency's" };
        assert!(report.text.contains(appeal), "{}", report.text);
        assert!(
            report.exit == Exit::Findings && report.text.contains(words) && report.text.contains("bar-plate-reads")
        );
        assert!(report.text.lines().all(|l| l.chars().count() <= 80), "{}", report.text);

        let late = Concluded::TimedOut { exchange: "0".repeat(32) };
        let failure = conclusion::report(lang, &bearings, &about, &late).unwrap_err();
        assert_eq!((failure.code, failure.exit), ("timed-out", Exit::Unreachable));
        let failure = conclusion::report(lang, &bearings, &about, &Concluded::LogUnavailable).unwrap_err();
        assert_eq!(failure.exit, Exit::Unavailable);
    }
}

#[test]
fn nobody_is_asked_for_the_passphrase_of_what_is_no_backup() {
    let world = World::new();
    std::fs::write(world.file("notes.txt"), "no backup").unwrap();
    let failure = puente_at(world.path(), "--dir @/new restore --check @/notes.txt", NOW).unwrap_err();
    assert_eq!(failure.code, "not-a-backup", "{failure:?}");
    assert!(failure.hint.is_some() && !world.file("new").exists());
}
