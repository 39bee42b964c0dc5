//! Numbers for Prometheus: at most [`SERIES_MAX`] series, whatever the node lives through; no label names anybody.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use prometheus_client::encoding::{EncodeLabelSet, text};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Registry, Unit};

/// Series that one node shows at most.
pub const SERIES_MAX: usize = 60;
/// Pairs of role, kind and outcome that are told apart; the rest is counted as `other`.
const EXCHANGES_MAX: usize = 7;
/// Seconds of an exchange, from the question to its conclusion.
const EXCHANGE_BUCKETS: [f64; 5] = [0.01, 0.1, 0.5, 2.0, 10.0];
/// Seconds of a batch's write and sync.
const COMMIT_BUCKETS: [f64; 4] = [0.001, 0.01, 0.1, 1.0];

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Exchange {
    role: String,
    kind: String,
    outcome: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct What {
    what: &'static str,
}

type Float = Gauge<f64, AtomicU64>;

/// What is read at the moment of a scrape.
#[derive(Debug, Clone, Default)]
pub struct Snapshot {
    /// Every check is well.
    pub ready: bool,
    /// Entries of the log.
    pub log_entries: u64,
    /// Entries under the published head.
    pub published_entries: u64,
    /// When the head was published.
    pub head_published: Option<SystemTime>,
    /// Durable batches that the evidence store does not hold yet.
    pub batches_behind: u64,
    /// Inputs that wait for the engine.
    pub pending_inputs: u64,
    /// Connections that stand.
    pub connections: u64,
    /// Those of them over TCP, because UDP is blocked.
    pub connections_over_tcp: u64,
    /// Streams that are read.
    pub streams: u64,
    /// Peers with which a compared connection stands.
    pub peers_ready: u64,
    /// Peers that could not be reached.
    pub peers_unreachable: u64,
    /// How long the oldest entry of the log that the charter's quorum did not cosign waits.
    pub cosign_pending_seconds: u64,
    /// Partners whose logs lack cosignatures for longer than the charter bears.
    pub partners_held_back: u64,
    /// Exchanges under way: asked, held.
    pub under_way: (u64, u64),
    /// Room on the journal's disk.
    pub disk_free_bytes: Option<u64>,
    /// End of the node's certificate, Unix seconds.
    pub certificate_ends: Option<u64>,
    /// End of the charter with its grace, Unix seconds.
    pub charter_ends: u64,
    /// End of the first of the own nation's roots, Unix seconds.
    pub root_ends: Option<u64>,
    /// End of the first API key in force to end, Unix seconds.
    pub api_key_ends: Option<u64>,
    /// End of the first officer's grant that is to end, in seconds since 1970; none without one.
    pub officer_ends: Option<u64>,
    /// Notices of what ends that were given since the start.
    pub notices: u64,
    /// Lookups that failed since the start.
    pub failed_lookups: u64,
    /// Alarms since the start.
    pub alarms: u64,
    /// Traces that a collector took, and that are lost; none: no traces.
    pub traces: Option<(u64, u64)>,
    /// Wrongs of peers and strangers, by class.
    pub faults: std::collections::BTreeMap<&'static str, u64>,
}

/// The registry and what feeds it.
pub struct Meter {
    registry: Registry,
    exchanges: Family<Exchange, Counter>,
    known: Mutex<BTreeSet<(String, String, String)>>,
    training: Family<What, Counter>,
    exchange_seconds: Histogram,
    commit_seconds: Histogram,
    store_errors: Family<What, Counter>,
    refused: Family<What, Counter>,
    traces: Family<What, Counter>,
    expiry: Family<What, Float>,
    under_way: Family<What, Gauge>,
    gauges: Gauges,
}

#[derive(Default)]
struct Gauges {
    ready: Gauge,
    log_entries: Gauge,
    published_entries: Gauge,
    head_age: Float,
    batches_behind: Gauge,
    pending_inputs: Gauge,
    connections: Gauge,
    connections_over_tcp: Gauge,
    streams: Gauge,
    peers_ready: Gauge,
    peers_unreachable: Gauge,
    disk_free: Gauge,
    cosign_pending: Gauge,
    held_back: Gauge,
    alarms: Gauge,
    notices: Gauge,
    start: Gauge,
    resident: Gauge,
    open_files: Gauge,
}

impl std::fmt::Debug for Meter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Meter(..)")
    }
}

