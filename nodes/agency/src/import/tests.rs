use std::io::{Cursor, Read};
use std::path::Path;
use std::sync::{Arc, Mutex};

use proptest::prelude::*;
use puente_audit_log::leaf_hash;
use puente_catalogue::Catalogue;
use puente_exchange::api::LocalEvent;
use puente_model::EventKind;
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng as _;

use super::batch::{Job, Probe, Seen, Sink, Summary};
use super::desk::{Audience, BatchState, Desk, Log, Order};
use super::resume::ImportId;
use super::source::{Source, open};
use super::stage::{Folder, Head, Step, Watch};
use super::text::Encoding;
use super::*;
use crate::config::NodeDir;
use crate::records::RecordStore;

#[derive(Default)]
pub(super) struct Kept {
    pub(super) records: Vec<Imported>,
    pub(super) errors: Vec<String>,
    duplicates: Vec<String>,
    doubts: usize,
    pub(super) heads: Vec<Head>,
}

impl Sink for Kept {
    fn look(&mut self, probes: &[Probe<'_>]) -> Result<Vec<Seen>, ImportError> {
        Ok(vec![Seen::New; probes.len()])
    }

    fn record(&mut self, record: Imported) -> Result<(), ImportError> {
        self.records.push(record);
        Ok(())
    }

    fn problem(&mut self, error: &RowError, outcome: Outcome) -> Result<(), ImportError> {
        match outcome {
            Outcome::Rejected => self.errors.push(error.to_string()),
            Outcome::Duplicate => self.duplicates.push(error.to_string()),
            Outcome::Doubt => self.doubts += 1,
        }
        Ok(())
    }

    fn batch(&mut self, head: Head) -> Result<(), ImportError> {
        self.heads.push(head);
        Ok(())
    }

    fn passed(&mut self, _: usize) -> Result<(), ImportError> {
        Ok(())
    }

    fn progress(&mut self, _: u64, _: u64) {}
}

thread_local! {
    static CATALOGUE: Arc<Catalogue> = Arc::new(Catalogue::builtin().unwrap());
}

pub(super) fn catalogue() -> Arc<Catalogue> {
    CATALOGUE.with(Arc::clone)
}

fn options(format: Format, overrides: &[(&str, &str)]) -> Options {
    let overrides = overrides.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
    Options { format, profile: None, overrides, lang: Lang::En }
}

pub(super) fn import_as(
    source: impl Read + 'static,
    encoding: Option<Encoding>,
    options: &Options,
) -> (Result<Counts, ImportError>, Kept) {
    let catalogue = catalogue();
    let mut kept = Kept::default();
    let record_type = options.profile.as_ref().map_or("Vehicle", |p| p.record_type.as_str());
    let record_type = catalogue.record_type(record_type).unwrap();
    let mut rng = ChaCha20Rng::from_seed([7; 32]);
    let mut summary = Summary::default();
    let ran = open(Box::new(source), encoding, options.lang).and_then(|source| {
        let id = ImportId::new(&catalogue, record_type, options, source.encoding);
        let job = Job { record_type, options, authority: "REPUVE", id, done: &[] };
        batch::run(source, &job, &mut rng, &mut kept, &mut summary)
    });
    (ran.map(|()| summary.counts), kept)
}

fn import_with(
    source: impl Read + 'static,
    format: Format,
    overrides: &[(&str, &str)],
) -> (Result<Counts, ImportError>, Kept) {
    import_as(source, Some(Encoding::Utf8), &options(format, overrides))
}

fn bytes(text: impl AsRef<[u8]>) -> Cursor<Vec<u8>> {
    Cursor::new(text.as_ref().to_vec())
}

fn csv(text: &[u8]) -> (Result<Counts, ImportError>, Kept) {
    import_with(bytes(text), Format::Csv, &[])
}

const HEADER: &str = "vin,plate,plate_jurisdiction,status,entering_agency,remarks\n";
const GOOD: &str = "1M8GDM9AXKP042788,ABC1234,US-TX,stolen,mx/fge-bc,\n";
const OTHER: &str = "WVWZZZ1KZFP000001,,,stolen,mx/fge-bc,\n";
const BAD_DIGIT: &str = "1M8GDM9A0KP042788,,,stolen,mx/fge-bc,\n";

#[test]
fn good_rows_go_in_and_bad_rows_are_named() {
    let text = format!("{HEADER}{GOOD}\n{BAD_DIGIT},,,stolen\n{OTHER}");
    let (summary, kept) = csv(text.as_bytes());
    let summary = summary.unwrap();
    assert_eq!((summary.rows, summary.accepted, summary.rejected), (4, 2, 2), "{:?}", kept.errors);
    assert_eq!(kept.records.len(), 2);
    assert!(
        kept.errors[0].starts_with("line 4, column vin: the check digit does not hold; compare"),
        "{:?}",
        kept.errors
    );
    assert!(kept.errors[1].starts_with("line 5, column entering_agency: the value is required"), "{:?}", kept.errors);
    assert!(!kept.errors.concat().contains("1M8GDM9A"), "an error names no value: {:?}", kept.errors);
    assert!(kept.records[0].keys.iter().any(|(name, value)| &**name == "vehicle.vin" && value == "1M8GDM9AXKP042788"));

    assert_eq!(kept.heads.len(), 1);
    let event = kept.heads[0].event();
    assert_eq!((event.kind, event.count, event.record_type.as_str()), (EventKind::Collect, 2, "Vehicle"));
    let root = puente_audit_log::root_of(kept.records.iter().map(|r| leaf_hash(r.commitment.as_bytes())));
    assert_eq!(kept.heads[0].root, root.to_string());
    let one = &kept.records[0];
    assert_eq!(one.commitment, commit(&one.salt, "Vehicle", &one.record, &one.overrides));
    assert_ne!(one.commitment, commit(&kept.records[1].salt, "Vehicle", &one.record, ""), "the salt counts");
    assert!(!format!("{one:?}").contains("1M8"));
}

#[test]
fn a_byte_order_mark_is_no_part_of_the_first_column() {
    let (summary, kept) = csv(format!("\u{feff}{HEADER}{GOOD}").as_bytes());
    assert_eq!(summary.unwrap().accepted, 1, "{:?}", kept.errors);
    let line = r#"{"vin":"1M8GDM9AXKP042788","status":"robado","entering_agency":"mx/fge-bc"}"#;
    let (summary, kept) = import_with(bytes(format!("\u{feff}{line}\r\n\n")), Format::JsonLines, &[]);
    assert_eq!(summary.unwrap().accepted, 1, "{:?}", kept.errors);
}

#[test]
fn latin_1_is_named_with_line_and_column() {
    let mut text = format!("{HEADER}{GOOD}").into_bytes();
    text.extend_from_slice(b"1M8GDM9AXKP042788,,,stolen,mx/fge-bc,Pe\xf1asco\n");
    text.extend_from_slice(OTHER.as_bytes());
    let (summary, kept) = csv(&text);
    assert_eq!(summary.unwrap().accepted, 2);
    assert_eq!(
        kept.errors,
        ["line 3, column remarks: not UTF-8: byte 0xF1 at position 3; it looks like Latin-1 or Windows-1252: \
          give --encoding windows-1252, or save the file as UTF-8 (in a spreadsheet: 'CSV UTF-8')"]
    );
    // The mend mends; and without a word about it the file is known for what it is.
    for said in [Some(Encoding::Windows1252), Some(Encoding::Latin1), None] {
        let (summary, kept) = import_as(bytes(&text), said, &options(Format::Csv, &[]));
        let summary = summary.unwrap();
        assert_eq!((summary.rejected, summary.accepted, summary.same_key), (0, 3, 1), "{said:?}: {:?}", kept.errors);
        let record = &kept.records[1].record;
        assert!(record.windows(8).any(|w| w == "Peñasco".as_bytes()), "{said:?}");
    }
    // The other way round: UTF-8 that is said to be something else is no mojibake in the records.
    let utf8 = format!("{HEADER}1M8GDM9AXKP042788,,,stolen,mx/fge-bc,Peñasco\n{OTHER}");
    let (summary, kept) = import_as(bytes(&utf8), Some(Encoding::Latin1), &options(Format::Csv, &[]));
    assert_eq!(summary.unwrap().accepted, 1);
    assert!(kept.errors[0].starts_with("line 2, column remarks: the value is UTF-8, the file is read as ISO-8859-1"));
    let (_, kept) = import_with(bytes(b"{\"remarks\":\"a\xf1o\"}\n"), Format::JsonLines, &[]);
    assert!(kept.errors[0].starts_with("line 1: not UTF-8"), "{:?}", kept.errors);
}

#[test]
fn utf_16_is_read_by_its_mark_and_refused_without_one() {
    let text = format!("{HEADER}1M8GDM9AXKP042788,,,stolen,mx/fge-bc,Peñasco\n{OTHER}");
    let units = || text.encode_utf16();
    let marked: Vec<u8> = std::iter::once(0xfeff).chain(units()).flat_map(u16::to_le_bytes).collect();
    let bare: Vec<u8> = units().flat_map(u16::to_be_bytes).collect();
    for (file, said) in [(&marked, None), (&bare, Some(Encoding::Utf16Be))] {
        let (summary, kept) = import_as(bytes(file), said, &options(Format::Csv, &[]));
        assert_eq!(summary.unwrap().accepted, 2, "{:?}", kept.errors);
        assert!(kept.records[0].record.windows(8).any(|w| w == "Peñasco".as_bytes()));
    }
    let (summary, _) = import_as(bytes(&bare), None, &options(Format::Csv, &[]));
    let Err(ImportError::File { code: "encoding", mend, .. }) = summary else { panic!("accepted") };
    assert!(mend.contains("--encoding utf-16le"), "{mend}");
}

#[test]
fn zero_bytes_ragged_rows_and_other_languages_are_named() {
    let text = format!("{HEADER}1M8GDM9AXKP042788,,,stolen,mx/fge-bc,a\0b\n{GOOD}a\n");
    let (summary, kept) = csv(text.as_bytes());
    assert_eq!(summary.unwrap().accepted, 1);
    assert!(kept.errors[0].starts_with("line 2, column remarks: a byte of zero at position 2"), "{:?}", kept.errors);
    assert!(kept.errors.iter().skip(1).all(|e| e.starts_with("line 4, column")), "{:?}", kept.errors);
    let spanish = Options { lang: Lang::Es, ..options(Format::Csv, &[]) };
    let (_, kept) = import_as(bytes(&text), None, &spanish);
    assert!(kept.errors[0].starts_with("line 2, column remarks: un byte cero"), "{:?}", kept.errors);
}

#[test]
fn duplicates_are_counted_and_named_each_in_its_way() {
    let lower = GOOD.to_lowercase();
    let other = GOOD.replace("ABC1234", "XYZ9876");
    let text = format!("{HEADER}{GOOD}{OTHER}{lower}{other}{GOOD}");
    let (summary, kept) = csv(text.as_bytes());
    let summary = summary.unwrap();
    assert_eq!((summary.rows, summary.accepted, summary.duplicates_in_batch, summary.same_key), (5, 3, 2, 1));
    assert!(kept.duplicates[0].starts_with("line 4: the same record as line 2"), "{:?}", kept.duplicates);
    assert!(kept.duplicates[1].starts_with("line 6: the same record as line 2"), "{:?}", kept.duplicates);
    // Each of two says that the VIN's maker is not North American, or the like; one, that the VIN is taken.
    assert_eq!((kept.doubts as u64, kept.records.len()), (summary.warnings + 1, 3));
}

#[test]
fn an_unknown_column_is_suggested_and_nothing_goes_in() {
    let (summary, kept) = csv(b"vin,plaet,status\n1,2,3\n");
    let Err(ImportError::File { code, message, mend }) = summary else { panic!("accepted") };
    assert_eq!(code, "unknown-column");
    assert!(message.contains("column 2 ('plaet')") && mend.contains("did you mean 'plate'"), "{message}; {mend}");
    assert!(kept.records.is_empty());
    // NCIC codes and labels are columns too, each field once.
    let (summary, _) = csv(b"VIN,NIV,status\n");
    assert!(matches!(summary, Err(ImportError::File { code: "duplicate-column", .. })), "{summary:?}");
    let line = r#"{"vni":"1M8GDM9AXKP042788","status":"stolen","entering_agency":"mx/fge-bc"}"#;
    let (_, kept) = import_with(bytes(line), Format::JsonLines, &[]);
    assert!(kept.errors[0].contains("column vni") && kept.errors[0].contains("'vin'"), "{:?}", kept.errors);
}

/// Counts what it handed out.
struct Endless {
    head: Vec<u8>,
    left: u64,
    tail: Vec<u8>,
}

impl Read for Endless {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        if !self.head.is_empty() {
            let n = self.head.len().min(to.len());
            to[..n].copy_from_slice(&self.head[..n]);
            self.head.drain(..n);
            return Ok(n);
        }
        if self.left > 0 {
            let n = to.len().min(usize::try_from(self.left).unwrap_or(usize::MAX));
            to[..n].fill(b'"');
            self.left -= n as u64;
            return Ok(n);
        }
        let n = self.tail.len().min(to.len());
        to[..n].copy_from_slice(&self.tail[..n]);
        self.tail.drain(..n);
        Ok(n)
    }
}

