//! `exchange`: audited questions, durable on both sides, beside calls without any log.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Value, json};

use crate::goal::{at_least, at_most};
use crate::load::{Driver, Kind};
use crate::peers::Sizes;
use crate::process::Served;
use crate::stats::{Sample, median, medians, round};
use crate::world::{Puente, World};
use crate::{Failure, echo, engine, log, machine, pki, unary};

const KINDS: [Kind; 3] = [Kind::NoHit, Kind::Released, Kind::Refusal];
/// Records whose hit is confirmed before core data are asked for.
const CONFIRMED: usize = 500;

/// What to measure.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The program; the one beside this one unless given.
    pub puente: Option<PathBuf>,
    /// Interleaved passes.
    pub passes: usize,
    /// How long one cell lasts in one pass.
    pub cell: Duration,
    /// Operations under way.
    pub in_flight: Vec<usize>,
    /// Folder for everything; on the disk that is to be measured.
    pub folder: PathBuf,
}

/// One row of the table: what, and how many in flight.
type Cell = (String, usize);

/// Runs all of it.
///
/// # Errors
/// A process does not start, or an exchange ends otherwise than it should.
pub fn measure(plan: &Plan) -> Result<Value, Failure> {
    let machine = machine::describe();
    let runtime = tokio::runtime::Runtime::new()?;
    pki::make(&plan.folder)?;
    let world = World::start(Puente::find(plan.puente.as_deref())?, &plan.folder)?;
    let sizes = engine::sizes(&plan.folder, &KINDS)?;
    let echo_server = Served::start(&["echo-server"], &plan.folder)?;
    let unary_server = Served::start(&["unary-server"], &plan.folder)?;
    let echo = runtime.block_on(echo::Client::connect(&plan.folder, echo_server.address))?;
    let unary = runtime.block_on(unary::Client::connect(&plan.folder, unary_server.address))?;
    let mut driver = Driver::new(world.asker.control()?);
    driver.confirm(CONFIRMED)?;

    let mut cells: BTreeMap<Cell, Vec<Sample>> = BTreeMap::new();
    let mut cpu: BTreeMap<Cell, Vec<[f64; 3]>> = BTreeMap::new();
    let mut syncs = Vec::new();
    // A short pass first, so that caches, windows and files are as they stay.
    for pass in 0..=plan.passes {
        let cell = if pass == 0 { plan.cell / 4 } else { plan.cell };
        let sync = log::sync_p50(&plan.folder.join("sync"), 4_096, 1_000)?;
        if pass > 0 {
            syncs.push(sync);
        }
        for &in_flight in &plan.in_flight {
            for (kind, sizes) in KINDS.iter().zip(&sizes) {
                let pids = [std::process::id(), world.asker.pid(), world.holder.pid()];
                let before = pids.map(machine::cpu_seconds);
                let sample = driver.measure(*kind, in_flight, cell)?;
                let used = pids.map(machine::cpu_seconds);
                let of_echo = runtime.block_on(echo.measure(in_flight, cell, *sizes))?;
                let of_unary = runtime.block_on(unary.measure(in_flight, cell, *sizes))?;
                if pass == 0 {
                    continue;
                }
                let operations = sample.per_second * cell.as_secs_f64();
                let each = [0, 1, 2].map(|i| (used[i] - before[i]) * 1e6 / operations);
                let name = kind.name();
                cpu.entry((name.to_owned(), in_flight)).or_default().push(each);
                cells.entry((name.to_owned(), in_flight)).or_default().push(sample);
                cells.entry((format!("echo_like_{name}"), in_flight)).or_default().push(of_echo);
                cells.entry((format!("tonic_like_{name}"), in_flight)).or_default().push(of_unary);
            }
        }
    }
    let status = world.asker.command(&json!({"cmd": "status"}))?;
    let memory = [&world.asker, &world.holder].map(|node| machine::memory_kib(node.pid()).1);
    Ok(report(plan, &machine, &sizes, &cells, &cpu, median(syncs), &json!({"asker_status": status, "rss_kib": memory})))
}

