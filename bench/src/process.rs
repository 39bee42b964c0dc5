//! Other processes of a measurement: each side runs in one of its own.

use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use crate::Failure;

/// A process that ends with this value.
#[derive(Debug)]
pub struct Served {
    child: Child,
    /// Where it listens.
    pub address: SocketAddr,
}

impl Served {
    /// Runs this program again with other arguments; it says where it listens in its first line and ends when its
    /// standard input does.
    ///
    /// # Errors
    /// It does not start, or says something else.
    pub fn start(arguments: &[&str], folder: &Path) -> Result<Self, Failure> {
        let program = std::env::current_exe()?;
        let mut child =
            Command::new(program).args(arguments).arg(folder).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let out = child.stdout.take().ok_or("no standard output")?;
        let mut line = String::new();
        BufReader::new(out).read_line(&mut line)?;
        match line.trim().parse() {
            Ok(address) => Ok(Self { child, address }),
            Err(_) => {
                let status = child.wait()?;
                Err(format!("{arguments:?} did not start ({status}): it said {line:?}").into())
            }
        }
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        // It has no state to lose. Failing means that it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Waits in a thread until whoever started this process is gone.
pub fn end_with_parent() {
    std::thread::spawn(|| {
        let mut line = String::new();
        // Nothing is ever sent: this returns when the other end closes.
        let _ = std::io::stdin().read_line(&mut line);
        std::process::exit(0);
    });
}
