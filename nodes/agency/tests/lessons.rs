//! Every lesson as somebody learns it: begun, audited with the commands that it shows, answered rightly and wrongly.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

const EXE: &str = env!("CARGO_BIN_EXE_puente");
const FGE: &str = "mx/fge-bc";
const FGR: &str = "mx/fgr";
const DPS: &str = "us/tx-dps";
const DOJ: &str = "us/ca-doj";
const ALL: &[&str] = &[FGE, FGR, DPS, DOJ];
/// Lesson, first seed, what is found, and by whom under this and the following seeds.
const CASES: &[(&str, u64, &str, &[&str])] = &[
    ("courier", 0, "corrupt", ALL),
    ("courier", 4, "corrupt", ALL),
    ("courier", 8, "corrupt", ALL),
    ("courier", 12, "could-not-tell", &["", "", "", ""]),
    ("last-days", 0, "truncated", ALL),
    ("letter", 0, "sound", &[""]),
    ("denial", 0, "never-logged", &[FGE, DPS]),
    ("denial", 2, "omitted", &[FGR, DPS, DOJ]),
    ("two-stories", 0, "split-view", ALL),
    ("correction", 0, "equivocated", &[FGR, DPS, DOJ]),
    ("correction", 3, "equivocated", &[FGE, FGR, DPS]),
    ("correction", 6, "rewritten", &[FGE, FGR, DPS]),
    ("correction", 9, "period-mismatch", ALL),
    ("beside-the-log", 0, "release-unproven", &[DPS]),
    ("beside-the-log", 1, "receipt-invalid", ALL),
    ("beside-the-log", 5, "escrow-missing", ALL),
    ("audit", 20, "never-logged", &[FGE]),
    ("audit", 51, "sound", &[""]),
];
const NAMES: [&str; 8] =
    ["courier", "last-days", "letter", "denial", "two-stories", "correction", "beside-the-log", "audit"];

/// A folder with the programs on its path.
struct School {
    folder: tempfile::TempDir,
}

/// What one line said, both streams, and how it ended.
struct Ran {
    code: i32,
    said: String,
}

impl School {
    fn open() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let bin = folder.path().join("bin");
        fs::create_dir(&bin).unwrap();
        symlink(EXE, bin.join("puente")).unwrap();
        let auditor = bin.join("puente-audit");
        fs::write(&auditor, "#!/bin/sh\nexec puente audit-files \"$@\"\n").unwrap();
        fs::set_permissions(&auditor, fs::Permissions::from_mode(0o755)).unwrap();
        fs::create_dir(folder.path().join("tmp")).unwrap();
        Self { folder }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Types a line in this folder.
    fn types(&self, dir: &Path, line: &str) -> Ran {
        let path = format!("{}:{}", self.path("bin").display(), std::env::var("PATH").unwrap());
        let mut command = Command::new("bash");
        command.args(["--norc", "--noprofile", "-c"]).arg(format!("exec 2>&1\n{line}")).current_dir(dir);
        command.env("PATH", path).env("LC_ALL", "C.UTF-8").env("NO_COLOR", "1").env("TMPDIR", self.path("tmp"));
        let output = command.env_remove("LANGUAGE").stdin(Stdio::null()).output().unwrap();
        Ran { code: output.status.code().unwrap(), said: String::from_utf8_lossy(&output.stdout).into_owned() }
    }

    /// Begins a lesson on the stage that all lessons here share.
    fn start(&self, lesson: &str, seed: u64) -> PathBuf {
        let name = format!("{lesson}-{seed}");
        let line = format!("puente lessons start {lesson} --seed {seed} --stage stage --dir {name}");
        let ran = self.types(self.folder.path(), &line);
        assert_eq!(ran.code, 0, "{line}: {}", ran.said);
        self.path(&name)
    }
}

