//! Invented records over true code tables, from a seed: the same seed gives the same files.
//!
//! No person appears in them: no owner, possessor or informant.

use std::collections::HashSet;

use puente_catalogue::{Catalogue, Lang, RecordType};
use rand_chacha::ChaCha20Rng;
use rand_core::{RngCore as _, SeedableRng as _};

use super::cast::Agency;
use super::tables::{ARMS, COLOURS, FINISHES, MODELS, YEARS};

const LETTERS: &[u8] = b"ABCDEFGHJKLMNPRSTUVWXYZ";
const VIN_CHARS: &[u8] = b"0123456789ABCDEFGHJKLMNPRSTUVWXYZ";
const WEIGHTS: [u32; 17] = [8, 7, 6, 5, 4, 3, 2, 10, 0, 9, 8, 7, 6, 5, 4, 3, 2];

/// One file for `puente import`.
#[derive(Debug, Clone)]
pub(super) struct CsvFile {
    /// Record type of the catalogue.
    pub(super) record_type: &'static str,
    /// Name in the agency's data folder.
    pub(super) name: String,
    /// The text.
    pub(super) text: String,
    /// Rows that are right.
    pub(super) good: u64,
    /// Lines (from 1) of the rows that are wrong on purpose.
    pub(super) bad_lines: Vec<u64>,
}

/// A vehicle that the scenario asks about. No person's.
#[derive(Debug, Clone)]
pub(super) struct Vehicle {
    pub(super) vin: String,
    pub(super) plate: String,
    pub(super) plate_jurisdiction: String,
}

/// A firearm that the scenario asks about.
#[derive(Debug, Clone)]
pub(super) struct Firearm {
    pub(super) serial: String,
    pub(super) make: String,
    pub(super) calibre: String,
}

/// Everything that one agency holds.
#[derive(Debug, Clone)]
pub(super) struct Holdings {
    pub(super) files: Vec<CsvFile>,
    /// Stolen and still sought, of a North American make.
    pub(super) vehicles: Vec<Vehicle>,
    /// With readable numbers.
    pub(super) firearms: Vec<Firearm>,
}

/// What the generator draws from.
#[derive(Debug)]
pub(super) struct Source {
    rng: ChaCha20Rng,
    seen: HashSet<String>,
}

impl Source {
    pub(super) fn new(seed: u64) -> Self {
        Self { rng: ChaCha20Rng::seed_from_u64(seed), seen: HashSet::new() }
    }

    fn below(&mut self, n: usize) -> usize {
        // The bias of a remainder is far below what invented records need.
        let n = u64::try_from(n.max(1)).unwrap_or(1);
        usize::try_from(self.rng.next_u64() % n).unwrap_or(0)
    }

    fn one<'a, T>(&mut self, of: &'a [T], otherwise: &'a T) -> &'a T {
        let at = self.below(of.len());
        of.get(at).unwrap_or(otherwise)
    }

    fn letter(&mut self, of: &[u8]) -> char {
        char::from(*self.one(of, &b'A'))
    }

    /// A text of a pattern: `A` a letter, `0` a digit, `[XY]` a character from X to Y, anything else itself.
    fn pattern(&mut self, pattern: &str) -> String {
        let mut out = String::new();
        let mut chars = pattern.chars();
        while let Some(c) = chars.next() {
            match c {
                'A' => out.push(self.letter(LETTERS)),
                '0' => out.push(self.letter(b"0123456789")),
                '[' => {
                    let (from, to) = (chars.next().unwrap_or('A'), chars.next().unwrap_or('A'));
                    chars.next();
                    let range: Vec<u8> = (from..=to).filter_map(|c| u8::try_from(c).ok()).collect();
                    out.push(self.letter(&range));
                }
                c => out.push(c),
            }
        }
        out
    }

    /// A value that was not given out before.
    fn fresh(&mut self, mut make: impl FnMut(&mut Self) -> String) -> String {
        loop {
            let value = make(self);
            if self.seen.insert(value.clone()) {
                return value;
            }
        }
    }

    fn vin(&mut self, wmi: &str, year: char) -> String {
        let mut vin = wmi.to_owned();
        for _ in 0..5 {
            vin.push(self.letter(VIN_CHARS));
        }
        vin.push('0');
        vin.push(year);
        vin.push(self.letter(LETTERS));
        vin.push_str(&self.pattern("000000"));
        with_check_digit(&vin)
    }

