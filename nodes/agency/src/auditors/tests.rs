use std::future::Future;
use std::pin::Pin;

use puente_audit_log::{Ed25519Signer, KeyKind, Log, MemoryFiles};
use puente_exchange::api::LocalEvent;
use puente_ledger::LedgerCopy;
use puente_model::{AuditorUri, Secret32};
use puente_wire::proto::{self, Message as _};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::WebPkiSupportedAlgorithms;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, DigitallySignedStruct, SignatureScheme};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio_rustls::TlsConnector;

use super::*;
use crate::disk::tests::{Author, open};
use crate::net::PeerRefusal;
use crate::net::pki::{A, B, Root, World, issue, leaf};

const OWN: &str = "puente-auditor://mx/mx-a";
const FOREIGN: &str = "puente-auditor://us/us-a";
const STRANGER: &str = "puente-auditor://mx/mx-z";

/// Believes every server: these tests are about the door.
#[derive(Debug)]
struct Anybody(WebPkiSupportedAlgorithms);

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_schemes()
    }
}

/// Keeps what is recorded; takes nothing once it is full.
#[derive(Clone, Default)]
struct Notes {
    events: Arc<Mutex<Vec<LocalEvent>>>,
    full: Arc<std::sync::atomic::AtomicBool>,
    ledgers: Arc<Mutex<Vec<LedgerCopy>>>,
    /// How often the engine was asked for the ledgers.
    asked: Arc<std::sync::atomic::AtomicUsize>,
}

impl Groups for Notes {
    fn ledgers(&self) -> Pin<Box<dyn Future<Output = Option<Vec<LedgerCopy>>> + Send + '_>> {
        self.asked.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        Box::pin(std::future::ready(Some(self.ledgers.lock().unwrap().clone())))
    }
}

/// A group's ledger, and its files as the log's own code makes them.
struct Ledger {
    log: Log,
    files: MemoryFiles,
    entries: Vec<Vec<u8>>,
}

struct Nowhere;

impl puente_audit_log::Journal for Nowhere {
    type Error = String;

    fn persist(&mut self, _: puente_audit_log::Batch<'_>) -> Result<(), String> {
        Ok(())
    }
}

impl Ledger {
    fn new(origin: &str) -> Self {
        Self { log: Log::empty(origin).unwrap(), files: MemoryFiles::new(), entries: Vec::new() }
    }

    fn write(&mut self, count: usize) -> LedgerCopy {
        let origin = self.log.origin().to_owned();
        let signer = Ed25519Signer::new(&origin, KeyKind::Ed25519, &Secret32::new([7; 32])).unwrap();
        let first = self.entries.len();
        self.entries.extend((first..first + count).map(|n| format!("commit {n} of {origin}").into_bytes()));
        let staged = self.log.stage(&self.entries[first..]).unwrap().sign(&signer).unwrap();
        let committed = self.log.commit(staged.persist(&mut Nowhere).unwrap()).unwrap();
        self.files.put(committed.files);
        self.files.put(self.log.publish().unwrap());
        (origin.parse().unwrap(), self.log.head().unwrap().clone(), self.entries.clone())
    }
}

impl Recorder for Notes {
    fn record(&self, event: LocalEvent) -> Pin<Box<dyn Future<Output = bool> + Send + '_>> {
        self.events.lock().unwrap().push(event);
        Box::pin(std::future::ready(!self.full.load(std::sync::atomic::Ordering::Relaxed)))
    }
}

/// A node's door over a log of its own.
struct House {
    world: World,
    trust: Arc<ArcSwap<Trust>>,
    door: Door,
    disk: NodeDisk,
    author: Author,
    notes: Notes,
    dir: tempfile::TempDir,
}

fn trust(world: &World, auditors: &[&str]) -> Trust {
    world.trust(A, &[]).with_auditors(auditors.iter().map(|name| name.parse::<AuditorUri>().unwrap()))
}

