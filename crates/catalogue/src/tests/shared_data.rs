//! Official tables and vectors, when they lie beside the repository.

use std::collections::HashMap;
use std::path::PathBuf;

use super::{catalogue, record_type};
use crate::keys::ocr_fold;
use crate::{Problem, Validator, Verdict};

/// The rows of a table as column → text; `None` (said aloud) when it is not there.
#[expect(clippy::disallowed_methods, reason = "tests read data files")]
fn table(path: &str) -> Option<Vec<HashMap<String, String>>> {
    let file = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data").join(path);
    let Ok(text) = std::fs::read_to_string(&file) else {
        assert!(std::env::var_os("PUENTE_FORBID_SKIPS").is_none(), "{path} is missing and skipping is forbidden");
        eprintln!("SKIPPED: {path} is not beside the repository");
        return None;
    };
    let mut reader = csv::Reader::from_reader(text.as_bytes());
    Some(reader.deserialize().map(Result::unwrap).collect())
}

fn name_of(verdict: &Verdict) -> &'static str {
    match verdict {
        Verdict::Valid { .. } => "valid",
        Verdict::State { .. } => "none",
        Verdict::Warn { problem, .. } | Verdict::Reject { problem, .. } => match problem {
            Problem::CheckDigit => "bad_check",
            Problem::BadCharacter => "bad_char",
            Problem::BadDate => "bad_date",
            Problem::NoCheckDigit => "no_check_digit",
            Problem::CheckDigitDoubtful => "warn_check",
            Problem::GenericIdentifier => "generic",
            Problem::PartialNumber => "partial_ezcheck",
            other => other.code(),
        },
    }
}

#[test]
fn the_identifier_vectors_hold() {
    let Some(rows) = table("vectors/identifier_vectors.csv") else { return };
    let mut checked = 0;
    for row in rows {
        let (input, expected) = (row["input"].as_str(), row["expected"].as_str());
        let validator = match row["kind"].as_str() {
            "vin" => Validator::Vin,
            "curp" => Validator::Curp,
            "rfc" => Validator::Rfc,
            "clabe" => Validator::Clabe,
            "ori" => Validator::Agency,
            "inegi_cvegeo" => Validator::Cvegeo,
            "fips_county" => Validator::Fips,
            "firearm_serial" => Validator::FirearmSerial,
            "plate" => {
                if let Some((jurisdiction, plate)) = expected.split_once(':') {
                    assert_eq!(Validator::Plate.check(input), Verdict::valid(plate.to_owned()));
                    assert!(matches!(Validator::PlateJurisdiction.check(jurisdiction), Verdict::Valid { .. }));
                } else {
                    assert_eq!(ocr_fold(input), expected);
                }
                checked += 1;
                continue;
            }
            "ffl" => Validator::Ffl,
            other => panic!("no validator for {other}"),
        };
        let verdict = validator.check(input);
        let expected = match expected {
            "valid_after_normalise" => "valid",
            value if value == input => "valid",
            other => other,
        };
        assert_eq!(name_of(&verdict), expected, "{} {input}", row["kind"]);
        checked += 1;
    }
    assert!(checked >= 28, "{checked}");
}

#[test]
fn every_manufacturer_identifier_fits_a_vin() {
    let Some(rows) = table("vehicle/nhtsa_vpic_wmi.csv") else { return };
    let (mut valid, mut illegal) = (0, 0);
    for row in rows {
        let wmi = &row["wmi"];
        // A six-character identifier holds positions 1-3 and 12-14.
        let (head, middle) = wmi.split_at(3);
        let middle = if middle.is_empty() { "000" } else { middle };
        let found: Vec<Verdict> = "0123456789X"
            .chars()
            .map(|check| Validator::Vin.check(&format!("{head}AA000{check}AA{middle}001")))
            .filter(|verdict| matches!(verdict, Verdict::Valid { .. }))
            .collect();
        if wmi.bytes().any(|b| matches!(b, b'I' | b'O' | b'Q')) {
            assert!(found.is_empty());
            illegal += 1;
        } else {
            assert_eq!(found.len(), 1, "{wmi}");
            valid += 1;
        }
    }
    assert!(valid > 12_000 && illegal <= 2, "{valid} {illegal}");
}

