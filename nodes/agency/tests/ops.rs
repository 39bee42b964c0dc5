//! What an operator looks at, with real processes: each thing that readiness depends on is broken and mended again.

// Helpers of tests are tests too: what is not as expected ends them.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stderr)]
// Shared with the hardening tests, which use all of it.
#![allow(dead_code)]

#[path = "hardening/federation.rs"]
mod federation;

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::Command as Process;
use std::time::{Duration, Instant};

use puente_agency::control::ControlClient;
use puente_agency::control_api::Command;
use serde_json::Value;

use federation::{Federation, Node, alone, question, word};

/// Opens a door in a node's configuration; returns where.
fn open_door(node: &Node, more: &str) -> SocketAddr {
    let at = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let path = node.dir.join("node.toml");
    let text = fs::read_to_string(&path).unwrap();
    fs::write(&path, format!("{text}\n[ops]\nlisten = \"{at}\"\n{more}")).unwrap();
    at
}

/// Status and body of an answer; none if nobody answers.
fn get(at: SocketAddr, path: &str) -> Option<(u16, String)> {
    let mut stream = TcpStream::connect(at).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    Some((head.get(9..12)?.parse().unwrap(), body.to_owned()))
}

fn ready(at: SocketAddr) -> (u16, Value) {
    let (status, body) = get(at, "/readyz").unwrap();
    (status, serde_json::from_str(&body).unwrap())
}

/// Waits until readiness is as expected: no root cause and 200, or this one and 503.
fn until(at: SocketAddr, cause: Option<&str>) -> Value {
    let end = Instant::now() + Duration::from_secs(20);
    loop {
        let (status, value) = ready(at);
        let expected = if cause.is_some() { 503 } else { 200 };
        if status == expected && value["root_cause"].as_str() == cause {
            assert_eq!(value["ready"], cause.is_none(), "{value}");
            return value;
        }
        assert!(Instant::now() < end, "expected {cause:?}: {value}");
        std::thread::sleep(Duration::from_millis(100));
    }
}

fn check<'v>(value: &'v Value, name: &str) -> &'v Value {
    value["checks"].as_array().unwrap().iter().find(|check| check["name"] == name).unwrap()
}

/// Waits until one check is in a state.
fn until_state(at: SocketAddr, name: &str, state: &str) -> Value {
    let end = Instant::now() + Duration::from_secs(20);
    loop {
        let (_, value) = ready(at);
        if check(&value, name)["state"] == state {
            return value;
        }
        assert!(Instant::now() < end, "{name} is not {state}: {value}");
        std::thread::sleep(Duration::from_millis(100));
    }
}

fn moved_away(at: SocketAddr, path: &Path, cause: &str) {
    let elsewhere = path.with_extension("elsewhere");
    fs::rename(path, &elsewhere).unwrap();
    let value = until(at, Some(cause));
    assert_eq!(check(&value, cause)["state"], "fail", "{value}");
    fs::rename(&elsewhere, path).unwrap();
    until(at, None);
}

