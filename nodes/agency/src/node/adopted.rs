//! Which charter and policies the log says are in force: a start under others is an entry of its own.
//!
//! `adopted.recorded.toml` names what was last recorded. It is written after the entries are durable, so a crash
//! between the two makes the next start record them again; it never loses one.

use std::io;
use std::path::Path;

use puente_charter::Charter;
use puente_exchange::api::{Conclusion, LocalEvent};
use puente_model::{CharterVector, Digest, EventKind};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::RunError;
use crate::approval::{ApprovalError, Approvals, Change, Consent};
use crate::config::NodeDir;
use crate::driver::DriverHandle;
use crate::files;

/// What rules a node, by number and hash.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Adopted {
    /// Numbers of the charter's parts.
    charter: String,
    /// Hash of the common part.
    common: String,
    /// Hash of the policy set.
    policies: String,
}

impl Adopted {
    /// These charter and policies.
    pub(super) fn of(charter: &Charter, policies: Digest) -> Self {
        Self {
            charter: charter.vector().to_string(),
            common: charter.common_hash().to_string(),
            policies: policies.to_string(),
        }
    }

    /// What the log knows, and the entries that lead from there to this.
    ///
    /// # Errors
    /// What was recorded last cannot be read.
    pub(super) fn since(&self, dir: &NodeDir, consent: &Consent) -> Result<Vec<LocalEvent>, io::Error> {
        Ok(self.events(&Self::read(&dir.adopted_recorded())?, consent))
    }

    /// Whether this is under a charter.
    pub(super) fn is_under(&self, vector: &str) -> bool {
        self.charter == vector
    }

    /// Writes down that the log knows this.
    ///
    /// # Errors
    /// The file cannot be written.
    pub(super) fn write(&self, dir: &NodeDir) -> Result<(), io::Error> {
        let text = toml::to_string(self).map_err(io::Error::other)?;
        files::replace(&dir.adopted_recorded(), text.as_bytes(), true)
    }

    /// What the log knows; nothing if that cannot be told, since an entry twice is better than none.
    fn read(path: &Path) -> Result<Self, io::Error> {
        match files::read_text(path) {
            Ok(text) => Ok(toml::from_str(&text).unwrap_or_default()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Self::default()),
            Err(error) if error.kind() == io::ErrorKind::InvalidData => Ok(Self::default()),
            Err(error) => Err(error),
        }
    }

    /// The entries that lead from `before` to this.
    fn events(&self, before: &Self, consent: &Consent) -> Vec<LocalEvent> {
        let mut out = Vec::new();
        if (&self.charter, &self.common) != (&before.charter, &before.common) {
            let detail = json!({"vector": self.charter, "common": self.common, "before": before.charter});
            out.push(event(EventKind::CharterAdopted, detail));
        }
        if self.policies != before.policies {
            let detail = json!({"policies": self.policies, "before": before.policies});
            out.push(stamped(event(EventKind::PolicyChange, detail), consent));
        }
        out
    }
}

fn event(kind: EventKind, detail: serde_json::Value) -> LocalEvent {
    let detail = detail.to_string().into_bytes();
    LocalEvent { kind, record_type: String::new(), count: 1, purpose: None, basis: None, role: None, detail }
}

/// The event with who approved it, if somebody had to.
fn stamped(event: LocalEvent, consent: &Consent) -> LocalEvent {
    match consent {
        Consent::Given(approved) => LocalEvent { detail: approved.stamp(&event.detail), ..event },
        _ => event,
    }
}

/// Hash of the policies that the log names; none before the first.
///
/// # Errors
/// What was recorded last cannot be read.
pub(crate) fn recorded_policies(dir: &NodeDir) -> Result<Option<Digest>, io::Error> {
    Ok(Adopted::read(&dir.adopted_recorded())?.policies.parse().ok())
}

/// Whether these policies may come into force: they are the ones that the log names, the node's first, or approved.
///
/// # Errors
/// What was recorded last, or the approvals, cannot be read.
pub(super) fn policies_consent(
    dir: &NodeDir,
    approvals: &Approvals,
    policies: Digest,
) -> Result<Consent, ApprovalError> {
    let known = recorded_policies(dir).map_err(|error| ApprovalError::File { path: dir.adopted_recorded(), error })?;
    match known {
        Some(known) if known != policies => approvals.consent(Change::Policies, known, policies, super::now()),
        _ => Ok(Consent::Free),
    }
}

