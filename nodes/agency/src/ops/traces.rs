//! Traces of exchanges for an OpenTelemetry collector on this machine: OTLP/HTTP in JSON, from a thread of its own.
//!
//! ```text
//! Steps ─▶ Sink ─▶ queue of QUEUED_MAX exchanges ─▶ thread ─▶ POST, at most BATCH_MAX exchanges at once
//! ```
//!
//! Promise: an exchange never waits for it, and nothing is kept: what does not fit or does not arrive is counted and gone. A trace
//! holds role, kind, outcome and times, under ids drawn at random: no name, no number of an exchange, no content; asker's and
//! holder's traces of one exchange have nothing in common. Thief: who reads the collector learns when this node exchanged
//! what kind of question, and how long it took.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError, SyncSender, TrySendError};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rand_chacha::ChaCha20Rng;
use rand_core::{RngCore as _, SeedableRng as _};
use serde_json::{Value, json};
use ureq::Agent;

use super::steps::{Followed, Sink, Step};
use crate::files;

/// Exchanges that wait to be sent.
const QUEUED_MAX: usize = 1_024;
/// Exchanges in one request.
const BATCH_MAX: usize = 128;
/// How long a batch is collected.
const COLLECT: Duration = Duration::from_secs(1);
/// How long the collector may take over one request.
const PATIENCE: Duration = Duration::from_secs(5);

/// Outcomes that are errors to a collector.
const ERRORS: [&str; 5] = ["FAULTED", "TIMED_OUT", "LOG_UNAVAILABLE", "UNRELEASED", "DISPUTED"];

/// OTLP's span kinds.
const INTERNAL: u8 = 1;
const SERVER: u8 = 2;
const CLIENT: u8 = 3;

/// How many exchanges were traced.
#[derive(Debug, Default)]
pub struct Counted {
    sent: AtomicU64,
    dropped: AtomicU64,
}

impl Counted {
    /// Exchanges that a collector took, and those that are lost: too many at once, or no collector.
    pub fn sent_and_dropped(&self) -> (u64, u64) {
        (self.sent.load(Ordering::Relaxed), self.dropped.load(Ordering::Relaxed))
    }
}

enum Message {
    Exchange(Followed),
    /// Send what waits, then say so.
    Flush(SyncSender<()>),
}

/// The exporter: one thread, which ends with the last sender.
#[derive(Debug, Clone)]
pub struct Traces {
    queue: SyncSender<Message>,
    counted: Arc<Counted>,
}

impl Traces {
    /// Begins to send traces to `url`.
    ///
    /// # Errors
    /// The operating system gives no thread or randomness.
    pub fn start(url: String) -> std::io::Result<Self> {
        let (queue, waiting) = mpsc::sync_channel(QUEUED_MAX);
        let counted = Arc::new(Counted::default());
        let ids = Ids(ChaCha20Rng::from_seed(*files::fresh_secret()?.expose()));
        let exporter = Exporter { agent: agent(), url, ids, counted: counted.clone(), down: false };
        thread::Builder::new().name("traces".to_owned()).spawn(move || exporter.run(&waiting))?;
        Ok(Self { queue, counted })
    }

    /// Takes every `one_in`-th exchange that ends; never blocks.
    pub fn sink(&self, one_in: u32) -> Sink {
        let (queue, counted, seen) = (self.queue.clone(), self.counted.clone(), AtomicU64::new(0));
        Box::new(move |followed| {
            if !seen.fetch_add(1, Ordering::Relaxed).is_multiple_of(u64::from(one_in.max(1))) {
                return;
            }
            if let Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) =
                queue.try_send(Message::Exchange(followed))
            {
                counted.dropped.fetch_add(1, Ordering::Relaxed);
            }
        })
    }

    /// What became of them.
    pub fn counted(&self) -> &Counted {
        &self.counted
    }

    /// Sends what waits, unless that takes longer than `patience`.
    pub fn flush(&self, patience: Duration) {
        let (tell, told) = mpsc::sync_channel(1);
        // What did not get through in time is lost, as it may be.
        if self.queue.try_send(Message::Flush(tell)).is_ok() {
            let _ = told.recv_timeout(patience);
        }
    }
}

fn agent() -> Agent {
    let config = Agent::config_builder()
        .http_status_as_error(false)
        .max_redirects(0)
        .max_redirects_will_error(false)
        .proxy(None)
        .user_agent(concat!("puente/", env!("CARGO_PKG_VERSION")))
        .timeout_global(Some(PATIENCE))
        .build();
    Agent::new_with_config(config)
}

struct Ids(ChaCha20Rng);

impl Ids {
    /// So many random bytes in hexadecimal; OTLP forbids all zeros.
    fn draw<const N: usize>(&mut self) -> String {
        let mut bytes = [0; N];
        while bytes == [0; N] {
            self.0.fill_bytes(&mut bytes);
        }
        hex::encode(bytes)
    }
}

