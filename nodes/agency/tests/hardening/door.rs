//! Auditors at the doors of running nodes.

use std::path::PathBuf;
use std::process::{Command as Process, Output};
use std::time::{Duration, Instant};

use puente_wire::proto::{self, Message as _};
use serde_json::Value;

use crate::federation::{Federation, Node};

const EXE: &str = env!("CARGO_BIN_EXE_puente");

/// Opens a door at each node, before it starts; certificates for one auditor of each nation.
pub(crate) fn prepare(fed: &Federation) {
    for node in [&fed.mx, &fed.us] {
        let path = node.dir.join("node.toml");
        let text = std::fs::read_to_string(&path).unwrap();
        std::fs::write(&path, format!("{text}\n[audit]\nlisten = \"127.0.0.1:0\"\n")).unwrap();
    }
    for nation in ["mx", "us"] {
        let (ca, out) = (at(fed, &format!("ca/{nation}")), at(fed, &format!("auditors/{nation}-a.tls")));
        let name = format!("puente-auditor://{nation}/{nation}-a");
        let (ca, out) = (ca.to_str().unwrap(), out.to_str().unwrap());
        fed.mx.json(&["ca", "issue", "--ca", ca, "--auditor", &name, "--out", out]);
        let (state, charter) = (at(fed, &format!("desk-{nation}")), at(fed, "charter"));
        let ran = audit(&[
            "init",
            "--state",
            state.to_str().unwrap(),
            "--charter",
            charter.to_str().unwrap(),
            "--pin",
            fed.pin(),
        ]);
        assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    }
}

fn at(fed: &Federation, name: &str) -> PathBuf {
    fed.root.path().join(name)
}

/// Where a running node's door is.
pub(crate) fn url(node: &Node) -> String {
    let said = String::from_utf8(node.out.lock().unwrap().clone()).unwrap();
    let ready: Value = serde_json::from_str(said.lines().next().unwrap()).unwrap();
    format!("https://{}/", ready["audit"].as_str().unwrap())
}

fn audit(arguments: &[&str]) -> Output {
    Process::new(EXE).arg("audit-files").args(arguments).output().unwrap()
}

/// What a nation's auditor finds at these doors: exit code, verdict, words.
pub(crate) fn judge(fed: &Federation, nation: &str, command: &str, doors: &[&str]) -> (i32, Value, String) {
    let shown = |name: String| at(fed, &name).display().to_string();
    let (state, cert) = (shown(format!("desk-{nation}")), shown(format!("auditors/{nation}-a.tls/tls.cert.pem")));
    let seal = shown(format!("auditors/{nation}-a.seal.key"));
    let mut arguments = vec![command, "--json", "--state", &state, "--key", &seal, "--cert", &cert, "--attempts", "2"];
    arguments.extend(doors);
    let ran = audit(&arguments);
    let words = String::from_utf8_lossy(&ran.stderr).into_owned();
    let verdict = serde_json::from_slice(&ran.stdout).unwrap_or_else(|e| panic!("{e}: {words}"));
    (ran.status.code().unwrap(), verdict, words)
}

/// Sealed headers in what an auditor copied of a node's sidecar.
pub(crate) fn sealed_headers(fed: &Federation, nation: &str, log: &str) -> usize {
    let path = at(fed, &format!("desk-{nation}/copies/for-{nation}/{log}/asides"));
    let bytes = std::fs::read(path).unwrap();
    let (mut rest, mut count) = (bytes.as_slice(), 0);
    while let Some((aside, after)) = puente_agency::disk::split_aside(rest) {
        let body = proto::Aside::decode(aside).unwrap().body;
        count += usize::from(matches!(body, Some(proto::aside::Body::SealedHeader(_))));
        rest = after;
    }
    count
}

/// Waits until a door says so.
pub(crate) fn until(mut holds: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(30);
    while !holds() {
        assert!(Instant::now() < end, "it does not come to that");
        std::thread::sleep(Duration::from_millis(200));
    }
}
