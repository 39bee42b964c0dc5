//! The program as an auditor runs it: verdict on stdout, words on stderr, meaning in the exit code.
#![allow(clippy::disallowed_methods, reason = "tests write copies of logs and read the clock, as the program does")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on says so")]

use std::fs;
use std::path::Path;
use std::process::{Command, Output};
use std::sync::OnceLock;
use std::time::{SystemTime, UNIX_EPOCH};

use puente_audit::{Auditor, Verdict};
use puente_audit_log::leaf_hash;
use puente_model::Millis;
use puente_wire::PairKind;
use serde_json::Value;

#[path = "../src/tests/world.rs"]
#[allow(dead_code, unreachable_pub, reason = "written for the tests of the library, which use all of it")]
mod world;

use world::*;

/// The program reads the machine's clock, so its logs are of today.
fn now() -> Millis {
    static NOW: OnceLock<Millis> = OnceLock::new();
    *NOW.get_or_init(|| {
        Millis(u64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis()).unwrap())
    })
}

/// An auditor's desk: a folder with a charter, keys and copies of logs.
struct Desk {
    dir: tempfile::TempDir,
    pin: String,
}

struct Ran {
    code: i32,
    out: String,
    words: String,
}

impl Ran {
    fn json(&self) -> Value {
        assert_eq!(self.out.lines().count(), 1, "one object and nothing else: {}", self.out);
        serde_json::from_str(&self.out).unwrap()
    }
}

impl From<Output> for Ran {
    fn from(output: Output) -> Self {
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        Self { code: output.status.code().unwrap(), out: text(output.stdout), words: text(output.stderr) }
    }
}

impl Desk {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let pin = write_charter(&dir.path().join("charter")).to_string();
        for name in ["mx-a", "us-b"] {
            fs::write(dir.path().join(name), hex::encode(seal_secret(name).expose())).unwrap();
        }
        Self { dir, pin }
    }

    /// A desk whose folder is made, with copies of a busy federation's logs.
    fn ready(world: &World) -> Self {
        let desk = Self::new();
        world.copies(desk.dir.path(), &[MX, US]);
        let pin = desk.pin.clone();
        assert_eq!(desk.run(&["init", "--charter", "charter", "--pin", &pin]).code, 0);
        desk
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_puente-audit"));
        command.args(arguments).current_dir(self.dir.path());
        command
    }

    fn run(&self, arguments: &[&str]) -> Ran {
        self.command(arguments).output().unwrap().into()
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.dir.path().join(name)
    }
}

const COPY: &str = "mx-fge-bc-n1";
const OTHER: &str = "us-sdpd-n1";

fn flip(path: &Path, at: usize) {
    let mut bytes = fs::read(path).unwrap();
    bytes[at] ^= 1;
    fs::write(path, bytes).unwrap();
}

#[test]
fn init_checks_the_pin_and_says_what_it_pinned() {
    let desk = Desk::new();
    let wrong = desk.run(&["init", "--charter", "charter", "--pin", &"00".repeat(32)]);
    assert_eq!(wrong.code, 2);
    assert!(wrong.words.starts_with("error: "), "{}", wrong.words);
    assert_eq!(wrong.out, "");
    assert!(!desk.path("puente-auditor").join("pin").exists());
    assert_eq!(desk.run(&["init"]).code, 2);
    let made = desk.run(&["--json", "init", "--charter", "charter", "--pin", &desk.pin]);
    assert_eq!(made.code, 0, "{}", made.words);
    assert_eq!(made.json()["members"], 4);
    assert_eq!(made.words, "");
    let again = desk.run(&["init", "--charter", "charter", "--pin", &desk.pin]);
    assert_eq!(again.code, 0);
    assert!(again.out.starts_with("charter: frontera version 1.mx1.us1, 4 members"), "{}", again.out);
}