#[test]
fn every_municipality_and_county_is_accepted() {
    if let Some(rows) = table("geo/mx_inegi_municipios_2020.csv") {
        assert!(rows.len() > 2_400);
        for row in rows {
            let code = &row["cvegeo"];
            assert_eq!(Validator::Cvegeo.check(code), Verdict::valid(code.clone()));
            assert_eq!(Validator::Place.check(&format!("mx-{code}")), Verdict::valid(format!("MX-{code}")));
        }
    }
    if let Some(rows) = table("geo/us_fips_niem6.csv") {
        let counties: Vec<_> = rows.iter().filter(|r| r["code_list"] == "USCounty5Digit").collect();
        assert!(counties.len() > 3_200);
        for row in counties {
            assert_eq!(Validator::Fips.check(&row["code"]), Verdict::valid(row["code"].clone()));
        }
    }
}

#[test]
fn the_calibre_list_knows_every_spelling() {
    let list = record_type("Firearm").field("calibre").unwrap().codes.clone().unwrap();
    if let Some(rows) = table("firearm/calibres_projectmade.csv") {
        for row in rows {
            let spellings = row["synonyms"].split('|').filter(|s| !s.is_empty());
            for spelling in spellings.chain([row["code"].as_str()]) {
                assert_eq!(list.find(spelling).map(|c| c.text.as_str()), Some(row["code"].as_str()), "{spelling}");
            }
        }
    }
    if let Some(rows) = table("firearm/calibre_comparability_projectmade.csv") {
        for row in rows {
            let comparable = list.by_text(&row["a"]).unwrap().comparable.contains(&row["b"]);
            assert_eq!(comparable, !row["relation"].starts_with("NOT"), "{} {}", row["a"], row["b"]);
        }
    }
}

#[test]
fn plates_of_every_state_are_accepted() {
    let Some(rows) = table("vehicle/us_plate_serial_formats.csv") else { return };
    for row in rows {
        let plate = row["pattern"].replace('#', "7").replace('?', "K");
        assert!(matches!(Validator::Plate.check(&plate), Verdict::Valid { .. }), "{plate}");
    }
    assert!(catalogue().query_kind("plate.status").is_some());
}

#[test]
fn every_entity_of_birth_is_known() {
    let Some(rows) = table("geo/mx_estados_curp_inegi.csv") else { return };
    assert_eq!(rows.len(), 33);
    for row in rows {
        let head = format!("PEGL850312H{}RRS0", row["curp_code"]);
        let found = (0..=9).any(|d| matches!(Validator::Curp.check(&format!("{head}{d}")), Verdict::Valid { .. }));
        assert!(found, "{}", row["curp_code"]);
    }
}

#[test]
fn every_published_seizure_is_a_record() {
    let Some(rows) = table("seizures/cbp_nationwide_drugs_fy19_fy23.csv") else { return };
    let seizure = record_type("Seizure");
    let (mut count, mut fentanyl) = (0, 0.0);
    for (n, row) in rows.iter().enumerate() {
        let id = format!("CBP-{n}");
        let cells = super::cells(&[
            ("seizure_id", id.as_str()),
            ("agencies", if row["Component"].starts_with("U.S.") { "us/cbp-usbp" } else { "us/cbp-ofo" }),
            ("date", &format!("{}-01-01", row["FY"])),
            ("date_precision", "year"),
            ("fiscal_year", &row["FY"]),
            ("region", &row["Region"]),
            ("setting", &row["Land Filter"]),
            ("port_or_sector", &row["Area of Responsibility"]),
            ("commodity_class", "drug"),
            ("commodity", &row["Drug Type"]),
            ("quantity", &row["Sum Qty (lbs)"]),
            ("quantity_unit", "lb"),
            ("events", &row["Count of Event"]),
        ]);
        let parsed = seizure.parse_row(&cells).unwrap_or_else(|e| panic!("row {n}: {e:?}"));
        assert!(parsed.warnings.is_empty(), "row {n}: {:?}", parsed.warnings);
        let leaves = seizure.leaves(parsed.record.bytes()).unwrap();
        let value = |path: &str| leaves.iter().find(|l| l.path == path).map(|l| String::from_utf8_lossy(&l.value));
        if value("seizure/commodity").unwrap() == "FENTANYL" && row["FY"] == "2023" {
            fentanyl += value("seizure/quantity").unwrap().parse::<f64>().unwrap();
        }
        count += 1;
    }
    assert!(count > 12_000, "{count}");
    assert!((27_000.0..27_050.0).contains(&fentanyl), "{fentanyl}");
}
