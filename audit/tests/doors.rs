//! Logs at nodes' doors: what an honest one gives, and what comes of servers that lie, break off or never end.
#![allow(clippy::disallowed_methods, reason = "tests write copies of logs and read the clock, as the program does")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on says so")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use puente_audit::remote::{Busy, Copied, Copier, CopyLimits, Credentials, RemoteError};
use puente_audit::{Auditor, Class, Conclusion, Source, Verdict};
use puente_model::{Millis, Secret32};
use serde_json::Value;

#[path = "doors/liar.rs"]
mod liar;
#[path = "doors/mirror.rs"]
mod mirror;
#[path = "doors/monitor.rs"]
mod monitor;
#[path = "../src/tests/world.rs"]
#[allow(dead_code, unreachable_pub, reason = "written for the tests of the library, which use all of it")]
mod world;

use liar::{Asked, Files, Liar, Mind, Said};
use world::*;

fn now() -> Millis {
    static NOW: OnceLock<Millis> = OnceLock::new();
    *NOW.get_or_init(|| {
        Millis(u64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis()).unwrap())
    })
}

const AUDITOR: &str = "puente-auditor://us/us-b";

/// More than any server here fails that is to be forgiven: a connection that has just ended costs an attempt, too.
const ATTEMPTS: u32 = 5;

/// An auditor's desk, and the files of two honest logs.
struct Desk {
    dir: tempfile::TempDir,
    world: World,
}

