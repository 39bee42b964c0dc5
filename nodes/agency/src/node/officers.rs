//! The roll of officers who may ask: only those whose grant stands in the log.

use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use puente_charter::OfficerError;
use puente_exchange::api::Conclusion;
use puente_model::{Digest, EventKind, LeafIndex, Millis, OfficerId};
use puente_wire::Officer;

use crate::approval::{self, ApprovalError, Approvals, Consent};
use crate::config::NodeDir;
use crate::driver::DriverHandle;
use crate::officers::{OfficerBook, OfficerBookError, grants_digest};

/// Length and time of a file: it is read again when they change.
type Stamp = Option<(u64, SystemTime)>;

/// The officers in force, read again whenever the recorded file changes.
pub(super) struct Roll {
    dir: NodeDir,
    file: PathBuf,
    book: Mutex<(OfficerBook, Stamp)>,
}

/// What came of settling the officers with the log.
#[derive(Debug, Default)]
pub(super) struct Settled {
    /// What was recorded, and where.
    pub(super) recorded: Vec<(EventKind, LeafIndex)>,
    /// Grants that wait for two operators.
    pub(super) waiting: usize,
    /// Changes that the log did not take.
    pub(super) failed: usize,
}

/// Why officers could not be settled.
#[derive(Debug, thiserror::Error)]
pub(super) enum RollError {
    /// Their files.
    #[error(transparent)]
    Book(#[from] OfficerBookError),
    /// The operators' approvals.
    #[error(transparent)]
    Approval(#[from] ApprovalError),
}

fn stamp(file: &PathBuf) -> Stamp {
    let meta = std::fs::metadata(file).ok()?;
    Some((meta.len(), meta.modified().ok()?))
}

impl Roll {
    pub(super) fn open(dir: &NodeDir) -> Result<Self, OfficerBookError> {
        let file = dir.officers_recorded();
        let before = stamp(&file);
        let book = Mutex::new((OfficerBook::open(dir)?, before));
        Ok(Self { dir: dir.clone(), file, book })
    }

    fn book(&self) -> MutexGuard<'_, (OfficerBook, Stamp)> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Records what the log does not know yet: every revocation, and the grants, unless they wait for two operators.
    pub(super) async fn record(&self, driver: &DriverHandle, approvals: &Approvals) -> Result<Settled, RollError> {
        let now = super::now();
        let changes = {
            let mut book = self.book();
            // What people and commands wrote since.
            *book = (OfficerBook::open(&self.dir)?, stamp(&self.file));
            book.0.changes(now)
        };
        let consent = match grants_digest(&changes) {
            Some(grants) => approvals.consent(approval::Change::Officers, Digest::default(), grants, now)?,
            None => Consent::Free,
        };
        let mut settled = Settled::default();
        for change in changes {
            let mut event = change.event();
            match &consent {
                Consent::Waits(_) if change.is_grant() => {
                    settled.waiting += 1;
                    continue;
                }
                Consent::Given(approved) if change.is_grant() => event.detail = approved.stamp(&event.detail),
                _ => {}
            }
            match driver.event(event).await {
                Ok(Conclusion::Recorded { index }) => {
                    let mut book = self.book();
                    book.0.recorded(&change)?;
                    book.1 = stamp(&self.file);
                    settled.recorded.push((change.kind, index));
                }
                // Not in the log: not in force.
                _ => {
                    tracing::error!(kind = %change.kind, "a change of the officers could not be recorded");
                    settled.failed += 1;
                }
            }
        }
        if settled.waiting > 0 {
            tracing::warn!(grants = settled.waiting, "grants of officers wait for two operators");
        }
        Ok(settled)
    }

    /// Grants that wait for two operators, and reviews of accesses in an emergency that are overdue.
    pub(super) fn open_matters(&self, approvals: &Approvals, now: Millis) -> (usize, usize) {
        let book = self.book();
        let waiting = book.0.changes(now).iter().filter(|change| change.is_grant()).count();
        let overdue = book.0.in_force().iter().filter(|o| o.review_due().is_some_and(|due| due <= now)).count();
        (if approvals.rule().is_some() { waiting } else { 0 }, overdue)
    }

    /// The role that was granted to an officer, in force or not.
    pub(super) fn role(&self, id: &OfficerId) -> Option<puente_model::Role> {
        self.book().0.in_force().find(id).map(|officer| officer.role)
    }

    /// The officer, if the grant stands in the log and is in force now.
    pub(super) fn officer(&self, id: &OfficerId, now: Millis) -> Result<Officer, OfficerError> {
        let current = stamp(&self.file);
        let mut book = self.book();
        if book.1 != current {
            match OfficerBook::open(&self.dir) {
                Ok(read) => *book = (read, current),
                // Half a change must not let anybody ask: nobody does until the file is whole again.
                Err(error) => {
                    tracing::error!("officers: {error}");
                    return Err(OfficerError::Unknown);
                }
            }
        }
        let record = book.0.in_force().active(id, now)?;
        Ok(Officer { id: record.id.clone(), name: record.name.clone(), role: record.role, expires: record.expires })
    }
}