/// The commands of a text's blocks.
fn commands(text: &str) -> Vec<String> {
    let mut inside = false;
    let mut out = Vec::new();
    for line in text.lines() {
        if line.starts_with("```") {
            inside = !inside && line == "```console";
        } else if inside {
            out.push(line.strip_prefix("$ ").expect("a command in every line of a block").to_owned());
        }
    }
    out
}

/// A fault as the auditor's program says it: class, agency (none if unknown), entry.
#[derive(Debug, PartialEq, Eq)]
struct Fault {
    class: String,
    by: String,
    entry: Option<u64>,
}

fn faults(said: &str) -> Vec<Fault> {
    let of = |line: &str| {
        let (class, rest) = line.strip_prefix("error: [")?.split_once("] ")?;
        let entry = rest.split_once(", entry ").map(|(_, n)| n.chars().take_while(char::is_ascii_digit).collect());
        let by = rest.rsplit_once('(')?.1.trim_end_matches(").");
        let by = by.strip_prefix("puente://").map(|by| by.trim_end_matches("/n1")).unwrap_or_default();
        let entry = entry.and_then(|n: String| n.parse().ok());
        Some(Fault { class: class.to_owned(), by: by.to_owned(), entry })
    };
    said.lines().filter_map(of).collect()
}

/// The right answer as it is typed, found by typing the lesson's own commands.
fn answer(school: &School, dir: &Path, expected: &str, by: &str) -> String {
    let sheet = commands(&fs::read_to_string(dir.join("LESSON.md")).unwrap());
    let one = |word: &str| sheet.iter().find(|c| c.contains(word)).unwrap();
    let init = school.types(dir, one("puente-audit init"));
    assert_eq!(init.code, 0, "{}", init.said);
    let audited = school.types(dir, one("puente-audit reconcile"));
    let found = faults(&audited.said);
    let verdict = format!("verdict: {}", expected.replace('-', " "));
    match expected {
        "sound" => assert!(audited.code == 0 && audited.said.starts_with(&verdict), "{}", audited.said),
        "could-not-tell" => assert!(audited.code == 2 && audited.said.starts_with(&verdict), "{}", audited.said),
        class => {
            assert_eq!(audited.code, 1, "{}", audited.said);
            assert!(found.iter().all(|f| [by, ""].contains(&f.by.as_str())), "{by} is not alone: {found:?}");
            let fault = found.iter().find(|f| f.class == class && f.by == by);
            let fault = fault.unwrap_or_else(|| panic!("no {class} by {by}: {found:?}"));
            let line = one("--by AGENCY").replace("CLASS", &fault.class).replace("AGENCY", &fault.by);
            return match fault.entry {
                Some(entry) => line.replace(" N", &format!(" {entry}")),
                None => line.replace(" --entry N", ""),
            };
        }
    }
    assert!(audited.said.contains("training, counted apart") || expected != "sound", "{}", audited.said);
    one(&format!("--found {expected}")).clone()
}

fn is(school: &School, dir: &Path, line: &str, right: bool) {
    let ran = school.types(dir, line);
    let word = if right { "right; verdict: " } else { "wrong\n" };
    assert!(ran.code == i32::from(!right) && ran.said.contains(word), "{}: {line}: {}", dir.display(), ran.said);
    assert_eq!(ran.said.matches("TRAINING / ADIESTRAMIENTO").count(), 2, "{}", ran.said);
}

/// Every file below a folder, by its path, with its bytes.
fn files(dir: &Path, out: &mut Vec<(PathBuf, Vec<u8>)>) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files(&path, out);
        } else {
            let bytes = fs::read(&path).unwrap();
            out.push((path, bytes));
        }
    }
    out.sort();
}

