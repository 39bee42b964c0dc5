//! Real node processes under hardship: what their logs give away, and what they do without descriptors, without a
//! disk, and when they are killed.

// Helpers of tests are tests too: what is not as expected ends them.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "hardening/canaries.rs"]
mod canaries;
#[path = "hardening/collector.rs"]
mod collector;
#[path = "hardening/door.rs"]
mod door;
#[path = "hardening/federation.rs"]
mod federation;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use puente_agency::control::ControlClient;
use puente_agency::control_api::{Answer, Command, Concluded};
use rand_chacha::ChaCha20Rng;
use rand_core::{RngCore as _, SeedableRng as _};
use serde_json::json;
use socket2::{Domain, SockAddr, Socket, Type};

use canaries::Canaries;
use collector::Collector;
use federation::{Federation, alone, ask, question};

#[test]
fn canaries_never_reach_logs_or_status() {
    let _alone = alone();
    let mut fed = Federation::found();
    fed.set_log_level("trace");
    let collector = Collector::open();
    fed.trace_to(&collector.url);
    let mut canaries = Canaries::default();
    let officers = [
        (canaries.add("o-cnry88417"), canaries.add("Canaria Investigadora Quiroga"), "investigator"),
        (canaries.add("o-cnry90233"), canaries.add("Canario Fiscal Zapotitlan"), "prosecutor"),
    ];
    for (id, name, role) in &officers {
        fed.mx.json(&["officer", "add", id, "--name", name, "--role", role, "--expires", &federation::in_days(60)]);
    }
    fed.start();
    let records = canaries::import(&fed, &mut canaries);
    let mut shown = Vec::new();
    canaries::ask_everything(&fed, &mut canaries, &officers, &records, &mut shown);
    for node in [&fed.mx, &fed.us] {
        let status = node.run(&["node", "status", "--json"]);
        shown.push(("status".to_owned(), status.stdout));
        shown.push(("status".to_owned(), status.stderr));
        let said = node.run(&["node", "status"]);
        shown.push(("status".to_owned(), said.stdout));
        let export = node.dir.with_extension("export");
        node.json(&["log", "export", export.to_str().unwrap(), "--auditor", "own"]);
        let log = node.run(&["log", "show", "--limit", "1000", "--json"]);
        assert!(log.status.success());
        shown.push(("log show".to_owned(), log.stdout));
        shown.push(("support".to_owned(), bundle(node, "running", true)));
    }
    let running = canaries.search(&fed, &shown);
    fed.stop();
    // Both nodes told the collector of every exchange, and of nobody.
    let spans = collector.spans();
    let told = |kind: u8| spans.iter().filter(|span| span["name"] == "exchange" && span["kind"] == kind).count();
    assert!(told(2) >= 5 && told(3) >= 5 && spans.len() > 3 * told(2), "{} {} {spans:?}", told(2), told(3));
    let down = bundle(&fed.mx, "stopped", false);
    let stopped = canaries.search(&fed, &[("traces".to_owned(), collector.bytes()), ("support".to_owned(), down)]);
    eprintln!(
        "{} canaries, {} patterns; {} bytes of {} files and outputs while running, {} bytes of {} when stopped",
        canaries.len(),
        canaries.patterns(),
        running.bytes,
        running.files,
        stopped.bytes,
        stopped.files
    );
    assert!(canaries.len() >= 30);
    assert_eq!(running.hits, Vec::<String>::new());
    assert_eq!(stopped.hits, Vec::<String>::new());
    // The search finds what is there: the agency's own data hold them.
    for own in [fed.us.dir.with_extension("vehicles.csv"), fed.us.dir.join("records.db")] {
        let found = canaries.found_in(&std::fs::read(&own).unwrap());
        assert!(found.len() >= 20, "{}: {found:?}", own.display());
    }
}

