//! The driver with a small core in the engine's place.

use std::collections::VecDeque;
use std::sync::mpsc;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use puente_audit_log::{Ed25519Signer, KeyKind, Log, Signer};
use puente_exchange::api::{Batch, Conclusion, ConnectionId, Draft, Effect, Input, LocalEvent, StreamId, Ticket};
use puente_model::{EventKind, LeafIndex, Millis, NodeUri, Secret32};
use puente_wire::fault::FaultCode;

use super::{Core, Driver, DriverHandle, DriverOptions, Gone, Network};
use crate::disk::{Disk, Handle, NodeDisk, Site, site};
use crate::records::{NewRecord, SqliteStore};

const ORIGIN: &str = "mx.example/fiscalia/log1";

/// Records one entry per event, answers questions with a lookup, echoes frames, counts ticks.
struct Toy {
    log: Log,
    signer: Ed25519Signer,
    effects: VecDeque<Effect>,
    waiting: Vec<Ticket>,
    in_flight: Option<(puente_audit_log::Sealed, Vec<Ticket>)>,
    number: u64,
    deadline: Option<Millis>,
    seen: Arc<Mutex<Vec<String>>>,
    failed: bool,
}

impl Toy {
    fn note(&self, text: &str) {
        self.seen.lock().unwrap().push(text.to_owned());
    }

    fn conclude(&mut self, ticket: Ticket, conclusion: Conclusion) {
        self.effects.push_back(Effect::Conclude { ticket, conclusion: Box::new(conclusion) });
    }

    fn write(&mut self) {
        if self.in_flight.is_some() || self.waiting.is_empty() || self.failed {
            return;
        }
        let tickets: Vec<_> = self.waiting.drain(..).collect();
        let entries: Vec<_> = tickets.iter().map(|ticket| format!("event {}", ticket.0).into_bytes()).collect();
        let sealed = self.log.stage(&entries).unwrap().sign(&self.signer).unwrap();
        self.number += 1;
        self.effects.push_back(Effect::Write(Batch {
            number: self.number,
            first_index: LeafIndex(self.log.size().0),
            checkpoint: sealed.batch().head.note_bytes().to_vec(),
            puts: vec![(b"n".to_vec(), Some(self.number.to_be_bytes().to_vec()))],
            asides: Vec::new(),
            entries,
        }));
        self.in_flight = Some((sealed, tickets));
    }
}

struct Synced;

impl puente_audit_log::Journal for Synced {
    type Error = std::convert::Infallible;

    fn persist(&mut self, _: puente_audit_log::Batch<'_>) -> Result<(), Self::Error> {
        Ok(())
    }
}

impl Core for Toy {
    fn handle(&mut self, now: Millis, input: Input) {
        match input {
            Input::Event { ticket, .. } => self.waiting.push(ticket),
            Input::Durable { batch } => {
                assert_eq!(batch, self.number);
                let (sealed, tickets) = self.in_flight.take().unwrap();
                let committed = self.log.commit(sealed.persist(&mut Synced).unwrap()).unwrap();
                for (at, ticket) in tickets.into_iter().enumerate() {
                    self.conclude(ticket, Conclusion::Recorded { index: LeafIndex(committed.first.0 + at as u64) });
                }
            }
            Input::WriteFailed { .. } => {
                self.failed = true;
                for ticket in self.in_flight.take().map(|(_, tickets)| tickets).unwrap_or_default() {
                    self.conclude(ticket, Conclusion::LogUnavailable);
                }
            }
            Input::Question { ticket, draft } => match draft.case_ref.as_str() {
                "wait" => self.note("question"),
                vin => self.effects.push_back(Effect::Lookup {
                    lookup: ticket.0,
                    record_type: "vehicle".to_owned(),
                    keys: vec![("vin".to_owned(), vin.to_owned())],
                    limit: 5,
                    mode: puente_model::Mode::Open,
                }),
            },
            Input::Found { lookup, records } => {
                let found = records.unwrap().len();
                self.conclude(Ticket(lookup), Conclusion::PeriodsClosed { closed: found, unreachable: Vec::new() });
            }
            Input::Cancel { .. } => self.note("cancel"),
            Input::Frame { connection, stream, bytes } => {
                self.effects.push_back(Effect::Send { connection, stream, bytes, finish: true });
            }
            Input::StreamReset { connection, stream } => {
                self.effects.push_back(Effect::Reset { connection, stream });
            }
            Input::DialFailed { .. } => self.deadline = Some(now.plus(30)),
            Input::Tick if self.deadline.is_some_and(|deadline| deadline <= now) => {
                self.deadline = None;
                self.note("tick");
            }
            Input::Disconnected { connection } => {
                self.effects.push_back(Effect::Close { connection, reason: FaultCode::Malformed });
            }
            _ => (),
        }
        self.write();
    }

