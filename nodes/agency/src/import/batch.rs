//! Batches: rows looked up so that each record goes in once, and gathered up to a bounded size.
//!
//! What counts as what:
//!
//! - a row whose record (type and canonical bytes) another row of the same batch brings in, or that is in already, is
//!   a duplicate: counted, named with its line, kept once;
//! - a row that shares a decisive key (a VIN, for example) with another record goes in beside it, is counted and
//!   named: which of the two statements holds is for the agency to say, not for an import.

use std::collections::HashMap;
use std::io::BufRead;
use std::sync::Arc;

use puente_audit_log::{Frontier, leaf_hash};
use puente_catalogue::{ParsedRow, RecordType};
use puente_model::{Digest, Label, Secret32, digest};
use rand_core::CryptoRngCore;

use super::resume::ImportId;
use super::rows::{Found, Position, Reader};
use super::source::Opened;
use super::stage::{Head, Part};
use super::words::{Lang, Words};
use super::{Counts, ImportError, Imported, Options, Outcome, RowError, commit};
use crate::records::identity;

/// Records of one batch.
pub const BATCH_RECORDS_MAX: u64 = 100_000;
/// Bytes of records of one batch.
pub const BATCH_BYTES_MAX: usize = 128 << 20;
/// Rows that are looked up in one go.
const CHUNK_ROWS: usize = 25_000;
/// Bytes of records that are looked up in one go.
const CHUNK_BYTES: usize = 8 << 20;

const KEY: Label = Label("puente/v1/import-key");

/// A decisive key of a record.
#[derive(Clone, Copy)]
pub struct Key<'a> {
    /// Name of the key's definition.
    pub name: &'a str,
    /// Normal text.
    pub value: &'a str,
}

impl std::fmt::Debug for Key<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Key({})", self.name)
    }
}

impl Key<'_> {
    /// Stands for the key among those of a type.
    pub(crate) fn digest(&self, record_type: &str) -> [u8; 32] {
        digest(KEY, &[record_type.as_bytes(), self.name.as_bytes(), self.value.as_bytes()]).0
    }
}

/// What is looked up of one row.
#[derive(Debug, Clone)]
pub struct Probe<'a> {
    /// Which record it is.
    pub identity: Digest,
    /// Its decisive keys.
    pub decisive: Vec<Key<'a>>,
}

impl<'a> Probe<'a> {
    pub(crate) fn of(record_type: &str, bytes: &[u8], keys: &'a [(Arc<str>, String)], decisive: &[String]) -> Self {
        let decisive = keys.iter().filter(|(name, _)| decisive.iter().any(|decisive| **decisive == **name));
        Self {
            identity: identity(record_type, bytes),
            decisive: decisive.map(|(name, value)| Key { name, value }).collect(),
        }
    }
}

/// What is known of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Seen {
    /// Nothing.
    New,
    /// It is in.
    Known,
    /// Another with the decisive key of this number is in.
    SameKey(usize),
}

/// Where records and what there is to say about them go.
pub trait Sink {
    /// What of these is in already, one answer each.
    ///
    /// # Errors
    /// It cannot be found out; the import stops.
    fn look(&mut self, probes: &[Probe<'_>]) -> Result<Vec<Seen>, ImportError>;

    /// A record for the batch that is being gathered.
    ///
    /// # Errors
    /// It cannot be staged; the import stops.
    fn record(&mut self, record: Imported) -> Result<(), ImportError>;

    /// A bad row, or something about a good one; in the order of the file.
    ///
    /// # Errors
    /// It cannot be noted; the import stops.
    fn problem(&mut self, error: &RowError, outcome: Outcome) -> Result<(), ImportError>;

    /// The records since the last batch are one: stage it, record it, store it.
    ///
    /// # Errors
    /// It cannot be; the import stops.
    fn batch(&mut self, head: Head) -> Result<(), ImportError>;

    /// A batch of this file that is in already is passed over; `nth` of those that were given.
    ///
    /// # Errors
    /// What there was to say about its rows cannot be said again.
    fn passed(&mut self, nth: usize) -> Result<(), ImportError>;

    /// So far: bytes of the file, rows read.
    fn progress(&mut self, bytes: u64, rows: u64);
}

/// What an import is, beside its rows.
#[derive(Debug, Clone)]
pub struct Job<'a> {
    /// Record type of the catalogue.
    pub record_type: &'a RecordType,
    /// What a person decided.
    pub options: &'a Options,
    /// On whose authority.
    pub authority: &'a str,
    /// Stands for everything that decides what the rows of a file become.
    pub id: ImportId,
    /// Batches of this file that are in, from its beginning on and without gaps.
    pub done: &'a [Head],
}

/// What came of an import.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Summary {
    /// All rows of the file.
    pub counts: Counts,
    /// Those of batches that were in before.
    pub before: Counts,
}

