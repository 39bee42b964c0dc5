//! A PostgreSQL server of the tests' own: made in a temporary folder, killed with the test that holds it.
//!
//! Its programs are looked for in `PUENTE_POSTGRES_BIN`, then where Debian puts them. Without them tests skip, loudly;
//! with `PUENTE_NO_SKIP` they fail.

use std::fs;
use std::io::Write as _;
use std::net::TcpListener;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tokio_postgres::{Client, NoTls};

use crate::records::{RecordSettings, StoreAt};

/// The superuser of the cluster.
pub(crate) const OWNER: &str = "owner";

pub(crate) struct Cluster {
    folder: tempfile::TempDir,
    bin: PathBuf,
    port: u16,
    /// Holds the server's life: it ends when its input does.
    keeper: Option<Child>,
}

fn programs() -> Option<PathBuf> {
    if let Some(bin) = std::env::var_os("PUENTE_POSTGRES_BIN") {
        return Some(bin.into());
    }
    let mut versions: Vec<PathBuf> =
        fs::read_dir("/usr/lib/postgresql").ok()?.flatten().map(|entry| entry.path().join("bin")).collect();
    versions.retain(|bin| bin.join("initdb").exists());
    versions.sort();
    versions.pop()
}

/// PostgreSQL refuses to run as root: then Debian's own user runs it.
fn as_user(folder: &Path) -> Option<[String; 4]> {
    (fs::metadata("/proc/self").unwrap().uid() == 0).then(|| {
        let users = fs::read_to_string("/etc/passwd").unwrap();
        let user = users.lines().find(|line| line.starts_with("postgres:")).expect("a user 'postgres'");
        let ids: Vec<u32> = user.split(':').skip(2).take(2).map(|id| id.parse().unwrap()).collect();
        std::os::unix::fs::chown(folder, Some(ids[0]), Some(ids[1])).unwrap();
        [
            "setpriv".to_owned(),
            format!("--reuid={}", ids[0]),
            format!("--regid={}", ids[1]),
            "--clear-groups".to_owned(),
        ]
    })
}

