//! The program as its own process, over loopback: what a log's operator and a witness's operator see.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, ChildStderr, Command, Output, Stdio};

use common::ToyLog;
use puente_audit_log::witness::{WitnessReply, monitoring_path};
use puente_audit_log::{ClaimedCheckpoint, VerifierKey};
use puente_model::TreeSize;

const ORIGIN: &str = "example.org/log1";

fn program(dir: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_puente-witness"));
    command.arg("--dir").arg(dir.join("witness")).args(args).env("LC_ALL", "C").env_remove("CREDENTIALS_DIRECTORY");
    command.stdin(Stdio::null());
    command
}

fn ran(dir: &Path, args: &[&str]) -> Output {
    program(dir, args).output().unwrap()
}

fn json(output: &Output) -> serde_json::Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"))
}

/// A witness at work; killed when dropped.
struct Running {
    child: Child,
    at: SocketAddr,
    /// What it writes to stderr.
    said: Option<BufReader<ChildStderr>>,
}

impl Running {
    fn start(dir: &Path) -> Self {
        Self::begun(dir, Stdio::null())
    }

    /// Its log lines are read.
    fn start_heard(dir: &Path) -> Self {
        Self::begun(dir, Stdio::piped())
    }

    fn begun(dir: &Path, stderr: Stdio) -> Self {
        let mut child = program(dir, &["--json", "run", "--listen", "127.0.0.1:0"]);
        let mut child = child.stdout(Stdio::piped()).stderr(stderr).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let ready: serde_json::Value = serde_json::from_str(&line).unwrap();
        let said = child.stderr.take().map(BufReader::new);
        Self { child, at: ready["listen"].as_str().unwrap().parse().unwrap(), said }
    }

    fn post(&self, body: &[u8]) -> (u16, String, Vec<u8>) {
        request(self.at, "POST", "/add-checkpoint", body)
    }