/// Resident memory of this process, in bytes.
fn resident() -> u64 {
    let text = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    text.split(' ').nth(1).and_then(|n| n.parse::<u64>().ok()).unwrap_or(0) * 4096
}

#[test]
fn a_gigabyte_line_is_one_bad_row_and_eats_no_memory() {
    let source = || Endless {
        head: format!("{HEADER}{GOOD}").into_bytes(),
        left: 1 << 30,
        tail: format!("\n{OTHER}").into_bytes(),
    };
    let before = resident();
    let (summary, kept) = import_with(source(), Format::Csv, &[]);
    let grown = resident().saturating_sub(before);
    assert!(grown < 256 << 20, "{grown}");
    let summary = summary.unwrap();
    assert_eq!((summary.accepted, summary.rejected), (2, 1));
    assert!(kept.errors[0].starts_with("line 3: the line is longer than 1048576 bytes"), "{:?}", kept.errors);
}

#[test]
fn an_override_needs_its_column_and_is_kept_with_the_record() {
    let text = format!("{HEADER}{GOOD}{BAD_DIGIT}");
    let (summary, kept) = import_with(bytes(&text), Format::Csv, &[("vin", "read from the plate itself")]);
    let summary = summary.unwrap();
    assert_eq!((summary.accepted, summary.overridden), (2, 1), "{:?}", kept.errors);
    assert_eq!(kept.records[0].overrides, "", "only where it is needed");
    assert!(kept.records[1].overrides.contains("check-digit"), "{}", kept.records[1].overrides);
    let (summary, _) = import_with(bytes(&text), Format::Csv, &[("plate", "no")]);
    assert_eq!(summary.unwrap().rejected, 1);
}