/// One kind of case, by each of its culprits.
fn learn(school: &School, (lesson, first, expected, culprits): &(&str, u64, &str, &[&str])) {
    for (seed, by) in (*first..).zip(*culprits) {
        let dir = school.start(lesson, seed);
        let line = answer(school, &dir, expected, by);
        is(school, &dir, &line, true);
        if seed != *first {
            continue;
        }
        // Another agency, nobody, everything.
        let other = ALL.iter().find(|other| *other != by).unwrap();
        is(school, &dir, &format!("puente lessons check --found disputed --by {other}"), false);
        for verdict in ["sound", "could-not-tell"] {
            is(school, &dir, &format!("puente lessons check --found {verdict}"), verdict == *expected);
        }
        if by.is_empty() {
            is(school, &dir, &format!("{line} --by {other}"), false);
        } else {
            is(school, &dir, &line.replace(by, other), false);
            is(school, &dir, &format!("puente lessons check --found {expected} --by {by} --entry 9999"), false);
            let whole = format!("puente lessons check --found {expected} --by puente://{by}/n1");
            is(school, &dir, &whole, true);
            let nobody = school.types(&dir, &format!("puente --json lessons check --found {expected}"));
            assert!(nobody.code == 2 && nobody.said.contains("\"by-whom\""), "{}", nobody.said);
        }
    }
}

#[test]
fn every_case_of_every_lesson_is_found_with_the_commands_that_it_shows() {
    let school = School::open();
    // The stage is there before two learn beside each other.
    school.start("letter", 100);
    std::thread::scope(|scope| {
        for half in [0, 1] {
            let school = &school;
            scope.spawn(move || CASES.iter().skip(half).step_by(2).for_each(|case| learn(school, case)));
        }
    });
    every_line_of_every_sheet_can_be_typed(&school);
    nothing_gives_the_answer_away(&school);
    what_was_changed_is_not_judged(&school);
}

fn every_line_of_every_sheet_can_be_typed(school: &School) {
    for (lesson, seed, expected, culprits) in CASES.iter().rev().filter(|(_, seed, ..)| [0, 51].contains(seed)) {
        let dir = school.path(&format!("{lesson}-{seed}"));
        let [english, spanish] = ["LESSON.md", "LECCION.md"].map(|sheet| fs::read_to_string(dir.join(sheet)).unwrap());
        for text in [&english, &spanish] {
            assert_eq!(text.matches("TRAINING / ADIESTRAMIENTO").count(), 2, "{text}");
            assert!(text.lines().all(|line| line.starts_with('$') || line.chars().count() <= 100), "{text}");
        }
        let lines = commands(&english);
        assert!(lines.len() >= 9 && lines == commands(&spanish), "{lines:?}");
        for line in &lines {
            let line = line.replace("CLASS", expected).replace("AGENCY", culprits[0]).replace(" --entry N", "");
            let line = line.trim_end_matches(" --by ");
            let ran = school.types(&dir, line);
            let codes: &[i32] = match line.split(' ').nth(1).unwrap() {
                "verify" => &[0, 1],
                "reconcile" => match *expected {
                    "sound" => &[0],
                    "could-not-tell" => &[2],
                    _ => &[1],
                },
                "lessons" if line.contains("--found") => &[i32::from(!line.contains(expected))],
                _ => &[0],
            };
            assert!(codes.contains(&ran.code), "{lesson}: {line}: {}: {}", ran.code, ran.said);
        }
    }
}