struct Pending {
    line: u64,
    row: ParsedRow,
    keys: Vec<(Arc<str>, String)>,
}

enum Item {
    Row(Box<Pending>),
    Bad(u64, Vec<RowError>),
}

/// Reads a whole file, a row at a time; memory is bounded whatever the file holds. On failure what was read so far
/// stands in `summary`.
///
/// # Errors
/// The file cannot be read, is no table of this record type, changes while it is read, or the sink refuses.
pub fn run(
    source: Opened,
    job: &Job<'_>,
    rng: &mut impl CryptoRngCore,
    sink: &mut dyn Sink,
    summary: &mut Summary,
) -> Result<(), ImportError> {
    let encoding = source.encoding;
    let mut reader = Reader::new(source, encoding, job.record_type, job.options)?;
    let mut from = 0;
    for (nth, head) in job.done.iter().enumerate() {
        let Some(part) = &head.part else { continue };
        reader.skip_to(&Position { bytes: part.to, digest: part.digest.parse().unwrap_or_default() })?;
        from = part.to;
        summary.counts.add(&head.counts);
        summary.before.add(&head.counts);
        sink.passed(nth)?;
        sink.progress(reader.bytes(), summary.counts.rows);
    }
    let names = job.record_type.match_keys().iter().filter(|k| k.decisive()).map(|k| k.name().to_owned());
    let mut gather = Gather {
        job,
        rng,
        sink,
        summary,
        decisive: names.collect(),
        items: Vec::new(),
        item_bytes: 0,
        from,
        batch: Batch::default(),
    };
    while let Some(found) = reader.next()? {
        gather.take(found, &reader)?;
        // Where lines were read ahead the batch waits for the next row.
        if gather.is_full()
            && let Some(position) = reader.position()
        {
            gather.flush(&reader)?;
            if gather.batch.is_full() {
                gather.cut(&position)?;
            }
        }
        gather.sink.progress(reader.bytes(), gather.summary.counts.rows + gather.items.len() as u64);
    }
    gather.flush(&reader)?;
    if !reader.source().unchanged().map_err(ImportError::Read)? {
        // The last rows may be half of what they will be.
        return Err(ImportError::file("file-changed", job.options.lang, Words::Changed, &[]));
    }
    if let Some(position) = reader.position() {
        gather.cut(&position)?;
    }
    Ok(())
}

/// The batch that is being gathered.
#[derive(Default)]
struct Batch {
    tree: Frontier,
    counts: Counts,
    bytes: usize,
    /// Record → line, by the first half of its identity.
    seen: HashMap<[u8; 16], u64>,
    /// Decisive key → line, by the first half of its digest.
    keys: HashMap<[u8; 16], u64>,
}

impl Batch {
    fn is_full(&self) -> bool {
        self.counts.accepted >= BATCH_RECORDS_MAX || self.bytes >= BATCH_BYTES_MAX
    }
}

struct Gather<'a, R> {
    job: &'a Job<'a>,
    rng: &'a mut R,
    sink: &'a mut dyn Sink,
    summary: &'a mut Summary,
    decisive: Vec<String>,
    items: Vec<Item>,
    item_bytes: usize,
    /// Where the batch begins.
    from: u64,
    batch: Batch,
}