    /// Ends it as a power cut would end the process.
    fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A submission as it goes over the line; `connection` is what becomes of that afterwards.
fn posted(body: &[u8], connection: &str) -> Vec<u8> {
    let length = body.len();
    let head = format!(
        "POST /add-checkpoint HTTP/1.1\r\nHost: w\r\nConnection: {connection}\r\nContent-Length: {length}\r\n\r\n"
    );
    [head.as_bytes(), body].concat()
}

fn request(at: SocketAddr, method: &str, path: &str, body: &[u8]) -> (u16, String, Vec<u8>) {
    let mut stream = TcpStream::connect(at).unwrap();
    let head = format!(
        "{method} {path} HTTP/1.1\r\nHost: witness\r\nConnection: close\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).unwrap();
    // A server that refuses early need not read the rest.
    let _ = stream.write_all(body);
    let mut reply = Vec::new();
    let _ = stream.read_to_end(&mut reply);
    let end = reply.windows(4).position(|four| four == b"\r\n\r\n").expect("a whole head") + 4;
    let head = String::from_utf8(reply[..end].to_vec()).unwrap().to_lowercase();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    (status, head, reply[end..].to_vec())
}

/// Makes a witness of the log, and returns its key.
fn made(dir: &Path, log: &ToyLog, more: &[&str]) -> VerifierKey {
    let vkey = log.key().to_string();
    let output = ran(dir, &[&["init", "--name", "w1", "--log", &vkey], more].concat());
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap().trim().parse().unwrap()
}

#[test]
fn a_log_gets_its_heads_cosigned_also_after_the_witness_was_killed() {
    let dir = tempfile::tempdir().unwrap();
    let mut log = ToyLog::new(ORIGIN, "a");
    let key = made(dir.path(), &log, &["--allow-first-use"]);
    let mut known = 0;
    for size in [1, 2, 5, 5, 300] {
        let running = Running::start(dir.path());
        let (status, _, body) = running.post(&log.submission(known, size));
        let reply = WitnessReply::read(status, &body, &log.head(size), &key).unwrap();
        let WitnessReply::Cosigned(head, _) = reply else { panic!("{reply:?}") };
        assert_eq!(head.cosignatures(&[&key]).unwrap().len(), 1);
        // Monitors read the same head, with both signatures.
        let (status, _, note) = request(running.at, "GET", &format!("/{}", monitoring_path(ORIGIN)), b"");
        assert_eq!(status, 200);
        let newest = ClaimedCheckpoint::parse(&note).unwrap().verify(&log.key()).unwrap();
        assert_eq!(newest, head);
        running.kill();
        known = size;
    }
    // Nothing that was signed is forgotten.
    let running = Running::start(dir.path());
    let (status, head, body) = running.post(&log.submission(5, 300));
    assert_eq!((status, body.as_slice()), (409, &b"300\n"[..]));
    assert!(head.contains("content-type: text/x.tlog.size\r\n"), "{head}");
    let reply = WitnessReply::read(status, &body, &log.head(300), &key);
    assert_eq!(reply, Ok(WitnessReply::Knows(TreeSize(300))));
}

#[test]
fn every_answer_of_the_protocol_comes_over_http() {
    let dir = tempfile::tempdir().unwrap();
    let (mut log, mut fork) = (ToyLog::new(ORIGIN, "a"), ToyLog::new(ORIGIN, "b"));
    made(dir.path(), &log, &["--allow-first-use"]);
    let running = Running::start(dir.path());
    let forged =
        String::from_utf8(log.submission(3, 5)).unwrap().replace(&format!("{ORIGIN}\n5\n"), &format!("{ORIGIN}\n6\n"));
    let cases = [
        (200, log.submission(0, 3)),
        (200, log.submission(3, 3)),
        (400, b"old 3".to_vec()),
        (400, log.submission(5, 3)),
        (403, forged.into_bytes()),
        (404, ToyLog::new("example.org/other", "a").submission(0, 1)),
        (409, log.submission(2, 5)),
        (422, fork.submission(3, 5)),
        (422, fork.submission(3, 3)),
    ];
    for (expected, body) in cases {
        let (status, head, reply) = running.post(&body);
        assert_eq!(status, expected, "{}", String::from_utf8_lossy(&reply));
        let media = if status == 409 { "text/x.tlog.size" } else { "text/plain; charset=utf-8" };
        assert!(head.contains(&format!("content-type: {media}\r\n")), "{head}");
    }
    for (method, path, expected) in [
        ("GET", "/add-checkpoint", 405),
        ("POST", "/checkpoint", 404),
        ("GET", "/", 404),
        ("GET", "/../witness.key", 404),
        ("GET", "/00/checkpoint", 404),
        ("GET", "/%2e%2e/checkpoint", 404),
        ("PUT", &format!("/{}", monitoring_path(ORIGIN)), 405),
        ("GET", &format!("/{}", monitoring_path(ORIGIN)), 200),
        ("GET", &format!("/{}", monitoring_path("example.org/other")), 404),
    ] {
        assert_eq!(request(running.at, method, path, b"").0, expected, "{method} {path}");
    }
}

#[test]
fn half_a_submission_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let mut log = ToyLog::new(ORIGIN, "a");
    made(dir.path(), &log, &["--allow-first-use"]);
    let running = Running::start(dir.path());
    let body = log.submission(0, 3);
    for cut in [0, 1, body.len() / 2, body.len() - 1] {
        let mut stream = TcpStream::connect(running.at).unwrap();
        let whole = posted(&body, "close");
        stream.write_all(&whole[..whole.len() - body.len() + cut]).unwrap();
        stream.shutdown(std::net::Shutdown::Write).unwrap();
        let mut reply = String::new();
        let _ = stream.read_to_string(&mut reply);
        assert!(!reply.contains(" 200 "), "{reply}");
    }
    // Nothing was remembered: the log still begins at nothing.
    assert_eq!(running.post(&log.submission(1, 3)).2, b"0\n");
    assert_eq!(running.post(&body).0, 200);
}

#[test]
fn one_connection_serves_many_submissions() {
    let dir = tempfile::tempdir().unwrap();
    let mut log = ToyLog::new(ORIGIN, "a");
    made(dir.path(), &log, &["--allow-first-use"]);
    let running = Running::start(dir.path());
    let mut stream = TcpStream::connect(running.at).unwrap();
    for size in 1..20 {
        stream.write_all(&posted(&log.submission(size - 1, size), "keep-alive")).unwrap();
        let mut reader = BufReader::new(&stream);
        let (mut status, mut length) = (String::new(), 0);
        reader.read_line(&mut status).unwrap();
        assert!(status.contains(" 200 "), "{status}");
        loop {
            let mut line = String::new();
            reader.read_line(&mut line).unwrap();
            if let Some(value) = line.to_lowercase().strip_prefix("content-length: ") {
                length = value.trim().parse().unwrap();
            }
            if line == "\r\n" {
                break;
            }
        }
        let mut line = vec![0; length];
        reader.read_exact(&mut line).unwrap();
        assert!(line.starts_with("— w1 ".as_bytes()));
    }
}

#[test]
fn a_witness_killed_under_load_remembers_whatever_it_told() {
    let dir = tempfile::tempdir().unwrap();
    let log = ToyLog::new(ORIGIN, "a");
    let key = made(dir.path(), &log, &["--allow-first-use"]);
    // Two writers of one log race; each head that either got cosigned must be behind the size that is remembered.
    let bodies: Vec<Vec<u8>> = {
        let mut log = ToyLog::new(ORIGIN, "a");
        (0..60).map(|size| log.submission(size, size + 1)).collect()
    };
    let mut known = 0;
    for round in 0..6 {
        let running = Running::start(dir.path());
        let at = running.at;
        let told = std::sync::atomic::AtomicU64::new(known);
        std::thread::scope(|scope| {
            let writer = |_| {
                scope.spawn(|| {
                    let told = &told;
                    for (size, body) in (1_u64..).zip(&bodies) {
                        let Ok(mut stream) = TcpStream::connect(at) else { return };
                        let mut reply = String::new();
                        let sent = stream.write_all(&posted(body, "close"));
                        if sent.and_then(|()| stream.read_to_string(&mut reply)).is_err() {
                            return;
                        }
                        if reply.contains(" 200 ") {
                            told.fetch_max(size, std::sync::atomic::Ordering::SeqCst);
                        }
                    }
                })
            };
            let writers: Vec<_> = (0..2).map(writer).collect();
            // Some heads later, whatever is under way then.
            let enough = || told.load(std::sync::atomic::Ordering::SeqCst) >= known + 5 + round;
            while !enough() && !writers.iter().all(std::thread::ScopedJoinHandle::is_finished) {
                std::thread::yield_now();
            }
            running.kill();
        });
        let running = Running::start(dir.path());
        let (status, _, size) = running.post(&ToyLog::new(ORIGIN, "a").submission(61, 62));
        assert_eq!(status, 409);
        let remembered: u64 = String::from_utf8(size).unwrap().trim().parse().unwrap();
        let told = told.into_inner();
        assert!(remembered >= told, "it told {told} and remembers {remembered}");
        let (_, _, note) = request(running.at, "GET", &format!("/{}", monitoring_path(ORIGIN)), b"");
        let head = ClaimedCheckpoint::parse(&note).unwrap().verify(&log.key()).unwrap();
        assert_eq!(head.root(), ToyLog::new(ORIGIN, "a").head(remembered).root());
        assert_eq!(head.cosignatures(&[&key]).unwrap().len(), 1);
        known = remembered;
    }
}

#[test]
fn it_stops_when_it_is_told_to_and_its_folder_is_its_own() {
    let dir = tempfile::tempdir().unwrap();
    let mut log = ToyLog::new(ORIGIN, "a");
    made(dir.path(), &log, &["--allow-first-use"]);
    let mut running = Running::start(dir.path());
    assert_eq!(running.post(&log.submission(0, 3)).0, 200);
    assert_eq!(running.post(&log.submission(1, 3)).0, 409);
    let second = ran(dir.path(), &["--json", "run", "--listen", "127.0.0.1:0"]);
    assert_eq!((second.status.code(), json(&second)["error"]["code"].as_str()), (Some(4), Some("locked")));
    // A connection that does nothing does not hold it up.
    let idle = TcpStream::connect(running.at).unwrap();
    let pid = running.child.id().to_string();
    assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
    assert!(running.child.wait().unwrap().success());
    drop(idle);
    let status = ran(dir.path(), &["--json", "status"]);
    assert_eq!(status.status.code(), Some(0), "{status:?}");
    let status = json(&status);
    let log = &status["logs"][0];
    assert_eq!(
        (log["origin"].as_str(), log["size"].as_u64(), log["cosigned"].as_u64()),
        (Some(ORIGIN), Some(3), Some(1))
    );
    assert_eq!(log["refused"]["stale"], 1);
    assert!(log["cosigned_at"].as_str().unwrap().ends_with('Z'));
}

#[test]
fn status_says_what_somebody_must_look_at() {
    let dir = tempfile::tempdir().unwrap();
    let (mut log, mut fork) = (ToyLog::new(ORIGIN, "a"), ToyLog::new(ORIGIN, "b"));
    made(dir.path(), &log, &[]);
    let state = dir.path().join("witness");
    let before = ran(dir.path(), &["status"]);
    assert!(String::from_utf8_lossy(&before.stdout).contains("not served: no first checkpoint is pinned"));
    std::fs::write(state.join("checkpoints/first"), log.head(3).note_bytes()).unwrap();
    let before = ran(dir.path(), &["status"]);
    assert!(String::from_utf8_lossy(&before.stdout).contains("begins with the pinned checkpoint of 3 entries"));
    let running = Running::start(dir.path());
    assert_eq!(running.post(&log.submission(3, 5)).0, 200);
    assert_eq!(running.post(&fork.submission(5, 5)).0, 422);
    drop(running);
    let after = ran(dir.path(), &["status"]);
    let words = String::from_utf8_lossy(&after.stdout);
    assert_eq!(after.status.code(), Some(1), "{words}");
    assert!(words.contains("5 entries, last cosigned") && words.contains(".log-forked-5.json"), "{words}");
    let spanish = program(dir.path(), &["--lang", "es", "status"]).output().unwrap();
    assert!(String::from_utf8_lossy(&spanish.stdout).contains("5 asientos, última cofirma"), "{spanish:?}");
}

#[test]
fn init_overwrites_nothing_and_an_encrypted_key_needs_its_passphrase() {
    let dir = tempfile::tempdir().unwrap();
    let log = ToyLog::new(ORIGIN, "a");
    let word = dir.path().join("word");
    std::fs::write(&word, "correct horse battery\n").unwrap();
    let word = word.to_str().unwrap();
    let key = made(dir.path(), &log, &["--allow-first-use", "--encrypt", "--passphrase-file", word]);
    let again = ran(dir.path(), &["--json", "init", "--name", "w1"]);
    assert_eq!((again.status.code(), json(&again)["error"]["code"].as_str()), (Some(2), Some("exists")));
    // Nobody to ask.
    let nobody = ran(dir.path(), &["--json", "run", "--listen", "127.0.0.1:0"]);
    assert_eq!((nobody.status.code(), json(&nobody)["error"]["code"].as_str()), (Some(2), Some("passphrase")));
    let mut child = program(dir.path(), &["--json", "--passphrase-file", word, "run", "--listen", "127.0.0.1:0"]);
    let mut child = child.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
    let ready: serde_json::Value = serde_json::from_str(&line).unwrap();
    assert_eq!(ready["vkey"].as_str(), Some(&*key.to_string()));
}

#[test]
fn names_and_keys_that_cannot_be_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let witness = ToyLog::new(ORIGIN, "a").key().to_string();
    for (args, code) in [
        (&["init", "--name", "a b"][..], "key-name"),
        (&["init", "--name", "a+b"], "key-name"),
        (&["init", "--name", "w", "--log", "nonsense"], "vkey"),
        (&["init", "--name", "w", "--log", &witness.replace("+A", "+B")], "vkey"),
    ] {
        let output = ran(dir.path(), &[&["--json"], args].concat());
        assert_eq!((output.status.code(), json(&output)["error"]["code"].as_str()), (Some(2), Some(code)), "{args:?}");
    }
    // No half of a witness is left over for the next attempt to stumble on.
    assert!(ran(dir.path(), &["init", "--name", "w"]).status.success());
}