#[test]
fn too_many_cells_and_open_quotes_are_row_errors() {
    let text = format!("{HEADER}a,b,c,d,e,f,g\n\"open,,,\n{GOOD}");
    let (summary, kept) = csv(text.as_bytes());
    assert_eq!(summary.unwrap().accepted, 1);
    assert!(kept.errors[0].starts_with("line 2: 7 cells where the header has 6"), "{:?}", kept.errors);
    assert!(kept.errors[1].starts_with("line 3: a quoted value does not end"), "{:?}", kept.errors);
    assert!(matches!(csv(b"").0, Err(ImportError::File { code: "empty", .. })));
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..2_000), json in any::<bool>()) {
        let format = if json { Format::JsonLines } else { Format::Csv };
        let _ = import_with(super::tests::bytes(&bytes), format, &[]);
        let _ = import_as(super::tests::bytes(&bytes), None, &options(format, &[]));
        let with_header = [HEADER.as_bytes(), &bytes].concat();
        let (summary, kept) = import_with(super::tests::bytes(with_header), Format::Csv, &[("vin", "so it reads")]);
        let summary = summary.unwrap();
        prop_assert_eq!(summary.rows, summary.accepted + summary.rejected + summary.duplicates_in_batch);
        prop_assert_eq!(summary.accepted, kept.records.len() as u64);
    }

    #[test]
    fn nearly_good_rows_never_panic(row in "[\"1M8GDM9AXKP042788,;\t|\\nñ{}:]{0,120}") {
        let _ = import_with(bytes(format!("{HEADER}{row}\n{GOOD}")), Format::Csv, &[]);
        let _ = import_with(bytes(format!("{{\"vin\":{row}}}\n")), Format::JsonLines, &[]);
    }
}