#[test]
fn readiness_names_each_thing_that_is_broken_and_comes_back() {
    let _alone = alone();
    let mut fed = Federation::found();
    let at = open_door(&fed.mx, "");
    assert!(fed.mx.try_start(""), "{}", fed.mx.words());
    let well = until(at, None);
    assert!(well["checks"].as_array().unwrap().iter().all(|check| check["state"] == "ok"), "{well}");
    assert_eq!(get(at, "/livez").unwrap().0, 200);
    assert_eq!(get(at, "/").unwrap().0, 404);
    let spanish = get(at, "/readyz?lang=es").unwrap().1;
    assert!(spanish.contains("el reloj avanza parejo"), "{spanish}");

    let dir = fed.mx.dir.clone();
    // Nothing more is published by itself from here on.
    fed.mx.call(Command::Publish);
    moved_away(at, &dir.join("log/checkpoint"), "log-files");
    moved_away(at, &dir.join("records.db"), "records");
    moved_away(at, &dir.join("evidence.db"), "evidence");
    moved_away(at, &dir.join("journal"), "disk-space");

    // A log file that was changed is as bad as one that is gone.
    let checkpoint = fs::read(dir.join("log/checkpoint")).unwrap();
    fs::write(dir.join("log/checkpoint"), b"nonsense").unwrap();
    until(at, Some("log-files"));
    fs::write(dir.join("log/checkpoint"), checkpoint).unwrap();
    until(at, None);

    // Rules that do not validate do not rule: those in force stay, and it is said.
    let rules = dir.join("policies/broken.cedar");
    fs::write(&rules, "permit (principal").unwrap();
    assert_eq!(until_state(at, "policies", "warn")["ready"], true);
    let status = fed.mx.run(&["node", "status", "--json"]);
    let status: Value = serde_json::from_slice(&status.stdout).unwrap();
    assert_eq!(status["problems"][0]["code"], "policies-broken", "{status}");
    assert_eq!(status["ready"], true, "{status}");
    fs::remove_file(&rules).unwrap();

    // A rule that validates and cannot be evaluated refuses whatever is asked: the node finds out by asking itself.
    let overflow = "@id(\"broken\")\n@reason(\"statutory-bar\")\n@explain_en(\"barred\")\n@explain_es(\"prohibido\")\n\
                    forbid (principal, action == Action::\"answer\", resource)\n\
                    when { 9223372036854775807 + (if context.same_nation then 0 else 1) > 0 };\n";
    fs::write(dir.join("policies/inbound-broken.cedar"), overflow).unwrap();
    let reloaded = fed.mx.run(&["node", "reload"]);
    assert!(reloaded.status.success(), "{}", String::from_utf8_lossy(&reloaded.stderr));
    let value = until(at, Some("self-query"));
    assert_eq!(check(&value, "self-query")["code"], "rules", "{value}");
    fs::remove_file(dir.join("policies/inbound-broken.cedar")).unwrap();
    fed.mx.run(&["node", "reload"]);
    until(at, None);

    // The head is from the future of the clock.
    let head = fs::File::options().write(true).open(dir.join("log/checkpoint")).unwrap();
    let published = head.metadata().unwrap().modified().unwrap();
    head.set_modified(published + Duration::from_secs(86_400)).unwrap();
    until(at, Some("clock"));
    head.set_modified(published).unwrap();
    until(at, None);

    // A log that cannot be written: nothing mends it but a restart.
    let limited = Process::new("prlimit").args(["--pid", &fed.mx.pid().to_string(), "--fsize=0:0"]).status();
    assert!(limited.expect("prlimit of util-linux").success());
    let text = get(at, "/metrics").unwrap().1;
    assert!(text.contains("puente_ready 1"), "{text}");
    fed.mx.kill();
    assert!(get(at, "/livez").is_none());

    // What would not start says so before it starts: the door is open, the node is not.
    fs::write(&rules, "permit (principal").unwrap();
    assert!(!fed.mx.try_start(""));
    assert!(fed.mx.words().contains("broken.cedar"), "{}", fed.mx.words());
    fed.mx.kill();
    fs::remove_file(&rules).unwrap();
    assert!(fed.mx.try_start("trap '' XFSZ; "), "{}", fed.mx.words());
    until(at, None);
    let limited = Process::new("prlimit").args(["--pid", &fed.mx.pid().to_string(), "--fsize=0:0"]).status();
    assert!(limited.unwrap().success());
    fed.mx.call(Command::Event(serde_json::from_str(r#"{"kind":"CONSULT"}"#).unwrap()));
    until(at, Some("log"));
}

/// A small disk of its own; it is gone with this.
struct SmallDisk(std::path::PathBuf);

impl SmallDisk {
    /// None where this user may not mount.
    fn new(at: &Path, mib: u64) -> Option<Self> {
        fs::create_dir_all(at).unwrap();
        let size = format!("size={mib}m");
        let mounted = Process::new("mount").args(["-t", "tmpfs", "-o", &size, "tmpfs"]).arg(at).status();
        if mounted.is_ok_and(|status| status.success()) {
            return Some(Self(at.to_owned()));
        }
        assert!(std::env::var_os("PUENTE_NO_SKIP").is_none(), "cannot mount a tmpfs and skipping is forbidden");
        eprintln!("SKIPPED: this user may not mount a tmpfs: nothing is known about a disk that fills up");
        None
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Process::new("umount").arg("-l").arg(&self.0).status();
    }
}

#[test]
fn readiness_sees_a_disk_fill_up_before_the_log_does() {
    let _alone = alone();
    let mut fed = Federation::found();
    let at = open_door(&fed.mx, "");
    let Some(_disk) = SmallDisk::new(&fed.root.path().join("small"), 320) else { return };
    // The journal alone lies on the small disk.
    std::os::unix::fs::symlink(fed.root.path().join("small"), fed.mx.dir.join("journal")).unwrap();
    assert!(fed.mx.try_start(""), "{}", fed.mx.words());
    until(at, None);
    let filler = fed.root.path().join("small/filler");
    let fill = |mib: usize| fs::write(&filler, vec![1; mib << 20]).unwrap();
    fill(200);
    assert_eq!(until_state(at, "disk-space", "warn")["ready"], true);
    fill(280);
    let value = until(at, Some("disk-space"));
    assert_eq!(check(&value, "disk-space")["code"], "disk-full", "{value}");
    // There is still room for the log's current segment: it is said before anything is lost.
    assert_eq!(check(&value, "log")["state"], "ok", "{value}");
    let status = fed.mx.run(&["node", "status", "--lang", "es"]);
    let text = String::from_utf8_lossy(&status.stdout).into_owned();
    assert_eq!(status.status.code(), Some(4), "{text}");
    assert!(text.contains("el disco está lleno"), "{text}");
    fs::remove_file(&filler).unwrap();
    until(at, None);
    fed.mx.kill();
}

fn metric(text: &str, name: &str) -> Option<f64> {
    text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok())
}

#[test]
fn metrics_count_exchanges_and_name_nobody() {
    let _alone = alone();
    let mut fed = Federation::found();
    let (asker, holder) = (open_door(&fed.mx, ""), open_door(&fed.us, ""));
    fed.start();
    assert!(fed.answered_within(Duration::from_secs(20)).is_some());
    for n in 0..5 {
        let answer = federation::ask(&fed.mx, question(&fed.us.uri, &format!("WVWZZZ1KZAP77{n:04}"), 5_000));
        assert!(word(&answer).starts_with("answered"), "{answer:?}");
    }
    let end = Instant::now() + Duration::from_secs(20);
    let (asked, held) = loop {
        let texts = (get(asker, "/metrics").unwrap().1, get(holder, "/metrics").unwrap().1);
        let label = |role: &str| {
            format!("puente_exchanges_total{{role=\"{role}\",kind=\"vehicle.status\",outcome=\"NO_HIT\"}}")
        };
        let counted = (metric(&texts.0, &label("asker")), metric(&texts.1, &label("holder")));
        if counted.0.is_some_and(|n| n >= 5.0) && counted.1.is_some_and(|n| n >= 5.0) {
            break texts;
        }
        assert!(Instant::now() < end, "{texts:?}");
        std::thread::sleep(Duration::from_millis(100));
    };
    for text in [&asked, &held] {
        let series = text.lines().filter(|line| !line.starts_with('#')).count();
        assert!(series <= puente_agency::ops::meter::SERIES_MAX, "{series} series");
        for name in ["puente_ready", "puente_peers_ready", "puente_connections"] {
            assert_eq!(metric(text, name), Some(1.0), "{name}\n{text}");
        }
        assert!(metric(text, "puente_commit_seconds_count").is_some_and(|n| n > 5.0), "{text}");
        assert!(metric(text, "puente_log_entries").is_some_and(|n| n > 10.0), "{text}");
        assert_eq!(metric(text, "puente_store_errors_total{what=\"records\"}"), Some(0.0), "{text}");
        // Nobody: no officer, no case, no vehicle.
        for canary in ["o-1042", "o-77", "Agent", "FGEBC", "WVW", "ZZZ1KZ"] {
            assert!(!text.contains(canary), "{canary}\n{text}");
        }
    }
    assert!(metric(&asked, "puente_exchange_seconds_count").is_some_and(|n| n >= 5.0), "{asked}");
    fed.stop();
}

#[test]
fn a_node_that_is_told_to_stop_ends_what_is_under_way_and_takes_nothing_new_on() {
    let _alone = alone();
    let mut fed = Federation::found();
    let at = open_door(&fed.mx, "drain_seconds = 20\n");
    fed.start();
    assert!(fed.answered_within(Duration::from_secs(20)).is_some());
    let signal = |pid: u32, name: &str| {
        assert!(Process::new("kill").args([name, &pid.to_string()]).status().unwrap().success());
    };
    // The holder stands still: the question stays under way.
    signal(fed.us.pid(), "-STOP");
    let (socket, to) = (fed.mx.socket(), fed.us.uri.clone());
    let asking = std::thread::spawn(move || {
        let mut node = ControlClient::connect(&socket).unwrap();
        node.set_timeout(Some(Duration::from_secs(40))).unwrap();
        node.call(Command::Query(Box::new(question(&to, "WVWZZZ1KZAP880001", 25_000)))).unwrap()
    });
    let end = Instant::now() + Duration::from_secs(20);
    while metric(&get(at, "/metrics").unwrap().1, "puente_under_way{what=\"asker\"}") != Some(1.0) {
        assert!(Instant::now() < end, "{}", fed.mx.words());
        std::thread::sleep(Duration::from_millis(50));
    }
    signal(fed.mx.pid(), "-TERM");
    until(at, Some("start"));
    assert_eq!(word(&federation::ask(&fed.mx, question(&fed.us.uri, "WVWZZZ1KZAP880002", 5_000))), "stopping");
    assert!(!asking.is_finished());
    signal(fed.us.pid(), "-CONT");
    let answer = asking.join().unwrap();
    assert!(word(&answer).starts_with("answered"), "{answer:?} {}", fed.mx.words());
    let end = Instant::now() + Duration::from_secs(20);
    while get(at, "/livez").is_some() {
        assert!(Instant::now() < end, "{}", fed.mx.words());
        std::thread::sleep(Duration::from_millis(50));
    }
    assert!(fed.mx.words().contains("drained"), "{}", fed.mx.words());
}

#[test]
fn every_metric_that_an_alert_names_exists() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let alerts = fs::read_to_string(root.join("packaging/prometheus/alerts.yml")).unwrap();
    let meter = puente_agency::ops::meter::Meter::new();
    meter.exchange("asker", "vehicle.status", "DISPUTED");
    let ends = Some(1);
    let snapshot = puente_agency::ops::meter::Snapshot {
        certificate_ends: ends,
        root_ends: ends,
        api_key_ends: ends,
        officer_ends: ends,
        ..Default::default()
    };
    let shown = meter.show(std::time::SystemTime::now(), &snapshot);
    let series: Vec<&str> = shown.lines().filter(|line| !line.starts_with('#')).collect();
    let mut named = 0;
    for line in alerts.lines().filter_map(|line| line.trim().strip_prefix("expr: ")) {
        for at in line.match_indices("puente_").map(|(at, _)| at) {
            let name: String = line[at..].chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect();
            let found: Vec<&&str> = series.iter().filter(|s| s.split(['{', ' ']).next() == Some(&name)).collect();
            assert!(!found.is_empty(), "no such metric: {name} in {line}");
            // A label's value that is spelled out exists, too, and each of a choice of them.
            if let Some(value) = line[at + name.len()..].strip_prefix('{').and_then(|rest| rest.split('}').next()) {
                let (label, values) = value.split_once("=~").or_else(|| value.split_once('=')).unwrap();
                for one in values.trim_matches('"').split('|').filter(|one| !one.contains(['*', '+', '.', '['])) {
                    let wanted = format!("{label}=\"{one}\"");
                    assert!(found.iter().any(|series| series.contains(&wanted)), "{name}{{{wanted}}} in {line}");
                }
            }
            named += 1;
        }
    }
    assert!(named >= 15, "{named} metrics in the alerts: has the file changed its shape?");
    // And nothing but what exists is promised: each alert says what to do.
    assert_eq!(alerts.matches("- alert:").count(), alerts.matches("          do: ").count());
}

fn doctor(node: &Node, lang: &str) -> (Option<i32>, Value) {
    let ran = node.run(&["doctor", "--json", "--lang", lang]);
    let value = serde_json::from_slice(&ran.stdout);
    (ran.status.code(), value.unwrap_or_else(|e| panic!("{e}: {}", String::from_utf8_lossy(&ran.stderr))))
}

fn states<'v>(value: &'v Value, name: &str) -> Vec<&'v str> {
    let checks = value["checks"].as_array().unwrap().iter();
    checks.filter(|check| check["name"] == name).map(|check| check["state"].as_str().unwrap()).collect()
}