#[test]
fn with_certificate_files_it_speaks_tls() {
    use rustls::pki_types::ServerName;
    let dir = tempfile::tempdir().unwrap();
    let mut log = ToyLog::new(ORIGIN, "a");
    made(dir.path(), &log, &["--allow-first-use"]);
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let folder = dir.path().join("witness");
    std::fs::write(folder.join("tls.crt"), made.cert.pem()).unwrap();
    std::fs::write(folder.join("tls.key"), made.signing_key.serialize_pem()).unwrap();
    let config = std::fs::read_to_string(folder.join("witness.toml")).unwrap();
    std::fs::write(folder.join("witness.toml"), config.replace("# tls_", "tls_")).unwrap();
    let running = Running::start(dir.path());
    let mut roots = rustls::RootCertStore::empty();
    roots.add(made.cert.der().clone()).unwrap();
    let provider = std::sync::Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let config = std::sync::Arc::new(builder.with_root_certificates(roots).with_no_client_auth());
    let client = rustls::ClientConnection::new(config, ServerName::try_from("localhost").unwrap()).unwrap();
    let mut stream = rustls::StreamOwned::new(client, TcpStream::connect(running.at).unwrap());
    stream.write_all(&posted(&log.submission(0, 3), "close")).unwrap();
    let mut reply = String::new();
    let _ = stream.read_to_string(&mut reply);
    assert!(reply.starts_with("HTTP/1.1 200 ") && reply.contains("— w1 "), "{reply}");
    // A client that speaks in the clear gets nothing out of it.
    let mut plain = TcpStream::connect(running.at).unwrap();
    plain.write_all(b"GET / HTTP/1.1\r\nHost: w\r\n\r\n").unwrap();
    let mut reply = Vec::new();
    let _ = plain.read_to_end(&mut reply);
    assert!(!reply.starts_with(b"HTTP"), "{reply:?}");
}

