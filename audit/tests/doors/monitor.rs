//! Watching: copies are brought up to date and audited again and again; each finding is kept and told once.

use std::fs;
use std::io::{Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::world::*;
use super::{Desk, Ran, events};

const LOGS: [&str; 2] = ["mx-fge-bc-n1", "us-sdpd-n1"];

impl Desk {
    fn watch(&self, arguments: &[&str]) -> Ran {
        fs::write(self.path("us-b"), hex::encode(seal_secret("us-b").expose())).unwrap();
        self.run(&[&["--json", "monitor", "--once", "--key", "mx-a", "--key", "us-b"], arguments, &LOGS[..]].concat())
    }

    fn lines(&self, name: &str) -> Vec<Value> {
        let text = fs::read_to_string(self.path(name)).unwrap_or_default();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// A program that keeps what it is told, and ends so.
    fn hook(&self, ending: &str) {
        let script = format!("#!/bin/sh\ncat >>{}\nexit {ending}\n", self.path("heard").display());
        fs::write(self.path("hook"), script).unwrap();
        fs::set_permissions(self.path("hook"), fs::Permissions::from_mode(0o700)).unwrap();
    }

    fn export(&self) {
        self.world.copies(self.dir.path(), &[MX, US]);
    }

    /// The node of Mexico presents other entries than it signed before.
    fn rewrite(&mut self) {
        let mut entries = self.world.nodes[MX].entries.clone();
        entries.swap(3, 4);
        self.world.node(MX).rewrite(entries);
        fs::remove_dir_all(self.path(LOGS[0])).unwrap();
        self.export();
    }
}

#[test]
fn a_finding_is_kept_and_told_once() {
    let mut desk = Desk::new();
    desk.init();
    desk.export();
    desk.hook("0");
    let arguments = ["--hook", "./hook", "--metrics", "puente.prom"];
    let ran = desk.watch(&arguments);
    assert_eq!((ran.code, ran.out.as_str()), (0, ""), "{}", ran.words);
    desk.rewrite();
    let ran = desk.watch(&arguments);
    assert_eq!(ran.code, 1, "{}{}", ran.out, ran.words);
    let found = desk.lines("puente-auditor/findings.jsonl");
    let said: Vec<Value> = ran.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(!found.is_empty() && said == found, "{}", ran.out);
    assert_eq!(desk.lines("heard"), found, "each was told, with its evidence and what to do");
    let fork = found.iter().find(|finding| finding["class"] == "split-view").unwrap();
    assert!(
        desk.path(fork["evidence"].as_str().unwrap()).exists() && fork["next_en"].as_str().unwrap().contains("check")
    );
    // What stands is not told again, and what it proves does not go away.
    events(&mut desk.world, 5);
    desk.export();
    let ran = desk.watch(&arguments);
    assert_eq!((ran.out.as_str(), desk.lines("puente-auditor/findings.jsonl")), ("", found.clone()), "{}", ran.words);
    assert_eq!(desk.lines("heard").len(), found.len());
    let metrics = fs::read_to_string(desk.path("puente.prom")).unwrap();
    for line in [
        format!("puente_audit_findings_total {}", found.len()),
        "puente_audit_log_entries{log=\"mx/fge-bc/n1/log1\"} 305".to_owned(),
        "puente_audit_sources{state=\"copied\"} 2".to_owned(),
        "puente_audit_findings_untold 0".to_owned(),
    ] {
        assert!(metrics.contains(&line), "{line}\n{metrics}");
    }
    let known = |line: &str| line.starts_with("# HELP puente_audit_") || line.starts_with("# TYPE puente_audit_");
    let sample =
        |line: &str| line.starts_with("puente_audit_") && line.rsplit(' ').next().unwrap().parse::<u64>().is_ok();
    assert!(metrics.lines().all(|line| known(line) || sample(line)), "{metrics}");
}

#[test]
fn who_could_not_be_told_is_told_later() {
    let mut desk = Desk::new();
    desk.init();
    desk.export();
    assert_eq!(desk.watch(&[]).code, 0);
    desk.rewrite();
    desk.hook("3");
    let ran = desk.watch(&["--hook", "./hook"]);
    let (found, heard) = (desk.lines("puente-auditor/findings.jsonl"), desk.lines("heard").len());
    assert!(ran.code == 1 && ran.words.contains("was not told of finding") && heard == 1, "{}", ran.words);
    assert!(desk.watch(&["--hook", "./nowhere"]).words.contains("was not told of finding"));
    desk.hook("0");
    desk.watch(&["--hook", "./hook"]);
    assert_eq!(desk.lines("heard")[heard..], found);
    desk.watch(&["--hook", "./hook"]);
    assert_eq!(desk.lines("heard").len(), heard + found.len());
}

#[test]
fn a_log_that_cannot_be_had_is_a_finding_and_the_others_are_watched() {
    let desk = Desk::new();
    desk.init();
    desk.export();
    let ran = desk.watch(&["nowhere"]);
    assert_eq!(ran.code, 2, "{}{}", ran.out, ran.words);
    let found = desk.lines("puente-auditor/findings.jsonl");
    assert_eq!((found.len(), &found[0]["class"]), (1, &"unavailable".into()), "{found:?}");
    // A folder of the auditor's that is damaged is said, and nothing is written over it.
    fs::write(desk.path("puente-auditor/findings.jsonl"), "{}\n").unwrap();
    let ran = desk.watch(&[]);
    assert!(ran.code == 2 && ran.words.contains("restore the file"), "{}", ran.words);
    assert_eq!(fs::read_to_string(desk.path("puente-auditor/findings.jsonl")).unwrap(), "{}\n");
}

#[test]
fn it_watches_until_it_is_killed_and_goes_on_afterwards() {
    let mut desk = Desk::new();
    desk.init();
    desk.export();
    fs::write(desk.path("us-b"), hex::encode(seal_secret("us-b").expose())).unwrap();
    let watch =
        ["monitor", "--every", "1", "--key", "mx-a", "--key", "us-b", LOGS[0], LOGS[1], "--listen", "127.0.0.1:0"];
    let words = desk.path("words");
    let mut command = Command::new(env!("CARGO_BIN_EXE_puente-audit"));
    let stderr = fs::File::create(&words).unwrap();
    let mut child = command.args(watch).current_dir(desk.dir.path()).stderr(stderr).spawn().unwrap();
    let wait = |what: &dyn Fn() -> bool| {
        let began = Instant::now();
        while !what() && began.elapsed() < Duration::from_secs(60) {
            std::thread::sleep(Duration::from_millis(50));
        }
    };
    let copy = desk.path("puente-auditor/heads.json");
    wait(&|| copy.exists());
    desk.rewrite();
    wait(&|| !desk.lines("puente-auditor/findings.jsonl").is_empty());
    // What it serves is what it found.
    let said = fs::read_to_string(&words).unwrap();
    let at = said.split("http://").nth(1).unwrap().split("/metrics").next().unwrap().to_owned();
    let scraped = || -> String {
        let mut stream = std::net::TcpStream::connect(&at).unwrap();
        stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: auditor\r\n\r\n").unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        text
    };
    wait(&|| scraped().contains("puente_audit_verdict 1"));
    let text = scraped();
    assert!(text.starts_with("HTTP/1.1 200 OK") && text.contains("puente_audit_verdict 1"), "{text}");
    child.kill().unwrap();
    child.wait().unwrap();
    let found = desk.lines("puente-auditor/findings.jsonl");
    assert!(found.iter().any(|finding| finding["severity"] == "unsound"), "{found:?}");
    let ran = desk.watch(&[]);
    let after = desk.lines("puente-auditor/findings.jsonl");
    assert_eq!(after[..found.len()], found, "nothing is lost or told twice");
    let mut names: Vec<&str> = after.iter().map(|finding| finding["id"].as_str().unwrap()).collect();
    names.sort_unstable();
    names.dedup();
    assert!(names.len() == after.len() && ran.code == 1, "{}", ran.words);
}

#[test]
fn what_was_found_is_given_to_somebody_and_carries_the_agencys_reply() {
    let mut desk = Desk::new();
    desk.init();
    desk.export();
    assert_eq!(desk.watch(&[]).code, 0);
    assert!(desk.run(&["findings", "list"]).words.contains("There is none."));
    desk.rewrite();
    assert_eq!(desk.watch(&[]).code, 1);
    let list = |arguments: &[&str]| -> Vec<Value> {
        let ran = desk.run(&[&["--json", "findings", "list"], arguments].concat());
        assert_eq!(ran.code, 0, "{}", ran.words);
        serde_json::from_str::<Value>(&ran.out).unwrap()["findings"].as_array().unwrap().clone()
    };
    let all = list(&[]);
    assert_eq!(list(&["--open"]), all);
    let id = all.iter().find(|one| one["class"] == "split-view").unwrap()["id"].as_str().unwrap().to_owned();
    let ran = desk.run(&["findings", "assign", &id[..12], "Ana López"]);
    assert!(ran.code == 0 && ran.out.contains("Ana López, no reply"), "{}{}", ran.out, ran.words);
    let said = "The disk was replaced.\n<b>See case 17.</b>";
    let ran = desk.run(&["--lang", "es", "findings", "reply", &id, "--from", "mx/fge-bc, sistemas", said]);
    assert!(ran.code == 0 && ran.out.contains("1 respuestas"), "{}{}", ran.out, ran.words);
    assert_eq!(list(&["--open"]).len(), all.len() - 1);
    // What monitor keeps of it is as it was, and a further round changes nothing.
    let before = desk.lines("puente-auditor/findings.jsonl");
    desk.watch(&[]);
    assert_eq!(desk.lines("puente-auditor/findings.jsonl"), before);
    let shown = desk.run(&["--json", "findings", "show", &id]);
    let shown: Value = serde_json::from_str(&shown.out).unwrap();
    assert_eq!(shown["handling"]["assigned_to"], "Ana López");
    assert_eq!(shown["handling"]["replies"][0]["text"], said);
    // The report shows both, as text.
    let report = desk.run(&["report", "--html", "out", "--key", "mx-a", "--key", "us-b", LOGS[0], LOGS[1]]);
    assert_eq!(report.code, 1, "{}", report.words);
    let page = fs::read_to_string(desk.path("out/en.html")).unwrap();
    let stands =
        desk.run(&["--json", "reconcile", "--key", "mx-a", "--key", "us-b", LOGS[0], LOGS[1]]).out.contains(&id);
    assert_eq!(page.contains("Ana López sees to it."), stands, "as long as the finding stands");
    assert!(!page.contains("<b>See case"), "a reply became markup");
    for (arguments, words) in [
        (["findings", "show", "zz"].as_slice(), "findings list"),
        (&["findings", "show", ""], "findings list"),
        (&["findings", "assign", &id, " "], "without control characters"),
        (&["findings", "reply", &id, "--from", "x", "\u{1b}[2J"], "without control characters"),
    ] {
        let ran = desk.run(arguments);
        assert!(ran.code == 2 && ran.words.contains(words), "{arguments:?}: {}", ran.words);
    }
}