/// The receipt of the first entry as COSE: it verifies with the log's key for that entry, and overwrites nothing.
fn cose(node: &federation::Node, path: &Path, key: &puente_audit_log::VerifierKey) {
    let arguments = ["log", "prove", "0", "--cose", path.to_str().unwrap()];
    let leaf = node.json(&arguments)["leaf"].as_str().unwrap().parse().unwrap();
    let receipt = std::fs::read(path).unwrap();
    let claimed = puente_audit_log::ClaimedCoseReceipt::parse(&receipt).unwrap();
    assert_eq!(claimed.verify(&leaf, key).unwrap().origin, key.name());
    assert!(!node.run(&arguments).status.success(), "the file is there already");
    assert_eq!(std::fs::read(path).unwrap(), receipt);
}

/// A support bundle: previewed, written, signed by the node's log key, and without that key.
fn bundle(node: &federation::Node, name: &str, runs: bool) -> Vec<u8> {
    let path = node.dir.with_extension(name);
    let preview = node.run(&["support", "--dry-run"]);
    assert!(preview.status.success() && !path.exists(), "{preview:?}");
    let unasked = node.run(&["support", "--out", path.to_str().unwrap()]);
    assert!(unasked.status.code() == Some(2) && !path.exists(), "nobody looked at it: {unasked:?}");
    let value = node.json(&["support", "--out", path.to_str().unwrap(), "--yes"]);
    assert_eq!(value["signed"], true, "{value}");
    let bytes = std::fs::read(&path).unwrap();
    let note = puente_audit_log::ClaimedNote::parse(&bytes).unwrap();
    let seed = std::fs::read_to_string(node.dir.join("keys/log.key")).unwrap();
    let key = node.json(&["log", "prove", "0"])["vkey"].as_str().unwrap().parse().unwrap();
    assert_eq!(note.verify(&[&key]).unwrap().len(), 1);
    cose(node, &node.dir.with_extension(format!("{name}.cose")), &key);
    for secret in ["keys/log.key", "keys/store.key"] {
        let secret = std::fs::read_to_string(node.dir.join(secret)).unwrap();
        assert!(!note.text().contains(secret.trim()), "{}", note.text());
    }
    assert!(seed.trim().len() == 64 && !note.text().contains(node.dir.to_str().unwrap()), "{}", note.text());
    for (named, there) in [("\"checks\"", true), ("\"config\"", true), ("puente_", runs), ("\"log_lines\"", runs)] {
        assert_eq!(note.text().contains(named), there, "{named}\n{}", note.text());
    }
    // What it was shown as, but for the times and numbers of a moment later.
    let keys =
        |text: &str| text.lines().filter_map(|l| Some(l.split_once("\": ")?.0.trim().to_owned())).collect::<Vec<_>>();
    assert_eq!(keys(&String::from_utf8(preview.stdout).unwrap()), keys(note.text()));
    bytes
}

/// Opens connections to a control socket until none is taken any more, or there are `max`.
fn crowd(socket: &Path, max: usize) -> Vec<Socket> {
    let mut out = Vec::new();
    let until = Instant::now() + Duration::from_secs(3);
    while out.len() < max && Instant::now() < until {
        let one = Socket::new(Domain::UNIX, Type::STREAM, None).unwrap();
        one.set_nonblocking(true).unwrap();
        match one.connect(&SockAddr::unix(socket).unwrap()) {
            Ok(()) => out.push(one),
            // Its queue is full: it may go down, or not.
            Err(_) => std::thread::sleep(Duration::from_millis(50)),
        }
    }
    out
}