impl Default for Meter {
    fn default() -> Self {
        Self::new()
    }
}

/// Which sort of wrong a class of [`crate::net::Net::faults`] is.
fn sort_of(class: &str) -> &'static str {
    match class {
        "not-in-charter" | "suspended" | "unknown-nation" | "own-name" | "wrong-peer" => "charter",
        class
            if class.contains("certificate")
                || class.contains("name")
                || [
                    "unknown-issuer",
                    "other-nations-root",
                    "wrong-usage",
                    "unsupported-algorithm",
                    "bad-signature",
                ]
                .contains(&class)
                || class.contains("chain") =>
        {
            "certificate"
        }
        "retry"
        | "connections-full"
        | "handshakes-full"
        | "handshakes-full-for-prefix"
        | "too-many-connections"
        | "partial-frames-full" => "load",
        _ => "protocol",
    }
}

fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

impl Meter {
    /// All numbers at zero.
    pub fn new() -> Self {
        let mut registry = Registry::with_prefix("puente");
        let gauges = Gauges::default();
        let exchanges = Family::<Exchange, Counter>::default();
        let store_errors = Family::<What, Counter>::default();
        let training = Family::<What, Counter>::default();
        let (refused, under_way) = (Family::<What, Counter>::default(), Family::<What, Gauge>::default());
        let expiry = Family::<What, Float>::default();
        let exchange_seconds = Histogram::new(EXCHANGE_BUCKETS);
        let commit_seconds = Histogram::new(COMMIT_BUCKETS);
        registry.register(
            "exchanges",
            "Exchanges concluded, by role of this node, kind and outcome",
            exchanges.clone(),
        );
        registry.register(
            "training",
            "Exchanges of training concluded, by role; no other number counts them",
            training.clone(),
        );
        registry.register_with_unit(
            "exchange",
            "From an officer's question to its conclusion",
            Unit::Seconds,
            exchange_seconds.clone(),
        );
        registry.register_with_unit("commit", "Write and sync of a batch", Unit::Seconds, commit_seconds.clone());
        registry.register("store_errors", "Reads and writes that a store refused", store_errors.clone());
        let traces = Family::<What, Counter>::default();
        registry.register("traces", "Exchanges traced, sent to the collector or lost", traces.clone());
        registry.register("refused", "Handshakes and frames refused since the start, by sort", refused.clone());
        registry.register("expiry_days", "Days until it ends; negative once it has", expiry.clone());
        registry.register("under_way", "Exchanges under way with ready peers, by role", under_way.clone());
        for (name, help, gauge) in [
            ("ready", "1 if a signed question to this node itself would succeed", &gauges.ready),
            ("log_entries", "Entries of the log", &gauges.log_entries),
            ("log_published_entries", "Entries under the published head", &gauges.published_entries),
            ("batches_behind", "Durable batches that the evidence store does not hold yet", &gauges.batches_behind),
            ("pending_inputs", "Inputs that wait for the engine", &gauges.pending_inputs),
            ("connections", "Connections that stand", &gauges.connections),
            ("connections_over_tcp", "Connections over TCP, where UDP is blocked", &gauges.connections_over_tcp),
            ("streams", "Streams that are read", &gauges.streams),
            ("peers_ready", "Peers with which a compared connection stands", &gauges.peers_ready),
            ("peers_unreachable", "Peers that could not be reached", &gauges.peers_unreachable),
            ("disk_free_bytes", "Room on the journal's disk", &gauges.disk_free),
            (
                "cosign_pending_seconds",
                "How long the log's oldest entry without the quorum waits",
                &gauges.cosign_pending,
            ),
            ("partners_held_back", "Partners whose logs lack cosignatures past the charter's bound", &gauges.held_back),
            ("alarms", "Alarms since the start", &gauges.alarms),
            ("expiry_notices", "Notices since the start of what ends, each given once", &gauges.notices),
            ("start_time_seconds", "When the node started, Unix time", &gauges.start),
            ("resident_memory_bytes", "Resident memory of the process", &gauges.resident),
            ("open_files", "Descriptors that the process has open", &gauges.open_files),
        ] {
            registry.register(name, help, gauge.clone());
        }
        registry.register("head_age_seconds", "Time since a head was last published", gauges.head_age.clone());
        registry.register("build", "Version", Info::new([("version", env!("CARGO_PKG_VERSION"))]));
        let start = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        gauges.start.set(signed(start.as_secs()));
        for what in ["records", "log"] {
            // It shows from the first scrape on.
            drop(store_errors.get_or_create(&What { what }));
        }
        let known = Mutex::default();
        Self {
            registry,
            exchanges,
            training,
            known,
            exchange_seconds,
            commit_seconds,
            store_errors,
            refused,
            traces,
            expiry,
            under_way,
            gauges,
        }
    }

