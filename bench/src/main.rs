//! The `puente-bench` command: one measurement, one JSON object on standard output.
// A program prints.
#![allow(clippy::print_stdout, clippy::print_stderr)]

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use puente_bench::{
    Failure, attack, binding, corridor, echo, exchange, group, import, load, log, lookup, process, small, unary,
};

/// The node's allocator, for Puente and its peers alike.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Measures Puente beside its peers; prints one JSON object.
#[derive(Debug, Parser)]
#[command(name = "puente-bench", version)]
struct Cli {
    /// What to measure.
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Durable appends, hash replay, memory, restart.
    Log {
        /// Entries of the large log.
        #[arg(long, default_value_t = 10_000_000)]
        entries: u64,
        /// Exchanges of the log that is verified with every rule.
        #[arg(long, default_value_t = 200_000)]
        exchanges: u64,
        /// The program; else the one beside this one.
        #[arg(long)]
        puente: Option<PathBuf>,
        #[command(flatten)]
        common: Common,
    },
    /// Audited questions beside a bare echo and a unary call without any log.
    Exchange {
        /// The program; else the one beside this one.
        #[arg(long)]
        puente: Option<PathBuf>,
        /// How long one cell lasts in one pass, in milliseconds.
        #[arg(long, default_value_t = 1_500)]
        cell_ms: u64,
        /// Operations under way.
        #[arg(long, value_delimiter = ',', default_value = "1,16,64,256")]
        in_flight: Vec<usize>,
        #[command(flatten)]
        common: Common,
    },
    /// Exchanges bound to the pair's group, in turns with exchanges without groups.
    Binding {
        /// The program; else the one beside this one.
        #[arg(long)]
        puente: Option<PathBuf>,
        /// How long one cell lasts in one pass, in milliseconds.
        #[arg(long, default_value_t = 3_000)]
        cell_ms: u64,
        /// Operations under way.
        #[arg(long, value_delimiter = ',', default_value = "1,64")]
        in_flight: Vec<usize>,
        #[command(flatten)]
        common: Common,
    },
    /// One kind of exchange, without peers: something for profilers to look at.
    Steady {
        /// `no-hit`, `released-hit` or `refusal`.
        kind: load::Kind,
        /// The program; else the one beside this one.
        #[arg(long)]
        puente: Option<PathBuf>,
        /// How long, in milliseconds.
        #[arg(long, default_value_t = 10_000)]
        cell_ms: u64,
        /// Exchanges under way.
        #[arg(long, value_delimiter = ',', default_value = "64")]
        in_flight: Vec<usize>,
        #[command(flatten)]
        common: Common,
    },
    /// The same exchanges between two engines alone: no disk, no sockets.
    Engine {
        /// The program; else the one beside this one.
        #[arg(long)]
        puente: Option<PathBuf>,
        /// Exchanges of each kind.
        #[arg(long, default_value_t = 5_000)]
        exchanges: u64,
        #[command(flatten)]
        common: Common,
    },
    /// Key lookups beside the same prepared statement without Puente.
    Lookup {
        /// How many records, in ascending order.
        #[arg(long, value_delimiter = ',', default_value = "1000000,10000000")]
        records: Vec<u64>,
        /// How long one cell lasts in one pass, in milliseconds.
        #[arg(long, default_value_t = 2_000)]
        cell_ms: u64,
        /// Lookups under way at a server.
        #[arg(long, default_value_t = 64)]
        in_flight: usize,
        /// A server on this machine (postgres://user@host/database); its schema `puente_bench` is dropped.
        #[arg(long)]
        postgres: Option<String>,
        /// Leave SQLite out.
        #[arg(long)]
        no_sqlite: bool,
        #[command(flatten)]
        common: Common,
    },
    /// What hostile peers, floods and a broken disk cost a node and its honest partner.
    Attack {
        /// Only these parts: `flood`, `drip`, `gaps`, `closed`; all unless given.
        #[arg(long, value_delimiter = ',')]
        only: Vec<attack::Part>,
        /// The program; else the one beside this one.
        #[arg(long)]
        puente: Option<PathBuf>,
        /// Hostile members that leave gaps.
        #[arg(long, default_value_t = 1_000)]
        peers: usize,
        /// Questions to a node that cannot record them.
        #[arg(long, default_value_t = 10_000)]
        questions: u64,
        /// Folder for everything that is written, on the disk to be measured; removed at the end.
        #[arg(long, default_value = "target/bench")]
        folder: PathBuf,
    },
    /// Groups: making them, adding, removing, fresh keys; an alert to fifty members.
    ///
    /// Each size is measured fresh, and settled: after members committed once. All of them do in groups of up to --committers
    /// members, and so many, evenly spread, in larger ones, each as whoever rejoins; the output says how many.
    Group {
        /// How many members, this node included.
        #[arg(long, value_delimiter = ',', default_value = "4,50,200,1000", value_parser = group::size)]
        members: Vec<usize>,
        /// How many members commit, at most, before a group counts as settled.
        #[arg(long, default_value_t = 200)]
        committers: usize,
        #[command(flatten)]
        common: Common,
    },
    /// A question and an alert to all members of a corridor of real nodes.
    Corridor {
        /// The program; else the one beside this one.
        #[arg(long)]
        puente: Option<PathBuf>,
        /// How many members: at least 20, at most 50.
        #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(20..=50))]
        members: u32,
        #[command(flatten)]
        common: Common,
    },
    /// Records from a file into SQLite, with validation, keys and commitments.
    Import {
        /// Rows of the larger file; the smaller has a tenth.
        #[arg(long, default_value_t = 1_000_000)]
        rows: u64,
        #[command(flatten)]
        common: Common,
    },
    /// One import (a part of `import`).
    #[command(hide = true)]
    ImportOnce { file: PathBuf, folder: PathBuf },
    /// A node with a million records on one core and 512 MiB.
    Small {
        /// The program; else the one beside this one.
        #[arg(long)]
        puente: Option<PathBuf>,
        /// Records that the node has.
        #[arg(long, default_value_t = 1_000_000)]
        records: u64,
        /// Questions a second.
        #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u64).range(1..=10_000))]
        per_second: u64,
        /// How long it is asked, in seconds.
        #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..=3_600))]
        seconds: u64,
        /// Folder for everything that is written, on the disk to be measured; removed at the end.
        #[arg(long, default_value = "target/bench")]
        folder: PathBuf,
    },
    /// Appends (a part of `log`).
    #[command(hide = true)]
    LogAppend {
        #[arg(long)]
        entries: u64,
        #[arg(long)]
        batch: u64,
        folder: PathBuf,
    },
    /// Grows a tree in memory (a part of `log`).
    #[command(hide = true)]
    LogMemory {
        #[arg(long)]
        entries: u64,
        folder: PathBuf,
    },
    /// Opens a log again (a part of `log`).
    #[command(hide = true)]
    LogRestart { folder: PathBuf },
    /// A bare QUIC echo (started by other measurements).
    #[command(hide = true)]
    EchoServer { folder: PathBuf },
    /// A unary gRPC service (started by other measurements).
    #[command(hide = true)]
    UnaryServer { folder: PathBuf },
}

