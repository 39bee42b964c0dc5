//! Invented records: they go when nobody has brought any in for so many days.
//!
//! The exercise is over then. All of them go, whatever their type says, each batch under an ERASE that is marked as
//! training; and what their imports left goes too, so that the same file can be brought in for the next exercise.

use puente_model::Millis;

use super::{BATCH_RECORDS, Gone, Recorder, Retention, RetentionError, enter};
use crate::config::NodeDir;
use crate::import::stage::Folder;
use crate::records::RecordSettings;
use crate::training::{TrainingConfig, marked_type};

const DAY: u64 = 86_400_000;

impl Retention<'_> {
    /// How many invented records of each type are due at this time: nothing is changed. Blocks.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn training_due(&self, config: &TrainingConfig, now: Millis) -> Result<Gone, RetentionError> {
        let (dir, settings) = (self.dir.training(), RecordSettings::default());
        let job = Retention { dir: &dir, settings: &settings, ..*self };
        if !dir.records().exists() || !over(&dir, config, now)? {
            return Ok(Gone::new());
        }
        job.left()
    }

    /// Erases the invented records, all of them, once none was brought in for as long as `config` says.
    ///
    /// # Errors
    /// As [`Retention::run`].
    pub async fn run_training(
        &self,
        config: &TrainingConfig,
        log: &impl Recorder,
        now: Millis,
    ) -> Result<Gone, RetentionError> {
        let (dir, settings) = (self.dir.training(), RecordSettings::default());
        let job = Retention { dir: &dir, settings: &settings, ..*self };
        let mut gone = Gone::new();
        if !dir.records().exists() {
            return Ok(gone);
        }
        job.finish_earlier(log, &mut gone).await?;
        if !over(&dir, config, now)? {
            tokio::task::block_in_place(|| job.forget())?;
            return Ok(gone);
        }
        let rule = format!("training+{}d", config.kept_days);
        for record_type in tokio::task::block_in_place(|| job.types())? {
            loop {
                let page = tokio::task::block_in_place(|| job.some(&record_type))?;
                if page.is_empty() {
                    break;
                }
                let path = job.stage(&record_type, &rule, true, &page)?;
                job.carry_on(path, log, &mut gone).await?;
            }
        }
        let through = tokio::task::block_in_place(|| job.clear_imports())?;
        job.note_last(now, through, &gone)?;
        Ok(gone)
    }

    fn types(&self) -> Result<Vec<String>, RetentionError> {
        let Some(mut store) = self.store()? else { return Ok(Vec::new()) };
        Ok(store.counts()?.into_iter().map(|(record_type, _)| record_type).collect())
    }

    fn left(&self) -> Result<Gone, RetentionError> {
        let Some(mut store) = self.store()? else { return Ok(Gone::new()) };
        Ok(store.counts()?.into_iter().map(|(record_type, count)| (marked_type(&record_type), count)).collect())
    }

    fn some(&self, record_type: &str) -> Result<Vec<Vec<u8>>, RetentionError> {
        let Some(mut store) = self.store()? else { return Ok(Vec::new()) };
        Ok(store.page(record_type, 0, BATCH_RECORDS)?.into_iter().map(|(_, bytes)| bytes).collect())
    }

    fn clear_imports(&self) -> Result<bool, RetentionError> {
        let folder = Folder::new(&self.dir.imports());
        let Some(turn) = enter(&folder)? else { return Ok(false) };
        folder.clear(&turn)?;
        for path in self.files(&["erased"])? {
            std::fs::remove_file(&path).map_err(super::file(&path))?;
        }
        Ok(true)
    }
}

/// Whether nobody brought any in for as long as they are kept. What no batch tells of, somebody put there by hand.
fn over(dir: &NodeDir, config: &TrainingConfig, now: Millis) -> Result<bool, RetentionError> {
    let newest = Folder::new(&dir.imports()).newest()?.unwrap_or(0);
    Ok(now.since(Millis(newest)) > u64::from(config.kept_days) * DAY)
}
