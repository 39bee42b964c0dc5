use std::io::{BufReader, Read};

use proptest::prelude::*;
use puente_catalogue::Catalogue;
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng as _;

use super::*;

#[derive(Default)]
struct Kept {
    records: Vec<Imported>,
    errors: Vec<String>,
    doubts: usize,
}

impl Sink for Kept {
    fn record(&mut self, record: Imported) -> Result<(), String> {
        self.records.push(record);
        Ok(())
    }

    fn problem(&mut self, error: &RowError, rejected: bool) -> Result<(), String> {
        if rejected {
            self.errors.push(error.to_string());
        } else {
            self.doubts += 1;
        }
        Ok(())
    }

    fn progress(&mut self, _: u64, _: u64) {}
}

fn import_with(source: impl Read, format: Format, overrides: &[(&str, &str)]) -> (Result<Summary, ImportError>, Kept) {
    thread_local! {
        static CATALOGUE: Catalogue = Catalogue::builtin().unwrap();
    }
    CATALOGUE.with(|catalogue| {
        let overrides = overrides.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        let options = Options { format, overrides, lang: Lang::En };
        let mut kept = Kept::default();
        let vehicle = catalogue.record_type("Vehicle").unwrap();
        let mut rng = ChaCha20Rng::from_seed([7; 32]);
        let summary = run(BufReader::with_capacity(4096, source), vehicle, &options, &mut rng, &mut kept);
        (summary, kept)
    })
}

fn csv(text: &[u8]) -> (Result<Summary, ImportError>, Kept) {
    import_with(text, Format::Csv, &[])
}

const HEADER: &str = "vin,plate,plate_jurisdiction,status,entering_agency,remarks\n";
const GOOD: &str = "1M8GDM9AXKP042788,ABC1234,US-TX,stolen,mx/fge-bc,\n";
const BAD_DIGIT: &str = "1M8GDM9A0KP042788,,,stolen,mx/fge-bc,\n";

#[test]
fn good_rows_go_in_and_bad_rows_are_named() {
    let text = format!("{HEADER}{GOOD}\n{BAD_DIGIT},,,stolen\n{GOOD}");
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
    assert!(kept.records[0].keys.iter().any(|(name, value)| name == "vehicle.vin" && value == "1M8GDM9AXKP042788"));

    let event = summary.event("Vehicle", "REPUVE");
    assert_eq!((event.kind, event.count, event.record_type.as_str()), (EventKind::Collect, 2, "Vehicle"));
    let root = puente_audit_log::root_of(kept.records.iter().map(|r| leaf_hash(r.commitment.as_bytes())));
    assert_eq!(summary.root, root);
    let one = &kept.records[0];
    assert_eq!(one.commitment, commit(&one.salt, "Vehicle", &one.record, &one.overrides));
    assert_ne!(one.commitment, kept.records[1].commitment, "equal records have unlike commitments");
    assert!(!format!("{one:?}").contains("1M8"));
}

#[test]
fn a_byte_order_mark_is_no_part_of_the_first_column() {
    let (summary, kept) = csv(format!("\u{feff}{HEADER}{GOOD}").as_bytes());
    assert_eq!(summary.unwrap().accepted, 1, "{:?}", kept.errors);
    let line = r#"{"vin":"1M8GDM9AXKP042788","status":"robado","entering_agency":"mx/fge-bc"}"#;
    let (summary, kept) = import_with(format!("\u{feff}{line}\r\n\n").as_bytes(), Format::JsonLines, &[]);
    assert_eq!(summary.unwrap().accepted, 1, "{:?}", kept.errors);
}

#[test]
fn latin_1_is_named_with_line_and_column() {
    let mut text = format!("{HEADER}{GOOD}").into_bytes();
    text.extend_from_slice(b"1M8GDM9AXKP042788,,,stolen,mx/fge-bc,Pe\xf1asco\n");
    text.extend_from_slice(GOOD.as_bytes());
    let (summary, kept) = csv(&text);
    assert_eq!(summary.unwrap().accepted, 2);
    assert_eq!(
        kept.errors,
        ["line 3, column remarks: not UTF-8: byte 0xF1 at position 3; it looks like Latin-1 or Windows-1252: \
          save the file as UTF-8 (in a spreadsheet: 'CSV UTF-8')"]
    );
    let (_, kept) = import_with(&b"{\"remarks\":\"a\xf1o\"}\n"[..], Format::JsonLines, &[]);
    assert!(kept.errors[0].starts_with("line 1: not UTF-8"), "{:?}", kept.errors);
    for utf16 in [&b"\xff\xfev\0i\0n\0"[..], &b"\xfe\xff\0v"[..]] {
        let (summary, _) = csv(utf16);
        assert!(matches!(summary, Err(ImportError::File { code: "encoding", .. })));
    }
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
    let (_, kept) = import_with(line.as_bytes(), Format::JsonLines, &[]);
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
        tail: format!("\n{GOOD}").into_bytes(),
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
    let (summary, kept) = import_with(text.as_bytes(), Format::Csv, &[("vin", "read from the plate itself")]);
    let summary = summary.unwrap();
    assert_eq!((summary.accepted, summary.overridden), (2, 1), "{:?}", kept.errors);
    assert_eq!(kept.records[0].overrides, "", "only where it is needed");
    assert!(kept.records[1].overrides.contains("check-digit"), "{}", kept.records[1].overrides);
    let (summary, _) = import_with(text.as_bytes(), Format::Csv, &[("plate", "no")]);
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
        let _ = import_with(&bytes[..], format, &[]);
        let with_header = [HEADER.as_bytes(), &bytes].concat();
        let (summary, kept) = import_with(&with_header[..], Format::Csv, &[("vin", "so it reads")]);
        let summary = summary.unwrap();
        prop_assert_eq!(summary.rows, summary.accepted + summary.rejected);
        prop_assert_eq!(summary.accepted, kept.records.len() as u64);
    }

    #[test]
    fn nearly_good_rows_never_panic(row in "[\"1M8GDM9AXKP042788,;\t|\\nñ{}:]{0,120}") {
        let _ = import_with(format!("{HEADER}{row}\n{GOOD}").as_bytes(), Format::Csv, &[]);
        let _ = import_with(format!("{{\"vin\":{row}}}\n").as_bytes(), Format::JsonLines, &[]);
    }
}
