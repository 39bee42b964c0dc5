//! Local copies of many logs: from doors and folders, side by side, and never from one history into another.

use std::fs;

use serde_json::Value;

use super::liar::Liar;
use super::world::*;
use super::{Desk, Ran, events, honest};

const US_COPY: &str = "puente-auditor/copies/from-folders/us/sdpd/n1/log1";
const MX_COPY: &str = "puente-auditor/copies/for-us/mx/fge-bc/n1/log1";

impl Desk {
    fn mirror(&self, arguments: &[&str]) -> (Ran, Value) {
        let ran = self.run(&[&["--json", "mirror", "--without-headers"], arguments].concat());
        let value = serde_json::from_str(&ran.out).unwrap_or_else(|_| panic!("{}{}", ran.out, ran.words));
        (ran, value)
    }

    /// The copy has the head and the sidecar, and nothing in it is other than what is there.
    fn same(&self, copy: &str, folder: &str) {
        let copied = super::liar::files(&self.path(copy));
        assert!(copied.contains_key("checkpoint") && copied.contains_key("asides"), "{:?}", copied.keys());
        for (name, bytes) in copied {
            assert!(fs::read(self.path(folder).join(&name)).unwrap() == bytes, "{name}");
        }
    }
}

#[test]
fn many_logs_are_copied_side_by_side_and_go_on_from_there() {
    let mut desk = Desk::new();
    desk.init();
    desk.world.copies(desk.dir.path(), &[US]);
    let door = desk.liar(honest());
    let (ran, value) = desk.mirror(&[&door.url(), "us-sdpd-n1", "--cert", "tls.cert.pem", "--jobs", "2"]);
    assert_eq!((ran.code, &value["verdict"]), (0, &"sound".into()), "{}{}", ran.out, ran.words);
    let fetched = |value: &Value, at: usize| value["logs"][at]["fetched_bytes"].as_u64().unwrap();
    assert_eq!(value["logs"].as_array().unwrap().len(), 2);
    assert_eq!(
        (&value["logs"][0]["entries"], &value["failed"], &value["forked"]),
        (&300.into(), &Value::Array(vec![]), &Value::Array(vec![]))
    );
    desk.same(US_COPY, "us-sdpd-n1");
    let first = fetched(&value, 0);
    // Later, only what is new; and what is there is audited as any copy.
    drop(door);
    events(&mut desk.world, 20);
    desk.world.copies(desk.dir.path(), &[US]);
    let door = desk.liar(honest());
    let (ran, value) = desk.mirror(&[&door.url(), "us-sdpd-n1", "--cert", "tls.cert.pem"]);
    assert_eq!(ran.code, 0, "{}{}", ran.out, ran.words);
    assert!(fetched(&value, 0) < first && !door.seen().contains_key("tile/entries/000"), "{first} {value}");
    let ran = desk.run(&["reconcile", MX_COPY, US_COPY, "--without-headers"]);
    assert_eq!(ran.code, 0, "{}{}", ran.out, ran.words);
    // In words, and in Spanish.
    let ran = desk.run(&["mirror", "us-sdpd-n1", "--lang", "es"]);
    assert!(ran.code == 0 && ran.out.starts_with("1 de 1 bitácoras"), "{}{}", ran.out, ran.words);
}

#[test]
fn a_source_that_fails_holds_up_no_other() {
    let desk = Desk::new();
    desk.init();
    desk.world.copies(desk.dir.path(), &[US]);
    let list = "# logs of both nations\nus-sdpd-n1   # by courier\n\nnowhere\nhttps://127.0.0.1:1/\n";
    fs::write(desk.path("logs.txt"), list).unwrap();
    let (ran, value) = desk.mirror(&["--list", "logs.txt", "--cert", "tls.cert.pem", "--attempts", "1"]);
    assert_eq!((ran.code, &value["verdict"]), (2, &"could-not-tell".into()), "{}", ran.words);
    assert_eq!((value["logs"].as_array().unwrap().len(), value["failed"].as_array().unwrap().len()), (1, 2), "{value}");
    assert!(value["failed"].as_array().unwrap().iter().all(|one| !one["why"].as_str().unwrap().is_empty()));
    desk.same(US_COPY, "us-sdpd-n1");
    // No list, and a list that is none.
    assert_eq!(desk.run(&["mirror"]).code, 2);
    fs::write(desk.path("logs.txt"), [0xff, 0xfe]).unwrap();
    let ran = desk.run(&["mirror", "--list", "logs.txt"]);
    assert!(ran.code == 2 && ran.words.contains("logs.txt"), "{}", ran.words);
}