struct Exporter {
    agent: Agent,
    url: String,
    ids: Ids,
    counted: Arc<Counted>,
    /// The last request failed, and the log says so.
    down: bool,
}

impl Exporter {
    fn run(mut self, waiting: &mpsc::Receiver<Message>) {
        let (mut batch, mut flushed) = (Vec::new(), Vec::new());
        while let Ok(first) = waiting.recv() {
            let until = Instant::now() + COLLECT;
            let mut next = Ok(first);
            loop {
                match next {
                    Ok(Message::Exchange(followed)) => batch.push(followed),
                    Ok(Message::Flush(tell)) => flushed.push(tell),
                    Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => break,
                }
                if batch.len() >= BATCH_MAX || !flushed.is_empty() {
                    break;
                }
                next = waiting.recv_timeout(until.saturating_duration_since(Instant::now()));
            }
            if !batch.is_empty() {
                self.send(&batch);
                batch.clear();
            }
            for tell in flushed.drain(..) {
                // Whoever gave up waiting does not hear it.
                let _ = tell.try_send(());
            }
        }
    }

    fn send(&mut self, batch: &[Followed]) {
        let body = request(batch, &mut self.ids, Instant::now(), SystemTime::now()).to_string();
        let sent = self.agent.post(&self.url).header("content-type", "application/json").send(&body);
        let (count, why) = (
            batch.len() as u64,
            match sent {
                Ok(response) if response.status().is_success() => None,
                Ok(response) => Some(format!("it answers {}", response.status().as_u16())),
                Err(error) => Some(error.to_string()),
            },
        );
        match why {
            None => {
                self.counted.sent.fetch_add(count, Ordering::Relaxed);
                if std::mem::take(&mut self.down) {
                    tracing::info!("the trace collector takes traces again");
                }
            }
            Some(why) => {
                self.counted.dropped.fetch_add(count, Ordering::Relaxed);
                if !std::mem::replace(&mut self.down, true) {
                    tracing::warn!("traces are lost, exchanges go on: the collector does not take them: {why}");
                }
            }
        }
    }
}

/// An ExportTraceServiceRequest, in OTLP's JSON; `now` and `clock` are the same moment.
fn request(batch: &[Followed], ids: &mut Ids, now: Instant, clock: SystemTime) -> Value {
    let nanos = |at: Instant| {
        let then = clock.checked_sub(now.saturating_duration_since(at)).unwrap_or(clock);
        then.duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos().to_string()
    };
    let mut spans = Vec::new();
    for followed in batch {
        let (trace, root) = (ids.draw::<16>(), ids.draw::<8>());
        let began = followed.steps.iter().map(|step| step.began).min().unwrap_or(now);
        let ended = followed.steps.iter().map(|step| step.ended).max().unwrap_or(now);
        let error = ERRORS.iter().any(|word| followed.outcome.starts_with(word));
        spans.push(json!({
            "traceId": trace,
            "spanId": root,
            "name": "exchange",
            "kind": if followed.role == "asker" { CLIENT } else { SERVER },
            "startTimeUnixNano": nanos(began),
            "endTimeUnixNano": nanos(ended),
            "attributes": [
                attribute("puente.role", followed.role),
                attribute("puente.kind", followed.kind.as_str()),
                attribute("puente.outcome", &followed.outcome),
            ],
            "status": if error { json!({"code": 2}) } else { json!({}) },
        }));
        spans.extend(followed.steps.iter().map(|Step { name, began, ended }| {
            json!({
                "traceId": trace,
                "spanId": ids.draw::<8>(),
                "parentSpanId": root,
                "name": name,
                "kind": INTERNAL,
                "startTimeUnixNano": nanos(*began),
                "endTimeUnixNano": nanos(*ended),
                "status": {},
            })
        }));
    }
    json!({"resourceSpans": [{
        "resource": {"attributes": [attribute("service.name", "puente"), attribute("service.version", env!("CARGO_PKG_VERSION"))]},
        "scopeSpans": [{"scope": {"name": "puente"}, "spans": spans}],
    }]})
}

