//! What a service manager (systemd) hears: ready, stopping, alive, and how the node does in one line.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use sd_notify::NotifyState;
use tokio::time::timeout;

use super::Node;
use crate::ops::check::State;
use crate::ops::growth;
use puente_catalogue::Lang;

/// How often the clocks are compared, and the engine asked whether it turns.
const LOOK: Duration = Duration::from_secs(1);
/// How often the one line is written anew.
const STATUS: Duration = Duration::from_secs(30);

/// Milliseconds of a day.
const DAY_MILLIS: u64 = 86_400_000;

fn say(state: &[NotifyState<'_>]) {
    // Without a service manager there is nobody to tell; with one that is gone, too.
    if let Err(error) = sd_notify::notify(state) {
        tracing::debug!("the service manager cannot be told: {error}");
    }
}

/// The node serves.
pub(super) fn ready() {
    say(&[NotifyState::Ready, NotifyState::Status("serving")]);
}

/// The node takes nothing new on.
pub(super) fn stopping() {
    say(&[NotifyState::Stopping, NotifyState::Status("stopping: what is under way comes to its end")]);
}

/// Watches the clocks, and says that the node lives as long as its engine turns.
pub(super) async fn guard(node: Arc<Node>) {
    let watchdog = sd_notify::watchdog_enabled();
    let every = watchdog.map_or(LOOK, |within| LOOK.min(within / 3));
    let (mut told, mut noted) = (Instant::now(), None);
    loop {
        tokio::time::sleep(every).await;
        let today = super::now().0 / DAY_MILLIS;
        if noted != Some(today) {
            noted = Some(today);
            let dir = node.dir.clone();
            tokio::task::spawn_blocking(move || {
                if let Err(error) = growth::note(&dir, today) {
                    tracing::warn!("the folder's growth cannot be written down: {error}");
                }
            });
        }
        node.clock.look(SystemTime::now(), Instant::now());
        if let Some(within) = watchdog
            && timeout(within / 3, node.turns()).await.unwrap_or(false)
        {
            say(&[NotifyState::Watchdog]);
        }
        if std::env::var_os("NOTIFY_SOCKET").is_some() && told.elapsed() >= STATUS {
            told = Instant::now();
            let checks = node.checks().await;
            let worst = checks.iter().find(|check| check.state > State::Ok);
            let words = worst.map_or_else(|| "serving".to_owned(), |check| check.message(Lang::En));
            say(&[NotifyState::Status(&words)]);
        }
    }
}