#[test]
fn a_node_short_of_descriptors_recovers() {
    let _alone = alone();
    let mut fed = Federation::found();
    fed.start();
    fed.us.stop();
    for limit in [128_usize, 64, 32] {
        let started = fed.us.try_start(&format!("ulimit -n {limit}; "));
        if limit == 32 && !started {
            let said = fed.us.words();
            eprintln!("limit 32: does not start: {}", said.lines().last().unwrap_or_default());
            assert!(!said.contains("panicked"), "{said}");
            assert!(said.contains("Too many open files") || said.contains("descriptors"), "{said}");
            fed.us.kill();
            continue;
        }
        assert!(started, "limit {limit}: {}", fed.us.words());
        assert!(fed.answered_within(Duration::from_secs(10)).is_some(), "limit {limit}: {}", fed.us.words());
        let idle = fed.us.descriptors();
        let crowd = crowd(&fed.us.socket(), 220);
        std::thread::sleep(Duration::from_millis(300));
        let full = fed.us.descriptors();
        let mut asked = BTreeMap::<String, usize>::new();
        for n in 0..5 {
            let word = federation::word(&ask(&fed.mx, question(&fed.us.uri, &format!("WVWZZZ1KZAP{n:06}"), 1_000)));
            *asked.entry(word).or_default() += 1;
        }
        let connected = crowd.len();
        drop(crowd);
        let recovered = fed.answered_within(Duration::from_secs(5));
        eprintln!(
            "limit {limit}: {idle} descriptors idle, {full} with {connected} connections; asked meanwhile {asked:?}; \
             answered again after {recovered:?}"
        );
        // Log, stores and network have descriptors that no client gets.
        let answered = asked.iter().filter(|(word, _)| word.starts_with("answered")).map(|(_, n)| n).sum::<usize>();
        assert_eq!(answered, 5, "limit {limit}: {asked:?} {}", fed.us.words());
        assert!(recovered.is_some(), "limit {limit}: no answer within 5 s: {}", fed.us.words());
        let status = fed.us.status();
        let codes = federation::problems(&status);
        assert!(!codes.contains("log-unavailable") && !codes.contains("disk"), "limit {limit}: {status}");
        assert!(!fed.us.words().contains("panicked"), "{}", fed.us.words());
        fed.us.stop();
    }
}

#[test]
fn a_node_whose_log_cannot_be_written_answers_nothing() {
    let _alone = alone();
    let mut fed = Federation::found();
    // A file that may not grow is an error of the write then, not the end of the process.
    assert!(fed.us.try_start("trap '' XFSZ; "), "{}", fed.us.words());
    assert!(fed.mx.try_start(""), "{}", fed.mx.words());
    let mut acknowledged = BTreeSet::new();
    assert!(fed.answered_within(Duration::from_secs(10)).is_some());
    for n in 0..20 {
        match ask(&fed.mx, question(&fed.us.uri, &format!("WVWZZZ1KZBP{n:06}"), 5_000)) {
            Answer::Concluded(c) => match *c {
                Concluded::Answered { exchange, .. } => assert!(acknowledged.insert(exchange)),
                other => panic!("{other:?}"),
            },
            other => panic!("{other:?}"),
        }
    }
    // Everything is applied and published: the next to write is the journal.
    std::thread::sleep(Duration::from_millis(2_500));
    let limited = std::process::Command::new("prlimit")
        .args(["--pid", &fed.us.pid().to_string(), "--fsize=0:0"])
        .status()
        .expect("prlimit of util-linux");
    assert!(limited.success());
    let words = answers(&fed, 200, 3_000);
    eprintln!("200 questions to a node whose disk takes nothing: {words:?}");
    assert_eq!(words.keys().filter(|w| w.starts_with("answered") || w.starts_with("refused")).count(), 0, "{words:?}");
    // Its own officers get the cause, not a wait.
    let mut own = question(&fed.mx.uri, "WVWZZZ1KZCP000001", 2_000);
    own.officer = "o-77".parse().unwrap();
    let own = federation::word(&ask(&fed.us, own));
    assert_eq!(own, "log-unavailable");
    let status = fed.us.run(&["node", "status", "--json"]);
    assert_eq!(status.status.code(), Some(4), "{}", String::from_utf8_lossy(&status.stdout));
    let status = fed.us.status();
    assert_eq!(status["problems"][0]["code"], "log-unavailable", "{status}");
    let cause = status["problems"][0]["message"].as_str().unwrap().to_owned();
    eprintln!("status: {cause}");
    assert!(cause.contains("journal") && cause.contains("too large") && cause.contains("mend the disk"), "{cause}");
    fed.us.kill();

    // A node that cannot write from its first moment on answers nothing either, be it up or not.
    let up = fed.us.try_start("trap '' XFSZ; ulimit -f 64; ");
    let words = answers(&fed, 20, 2_000);
    if up {
        let codes = federation::problems(&fed.us.status());
        assert!(codes.contains("log-unavailable") || codes.contains("disk"), "{codes:?}");
    }
    eprintln!("started without room: up {up}; {words:?}; {}", fed.us.words().lines().last().unwrap_or_default());
    assert_eq!(words.keys().filter(|w| w.starts_with("answered") || w.starts_with("refused")).count(), 0, "{words:?}");
    assert!(!fed.us.words().contains("panicked"), "{}", fed.us.words());
    fed.us.kill();

    // With room again nothing that was acknowledged is missing, in either log.
    assert!(fed.us.try_start(""), "{}", fed.us.words());
    assert!(fed.answered_within(Duration::from_secs(20)).is_some());
    fed.audit(&acknowledged);
}

