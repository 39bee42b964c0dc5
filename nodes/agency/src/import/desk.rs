//! Carries an import through: staged, said to the log, stored; and what was left half done before that.

use std::path::PathBuf;

use puente_catalogue::{Catalogue, RecordType};
use puente_exchange::api::LocalEvent;
use rand_core::CryptoRngCore;

use super::batch::{self, Job, Probe, Seen, Sink, Summary};
use super::index::Index;
use super::resume::{self, ImportId};
use super::source::Source;
use super::stage::{self, Folder, Head, Staged, Staging};
use super::text::Encoding;
use super::{ImportError, Imported, Options, Outcome, RowError};
use crate::records::RecordStore;

/// Says to the log of a node that a batch was collected.
pub trait Log {
    /// The entry's index once it is durable; none while no node runs.
    ///
    /// # Errors
    /// The node does not record it.
    fn collect(&mut self, event: LocalEvent) -> Result<Option<u64>, ImportError>;
}

/// What people and programs hear while an import runs.
pub trait Audience {
    /// Something about a row, in the order of the file.
    ///
    /// # Errors
    /// It cannot be noted; the import stops.
    fn problem(&mut self, error: &RowError, outcome: Outcome) -> Result<(), ImportError>;

    /// A batch is staged, recorded (its index in the log) or passed over because it is in already.
    fn batch(&mut self, head: &Head, state: BatchState);

    /// So far: bytes of the file, rows read.
    fn progress(&mut self, bytes: u64, rows: u64);
}

/// What became of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BatchState {
    /// The log holds its COLLECT entry at this index; its records are found from now on.
    Recorded(u64),
    /// No node runs: it records the entry at its start, and the records are found from then on.
    Staged,
    /// An earlier import of this file staged or stored it.
    InAlready,
    /// An earlier import left it; now it is recorded (at this index, where that was still to be done) and stored.
    CarriedOn(Option<u64>),
}

/// An import, ready to run.
pub struct Desk<'a, L> {
    /// The folder `imports/`.
    pub folder: Folder,
    /// Where records are stored.
    pub records: RecordStore,
    /// The node's log.
    pub log: L,
    /// Who listens.
    pub audience: &'a mut dyn Audience,
    /// Only looks: nothing is staged.
    pub dry_run: bool,
}

impl<L: std::fmt::Debug> std::fmt::Debug for Desk<'_, L> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Desk({:?}, {:?})", self.folder, self.log)
    }
}

/// What is brought in.
#[derive(Debug)]
pub struct Order<'a> {
    /// The file.
    pub source: &'a Source,
    /// Its encoding, where a person said it.
    pub encoding: Option<Encoding>,
    /// What a person decided.
    pub options: &'a Options,
    /// Record types.
    pub catalogue: &'a Catalogue,
    /// The record type.
    pub record_type: &'a RecordType,
    /// On whose authority.
    pub authority: &'a str,
}

impl<L: Log> Desk<'_, L> {
    /// Brings a file in. `summary` tells how far it came, also when it fails.
    ///
    /// # Errors
    /// [`ImportError`]; batches that were told of are in, and a repeated import goes on after them.
    pub fn run(
        &mut self,
        order: &Order<'_>,
        rng: &mut impl CryptoRngCore,
        summary: &mut Summary,
    ) -> Result<Encoding, ImportError> {
        let _turn = if self.dry_run { None } else { Some(self.folder.enter()?) };
        let names = order.record_type.match_keys().iter().filter(|k| k.decisive());
        let decisive: Vec<String> = names.map(|k| k.name().to_owned()).collect();
        let waiting = self.carry_on(order.record_type.name(), &decisive)?;
        let source = order.source.open(order.encoding, order.options.lang)?;
        let encoding = source.encoding;
        let id = ImportId::new(order.catalogue, order.record_type, order.options, encoding);
        let done = resume::done(&self.folder, order.source, id, order.encoding, order.options)?;
        let heads: Vec<Head> = done.iter().map(|(_, head)| head.clone()).collect();
        let job = Job {
            record_type: order.record_type,
            options: order.options,
            authority: order.authority,
            id,
            done: &heads,
        };
        let record_type = order.record_type.name();
        let mut sink = ToDisk { desk: self, record_type, decisive: &decisive, done, waiting, staging: None };
        let ran = batch::run(source, &job, rng, &mut sink, summary);
        if let Some(staging) = sink.staging.take() {
            // Without a record in it, or cut off: whoever repeats the import reads these rows again.
            staging.abandon();
        }
        ran.map(|()| encoding)
    }

    /// Finishes what an earlier import left; what must wait for a node is put into an index.
    fn carry_on(&mut self, record_type: &str, decisive: &[String]) -> Result<Option<Index>, ImportError> {
        let mut index = None;
        for mut staged in self.folder.pending()? {
            let settled = match self.dry_run {
                true => false,
                false => match settle(&mut staged, &mut self.log, &mut self.records)? {
                    Settled::Stored(at) => {
                        self.audience.batch(staged.head(), BatchState::CarriedOn(at));
                        true
                    }
                    Settled::ByOther => true,
                    Settled::NoNode => false,
                },
            };
            if !settled && staged.head().record_type == record_type {
                if index.is_none() {
                    index = Some(Index::create(self.folder.path())?);
                }
                if let Some(index) = &index {
                    index.take(&staged, decisive)?;
                }
            }
        }
        Ok(index)
    }
}

