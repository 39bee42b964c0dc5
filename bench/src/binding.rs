//! `binding`: what it costs that an exchange belongs to an epoch of the pair's group.
//!
//! Federations of two nodes, alike in everything, cosigned heads included, but that some name a corridor: there the nodes
//! are in a group of two, and the holder's rules refuse whatever is not bound to it; in the others they refuse what is. There
//! are two of each, founded in the order open, bound, bound, open, since where on the disk a folder comes to lie decides
//! several percent. They are asked in turns.

use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::exchange::Plan;
use crate::goal::at_most;
use crate::load::{Driver, Kind};
use crate::stats::{Sample, median, medians, round};
use crate::world::{Founding, Order, Puente, World};
use crate::{Failure, machine};

const KINDS: [Kind; 2] = [Kind::NoHit, Kind::Released];
/// Records whose hit is confirmed before core data are asked for.
const CONFIRMED: usize = 500;
/// How long nodes may take to make their group.
const TOGETHER: Duration = Duration::from_secs(120);
/// Latency that the group may add.
const ADDED_MAX: f64 = 1.05;

/// Runs all of it.
///
/// # Errors
/// A process does not start, the nodes make no group, or an exchange ends otherwise than it should.
pub fn measure(plan: &Plan) -> Result<Value, Failure> {
    let puente = Puente::find(plan.puente.as_deref())?;
    let start = |name: &str, order| -> Result<(World, Driver), Failure> {
        let folder = plan.folder.join(name);
        std::fs::create_dir_all(&folder)?;
        let world = World::found(puente.clone(), &folder, &Founding { order, ..Founding::default() })?;
        world.import()?;
        if order == Order::Corridor {
            together(&puente, &world)?;
        }
        let mut driver = Driver::new(world.asker.control()?);
        driver.confirm(CONFIRMED)?;
        Ok((world, driver))
    };
    let mut worlds = [
        start("open1", Order::Witnesses)?,
        start("bound1", Order::Corridor)?,
        start("bound2", Order::Corridor)?,
        start("open2", Order::Witnesses)?,
    ];
    let mut rows = Vec::new();
    let mut goals = Vec::new();
    for &in_flight in &plan.in_flight {
        for kind in KINDS {
            let mut samples: [Vec<Sample>; 2] = Default::default();
            let mut cpu: [Vec<f64>; 2] = Default::default();
            // A short pass first, so that caches, windows and files are as they stay.
            for pass in 0..=plan.passes {
                let cell = if pass == 0 { plan.cell / 4 } else { plan.cell };
                for turn in 0..worlds.len() {
                    let at = (pass + turn) % worlds.len();
                    let side = [0, 1, 1, 0][at];
                    let (world, driver) = &mut worlds[at];
                    let used =
                        || [&world.asker, &world.holder].iter().map(|n| machine::cpu_seconds(n.pid())).sum::<f64>();
                    let before = used();
                    let sample = driver.measure(kind, in_flight, cell)?;
                    let each = (used() - before) * 1e6 / (sample.per_second * cell.as_secs_f64());
                    if pass > 0 {
                        samples[side].push(sample);
                        cpu[side].push(each);
                    }
                }
            }
            // Of neighbours: what the machine does meanwhile befalls both.
            let ratio = |of: fn(&Sample) -> f64| median(samples[0].iter().zip(&samples[1]).map(|(a, b)| of(b) / of(a)));
            let [open, bound] = samples.each_ref().map(|passes| medians(passes));
            let cpu_ratio = median(cpu[0].iter().zip(&cpu[1]).map(|(open, bound)| bound / open));
            let [open_cpu, bound_cpu] = cpu.map(median);
            let show = |s: &Sample, cpu: f64| {
                json!({
                    "per_second": round(s.per_second), "p50_us": round(s.p50), "p99_us": round(s.p99),
                    "cpu_us_of_both_nodes": round(cpu),
                })
            };
            rows.push(json!({
                "kind": kind.name(), "in_flight": in_flight, "open": show(&open, open_cpu), "bound": show(&bound, bound_cpu),
                "cpu_bound_to_open": round(cpu_ratio),
                "latency_bound_to_open": round(ratio(|s| s.p50)), "rate_bound_to_open": round(ratio(|s| s.per_second)),
            }));
            if in_flight == 64 {
                let name = format!("p50 of a {} at 64 in flight, bound ÷ open", kind.name());
                goals.push(at_most(&name, ADDED_MAX, ratio(|s| s.p50)));
            }
        }
    }
    Ok(json!({
        "bench": "binding", "machine": machine::describe(), "passes": plan.passes,
        "what": "exchanges between two nodes, both logs durable and cosigned; bound: each in an epoch of the pair's group, or refused",
        "rows": rows, "goals": goals,
    }))
}

/// Waits until both nodes say that they are in their group of two, in one epoch.
fn together(puente: &Puente, world: &World) -> Result<(), Failure> {
    let began = Instant::now();
    loop {
        let [asker, holder] = [&world.asker.dir, &world.holder.dir].map(|dir| pair(puente, dir));
        let (asker, holder) = (asker?, holder?);
        if asker.is_some() && asker == holder {
            return Ok(());
        }
        if began.elapsed() > TOGETHER {
            return Err(format!("the nodes make no group of two: {asker:?} and {holder:?}").into());
        }
        std::thread::sleep(Duration::from_millis(200));
    }
}

/// The epoch of the group of two that a node is in with another.
fn pair(puente: &Puente, dir: &Path) -> Result<Option<u64>, Failure> {
    let listed = puente.run(dir, &["group", "list"])?;
    let whole = |group: &&Value| {
        group["group"].as_str().is_some_and(|name| name.contains("/pair/"))
            && group["members"].as_array().is_some_and(|members| members.len() == 2)
    };
    let group = listed["groups"].as_array().and_then(|groups| groups.iter().find(whole));
    Ok(group.and_then(|group| group["epoch"].as_u64()))
}