impl Desk {
    fn new() -> Self {
        let mut world = World::busy();
        // More than one bundle.
        let more = 300 - world.nodes[MX].entries.len();
        events(&mut world, more);
        let dir = tempfile::tempdir().unwrap();
        let (cert, key) = certificate("us", AUDITOR, 2095);
        fs::write(dir.path().join("tls.cert.pem"), cert).unwrap();
        fs::write(dir.path().join("tls.key.pem"), key).unwrap();
        Self { dir, world }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn files(&self) -> Files {
        let dir = tempfile::tempdir().unwrap();
        let copy = self.world.copies(dir.path(), &[MX]).remove(0);
        liar::files(&copy)
    }

    fn liar(&self, mind: Mind) -> Liar {
        Liar::new(&certificate("mx", MX, 2095), self.files(), mind)
    }

    fn copy_with(&self, liar: &Liar, limits: CopyLimits) -> Result<Copied, RemoteError> {
        let credentials = Credentials::load(&self.path("tls.cert.pem"), &self.path("tls.key.pem")).unwrap();
        let charter = charter();
        let copier = Copier {
            charter: &charter,
            credentials: Some(&credentials),
            keep: &self.path("copies"),
            limits,
            busy: Busy::default(),
        };
        copier.copy(&liar.url(), false, &|_| {})
    }

    fn copy(&self, liar: &Liar) -> Result<Copied, RemoteError> {
        let pause = Duration::from_millis(5);
        let limits =
            CopyLimits { patience: Duration::from_secs(5), attempts: ATTEMPTS, pause, ..CopyLimits::default() };
        self.copy_with(liar, limits)
    }

    fn judge(&self, copy: &Copied) -> Verdict {
        let mut auditor = Auditor::new(charter(), now()).with_keys(all_keys());
        auditor.audit(&[Source::Copied(&copy.dir, copy.before.as_deref())], false, false).unwrap()
    }

    fn head(&self) -> PathBuf {
        self.path("copies/for-us/mx/fge-bc/n1/log1/checkpoint")
    }
}

/// So many events, all at once: the world's seeds last an hour.
fn events(world: &mut World, count: usize) {
    let now = world.now;
    for _ in 0..count {
        world.event(MX);
        world.now = now;
    }
}

fn honest() -> Mind {
    Box::new(|_, _| Said::Honest)
}

/// Lies about the files whose names begin so.
fn about(prefix: &'static str, lie: impl Fn(&Asked, &Files) -> Said + Send + Sync + 'static) -> Mind {
    Box::new(move |asked, files| if asked.path.starts_with(prefix) { lie(asked, files) } else { Said::Honest })
}

fn faults(verdict: &Verdict) -> Vec<Class> {
    verdict.faults().map(|finding| finding.class).collect()
}

#[test]
fn an_honest_log_is_copied_once_and_goes_on_from_there() {
    let mut desk = Desk::new();
    let liar = desk.liar(honest());
    let copy = desk.copy(&liar).unwrap();
    assert!(!copy.reused && copy.before.is_none() && copy.bytes > 10_000);
    assert_eq!(desk.judge(&copy).verdict, Conclusion::Sound);
    assert!(liar.seen().values().all(|times| *times == 1), "{:?}", liar.seen());
    // Later, only what is new.
    drop(liar);
    events(&mut desk.world, 20);
    let liar = desk.liar(honest());
    let copy = desk.copy(&liar).unwrap();
    assert!(copy.reused && copy.before.is_some());
    assert!(!liar.seen().contains_key("tile/entries/000"), "{:?}", liar.seen());
    assert_eq!(desk.judge(&copy).verdict, Conclusion::Sound);
}

const LEDGER: &str = "ledgers/group/frontera/otay/ledger1/";

/// A ledger of so many entries as a node's door gives it; who signs it is a matter of the audit.
fn ledger(files: &mut Files, entries: usize) {
    struct Nowhere;
    impl puente_audit_log::Journal for Nowhere {
        type Error = String;
        fn persist(&mut self, _: puente_audit_log::Batch<'_>) -> Result<(), String> {
            Ok(())
        }
    }
    let origin = LEDGER.strip_prefix("ledgers/").unwrap().trim_end_matches('/');
    let key = Secret32::new([3; 32]);
    let signer = puente_audit_log::Ed25519Signer::new(origin, puente_audit_log::KeyKind::Ed25519, &key).unwrap();
    let mut log = puente_audit_log::Log::empty(origin).unwrap();
    let entries: Vec<Vec<u8>> = (0..entries).map(|n| format!("commit {n}").into_bytes()).collect();
    let staged = log.stage(&entries).unwrap().sign(&signer).unwrap();
    let committed = log.commit(staged.persist(&mut Nowhere).unwrap()).unwrap();
    let published = log.publish().unwrap();
    files.retain(|name, _| !name.starts_with(LEDGER));
    for file in committed.files.into_iter().chain(published) {
        files.insert(format!("{LEDGER}{}", file.path), file.bytes);
    }
    files.insert("ledgers/".to_owned(), format!("{origin}\n").into_bytes());
}

#[test]
fn ledgers_of_groups_are_copied_beside_the_log() {
    let desk = Desk::new();
    let mut files = desk.files();
    let serve = |files: &Files| Liar::new(&certificate("mx", MX, 2095), files.clone(), honest());
    let beside = |files: &Files, copy: &Copied| {
        for (name, bytes) in files.iter().filter(|(name, _)| name.starts_with(LEDGER)) {
            assert_eq!(&fs::read(copy.dir.join(name)).unwrap(), bytes, "{name}");
        }
    };
    ledger(&mut files, 300);
    let copy = desk.copy(&serve(&files)).unwrap();
    beside(&files, &copy);
    assert!(!copy.reused);
    // Later, only what is new.
    ledger(&mut files, 301);
    let door = serve(&files);
    let copy = desk.copy(&door).unwrap();
    beside(&files, &copy);
    assert!(copy.reused && !door.seen().contains_key(&format!("{LEDGER}tile/entries/000")), "{:?}", door.seen());
    // A node that shows less of it takes nothing away.
    let longer = files.clone();
    ledger(&mut files, 7);
    beside(&longer, &desk.copy(&serve(&files)).unwrap());
    // What is no ledger, or not the one that is named, is never written anywhere.
    let good = longer.get(&format!("{LEDGER}checkpoint")).unwrap();
    for (name, head) in [
        ("../../outside", good.clone()),
        ("group/frontera/otay/ledger2", good.clone()),
        ("group/frontera/otay/ledger1", b"no head".to_vec()),
    ] {
        let mut files = longer.clone();
        files.insert("ledgers/".to_owned(), format!("{name}\n").into_bytes());
        files.insert(format!("ledgers/{name}/checkpoint"), head);
        let refused = desk.copy(&serve(&files));
        assert!(matches!(&refused, Err(RemoteError::Protocol { path, .. }) if path == "ledgers/"), "{refused:?}");
    }
}

/// A server tells the truth once and lies on every later reading: there is no later reading.
#[test]
fn what_a_node_says_later_changes_no_verdict() {
    let desk = Desk::new();
    let liar = desk.liar(Box::new(|asked, files| match (asked.time, files.get(&asked.path)) {
        (1, _) | (_, None) => Said::Honest,
        (_, Some(bytes)) => Said::Bytes(bytes.iter().map(|b| b ^ 1).collect()),
    }));
    let copy = desk.copy(&liar).unwrap();
    assert_eq!(desk.judge(&copy).verdict, Conclusion::Sound);
    assert!(liar.seen().values().all(|times| *times == 1), "{:?}", liar.seen());
}

#[test]
fn wrong_bytes_under_a_signed_head_are_the_nodes_fault() {
    let flipped = |_: &Asked, files: &Files| {
        let mut bytes = files["tile/entries/000"].clone();
        bytes[40] ^= 1;
        Said::Bytes(bytes)
    };
    // Whole, as HTTP sees it, but fewer entries than the tree has.
    let cut = |_: &Asked, files: &Files| Said::Bytes(files["tile/entries/000"][..5_000].to_vec());
    let empty = |_: &Asked, _: &Files| Said::Bytes(Vec::new());
    for mind in [about("tile/entries/000", flipped), about("tile/entries/000", cut), about("tile/entries/000", empty)] {
        let desk = Desk::new();
        let copy = desk.copy(&desk.liar(mind)).unwrap();
        let verdict = desk.judge(&copy);
        assert_eq!((verdict.verdict, faults(&verdict)), (Conclusion::Unsound, vec![Class::Corrupt]));
    }
    // A sidecar that is said to be shorter than it is makes no log sound.
    let desk = Desk::new();
    let liar = desk.liar(about("checkpoint", |asked, files| {
        let answer = String::from_utf8(liar::honest(asked, files, files.get("checkpoint"))).unwrap();
        let at = answer.find("puente-asides: ").unwrap();
        let rest = answer[at..].split_once("\r\n").unwrap().1;
        Said::Raw(format!("{}puente-asides: 0\r\n{rest}", &answer[..at]).into_bytes())
    }));
    let copy = desk.copy(&liar).unwrap();
    assert_ne!(desk.judge(&copy).verdict, Conclusion::Sound);
}

/// The line, and servers that are no node: never guilt, never a finished copy, always an end.
#[test]
fn what_is_no_nodes_answer_is_could_not_tell() {
    let raw = |text: &'static str| move |_: &Asked, _: &Files| Said::Raw(text.as_bytes().to_vec());
    let line = |error: &RemoteError| matches!(error, RemoteError::Line { attempts: ATTEMPTS, .. });
    let protocol = |error: &RemoteError| matches!(error, RemoteError::Protocol { .. });
    let missing = |error: &RemoteError| matches!(error, RemoteError::Missing(_));
    let refused = |error: &RemoteError| matches!(error, RemoteError::NotAdmitted(_));
    type Expected = fn(&RemoteError) -> bool;
    let table: Vec<(&str, Mind, Expected)> = vec![
        (
            "cut off in the body",
            about("tile/entries", |asked, files| {
                let mut answer = liar::honest(asked, files, files.get(&asked.path));
                answer.truncate(answer.len() - 1);
                Said::Raw(answer)
            }),
            line,
        ),
        ("cut off in the head", about("tile/0", raw("HTTP/1.1 200 OK\r\ncontent-le")), |error| {
            matches!(error, RemoteError::Line { .. } | RemoteError::Protocol { .. })
        }),
        ("silence", about("tile", raw("")), line),
        (
            "elsewhere",
            about("tile", raw("HTTP/1.1 302 Found\r\nlocation: https://127.0.0.1:1/\r\ncontent-length: 0\r\n\r\n")),
            protocol,
        ),
        ("too long", about("tile", raw("HTTP/1.1 200 OK\r\ncontent-length: 18446744073709551615\r\n\r\n")), protocol),
        ("a bit too long", about("tile/0", raw("HTTP/1.1 200 OK\r\ncontent-length: 8193\r\n\r\n")), protocol),
        ("no length", about("tile", raw("HTTP/1.1 200 OK\r\n\r\nabc")), protocol),
        (
            "in pieces",
            about("tile", raw("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n")),
            protocol,
        ),
        ("no HTTP", about("tile", raw("SSH-2.0-OpenSSH_9.9\r\n\r\n")), |error| {
            matches!(error, RemoteError::Line { .. } | RemoteError::Protocol { .. })
        }),
        ("busy for ever", about("tile", raw("HTTP/1.1 503 Busy\r\ncontent-length: 0\r\n\r\n")), line),
        ("not there", about("tile/entries", raw("HTTP/1.1 404 No\r\ncontent-length: 0\r\n\r\n")), missing),
        ("thrown out", about("tile", raw("HTTP/1.1 403 No\r\ncontent-length: 0\r\n\r\n")), refused),
        ("all instead of a part", about("asides", raw("HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nabc")), protocol),
        (
            "another part",
            about("asides", raw("HTTP/1.1 206 P\r\ncontent-length: 3\r\ncontent-range: bytes 5-7/9\r\n\r\nabc")),
            protocol,
        ),
        (
            "more headers than anybody needs",
            about("tile", |_, _| {
                Said::Raw(format!("HTTP/1.1 200 OK\r\nx: {}\r\ncontent-length: 0\r\n\r\n", "y".repeat(1 << 20)).into())
            }),
            |error| matches!(error, RemoteError::Line { .. } | RemoteError::Protocol { .. }),
        ),
    ];
    let desk = Desk::new();
    for (name, mind, expected) in table {
        let error = desk.copy(&desk.liar(mind)).unwrap_err();
        assert!(expected(&error), "{name}: {error:?}");
        assert!(!desk.head().exists(), "{name}: there is no head before everything is there");
        let _ = fs::remove_dir_all(desk.path("copies"));
    }
    // In the end the line holds: nothing of this is left.
    let copy = desk.copy(&desk.liar(honest())).unwrap();
    assert_eq!(desk.judge(&copy).verdict, Conclusion::Sound);
}

#[test]
fn who_drips_is_given_up() {
    let desk = Desk::new();
    let drips = [
        about("tile/entries/000", |_, _| {
            Said::Drip(b"HTTP/1.1 200 OK\r\ncontent-length: 1000000\r\n\r\n".to_vec(), Duration::from_millis(20))
        }),
        about("tile/entries/000", |_, _| Said::Drip(b"HTTP/1.1 200 OK\r\nx: ".to_vec(), Duration::from_millis(20))),
    ];
    for mind in drips {
        let patience = Duration::from_millis(700);
        let limits = CopyLimits { patience, attempts: 2, pause: Duration::from_millis(5), ..CopyLimits::default() };
        let began = Instant::now();
        let error = desk.copy_with(&desk.liar(mind), limits).unwrap_err();
        assert!(matches!(error, RemoteError::Line { attempts: 2, .. }), "{error:?}");
        assert!(began.elapsed() < Duration::from_secs(30), "it ends by itself");
    }
}

#[test]
fn a_line_that_mends_is_enough() {
    let desk = Desk::new();
    let liar = desk.liar(Box::new(|asked, _| match asked.time {
        1 => Said::Raw(b"HTTP/1.1 429 Wait\r\nretry-after: 0\r\ncontent-length: 0\r\n\r\n".to_vec()),
        2 => Said::Raw(Vec::new()),
        _ => Said::Honest,
    }));
    let copy = desk.copy(&liar).unwrap();
    assert_eq!(desk.judge(&copy).verdict, Conclusion::Sound);
}

#[test]
fn more_than_the_limit_is_not_copied() {
    let desk = Desk::new();
    let limits = CopyLimits { bytes_max: 10_000, ..CopyLimits::default() };
    let error = desk.copy_with(&desk.liar(honest()), limits).unwrap_err();
    assert!(matches!(error, RemoteError::TooMuch { max: 10_000 }), "{error:?}");
}

#[test]
fn only_the_node_itself_answers_for_its_log() {
    let desk = Desk::new();
    let us = {
        let dir = tempfile::tempdir().unwrap();
        liar::files(&desk.world.copies(dir.path(), &[US]).remove(0))
    };
    let no_node = [
        ("another nation's root", certificate("us", MX, 2095)),
        ("no member", certificate("mx", "puente://mx/stranger/n1", 2095)),
        ("an auditor", certificate("mx", "puente-auditor://mx/mx-a", 2095)),
        ("past its end", certificate("mx", MX, 2021)),
        ("a nation that is not there", certificate("us", "puente://gt/pnc/n1", 2095)),
    ];
    for (name, certificate) in no_node {
        let liar = Liar::new(&certificate, desk.files(), honest());
        let error = desk.copy(&liar).unwrap_err();
        assert!(matches!(error, RemoteError::NoNode(_)), "{name}: {error:?}");
        assert!(liar.seen().is_empty(), "{name}: nothing was asked");
    }
    // A good node with another one's log, and with a head that nobody of the charter signed.
    let error = desk.copy(&Liar::new(&certificate("mx", MX, 2095), us, honest())).unwrap_err();
    assert!(matches!(&error, RemoteError::OtherLog { origin, .. } if origin == "us/sdpd/n1/log1"), "{error:?}");
    let mut files = desk.files();
    let note = String::from_utf8(files["checkpoint"].clone()).unwrap();
    let size = desk.world.nodes[MX].entries.len();
    files.insert("checkpoint".to_owned(), note.replacen(&size.to_string(), &(size + 1).to_string(), 1).into_bytes());
    let error = desk.copy(&Liar::new(&certificate("mx", MX, 2095), files, honest())).unwrap_err();
    assert!(matches!(error, RemoteError::Head(_)), "{error:?}");
}

#[test]
fn an_older_head_than_the_one_copied_before_convicts_and_destroys_nothing() {
    let mut desk = Desk::new();
    let old = desk.files();
    events(&mut desk.world, 20);
    let copy = desk.copy(&desk.liar(honest())).unwrap();
    let newest = fs::read(copy.dir.join("checkpoint")).unwrap();
    let copy = desk.copy(&Liar::new(&certificate("mx", MX, 2095), old, honest())).unwrap();
    let verdict = desk.judge(&copy);
    assert_eq!((verdict.verdict, faults(&verdict)), (Conclusion::Unsound, vec![Class::Truncated]));
    let aside = copy.dir.with_file_name("log1.before-1");
    assert_eq!(fs::read(aside.join("checkpoint")).unwrap(), newest, "the larger head is evidence");
}

struct Ran {
    code: i32,
    out: String,
    words: String,
}

impl Desk {
    /// The program, in the auditor's folder.
    fn run(&self, arguments: &[&str]) -> Ran {
        let mut command = Command::new(env!("CARGO_BIN_EXE_puente-audit"));
        let output = command.args(arguments).current_dir(self.dir.path()).output().unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        Ran { code: output.status.code().unwrap(), out: text(output.stdout), words: text(output.stderr) }
    }