#[test]
fn an_honest_log_is_sound_and_its_head_is_remembered() {
    let mut world = World::busy();
    let desk = Desk::ready(&world);
    let verified = desk.run(&["verify", COPY, "--key", "mx-a"]);
    assert_eq!(verified.code, 0, "{}{}", verified.out, verified.words);
    let entries = world.nodes[MX].entries.len();
    assert_eq!(verified.out, format!("verdict: sound  log: mx/fge-bc/n1/log1  entries: {entries}\n"));
    assert_eq!(verified.words, "");
    // Without the key the sealed headers are a gap, unless they are passed over.
    let unread = desk.run(&["--json", "verify", COPY]);
    assert_eq!((unread.code, &unread.json()["verdict"]), (2, &Value::from("could-not-tell")));
    assert!(unread.words.contains("[header-unread]"), "{}", unread.words);
    assert_eq!(desk.run(&["verify", COPY, "--without-headers"]).code, 0);
    // What was found sound is remembered: an older copy is then a rollback.
    fs::rename(desk.path(COPY), desk.path("older")).unwrap();
    world.exchange(MX, US, Course::Released);
    world.copies(desk.dir.path(), &[MX]);
    assert_eq!(desk.run(&["verify", COPY, "--key", "mx-a"]).code, 0);
    let rolled = desk.run(&["verify", "older", "--key", "mx-a", "--lang", "es"]);
    assert_eq!(rolled.code, 1);
    assert!(rolled.words.contains("error: [truncated]") && rolled.words.contains("bitácora"), "{}", rolled.words);
}

#[test]
fn two_logs_are_reconciled() {
    let desk = Desk::ready(&World::busy());
    let sound = desk.run(&["--json", "reconcile", COPY, OTHER, "--key", "mx-a", "--key", "us-b"]);
    assert_eq!(sound.code, 0, "{}", sound.words);
    let verdict = sound.json();
    assert_eq!((&verdict["verdict"], &verdict["pairs"]), (&Value::from("sound"), &Value::from(1)));
    assert_eq!(verdict["logs"].as_array().unwrap().len(), 2);
    assert_eq!(verdict["findings"].as_array().unwrap().len(), 0);
    let plain = desk.run(&["reconcile", COPY, OTHER, "--key", "mx-a", "--key", "us-b"]);
    assert!(plain.out.starts_with("verdict: sound  logs: 2  entries: "), "{}", plain.out);
}

#[test]
fn an_omission_is_unsound_and_its_evidence_checks_elsewhere() {
    let mut world = World::busy();
    let entries = world.nodes[US].entries.clone();
    let shown = entries.len() - 4;
    world.node(US).rewrite(entries[..shown].to_vec());
    let desk = Desk::ready(&world);
    let arguments = ["--json", "reconcile", COPY, OTHER, "--key", "mx-a", "--key", "us-b", "--evidence", "evidence"];
    let ran = desk.run(&arguments);
    assert_eq!(ran.code, 1, "{}", ran.words);
    let verdict = ran.json();
    assert_eq!(verdict["verdict"], "unsound");
    let faults: Vec<&Value> =
        verdict["findings"].as_array().unwrap().iter().filter(|f| f["severity"] == "unsound").collect();
    assert!(faults.iter().any(|f| f["class"] == "omitted" && f["attributed_to"] == US), "{faults:?}");
    assert!(faults.iter().all(|f| f["attributed_to"] != MX));
    assert!(ran.words.contains("error: [omitted]") && ran.words.contains("evidence: "), "{}", ran.words);
    // A third party, with the charter alone.
    let omitted = faults.iter().find(|f| f["class"] == "omitted").unwrap();
    let evidence = omitted["evidence"].as_str().unwrap();
    let (charter, pin) = (desk.path("charter"), desk.pin.clone());
    let stranger = Desk::new();
    fs::copy(desk.path(evidence), stranger.path("evidence.json")).unwrap();
    let charter = charter.to_str().unwrap();
    let checked = stranger.run(&["--json", "check", "evidence.json", "--charter", charter, "--pin", &pin]);
    assert_eq!(checked.code, 0, "{}{}", checked.out, checked.words);
    assert_eq!((&checked.json()["verdict"], &checked.json()["what"]), (&"sound".into(), &"evidence".into()));
    // Without any key nothing can be told.
    assert_eq!(stranger.run(&["check", "evidence.json"]).code, 2);
}

