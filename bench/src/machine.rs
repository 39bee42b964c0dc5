//! What the figures were measured on.

use std::fs;
use std::time::Instant;

use serde_json::{Value, json};

/// Size of this machine, as far as it tells.
pub fn describe() -> Value {
    let cpu = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let line = |name: &str| {
        cpu.lines().find(|l| l.starts_with(name)).and_then(|l| l.split_once(':')).map(|(_, v)| v.trim().to_owned())
    };
    let flags = line("flags").unwrap_or_default();
    let has: Vec<&str> = ["sha_ni", "avx2", "avx512f", "vaes", "adx"]
        .into_iter()
        .filter(|f| flags.split(' ').any(|g| g == *f))
        .collect();
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    json!({
        "cores": std::thread::available_parallelism().map_or(0, usize::from),
        "cpu": line("model name"),
        "cpu_flags": has,
        "memory_mib": field("/proc/meminfo", "MemTotal:") / 1024,
        "kernel": fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default().trim(),
        "load_1min_at_start": load.split(' ').next().and_then(|l| l.parse::<f64>().ok()),
        "optimised": !cfg!(debug_assertions),
    })
}

/// Resident memory of a process at its highest so far and now, in KiB; zeros where the system does not tell.
pub fn memory_kib(pid: u32) -> (u64, u64) {
    let path = format!("/proc/{pid}/status");
    (field(&path, "VmHWM:"), field(&path, "VmRSS:"))
}

fn field(path: &str, name: &str) -> u64 {
    let text = fs::read_to_string(path).unwrap_or_default();
    let line = text.lines().find_map(|l| l.strip_prefix(name)).unwrap_or_default();
    line.split_whitespace().next().and_then(|n| n.parse().ok()).unwrap_or(0)
}

/// Processor time of the calling thread from here on: what work costs a core, whoever else wants that core meanwhile.
#[derive(Debug)]
pub struct ThreadWatch {
    began: Instant,
    used: Option<u64>,
}

impl ThreadWatch {
    /// Starts now.
    pub fn start() -> Self {
        Self { used: thread_nanoseconds(), began: Instant::now() }
    }

    /// Seconds used since the start; seconds passed where the system does not tell.
    pub fn seconds(&self) -> f64 {
        match (self.used, thread_nanoseconds()) {
            (Some(before), Some(now)) if now > before => (now - before) as f64 / 1e9,
            _ => self.began.elapsed().as_secs_f64(),
        }
    }
}

fn thread_nanoseconds() -> Option<u64> {
    fs::read_to_string("/proc/thread-self/schedstat").ok()?.split(' ').next()?.parse().ok()
}

/// Processor time that a process has used so far, in seconds: its own and the system's for it.
pub fn cpu_seconds(pid: u32) -> f64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // The name in parentheses may hold spaces.
    let rest = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
    let fields: Vec<&str> = rest.split_whitespace().collect();
    let ticks: u64 = [11, 12].iter().filter_map(|&i| fields.get(i)?.parse::<u64>().ok()).sum();
    // Linux counts in hundredths of a second for user space, whatever the kernel's own tick.
    ticks as f64 / 100.0
}