#[test]
fn two_histories_are_both_kept_and_convict() {
    let mut desk = Desk::new();
    desk.init();
    desk.world.copies(desk.dir.path(), &[MX]);
    assert_eq!(desk.mirror(&["mx-fge-bc-n1"]).0.code, 0);
    let copy = "puente-auditor/copies/from-folders/mx/fge-bc/n1/log1";
    let before = fs::read(desk.path(copy).join("checkpoint")).unwrap();
    // The node signs another history of the same length and more, and nobody else has seen the first.
    let mut other = desk.world.nodes[MX].entries.clone();
    other.swap(3, 4);
    other.push(other[5].clone());
    desk.world.node(MX).rewrite(other);
    fs::remove_dir_all(desk.path("mx-fge-bc-n1")).unwrap();
    desk.world.copies(desk.dir.path(), &[MX]);
    let (ran, value) = desk.mirror(&["mx-fge-bc-n1"]);
    assert_eq!((ran.code, &value["verdict"]), (1, &"unsound".into()), "{}{}", ran.out, ran.words);
    let fork = &value["forked"][0];
    let aside = desk.dir.path().join(fork["set_aside"].as_str().unwrap());
    assert_eq!(fs::read(aside.join("checkpoint")).unwrap(), before, "under the head that it came with");
    assert!(aside.join("tile/entries/000").exists());
    desk.same(copy, "mx-fge-bc-n1");
    let rewritten: Vec<&Value> =
        fork["findings"].as_array().unwrap().iter().filter(|finding| finding["class"] == "rewritten").collect();
    let proven = rewritten.iter().filter_map(|finding| finding["evidence"].as_str()).map(|evidence| {
        let ran = desk.run(&["check", evidence]);
        assert_eq!(ran.code, 0, "{}{}", ran.out, ran.words);
        ran.words
    });
    let words = proven.collect::<String>();
    assert!(words.contains("signed: 300 entries") && words.contains("signed: 301 entries"), "{words}");
    // From there on it is the history that it shows, as long as it shows that.
    assert_eq!(desk.mirror(&["mx-fge-bc-n1"]).0.code, 0);
}

#[test]
fn a_smaller_head_than_before_is_kept_and_convicts() {
    let mut desk = Desk::new();
    desk.init();
    let old = desk.files();
    events(&mut desk.world, 20);
    let serve = |files| Liar::new(&certificate("mx", MX, 2095), files, honest());
    let newest = serve(desk.files());
    assert_eq!(desk.mirror(&[&newest.url(), "--cert", "tls.cert.pem"]).0.code, 0);
    let older = serve(old);
    let (ran, value) = desk.mirror(&[&older.url(), "--cert", "tls.cert.pem"]);
    assert_eq!(ran.code, 1, "{}{}", ran.out, ran.words);
    assert_eq!(value["forked"][0]["findings"][0]["class"], "truncated", "{value}");
    assert!(desk.path(&format!("{MX_COPY}.before-1")).join("checkpoint").exists());
}

