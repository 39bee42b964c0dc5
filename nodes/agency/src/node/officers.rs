//! The roll of officers who may ask: only those whose grant stands in the log.

use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use puente_charter::OfficerError;
use puente_exchange::api::Conclusion;
use puente_model::{Millis, OfficerId};
use puente_wire::Officer;

use crate::config::NodeDir;
use crate::driver::DriverHandle;
use crate::officers::{OfficerBook, OfficerBookError};

/// Length and time of a file: it is read again when they change.
type Stamp = Option<(u64, SystemTime)>;

/// The officers in force, read again whenever the recorded file changes.
pub(super) struct Roll {
    dir: NodeDir,
    file: PathBuf,
    book: Mutex<(OfficerBook, Stamp)>,
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

    /// Records every grant and revocation that the log does not know yet.
    pub(super) async fn record(&self, driver: &DriverHandle) -> Result<(), OfficerBookError> {
        let changes = self.book().0.changes(super::now());
        for change in changes {
            match driver.event(change.event()).await {
                Ok(Conclusion::Recorded { .. }) => {
                    let mut book = self.book();
                    book.0.recorded(&change)?;
                    book.1 = stamp(&self.file);
                }
                // Not in the log: not in force.
                _ => tracing::error!(kind = %change.kind, "a change of the officers could not be recorded"),
            }
        }
        Ok(())
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
