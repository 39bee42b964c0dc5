//! What operators do over the years, with real node processes: backups, restores, keys, and the end of a log.

// Helpers of tests are tests too: what is not as expected ends them.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, dead_code)]

#[path = "hardening/federation.rs"]
mod federation;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use federation::{Federation, Node, alone, ask, problems, question, word};
use serde_json::Value;

const WORD: &str = "correct horse battery staple";

/// A file with a passphrase in it.
fn passphrase(fed: &Federation) -> PathBuf {
    let path = fed.root.path().join("passphrase");
    std::fs::write(&path, format!("{WORD}\n")).unwrap();
    path
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// The error that a command ends with.
fn refused(node: &Node, args: &[&str]) -> Value {
    let output = node.run(&[args, &["--json"]].concat());
    assert!(!output.status.success(), "{args:?}");
    let value: Value = serde_json::from_slice(&output.stdout).unwrap();
    value["error"].clone()
}

fn until(what: &str, done: impl Fn() -> bool) {
    let end = Instant::now() + Duration::from_secs(90);
    while !done() {
        assert!(Instant::now() < end, "{what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Asks until it is answered.
fn answered(fed: &Federation) {
    assert!(fed.answered_within(Duration::from_secs(30)).is_some(), "{}\n{}", fed.mx.words(), fed.us.words());
}

/// The folder is gone, and comes back from the backup.
fn lose_and_restore(fed: &mut Federation, backup: &Path, word: &Path) {
    fed.mx.kill();
    std::fs::rename(&fed.mx.dir, fed.mx.dir.with_extension("lost")).unwrap();
    let restored = fed.mx.json(&["restore", text(backup), "--backup-passphrase-file", text(word)]);
    assert_eq!((&restored["journal_verified"], &restored["suspended"]), (&true.into(), &true.into()), "{restored}");
}

#[test]
fn a_backup_that_lost_nothing_is_restored_compared_and_resumed() {
    let _alone = alone();
    let mut fed = Federation::found();
    let word_file = passphrase(&fed);
    fed.start();
    answered(&fed);
    let out = fed.root.path().join("mx.age");
    let made = ["backup", text(&out), "--with-keys", "--backup-passphrase-file", text(&word_file)];
    let backup = fed.mx.json(&made);
    assert!(backup["entries"].as_u64().unwrap() > 3, "{backup}");
    assert_eq!(refused(&fed.mx, &made)["code"], "exists", "nothing is overwritten");
    lose_and_restore(&mut fed, &out, &word_file);
    assert!(fed.mx.try_start(""), "{}", fed.mx.words());
    until("the partner agrees", || fed.mx.status().to_string().contains("1 of 1 agree: puente://us/tx-dps/n1"));
    let status = fed.mx.status();
    assert!(problems(&status).contains("log-suspended") && status["ready"] == false, "{status}");
    assert_eq!(word(&ask(&fed.mx, question(&fed.us.uri, "WVWZZZ1KZFP000001", 2_000))), "log-suspended");
    assert_eq!(refused(&fed.mx, &["log", "resume"])["code"], "running");
    fed.mx.stop();
    fed.mx.json(&["log", "resume"]);
    assert_eq!(refused(&fed.mx, &["log", "resume"])["code"], "not-suspended");
    assert!(fed.mx.try_start(""), "{}", fed.mx.words());
    answered(&fed);
    fed.audit(&std::collections::BTreeSet::new());
}

#[test]
fn a_backup_opens_with_its_key_alone_and_comes_without_the_nodes_keys_unless_told() {
    let _alone = alone();
    let fed = Federation::found();
    let (identity, out) = (fed.root.path().join("identity"), fed.root.path().join("mx.age"));
    let key = age::x25519::Identity::generate();
    let secret = age::secrecy::ExposeSecret::expose_secret(&key.to_string()).to_owned();
    std::fs::write(&identity, format!("# for a test\n{secret}\n")).unwrap();
    // The node never ran: its log is empty, and is made so.
    let recipient = key.to_public().to_string();
    let made = fed.mx.json(&["backup", text(&out), "--recipient", &recipient, "--without-records"]);
    assert_eq!((&made["keys"], &made["records"]), (&false.into(), &false.into()));
    assert_eq!(refused(&fed.mx, &["backup", "x.age", "--recipient", "age1nobody"])["code"], "recipient");
    let dir = fed.root.path().join("new");
    let at = |args: &[&str]| federation::puente(&dir, args);
    let other = fed.root.path().join("other");
    let wrong = age::x25519::Identity::generate().to_string();
    std::fs::write(&other, age::secrecy::ExposeSecret::expose_secret(&wrong)).unwrap();
    let denied = at(&["restore", text(&out), "--identity", text(&other), "--json"]);
    assert!(String::from_utf8_lossy(&denied.stdout).contains("backup-sealed"), "{denied:?}");
    assert!(!dir.exists());
    let checked = at(&["restore", text(&out), "--identity", text(&identity), "--check", "--json"]);
    assert!(checked.status.success() && !dir.exists());
    let restored = at(&["restore", text(&out), "--identity", text(&identity), "--json"]);
    let restored: Value = serde_json::from_slice(&restored.stdout).unwrap();
    assert_eq!(restored["journal_verified"], false, "{restored}");
    assert!(dir.join("keys/tls.cert.pem").exists() && !dir.join("keys/log.key").exists());
    let again = at(&["restore", text(&out), "--identity", text(&identity), "--json"]);
    assert!(String::from_utf8_lossy(&again.stdout).contains("not empty"), "{again:?}");
    // With the keys from elsewhere everything is verified.
    std::fs::remove_dir_all(&dir).unwrap();
    let keys = fed.mx.dir.join("keys");
    let restored = at(&["restore", text(&out), "--identity", text(&identity), "--keys", text(&keys), "--json"]);
    let restored: Value = serde_json::from_slice(&restored.stdout).unwrap();
    assert_eq!(restored["journal_verified"], true, "{restored}");
}

#[test]
fn keys_go_under_a_passphrase_and_back_and_the_node_runs_with_both() {
    let _alone = alone();
    let mut fed = Federation::found();
    let word_file = passphrase(&fed);
    let shown = fed.mx.json(&["keys", "show"]);
    fed.mx.json(&["keys", "protect", "--new-passphrase-file", text(&word_file)]);
    for key in ["log.key", "store.key", "tls.key.pem", "witness.key"] {
        let bytes = std::fs::read(fed.mx.dir.join("keys").join(key)).unwrap();
        assert!(bytes.starts_with(b"-----BEGIN AGE ENCRYPTED FILE-----"), "{key}");
    }
    let listed = fed.mx.json(&["keys", "list"]).to_string();
    assert_eq!(listed.matches("\"encrypted\":true").count(), 4, "{listed}");
    assert_eq!(fed.mx.json(&["keys", "show", "--passphrase-file", text(&word_file)]), shown);
    // Nobody to ask: it says where a passphrase can come from.
    assert!(!fed.mx.try_start(""));
    assert!(fed.mx.words().contains("--passphrase-file"), "{}", fed.mx.words());
    fed.mx.kill();
    let credentials = fed.root.path().join("credentials");
    std::fs::create_dir(&credentials).unwrap();
    std::fs::copy(&word_file, credentials.join("puente.passphrase")).unwrap();
    let before = format!("export CREDENTIALS_DIRECTORY='{}'; ", credentials.display());
    assert!(fed.mx.try_start(&before), "{}", fed.mx.words());
    assert!(fed.us.try_start(""), "{}", fed.us.words());
    answered(&fed);
    assert_eq!(refused(&fed.mx, &["keys", "unprotect"])["code"], "running");
    fed.stop();
    let wrong = fed.root.path().join("wrong");
    std::fs::write(&wrong, "another passphrase\n").unwrap();
    let error = refused(&fed.mx, &["keys", "unprotect", "--passphrase-file", text(&wrong)]);
    assert!(error["message"].as_str().unwrap().contains("passphrase is wrong"), "{error}");
    fed.mx.json(&["keys", "unprotect", "--passphrase-file", text(&word_file)]);
    assert_eq!(fed.mx.json(&["keys", "show"]), shown);
    fed.start();
    answered(&fed);
}

/// Mexico's next annex, in which the member's log is this stanza; signed, and adopted by the member. Its partner, which
/// runs meanwhile, has to learn of it from the member.
fn amend(fed: &Federation, stanza: &str) {
    let charter = fed.root.path().join("charter");
    let old = charter.join("annex-mx-1.toml");
    fed.mx.json(&["charter", "propose", text_of(&old), "--out", text_of(&charter)]);
    let part = charter.join("annex-mx-2.toml");
    let draft = std::fs::read_to_string(&part).unwrap();
    let (before, log) = draft.split_once("[[member.log]]").unwrap();
    assert!(!log.contains("[["), "one member, one log: {log}");
    std::fs::write(&part, format!("{before}{stanza}")).unwrap();
    let key = fed.root.path().join("governance/mx-gov-1.key");
    fed.mx.json(&["charter", "sign", text_of(&part), "--key", text_of(&key)]);
    let adopted = fed.mx.json(&["charter", "adopt", text_of(&charter)]);
    assert_eq!(adopted["changed"], true, "{adopted}");
}

fn text_of(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// Both nations' auditors judge both nodes' logs, the closed one too. Classes of findings, by nation.
fn judged(fed: &Federation, pin: &str) -> Vec<(String, std::collections::BTreeSet<String>)> {
    judged_with(fed, pin, (&fed.mx, &["--log", "1"]))
}

/// The same; the closed log is exported by this node with these words.
fn judged_with(
    fed: &Federation,
    pin: &str,
    (ended, log): (&Node, &[&str]),
) -> Vec<(String, std::collections::BTreeSet<String>)> {
    let at = |name: String| fed.root.path().join(name);
    let exe = env!("CARGO_BIN_EXE_puente");
    let mut out = Vec::new();
    for nation in ["mx", "us"] {
        let mut copies = Vec::new();
        for node in [&fed.mx, &fed.us] {
            let name = node.dir.file_name().unwrap().to_str().unwrap();
            let to = at(format!("copy-{nation}-{name}"));
            let whose = if name.starts_with(nation) { "own" } else { "foreign" };
            node.json(&["log", "export", text_of(&to), "--auditor", whose]);
            copies.push(to);
        }
        let closed = at(format!("copy-{nation}-mx-log1"));
        let whose = if nation == "mx" { "own" } else { "foreign" };
        ended.json(&[&["log", "export", text_of(&closed), "--auditor", whose], log].concat());
        copies.insert(0, closed);
        let (state, charter) = (at(format!("state-{nation}")), at("charter".to_owned()));
        let key = at(format!("auditors/{nation}-a.seal.key"));
        let init = ["audit-files", "init", "--state", text_of(&state), "--charter", text_of(&charter), "--pin", pin];
        assert!(std::process::Command::new(exe).args(init).output().unwrap().status.success());
        let ran = std::process::Command::new(exe)
            .args(["audit-files", "reconcile", "--state", text_of(&state), "--key", text_of(&key), "--json"])
            .args(&copies)
            .output()
            .unwrap();
        let verdict: Value = serde_json::from_slice(&ran.stdout).unwrap();
        let findings = verdict["findings"].as_array().unwrap();
        let classes = findings.iter().map(|f| f["class"].as_str().unwrap().to_owned()).collect();
        out.push((verdict["verdict"].as_str().unwrap().to_owned(), classes));
    }
    out
}

fn close_periods(fed: &Federation) {
    use puente_agency::control_api::{Answer, Command, Concluded};
    for node in [&fed.mx, &fed.us, &fed.mx, &fed.us] {
        until("periods close", || {
            matches!(node.call(Command::ClosePeriods), Answer::Concluded(c)
                if matches!(&*c, Concluded::PeriodsClosed { unreachable, .. } if unreachable.is_empty()))
        });
    }
}

#[test]
fn last_weeks_backup_is_noticed_and_a_successor_log_loses_nothing_acknowledged() {
    let _alone = alone();
    let mut fed = Federation::found();
    let word_file = passphrase(&fed);
    fed.start();
    answered(&fed);
    close_periods(&fed);
    let out = fed.root.path().join("mx.age");
    fed.mx.json(&["backup", text(&out), "--with-keys", "--backup-passphrase-file", text(&word_file)]);
    for _ in 0..5 {
        answered(&fed);
    }
    close_periods(&fed);
    answered(&fed);
    // The key of its log is lost, too: the way on is the same.
    lose_and_restore(&mut fed, &out, &word_file);
    assert!(fed.mx.try_start(""), "{}", fed.mx.words());
    until("the partner shows what it holds", || fed.mx.status().to_string().contains("the log lost its tail"));
    assert_eq!(word(&ask(&fed.mx, question(&fed.us.uri, "WVWZZZ1KZFP000001", 2_000))), "log-suspended");
    fed.mx.stop();
    std::fs::remove_file(fed.mx.dir.join("keys/log.key")).unwrap();
    assert_eq!(refused(&fed.mx, &["log", "resume"])["code"], "lost-tail");
    assert_eq!(refused(&fed.mx, &["log", "switch"])["code"], "not-adopted");
    let successor = fed.mx.json(&["log", "successor"]);
    assert_eq!(successor, fed.mx.json(&["log", "successor"]), "as often as one likes");
    amend(&fed, successor["stanza"].as_str().unwrap());
    let switched = fed.mx.json(&["log", "switch"]);
    assert_eq!(switched["open"], "mx/fge-bc/n1/log2");
    assert!(fed.mx.try_start(""), "{}", fed.mx.words());
    answered(&fed);
    close_periods(&fed);
    let shown = fed.mx.json(&["log", "show", "--limit", "1000"]).to_string();
    assert!(shown.matches("\"kind\":\"QUERY\"").count() >= 7, "five and one that were lost, and the new one");
    let pin = std::fs::read_to_string(fed.mx.dir.join("charter/pin")).unwrap();
    for (verdict, classes) in judged(&fed, pin.trim()) {
        assert_eq!(verdict, "sound", "{classes:?}");
        assert_eq!(classes.into_iter().collect::<Vec<_>>(), ["lost-tail"]);
    }
    // It goes on across restarts.
    fed.stop();
    fed.start();
    answered(&fed);
}

#[test]
fn an_agency_whose_store_key_is_lost_goes_on_as_another_node_and_its_log_verifies_for_ever() {
    let _alone = alone();
    let mut fed = Federation::found();
    fed.start();
    answered(&fed);
    close_periods(&fed);
    assert_eq!(refused(&fed.mx, &["log", "abandon"])["code"], "running");
    fed.mx.stop();
    assert_eq!(refused(&fed.mx, &["log", "abandon"])["code"], "store-key-there");
    let sealed = std::fs::read(fed.mx.dir.join("keys/store.key")).unwrap();
    std::fs::remove_file(fed.mx.dir.join("keys/store.key")).unwrap();
    assert!(!fed.mx.try_start(""));
    assert!(fed.mx.words().contains("store.key"), "{}", fed.mx.words());
    fed.mx.kill();
    let abandoned = fed.mx.json(&["log", "abandon"]);
    assert_eq!(abandoned, fed.mx.json(&["log", "abandon"]), "as often as one likes");

    // Another node, with the old one's records, officers and rules.
    let at = |name: &str| fed.root.path().join(name);
    let (old, new) = (fed.mx.dir.clone(), at("mx2"));
    let uri = "puente://mx/fge-bc/n2".to_owned();
    let next = Node::at(new.clone(), uri.clone());
    let listen = federation::free_socket().local_addr().unwrap().to_string();
    let ca = at("ca/mx").display().to_string();
    let named = ["--role", "state-prosecutor", "--ca", &ca, "--name-en", "mx/fge-bc", "--name-es", "mx/fge-bc"];
    let made = next.json(&[&["node", "init", "--uri", &uri, "--listen", &listen], &named[..]].concat());
    for file in ["records.db", "officers.toml"] {
        if old.join(file).exists() {
            std::fs::copy(old.join(file), new.join(file)).unwrap();
        }
    }
    let stanza = format!("{}\n{}", abandoned["stanza"].as_str().unwrap(), made["stanza"].as_str().unwrap());
    let charter = at("charter");
    fed.us.json(&["charter", "propose", text_of(&charter.join("annex-mx-1.toml")), "--out", text_of(&charter)]);
    let part = charter.join("annex-mx-2.toml");
    let draft = std::fs::read_to_string(&part).unwrap().replace("suspended = false\n", "");
    let (before, _) = draft.split_once("[[member.log]]").unwrap();
    std::fs::write(&part, format!("{before}{stanza}")).unwrap();
    fed.us.json(&["charter", "sign", text_of(&part), "--key", text_of(&at("governance/mx-gov-1.key"))]);
    assert_eq!(fed.us.json(&["charter", "adopt", text_of(&charter)])["changed"], true);
    std::fs::create_dir_all(new.join("charter")).unwrap();
    for entry in std::fs::read_dir(&charter).unwrap() {
        let entry = entry.unwrap();
        std::fs::copy(entry.path(), new.join("charter").join(entry.file_name())).unwrap();
    }
    let ended = std::mem::replace(&mut fed.mx, next);
    assert!(fed.mx.try_start(""), "{}", fed.mx.words());
    answered(&fed);
    close_periods(&fed);
    let pin = std::fs::read_to_string(charter.join("pin")).unwrap();
    for (verdict, classes) in judged_with(&fed, pin.trim(), (&ended, &[])) {
        assert_eq!(verdict, "sound", "{classes:?}");
        assert!(classes.is_empty(), "{classes:?}");
    }
    // Found again: it takes no entry all the same.
    std::fs::write(old.join("keys/store.key"), sealed).unwrap();
    let mut ended = ended;
    if ended.try_start("") {
        assert_eq!(ended.status()["ready"], false, "{}", ended.status());
    }
}