fn aside(n: usize) -> Vec<u8> {
    use proto::aside::Body;
    let body = match n % 2 {
        0 => Body::PeerReceipt(format!("receipt {n}").into_bytes()),
        _ => Body::SealedHeader(proto::SealedHeader { seeds: vec![1; 32], ciphertext: b"SEALED".to_vec() }),
    };
    proto::Aside { leaf_hash: vec![n as u8; 32], body: Some(body) }.encode_to_vec()
}

impl House {
    /// 300 entries, published.
    async fn new() -> Self {
        let world = World::new();
        let dir = tempfile::tempdir().unwrap();
        let charter = dir.path().join("charter");
        std::fs::create_dir(&charter).unwrap();
        for name in ["common-1.toml", "common-1.toml.sig", "pin", "notes.txt"] {
            std::fs::write(charter.join(name), name).unwrap();
        }
        let (disk, recovered) = open(Arc::new(crate::disk::RealDisk), dir.path()).unwrap();
        let config: AuditConfig =
            toml::from_str("listen = \"127.0.0.1:0\"\nconnections_per_auditor = 2\nrequests_per_auditor = 2\n")
                .unwrap();
        let trust = Arc::new(ArcSwap::from_pointee(trust(&world, &[OWN, FOREIGN])));
        let identity = Arc::new(world.identity(A, &world.mx));
        let notes = Notes::default();
        let engine: (Box<dyn Recorder>, Box<dyn Groups>) = (Box::new(notes.clone()), Box::new(notes.clone()));
        let door = Door::over(&config, trust.clone(), identity, disk.clone(), charter, engine).await.unwrap();
        let mut house = Self { world, trust, door, disk, author: Author::new(recovered.tree), notes, dir };
        house.write(300);
        house.disk.publish().unwrap();
        house
    }

    fn write(&mut self, count: usize) {
        let first = usize::try_from(self.author.log.size().0).unwrap();
        let entries = (first..first + count).map(|n| format!("entry {n}").into_bytes()).collect();
        let (batch, take_in) = self.author.batch(entries, vec![], (first..first + count).map(aside).collect());
        self.disk.write(batch).unwrap();
        take_in(&mut self.author.log);
    }

    async fn dial(&self, name: &str, issuer: &Root) -> io::Result<Client> {
        let (chain, key) = self.world.pem(name, issuer);
        let provider = Arc::new(crate::net::tls::provider());
        let anybody = Anybody(provider.signature_verification_algorithms);
        let config = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(anybody))
            .with_client_auth_cert(
                vec![CertificateDer::from_pem_slice(&chain).unwrap()],
                PrivateKeyDer::from_pem_slice(&key).unwrap(),
            )
            .unwrap();
        let stream = TcpStream::connect(self.door.local_addr()).await?;
        let name = ServerName::try_from("puente.invalid").unwrap();
        Ok(Client(TlsConnector::from(Arc::new(config)).connect(name, stream).await?))
    }

    async fn own(&self) -> Client {
        self.dial(OWN, &self.world.mx).await.unwrap()
    }

    async fn foreign(&self) -> Client {
        self.dial(FOREIGN, &self.world.us).await.unwrap()
    }

    fn file(&self, name: &str) -> Vec<u8> {
        std::fs::read(self.dir.path().join("log").join(name)).unwrap()
    }
}

struct Client(tokio_rustls::client::TlsStream<TcpStream>);

/// Status, headers, body.
struct Answer(u16, String, Vec<u8>);

impl Answer {
    fn header(&self, name: &str) -> Option<&str> {
        self.1.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
    }
}

impl Client {
    async fn send(&mut self, method: &str, path: &str, more: &str) -> io::Result<Answer> {
        let request = format!("{method} {path} HTTP/1.1\r\nhost: node\r\n{more}\r\n");
        self.0.write_all(request.as_bytes()).await?;
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(self.0.read_u8().await?);
        }
        let head = String::from_utf8(head).unwrap().to_lowercase();
        let status = head[9..12].parse().unwrap();
        let mut answer = Answer(status, head, Vec::new());
        let length = answer.header("content-length").map_or(0, |length| length.parse().unwrap());
        if method != "HEAD" {
            answer.2 = vec![0; length];
            self.0.read_exact(&mut answer.2).await?;
        }
        Ok(answer)
    }

    async fn get(&mut self, path: &str) -> Answer {
        self.send("GET", path, "").await.unwrap()
    }
}

