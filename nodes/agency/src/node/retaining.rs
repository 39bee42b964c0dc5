//! The job that erases records that have been kept as long as they may be, in the running node.

use super::{Node, now};
use crate::control::failure;
use crate::control_api::Answer;
use crate::retention::{Gone, Last, Retention, RetentionError};

/// How long after a time that went through the next one is due, in milliseconds: a day, less the hour between two looks.
const EVERY_MILLIS: u64 = 23 * 3_600_000;

impl Node {
    /// Does the job if it is due.
    pub(super) async fn retain_daily(&self) {
        if now().0.saturating_sub(Last::read(&self.dir).at) < EVERY_MILLIS {
            return;
        }
        match self.retain().await {
            Ok(erased) => {
                for (record_type, count) in erased {
                    tracing::info!(record_type, count, "erased: kept as long as they may be");
                }
            }
            Err(error) => tracing::error!("records that are due could not be erased: {error}; {}", error.mend()),
        }
    }

    async fn retain(&self) -> Result<Gone, RetentionError> {
        // One at a time: the second finds nothing left to do.
        let _turn = self.retaining.lock().await;
        let (settings, catalogue) = (&self.bearings.config.records, &self.bearings.catalogue);
        let job = Retention { dir: &self.dir, settings, catalogue };
        let mut erased = job.run(&self.driver, now()).await?;
        erased.extend(job.run_training(&self.bearings.config.training, &self.driver, now()).await?);
        erased.retain(|_, count| *count > 0);
        Ok(erased)
    }

    /// Does the job now, for an operator.
    pub(super) async fn retain_now(&self) -> Answer {
        match self.retain().await {
            Ok(erased) => Answer::Retained { erased },
            Err(error) => failure("retention", &error, &error.mend()),
        }
    }
}