    fn poll_effect(&mut self, _: Millis) -> Option<Effect> {
        self.effects.pop_front()
    }

    fn poll_deadline(&self) -> Option<Millis> {
        self.deadline
    }

    fn ledgers(&self) -> Vec<puente_ledger::LedgerCopy> {
        Vec::new()
    }

    fn view(&self, _: Millis) -> super::CoreView {
        super::CoreView::default()
    }
}

struct Wire(mpsc::Sender<String>);

impl Network for Wire {
    fn send(&self, connection: ConnectionId, stream: StreamId, frame: Vec<u8>, finish: bool) {
        self.0.send(format!("send {} {} {} {finish}", connection.0, stream.0, frame.len())).unwrap();
    }

    fn reset(&self, connection: ConnectionId, stream: StreamId) {
        self.0.send(format!("reset {} {}", connection.0, stream.0)).unwrap();
    }

    fn connect(&self, peer: NodeUri) {
        self.0.send(format!("connect {peer}")).unwrap();
    }

    fn close(&self, connection: ConnectionId, reason: FaultCode) {
        self.0.send(format!("close {} {reason}", connection.0)).unwrap();
    }
}

/// A disk that syncs batches slowly, or not at all from some batch on.
#[derive(Debug)]
struct Slow {
    nap: Duration,
    fail_from: usize,
    syncs: Mutex<usize>,
}

impl Disk for Slow {
    fn sync(&self, at: Site, _: &Handle) -> std::io::Result<()> {
        if at == site::JOURNAL_APPEND_SYNC {
            std::thread::sleep(self.nap);
            let mut syncs = self.syncs.lock().unwrap();
            *syncs += 1;
            if *syncs >= self.fail_from {
                return Err(std::io::Error::from_raw_os_error(5));
            }
        }
        Ok(())
    }
}

struct World {
    temp: tempfile::TempDir,
    handle: DriverHandle,
    wire: mpsc::Receiver<String>,
    seen: Arc<Mutex<Vec<String>>>,
}

fn world(nap: Duration, fail_from: usize) -> World {
    let temp = tempfile::tempdir().unwrap();
    let signer = || Ed25519Signer::new(ORIGIN, KeyKind::Ed25519, &Secret32::new([7; 32])).unwrap();
    let slow = Arc::new(Slow { nap, fail_from, syncs: Mutex::new(0) });
    let key = Secret32::new([9; 32]);
    let (disk, recovered) = NodeDisk::open_on(slow, temp.path(), &key, signer().verifier(), 1 << 20).unwrap();
    let mut records = SqliteStore::open(&temp.path().join("records.db")).unwrap();
    let keys = vec![("vin".into(), "VIN1".to_owned())];
    let record = NewRecord { record_type: "vehicle".into(), bytes: b"r".to_vec(), keys };
    records.insert(&[record]).unwrap();
    let seen = Arc::new(Mutex::new(Vec::new()));
    let toy = Toy {
        log: recovered.tree,
        signer: signer(),
        effects: VecDeque::new(),
        waiting: Vec::new(),
        in_flight: None,
        number: 0,
        deadline: None,
        seen: Arc::clone(&seen),
        failed: false,
    };
    let (sender, wire) = mpsc::channel();
    let (driver, handle) = Driver::new(DriverOptions::default());
    let engine = driver.prepare(toy, disk, records.reader().unwrap().into(), Box::new(Wire(sender))).unwrap();
    std::thread::spawn(|| {
        tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(engine);
    });
    World { temp, handle, wire, seen }
}