#[tokio::test]
async fn the_published_log_is_served_as_its_files_and_nothing_beyond() {
    let mut house = House::new().await;
    let mut client = house.own().await;
    for name in ["tile/entries/000", "tile/0/000", "tile/entries/001.p/44", "tile/0/001.p/44", "tile/1/000.p/1"] {
        let answer = client.get(&format!("/{name}")).await;
        assert_eq!((answer.0, &answer.2), (200, &house.file(name)), "{name}");
        assert!(answer.header("cache-control").unwrap().contains("immutable"), "{name}");
    }
    let head = client.get("/checkpoint").await;
    assert_eq!((head.0, &head.2), (200, &house.file("checkpoint")));
    assert_eq!(head.header("cache-control"), Some("no-cache"));
    assert_eq!(head.header("puente-asides").unwrap(), house.file("asides").len().to_string());
    // Of earlier sizes, too: as beginnings.
    let part = client.get("/tile/0/000.p/7").await;
    assert_eq!(part.2, house.file("tile/0/000")[..7 * 32]);
    let part = client.get("/tile/entries/001.p/43").await.2;
    assert!(house.file("tile/entries/001.p/44").starts_with(&part) && part.len() == 43 * (2 + "entry 256".len()));
    // What is durable but not published is not there, neither under its own name nor in a wider file.
    house.write(10);
    for name in [
        "tile/entries/001.p/45",
        "tile/entries/001",
        "tile/0/001.p/54",
        "tile/0/002.p/1",
        "tile/1/000.p/2",
        "tile/2/000.p/1",
        "tile/7/000.p/1",
        "tile/8/000.p/1",
        "tile/63/000",
        "tile/entries/x001/000",
    ] {
        assert_eq!(client.get(&format!("/{name}")).await.0, 404, "{name}");
    }
    house.disk.publish().unwrap();
    assert_eq!(client.get("/tile/entries/001.p/54").await.2, house.file("tile/entries/001.p/54"));
    assert_eq!(client.get("/tile/entries/001.p/44").await.0, 200, "a reader of the older head finds its files");
    // The charter's files, and nothing else of that folder.
    assert_eq!(client.get("/charter/").await.2, b"common-1.toml\ncommon-1.toml.sig\n");
    assert_eq!(client.get("/charter/common-1.toml.sig").await.2, b"common-1.toml.sig");
    for path in [
        "/charter/pin",
        "/charter/notes.txt",
        "/charter/annex-mx-1.toml",
        "/evidence.db",
        "/checkpoint?a=b",
        "/../evidence.db",
        "/tile/../../evidence.db",
        "/%2e%2e/evidence.db",
        "/tile/0/..%2f..%2f..%2fevidence.db",
        "/",
    ] {
        assert_eq!(client.get(path).await.0, 404, "{path}");
    }
    // One entry for all of it.
    assert_eq!(house.notes.events.lock().unwrap().len(), 1);
}

