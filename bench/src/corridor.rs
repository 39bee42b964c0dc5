//! `corridor`: a question to every member of a corridor, and an alert to all of them, between real nodes.
//!
//! Each member is a process of its own, with its engine, policies, log and connections, as `puente demo --scenario safe-cities`
//! starts them. Beside it stands the floor: one round trip of a bare QUIC echo under mutual TLS.

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};

use crate::peers::Sizes;
use crate::process::Served;
use crate::stats::{median, round};
use crate::world::Puente;
use crate::{Failure, echo, machine, pki};

/// Bytes that are sent and come back to find the floor: about what an alert has on the wire.
const SIZES: Sizes = Sizes { request: 1_024, response: 256 };
/// How long the floor is measured, once a pass.
const FLOOR: Duration = Duration::from_secs(1);
/// Records of each node.
const RECORDS: usize = 200;

/// What to measure.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The program; the one beside this one unless given.
    pub puente: Option<PathBuf>,
    /// Members of the corridor.
    pub members: u32,
    /// How often all of it is done.
    pub passes: usize,
    /// Folder for everything; on the disk that is to be measured.
    pub folder: PathBuf,
}

/// Runs all of it.
///
/// # Errors
/// A process does not start, or the scenario does not end as it should.
pub fn measure(plan: &Plan, mut progress: impl FnMut(&str)) -> Result<Value, Failure> {
    let machine = machine::describe();
    let puente = Puente::find(plan.puente.as_deref())?;
    let runtime = tokio::runtime::Runtime::new()?;
    pki::make(&plan.folder)?;
    let server = Served::start(&["echo-server"], &plan.folder)?;
    let echo = runtime.block_on(echo::Client::connect(&plan.folder, server.address))?;
    let (mut floors, mut figures) = (Vec::new(), Vec::new());
    for pass in 1..=plan.passes {
        floors.push(runtime.block_on(echo.measure(1, FLOOR, SIZES))?.p50);
        figures.push(scenario(&puente, plan, pass)?);
        progress(&format!("pass {pass} of {}", plan.passes));
    }
    let of = |path: &str| -> Result<f64, Failure> {
        let each: Option<Vec<f64>> = figures.iter().map(|figures| figures.pointer(path)?.as_f64()).collect();
        Ok(median(each.ok_or_else(|| format!("the scenario says nothing of {path}"))?))
    };
    let (floor, last) = (median(floors), of("/alert/last_millis")?);
    Ok(json!({
        "bench": "corridor", "machine": machine, "members": plan.members, "passes": plan.passes,
        "what": "nodes in processes of their own, cosigned logs; milliseconds after the question was put, and after the alert stood in its author's log",
        "formed_ms": round(of("/formed_millis")?),
        "question": {
            "answers": round(of("/question/answers")?), "first_ms": round(of("/question/first_millis")?),
            "half_ms": round(of("/question/half_millis")?), "all_ms": round(of("/question/all_millis")?),
        },
        "alert": {
            "last_ms": round(last), "quic_round_trip_us": round(floor),
            "round_trips": round(last * 1_000.0 / floor),
        },
        "resident_mib": {"largest": round(of("/resident_mib/largest")?), "all": round(of("/resident_mib/all")?)},
    }))
}

/// One run of the scenario; what it says of its corridor.
fn scenario(puente: &Puente, plan: &Plan, pass: usize) -> Result<Value, Failure> {
    let folder = plan.folder.join(format!("pass{pass}"));
    let (members, records) = (plan.members.to_string(), RECORDS.to_string());
    let output = Command::new(puente.path())
        .arg("--dir")
        .arg(&folder)
        .args(["--json", "demo", "--scenario", "safe-cities", "--cities", &members, "--records", &records])
        .stdin(Stdio::null())
        .output()?;
    let words = String::from_utf8_lossy(&output.stderr);
    let said: Value = serde_json::from_slice(&output.stdout).map_err(|_| format!("the scenario failed: {words}"))?;
    if said["ok"] != true {
        return Err(format!("the scenario did not end as it should: {words}").into());
    }
    std::fs::remove_dir_all(&folder)?;
    Ok(said["corridor"].clone())
}
