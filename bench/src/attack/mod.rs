//! What hostile peers cost one real node, while an honest partner goes on asking it.
//!
//! The attackers are members of the federation with certificates of their own, as far as an attack needs one; they
//! share this machine's cores with the node, which a real attacker would not.

pub mod closed;
pub mod drip;
pub mod flood;
pub mod forge;
pub mod gaps;
pub mod honest;
pub mod members;

use std::net::{SocketAddr, UdpSocket};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Map, Value, json};

use crate::Failure;
use crate::goal::{at_least, at_most};
use crate::machine;
use crate::stats::round;
use crate::world::{Founding, Puente, World};
use honest::Window;
use members::Member;

/// Parts of the measurement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// First packets of handshakes from unproven addresses.
    Flood,
    /// Peers that send a byte now and then.
    Drip,
    /// Peers whose streams have gaps.
    Gaps,
    /// A node that cannot write its log.
    Closed,
}

impl std::str::FromStr for Part {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "flood" => Ok(Self::Flood),
            "drip" => Ok(Self::Drip),
            "gaps" => Ok(Self::Gaps),
            "closed" => Ok(Self::Closed),
            _ => Err("use some of: flood, drip, gaps, closed".to_owned()),
        }
    }
}

/// What is measured.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The program; the one beside this one unless given.
    pub puente: Option<PathBuf>,
    /// Hostile members.
    pub peers: usize,
    /// Questions to a node that cannot record them.
    pub questions: u64,
    /// Folder for everything; on the disk that is to be measured.
    pub folder: PathBuf,
    /// All parts if none.
    pub only: Vec<Part>,
}

/// Honest questions in a second, evenly.
const QUESTIONS_PER_SECOND: u32 = 200;
/// Honest connections in a second, evenly.
const CONNECTIONS_PER_SECOND: u32 = 20;
/// Honest members that connect: each may have four connections.
const DIALLERS: usize = 40;
/// How long the honest are watched alone.
const QUIET: Duration = Duration::from_secs(8);
/// First packets of handshakes in a second.
const INITIALS_PER_SECOND: usize = 5_000;
/// How long they come.
const FLOOD: Duration = Duration::from_secs(8);
/// Peers that drip.
const DRIPPERS: usize = 500;
/// How long they try.
const DRIP: Duration = Duration::from_secs(32);
/// Packets with gaps in a second.
const GAPPED_PER_SECOND: u32 = 10_000;
/// How long gaps are sent and kept.
const GAPS: Duration = Duration::from_secs(45);

/// Runs all of it; `say` is told what comes next.
///
/// # Errors
/// A process does not start, or a socket is unusable.
pub fn measure(plan: &Plan, mut say: impl FnMut(&str)) -> Result<Value, Failure> {
    let machine = machine::describe();
    let wants = |part| plan.only.is_empty() || plan.only.contains(&part);
    let puente = Puente::find(plan.puente.as_deref())?;
    let (mut out, mut goals) = (Map::new(), Vec::new());
    if wants(Part::Flood) || wants(Part::Drip) || wants(Part::Gaps) {
        say("founding the federation");
        let count = DIALLERS + DRIPPERS.max(plan.peers);
        let field = Field::found(puente.clone(), plan, count)?;
        if wants(Part::Flood) {
            say("a flood of handshakes");
            out.insert("flood".to_owned(), field.flood(&mut goals)?);
        }
        if wants(Part::Drip) {
            say("peers that drip");
            out.insert("drip".to_owned(), field.drip(&mut goals)?);
        }
        if wants(Part::Gaps) {
            say("streams with gaps");
            out.insert("gaps".to_owned(), field.gaps(plan.peers, &mut goals)?);
        }
        out.insert(
            "holder_faults".to_owned(),
            field.world.holder.command(&json!({"cmd": "status"}))?["status"]["faults"].clone(),
        );
    }
    if wants(Part::Closed) {
        out.insert("closed".to_owned(), closed::measure(&puente, plan, &mut goals, say)?);
    }
    Ok(json!({"bench": "attack", "machine": machine, "results": out, "goals": goals}))
}

/// The nodes, and everybody who attacks one of them.
struct Field {
    world: World,
    node: SocketAddr,
    honest: Vec<Member>,
    hostile: Vec<Member>,
}

impl Field {
    fn found(puente: Puente, plan: &Plan, count: usize) -> Result<Self, Failure> {
        let members = members::stanzas(count)?;
        let world = World::found(puente, &plan.folder, &Founding { members: &members, ..Founding::default() })?;
        world.import()?;
        let mut honest = Member::all(&plan.folder, count)?;
        let hostile = honest.split_off(DIALLERS);
        let node = SocketAddr::from(([127, 0, 0, 1], world.holder_port));
        Ok(Self { world, node, honest, hostile })
    }

    fn ask(&self) -> Result<honest::Going, Failure> {
        Ok(honest::ask(self.world.asker.control()?, QUESTIONS_PER_SECOND))
    }