    fn init(&self) {
        let pin = write_charter(&self.path("charter")).to_string();
        assert_eq!(self.run(&["init", "--charter", "charter", "--pin", &pin]).code, 0);
        fs::write(self.path("mx-a"), hex::encode(seal_secret("mx-a").expose())).unwrap();
    }
}

#[test]
fn the_program_reads_doors_and_folders_side_by_side() {
    let desk = Desk::new();
    desk.init();
    desk.world.copies(desk.dir.path(), &[US]);
    let liar = desk.liar(honest());
    let url = liar.url();
    let door = ["--cert", "tls.cert.pem", "--attempts", "1"];
    let ran = desk.run(&[&["--json", "verify", &url, "--key", "mx-a"], &door[..]].concat());
    assert_eq!(ran.code, 0, "{}{}", ran.out, ran.words);
    assert!(ran.words.contains("300 entries") || ran.words.contains(" entries, "), "progress: {}", ran.words);
    let both = desk.run(&[&["reconcile", &url, "us-sdpd-n1", "--without-headers", "--lang", "es"], &door[..]].concat());
    assert_eq!(both.code, 0, "{}{}", both.out, both.words);
    assert!(
        both.out.contains("bitácoras: 2  asientos: ") && both.words.contains("la copia está en"),
        "{}{}",
        both.out,
        both.words
    );
    // What was damaged here is nobody's fault: it is fetched anew, and what it was is kept.
    let kept = desk.path("puente-auditor/copies/for-us/mx/fge-bc/n1/log1");
    let bundle = kept.join("tile/entries/000");
    let mut bytes = fs::read(&bundle).unwrap();
    bytes[50] ^= 1;
    fs::write(&bundle, bytes).unwrap();
    let ran = desk.run(&[&["verify", &url, "--without-headers"], &door[..]].concat());
    assert_eq!(ran.code, 0, "{}{}", ran.out, ran.words);
    assert!(ran.words.contains("fetched once more") && kept.with_file_name("log1.before-1").exists(), "{}", ran.words);
    assert!(!desk.path("puente-auditor/evidence").exists(), "no evidence against anybody was written");
    // The line ends: could not tell, and the other log is judged all the same.
    drop(liar);
    let ran = desk.run(&[&["--json", "reconcile", &url, "us-sdpd-n1", "--without-headers"], &door[..]].concat());
    let verdict: Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!((ran.code, &verdict["verdict"]), (2, &Value::from("could-not-tell")), "{}", ran.words);
    assert_eq!(verdict["logs"][1]["verdict"], "sound");
    assert_eq!(verdict["findings"][0]["class"], "unavailable");
}

#[test]
fn what_is_wrong_on_this_side_is_said_before_anything_is_audited() {
    let desk = Desk::new();
    desk.init();
    for (arguments, words) in [
        (["verify", "http://127.0.0.1:1/", "--cert", "tls.cert.pem"], "write https://host:port/"),
        (["verify", "https://127.0.0.1:1/a?b", "--cert", "tls.cert.pem"], "write https://host:port/"),
        (["verify", "https://127.0.0.1:1/", "--cert", "nowhere.pem"], "nowhere.pem"),
        (["verify", "https://127.0.0.1:1/", "--cert", "mx-a"], "no certificate in PEM"),
    ] {
        let ran = desk.run(&arguments);
        assert_eq!(ran.code, 2, "{}", ran.out);
        assert!(ran.words.contains(words), "{words}: {}", ran.words);
    }
    let (node, _) = certificate("mx", MX, 2095);
    fs::write(desk.path("node.pem"), node).unwrap();
    let ran = desk.run(&["verify", "https://127.0.0.1:1/", "--cert", "node.pem"]);
    assert!(ran.code == 2 && ran.words.contains("puente-auditor://"), "{}", ran.words);
    let (other, _) = certificate("us", AUDITOR, 2095);
    fs::write(desk.path("other.pem"), other).unwrap();
    let ran = desk.run(&["verify", "https://127.0.0.1:1/", "--cert", "other.pem"]);
    assert!(ran.code == 2 && ran.words.contains("not the certificate's key"), "{}", ran.words);
    assert!(!Path::new(&desk.path("puente-auditor/copies")).exists());
}