/// A log that others wrote, with Go's own packages, gets its heads cosigned and its forgeries refused.
#[test]
fn a_log_of_gos_own_packages_is_served() {
    let packages = Path::new("/usr/share/gocode/src/golang.org/x/mod/sumdb");
    if !packages.is_dir() || Command::new("go").arg("version").output().is_err() {
        assert!(
            std::env::var_os("PUENTE_NO_SKIP").is_none(),
            "Go is not installed: apt-get install golang-go golang-golang-x-mod-dev"
        );
        eprintln!(
            "SKIPPED: Go or golang.org/x/mod is not installed (apt-get install golang-go golang-golang-x-mod-dev)"
        );
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let client = dir.path().join("client");
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/interop/witness.go");
    let mut build = Command::new("go");
    build.args(["build", "-o"]).arg(&client).arg(source).env("GO111MODULE", "off").env("GOPATH", "/usr/share/gocode");
    let built = build.env("GOCACHE", dir.path().join("cache")).output().unwrap();
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    let keys = dir.path().join("keys");
    let go = |args: &[&str]| {
        let output = Command::new(&client).args(args).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    };
    let vkey = go(&["key", "go.example/log", keys.to_str().unwrap()]);
    let output = ran(dir.path(), &["init", "--name", "w1", "--log", &vkey, "--allow-first-use"]);
    let key = String::from_utf8(output.stdout).unwrap();
    let running = Running::start(dir.path());
    let said = go(&["ask", keys.to_str().unwrap(), key.trim(), &format!("http://{}", running.at)]);
    assert_eq!(said, "cosigned go.example/log by w1 at 1000");
}

impl Running {
    /// SIGHUP, and what the program says then, as the service manager's journal would show it.
    fn reloaded(&mut self) -> serde_json::Value {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args(["-HUP", &pid]).status().unwrap().success());
        loop {
            let mut line = String::new();
            assert!(self.said.as_mut().unwrap().read_line(&mut line).unwrap() > 0, "it ended");
            let said: serde_json::Value = serde_json::from_str(&line).unwrap();
            let message = said["fields"]["message"].as_str().unwrap_or_default();
            if message == "reloaded" || message.starts_with("not reloaded") {
                return said["fields"].clone();
            }
        }
    }
}