    fn flood(&self, goals: &mut Vec<Value>) -> Result<Value, Failure> {
        let count = INITIALS_PER_SECOND * usize::try_from(FLOOD.as_secs())?;
        let packets = flood::build(&self.hostile[0], self.node, count)?;
        let asking = self.ask()?;
        let dialling = honest::dial(self.node, self.honest.clone(), CONNECTIONS_PER_SECOND);
        let quiet = Instant::now();
        std::thread::sleep(QUIET);
        let from = Instant::now();
        flood::send(&packets, self.node, FLOOD)?;
        let to = Instant::now();
        let (asked, dialled) = (asking.end()?, dialling.end()?);
        let (questions, connections) = (Window::of(&asked, from, to), Window::of(&dialled, from, to));
        goals.push(at_least("handshake flood: honest new connections, %", 99.0, connections.percent()));
        goals.push(at_least("handshake flood: honest questions, %", 99.0, questions.percent()));
        Ok(json!({
            "initials_per_second": round(packets.len() as f64 / (to - from).as_secs_f64()),
            "questions_quiet": Window::of(&asked, quiet, from).json(), "questions": questions.json(),
            "connections_quiet": Window::of(&dialled, quiet, from).json(), "connections": connections.json(),
        }))
    }

    fn drip(&self, goals: &mut Vec<Value>) -> Result<Value, Failure> {
        let asking = self.ask()?;
        let quiet = Instant::now();
        std::thread::sleep(QUIET);
        let from = Instant::now();
        let shed = drip::run(self.node, &self.hostile[..DRIPPERS.min(self.hostile.len())], DRIP)?;
        let to = Instant::now();
        let asked = asking.end()?;
        let (before, during) = (Window::of(&asked, quiet, from), Window::of(&asked, from, to));
        let kept = shed.kept.iter().filter(|kept| kept.is_none()).count();
        let longest = shed.kept.iter().flatten().max().copied().unwrap_or_default();
        let slower = during.sample.p99 / before.sample.p99;
        goals.push(at_most("slowloris: longest life of a peer, s", 15.0, longest.as_secs_f64()));
        goals.push(at_most("slowloris: peers never shed", 0.0, kept as f64));
        goals.push(at_most("slowloris: honest p99 ÷ quiet p99", 2.0, slower));
        goals.push(at_least("slowloris: honest questions, %", 99.0, during.percent()));
        Ok(json!({
            "peers": shed.kept.len(), "not_admitted": shed.refused, "never_shed": kept,
            "longest_seconds": round(longest.as_secs_f64()),
            "questions_quiet": before.json(), "questions": during.json(),
        }))
    }

    fn gaps(&self, peers: usize, goals: &mut Vec<Value>) -> Result<Value, Failure> {
        let asking = self.ask()?;
        let quiet = Instant::now();
        std::thread::sleep(QUIET);
        let memory = Memory::watch(self.world.holder.pid());
        let from = Instant::now();
        let socket = UdpSocket::bind("127.0.0.1:0")?;
        let members = &self.hostile[..peers.min(self.hostile.len())];
        let (mut crowd, refused) = forge::connect(&socket, self.node, members)?;
        let standing = memory.now();
        let sent = gaps::send(&socket, self.node, &mut crowd, GAPPED_PER_SECOND, GAPS)?;
        let to = Instant::now();
        let (idle, peak) = memory.end();
        let asked = asking.end()?;
        let (before, during) = (Window::of(&asked, quiet, from), Window::of(&asked, from, to));
        let mib = |kib: u64| kib as f64 / 1_024.0;
        goals.push(at_most("gapped streams: memory above idle, MiB", 256.0, mib(peak.saturating_sub(idle))));
        goals.push(at_least("gapped streams: honest questions, %", 99.0, during.percent()));
        let credit =
            |of: fn(&forge::Forged) -> u64| json!({"first": crowd.first().map(of), "last": crowd.last().map(of)});
        Ok(json!({
            "admitted": crowd.len(), "refused": refused, "packets": sent.packets, "credit_spent": sent.spent,
            "streams": credit(|f| f.credit.streams), "bytes": credit(|f| f.credit.bytes),
            "idle_mib": round(mib(idle)), "connected_mib": round(mib(standing)), "peak_mib": round(mib(peak)),
            "questions_quiet": before.json(), "questions": during.json(),
        }))
    }
}

/// Watches a process's resident memory.
struct Memory {
    pid: u32,
    idle: u64,
    peak: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
    thread: std::thread::JoinHandle<()>,
}

impl Memory {
    fn watch(pid: u32) -> Self {
        let idle = machine::memory_kib(pid).1;
        let (peak, stop) = (Arc::new(AtomicU64::new(idle)), Arc::new(AtomicBool::new(false)));
        let (seen, stopping) = (peak.clone(), stop.clone());
        let thread = std::thread::spawn(move || {
            while !stopping.load(Ordering::Relaxed) {
                seen.fetch_max(machine::memory_kib(pid).1, Ordering::Relaxed);
                std::thread::sleep(Duration::from_millis(100));
            }
        });
        Self { pid, idle, peak, stop, thread }
    }

    fn now(&self) -> u64 {
        machine::memory_kib(self.pid).1
    }

    /// Idle and peak, in KiB.
    fn end(self) -> (u64, u64) {
        self.stop.store(true, Ordering::Relaxed);
        // It only reads; if it broke off, the peak is what it saw until then.
        let _ = self.thread.join();
        (self.idle, self.peak.load(Ordering::Relaxed))
    }
}
