//! The program as its own process, over loopback: what a log's operator and a witness's operator see.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use common::ToyLog;
use puente_audit_log::witness::{WitnessReply, monitoring_path};
use puente_audit_log::{ClaimedCheckpoint, VerifierKey};
use puente_model::TreeSize;

const ORIGIN: &str = "example.org/log1";

fn program(dir: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_puente-witness"));
    command.arg("--dir").arg(dir.join("witness")).arg("--lang=en").args(args).env_remove("CREDENTIALS_DIRECTORY");
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
}

impl Running {
    fn start(dir: &Path) -> Self {
        let mut child = program(dir, &["--json", "run", "--listen", "127.0.0.1:0"]);
        let mut child = child.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let ready: serde_json::Value = serde_json::from_str(&line).unwrap();
        Self { child, at: ready["listen"].as_str().unwrap().parse().unwrap() }
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
