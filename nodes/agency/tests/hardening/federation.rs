//! Two nations with one node each, made with the commands that an operator would type, run as processes.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::io::Read;
use std::net::{TcpListener, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command as Process, Output, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use puente_agency::control::ControlClient;
use puente_agency::control_api::{Answer, Command, Concluded, Question};
use puente_audit_log::{BundleId, ClaimedCheckpoint, LogPath, TILE_WIDTH, decode_bundle};
use puente_charter::quarter_of;
use puente_model::{Handling, Millis, Step, Urgency};
use puente_wire::{Entry, PairKind};
use serde_json::Value;

pub(crate) const EXE: &str = env!("CARGO_BIN_EXE_puente");
const DAY: u64 = 86_400_000;

static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// These tests measure time: one runs at a time.
pub(crate) fn alone() -> MutexGuard<'static, ()> {
    ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner)
}

fn now() -> Millis {
    Millis(u64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis()).unwrap())
}

/// The day in so many days.
pub(crate) fn in_days(days: u64) -> String {
    now().plus(days * DAY).to_string()[..10].to_owned()
}

pub(crate) fn puente(dir: &Path, args: &[&str]) -> Output {
    Process::new(EXE).arg("--dir").arg(dir).args(args).stdin(Stdio::null()).output().unwrap()
}

/// A socket whose port is free over TCP, too.
pub(crate) fn free_socket() -> UdpSocket {
    loop {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        if TcpListener::bind(socket.local_addr().unwrap()).is_ok() {
            return socket;
        }
    }
}

fn done(args: &[&str], output: &Output) -> Value {
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "puente {args:?}: {out}{err}");
    serde_json::from_str(&out).unwrap_or_else(|e| panic!("puente {args:?}: {e}: {out}"))
}

/// What a process said, as far as it was read.
type Said = Arc<Mutex<Vec<u8>>>;

fn listen(mut from: impl Read + Send + 'static, to: Said) {
    std::thread::spawn(move || {
        let mut chunk = [0; 8_192];
        while let Ok(read @ 1..) = from.read(&mut chunk) {
            to.lock().unwrap().extend_from_slice(&chunk[..read]);
        }
    });
}

/// A node, running or not.
pub(crate) struct Node {
    pub(crate) dir: PathBuf,
    pub(crate) uri: String,
    pub(crate) out: Said,
    pub(crate) err: Said,
    child: Option<Child>,
}

impl Node {
    /// A node in this folder.
    pub(crate) fn at(dir: PathBuf, uri: String) -> Self {
        Self { dir, uri, out: Said::default(), err: Said::default(), child: None }
    }

    pub(crate) fn run(&self, args: &[&str]) -> Output {
        puente(&self.dir, args)
    }

    pub(crate) fn json(&self, args: &[&str]) -> Value {
        let mut args = args.to_vec();
        args.push("--json");
        done(&args, &self.run(&args))
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.dir.join("control.sock")
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.as_ref().unwrap().id()
    }

    /// Everything on its stderr since it was last started.
    pub(crate) fn words(&self) -> String {
        String::from_utf8_lossy(&self.err.lock().unwrap()).into_owned()
    }

    pub(crate) fn descriptors(&self) -> usize {
        std::fs::read_dir(format!("/proc/{}/fd", self.pid())).unwrap().count()
    }