#[test]
fn sighup_takes_up_what_holds_and_leaves_the_rest_as_it_was() {
    let dir = tempfile::tempdir().unwrap();
    let (mut log, mut other) = (ToyLog::new(ORIGIN, "a"), ToyLog::new("example.org/log2", "b"));
    made(dir.path(), &log, &["--allow-first-use"]);
    let mut running = Running::start_heard(dir.path());
    assert_eq!(running.post(&log.submission(0, 3)).0, 200);
    assert_eq!(running.post(&other.submission(0, 1)).0, 404);
    let policy = dir.path().join("witness/logs.policy");
    let both = format!("log {}\nlog {}\n", log.key(), other.key());
    std::fs::write(&policy, &both).unwrap();
    assert_eq!(running.reloaded(), serde_json::json!({"message": "reloaded", "logs": 2}));
    assert_eq!(running.post(&other.submission(0, 1)).0, 200);
    assert_eq!(running.post(&log.submission(3, 4)).0, 200);
    // What does not hold changes nothing, and is said.
    std::fs::write(&policy, format!("{both}nonsense\n")).unwrap();
    let said = running.reloaded();
    assert!(said["message"].as_str().unwrap().contains("line 3"), "{said}");
    assert_eq!(running.post(&other.submission(1, 2)).0, 200);
    // A log that is named no more is served no more, and is not forgotten.
    std::fs::write(&policy, format!("log {}\n", other.key())).unwrap();
    assert_eq!(running.reloaded()["logs"], 1);
    assert_eq!(running.post(&log.submission(4, 5)).0, 404);
    std::fs::write(&policy, &both).unwrap();
    assert_eq!(running.reloaded()["logs"], 2);
    let (status, _, body) = running.post(&log.submission(0, 5));
    assert_eq!((status, body.as_slice()), (409, &b"4\n"[..]));
}

