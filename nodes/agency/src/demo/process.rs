//! The shipped program as other processes: commands with their JSON, and nodes that run, freeze, die and come back.

use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::cli::Failure;

/// How long a node may take to say that it is ready.
const READY: Duration = Duration::from_secs(60);
/// How long a node may take to stop when asked.
const STOPPING: Duration = Duration::from_secs(15);

/// The program, as anybody would start it.
#[derive(Debug, Clone)]
pub(super) struct Program {
    exe: PathBuf,
}

/// What one command came to.
#[derive(Debug, Clone)]
pub(super) struct Ran {
    /// Its exit code.
    pub(super) code: i32,
    /// The one JSON value on its stdout.
    pub(super) value: Value,
    /// Its command line, for messages.
    pub(super) line: String,
}

impl Ran {
    /// The value, if the command ended well.
    pub(super) fn done(self) -> Result<Value, Failure> {
        if self.code == 0 {
            return Ok(self.value);
        }
        let error = self.value.get("error");
        let words = error.and_then(|e| e.get("message")).and_then(Value::as_str).unwrap_or("no words");
        let hint = error.and_then(|e| e.get("hint")).and_then(Value::as_str).unwrap_or("");
        let failure = Failure::unavailable("demo", format!("'{}' ended with {}: {words}", self.line, self.code));
        Err(if hint.is_empty() { failure } else { failure.hint(hint) })
    }
}

fn owned(args: &[&str]) -> Vec<String> {
    args.iter().map(|a| (*a).to_owned()).collect()
}

impl Program {
    pub(super) fn current() -> Result<Self, Failure> {
        let exe = std::env::current_exe().map_err(|error| {
            Failure::unavailable("demo", format!("this program's own file cannot be found: {error}"))
        })?;
        Ok(Self { exe })
    }

    pub(super) fn path(&self) -> &Path {
        &self.exe
    }

    fn command(&self, args: &[String]) -> Command {
        let mut command = Command::new(&self.exe);
        command.args(args).arg("--json").stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// Runs a command; its stdout must be one JSON value.
    pub(super) fn run(&self, args: &[&str]) -> Result<Ran, Failure> {
        self.begin(&owned(args))?.wait()
    }

    /// Runs a command that must end well.
    pub(super) fn json(&self, args: &[&str]) -> Result<Value, Failure> {
        self.run(args)?.done()
    }

    /// Starts a command and lets it run.
    pub(super) fn begin(&self, args: &[String]) -> Result<Begun, Failure> {
        let line = format!("puente {}", args.join(" "));
        let child = self
            .command(args)
            .spawn()
            .map_err(|error| Failure::unavailable("demo", format!("'{line}' could not be started: {error}")))?;
        Ok(Begun { child, line })
    }

    /// Runs independent commands, a few at a time, and returns what came of them in order.
    pub(super) fn all(&self, jobs: &[Vec<String>]) -> Result<Vec<Ran>, Failure> {
        let mut out = Vec::with_capacity(jobs.len());
        for some in jobs.chunks(4) {
            let begun = some.iter().map(|args| self.begin(args)).collect::<Result<Vec<_>, _>>()?;
            for one in begun {
                out.push(one.wait()?);
            }
        }
        Ok(out)
    }
}

/// A command under way.
#[derive(Debug)]
pub(super) struct Begun {
    child: Child,
    line: String,
}

impl Begun {
    /// True while it runs.
    pub(super) fn running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Waits for its end.
    pub(super) fn wait(self) -> Result<Ran, Failure> {
        let line = self.line;
        let failed = |what: String| Failure::unavailable("demo", format!("'{line}' {what}"));
        let output = self.child.wait_with_output().map_err(|error| failed(format!("was lost: {error}")))?;
        let code = output.status.code().unwrap_or(-1);
        let value = serde_json::from_slice(&output.stdout).map_err(|_| {
            let words = String::from_utf8_lossy(&output.stderr);
            let words: String = words.chars().take(2_000).collect();
            failed(format!("printed no JSON (exit code {code}): {}", words.trim()))
        })?;
        Ok(Ran { code, value, line })
    }

