//! `small`: a node with a million records on one core and 512 MiB, asked fifty questions a second.

use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::cage::Cage;
use crate::goal::{at_least, at_most};
use crate::stats::{Sample, round};
use crate::world::{Founding, HOLDER, Node, OFFICERS, Puente, World, vin};
use crate::{Failure, machine};

/// Memory of the box, in bytes.
const BOX_BYTES: u64 = 512 << 20;
/// How long the node rests before it is looked at.
const REST: Duration = Duration::from_secs(5);
/// How often a process's memory is looked at.
const LOOK: Duration = Duration::from_millis(50);

/// What to measure.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The program; the one beside this one unless given.
    pub puente: Option<PathBuf>,
    /// Records that the node has.
    pub records: u64,
    /// Questions a second.
    pub per_second: u64,
    /// How long it is asked.
    pub duration: Duration,
    /// Folder for everything.
    pub folder: PathBuf,
}

/// Runs all of it.
///
/// # Errors
/// The box cannot be made, a process does not start, or an answer is another one than it should be.
pub fn measure(plan: &Plan) -> Result<Value, Failure> {
    let machine = machine::describe();
    let cage = Cage::new(BOX_BYTES)?;
    let founding = Founding { cage: Some(&cage), ..Founding::default() };
    let world = World::found(Puente::find(plan.puente.as_deref())?, &plan.folder, &founding)?;
    let file = world.write_records(plan.records)?;
    let import = import(&world, &cage, &file)?;
    // The asker answers once it is ready: it records every officer's grant first.
    world.asker.command(&json!({"cmd": "status"}))?;
    std::thread::sleep(REST);
    let (_, rest) = machine::memory_kib(world.holder.pid());
    let cpu = machine::cpu_seconds(world.holder.pid());
    let began = Instant::now();
    let (sample, highest) = ask(&world.asker, &world.holder, plan)?;
    let cpu = (machine::cpu_seconds(world.holder.pid()) - cpu) / began.elapsed().as_secs_f64();
    let counted = cage.counted();
    let killed = counted["killed_for_memory"].as_f64().unwrap_or(f64::NAN);
    Ok(json!({
        "bench": "small",
        "machine": machine,
        "box": {"cores": 1, "memory_mib": BOX_BYTES >> 20, "holds": "node, import and page cache"},
        "records": plan.records,
        "import": import,
        "at_rest_mib": rest >> 10,
        "under_load": {
            "asked_per_second": plan.per_second,
            "answered_per_second": round(sample.per_second),
            "p50_us": round(sample.p50),
            "p99_us": round(sample.p99),
            "highest_mib": highest >> 10,
            "core_used": round(cpu),
        },
        "box_counted": counted,
        "goals": [
            at_least("audited questions/s on one core and 512 MiB", plan.per_second as f64 * 0.99, sample.per_second),
            at_most("processes killed for memory", 0.0, killed),
        ],
    }))
}

/// Imports within the box; what it took.
fn import(world: &World, cage: &Cage, file: &Path) -> Result<Value, Failure> {
    let began = Instant::now();
    let mut child = cage
        .command(world.puente.path())
        .arg("--dir")
        .arg(&world.holder.dir)
        .args(["--json", "import"])
        .arg(file)
        .args(["--type", "Vehicle"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    let (mut highest, mut node) = (0, 0);
    while child.try_wait()?.is_none() {
        highest = machine::memory_kib(child.id()).0.max(highest);
        node = machine::memory_kib(world.holder.pid()).1.max(node);
        std::thread::sleep(LOOK);
    }
    let output = child.wait_with_output()?;
    if !output.status.success() {
        let words = [output.stdout, output.stderr].concat();
        return Err(format!("the import failed ({}): {}", output.status, String::from_utf8_lossy(&words)).into());
    }
    let report: Value = serde_json::from_slice(&output.stdout)?;
    let seconds = began.elapsed().as_secs_f64();
    let accepted = report["accepted"].as_f64().ok_or("the import does not say how many rows it accepted")?;
    Ok(json!({
        "seconds": round(seconds),
        "records_per_second": round(accepted / seconds),
        "highest_mib": highest >> 10,
        "node_meanwhile_mib": node >> 10,
    }))
}

/// One question: every second one is about a record that the node has.
fn question(number: u64, records: u64) -> String {
    let of = if number.is_multiple_of(2) { number % records } else { records + number };
    // Investigators have even numbers.
    let officer = 2 * (number % (OFFICERS as u64 / 2));
    let question = json!({
        "id": number, "cmd": "query", "to": HOLDER, "kind": "vehicle.status", "step": "1",
        "purpose": "vehicle-recovery", "basis": "mx-us-stolen-vehicles-1981", "handling": "H2",
        "officer": format!("o-{officer}"), "case_ref": format!("BENCH/2026/{number}"),
        "params": {"vin": vin(of)}, "due_in_millis": 60_000, "urgency": "routine",
    });
    format!("{question}\n")
}

/// Asks at even distances, whether answers have come or not.
fn ask(asker: &Node, holder: &Node, plan: &Plan) -> Result<(Sample, u64), Failure> {
    let count = plan.per_second * plan.duration.as_secs();
    let mut answers = asker.control()?;
    let mut questions = answers.try_clone()?;
    let (records, each) = (plan.records, Duration::from_secs(1) / u32::try_from(plan.per_second)?);
    let began = Instant::now();
    let due = move |number: u64| began + each * u32::try_from(number).unwrap_or(u32::MAX);
    let writer = std::thread::spawn(move || -> std::io::Result<()> {
        for number in 0..count {
            std::thread::sleep(due(number).saturating_duration_since(Instant::now()));
            questions.write_all(question(number, records).as_bytes())?;
        }
        Ok(())
    });
    let mut latencies = Vec::new();
    let mut highest = 0;
    let (mut buffer, mut chunk) = (Vec::new(), vec![0; 64 << 10]);
    while (latencies.len() as u64) < count {
        let read = answers.read(&mut chunk)?;
        if read == 0 {
            return Err("the node closed its control socket".into());
        }
        buffer.extend_from_slice(&chunk[..read]);
        while let Some(end) = buffer.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = buffer.drain(..=end).collect();
            let answer: Value = serde_json::from_slice(&line)?;
            let number = answer["id"].as_u64().ok_or("an answer without id")?;
            let expected = if number.is_multiple_of(2) { "HIT_UNCONFIRMED" } else { "NO_HIT" };
            if answer["outcome"] != expected {
                return Err(format!("not {expected}: {answer}").into());
            }
            latencies.push(due(number).elapsed());
        }
        highest = machine::memory_kib(holder.pid()).1.max(highest);
    }
    let elapsed = began.elapsed();
    writer.join().map_err(|_| "the asking thread ended")??;
    Ok((Sample::new(latencies, elapsed), highest))
}