#[test]
fn a_renewed_certificate_is_taken_up_without_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let log = ToyLog::new(ORIGIN, "a");
    made(dir.path(), &log, &[]);
    let folder = dir.path().join("witness");
    let certify = || {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        std::fs::write(folder.join("tls.crt"), made.cert.pem()).unwrap();
        std::fs::write(folder.join("tls.key"), made.signing_key.serialize_pem()).unwrap();
        made.cert.der().clone()
    };
    let first = certify();
    let config = std::fs::read_to_string(folder.join("witness.toml")).unwrap();
    std::fs::write(folder.join("witness.toml"), config.replace("# tls_", "tls_")).unwrap();
    let mut running = Running::start_heard(dir.path());
    let speaks = |running: &Running, trusted: &rustls::pki_types::CertificateDer<'static>| {
        let mut roots = rustls::RootCertStore::empty();
        roots.add(trusted.clone()).unwrap();
        let provider = std::sync::Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let config = builder.unwrap().with_root_certificates(roots).with_no_client_auth();
        let name = rustls::pki_types::ServerName::try_from("localhost").unwrap();
        let mut client = rustls::ClientConnection::new(std::sync::Arc::new(config), name).unwrap();
        client.complete_io(&mut TcpStream::connect(running.at).unwrap()).is_ok()
    };
    assert!(speaks(&running, &first));
    let second = certify();
    assert!(speaks(&running, &first) && !speaks(&running, &second), "files alone change nothing");
    assert_eq!(running.reloaded()["message"], "reloaded");
    assert!(speaks(&running, &second) && !speaks(&running, &first));
    std::fs::write(folder.join("tls.key"), "torn").unwrap();
    assert!(running.reloaded()["message"].as_str().unwrap().contains("PEM"));
    assert!(speaks(&running, &second));
}
