//! The honest: a partner that asks all the time, and members that connect anew.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::SocketAddr;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::drip;
use super::members::Member;
use crate::Failure;
use crate::load::{Kind, write_question};
use crate::stats::{Sample, round};

/// One question, or one connection.
#[derive(Debug, Clone, Copy)]
pub struct Try {
    /// When it began.
    pub at: Instant,
    /// How long it took; none if it failed.
    pub took: Option<Duration>,
}

/// What came of those that began within a window of time.
#[derive(Debug, Clone)]
pub struct Window {
    /// How many.
    pub count: usize,
    /// How many succeeded.
    pub succeeded: usize,
    /// Latencies of those.
    pub sample: Sample,
}

impl Window {
    /// Of all tries, those that began between two instants.
    pub fn of(tries: &[Try], from: Instant, to: Instant) -> Self {
        let within: Vec<&Try> = tries.iter().filter(|t| (from..to).contains(&t.at)).collect();
        let took: Vec<Duration> = within.iter().filter_map(|t| t.took).collect();
        Self { count: within.len(), succeeded: took.len(), sample: Sample::new(took, to - from) }
    }

    /// Share that succeeded, in percent; nothing tried is nothing succeeded.
    pub fn percent(&self) -> f64 {
        if self.count == 0 { 0.0 } else { 100.0 * self.succeeded as f64 / self.count as f64 }
    }

    /// As it stands in results.
    pub fn json(&self) -> Value {
        let s = &self.sample;
        json!({"tried": self.count, "succeeded": self.succeeded, "p50_us": round(s.p50), "p99_us": round(s.p99)})
    }
}

/// Something honest that goes on until it is asked for its results.
#[derive(Debug)]
pub struct Going {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Result<Vec<Try>, Failure>>,
}

impl Going {
    /// Ends it.
    ///
    /// # Errors
    /// What went wrong with it.
    pub fn end(self) -> Result<Vec<Try>, Failure> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().map_err(|_| "an honest thread broke off")?
    }
}

/// Questions at an even rate, whether the ones before are answered or not.
pub fn ask(mut stream: UnixStream, per_second: u32) -> Going {
    let stop = Arc::new(AtomicBool::new(false));
    let stopping = stop.clone();
    let period = Duration::from_secs(1) / per_second.max(1);
    let thread = std::thread::spawn(move || {
        let (mut tries, mut open): (Vec<Try>, usize) = (Vec::new(), 0);
        let (mut buffer, mut chunk, mut out) = (Vec::new(), vec![0; 64 << 10], Vec::new());
        let mut next = Instant::now();
        let mut ended: Option<Instant> = None;
        loop {
            let now = Instant::now();
            if ended.is_none() && stopping.load(Ordering::Relaxed) {
                ended = Some(now);
            }
            match ended {
                // Whoever has had no answer after this long gets none that counts.
                Some(at) if open == 0 || now > at + Duration::from_secs(12) => return Ok(tries),
                None if now >= next => {
                    out.clear();
                    write_question(&mut out, Kind::NoHit, tries.len() as u64, 10_000)?;
                    stream.write_all(&out)?;
                    tries.push(Try { at: now, took: None });
                    open += 1;
                    next = (next + period).max(now);
                }
                _ => {}
            }
            let wait = next.saturating_duration_since(Instant::now()).clamp(Duration::from_micros(50), period);
            stream.set_read_timeout(Some(wait))?;
            match stream.read(&mut chunk) {
                Ok(0) => return Err("the node closed its control socket".into()),
                Ok(read) => buffer.extend_from_slice(&chunk[..read]),
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
                Err(error) => return Err(error.into()),
            }
            let now = Instant::now();
            while let Some(end) = buffer.iter().position(|b| *b == b'\n') {
                let line: Vec<u8> = buffer.drain(..=end).collect();
                let answer: Value = serde_json::from_slice(&line)?;
                open = open.saturating_sub(1);
                let id = answer["id"].as_u64().and_then(|id| usize::try_from(id).ok());
                let one = id.and_then(|id| tries.get_mut(id)).ok_or("an answer without question")?;
                if answer["outcome"] == "NO_HIT" {
                    one.took = Some(now - one.at);
                }
            }
        }
    });
    Going { stop, thread }
}

/// New connections at an even rate. One counts if its handshake ends well and the node keeps it.
pub fn dial(node: SocketAddr, members: Vec<Member>, per_second: u32) -> Going {
    let stop = Arc::new(AtomicBool::new(false));
    let stopping = stop.clone();
    let period = Duration::from_secs(1) / per_second.max(1);
    let thread = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(async {
            let endpoint = quinn::Endpoint::client("127.0.0.1:0".parse()?)?;
            let mut dialling = Vec::new();
            let mut ticks = tokio::time::interval(period);
            for member in members.iter().cycle() {
                if stopping.load(Ordering::Relaxed) {
                    break;
                }
                ticks.tick().await;
                let (endpoint, member) = (endpoint.clone(), member.clone());
                dialling.push(tokio::spawn(async move {
                    let at = Instant::now();
                    let Ok(conn) = drip::connect(&endpoint, node, &member).await else { return Try { at, took: None } };
                    let took = at.elapsed();
                    // A node that does not want it says so within a round trip.
                    let refused = tokio::time::timeout(Duration::from_millis(100), conn.closed()).await.is_ok();
                    conn.close(0u32.into(), b"");
                    Try { at, took: (!refused).then_some(took) }
                }));
            }
            let mut tries = Vec::new();
            for one in dialling {
                tries.push(one.await?);
            }
            Ok(tries)
        })
    });
    Going { stop, thread }
}