    /// Starts it by a shell that first does what `before` says. False if it ends, or is not ready within 20 s.
    pub(crate) fn try_start(&mut self, before: &str) -> bool {
        assert!(self.child.is_none());
        let script = format!("{before}exec \"$0\" \"$@\"");
        let mut command = Process::new("sh");
        command.args(["-c", &script, EXE, "--dir"]).arg(&self.dir);
        // The node ends when this process does.
        command.args(["node", "run", "--until-eof", "--leave-periods-open"]);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        (self.out, self.err) = (Said::default(), Said::default());
        listen(child.stdout.take().unwrap(), Arc::clone(&self.out));
        listen(child.stderr.take().unwrap(), Arc::clone(&self.err));
        let until = Instant::now() + Duration::from_secs(20);
        let child = self.child.insert(child);
        while Instant::now() < until {
            if self.out.lock().unwrap().contains(&b'\n') {
                return true;
            }
            if child.try_wait().unwrap().is_some() {
                break;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        // What it said last may still be on its way.
        std::thread::sleep(Duration::from_millis(100));
        false
    }

    /// `kill -9`.
    pub(crate) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    pub(crate) fn stop(&mut self) {
        let ran = self.run(&["node", "stop"]);
        assert!(ran.status.success(), "{} {}", String::from_utf8_lossy(&ran.stderr), self.words());
        let mut child = self.child.take().unwrap();
        assert!(child.wait().unwrap().success(), "{}", self.words());
    }

    pub(crate) fn call(&self, command: Command) -> Answer {
        let mut node = ControlClient::connect(&self.socket()).unwrap();
        node.set_timeout(Some(Duration::from_secs(40))).unwrap();
        node.call(command).unwrap()
    }

    pub(crate) fn status(&self) -> Value {
        let Answer::Status { status } = self.call(Command::Status) else { panic!("no status") };
        status
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.kill();
    }
}

/// The codes of a status's problems.
pub(crate) fn problems(status: &Value) -> BTreeSet<String> {
    status["problems"].as_array().unwrap().iter().map(|p| p["code"].as_str().unwrap().to_owned()).collect()
}

/// A question of hit or no hit about a vehicle.
pub(crate) fn question(to: &str, vin: &str, due_in_millis: u64) -> Question {
    let (officer, purpose, basis) = ("o-1042", "vehicle-recovery", "mx-us-stolen-vehicles-1981");
    Question {
        to: to.parse().unwrap(),
        kind: "vehicle.status".parse().unwrap(),
        step: Step::HitNoHit,
        purpose: purpose.parse().unwrap(),
        basis: basis.parse().unwrap(),
        handling: "H2".parse::<Handling>().unwrap(),
        officer: officer.parse().unwrap(),
        case_ref: "FGEBC/2026/1".to_owned(),
        params: BTreeMap::from([("vin".to_owned(), vin.to_owned())]),
        due_in_millis,
        urgency: Urgency::Routine,
        justification: String::new(),
        facts_statement: String::new(),
        offence: String::new(),
        confirms: None,
        training: false,
        stays: false,
    }
}

pub(crate) fn ask(node: &Node, question: Question) -> Answer {
    node.call(Command::Query(Box::new(question)))
}

/// What came of a question, in a word or two.
pub(crate) fn word(answer: &Answer) -> String {
    match answer {
        Answer::Concluded(concluded) => match &**concluded {
            Concluded::Answered { outcome, .. } => format!("answered {outcome}"),
            Concluded::Refused { reason, .. } => format!("refused {reason}"),
            Concluded::Faulted { code, .. } => format!("faulted {code}"),
            Concluded::TimedOut { .. } => "timed out".to_owned(),
            Concluded::LogUnavailable => "log-unavailable".to_owned(),
            Concluded::LogSuspended => "log-suspended".to_owned(),
            other => format!("{other:?}"),
        },
        Answer::Error { code, .. } => code.clone(),
        other => format!("{other:?}"),
    }
}

const AUDITORS: [(&str, &str); 4] = [("mx-a", "mx"), ("mx-b", "mx"), ("us-a", "us"), ("us-b", "us")];

/// Two nations with one node and two auditors each.
pub(crate) struct Federation {
    pub(crate) mx: Node,
    pub(crate) us: Node,
    pin: String,
    // Last: the nodes end before their folder does.
    pub(crate) root: tempfile::TempDir,
}

/// The corridor `frontera/otay`, as the common part names it.
#[allow(dead_code, reason = "not every suite needs groups")]
pub(crate) const CORRIDOR: &str = "\n[[corridor]]\nname = \"otay\"\nconvener = \"puente://mx/fge-bc/n1\"\n\
                                   successors = [\"puente://us/tx-dps/n1\"]\nsilence_seconds = 60\n";

impl Federation {
    /// Keys, authorities, charter and nodes; an officer `o-1042` in Mexico and `o-77` in the United States.
    pub(crate) fn found() -> Self {
        Self::found_with("", "")
    }

    /// The same in one corridor, `frontera/otay`, with both nodes as witnesses.
    #[allow(dead_code, reason = "not every suite needs groups")]
    pub(crate) fn found_in_a_corridor() -> Self {
        Self::found_with("quorum = \"both\"\n", &(Self::witnesses() + CORRIDOR))
    }

    /// Both nodes are witnesses, and no corridor is named yet.
    #[allow(dead_code, reason = "not every suite needs groups")]
    pub(crate) fn found_with_witnesses() -> Self {
        Self::found_with("quorum = \"both\"\n", &Self::witnesses())
    }

    fn witnesses() -> String {
        let group = |name: &str, members: &str| {
            format!("\n[[witness_group]]\nname = \"{name}\"\nneed = \"all\"\nmembers = [{members}]\n")
        };
        let groups =
            [group("mx", "\"mx-fge-bc-n1\""), group("us", "\"us-tx-dps-n1\""), group("both", "\"mx\", \"us\"")];
        groups.concat()
    }

    /// `first` stands at the beginning of the description, `last` at its end; with either, nodes are witnesses.
    fn found_with(first: &str, last: &str) -> Self {
        let root = tempfile::tempdir().unwrap();
        let at = |name: &str| root.path().join(name).display().to_string();
        let run = |args: &[&str]| {
            let mut args = args.to_vec();
            args.push("--json");
            done(&args, &Process::new(EXE).args(&args).stdin(Stdio::null()).output().unwrap())
        };
        for folder in ["governance", "auditors"] {
            std::fs::create_dir(root.path().join(folder)).unwrap();
        }
        let at_now = now();
        let mut text = format!(
            "federation = \"frontera\"\nvalid_from = \"{}\"\nexpires = \"{}\"\naudit_hold_days = 365\n\
             period_minutes = 60\n{first}",
            Millis(at_now.0 - DAY),
            at_now.plus(180 * DAY)
        );
        for nation in ["mx", "us"] {
            run(&["ca", "init", "--jurisdiction", nation, "--out", &at(&format!("ca/{nation}"))]);
            let name = format!("{nation}-gov-1");
            let made = run(&["charter", "keygen", "--name", &name, "--out", &at(&format!("governance/{name}.key"))]);
            let key = made["public"].as_str().unwrap();
            write!(
                text,
                "\n[[jurisdiction]]\ncode = \"{nation}\"\nname_en = \"{nation}\"\nname_es = \"{nation}\"\n\
                 threshold = 1\nca_root_files = [\"ca/{nation}/root.cert.pem\"]\n\
                 \n[[jurisdiction.governance_key]]\nname = \"{name}\"\nkey = \"{key}\"\n"
            )
            .unwrap();
        }
        let held = [free_socket(), free_socket()];
        let agencies = [("mx", "mx/fge-bc", "state-prosecutor"), ("us", "us/tx-dps", "state-police")];
        let nodes = agencies.iter().zip(&held).map(|((nation, id, role), socket)| {
            let (dir, uri) = (root.path().join(nation), format!("puente://{id}/n1"));
            let (shown, ca) = (dir.display().to_string(), at(&format!("ca/{nation}")));
            let listen = socket.local_addr().unwrap().to_string();
            let made = run(&[
                "--dir",
                &shown,
                "node",
                "init",
                "--uri",
                &uri,
                "--listen",
                &listen,
                "--role",
                role,
                "--ca",
                &ca,
                "--name-en",
                id,
                "--name-es",
                id,
            ]);
            write!(text, "\n{}", made["stanza"].as_str().unwrap()).unwrap();
            if !first.is_empty() {
                write!(text, "\n{}", made["witness"].as_str().unwrap()).unwrap();
            }
            Node::at(dir, uri)
        });
        let [mx, us] = <[Node; 2]>::try_from(nodes.collect::<Vec<_>>()).ok().unwrap();
        drop(held);
        let quarter = quarter_of(at_now).to_string();
        for (name, nation) in AUDITORS {
            let origin = format!("{nation}/{name}/n1/log1");
            let log = at(&format!("auditors/{name}.log.key"));
            let vkey = run(&["charter", "keygen", "--name", &origin, "--kind", "log", "--out", &log]);
            let seal_file = at(&format!("auditors/{name}.seal.key"));
            let seal = run(&["charter", "keygen", "--name", name, "--kind", "seal", "--out", &seal_file]);
            write!(
                text,
                "\n[[auditor]]\nname = \"{name}\"\njurisdiction = \"{nation}\"\norigin = \"{origin}\"\n\
                 vkey = \"{}\"\n\n[[auditor.seal_keys]]\nquarter = \"{quarter}\"\nkey = \"{}\"\n",
                vkey["public"].as_str().unwrap(),
                seal["public"].as_str().unwrap()
            )
            .unwrap();
        }
        let both = "\"mx\", \"us\"";
        let domestic = "\"criminal-investigation\", \"vehicle-recovery\"";
        // Those, too, that the example policies name.
        for (id, purposes, nations) in [
            ("bicentennial-framework-2021", "\"arms-trafficking\", \"crime-prevention\"", both),
            ("mx-lgsnsp-2009", domestic, "\"mx\""),
            ("us-28cfr20", domestic, "\"us\""),
            ("mx-us-stolen-vehicles-1981", "\"vehicle-recovery\", \"criminal-investigation\"", both),
            ("mx-us-mlat-1987", "\"criminal-investigation\", \"prosecution\", \"arms-trafficking\"", both),
        ] {
            write!(
                text,
                "\n[[legal_basis]]\nid = \"{id}\"\ntitle_en = \"{id}\"\ntitle_es = \"{id}\"\n\
                 purposes = [{purposes}]\njurisdictions = [{nations}]\nexpires = \"2099-12-31T00:00:00Z\"\n"
            )
            .unwrap();
        }
        text.push_str(last);
        std::fs::write(root.path().join("federation.toml"), text).unwrap();
        let charter = at("charter");
        let created = run(&["charter", "create", &at("federation.toml"), "--out", &charter]);
        let pin = created["pin"].as_str().unwrap().to_owned();
        for nation in ["mx", "us"] {
            let key = at(&format!("governance/{nation}-gov-1.key"));
            for part in ["common-1.toml".to_owned(), format!("annex-{nation}-1.toml")] {
                run(&["charter", "sign", &format!("{charter}/{part}"), "--key", &key]);
            }
        }
        for (node, officer) in [(&mx, "o-1042"), (&us, "o-77")] {
            let to = node.dir.join("charter");
            std::fs::create_dir_all(&to).unwrap();
            for entry in std::fs::read_dir(&charter).unwrap() {
                let entry = entry.unwrap();
                std::fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
            }
            let expires = in_days(90);
            node.json(&["officer", "add", officer, "--name", "Agent", "--role", "investigator", "--expires", &expires]);
        }
        Self { mx, us, pin, root }
    }

    pub(crate) fn set_log_level(&self, level: &str) {
        for node in [&self.mx, &self.us] {
            let path = node.dir.join("node.toml");
            let text = std::fs::read_to_string(&path).unwrap();
            let lines = text.lines().filter(|line| !line.trim_start().starts_with("log_level"));
            let kept: Vec<&str> = lines.collect();
            std::fs::write(&path, format!("log_level = \"{level}\"\n{}\n", kept.join("\n"))).unwrap();
        }
    }

    /// Both nodes send traces to `url`.
    pub(crate) fn trace_to(&self, url: &str) {
        for node in [&self.mx, &self.us] {
            let path = node.dir.join("node.toml");
            let text = std::fs::read_to_string(&path).unwrap();
            std::fs::write(&path, format!("{text}\n[ops]\ntraces = \"{url}\"\n")).unwrap();
        }
    }

    pub(crate) fn pin(&self) -> &str {
        &self.pin
    }

    pub(crate) fn start(&mut self) {
        for node in [&mut self.mx, &mut self.us] {
            assert!(node.try_start(""), "{}", node.words());
        }
    }

    pub(crate) fn stop(&mut self) {
        self.us.stop();
        self.mx.stop();
    }

    /// Asks across the border until an answer comes; how long that took.
    pub(crate) fn answered_within(&self, limit: Duration) -> Option<Duration> {
        let began = Instant::now();
        while began.elapsed() < limit {
            let left = limit.saturating_sub(began.elapsed()).as_millis();
            let due = u64::try_from(left.clamp(50, 1_000)).unwrap();
            if word(&ask(&self.mx, question(&self.us.uri, "WVWZZZ1KZFP000001", due))).starts_with("answered") {
                return Some(began.elapsed());
            }
            // Not as fast as the node can say no: an officer has so many questions a minute.
            std::thread::sleep(Duration::from_millis(50));
        }
        None
    }

    /// Closes the periods, exports both logs, and has both nations' auditors judge them; every exchange of
    /// `acknowledged` must have its answer in both. Returns how many entries the logs hold.
    pub(crate) fn audit(&self, acknowledged: &BTreeSet<String>) -> usize {
        let until = Instant::now() + Duration::from_secs(60);
        // Questions that nobody waits for any more come to their end first.
        for node in [&self.mx, &self.us, &self.mx, &self.us] {
            loop {
                let answer = node.call(Command::ClosePeriods);
                if matches!(&answer, Answer::Concluded(c)
                    if matches!(&**c, Concluded::PeriodsClosed { unreachable, .. } if unreachable.is_empty()))
                {
                    break;
                }
                assert!(Instant::now() < until, "{answer:?}");
                std::thread::sleep(Duration::from_millis(200));
            }
        }
        let at = |name: String| self.root.path().join(name);
        let mut entries = 0;
        for nation in ["mx", "us"] {
            let mut args = Vec::new();
            for node in [&self.mx, &self.us] {
                let name = node.dir.file_name().unwrap().to_str().unwrap();
                let to = at(format!("copies-{nation}-{name}"));
                let whose = if name == nation { "own" } else { "foreign" };
                node.json(&["log", "export", to.to_str().unwrap(), "--auditor", whose]);
                let (answered, count) = answered_exchanges(&to);
                let missing: Vec<&String> = acknowledged.difference(&answered).collect();
                assert!(missing.is_empty(), "the log of {name} lost {} acknowledged: {missing:?}", missing.len());
                args.push(to.display().to_string());
                entries += count;
            }
            let (state, charter) = (at(format!("state-{nation}")), at("charter".to_owned()));
            let (state, charter) = (state.to_str().unwrap(), charter.to_str().unwrap());
            let init = ["audit-files", "init", "--state", state, "--charter", charter, "--pin", &self.pin, "--json"];
            let made = Process::new(EXE).args(init).output().unwrap();
            assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
            let key = at(format!("auditors/{nation}-a.seal.key"));
            let ran = Process::new(EXE)
                .args(["audit-files", "reconcile", "--state", state, "--key", key.to_str().unwrap(), "--json"])
                .args(&args)
                .output()
                .unwrap();
            let verdict: Value = serde_json::from_slice(&ran.stdout).unwrap();
            let shown = serde_json::to_string_pretty(&verdict).unwrap();
            assert_eq!(verdict["verdict"], "sound", "{shown}");
            assert!(verdict["findings"].as_array().unwrap().is_empty(), "{shown}");
        }
        entries / 2
    }
}

/// The entries of a copied log.
pub(crate) fn entries(dir: &Path) -> Vec<Vec<u8>> {
    let head = ClaimedCheckpoint::parse(&std::fs::read(dir.join("checkpoint")).unwrap()).unwrap();
    let size = head.claimed().size().0;
    let (mut out, mut at) = (Vec::new(), 0);
    while at < size {
        let width = u16::try_from(size - at).unwrap_or(TILE_WIDTH).min(TILE_WIDTH);
        let path = LogPath::from(BundleId::new(at >> 8, width).unwrap()).to_string();
        let bytes = std::fs::read(dir.join(path)).unwrap();
        out.extend(decode_bundle(&bytes, width).unwrap().into_iter().map(<[u8]>::to_vec));
        at += u64::from(width);
    }
    out
}

/// Exchanges with an ANSWER in a copied log, each at most once; and how many entries it has.
fn answered_exchanges(dir: &Path) -> (BTreeSet<String>, usize) {
    let (entries, mut out) = (entries(dir), BTreeSet::new());
    for entry in &entries {
        if let Ok(Entry::Pair(pair)) = Entry::decode(entry)
            && pair.kind() == PairKind::Answer
            && let Some(exchange) = pair.exchange()
        {
            assert!(out.insert(exchange.to_string()), "{exchange} is answered twice in {}", dir.display());
        }
    }
    (out, entries.len())
}