    /// An exchange came to its end. Kinds and outcomes are words of the catalogue and the protocol; what is beyond the
    /// first few combinations counts as `other`.
    pub fn exchange(&self, role: &'static str, kind: &str, outcome: &str) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (role.to_owned(), kind.to_owned(), outcome.to_owned());
        let told_apart = known.contains(&key) || (known.len() < EXCHANGES_MAX && known.insert(key));
        drop(known);
        let (role, kind, outcome) = if told_apart { (role, kind, outcome) } else { ("other", "other", "other") };
        let labels = Exchange { role: role.to_owned(), kind: kind.to_owned(), outcome: outcome.to_owned() };
        self.exchanges.get_or_create(&labels).inc();
    }

    /// An exchange of training came to its end.
    pub fn trained(&self, role: &'static str) {
        self.training.get_or_create(&What { what: role }).inc();
    }

    /// How long an exchange took the asker.
    pub fn took(&self, time: Duration) {
        self.exchange_seconds.observe(time.as_secs_f64());
    }

    /// How long a batch's write and sync took.
    pub fn committed(&self, time: Duration) {
        self.commit_seconds.observe(time.as_secs_f64());
    }

    /// The log or the evidence store refused.
    pub fn log_error(&self) {
        self.store_errors.get_or_create(&What { what: "log" }).inc();
    }

