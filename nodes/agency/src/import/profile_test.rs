use std::collections::BTreeMap;
use std::path::PathBuf;

use puente_catalogue::{Catalogue, Record};

use super::tests::{Kept, catalogue, import_as};
use super::*;
use crate::import::decimal::Decimal;

fn profile(name: &str) -> Profile {
    Profile::builtin(name, |name| catalogue().record_type(name).cloned()).unwrap()
}

fn read(text: &str) -> Result<Profile, profile::ProfileError> {
    Profile::parse("own.toml", text, |name| catalogue().record_type(name).cloned())
}

fn import(profile: Profile, bytes: Vec<u8>) -> (Result<Counts, ImportError>, Kept) {
    let options = Options { format: Format::Csv, profile: Some(profile), overrides: BTreeMap::new(), lang: Lang::En };
    import_as(io::Cursor::new(bytes), None, &options)
}

/// A published table; `None` (said aloud) when it is not there.
fn published(path: &str) -> Option<Vec<u8>> {
    let file = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data").join(path);
    let Ok(bytes) = std::fs::read(&file) else {
        assert!(std::env::var_os("PUENTE_FORBID_SKIPS").is_none(), "{path} is missing and skipping is forbidden");
        eprintln!("SKIPPED: {path} is not beside the repository");
        return None;
    };
    Some(bytes)
}

/// Field → value of one record.
fn values(catalogue: &Catalogue, of: &str, bytes: &[u8]) -> BTreeMap<String, String> {
    let record_type = catalogue.record_type(of).unwrap();
    Record::decode(record_type, bytes).unwrap();
    let leaves = record_type.leaves(bytes).unwrap();
    let name = |path: &str| path.split('/').nth(1).unwrap_or_default().to_owned();
    leaves.into_iter().map(|l| (name(&l.path), String::from_utf8(l.value).unwrap())).collect()
}

/// Exact sum of decimal texts, in units of 10⁻³⁰.
fn sum<'t>(texts: impl Iterator<Item = &'t str>) -> u128 {
    texts
        .map(|text| {
            let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
            format!("{whole}{fraction:0<30}").parse::<u128>().unwrap()
        })
        .sum()
}

const CBP: &str =
    "FY,Month (abbv),Component,Region,Land Filter,Area of Responsibility,Drug Type,Count of Event,Sum Qty (lbs)\n";

#[test]
fn a_row_of_the_seizures_table_becomes_a_seizure_with_both_weights() {
    let text = format!(
        "{CBP}2019,OCT,Office of Field Operations,Coastal/Interior,Other,ATLANTA FIELD OFFICE,Ecstasy,3,6.61386786e-05\n\
         2019,OCT,Office of Nothing,Coastal/Interior,Other,ATLANTA FIELD OFFICE,Ecstasy,3,1\n\
         2019,OCT,U.S. Border Patrol,Coastal/Interior,Other,ATLANTA FIELD OFFICE,Ecstasy,3,\"1,5\"\n"
    );
    let (counts, kept) = import(profile("cbp-seizures"), text.into_bytes());
    let counts = counts.unwrap();
    assert_eq!((counts.accepted, counts.rejected, counts.warnings), (1, 2, 0), "{:?}", kept.errors);
    assert!(kept.errors[0].starts_with("line 3, column Component: the profile expects one of the values of its table"));
    assert!(kept.errors[1].starts_with("line 4, column Sum Qty (lbs): the profile expects a decimal number"));
    let got = values(&catalogue(), "Seizure", &kept.records[0].record);
    for (field, want) in [
        ("agencies", "us/cbp-ofo"),
        ("date", "2018-10-01"),
        ("date_precision", "month"),
        ("fiscal_year", "2019"),
        ("commodity", "MDMA"),
        ("quantity", "0.000029999999974842282"),
        ("quantity_unit", "kg"),
        ("published_quantity", "0.0000661386786"),
        ("published_unit", "[lb_av]"),
        ("events", "3"),
        ("series_source", "CBP Nationwide Drug Seizures"),
    ] {
        assert_eq!(got.get(field).map(String::as_str), Some(want), "{field}: {got:?}");
    }
    let detail = String::from_utf8(kept.heads[0].event().detail).unwrap();
    assert!(detail.contains("U.S. Customs and Border Protection") && detail.contains("public domain"), "{detail}");
}