#[test]
fn the_doctor_sees_what_is_broken_whether_the_node_runs_or_not() {
    let _alone = alone();
    let mut fed = Federation::found();
    // Stopped, and the partner too.
    let (_, value) = doctor(&fed.mx, "en");
    assert_eq!(value["running"], false, "{value}");
    assert!(value["checks"].as_array().unwrap().len() >= 30, "{value}");
    assert_eq!(states(&value, "peer"), ["warn"], "{value}");
    assert_eq!(states(&value, "clock-peers"), ["unknown"], "{value}");
    fed.start();
    assert!(fed.answered_within(Duration::from_secs(20)).is_some());
    let (code, value) = doctor(&fed.mx, "es");
    assert_eq!(value["running"], true, "{value}");
    assert_eq!(value["counts"]["fail"], 0, "{value}");
    assert!(matches!(code, Some(0 | 1)), "{value}");
    for name in ["peer", "clock-peers", "log-edge", "records", "evidence", "charter", "certificate-chain", "policies"] {
        assert!(states(&value, name).iter().all(|state| *state == "ok"), "{name}: {value}");
    }
    assert!(value.to_string().contains("un nodo responde"), "{value}");
    for step in ["member", "dns", "udp", "tls", "certificate", "ready", "charter", "catalogue"] {
        assert!(value.to_string().contains(&format!("{step} ")), "{step}: {value}");
    }
    for canary in ["o-1042", "Agent"] {
        assert!(!value.to_string().contains(canary), "{value}");
    }

    let tested = fed.mx.json(&["peer", "test", &fed.us.uri]);
    let steps: Vec<&str> = tested["steps"].as_array().unwrap().iter().map(|s| s["step"].as_str().unwrap()).collect();
    assert_eq!(steps, ["member", "dns", "udp", "tls", "certificate", "ready", "charter", "catalogue", "policy"]);
    assert!(tested["well"] == true && tested["clock_skew_millis"].as_i64().unwrap().abs() < 2_000, "{tested}");
    let list = fed.mx.json(&["peer", "list"]);
    assert_eq!(list["peers"].as_array().unwrap().len(), 2, "{list}");
    // Trying a peer leaves the exchange as it was.
    assert!(fed.answered_within(Duration::from_secs(5)).is_some());

    // Broken, each by itself.
    let key = fed.mx.dir.join("keys/log.key");
    let rights = |mode| {
        use std::os::unix::fs::PermissionsExt as _;
        fs::set_permissions(&key, fs::Permissions::from_mode(mode)).unwrap();
    };
    rights(0o644);
    let (code, value) = doctor(&fed.mx, "en");
    assert_eq!((code, states(&value, "key-files-rights")), (Some(4), vec!["fail"]), "{value}");
    rights(0o600);
    fed.us.kill();
    let unreachable = fed.mx.run(&["peer", "test", &fed.us.uri, "--json"]);
    assert_eq!(unreachable.status.code(), Some(3));
    let value: Value = serde_json::from_slice(&unreachable.stdout).unwrap();
    // Neither way: UDP is tried first, then TCP.
    let failed = value["steps"].as_array().unwrap().iter().filter(|step| step["ok"] == false);
    assert_eq!(failed.map(|step| step["step"].as_str().unwrap()).collect::<Vec<_>>(), ["udp", "tcp"], "{value}");
    let stranger = fed.mx.run(&["peer", "test", "puente://us/nobody/n1", "--json"]);
    let value: Value = serde_json::from_slice(&stranger.stdout).unwrap();
    assert_eq!(value["steps"][0]["code"], "not-in-charter", "{value}");
    fed.mx.kill();
    fs::write(fed.mx.dir.join("log/checkpoint"), b"nonsense").unwrap();
    fs::write(fed.mx.dir.join("policies/broken.cedar"), "permit (principal").unwrap();
    let (_, value) = doctor(&fed.mx, "en");
    assert_eq!(states(&value, "log-edge"), ["fail"], "{value}");
    assert_eq!(states(&value, "policies"), ["fail"], "{value}");
}

