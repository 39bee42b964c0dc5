//! A small box on a large machine: one core and so much memory for some processes, by the kernel's control groups.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

use crate::Failure;

const ROOT: &str = "/sys/fs/cgroup";

/// Control groups that hold processes to one core and so much memory, page cache included. Removed when dropped.
#[derive(Debug)]
pub struct Cage {
    memory: PathBuf,
    cpuset: PathBuf,
    /// The second version of control groups: one hierarchy for everything.
    unified: bool,
}

impl Cage {
    /// A cage of `bytes` of memory, without swap, on the first core.
    ///
    /// # Errors
    /// This user may not make control groups: what the system said.
    pub fn new(bytes: u64) -> Result<Self, Failure> {
        let name = format!("puente-bench-{}", std::process::id());
        let root = Path::new(ROOT);
        let unified = root.join("cgroup.controllers").exists();
        let cage = if unified {
            let group = root.join(&name);
            Self { memory: group.clone(), cpuset: group, unified }
        } else {
            Self { memory: root.join("memory").join(&name), cpuset: root.join("cpuset").join(&name), unified }
        };
        cage.make(bytes)
            .map_err(|error| format!("no control group of {bytes} bytes and one core: {error}; run as root"))?;
        Ok(cage)
    }

    fn make(&self, bytes: u64) -> std::io::Result<()> {
        if self.unified {
            fs::write(Path::new(ROOT).join("cgroup.subtree_control"), "+memory +cpuset")?;
        }
        fs::create_dir_all(&self.memory)?;
        fs::create_dir_all(&self.cpuset)?;
        fs::write(self.cpuset.join("cpuset.cpus"), "0")?;
        if self.unified {
            fs::write(self.memory.join("memory.max"), bytes.to_string())?;
            // A kernel without swap has no such file.
            let _ = fs::write(self.memory.join("memory.swap.max"), "0");
        } else {
            fs::write(self.cpuset.join("cpuset.mems"), "0")?;
            fs::write(self.memory.join("memory.limit_in_bytes"), bytes.to_string())?;
        }
        Ok(())
    }

    /// A command that starts a program within the cage.
    pub fn command(&self, program: &Path) -> Command {
        let mut command = Command::new("sh");
        let join = r#"echo $$ > "$1" && echo $$ > "$2" && shift 2 && exec "$@""#;
        let procs = |group: &Path| group.join("cgroup.procs");
        command.args(["-c", join, "cage"]).arg(procs(&self.memory)).arg(procs(&self.cpuset)).arg(program);
        command
    }

    /// What the kernel counted: the highest memory use, page cache included, and processes killed for want of it.
    pub fn counted(&self) -> Value {
        let number = |file: &str, after: &str| {
            let text = fs::read_to_string(self.memory.join(file)).unwrap_or_default();
            let line = text.lines().find_map(|line| line.strip_prefix(after));
            line.and_then(|line| line.trim().parse::<u64>().ok())
        };
        let (peak, killed) = if self.unified {
            (number("memory.peak", ""), number("memory.events", "oom_kill "))
        } else {
            (number("memory.max_usage_in_bytes", ""), number("memory.oom_control", "oom_kill "))
        };
        json!({"peak_with_page_cache_mib": peak.map(|bytes| bytes >> 20), "killed_for_memory": killed})
    }
}

impl Drop for Cage {
    fn drop(&mut self) {
        // A group that still has a process stays; the kernel says so to nobody.
        let _ = fs::remove_dir(&self.memory);
        let _ = fs::remove_dir(&self.cpuset);
    }
}
