//! Two whole nodes in one process: real folders, real sockets, the real engine.

mod records;

use std::collections::BTreeMap;
use std::path::Path;

use ed25519_dalek::SigningKey;
use puente_audit_log::Signer as _;
use puente_charter::{
    AnnexPart, AnnexPin, Auditor, CommonPart, GovernanceKey, JurisdictionEntry, LegalBasis, LogEntry, Member,
    OfficerRecord, Part, SealKey, quarter_of, sign,
};
use puente_exchange::api::LocalEvent;
use puente_model::{Digest, Handling, Purpose, Role, Secret32, Step, Urgency};

use super::*;
use crate::ca::{self, Algorithm};
use crate::init::{self, Plan};
use crate::officers::OfficerBook;
use crate::ops::check::State;
use crate::records::{NewRecord, RecordStore};
use crate::signer::LogSigner;

pub(crate) const MX: &str = "puente://mx/fge-bc/n1";
pub(crate) const US: &str = "puente://us/tx-dps/n1";
pub(crate) const VIN: &str = "1M8GDM9AXKP042788";
pub(super) const DAY: u64 = 86_400_000;

pub(super) fn key(name: &str) -> SigningKey {
    SigningKey::from_bytes(&Digest::of(name.as_bytes()).0)
}

fn annex(nation: &str, uri: &str, role: &str, made: &init::Made) -> AnnexPart {
    AnnexPart {
        federation: "frontera".to_owned(),
        jurisdiction: nation.parse().unwrap(),
        number: 1,
        previous: None,
        common: 1,
        members: vec![Member {
            uri: uri.parse().unwrap(),
            name_en: "Agency".to_owned(),
            name_es: "Agencia".to_owned(),
            roles: vec![role.to_owned()],
            endpoints: vec![made.endpoint.clone()],
            suspended: false,
            suspended_reason: None,
            logs: vec![LogEntry {
                origin: made.origin.clone(),
                vkey: made.vkey.clone(),
                closed_at: None,
                first_head: None,
            }],
        }],
    }
}

fn auditors(nation: &str) -> Vec<Auditor> {
    ["a", "b"]
        .map(|letter| {
            let name = format!("{nation}-auditor-{letter}");
            let origin = format!("{nation}/{name}/n1/log1");
            let seed = Secret32::new(Digest::of(name.as_bytes()).0);
            let signer = LogSigner::new(&origin, &seed).unwrap();
            let quarters = [quarter_of(now()), quarter_of(now().plus(92 * DAY))];
            let seal_keys = quarters.map(|quarter| SealKey {
                quarter: quarter.parse().unwrap(),
                key: Digest::of(format!("{name} {quarter}").as_bytes()).0,
            });
            Auditor {
                name,
                jurisdiction: nation.parse().unwrap(),
                origin: origin.parse().unwrap(),
                vkey: signer.verifier().to_string(),
                seal_keys: seal_keys.into(),
            }
        })
        .into()
}

