//! docs/OPERATIONS.md, typed line by line with the real programs: every block marked `console replay`, in one folder.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::UdpSocket;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

const EXE: &str = env!("CARGO_BIN_EXE_puente");
/// Stands between what commands say, with their exit code.
const MARK: char = '\u{1}';
/// No command of the document takes longer.
const PATIENCE: Duration = Duration::from_secs(60);

/// A command as it is typed, and what it is expected to say.
#[derive(Debug, Default)]
struct Step {
    line: usize,
    command: String,
    expected: Vec<String>,
}

/// The commands of a document's blocks: `$` begins one, `>` continues it, the rest is what it says.
fn steps(text: &str) -> Vec<Step> {
    let (mut out, mut inside) = (Vec::<Step>::new(), false);
    for (at, line) in text.lines().enumerate() {
        if line.starts_with("```") {
            inside = line == "```console replay";
            continue;
        }
        if !inside {
            continue;
        }
        if let Some(command) = line.strip_prefix("$ ") {
            out.push(Step { line: at + 1, command: command.to_owned(), expected: Vec::new() });
        } else {
            let step = out.last_mut().expect("a block begins with a command");
            match line.strip_prefix("> ").or((line == ">").then_some("")) {
                Some(more) => step.command.push_str(&format!("\n{more}")),
                None => step.expected.push(line.to_owned()),
            }
        }
    }
    out
}

/// `…` within a line stands for anything, on a line of its own for any number of lines.
fn says(expected: &[&str], said: &[&str]) -> bool {
    match expected.split_first() {
        None => said.is_empty(),
        Some((&"…", rest)) => (0..=said.len()).any(|skipped| says(rest, &said[skipped..])),
        Some((line, rest)) => said.split_first().is_some_and(|(found, after)| like(line, found) && says(rest, after)),
    }
}

fn like(expected: &str, said: &str) -> bool {
    match expected.split_once('…') {
        None => expected == said,
        Some((head, tail)) => said.strip_prefix(head).is_some_and(|rest| {
            rest.char_indices().map(|(at, _)| at).chain([rest.len()]).any(|at| like(tail, &rest[at..]))
        }),
    }
}

/// A shell in a folder of its own; whatever it started ends with it.
struct Shell {
    child: Child,
    stdin: ChildStdin,
    said: Receiver<Vec<u8>>,
    pending: String,
}

impl Shell {
    fn open(folder: &Path) -> Self {
        let bin = folder.join("bin");
        fs::create_dir(&bin).unwrap();
        std::os::unix::fs::symlink(EXE, bin.join("puente")).unwrap();
        let auditor = "#!/bin/sh\nexec puente audit-files \"$@\"\n";
        fs::write(bin.join("puente-audit"), auditor).unwrap();
        fs::set_permissions(bin.join("puente-audit"), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        let work = folder.join("work");
        fs::create_dir(&work).unwrap();
        let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap());
        let mut command = Command::new("bash");
        command.args(["--norc", "--noprofile"]).current_dir(work).process_group(0);
        command.env("PATH", path).env("LC_ALL", "C.UTF-8").env("NO_COLOR", "1").env_remove("LANGUAGE");
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let (mut stdin, mut stdout) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        writeln!(stdin, "exec 2>&1").unwrap();
        let (sender, said) = channel();
        std::thread::spawn(move || {
            let mut chunk = [0; 8_192];
            while let Ok(read @ 1..) = stdout.read(&mut chunk) {
                if sender.send(chunk[..read].to_vec()).is_err() {
                    break;
                }
            }
        });
        Self { child, stdin, said, pending: String::new() }
    }

    /// What the command says, and how it ends.
    fn run(&mut self, command: &str) -> (String, String) {
        writeln!(self.stdin, "{command}\nprintf '\\n\\001%s\\001\\n' $?").unwrap();
        let until = Instant::now() + PATIENCE;
        loop {
            let mut parts = self.pending.splitn(3, MARK);
            if let (Some(said), Some(code), Some(rest)) = (parts.next(), parts.next(), parts.next()) {
                let (said, code, rest) = (said.to_owned(), code.to_owned(), rest.to_owned());
                self.pending = rest;
                return (said, code);
            }
            match self.said.recv_timeout(until.saturating_duration_since(Instant::now())) {
                Ok(bytes) => self.pending.push_str(&String::from_utf8_lossy(&bytes)),
                Err(_) => panic!("'{command}' does not end: {}", self.pending),
            }
        }
    }
}

impl Drop for Shell {
    fn drop(&mut self) {
        // The group is the shell's own: itself and the nodes that it started.
        let group = format!("-{}", self.child.id());
        let _ = Command::new("kill").args(["-KILL", "--", &group]).status();
        let _ = self.child.wait();
    }
}

/// Lines that say something.
fn lines(text: &str) -> Vec<&str> {
    text.lines().map(str::trim_end).filter(|line| !line.is_empty()).collect()
}

#[test]
fn a_federation_of_six_is_set_up_and_left_with_the_commands_of_the_document() {
    let folder = tempfile::tempdir().unwrap();
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/OPERATIONS.md");
    let mut text = fs::read_to_string(path).unwrap();
    // The document's ports may be taken here.
    let held: Vec<UdpSocket> = (0..6).map(|_| UdpSocket::bind("127.0.0.1:0").unwrap()).collect();
    for (at, socket) in held.iter().enumerate() {
        let port = socket.local_addr().unwrap().port().to_string();
        text = text.replace(&format!(" {} ", 7401 + at), &format!(" {port} "));
    }
    drop(held);
    let steps = steps(&text);
    for needed in [
        "ca init",
        "charter create",
        "charter sign",
        "charter verify",
        "node run",
        "import",
        "query",
        "charter propose",
        "charter adopt",
        "node renew",
        "peer block",
        "peer unblock",
        "puente-audit",
        "charter leave",
    ] {
        assert!(steps.iter().any(|step| step.command.contains(needed)), "the document shows no '{needed}'");
    }
    let mut shell = Shell::open(folder.path());
    for Step { line, command, expected } in &steps {
        let (said, code) = shell.run(command);
        let expected = expected.join("\n");
        let (found, wanted) = (lines(&said), lines(&expected));
        assert!(
            says(&wanted, &found) && code == "0",
            "docs/OPERATIONS.md, line {line}: {command}\nends with {code} and says\n{}\ninstead of\n{}",
            found.join("\n"),
            wanted.join("\n")
        );
    }
}

#[test]
fn the_replayer_tells_what_differs() {
    assert!(says(&["a", "…", "b … d"], &["a", "x", "y", "b c d"]));
    assert!(says(&["…"], &[]) && says(&[], &[]));
    assert!(!says(&["a"], &["a", "b"]) && !says(&["a…z"], &["a"]) && !says(&["…", "z"], &["a"]));
    let text = "```console\n$ not this\n```\n```console replay\n$ one\n> two\nsaid\n$ three\n```\n";
    let found: Vec<(usize, String, usize)> =
        steps(text).into_iter().map(|step| (step.line, step.command, step.expected.len())).collect();
    assert_eq!(found, [(5, "one\ntwo".to_owned(), 1), (8, "three".to_owned(), 0)]);
}