#[test]
fn damage_is_unsound_and_gaps_are_not_guilt() {
    let world = World::busy();
    let desk = Desk::ready(&world);
    let bundle = world.nodes[MX].entries.len();
    flip(&desk.path(COPY).join(format!("tile/entries/000.p/{bundle}")), 40);
    let corrupt = desk.run(&["verify", COPY, "--key", "mx-a"]);
    assert_eq!(corrupt.code, 1, "{}", corrupt.out);
    assert!(corrupt.words.contains("error: [corrupt]"), "{}", corrupt.words);
    fs::remove_file(desk.path(OTHER).join("asides")).unwrap();
    let gap = desk.run(&["verify", OTHER, "--without-headers"]);
    assert_eq!(gap.code, 2);
    assert!(gap.words.contains("gap: [unavailable]"), "{}", gap.words);
    // No such folder, no such option: could not tell, and stdout stays machine-readable.
    let nowhere = desk.run(&["--json", "verify", "nowhere"]);
    assert_eq!((nowhere.code, &nowhere.json()["verdict"]), (2, &Value::from("could-not-tell")));
    assert_eq!(desk.run(&["verify", "--no-such-option"]).code, 2);
    let bad_key = desk.run(&["--json", "verify", OTHER, "--key", "charter/common-1.toml"]);
    assert_eq!(bad_key.code, 2);
    assert!(bad_key.json()["error"].is_string() && bad_key.words.contains("error: "), "{}", bad_key.words);
}

#[test]
fn an_entry_is_shown_proven_and_checked() {
    let world = World::busy();
    let desk = Desk::ready(&world);
    let at = world.nodes[MX].find(PairKind::Query, MX);
    let from = at.to_string();
    let shown = desk.run(&["--json", "show", COPY, "--from", &from, "--limit", "1"]);
    assert_eq!(shown.code, 0);
    let entries = shown.json();
    assert_eq!((&entries[0]["index"], &entries[0]["kind"]), (&Value::from(at), &Value::from("QUERY")));
    assert_eq!(entries.as_array().unwrap().len(), 1);
    assert!(desk.run(&["show", COPY]).out.contains("mx/fge-bc/n1 → us/sdpd/n1 #1"));

    let entry = &world.nodes[MX].entries[at];
    let proof = desk.run(&["prove", COPY, &from]);
    assert_eq!(proof.code, 0);
    assert_eq!(proof.out.as_bytes(), world.nodes[MX].receipt(&leaf_hash(entry)));
    fs::write(desk.path("proof"), &proof.out).unwrap();
    fs::write(desk.path("entry"), entry).unwrap();
    let checked = desk.run(&["check", "proof", "--entry", "entry"]);
    assert_eq!(checked.code, 0, "{}", checked.words);
    assert_eq!(checked.out, "verdict: sound  file: proof\n");
    assert!(checked.words.contains(&format!("the entry is number {at} under it")), "{}", checked.words);
    // A proof alone says nothing, of another entry it is wrong, and by the log's key alone it is sound too.
    assert_eq!(desk.run(&["check", "proof"]).code, 2);
    fs::write(desk.path("another"), &world.nodes[MX].entries[at + 1]).unwrap();
    assert_eq!(desk.run(&["check", "proof", "--entry", "another"]).code, 1);
    let vkey = log_signer("mx/fge-bc/n1/log1");
    let vkey = puente_audit_log::Signer::verifier(&vkey).to_string();
    assert_eq!(desk.run(&["check", "proof", "--entry", "entry", "--vkey", &vkey]).code, 0);
    let beyond = desk.run(&["prove", COPY, "100000"]);
    assert_eq!((beyond.code, beyond.out.as_str()), (2, ""));
    assert!(beyond.words.starts_with("error: "), "{}", beyond.words);
}