    /// A firearm that no agency holds, of the maker's own pattern.
    pub(super) fn unknown_firearm(&mut self) -> Firearm {
        let (arm, _) = (self.one(ARMS, &ARMS[0]), ());
        let serial = self.fresh(|s| s.pattern(arm.serial));
        Firearm { serial, make: arm.make.to_owned(), calibre: arm.calibre.to_owned() }
    }

    fn date(&mut self) -> String {
        format!("20{}-{:02}-{:02}", 23 + self.below(3), 1 + self.below(12), 1 + self.below(28))
    }

    /// The files of one agency: three vehicles to two firearms.
    pub(super) fn holdings(&mut self, agency: &Agency, records: usize, catalogue: &Catalogue) -> Option<Holdings> {
        let firearms = records * 2 / 5;
        let (vehicles_file, vehicles) = self.vehicles(agency, records - firearms, catalogue.record_type("Vehicle")?)?;
        let (firearms_file, firearms) = self.firearms(agency, firearms, catalogue.record_type("Firearm")?)?;
        Some(Holdings { files: vec![vehicles_file, firearms_file], vehicles, firearms })
    }

    fn vehicles(&mut self, agency: &Agency, n: usize, of: &RecordType) -> Option<(CsvFile, Vec<Vehicle>)> {
        const COLUMNS: &[&str] = &[
            "vin",
            "plate",
            "plate_jurisdiction",
            "make",
            "model",
            "model_year",
            "body_style",
            "colour",
            "status",
            "theft_date",
            "theft_place",
            "recovery_date",
            "entering_agency",
            "agency_case",
            "validated_at",
        ];
        let (spanish, region) = (agency.spanish(), agency.region);
        let mut table = Table::new(of, COLUMNS, spanish)?;
        let mut wanted = Vec::new();
        for i in 0..n {
            let model = *self.one(MODELS, &MODELS[0]);
            let (code, year) = *self.one(YEARS, &YEARS[0]);
            let vin = self.fresh(|s| s.vin(model.wmi, code));
            let (issuer, form) = *self.one(region.plates, &("", ""));
            let plate = self.fresh(|s| s.pattern(form));
            let (english, castilian) = *self.one(COLOURS, &COLOURS[0]);
            // The first is sought: the scenario needs one, whatever the seed.
            let sought = i == 0 || self.below(10) < 7;
            let stolen = self.date();
            let recovered =
                if sought { String::new() } else { format!("2026-0{}-1{}", 1 + self.below(9), self.below(9)) };
            let status = match (sought, spanish) {
                (true, false) => "stolen",
                (true, true) => "robo vigente",
                (false, false) => "recovered",
                (false, true) => "recuperado",
            };
            let place = *self.one(region.places, &"");
            let case = format!("{}/{}/{}", agency.case_prefix, stolen.get(..4).unwrap_or("2025"), 1_000 + i);
            table.row(&[
                &vin,
                &plate,
                issuer,
                model.make,
                model.model,
                &year.to_string(),
                model.body.text(spanish),
                if spanish { castilian } else { english },
                status,
                &stolen,
                place,
                &recovered,
                agency.id,
                &case,
                "2026-10-01",
            ]);
            if sought {
                wanted.push(Vehicle { vin, plate, plate_jurisdiction: issuer.to_owned() });
            }
        }
        let good = u64::try_from(n).ok()?;
        let mut bad_lines = Vec::new();
        if agency.bad_rows {
            let model = MODELS[0];
            let vin = self.vin(model.wmi, 'M');
            let wrong_vin = break_check_digit(&vin);
            let other = self.vin(model.wmi, 'N');
            let wrong: [[&str; 15]; 3] = [
                // A digit misread; a place that does not exist; a status that no list has.
                [
                    &wrong_vin,
                    "",
                    "",
                    "Ford",
                    "F-150",
                    "2021",
                    "",
                    "",
                    "stolen",
                    "2025-02-03",
                    "",
                    "",
                    agency.id,
                    "",
                    "",
                ],
                [
                    &other,
                    "",
                    "",
                    "Ford",
                    "F-150",
                    "2022",
                    "",
                    "",
                    "stolen",
                    "2025-02-03",
                    "US-99999",
                    "",
                    agency.id,
                    "",
                    "",
                ],
                [
                    "",
                    "BBB1234",
                    "US-TX",
                    "Ford",
                    "",
                    "2022",
                    "",
                    "",
                    "perhaps",
                    "2025-13-03",
                    "",
                    "",
                    agency.id,
                    "",
                    "",
                ],
            ];
            for row in wrong {
                bad_lines.push(table.row(&row));
            }
        }
        let name = if spanish { "vehiculos.csv" } else { "vehicles.csv" };
        Some((CsvFile { record_type: "Vehicle", name: name.to_owned(), text: table.text, good, bad_lines }, wanted))
    }