    /// Ends it at once; nobody waits for its answer any more.
    pub(super) fn abandon(mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A node in its own process. Dropping it ends the process.
#[derive(Debug)]
pub(super) struct NodeProcess {
    program: Program,
    /// The node's folder.
    pub(super) dir: PathBuf,
    /// Where its own words go.
    words: PathBuf,
    child: Option<(Child, Option<ChildStdin>)>,
}

impl NodeProcess {
    /// Starts `puente node run` without waiting for it.
    pub(super) fn new(program: &Program, dir: PathBuf, words: PathBuf) -> Self {
        Self { program: program.clone(), dir, words, child: None }
    }

    /// Starts the node and waits until it says that it is ready.
    pub(super) fn start(&mut self) -> Result<Value, Failure> {
        self.begin()?.ready()
    }

    /// Starts the node; [`Starting::ready`] waits for it.
    pub(super) fn begin(&mut self) -> Result<Starting, Failure> {
        let failed = |what: String| Failure::unavailable("demo", format!("the node in {}: {what}", self.dir.display()));
        let words = File::options().create(true).append(true).open(&self.words).map_err(|e| failed(e.to_string()))?;
        let mut command = Command::new(&self.program.exe);
        command
            .arg("--dir")
            .arg(&self.dir)
            // The demo closes periods while every node runs: one by one they would wait for those already gone.
            .args(["node", "run", "--until-eof", "--leave-periods-open"])
            // It ends when this process does, however that happens: then nobody holds the other end.
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(words)
            // Ctrl-C is for this process, which then stops the nodes in order.
            .process_group(0);
        let mut child = command.spawn().map_err(|e| failed(format!("it could not be started: {e}")))?;
        let stdin = child.stdin.take();
        let (send, lines) = mpsc::channel();
        if let Some(stdout) = child.stdout.take() {
            std::thread::spawn(move || {
                for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                    // Nobody listens after the first line.
                    let _ = send.send(line);
                }
            });
        }
        self.child = Some((child, stdin));
        Ok(Starting { dir: self.dir.clone(), words: self.words.clone(), lines })
    }

    /// Number of its process.
    pub(super) fn pid(&self) -> Option<u32> {
        self.child.as_ref().map(|(child, _)| child.id())
    }

    /// `kill -9`: the process ends within whatever instruction it was at.
    pub(super) fn kill(&mut self) {
        if let Some((mut child, _stdin)) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// Stops the process where it is, as a machine that hangs. False if this system cannot.
    pub(super) fn freeze(&self) -> bool {
        self.signal("-STOP")
    }

    /// Lets it go on.
    pub(super) fn thaw(&self) -> bool {
        self.signal("-CONT")
    }

    fn signal(&self, which: &str) -> bool {
        let Some(pid) = self.pid() else { return false };
        let script = format!("kill {which} {pid}");
        let quiet = Command::new("sh").args(["-c", &script]).stdin(Stdio::null()).stderr(Stdio::null()).status();
        quiet.is_ok_and(|status| status.success())
    }

    /// Asks it to stop and waits; kills it if it does not.
    pub(super) fn stop(&mut self) {
        let Some((child, stdin)) = self.child.as_mut() else { return };
        // The end of its input tells it to stop.
        drop(stdin.take());
        let until = Instant::now() + STOPPING;
        while Instant::now() < until {
            if !matches!(child.try_wait(), Ok(None)) {
                self.child = None;
                return;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        self.kill();
    }
}

impl Drop for NodeProcess {
    fn drop(&mut self) {
        self.kill();
    }
}

/// A node on its way up.
#[derive(Debug)]
pub(super) struct Starting {
    dir: PathBuf,
    words: PathBuf,
    lines: mpsc::Receiver<String>,
}

impl Starting {
    /// Waits for the line that says that it is ready.
    pub(super) fn ready(self) -> Result<Value, Failure> {
        let line = self.lines.recv_timeout(READY).map_err(|_| {
            let said = std::fs::read_to_string(&self.words).unwrap_or_default();
            let last: Vec<&str> = said.lines().rev().take(3).collect();
            let last: Vec<&str> = last.into_iter().rev().collect();
            Failure::unavailable(
                "demo",
                format!("the node in {} did not start: {}", self.dir.display(), last.join(" ")),
            )
            .hint(format!("its own words are in {}", self.words.display()))
        })?;
        serde_json::from_str(&line)
            .map_err(|_| Failure::unavailable("demo", format!("the node in {} said: {line}", self.dir.display())))
    }
}