#[test]
fn help_and_completions_are_no_verdict() {
    let desk = Desk::new();
    for arguments in [["--help"].as_slice(), &["completions", "bash"]] {
        let ran = desk.run(arguments);
        assert_eq!(ran.code, 0);
        assert!(ran.out.contains("puente-audit") && ran.words.is_empty());
    }
    assert!(desk.run(&["--help"]).out.contains("Exit code: 0 sound, 1 unsound, 2 could not tell."));
}

/// Two members of a group that recorded one epoch differently, on the auditor's desk, from the logs to the piece of paper.
#[test]
fn a_forked_group_is_told_in_both_languages_and_its_evidence_is_judged_alone() {
    use puente_wire::{Entry, GroupEntry, GroupEvent};
    let mut world = World::busy();
    for (at, told) in [(MX, "one"), (US, "another")] {
        for (epoch, hash) in [(1, "same"), (2, told)] {
            let (commit, hash) = (puente_model::Digest::of(b"commit"), puente_model::Digest::of(hash.as_bytes()));
            let what = GroupEvent::Epoch { epoch, commit, hash, ordered: None };
            let entry = GroupEntry { minute: world.now.minute(), group: "frontera/otay".parse().unwrap(), what };
            world.node(at).append(vec![Entry::Group(entry).encode()]);
        }
    }
    let desk = Desk::ready(&world);
    let found = desk.run(&["--json", "reconcile", "--key", "mx-a", "--key", "us-b", COPY, OTHER]);
    let (verdict, code) = (found.json(), found.code);
    assert_eq!((code, &verdict["verdict"]), (1, &Value::from("unsound")), "{}", found.words);
    assert_eq!(verdict["findings"][0]["class"], "group-forked");
    assert_eq!(
        (&verdict["findings"][0]["log"], &verdict["logs"][0]["counts"]["groups"]),
        (&"mx/fge-bc/n1/log1".into(), &2.into())
    );
    let said = desk.run(&["--lang", "es", "reconcile", "--key", "mx-a", "--key", "us-b", COPY, OTHER]);
    assert!(
        said.words.contains("[group-forked]") && said.words.contains("miembros de un mismo grupo"),
        "{}",
        said.words
    );
    assert!(said.words.contains("época 2 de frontera/otay, cambio y huella"), "{}", said.words);
    let file = verdict["findings"][0]["evidence"].as_str().unwrap();
    let checked = desk.run(&["--lang", "es", "check", file]);
    assert_eq!(checked.code, 0, "{}", checked.words);
    assert!(checked.words.contains("asentaron de modo distinto la época 2 de frontera/otay"), "{}", checked.words);
    // A node's operator sees the entry, too.
    let shown = desk.run(&["--json", "show", COPY, "--from", "0", "--limit", "1000"]);
    let entries = shown.json();
    let last = entries.as_array().unwrap().last().unwrap();
    assert_eq!((&last["kind"], &last["says"]), (&"EPOCH".into(), &"epoch 2 of frontera/otay began".into()));
}