/// What a file should bring in, made up: `count` vehicles, every tenth of them twice and every fiftieth row wrong.
fn made_up(count: usize) -> String {
    let mut text = HEADER.to_owned();
    for n in 0..count {
        // Not North American, so that the ninth place is no check digit.
        let row = format!("WVWZZZ1KZFP{n:06},,,stolen,mx/fge-bc,{n}\n");
        text.push_str(&row);
        if n % 10 == 0 {
            text.push_str(&row);
        }
        if n % 50 == 0 {
            text.push_str("1M8GDM9A0KP042788,,,stolen,mx/fge-bc,\n");
        }
    }
    text
}

/// A log that keeps its entries in a file, each batch once, as the engine does.
struct FileLog<'a>(&'a Path, bool);

impl Log for FileLog<'_> {
    fn collect(&mut self, event: LocalEvent) -> Result<Option<u64>, ImportError> {
        if !self.1 {
            return Ok(None);
        }
        let path = self.0.join("log.txt");
        let mut text = std::fs::read_to_string(&path).unwrap_or_default();
        let line = hex::encode(&event.detail);
        let at = text.lines().position(|known| known == line);
        if at.is_none() {
            text.push_str(&line);
            text.push('\n');
            std::fs::write(&path, &text).unwrap();
        }
        Ok(Some(at.unwrap_or(text.lines().count() - 1) as u64))
    }
}