    fn firearms(&mut self, agency: &Agency, n: usize, of: &RecordType) -> Option<(CsvFile, Vec<Firearm>)> {
        const COLUMNS: &[&str] = &[
            "firearm_id",
            "serial",
            "make",
            "model",
            "calibre",
            "type",
            "country_of_manufacture",
            "barrel_mm",
            "finish",
            "status",
            "traced",
            "event_date",
            "event_place",
            "holder_agency",
            "agency_case",
        ];
        let (spanish, region) = (agency.spanish(), agency.region);
        let mut table = Table::new(of, COLUMNS, spanish)?;
        let mut readable = Vec::new();
        for i in 0..n {
            let arm = *self.one(ARMS, &ARMS[0]);
            let serial = self.fresh(|s| s.pattern(arm.serial));
            let shown = match (i > 0, self.below(20)) {
                (true, 0) => if spanish { "LIMADA" } else { "OBLITERATED" }.to_owned(),
                (true, 1) => {
                    let mut text = serial.clone();
                    text.pop();
                    format!("{text}?")
                }
                _ => {
                    readable.push(Firearm {
                        serial: serial.clone(),
                        make: arm.make.to_owned(),
                        calibre: arm.calibre.to_owned(),
                    });
                    serial
                }
            };
            let (english, castilian) = *self.one(FINISHES, &FINISHES[0]);
            let recovered = self.below(10) < 7;
            let status = match (recovered, spanish) {
                (true, false) => "recovered",
                (true, true) => "asegurada",
                (false, false) => "stolen",
                (false, true) => "robada",
            };
            let date = self.date();
            let place = *self.one(region.places, &"");
            let case = format!("{}/{}/{}", agency.case_prefix, date.get(..4).unwrap_or("2025"), 5_000 + i);
            table.row(&[
                &format!("F-{:06}", i + 1),
                &shown,
                arm.make,
                arm.model,
                arm.calibre,
                arm.kind,
                arm.country,
                &arm.barrel_mm.to_string(),
                if spanish { castilian } else { english },
                status,
                if self.below(2) == 0 { "true" } else { "false" },
                &date,
                place,
                agency.id,
                &case,
            ]);
        }
        let good = u64::try_from(n).ok()?;
        let name = if spanish { "armas.csv" } else { "firearms.csv" };
        let text = table.text;
        Some((CsvFile { record_type: "Firearm", name: name.to_owned(), text, good, bad_lines: Vec::new() }, readable))
    }
}

/// CSV text, with the header in the agency's own words.
struct Table {
    text: String,
    lines: u64,
}

impl Table {
    /// `None` if the catalogue does not know a column.
    fn new(of: &RecordType, columns: &[&str], spanish: bool) -> Option<Self> {
        let mut header = Vec::new();
        for name in columns {
            let field = of.field(name)?;
            let label = field.labels.get(if spanish { Lang::Es } else { Lang::En });
            // A column must lead back to its field.
            let label = if of.field_of_column(label).is_some_and(|f| f.name == *name) { label } else { name };
            header.push(label.to_owned());
        }
        let mut table = Self { text: String::new(), lines: 0 };
        table.row(&header.iter().map(String::as_str).collect::<Vec<_>>());
        Some(table)
    }

    /// Writes a row; its line, from 1.
    fn row(&mut self, cells: &[&str]) -> u64 {
        for (i, cell) in cells.iter().enumerate() {
            if i > 0 {
                self.text.push(',');
            }
            if cell.contains([',', '"', '\n']) {
                self.text.push_str(&format!("\"{}\"", cell.replace('"', "\"\"")));
            } else {
                self.text.push_str(cell);
            }
        }
        self.text.push('\n');
        self.lines += 1;
        self.lines
    }
}

fn value(c: char) -> u32 {
    match c {
        '0'..='9' => u32::from(c) - u32::from('0'),
        'A' | 'J' => 1,
        'B' | 'K' | 'S' => 2,
        'C' | 'L' | 'T' => 3,
        'D' | 'M' | 'U' => 4,
        'E' | 'N' | 'V' => 5,
        'F' | 'W' => 6,
        'G' | 'P' | 'X' => 7,
        'H' | 'Y' => 8,
        _ => 9,
    }
}

