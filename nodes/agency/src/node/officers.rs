//! The roll of officers who may ask: only those whose grant stands in the log.

use std::sync::{Mutex, PoisonError};

use puente_charter::{OfficerError, OfficerRecord, Officers};
use puente_model::{Millis, OfficerId, Role};
use puente_wire::Officer;

use crate::approval::grants::{self, Settled};
use crate::approval::{AccessChange as _, Approvals};
use crate::config::NodeDir;
use crate::driver::DriverHandle;
use crate::files::Reread;
use crate::officers::{self, Change, OfficerBook, OfficerBookError};
use crate::ops::expiry::Ending;

/// The officers in force, read again whenever the recorded file changes.
pub(super) struct Roll {
    dir: NodeDir,
    in_force: Mutex<Reread<Officers, 1>>,
    /// One settles at a time: nothing is recorded twice.
    settling: tokio::sync::Mutex<()>,
}

impl Roll {
    pub(super) fn open(dir: &NodeDir) -> Result<Self, OfficerBookError> {
        let mut in_force = Reread::new([dir.officers_recorded()]);
        in_force.now(|| officers::in_force(dir))?;
        Ok(Self { dir: dir.clone(), in_force: Mutex::new(in_force), settling: tokio::sync::Mutex::default() })
    }

    /// Something of the officers in force; none while their file cannot be read.
    fn look<T>(&self, at: impl FnOnce(&Officers) -> T) -> Option<T> {
        let mut in_force = self.in_force.lock().unwrap_or_else(PoisonError::into_inner);
        match in_force.now(|| officers::in_force(&self.dir)) {
            Ok(officers) => Some(at(officers)),
            // Half a change must not let anybody ask: nobody does until the file is whole again.
            Err(error) => {
                tracing::error!("officers: {error}");
                None
            }
        }
    }

    /// Records what the log does not know yet: every revocation, and the grants, unless they wait for two operators.
    pub(super) async fn settle(
        &self,
        driver: &DriverHandle,
        approvals: &Approvals,
    ) -> Result<Settled, OfficerBookError> {
        let _alone = self.settling.lock().await;
        let now = super::now();
        let mut book = OfficerBook::open(&self.dir)?;
        let changes = book.changes(now);
        grants::settle(driver, approvals, &changes, now, Change::event, |change| book.recorded(change)).await
    }

    /// Grants that wait for two operators, and reviews of accesses in an emergency that are overdue.
    pub(super) fn open_matters(&self, approvals: &Approvals, now: Millis) -> (usize, usize) {
        let grants = |book: OfficerBook| book.changes(now).iter().filter(|change| change.is_grant()).count();
        let waiting = approvals.rule().map_or(0, |_| OfficerBook::open(&self.dir).map_or(0, grants));
        let overdue = |o: &&OfficerRecord| o.review_due().is_some_and(|due| due <= now);
        (waiting, self.look(|officers| officers.iter().filter(overdue).count()).unwrap_or_default())
    }

    /// When grants end. None of a file that cannot be read: nobody may ask then, and the log says so.
    pub(super) fn endings(&self, now: Millis) -> Vec<Ending> {
        self.look(|officers| officers::endings(officers, now)).unwrap_or_default()
    }

    /// How many grants have their end told of now.
    pub(super) fn told(&self, now: Millis) -> usize {
        self.look(|officers| officers::told(officers, now)).unwrap_or_default()
    }

    /// The role that was granted to an officer, in force or not.
    pub(super) fn role(&self, id: &OfficerId) -> Option<Role> {
        self.look(|officers| officers.find(id).map(|officer| officer.role)).flatten()
    }

    /// The officer, if the grant stands in the log and is in force now.
    pub(super) fn officer(&self, id: &OfficerId, now: Millis) -> Result<Officer, OfficerError> {
        let found = self.look(|officers| {
            let record = officers.active(id, now)?;
            Ok(Officer { id: record.id.clone(), name: record.name.clone(), role: record.role, expires: record.expires })
        });
        found.unwrap_or(Err(OfficerError::Unknown))
    }
}