#[tokio::test]
async fn ledgers_of_groups_are_served_as_they_are_exported_and_never_older_than_the_log() {
    const OTAY: &str = "group/frontera/otay/ledger1";
    let mut house = House::new().await;
    let mut client = house.foreign().await;
    assert_eq!((client.get("/ledgers/").await.0, client.get("/ledgers/").await.2.len()), (200, 0));
    assert_eq!(client.get(&format!("/ledgers/{OTAY}/checkpoint")).await.0, 404);
    let (mut otay, mut pair) = (Ledger::new(OTAY), Ledger::new("group/frontera/pair/a/b/ledger2"));
    let copies = vec![otay.write(300), pair.write(1)];
    house.notes.ledgers.lock().unwrap().clone_from(&copies);
    // As soon as the published log goes on: what it says of an order stands in them.
    house.write(1);
    house.disk.publish().unwrap();
    let names = client.get("/ledgers/").await.2;
    assert_eq!(names, b"group/frontera/otay/ledger1\ngroup/frontera/pair/a/b/ledger2\n");
    let exported = house.dir.path().join("exported");
    crate::ledgers::write(&exported, &copies).unwrap();
    for (name, ledger) in [(OTAY, &otay), ("group/frontera/pair/a/b/ledger2", &pair)] {
        for path in ledger.files.paths() {
            let answer = client.get(&format!("/ledgers/{name}/{path}")).await;
            assert_eq!((answer.0, answer.2.as_slice()), (200, ledger.files.get(path).unwrap()), "{path}");
            assert_eq!(std::fs::read(exported.join(name).join(path.to_string())).unwrap(), answer.2, "{path}");
        }
    }
    assert_eq!(client.get(&format!("/ledgers/{OTAY}/checkpoint")).await.header("cache-control"), Some("no-cache"));
    // Whoever reads an older head finds its files when the ledger has gone on.
    let edge = client.get(&format!("/ledgers/{OTAY}/tile/entries/001.p/44")).await.2;
    *house.notes.ledgers.lock().unwrap() = vec![otay.write(300), pair.write(0)];
    house.write(1);
    house.disk.publish().unwrap();
    let head = client.get(&format!("/ledgers/{OTAY}/checkpoint")).await.2;
    assert_eq!(head, otay.log.head().unwrap().note_bytes());
    assert_eq!(client.get(&format!("/ledgers/{OTAY}/tile/entries/001.p/44")).await.2, edge);
    assert_eq!(client.get(&format!("/ledgers/{OTAY}/tile/1/000.p/1")).await.2.len(), 32);
    for beyond in ["tile/entries/002.p/89", "tile/0/003.p/1", "tile/1/000.p/3", "tile/2/000.p/1", "tile/63/000"] {
        assert_eq!(client.get(&format!("/ledgers/{OTAY}/{beyond}")).await.0, 404, "{beyond}");
    }
    assert_eq!(client.get("/ledgers/group/frontera/otay/ledger2/checkpoint").await.0, 404);
    // Three states of the log, three times asked, whatever was read.
    assert_eq!(house.notes.asked.load(std::sync::atomic::Ordering::Relaxed), 3);
    house.door.inner.shelf.tidy().await;
    house.door.inner.shelf.tidy().await;
    assert_eq!(client.get(&format!("/ledgers/{OTAY}/tile/0/000")).await.0, 200, "put away, and brought again");
    assert_eq!(house.notes.asked.load(std::sync::atomic::Ordering::Relaxed), 4);
    house.trust.store(Arc::new(trust(&house.world, &[OWN])));
    assert_eq!(client.get("/ledgers/").await.0, 403);
}

#[tokio::test]
async fn only_reading_is_possible() {
    let house = House::new().await;
    let mut client = house.own().await;
    let head = client.send("HEAD", "/tile/0/000", "").await.unwrap();
    assert_eq!((head.0, head.header("content-length")), (200, Some("8192")));
    for method in ["POST", "PUT", "DELETE", "OPTIONS", "PATCH"] {
        let answer = client.send(method, "/checkpoint", "content-length: 0\r\n").await.unwrap();
        assert_eq!((answer.0, answer.header("allow")), (405, Some("get, head")), "{method}");
    }
    let answer = client.send("GET", "/checkpoint", "content-length: 5\r\n\r\nabcde").await.unwrap();
    assert_eq!(answer.0, 413);
    let mut client = house.own().await;
    let long = format!("x: {}\r\n", "y".repeat(20_000));
    assert_eq!(client.send("GET", "/checkpoint", &long).await.map(|answer| answer.0).unwrap_or(431), 431);
}