fn report(
    plan: &Plan,
    machine: &Value,
    sizes: &[Sizes],
    cells: &BTreeMap<Cell, Vec<Sample>>,
    cpu: &BTreeMap<Cell, Vec<[f64; 3]>>,
    sync: f64,
    after: &Value,
) -> Value {
    let of = |name: &str, in_flight: usize| {
        cells.get(&(name.to_owned(), in_flight)).map(|passes| medians(passes)).unwrap_or_default()
    };
    let mut rows = Vec::new();
    for kind in KINDS {
        let name = kind.name();
        for &in_flight in &plan.in_flight {
            let show =
                |s: &Sample| json!({"per_second": round(s.per_second), "p50_us": round(s.p50), "p99_us": round(s.p99)});
            let (own, echo, tonic) = (
                of(name, in_flight),
                of(&format!("echo_like_{name}"), in_flight),
                of(&format!("tonic_like_{name}"), in_flight),
            );
            let used = cpu
                .get(&(name.to_owned(), in_flight))
                .map_or([f64::NAN; 3], |passes| [0, 1, 2].map(|i| median(passes.iter().map(|each| each[i]))));
            rows.push(json!({
                "kind": name, "in_flight": in_flight,
                "puente": show(&own), "quinn_echo": show(&echo), "tonic_unary": show(&tonic),
                "ratio_to_tonic": round(own.per_second / tonic.per_second),
                "ratio_to_echo": round(own.per_second / echo.per_second),
                "cpu_us_per_exchange": {
                    "driver": round(used[0]), "asker": round(used[1]), "holder": round(used[2]),
                },
            }));
        }
    }
    let ratio = |name: &str| of(name, 64).per_second / of(&format!("tonic_like_{name}"), 64).per_second;
    let echo = |name: &str| of(&format!("echo_like_{name}"), 1).p50;
    let goals = [
        at_least("no-hit at 64 in flight ÷ tonic", 0.7, ratio("no_hit")),
        at_least("released hit at 64 in flight ÷ tonic", 0.4, ratio("released_hit")),
        at_most(
            "p50 of a no-hit, one in flight, µs (echo + 3 fdatasync + 400)",
            echo("no_hit") + 3.0 * sync + 400.0,
            of("no_hit", 1).p50,
        ),
        at_most(
            "p50 of a released hit, one in flight, µs (2 echo + 4 fdatasync + 800)",
            2.0 * echo("released_hit") + 4.0 * sync + 800.0,
            of("released_hit", 1).p50,
        ),
    ];
    let sizes: serde_json::Map<String, Value> = KINDS
        .iter()
        .zip(sizes)
        .map(|(kind, s)| (kind.name().to_owned(), json!({"request": s.request, "response": s.response})))
        .collect();
    json!({
        "bench": "exchange", "machine": machine, "passes": plan.passes, "cell_ms": plan.cell.as_millis() as u64,
        "frame_bytes": sizes, "fdatasync_p50_us": round(sync), "rows": rows, "goals": goals, "after": after,
    })
}

/// One kind of exchange for `duration`, without peers: something for profilers to look at. Says which processes.
///
/// # Errors
/// A process does not start, or an exchange ends otherwise than it should.
pub fn steady(plan: &Plan, kind: Kind, mut say: impl FnMut(&str)) -> Result<Value, Failure> {
    let world = World::start(Puente::find(plan.puente.as_deref())?, &plan.folder)?;
    let mut driver = Driver::new(world.asker.control()?);
    driver.confirm(CONFIRMED)?;
    say(&format!("asker {} holder {}", world.asker.pid(), world.holder.pid()));
    let mut rows = Vec::new();
    for &in_flight in &plan.in_flight {
        let pids = [std::process::id(), world.asker.pid(), world.holder.pid()];
        let before = pids.map(machine::cpu_seconds);
        let sample = driver.measure(kind, in_flight, plan.cell)?;
        let used = pids.map(machine::cpu_seconds);
        let operations = sample.per_second * plan.cell.as_secs_f64();
        let each = [0, 1, 2].map(|i| round((used[i] - before[i]) * 1e6 / operations));
        rows.push(json!({
            "in_flight": in_flight, "per_second": round(sample.per_second), "p50_us": round(sample.p50),
            "p99_us": round(sample.p99), "cpu_us_per_exchange": each,
        }));
    }
    Ok(json!({"bench": "steady", "kind": kind.name(), "rows": rows}))
}

/// Makes the world, stops its nodes and measures their engines alone.
///
/// # Errors
/// A process does not start.
pub fn engine_alone(puente: Option<&Path>, folder: &Path, exchanges: u64) -> Result<Value, Failure> {
    drop(World::start(Puente::find(puente)?, folder)?);
    engine::measure(folder, exchanges)
}