#[test]
fn the_published_seizures_come_in_whole_and_add_up() {
    let Some(bytes) = published("seizures/cbp_nationwide_drugs_fy19_fy23.csv") else { return };
    let (counts, kept) = import(profile("cbp-seizures"), bytes);
    let counts = counts.unwrap();
    assert_eq!(
        (counts.rows, counts.accepted, counts.rejected, counts.same_key),
        (12_457, 12_457, 0, 0),
        "{:?}",
        kept.errors
    );
    let catalogue = catalogue();
    let rows = kept.records.iter().map(|r| values(&catalogue, "Seizure", &r.record));
    let fentanyl: Vec<_> = rows.filter(|v| v["fiscal_year"] == "2023" && v["commodity"] == "FENTANYL").collect();
    let pounds = sum(fentanyl.iter().map(|v| v["published_quantity"].as_str()));
    // 27,023 lb as published: 27,022.85…
    assert_eq!((pounds + 5 * 10_u128.pow(29)) / 10_u128.pow(30), 27_023);
    // No kilogram was rounded away: each is its pounds times the definition.
    for row in fentanyl {
        let factor = Decimal::parse("0.45359237", '.', None).unwrap();
        let exact = Decimal::parse(&row["published_quantity"], '.', None).unwrap().times(factor).unwrap();
        assert_eq!(row["quantity"], exact.to_string());
    }
}

#[test]
fn the_published_victims_come_in_whole_and_add_up() {
    let Some(bytes) = published("crime/sesnsp_victimas_estado_mes_2018_2025.csv") else { return };
    let (counts, kept) = import(profile("sesnsp"), bytes);
    let counts = counts.unwrap();
    assert_eq!(
        (counts.rows, counts.accepted, counts.rejected, counts.same_key),
        (50_147, 50_147, 0, 0),
        "{:?}",
        kept.errors
    );
    let catalogue = catalogue();
    let rows = kept.records.iter().map(|r| values(&catalogue, "CrimeSeries", &r.record));
    let of_2024 = rows.filter(|v| v["period_start"].starts_with("2024") && v["sub_offence"] == "Homicidio doloso");
    let mut victims = 0_u64;
    for row in of_2024 {
        assert_eq!((row["series_source"].as_str(), row["counted"].as_str()), ("SESNSP-VICTIMAS", "victims"));
        victims += row["count"].parse::<u64>().unwrap();
    }
    assert_eq!(victims, 30_046);
}

#[test]
fn a_row_of_the_victims_table_becomes_a_figure_of_its_series() {
    let text = "year,month,cve_ent,estado,tipo,subtipo,modalidad,victimas\n\
        2024,02,09,Ciudad de México,Homicidio,Homicidio doloso,Con arma de fuego,50\n\
        2024,02,09,Ciudad de México,Homicidio,Homicidio doloso,Con arma de fuego,51\n";
    let (counts, kept) = import(profile("sesnsp"), text.into());
    let counts = counts.unwrap();
    assert_eq!((counts.accepted, counts.same_key), (2, 1), "a revised figure is told apart: {:?}", kept.errors);
    let got = values(&catalogue(), "CrimeSeries", &kept.records[0].record);
    assert_eq!((got["period_start"].as_str(), got["period_end"].as_str()), ("2024-02-01", "2024-02-29"));
    assert_eq!(
        (got["area_code"].as_str(), got["area_name"].as_str(), got["count"].as_str()),
        ("09", "Ciudad de México", "50")
    );
}