#[tokio::test]
async fn sealed_headers_go_to_own_auditors_only() {
    let house = House::new().await;
    let (mut own, mut foreign) = (house.own().await, house.foreign().await);
    let all = house.file("asides");
    assert_eq!(own.get("/asides").await.2, all);
    let seen = foreign.get("/asides").await;
    assert!(!seen.2.windows(6).any(|window| window == b"SEALED") && all.windows(6).any(|window| window == b"SEALED"));
    let kept: Vec<u8> = (0..300)
        .filter(|n| n % 2 == 0)
        .flat_map(|n| {
            let bytes = aside(n);
            [&(bytes.len() as u32).to_be_bytes()[..], &bytes].concat()
        })
        .collect();
    assert_eq!(seen.2, kept, "as an export for other nations");
    let length = kept.len();
    let head = foreign.get("/checkpoint").await;
    assert_eq!(head.header("puente-asides").unwrap(), length.to_string());
    for (range, from, to) in [("0-9", 0, 10), ("1000-", 1_000, length), ("37-999999", 37, length)] {
        let part = foreign.send("GET", "/asides", &format!("range: bytes={range}\r\n")).await.unwrap();
        assert_eq!((part.0, part.2.as_slice()), (206, &kept[from..to]), "{range}");
        let expected = format!("bytes {from}-{}/{length}", to - 1);
        assert_eq!(part.header("content-range"), Some(expected.as_str()));
    }
    let beyond = foreign.send("GET", "/asides", &format!("range: bytes={length}-\r\n")).await.unwrap();
    assert_eq!((beyond.0, beyond.header("content-range").unwrap()), (416, format!("bytes */{length}").as_str()));
    assert_eq!(foreign.send("GET", "/asides", "range: bytes=-5\r\n").await.unwrap().2, kept);
}

#[tokio::test]
async fn an_auditor_whom_the_charter_drops_reads_nothing_more() {
    let house = House::new().await;
    let mut client = house.own().await;
    assert_eq!(client.get("/checkpoint").await.0, 200);
    house.trust.store(Arc::new(trust(&house.world, &[FOREIGN])));
    let answer = client.get("/checkpoint").await;
    assert_eq!((answer.0, answer.header("connection")), (403, Some("close")));
    assert!(client.send("GET", "/checkpoint", "").await.is_err(), "the connection is over");
    assert_eq!(house.foreign().await.get("/checkpoint").await.0, 200);
    // A new connection does not even begin.
    let dialled = house.dial(OWN, &house.world.mx).await;
    let read = match dialled {
        Ok(mut client) => client.send("GET", "/checkpoint", "").await.map(|answer| answer.0),
        Err(error) => Err(error),
    };
    assert!(read.is_err(), "{read:?}");
    let refused = &house.door.status()["refused"]["no-such-auditor"];
    assert_eq!(*refused, json!(2));
}

#[tokio::test]
async fn nobody_else_gets_in_and_each_is_counted() {
    let house = House::new().await;
    let (mx, us) = (&house.world.mx, &house.world.us);
    let table = [
        ("a member node of this nation", A, mx, "not-an-auditor-name"),
        ("a member node", B, us, "not-an-auditor-name"),
        ("an auditor who is not in the charter", STRANGER, mx, "no-such-auditor"),
        ("another nation's root", OWN, us, "other-nations-root"),
        ("a nation that is not there", "puente-auditor://gt/a", mx, "unknown-nation"),
        ("no name of ours", "https://example.org/", mx, "not-an-auditor-name"),
    ];
    for (what, name, root, class) in table {
        let before = house.door.status()["refused"][class].as_u64().unwrap_or(0);
        let read = match house.dial(name, root).await {
            Ok(mut client) => client.send("GET", "/checkpoint", "").await.map(|answer| answer.0),
            Err(error) => Err(error),
        };
        assert!(read.is_err(), "{what}: {read:?}");
        assert_eq!(house.door.status()["refused"][class].as_u64(), Some(before + 1), "{what}");
    }
    assert!(
        house.notes.events.lock().unwrap().is_empty() && house.door.status()["auditors"].as_array().unwrap().is_empty()
    );
}