/// The VIN with its check digit (position 9, 49 CFR 565.15) put right.
fn with_check_digit(vin: &str) -> String {
    let sum: u32 = vin.chars().zip(WEIGHTS).map(|(c, w)| value(c) * w).sum();
    let digit = if sum % 11 == 10 { 'X' } else { char::from_digit(sum % 11, 10).unwrap_or('0') };
    vin.chars().enumerate().map(|(i, c)| if i == 8 { digit } else { c }).collect()
}

/// The VIN with the last digit misread, so that the check digit no longer holds.
pub(super) fn break_check_digit(vin: &str) -> String {
    let mut chars: Vec<char> = vin.chars().collect();
    if let Some(last) = chars.last_mut() {
        *last = if *last == '9' { '0' } else { char::from_digit(value(*last) + 1, 10).unwrap_or('0') };
    }
    chars.into_iter().collect()
}

/// A serial number with one character that cannot be read.
pub(super) fn with_gap(serial: &str) -> String {
    let at = serial.chars().count() / 2;
    serial.chars().enumerate().map(|(i, c)| if i == at { '?' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use puente_catalogue::{Validator, Verdict};

    use super::super::cast::AGENCIES;
    use super::*;

    fn rows(file: &CsvFile, of: &RecordType) -> (u64, Vec<u64>, u64) {
        let mut reader = csv::Reader::from_reader(file.text.as_bytes());
        let header = reader.headers().unwrap().clone();
        let (mut good, mut bad, mut warnings) = (0, Vec::new(), 0);
        for row in reader.records() {
            let row = row.unwrap();
            let line = row.position().unwrap().line();
            let cells: BTreeMap<String, String> =
                header.iter().zip(&row).map(|(k, v)| (k.to_owned(), v.to_owned())).collect();
            match of.parse_row(&cells) {
                Ok(parsed) => {
                    good += 1;
                    warnings += parsed.warnings.len() as u64;
                }
                Err(_) => bad.push(line),
            }
        }
        (good, bad, warnings)
    }

    #[test]
    fn every_row_is_right_but_those_that_are_wrong_on_purpose() {
        let catalogue = Catalogue::builtin().unwrap();
        let mut source = Source::new(7);
        for agency in AGENCIES {
            let holdings = source.holdings(agency, 300, &catalogue).unwrap();
            for file in &holdings.files {
                let of = catalogue.record_type(file.record_type).unwrap();
                let (good, bad, warnings) = rows(file, of);
                assert_eq!(good, file.good, "{} {}", agency.id, file.name);
                assert_eq!(bad, file.bad_lines, "{} {}", agency.id, file.name);
                assert_eq!(warnings, 0, "{} {}", agency.id, file.name);
            }
            assert!(!holdings.vehicles.is_empty() && !holdings.firearms.is_empty());
        }
    }

    #[test]
    fn the_same_seed_gives_the_same_files_and_another_seed_others() {
        let catalogue = Catalogue::builtin().unwrap();
        let text = |seed| {
            let holdings = Source::new(seed).holdings(&AGENCIES[0], 50, &catalogue).unwrap();
            holdings.files.into_iter().map(|f| f.text).collect::<String>()
        };
        assert_eq!(text(1), text(1));
        assert_ne!(text(1), text(2));
    }

    #[test]
    fn no_row_names_a_person() {
        let catalogue = Catalogue::builtin().unwrap();
        for agency in AGENCIES {
            for file in Source::new(3).holdings(agency, 20, &catalogue).unwrap().files {
                let header = file.text.lines().next().unwrap().to_lowercase();
                for word in ["owner", "propietario", "possessor", "poseedor", "denunciante", "reported by"] {
                    assert!(!header.contains(word), "{header}");
                }
            }
        }
    }

    #[test]
    fn a_broken_check_digit_is_broken_and_a_gap_is_one_question_mark() {
        let mut source = Source::new(1);
        for _ in 0..200 {
            let vin = source.vin("1FT", 'M');
            let valid = |vin: &str| matches!(Validator::Vin.check(vin), Verdict::Valid { .. });
            assert!(valid(&vin), "{vin}");
            assert!(!valid(&break_check_digit(&vin)), "{vin}");
        }
        assert_eq!(with_gap("ABCD123"), "ABC?123");
    }
}
