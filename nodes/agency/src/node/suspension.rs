//! A log that takes no entries: because it comes from a backup and nobody has said that it may go on, or because a
//! peer showed that it lost its tail. `log.suspended.toml` says so across restarts.

use std::fmt;
use std::io;

use puente_audit_log::ClaimedCheckpoint;
use puente_exchange::api::Alarm;
use puente_model::Millis;
use serde::{Deserialize, Serialize};

use super::RunError;
use crate::config::NodeDir;
use crate::driver::AlarmHook;
use crate::files;
use crate::ops::check::{Words, w};

/// Why the log takes no entries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Why {
    /// It comes from a backup.
    Restored,
    /// A peer holds a signed head of it that it cannot prove.
    LostTail,
    /// Its successor is being prepared: the annex names the size that it has now.
    Closing,
}

impl Why {
    /// What is so, and what to do.
    pub(crate) const fn words(self) -> (Words, Words) {
        match self {
            Self::Restored => (
                w(
                    "the log comes from a backup: heads are compared with every partner, and nothing is recorded, asked or answered",
                ),
                w("once every partner agrees: stop the node, then 'puente log resume'"),
            ),
            Self::LostTail => (
                w(
                    "the log lost its tail: a partner holds a signed head that it cannot prove, and nothing is recorded, asked or answered",
                ),
                w("stop the node, then 'puente log successor': its partners hand over what was lost"),
            ),
            Self::Closing => (
                w("the log is being closed: nothing is recorded, asked or answered"),
                w(
                    "once the annex names its successor: stop the node, then 'puente log switch'; 'puente log resume' goes on if nothing was signed",
                ),
            ),
        }
    }
}

/// A suspension, as its file holds it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Suspension {
    /// Why.
    pub(crate) why: Why,
    /// Since when.
    pub(crate) since: String,
    /// Lost tail: who showed the head.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) peer: String,
    /// Lost tail: how many entries that head covers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) entries: Option<u64>,
}

impl Suspension {
    /// Of a log that was restored at `now`.
    pub(crate) fn restored(now: Millis) -> Self {
        Self { why: Why::Restored, since: now.to_string(), peer: String::new(), entries: None }
    }

    /// Writes it down.
    pub(crate) fn write(&self, dir: &NodeDir) -> io::Result<()> {
        let text = toml::to_string(self).map_err(io::Error::other)?;
        files::replace(&dir.suspension(), text.as_bytes(), false)
    }
}

impl fmt::Display for Suspension {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.why {
            Why::Restored => f.write_str(
                "this log comes from a backup: heads are compared with every partner, nothing is recorded, asked or \
                 answered; when every partner has agreed, stop the node and run 'puente log resume'",
            ),
            Why::Closing => f.write_str(
                "this log is being closed: nothing is recorded, asked or answered; once the annex names its successor, \
                 stop the node and run 'puente log switch'; 'puente log resume' goes on with it if nothing was signed",
            ),
            Why::LostTail => write!(
                f,
                "this log lost its tail: {} holds a signed head over {} entries that the log cannot prove; nothing is \
                 recorded, asked or answered; stop the node and run 'puente log successor'",
                self.peer,
                self.entries.unwrap_or_default(),
            ),
        }
    }
}

/// What the folder says.
///
/// # Errors
/// The file is there and cannot be read: then nothing starts, since a suspended log must not go on by accident.
pub(crate) fn read(dir: &NodeDir) -> Result<Option<Suspension>, RunError> {
    let path = dir.suspension();
    let failed = |error| RunError::Key { path: path.display().to_string(), error };
    match files::read_text(&path) {
        Ok(text) => toml::from_str(&text).map(Some).map_err(|error| failed(io::Error::other(error.message()))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(failed(error)),
    }
}

/// Writes a lost tail down as soon as a peer shows it, since the next start must not record anything either; then
/// passes the alarm on.
pub(super) fn remembering(dir: &NodeDir, next: AlarmHook) -> AlarmHook {
    let dir = dir.clone();
    Box::new(move |alarm: &Alarm| {
        if let Alarm::OwnLogBehind { peer, head } = alarm {
            let entries = ClaimedCheckpoint::parse(head).ok().map(|claimed| claimed.claimed().size().0);
            let since = super::now().to_string();
            let lost = Suspension { why: Why::LostTail, since, peer: peer.to_string(), entries };
            if let Err(error) = lost.write(&dir) {
                tracing::error!(%error, "the lost tail could not be written down: do not start this node again");
            }
        }
        next(alarm);
    })
}