    /// The exposition, with what is true at this moment.
    pub fn show(&self, now: SystemTime, snapshot: &Snapshot) -> String {
        let (gauges, at) = (&self.gauges, now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64());
        gauges.ready.set(i64::from(snapshot.ready));
        gauges.log_entries.set(signed(snapshot.log_entries));
        gauges.published_entries.set(signed(snapshot.published_entries));
        let age = snapshot.head_published.and_then(|then| now.duration_since(then).ok());
        gauges.head_age.set(age.map_or(0.0, |age| age.as_secs_f64()));
        gauges.batches_behind.set(signed(snapshot.batches_behind));
        gauges.pending_inputs.set(signed(snapshot.pending_inputs));
        gauges.connections.set(signed(snapshot.connections));
        gauges.connections_over_tcp.set(signed(snapshot.connections_over_tcp));
        gauges.streams.set(signed(snapshot.streams));
        gauges.peers_ready.set(signed(snapshot.peers_ready));
        gauges.peers_unreachable.set(signed(snapshot.peers_unreachable));
        gauges.disk_free.set(snapshot.disk_free_bytes.map_or(-1, signed));
        gauges.cosign_pending.set(signed(snapshot.cosign_pending_seconds));
        gauges.held_back.set(signed(snapshot.partners_held_back));
        gauges.alarms.set(signed(snapshot.alarms));
        gauges.notices.set(signed(snapshot.notices));
        gauges.resident.set(super::probe::resident_bytes().map_or(-1, signed));
        gauges.open_files.set(super::probe::open_files().map_or(-1, signed));
        let failed = self.store_errors.get_or_create(&What { what: "records" });
        failed.inner().store(snapshot.failed_lookups, Ordering::Relaxed);
        drop(failed);
        self.under_way.get_or_create(&What { what: "asker" }).set(signed(snapshot.under_way.0));
        self.under_way.get_or_create(&What { what: "holder" }).set(signed(snapshot.under_way.1));
        let ends = [
            ("certificate", snapshot.certificate_ends),
            ("charter", Some(snapshot.charter_ends)),
            ("root", snapshot.root_ends),
            ("api-key", snapshot.api_key_ends),
            ("officer", snapshot.officer_ends),
        ];
        for (what, end) in ends {
            if let Some(end) = end {
                self.expiry.get_or_create(&What { what }).set((end as f64 - at) / 86_400.0);
            } else {
                // There is none any more.
                self.expiry.remove(&What { what });
            }
        }
        for sort in ["certificate", "charter", "load", "protocol"] {
            let of_sort = snapshot.faults.iter().filter(|(class, _)| sort_of(class) == sort);
            let count = of_sort.fold(0, |sum: u64, (_, count)| sum.saturating_add(*count));
            self.refused.get_or_create(&What { what: sort }).inner().store(count, Ordering::Relaxed);
        }
        if let Some((sent, lost)) = snapshot.traces {
            for (what, count) in [("sent", sent), ("lost", lost)] {
                self.traces.get_or_create(&What { what }).inner().store(count, Ordering::Relaxed);
            }
        }
        let mut out = String::new();
        // Writing to a string cannot fail.
        let _ = text::encode(&mut out, &self.registry);
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn series(text: &str) -> Vec<&str> {
        text.lines().filter(|line| !line.starts_with('#')).collect()
    }

    #[test]
    fn however_much_happens_there_are_at_most_sixty_series() {
        let meter = Meter::new();
        let idle = series(&meter.show(SystemTime::now(), &Snapshot::default())).len();
        for kind in 0..50 {
            for outcome in 0..20 {
                meter.exchange("asker", &format!("kind.{kind}"), &format!("OUTCOME_{outcome}"));
                meter.exchange("holder", &format!("kind.{kind}"), &format!("OUTCOME_{outcome}"));
            }
        }
        meter.trained("asker");
        meter.trained("holder");
        meter.took(Duration::from_millis(3));
        meter.committed(Duration::from_secs(60));
        meter.log_error();
        let classes = ["not-in-charter", "certificate-expired", "bad-chain", "retry", "peer-silent", "timed-out"];
        let full = Snapshot {
            certificate_ends: Some(1),
            root_ends: Some(1),
            api_key_ends: Some(1),
            officer_ends: Some(1),
            disk_free_bytes: Some(1),
            traces: Some((1, 1)),
            faults: classes.map(|class| (class, 2)).into(),
            ..Snapshot::default()
        };
        let text = meter.show(SystemTime::now(), &full);
        let lines = series(&text);
        assert!(lines.len() <= SERIES_MAX, "{} series\n{text}", lines.len());
        assert!(lines.len() > idle, "{text}");
        // Nothing is lost: what is not told apart is counted all the same.
        let counted: u64 = lines
            .iter()
            .filter(|line| line.starts_with("puente_exchanges_total"))
            .map(|line| line.rsplit(' ').next().unwrap().parse::<u64>().unwrap())
            .sum();
        assert_eq!(counted, 2_000);
        for expected in
            ["puente_refused_total{what=\"certificate\"} 4", "puente_refused_total{what=\"load\"} 2", "puente_ready 0"]
        {
            assert!(lines.contains(&expected), "{expected}\n{text}");
        }
        eprintln!("{} series idle, {} at most", idle, lines.len());
    }
}