fn attribute(key: &str, value: &str) -> Value {
    json!({"key": key, "value": {"stringValue": value}})
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::io::{Read as _, Write as _};
    use std::net::TcpListener;

    use super::*;

    fn followed(outcome: &str) -> Followed {
        let began = Instant::now();
        let step = |name, from, to| Step {
            name,
            began: began + Duration::from_millis(from),
            ended: began + Duration::from_millis(to),
        };
        Followed {
            role: "asker",
            kind: "vehicle.status".parse().unwrap(),
            outcome: outcome.to_owned(),
            steps: vec![step("record-question", 0, 3), step("await-answer", 3, 10)],
        }
    }

    #[test]
    fn requests_are_valid_otlp() {
        let mut ids = Ids(ChaCha20Rng::from_seed([7; 32]));
        let now = Instant::now() + Duration::from_secs(1);
        let clock = UNIX_EPOCH + Duration::from_secs(1_800_000_000);
        let request = request(&[followed("NO_HIT"), followed("TIMED_OUT")], &mut ids, now, clock);
        let spans = request["resourceSpans"][0]["scopeSpans"][0]["spans"].as_array().unwrap();
        assert_eq!(spans.len(), 6);
        let (mut span_ids, mut traces) = (HashSet::new(), HashSet::new());
        for span in spans {
            let id = |key: &str| hex::decode(span[key].as_str().unwrap()).unwrap();
            assert_eq!((id("traceId").len(), id("spanId").len()), (16, 8));
            assert!(span_ids.insert(id("spanId")));
            traces.insert(id("traceId"));
            let time = |key: &str| span[key].as_str().unwrap().parse::<u64>().unwrap();
            let (from, to) = (time("startTimeUnixNano"), time("endTimeUnixNano"));
            assert!(from <= to && to < 1_800_000_000 * 1_000_000_000 && from > 1_799_999_990 * 1_000_000_000, "{span}");
            if span["name"] == "exchange" {
                assert_eq!((&span["kind"], span.get("parentSpanId")), (&json!(3), None));
                assert_eq!(to - from, 10_000_000);
            } else {
                assert_eq!(span["kind"], 1);
                assert!(span_ids.contains(&id("parentSpanId")), "its parent stands before it");
            }
        }
        assert_eq!(traces.len(), 2);
        assert_eq!((&spans[0]["status"], &spans[3]["status"]["code"]), (&json!({}), &json!(2)));
    }

    /// Answers `count` requests with `status`, and gives back their bodies.
    fn collector(listener: TcpListener, status: &'static str, count: usize) -> thread::JoinHandle<Vec<Value>> {
        thread::spawn(move || {
            let mut bodies = Vec::new();
            for _ in 0..count {
                let (mut stream, _) = listener.accept().unwrap();
                let (mut read, mut chunk) = (Vec::new(), [0; 4_096]);
                let body = loop {
                    let got = stream.read(&mut chunk).unwrap();
                    read.extend_from_slice(&chunk[..got]);
                    let Some(head) = read.windows(4).position(|w| w == b"\r\n\r\n") else { continue };
                    let header = String::from_utf8(read[..head].to_vec()).unwrap().to_lowercase();
                    assert!(
                        header.starts_with("post /v1/traces ") && header.contains("content-type: application/json")
                    );
                    let length = header.split("content-length: ").nth(1).unwrap().lines().next().unwrap();
                    if read.len() >= head + 4 + length.trim().parse::<usize>().unwrap() {
                        break read[head + 4..].to_vec();
                    }
                };
                bodies.push(serde_json::from_slice(&body).unwrap());
                let answer = format!("HTTP/1.1 {status}\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{{}}");
                stream.write_all(answer.as_bytes()).unwrap();
            }
            bodies
        })
    }

    #[test]
    fn a_collector_gets_what_is_sampled_and_one_that_is_down_costs_nothing_but_counts() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/v1/traces", listener.local_addr().unwrap());
        let busy = collector(listener.try_clone().unwrap(), "503 Service Unavailable", 1);
        let traces = Traces::start(url).unwrap();
        let sink = traces.sink(3);
        (0..3).for_each(|_| sink(followed("NO_HIT")));
        traces.flush(Duration::from_secs(10));
        busy.join().unwrap();
        assert_eq!(traces.counted().sent_and_dropped(), (0, 1));

        let well = collector(listener, "200 OK", 1);
        (0..30).for_each(|_| sink(followed("HIT_UNCONFIRMED")));
        traces.flush(Duration::from_secs(10));
        let bodies = well.join().unwrap();
        assert_eq!(bodies[0]["resourceSpans"][0]["scopeSpans"][0]["spans"].as_array().unwrap().len(), 10 * 3);
        assert_eq!(traces.counted().sent_and_dropped(), (10, 1));

        // Nobody listens any more: nothing blocks, everything is counted.
        let many = traces.sink(1);
        let sent = 3 * QUEUED_MAX as u64;
        (0..sent).for_each(|_| many(followed("NO_HIT")));
        while traces.counted().sent_and_dropped().1 < sent + 1 {
            traces.flush(Duration::from_secs(10));
        }
        assert_eq!(traces.counted().sent_and_dropped(), (10, sent + 1));
    }

    #[test]
    fn a_collector_that_hangs_stops_nobody() {
        // It accepts, by its backlog, and answers nothing.
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let traces = Traces::start(format!("http://{}/v1/traces", listener.local_addr().unwrap())).unwrap();
        let sink = traces.sink(1);
        let sent = 2 * (QUEUED_MAX + BATCH_MAX);
        (0..sent).for_each(|_| sink(followed("NO_HIT")));
        let (taken, lost) = traces.counted().sent_and_dropped();
        assert!(taken == 0 && lost >= (sent - QUEUED_MAX - 2 * BATCH_MAX) as u64, "{taken} {lost}");
    }
}