/// The report's folder holds all of it: pages, figures, evidence, and their hashes; the same command gives the same bytes.
#[test]
fn a_report_is_one_folder_that_can_be_made_again() {
    let world = World::busy();
    let desk = Desk::ready(&world);
    let at = jiff::Timestamp::from_millisecond(i64::try_from(now().0).unwrap()).unwrap().to_string();
    let make = |out: &str| {
        let ran = desk
            .run(&["report", "--html", out, COPY, OTHER, "--key", "mx-a", "--key", "us-b", "--as-of", &at, "--json"]);
        assert_eq!(ran.code, 0, "{}{}", ran.out, ran.words);
        ran.json()
    };
    let told = make("out");
    assert_eq!((&told["verdict"], &told["logs"]), (&Value::from("sound"), &Value::from(2)));
    make("again");
    let sums = fs::read_to_string(desk.path("out/SHA256SUMS")).unwrap();
    assert_eq!(sums.lines().count(), 6);
    assert_eq!(sums, fs::read_to_string(desk.path("again/SHA256SUMS")).unwrap());
    for line in sums.lines() {
        let (sum, name) = line.split_once("  ").unwrap();
        let bytes = fs::read(desk.path("out").join(name)).unwrap();
        assert_eq!(puente_model::Digest::of(&bytes).to_string(), sum, "{name}");
    }
    let report: Value = serde_json::from_slice(&fs::read(desk.path("out/report.json")).unwrap()).unwrap();
    assert!(!report.to_string().contains(&desk.path("").display().to_string()), "no path of this machine");
    // A fault: its evidence lies in the report's folder, checks by itself, and is gone from the next sound report.
    let kept = desk.path("kept");
    fs::create_dir(&kept).unwrap();
    fs::rename(desk.path(COPY), kept.join(COPY)).unwrap();
    let mut spoilt = World::busy();
    spoilt.spoil = Some(|pair| pair.minute.0 += 100_000);
    spoilt.exchange(MX, US, Course::NoHit);
    spoilt.copies(desk.dir.path(), &[MX]);
    let bad = desk.run(&["report", "--html", "out", COPY, "--key", "mx-a"]);
    assert_eq!(bad.code, 1, "{}{}", bad.out, bad.words);
    let evidence = fs::read_dir(desk.path("out/evidence")).unwrap().map(|e| e.unwrap().path()).next().unwrap();
    let checked = desk.run(&["check", evidence.to_str().unwrap(), "--lang", "en"]);
    assert!(checked.out.starts_with("verdict: ") && checked.code != 2, "{}{}", checked.out, checked.words);
    make_sound_again(&desk, &kept);
    // Somebody else's folder is left alone; nothing to report on is said.
    fs::create_dir(desk.path("mine")).unwrap();
    fs::write(desk.path("mine/letter"), "dear").unwrap();
    let refused = desk.run(&["report", "--html", "mine", COPY]);
    assert_eq!(refused.code, 2);
    assert!(refused.words.contains("holds something else than a report"), "{}", refused.words);
    assert_eq!(fs::read_dir(desk.path("mine")).unwrap().count(), 1);
    let none = desk.run(&["report", "--html", "empty", "--keep", "nowhere"]);
    assert_eq!(none.code, 2);
    assert!(none.words.contains("puente-audit mirror"), "{}", none.words);
    let odd = desk.run(&["report", "--html", "empty", "--as-of", "yesterday", COPY]);
    assert_eq!(odd.code, 2);
    // Nobody is accused because the report is made for another time; and what was broken off is made again.
    for (when, words) in
        [("2020-01-01T00:00:00Z", "the logs hold entries of"), ("2999-01-01T00:00:00Z", "in the future")]
    {
        let ran = desk.run(&["report", "--html", "broken", "--as-of", when, COPY, "--key", "mx-a"]);
        assert!(ran.code == 2 && ran.words.contains(words), "{}{}", ran.out, ran.words);
        assert!(!desk.path("broken/report.json").exists());
    }
    assert_eq!(desk.run(&["report", "--html", "broken", COPY, "--key", "mx-a"]).code, 0);
}

fn make_sound_again(desk: &Desk, kept: &Path) {
    fs::remove_dir_all(desk.path(COPY)).unwrap();
    fs::rename(kept.join(COPY), desk.path(COPY)).unwrap();
    // As mirror keeps them, without a word about where.
    let mirrored = desk.run(&["mirror", COPY, OTHER]);
    assert_eq!(mirrored.code, 0, "{}{}", mirrored.out, mirrored.words);
    let ran = desk.run(&["report", "--html", "out", "--key", "mx-a", "--key", "us-b", "--lang", "es"]);
    assert_eq!(ran.code, 0, "{}{}", ran.out, ran.words);
    assert!(ran.out.starts_with("veredicto: íntegro  bitácoras: 2"), "{}", ran.out);
    assert!(!desk.path("out/evidence").exists());
}