#[test]
fn a_certificate_is_renewed_under_a_running_node() {
    let _alone = alone();
    let mut federation = Federation::found();
    federation.start();
    federation.answered_within(Duration::from_secs(20)).unwrap();
    let ca = federation.root.path().join("ca/mx").display().to_string();
    let shown = |node: &Node| node.status()["certificate_ends"].as_str().unwrap().to_owned();
    let (before, pid) = (shown(&federation.mx), federation.mx.pid());
    // Policies that are being edited are none of the timer's business.
    let rules = federation.mx.dir.join("policies/outbound.cedar");
    let text = fs::read_to_string(&rules).unwrap();
    fs::write(&rules, "half a sentence").unwrap();
    let early = federation.mx.run(&["node", "renew", "--if-due", "--ca", &ca]);
    assert_eq!(early.status.code(), Some(5), "not due");
    let looping = federation.mx.run(&["node", "renew", "--ca", &ca]);
    assert_eq!(looping.status.code(), Some(2), "issued a moment ago");
    // Certificates end at whole seconds.
    std::thread::sleep(Duration::from_millis(1_100));
    let renewed = federation.mx.json(&["node", "renew", "--force", "--ca", &ca]);
    assert_eq!((&renewed["state"], &renewed["in_force"]), (&"renewed".into(), &true.into()), "{renewed}");
    assert!(shown(&federation.mx) > before && federation.mx.pid() == pid);
    assert_eq!(federation.mx.status()["peers"][0]["connections"], 1, "connections stay");
    fs::write(&rules, text).unwrap();
    // The next handshake is under the new certificate and its key.
    federation.us.stop();
    assert!(federation.us.try_start(""), "{}", federation.us.words());
    federation.answered_within(Duration::from_secs(20)).unwrap();
    // So is the node's next start.
    federation.mx.stop();
    assert!(federation.mx.try_start(""), "{}", federation.mx.words());
    federation.answered_within(Duration::from_secs(20)).unwrap();
    federation.stop();
}