/// Many questions at once; how many came to what.
fn answers(fed: &Federation, count: usize, due: u64) -> BTreeMap<String, usize> {
    let (mut sender, mut receiver) = ControlClient::connect(&fed.mx.socket()).unwrap().split();
    for n in 0..count {
        let command = Command::Query(Box::new(question(&fed.us.uri, &format!("WVWZZZ1KZDP{n:06}"), due)));
        sender.queue(command).unwrap();
    }
    sender.flush().unwrap();
    let mut out = BTreeMap::new();
    for _ in 0..count {
        let answer = receiver.receive().unwrap().answer;
        *out.entry(federation::word(&answer)).or_default() += 1;
    }
    out
}

#[test]
fn kill_9_at_any_moment() {
    let _alone = alone();
    let mut fed = Federation::found();
    fed.start();
    assert!(fed.answered_within(Duration::from_secs(10)).is_some());
    let mut rng = ChaCha20Rng::seed_from_u64(2026);
    let done = AtomicBool::new(false);
    let (socket, uri) = (fed.mx.socket(), fed.us.uri.clone());
    let mut counts = BTreeMap::<String, usize>::new();
    let mut acknowledged = BTreeSet::new();
    let mut kills = Vec::new();
    std::thread::scope(|scope| {
        let asking = scope.spawn(|| {
            let (mut counts, mut acknowledged) = (BTreeMap::<String, usize>::new(), BTreeSet::new());
            let mut n = 0;
            while !done.load(Ordering::Relaxed) {
                n += 1;
                let Ok(mut node) = ControlClient::connect(&socket) else {
                    std::thread::sleep(Duration::from_millis(20));
                    continue;
                };
                node.set_timeout(Some(Duration::from_secs(8))).unwrap();
                let command = Command::Query(Box::new(question(&uri, &format!("WVWZZZ1KZEP{n:06}"), 5_000)));
                let word = match node.call(command) {
                    Ok(answer) => {
                        if let Answer::Concluded(concluded) = &answer
                            && let Concluded::Answered { exchange, .. } = &**concluded
                        {
                            assert!(acknowledged.insert(exchange.clone()), "an exchange was concluded twice");
                        }
                        federation::word(&answer)
                    }
                    Err(_) => "cut off".to_owned(),
                };
                *counts.entry(word).or_default() += 1;
            }
            (counts, acknowledged)
        });
        for _ in 0..10 {
            std::thread::sleep(Duration::from_millis(50 + rng.next_u64() % 700));
            let which = rng.next_u32() % 3;
            kills.push(["mx", "us", "both"][which as usize]);
            // Both at the very same moment, where both die.
            if which != 1 {
                fed.mx.kill();
            }
            if which != 0 {
                fed.us.kill();
            }
            std::thread::sleep(Duration::from_millis(rng.next_u64() % 200));
            if which != 1 {
                assert!(fed.mx.try_start(""), "{}", fed.mx.words());
            }
            if which != 0 {
                assert!(fed.us.try_start(""), "{}", fed.us.words());
            }
        }
        assert!(fed.answered_within(Duration::from_secs(20)).is_some());
        done.store(true, Ordering::Relaxed);
        (counts, acknowledged) = asking.join().unwrap();
    });
    eprintln!("killed {kills:?}; {counts:?}");
    assert!(acknowledged.len() >= 10, "{counts:?}");
    for node in [&fed.mx, &fed.us] {
        assert!(!node.words().contains("panicked"), "{}", node.words());
    }
    let audited = fed.audit(&acknowledged);
    eprintln!("{}", json!({"acknowledged": acknowledged.len(), "entries": audited}));
}