#[test]
fn certificates_of_auditors_have_their_own_rules() {
    let world = World::new();
    let trust = trust(&world, &[OWN, FOREIGN]);
    let now = UnixTime::now();
    let class = |der: &CertificateDer<'_>, now| trust.verify_auditor(der, &[], now).map_err(|r| r.class());
    let made = |change: &dyn Fn(&mut rcgen::CertificateParams)| {
        let mut params = leaf(OWN);
        change(&mut params);
        issue(params, &world.mx.issuer).0
    };
    use rcgen::ExtendedKeyUsagePurpose::{ClientAuth, ServerAuth};
    assert_eq!(class(&made(&|p| p.extended_key_usages = vec![ClientAuth]), now).unwrap().0.as_str(), OWN);
    assert_eq!(class(&made(&|p| p.extended_key_usages = vec![ServerAuth]), now), Err("wrong-usage"));
    assert_eq!(class(&made(&|p| p.not_after = rcgen::date_time_ymd(2021, 1, 1)), now), Err("certificate-expired"));
    assert_eq!(
        class(&made(&|p| p.not_before = rcgen::date_time_ymd(2094, 1, 1)), now),
        Err("certificate-not-yet-valid")
    );
    let both = |p: &mut rcgen::CertificateParams| p.subject_alt_names.push(rcgen::SanType::URI(A.try_into().unwrap()));
    assert_eq!(class(&made(&both), now), Err("many-uri-names"));
    assert_eq!(class(&made(&|p| p.subject_alt_names.clear()), now), Err("no-uri-name"));
    assert_eq!(class(&CertificateDer::from(vec![0; 20_000]), now), Err("chain-too-long"));
    assert_eq!(class(&CertificateDer::from(vec![0; 20]), now), Err("malformed-certificate"));
    // And an auditor is no peer.
    let auditor = made(&|_| {});
    let peer = trust.verify(&auditor, &[], crate::net::Presenter::Client, None, now);
    assert!(matches!(peer, Err(PeerRefusal::Names(_))), "{peer:?}");
}

#[tokio::test]
async fn one_auditor_takes_no_more_than_its_share() {
    let house = House::new().await;
    let (mut first, mut second) = (house.own().await, house.own().await);
    assert_eq!((first.get("/checkpoint").await.0, second.get("/checkpoint").await.0), (200, 200));
    let third = match house.dial(OWN, &house.world.mx).await {
        Ok(mut client) => client.send("GET", "/checkpoint", "").await.is_ok(),
        Err(_) => false,
    };
    assert!(!third, "a third connection of one auditor");
    assert_eq!(house.foreign().await.get("/checkpoint").await.0, 200, "another auditor has its own");
    // Answers on their way.
    let reader = house.door.inner.book.reader(&OWN.parse().unwrap());
    let held = reader.requests.clone().acquire_many_owned(2).await.unwrap();
    let busy = first.get("/checkpoint").await;
    assert_eq!((busy.0, busy.header("retry-after")), (429, Some("1")));
    drop(held);
    assert_eq!(first.get("/checkpoint").await.0, 200);
    let status = house.door.status();
    let own = status["auditors"].as_array().unwrap().iter().find(|a| a["auditor"] == OWN).unwrap();
    assert!(own["turned_away"].as_u64() >= Some(2) && own["answers"].as_u64() >= Some(3), "{own}");
}

#[tokio::test]
async fn nothing_is_read_that_the_log_does_not_say() {
    let house = House::new().await;
    house.notes.full.store(true, std::sync::atomic::Ordering::Relaxed);
    let mut client = house.own().await;
    let answer = client.get("/checkpoint").await;
    assert_eq!((answer.0, answer.header("retry-after")), (503, Some("1")));
    house.notes.full.store(false, std::sync::atomic::Ordering::Relaxed);
    assert_eq!(client.get("/checkpoint").await.0, 200);
    house.door.close().await;
    let events = house.notes.events.lock().unwrap();
    let last = events.last().unwrap();
    assert_eq!((last.kind, last.count), (puente_model::EventKind::LogRead, 1), "what was read is recorded at the end");
}