fn event() -> LocalEvent {
    LocalEvent {
        kind: EventKind::ALL[0],
        record_type: String::new(),
        count: 1,
        purpose: None,
        basis: None,
        role: None,
        detail: Vec::new(),
    }
}

fn draft(case_ref: &str) -> Draft {
    Draft {
        to: peer(),
        kind: "vehicle.status".parse().unwrap(),
        step: puente_model::Step::ALL[0],
        purpose: puente_model::Purpose::ALL[0],
        basis: "mx-us-1".parse().unwrap(),
        handling: puente_model::Handling::ALL[0],
        officer: puente_wire::Officer {
            id: "o-1".parse().unwrap(),
            name: "N".to_owned(),
            role: puente_model::Role::ALL[0],
            expires: Millis(0),
        },
        case_ref: case_ref.to_owned(),
        params: Vec::new(),
        due_at: Millis(0),
        urgency: puente_model::Urgency::ALL[0],
        justification: String::new(),
        facts_statement: String::new(),
        offence: String::new(),
        confirms: None,
        mode: puente_model::Mode::Open,
        stays: false,
        half: None,
    }
}

fn peer() -> NodeUri {
    "puente://us/atf/node1".parse().unwrap()
}

fn block<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap().block_on(future)
}

fn eventually(what: &str, mut done: impl FnMut() -> bool) {
    let began = Instant::now();
    while !done() {
        assert!(began.elapsed() < Duration::from_secs(20), "{what} never came");
        std::thread::sleep(Duration::from_millis(2));
    }
}

#[test]
fn events_are_recorded_in_batches_and_shutdown_publishes_them() {
    let world = world(Duration::from_millis(2), usize::MAX);
    let handle = world.handle.clone();
    block(async {
        let tasks: Vec<_> = (0..200)
            .map(|_| {
                let handle = handle.clone();
                tokio::spawn(async move { handle.event(event()).await })
            })
            .collect();
        let mut indexes = Vec::new();
        for task in tasks {
            match task.await.unwrap().unwrap() {
                Conclusion::Recorded { index } => indexes.push(index.0),
                other => panic!("{other:?}"),
            }
        }
        indexes.sort_unstable();
        assert_eq!(indexes, (0..200).collect::<Vec<_>>());
        let status = handle.status();
        assert_eq!((status.entries, status.disk.size), (200, 200));
        assert!(status.batches < 100, "{} batches: syncs were not shared", status.batches);
        handle.shutdown().await.unwrap();
        assert_eq!(handle.status().disk.published, 200);
        assert!(handle.status().stopped);
        assert_eq!(handle.event(event()).await.unwrap_err(), Gone);
        assert_eq!(handle.input(Input::Tick).await.unwrap_err(), Gone);
        handle.shutdown().await.unwrap();
        // The folder is free for the next run although a handle is left.
        let key = Secret32::new([9; 32]);
        let signer = Ed25519Signer::new(ORIGIN, KeyKind::Ed25519, &Secret32::new([7; 32])).unwrap();
        let (_, recovered) = NodeDisk::open(world.temp.path(), &key, signer.verifier()).unwrap();
        assert_eq!((recovered.tree.size().0, recovered.replayed), (200, 0));
    });
}

#[test]
fn while_a_batch_is_synced_frames_are_answered() {
    let world = world(Duration::from_millis(400), usize::MAX);
    let handle = world.handle.clone();
    block(async {
        // The first sync shows the driver how slow this disk is; the second then runs beside the engine.
        handle.event(event()).await.unwrap();
        let (began, waiting) = (Instant::now(), handle.event(event()));
        let frame = async {
            tokio::time::sleep(Duration::from_millis(50)).await;
            let (connection, stream) = (ConnectionId(1), StreamId(3));
            handle.input(Input::Frame { connection, stream, bytes: vec![0; 2_000] }).await.unwrap();
            let wire = world.wire;
            let sent = tokio::task::spawn_blocking(move || wire.recv_timeout(Duration::from_secs(5)).unwrap());
            (sent.await.unwrap(), began.elapsed())
        };
        let (recorded, (sent, after)) = tokio::join!(waiting, frame);
        assert!(matches!(recorded.unwrap(), Conclusion::Recorded { index: LeafIndex(1) }));
        assert_eq!(sent, "send 1 3 2000 true");
        assert!(after < Duration::from_millis(390), "{after:?}");
    });
}

