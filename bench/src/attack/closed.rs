//! A holder that cannot record: it must answer nothing.

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::{Map, Value, json};

use super::Plan;
use crate::Failure;
use crate::goal::at_most;
use crate::load::{Kind, write_question};
use crate::stats::round;
use crate::world::{Puente, World};

/// Questions under way: fewer than the streams of one connection.
const IN_FLIGHT: u64 = 200;
/// How long each waits for its answer, in milliseconds.
const DUE_MILLIS: u64 = 1_000;

/// How the log is broken while the node runs.
#[derive(Debug, Clone, Copy)]
enum Breakage {
    /// No file may grow or be written.
    Unwritable,
    /// The folders of journal and log are deleted.
    Deleted,
    /// They are moved elsewhere.
    Moved,
}

impl Breakage {
    const ALL: [Self; 3] = [Self::Unwritable, Self::Deleted, Self::Moved];

    const fn name(self) -> &'static str {
        match self {
            Self::Unwritable => "unwritable",
            Self::Deleted => "deleted",
            Self::Moved => "moved",
        }
    }

    fn inflict(self, world: &World) -> Result<(), Failure> {
        let dir = &world.holder.dir;
        for name in ["journal", "log"] {
            match self {
                Self::Unwritable => {}
                // The node may be preparing its next file there.
                Self::Deleted => {
                    while dir.join(name).exists() {
                        let _ = fs::remove_dir_all(dir.join(name));
                    }
                }
                Self::Moved => fs::rename(dir.join(name), dir.join(format!("{name}.elsewhere")))?,
            }
        }
        if matches!(self, Self::Unwritable) {
            let pid = world.holder.pid().to_string();
            let limited = Command::new("prlimit").args(["--pid", &pid, "--fsize=0:0"]).status()?;
            if !limited.success() {
                return Err("prlimit of util-linux does not limit the node's files".into());
            }
        }
        Ok(())
    }
}

/// Breaks a fresh node's log in each way, then asks.
///
/// # Errors
/// A node does not start, or does not answer while it is whole.
pub fn measure(
    puente: &Puente,
    plan: &Plan,
    goals: &mut Vec<Value>,
    mut say: impl FnMut(&str),
) -> Result<Value, Failure> {
    let mut out = Map::new();
    for breakage in Breakage::ALL {
        say(&format!("{} questions to a node whose log is {}", plan.questions, breakage.name()));
        let folder = plan.folder.join(breakage.name());
        fs::create_dir_all(&folder)?;
        let (words, seconds) = one(puente, &folder, breakage, plan.questions)?;
        let answered: u64 = words.iter().filter(|(word, _)| word.starts_with("answered")).map(|(_, n)| n).sum();
        goals.push(at_most(&format!("log {}: questions answered", breakage.name()), 0.0, answered as f64));
        out.insert(breakage.name().to_owned(), json!({"came_to": words, "seconds": round(seconds)}));
    }
    Ok(Value::Object(out))
}

fn one(
    puente: &Puente,
    folder: &Path,
    breakage: Breakage,
    questions: u64,
) -> Result<(BTreeMap<String, u64>, f64), Failure> {
    let world = World::start(puente.clone(), folder)?;
    let mut stream = world.asker.control()?;
    let whole = ask(&mut stream, 0, IN_FLIGHT)?;
    if whole.get("answered NO_HIT") != Some(&IN_FLIGHT) {
        return Err(format!("a whole node answers otherwise: {whole:?}").into());
    }
    // Everything is applied and published by then.
    std::thread::sleep(Duration::from_millis(2_500));
    breakage.inflict(&world)?;
    let began = Instant::now();
    let words = ask(&mut stream, IN_FLIGHT, questions)?;
    Ok((words, began.elapsed().as_secs_f64()))
}

/// Asks so many questions, so many under way; how many came to what.
fn ask(stream: &mut UnixStream, first: u64, questions: u64) -> Result<BTreeMap<String, u64>, Failure> {
    let mut words = BTreeMap::<String, u64>::new();
    let (mut asked, mut told) = (0, 0);
    let (mut buffer, mut chunk, mut out) = (Vec::new(), vec![0; 64 << 10], Vec::new());
    while told < questions {
        out.clear();
        while asked < questions && asked < told + IN_FLIGHT {
            write_question(&mut out, Kind::NoHit, first + asked, DUE_MILLIS)?;
            asked += 1;
        }
        stream.write_all(&out)?;
        let read = stream.read(&mut chunk)?;
        if read == 0 {
            return Err("the node closed its control socket".into());
        }
        buffer.extend_from_slice(&chunk[..read]);
        while let Some(end) = buffer.iter().position(|b| *b == b'\n') {
            let line: Vec<u8> = buffer.drain(..=end).collect();
            *words.entry(word(&serde_json::from_slice(&line)?)).or_default() += 1;
            told += 1;
        }
    }
    Ok(words)
}

/// What came of a question, in a word or two; whatever the holder recorded and said counts as answered.
fn word(answer: &Value) -> String {
    let text = |field: &str| answer[field].as_str().unwrap_or_default().to_owned();
    match answer["result"].as_str().or_else(|| answer["conclusion"].as_str()) {
        _ if !text("outcome").is_empty() => format!("answered {}", text("outcome")),
        _ if !text("reason").is_empty() => format!("answered with refusal {}", text("reason")),
        _ if !text("code").is_empty() => text("code"),
        Some(result) => result.to_owned(),
        None => answer.to_string().chars().take(60).collect(),
    }
}
