use std::future::Future;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use serde_json::Value;
use socket2::{Domain, SockAddr, Socket, Type};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;

use super::{COMMAND_BYTES_MAX, IN_FLIGHT_MAX, Reply, Request, failure};
use crate::control_api::{Answer, Command};

/// Replies that wait for a client who does not read.
const REPLIES_MAX: usize = 1_024;
/// Clients at once, where the process may open enough files.
const CLIENTS_MAX: usize = 64;
/// Descriptors that clients never get: log, stores and network come first, and a log that cannot be written for want
/// of one stays shut until the next start.
const DESCRIPTORS_KEPT: usize = 32;
/// The longest path of a Unix socket, in bytes.
const SOCKET_PATH_MAX: usize = 100;

/// What carries out commands: the running node.
pub trait Backend: Send + Sync + 'static {
    /// Carries out one command. Dropping the future gives up on it.
    fn carry_out(&self, command: Command) -> impl Future<Output = Answer> + Send;
}

/// Why the socket could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// Another node runs in this folder.
    #[error("a node is already running here ({0} answers); stop it with 'puente node stop'")]
    Running(PathBuf),
    /// The path is too long for a Unix socket.
    #[error("{path} is too long for a socket ({bytes} bytes, at most {SOCKET_PATH_MAX}); use a shorter folder")]
    TooLong {
        /// The path.
        path: PathBuf,
        /// Its length.
        bytes: usize,
    },
    /// The socket could not be made.
    #[error("cannot make the control socket {path}: {why}")]
    Io {
        /// The path.
        path: PathBuf,
        /// Why.
        why: io::Error,
    },
}

/// The control socket, and how many clients the process has descriptors for.
#[derive(Debug)]
pub struct Listener {
    socket: UnixListener,
    clients: usize,
}

/// How many clients the descriptors of this process allow; at least one.
fn clients_max() -> usize {
    // Opened and closed again at once, before anybody else needs any: what can be had now is what there is.
    let open = || std::fs::File::open("/dev/null").ok();
    let free = (0..CLIENTS_MAX + DESCRIPTORS_KEPT).map_while(|_| open()).collect::<Vec<_>>().len();
    free.saturating_sub(DESCRIPTORS_KEPT).max(1)
}

/// Makes the socket, readable and writable by its owner alone from its first moment on. Replaces one that a node
/// left behind when it was killed. Call it inside a Tokio runtime, before the node's other parts start.
///
/// # Errors
/// [`ServeError`].
pub fn bind(path: &Path) -> Result<Listener, ServeError> {
    let fresh = path.with_extension("sock.new");
    let bytes = fresh.as_os_str().len();
    if bytes > SOCKET_PATH_MAX {
        return Err(ServeError::TooLong { path: path.to_owned(), bytes });
    }
    if std::os::unix::net::UnixStream::connect(path).is_ok() {
        return Err(ServeError::Running(path.to_owned()));
    }
    let make = || {
        match std::fs::remove_file(&fresh) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
        socket.bind(&SockAddr::unix(&fresh)?)?;
        // Nobody can connect before it listens.
        std::fs::set_permissions(&fresh, std::fs::Permissions::from_mode(0o600))?;
        socket.listen(64)?;
        socket.set_nonblocking(true)?;
        std::fs::rename(&fresh, path)?;
        UnixListener::from_std(socket.into())
    };
    let socket = make().map_err(|why| ServeError::Io { path: path.to_owned(), why })?;
    Ok(Listener { socket, clients: clients_max() })
}

/// Serves clients until the future is dropped.
pub async fn serve<B: Backend>(listener: Listener, backend: Arc<B>) {
    let places = Arc::new(Semaphore::new(listener.clients));
    let mut clients = JoinSet::new();
    loop {
        let Ok(place) = places.clone().acquire_owned().await else { return };
        while clients.try_join_next().is_some() {}
        match listener.socket.accept().await {
            Ok((stream, _)) => {
                let backend = backend.clone();
                clients.spawn(async move {
                    client(stream, backend).await;
                    drop(place);
                });
            }
            Err(error) => {
                // Out of descriptors, most likely: others may finish.
                tracing::warn!("control socket: {error}");
                tokio::time::sleep(std::time::Duration::from_millis(100)).await;
            }
        }
    }
}

/// Serves one client until it closes its side; then its requests are given up.
async fn client<B: Backend>(stream: UnixStream, backend: Arc<B>) {
    let (read, write) = stream.into_split();
    let (replies, waiting) = mpsc::channel(REPLIES_MAX);
    let writing = tokio::spawn(answer(write, waiting));
    let places = Arc::new(Semaphore::new(IN_FLIGHT_MAX));
    let mut requests = JoinSet::new();
    let mut reader = BufReader::with_capacity(64 * 1024, read);
    let mut line = Vec::new();
    loop {
        line.clear();
        let limit = COMMAND_BYTES_MAX as u64 + 1;
        match (&mut reader).take(limit).read_until(b'\n', &mut line).await {
            Ok(0) | Err(_) => break,
            Ok(_) => {}
        }
        if line.len() > COMMAND_BYTES_MAX {
            let hint = "keep a command in one line of at most 256 KiB";
            refuse(&replies, 0, failure("oversized", "the command is too long", hint)).await;
            break;
        }
        let request: Request = match serde_json::from_slice(&line) {
            Ok(request) => request,
            Err(error) => {
                // The text may quote the command; it goes to nobody but whoever sent it.
                let id = serde_json::from_slice::<Value>(&line).ok().and_then(|v| v.get("id")?.as_u64()).unwrap_or(0);
                refuse(&replies, id, failure("malformed", error, "send commands as the protocol describes them")).await;
                continue;
            }
        };
        let Ok(place) = places.clone().acquire_owned().await else { break };
        while requests.try_join_next().is_some() {}
        let (backend, replies) = (backend.clone(), replies.clone());
        let start = Instant::now();
        requests.spawn(async move {
            let answer = backend.carry_out(request.command).await;
            let micros = u64::try_from(start.elapsed().as_micros()).unwrap_or(u64::MAX);
            // Fails only if the client is gone.
            let _ = replies.send(Reply { id: request.id, micros, answer }).await;
            drop(place);
        });
    }
    drop(requests);
    drop(replies);
    // The writer ends when the last reply is written or the client is gone.
    let _ = writing.await;
}

async fn refuse(replies: &mpsc::Sender<Reply>, id: u64, answer: Answer) {
    // Fails only if the client is gone.
    let _ = replies.send(Reply { id, micros: 0, answer }).await;
}

async fn answer(mut write: tokio::net::unix::OwnedWriteHalf, mut replies: mpsc::Receiver<Reply>) {
    let mut batch = Vec::new();
    let mut out = Vec::new();
    while replies.recv_many(&mut batch, REPLIES_MAX).await > 0 {
        out.clear();
        for reply in batch.drain(..) {
            // Replies are made of texts and numbers: they serialise.
            if serde_json::to_writer(&mut out, &reply).is_ok() {
                out.push(b'\n');
            }
        }
        if write.write_all(&out).await.is_err() {
            return;
        }
    }
}