/// Two cases of one lesson differ in the copies, in the digest of what was handed out, and in nothing else.
fn nothing_gives_the_answer_away(school: &School) {
    let of = |seed: u64| {
        let dir = school.start("correction", 100 + seed);
        let mut all = Vec::new();
        files(&dir, &mut all);
        let all: Vec<(PathBuf, Vec<u8>)> =
            all.into_iter().map(|(p, b)| (p.strip_prefix(&dir).unwrap().to_owned(), b)).collect();
        let written = |p: &PathBuf| (fs::metadata(dir.join(p)).unwrap().modified().unwrap(), dir.join(p));
        let times: Vec<_> = all.iter().filter(|(p, _)| p.starts_with("copies")).map(|(p, _)| written(p)).collect();
        assert!(times.iter().all(|(at, _)| *at == times[0].0), "the times of files tell: {times:?}");
        all
    };
    let (one, two) = (of(0), of(4));
    let rest = |files: &[(PathBuf, Vec<u8>)]| -> Vec<(PathBuf, Vec<u8>)> {
        files.iter().filter(|(p, _)| !p.starts_with("copies") && !p.ends_with("lesson.toml")).cloned().collect()
    };
    assert_ne!(one, two);
    assert_eq!(rest(&one), rest(&two));
    let names = |files: &[(PathBuf, Vec<u8>)]| -> Vec<String> {
        let (_, note) = files.iter().find(|(p, _)| p.ends_with("lesson.toml")).unwrap();
        String::from_utf8_lossy(note).lines().map(|l| l.split(' ').next().unwrap().to_owned()).collect()
    };
    assert_eq!(names(&one), ["mark", "lesson", "pin", "handed_out"]);
    assert!(!rest(&one).iter().any(|(p, _)| p.to_string_lossy().contains("log.key")));
}

fn what_was_changed_is_not_judged(school: &School) {
    let dir = school.path("letter-0");
    let head = dir.join("copies/us-tx-dps/checkpoint");
    let was = fs::read(&head).unwrap();
    fs::write(&head, [was.as_slice(), b"\n"].concat()).unwrap();
    let ran = school.types(&dir, "puente --json lessons check --found sound");
    assert!(ran.code == 2 && ran.said.contains("\"lesson-changed\""), "{}", ran.said);
    fs::write(&head, was).unwrap();
    is(school, &dir, "puente lessons check --found sound", true);
    for (line, code) in [
        ("puente --json lessons start nothing", "no-such-lesson"),
        ("puente --json lessons start letter --stage ../stage --dir .", "not-empty"),
        ("puente --json lessons check copies --give-up", "no-lesson"),
        ("puente --json lessons check . --found sloppy", "usage"),
    ] {
        // The folder of a lesson that is named by default is there already, and not empty.
        fs::create_dir_all(dir.join("lesson-letter/x")).unwrap();
        let ran = school.types(&dir, line);
        assert!(ran.code == 2 && ran.said.contains(&format!("\"{code}\"")), "{line}: {}", ran.said);
    }
}

#[test]
fn the_document_shows_how_to_begin_and_nothing_is_left_elsewhere() {
    let school = School::open();
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/OPERATIONS.md");
    let text = fs::read_to_string(path).unwrap();
    let section = text.split("\n## Learning to audit\n").nth(1).expect("a section about learning");
    let lines = commands(section.split("\n## ").next().unwrap());
    assert!(lines.len() >= 5, "{lines:?}");
    let script: String = lines.iter().map(|line| format!("{line}\necho \"ends with $?\"\n")).collect();
    let ran = school.types(school.folder.path(), &script);
    let codes: Vec<i32> =
        ran.said.lines().filter_map(|l| l.strip_prefix("ends with ")).map(|n| n.parse().unwrap()).collect();
    assert_eq!(codes.len(), lines.len(), "{}", ran.said);
    for (line, code) in lines.iter().zip(codes) {
        let allowed: &[i32] = match line {
            line if line.contains("reconcile") => &[1, 2],
            line if line.contains("--found") => &[0, 1],
            _ => &[0],
        };
        assert!(allowed.contains(&code), "{line} ends with {code}: {}", ran.said);
    }
    for name in NAMES {
        assert!(ran.said.contains(name), "{name} is not in the list: {}", ran.said);
    }
    assert_eq!(fs::read_dir(school.path("tmp")).unwrap().count(), 0, "the cast left its folder");
    let listed = school.types(school.folder.path(), "puente --json --lang es lessons");
    let value: serde_json::Value = serde_json::from_str(&listed.said).unwrap();
    assert_eq!((value["training"].as_bool(), value["lessons"].as_array().unwrap().len()), (Some(true), NAMES.len()));
}