/// Auditors of both nations sign one report; whatever is changed afterwards is named.
#[test]
fn a_signed_report_is_checked_with_every_file_in_it() {
    let desk = Desk::ready(&World::busy());
    let at = jiff::Timestamp::from_millisecond(i64::try_from(now().0).unwrap()).unwrap().to_string();
    for (name, nation) in [("mx-a", "mx"), ("us-a", "us")] {
        // As the world makes the keys of logs.
        let seed = puente_model::Digest::of(format!("log {nation}/{name}/n1/log1").as_bytes());
        fs::write(desk.path(&format!("{name}.log")), hex::encode(seed.0)).unwrap();
    }
    let sign = |out: &str, key: &str, more: &[&str]| {
        let arguments = ["report", "--html", out, COPY, OTHER, "--without-headers", "--as-of", &at, "--sign", key];
        desk.run(&[&arguments, more].concat())
    };
    for key in ["mx-a.log", "us-a.log", "us-a.log"] {
        let ran = sign("out", key, &[]);
        assert_eq!(ran.code, 0, "{}{}", ran.out, ran.words);
    }
    let check = |arguments: &[&str]| desk.run(&[&["check", "out/report.note"], arguments].concat());
    let checked = check(&[]);
    assert_eq!(checked.code, 0, "{}{}", checked.out, checked.words);
    assert_eq!(checked.words.matches("signed it: sound").count(), 2, "{}", checked.words);
    assert!(checked.words.contains("mx-a of mx") && checked.words.contains("6 files are"), "{}", checked.words);
    assert!(check(&["--lang", "es"]).words.contains("firmó"), "{}", check(&["--lang", "es"]).words);
    // Without a charter nobody knows whose signatures these are; a key that is no auditor's signs nothing.
    let nobody = desk.run(&["--state", "nowhere", "check", "out/report.note"]);
    assert_eq!(nobody.code, 2, "{}{}", nobody.out, nobody.words);
    let stranger = sign("strange", "mx-a", &[]);
    assert!(stranger.code == 2 && stranger.words.contains("no auditor"), "{}", stranger.words);
    assert!(!desk.path("strange/report.note").exists());
    let files = ["en.html", "public.json", "report.json", "SHA256SUMS", "report.note"];
    for name in files {
        let path = desk.path("out").join(name);
        let good = fs::read(&path).unwrap();
        for bad in [[good.as_slice(), b" "].concat(), good[1..].to_vec(), Vec::new()] {
            fs::write(&path, bad).unwrap();
            assert_ne!(check(&[]).code, 0, "{name}");
        }
        fs::remove_file(&path).unwrap();
        assert_ne!(check(&[]).code, 0, "{name} is gone");
        fs::write(&path, &good).unwrap();
    }
    assert_eq!(check(&[]).code, 0);
    // Names that lead out of the folder are followed nowhere.
    let sums = fs::read_to_string(desk.path("out/SHA256SUMS")).unwrap().replace("en.html", "../mx-a");
    fs::write(desk.path("out/SHA256SUMS"), sums).unwrap();
    assert_eq!(check(&[]).code, 1);
    // Another report takes no signature over.
    let other = sign("out", "mx-a.log", &["--grace", "0"]);
    assert_eq!(other.code, 0, "{}", other.words);
    let later = desk.run(&["report", "--html", "out", COPY, OTHER, "--without-headers", "--sign", "us-a.log"]);
    assert_eq!(later.code, 0, "{}", later.words);
    assert_eq!(check(&[]).words.matches("signed it").count(), 1);
    // One that nobody signs bears no note of before.
    assert_eq!(desk.run(&["report", "--html", "out", COPY, "--without-headers"]).code, 0);
    assert!(!desk.path("out/report.note").exists());
}