#[test]
fn what_was_damaged_here_is_nobodys_fault() {
    let mut desk = Desk::new();
    desk.init();
    let door = desk.liar(honest());
    assert_eq!(desk.mirror(&[&door.url(), "--cert", "tls.cert.pem"]).0.code, 0);
    let tile = desk.path(MX_COPY).join("tile/1/000.p/1");
    let mut bytes = fs::read(&tile).unwrap();
    bytes[0] ^= 1;
    fs::write(&tile, bytes).unwrap();
    events(&mut desk.world, 20);
    let door = desk.liar(honest());
    let (ran, value) = desk.mirror(&[&door.url(), "--cert", "tls.cert.pem"]);
    assert_eq!(ran.code, 0, "{}{}", ran.out, ran.words);
    assert!(value["logs"][0]["damaged"].as_str().unwrap().ends_with(".before-1"), "{value}");
    assert_eq!(desk.run(&["verify", MX_COPY, "--without-headers"]).code, 0);
    assert!(!desk.path("puente-auditor/evidence").exists(), "no evidence against anybody was written");
}

#[test]
fn an_export_for_others_is_not_mixed_with_one_for_own_auditors() {
    let desk = Desk::new();
    desk.init();
    desk.world.copies(desk.dir.path(), &[US]);
    assert_eq!(desk.mirror(&["us-sdpd-n1"]).0.code, 0);
    // The same log with another sidecar, longer and shorter than the first.
    let asides = fs::read(desk.path("us-sdpd-n1/asides")).unwrap();
    let first = 4 + u32::from_be_bytes(asides[..4].try_into().unwrap()) as usize;
    for other in [asides[first..].to_vec(), [&asides[first..], &asides[..first], &asides[..first]].concat()] {
        fs::write(desk.path("us-sdpd-n1/asides"), &other).unwrap();
        assert_eq!(desk.mirror(&["us-sdpd-n1"]).0.code, 0);
        assert!(fs::read(desk.path(US_COPY).join("asides")).unwrap() == other);
    }
}

#[test]
fn two_copies_of_one_log_take_turns_and_the_older_one_takes_nothing_away() {
    let mut desk = Desk::new();
    desk.init();
    fs::create_dir(desk.path("old")).unwrap();
    desk.world.copies(&desk.path("old"), &[MX]);
    events(&mut desk.world, 20);
    desk.world.copies(desk.dir.path(), &[MX]);
    let copy = "puente-auditor/copies/from-folders/mx/fge-bc/n1/log1";
    for _ in 0..3 {
        let (ran, value) = desk.mirror(&["old/mx-fge-bc-n1", "mx-fge-bc-n1", "--jobs", "2"]);
        assert_eq!(ran.code, 0, "{}{}", ran.out, ran.words);
        assert_eq!(value["logs"].as_array().unwrap().len(), 2, "{value}");
        desk.same(copy, "mx-fge-bc-n1");
    }
    // An older one of another history: what is here stays, and it is said what to do.
    let mut other = desk.world.nodes[MX].entries[..250].to_vec();
    other.swap(3, 4);
    desk.world.node(MX).rewrite(other);
    fs::remove_dir_all(desk.path("old")).unwrap();
    fs::create_dir(desk.path("old")).unwrap();
    desk.world.copies(&desk.path("old"), &[MX]);
    let (ran, value) = desk.mirror(&["old/mx-fge-bc-n1"]);
    assert_eq!(ran.code, 2, "{}{}", ran.out, ran.words);
    assert!(value["failed"][0]["why"].as_str().unwrap().contains("puente-audit reconcile"), "{value}");
    desk.same(copy, "mx-fge-bc-n1");
    let ran = desk.run(&["reconcile", "old/mx-fge-bc-n1", copy, "--without-headers"]);
    assert_eq!(ran.code, 1, "{}{}", ran.out, ran.words);
}

/// A node's log with two entries exchanged, `more` entries longer.
fn another_history(desk: &mut Desk, more: usize, folder: &str) {
    let honest = desk.world.nodes[MX].entries.clone();
    let mut other = honest.clone();
    other.swap(3, 4);
    other.extend(honest[5..5 + more].iter().cloned());
    desk.world.node(MX).rewrite(other);
    fs::create_dir(desk.path(folder)).unwrap();
    desk.world.copies(&desk.path(folder), &[MX]);
    desk.world.node(MX).rewrite(honest);
}