#[test]
fn a_node_whose_journal_is_deleted_or_moved_answers_nothing() {
    let _alone = alone();
    let mut fed = Federation::found();
    for moved in [true, false] {
        fed.start();
        assert!(fed.answered_within(Duration::from_secs(20)).is_some());
        let (journal, elsewhere) = (fed.us.dir.join("journal"), fed.us.dir.join("elsewhere"));
        if moved {
            std::fs::rename(&journal, &elsewhere).unwrap();
        } else {
            // The node may be preparing its next segment there.
            while journal.exists() {
                let _ = std::fs::remove_dir_all(&journal);
            }
        }
        // The node holds the file open, and the system lets it write and sync what nobody will ever read.
        let words = answers(&fed, 200, 2_000);
        let spoken = words.keys().filter(|w| w.starts_with("answered") || w.starts_with("refused")).count();
        assert_eq!(spoken, 0, "moved {moved}: {words:?}");
        let status = fed.us.status();
        assert_eq!(status["problems"][0]["code"], "log-unavailable", "{status}");
        fed.us.kill();
        fed.mx.kill();
        if moved {
            std::fs::rename(&elsewhere, &journal).unwrap();
        }
    }
    // Without its journal the node does not start as if nothing had been.
    assert!(!fed.us.try_start(""), "a log whose tail is gone went on");
    assert!(fed.us.words().contains("journal"), "{}", fed.us.words());
}

/// Auditors of both nations verify and reconcile at the doors of running nodes; each sees what its nation may see.
#[test]
fn auditors_of_both_nations_read_at_the_doors_of_running_nodes() {
    let _alone = alone();
    let mut fed = Federation::found();
    door::prepare(&fed);
    fed.start();
    assert!(fed.answered_within(Duration::from_secs(20)).is_some());
    for node in [&fed.mx, &fed.us] {
        node.call(Command::ClosePeriods);
        // Heads are published about once a second: what is read next holds the exchange.
        node.call(Command::Publish);
    }
    let (mx, us) = (door::url(&fed.mx), door::url(&fed.us));
    for (nation, own) in [("mx", &mx), ("us", &us)] {
        let (code, verdict, words) = door::judge(&fed, nation, "verify", &[own]);
        assert_eq!((code, verdict["verdict"].as_str()), (0, Some("sound")), "{verdict} {words}");
        assert!(verdict["logs"][0]["entries"].as_u64() > Some(5), "{verdict}");
    }
    // What stands between the two logs is settled at the latest when both have published it.
    door::until(|| {
        ["mx", "us"].iter().all(|nation| {
            let (code, verdict, words) = door::judge(&fed, nation, "reconcile", &[&mx, &us]);
            assert_ne!(code, 1, "{verdict} {words}");
            code == 0 && verdict["pairs"] == 1
        })
    });
    let (mx_log, us_log) = ("mx/fge-bc/n1/log1", "us/tx-dps/n1/log1");
    for (nation, own, other) in [("mx", mx_log, us_log), ("us", us_log, mx_log)] {
        assert!(door::sealed_headers(&fed, nation, own) > 0 && door::sealed_headers(&fed, nation, other) == 0);
    }
    let status = fed.mx.status();
    let readers: BTreeSet<&str> =
        status["audit"]["auditors"].as_array().unwrap().iter().map(|a| a["auditor"].as_str().unwrap()).collect();
    assert_eq!(readers, BTreeSet::from(["puente-auditor://mx/mx-a", "puente-auditor://us/us-a"]));
    let said = fed.mx.run(&["node", "status"]);
    assert!(String::from_utf8_lossy(&said.stdout).contains("puente-auditor://us/us-a  "));
    // A node that is down is nobody's guilt, and the other's log is judged all the same.
    fed.us.kill();
    let (code, verdict, words) = door::judge(&fed, "mx", "reconcile", &[&mx, &us]);
    assert_eq!((code, verdict["verdict"].as_str()), (2, Some("could-not-tell")), "{verdict} {words}");
}