enum Settled {
    Stored(Option<u64>),
    ByOther,
    NoNode,
}

/// Says a batch to the log and stores it.
fn settle(staged: &mut Staged, log: &mut impl Log, records: &mut RecordStore) -> Result<Settled, ImportError> {
    if !staged.is_held() && !staged.wait()? {
        return Ok(Settled::ByOther);
    }
    if staged.is_collected() {
        staged.clone().store(records)?;
        return Ok(Settled::Stored(None));
    }
    let index = match log.collect(staged.event()?)? {
        Some(index) => index,
        None => {
            staged.release();
            // A node that has begun to run meanwhile has taken the batch up, or has found it held and left it: to say it
            // again makes no second entry.
            let Some(index) = log.collect(staged.event()?)? else { return Ok(Settled::NoNode) };
            if !staged.wait()? {
                return Ok(Settled::ByOther);
            }
            index
        }
    };
    staged.collected()?;
    staged.clone().store(records)?;
    Ok(Settled::Stored(Some(index)))
}

/// Records go to the staging file, and from batch to batch into the log and the store.
struct ToDisk<'d, 'a, L> {
    desk: &'d mut Desk<'a, L>,
    record_type: &'d str,
    decisive: &'d [String],
    done: Vec<(PathBuf, Head)>,
    waiting: Option<Index>,
    staging: Option<Staging>,
}

impl<L: Log> ToDisk<'_, '_, L> {
    fn staging(&mut self) -> Result<&mut Staging, ImportError> {
        match &mut self.staging {
            Some(staging) => Ok(staging),
            none => Ok(none.insert(Staging::begin(&self.desk.folder)?)),
        }
    }
}

impl<L: Log> Sink for ToDisk<'_, '_, L> {
    fn look(&mut self, probes: &[Probe<'_>]) -> Result<Vec<Seen>, ImportError> {
        let mut seen = self.desk.records.seen(self.record_type, probes).map_err(stage::StageError::from)?;
        if let Some(waiting) = &self.waiting {
            for (seen, probe) in seen.iter_mut().zip(probes) {
                match waiting.look(self.record_type, probe)? {
                    Seen::Known => *seen = Seen::Known,
                    found if *seen == Seen::New => *seen = found,
                    _ => {}
                }
            }
        }
        Ok(seen)
    }

    fn record(&mut self, record: Imported) -> Result<(), ImportError> {
        if self.desk.dry_run {
            return Ok(());
        }
        Ok(self.staging()?.put(&record)?)
    }

    fn problem(&mut self, error: &RowError, outcome: Outcome) -> Result<(), ImportError> {
        if !self.desk.dry_run {
            self.staging()?.problem(error, outcome)?;
        }
        self.desk.audience.problem(error, outcome)
    }

    fn batch(&mut self, head: Head) -> Result<(), ImportError> {
        let Some(staging) = self.staging.take() else { return Ok(()) };
        let mut staged = staging.finish(head)?;
        let state = match settle(&mut staged, &mut self.desk.log, &mut self.desk.records)? {
            Settled::Stored(index) => BatchState::Recorded(index.unwrap_or_default()),
            Settled::ByOther | Settled::NoNode => {
                if !staged.is_gone() {
                    let index = match self.waiting.take() {
                        Some(index) => index,
                        None => Index::create(self.desk.folder.path())?,
                    };
                    index.take(&staged, self.decisive)?;
                    self.waiting = Some(index);
                }
                BatchState::Staged
            }
        };
        self.desk.audience.batch(staged.head(), state);
        Ok(())
    }

    fn passed(&mut self, nth: usize) -> Result<(), ImportError> {
        let Some((path, head)) = self.done.get(nth) else { return Ok(()) };
        let mut failed = None;
        let audience = &mut *self.desk.audience;
        stage::problems(path, &mut |error, outcome| {
            audience.problem(&error, outcome).map_err(|error| {
                let text = error.to_string();
                failed = Some(error);
                std::io::Error::other(text)
            })
        })
        .map_err(|error| failed.take().unwrap_or(error.into()))?;
        audience.batch(head, BatchState::InAlready);
        Ok(())
    }

    fn progress(&mut self, bytes: u64, rows: u64) {
        self.desk.audience.progress(bytes, rows);
    }
}