impl Cluster {
    /// A running server, or none where PostgreSQL is not installed.
    #[allow(clippy::print_stderr)]
    pub(crate) fn start() -> Option<Self> {
        let Some(bin) = programs() else {
            assert!(
                std::env::var_os("PUENTE_NO_SKIP").is_none(),
                "PostgreSQL is not installed and PUENTE_NO_SKIP forbids to skip: apt-get install postgresql"
            );
            eprintln!("SKIPPED: no PostgreSQL here (apt-get install postgresql, or PUENTE_POSTGRES_BIN)");
            return None;
        };
        let folder = tempfile::tempdir().unwrap();
        let mut cluster = Self { folder, bin, port: 0, keeper: None };
        let data = cluster.data();
        let init = ["--no-sync", "--no-locale", "--auth=trust", "-E", "UTF8", "-U", OWNER, "-D"];
        let done = cluster.command("initdb").args(init).arg(&data).output().unwrap();
        assert!(done.status.success(), "initdb: {}", String::from_utf8_lossy(&done.stderr));
        let socket = cluster.folder.path().display();
        cluster.configure(&format!(
            "listen_addresses = '127.0.0.1'\nunix_socket_directories = '{socket}'\nfsync = off\n\
             shared_buffers = 64MB\nmax_connections = 40\n"
        ));
        for _ in 0..10 {
            // Somebody else may take it before the server does: then another.
            cluster.port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
            cluster.configure(&format!("port = {}\n", cluster.port));
            if cluster.try_run() {
                return Some(cluster);
            }
        }
        panic!("no port is free");
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    fn command(&self, program: &str) -> Command {
        let program = self.bin.join(program);
        let mut command = match as_user(self.folder.path()) {
            Some([first, rest @ ..]) => {
                let mut command = Command::new(first);
                command.args(rest).arg(program);
                command
            }
            None => Command::new(program),
        };
        command.current_dir(self.folder.path());
        command
    }

    /// Adds lines to the configuration; in force at the next [`Cluster::run`].
    pub(crate) fn configure(&self, lines: &str) {
        let mut file = fs::OpenOptions::new().append(true).open(self.data().join("postgresql.conf")).unwrap();
        file.write_all(lines.as_bytes()).unwrap();
    }

    /// Puts a line in front of the rules of who may connect.
    pub(crate) fn rule(&self, line: &str) {
        let path = self.data().join("pg_hba.conf");
        let rules = fs::read_to_string(&path).unwrap();
        fs::write(&path, format!("{line}\n{rules}")).unwrap();
    }

    /// Writes a file that the server's user owns.
    pub(crate) fn file(&self, name: &str, content: &str) {
        let path = self.data().join(name);
        fs::write(&path, content).unwrap();
        let owner = fs::metadata(self.data()).unwrap();
        std::os::unix::fs::chown(&path, Some(owner.uid()), Some(owner.gid())).unwrap();
        use std::os::unix::fs::PermissionsExt as _;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    }

    /// Starts the server and waits until it answers.
    pub(crate) fn run(&mut self) {
        // Nobody keeps the port of a server that is down for long.
        assert!((0..100).any(|_| self.try_run()), "somebody else has taken the server's port");
    }

    /// False if somebody else has the port.
    fn try_run(&mut self) -> bool {
        let script = "\"$@\" >server.log 2>&1 & server=$!; cat >/dev/null; kill -QUIT $server; wait $server";
        let postgres = self.bin.join("postgres");
        let mut command = match as_user(self.folder.path()) {
            Some([first, rest @ ..]) => {
                let mut command = Command::new(first);
                command.args(rest).arg("sh");
                command
            }
            None => Command::new("sh"),
        };
        command.current_dir(self.folder.path()).args(["-c", script, "sh"]).arg(postgres).arg("-D").arg(self.data());
        self.keeper = Some(command.stdin(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap());
        let began = Instant::now();
        let port = self.port.to_string();
        // Over the socket, which is nobody else's.
        let socket = self.folder.path().display().to_string();
        while !self.command("pg_isready").args(["-q", "-h", &socket, "-p", &port]).status().unwrap().success() {
            let log = fs::read_to_string(self.folder.path().join("server.log")).unwrap_or_default();
            if log.contains("could not create any TCP/IP sockets") {
                self.kill();
                std::thread::sleep(Duration::from_millis(100));
                return false;
            }
            assert!(began.elapsed() < Duration::from_secs(60), "the server does not start: {log}");
            std::thread::sleep(Duration::from_millis(50));
        }
        true
    }

    /// Kills the server as a power cut would, whatever it is doing.
    pub(crate) fn kill(&mut self) {
        if let Some(mut keeper) = self.keeper.take() {
            drop(keeper.stdin.take());
            keeper.wait().unwrap();
        }
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// `store` of `[records]`, over the local socket.
    pub(crate) fn url(&self, user: &str, database: &str) -> String {
        let socket = self.folder.path().display().to_string().replace('/', "%2F");
        format!("postgres://{user}@{socket}:{}/{database}", self.port)
    }

    pub(crate) fn settings(&self, user: &str) -> RecordSettings {
        let store = StoreAt::try_from(self.url(user, "postgres")).unwrap();
        RecordSettings { store, ..RecordSettings::default() }
    }

    /// Does something over a connection of the superuser's.
    pub(crate) async fn client(&self, user: &str) -> Client {
        let at = format!("host=127.0.0.1 port={} user={user} dbname=postgres", self.port);
        let (client, connection) = tokio_postgres::connect(&at, NoTls).await.unwrap();
        tokio::spawn(connection);
        client
    }

    /// Runs statements as the superuser.
    pub(crate) fn execute(&self, sql: &str) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async { self.client(OWNER).await.batch_execute(sql).await.unwrap() });
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.kill();
    }
}