#[test]
fn two_sources_that_contradict_each_other_convict_whoever_comes_first() {
    let mut desk = Desk::new();
    desk.init();
    desk.world.copies(desk.dir.path(), &[MX]);
    let copy = "puente-auditor/copies/from-folders/mx/fge-bc/n1/log1";
    for round in 0..4 {
        let _ = fs::remove_dir_all(desk.path("puente-auditor/copies"));
        let _ = fs::remove_dir_all(desk.path("puente-auditor/evidence"));
        let _ = fs::remove_dir_all(desk.path("mx-fge-bc-n1"));
        desk.world.copies(desk.dir.path(), &[MX]);
        assert_eq!(desk.mirror(&["mx-fge-bc-n1"]).0.code, 0);
        // The honest log has grown, and so has the other one, by as much.
        events(&mut desk.world, 5);
        fs::remove_dir_all(desk.path("mx-fge-bc-n1")).unwrap();
        desk.world.copies(desk.dir.path(), &[MX]);
        let other = format!("other-{round}");
        another_history(&mut desk, 0, &other);
        let (ran, value) = desk.mirror(&["mx-fge-bc-n1", &format!("{other}/mx-fge-bc-n1"), "--jobs", "2"]);
        assert_eq!((ran.code, &value["verdict"]), (1, &"unsound".into()), "{}{}", ran.out, ran.words);
        assert_eq!(value["failed"], Value::Array(vec![]), "{value}");
        let forked = value["forked"].as_array().unwrap();
        assert!(
            !forked.is_empty() && forked.iter().all(|one| !one["findings"].as_array().unwrap().is_empty()),
            "{value}"
        );
        assert!(desk.path(copy).join("checkpoint").exists() && desk.path(&format!("{copy}.before-1")).exists());
        assert!(fs::read_dir(desk.path("puente-auditor/evidence")).unwrap().count() > 0);
        // Every folder holds one history, whole: its files lead to its head.
        let pin = fs::read_to_string(desk.path("puente-auditor/pin")).unwrap().trim().to_owned();
        let histories = fs::read_dir(desk.path(copy).parent().unwrap()).unwrap().map(|entry| entry.unwrap().path());
        for history in histories {
            let ran = desk.run(&[
                "--charter",
                "charter",
                "--pin",
                &pin,
                "verify",
                history.to_str().unwrap(),
                "--without-headers",
            ]);
            assert!(ran.code != 2 && !ran.words.contains("[corrupt]"), "{}{}", ran.out, ran.words);
        }
    }
}

#[test]
fn a_crash_before_anybody_was_told_hides_no_other_history() {
    let mut desk = Desk::new();
    desk.init();
    desk.world.copies(desk.dir.path(), &[MX]);
    assert_eq!(desk.mirror(&["mx-fge-bc-n1"]).0.code, 0);
    another_history(&mut desk, 1, "other");
    let copy = desk.path("puente-auditor/copies/from-folders/mx/fge-bc/n1/log1");
    let aside = copy.with_file_name("log1.before-1");
    let fork = |desk: &Desk| desk.mirror(&["other/mx-fge-bc-n1"]).0.code;
    // Crashes: the mark is set and nothing moved; it was moved and nothing came; all came and nobody was told.
    fs::write(copy.join("untold"), "").unwrap();
    assert_eq!(fork(&desk), 1);
    assert_eq!(fork(&desk), 0, "told once");
    fs::write(aside.join("untold"), "").unwrap();
    fs::remove_dir_all(&copy).unwrap();
    assert_eq!(fork(&desk), 1);
    assert_eq!(fork(&desk), 0);
    fs::write(aside.join("untold"), "").unwrap();
    assert_eq!(fork(&desk), 1);
    assert_eq!((fork(&desk), aside.join("untold").exists()), (0, false));
    // The mark of a crash in a copy that goes on is taken away, and accuses nobody.
    fs::write(copy.join("untold"), "").unwrap();
    assert_eq!(fork(&desk), 0);
    assert!(!copy.join("untold").exists());
}