#[test]
fn another_table_than_the_profile_knows_is_named() {
    let missing = CBP.replace(",Drug Type", "");
    let extra = CBP.replace("FY,", "FY,Sex,");
    for (header, code, words) in [
        (missing.as_str(), "missing-column", "needs the column 'Drug Type'"),
        (extra.as_str(), "unknown-column", "column 2 ('Sex') is not in the profile"),
    ] {
        let (ran, _) = import(profile("cbp-seizures"), header.into());
        let Err(ImportError::File { code: found, message, .. }) = ran else { panic!("accepted") };
        assert!(found == code && message.contains(words), "{found}: {message}");
    }
}

const OWN: &str = r#"
profile = "fge-bc-robados"
label_en = "Stolen vehicles of the state"
label_es = "Vehículos robados del estado"
record_type = "Vehicle"
[provenance]
publisher = "FGE BC"
title = "Robados"
url = "https://example.org"
licence = "internal"
attribution = "FGE BC"
[ignore]
"Observaciones" = "free text, not checked"
[[field]]
to = "vin"
from = "Serie"
[[field]]
to = "status"
from = "Estatus"
convert = { kind = "map", values = { "R" = "stolen", "L" = "located" } }
[[field]]
to = "theft_date"
from = "Fecha"
convert = { kind = "date", format = "DD/MM/YYYY" }
[[field]]
to = "entering_agency"
constant = "mx/fge-bc"
"#;

#[test]
fn a_profile_of_ones_own_reads_an_agencys_own_table() {
    // As a spreadsheet of the region writes it: semicolons, Windows-1252, day first.
    let mut text = b"Serie;Estatus;Fecha;Observaciones\r\nWVWZZZ1KZFP000001;R;31/12/2024;Pe\xf1asco\r\n".to_vec();
    text.extend_from_slice(b"WVWZZZ1KZFP000002;X;31/12/2024;\r\nWVWZZZ1KZFP000003;L;2024-12-31;\r\n");
    let (counts, kept) = import(read(OWN).unwrap(), text);
    assert_eq!(counts.unwrap().accepted, 1, "{:?}", kept.errors);
    let got = values(&catalogue(), "Vehicle", &kept.records[0].record);
    assert_eq!((got["theft_date"].as_str(), got["entering_agency"].as_str()), ("2024-12-31", "mx/fge-bc"));
    assert!(kept.errors[1].starts_with("line 4, column Fecha: the profile expects a date"), "{:?}", kept.errors);
}

#[test]
fn what_is_wrong_with_a_profile_is_said_before_any_row() {
    for (from, to, words) in [
        ("to = \"vin\"", "to = \"vim\"", "no such field; did you mean 'vin'?"),
        ("to = \"status\"", "to = \"vin\"", "field 'vin' stands twice"),
        ("constant = \"mx/fge-bc\"", "", "where its value comes from"),
        ("record_type = \"Vehicle\"", "record_type = \"Vehicel\"", "no record type 'Vehicel'"),
        ("kind = \"date\"", "kind = \"dat\"", "line "),
        ("DD/MM/YYYY", "DD/MM", "the date's format"),
        ("\"Observaciones\"", "\"Serie\"", "used and ignored"),
        ("free text, not checked", "", "ignored without a reason"),
        ("from = \"Serie\"", "form = \"Serie\"", "unknown field"),
    ] {
        let error = read(&OWN.replace(from, to)).unwrap_err();
        let text = format!("{error}; {}", error.mend);
        assert!(text.contains(words) && text.starts_with("own.toml: "), "{to}: {text}");
    }
    let error = Profile::builtin("sesnp", |_| None).unwrap_err();
    assert!(error.mend.contains("did you mean sesnsp?"), "{error}");
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("p.toml");
    assert!(Profile::read(&path, |_| None).is_err());
    std::fs::write(&path, "x".repeat(1 + profile::PROFILE_BYTES_MAX as usize)).unwrap();
    assert!(Profile::read(&path, |_| None).unwrap_err().message.contains("longer than"));
}