#[test]
fn a_failed_sync_is_told_and_shown_and_never_retried() {
    let world = world(Duration::ZERO, 3);
    block(async {
        assert!(matches!(world.handle.event(event()).await.unwrap(), Conclusion::Recorded { .. }));
        assert!(matches!(world.handle.event(event()).await.unwrap(), Conclusion::Recorded { .. }));
        assert!(matches!(world.handle.event(event()).await.unwrap(), Conclusion::LogUnavailable));
        let status = world.handle.status();
        assert!(status.log_unavailable.unwrap().contains("journal.append.sync"));
        assert_eq!(status.disk.size, 2);
        // Status is answered for as long as the process lives, and the end says what became of the disk.
        let error = world.handle.shutdown().await.unwrap_err();
        assert!(error.to_string().contains("nothing is written any more"), "{error}");
    });
}

#[test]
fn questions_find_records_and_an_asker_who_leaves_cancels() {
    let world = world(Duration::ZERO, usize::MAX);
    block(async {
        let found = world.handle.ask(draft("VIN1")).await.unwrap();
        assert!(matches!(found, Conclusion::PeriodsClosed { closed: 1, .. }));
        let found = world.handle.ask(draft("VIN2")).await.unwrap();
        assert!(matches!(found, Conclusion::PeriodsClosed { closed: 0, .. }));
        let left = tokio::time::timeout(Duration::from_millis(50), world.handle.ask(draft("wait"))).await;
        assert!(left.is_err());
    });
    eventually("the cancellation", || world.seen.lock().unwrap().iter().any(|text| text == "cancel"));
}

#[test]
fn deadlines_tick_and_peers_are_shown() {
    let world = world(Duration::ZERO, usize::MAX);
    let connection = ConnectionId(7);
    world.handle.input_now(Input::DialFailed { peer: peer() }).unwrap();
    eventually("the tick", || world.seen.lock().unwrap().iter().any(|text| text == "tick"));
    assert_eq!(world.handle.status().peers[0].connections, 0);
    world.handle.input_now(Input::Connected { connection, peer: peer(), dialled: true }).unwrap();
    eventually("the peer", || world.handle.status().peers[0].connections == 1);
    world.handle.input_now(Input::Disconnected { connection }).unwrap();
    eventually("its going", || world.handle.status().peers[0].connections == 0);
    assert_eq!(world.wire.recv_timeout(Duration::from_secs(5)).unwrap(), "close 7 malformed");
}

#[test]
fn whoever_floods_the_queue_waits() {
    let world = world(Duration::from_secs(3), usize::MAX);
    block(async {
        // The engine's task is busy with its first, inline sync.
        let handle = world.handle.clone();
        let recorded = tokio::spawn(async move { handle.event(event()).await });
        tokio::time::sleep(Duration::from_millis(50)).await;
        let bytes = vec![0_u8; 1 << 20];
        let mut taken = 0;
        let flood = async {
            for _ in 0..200 {
                let frame = Input::Frame { connection: ConnectionId(1), stream: StreamId(1), bytes: bytes.clone() };
                world.handle.input(frame).await.unwrap();
                taken += 1;
            }
        };
        let _ = tokio::time::timeout(Duration::from_millis(100), flood).await;
        assert!((32..=64).contains(&taken), "{taken} MiB queued");
        assert!(matches!(recorded.await.unwrap().unwrap(), Conclusion::Recorded { .. }));
    });
}

#[test]
fn the_thread_ends_with_its_last_handle() {
    let World { handle, wire, seen, temp } = world(Duration::ZERO, usize::MAX);
    drop(handle);
    // The network is dropped with the thread.
    assert_eq!(wire.recv_timeout(Duration::from_secs(10)), Err(mpsc::RecvTimeoutError::Disconnected));
    assert!(seen.lock().unwrap().is_empty());
    drop(temp);
}