#[derive(Default)]
struct Heard {
    states: Vec<BatchState>,
    said: Vec<(u64, String, Outcome)>,
}

impl Audience for Heard {
    fn problem(&mut self, error: &RowError, outcome: Outcome) -> Result<(), ImportError> {
        self.said.push((error.line, error.code.clone(), outcome));
        Ok(())
    }

    fn batch(&mut self, _: &Head, state: BatchState) {
        self.states.push(state);
    }

    fn progress(&mut self, _: u64, _: u64) {}
}

fn bring_in(
    dir: &Path,
    name: &str,
    watch: Option<Arc<dyn Watch>>,
    node: bool,
) -> (Result<Summary, ImportError>, Heard) {
    let catalogue = catalogue();
    let options = options(Format::Csv, &[]);
    let source = Source::named(&dir.join(name));
    let record_type = catalogue.record_type("Vehicle").unwrap();
    let order =
        Order { source: &source, encoding: None, options: &options, catalogue: &catalogue, record_type, authority: "" };
    let imports = dir.join("imports");
    let folder = watch.map_or_else(|| Folder::new(&imports), |watch| Folder::watched(&imports, watch));
    let mut heard = Heard::default();
    let mut summary = Summary::default();
    let records = RecordStore::open_with(&NodeDir::new(dir), &Default::default()).unwrap();
    let mut desk = Desk { folder, records, log: FileLog(dir, node), audience: &mut heard, dry_run: false };
    let mut rng = ChaCha20Rng::from_seed([9; 32]);
    let ran = desk.run(&order, &mut rng, &mut summary);
    drop(desk);
    (ran.map(|_| summary), heard)
}

fn stored(dir: &Path) -> u64 {
    let counts = RecordStore::open_with(&NodeDir::new(dir), &Default::default()).unwrap().counts().unwrap();
    counts.iter().map(|(_, n)| n).sum()
}

/// What the log says was collected: entries, records.
fn collected(dir: &Path) -> (usize, u64) {
    let text = std::fs::read_to_string(dir.join("log.txt")).unwrap_or_default();
    let counts = text.lines().map(|line| {
        let detail: serde_json::Value = serde_json::from_slice(&hex::decode(line).unwrap()).unwrap();
        detail["count"].as_u64().unwrap()
    });
    (text.lines().count(), counts.sum())
}

fn copy_all(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let at = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_all(&entry.path(), &at)
        } else {
            std::fs::copy(entry.path(), at).unwrap();
        }
    }
}

/// Takes a picture of the disk before every step: what a process that is killed there leaves behind.
struct Pictures {
    of: PathBuf,
    to: PathBuf,
    taken: Mutex<Vec<Step>>,
}

