//! The witness's process: from the command to the signal that ends it.

use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use puente_audit_log::Ed25519Signer;
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;

use crate::config::{Config, ConfigError, Folder, LogLevel};
use crate::desk::{Desk, OpenError};
use crate::http::{self, Limits};
use crate::store::{Store, StoreError};
use crate::tls::{self, TlsError};

/// How often counts are written down.
const COUNTS_EVERY: Duration = Duration::from_secs(2);

/// Why the witness does not run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum RunError {
    /// The configuration.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// What it remembers.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// TLS.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The address.
    #[error("cannot listen on {at}: {error}")]
    Listen { at: SocketAddr, error: io::Error },
    /// The operating system.
    #[error("the operating system gives no threads or signals: {0}")]
    System(io::Error),
}

impl From<StoreError> for RunError {
    fn from(error: StoreError) -> Self {
        Self::Open(error.into())
    }
}

/// Runs until SIGTERM or SIGINT; SIGHUP reads the configuration again. Says in one line on stdout when it is ready, and where; log lines go to stderr and name
/// logs alone.
pub(crate) fn run(
    folder: &Folder,
    signer: Ed25519Signer,
    listen: Option<SocketAddr>,
    ready: impl FnOnce(SocketAddr, usize) -> String,
    json_logs: bool,
) -> Result<(), RunError> {
    let config = Config::load(folder)?;
    log_lines(config.serve.log_level, json_logs);
    let rules = config.rules(folder)?;
    let (tls, certificates) = watch::channel(acceptor(folder, &config)?);
    let store = Store::open(&folder.state())?;
    let per_minute = config.serve.requests_per_minute;
    let desk = Arc::new(Desk::open(Box::new(signer), rules, store, folder.evidence(), per_minute)?);
    let limits = Limits {
        connections: config.serve.connections,
        connections_per_address: config.serve.connections_per_address,
        ..Limits::default()
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let runtime = runtime.map_err(RunError::System)?;
    let at = listen.unwrap_or(config.serve.listen);
    runtime
        .block_on(async {
            let mut terminate = signal(SignalKind::terminate()).map_err(RunError::System)?;
            let mut interrupt = signal(SignalKind::interrupt()).map_err(RunError::System)?;
            let hangup = signal(SignalKind::hangup()).map_err(RunError::System)?;
            let listener = TcpListener::bind(at).await.map_err(|error| RunError::Listen { at, error })?;
            let at = listener.local_addr().map_err(|error| RunError::Listen { at, error })?;
            let stop = async move {
                tokio::select! {
                    _ = terminate.recv() => {}
                    _ = interrupt.recv() => {}
                }
                tracing::info!("stopping");
            };
            let counting = tokio::spawn(count(desk.clone()));
            let reloading = tokio::spawn(reload(hangup, folder.clone(), config, desk.clone(), tls));
            let line = ready(at, desk.logs());
            let _ = writeln!(io::stdout(), "{line}").and_then(|()| io::stdout().flush());
            http::serve(listener, certificates, desk.clone(), limits, stop).await;
            counting.abort();
            reloading.abort();
            Ok(())
        })
        .inspect(|()| desk.write_counts())
}

fn acceptor(folder: &Folder, config: &Config) -> Result<Option<TlsAcceptor>, TlsError> {
    let path = |file: &Path| folder.path().join(file);
    match (&config.serve.tls_cert, &config.serve.tls_key) {
        (Some(certificate), Some(key)) => Ok(Some(tls::acceptor(&path(certificate), &path(key))?)),
        _ => Ok(None),
    }
}

/// At each SIGHUP: reads the configuration again. What does not hold changes nothing.
async fn reload(
    mut hangup: Signal,
    folder: Folder,
    mut config: Config,
    desk: Arc<Desk>,
    tls: watch::Sender<Option<TlsAcceptor>>,
) {
    while hangup.recv().await.is_some() {
        let (folder, served) = (folder.clone(), desk.clone());
        let read = tokio::task::spawn_blocking(move || {
            let next = Config::load(&folder)?;
            // Both are read before either comes into force.
            let (rules, certificate) = (next.rules(&folder)?, acceptor(&folder, &next)?);
            served.serve(&rules)?;
            Ok::<_, RunError>((next, certificate))
        });
        match read.await {
            Ok(Ok((next, certificate))) => {
                tls.send_replace(certificate);
                let (old, new) = (config.serve.at_start(), next.serve.at_start());
                if old != new {
                    tracing::warn!("changes of [serve] other than its certificate hold from the next start");
                }
                config = next;
                tracing::info!(logs = desk.logs(), "reloaded");
            }
            Ok(Err(error)) => tracing::error!("not reloaded, and everything stays as it was: {error}"),
            Err(error) => tracing::error!("not reloaded, and everything stays as it was: {error}"),
        }
    }
}

async fn count(desk: Arc<Desk>) {
    let mut ticks = tokio::time::interval(COUNTS_EVERY);
    loop {
        ticks.tick().await;
        let desk = desk.clone();
        let _ = tokio::task::spawn_blocking(move || desk.write_counts()).await;
    }
}

fn log_lines(level: LogLevel, json: bool) {
    let filter = tracing_subscriber::EnvFilter::new(format!("{},rustls=warn", level.as_str()));
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr).with_target(false);
    // Fails only if somebody else has taken charge of log lines.
    let _ = if json { lines.json().try_init() } else { lines.with_ansi(false).try_init() };
}