/// Writes the charter of both nodes into both folders.
fn found(root: &Path, nodes: &[(&NodeDir, AnnexPart)], expires: Millis) {
    let nation = |annex: &AnnexPart| {
        let code = annex.jurisdiction.as_str().to_owned();
        let pem = std::fs::read(root.join(format!("ca-{code}/root.cert.pem"))).unwrap();
        let (_, pem) = x509_parser::pem::parse_x509_pem(&pem).unwrap();
        JurisdictionEntry {
            code: annex.jurisdiction.clone(),
            name_en: code.clone(),
            name_es: code.clone(),
            threshold: 1,
            ca_roots: vec![pem.contents],
            annex: AnnexPin { number: 1, hash: annex.hash() },
            governance_keys: vec![GovernanceKey {
                key: key(&code).verifying_key().to_bytes(),
                name: format!("{code}-gov"),
            }],
        }
    };
    let codes: Vec<_> = nodes.iter().map(|(_, annex)| annex.jurisdiction.clone()).collect();
    let common = CommonPart {
        federation: "frontera".to_owned(),
        number: 1,
        previous: None,
        valid_from: Millis(now().0 - 30 * DAY),
        expires,
        grace_days: 14,
        cosign_bound_hours: 72,
        audit_hold_days: 365,
        period_minutes: 60,
        catalogue: crate::load::catalogue(None).unwrap().digest(),
        sensitive_kinds: vec![],
        quorum: "none".to_owned(),
        jurisdictions: nodes.iter().map(|(_, annex)| nation(annex)).collect(),
        legal_bases: ["mx-us-stolen-vehicles-1981", "mx-lgsnsp-2009", "us-state-law"]
            .map(|id| LegalBasis {
                id: id.parse().unwrap(),
                title_en: id.to_owned(),
                title_es: id.to_owned(),
                purposes: vec![Purpose::VehicleRecovery],
                jurisdictions: codes.clone(),
                expires: now().plus(300 * DAY),
            })
            .into(),
        auditors: codes.iter().flat_map(|code| auditors(code.as_str())).collect(),
        witnesses: vec![],
        witness_groups: vec![],
        corridors: vec![],
    };
    let line = |hash: &Digest, code: &str| format!("{}\n", sign(hash, &key(code), &format!("{code}-gov")));
    for (dir, _) in nodes {
        let write = |name: &str, text: String| std::fs::write(dir.charter().join(name), text).unwrap();
        write("common-1.toml", common.to_toml().unwrap());
        write("common-1.toml.sig", codes.iter().map(|code| line(&common.hash(), code.as_str())).collect());
        for (_, annex) in nodes {
            let code = annex.jurisdiction.as_str();
            write(&format!("annex-{code}-1.toml"), annex.to_toml().unwrap());
            write(&format!("annex-{code}-1.toml.sig"), line(&annex.hash(), code));
        }
        write("pin", common.hash().to_string());
    }
}

/// Two folders that are ready to run.
pub(crate) fn federation() -> (tempfile::TempDir, NodeDir, NodeDir) {
    federation_until(now().plus(200 * DAY), &|_| None)
}

/// The same, under a charter that ends at `expires` and has fourteen days of grace; `endpoint` says under which address
/// peers find the node that listens at one, if not there.
pub(super) fn federation_until(
    expires: Millis,
    endpoint: &dyn Fn(std::net::SocketAddr) -> Option<String>,
) -> (tempfile::TempDir, NodeDir, NodeDir) {
    let root = tempfile::tempdir().unwrap();
    let make = |nation: &str, uri: &str, role: &str| {
        let authority = root.path().join(format!("ca-{nation}"));
        ca::init(&nation.parse().unwrap(), &authority, Algorithm::P256, 365, now()).unwrap();
        let dir = NodeDir::new(root.path().join(nation));
        let free = crate::net::test::free_address();
        let plan = Plan {
            uri: uri.parse().unwrap(),
            listen: free,
            endpoint: endpoint(free),
            name_en: None,
            name_es: None,
            roles: vec![role.to_owned()],
            ca: Some(authority),
            charter: None,
        };
        let made = init::init(&dir, &plan, now()).unwrap();
        let annex = annex(nation, uri, role, &made);
        std::fs::remove_dir_all(dir.policies()).unwrap();
        std::fs::create_dir(dir.policies()).unwrap();
        std::fs::write(dir.policies().join("all.cedar"), POLICY).unwrap();
        (dir, annex)
    };
    let (mx, mx_annex) = make("mx", MX, "state-prosecutor");
    let (us, us_annex) = make("us", US, "state-police");
    found(root.path(), &[(&mx, mx_annex), (&us, us_annex)], expires);
    (root, mx, us)
}

const POLICY: &str = r#"
@id("ask") @expires("2090-01-01")
permit (principal, action == Action::"ask", resource == Kind::"vehicle.status");
@id("answer") @expires("2090-01-01") @fields("")
permit (principal, action == Action::"answer", resource == Kind::"vehicle.status");
"#;

pub(crate) fn enlist(dir: &NodeDir) {
    let mut book = OfficerBook::open(dir).unwrap();
    let officer = OfficerRecord {
        id: "o-1042".parse().unwrap(),
        name: "Agente 1042".to_owned(),
        role: Role::Investigator,
        granted: Millis(now().0 - DAY),
        expires: now().plus(DAY),
        revoked: None,
        revoked_for: String::new(),
        emergency: String::new(),
        review: String::new(),
    };
    book.add(officer).unwrap();
}