impl Watch for Pictures {
    fn step(&self, step: Step) -> io::Result<()> {
        let mut taken = self.taken.lock().unwrap();
        copy_all(&self.of, &self.to.join(taken.len().to_string()));
        taken.push(step);
        Ok(())
    }
}

#[test]
fn an_import_killed_at_any_step_and_repeated_ends_as_one_that_was_not() {
    let root = tempfile::tempdir().unwrap();
    let (dir, pictures) = (root.path().join("node"), root.path().join("pictures"));
    std::fs::create_dir(&dir).unwrap();
    // Few rows: a picture is taken before each is written.
    let text = made_up(12);
    std::fs::write(dir.join("v.csv"), &text).unwrap();
    let watch = Arc::new(Pictures { of: dir.clone(), to: pictures.clone(), taken: Mutex::default() });
    let (ran, whole) = bring_in(&dir, "v.csv", Some(watch.clone()), true);
    let counts = ran.unwrap().counts;
    assert_eq!((counts.rows, counts.accepted, counts.rejected, counts.duplicates_in_batch), (15, 12, 1, 2));
    assert_eq!((stored(&dir), collected(&dir)), (12, (1, 12)));
    let steps = watch.taken.lock().unwrap().clone();
    for step in [
        Step::Begin,
        Step::Write,
        Step::Problem,
        Step::Sync,
        Step::NameProblems,
        Step::Stage,
        Step::Collect,
        Step::Collected,
        Step::Store,
        Step::Openings,
        Step::Batch,
        Step::Remove,
    ] {
        assert!(steps.contains(&step), "{step:?} of {steps:?}");
    }
    for (n, step) in steps.iter().enumerate() {
        let at = pictures.join(n.to_string());
        let (again, heard) = bring_in(&at, "v.csv", None, true);
        let summary = again.unwrap_or_else(|e| panic!("after {step:?}: {e}"));
        assert_eq!(summary.counts, counts, "after {step:?}");
        assert_eq!(heard.said, whole.said, "after {step:?}: everything is said again");
        assert_eq!((stored(&at), collected(&at)), (12, (1, 12)), "after {step:?}");
        // And once more: nothing more happens.
        let (third, heard) = bring_in(&at, "v.csv", None, true);
        assert_eq!((third.unwrap().before, heard.states), (counts, vec![BatchState::InAlready]), "after {step:?}");
        assert_eq!((stored(&at), collected(&at)), (12, (1, 12)), "after {step:?}");
        assert!(Folder::new(&at.join("imports")).pending().unwrap().is_empty());
    }
}

/// Refuses one step as a full disk does.
struct Full(Mutex<usize>);

impl Watch for Full {
    fn step(&self, _: Step) -> io::Result<()> {
        let mut left = self.0.lock().unwrap();
        *left = left.saturating_sub(1);
        if *left == 0 { Err(io::ErrorKind::StorageFull.into()) } else { Ok(()) }
    }
}

#[test]
fn a_disk_that_is_full_at_any_step_loses_nothing() {
    for refused in 1..60 {
        let root = tempfile::tempdir().unwrap();
        let dir = root.path();
        std::fs::write(dir.join("v.csv"), made_up(12)).unwrap();
        let (ran, _) = bring_in(dir, "v.csv", Some(Arc::new(Full(Mutex::new(refused)))), true);
        if ran.is_ok() {
            assert!(refused > 12, "the steps were refused: {refused}");
            return;
        }
        assert!(matches!(ran, Err(ImportError::Stage(stage::StageError::File { .. }))), "{refused}");
        let (again, _) = bring_in(dir, "v.csv", None, true);
        assert_eq!(again.unwrap().counts.accepted, 12, "{refused}");
        assert_eq!((stored(dir), collected(dir)), (12, (1, 12)), "{refused}");
    }
    panic!("the import never ran to its end");
}