fn half(whole: &[u8; 32]) -> [u8; 16] {
    let mut out = [0; 16];
    out.iter_mut().zip(whole).for_each(|(to, from)| *to = *from);
    out
}

impl<R: CryptoRngCore> Gather<'_, R> {
    fn lang(&self) -> Lang {
        self.job.options.lang
    }

    fn take<S: BufRead>(&mut self, found: Found, reader: &Reader<'_, S>) -> Result<(), ImportError> {
        let item = match found {
            Found::Bad { line, errors } => Item::Bad(line, errors),
            Found::Good { line, row } => match self.job.record_type.match_keys_of(&row.record) {
                Ok(keys) => {
                    self.item_bytes += row.record.bytes().len();
                    let keys = keys.into_iter().map(|k| (k.name, k.value)).collect();
                    Item::Row(Box::new(Pending { line, row, keys }))
                }
                Err(error) => {
                    let parts = [&*error.to_string()];
                    Item::Bad(line, vec![RowError::new(None, "record", self.lang(), Words::OwnFault, &parts)])
                }
            },
        };
        self.items.push(item);
        // Twice the usual: only while no position between two rows was found.
        if self.items.len() >= 2 * CHUNK_ROWS || self.item_bytes >= 2 * CHUNK_BYTES {
            self.flush(reader)?;
        }
        Ok(())
    }

    fn is_full(&self) -> bool {
        self.items.len() >= CHUNK_ROWS || self.item_bytes >= CHUNK_BYTES
    }

    /// Looks up what waits, and takes into the batch what is new.
    fn flush<S: BufRead>(&mut self, reader: &Reader<'_, S>) -> Result<(), ImportError> {
        let items = std::mem::take(&mut self.items);
        self.item_bytes = 0;
        let record_type = self.job.record_type.name();
        let rows = items.iter().filter_map(|item| match item {
            Item::Row(pending) => Some(pending),
            Item::Bad(..) => None,
        });
        let probes: Vec<Probe<'_>> =
            rows.map(|p| Probe::of(record_type, p.row.record.bytes(), &p.keys, &self.decisive)).collect();
        let mut seen = self.sink.look(&probes)?.into_iter().zip(probes.iter());
        let mut verdicts = Vec::with_capacity(items.len());
        for item in &items {
            let (Item::Row(pending), Some((seen, probe))) =
                (item, if matches!(item, Item::Row(_)) { seen.next() } else { None })
            else {
                verdicts.push(None);
                continue;
            };
            verdicts.push(Some(self.judge(pending.line, seen, probe)));
        }
        drop(probes);
        for (item, verdict) in items.into_iter().zip(verdicts) {
            self.batch.counts.rows += 1;
            match (item, verdict) {
                (Item::Row(pending), Some(verdict)) => self.admit(*pending, verdict, reader)?,
                (Item::Row(_), None) => {}
                (Item::Bad(line, errors), _) => {
                    self.batch.counts.rejected += 1;
                    for error in errors {
                        self.sink.problem(&RowError { line, ..error }, Outcome::Rejected)?;
                    }
                }
            }
        }
        Ok(())
    }

    /// Whether a record is new, also among those of this batch.
    fn judge(&mut self, line: u64, seen: Seen, probe: &Probe<'_>) -> Verdict {
        let name = half(&probe.identity.0);
        if let Some(first) = self.batch.seen.get(&name) {
            return Verdict::SameAsLine(*first);
        }
        if seen == Seen::Known {
            return Verdict::Known;
        }
        self.batch.seen.insert(name, line);
        let mut verdict = match seen {
            Seen::SameKey(key) => {
                Verdict::KeyKnown(probe.decisive.get(key).map(|k| k.name.to_owned()).unwrap_or_default())
            }
            _ => Verdict::New,
        };
        for key in &probe.decisive {
            match self.batch.keys.entry(half(&key.digest(self.job.record_type.name()))) {
                std::collections::hash_map::Entry::Occupied(other) => {
                    if verdict == Verdict::New {
                        verdict = Verdict::KeyInLine(key.name.to_owned(), *other.get());
                    }
                }
                std::collections::hash_map::Entry::Vacant(free) => {
                    free.insert(line);
                }
            }
        }
        verdict
    }

    fn admit<S: BufRead>(
        &mut self,
        pending: Pending,
        verdict: Verdict,
        reader: &Reader<'_, S>,
    ) -> Result<(), ImportError> {
        let Pending { line, row, keys } = pending;
        let lang = self.lang();
        let say = |code: &str, words: Words, parts: &[&str]| RowError {
            line,
            ..RowError::new(None, code, lang, words, parts)
        };
        let doubt = match verdict {
            Verdict::SameAsLine(first) => {
                self.batch.counts.duplicates_in_batch += 1;
                let error = say("duplicate-row", Words::DuplicateRow, &[&first.to_string()]);
                return self.sink.problem(&error, Outcome::Duplicate);
            }
            Verdict::Known => {
                self.batch.counts.duplicates_in_store += 1;
                return self.sink.problem(&say("duplicate", Words::DuplicateRecord, &[]), Outcome::Duplicate);
            }
            Verdict::KeyKnown(name) => Some(say("same-key", Words::SameKeyRecord, &[&name])),
            Verdict::KeyInLine(name, other) => Some(say("same-key", Words::SameKeyRow, &[&name, &other.to_string()])),
            Verdict::New => None,
        };
        let mut salt = [0; 32];
        self.rng.fill_bytes(&mut salt);
        let salt = Secret32::new(salt);
        let overrides = overrides_json(&row);
        let record = row.record.into_bytes();
        let commitment = commit(&salt, self.job.record_type.name(), &record, &overrides);
        self.batch.tree.push(leaf_hash(commitment.as_bytes()));
        self.batch.bytes += record.len();
        let counts = &mut self.batch.counts;
        counts.accepted += 1;
        counts.warnings += row.warnings.len() as u64;
        counts.overridden += row.overrides.len() as u64;
        counts.same_key += u64::from(doubt.is_some());
        self.sink.record(Imported { record, keys, salt, commitment, overrides })?;
        let doubts = row.warnings.iter().map(|f| RowError { line, ..reader.of_finding(f) });
        for error in doubts.chain(doubt) {
            self.sink.problem(&error, Outcome::Doubt)?;
        }
        Ok(())
    }

    /// Ends the batch here; without a record it is none, which only the end of the file allows.
    fn cut(&mut self, position: &Position) -> Result<(), ImportError> {
        let batch = std::mem::take(&mut self.batch);
        if batch.counts.accepted == 0 {
            self.summary.counts.add(&batch.counts);
            return Ok(());
        }
        let counts = batch.counts;
        let part = Part {
            import: self.job.id.to_string(),
            from: self.from,
            to: position.bytes,
            digest: position.digest.to_string(),
        };
        self.from = position.bytes;
        let head = Head {
            record_type: self.job.record_type.name().to_owned(),
            authority: self.job.authority.to_owned(),
            provenance: self.job.options.profile.as_ref().map(|p| p.provenance.to_string()),
            counts: batch.counts,
            root: batch.tree.root().to_string(),
            part: Some(part),
        };
        self.sink.batch(head)?;
        self.summary.counts.add(&counts);
        Ok(())
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    New,
    Known,
    SameAsLine(u64),
    KeyKnown(String),
    KeyInLine(String, u64),
}

/// The overrides of a row, as they are stored with the record and committed.
fn overrides_json(row: &ParsedRow) -> String {
    if row.overrides.is_empty() {
        return String::new();
    }
    let list: Vec<_> = row
        .overrides
        .iter()
        .map(|o| serde_json::json!({"field": o.field, "problem": o.problem.code(), "reason": o.reason}))
        .collect();
    serde_json::Value::Array(list).to_string()
}
