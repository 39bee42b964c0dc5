//! PostgreSQL, a real server: conformance, rights, passwords, TLS, and what a lost connection does.

use std::sync::mpsc::Receiver;
use std::time::Instant;

use super::cluster::{Cluster, OWNER};
use super::*;
use crate::records::{Health, StoreAt};

/// Waits for something that happens by itself.
pub(super) fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let began = Instant::now();
    while !holds() {
        assert!(began.elapsed() < Duration::from_secs(60), "{what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

pub(super) fn up(health: &Health) {
    let began = Instant::now();
    while let Some((why, _)) = health.status().down {
        assert!(began.elapsed() < Duration::from_secs(60), "the store stays down: {why}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn plate(number: u32) -> NewRecord {
    let keys = vec![key("plate", &format!("P{number}"))];
    NewRecord { record_type: "vehicle".into(), bytes: format!("record {number}").into_bytes(), keys }
}

fn begin(reader: &RecordReader, keys: &[(String, String)]) -> Receiver<Found> {
    let (done, found) = mpsc::channel();
    let lookup = Lookup { record_type: "vehicle".to_owned(), keys: keys.to_vec(), limit: 10 };
    assert!(reader.lookup(lookup, move |records| done.send(records).unwrap()).is_none(), "never in line");
    found
}

#[test]
fn the_version_of_the_tables_is_told_and_nothing_is_made() {
    let Some(cluster) = Cluster::start() else { return };
    let (dir, settings) = (NodeDir::new("/nowhere"), cluster.settings(OWNER));
    let version = || crate::records::tables_version(&dir, &settings).unwrap();
    assert_eq!((version(), version()), (Some(None), Some(None)), "looking makes nothing");
    drop(RecordStore::open_with(&dir, &settings).unwrap());
    assert_eq!(version(), Some(Some(crate::records::POSTGRES_VERSION)));
    cluster.execute("UPDATE puente.meta SET version = 9");
    assert_eq!(version(), Some(Some(9)));
    let Err(RecordsError::Server(why)) = RecordStore::open_with(&dir, &settings) else { panic!("it opened") };
    assert!(why.contains("version 9") && why.contains("reads version 1"), "{why}");
}

#[test]
fn postgres_passes_the_conformance_suite() {
    let Some(cluster) = Cluster::start() else { return };
    let dir = NodeDir::new("/nowhere");
    let settings = cluster.settings(OWNER);
    let runtime = runtime();
    let reader = runtime.block_on(open(&dir, &settings)).unwrap();
    up(&reader.health());
    conformance::all(&|| RecordStore::open_with(&dir, &settings).unwrap(), &reader);
    assert_eq!(reader.health().status().failed, 0);

    // A user with rights to the schema alone can look up; one without says what is missing, and nobody starts.
    cluster.execute(
        "CREATE USER plain; CREATE USER stranger; GRANT USAGE ON SCHEMA puente TO plain;
         GRANT SELECT ON ALL TABLES IN SCHEMA puente TO plain",
    );
    let plain = runtime.block_on(open(&dir, &cluster.settings("plain"))).unwrap();
    up(&plain.health());
    assert_eq!(find(&plain, "vehicle", &[key("vin", "VIN00000000000007")], 1).unwrap().len(), 1);
    let Err(error) = runtime.block_on(open(&dir, &cluster.settings("stranger"))) else { panic!("a stranger reads") };
    assert!(matches!(&error, RecordsError::Server(text) if text.contains("permission denied")), "{error}");

    // Tables of another version are not touched.
    cluster.execute("UPDATE puente.meta SET version = 2");
    let Err(error) = RecordStore::open_with(&dir, &settings) else { panic!("another version is written") };
    assert!(error.to_string().contains("format version 2"), "{error}");
    assert!(runtime.block_on(open(&dir, &settings)).is_err());
    // Another schema is another store, whatever its name is.
    let other = RecordSettings { schema: "o'\"; DROP SCHEMA puente CASCADE; --".to_owned(), ..settings };
    let mut store = RecordStore::open_with(&dir, &other).unwrap();
    assert!(store.counts().unwrap().is_empty());
    assert_eq!(store.insert(&[plate(1)]).unwrap().new, 1);
}

#[test]
fn a_lost_server_fails_its_lookups_and_one_that_returns_answers_again() {
    let Some(mut cluster) = Cluster::start() else { return };
    let dir = NodeDir::new("/nowhere");
    let settings = RecordSettings { statement_timeout_ms: 30_000, ..cluster.settings(OWNER) };
    let runtime = runtime();
    RecordStore::open_with(&dir, &settings).unwrap().insert(&[plate(1)]).unwrap();
    let reader = runtime.block_on(open(&dir, &settings)).unwrap();
    let health = reader.health();
    up(&health);
    let one = [key("plate", "P1")];
    assert_eq!(find(&reader, "vehicle", &one, 1).unwrap().len(), 1);

    // In mid-query: the tables are locked, so that lookups wait in the server when it dies.
    let blocker = runtime.block_on(cluster.client(OWNER));
    runtime.block_on(blocker.batch_execute("BEGIN; LOCK TABLE puente.match_key")).unwrap();
    let waiting: Vec<_> = (0..20).map(|_| begin(&reader, &one)).collect();
    let watcher = runtime.block_on(cluster.client(OWNER));
    let waits = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'puente' AND wait_event_type = 'Lock'";
    eventually("lookups wait in the server", || {
        runtime.block_on(watcher.query_one(waits, &[])).unwrap().get::<_, i64>(0) == 2
    });
    cluster.kill();
    for found in waiting {
        let error = found.recv_timeout(Duration::from_secs(60)).unwrap().unwrap_err();
        assert!(!error.contains("P1") && !error.is_empty(), "{error}");
    }
    eventually("the store is shown as down", || health.status().down.is_some());
    // While it is away lookups fail at once, and are counted.
    assert!(find(&reader, "vehicle", &one, 1).is_err());
    assert_eq!((health.status().answered, health.status().failed), (1, 21));
    // A node can start meanwhile.
    let late = runtime.block_on(open(&dir, &settings)).unwrap();
    assert!(find(&late, "vehicle", &one, 1).is_err());

    cluster.run();
    for reader in [&reader, &late] {
        up(&reader.health());
        assert_eq!(find(reader, "vehicle", &one, 1).unwrap(), [b"record 1".to_vec()], "nothing is lost");
    }
}

#[test]
fn a_connection_that_ends_loses_no_lookup_while_the_server_lives() {
    let Some(cluster) = Cluster::start() else { return };
    let dir = NodeDir::new("/nowhere");
    let runtime = runtime();
    RecordStore::open_with(&dir, &cluster.settings(OWNER)).unwrap().insert(&[plate(1)]).unwrap();
    let watcher = runtime.block_on(cluster.client(OWNER));
    let end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'puente' LIMIT 1";
    for connections in [1, 2] {
        let settings = RecordSettings { connections, ..cluster.settings(OWNER) };
        let reader = runtime.block_on(open(&dir, &settings)).unwrap();
        up(&reader.health());
        for _ in 0..5 {
            // Whichever the server counts as there: one that serves, or one that is being made again.
            eventually("one of them ends", || !runtime.block_on(watcher.query(end, &[])).unwrap().is_empty());
            for _ in 0..10 {
                assert_eq!(find(&reader, "vehicle", &[key("plate", "P1")], 1).unwrap().len(), 1);
            }
            assert_eq!(reader.health().status().down, None);
        }
        assert_eq!((reader.health().status().answered, reader.health().status().failed), (50, 0));
    }
}

#[test]
fn a_statement_that_takes_too_long_is_cancelled_and_said() {
    let Some(cluster) = Cluster::start() else { return };
    let dir = NodeDir::new("/nowhere");
    let settings = RecordSettings { statement_timeout_ms: 200, in_flight: 1, ..cluster.settings(OWNER) };
    let runtime = runtime();
    RecordStore::open_with(&dir, &settings).unwrap().insert(&[plate(1)]).unwrap();
    let reader = runtime.block_on(open(&dir, &settings)).unwrap();
    up(&reader.health());
    let one = [key("plate", "P1")];
    let blocker = runtime.block_on(cluster.client(OWNER));
    runtime.block_on(blocker.batch_execute("BEGIN; LOCK TABLE puente.match_key")).unwrap();
    // One is under way, two wait for it: each gets its answer.
    let waiting: Vec<_> = (0..3).map(|_| begin(&reader, &one)).collect();
    for found in waiting {
        let error = found.recv_timeout(Duration::from_secs(60)).unwrap().unwrap_err();
        assert!(error.contains("statement_timeout_ms") || error.contains("55P03"), "{error}");
    }
    runtime.block_on(blocker.batch_execute("ROLLBACK")).unwrap();
    assert_eq!(find(&reader, "vehicle", &one, 1).unwrap().len(), 1, "the connection serves on");
}

#[test]
fn a_server_that_says_nothing_is_left_for_another_connection() {
    let Some(cluster) = Cluster::start() else { return };
    let dir = NodeDir::new("/nowhere");
    let settings = RecordSettings { statement_timeout_ms: 100, connections: 1, ..cluster.settings(OWNER) };
    let runtime = runtime();
    RecordStore::open_with(&dir, &settings).unwrap().insert(&[plate(1)]).unwrap();
    let reader = runtime.block_on(open(&dir, &settings)).unwrap();
    up(&reader.health());
    let watcher = runtime.block_on(cluster.client(OWNER));
    let backend = "SELECT pid FROM pg_stat_activity WHERE application_name = 'puente'";
    let pid: i32 = runtime.block_on(watcher.query_one(backend, &[])).unwrap().get(0);
    let signal = |name: &str| {
        let done = std::process::Command::new("kill").args([name, &pid.to_string()]).status().unwrap();
        assert!(done.success());
    };
    signal("-STOP");
    let error = find(&reader, "vehicle", &[key("plate", "P1")], 1).unwrap_err();
    assert!(error.contains("does not answer"), "{error}");
    eventually("another connection serves", || find(&reader, "vehicle", &[key("plate", "P1")], 1).is_ok());
    signal("-CONT");
}

#[test]
fn passwords_come_from_files_and_variables_and_are_never_repeated() {
    let Some(mut cluster) = Cluster::start() else { return };
    cluster.execute("CREATE USER keeper PASSWORD 'hunter2secret'; GRANT CREATE ON DATABASE postgres TO keeper");
    cluster.kill();
    cluster.rule("host all keeper 127.0.0.1/32 scram-sha-256");
    cluster.run();
    let temp = tempfile::tempdir().unwrap();
    let dir = NodeDir::new(temp.path());
    let url = format!("postgres://keeper@127.0.0.1:{}/postgres", cluster.port());
    let settings = RecordSettings {
        store: StoreAt::try_from(url).unwrap(),
        password_file: Some("db.password".into()),
        ..RecordSettings::default()
    };
    let path = temp.path().join("db.password");
    let open = || match RecordStore::open_with(&dir, &settings) {
        Ok(_) => String::new(),
        Err(error) => error.to_string(),
    };
    assert!(open().contains("db.password"), "{}", open());
    std::fs::write(&path, "hunter2secret\n").unwrap();
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).unwrap();
    assert!(open().contains("others may read it"), "{}", open());
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    assert_eq!(open(), "");
    std::fs::write(&path, "hunter3secret\n").unwrap();
    assert!(open().contains("28P01") && !open().contains("secret"), "{}", open());
    // A variable, which this process has for certain, is no password here: the server says so, nobody repeats it.
    let settings = RecordSettings { password_file: None, password_env: Some("PATH".to_owned()), ..settings };
    let Err(error) = RecordStore::open_with(&dir, &settings) else { panic!("PATH is the password") };
    let path = std::env::var("PATH").unwrap();
    assert!(error.to_string().contains("28P01") && !error.to_string().contains(&path), "{error}");
    let settings = RecordSettings { password_env: Some("PUENTE_NOT_SET".to_owned()), ..settings };
    let Err(error) = RecordStore::open_with(&dir, &settings) else { panic!("no password is needed") };
    assert!(error.to_string().contains("PUENTE_NOT_SET"), "{error}");
}

#[test]
fn tls_checks_who_the_server_is() {
    let Some(mut cluster) = Cluster::start() else { return };
    let temp = tempfile::tempdir().unwrap();
    let dir = NodeDir::new(temp.path());
    let authority = |name: &str| {
        let key = rcgen::KeyPair::generate().unwrap();
        let mut params = rcgen::CertificateParams::new(vec![]).unwrap();
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        params.distinguished_name.push(rcgen::DnType::CommonName, name);
        std::fs::write(temp.path().join(name), params.self_signed(&key).unwrap().pem()).unwrap();
        rcgen::Issuer::new(params, key)
    };
    let (good, _) = (authority("good.pem"), authority("other.pem"));
    cluster.kill();
    let serve = |cluster: &mut Cluster, name: &str| {
        let key = rcgen::KeyPair::generate().unwrap();
        let cert = rcgen::CertificateParams::new(vec![name.to_owned()]).unwrap().signed_by(&key, &good).unwrap();
        cluster.kill();
        cluster.file("server.crt", &cert.pem());
        cluster.file("server.key", &key.serialize_pem());
        cluster.run();
    };
    cluster.configure("ssl = on\n");
    // Nobody comes in without TLS.
    cluster.rule("hostnossl all all 127.0.0.1/32 reject");
    serve(&mut cluster, "localhost");
    let open = |ca: Option<&str>, mode: &str| {
        let url = format!("postgres://{OWNER}@localhost:{}/postgres?sslmode={mode}", cluster.port());
        let store = StoreAt::try_from(url).unwrap();
        let settings = RecordSettings { store, ca: ca.map(Into::into), ..RecordSettings::default() };
        match RecordStore::open_with(&dir, &settings) {
            Ok(mut store) => store.insert(&[plate(1)]).map(|_| String::new()).unwrap(),
            Err(error) => error.to_string(),
        }
    };
    assert_eq!(open(Some("good.pem"), "verify-full"), "");
    assert_eq!(open(Some("good.pem"), "require"), "");
    assert!(open(Some("other.pem"), "verify-full").contains("certificate"), "{}", open(Some("other.pem"), "require"));
    assert!(open(Some("missing.pem"), "verify-full").contains("missing.pem"));
    assert!(open(None, "disable").contains("28000"), "{}", open(None, "disable"));
    let _ = open;
    serve(&mut cluster, "db.example");
    let url = format!("postgres://{OWNER}@localhost:{}/postgres?sslmode=require", cluster.port());
    let store = StoreAt::try_from(url).unwrap();
    let settings = RecordSettings { store, ca: Some("good.pem".into()), ..RecordSettings::default() };
    let Err(error) = RecordStore::open_with(&dir, &settings) else { panic!("another name is accepted") };
    assert!(error.to_string().contains("certificate"), "{error}");
}