#[test]
fn without_a_node_nothing_is_staged_twice_and_the_node_takes_it_up_later() {
    let root = tempfile::tempdir().unwrap();
    let dir = root.path();
    std::fs::write(dir.join("v.csv"), made_up(20)).unwrap();
    let (first, heard) = bring_in(dir, "v.csv", None, false);
    assert_eq!((first.unwrap().counts.accepted, heard.states), (20, vec![BatchState::Staged]));
    let (again, heard) = bring_in(dir, "v.csv", None, false);
    assert_eq!((again.unwrap().before.accepted, heard.states), (20, vec![BatchState::InAlready]));
    // Another file with some of the same rows, and one VIN with other content.
    let rows = made_up(22).split_off(HEADER.len());
    let more = format!("{HEADER}WVWZZZ1KZFP000003,,,located,mx/fge-bc,\n{rows}");
    std::fs::write(dir.join("w.csv"), more).unwrap();
    let (other, heard) = bring_in(dir, "w.csv", None, false);
    let counts = other.unwrap().counts;
    assert_eq!(
        (counts.accepted, counts.duplicates_in_store, counts.duplicates_in_batch, counts.same_key),
        (3, 22, 1, 1)
    );
    assert!(heard.said.iter().any(|(_, code, _)| code == "same-key"), "{:?}", heard.said);
    assert_eq!(stored(dir), 0, "record before reveal");
    // The node is there now.
    let (last, heard) = bring_in(dir, "w.csv", None, true);
    assert_eq!(last.unwrap().before.accepted, 3);
    assert_eq!(heard.states.iter().filter(|s| matches!(s, BatchState::CarriedOn(Some(_)))).count(), 2);
    assert_eq!((stored(dir), collected(dir)), (23, (2, 23)));
    let left = std::fs::read_dir(dir.join("imports")).unwrap().map(|e| e.unwrap().path());
    assert!(left.into_iter().all(|p| p.extension().is_none_or(|e| e != "index")));
}

#[test]
fn a_file_that_went_on_growing_goes_on_after_what_is_in() {
    let root = tempfile::tempdir().unwrap();
    let dir = root.path();
    let (short, long) = (made_up(20), made_up(30));
    std::fs::write(dir.join("v.csv"), &short).unwrap();
    bring_in(dir, "v.csv", None, true).0.unwrap();
    assert!(long.starts_with(&short));
    std::fs::write(dir.join("v.csv"), &long).unwrap();
    let (ran, heard) = bring_in(dir, "v.csv", None, true);
    let summary = ran.unwrap();
    assert_eq!((summary.before.accepted, summary.counts.accepted, summary.counts.duplicates_in_store), (20, 30, 0));
    assert!(matches!(heard.states[..], [BatchState::InAlready, BatchState::Recorded(1)]), "{:?}", heard.states);
    // Changed before that: every row is looked at again, and known by itself.
    std::fs::write(dir.join("v.csv"), long.replacen("stolen", "located", 1)).unwrap();
    let (ran, _) = bring_in(dir, "v.csv", None, true);
    let counts = ran.unwrap().counts;
    assert_eq!((counts.accepted, counts.same_key, counts.duplicates_in_store), (1, 1, 32));
    assert_eq!(stored(dir), 31);
}

/// Lets the file grow or shrink while it is read.
struct Meddler(PathBuf, &'static str, Mutex<bool>);

impl Watch for Meddler {
    fn step(&self, step: Step) -> io::Result<()> {
        if step == Step::Write && !std::mem::replace(&mut *self.2.lock().unwrap(), true) {
            std::fs::write(&self.0, self.1)?;
        }
        Ok(())
    }
}

#[test]
fn a_file_that_changes_while_it_is_read_is_named_and_nothing_is_half_in() {
    for after in ["vin\n", "vin,plate,plate_jurisdiction,status,entering_agency,remarks\nand\nmuch\nmore,,,,,\n"] {
        let root = tempfile::tempdir().unwrap();
        let dir = root.path();
        let text = made_up(20);
        std::fs::write(dir.join("v.csv"), &text).unwrap();
        let watch = Arc::new(Meddler(dir.join("v.csv"), after, Mutex::default()));
        let (ran, _) = bring_in(dir, "v.csv", Some(watch), true);
        let Err(ImportError::File { code: "file-changed", mend, .. }) = ran else { panic!("{ran:?}") };
        assert!(mend.contains("repeat the import"), "{mend}");
        assert_eq!((stored(dir), collected(dir)), (0, (0, 0)));
        std::fs::write(dir.join("v.csv"), &text).unwrap();
        assert_eq!(bring_in(dir, "v.csv", None, true).0.unwrap().counts.accepted, 20);
    }
}