/// Has the log name the operators that the folder asks for, if they may be in force: the first ones, and later ones
/// that two of those before approved. Says whether any changed, and how many approvals are still missing.
///
/// # Errors
/// A file cannot be read or written.
pub(super) async fn record_operators(
    approvals: &mut Approvals,
    driver: &DriverHandle,
) -> Result<Operators, ApprovalError> {
    let Some((from, to)) = approvals.rule_change() else { return Ok(Operators::Same) };
    let consent = approvals.consent(Change::Operators, from, to, super::now())?;
    if let Consent::Waits(_) = consent {
        tracing::warn!("other operators wait for two of those in force");
        return Ok(Operators::Waits);
    }
    let detail = json!({"operators": to.to_string(), "before": from.to_string()});
    match driver.event(stamped(event(EventKind::PolicyChange, detail), &consent)).await {
        Ok(Conclusion::Recorded { .. }) => {
            approvals.rule_recorded()?;
            tracing::info!("the operators who approve are recorded");
            Ok(Operators::Changed)
        }
        _ => Ok(Operators::NotRecorded),
    }
}

/// What came of the operators that the folder asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Operators {
    /// They are in force already.
    Same,
    /// They are in force now.
    Changed,
    /// They wait for two of those in force.
    Waits,
    /// The log cannot be written.
    NotRecorded,
}

/// The charter that the log names, if the folder's would go back behind it.
///
/// # Errors
/// What was recorded last cannot be read.
pub(super) fn behind(dir: &NodeDir, charter: &Charter) -> Result<Option<CharterVector>, io::Error> {
    let known = Adopted::read(&dir.adopted_recorded())?.charter.parse::<CharterVector>().ok();
    Ok(known.filter(|known| !charter.vector().covers(known)))
}

/// Records charter and policies unless the log names them as the last ones.
///
/// # Errors
/// What was recorded last cannot be read, or what is recorded now cannot be written down.
pub(super) async fn record(
    dir: &NodeDir,
    charter: &Charter,
    (policies, consent): (Digest, &Consent),
    driver: &DriverHandle,
) -> Result<(), RunError> {
    let path = dir.adopted_recorded();
    let failed = |error| RunError::Key { path: path.display().to_string(), error };
    let now = Adopted::of(charter, policies);
    let before = Adopted::read(&path).map_err(failed)?;
    for event in now.events(&before, consent) {
        let kind = event.kind;
        let Ok(Conclusion::Recorded { .. }) = driver.event(event).await else {
            // A log that takes no entries takes no questions either; the next start records it.
            tracing::error!(%kind, "what came into force could not be recorded");
            return Ok(());
        };
        tracing::info!(%kind, charter = now.charter, "recorded");
    }
    if now != before {
        now.write(dir).map_err(failed)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_log_knows_is_not_recorded_again() {
        let first = Adopted { charter: "1|mx=1".to_owned(), common: "aa".to_owned(), policies: "bb".to_owned() };
        let kinds = |now: &Adopted, before: &Adopted| {
            now.events(before, &Consent::Free).iter().map(|e| e.kind).collect::<Vec<_>>()
        };
        assert_eq!(kinds(&first, &Adopted::default()), [EventKind::CharterAdopted, EventKind::PolicyChange]);
        assert!(kinds(&first, &first).is_empty());
        let annex = Adopted { charter: "1|mx=2".to_owned(), ..first.clone() };
        assert_eq!(kinds(&annex, &first), [EventKind::CharterAdopted]);
        let policies = Adopted { policies: "cc".to_owned(), ..first.clone() };
        assert_eq!(kinds(&policies, &first), [EventKind::PolicyChange]);
    }

    #[test]
    fn a_torn_file_makes_the_node_record_again() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("adopted.recorded.toml");
        assert_eq!(Adopted::read(&path).unwrap(), Adopted::default());
        for torn in [&b"charter = \"1|m"[..], b"\xff\xfe", b"something = 1\n"] {
            std::fs::write(&path, torn).unwrap();
            assert_eq!(Adopted::read(&path).unwrap(), Adopted::default());
        }
        std::fs::remove_file(&path).unwrap();
        std::fs::create_dir(&path).unwrap();
        assert!(Adopted::read(&path).is_err());
    }
}
