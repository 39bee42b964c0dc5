//! A node's process: from the command to the signal that ends it.

use std::io::{self, Write as _};
use std::sync::Arc;
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::layer::{Layer as _, SubscriberExt as _};
use tracing_subscriber::util::SubscriberInitExt as _;

use super::{Node, RunError, service};
use crate::api::Door as ApiDoor;
use crate::config::NodeDir;
use crate::control;
use crate::keys::{PassphraseSource, Vault};
use crate::load::LoadError;
use crate::ops;

/// How often the node looks whether a notice of what ends is due.
const HOUR: Duration = Duration::from_secs(3_600);
/// How long clients have to read their last answers.
const FAREWELL: Duration = Duration::from_millis(200);

/// How to run a node.
#[derive(Debug, Clone, Default)]
pub struct RunOptions {
    /// Log lines as JSON.
    pub json_logs: bool,
    /// Leave the periods open when the node stops.
    pub leave_periods_open: bool,
    /// Let the kernel not cut packets (GSO off).
    pub no_segmentation_offload: bool,
    /// Where the passphrase of encrypted keys comes from.
    pub passphrase: PassphraseSource,
}

/// Runs the node in the folder `dir` until SIGTERM, SIGINT or [`crate::control_api::Command::Shutdown`]. Prints one line of JSON on
/// stdout when it is ready; log lines go to stderr and name nobody but nodes.
///
/// # Errors
/// Why it did not start, or what could not be written when it stopped.
pub fn run(dir: &NodeDir, options: &RunOptions) -> Result<(), RunError> {
    log_lines(dir, options);
    // A person is asked before anything starts, and by nobody else's thread.
    let vault = Arc::new(Vault::new(options.passphrase.clone()));
    let system = |what| move |error| RunError::System { what, error };
    // At least two: one may sit in a sync that the disk does not answer.
    let workers = std::thread::available_parallelism().map_or(2, |n| n.get().clamp(2, 4));
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(workers)
        .thread_name("net")
        .enable_all()
        .build()
        .map_err(system("threads"))?;
    let ended = runtime.block_on(async {
        let mut terminate = signal(SignalKind::terminate()).map_err(system("signals"))?;
        let mut interrupt = signal(SignalKind::interrupt()).map_err(system("signals"))?;
        let mut hangup = signal(SignalKind::hangup()).map_err(system("signals"))?;
        let listener = control::bind(&dir.control())?;
        // Before the node: that it is starting is worth knowing, too.
        let ops = crate::config::NodeConfig::load(dir).map_err(LoadError::from)?.ops;
        let door = ops.listen.map(ops::Door::open).transpose()?;
        let offload = !options.no_segmentation_offload;
        let starting = Node::start_with(dir.clone(), |net| net.segmentation_offload = offload, vault.clone());
        let node = Arc::new(starting.await?);
        let serving = tokio::spawn(control::serve(listener, node.clone()));
        if let Some(door) = &door {
            tracing::info!(at = %door.at(), "metrics and health");
            door.show(node.clone());
        }
        let api = match &node.bearings.config.api {
            Some(config) => Some(ApiDoor::open(config, node.clone(), dir, vault).await?),
            None => None,
        };
        let guarding = tokio::spawn(service::guard(node.clone()));
        say_ready(&node);
        let mut stop = node.stop.subscribe();
        // The first tick is now.
        let mut hourly = tokio::time::interval(HOUR);
        loop {
            tokio::select! {
                _ = terminate.recv() => break,
                _ = interrupt.recv() => break,
                _ = stop.wait_for(|stop| *stop) => break,
                _ = hangup.recv() => drop(node.reload().await),
                _ = hourly.tick() => {
                    node.count_down();
                    let node = node.clone();
                    tokio::spawn(async move { node.retain_daily().await });
                }
            }
        }
        tracing::info!("stopping");
        service::stopping();
        let end = async {
            node.drain().await;
            node.shut_down(options.leave_periods_open).await
        };
        let result = tokio::select! {
            result = end => result,
            // The log would wait for its key for ever. The journal holds everything that was acknowledged.
            error = node.token_away() => {
                tracing::warn!("stopping without the token: {error}");
                Ok(())
            }
            // Whoever asks twice does not want to wait: the journal holds everything acknowledged.
            _ = terminate.recv() => Ok(()),
            _ = interrupt.recv() => Ok(()),
        };
        node.stopped.send_replace(true);
        tokio::time::sleep(FAREWELL).await;
        serving.abort();
        guarding.abort();
        drop((door, api));
        // Another node's socket is never here: it would not have started.
        let _ = std::fs::remove_file(dir.control());
        if let Some(token) = node.keys.token() {
            // Here, not wherever its last user ends: a task that waits for it may outlive everything.
            token.close();
        }
        Ok(result?)
    });
    // A task that waits for a disk or a token would hold up the end for ever.
    runtime.shutdown_background();
    ended
}

fn say_ready(node: &Node) {
    service::ready();
    let mut stdout = io::stdout().lock();
    // Nobody may be listening any more.
    let _ = writeln!(stdout, "{}", node.ready()).and_then(|()| stdout.flush());
    tracing::info!(node = %node.bearings.config.node, "ready");
}

/// Log lines on stderr; a program that has its own keeps them.
fn log_lines(dir: &NodeDir, options: &RunOptions) {
    let level = crate::config::NodeConfig::load(dir).map(|config| config.log_level).unwrap_or_default();
    let filter =
        tracing_subscriber::EnvFilter::new(format!("{},quinn=warn,quinn_proto=warn,rustls=warn", level.as_str()));
    let lines = tracing_subscriber::fmt::layer().with_writer(io::stderr).with_target(false);
    let lines = if options.json_logs { lines.json().boxed() } else { lines.boxed() };
    let all = tracing_subscriber::registry().with(filter).with(lines).with(crate::ops::recent::Recent);
    // Fails only if somebody else has taken charge of log lines.
    let _ = all.try_init();
}