#[derive(Debug, Args)]
struct Common {
    /// Interleaved passes.
    #[arg(long, default_value_t = 5)]
    passes: usize,
    /// Folder for everything that is written, on the disk to be measured; removed at the end.
    #[arg(long, default_value = "target/bench")]
    folder: PathBuf,
}

/// A fresh folder under the one named.
fn fresh(folder: &Path) -> Result<PathBuf, Failure> {
    let folder = folder.join(std::process::id().to_string());
    std::fs::create_dir_all(&folder)?;
    Ok(folder.canonicalize()?)
}

fn main() -> ExitCode {
    match run(Cli::parse().what) {
        Ok(value) => {
            println!("{value:#}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("puente-bench: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(what: What) -> Result<serde_json::Value, Failure> {
    // rustls asks for one provider for the whole process where a library does not name its own.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let listening = |address: SocketAddr| println!("{address}");
    match what {
        What::Log { entries, exchanges, puente, common } => {
            let folder = fresh(&common.folder)?;
            let passes = common.passes;
            let measured = log::measure(&log::Plan { entries, passes, folder: folder.clone(), puente, exchanges });
            std::fs::remove_dir_all(&folder)?;
            return measured;
        }
        What::Exchange { puente, cell_ms, in_flight, common } => {
            let folder = fresh(&common.folder)?;
            let cell = std::time::Duration::from_millis(cell_ms);
            let plan = exchange::Plan { puente, passes: common.passes, cell, in_flight, folder: folder.clone() };
            let measured = exchange::measure(&plan);
            // What a node said stays for whoever looks into a failure.
            if measured.is_ok() {
                std::fs::remove_dir_all(&folder)?;
            }
            return measured;
        }
        What::Binding { puente, cell_ms, in_flight, common } => {
            let folder = fresh(&common.folder)?;
            let cell = std::time::Duration::from_millis(cell_ms);
            let plan = exchange::Plan { puente, passes: common.passes, cell, in_flight, folder: folder.clone() };
            let measured = binding::measure(&plan);
            if measured.is_ok() {
                std::fs::remove_dir_all(&folder)?;
            }
            return measured;
        }
        What::Steady { kind, puente, cell_ms, in_flight, common } => {
            let folder = fresh(&common.folder)?;
            let cell = std::time::Duration::from_millis(cell_ms);
            let plan = exchange::Plan { puente, passes: 1, cell, in_flight, folder: folder.clone() };
            let measured = exchange::steady(&plan, kind, |words| eprintln!("{words}"));
            if measured.is_ok() {
                std::fs::remove_dir_all(&folder)?;
            }
            return measured;
        }
        What::Engine { puente, exchanges, common } => {
            let folder = fresh(&common.folder)?;
            let measured = exchange::engine_alone(puente.as_deref(), &folder, exchanges);
            if measured.is_ok() {
                std::fs::remove_dir_all(&folder)?;
            }
            return measured;
        }
        What::Lookup { records, cell_ms, in_flight, postgres, no_sqlite, common } => {
            let folder = fresh(&common.folder)?;
            let cell = std::time::Duration::from_millis(cell_ms);
            let passes = common.passes;
            let plan = lookup::Plan { records, passes, cell, in_flight, postgres, no_sqlite, folder: folder.clone() };
            let measured = lookup::measure(&plan);
            std::fs::remove_dir_all(&folder)?;
            return measured;
        }
        What::Attack { only, puente, peers, questions, folder } => {
            let folder = fresh(&folder)?;
            let plan = attack::Plan { puente, peers, questions, folder: folder.clone(), only };
            let measured = attack::measure(&plan, |words| eprintln!("{words}"));
            if measured.is_ok() {
                std::fs::remove_dir_all(&folder)?;
            }
            return measured;
        }
        What::Group { members, committers, common } => {
            let folder = fresh(&common.folder)?;
            let plan = group::Plan { members, committers, passes: common.passes, folder: folder.clone() };
            let measured = group::measure(&plan, |words| eprintln!("{words}"));
            std::fs::remove_dir_all(&folder)?;
            return measured;
        }
        What::Corridor { puente, members, common } => {
            let folder = fresh(&common.folder)?;
            let plan = corridor::Plan { puente, members, passes: common.passes, folder: folder.clone() };
            let measured = corridor::measure(&plan, |words| eprintln!("{words}"));
            if measured.is_ok() {
                std::fs::remove_dir_all(&folder)?;
            }
            return measured;
        }
        What::Import { rows, common } => {
            let folder = fresh(&common.folder)?;
            let own = std::env::current_exe()?;
            let measured = import::measure(&import::Plan { own, rows, passes: common.passes, folder: folder.clone() });
            std::fs::remove_dir_all(&folder)?;
            return measured;
        }
        What::ImportOnce { file, folder } => return import::once(&file, &folder),
        What::Small { puente, records, per_second, seconds, folder } => {
            let folder = fresh(&folder)?;
            let duration = std::time::Duration::from_secs(seconds);
            let plan = small::Plan { puente, records, per_second, duration, folder: folder.clone() };
            let measured = small::measure(&plan);
            if measured.is_ok() {
                std::fs::remove_dir_all(&folder)?;
            }
            return measured;
        }
        What::LogAppend { entries, batch, folder } => return log::append(&folder, entries, batch),
        What::LogMemory { entries, folder: _ } => return log::memory(entries),
        What::LogRestart { folder } => return log::restart(&folder),
        What::EchoServer { folder } => {
            process::end_with_parent();
            tokio::runtime::Runtime::new()?.block_on(echo::serve(&folder, listening))?;
        }
        What::UnaryServer { folder } => {
            process::end_with_parent();
            tokio::runtime::Runtime::new()?.block_on(unary::serve(&folder, listening))?;
        }
    }
    Ok(serde_json::Value::Null)
}
