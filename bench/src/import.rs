//! How fast records come in: from a file to SQLite, with validation, match keys and commitments.
//!
//! Everything of `puente import` but the conversation with a node: its log is one that says yes. Rows are invented
//! vehicles with six filled columns and five match keys.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::Instant;

use puente_agency::config::NodeDir;
use puente_agency::import::batch::Summary;
use puente_agency::import::desk::{Audience, BatchState, Desk, Log, Order};
use puente_agency::import::source::Source;
use puente_agency::import::stage::{Folder, Head};
use puente_agency::import::{Format, ImportError, Options, Outcome, RowError};
use puente_agency::load;
use puente_agency::records::RecordStore;
use puente_exchange::api::LocalEvent;
use puente_model::Lang;
use serde_json::{Value, json};

use crate::Failure;
use crate::goal::at_least;
use crate::machine;
use crate::stats::{median, round};

/// The goal, in records a second on one core.
const GOAL: f64 = 50_000.0;
/// Memory is flat: ten times the rows may take so much more, in MiB (caches of SQLite that fill up).
const GROWTH_MIB: f64 = 64.0;

/// What is measured.
#[derive(Debug)]
pub struct Plan {
    /// The program, run anew for each import.
    pub own: PathBuf,
    /// Rows of the larger file; the smaller has a tenth.
    pub rows: u64,
    /// Passes over each.
    pub passes: usize,
    /// Where everything is written.
    pub folder: PathBuf,
}

/// Imports of two files, each in a process of its own.
///
/// # Errors
/// A process or the disk fails.
pub fn measure(plan: &Plan) -> Result<Value, Failure> {
    let mut cells = Vec::new();
    let mut figures = Vec::new();
    for rows in [plan.rows / 10, plan.rows] {
        let file = plan.folder.join(format!("{rows}.csv"));
        write_rows(&file, rows)?;
        let mut passes = Vec::new();
        for pass in 0..plan.passes {
            let node = plan.folder.join(format!("{rows}-{pass}"));
            let ran = std::process::Command::new(&plan.own).arg("import-once").arg(&file).arg(&node).output()?;
            if !ran.status.success() {
                return Err(String::from_utf8_lossy(&ran.stderr).into_owned().into());
            }
            passes.push(serde_json::from_slice::<Value>(&ran.stdout)?);
            std::fs::remove_dir_all(&node)?;
        }
        let of = |name: &str| median(passes.iter().filter_map(|p| p.get(name)?.as_f64()));
        let (cpu, wall, peak) = (of("cpu_seconds"), of("wall_seconds"), of("peak_mib"));
        let rate = |seconds: f64| if seconds > 0.0 { rows as f64 / seconds } else { 0.0 };
        figures.push((rate(cpu), peak));
        cells.push(json!({
            "rows": rows,
            "bytes": file.metadata()?.len(),
            "records_per_cpu_second": round(rate(cpu)),
            "records_per_second": round(rate(wall)),
            "cpu_us_per_record": round(cpu * 1e6 / rows as f64),
            "peak_mib": round(peak),
        }));
        std::fs::remove_file(&file)?;
    }
    let [(small, small_peak), (large, large_peak)] = figures.as_slice() else { return Err("two files".into()) };
    Ok(json!({
        "machine": machine::describe(),
        "passes": plan.passes,
        "cells": cells,
        "goals": [
            at_least("records/s per core into an empty store", GOAL, *small),
            at_least("records/s per core, ten times as many", GOAL, *large),
            crate::goal::at_most("MiB more at the peak for ten times as many rows", GROWTH_MIB, large_peak - small_peak),
        ],
    }))
}

struct Yes(u64);

impl Log for Yes {
    fn collect(&mut self, _: LocalEvent) -> Result<Option<u64>, ImportError> {
        self.0 += 1;
        Ok(Some(self.0))
    }
}

struct Nobody;

impl Audience for Nobody {
    fn problem(&mut self, _: &RowError, _: Outcome) -> Result<(), ImportError> {
        Ok(())
    }

    fn batch(&mut self, _: &Head, _: BatchState) {}

    fn progress(&mut self, _: u64, _: u64) {}
}

/// One import, in this process.
///
/// # Errors
/// A row is refused, or the disk fails.
pub fn once(file: &Path, node: &Path) -> Result<Value, Failure> {
    std::fs::create_dir_all(node)?;
    let dir = NodeDir::new(node);
    let catalogue = load::catalogue(None)?;
    let record_type = catalogue.record_type("Vehicle").ok_or("no such type")?;
    let options = Options { format: Format::Csv, profile: None, overrides: Default::default(), lang: Lang::En };
    let source = Source::named(file);
    let order =
        Order { source: &source, encoding: None, options: &options, catalogue: &catalogue, record_type, authority: "" };
    let seed = puente_agency::files::fresh_secret()?;
    let mut rng: rand_chacha::ChaCha20Rng = rand_core::SeedableRng::from_seed(*seed.expose());
    let (began, cpu) = (Instant::now(), machine::cpu_seconds(std::process::id()));
    let mut nobody = Nobody;
    let records = RecordStore::open_with(&dir, &Default::default())?;
    let mut desk =
        Desk { folder: Folder::new(&dir.imports()), records, log: Yes(0), audience: &mut nobody, dry_run: false };
    let mut summary = Summary::default();
    desk.run(&order, &mut rng, &mut summary)?;
    drop(desk);
    let wall = began.elapsed().as_secs_f64();
    let cpu = machine::cpu_seconds(std::process::id()) - cpu;
    if summary.counts.accepted != summary.counts.rows {
        return Err(format!("{} of {} rows came in", summary.counts.accepted, summary.counts.rows).into());
    }
    Ok(json!({
        "cpu_seconds": cpu,
        "wall_seconds": wall,
        "peak_mib": machine::memory_kib(std::process::id()).0 as f64 / 1024.0,
    }))
}

/// Vehicles of a maker outside North America, so that no place of the VIN is a check digit.
fn write_rows(file: &Path, rows: u64) -> Result<(), Failure> {
    let mut to = std::io::BufWriter::new(std::fs::File::create(file)?);
    writeln!(to, "vin,plate,plate_jurisdiction,make,model_year,status,entering_agency,agency_case")?;
    let mut line = String::new();
    for n in 0..rows {
        line.clear();
        // Scattered, as those of real registers are.
        let place = n.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let letter = |shift: u32| char::from(b"ABCDEFGHJKLMNPRSTUVWXYZ"[(place >> shift) as usize % 23]);
        let _ = writeln!(
            line,
            "WVWZZZ{}{}{}{:08},{}{}{}{:04},US-TX,VOLKSWAGEN,{},stolen,mx/fge-bc,FGEBC/2026/{n}",
            letter(40),
            letter(45),
            letter(50),
            n % 100_000_000,
            letter(30),
            letter(35),
            letter(55),
            place >> 20 & 0x1fff,
            2000 + n % 26,
        );
        to.write_all(line.as_bytes())?;
    }
    to.flush()?;
    Ok(())
}