pub(crate) fn keep_vehicle(dir: &NodeDir) {
    let catalogue = crate::load::catalogue(None).unwrap();
    let vehicles = catalogue.record_type("Vehicle").unwrap();
    let cells = [("vin", VIN), ("status", "stolen"), ("entering_agency", "us/tx-dps")];
    let cells: BTreeMap<String, String> = cells.map(|(k, v)| (k.to_owned(), v.to_owned())).into();
    let row = vehicles.parse_row(&cells).unwrap();
    let found = vehicles.match_keys_of(&row.record).unwrap();
    let keys = found.iter().map(|key| (key.name.clone(), key.value.clone())).collect();
    let record = NewRecord { record_type: "Vehicle".into(), bytes: row.record.into_bytes(), keys };
    RecordStore::open(dir).unwrap().insert(&[record]).unwrap();
}

pub(super) fn question(officer: &str) -> Command {
    Command::Query(Box::new(Question {
        to: US.parse().unwrap(),
        kind: "vehicle.status".parse().unwrap(),
        step: Step::ALL[0],
        purpose: Purpose::VehicleRecovery,
        basis: "mx-us-stolen-vehicles-1981".parse().unwrap(),
        handling: Handling::ALL[Handling::ALL.len() - 1],
        officer: officer.parse().unwrap(),
        case_ref: "FGEBC/7".to_owned(),
        params: BTreeMap::from([("vin".to_owned(), VIN.to_owned())]),
        due_in_millis: 20_000,
        urgency: Urgency::Routine,
        justification: String::new(),
        facts_statement: String::new(),
        offence: String::new(),
        confirms: None,
        training: false,
        stays: false,
    }))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_brought_in_for_training_answers_there_and_nowhere_else() {
    let (_root, mx, us) = federation();
    enlist(&mx);
    // While no node runs: it is recorded, marked, and stored when the node starts.
    let file = us.path().join("invented.csv");
    std::fs::write(&file, format!("vin,status,entering_agency\n{VIN},stolen,us/tx-dps\n")).unwrap();
    let words = ["puente", "--dir", us.path().to_str().unwrap(), "import", file.to_str().unwrap()];
    let words: Vec<String> = words.into_iter().chain(["--type", "Vehicle", "--training"]).map(str::to_owned).collect();
    let report = tokio::task::spawn_blocking(move || crate::cli::run(words)).await.unwrap().unwrap();
    assert_eq!((&report.json["accepted"], &report.json["training"]), (&1.into(), &true.into()));
    let holder = Node::start(us.clone(), |_| {}).await.unwrap();
    let asker = Node::start(mx.clone(), |_| {}).await.unwrap();
    for (training, expected) in [(true, "HIT_UNCONFIRMED"), (false, "NO_HIT")] {
        let Command::Query(mut asked) = question("o-1042") else { panic!() };
        asked.training = training;
        match asker.carry_out(Command::Query(asked)).await {
            Answer::Concluded(concluded) => match *concluded {
                Concluded::Answered { outcome, .. } => assert_eq!(outcome, expected, "training: {training}"),
                other => panic!("{other:?}"),
            },
            other => panic!("{other:?}"),
        }
    }
    let Answer::Questions { questions } = asker.carry_out(Command::Questions(Default::default())).await else {
        panic!()
    };
    let mut marked: Vec<_> = questions.iter().map(|q| (q.training, q.outcome.clone().unwrap())).collect();
    marked.sort();
    assert_eq!(marked, [(false, "NO_HIT".to_owned()), (true, "HIT_UNCONFIRMED".to_owned())]);
    asker.shut_down(false).await.unwrap();
    holder.shut_down(true).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_question_is_answered_between_two_whole_nodes() {
    let (_root, mx, us) = federation();
    enlist(&mx);
    keep_vehicle(&us);
    let holder = Node::start(us.clone(), |_| {}).await.unwrap();
    let asker = Node::start(mx.clone(), |_| {}).await.unwrap();
    assert_eq!(asker.ready()["node"], MX);

    let unknown = asker.carry_out(question("o-9")).await;
    assert!(matches!(unknown, Answer::Error { code, .. } if code == "officer"));
    match asker.carry_out(question("o-1042")).await {
        Answer::Concluded(concluded) => match *concluded {
            Concluded::Answered { outcome, .. } => assert_eq!(outcome, "HIT_UNCONFIRMED"),
            other => panic!("{other:?}"),
        },
        other => panic!("{other:?}"),
    }
    let status = asker.status().await;
    assert_eq!(status["peers"][0]["connections"], 1, "{status}");
    assert!(status["problems"].as_array().unwrap().is_empty(), "{status}");
    assert!(
        !status.to_string().contains("o-1042")
            && !status.to_string().contains("Agente")
            && !status.to_string().contains(VIN)
    );

    asker.shut_down(false).await.unwrap();
    holder.shut_down(true).await.unwrap();
    assert!(matches!(asker.carry_out(question("o-1042")).await, Answer::Error { code, .. } if code == "stopping"));
    drop((asker, holder));
    let again = Node::start(mx, |_| {}).await.unwrap();
    assert!(again.status().await["log"]["size"].as_u64().unwrap() > 4);
    again.shut_down(true).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_missing_stops_the_start_by_name() {
    let (_root, mx, _us) = federation();
    let cert = std::fs::read(mx.tls_cert()).unwrap();
    std::fs::remove_file(mx.tls_cert()).unwrap();
    let error = Node::start(mx.clone(), |_| {}).await.unwrap_err();
    assert_eq!(error.code(), "key", "{error}");
    std::fs::write(mx.tls_cert(), b"no certificate").unwrap();
    assert_eq!(Node::start(mx.clone(), |_| {}).await.unwrap_err().code(), "certificate");
    std::fs::write(mx.tls_cert(), cert).unwrap();
    std::fs::write(mx.charter_pin(), Digest::default().to_string()).unwrap();
    assert_eq!(Node::start(mx.clone(), |_| {}).await.unwrap_err().code(), "wrong-pin");
}

/// A disk that stops answering, as a dead network share does.
#[derive(Debug, Default)]
struct Hanging {
    hangs: std::sync::Mutex<bool>,
    goes_on: std::sync::Condvar,
}

impl Hanging {
    fn set(&self, hangs: bool) {
        *self.hangs.lock().unwrap() = hangs;
        self.goes_on.notify_all();
    }
}

impl crate::disk::Disk for Hanging {
    fn sync(&self, at: crate::disk::Site, handle: &crate::disk::Handle) -> io::Result<()> {
        if at == crate::disk::site::JOURNAL_APPEND_SYNC {
            drop(self.goes_on.wait_while(self.hangs.lock().unwrap(), |hangs| *hangs).unwrap());
        }
        handle.file.sync_data()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_whose_log_hangs_answers_nothing_until_it_goes_on() {
    const QUESTIONS: usize = 300;
    let (_root, mx, us) = federation();
    enlist(&mx);
    let disk = Arc::new(Hanging::default());
    let holder =
        Node::start_on(us, |_| {}, Arc::new(crate::keys::Vault::new(crate::keys::PassphraseSource::Ask)), disk.clone())
            .await
            .unwrap();
    let asker = Arc::new(Node::start(mx, |_| {}).await.unwrap());
    let ask = |due_in_millis: u64| {
        let asker = asker.clone();
        async move {
            let Command::Query(mut question) = question("o-1042") else { unreachable!() };
            question.due_in_millis = due_in_millis;
            let Answer::Concluded(concluded) = asker.carry_out(Command::Query(question)).await else { return false };
            matches!(*concluded, Concluded::Answered { .. } | Concluded::Refused { .. })
        }
    };
    assert!(ask(20_000).await);
    disk.set(true);
    let asked: Vec<_> = (0..QUESTIONS).map(|_| tokio::spawn(ask(1_500))).collect();
    let mut answered = 0;
    for one in asked {
        answered += usize::from(one.await.unwrap());
    }
    assert_eq!(answered, 0, "of {QUESTIONS}, by a node that could record none");
    disk.set(false);
    // What was given up meanwhile is settled between both logs first.
    let until = Instant::now() + Duration::from_secs(60);
    while !ask(5_000).await {
        assert!(Instant::now() < until, "the log goes on, the node does not");
    }
    asker.shut_down(true).await.unwrap();
    holder.shut_down(true).await.unwrap();
}

/// Entries in a node's log after another start and stop.
async fn entries_of_a_start(dir: &NodeDir) -> u64 {
    let node = Node::start(dir.clone(), |_| {}).await.unwrap();
    // START is recorded on the side: whatever is asked for afterwards comes after it.
    let event: Command = serde_json::from_value(json!({"cmd": "event", "kind": "CONSULT"})).unwrap();
    assert!(matches!(node.carry_out(event).await, Answer::Concluded(_)));
    node.shut_down(true).await.unwrap();
    node.driver.status().disk.size
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn other_policies_and_another_charter_are_entries_before_they_serve() {
    let (_root, mx, _us) = federation();
    let first = entries_of_a_start(&mx).await;
    let second = entries_of_a_start(&mx).await;
    // What every start records: START, and seeds for the escrow.
    let plain = second - first;
    assert_eq!(first, plain + 2, "CHARTER_ADOPTED and POLICY_CHANGE once");
    let third = entries_of_a_start(&mx).await;
    assert_eq!(third, second + plain);

    std::fs::write(mx.policies().join("more.cedar"), MORE_POLICY).unwrap();
    let known = std::fs::read(mx.adopted_recorded()).unwrap();
    let fourth = entries_of_a_start(&mx).await;
    assert_eq!(fourth, third + plain + 1, "POLICY_CHANGE");
    // As if it had crashed after the entry and before it was written down: twice is better than not at all.
    std::fs::write(mx.adopted_recorded(), known).unwrap();
    let fifth = entries_of_a_start(&mx).await;
    assert_eq!(fifth, fourth + plain + 1, "POLICY_CHANGE again");

    let first_annex = std::fs::read_to_string(mx.charter().join("annex-mx-1.toml")).unwrap();
    let Ok(Part::Annex(mut annex)) = Part::from_toml("annex-mx-1.toml", &first_annex) else { panic!("no annex") };
    annex.previous = Some(annex.hash());
    annex.number = 2;
    annex.members[0].name_en = "Another name".to_owned();
    std::fs::write(mx.charter().join("annex-mx-2.toml"), annex.to_toml().unwrap()).unwrap();
    let line = format!("{}\n", sign(&annex.hash(), &key("mx"), "mx-gov"));
    std::fs::write(mx.charter().join("annex-mx-2.toml.sig"), line).unwrap();
    let sixth = entries_of_a_start(&mx).await;
    assert_eq!(sixth, fifth + plain + 1, "CHARTER_ADOPTED");
    assert_eq!(entries_of_a_start(&mx).await, sixth + plain);
}

const MORE_POLICY: &str = r#"
@id("ask-firearms") @expires("2090-01-01")
permit (principal, action == Action::"ask", resource == Kind::"firearm.status");
"#;

/// The status, for a condition that is looked at from code that cannot wait.
pub(super) fn status(node: &Node) -> serde_json::Value {
    tokio::task::block_in_place(|| tokio::runtime::Handle::current().block_on(node.status()))
}

/// Name and code of everything that is not well, by state.
async fn unwell(node: &Node) -> BTreeMap<&'static str, (&'static str, State)> {
    *node.checked.lock().await = None;
    let checks = node.checks().await;
    checks.iter().filter(|c| c.state > State::Ok).map(|c| (c.name, (c.code, c.state))).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_says_where_its_papers_are_in_their_life() {
    let papers = |expires, certificate: u64| async move {
        let (root, mx, _us) = federation_until(expires, &|_| None);
        let subject = ca::Subject::Fresh(Algorithm::P256);
        let authority = root.path().join("ca-mx");
        for file in [mx.tls_cert(), mx.tls_key()] {
            std::fs::remove_file(file).unwrap();
        }
        // Made ten days ago, for so many days.
        let made = Millis(now().0 - 10 * DAY);
        let days = u32::try_from(certificate).unwrap();
        ca::issue(&authority, Some(&MX.parse().unwrap()), &subject, days, &mx.keys(), made).unwrap();
        let node = Node::start(mx, |_| {}).await.unwrap();
        let unwell = unwell(&node).await;
        let metrics = node.metrics().await;
        node.shut_down(true).await.unwrap();
        (unwell, metrics)
    };
    let (well, metrics) = papers(now().plus(200 * DAY), 30).await;
    assert_eq!(well, BTreeMap::new());
    let days = |what: &str, text: &str| -> f64 {
        let head = format!("puente_expiry_days{{what=\"{what}\"}} ");
        text.lines().find_map(|line| line.strip_prefix(&head)).unwrap().parse().unwrap()
    };
    assert!((19.0..=20.0).contains(&days("certificate", &metrics)), "{metrics}");
    assert!((213.0..=214.0).contains(&days("charter", &metrics)), "{metrics}");
    assert!(metrics.lines().any(|line| line == "puente_ready 1") && metrics.ends_with("# EOF\n"), "{metrics}");

    let (unwell, _) = papers(now().plus(20 * DAY), 12).await;
    let expected = [("charter", ("charter-ends", State::Warn)), ("certificate", ("certificate-ends", State::Warn))];
    assert_eq!(unwell, expected.into());
    // Within its grace the charter still carries questions.
    let (unwell, _) = papers(Millis(now().0 - DAY), 30).await;
    assert_eq!(unwell, [("charter", ("charter-grace", State::Warn))].into());
    let (unwell, metrics) = papers(Millis(now().0 - 15 * DAY), 9).await;
    let expected = [
        ("charter", ("charter-expired", State::Fail)),
        ("certificate", ("certificate-ended", State::Fail)),
        ("self-query", ("charter", State::Fail)),
    ];
    assert_eq!(unwell, expected.into());
    assert!(days("certificate", &metrics) < 0.0 && days("charter", &metrics) < 0.0);
    assert!(metrics.lines().any(|line| line == "puente_ready 0"), "{metrics}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_clock_that_is_wrong_is_said_and_a_log_that_hangs_is_no_life() {
    let (_root, mx, _us) = federation();
    let disk = Arc::new(Hanging::default());
    let node = Node::start_on(
        mx.clone(),
        |_| {},
        Arc::new(crate::keys::Vault::new(crate::keys::PassphraseSource::Ask)),
        disk.clone(),
    )
    .await
    .unwrap();
    assert_eq!(unwell(&node).await, BTreeMap::new());
    let published = node.disk.clone();
    tokio::task::spawn_blocking(move || published.publish()).await.unwrap().unwrap();
    // The head was published an hour from now: the clock has been put back since.
    let head = std::fs::File::options().write(true).open(mx.log().join("checkpoint")).unwrap();
    let published = head.metadata().unwrap().modified().unwrap();
    head.set_modified(published + Duration::from_secs(3_600)).unwrap();
    assert_eq!(unwell(&node).await, [("clock", ("clock-behind", State::Fail))].into());
    head.set_modified(published).unwrap();
    node.clock.look(SystemTime::now() + Duration::from_secs(60), Instant::now());
    assert_eq!(unwell(&node).await, [("clock", ("clock-jumped", State::Warn))].into());

    disk.set(true);
    let event = LocalEvent {
        kind: puente_model::EventKind::Consult,
        record_type: String::new(),
        count: 1,
        purpose: None,
        basis: None,
        role: None,
        detail: Vec::new(),
    };
    let driver = node.driver.clone();
    let recording = tokio::spawn(async move { driver.event(event).await });
    let until = Instant::now() + Duration::from_secs(30);
    // The engine may sit in that sync itself, or turn while another thread does.
    while unwell(&node).await.get("log") != Some(&("log-hangs", State::Fail)) {
        assert!(Instant::now() < until, "{:?}", unwell(&node).await);
    }
    disk.set(false);
    assert!(recording.await.unwrap().is_ok());
    assert_eq!(unwell(&node).await.get("log"), None);
    node.drain().await;
    assert_eq!(unwell(&node).await.get("start"), Some(&("stopping", State::Fail)));
    assert!(matches!(node.carry_out(question("o-1042")).await, Answer::Error { code, .. } if code == "stopping"));
    node.shut_down(true).await.unwrap();
}
